//! Workload identity federation: azure-semantics checklist 28 to 32, token-endpoints 53, data-planes 44 and 45.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard::issuer_trust::IssuerTrust;
use keycard_crypto::jwk::Jwk;
use keycard_crypto::seal::SealingKey;
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_key::{PublicKey, SigningKey};
use keycard_crypto::signing_pool::SigningPool;
use keycard_crypto::tls::{ServerCertificates, server_config};
use keycard_crypto::x509::CertificateAuthority;
use keycard_crypto::{encoding, jwt, test_keys};
use keycard_domain::bootstrap::{Bootstrap, IssuerForm, bootstrap};
use keycard_domain::clock::{Clock, ManualClock};
use keycard_domain::directory::federated_credential::{self, Holder, SubjectRule, Trust};
use keycard_domain::entropy::{SeededEntropy, derived_id};
use keycard_domain::limits::{Limits, Profile};
use keycard_domain::operation::OperationContext;
use keycard_domain::state::{Ports, State};
use keycard_domain::token::audience::Audiences;
use keycard_domain::token::grant::{ClientProof, GrantRequest, TokenService};
use keycard_domain::token::issuer::{Addresses, Issuer};
use keycard_domain::token::signing_key;
use keycard_store::audit_log::MemoryAuditLog;
use keycard_store::memory::MemoryStore;
use keycard_wire::oidc::{LocalIssuers, OidcKeys};
use serde_json::{Value, json};
use time::{Duration, UtcDateTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::graph::Directory;
use crate::harness::{Choice, Cloud, GRAPH_AUDIENCE, VAULT_AUDIENCE, claims};

const EXCHANGE: &str = "api://AzureADTokenExchange";
const VERSION: &str = "2023-01-31";
const FLEXIBLE_VERSION: &str = "2025-01-31-preview";
const SUBJECT: &str = "system:serviceaccount:orders:api";

/// How a fake issuer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Good,
    NamesAnother,
    Redirects,
    Huge,
}

/// An issuer on loopback whose requests are counted.
struct FakeIssuer {
    url: String,
    published: Arc<Mutex<Vec<Jwk>>>,
    manner: Arc<Mutex<Manner>>,
    asked: Arc<AtomicUsize>,
    /// Who holds it keeps the answers back.
    pause: Arc<tokio::sync::Mutex<()>>,
    server: JoinHandle<()>,
}

