//! An application that proves itself with a client secret or with a certificate its administrator brought, and that other
//! applications may ask tokens for.
//!
//! Source: Microsoft Graph, "application resource type".

pub mod credential;
pub mod registration;

use keycard_crypto::digest;
use keycard_crypto::secret::Secret;
use serde::{Deserialize, Serialize};
use time::UtcDateTime;

use crate::ids::{AppRoleId, ApplicationId, ClientId, KeyId, TenantId};
use crate::records::Record;

/// An application in its home tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its object id.
    pub id: ApplicationId,
    /// The claim `appid`.
    pub client_id: ClientId,
    /// The tenant it belongs to.
    pub tenant_id: TenantId,
    /// What people call it.
    pub display_name: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Its client secrets.
    pub passwords: Vec<PasswordCredential>,
    /// Its certificates.
    pub keys: Vec<KeyCredential>,
    /// What tokens for it are asked for, besides its client id.
    pub identifier_uris: Vec<String>,
    /// The roles that those who call it can be given.
    pub app_roles: Vec<AppRole>,
    /// The form of the tokens it accepts.
    pub accepted_token_version: TokenVersion,
    /// Whether tokens for it name the groups of the caller.
    pub wants_group_claims: bool,
}

impl Record for Application {
    const KIND: &'static str = "applications";
    const VERSION: u32 = 2;

    fn record_id(&self) -> String {
        self.client_id.to_string()
    }
}

/// The form of an access token: the claim `ver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenVersion {
    /// `1.0`: `aud` is the resource as it was asked for, the client is `appid`.
    V1,
    /// `2.0`: `aud` is the resource's client id, the client is `azp`.
    V2,
}

/// A role that an application defines for those who call it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRole {
    /// Its id within the application.
    pub id: AppRoleId,
    /// What stands in the claim `roles`; without one nothing does.
    pub value: Option<String>,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Whether it can be given.
    pub is_enabled: bool,
    /// Whom it can be given to: `Application`, `User`.
    pub allowed_member_types: Vec<String>,
}

impl AppRole {
    /// Whether programs can be given it, and have it who were.
    pub fn counts(&self) -> bool {
        self.is_enabled && self.allowed_member_types.iter().any(|it| it == "Application")
    }
}

/// A client secret, known by its digest. The secret has 256 random bits, so a plain digest cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordCredential {
    /// Its id.
    pub key_id: KeyId,
    /// What people call it.
    pub display_name: Option<String>,
    /// The secret's first characters, by which people tell their secrets apart.
    pub hint: Option<String>,
    /// SHA-256 of the secret.
    #[serde(with = "crate::records::base64_bytes")]
    pub sha256: [u8; 32],
    /// Unix seconds.
    pub starts_at: i64,
    /// Unix seconds; absent when it does not expire.
    pub expires_at: Option<i64>,
}

/// A certificate that an administrator brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCredential {
    /// Its id.
    pub key_id: KeyId,
    /// What people call it.
    pub display_name: Option<String>,
    /// DER.
    #[serde(with = "crate::records::base64_bytes")]
    pub certificate: Vec<u8>,
    /// SHA-1 of the certificate: `x5t`.
    #[serde(with = "crate::records::base64_bytes")]
    pub sha1: [u8; 20],
    /// SHA-256 of the certificate: `x5t#S256`.
    #[serde(with = "crate::records::base64_bytes")]
    pub sha256: [u8; 32],
    /// Unix seconds.
    pub starts_at: i64,
    /// Unix seconds; absent when it does not expire.
    pub expires_at: Option<i64>,
}

impl KeyCredential {
    /// The credential of a certificate, DER, from a moment on, Unix seconds, until it is removed.
    pub fn of(key_id: KeyId, certificate: Vec<u8>, starts_at: i64) -> Self {
        let (sha1, sha256) = (digest::sha1(&certificate), digest::sha256(&certificate));
        Self { key_id, display_name: None, certificate, sha1, sha256, starts_at, expires_at: None }
    }

    /// Whether the credential counts at this moment.
    pub fn is_valid_at(&self, now: UtcDateTime) -> bool {
        let now = now.unix_timestamp();
        self.starts_at <= now && self.expires_at.is_none_or(|end| now < end)
    }
}

/// What a presented client secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretCheck {
    /// It is the application's: the credential with this id.
    Valid(KeyId),
    /// It was the application's and has expired.
    Expired,
    /// It is none of the application's.
    Wrong,
}

impl Application {
    /// Checks a presented secret against all of the application's, in constant time.
    pub fn check_secret(&self, presented: &Secret, now: UtcDateTime) -> SecretCheck {
        let presented = digest::sha256(presented.expose().as_bytes());
        let now = now.unix_timestamp();
        let mut outcome = SecretCheck::Wrong;
        for password in &self.passwords {
            if digest::constant_time_eq(&password.sha256, &presented) && password.starts_at <= now {
                let has_expired = password.expires_at.is_some_and(|at| at <= now);
                outcome = if has_expired {
                    SecretCheck::Expired
                } else {
                    SecretCheck::Valid(password.key_id)
                };
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn application() -> Application {
        Application {
            id: ApplicationId::new(Uuid::nil()),
            client_id: ClientId::new(Uuid::nil()),
            tenant_id: TenantId::new(Uuid::nil()),
            display_name: "a".into(),
            created_at: 0,
            passwords: vec![PasswordCredential {
                key_id: KeyId::new(Uuid::nil()),
                display_name: None,
                hint: None,
                sha256: digest::sha256(b"right"),
                starts_at: 10,
                expires_at: Some(100),
            }],
            keys: vec![],
            identifier_uris: vec!["https://orders.example/api".into()],
            app_roles: vec![],
            accepted_token_version: TokenVersion::V1,
            wants_group_claims: false,
        }
    }

    #[test]
    fn a_secret_is_valid_from_its_start_until_it_expires() {
        let application = application();
        let check = |secret: &str, at: i64| {
            application.check_secret(
                &Secret::new(secret.into()),
                UtcDateTime::from_unix_timestamp(at).unwrap(),
            )
        };
        let valid = SecretCheck::Valid(KeyId::new(Uuid::nil()));
        assert_eq!(check("right", 9), SecretCheck::Wrong);
        assert_eq!(check("right", 10), valid);
        assert_eq!(check("right", 99), valid);
        assert_eq!(check("right", 100), SecretCheck::Expired);
        assert_eq!(check("wrong", 99), SecretCheck::Wrong);
        assert_eq!(check("", 99), SecretCheck::Wrong);
    }
}
