//! What is taken away is refused at once: by the vault, by Resource Manager, and at the local endpoint.

use http::{Method, StatusCode};
use keycard_crypto::secret::Secret;
use keycard_domain::limits::Profile;
use serde_json::json;

use crate::harness::{ARM_AUDIENCE, Choice, Cloud, SECRETS_USER, VAULT_AUDIENCE, header};

/// A VM with a user-assigned identity that may read a secret, and what it needs to try.
async fn reader(choice: Choice) -> (Cloud, Secret, String, String) {
    let cloud = Cloud::start_with(choice).await;
    let own = cloud.open_vault("kv1").await;
    let url = cloud.vault_url("kv1", "/secrets/s1?api-version=7.4");
    cloud.vault(Some(&own), Method::PUT, &url, Some(json!({ "value": "x" }))).await;
    let identity = cloud.put_identity("mi-1").await;
    cloud.put_vm("vm1", false, &["mi-1"]).await;
    let principal = identity["properties"]["principalId"].as_str().unwrap();
    let assignment = cloud.grant(&cloud.vault_id("kv1"), SECRETS_USER, principal).await;
    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    (cloud, token, url, assignment)
}

async fn status(cloud: &Cloud, token: &Secret, url: &str) -> u16 {
    cloud.vault(Some(token), Method::GET, url, None).await.status.as_u16()
}

const METADATA: &str = "api-version=2018-02-01&resource=https://vault.azure.net";

