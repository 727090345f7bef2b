//! Carries a deployment out: each resource goes through the face's own door, as if its caller had put it by hand. So
//! what is allowed, refused and written down is the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, StatusCode, header};
use keycard_domain::audit::unix_ms;
use keycard_domain::deployment::error::ReferenceKey;
use keycard_domain::deployment::plan::{Answers, Plan, PlannedResource, Step};
use keycard_domain::deployment::{
    self, Deployment, DeploymentFailure, DeploymentMode, DeploymentOperation, DeploymentState,
    FailureDetail, TemplateViolation,
};
use keycard_domain::limits;
use keycard_domain::operation::{OperationContext, Principal};
use keycard_domain::resources::resource_group;
use serde_json::Value;

use super::super::error::refusal_text;
use super::super::{Arm, Vouched, face};
use super::request::{Prepared, position};
use super::{Nesting, encoded};
use crate::request::read_body;
use crate::route::Face;

/// A deployment under way.
pub(super) struct Run {
    arm: Arm,
    face: Face<Arm>,
    operation: OperationContext,
    caller: Principal,
    plan: Plan,
    deployment: Deployment,
    text: String,
    nesting: Nesting,
    answers: Answers,
    failures: Vec<FailureDetail>,
}

impl Run {
    pub(super) fn new(
        arm: Arm,
        (operation, caller): (OperationContext, Principal),
        prepared: Prepared,
        deployment: Deployment,
        nesting: Nesting,
    ) -> Self {
        Self {
            face: face(arm.clone()),
            arm,
            operation,
            caller,
            plan: prepared.plan,
            deployment,
            text: prepared.text,
            nesting,
            answers: Answers::new(),
            failures: Vec::new(),
        }
    }

    /// Puts every resource whose dependencies are there, and keeps what came of it. One after the other: no order that
    /// the template asks for can be missed, loops in batches included.
    pub(super) async fn carry_out(mut self) {
        let resources: Vec<PlannedResource> = self.plan.resources().cloned().collect();
        let mut absent = BTreeSet::new();
        for resource in &resources {
            if !deployment::is_running(&self.arm.state.snapshot(), &self.deployment) {
                break;
            }
            let is_waiting = resource.depends_on.iter().any(|id| absent.contains(id));
            if is_waiting || !self.deploy(resource).await {
                absent.insert(Arc::clone(&resource.id));
            }
        }
        let is_left = deployment::is_running(&self.arm.state.snapshot(), &self.deployment);
        if is_left && self.failures.is_empty() && self.deployment.mode == DeploymentMode::Complete {
            self.delete_others(&resources).await;
        }
        self.conclude(is_left).await;
        for _ in 0..FINISH_ATTEMPTS_MAX {
            let state = &self.arm.state;
            if deployment::finish(state, &self.operation, &self.deployment).await.is_ok() {
                return;
            }
            tokio::time::sleep(FINISH_PAUSE).await;
        }
    }

