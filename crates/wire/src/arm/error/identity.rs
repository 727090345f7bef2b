//! What user-assigned identities, their federated credentials and the `identity` of a resource are refused for.
//!
//! Source: observed errors of the managed identity provider, and of the resource providers that wrap them.

use http::StatusCode;
use keycard_domain::directory::assignment_restrictions::NotAssignable;
use keycard_domain::directory::federated_credential::{self, FederatedCredentialError};
use keycard_domain::directory::identity_block::{ASSIGN_ACTION, IdentityBlockError, IdentityType};
use keycard_domain::directory::user_assigned_identity::{self, UserAssignedIdentityError};
use keycard_domain::operation::OperationContext;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::ResourceError;
use serde_json::json;

use super::authorization::linked_authorization_failed;
use super::resource::{not_found, resource, resource_not_found, write};
use super::{Answer, BAD};

/// What a resource of a directory for customers is told, which has no managed identities.
const NO_IDENTITIES: &str =
    "Managed identities are not supported in a directory of the type 'AAD B2C'.";

pub(super) fn identity(error: &UserAssignedIdentityError) -> Answer {
    match error {
        UserAssignedIdentityError::NameInvalid(name) => resource(&ResourceError::NameInvalid {
            resource_type: user_assigned_identity::RESOURCE_TYPE,
            name: name.clone(),
        }),
        UserAssignedIdentityError::NotFound(id) => resource_not_found(id),
        UserAssignedIdentityError::TenantHasNone => {
            Answer(BAD, "BadRequest", NO_IDENTITIES.to_owned())
        }
        UserAssignedIdentityError::TooManyRequests(_) => Answer(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequests",
            "The request is being throttled. Please try again later.".to_owned(),
        ),
        UserAssignedIdentityError::Resource(error) => resource(error),
    }
}

pub(super) fn federated_credential(error: &FederatedCredentialError) -> Answer {
    let bad = |message: &str| Answer(BAD, "BadRequest", message.to_owned());
    match error {
        FederatedCredentialError::IdentityNotFound(_)
        | FederatedCredentialError::ApplicationNotFound(_) => Answer(
            StatusCode::NOT_FOUND,
            "NotFound",
            "The parent user-assigned identity doesn't exist.".to_owned(),
        ),
        FederatedCredentialError::NotFound(name) => {
            not_found(federated_credential::RESOURCE_TYPE, name)
        }
        FederatedCredentialError::NameInvalid(name) => {
            bad(&format!("Federated Identity Credential name '{name}' is invalid."))
        }
        FederatedCredentialError::Incomplete => {
            bad("Federated Identity Credential from HTTP body has empty properties")
        }
        FederatedCredentialError::AudienceCount => {
            bad("Federated identity credentials must have exactly one audience.")
        }
        FederatedCredentialError::Duplicate => {
            bad("Issuer and subject combination already exists for this Managed Identity.")
        }
        FederatedCredentialError::LimitReached(max) => bad(&format!(
            "Too many Federated Identity Credentials are defined on the object. The maximum is {max}."
        )),
        FederatedCredentialError::SubjectAndExpression => {
            bad("Exactly one of 'subject' and 'claimsMatchingExpression' must be specified.")
        }
        FederatedCredentialError::Expression(error) => {
            bad(&format!("The claimsMatchingExpression is invalid: {error}."))
        }
        FederatedCredentialError::TooLong(what) => bad(&format!(
            "The {what} of a Federated Identity Credential has at most 600 characters."
        )),
        FederatedCredentialError::IssuerInvalid => {
            bad("The issuer of a Federated Identity Credential must be an https URL.")
        }
        FederatedCredentialError::NameTaken(_) => Answer(
            StatusCode::CONFLICT,
            "Conflict",
            "A Federated Identity Credential of this name exists already.".to_owned(),
        ),
        FederatedCredentialError::Resource(error) => resource(error),
        FederatedCredentialError::Write(error) => write(error),
    }
}

