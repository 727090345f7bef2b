//! Faults that are set on workloads: each at endpoints of every kind, by a clock that the test moves.

use http::{Method, StatusCode};
use keycard::client::Answer;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::Duration;

use crate::harness::{ARM_AUDIENCE, Choice, Cloud, READER, VAULT_AUDIENCE};
use crate::local_kinds::Asking;
use crate::restart::Up;

const VERSION: &str = "2026-11-01";

fn fault_id(scope: &str, name: &str) -> String {
    format!("{scope}/providers/Keycard.Testing/faults/{name}")
}

impl Cloud {
    async fn for_development() -> Self {
        Self::start_with(Choice { for_development: true, ..Choice::default() }).await
    }

    async fn try_fault(&self, scope: &str, name: &str, properties: Value) -> Answer {
        let body = json!({ "properties": properties });
        self.admin(Method::PUT, &fault_id(scope, name), VERSION, Some(body)).await
    }

    async fn fault(&self, scope: &str, properties: Value) {
        let answer = self.try_fault(scope, "f", properties).await;
        assert!(answer.status.is_success(), "{}", answer.body);
    }

    async fn clear(&self, scope: &str, name: &str) -> StatusCode {
        self.admin(Method::DELETE, &fault_id(scope, name), VERSION, None).await.status
    }
}

/// A server with a VM, and a token request at an endpoint of each kind of it.
async fn endpoints() -> (Cloud, String, Vec<Asking>) {
    let cloud = Cloud::for_development().await;
    cloud.put_vm("vm1", true, &[]).await;
    let vm = cloud.vm_id("vm1");
    let all = Asking::at_all(&cloud, &vm, VAULT_AUDIENCE).await;
    (cloud, vm, all)
}

#[tokio::test]
async fn each_kind_of_endpoint_says_each_trouble_in_its_own_shape() {
    let (cloud, vm, all) = endpoints().await;
    for asking in all {
        for (properties, status, retry_after) in [
            (json!({ "kind": "TooManyRequests", "retryAfterSeconds": 7 }), 429, Some("7")),
            (json!({ "kind": "Updating" }), 410, None),
            (json!({ "kind": "ServerError" }), 500, None),
            (json!({ "kind": "ServerError", "statusCode": 502 }), 502, None),
            (json!({ "kind": "ServerError", "statusCode": 503 }), 503, None),
            (json!({ "kind": "ServerError", "statusCode": 504 }), 504, None),
        ] {
            let token = asking.token(&cloud).await;
            cloud.fault(&vm, properties.clone()).await;
            let answer = asking.ask(&cloud).await;
            assert_eq!(answer.status.as_u16(), status, "{:?} {properties}", asking.kind);
            let told = answer.headers.get("retry-after").map(|value| value.to_str().unwrap());
            assert_eq!(told, retry_after, "{:?} {properties}", asking.kind);
            let text = asking.error_text(&answer);
            assert!(!text.is_empty() && !text.contains("Identity not found"), "{text}");
            assert_eq!(cloud.clear(&vm, "f").await, StatusCode::OK);
            assert_eq!(asking.token(&cloud).await, token, "nothing was lost of what is cached");
        }
    }
}

#[tokio::test]
async fn a_metadata_endpoint_names_the_error_by_its_documented_code() {
    let (cloud, vm, all) = endpoints().await;
    for (properties, code) in [
        (json!({ "kind": "TooManyRequests" }), "too_many_requests"),
        (json!({ "kind": "Updating" }), "service_unavailable"),
        (json!({ "kind": "ServerError", "statusCode": 503 }), "server_error"),
    ] {
        cloud.fault(&vm, properties).await;
        let imds = all.iter().find(|asking| asking.kind.as_str() == "imds").unwrap();
        let answer = imds.ask(&cloud).await;
        assert_eq!(answer.body["error"], code);
        assert_eq!(answer.headers["server"], "IMDS/keycard");
    }
}

