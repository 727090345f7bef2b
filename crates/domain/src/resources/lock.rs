//! Management locks: what nobody may delete, or change, until the lock is taken away, whatever roles they hold.
//!
//! They hold at the subscription, resource group or resource where they are, and below. They bind the control plane
//! only: what a vault keeps is not behind them.
//! Source: Azure Resource Manager, "Lock your resources to protect your infrastructure"; Microsoft.Authorization/locks.

use serde::{Deserialize, Serialize};

use super::{ScopeMissing, rely_on_scope, require_place};
use crate::directory::service_principal::{Generation, count_made};
use crate::ids::{SubscriptionId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::RbacScope;
use crate::records::{Record, Versioned};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// How much a lock forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockLevel {
    /// Nothing is deleted.
    CanNotDelete,
    /// Nothing is written, deleted or acted on.
    ReadOnly,
}

impl LockLevel {
    /// The level as Resource Manager writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CanNotDelete => "CanNotDelete",
            Self::ReadOnly => "ReadOnly",
        }
    }

    const fn forbids(self, effect: Effect) -> bool {
        match self {
            Self::ReadOnly => true,
            Self::CanNotDelete => matches!(effect, Effect::Delete | Effect::DeleteParts),
        }
    }
}

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Where it is.
    pub scope: RbacScope,
    /// Its name, in the case of creation.
    pub name: String,
    /// What it forbids.
    pub level: LockLevel,
    /// What its maker noted.
    pub notes: Option<String>,
    /// Applications that it belongs to, as its maker named them; nothing follows from it.
    pub owners: Vec<String>,
}

impl Record for Lock {
    const KIND: &'static str = "locks";

    fn record_id(&self) -> String {
        self.scope.record_id(&self.name)
    }
}

/// What an operation does to what may be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changes, or acts on, what its scope names.
    Write,
    /// It deletes what its scope names, with all that is below.
    Delete,
    /// It deletes parts of what its scope names; which ones, its plan says.
    DeleteParts,
}

impl Effect {
    /// What the operation is called in refusals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Delete | Self::DeleteParts => "delete",
        }
    }
}

/// Actions that look and change nothing, though they are no reads by their names.
// Differs from Azure: a ReadOnly lock there stops every POST, whatever it does, since it goes by the method.
const LOOKING_ACTIONS: &[&str] = &[
    // What a template would do, and what would make it.
    "validate",
    "whatIf",
    "exportTemplate",
    // Questions that have a body.
    "listAssociatedResources",
    "checkAccess",
    "explainAccess",
    "checkNameAvailability",
    "queryLogs",
    // Says of locks, too, that they are in the way.
    "validateMoveResources",
];

