//! Policies of the directory: how long tokens live, and which further claims they carry.
//!
//! A policy is the default of its directory, or is linked to an application or a service principal.
//! Source: Microsoft Graph, "tokenLifetimePolicy resource type", "claimsMappingPolicy resource type".

pub mod definition;
pub mod links;
pub mod management;

use serde::{Deserialize, Serialize};
use time::Duration;
use uuid::Uuid;

use super::service_principal::ServicePrincipal;
use crate::ids::{PolicyId, TenantId};
use crate::records::{Record, Versioned};
use crate::snapshot::Snapshot;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its object id.
    pub id: PolicyId,
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The rule as it was written: JSON.
    pub definition: String,
    /// The rule as it was read.
    pub rule: PolicyRule,
    /// Whether it holds for the whole directory.
    pub is_organization_default: bool,
    /// Unix seconds.
    pub created_at: i64,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyRule {
    /// How long an access token lives.
    TokenLifetime {
        /// Whole seconds.
        access_token_seconds: i64,
    },
    /// Which further claims an access token carries.
    ClaimsMapping {
        /// In their order.
        claims: Vec<MappedClaim>,
    },
}

/// The kinds of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// How long an access token lives.
    TokenLifetime,
    /// Which further claims an access token carries.
    ClaimsMapping,
}

impl PolicyRule {
    /// The kind of its policy.
    pub const fn kind(&self) -> PolicyKind {
        match self {
            Self::TokenLifetime { .. } => PolicyKind::TokenLifetime,
            Self::ClaimsMapping { .. } => PolicyKind::ClaimsMapping,
        }
    }
}

/// A further claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedClaim {
    /// The claim's name.
    pub name: String,
    /// Where its value comes from.
    pub value: ClaimValue,
}

/// Where the value of a further claim comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClaimValue {
    /// The same in every token.
    Constant(String),
    /// The display name of the client's service principal.
    ClientDisplayName,
    /// The object id of the client's service principal.
    ClientObjectId,
}

impl Record for Policy {
    const KIND: &'static str = "policies";

    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// Puts a policy into force for an application or a service principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLink {
    /// The object id of the application or service principal.
    pub target: Uuid,
    /// The policy.
    pub policy_id: PolicyId,
}

impl Record for PolicyLink {
    const KIND: &'static str = "policy-links";

    fn record_id(&self) -> String {
        format!("{}/{}", self.target, self.policy_id)
    }
}

/// The lifetime that policies give to a service principal's tokens, where there is one. The first that is there counts:
///
/// | policy | |
/// |---|---|
/// | the default of the organization | "it is enforced" |
/// | linked to the service principal | |
/// | linked to its application | |
///
/// Source: "Configurable token lifetimes in the Microsoft identity platform", section "Token lifetime policies".
pub fn access_token_lifetime(
    snapshot: &Snapshot,
    principal: &ServicePrincipal,
) -> Option<Duration> {
    let kind = PolicyKind::TokenLifetime;
    let tenant = principal.tenant_id;
    let of_application = || {
        let application = snapshot.application_of_client(principal.client_id)?;
        linked(snapshot, tenant, *application.id.as_uuid(), kind)
    };
    let policy = organization_default(snapshot, tenant, kind)
        .or_else(|| linked(snapshot, tenant, *principal.id.as_uuid(), kind))
        .or_else(of_application)?;
    match &policy.rule {
        PolicyRule::TokenLifetime { access_token_seconds } => {
            Some(Duration::seconds(*access_token_seconds))
        }
        PolicyRule::ClaimsMapping { .. } => None,
    }
}

/// The further claims of tokens for a resource: of the policy that is linked to its service principal, else of the
/// default of the organization.
pub fn mapped_claims<'a>(snapshot: &'a Snapshot, resource: &ServicePrincipal) -> &'a [MappedClaim] {
    let (tenant, kind) = (resource.tenant_id, PolicyKind::ClaimsMapping);
    let policy = linked(snapshot, tenant, *resource.id.as_uuid(), kind)
        .or_else(|| organization_default(snapshot, tenant, kind));
    match policy.map(|policy| &policy.rule) {
        Some(PolicyRule::ClaimsMapping { claims }) => claims,
        Some(PolicyRule::TokenLifetime { .. }) | None => &[],
    }
}

/// The directory's policies of a kind.
pub fn list(
    snapshot: &Snapshot,
    tenant: TenantId,
    kind: PolicyKind,
) -> impl Iterator<Item = &Versioned<Policy>> {
    let all = snapshot.policies.iter().map(|(_, policy)| policy);
    all.filter(move |policy| policy.tenant_id == tenant && policy.rule.kind() == kind)
}

fn organization_default(
    snapshot: &Snapshot,
    tenant: TenantId,
    kind: PolicyKind,
) -> Option<&Versioned<Policy>> {
    list(snapshot, tenant, kind).find(|policy| policy.is_organization_default)
}

