//! The activity log over the wire: azure-semantics checklist 82, and what must not stand in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{Method, StatusCode};
use keycard::client::{Administration, request};
use keycard::description::Administrator;
use keycard::system_clock::TurnableClock;
use keycard_crypto::secret::Secret;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Choice, Cloud, READER};

const VALUES: &str = "/providers/Microsoft.Insights/eventtypes/management/values";
const VERSION: &str = "2015-04-01";
const SINCE: &str = "eventTimestamp ge '2020-01-01T00:00:00.1234567Z'";

/// The path of a listing with this filter, percent-encoded.
fn filtered(at: &str, filter: &str) -> String {
    format!("{at}{VALUES}?$filter={}", utf8_percent_encode(filter, NON_ALPHANUMERIC))
}

/// What a listing of the subscription says to this filter beside the start.
async fn events(cloud: &Cloud, filter: &str) -> Vec<Value> {
    let path = filtered(&cloud.subscription(), &format!("{SINCE}{filter}"));
    let answer = cloud.admin(Method::GET, &path, VERSION, None).await;
    assert_eq!(answer.status, StatusCode::OK, "{filter}: {}", answer.body);
    answer.body["value"].as_array().unwrap().clone()
}

fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Operation, phase, status and HTTP status of events.
fn told(events: &[Value]) -> Vec<String> {
    let told = |event: &Value| {
        let of = |pointer| text(event, pointer).to_owned();
        let operation = of("/operationName/value");
        let verb = operation.trim_start_matches("Microsoft.Compute/virtualMachines/").to_owned();
        [verb, of("/eventName/value"), of("/status/value"), of("/subStatus/value")].join(" ")
    };
    events.iter().map(told).collect()
}

#[tokio::test]
async fn writes_deletes_and_actions_leave_a_start_and_an_end_and_reads_leave_nothing() {
    let cloud = Cloud::start().await;
    let vm = cloud.vm_id("vm1");
    let later = || cloud.clock.advance(time::Duration::seconds(1));
    let body = || Some(json!({ "location": "local", "properties": {} }));
    let mut correlations = BTreeSet::new();
    for (method, path, body) in [
        (Method::PUT, vm.clone(), body()),
        (Method::PUT, vm.clone(), body()),
        (Method::PATCH, vm.clone(), Some(json!({ "tags": { "a": "b" } }))),
        (Method::POST, format!("{vm}/deallocate"), None),
        (Method::POST, format!("{vm}/deallocate"), None),
        (Method::GET, vm.clone(), None),
        (Method::DELETE, vm.clone(), None),
        (Method::DELETE, vm.clone(), None),
    ] {
        later();
        let answer = cloud.admin(method.clone(), &path, "2024-07-01", body).await;
        assert!(answer.status.is_success());
        if method != Method::GET {
            let id = answer.headers.get("x-ms-correlation-request-id").unwrap();
            correlations.insert(id.to_str().unwrap().to_owned());
        }
    }
    let found = events(&cloud, &format!(" and resourceId eq '{vm}'")).await;
    let pairs = [
        "write Created",
        "write OK",
        "write OK",
        "deallocate/action Accepted",
        "deallocate/action Accepted",
        "delete Accepted",
        "delete NoContent",
    ];
    let expected: Vec<String> = pairs
        .iter()
        .rev()
        .map(|pair| pair.split_once(' ').unwrap())
        .flat_map(|(verb, status)| {
            [
                format!("{verb} EndRequest Succeeded {status}"),
                format!("{verb} BeginRequest Started "),
            ]
        })
        .collect();
    assert_eq!(told(&found), expected);
    let mut seen = BTreeSet::new();
    for pair in found.chunks(2) {
        assert_eq!(pair[0]["correlationId"], pair[1]["correlationId"]);
        assert_eq!(pair[0]["operationId"], pair[1]["operationId"]);
        assert_ne!(pair[0]["eventDataId"], pair[1]["eventDataId"]);
        seen.insert(text(&pair[0], "/correlationId").to_owned());
    }
    assert_eq!(seen, correlations, "each request has its own");
}

