//! The signer of attested documents: its certificate comes from the local authority, which clients trust already, and is
//! made anew with the server's own.

use std::sync::Arc;

use arc_swap::ArcSwap;
use keycard_crypto::document_signer::DocumentSigner;
use keycard_crypto::x509::{CertificateAuthority, X509Error};
use time::UtcDateTime;

/// The name that verifiers look for in the signer's certificate. Source: Azure Instance Metadata Service, "Attested data".
const AZURE_SIGNER: &str = "metadata.azure.com";

/// How long a signer's certificate runs; it is made anew long before.
const VALIDITY: time::Duration = time::Duration::days(90);

/// The present signer.
#[derive(Debug)]
pub(crate) struct DocumentSigning(ArcSwap<DocumentSigner>);

impl DocumentSigning {
    /// Begins with a new signer.
    pub(crate) fn new(
        authority: &CertificateAuthority,
        domain: &str,
        now: UtcDateTime,
    ) -> Result<Arc<Self>, X509Error> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(issue(authority, domain, now)?))))
    }

    /// Goes on with a new signer.
    pub(crate) fn renew(
        &self,
        authority: &CertificateAuthority,
        domain: &str,
        now: UtcDateTime,
    ) -> Result<(), X509Error> {
        self.0.store(Arc::new(issue(authority, domain, now)?));
        Ok(())
    }

    /// The signed document; `None` when it cannot be signed.
    pub(crate) fn sign(&self, content: &[u8]) -> Option<Vec<u8>> {
        let signed = self.0.load().sign(content);
        signed.inspect_err(|error| tracing::error!(%error, "a document could not be signed")).ok()
    }
}

/// Under Azure's name and our own; an authority that was made before it permitted Azure's issues for our own.
fn issue(
    authority: &CertificateAuthority,
    domain: &str,
    now: UtcDateTime,
) -> Result<DocumentSigner, X509Error> {
    let (from, until) = (now - time::Duration::hours(1), now + VALIDITY);
    let own = format!("metadata.{domain}");
    let both = [own.clone(), format!("*.{AZURE_SIGNER}")];
    match authority.issue_document_signer(&both, from.into(), until.into()) {
        Err(X509Error::NotPermitted) => {
            authority.issue_document_signer(&[own], from.into(), until.into())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_authority_issues_for_its_own_names() {
        let now = UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        for permitted in [&[AZURE_SIGNER][..], &["vault.azure.net"]] {
            let authority =
                CertificateAuthority::generate_tls("keycard.localhost", permitted, now.into());
            let signing = DocumentSigning::new(&authority.unwrap(), "keycard.localhost", now);
            assert!(signing.unwrap().sign(b"document").is_some(), "{permitted:?}");
        }
    }
}
