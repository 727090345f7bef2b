//! Arc-enabled servers: azure-semantics 1.7 and 7.2; az-cli-calls 0.4.

use http::{Method, StatusCode};
use keycard::client::Answer;
use serde_json::{Value, json};

use crate::harness::{Cloud, GRAPH_AUDIENCE};

const VERSION: &str = "2022-12-27";

fn id(cloud: &Cloud) -> String {
    format!("{}/providers/Microsoft.HybridCompute/machines/m1", cloud.group())
}

async fn put(cloud: &Cloud, identity: &Value, properties: Value) -> Answer {
    let body = json!({ "location": "local", "identity": identity, "properties": properties });
    cloud.admin(Method::PUT, &id(cloud), VERSION, Some(body)).await
}

#[tokio::test]
async fn a_machine_has_an_identity_of_its_own_and_no_other() {
    let cloud = Cloud::start().await;
    cloud.put_identity("aaa").await;
    for (identity, name) in [
        (cloud.identity_block(false, &["aaa"]), "UserAssigned"),
        (cloud.identity_block(true, &["aaa"]), "SystemAssigned, UserAssigned"),
    ] {
        let refused = put(&cloud, &identity, json!({})).await;
        let text = format!(
            "Resource type 'Microsoft.HybridCompute/machines' does not support creation of '{name}' resource identity. The supported types are 'SystemAssigned'."
        );
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.body["error"]["message"], text);
    }
    let machine = put(&cloud, &json!({ "type": "SystemAssigned" }), json!({})).await;
    assert_eq!(machine.status, StatusCode::OK, "{}", machine.body);
    let assign = json!({ "identity": cloud.identity_block(true, &["aaa"]) });
    let refused = cloud.admin(Method::PATCH, &id(&cloud), VERSION, Some(assign)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    assert_eq!(cloud.attachment(&id(&cloud)).await["kind"], "arc");

    // az resource writes two slashes, and the other case.
    let twice =
        id(&cloud).replace("/machines", "//machines").replace("resourceGroups", "resourcegroups");
    let read = cloud.admin(Method::GET, &twice, VERSION, None).await;
    assert_eq!(read.body["id"], id(&cloud));
    for scope in [cloud.group(), cloud.subscription()] {
        let path = format!("{scope}/providers/Microsoft.HybridCompute/machines");
        let listed = cloud.admin(Method::GET, &path, VERSION, None).await;
        assert_eq!(listed.body["value"], json!([read.body]));
    }
    let principal = read.body["identity"]["principalId"].as_str().unwrap().to_owned();
    let token = cloud.admin_token(GRAPH_AUDIENCE).await;
    let path = format!("/servicePrincipals/{principal}");
    let known = async || cloud.graph(Some(&token), Method::GET, &path, None).await.status;
    assert_eq!(known().await, StatusCode::OK);
    for status in [StatusCode::OK, StatusCode::NO_CONTENT] {
        let deleted = cloud.admin(Method::DELETE, &id(&cloud), VERSION, None).await;
        assert_eq!(deleted.status, status);
    }
    assert_eq!(known().await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_machine_says_since_when_it_is_connected() {
    let cloud = Cloud::start().await;
    let none = json!({ "type": "None" });
    let told = json!({
        "vmId": "11111111-2222-3333-4444-555555555555",
        "clientPublicKey": "key",
        "osName": "linux",
        "machineFqdn": "m1.example",
    });
    let made = put(&cloud, &none, told.clone()).await;
    let properties = &made.body["properties"];
    assert_eq!(properties["status"], "Disconnected");
    for (name, value) in told.as_object().unwrap() {
        assert_eq!(&properties[name], value, "{name}");
    }
    let since = async |body: Value, method: Method| {
        cloud.clock.advance(time::Duration::minutes(1));
        let answer = cloud.admin(method, &id(&cloud), VERSION, Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let text = |member: &str| answer.body["properties"][member].as_str().unwrap().to_owned();
        (text("status"), text("lastStatusChange"))
    };
    let connected = json!({ "location": "local", "properties": { "status": "Connected" } });
    let first = since(connected.clone(), Method::PUT).await;
    assert_eq!(first.0, "Connected");
    assert_ne!(properties["lastStatusChange"], first.1);
    assert_eq!(since(connected, Method::PUT).await, first, "the same again is no change");
    let quiet = json!({ "location": "local", "properties": {} });
    assert_eq!(since(quiet, Method::PUT).await, first, "who says nothing changes nothing");
    let lost = since(json!({ "properties": { "status": "disconnected" } }), Method::PATCH).await;
    assert_eq!(lost.0, "Disconnected");
    assert_ne!(lost.1, first.1);
    let refused = put(&cloud, &none, json!({ "status": "Error" })).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}
