//! Diagnostic settings: azure-semantics 8.1, checklist 79.

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, OWNER};

const VERSION: &str = "2021-05-01-preview";
const MONITORING_CONTRIBUTOR: &str = "749f88d5-cbae-40b8-bcfc-e573ddc772fa";

fn path(source: &str, name: &str) -> String {
    format!("{source}/providers/Microsoft.Insights/diagnosticSettings/{name}")
}

fn workspace(cloud: &Cloud, name: &str) -> String {
    format!("{}/providers/Microsoft.OperationalInsights/workspaces/{name}", cloud.group())
}

fn account(cloud: &Cloud) -> String {
    format!("{}/providers/Microsoft.Storage/storageAccounts/logs", cloud.group())
}

/// A setting that sends these categories to the workspace with this name.
fn to_workspace(cloud: &Cloud, name: &str, logs: &[&str]) -> Value {
    let log = |category: &&str| json!({ "category": category, "enabled": true });
    json!({ "properties": {
        "workspaceId": workspace(cloud, name),
        "logs": logs.iter().map(log).collect::<Vec<_>>(),
    }})
}

async fn put(cloud: &Cloud, path: &str, body: Value) -> Answer {
    cloud.admin(Method::PUT, path, VERSION, Some(body)).await
}

async fn get(cloud: &Cloud, path: &str) -> Answer {
    cloud.admin(Method::GET, path, VERSION, None).await
}

/// What is refused, by status, code and message.
fn refusal(answer: &Answer) -> (u16, &str, &str) {
    let error = &answer.body["error"];
    let text = |member: &str| error[member].as_str().unwrap_or_default();
    (answer.status.as_u16(), text("code"), text("message"))
}

