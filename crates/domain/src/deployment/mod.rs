//! A deployment: a template put at a resource group or subscription, what came of it, and the history of these.
//!
//! The language of templates stands in the files beside this one and is pure. Here is what is kept of a deployment.
//! Source: Microsoft.Resources REST API, Deployments; "View deployment history with Azure Resource Manager".

pub mod error;
mod evaluate;
mod expression;
mod function;
pub mod hidden;
mod index;
mod own_function;
pub mod parameter;
pub mod plan;
pub mod template;
mod types;
pub mod vault_parameter;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::audit::{activity, unix_ms};
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::RbacScope;
use crate::records::{Record, Versioned, decode, encode, payload_key};
use crate::resources::{ResourceError, normalized_location, require_subscription, resource_group};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};
use crate::store::Write;
pub use error::{ExpressionError, TemplateError, TemplateViolation};
pub use evaluate::{Fresh, Place};
use parameter::ShownValue;
use plan::Plan;
use template::Template;
use vault_parameter::VaultParameterError;

/// How far a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeploymentState {
    /// Its resources are being made.
    Running,
    /// All of them are there.
    Succeeded,
    /// One of them could not be made, or the server stopped meanwhile.
    Failed,
    /// Somebody stopped it.
    Canceled,
}

impl DeploymentState {
    /// The state's name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }
}

/// What becomes of resources that the template does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeploymentMode {
    /// They stay.
    Incremental,
    /// They are deleted.
    Complete,
}

impl DeploymentMode {
    /// The mode's name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incremental => "Incremental",
            Self::Complete => "Complete",
        }
    }
}

/// Why a deployment failed, in the words that its answers have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentFailure {
    /// A code.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// What failed in particular.
    pub details: Vec<FailureDetail>,
}

/// One of the things that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureDetail {
    /// A code.
    pub code: String,
    /// A sentence, or the refusal of a resource as it was answered.
    pub message: String,
}

/// What was done to one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentOperation {
    /// `Create` or `Delete`.
    pub kind: String,
    /// The resource's id.
    pub resource: String,
    /// Its type.
    pub resource_type: String,
    /// Its name.
    pub name: String,
    /// The status that was answered.
    pub status: u16,
    /// The refusal, where it was one.
    pub refusal: Option<String>,
    /// Unix milliseconds.
    pub ended_at_ms: i64,
}

/// What a resource of the template needs to be there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The resource's id.
    pub resource: String,
    /// Its type.
    pub resource_type: String,
    /// Its name.
    pub name: String,
    /// The ids of what it needs.
    pub needs: Vec<String>,
}

/// A deployment. Values of secure parameters and outputs are not in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// The resource group or subscription it is put at.
    pub scope: RbacScope,
    /// Its name.
    pub name: String,
    /// Where its record is kept, for one at a subscription.
    pub location: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Tells this run from an earlier one of the same name.
    pub run_id: Uuid,
    /// How far it is.
    pub state: DeploymentState,
    /// What becomes of other resources.
    pub mode: DeploymentMode,
    /// Tells its template from others.
    pub template_hash: String,
    /// What it was given.
    pub parameters: Vec<ShownValue>,
    /// The order of its resources.
    pub dependencies: Vec<Dependency>,
    /// What it gives back.
    pub outputs: Vec<ShownValue>,
    /// What was done.
    pub operations: Vec<DeploymentOperation>,
    /// Why it failed.
    pub failure: Option<DeploymentFailure>,
    /// Unix milliseconds.
    pub started_at_ms: i64,
    /// Unix milliseconds.
    pub ended_at_ms: Option<i64>,
    /// Follows the request through everything it causes.
    pub correlation_id: Uuid,
}

impl Record for Deployment {
    const KIND: &'static str = "deployments";

    fn record_id(&self) -> String {
        record_id(&self.scope, &self.name)
    }
}

fn record_id(scope: &RbacScope, name: &str) -> String {
    format!("{}|{}", scope.key(), name.to_ascii_lowercase())
}

