//! App roles that were given: who may call an application as what.
//!
//! Source: Microsoft Graph, "appRoleAssignment resource type".

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::application::Application;
use super::group::{self, DirectoryObject};
use super::service_principal::{self, ServicePrincipal};
use crate::ids::{AppRoleAssignmentId, AppRoleId, PrincipalId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::records::{Record, Versioned};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// Gives a principal or group a role of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRoleAssignment {
    /// Its id.
    pub id: AppRoleAssignmentId,
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// Whom the role is given to.
    pub principal_id: PrincipalId,
    /// The service principal of the application that defines the role.
    pub resource_id: PrincipalId,
    /// The role; all zeros for the default access that has no role.
    pub app_role_id: AppRoleId,
    /// Unix seconds.
    pub created_at: i64,
}

impl Record for AppRoleAssignment {
    const KIND: &'static str = "app-role-assignments";

    fn record_id(&self) -> String {
        format!("{}/{}", self.principal_id, self.id)
    }
}

/// The access that is given where an application defines no roles.
pub const DEFAULT_ACCESS: AppRoleId = AppRoleId::new(Uuid::nil());

/// Why an app role cannot be given or taken away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppRoleAssignmentError {
    /// There is no such assignment.
    #[error("app role assignment {0} does not exist")]
    NotFound(AppRoleAssignmentId),
    /// Whom the role is to be given to is not in this directory.
    #[error("{0} does not exist")]
    PrincipalNotFound(PrincipalId),
    /// The resource is no service principal of an application of this directory.
    #[error("no application has the service principal {0}")]
    ResourceNotFound(PrincipalId),
    /// The application does not define the role, has disabled it, or does not mean it for programs.
    #[error("app role {role} cannot be given on {resource}")]
    RoleNotFound {
        /// The role.
        role: AppRoleId,
        /// The service principal of the application.
        resource: PrincipalId,
    },
    /// The role is given already.
    #[error("the app role is given already")]
    Exists,
    /// The principal or the application has as many assignments as it may.
    #[error("{0} has as many app role assignments as it may")]
    TooMany(PrincipalId),
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What an administrator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAppRoleAssignment {
    /// The directory.
    pub tenant_id: TenantId,
    /// Whom the role is given to.
    pub principal_id: PrincipalId,
    /// The service principal of the application that defines the role.
    pub resource_id: PrincipalId,
    /// The role.
    pub app_role_id: AppRoleId,
}

/// From which side an assignment is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Of whom it is given to.
    Principal(PrincipalId),
    /// Of the application that defines the role.
    Resource(PrincipalId),
}

/// Gives an app role.
pub async fn create(
    state: &State,
    operation: &OperationContext,
    new: NewAppRoleAssignment,
) -> Result<AppRoleAssignment, AppRoleAssignmentError> {
    let NewAppRoleAssignment { tenant_id, principal_id, resource_id, app_role_id } = new;
    let assignment = AppRoleAssignment {
        id: AppRoleAssignmentId::new(state.entropy.uuid()),
        tenant_id,
        principal_id,
        resource_id,
        app_role_id,
        created_at: operation.now.unix_timestamp(),
    };
    state
        .transact(operation, |snapshot, changes| {
            let principal = group::object(snapshot, tenant_id, principal_id)
                .ok_or(AppRoleAssignmentError::PrincipalNotFound(principal_id))?;
            let (resource, application) = check(snapshot, new)?;
            // Both are written as they are: whoever deletes one of them at the same time, or gives the same role, plans
            // anew and sees this assignment.
            match &principal {
                DirectoryObject::Group(group) => changes.put(snapshot, group.as_ref()),
                DirectoryObject::ServicePrincipal(it) => changes.put(snapshot, it.as_ref()),
            }
            changes.put(snapshot, resource);
            // A role that is disabled or removed at the same time is not given.
            changes.rely_on(snapshot, application);
            changes.put(snapshot, &assignment);
            Ok(assignment.clone())
        })
        .await
}

