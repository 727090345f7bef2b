//! Vaults on the control plane: azure-semantics 4.1 and checklist 69.

use http::{Method, StatusCode};
use keycard::client::Answer;
use serde_json::{Value, json};

use crate::harness::{Cloud, SECRETS_USER, VAULT_AUDIENCE};

const VERSION: &str = "2023-07-01";

fn policy(cloud: &Cloud, principal: &str, secrets: &[&str]) -> Value {
    json!({
        "tenantId": cloud.description().tenant_id,
        "objectId": principal,
        "permissions": { "secrets": secrets },
    })
}

async fn change(cloud: &Cloud, vault: &str, kind: &str, policies: Vec<Value>) -> Answer {
    let path = format!("{}/accessPolicies/{kind}", cloud.vault_id(vault));
    let body = json!({ "properties": { "accessPolicies": policies } });
    cloud.admin(Method::PUT, &path, VERSION, Some(body)).await
}

/// Who has which permissions on secrets.
fn granted(answer: &Answer) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let policies = answer.body["properties"]["accessPolicies"].as_array().unwrap();
    let one = |policy: &Value| {
        let words = policy["permissions"]["secrets"].as_array().unwrap().iter().map(text).collect();
        (text(&policy["objectId"]), words)
    };
    policies.iter().map(one).collect()
}

#[tokio::test]
async fn access_policies_are_changed_principal_by_principal() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", false).await;
    let administrator = cloud.description().administrator.object_id.clone();
    let vm = cloud.put_vm("vm1", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap().to_owned();

    let added = change(&cloud, "kv1", "add", vec![policy(&cloud, &administrator, &["set"])]).await;
    assert_eq!(added.status, StatusCode::OK, "{}", added.body);
    assert_eq!(added.body["type"], "Microsoft.KeyVault/vaults/accessPolicies");
    assert_eq!(added.body["id"], format!("{}/accessPolicies/", cloud.vault_id("kv1")));
    let url = cloud.vault_url("kv1", "/secrets/door?api-version=7.4");
    let own = cloud.admin_token(VAULT_AUDIENCE).await;
    let set = cloud.vault(Some(&own), Method::PUT, &url, Some(json!({ "value": "x" }))).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);

    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    let read = async || cloud.vault(Some(&token), Method::GET, &url, None).await.status.as_u16();
    assert_eq!(read().await, 403);
    change(&cloud, "kv1", "add", vec![policy(&cloud, &principal, &["list"])]).await;
    let added = change(&cloud, "kv1", "Add", vec![policy(&cloud, &principal, &["get"])]).await;
    let both = |first: &[&str], second: &[&str]| {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        vec![(administrator.clone(), own(first)), (principal.clone(), own(second))]
    };
    assert_eq!(
        granted(&added),
        both(&["set"], &["list", "get"]),
        "the others stay, words are added"
    );
    assert_eq!(read().await, 200);
    let replaced =
        change(&cloud, "kv1", "replace", vec![policy(&cloud, &principal, &["get"])]).await;
    assert_eq!(granted(&replaced), both(&["set"], &["get"]));
    assert_eq!(read().await, 200);
    let removed = change(&cloud, "kv1", "remove", vec![policy(&cloud, &principal, &["get"])]).await;
    assert_eq!(granted(&removed).len(), 1, "who has no permission left has no policy");
    assert_eq!(read().await, 403);
    let shown = cloud.admin(Method::GET, &cloud.vault_id("kv1"), VERSION, None).await;
    assert_eq!(granted(&shown), granted(&removed));
}

