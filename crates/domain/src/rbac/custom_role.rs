//! Custom roles: what administrators define themselves.
//!
//! Source: Azure role-based access control, "Azure custom roles" and "Azure RBAC limits".

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;

use super::action::ActionPattern;
use super::provider_operations::{self, Knowledge};
use super::role_definition::{Permission, RoleDefinition, RoleType};
use super::scope::RbacScope;
use super::standing::{Ancestry, is_of_tenant};
use super::{built_in_roles, linked_access};
use crate::ids::{PrincipalId, RoleDefinitionId, TenantId};
use crate::limits::{self, Profile};
use crate::operation::OperationContext;
use crate::records::Record;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// What defining a role takes, at each of its assignable scopes.
pub const WRITE_ACTION: &str = "Microsoft.Authorization/roleDefinitions/write";

/// What deleting a role takes, at each of its assignable scopes.
pub const DELETE_ACTION: &str = "Microsoft.Authorization/roleDefinitions/delete";

/// A role that an administrator of the tenant made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomRole {
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// What it is.
    pub definition: Arc<RoleDefinition>,
    /// Who made it.
    pub created_by: Option<PrincipalId>,
    /// Who changed it last.
    pub updated_by: Option<PrincipalId>,
}

impl Record for CustomRole {
    const KIND: &'static str = "custom-roles";

    fn record_id(&self) -> String {
        self.definition.id.to_string()
    }
}

/// What an administrator asks for.
#[derive(Clone, Debug)]
pub struct NewRole {
    /// The GUID that names the role.
    pub id: RoleDefinitionId,
    /// The directory that it is to belong to.
    pub tenant_id: TenantId,
    /// Its display name.
    pub role_name: String,
    /// What it is for.
    pub description: String,
    /// Where it may be assigned.
    pub assignable_scopes: Vec<RbacScope>,
    /// What it grants.
    pub permissions: Vec<Permission>,
}

/// Why a role is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomRoleError {
    /// The role is Azure's own.
    #[error("role {0} is built in")]
    BuiltIn(RoleDefinitionId),
    /// The name is empty or too long.
    #[error("a role's name has 1 to {max} characters", max = limits::ROLE_NAME_CHARS_MAX)]
    NameInvalid,
    /// Another role of the directory has the name.
    #[error("another role is called `{0}`")]
    NameTaken(String),
    /// The description is too long.
    #[error("the description is too long")]
    DescriptionTooLong,
    /// There are no assignable scopes, too many, the root, or several management groups.
    #[error("the assignable scopes are not allowed: {0}")]
    ScopesInvalid(&'static str),
    /// An assignable scope is not of this directory, or does not exist.
    #[error("{0} is no scope that a role can be made assignable at")]
    ScopeUnknown(RbacScope),
    /// The caller may not define roles at an assignable scope.
    #[error("defining roles is not granted at {0:?}")]
    ScopesNotGranted(Vec<RbacScope>),
    /// A role that is assignable at a management group grants data actions.
    #[error("data actions are not allowed in a role that is assignable at a management group")]
    DataActionsAtManagementGroup,
    /// There are no permissions, or too many patterns.
    #[error("a role has 1 to {max} patterns, in a bounded number of permissions", max = limits::ROLE_PATTERNS_MAX)]
    PatternCount,
    /// No known action is covered by the pattern.
    #[error("`{0}` matches no action of the providers")]
    ActionUnknown(String),
    /// No known provider has the pattern's namespace.
    #[error("`{0}` names an unknown provider")]
    ProviderUnknown(String),
    /// The directory holds as many roles as it may.
    #[error("no more custom roles can be created")]
    LimitReached,
    /// Assignments refer to the role.
    #[error("the role is assigned")]
    HasAssignments,
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Makes a role, or changes it.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    new: &NewRole,
) -> Result<CustomRole, CustomRoleError> {
    state
        .transact(operation, |snapshot, changes| plan(state, snapshot, changes, operation, new))
        .await
}

