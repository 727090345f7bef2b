//! The certificates of a server, and the files that make clients trust them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keycard_crypto::tls::{NamedCertificates, ServerCertificates};
use keycard_crypto::x509::{CertificateAuthority, ServerCertificate, X509Error};
use keycard_domain::clock::Clock;
use keycard_host_agent::node_certificate::NodeCertificate;
use keycard_wire::host_names::HostNames;
use time::UtcDateTime;
use tokio::sync::watch;

use super::{StartError, other, repeat};
use crate::document_signing::DocumentSigning;
use crate::keys;

/// Files that make clients trust the local authority.
pub(super) struct TrustFiles {
    pub(super) authority: PathBuf,
    pub(super) bundle: PathBuf,
}

/// Where distributions keep the system's authorities.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

pub(super) fn write_trust_files(
    directory: &Path,
    authority: &CertificateAuthority,
) -> Result<TrustFiles, StartError> {
    keys::private_directory(directory)?;
    let pem = authority.certificate_pem();
    let system = SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read_to_string(path).ok());
    let bundle = format!("{}\n{pem}", system.unwrap_or_default());
    let files =
        TrustFiles { authority: directory.join("ca.pem"), bundle: directory.join("bundle.pem") };
    keys::write_for_this_run(&files.authority, pem.as_bytes())?;
    keys::write_for_this_run(&files.bundle, bundle.as_bytes())?;
    Ok(files)
}

/// Issues the server's certificate.
pub(super) struct Tls {
    pub(super) authority: CertificateAuthority,
    pub(super) names: HostNames,
    /// What signs documents with certificates of the same authority.
    pub(super) signing: Arc<DocumentSigning>,
    pub(super) clock: Arc<dyn Clock>,
}

/// How long a server certificate runs; it renews itself long before.
const SERVER_CERTIFICATE_VALIDITY: time::Duration = time::Duration::days(90);
/// How often the server's certificate is made anew.
const SERVER_CERTIFICATE_RENEWAL: Duration = Duration::from_secs(30 * 24 * 3600);

impl Tls {
    pub(super) fn issue(&self) -> Result<ServerCertificate, StartError> {
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        self.issue_for(&self.names.certificate_names(), &addresses).map_err(other)
    }

    pub(super) fn issue_for(
        &self,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<ServerCertificate, X509Error> {
        let now: UtcDateTime = self.clock.now();
        let (from, until) = (now - time::Duration::hours(1), now + SERVER_CERTIFICATE_VALIDITY);
        self.authority.issue_server_certificate(names, addresses, from.into(), until.into())
    }

    fn renew_signer(&self) -> Result<(), X509Error> {
        self.signing.renew(&self.authority, self.names.domain(), self.clock.now())
    }
}

/// How long the certificate of local endpoints runs: workloads were told its thumbprint, so it is never replaced. Apple's
/// verifier takes none that runs longer.
const NODE_CERTIFICATE_VALIDITY: time::Duration = time::Duration::days(825);

/// The certificate of this run's local endpoints that are spoken to over TLS.
pub(super) fn node_certificate(
    authority: &CertificateAuthority,
    now: UtcDateTime,
) -> Result<NodeCertificate, StartError> {
    let (from, until) = (now - time::Duration::hours(1), now + NODE_CERTIFICATE_VALIDITY);
    let (names, addresses) = (["localhost".to_owned()], [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let certificate =
        authority.issue_server_certificate(&names, &addresses, from.into(), until.into());
    NodeCertificate::new(&certificate.map_err(other)?).map_err(other)
}

pub(super) async fn renew_certificates(
    tls: Arc<Tls>,
    certificates: Arc<ServerCertificates>,
    named: Arc<NamedCertificates>,
    stopped: watch::Receiver<bool>,
) {
    repeat(stopped, || async {
        tokio::time::sleep(SERVER_CERTIFICATE_RENEWAL).await;
        named.forget();
        let renewed = tls.issue().and_then(|fresh| certificates.replace(&fresh).map_err(other));
        if let Err(error) = renewed {
            tracing::error!(%error, "the server's certificate could not be renewed");
        }
        if let Err(error) = tls.renew_signer() {
            tracing::error!(%error, "the signer of documents could not be renewed");
        }
    })
    .await;
}
