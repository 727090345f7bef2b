//! Several tenants on one server: nothing of one is had with a token, key or credential of another.

use std::sync::Arc;

use http::{Method, StatusCode};
use keycard::client::Administration;
use keycard::description::{Administrator, Description};
use keycard::system_clock::TurnableClock;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Choice, Cloud, GRAPH_AUDIENCE, VAULT_AUDIENCE, claims, header};

pub(crate) async fn development() -> Cloud {
    let turnable_clock = Some(Arc::new(TurnableClock::default()));
    Cloud::start_with(Choice { turnable_clock, ..Choice::default() }).await
}

const PATH: &str = "/providers/Keycard.Local/createTenant";

/// A second tenant as its administrator sees it.
pub(crate) async fn second(cloud: &Cloud, body: Value) -> (Description, Administration) {
    let answer = cloud.admin(Method::POST, PATH, "2026-11-01", Some(body)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let text = |pointer: &str| answer.body.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let description = Description {
        tenant_id: text("/tenantId"),
        subscription_id: text("/subscriptionId"),
        administrator: Administrator {
            client_id: text("/administrator/clientId"),
            client_secret: Secret::new(text("/administrator/clientSecret")),
            object_id: text("/administrator/objectId"),
        },
        ..cloud.description().clone()
    };
    let signed_in = Administration::sign_in(cloud.client.clone(), &description).await.unwrap();
    (description, signed_in)
}

/// What the token service of a tenant, by id or domain, answers to an administrator.
async fn ask(cloud: &Cloud, tenant: &str, of: &Administrator, resource: &str) -> (u16, Value) {
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}&scope={resource}/.default",
        of.client_id,
        of.client_secret.expose(),
    );
    let answer = cloud.post_form(&format!("/{tenant}/oauth2/v2.0/token"), &form).await;
    (answer.status.as_u16(), answer.body)
}

