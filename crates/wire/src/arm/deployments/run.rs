//! Carries a deployment out: each resource goes through the face's own door, as if its caller had put it by hand. So
//! what is allowed, refused and written down is the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{Method, StatusCode};
use keycard_domain::audit::unix_ms;
use keycard_domain::deployment::plan::{Answers, Plan, PlannedResource};
use keycard_domain::deployment::{
    self, Deployment, DeploymentFailure, DeploymentMode, DeploymentOperation, DeploymentState,
    FailureDetail, TemplateViolation,
};
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::resources::listing;
use serde_json::Value;

use super::super::error::refusal_text;
use super::super::{Arm, Vouched};
use super::Nesting;
use super::door::{ANY_VERSION, Door, References, Refusal, Unsettled};
use super::request::{Prepared, position};

/// A deployment under way.
pub(super) struct Run {
    arm: Arm,
    door: Door,
    operation: OperationContext,
    plan: Plan,
    deployment: Deployment,
    text: String,
    answers: References,
    failures: Vec<FailureDetail>,
}

impl Run {
    pub(super) fn new(
        arm: Arm,
        (operation, caller): (OperationContext, Vouched),
        prepared: Prepared,
        deployment: Deployment,
        nesting: Nesting,
    ) -> Self {
        Self {
            door: Door::new(
                &arm,
                caller,
                operation.correlation_id,
                nesting.inside(&deployment, prepared.plan.hidden()),
            ),
            arm,
            operation,
            plan: prepared.plan,
            deployment,
            text: prepared.text,
            answers: References::default(),
            failures: Vec::new(),
        }
    }

    /// Puts every resource whose dependencies are there, and keeps what came of it. One after the other: no order that
    /// the template asks for can be missed, loops in batches included.
    pub(super) async fn carry_out(mut self) {
        let resources: Vec<PlannedResource> = self.plan.resources().cloned().collect();
        let mut absent = BTreeSet::new();
        for resource in &resources {
            if !self.is_left() {
                break;
            }
            let is_waiting = resource.depends_on.iter().any(|id| absent.contains(id));
            if is_waiting || !self.deploy(resource).await {
                absent.insert(Arc::clone(&resource.id));
            }
        }
        let is_complete = self.deployment.mode == DeploymentMode::Complete;
        if self.is_left() && self.failures.is_empty() && is_complete {
            self.delete_others(&resources).await;
        }
        let is_left = self.is_left();
        self.conclude(is_left).await;
        for _ in 0..FINISH_ATTEMPTS_MAX {
            let state = &self.arm.state;
            if deployment::finish(state, &self.operation, &self.deployment).await.is_ok() {
                return;
            }
            tokio::time::sleep(FINISH_PAUSE).await;
        }
    }

    /// Whether nobody stopped it, or what it stands inside.
    fn is_left(&self) -> bool {
        self.door.is_wanted(&self.arm.state.snapshot())
    }

    /// Whether the resource is there now.
    async fn deploy(&mut self, resource: &PlannedResource) -> bool {
        let evaluate = |plan: &Plan, answers: &Answers| plan.body(resource, answers);
        let body = match self.door.settled(&self.plan, &mut self.answers, evaluate).await {
            Ok(body) => body,
            Err(failure) => {
                let failure = match failure {
                    Unsettled::Violation(violation) => FailureDetail {
                        code: "InvalidTemplate".to_owned(),
                        message: format!(
                            "Unable to process template language expressions for resource '{}'. '{}'",
                            resource.id,
                            self.words(&violation)
                        ),
                    },
                    Unsettled::Refused((status, text)) => detail(status, self.kept(&text)),
                };
                self.failures.push(failure);
                return false;
            }
        };
        let (id, version) = (Arc::clone(&resource.id), resource.api_version.clone());
        let (status, refusal) = match self.send(Method::PUT, &id, &version, Some(&body)).await {
            Ok((status, answer)) => (status, self.ended(resource, answer).await),
            Err((status, refusal)) => (status, Some(refusal)),
        };
        let is_there = refusal.is_none();
        if is_there {
            self.door.note_made(&id);
        }
        self.failures.extend(refusal.clone().map(|refusal| detail(status, refusal)));
        self.note("Create", (&id, &resource.resource_type, &resource.name), status, refusal);
        is_there
    }

    /// What is wrong with the template, to be kept.
    fn words(&self, violation: &TemplateViolation) -> String {
        self.door.hidden(&self.plan).text(&refusal_text(violation, position(&self.text, violation)))
    }

