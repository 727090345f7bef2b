//! Tokens bound to a key of the workload's own: token-endpoints checklist 63 to 67.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use keycard::client::Answer;
use keycard_crypto::encoding::{base64_decode_any, base64_encode, base64url_encode};
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_key::PublicKey;
use keycard_crypto::test_requests::{SPELLINGS, binding_request};
use keycard_crypto::{digest, test_keys, x509};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::harness::{ARM_AUDIENCE, Cloud, SECRETS_USER, VAULT_AUDIENCE, claims};

const PLATFORM: &str = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";
const ISSUE: &str = "/metadata/identity/issuecredential?cred-api-version=2.0";

/// A machine on which keys are bound.
async fn put_trusted_vm(cloud: &Cloud, name: &str, system: bool, identities: &[&str]) -> Value {
    let body = json!({
        "location": "local",
        "identity": cloud.identity_block(system, identities),
        "properties": { "securityProfile": { "securityType": "TrustedLaunch" } },
    });
    cloud.put(&cloud.vm_id(name), "2024-07-01", body).await
}

async fn platform_metadata(cloud: &Cloud, vm: &str, selector: &str) -> Answer {
    let url = format!("{}{PLATFORM}{selector}", cloud.imds(vm).await);
    cloud.get(&url, &[("Metadata", "true")]).await
}

async fn issue(cloud: &Cloud, vm: &str, selector: &str, body: String) -> Answer {
    let request = Request::post(format!("{}{ISSUE}{selector}", cloud.imds(vm).await))
        .header("Metadata", "true")
        .header("Content-Type", "application/json")
        .body(Full::from(body))
        .unwrap();
    cloud.client.send(request).await.unwrap()
}

/// The request that a client makes of what the machine tells it.
fn request_for(platform: &Value) -> String {
    let machine = platform["cuId"].to_string();
    let names = (platform["clientId"].as_str().unwrap(), platform["tenantId"].as_str().unwrap());
    let der = binding_request(SPELLINGS[0], names, &[&machine]);
    json!({ "csr": base64_encode(&der), "attestation_token": "" }).to_string()
}

/// A certificate for the test key, DER, and what came with it.
async fn certificate(cloud: &Cloud, vm: &str, selector: &str) -> (Vec<u8>, Value) {
    let platform = platform_metadata(cloud, vm, selector).await;
    let issued = issue(cloud, vm, selector, request_for(&platform.body)).await;
    assert_eq!(issued.status, StatusCode::OK, "{}", issued.body);
    (base64_decode_any(issued.body["certificate"].as_str().unwrap(), 16_384).unwrap(), issued.body)
}

