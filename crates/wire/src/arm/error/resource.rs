//! What every resource can be refused for, and the subscriptions that hold them.
//!
//! Source: "Troubleshoot common Azure deployment errors".

use http::StatusCode;
use keycard_domain::limits;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::ResourceError;
use keycard_domain::resources::subscription::SubscriptionError;
use keycard_domain::state::WriteError;

use super::{Answer, BAD, authorization, front_door, lock, unavailable};

pub(super) fn resource(error: &ResourceError) -> Answer {
    match error {
        ResourceError::SubscriptionNotFound(id) => Answer(
            StatusCode::NOT_FOUND,
            "SubscriptionNotFound",
            format!("The subscription '{id}' could not be found."),
        ),
        ResourceError::GroupNotFound(name) => Answer(
            StatusCode::NOT_FOUND,
            "ResourceGroupNotFound",
            format!("Resource group '{name}' could not be found."),
        ),
        ResourceError::NotFound(id) => resource_not_found(id),
        ResourceError::ParentNotFound(id) => front_door::parent_not_found(id.name()),
        ResourceError::NameInvalid { resource_type, name } => Answer(
            BAD,
            "InvalidResourceName",
            format!("The name '{name}' is not valid for a resource of type '{resource_type}'."),
        ),
        ResourceError::LocationRequired => Answer(
            BAD,
            "LocationRequired",
            "The location property is required for this definition.".to_owned(),
        ),
        ResourceError::LocationImmutable { name, group, present, requested } => Answer(
            StatusCode::CONFLICT,
            "InvalidResourceLocation",
            format!(
                "The resource '{name}' already exists in location '{present}' in resource group '{group}'. A resource with the same name cannot be created in location '{requested}'. Please select a new resource name."
            ),
        ),
        ResourceError::GroupLocationImmutable { present, requested } => Answer(
            StatusCode::CONFLICT,
            "InvalidResourceGroupLocation",
            format!(
                "Invalid resource group location '{requested}'. The Resource group already exists in location '{present}'."
            ),
        ),
        ResourceError::TooManyTags(count) => Answer(
            BAD,
            "InvalidTags",
            format!("The resource has {count} tags; at most 50 are allowed."),
        ),
        ResourceError::TagInvalid(name) => {
            Answer(BAD, "InvalidTags", format!("The tag '{name}' is not allowed, or stands twice."))
        }
        ResourceError::NotTaggable(scope) => {
            Answer(BAD, "InvalidScope", format!("The scope '{scope}' cannot have tags."))
        }
        ResourceError::Write(error) => write(error),
    }
}

pub(super) fn resource_not_found(id: &ArmResourceId) -> Answer {
    Answer(
        StatusCode::NOT_FOUND,
        "ResourceNotFound",
        format!(
            "The Resource '{}/{}' under resource group '{}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
            id.resource_type(),
            id.name(),
            id.resource_group()
        ),
    )
}

pub(super) fn not_found(resource_type: &str, name: &str) -> Answer {
    Answer(
        StatusCode::NOT_FOUND,
        "ResourceNotFound",
        format!("The Resource '{resource_type}/{name}' was not found."),
    )
}

pub(super) fn write(error: &WriteError) -> Answer {
    match error {
        WriteError::Conflict(_) => Answer(
            StatusCode::CONFLICT,
            "Conflict",
            "The resource is being changed by other requests. Please try again.".to_owned(),
        ),
        WriteError::Unavailable(_) => Answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The change cannot be written now. Please try again.".to_owned(),
        ),
        WriteError::PreconditionFailed => front_door::precondition_failed(),
        WriteError::Locked(locked) => lock::scope_locked(locked),
        WriteError::Denied(denied) => authorization::denied_along(denied),
        WriteError::TooLarge(_) => Answer(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestContentTooLarge",
            format!("The resource would have more than {} bytes.", limits::RECORD_BYTES_MAX),
        ),
    }
}

pub(super) fn subscription(error: &SubscriptionError) -> Answer {
    let (status, code) = match error {
        SubscriptionError::AliasInvalid(_) => (BAD, "InvalidSubscriptionAlias"),
        SubscriptionError::NameInvalid => (BAD, "InvalidSubscriptionName"),
        SubscriptionError::TooMany => (BAD, "SubscriptionLimitExceeded"),
        SubscriptionError::Write(_) => return unavailable(&format!("{error}.")),
    };
    Answer(status, code, format!("{error}."))
}
