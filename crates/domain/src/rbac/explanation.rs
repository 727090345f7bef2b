//! Why a question was decided as it was, and what would be enough.

use std::sync::Arc;

use time::UtcDateTime;

use super::condition::Attributes;
use super::decision::{Decision, Plane, Question, Reason, decide};
use super::deny_assignment::DenyAssignment;
use super::journal::Asked;
use super::least_privilege::{self, Needed};
use super::scope::RbacScope;
use crate::ids::PrincipalId;
use crate::key_vault::authorization::policy_word;
use crate::key_vault::{Vault, vault};
use crate::operation::Principal;
use crate::snapshot::Snapshot;

/// What asking about others takes.
pub const READ_ACTION: &str = "Microsoft.Authorization/roleAssignments/read";

/// A question with its decision and what would be enough.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The question.
    pub asked: Asked,
    /// How much it tells.
    pub insight: Insight,
    /// How it is decided now.
    pub verdict: Verdict,
    /// What to do about a refusal; `None` when the question is allowed, or nothing helps.
    pub advice: Option<Advice>,
}

/// How a question is decided.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// By roles.
    Rbac(Decision),
    /// By the access policies of a vault that does not use roles.
    AccessPolicy {
        /// Whether one grants it.
        is_allowed: bool,
    },
}

/// What makes a refused question succeed.
#[derive(Clone, Debug)]
pub enum Advice {
    /// Give this role.
    Assign(Needed),
    /// Take the deny assignment away, or exclude the principal from it: no role overrides it.
    LiftDeny(Arc<DenyAssignment>),
    /// Grant this in the vault's access policies.
    SetAccessPolicy(PolicyNeeded),
}

impl Explanation {
    /// Whether the question is allowed.
    pub const fn is_allowed(&self) -> bool {
        self.verdict.is_allowed()
    }
}

impl Verdict {
    /// Whether the question is allowed.
    pub const fn is_allowed(&self) -> bool {
        match self {
            Self::Rbac(decision) => decision.is_allowed(),
            Self::AccessPolicy { is_allowed } => *is_allowed,
        }
    }
}

/// How a question is decided: by roles, or by the access policies of the vault that it is about.
pub fn verdict(snapshot: &Snapshot, asked: &Asked) -> Verdict {
    match policy_vault(snapshot, asked) {
        Some(vault) => Verdict::AccessPolicy { is_allowed: policy_grants(&vault, asked) },
        None => Verdict::Rbac(decide(snapshot, &asked.question())),
    }
}

/// How much an explanation tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insight {
    /// Whoever may read role assignments at the scope learns everything.
    Full,
    /// Whoever asks about itself learns nothing of what it may not read: neither what exists, nor roles that were
    /// defined here, nor whom a deny spares.
    Own,
}

/// How much the caller may know of a principal at a scope: of itself something, of others only with the right to read
/// role assignments there. `None` when it may not ask.
pub fn insight(
    snapshot: &Snapshot,
    caller: &Principal,
    subject: PrincipalId,
    scope: &RbacScope,
    now: UtcDateTime,
) -> Option<Insight> {
    let question = Question {
        tenant: caller.tenant_id,
        principal: caller.principal_id,
        plane: Plane::Control,
        action: READ_ACTION,
        scope,
        sub_operation: None,
        attributes: &Attributes::of_environment(now),
    };
    if decide(snapshot, &question).is_allowed() {
        Some(Insight::Full)
    } else {
        (caller.principal_id == subject).then_some(Insight::Own)
    }
}

/// Explains a question.
pub fn explain(snapshot: &Snapshot, asked: Asked, insight: Insight) -> Explanation {
    let vault = policy_vault(snapshot, &asked).filter(|_| insight == Insight::Full);
    if let Some(vault) = vault {
        return by_policy(asked, vault);
    }
    let decision = decide(snapshot, &asked.question());
    let advice = match &decision.reason {
        Reason::Granted(_) | Reason::GrantedByCondition(_) => None,
        Reason::Denied { deny, .. } => Some(Advice::LiftDeny(Arc::clone(deny))),
        Reason::NoAssignment | Reason::ConditionNotMet(_) | Reason::AttributeMissing(_) => {
            least_privilege::needed(snapshot, &asked, insight).map(Advice::Assign)
        }
    };
    Explanation { asked, insight, verdict: Verdict::Rbac(decision), advice }
}

/// The vault that the question is about, where it decides by its access policies.
fn policy_vault(snapshot: &Snapshot, asked: &Asked) -> Option<Arc<Vault>> {
    let resource = asked.scope.resource().filter(|_| asked.plane == Plane::Data)?;
    let vault = vault::find(snapshot, &resource).ok()?;
    (!vault.uses_rbac).then(|| Arc::clone(&vault.record))
}

fn policy_grants(vault: &Vault, asked: &Asked) -> bool {
    let word = policy_word(&asked.action);
    vault.access_policies.iter().any(|policy| policy.grants_on_secrets(asked.principal, word))
}

fn by_policy(asked: Asked, vault: Arc<Vault>) -> Explanation {
    let word = policy_word(&asked.action);
    let is_allowed = policy_grants(&vault, &asked);
    let is_useful = !is_allowed && !word.is_empty();
    let needed = PolicyNeeded { principal: asked.principal, vault, word };
    let advice = is_useful.then_some(Advice::SetAccessPolicy(needed));
    let verdict = Verdict::AccessPolicy { is_allowed };
    Explanation { asked, insight: Insight::Full, verdict, advice }
}

/// What a run needs of vaults that decide by access policies, each once.
pub fn policies_needed(snapshot: &Snapshot, run: &[Asked]) -> Vec<PolicyNeeded> {
    let mut needed: Vec<PolicyNeeded> = Vec::new();
    for asked in run {
        let Some(vault) = policy_vault(snapshot, asked) else { continue };
        let word = policy_word(&asked.action);
        let one = PolicyNeeded { principal: asked.principal, vault, word };
        if !word.is_empty() && !needed.contains(&one) {
            needed.push(one);
        }
    }
    needed
}

/// Whether roles decide the question.
pub fn is_decided_by_roles(snapshot: &Snapshot, asked: &Asked) -> bool {
    policy_vault(snapshot, asked).is_none()
}

/// A word that an access policy has to grant.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyNeeded {
    /// To whom.
    pub principal: PrincipalId,
    /// In which vault.
    pub vault: Arc<Vault>,
    /// Such as `get`.
    pub word: &'static str,
}

/// The questions that a request was refused, explained as of now; only those that the caller may ask about.
pub fn of_request(
    snapshot: &Snapshot,
    refusals: Vec<Asked>,
    caller: &Principal,
    now: UtcDateTime,
) -> Vec<Explanation> {
    refusals
        .into_iter()
        .filter(|asked| asked.tenant == caller.tenant_id)
        .filter_map(|asked| {
            let insight = insight(snapshot, caller, asked.principal, &asked.scope, now)?;
            Some(explain(snapshot, asked, insight))
        })
        .collect()
}
