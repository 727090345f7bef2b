//! The App Service endpoint: token-endpoints checklist 28 to 33.

use http::StatusCode;
use serde_json::json;

use crate::harness::{Cloud, claims};

const QUERY: &str = "api-version=2019-08-01&resource=https://vault.azure.net";

struct Site {
    cloud: Cloud,
    url: String,
    secret: String,
}

async fn site(system: bool, identities: &[&str]) -> Site {
    let cloud = Cloud::start().await;
    for name in identities {
        cloud.put_identity(name).await;
    }
    let id = cloud.site_id("app-1");
    let body = json!({ "location": "local", "kind": "app", "identity": cloud.identity_block(system, identities), "properties": {} });
    cloud.put(&id, "2023-12-01", body).await;
    let attachment = cloud.attachment(&id).await;
    assert_eq!(attachment["kind"], "app-service");
    let text = |member: &str| attachment[member].as_str().unwrap().to_owned();
    let (url, secret) = (text("url"), text("header"));
    Site { cloud, url, secret }
}

/// 28, 31
#[tokio::test]
async fn a_site_gets_a_token_with_its_secret_header() {
    let site = site(true, &[]).await;
    for (target, headers) in [
        (format!("{}?{QUERY}", site.url), vec![]),
        (format!("{}/?{QUERY}", site.url), vec![("Metadata", "true")]),
        (
            format!("{}?{QUERY}", site.url),
            vec![("Content-Type", "application/x-www-form-urlencoded")],
        ),
    ] {
        let mut headers = headers;
        headers.push(("X-IDENTITY-HEADER", &site.secret));
        let answer = site.cloud.get(&target, &headers).await;
        assert_eq!(answer.status, StatusCode::OK, "{target}: {}", answer.body);
        assert!(answer.body["expires_on"].as_str().unwrap().parse::<i64>().is_ok());
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_eq!(answer.body["resource"], "https://vault.azure.net");
        let token = keycard_crypto::secret::Secret::new(
            answer.body["access_token"].as_str().unwrap().to_owned(),
        );
        assert_eq!(answer.body["client_id"], claims(&token)["appid"]);
    }
}

/// What else is opened for a site comes after its own endpoint: `keycard env` without a kind takes the first.
#[tokio::test]
async fn a_resources_own_kind_is_its_first() {
    let site = site(true, &[]).await;
    let id = site.cloud.site_id("app-1");
    for kind in ["imds", "service-fabric", "arc", "azure-ml", "cloud-shell"] {
        let attached = site.cloud.attach(&id, kind).await;
        assert_eq!(attached["kind"], kind);
    }
    let all = site.cloud.administration.attachments().await.unwrap();
    let kinds: Vec<&str> = all.iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["app-service", "imds", "arc", "service-fabric", "cloud-shell", "azure-ml"]);
    for item in all {
        let kind = item["kind"].as_str().unwrap();
        let mut expected = vec!["kind", "resourceId", "url"];
        if ["app-service", "service-fabric", "azure-ml"].contains(&kind) {
            expected.insert(0, "header");
        }
        let mut members: Vec<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, expected, "{kind}");
    }
}

/// 29, 33
#[tokio::test]
async fn without_the_right_secret_nothing_is_told() {
    let site = site(true, &[]).await;
    let other = format!("{}0", &site.secret[1..]);
    for headers in [
        vec![],
        vec![("X-IDENTITY-HEADER", "")],
        vec![("X-IDENTITY-HEADER", other.as_str())],
        vec![("Metadata", "true")],
    ] {
        let answer = site.cloud.get(&format!("{}?{QUERY}", site.url), &headers).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.body["statusCode"], 401);
        assert!(answer.body["message"].is_string() && answer.body["correlationId"].is_string());
    }
}

/// 30: App Service has no default among user-assigned identities.
#[tokio::test]
async fn selectors_select_and_exclude_each_other() {
    let site = site(false, &["mi-1"]).await;
    let id = site.cloud.identity_id("mi-1");
    let user = site.cloud.admin(http::Method::GET, &id, "2024-11-30", None).await.body;
    let client = user["properties"]["clientId"].as_str().unwrap();
    let object = user["properties"]["principalId"].as_str().unwrap();
    for (selector, status) in [
        (String::new(), 400),
        (format!("&client_id={client}"), 200),
        (format!("&object_id={object}"), 200),
        (format!("&principal_id={object}"), 200),
        (format!("&mi_res_id={id}"), 200),
        (format!("&client_id={client}&mi_res_id={id}"), 400),
        ("&client_id=8e3af657-a8ff-443c-a75c-2fe8c4bcb635".to_owned(), 400),
    ] {
        let url = format!("{}?{QUERY}{selector}", site.url);
        let answer = site.cloud.get(&url, &[("X-IDENTITY-HEADER", &site.secret)]).await;
        assert_eq!(answer.status.as_u16(), status, "{selector}: {}", answer.body);
        if status == 400 {
            assert_eq!(answer.body["statusCode"], 400);
        } else {
            assert_eq!(answer.body["client_id"], client);
        }
    }
}

/// 32
#[tokio::test]
async fn the_first_dialect_writes_dates() {
    let site = site(true, &[]).await;
    let url = format!("{}?api-version=2017-09-01&resource=https://vault.azure.net", site.url);
    let answer = site.cloud.get(&url, &[("secret", &site.secret)]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let expires = answer.body["expires_on"].as_str().unwrap();
    assert!(
        expires.ends_with(" +00:00") && expires.len() == "01/15/2027 16:00:00 +00:00".len(),
        "{expires}"
    );
}

/// 33
#[tokio::test]
async fn every_refusal_has_a_number_and_a_message() {
    let site = site(true, &[]).await;
    for query in [
        "resource=x",
        "api-version=2018-01-01&resource=x",
        "api-version=2019-08-01",
        "api-version=2019-08-01&resource=https://nobody.example",
        "api-version=2019-08-01&resource=a&resource=b",
    ] {
        let answer = site
            .cloud
            .get(&format!("{}?{query}", site.url), &[("X-IDENTITY-HEADER", &site.secret)])
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.body["statusCode"], 400);
        assert!(answer.body["message"].is_string());
    }
}
