//! Sites and their slots: azure-semantics 1.7, 7.1 and checklist 76; az-cli-calls 3.7.

use std::process::Command;

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Cloud, GRAPH_AUDIENCE, claims};
use crate::restart::Up;

const VERSION: &str = "2025-05-01";
const QUERY: &str = "api-version=2019-08-01&resource=https://vault.azure.net";

async fn put(cloud: &Cloud, id: &str, system: bool, identities: &[&str]) -> Value {
    let identity = cloud.identity_block(system, identities);
    cloud.put(id, VERSION, json!({ "location": "local", "identity": identity })).await
}

async fn post(cloud: &Cloud, path: &str) -> StatusCode {
    cloud.admin(Method::POST, path, VERSION, None).await.status
}

async fn get(cloud: &Cloud, path: &str) -> Answer {
    cloud.admin(Method::GET, path, VERSION, None).await
}

/// Address and secret of the resource's endpoint.
async fn endpoint(cloud: &Cloud, id: &str) -> (String, String) {
    let attachment = cloud.attachment(id).await;
    assert_eq!(attachment["kind"], "app-service");
    let text = |member: &str| attachment[member].as_str().unwrap().to_owned();
    (text("url"), text("header"))
}

async fn ask(cloud: &Cloud, (url, secret): &(String, String)) -> Answer {
    cloud.get(&format!("{url}?{QUERY}"), &[("X-IDENTITY-HEADER", secret)]).await
}

/// The principal as the directory shows it.
async fn principal(cloud: &Cloud, id: &str) -> Answer {
    let token = cloud.admin_token(GRAPH_AUDIENCE).await;
    cloud.graph(Some(&token), Method::GET, &format!("/servicePrincipals/{id}"), None).await
}

