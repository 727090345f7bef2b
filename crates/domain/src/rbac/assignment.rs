//! A role assignment: this principal has this role at this scope.
//!
//! Not a foreign key: it outlives its principal, and may be made before the principal can be seen.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::built_in_roles;
use super::condition::Condition;
use super::scope::RbacScope;
use super::standing::Ancestry;
use crate::fault::{self, replication};
use crate::ids::{PrincipalId, RoleAssignmentId, RoleDefinitionId, TenantId};
use crate::limits::{self, Limits};
use crate::monitoring::diagnostic_setting;
use crate::operation::OperationContext;
use crate::records::{Record, Versioned, payload_key};
use crate::resources::{ScopeMissing, rely_on_scope, require_scope};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};
use crate::store::{Expectation, StoreKey, Write};

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
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// Where the role counts.
    pub scope: RbacScope,
    /// Whom it is given to.
    pub principal_id: PrincipalId,
    /// What the principal is.
    pub principal_type: PrincipalType,
    /// Which role.
    pub role: RoleDefinitionId,
    /// The condition under which alone it grants.
    #[serde(default)]
    pub condition: Option<Condition>,
    /// What the administrator noted.
    pub description: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
    /// Who made it; absent for the bootstrap assignment.
    pub created_by: Option<PrincipalId>,
    /// Who changed it last.
    #[serde(default)]
    pub updated_by: Option<PrincipalId>,
}

impl Record for RoleAssignment {
    const KIND: &'static str = "role-assignments";
    /// 2: with the tenant, without which an assignment above the subscriptions belongs to nobody.
    const VERSION: u32 = 2;

    fn record_id(&self) -> String {
        record_id(&self.scope, self.id)
    }
}

/// An assignment's key: its scope, by which assignments are listed, and its name.
fn record_id(scope: &RbacScope, id: RoleAssignmentId) -> String {
    format!("{}|{id}", scope.key())
}

