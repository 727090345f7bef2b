//! Moves to another group or subscription: azure-semantics 1.7, "VM resource moved".

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, OWNER, READER, SECRETS_USER, VAULT_AUDIENCE, claims};

const VERSION: &str = "2024-11-01";
const QUERY: &str = "api-version=2018-02-01&resource=https://vault.azure.net";

impl Cloud {
    async fn second_group(&self) -> String {
        let group = format!("{}/resourceGroups/RG2", self.subscription());
        self.put(&group, VERSION, json!({ "location": "local" })).await;
        group
    }

    async fn move_to(&self, verb: &str, target: &str, resources: &[&str]) -> Answer {
        let body = json!({ "resources": resources, "targetResourceGroup": target });
        let path = format!("{}/{verb}", self.group());
        self.admin(Method::POST, &path, VERSION, Some(body)).await
    }

    async fn moved_to(&self, target: &str, resources: &[&str]) {
        let answer = self.move_to("moveResources", target, resources).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
    }

    async fn status(&self, path: &str) -> u16 {
        self.admin(Method::GET, path, VERSION, None).await.status.as_u16()
    }

    async fn read_secret(&self, token: &Secret) -> u16 {
        let url = self.vault_url("kv1", "/secrets/door?api-version=7.4");
        self.vault(Some(token), Method::GET, &url, None).await.status.as_u16()
    }

    /// A vault with a secret.
    async fn door(&self) {
        let token = self.open_vault("kv1").await;
        let url = self.vault_url("kv1", "/secrets/door?api-version=7.4");
        let set = self.vault(Some(&token), Method::PUT, &url, Some(json!({ "value": "x" }))).await;
        assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    }
}

fn placed(id: &str, group: &str) -> String {
    format!("{group}/providers/{}", id.split("/providers/").nth(1).unwrap())
}

async fn ask(cloud: &Cloud, url: &str, header: Option<&str>, query: &str) -> Answer {
    let headers: Vec<(&str, &str)> = match header {
        Some(secret) => vec![("X-IDENTITY-HEADER", secret)],
        None => vec![("Metadata", "true")],
    };
    cloud.get(&format!("{url}?{query}"), &headers).await
}

