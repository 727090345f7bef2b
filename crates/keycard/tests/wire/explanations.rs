//! Why a request was refused and what a run needs; and the check endpoint for proxies.

use http::{Method, Request};
use http_body_util::Full;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, READER, SECRETS_USER, VAULT_AUDIENCE};

const OWN_VERSION: &str = "2026-11-01";
const GET: &str = "Microsoft.KeyVault/vaults/secrets/getSecret/action";

/// A vault with a secret, a VM that may not read it, its principal and token.
async fn scene(cloud: &Cloud) -> (String, Secret) {
    let token = cloud.open_vault("kv1").await;
    let url = cloud.vault_url("kv1", "/secrets/db?api-version=7.4");
    let put = cloud.vault(Some(&token), Method::PUT, &url, Some(json!({ "value": "v" }))).await;
    assert_eq!(put.status, 200);
    let vm = cloud.put_vm("app", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap().to_owned();
    (principal, cloud.vm_token("app", VAULT_AUDIENCE, "").await)
}

async fn read_secret(cloud: &Cloud, token: &Secret) -> keycard::client::Answer {
    let url = cloud.vault_url("kv1", "/secrets/db?api-version=7.4");
    cloud.vault(Some(token), Method::GET, &url, None).await
}

async fn explain(cloud: &Cloud, scope: &str, question: Value) -> Value {
    let path = format!("{scope}/providers/Keycard.Local/explainAccess");
    cloud.admin(Method::POST, &path, OWN_VERSION, Some(question)).await.body
}

/// Gives what the advice says.
async fn follow(cloud: &Cloud, advice: &Value) -> String {
    let text = |pointer: &str| advice.pointer(pointer).and_then(Value::as_str).unwrap();
    let role = text("/role/id").rsplit('/').next().unwrap();
    cloud.grant(text("/scope"), role, text("/principalId")).await
}

#[tokio::test]
async fn a_refused_request_is_explained_and_the_advice_makes_it_succeed() {
    let cloud = Cloud::start().await;
    let (principal, token) = scene(&cloud).await;
    let refused = read_secret(&cloud, &token).await;
    assert_eq!(refused.status, 403);
    let request_id = refused.headers["x-ms-request-id"].to_str().unwrap();
    let path = format!("/providers/Keycard.Local/refusals/{request_id}");
    let told = cloud.admin(Method::GET, &path, OWN_VERSION, None).await.body;
    let explanation = &told["value"][0];
    assert_eq!(explanation["reason"], "DeniedWithNoValidRBAC");
    assert_eq!(explanation["action"], GET);
    assert_eq!(explanation["identity"]["displayName"], "app");
    assert_eq!(explanation["advice"]["role"]["name"], "Key Vault Secrets User");
    let secret = format!("{}/secrets/db", cloud.vault_id("kv1"));
    assert_eq!(explanation["advice"]["scope"], secret);
    let command = format!(
        "az role assignment create --assignee-object-id {principal} --assignee-principal-type ServicePrincipal --role 'Key Vault Secrets User' --scope '{secret}'"
    );
    assert_eq!(explanation["advice"]["command"], command);
    follow(&cloud, &explanation["advice"]).await;
    assert_eq!(read_secret(&cloud, &token).await.status, 200);
    let again = cloud.admin(Method::GET, &path, OWN_VERSION, None).await.body;
    assert_eq!(again["value"][0]["decision"], "Allowed");
    let stranger = cloud.put_vm("stranger", true, &[]).await;
    assert!(stranger["identity"]["principalId"].is_string());
    let stranger = cloud.vm_token("stranger", ARM_AUDIENCE, "").await;
    let hidden = cloud.arm(Some(&stranger), Method::GET, &path, OWN_VERSION, None).await;
    assert_eq!(hidden.status, 404, "whose refusal it is not, and who may not read assignments");
    let own = cloud.vm_token("app", ARM_AUDIENCE, "").await;
    assert_eq!(cloud.arm(Some(&own), Method::GET, &path, OWN_VERSION, None).await.status, 200);
}

#[tokio::test]
async fn identities_are_meant_by_any_of_their_names() {
    let cloud = Cloud::start().await;
    let (principal, _) = scene(&cloud).await;
    let client = cloud.put_vm("app", true, &[]).await["identity"]["principalId"].clone();
    assert_eq!(client, json!(principal));
    for identity in [principal.as_str(), "app", "APP", &cloud.vm_id("app")] {
        let told =
            explain(&cloud, &cloud.vault_id("kv1"), json!({ "identity": identity, "action": GET }))
                .await;
        assert_eq!(told["identity"]["principalId"], json!(principal), "{identity}");
        assert_eq!(told["isDataAction"], true);
    }
    let told =
        explain(&cloud, &cloud.group(), json!({ "identity": "nobody", "action": GET })).await;
    assert_eq!(told["error"]["code"], "InvalidRequestContent");
}

#[tokio::test]
async fn a_vault_with_access_policies_is_explained_by_them() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv2", false).await;
    cloud.put_vm("app", true, &[]).await;
    let told =
        explain(&cloud, &cloud.vault_id("kv2"), json!({ "identity": "app", "action": GET })).await;
    assert_eq!(told["reason"], "DeniedByAccessPolicy");
    assert_eq!(told["advice"]["secretPermission"], "get");
    assert!(
        told["advice"]["command"]
            .as_str()
            .unwrap()
            .starts_with("az keyvault set-policy --name kv2 --object-id ")
    );
    // A role on the vault changes nothing, and an access check knows it.
    let principal = told["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.vault_id("kv2"), SECRETS_USER, principal).await;
    let path = format!("{}/providers/Microsoft.Authorization/checkAccess", cloud.vault_id("kv2"));
    let ask = json!({
        "subject": { "attributes": { "objectId": principal } },
        "actions": [{ "id": GET, "isDataAction": true }],
    });
    let checked = cloud.admin(Method::POST, &path, "2022-04-01", Some(ask)).await.body;
    assert_eq!(checked["value"][0]["accessDecision"], "NotAllowed", "{checked}");
}

#[tokio::test]
async fn who_may_not_read_assignments_asks_about_itself_only() {
    let cloud = Cloud::start().await;
    scene(&cloud).await;
    let own = cloud.vm_token("app", ARM_AUDIENCE, "").await;
    let path = format!("{}/providers/Keycard.Local/explainAccess", cloud.group());
    for (identity, status) in [("app", 200), ("keycard administrator", 403), ("nobody", 403)] {
        let question = Some(
            json!({ "identity": identity, "action": "Microsoft.Compute/virtualMachines/read" }),
        );
        let told = cloud.arm(Some(&own), Method::POST, &path, OWN_VERSION, question).await;
        assert_eq!(told.status, status, "{identity}: {}", told.body);
    }
}

#[tokio::test]
async fn a_recorded_run_succeeds_with_what_the_recording_says_it_needs() {
    let cloud = Cloud::start().await;
    let (_, token) = scene(&cloud).await;
    let record = async |verb: &str| {
        let path = format!("/providers/Keycard.Local/{verb}Recording");
        cloud.admin(Method::POST, &path, OWN_VERSION, Some(json!({}))).await
    };
    assert_eq!(record("stop").await.status, 409);
    assert_eq!(record("start").await.status, 200);
    let arm = cloud.vm_token("app", ARM_AUDIENCE, "").await;
    let run = async || {
        let list = cloud.vault_url("kv1", "/secrets?api-version=7.4");
        [
            read_secret(&cloud, &token).await.status.as_u16(),
            cloud.vault(Some(&token), Method::GET, &list, None).await.status.as_u16(),
            cloud
                .arm(Some(&arm), Method::GET, &cloud.vm_id("app"), "2024-07-01", None)
                .await
                .status
                .as_u16(),
        ]
    };
    assert_eq!(run().await, [403, 403, 403]);
    let recording = record("stop").await.body;
    assert_eq!(recording["questions"].as_array().unwrap().len(), 3);
    let assignments = recording["assignments"].as_array().unwrap();
    assert_eq!(assignments.len(), 2, "{assignments:?}");
    for assignment in assignments {
        follow(&cloud, assignment).await;
    }
    assert_eq!(run().await, [200, 200, 200]);
    let nested = &recording["template"]["resources"][0];
    assert_eq!(nested["resourceGroup"], "rg1");
    let roles = nested["properties"]["template"]["resources"].as_array().unwrap();
    assert_eq!(roles.len(), 2);
    assert!(roles.iter().any(|role| role["scope"] == "Microsoft.KeyVault/vaults/kv1"), "{roles:?}");
}

#[tokio::test]
async fn the_template_of_a_recording_is_deployed_as_it_is() {
    let cloud = Cloud::start().await;
    let (_, token) = scene(&cloud).await;
    let record = async |verb: &str| {
        let path = format!("/providers/Keycard.Local/{verb}Recording");
        cloud.admin(Method::POST, &path, OWN_VERSION, Some(json!({}))).await
    };
    record("start").await;
    assert_eq!(read_secret(&cloud, &token).await.status, 403);
    let template = record("stop").await.body["template"].clone();
    let body = json!({
        "location": "local", "properties": { "mode": "Incremental", "template": template },
    });
    let path = format!("{}/providers/Microsoft.Resources/deployments/run", cloud.subscription());
    let deployed = cloud.admin(Method::PUT, &path, "2025-04-01", Some(body)).await.body;
    assert_eq!(deployed["properties"]["provisioningState"], "Succeeded", "{deployed}");
    assert_eq!(read_secret(&cloud, &token).await.status, 200);
}

#[tokio::test]
async fn only_an_administrator_of_the_directory_records() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("app", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.subscription(), "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", principal).await;
    let owner = cloud.vm_token("app", ARM_AUDIENCE, "").await;
    let path = "/providers/Keycard.Local/startRecording";
    let refused = cloud.arm(Some(&owner), Method::POST, path, OWN_VERSION, Some(json!({}))).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["error"]["code"]),
        (403, &json!("AuthorizationFailed"))
    );
}

