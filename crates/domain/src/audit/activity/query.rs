//! Pages of the activity log: the events of a subscription or a tenant, the latest first, narrowed by conditions.

use uuid::Uuid;

use super::{ActivityEntry, inverted};
use crate::ids::{SubscriptionId, TenantId};
use crate::limits;
use crate::records::{UnreadableRecord, decode, payload_key};
use crate::state::{State, WriteError};
use crate::store::StoreKey;

/// What events happen in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityPlace {
    /// A subscription.
    Subscription(SubscriptionId),
    /// A tenant, outside its subscriptions.
    Tenant(TenantId),
}

impl ActivityPlace {
    /// The first part of the keys of what happened there.
    pub(super) fn key(self) -> String {
        match self {
            Self::Subscription(subscription) => format!("subscription-{subscription}"),
            Self::Tenant(tenant) => format!("tenant-{tenant}"),
        }
    }
}

/// What an event has to be about. Comparison ignores case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// In this resource group.
    ResourceGroup(String),
    /// On exactly this resource.
    Resource(String),
    /// On a resource of this provider.
    Provider(String),
    /// With this correlation id.
    Correlation(String),
    /// By this caller: the object id of its service principal.
    Caller(String),
    /// With this status: `Started`, `Succeeded`, `Failed`.
    Status(String),
}

/// Which phase of an operation an event tells of. Of one entry the end is the later, so it comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Its end.
    End,
    /// Its start.
    Begin,
}

impl Phase {
    /// The letter in the token of a page.
    const fn letter(self) -> &'static str {
        match self {
            Self::End => "e",
            Self::Begin => "b",
        }
    }
}

/// One event of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityEvent {
    /// What was done.
    pub entry: ActivityEntry,
    /// Which end of it this is.
    pub phase: Phase,
}

impl ActivityEvent {
    /// `Started`, `Succeeded` or `Failed`.
    pub const fn status(&self) -> &'static str {
        match self.phase {
            Phase::Begin => "Started",
            Phase::End if self.entry.has_succeeded() => "Succeeded",
            Phase::End => "Failed",
        }
    }

    /// `BeginRequest` or `EndRequest`.
    pub const fn name(&self) -> &'static str {
        match self.phase {
            Phase::Begin => "BeginRequest",
            Phase::End => "EndRequest",
        }
    }

    /// The event's own id.
    pub fn data_id(&self) -> Uuid {
        Uuid::new_v5(&self.entry.operation_id, self.name().as_bytes())
    }

    fn meets(&self, condition: &Condition) -> bool {
        let entry = &self.entry;
        let is = |wanted: &str, present: &str| wanted.eq_ignore_ascii_case(present);
        match condition {
            Condition::ResourceGroup(name) => {
                entry.resource_group().is_some_and(|present| is(name, present))
            }
            Condition::Resource(id) => is(id.trim_end_matches('/'), &entry.scope),
            Condition::Provider(namespace) => is(namespace, &entry.provider()),
            Condition::Correlation(id) => is(id, &entry.correlation_id.to_string()),
            Condition::Caller(id) => is(id, &entry.caller.to_string()),
            Condition::Status(status) => is(status, self.status()),
        }
    }
}

/// Which events are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityQuery {
    /// What they happened in.
    pub place: ActivityPlace,
    /// The tenant of whoever asks: others' events are not told.
    pub tenant_id: TenantId,
    /// The first moment, in Unix milliseconds.
    pub from_unix_ms: i64,
    /// The last moment.
    pub until_unix_ms: i64,
    /// What all of them have to meet.
    pub conditions: Vec<Condition>,
    /// The token of the page before.
    pub after: Option<String>,
    /// Events of the page.
    pub limit: usize,
}