#[tokio::test]
async fn a_role_taken_away_counts_at_the_next_request() {
    let (cloud, token, url, assignment) = reader(Choice::default()).await;
    assert_eq!(status(&cloud, &token, &url).await, 200);
    assert_eq!(
        cloud.admin(Method::DELETE, &assignment, "2022-04-01", None).await.status,
        StatusCode::OK
    );
    assert_eq!(status(&cloud, &token, &url).await, 403);
    assert_eq!(
        cloud.admin(Method::DELETE, &assignment, "2022-04-01", None).await.status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_deleted_identitys_tokens_die_with_it() {
    let (cloud, token, url, _) = reader(Choice::default()).await;
    assert_eq!(
        cloud.admin(Method::DELETE, &cloud.identity_id("mi-1"), "2024-11-30", None).await.status,
        StatusCode::OK
    );
    assert_eq!(status(&cloud, &token, &url).await, 401);
    let answer = cloud.metadata("vm1", METADATA).await;
    assert_eq!(
        (answer.status, answer.body["error_description"].as_str()),
        (StatusCode::BAD_REQUEST, Some("Identity not found"))
    );
}

/// azure-semantics 6: the name made anew is another identity, and the old reference stays broken.
#[tokio::test]
async fn an_identity_made_anew_is_another_one() {
    let (cloud, token, url, _) = reader(Choice::default()).await;
    let before =
        cloud.admin(Method::GET, &cloud.identity_id("mi-1"), "2024-11-30", None).await.body;
    cloud.admin(Method::DELETE, &cloud.identity_id("mi-1"), "2024-11-30", None).await;
    let after = cloud.put_identity("mi-1").await;
    for id in ["principalId", "clientId"] {
        assert_ne!(before["properties"][id], after["properties"][id]);
    }
    assert_eq!(status(&cloud, &token, &url).await, 401);
    assert_eq!(cloud.metadata("vm1", METADATA).await.status, StatusCode::BAD_REQUEST);
    let patch = async |map: serde_json::Value| {
        let body = json!({ "identity": { "type": "SystemAssigned, UserAssigned", "userAssignedIdentities": map } });
        let answer =
            cloud.admin(Method::PATCH, &cloud.vm_id("vm1"), "2024-07-01", Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    };
    cloud.put_identity("mi-2").await;
    patch(json!({ cloud.identity_id("mi-1"): null, cloud.identity_id("mi-2"): {} })).await;
    patch(json!({ cloud.identity_id("mi-1"): {} })).await;
    let selector =
        format!("{METADATA}&client_id={}", after["properties"]["clientId"].as_str().unwrap());
    assert_eq!(cloud.metadata("vm1", &selector).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unassigned_identitys_token_is_refused_and_stays_so() {
    let (cloud, token, url, _) = reader(Choice::default()).await;
    cloud.put_vm("vm2", false, &["mi-1"]).await;
    let elsewhere = cloud.vm_token("vm2", VAULT_AUDIENCE, "").await;
    cloud.clock.advance(time::Duration::seconds(10));
    cloud.put_vm("vm1", true, &[]).await;
    assert_eq!(status(&cloud, &token, &url).await, 401, "the VM lost the identity");
    assert_eq!(status(&cloud, &elsewhere, &url).await, 200, "the other VM still has it");
    cloud.put_vm("vm1", true, &["mi-1"]).await;
    assert_eq!(
        status(&cloud, &token, &url).await,
        401,
        "an old token is not of the new assignment"
    );
}

#[tokio::test]
async fn a_deleted_vms_own_identity_is_gone() {
    let cloud = Cloud::start().await;
    let own = cloud.open_vault("kv1").await;
    let url = cloud.vault_url("kv1", "/secrets/s1?api-version=7.4");
    cloud.vault(Some(&own), Method::PUT, &url, Some(json!({ "value": "x" }))).await;
    let vm = cloud.put_vm("vm1", true, &[]).await;
    cloud
        .grant(
            &cloud.vault_id("kv1"),
            SECRETS_USER,
            vm["identity"]["principalId"].as_str().unwrap(),
        )
        .await;
    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    assert_eq!(status(&cloud, &token, &url).await, 200);
    assert_eq!(
        cloud.admin(Method::DELETE, &cloud.vm_id("vm1"), "2024-07-01", None).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(status(&cloud, &token, &url).await, 401);
    assert!(cloud.administration.attachments().await.unwrap().is_empty());
    let again = cloud.put_vm("vm1", true, &[]).await;
    assert_ne!(again["identity"]["principalId"], vm["identity"]["principalId"]);
    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    assert_eq!(status(&cloud, &token, &url).await, 403, "the role was the former identity's");
}

/// In the azure profile a token lives until `exp`, as there.
#[tokio::test]
async fn in_the_azure_profile_an_issued_token_lives_on() {
    let azure = Choice { profile: Profile::Azure, ..Choice::default() };
    let (cloud, token, url, _) = reader(azure).await;
    cloud.admin(Method::DELETE, &cloud.identity_id("mi-1"), "2024-11-30", None).await;
    assert_eq!(status(&cloud, &token, &url).await, 200);
    assert_eq!(cloud.metadata("vm1", METADATA).await.status, StatusCode::BAD_REQUEST);
}

/// Ninety days pass: credentials are renewed, and no token request fails.
#[tokio::test]
async fn a_year_passes_and_every_token_request_succeeds() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let url = format!("{}/metadata/identity/oauth2/token?{METADATA}", cloud.imds("vm1").await);
    for day in 0..365 {
        cloud.clock.advance(time::Duration::days(1));
        let answer = cloud.get(&url, &[("Metadata", "true")]).await;
        assert_eq!(answer.status, StatusCode::OK, "day {day}: {}", answer.body);
    }
}

/// However many tokens a workload asked for in between, the first one ends with its assignment.
#[tokio::test]
async fn a_ready_answer_ends_with_the_assignment_however_many_there_are() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    cloud.put_vm("vm1", true, &["mi-1"]).await;
    let base = cloud.imds("vm1").await;
    let ask = async |query: &str| {
        let url = format!("{base}/metadata/identity/oauth2/token?api-version=2018-02-01&{query}");
        cloud.get(&url, &[("Metadata", "true")]).await.status.as_u16()
    };
    let user = format!("resource={VAULT_AUDIENCE}&msi_res_id={}", cloud.identity_id("mi-1"));
    let own = format!("resource={VAULT_AUDIENCE}");
    assert_eq!((ask(&user).await, ask(&own).await), (200, 200));
    for number in 100..170 {
        assert_eq!(ask(&format!("resource=https://acct{number}.blob.core.windows.net")).await, 200);
    }
    let body = json!({ "identity": { "type": "SystemAssigned" } });
    cloud.admin(Method::PATCH, &cloud.vm_id("vm1"), "2024-07-01", Some(body)).await;
    assert_eq!(settled(&ask, &user, 400).await, 400);
    assert_eq!(ask(&own).await, 200);
    cloud
        .admin(Method::POST, &format!("{}/deallocate", cloud.vm_id("vm1")), "2024-07-01", None)
        .await;
    assert_eq!(settled(&ask, &own, 400).await, 400);
}

/// The answer once it is as expected, within the second that is promised.
async fn settled(ask: &impl AsyncFn(&str) -> u16, query: &str, expected: u16) -> u16 {
    let asking = async {
        loop {
            let status = ask(query).await;
            if status == expected {
                return status;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(1), asking).await.unwrap_or_default()
}

/// Tokens that were on their way while the identity was taken away are not kept ready.
#[tokio::test]
async fn a_token_on_its_way_is_not_kept_past_the_unassignment() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    for round in 0..5 {
        cloud.put_vm("vm1", true, &["mi-1"]).await;
        let base = cloud.imds("vm1").await;
        let url = |n: usize| {
            format!(
                "{base}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT_AUDIENCE}&x={round}{n}&msi_res_id={}",
                cloud.identity_id("mi-1")
            )
        };
        let mut asking = tokio::task::JoinSet::new();
        for n in 0..8 {
            let (client, url) = (cloud.client.clone(), url(n));
            asking.spawn(async move {
                let request = http::Request::get(url)
                    .header("Metadata", "true")
                    .body(Default::default())
                    .unwrap();
                client.send(request).await.unwrap().status
            });
        }
        cloud.put_vm("vm1", true, &[]).await;
        while asking.join_next().await.is_some() {}
        let ask =
            async |query: &str| cloud.get(query, &[("Metadata", "true")]).await.status.as_u16();
        for n in 0..8 {
            assert_eq!(settled(&ask, &url(n), 400).await, 400, "round {round}, target {n}");
        }
    }
}

/// Taken away and given back at once: the old token is the former assignment's, and is not given any more.
#[tokio::test]
async fn an_identity_given_back_gets_a_new_token() {
    let (cloud, old, url, _) = reader(Choice::default()).await;
    cloud.clock.advance(time::Duration::seconds(10));
    cloud.put_vm("vm1", true, &[]).await;
    cloud.put_vm("vm1", true, &["mi-1"]).await;
    let selector = format!("&msi_res_id={}", cloud.identity_id("mi-1"));
    let new = cloud.vm_token("vm1", VAULT_AUDIENCE, &selector).await;
    assert_ne!(new.expose(), old.expose());
    assert_eq!((status(&cloud, &old, &url).await, status(&cloud, &new, &url).await), (401, 200));
}

/// azure-semantics 11: in both profiles, since services that check are told.
#[tokio::test]
async fn revoked_tokens_are_refused_and_a_new_one_is_had_at_once() {
    for profile in [Profile::Standard, Profile::Azure] {
        let (cloud, token, url, _) = reader(Choice { profile, ..Choice::default() }).await;
        assert_eq!(status(&cloud, &token, &url).await, 200);
        let path = format!("{}/revokeTokens", cloud.identity_id("mi-1"));
        for _ in 0..2 {
            let answer = cloud.admin(Method::POST, &path, "2023-07-31-preview", None).await;
            assert_eq!((answer.status, answer.bytes.len()), (StatusCode::OK, 0));
            assert_eq!(status(&cloud, &token, &url).await, 401);
            // The endpoint gives none of its cached tokens any more: the new one counts in the very same second.
            let fresh = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
            assert_ne!(fresh.expose(), token.expose());
            assert_eq!(status(&cloud, &fresh, &url).await, 200);
        }
        let missing = format!("{}/revokeTokens", cloud.identity_id("nobody"));
        let answer = cloud.admin(Method::POST, &missing, "2023-07-31-preview", None).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_identity_whose_tokens_are_revoked_all_the_time_gets_none_for_a_moment() {
    let (cloud, _, url, _) = reader(Choice::default()).await;
    let path = format!("{}/revokeTokens", cloud.identity_id("mi-1"));
    for _ in 0..202 {
        let answer = cloud.admin(Method::POST, &path, "2023-07-31-preview", None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let answer = cloud.metadata("vm1", METADATA).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.body);
    cloud.clock.advance(time::Duration::seconds(1));
    let fresh = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    assert_eq!(status(&cloud, &fresh, &url).await, 200);
}

/// data-planes 6: the tokens of a withdrawn key die, those of a rotated one live on.
#[tokio::test]
async fn a_withdrawn_signing_keys_tokens_are_refused_and_given_by_no_cache() {
    let (cloud, token, url, _) = reader(Choice::default()).await;
    let kid = |token: &Secret| header(token)["kid"].as_str().unwrap().to_owned();
    let keys = async |method, action: &str, body| {
        let path = format!("/providers/Keycard.Local/{action}");
        cloud.admin(method, &path, "2026-11-01", body).await
    };
    let published = async || -> Vec<String> {
        let login = &cloud.description().endpoints.loopback;
        let tenant = &cloud.description().tenant_id;
        let set = cloud.get(&format!("{login}/{tenant}/discovery/v2.0/keys"), &[]).await.body;
        let key_id = |key: &serde_json::Value| key["kid"].as_str().unwrap().to_owned();
        set["keys"].as_array().unwrap().iter().map(key_id).collect()
    };
    // Rotated: the successor is published and waits; asking again changes nothing.
    for _ in 0..2 {
        let rotated = keys(Method::POST, "rotateSigningKey", Some(json!({}))).await;
        assert_eq!(rotated.status, StatusCode::OK, "{}", rotated.body);
        let phases: Vec<_> = rotated.body["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["phase"].clone())
            .collect();
        assert_eq!(phases, [json!("active"), json!("published")]);
    }
    assert_eq!(published().await.len(), 2);
    assert_eq!(status(&cloud, &token, &url).await, 200);
    let asking = format!("{}/metadata/identity/oauth2/token?{METADATA}", cloud.imds("vm1").await);
    // Withdrawn: at once and everywhere. The administrator's own token is of that key too.
    let withdrawn = kid(&token);
    let revoked = keys(Method::POST, "revokeSigningKey", Some(json!({ "keyId": withdrawn }))).await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.body);
    assert_eq!(status(&cloud, &token, &url).await, 401);
    assert!(!published().await.contains(&withdrawn));
    let answer = cloud.get(&asking, &[("Metadata", "true")]).await;
    let fresh = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
    assert_ne!(kid(&fresh), withdrawn);
    assert!(published().await.contains(&kid(&fresh)));
    assert_eq!(status(&cloud, &fresh, &url).await, 200);
    assert_eq!(keys(Method::GET, "signingKeys", None).await.status, StatusCode::UNAUTHORIZED);
    let again = cloud.admin_token(ARM_AUDIENCE).await;
    let path = "/providers/Keycard.Local/revokeSigningKey";
    let body = Some(json!({ "keyId": withdrawn }));
    let answer = cloud.arm(Some(&again), Method::POST, path, "2026-11-01", body).await;
    assert_eq!(
        (answer.status, answer.body["error"]["code"].as_str()),
        (StatusCode::NOT_FOUND, Some("SigningKeyNotFound"))
    );
}
