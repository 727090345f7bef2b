//! Workload identity federation with the issuer of a cluster: token-endpoints 1.7; checklist 53.

use std::sync::Arc;

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard::system_clock::TurnableClock;
use keycard_crypto::jwk::read_key_set;
use keycard_crypto::jwt::UnverifiedJwt;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{Choice, Cloud, VAULT_AUDIENCE, claims};

const AKS: &str = "2025-05-01";
const ACCOUNT: &str = "shop:web";
const SUBJECT: &str = "system:serviceaccount:shop:web";

fn cluster_id(cloud: &Cloud) -> String {
    format!("{}/providers/Microsoft.ContainerService/managedClusters/aks1", cloud.group())
}

async fn put_cluster(cloud: &Cloud, has_issuer: bool) -> Value {
    let body = json!({
        "location": "local",
        "identity": { "type": "SystemAssigned" },
        "properties": {
            "dnsPrefix": "aks1",
            "agentPoolProfiles": [{ "name": "np1", "count": 1, "vmSize": "Standard_B2s", "mode": "System" }],
            "oidcIssuerProfile": { "enabled": has_issuer },
        },
    });
    cloud.put(&cluster_id(cloud), AKS, body).await
}

async fn project(cloud: &Cloud, account: &str) -> Answer {
    let path = format!("{}/providers/Keycard.Local/projectedTokens/{account}", cluster_id(cloud));
    cloud.admin(Method::POST, &path, "2026-11-01", None).await
}

async fn trust(cloud: &Cloud, issuer: &str, subject: &str) -> Value {
    let identity = cloud.put_identity("mi-1").await;
    let path = format!("{}/federatedIdentityCredentials/aks", cloud.identity_id("mi-1"));
    let body = json!({ "properties": {
        "issuer": issuer, "subject": subject, "audiences": ["api://AzureADTokenExchange"],
    }});
    cloud.put(&path, "2024-11-30", body).await;
    identity["properties"]["clientId"].clone()
}

/// What the token service says to who presents a service account's token.
async fn exchange(cloud: &Cloud, client: &Value, assertion: &str) -> Answer {
    let form = format!(
        "grant_type=client_credentials&client_id={}&scope={VAULT_AUDIENCE}/.default&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={assertion}",
        client.as_str().unwrap()
    );
    let path = format!("/{}/oauth2/v2.0/token", cloud.description().tenant_id);
    cloud.post_form(&path, &form).await
}

/// The issuer and the file of the account's token.
async fn projected(cloud: &Cloud) -> (String, String) {
    let answer = project(cloud, ACCOUNT).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["subject"], SUBJECT);
    let text = |member: &str| answer.body[member].as_str().unwrap().to_owned();
    (text("issuer"), text("tokenFile"))
}

#[tokio::test]
async fn a_projected_token_is_exchanged_for_one_of_the_identity() {
    let cloud = Cloud::start().await;
    let cluster = put_cluster(&cloud, true).await;
    let (issuer, file) = projected(&cloud).await;
    assert_eq!(cluster["properties"]["oidcIssuerProfile"]["issuerURL"], issuer);
    let client = trust(&cloud, &issuer, SUBJECT).await;
    assert_eq!(project(&cloud, ACCOUNT).await.body["clientIds"], json!([client]));
    let assertion = std::fs::read_to_string(&file).unwrap();
    let answer = exchange(&cloud, &client, &assertion).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
    assert_eq!(claims(&token)["appid"], client);
}

/// What anybody finds who wants to verify such a token, at the address that it names.
#[tokio::test]
async fn the_issuers_documents_verify_its_tokens() {
    let cloud = Cloud::start().await;
    put_cluster(&cloud, true).await;
    let (issuer, file) = projected(&cloud).await;
    let found = cloud.get(&format!("{issuer}.well-known/openid-configuration"), &[]).await;
    assert_eq!(found.status, StatusCode::OK, "{}", found.body);
    assert_eq!(found.body["issuer"], issuer);
    let keys = cloud.get(found.body["jwks_uri"].as_str().unwrap(), &[]).await;
    let keys = read_key_set(&keys.bytes).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let jwt = UnverifiedJwt::parse(&text, 40_000).unwrap();
    assert_eq!(jwt.header().kid, keys[0].kid);
    let claims = jwt.verify(&keys[0].key).unwrap();
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!(issuer), &json!(SUBJECT)));
    assert_eq!(claims["aud"], json!(["api://AzureADTokenExchange"]));
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!((lifetime, claims["iat"].as_i64().unwrap()), (3600, cloud.now()));
}

