//! The endpoint of a Service Fabric node: token-endpoints checklist 41 to 45.

use std::sync::Arc;

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::digest::{sha1, sha256};
use keycard_crypto::encoding::hex_encode;
use keycard_crypto::secret::Secret;
use keycard_crypto::tls::client_config;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::harness::{Cloud, VAULT_AUDIENCE, claims};

const QUERY: &str = "api-version=2019-07-01-preview&resource=https://vault.azure.net";

struct Application {
    cloud: Cloud,
    attachment: Value,
}

impl Application {
    async fn with(system: bool, identities: &[&str]) -> Self {
        let cloud = Cloud::start().await;
        for name in identities {
            cloud.put_identity(name).await;
        }
        cloud.put_vm("vm1", system, identities).await;
        let attachment = cloud.attach(&cloud.vm_id("vm1"), "service-fabric").await;
        Self { cloud, attachment }
    }

    fn text(&self, member: &str) -> &str {
        self.attachment[member].as_str().unwrap()
    }

    async fn get(&self, query: &str, headers: &[(&str, &str)]) -> Answer {
        self.cloud.get(&format!("{}?{query}", self.text("url")), headers).await
    }

    async fn ask(&self, query: &str) -> Answer {
        self.get(query, &[("Secret", self.text("header"))]).await
    }
}

fn token(answer: &Answer) -> Secret {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    Secret::new(answer.body["access_token"].as_str().unwrap().to_owned())
}

/// 41: and it is one that clients can verify like any other, as Node does.
#[tokio::test]
async fn the_certificate_is_the_one_whose_thumbprint_is_told() {
    let application = Application::with(true, &[]).await;
    let url: http::Uri = application.text("url").parse().unwrap();
    assert_eq!(url.scheme_str(), Some("https"));
    let ca = std::fs::read_to_string(&application.cloud.description().ca_file).unwrap();
    let connector = TlsConnector::from(Arc::new(client_config(&ca).unwrap()));
    let mut thumbprints = Vec::new();
    for name in ["127.0.0.1", "localhost"] {
        let stream = TcpStream::connect(("127.0.0.1", url.port_u16().unwrap())).await.unwrap();
        let stream = connector.connect(ServerName::try_from(name).unwrap(), stream).await.unwrap();
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        thumbprints.push(hex_encode(&sha1(&leaf)));
    }
    for thumbprint in thumbprints {
        assert!(thumbprint.eq_ignore_ascii_case(application.text("certificateThumbprint")));
    }
}

/// 42
#[tokio::test]
async fn both_api_versions_give_a_token() {
    let application = Application::with(true, &[]).await;
    for version in ["2019-07-01-preview", "2020-05-01"] {
        let query = format!("api-version={version}&resource=https://vault.azure.net");
        let answer = application.ask(&query).await;
        let claims = claims(&token(&answer));
        assert_eq!(answer.body["expires_on"], claims["exp"]);
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_eq!(answer.body["resource"], VAULT_AUDIENCE);
    }
}

