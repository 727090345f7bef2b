//! Route rows: method, path, access rule, handler. The router, the authorisation and the sweeps come from these rows.
//!
//! Own matching, because Resource Manager's paths ignore case and extension resources stand below any scope.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::handler::Handler;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use tracing::{Instrument, Span};

use crate::request::{PathError, RequestIds, Segments, discard_body};

/// Who may pass a row. Without one a row does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The holder of a role that grants this action.
    Rbac(&'static str),
    /// Who may do this in the directory, which roles of Azure RBAC say nothing about.
    Directory(&'static str),
    /// Whoever proves itself in the request.
    OwnProof,
    /// A workload at its own local endpoint.
    LocalCaller,
    /// Everybody.
    Public,
}

/// The public part of a row, for the router, the sweeps and the documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for a segment, a leading `{*scope}` and a final `{*rest}` for any number of them.
    pub path: &'static str,
    /// Who may pass.
    pub access: Access,
}

type HandlerFuture = Pin<Box<dyn Future<Output = Response> + Send>>;
type BoxedHandler<S> = Arc<dyn Fn(Request, S) -> HandlerFuture + Send + Sync>;

/// A row with its handler.
pub struct Route<S> {
    row: Row,
    pattern: Vec<Piece>,
    handler: BoxedHandler<S>,
}

impl<S> fmt::Debug for Route<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.row.fmt(f)
    }
}

#[derive(Clone, Copy, Debug)]
enum Piece {
    Literal(&'static str),
    Parameter(&'static str),
    Scope,
    Rest,
}

/// The segment before a provider's namespace.
const PROVIDERS: &str = "providers";

fn piece(segment: &'static str) -> Piece {
    match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some("*scope") => Piece::Scope,
        Some("*rest") => Piece::Rest,
        Some(name) => Piece::Parameter(name),
        None => Piece::Literal(segment),
    }
}

/// A row of a face's table.
pub fn route<S, H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Route<S>
where
    S: Clone + Send + Sync + 'static,
    H: Handler<T, S> + Sync,
    T: 'static,
{
    Route {
        row: Row { method, path, access },
        pattern: path.split('/').filter(|segment| !segment.is_empty()).map(piece).collect(),
        handler: Arc::new(move |request, state| Box::pin(handler.clone().call(request, state))),
    }
}

impl<S> Route<S> {
    /// The row.
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// The provider whose resource or operation the row is about: what its pattern says after the last `providers`.
    fn namespace(&self) -> Option<&'static str> {
        let is_before = |piece: &Piece| matches!(piece, Piece::Literal(PROVIDERS));
        let position = self.pattern.iter().rposition(is_before)?;
        match self.pattern.get(position + 1) {
            Some(Piece::Literal(namespace)) => Some(namespace),
            Some(Piece::Parameter(_) | Piece::Scope | Piece::Rest) | None => None,
        }
    }

    /// The parameters of a path that the row matches.
    fn matches(&self, segments: &Segments) -> Option<Params> {
        let all = segments.as_slice();
        let (scope_length, pattern) = match self.pattern.split_first() {
            Some((Piece::Scope, rest)) => (all.len().checked_sub(rest.len())?, rest),
            _ => (0, self.pattern.as_slice()),
        };
        let (scope, rest) = all.split_at_checked(scope_length)?;
        let (pattern, rest, tail) = match pattern.split_last() {
            Some((Piece::Rest, before)) => {
                let (fixed, tail) = rest.split_at_checked(before.len())?;
                (before, fixed, tail)
            }
            _ => (pattern, rest, [].as_slice()),
        };
        if rest.len() != pattern.len() {
            return None;
        }
        let mut values = Vec::new();
        let mut canonical = scope.to_vec();
        let mut resource_length = scope_length;
        for (index, (piece, segment)) in pattern.iter().zip(rest).enumerate() {
            match piece {
                Piece::Literal(literal) if literal.eq_ignore_ascii_case(segment) => {
                    canonical.push((*literal).to_owned());
                }
                Piece::Parameter(name) => {
                    canonical.push(segment.clone());
                    values.push((*name, segment.clone()));
                    resource_length = scope_length + index + 1;
                }
                Piece::Literal(_) | Piece::Scope | Piece::Rest => return None,
            }
        }
        let path = |segments: &[String]| format!("/{}", segments.join("/"));
        Some(Params {
            has_scope: matches!(self.pattern.first(), Some(Piece::Scope)),
            scope: path(scope),
            resource: path(all.get(..resource_length).unwrap_or_default()),
            canonical: path(canonical.get(..resource_length).unwrap_or_default()),
            values,
            rest: tail.to_vec(),
        })
    }
}

