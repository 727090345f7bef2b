//! X.509 certificates: the local TLS authority and its server certificates, the authority of
//! identity credentials and its certificates, and certificates that administrators bring. Source:
//! RFC 5280 (profile), RFC 2986 (requests), RFC 7468 (PEM).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyUsagePurpose, NameConstraints,
    PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{OID_DOMAIN_COMPONENT, OID_X509_COMMON_NAME};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;
use zeroize::Zeroizing;

use crate::digest::{sha1, sha256};
use crate::public_key::{CERTIFICATE_BYTES_MAX, KeyError, PublicKey};
use crate::random;

/// Lifetime of both local authorities.
const AUTHORITY_LIFETIME: Duration = Duration::days(3652);

/// A new authority is valid from an hour before it's made, for clients whose clocks are late.
const AUTHORITY_BACKDATE: Duration = Duration::HOUR;

/// Most certificates that are read from one PEM text.
const PEM_CERTIFICATES_MAX: usize = 32;

/// RFC 5280 appendix A, `ub-common-name`: longer common names are refused by strict clients.
const COMMON_NAME_CHARS_MAX: usize = 64;

/// `domainComponent`. Source: RFC 4519 section 2.4.
const DOMAIN_COMPONENT: [u64; 7] = [0, 9, 2342, 19_200_300, 100, 1, 25];

/// Why a certificate was not made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum X509Error {
    /// Key trouble.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A name or time can't stand in a certificate.
    #[error("a name or time does not fit into a certificate")]
    InvalidName,
    /// The authority's name constraints don't permit a name or address that was asked for; a
    /// certificate with it would be refused as a whole.
    #[error("the authority must not issue for one of the names or addresses")]
    NotPermitted,
    /// Not DER, not PEM, or longer than allowed.
    #[error("the certificate or request could not be read")]
    Malformed,
    /// Key and certificate don't belong together.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The request isn't signed with the key it's for.
    #[error("the certificate request's signature is not valid")]
    RequestSignatureInvalid,
    /// The request is for someone else.
    #[error("the certificate request's subject is not the expected client and tenant")]
    RequestSubjectMismatch,
}

impl From<rcgen::Error> for X509Error {
    /// Names are checked before; what is left is the library's own trouble.
    fn from(_: rcgen::Error) -> Self {
        Self::Key(KeyError::NotMade)
    }
}

/// P-256 key that signs in the ASN.1 form X.509 wants. Source: RFC 3279 section 2.2.3.
pub(crate) struct CertificateKey(EcdsaKeyPair);

impl CertificateKey {
    pub(crate) fn generate() -> Result<Self, KeyError> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map(Self)
            .map_err(|_| KeyError::NotMade)
    }

    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map(Self)
            .map_err(|_| KeyError::Malformed)
    }

    fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der = self.0.to_pkcs8v1().map_err(|_| KeyError::NotMade)?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }
}

impl PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| rcgen::Error::RemoteKeyError)?.as_ref().to_vec())
    }
}

/// The public key of a verified certificate request.
struct RequestKey(Vec<u8>);

impl PublicKeyData for RequestKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// What a certificate may be issued for; what isn't listed is not permitted.
#[derive(Debug, Default)]
struct PermittedNames {
    dns: Vec<String>,
    networks: Vec<CidrSubnet>,
}

impl PermittedNames {
    /// Source: RFC 5280 section 4.2.1.10. `None`: the certificate constrains nothing.
    fn of(certificate: &X509Certificate<'_>) -> Result<Option<Self>, X509Error> {
        let constraints = certificate.name_constraints().map_err(|_| X509Error::Malformed)?;
        let Some(subtrees) = constraints.and_then(|found| found.value.permitted_subtrees.as_ref())
        else {
            return Ok(None);
        };
        let mut permitted = Self::default();
        for subtree in subtrees {
            if let GeneralName::DNSName(name) = &subtree.base {
                permitted.dns.push(name.to_ascii_lowercase());
            } else if let GeneralName::IPAddress(bytes) = &subtree.base {
                permitted.networks.extend(network(bytes));
            }
        }
        Ok(Some(permitted))
    }