/// The policy of a kind that is linked to an application or service principal.
pub fn linked(
    snapshot: &Snapshot,
    tenant: TenantId,
    target: Uuid,
    kind: PolicyKind,
) -> Option<&Versioned<Policy>> {
    let links = snapshot.policy_links.below(&format!("{target}/"));
    links
        .filter_map(|link| snapshot.policies.get(&link.policy_id.to_string()))
        .find(|policy| policy.tenant_id == tenant && policy.rule.kind() == kind)
}

#[cfg(test)]
mod tests {
    use super::super::application::{Application, TokenVersion};
    use super::super::service_principal::ServicePrincipalKind;
    use super::*;
    use crate::ids::{ApplicationId, ClientId, PrincipalId};

    const TENANT: TenantId = TenantId::new(Uuid::from_u128(1));
    const PRINCIPAL: Uuid = Uuid::from_u128(2);
    const APPLICATION: Uuid = Uuid::from_u128(3);

    fn principal() -> ServicePrincipal {
        ServicePrincipal {
            id: PrincipalId::new(PRINCIPAL),
            client_id: ClientId::new(Uuid::from_u128(4)),
            tenant_id: TENANT,
            display_name: "a".into(),
            kind: ServicePrincipalKind::Application,
            is_enabled: true,
            created_at: 0,
            keys: vec![],
            requires_assignment: false,
            tokens_valid_from: None,
        }
    }

    /// The principal with its application, and these policies: where each is linked, and what it says.
    fn world(policies: &[(Option<Uuid>, PolicyRule)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&principal());
        snapshot.insert_for_test(&Application {
            id: ApplicationId::new(APPLICATION),
            client_id: principal().client_id,
            tenant_id: TENANT,
            display_name: "a".into(),
            created_at: 0,
            passwords: vec![],
            keys: vec![],
            identifier_uris: vec![],
            app_roles: vec![],
            accepted_token_version: TokenVersion::V1,
            wants_group_claims: false,
        });
        for (n, (target, rule)) in (100..).zip(policies) {
            let id = PolicyId::new(Uuid::from_u128(n));
            snapshot.insert_for_test(&Policy {
                id,
                tenant_id: TENANT,
                display_name: "p".into(),
                description: None,
                definition: "{}".into(),
                rule: rule.clone(),
                is_organization_default: target.is_none(),
                created_at: 0,
            });
            if let Some(target) = *target {
                snapshot.insert_for_test(&PolicyLink { target, policy_id: id });
            }
        }
        snapshot
    }

    const ORGANIZATION: Option<Uuid> = None;
    const OF_PRINCIPAL: Option<Uuid> = Some(PRINCIPAL);
    const OF_APPLICATION: Option<Uuid> = Some(APPLICATION);

    #[test]
    fn the_organizations_lifetime_goes_before_the_principals_and_that_before_the_applications() {
        let check = |policies: &[(Option<Uuid>, i64)], expected: Option<i64>| {
            let rule = |seconds| PolicyRule::TokenLifetime { access_token_seconds: seconds };
            let policies: Vec<_> = policies.iter().map(|(at, it)| (*at, rule(*it))).collect();
            let found = access_token_lifetime(&world(&policies), &principal());
            assert_eq!(found, expected.map(Duration::seconds), "{policies:?}");
        };
        check(&[], None);
        check(&[(OF_APPLICATION, 1)], Some(1));
        check(&[(OF_APPLICATION, 1), (OF_PRINCIPAL, 2)], Some(2));
        check(&[(OF_APPLICATION, 1), (OF_PRINCIPAL, 2), (ORGANIZATION, 3)], Some(3));
        check(&[(ORGANIZATION, 3)], Some(3));
        check(&[(Some(Uuid::nil()), 4)], None);
    }

    #[test]
    fn claims_come_from_the_resources_own_policy_before_the_organizations() {
        let check = |policies: &[(Option<Uuid>, &str)], expected: &[&str]| {
            let rule = |name: &str| PolicyRule::ClaimsMapping {
                claims: vec![MappedClaim { name: name.into(), value: ClaimValue::ClientObjectId }],
            };
            let policies: Vec<_> = policies.iter().map(|(at, it)| (*at, rule(it))).collect();
            let world = world(&policies);
            let found: Vec<_> =
                mapped_claims(&world, &principal()).iter().map(|claim| &*claim.name).collect();
            assert_eq!(found, expected, "{policies:?}");
        };
        check(&[], &[]);
        check(&[(ORGANIZATION, "a")], &["a"]);
        check(&[(ORGANIZATION, "a"), (OF_PRINCIPAL, "b")], &["b"]);
        check(&[(OF_APPLICATION, "c")], &[]);
    }

    #[test]
    fn a_policy_of_one_kind_says_nothing_of_the_other() {
        let lifetime = PolicyRule::TokenLifetime { access_token_seconds: 1 };
        let claims = PolicyRule::ClaimsMapping { claims: vec![] };
        assert_eq!(access_token_lifetime(&world(&[(OF_PRINCIPAL, claims)]), &principal()), None);
        assert_eq!(mapped_claims(&world(&[(OF_PRINCIPAL, lifetime)]), &principal()), []);
    }
}
