//! Further subscriptions of a tenant, each made under an alias. Whoever makes one is its Owner.
//!
//! Source: Microsoft.Subscription/aliases, REST API 2021-10-01.

use crate::directory::tenant::Subscription;
use crate::ids::{RoleAssignmentId, SubscriptionId, TenantId};
use crate::limits;
use crate::operation::{OperationContext, Principal};
use crate::rbac::assignment::PrincipalType;
use crate::rbac::{RoleAssignment, built_in_roles};
use crate::records::Versioned;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// Why a subscription is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// The alias breaks the rules.
    #[error("`{0}` is no alias of a subscription")]
    AliasInvalid(String),
    /// The name is empty or too long.
    #[error("a subscription's name has 1 to {max} characters", max = limits::SUBSCRIPTION_NAME_CHARS_MAX)]
    NameInvalid,
    /// The tenant has as many as it may.
    #[error("the tenant has {max} subscriptions", max = limits::SUBSCRIPTIONS_PER_TENANT_MAX)]
    TooMany,
    /// The store does not write.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Makes a subscription under an alias, or finds the one that was; whether it is new.
pub async fn create(
    state: &State,
    operation: &OperationContext,
    owner: &Principal,
    alias: &str,
    display_name: &str,
) -> Result<(Subscription, bool), SubscriptionError> {
    check(alias, display_name)?;
    state
        .transact(operation, |snapshot, changes| {
            if let Some(existing) = find(snapshot, owner.tenant_id, alias) {
                return Ok((existing.record.as_ref().clone(), false));
            }
            let count = of_tenant(snapshot, owner.tenant_id).count();
            if count >= limits::SUBSCRIPTIONS_PER_TENANT_MAX {
                return Err(SubscriptionError::TooMany);
            }
            let name = format!("{}/subscriptions/{alias}/{count}", owner.tenant_id);
            let subscription = Subscription {
                id: SubscriptionId::new(state.entropy.id_for(&name)),
                tenant_id: owner.tenant_id,
                display_name: display_name.to_owned(),
                management_group: None,
                alias: Some(alias.to_owned()),
                tags: std::collections::BTreeMap::new(),
            };
            changes.put(snapshot, &subscription);
            plan_owner(state, snapshot, changes, operation, owner, &subscription);
            Ok((subscription, true))
        })
        .await
}

fn plan_owner(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    owner: &Principal,
    subscription: &Subscription,
) {
    let Some(scope) = subscription.scope() else { return };
    let now = operation.now.unix_timestamp();
    let assignment = RoleAssignment {
        id: RoleAssignmentId::new(state.entropy.id_for(&format!("{}/owner", subscription.id))),
        tenant_id: owner.tenant_id,
        scope,
        principal_id: owner.principal_id,
        principal_type: PrincipalType::ServicePrincipal,
        role: built_in_roles::OWNER,
        condition: None,
        description: None,
        created_at: now,
        updated_at: now,
        created_by: Some(owner.principal_id),
        updated_by: Some(owner.principal_id),
    };
    changes.put(snapshot, &assignment);
}

fn check(alias: &str, display_name: &str) -> Result<(), SubscriptionError> {
    let is_alias = (1..=limits::SUBSCRIPTION_NAME_CHARS_MAX).contains(&alias.len())
        && alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_alias {
        return Err(SubscriptionError::AliasInvalid(alias.to_owned()));
    }
    let length = display_name.chars().count();
    if !(1..=limits::SUBSCRIPTION_NAME_CHARS_MAX).contains(&length)
        || display_name.trim().is_empty()
    {
        return Err(SubscriptionError::NameInvalid);
    }
    Ok(())
}

fn of_tenant(
    snapshot: &Snapshot,
    tenant: TenantId,
) -> impl Iterator<Item = &Versioned<Subscription>> {
    snapshot.subscriptions.iter().map(|(_, it)| it).filter(move |it| it.tenant_id == tenant)
}

/// The tenant's subscription that was made under an alias.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    alias: &str,
) -> Option<&'a Versioned<Subscription>> {
    let is_meant = |it: &&Versioned<Subscription>| {
        it.alias.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(alias))
    };
    of_tenant(snapshot, tenant).find(is_meant)
}

/// The tenant's subscriptions that were made under an alias.
pub fn list(snapshot: &Snapshot, tenant: TenantId) -> Vec<Versioned<Subscription>> {
    of_tenant(snapshot, tenant).filter(|it| it.alias.is_some()).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_and_a_name_follow_their_rules() {
        let long = "x".repeat(65);
        for alias in ["a", "prod-1", "A_b.c", &"x".repeat(64)] {
            assert_eq!(check(alias, "Production"), Ok(()), "{alias}");
        }
        for alias in ["", "a b", "a/b", "ä", &long] {
            assert!(
                matches!(check(alias, "n"), Err(SubscriptionError::AliasInvalid(_))),
                "{alias}"
            );
        }
        for name in ["", "  ", &long] {
            assert_eq!(check("a", name), Err(SubscriptionError::NameInvalid), "{name}");
        }
    }
}