/// What a row's path took from the request's.
#[derive(Clone, Debug, Default)]
pub struct Params {
    values: Vec<(&'static str, String)>,
    rest: Vec<String>,
    has_scope: bool,
    scope: String,
    resource: String,
    canonical: String,
}

impl Params {
    /// The segment that stood at `{name}`; empty when the row has no such.
    pub fn get(&self, name: &str) -> &str {
        self.values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// What `{*scope}` stood for: a path, `/` for the root.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The segments that `{*rest}` stood for.
    pub fn rest(&self) -> &[String] {
        &self.rest
    }

    /// What a role has to be given on for the request: the scope of an extension resource, which is what its rights
    /// are about, and the resource itself for all others.
    pub fn subject(&self) -> &str {
        if self.has_scope { &self.scope } else { &self.resource }
    }

    /// The path up to the last parameter: what the request is about.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The same, with the fixed segments in the row's own spelling: what is made there has this id, however the client
    /// wrote the type.
    pub fn canonical_resource(&self) -> &str {
        &self.canonical
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// The body of a request whose row takes none: read within bounds and forgotten, since a client that is still sending
/// would not hear the answer.
#[derive(Clone, Copy, Debug)]
pub struct Unread;

impl<S: Send + Sync> FromRequest<S> for Unread {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        discard_body(&mut request.into_body()).await;
        Ok(Self)
    }
}

/// The way into a face: who comes in, and what a stranger hears.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// The ids that follow the request through its answer and the log.
    fn ids(&self, _: &Parts) -> Option<RequestIds> {
        None
    }

    /// The client's own id of the request, where it asked to be shown it again.
    fn echoed_id(&self, _: &Parts) -> Option<HeaderValue> {
        None
    }

    /// Looks at a request before its path is: what holds for every path of the face.
    async fn enter(&self, parts: &mut Parts) -> Result<(), Response>;

    /// Lets the request pass the row, or says why not in the face's own words. Where the decision is about what the body
    /// says, the body is read, and put back.
    async fn admit(
        &self,
        row: &Row,
        params: &Params,
        parts: &mut Parts,
        body: &mut Body,
    ) -> Result<OperationContext, Response>;

    /// The answer to a path that no row matches, that is no path, or whose rows have other methods.
    async fn refuse(&self, parts: &mut Parts, refusal: PathRefusal) -> Response;

    /// Whether HEAD is answered wherever GET is.
    fn takes_head(&self) -> bool {
        false
    }

    /// What there is to do about the answer to an admitted request before it leaves, and what it tells of what was found
    /// or written.
    async fn conclude(&self, _: &Method, _: &OperationContext, response: Response) -> Response {
        response
    }

    /// Adds what every answer of the face carries, whoever made it.
    fn finish(&self, entered: &Entered, response: &mut Response);
}

/// What a gate notes of a request for its answer.
#[derive(Clone, Debug, Default)]
pub struct Entered {
    /// The ids that follow the request through its answer and the log.
    pub ids: Option<RequestIds>,
    /// The client's own id of the request, where it asked to be shown it again.
    pub echoed_id: Option<HeaderValue>,
    /// How the request came in.
    pub method: Method,
}

impl Entered {
    /// What every line of the log bears that is written while the request is answered. It is of the highest level, so
    /// that no filter takes the ids from a line that it lets through.
    fn span(&self) -> Span {
        match self.ids {
            Some(RequestIds { request_id, correlation_id }) => {
                tracing::error_span!("request", %request_id, %correlation_id)
            }
            None => Span::none(),
        }
    }
}

/// The code of a refusal, for the log. Travels with the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorCode(pub(crate) &'static str);

/// Why a request reaches no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRefusal {
    /// The path is none.
    Malformed(PathError),
    /// No row matches.
    NotFound,
    /// Rows match, with other methods.
    MethodNotAllowed(Vec<Method>),
}

/// The request passed its row's access rule; the extractors take it from here.
#[derive(Clone, Debug)]
struct Admitted {
    access: Access,
    operation: OperationContext,
}

macro_rules! proof {
    ($(#[$doc:meta])* $name:ident, $pattern:pat) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub OperationContext);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = StatusCode;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
                match parts.extensions.get::<Admitted>() {
                    Some(Admitted { access: $pattern, operation }) => Ok(Self(operation.clone())),
                    // The row names another rule than the handler: a bug, found by the first test that comes by.
                    _ => Err(StatusCode::INTERNAL_SERVER_ERROR),
                }
            }
        }
    };
}

