//! What a server for development gives its tests: a clock that is turned over the wire, and tokens with one fault.

use std::sync::Arc;

use http::Method;
use keycard::client::Administration;
use keycard::system_clock::TurnableClock;
use keycard_crypto::secret::Secret;
use keycard_domain::clock::Clock;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Choice, Cloud, claims, header};

const PATH: &str = "/providers/Keycard.Local/advanceClock";
const DAY: i64 = 24 * 3600;

async fn turnable() -> (Cloud, Arc<TurnableClock>) {
    let clock = Arc::new(TurnableClock::default());
    let choice = Choice { turnable_clock: Some(clock.clone()), ..Choice::default() };
    (Cloud::start_with(choice).await, clock)
}

/// Turns the clock as the administrator, who signs in anew: its token is of another time.
async fn advance(cloud: &Cloud, seconds: i64) -> (u16, Value) {
    let administration =
        Administration::sign_in(cloud.client.clone(), cloud.description()).await.unwrap();
    let body = Some(json!({ "seconds": seconds }));
    let token = Some(administration.token());
    let answer = cloud.arm(token, Method::POST, PATH, "2026-11-01", body).await;
    (answer.status.as_u16(), answer.body)
}

/// 33, and the rotation of signing keys
#[tokio::test]
async fn a_year_goes_by_without_a_failed_token_request() {
    let (cloud, clock) = turnable().await;
    cloud.put_vm("vm", true, &[]).await;
    let imds = cloud.imds("vm").await;
    let query = format!("api-version=2018-02-01&resource={ARM_AUDIENCE}");
    let url = format!("{imds}/metadata/identity/oauth2/token?{query}");
    let mut signing_keys = std::collections::BTreeSet::new();
    for _ in 0..25 {
        let answer = cloud.get(&url, &[("Metadata", "true")]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
        let now = clock.now().unix_timestamp();
        let (issued, expires) = (claims(&token)["iat"].as_i64(), claims(&token)["exp"].as_i64());
        assert!(issued.unwrap() <= now && now < expires.unwrap(), "by the turned clock");
        let key = header(&token)["kid"].as_str().unwrap().to_owned();
        let keys = cloud
            .get(&format!("{}/common/discovery/keys", cloud.description().endpoints.loopback), &[])
            .await;
        let published = keys.body["keys"].as_array().unwrap();
        assert!(published.iter().any(|known| known["kid"] == key.as_str()), "the key is published");
        assert!(published.len() <= 3, "outlived keys go");
        signing_keys.insert(key);
        let (status, body) = advance(&cloud, 15 * DAY).await;
        assert_eq!(status, 200, "{body}");
    }
    assert!(signing_keys.len() >= 6, "a key signs for sixty days: {signing_keys:?}");
}

#[tokio::test]
async fn a_clock_is_turned_forward_by_an_administrator_of_the_directory_only() {
    let (cloud, clock) = turnable().await;
    let before = clock.now();
    for wrong in [-1, 4000 * DAY, i64::MAX, i64::MIN] {
        assert_eq!(advance(&cloud, wrong).await.0, 400, "{wrong}");
    }
    let vm = cloud.put_vm("vm", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.subscription(), "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", principal).await;
    let token = cloud.vm_token("vm", ARM_AUDIENCE, "").await;
    let body = Some(json!({ "seconds": DAY }));
    let refused = cloud.arm(Some(&token), Method::POST, PATH, "2026-11-01", body).await;
    assert_eq!(refused.status, 403);
    assert!(clock.now() - before < time::Duration::hours(1));
}

#[tokio::test]
async fn a_clock_that_cannot_be_turned_says_so() {
    let cloud = Cloud::start().await;
    let (status, body) = advance(&cloud, DAY).await;
    assert_eq!((status, &body["error"]["code"]), (501, &json!("NotImplemented")));
}

async fn forge(cloud: &Cloud, fault: &str) -> (u16, Value) {
    let path = "/providers/Keycard.Local/forgeToken";
    let body = json!({ "identity": "vm", "audience": ARM_AUDIENCE, "fault": fault });
    let answer = cloud.admin(Method::POST, path, "2026-11-01", Some(body)).await;
    (answer.status.as_u16(), answer.body)
}

/// Our own Resource Manager tells the faults apart as a service should.
#[tokio::test]
async fn a_forged_token_has_exactly_the_fault_that_was_asked_for() {
    let (cloud, _) = turnable().await;
    cloud.put_vm("vm", true, &[]).await;
    let honest = cloud.vm_token("vm", ARM_AUDIENCE, "").await;
    for (fault, code, claims_changed) in [
        ("none", "", &[][..]),
        ("expired", "ExpiredAuthenticationToken", &["exp", "iat", "nbf"]),
        ("not-yet-valid", "InvalidAuthenticationToken", &["exp", "nbf"]),
        ("wrong-audience", "InvalidAuthenticationTokenAudience", &["aud"]),
        ("wrong-issuer", "InvalidAuthenticationTokenTenant", &["iss"]),
        ("wrong-tenant", "InvalidAuthenticationTokenTenant", &["idp", "iss", "tid"]),
        ("unknown-key", "InvalidAuthenticationToken", &[]),
        ("bad-signature", "InvalidAuthenticationToken", &[]),
    ] {
        let (status, body) = forge(&cloud, fault).await;
        assert_eq!(status, 200, "{fault}: {body}");
        let token = Secret::new(body["token"].as_str().unwrap().to_owned());
        let answer =
            cloud.arm(Some(&token), Method::GET, "/subscriptions", "2022-12-01", None).await;
        let told = answer.body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!(told, code, "{fault}: {}", answer.body);
        let (forged, honest) = (claims(&token), claims(&honest));
        let own = ["uti", "xms_az_rid"];
        let differing: Vec<&str> = honest
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .filter(|claim| !own.contains(claim) && differs(&honest[*claim], &forged[*claim]))
            .collect();
        let mut expected = claims_changed.to_vec();
        expected.sort_unstable();
        assert_eq!(differing, expected, "{fault}");
        let same_key =
            header(&token)["kid"] == header(&cloud.vm_token("vm", ARM_AUDIENCE, "").await)["kid"];
        assert_eq!(same_key, fault != "unknown-key");
    }
    assert_eq!(forge(&cloud, "other").await.0, 400);
}

/// Times that lie seconds apart are of the same making.
fn differs(one: &Value, other: &Value) -> bool {
    match (one.as_i64(), other.as_i64()) {
        (Some(one), Some(other)) => (one - other).abs() > 60,
        _ => one != other,
    }
}

#[tokio::test]
async fn a_server_that_is_not_for_development_forges_nothing() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm", true, &[]).await;
    assert_eq!(forge(&cloud, "none").await.0, 501);
}
