//! Asynchronous operations: what a client polls after an answer that sends it away. The work is done in the commit that
//! keeps the operation, so each is over when its client first hears of it, and stays so whatever becomes of the server.
//!
//! Source: Azure Resource Manager, "Track asynchronous Azure operations".

use serde::{Deserialize, Serialize};
use time::UtcDateTime;
use uuid::Uuid;

use crate::audit::unix_ms;
use crate::ids::{PrincipalId, SubscriptionId, TenantId};
use crate::limits;
use crate::operation::{OperationContext, Principal};
use crate::records::{Record, UnreadableRecord, decode, encode, payload_key};
use crate::state::{Changes, State, WriteError};
use crate::store::Write;

/// An operation that its client polls. Only operations that succeeded are kept: what fails is answered so at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsyncOperation {
    /// Its id, which grows with time.
    pub id: Uuid,
    /// The tenant of whoever began it.
    pub tenant_id: TenantId,
    /// Who began it.
    pub caller: PrincipalId,
    /// Where it was begun.
    pub subscription_id: SubscriptionId,
    /// What it was about.
    pub resource: String,
    /// When it began, in Unix milliseconds.
    pub started_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: i64,
}

impl Record for AsyncOperation {
    const KIND: &'static str = "asyncOperations";

    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// Why an operation is not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AsyncOperationError {
    /// There is none of this id, or it is another's.
    #[error("there is no operation {0}")]
    NotFound(String),
    /// Its record has a form this version does not know.
    #[error(transparent)]
    Unreadable(#[from] UnreadableRecord),
    /// The store cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] WriteError),
}

/// Has the request's first commit keep an operation, which its client is going to poll. Whoever calls this does so before
/// anything is committed.
pub fn begin(state: &State, operation: &OperationContext) {
    if let Some(activity) = &operation.activity {
        activity.poll_as(time_ordered(unix_ms(operation.now), state.entropy.uuid()));
    }
}

/// The id of the operation that the request's client is to poll: where [`begin`] was called, and something was committed.
pub fn polled(operation: &OperationContext) -> Option<Uuid> {
    operation.activity.as_ref()?.polled()
}

/// A GUID whose text is ordered by time, so that what is old is a range of keys. Source: RFC 9562, section 5.7.
fn time_ordered(unix_ms: i64, random: Uuid) -> Uuid {
    const RANDOM: u128 = (1 << 80) - 1;
    const VERSION: u128 = 0xf << 76;
    let time = u128::from(unix_ms.unsigned_abs()) << 80;
    Uuid::from_u128(time | (random.as_u128() & RANDOM & !VERSION) | (7 << 76))
}

/// Adds the operation to the changes that do its work.
pub(crate) fn record(operation: &OperationContext, id: Uuid, changes: &mut Changes) {
    let Some(principal) = operation.principal() else { return };
    let scope = crate::rbac::RbacScope::parse(&operation.scope).ok();
    let Some(subscription_id) = scope.and_then(|scope| scope.subscription()) else { return };
    let now = unix_ms(operation.now);
    let begun = AsyncOperation {
        id,
        tenant_id: principal.tenant_id,
        caller: principal.principal_id,
        subscription_id,
        resource: operation.scope.clone(),
        started_at_ms: now,
        ended_at_ms: now,
    };
    let key = payload_key::<AsyncOperation>(&begun.record_id());
    changes.write(Write::Put(key, encode(&begun)), None);
}

/// The operation, for whoever began it.
pub async fn find(
    state: &State,
    (principal, now): (&Principal, UtcDateTime),
    subscription: SubscriptionId,
    id: &str,
) -> Result<AsyncOperation, AsyncOperationError> {
    let not_found = || AsyncOperationError::NotFound(id.chars().take(36).collect());
    let id = Uuid::try_parse(id).map_err(|_| not_found())?;
    let key = payload_key::<AsyncOperation>(&id.to_string());
    let found = state.store.get(&key).await.map_err(WriteError::from)?.ok_or_else(not_found)?;
    let operation: AsyncOperation = decode(&found.value)?;
    let is_own = operation.tenant_id == principal.tenant_id
        && operation.caller == principal.principal_id
        && operation.subscription_id == subscription;
    let is_kept = operation.started_at_ms >= unix_ms(now - limits::ASYNC_OPERATION_RETENTION);
    if is_own && is_kept { Ok(operation) } else { Err(not_found()) }
}

/// Operations removed in one commit.
const PRUNED_PER_COMMIT: usize = 500;

/// Removes the operations that are older than they are kept.
pub(crate) async fn prune(state: &State, operation: &OperationContext) -> Result<(), WriteError> {
    let horizon = unix_ms(operation.now - limits::ASYNC_OPERATION_RETENTION);
    let oldest_kept = time_ordered(horizon, Uuid::nil()).to_string();
    let oldest_kept = payload_key::<AsyncOperation>(&oldest_kept);
    let prefix = payload_key::<AsyncOperation>("");
    loop {
        let page = state.store.list(prefix.as_str(), None, PRUNED_PER_COMMIT).await?;
        let is_last = page.entries.len() < PRUNED_PER_COMMIT;
        let mut changes = Changes::default();
        let outdated =
            page.entries.into_iter().map(|entry| entry.key).filter(|key| *key < oldest_kept);
        outdated.for_each(|key| changes.write(Write::Delete(key), None));
        if changes.is_empty() {
            return Ok(());
        }
        state.commit(changes).await?;
        if is_last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_guids_in_the_order_of_time() {
        let of = |ms, random| time_ordered(ms, Uuid::from_u128(random)).to_string();
        assert_eq!(of(0x0123_4567_89ab, u128::MAX), "01234567-89ab-7fff-ffff-ffffffffffff");
        assert!(of(1000, u128::MAX) < of(1001, 0));
        assert!(of(999, u128::MAX) < of(1_000_000_000_000, 0));
    }
}
