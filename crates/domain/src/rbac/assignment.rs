//! A role assignment: this principal has this role at this scope.
//!
//! Not a foreign key: it outlives its principal, and may be made before the principal can be seen.

use serde::{Deserialize, Serialize};

use super::built_in_roles;
use super::scope::RbacScope;
use crate::ids::{PrincipalId, RoleAssignmentId, RoleDefinitionId};
use crate::limits;
use crate::operation::OperationContext;
use crate::records::{Record, Versioned};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// What kind of principal an assignment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrincipalType {
    /// An application's or managed identity's principal.
    ServicePrincipal,
    /// A person.
    User,
    /// A group.
    Group,
}

impl PrincipalType {
    /// The kind as Resource Manager writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServicePrincipal => "ServicePrincipal",
            Self::User => "User",
            Self::Group => "Group",
        }
    }
}

/// A principal's role at a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignment {
    /// The GUID that names the assignment.
    pub id: RoleAssignmentId,
    /// Where the role counts.
    pub scope: RbacScope,
    /// Whom it is given to.
    pub principal_id: PrincipalId,
    /// What the principal is.
    pub principal_type: PrincipalType,
    /// Which role.
    pub role: RoleDefinitionId,
    /// What the administrator noted.
    pub description: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
    /// Who made it; absent for the bootstrap assignment.
    pub created_by: Option<PrincipalId>,
}

impl Record for RoleAssignment {
    const KIND: &'static str = "role-assignments";

    fn record_id(&self) -> String {
        record_id(&self.scope, self.id)
    }
}

/// An assignment's key: its scope and its name, so that the same name may be used at two scopes.
fn record_id(scope: &RbacScope, id: RoleAssignmentId) -> String {
    format!("{}|{id}", scope.key())
}

/// What an administrator asks for.
#[derive(Clone, Debug)]
pub struct NewAssignment {
    /// Where the role counts.
    pub scope: RbacScope,
    /// The GUID that names the assignment.
    pub id: RoleAssignmentId,
    /// Whom it is given to.
    pub principal_id: PrincipalId,
    /// What the principal is, when the caller says so. Saying it skips the look-up in the directory.
    pub principal_type: Option<PrincipalType>,
    /// Which role.
    pub role: RoleDefinitionId,
    /// A note.
    pub description: Option<String>,
}

/// Why an assignment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentError {
    /// The same principal, role and scope stand under another name.
    #[error("the assignment exists as {0}")]
    Exists(RoleAssignmentId),
    /// The name is taken by an assignment of another principal or role.
    #[error("principal, role and scope of an assignment cannot be changed")]
    UpdateNotPermitted,
    /// There is no such principal in the directory.
    #[error("principal {0} does not exist")]
    PrincipalNotFound(PrincipalId),
    /// The principal is of another kind than the caller says.
    #[error("principal {principal} is a {actual:?}, not a {claimed:?}")]
    PrincipalTypeMismatch {
        /// Whom.
        principal: PrincipalId,
        /// What it is.
        actual: PrincipalType,
        /// What the caller said.
        claimed: PrincipalType,
    },
    /// There is no such role.
    #[error("role {0} does not exist")]
    RoleNotFound(RoleDefinitionId),
    /// The subscription holds as many assignments as it may.
    #[error("no more role assignments can be created")]
    LimitReached,
    /// The description is longer than allowed.
    #[error("the description is too long")]
    DescriptionTooLong,
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Gives a role; given again under the same name it stays as it is, with the new description.
pub async fn create(
    state: &State,
    operation: &OperationContext,
    new: &NewAssignment,
) -> Result<RoleAssignment, AssignmentError> {
    state
        .transact(operation, |snapshot, changes| plan(state, snapshot, changes, operation, new))
        .await
}