async fn authorize(
    cloud: &Cloud,
    method: Method,
    token: Option<&Secret>,
    query: &str,
) -> keycard::client::Answer {
    let url = format!("{}/authorize?{query}", cloud.description().endpoints.loopback);
    let mut builder = Request::builder().method(method).uri(url);
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {}", token.expose()));
    }
    cloud.client.send(builder.body(Full::default()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_check_endpoint_says_yes_no_or_who_are_you() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("app", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    let token = cloud.vm_token("app", ARM_AUDIENCE, "").await;
    let query = |audience: &str, action: &str| {
        format!("audience={audience}&action={action}&scope={}", cloud.group())
    };
    let read = query(ARM_AUDIENCE, "Microsoft.Resources/subscriptions/resourceGroups/read");
    let nobody = authorize(&cloud, Method::GET, None, &read).await;
    assert_eq!(nobody.status, 401);
    assert!(
        nobody.headers["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Bearer authorization_uri=\"")
    );
    let refused = authorize(&cloud, Method::GET, Some(&token), &read).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["error"]["code"]),
        (403, &json!("AuthorizationFailed"))
    );
    let request_id = refused.headers["x-ms-request-id"].to_str().unwrap();
    let path = format!("/providers/Keycard.Local/refusals/{request_id}");
    let told = cloud.admin(Method::GET, &path, OWN_VERSION, None).await.body;
    assert_eq!(told["value"][0]["identity"]["displayName"], "app");
    let given = cloud.grant(&cloud.group(), READER, principal).await;
    for method in [Method::GET, Method::POST, Method::DELETE, Method::HEAD, Method::OPTIONS] {
        let allowed = authorize(&cloud, method, Some(&token), &read).await;
        assert_eq!((allowed.status.as_u16(), allowed.bytes.len()), (204, 0));
        assert_eq!(allowed.headers["x-keycard-principal-id"], principal);
        assert_eq!(allowed.headers["x-keycard-tenant-id"], cloud.description().tenant_id.as_str());
    }
    let elsewhere = query(VAULT_AUDIENCE, "Microsoft.Resources/subscriptions/resourceGroups/read");
    assert_eq!(authorize(&cloud, Method::GET, Some(&token), &elsewhere).await.status, 401);
    for wrong in
        ["", "action=a/b&scope=/s", &format!("{read}&scope=/"), &format!("{read}&Action=x/y")]
    {
        assert_eq!(
            authorize(&cloud, Method::GET, Some(&token), wrong).await.status,
            400,
            "{wrong}"
        );
    }
    let forged = Secret::new(format!("{}x", token.expose()));
    assert_eq!(authorize(&cloud, Method::GET, Some(&forged), &read).await.status, 401);
    cloud.admin(Method::DELETE, &given, "2022-04-01", None).await;
    assert_eq!(authorize(&cloud, Method::GET, Some(&token), &read).await.status, 403);
}