/// Everything the identity service refuses is wrapped by the resource provider.
fn failed_identity_operation(id: &ArmResourceId, inner: &str) -> Answer {
    let response = json!({ "error": { "code": "BadRequest", "message": inner } });
    Answer(
        BAD,
        "FailedIdentityOperation",
        format!(
            "Identity operation for resource '{id}' failed with error 'Failed to perform resource identity operation. Status: 'BadRequest'. Response: '{response}'.'."
        ),
    )
}

pub(super) fn identity_block(
    error: &IdentityBlockError,
    id: &ArmResourceId,
    operation: &OperationContext,
) -> Answer {
    match error {
        IdentityBlockError::IdentityNotFound(identity) => failed_identity_operation(
            id,
            &format!("Resource '{}' was not found.", identity.with_lowercase_group_segment()),
        ),
        IdentityBlockError::TypeExcludesMap => failed_identity_operation(
            id,
            "The request format was unexpected, a non-UserAssigned identity type should not contain: userAssignedIdentities",
        ),
        IdentityBlockError::TypeUnsupported { resource_type, requested, supported } => {
            let supported = supported.iter().filter(|it| **it != IdentityType::None);
            let supported: Vec<&str> = supported.map(|it| it.as_str()).collect();
            Answer(
                BAD,
                "BadRequest",
                format!(
                    "Resource type '{resource_type}' does not support creation of '{}' resource identity. The supported types are '{}'.",
                    requested.as_str(),
                    supported.join("','")
                ),
            )
        }
        IdentityBlockError::CountUnexpected { count, expected } => Answer(
            BAD,
            "InvalidParameter",
            format!(
                "The count of user assigned identity specified in identity.userAssignedIdentities is {count}, while expected value is {expected}."
            ),
        ),
        IdentityBlockError::IdentitiesRequired => failed_identity_operation(
            id,
            "The request format was unexpected : Request requires identities to be assigned.",
        ),
        IdentityBlockError::TooManyInRequest { count, max } => failed_identity_operation(
            id,
            &format!(
                "User Assigned Identities Number '{count}' Assign exceed limit '{max}' in one request."
            ),
        ),
        IdentityBlockError::TooManyOnResource { count, max } => failed_identity_operation(
            id,
            &format!(
                "The resource would have '{count}' user assigned identities, at most '{max}' are allowed."
            ),
        ),
        IdentityBlockError::NotAssignable(NotAssignable::OtherRegion {
            identity,
            region,
            location,
        }) => failed_identity_operation(
            id,
            &format!(
                "The user assigned identity '{}' has the isolation scope 'Regional' and cannot be assigned to a resource in location '{location}': it is in location '{region}'.",
                identity.with_lowercase_group_segment()
            ),
        ),
        IdentityBlockError::NotAssignable(NotAssignable::OtherType { identity, resource_type }) => {
            failed_identity_operation(
                id,
                &format!(
                    "The user assigned identity '{}' cannot be assigned to a resource of type '{resource_type}': its assignment restrictions do not name it.",
                    identity.with_lowercase_group_segment()
                ),
            )
        }
        IdentityBlockError::TenantHasNone => failed_identity_operation(id, NO_IDENTITIES),
        IdentityBlockError::AssignNotGranted(identities) => {
            linked_authorization_failed(ASSIGN_ACTION, identities, id.as_str(), operation)
        }
    }
}

pub(super) fn identity_ids(identity_type: IdentityType) -> Answer {
    let message = match identity_type {
        IdentityType::SystemAssigned => {
            "ResourceIdentity identityIds should not be provided if the type is \"SystemAssigned\"."
        }
        IdentityType::None | IdentityType::UserAssigned | IdentityType::SystemAndUserAssigned => {
            "ResourceIdentity identityIds is of former api-versions; list the identities in userAssignedIdentities."
        }
    };
    Answer(BAD, "InvalidParameter", message.to_owned())
}
