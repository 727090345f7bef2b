//! The metadata endpoint: token-endpoints checklist 1 to 27.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use keycard_crypto::secret::Secret;
use keycard_crypto::{digest, encoding};
use keycard_domain::limits::Profile;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Choice, Cloud, VAULT_AUDIENCE, claims, raw};

const QUERY: &str = "api-version=2018-02-01&resource=https://vault.azure.net";

fn is_digits(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
}

/// However many ask when a token's time is over, one new one is made.
#[tokio::test]
async fn callers_at_the_end_of_a_token_share_the_new_one() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let first = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    let lasts = claims(&first)["exp"].as_i64().unwrap() - cloud.now();
    let mut former = first.expose().to_owned();
    let url = format!("{}/metadata/identity/oauth2/token?{QUERY}", cloud.imds("vm1").await);
    for _ in 0..2 {
        cloud.clock.advance(time::Duration::seconds(lasts));
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (client, url) = (cloud.client.clone(), url.clone());
            asking.spawn(async move {
                let request = http::Request::get(url).header("Metadata", "true");
                client.send(request.body(Default::default()).unwrap()).await.unwrap().body
            });
        }
        let answers = asking.join_all().await;
        let tokens: BTreeSet<_> =
            answers.iter().map(|answer| answer["access_token"].as_str().unwrap()).collect();
        assert_eq!(tokens.len(), 1);
        assert!(!tokens.contains(former.as_str()));
        former = (*tokens.first().unwrap()).to_owned();
    }
}

/// 1, 2, 4, 5, 6, 24
#[tokio::test]
async fn a_token_comes_with_every_field_as_a_string() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    for version in ["2018-02-01", "2019-08-01", "2025-04-07"] {
        let query = format!("api-version={version}&resource=https://vault.azure.net");
        let answer = cloud.metadata("vm1", &query).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.headers["server"].to_str().unwrap().contains("IMDS"));
        for field in ["expires_in", "expires_on", "ext_expires_in", "not_before"] {
            assert!(is_digits(&answer.body[field]), "{field}: {}", answer.body);
        }
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_eq!(answer.body["resource"], "https://vault.azure.net");
        let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
        let claims = claims(&token);
        assert_eq!(answer.body["expires_on"], claims["exp"].to_string());
        assert_eq!(answer.body["not_before"], claims["nbf"].to_string());
        assert_eq!(answer.body["client_id"], claims["appid"]);
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("\": "), "compact JSON");
    }
}

/// 3, 7, 26
#[tokio::test]
async fn spelling_does_not_matter() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let base = cloud.imds("vm1").await;
    for target in [
        format!("/metadata/identity/oauth2/token?{QUERY}"),
        format!("/metadata/identity/oauth2/token/?{QUERY}"),
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net".to_owned(),
        format!("/metadata/identity/oauth2/token?{QUERY}&unknown=1"),
    ] {
        let headers = [("Metadata", "true"), ("x-client-SKU", "x"), ("content-type", "application/x-www-form-urlencoded;charset=utf-8")];
        let answer = cloud.get(&format!("{base}{target}"), &headers).await;
        assert_eq!(answer.status, StatusCode::OK, "{target}");
        assert_eq!(answer.body["resource"], "https://vault.azure.net");
    }
    let slash = cloud.metadata("vm1", &format!("{QUERY}/")).await;
    assert_eq!(slash.body["resource"], "https://vault.azure.net/");
}

/// 8, 9: the probes of `DefaultAzureCredential` rely on it.
#[tokio::test]
async fn without_the_metadata_header_every_request_is_refused_first() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let base = cloud.imds("vm1").await;
    for target in [
        "/metadata/identity/oauth2/token",
        "/metadata/identity/oauth2/token?nonsense=1&nonsense=2",
        "/elsewhere",
    ] {
        for headers in [&[][..], &[("Metadata", "false")], &[("Metadata", "")]] {
            let answer = cloud.get(&format!("{base}{target}"), headers).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            assert_eq!(answer.body["error"], "invalid_request");
            assert_eq!(answer.body["error_description"], "Required metadata header not specified");
        }
    }
    let url = format!("{base}/metadata/identity/oauth2/token?{QUERY}");
    assert_eq!(cloud.get(&url, &[("metadata", "True")]).await.status, StatusCode::OK);
}

