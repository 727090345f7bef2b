//! JSON Web Tokens: written for our access tokens and client assertions, read strictly from
//! strangers. Source: RFC 7515 (JWS, compact form), RFC 7519 (JWT), RFC 8725 (best current
//! practices). Which key to use, and whether the claims fit, is the caller's business.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::encoding::{base64_decode_any, base64url_decode, base64url_encode};
use crate::public_key::PublicKey;
pub use crate::public_key::{Algorithm, UnknownAlgorithm};

/// Latest time a [`numeric_date`] may name: the last second of the year 9999.
const NUMERIC_DATE_MAX: i64 = 253_402_300_799;

/// Why a token was not written, read or believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JwtError {
    /// Header or claims can't be written as JSON.
    #[error("the token could not be written as JSON")]
    NotWritten,
    /// Longer than the caller allows.
    #[error("the token is too long")]
    TooLong,
    /// Not three non-empty segments of base64url with JSON objects in the first two, or a member
    /// name occurs twice.
    #[error("the token is malformed")]
    Malformed,
    /// The header has `crit`: an extension that must be understood, and none is (RFC 7515 section
    /// 4.1.11).
    #[error("the token needs an extension that is not supported")]
    CriticalExtension,
    /// `alg` is missing, `none`, an HMAC, or another algorithm that is not accepted.
    #[error("the signature algorithm must be RS256, PS256 or ES256")]
    UnknownAlgorithm,
    /// The signature does not fit text and key.
    #[error("the token's signature is not valid")]
    SignatureInvalid,
}

/// The text to sign: base64url(header) `.` base64url(claims), both as compact JSON.
///
/// # Errors
/// [`JwtError::NotWritten`] if either can't be written as JSON.
pub fn signing_input(header: &impl Serialize, claims: &impl Serialize) -> Result<String, JwtError> {
    let header = serde_json::to_vec(header).map_err(|_| JwtError::NotWritten)?;
    let claims = serde_json::to_vec(claims).map_err(|_| JwtError::NotWritten)?;
    let mut text = base64url_encode(&header);
    text.push('.');
    text.push_str(&base64url_encode(&claims));
    Ok(text)
}

/// The whole token from its signing input and signature.
#[must_use]
pub fn assemble(mut signing_input: String, signature: &[u8]) -> String {
    signing_input.push('.');
    signing_input.push_str(&base64url_encode(signature));
    signing_input
}

/// What is read of a header. Members that name or carry a key (`jku`, `x5u`, `jwk`, `x5c`) are
/// never read: a stranger doesn't choose the key he's checked with (RFC 8725 sections 3.10 and
/// 3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Signature algorithm as written; checked by [`UnverifiedJwt::verify`].
    pub alg: String,
    /// Key id.
    pub kid: Option<String>,
    /// Media type of the token.
    pub typ: Option<String>,
    /// SHA-1 thumbprint of the certificate, as written.
    pub x5t: Option<String>,
    /// SHA-256 thumbprint of the certificate (`x5t#S256`), as written.
    pub x5t_s256: Option<String>,
}

impl Header {
    fn read(mut members: Map<String, Value>) -> Result<Self, JwtError> {
        if members.contains_key("crit") {
            return Err(JwtError::CriticalExtension);
        }
        let alg = text_member(&mut members, "alg")?.ok_or(JwtError::UnknownAlgorithm)?;
        Ok(Self {
            alg,
            kid: text_member(&mut members, "kid")?,
            typ: text_member(&mut members, "typ")?,
            x5t: text_member(&mut members, "x5t")?,
            x5t_s256: text_member(&mut members, "x5t#S256")?,
        })
    }
}

/// Takes a member that must be text where it's there; `null` counts as absent.
fn text_member(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, JwtError> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(JwtError::Malformed)
        }
    }
}

/// A certificate's thumbprint, by which a client names the key it signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thumbprint {
    /// SHA-1 of the DER (`x5t`, RFC 7515 section 4.1.7).
    Sha1([u8; 20]),
    /// SHA-256 of the DER (`x5t#S256`, RFC 7515 section 4.1.8).
    Sha256([u8; 32]),
}

