//! Prometheus metrics and health, on a listener of their own. Few, with bounded labels and the unit in the name.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode, header};
use keycard_domain::state::State;
use keycard_host_agent::{credential_store, fast_lane};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::health::Health;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    face: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unrenewed {
    urgency: &'static str,
}

/// What this process counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    answers: Family<Answered, Counter>,
    revision: Gauge,
    identities: Gauge,
    cached_answers: Counter,
    unrenewed: Family<Unrenewed, Gauge>,
    health: Arc<Health>,
    state: Arc<State>,
}

impl Metrics {
    pub(crate) fn new(state: Arc<State>, health: Arc<Health>) -> Self {
        let mut registry = Registry::with_prefix("keycard");
        let (answers, revision) = (Family::<Answered, Counter>::default(), Gauge::default());
        let (identities, cached_answers) = (Gauge::default(), Counter::default());
        registry.register("answers", "Answers of the HTTPS listener", answers.clone());
        registry.register(
            "state_revision",
            "Revision of the state that is served",
            revision.clone(),
        );
        registry.register(
            "service_principals",
            "Service principals in the directory",
            identities.clone(),
        );
        registry.register(
            "cached_token_answers",
            "Token answers given again from memory",
            cached_answers.clone(),
        );
        let unrenewed = Family::<Unrenewed, Gauge>::default();
        registry.register(
            "unrenewed_credentials",
            "Identity credentials that should have been renewed and could not be",
            unrenewed.clone(),
        );
        Self { registry, answers, revision, identities, cached_answers, unrenewed, health, state }
    }

    /// Notes how the last pass over the identity credentials ended.
    pub(crate) fn note_unrenewed(&self, counted: credential_store::Unrenewed) {
        for (urgency, count) in [("overdue", counted.overdue), ("critical", counted.critical)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.unrenewed.get_or_create(&Unrenewed { urgency }).set(count);
        }
        let is_critical = counted.critical > 0;
        let complaint = is_critical.then(|| {
            format!(
                "{} are about to end and cannot be renewed; see the log for the reason",
                counted.critical
            )
        });
        self.health.set("identity credentials", complaint);
    }

    /// Counts an answer.
    pub(crate) fn count(&self, face: &'static str, status: StatusCode) {
        let class = match status.as_u16() {
            ..=399 => "ok",
            400..=499 => "refused",
            _ => "failed",
        };
        self.answers.get_or_create(&Answered { face, class }).inc();
    }

    /// `/metrics` and `/health`.
    pub(crate) fn answer(&self, request: &Request<Body>) -> Response {
        match request.uri().path() {
            "/metrics" => self.exposition(),
            "/health" => self.health(),
            _ => (StatusCode::NOT_FOUND, "try /metrics or /health\n").into_response(),
        }
    }

    fn health(&self) -> Response {
        let complaints = self.health.complaints();
        if complaints.is_empty() {
            return (StatusCode::OK, "ok\n").into_response();
        }
        (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", complaints.join("\n"))).into_response()
    }

    fn exposition(&self) -> Response {
        let snapshot = self.state.snapshot();
        let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.revision.set(count(snapshot.revision.0));
        self.identities.set(count(snapshot.service_principals.len() as u64));
        let uncounted = fast_lane::cached_answers().saturating_sub(self.cached_answers.get());
        self.cached_answers.inc_by(uncounted);
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => {
                let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ([(header::CONTENT_TYPE, content_type)], text).into_response()
            }
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