/// What an action does that a lock can forbid; `None` for reads, and for what has no role's action.
fn effect_of(action: &str) -> Option<Effect> {
    // keycard's own actions look at, or turn, keycard itself.
    let is_exempt = |prefix: &str| {
        action.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if is_exempt("Keycard.Local/") || is_exempt("Microsoft.Authorization/locks/") {
        return None;
    }
    let (rest, last) = action.rsplit_once('/')?;
    let is = |text: &str, word: &str| text.eq_ignore_ascii_case(word);
    let verb = rest.rsplit('/').next().unwrap_or_default();
    match last {
        _ if is(last, "read") => None,
        // Taking all tags away deletes them, and not what had them.
        _ if is(action, "Microsoft.Resources/tags/delete") => Some(Effect::DeleteParts),
        _ if is(last, "delete") => Some(Effect::Delete),
        _ if is(last, "action") && is(verb, "delete") => Some(Effect::DeleteParts),
        _ if is(last, "action") && LOOKING_ACTIONS.iter().any(|looking| is(verb, looking)) => None,
        _ => Some(Effect::Write),
    }
}

/// Locks are in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{scope} cannot be changed: {locked:?} are locked")]
pub struct ScopeLocked {
    /// What was to be changed, as the request wrote it.
    pub scope: String,
    /// How.
    pub effect: Effect,
    /// Where the locks are.
    pub locked: Vec<RbacScope>,
}

/// Refuses what a lock forbids: one at the scope or above it; for what is deleted with all that is below, one below it.
pub fn check(snapshot: &Snapshot, effect: Effect, scope: &RbacScope) -> Result<(), ScopeLocked> {
    if snapshot.locks.is_empty() {
        return Ok(());
    }
    let above = above_and_at(snapshot, scope);
    let below = (effect == Effect::Delete)
        .then(|| snapshot.locks.below_scope(scope.key()))
        .into_iter()
        .flatten();
    let forbidding = above.chain(below).filter(|lock| lock.level.forbids(effect));
    refuse_if_any(effect, scope, forbidding)
}

fn refuse_if_any<'a>(
    effect: Effect,
    scope: &RbacScope,
    forbidding: impl Iterator<Item = &'a Versioned<Lock>>,
) -> Result<(), ScopeLocked> {
    let mut locked: Vec<RbacScope> = forbidding.map(|lock| lock.scope.clone()).collect();
    locked.dedup();
    locked.truncate(limits::NAMES_SHOWN_MAX);
    if locked.is_empty() {
        return Ok(());
    }
    Err(ScopeLocked { scope: scope.to_string(), effect, locked })
}

/// Refuses to take away a part of a resource, such as an instance of a scale set, that is locked itself.
pub(crate) fn check_below(snapshot: &Snapshot, part: &RbacScope) -> Result<(), ScopeLocked> {
    if snapshot.locks.is_empty() {
        return Ok(());
    }
    let (at, below) = (snapshot.locks.at_scope(part.key()), snapshot.locks.below_scope(part.key()));
    refuse_if_any(Effect::Delete, part, at.chain(below))
}

fn above_and_at<'a>(
    snapshot: &'a Snapshot,
    scope: &'a RbacScope,
) -> impl Iterator<Item = &'a Versioned<Lock>> {
    scope.path_ancestors().flat_map(|ancestor| snapshot.locks.at_scope(ancestor.text))
}

/// Refuses an operation that locks forbid where it says it works.
pub fn check_operation(
    snapshot: &Snapshot,
    operation: &OperationContext,
) -> Result<(), ScopeLocked> {
    if snapshot.locks.is_empty() {
        return Ok(());
    }
    match target(operation) {
        Some((effect, scope)) => check(snapshot, effect, &scope),
        None => Ok(()),
    }
}

/// Refuses a commit that locks forbid, and relies on no lock being put in the subscription at the same time.
pub(crate) fn guard(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
) -> Result<(), ScopeLocked> {
    let Some((effect, scope)) = target(operation) else { return Ok(()) };
    check(snapshot, effect, &scope)?;
    if let Some(subscription) = scope.subscription() {
        rely_on_locks_of(snapshot, changes, subscription);
    }
    Ok(())
}

/// Relies on no lock being put in a subscription until the commit.
pub(crate) fn rely_on_locks_of(
    snapshot: &Snapshot,
    changes: &mut Changes,
    subscription: SubscriptionId,
) {
    let path = counter(subscription);
    changes.rely_on(snapshot, &Generation { path, deletions: 0 });
}

/// What an operation does, and where, when a lock could forbid it: in a subscription.
pub(crate) fn target(operation: &OperationContext) -> Option<(Effect, RbacScope)> {
    let effect = effect_of(operation.action)?;
    let scope = RbacScope::parse(&operation.scope).ok()?;
    scope.subscription().map(|_| (effect, scope))
}

/// The name under which is counted how often locks were put in a subscription.
fn counter(subscription: SubscriptionId) -> String {
    format!("locks/{subscription}")
}

