//! Identity credentials: the X.509 key credential of one identity on one resource.
//!
//! The private key is made on the host and stays there; only a certificate request travels ([`enrolment`]).
//! When a credential is due for renewal is decided in [`rotation`]. Certificates for keys that workloads made are in
//! [`key_binding`].

pub mod enrolment;
pub mod key_binding;
pub mod rotation;

use keycard_crypto::encoding;
use keycard_crypto::signing_key::PublicKey;
use serde::{Deserialize, Serialize};
use time::UtcDateTime;
use uuid::Uuid;

use crate::ids::{KeyId, PrincipalId};
use crate::records::{Record, Versioned};
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::Changes;

/// The public half of an identity's credential on one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityCredential {
    /// Whose credential it is.
    pub principal_id: PrincipalId,
    /// On which resource the private key is.
    pub resource: ArmResourceId,
    /// The P-256 public key, uncompressed.
    #[serde(with = "crate::records::base64_bytes")]
    pub public_point: Vec<u8>,
    /// SHA-1 of the certificate: `x5t`.
    #[serde(with = "crate::records::base64_bytes")]
    pub sha1: [u8; 20],
    /// SHA-256 of the certificate: `x5t#S256`.
    #[serde(with = "crate::records::base64_bytes")]
    pub sha256: [u8; 32],
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
}

impl Record for IdentityCredential {
    const KIND: &'static str = "identity-credentials";

    fn record_id(&self) -> String {
        format!("{}/{}", self.principal_id, encoding::hex_encode(&self.sha256))
    }
}

impl IdentityCredential {
    /// Its id in the directory, made of the certificate's digest.
    pub fn key_id(&self) -> KeyId {
        let mut id = [0; 16];
        id.iter_mut().zip(self.sha256).for_each(|(byte, digest)| *byte = digest);
        KeyId::new(Uuid::from_bytes(id))
    }

    /// The key that assertions are verified with.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::EcP256 { point: self.public_point.clone() }
    }

    /// Whether the credential counts at this moment.
    pub fn is_valid_at(&self, now: UtcDateTime) -> bool {
        (self.not_before..self.not_after).contains(&now.unix_timestamp())
    }
}

/// The credentials of an identity, on all resources.
pub fn credentials_of(
    snapshot: &Snapshot,
    principal: PrincipalId,
) -> impl Iterator<Item = &Versioned<IdentityCredential>> {
    snapshot.identity_credentials.below(&format!("{principal}/"))
}

/// Removes an identity's credentials: those on one resource and its parts, or all.
pub(crate) fn remove_credentials_of(
    snapshot: &Snapshot,
    changes: &mut Changes,
    principal: PrincipalId,
    resource: Option<&ArmResourceId>,
) {
    remove_credentials_on(snapshot, changes, principal, |on| {
        resource.is_none_or(|resource| on == resource || on.is_part_of(resource))
    });
}

/// Removes an identity's credentials on the resources that are meant.
pub(crate) fn remove_credentials_on(
    snapshot: &Snapshot,
    changes: &mut Changes,
    principal: PrincipalId,
    is_meant: impl Fn(&ArmResourceId) -> bool,
) {
    for credential in credentials_of(snapshot, principal) {
        if is_meant(&credential.resource) {
            changes.delete(snapshot, credential.record.as_ref());
        }
    }
}