/// The resource and its application, when the role can be given on it.
fn check(
    snapshot: &Snapshot,
    new: NewAppRoleAssignment,
) -> Result<(&ServicePrincipal, &Application), AppRoleAssignmentError> {
    let NewAppRoleAssignment { tenant_id, principal_id, resource_id, app_role_id } = new;
    let (resource, application) = application_of(snapshot, tenant_id, resource_id)
        .ok_or(AppRoleAssignmentError::ResourceNotFound(resource_id))?;
    if !can_be_given(application, app_role_id) {
        let (role, resource) = (app_role_id, resource_id);
        return Err(AppRoleAssignmentError::RoleNotFound { role, resource });
    }
    let mut own = list(snapshot, tenant_id, Side::Principal(principal_id));
    if own.any(|it| it.resource_id == resource_id && it.app_role_id == app_role_id) {
        return Err(AppRoleAssignmentError::Exists);
    }
    for (side, id, max) in [
        (
            Side::Principal(principal_id),
            principal_id,
            limits::APP_ROLE_ASSIGNMENTS_OF_PRINCIPAL_MAX,
        ),
        (Side::Resource(resource_id), resource_id, limits::APP_ROLE_ASSIGNMENTS_OF_RESOURCE_MAX),
    ] {
        if list(snapshot, tenant_id, side).count() >= max {
            return Err(AppRoleAssignmentError::TooMany(id));
        }
    }
    Ok((resource, application))
}

/// Members of a group are programs here, so a group can be given what programs can.
// Differs from Azure: there a group can be given roles for users only.
fn can_be_given(application: &Application, role: AppRoleId) -> bool {
    if role == DEFAULT_ACCESS {
        return application.app_roles.is_empty();
    }
    application.app_roles.iter().any(|it| it.id == role && it.counts())
}

fn application_of(
    snapshot: &Snapshot,
    tenant: TenantId,
    resource: PrincipalId,
) -> Option<(&ServicePrincipal, &Application)> {
    let resource = service_principal::find(snapshot, tenant, resource)?;
    let application = snapshot.application_of_client(resource.client_id)?;
    (application.tenant_id == tenant)
        .then_some((resource.record.as_ref(), application.record.as_ref()))
}

/// Takes an app role away.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    side: Side,
    id: AppRoleAssignmentId,
) -> Result<(), AppRoleAssignmentError> {
    state
        .transact(operation, |snapshot, changes| {
            let found = find(snapshot, tenant, side, id)?;
            changes.delete(snapshot, found.record.as_ref());
            Ok(())
        })
        .await
}

/// One of the assignments of a side.
pub fn find(
    snapshot: &Snapshot,
    tenant: TenantId,
    side: Side,
    id: AppRoleAssignmentId,
) -> Result<&Versioned<AppRoleAssignment>, AppRoleAssignmentError> {
    let found = list(snapshot, tenant, side).find(|assignment| assignment.id == id);
    found.ok_or(AppRoleAssignmentError::NotFound(id))
}

/// The assignments that a principal or group was given directly, or those on an application.
pub fn list(
    snapshot: &Snapshot,
    tenant: TenantId,
    side: Side,
) -> impl Iterator<Item = &Versioned<AppRoleAssignment>> {
    let prefix = match side {
        Side::Principal(id) => format!("{id}/"),
        Side::Resource(_) => String::new(),
    };
    snapshot.app_role_assignments.below(&prefix).filter(move |assignment| {
        assignment.tenant_id == tenant
            && match side {
                Side::Principal(id) => assignment.principal_id == id,
                Side::Resource(id) => assignment.resource_id == id,
            }
    })
}

/// Removes the assignments of a principal, group or application that goes.
pub(super) fn remove_of(snapshot: &Snapshot, changes: &mut Changes, tenant: TenantId, side: Side) {
    for assignment in list(snapshot, tenant, side) {
        changes.delete(snapshot, assignment.record.as_ref());
    }
}