impl Deployment {
    /// Its path in Resource Manager.
    pub fn path(&self) -> String {
        path(&self.scope, &self.name)
    }
}

/// The path of a deployment at a scope.
pub fn path(scope: &RbacScope, name: &str) -> String {
    format!("{}/providers/{}/{name}", scope.as_str(), template::NESTED_TYPE)
}

/// The template of a deployment, which is too large for the snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct DeploymentTemplate {
    deployment: String,
    run_id: Uuid,
    template: Value,
}

impl Record for DeploymentTemplate {
    const KIND: &'static str = "deployment-templates";

    fn record_id(&self) -> String {
        self.deployment.clone()
    }
}

/// Why a deployment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeploymentError {
    /// The name breaks the rules.
    #[error("`{0}` is no name of a deployment")]
    NameInvalid(String),
    /// There is none of this name.
    #[error("deployment {0} does not exist")]
    NotFound(String),
    /// It did nothing that is called so.
    #[error("the deployment has no operation {0}")]
    OperationNotFound(String),
    /// One of this name runs.
    #[error("deployment {0} is running")]
    Active(String),
    /// It does not run, so it cannot be stopped.
    #[error("deployment {0} is not running")]
    NotRunning(String),
    /// As many run as may.
    #[error("{max} deployments are running", max = limits::DEPLOYMENTS_RUNNING_MAX)]
    TooManyRunning,
    /// The template has more bytes than allowed.
    #[error("the template has {0} bytes, {max} are allowed", max = limits::TEMPLATE_BYTES_MAX)]
    TemplateTooLarge(usize),
    /// The template or its values are wrong.
    #[error(transparent)]
    Template(#[from] TemplateViolation),
    /// A secret does not become a parameter's value.
    #[error(transparent)]
    VaultParameter(Box<VaultParameterError>),
    /// Subscription, group, location or tags, or the write could not be done.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl From<WriteError> for DeploymentError {
    fn from(error: WriteError) -> Self {
        Self::Resource(error.into())
    }
}

/// What is asked for when a deployment is put.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    /// The resource group or subscription.
    pub scope: RbacScope,
    /// Its name.
    pub name: String,
    /// Where its record is kept, for one at a subscription.
    pub location: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// What becomes of other resources.
    pub mode: DeploymentMode,
    /// The template.
    pub template: Value,
}

/// A deployment that was begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its record.
    pub deployment: Deployment,
    /// Whether there was none of this name.
    pub is_new: bool,
}

/// Refuses a name that no deployment has: 1 to 64 letters, digits, `_`, `-`, `.`, `(`, `)`, not ending in `.`.
pub fn check_name(name: &str) -> Result<(), DeploymentError> {
    let is_valid = (1..=limits::DEPLOYMENT_NAME_CHARS_MAX).contains(&name.chars().count())
        && !name.ends_with('.')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '(' | ')'));
    if is_valid { Ok(()) } else { Err(DeploymentError::NameInvalid(name.to_owned())) }
}

/// Refuses a scope that is not there, and a deployment to a subscription without a location.
pub fn check(snapshot: &Snapshot, new: &NewDeployment) -> Result<(), DeploymentError> {
    check_name(&new.name)?;
    crate::resources::check_tags(&new.tags)?;
    if let Some(subscription) = new.scope.subscription() {
        require_subscription(snapshot, subscription)?;
        match new.scope.resource_group() {
            Some(group) => drop(resource_group::find(snapshot, subscription, group)?),
            None if new.location.is_none() => return Err(ResourceError::LocationRequired.into()),
            None => {}
        }
    }
    let bytes = new.template.to_string().len();
    if bytes > limits::TEMPLATE_BYTES_MAX {
        return Err(DeploymentError::TemplateTooLarge(bytes));
    }
    Ok(())
}

