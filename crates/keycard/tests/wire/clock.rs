//! The clock that is turned over the wire: a year in a moment, and not one token request that fails.

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