#[tokio::test]
async fn a_change_of_access_policies_that_cannot_be_done_is_refused_whole() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", false).await;
    let principal = cloud.description().administrator.object_id.clone();
    let good = || policy(&cloud, &principal, &["get"]);
    let mut foreign = good();
    foreign["tenantId"] = json!("99999999-9999-9999-9999-999999999999");
    let words: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let many =
        (0..1025).map(|n| policy(&cloud, &format!("99999999-9999-9999-9999-{n:012}"), &["get"]));
    for (vault, kind, policies, status, code) in [
        ("kv1", "merge", vec![good()], 400, "InvalidRequestContent"),
        ("kv1", "add", vec![good(), foreign], 400, "BadRequest"),
        ("kv1", "add", vec![policy(&cloud, &principal, &words)], 400, "BadRequest"),
        ("kv1", "add", many.collect(), 400, "BadRequest"),
        ("kv1", "add", vec![json!({ "objectId": principal })], 400, "InvalidRequestContent"),
        ("kv2", "add", vec![good()], 404, "ParentResourceNotFound"),
    ] {
        let answer = change(&cloud, vault, kind, policies).await;
        let found = (answer.status.as_u16(), answer.body["error"]["code"].as_str().unwrap());
        assert_eq!(found, (status, code), "{vault} {kind}: {}", answer.body);
    }
    let shown = cloud.admin(Method::GET, &cloud.vault_id("kv1"), VERSION, None).await;
    assert!(granted(&shown).is_empty(), "{}", shown.body);
}

#[tokio::test]
async fn a_name_is_said_to_be_free_invalid_or_taken_even_by_a_deleted_vault() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    cloud.put_vault("kv2", true).await;
    cloud.admin(Method::DELETE, &cloud.vault_id("kv2"), VERSION, None).await;
    let path =
        format!("{}/providers/Microsoft.KeyVault/checkNameAvailability", cloud.subscription());
    let ask = async |body: Value| cloud.admin(Method::POST, &path, VERSION, Some(body)).await;
    let of = |name: &str| json!({ "name": name, "type": "Microsoft.KeyVault/vaults" });
    assert_eq!(ask(of("kv3")).await.body, json!({ "nameAvailable": true }));
    for (name, reason) in [
        ("kv1", "AlreadyExists"),
        ("KV1", "AlreadyExists"),
        ("kv2", "AlreadyExists"),
        ("k", "AccountNameInvalid"),
        ("a--b", "AccountNameInvalid"),
    ] {
        let body = ask(of(name)).await.body;
        assert_eq!((&body["nameAvailable"], &body["reason"]), (&json!(false), &json!(reason)));
        assert!(body["message"].as_str().unwrap().contains(&format!("'{name}'")), "{body}");
    }
    for wrong in [json!({ "name": "kv3" }), json!({ "name": "kv3", "type": "Microsoft.Web/sites" })]
    {
        assert_eq!(ask(wrong).await.status, StatusCode::BAD_REQUEST);
    }
}

/// az lists them along with the vaults and stops without an answer.
#[tokio::test]
async fn there_are_no_managed_hsms_and_none_can_be_made() {
    let cloud = Cloud::start().await;
    let provider = "providers/Microsoft.KeyVault";
    let (subscription, group) = (cloud.subscription(), cloud.group());
    for path in [
        format!("{subscription}/{provider}/managedHSMs"),
        format!("{group}/{provider}/managedHSMs"),
        format!("{subscription}/{provider}/deletedManagedHSMs"),
    ] {
        let answer = cloud.admin(Method::GET, &path, "2026-02-01", None).await;
        assert_eq!(
            (answer.status, answer.body),
            (StatusCode::OK, json!({ "value": [] })),
            "{path}"
        );
    }
    let nowhere = format!("{}/{provider}/managedHSMs", group.replace("rg1", "nowhere"));
    assert_eq!(
        cloud.admin(Method::GET, &nowhere, "2026-02-01", None).await.body["error"]["code"],
        "ResourceGroupNotFound"
    );
    let one = format!("{group}/{provider}/managedHSMs/hsm1");
    let made = cloud.admin(Method::PUT, &one, "2026-02-01", Some(json!({}))).await;
    assert_eq!(
        (made.status, &made.body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("InvalidResourceType"))
    );
}

