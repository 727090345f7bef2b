//! What Resource Manager answers where locks are in the way, and to locks that cannot be.

use http::StatusCode;
use keycard_domain::limits;
use keycard_domain::resources::lock::{LockError, ScopeLocked};

use super::authorization::scope_missing;
use super::resource::write;
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
