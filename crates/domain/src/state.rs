//! The state: the store's records as a snapshot to read, and the one way to write them.
//!
//! Reads are lock-free. A write is planned on the snapshot, committed with the revisions it relied on, and visible in
//! the snapshot before it is answered. The activity entry is part of the commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use keycard_crypto::seal::SealingKey;
use tokio::sync::watch;
use uuid::Uuid;

use crate::audit::{AuditLog, activity};
use crate::clock::Clock;
use crate::directory::service_principal::Generation;
use crate::entropy::Entropy;
use crate::fault::FaultSwitch;
use crate::limits::{self, Limits};
use crate::operation::OperationContext;
use crate::rbac::journal::Journal;
use crate::rbac::taken_along::{self, Denied};
use crate::rbac::{Decision, Question, decide};
use crate::records::{Record, STATE_PREFIX, UnreadableRecord, encode, json_depth, state_key};
use crate::request_rates::RequestRates;
use crate::resource_id::ArmResourceId;
use crate::resources::lock::{self, ScopeLocked};
use crate::snapshot::Snapshot;
use crate::store::{Change, Commit, Expectation, Revision, Store, StoreError, StoreKey, Write};

/// What the state is opened with.
#[derive(Debug)]
pub struct Ports {
    /// Keeps the records.
    pub store: Arc<dyn Store>,
    /// Keeps the record of what happened.
    pub audit: Arc<dyn AuditLog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness and ids.
    pub entropy: Arc<dyn Entropy>,
    /// The numbers of the profile.
    pub limits: Limits,
    /// Seals secrets at rest.
    pub master_key: SealingKey,
}

/// Records to read, and the way to write them.
#[derive(Debug)]
pub struct State {
    /// Keeps the records; faces never see it.
    pub(crate) store: Arc<dyn Store>,
    /// Keeps the record of what happened.
    pub(crate) audit: Arc<dyn AuditLog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness and ids.
    pub entropy: Arc<dyn Entropy>,
    /// The numbers of the profile.
    pub limits: Limits,
    /// What was asked of the authorization engine lately.
    pub journal: Journal,
    /// How often operations were asked for lately, where the profile limits them.
    pub request_rates: RequestRates,
    /// Whether any fault is set.
    pub faults: FaultSwitch,
    pub(crate) master_key: SealingKey,
    snapshot: ArcSwap<Snapshot>,
    applied: watch::Sender<Revision>,
}

/// Why the state cannot be opened or kept up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record has a form this version does not know.
    #[error(transparent)]
    Unreadable(#[from] UnreadableRecord),
}

/// Why a write was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Others wrote the same records again and again.
    #[error("{0} was changed by others at the same time")]
    Conflict(StoreKey),
    /// The store cannot write now.
    #[error("the state cannot be written now: {0}")]
    Unavailable(String),
    /// What the request's path names is not there in the version that the request requires.
    #[error("what is there is not of the required version")]
    PreconditionFailed,
    /// A management lock forbids it.
    #[error(transparent)]
    Locked(Box<ScopeLocked>),
    /// A deny assignment is on something that would go along.
    #[error(transparent)]
    Denied(Box<Denied>),
    /// A record would have more bytes than it may.
    #[error("{0} would be too large")]
    TooLarge(StoreKey),
}

impl From<Denied> for WriteError {
    fn from(denied: Denied) -> Self {
        Self::Denied(Box::new(denied))
    }
}

