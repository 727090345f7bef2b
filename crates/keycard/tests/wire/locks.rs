//! Management locks: azure-semantics checklist 87, and what else a lock is in the way of.

use http::{Method, StatusCode};
use keycard::client::Answer;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, READER, VAULT_AUDIENCE};

const VERSION: &str = "2016-09-01";
/// User Access Administrator, and Contributor, who may do everything but give roles and put locks.
const ACCESS_ADMINISTRATOR: &str = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9";
const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";

impl Cloud {
    async fn lock(&self, scope: &str, level: &str) -> Answer {
        let body = json!({ "properties": { "level": level, "notes": "keep" } });
        self.admin(Method::PUT, &lock_id(scope, "L1"), VERSION, Some(body)).await
    }

    async fn unlock(&self, scope: &str) {
        let answer = self.admin(Method::DELETE, &lock_id(scope, "L1"), VERSION, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.admin(method, path, "2024-11-01", body).await
    }
}

fn lock_id(scope: &str, name: &str) -> String {
    format!("{scope}/providers/Microsoft.Authorization/locks/{name}")
}

fn names(list: &Answer) -> Vec<&str> {
    let items = list.body["value"].as_array().unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

fn refused(answer: &Answer, scope: &str, operation: &str, locked: &str) {
    let message = format!(
        "The scope '{scope}' cannot perform {operation} operation because following scope(s) are locked: '{locked}'. Please remove the lock and try again."
    );
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
    assert_eq!(answer.body, json!({ "error": { "code": "ScopeLocked", "message": message } }));
}

#[tokio::test]
async fn a_lock_is_made_changed_listed_and_taken_away() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", false, &[]).await;
    let (group, vm) = (cloud.group(), cloud.vm_id("vm1"));
    let made = cloud.lock(&vm, "CanNotDelete").await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(
        made.body,
        json!({
            "properties": { "level": "CanNotDelete", "notes": "keep" },
            "id": lock_id(&vm, "L1"),
            "type": "Microsoft.Authorization/locks",
            "name": "L1",
        })
    );
    let again = cloud.lock(&vm.to_uppercase(), "readonly").await;
    assert_eq!(
        (again.status, &again.body["properties"]["level"], &again.body["id"]),
        (StatusCode::OK, &json!("ReadOnly"), &json!(lock_id(&vm, "L1")))
    );
    // Early clients send the properties bare.
    let bare = json!({ "level": "CanNotDelete", "owners": [{ "applicationId": "a" }] });
    let put = |scope: &str, name: &str, body: Value| {
        let path = lock_id(scope, name);
        let cloud = &cloud;
        async move { cloud.admin(Method::PUT, &path, VERSION, Some(body)).await }
    };
    assert_eq!(put(&group, "L2", bare).await.status, StatusCode::CREATED);
    let read_only = json!({ "properties": { "level": "ReadOnly" } });
    assert_eq!(put(&cloud.subscription(), "L3", read_only).await.status, StatusCode::CREATED);
    let list = async |scope: &str, filter: &str| {
        let path = format!("{scope}/providers/Microsoft.Authorization/locks{filter}");
        cloud.admin(Method::GET, &path, VERSION, None).await
    };
    assert_eq!(names(&list(&cloud.subscription(), "").await), ["L1", "L2", "L3"]);
    assert_eq!(names(&list(&group, "").await), ["L1", "L2", "L3"]);
    assert_eq!(names(&list(&group, "?$filter=atScope()").await), ["L2", "L3"]);
    assert_eq!(list(&group, "?$filter=level%20eq%201").await.status, StatusCode::BAD_REQUEST);
    let shown = cloud.admin(Method::GET, &lock_id(&group, "l2"), VERSION, None).await;
    assert_eq!(shown.body["properties"]["owners"], json!([{ "applicationId": "a" }]));
    cloud.unlock(&vm).await;
    let absent = cloud.admin(Method::DELETE, &lock_id(&vm, "L1"), VERSION, None).await;
    assert_eq!(absent.status, StatusCode::NO_CONTENT);
    let gone = cloud.admin(Method::GET, &lock_id(&vm, "L1"), VERSION, None).await;
    assert_eq!(
        (gone.status, &gone.body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("LockNotFound"))
    );
}

#[tokio::test]
async fn only_what_is_there_can_be_locked_and_a_lock_follows_its_rules() {
    let cloud = Cloud::start().await;
    let group = cloud.group();
    let put = async |scope: &str, name: &str, properties: Value| {
        let body = json!({ "properties": properties });
        let answer = cloud.admin(Method::PUT, &lock_id(scope, name), VERSION, Some(body)).await;
        let code = answer.body["error"]["code"].as_str().unwrap_or_default().to_owned();
        (answer.status.as_u16(), code)
    };
    let level = || json!({ "level": "ReadOnly" });
    for (scope, name, properties, expected) in [
        (cloud.vm_id("none"), "l", level(), (404, "ResourceNotFound")),
        (format!("{group}/providers/Contoso.Made/ups/x"), "l", level(), (404, "ResourceNotFound")),
        (format!("{group}9"), "l", level(), (404, "ResourceGroupNotFound")),
        (format!("{group}/providers/Contoso.Made"), "l", level(), (400, "InvalidScope")),
        (group.clone(), "a:b", level(), (400, "InvalidLockName")),
        (group.clone(), "l", json!({ "level": "NotSpecified" }), (400, "InvalidLockLevel")),
        (group.clone(), "l", json!({}), (400, "InvalidLockLevel")),
        (
            group.clone(),
            "l",
            json!({ "level": "ReadOnly", "notes": "n".repeat(513) }),
            (400, "InvalidLockNotes"),
        ),
        (
            group.clone(),
            "l",
            json!({ "level": "ReadOnly", "owners": vec![json!({ "applicationId": "a" }); 21] }),
            (400, "InvalidLockOwners"),
        ),
    ] {
        let answer = put(&scope, name, properties).await;
        assert_eq!(answer, (expected.0, expected.1.to_owned()), "{scope} {name}");
    }
    for number in 0..20 {
        assert_eq!(put(&group, &format!("l{number}"), level()).await.0, 201);
    }
    assert_eq!(put(&group, "l20", level()).await, (409, "LockLimitExceeded".to_owned()));
    assert_eq!(put(&group, "L0", level()).await.0, 200);
}

/// 87
#[tokio::test]
async fn what_cannot_be_deleted_can_be_changed_and_takes_no_ancestor_along() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let (group, vm) = (cloud.group(), cloud.vm_id("vm1"));
    let principal = cloud.put_vm("reader", true, &[]).await["identity"]["principalId"].clone();
    let assignment = cloud.grant(&vm, READER, principal.as_str().unwrap()).await;
    cloud.lock(&vm, "CanNotDelete").await;
    cloud.put_vm("vm1", true, &[]).await;
    let tags = json!({ "tags": { "a": "b" } });
    assert_eq!(cloud.ask(Method::PATCH, &vm, Some(tags)).await.status, StatusCode::OK);
    let restarted = cloud.ask(Method::POST, &format!("{vm}/restart"), None).await;
    assert_eq!(restarted.status, StatusCode::ACCEPTED);
    refused(&cloud.ask(Method::DELETE, &vm, None).await, &vm, "delete", &vm);
    refused(&cloud.ask(Method::DELETE, &assignment, None).await, &assignment, "delete", &vm);
    refused(&cloud.ask(Method::DELETE, &group, None).await, &group, "delete", &vm);
    assert_eq!(cloud.ask(Method::GET, &vm, None).await.status, StatusCode::OK);
    // From above: the group's lock is the VM's too.
    cloud.unlock(&vm).await;
    cloud.lock(&group, "CanNotDelete").await;
    refused(&cloud.ask(Method::DELETE, &vm, None).await, &vm, "delete", &group);
    cloud.lock(&cloud.subscription(), "ReadOnly").await;
    let both = format!("{},{group}", cloud.subscription());
    refused(&cloud.ask(Method::DELETE, &vm, None).await, &vm, "delete", &both);
    cloud.unlock(&cloud.subscription()).await;
    cloud.unlock(&group).await;
    assert_eq!(cloud.ask(Method::DELETE, &group, None).await.status, StatusCode::ACCEPTED);
}

