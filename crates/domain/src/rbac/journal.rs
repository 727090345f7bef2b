//! What was asked of the engine lately: refusals, so that `keycard why` can explain one by its request; and, while
//! somebody records, everything, so that `keycard record` can say which assignments a run needs.
//!
//! Of this node only, in memory only, within bounds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::condition::Attributes;
use super::decision::{Plane, Question};
use super::scope::RbacScope;
use crate::ids::{PrincipalId, TenantId};
use crate::limits;

/// A question, to be asked again.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The tenant of the token.
    pub tenant: TenantId,
    /// Who asked.
    pub principal: PrincipalId,
    /// Control or data.
    pub plane: Plane,
    /// What was to be done.
    pub action: String,
    /// To what.
    pub scope: RbacScope,
    /// Which part of the action.
    pub sub_operation: Option<String>,
    /// What conditions could ask about.
    pub attributes: Attributes,
}

impl Asked {
    /// The question.
    pub fn question(&self) -> Question<'_> {
        Question {
            tenant: self.tenant,
            principal: self.principal,
            plane: self.plane,
            action: &self.action,
            scope: &self.scope,
            sub_operation: self.sub_operation.as_deref(),
            attributes: &self.attributes,
        }
    }

    fn of(question: &Question<'_>) -> Self {
        Self {
            tenant: question.tenant,
            principal: question.principal,
            plane: question.plane,
            action: question.action.to_owned(),
            scope: question.scope.clone(),
            sub_operation: question.sub_operation.map(str::to_owned),
            attributes: question.attributes.clone(),
        }
    }

    /// What tells two questions apart.
    fn key(&self) -> (PrincipalId, String, Plane, String) {
        (self.principal, self.scope.key().to_owned(), self.plane, self.action.to_ascii_lowercase())
    }
}

/// A question that was refused, and the request that asked it.
#[derive(Debug)]
struct Refusal {
    request_id: Uuid,
    asked: Asked,
}

/// A question that was asked while somebody recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The question.
    pub asked: Asked,
    /// Whether it was allowed, the last time it was asked.
    pub was_allowed: bool,
    /// How often it was asked.
    pub count: u64,
}

type Recording = BTreeMap<(PrincipalId, String, Plane, String), Recorded>;

/// What was asked of the engine lately.
#[derive(Debug, Default)]
pub struct Journal {
    refusals: Mutex<VecDeque<Refusal>>,
    is_recording: AtomicBool,
    recordings: Mutex<BTreeMap<TenantId, Recording>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// Notes a decision that was made for a request.
    pub fn note(&self, request_id: Uuid, question: &Question<'_>, is_allowed: bool) {
        if !is_allowed {
            let mut refusals = lock(&self.refusals);
            if refusals.len() >= limits::REFUSALS_KEPT_MAX {
                refusals.pop_front();
            }
            refusals.push_back(Refusal { request_id, asked: Asked::of(question) });
        }
        if self.is_recording.load(Ordering::Relaxed) {
            self.record(question, is_allowed);
        }
    }

    fn record(&self, question: &Question<'_>, is_allowed: bool) {
        let mut recordings = lock(&self.recordings);
        let Some(recording) = recordings.get_mut(&question.tenant) else { return };
        let asked = Asked::of(question);
        let key = asked.key();
        if recording.len() >= limits::RECORDED_QUESTIONS_MAX && !recording.contains_key(&key) {
            return;
        }
        let recorded =
            recording.entry(key).or_insert(Recorded { asked, was_allowed: false, count: 0 });
        recorded.was_allowed = is_allowed;
        recorded.count += 1;
    }

    /// What a request was refused, in the order in which it asked; empty when that was long ago.
    pub fn refusals_of(&self, request_id: Uuid) -> Vec<Asked> {
        lock(&self.refusals)
            .iter()
            .filter(|refusal| refusal.request_id == request_id)
            .map(|refusal| refusal.asked.clone())
            .collect()
    }

    /// Begins a tenant's recording; what it recorded before is forgotten.
    pub fn start(&self, tenant: TenantId) {
        let mut recordings = lock(&self.recordings);
        recordings.insert(tenant, Recording::new());
        self.is_recording.store(true, Ordering::Relaxed);
    }

    /// Ends a tenant's recording and returns it; `None` when nobody recorded.
    pub fn stop(&self, tenant: TenantId) -> Option<Vec<Recorded>> {
        let mut recordings = lock(&self.recordings);
        let recording = recordings.remove(&tenant)?;
        self.is_recording.store(!recordings.is_empty(), Ordering::Relaxed);
        Some(recording.into_values().collect())
    }
}
