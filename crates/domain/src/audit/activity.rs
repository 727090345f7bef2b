//! The activity log: one entry per control-plane write, in the same commit as the change.
//!
//! Source: Azure Monitor, "Azure activity log event schema".

use serde::{Deserialize, Serialize};

use super::unix_ms;
use crate::limits;
use crate::operation::OperationContext;
use crate::records::{Record, encode, payload_key};
use crate::state::{Changes, State, WriteError};
use crate::store::Write;

/// A control-plane write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityEntry {
    /// Unix milliseconds.
    pub time_unix_ms: i64,
    /// The entry's own id.
    pub event_id: String,
    /// Follows the request through everything it caused.
    pub correlation_id: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub scope: String,
    /// Who did it: an object id.
    pub caller: String,
}

impl Record for ActivityEntry {
    const KIND: &'static str = "activity";

    /// Ordered by time, so that a range of time is a range of keys.
    fn record_id(&self) -> String {
        format!("{:015}-{}", self.time_unix_ms, self.event_id)
    }
}

/// Adds the entry of a control-plane write to its changes. keycard's own upkeep is no control-plane write.
pub(crate) fn record(state: &State, operation: &OperationContext, changes: &mut Changes) {
    let Some(principal) = operation.principal() else { return };
    let entry = ActivityEntry {
        time_unix_ms: unix_ms(operation.now),
        event_id: state.entropy.uuid().to_string(),
        correlation_id: operation.correlation_id.to_string(),
        action: operation.action.to_owned(),
        scope: operation.scope.clone(),
        caller: principal.principal_id.to_string(),
    };
    let key = payload_key::<ActivityEntry>(&entry.record_id());
    changes.write(Write::Put(key, encode(&entry)), None);
}

/// Entries removed in one commit.
const PRUNED_PER_COMMIT: usize = 500;

/// Removes the entries that are older than the log is kept.
pub(crate) async fn prune(state: &State, operation: &OperationContext) -> Result<(), WriteError> {
    let horizon = operation.now - limits::ACTIVITY_RETENTION;
    let oldest_kept = payload_key::<ActivityEntry>(&format!("{:015}", unix_ms(horizon)));
    let prefix = payload_key::<ActivityEntry>("");
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
