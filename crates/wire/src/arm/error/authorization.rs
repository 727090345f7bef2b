//! What Resource Manager answers to refusals about rights: who may do what, and the roles, assignments, denies and
//! management groups that say so.
//!
//! Source: Azure role-based access control, "Troubleshoot Azure RBAC"; observed errors of its provider.

use http::StatusCode;
use keycard_domain::ids::{ClientId, PrincipalId, TenantId};
use keycard_domain::operation::OperationContext;
use keycard_domain::rbac::assignment::AssignmentError;
use keycard_domain::rbac::custom_role::CustomRoleError;
use keycard_domain::rbac::deny_assignment::DenyAssignmentError;
use keycard_domain::rbac::taken_along::Denied;
use keycard_domain::rbac::{Decision, DenyAssignment, RbacScope, Reason};
use keycard_domain::resources::management_group::{self, ManagementGroupError, WRITE_ACTION};
use keycard_domain::resources::{ResourceError, ScopeMissing};

use super::resource::{resource, resource_not_found, write};
use super::{Answer, ArmError, BAD};

/// A request that its caller may not make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::arm) struct Forbidden {
    pub(in crate::arm) client: ClientId,
    pub(in crate::arm) object: PrincipalId,
    pub(in crate::arm) action: &'static str,
    pub(in crate::arm) scope: String,
    pub(in crate::arm) decision: Decision,
}

pub(super) fn forbidden(forbidden: &Forbidden) -> Answer {
    let Forbidden { client, object, action, scope, decision } = forbidden;
    let who = format!("The client '{client}' with object id '{object}'");
    let refresh = "If access was recently granted, please refresh your credentials.";
    match &decision.reason {
        Reason::Denied { deny, .. } => denied(&who, (action, scope), deny),
        Reason::ConditionNotMet(_) | Reason::AttributeMissing(_) => Answer(
            StatusCode::FORBIDDEN,
            "AuthorizationFailed",
            format!(
                "{who} does not have authorization or an ABAC condition not fulfilled to perform action '{action}' over scope '{scope}' or the scope is invalid. {refresh}"
            ),
        ),
        Reason::Granted(_) | Reason::GrantedByCondition(_) | Reason::NoAssignment => Answer(
            StatusCode::FORBIDDEN,
            "AuthorizationFailed",
            format!(
                "{who} does not have authorization to perform action '{action}' over scope '{scope}' or the scope is invalid. {refresh}"
            ),
        ),
    }
}

fn denied(who: &str, (action, scope): (&str, &str), deny: &DenyAssignment) -> Answer {
    Answer(
        StatusCode::FORBIDDEN,
        "DenyAssignmentAuthorizationFailed",
        format!(
            "{who} has permission to perform action '{action}' on scope '{scope}'; however, the access is denied because of the deny assignment with name '{}' and Id '{}' at scope '{}'.",
            deny.name,
            deny.id.as_uuid().simple(),
            deny.scope
        ),
    )
}

/// What would go along with what is deleted or moved, and may not.
pub(super) fn denied_along(along: &Denied) -> Answer {
    let Denied { client, object, action, scope, deny } = along;
    let who = format!("The client '{client}' with object id '{object}'");
    denied(&who, (action, scope.as_str()), deny)
}

/// A right that a request needs on scopes other than its own.
pub(super) fn linked_authorization_failed(
    action: &str,
    linked: &[RbacScope],
    scope: &str,
    operation: &OperationContext,
) -> Answer {
    let (client, object) = operation
        .principal()
        .map(|principal| (principal.client_id.to_string(), principal.principal_id.to_string()))
        .unwrap_or_default();
    let linked: Vec<String> = linked.iter().map(RbacScope::with_lowercase_group_segment).collect();
    Answer(
        StatusCode::FORBIDDEN,
        "LinkedAuthorizationFailed",
        format!(
            "The client '{client}' with object id '{object}' has permission to perform action '{}' on scope '{scope}'; however, it does not have permission to perform action '{action}' on the linked scope(s) '{}' or the linked scope(s) are invalid.",
            operation.action,
            linked.join(",")
        ),
    )
}

pub(super) fn principal_type_invalid(text: &str) -> Answer {
    Answer(
        BAD,
        "InvalidPrincipalType",
        format!(
            "The PrincipalType property '{text}' is not valid. It must be 'User', 'Group' or 'ServicePrincipal'."
        ),
    )
}

pub(super) fn condition_invalid() -> Answer {
    Answer(BAD, "InvalidCondition", "The given role assignment condition is invalid.".to_owned())
}

pub(super) fn assignment_not_found(name: &str) -> Answer {
    Answer(
        StatusCode::NOT_FOUND,
        "RoleAssignmentNotFound",
        format!("The role assignment '{name}' is not found."),
    )
}