/// 87
#[tokio::test]
async fn what_is_read_only_is_neither_written_nor_acted_on_nor_given_roles_on() {
    let cloud = Cloud::start().await;
    let principal = cloud.put_vm("vm1", true, &[]).await["identity"]["principalId"].clone();
    cloud.put_identity("mi-1").await;
    cloud.open_vault("kv1").await;
    let (group, vm) = (cloud.group(), cloud.vm_id("vm1"));
    cloud.lock(&group, "ReadOnly").await;
    let put = json!({ "location": "local" });
    for (method, path, body) in [
        (Method::PUT, vm.clone(), Some(put.clone())),
        (Method::PUT, cloud.vm_id("new"), Some(put.clone())),
        (Method::PATCH, vm.clone(), Some(json!({ "tags": {} }))),
        (Method::PUT, group.clone(), Some(put.clone())),
    ] {
        refused(&cloud.ask(method, &path, body).await, &path, "write", &group);
    }
    for (path, scope) in [
        (format!("{vm}/start"), vm.clone()),
        (format!("{vm}/deallocate"), vm.clone()),
        (format!("{}/revokeTokens", cloud.identity_id("mi-1")), cloud.identity_id("mi-1")),
    ] {
        refused(&cloud.ask(Method::POST, &path, None).await, &scope, "write", &group);
    }
    let secret = format!("{}/secrets/s", cloud.vault_id("kv1"));
    let value = json!({ "properties": { "value": "x" } });
    refused(&cloud.ask(Method::PUT, &secret, Some(value)).await, &secret, "write", &group);
    let assignment = format!(
        "{vm}/providers/Microsoft.Authorization/roleAssignments/11111111-1111-1111-1111-111111111111"
    );
    let role = json!({ "properties": {
        "roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{READER}"),
        "principalId": principal,
    }});
    refused(&cloud.ask(Method::PUT, &assignment, Some(role)).await, &assignment, "write", &group);
    refused(&cloud.ask(Method::DELETE, &vm, None).await, &vm, "delete", &group);
    // Looking goes on, whatever its method.
    assert_eq!(cloud.ask(Method::GET, &vm, None).await.status, StatusCode::OK);
    let check = format!("{vm}/providers/Microsoft.Authorization/checkAccess");
    let asked = cloud.ask(Method::POST, &check, Some(json!({ "Subject": {} }))).await;
    assert_ne!(asked.body["error"]["code"], "ScopeLocked");
    for look in ["validate", "whatIf"] {
        let path = format!("{group}/providers/Microsoft.Resources/deployments/d/{look}");
        let template = json!({ "$schema": "x", "contentVersion": "1.0.0.0", "resources": [] });
        let body = json!({ "properties": { "mode": "Incremental", "template": template } });
        let looked = cloud.ask(Method::POST, &path, Some(body)).await;
        assert_eq!(looked.status, StatusCode::OK, "{}", looked.body);
    }
    // The subscription, and groups beside, are free.
    let beside = format!("{}/resourceGroups/rg2", cloud.subscription());
    assert_eq!(cloud.ask(Method::PUT, &beside, Some(put)).await.status, StatusCode::CREATED);
    cloud.unlock(&group).await;
    assert_eq!(
        cloud.ask(Method::POST, &format!("{vm}/start"), None).await.status,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn a_lock_is_on_the_control_plane_only() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv1").await;
    cloud.put_vm("vm1", true, &[]).await;
    cloud.lock(&cloud.subscription(), "ReadOnly").await;
    let url = cloud.vault_url("kv1", "/secrets/s?api-version=7.4");
    let set = cloud.vault(Some(&token), Method::PUT, &url, Some(json!({ "value": "x" }))).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    let deleted = cloud.vault(Some(&token), Method::DELETE, &url, None).await;
    assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.body);
    // A token, with the credential that is made for it, is no change of the resource.
    cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
}

