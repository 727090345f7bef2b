//! Policies as their administrator sees them: made, changed, deleted.
//!
//! Source: Microsoft Graph, "tokenLifetimePolicy resource type", "claimsMappingPolicy resource type" and their methods.

use uuid::Uuid;

use super::definition::{self, DefinitionError};
use super::{Policy, PolicyKind, links, list, organization_default};
use crate::directory::service_principal::count_made;
use crate::ids::{PolicyId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::records::Versioned;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// Why something is refused at a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// There is no such policy of this kind in the directory, or it is not linked to the object.
    #[error("policy {0} does not exist")]
    NotFound(PolicyId),
    /// There is no such application or service principal.
    #[error("object {0} does not exist")]
    TargetNotFound(Uuid),
    /// The display name is empty, too long, or has control characters.
    #[error("the display name is not allowed")]
    DisplayNameInvalid,
    /// The description is too long.
    #[error("the description is too long")]
    DescriptionTooLong,
    /// The definition is refused.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Another policy of the kind is the default of the organization.
    #[error("policy {0} is the default of the organization")]
    OtherDefault(PolicyId),
    /// The policy is linked to the object already.
    #[error("policy {0} is linked already")]
    AlreadyLinked(PolicyId),
    /// Another policy of the kind is linked to the object.
    #[error("policy {0} is linked, and one of a kind is allowed")]
    OtherLinked(PolicyId),
    /// The policy is linked to as many objects as it may.
    #[error("policy {0} is linked to as many objects as it may")]
    TooManyLinks(PolicyId),
    /// The directory has as many policies as it may.
    #[error("no more policies can be created")]
    LimitReached,
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What an administrator asks for.
#[derive(Clone, Debug)]
pub struct NewPolicy {
    /// The directory that it is to belong to.
    pub tenant_id: TenantId,
    /// Its kind.
    pub kind: PolicyKind,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The rule: JSON.
    pub definition: String,
    /// Whether it is to hold for the whole directory.
    pub is_organization_default: bool,
}

/// What is to be different; what is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct PolicyChange {
    /// What people call it.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The rule: JSON.
    pub definition: Option<String>,
    /// Whether it is to hold for the whole directory.
    pub is_organization_default: Option<bool>,
}

/// Makes a policy.
pub async fn create(
    state: &State,
    operation: &OperationContext,
    new: &NewPolicy,
) -> Result<Policy, PolicyError> {
    let rule = definition::read(new.kind, &new.definition, &state.limits)?;
    state
        .transact(operation, |snapshot, changes| {
            let kinds = [PolicyKind::TokenLifetime, PolicyKind::ClaimsMapping];
            let all = kinds.into_iter().flat_map(|kind| list(snapshot, new.tenant_id, kind));
            if all.count() >= limits::POLICIES_MAX {
                return Err(PolicyError::LimitReached);
            }
            let name = format!("policies/{}/{}", new.tenant_id, new.display_name);
            let made = count_made(snapshot, changes, name.clone());
            let policy = Policy {
                id: PolicyId::new(state.entropy.id_for(&format!("{name}/{made}"))),
                tenant_id: new.tenant_id,
                display_name: new.display_name.clone(),
                description: new.description.clone(),
                definition: new.definition.clone(),
                rule: rule.clone(),
                is_organization_default: new.is_organization_default,
                created_at: operation.now.unix_timestamp(),
            };
            check(&policy)?;
            claim_default(snapshot, changes, &policy)?;
            changes.put(snapshot, &policy);
            Ok(policy)
        })
        .await
}

/// Changes a policy; the next token shows it.
pub async fn update(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    (kind, id): (PolicyKind, PolicyId),
    change: &PolicyChange,
) -> Result<(), PolicyError> {
    state
        .transact(operation, |snapshot, changes| {
            let mut policy = find(snapshot, tenant, kind, id)?.record.as_ref().clone();
            let PolicyChange { display_name, description, definition, is_organization_default } =
                change.clone();
            policy.display_name = display_name.unwrap_or(policy.display_name);
            policy.description = description.or(policy.description);
            policy.is_organization_default =
                is_organization_default.unwrap_or(policy.is_organization_default);
            if let Some(definition) = definition {
                policy.rule = definition::read(kind, &definition, &state.limits)?;
                policy.definition = definition;
            }
            check(&policy)?;
            claim_default(snapshot, changes, &policy)?;
            changes.put(snapshot, &policy);
            Ok(())
        })
        .await
}

/// Deletes a policy with its links, at once and for good.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    (kind, id): (PolicyKind, PolicyId),
) -> Result<(), PolicyError> {
    state
        .transact(operation, |snapshot, changes| {
            let policy = find(snapshot, tenant, kind, id)?;
            links::remove_of_policy(snapshot, changes, id);
            changes.delete(snapshot, policy.record.as_ref());
            Ok(())
        })
        .await
}

/// The directory's policy of a kind with this id.
pub fn find(
    snapshot: &Snapshot,
    tenant: TenantId,
    kind: PolicyKind,
    id: PolicyId,
) -> Result<&Versioned<Policy>, PolicyError> {
    let found = snapshot.policies.get(&id.to_string());
    found
        .filter(|policy| policy.tenant_id == tenant && policy.rule.kind() == kind)
        .ok_or(PolicyError::NotFound(id))
}

/// There is one default of a kind. Two who claim it at the same time write the same record, so that one of them plans
/// anew and sees the other.
fn claim_default(
    snapshot: &Snapshot,
    changes: &mut Changes,
    policy: &Policy,
) -> Result<(), PolicyError> {
    let kind = policy.rule.kind();
    let present = organization_default(snapshot, policy.tenant_id, kind);
    match present {
        Some(present) if policy.is_organization_default && present.id != policy.id => {
            Err(PolicyError::OtherDefault(present.id))
        }
        None if policy.is_organization_default => {
            let name = format!("default-policies/{}/{kind:?}", policy.tenant_id);
            count_made(snapshot, changes, name);
            Ok(())
        }
        Some(_) | None => Ok(()),
    }
}

fn check(policy: &Policy) -> Result<(), PolicyError> {
    let name = &policy.display_name;
    let is_name = !name.trim().is_empty()
        && name.chars().count() <= limits::POLICY_DISPLAY_NAME_CHARS_MAX
        && !name.chars().any(char::is_control);
    if !is_name {
        return Err(PolicyError::DisplayNameInvalid);
    }
    let description = policy.description.as_ref().map_or(0, |text| text.chars().count());
    if description > limits::POLICY_DESCRIPTION_CHARS_MAX {
        return Err(PolicyError::DescriptionTooLong);
    }
    Ok(())
}
