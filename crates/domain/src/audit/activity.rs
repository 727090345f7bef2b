//! The activity log: what was written, deleted and done on the control plane, by whom and with what outcome, in the same
//! commit as the change. One entry per request, which is read as two events, its start and its end. How a page of it is
//! found is in `activity/query.rs`.
//!
//! Source: Azure Monitor, "Azure activity log event schema".

mod query;

use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use query::{
    ActivityError, ActivityEvent, ActivityPage, ActivityPlace, ActivityQuery, Condition, Phase,
    list,
};

use super::unix_ms;
use crate::ids::{ClientId, PrincipalId, SubscriptionId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::RbacScope;
use crate::records::{Record, encode, payload_key};
use crate::resources::async_operation;
use crate::state::{Changes, State, WriteError};
use crate::store::{StoreKey, Write};

/// What a request did on the control plane. No body of a request or an answer stands here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityEntry {
    /// Unix milliseconds.
    pub time_unix_ms: i64,
    /// The operation's own id.
    pub operation_id: Uuid,
    /// Follows the request through everything it caused.
    pub correlation_id: Uuid,
    /// The tenant of whoever did it.
    pub tenant_id: TenantId,
    /// Who did it.
    pub caller: PrincipalId,
    /// The application of whoever did it.
    pub client_id: ClientId,
    /// What was done.
    pub action: String,
    /// To what.
    pub scope: String,
    /// How it was asked for; empty where nobody said.
    pub method: String,
    /// The client's own name of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<String>,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The code of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
}

impl Record for ActivityEntry {
    const KIND: &'static str = "activityLog";

    /// Below what it happened in, the latest first, so that a range of time is a range of keys.
    fn record_id(&self) -> String {
        format!("{}/{}-{}", self.place().key(), inverted(self.time_unix_ms), self.operation_id)
    }
}

/// Larger than any moment in milliseconds that is kept.
const TIME_END_MS: i64 = 999_999_999_999_999;

/// A moment as a text whose order is from the latest to the first.
fn inverted(unix_ms: i64) -> String {
    format!("{:015}", TIME_END_MS - unix_ms.clamp(0, TIME_END_MS))
}

impl ActivityEntry {
    /// The subscription that it happened in, or the tenant.
    fn place(&self) -> ActivityPlace {
        let scope = RbacScope::parse(&self.scope).ok();
        let subscription = scope.and_then(|scope| scope.subscription());
        subscription.map_or(ActivityPlace::Tenant(self.tenant_id), ActivityPlace::Subscription)
    }

    /// The subscription that it happened in.
    pub fn subscription(&self) -> Option<SubscriptionId> {
        match self.place() {
            ActivityPlace::Subscription(subscription) => Some(subscription),
            ActivityPlace::Tenant(_) => None,
        }
    }

    /// Whether it was done.
    pub const fn has_succeeded(&self) -> bool {
        self.status < 400
    }

    fn segments(&self) -> Vec<&str> {
        self.scope.split('/').filter(|segment| !segment.is_empty()).collect()
    }

    /// The resource group that it happened in.
    pub fn resource_group(&self) -> Option<&str> {
        match *self.segments() {
            [_, _, kind, name, ..] if kind.eq_ignore_ascii_case("resourceGroups") => Some(name),
            _ => None,
        }
    }

    /// The full type of the resource, such as `Microsoft.Compute/virtualMachines`.
    pub fn resource_type(&self) -> String {
        let segments = self.segments();
        // Names stand at odd places, so that a group may be called `providers`.
        let is_provider = |(position, segment): &(usize, &&str)| {
            position.is_multiple_of(2) && segment.eq_ignore_ascii_case("providers")
        };
        let provider = segments.iter().enumerate().rfind(is_provider);
        let after = provider.and_then(|(position, _)| segments.get(position + 1..));
        match (after, segments.as_slice()) {
            (Some([namespace, types @ ..]), _) if !types.is_empty() => {
                let types = types.iter().step_by(2).copied();
                std::iter::once(*namespace).chain(types).collect::<Vec<_>>().join("/")
            }
            (_, [first, ..]) if first.eq_ignore_ascii_case("subscriptions") => {
                let types: Vec<&str> = segments.iter().step_by(2).copied().collect();
                format!("Microsoft.Resources/{}", types.join("/"))
            }
            // What stands at no path of its own has its action's type.
            _ => {
                let action = self.action.strip_suffix("/action").unwrap_or(&self.action);
                action.rsplit_once('/').map_or(action, |(kind, _verb)| kind).to_owned()
            }
        }
    }

    /// The namespace of the resource's provider.
    pub fn provider(&self) -> String {
        let resource_type = self.resource_type();
        resource_type.split_once('/').map_or(&*resource_type, |(namespace, _)| namespace).to_owned()
    }
}