/// What an administrator asks for.
#[derive(Clone, Debug)]
pub struct NewAssignment {
    /// The directory that it is to belong to.
    pub tenant_id: TenantId,
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
    /// The condition under which alone it shall grant.
    pub condition: Option<Condition>,
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
    /// The role may not be assigned at the scope.
    #[error("role {0} is not assignable at {1}")]
    RoleNotAssignable(RoleDefinitionId, RbacScope),
    /// What the scope names does not exist.
    #[error(transparent)]
    ScopeMissing(#[from] ScopeMissing),
    /// Nobody could give roles in the subscription any more.
    #[error("the last administrator's assignment cannot be deleted")]
    LastAdministrator,
    /// The subscription or management group holds as many assignments as it may.
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
    require_scope(snapshot, new.tenant_id, &new.scope)?;
    if let Some(existing) = snapshot.role_assignment(new.id) {
        return update(snapshot, changes, operation, existing, new);
    }
    check_role(snapshot, new)?;
    let principal_type = principal_type(snapshot, operation, new)?;
    let mut same_scope = snapshot
        .standing(new.principal_id)
        .into_iter()
        .flat_map(|standing| standing.assignments.at(new.scope.scope_key()));
    if let Some(twin) = same_scope.find(|other| other.role == new.role) {
        return Err(AssignmentError::Exists(twin.id));
    }
    if is_full(&state.limits, snapshot, &new.scope) {
        return Err(AssignmentError::LimitReached);
    }
    let now = operation.now.unix_timestamp();
    let caller = operation.principal().map(|principal| principal.principal_id);
    let assignment = RoleAssignment {
        id: new.id,
        tenant_id: new.tenant_id,
        scope: new.scope.clone(),
        principal_id: new.principal_id,
        principal_type,
        role: new.role,
        condition: new.condition.clone(),
        description: new.description.clone(),
        created_at: now,
        updated_at: now,
        created_by: caller,
        updated_by: caller,
    };
    rely_on_scope(snapshot, changes, &new.scope);
    changes.put(snapshot, &assignment);
    for claim in claims(&assignment) {
        let absent = Expectation::Absent(claim.clone());
        changes.write(Write::Put(claim, Arc::from(&b"{}"[..])), Some(absent));
    }
    Ok(assignment)
}

/// What two requests at the same time cannot both write: the same principal, role and scope under two names, and the same
/// name at two scopes.
fn claims(assignment: &RoleAssignment) -> [StoreKey; 2] {
    let (scope, principal, role) = (&assignment.scope, assignment.principal_id, assignment.role);
    [format!("{}|{principal}|{role}", scope.key()), format!("name|{}", assignment.id)]
        .map(|claim| payload_key::<RoleAssignment>(&claim))
}

fn plan_delete(snapshot: &Snapshot, changes: &mut Changes, assignment: &RoleAssignment) {
    changes.delete(snapshot, assignment);
    for claim in claims(assignment) {
        changes.write(Write::Delete(claim), None);
    }
}

/// Plans that what was given, denied or set at a scope and below it goes with the thing that stood there: what is made there
/// next is another thing.
pub fn plan_delete_below(snapshot: &Snapshot, changes: &mut Changes, scope: &RbacScope) {
    for prefix in [format!("{}|", scope.key()), format!("{}/", scope.key())] {
        for assignment in snapshot.role_assignments.below(&prefix) {
            plan_delete(snapshot, changes, assignment);
        }
        for deny in snapshot.deny_assignments.below(&prefix) {
            changes.delete(snapshot, deny.record.as_ref());
        }
        diagnostic_setting::plan_delete_below(snapshot, changes, &prefix);
        fault::plan_delete_below(snapshot, changes, &prefix);
    }
}

/// The role has to exist in the directory, and to be assignable at the scope or above it.
fn check_role(snapshot: &Snapshot, new: &NewAssignment) -> Result<(), AssignmentError> {
    let role = snapshot
        .role_definition(new.tenant_id, new.role)
        .ok_or(AssignmentError::RoleNotFound(new.role))?;
    let above = Ancestry::of(snapshot, new.tenant_id, &new.scope);
    let is_assignable =
        above.is_some_and(|above| role.assignable_scopes.iter().any(|scope| above.holds(scope)));
    if is_assignable {
        Ok(())
    } else {
        Err(AssignmentError::RoleNotAssignable(new.role, new.scope.clone()))
    }
}

/// Whether the scope's subscription, or the management group that the scope is, holds as many assignments as it may.
/// They are counted only when there are enough.
fn is_full(limits: &Limits, snapshot: &Snapshot, scope: &RbacScope) -> bool {
    let all = &snapshot.role_assignments;
    let of = |max: usize, prefix: String| all.len() >= max && all.below(&prefix).count() >= max;
    match (scope.subscription(), scope.container_key()) {
        (Some(_), Some(subscription)) => {
            let max = limits.role_assignments_per_subscription_max;
            let at_or_below = all.at_scope(subscription).count();
            of(max.saturating_sub(at_or_below), format!("{subscription}/"))
        }
        _ => of(limits.role_assignments_per_management_group_max, format!("{}|", scope.key())),
    }
}

fn update(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    existing: &RoleAssignment,
    new: &NewAssignment,
) -> Result<RoleAssignment, AssignmentError> {
    let is_same = existing.tenant_id == new.tenant_id
        && existing.scope == new.scope
        && existing.principal_id == new.principal_id
        && existing.role == new.role;
    if !is_same {
        return Err(AssignmentError::UpdateNotPermitted);
    }
    if let Some(claimed) = new.principal_type.filter(|it| *it != existing.principal_type) {
        let (principal, actual) = (existing.principal_id, existing.principal_type);
        return Err(AssignmentError::PrincipalTypeMismatch { principal, actual, claimed });
    }
    if new.condition.is_some() && is_last_administrator(snapshot, existing) {
        return Err(AssignmentError::LastAdministrator);
    }
    if existing.description == new.description && existing.condition == new.condition {
        return Ok(existing.clone());
    }
    let updated = RoleAssignment {
        condition: new.condition.clone(),
        description: new.description.clone(),
        updated_at: operation.now.unix_timestamp(),
        updated_by: operation.principal().map(|principal| principal.principal_id),
        ..existing.clone()
    };
    changes.put(snapshot, &updated);
    Ok(updated)
}

fn principal_type(
    snapshot: &Snapshot,
    operation: &OperationContext,
    new: &NewAssignment,
) -> Result<PrincipalType, AssignmentError> {
    let principal = snapshot.service_principal(new.principal_id);
    let is_hidden =
        principal.is_some_and(|found| replication::hides(snapshot, found, operation.now));
    let seen = type_in_directory(snapshot, new.tenant_id, new.principal_id);
    match (seen.filter(|_| !is_hidden), new.principal_type) {
        (Some(actual), Some(claimed)) if actual != claimed => {
            Err(AssignmentError::PrincipalTypeMismatch {
                principal: new.principal_id,
                actual,
                claimed,
            })
        }
        (Some(actual), _) => Ok(actual),
        (None, Some(claimed)) => Ok(claimed),
        (None, None) => Err(AssignmentError::PrincipalNotFound(new.principal_id)),
    }
}

/// What the principal is in its directory, when it is there.
pub fn type_in_directory(
    snapshot: &Snapshot,
    tenant: TenantId,
    principal: PrincipalId,
) -> Option<PrincipalType> {
    let service_principal = snapshot.service_principal(principal);
    if service_principal.is_some_and(|known| known.tenant_id == tenant) {
        return Some(PrincipalType::ServicePrincipal);
    }
    let group = snapshot.groups.get(&principal.to_string());
    group.is_some_and(|known| known.tenant_id == tenant).then_some(PrincipalType::Group)
}

/// The tenant's assignment with this name at this scope.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    scope: &RbacScope,
    id: RoleAssignmentId,
) -> Option<&'a Versioned<RoleAssignment>> {
    snapshot.role_assignments.get(&record_id(scope, id)).filter(|found| found.tenant_id == tenant)
}