    /// Whether the resource is there now.
    async fn deploy(&mut self, resource: &PlannedResource) -> bool {
        let body = match self.settled(|plan, answers| plan.body(resource, answers)).await {
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
                    Unsettled::Refused(failure) => failure,
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
        self.failures.extend(refusal.clone().map(|refusal| detail(status, refusal)));
        self.note("Create", (&id, &resource.resource_type, &resource.name), status, refusal);
        is_there
    }

    /// What is wrong with the template, to be kept.
    fn words(&self, violation: &TemplateViolation) -> String {
        self.plan.without_secrets(&refusal_text(violation, position(&self.text, violation)))
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

    /// Evaluates, asking for what the template refers to.
    async fn settled<T>(
        &mut self,
        evaluate: impl Fn(&Plan, &Answers) -> Result<Step<T>, TemplateViolation>,
    ) -> Result<T, Unsettled> {
        loop {
            match evaluate(&self.plan, &self.answers).map_err(Unsettled::Violation)? {
                Step::Done(value) => return Ok(value),
                Step::Needs(key) => {
                    let answer = self.referenced(&key).await.map_err(Unsettled::Refused)?;
                    self.answers.insert(key, answer);
                }
            }
        }
    }

    async fn referenced(&self, key: &ReferenceKey) -> Result<Value, FailureDetail> {
        if self.answers.len() >= limits::DEPLOYMENT_REFERENCES_MAX {
            let message = "The template refers to too many resources.".to_owned();
            return Err(FailureDetail { code: "InvalidTemplate".to_owned(), message });
        }
        let asked = self.send(Method::GET, &key.id, &key.api_version, None).await;
        asked.map(|(_, answer)| answer).map_err(|(status, refusal)| detail(status, refusal))
    }

    /// Sends a request through the face's own door; the answer, or the text of the refusal.
    async fn send(
        &self,
        method: Method,
        id: &str,
        api_version: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), (StatusCode, String)> {
        let version =
            percent_encoding::utf8_percent_encode(api_version, percent_encoding::NON_ALPHANUMERIC);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}?api-version={version}", encoded(id)))
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-ms-correlation-request-id", self.operation.correlation_id.to_string())
            .extension(Vouched(self.caller.clone()))
            .extension(Nesting(self.nesting.0 + 1))
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())));
        let Ok(request) = request else {
            return Err((StatusCode::BAD_REQUEST, format!("'{id}' is no path.")));
        };
        let response: Response = self.face.answer(request).await;
        let status = response.status();
        let read = read_body(response.into_body(), limits::CONTROL_PLANE_BODY_BYTES_MAX).await;
        let bytes = read.unwrap_or_default();
        if status.is_success() {
            return Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()));
        }
        let text: String = self
            .plan
            .without_secrets(&String::from_utf8_lossy(&bytes))
            .chars()
            .take(limits::DEPLOYMENT_REFUSAL_BYTES_MAX)
            .collect();
        Err((status, text))
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

    /// Deletes what the group holds and the template does not name.
    async fn delete_others(&mut self, resources: &[PlannedResource]) {
        let kept: BTreeSet<String> = resources.iter().map(|it| it.id.to_lowercase()).collect();
        let scope = self.deployment.scope.clone();
        let Some(subscription) = scope.subscription() else { return };
        let snapshot = self.arm.state.snapshot_to_keep();
        let mut others = resource_group::resources_below(&snapshot, subscription);
        others.retain(|(id, _)| {
            let is_here = scope
                .resource_group()
                .is_some_and(|group| id.resource_group().eq_ignore_ascii_case(group));
            is_here && !kept.contains(&id.key())
        });
        for (id, _) in others {
            let deleted = self.send(Method::DELETE, id.as_str(), DELETE_VERSION, None).await;
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
            return;
        }
        match self.settled(Plan::outputs).await {
            Ok(outputs) => {
                self.deployment.state = DeploymentState::Succeeded;
                self.deployment.outputs = outputs;
            }
            Err(unsettled) => {
                let detail = match unsettled {
                    Unsettled::Violation(violation) => FailureDetail {
                        code: "DeploymentOutputEvaluationFailed".to_owned(),
                        message: format!(
                            "Unable to evaluate template outputs: '{}'.",
                            self.words(&violation)
                        ),
                    },
                    Unsettled::Refused(detail) => detail,
                };
                self.deployment.state = DeploymentState::Failed;
                self.deployment.failure = Some(failed(vec![detail]));
            }
        }
    }
}

/// How often the end of a deployment is tried to be kept: until it is, nobody can deploy under its name.
const FINISH_ATTEMPTS_MAX: usize = 600;
/// How long it rests in between.
const FINISH_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// A version that every type of this face takes.
const DELETE_VERSION: &str = "2024-11-01";

/// Why a value cannot be found.
enum Unsettled {
    /// An expression has none.
    Violation(TemplateViolation),
    /// What it refers to was refused.
    Refused(FailureDetail),
}

/// A refusal among the details of a failure: the name of its status, and the text as it was answered.
fn detail(status: StatusCode, refusal: String) -> FailureDetail {
    let code = status.canonical_reason().unwrap_or("Failed").replace(' ', "");
    FailureDetail { code, message: refusal }
}
