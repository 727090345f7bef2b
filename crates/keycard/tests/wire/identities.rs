//! User-assigned identities and what they are assigned to: azure-semantics 0.5, 0.7, 0.10, 1.1, 1.2 and 1.4, checklist 1 to
//! 10, 22 and 24 to 26.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_domain::limits::Profile;
use serde_json::{Value, json};
use time::Duration;

use crate::harness::{
    ARM_AUDIENCE, Choice, Cloud, GRAPH_AUDIENCE, READER, SECRETS_USER, VAULT_AUDIENCE,
    VM_CONTRIBUTOR,
};

/// The version of az, which has all members.
const VERSION: &str = "2025-05-31-preview";
const METADATA: &str = "api-version=2018-02-01&resource=https://vault.azure.net";

async fn put_identity(cloud: &Cloud, name: &str, version: &str, properties: Value) -> Answer {
    let body = json!({ "location": "East US", "properties": properties });
    cloud.admin(Method::PUT, &cloud.identity_id(name), version, Some(body)).await
}

fn map(ids: &[&str]) -> Value {
    let map: serde_json::Map<String, Value> =
        ids.iter().map(|id| ((*id).to_owned(), json!({}))).collect();
    json!({ "type": "UserAssigned", "userAssignedIdentities": map })
}

/// A PUT of any resource that bears the identities with these ids.
async fn put_bearer(cloud: &Cloud, path: &str, location: &str, ids: &[&str]) -> Answer {
    let body = json!({ "location": location, "identity": map(ids), "properties": {} });
    cloud.admin(Method::PUT, path, "2024-07-01", Some(body)).await
}

fn set_id(cloud: &Cloud, name: &str) -> String {
    format!("{}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}", cloud.group())
}

/// The inner message of a refusal by the identity service.
fn refusal(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    assert_eq!(answer.body["error"]["code"], "FailedIdentityOperation");
    answer.body["error"]["message"].as_str().unwrap()
}

#[tokio::test]
async fn settings_are_shown_and_taken_by_the_versions_that_have_them() {
    let cloud = Cloud::start().await;
    let both = json!({
        "isolationScope": "regional",
        "assignmentRestrictions": { "providers": ["microsoft.compute", "Microsoft.Web/sites"] },
    });
    let made = put_identity(&cloud, "mi-1", VERSION, both).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.body["properties"]["isolationScope"], "Regional");
    let restrictions = json!({ "providers": ["microsoft.compute", "Microsoft.Web/sites"] });
    assert_eq!(made.body["properties"]["assignmentRestrictions"], restrictions);

    let in_group = cloud.identity_id("").trim_end_matches('/').to_owned();
    let shown = async |version: &str| {
        let one = cloud.admin(Method::GET, &cloud.identity_id("mi-1"), version, None).await.body;
        let all = cloud.admin(Method::GET, &in_group, version, None).await.body;
        assert_eq!(all["value"][0], one, "a listing shows what one shows");
        let members = one["properties"].as_object().unwrap();
        (members.get("isolationScope").cloned(), members.get("assignmentRestrictions").cloned())
    };
    assert_eq!(shown("2018-11-30").await, (None, None));
    assert_eq!(shown("2023-01-31").await, (None, None));
    assert_eq!(shown("2024-11-30").await, (Some(json!("Regional")), None));
    assert_eq!(shown(VERSION).await, (Some(json!("Regional")), Some(restrictions.clone())));

    // An older client neither knows nor lifts what a younger one restricted.
    put_identity(&cloud, "mi-1", "2023-01-31", json!({})).await;
    assert_eq!(shown(VERSION).await, (Some(json!("Regional")), Some(restrictions.clone())));
    put_identity(&cloud, "mi-1", "2024-11-30", json!({})).await;
    assert_eq!(shown(VERSION).await, (Some(json!("None")), Some(restrictions.clone())));
    let patch = async |properties: Value| {
        let body = json!({ "properties": properties });
        let answer =
            cloud.admin(Method::PATCH, &cloud.identity_id("mi-1"), VERSION, Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    };
    patch(json!({ "isolationScope": "Regional" })).await;
    assert_eq!(shown(VERSION).await, (Some(json!("Regional")), Some(restrictions)));
    patch(json!({ "assignmentRestrictions": { "providers": [] } })).await;
    assert_eq!(shown(VERSION).await, (Some(json!("Regional")), None));

    for (version, wrong) in [
        (VERSION, json!({ "isolationScope": "Global" })),
        (VERSION, json!({ "isolationScope": 1 })),
        (VERSION, json!({ "assignmentRestrictions": { "providers": ["*"] } })),
        (VERSION, json!({ "assignmentRestrictions": { "providers": "Microsoft.Web" } })),
        ("2023-01-31", json!({ "isolationScope": "Regional" })),
        ("2024-11-30", json!({ "assignmentRestrictions": { "providers": ["Microsoft.Web"] } })),
    ] {
        let answer = put_identity(&cloud, "mi-2", version, wrong.clone()).await;
        let found = (answer.status.as_u16(), answer.body["error"]["code"].as_str());
        assert_eq!(found, (400, Some("InvalidRequestContent")), "{version} {wrong}");
    }
    let harmless = json!({ "isolationScope": "None" });
    assert_eq!(put_identity(&cloud, "mi-2", "2023-01-31", harmless).await.status, 201);
}