/// Why a lock is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// The name breaks the rules.
    #[error("`{0}` is no name of a lock")]
    NameInvalid(String),
    /// The notes are longer than allowed.
    #[error("the notes are too long")]
    NotesTooLong,
    /// More owners than allowed, or the name of one is too long.
    #[error("too many owners")]
    TooManyOwners,
    /// Only what is in a subscription can be locked.
    #[error("{0} cannot be locked")]
    ScopeUnsupported(RbacScope),
    /// What the scope names does not exist.
    #[error(transparent)]
    ScopeMissing(#[from] ScopeMissing),
    /// The scope has as many locks as it may.
    #[error("{0} has too many locks")]
    TooMany(RbacScope),
    /// There is no such lock.
    #[error("lock {0} does not exist")]
    NotFound(String),
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Puts a lock, or changes it; whether it is new.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    lock: &Lock,
) -> Result<(Lock, bool), LockError> {
    check_form(lock)?;
    state
        .transact(operation, |snapshot, changes| {
            let unsupported = || LockError::ScopeUnsupported(lock.scope.clone());
            let subscription =
                require_place(snapshot, tenant, &lock.scope)?.ok_or_else(unsupported)?;
            let existing = snapshot.locks.get(&lock.record_id());
            let at_scope = snapshot.locks.at_scope(lock.scope.key());
            let is_full = at_scope.count() >= limits::LOCKS_PER_SCOPE_MAX;
            if existing.is_none() && is_full {
                return Err(LockError::TooMany(lock.scope.clone()));
            }
            let (scope, name) = match existing {
                Some(existing) => (existing.scope.clone(), existing.name.clone()),
                None => (lock.scope.clone(), lock.name.clone()),
            };
            let lock = Lock { scope, name, ..lock.clone() };
            rely_on_scope(snapshot, changes, &lock.scope);
            // Whoever planned a change without this lock plans anew.
            count_made(snapshot, changes, counter(subscription));
            changes.put(snapshot, &lock);
            Ok((lock, existing.is_none()))
        })
        .await
}

fn check_form(lock: &Lock) -> Result<(), LockError> {
    let is_name = (1..=limits::LOCK_NAME_CHARS_MAX).contains(&lock.name.chars().count())
        && !lock.name.contains(|c: char| {
            c.is_control() || matches!(c, '<' | '>' | '%' | '&' | ':' | '\\' | '?' | '/')
        });
    if !is_name {
        return Err(LockError::NameInvalid(lock.name.clone()));
    }
    let notes = lock.notes.as_ref().map_or(0, |notes| notes.chars().count());
    if notes > limits::LOCK_NOTES_CHARS_MAX {
        return Err(LockError::NotesTooLong);
    }
    let is_long = |owner: &String| owner.chars().count() > limits::LOCK_NAME_CHARS_MAX;
    if lock.owners.len() > limits::LOCK_OWNERS_MAX || lock.owners.iter().any(is_long) {
        return Err(LockError::TooManyOwners);
    }
    Ok(())
}

/// The lock with this name at this scope.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &RbacScope,
    name: &str,
) -> Result<&'a Versioned<Lock>, LockError> {
    let found = snapshot.locks.get(&scope.record_id(name));
    found.ok_or_else(|| LockError::NotFound(name.to_owned()))
}

/// Takes a lock away; `false` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    scope: &RbacScope,
    name: &str,
) -> Result<bool, LockError> {
    state
        .transact(operation, |snapshot, changes| {
            let existing = snapshot.locks.get(&scope.record_id(name));
            if let Some(existing) = existing {
                changes.delete(snapshot, existing.record.as_ref());
            }
            Ok(existing.is_some())
        })
        .await
}

/// Which locks a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockSelection {
    /// Those at, above and below the scope.
    Around,
    /// Those that hold at the scope: at it and above it.
    AtScope,
}

