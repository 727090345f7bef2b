//! Due work: what has come of age is renewed, what has outlived its time is removed. One pass does all that is due; who
//! calls it only ticks.

use crate::audit::activity;
use crate::directory::deleted_object;
use crate::fault;
use crate::key_vault::vault::{self, VaultError};
use crate::operation::OperationContext;
use crate::resources::async_operation;
use crate::state::{State, WriteError};
use crate::token::signing_key::{self, SigningKeyError};

/// Work that is due and could not be done; the next pass tries again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpkeepError {
    /// Deleted vaults whose time is over.
    #[error("expired vaults cannot be removed: {0}")]
    Vaults(#[from] VaultError),
    /// Entries of the activity log, asynchronous operations, deleted objects and faults that are no longer kept.
    #[error("outlived records cannot be removed: {0}")]
    Records(#[from] WriteError),
    /// Signing keys that came of age, or are no longer needed.
    #[error("signing keys cannot be rotated: {0}")]
    SigningKeys(#[from] SigningKeyError),
}

/// Does what is due at the operation's moment.
pub async fn pass(state: &State, operation: &OperationContext) -> Result<(), UpkeepError> {
    signing_key::rotate_due(state, operation).await?;
    vault::remove_expired(state, operation).await?;
    activity::prune(state, operation).await?;
    async_operation::prune(state, operation).await?;
    deleted_object::purge_outlived(state, operation).await?;
    fault::prune(state, operation).await?;
    Ok(())
}