/// 8
#[tokio::test]
async fn a_regional_identity_is_for_resources_of_its_region_whose_tokens_count_everywhere() {
    let cloud = Cloud::start().await;
    let made = put_identity(&cloud, "mi-1", VERSION, json!({ "isolationScope": "Regional" })).await;
    let id = cloud.identity_id("mi-1");
    for (path, elsewhere) in [
        (cloud.vm_id("vm1"), "westus"),
        (cloud.site_id("app-1"), "local"),
        (set_id(&cloud, "set1"), "eastus2"),
    ] {
        let refused = put_bearer(&cloud, &path, elsewhere, &[&id]).await;
        let text = refusal(&refused);
        assert!(text.contains("'Regional'") && text.contains(elsewhere), "{text}");
        let shown = cloud.admin(Method::GET, &path, "2024-07-01", None).await;
        assert_eq!(shown.status, StatusCode::NOT_FOUND, "a refused PUT makes nothing");
        let taken = put_bearer(&cloud, &path, "eastus", &[&id]).await;
        assert!(taken.status.is_success(), "{}", taken.body);
    }
    cloud.put_vault("kv1", true).await;
    let principal = made.body["properties"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.vault_id("kv1"), SECRETS_USER, principal).await;
    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    let url = cloud.vault_url("kv1", "/secrets?api-version=7.4");
    let read = cloud.vault(Some(&token), Method::GET, &url, None).await;
    assert_eq!(read.status, StatusCode::OK, "the vault is in another region: {}", read.body);
}

/// 9
#[tokio::test]
async fn a_restricted_identity_is_for_the_providers_and_types_that_it_names() {
    let cloud = Cloud::start().await;
    let id = cloud.identity_id("mi-1");
    let paths = [cloud.vm_id("vm1"), set_id(&cloud, "set1"), cloud.site_id("app-1")];
    for (providers, allowed) in [
        (json!(["Microsoft.Compute"]), [true, true, false]),
        (json!(["MICROSOFT.COMPUTE/virtualmachines"]), [true, false, false]),
        (
            json!(["microsoft.web", "Microsoft.Compute/virtualMachineScaleSets"]),
            [false, true, true],
        ),
        (json!(["Microsoft.Storage"]), [false, false, false]),
        (json!([]), [true, true, true]),
    ] {
        let restrictions = json!({ "assignmentRestrictions": { "providers": providers } });
        let made = put_identity(&cloud, "mi-1", VERSION, restrictions).await;
        assert!(made.status.is_success(), "{}", made.body);
        for (path, is_allowed) in paths.iter().zip(allowed) {
            let answer = put_bearer(&cloud, path, "local", &[&id]).await;
            if is_allowed {
                assert!(answer.status.is_success(), "{path} {providers}: {}", answer.body);
            } else {
                assert!(refusal(&answer).contains("assignment restrictions"), "{path} {providers}");
            }
            cloud.admin(Method::DELETE, path, "2024-07-01", None).await;
        }
    }
}