/// Notes that a deployment runs. The oldest ones of the scope make room for it.
pub async fn begin(
    state: &State,
    operation: &OperationContext,
    new: &NewDeployment,
    (template, plan): (&Template, &Plan),
) -> Result<Begun, DeploymentError> {
    let run_id = state.entropy.uuid();
    state
        .transact(operation, |snapshot, changes| {
            check(snapshot, new)?;
            let existing = snapshot.deployments.get(&record_id(&new.scope, &new.name));
            if let Some(existing) = existing {
                check_replaced(existing, new)?;
            }
            let running = || {
                let all = snapshot.deployments.iter().map(|(_, deployment)| deployment);
                all.filter(|it| it.state == DeploymentState::Running)
            };
            let running_here = running().filter(|it| it.scope == new.scope).count();
            if running().count() >= limits::DEPLOYMENTS_RUNNING_MAX
                || running_here >= limits::DEPLOYMENTS_RUNNING_PER_SCOPE_MAX
            {
                return Err(DeploymentError::TooManyRunning);
            }
            let deployment = Deployment {
                scope: new.scope.clone(),
                name: existing.map_or_else(|| new.name.clone(), |existing| existing.name.clone()),
                location: new.location.clone(),
                tags: new.tags.clone(),
                run_id,
                state: DeploymentState::Running,
                mode: new.mode,
                template_hash: template.hash.clone(),
                parameters: plan.parameters().to_vec(),
                dependencies: dependencies(plan),
                outputs: Vec::new(),
                operations: Vec::new(),
                failure: None,
                started_at_ms: unix_ms(operation.now),
                ended_at_ms: None,
                correlation_id: operation.correlation_id,
            };
            if existing.is_none() {
                make_room(snapshot, changes, &new.scope);
            }
            changes.put(snapshot, &deployment);
            let kept = DeploymentTemplate {
                deployment: deployment.record_id(),
                run_id,
                template: new.template.clone(),
            };
            let key = payload_key::<DeploymentTemplate>(&kept.record_id());
            changes.write(Write::Put(key, encode(&kept)), None);
            Ok(Begun { deployment, is_new: existing.is_none() })
        })
        .await
}

fn check_replaced(existing: &Deployment, new: &NewDeployment) -> Result<(), DeploymentError> {
    if existing.state == DeploymentState::Running {
        return Err(DeploymentError::Active(existing.name.clone()));
    }
    match (&existing.location, &new.location) {
        (Some(present), Some(requested))
            if normalized_location(present) != normalized_location(requested) =>
        {
            Err(ResourceError::LocationImmutable {
                name: existing.name.clone(),
                group: String::new(),
                present: present.clone(),
                requested: requested.clone(),
            }
            .into())
        }
        _ => Ok(()),
    }
}

fn dependencies(plan: &Plan) -> Vec<Dependency> {
    let mut left = limits::DEPLOYMENT_DEPENDENCIES_KEPT_MAX;
    let dependent = plan.resources().filter(|resource| !resource.depends_on.is_empty());
    dependent
        .map_while(|resource| {
            left = left.checked_sub(resource.depends_on.len())?;
            Some(Dependency {
                resource: resource.id.to_string(),
                resource_type: resource.resource_type.clone(),
                name: resource.name.clone(),
                needs: resource.depends_on.iter().map(ToString::to_string).collect(),
            })
        })
        .collect()
}

/// Deletes the oldest deployments of a scope that is full, as Azure does. Those that run stay.
fn make_room(snapshot: &Snapshot, changes: &mut Changes, scope: &RbacScope) {
    let mut kept: Vec<_> = list(snapshot, scope);
    let surplus = (kept.len() + 1).saturating_sub(limits::DEPLOYMENTS_PER_SCOPE_MAX);
    kept.retain(|deployment| deployment.state != DeploymentState::Running);
    kept.sort_by_key(|deployment| deployment.started_at_ms);
    for deployment in kept.iter().take(surplus) {
        plan_delete(snapshot, changes, deployment);
    }
}

/// Whether this run of a deployment still runs: nobody stopped it.
pub fn is_running(snapshot: &Snapshot, deployment: &Deployment) -> bool {
    let present = snapshot.deployments.get(&deployment.record_id());
    present.is_some_and(|present| {
        present.run_id == deployment.run_id && present.state == DeploymentState::Running
    })
}

