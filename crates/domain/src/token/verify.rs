//! What a presented token is worth: signature, issuer, time, audience, and whether its principal still lives.
//!
//! Every face that takes a bearer token asks here, and words the refusal in its own way.

use keycard_crypto::jwt::{Algorithm, UnverifiedJwt};
use serde_json::{Map, Value};
use std::fmt;

use super::audience::{Audiences, Service};
use super::claims::{confirmation, issued_at};
use super::signing_key::OpenKeys;
use crate::compute::Workload;
use crate::directory::Tenant;
use crate::ids::{PrincipalId, TenantId};
use crate::limits::{self, Limits};
use crate::operation::Principal;
use crate::resource_id::ArmResourceId;
use crate::resources::relocation;
use crate::snapshot::Snapshot;
use crate::state::State;

/// Why a token is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// No token that could be read.
    #[error("the token is malformed")]
    Malformed,
    /// The issuer is no tenant's of this keycard, or not the one that is expected.
    #[error("issuer {found} is not accepted")]
    IssuerWrong {
        /// The claim.
        found: String,
    },
    /// No known key made this signature.
    #[error("the signature is not of a known key")]
    SignatureWrong,
    /// The token is over.
    #[error("the token ended at {expired_at}")]
    Expired {
        /// Unix seconds.
        expired_at: i64,
    },
    /// The token is not valid yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token is for another service.
    #[error("audience {found} is not accepted")]
    AudienceWrong {
        /// The claim.
        found: String,
    },
    /// The token is bound to a certificate that the client does not present.
    #[error("the token is bound to a certificate that the connection does not prove")]
    KeyUnproven,
    /// The principal was deleted or disabled, or the identity was taken from the resource, since the token was issued.
    #[error("the token was revoked")]
    Revoked,
}

/// A token as a client presents it.
#[derive(Clone, Copy)]
pub struct PresentedToken<'a> {
    /// The JWT.
    pub text: &'a str,
    /// SHA-256 of the certificate that the client presents with it, whose key it proved to hold.
    pub certificate_sha256: Option<[u8; 32]>,
    /// Whether the client says that the token is bound to that.
    pub claims_binding: bool,
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate_sha256, claims_binding, .. } = self;
        let mut shown = formatter.debug_struct("PresentedToken");
        shown.field("certificate_sha256", certificate_sha256);
        shown.field("claims_binding", claims_binding).finish_non_exhaustive()
    }
}

impl<'a> PresentedToken<'a> {
    /// A token without any certificate.
    pub const fn bearer(text: &'a str) -> Self {
        Self { text, certificate_sha256: None, claims_binding: false }
    }
}

/// Verifies tokens against the state of this node.
#[derive(Debug, Default)]
pub struct TokenVerifier {
    audiences: Audiences,
    keys: OpenKeys,
}

impl TokenVerifier {
    /// A verifier for the audiences of this keycard.
    pub fn new(audiences: Audiences) -> Self {
        Self { audiences, keys: OpenKeys::default() }
    }

    /// Verifies a token for a service; with a tenant, only that tenant's tokens are good.
    pub fn verify(
        &self,
        state: &State,
        token: PresentedToken<'_>,
        service: Service,
        expected_tenant: Option<TenantId>,
    ) -> Result<Principal, BearerError> {
        let is_meant =
            |_: &Snapshot, _: TenantId, found: &str| self.audiences.service(found) == Some(service);
        self.verify_claims(state, token, expected_tenant, is_meant)
    }

    /// Verifies a token for an audience that somebody else stands for: the same text but for a final slash, or another
    /// name of the same service or application.
    pub fn verify_for_audience(
        &self,
        state: &State,
        token: PresentedToken<'_>,
        audience: &str,
    ) -> Result<Principal, BearerError> {
        let bare = |name: &str| name.strip_suffix('/').unwrap_or(name).to_owned();
        let service = self.audiences.service(audience);
        let is_meant = |snapshot: &Snapshot, tenant: TenantId, found: &str| match service {
            Some(service) => self.audiences.service(found) == Some(service),
            None => {
                let client = |name| {
                    snapshot
                        .application_named(tenant, name)
                        .map(|application| application.client_id)
                };
                bare(found) == bare(audience)
                    || client(found).is_some_and(|found| client(audience) == Some(found))
            }
        };
        self.verify_claims(state, token, None, is_meant)
    }

    fn verify_claims(
        &self,
        state: &State,
        token: PresentedToken<'_>,
        expected_tenant: Option<TenantId>,
        is_meant: impl Fn(&Snapshot, TenantId, &str) -> bool,
    ) -> Result<Principal, BearerError> {
        let snapshot = state.snapshot();
        let jwt = UnverifiedJwt::parse(token.text, limits::JWT_BYTES_MAX)
            .map_err(|_| BearerError::Malformed)?;
        if jwt.header().alg != Algorithm::Rs256.as_str() {
            return Err(BearerError::SignatureWrong);
        }
        let tenant = issuing_tenant(&snapshot, jwt.claims_unverified(), expected_tenant)?;
        let key_id = jwt.header().kid.as_deref().unwrap_or_default();
        let key = snapshot
            .signing_key_ring(tenant.id)
            .and_then(|ring| ring.key(key_id))
            .and_then(|key| self.keys.public(key))
            .ok_or(BearerError::SignatureWrong)?;
        let claims = jwt.verify(&key).map_err(|_| BearerError::SignatureWrong)?;
        check_times(&claims, state.clock.now().unix_timestamp())?;
        check_audience(&claims, |found| is_meant(&snapshot, tenant.id, found))?;
        check_binding(&claims, &token)?;
        let principal = principal(&claims, tenant)?;
        check_alive(&state.limits, &snapshot, &claims, principal.principal_id)?;
        Ok(principal)
    }
}