async fn token(cloud: &Cloud, of: &Description, resource: &str) -> Secret {
    let (status, body) = ask(cloud, &of.tenant_id, &of.administrator, resource).await;
    assert_eq!(status, 200, "{body}");
    Secret::new(body["access_token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn nothing_of_a_tenant_is_had_from_another() {
    let cloud = development().await;
    let first = cloud.description().clone();
    let (other, administration) = second(&cloud, json!({ "name": "contoso" })).await;
    // Resource Manager: each sees its own subscription only.
    let theirs = Some(administration.token());
    let listed = cloud.arm(theirs, Method::GET, "/subscriptions", "2022-12-01", None).await;
    let ids: Vec<_> = listed.body["value"].as_array().unwrap().iter().collect();
    assert_eq!((ids.len(), &ids[0]["subscriptionId"]), (1, &json!(other.subscription_id)));
    let foreign = cloud.arm(theirs, Method::GET, &cloud.group(), "2024-11-01", None).await;
    assert_eq!(
        (foreign.status, foreign.body["error"]["code"].as_str()),
        (StatusCode::UNAUTHORIZED, Some("InvalidAuthenticationTokenTenant"))
    );
    // Vaults: a token of another tenant is of a wrong issuer, whatever rights it has at home.
    let own = cloud.open_vault("kv1").await;
    let url = cloud.vault_url("kv1", "/secrets/s1?api-version=7.4");
    cloud.vault(Some(&own), Method::PUT, &url, Some(json!({ "value": "x" }))).await;
    let for_vaults = token(&cloud, &other, VAULT_AUDIENCE).await;
    let refused = cloud.vault(Some(&for_vaults), Method::GET, &url, None).await;
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(message.starts_with("AKV10032"), "{message}");
    // A role given to a principal of another tenant opens nothing.
    cloud
        .grant(&cloud.vault_id("kv1"), crate::harness::OWNER, &other.administrator.object_id)
        .await;
    let still = cloud.vault(Some(&for_vaults), Method::GET, &url, None).await;
    assert_eq!(still.status, StatusCode::UNAUTHORIZED);
    // Microsoft Graph: the directory of the token, and no other.
    let graph = token(&cloud, &other, GRAPH_AUDIENCE).await;
    let path = format!("/servicePrincipals/{}", first.administrator.object_id);
    let unseen = cloud.graph(Some(&graph), Method::GET, &path, None).await;
    assert_eq!(unseen.status, StatusCode::NOT_FOUND);
    // The token service: a client of one tenant is unknown in another, with a right secret too.
    let (status, body) = ask(&cloud, &other.tenant_id, &first.administrator, VAULT_AUDIENCE).await;
    assert_eq!((status, &body["error_codes"][0]), (400, &json!(700_016)));
    assert!(body.get("access_token").is_none());
    // Keys: a token names its own tenant's, and the other's set does not have it.
    let own_kid = header(&own)["kid"].clone();
    let set = async |tenant: &str| {
        let login = &cloud.description().endpoints.loopback;
        cloud.get(&format!("{login}/{tenant}/discovery/keys"), &[]).await.body["keys"].clone()
    };
    let has = |set: &Value| set.as_array().unwrap().iter().any(|key| key["kid"] == own_kid);
    assert!(has(&set(&first.tenant_id).await) && !has(&set(&other.tenant_id).await));
    assert_eq!(claims(&for_vaults)["tid"], json!(other.tenant_id));
}

#[tokio::test]
async fn a_tenant_is_named_by_its_id_or_its_domain() {
    let cloud = development().await;
    let (other, _) = second(&cloud, json!({ "name": "contoso", "issuer": "azure" })).await;
    let administrator = &other.administrator;
    let (status, body) =
        ask(&cloud, "Contoso.onmicrosoft.com", administrator, ARM_AUDIENCE.trim_end_matches('/'))
            .await;
    assert_eq!(status, 200, "{body}");
    let token = Secret::new(body["access_token"].as_str().unwrap().to_owned());
    let tenant = &other.tenant_id;
    assert_eq!(claims(&token)["iss"], format!("https://sts.windows.net/{tenant}/"));
    for (name, number) in [
        ("fabrikam.onmicrosoft.com", 90002),
        ("11111111-2222-3333-4444-555555555555", 90002),
        ("not a tenant", 900_023),
        ("common", 50059),
        ("organizations", 50059),
    ] {
        let name = name.replace(' ', "%20");
        let (status, body) = ask(&cloud, &name, administrator, VAULT_AUDIENCE).await;
        assert_eq!((status, &body["error_codes"][0]), (400, &json!(number)), "{name}");
    }
    let login = &cloud.description().endpoints.loopback;
    let document = format!("{login}/contoso.onmicrosoft.com/v2.0/.well-known/openid-configuration");
    let document = cloud.get(&document, &[]).await.body;
    assert_eq!(document["issuer"], format!("https://login.microsoftonline.com/{tenant}/v2.0"));
    assert!(document["token_endpoint"].as_str().unwrap().contains(tenant.as_str()));
}

#[tokio::test]
async fn a_directory_for_customers_has_no_managed_identities() {
    let cloud = development().await;
    let (other, administration) =
        second(&cloud, json!({ "name": "customers", "tenantType": "AAD B2C" })).await;
    let group = format!("/subscriptions/{}/resourceGroups/rg", other.subscription_id);
    let put = async |path: &str, body: Value| {
        let token = Some(administration.token());
        cloud.arm(token, Method::PUT, path, "2024-11-30", Some(body)).await
    };
    assert_eq!(put(&group, json!({ "location": "local" })).await.status, StatusCode::CREATED);
    let identity =
        format!("{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi-1");
    let refused = put(&identity, json!({ "location": "local" })).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("AAD B2C"));
    let vm = format!("{group}/providers/Microsoft.Compute/virtualMachines/vm1");
    let with = |kind: &str| json!({ "location": "local", "identity": { "type": kind } });
    let refused = put(&vm, with("SystemAssigned")).await;
    assert_eq!(refused.body["error"]["code"], "FailedIdentityOperation", "{}", refused.body);
    assert!(put(&vm, with("None")).await.status.is_success());
    let tenants =
        cloud.arm(Some(administration.token()), Method::GET, "/tenants", "2022-12-01", None).await;
    assert_eq!(tenants.body["value"][0]["tenantType"], "AAD B2C");
}

#[tokio::test]
async fn tenants_are_made_under_free_names_by_administrators_on_servers_for_development() {
    let cloud = development().await;
    let make = async |cloud: &Cloud, token: &Secret, body: Value| {
        let answer = cloud.arm(Some(token), Method::POST, PATH, "2026-11-01", Some(body)).await;
        (answer.status.as_u16(), answer.body["error"]["code"].as_str().map(str::to_owned))
    };
    let own = cloud.administration.token();
    let long = "x".repeat(64);
    for wrong in ["", "Contoso", "a b", "-a", "a-", "a.b", "ä", long.as_str()] {
        let got = make(&cloud, own, json!({ "name": wrong })).await;
        assert_eq!(got, (400, Some("InvalidTenantName".to_owned())), "{wrong}");
    }
    for wrong in [
        json!({}),
        json!({ "name": "a", "tenantType": "CIAM" }),
        json!({ "name": "a", "issuer": "x" }),
        json!({ "name": "a", "more": 1 }),
    ] {
        assert_eq!(make(&cloud, own, wrong.clone()).await.0, 400, "{wrong}");
    }
    let twice = json!({ "name": "contoso" });
    let (one, other) =
        tokio::join!(make(&cloud, own, twice.clone()), make(&cloud, own, twice.clone()));
    let mut statuses = [one.0, other.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    cloud.put_vm("vm", true, &[]).await;
    let stranger = cloud.vm_token("vm", ARM_AUDIENCE, "").await;
    assert_eq!(make(&cloud, &stranger, json!({ "name": "b" })).await.0, 403);
    let serving = Cloud::start().await;
    let got = make(&serving, serving.administration.token(), json!({ "name": "b" })).await;
    assert_eq!(got, (501, Some("NotImplemented".to_owned())));
}

/// The brief, row 3: what a tenant's identity is given counts in each of its subscriptions, and in no other tenant's.
#[tokio::test]
async fn an_identity_works_across_the_subscriptions_of_its_tenant() {
    let cloud = development().await;
    let path = "/providers/Microsoft.Subscription/aliases/second";
    let body = json!({ "properties": { "displayName": "Second", "workload": "Production" } });
    let make = async |status| {
        let answer = cloud.admin(Method::PUT, path, "2021-10-01", Some(body.clone())).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        answer.body["properties"]["subscriptionId"].as_str().unwrap().to_owned()
    };
    let second = make(StatusCode::CREATED).await;
    assert_eq!(make(StatusCode::OK).await, second);
    assert_ne!(second, cloud.description().subscription_id);
    let shown = cloud.admin(Method::GET, path, "2021-10-01", None).await;
    assert_eq!(shown.body["properties"]["provisioningState"], "Succeeded");
    // A vault in the second subscription, an identity of the first.
    let group = format!("/subscriptions/{second}/resourceGroups/rg2");
    cloud.put(&group, "2024-11-01", json!({ "location": "local" })).await;
    let vault = format!("{group}/providers/Microsoft.KeyVault/vaults/kv-two");
    let properties = json!({
        "tenantId": cloud.description().tenant_id, "sku": { "family": "A", "name": "standard" },
        "enableRbacAuthorization": true,
    });
    cloud.put(&vault, "2023-07-01", json!({ "location": "local", "properties": properties })).await;
    let vm = cloud.put_vm("vm1", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    let url = cloud.vault_url("kv-two", "/secrets?api-version=7.4");
    let read = async || cloud.vault(Some(&token), Method::GET, &url, None).await.status.as_u16();
    assert_eq!(read().await, 403);
    cloud.grant(&vault, crate::harness::SECRETS_USER, principal).await;
    assert_eq!(read().await, 200);
    for (alias, body, expected) in [
        ("a b", json!({ "properties": {} }), 400),
        ("third", json!({ "properties": { "displayName": "" } }), 400),
        ("third", json!({ "properties": { "subscriptionId": second } }), 501),
        ("third", json!({ "properties": { "additionalProperties": { "tags": {} } } }), 501),
        ("third", json!({ "properties": { "unknown": 1 } }), 400),
    ] {
        let path =
            format!("/providers/Microsoft.Subscription/aliases/{}", alias.replace(' ', "%20"));
        let answer = cloud.admin(Method::PUT, &path, "2021-10-01", Some(body.clone())).await;
        assert_eq!(answer.status.as_u16(), expected, "{alias} {body}: {}", answer.body);
    }
    let stranger = cloud.vm_token("vm1", ARM_AUDIENCE, "").await;
    let refused = cloud.arm(Some(&stranger), Method::PUT, path, "2021-10-01", Some(body)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

/// Faults and locks at the root of the management plane, and what a machine's metadata says of its network.
#[tokio::test]
async fn neither_a_listing_at_the_root_nor_a_machine_tells_of_another_tenant() {
    let cloud = development().await;
    let nic = format!("{}/providers/Microsoft.Network/networkInterfaces/nic", cloud.group());
    let version = "2024-05-01";
    let secret =
        json!({ "location": "local", "properties": { "macAddress": "00-0D-3A-99-99-99" } });
    cloud.put(&nic, version, secret).await;
    let vm = json!({
        "location": "local",
        "properties": { "networkProfile": { "networkInterfaces": [{ "id": nic }] } },
    });
    cloud.put(&cloud.vm_id("vm1"), "2024-07-01", vm.clone()).await;
    let fault = format!("{}/providers/Keycard.Testing/faults/f", cloud.vm_id("vm1"));
    cloud.put(&fault, "2026-11-01", json!({ "properties": { "kind": "Updating" } })).await;
    let lock = format!("{}/providers/Microsoft.Authorization/locks/l", cloud.group());
    cloud.put(&lock, "2020-05-01", json!({ "properties": { "level": "CanNotDelete" } })).await;

    let (other, administration) = second(&cloud, json!({ "name": "contoso" })).await;
    let theirs = Some(administration.token());
    let elevate = "/providers/Microsoft.Authorization/elevateAccess";
    let elevated = cloud.arm(theirs, Method::POST, elevate, "2016-07-01", None).await;
    assert_eq!(elevated.status, StatusCode::OK, "{}", elevated.body);
    for (path, version) in [
        ("/providers/Keycard.Testing/faults", "2026-11-01"),
        ("/providers/Microsoft.Authorization/locks", "2020-05-01"),
    ] {
        let listed = cloud.arm(theirs, Method::GET, path, version, None).await;
        assert_eq!(listed.body["value"], json!([]), "{path}: {} {}", listed.status, listed.body);
    }
    let group = format!("/subscriptions/{}/resourceGroups/g2", other.subscription_id);
    let made = json!({ "location": "local" });
    cloud.arm(theirs, Method::PUT, &group, "2024-11-01", Some(made)).await;
    let spy = format!("{group}/providers/Microsoft.Compute/virtualMachines/spy");
    let made = cloud.arm(theirs, Method::PUT, &spy, "2024-07-01", Some(vm)).await;
    assert!(made.status.is_success(), "{}", made.body);
    let own = cloud.administration.attachments().await.unwrap();
    let all = [own, administration.attachments().await.unwrap()].concat();
    for (machine, sees) in [(cloud.vm_id("vm1"), true), (spy, false)] {
        let is_meant = |it: &&Value| it["resourceId"].as_str() == Some(machine.as_str());
        let base = all.iter().find(is_meant).unwrap()["url"].as_str().unwrap();
        let url = format!("{base}/metadata/instance/network?api-version=2021-02-01");
        let shown = cloud.get(&url, &[("Metadata", "true")]).await;
        let says = shown.body.to_string().contains("000D3A999999");
        assert_eq!((shown.status, says), (StatusCode::OK, sees), "{machine}: {}", shown.body);
    }
}