/// Keeps what came of a run, unless it was stopped, or deleted with its group, in the meantime.
pub async fn finish(
    state: &State,
    operation: &OperationContext,
    ended: &Deployment,
) -> Result<(), WriteError> {
    let now = unix_ms(state.clock.now());
    match ended.state {
        DeploymentState::Failed => activity::fail(operation, "DeploymentFailed"),
        DeploymentState::Canceled => activity::fail(operation, "DeploymentCanceled"),
        DeploymentState::Running | DeploymentState::Succeeded => {}
    }
    // A lock that came in the meantime stopped the resources that were left; what was done has to be said.
    state
        .transact_despite_locks(operation, |snapshot, changes| {
            let Some(present) = snapshot.deployments.get(&ended.record_id()) else { return Ok(()) };
            if present.run_id != ended.run_id || present.ended_at_ms.is_some() {
                return Ok(());
            }
            // What was done before it was stopped was done.
            let (state, failure) = match present.state {
                DeploymentState::Running => (ended.state, ended.failure.clone()),
                stopped @ (DeploymentState::Succeeded
                | DeploymentState::Failed
                | DeploymentState::Canceled) => (stopped, present.failure.clone()),
            };
            let ended = Deployment { state, failure, ended_at_ms: Some(now), ..ended.clone() };
            changes.put(snapshot, &ended);
            Ok(())
        })
        .await
}

/// Stops a deployment: what is under way ends, and nothing more is begun.
pub async fn cancel(
    state: &State,
    operation: &OperationContext,
    scope: &RbacScope,
    name: &str,
) -> Result<(), DeploymentError> {
    state
        .transact(operation, |snapshot, changes| {
            let deployment = find(snapshot, scope, name)?;
            if deployment.state != DeploymentState::Running {
                return Err(DeploymentError::NotRunning(deployment.name.clone()));
            }
            let stopped = Deployment {
                state: DeploymentState::Canceled,
                failure: Some(DeploymentFailure {
                    code: "DeploymentCanceled".to_owned(),
                    message: "The deployment was canceled.".to_owned(),
                    details: Vec::new(),
                }),
                ..deployment.record.as_ref().clone()
            };
            changes.put(snapshot, &stopped);
            Ok(())
        })
        .await
}

/// Forgets a deployment; what it made stays. `false` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    scope: &RbacScope,
    name: &str,
) -> Result<bool, DeploymentError> {
    state
        .transact(operation, |snapshot, changes| {
            let Some(deployment) = snapshot.deployments.get(&record_id(scope, name)) else {
                return Ok(false);
            };
            if deployment.state == DeploymentState::Running {
                return Err(DeploymentError::Active(deployment.name.clone()));
            }
            plan_delete(snapshot, changes, deployment);
            Ok(true)
        })
        .await
}

/// Plans to forget a deployment with its template.
pub fn plan_delete(snapshot: &Snapshot, changes: &mut Changes, deployment: &Deployment) {
    changes.delete(snapshot, deployment);
    let key = payload_key::<DeploymentTemplate>(&deployment.record_id());
    changes.write(Write::Delete(key), None);
}

/// The deployment of this name at a scope.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &RbacScope,
    name: &str,
) -> Result<&'a Versioned<Deployment>, DeploymentError> {
    let found = snapshot.deployments.get(&record_id(scope, name));
    found.ok_or_else(|| DeploymentError::NotFound(name.to_owned()))
}

/// The deployments at a scope, not below it, by name.
pub fn list(snapshot: &Snapshot, scope: &RbacScope) -> Vec<Versioned<Deployment>> {
    snapshot.deployments.at_scope(scope.key()).cloned().collect()
}

