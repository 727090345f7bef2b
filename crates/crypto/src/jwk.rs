//! JSON Web Keys: our public keys as `…/discovery/v2.0/keys` lists them, and key sets of foreign
//! issuers as federated credentials need them. Source: RFC 7517; RFC 7518 section 6.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::encoding::{base64_decode_any, base64_encode, base64url_encode};
use crate::public_key::PublicKey;

/// Most keys that are read from one foreign key set; the largest issuers publish under twenty.
pub const KEY_SET_KEYS_MAX: usize = 100;

/// Longest modulus of a foreign RSA key: whoever chooses the key chooses what verifying costs.
const FOREIGN_RSA_BITS_MAX: usize = 4096;

/// Longest number in a key: such a modulus and a leading zero.
const NUMBER_BYTES_MAX: usize = FOREIGN_RSA_BITS_MAX / 8 + 1;

/// The public members of a token-signing key, in the order Microsoft's key set has them. There's no
/// `alg`, as there. Source: Microsoft Learn, "Access tokens in the Microsoft identity platform".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwk {
    kty: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x5t: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    x5c: [String; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
}

impl Jwk {
    /// The entry for a key with its self-signed certificate (DER).
    #[must_use]
    pub fn from_signing_key(
        kid: String,
        x5t: String,
        key: &PublicKey,
        certificate_der: &[u8],
        issuer: Option<String>,
    ) -> Self {
        let mut jwk = Self {
            kty: "RSA",
            usage: "sig",
            kid,
            x5t,
            n: None,
            e: None,
            crv: None,
            x: None,
            y: None,
            x5c: [base64_encode(certificate_der)],
            issuer,
        };
        match key {
            PublicKey::Rsa { n, e } => {
                jwk.n = Some(base64url_encode(n));
                jwk.e = Some(base64url_encode(e));
            }
            PublicKey::EcP256 { point } => {
                let coordinates = point.get(1..).unwrap_or_default();
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                jwk.kty = "EC";
                jwk.crv = Some("P-256");
                jwk.x = Some(base64url_encode(x));
                jwk.y = Some(base64url_encode(y));
            }
        }
        jwk
    }

    /// The key id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

/// A foreign issuer's key set can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the key set is not a JSON object with a list of at most {KEY_SET_KEYS_MAX} keys")]
pub struct KeySetMalformed;

/// A key from a foreign issuer's key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The key id a token's header names.
    pub kid: Option<String>,
    /// The key.
    pub key: PublicKey,
}

#[derive(Deserialize)]
struct KeySetText {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct KeyText {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The signature keys of a key set that can be used here; others are passed over, as RFC 7517
/// section 5 asks. The caller bounds the length of `json`.
///
/// # Errors
/// [`KeySetMalformed`] if it's no key set at all, or has more than [`KEY_SET_KEYS_MAX`] keys.
pub fn read_key_set(json: &[u8]) -> Result<Vec<ForeignKey>, KeySetMalformed> {
    let set: KeySetText = serde_json::from_slice(json).map_err(|_| KeySetMalformed)?;
    if set.keys.len() > KEY_SET_KEYS_MAX {
        return Err(KeySetMalformed);
    }
    Ok(set.keys.into_iter().filter_map(foreign_key).collect())
}

fn foreign_key(value: serde_json::Value) -> Option<ForeignKey> {
    let text: KeyText = serde_json::from_value(value).ok()?;
    if text.usage.is_some_and(|usage| usage != "sig") {
        return None;
    }
    let number = |text: Option<String>| base64_decode_any(&text?, NUMBER_BYTES_MAX);
    let key = match (text.kty.as_str(), text.crv.as_deref()) {
        ("RSA", _) => {
            PublicKey::rsa(&number(text.n)?, &number(text.e)?).ok().filter(is_bearable)?
        }
        ("EC", Some("P-256")) => {
            let coordinates = [number(text.x)?, number(text.y)?];
            if coordinates.iter().any(|coordinate| coordinate.len() != 32) {
                return None;
            }
            PublicKey::ec_p256(&[&[4], coordinates.concat().as_slice()].concat()).ok()?
        }
        _ => return None,
    };
    Some(ForeignKey { kid: text.kid, key })
}

/// Whether verifying with an RSA key costs no more than with those that issuers use: at most 65537 as exponent.
fn is_bearable(key: &PublicKey) -> bool {
    match key {
        PublicKey::Rsa { n, e } => {
            let is_small = e.len() < 3 || e.as_slice() == [1, 0, 1];
            n.len() <= FOREIGN_RSA_BITS_MAX / 8 && is_small
        }
        PublicKey::EcP256 { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_keys;

    #[test]
    fn entry_has_the_public_members_in_order_and_reads_back() {
        let key = test_keys::signing_key().public_key();
        let issuer = Some("https://login.example/t/v2.0".to_owned());
        let jwk = Jwk::from_signing_key("k1".into(), "t1".into(), &key, &[1, 2], issuer);
        let text = serde_json::to_string(&jwk).unwrap();
        assert!(text.starts_with(r#"{"kty":"RSA","use":"sig","kid":"k1","x5t":"t1","n":""#));
        let end = r#"","e":"AQAB","x5c":["AQI="],"issuer":"https://login.example/t/v2.0"}"#;
        assert!(text.ends_with(end), "{text}");
        let set = read_key_set(format!(r#"{{"keys":[{text}]}}"#).as_bytes()).unwrap();
        assert_eq!(set, [ForeignKey { kid: Some("k1".to_owned()), key }]);
    }

    #[test]
    fn elliptic_key_reads_back() {
        let key = test_keys::assertion_key().public_key();
        let jwk = Jwk::from_signing_key("k".into(), "t".into(), &key, &[], None);
        let set = serde_json::to_vec(&json!({ "keys": [jwk] })).unwrap();
        assert_eq!(read_key_set(&set).unwrap()[0].key, key);
    }

    #[test]
    fn unusable_keys_are_passed_over_and_no_set_is_refused() {
        let n = base64url_encode(&[0xff; 256]);
        for unusable in [
            json!({}),
            json!(7),
            json!({ "kty": "oct", "k": "AAAA" }),
            json!({ "kty": "RSA", "use": "enc", "n": n, "e": "AQAB" }),
            json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }),
            json!({ "kty": "RSA", "n": n }),
            json!({ "kty": "RSA", "n": n, "e": "AQAD" }),
            json!({ "kty": "RSA", "n": n, "e": "AQABAQ" }),
            json!({ "kty": "RSA", "n": base64url_encode(&[0xff; 513]), "e": "AQAB" }),
            json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }),
            json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": n }),
        ] {
            let usable = json!({ "kty": "RSA", "n": n, "e": "AQAB" });
            let set = serde_json::to_vec(&json!({ "keys": [unusable, usable] })).unwrap();
            assert_eq!(read_key_set(&set).unwrap().len(), 1, "{unusable}");
        }
        let crowded = serde_json::to_vec(&json!({ "keys": vec![0; 101] })).unwrap();
        for text in [&b""[..], b"[]", b"{}", br#"{"keys":{}}"#, &crowded] {
            assert_eq!(read_key_set(text), Err(KeySetMalformed));
        }
    }
}