/// A token taken apart, of which nothing is believed yet.
#[derive(Debug, Clone)]
pub struct UnverifiedJwt<'a> {
    /// The first two segments exactly as received; clients that pad sign over their padding.
    signing_input: &'a str,
    header: Header,
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

impl<'a> UnverifiedJwt<'a> {
    /// Takes `text` apart if it's at most `length_max` bytes long.
    ///
    /// Segments may carry `=` padding (the Python SDK's asynchronous client sends it). A member
    /// name that occurs twice in header or claims is refused, so no two readers can disagree on its
    /// value.
    ///
    /// # Errors
    /// [`JwtError::TooLong`], [`JwtError::Malformed`], [`JwtError::CriticalExtension`], or
    /// [`JwtError::UnknownAlgorithm`] when the header has no `alg`.
    pub fn parse(text: &'a str, length_max: usize) -> Result<Self, JwtError> {
        if text.len() > length_max {
            return Err(JwtError::TooLong);
        }
        let (signing_input, signature) = text.rsplit_once('.').ok_or(JwtError::Malformed)?;
        // A fourth segment leaves a full stop in `header`, which is no base64.
        let (header, claims) = signing_input.rsplit_once('.').ok_or(JwtError::Malformed)?;
        Ok(Self {
            signing_input,
            header: Header::read(decode_object(header)?)?,
            claims: decode_object(claims)?,
            signature: decode_segment(signature)?,
        })
    }

    /// The header, to choose a key by; its author may be anyone.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The claims, to find out whose key to use; their author may be anyone.
    #[must_use]
    pub fn claims_unverified(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The text that was signed: the first two segments as received.
    #[must_use]
    pub fn signed_text(&self) -> &'a str {
        self.signing_input
    }

    /// The thumbprint in the header: `x5t#S256` if it's there, else `x5t`. Any base64 alphabet and
    /// padding is read, as clients differ. `None` if neither is there or has the right length.
    #[must_use]
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        if let Some(text) = &self.header.x5t_s256 {
            return decode_digest(text).map(Thumbprint::Sha256);
        }
        decode_digest(self.header.x5t.as_ref()?).map(Thumbprint::Sha1)
    }

    /// Checks the signature with `key` and gives the claims, which are then the key owner's words;
    /// times, audience and issuer are still to be checked.
    ///
    /// # Errors
    /// [`JwtError::UnknownAlgorithm`] or [`JwtError::SignatureInvalid`]; the latter also if the
    /// algorithm belongs to another kind of key.
    pub fn verify(self, key: &PublicKey) -> Result<Map<String, Value>, JwtError> {
        let algorithm: Algorithm =
            self.header.alg.parse().map_err(|_| JwtError::UnknownAlgorithm)?;
        key.verify(algorithm, self.signing_input.as_bytes(), &self.signature)
            .map_err(|_| JwtError::SignatureInvalid)?;
        Ok(self.claims)
    }
}

fn decode_segment(segment: &str) -> Result<Vec<u8>, JwtError> {
    base64url_decode(segment).filter(|bytes| !bytes.is_empty()).ok_or(JwtError::Malformed)
}

fn decode_object(segment: &str) -> Result<Map<String, Value>, JwtError> {
    let json = decode_segment(segment)?;
    let object: UniqueMembers = serde_json::from_slice(&json).map_err(|_| JwtError::Malformed)?;
    Ok(object.0)
}

fn decode_digest<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    base64_decode_any(text, LEN)?.try_into().ok()
}

/// A JSON object in which no member name occurs twice (RFC 7519 section 4).
struct UniqueMembers(Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueMembersVisitor)
    }
}

struct UniqueMembersVisitor;

impl<'de> Visitor<'de> for UniqueMembersVisitor {
    type Value = UniqueMembers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object without repeated members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<UniqueMembers, A::Error> {
        let mut members = Map::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member name occurs twice"));
            }
        }
        Ok(UniqueMembers(members))
    }
}

