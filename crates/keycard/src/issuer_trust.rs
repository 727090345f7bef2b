//! Which issuers of federated credentials are asked for their keys, and by whose word they are believed.

use std::sync::Arc;

use keycard_crypto::tls::{TlsError, client_config_of_bundle};
use keycard_wire::oidc::{LocalIssuers, OidcKeys};

/// Which issuers are asked, and by whose word they are believed.
#[derive(Clone, Debug)]
pub struct IssuerTrust {
    /// Whether those on this machine are asked too.
    pub local: LocalIssuers,
    /// Authorities, PEM, besides the system's.
    pub authorities_pem: Option<String>,
}

impl Default for IssuerTrust {
    fn default() -> Self {
        Self { local: LocalIssuers::Refused, authorities_pem: None }
    }
}

/// Where systems keep the authorities that they trust: Debian, Fedora, openSUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl IssuerTrust {
    /// The keys of such issuers. On a system without authorities no issuer is believed, and each assertion says so.
    pub(crate) fn keys(&self) -> Result<Arc<OidcKeys>, TlsError> {
        let bundle = BUNDLES.iter().find_map(|path| std::fs::read_to_string(path).ok());
        let pem = [bundle, self.authorities_pem.clone()];
        let pem: Vec<String> = pem.into_iter().flatten().collect();
        let tls = if pem.is_empty() {
            None
        } else {
            Some(Arc::new(client_config_of_bundle(&pem.join("\n"))?))
        };
        Ok(Arc::new(OidcKeys::new(self.local, tls)))
    }
}