/// 10, 11, 12, 20
#[tokio::test]
async fn what_is_wrong_with_the_request_is_said() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    cloud.put_vm("vm1", true, &["mi-1"]).await;
    for (query, word) in [
        ("resource=https://vault.azure.net", "api-version"),
        ("api-version=&resource=https://vault.azure.net", "api-version"),
        ("api-version=1999-01-01&resource=https://vault.azure.net", "api-version"),
        ("api-version=latest&resource=https://vault.azure.net", "api-version"),
        ("api-version=2018-02-30&resource=https://vault.azure.net", "api-version"),
        ("api-version=2018-02-01", "resource"),
        ("api-version=2018-02-01&resource=", "resource"),
        ("api-version=2018-02-01&resource=a&resource=b", "more than once"),
        ("api-version=2018-02-01&resource=a&Resource=b", "more than once"),
        ("api-version=2018-02-01&resource=a&client_id=x&object_id=y", "Only one"),
        ("api-version=2018-02-01&resource=a&msi_res_id=x&mi_res_id=y", "Only one"),
    ] {
        let answer = cloud.metadata("vm1", query).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.body["error"], "invalid_request", "{query}");
        assert!(
            answer.body["error_description"].as_str().unwrap().contains(word),
            "{query}: {}",
            answer.body
        );
    }
    let url = format!("{}/metadata/identity/oauth2/token?{QUERY}", cloud.imds("vm1").await);
    let forwarded = cloud.get(&url, &[("Metadata", "true"), ("X-Forwarded-For", "10.0.0.1")]).await;
    assert_eq!(forwarded.status, StatusCode::BAD_REQUEST);
}

/// 13, 14, 19
#[tokio::test]
async fn each_selector_selects_whatever_its_case() {
    let cloud = Cloud::start().await;
    let user = cloud.put_identity("mi-1").await;
    let vm = cloud.put_vm("vm1", true, &["mi-1"]).await;
    let (client, object) = (&user["properties"]["clientId"], &user["properties"]["principalId"]);
    let (client, object) = (client.as_str().unwrap(), object.as_str().unwrap());
    let id = cloud.identity_id("mi-1");
    for (selector, echo) in [
        (format!("client_id={client}"), ""),
        (format!("client_id={}", client.to_uppercase()), ""),
        (format!("object_id={object}"), "object_id"),
        (format!("msi_res_id={id}"), "msi_res_id"),
        (format!("mi_res_id={}", id.to_uppercase()), "msi_res_id"),
    ] {
        let answer = cloud.metadata("vm1", &format!("{QUERY}&{selector}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{selector}: {}", answer.body);
        assert_eq!(answer.body["client_id"], client);
        assert!(echo.is_empty() || answer.body[echo].is_string(), "{selector}: {}", answer.body);
    }
    let default = cloud.vm_token("vm1", "https://vault.azure.net", "").await;
    assert_eq!(claims(&default)["oid"], vm["identity"]["principalId"]);
}

/// 15, 16, 17, 18, 25
#[tokio::test]
async fn which_identity_is_meant_follows_the_documented_rule() {
    let cloud = Cloud::start().await;
    let one = cloud.put_identity("mi-1").await;
    cloud.put_identity("mi-2").await;
    cloud.put_vm("none", false, &[]).await;
    cloud.put_vm("one", false, &["mi-1"]).await;
    cloud.put_vm("two", false, &["mi-1", "mi-2"]).await;
    let description = |answer: &keycard::client::Answer| {
        answer.body["error_description"].as_str().unwrap_or_default().to_owned()
    };

    let answer = cloud.metadata("none", QUERY).await;
    assert_eq!(
        (answer.status, description(&answer).as_str()),
        (StatusCode::BAD_REQUEST, "Identity not found")
    );
    let only = cloud.metadata("one", QUERY).await;
    assert_eq!(only.body["client_id"], one["properties"]["clientId"]);
    let answer = cloud.metadata("two", QUERY).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        description(&answer),
        "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"
    );
    for unknown in [
        "client_id=8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
        "client_id=nonsense",
        "object_id=nonsense",
        "msi_res_id=/nonsense",
    ] {
        let answer = cloud.metadata("one", &format!("{QUERY}&{unknown}")).await;
        assert_eq!(
            (answer.status, description(&answer).as_str()),
            (StatusCode::BAD_REQUEST, "Identity not found"),
            "{unknown}"
        );
    }
}

