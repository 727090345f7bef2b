//! Is this assertion the client's: signed by a registered key, meant for us, within its time.
//!
//! Clients differ in every detail (float and quoted times, padded segments, any base64 alphabet, missing `iat` or
//! `nbf`); what they mean is the same. Source: RFC 7523; Microsoft identity platform, certificate credentials.

use keycard_crypto::jwt::{self, Thumbprint, UnverifiedJwt};
use keycard_crypto::signing_key::PublicKey;
use serde_json::{Map, Value};
use time::UtcDateTime;

use super::grant::GrantError;
use crate::credential::credentials_of;
use crate::directory::{Application, ServicePrincipal};
use crate::ids::TenantId;
use crate::limits;
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;

/// The forms in which clients name the tenant's token service in `aud`, below its address.
const AUDIENCE_FORMS: &[&str] = &["/oauth2/v2.0/token", "/oauth2/token", "/v2.0", "/", ""];

/// The values of `aud` that name a tenant's token service, at each of its addresses.
pub fn accepted_audiences(token_services: &[String], tenant: TenantId) -> Vec<String> {
    token_services
        .iter()
        .flat_map(|base| AUDIENCE_FORMS.iter().map(move |form| format!("{base}/{tenant}{form}")))
        .collect()
}

/// A verified assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAssertion {
    /// SHA-256 of the certificate whose key signed it.
    pub credential_sha256: [u8; 32],
    /// The resource on which that key is, for a managed identity's own credential.
    pub origin: Option<ArmResourceId>,
}

/// Verifies an assertion that a client presents as its proof.
pub fn verify(
    snapshot: &Snapshot,
    client: &ServicePrincipal,
    assertion: &str,
    accepted_audiences: &[String],
    now: UtcDateTime,
) -> Result<VerifiedAssertion, GrantError> {
    let unknown_key = || GrantError::AssertionKeyUnknown(client.client_id);
    let jwt = UnverifiedJwt::parse(assertion.trim(), limits::JWT_BYTES_MAX)
        .map_err(|_| GrantError::AssertionMalformed("not a JWT"))?;
    let thumbprint = jwt.thumbprint().ok_or_else(unknown_key)?;
    let (key, verified) =
        registered_key(snapshot, client, &thumbprint, now).ok_or_else(unknown_key)?;
    let claims = jwt.verify(&key).map_err(|_| unknown_key())?;
    check_claims(&claims, client, accepted_audiences, now)?;
    Ok(verified)
}

/// The key with this thumbprint, if it is the client's: never a key that the assertion itself brings.
fn registered_key(
    snapshot: &Snapshot,
    client: &ServicePrincipal,
    thumbprint: &Thumbprint,
    now: UtcDateTime,
) -> Option<(PublicKey, VerifiedAssertion)> {
    let matches = |sha1: &[u8; 20], sha256: &[u8; 32]| match thumbprint {
        Thumbprint::Sha1(presented) => presented == sha1,
        Thumbprint::Sha256(presented) => presented == sha256,
    };
    let own = credentials_of(snapshot, client.id).find(|credential| {
        matches(&credential.sha1, &credential.sha256) && credential.is_valid_at(now)
    });
    if let Some(credential) = own {
        let verified = VerifiedAssertion {
            credential_sha256: credential.sha256,
            origin: Some(credential.resource.clone()),
        };
        return Some((credential.public_key(), verified));
    }
    let application = snapshot.application_of_client(client.client_id)?;
    brought_key(application, matches)
}

fn brought_key(
    application: &Application,
    matches: impl Fn(&[u8; 20], &[u8; 32]) -> bool,
) -> Option<(PublicKey, VerifiedAssertion)> {
    let credential = application.keys.iter().find(|key| matches(&key.sha1, &key.sha256))?;
    let key = PublicKey::from_certificate_der(&credential.certificate).ok()?;
    Some((key, VerifiedAssertion { credential_sha256: credential.sha256, origin: None }))
}

fn check_claims(
    claims: &Map<String, Value>,
    client: &ServicePrincipal,
    accepted_audiences: &[String],
    now: UtcDateTime,
) -> Result<(), GrantError> {
    let client_id = client.client_id.to_string();
    for claim in ["iss", "sub"] {
        if !text(claims, claim).is_some_and(|value| value.eq_ignore_ascii_case(&client_id)) {
            return Err(GrantError::AssertionClaimWrong(claim));
        }
    }
    if !text(claims, "aud").is_some_and(|aud| accepted_audiences.iter().any(|known| known == aud)) {
        return Err(GrantError::AssertionClaimWrong("aud"));
    }
    check_times(claims, now)
}

fn text<'a>(claims: &'a Map<String, Value>, claim: &str) -> Option<&'a str> {
    claims.get(claim).and_then(Value::as_str)
}

fn check_times(claims: &Map<String, Value>, now: UtcDateTime) -> Result<(), GrantError> {
    let now = now.unix_timestamp();
    let skew = limits::CLOCK_SKEW.whole_seconds();
    let time = |claim: &str| match claims.get(claim) {
        None => Ok(None),
        Some(value) => jwt::numeric_date(value)
            .map(Some)
            .ok_or(GrantError::AssertionMalformed("a time is not a number")),
    };
    let expires = time("exp")?.ok_or(GrantError::AssertionMalformed("exp is missing"))?;
    let starts = time("nbf")?.or(time("iat")?).unwrap_or(now);
    let lives_too_long = expires - now > limits::ASSERTION_LIFETIME_MAX.whole_seconds() + skew;
    if starts > now + skew || expires <= now - skew || lives_too_long {
        return Err(GrantError::AssertionOutsideValidity);
    }
    Ok(())
}