/// Seconds since 1970 from `exp`, `nbf` or `iat`: a JSON integer, a JSON fraction (cut off; Python)
/// or a string of digits (.NET). `None` for anything else, and outside the years 1970 to 9999: a
/// claim that's there but gives `None` must be refused. Source: RFC 7519 section 2,
/// "`NumericDate`".
#[must_use]
pub fn numeric_date(value: &Value) -> Option<i64> {
    let seconds = match value {
        Value::Number(number) => match number.as_i64() {
            Some(seconds) => seconds,
            None => whole_seconds(number.as_f64()?)?,
        },
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()?
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return None;
        }
    };
    (0..=NUMERIC_DATE_MAX).contains(&seconds).then_some(seconds)
}

/// `None` for what isn't finite or doesn't fit.
fn whole_seconds(seconds: f64) -> Option<i64> {
    if !(0.0..1e12).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the bounds are checked above")]
    Some(seconds.trunc() as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::digest::{sha1, sha256};
    use crate::encoding::base64_encode;
    use crate::test_keys;

    const LENGTH_MAX: usize = 4096;

    /// A token signed with the RSA test key, whatever its header says.
    fn signed(header: &str, claims: &str) -> String {
        let input = format!(
            "{}.{}",
            base64url_encode(header.as_bytes()),
            base64url_encode(claims.as_bytes())
        );
        let signature = test_keys::signing_key().sign(input.as_bytes()).unwrap();
        assemble(input, &signature)
    }

    #[track_caller]
    fn check_refused(text: &str, expected: JwtError) {
        let key = test_keys::signing_key().public_key();
        let outcome = UnverifiedJwt::parse(text, LENGTH_MAX).and_then(|jwt| jwt.verify(&key));
        assert_eq!(outcome, Err(expected), "{text}");
    }

    #[test]
    fn written_token_is_read_and_verified() {
        let key = test_keys::signing_key();
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5t": "k", "kid": "k" });
        let input = signing_input(&header, &json!({ "aud": "a", "exp": 7 })).unwrap();
        let signature = key.sign(input.as_bytes()).unwrap();
        let text = assemble(input, &signature);
        let jwt = UnverifiedJwt::parse(&text, LENGTH_MAX).unwrap();
        assert_eq!(jwt.header().kid.as_deref(), Some("k"));
        assert_eq!(jwt.header().typ.as_deref(), Some("JWT"));
        assert_eq!(jwt.claims_unverified()["aud"], "a");
        let claims = jwt.clone().verify(&key.public_key()).unwrap();
        assert_eq!(claims["exp"], 7);
        let other = test_keys::assertion_key().public_key();
        assert_eq!(jwt.verify(&other), Err(JwtError::SignatureInvalid));
    }

    #[test]
    fn header_that_must_not_be_believed_is_refused() {
        for (header, expected) in [
            (r#"{"alg":"none"}"#, JwtError::UnknownAlgorithm),
            (r#"{"alg":"HS256"}"#, JwtError::UnknownAlgorithm),
            (r#"{"alg":"rs256"}"#, JwtError::UnknownAlgorithm),
            (r#"{"typ":"JWT"}"#, JwtError::UnknownAlgorithm),
            (r#"{"alg":"PS256"}"#, JwtError::SignatureInvalid),
            (r#"{"alg":"ES256"}"#, JwtError::SignatureInvalid),
            (r#"{"alg":"RS256","crit":["b64"],"b64":false}"#, JwtError::CriticalExtension),
            (r#"{"alg":"RS256","crit":[]}"#, JwtError::CriticalExtension),
            (r#"{"alg":"none","alg":"RS256"}"#, JwtError::Malformed),
            (r#"{"alg":"RS256","kid":"a","kid":"b"}"#, JwtError::Malformed),
            (r#"{"alg":"RS256","x":1,"\u0078":2}"#, JwtError::Malformed),
            (r#"{"alg":"RS256","kid":7}"#, JwtError::Malformed),
            (r#"{"alg":["RS256"]}"#, JwtError::Malformed),
            (r#"["RS256"]"#, JwtError::Malformed),
            (r#"{"alg":"RS256"} x"#, JwtError::Malformed),
        ] {
            check_refused(&signed(header, r#"{"sub":"s"}"#), expected);
        }
    }

    #[test]
    fn text_that_is_no_token_is_refused() {
        let good = signed(r#"{"alg":"RS256"}"#, r#"{"sub":"s"}"#);
        let (two, signature) = good.rsplit_once('.').unwrap();
        for text in [
            "",
            ".",
            "..",
            "...",
            two,
            &format!("{two}."),
            &format!(".{good}"),
            &format!("{good}.AAAA"),
            &format!("{good}."),
            &format!(" {good}"),
            &format!("{good}\n"),
            &good.replacen('.', "..", 1),
            &format!("{two}.{signature}==="),
            &format!("{two}.+/+/"),
            &signed("{}", "[]").replace("e30", "bnVsbA"),
            &signed(r#"{"alg":"RS256"}"#, "7"),
            &signed(r#"{"alg":"RS256"}"#, r#"{"sub":"a","sub":"b"}"#),
        ] {
            check_refused(text, JwtError::Malformed);
        }
        check_refused(&format!("{good}{}", "A".repeat(LENGTH_MAX)), JwtError::TooLong);
        let mut changed = good.clone();
        changed.replace_range(two.len() - 2..two.len() - 1, "x");
        let key = test_keys::signing_key().public_key();
        let outcome = UnverifiedJwt::parse(&changed, LENGTH_MAX).and_then(|jwt| jwt.verify(&key));
        assert!(outcome.is_err());
    }

    #[test]
    fn padded_segments_are_accepted_as_signed() {
        let url_padded =
            |text: &str| base64_encode(text.as_bytes()).replace('+', "-").replace('/', "_");
        let input = format!(
            "{}.{}",
            url_padded(r#"{"typ":"J","alg":"RS256"}"#),
            url_padded(r#"{"sub":"1"}"#)
        );
        let key = test_keys::signing_key();
        let signature = base64_encode(&key.sign(input.as_bytes()).unwrap());
        let text = format!("{input}.{}", signature.replace('+', "-").replace('/', "_"));
        assert!(text.split('.').all(|segment| segment.ends_with('=')));
        let jwt = UnverifiedJwt::parse(&text, LENGTH_MAX).unwrap();
        assert_eq!(jwt.verify(&key.public_key()).unwrap()["sub"], "1");
        // Padding is part of what was signed.
        check_refused(&text.replacen('=', "", 1), JwtError::SignatureInvalid);
    }

    #[test]
    fn members_that_bring_keys_are_ignored() {
        let header =
            r#"{"alg":"RS256","jku":"https://evil","x5u":"u","jwk":{"kty":"oct"},"x5c":"one"}"#;
        let text = signed(header, "{}");
        let jwt = UnverifiedJwt::parse(&text, LENGTH_MAX).unwrap();
        assert!(jwt.verify(&test_keys::signing_key().public_key()).is_ok());
    }

    #[test]
    fn thumbprint_is_read_in_every_clients_spelling() {
        let (short, long) = (sha1(b"\x00der1"), sha256(b"der"));
        let sha1_of = Some(Thumbprint::Sha1(short));
        let sha256_of = Some(Thumbprint::Sha256(long));
        let url_padded = |digest: &[u8]| base64_encode(digest).replace('+', "-").replace('/', "_");
        for (members, expected) in [
            (json!({ "x5t": base64_encode(&short) }), sha1_of), // rust
            (json!({ "x5t": url_padded(&short) }), sha1_of),    // py-sync
            (json!({ "x5t": base64url_encode(&short) }), sha1_of), // .NET
            (json!({ "x5t#S256": url_padded(&long) }), sha256_of), // msal-py
            (json!({ "x5t#S256": base64url_encode(&long) }), sha256_of), // js, go
            (
                json!({ "x5t": base64url_encode(&short), "x5t#S256": base64url_encode(&long) }),
                sha256_of,
            ),
            (json!({ "x5t": base64url_encode(&long) }), None),
            (json!({ "x5t#S256": base64url_encode(&short) }), None),
            (json!({ "x5t": "" }), None),
            (json!({}), None),
        ] {
            let mut header = members.clone();
            header["alg"] = json!("RS256");
            let text = signed(&header.to_string(), "{}");
            let jwt = UnverifiedJwt::parse(&text, LENGTH_MAX).unwrap();
            assert_eq!(jwt.thumbprint(), expected, "{members}");
        }
    }

    #[test]
    fn numeric_dates_of_quirky_clients_are_read() {
        for (value, expected) in [
            (json!(1_700_000_000), Some(1_700_000_000)),
            (json!(1_700_000_000.9), Some(1_700_000_000)),
            (json!("1700000000"), Some(1_700_000_000)),
            (json!(0), Some(0)),
            (json!(NUMERIC_DATE_MAX), Some(NUMERIC_DATE_MAX)),
            (json!(NUMERIC_DATE_MAX + 1), None),
            (json!(u64::MAX), None),
            (json!(-1), None),
            (json!(-0.5), None),
            (json!(1e300), None),
            (json!(f64::NAN), None), // null
            (json!(""), None),
            (json!("-1"), None),
            (json!("+1"), None),
            (json!("1.5"), None),
            (json!(" 1"), None),
            (json!("99999999999999999999"), None),
            (json!(true), None),
            (json!([1]), None),
        ] {
            assert_eq!(numeric_date(&value), expected, "{value}");
        }
    }

    /// jsonwebtoken as an independent oracle: what one signs, the other verifies.
    #[test]
    fn another_implementation_agrees() {
        use jsonwebtoken as oracle;

        let claims = json!({ "sub": "s", "exp": NUMERIC_DATE_MAX });
        let rsa_der = base64_decode_any(test_keys::RSA_PKCS8, 2048).unwrap();
        let ec_der = base64_decode_any(test_keys::P256_PKCS8, 2048).unwrap();
        // The oracle wants the PKCS#1 key, which PKCS#8 wraps in 26 bytes.
        let rsa_der = &rsa_der[26..];
        let (rsa, ec) = (test_keys::signing_key(), test_keys::assertion_key());
        let from_rsa = || oracle::EncodingKey::from_rsa_der(rsa_der);
        let from_ec = || oracle::EncodingKey::from_ec_der(&ec_der);
        for (algorithm, encoding_key, public_key) in [
            (oracle::Algorithm::RS256, from_rsa(), rsa.public_key()),
            (oracle::Algorithm::PS256, from_rsa(), rsa.public_key()),
            (oracle::Algorithm::ES256, from_ec(), ec.public_key()),
        ] {
            let header = oracle::Header::new(algorithm);
            let text = oracle::encode(&header, &claims, &encoding_key).unwrap();
            let jwt = UnverifiedJwt::parse(&text, LENGTH_MAX).unwrap();
            assert_eq!(jwt.verify(&public_key).unwrap()["sub"], "s", "{algorithm:?}");
        }

        let PublicKey::Rsa { n, e } = rsa.public_key() else { panic!() };
        let PublicKey::EcP256 { point } = ec.public_key() else { panic!() };
        let sign_rsa = |input: &str| rsa.sign(input.as_bytes()).unwrap();
        let sign_ec = |input: &str| ec.sign(input.as_bytes()).unwrap();
        let rsa_oracle = oracle::DecodingKey::from_rsa_raw_components(&n, &e);
        let ec_oracle = oracle::DecodingKey::from_ec_der(&point);
        let rs256 = (oracle::Algorithm::RS256, rsa_oracle, &sign_rsa as &dyn Fn(&str) -> Vec<u8>);
        let es256 = (oracle::Algorithm::ES256, ec_oracle, &sign_ec as _);
        for (algorithm, decoding_key, sign) in [rs256, es256] {
            let input = signing_input(&json!({ "alg": algorithm }), &claims).unwrap();
            let signature = sign(&input);
            let text = assemble(input, &signature);
            let validation = oracle::Validation::new(algorithm);
            let read = oracle::decode::<Value>(&text, &decoding_key, &validation).unwrap();
            assert_eq!(read.claims, claims, "{algorithm:?}");
        }
    }
}
