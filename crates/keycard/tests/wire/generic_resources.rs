//! Resources of types that keycard keeps as they are sent, the providers that have them, and listings across types.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, IDENTITY_OPERATOR, READER};

const STORAGE: &str = "Microsoft.Storage/storageAccounts";
const SQL: &str = "Microsoft.Sql/servers";
const NETWORK: &str = "Microsoft.Network/virtualNetworks";
const FACTORY: &str = "Microsoft.DataFactory/factories";
const VERSION: &str = "2025-08-01";

impl Cloud {
    fn generic(&self, resource_type: &str, name: &str) -> String {
        format!("{}/providers/{resource_type}/{name}", self.group())
    }

    async fn names(&self, list: &str) -> Vec<String> {
        let answer = self.admin(Method::GET, list, VERSION, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let items = answer.body["value"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_resource_is_kept_as_it_was_sent_without_its_secrets() {
    let cloud = Cloud::start().await;
    let path = cloud.generic(SQL, "sql1");
    let sent = json!({
        "location": "eastus",
        "tags": { "env": "dev" },
        "properties": { "administratorLogin": "root", "administratorLoginPassword": "hunter2", "nested": { "a": [1] } },
    });
    let made = cloud.admin(Method::PUT, &path, VERSION, Some(sent.clone())).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.body["properties"]["administratorLogin"], "root");
    assert_eq!(made.body["properties"]["provisioningState"], "Succeeded");
    assert_eq!(made.body["type"], SQL);
    let again = cloud.admin(Method::PUT, &path, VERSION, Some(sent)).await;
    assert_eq!(again.status, StatusCode::OK);
    let shouted = cloud.admin(Method::GET, &path.to_uppercase(), VERSION, None).await;
    assert_eq!(shouted.body, again.body, "case makes no other resource");
    assert!(!again.body.to_string().contains("hunter2"));

    let patch = json!({ "tags": { "env": "prod" }, "properties": { "minimalTlsVersion": "1.2" } });
    let patched = cloud.admin(Method::PATCH, &path, VERSION, Some(patch)).await;
    assert_eq!(patched.body["tags"], json!({ "env": "prod" }));
    assert_eq!(patched.body["properties"]["administratorLogin"], "root");
    let moved = json!({ "location": "westus" });
    let moved = cloud.admin(Method::PUT, &path, VERSION, Some(moved)).await;
    assert_eq!(
        (moved.status, code(&moved.body)),
        (StatusCode::CONFLICT, "InvalidResourceLocation")
    );

    assert_eq!(cloud.admin(Method::DELETE, &path, VERSION, None).await.status, StatusCode::OK);
    let gone = cloud.admin(Method::DELETE, &path, VERSION, None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let missing = cloud.admin(Method::GET, &path, VERSION, None).await;
    assert_eq!((missing.status, code(&missing.body)), (StatusCode::NOT_FOUND, "ResourceNotFound"));
}

#[tokio::test]
async fn its_identities_follow_the_rules_of_every_resource() {
    let cloud = Cloud::start().await;
    cloud.put_identity("one").await;
    let path = cloud.generic(FACTORY, "factory1");
    let body = |identity: Value| json!({ "location": "local", "identity": identity });
    let both = cloud.put(&path, VERSION, body(cloud.identity_block(true, &["one"]))).await;
    assert_eq!(both["identity"]["type"], "SystemAssigned, UserAssigned");
    let principal = both["identity"]["principalId"].as_str().unwrap().to_owned();

    let default = format!("{path}/providers/Microsoft.ManagedIdentity/identities/default");
    let default = cloud.admin(Method::GET, &default, "2024-11-30", None).await;
    assert_eq!(default.body["properties"]["principalId"], principal.as_str(), "{}", default.body);

    // PATCH merges, PUT replaces: without an identity there is none.
    let one = json!({ "identity": { "type": "SystemAssigned,UserAssigned", "userAssignedIdentities": { cloud.identity_id("one"): null } } });
    let system = cloud.admin(Method::PATCH, &path, VERSION, Some(one)).await;
    assert_eq!(system.status, StatusCode::BAD_REQUEST, "{}", system.body);
    assert_eq!(code(&system.body), "FailedIdentityOperation");
    let none = cloud.put(&path, VERSION, json!({ "location": "local" })).await;
    assert!(none.get("identity").is_none(), "{none}");
    let again = cloud.put(&path, VERSION, body(json!({ "type": "SystemAssigned" }))).await;
    assert_ne!(again["identity"]["principalId"], principal.as_str(), "another identity");

    let vnet = cloud.generic(NETWORK, "net");
    let refused = body(json!({ "type": "SystemAssigned" }));
    let refused = cloud.admin(Method::PUT, &vnet, VERSION, Some(refused)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);

    let id = again["identity"]["principalId"].as_str().unwrap();
    assert_eq!(cloud.admin(Method::DELETE, &path, VERSION, None).await.status, StatusCode::OK);
    let token = cloud.admin_token(crate::harness::GRAPH_AUDIENCE).await;
    let base = &cloud.description().endpoints.loopback;
    let url = format!("{base}/v1.0/servicePrincipals/{id}");
    let gone = cloud.vault(Some(&token), Method::GET, &url, None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND, "its principal went with it: {}", gone.body);
}

#[tokio::test]
async fn attaching_needs_a_right_on_the_identity() {
    let cloud = Cloud::start().await;
    let identity = cloud.put_identity("one").await;
    let vm = cloud.put_vm("deployer", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    // Data Factory Contributor.
    cloud.grant(&cloud.group(), "673868aa-7521-48a0-acc6-0f60742d39f5", principal).await;
    let token = cloud.vm_token("deployer", ARM_AUDIENCE, "").await;
    let path = cloud.generic(FACTORY, "factory1");
    let body = json!({ "location": "local", "identity": cloud.identity_block(false, &["one"]) });
    let refused = cloud.arm(Some(&token), Method::PUT, &path, VERSION, Some(body.clone())).await;
    assert_eq!(
        (refused.status, code(&refused.body)),
        (StatusCode::FORBIDDEN, "LinkedAuthorizationFailed")
    );
    cloud.grant(identity["id"].as_str().unwrap(), IDENTITY_OPERATOR, principal).await;
    let taken = cloud.arm(Some(&token), Method::PUT, &path, VERSION, Some(body)).await;
    assert_eq!(taken.status, StatusCode::CREATED, "{}", taken.body);
}

/// Whatever is about any resource finds one of these, and does not find one that is not there.
#[tokio::test]
async fn it_is_locked_tagged_watched_shared_and_listed_as_every_resource_is() {
    let cloud = Cloud::start().await;
    cloud.put_identity("one").await;
    let administrator = cloud.description().administrator.object_id.clone();
    let (path, absent) = (cloud.generic(FACTORY, "factory1"), cloud.generic(FACTORY, "none"));
    let body = json!({ "location": "local", "identity": cloud.identity_block(true, &["one"]) });
    cloud.put(&path, VERSION, body).await;
    let statuses = async |method: Method, tail: &str, version: &str, body: Option<Value>| {
        let ask = async |resource: &str| {
            let path = format!("{resource}/providers/{tail}");
            let answer = cloud.admin(method.clone(), &path, version, body.clone()).await;
            (answer.status.as_u16(), answer.body)
        };
        let (found, missing) = (ask(&path).await, ask(&absent).await);
        assert_eq!(missing.0, 404, "{tail}: {}", missing.1);
        found
    };
    let tags = Some(json!({ "operation": "Merge", "properties": { "tags": { "env": "dev" } } }));
    let tagged =
        statuses(Method::PATCH, "Microsoft.Resources/tags/default", "2024-11-01", tags).await;
    assert_eq!((tagged.0, &tagged.1["properties"]["tags"]["env"]), (200, &json!("dev")));
    let own = "Microsoft.ManagedIdentity/identities/default";
    assert_eq!(statuses(Method::GET, own, "2024-11-30", None).await.0, 200);
    let account = cloud.generic(STORAGE, "logs1");
    let setting = Some(json!({ "properties": {
        "storageAccountId": account,
        "logs": [{ "category": "PipelineRuns", "enabled": true }],
    }}));
    let watched = "Microsoft.Insights/diagnosticSettings/d";
    let watched = statuses(Method::PUT, watched, "2021-05-01-preview", setting).await;
    assert_eq!(watched.0, 200, "{}", watched.1);
    let role = format!(
        "{}/providers/Microsoft.Authorization/roleDefinitions/{READER}",
        cloud.subscription()
    );
    let given = Some(json!({ "properties": {
        "roleDefinitionId": role, "principalId": administrator, "principalType": "ServicePrincipal",
    }}));
    let assignment = "Microsoft.Authorization/roleAssignments/11111111-2222-3333-4444-555555555555";
    let shared = statuses(Method::PUT, assignment, "2022-04-01", given).await;
    assert_eq!(shared.0, 201, "{}", shared.1);

    let associated = format!("{}/listAssociatedResources", cloud.identity_id("one"));
    let associated = cloud.admin(Method::POST, &associated, "2022-01-31-preview", None).await.body;
    assert_eq!(associated["value"][0]["id"], path, "{associated}");
    let target = format!("{}/resourceGroups/RG2", cloud.subscription());
    cloud.put(&target, "2024-11-01", json!({ "location": "local" })).await;
    let moved = async |resource: &str| {
        let body = json!({ "resources": [resource], "targetResourceGroup": target });
        let verb = format!("{}/moveResources", cloud.group());
        let refused = cloud.admin(Method::POST, &verb, "2024-11-01", Some(body)).await;
        refused.body["error"]["details"][0]["code"].clone()
    };
    assert_eq!(moved(&path).await, "ResourceMoveNotSupported");
    assert_eq!(moved(&absent).await, "ResourceNotFound");

    let level = Some(json!({ "properties": { "level": "CanNotDelete" } }));
    let lock = "Microsoft.Authorization/locks/l";
    assert_eq!(statuses(Method::PUT, lock, "2016-09-01", level).await.0, 201);
    for locked in [&path, &cloud.group()] {
        let refused = cloud.admin(Method::DELETE, locked, VERSION, None).await;
        assert_eq!(
            (refused.status, code(&refused.body)),
            (StatusCode::CONFLICT, "ScopeLocked"),
            "{locked}"
        );
    }
}

#[tokio::test]
async fn parts_need_what_they_are_a_part_of_and_go_with_it() {
    let cloud = Cloud::start().await;
    let net = cloud.generic(NETWORK, "net");
    let subnet = format!("{net}/subnets/inner");
    let body = json!({ "properties": { "addressPrefix": "10.0.0.0/24" } });
    let orphan = cloud.admin(Method::PUT, &subnet, VERSION, Some(body.clone())).await;
    assert_eq!(
        (orphan.status, code(&orphan.body)),
        (StatusCode::NOT_FOUND, "ParentResourceNotFound")
    );
    cloud.put(&net, VERSION, json!({ "location": "local" })).await;
    cloud.put(&subnet, VERSION, body).await;
    assert_eq!(cloud.names(&format!("{net}/subnets")).await, ["inner"]);
    assert_eq!(cloud.names(&format!("{}/resources", cloud.group())).await, ["net"]);
    assert_eq!(cloud.admin(Method::DELETE, &net, VERSION, None).await.status, StatusCode::OK);
    assert_eq!(
        cloud.admin(Method::GET, &subnet, VERSION, None).await.status,
        StatusCode::NOT_FOUND
    );

    // A part of a virtual machine, too.
    let vm = cloud.vm_id("vm1");
    cloud.put_vm("vm1", false, &[]).await;
    let extension = format!("{vm}/extensions/script");
    let secret = json!({ "location": "local", "properties": { "type": "x", "protectedSettings": { "script": "x" } } });
    let made = cloud.put(&extension, VERSION, secret).await;
    assert!(made["properties"].get("protectedSettings").is_none(), "{made}");
    let delete = cloud.admin(Method::DELETE, &vm, "2024-07-01", None).await;
    assert!(delete.status.is_success());
    let gone = cloud.admin(Method::GET, &extension, VERSION, None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_name_that_is_a_hosts_is_had_by_one_resource_only() {
    let cloud = Cloud::start().await;
    let available = async |name: &str| {
        let path =
            format!("{}/providers/Microsoft.Storage/checkNameAvailability", cloud.subscription());
        let body = json!({ "name": name, "type": STORAGE });
        let answer = cloud.admin(Method::POST, &path, VERSION, Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        (answer.body["nameAvailable"] == true, answer.body["reason"].as_str().map(str::to_owned))
    };
    assert_eq!(available("data1").await, (true, None));
    let account =
        json!({ "location": "local", "kind": "StorageV2", "sku": { "name": "Standard_LRS" } });
    let path = cloud.generic(STORAGE, "data1");
    let made = cloud.admin(Method::PUT, &path, VERSION, Some(account.clone())).await;
    assert_eq!(made.status, StatusCode::OK, "clients take a 201 for an error: {}", made.body);
    let blobs = made.body["properties"]["primaryEndpoints"]["blob"].as_str().unwrap();
    assert!(blobs.starts_with("https://data1.blob.storage.keycard.localhost"), "{blobs}");
    assert_eq!(made.body["sku"]["name"], "Standard_LRS");
    assert_eq!(available("data1").await, (false, Some("AlreadyExists".into())));
    assert_eq!(available("a-b").await, (false, Some("AccountNameInvalid".into())));

    let other = format!("{}/resourceGroups/rg2", cloud.subscription());
    cloud.put(&other, "2024-11-01", json!({ "location": "local" })).await;
    let twin = format!("{other}/providers/{STORAGE}/data1");
    let twin_answer = cloud.admin(Method::PUT, &twin, VERSION, Some(account.clone())).await;
    assert_eq!(twin_answer.status, StatusCode::CONFLICT, "{}", twin_answer.body);
    assert_eq!(code(&twin_answer.body), "StorageAccountAlreadyTaken");
    let keys = cloud.admin(Method::POST, &format!("{path}/listKeys"), VERSION, None).await;
    assert_eq!(keys.body, json!({ "keys": [] }));
    // Its group takes the name along.
    let group = cloud.admin(Method::DELETE, &cloud.group(), "2024-11-01", None).await;
    assert!(group.status.is_success());
    let twin_answer = cloud.admin(Method::PUT, &twin, VERSION, Some(account)).await;
    assert_eq!(twin_answer.status, StatusCode::OK, "{}", twin_answer.body);
}

#[tokio::test]
async fn a_sql_server_has_one_administrator_however_it_was_named() {
    let cloud = Cloud::start().await;
    let (path, tenant) = (cloud.generic(SQL, "sql1"), cloud.description().tenant_id.clone());
    let admin = |login: &str| json!({ "administratorType": "ActiveDirectory", "login": login, "sid": "11111111-1111-1111-1111-111111111111", "tenantId": tenant });
    let body = json!({ "location": "local", "properties": { "administrators": admin("first") } });
    let made = cloud.put(&path, VERSION, body).await;
    let host = made["properties"]["fullyQualifiedDomainName"].as_str().unwrap();
    assert_eq!(host, "sql1.database.keycard.localhost");
    let (all, one) =
        (format!("{path}/administrators"), format!("{path}/administrators/ActiveDirectory"));
    let login = async || {
        let answer = cloud.admin(Method::GET, &all, VERSION, None).await;
        answer.body["value"][0]["properties"]["login"].as_str().map(str::to_owned)
    };
    assert_eq!(login().await.as_deref(), Some("first"));
    let second = json!({ "properties": admin("second") });
    let put = cloud.admin(Method::PUT, &one, VERSION, Some(second)).await;
    assert_eq!((put.status, &put.body["properties"]["login"]), (StatusCode::OK, &json!("second")));
    let server = cloud.admin(Method::GET, &path, VERSION, None).await;
    assert_eq!(server.body["properties"]["administrators"]["login"], "second");
    let nonsense = json!({ "properties": { "login": "x", "sid": "nobody" } });
    let nonsense = cloud.admin(Method::PUT, &one, VERSION, Some(nonsense)).await;
    assert_eq!(
        (nonsense.status, code(&nonsense.body)),
        (StatusCode::BAD_REQUEST, "InvalidRequestContent")
    );
    assert_eq!(cloud.admin(Method::DELETE, &one, VERSION, None).await.status, StatusCode::OK);
    assert_eq!(login().await, None);
    let missing = cloud.admin(Method::GET, &one, VERSION, None).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn resources_are_listed_across_types_by_what_clients_filter_by() {
    let cloud = Cloud::start().await;
    cloud.put_identity("app").await;
    cloud.put_vm("vm1", true, &["app"]).await;
    cloud.put_vault("kv1", true).await;
    let tagged = json!({ "location": "East US", "tags": { "Env": "dev" }, "kind": "StorageV2" });
    cloud.put(&cloud.generic(STORAGE, "data1"), VERSION, tagged).await;
    let all = format!("{}/resources", cloud.subscription());
    assert_eq!(cloud.names(&all).await, ["vm1", "kv1", "app", "data1"]);
    for (filter, expected) in [
        ("resourceType eq 'microsoft.keyvault/vaults'", vec!["kv1"]),
        ("tagname eq 'env' and tagvalue eq 'dev'", vec!["data1"]),
        ("location eq 'eastus' and resourceGroup eq 'RG1'", vec!["data1"]),
        ("name eq 'nobody'", vec![]),
    ] {
        let filter = filter.replace(' ', "%20").replace('\'', "%27");
        assert_eq!(cloud.names(&format!("{all}?$filter={filter}")).await, expected, "{filter}");
    }
    let listed =
        cloud.admin(Method::GET, &format!("{all}?$expand=provisioningState"), VERSION, None).await;
    let vm = &listed.body["value"][0];
    assert_eq!(vm["identity"]["type"], "SystemAssigned, UserAssigned");
    assert_eq!(
        (&vm["provisioningState"], &listed.body["value"][3]["kind"]),
        (&json!("Succeeded"), &json!("StorageV2"))
    );
    let unknown = cloud
        .admin(Method::GET, &format!("{all}?$filter=plan%20eq%20%27x%27"), VERSION, None)
        .await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn providers_have_the_types_that_are_served() {
    let cloud = Cloud::start().await;
    let path = format!("{}/providers", cloud.subscription());
    let compute =
        cloud.admin(Method::GET, &format!("{path}/microsoft.compute"), VERSION, None).await;
    assert_eq!(compute.body["namespace"], "Microsoft.Compute");
    assert_eq!(compute.body["registrationState"], "Registered");
    let types = compute.body["resourceTypes"].as_array().unwrap();
    let machines = types.iter().find(|it| it["resourceType"] == "virtualMachines").unwrap();
    assert!(!machines["apiVersions"][0].as_str().unwrap().contains("preview"), "{machines}");
    assert!(types.iter().any(|it| it["resourceType"] == "virtualMachines/extensions"));
    let unknown = cloud.admin(Method::GET, &format!("{path}/Contoso.Orders"), VERSION, None).await;
    assert_eq!(
        (unknown.status, code(&unknown.body)),
        (StatusCode::NOT_FOUND, "InvalidResourceNamespace")
    );
    let registered = cloud
        .admin(Method::POST, &format!("{path}/Microsoft.Compute/register"), VERSION, None)
        .await;
    assert_eq!(registered.body, compute.body);
    let all = cloud.admin(Method::GET, &path, VERSION, None).await;
    assert!(all.body["value"].as_array().unwrap().contains(&compute.body));

    // Unregistered, nothing new is made of it; what is there keeps it registered.
    let unregister = format!("{path}/Microsoft.Compute/unregister");
    let gone = cloud.admin(Method::POST, &unregister, VERSION, None).await;
    assert_eq!(gone.body["registrationState"], "Unregistered", "{}", gone.body);
    let body = json!({ "location": "local" });
    let refused = cloud.admin(Method::PUT, &cloud.vm_id("vm1"), VERSION, Some(body)).await;
    assert_eq!(
        (refused.status, code(&refused.body)),
        (StatusCode::CONFLICT, "MissingSubscriptionRegistration")
    );
    assert_eq!(refused.body["error"]["details"][0]["target"], "Microsoft.Compute");
    cloud.admin(Method::POST, &format!("{path}/Microsoft.Compute/register"), VERSION, None).await;
    cloud.put_vm("vm1", false, &[]).await;
    let in_use = cloud.admin(Method::POST, &unregister, VERSION, None).await;
    assert_eq!(in_use.status, StatusCode::CONFLICT, "{}", in_use.body);
    let needed = format!("{path}/Microsoft.Authorization/unregister");
    let needed = cloud.admin(Method::POST, &needed, VERSION, None).await;
    assert_eq!(needed.status, StatusCode::BAD_REQUEST, "{}", needed.body);

    // Registering is an action of the provider: a Reader may not.
    let vm = cloud.put_vm("reader", true, &[]).await;
    cloud
        .grant(&cloud.subscription(), READER, vm["identity"]["principalId"].as_str().unwrap())
        .await;
    let token = cloud.vm_token("reader", ARM_AUDIENCE, "").await;
    let register = format!("{path}/Microsoft.Compute/register");
    let refused = cloud.arm(Some(&token), Method::POST, &register, VERSION, None).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_feature_is_registered_and_listed() {
    let cloud = Cloud::start().await;
    let features = format!("{}/providers/Microsoft.Features", cloud.subscription());
    let one = format!("{features}/providers/Microsoft.Compute/features/Preview1");
    let state = async || {
        let answer = cloud.admin(Method::GET, &one, "2021-07-01", None).await;
        answer.body["properties"]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state().await, "NotRegistered");
    let registered =
        cloud.admin(Method::POST, &format!("{one}/register"), "2021-07-01", None).await;
    assert_eq!((registered.status, state().await), (StatusCode::OK, "Registered".into()));
    assert_eq!(registered.body["name"], "Microsoft.Compute/Preview1");
    assert_eq!(cloud.names(&format!("{features}/features")).await, ["Microsoft.Compute/Preview1"]);
    cloud.admin(Method::POST, &format!("{one}/unregister"), "2021-07-01", None).await;
    assert_eq!(state().await, "NotRegistered");
    let nonsense = format!("{features}/providers/Microsoft.Compute/features/a%20b/register");
    let nonsense = cloud.admin(Method::POST, &nonsense, "2021-07-01", None).await;
    assert_eq!(nonsense.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_image_has_a_version_for_who_makes_a_machine_of_it() {
    let cloud = Cloud::start().await;
    let path = format!(
        "{}/providers/Microsoft.Compute/locations/eastus/publishers/Canonical/artifacttypes/vmimage/offers/ubuntu/skus/22_04/versions",
        cloud.subscription()
    );
    let all = cloud.admin(Method::GET, &path, "2024-11-01", None).await;
    let name = all.body[0]["name"].as_str().unwrap().to_owned();
    let one = cloud.admin(Method::GET, &format!("{path}/{name}"), "2024-11-01", None).await;
    assert_eq!(one.body["properties"]["osDiskImage"]["operatingSystem"], "Linux", "{}", one.body);
}
