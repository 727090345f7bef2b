//! The claims of an access token, as a pure function. A v1 token: what every service of the Microsoft cloud takes.
//!
//! Source: Microsoft identity platform, "Access token claims reference"; observed tokens of managed identities.

use serde::Serialize;
use serde_json::Value;
use time::UtcDateTime;

use crate::directory::ServicePrincipal;
use crate::limits;
use crate::resource_id::ArmResourceId;

/// How the client proved itself: the claim `appidacr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofKind {
    /// With a secret.
    Secret,
    /// With a certificate.
    Certificate,
}

impl ProofKind {
    const fn appidacr(self) -> &'static str {
        match self {
            Self::Secret => "1",
            Self::Certificate => "2",
        }
    }
}

/// The claims of a v1 access token, in Azure's order. Times are Unix seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Claims<'a> {
    /// What the token is for, as requested.
    pub aud: &'a str,
    /// The tenant's issuer; ends in `/`.
    pub iss: &'a str,
    /// The moment of issue, back-dated by five minutes.
    pub iat: i64,
    /// Equals `iat`.
    pub nbf: i64,
    /// The end.
    pub exp: i64,
    /// The client id.
    pub appid: String,
    /// How the client proved itself.
    pub appidacr: &'static str,
    /// Equals `iss`.
    pub idp: &'a str,
    /// Always `app`: no person signs in here.
    pub idtyp: &'static str,
    /// The principal.
    pub oid: String,
    /// Equals `oid`.
    pub sub: String,
    /// The tenant.
    pub tid: String,
    /// Unique for each token.
    pub uti: &'a str,
    /// Always `1.0`.
    pub ver: &'static str,
    /// The resource that the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xms_az_rid: Option<String>,
    /// The client's capabilities.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub xms_cc: &'a [String],
    /// The identity: the host resource of a system-assigned one, the identity resource of a user-assigned one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xms_mirid: Option<String>,
}

/// What the claims are made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whom the token speaks for.
    pub principal: &'a ServicePrincipal,
    /// The tenant's issuer.
    pub issuer: &'a str,
    /// What the token is for.
    pub resource: &'a str,
    /// How the client proved itself.
    pub proof: ProofKind,
    /// The resource whose host signed the assertion.
    pub origin: Option<&'a ArmResourceId>,
    /// The client's capabilities.
    pub capabilities: &'a [String],
    /// The token's unique id.
    pub unique_id: &'a str,
    /// The moment of issue.
    pub now: UtcDateTime,
    /// Until the token ends.
    pub lifetime: time::Duration,
}

/// The claims that follow from the facts.
pub fn claims(facts: Facts<'_>) -> Claims<'_> {
    let now = facts.now.unix_timestamp();
    let issued = now - limits::ISSUED_BACKDATED_BY.whole_seconds();
    let principal = facts.principal;
    Claims {
        aud: facts.resource,
        iss: facts.issuer,
        iat: issued,
        nbf: issued,
        exp: now + facts.lifetime.whole_seconds(),
        appid: principal.client_id.to_string(),
        appidacr: facts.proof.appidacr(),
        idp: facts.issuer,
        idtyp: "app",
        oid: principal.id.to_string(),
        sub: principal.id.to_string(),
        tid: principal.tenant_id.to_string(),
        uti: facts.unique_id,
        ver: "1.0",
        xms_az_rid: facts.origin.map(ArmResourceId::with_lowercase_group_segment),
        xms_cc: facts.capabilities,
        xms_mirid: principal.identity_resource().map(ArmResourceId::with_lowercase_group_segment),
    }
}

/// When a token with these claims was issued: `iat`, with the back-dating taken out.
pub fn issued_at(claims: &serde_json::Map<String, Value>) -> Option<i64> {
    let iat = claims.get("iat").and_then(Value::as_i64)?;
    Some(iat + limits::ISSUED_BACKDATED_BY.whole_seconds())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::service_principal::ServicePrincipalKind;
    use crate::ids::{ClientId, PrincipalId, TenantId};
    use uuid::Uuid;

    #[test]
    fn a_managed_identitys_token_says_who_and_from_where() {
        let vm: ArmResourceId =
            "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm"
                .parse()
                .unwrap();
        let principal = ServicePrincipal {
            id: PrincipalId::new(Uuid::from_u128(1)),
            client_id: ClientId::new(Uuid::from_u128(2)),
            tenant_id: TenantId::new(Uuid::from_u128(3)),
            display_name: "vm".into(),
            kind: ServicePrincipalKind::SystemAssigned(vm.clone()),
            is_enabled: true,
            created_at: 0,
            keys: vec![],
            requires_assignment: false,
            tokens_valid_from: None,
        };
        let now = UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let claims = serde_json::to_value(claims(Facts {
            principal: &principal,
            issuer: "https://login.x/t/",
            resource: "https://vault.azure.net/",
            proof: ProofKind::Certificate,
            origin: Some(&vm),
            capabilities: &[],
            unique_id: "u",
            now,
            lifetime: time::Duration::hours(8),
        }))
        .unwrap();
        assert_eq!(claims["aud"], "https://vault.azure.net/");
        assert_eq!(claims["nbf"], 1_800_000_000 - 300);
        assert_eq!(claims["exp"], 1_800_000_000 + 8 * 3600);
        assert_eq!(claims["oid"], claims["sub"]);
        assert_eq!(claims["idp"], claims["iss"]);
        assert_eq!(claims["appidacr"], "2");
        assert!(claims["xms_mirid"].as_str().unwrap().contains("/resourcegroups/g/"));
        assert_eq!(claims["xms_az_rid"], claims["xms_mirid"]);
        assert!(claims.get("xms_cc").is_none());
        assert_eq!(issued_at(claims.as_object().unwrap()), Some(1_800_000_000));
    }
}