    fn permits_dns(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.dns.iter().any(|suffix| {
            name.strip_suffix(suffix.as_str()).is_some_and(|left| {
                left.is_empty() || left.ends_with('.') || suffix.starts_with('.')
            })
        })
    }

    fn permits_ip(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| match (network, address) {
            (CidrSubnet::V4(base, mask), IpAddr::V4(address)) => {
                is_within(base, mask, &address.octets())
            }
            (CidrSubnet::V6(base, mask), IpAddr::V6(address)) => {
                is_within(base, mask, &address.octets())
            }
            (CidrSubnet::V4(..), IpAddr::V6(_)) | (CidrSubnet::V6(..), IpAddr::V4(_)) => false,
        })
    }
}

fn is_within(base: &[u8], mask: &[u8], address: &[u8]) -> bool {
    base.iter().zip(mask).zip(address).all(|((base, mask), byte)| base & mask == byte & mask)
}

/// Address and mask of an IP name constraint.
fn network(bytes: &[u8]) -> Option<CidrSubnet> {
    let (base, mask) = bytes.split_at_checked(bytes.len() / 2)?;
    match bytes.len() {
        8 => Some(CidrSubnet::V4(base.try_into().ok()?, mask.try_into().ok()?)),
        32 => Some(CidrSubnet::V6(base.try_into().ok()?, mask.try_into().ok()?)),
        _ => None,
    }
}

/// A P-256 certificate authority: key and certificate.
pub struct CertificateAuthority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, CertificateKey>,
    permitted: Option<PermittedNames>,
}

