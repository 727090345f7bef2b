//! TLS as keycard speaks it: 1.2 and 1.3 through rustls and AWS-LC. Clients are asked for a certificate where a token may
//! be bound to one; what it is worth is not decided here.
//! The server's certificate can be replaced while it runs.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use thiserror::Error;

pub use rustls::{ClientConfig, ServerConfig};

use crate::public_key::CERTIFICATE_BYTES_MAX;
use crate::x509::{ServerCertificate, X509Error, parse_certificates_pem};

/// Why TLS can't be set up.
#[derive(Debug, Clone, Error)]
pub enum TlsError {
    /// The certificates that were given can't be used.
    #[error(transparent)]
    Certificate(#[from] X509Error),
    /// rustls refused key, chain or setting.
    #[error("tls could not be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// The server's current certificate, shared with every listener that uses it.
pub struct ServerCertificates(ArcSwap<CertifiedKey>);

impl ServerCertificates {
    /// Starts with `certificate`.
    ///
    /// # Errors
    /// [`TlsError::Setup`] if the key can't be read or isn't the certificate's.
    pub fn new(certificate: &ServerCertificate) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified_key(certificate)?))))
    }

    /// Serves `certificate` from the next handshake on; open connections stay as they are.
    ///
    /// # Errors
    /// [`TlsError::Setup`] as for [`ServerCertificates::new`]; then the old one stays in use.
    pub fn replace(&self, certificate: &ServerCertificate) -> Result<(), TlsError> {
        self.0.store(Arc::new(certified_key(certificate)?));
        Ok(())
    }
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for ServerCertificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ServerCertificates(…)")
    }
}

/// Makes the certificate of a name; `None`: it is not to be served.
type Issue = dyn Fn(&str) -> Option<ServerCertificate> + Send + Sync;

/// Certificates that are made when a client asks for a name, by its server name indication (RFC 6066 section 3), and kept.
pub struct NamedCertificates {
    issue: Box<Issue>,
    kept_max: usize,
    kept: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl NamedCertificates {
    /// None yet; at most `kept_max` are kept.
    pub fn new(
        kept_max: usize,
        issue: impl Fn(&str) -> Option<ServerCertificate> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { issue: Box::new(issue), kept_max, kept: Mutex::default() })
    }

    /// Forgets those that are kept: they are made anew when they are asked for again.
    pub fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn of(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = kept.get(&name) {
            return Some(Arc::clone(key));
        }
        let key = Arc::new(certified_key(&(self.issue)(&name)?).ok()?);
        if kept.len() >= self.kept_max {
            kept.clear();
        }
        kept.insert(name, Arc::clone(&key));
        Some(key)
    }
}

impl ResolvesServerCert for NamedCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.of(hello.server_name()?)
    }
}

impl fmt::Debug for NamedCertificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NamedCertificates(…)")
    }
}

/// Fails unless the key belongs to the first certificate of the chain.
fn certified_key(certificate: &ServerCertificate) -> Result<CertifiedKey, TlsError> {
    let chain = certificate.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key =
        PrivateKeyDer::try_from(certificate.key.to_vec()).map_err(|_| X509Error::Malformed)?;
    Ok(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?)
}

/// A server's settings: HTTP/2 and HTTP/1.1 by ALPN (RFC 7301), no client certificate asked for.
///
/// # Errors
/// [`TlsError::Setup`] if the library refuses its own defaults.
pub fn server_config(certificates: Arc<ServerCertificates>) -> Result<ServerConfig, TlsError> {
    config_with(certificates, Arc::new(NoClientAuth))
}

/// The same settings, but clients are asked for a certificate. Whoever has none goes on without; whoever presents one
/// proves to hold its key, whoever issued it.
///
/// # Errors
/// As for [`server_config`].
pub fn server_config_asking(
    certificates: Arc<ServerCertificates>,
) -> Result<ServerConfig, TlsError> {
    config_with(certificates, Arc::new(AnyClientCertificate::new()))
}