fn plan(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    new: &NewAssignment,
) -> Result<RoleAssignment, AssignmentError> {
    let description_chars = new.description.as_ref().map_or(0, |text| text.chars().count());
    if description_chars > limits::DESCRIPTION_CHARS_MAX {
        return Err(AssignmentError::DescriptionTooLong);
    }
    let existing = snapshot.role_assignments.get(&record_id(&new.scope, new.id));
    if let Some(existing) = existing {
        return update(snapshot, changes, operation, existing, new);
    }
    built_in_roles::find(new.role).ok_or(AssignmentError::RoleNotFound(new.role))?;
    let principal_type = principal_type(snapshot, new)?;
    let twin = snapshot
        .assignments_of(new.principal_id)
        .iter()
        .find(|other| other.role == new.role && other.scope == new.scope);
    if let Some(twin) = twin {
        return Err(AssignmentError::Exists(twin.id));
    }
    if is_full(snapshot, &new.scope, state.limits.role_assignments_per_subscription_max) {
        return Err(AssignmentError::LimitReached);
    }
    let now = operation.now.unix_timestamp();
    let assignment = RoleAssignment {
        id: new.id,
        scope: new.scope.clone(),
        principal_id: new.principal_id,
        principal_type,
        role: new.role,
        description: new.description.clone(),
        created_at: now,
        updated_at: now,
        created_by: operation.principal().map(|principal| principal.principal_id),
    };
    changes.put(snapshot, &assignment);
    Ok(assignment)
}

/// Whether the scope's subscription holds as many assignments as it may. They are counted only when there are enough.
fn is_full(snapshot: &Snapshot, scope: &RbacScope, max: usize) -> bool {
    let of_subscription =
        |other: &RoleAssignment| other.scope.subscription() == scope.subscription();
    snapshot.role_assignments.len() >= max
        && snapshot.role_assignments.iter().filter(|(_, other)| of_subscription(other)).count()
            >= max
}

fn update(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    existing: &Versioned<RoleAssignment>,
    new: &NewAssignment,
) -> Result<RoleAssignment, AssignmentError> {
    if existing.principal_id != new.principal_id || existing.role != new.role {
        return Err(AssignmentError::UpdateNotPermitted);
    }
    if existing.description == new.description {
        return Ok(existing.record.as_ref().clone());
    }
    let updated = RoleAssignment {
        description: new.description.clone(),
        updated_at: operation.now.unix_timestamp(),
        ..existing.record.as_ref().clone()
    };
    changes.put(snapshot, &updated);
    Ok(updated)
}

fn principal_type(
    snapshot: &Snapshot,
    new: &NewAssignment,
) -> Result<PrincipalType, AssignmentError> {
    let exists = snapshot.service_principal(new.principal_id).is_some();
    match (exists, new.principal_type) {
        (true, None | Some(PrincipalType::ServicePrincipal)) => Ok(PrincipalType::ServicePrincipal),
        (true, Some(claimed)) => Err(AssignmentError::PrincipalTypeMismatch {
            principal: new.principal_id,
            actual: PrincipalType::ServicePrincipal,
            claimed,
        }),
        (false, Some(claimed)) => Ok(claimed),
        (false, None) => Err(AssignmentError::PrincipalNotFound(new.principal_id)),
    }
}

/// The assignment with this name at this scope.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &RbacScope,
    id: RoleAssignmentId,
) -> Option<&'a Versioned<RoleAssignment>> {
    snapshot.role_assignments.get(&record_id(scope, id))
}

/// Takes a role away; `None` when it was not given.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    scope: &RbacScope,
    id: RoleAssignmentId,
) -> Result<Option<RoleAssignment>, WriteError> {
    let key = record_id(scope, id);
    state
        .transact(operation, |snapshot, changes| {
            let existing = snapshot.role_assignments.get(&key);
            Ok(existing.map(|existing| {
                changes.delete(snapshot, existing.record.as_ref());
                existing.record.as_ref().clone()
            }))
        })
        .await
}

/// Which assignments a listing at a scope shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those at, above and below the scope.
    Around,
    /// Those at and above the scope.
    AtScope,
    /// Those of one principal, at, above and below the scope.
    OfPrincipal(PrincipalId),
}

/// The assignments that a listing at a scope shows, in the order of their keys.
pub fn list(
    snapshot: &Snapshot,
    scope: &RbacScope,
    selection: Selection,
) -> Vec<Versioned<RoleAssignment>> {
    let is_shown = |assignment: &RoleAssignment| {
        let above = assignment.scope.contains(scope);
        match selection {
            Selection::AtScope => above,
            Selection::Around => above || scope.contains(&assignment.scope),
            Selection::OfPrincipal(principal) => {
                assignment.principal_id == principal && (above || scope.contains(&assignment.scope))
            }
        }
    };
    snapshot
        .role_assignments
        .iter()
        .map(|(_, assignment)| assignment)
        .filter(|assignment| is_shown(assignment))
        .cloned()
        .collect()
}