#[tokio::test]
async fn an_event_says_who_did_what_to_what() {
    let cloud = Cloud::start().await;
    let vm = cloud.vm_id("vm1");
    let url = format!("{}{vm}?api-version=2024-07-01", cloud.description().endpoints.loopback);
    let body = json!({ "location": "local", "properties": {} });
    let token = cloud.administration.token();
    let mut request = request(Method::PUT, &url, Some(token), Some(&body));
    for (name, value) in [
        ("x-ms-client-request-id", "my own name"),
        ("x-ms-correlation-request-id", "11111111-2222-3333-4444-555555555555"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(cloud.client.send(request).await.unwrap().status, StatusCode::CREATED);

    let found =
        events(&cloud, " and correlationId eq '11111111-2222-3333-4444-555555555555'").await;
    let [end, _] = found.as_slice() else { panic!("{found:?}") };
    let administrator = &cloud.description().administrator;
    let tenant = &cloud.description().tenant_id;
    let data_id = text(end, "/eventDataId");
    let localizable = |value: &str| json!({ "value": value, "localizedValue": value });
    assert_eq!(
        end,
        &json!({
            "authorization": { "action": "Microsoft.Compute/virtualMachines/write", "scope": vm },
            "caller": administrator.object_id,
            "channels": "Operation",
            "claims": {
                "appid": administrator.client_id,
                "http://schemas.microsoft.com/identity/claims/objectidentifier":
                    administrator.object_id,
                "http://schemas.microsoft.com/identity/claims/tenantid": tenant,
                "idtyp": "app",
            },
            "correlationId": "11111111-2222-3333-4444-555555555555",
            "description": "",
            "eventDataId": data_id,
            "eventName": { "value": "EndRequest", "localizedValue": "End request" },
            "category": localizable("Administrative"),
            "eventTimestamp": "2027-01-15T08:00:00.0000000Z",
            "httpRequest": {
                "clientRequestId": "my own name",
                "clientIpAddress": "127.0.0.1",
                "method": "PUT",
            },
            "id": format!("{vm}/events/{data_id}/ticks/639355968000000000"),
            "level": "Informational",
            "operationId": text(end, "/operationId"),
            "operationName": localizable("Microsoft.Compute/virtualMachines/write"),
            "properties": {
                "eventCategory": "Administrative",
                "entity": vm,
                "message": "Microsoft.Compute/virtualMachines/write",
                "statusCode": "Created",
            },
            "resourceGroupName": "rg1",
            "resourceProviderName": localizable("Microsoft.Compute"),
            "resourceType": localizable("Microsoft.Compute/virtualMachines"),
            "resourceId": vm,
            "status": localizable("Succeeded"),
            "subStatus": {
                "value": "Created",
                "localizedValue": "Created (HTTP Status Code: 201)",
            },
            "submissionTimestamp": "2027-01-15T08:00:00.0000000Z",
            "subscriptionId": cloud.description().subscription_id,
            "tenantId": tenant,
        })
    );
}

#[tokio::test]
async fn what_was_admitted_and_failed_is_there_and_what_was_forbidden_is_not() {
    let cloud = Cloud::start().await;
    cloud.put_vm("stranger", true, &[]).await;
    let stranger = cloud.vm_token("stranger", ARM_AUDIENCE, "").await;
    let absent = cloud.identity_id("nobody");
    let body = json!({
        "location": "local",
        "identity": { "type": "UserAssigned", "userAssignedIdentities": { (absent): {} } },
    });
    let put = async |token: &Secret, name: &str, body: &Value| {
        let path = cloud.vm_id(name);
        cloud.arm(Some(token), Method::PUT, &path, "2024-07-01", Some(body.clone())).await
    };
    let refused = put(cloud.administration.token(), "wrong", &body).await;
    let code = refused.body["error"]["code"].as_str().unwrap();
    let forbidden = put(&stranger, "forbidden", &json!({ "location": "local" })).await;
    assert_eq!(forbidden.status, StatusCode::FORBIDDEN);

    let found = events(&cloud, &format!(" and resourceId eq '{}'", cloud.vm_id("wrong"))).await;
    let status = refused.status.canonical_reason().unwrap().replace(' ', "");
    assert_eq!(
        told(&found),
        [format!("write EndRequest Failed {status}"), "write BeginRequest Started ".to_owned()]
    );
    assert_eq!(found[0]["level"], "Error");
    assert!(text(&found[0], "/properties/statusMessage").contains(code), "{}", found[0]);
    let forbidden = format!(" and resourceId eq '{}'", cloud.vm_id("forbidden"));
    assert!(events(&cloud, &forbidden).await.is_empty());
    assert_eq!(events(&cloud, " and status eq 'Failed'").await.len(), 1);
}

/// A vault is purged in two commits, and a template makes each of its resources by a request of its own.
#[tokio::test]
async fn a_request_is_there_once_however_often_it_commits() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    cloud.admin(Method::DELETE, &cloud.vault_id("kv1"), "2023-07-01", None).await;
    let deleted = format!(
        "{}/providers/Microsoft.KeyVault/locations/local/deletedVaults/kv1",
        cloud.subscription()
    );
    let purged = cloud.admin(Method::POST, &format!("{deleted}/purge"), "2023-07-01", None).await;
    assert!(purged.status.is_success());
    let found = events(&cloud, &format!(" and resourceId eq '{deleted}'")).await;
    assert_eq!(found.len(), 2, "{:?}", told(&found));

    let deployment = format!("{}/providers/Microsoft.Resources/deployments/d1", cloud.group());
    let resource = json!({
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities", "apiVersion": "2024-11-30",
        "name": "by-template", "location": "local",
    });
    let answer = cloud
        .admin(
            Method::PUT,
            &deployment,
            "2025-04-01",
            Some(json!({ "properties": {
                "mode": "Incremental", "template": { "resources": [resource] },
            }})),
        )
        .await;
    assert_eq!(answer.body["properties"]["provisioningState"], "Succeeded", "{}", answer.body);
    let correlation = answer.headers["x-ms-correlation-request-id"].to_str().unwrap();
    let found = events(&cloud, &format!(" and correlationId eq '{correlation}'")).await;
    let mut about: Vec<&str> = found.iter().map(|event| text(event, "/resourceId")).collect();
    about.sort_unstable();
    let identity = cloud.identity_id("by-template");
    assert_eq!(about, [&identity, &identity, &deployment, &deployment]);
}

#[tokio::test]
async fn a_deployment_that_failed_after_its_answer_has_failed_in_the_log() {
    let cloud = Cloud::start().await;
    let deployment = format!("{}/providers/Microsoft.Resources/deployments/d1", cloud.group());
    let resource = json!({
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities", "apiVersion": "2024-11-30",
        "name": "x", "location": "local",
    });
    let body = json!({ "properties": {
        "mode": "Incremental", "template": { "resources": [resource] },
    }});
    let answer = cloud.admin(Method::PUT, &deployment, "2025-04-01", Some(body)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(answer.body["properties"]["provisioningState"], "Failed", "{}", answer.body);
    let found = events(&cloud, &format!(" and resourceId eq '{deployment}'")).await;
    assert_eq!(found.len(), 2, "{:?}", told(&found));
    assert_eq!(text(&found[0], "/status/value"), "Failed");
    assert!(text(&found[0], "/properties/statusMessage").contains("DeploymentFailed"));
}

/// The end says what was answered, also where a kind answers otherwise than most.
#[tokio::test]
async fn the_end_has_the_status_of_the_answer() {
    let cloud = Cloud::start().await;
    let group = format!("{}/resourceGroups/other", cloud.subscription());
    let role = format!(
        "{}/providers/Microsoft.Authorization/roleAssignments/11111111-1111-1111-1111-111111111111",
        cloud.group()
    );
    let assignment = json!({ "properties": {
        "roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{READER}"),
        "principalId": cloud.description().administrator.object_id,
    }});
    let plain = json!({ "location": "local", "properties": {} });
    for (method, path, body) in [
        (Method::PUT, group.clone(), Some(plain.clone())),
        (Method::PUT, group.clone(), Some(plain.clone())),
        (Method::PUT, cloud.site_id("site1"), Some(plain.clone())),
        (Method::PUT, cloud.identity_id("aaa"), Some(plain)),
        (Method::PUT, role.clone(), Some(assignment.clone())),
        (Method::PUT, role.clone(), Some(assignment)),
        (Method::DELETE, role.clone(), None),
        (Method::DELETE, role, None),
        (Method::DELETE, group, None),
    ] {
        cloud.clock.advance(time::Duration::seconds(1));
        let answer = cloud.admin(method.clone(), &path, "2022-04-01", body).await;
        let reason = answer.status.canonical_reason().unwrap().replace(' ', "");
        let found = events(&cloud, &format!(" and resourceUri eq '{path}'")).await;
        assert_eq!(text(&found[0], "/subStatus/value"), reason, "{method} {path}");
    }
}

#[tokio::test]
async fn filters_pages_and_selections_narrow_the_listing() {
    let cloud = Cloud::start().await;
    for name in ["aaa", "bbb", "ccc"] {
        cloud.clock.advance(time::Duration::seconds(10));
        cloud.put_identity(name).await;
    }
    cloud.put(&cloud.site_id("site1"), "2024-04-01", json!({ "location": "local" })).await;
    let all = events(&cloud, "").await;
    assert!(all.len() >= 10, "{:?}", told(&all));
    let times: Vec<&str> = all.iter().map(|event| text(event, "/eventTimestamp")).collect();
    assert!(times.is_sorted_by(|one, next| one >= next), "{times:?}");

    let administrator = &cloud.description().administrator.object_id;
    for (filter, count) in [
        (format!(" and resourceUri eq '{}'", cloud.identity_id("AAA")), 2),
        (" and resourceProvider eq 'microsoft.managedidentity'".to_owned(), 6),
        (" and resourceProvider eq 'Microsoft.Web' and status eq 'Started'".to_owned(), 1),
        (" and resourceGroupName eq 'RG1'".to_owned(), 10),
        (" and resourceGroupName eq 'other'".to_owned(), 0),
        (format!(" and caller eq '{administrator}'"), all.len()),
        (" and caller eq 'somebody'".to_owned(), 0),
        (" and eventTimestamp le '2027-01-15T08:00:20.0000000Z' and resourceProvider eq 'Microsoft.ManagedIdentity'".to_owned(), 4),
        (" and eventTimestamp ge '2027-01-15T08:00:20.0000001Z' and resourceProvider eq 'Microsoft.ManagedIdentity'".to_owned(), 2),
    ] {
        assert_eq!(events(&cloud, &filter).await.len(), count, "{filter}");
    }
    // As Azure CLI writes it.
    let path = filtered(
        &cloud.subscription(),
        "eventTimestamp ge 2027-01-15T08:00:05.123456 and eventTimestamp le 2027-01-15T08:00:15.654321 and resourceGroupName eq 'rg1'",
    );
    let answer = cloud.admin(Method::GET, &path, VERSION, None).await;
    assert_eq!(answer.body["value"].as_array().unwrap().len(), 2, "{}", answer.body);

    for top in [1, 3] {
        let first = filtered(&cloud.subscription(), SINCE);
        let mut answer =
            cloud.admin(Method::GET, &format!("{first}&$top={top}"), VERSION, None).await;
        let mut seen = Vec::new();
        loop {
            let page = answer.body["value"].as_array().unwrap().clone();
            assert!(page.len() <= top);
            seen.extend(page);
            let Some(next) = answer.body["nextLink"].as_str() else { break };
            let request = request(Method::GET, next, Some(cloud.administration.token()), None);
            answer = cloud.client.send(request).await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        assert_eq!(seen, all, "by {top}");
    }

    let path = filtered(&cloud.subscription(), SINCE);
    let selected = format!("{path}&$select=eventName , status");
    let answer = cloud.admin(Method::GET, &selected.replace(' ', "%20"), VERSION, None).await;
    let names: Vec<&String> = answer.body["value"][0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["eventName", "status"]);

    for wrong in ["", "$filter=", "$filter=caller%20eq%20%27x%27", "$filter=nonsense"] {
        let path = format!("{}{VALUES}?{wrong}", cloud.subscription());
        let answer = cloud.admin(Method::GET, &path, VERSION, None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {}", answer.body);
    }
    for wrong in ["$top=0", "$top=x", "$skiptoken=x", "$select=secrets"] {
        let answer = cloud.admin(Method::GET, &format!("{path}&{wrong}"), VERSION, None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {}", answer.body);
        assert_eq!(answer.body["error"]["code"], "InvalidParameter");
    }
}

#[tokio::test]
async fn the_log_is_for_readers_of_its_subscription() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("vm1", true, &[]).await;
    let token = cloud.vm_token("vm1", ARM_AUDIENCE, "").await;
    let path = filtered(&cloud.subscription(), SINCE);
    let ask = async || cloud.arm(Some(&token), Method::GET, &path, VERSION, None).await.status;
    assert_eq!(ask().await, StatusCode::FORBIDDEN);
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.group(), READER, principal).await;
    assert_eq!(ask().await, StatusCode::FORBIDDEN, "a group is less than its subscription");
    cloud.grant(&cloud.subscription(), READER, principal).await;
    assert_eq!(ask().await, StatusCode::OK);

    let categories = "/providers/Microsoft.Insights/eventcategories";
    let answer = cloud.arm(Some(&token), Method::GET, categories, VERSION, None).await;
    assert_eq!(answer.body["value"][0]["value"], "Administrative");
}

#[tokio::test]
async fn what_happens_outside_subscriptions_is_told_to_the_own_tenant_only() {
    let turnable_clock = Some(Arc::new(TurnableClock::default()));
    let cloud = Cloud::start_with(Choice { turnable_clock, ..Choice::default() }).await;
    cloud.govern().await;
    cloud.put_identity("only-here").await;
    let path = "/providers/Keycard.Local/createTenant";
    let made =
        cloud.admin(Method::POST, path, "2026-11-01", Some(json!({ "name": "other" }))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);

    let listed = async |administration: &Administration, filter: &str| -> Vec<Value> {
        let path = format!("{}&api-version={VERSION}", filtered("", filter));
        let answer = administration.arm(Method::GET, &path, None).await.unwrap();
        answer.body["value"].as_array().unwrap().clone()
    };
    let own = listed(&cloud.administration, "").await;
    let operations: BTreeSet<&str> =
        own.iter().map(|event| text(event, "/operationName/value")).collect();
    for expected in [
        "Microsoft.Authorization/elevateAccess/action",
        "Microsoft.Authorization/roleAssignments/write",
    ] {
        assert!(operations.contains(expected), "{operations:?}");
    }
    assert!(own.iter().all(|event| !text(event, "/resourceId").contains("only-here")));
    let all = serde_json::to_string(&own).unwrap();
    let secret = made.body["administrator"]["clientSecret"].as_str().unwrap();
    assert!(!all.contains(secret), "what was answered is not recorded");

    let text = |pointer: &str| made.body.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let description = keycard::description::Description {
        tenant_id: text("/tenantId"),
        subscription_id: text("/subscriptionId"),
        administrator: Administrator {
            client_id: text("/administrator/clientId"),
            client_secret: Secret::new(text("/administrator/clientSecret")),
            object_id: text("/administrator/objectId"),
        },
        ..cloud.description().clone()
    };
    let other = Administration::sign_in(cloud.client.clone(), &description).await.unwrap();
    let elevate = "/providers/Microsoft.Authorization/elevateAccess?api-version=2016-07-01";
    other.arm(Method::POST, elevate, None).await.unwrap();
    let administrator = &description.administrator.object_id;
    let role = "/providers/Microsoft.Authorization/roleAssignments/22222222-2222-2222-2222-222222222222?api-version=2022-04-01";
    let reader = json!({ "properties": {
        "roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{READER}"),
        "principalId": administrator,
    }});
    other.arm(Method::PUT, role, Some(&reader)).await.unwrap();
    let others = listed(&other, "").await;
    assert!(!others.is_empty());
    assert!(others.iter().all(|event| event["caller"] == json!(administrator)), "{others:?}");
}

#[tokio::test]
async fn no_secret_of_a_request_stands_in_the_log() {
    let cloud = Cloud::start().await;
    let password = "T0p-secret-of-the-request";
    let body = json!({
        "location": "local",
        "properties": { "osProfile": { "adminPassword": password }, "userData": password },
    });
    cloud.put(&cloud.vm_id("vm1"), "2024-07-01", body.clone()).await;
    cloud.put_vault("kv1", true).await;
    let secret = format!("{}/secrets/s1", cloud.vault_id("kv1"));
    cloud.put(&secret, "2023-07-01", json!({ "properties": { "value": password } })).await;
    let wrong = json!({ "location": 7, "properties": { "value": password } });
    let refused = cloud.admin(Method::PUT, &secret, "2023-07-01", Some(wrong)).await;
    assert!(refused.status.is_client_error() || refused.status.is_success());
    let all = events(&cloud, "").await;
    assert!(all.iter().any(|event| text(event, "/resourceId") == secret), "{:?}", told(&all));
    assert!(!serde_json::to_string(&all).unwrap().contains(password));
}