impl FakeIssuer {
    async fn start() -> Self {
        Self::start_with(None).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = match tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let published = Arc::new(Mutex::new(Vec::new()));
        let manner = Arc::new(Mutex::new(Manner::Good));
        let asked = Arc::new(AtomicUsize::new(0));
        let pause = Arc::<tokio::sync::Mutex<()>>::default();
        let (keys, mood, count, own) =
            (Arc::clone(&published), Arc::clone(&manner), Arc::clone(&asked), url.clone());
        let paused = Arc::clone(&pause);
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                drop(paused.lock().await);
                let answer = |path: &str| page(*mood.lock().unwrap(), &own, &keys, path);
                match &tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, answer).await,
                        Err(_) => continue,
                    },
                    None => serve(stream, answer).await,
                }
            }
        });
        let issuer = Self { url, published, manner, asked, pause, server };
        issuer.publish(&[("k1", test_keys::signing_key().public_key())]);
        issuer
    }

    fn publish(&self, keys: &[(&str, PublicKey)]) {
        let keys = keys.iter().map(|(kid, key)| {
            Jwk::from_signing_key((*kid).to_owned(), String::new(), key, &[], None)
        });
        *self.published.lock().unwrap() = keys.collect();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// What a token of this issuer says.
    fn claims(&self, cloud: &Cloud) -> Value {
        json!({ "iss": self.url, "sub": SUBJECT, "aud": EXCHANGE, "exp": cloud.now() + 600 })
    }
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn page(manner: Manner, own: &str, keys: &Mutex<Vec<Jwk>>, path: &str) -> String {
    let named = if manner == Manner::NamesAnother { "https://issuer.example" } else { own };
    let body = match path {
        "/.well-known/openid-configuration" => {
            json!({ "issuer": named, "jwks_uri": format!("{own}/keys") }).to_string()
        }
        "/keys" => json!({ "keys": *keys.lock().unwrap() }).to_string(),
        _ => return "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
    };
    match manner {
        Manner::Redirects => {
            format!("HTTP/1.1 307 Go\r\nlocation: {own}{path}\r\ncontent-length: 0\r\n\r\n")
        }
        Manner::Huge => format!("HTTP/1.1 200 OK\r\n\r\n{}{body}", " ".repeat(300 * 1024)),
        Manner::Good | Manner::NamesAnother => {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: impl Fn(&str) -> String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let answer = answer(head.split(' ').nth(1).unwrap());
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A cloud that may ask issuers on this machine.
async fn local_cloud() -> Cloud {
    let issuers = IssuerTrust { local: LocalIssuers::Allowed, authorities_pem: None };
    Cloud::start_with(Choice { issuers, ..Choice::default() }).await
}

fn signed_by(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let input = jwt::signing_input(header, claims).unwrap();
    let signature = key.sign(input.as_bytes()).unwrap();
    jwt::assemble(input, &signature)
}

fn signed(claims: &Value) -> String {
    signed_by(&test_keys::signing_key(), &json!({ "alg": "RS256", "kid": "k1" }), claims)
}

fn properties(issuer: &str, subject: &str) -> Value {
    json!({ "properties": { "issuer": issuer, "subject": subject, "audiences": [EXCHANGE] } })
}

impl Cloud {
    fn credential_path(&self, identity: &str, name: &str) -> String {
        format!("{}/federatedIdentityCredentials/{name}", self.identity_id(identity))
    }

    async fn put_credential(&self, identity: &str, name: &str, body: Value) -> Answer {
        let path = self.credential_path(identity, name);
        self.admin(Method::PUT, &path, FLEXIBLE_VERSION, Some(body)).await
    }

    /// An identity that takes the issuer's tokens for one subject; its client id.
    async fn federate(&self, identity: &str, issuer: &FakeIssuer) -> String {
        let made = self.put_identity(identity).await;
        let answer = self.put_credential(identity, "main", properties(&issuer.url, SUBJECT)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        made["properties"]["clientId"].as_str().unwrap().to_owned()
    }

    async fn exchange(&self, client: &str, assertion: &str) -> Answer {
        let assertion = assertion.replace('\n', "%0A").replace('=', "%3D");
        let form = format!(
            "grant_type=client_credentials&client_id={client}&scope={VAULT_AUDIENCE}/.default&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={assertion}"
        );
        let path = format!("/{}/oauth2/v2.0/token", self.description().tenant_id);
        self.post_form(&path, &form).await
    }

    /// The number of the refusal, or 0 for a token.
    async fn number(&self, client: &str, assertion: &str) -> u64 {
        let answer = self.exchange(client, assertion).await;
        match answer.status {
            StatusCode::OK => 0,
            _ => answer.body["error_codes"][0].as_u64().unwrap(),
        }
    }
}

/// The claims of the token that was granted.
fn granted(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let token = answer.body["access_token"].as_str().unwrap().to_owned();
    claims(&Secret::new(token))
}

/// token-endpoints 53, data-planes 44
#[tokio::test]
async fn a_trusted_subject_gets_a_token_of_the_identity() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let client = cloud.federate("mi-1", &issuer).await;
    let identity = cloud.put_identity("mi-1").await;
    let mut claimed = issuer.claims(&cloud);
    let granted = granted(&cloud.exchange(&client, &signed(&claimed)).await);
    assert_eq!(granted["oid"], identity["properties"]["principalId"]);
    assert_eq!((&granted["appid"], &granted["appidacr"]), (&json!(client), &json!("2")));
    assert!(granted["xms_mirid"].as_str().unwrap().ends_with("/mi-1"));
    assert!(granted.get("xms_az_rid").is_none(), "it comes from no resource of ours");

    assert_eq!(cloud.number(&client, &format!("{}\n", signed(&claimed))).await, 0);
    claimed["aud"] = json!(["https://other.example", EXCHANGE]);
    assert_eq!(cloud.number(&client, &signed(&claimed)).await, 0);
    assert_eq!(issuer.asked(), 2, "discovery and keys, once");
}

/// azure-semantics 30, 32; data-planes 44
#[tokio::test]
async fn each_claim_that_differs_has_its_own_number_and_nobody_is_asked() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let stranger = FakeIssuer::start().await;
    let client = cloud.federate("mi-1", &issuer).await;
    for (claim, value, number) in [
        ("iss", json!(stranger.url), 700_211),
        ("iss", json!(format!("{}/", issuer.url)), 700_211),
        ("iss", json!(issuer.url.to_uppercase()), 7_002_137),
        ("sub", json!(""), 700_213),
        ("sub", json!("system:serviceaccount:orders"), 700_213),
        ("sub", json!(format!("{SUBJECT}/")), 700_213),
        ("sub", json!(format!("{SUBJECT}-2")), 700_213),
        ("sub", json!(SUBJECT.to_uppercase()), 7_002_138),
        ("aud", json!("https://other.example"), 700_212),
        ("aud", json!([]), 700_212),
    ] {
        let mut claims = issuer.claims(&cloud);
        claims[claim] = value.clone();
        let answer = cloud.exchange(&client, &signed(&claims)).await;
        assert_eq!(answer.body["error_codes"], json!([number]), "{claim} {value}");
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.body["error"], "invalid_client");
    }
    let other = cloud.put_identity("mi-2").await["properties"]["clientId"].clone();
    let good = signed(&issuer.claims(&cloud));
    assert_eq!(cloud.number(other.as_str().unwrap(), &good).await, 700_211);
    let unknown = "99999999-9999-9999-9999-999999999999";
    assert_eq!(cloud.number(unknown, &good).await, 700_016);
    assert_eq!((issuer.asked(), stranger.asked()), (0, 0));
}

/// azure-semantics 32
#[tokio::test]
async fn only_the_issuers_own_rs256_counts() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let other = FakeIssuer::start().await;
    let foreign = SigningKey::generate().unwrap();
    other.publish(&[("k2", foreign.public_key())]);
    let client = cloud.federate("mi-1", &issuer).await;
    let body = properties(&other.url, SUBJECT);
    assert_eq!(cloud.put_credential("mi-1", "other", body).await.status, StatusCode::CREATED);
    let claims = issuer.claims(&cloud);
    assert_eq!(cloud.number(&client, &signed(&claims)).await, 0);

    // The public key as the secret of an HMAC is what a confused verifier would take.
    for alg in ["HS256", "ES256", "PS256", "RS384", "None"] {
        let token =
            signed_by(&test_keys::signing_key(), &json!({ "alg": alg, "kid": "k1" }), &claims);
        assert_eq!(cloud.number(&client, &token).await, 7_000_272, "{alg}");
    }
    let unsigned = jwt::signing_input(&json!({ "alg": "none" }), &claims).unwrap();
    assert_eq!(cloud.number(&client, &format!("{unsigned}.")).await, 50027);
    assert_eq!(cloud.number(&client, &format!("{unsigned}.AAAA")).await, 7_000_272);

    // A key of another trusted issuer, under its own and under the right name.
    for kid in ["k1", "k2"] {
        let token = signed_by(&foreign, &json!({ "alg": "RS256", "kid": kid }), &claims);
        assert_eq!(cloud.number(&client, &token).await, 7_000_272, "{kid}");
    }
    // An assertion that says where to find its key is not heard.
    let own = Jwk::from_signing_key("k9".into(), String::new(), &foreign.public_key(), &[], None);
    let address = format!("{}/keys", other.url);
    let header = json!({
        "alg": "RS256", "kid": "k9", "jwk": own, "jku": address, "x5u": address,
        "x5c": [encoding::base64_encode(&[1, 2, 3])],
    });
    let asked = other.asked();
    assert_eq!(cloud.number(&client, &signed_by(&foreign, &header, &claims)).await, 7_000_272);
    assert_eq!(other.asked(), asked);
}

/// data-planes 45
#[tokio::test]
async fn an_assertion_counts_within_its_time() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let client = cloud.federate("mi-1", &issuer).await;
    let now = cloud.now();
    for (claim, value, number) in [
        ("exp", json!(now - 299), 0),
        ("exp", json!(now - 301), 700_024),
        ("exp", Value::Null, 50027),
        ("nbf", json!(now + 299), 0),
        ("nbf", json!(now + 3600), 700_024),
    ] {
        let mut claims = issuer.claims(&cloud);
        claims[claim] = value.clone();
        assert_eq!(cloud.number(&client, &signed(&claims)).await, number, "{claim} {value}");
    }
    let mut endless = issuer.claims(&cloud);
    endless.as_object_mut().unwrap().remove("exp");
    assert_eq!(cloud.number(&client, &signed(&endless)).await, 700_024);
    let old = signed(&issuer.claims(&cloud));
    cloud.clock.advance(Duration::minutes(20));
    assert_eq!(cloud.number(&client, &old).await, 700_024);
    assert_eq!(cloud.number(&client, &signed(&issuer.claims(&cloud))).await, 0);
}