impl CertificateAuthority {
    /// The local TLS authority: ten years, path length 0, and critical name constraints that permit
    /// `domain`, the suffixes `permitted_dns`, and the loopback addresses 127.0.0.0/8 and `::1`
    /// only. So a stolen key can't impersonate anything else, wherever the authority is trusted.
    ///
    /// A suffix permits the name itself and all below it; `localhost` must be listed if wanted.
    ///
    /// # Errors
    /// [`X509Error::InvalidName`] if a suffix isn't ASCII or is empty.
    pub fn generate_tls(
        domain: &str,
        permitted_dns: &[&str],
        now: OffsetDateTime,
    ) -> Result<Self, X509Error> {
        let mut suffixes = vec![domain];
        suffixes.extend(permitted_dns.iter().filter(|suffix| **suffix != domain));
        if suffixes.iter().any(|suffix| suffix.is_empty() || !suffix.is_ascii()) {
            return Err(X509Error::InvalidName);
        }
        let mut permitted_subtrees: Vec<GeneralSubtree> =
            suffixes.into_iter().map(|suffix| GeneralSubtree::DnsName(suffix.to_owned())).collect();
        permitted_subtrees.extend([
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(
                Ipv6Addr::LOCALHOST.octets(),
                128,
            )),
        ]);
        let mut common_name = format!("keycard local CA for {domain}");
        if common_name.len() > COMMON_NAME_CHARS_MAX {
            "keycard local CA".clone_into(&mut common_name);
        }
        let mut parameters = authority_parameters(now);
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        parameters.name_constraints =
            Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        Self::generate(&parameters)
    }

    /// The authority that issues a tenant's identity credentials: ten years, path length 0. Only
    /// keycard believes it; it belongs into no trust store.
    ///
    /// # Errors
    /// [`X509Error::InvalidName`] if the tenant id isn't ASCII.
    pub fn generate_identity(tenant_id: &str, now: OffsetDateTime) -> Result<Self, X509Error> {
        let mut parameters = authority_parameters(now);
        parameters.distinguished_name = credential_subject("keycard identity CA", tenant_id)?;
        Self::generate(&parameters)
    }

    fn generate(parameters: &CertificateParams) -> Result<Self, X509Error> {
        let key = CertificateKey::generate()?;
        let certificate = parameters.self_signed(&key)?;
        Self::assemble(certificate.der().clone(), key)
    }

    /// Takes up a stored authority.
    ///
    /// # Errors
    /// [`X509Error::Malformed`] or [`X509Error::KeyMismatch`].
    pub fn from_parts(certificate_der: &[u8], pkcs8: &[u8]) -> Result<Self, X509Error> {
        let key = CertificateKey::from_pkcs8(pkcs8)?;
        let public_key = PublicKey::from_certificate_der(certificate_der)?;
        if public_key != PublicKey::ec_p256(key.der_bytes())? {
            return Err(X509Error::KeyMismatch);
        }
        Self::assemble(CertificateDer::from(certificate_der.to_vec()), key)
    }

    fn assemble(
        certificate: CertificateDer<'static>,
        key: CertificateKey,
    ) -> Result<Self, X509Error> {
        let permitted = PermittedNames::of(&parse_certificate(&certificate)?)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { certificate, issuer, permitted })
    }

    /// The authority's certificate, for trust stores.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        certificate_pem(&self.certificate)
    }

    /// The authority's certificate in DER.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The authority's private key as PKCS#8 DER, to be sealed at once.
    ///
    /// # Errors
    /// [`KeyError::NotMade`] if the library fails.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, X509Error> {
        Ok(self.issuer.key().to_pkcs8()?)
    }

    /// A server certificate with a new P-256 key: empty subject, all names as subject alternative
    /// names, `serverAuth` only.
    ///
    /// # Errors
    /// [`X509Error::NotPermitted`] for a name or address outside the authority's constraints;
    /// [`X509Error::InvalidName`] if there is none at all or one isn't ASCII.
    pub fn issue_server_certificate(
        &self,
        dns_names: &[String],
        ips: &[IpAddr],
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<ServerCertificate, X509Error> {
        self.check_permitted(dns_names, ips)?;
        let mut parameters = leaf_parameters(not_before, not_after, random_serial());
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in dns_names {
            parameters.subject_alt_names.push(SanType::DnsName(ascii(name)?));
        }
        parameters.subject_alt_names.extend(ips.iter().copied().map(SanType::IpAddress));
        if parameters.subject_alt_names.is_empty() {
            return Err(X509Error::InvalidName);
        }
        let key = CertificateKey::generate()?;
        Ok(ServerCertificate {
            chain: vec![self.sign_leaf(&parameters, &key)?],
            key: key.to_pkcs8()?,
            not_after: parameters.not_after,
        })
    }

    /// Fails where the authority's constraints permit one of the names or addresses not.
    pub(crate) fn check_permitted(
        &self,
        dns_names: &[String],
        ips: &[IpAddr],
    ) -> Result<(), X509Error> {
        let is_permitted = self.permitted.as_ref().is_none_or(|permitted| {
            dns_names.iter().all(|name| permitted.permits_dns(name))
                && ips.iter().all(|address| permitted.permits_ip(*address))
        });
        if is_permitted { Ok(()) } else { Err(X509Error::NotPermitted) }
    }

    /// A certificate of this authority for the key, DER.
    pub(crate) fn sign_leaf(
        &self,
        parameters: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<Vec<u8>, X509Error> {
        Ok(parameters.clone().signed_by(key, &self.issuer)?.der().to_vec())
    }

    /// The certificate for a request that a host made with
    /// [`AssertionKey::certificate_request`](crate::signing_key::AssertionKey::certificate_request):
    /// subject CN = client id, DC = tenant id, `clientAuth` only. Of the request nothing but the
    /// key is taken over; extensions it asks for are ignored.
    ///
    /// # Errors
    /// [`X509Error::Malformed`], [`X509Error::RequestSignatureInvalid`],
    /// [`X509Error::RequestSubjectMismatch`], or [`KeyError::Unsupported`] for any key but P-256.
    pub fn issue_identity_credential(
        &self,
        request_der: &[u8],
        client_id: &str,
        tenant_id: &str,
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
        serial: [u8; 16],
    ) -> Result<IssuedCertificate, X509Error> {
        let point = verified_request_point(request_der, client_id, tenant_id)?;
        let public_key = PublicKey::ec_p256(&point)?;
        let serial = SerialNumber::from_slice(&serial);
        let mut parameters = leaf_parameters(not_before, not_after, serial);
        parameters.distinguished_name = credential_subject(client_id, tenant_id)?;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let der = self.sign_leaf(&parameters, &RequestKey(point))?;
        let (sha1, sha256) = (sha1(&der), sha256(&der));
        Ok(IssuedCertificate {
            der,
            sha1,
            sha256,
            public_key,
            not_before: parameters.not_before,
            not_after: parameters.not_after,
        })
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CertificateAuthority(…)")
    }
}

/// A certificate chain with its private key, as a TLS server needs it.
#[derive(Clone)]
pub struct ServerCertificate {
    /// The server's own certificate first, DER each; the root isn't sent.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8, PKCS#1 or SEC 1 private key in DER.
    pub key: Zeroizing<Vec<u8>>,
    /// End of the server certificate's validity.
    pub not_after: OffsetDateTime,
}

impl ServerCertificate {
    /// A certificate that an administrator brings: PEM of the chain (own certificate first) and of
    /// the private key.
    ///
    /// # Errors
    /// [`X509Error::Malformed`] if either can't be read. Whether they belong together shows when
    /// the certificate is taken into use.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, X509Error> {
        let chain = parse_certificates_pem(chain)?;
        let first = parse_certificate(chain.first().ok_or(X509Error::Malformed)?)?;
        let not_after = first.validity().not_after.to_datetime();
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| X509Error::Malformed)?;
        let key = Zeroizing::new(key.secret_der().to_vec());
        Ok(Self { chain, key, not_after })
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServerCertificate")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// An issued certificate with what it's found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// SHA-1 thumbprint (`x5t`).
    pub sha1: [u8; 20],
    /// SHA-256 thumbprint (`x5t#S256`).
    pub sha256: [u8; 32],
    /// The certified key.
    pub public_key: PublicKey,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
}

