//! What the instances of scale sets, the names of sites and local endpoints are refused for. Clusters have a file of their own.
//!
//! Source: observed errors of Microsoft.Compute and Microsoft.Web.

use http::StatusCode;
use keycard_domain::compute::attachment::AttachmentError;
use keycard_domain::compute::scale_set::ScaleSetError;
use keycard_domain::limits;

use super::resource::resource_not_found;
use super::{Answer, BAD, unavailable};

pub(super) fn scale_set(error: &ScaleSetError) -> Answer {
    match error {
        ScaleSetError::InstanceIdInvalid(id) => Answer(
            BAD,
            "InvalidParameter",
            format!(
                "The provided instanceId {id} is invalid. It must be a non-negative integer or the character \"*\"."
            ),
        ),
        ScaleSetError::InstanceNotFound(id) => Answer(
            BAD,
            "InvalidParameter",
            format!(
                "The provided instanceId {id} is not an active Virtual Machine Scale Set VM instanceId."
            ),
        ),
        ScaleSetError::TooManyInstances { name, .. } => Answer(
            StatusCode::CONFLICT,
            "OperationNotAllowed",
            format!(
                "Unable to create or update Virtual Machine Scale Set '{name}' as it exceeds the total limit of '{max}' Virtual Machine instances.",
                max = limits::SCALE_SET_INSTANCES_MAX
            ),
        ),
    }
}

/// The part of the request that is wrong, where Azure names it.
pub(super) const fn scale_set_target(error: &ScaleSetError) -> Option<&'static str> {
    match error {
        ScaleSetError::InstanceIdInvalid(_) | ScaleSetError::InstanceNotFound(_) => {
            Some("instanceIds")
        }
        ScaleSetError::TooManyInstances { .. } => None,
    }
}

pub(super) fn site_name_taken(name: &str) -> Answer {
    Answer(
        StatusCode::CONFLICT,
        "Conflict",
        format!("Website with given name {name} already exists."),
    )
}

pub(super) fn attachment(error: &AttachmentError) -> Answer {
    match error {
        AttachmentError::ResourceNotFound(id) => resource_not_found(id),
        AttachmentError::Unavailable(reason) => unavailable(reason),
    }
}