proof!(
    /// The caller holds a role that grants the row's action.
    Rbac,
    Access::Rbac(_)
);
proof!(
    /// The caller may do the row's action in the directory.
    Directory,
    Access::Directory(_)
);
proof!(
    /// The caller proves itself in the request.
    OwnProof,
    Access::OwnProof
);
proof!(
    /// The caller is a workload at its own local endpoint.
    LocalCaller,
    Access::LocalCaller
);
proof!(
    /// Anybody.
    Public,
    Access::Public
);

/// A face: its rows, its gate, and what its handlers need.
pub struct Face<S> {
    routes: Vec<Route<S>>,
    index: Index,
    gate: Box<dyn Gate>,
    state: S,
}

/// Which rows can match a path, by the namespace after its last `providers`: Resource Manager has hundreds of rows, and
/// a request is about one provider.
#[derive(Debug, Default)]
struct Index {
    /// The positions of the rows that name this namespace, in lower case, and of those that name none.
    by_namespace: HashMap<String, Vec<usize>>,
    /// The positions of the rows that name none.
    others: Vec<usize>,
}

impl Index {
    fn of<S>(routes: &[Route<S>]) -> Self {
        let mut index = Self::default();
        for namespace in routes.iter().filter_map(Route::namespace) {
            index.by_namespace.entry(namespace.to_ascii_lowercase()).or_default();
        }
        for (position, route) in routes.iter().enumerate() {
            match route.namespace() {
                Some(namespace) => {
                    let named = index.by_namespace.get_mut(&namespace.to_ascii_lowercase());
                    named.into_iter().for_each(|rows| rows.push(position));
                }
                None => {
                    index.by_namespace.values_mut().for_each(|rows| rows.push(position));
                    index.others.push(position);
                }
            }
        }
        index
    }

    /// The positions of the rows that can match, in their order.
    fn candidates(&self, segments: &[String]) -> &[usize] {
        // A resource may be called `providers` too: what follows it is no namespace.
        let mut namespaces = segments.windows(2).rev().filter_map(|pair| match pair {
            [word, namespace] if word.eq_ignore_ascii_case(PROVIDERS) => Some(namespace),
            _ => None,
        });
        namespaces
            .find_map(|namespace| self.by_namespace.get(&namespace.to_ascii_lowercase()))
            .unwrap_or(&self.others)
    }
}

impl<S> fmt::Debug for Face<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.routes.fmt(f)
    }
}