#[tokio::test]
async fn locks_are_for_those_who_give_roles_and_rights_come_first() {
    let cloud = Cloud::start().await;
    let mut tokens = Vec::new();
    for (name, role) in [("owner", ACCESS_ADMINISTRATOR), ("contributor", CONTRIBUTOR)] {
        let vm = cloud.put_vm(name, true, &[]).await;
        cloud.grant(&cloud.group(), role, vm["identity"]["principalId"].as_str().unwrap()).await;
        tokens.push(cloud.vm_token(name, ARM_AUDIENCE, "").await);
    }
    cloud.put_vm("stranger", true, &[]).await;
    let stranger = cloud.vm_token("stranger", ARM_AUDIENCE, "").await;
    let [administrator, contributor] = tokens.as_slice() else { panic!() };
    let one = lock_id(&cloud.group(), "L1");
    let body = || Some(json!({ "properties": { "level": "ReadOnly" } }));
    let status = async |token, method, path: &str, body| {
        cloud.arm(Some(token), method, path, VERSION, body).await.status.as_u16()
    };
    assert_eq!(status(contributor, Method::PUT, &one, body()).await, 403);
    assert_eq!(status(administrator, Method::PUT, &one, body()).await, 201);
    assert_eq!(status(contributor, Method::DELETE, &one, None).await, 403);
    let vm = cloud.vm_id("owner");
    assert_eq!(status(&stranger, Method::DELETE, &vm, None).await, 403);
    assert_eq!(status(contributor, Method::DELETE, &vm, None).await, 409);
    // What is not there is not locked.
    assert_eq!(status(contributor, Method::DELETE, &cloud.vm_id("none"), None).await, 204);
    assert_eq!(status(administrator, Method::DELETE, &one, None).await, 200);
    assert_eq!(status(contributor, Method::DELETE, &vm, None).await, 202);
}