/// The same with certificates that are made by name. A client that names no server is refused.
///
/// # Errors
/// As for [`server_config`].
pub fn named_server_config(certificates: Arc<NamedCertificates>) -> Result<ServerConfig, TlsError> {
    config_with(certificates, Arc::new(NoClientAuth))
}

/// The same, and clients are asked for a certificate as in [`server_config_asking`].
///
/// # Errors
/// As for [`server_config`].
pub fn named_server_config_asking(
    certificates: Arc<NamedCertificates>,
) -> Result<ServerConfig, TlsError> {
    config_with(certificates, Arc::new(AnyClientCertificate::new()))
}

fn config_with(
    certificates: Arc<dyn ResolvesServerCert>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Takes every certificate whose key the client proves to hold.
#[derive(Debug)]
struct AnyClientCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyClientCertificate {
    fn new() -> Self {
        Self { algorithms: aws_lc_rs::default_provider().signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if end_entity.len() > CERTIFICATE_BYTES_MAX {
            return Err(rustls::CertificateError::BadEncoding.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A client's settings that trust the authorities in `ca_pem` and no other. ALPN is left empty: the
/// caller knows which protocols it speaks.
///
/// # Errors
/// [`TlsError::Certificate`] if there's no certificate in `ca_pem`.
pub fn client_config(ca_pem: &str) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for der in parse_certificates_pem(ca_pem)? {
        roots.add(CertificateDer::from(der))?;
    }
    client_config_trusting(roots)
}

/// A client's settings that trust the authorities of a system's bundle. What of it can't be read is
/// passed over: such bundles hold a hundred and more, and not every reader knows every kind.
///
/// # Errors
/// [`TlsError::Certificate`] if there's no authority in `bundle_pem` that can be used.
pub fn client_config_of_bundle(bundle_pem: &str) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    let readable = CertificateDer::pem_slice_iter(bundle_pem.as_bytes()).flatten();
    roots.add_parsable_certificates(readable);
    if roots.is_empty() {
        return Err(X509Error::Malformed.into());
    }
    client_config_trusting(roots)
}

fn client_config_trusting(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(builder
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use std::time::Duration as StdDuration;

    use rustls::client::danger::ServerCertVerifier;
    use rustls::client::{ClientConnection, WebPkiServerVerifier};
    use rustls::pki_types::ServerName;
    use rustls::server::ServerConnection;
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::x509::CertificateAuthority;

    const NOW: i64 = 1_767_225_600;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(NOW).unwrap()
    }

    fn authority() -> CertificateAuthority {
        CertificateAuthority::generate_tls("keycard.localhost", &["localhost"], now()).unwrap()
    }

    fn certificate(authority: &CertificateAuthority, names: &[&str]) -> ServerCertificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let ips = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        // A century, as the handshakes below go by the real clock.
        let not_after = now() + Duration::days(36_500);
        authority.issue_server_certificate(&names, &ips, now(), not_after).unwrap()
    }

    /// Whether a client that trusts `authority_der` takes `chain` for the server `name`.
    fn is_accepted(authority_der: &[u8], chain: &[Vec<u8>], name: &str) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority_der.to_vec())).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let name = ServerName::try_from(name).unwrap();
        let at = UnixTime::since_unix_epoch(StdDuration::from_secs(NOW.unsigned_abs() + 60));
        let leaf = CertificateDer::from(chain[0].as_slice());
        verifier.verify_server_cert(&leaf, &[], &name, &[], at).is_ok()
    }

    #[test]
    fn client_accepts_the_leaf_for_its_names_only() {
        let authority = authority();
        let names = ["*.vault.keycard.localhost", "localhost"];
        let leaf = certificate(&authority, &names);
        for (name, expected) in [
            ("kv.vault.keycard.localhost", true),
            ("localhost", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("example.com", false),
            ("vault.keycard.localhost", false),
            ("127.0.0.2", false),
        ] {
            assert_eq!(
                is_accepted(authority.certificate_der(), &leaf.chain, name),
                expected,
                "{name}"
            );
        }
        let other = self::authority();
        assert!(!is_accepted(other.certificate_der(), &leaf.chain, "localhost"));
    }

    #[test]
    fn client_refuses_a_leaf_outside_the_name_constraints() {
        // An authority of the same name and key without constraints stands for a thief of the key.
        let authority = authority();
        let key = rcgen::KeyPair::try_from(authority.to_pkcs8().unwrap().as_slice()).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_pem(&authority.certificate_pem(), key).unwrap();
        for (name, expected) in [("kv.vault.keycard.localhost", true), ("example.com", false)] {
            let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
            parameters.distinguished_name = rcgen::DistinguishedName::new();
            let leaf_key = rcgen::KeyPair::generate().unwrap();
            let leaf = parameters.signed_by(&leaf_key, &issuer).unwrap().der().to_vec();
            assert_eq!(is_accepted(authority.certificate_der(), &[leaf], name), expected, "{name}");
        }
    }

    /// A handshake in memory: the protocol agreed on, or the client's error.
    fn handshake(
        server: &Arc<ServerConfig>,
        client: &Arc<ClientConfig>,
        name: &'static str,
    ) -> Result<Option<Vec<u8>>, rustls::Error> {
        let name = ServerName::try_from(name).unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name)?;
        let mut server = ServerConnection::new(Arc::clone(server))?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(client.alpn_protocol().map(<[u8]>::to_vec))
    }

    #[test]
    fn certificate_is_replaced_between_handshakes() {
        let authority = authority();
        let first = certificate(&authority, &["a.keycard.localhost"]);
        let certificates = ServerCertificates::new(&first).unwrap();
        let server = Arc::new(server_config(Arc::clone(&certificates)).unwrap());
        let mut client = client_config(&authority.certificate_pem()).unwrap();
        client.alpn_protocols = vec![b"h2".to_vec()];
        let client = Arc::new(client);
        assert_eq!(handshake(&server, &client, "a.keycard.localhost"), Ok(Some(b"h2".to_vec())));
        assert!(handshake(&server, &client, "b.keycard.localhost").is_err());

        certificates.replace(&certificate(&authority, &["b.keycard.localhost"])).unwrap();
        assert!(handshake(&server, &client, "b.keycard.localhost").is_ok());

        let mut mixed = certificate(&authority, &["a.keycard.localhost"]);
        mixed.key = first.key;
        assert!(certificates.replace(&mixed).is_err());
        assert!(handshake(&server, &client, "b.keycard.localhost").is_ok());
    }

    #[test]
    fn certificate_comes_from_pem_files() {
        let authority = authority();
        let made = certificate(&authority, &["localhost"]);
        let key = crate::encoding::base64_encode(&made.key);
        let key = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
        let chain = crate::x509::certificate_pem(&made.chain[0]);
        let read = ServerCertificate::from_pem(&chain, &key).unwrap();
        assert_eq!((&read.chain, read.not_after), (&made.chain, made.not_after));
        assert!(ServerCertificates::new(&read).is_ok());
        assert!(ServerCertificate::from_pem(&key, &chain).is_err());
        assert!(client_config("").is_err());
    }

    #[test]
    fn bundle_is_trusted_but_for_what_cannot_be_read() {
        let authority = authority();
        let certificates =
            ServerCertificates::new(&certificate(&authority, &["localhost"])).unwrap();
        let server = Arc::new(server_config(certificates).unwrap());
        let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let bundle = format!("# odd\n{odd}{}", authority.certificate_pem());
        let client = Arc::new(client_config_of_bundle(&bundle).unwrap());
        assert!(handshake(&server, &client, "localhost").is_ok());
        let other = client_config_of_bundle(&self::authority().certificate_pem()).unwrap();
        assert!(handshake(&server, &Arc::new(other), "localhost").is_err());
        for empty in ["", "nonsense", odd] {
            assert!(client_config_of_bundle(empty).is_err());
        }
    }
}