impl<S: Clone + Send + Sync + 'static> Face<S> {
    /// A face of these rows.
    pub fn new(routes: Vec<Route<S>>, gate: impl Gate, state: S) -> Self {
        Self { index: Index::of(&routes), routes, gate: Box::new(gate), state }
    }

    /// The rows, in the order in which they are tried.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.routes.iter().map(|route| &route.row)
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request) -> Response {
        let is_head = request.method() == Method::HEAD;
        let response = self.answer_whole(request).await;
        // HTTP/2 does not take the body away by itself, and a client takes one for a fault of the protocol.
        if is_head { response.map(|_| Body::empty()) } else { response }
    }

    async fn answer_whole(&self, request: Request) -> Response {
        let (mut parts, mut body) = request.into_parts();
        let entered = Entered {
            ids: self.gate.ids(&parts),
            echoed_id: self.gate.echoed_id(&parts),
            method: parts.method.clone(),
        };
        parts.extensions.insert(entered.clone());
        let span = entered.span();
        let answering = async {
            let mut response = match self.pass(&mut parts, &mut body).await {
                Ok((route, operation)) => self.handle(route, operation, parts, body).await,
                Err(refusal) => {
                    log_failed_write(&parts, &refusal);
                    discard_body(&mut body).await;
                    refusal
                }
            };
            self.gate.finish(&entered, &mut response);
            response
        };
        answering.instrument(span).await
    }

    async fn handle(
        &self,
        route: &Route<S>,
        operation: OperationContext,
        parts: Parts,
        body: Body,
    ) -> Response {
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let body = if reads_a_body(&method) { body } else { without(body).await };
        let request = Request::from_parts(parts, body);
        let response = (route.handler)(request, self.state.clone()).await;
        let response = self.gate.conclude(&method, &operation, response).await;
        if is_guarded(&route.row) {
            log_outcome(&method, uri.path(), &response);
        }
        response
    }

    async fn pass(
        &self,
        parts: &mut Parts,
        body: &mut Body,
    ) -> Result<(&Route<S>, OperationContext), Response> {
        self.gate.enter(parts).await?;
        let (route, params) = match self.find(parts) {
            Ok(found) => found,
            Err(refusal) => return Err(self.gate.refuse(parts, refusal).await),
        };
        if is_guarded(&route.row) {
            parts.extensions.insert(Guarded);
        }
        tracing::debug!(method = %route.row.method, row = route.row.path, "a request reached a row");
        let operation = self.gate.admit(&route.row, &params, parts, body).await?;
        let admitted = Admitted { access: route.row.access, operation: operation.clone() };
        parts.extensions.insert(admitted);
        parts.extensions.insert(params);
        Ok((route, operation))
    }

    fn find(&self, parts: &Parts) -> Result<(&Route<S>, Params), PathRefusal> {
        let segments = Segments::of(&parts.uri).map_err(PathRefusal::Malformed)?;
        let mut allowed = Vec::new();
        // HEAD asks what GET would answer, where the face says so.
        let asks_for_head = parts.method == Method::HEAD && self.gate.takes_head();
        let mut behind_get = None;
        let candidates = self.index.candidates(segments.as_slice());
        for route in candidates.iter().filter_map(|position| self.routes.get(*position)) {
            let Some(params) = route.matches(&segments) else { continue };
            if route.row.method == parts.method {
                return Ok((route, params));
            }
            allowed.push(route.row.method.clone());
            if asks_for_head && route.row.method == Method::GET {
                behind_get.get_or_insert((route, params));
            }
        }
        if let Some(found) = behind_get {
            return Ok(found);
        }
        Err(if allowed.is_empty() {
            PathRefusal::NotFound
        } else {
            PathRefusal::MethodNotAllowed(allowed)
        })
    }
}

/// Whether a body says anything in a request of this method.
fn reads_a_body(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::DELETE)
}

/// No body, after the client has sent what it sends all the same: else HTTP/2 breaks the stream off under its answer.
async fn without(mut body: Body) -> Body {
    if !HttpBody::is_end_stream(&body) {
        discard_body(&mut body).await;
    }
    Body::empty()
}

/// The request was led to a row that a right is needed for.
#[derive(Clone, Copy)]
struct Guarded;

fn is_guarded(row: &Row) -> bool {
    matches!(row.access, Access::Rbac(_) | Access::Directory(_))
}

fn log_failed_write(parts: &Parts, refusal: &Response) {
    // Who is not known at all does not get to fill the log.
    if parts.extensions.get::<Guarded>().is_some() && refusal.status() != StatusCode::UNAUTHORIZED {
        log_outcome(&parts.method, parts.uri.path(), refusal);
    }
}