/// The certificates of a PEM text in DER, in their order; other blocks are passed over.
///
/// # Errors
/// [`X509Error::Malformed`] if the PEM is broken, has no certificate or more than 32, or one of
/// them can't be read or exceeds 16 KiB.
pub fn parse_certificates_pem(pem: &str) -> Result<Vec<Vec<u8>>, X509Error> {
    let mut certificates = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = der.map_err(|_| X509Error::Malformed)?;
        parse_certificate(&der)?;
        if certificates.len() == PEM_CERTIFICATES_MAX {
            return Err(X509Error::Malformed);
        }
        certificates.push(der.to_vec());
    }
    if certificates.is_empty() {
        return Err(X509Error::Malformed);
    }
    Ok(certificates)
}

/// Start and end of a certificate's validity (DER).
///
/// # Errors
/// [`X509Error::Malformed`] if it can't be read or exceeds 16 KiB.
pub fn certificate_validity(der: &[u8]) -> Result<(OffsetDateTime, OffsetDateTime), X509Error> {
    let certificate = parse_certificate(der)?;
    let validity = certificate.validity();
    Ok((validity.not_before.to_datetime(), validity.not_after.to_datetime()))
}

/// One certificate (DER) as PEM. Source: RFC 7468 section 5.
#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    let base64 = crate::encoding::base64_encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = next;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// Subject of an identity credential: CN = client id, DC = tenant id.
pub(crate) fn credential_subject(
    client_id: &str,
    tenant_id: &str,
) -> Result<DistinguishedName, X509Error> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, client_id);
    subject.push(
        DnType::CustomDnType(DOMAIN_COMPONENT.to_vec()),
        DnValue::Ia5String(ascii(tenant_id)?),
    );
    Ok(subject)
}

