//! What Resource Manager answers to faults that cannot be set, or are not there.

use http::StatusCode;
use keycard_domain::fault::FaultError;
use keycard_domain::limits;

use super::authorization::scope_missing;
use super::resource::write;
use super::{Answer, BAD};

/// A fault cannot be set, or is not there.
pub(super) fn fault(error: &FaultError) -> Answer {
    match error {
        FaultError::NameInvalid(_) => Answer(
            BAD,
            "InvalidFaultName",
            format!(
                "The name of a fault has 1 to {} letters, digits, '-', '_' or '.'.",
                limits::FAULT_NAME_CHARS_MAX
            ),
        ),
        FaultError::OutOfRange { property, min, max } => Answer(
            BAD,
            "InvalidFaultProperty",
            format!("The property '{property}' of a fault is between {min} and {max}."),
        ),
        FaultError::ScopeUnsupported(scope) => Answer(
            BAD,
            "InvalidScope",
            format!(
                "The scope '{scope}' cannot have faults: only subscriptions, resource groups and resources can."
            ),
        ),
        FaultError::ScopeMissing(missing) => scope_missing(missing),
        FaultError::TooMany(scope) => Answer(
            StatusCode::CONFLICT,
            "FaultLimitExceeded",
            format!(
                "The scope '{scope}' has as many faults as it may: {}.",
                limits::FAULTS_PER_SCOPE_MAX
            ),
        ),
        FaultError::NotFound(name) => Answer(
            StatusCode::NOT_FOUND,
            "FaultNotFound",
            format!("The fault '{name}' could not be found."),
        ),
        FaultError::Write(error) => write(error),
    }
}
