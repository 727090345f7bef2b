//! Every kind of local endpoint, and how a workload asks for a token at it: what holds for all of them is tested on each.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use keycard::client::{Answer, Client, ClientError};
use keycard_crypto::tls::client_config;
use keycard_domain::compute::attachment::EndpointKind;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::harness::Cloud;

/// A token request of a resource's workload.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) kind: EndpointKind,
    /// `http://127.0.0.1:PORT`
    pub(crate) base: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// What the protocol asks for in the head, but for what a challenge does.
    pub(crate) headers: Vec<(String, String)>,
    /// Its parameters, where they stand there.
    pub(crate) form: String,
    pub(crate) ca_file: String,
}

const SERVICE_FABRIC: &str = "/metadata/identity/oauth2/token";

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
        let (url, secret) = (text("url"), text("header"));
        let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let metadata = header("Metadata", "true");
        let (path, version, headers) = match kind {
            EndpointKind::Imds => ("/metadata/identity/oauth2/token", "2018-02-01", metadata),
            EndpointKind::Arc => ("/metadata/identity/oauth2/token", "2020-06-01", metadata),
            EndpointKind::CloudShell => ("/oauth2/token", "", metadata),
            EndpointKind::AppService => {
                ("/msi/token", "2019-08-01", header("X-IDENTITY-HEADER", &secret))
            }
            EndpointKind::AzureMl => ("/msi/token", "2017-09-01", header("secret", &secret)),
            EndpointKind::ServiceFabric => {
                (SERVICE_FABRIC, "2019-07-01-preview", header("Secret", &secret))
            }
        };
        let base = url.strip_suffix(path).unwrap_or(&url).to_owned();
        let parameter = format!("resource={audience}");
        let is_form = kind == EndpointKind::CloudShell;
        let (query, form) = if is_form {
            (String::new(), parameter)
        } else {
            (format!("api-version={version}&{parameter}"), String::new())
        };
        let ca_file = cloud.description().ca_file.clone();
        Self { kind, base, path: path.to_owned(), query, headers, form, ca_file }
    }

    /// At endpoints of all kinds of one resource.
    pub(crate) async fn at_all(cloud: &Cloud, resource: &str, audience: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for kind in EndpointKind::ALL {
            all.push(Self::at(cloud, resource, kind, audience).await);
        }
        all
    }

    /// The method that a token is asked for by.
    pub(crate) fn method(&self) -> &'static str {
        if self.kind == EndpointKind::CloudShell { "POST" } else { "GET" }
    }

    /// The parameters that name an identity: by client id, object id, resource id.
    pub(crate) fn selectors(&self) -> Option<[&'static str; 3]> {
        match self.kind {
            EndpointKind::Imds | EndpointKind::Arc => {
                Some(["client_id", "object_id", "msi_res_id"])
            }
            EndpointKind::AppService | EndpointKind::ServiceFabric => {
                Some(["client_id", "object_id", "mi_res_id"])
            }
            EndpointKind::AzureMl => Some(["clientid", "object_id", "msi_res_id"]),
            EndpointKind::CloudShell => None,
        }
    }

    pub(crate) fn target(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }

    pub(crate) fn authority(&self) -> &str {
        self.base.rsplit('/').next().unwrap()
    }

    /// Everything that a workload sends in the head: where there is a challenge, with what stands in its file.
    pub(crate) async fn proven(
        &self,
        client: &Client,
    ) -> Result<Vec<(String, String)>, ClientError> {
        let mut headers = self.headers.clone();
        if self.kind == EndpointKind::Arc {
            let challenged = self.send(client, &headers).await?;
            let challenge = challenged.headers.get("www-authenticate");
            let path = challenge.and_then(|it| it.to_str().ok()?.strip_prefix("Basic realm="));
            let key = path.map(|path| std::fs::read_to_string(path).unwrap()).unwrap_or_default();
            headers.push(("Authorization".to_owned(), format!("Basic {key}")));
        }
        if !self.form.is_empty() {
            let form = "application/x-www-form-urlencoded".to_owned();
            headers.push(("Content-Type".to_owned(), form));
        }
        Ok(headers)
    }

    async fn send(
        &self,
        client: &Client,
        headers: &[(String, String)],
    ) -> Result<Answer, ClientError> {
        let url = format!("{}{}", self.base, self.target());
        let mut builder = Request::builder().method(self.method()).uri(url);
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        client.send(builder.body(Full::new(Bytes::from(self.form.clone()))).unwrap()).await
    }

    /// The answer to the request.
    pub(crate) async fn ask(&self, cloud: &Cloud) -> Answer {
        self.ask_by(&cloud.client).await.unwrap()
    }

    /// The answer, if there is one.
    pub(crate) async fn ask_by(&self, client: &Client) -> Result<Answer, ClientError> {
        self.send(client, &self.proven(client).await?).await
    }

    /// The answer to who brings nothing.
    pub(crate) async fn probe(&self, cloud: &Cloud) -> Answer {
        self.send(&cloud.client, &[]).await.unwrap()
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
        match self.kind {
            EndpointKind::AppService | EndpointKind::AzureMl => {
                assert_eq!(body["statusCode"], answer.status.as_u16(), "{body}");
                assert!(body["correlationId"].is_string(), "{body}");
                text(&body["message"])
            }
            EndpointKind::ServiceFabric | EndpointKind::CloudShell => {
                assert!(body["error"]["code"].is_string(), "{body}");
                text(&body["error"]["message"])
            }
            EndpointKind::Imds | EndpointKind::Arc => {
                assert!(body["error"].is_string(), "{body}");
                text(&body["error_description"])
            }
        }
    }

    /// What comes back to these bytes until the connection ends.
    pub(crate) async fn raw(&self, bytes: &str) -> String {
        let stream = TcpStream::connect(self.authority()).await.unwrap();
        if !self.kind.is_over_tls() {
            return converse(stream, bytes).await;
        }
        let ca = std::fs::read_to_string(&self.ca_file).unwrap();
        let connector = TlsConnector::from(Arc::new(client_config(&ca).unwrap()));
        let name = ServerName::try_from("localhost").unwrap();
        converse(connector.connect(name, stream).await.unwrap(), bytes).await
    }
}

/// The server may close the connection while it is written to, and without a word.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &str) -> String {
    let _ = stream.write_all(bytes.as_bytes()).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