#[tokio::test]
async fn a_rotated_key_is_found_and_an_outage_is_outlived() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let client = cloud.federate("mi-1", &issuer).await;
    let fresh = SigningKey::generate().unwrap();
    let by_fresh = |cloud: &Cloud| {
        signed_by(&fresh, &json!({ "alg": "RS256", "kid": "k2" }), &issuer.claims(cloud))
    };
    assert_eq!(cloud.number(&client, &signed(&issuer.claims(&cloud))).await, 0);
    let first = test_keys::signing_key().public_key();
    issuer.publish(&[("k1", first), ("k2", fresh.public_key())]);
    assert_eq!(cloud.number(&client, &by_fresh(&cloud)).await, 7_000_272);
    cloud.clock.advance(Duration::seconds(30));
    assert_eq!(cloud.number(&client, &by_fresh(&cloud)).await, 0);
    assert_eq!(issuer.asked(), 4);

    *issuer.manner.lock().unwrap() = Manner::Redirects;
    cloud.clock.advance(Duration::hours(23));
    assert_eq!(cloud.number(&client, &by_fresh(&cloud)).await, 0);
    cloud.clock.advance(Duration::hours(1));
    let answer = cloud.exchange(&client, &by_fresh(&cloud)).await;
    assert_eq!(answer.body["error_codes"], json!([50166]));
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_as_it_should_is_not_the_clients_fault() {
    let cloud = local_cloud().await;
    for (n, manner) in [Manner::NamesAnother, Manner::Redirects, Manner::Huge].iter().enumerate() {
        let issuer = FakeIssuer::start().await;
        *issuer.manner.lock().unwrap() = *manner;
        let client = cloud.federate(&format!("mi-{n}"), &issuer).await;
        let good = || signed(&issuer.claims(&cloud));
        let answer = cloud.exchange(&client, &good()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{manner:?} {}", answer.body);
        assert_eq!(answer.body["error"], "temporarily_unavailable");
        assert_eq!(answer.body["error_codes"], json!([50166]));
        assert_eq!(answer.headers["retry-after"], "5");
        let asked = issuer.asked();
        assert_eq!(cloud.number(&client, &good()).await, 50166);
        assert_eq!(issuer.asked(), asked, "the failure is remembered");
        *issuer.manner.lock().unwrap() = Manner::Good;
        cloud.clock.advance(Duration::seconds(5));
        assert_eq!(cloud.number(&client, &good()).await, 0, "{manner:?}");
    }
    let gone = FakeIssuer::start().await;
    let client = cloud.federate("mi-gone", &gone).await;
    let assertion = signed(&gone.claims(&cloud));
    drop(gone);
    assert_eq!(cloud.number(&client, &assertion).await, 50166);
}

#[tokio::test]
async fn a_credential_that_goes_while_its_issuer_is_asked_gives_no_token() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let client = cloud.federate("mi-1", &issuer).await;
    let held = issuer.pause.lock().await;
    let removal = async {
        while issuer.asked() == 0 {
            tokio::task::yield_now().await;
        }
        let path = cloud.credential_path("mi-1", "main");
        let gone = cloud.admin(Method::DELETE, &path, VERSION, None).await;
        assert_eq!(gone.status, StatusCode::OK, "{}", gone.body);
        drop(held);
    };
    let assertion = signed(&issuer.claims(&cloud));
    let (number, ()) = tokio::join!(cloud.number(&client, &assertion), removal);
    assert_eq!(number, 700_211);
}