/// 16 random bytes: positive and at most 20 octets, as RFC 5280 section 4.1.2.2 asks.
pub(crate) fn random_serial() -> SerialNumber {
    let mut serial = [0; 16];
    random::fill(&mut serial);
    SerialNumber::from_slice(&serial)
}

fn authority_parameters(now: OffsetDateTime) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.not_before = now.saturating_sub(AUTHORITY_BACKDATE);
    parameters.not_after = now.saturating_add(AUTHORITY_LIFETIME);
    parameters.serial_number = Some(random_serial());
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

/// Strict clients (Python 3.13) want both key identifiers and explicit basic constraints.
pub(crate) fn leaf_parameters(
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    serial: SerialNumber,
) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    // Certificates know whole seconds; what we report is what they say.
    parameters.not_before = not_before.truncate_to_second();
    parameters.not_after = not_after.truncate_to_second();
    parameters.serial_number = Some(serial);
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

/// The P-256 point of a request whose signature and subject are as they should be.
fn verified_request_point(
    request_der: &[u8],
    client_id: &str,
    tenant_id: &str,
) -> Result<Vec<u8>, X509Error> {
    if request_der.len() > CERTIFICATE_BYTES_MAX {
        return Err(X509Error::Malformed);
    }
    let (rest, request) =
        X509CertificationRequest::from_der(request_der).map_err(|_| X509Error::Malformed)?;
    if !rest.is_empty() {
        return Err(X509Error::Malformed);
    }
    let info = &request.certification_request_info;
    let PublicKey::EcP256 { point } = PublicKey::from_parsed(&info.subject_pki)? else {
        return Err(X509Error::Key(KeyError::Unsupported));
    };
    request.verify_signature().map_err(|_| X509Error::RequestSignatureInvalid)?;
    if !names_exactly(&info.subject, client_id, tenant_id) {
        return Err(X509Error::RequestSubjectMismatch);
    }
    Ok(point)
}

/// Whether the name consists of this common name and this domain component, in either order.
pub(crate) fn names_exactly(
    subject: &X509Name<'_>,
    common_name: &str,
    domain_component: &str,
) -> bool {
    let mut attributes = 0;
    let mut has_common_name = false;
    let mut has_domain_component = false;
    for attribute in subject.iter_attributes() {
        attributes += 1;
        let Ok(value) = attribute.as_str() else { return false };
        let kind = attribute.attr_type();
        has_common_name |= *kind == OID_X509_COMMON_NAME && value == common_name;
        has_domain_component |= *kind == OID_DOMAIN_COMPONENT && value == domain_component;
    }
    attributes == 2 && has_common_name && has_domain_component
}

/// The common name and the domain component of a credential's subject, which names nothing else.
pub(crate) fn credential_names(subject: &X509Name<'_>) -> Option<(String, String)> {
    let of = |kind: &x509_parser::der_parser::Oid<'_>| {
        let mut all = subject.iter_by_oid(kind).filter_map(|it| it.as_str().ok());
        all.next().map(str::to_owned)
    };
    let names = (of(&OID_X509_COMMON_NAME)?, of(&OID_DOMAIN_COMPONENT)?);
    names_exactly(subject, &names.0, &names.1).then_some(names)
}

pub(crate) fn parse_certificate(der: &[u8]) -> Result<X509Certificate<'_>, X509Error> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(X509Error::Malformed);
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| X509Error::Malformed)?;
    if rest.is_empty() { Ok(certificate) } else { Err(X509Error::Malformed) }
}