/// Takes a role away; `None` when it was not given.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    scope: &RbacScope,
    id: RoleAssignmentId,
) -> Result<Option<RoleAssignment>, AssignmentError> {
    state
        .transact(operation, |snapshot, changes| {
            let Some(existing) = find(snapshot, tenant, scope, id) else { return Ok(None) };
            if is_last_administrator(snapshot, existing) {
                return Err(AssignmentError::LastAdministrator);
            }
            plan_delete(snapshot, changes, existing);
            Ok(Some(existing.record.as_ref().clone()))
        })
        .await
}

/// Whether nobody else may give roles at the subscription when this assignment is gone.
fn is_last_administrator(snapshot: &Snapshot, assignment: &RoleAssignment) -> bool {
    let administers = |other: &RoleAssignment| {
        other.condition.is_none()
            && matches!(
                other.role,
                built_in_roles::OWNER | built_in_roles::USER_ACCESS_ADMINISTRATOR
            )
    };
    let is_at_subscription = assignment.scope.subscription().is_some()
        && assignment.scope.container_key() == Some(assignment.scope.key());
    let mut others = snapshot
        .role_assignments
        .at_scope(assignment.scope.key())
        .filter(|other| other.id != assignment.id);
    is_at_subscription && administers(assignment) && !others.any(|other| administers(other))
}

/// Which assignments a listing at a scope shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those at, above and below the scope.
    Around,
    /// Those at and above the scope.
    AtScope,
    /// Those of these principals, at, above and below the scope.
    OfPrincipals(Vec<PrincipalId>),
}

/// The tenant's assignments that a listing at a scope shows, in the order of their keys.
pub fn list(
    snapshot: &Snapshot,
    tenant: TenantId,
    scope: &RbacScope,
    selection: &Selection,
) -> Vec<Arc<RoleAssignment>> {
    let Some(above) = Ancestry::of(snapshot, tenant, scope) else { return Vec::new() };
    let is_shown = |assignment: &RoleAssignment| {
        assignment.tenant_id == tenant
            && (above.holds(&assignment.scope)
                || (*selection != Selection::AtScope
                    && is_below(snapshot, scope, &assignment.scope)))
    };
    let mut shown: Vec<Arc<RoleAssignment>> = match selection {
        Selection::OfPrincipals(principals) => principals
            .iter()
            .flat_map(|principal| snapshot.assignments_of(*principal))
            .filter(|assignment| is_shown(assignment))
            .cloned()
            .collect(),
        Selection::AtScope => above
            .keys()
            .iter()
            .flat_map(|key| snapshot.role_assignments.at_scope(key.text))
            .filter(|assignment| is_shown(assignment))
            .map(|assignment| Arc::clone(&assignment.record))
            .collect(),
        Selection::Around => snapshot
            .role_assignments
            .iter()
            .map(|(_, assignment)| assignment)
            .filter(|assignment| is_shown(assignment))
            .map(|assignment| Arc::clone(&assignment.record))
            .collect(),
    };
    shown.sort_by_cached_key(|assignment| assignment.record_id());
    shown
}

/// Whether a scope lies below another: by path, or by the tree of management groups.
pub fn is_below(snapshot: &Snapshot, scope: &RbacScope, other: &RbacScope) -> bool {
    scope.contains(other)
        || (scope.management_group().is_some()
            && snapshot.lineage(other).is_some_and(|lineage| lineage.above.contains(scope)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Profile;
    use uuid::Uuid;

    fn full(profile: Profile, count: usize, scope: &str, asked: &str) -> bool {
        let mut snapshot = Snapshot::default();
        for number in 0..count {
            snapshot.insert_for_test(&RoleAssignment {
                id: RoleAssignmentId::new(Uuid::from_u128(number as u128)),
                tenant_id: TenantId::new(Uuid::from_u128(1)),
                scope: RbacScope::parse(scope).unwrap(),
                principal_id: PrincipalId::new(Uuid::from_u128(number as u128)),
                principal_type: PrincipalType::ServicePrincipal,
                role: built_in_roles::OWNER,
                condition: None,
                description: None,
                created_at: 0,
                updated_at: 0,
                created_by: None,
                updated_by: None,
            });
        }
        is_full(&Limits::of(profile), &snapshot, &RbacScope::parse(asked).unwrap())
    }

    #[test]
    fn a_subscription_and_a_management_group_hold_as_many_assignments_as_their_profile_allows() {
        let here = "/subscriptions/11111111-2222-3333-4444-555555555555";
        let below = &format!("{here}/resourceGroups/rg");
        let elsewhere = "/subscriptions/11111111-2222-3333-4444-666666666666";
        assert!(full(Profile::Azure, 4000, here, below));
        assert!(full(Profile::Azure, 4000, below, here));
        assert!(!full(Profile::Azure, 3999, below, here));
        assert!(!full(Profile::Azure, 4000, elsewhere, here));
        assert!(!full(Profile::Standard, 4000, here, here));
        let group = "/providers/Microsoft.Management/managementGroups/mg";
        assert!(full(Profile::Azure, 500, group, group));
        assert!(!full(Profile::Azure, 499, group, group));
        assert!(!full(Profile::Azure, 500, here, group));
    }
}