/// Removes the assignments of a role that goes.
pub(super) fn remove_of_role(
    snapshot: &Snapshot,
    changes: &mut Changes,
    resource: PrincipalId,
    role: AppRoleId,
) {
    let all = snapshot.app_role_assignments.iter().map(|(_, assignment)| assignment);
    for assignment in all.filter(|it| it.resource_id == resource && it.app_role_id == role) {
        changes.delete(snapshot, assignment.record.as_ref());
    }
}

/// What the claim `roles` of a principal's token for an application says, sorted: the roles it was given directly, or
/// through a group that it is directly in. Groups in groups do not count, as in Entra.
///
/// Source: Microsoft Entra, "Manage users and groups assignment to an application": nested groups are not supported.
pub fn role_values(
    snapshot: &Snapshot,
    tenant: TenantId,
    principal: PrincipalId,
    resource: PrincipalId,
) -> Vec<String> {
    let Some((_, application)) = application_of(snapshot, tenant, resource) else {
        return Vec::new();
    };
    let given: BTreeSet<AppRoleId> =
        given(snapshot, tenant, principal, resource).map(|it| it.app_role_id).collect();
    let counts = application.app_roles.iter().filter(|it| it.counts() && given.contains(&it.id));
    let values: BTreeSet<&String> = counts.filter_map(|role| role.value.as_ref()).collect();
    values.into_iter().cloned().collect()
}

/// Whether a principal was given anything on an application, be it the default access without a role.
pub fn is_assigned(
    snapshot: &Snapshot,
    tenant: TenantId,
    principal: PrincipalId,
    resource: PrincipalId,
) -> bool {
    given(snapshot, tenant, principal, resource).next().is_some()
}

fn given(
    snapshot: &Snapshot,
    tenant: TenantId,
    principal: PrincipalId,
    resource: PrincipalId,
) -> impl Iterator<Item = &Versioned<AppRoleAssignment>> {
    let groups = snapshot.standing(principal).into_iter().flat_map(|standing| &standing.groups);
    std::iter::once(principal)
        .chain(groups.copied())
        .flat_map(move |holder| list(snapshot, tenant, Side::Principal(holder)))
        .filter(move |assignment| assignment.resource_id == resource)
}

#[cfg(test)]
mod tests {
    use super::super::application::{AppRole, TokenVersion};
    use super::super::group::GroupMember;
    use super::super::service_principal::ServicePrincipalKind;
    use super::*;
    use crate::ids::{ApplicationId, ClientId};

    const TENANT: TenantId = TenantId::new(Uuid::from_u128(1));
    const RESOURCE: PrincipalId = PrincipalId::new(Uuid::from_u128(2));

    fn principal(n: u128) -> PrincipalId {
        PrincipalId::new(Uuid::from_u128(n))
    }

    fn role_id(n: u128) -> AppRoleId {
        AppRoleId::new(Uuid::from_u128(n))
    }

    fn role(n: u128, value: Option<&str>) -> AppRole {
        AppRole {
            id: role_id(n),
            value: value.map(str::to_owned),
            display_name: "r".into(),
            description: "r".into(),
            is_enabled: true,
            allowed_member_types: vec!["Application".into()],
        }
    }

