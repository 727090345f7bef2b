//! Container apps: azure-semantics 1.2; az-cli-calls 3.7.

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, IDENTITY_OPERATOR, OWNER, claims};

const VERSION: &str = "2025-07-01";
const QUERY: &str = "api-version=2019-08-01&resource=https://vault.azure.net";

fn id(cloud: &Cloud) -> String {
    format!("{}/providers/Microsoft.App/containerApps/app-1", cloud.group())
}

async fn put(cloud: &Cloud, identity: Option<Value>, properties: Value) -> Answer {
    let mut body = json!({ "location": "local", "properties": properties });
    if let Some(identity) = identity {
        body["identity"] = identity;
    }
    cloud.admin(Method::PUT, &id(cloud), VERSION, Some(body)).await
}

async fn ask(cloud: &Cloud) -> Answer {
    let attachment = cloud.attachment(&id(cloud)).await;
    assert_eq!(attachment["kind"], "app-service");
    let (url, secret) =
        (attachment["url"].as_str().unwrap(), attachment["header"].as_str().unwrap());
    cloud.get(&format!("{url}?{QUERY}"), &[("X-IDENTITY-HEADER", secret)]).await
}

#[tokio::test]
async fn an_app_gets_tokens_of_its_identities_while_it_runs() {
    let cloud = Cloud::start().await;
    cloud.put_identity("aaa").await;
    let made = put(&cloud, Some(cloud.identity_block(true, &["aaa"])), json!({})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.body["identity"]["type"], "SystemAssigned, UserAssigned");
    assert!(made.body["properties"]["configuration"].is_object(), "az reads it");
    let answer = ask(&cloud).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
    assert_eq!(claims(&token)["oid"], made.body["identity"]["principalId"]);
    for (verb, status, works) in [("stop", "Stopped", false), ("start", "Running", true)] {
        let path = format!("{}/{verb}", id(&cloud));
        let switched = cloud.admin(Method::POST, &path, VERSION, None).await;
        assert_eq!(switched.body["properties"]["runningStatus"], status);
        assert_eq!(ask(&cloud).await.status == StatusCode::OK, works, "{verb}");
    }
    let bare = put(&cloud, None, json!({})).await;
    assert_eq!(bare.status, StatusCode::OK);
    assert_eq!(bare.body["identity"], json!({ "type": "None" }), "a PUT replaces everything");
    let list = format!("{}/providers/Microsoft.App/containerApps", cloud.subscription());
    let listed = cloud.admin(Method::GET, &list, VERSION, None).await;
    assert_eq!(listed.body["value"], json!([bare.body]));
    let deleted = cloud.admin(Method::DELETE, &id(&cloud), VERSION, None).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert!(cloud.administration.attachments().await.unwrap().is_empty());
}

#[tokio::test]
async fn of_its_secrets_only_the_names_are_kept() {
    let cloud = Cloud::start().await;
    let secrets = json!([
        { "name": "password", "value": "hunter2" },
        { "name": "there", "keyVaultUrl": "https://v/secrets/s", "identity": "system" },
    ]);
    let properties = json!({
        "managedEnvironmentId": "/e",
        "configuration": { "secrets": secrets, "ingress": { "external": true } },
        "template": { "containers": [{ "name": "c", "image": "i", "env": [{ "name": "P", "secretRef": "password" }] }] },
    });
    let made = put(&cloud, None, properties).await;
    assert!(!made.body.to_string().contains("hunter2"), "{}", made.body);
    let configuration = &made.body["properties"]["configuration"];
    assert_eq!(
        configuration["ingress"]["fqdn"],
        "app-1.local.azurecontainerapps.keycard.localhost"
    );
    let path = format!("{}/listSecrets", id(&cloud));
    let listed = cloud.admin(Method::POST, &path, VERSION, None).await;
    let names = json!([
        { "name": "password" },
        { "name": "there", "keyVaultUrl": "https://v/secrets/s", "identity": "system" },
    ]);
    assert_eq!(listed.body["value"], names);

    // az assigns an identity by a PATCH that names nothing else.
    cloud.put_identity("aaa").await;
    let patch = json!({ "identity": cloud.identity_block(false, &["aaa"]) });
    let patched = cloud.admin(Method::PATCH, &id(&cloud), VERSION, Some(patch)).await;
    assert_eq!(patched.body["identity"]["type"], "UserAssigned");
    assert_eq!(patched.body["properties"], made.body["properties"]);
    put(&cloud, None, json!({})).await;
    let empty = cloud.admin(Method::POST, &path, VERSION, None).await;
    assert_eq!(empty.body, json!({ "value": [] }));
}

#[tokio::test]
async fn attaching_to_an_app_needs_a_right_on_the_identity() {
    let cloud = Cloud::start().await;
    cloud.put_identity("aaa").await;
    cloud.put_vm("actor", true, &[]).await;
    let token = cloud.vm_token("actor", ARM_AUDIENCE, "").await;
    let actor = claims(&token)["oid"].as_str().unwrap().to_owned();
    put(&cloud, None, json!({})).await;
    cloud.grant(&id(&cloud), OWNER, &actor).await;
    let ask = async || {
        let body =
            json!({ "location": "local", "identity": cloud.identity_block(false, &["aaa"]) });
        cloud.arm(Some(&token), Method::PUT, &id(&cloud), VERSION, Some(body)).await
    };
    let refused = ask().await;
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (StatusCode::FORBIDDEN, &json!("LinkedAuthorizationFailed"))
    );
    cloud.grant(&cloud.identity_id("aaa"), IDENTITY_OPERATOR, &actor).await;
    assert_eq!(ask().await.status, StatusCode::OK);
}
