//! The claims of an access token, as a pure function, in the two forms that there are.
//!
//! Source: Microsoft identity platform, "Access token claims reference"; observed tokens of managed identities.

use std::collections::BTreeMap;

use keycard_crypto::encoding;
use serde::Serialize;
use serde_json::Value;
use time::UtcDateTime;

use crate::directory::ServicePrincipal;
use crate::directory::application::TokenVersion;
use crate::directory::policy::{ClaimValue, MappedClaim};
use crate::directory::tenant::Issuer;
use crate::ids::PrincipalId;
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

/// The claims of an access token, in Azure's order. Times are Unix seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Claims<'a> {
    /// What the token is for.
    pub aud: &'a str,
    /// The tenant's issuer.
    pub iss: &'a str,
    /// The moment of issue, back-dated by five minutes.
    pub iat: i64,
    /// Equals `iat`.
    pub nbf: i64,
    /// The end.
    pub exp: i64,
    /// v1: the client id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    /// v1: how the client proved itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appidacr: Option<&'static str>,
    /// v2: the client id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azp: Option<String>,
    /// v2: how the client proved itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azpacr: Option<&'static str>,
    /// What the token is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// The groups of the principal, where they are too many to name: where to ask for them.
    #[serde(rename = "_claim_names", skip_serializing_if = "Option::is_none")]
    pub claim_names: Option<ClaimNames>,
    /// The place that `_claim_names` refers to.
    #[serde(rename = "_claim_sources", skip_serializing_if = "Option::is_none")]
    pub claim_sources: Option<ClaimSources<'a>>,
    /// The groups of the principal, where the resource wants to know them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<&'a [PrincipalId]>,
    /// v1: equals `iss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idp: Option<&'a str>,
    /// Always `app`: no person signs in here.
    pub idtyp: &'static str,
    /// The principal.
    pub oid: String,
    /// The roles that the principal was given at the resource.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub roles: &'a [String],
    /// Equals `oid`.
    pub sub: String,
    /// The tenant.
    pub tid: String,
    /// Unique for each token.
    pub uti: &'a str,
    /// `1.0` or `2.0`.
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
    /// What a policy of the resource adds.
    #[serde(flatten)]
    pub mapped: BTreeMap<&'a str, String>,
}

/// The certificate that a token is bound to. Source: RFC 8705, section 3.1.
#[derive(Clone, Debug, Serialize)]
pub struct Confirmation {
    /// SHA-256 of the certificate, base64url without padding.
    #[serde(rename = "x5t#S256")]
    pub thumbprint: String,
}

/// The certificate that verified claims are bound to, where they are. A `cnf` that says anything else is bound to what
/// nobody has.
pub fn confirmation(claims: &serde_json::Map<String, Value>) -> Option<[u8; 32]> {
    let confirmation = claims.get("cnf")?;
    let thumbprint = confirmation.get("x5t#S256").and_then(Value::as_str);
    let decoded = thumbprint.and_then(|text| encoding::base64_decode_any(text, 32));
    Some(decoded.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default())
}

/// Which claims are told elsewhere. Source: OpenID Connect Core 1.0, section 5.6.2.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ClaimNames {
    groups: &'static str,
}

/// Where they are told.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ClaimSources<'a> {
    src1: ClaimSource<'a>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct ClaimSource<'a> {
    endpoint: &'a str,
}

/// What a token says of the groups that its principal was in when it was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupClaims {
    /// Nothing: the resource does not ask.
    None,
    /// All of them.
    Listed(Vec<PrincipalId>),
    /// Too many to list: the address at Microsoft Graph where they are told.
    Overage(String),
}

impl GroupClaims {
    /// The claims for these groups; beyond the bound they are told at the address.
    pub fn of(groups: Vec<PrincipalId>, endpoint: impl FnOnce() -> String) -> Self {
        if groups.len() > limits::GROUPS_IN_TOKEN_MAX {
            Self::Overage(endpoint())
        } else {
            Self::Listed(groups)
        }
    }
}

/// What the claims are made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whom the token speaks for.
    pub principal: &'a ServicePrincipal,
    /// The tenant's issuer.
    pub issuer: &'a Issuer,
    /// The form of the token.
    pub version: TokenVersion,
    /// What the token is for.
    pub audience: &'a str,
    /// How the client proved itself.
    pub proof: ProofKind,
    /// The resource whose host signed the assertion.
    pub origin: Option<&'a ArmResourceId>,
    /// SHA-256 of the certificate that the token is bound to.
    pub confirmation: Option<&'a [u8; 32]>,
    /// The client's capabilities.
    pub capabilities: &'a [String],
    /// The roles that the principal was given at the resource.
    pub roles: &'a [String],
    /// Its groups.
    pub groups: &'a GroupClaims,
    /// What a policy of the resource adds.
    pub mapped: &'a [MappedClaim],
    /// The token's unique id.
    pub unique_id: &'a str,
    /// The moment of issue.
    pub now: UtcDateTime,
    /// Until the token ends.
    pub lifetime: time::Duration,
}