#[tokio::test]
async fn a_burst_ends_after_its_requests_and_begins_anew_when_it_is_set_anew() {
    let (cloud, vm, all) = endpoints().await;
    for asking in all {
        for _ in 0..2 {
            cloud.fault(&vm, json!({ "kind": "ServerError", "requests": 2 })).await;
            let mut statuses = Vec::new();
            for _ in 0..4 {
                statuses.push(asking.ask(&cloud).await.status.as_u16());
            }
            assert_eq!(statuses, [500, 500, 200, 200], "{:?}", asking.kind);
        }
    }
}

#[tokio::test]
async fn an_update_is_over_after_seventy_seconds() {
    let (cloud, vm, all) = endpoints().await;
    for asking in all {
        cloud.fault(&vm, json!({ "kind": "Updating" })).await;
        cloud.clock.advance(Duration::seconds(69));
        assert_eq!(asking.ask(&cloud).await.status, StatusCode::GONE, "{:?}", asking.kind);
        cloud.clock.advance(Duration::seconds(1));
        assert_eq!(asking.ask(&cloud).await.status, StatusCode::OK, "{:?}", asking.kind);
        let shown = cloud.admin(Method::GET, &fault_id(&vm, "f"), VERSION, None).await;
        assert_eq!(shown.body["properties"]["isOver"], true);
    }
}

#[tokio::test]
async fn a_slow_answer_comes_when_its_time_has_come() {
    let (cloud, vm, all) = endpoints().await;
    cloud.put_vm("vm2", true, &[]).await;
    let other = Asking::at_all(&cloud, &cloud.vm_id("vm2"), VAULT_AUDIENCE).await;
    for (asking, other) in all.iter().zip(&other) {
        cloud.fault(&vm, json!({ "kind": "SlowAnswer", "delayMilliseconds": 60_000 })).await;
        let mut answer = std::pin::pin!(asking.ask(&cloud));
        for _ in 0..5 {
            tokio::select! {
                early = &mut answer => panic!("{:?}: {}", asking.kind, early.body),
                token = other.token(&cloud) => assert!(!token.is_empty()),
            }
        }
        cloud.clock.advance(Duration::seconds(60));
        assert_eq!(answer.await.status, StatusCode::OK, "{:?}", asking.kind);
    }
}

/// A token request as bytes, after which the connection ends.
async fn bytes_of(cloud: &Cloud, asking: &Asking) -> String {
    let (method, target) = (asking.method(), asking.target());
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", asking.authority());
    for (name, value) in asking.proven(&cloud.client).await.unwrap() {
        head += &format!("{name}: {value}\r\n");
    }
    if !asking.form.is_empty() {
        head += &format!("Content-Length: {}\r\n", asking.form.len());
    }
    format!("{head}Connection: close\r\n\r\n{}", asking.form)
}

#[tokio::test]
async fn a_connection_breaks_before_the_answer_or_in_its_middle() {
    let (cloud, vm, all) = endpoints().await;
    for asking in all {
        let whole = asking.raw(&bytes_of(&cloud, &asking).await).await;
        assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with('}'), "{whole}");
        let bytes = bytes_of(&cloud, &asking).await;
        cloud.fault(&vm, json!({ "kind": "ConnectionDropped", "requests": 1 })).await;
        assert_eq!(asking.raw(&bytes).await, "", "{:?}", asking.kind);
        assert_eq!(asking.ask(&cloud).await.status, StatusCode::OK, "{:?}", asking.kind);

        let bytes = bytes_of(&cloud, &asking).await;
        let mid = json!({ "kind": "ConnectionDropped", "moment": "MidAnswer", "requests": 2 });
        cloud.fault(&vm, mid).await;
        let half = asking.raw(&bytes).await;
        let (head, body) = half.split_once("\r\n\r\n").unwrap();
        let promised: usize = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap();
        assert_eq!(body.len(), promised / 2, "{:?}: {head}", asking.kind);
        assert!(asking.ask_by(&cloud.client).await.is_err(), "a client sees that it is not whole");
        assert_eq!(asking.ask(&cloud).await.status, StatusCode::OK, "{:?}", asking.kind);
    }
}