    /// An application with these roles, and who has which of them.
    fn world(roles: Vec<AppRole>, given: &[(u128, u128)]) -> Snapshot {
        let client_id = ClientId::new(Uuid::from_u128(3));
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&Application {
            id: ApplicationId::new(Uuid::from_u128(4)),
            client_id,
            tenant_id: TENANT,
            display_name: "a".into(),
            created_at: 0,
            passwords: vec![],
            keys: vec![],
            identifier_uris: vec![],
            app_roles: roles,
            accepted_token_version: TokenVersion::V1,
            wants_group_claims: false,
        });
        snapshot.insert_for_test(&ServicePrincipal {
            id: RESOURCE,
            client_id,
            tenant_id: TENANT,
            display_name: "a".into(),
            kind: ServicePrincipalKind::Application,
            is_enabled: true,
            created_at: 0,
            keys: vec![],
            requires_assignment: false,
            tokens_valid_from: None,
        });
        for (n, (holder, role)) in (100..).zip(given) {
            snapshot.insert_for_test(&AppRoleAssignment {
                id: AppRoleAssignmentId::new(Uuid::from_u128(n)),
                tenant_id: TENANT,
                principal_id: principal(*holder),
                resource_id: RESOURCE,
                app_role_id: role_id(*role),
                created_at: 0,
            });
        }
        for (group, member) in [(20, 10), (21, 20)] {
            let (group, member) = (principal(group), principal(member));
            snapshot.insert_for_test(&GroupMember { group, member });
        }
        snapshot
    }

    fn check(given: &[(u128, u128)], expected: &[&str], assigned: bool) {
        let off = AppRole { is_enabled: false, ..role(9, Some("off")) };
        let roles = vec![role(6, Some("b")), role(5, Some("a")), role(7, None), off];
        let snapshot = world(roles, given);
        let values = role_values(&snapshot, TENANT, principal(10), RESOURCE);
        assert_eq!(values, expected, "{given:?}");
        assert_eq!(is_assigned(&snapshot, TENANT, principal(10), RESOURCE), assigned, "{given:?}");
        let elsewhere = TenantId::new(Uuid::nil());
        assert!(role_values(&snapshot, elsewhere, principal(10), RESOURCE).is_empty());
        assert!(!is_assigned(&snapshot, elsewhere, principal(10), RESOURCE));
        assert!(role_values(&snapshot, TENANT, principal(10), principal(11)).is_empty());
    }

    #[test]
    fn roles_come_directly_or_through_a_group_and_not_through_a_group_in_a_group() {
        check(&[], &[], false);
        check(&[(10, 6), (10, 5)], &["a", "b"], true);
        check(&[(20, 6)], &["b"], true);
        check(&[(10, 6), (20, 6)], &["b"], true);
        check(&[(21, 6)], &[], false);
        check(&[(11, 6)], &[], false);
        check(&[(10, 7)], &[], true);
        check(&[(10, 0)], &[], true);
        check(&[(10, 8)], &[], true);
        check(&[(10, 9)], &[], true);
    }

    #[test]
    fn only_enabled_roles_of_the_application_can_be_given_and_once() {
        let off = AppRole { is_enabled: false, ..role(6, None) };
        let users = AppRole { allowed_member_types: vec!["User".into()], ..role(7, None) };
        let snapshot = world(vec![role(5, None), off, users], &[(10, 5)]);
        let new = |holder, role| NewAppRoleAssignment {
            tenant_id: TENANT,
            principal_id: principal(holder),
            resource_id: RESOURCE,
            app_role_id: role_id(role),
        };
        assert!(super::check(&snapshot, new(11, 5)).is_ok());
        let error = |new| super::check(&snapshot, new).unwrap_err();
        assert_eq!(error(new(10, 5)), AppRoleAssignmentError::Exists);
        for wrong in [0, 6, 7, 8] {
            let (role, resource) = (role_id(wrong), RESOURCE);
            let expected = AppRoleAssignmentError::RoleNotFound { role, resource };
            assert_eq!(error(new(11, wrong)), expected);
        }
        let nobody = NewAppRoleAssignment { resource_id: principal(9), ..new(11, 5) };
        assert_eq!(error(nobody), AppRoleAssignmentError::ResourceNotFound(principal(9)));
        let given: Vec<(u128, u128)> =
            (0..limits::APP_ROLE_ASSIGNMENTS_OF_PRINCIPAL_MAX).map(|_| (11, 9)).collect();
        let full = world(vec![role(5, None)], &given);
        let refused = super::check(&full, new(11, 5)).unwrap_err();
        assert_eq!(refused, AppRoleAssignmentError::TooMany(principal(11)));
        assert!(super::check(&full, new(12, 5)).is_ok());
        let bare = world(vec![], &[]);
        assert!(super::check(&bare, new(11, 0)).is_ok(), "the default access");
    }
}