/// A repetition is answered from what was prepared, but not once the resource has changed.
#[tokio::test]
async fn another_default_identity_is_the_one_that_is_meant_from_then_on() {
    let cloud = Cloud::start().await;
    let first = cloud.put_identity("mi-1").await["properties"]["clientId"].clone();
    cloud.put_identity("mi-2").await;
    cloud.put_vm("one", false, &["mi-1"]).await;
    for _ in 0..2 {
        assert_eq!(cloud.metadata("one", QUERY).await.body["client_id"], first);
    }
    cloud.put_vm("one", false, &["mi-1", "mi-2"]).await;
    assert_eq!(cloud.metadata("one", QUERY).await.status, StatusCode::BAD_REQUEST);
    cloud.put_vm("one", true, &["mi-1"]).await;
    let own = cloud.metadata("one", QUERY).await.body["client_id"].clone();
    assert!(own.is_string() && own != first, "{own}");
}

/// 21
#[tokio::test]
async fn an_unknown_resource_is_refused_for_good_and_not_remembered() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    for _ in 0..2 {
        let answer =
            cloud.metadata("vm1", "api-version=2018-02-01&resource=https://nobody.example").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.body["error"], "invalid_resource");
        assert_eq!(answer.body["error_codes"], serde_json::json!([500_011]));
        for member in ["timestamp", "trace_id", "correlation_id", "error_uri"] {
            assert!(answer.body[member].is_string(), "{member}: {}", answer.body);
        }
        assert!(answer.body["error_description"].as_str().unwrap().starts_with(
            "AADSTS500011: The resource principal named https://nobody.example was not found"
        ));
    }
}

/// 22
#[tokio::test]
async fn other_methods_and_paths_are_refused_in_json() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let url = cloud.imds("vm1").await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = format!(
            "{method} /metadata/identity/oauth2/token?{QUERY} HTTP/1.1\r\nHost: {}\r\nMetadata: true\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            url.trim_start_matches("http://")
        );
        let answer = raw(&url, &request).await;
        assert!(
            answer.starts_with("HTTP/1.1 405") && answer.contains("method_not_allowed"),
            "{method}: {answer}"
        );
    }
    let answer = cloud.get(&format!("{url}/metadata/elsewhere"), &[("Metadata", "true")]).await;
    assert_eq!(
        (answer.status, &answer.body["error"]),
        (StatusCode::NOT_FOUND, &Value::from("not_found"))
    );
}

/// 23
#[tokio::test]
async fn beyond_the_limit_a_client_is_told_when_to_come_again() {
    let azure = Choice { profile: Profile::Azure, ..Choice::default() };
    let cloud = Cloud::start_with(azure).await;
    cloud.put_vm("vm1", true, &[]).await;
    let url = format!("{}/metadata/identity/oauth2/token?{QUERY}", cloud.imds("vm1").await);
    let mut statuses = Vec::new();
    for _ in 0..25 {
        let answer = cloud.get(&url, &[("Metadata", "true")]).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
            assert_eq!(answer.body["error"], "too_many_requests");
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::OK).count(), 20);
    cloud.clock.advance(time::Duration::seconds(1));
    assert_eq!(cloud.get(&url, &[("Metadata", "true")]).await.status, StatusCode::OK);
}