/// What was begun is ended and recorded, whether or not somebody waits for it.
#[tokio::test]
async fn a_grant_goes_on_when_its_client_leaves() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let client = cloud.federate("mi-1", &issuer).await;
    let held = issuer.pause.lock().await;
    let assertion = signed(&issuer.claims(&cloud));
    let asked = async |count| {
        while issuer.asked() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = cloud.exchange(&client, &assertion) => panic!("answered {}", answer.status),
        () = asked(1) => {}
    }
    // The server sees that the connection is closed before the issuer answers.
    cloud.put_identity("mi-2").await;
    drop(held);
    let goes_on = tokio::time::timeout(std::time::Duration::from_secs(10), asked(2)).await;
    assert!(goes_on.is_ok(), "the grant ended with its client");
}

#[tokio::test]
async fn a_local_issuer_is_refused_where_it_is_not_allowed() {
    let (cloud, issuer) = (Cloud::start().await, FakeIssuer::start().await);
    let client = cloud.federate("mi-1", &issuer).await;
    let answer = cloud.exchange(&client, &signed(&issuer.claims(&cloud))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["error_codes"], json!([50166]));
    let text = answer.body["error_description"].as_str().unwrap();
    assert!(text.contains("keycard up --allow-local-issuers"), "{text}");
    assert_eq!(issuer.asked(), 0);
}

/// A server's certificate for `localhost`, and the authority that vouches for it.
fn local_tls() -> (TlsAcceptor, String) {
    let now = keycard::system_clock::SystemClock.now();
    let authority =
        CertificateAuthority::generate_tls("keycard.localhost", &["localhost"], now.into());
    let authority = authority.unwrap();
    let until = now + Duration::days(30);
    let certificate = authority
        .issue_server_certificate(&["localhost".to_owned()], &[], now.into(), until.into())
        .unwrap();
    let config = server_config(ServerCertificates::new(&certificate).unwrap()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.certificate_pem())
}

#[tokio::test]
async fn an_https_issuer_is_believed_by_the_word_of_a_trusted_authority() {
    let (tls, pem) = local_tls();
    let issuer = FakeIssuer::start_with(Some(tls)).await;
    for (authorities_pem, number) in [(Some(pem), 0), (None, 50166), (Some(local_tls().1), 50166)] {
        let issuers = IssuerTrust { local: LocalIssuers::Allowed, authorities_pem };
        let cloud = Cloud::start_with(Choice { issuers, ..Choice::default() }).await;
        let client = cloud.federate("mi-1", &issuer).await;
        assert_eq!(cloud.number(&client, &signed(&issuer.claims(&cloud))).await, number);
    }
}

