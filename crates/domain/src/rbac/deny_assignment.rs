//! A deny assignment: these principals may not do this, whatever roles they hold.
//!
//! Source: Azure role-based access control, "Understand Azure deny assignments"; Microsoft.Authorization REST API
//! 2024-07-01-preview, user-assigned deny assignments.

use serde::{Deserialize, Serialize};

use super::assignment::{Selection, is_below, type_in_directory};
use super::role_definition::Permission;
use super::scope::RbacScope;
use super::standing::Ancestry;
use crate::ids::{DenyAssignmentId, PrincipalId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::records::{Record, Versioned};
use crate::resources::{ScopeMissing, rely_on_scope, require_scope};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// The principal that stands for everyone.
pub const EVERYONE: PrincipalId = PrincipalId::new(uuid::Uuid::nil());

/// What kind of principal a deny assignment names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeniedType {
    /// Everyone: the nil GUID.
    SystemDefined,
    /// A person.
    User,
    /// A group, with its members; only among the excluded.
    Group,
    /// An application's or managed identity's principal.
    ServicePrincipal,
}

impl DeniedType {
    /// The kind as Resource Manager writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SystemDefined => "SystemDefined",
            Self::User => "User",
            Self::Group => "Group",
            Self::ServicePrincipal => "ServicePrincipal",
        }
    }
}

/// A principal that a deny assignment names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedPrincipal {
    /// Whom.
    pub id: PrincipalId,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: DeniedType,
}

/// What principals may not do at a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyAssignment {
    /// The GUID that names it.
    pub id: DenyAssignmentId,
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// Where it counts.
    pub scope: RbacScope,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What is denied; the union counts. A condition that cannot be evaluated denies.
    pub permissions: Vec<Permission>,
    /// Whether it counts at its scope only, and not below.
    pub excludes_child_scopes: bool,
    /// Whom it binds.
    pub principals: Vec<DeniedPrincipal>,
    /// Whom it does not bind, with the members of excluded groups.
    pub excluded_principals: Vec<DeniedPrincipal>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
    /// Who made it.
    pub created_by: Option<PrincipalId>,
    /// Who changed it last.
    pub updated_by: Option<PrincipalId>,
}

impl Record for DenyAssignment {
    const KIND: &'static str = "deny-assignments";

    fn record_id(&self) -> String {
        record_id(&self.scope, self.id)
    }
}

fn record_id(scope: &RbacScope, id: DenyAssignmentId) -> String {
    format!("{}|{id}", scope.key())
}

/// What an administrator asks for.
#[derive(Clone, Debug)]
pub struct NewDenyAssignment {
    /// The GUID that names it.
    pub id: DenyAssignmentId,
    /// The directory that it is to belong to.
    pub tenant_id: TenantId,
    /// Where it counts.
    pub scope: RbacScope,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What is denied.
    pub permissions: Vec<Permission>,
    /// Whether it counts at its scope only.
    pub excludes_child_scopes: bool,
    /// Whom it binds.
    pub principals: Vec<DeniedPrincipal>,
    /// Whom it does not bind.
    pub excluded_principals: Vec<DeniedPrincipal>,
}