/// The locks that a listing at a scope shows.
pub fn list(
    snapshot: &Snapshot,
    scope: &RbacScope,
    selection: LockSelection,
) -> Vec<Versioned<Lock>> {
    let above = above_and_at(snapshot, scope);
    // Below the root are those of every tenant.
    let below = (selection == LockSelection::Around && scope.subscription().is_some())
        .then(|| snapshot.locks.below_scope(scope.key()))
        .into_iter()
        .flatten();
    above.chain(below).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/G/providers/Microsoft.Compute/virtualMachines/vm";

    #[test]
    fn an_action_is_read_by_its_name() {
        let delete = Some(Effect::Delete);
        for (action, effect) in [
            ("Microsoft.Compute/virtualMachines/read", None),
            ("Microsoft.Compute/virtualMachines/write", Some(Effect::Write)),
            ("Microsoft.Compute/virtualMachines/delete", delete),
            ("microsoft.compute/virtualmachines/DELETE", delete),
            ("Microsoft.Compute/virtualMachines/start/action", Some(Effect::Write)),
            ("Microsoft.Compute/virtualMachineScaleSets/delete/action", Some(Effect::DeleteParts)),
            ("Microsoft.Storage/storageAccounts/listKeys/action", Some(Effect::Write)),
            ("Microsoft.Resources/deployments/whatIf/action", None),
            ("Microsoft.Authorization/roleAssignments/write", Some(Effect::Write)),
            ("Microsoft.Resources/tags/delete", Some(Effect::DeleteParts)),
            ("Microsoft.Authorization/locks/write", None),
            ("Microsoft.Authorization/locks/delete", None),
            ("Keycard.Local/attachments/list/action", None),
            ("", None),
        ] {
            assert_eq!(effect_of(action), effect, "{action}");
        }
    }

    /// Whether locks forbid an effect at a scope.
    fn locked(locks: &[(&str, LockLevel)], effect: Effect, scope: &str) -> usize {
        let mut snapshot = Snapshot::default();
        for (number, (scope, level)) in locks.iter().enumerate() {
            snapshot.insert_for_test(&Lock {
                scope: RbacScope::parse(scope).unwrap(),
                name: format!("L{number}"),
                level: *level,
                notes: None,
                owners: Vec::new(),
            });
        }
        match check(&snapshot, effect, &RbacScope::parse(scope).unwrap()) {
            Ok(()) => 0,
            Err(refused) => refused.locked.len(),
        }
    }

    #[test]
    fn a_lock_holds_where_it_is_and_below_and_is_in_the_way_of_what_would_take_it_along() {
        use Effect::{Delete, DeleteParts, Write};
        use LockLevel::{CanNotDelete, ReadOnly};
        let group = VM.split("/providers").next().unwrap();
        let subscription = VM.split("/resourceGroups").next().unwrap();
        let neighbour = format!("{VM}2");
        let shouted = VM.to_uppercase();
        for (at, level, effect, scope, expected) in [
            (VM, CanNotDelete, Delete, VM, 1),
            (VM, CanNotDelete, Write, VM, 0),
            (VM, ReadOnly, Write, VM, 1),
            (VM, ReadOnly, Delete, &shouted, 1),
            (subscription, ReadOnly, Write, VM, 1),
            (subscription, CanNotDelete, Delete, VM, 1),
            (VM, CanNotDelete, Delete, group, 1),
            (VM, ReadOnly, Delete, subscription, 1),
            (VM, ReadOnly, Write, group, 0),
            (VM, CanNotDelete, Delete, &neighbour, 0),
            (&neighbour, CanNotDelete, Delete, VM, 0),
            (group, CanNotDelete, DeleteParts, VM, 1),
            (VM, CanNotDelete, DeleteParts, group, 0),
        ] {
            assert_eq!(locked(&[(at, level)], effect, scope), expected, "{at} {effect:?} {scope}");
        }
        let all = [(subscription, ReadOnly), (group, CanNotDelete), (VM, ReadOnly)];
        assert_eq!(locked(&all, Delete, group), 3);
        assert_eq!(locked(&all, Write, VM), 2);
        assert_eq!(locked(&[(VM, ReadOnly), (VM, CanNotDelete)], Delete, VM), 1);
        assert_eq!(locked(&[], Delete, VM), 0);
    }
}