fn token_of(answer: &Answer) -> Secret {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    Secret::new(answer.body["access_token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_machine_that_moves_keeps_its_identities_its_endpoint_and_its_tokens() {
    let cloud = Cloud::start().await;
    cloud.door().await;
    let assigned = cloud.put_identity("mi-1").await;
    let before = cloud.put_vm("vm1", true, &["mi-1"]).await;
    let group = cloud.second_group().await;
    let (vm, moved) = (cloud.vm_id("vm1"), placed(&cloud.vm_id("vm1"), &group));
    let system = before["identity"]["principalId"].as_str().unwrap().to_owned();
    cloud.grant(&cloud.vault_id("kv1"), SECRETS_USER, &system).await;
    let given = cloud.grant(&vm, READER, &system).await;
    let url = format!("{}/metadata/identity/oauth2/token", cloud.imds("vm1").await);
    let client = assigned["properties"]["clientId"].as_str().unwrap();
    let own = format!("{QUERY}&client_id={client}");
    let old_token = token_of(&ask(&cloud, &url, None, QUERY).await);
    let old_assigned = token_of(&ask(&cloud, &url, None, &own).await);
    cloud.moved_to(&group, &[&vm.to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions")]).await;

    assert_eq!((cloud.status(&vm).await, cloud.status(&moved).await), (404, 200));
    let mut after = cloud.admin(Method::GET, &moved, VERSION, None).await.body;
    assert_eq!(after["id"], json!(moved));
    after["id"] = before["id"].clone();
    assert_eq!(after, before);
    // The same endpoint, and tokens of the same identities, which say where they come from now.
    assert_eq!(
        cloud.attachment(&moved).await["url"],
        json!(url.split("/metadata").next().unwrap())
    );
    let token = token_of(&ask(&cloud, &url, None, QUERY).await);
    assert_eq!(claims(&token)["oid"], json!(system));
    let lower = |id: &str| id.replacen("/resourceGroups/", "/resourcegroups/", 1);
    assert_eq!(claims(&token)["xms_az_rid"], json!(lower(&moved)));
    let of_assigned = token_of(&ask(&cloud, &url, None, &own).await);
    assert_eq!(claims(&of_assigned)["oid"], assigned["properties"]["principalId"]);
    for good in [&old_token, &token] {
        assert_eq!(cloud.read_secret(good).await, 200);
    }
    for known in [&old_assigned, &of_assigned] {
        assert_eq!(cloud.read_secret(known).await, 403);
    }
    // What was given on the machine is gone, and what comes after it there does not find it.
    assert_eq!(cloud.status(&given).await, 404);
    // The directory hears of the move with the next update.
    let path = format!("/servicePrincipals/{system}");
    let graph = cloud.admin_token("https://graph.microsoft.com").await;
    let names = async || {
        let shown = cloud.graph(Some(&graph), Method::GET, &path, None).await.body;
        shown["alternativeNames"][1].as_str().unwrap().to_owned()
    };
    assert_eq!(names().await, lower(&vm));
    let tags = Some(json!({ "tags": { "a": "b" } }));
    cloud.admin(Method::PATCH, &moved, VERSION, tags).await;
    assert_eq!(names().await, lower(&moved));
    // A new machine at the former place is another one.
    let new = cloud.put_vm("vm1", true, &[]).await;
    assert_ne!(new["identity"]["principalId"], json!(system));
    assert_ne!(new["properties"]["vmId"], before["properties"]["vmId"]);
    assert_ne!(cloud.attachment(&vm).await["url"], cloud.attachment(&moved).await["url"]);
    assert_eq!(cloud.read_secret(&old_token).await, 200);
    // And the identity goes with the machine that has it.
    cloud.admin(Method::DELETE, &moved, VERSION, None).await;
    assert_eq!(cloud.read_secret(&old_token).await, 401);
    assert_eq!(cloud.read_secret(&old_assigned).await, 401);
}

#[tokio::test]
async fn sites_and_scale_sets_move_and_so_do_their_endpoints() {
    let cloud = Cloud::start().await;
    cloud.door().await;
    let group = cloud.second_group().await;
    let site = cloud.site_id("site1");
    let set = format!("{}/providers/Microsoft.Compute/virtualMachineScaleSets/s", cloud.group());
    let identity = json!({ "type": "SystemAssigned" });
    let body = json!({ "location": "local", "identity": identity });
    let made = cloud.put(&site, "2024-04-01", body).await;
    let body = json!({ "location": "local", "identity": identity, "sku": { "capacity": 2 } });
    let of_set = cloud.put(&set, VERSION, body).await;
    for body in [&made, &of_set] {
        let principal = body["identity"]["principalId"].as_str().unwrap();
        cloud.grant(&cloud.vault_id("kv1"), SECRETS_USER, principal).await;
    }
    let instance = format!("{set}/virtualMachines/1");
    let (of_site, of_instance) = (cloud.attachment(&site).await, cloud.attachment(&instance).await);
    let url = format!("{}/metadata/identity/oauth2/token", of_instance["url"].as_str().unwrap());
    let old = token_of(&ask(&cloud, &url, None, QUERY).await);
    cloud.moved_to(&group, &[&site, &set]).await;
    let moved = cloud.attachment(&placed(&site, &group)).await;
    assert_eq!((&moved["url"], &moved["header"]), (&of_site["url"], &of_site["header"]));
    let query = "api-version=2019-08-01&resource=https://vault.azure.net";
    let (url_of_site, header) = (moved["url"].as_str().unwrap(), moved["header"].as_str());
    let token = token_of(&ask(&cloud, url_of_site, header, query).await);
    assert_eq!(claims(&token)["oid"], made["identity"]["principalId"]);
    assert_eq!(cloud.read_secret(&token).await, 200);
    let moved = cloud.attachment(&placed(&instance, &group)).await;
    assert_eq!(moved["url"], of_instance["url"]);
    let token = token_of(&ask(&cloud, &url, None, QUERY).await);
    assert_eq!(claims(&token)["oid"], of_set["identity"]["principalId"]);
    for good in [&token, &old] {
        assert_eq!(cloud.read_secret(good).await, 200);
    }
}

#[tokio::test]
async fn parts_move_with_what_they_are_a_part_of_and_not_alone() {
    let cloud = Cloud::start().await;
    cloud.door().await;
    let group = cloud.second_group().await;
    let (site, vm) = (cloud.site_id("site1"), cloud.vm_id("vm1"));
    let slot = format!("{site}/slots/staging");
    let extension = format!("{vm}/extensions/script");
    let body = json!({ "location": "local", "identity": { "type": "SystemAssigned" } });
    cloud.put(&site, "2024-04-01", body.clone()).await;
    let of_slot = cloud.put(&slot, "2024-04-01", body).await;
    let principal = of_slot["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.vault_id("kv1"), SECRETS_USER, principal).await;
    let given = cloud.grant(&slot, READER, principal).await;
    cloud.put_vm("vm1", false, &[]).await;
    let kept = json!({ "location": "local", "properties": { "type": "x" } });
    let kept = cloud.put(&extension, "2024-07-01", kept).await;
    let endpoint = cloud.attachment(&slot).await;
    let (url, header) = (endpoint["url"].as_str().unwrap(), endpoint["header"].as_str());
    let query = "api-version=2019-08-01&resource=https://vault.azure.net";
    let old = token_of(&ask(&cloud, url, header, query).await);

    let alone = cloud.move_to("moveResources", &group, &[&slot]).await;
    assert_eq!(alone.body["error"]["details"][0]["code"], "ResourceMoveNotSupported");
    cloud.moved_to(&group, &[&site, &vm]).await;

    for former in [&site, &slot, &vm, &extension, &given] {
        assert_eq!(cloud.status(former).await, 404, "{former}");
    }
    let moved = cloud.admin(Method::GET, &placed(&slot, &group), VERSION, None).await.body;
    assert_eq!(moved["identity"], of_slot["identity"]);
    assert_eq!(cloud.attachment(&placed(&slot, &group)).await["url"], endpoint["url"]);
    let token = token_of(&ask(&cloud, url, header, query).await);
    assert_eq!(claims(&token)["oid"], json!(principal));
    for good in [&old, &token] {
        assert_eq!(cloud.read_secret(good).await, 200);
    }
    let moved = cloud.admin(Method::GET, &placed(&extension, &group), VERSION, None).await.body;
    assert_eq!(moved["properties"], kept["properties"]);
    // Nothing of the former parts comes back with what is made at the former place.
    cloud.put_vm("vm1", false, &[]).await;
    assert_eq!(cloud.status(&extension).await, 404);
}

#[tokio::test]
async fn a_cluster_stays_with_its_nodes() {
    let cloud = Cloud::start().await;
    let group = cloud.second_group().await;
    let cluster =
        format!("{}/providers/Microsoft.ContainerService/managedClusters/a", cloud.group());
    let pools = json!([{ "name": "np1", "count": 1 }]);
    let body = json!({
        "location": "local",
        "identity": { "type": "SystemAssigned" },
        "properties": { "agentPoolProfiles": pools },
    });
    cloud.put(&cluster, "2024-11-01", body).await;
    let refused = cloud.move_to("moveResources", &group, &[&cluster]).await;
    assert_eq!(refused.body["error"]["details"][0]["code"], "ResourceMoveNotSupported");
}

#[tokio::test]
async fn a_vault_moves_with_what_it_holds_and_without_what_was_given_on_it() {
    let cloud = Cloud::start().await;
    cloud.door().await;
    let group = cloud.second_group().await;
    let administrator = cloud.admin_token(VAULT_AUDIENCE).await;
    assert_eq!(cloud.read_secret(&administrator).await, 200);
    let moved = placed(&cloud.vault_id("kv1"), &group);
    cloud.moved_to(&group, &[&cloud.vault_id("kv1")]).await;
    assert_eq!(
        (cloud.status(&moved).await, cloud.status(&cloud.vault_id("kv1")).await),
        (200, 404)
    );
    assert_eq!(cloud.read_secret(&administrator).await, 403);
    cloud.grant(&moved, SECRETS_USER, &cloud.description().administrator.object_id).await;
    assert_eq!(cloud.read_secret(&administrator).await, 200);
}

#[tokio::test]
async fn all_resources_of_a_request_move_or_none() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", false, &[]).await;
    cloud.put_vm("vm2", false, &[]).await;
    cloud.put_identity("mi-1").await;
    let group = cloud.second_group().await;
    cloud.put(&placed(&cloud.vm_id("vm2"), &group), VERSION, json!({ "location": "local" })).await;
    let (vm, identity) = (cloud.vm_id("vm1"), cloud.identity_id("mi-1"));
    let elsewhere = placed(&cloud.vm_id("vm2"), &group);
    for verb in ["moveResources", "validateMoveResources"] {
        let ids = [&vm, &identity, &cloud.vm_id("none"), &cloud.vm_id("vm2"), &elsewhere];
        let refused = cloud.move_to(verb, &group, &ids.map(String::as_str)).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.body);
        let error = &refused.body["error"];
        assert_eq!(error["code"], "ResourceMoveValidationFailed");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with("The resource batch move request has '4' validation errors. Diagnostic information: timestamp '"),
            "{message}"
        );
        assert_eq!(
            error["details"][0],
            json!({
                "code": "ResourceMoveNotSupported",
                "target": identity,
                "message": "Resource move is not supported for resource types 'Microsoft.ManagedIdentity/userAssignedIdentities'.",
            })
        );
        let codes: Vec<&Value> =
            error["details"].as_array().unwrap().iter().map(|it| &it["code"]).collect();
        assert_eq!(
            codes,
            [
                "ResourceMoveNotSupported",
                "ResourceNotFound",
                "ResourceExistsInTarget",
                "ResourceNotInSourceGroup"
            ]
        );
    }
    assert_eq!(cloud.status(&vm).await, 200);
    let valid = cloud.move_to("validateMoveResources", &group, &[&vm]).await;
    assert_eq!((valid.status, cloud.status(&vm).await), (StatusCode::NO_CONTENT, 200));
    for (target, resources, status, code) in [
        (format!("{group}9"), vec![vm.as_str()], 404, "ResourceGroupNotFound"),
        (cloud.group(), vec![vm.as_str()], 409, "ResourceMoveValidationFailed"),
        (cloud.subscription(), vec![vm.as_str()], 400, "InvalidRequestContent"),
        ("here".to_owned(), vec![vm.as_str()], 400, "InvalidRequestContent"),
        (group.clone(), vec![], 400, "InvalidRequestContent"),
        (group.clone(), vec!["vm1"], 400, "InvalidRequestContent"),
    ] {
        let refused = cloud.move_to("moveResources", &target, &resources).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["error"]["code"]),
            (status, &json!(code)),
            "{target}: {}",
            refused.body
        );
    }
    let denies = "11111111-2222-3333-4444-555555555555";
    let deny = format!("{vm}/providers/Microsoft.Authorization/denyAssignments/{denies}");
    cloud
        .put(
            &deny,
            "2024-07-01-preview",
            json!({ "properties": {
                "denyAssignmentName": "d",
                "permissions": [{ "actions": ["*/delete"] }],
                "principals": [{ "id": denies, "type": "ServicePrincipal" }],
            }}),
        )
        .await;
    let refused = cloud.move_to("moveResources", &group, &[&vm]).await;
    assert_eq!(refused.body["error"]["details"][0]["code"], "DenyAssignmentExists");
}