/// A service of one's own: its actions are defined by a custom role.
#[tokio::test]
async fn a_custom_role_opens_a_service_of_ones_own() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("app", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    let token = cloud.vm_token("app", ARM_AUDIENCE, "").await;
    let shop = format!("{}/providers/Contoso.Orders/shops/s1", cloud.group());
    let ask = async |action: &str, scope: &str| {
        let query = format!("audience={ARM_AUDIENCE}&action={action}&scope={scope}");
        authorize(&cloud, Method::GET, Some(&token), &query).await.status.as_u16()
    };
    let role = "00000000-0000-4000-8000-000000000001";
    let path =
        format!("{}/providers/Microsoft.Authorization/roleDefinitions/{role}", cloud.group());
    cloud
        .put(
            &path,
            "2022-04-01",
            json!({ "properties": {
                "roleName": "Order Reader",
                "assignableScopes": [cloud.group()],
                "permissions": [{ "dataActions": ["Contoso.Orders/shops/orders/read"] }],
            }}),
        )
        .await;
    cloud.grant(&shop, role, principal).await;
    assert_eq!(ask("Contoso.Orders/shops/orders/read", &shop).await, 204);
    assert_eq!(ask("contoso.orders/SHOPS/orders/READ", &shop.to_uppercase()).await, 204);
    assert_eq!(ask("Contoso.Orders/shops/orders/write", &shop).await, 403);
    assert_eq!(ask("Contoso.Orders/shops/orders/read", &format!("{shop}0")).await, 403);
    let control = format!(
        "audience={ARM_AUDIENCE}&action=Contoso.Orders/shops/orders/read&scope={shop}&isDataAction=false"
    );
    assert_eq!(authorize(&cloud, Method::GET, Some(&token), &control).await.status, 403);
}

/// About itself a stranger learns nothing of what exists, nor which roles there are.
#[tokio::test]
async fn a_stranger_learns_of_its_own_refusal_nothing_that_it_may_not_read() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv2", false).await;
    cloud.put_vm("app", true, &[]).await;
    let own = cloud.vm_token("app", ARM_AUDIENCE, "").await;
    let missing = format!("{}/resourceGroups/none", cloud.subscription());
    for scope in [cloud.group(), missing, cloud.vault_id("kv2"), cloud.vault_id("none")] {
        let path = format!("{scope}/providers/Keycard.Local/explainAccess");
        let question = Some(json!({ "identity": "app", "action": GET }));
        let told = cloud.arm(Some(&own), Method::POST, &path, OWN_VERSION, question).await.body;
        assert_eq!(told["reason"], "DeniedWithNoValidRBAC");
        assert_eq!(told["advice"]["scope"], json!(scope));
    }
}