#[tokio::test]
async fn a_restriction_that_came_later_counts_when_the_identity_is_listed_again() {
    let cloud = Cloud::start().await;
    let (one, two) = (cloud.identity_id("mi-1"), cloud.identity_id("mi-2"));
    cloud.put_identity("mi-2").await;
    for (lifted, set) in [
        (json!({ "isolationScope": "None" }), json!({ "isolationScope": "Regional" })),
        (
            json!({ "assignmentRestrictions": { "providers": [] } }),
            json!({ "assignmentRestrictions": { "providers": ["Microsoft.Web"] } }),
        ),
    ] {
        put_identity(&cloud, "mi-1", VERSION, lifted).await;
        let vm = cloud.vm_id("vm1");
        assert!(put_bearer(&cloud, &vm, "local", &[&one]).await.status.is_success());
        put_identity(&cloud, "mi-1", VERSION, set).await;
        refusal(&put_bearer(&cloud, &vm, "local", &[&one, &two]).await);
        let patch = async |identity: Value| {
            let body = json!({ "identity": identity });
            cloud.admin(Method::PATCH, &vm, "2024-07-01", Some(body)).await
        };
        refusal(&patch(map(&[&one])).await);
        assert_eq!(cloud.metadata("vm1", METADATA).await.status, 200, "who has it keeps it");
        assert_eq!(patch(map(&[&two])).await.status, 200, "what is not listed is not asked about");
        let detach = json!({ "type": "UserAssigned", "userAssignedIdentities": { &one: null } });
        assert_eq!(patch(detach).await.status, StatusCode::OK);
        cloud.admin(Method::DELETE, &vm, "2024-07-01", None).await;
    }
}