fn names(answer: &Answer) -> Vec<&str> {
    let all = answer.body["value"].as_array().unwrap();
    all.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// The token of a machine's own identity, which has these roles at the group.
async fn machine(cloud: &Cloud, name: &str, roles: &[&str]) -> Secret {
    let made = cloud.put_vm(name, true, &[]).await;
    for role in roles {
        let principal = made["identity"]["principalId"].as_str().unwrap();
        cloud.grant(&cloud.group(), role, principal).await;
    }
    cloud.vm_token(name, ARM_AUDIENCE, "").await
}

#[tokio::test]
async fn a_setting_is_kept_in_azures_shape_and_deleted() {
    let cloud = Cloud::start().await;
    cloud.put_vault("KV1", true).await;
    let one = path(&cloud.vault_id("kv1"), "D1");
    let body = json!({ "properties": {
        "workspaceId": workspace(&cloud, "w"),
        "storageAccountId": "",
        "metrics": [{ "category": "allmetrics", "enabled": true, "retentionPolicy": { "enabled": false, "days": 0 } }],
        "logs": [{ "category": "auditevent", "enabled": true }],
    }});
    let made = put(&cloud, &one, body.clone()).await;
    // The client takes nothing but 200.
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let retention = json!({ "enabled": false, "days": 0 });
    let id = cloud.vault_id("kv1").to_ascii_lowercase();
    let shape = json!({
        "id": format!("{id}/providers/microsoft.insights/diagnosticSettings/D1"),
        "type": "Microsoft.Insights/diagnosticSettings",
        "name": "D1",
        "location": null, "kind": null, "tags": null, "identity": null,
        "properties": {
            "storageAccountId": null,
            "serviceBusRuleId": null,
            "workspaceId": workspace(&cloud, "w"),
            "eventHubAuthorizationRuleId": null,
            "eventHubName": null,
            "metrics": [{ "category": "AllMetrics", "enabled": true, "retentionPolicy": retention }],
            "logs": [{ "category": "AuditEvent", "categoryGroup": null, "enabled": true, "retentionPolicy": retention }],
            "logAnalyticsDestinationType": null,
        },
    });
    assert_eq!(made.body, shape);
    assert_eq!(get(&cloud, &path(&cloud.vault_id("kv1"), "d1")).await.body, shape);
    let listed = get(&cloud, path(&cloud.vault_id("kv1"), "").trim_end_matches('/')).await;
    assert_eq!(listed.body, json!({ "value": [shape] }));
    assert_eq!(put(&cloud, &one, body).await.status, StatusCode::OK);
    for status in [StatusCode::OK, StatusCode::NO_CONTENT] {
        assert_eq!(cloud.admin(Method::DELETE, &one, VERSION, None).await.status, status);
    }
    assert_eq!(get(&cloud, &one).await.status, StatusCode::NOT_FOUND);
}

/// 79
#[tokio::test]
async fn what_breaks_the_rules_is_refused() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    let vault = cloud.vault_id("kv1");
    let nowhere =
        json!({ "properties": { "logs": [{ "category": "AuditEvent", "enabled": true }] } });
    let sink = "At least one data sink needs to be specified.";
    let answer = put(&cloud, &path(&vault, "d"), nowhere).await;
    assert_eq!(refusal(&answer), (400, "BadRequest", sink));
    for unknown in ["Unknown", "AllMetrics"] {
        let answer = put(&cloud, &path(&vault, "d"), to_workspace(&cloud, "w", &[unknown])).await;
        let text = format!("Category '{unknown}' is not supported.");
        assert_eq!(refusal(&answer), (400, "BadRequest", text.as_str()));
    }
    let mut wrong = to_workspace(&cloud, "w", &["AuditEvent"]);
    wrong["properties"]["storageAccountId"] = json!(workspace(&cloud, "w"));
    assert_eq!(put(&cloud, &path(&vault, "d"), wrong).await.status, StatusCode::BAD_REQUEST);
    let mut kept = to_workspace(&cloud, "w", &["AuditEvent"]);
    kept["properties"]["logs"][0]["retentionPolicy"] = json!({ "enabled": true, "days": 7 });
    assert_eq!(put(&cloud, &path(&vault, "d"), kept).await.status, StatusCode::BAD_REQUEST);
    let mut partner = to_workspace(&cloud, "w", &["AuditEvent"]);
    partner["properties"]["marketplacePartnerId"] = json!(account(&cloud));
    assert_eq!(put(&cloud, &path(&vault, "d"), partner).await.status, StatusCode::NOT_IMPLEMENTED);
    // The same category to the same place, by its own name and by its group's.
    let first = to_workspace(&cloud, "w", &["AuditEvent"]);
    assert_eq!(put(&cloud, &path(&vault, "first"), first).await.status, StatusCode::OK);
    let group = json!({ "properties": {
        "workspaceId": workspace(&cloud, "W"),
        "logs": [{ "categoryGroup": "allLogs", "enabled": true }],
    }});
    let twice = put(&cloud, &path(&vault, "second"), group).await;
    assert_eq!((refusal(&twice).0, refusal(&twice).1), (409, "Conflict"), "{}", twice.body);
    let other = to_workspace(&cloud, "w2", &["AuditEvent"]);
    assert_eq!(put(&cloud, &path(&vault, "second"), other).await.status, StatusCode::OK);
    let listed = get(&cloud, path(&vault, "").trim_end_matches('/')).await;
    assert_eq!(names(&listed), ["first", "second"]);
}

#[tokio::test]
async fn of_six_settings_at_once_five_are_kept() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let vm = cloud.vm_id("vm1");
    let requests = ["a", "b", "c", "d", "e", "f"]
        .map(|name| (path(&vm, name), to_workspace(&cloud, name, &[])))
        .map(|(path, body)| {
            let url =
                format!("{}{path}?api-version={VERSION}", cloud.description().endpoints.loopback);
            keycard::client::request(
                Method::PUT,
                &url,
                Some(cloud.administration.token()),
                Some(&body),
            )
        });
    let mut asking = tokio::task::JoinSet::new();
    for request in requests {
        let client = cloud.client.clone();
        asking.spawn(async move { client.send(request).await.unwrap() });
    }
    let answers = asking.join_all().await;
    let refused: Vec<_> = answers.iter().filter(|answer| !answer.status.is_success()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refusal(refused[0]).0, 400, "{}", refused[0].body);
    let listed = get(&cloud, path(&vm, "").trim_end_matches('/')).await;
    assert_eq!(names(&listed).len(), 5);
}