#[tokio::test]
async fn an_expression_takes_the_subjects_that_it_covers() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let client = cloud.put_identity("mi-1").await["properties"]["clientId"].clone();
    let client = client.as_str().unwrap();
    let flexible = |value: &str| {
        json!({ "properties": { "issuer": issuer.url, "audiences": [EXCHANGE],
            "claimsMatchingExpression": { "value": value, "languageVersion": 1 } } })
    };
    let branches = "claims['sub'] matches 'repo:contoso/*:ref:refs/heads/*' and claims['job_workflow_ref'] eq 'w'";
    let made = cloud.put_credential("mi-1", "branches", flexible(branches)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let expression = &made.body["properties"]["claimsMatchingExpression"];
    assert_eq!(*expression, json!({ "value": branches, "languageVersion": 1 }));
    assert!(made.body["properties"].get("subject").is_none());
    for (subject, workflow, number) in [
        ("repo:contoso/orders:ref:refs/heads/main", Some("w"), 0),
        ("repo:contoso/orders:ref:refs/heads/main", Some("v"), 700_213),
        ("repo:contoso/orders:ref:refs/heads/main", None, 700_213),
        ("repo:contoso/orders:ref:refs/tags/v1", Some("w"), 700_213),
        ("repo:contoso/*:ref:refs/heads/*", Some("w"), 0),
        ("repo:Contoso/orders:ref:refs/heads/main", Some("w"), 700_213),
    ] {
        let mut claims = issuer.claims(&cloud);
        claims["sub"] = json!(subject);
        claims["job_workflow_ref"] = json!(workflow);
        assert_eq!(cloud.number(client, &signed(&claims)).await, number, "{subject} {workflow:?}");
    }
    for wrong in ["claims['sub'] matches '*'", "claims['sub'] matches ''", "true", ""] {
        let answer = cloud.put_credential("mi-1", "wrong", flexible(wrong)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("The claimsMatchingExpression is invalid: "), "{message}");
    }
    let mut both = flexible(branches);
    both["properties"]["subject"] = json!("s");
    assert_eq!(
        cloud.put_credential("mi-1", "both", both.clone()).await.body["error"]["message"],
        "Exactly one of 'subject' and 'claimsMatchingExpression' must be specified."
    );
    // Before 2025-01-31-preview nobody knows the member.
    let path = cloud.credential_path("mi-1", "both");
    let old = cloud.admin(Method::PUT, &path, VERSION, Some(both)).await;
    assert_eq!(old.body["properties"]["subject"], "s", "{}", old.body);
    let old = cloud.admin(Method::PUT, &path, VERSION, Some(flexible(branches))).await;
    assert_eq!(
        old.body["error"]["message"],
        "Federated Identity Credential from HTTP body has empty properties"
    );
}

/// azure-semantics 28, 29
#[tokio::test]
async fn a_credential_is_made_kept_and_deleted() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    let issuer = "https://issuer.example";
    let path = cloud.credential_path("mi-1", "Main");
    let send = async |method: Method, path: &str, body: Option<Value>| {
        let answer = cloud.admin(method, path, VERSION, body).await;
        (answer.status.as_u16(), answer.body)
    };
    let (status, made) = send(Method::PUT, &path, Some(properties(issuer, "a"))).await;
    let id = path.replace("/resourceGroups/", "/resourcegroups/");
    let golden = json!({
        "properties": { "issuer": issuer, "subject": "a", "audiences": [EXCHANGE] },
        "id": id,
        "name": "Main",
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
    });
    assert_eq!((status, &made), (201, &golden));
    let lower = cloud.credential_path("mi-1", "main");
    let (status, kept) = send(Method::PUT, &lower, Some(properties(issuer, "b"))).await;
    assert_eq!((status, &kept["name"]), (200, &json!("Main")));
    assert_eq!(send(Method::GET, &lower, None).await, (200, kept));
    assert_eq!(send(Method::DELETE, &path, None).await.0, 200);
    assert_eq!(send(Method::DELETE, &path, None).await.0, 204);
    let (status, gone) = send(Method::GET, &path, None).await;
    assert_eq!((status, &gone["error"]["code"]), (404, &json!("ResourceNotFound")));
}

/// azure-semantics 28, 29
#[tokio::test]
async fn what_breaks_the_rules_is_refused_in_azures_words() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    cloud.put_identity("mi-2").await;
    let issuer = "https://issuer.example";
    let with = |member: &str, value: Value| {
        let mut body = properties(issuer, "s");
        body["properties"][member] = value;
        body
    };
    let empty = "Federated Identity Credential from HTTP body has empty properties";
    let one = "Federated identity credentials must have exactly one audience.";
    let long = |what: &str| {
        format!("The {what} of a Federated Identity Credential has at most 600 characters.")
    };
    let x = "x".repeat(601);
    for (name, body, message) in [
        ("ab", properties(issuer, "s"), "Federated Identity Credential name 'ab' is invalid."),
        ("_ab", properties(issuer, "s"), "Federated Identity Credential name '_ab' is invalid."),
        ("abc", json!({}), empty),
        ("abc", with("issuer", Value::Null), empty),
        ("abc", with("subject", Value::Null), empty),
        ("abc", with("subject", json!("")), empty),
        ("abc", with("audiences", Value::Null), empty),
        ("abc", with("audiences", json!([])), one),
        ("abc", with("audiences", json!(["a", "b"])), one),
        ("abc", with("issuer", json!(format!("https://{x}"))), &long("issuer")),
        ("abc", with("subject", json!(x)), &long("subject")),
        ("abc", with("audiences", json!([x])), &long("audience")),
    ] {
        let answer = cloud.put_credential("mi-1", name, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{message}");
        assert_eq!(answer.body["error"]["message"], message);
    }
    assert!(cloud.put_credential("mi-1", "one", properties(issuer, "s")).await.status.is_success());
    let twin = cloud.put_credential("mi-1", "two", properties(issuer, "s")).await;
    assert_eq!(
        (twin.status, &twin.body["error"]["message"]),
        (
            StatusCode::BAD_REQUEST,
            &json!("Issuer and subject combination already exists for this Managed Identity.")
        )
    );
    for (identity, subject) in [("mi-1", "S"), ("mi-2", "s")] {
        let other = cloud.put_credential(identity, "two", properties(issuer, subject)).await;
        assert_eq!(other.status, StatusCode::CREATED, "{}", other.body);
    }
    let nobody = cloud.identity_id("nobody");
    let one = format!("{nobody}/federatedIdentityCredentials/abc");
    let all = format!("{nobody}/federatedIdentityCredentials");
    for (method, path) in
        [(Method::PUT, &one), (Method::GET, &one), (Method::DELETE, &one), (Method::GET, &all)]
    {
        let body = (method == Method::PUT).then(|| properties(issuer, "s"));
        let answer = cloud.admin(method.clone(), path, VERSION, body).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
        assert_eq!(
            answer.body["error"]["message"],
            "The parent user-assigned identity doesn't exist."
        );
    }
}