#[tokio::test]
async fn a_lock_at_either_end_stops_a_move() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", false, &[]).await;
    let (group, vm) = (cloud.second_group().await, cloud.vm_id("vm1"));
    for (scope, level, is_stopped) in [
        (vm.clone(), "CanNotDelete", true),
        (vm.clone(), "ReadOnly", true),
        (cloud.group(), "CanNotDelete", true),
        (cloud.group(), "ReadOnly", true),
        (group.clone(), "ReadOnly", true),
        (cloud.subscription(), "ReadOnly", true),
        // What comes in is not deleted.
        (group.clone(), "CanNotDelete", false),
    ] {
        let lock = format!("{scope}/providers/Microsoft.Authorization/locks/l");
        cloud.put(&lock, "2016-09-01", json!({ "properties": { "level": level } })).await;
        let verbs = ["validateMoveResources", "moveResources"];
        for verb in verbs {
            let answer = cloud.move_to(verb, &group, &[&vm]).await;
            assert_eq!(
                answer.body["error"]["code"] == "ScopeLocked",
                is_stopped,
                "{scope} {level} {verb}: {}",
                answer.body
            );
        }
        cloud.admin(Method::DELETE, &lock, "2016-09-01", None).await;
    }
    assert_eq!(cloud.status(&placed(&vm, &group)).await, 200);
}