    /// Waits for a deployment inside this one; its refusal, where it failed. All else is done when it is answered.
    async fn ended(&self, resource: &PlannedResource, mut answer: Value) -> Option<String> {
        let wait = async {
            let mut revisions = self.arm.state.revisions();
            // It may have ended since it answered.
            revisions.mark_changed();
            loop {
                let state = answer.pointer("/properties/provisioningState").and_then(Value::as_str);
                match state {
                    Some("Accepted" | "Running") => {}
                    Some("Failed" | "Canceled") => {
                        let error = answer.pointer("/properties/error").cloned();
                        return Some(serde_json::json!({ "error": error }).to_string());
                    }
                    _ => return None,
                }
                // The sender lives in the state, so waiting ends with the next commit.
                let _ = revisions.changed().await;
                let asked = self.send(Method::GET, &resource.id, &resource.api_version, None).await;
                match asked {
                    Ok((_, present)) => answer = present,
                    Err((_, refusal)) => return Some(refusal),
                }
            }
        };
        let waited = tokio::time::timeout(limits::NESTED_DEPLOYMENT_TIME_MAX, wait).await;
        waited.unwrap_or_else(|_| Some("The deployment did not end in time.".to_owned()))
    }

    /// Sends a request through the door; what is kept of a refusal is short, and tells no secret.
    async fn send(
        &self,
        method: Method,
        id: &str,
        api_version: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Refusal> {
        let sent = self.door.send(method, id, api_version, body).await;
        sent.map_err(|(status, text)| (status, self.kept(&text)))
    }

    fn kept(&self, refusal: &str) -> String {
        let told = self.door.hidden(&self.plan).text(refusal);
        told.chars().take(limits::DEPLOYMENT_REFUSAL_BYTES_MAX).collect()
    }

    fn note(
        &mut self,
        kind: &str,
        (id, resource_type, name): (&str, &str, &str),
        status: StatusCode,
        refusal: Option<String>,
    ) {
        self.deployment.operations.push(DeploymentOperation {
            kind: kind.to_owned(),
            resource: id.to_owned(),
            resource_type: resource_type.to_owned(),
            name: name.to_owned(),
            status: status.as_u16(),
            refusal,
            ended_at_ms: unix_ms(self.arm.state.clock.now()),
        });
    }

    /// Deletes what the group holds and neither the template names nor a deployment inside it made.
    async fn delete_others(&mut self, resources: &[PlannedResource]) {
        let mut kept = self.door.made();
        kept.extend(resources.iter().map(|it| it.id.to_lowercase()));
        let scope = self.deployment.scope.clone();
        let snapshot = self.arm.state.snapshot_to_keep();
        let mut others = listing::below(&snapshot, scope.as_str());
        others.retain(|resource| !kept.contains(&resource.id.key()));
        for id in others.into_iter().map(|resource| resource.id) {
            if !self.is_left() {
                return;
            }
            let deleted = self.send(Method::DELETE, id.as_str(), ANY_VERSION, None).await;
            let (status, refusal) = match deleted {
                Ok((status, _)) => (status, None),
                Err((status, refusal)) => (status, Some(refusal)),
            };
            self.failures.extend(refusal.clone().map(|refusal| detail(status, refusal)));
            let named = (id.as_str(), &*id.resource_type(), id.name());
            self.note("Delete", named, status, refusal);
        }
    }

    /// Finds the outputs, and says what failed.
    async fn conclude(&mut self, is_left: bool) {
        let failed = |details| {
            DeploymentFailure {
            code: "DeploymentFailed".to_owned(),
            message: "At least one resource deployment operation failed. Please list deployment operations for details. Please see https://aka.ms/DeployOperations for usage details.".to_owned(),
            details,
        }
        };
        if !self.failures.is_empty() {
            self.deployment.state = DeploymentState::Failed;
            self.failures.truncate(limits::DEPLOYMENT_FAILURES_SHOWN_MAX);
            self.deployment.failure = Some(failed(std::mem::take(&mut self.failures)));
            return;
        }
        if !is_left {
            self.deployment.state = DeploymentState::Canceled;
            return;
        }
        match self.door.settled(&self.plan, &mut self.answers, Plan::outputs).await {
            Ok(outputs) => {
                self.deployment.state = DeploymentState::Succeeded;
                self.deployment.outputs = outputs;
            }
            Err(unsettled) => {
                let reason = match unsettled {
                    Unsettled::Violation(violation) => FailureDetail {
                        code: "DeploymentOutputEvaluationFailed".to_owned(),
                        message: format!(
                            "Unable to evaluate template outputs: '{}'.",
                            self.words(&violation)
                        ),
                    },
                    Unsettled::Refused((status, text)) => detail(status, self.kept(&text)),
                };
                self.deployment.state = DeploymentState::Failed;
                self.deployment.failure = Some(failed(vec![reason]));
            }
        }
    }
}

/// How often the end of a deployment is tried to be kept: until it is, nobody can deploy under its name.
const FINISH_ATTEMPTS_MAX: usize = 600;
/// How long it rests in between.
const FINISH_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// A refusal among the details of a failure: the name of its status, and the text as it was answered.
fn detail(status: StatusCode, refusal: String) -> FailureDetail {
    let code = status.canonical_reason().unwrap_or("Failed").replace(' ', "");
    FailureDetail { code, message: refusal }
}
