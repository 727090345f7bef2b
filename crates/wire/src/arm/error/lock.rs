//! What Resource Manager answers where locks are in the way, to locks that cannot be, and to moves that are refused as a
//! whole.

use http::StatusCode;
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::resources::lock::{LockError, ScopeLocked};
use keycard_domain::resources::relocation::{MoveError, TARGET_ACTION};

use super::authorization::{linked_authorization_failed, scope_missing};
use super::resource::{resource, write};
use super::{Answer, BAD};

/// Something is locked.
pub(super) fn scope_locked(refused: &ScopeLocked) -> Answer {
    let locked: Vec<&str> = refused.locked.iter().map(|scope| scope.as_str()).collect();
    Answer(
        StatusCode::CONFLICT,
        "ScopeLocked",
        format!(
            "The scope '{}' cannot perform {} operation because following scope(s) are locked: '{}'. Please remove the lock and try again.",
            refused.scope,
            refused.effect.as_str(),
            locked.join(",")
        ),
    )
}

pub(super) fn level_invalid(level: &str) -> Answer {
    Answer(
        BAD,
        "InvalidLockLevel",
        format!("The lock level '{level}' is not valid. It must be 'CanNotDelete' or 'ReadOnly'."),
    )
}

/// A lock cannot be put, or is not there.
pub(super) fn lock(error: &LockError) -> Answer {
    match error {
        LockError::NameInvalid(_) => Answer(
            BAD,
            "InvalidLockName",
            "The name of a lock has 1 to 260 characters, and none of '<>%&:\\?/' or control characters.".to_owned(),
        ),
        LockError::NotesTooLong => Answer(
            BAD,
            "InvalidLockNotes",
            format!("The notes of a lock have at most {} characters.", limits::LOCK_NOTES_CHARS_MAX),
        ),
        LockError::TooManyOwners => Answer(
            BAD,
            "InvalidLockOwners",
            format!("A lock has at most {} owners.", limits::LOCK_OWNERS_MAX),
        ),
        LockError::ScopeUnsupported(scope) => Answer(
            BAD,
            "InvalidScope",
            format!("The scope '{scope}' cannot be locked: only subscriptions, resource groups and resources can."),
        ),
        LockError::ScopeMissing(missing) => scope_missing(missing),
        LockError::TooMany(scope) => Answer(
            StatusCode::CONFLICT,
            "LockLimitExceeded",
            format!(
                "The scope '{scope}' has as many locks as it may: {}.",
                limits::LOCKS_PER_SCOPE_MAX
            ),
        ),
        LockError::NotFound(name) => Answer(
            StatusCode::NOT_FOUND,
            "LockNotFound",
            format!("The lock '{name}' could not be found."),
        ),
        LockError::Write(error) => write(error),
    }
}

/// Nothing moves; what is in the way of single resources is worded where it is listed.
pub(super) fn relocation(error: &MoveError, operation: &OperationContext) -> Answer {
    match error {
        MoveError::TargetNotGranted(target) => {
            let linked = std::slice::from_ref(target);
            linked_authorization_failed(TARGET_ACTION, linked, &operation.scope, operation)
        }
        MoveError::TargetInvalid(target) => Answer(
            BAD,
            "InvalidRequestContent",
            format!("'{target}' is no id of a resource group."),
        ),
        MoveError::ResourceCount(count) => Answer(
            BAD,
            "InvalidRequestContent",
            format!(
                "A request moves 1 to {} resources, not {count}.",
                limits::RESOURCES_PER_MOVE_MAX
            ),
        ),
        MoveError::TargetIsSource => Answer(
            StatusCode::CONFLICT,
            "ResourceMoveValidationFailed",
            "The source and the target resource group of a move have to be different.".to_owned(),
        ),
        MoveError::Obstacles(_) => {
            Answer(StatusCode::CONFLICT, "ResourceMoveValidationFailed", format!("{error}."))
        }
        MoveError::Resource(error) => resource(error),
    }
}