/// The template that a deployment was put with.
pub async fn template_of(state: &State, deployment: &Deployment) -> Result<Value, DeploymentError> {
    let unavailable = |reason: String| DeploymentError::from(WriteError::Unavailable(reason));
    let key = payload_key::<DeploymentTemplate>(&deployment.record_id());
    let entry = state.store.get(&key).await.map_err(|error| unavailable(error.to_string()))?;
    let entry = entry.ok_or_else(|| DeploymentError::NotFound(deployment.name.clone()))?;
    let kept: DeploymentTemplate =
        decode(&entry.value).map_err(|error| unavailable(error.to_string()))?;
    Ok(kept.template)
}

/// Ends the deployments that ran when the server stopped: what is left of them cannot be known to anybody but whoever
/// deploys them again, which does no harm.
pub async fn end_interrupted(
    state: &State,
    operation: &OperationContext,
) -> Result<(), WriteError> {
    let snapshot = state.snapshot_to_keep();
    let left = snapshot.deployments.iter().filter(|(_, it)| it.ended_at_ms.is_none());
    let left: Vec<Arc<Deployment>> = left.map(|(_, it)| Arc::clone(&it.record)).collect();
    for deployment in left {
        let failure = DeploymentFailure {
            code: "DeploymentInterrupted".to_owned(),
            message: "The server stopped while the deployment was running. Deploy it again."
                .to_owned(),
            details: Vec::new(),
        };
        let ended = Deployment {
            state: DeploymentState::Failed,
            failure: Some(failure),
            ..deployment.as_ref().clone()
        };
        finish(state, operation, &ended).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(name: &str, started_at_ms: i64, state: DeploymentState) -> Deployment {
        Deployment {
            scope: RbacScope::parse("/subscriptions/s/resourceGroups/g").unwrap(),
            name: name.to_owned(),
            location: None,
            tags: BTreeMap::new(),
            run_id: Uuid::nil(),
            state,
            mode: DeploymentMode::Incremental,
            template_hash: String::new(),
            parameters: Vec::new(),
            dependencies: Vec::new(),
            outputs: Vec::new(),
            operations: Vec::new(),
            failure: None,
            started_at_ms,
            ended_at_ms: Some(started_at_ms),
            correlation_id: Uuid::nil(),
        }
    }

    /// Which deployments make room in a scope with so many others.
    fn check(others: i64, expected: &[&str]) {
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&deployment("running", 0, DeploymentState::Running));
        snapshot.insert_for_test(&deployment("old", 1, DeploymentState::Failed));
        for n in 0..others {
            let name = format!("later-{n}");
            snapshot.insert_for_test(&deployment(&name, 2 + n, DeploymentState::Succeeded));
        }
        let mut changes = Changes::default();
        let scope = RbacScope::parse("/subscriptions/S/resourceGroups/G").unwrap();
        make_room(&snapshot, &mut changes, &scope);
        let written = format!("{changes:?}");
        let gone = |name: &str| written.contains(&format!("resourcegroups/g|{name})"));
        for name in ["running", "old", "later-0", "later-1"] {
            assert_eq!(gone(name), expected.contains(&name), "{name} of {others}");
        }
    }

    #[test]
    fn the_oldest_that_does_not_run_makes_room_for_a_new_one() {
        check(0, &[]);
        check(797, &[]);
        check(798, &["old"]);
        check(799, &["old", "later-0"]);
    }

    #[test]
    fn names_follow_azures_rule() {
        for name in ["a", "a.b-c_(1)", &"x".repeat(64)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "a.", "a b", "a/b", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_stored_form_of_a_template_is_frozen() {
        let kept = DeploymentTemplate {
            deployment: "/s|d".to_owned(),
            run_id: Uuid::nil(),
            template: serde_json::json!({ "resources": [] }),
        };
        let golden = r#"{"v":1,"r":{"deployment":"/s|d","run_id":"00000000-0000-0000-0000-000000000000","template":{"resources":[]}}}"#;
        assert_eq!(std::str::from_utf8(&encode(&kept)).unwrap(), golden);
        assert_eq!(decode::<DeploymentTemplate>(golden.as_bytes()).unwrap(), kept);
    }
}
