//! Tokens with exactly one fault, so that people can test what their own services check. Only servers for development and
//! tests forge.

use std::str::FromStr;

use keycard_crypto::jwt;
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_key::SigningKey;
use keycard_crypto::{digest, encoding};
use serde_json::{Value, json};
use uuid::Uuid;

use super::claims::{Facts, GroupClaims, ProofKind, claims};
use super::signing_key::{self, OpenKeys};
use crate::audit::{AuditError, AuditRecord, SignIn};
use crate::directory::application::TokenVersion;
use crate::directory::{ServicePrincipal, Tenant};
use crate::ids::TenantId;
use crate::operation::OperationContext;
use crate::state::State;

/// The one thing that is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ended an hour ago.
    Expired,
    /// It begins in a day.
    NotYetValid,
    /// It is for another service.
    WrongAudience,
    /// Its issuer is another one; its tenant is right.
    WrongIssuer,
    /// Its tenant is another one, with the issuer that this tenant would have.
    WrongTenant,
    /// It was signed by a key that nobody published.
    UnknownKey,
    /// Its signature is of other bytes.
    BadSignature,
    /// Nothing.
    None,
}

impl Fault {
    const ALL: [(&'static str, Self); 8] = [
        ("expired", Self::Expired),
        ("not-yet-valid", Self::NotYetValid),
        ("wrong-audience", Self::WrongAudience),
        ("wrong-issuer", Self::WrongIssuer),
        ("wrong-tenant", Self::WrongTenant),
        ("unknown-key", Self::UnknownKey),
        ("bad-signature", Self::BadSignature),
        ("none", Self::None),
    ];

    /// The fault as commands write it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, fault)| *fault == self).map_or("", |(name, _)| name)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, fault)| fault).ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name).join(", ");
            format!("`{text}` is no fault: use one of {names}")
        })
    }
}

/// Why no token is forged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// No key of the tenant can sign.
    #[error("no token can be signed: {0}")]
    SigningUnavailable(String),
    /// It cannot be recorded, so it is not given away.
    #[error(transparent)]
    Unrecorded(#[from] AuditError),
}

/// The service that a token with a wrong audience is for.
const OTHER_AUDIENCE: &str = "https://wrong-audience.keycard.invalid";
/// The tenant of a token with a wrong tenant.
const OTHER_TENANT: TenantId =
    TenantId::new(Uuid::from_u128(0x6b657963_6172_4420_8000_6f7468657273));

/// A token for the principal with exactly this fault, and everything else as the issuer makes it.
pub async fn forge(
    state: &State,
    operation: &OperationContext,
    principal: &ServicePrincipal,
    audience: &str,
    fault: Fault,
) -> Result<Secret, ForgeError> {
    let mut id = [0; 16];
    state.entropy.fill(&mut id);
    let unique_id = encoding::base64url_encode(&id);
    let token = sign(state, operation, principal, audience, fault, &unique_id)?;
    let record = SignIn {
        tenant_id: principal.tenant_id.to_string(),
        app_id: principal.client_id.to_string(),
        service_principal_id: Some(principal.id.to_string()),
        service_principal_name: Some(principal.display_name.clone()),
        resource_identity: audience.to_owned(),
        result_description: Some(format!("forged by an administrator, fault: {}", fault.as_str())),
        unique_token_identifier: Some(unique_id),
        ..SignIn::of(operation)
    };
    state.audit.append(AuditRecord::ApplicationSignIn(record)).await?;
    Ok(token)
}

fn sign(
    state: &State,
    operation: &OperationContext,
    principal: &ServicePrincipal,
    audience: &str,
    fault: Fault,
    unique_id: &str,
) -> Result<Secret, ForgeError> {
    let unavailable =
        |error: &dyn std::fmt::Display| ForgeError::SigningUnavailable(error.to_string());
    let snapshot = state.snapshot_to_keep();
    let tenant = snapshot
        .tenant(principal.tenant_id)
        .ok_or_else(|| unavailable(&"the tenant does not exist"))?;
    let record = signing_key::active(&snapshot, tenant.id, operation.now)
        .ok_or_else(|| unavailable(&"the tenant has no signing key yet"))?;
    let issuer = tenant.issuers.first().ok_or_else(|| unavailable(&"the tenant has no issuer"))?;
    let honest = claims(Facts {
        principal,
        issuer,
        version: TokenVersion::V1,
        audience,
        roles: &[],
        groups: &GroupClaims::None,
        mapped: &[],
        proof: ProofKind::Certificate,
        origin: None,
        confirmation: None,
        capabilities: &[],
        unique_id,
        now: operation.now,
        lifetime: state.limits.token_lifetime,
    });
    let mut claims = serde_json::to_value(honest).map_err(|error| unavailable(&error))?;
    spoil(&mut claims, tenant, operation, fault);
    let known = OpenKeys::default()
        .private(state, tenant.id, record)
        .map_err(|error| unavailable(&error))?;
    let stranger = (fault == Fault::UnknownKey)
        .then(SigningKey::generate)
        .transpose()
        .map_err(|error| unavailable(&error))?;
    let key_id = match &stranger {
        Some(_) => encoding::base64url_encode(&digest::sha1(unique_id.as_bytes())),
        None => record.key_id.clone(),
    };
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5t": key_id, "kid": key_id });
    let unsigned = jwt::signing_input(&header, &claims).map_err(|error| unavailable(&error))?;
    let signed =
        if fault == Fault::BadSignature { format!("{unsigned}!") } else { unsigned.clone() };
    let key = stranger.as_ref().unwrap_or(&known);
    let signature = key.sign(signed.as_bytes()).map_err(|error| unavailable(&error))?;
    Ok(Secret::new(jwt::assemble(unsigned, &signature)))
}

/// Makes the claim wrong that the fault is about; what a fault of key or signature needs is done when it is signed.
fn spoil(claims: &mut Value, tenant: &Tenant, operation: &OperationContext, fault: Fault) {
    let now = operation.now.unix_timestamp();
    let (hour, day) = (3600, 24 * 3600);
    let elsewhere =
        |issuer: &str| issuer.replace(&tenant.id.to_string(), &OTHER_TENANT.to_string());
    let wrong: Vec<(&str, Value)> = match fault {
        Fault::Expired => {
            vec![
                ("iat", json!(now - 2 * hour)),
                ("nbf", json!(now - 2 * hour)),
                ("exp", json!(now - hour)),
            ]
        }
        Fault::NotYetValid => vec![("nbf", json!(now + day)), ("exp", json!(now + 2 * day))],
        Fault::WrongAudience => vec![("aud", json!(OTHER_AUDIENCE))],
        Fault::WrongIssuer => vec![("iss", json!(elsewhere(tenant.issuer_v1())))],
        Fault::WrongTenant => vec![
            ("iss", json!(elsewhere(tenant.issuer_v1()))),
            ("idp", json!(elsewhere(tenant.issuer_v1()))),
            ("tid", json!(OTHER_TENANT)),
        ],
        Fault::UnknownKey | Fault::BadSignature | Fault::None => Vec::new(),
    };
    for (claim, value) in wrong {
        if let Some(place) = claims.get_mut(claim) {
            *place = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_that_is_read_back() {
        for (name, fault) in Fault::ALL {
            assert_eq!(name.parse(), Ok(fault));
            assert_eq!(fault.as_str(), name);
        }
        assert!("Expired".parse::<Fault>().is_err());
    }
}
