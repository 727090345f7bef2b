//! Asynchronous operations over the wire: azure-semantics 9.3 and checklist 86, as az-cli-calls section 2 polls them.

use http::{Method, StatusCode};
use keycard::client::{Answer, request};
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{ARM_AUDIENCE, Cloud, VM_CONTRIBUTOR};
use crate::restart::Up;

/// Where an answer sends its client.
fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(|value| value.to_str().unwrap())
}

/// A GET at an address that an answer gave.
async fn poll(cloud: &Cloud, token: &Secret, url: &str) -> Answer {
    cloud.client.send(request(Method::GET, url, Some(token), None)).await.unwrap()
}

/// That the answer sends its client to these places, and what is found there.
async fn check(cloud: &Cloud, what: &str, answer: &Answer, status: u16, has: (bool, bool)) {
    assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.body);
    let (operation, location) =
        (header(answer, "azure-asyncoperation"), header(answer, "location"));
    assert_eq!((operation.is_some(), location.is_some()), has, "{what}");
    assert_eq!(header(answer, "retry-after"), Some("1"), "{what}");
    let token = cloud.administration.token();
    if let Some(url) = operation {
        let polled = poll(cloud, token, url).await;
        assert_eq!(polled.status, StatusCode::OK, "{what}: {}", polled.body);
        assert_eq!(polled.body["status"], "Succeeded", "{what}");
        assert_eq!(header(&polled, "retry-after"), Some("1"), "{what}");
        let name = polled.body["name"].as_str().unwrap();
        assert!(url.contains(&format!("/locations/westeurope/operations/{name}?")), "{url}");
        assert_eq!(polled.body["startTime"], "2027-01-15T08:00:00Z", "{what}");
        assert!(polled.body["endTime"].is_string(), "{what}");
    }
    if let Some(url) = location {
        let polled = poll(cloud, token, url).await;
        assert_eq!(polled.status, StatusCode::NO_CONTENT, "{what}: {}", polled.body);
        assert_eq!(header(&polled, "retry-after"), Some("1"), "{what}");
    }
}

#[tokio::test]
async fn each_long_running_request_has_its_form_and_is_over_at_the_first_poll() {
    let cloud = Cloud::start().await;
    let vm = cloud.vm_id("vm1");
    let set = vm.replace("virtualMachines/vm1", "virtualMachineScaleSets/set1");
    let instance = format!("{set}/virtualMachines/0");
    let kv1 = cloud.vault_id("kv1");
    cloud.put_vault("kv1", true).await;
    cloud.admin(Method::DELETE, &kv1, "2023-07-01", None).await;
    let purge = format!(
        "{}/providers/Microsoft.KeyVault/locations/local/deletedVaults/kv1/purge",
        cloud.subscription()
    );
    let body = |body: Value| Some(body);
    let new = || body(json!({ "location": "West Europe", "sku": { "capacity": 3 } }));
    let tags = || body(json!({ "tags": { "a": "b" } }));
    let ids = || body(json!({ "instanceIds": ["1"] }));
    let (status, both, result) = ((true, false), (true, true), (false, true));
    let mut asked = vec![
        (Method::PUT, vm.clone(), new(), 201, status),
        (Method::PUT, vm.clone(), new(), 200, status),
        (Method::PATCH, vm.clone(), tags(), 200, status),
        (Method::PUT, set.clone(), new(), 201, status),
        (Method::PATCH, set.clone(), tags(), 200, status),
    ];
    for verb in ["powerOff", "start", "restart", "reimage", "redeploy", "deallocate"] {
        for of in [&vm, &set, &instance] {
            asked.push((Method::POST, format!("{of}/{verb}"), None, 202, both));
        }
    }
    asked.extend([
        (Method::POST, format!("{vm}/deallocate"), None, 202, both),
        (Method::POST, format!("{set}/delete"), ids(), 202, both),
        (Method::DELETE, instance, None, 202, both),
        (Method::DELETE, set, None, 202, both),
        (Method::DELETE, vm, None, 202, both),
        (Method::POST, purge, None, 202, result),
        (Method::DELETE, cloud.group(), None, 202, result),
    ]);
    for (method, path, body, status, has) in asked {
        let answer = cloud.admin(method.clone(), &path, "2024-07-01", body).await;
        check(&cloud, &format!("{method} {path}"), &answer, status, has).await;
    }
}