/// What a server answers to a request on a connection to one of its names, with or without a certificate of the test key.
async fn over_tls(
    cloud: &Cloud,
    host: &str,
    certificate: Option<&[u8]>,
    request: &str,
) -> (u16, Value) {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(&cloud.description().ca_file).unwrap();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match certificate {
        Some(der) => {
            let key = base64_decode_any(test_keys::RSA_PKCS8, 2048).unwrap();
            let chain = vec![CertificateDer::from(der.to_vec())];
            builder.with_client_auth_cert(chain, PrivateKeyDer::try_from(key).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, cloud.server.port));
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Some servers end without a word of farewell; what came counts.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// A request for a bound token, at a name of the token service.
async fn bound_token(
    cloud: &Cloud,
    host: &str,
    certificate: Option<&[u8]>,
    (client_id, audience): (&str, &str),
) -> (u16, Value) {
    let form = format!(
        "grant_type=client_credentials&client_id={client_id}&scope={audience}/.default&token_type=mtls_pop"
    );
    let request = format!(
        "POST /{}/oauth2/v2.0/token HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{form}",
        cloud.description().tenant_id,
        form.len()
    );
    over_tls(cloud, host, certificate, &request).await
}

const MTLS: &str = "mtlsauth.keycard.localhost";

/// 63: a machine without says so at once, whoever asks, and one with it asks for the header.
#[tokio::test]
async fn a_machine_without_answers_its_probe_with_404() {
    let cloud = Cloud::start().await;
    cloud.put_vm("plain", true, &[]).await;
    put_trusted_vm(&cloud, "trusted", true, &[]).await;
    for (vm, header, status) in [
        ("plain", None, 404),
        ("plain", Some("true"), 404),
        ("trusted", None, 400),
        ("trusted", Some("false"), 400),
        ("trusted", Some("true"), 200),
    ] {
        let url = format!("{}{PLATFORM}", cloud.imds(vm).await);
        let headers: Vec<_> = header.map(|value| ("Metadata", value)).into_iter().collect();
        let answer = cloud.get(&url, &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{vm} {header:?}: {}", answer.body);
        assert!(answer.headers["server"].to_str().unwrap().contains("IMDS"));
        match status {
            404 => assert_eq!(answer.body["error"], "not_found"),
            400 => assert_eq!(
                answer.body["error_description"],
                "Required metadata header not specified"
            ),
            _ => {}
        }
    }
    let answer = issue(&cloud, "plain", "", "{}".to_owned()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

/// 63
#[tokio::test]
async fn a_machine_tells_who_it_is_and_where_to_go() {
    let cloud = Cloud::start().await;
    let vm = put_trusted_vm(&cloud, "vm1", true, &[]).await;
    let answer = platform_metadata(&cloud, "vm1", "").await;
    let client = claims(&cloud.vm_token("vm1", VAULT_AUDIENCE, "").await)["appid"].clone();
    assert_eq!(answer.body["clientId"], client);
    assert_eq!(answer.body["tenantId"], cloud.description().tenant_id);
    assert_eq!(answer.body["cuId"], json!({ "vmId": vm["properties"]["vmId"] }));
    assert!(answer.body["attestationEndpoint"].as_str().unwrap().starts_with("https://"));
    let base = cloud.imds("vm1").await;
    for (query, word) in [
        ("", "cred-api-version"),
        ("?cred-api-version=1.0", "cred-api-version"),
        ("?cred-api-version=2.0&client_id=x&object_id=y", "Only one"),
        ("?cred-api-version=2.0&x=1&X=1", "more than once"),
        (
            "?cred-api-version=2.0&client_id=8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
            "Identity not found",
        ),
    ] {
        let url = format!("{base}/metadata/identity/getplatformmetadata{query}");
        let answer = cloud.get(&url, &[("Metadata", "true")]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(
            answer.body["error_description"].as_str().unwrap().contains(word),
            "{}",
            answer.body
        );
    }
}

/// 65, 67
#[tokio::test]
async fn a_certificate_is_for_the_key_of_the_request_and_for_seven_days() {
    let cloud = Cloud::start().await;
    let user = cloud.put_identity("mi-1").await;
    put_trusted_vm(&cloud, "vm1", true, &["mi-1"]).await;
    let id = cloud.identity_id("mi-1");
    for (selector, kind) in [
        (String::new(), "SystemAssigned"),
        (format!("&msi_res_id={id}"), "UserAssigned"),
        (format!("&mi_res_id={id}"), "UserAssigned"),
        (
            format!("&client_id={}", user["properties"]["clientId"].as_str().unwrap()),
            "UserAssigned",
        ),
    ] {
        let (der, answer) = certificate(&cloud, "vm1", &selector).await;
        assert_eq!(answer["identity_type"], kind, "{selector}");
        assert_eq!(answer["tenant_id"], cloud.description().tenant_id);
        let is_user = answer["client_id"] == user["properties"]["clientId"];
        assert_eq!(is_user, kind == "UserAssigned", "{selector}");
        let endpoint = answer["mtls_authentication_endpoint"].as_str().unwrap();
        assert_eq!(endpoint, format!("https://{MTLS}:{}", cloud.server.port));
        let key = PublicKey::from_certificate_der(&der).unwrap();
        assert_eq!(key, test_keys::signing_key().public_key());
        let (from, until) = x509::certificate_validity(&der).unwrap();
        assert_eq!((from.unix_timestamp(), until - from), (cloud.now(), time::Duration::days(7)));
    }
}

/// 64
#[tokio::test]
async fn what_is_not_this_machines_request_gets_no_certificate() {
    let cloud = Cloud::start().await;
    put_trusted_vm(&cloud, "vm1", true, &[]).await;
    put_trusted_vm(&cloud, "vm2", true, &[]).await;
    let own = platform_metadata(&cloud, "vm1", "").await.body;
    let other = platform_metadata(&cloud, "vm2", "").await.body;
    let with = |changes: Value| {
        let mut platform = own.clone();
        platform.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        request_for(&platform)
    };
    let mut forged = binding_request(SPELLINGS[0], ("a", "b"), &["{}"]);
    *forged.last_mut().unwrap() ^= 1;
    for (body, word) in [
        (with(json!({ "clientId": other["clientId"] })), "subject"),
        (with(json!({ "tenantId": other["clientId"] })), "subject"),
        (with(json!({ "cuId": other["cuId"] })), "another machine"),
        (with(json!({ "cuId": "vm1" })), "another machine"),
        (json!({ "csr": base64_encode(&forged) }).to_string(), "signature"),
        (json!({ "csr": "AAAA" }).to_string(), "could not be read"),
        (json!({ "csr": "!" }).to_string(), "csr"),
        (json!({}).to_string(), "csr"),
        ("nonsense".to_owned(), "csr"),
        ("x".repeat(70_000), "too large"),
    ] {
        let answer = issue(&cloud, "vm1", "", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{word}");
        assert_eq!(answer.body["error"], "invalid_request");
        let said = answer.body["error_description"].as_str().unwrap();
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// 66
#[tokio::test]
async fn a_token_is_bound_to_the_certificate_it_was_asked_for_with() {
    let cloud = Cloud::start().await;
    let vm = put_trusted_vm(&cloud, "vm1", true, &[]).await;
    let (der, issued) = certificate(&cloud, "vm1", "").await;
    let asked = (issued["client_id"].as_str().unwrap(), VAULT_AUDIENCE);
    let (status, answer) = bound_token(&cloud, MTLS, Some(&der), asked).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["token_type"], "mtls_pop");
    let token = Secret::new(answer["access_token"].as_str().unwrap().to_owned());
    let claims = claims(&token);
    assert_eq!(claims["cnf"], json!({ "x5t#S256": base64url_encode(&digest::sha256(&der)) }));
    assert_eq!(
        (&claims["oid"], &claims["appidacr"]),
        (&vm["identity"]["principalId"], &json!("2"))
    );
    assert!(claims["xms_az_rid"].as_str().unwrap().ends_with("/virtualMachines/vm1"));

    let refused = |(status, answer): (u16, Value), number: u64| {
        assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")), "{answer}");
        assert_eq!(answer["error_codes"], json!([number]));
    };
    refused(bound_token(&cloud, MTLS, None, asked).await, 7_000_218);
    // Where no certificate is asked for, none is presented.
    let login = "login.keycard.localhost";
    refused(bound_token(&cloud, login, Some(&der), asked).await, 7_000_218);
    let administrator = cloud.description().administrator.client_id.clone();
    refused(bound_token(&cloud, MTLS, Some(&der), (&administrator, VAULT_AUDIENCE)).await, 50017);
    let (from, until) = x509::certificate_validity(&der).unwrap();
    let stranger = test_keys::signing_key().self_signed_certificate("vm1", from, until).unwrap();
    refused(bound_token(&cloud, MTLS, Some(&stranger), asked).await, 50017);
}

#[tokio::test]
async fn a_certificate_counts_while_its_identity_is_on_its_running_machine() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    put_trusted_vm(&cloud, "vm1", true, &["mi-1"]).await;
    let selector = format!("&msi_res_id={}", cloud.identity_id("mi-1"));
    let (der, issued) = certificate(&cloud, "vm1", &selector).await;
    let asked = (issued["client_id"].as_str().unwrap(), VAULT_AUDIENCE);
    let status = async || bound_token(&cloud, MTLS, Some(&der), asked).await.0;
    assert_eq!(status().await, 200);
    for (verb, expected) in [("deallocate", 401), ("start", 200)] {
        let path = format!("{}/{verb}", cloud.vm_id("vm1"));
        cloud.admin(Method::POST, &path, "2024-07-01", None).await;
        assert_eq!(status().await, expected, "{verb}");
    }
    put_trusted_vm(&cloud, "vm1", true, &[]).await;
    assert_eq!(status().await, 401, "taken away");
    cloud.clock.advance(time::Duration::SECOND);
    put_trusted_vm(&cloud, "vm1", true, &["mi-1"]).await;
    assert_eq!(status().await, 401, "given again, which is another assignment");
    let (der, _) = certificate(&cloud, "vm1", &selector).await;
    let status = async || bound_token(&cloud, MTLS, Some(&der), asked).await.0;
    cloud.clock.advance(time::Duration::days(7) - time::Duration::SECOND);
    assert_eq!(status().await, 200);
    cloud.clock.advance(time::Duration::SECOND);
    assert_eq!(status().await, 401, "after seven days");
}

#[tokio::test]
async fn a_bound_token_opens_doors_only_with_its_certificate() {
    let cloud = Cloud::start().await;
    let officer = cloud.open_vault("kv1").await;
    let url = cloud.vault_url("kv1", "/secrets/door?api-version=7.4");
    cloud.vault(Some(&officer), Method::PUT, &url, Some(json!({ "value": "open" }))).await;
    let vm = put_trusted_vm(&cloud, "vm1", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.vault_id("kv1"), SECRETS_USER, principal).await;
    let (der, issued) = certificate(&cloud, "vm1", "").await;
    let (other, _) = certificate(&cloud, "vm1", "").await;
    let client = issued["client_id"].as_str().unwrap();
    let (_, answer) = bound_token(&cloud, MTLS, Some(&der), (client, VAULT_AUDIENCE)).await;
    let bound = answer["access_token"].as_str().unwrap();
    let plain = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;

    let host = "kv1.vault.keycard.localhost";
    for (scheme, token, certificate, status) in [
        ("mtls_pop", bound, Some(&der), 200),
        ("Bearer", bound, Some(&der), 200),
        ("Bearer", bound, None, 401),
        ("mtls_pop", bound, None, 401),
        ("mtls_pop", bound, Some(&other), 401),
        ("Bearer", plain.expose(), Some(&der), 200),
        ("Bearer", plain.expose(), None, 200),
        ("mtls_pop", plain.expose(), Some(&der), 401),
    ] {
        let request = format!(
            "GET /secrets/door?api-version=7.4 HTTP/1.1\r\nHost: {host}:{}\r\nAuthorization: {scheme} {token}\r\nConnection: close\r\n\r\n",
            cloud.server.port
        );
        let der = certificate.map(Vec::as_slice);
        let (found, body) = over_tls(&cloud, host, der, &request).await;
        assert_eq!(found, status, "{scheme} {:?}: {body}", certificate.is_some());
        let is_bound_refusal = status == 401
            && body["error"]["message"].as_str().unwrap().contains("bound to a certificate");
        assert!(status == 200 || is_bound_refusal, "{body}");
    }
    // Resource Manager asks for no certificate, so nothing that is bound passes.
    let (_, answer) =
        bound_token(&cloud, MTLS, Some(&der), (client, ARM_AUDIENCE.trim_end_matches('/'))).await;
    let bound = Secret::new(answer["access_token"].as_str().unwrap().to_owned());
    let refused = cloud.arm(Some(&bound), Method::GET, &cloud.group(), "2024-11-01", None).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let said = refused.body["error"]["message"].as_str().unwrap();
    assert!(said.contains("bound to a certificate"), "{said}");
}

#[tokio::test]
async fn no_key_is_attested() {
    let cloud = Cloud::start().await;
    put_trusted_vm(&cloud, "vm1", true, &[]).await;
    let platform = platform_metadata(&cloud, "vm1", "").await.body;
    let url = format!("{}/attest/keyguard", platform["attestationEndpoint"].as_str().unwrap());
    let answer = cloud.get(&url, &[]).await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(answer.body["error"]["code"], "NotImplemented");
}