/// 9.5: who may make settings still needs the keys of the place.
#[tokio::test]
async fn sending_records_takes_the_keys_of_the_place() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    let token = machine(&cloud, "vm1", &[MONITORING_CONTRIBUTOR]).await;
    let one = path(&cloud.vault_id("kv1"), "d1");
    let send = async |path: &str, body: Value| {
        cloud.arm(Some(&token), Method::PUT, path, VERSION, Some(body)).await
    };
    let to_account = json!({ "properties": { "storageAccountId": account(&cloud) } });
    let refused = send(&one, to_account.clone()).await;
    let (status, code, message) = refusal(&refused);
    assert_eq!((status, code), (403, "LinkedAuthorizationFailed"), "{}", refused.body);
    assert!(message.contains("'Microsoft.Storage/storageAccounts/listKeys/action'"), "{message}");
    assert!(message.contains("'Microsoft.Insights/diagnosticSettings/write'"), "{message}");
    // Its role has the keys of workspaces.
    let taken = send(&one, to_workspace(&cloud, "w", &["AuditEvent"])).await;
    assert_eq!(taken.status, StatusCode::OK, "{}", taken.body);
    let elsewhere = json!({ "properties": { "workspaceId":
        "/subscriptions/99999999-9999-9999-9999-999999999999/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w" } });
    assert_eq!(refusal(&send(&one, elsewhere.clone()).await).1, "LinkedAuthorizationFailed");
    let administrator = put(&cloud, &one, elsewhere).await;
    assert_eq!(refusal(&administrator).1, "LinkedAuthorizationFailed", "{}", administrator.body);
    // Who may make no settings hears nothing of what there is.
    let stranger = machine(&cloud, "vm2", &[]).await;
    for resource in [cloud.vault_id("kv1"), cloud.vault_id("none")] {
        for method in [Method::PUT, Method::GET, Method::DELETE] {
            let body = (method == Method::PUT).then(|| to_account.clone());
            let answer =
                cloud.arm(Some(&stranger), method, &path(&resource, "d1"), VERSION, body).await;
            assert_eq!(refusal(&answer).1, "AuthorizationFailed", "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn settings_go_with_their_resource() {
    let cloud = Cloud::start().await;
    let sources = [cloud.vm_id("vm1"), cloud.identity_id("id1"), cloud.vault_id("kv1")];
    let make = async || {
        cloud.put_vm("vm1", true, &[]).await;
        cloud.put_identity("id1").await;
        cloud.put_vault("kv1", true).await;
    };
    make().await;
    for source in &sources {
        let made = put(&cloud, &path(source, "d1"), to_workspace(&cloud, "w", &[])).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    }
    for source in &sources {
        let gone = cloud.admin(Method::DELETE, source, "2024-07-01", None).await;
        assert!(gone.status.is_success(), "{}", gone.body);
        let answer = get(&cloud, &path(source, "d1")).await;
        assert_eq!(refusal(&answer).1, "ResourceNotFound", "{}", answer.body);
        let answer = put(&cloud, &path(source, "d1"), to_workspace(&cloud, "w", &[])).await;
        assert_eq!(refusal(&answer).1, "ResourceNotFound", "{}", answer.body);
    }
    let purge = format!(
        "{}/providers/Microsoft.KeyVault/locations/local/deletedVaults/kv1/purge",
        cloud.subscription()
    );
    cloud.admin(Method::POST, &purge, "2023-07-01", None).await;
    make().await;
    for source in &sources {
        let listed = get(&cloud, path(source, "").trim_end_matches('/')).await;
        assert_eq!(listed.body, json!({ "value": [] }), "{source}");
    }
}

#[tokio::test]
async fn a_subscription_a_management_group_and_the_directory_have_settings_of_their_own() {
    let cloud = Cloud::start().await;
    cloud.govern().await;
    let directory = "/providers/microsoft.aadiam/diagnosticSettings/d1";
    let places = [
        (path(&cloud.subscription(), "d1"), "Administrative"),
        (path(&cloud.root_group(), "d1"), "Policy"),
        (directory.to_owned(), "ManagedIdentitySignInLogs"),
    ];
    for (place, category) in &places {
        let made = put(&cloud, place, to_workspace(&cloud, "w", &[category])).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.body);
        assert_eq!(made.body["properties"]["logs"][0]["category"], *category);
        assert_eq!(get(&cloud, place).await.body, made.body);
        let refused = put(&cloud, place, to_workspace(&cloud, "w", &["AuditEvent"])).await;
        assert_eq!(refusal(&refused).0, 400, "{}", refused.body);
        let all = place.trim_end_matches("/d1");
        assert_eq!(names(&get(&cloud, all).await), ["d1"]);
    }
    // The directory's are for its administrators, whatever role of resources somebody has.
    let owner = machine(&cloud, "vm1", &[OWNER]).await;
    let body = to_workspace(&cloud, "w", &["AuditLogs"]);
    let refused = cloud.arm(Some(&owner), Method::PUT, directory, VERSION, Some(body)).await;
    assert_eq!(refusal(&refused).1, "AuthorizationFailed", "{}", refused.body);
    let gone = cloud.admin(Method::DELETE, directory, VERSION, None).await;
    assert_eq!(gone.status, StatusCode::OK);
    // A resource group has none, nor has what is not there.
    let group = put(&cloud, &path(&cloud.group(), "d1"), to_workspace(&cloud, "w", &[])).await;
    assert_eq!(refusal(&group).1, "ResourceTypeNotSupported", "{}", group.body);
    let unknown = format!("{}/providers/Microsoft.Logic/workflows/w", cloud.group());
    assert_eq!(get(&cloud, &path(&unknown, "d1")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_categories_are_those_of_the_type() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    cloud.put_vm("vm1", true, &[]).await;
    let of = |source: &str, name: &str| {
        format!("{source}/providers/Microsoft.Insights/diagnosticSettingsCategories{name}")
    };
    let vault = cloud.vault_id("kv1");
    let listed = get(&cloud, &of(&vault, "")).await;
    assert_eq!(names(&listed), ["AuditEvent", "AzurePolicyEvaluationDetails", "AllMetrics"]);
    let audit = get(&cloud, &of(&vault, "/auditevent")).await;
    assert_eq!(audit.body, listed.body["value"][0]);
    assert_eq!(
        audit.body["properties"],
        json!({ "categoryType": "Logs", "categoryGroups": ["audit", "allLogs"] })
    );
    let metrics = json!({ "categoryType": "Metrics" });
    assert_eq!(listed.body["value"][2]["properties"], metrics);
    assert_eq!(names(&get(&cloud, &of(&cloud.vm_id("vm1"), "")).await), ["AllMetrics"]);
    assert_eq!(get(&cloud, &of(&vault, "/other")).await.status, StatusCode::NOT_FOUND);
    let directory = "/providers/microsoft.aadiam/diagnosticSettingsCategories";
    assert!(names(&get(&cloud, directory).await).contains(&"ManagedIdentitySignInLogs"));
    let one = get(&cloud, &format!("{directory}/AuditLogs")).await;
    assert_eq!(one.body["properties"]["categoryType"], "Logs", "{}", one.body);
}
