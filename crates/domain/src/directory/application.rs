//! An application that proves itself with a client secret or with a certificate its administrator brought.

use keycard_crypto::digest;
use keycard_crypto::secret::Secret;
use serde::{Deserialize, Serialize};
use time::UtcDateTime;

use crate::ids::{ClientId, TenantId};
use crate::records::Record;

/// An application in its home tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// The claim `appid`.
    pub client_id: ClientId,
    /// The tenant it belongs to.
    pub tenant_id: TenantId,
    /// What people call it.
    pub display_name: String,
    /// Its client secrets.
    pub passwords: Vec<PasswordCredential>,
    /// Its certificates.
    pub keys: Vec<KeyCredential>,
}

impl Record for Application {
    const KIND: &'static str = "applications";

    fn record_id(&self) -> String {
        self.client_id.to_string()
    }
}

/// A client secret, known by its digest. The secret has 256 random bits, so a plain digest cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordCredential {
    /// SHA-256 of the secret.
    #[serde(with = "crate::records::base64_bytes")]
    pub sha256: [u8; 32],
    /// Unix seconds; absent when it does not expire.
    pub expires_at: Option<i64>,
}

/// A certificate that an administrator brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCredential {
    /// DER.
    #[serde(with = "crate::records::base64_bytes")]
    pub certificate: Vec<u8>,
    /// SHA-1 of the certificate: `x5t`.
    #[serde(with = "crate::records::base64_bytes")]
    pub sha1: [u8; 20],
    /// SHA-256 of the certificate: `x5t#S256`.
    #[serde(with = "crate::records::base64_bytes")]
    pub sha256: [u8; 32],
}

impl KeyCredential {
    /// The credential of a certificate, DER.
    pub fn of(certificate: Vec<u8>) -> Self {
        let (sha1, sha256) = (digest::sha1(&certificate), digest::sha256(&certificate));
        Self { certificate, sha1, sha256 }
    }
}

/// What a presented client secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretCheck {
    /// It is the application's.
    Valid,
    /// It was the application's and has expired.
    Expired,
    /// It is none of the application's.
    Wrong,
}

impl Application {
    /// Checks a presented secret against all of the application's, in constant time.
    pub fn check_secret(&self, presented: &Secret, now: UtcDateTime) -> SecretCheck {
        let presented = digest::sha256(presented.expose().as_bytes());
        let mut outcome = SecretCheck::Wrong;
        for password in &self.passwords {
            if digest::constant_time_eq(&password.sha256, &presented) {
                let has_expired = password.expires_at.is_some_and(|at| at <= now.unix_timestamp());
                outcome = if has_expired { SecretCheck::Expired } else { SecretCheck::Valid };
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_valid_until_it_expires() {
        let application = Application {
            client_id: ClientId::new(uuid::Uuid::nil()),
            tenant_id: TenantId::new(uuid::Uuid::nil()),
            display_name: "a".into(),
            passwords: vec![PasswordCredential {
                sha256: digest::sha256(b"right"),
                expires_at: Some(100),
            }],
            keys: vec![],
        };
        let check = |secret: &str, at: i64| {
            application.check_secret(
                &Secret::new(secret.into()),
                UtcDateTime::from_unix_timestamp(at).unwrap(),
            )
        };
        assert_eq!(check("right", 99), SecretCheck::Valid);
        assert_eq!(check("right", 100), SecretCheck::Expired);
        assert_eq!(check("wrong", 99), SecretCheck::Wrong);
        assert_eq!(check("", 99), SecretCheck::Wrong);
    }
}
