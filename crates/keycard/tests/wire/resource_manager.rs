//! Resource Manager: azure-semantics checklist 1 and 3 to 7, 12 to 25, and what its front door refuses.

use http::{Method, StatusCode};
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, IDENTITY_OPERATOR, READER, VM_CONTRIBUTOR, claims};

/// 1, 3
#[tokio::test]
async fn an_identity_is_made_kept_and_deleted() {
    let cloud = Cloud::start().await;
    let id = cloud.identity_id("mi-1");
    let put = async || {
        cloud.admin(Method::PUT, &id, "2024-11-30", Some(json!({ "location": "East US" }))).await
    };
    let first = put().await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(first.body["tags"], json!({}));
    assert!(first.body["id"].as_str().unwrap().contains("/resourcegroups/"));
    assert_ne!(first.body["properties"]["principalId"], first.body["properties"]["clientId"]);
    let second = put().await;
    assert_eq!(
        (second.status, &second.body["properties"]),
        (StatusCode::OK, &first.body["properties"])
    );
    let patched =
        cloud.admin(Method::PATCH, &id, "2024-11-30", Some(json!({ "tags": { "a": "b" } }))).await;
    assert_eq!(patched.body["tags"], json!({ "a": "b" }));
    assert_eq!(cloud.admin(Method::DELETE, &id, "2024-11-30", None).await.status, StatusCode::OK);
    assert_eq!(
        cloud.admin(Method::DELETE, &id, "2024-11-30", None).await.status,
        StatusCode::NO_CONTENT
    );
    let gone = cloud.admin(Method::GET, &id, "2024-11-30", None).await;
    assert_eq!(
        (gone.status, &gone.body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("ResourceNotFound"))
    );
}