impl From<ScopeLocked> for WriteError {
    fn from(locked: ScopeLocked) -> Self {
        Self::Locked(Box::new(locked))
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(key) => Self::Conflict(key),
            StoreError::Compacted => Self::Unavailable(error.to_string()),
            StoreError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

/// Entries of one page when the snapshot is loaded.
const LOAD_PAGE: usize = 2000;

impl State {
    /// Opens the state: reads every record once.
    pub async fn open(ports: Ports) -> Result<Arc<Self>, StateError> {
        let snapshot = load(ports.store.as_ref()).await?;
        let applied = watch::Sender::new(snapshot.revision);
        let faults = FaultSwitch::default();
        faults.turn(!snapshot.faults.is_empty());
        Ok(Arc::new(Self {
            store: ports.store,
            audit: ports.audit,
            clock: ports.clock,
            entropy: ports.entropy,
            limits: ports.limits,
            journal: Journal::default(),
            request_rates: RequestRates::default(),
            faults,
            master_key: ports.master_key,
            snapshot: ArcSwap::from_pointee(snapshot),
            applied,
        }))
    }

    /// The present snapshot.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The present snapshot, to be kept across waits.
    pub fn snapshot_to_keep(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Decides a question of a request, and notes it.
    pub fn authorize(&self, request_id: Uuid, question: &Question<'_>) -> Decision {
        let decision = decide(&self.snapshot(), question);
        self.journal.note(request_id, question, decision.is_allowed());
        decision
    }

    /// Sees each revision that the snapshot reaches.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.applied.subscribe()
    }

    /// Keeps the snapshot up with the store, by one batch of changes. To be called again and again by one task.
    pub async fn follow(&self) -> Result<(), StateError> {
        let after = self.snapshot().revision;
        match self.store.changes(STATE_PREFIX, after).await {
            Ok(batch) => self.advance(&batch.changes, batch.revision)?,
            Err(StoreError::Compacted) => {
                let fresh = load(self.store.as_ref()).await?;
                self.show(fresh);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn advance(&self, changes: &[Change], revision: Revision) -> Result<(), UnreadableRecord> {
        let mut next = Snapshot::clone(&self.snapshot());
        for change in changes {
            next.apply(change)?;
        }
        next.revision = revision;
        self.show(next);
        Ok(())
    }

    /// Makes a snapshot the present one, and then tells of it.
    fn show(&self, snapshot: Snapshot) {
        let revision = snapshot.revision;
        self.faults.turn(!snapshot.faults.is_empty());
        self.snapshot.store(Arc::new(snapshot));
        self.applied.send_replace(revision);
    }

    /// Plans a write on the snapshot, commits it with its activity entry, and waits until the snapshot shows it.
    ///
    /// The plan may be made several times: when others write the same records, it is made anew on what they wrote.
    pub async fn transact<T, E: From<WriteError>>(
        &self,
        operation: &OperationContext,
        plan: impl Fn(&Snapshot, &mut Changes) -> Result<T, E>,
    ) -> Result<T, E> {
        let max = limits::COMMIT_ATTEMPTS_MAX;
        self.transact_up_to(max, operation, LockRule::Obey, plan).await
    }

    /// As [`Self::transact`], whatever management locks say: for what ends an operation that was begun before.
    pub(crate) async fn transact_despite_locks<T, E: From<WriteError>>(
        &self,
        operation: &OperationContext,
        plan: impl Fn(&Snapshot, &mut Changes) -> Result<T, E>,
    ) -> Result<T, E> {
        let max = limits::COMMIT_ATTEMPTS_MAX;
        self.transact_up_to(max, operation, LockRule::Disregard, plan).await
    }

    /// Plans a write and commits it once: who loses to another write hears of it at once, with
    /// [`WriteError::Conflict`].
    pub async fn transact_once<T, E: From<WriteError>>(
        &self,
        operation: &OperationContext,
        plan: impl Fn(&Snapshot, &mut Changes) -> Result<T, E>,
    ) -> Result<T, E> {
        self.transact_up_to(1, operation, LockRule::Obey, plan).await
    }

    async fn transact_up_to<T, E: From<WriteError>>(
        &self,
        attempts_max: usize,
        operation: &OperationContext,
        rule: LockRule,
        plan: impl Fn(&Snapshot, &mut Changes) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut lost = StoreKey::new("");
        for _ in 0..attempts_max {
            let snapshot = self.snapshot_to_keep();
            let mut changes = Changes::default();
            let outcome = plan(&snapshot, &mut changes)?;
            // After the plan: a request that would be refused anyway hears why, not that it came too late.
            let target = operation.target.as_deref();
            let required = target.map(|target| target.require(&snapshot, &mut changes));
            let place = required.transpose()?.flatten();
            let writes_target = place.as_ref().is_some_and(|place| changes.puts(place.key()));
            let leave = |written: Option<Revision>| {
                if let Some(target) = target {
                    target.leave(place.as_ref(), written);
                }
            };
            if changes.is_empty() {
                leave(None);
                return Ok(outcome);
            }
            if rule == LockRule::Obey {
                lock::guard(&snapshot, &mut changes, operation).map_err(WriteError::from)?;
                taken_along::guard(&snapshot, operation).map_err(WriteError::from)?;
            }
            activity::record(self, operation, &mut changes);
            match self.commit_at(changes).await {
                Ok(revision) => {
                    leave(writes_target.then_some(revision));
                    if let Some(target) = target {
                        target.hold();
                    }
                    activity::committed(operation);
                    return Ok(outcome);
                }
                Err(WriteError::Conflict(key)) => {
                    self.wait_past(snapshot.revision).await;
                    lost = key;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Conflict(lost).into())
    }

    /// Commits and waits until the snapshot shows the commit.
    pub(crate) async fn commit(&self, changes: Changes) -> Result<(), WriteError> {
        self.commit_at(changes).await.map(drop)
    }

    async fn commit_at(&self, changes: Changes) -> Result<Revision, WriteError> {
        changes.check_readable()?;
        let revision = self.store.commit(changes.into_commit()).await?;
        let mut applied = self.applied.subscribe();
        // The sender lives in `self`, so waiting ends only when the revision is there.
        let _ = applied.wait_for(|present| *present >= revision).await;
        Ok(revision)
    }

    async fn wait_past(&self, revision: Revision) {
        let mut applied = self.applied.subscribe();
        let _ = applied.wait_for(|present| *present > revision).await;
    }
}

/// Whether management locks count for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LockRule {
    Obey,
    Disregard,
}

async fn load(store: &dyn Store) -> Result<Snapshot, StateError> {
    let mut snapshot = Snapshot::default();
    let mut first_revision = None;
    let mut after = None;
    loop {
        let page = store.list(STATE_PREFIX, after.as_ref(), LOAD_PAGE).await?;
        // Changes since the first page are applied again by `follow`; applying one twice does no harm.
        let revision = *first_revision.get_or_insert(page.revision);
        let is_last = page.entries.len() < LOAD_PAGE;
        after = page.entries.last().map(|entry| entry.key.clone());
        for entry in page.entries {
            snapshot.apply_listed(&Change {
                key: entry.key,
                value: Some(entry.value),
                revision: entry.revision,
            })?;
        }
        if is_last {
            // Groups were read in the order of their names, which is not that of the tree.
            snapshot.lay_lineages();
            snapshot.revision = revision;
            return Ok(snapshot);
        }
    }
}

/// The writes of a plan, with the revisions they rely on.
#[derive(Debug, Default)]
pub struct Changes {
    expectations: BTreeMap<StoreKey, Expectation>,
    writes: BTreeMap<StoreKey, Write>,
}

impl Changes {
    /// Puts a record; relies on it being as the snapshot shows it.
    pub fn put<R: Record>(&mut self, snapshot: &Snapshot, record: &R)
    where
        Snapshot: Holds<R>,
    {
        let key = self.rely_on(snapshot, record);
        self.writes.insert(key.clone(), Write::Put(key, encode(record)));
    }

    /// Deletes a record; relies on it being as the snapshot shows it.
    pub fn delete<R: Record>(&mut self, snapshot: &Snapshot, record: &R)
    where
        Snapshot: Holds<R>,
    {
        let key = self.rely_on(snapshot, record);
        self.writes.insert(key.clone(), Write::Delete(key));
    }

    /// Writes outside the snapshot, with what they rely on.
    pub(crate) fn write(&mut self, write: Write, expectation: Option<Expectation>) {
        let key = match &write {
            Write::Put(key, _) | Write::Delete(key) => key.clone(),
        };
        if let Some(expectation) = expectation {
            self.expectations.insert(key.clone(), expectation);
        }
        self.writes.insert(key, write);
    }

    /// Counts a deletion at a path, so that what is made there next is another thing.
    pub fn next_generation(&mut self, snapshot: &Snapshot, path: &ArmResourceId) {
        let deletions = snapshot.generation(path) + 1;
        self.put(snapshot, &Generation { path: path.key(), deletions });
    }

    /// Relies on a record being as the snapshot shows it, without writing it.
    pub fn rely_on<R: Record>(&mut self, snapshot: &Snapshot, record: &R) -> StoreKey
    where
        Snapshot: Holds<R>,
    {
        let record_id = record.record_id();
        let key = state_key::<R>(&record_id);
        let expectation = match snapshot.revision_of(&record_id) {
            Some(revision) => Expectation::Unchanged(key.clone(), revision),
            None => Expectation::Absent(key.clone()),
        };
        self.expectations.insert(key.clone(), expectation);
        key
    }

    /// Relies on what a plan compared outside its own records.
    pub(crate) fn expect(&mut self, expectation: Expectation) {
        let (Expectation::Absent(key) | Expectation::Unchanged(key, _)) = &expectation;
        self.expectations.insert(key.clone(), expectation);
    }

    /// Whether a record is put at a key.
    pub(crate) fn puts(&self, key: &StoreKey) -> bool {
        matches!(self.writes.get(key), Some(Write::Put(..)))
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Whether a record comes into being whose key ends in the last segment of the path.
    pub(crate) fn makes(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
        let is_of_name = |key: &StoreKey| {
            let rest = key.as_str().strip_suffix(&*name);
            rest.is_some_and(|rest| rest.ends_with(['/', '|']))
        };
        self.writes.values().any(|write| match write {
            Write::Put(key, _) => {
                is_of_name(key)
                    && matches!(self.expectations.get(key), Some(Expectation::Absent(_)))
            }
            Write::Delete(_) => false,
        })
    }

    /// Refuses what could be written and not read again, however it came about: it would end every later start. So does
    /// what grows without end, as each write of it would take longer and hold up all others.
    fn check_readable(&self) -> Result<(), WriteError> {
        let is_too_large = |write: &&Write| match write {
            Write::Put(_, value) => value.len() > limits::RECORD_BYTES_MAX,
            Write::Delete(_) => false,
        };
        if let Some(Write::Put(key, _)) = self.writes.values().find(is_too_large) {
            return Err(WriteError::TooLarge(key.clone()));
        }
        let is_too_deep = |write: &&Write| match write {
            Write::Put(_, value) => json_depth(value) > limits::RECORD_DEPTH_MAX,
            Write::Delete(_) => false,
        };
        match self.writes.values().find(is_too_deep) {
            Some(Write::Put(key, _) | Write::Delete(key)) => {
                Err(WriteError::Unavailable(format!("{key} would be nested too deeply")))
            }
            None => Ok(()),
        }
    }

    fn into_commit(self) -> Commit {
        Commit {
            expectations: self.expectations.into_values().collect(),
            writes: self.writes.into_values().collect(),
        }
    }
}

/// The snapshot holds records of this noun.
pub trait Holds<R: Record> {
    /// The revision that wrote the record, when there is one.
    fn revision_of(&self, record_id: &str) -> Option<Revision>;
}