/// Why a deny assignment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DenyAssignmentError {
    /// The request breaks a rule of deny assignments.
    #[error("{0}")]
    Invalid(&'static str),
    /// Another one at the scope has the name.
    #[error("another deny assignment is called `{0}`")]
    NameTaken(String),
    /// What the scope names does not exist.
    #[error(transparent)]
    ScopeMissing(#[from] ScopeMissing),
    /// There are as many as there may be.
    #[error("no more deny assignments can be created")]
    LimitReached,
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Makes a deny assignment, or changes it.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    new: &NewDenyAssignment,
) -> Result<DenyAssignment, DenyAssignmentError> {
    check_form(new)?;
    state.transact(operation, |snapshot, changes| plan(snapshot, changes, operation, new)).await
}

/// What the request alone shows: everyone with at least one exception, or one person or service principal.
fn check_form(new: &NewDenyAssignment) -> Result<(), DenyAssignmentError> {
    let invalid = |why| Err(DenyAssignmentError::Invalid(why));
    if !(1..=limits::ROLE_NAME_CHARS_MAX).contains(&new.name.trim().chars().count()) {
        return invalid("the name has to have 1 to 512 characters");
    }
    if new.description.chars().count() > limits::DESCRIPTION_CHARS_MAX {
        return invalid("the description is too long");
    }
    let lists = || new.permissions.iter().flat_map(Permission::lists);
    let patterns: usize = lists().map(|(_, list)| list.len()).sum();
    if new.permissions.len() > limits::ROLE_PERMISSIONS_MAX {
        return invalid("there are too many permissions");
    }
    if lists().any(|(_, list)| list.iter().any(|pattern| !pattern.is_bounded())) {
        return invalid("an action is too long, or has too many wildcards");
    }
    if !(1..=limits::ROLE_PATTERNS_MAX).contains(&patterns) {
        return invalid("the permissions have to name 1 to 2,048 actions");
    }
    if new.excluded_principals.len() > limits::EXCLUDED_PRINCIPALS_MAX {
        return invalid("there are too many excluded principals");
    }
    match new.principals.as_slice() {
        [DeniedPrincipal { id, kind: DeniedType::SystemDefined }] if *id == EVERYONE => {
            if new.excluded_principals.is_empty() {
                return invalid(
                    "a deny assignment for everyone has to exclude at least one principal",
                );
            }
            Ok(())
        }
        [DeniedPrincipal { id, kind: DeniedType::User | DeniedType::ServicePrincipal }]
            if *id != EVERYONE =>
        {
            Ok(())
        }
        _ => invalid(
            "the principal has to be everyone (type SystemDefined), or one principal of type User or ServicePrincipal",
        ),
    }
}

fn plan(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    new: &NewDenyAssignment,
) -> Result<DenyAssignment, DenyAssignmentError> {
    require_scope(snapshot, new.tenant_id, &new.scope)?;
    // Nobody could take it away again.
    let is_there =
        |it: &DeniedPrincipal| type_in_directory(snapshot, new.tenant_id, it.id).is_some();
    let binds_everyone = new.principals.iter().any(|it| it.id == EVERYONE);
    if binds_everyone && !new.excluded_principals.iter().any(is_there) {
        return Err(DenyAssignmentError::Invalid("one of the excluded principals has to exist"));
    }
    let prefix = format!("{}|", new.scope.key());
    let mut others = snapshot.deny_assignments.below(&prefix).filter(|other| other.id != new.id);
    if others.any(|other| other.name.to_lowercase() == new.name.to_lowercase()) {
        return Err(DenyAssignmentError::NameTaken(new.name.clone()));
    }
    let existing = snapshot.deny_assignments.get(&record_id(&new.scope, new.id));
    if existing.is_some_and(|existing| existing.tenant_id != new.tenant_id) {
        return Err(DenyAssignmentError::NameTaken(new.name.clone()));
    }
    if existing.is_none() && snapshot.deny_assignments.len() >= limits::DENY_ASSIGNMENTS_MAX {
        return Err(DenyAssignmentError::LimitReached);
    }
    let now = operation.now.unix_timestamp();
    let caller = operation.principal().map(|principal| principal.principal_id);
    let deny = DenyAssignment {
        id: new.id,
        tenant_id: new.tenant_id,
        scope: new.scope.clone(),
        name: new.name.clone(),
        description: new.description.clone(),
        permissions: new.permissions.clone(),
        excludes_child_scopes: new.excludes_child_scopes,
        principals: new.principals.clone(),
        excluded_principals: new.excluded_principals.clone(),
        created_at: existing.map_or(now, |existing| existing.created_at),
        updated_at: now,
        created_by: existing.map_or(caller, |existing| existing.created_by),
        updated_by: caller,
    };
    rely_on_scope(snapshot, changes, &deny.scope);
    changes.put(snapshot, &deny);
    Ok(deny)
}

/// The deny assignment with this name at this scope.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    scope: &RbacScope,
    id: DenyAssignmentId,
) -> Option<&'a Versioned<DenyAssignment>> {
    snapshot.deny_assignments.get(&record_id(scope, id)).filter(|deny| deny.tenant_id == tenant)
}

/// Takes a deny assignment away; `None` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    scope: &RbacScope,
    id: DenyAssignmentId,
) -> Result<Option<DenyAssignment>, WriteError> {
    state
        .transact(operation, |snapshot, changes| {
            let existing = find(snapshot, tenant, scope, id);
            Ok(existing.map(|existing| {
                changes.delete(snapshot, existing.record.as_ref());
                existing.record.as_ref().clone()
            }))
        })
        .await
}

/// The tenant's deny assignments that a listing at a scope shows: at it and above it, and, unless `AtScope`, below it.
pub fn list(
    snapshot: &Snapshot,
    tenant: TenantId,
    scope: &RbacScope,
    selection: &Selection,
) -> Vec<Versioned<DenyAssignment>> {
    let Some(above) = Ancestry::of(snapshot, tenant, scope) else { return Vec::new() };
    let is_shown = |deny: &DenyAssignment| {
        let is_meant = match selection {
            Selection::Around => true,
            Selection::AtScope => return above.holds(&deny.scope),
            Selection::OfPrincipals(principals) => {
                let names = |it: &DeniedPrincipal| it.id == EVERYONE || principals.contains(&it.id);
                deny.principals.iter().any(names)
            }
        };
        is_meant && (above.holds(&deny.scope) || is_below(snapshot, scope, &deny.scope))
    };
    snapshot
        .deny_assignments
        .iter()
        .map(|(_, deny)| deny)
        .filter(|deny| deny.tenant_id == tenant && is_shown(deny))
        .cloned()
        .collect()
}