/// azure-semantics 29
#[tokio::test]
async fn the_azure_profile_has_room_for_twenty() {
    let cloud = Cloud::start_with(Choice { profile: Profile::Azure, ..Choice::default() }).await;
    cloud.put_identity("mi-1").await;
    for n in 0..21 {
        let body = properties("https://issuer.example", &n.to_string());
        let answer = cloud.put_credential("mi-1", &format!("name-{n}"), body).await;
        let expected = if n < 20 { StatusCode::CREATED } else { StatusCode::BAD_REQUEST };
        assert_eq!(answer.status, expected, "{n}: {}", answer.body);
    }
    let again = cloud.put_credential("mi-1", "name-3", properties("https://i", "again")).await;
    assert_eq!(again.status, StatusCode::OK);

    let mut path = format!("{}/federatedIdentityCredentials?$top=7", cloud.identity_id("mi-1"));
    let mut names = std::collections::BTreeSet::new();
    let mut version = VERSION;
    let pages = loop {
        let answer = cloud.admin(Method::GET, &path, version, None).await;
        for item in answer.body["value"].as_array().unwrap() {
            assert!(names.insert(item["name"].as_str().unwrap().to_owned()));
        }
        let Some(next) = answer.body["nextLink"].as_str() else { break names.len() };
        path = next.split_once(cloud.subscription().as_str()).unwrap().1.to_owned();
        path = format!("{}{path}", cloud.subscription());
        version = "";
    };
    assert_eq!(pages, 20);
}

#[tokio::test]
async fn an_application_keeps_its_credentials_without_its_principal_and_when_it_is_restored() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    let path = format!("/applications/{}", application.id);
    let body = json!({ "name": "main", "issuer": issuer.url, "subject": SUBJECT,
        "audiences": [EXCHANGE] });
    directory.make(&format!("{path}/federatedIdentityCredentials"), body).await;
    let number = async || cloud.number(&application.client, &signed(&issuer.claims(&cloud))).await;
    assert_eq!(number().await, 0);

    assert_eq!(
        directory.delete(&format!("/servicePrincipals/{}", application.principal)).await,
        204
    );
    assert_eq!(number().await, 700_016);
    directory.make("/servicePrincipals", json!({ "appId": application.client })).await;
    assert_eq!(number().await, 0);

    assert_eq!(directory.delete(&path).await, 204);
    assert_eq!(number().await, 700_016);
    let listed = directory.get(&format!("{path}/federatedIdentityCredentials")).await;
    assert_eq!(listed.0, 404);
    let restore = format!("/directory/deletedItems/{}/restore", application.id);
    assert_eq!(directory.send(Method::POST, &restore, None).await.0, 200);
    assert_eq!(number().await, 0);
}