/// 43
#[tokio::test]
async fn what_is_wrong_is_said_by_its_code() {
    let application = Application::with(true, &[]).await;
    let secret = application.text("header");
    let wrong = format!("{}0", &secret[1..]);
    let known = ("Secret", secret);
    for (query, headers, status, code) in [
        (QUERY, vec![], 400, "SecretHeaderNotFound"),
        (QUERY, vec![("X-IDENTITY-HEADER", secret)], 400, "SecretHeaderNotFound"),
        (QUERY, vec![("Secret", "")], 404, "ManagedIdentityNotFound"),
        (QUERY, vec![("Secret", wrong.as_str())], 404, "ManagedIdentityNotFound"),
        ("resource=x", vec![known], 400, "InvalidApiVersion"),
        ("api-version=2019-08-01&resource=x", vec![known], 400, "InvalidApiVersion"),
        ("api-version=2019-07-01-preview", vec![known], 400, "ArgumentNullOrEmpty"),
        ("api-version=2019-07-01-preview&resource=", vec![known], 400, "ArgumentNullOrEmpty"),
        (
            "api-version=2019-07-01-preview&resource=https://nobody.example",
            vec![known],
            400,
            "InvalidResource",
        ),
        (
            "api-version=2019-07-01-preview&resource=x&client_id=8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
            vec![known],
            404,
            "ManagedIdentityNotFound",
        ),
        ("api-version=2020-05-01&resource=x&resource=y", vec![known], 400, "InvalidRequest"),
        (QUERY, vec![known, ("X-Forwarded-For", "1.2.3.4")], 400, "InvalidRequest"),
        (QUERY, vec![known, ("Host", "evil.example")], 400, "InvalidRequest"),
    ] {
        let answer = application.get(query, &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{query} {headers:?}: {}", answer.body);
        let error = &answer.body["error"];
        assert_eq!(error["code"], code, "{query} {headers:?}");
        assert!(error["message"].is_string() && error["correlationId"].is_string());
    }
    let message = application.ask("resource=x").await.body["error"]["message"].clone();
    assert_eq!(
        message,
        "The api-version '' is not supported. Supported version is '2019-07-01-preview'."
    );
}

/// 44
#[tokio::test]
async fn a_rejected_token_is_replaced_and_a_stale_hash_gives_the_present_one() {
    let application = Application::with(true, &[]).await;
    let first = token(&application.ask(QUERY).await);
    let hash = hex_encode(&sha256(first.expose().as_bytes()));
    let query = format!("{QUERY}&token_sha256_to_refresh={hash}");
    let second = token(&application.ask(&query).await);
    assert_ne!(first.expose(), second.expose());
    for query in [query.as_str(), QUERY, &format!("{QUERY}&token_sha256_to_refresh=x")] {
        assert_eq!(token(&application.ask(query).await).expose(), second.expose(), "{query}");
    }
}

/// 45
#[tokio::test]
async fn a_capability_is_said_in_the_token() {
    let application = Application::with(true, &[]).await;
    let plain = token(&application.ask(QUERY).await);
    assert!(claims(&plain).get("xms_cc").is_none(), "{}", claims(&plain));
    for capabilities in ["CP1", "cp1", "x%2CCP1"] {
        let query = format!("{QUERY}&xms_cc={capabilities}");
        let claims = claims(&token(&application.ask(&query).await));
        assert_eq!(claims["xms_cc"], serde_json::json!(["CP1"]), "{capabilities}");
    }
}

#[tokio::test]
async fn selectors_of_every_client_select() {
    let application = Application::with(true, &["mi-1"]).await;
    let id = application.cloud.identity_id("mi-1");
    let user = application.cloud.admin(Method::GET, &id, "2024-11-30", None).await.body;
    let (client, object) = (&user["properties"]["clientId"], &user["properties"]["principalId"]);
    for selector in [
        format!("client_id={}", client.as_str().unwrap()),
        format!("object_id={}", object.as_str().unwrap()),
        format!("principalId={}", object.as_str().unwrap()),
        format!("mi_res_id={id}"),
    ] {
        let answer = application.ask(&format!("{QUERY}&{selector}")).await;
        assert_eq!(claims(&token(&answer))["oid"], *object, "{selector}");
    }
}

/// The secret of one workload opens no other's endpoint, and a restart makes it worthless.
#[tokio::test]
async fn a_secret_opens_its_own_endpoint_until_the_workload_restarts() {
    let application = Application::with(true, &[]).await;
    let cloud = &application.cloud;
    cloud.put_vm("vm2", true, &[]).await;
    let other = cloud.attach(&cloud.vm_id("vm2"), "service-fabric").await;
    let foreign = application.get(QUERY, &[("Secret", other["header"].as_str().unwrap())]).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    let path = format!("{}/restart", cloud.vm_id("vm1"));
    let restarted = cloud.admin(Method::POST, &path, "2024-07-01", None).await;
    assert!(restarted.status.is_success(), "{}", restarted.body);
    let again = cloud.attach(&cloud.vm_id("vm1"), "service-fabric").await;
    assert_eq!(again["url"], application.attachment["url"]);
    assert_eq!(again["certificateThumbprint"], application.attachment["certificateThumbprint"]);
    assert_eq!(application.ask(QUERY).await.status, StatusCode::NOT_FOUND);
    token(&application.get(QUERY, &[("Secret", again["header"].as_str().unwrap())]).await);
}

/// Plain HTTP is no TLS: the connection ends without an answer.
#[tokio::test]
async fn nothing_is_answered_without_tls() {
    let application = Application::with(true, &[]).await;
    let url = application.text("url").replace("https://", "http://");
    let request = format!(
        "GET /metadata/identity/oauth2/token?{QUERY} HTTP/1.1\r\nHost: {}\r\nSecret: {}\r\n\r\n",
        url.trim_start_matches("http://").split('/').next().unwrap(),
        application.text("header")
    );
    let base = url.trim_end_matches("/metadata/identity/oauth2/token");
    let answer = crate::harness::raw(base, &request).await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
}