/// What a face knows of a request when it admits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// How it was asked for.
    pub method: String,
    /// The client's own name of the request.
    pub client_request_id: Option<String>,
    /// Where the request came from.
    pub client_address: Option<String>,
    /// The status that is going to be answered if the resource comes into being. A wrong guess costs a second commit
    /// ([`close`]).
    pub status_if_made: u16,
    /// The status if the client is sent away to poll.
    pub status_if_polled: u16,
    /// The status in all other cases.
    pub status: u16,
}

/// What a request that may change something is going to leave in the log. Whatever it commits first takes the entry along;
/// what commits nothing is recorded when it has been answered ([`close`]). So each request is there once.
#[derive(Debug)]
pub struct Activity {
    id: Uuid,
    asked: Asked,
    recorded: Mutex<Recorded>,
    /// The asynchronous operation that the first commit is to keep.
    polled: OnceLock<Uuid>,
    /// What became of it after all, whatever is answered.
    failed: OnceLock<Answered>,
}

/// How far the record of a request is.
#[derive(Debug, Default)]
struct Recorded {
    /// The entry of the last commit that was tried.
    planned: Option<ActivityEntry>,
    /// The entry that is in the store.
    committed: Option<ActivityEntry>,
}

impl PartialEq for Activity {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Activity {}

impl Activity {
    /// A request under this id.
    pub fn new(id: Uuid, asked: Asked) -> Self {
        Self {
            id,
            asked,
            recorded: Mutex::default(),
            polled: OnceLock::new(),
            failed: OnceLock::new(),
        }
    }

    /// Has the first commit keep an asynchronous operation under this id.
    pub(crate) fn poll_as(&self, id: Uuid) {
        let _ = self.polled.set(id);
    }

    /// The asynchronous operation that was kept.
    pub(crate) fn polled(&self) -> Option<Uuid> {
        let is_kept = self.with_recorded(|recorded| recorded.committed.is_some());
        self.polled.get().copied().filter(|_| is_kept)
    }