fn plan(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    new: &NewRole,
) -> Result<CustomRole, CustomRoleError> {
    check_form(state.limits.profile, new)?;
    check_scopes(state, snapshot, operation, new)?;
    if built_in_roles::find(new.id).is_some() {
        return Err(CustomRoleError::BuiltIn(new.id));
    }
    let existing = snapshot.custom_roles.get(&new.id.to_string());
    if existing.is_some_and(|existing| existing.tenant_id != new.tenant_id) {
        return Err(CustomRoleError::NameTaken(new.role_name.clone()));
    }
    if let Some(existing) = existing {
        let scopes = &existing.definition.assignable_scopes;
        check_rights(state, snapshot, operation, WRITE_ACTION, scopes)?;
        check_held(snapshot, new)?;
    }
    check_name(state, snapshot, new, existing.is_none())?;
    let now = operation.now.format(&Rfc3339).ok();
    let caller = operation.principal().map(|principal| principal.principal_id);
    let role = CustomRole {
        tenant_id: new.tenant_id,
        definition: Arc::new(RoleDefinition {
            id: new.id,
            role_name: new.role_name.clone(),
            role_type: RoleType::CustomRole,
            description: new.description.clone(),
            assignable_scopes: new.assignable_scopes.clone(),
            permissions: new.permissions.clone(),
            created_on: existing
                .map_or_else(|| now.clone(), |role| role.definition.created_on.clone()),
            updated_on: now,
        }),
        created_by: existing.map_or(caller, |existing| existing.created_by),
        updated_by: caller,
    };
    changes.put(snapshot, &role);
    Ok(role)
}

/// What the request alone shows.
fn check_form(profile: Profile, new: &NewRole) -> Result<(), CustomRoleError> {
    if !(1..=limits::ROLE_NAME_CHARS_MAX).contains(&new.role_name.trim().chars().count()) {
        return Err(CustomRoleError::NameInvalid);
    }
    if new.description.chars().count() > limits::DESCRIPTION_CHARS_MAX {
        return Err(CustomRoleError::DescriptionTooLong);
    }
    if new.permissions.len() > limits::ROLE_PERMISSIONS_MAX {
        return Err(CustomRoleError::PatternCount);
    }
    let lists = || new.permissions.iter().flat_map(Permission::lists);
    let count: usize = lists().map(|(_, list)| list.len()).sum();
    if !(1..=limits::ROLE_PATTERNS_MAX).contains(&count) {
        return Err(CustomRoleError::PatternCount);
    }
    lists()
        .flat_map(|(name, list)| list.iter().map(move |pattern| (name, pattern)))
        .try_for_each(|(name, pattern)| check_pattern(profile, name, pattern))
}

/// A pattern has to cover an action that there is. In the standard profile providers that nobody knows are the
/// platform team's own: their services ask the check endpoint.
fn check_pattern(
    profile: Profile,
    list: &str,
    pattern: &ActionPattern,
) -> Result<(), CustomRoleError> {
    let plane = provider_operations::plane_of(list);
    let unknown = || pattern.as_str().chars().take(limits::AUDITED_CHARS_MAX).collect();
    if !pattern.is_bounded() {
        return Err(CustomRoleError::ActionUnknown(unknown()));
    }
    match provider_operations::knowledge(plane, pattern) {
        Knowledge::Covered => Ok(()),
        Knowledge::ProviderUnknown if profile == Profile::Standard => Ok(()),
        Knowledge::ProviderUnknown => Err(CustomRoleError::ProviderUnknown(unknown())),
        Knowledge::NothingCovered => Err(CustomRoleError::ActionUnknown(unknown())),
    }
}