pub(super) fn role_not_found(id: &str) -> Answer {
    Answer(
        StatusCode::NOT_FOUND,
        "RoleDefinitionDoesNotExist",
        format!("The specified role definition with ID '{id}' does not exist."),
    )
}

pub(super) fn scope_missing(missing: &ScopeMissing) -> Answer {
    match missing {
        ScopeMissing::Container(scope) => scope_not_found(scope),
        ScopeMissing::Group(name) => resource(&ResourceError::GroupNotFound(name.clone())),
        ScopeMissing::Resource(id) => resource_not_found(id),
    }
}

/// A scope that is not there: the subscription, or the management group.
fn scope_not_found(scope: &RbacScope) -> Answer {
    match (scope.subscription(), scope.management_group()) {
        (Some(subscription), _) => resource(&ResourceError::SubscriptionNotFound(subscription)),
        (None, Some(group)) => management_group_not_found(group),
        (None, None) => Answer(BAD, "InvalidScope", format!("The scope '{scope}' is not valid.")),
    }
}

pub(super) fn custom_role(error: &CustomRoleError, operation: &OperationContext) -> Answer {
    let invalid = |message: String| Answer(BAD, "InvalidRoleDefinition", message);
    match error {
        CustomRoleError::BuiltIn(id) => Answer(
            BAD,
            "RoleDefinitionCannotBeUpdated",
            format!("The role definition '{}' is built in and cannot be changed.", id.as_uuid().simple()),
        ),
        CustomRoleError::NameTaken(_) => Answer(
            StatusCode::CONFLICT,
            "RoleDefinitionWithSameNameExists",
            "A custom role with the same name already exists in this directory. Use a different name"
                .to_owned(),
        ),
        CustomRoleError::NameInvalid => {
            invalid("The role name has to have 1 to 512 characters.".to_owned())
        }
        CustomRoleError::DescriptionTooLong => invalid("The description is too long.".to_owned()),
        CustomRoleError::ScopesInvalid(why) => Answer(
            BAD,
            "InvalidAssignableScopes",
            format!("The assignable scopes of the role are not allowed: {why}."),
        ),
        CustomRoleError::ScopeUnknown(scope) => scope_not_found(scope),
        CustomRoleError::ScopesNotGranted(scopes) => {
            linked_authorization_failed(operation.action, scopes, &operation.scope, operation)
        }
        CustomRoleError::DataActionsAtManagementGroup => Answer(
            BAD,
            "InvalidAssignableScopes",
            "A custom role with data actions cannot be assignable at a management group.".to_owned(),
        ),
        CustomRoleError::PatternCount => {
            invalid("The role has to name at least one action, and at most 2,048.".to_owned())
        }
        CustomRoleError::ActionUnknown(pattern) => Answer(
            BAD,
            "InvalidActionOrNotAction",
            format!("'{pattern}' does not match any of the actions supported by the providers."),
        ),
        CustomRoleError::ProviderUnknown(_) => Answer(
            BAD,
            "InvalidActionOrNotAction",
            "The resource provider referenced in the action is not returned in the list of providers from Azure Resource Manager."
                .to_owned(),
        ),
        CustomRoleError::LimitReached => Answer(
            BAD,
            "RoleDefinitionLimitExceeded",
            "No more role definitions can be created (code: RoleDefinitionLimitExceeded)".to_owned(),
        ),
        CustomRoleError::HasAssignments => Answer(
            BAD,
            "RoleDefinitionHasAssignments",
            "There are existing role assignments referencing role (code: RoleDefinitionHasAssignments)"
                .to_owned(),
        ),
        CustomRoleError::Write(error) => write(error),
    }
}

pub(super) fn deny_assignment(error: &DenyAssignmentError) -> Answer {
    let invalid = |message: String| Answer(BAD, "InvalidCreateDenyAssignmentRequest", message);
    match error {
        DenyAssignmentError::Invalid(why) => {
            invalid(format!("The deny assignment cannot be created: {why}."))
        }
        DenyAssignmentError::NameTaken(_) => Answer(
            StatusCode::CONFLICT,
            "DenyAssignmentNameAlreadyExists",
            "A deny assignment with the same name already exists at this scope.".to_owned(),
        ),
        DenyAssignmentError::ScopeMissing(missing) => scope_missing(missing),
        DenyAssignmentError::LimitReached => {
            invalid("No more deny assignments can be created.".to_owned())
        }
        DenyAssignmentError::Write(error) => write(error),
    }
}

fn management_group_not_found(name: &str) -> Answer {
    let message = format!("'{}' not found", management_group::path(name));
    Answer(StatusCode::NOT_FOUND, "NotFound", message)
}