/// The rules and the listing know every type that bears identities, not only those that run.
#[tokio::test]
async fn slots_and_services_are_restricted_and_listed_as_machines_are() {
    let cloud = Cloud::start().await;
    let restricted = json!({
        "isolationScope": "Regional",
        "assignmentRestrictions": { "providers": ["Microsoft.DataFactory", "microsoft.web/sites/slots"] },
    });
    put_identity(&cloud, "mi-1", VERSION, restricted).await;
    let id = cloud.identity_id("mi-1");
    let service = |of: &str| format!("{}/providers/{of}", cloud.group());
    let factory = service("Microsoft.DataFactory/factories/factory1");
    assert!(refusal(&put_bearer(&cloud, &factory, "westus", &[&id]).await).contains("'Regional'"));
    let workflow = service("Microsoft.Logic/workflows/flow1");
    let refused = put_bearer(&cloud, &workflow, "eastus", &[&id]).await;
    assert!(refusal(&refused).contains("'Microsoft.Logic/workflows'"), "{}", refused.body);
    let site = cloud.site_id("app-1");
    cloud.put(&site, "2024-04-01", json!({ "location": "eastus", "properties": {} })).await;
    let slot = format!("{site}/slots/staging");
    for path in [&factory, &slot] {
        let made = put_bearer(&cloud, path, "eastus", &[&id]).await;
        assert!(made.status.is_success(), "{path}: {}", made.body);
    }
    let listed = associated(&cloud, "mi-1", "?$orderby=type").await;
    let types: Vec<&str> = listed.body["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["microsoft.datafactory/factories", "microsoft.web/sites/slots"]);
}

/// 2
#[tokio::test]
async fn the_service_principal_of_an_identity_is_there_with_it() {
    let cloud = Cloud::start().await;
    let made = cloud.put_identity("mi-1").await;
    let ids = &made["properties"];
    assert_ne!(ids["principalId"], ids["clientId"]);
    let graph = cloud.admin_token(GRAPH_AUDIENCE).await;
    let path = format!("/servicePrincipals/{}", ids["principalId"].as_str().unwrap());
    let found = cloud.graph(Some(&graph), Method::GET, &path, None).await;
    assert_eq!(found.status, StatusCode::OK, "{}", found.body);
    assert_eq!(found.body["servicePrincipalType"], "ManagedIdentity");
    assert_eq!(found.body["alternativeNames"], json!(["isExplicit=True", made["id"]]));
    assert_eq!(
        (&found.body["appId"], &found.body["displayName"]),
        (&ids["clientId"], &json!("mi-1"))
    );
    cloud.admin(Method::DELETE, &cloud.identity_id("mi-1"), VERSION, None).await;
    let gone = cloud.graph(Some(&graph), Method::GET, &path, None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

/// 6 and 0.10: the name made anew is another identity; whoever had the former has to let go of it first.
#[tokio::test]
async fn a_reference_to_a_deleted_identity_is_listed_gives_no_token_and_heals_by_detaching() {
    let cloud = Cloud::start().await;
    let former = cloud.put_identity("mi-1").await;
    cloud.put_vm("vm1", true, &["mi-1"]).await;
    let id = cloud.identity_id("mi-1");
    cloud.admin(Method::DELETE, &id, VERSION, None).await;
    let key = former["id"].as_str().unwrap();
    let listed = async || {
        let vm = cloud.admin(Method::GET, &cloud.vm_id("vm1"), "2024-07-01", None).await.body;
        vm["identity"]["userAssignedIdentities"][key].clone()
    };
    let ids = |identity: &Value| {
        let properties = &identity["properties"];
        json!({ "principalId": properties["principalId"], "clientId": properties["clientId"] })
    };
    assert_eq!(listed().await, ids(&former));
    let by_id = format!("{METADATA}&msi_res_id={id}");
    let refused = async || {
        let answer = cloud.metadata("vm1", &by_id).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
        assert_eq!(answer.body["error_description"], "Identity not found");
    };
    refused().await;
    let anew = cloud.put_identity("mi-1").await;
    assert_ne!(ids(&anew), ids(&former));
    refused().await;
    let patch = async |entry: Value| {
        let body = json!({ "identity": {
            "type": "SystemAssigned, UserAssigned", "userAssignedIdentities": { &id: entry },
        }});
        let answer =
            cloud.admin(Method::PATCH, &cloud.vm_id("vm1"), "2024-07-01", Some(body)).await;
        answer.status.as_u16()
    };
    assert_eq!(patch(json!({})).await, 200);
    assert_eq!(listed().await, ids(&former), "to list it again is not to attach it again");
    refused().await;
    let body = json!({ "identity": { "type": "SystemAssigned" } });
    cloud.admin(Method::PATCH, &cloud.vm_id("vm1"), "2024-07-01", Some(body)).await;
    assert_eq!(patch(json!({})).await, 200);
    assert_eq!(listed().await, ids(&anew));
    assert_eq!(cloud.metadata("vm1", &by_id).await.status, StatusCode::OK);
}

/// 7
#[tokio::test]
async fn every_bearers_own_identity_is_its_default_one() {
    let cloud = Cloud::start().await;
    let default = |resource: &str| {
        format!("{resource}/providers/Microsoft.ManagedIdentity/identities/default")
    };
    let ask = async |resource: &str| {
        cloud.admin(Method::GET, &default(resource), "2023-01-31", None).await
    };
    for path in [cloud.vm_id("vm1"), set_id(&cloud, "set1"), cloud.site_id("app-1")] {
        assert_eq!(ask(&path).await.status, StatusCode::NOT_FOUND, "there is no {path}");
        let bare = json!({ "location": "local", "tags": { "a": "b" }, "properties": {} });
        cloud.put(&path, "2024-07-01", bare.clone()).await;
        assert_eq!(ask(&path).await.status, StatusCode::NOT_FOUND, "{path} has none");
        let mut body = bare;
        body["identity"] = json!({ "type": "SystemAssigned" });
        let made = cloud.put(&path, "2024-07-01", body).await;
        let shown = ask(&path).await.body;
        assert_eq!(shown["id"], default(&path));
        assert_eq!(
            (&shown["name"], &shown["type"]),
            (&json!("default"), &json!("Microsoft.ManagedIdentity/identities"))
        );
        assert_eq!((&shown["location"], &shown["tags"]), (&json!("local"), &json!({ "a": "b" })));
        let members = shown["properties"].as_object().unwrap();
        assert_eq!(members["principalId"], made["identity"]["principalId"]);
        assert_eq!(members["tenantId"], made["identity"]["tenantId"]);
        assert_ne!(members["clientId"], members["principalId"]);
        assert_eq!(members.len(), 3, "nothing leads to a credential: {members:?}");
    }
}

/// 22 and 0.5
#[tokio::test]
async fn the_azure_profile_has_a_limit_for_a_request_and_none_for_a_resource() {
    let cloud = Cloud::start_with(Choice { profile: Profile::Azure, ..Choice::default() }).await;
    let mut ids = Vec::new();
    for number in 0..21 {
        let name = format!("mi-{number}");
        cloud.put_identity(&name).await;
        ids.push(cloud.identity_id(&name));
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let made = put_bearer(&cloud, &cloud.vm_id("vm1"), "local", &ids).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let many: Vec<String> = (0..151).map(|n| cloud.identity_id(&format!("no-{n}"))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = put_bearer(&cloud, &cloud.vm_id("vm2"), "local", &many).await;
    assert!(refusal(&refused).contains("'151' Assign exceed limit '150' in one request"));
}

/// 25: what is assigned outlives the resource; its own identity does not.
#[tokio::test]
async fn a_deleted_vm_takes_only_its_own_identity_along() {
    let cloud = Cloud::start().await;
    let assigned = cloud.put_identity("mi-1").await;
    let vm = cloud.put_vm("vm1", true, &["mi-1"]).await;
    let graph = cloud.admin_token(GRAPH_AUDIENCE).await;
    cloud.admin(Method::DELETE, &cloud.vm_id("vm1"), "2024-07-01", None).await;
    for (principal, status) in
        [(&vm["identity"]["principalId"], 404), (&assigned["properties"]["principalId"], 200)]
    {
        let path = format!("/servicePrincipals/{}", principal.as_str().unwrap());
        let found = cloud.graph(Some(&graph), Method::GET, &path, None).await;
        assert_eq!(found.status.as_u16(), status, "{path}");
    }
    let shown = cloud.admin(Method::GET, &cloud.identity_id("mi-1"), "2024-11-30", None).await;
    assert_eq!(shown.body, assigned);
}

/// 26
#[tokio::test]
async fn whatever_is_done_with_the_machine_its_identity_stays() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    let vm = cloud.put_vm("vm1", true, &["mi-1"]).await;
    for verb in ["deallocate", "start", "powerOff", "start", "restart", "reimage", "redeploy"] {
        let path = format!("{}/{verb}", cloud.vm_id("vm1"));
        let done = cloud.admin(Method::POST, &path, "2024-07-01", None).await;
        assert!(done.status.is_success(), "{verb}: {}", done.body);
        let shown = cloud.admin(Method::GET, &cloud.vm_id("vm1"), "2024-07-01", None).await;
        assert_eq!(shown.body["identity"], vm["identity"], "{verb}");
    }
    assert_eq!(cloud.metadata("vm1", METADATA).await.status, StatusCode::OK);
}

/// 23 and 24
#[tokio::test]
async fn the_type_is_shown_with_one_blank_and_one_key_for_one_identity() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    let id = cloud.identity_id("mi-1");
    let upper = id.to_uppercase();
    for spelling in ["SystemAssigned,UserAssigned", "systemassigned,  userassigned"] {
        let body = json!({ "location": "local", "properties": {}, "identity": {
            "type": spelling, "userAssignedIdentities": { &id: {}, &upper: {} },
        }});
        let made = cloud.put(&cloud.vm_id("vm1"), "2024-07-01", body).await;
        assert_eq!(made["identity"]["type"], "SystemAssigned, UserAssigned");
        let map = made["identity"]["userAssignedIdentities"].as_object().unwrap();
        assert_eq!(map.len(), 1, "{map:?}");
    }
}

/// 21 and 1.5: whoever may write the machine detaches; what a request lists needs a right, also where it is attached.
#[tokio::test]
async fn an_identity_is_taken_away_without_a_right_on_it_and_not_listed_again() {
    let cloud = Cloud::start().await;
    for name in ["mi-1", "mi-2"] {
        cloud.put_identity(name).await;
    }
    cloud.put_vm("vm1", false, &["mi-1", "mi-2"]).await;
    let actor = cloud.put_vm("actor", true, &[]).await;
    let principal = actor["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.vm_id("vm1"), VM_CONTRIBUTOR, principal).await;
    let token = cloud.vm_token("actor", ARM_AUDIENCE, "").await;
    let (one, two) = (cloud.identity_id("mi-1"), cloud.identity_id("mi-2"));
    let patch = async |map: Value| {
        let body = json!({ "identity": { "type": "UserAssigned", "userAssignedIdentities": map } });
        let path = cloud.vm_id("vm1");
        cloud.arm(Some(&token), Method::PATCH, &path, "2024-07-01", Some(body)).await
    };
    let again = patch(json!({ &one: {} })).await;
    assert_eq!(
        (again.status, &again.body["error"]["code"]),
        (StatusCode::FORBIDDEN, &json!("LinkedAuthorizationFailed"))
    );
    let detached = patch(json!({ &one: null })).await;
    assert_eq!(detached.status, StatusCode::OK, "{}", detached.body);
    let left = detached.body["identity"]["userAssignedIdentities"].as_object().unwrap();
    assert_eq!(left.len(), 1);
    assert!(left.keys().all(|id| id.eq_ignore_ascii_case(&two)), "{left:?}");
}

async fn associated(cloud: &Cloud, identity: &str, query: &str) -> Answer {
    let path = format!("{}/listAssociatedResources{query}", cloud.identity_id(identity));
    cloud.admin(Method::POST, &path, "2022-01-31-preview", None).await
}

fn shown(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let all = answer.body["value"].as_array().unwrap();
    all.iter().map(|resource| resource["name"].as_str().unwrap()).collect()
}

/// A machine, a set, a site and a machine in another group that have an identity, and a machine that does not.
async fn four_bearers() -> Cloud {
    let cloud = Cloud::start().await;
    for name in ["mi-1", "mi-2"] {
        cloud.put_identity(name).await;
    }
    let id = cloud.identity_id("mi-1");
    let other = cloud.group().replace("rg1", "Other");
    cloud.put(&other, "2024-11-01", json!({ "location": "local" })).await;
    for path in [
        cloud.vm_id("web-1"),
        set_id(&cloud, "web-2"),
        cloud.site_id("web-3"),
        cloud.vm_id("db").replace("rg1", "Other"),
    ] {
        let made = put_bearer(&cloud, &path, "local", &[&id]).await;
        assert!(made.status.is_success(), "{}", made.body);
    }
    cloud.put_vm("without", true, &["mi-2"]).await;
    cloud
}

/// 10
#[tokio::test]
async fn whatever_has_an_identity_is_listed_counted_filtered_and_ordered() {
    let cloud = four_bearers().await;
    let all = associated(&cloud, "mi-1", "").await;
    assert_eq!(all.body["totalCount"], 4);
    assert_eq!(BTreeSet::from_iter(shown(&all)), BTreeSet::from(["db", "web-1", "web-2", "web-3"]));
    let db = all.body["value"].as_array().unwrap().iter().find(|it| it["name"] == "db").unwrap();
    let subscription =
        cloud.admin(Method::GET, &cloud.subscription(), "2022-12-01", None).await.body;
    assert_eq!(
        *db,
        json!({
            "id": cloud.vm_id("db").replace("rg1", "Other"),
            "name": "db",
            "type": "microsoft.compute/virtualmachines",
            "resourceGroup": "Other",
            "subscriptionId": cloud.description().subscription_id,
            "subscriptionDisplayName": subscription["displayName"],
        })
    );
    let count = associated(&cloud, "mi-1", "?$top=0").await;
    assert_eq!(count.body, json!({ "totalCount": 4, "value": [] }));

    for (filter, expected) in [
        ("contains(name,'WEB')", vec!["web-1", "web-2", "web-3"]),
        ("name eq 'DB'", vec!["db"]),
        ("contains(type,'microsoft.compute/') and resourceGroup eq 'RG1'", vec!["web-1", "web-2"]),
        ("name eq 'db' or type eq 'Microsoft.Web/sites'", vec!["db", "web-3"]),
        ("(name eq 'db' or name eq 'web-1') and contains(resourceGroup,'oth')", vec!["db"]),
        ("subscriptionDisplayName eq 'nobody''s'", vec![]),
        ("subscriptionId eq 'SUBSCRIPTION'", vec!["db", "web-1", "web-2", "web-3"]),
    ] {
        let filter = filter.replace("SUBSCRIPTION", &cloud.description().subscription_id);
        let encoded = filter.replace(' ', "%20").replace('\'', "%27");
        let answer = associated(&cloud, "mi-1", &format!("?$filter={encoded}&$orderby=name")).await;
        assert_eq!(shown(&answer), expected, "{filter}");
        assert_eq!(answer.body["totalCount"], expected.len(), "{filter}");
    }
    for (order, expected) in [
        ("name%20desc", ["web-3", "web-2", "web-1", "db"]),
        ("type%20asc,name", ["db", "web-1", "web-2", "web-3"]),
        ("resourceGroup%20DESC,name%20desc", ["web-3", "web-2", "web-1", "db"]),
    ] {
        let sorted = associated(&cloud, "mi-1", &format!("?$orderby={order}")).await;
        assert_eq!(shown(&sorted), expected, "{order}");
    }
    for wrong in ["$filter=name%20ne%20%27a%27", "$orderby=location", "$top=x", "$skip=-1"] {
        let refused = associated(&cloud, "mi-1", &format!("?{wrong}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(associated(&cloud, "missing", "").await.status, StatusCode::NOT_FOUND);
}

/// SDKs follow the link with GET, az with POST.
#[tokio::test]
async fn walking_the_links_yields_each_associated_resource_once() {
    let cloud = four_bearers().await;
    for method in [Method::GET, Method::POST] {
        let first = associated(&cloud, "mi-1", "?$top=1&$skip=1&$orderby=name").await;
        let mut names: Vec<String> = shown(&first).into_iter().map(str::to_owned).collect();
        let mut link = first.body["nextLink"].as_str().map(str::to_owned);
        while let Some(next) = link {
            let path = next.split_once("/subscriptions").unwrap().1;
            let path = format!("/subscriptions{path}");
            let page = cloud.admin(method.clone(), &path, "", None).await;
            assert_eq!(page.body["totalCount"], 4);
            names.extend(shown(&page).into_iter().map(str::to_owned));
            link = page.body["nextLink"].as_str().map(str::to_owned);
        }
        assert_eq!(names, ["web-1", "web-2", "web-3"], "{method}");
    }
}

#[tokio::test]
async fn a_broken_reference_is_no_association_and_a_detached_one_is_none() {
    let cloud = four_bearers().await;
    cloud.put_vm("web-1", true, &[]).await;
    assert_eq!(associated(&cloud, "mi-1", "").await.body["totalCount"], 3);
    cloud.admin(Method::DELETE, &cloud.identity_id("mi-1"), VERSION, None).await;
    cloud.put_identity("mi-1").await;
    let anew = associated(&cloud, "mi-1", "").await;
    assert_eq!(anew.body, json!({ "totalCount": 0, "value": [] }));
    cloud.put_vm("web-1", true, &["mi-1"]).await;
    assert_eq!(shown(&associated(&cloud, "mi-1", "").await), ["web-1"]);
}

/// 1.4: reading the identity is enough to see what the caller may not see by itself, and nothing less is.
#[tokio::test]
async fn who_may_read_the_identity_sees_where_it_is() {
    let cloud = four_bearers().await;
    let actor = cloud.put_vm("actor", true, &[]).await;
    let principal = actor["identity"]["principalId"].as_str().unwrap();
    let token = cloud.vm_token("actor", ARM_AUDIENCE, "").await;
    let path = format!("{}/listAssociatedResources", cloud.identity_id("mi-1"));
    let ask = async |method: Method| {
        cloud.arm(Some(&token), method, &path, "2021-09-30-preview", None).await
    };
    for method in [Method::GET, Method::POST] {
        assert_eq!(ask(method).await.status, StatusCode::FORBIDDEN);
    }
    cloud.grant(&cloud.vm_id("web-1"), READER, principal).await;
    assert_eq!(ask(Method::POST).await.status, StatusCode::FORBIDDEN, "its bearer is another");
    cloud.grant(&cloud.identity_id("mi-1"), READER, principal).await;
    assert_eq!(ask(Method::POST).await.body["totalCount"], 4);
    let other = path.replace("mi-1", "mi-2");
    let refused = cloud.arm(Some(&token), Method::POST, &other, "2021-09-30-preview", None).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

/// 0.7 and 1.4
#[tokio::test]
async fn in_the_azure_profile_listings_and_new_identities_have_a_rate() {
    let cloud = Cloud::start_with(Choice { profile: Profile::Azure, ..Choice::default() }).await;
    cloud.put_identity("mi-1").await;
    let throttled = |answer: &Answer| {
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.body);
        assert_eq!(answer.body["error"]["code"], "TooManyRequests");
        let seconds = answer.headers["retry-after"].to_str().unwrap().parse::<i64>().unwrap();
        assert!(seconds >= 1);
        seconds
    };
    assert_eq!(associated(&cloud, "mi-1", "").await.status, StatusCode::OK);
    let wait = throttled(&associated(&cloud, "mi-1", "").await);
    cloud.clock.advance(Duration::seconds(wait));
    assert_eq!(associated(&cloud, "mi-1", "").await.status, StatusCode::OK);

    cloud.clock.advance(Duration::minutes(1));
    for number in 0..80 {
        let made = put_identity(&cloud, &format!("new-{number}"), VERSION, json!({})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{number}: {}", made.body);
    }
    let wait = throttled(&put_identity(&cloud, "new-80", VERSION, json!({})).await);
    let again = put_identity(&cloud, "new-0", VERSION, json!({})).await;
    assert_eq!(again.status, StatusCode::OK, "what is there is not counted: {}", again.body);
    let body = json!({ "location": "westus" });
    let elsewhere = cloud.identity_id("west");
    let elsewhere = cloud.admin(Method::PUT, &elsewhere, VERSION, Some(body)).await;
    assert_eq!(elsewhere.status, StatusCode::CREATED, "each region counts by itself");
    cloud.clock.advance(Duration::seconds(wait));
    let made = put_identity(&cloud, "new-80", VERSION, json!({})).await;
    assert_eq!(made.status, StatusCode::CREATED);
}

#[tokio::test]
async fn the_standard_profile_has_no_rate_for_listings() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    for _ in 0..5 {
        assert_eq!(associated(&cloud, "mi-1", "").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn whoever_has_a_token_reads_the_providers_operations() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let token = cloud.vm_token("vm1", ARM_AUDIENCE, "").await;
    let path = "/providers/Microsoft.ManagedIdentity/operations";
    let listed = cloud.arm(Some(&token), Method::GET, path, "2024-11-30", None).await;
    assert_eq!(listed.status, StatusCode::OK, "{}", listed.body);
    let operations = listed.body["value"].as_array().unwrap();
    let assign = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action";
    let assign = operations.iter().find(|it| it["name"] == assign).unwrap();
    for member in ["provider", "resource", "operation", "description"] {
        assert!(!assign["display"][member].as_str().unwrap().is_empty(), "{member}");
    }
    let nobody = cloud.arm(None, Method::GET, path, "2024-11-30", None).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    let versionless = cloud.arm(Some(&token), Method::GET, path, "", None).await;
    assert_eq!(versionless.body["error"]["code"], "MissingApiVersionParameter");
}