#[tokio::test]
async fn a_deployment_stops_at_a_lock_and_is_not_stuck() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", false, &[]).await;
    cloud.put_identity("mi-1").await;
    let (group, vm) = (cloud.group(), cloud.vm_id("vm1"));
    let deployment = format!("{group}/providers/Microsoft.Resources/deployments/d");
    let deploy = async |mode: &str, resources: Value| {
        let template = json!({
            "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
            "contentVersion": "1.0.0.0",
            "resources": resources,
        });
        let body = json!({ "properties": { "mode": mode, "template": template } });
        cloud.ask(Method::PUT, &deployment, Some(body)).await
    };
    let ended = async || loop {
        let body = cloud.ask(Method::GET, &deployment, None).await.body;
        if !["Accepted", "Running"]
            .contains(&body["properties"]["provisioningState"].as_str().unwrap())
        {
            return body["properties"].clone();
        }
    };
    // Complete: what is not in the template goes, but for what is locked.
    cloud.lock(&vm, "CanNotDelete").await;
    assert_eq!(deploy("Complete", json!([])).await.status, StatusCode::CREATED);
    let failed = ended().await;
    assert_eq!(failed["provisioningState"], "Failed");
    assert!(failed["error"].to_string().contains("ScopeLocked"), "{failed}");
    assert_eq!(cloud.ask(Method::GET, &vm, None).await.status, StatusCode::OK);
    // Incremental: a locked resource is not written.
    cloud.lock(&vm, "ReadOnly").await;
    let resource = json!({
        "type": "Microsoft.Compute/virtualMachines",
        "apiVersion": "2024-07-01",
        "name": "vm1",
        "location": "local",
        "tags": { "new": "" },
    });
    assert_eq!(deploy("Incremental", json!([resource])).await.status, StatusCode::OK);
    let failed = ended().await;
    assert_eq!(failed["provisioningState"], "Failed");
    assert!(failed["error"].to_string().contains("cannot perform write operation"), "{failed}");
    // The history is part of the group.
    cloud.lock(&group, "CanNotDelete").await;
    refused(&cloud.ask(Method::DELETE, &deployment, None).await, &deployment, "delete", &group);
    cloud.lock(&group, "ReadOnly").await;
    refused(&deploy("Incremental", json!([])).await, &deployment, "write", &group);
}