#[tokio::test]
async fn a_move_takes_rights_at_both_ends_and_reaches_another_subscription() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("mover", true, &[]).await;
    let group = cloud.second_group().await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    let token = cloud.vm_token("mover", ARM_AUDIENCE, "").await;
    cloud.put_vm("vm1", true, &[]).await;
    let send = async |target: &str| {
        let body = json!({ "resources": [cloud.vm_id("vm1")], "targetResourceGroup": target });
        let path = format!("{}/moveResources", cloud.group());
        let answer = cloud.arm(Some(&token), Method::POST, &path, VERSION, Some(body)).await;
        (answer.status.as_u16(), answer.body["error"]["code"].clone())
    };
    assert_eq!(send(&group).await, (403, json!("AuthorizationFailed")));
    cloud.grant(&cloud.group(), OWNER, principal).await;
    // Whether the target is there is not told to who may not write it.
    for target in [group.clone(), format!("{group}9")] {
        assert_eq!(send(&target).await, (403, json!("LinkedAuthorizationFailed")), "{target}");
    }
    let alias = "/providers/Microsoft.Subscription/aliases/other";
    let body = json!({ "properties": { "displayName": "Other", "billingScope": null } });
    let other = cloud.put(alias, "2021-10-01", body).await;
    let other = other["properties"]["subscriptionId"].as_str().unwrap().to_owned();
    let target = format!("/subscriptions/{other}/resourceGroups/there");
    cloud.put(&target, VERSION, json!({ "location": "local" })).await;
    cloud.grant(&target, OWNER, principal).await;
    let url = cloud.imds("vm1").await;
    assert_eq!(send(&target).await.0, 204);
    assert_eq!(cloud.status(&placed(&cloud.vm_id("vm1"), &target)).await, 200);
    let token = ask(&cloud, &format!("{url}/metadata/identity/oauth2/token"), None, QUERY).await;
    assert!(claims(&token_of(&token))["xms_az_rid"].as_str().unwrap().contains(&other));
}