/// One line for each write that was not done. A path has names in it and no secrets; the query is left out.
fn log_outcome(method: &Method, path: &str, response: &Response) {
    let status = response.status().as_u16();
    if method.is_safe() || status < 400 {
        return;
    }
    let path: String = path.chars().take(limits::LOGGED_PATH_CHARS_MAX).collect();
    let code = response.extensions().get::<ErrorCode>().map(|code| code.0);
    if status < 500 {
        tracing::info!(%method, path, status, code, "a write was refused");
    } else {
        tracing::error!(%method, path, status, code, "a write failed");
    }
}

/// Something that answers requests: a face, whatever its handlers need.
#[async_trait]
pub trait Answer: fmt::Debug + Send + Sync + 'static {
    /// Answers a request.
    async fn answer(&self, request: Request<Body>) -> Response;

    /// The rows, for sweeps and documentation.
    fn rows(&self) -> Vec<Row>;
}

#[async_trait]
impl<S: Clone + Send + Sync + 'static> Answer for Face<S> {
    async fn answer(&self, request: Request<Body>) -> Response {
        self.answer(request).await
    }

    fn rows(&self) -> Vec<Row> {
        Self::rows(self).cloned().collect()
    }
}

/// The `Allow` header of a refused method.
pub(crate) fn allow_header(allowed: &[Method]) -> [(http::HeaderName, String); 1] {
    let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    [(http::header::ALLOW, names.join(", "))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &'static str, request: &str, expected: Option<(&str, &str)>) {
        let row: Route<()> = route(Method::GET, path, Access::Public, || async {});
        let found = row.matches(&Segments::parse(request).unwrap());
        let found = found.as_ref().map(|params| (params.scope(), params.resource()));
        assert_eq!(found, expected, "{path} on {request}");
    }

    #[test]
    fn rows_match_whole_segments_whatever_their_case() {
        check("/a/{x}/b", "/A/1/B", Some(("/", "/A/1")));
        check("/a/{x}/b", "/a/1", None);
        check("/a/{x}", "/a/1/", Some(("/", "/a/1")));
        check("/a/{x}", "//a//1", Some(("/", "/a/1")));
        check("/{*scope}/p/q/{n}", "/s/1/p/q/2", Some(("/s/1", "/s/1/p/q/2")));
        check("/{*scope}/p/q/{n}", "/p/q/2", Some(("/", "/p/q/2")));
        check("/{*scope}/p/q", "/s/1/p/q", Some(("/s/1", "/s/1")));
        check("/{*scope}/p/q", "/s/1/p", None);
    }

    #[test]
    fn a_row_may_end_in_any_number_of_segments() {
        let row: Route<()> = route(Method::GET, "/a/b/{*rest}", Access::Public, || async {});
        let rest = |path: &str| {
            let found = row.matches(&Segments::parse(path).unwrap());
            found.map(|params| params.rest().join("|"))
        };
        assert_eq!(rest("/a/b"), Some(String::new()));
        assert_eq!(rest("/A/b/C/1/"), Some("C|1".into()));
        assert_eq!(rest("/a"), None);
        assert_eq!(rest("/a/c/b"), None);
    }

    #[test]
    fn a_path_is_held_against_the_rows_of_its_provider_and_those_of_none() {
        let rows = [
            "/s/{s}",
            "/s/{s}/providers/{namespace}",
            "/s/{s}/providers/A.B/things/{name}",
            "/s/{s}/providers/A.B/things/{name}/start",
            "/{*scope}/providers/C.D/locks/{lock}",
        ];
        let routes: Vec<Route<()>> =
            rows.map(|path| route(Method::GET, path, Access::Public, || async {})).into();
        let index = Index::of(&routes);
        for (path, expected) in [
            ("/s/1", vec![0, 1]),
            ("/s/1/providers/a.b", vec![0, 1, 2, 3]),
            ("/s/1/providers/E.F/things/1", vec![0, 1]),
            ("/s/1/providers/A.B/things/1/providers/c.D/locks/1", vec![0, 1, 4]),
            ("/s/1/providers/A.B/things/providers", vec![0, 1, 2, 3]),
            ("/s/1/providers/A.B/things/Providers/start", vec![0, 1, 2, 3]),
        ] {
            assert_eq!(
                index.candidates(Segments::parse(path).unwrap().as_slice()),
                expected,
                "{path}"
            );
        }
    }
}