/// A token that is bound to a certificate is good only from who presents that certificate, and what says to be bound has
/// to be.
fn check_binding(
    claims: &Map<String, Value>,
    token: &PresentedToken<'_>,
) -> Result<(), BearerError> {
    match confirmation(claims) {
        None if token.claims_binding => Err(BearerError::KeyUnproven),
        Some(bound) if token.certificate_sha256 != Some(bound) => Err(BearerError::KeyUnproven),
        None | Some(_) => Ok(()),
    }
}

fn check_audience(
    claims: &Map<String, Value>,
    is_meant: impl Fn(&str) -> bool,
) -> Result<(), BearerError> {
    let found = text(claims, "aud").unwrap_or_default();
    if is_meant(found) {
        Ok(())
    } else {
        Err(BearerError::AudienceWrong { found: found.to_owned() })
    }
}

fn text<'a>(claims: &'a Map<String, Value>, claim: &str) -> Option<&'a str> {
    claims.get(claim).and_then(Value::as_str)
}

/// The tenant that the token says it is of; nothing is believed before the signature holds.
fn issuing_tenant<'a>(
    snapshot: &'a Snapshot,
    claims: &Map<String, Value>,
    expected: Option<TenantId>,
) -> Result<&'a Tenant, BearerError> {
    let issuer = text(claims, "iss").unwrap_or_default();
    let claimed: Option<TenantId> = text(claims, "tid").and_then(|tid| tid.parse().ok());
    claimed
        .filter(|claimed| expected.is_none_or(|expected| *claimed == expected))
        .and_then(|claimed| snapshot.tenant(claimed))
        .filter(|tenant| tenant.has_issuer(issuer))
        .map(|tenant| tenant.record.as_ref())
        .ok_or_else(|| BearerError::IssuerWrong { found: issuer.to_owned() })
}

fn check_times(claims: &Map<String, Value>, now: i64) -> Result<(), BearerError> {
    let skew = limits::CLOCK_SKEW.whole_seconds();
    let time = |claim: &str| claims.get(claim).and_then(Value::as_i64);
    let expires = time("exp").ok_or(BearerError::Malformed)?;
    let starts = time("nbf").ok_or(BearerError::Malformed)?;
    if expires <= now {
        return Err(BearerError::Expired { expired_at: expires });
    }
    if starts > now + skew { Err(BearerError::NotYetValid) } else { Ok(()) }
}

fn principal(claims: &Map<String, Value>, tenant: &Tenant) -> Result<Principal, BearerError> {
    let id = |claim: &str| text(claims, claim).ok_or(BearerError::Malformed);
    let client_id = text(claims, "appid").or_else(|| text(claims, "azp"));
    Ok(Principal {
        tenant_id: tenant.id,
        principal_id: id("oid")?.parse().map_err(|_| BearerError::Malformed)?,
        client_id: client_id.and_then(|id| id.parse().ok()).ok_or(BearerError::Malformed)?,
        issuer: id("iss")?.to_owned(),
    })
}

/// In the standard profile a token dies with what it was given for; in the azure profile it lives until `exp`, unless all
/// tokens of the principal were revoked.
pub(super) fn check_alive(
    limits: &Limits,
    snapshot: &Snapshot,
    claims: &Map<String, Value>,
    principal_id: PrincipalId,
) -> Result<(), BearerError> {
    let principal = snapshot.service_principal(principal_id);
    let is_alive = principal.is_some_and(|principal| principal.is_enabled);
    if limits.deleted_is_revoked && !is_alive {
        return Err(BearerError::Revoked);
    }
    let valid_from = principal.and_then(|principal| principal.tokens_valid_from);
    if valid_from.is_some_and(|from| issued_at(claims).is_none_or(|issued| issued <= from)) {
        return Err(BearerError::Revoked);
    }
    if limits.unassigned_is_revoked && !is_still_assigned(snapshot, claims, principal_id) {
        return Err(BearerError::Revoked);
    }
    Ok(())
}

/// Whether the workload that the token was requested from is still there and has the identity, by the same assignment.
fn is_still_assigned(
    snapshot: &Snapshot,
    claims: &Map<String, Value>,
    principal_id: PrincipalId,
) -> bool {
    let Some(origin) = text(claims, "xms_az_rid") else { return true };
    let Ok(origin) = origin.parse::<ArmResourceId>() else { return false };
    let issued = issued_at(claims).unwrap_or(i64::MIN);
    // A workload that moved since is the same one.
    relocation::places_since(snapshot, &origin)
        .any(|place| has_since(snapshot, &place, principal_id, issued))
}

/// Whether the workload at a place has the identity, and had it by the same assignment at a moment.
pub(crate) fn has_since(
    snapshot: &Snapshot,
    place: &ArmResourceId,
    principal_id: PrincipalId,
    issued: i64,
) -> bool {
    let Some(Workload { bearer, .. }) = Workload::find(snapshot, place) else { return false };
    let is_system = bearer
        .identity
        .system_assigned
        .as_ref()
        .is_some_and(|system| system.principal_id == principal_id);
    let is_assigned =
        bearer.identity.user_assigned.iter().any(|assigned| {
            assigned.principal_id == principal_id && assigned.assigned_at <= issued
        });
    is_system || is_assigned
}