#[tokio::test]
async fn a_managed_identitys_token_is_an_assertion_for_applications_only() {
    let cloud = Cloud::start().await;
    let (tenant, login) =
        (&cloud.description().tenant_id, &cloud.description().endpoints.token_service);
    let issuer = format!("{login}/{tenant}/v2.0");
    let vm = cloud.put_vm("vm1", true, &[]).await;
    let subject = vm["identity"]["principalId"].as_str().unwrap().to_owned();
    let other = cloud.put_identity("mi-1").await["properties"]["clientId"].clone();
    let made = cloud.put_credential("mi-1", "main", properties(&issuer, &subject)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let application = derived_id(1, "administrator/application");
    let graph = cloud.admin_token(GRAPH_AUDIENCE).await;
    let path = format!("/applications/{application}/federatedIdentityCredentials");
    let body =
        json!({ "name": "main", "issuer": issuer, "subject": subject, "audiences": [EXCHANGE] });
    let made = cloud.graph(Some(&graph), Method::POST, &path, Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);

    let token = cloud.vm_token("vm1", EXCHANGE, "").await;
    assert_eq!(claims(&token)["iss"], issuer.as_str());
    let client = cloud.description().administrator.client_id.clone();
    let granted = granted(&cloud.exchange(&client, token.expose()).await);
    assert_eq!(granted["oid"], cloud.description().administrator.object_id.as_str());
    assert_eq!(cloud.number(other.as_str().unwrap(), token.expose()).await, 700_222);
    // A token for anybody else bears the v1 issuer, which no credential names, and names our certificate: it is looked up
    // as one of the client's own.
    let vault = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    assert_eq!(cloud.number(&client, vault.expose()).await, 700_027);

    // It counts no longer than it does elsewhere: until it ends, or the identity is taken from the VM.
    assert_eq!(cloud.number(&client, token.expose()).await, 0);
    cloud.put_vm("vm1", false, &[]).await;
    assert_eq!(cloud.number(&client, token.expose()).await, 700_222);
}

#[tokio::test]
async fn an_unassigned_identitys_token_is_no_assertion_any_more() {
    let cloud = Cloud::start().await;
    let (tenant, login) =
        (&cloud.description().tenant_id, &cloud.description().endpoints.token_service);
    let issuer = format!("{login}/{tenant}/v2.0");
    let identity = cloud.put_identity("mi-1").await;
    let subject = identity["properties"]["principalId"].as_str().unwrap();
    cloud.put_vm("vm1", false, &["mi-1"]).await;
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    let path = format!("/applications/{}/federatedIdentityCredentials", application.id);
    let body =
        json!({ "name": "main", "issuer": issuer, "subject": subject, "audiences": [EXCHANGE] });
    directory.make(&path, body).await;

    let token = cloud.vm_token("vm1", EXCHANGE, "").await;
    let lasts = claims(&token)["exp"].as_i64().unwrap() - cloud.now();
    assert_eq!(cloud.number(&application.client, token.expose()).await, 0);
    cloud.put_vm("vm1", true, &[]).await;
    assert_eq!(cloud.number(&application.client, token.expose()).await, 700_222);

    cloud.put_vm("vm1", false, &["mi-1"]).await;
    cloud.clock.advance(Duration::seconds(1));
    let token = cloud.vm_token("vm1", EXCHANGE, "").await;
    assert_eq!(cloud.number(&application.client, token.expose()).await, 0);
    cloud.clock.advance(Duration::seconds(lasts));
    assert_eq!(cloud.number(&application.client, token.expose()).await, 700_024);
}

/// What a client asks for with an assertion.
fn request(first: &Bootstrap, assertion: String) -> GrantRequest {
    GrantRequest {
        tenant: first.tenant_id,
        client_id: first.client_id.to_string(),
        proof: Some(ClientProof::Assertion(Secret::new(assertion))),
        resource: VAULT_AUDIENCE.into(),
        capabilities: vec![],
    }
}

#[tokio::test]
async fn the_sign_in_log_names_the_credential_that_was_used() {
    let clock = Arc::new(ManualClock::at(UtcDateTime::UNIX_EPOCH));
    let log = Arc::new(MemoryAuditLog::new(10));
    let state = State::open(Ports {
        store: Arc::new(MemoryStore::new()),
        audit: log.clone(),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(1)),
        limits: Limits::of(Profile::Standard),
        master_key: SealingKey::generate(),
    })
    .await
    .unwrap();
    let follower = Arc::clone(&state);
    tokio::spawn(async move { while follower.follow().await.is_ok() {} });
    let operation = OperationContext::system(clock.now(), state.entropy.uuid());
    let first = bootstrap(&state, &operation, (IssuerForm::Azure, ""), None).await.unwrap();
    signing_key::rotate_due(&state, &operation).await.unwrap();
    let application = state.snapshot().application_of_client(first.client_id).unwrap().id;
    let holder = Holder::Application(first.tenant_id, application);
    let issuer = FakeIssuer::start().await;
    let trust = Trust {
        issuer: issuer.url.clone(),
        subject: SubjectRule::Exact(SUBJECT.into()),
        audience: EXCHANGE.into(),
    };
    let made = federated_credential::create(&state, &operation, &holder, "main", &trust, None);
    let made = made.await.unwrap();
    let tokens = Issuer::new(
        Arc::clone(&state),
        SigningPool::start(1, 10),
        Audiences::default(),
        Addresses::default(),
        Arc::new(OidcKeys::new(LocalIssuers::Allowed, None)),
    );
    let mut claims = json!({ "iss": issuer.url, "sub": SUBJECT, "aud": EXCHANGE, "exp": 600 });
    tokens.grant(&operation, request(&first, signed(&claims))).await.unwrap();
    claims["sub"] = json!("other");
    tokens.grant(&operation, request(&first, signed(&claims))).await.unwrap_err();
    let records = log.records();
    let records: Vec<Value> =
        records.iter().map(|record| serde_json::to_value(record).unwrap()).collect();
    let used = |n: usize| (&records[n]["resultType"], &records[n]["federatedCredentialId"]);
    assert_eq!(used(0), (&json!("0"), &json!(made.id)));
    assert_eq!(used(1), (&json!("700213"), &Value::Null));
}

/// azure-semantics 31
#[tokio::test]
async fn of_writes_at_once_under_one_identity_all_but_one_are_told_so() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    cloud.put_identity("mi-2").await;
    let put = async |identity: &str, n: usize| {
        let body = properties("https://issuer.example", &n.to_string());
        let answer = cloud.put_credential(identity, &format!("name-{n}"), body).await;
        (answer.status.as_u16(), answer.body["error"]["code"].clone())
    };
    let (mut won, mut lost) = (0, 0);
    for round in 0..20 {
        let (one, other, elsewhere) =
            tokio::join!(put("mi-1", 2 * round), put("mi-1", 2 * round + 1), put("mi-2", round));
        assert_eq!(elsewhere.0, 201, "another identity is not concerned");
        for (status, code) in [one, other] {
            match status {
                201 => won += 1,
                409 => {
                    assert_eq!(code, "Conflict");
                    lost += 1;
                }
                _ => panic!("{status} {code}"),
            }
        }
    }
    assert!(lost > 0, "two writes at once never met in twenty rounds");
    let path = format!("{}/federatedIdentityCredentials", cloud.identity_id("mi-1"));
    let listed = cloud.admin(Method::GET, &path, VERSION, None).await;
    assert_eq!(listed.body["value"].as_array().unwrap().len(), won);
}

