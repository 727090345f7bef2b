//! Every kind of local endpoint, and how a workload asks for a token at it: what holds for all of them is tested on each.

use http::StatusCode;
use http_body_util::Full;
use keycard::client::{Answer, Client, ClientError};
use keycard_domain::compute::attachment::EndpointKind;
use serde_json::Value;

use crate::harness::Cloud;

/// A token request of a resource's workload.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) kind: EndpointKind,
    /// `http://127.0.0.1:PORT`
    pub(crate) base: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Asking {
    /// At the resource's endpoint of this kind, for a token for this audience.
    pub(crate) async fn at(
        cloud: &Cloud,
        resource: &str,
        kind: EndpointKind,
        audience: &str,
    ) -> Self {
        let attached = cloud.administration.attach(resource, kind.as_str()).await.unwrap();
        let text = |member: &str| attached[member].as_str().unwrap_or_default().to_owned();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let url = text("url");
        let (path, version, headers) = match kind.as_str() {
            "imds" => {
                ("/metadata/identity/oauth2/token", "2018-02-01", vec![header("Metadata", "true")])
            }
            "app-service" => {
                ("/msi/token", "2019-08-01", vec![header("X-IDENTITY-HEADER", &text("header"))])
            }
            other => panic!("nobody said how a token is asked for at an endpoint of kind {other}"),
        };
        let base = url.strip_suffix(path).unwrap_or(&url).to_owned();
        let query = format!("api-version={version}&resource={audience}");
        Self { kind, base, path: path.to_owned(), query, headers }
    }

    /// At endpoints of all kinds of one resource.
    pub(crate) async fn at_all(cloud: &Cloud, resource: &str, audience: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for kind in EndpointKind::ALL {
            all.push(Self::at(cloud, resource, kind, audience).await);
        }
        all
    }

    pub(crate) fn url(&self) -> String {
        format!("{}{}?{}", self.base, self.path, self.query)
    }

    pub(crate) fn authority(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// The answer to the request.
    pub(crate) async fn ask(&self, cloud: &Cloud) -> Answer {
        self.ask_by(&cloud.client).await.unwrap()
    }

    /// The answer, if there is one.
    pub(crate) async fn ask_by(&self, client: &Client) -> Result<Answer, ClientError> {
        let mut builder = http::Request::get(self.url());
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        client.send(builder.body(Full::default()).unwrap()).await
    }

    /// The token of an answer that has to hold one.
    pub(crate) async fn token(&self, cloud: &Cloud) -> String {
        let answer = self.ask(cloud).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}: {}", self.kind, answer.body);
        answer.body["access_token"].as_str().unwrap().to_owned()
    }

    /// Looks whether an error has the shape of the endpoint's kind, and returns its text.
    pub(crate) fn error_text(&self, answer: &Answer) -> String {
        let body = &answer.body;
        let content_type = answer.headers["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("application/json"), "{:?}: {content_type}", self.kind);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        match self.kind.as_str() {
            "app-service" => {
                assert_eq!(body["statusCode"], answer.status.as_u16(), "{body}");
                assert!(body["correlationId"].is_string(), "{body}");
                text(&body["message"])
            }
            _ => {
                assert!(body["error"].is_string(), "{body}");
                text(&body["error_description"])
            }
        }
    }
}