/// 4, 5
#[tokio::test]
async fn names_locations_and_tags_follow_their_rules() {
    let cloud = Cloud::start().await;
    let put = async |name: &str, body: Value| {
        let answer =
            cloud.admin(Method::PUT, &cloud.identity_id(name), "2024-11-30", Some(body)).await;
        (
            answer.status.as_u16(),
            answer.body["error"]["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let local = || json!({ "location": "eastus" });
    let code = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(put("a_b-1", local()).await.0, 201);
    for name in ["ab", &"x".repeat(129), "-abc"] {
        assert_eq!(put(name, local()).await, code(400, "InvalidResourceName"), "{name}");
    }
    assert_eq!(
        put("a_b-1", json!({ "location": "westus" })).await,
        code(409, "InvalidResourceLocation")
    );
    assert_eq!(put("new", json!({})).await, code(400, "LocationRequired"));
    let tags: serde_json::Map<String, Value> =
        (0..51).map(|n| (n.to_string(), json!(""))).collect();
    assert_eq!(
        put("new", json!({ "location": "eastus", "tags": tags })).await,
        code(400, "InvalidTags")
    );
    assert_eq!(put("new", json!({ "location": 5 })).await, code(400, "InvalidRequestContent"));
}

/// 7
#[tokio::test]
async fn the_default_identity_of_a_resource_is_its_own() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("vm1", true, &[]).await;
    cloud.put_vm("vm2", false, &[]).await;
    let of = async |name: &str| {
        let path =
            format!("{}/providers/Microsoft.ManagedIdentity/identities/default", cloud.vm_id(name));
        cloud.admin(Method::GET, &path, "2024-11-30", None).await
    };
    assert_eq!(of("vm1").await.body["properties"]["principalId"], vm["identity"]["principalId"]);
    assert_eq!(of("vm2").await.status, StatusCode::NOT_FOUND);
}

async fn patch_identity(cloud: &Cloud, vm: &str, identity: Value) -> (u16, Value) {
    let body = json!({ "identity": identity });
    let answer = cloud.admin(Method::PATCH, &cloud.vm_id(vm), "2024-11-01", Some(body)).await;
    let status = answer.status.as_u16();
    (
        status,
        if status == 200 {
            answer.body.get("identity").cloned().unwrap_or(Value::Null)
        } else {
            answer.body
        },
    )
}

fn names(identity: &Value) -> Vec<String> {
    let map = identity["userAssignedIdentities"].as_object();
    map.map(|map| map.keys().map(|id| id.rsplit('/').next().unwrap().to_owned()).collect())
        .unwrap_or_default()
}

/// 14 to 17, 23, and the table of PATCH semantics that az relies on
#[tokio::test]
async fn a_patch_merges_the_map_and_replaces_the_type() {
    let cloud = Cloud::start().await;
    for name in ["aaa", "bbb"] {
        cloud.put_identity(name).await;
    }
    let (a, b) = (cloud.identity_id("aaa"), cloud.identity_id("bbb"));
    cloud.put_vm("vm1", false, &["aaa"]).await;
    let (_, identity) = patch_identity(
        &cloud,
        "vm1",
        json!({ "type": "UserAssigned", "userAssignedIdentities": { &b: {} } }),
    )
    .await;
    assert_eq!(
        (names(&identity), &identity["type"]),
        (vec!["aaa".into(), "bbb".into()], &json!("UserAssigned"))
    );
    let (_, identity) = patch_identity(
        &cloud,
        "vm1",
        json!({ "type": "UserAssigned", "userAssignedIdentities": { &a: null } }),
    )
    .await;
    assert_eq!(names(&identity), ["bbb"]);
    let (_, identity) = patch_identity(&cloud, "vm1", json!({ "type": "SystemAssigned,UserAssigned", "userAssignedIdentities": { &a: {}, &b: {} } })).await;
    assert_eq!(
        (names(&identity).len(), &identity["type"]),
        (2, &json!("SystemAssigned, UserAssigned"))
    );
    let principal = identity["principalId"].clone();
    let (_, identity) = patch_identity(
        &cloud,
        "vm1",
        json!({ "type": "SystemAssigned,UserAssigned", "userAssignedIdentities": { &a: null } }),
    )
    .await;
    assert_eq!((names(&identity), &identity["principalId"]), (vec!["bbb".into()], &principal));
    let (_, identity) = patch_identity(
        &cloud,
        "vm1",
        json!({ "type": "UserAssigned", "userAssignedIdentities": null }),
    )
    .await;
    assert_eq!((names(&identity), identity.get("principalId")), (vec!["bbb".into()], None));
    let (_, identity) = patch_identity(&cloud, "vm1", json!({ "type": "SystemAssigned" })).await;
    assert_eq!((names(&identity).len(), &identity["type"]), (0, &json!("SystemAssigned")));
    assert_ne!(identity["principalId"], principal, "switched off and on it is another identity");
    let (_, identity) = patch_identity(&cloud, "vm1", json!({ "type": "None" })).await;
    assert_eq!(identity, Value::Null);
    let (status, error) = patch_identity(
        &cloud,
        "vm1",
        json!({ "type": "UserAssigned", "userAssignedIdentities": {} }),
    )
    .await;
    assert_eq!(status, 400);
    assert!(error.to_string().contains("Request requires identities to be assigned."));
}

/// 13, 18, 19, 22, 24
#[tokio::test]
async fn a_wrong_identity_block_is_refused_in_azures_words() {
    let cloud = Cloud::start().await;
    cloud.put_identity("aaa").await;
    cloud.put_vm("vm1", false, &[]).await;
    let message = async |identity: Value| {
        let (status, body) = patch_identity(&cloud, "vm1", identity).await;
        (
            status,
            body["error"]["code"].as_str().unwrap_or_default().to_owned(),
            body["error"]["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let (status, code, text) = message(json!({})).await;
    assert_eq!((status, code.as_str()), (400, "InvalidRequestContent"));
    assert_eq!(
        text,
        "The request content was invalid and could not be deserialized: 'Required property 'type' not found in JSON. Path 'identity'.'."
    );
    let (status, code, text) = message(
        json!({ "type": "None", "userAssignedIdentities": { cloud.identity_id("aaa"): {} } }),
    )
    .await;
    assert_eq!((status, code.as_str()), (400, "FailedIdentityOperation"));
    assert!(
        text.contains(
            "a non-UserAssigned identity type should not contain: userAssignedIdentities"
        )
    );
    assert!(text.starts_with(&format!("Identity operation for resource '{}' failed with error 'Failed to perform resource identity operation. Status: 'BadRequest'. Response: '{{\"error\":{{\"code\":\"BadRequest\",\"message\":\"", cloud.vm_id("vm1"))), "{text}");
    let (status, _, text) = message(json!({ "type": "UserAssigned", "userAssignedIdentities": { cloud.identity_id("missing"): {} } })).await;
    assert!(status == 400 && text.contains("' was not found."), "{text}");
    let many = |count: usize| -> Value {
        let map: serde_json::Map<String, Value> =
            (0..count).map(|n| (cloud.identity_id(&format!("mi{n:03}")), json!({}))).collect();
        json!({ "type": "UserAssigned", "userAssignedIdentities": map })
    };
    let (status, _, text) = message(many(151)).await;
    assert!(
        status == 400
            && text.contains(
                "User Assigned Identities Number '151' Assign exceed limit '150' in one request."
            ),
        "{text}"
    );
    for number in 0..21 {
        cloud.put_identity(&format!("mi{number:03}")).await;
    }
    assert_eq!(message(many(21)).await.0, 400, "the standard profile allows 20");
    assert_eq!(patch_identity(&cloud, "vm1", many(20)).await.0, 200);
    let (_, identity) = patch_identity(&cloud, "vm1", json!({ "type": "UserAssigned", "userAssignedIdentities": { cloud.identity_id("MI000").to_uppercase(): null } })).await;
    assert_eq!(names(&identity).len(), 19, "keys that differ in case are the same identity");
}

/// A token of a VM's own identity, to act with in Resource Manager, and its principal.
async fn actor(cloud: &Cloud, name: &str) -> (Secret, String) {
    let vm = cloud.put_vm(name, true, &[]).await;
    (
        cloud.vm_token(name, ARM_AUDIENCE, "").await,
        vm["identity"]["principalId"].as_str().unwrap().to_owned(),
    )
}

/// 12, 19, 20, 21: rights on the resource and on the identity, each needed where it is.
#[tokio::test]
async fn attaching_needs_a_right_on_the_identity_and_detaching_does_not() {
    let cloud = Cloud::start().await;
    cloud.put_identity("aaa").await;
    cloud.put_vm("target", false, &[]).await;
    let (token, principal) = actor(&cloud, "actor").await;
    let target = cloud.vm_id("target");
    let patch = async |identity: Value| {
        cloud
            .arm(
                Some(&token),
                Method::PATCH,
                &target,
                "2024-11-01",
                Some(json!({ "identity": identity })),
            )
            .await
    };
    let refused = patch(json!({ "type": "SystemAssigned" })).await;
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (StatusCode::FORBIDDEN, &json!("AuthorizationFailed"))
    );
    cloud.grant(&target, VM_CONTRIBUTOR, &principal).await;
    assert_eq!(patch(json!({ "type": "SystemAssigned" })).await.status, StatusCode::OK);
    let assign = |name: &str| json!({ "type": "UserAssigned", "userAssignedIdentities": { cloud.identity_id(name): {} } });
    for name in ["aaa", "missing"] {
        let refused = patch(assign(name)).await;
        assert_eq!(
            (refused.status, &refused.body["error"]["code"]),
            (StatusCode::FORBIDDEN, &json!("LinkedAuthorizationFailed"))
        );
        let client = claims(&token)["appid"].as_str().unwrap().to_owned();
        let linked = cloud.identity_id(name).replace("/resourceGroups/", "/resourcegroups/");
        assert_eq!(
            refused.body["error"]["message"],
            format!(
                "The client '{client}' with object id '{principal}' has permission to perform action 'Microsoft.Compute/virtualMachines/write' on scope '{target}'; however, it does not have permission to perform action 'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action' on the linked scope(s) '{linked}' or the linked scope(s) are invalid."
            )
        );
    }
    let operator = cloud.grant(&cloud.identity_id("aaa"), IDENTITY_OPERATOR, &principal).await;
    assert_eq!(patch(assign("aaa")).await.status, StatusCode::OK);
    cloud.admin(Method::DELETE, &operator, "2022-04-01", None).await;
    let detach = json!({ "type": "SystemAssigned, UserAssigned", "userAssignedIdentities": { cloud.identity_id("aaa"): null } });
    assert_eq!(
        patch(detach).await.status,
        StatusCode::BAD_REQUEST,
        "the last one goes with the type"
    );
    assert_eq!(patch(json!({ "type": "None" })).await.status, StatusCode::OK);
}

/// A site's PUT without an identity removes it; a VM's keeps it.
#[tokio::test]
async fn a_put_without_identity_keeps_a_vms_and_removes_a_sites() {
    let cloud = Cloud::start().await;
    cloud.put_identity("aaa").await;
    cloud.put_vm("vm1", true, &["aaa"]).await;
    let vm = cloud
        .put(&cloud.vm_id("vm1"), "2024-07-01", json!({ "location": "local", "properties": {} }))
        .await;
    assert_eq!(vm["identity"]["type"], "SystemAssigned, UserAssigned");
    let site = cloud.site_id("app-1");
    cloud.put(&site, "2023-12-01", json!({ "location": "local", "identity": cloud.identity_block(true, &["aaa"]), "properties": {} })).await;
    let bare =
        cloud.put(&site, "2023-12-01", json!({ "location": "local", "properties": {} })).await;
    assert!(bare.get("identity").is_none());
}

/// azure-semantics 54, 55; the order of checks at the front door
#[tokio::test]
async fn the_front_door_refuses_in_its_order() {
    let cloud = Cloud::start().await;
    let (token, principal) = actor(&cloud, "actor").await;
    let missing = cloud.vm_id("missing");
    let ask = async |token: Option<&Secret>, path: &str, version: &str| {
        let answer = cloud.arm(token, Method::GET, path, version, None).await;
        assert!(
            answer.headers.contains_key("x-ms-request-id")
                && answer.headers.contains_key("x-ms-correlation-request-id")
        );
        (
            answer.status.as_u16(),
            answer.body["error"]["code"].as_str().unwrap_or_default().to_owned(),
            answer.body["error"]["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let admin = cloud.administration.token().clone();
    assert_eq!(ask(None, &missing, "2024-07-01").await.1, "AuthenticationFailed");
    let vault_token = cloud.admin_token("https://vault.azure.net").await;
    assert_eq!(
        ask(Some(&vault_token), &missing, "2024-07-01").await.1,
        "InvalidAuthenticationTokenAudience"
    );
    assert_eq!(ask(Some(&admin), &missing, "").await.1, "MissingApiVersionParameter");
    assert_eq!(ask(Some(&admin), &missing, "latest").await.1, "InvalidApiVersionParameter");
    let (status, code, text) = ask(Some(&token), &missing, "2024-07-01").await;
    assert_eq!(
        (status, code.as_str()),
        (403, "AuthorizationFailed"),
        "403, not 404, for who may not look"
    );
    let client = claims(&token)["appid"].as_str().unwrap().to_owned();
    assert_eq!(
        text,
        format!(
            "The client '{client}' with object id '{principal}' does not have authorization to perform action 'Microsoft.Compute/virtualMachines/read' over scope '{missing}' or the scope is invalid. If access was recently granted, please refresh your credentials."
        )
    );
    cloud.grant(&cloud.group(), READER, &principal).await;
    assert_eq!(ask(Some(&token), &missing, "2024-07-01").await.1, "ResourceNotFound");
    let nowhere = missing.replace("rg1", "rg10");
    assert_eq!(
        ask(Some(&token), &nowhere, "2024-07-01").await.1,
        "AuthorizationFailed",
        "rg1 does not open rg10"
    );
    assert_eq!(ask(Some(&admin), &nowhere, "2024-07-01").await.1, "ResourceGroupNotFound");
    assert_eq!(
        ask(Some(&admin), &missing.replace("virtualMachines", "toasters"), "2024-07-01").await.1,
        "InvalidResourceType"
    );
    for twisted in [
        missing.replace("rg1", "rg1/../rg1"),
        missing.replace("rg1", "%2e%2e"),
        missing.replace("rg1", "rg1%2Fx"),
    ] {
        assert_eq!(ask(Some(&admin), &twisted, "2024-07-01").await.0, 400, "{twisted}");
    }
    let doubled = cloud.vm_id("actor").replace("/providers/", "//PROVIDERS//").to_uppercase();
    assert_eq!(
        ask(Some(&token), &doubled, "2024-07-01").await.0,
        200,
        "case and empty segments mean nothing"
    );
}

#[tokio::test]
async fn a_subscription_is_seen_by_who_has_a_role_in_it() {
    let cloud = Cloud::start().await;
    let (token, principal) = actor(&cloud, "actor").await;
    let list = async || {
        cloud.arm(Some(&token), Method::GET, "/subscriptions", "2022-12-01", None).await.body["value"].as_array().unwrap().len()
    };
    assert_eq!(list().await, 0);
    cloud.grant(&cloud.vm_id("actor"), READER, &principal).await;
    assert_eq!(list().await, 1);
}

#[tokio::test]
async fn role_assignments_are_refused_in_azures_words() {
    let cloud = Cloud::start().await;
    let (_, principal) = actor(&cloud, "actor").await;
    let put = async |name: &str, scope: &str, properties: Value| {
        let path = format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}");
        let answer = cloud
            .admin(Method::PUT, &path, "2022-04-01", Some(json!({ "properties": properties })))
            .await;
        (
            answer.status.as_u16(),
            answer.body["error"]["code"].as_str().unwrap_or_default().to_owned(),
            answer.body["error"]["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let (one, two) =
        ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222");
    let role = |role: &str| {
        format!("{}/providers/Microsoft.Authorization/roleDefinitions/{role}", cloud.subscription())
    };
    let reader = || json!({ "roleDefinitionId": role(READER), "principalId": principal });
    let group = cloud.group();
    assert_eq!(put(one, &group, reader()).await.0, 201);
    assert_eq!(
        put(two, &group, reader()).await,
        (
            409,
            "RoleAssignmentExists".into(),
            format!(
                "The role assignment already exists. The ID of the existing role assignment is {}.",
                one.replace('-', "")
            )
        )
    );
    assert_eq!(
        put(
            one,
            &group,
            json!({ "roleDefinitionId": role(VM_CONTRIBUTOR), "principalId": principal })
        )
        .await
        .1,
        "RoleAssignmentUpdateNotPermitted"
    );
    let unknown = "33333333-3333-3333-3333-333333333333";
    let (status, code, text) =
        put(two, &group, json!({ "roleDefinitionId": role(READER), "principalId": unknown })).await;
    assert_eq!((status, code.as_str()), (400, "PrincipalNotFound"));
    assert!(
        text.contains("Principal 33333333333333333333333333333333 does not exist in the directory")
            && text.contains("Group.  See https://aka.ms/docs-principaltype"),
        "{text}"
    );
    assert_eq!(put(two, &group, json!({ "roleDefinitionId": role(READER), "principalId": unknown, "principalType": "ServicePrincipal" })).await.0, 201);
    let (_, code, text) = put("44444444-4444-4444-4444-444444444444", &cloud.vm_id("actor"), json!({ "roleDefinitionId": role(READER), "principalId": principal, "principalType": "User" })).await;
    assert_eq!(code, "UnmatchedPrincipalType");
    assert!(text.contains("' , which is different from specified PrinciaplType 'User'."), "{text}");
    assert_eq!(put("x", &group, reader()).await.0, 400);
    assert_eq!(
        put(
            unknown,
            &group,
            json!({ "roleDefinitionId": role(unknown), "principalId": principal })
        )
        .await
        .1,
        "RoleDefinitionDoesNotExist"
    );
    for (condition, version) in [("nonsense", "2.0"), ("@Resource[a] BoolEquals true", "1.0")] {
        let conditioned = json!({ "roleDefinitionId": role(READER), "principalId": principal, "condition": condition, "conditionVersion": version });
        let (status, _, text) = put(unknown, &cloud.vm_id("actor"), conditioned).await;
        assert_eq!((status, &*text), (400, "The given role assignment condition is invalid."));
    }
    let (status, code, _) = put(one, &cloud.vm_id("actor"), reader()).await;
    assert_eq!((status, &*code), (400, "RoleAssignmentUpdateNotPermitted"));
    let list = cloud.admin(Method::GET, &format!("{group}/providers/Microsoft.Authorization/roleAssignments?$filter=principalId%20eq%20'{principal}'"), "2022-04-01", None).await;
    assert_eq!(list.body["value"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn roles_are_found_by_name_and_by_id() {
    let cloud = Cloud::start().await;
    let path = format!("{}/providers/Microsoft.Authorization/roleDefinitions", cloud.group());
    let found = cloud
        .admin(
            Method::GET,
            &format!("{path}?$filter=roleName%20eq%20'Key%20Vault%20Secrets%20User'"),
            "2022-05-01-preview",
            None,
        )
        .await;
    assert_eq!(found.body["value"][0]["name"], crate::harness::SECRETS_USER);
    let one = cloud.admin(Method::GET, &format!("{path}/{READER}"), "2022-04-01", None).await;
    assert_eq!(one.body["properties"]["roleName"], "Reader");
    let all = cloud.admin(Method::GET, &path, "2022-04-01", None).await;
    assert_eq!(all.body["value"].as_array().unwrap().len(), 928);
}

#[tokio::test]
async fn a_deleted_vault_keeps_its_name_until_it_is_purged() {
    let cloud = Cloud::start().await;
    cloud.open_vault("kv1").await;
    let id = cloud.vault_id("kv1");
    let put = async |properties: Value| {
        let mut all = json!({ "tenantId": cloud.description().tenant_id, "sku": { "family": "A", "name": "standard" } });
        all.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        let answer = cloud
            .admin(
                Method::PUT,
                &id,
                "2023-07-01",
                Some(json!({ "location": "local", "properties": all })),
            )
            .await;
        (
            answer.status.as_u16(),
            answer.body["error"]["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(cloud.admin(Method::DELETE, &id, "2023-07-01", None).await.status, StatusCode::OK);
    assert_eq!(put(json!({})).await, (409, "ConflictError".into()));
    assert_eq!(put(json!({ "createMode": "recover" })).await.0, 200);
    cloud.admin(Method::DELETE, &id, "2023-07-01", None).await;
    let purge = format!(
        "{}/providers/Microsoft.KeyVault/locations/local/deletedVaults/kv1/purge",
        cloud.subscription()
    );
    assert_eq!(
        cloud.admin(Method::POST, &purge, "2023-07-01", None).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(put(json!({ "softDeleteRetentionInDays": 6 })).await.0, 400);
    assert_eq!(
        put(json!({ "networkAcls": { "defaultAction": "Deny" } })).await.0,
        501,
        "a rule that is not enforced is not accepted"
    );
    assert_eq!(put(json!({ "softDeleteRetentionInDays": 7 })).await.0, 200);
}

#[tokio::test]
async fn deleting_a_group_deletes_what_it_holds() {
    let cloud = Cloud::start().await;
    cloud.put_identity("aaa").await;
    cloud.put_vm("vm1", true, &["aaa"]).await;
    assert_eq!(
        cloud.admin(Method::HEAD, &cloud.group(), "2024-11-01", None).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        cloud.admin(Method::DELETE, &cloud.group(), "2024-11-01", None).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        cloud.admin(Method::HEAD, &cloud.group(), "2024-11-01", None).await.status,
        StatusCode::NOT_FOUND
    );
    cloud.put(&cloud.group(), "2024-11-01", json!({ "location": "local" })).await;
    assert_eq!(
        cloud.admin(Method::GET, &cloud.vm_id("vm1"), "2024-07-01", None).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        cloud.admin(Method::GET, &cloud.identity_id("aaa"), "2024-11-30", None).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_cloud_describes_itself_for_az() {
    let cloud = Cloud::start().await;
    let url = format!(
        "{}/metadata/endpoints?api-version=2022-09-01",
        cloud.description().endpoints.loopback
    );
    let endpoints = cloud.get(&url, &[]).await.body;
    assert_eq!(
        endpoints["authentication"]["loginEndpoint"],
        cloud.description().endpoints.token_service
    );
    assert_eq!(endpoints["suffixes"]["keyVaultDns"], cloud.description().suffixes.key_vault_dns);
    let array = cloud.get(&url.replace("2022-09-01", "2019-05-01"), &[]).await.body;
    assert!(array.is_array());
}

/// Whoever may write vaults in one group must not take over a deleted vault of another.
#[tokio::test]
async fn a_vault_is_recovered_only_where_it_was() {
    let cloud = Cloud::start().await;
    cloud.open_vault("kv1").await;
    cloud.admin(Method::DELETE, &cloud.vault_id("kv1"), "2023-07-01", None).await;
    let elsewhere = cloud.group().replace("rg1", "rg2");
    cloud.put(&elsewhere, "2024-11-01", json!({ "location": "local" })).await;
    let body = json!({ "location": "local", "properties": {
        "tenantId": cloud.description().tenant_id, "createMode": "recover",
    }});
    let path = format!("{elsewhere}/providers/Microsoft.KeyVault/vaults/kv1");
    let answer = cloud.admin(Method::PUT, &path, "2023-07-01", Some(body)).await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("DeletedVaultNotFound"))
    );
}

/// Rights on an assignment are rights on the scope it grants at, not on its own path.
#[tokio::test]
async fn a_role_on_an_assignments_path_does_not_open_its_scope() {
    let cloud = Cloud::start().await;
    let (token, principal) = actor(&cloud, "actor").await;
    let path = format!(
        "{}/providers/Microsoft.Authorization/roleAssignments/33333333-3333-3333-3333-333333333333",
        cloud.group()
    );
    cloud.grant(&path, "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", &principal).await;
    let owner = json!({ "properties": {
        "roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
        "principalId": principal,
    }});
    let answer = cloud.arm(Some(&token), Method::PUT, &path, "2022-04-01", Some(owner)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn pages_of_a_listing_hold_every_vault_once() {
    let cloud = Cloud::start().await;
    for (group, vault) in [("zz", "aaavault"), ("aa", "bbbvault"), ("mm", "cccvault")] {
        let group = cloud.group().replace("rg1", group);
        cloud.put(&group, "2024-11-01", json!({ "location": "local" })).await;
        let body = json!({ "location": "local", "properties": { "tenantId": cloud.description().tenant_id } });
        cloud
            .put(
                &format!("{group}/providers/Microsoft.KeyVault/vaults/{vault}"),
                "2023-07-01",
                body,
            )
            .await;
    }
    let mut path = format!(
        "{}/providers/Microsoft.KeyVault/vaults?$top=1&api-version=2023-07-01",
        cloud.subscription()
    );
    let mut names = Vec::new();
    loop {
        let page = cloud.admin(Method::GET, &path, "", None).await.body;
        names.extend(
            page["value"]
                .as_array()
                .unwrap()
                .iter()
                .map(|vault| vault["name"].as_str().unwrap().to_owned()),
        );
        match page["nextLink"].as_str() {
            Some(link) => {
                path = link
                    .split_once("/subscriptions")
                    .map(|(_, rest)| format!("/subscriptions{rest}"))
                    .unwrap();
            }
            None => break,
        }
    }
    names.sort();
    assert_eq!(names, ["aaavault", "bbbvault", "cccvault"]);
}

/// A client that sends a large body without a token hears the refusal, not a broken connection.
#[tokio::test]
async fn a_refusal_is_heard_whatever_the_body() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    let large = json!({ "value": "x".repeat(2_000_000) });
    let arm = cloud.arm(None, Method::PUT, &cloud.group(), "2024-11-01", Some(large.clone())).await;
    assert_eq!(arm.status, StatusCode::UNAUTHORIZED);
    let url = cloud.vault_url("kv1", "/secrets/s1?api-version=7.4");
    assert_eq!(
        cloud.vault(None, Method::PUT, &url, Some(large)).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_listing_below_nothing_says_so() {
    let cloud = Cloud::start().await;
    let nowhere = cloud.group().replace("rg1", "nowhere");
    for provider in [
        "Microsoft.Compute/virtualMachines",
        "Microsoft.Web/sites",
        "Microsoft.KeyVault/vaults",
        "Microsoft.ManagedIdentity/userAssignedIdentities",
    ] {
        let path = format!("{nowhere}/providers/{provider}");
        let answer = cloud.admin(Method::GET, &path, "2024-11-01", None).await;
        assert_eq!(answer.body["error"]["code"], "ResourceGroupNotFound", "{provider}");
        let path = path.replace("nowhere", "rg1");
        assert_eq!(
            cloud.admin(Method::GET, &path, "2024-11-01", None).await.body,
            json!({ "value": [] })
        );
    }
}
