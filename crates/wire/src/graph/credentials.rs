//! Client secrets and certificates as requests write them.
//!
//! Source: Microsoft Graph REST API v1.0, "keyCredential resource type", "application: addPassword".

use keycard_crypto::encoding;
use keycard_crypto::signing_key::CERTIFICATE_BYTES_MAX;
use keycard_domain::directory::application::credential::{KeyEntry, NewPassword};
use keycard_domain::ids::KeyId;
use serde::Deserialize;
use time::OffsetDateTime;
use time::serde::rfc3339;

use super::body::{Rest, check_rest, id};
use super::error::GraphError;

const KEY: &str = "KeyCredential";
/// Bytes of a certificate's thumbprint.
const THUMBPRINT_BYTES: usize = 20;

/// An entry of `keyCredentials`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyBody {
    key_id: Option<String>,
    display_name: Option<String>,
    key: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    usage: Option<String>,
    custom_key_identifier: Option<String>,
    #[serde(default, with = "rfc3339::option")]
    start_date_time: Option<OffsetDateTime>,
    #[serde(default, with = "rfc3339::option")]
    end_date_time: Option<OffsetDateTime>,
    #[serde(flatten)]
    rest: Rest,
}

impl KeyBody {
    /// An entry without `key` is one that was read before: whatever else it says is what the server said.
    fn read(self) -> Result<KeyEntry, GraphError> {
        check_rest(KEY, &self.rest)?;
        let key_id: Option<KeyId> = self.key_id.as_deref().map(id).transpose()?;
        let Some(key) = self.key.filter(|key| !key.is_empty()) else {
            return Ok(KeyEntry { key_id, ..KeyEntry::default() });
        };
        if self.kind.as_deref() != Some("AsymmetricX509Cert") {
            return Err(GraphError::invalid(KEY, "type", "it has to be AsymmetricX509Cert"));
        }
        if self.usage.as_deref() != Some("Verify") {
            return Err(GraphError::invalid(KEY, "usage", "it has to be Verify"));
        }
        let certificate = encoding::base64_decode_any(&key, CERTIFICATE_BYTES_MAX)
            .ok_or_else(|| GraphError::invalid(KEY, "key", "it has to be base64"))?;
        let thumbprint = self.custom_key_identifier.filter(|text| !text.is_empty());
        Ok(KeyEntry {
            key_id,
            display_name: self.display_name,
            certificate: Some(certificate),
            thumbprint: thumbprint.as_deref().map(read_thumbprint).transpose()?,
            starts_at: self.start_date_time.map(OffsetDateTime::unix_timestamp),
            expires_at: self.end_date_time.map(OffsetDateTime::unix_timestamp),
        })
    }
}

/// The entries of a list.
pub(super) fn read_keys(bodies: Vec<KeyBody>) -> Result<Vec<KeyEntry>, GraphError> {
    bodies.into_iter().map(KeyBody::read).collect()
}

/// In hexadecimal, as it is shown, or in base64, as binary values are written.
fn read_thumbprint(text: &str) -> Result<Vec<u8>, GraphError> {
    let hex = encoding::hex_decode::<THUMBPRINT_BYTES>(text).map(Vec::from);
    let bytes = hex.or_else(|| encoding::base64_decode_any(text, 64));
    bytes.ok_or_else(|| GraphError::invalid(KEY, "customKeyIdentifier", "it has to be base64"))
}

/// The body of `addPassword`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddPasswordBody {
    password_credential: Option<PasswordBody>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PasswordBody {
    display_name: Option<String>,
    #[serde(default, with = "rfc3339::option")]
    start_date_time: Option<OffsetDateTime>,
    #[serde(default, with = "rfc3339::option")]
    end_date_time: Option<OffsetDateTime>,
    #[serde(flatten)]
    rest: Rest,
}

impl AddPasswordBody {
    pub(super) fn read(self) -> Result<NewPassword, GraphError> {
        let password = self.password_credential.unwrap_or_default();
        check_rest("PasswordCredential", &self.rest)?;
        check_rest("PasswordCredential", &password.rest)?;
        Ok(NewPassword {
            display_name: password.display_name,
            starts_at: password.start_date_time.map(OffsetDateTime::unix_timestamp),
            expires_at: password.end_date_time.map(OffsetDateTime::unix_timestamp),
        })
    }
}

/// An entry of `passwordCredentials` that was read before: whatever else it says is what the server said.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeptPasswordBody {
    key_id: Option<String>,
    secret_text: Option<String>,
}

impl KeptPasswordBody {
    fn read(self) -> Result<KeyId, GraphError> {
        let key_id = self.key_id.filter(|_| self.secret_text.is_none());
        let why = "a list can leave secrets out; new ones are made by addPassword";
        let key_id =
            key_id.ok_or_else(|| GraphError::invalid("Application", "passwordCredentials", why))?;
        id(&key_id)
    }
}

/// The secrets that a list leaves.
pub(super) fn read_kept_passwords(bodies: Vec<KeptPasswordBody>) -> Result<Vec<KeyId>, GraphError> {
    bodies.into_iter().map(KeptPasswordBody::read).collect()
}

/// The body of `removePassword`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RemovePasswordBody {
    key_id: String,
}

impl RemovePasswordBody {
    pub(super) fn read(&self) -> Result<KeyId, GraphError> {
        id(&self.key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(change: impl Fn(&mut Value), expected: Option<&KeyEntry>) {
        let mut body = json!({
            "type": "AsymmetricX509Cert", "usage": "Verify", "key": "AQI=",
            "startDateTime": "2027-01-01T00:00:00Z", "endDateTime": "2027-01-01T01:00:00+01:00",
        });
        change(&mut body);
        let read = serde_json::from_value::<KeyBody>(body.clone());
        let read = read.ok().and_then(|key| key.read().ok());
        assert_eq!(read.as_ref(), expected, "{body}");
    }

    #[test]
    fn a_certificate_is_read_in_every_spelling_that_clients_have() {
        let good = KeyEntry {
            certificate: Some(vec![1, 2]),
            starts_at: Some(1_798_761_600),
            expires_at: Some(1_798_761_600),
            ..KeyEntry::default()
        };
        check(|_| {}, Some(&good));
        check(|body| body["customKeyIdentifier"] = Value::Null, Some(&good));
        let thumbprint = Some(vec![0xAB; 20]);
        for text in ["ab".repeat(20), "AB".repeat(20), encoding::base64_encode(&[0xAB; 20])] {
            let expected = KeyEntry { thumbprint: thumbprint.clone(), ..good.clone() };
            check(|body| body["customKeyIdentifier"] = json!(text), Some(&expected));
        }
        let id = "11111111-1111-1111-1111-111111111111";
        let known = KeyEntry { key_id: id.parse().ok(), ..KeyEntry::default() };
        check(|body| *body = json!({ "keyId": id, "key": null, "usage": "Verify" }), Some(&known));
        for (member, wrong) in [
            ("type", json!("Symmetric")),
            ("usage", json!("Sign")),
            ("usage", Value::Null),
            ("key", json!("!")),
            ("keyId", json!("x")),
            ("customKeyIdentifier", json!("!")),
            ("startDateTime", json!("2027-01-01")),
            ("hidden", json!("x")),
        ] {
            check(|body| body[member] = wrong.clone(), None);
        }
    }
}
