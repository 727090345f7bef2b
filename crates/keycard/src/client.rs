//! A client of the public wire: what the commands and the demo talk through. There is no private back door.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use keycard_crypto::secret::Secret;
use keycard_crypto::tls::client_config;
use serde_json::{Value, json};

use crate::description::Description;

/// Why a request got no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, or no whole answer.
    #[error("{url} does not answer: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// The server refused.
    #[error("{status}: {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The server's words.
        message: String,
    },
    /// The trust files of the server cannot be used.
    #[error("the server's CA cannot be used: {0}")]
    Trust(String),
}

/// Names below `localhost` are this machine, whatever the system's resolver says of them. Source: RFC 6761, 6.3.
#[derive(Clone, Copy, Debug)]
struct LoopbackResolver;

impl tower_service::Service<Name> for LoopbackResolver {
    type Response = std::array::IntoIter<SocketAddr, 1>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// Only names of this machine are ever asked for; another one leads nowhere else either.
    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok([SocketAddr::from((Ipv4Addr::LOCALHOST, 0))].into_iter()))
    }
}

/// Bytes of an answer; listings of roles have a megabyte.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An answer: status, headers, body as JSON where it is JSON.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body's bytes.
    pub bytes: Bytes,
    /// The body as JSON; `null` when it is none.
    pub body: Value,
}

/// A client that trusts one server's CA.
#[derive(Clone, Debug)]
pub struct Client {
    http: HyperClient<HttpsConnector<HttpConnector<LoopbackResolver>>, Full<Bytes>>,
}

impl Client {
    /// A client that trusts the authority of this PEM file's text.
    pub fn new(ca_pem: &str) -> Result<Self, ClientError> {
        let tls = client_config(ca_pem).map_err(|error| ClientError::Trust(error.to_string()))?;
        let mut connector = HttpConnector::new_with_resolver(LoopbackResolver);
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self { http: HyperClient::builder(TokioExecutor::new()).build(https) })
    }

    /// Sends a request and reads its answer, whatever it is.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let url = request.uri().to_string();
        let unreachable = |reason: String| ClientError::Unreachable { url: url.clone(), reason };
        let response =
            self.http.request(request).await.map_err(|error| unreachable(describe(&error)))?;
        let (parts, body) = response.into_parts();
        let bytes = Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| unreachable(error.to_string()))?
            .to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { status: parts.status, headers: parts.headers, bytes, body })
    }
}

/// An error with its causes, since the outermost says only that connecting failed.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A request with a JSON body, or none.
pub fn request(
    method: Method,
    url: &str,
    token: Option<&Secret>,
    body: Option<&Value>,
) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(url);
    if let Some(token) = token {
        builder = builder.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
    }
    let bytes = match body {
        Some(body) => {
            builder = builder.header(CONTENT_TYPE, "application/json");
            Bytes::from(body.to_string())
        }
        None => Bytes::new(),
    };
    // The parts are the callers' own URLs and tokens; what is no request is sent as one that is refused.
    builder.body(Full::new(bytes)).unwrap_or_default()
}

/// A client that acts as the administrator of a running server.
#[derive(Clone, Debug)]
pub struct Administration {
    client: Client,
    token: Secret,
    loopback: String,
    subscription: String,
}

impl Administration {
    /// Signs in as the administrator that the description names.
    pub async fn sign_in(client: Client, server: &Description) -> Result<Self, ClientError> {
        let url = format!("{}/{}/oauth2/v2.0/token", server.endpoints.loopback, server.tenant_id);
        let scope = format!("{}/.default", server.endpoints.resource_manager);
        let secret = server.administrator.client_secret.expose();
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={secret}&scope={scope}",
            server.administrator.client_id
        );
        let request = Request::post(&url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .unwrap_or_default();
        let answer = accepted(client.send(request).await?)?;
        let token = answer.body.get("access_token").and_then(Value::as_str).unwrap_or_default();
        Ok(Self {
            client,
            token: Secret::new(token.to_owned()),
            loopback: server.endpoints.loopback.clone(),
            subscription: server.subscription_id.clone(),
        })
    }

    /// The administrator's token for Resource Manager.
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// Sends a Resource Manager request; the path begins with `/`.
    pub async fn arm(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ClientError> {
        let url = format!("{}{path}", self.loopback);
        accepted(self.client.send(request(method, &url, Some(&self.token), body)).await?)
    }

    /// Sends a Resource Manager request whose body is given as text.
    pub async fn arm_text(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Answer, ClientError> {
        let url = format!("{}{path}", self.loopback);
        let mut request = request(method, &url, Some(&self.token), Some(&Value::Null));
        *request.body_mut() = Full::new(Bytes::from(body));
        accepted(self.client.send(request).await?)
    }

    /// All items of a listing of Resource Manager, page by page; the path begins with `/`.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, ClientError> {
        let mut items = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let page = self.arm(Method::GET, &path, None).await?.body;
            items.extend(page.get("value").and_then(Value::as_array).cloned().unwrap_or_default());
            // The next page is named by the server's own address, whichever way this client reaches it.
            let link = page.get("nextLink").and_then(Value::as_str);
            let path = link.and_then(|link| link.splitn(4, '/').nth(3));
            next = path.map(|path| format!("/{path}"));
        }
        Ok(items)
    }

    /// The local endpoints of the server.
    pub async fn attachments(&self) -> Result<Vec<Value>, ClientError> {
        let path = format!(
            "/subscriptions/{}/providers/Keycard.Local/listAttachments?api-version=2026-11-01",
            self.subscription
        );
        let answer = self.arm(Method::POST, &path, Some(&json!({}))).await?;
        Ok(answer.body.get("value").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// The clusters of the subscription.
    pub async fn clusters(&self) -> Result<Vec<Value>, ClientError> {
        let path = format!(
            "/subscriptions/{}/providers/Microsoft.ContainerService/managedClusters?api-version=2025-05-01",
            self.subscription
        );
        self.list(&path).await
    }

    /// The resource's local endpoint of a kind; opens it where it does not listen yet.
    pub async fn attach(&self, resource: &str, kind: &str) -> Result<Value, ClientError> {
        let path =
            format!("{resource}/providers/Keycard.Local/attachments/{kind}?api-version=2026-11-01");
        Ok(self.arm(Method::POST, &path, Some(&json!({}))).await?.body)
    }
}

/// The text at a JSON pointer of an answer; empty where there is none.
pub(crate) fn text_at<'a>(body: &'a Value, pointer: &str) -> &'a str {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The answer, unless it is a refusal.
pub fn accepted(answer: Answer) -> Result<Answer, ClientError> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let error = answer.body.get("error");
    let message = error
        .and_then(|error| error.get("message"))
        .or_else(|| answer.body.get("error_description"))
        .and_then(Value::as_str)
        .map_or_else(|| String::from_utf8_lossy(&answer.bytes).into_owned(), str::to_owned);
    Err(ClientError::Refused { status: answer.status, message })
}
