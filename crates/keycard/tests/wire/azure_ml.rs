//! The endpoint of Azure Machine Learning's compute: token-endpoints checklist 34 and 35.

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::secret::Secret;
use serde_json::Value;

use crate::harness::{Cloud, VAULT_AUDIENCE, claims};

const QUERY: &str = "api-version=2017-09-01&resource=https://vault.azure.net";

struct Compute {
    cloud: Cloud,
    attachment: Value,
}

impl Compute {
    async fn with(system: bool, identities: &[&str]) -> Self {
        let cloud = Cloud::start().await;
        for name in identities {
            cloud.put_identity(name).await;
        }
        cloud.put_vm("vm1", system, identities).await;
        let attachment = cloud.attach(&cloud.vm_id("vm1"), "azure-ml").await;
        Self { cloud, attachment }
    }

    async fn get(&self, query: &str, secret: &str) -> Answer {
        let url = format!("{}?{query}", self.attachment["url"].as_str().unwrap());
        self.cloud.get(&url, &[("secret", secret)]).await
    }

    fn secret(&self) -> &str {
        self.attachment["header"].as_str().unwrap()
    }
}

fn principal(answer: &Answer) -> Value {
    let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
    claims(&token)["oid"].clone()
}

/// 34: SDKs fail on a date.
#[tokio::test]
async fn the_end_of_a_token_is_written_in_digits() {
    let compute = Compute::with(true, &[]).await;
    let answer = compute.get(QUERY, compute.secret()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
    let expires_on = answer.body["expires_on"].as_str().unwrap();
    assert_eq!(expires_on, claims(&token)["exp"].to_string());
    assert_eq!(answer.body["resource"], VAULT_AUDIENCE);
    assert_eq!(answer.body["token_type"], "Bearer");
}

/// 35
#[tokio::test]
async fn an_empty_client_id_means_the_default_identity() {
    let compute = Compute::with(false, &["mi-1"]).await;
    let id = compute.cloud.identity_id("mi-1");
    let user = compute.cloud.admin(Method::GET, &id, "2024-11-30", None).await.body;
    let (client, object) = (&user["properties"]["clientId"], &user["properties"]["principalId"]);
    assert_eq!(compute.attachment["defaultClientId"], *client);
    let written = client.as_str().unwrap();
    for selector in [
        String::new(),
        "&clientid=".to_owned(),
        format!("&clientid={written}"),
        format!("&clientId={}", written.to_uppercase()),
        format!("&msi_res_id={id}"),
    ] {
        let answer = compute.get(&format!("{QUERY}{selector}"), compute.secret()).await;
        assert_eq!(answer.status, StatusCode::OK, "{selector}: {}", answer.body);
        assert_eq!(principal(&answer), *object, "{selector}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_app_services_shape() {
    let compute = Compute::with(true, &[]).await;
    let secret = compute.secret();
    let wrong = format!("{}0", &secret[1..]);
    for (query, secret, status) in [
        (QUERY, "", 401),
        (QUERY, wrong.as_str(), 401),
        ("resource=https://vault.azure.net", secret, 400),
        ("api-version=2019-08-01&resource=https://vault.azure.net", secret, 400),
        ("api-version=2017-09-01", secret, 400),
        ("api-version=2017-09-01&resource=https://nobody.example", secret, 400),
        ("api-version=2017-09-01&resource=a&resource=b", secret, 400),
        (
            "api-version=2017-09-01&resource=a&clientid=8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
            secret,
            400,
        ),
        ("api-version=2017-09-01&resource=a&clientid=x&object_id=y", secret, 400),
    ] {
        let answer = compute.get(query, secret).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.body);
        assert_eq!(answer.body["statusCode"], status);
        assert!(answer.body["message"].is_string() && answer.body["correlationId"].is_string());
    }
}

/// The secret of one workload opens no other's endpoint, and a restart makes it worthless.
#[tokio::test]
async fn a_secret_opens_its_own_endpoint_until_the_workload_restarts() {
    let compute = Compute::with(true, &[]).await;
    let cloud = &compute.cloud;
    cloud.put_vm("vm2", true, &[]).await;
    let other = cloud.attach(&cloud.vm_id("vm2"), "azure-ml").await;
    let foreign = compute.get(QUERY, other["header"].as_str().unwrap()).await;
    assert_eq!(foreign.status, StatusCode::UNAUTHORIZED);
    let path = format!("{}/restart", cloud.vm_id("vm1"));
    let restarted = cloud.admin(Method::POST, &path, "2024-07-01", None).await;
    assert!(restarted.status.is_success(), "{}", restarted.body);
    let again = cloud.attach(&cloud.vm_id("vm1"), "azure-ml").await;
    assert_eq!(again["url"], compute.attachment["url"]);
    assert_eq!(compute.get(QUERY, compute.secret()).await.status, StatusCode::UNAUTHORIZED);
    let fresh = compute.get(QUERY, again["header"].as_str().unwrap()).await;
    assert_eq!(fresh.status, StatusCode::OK, "{}", fresh.body);
}
