//! The face's requests to itself: through its own door, with the caller of the deployment that they are part of.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use keycard_domain::deployment::TemplateViolation;
use keycard_domain::deployment::hidden::Hidden;
use keycard_domain::deployment::plan::{Answers, Plan, Step};
use keycard_domain::limits;
use keycard_domain::snapshot::Snapshot;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use uuid::Uuid;

use super::super::{Arm, Vouched, face};
use super::{Nesting, encoded};
use crate::request::read_body;
use crate::route::Face;

/// What a request was answered when it was refused: its status and the text.
pub(super) type Refusal = (StatusCode, String);

/// A version that every type of this face takes, for resources that the template does not name.
pub(super) const ANY_VERSION: &str = "2024-11-01";

/// The way to the face for one caller.
pub(super) struct Door {
    face: Face<Arm>,
    caller: Vouched,
    correlation_id: Uuid,
    nesting: Nesting,
}

/// What a deployment's references were answered, and how many bytes these answers had.
#[derive(Default)]
pub(super) struct References {
    answers: Answers,
    bytes: usize,
}

/// Why a value cannot be found.
pub(super) enum Unsettled {
    /// An expression has none.
    Violation(TemplateViolation),
    /// What it refers to was refused.
    Refused(Refusal),
}

impl Door {
    pub(super) fn new(arm: &Arm, caller: Vouched, correlation_id: Uuid, nesting: Nesting) -> Self {
        Self { face: face(arm.clone()), caller, correlation_id, nesting }
    }

    /// Whether the deployment that this is for is to go on.
    pub(super) fn is_wanted(&self, snapshot: &Snapshot) -> bool {
        self.nesting.runs(snapshot)
    }

    /// What the deployments of the run have made, this one's and all around and inside it.
    pub(super) fn made(&self) -> BTreeSet<String> {
        self.nesting.made()
    }

    /// Keeps that a resource was made.
    pub(super) fn note_made(&self, id: &str) {
        self.nesting.note_made(id);
    }

    /// What nothing that is kept or shown may hold.
    pub(super) fn hidden(&self, plan: &Plan) -> Hidden {
        self.nesting.hides(plan.hidden())
    }

    /// Sends a request; the answer, or the refusal.
    pub(super) async fn send(
        &self,
        method: Method,
        id: &str,
        api_version: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Refusal> {
        let body = body.map(Value::to_string);
        let (status, bytes) = self.ask(method, id, api_version, body).await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// As [`Self::send`]; the answer is as it was read.
    async fn ask(
        &self,
        method: Method,
        id: &str,
        api_version: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Bytes), Refusal> {
        let version = utf8_percent_encode(api_version, NON_ALPHANUMERIC);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}?api-version={version}", encoded(id)))
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-ms-correlation-request-id", self.correlation_id.to_string())
            .extension(self.caller.clone())
            .extension(self.nesting.clone())
            .body(body.map_or_else(Body::empty, Body::from));
        let Ok(request) = request else {
            return Err((StatusCode::BAD_REQUEST, format!("'{id}' is no path.")));
        };
        let response: Response = self.face.answer(request).await;
        let status = response.status();
        let read = read_body(response.into_body(), limits::CONTROL_PLANE_BODY_BYTES_MAX).await;
        let bytes = read.unwrap_or_default();
        if status.is_success() {
            return Ok((status, bytes));
        }
        Err((status, String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Evaluates, asking for what the template refers to.
    pub(super) async fn settled<T>(
        &self,
        plan: &Plan,
        known: &mut References,
        evaluate: impl Fn(&Plan, &Answers) -> Result<Step<T>, TemplateViolation>,
    ) -> Result<T, Unsettled> {
        loop {
            let key = match evaluate(plan, &known.answers).map_err(Unsettled::Violation)? {
                Step::Done(value) => return Ok(value),
                Step::Needs(key) => key,
            };
            if known.answers.len() >= limits::DEPLOYMENT_REFERENCES_MAX {
                return Err(too_large("The template refers to too many resources."));
            }
            let asked = match &key.list {
                None => self.ask(Method::GET, &key.id, &key.api_version, None).await,
                Some(list) => {
                    let path = format!("{}/{}", key.id, list.action);
                    self.ask(Method::POST, &path, &key.api_version, list.body.clone()).await
                }
            };
            let (_, bytes) = asked.map_err(Unsettled::Refused)?;
            known.bytes = known.bytes.saturating_add(bytes.len());
            if known.bytes > limits::DEPLOYMENT_REFERENCE_BYTES_MAX {
                return Err(too_large("The resources that the template refers to are too large."));
            }
            let answer = serde_json::from_slice(&bytes).unwrap_or_default();
            if key.list.is_some() {
                self.nesting.note_listed(&answer);
            }
            known.answers.insert(key, answer);
        }
    }
}

fn too_large(text: &str) -> Unsettled {
    Unsettled::Refused((StatusCode::BAD_REQUEST, text.to_owned()))
}
