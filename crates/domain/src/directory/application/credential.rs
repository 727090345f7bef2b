//! Client secrets and certificates that an administrator gives to an application or a service principal.
//!
//! Source: Microsoft Graph, "passwordCredential resource type", "keyCredential resource type".

use keycard_crypto::secret::Secret;
use keycard_crypto::signing_key::PublicKey;
use keycard_crypto::{digest, encoding, x509};

use super::{KeyCredential, PasswordCredential};
use crate::entropy::Entropy;
use crate::ids::KeyId;
use crate::limits;
use crate::operation::OperationContext;

/// Why a client secret or certificate is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// There is no credential with this id.
    #[error("credential {0} does not exist")]
    NotFound(KeyId),
    /// There are as many as there may be.
    #[error("there are as many credentials as there may be")]
    TooMany,
    /// The display name is too long.
    #[error("the display name is too long")]
    DisplayNameTooLong,
    /// It would end before it starts.
    #[error("the credential ends before it starts")]
    EndsBeforeStart,
    /// The certificate cannot be read, or has a key of another kind than RSA and P-256.
    #[error("the certificate cannot be used")]
    CertificateUnusable,
    /// A new entry brings no certificate.
    #[error("a certificate is missing")]
    CertificateMissing,
    /// The credential would count when its certificate does not.
    #[error("the dates lie outside of the certificate's")]
    OutsideCertificate,
    /// The certificate is over already.
    #[error("the certificate is over")]
    Expired,
    /// The identifier is not the certificate's thumbprint.
    #[error("the custom key identifier is not the certificate's thumbprint")]
    ThumbprintWrong,
    /// The id or the certificate stands twice.
    #[error("the same id or certificate stands twice")]
    Duplicate,
}

/// A client secret to make.
#[derive(Clone, Debug, Default)]
pub struct NewPassword {
    /// What people call it.
    pub display_name: Option<String>,
    /// Unix seconds; now when absent.
    pub starts_at: Option<i64>,
    /// Unix seconds; two years after its start when absent.
    pub expires_at: Option<i64>,
}

/// A client secret as its administrator sees it, once.
#[derive(Debug)]
pub struct MadePassword {
    /// What is kept of it.
    pub credential: PasswordCredential,
    /// The secret.
    pub secret: Secret,
}

/// Random bytes of a client secret: 256 bits, and what its hint gives away.
const SECRET_BYTES: usize = 34;
/// Characters of the secret that its hint shows.
const HINT_CHARS: usize = 3;

/// Makes a client secret. It is written in hexadecimal: one that began with a dash would be taken for an option of a command.
pub(super) fn make_password(
    entropy: &dyn Entropy,
    operation: &OperationContext,
    new: &NewPassword,
) -> Result<MadePassword, CredentialError> {
    check_display_name(new.display_name.as_deref())?;
    let starts_at = new.starts_at.unwrap_or_else(|| operation.now.unix_timestamp());
    let default_end = starts_at.saturating_add(limits::PASSWORD_LIFETIME.whole_seconds());
    let expires_at = new.expires_at.unwrap_or(default_end);
    if expires_at <= starts_at {
        return Err(CredentialError::EndsBeforeStart);
    }
    let mut bytes = [0; SECRET_BYTES];
    entropy.fill(&mut bytes);
    let text = encoding::hex_encode(&bytes);
    let credential = PasswordCredential {
        key_id: KeyId::new(entropy.uuid()),
        display_name: new.display_name.clone(),
        hint: Some(text.chars().take(HINT_CHARS).collect()),
        sha256: digest::sha256(text.as_bytes()),
        starts_at,
        expires_at: Some(expires_at),
    };
    Ok(MadePassword { credential, secret: Secret::new(text) })
}

/// The secrets after a request that replaces the list, which can only leave some out.
pub(super) fn keep_passwords(
    present: &[PasswordCredential],
    kept: &[KeyId],
) -> Result<Vec<PasswordCredential>, CredentialError> {
    let is_present = |id: &KeyId| present.iter().any(|known| known.key_id == *id);
    if let Some(unknown) = kept.iter().find(|id| !is_present(id)) {
        return Err(CredentialError::NotFound(*unknown));
    }
    Ok(present.iter().filter(|known| kept.contains(&known.key_id)).cloned().collect())
}

