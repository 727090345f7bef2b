//! The way into a local endpoint, the same for every protocol but for its words: whose request it is, what it has to
//! carry, which path it asks for.

use std::marker::PhantomData;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use keycard_domain::operation::OperationContext;
use uuid::Uuid;

use super::{Foreign, LocalEndpoint, LocalFace, check_origin, operation, request_ids};
use crate::request::RequestIds;
use crate::route::{Entered, Gate, Params, PathRefusal, Row, allow_header};

/// A protocol's own part of the way in.
pub(crate) trait Protocol: Send + Sync + 'static {
    /// Why a request is refused.
    type Refusal: From<Stray> + Send;

    /// Refuses what does not carry what the protocol asks for.
    fn check(endpoint: &LocalEndpoint, headers: &HeaderMap) -> Result<(), Self::Refusal>;

    /// The refusal in the protocol's shape.
    fn answer(refusal: Self::Refusal, correlation_id: Uuid) -> Response;
}

/// Why a request reaches no row of any protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    /// No workload of this endpoint sent it.
    Foreign(Foreign),
    /// Its path is none, or its query too long.
    TargetMalformed,
    /// There is no such path.
    PathUnknown,
    /// The path has other methods.
    MethodNotAllowed,
}

impl From<Foreign> for Stray {
    fn from(foreign: Foreign) -> Self {
        Self::Foreign(foreign)
    }
}

impl Stray {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Foreign(Foreign::NoEndpoint) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Foreign(Foreign::Host | Foreign::Forwarded | Foreign::Framing)
            | Self::TargetMalformed => StatusCode::BAD_REQUEST,
            Self::PathUnknown => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Its code in the words of the metadata service.
    pub(crate) const fn error(self) -> &'static str {
        match self {
            Self::Foreign(Foreign::NoEndpoint) => "server_error",
            Self::Foreign(Foreign::Host | Foreign::Forwarded | Foreign::Framing)
            | Self::TargetMalformed => "invalid_request",
            Self::PathUnknown => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
        }
    }

    /// Its code in the words of other services.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Foreign(Foreign::NoEndpoint) => "InternalServerError",
            Self::Foreign(Foreign::Host | Foreign::Forwarded | Foreign::Framing)
            | Self::TargetMalformed => "InvalidRequest",
            Self::PathUnknown => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
        }
    }

    /// What happened, in a sentence without its full stop.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Foreign(Foreign::Host) => "The request is addressed to another host",
            Self::Foreign(Foreign::Forwarded) => {
                "Forwarded requests are not accepted: X-Forwarded-For, Forwarded"
            }
            Self::Foreign(Foreign::Framing) => "The framing of the request's body is not accepted",
            Self::Foreign(Foreign::NoEndpoint) => "No endpoint",
            Self::TargetMalformed => "The path is malformed or the query too long",
            Self::PathUnknown => "The path is not known",
            Self::MethodNotAllowed => "The method is not allowed on this path",
        }
    }
}

/// The gate of a face that speaks this protocol.
pub(crate) struct Door<P> {
    face: LocalFace,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol> Door<P> {
    pub(crate) fn new(face: LocalFace) -> Self {
        Self { face, protocol: PhantomData }
    }

    fn refused(&self, parts: &Parts, refusal: impl Into<P::Refusal>) -> Response {
        let ids = RequestIds::of_entered(parts, || self.face.entropy.uuid());
        P::answer(refusal.into(), ids.correlation_id)
    }
}

#[async_trait]
impl<P: Protocol> Gate for Door<P> {
    fn ids(&self, parts: &Parts) -> Option<RequestIds> {
        Some(request_ids(&self.face, &parts.headers))
    }

    async fn enter(&self, parts: &mut Parts) -> Result<(), Response> {
        let endpoint = check_origin(parts).map_err(|stray| self.refused(parts, stray))?;
        P::check(&endpoint, &parts.headers).map_err(|refusal| self.refused(parts, refusal))
    }

    async fn admit(
        &self,
        _: &Row,
        _: &Params,
        parts: &mut Parts,
        _: &mut Body,
    ) -> Result<OperationContext, Response> {
        let endpoint = check_origin(parts).map_err(|stray| self.refused(parts, stray))?;
        Ok(operation(&self.face, &endpoint, parts))
    }

    async fn refuse(&self, parts: &mut Parts, refusal: PathRefusal) -> Response {
        match refusal {
            PathRefusal::Malformed(_) => self.refused(parts, Stray::TargetMalformed),
            PathRefusal::NotFound => self.refused(parts, Stray::PathUnknown),
            PathRefusal::MethodNotAllowed(allowed) => {
                let answer = self.refused(parts, Stray::MethodNotAllowed);
                (allow_header(&allowed), answer).into_response()
            }
        }
    }

    fn finish(&self, _: &Entered, _: &mut Response) {}
}