pub(crate) fn ascii(name: &str) -> Result<Ia5String, X509Error> {
    Ia5String::try_from(name).map_err(|_| X509Error::InvalidName)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_key::{Algorithm, AssertionKey};
    use crate::test_keys;

    const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
    const TENANT: &str = "66666666-7777-8888-9999-000000000000";

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap()
    }

    fn tls_authority() -> CertificateAuthority {
        CertificateAuthority::generate_tls(
            "keycard.localhost",
            &["vault.azure.net", "localhost"],
            now(),
        )
        .unwrap()
    }

    fn issue(
        authority: &CertificateAuthority,
        request: &[u8],
    ) -> Result<IssuedCertificate, X509Error> {
        let not_after = now() + Duration::days(90);
        authority.issue_identity_credential(request, CLIENT, TENANT, now(), not_after, [0x80; 16])
    }

    #[test]
    fn identity_credential_is_issued_for_its_own_request() {
        let authority = CertificateAuthority::generate_identity(TENANT, now()).unwrap();
        let key = AssertionKey::generate().unwrap();
        let issued = issue(&authority, &key.certificate_request(CLIENT, TENANT).unwrap()).unwrap();
        assert_eq!(PublicKey::from_certificate_der(&issued.der), Ok(key.public_key()));
        assert_eq!((issued.sha1, issued.sha256), (sha1(&issued.der), sha256(&issued.der)));
        issued.public_key.verify(Algorithm::Es256, b"m", &key.sign(b"m").unwrap()).unwrap();

        let certificate = parse_certificate(&issued.der).unwrap();
        assert!(names_exactly(certificate.subject(), CLIENT, TENANT));
        assert_eq!(certificate.raw_serial(), [&[0][..], &[0x80; 16]].concat());
        assert_eq!(certificate.validity().not_after.to_datetime(), issued.not_after);
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !certificate.is_ca());
        let authority = parse_certificate(authority.certificate_der()).unwrap();
        certificate.verify_signature(Some(authority.public_key())).unwrap();
    }

    #[test]
    fn request_for_another_subject_is_refused() {
        let authority = CertificateAuthority::generate_identity(TENANT, now()).unwrap();
        let key = test_keys::assertion_key();
        for (client, tenant) in [(TENANT, CLIENT), (CLIENT, CLIENT), (TENANT, TENANT), ("", TENANT)]
        {
            let request = key.certificate_request(client, tenant).unwrap();
            assert_eq!(issue(&authority, &request), Err(X509Error::RequestSubjectMismatch));
        }
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = credential_subject(CLIENT, TENANT).unwrap();
        parameters.distinguished_name.push(DnType::OrganizationName, "more");
        let key = CertificateKey::generate().unwrap();
        let request = parameters.serialize_request(&key).unwrap();
        assert_eq!(issue(&authority, request.der()), Err(X509Error::RequestSubjectMismatch));
    }

    #[test]
    fn subject_may_come_in_either_order() {
        let authority = CertificateAuthority::generate_identity(TENANT, now()).unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        let component = DnType::CustomDnType(DOMAIN_COMPONENT.to_vec());
        parameters.distinguished_name.push(component, TENANT);
        parameters.distinguished_name.push(DnType::CommonName, CLIENT);
        let request = parameters.serialize_request(&CertificateKey::generate().unwrap()).unwrap();
        assert!(issue(&authority, request.der()).is_ok());
    }

    #[test]
    fn forged_broken_or_foreign_request_is_refused() {
        let authority = CertificateAuthority::generate_identity(TENANT, now()).unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = credential_subject(CLIENT, TENANT).unwrap();
        let unsupported = Err(X509Error::Key(KeyError::Unsupported));
        let rsa = parameters.serialize_request(&test_keys::signing_key()).unwrap();
        assert_eq!(issue(&authority, rsa.der()), unsupported);
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let p384 = parameters.serialize_request(&p384).unwrap();
        assert_eq!(issue(&authority, p384.der()), unsupported);

        let good = test_keys::assertion_key().certificate_request(CLIENT, TENANT).unwrap();
        let mut forged = good.clone();
        let at = forged.windows(4).position(|window| window == b"1111").unwrap();
        forged[at] = b'2';
        assert_eq!(issue(&authority, &forged), Err(X509Error::RequestSignatureInvalid));
        let trailing = [&good[..], &[0]].concat();
        for broken in [&b""[..], &good[..good.len() - 1], &trailing, &[0x30; 20_000]] {
            assert_eq!(issue(&authority, broken), Err(X509Error::Malformed));
        }
    }

    #[test]
    fn authority_survives_storage() {
        let authority = tls_authority();
        let key = authority.to_pkcs8().unwrap();
        let again = CertificateAuthority::from_parts(authority.certificate_der(), &key).unwrap();
        assert_eq!(again.certificate_pem(), authority.certificate_pem());
        let names = ["a.keycard.localhost".to_owned()];
        assert!(again.issue_server_certificate(&names, &[], now(), now() + Duration::DAY).is_ok());
        let other = tls_authority().to_pkcs8().unwrap();
        let mixed = CertificateAuthority::from_parts(authority.certificate_der(), &other);
        assert_eq!(mixed.err(), Some(X509Error::KeyMismatch));
    }

    #[test]
    fn names_outside_the_constraints_are_not_issued() {
        let authority = tls_authority();
        let issue = |names: &[&str], ips: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            let outcome =
                authority.issue_server_certificate(&names, &ips, now(), now() + Duration::DAY);
            outcome.err()
        };
        assert_eq!(issue(&["keycard.localhost", "*.Vault.keycard.localhost"], &[]), None);
        assert_eq!(issue(&["localhost", "kv.vault.azure.net"], &["127.9.0.1", "::1"]), None);
        for name in ["example.com", "evilvault.azure.net", "azure.net", "vault.azure.net.evil"] {
            assert_eq!(issue(&["localhost", name], &[]), Some(X509Error::NotPermitted), "{name}");
        }
        for ip in ["128.0.0.1", "10.0.0.1", "::2", "::ffff:127.0.0.1"] {
            assert_eq!(issue(&["localhost"], &[ip]), Some(X509Error::NotPermitted), "{ip}");
        }
        assert_eq!(issue(&[], &[]), Some(X509Error::InvalidName));
    }

    #[test]
    fn pem_is_written_and_read() {
        let (first, second) = (tls_authority(), tls_authority());
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let text =
            format!("# a comment\n{}{key}{}", first.certificate_pem(), second.certificate_pem());
        assert!(text.lines().all(|line| line.len() <= 64));
        let read = parse_certificates_pem(&text).unwrap();
        assert_eq!(read, [first.certificate_der(), second.certificate_der()]);
        let truncated = first.certificate_pem().replace("-----END", "");
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let many = first.certificate_pem().repeat(PEM_CERTIFICATES_MAX + 1);
        for text in ["", key, &truncated, empty, &many] {
            assert_eq!(parse_certificates_pem(text), Err(X509Error::Malformed));
        }
    }

    #[test]
    fn the_validity_of_a_certificate_is_read() {
        let (from, until) = (now(), now() + Duration::DAY);
        let der = test_keys::signing_key().self_signed_certificate("a", from, until).unwrap();
        assert_eq!(certificate_validity(&der), Ok((from, until)));
        assert_eq!(certificate_validity(&der[1..]), Err(X509Error::Malformed));
    }

    #[test]
    fn long_domain_makes_a_valid_common_name() {
        let domain = format!("{}.example", "a".repeat(60));
        let authority = CertificateAuthority::generate_tls(&domain, &[], now()).unwrap();
        let certificate = parse_certificate(authority.certificate_der()).unwrap();
        let name = certificate.subject().iter_common_name().next().unwrap().as_str().unwrap();
        assert_eq!(name, "keycard local CA");
        assert!(CertificateAuthority::generate_tls("", &[], now()).is_err());
        assert!(CertificateAuthority::generate_tls("é.example", &[], now()).is_err());
    }
}