/// A file that was written once goes on being worth something, however the clock is turned.
#[tokio::test]
async fn the_file_is_renewed_as_time_goes_by() {
    let clock = Arc::new(TurnableClock::default());
    let cloud =
        Cloud::start_with(Choice { turnable_clock: Some(clock), ..Choice::default() }).await;
    put_cluster(&cloud, true).await;
    let (issuer, file) = projected(&cloud).await;
    let client = trust(&cloud, &issuer, SUBJECT).await;
    let first = std::fs::read_to_string(&file).unwrap();
    let path = "/providers/Keycard.Local/advanceClock";
    let body = Some(json!({ "seconds": 2 * 3600 }));
    let turned = cloud.admin(Method::POST, path, "2026-11-01", body).await;
    assert_eq!(turned.status, StatusCode::OK, "{}", turned.body);
    let late = exchange(&cloud, &client, &first).await;
    assert_eq!(late.body["error_codes"], json!([700_024]), "{}", late.body);
    let second = std::fs::read_to_string(&file).unwrap();
    let answer = exchange(&cloud, &client, &second).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

/// The identity trusts one account of one cluster, and nothing that only looks like it.
#[tokio::test]
async fn what_another_account_or_nobody_signed_is_not_exchanged() {
    let cloud = Cloud::start().await;
    put_cluster(&cloud, true).await;
    let (issuer, _) = projected(&cloud).await;
    let client = trust(&cloud, &issuer, SUBJECT).await;
    let other = project(&cloud, "shop:batch").await.body;
    assert_eq!(other["clientIds"], json!([]));
    let assertion = std::fs::read_to_string(other["tokenFile"].as_str().unwrap()).unwrap();
    let refused = exchange(&cloud, &client, &assertion).await;
    assert_eq!(refused.body["error_codes"], json!([700_213]), "{}", refused.body);
    let (_, file) = projected(&cloud).await;
    let good = std::fs::read_to_string(file).unwrap();
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    let signature = keycard_crypto::test_keys::signing_key().sign(unsigned.as_bytes()).unwrap();
    let forged = keycard_crypto::jwt::assemble(unsigned.to_owned(), &signature);
    let refused = exchange(&cloud, &client, &forged).await;
    assert_eq!(refused.body["error_codes"], json!([7_000_272]), "{}", refused.body);
}

#[tokio::test]
async fn the_token_of_a_cluster_that_is_gone_counts_no_more() {
    let cloud = Cloud::start().await;
    put_cluster(&cloud, true).await;
    let (issuer, file) = projected(&cloud).await;
    let client = trust(&cloud, &issuer, SUBJECT).await;
    let assertion = std::fs::read_to_string(&file).unwrap();
    let deleted = cloud.admin(Method::DELETE, &cluster_id(&cloud), AKS, None).await;
    assert!(deleted.status.is_success(), "{}", deleted.body);
    let refused = exchange(&cloud, &client, &assertion).await;
    assert_eq!(refused.body["error_codes"], json!([50_166]), "{}", refused.body);
    let found = cloud.get(&format!("{issuer}.well-known/openid-configuration"), &[]).await;
    assert_eq!(found.status, StatusCode::NOT_FOUND);
    assert_eq!(found.body["error"]["code"], "NotFound");
}

#[tokio::test]
async fn what_has_no_issuer_gives_no_token() {
    let cloud = Cloud::start().await;
    put_cluster(&cloud, false).await;
    let refused = project(&cloud, ACCOUNT).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("oidcIssuerProfile"), "{message}");
    put_cluster(&cloud, true).await;
    for account in ["shop", "a.b:c", "shop:..", "shop:Web", ":", "shop:web:x"] {
        assert!(!project(&cloud, account).await.status.is_success(), "{account}");
    }
    let vm = format!("{}/providers/Keycard.Local/projectedTokens/a:b", cloud.vm_id("vm1"));
    let missing = cloud.admin(Method::POST, &vm, "2026-11-01", None).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND, "{}", missing.body);
}
