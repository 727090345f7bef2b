//! The check endpoint: may the holder of this token do this, for any HTTP service behind a proxy that asks first.
//!
//! `GET /authorize?audience=…&action=…&scope=…` with the bearer token answers 204 with the caller's ids in headers, 401 or
//! 403; with whatever method, since proxies pass the one of the request they ask about. For nginx's `auth_request`, and
//! for Envoy's `ext_authz`, which takes nothing but 200 for a yes: `allowedStatus=200`.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::body::Body;
use axum::extract::State as FaceState;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use keycard_domain::limits;
use keycard_domain::operation::{Caller, OperationContext, Principal};
use keycard_domain::rbac::provider_operations::plane_of_action;
use keycard_domain::rbac::{Attributes, Plane, Question, RbacScope};
use keycard_domain::state::State;
use keycard_domain::token::verify::{BearerError, PresentedToken, TokenVerifier};
use serde_json::json;

use crate::bearer;
use crate::host_names::HostNames;
use crate::request::{Parameters, PathError, RequestIds};
use crate::route::{
    Access, Entered, Face, Gate, OwnProof, Params, PathRefusal, Route, Row, Unread, route,
};

/// What the face's handler needs.
#[derive(Clone, Debug)]
pub struct Authorize {
    /// Decides.
    pub state: Arc<State>,
    /// Verifies tokens.
    pub verifier: Arc<TokenVerifier>,
    /// Names the token service.
    pub names: HostNames,
}

/// The path of the face.
pub const PATH: &str = "/authorize";

/// The face.
pub fn face(authorize: Authorize) -> Face<Authorize> {
    Face::new(routes(), AuthorizeGate(authorize.clone()), authorize)
}

fn routes() -> Vec<Route<Authorize>> {
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    methods.map(|method| route(method, PATH, Access::OwnProof, check)).into()
}

struct AuthorizeGate(Authorize);

#[async_trait]
impl Gate for AuthorizeGate {
    fn ids(&self, parts: &Parts) -> Option<RequestIds> {
        let request_id = self.0.state.entropy.uuid();
        Some(RequestIds::from_headers(&parts.headers, "x-ms-client-request-id", request_id))
    }

    async fn enter(&self, _: &mut Parts) -> Result<(), Response> {
        Ok(())
    }

    async fn admit(
        &self,
        _: &Row,
        _: &Params,
        parts: &mut Parts,
        _: &mut Body,
    ) -> Result<OperationContext, Response> {
        let ids = RequestIds::of_entered(parts, || self.0.state.entropy.uuid());
        Ok(ids.operation(Caller::Anonymous, self.0.state.clock.now()))
    }

    async fn refuse(&self, _: &mut Parts, refusal: PathRefusal) -> Response {
        match refusal {
            PathRefusal::MethodNotAllowed(allowed) => {
                (crate::route::allow_header(&allowed), Refusal::MethodUnknown).into_response()
            }
            PathRefusal::Malformed(PathError::QueryTooLong) => {
                Refusal::Parameter("scope").into_response()
            }
            PathRefusal::Malformed(PathError::DotSegment | PathError::Character)
            | PathRefusal::NotFound => Refusal::PathUnknown.into_response(),
        }
    }

    fn finish(&self, entered: &Entered, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let id = entered.ids.map(|ids| ids.request_id.to_string());
        if let Some(Ok(value)) = id.map(|id| HeaderValue::from_str(&id)) {
            headers.insert("x-ms-request-id", value);
        }
    }
}

/// What is asked, as the proxy's configuration says it.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    audience: String,
    action: String,
    scope: RbacScope,
    plane: Plane,
    sub_operation: Option<String>,
    /// What a yes looks like.
    allowed: StatusCode,
}

impl Asked {
    /// Reads the query. Each parameter stands once: a proxy that appends what its client sent must not be overruled by it.
    /// Others are left alone.
    fn of(uri: &Uri) -> Result<Self, Refusal> {
        let names =
            ["audience", "action", "scope", "isDataAction", "subOperation", "allowedStatus"];
        let query = Parameters::of(uri);
        if let Some(name) = names.into_iter().find(|name| query.count(name) > 1) {
            return Err(Refusal::Parameter(name));
        }
        let required = |name| query.non_empty(name).ok_or(Refusal::Parameter(name));
        let action = required("action")?;
        if action.len() > limits::ACTION_BYTES_MAX || action.contains('*') {
            return Err(Refusal::Parameter("action"));
        }
        let plane = match query.non_empty("isDataAction") {
            None => plane_of_action(action),
            Some("true") => Plane::Data,
            Some("false") => Plane::Control,
            Some(_) => return Err(Refusal::Parameter("isDataAction")),
        };
        let allowed = match query.non_empty("allowedStatus") {
            None | Some("204") => StatusCode::NO_CONTENT,
            Some("200") => StatusCode::OK,
            Some(_) => return Err(Refusal::Parameter("allowedStatus")),
        };
        Ok(Self {
            allowed,
            audience: required("audience")?.to_owned(),
            action: action.to_owned(),
            scope: RbacScope::parse(required("scope")?).map_err(|_| Refusal::Parameter("scope"))?,
            plane,
            sub_operation: query.non_empty("subOperation").map(str::to_owned),
        })
    }
}

