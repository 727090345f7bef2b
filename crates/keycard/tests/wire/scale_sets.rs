//! Scale sets: azure-semantics checklist 26 and 27, and what holds of a set and its instances as it does of a VM.

use std::collections::BTreeSet;
use std::process::Command;

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::secret::Secret;
use keycard_domain::limits::Profile;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    ARM_AUDIENCE, Choice, Cloud, GRAPH_AUDIENCE, READER, SECRETS_USER, VM_CONTRIBUTOR, claims,
};
use crate::restart::Up;

const VERSION: &str = "2024-11-01";
const QUERY: &str = "api-version=2018-02-01&resource=https://vault.azure.net";

fn set_id(cloud: &Cloud, name: &str) -> String {
    format!("{}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}", cloud.group())
}

fn instance_id(cloud: &Cloud, set: &str, number: u32) -> String {
    format!("{}/virtualMachines/{number}", set_id(cloud, set))
}

async fn put_set(
    cloud: &Cloud,
    name: &str,
    capacity: u32,
    (system, identities): (bool, &[&str]),
) -> Value {
    let body = json!({
        "location": "local",
        "sku": { "name": "Standard_B1s", "tier": "Standard", "capacity": capacity },
        "identity": cloud.identity_block(system, identities),
        "properties": { "upgradePolicy": { "mode": "Manual" } },
    });
    cloud.put(&set_id(cloud, name), VERSION, body).await
}

async fn patch_set(cloud: &Cloud, name: &str, body: Value) -> Answer {
    cloud.admin(Method::PATCH, &set_id(cloud, name), VERSION, Some(body)).await
}

async fn scale(cloud: &Cloud, name: &str, capacity: u32) {
    let answer = patch_set(cloud, name, json!({ "sku": { "capacity": capacity } })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["sku"]["capacity"], capacity);
}

async fn post(cloud: &Cloud, path: &str, body: Option<Value>) -> Answer {
    cloud.admin(Method::POST, path, VERSION, body).await
}

/// The numbers of a set's instances, in the order in which they are listed.
async fn numbers(cloud: &Cloud, set: &str) -> Vec<String> {
    let path = format!("{}/virtualMachines", set_id(cloud, set));
    let list = cloud.admin(Method::GET, &path, VERSION, None).await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.body);
    let items = list.body["value"].as_array().unwrap();
    items.iter().map(|item| item["instanceId"].as_str().unwrap().to_owned()).collect()
}

/// What an instance's metadata endpoint answers.
async fn metadata(cloud: &Cloud, set: &str, number: u32, query: &str) -> Answer {
    let base = cloud.attachment(&instance_id(cloud, set, number)).await;
    let base = base["url"].as_str().unwrap();
    let url = format!("{base}/metadata/identity/oauth2/token?{query}");
    cloud.get(&url, &[("Metadata", "true")]).await
}

async fn token(cloud: &Cloud, set: &str, number: u32) -> Secret {
    let answer = metadata(cloud, set, number, QUERY).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    Secret::new(answer.body["access_token"].as_str().unwrap().to_owned())
}

/// The resources that have a local endpoint, by their last three segments.
async fn attached(cloud: &Cloud) -> BTreeSet<String> {
    let all = cloud.administration.attachments().await.unwrap();
    let tail = |item: &Value| {
        let id = item["resourceId"].as_str().unwrap().to_owned();
        let segments: Vec<&str> = id.rsplit('/').take(3).collect();
        segments.into_iter().rev().collect::<Vec<_>>().join("/")
    };
    all.iter().map(tail).collect()
}

/// How many credentials the directory shows of a principal.
async fn credentials(cloud: &Cloud, principal: &str) -> usize {
    let token = cloud.admin_token(GRAPH_AUDIENCE).await;
    let path = format!("/servicePrincipals/{principal}");
    let shown = cloud.graph(Some(&token), Method::GET, &path, None).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.body);
    shown.body["keyCredentials"].as_array().unwrap().len()
}