/// A page of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityPage {
    /// The latest first.
    pub events: Vec<ActivityEvent>,
    /// Where the next page begins; a page can be empty and have one.
    pub next: Option<String>,
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActivityError {
    /// The token of the page before is none.
    #[error("the skip token is not one of this log")]
    TokenMalformed,
    /// An entry has a form this version does not know.
    #[error(transparent)]
    Unreadable(#[from] UnreadableRecord),
    /// The store cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] WriteError),
}

/// Entries read from the store at once.
const READ_AT_ONCE: usize = 500;

/// The page of events that are asked for. Looks at a bounded number of entries: where few of many are meant, pages are
/// short and the next one goes on.
pub async fn list(state: &State, query: &ActivityQuery) -> Result<ActivityPage, ActivityError> {
    let prefix = payload_key::<ActivityEntry>(&format!("{}/", query.place.key()));
    let mut position = Position::of(query)?;
    let mut page = ActivityPage { events: Vec::new(), next: None };
    let mut looked_at = 0;
    loop {
        let after = StoreKey::new(format!("{}{}", prefix.as_str(), position.key_before()));
        let read = state.store.list(prefix.as_str(), Some(&after), READ_AT_ONCE).await;
        let read = read.map_err(WriteError::from)?;
        let is_last = read.entries.len() < READ_AT_ONCE;
        for found in read.entries {
            let entry: ActivityEntry = decode(&found.value)?;
            if entry.time_unix_ms < query.from_unix_ms {
                return Ok(page);
            }
            let id = found.key.as_str().strip_prefix(prefix.as_str()).unwrap_or_default();
            for phase in [Phase::End, Phase::Begin] {
                let here = Position { id: id.to_owned(), phase };
                if here <= position {
                    continue;
                }
                if page.events.len() >= query.limit {
                    page.next = Some(position.token());
                    return Ok(page);
                }
                position = here;
                let event = ActivityEvent { entry: entry.clone(), phase };
                let is_own = event.entry.tenant_id == query.tenant_id;
                if is_own && query.conditions.iter().all(|condition| event.meets(condition)) {
                    page.events.push(event);
                }
            }
            looked_at += 1;
            if looked_at >= limits::ACTIVITY_ENTRIES_PER_PAGE_MAX {
                page.next = Some(position.token());
                return Ok(page);
            }
        }
        if is_last {
            return Ok(page);
        }
    }
}

/// The event that was passed last. Events are ordered as they are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    /// The entry's key below its place.
    id: String,
    phase: Phase,
}

impl Position {
    /// Where the query begins: after the page before, or at its last moment.
    fn of(query: &ActivityQuery) -> Result<Self, ActivityError> {
        let Some(token) = &query.after else {
            return Ok(Self { id: inverted(query.until_unix_ms), phase: Phase::Begin });
        };
        let (id, letter) = token.rsplit_once('.').ok_or(ActivityError::TokenMalformed)?;
        let is_id = id.len() == KEY_LENGTH
            && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let phase = [Phase::End, Phase::Begin].into_iter().find(|phase| phase.letter() == letter);
        match phase {
            Some(phase) if is_id => Ok(Self { id: id.to_owned(), phase }),
            _ => Err(ActivityError::TokenMalformed),
        }
    }

    /// A key that comes before all that is left. Where only the end of an entry was told, the entry is read again.
    fn key_before(&self) -> &str {
        match self.phase {
            Phase::Begin => &self.id,
            Phase::End => self.id.get(..self.id.len().saturating_sub(1)).unwrap_or_default(),
        }
    }

    fn token(&self) -> String {
        format!("{}.{}", self.id, self.phase.letter())
    }
}

/// Characters of an entry's key below its place: a moment, a hyphen and a GUID.
const KEY_LENGTH: usize = 15 + 1 + 36;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::{ClientId, PrincipalId};
    use crate::records::Record;
    use uuid::Uuid;

    pub(in super::super) fn entry(scope: &str, action: &str) -> ActivityEntry {
        ActivityEntry {
            time_unix_ms: 1,
            operation_id: Uuid::from_u128(1),
            correlation_id: Uuid::from_u128(2),
            tenant_id: TenantId::new(Uuid::from_u128(3)),
            caller: PrincipalId::new(Uuid::from_u128(4)),
            client_id: ClientId::new(Uuid::from_u128(5)),
            action: action.to_owned(),
            scope: scope.to_owned(),
            method: "PUT".to_owned(),
            client_request_id: None,
            client_address: None,
            status: 201,
            error_code: None,
        }
    }

    fn check(token: &str, is_one: bool) {
        let query = ActivityQuery {
            place: ActivityPlace::Tenant(TenantId::new(Uuid::nil())),
            tenant_id: TenantId::new(Uuid::nil()),
            from_unix_ms: 0,
            until_unix_ms: 5,
            conditions: Vec::new(),
            after: Some(token.to_owned()),
            limit: 1,
        };
        let position = Position::of(&query);
        assert_eq!(position.is_ok(), is_one, "{token}");
        if let Ok(position) = position {
            assert_eq!(position.token(), token);
        }
    }

    #[test]
    fn only_tokens_of_the_log_are_taken() {
        let id = entry("/", "").record_id();
        let (_, id) = id.rsplit_once('/').unwrap();
        check(&format!("{id}.e"), true);
        check(&format!("{id}.b"), true);
        check(&format!("{id}.x"), false);
        check(id, false);
        check(&format!("{}/.b", id.get(1..).unwrap()), false);
        check("", false);
    }

    #[test]
    fn of_two_entries_the_later_and_of_one_its_end_comes_first() {
        let early = ActivityEntry { time_unix_ms: 999, ..entry("/", "") };
        let late = ActivityEntry { time_unix_ms: 1000, ..entry("/", "") };
        assert!(late.record_id() < early.record_id());
        assert!(Phase::End < Phase::Begin);
    }
}