/// 69
#[tokio::test]
async fn a_deleted_vault_loses_its_role_assignments_and_keeps_its_name() {
    let cloud = Cloud::start().await;
    let own = cloud.open_vault("kv1").await;
    let url = cloud.vault_url("kv1", "/secrets/door?api-version=7.4");
    cloud.vault(Some(&own), Method::PUT, &url, Some(json!({ "value": "x" }))).await;
    let vm = cloud.put_vm("vm1", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    let id = cloud.vault_id("kv1");
    let assignment = cloud.grant(&id, SECRETS_USER, principal).await;
    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    let read = async || cloud.vault(Some(&token), Method::GET, &url, None).await.status.as_u16();
    assert_eq!(read().await, 200);

    assert_eq!(cloud.admin(Method::DELETE, &id, VERSION, None).await.status, StatusCode::OK);
    assert_eq!(
        cloud.admin(Method::DELETE, &id, VERSION, None).await.status,
        StatusCode::NO_CONTENT
    );
    let deleted = |location: &str| {
        format!(
            "{}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/kv1",
            cloud.subscription()
        )
    };
    let shown = cloud.admin(Method::GET, &deleted("Local"), VERSION, None).await;
    assert_eq!(shown.body["properties"]["vaultId"], id, "{}", shown.body);
    assert_eq!(shown.body["id"], deleted("local"));
    let elsewhere = deleted("eastus");
    for (method, path) in
        [(Method::GET, elsewhere.clone()), (Method::POST, format!("{elsewhere}/purge"))]
    {
        let answer = cloud.admin(method, &path, VERSION, None).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }

    let body = |properties: Value| {
        let mut body = json!({ "location": "local", "properties": {
            "tenantId": cloud.description().tenant_id, "sku": { "family": "A", "name": "standard" },
            "enableRbacAuthorization": true,
        }});
        let more = properties.as_object().unwrap().clone();
        body["properties"].as_object_mut().unwrap().extend(more);
        body
    };
    let put = async |properties: Value| {
        cloud.admin(Method::PUT, &id, VERSION, Some(body(properties))).await
    };
    let refused = put(json!({})).await;
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (StatusCode::CONFLICT, &json!("ConflictError"))
    );
    assert_eq!(put(json!({ "createMode": "recover" })).await.status, StatusCode::OK);
    assert_eq!(read().await, 403, "a recovered vault has its secrets and nobody's rights");
    let gone = cloud.admin(Method::GET, &assignment, "2022-04-01", None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND, "{}", gone.body);
    cloud.grant(&id, SECRETS_USER, principal).await;
    assert_eq!(read().await, 200);

    cloud.admin(Method::DELETE, &id, VERSION, None).await;
    let purge = format!("{}/purge", deleted("local"));
    assert_eq!(cloud.admin(Method::POST, &purge, VERSION, None).await.status, StatusCode::ACCEPTED);
    assert_eq!(
        cloud.admin(Method::POST, &purge, VERSION, None).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(put(json!({})).await.status, StatusCode::OK);
    cloud.grant(&id, SECRETS_USER, principal).await;
    assert_eq!(read().await, 404, "another vault has the name, without the former's secrets");
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_what_cannot_be_undone_stays() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    let id = cloud.vault_id("kv1");
    let patch = async |body: Value| cloud.admin(Method::PATCH, &id, VERSION, Some(body)).await;
    let acls = json!({ "bypass": "AzureServices", "defaultAction": "Allow" });
    let patched = patch(json!({ "tags": { "a": "b" }, "properties": {
        "enabledForDeployment": true, "enablePurgeProtection": true, "networkAcls": acls,
    }}))
    .await;
    assert_eq!(patched.status, StatusCode::OK, "{}", patched.body);
    let properties = &patched.body["properties"];
    assert_eq!(patched.body["tags"], json!({ "a": "b" }));
    assert_eq!(
        (&properties["enabledForDeployment"], &properties["networkAcls"]),
        (&json!(true), &acls)
    );
    assert_eq!(properties["enableRbacAuthorization"], true, "what is not named stays");
    for refused in [
        json!({ "enablePurgeProtection": false }),
        json!({ "enableSoftDelete": false }),
        json!({ "softDeleteRetentionInDays": 30 }),
    ] {
        let answer = patch(json!({ "properties": refused })).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    }
    assert_eq!(patch(json!({ "location": "eastus" })).await.status, StatusCode::CONFLICT);
    cloud.admin(Method::DELETE, &id, VERSION, None).await;
    let gone = patch(json!({ "tags": {} })).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let purge = format!(
        "{}/providers/Microsoft.KeyVault/locations/local/deletedVaults/kv1/purge",
        cloud.subscription()
    );
    let refused = cloud.admin(Method::POST, &purge, VERSION, None).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "purge protection is on: {}", refused.body);
}