/// 27
#[tokio::test]
async fn a_token_is_kept_until_half_of_its_life_unless_a_new_one_is_wanted() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let token = async |selector| {
        claims(&cloud.vm_token("vm1", ARM_AUDIENCE, selector).await)["uti"].clone()
    };
    let first = token("").await;
    assert_eq!(token("").await, first);
    let forced = token("&bypass_cache=true").await;
    assert_ne!(forced, first);
    assert_ne!(token("&bypass_cache=true").await, forced);
    let encoded = token("&%62ypass_cache=TRUE").await;
    let forced = token("&%62ypass_cache=TRUE").await;
    assert_ne!(forced, encoded, "each forced refresh gives a new token, however it is spelt");
    assert_eq!(token("").await, forced, "the newest token is the one that is kept");
    cloud.clock.advance(time::Duration::hours(4) - time::Duration::SECOND);
    assert_eq!(token("").await, forced);
    cloud.clock.advance(time::Duration::SECOND);
    for _ in 0..1000 {
        if token("").await != forced {
            return;
        }
    }
    panic!("from half of its life on, the token is replaced while it is given");
}

/// 44, 45: as at other endpoints, so here.
#[tokio::test]
async fn a_rejected_token_is_replaced_and_capabilities_are_said() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let token =
        async |more: &str| cloud.vm_token("vm1", ARM_AUDIENCE, more).await.expose().to_owned();
    let first = token("").await;
    let hash = encoding::hex_encode(&digest::sha256(first.as_bytes()));
    let second = token(&format!("&token_sha256_to_refresh={hash}")).await;
    assert_ne!(second, first);
    assert_eq!(token(&format!("&token_sha256_to_refresh={hash}")).await, second);
    for no_hash in ["", "x", &hash[..63], "00"] {
        assert_eq!(token(&format!("&token_sha256_to_refresh={no_hash}")).await, second);
    }
    let capable = token("&xms_cc=cp1%2CCP9").await;
    assert_eq!(claims(&Secret::new(capable.clone()))["xms_cc"], json!(["CP1"]));
    assert_eq!(claims(&Secret::new(second.clone())).get("xms_cc"), None);
    assert_eq!(token("").await, second, "tokens with and without are kept apart");
    assert_eq!(token("&xms_cc=CP1").await, capable);
}

/// The cached answer counts down with the clock.
#[tokio::test]
async fn expires_in_is_what_is_left() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    for (passed, left) in [(0, "28800"), (0, "28800"), (100, "28700"), (1, "28699")] {
        cloud.clock.advance(time::Duration::seconds(passed));
        assert_eq!(cloud.metadata("vm1", QUERY).await.body["expires_in"], left);
    }
}

#[tokio::test]
async fn a_stopped_vm_keeps_its_identity_and_gets_no_token() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("vm1", true, &[]).await;
    assert_eq!(cloud.metadata("vm1", QUERY).await.status, StatusCode::OK);
    for (verb, status, power) in [
        ("deallocate", 400, "PowerState/deallocated"),
        ("start", 200, "PowerState/running"),
        ("powerOff", 400, "PowerState/stopped"),
        ("restart", 200, "PowerState/running"),
    ] {
        let answer = cloud
            .admin(Method::POST, &format!("{}/{verb}", cloud.vm_id("vm1")), "2024-07-01", None)
            .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(cloud.metadata("vm1", QUERY).await.status.as_u16(), status, "{verb}");
        let view = format!("{}/instanceView", cloud.vm_id("vm1"));
        let view = cloud.admin(Method::GET, &view, "2024-07-01", None).await;
        assert_eq!(view.body["statuses"][1]["code"], power, "{}", view.body);
    }
    let after = cloud.admin(Method::GET, &cloud.vm_id("vm1"), "2024-07-01", None).await;
    assert_eq!(after.body["identity"], vm["identity"]);
}