fn check_scopes(
    state: &State,
    snapshot: &Snapshot,
    operation: &OperationContext,
    new: &NewRole,
) -> Result<(), CustomRoleError> {
    let scopes = &new.assignable_scopes;
    let invalid = |why| Err(CustomRoleError::ScopesInvalid(why));
    if scopes.is_empty() {
        return invalid("there is none");
    }
    if scopes.len() > limits::ASSIGNABLE_SCOPES_MAX {
        return invalid("there are more than 2,000");
    }
    if scopes.iter().any(|scope| scope.key().is_empty()) {
        return invalid("the root is for built-in roles");
    }
    let management_groups =
        scopes.iter().filter(|scope| scope.management_group().is_some()).count();
    if management_groups > 1 {
        return invalid("more than one is a management group");
    }
    let has_data_actions = new.permissions.iter().any(|it| !it.data_actions.is_empty());
    if management_groups == 1 && has_data_actions {
        return Err(CustomRoleError::DataActionsAtManagementGroup);
    }
    check_rights(state, snapshot, operation, WRITE_ACTION, scopes)?;
    match scopes.iter().find(|scope| !is_of_tenant(snapshot, scope, new.tenant_id)) {
        Some(foreign) => Err(CustomRoleError::ScopeUnknown(foreign.clone())),
        None => Ok(()),
    }
}

/// A role that is held somewhere stays assignable there: those who may change it are those with rights where it counts.
fn check_held(snapshot: &Snapshot, new: &NewRole) -> Result<(), CustomRoleError> {
    let is_left_out = |held: &RbacScope| {
        Ancestry::of(snapshot, new.tenant_id, held).is_none_or(|above| {
            !new.assignable_scopes.iter().any(|assignable| above.holds(assignable))
        })
    };
    let mut held = snapshot.role_assignments.iter().filter(|(_, it)| it.role == new.id);
    if held.any(|(_, it)| is_left_out(&it.scope)) {
        return Err(CustomRoleError::ScopesInvalid("the role is assigned outside them"));
    }
    Ok(())
}

/// Whoever defines, changes or deletes a role must be allowed to at each scope where it is assignable, not only at the
/// one in the request's path.
fn check_rights(
    state: &State,
    snapshot: &Snapshot,
    operation: &OperationContext,
    action: &'static str,
    scopes: &[RbacScope],
) -> Result<(), CustomRoleError> {
    let linked = scopes.iter().cloned();
    let refused = linked_access::refused(&state.journal, snapshot, operation, action, linked);
    if refused.is_empty() { Ok(()) } else { Err(CustomRoleError::ScopesNotGranted(refused)) }
}

fn check_name(
    state: &State,
    snapshot: &Snapshot,
    new: &NewRole,
    is_new: bool,
) -> Result<(), CustomRoleError> {
    let others = || {
        let of_tenant = snapshot.custom_roles.iter().map(|(_, role)| role);
        of_tenant.filter(|role| role.tenant_id == new.tenant_id && role.definition.id != new.id)
    };
    let has_name =
        |role: &RoleDefinition| role.role_name.to_lowercase() == new.role_name.to_lowercase();
    if others().any(|role| has_name(&role.definition))
        || built_in_roles::all().iter().any(|role| has_name(role))
    {
        return Err(CustomRoleError::NameTaken(new.role_name.clone()));
    }
    if is_new && others().count() >= state.limits.custom_roles_per_tenant_max {
        return Err(CustomRoleError::LimitReached);
    }
    Ok(())
}

/// Deletes a role that nobody holds; `None` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: RoleDefinitionId,
) -> Result<Option<CustomRole>, CustomRoleError> {
    if built_in_roles::find(id).is_some() {
        return Err(CustomRoleError::BuiltIn(id));
    }
    state
        .transact(operation, |snapshot, changes| {
            let existing = snapshot.custom_roles.get(&id.to_string());
            let Some(existing) = existing.filter(|role| role.tenant_id == tenant) else {
                return Ok(None);
            };
            let scopes = &existing.definition.assignable_scopes;
            check_rights(state, snapshot, operation, DELETE_ACTION, scopes)?;
            let assigned = snapshot.role_assignments.iter().any(|(_, given)| given.role == id);
            if assigned {
                return Err(CustomRoleError::HasAssignments);
            }
            changes.delete(snapshot, existing.record.as_ref());
            Ok(Some(existing.record.as_ref().clone()))
        })
        .await
}