/// The claims that follow from the facts.
pub fn claims(facts: Facts<'_>) -> Claims<'_> {
    let principal = facts.principal;
    let (now, issued) = (facts.now.unix_timestamp(), back_dated(facts.now, principal));
    let is_v1 = facts.version == TokenVersion::V1;
    let iss = if is_v1 { &facts.issuer.v1 } else { &facts.issuer.v2 };
    let (client_id, proof) = (principal.client_id.to_string(), facts.proof.appidacr());
    let (groups, overage) = match facts.groups {
        GroupClaims::None => (None, None),
        GroupClaims::Listed(groups) => (Some(groups.as_slice()), None),
        GroupClaims::Overage(endpoint) => (None, Some(endpoint.as_str())),
    };
    Claims {
        aud: facts.audience,
        iss,
        iat: issued,
        nbf: issued,
        exp: now + facts.lifetime.whole_seconds(),
        appid: is_v1.then(|| client_id.clone()),
        appidacr: is_v1.then_some(proof),
        azp: (!is_v1).then_some(client_id),
        azpacr: (!is_v1).then_some(proof),
        cnf: facts
            .confirmation
            .map(|sha256| Confirmation { thumbprint: encoding::base64url_encode(sha256) }),
        claim_names: overage.map(|_| ClaimNames { groups: "src1" }),
        claim_sources: overage.map(|endpoint| ClaimSources { src1: ClaimSource { endpoint } }),
        groups,
        idp: is_v1.then_some(iss),
        idtyp: "app",
        oid: principal.id.to_string(),
        roles: facts.roles,
        sub: principal.id.to_string(),
        tid: principal.tenant_id.to_string(),
        uti: facts.unique_id,
        ver: if is_v1 { "1.0" } else { "2.0" },
        xms_az_rid: facts.origin.map(ArmResourceId::with_lowercase_group_segment),
        xms_cc: facts.capabilities,
        xms_mirid: principal.identity_resource().map(ArmResourceId::with_lowercase_group_segment),
        mapped: mapped(facts.mapped, principal),
    }
}

fn mapped<'a>(
    claims: &'a [MappedClaim],
    principal: &ServicePrincipal,
) -> BTreeMap<&'a str, String> {
    let value = |claim: &MappedClaim| match &claim.value {
        ClaimValue::Constant(text) => text.clone(),
        ClaimValue::ClientDisplayName => principal.display_name.clone(),
        ClaimValue::ClientObjectId => principal.id.to_string(),
    };
    claims.iter().map(|claim| (claim.name.as_str(), value(claim))).collect()
}