async fn check(
    OwnProof(operation): OwnProof,
    FaceState(face): FaceState<Authorize>,
    headers: HeaderMap,
    uri: Uri,
    _: Unread,
) -> Result<Response, Refusal> {
    let asked = Asked::of(&uri)?;
    let token = bearer::token(&headers).ok_or_else(|| face.challenge(None))?;
    // Differs from the other faces: the connection is the proxy's, so that nothing bound to a certificate counts.
    let token = PresentedToken::bearer(token);
    let principal = face
        .verifier
        .verify_for_audience(&face.state, token, &asked.audience)
        .map_err(|error| face.challenge(Some(error)))?;
    let attributes = Attributes::of_environment(operation.now);
    let question = Question {
        tenant: principal.tenant_id,
        principal: principal.principal_id,
        plane: asked.plane,
        action: &asked.action,
        scope: &asked.scope,
        sub_operation: asked.sub_operation.as_deref(),
        attributes: &attributes,
    };
    if face.state.authorize(operation.request_id, &question).is_allowed() {
        Ok((asked.allowed, identity(&principal)).into_response())
    } else {
        Err(Refusal::Forbidden { principal: Box::new(principal), asked: Box::new(asked) })
    }
}

/// Who the caller is, for the service behind the proxy.
fn identity(principal: &Principal) -> [(&'static str, String); 3] {
    [
        ("x-keycard-tenant-id", principal.tenant_id.to_string()),
        ("x-keycard-principal-id", principal.principal_id.to_string()),
        ("x-keycard-client-id", principal.client_id.to_string()),
    ]
}

impl Authorize {
    fn challenge(&self, error: Option<BearerError>) -> Refusal {
        Refusal::Unauthorized { login: self.names.url("login"), error }
    }
}

/// Why the face does not answer 204.
#[derive(Debug)]
enum Refusal {
    /// There is no token, or it is not good.
    Unauthorized { login: String, error: Option<BearerError> },
    /// The token is good, and its holder may not do this.
    Forbidden { principal: Box<Principal>, asked: Box<Asked> },
    /// A parameter is missing, stands twice, or is not as it must be.
    Parameter(&'static str),
    /// There is nothing at the path.
    PathUnknown,
    /// The method is none of HTTP's.
    MethodUnknown,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match &self {
            Self::Unauthorized { error: None, .. } => (
                StatusCode::UNAUTHORIZED,
                "AuthenticationFailed",
                "The request has no bearer token.".to_owned(),
            ),
            Self::Unauthorized { error: Some(error), .. } => (
                StatusCode::UNAUTHORIZED,
                "InvalidAuthenticationToken",
                format!("The token is not accepted: {error}."),
            ),
            Self::Forbidden { principal, asked } => (
                StatusCode::FORBIDDEN,
                "AuthorizationFailed",
                format!(
                    "The client '{}' with object id '{}' does not have authorization to perform action '{}' over scope '{}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
                    principal.client_id, principal.principal_id, asked.action, asked.scope
                ),
            ),
            Self::Parameter(name) => (
                StatusCode::BAD_REQUEST,
                "InvalidParameter",
                format!("The parameter '{name}' has to be given once, and rightly."),
            ),
            Self::PathUnknown => (
                StatusCode::NOT_FOUND,
                "NotFound",
                format!("There is nothing at this path. The check endpoint is {PATH}."),
            ),
            Self::MethodUnknown => (
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "The method is not allowed on this path.".to_owned(),
            ),
        };
        let challenge = match &self {
            Self::Unauthorized { login, .. } => {
                let value =
                    format!("Bearer authorization_uri=\"{login}/common\", error=\"invalid_token\"");
                Some([(header::WWW_AUTHENTICATE, value)])
            }
            Self::Forbidden { .. }
            | Self::Parameter(_)
            | Self::PathUnknown
            | Self::MethodUnknown => None,
        };
        let body = Json(json!({ "error": { "code": code, "message": message } }));
        (status, challenge, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: Result<Plane, &'static str>) {
        let uri: Uri = format!("{PATH}?{query}").parse().unwrap();
        let found = match Asked::of(&uri) {
            Ok(asked) => Ok(asked.plane),
            Err(Refusal::Parameter(name)) => Err(name),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn each_parameter_stands_once() {
        check("audience=a&action=Contoso.A/b/read&scope=/subscriptions/s", Ok(Plane::Data));
        check("audience=a&action=Microsoft.KeyVault/vaults/read&scope=/s", Ok(Plane::Control));
        check("audience=a&action=A/b&scope=/s&isDataAction=false", Ok(Plane::Control));
        check("audience=a&action=A/b&scope=/s&isDataAction=yes", Err("isDataAction"));
        check("audience=a&action=A/b&scope=/s&allowedStatus=200", Ok(Plane::Data));
        check("audience=a&action=A/b&scope=/s&allowedStatus=500", Err("allowedStatus"));
        check("action=A/b&scope=/s", Err("audience"));
        check("audience=a&scope=/s", Err("action"));
        check("audience=a&action=A/b", Err("scope"));
        check("audience=a&action=A/*&scope=/s", Err("action"));
        check("audience=a&action=A/b&scope=/s/../t", Err("scope"));
        check("audience=a&action=A/b&scope=/s&original=/x?y=1&scope=/t", Err("scope"));
        check("audience=a&action=A/b&scope=/s&SCOPE=/t", Err("scope"));
        check("audience=a&action=A/b&scope=/s&x=1&x=2", Ok(Plane::Data));
    }
}