#[tokio::test]
async fn credentials_go_with_their_identity() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let client = cloud.federate("mi-1", &issuer).await;
    let assertion = signed(&issuer.claims(&cloud));
    assert_eq!(cloud.number(&client, &assertion).await, 0);
    let gone = cloud.admin(Method::DELETE, &cloud.identity_id("mi-1"), VERSION, None).await;
    assert_eq!(gone.status, StatusCode::OK);
    assert_eq!(cloud.number(&client, &assertion).await, 700_016);
    let again = cloud.put_identity("mi-1").await["properties"]["clientId"].clone();
    assert_ne!(again, client);
    assert_eq!(cloud.number(again.as_str().unwrap(), &assertion).await, 700_211);
    let path = format!("{}/federatedIdentityCredentials", cloud.identity_id("mi-1"));
    assert_eq!(cloud.admin(Method::GET, &path, VERSION, None).await.body["value"], json!([]));
}

#[tokio::test]
async fn an_application_is_federated_at_graph() {
    let (cloud, issuer) = (local_cloud().await, FakeIssuer::start().await);
    let graph = cloud.admin_token(GRAPH_AUDIENCE).await;
    // The administrator's own application; the harness gives ids by this seed.
    let application = derived_id(1, "administrator/application");
    let all = format!("/applications/{application}/federatedIdentityCredentials");
    let send = async |method: Method, path: &str, body: Option<Value>| {
        let answer = cloud.graph(Some(&graph), method, path, body).await;
        (answer.status.as_u16(), answer.body)
    };
    let body = |name: &str, subject: &str| {
        json!({ "name": name, "issuer": issuer.url, "subject": subject,
            "audiences": [EXCHANGE], "description": "d" })
    };
    let (status, made) = send(Method::POST, &all, Some(body("main", SUBJECT))).await;
    assert_eq!(status, 201, "{made}");
    let context = made["@odata.context"].as_str().unwrap();
    assert!(context.ends_with(&format!(
        "/$metadata#applications('{application}')/federatedIdentityCredentials/$entity"
    )));
    let id = made["id"].as_str().unwrap().to_owned();
    let client = cloud.description().administrator.client_id.clone();
    let granted = granted(&cloud.exchange(&client, &signed(&issuer.claims(&cloud))).await);
    assert_eq!(granted["oid"], cloud.description().administrator.object_id.as_str());

    let code = |body: &Value| body["error"]["code"].as_str().unwrap_or_default().to_owned();
    let same = "Request_MultipleObjectsWithSameKeyValue";
    for (wrong, status, expected) in [
        (body("main", "other"), 409, same),
        (body("other", SUBJECT), 409, same),
        (body("x", "other"), 400, "Request_BadRequest"),
        (json!({ "name": "abc" }), 400, "Request_BadRequest"),
        (json!({ "name": "abc", "surprise": 1 }), 400, "Request_BadRequest"),
    ] {
        let answer = send(Method::POST, &all, Some(wrong.clone())).await;
        assert_eq!((answer.0, code(&answer.1).as_str()), (status, expected), "{wrong}");
    }
    let (by_id, by_name) = (format!("{all}/{id}"), format!("{all}/Main"));
    assert_eq!(send(Method::GET, &by_id, None).await.1["name"], "main");
    assert_eq!(send(Method::GET, &by_name, None).await.1["id"], id.as_str());
    let (_, listed) = send(Method::GET, &all, None).await;
    assert_eq!(listed["value"].as_array().unwrap().len(), 1);

    let patch = json!({ "subject": "changed", "description": "e" });
    assert_eq!(send(Method::PATCH, &by_id, Some(patch)).await.0, 204);
    let (_, changed) = send(Method::GET, &by_name, None).await;
    assert_eq!((&changed["subject"], &changed["description"]), (&json!("changed"), &json!("e")));
    assert_eq!(changed["audiences"], json!([EXCHANGE]));
    assert_eq!(send(Method::PATCH, &by_id, Some(json!({ "name": "new" }))).await.0, 400);
    assert_eq!(cloud.number(&client, &signed(&issuer.claims(&cloud))).await, 700_213);

    assert_eq!(send(Method::DELETE, &by_id, None).await.0, 204);
    assert_eq!(send(Method::DELETE, &by_id, None).await.0, 404);
    assert_eq!(cloud.number(&client, &signed(&issuer.claims(&cloud))).await, 700_211);
    let nobody = "/applications/99999999-9999-9999-9999-999999999999/federatedIdentityCredentials";
    assert_eq!(send(Method::GET, nobody, None).await.0, 404);
    assert_eq!(
        send(Method::GET, "/applications/x/federatedIdentityCredentials", None).await.0,
        400
    );
}