fn back_dated(now: UtcDateTime, principal: &ServicePrincipal) -> i64 {
    principal.second_of_issue(now) - limits::ISSUED_BACKDATED_BY.whole_seconds()
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
    use crate::ids::{ClientId, TenantId};
    use serde_json::json;
    use uuid::Uuid;

    fn vm() -> ArmResourceId {
        "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm"
            .parse()
            .unwrap()
    }

    fn principal() -> ServicePrincipal {
        ServicePrincipal {
            id: PrincipalId::new(Uuid::from_u128(1)),
            client_id: ClientId::new(Uuid::from_u128(2)),
            tenant_id: TenantId::new(Uuid::from_u128(3)),
            display_name: "vm".into(),
            kind: ServicePrincipalKind::SystemAssigned(vm()),
            is_enabled: true,
            created_at: 0,
            keys: vec![],
            requires_assignment: false,
            tokens_valid_from: None,
        }
    }

    const NOW: i64 = 1_800_000_000;

    /// What a test chooses of the facts.
    #[derive(Default)]
    struct Given {
        roles: Vec<String>,
        groups: Option<GroupClaims>,
        mapped: Vec<MappedClaim>,
        tokens_valid_from: Option<i64>,
        confirmation: Option<[u8; 32]>,
    }

    fn made(version: TokenVersion, given: &Given) -> Value {
        let principal =
            ServicePrincipal { tokens_valid_from: given.tokens_valid_from, ..principal() };
        let (issuer, vm) = (Issuer::served("https://login.x", principal.tenant_id), vm());
        let claims = claims(Facts {
            principal: &principal,
            issuer: &issuer,
            version,
            audience: "https://vault.azure.net/",
            proof: ProofKind::Certificate,
            origin: Some(&vm),
            confirmation: given.confirmation.as_ref(),
            capabilities: &[],
            roles: &given.roles,
            groups: given.groups.as_ref().unwrap_or(&GroupClaims::None),
            mapped: &given.mapped,
            unique_id: "u",
            now: UtcDateTime::from_unix_timestamp(NOW).unwrap(),
            lifetime: time::Duration::hours(8),
        });
        serde_json::to_value(claims).unwrap()
    }

    #[test]
    fn a_managed_identitys_token_says_who_and_from_where() {
        let claims = made(TokenVersion::V1, &Given::default());
        assert_eq!(claims["aud"], "https://vault.azure.net/");
        assert_eq!(claims["nbf"], NOW - 300);
        assert_eq!(claims["exp"], NOW + 8 * 3600);
        assert_eq!(claims["oid"], claims["sub"]);
        assert_eq!(claims["iss"], format!("https://login.x/{}/", Uuid::from_u128(3)));
        assert_eq!(claims["idp"], claims["iss"]);
        assert_eq!((&claims["appidacr"], &claims["ver"]), (&json!("2"), &json!("1.0")));
        assert!(claims["xms_mirid"].as_str().unwrap().contains("/resourcegroups/g/"));
        assert_eq!(claims["xms_az_rid"], claims["xms_mirid"]);
        for absent in ["xms_cc", "roles", "groups", "azp", "azpacr", "_claim_names"] {
            assert!(claims.get(absent).is_none(), "{absent}");
        }
        assert_eq!(issued_at(claims.as_object().unwrap()), Some(NOW));
    }

    #[test]
    fn the_second_form_names_the_client_otherwise() {
        let claims = made(TokenVersion::V2, &Given::default());
        assert_eq!(claims["iss"], format!("https://login.x/{}/v2.0", Uuid::from_u128(3)));
        assert_eq!(claims["azp"], Uuid::from_u128(2).to_string());
        assert_eq!((&claims["azpacr"], &claims["ver"]), (&json!("2"), &json!("2.0")));
        for absent in ["appid", "appidacr", "idp"] {
            assert!(claims.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn a_token_names_roles_groups_and_what_a_policy_adds() {
        let mapped = |name: &str, value| MappedClaim { name: name.into(), value };
        let claims = made(
            TokenVersion::V1,
            &Given {
                roles: vec!["Orders.Read".into()],
                groups: Some(GroupClaims::Listed(vec![PrincipalId::new(Uuid::from_u128(9))])),
                mapped: vec![
                    mapped("scope", ClaimValue::Constant("orders.read:*/*".into())),
                    mapped("who", ClaimValue::ClientDisplayName),
                    mapped("id", ClaimValue::ClientObjectId),
                ],
                ..Given::default()
            },
        );
        assert_eq!(claims["roles"], json!(["Orders.Read"]));
        assert_eq!(claims["groups"], json!([Uuid::from_u128(9)]));
        assert_eq!((&claims["scope"], &claims["who"]), (&json!("orders.read:*/*"), &json!("vm")));
        assert_eq!(claims["id"], claims["oid"]);
    }

    #[test]
    fn too_many_groups_are_told_elsewhere() {
        let groups = |count: usize| {
            let ids = (0..count).map(|n| PrincipalId::new(Uuid::from_u128(n as u128))).collect();
            Some(GroupClaims::of(ids, || "https://graph/x".into()))
        };
        let with = |count| Given { groups: groups(count), ..Given::default() };
        let few = made(TokenVersion::V2, &with(200));
        assert_eq!(few["groups"].as_array().map(Vec::len), Some(200));
        let many = made(TokenVersion::V2, &with(201));
        assert!(many.get("groups").is_none());
        assert_eq!(many["_claim_names"], json!({ "groups": "src1" }));
        assert_eq!(many["_claim_sources"], json!({ "src1": { "endpoint": "https://graph/x" } }));
    }

    #[test]
    fn a_bound_token_names_its_certificate() {
        let of = |claims: Value| confirmation(claims.as_object().unwrap());
        assert_eq!(of(made(TokenVersion::V1, &Given::default())), None);
        let given = Given { confirmation: Some([7; 32]), ..Given::default() };
        let claims = made(TokenVersion::V2, &given);
        assert_eq!(claims["cnf"], json!({ "x5t#S256": encoding::base64url_encode(&[7; 32]) }));
        assert_eq!(of(claims), Some([7; 32]));
        for odd in [json!({}), json!("x"), json!({ "x5t#S256": "AAAA" }), json!({ "jwk": {} })] {
            assert_eq!(of(json!({ "cnf": odd })), Some([0; 32]), "bound, to nothing that is");
        }
    }

    #[test]
    fn a_token_issued_in_the_second_of_a_revocation_counts() {
        for (valid_from, issued) in [(NOW - 1, NOW), (NOW, NOW + 1)] {
            let given = Given { tokens_valid_from: Some(valid_from), ..Given::default() };
            let claims = made(TokenVersion::V1, &given);
            assert_eq!(issued_at(claims.as_object().unwrap()), Some(issued));
            assert_eq!(claims["exp"], NOW + 8 * 3600);
        }
    }
}