fn principal_id(resource: &Value) -> String {
    resource["identity"]["principalId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_slot_has_an_identity_and_an_endpoint_of_its_own() {
    let cloud = Cloud::start().await;
    let site = cloud.site_id("app-1");
    let slot = format!("{site}/slots/staging");
    let orphan =
        cloud.admin(Method::PUT, &slot, VERSION, Some(json!({ "location": "local" }))).await;
    assert_eq!(
        (orphan.status, &orphan.body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("ParentResourceNotFound"))
    );
    assert_eq!(get(&cloud, &format!("{site}/slots")).await.status, StatusCode::NOT_FOUND);
    let of_site = principal_id(&put(&cloud, &site, true, &[]).await);
    let shown = put(&cloud, &slot, true, &[]).await;
    let of_slot = principal_id(&shown);
    assert_ne!(of_site, of_slot);
    assert_eq!(
        (&shown["name"], &shown["type"]),
        (&json!("app-1/staging"), &json!("Microsoft.Web/sites/slots"))
    );
    assert_eq!(principal(&cloud, &of_slot).await.body["displayName"], "app-1/slots/staging");
    let answer = ask(&cloud, &endpoint(&cloud, &slot).await).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
    assert_eq!(claims(&token)["oid"], of_slot);
    let listed = get(&cloud, &format!("{site}/slots")).await;
    assert_eq!(listed.body["value"][0]["id"], slot);
    assert_eq!(listed.body["value"].as_array().unwrap().len(), 1);
    let sites = get(&cloud, &format!("{}/providers/Microsoft.Web/sites", cloud.group())).await;
    assert_eq!(sites.body["value"].as_array().unwrap().len(), 1, "a slot is no site");

    let changed = cloud
        .admin(Method::PATCH, &slot, VERSION, Some(json!({ "identity": { "type": "None" } })))
        .await;
    assert!(changed.body.get("identity").is_none(), "{}", changed.body);
    assert_eq!(principal(&cloud, &of_slot).await.status, StatusCode::NOT_FOUND);
    assert_eq!(principal(&cloud, &of_site).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_deleted_site_takes_its_slots_and_their_principals_along() {
    let cloud = Cloud::start().await;
    let site = cloud.site_id("app-1");
    let slot = format!("{site}/slots/staging");
    let of_site = principal_id(&put(&cloud, &site, true, &[]).await);
    let of_slot = principal_id(&put(&cloud, &slot, true, &[]).await);
    assert_eq!(cloud.admin(Method::DELETE, &site, VERSION, None).await.status, StatusCode::OK);
    for gone in [&of_site, &of_slot] {
        assert_eq!(principal(&cloud, gone).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(get(&cloud, &slot).await.status, StatusCode::NOT_FOUND);
    assert!(cloud.administration.attachments().await.unwrap().is_empty());
    assert_eq!(
        cloud.admin(Method::DELETE, &site, VERSION, None).await.status,
        StatusCode::NO_CONTENT
    );
    put(&cloud, &site, false, &[]).await;
    assert_ne!(principal_id(&put(&cloud, &slot, true, &[]).await), of_slot);
}

/// 76
#[tokio::test]
async fn a_restart_changes_the_secret_and_a_stopped_site_gets_no_tokens() {
    let cloud = Cloud::start().await;
    let site = cloud.site_id("app-1");
    let slot = format!("{site}/slots/staging");
    put(&cloud, &site, true, &[]).await;
    put(&cloud, &slot, true, &[]).await;
    for id in [&site, &slot] {
        let before = endpoint(&cloud, id).await;
        assert_eq!(ask(&cloud, &before).await.status, StatusCode::OK);
        assert_eq!(post(&cloud, &format!("{id}/restart")).await, StatusCode::OK);
        let after = endpoint(&cloud, id).await;
        assert_eq!(before.0, after.0, "the address stays");
        assert_ne!(before.1, after.1, "the secret does not");
        assert_eq!(ask(&cloud, &before).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&cloud, &after).await.status, StatusCode::OK);

        assert_eq!(post(&cloud, &format!("{id}/stop")).await, StatusCode::OK);
        let stopped = get(&cloud, id).await;
        assert_eq!(stopped.body["properties"]["state"], "Stopped");
        assert!(stopped.body["identity"]["principalId"].is_string(), "the identity stays");
        assert!(ask(&cloud, &endpoint(&cloud, id).await).await.status.is_client_error());
        assert_eq!(post(&cloud, &format!("{id}/start")).await, StatusCode::OK);
        let started = endpoint(&cloud, id).await;
        assert_ne!(started.1, after.1);
        assert_eq!(ask(&cloud, &started).await.status, StatusCode::OK);
    }
    let missing = format!("{}/restart", cloud.site_id("missing"));
    assert_eq!(post(&cloud, &missing).await, StatusCode::NOT_FOUND);
}

/// az reads the site, and puts the whole of it: what it leaves out goes, keys come in lower case.
#[tokio::test]
async fn az_assigns_and_removes_identities_by_putting_the_whole_site() {
    let cloud = Cloud::start().await;
    for name in ["aaa", "bbb"] {
        cloud.put_identity(name).await;
    }
    let site = cloud.site_id("func-1");
    let body = json!({
        "location": "local",
        "kind": "functionapp",
        "identity": cloud.identity_block(true, &["aaa", "bbb"]),
        "properties": { "serverFarmId": "/plans/p1", "httpsOnly": true },
    });
    let made = cloud.put(&site, VERSION, body).await;
    let mut whole = get(&cloud, &site).await.body;
    let remaining = cloud.identity_id("aaa").to_lowercase();
    whole["identity"]["userAssignedIdentities"] = json!({ remaining: {} });
    let put = cloud.put(&site, VERSION, whole).await;
    let map = put["identity"]["userAssignedIdentities"].as_object().unwrap();
    assert_eq!(map.len(), 1);
    assert!(map.keys().all(|id| id.ends_with("/userAssignedIdentities/aaa")), "{map:?}");
    assert_eq!(put["identity"]["principalId"], made["identity"]["principalId"]);
    assert_eq!(put["kind"], "functionapp");
    assert_eq!(put["properties"], made["properties"], "nothing else changes");
    let mut without = get(&cloud, &site).await.body;
    without.as_object_mut().unwrap().remove("identity");
    assert!(cloud.put(&site, VERSION, without).await.get("identity").is_none());
}

#[tokio::test]
async fn a_site_is_shown_with_its_host_name_state_and_etag() {
    let cloud = Cloud::start().await;
    let site = cloud.site_id("App-1");
    put(&cloud, &site, false, &[]).await;
    let shown = get(&cloud, &site).await;
    let properties = &shown.body["properties"];
    let host = "app-1.azurewebsites.keycard.localhost";
    assert_eq!(properties["defaultHostName"], host);
    assert_eq!(properties["hostNames"], json!([host]));
    assert_eq!(properties["state"], "Running");
    assert_eq!((&shown.body["kind"], &shown.body["name"]), (&json!("app"), &json!("App-1")));
    let etag = |answer: &Answer| answer.headers["etag"].clone();
    assert_eq!(etag(&shown), etag(&get(&cloud, &site).await));
    let body = json!({ "location": "local", "tags": { "a": "b" } });
    let changed = cloud.admin(Method::PUT, &site, VERSION, Some(body)).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(etag(&shown), etag(&changed));
    assert_eq!(etag(&changed), etag(&get(&cloud, &site).await));
}

#[tokio::test]
async fn a_sites_name_is_the_only_one_in_the_cloud() {
    let cloud = Cloud::start().await;
    let site = cloud.site_id("app-1");
    put(&cloud, &site, false, &[]).await;
    put(&cloud, &site, false, &[]).await;
    let group = format!("{}/resourceGroups/rg2", cloud.subscription());
    cloud.put(&group, "2024-11-01", json!({ "location": "local" })).await;
    let twin = format!("{group}/providers/Microsoft.Web/sites/APP-1");
    let body = || Some(json!({ "location": "local" }));
    let refused = cloud.admin(Method::PUT, &twin, VERSION, body()).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(
        refused.body["error"],
        json!({ "code": "Conflict", "message": "Website with given name APP-1 already exists." })
    );
    let check = format!("{}/providers/Microsoft.Web/checknameavailability", cloud.subscription());
    for (name, reason) in [("app-1", "AlreadyExists"), ("app-2", ""), ("a.b", "Invalid")] {
        let body = Some(json!({ "name": name, "type": "Microsoft.Web/sites" }));
        let answer = cloud.admin(Method::POST, &check, VERSION, body).await;
        assert_eq!(answer.body["reason"], reason, "{name} {}", answer.body);
        assert_eq!(answer.body["nameAvailable"], reason.is_empty());
    }
    cloud.admin(Method::DELETE, &site, VERSION, None).await;
    assert_eq!(cloud.admin(Method::PUT, &twin, VERSION, body()).await.status, StatusCode::OK);
    for name in ["a", "a.b", "-ab", "ab-"] {
        let refused = cloud.admin(Method::PUT, &cloud.site_id(name), VERSION, body()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name}");
    }
}

#[tokio::test]
async fn configuration_is_shown_and_settings_are_neither_kept_nor_pretended() {
    let cloud = Cloud::start().await;
    let site = cloud.site_id("app-1");
    let settings = json!([{ "name": "PASSWORD", "value": "hunter2" }]);
    let body = json!({ "location": "local", "properties": {
        "siteConfig": { "alwaysOn": true, "appSettings": settings, "connectionStrings": settings },
    }});
    cloud.put(&site, VERSION, body).await;
    put(&cloud, &format!("{site}/slots/staging"), false, &[]).await;
    let web = get(&cloud, &format!("{site}/config/web")).await;
    assert_eq!(web.status, StatusCode::OK, "{}", web.body);
    assert_eq!(web.body["properties"]["alwaysOn"], true);
    assert_eq!(web.body["properties"]["minTlsVersion"], "1.2");
    assert!(!web.body.to_string().contains("hunter2"), "{}", web.body);
    let all = get(&cloud, &format!("{site}/config")).await;
    assert_eq!(all.body["value"], json!([web.body]));
    let of_slot = get(&cloud, &format!("{site}/slots/staging/config/web")).await;
    assert_eq!(of_slot.body["properties"]["alwaysOn"], false);
    for part in ["", "/slots/staging"] {
        let path = format!("{site}{part}/publishxml");
        let profiles = cloud.admin(Method::POST, &path, VERSION, None).await;
        assert_eq!(profiles.status, StatusCode::OK);
        assert_eq!(profiles.headers["content-type"], "application/xml");
    }
    let (put, post) = (Method::PUT, Method::POST);
    for (method, path) in [
        (put.clone(), "config/appsettings"),
        (post.clone(), "config/appsettings/list"),
        (put, "config/connectionstrings"),
        (post, "config/connectionstrings/list"),
    ] {
        let path = format!("{site}/{path}");
        let body = (method == Method::PUT).then(|| json!({ "properties": { "A": "hunter2" } }));
        let refused = cloud.admin(method, &path, VERSION, body).await;
        assert_eq!(
            (refused.status, &refused.body["error"]["code"]),
            (StatusCode::NOT_IMPLEMENTED, &json!("NotImplemented")),
            "{path}"
        );
    }
}

/// What is kept of every further kind is read again, and a program can run as what has an endpoint, by its name.
#[tokio::test]
async fn a_restart_of_keycard_keeps_slots_apps_machines_and_clusters() {
    let directory = TempDir::new().unwrap();
    let up = Up::start(directory.path()).await;
    let group = format!("/subscriptions/{}/resourceGroups/rg1", up.description.subscription_id);
    let ask = async |up: &Up, method: Method, path: &str, body: Option<Value>| {
        let path = format!("{path}?api-version={VERSION}");
        up.administration.arm(method, &path, body.as_ref()).await.unwrap().body
    };
    let with = |properties: Value| {
        let identity = json!({ "type": "SystemAssigned" });
        Some(json!({ "location": "local", "identity": identity, "properties": properties }))
    };
    ask(&up, Method::PUT, &group, Some(json!({ "location": "local" }))).await;
    let kinds = [
        ("Microsoft.Web/sites/app-1", json!({})),
        ("Microsoft.Web/sites/app-1/slots/staging", json!({})),
        ("Microsoft.App/containerApps/app-2", json!({})),
        ("Microsoft.HybridCompute/machines/m1", json!({ "status": "Connected" })),
        (
            "Microsoft.ContainerService/managedClusters/aks1",
            json!({ "agentPoolProfiles": [{ "name": "np1" }] }),
        ),
    ];
    let mut before = Vec::new();
    for (tail, properties) in kinds {
        let path = format!("{group}/providers/{tail}");
        let made = ask(&up, Method::PUT, &path, with(properties)).await;
        assert!(made["identity"]["principalId"].is_string(), "{made}");
        before.push((path, made));
    }
    let named = async |up: &Up| -> Vec<String> {
        let all = up.administration.attachments().await.unwrap();
        all.iter().map(|it| it["resourceId"].as_str().unwrap().to_owned()).collect()
    };
    let attached = named(&up).await;
    assert_eq!(attached.len(), 5, "site, slot, app, machine and node: {attached:?}");
    up.kill();

    let up = Up::start(directory.path()).await;
    for (path, made) in &before {
        assert_eq!(ask(&up, Method::GET, path, None).await, *made, "{path}");
    }
    assert_eq!(named(&up).await, attached);
    for name in ["app-1", "app-1/slots/staging", "app-2"] {
        let shown = Command::new(env!("CARGO_BIN_EXE_keycard"))
            .args(["env", "--output", "json", "--as", name])
            .env("KEYCARD_HOME", directory.path().join("home"))
            .output()
            .unwrap();
        let variables: Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert!(variables["IDENTITY_ENDPOINT"].is_string(), "{name} {variables}");
        assert!(variables["IDENTITY_HEADER"].is_string(), "{name}");
    }
    up.kill();
}