/// An entry of a list of certificates as a request has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyEntry {
    /// Its id; a new one when absent.
    pub key_id: Option<KeyId>,
    /// What people call it.
    pub display_name: Option<String>,
    /// DER. Absent where the entry is meant that is there already.
    pub certificate: Option<Vec<u8>>,
    /// SHA-1 of the certificate, where the request has it.
    pub thumbprint: Option<Vec<u8>>,
    /// Unix seconds; the certificate's when absent.
    pub starts_at: Option<i64>,
    /// Unix seconds; the certificate's when absent.
    pub expires_at: Option<i64>,
}

/// The certificates after a request that replaces the list: an entry without a certificate means the one with its id.
pub(in crate::directory) fn replace_keys(
    present: &[KeyCredential],
    entries: &[KeyEntry],
    now: i64,
    new_id: impl Fn() -> KeyId,
) -> Result<Vec<KeyCredential>, CredentialError> {
    if entries.len() > limits::KEY_CREDENTIALS_MAX {
        return Err(CredentialError::TooMany);
    }
    let mut keys: Vec<KeyCredential> = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = match &entry.certificate {
            Some(certificate) => new_key(entry, certificate, now, &new_id)?,
            None => present_key(present, entry)?,
        };
        if keys.iter().any(|other| other.key_id == key.key_id || other.sha256 == key.sha256) {
            return Err(CredentialError::Duplicate);
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The credential of a certificate, for as long as the certificate runs.
pub(crate) fn key_of_certificate(
    certificate: &[u8],
    now: i64,
    key_id: KeyId,
) -> Result<KeyCredential, CredentialError> {
    new_key(&KeyEntry::default(), certificate, now, || key_id)
}

fn present_key(
    present: &[KeyCredential],
    entry: &KeyEntry,
) -> Result<KeyCredential, CredentialError> {
    let known = present.iter().find(|known| Some(known.key_id) == entry.key_id);
    known.cloned().ok_or(CredentialError::CertificateMissing)
}

fn new_key(
    entry: &KeyEntry,
    certificate: &[u8],
    now: i64,
    new_id: impl Fn() -> KeyId,
) -> Result<KeyCredential, CredentialError> {
    check_display_name(entry.display_name.as_deref())?;
    let unusable = |_| CredentialError::CertificateUnusable;
    PublicKey::from_certificate_der(certificate).map_err(unusable)?;
    let validity = x509::certificate_validity(certificate);
    let (from, until) = validity.map_err(|_| CredentialError::CertificateUnusable)?;
    let (from, until) = (from.unix_timestamp(), until.unix_timestamp());
    let starts_at = entry.starts_at.unwrap_or(from);
    let expires_at = entry.expires_at.unwrap_or(until);
    if expires_at <= starts_at {
        return Err(CredentialError::EndsBeforeStart);
    }
    if starts_at < from || expires_at > until {
        return Err(CredentialError::OutsideCertificate);
    }
    if expires_at <= now {
        return Err(CredentialError::Expired);
    }
    let key_id = entry.key_id.unwrap_or_else(new_id);
    let key = KeyCredential::of(key_id, certificate.to_vec(), starts_at);
    if entry.thumbprint.as_ref().is_some_and(|thumbprint| *thumbprint != key.sha1) {
        return Err(CredentialError::ThumbprintWrong);
    }
    Ok(KeyCredential {
        display_name: entry.display_name.clone(),
        expires_at: Some(expires_at),
        ..key
    })
}

fn check_display_name(name: Option<&str>) -> Result<(), CredentialError> {
    let chars = name.map_or(0, |name| name.chars().count());
    if chars > limits::CREDENTIAL_DISPLAY_NAME_CHARS_MAX {
        return Err(CredentialError::DisplayNameTooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use keycard_crypto::test_keys;
    use time::macros::datetime;
    use time::{Duration, UtcDateTime};
    use uuid::Uuid;

    const FROM: time::OffsetDateTime = datetime!(2027-01-01 0:00 UTC);
    const NOW: i64 = FROM.unix_timestamp() + 100;

    fn id(n: u128) -> KeyId {
        KeyId::new(Uuid::from_u128(n))
    }

    fn entry(name: &str) -> KeyEntry {
        let until = FROM + Duration::days(90);
        let der = test_keys::signing_key().self_signed_certificate(name, FROM, until).unwrap();
        KeyEntry { certificate: Some(der), ..KeyEntry::default() }
    }

    fn check(entries: &[KeyEntry], expected: &Result<usize, CredentialError>) {
        let present = [KeyCredential::of(id(1), vec![1], 0)];
        let keys = replace_keys(&present, entries, NOW, || id(9));
        assert_eq!(&keys.map(|keys| keys.len()), expected, "{entries:?}");
    }

    #[test]
    fn a_list_of_certificates_is_replaced_as_a_whole() {
        let kept = KeyEntry { key_id: Some(id(1)), ..KeyEntry::default() };
        let from = FROM.unix_timestamp();
        check(&[], &Ok(0));
        check(&[kept.clone(), entry("a")], &Ok(2));
        check(&[kept.clone(), kept], &Err(CredentialError::Duplicate));
        check(&[entry("a"), entry("b")], &Err(CredentialError::Duplicate));
        check(&[KeyEntry::default()], &Err(CredentialError::CertificateMissing));
        let unknown = KeyEntry { key_id: Some(id(2)), ..KeyEntry::default() };
        check(&[unknown], &Err(CredentialError::CertificateMissing));
        let (certificate, thumbprint) = (Some(vec![1, 2]), Some(vec![0; 20]));
        check(
            &[KeyEntry { certificate, ..KeyEntry::default() }],
            &Err(CredentialError::CertificateUnusable),
        );
        check(&[KeyEntry { thumbprint, ..entry("a") }], &Err(CredentialError::ThumbprintWrong));
        for (starts_at, expires_at, error) in [
            (Some(from), Some(from), CredentialError::EndsBeforeStart),
            (Some(from - 1), None, CredentialError::OutsideCertificate),
            (None, Some(from + 91 * 86400), CredentialError::OutsideCertificate),
            (None, Some(NOW), CredentialError::Expired),
        ] {
            check(&[KeyEntry { starts_at, expires_at, ..entry("a") }], &Err(error));
        }
        let name = Some("x".repeat(257));
        check(
            &[KeyEntry { display_name: name, ..entry("a") }],
            &Err(CredentialError::DisplayNameTooLong),
        );
        let many = vec![KeyEntry::default(); limits::KEY_CREDENTIALS_MAX + 1];
        check(&many, &Err(CredentialError::TooMany));
    }

    #[test]
    fn a_certificate_counts_as_long_as_it_says_itself() {
        let keys = replace_keys(&[], &[entry("a")], NOW, || id(9)).unwrap();
        let key = &keys[0];
        assert_eq!(key.starts_at, FROM.unix_timestamp());
        assert_eq!(key.expires_at, Some(FROM.unix_timestamp() + 90 * 86400));
        assert_eq!(key.key_id, id(9));
    }

    #[test]
    fn a_list_of_secrets_can_only_be_shortened() {
        let password = |n| PasswordCredential {
            key_id: id(n),
            display_name: None,
            hint: None,
            sha256: [0; 32],
            starts_at: 0,
            expires_at: None,
        };
        let present = [password(1), password(2)];
        for (kept, expected) in [
            (vec![], Ok(vec![])),
            (vec![id(2)], Ok(vec![password(2)])),
            (vec![id(2), id(1)], Ok(vec![password(1), password(2)])),
            (vec![id(1), id(1)], Ok(vec![password(1)])),
            (vec![id(1), id(3)], Err(CredentialError::NotFound(id(3)))),
        ] {
            assert_eq!(keep_passwords(&present, &kept), expected, "{kept:?}");
        }
    }

    #[test]
    fn a_secret_is_known_by_its_digest_and_lives_two_years() {
        let now = UtcDateTime::from_unix_timestamp(NOW).unwrap();
        let operation = OperationContext::system(now, Uuid::nil());
        let entropy = SeededEntropy::new(1);
        let make = |new: &NewPassword| make_password(&entropy, &operation, new);
        let (one, other) = (NewPassword::default(), NewPassword::default());
        let (one, other) = (make(&one).unwrap(), make(&other).unwrap());
        assert_ne!(one.secret.expose(), other.secret.expose());
        assert_ne!(one.credential.key_id, other.credential.key_id);
        assert_eq!(one.credential.sha256, digest::sha256(one.secret.expose().as_bytes()));
        assert!(one.secret.expose().starts_with(one.credential.hint.as_deref().unwrap()));
        assert_eq!(one.credential.expires_at, Some(NOW + 730 * 86400));
        let ends = NewPassword { expires_at: Some(NOW), ..NewPassword::default() };
        assert_eq!(make(&ends).unwrap_err(), CredentialError::EndsBeforeStart);
    }
}