    fn with_recorded<T>(&self, read: impl FnOnce(&mut Recorded) -> T) -> T {
        // Whoever panicked with the lock held had only copied a value.
        read(&mut self.recorded.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The code of the refusal.
    pub error_code: Option<String>,
}

fn entry(operation: &OperationContext, id: Uuid, answered: Answered) -> Option<ActivityEntry> {
    let principal = operation.principal()?;
    let asked = operation.activity.as_deref().map(|activity| activity.asked.clone());
    Some(ActivityEntry {
        time_unix_ms: unix_ms(operation.now),
        operation_id: id,
        correlation_id: operation.correlation_id,
        tenant_id: principal.tenant_id,
        caller: principal.principal_id,
        client_id: principal.client_id,
        action: operation.action.to_owned(),
        scope: operation.scope.clone(),
        method: asked.as_ref().map(|asked| asked.method.clone()).unwrap_or_default(),
        client_request_id: asked.as_ref().and_then(|asked| asked.client_request_id.clone()),
        client_address: asked.and_then(|asked| asked.client_address),
        status: answered.status,
        error_code: answered.error_code,
    })
}

fn write(changes: &mut Changes, entry: &ActivityEntry) {
    let key = payload_key::<ActivityEntry>(&entry.record_id());
    changes.write(Write::Put(key, encode(entry)), None);
}

/// Adds the entry of a control-plane write to its changes, unless the request has left it already. keycard's own upkeep is
/// no control-plane write.
pub(crate) fn record(state: &State, operation: &OperationContext, changes: &mut Changes) {
    let Some(activity) = &operation.activity else {
        let answered = Answered { status: 200, error_code: None };
        let entry = entry(operation, state.entropy.uuid(), answered);
        entry.iter().for_each(|entry| write(changes, entry));
        return;
    };
    if let Some(entry) = activity.with_recorded(|recorded| recorded.committed.clone()) {
        let failed = activity.failed.get().filter(|failed| entry.status != failed.status);
        if let Some(Answered { status, error_code }) = failed.cloned() {
            let entry = ActivityEntry { status, error_code, ..entry };
            write(changes, &entry);
            activity.with_recorded(|recorded| recorded.planned = Some(entry));
        }
        return;
    }
    let asked = &activity.asked;
    let is_made = changes.makes(&operation.scope);
    let status = match activity.polled.get() {
        _ if is_made => asked.status_if_made,
        Some(_) => asked.status_if_polled,
        None => asked.status,
    };
    let Some(entry) = entry(operation, activity.id, Answered { status, error_code: None }) else {
        return;
    };
    write(changes, &entry);
    if let Some(id) = activity.polled.get() {
        async_operation::record(operation, *id, changes);
    }
    activity.with_recorded(|recorded| recorded.planned = Some(entry));
}

/// Notes that the commit took effect to which [`record`] added.
pub(crate) fn committed(operation: &OperationContext) {
    let Some(activity) = &operation.activity else { return };
    activity.with_recorded(|recorded| {
        if let Some(entry) = recorded.planned.take() {
            recorded.committed = Some(entry);
        }
    });
}

/// Notes that the work of a request has failed, which was answered before that was known. The next commit records it.
pub(crate) fn fail(operation: &OperationContext, error_code: &str) {
    if let Some(activity) = &operation.activity {
        let failed = Answered { status: 409, error_code: Some(error_code.to_owned()) };
        let _ = activity.failed.set(failed);
    }
}

/// Records how a request was answered, where none of its commits has said so already: those that changed nothing, that
/// were refused after they had been admitted, or whose answer is another than was expected.
///
/// A request that nobody has allowed (its action is empty) leaves only what it commits: strangers must not fill the log.
pub async fn close(
    state: &State,
    operation: &OperationContext,
    answered: Answered,
) -> Result<(), WriteError> {
    let Some(activity) = &operation.activity else { return Ok(()) };
    let answered = activity.failed.get().cloned().unwrap_or(answered);
    let committed_entry = activity.with_recorded(|recorded| recorded.committed.clone());
    let is_recorded = committed_entry.is_some();
    let entry = match committed_entry {
        Some(entry)
            if entry.status == answered.status && entry.error_code == answered.error_code =>
        {
            return Ok(());
        }
        Some(entry) => Some(ActivityEntry {
            status: answered.status,
            error_code: answered.error_code,
            ..entry
        }),
        None if operation.action.is_empty() => None,
        None => entry(operation, activity.id, answered),
    };
    let Some(entry) = entry else { return Ok(()) };
    let mut changes = Changes::default();
    write(&mut changes, &entry);
    activity.with_recorded(|recorded| recorded.planned = Some(entry));
    match state.commit(changes).await {
        Ok(()) => committed(operation),
        // The change and its entry are there; only the status in it is the expected one.
        Err(_) if is_recorded => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Entries removed in one commit.
const PRUNED_PER_COMMIT: usize = 500;

/// Removes the entries that are older than the log is kept.
pub(crate) async fn prune(state: &State, operation: &OperationContext) -> Result<(), WriteError> {
    let horizon = unix_ms(operation.now - limits::ACTIVITY_RETENTION);
    let all = payload_key::<ActivityEntry>("");
    let mut after = None;
    loop {
        let page = state.store.list(all.as_str(), after.as_ref(), 1).await?;
        let first = page.entries.first().and_then(|entry| entry.key.as_str().rsplit_once('/'));
        let Some((place, _)) = first else { return Ok(()) };
        prune_place(state, place, horizon).await?;
        // What comes after the slash: the next place.
        after = Some(StoreKey::new(format!("{place}0")));
    }
}

/// Within a place the oldest come last.
async fn prune_place(state: &State, place: &str, horizon_ms: i64) -> Result<(), WriteError> {
    let prefix = format!("{place}/");
    let youngest = StoreKey::new(format!("{prefix}{}", inverted(horizon_ms - 1)));
    loop {
        let page = state.store.list(&prefix, Some(&youngest), PRUNED_PER_COMMIT).await?;
        let is_last = page.entries.len() < PRUNED_PER_COMMIT;
        let mut changes = Changes::default();
        page.entries.into_iter().for_each(|entry| changes.write(Write::Delete(entry.key), None));
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
    fn check(scope: &str, action: &str, group: Option<&str>, resource_type: &str, provider: &str) {
        let entry = super::query::tests::entry(scope, action);
        assert_eq!(entry.resource_group(), group, "{scope}");
        assert_eq!(entry.resource_type(), resource_type, "{scope}");
        assert_eq!(entry.provider(), provider, "{scope}");
    }

    #[test]
    fn an_entry_knows_group_type_and_provider_of_what_it_is_about() {
        let s = "/subscriptions/00000000-0000-0000-0000-000000000002";
        check(s, "", None, "Microsoft.Resources/subscriptions", "Microsoft.Resources");
        check(
            &format!("{s}/resourceGroups/providers"),
            "",
            Some("providers"),
            "Microsoft.Resources/subscriptions/resourceGroups",
            "Microsoft.Resources",
        );
        check(
            &format!("{s}/resourceGroups/g/providers/N.C/vms/v/parts/1"),
            "",
            Some("g"),
            "N.C/vms/parts",
            "N.C",
        );
        check(
            &format!("{s}/resourceGroups/g/providers/N.C/vms/v/providers/N.A/roles/r"),
            "",
            Some("g"),
            "N.A/roles",
            "N.A",
        );
        check("/providers/N.M/groups/g", "", None, "N.M/groups", "N.M");
        check("/", "N.A/elevate/action", None, "N.A", "N.A");
        check(
            "/v1.0/groups/g",
            "m.directory/groups/update",
            None,
            "m.directory/groups",
            "m.directory",
        );
    }
}