pub(super) fn management_group(
    error: &ManagementGroupError,
    operation: &OperationContext,
) -> Answer {
    let bad = |message: String| Answer(BAD, "BadRequest", message);
    match error {
        ManagementGroupError::NotGranted => match operation.principal() {
            Some(principal) => forbidden(&Forbidden {
                client: principal.client_id,
                object: principal.principal_id,
                action: WRITE_ACTION,
                scope: operation.scope.clone(),
                decision: Decision { reason: Reason::NoAssignment },
            }),
            None => ArmError::TokenMissing.answer(),
        },
        ManagementGroupError::LinkedNotGranted { action, scopes } => {
            linked_authorization_failed(action, scopes, &operation.scope, operation)
        }
        ManagementGroupError::NotFound(name) | ManagementGroupError::ParentNotFound(name) => {
            management_group_not_found(name)
        }
        ManagementGroupError::NameInvalid(name) => bad(format!(
            "The name '{name}' is not valid for a management group: it has to have 1 to 90 letters, digits, '-', '_', '(', ')' or '.', and not to end in '.'."
        )),
        ManagementGroupError::DisplayNameInvalid => {
            bad("The display name of a management group has to have 1 to 256 characters.".to_owned())
        }
        ManagementGroupError::NameTaken(name) => Answer(
            StatusCode::CONFLICT,
            "Conflict",
            format!("The management group name '{name}' is already in use. Use a different name."),
        ),
        ManagementGroupError::RootFixed => {
            bad("The root management group cannot be changed, moved or deleted.".to_owned())
        }
        ManagementGroupError::Cycle { group, parent } => bad(format!(
            "The management group '{group}' cannot be moved below '{parent}': that is itself, or stands below it."
        )),
        ManagementGroupError::TooDeep => bad(
            "The hierarchy of management groups cannot have more than 6 levels below the root management group."
                .to_owned(),
        ),
        ManagementGroupError::LimitReached => {
            bad("No more management groups can be created in this tenant.".to_owned())
        }
        ManagementGroupError::HasChildren(name) => bad(format!(
            "The management group '{name}' cannot be deleted: it has management groups or subscriptions below it. Move or delete them first."
        )),
        ManagementGroupError::HasAssignments(name) => bad(format!(
            "The management group '{name}' has more than 1,000 role and deny assignments. Delete some first."
        )),
        ManagementGroupError::SubscriptionElsewhere { subscription, group } => Answer(
            StatusCode::NOT_FOUND,
            "NotFound",
            format!(
                "'{}/subscriptions/{subscription}' not found",
                management_group::path(group)
            ),
        ),
        ManagementGroupError::Resource(error) => resource(error),
        ManagementGroupError::Write(error) => write(error),
    }
}

pub(super) fn assignment(error: &AssignmentError, tenant: TenantId) -> Answer {
    let bare = |id: &uuid::Uuid| id.simple().to_string();
    match error {
        AssignmentError::Exists(id) => Answer(
            StatusCode::CONFLICT,
            "RoleAssignmentExists",
            format!(
                "The role assignment already exists. The ID of the existing role assignment is {}.",
                bare(id.as_uuid())
            ),
        ),
        AssignmentError::UpdateNotPermitted => Answer(
            BAD,
            "RoleAssignmentUpdateNotPermitted",
            "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
                .to_owned(),
        ),
        AssignmentError::PrincipalNotFound(id) => Answer(
            BAD,
            "PrincipalNotFound",
            format!(
                "Principal {} does not exist in the directory {tenant}. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
                bare(id.as_uuid())
            ),
        ),
        AssignmentError::PrincipalTypeMismatch { principal, actual, claimed } => Answer(
            BAD,
            "UnmatchedPrincipalType",
            format!(
                "The PrincipalId '{}' has type '{}' , which is different from specified PrinciaplType '{}'.",
                bare(principal.as_uuid()),
                actual.as_str(),
                claimed.as_str()
            ),
        ),
        AssignmentError::RoleNotFound(id) => role_not_found(&id.to_string()),
        AssignmentError::RoleNotAssignable(role, scope) => Answer(
            BAD,
            "ScopeDoesNotMatchRoleDefinition",
            format!(
                "The role definition '{}' cannot be assigned at scope '{scope}': the scope is not among its assignable scopes, nor below one of them.",
                bare(role.as_uuid())
            ),
        ),
        AssignmentError::ScopeMissing(missing) => scope_missing(missing),
        AssignmentError::LastAdministrator => Answer(
            BAD,
            "CannotDeleteLastRbacAdminAssignment",
            "Cannot delete the last RBAC admin assignment".to_owned(),
        ),
        AssignmentError::LimitReached => Answer(
            BAD,
            "RoleAssignmentLimitExceeded",
            "No more role assignments can be created (code: RoleAssignmentLimitExceeded)"
                .to_owned(),
        ),
        AssignmentError::DescriptionTooLong => {
            Answer(BAD, "InvalidDescription", "The description is too long.".to_owned())
        }
        AssignmentError::Write(error) => write(error),
    }
}
