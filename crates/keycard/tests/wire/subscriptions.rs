//! What a subscription says of itself, and what clients ask for before they know anything else.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{ARM_AUDIENCE, Cloud};

fn names(page: &Value) -> Vec<&str> {
    page["value"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_subscription_shows_itself_and_its_locations() {
    let cloud = Cloud::start().await;
    let path = cloud.subscription();
    let shown = cloud.admin(Method::GET, &path, "2022-12-01", None).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.body);
    assert_eq!(shown.body["id"], path);
    assert_eq!(shown.body["state"], "Enabled");
    assert_eq!(shown.body["tenantId"], cloud.description().tenant_id);
    let locations =
        cloud.admin(Method::GET, &format!("{path}/locations"), "2022-12-01", None).await;
    assert_eq!(
        names(&locations.body),
        ["local", "eastus", "westus", "northeurope", "westeurope"],
        "{}",
        locations.body
    );
    assert_eq!(locations.body["value"][1]["id"], format!("{path}/locations/eastus"));
    // Only who governs the directory hears that one is not there; to others it is like one that they may not read.
    let other = "/subscriptions/99999999-9999-9999-9999-999999999999";
    let missing = cloud.admin(Method::GET, other, "2022-12-01", None).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND, "{}", missing.body);
    cloud.put_vm("stranger", true, &[]).await;
    let stranger = cloud.vm_token("stranger", ARM_AUDIENCE, "").await;
    for path in [other, &path] {
        let refused = cloud.arm(Some(&stranger), Method::GET, path, "2022-12-01", None).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}: {}", refused.body);
    }
}

#[tokio::test]
async fn resources_are_listed_by_type_name_and_group() {
    let cloud = Cloud::start().await;
    cloud.put_identity("one").await;
    cloud.put_identity("two").await;
    cloud.put_vm("two", true, &[]).await;
    let listed = async |filter: &str| {
        let filter = filter.replace(' ', "%20");
        let path = format!("{}/resources?$filter={filter}", cloud.subscription());
        cloud.admin(Method::GET, &path, "2021-04-01", None).await
    };
    assert_eq!(names(&listed("").await.body), ["two", "one", "two"]);
    let identities = "resourceType eq 'Microsoft.ManagedIdentity/userAssignedIdentities'";
    assert_eq!(names(&listed(identities).await.body), ["one", "two"]);
    let one = listed(&format!("{identities} and name eq 'TWO'")).await;
    assert_eq!(names(&one.body), ["two"]);
    assert_eq!(one.body["value"][0]["id"], cloud.identity_id("two"));
    assert_eq!(names(&listed("resourceGroup eq 'rg1'").await.body).len(), 3);
    assert!(names(&listed("resourceGroup eq 'rg2'").await.body).is_empty());
    let refused = listed("startswith(name, 't')").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
}

#[tokio::test]
async fn instance_discovery_knows_keycards_own_authorities_and_no_others() {
    let cloud = Cloud::start().await;
    let base = &cloud.description().endpoints.token_service;
    let tenant = &cloud.description().tenant_id;
    let asked = async |authority: &str| {
        let endpoint = format!("{authority}/{tenant}/oauth2/v2.0/authorize");
        let path = "common/discovery/instance?api-version=1.1&authorization_endpoint=";
        cloud.get(&format!("{base}/{path}{endpoint}"), &[]).await
    };
    for authority in [base.as_str(), "https://login.microsoftonline.com"] {
        let known = asked(authority).await;
        assert_eq!(known.status, StatusCode::OK, "{}", known.body);
        assert_eq!(
            known.body["tenant_discovery_endpoint"],
            format!("{base}/{tenant}/v2.0/.well-known/openid-configuration")
        );
        let host = authority.trim_start_matches("https://");
        assert_eq!(known.body["metadata"][0]["aliases"], serde_json::json!([host]));
    }
    let unknown = asked("https://login.example").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert_eq!(unknown.body["error"], "invalid_instance");
}
