//! The Cloud Shell endpoint: token-endpoints checklist 46.

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::secret::Secret;

use crate::harness::{Cloud, VAULT_AUDIENCE, claims};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const METADATA: (&str, &str) = ("Metadata", "true");

async fn endpoint(cloud: &Cloud) -> String {
    cloud.put_vm("vm1", true, &[]).await;
    let attachment = cloud.attach(&cloud.vm_id("vm1"), "cloud-shell").await;
    assert_eq!(attachment.get("header"), None, "no secret is asked for");
    attachment["url"].as_str().unwrap().to_owned()
}

async fn post(cloud: &Cloud, url: &str, headers: &[(&str, &str)], form: &str) -> Answer {
    cloud.send(Method::POST, url, headers, form).await
}

#[tokio::test]
async fn a_form_gets_a_token_of_the_resources_default_identity() {
    let cloud = Cloud::start().await;
    let url = endpoint(&cloud).await;
    for (headers, form) in [
        (vec![METADATA, FORM], "resource=https%3A%2F%2Fvault.azure.net"),
        (vec![METADATA, FORM], "resource=https://vault.azure.net"),
        // What .NET sends besides, and a parameter that nobody knows.
        (
            vec![("metadata", "True"), FORM, ("ContentType", "x")],
            "x=y&resource=https://vault.azure.net",
        ),
        (
            vec![METADATA, ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")],
            "resource=https://vault.azure.net",
        ),
    ] {
        let answer = post(&cloud, &url, &headers, form).await;
        assert_eq!(answer.status, StatusCode::OK, "{form}: {}", answer.body);
        let number = |member: &str| answer.body[member].as_str().unwrap().parse::<i64>().unwrap();
        assert_eq!(number("expires_on") - number("expires_in"), cloud.now());
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_eq!(answer.body["resource"], VAULT_AUDIENCE);
        let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
        let claims = claims(&token);
        assert_eq!(claims["exp"], number("expires_on"));
        let id = cloud.vm_id("vm1");
        assert!(claims["xms_mirid"].as_str().unwrap().eq_ignore_ascii_case(&id), "{claims}");
    }
}

#[tokio::test]
async fn an_audience_that_nobody_serves_is_not_supported() {
    let cloud = Cloud::start().await;
    let url = endpoint(&cloud).await;
    let answer = post(&cloud, &url, &[METADATA, FORM], "resource=https://nobody.example").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["error"]["code"], "AudienceNotSupported");
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("https://nobody.example"), "{message}");
}

#[tokio::test]
async fn what_is_no_such_form_is_refused_in_the_nested_shape() {
    let cloud = Cloud::start().await;
    let url = endpoint(&cloud).await;
    let good = "resource=https://vault.azure.net";
    let long = format!("{good}&x={}", "y".repeat(9000));
    let other = format!("{url}/x");
    for (method, url, headers, form, status, code) in [
        (Method::POST, &url, vec![FORM], good, 400, "InvalidRequest"),
        (Method::POST, &url, vec![FORM, ("Metadata", "false")], good, 400, "InvalidRequest"),
        (Method::POST, &url, vec![METADATA], good, 400, "InvalidRequest"),
        (
            Method::POST,
            &url,
            vec![METADATA, ("Content-Type", "text/plain")],
            good,
            400,
            "InvalidRequest",
        ),
        (
            Method::POST,
            &url,
            vec![METADATA, FORM, ("X-Forwarded-For", "1.2.3.4")],
            good,
            400,
            "InvalidRequest",
        ),
        (
            Method::POST,
            &url,
            vec![METADATA, FORM, ("Host", "evil.example")],
            good,
            400,
            "InvalidRequest",
        ),
        (Method::POST, &url, vec![METADATA, FORM], "", 400, "InvalidRequest"),
        (Method::POST, &url, vec![METADATA, FORM], "resource=a&Resource=b", 400, "InvalidRequest"),
        (Method::POST, &url, vec![METADATA, FORM], &long, 413, "InvalidRequest"),
        (Method::GET, &url, vec![METADATA, FORM], "", 405, "MethodNotAllowed"),
        (Method::POST, &other, vec![METADATA, FORM], good, 404, "NotFound"),
    ] {
        let answer = cloud.send(method, url, &headers, form).await;
        assert_eq!(answer.status.as_u16(), status, "{headers:?} {form}: {}", answer.body);
        assert_eq!(answer.body["error"]["code"], code, "{headers:?} {form}");
        assert!(answer.body["error"]["message"].is_string());
    }
}