/// A template may lock what it made, its own group included.
#[tokio::test]
async fn a_deployment_that_locks_its_group_ends() {
    let cloud = Cloud::start().await;
    let deployment = format!("{}/providers/Microsoft.Resources/deployments/d", cloud.group());
    let body = json!({ "properties": { "mode": "Incremental", "template": {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [{
            "type": "Microsoft.Authorization/locks",
            "apiVersion": "2020-05-01",
            "name": "L1",
            "properties": { "level": "ReadOnly", "notes": "as deployed" },
        }],
    }}});
    cloud.ask(Method::PUT, &deployment, Some(body)).await;
    let end = async || loop {
        let shown = cloud.ask(Method::GET, &deployment, None).await.body;
        if shown["properties"]["provisioningState"] != "Running" {
            return shown;
        }
    };
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), end()).await;
    assert_eq!(ended.unwrap()["properties"]["provisioningState"], "Succeeded");
    let shown = cloud.admin(Method::GET, &lock_id(&cloud.group(), "L1"), VERSION, None).await;
    assert_eq!(shown.body["properties"]["notes"], "as deployed");
}

#[tokio::test]
async fn a_locked_instance_stays_whatever_is_done_to_its_set() {
    let cloud = Cloud::start().await;
    let set = format!("{}/providers/Microsoft.Compute/virtualMachineScaleSets/s", cloud.group());
    let body = |capacity: u32| json!({ "location": "local", "sku": { "capacity": capacity } });
    cloud.put(&set, "2024-11-01", body(3)).await;
    let instance = |number: u32| format!("{set}/virtualMachines/{number}");
    cloud.lock(&instance(2), "CanNotDelete").await;
    let scaled = cloud.ask(Method::PATCH, &set, Some(json!({ "sku": { "capacity": 1 } }))).await;
    refused(&scaled, &instance(2), "delete", &instance(2));
    let all = format!("{set}/delete");
    let of = |ids: Value| Some(json!({ "instanceIds": ids }));
    let deleted = cloud.ask(Method::POST, &all, of(json!(["2"]))).await;
    refused(&deleted, &instance(2), "delete", &instance(2));
    let deleted = cloud.ask(Method::POST, &all, of(json!(["0"]))).await;
    assert!(deleted.status.is_success(), "{}", deleted.body);
    let deleted = cloud.ask(Method::DELETE, &instance(2), None).await;
    refused(&deleted, &instance(2), "delete", &instance(2));
    cloud.unlock(&instance(2)).await;
    cloud.lock(&set, "CanNotDelete").await;
    let deleted = cloud.ask(Method::POST, &all, of(json!(["1"]))).await;
    refused(&deleted, &set, "delete", &set);
}

#[tokio::test]
async fn a_locked_vault_is_neither_deleted_nor_lost_with_its_group() {
    let cloud = Cloud::start().await;
    cloud.open_vault("kv1").await;
    let vault = cloud.vault_id("kv1");
    cloud.lock(&vault, "CanNotDelete").await;
    refused(&cloud.ask(Method::DELETE, &vault, None).await, &vault, "delete", &vault);
    refused(
        &cloud.ask(Method::DELETE, &cloud.group(), None).await,
        &cloud.group(),
        "delete",
        &vault,
    );
}