#[tokio::test]
async fn azures_throttle_lets_each_vm_have_twenty_a_second() {
    let (cloud, vm, all) = endpoints().await;
    cloud.put_vm("vm2", true, &[]).await;
    let others = Asking::at_all(&cloud, &cloud.vm_id("vm2"), VAULT_AUDIENCE).await;
    cloud.fault(&cloud.group(), json!({ "kind": "Throttle" })).await;
    let mut statuses = Vec::new();
    for turn in 0..25 {
        let asking = &all[turn % all.len()];
        statuses.push(asking.ask(&cloud).await.status.as_u16());
    }
    assert_eq!(statuses, [[200; 20].as_slice(), &[429; 5]].concat());
    let refused = all[0].ask(&cloud).await;
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(others[0].ask(&cloud).await.status, StatusCode::OK, "each has a rate of its own");
    cloud.clock.advance(Duration::milliseconds(50));
    assert_eq!(all[0].ask(&cloud).await.status, StatusCode::OK);
    assert_eq!(all[0].ask(&cloud).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(cloud.clear(&vm, "f").await, StatusCode::NO_CONTENT, "it is set on the group");
    assert_eq!(cloud.clear(&cloud.group(), "f").await, StatusCode::OK);
    assert_eq!(all[0].ask(&cloud).await.status, StatusCode::OK);
}

#[tokio::test]
async fn azures_throttle_lets_each_vm_have_five_at_once() {
    let (cloud, vm, all) = endpoints().await;
    let throttled = cloud.try_fault(&vm, "throttle", json!({ "kind": "Throttle" })).await;
    assert_eq!(throttled.status, StatusCode::CREATED);
    cloud.fault(&vm, json!({ "kind": "SlowAnswer" })).await;
    let mut six = tokio::task::JoinSet::new();
    for turn in 0..6 {
        let (asking, client) = (all[turn % all.len()].clone(), cloud.client.clone());
        six.spawn(async move { asking.ask_by(&client).await.unwrap().status.as_u16() });
    }
    let first = six.join_next().await.unwrap().unwrap();
    assert_eq!(first, 429, "five wait, and the sixth is refused");
    cloud.clock.advance(Duration::seconds(5));
    assert_eq!(six.join_all().await, [200; 5]);
    cloud.clear(&vm, "f").await;
    cloud.clock.advance(Duration::seconds(1));
    assert_eq!(all[0].ask(&cloud).await.status, StatusCode::OK, "what is over counts no more");
}

#[tokio::test]
async fn a_fault_is_on_one_resource_or_on_all_below_its_scope() {
    let (cloud, vm, all) = endpoints().await;
    cloud.put_vm("vm2", true, &[]).await;
    let other = Asking::at_all(&cloud, &cloud.vm_id("vm2"), VAULT_AUDIENCE).await;
    let error = json!({ "kind": "ServerError", "requests": 1000 });
    for (scope, is_on_other) in
        [(vm.clone(), false), (cloud.group(), true), (cloud.subscription(), true)]
    {
        cloud.fault(&scope, error.clone()).await;
        for (asking, other) in all.iter().zip(&other) {
            assert_eq!(asking.ask(&cloud).await.status.as_u16(), 500, "{scope}");
            let expected = if is_on_other { 500 } else { 200 };
            assert_eq!(other.ask(&cloud).await.status.as_u16(), expected, "{scope}");
        }
        assert_eq!(cloud.clear(&scope.to_uppercase(), "F").await, StatusCode::OK);
    }
    for asking in &all {
        asking.token(&cloud).await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_whatever_faults_there_are() {
    let (cloud, vm, all) = endpoints().await;
    cloud.fault(&vm, json!({ "kind": "ServerError" })).await;
    for asking in &all {
        let bare = asking.probe(&cloud).await;
        assert!(bare.status.is_client_error(), "{:?}: a probe is answered", asking.kind);
    }
}

#[tokio::test]
async fn faults_that_are_over_make_room() {
    let (cloud, vm, _) = endpoints().await;
    let short = json!({ "kind": "ServerError", "durationSeconds": 1 });
    for number in 0..20 {
        let made = cloud.try_fault(&vm, &format!("f{number}"), short.clone()).await;
        assert_eq!(made.status, StatusCode::CREATED);
    }
    assert_eq!(cloud.try_fault(&vm, "more", short.clone()).await.status, StatusCode::CONFLICT);
    cloud.clock.advance(Duration::seconds(1));
    assert_eq!(cloud.try_fault(&vm, "more", short.clone()).await.status, StatusCode::CREATED);
    let gone = cloud.admin(Method::GET, &fault_id(&vm, "f0"), VERSION, None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn faults_are_set_shown_listed_in_pages_and_cleared() {
    let (cloud, vm, _) = endpoints().await;
    let made = cloud.try_fault(&vm, "Busy", json!({ "kind": "TooManyRequests" })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(
        made.body,
        json!({
            "properties": {
                "kind": "TooManyRequests",
                "retryAfterSeconds": 5,
                "setAt": "2027-01-15T08:00:00Z",
                "isOver": false,
            },
            "id": fault_id(&vm, "Busy"),
            "type": "Keycard.Testing/faults",
            "name": "Busy",
        })
    );
    let again = cloud.try_fault(&vm.to_uppercase(), "BUSY", json!({ "kind": "Updating" })).await;
    assert_eq!((again.status, &again.body["id"]), (StatusCode::OK, &json!(fault_id(&vm, "Busy"))));
    cloud.fault(&cloud.group(), json!({ "kind": "Throttle" })).await;
    let list = async |path: &str| {
        let answer = cloud.admin(Method::GET, path, VERSION, None).await;
        let items = answer.body["value"].as_array().unwrap().clone();
        let names: Vec<String> =
            items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
        (names, answer.body["nextLink"].as_str().map(str::to_owned))
    };
    let all = format!("{}/providers/Keycard.Testing/faults", cloud.subscription());
    assert_eq!(list(&all).await.0, ["Busy", "f"]);
    let (first, next) = list(&format!("{all}?$top=1")).await;
    let next = next.unwrap();
    let token = cloud.administration.token();
    let rest = cloud.client.send(keycard::client::request(Method::GET, &next, Some(token), None));
    let rest = rest.await.unwrap();
    assert_eq!((first[0].as_str(), &rest.body["value"][0]["name"]), ("Busy", &json!("f")));
    assert!(rest.body["nextLink"].is_null());
    assert_eq!(list(&format!("{vm}/providers/Keycard.Testing/faults")).await.0, ["Busy"]);
    assert_eq!(cloud.clear(&vm, "busy").await, StatusCode::OK);
    assert_eq!(cloud.clear(&vm, "busy").await, StatusCode::NO_CONTENT);
    let gone = cloud.admin(Method::GET, &fault_id(&vm, "Busy"), VERSION, None).await;
    assert_eq!(
        (gone.status, &gone.body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("FaultNotFound"))
    );
}

#[tokio::test]
async fn a_fault_that_cannot_be_is_refused() {
    let (cloud, vm, _) = endpoints().await;
    let updating = || json!({ "kind": "Updating" });
    let long = "n".repeat(65);
    for (scope, name, properties, expected) in [
        (vm.as_str(), "f", json!({}), (400, "InvalidRequestContent")),
        (&vm, "f", json!({ "kind": "Fire" }), (400, "InvalidRequestContent")),
        (
            &vm,
            "f",
            json!({ "kind": "Updating", "statusCode": 500 }),
            (400, "InvalidRequestContent"),
        ),
        (
            &vm,
            "f",
            json!({ "kind": "SlowAnswer", "delayMilliseconds": 120_001 }),
            (400, "InvalidFaultProperty"),
        ),
        (
            &vm,
            "f",
            json!({ "kind": "Updating", "durationSeconds": 0 }),
            (400, "InvalidFaultProperty"),
        ),
        (&vm, &long, updating(), (400, "InvalidFaultName")),
        (&cloud.vm_id("none"), "f", updating(), (404, "ResourceNotFound")),
        (&format!("{}9", cloud.group()), "f", updating(), (404, "ResourceGroupNotFound")),
        (
            &format!("{}/providers/Microsoft.Compute", cloud.group()),
            "f",
            updating(),
            (400, "InvalidScope"),
        ),
    ] {
        let answer = cloud.try_fault(scope, name, properties.clone()).await;
        let code = answer.body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!((answer.status.as_u16(), code), expected, "{scope} {name} {properties}");
    }
    for number in 0..20 {
        let made = cloud.try_fault(&vm, &format!("f{number}"), updating()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    }
    let more = cloud.try_fault(&vm, "f20", updating()).await;
    assert_eq!(
        (more.status, &more.body["error"]["code"]),
        (StatusCode::CONFLICT, &json!("FaultLimitExceeded"))
    );
    assert_eq!(cloud.try_fault(&vm, "f19", updating()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_fault_ends_with_what_it_is_set_on() {
    let (cloud, vm, _) = endpoints().await;
    cloud.fault(&vm, json!({ "kind": "ServerError", "requests": 1000 })).await;
    let gone = cloud.admin(Method::DELETE, &vm, "2024-07-01", None).await;
    assert!(gone.status.is_success(), "{}", gone.body);
    cloud.put_vm("vm1", true, &[]).await;
    let asking = Asking::at_all(&cloud, &vm, VAULT_AUDIENCE).await;
    assert_eq!(asking[0].ask(&cloud).await.status, StatusCode::OK);
}

#[tokio::test]
async fn faults_are_set_by_those_who_may_write_there() {
    let (cloud, vm, _) = endpoints().await;
    cloud.put_vm("vm2", true, &[]).await;
    let reader = cloud.admin(Method::GET, &cloud.vm_id("vm2"), "2024-07-01", None).await;
    let principal = reader.body["identity"]["principalId"].as_str().unwrap().to_owned();
    cloud.grant(&vm, READER, &principal).await;
    let token = cloud.vm_token("vm2", ARM_AUDIENCE, "").await;
    let body = json!({ "properties": { "kind": "Updating" } });
    let ask = async |method: Method, body: Option<Value>| {
        cloud.arm(Some(&token), method, &fault_id(&vm, "f"), VERSION, body).await.status
    };
    assert_eq!(ask(Method::PUT, Some(body)).await, StatusCode::FORBIDDEN);
    assert_eq!(ask(Method::GET, None).await, StatusCode::NOT_FOUND);
    assert_eq!(ask(Method::DELETE, None).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_server_that_is_not_for_development_takes_no_faults() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let vm = cloud.vm_id("vm1");
    let refused = cloud.try_fault(&vm, "f", json!({ "kind": "Updating" })).await;
    assert_eq!(refused.status, StatusCode::NOT_IMPLEMENTED, "{}", refused.body);
    assert_eq!(refused.body["error"]["code"], "NotImplemented");
    assert_eq!(cloud.clear(&vm, "f").await, StatusCode::NOT_IMPLEMENTED);
}

/// azure-semantics 45: the error of a principal that is too new, and the documented way around it.
#[tokio::test]
async fn a_new_principal_is_hidden_until_it_is_replicated() {
    let cloud = Cloud::for_development().await;
    let old = cloud.put_identity("old").await["properties"]["principalId"].clone();
    let delay = json!({ "kind": "ReplicationDelay", "delaySeconds": 60 });
    cloud.fault(&cloud.subscription(), delay).await;
    cloud.clock.advance(Duration::seconds(60));
    let vm = cloud.put_vm("vm1", true, &[]).await["identity"]["principalId"].clone();
    let new = cloud.put_identity("new").await["properties"]["principalId"].clone();

    let assign = async |principal: &Value, principal_type: Option<&str>| {
        let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, principal.to_string().as_bytes());
        let path = format!(
            "{}/providers/Microsoft.Authorization/roleAssignments/{name}",
            cloud.subscription()
        );
        let body = json!({ "properties": {
            "roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{READER}"),
            "principalId": principal,
            "principalType": principal_type,
        }});
        cloud.admin(Method::PUT, &path, "2022-04-01", Some(body)).await
    };
    let graph = cloud.admin_token("https://graph.microsoft.com").await;
    let shown = async |principal: &Value| {
        let path = format!("/servicePrincipals/{}", principal.as_str().unwrap());
        cloud.graph(Some(&graph), Method::GET, &path, None).await.status.as_u16()
    };
    assert_eq!(shown(&old).await, 200);
    for principal in [&vm, &new] {
        let refused = assign(principal, None).await;
        assert_eq!(
            (refused.status, &refused.body["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!("PrincipalNotFound"))
        );
        assert!(refused.body["error"]["message"].as_str().unwrap().contains("replication delay"));
        assert_eq!(shown(principal).await, 404);
        let ids = json!({ "ids": [principal, old] });
        let found =
            cloud.graph(Some(&graph), Method::POST, "/directoryObjects/getByIds", Some(ids)).await;
        assert_eq!(found.body["value"].as_array().unwrap().len(), 1, "{}", found.body);
    }
    let all = cloud.graph(Some(&graph), Method::GET, "/servicePrincipals?$top=999", None).await;
    let ids: Vec<&Value> =
        all.body["value"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert!(ids.contains(&&old) && !ids.contains(&&vm) && !ids.contains(&&new), "{ids:?}");
    // Its own endpoint knows the identity, and so does who says what it is.
    cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    assert_eq!(assign(&vm, Some("ServicePrincipal")).await.status, StatusCode::CREATED);

    cloud.clock.advance(Duration::seconds(60));
    assert_eq!(assign(&new, None).await.status, StatusCode::CREATED);
    assert_eq!((shown(&vm).await, shown(&new).await), (200, 200));
}

const TEMPLATE: &str = r#"{
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "resources": [
        { "type": "Microsoft.Compute/virtualMachines", "apiVersion": "2024-07-01", "name": "vm1",
          "location": "local", "identity": { "type": "SystemAssigned" }, "properties": {} },
        { "type": "Keycard.Testing/faults", "apiVersion": "2026-11-01", "name": "burst",
          "scope": "[resourceId('Microsoft.Compute/virtualMachines', 'vm1')]",
          "dependsOn": ["[resourceId('Microsoft.Compute/virtualMachines', 'vm1')]"],
          "properties": { "kind": "ServerError", "statusCode": 503, "requests": 2 } }
    ]
}"#;

/// The command, as somebody runs it whose server's home is in this directory.
fn keycard(directory: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_keycard"))
        .args(arguments)
        .env("KEYCARD_HOME", directory.path().join("home"))
        .env("XDG_CONFIG_HOME", directory.path().join("config"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn templates_and_the_command_set_the_same_faults() {
    let directory = TempDir::new().unwrap();
    let template = directory.path().join("faults.json");
    std::fs::write(&template, TEMPLATE).unwrap();
    let up = Up::start_with(directory.path(), &["--template", template.to_str().unwrap()]).await;
    let json = |arguments: &[&str]| -> Value {
        let (code, out, words) = keycard(&directory, &[arguments, &["--output", "json"]].concat());
        assert_eq!(code, 0, "{arguments:?}: {words}");
        serde_json::from_str(&out).unwrap()
    };
    let listed = json(&["fault", "list", "--on", "vm1"]);
    assert_eq!(listed[0]["name"], "burst");
    assert_eq!(listed[0]["properties"]["statusCode"], 503);
    let vm = up.administration.attachments().await.unwrap()[0]["resourceId"].clone();
    let set = json(&["fault", "set", "slow-answer", "--on", "vm1", "--delay", "250ms"]);
    assert_eq!(set["id"], fault_id(vm.as_str().unwrap(), "slow-answer"));
    assert_eq!(set["properties"]["delayMilliseconds"], 250);
    let all = ["fault", "set", "throttle", "--rate", "10", "--concurrent", "2", "--for", "1h"];
    assert_eq!(json(&all)["properties"]["durationSeconds"], 3600);
    assert_eq!(json(&["fault", "list"]).as_array().unwrap().len(), 3);

    let (code, _, words) =
        keycard(&directory, &["fault", "set", "updating", "--on", "vm1", "--status", "500"]);
    assert_eq!(code, 1);
    assert!(words.contains("statusCode"), "{words}");
    assert_eq!(keycard(&directory, &["fault", "set", "fire"]).0, 2);
    let (code, _, words) = keycard(&directory, &["fault", "clear", "burst"]);
    assert_eq!((code, words.contains("burst")), (1, true), "it is not set on the subscription");
    assert_eq!(json(&["fault", "clear", "burst", "--on", "vm1"]).as_array().unwrap().len(), 1);
    assert_eq!(json(&["fault", "clear"]).as_array().unwrap().len(), 2);
    assert_eq!(json(&["fault", "list"]), json!([]));
    up.kill();
}