/// A vault with a secret that a principal may read.
async fn secret_for(cloud: &Cloud, principal: &str) -> String {
    let own = cloud.open_vault("kv1").await;
    let url = cloud.vault_url("kv1", "/secrets/s1?api-version=7.4");
    cloud.vault(Some(&own), Method::PUT, &url, Some(json!({ "value": "x" }))).await;
    cloud.grant(&cloud.vault_id("kv1"), SECRETS_USER, principal).await;
    url
}

async fn status(cloud: &Cloud, token: &Secret, url: &str) -> u16 {
    cloud.vault(Some(token), Method::GET, url, None).await.status.as_u16()
}

fn principal(set: &Value) -> String {
    set["identity"]["principalId"].as_str().unwrap().to_owned()
}

/// 27
#[tokio::test]
async fn every_instance_gives_tokens_of_the_sets_own_identity_and_says_where_from() {
    let cloud = Cloud::start().await;
    let set = put_set(&cloud, "web", 3, (true, &[])).await;
    let lower = |id: String| id.replace("/resourceGroups/", "/resourcegroups/");
    for number in 0..3 {
        let claims = claims(&token(&cloud, "web", number).await);
        assert_eq!(claims["oid"], principal(&set), "{number}");
        assert_eq!(claims["xms_mirid"], lower(set_id(&cloud, "web")), "{number}");
        assert_eq!(claims["xms_az_rid"], lower(instance_id(&cloud, "web", number)), "{number}");
    }
    assert_eq!(credentials(&cloud, &principal(&set)).await, 3, "each host has a key of its own");
    for identity in [set_id(&cloud, "web"), instance_id(&cloud, "web", 2)] {
        let path = format!("{}/providers/Keycard.Local/explainAccess", cloud.group());
        let question = json!({ "identity": identity, "action": "Microsoft.Compute/disks/read" });
        let told = cloud.admin(Method::POST, &path, "2026-11-01", Some(question)).await;
        assert_eq!(told.body["identity"]["principalId"], principal(&set), "{identity}");
    }
    let named = format!("{QUERY}&msi_res_id={}", set_id(&cloud, "web"));
    assert_eq!(metadata(&cloud, "web", 1, &named).await.status, StatusCode::OK);
    let by_itself = format!("{QUERY}&msi_res_id={}", instance_id(&cloud, "web", 1));
    assert_eq!(metadata(&cloud, "web", 1, &by_itself).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn identities_assigned_to_the_set_are_those_of_every_instance() {
    let cloud = Cloud::start().await;
    let one = cloud.put_identity("mi-1").await;
    let other = cloud.put_identity("mi-2").await;
    put_set(&cloud, "web", 2, (false, &["mi-1", "mi-2"])).await;
    for number in 0..2 {
        assert_eq!(metadata(&cloud, "web", number, QUERY).await.status, StatusCode::BAD_REQUEST);
        for identity in [&one, &other] {
            let client = identity["properties"]["clientId"].as_str().unwrap();
            let answer =
                metadata(&cloud, "web", number, &format!("{QUERY}&client_id={client}")).await;
            assert_eq!(answer.body["client_id"], client, "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_set_is_shown_with_its_capacity_and_its_instances_with_its_identity() {
    let cloud = Cloud::start().await;
    let set = put_set(&cloud, "web", 2, (true, &[])).await;
    let again = cloud.admin(Method::GET, &set_id(&cloud, "web"), VERSION, None).await;
    assert_eq!(again.body, set);
    assert_eq!(set["type"], "Microsoft.Compute/virtualMachineScaleSets");
    assert_eq!(set["sku"], json!({ "name": "Standard_B1s", "tier": "Standard", "capacity": 2 }));
    assert_eq!(set["properties"]["provisioningState"], "Succeeded");
    let path = format!("{}?$expand=instanceView", instance_id(&cloud, "web", 1));
    let instance = cloud.admin(Method::GET, &path, VERSION, None).await.body;
    assert_eq!(instance["id"], instance_id(&cloud, "web", 1));
    assert_eq!((&instance["name"], &instance["instanceId"]), (&json!("web_1"), &json!("1")));
    assert_eq!(instance["type"], "Microsoft.Compute/virtualMachineScaleSets/virtualMachines");
    assert_eq!(instance["identity"], set["identity"]);
    let code = &instance["properties"]["instanceView"]["statuses"][1]["code"];
    assert_eq!(code, "PowerState/running");
    for list in [cloud.group(), cloud.subscription()] {
        let path = format!("{list}/providers/Microsoft.Compute/virtualMachineScaleSets");
        let listed = cloud.admin(Method::GET, &path, VERSION, None).await;
        assert_eq!(listed.body["value"], json!([set]), "{path}");
        let path = format!("{list}/providers/Microsoft.Compute/virtualMachines");
        let machines = cloud.admin(Method::GET, &path, VERSION, None).await;
        assert_eq!(machines.body["value"], json!([]), "an instance is no VM of its own");
    }
}

#[tokio::test]
async fn the_instance_views_tell_who_runs_and_there_is_nothing_to_upgrade() {
    let cloud = Cloud::start().await;
    put_set(&cloud, "web", 3, (true, &[])).await;
    let set = set_id(&cloud, "web");
    let stopped = Some(json!({ "instanceIds": ["2"] }));
    assert_eq!(
        post(&cloud, &format!("{set}/deallocate"), stopped).await.status,
        StatusCode::ACCEPTED
    );
    let view = async |path: &str| {
        let answer = cloud.admin(Method::GET, &format!("{path}/instanceView"), VERSION, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    };
    assert_eq!(
        view(&set).await["virtualMachine"]["statusesSummary"],
        json!([
            { "code": "PowerState/deallocated", "count": 1 },
            { "code": "PowerState/running", "count": 2 },
            { "code": "ProvisioningState/succeeded", "count": 3 },
        ])
    );
    for (number, code) in [(1, "PowerState/running"), (2, "PowerState/deallocated")] {
        let view = view(&instance_id(&cloud, "web", number)).await;
        assert_eq!(view["statuses"][1]["code"], code);
        assert_eq!(view["statuses"][0]["displayStatus"], "Provisioning succeeded");
    }
    let all = Some(json!({ "instanceIds": ["*"] }));
    let upgraded = post(&cloud, &format!("{set}/manualupgrade"), all).await;
    assert_eq!(upgraded.status, StatusCode::OK, "{}", upgraded.body);
}

#[tokio::test]
async fn scaling_makes_new_instances_and_takes_the_newest_away() {
    let cloud = Cloud::start().await;
    put_set(&cloud, "web", 2, (true, &[])).await;
    assert_eq!(numbers(&cloud, "web").await, ["0", "1"]);
    scale(&cloud, "web", 12).await;
    assert_eq!(numbers(&cloud, "web").await.last().unwrap(), "11", "in the order of numbers");
    scale(&cloud, "web", 1).await;
    assert_eq!(
        attached(&cloud).await,
        BTreeSet::from(["web/virtualMachines/0".to_owned()]),
        "the set has no endpoint, and who is gone has none"
    );
    let set = put_set(&cloud, "web", 2, (true, &[])).await;
    assert_eq!(numbers(&cloud, "web").await, ["0", "12"], "no number is given twice");
    let kept = cloud
        .put(&set_id(&cloud, "web"), VERSION, json!({ "location": "local", "properties": {} }))
        .await;
    assert_eq!(kept["sku"]["capacity"], 2, "who says no capacity changes none");
    assert_eq!(kept["identity"], set["identity"]);
    scale(&cloud, "web", 0).await;
    assert!(attached(&cloud).await.is_empty());
    scale(&cloud, "web", 1).await;
    assert_eq!(numbers(&cloud, "web").await, ["13"]);
}

/// As `az vmss scale` and `az vmss update` do: all that was read is sent back with one thing changed.
#[tokio::test]
async fn what_was_read_can_be_put_back() {
    let cloud = Cloud::start().await;
    let identity = cloud.put_identity("mi-1").await;
    let set = put_set(&cloud, "web", 1, (true, &["mi-1"])).await;
    let url = secret_for(&cloud, identity["properties"]["principalId"].as_str().unwrap()).await;
    let named =
        format!("{QUERY}&client_id={}", identity["properties"]["clientId"].as_str().unwrap());
    let answer = metadata(&cloud, "web", 0, &named).await;
    let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
    cloud.clock.advance(time::Duration::seconds(10));
    let mut body = set.clone();
    body["sku"]["capacity"] = json!(2);
    let after = cloud.put(&set_id(&cloud, "web"), VERSION, body).await;
    assert_eq!(numbers(&cloud, "web").await, ["0", "1"]);
    for member in ["identity", "properties", "location"] {
        assert_eq!(after[member], set[member]);
    }
    assert_eq!(after["sku"]["name"], "Standard_B1s");
    assert_eq!(status(&cloud, &token, &url).await, 200, "the assignment is the former one");
}

#[tokio::test]
async fn a_set_has_a_largest_size_and_only_one_orchestration() {
    let cloud = Cloud::start().await;
    let set = set_id(&cloud, "web");
    let put = async |body: Value| {
        let answer = cloud.admin(Method::PUT, &set, VERSION, Some(body)).await;
        let text =
            |member: &str| answer.body["error"][member].as_str().unwrap_or_default().to_owned();
        (answer.status.as_u16(), text("code"), text("message"))
    };
    let sized = |capacity: Value| json!({ "location": "local", "sku": { "capacity": capacity } });
    let (status, code, message) = put(sized(json!(1001))).await;
    assert_eq!((status, code.as_str()), (409, "OperationNotAllowed"));
    assert_eq!(
        message,
        "Unable to create or update Virtual Machine Scale Set 'web' as it exceeds the total limit of '1000' Virtual Machine instances."
    );
    for wrong in [json!(-1), json!("two"), json!(u64::MAX)] {
        let (status, ..) = put(sized(wrong.clone())).await;
        assert!(matches!(status, 400 | 409), "{wrong}: {status}");
    }
    let flexible =
        json!({ "location": "local", "properties": { "orchestrationMode": "Flexible" } });
    let (status, code, _) = put(flexible).await;
    assert_eq!((status, code.as_str()), (501, "NotImplemented"));
    assert_eq!(cloud.admin(Method::GET, &set, VERSION, None).await.status, StatusCode::NOT_FOUND);
}

/// 13, 15 to 20 on a set: the rules of the block are those of VMs.
#[tokio::test]
async fn the_identity_block_of_a_set_follows_the_rules_of_vms() {
    let cloud = Cloud::start().await;
    for name in ["aaa", "bbb"] {
        cloud.put_identity(name).await;
    }
    let (a, b) = (cloud.identity_id("aaa"), cloud.identity_id("bbb"));
    put_set(&cloud, "web", 1, (false, &["aaa"])).await;
    let patch = async |identity: Value| {
        patch_set(&cloud, "web", json!({ "identity": identity })).await.body
    };
    let both = patch(
        json!({ "type": "SystemAssigned,UserAssigned", "userAssignedIdentities": { &b: {} } }),
    )
    .await;
    assert_eq!(both["identity"]["type"], "SystemAssigned, UserAssigned");
    assert_eq!(both["identity"]["userAssignedIdentities"].as_object().unwrap().len(), 2);
    assert_eq!(both["sku"]["capacity"], 1, "a PATCH of the identity scales nothing");
    let one = patch(
        json!({ "type": "SystemAssigned,UserAssigned", "userAssignedIdentities": { &a: null } }),
    )
    .await;
    assert_eq!(one["identity"]["userAssignedIdentities"].as_object().unwrap().len(), 1);
    assert_eq!(principal(&one), principal(&both));
    let own = patch(json!({ "type": "SystemAssigned" })).await;
    assert!(own["identity"].get("userAssignedIdentities").is_none());
    assert!(patch(json!({ "type": "None" })).await.get("identity").is_none());
    let anew = patch(json!({ "type": "SystemAssigned" })).await;
    assert_ne!(principal(&anew), principal(&own));
    let error = patch(json!({})).await["error"].clone();
    assert_eq!(
        error["message"],
        "The request content was invalid and could not be deserialized: 'Required property 'type' not found in JSON. Path 'identity'.'."
    );
    let missing = cloud.identity_id("missing");
    for (identity, inner) in [
        (json!({ "type": "None", "userAssignedIdentities": { &a: {} } }), "non-UserAssigned"),
        (json!({ "type": "UserAssigned", "userAssignedIdentities": { missing: {} } }), "not found"),
    ] {
        let error = patch(identity).await["error"].clone();
        assert_eq!(error["code"], "FailedIdentityOperation");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(inner), "{message}");
        assert!(
            message.contains(&format!("for resource '{}'", set_id(&cloud, "web"))),
            "{message}"
        );
    }
}

/// 12, 20
#[tokio::test]
async fn attaching_to_a_set_needs_a_right_on_the_identity() {
    let cloud = Cloud::start().await;
    cloud.put_identity("aaa").await;
    put_set(&cloud, "web", 1, (false, &[])).await;
    let actor = cloud.put_vm("actor", true, &[]).await;
    cloud.grant(&set_id(&cloud, "web"), VM_CONTRIBUTOR, &principal(&actor)).await;
    let token = cloud.vm_token("actor", ARM_AUDIENCE, "").await;
    let patch = async |identity: Value| {
        let (path, body) = (set_id(&cloud, "web"), json!({ "identity": identity }));
        cloud.arm(Some(&token), Method::PATCH, &path, VERSION, Some(body)).await
    };
    assert_eq!(patch(json!({ "type": "SystemAssigned" })).await.status, StatusCode::OK);
    let refused = patch(cloud.identity_block(false, &["aaa"])).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.body["error"]["code"], "LinkedAuthorizationFailed");
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("'Microsoft.Compute/virtualMachineScaleSets/write'"), "{message}");
    let instance = format!("{}/powerOff", instance_id(&cloud, "web", 0));
    let stopped = cloud.arm(Some(&token), Method::POST, &instance, VERSION, None).await;
    assert_eq!(stopped.status, StatusCode::ACCEPTED, "a role on the set is one on its instances");
}

/// 26 of instances: who is stopped gets no token, whoever else runs.
#[tokio::test]
async fn a_stopped_instance_gets_no_token_while_its_neighbours_do() {
    let cloud = Cloud::start().await;
    let set = put_set(&cloud, "web", 3, (true, &[])).await;
    let statuses = async || {
        let mut all = Vec::new();
        for number in 0..3 {
            all.push(metadata(&cloud, "web", number, QUERY).await.status.as_u16());
        }
        all
    };
    let whole = set_id(&cloud, "web");
    let one = instance_id(&cloud, "web", 1);
    assert_eq!(statuses().await, [200, 200, 200]);
    for (path, body, expected) in [
        (format!("{one}/powerOff"), None, [200, 400, 200]),
        (format!("{one}/restart"), None, [200, 200, 200]),
        (format!("{one}/deallocate"), None, [200, 400, 200]),
        (format!("{one}/start"), None, [200, 200, 200]),
        (format!("{whole}/poweroff"), Some(json!({ "instanceIds": ["0", "2"] })), [400, 200, 400]),
        (format!("{whole}/deallocate"), None, [400, 400, 400]),
        (format!("{one}/reimage"), None, [400, 200, 400]),
        (format!("{whole}/redeploy"), Some(json!({ "instanceIds": ["*"] })), [200, 200, 200]),
        (format!("{whole}/powerOff"), Some(json!({})), [400, 400, 400]),
        (format!("{whole}/start"), Some(json!({ "instanceIds": ["2"] })), [400, 400, 200]),
        (format!("{whole}/restart"), None, [200, 200, 200]),
        (format!("{whole}/reimage"), None, [200, 200, 200]),
        (format!("{one}/redeploy"), None, [200, 200, 200]),
    ] {
        let answer = post(&cloud, &path, body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {}", answer.body);
        assert_eq!(statuses().await, expected, "{path}");
    }
    let after = cloud.admin(Method::GET, &whole, VERSION, None).await.body;
    assert_eq!(after["identity"], set["identity"]);
}

#[tokio::test]
async fn an_instance_that_is_not_there_is_named() {
    let cloud = Cloud::start().await;
    put_set(&cloud, "web", 2, (true, &[])).await;
    let whole = set_id(&cloud, "web");
    let not_active =
        "The provided instanceId 7 is not an active Virtual Machine Scale Set VM instanceId.";
    let invalid = "The provided instanceId 0 1 is invalid. It must be a non-negative integer or the character \"*\".";
    let missing = "Required parameter 'instanceIds' is missing (null).";
    for (verb, body, message) in [
        ("start", json!({ "instanceIds": ["0", "7"] }), not_active),
        ("delete", json!({ "instanceIds": ["0", "7"] }), not_active),
        ("manualupgrade", json!({ "instanceIds": ["7"] }), not_active),
        ("manualupgrade", json!({}), missing),
        ("delete", json!({ "instanceIds": ["0 1"] }), invalid),
        ("delete", json!({ "instanceIds": [] }), missing),
        ("delete", json!({}), missing),
    ] {
        let answer = post(&cloud, &format!("{whole}/{verb}"), Some(body)).await;
        let error = &answer.body["error"];
        assert_eq!(
            (answer.status, &error["code"]),
            (StatusCode::BAD_REQUEST, &json!("InvalidParameter"))
        );
        assert_eq!(error["message"], message);
        let target = (message != missing).then_some("instanceIds");
        assert_eq!(error["target"].as_str(), target);
    }
    assert_eq!(numbers(&cloud, "web").await, ["0", "1"], "all of it or nothing");
    for path in ["7", "01", "x"] {
        let path = format!("{whole}/virtualMachines/{path}");
        let get = cloud.admin(Method::GET, &path, VERSION, None).await;
        assert_eq!(
            (get.status, &get.body["error"]["code"]),
            (StatusCode::NOT_FOUND, &json!("ResourceNotFound"))
        );
        assert_eq!(
            post(&cloud, &format!("{path}/start"), None).await.status,
            StatusCode::NOT_FOUND
        );
        let delete = cloud.admin(Method::DELETE, &path, VERSION, None).await;
        assert_eq!(delete.status, StatusCode::NO_CONTENT);
    }
    let nowhere = format!("{}/virtualMachines", set_id(&cloud, "missing"));
    assert_eq!(
        cloud.admin(Method::GET, &nowhere, VERSION, None).await.status,
        StatusCode::NOT_FOUND
    );
    let endpoint = cloud.administration.attach(&whole, "imds").await;
    assert!(endpoint.is_err(), "a set itself runs nothing");
}

#[tokio::test]
async fn a_deleted_instances_tokens_credential_and_endpoint_go_with_it() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    let set = put_set(&cloud, "web", 4, (true, &["mi-1"])).await;
    let url = secret_for(&cloud, &principal(&set)).await;
    let mut tokens = Vec::new();
    for number in 0..4 {
        tokens.push(token(&cloud, "web", number).await);
    }
    let scope = instance_id(&cloud, "web", 1);
    let assignment = cloud.grant(&scope, READER, &principal(&set)).await;
    let endpoint = cloud.attachment(&scope).await;
    assert_eq!(credentials(&cloud, &principal(&set)).await, 4);
    let gone = cloud.admin(Method::DELETE, &instance_id(&cloud, "web", 1), VERSION, None).await;
    assert_eq!(gone.status, StatusCode::ACCEPTED);
    let deleted = post(
        &cloud,
        &format!("{}/delete", set_id(&cloud, "web")),
        Some(json!({ "instanceIds": ["0"] })),
    )
    .await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED);
    scale(&cloud, "web", 1).await;
    assert_eq!(numbers(&cloud, "web").await, ["2"]);
    for (number, expected) in [(0, 401), (1, 401), (2, 200), (3, 401)] {
        assert_eq!(status(&cloud, &tokens[number], &url).await, expected, "{number}");
    }
    assert_eq!(credentials(&cloud, &principal(&set)).await, 1);
    let assignment = cloud.admin(Method::GET, &assignment, "2022-04-01", None).await;
    assert_eq!(assignment.status, StatusCode::NOT_FOUND, "a role on an instance goes with it");
    assert_eq!(attached(&cloud).await, BTreeSet::from(["web/virtualMachines/2".to_owned()]));
    let port = endpoint["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
    assert!(tokio::net::TcpStream::connect(port).await.is_err(), "nobody listens any more");
    assert_eq!(status(&cloud, &token(&cloud, "web", 2).await, &url).await, 200);
}

#[tokio::test]
async fn what_a_set_loses_its_instances_lose_at_once() {
    let cloud = Cloud::start().await;
    let identity = cloud.put_identity("mi-1").await;
    let assigned = identity["properties"]["principalId"].as_str().unwrap();
    put_set(&cloud, "web", 2, (false, &["mi-1"])).await;
    put_set(&cloud, "other", 1, (false, &["mi-1"])).await;
    let url = secret_for(&cloud, assigned).await;
    let (first, second) = (token(&cloud, "web", 0).await, token(&cloud, "web", 1).await);
    let elsewhere = token(&cloud, "other", 0).await;
    assert_eq!(credentials(&cloud, assigned).await, 3);
    cloud.clock.advance(time::Duration::seconds(10));
    put_set(&cloud, "web", 2, (true, &[])).await;
    for token in [&first, &second] {
        assert_eq!(status(&cloud, token, &url).await, 401);
    }
    assert_eq!(status(&cloud, &elsewhere, &url).await, 200, "the other set still has it");
    assert_eq!(credentials(&cloud, assigned).await, 1);
    let named = format!("{QUERY}&object_id={assigned}");
    assert_eq!(metadata(&cloud, "web", 0, &named).await.status, StatusCode::BAD_REQUEST);
    put_set(&cloud, "web", 2, (false, &["mi-1"])).await;
    assert_eq!(
        status(&cloud, &first, &url).await,
        401,
        "an old token is not of the new assignment"
    );
}

/// In the azure profile a token lives until `exp`, as there.
#[tokio::test]
async fn in_the_azure_profile_a_deleted_instances_token_lives_on() {
    let azure = Choice { profile: Profile::Azure, ..Choice::default() };
    let cloud = Cloud::start_with(azure).await;
    let set = put_set(&cloud, "web", 1, (true, &[])).await;
    let url = secret_for(&cloud, &principal(&set)).await;
    let token = token(&cloud, "web", 0).await;
    scale(&cloud, "web", 0).await;
    assert_eq!(status(&cloud, &token, &url).await, 200);
}

#[tokio::test]
async fn a_deleted_set_takes_its_principal_and_instances_along() {
    let cloud = Cloud::start().await;
    let identity = cloud.put_identity("mi-1").await;
    let assigned = |member: &str| identity["properties"][member].as_str().unwrap();
    let set = put_set(&cloud, "web", 2, (true, &["mi-1"])).await;
    let url = secret_for(&cloud, &principal(&set)).await;
    let token = token(&cloud, "web", 1).await;
    assert_eq!(status(&cloud, &token, &url).await, 200);
    let named = format!("{QUERY}&client_id={}", assigned("clientId"));
    assert_eq!(metadata(&cloud, "web", 0, &named).await.status, StatusCode::OK);
    assert_eq!(credentials(&cloud, assigned("principalId")).await, 1);
    let delete = async |path: &str| cloud.admin(Method::DELETE, path, VERSION, None).await.status;
    assert_eq!(delete(&set_id(&cloud, "web")).await, StatusCode::ACCEPTED);
    assert_eq!(delete(&set_id(&cloud, "web")).await, StatusCode::NO_CONTENT);
    assert_eq!(status(&cloud, &token, &url).await, 401);
    assert!(attached(&cloud).await.is_empty());
    assert_eq!(credentials(&cloud, assigned("principalId")).await, 0);
    let again = put_set(&cloud, "web", 1, (true, &[])).await;
    assert_ne!(principal(&again), principal(&set));
    assert_eq!(numbers(&cloud, "web").await, ["0"], "another set counts anew");
    assert_eq!(delete(&cloud.group()).await, StatusCode::ACCEPTED);
    assert!(attached(&cloud).await.is_empty(), "a group takes its sets along");
}

/// 26
#[tokio::test]
async fn a_vm_made_from_anothers_image_has_no_identity_of_its_own() {
    let cloud = Cloud::start().await;
    let original = cloud.put_vm("vm1", true, &[]).await;
    let image = format!("{}/providers/Microsoft.Compute/images/golden", cloud.group());
    for (name, source) in [("vm2", cloud.vm_id("vm1")), ("vm3", image)] {
        let body = json!({
            "location": "local",
            "properties": { "storageProfile": { "imageReference": { "id": source } } },
        });
        let clone = cloud.put(&cloud.vm_id(name), "2024-07-01", body).await;
        assert!(clone.get("identity").is_none(), "{clone}");
        assert_ne!(clone["properties"]["vmId"], original["properties"]["vmId"]);
        assert_eq!(cloud.metadata(name, QUERY).await.status, StatusCode::BAD_REQUEST);
        let body = json!({ "identity": { "type": "SystemAssigned" } });
        let own = cloud.admin(Method::PATCH, &cloud.vm_id(name), "2024-07-01", Some(body)).await;
        assert_ne!(own.body["identity"]["principalId"], original["identity"]["principalId"]);
    }
}

#[tokio::test]
async fn a_restart_keeps_instances_their_power_and_their_count() {
    let directory = TempDir::new().unwrap();
    let up = Up::start(directory.path()).await;
    let group = format!("/subscriptions/{}/resourceGroups/rg1", up.description.subscription_id);
    let set = format!("{group}/providers/Microsoft.Compute/virtualMachineScaleSets/web");
    let ask = async |up: &Up, method: Method, path: String, body: Option<Value>| {
        let path = format!("{path}?api-version={VERSION}");
        up.administration.arm(method, &path, body.as_ref()).await.unwrap().body
    };
    ask(&up, Method::PUT, group.clone(), Some(json!({ "location": "local" }))).await;
    let sized = |capacity: u32| {
        let identity = json!({ "type": "SystemAssigned" });
        Some(json!({ "location": "local", "sku": { "capacity": capacity }, "identity": identity }))
    };
    ask(&up, Method::PUT, set.clone(), sized(3)).await;
    let before = ask(&up, Method::PUT, set.clone(), sized(2)).await;
    ask(&up, Method::POST, format!("{set}/virtualMachines/0/deallocate"), None).await;
    up.kill();

    let up = Up::start(directory.path()).await;
    assert_eq!(ask(&up, Method::GET, set.clone(), None).await, before);
    let mut endpoints = Vec::new();
    for item in up.administration.attachments().await.unwrap() {
        let (id, base) = (item["resourceId"].as_str().unwrap(), item["url"].as_str().unwrap());
        let url = format!("{base}/metadata/identity/oauth2/token?{QUERY}");
        let ask = http::Request::get(url).header("Metadata", "true").body(Default::default());
        let pem = std::fs::read_to_string(&up.description.ca_file).unwrap();
        let client = keycard::client::Client::new(&pem).unwrap();
        let status = client.send(ask.unwrap()).await.unwrap().status.as_u16();
        endpoints.push((id.rsplit('/').next().unwrap().to_owned(), status));
    }
    assert_eq!(endpoints, [("0".to_owned(), 400), ("1".to_owned(), 200)]);
    let url = up.administration.attachments().await.unwrap()[1]["url"].clone();
    for name in ["web_1", &format!("{set}/virtualMachines/1")] {
        let shown = Command::new(env!("CARGO_BIN_EXE_keycard"))
            .args(["env", "--output", "json", "--as", name])
            .env("KEYCARD_HOME", directory.path().join("home"))
            .output()
            .unwrap();
        let variables: Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(variables["AZURE_POD_IDENTITY_AUTHORITY_HOST"], url, "{name}");
    }
    ask(&up, Method::PUT, set.clone(), sized(3)).await;
    let list = ask(&up, Method::GET, format!("{set}/virtualMachines"), None).await;
    assert_eq!(list["value"][2]["instanceId"], "3", "the count goes on");
    up.kill();
}