#[tokio::test]
async fn what_is_done_at_once_or_not_at_all_sends_nobody_away() {
    let cloud = Cloud::start().await;
    let site = cloud.site_id("site1");
    let body = Some(json!({ "location": "local" }));
    for (method, path, body, status) in [
        (Method::PUT, site.clone(), body.clone(), 200),
        (Method::DELETE, site, None, 200),
        (Method::PUT, cloud.identity_id("aaa"), body, 201),
        (Method::DELETE, cloud.identity_id("aaa"), None, 200),
        (Method::DELETE, cloud.vm_id("absent"), None, 204),
        (Method::POST, format!("{}/start", cloud.vm_id("absent")), None, 404),
        (Method::DELETE, format!("{}/resourceGroups/absent", cloud.subscription()), None, 404),
    ] {
        let answer = cloud.admin(method.clone(), &path, "2024-07-01", body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.body);
        assert_eq!(header(&answer, "azure-asyncoperation"), None, "{method} {path}");
        // An identity's `Location` is itself.
        let location = header(&answer, "location").unwrap_or_default();
        assert!(!location.contains("operationresults"), "{method} {path}: {location}");
    }
}

/// A role on one machine is enough to stop it and to hear that it stopped; nobody else hears of it.
#[tokio::test]
async fn an_operation_is_told_to_whoever_began_it_and_to_nobody_else() {
    let cloud = Cloud::start().await;
    let actor = cloud.put_vm("actor", true, &[]).await;
    cloud.put_vm("other", false, &[]).await;
    let principal = actor["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.vm_id("other"), VM_CONTRIBUTOR, principal).await;
    let token = cloud.vm_token("actor", ARM_AUDIENCE, "").await;
    let stop = format!("{}/deallocate", cloud.vm_id("other"));
    let answer = cloud.arm(Some(&token), Method::POST, &stop, "2024-07-01", None).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    for name in ["azure-asyncoperation", "location"] {
        let url = header(&answer, name).unwrap();
        assert!(poll(&cloud, &token, url).await.status.is_success(), "{name}");
        let administrator = poll(&cloud, cloud.administration.token(), url).await;
        assert_eq!(administrator.status, StatusCode::NOT_FOUND, "{name}");
        let nobody = Secret::new("x".to_owned());
        assert_eq!(poll(&cloud, &nobody, url).await.status, StatusCode::UNAUTHORIZED, "{name}");
    }
    let url = header(&answer, "azure-asyncoperation").unwrap();
    for wrong in [
        url.replace("/operations/0", "/operations/1"),
        url.replace("/operations/", "/operations/x"),
    ] {
        assert_eq!(poll(&cloud, &token, &wrong).await.status, StatusCode::NOT_FOUND, "{wrong}");
    }
}

#[tokio::test]
async fn an_operation_is_over_also_after_a_restart_of_the_server() {
    let directory = TempDir::new().unwrap();
    let up = Up::start(directory.path()).await;
    let group = format!("/subscriptions/{}/resourceGroups/rg1", up.description.subscription_id);
    let vm = format!("{group}/providers/Microsoft.Compute/virtualMachines/vm1");
    let body = json!({ "location": "local" });
    let send = async |up: &Up, method: Method, path: &str, body: Option<&Value>| {
        let path = format!("{path}?api-version=2024-07-01");
        up.administration.arm(method, &path, body).await.unwrap()
    };
    send(&up, Method::PUT, &group, Some(&body)).await;
    send(&up, Method::PUT, &vm, Some(&body)).await;
    let begun = send(&up, Method::POST, &format!("{vm}/deallocate"), None).await;
    let deleted = send(&up, Method::DELETE, &group, None).await;
    up.kill();

    let up = Up::start(directory.path()).await;
    let path = |answer: &Answer, name: &str| {
        let url = header(answer, name).unwrap();
        url[url.find("/subscriptions/").unwrap()..].to_owned()
    };
    let polled = path(&begun, "azure-asyncoperation");
    let answer = up.administration.arm(Method::GET, &polled, None).await.unwrap();
    assert_eq!(answer.body["status"], "Succeeded", "{}", answer.body);
    assert_eq!(answer.body["resourceId"], vm);
    for answer in [&begun, &deleted] {
        let polled = path(answer, "location");
        let answer = up.administration.arm(Method::GET, &polled, None).await.unwrap();
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
    }
    up.kill();
}
