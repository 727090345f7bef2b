//! Key Vault's data plane: data-planes checklist 8 to 13, azure-semantics 56 and 57.

use http::{Method, StatusCode};
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, SECRETS_USER, VAULT_AUDIENCE};

/// data-planes 8, 9; azure-semantics 56
#[tokio::test]
async fn without_a_token_every_path_answers_with_the_challenge() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    let description = cloud.description();
    let parent = description.suffixes.key_vault_dns.trim_start_matches('.');
    let expected = format!(
        "Bearer authorization=\"{}/{}\", resource=\"https://{parent}\"",
        description.endpoints.token_service, description.tenant_id
    );
    for (method, path) in [
        (Method::GET, "/secrets/x?api-version=7.4"),
        (Method::PUT, "/secrets/x"),
        (Method::GET, "/nowhere"),
        (Method::POST, "/secrets/in%20valid"),
    ] {
        let answer = cloud.vault(None, method, &cloud.vault_url("kv1", path), None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.headers["www-authenticate"], expected.as_str());
        assert_eq!(
            answer.body,
            json!({ "error": { "code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token." } })
        );
        assert!(answer.headers.contains_key("x-ms-request-id"));
    }
    let nobody = cloud.vault(None, Method::GET, &cloud.vault_url("nobody", "/secrets"), None).await;
    assert_eq!(
        (nobody.status, &nobody.body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("VaultNotFound"))
    );
}

/// azure-semantics 56
#[tokio::test]
async fn a_token_for_another_service_or_of_another_issuer_is_named() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    let url = cloud.vault_url("kv1", "/secrets/x?api-version=7.4");
    let token = cloud.admin_token(ARM_AUDIENCE).await;
    let answer = cloud.vault(Some(&token), Method::GET, &url, None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("AKV10022: Invalid audience."), "{message}");
    assert!(
        answer.headers["www-authenticate"].to_str().unwrap().contains("error=\"invalid_token\"")
    );
}

/// data-planes 10, 11, 12
#[tokio::test]
async fn a_secret_is_set_read_listed_and_changed() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv1").await;
    let call = async |method: Method, path: &str, body: Option<Value>| {
        cloud.vault(Some(&token), method, &cloud.vault_url("kv1", path), body).await
    };
    let first = call(Method::PUT, "/secrets/s1?api-version=7.4", Some(json!({ "value": "one", "contentType": "text", "tags": { "a": "b" }, "attributes": { "exp": -5 } }))).await;
    assert_eq!(first.status, StatusCode::OK);
    let id = first.body["id"].as_str().unwrap().to_owned();
    let version = id.rsplit('/').next().unwrap().to_owned();
    assert!(id.starts_with(&cloud.vault_url("kv1", "/secrets/s1/")) && version.len() == 32);
    assert_eq!(first.body["attributes"]["exp"], -5);
    call(Method::PUT, "/secrets/s1?api-version=7.4", Some(json!({ "value": "two" }))).await;
    for (path, value) in [
        ("/secrets/s1?api-version=7.4", "two"),
        ("/secrets/s1/?api%2Dversion=2026-04-01", "two"),
        ("/secrets/S1?api-version=2016-10-01", "two"),
        (&format!("/secrets/s1/{version}?api-version=7.4"), "one"),
    ] {
        let answer = call(Method::GET, path, None).await;
        assert_eq!(
            (answer.status, &answer.body["value"]),
            (StatusCode::OK, &json!(value)),
            "{path}"
        );
    }
    let changed = call(
        Method::PATCH,
        &format!("/secrets/s1/{version}?api-version=7.4"),
        Some(json!({ "contentType": "other" })),
    )
    .await;
    assert_eq!((&changed.body["contentType"], changed.body.get("value")), (&json!("other"), None));
    let same = call(Method::GET, &format!("/secrets/s1/{version}?api-version=7.4"), None).await;
    assert_eq!(same.body["value"], "one");
    let versions = call(Method::GET, "/secrets/s1/versions?api-version=7.4", None).await;
    assert_eq!(versions.body["value"].as_array().unwrap().len(), 2);
    let list = call(Method::GET, "/secrets?api-version=7.4", None).await;
    assert_eq!(list.body["value"][0]["id"], cloud.vault_url("kv1", "/secrets/s1"));
    for body in [&versions.body, &list.body] {
        assert!(
            !body.to_string().contains("\"value\":\"") && !body.to_string().contains("two"),
            "no value in a list: {body}"
        );
    }
}

/// data-planes 13
#[tokio::test]
async fn a_disabled_secret_is_forbidden_until_it_is_enabled() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv1").await;
    let url = cloud.vault_url("kv1", "/secrets/s1?api-version=7.4");
    cloud
        .vault(
            Some(&token),
            Method::PUT,
            &url,
            Some(json!({ "value": "one", "attributes": { "enabled": false } })),
        )
        .await;
    let answer = cloud.vault(Some(&token), Method::GET, &url, None).await;
    assert_eq!(
        (answer.status, &answer.body["error"]["innererror"]["code"]),
        (StatusCode::FORBIDDEN, &json!("SecretDisabled"))
    );
    cloud
        .vault(
            Some(&token),
            Method::PATCH,
            &url,
            Some(json!({ "attributes": { "enabled": true } })),
        )
        .await;
    assert_eq!(cloud.vault(Some(&token), Method::GET, &url, None).await.body["value"], "one");
}

#[tokio::test]
async fn walking_the_links_yields_each_secret_once() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv1").await;
    for number in 0..7 {
        let url = cloud.vault_url("kv1", &format!("/secrets/s{number}?api-version=7.4"));
        cloud.vault(Some(&token), Method::PUT, &url, Some(json!({ "value": "x" }))).await;
    }
    let mut url = cloud.vault_url("kv1", "/secrets?api-version=7.4&maxresults=3");
    let mut seen = Vec::new();
    loop {
        let page = cloud.vault(Some(&token), Method::GET, &url, None).await.body;
        seen.extend(
            page["value"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["nextLink"].as_str() {
            Some(next) => url = next.to_owned(),
            None => break,
        }
    }
    let expected: Vec<String> =
        (0..7).map(|number| cloud.vault_url("kv1", &format!("/secrets/s{number}"))).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_deleted_secret_can_be_recovered_or_purged_and_keeps_its_name() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv1").await;
    let call = async |method: Method, path: &str| {
        let body = (method == Method::PUT).then(|| json!({ "value": "x" }));
        cloud
            .vault(
                Some(&token),
                method,
                &cloud.vault_url("kv1", &format!("{path}?api-version=7.4")),
                body,
            )
            .await
    };
    call(Method::PUT, "/secrets/s1").await;
    let deleted = call(Method::DELETE, "/secrets/s1").await;
    assert_eq!(deleted.body["recoveryId"], cloud.vault_url("kv1", "/deletedsecrets/s1"));
    assert_eq!(call(Method::GET, "/secrets/s1").await.body["error"]["code"], "SecretNotFound");
    let conflict = call(Method::PUT, "/secrets/s1").await;
    assert_eq!(
        (conflict.status, &conflict.body["error"]["innererror"]["code"]),
        (StatusCode::CONFLICT, &json!("ObjectIsDeletedButRecoverable"))
    );
    assert_eq!(call(Method::GET, "/deletedsecrets/s1").await.status, StatusCode::OK);
    assert_eq!(call(Method::POST, "/deletedsecrets/s1/recover").await.status, StatusCode::OK);
    assert_eq!(call(Method::GET, "/secrets/s1").await.body["value"], "x");
    call(Method::DELETE, "/secrets/s1").await;
    assert_eq!(call(Method::DELETE, "/deletedsecrets/s1").await.status, StatusCode::NO_CONTENT);
    assert_eq!(call(Method::GET, "/deletedsecrets/s1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(call(Method::PUT, "/secrets/s1").await.status, StatusCode::OK);
    call(Method::DELETE, "/secrets/s1").await;
    cloud.clock.advance(time::Duration::days(90));
    let token = cloud.admin_token(VAULT_AUDIENCE).await;
    let url = cloud.vault_url("kv1", "/deletedsecrets/s1?api-version=7.4");
    assert_eq!(
        cloud.vault(Some(&token), Method::GET, &url, None).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_a_bad_parameter() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv1").await;
    let long = "x".repeat(25_601);
    for (method, path, body) in [
        (Method::GET, "/secrets/s1", None),
        (Method::GET, "/secrets/s1?api-version=latest", None),
        (Method::GET, "/secrets/in_valid?api-version=7.4", None),
        (Method::GET, "/secrets?api-version=7.4&maxresults=26", None),
        (Method::GET, "/secrets?api-version=7.4&$skiptoken=%25", None),
        (Method::PUT, "/secrets/s1?api-version=7.4", Some(json!({}))),
        (Method::PUT, "/secrets/s1?api-version=7.4", Some(json!([]))),
        (Method::PUT, "/secrets/s1?api-version=7.4", Some(json!({ "value": 5 }))),
        (Method::PUT, "/secrets/s1?api-version=7.4", Some(json!({ "value": long }))),
    ] {
        let answer = cloud.vault(Some(&token), method, &cloud.vault_url("kv1", path), body).await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!("BadParameter")),
            "{path}: {}",
            answer.body
        );
    }
}

/// azure-semantics 57
#[tokio::test]
async fn a_refusal_by_rbac_says_all_its_lines() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("vm1", true, &[]).await;
    cloud.put_vault("kv1", true).await;
    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    let answer = cloud
        .vault(
            Some(&token),
            Method::GET,
            &cloud.vault_url("kv1", "/secrets/s1?api-version=7.4"),
            None,
        )
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.body["error"]["innererror"]["code"], "ForbiddenByRbac");
    let claims = crate::harness::claims(&token);
    let group = cloud.group().replace("/resourceGroups/", "/resourcegroups/");
    let expected = format!(
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\nCaller: appid={};oid={};iss={}\r\nAction: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\nResource: '{group}/providers/microsoft.keyvault/vaults/kv1/secrets/s1'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\nVault: kv1;location=local\r\n",
        claims["appid"].as_str().unwrap(),
        vm["identity"]["principalId"].as_str().unwrap(),
        claims["iss"].as_str().unwrap()
    );
    assert_eq!(answer.body["error"]["message"], expected);
}

/// azure-semantics 57
#[tokio::test]
async fn access_policies_decide_where_rbac_is_off_and_only_there() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("vm1", true, &[]).await;
    let administrator = cloud.description().administrator.object_id.clone();
    let tenant = cloud.description().tenant_id.clone();
    let policy = |principal: &str, permissions: &[&str]| json!({ "tenantId": tenant, "objectId": principal, "permissions": { "secrets": permissions } });
    let settings = |uses_rbac: bool, policies: Value| {
        json!({ "location": "local", "properties": {
            "tenantId": tenant, "sku": { "family": "A", "name": "standard" }, "enableRbacAuthorization": uses_rbac, "accessPolicies": policies,
        }})
    };
    let id = cloud.vault_id("kv1");
    cloud.put(&id, "2023-07-01", settings(false, json!([policy(&administrator, &["all"])]))).await;
    let url = cloud.vault_url("kv1", "/secrets/s1?api-version=7.4");
    let own = cloud.admin_token(VAULT_AUDIENCE).await;
    assert_eq!(
        cloud.vault(Some(&own), Method::PUT, &url, Some(json!({ "value": "x" }))).await.status,
        StatusCode::OK
    );
    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    let refused = cloud.vault(Some(&token), Method::GET, &url, None).await;
    assert_eq!(
        (refused.status, &refused.body["error"]["innererror"]["code"]),
        (StatusCode::FORBIDDEN, &json!("AccessDenied"))
    );
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("does not have secrets get permission on key vault 'kv1;location=local'"),
        "{message}"
    );
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    let policies = json!([policy(&administrator, &["all"]), policy(principal, &["Get"])]);
    cloud.put(&id, "2023-07-01", settings(false, policies.clone())).await;
    assert_eq!(cloud.vault(Some(&token), Method::GET, &url, None).await.status, StatusCode::OK);
    let list = cloud.vault_url("kv1", "/secrets?api-version=7.4");
    assert_eq!(
        cloud.vault(Some(&token), Method::GET, &list, None).await.status,
        StatusCode::FORBIDDEN
    );
    cloud.put(&id, "2023-07-01", settings(true, policies)).await;
    assert_eq!(
        cloud.vault(Some(&token), Method::GET, &url, None).await.status,
        StatusCode::FORBIDDEN
    );
}

/// data-planes 4: whether a secret exists is nobody's business who may not read it.
#[tokio::test]
async fn who_may_not_enter_learns_nothing() {
    let cloud = Cloud::start().await;
    let own = cloud.open_vault("kv1").await;
    let url = |name: &str| cloud.vault_url("kv1", &format!("/secrets/{name}?api-version=7.4"));
    cloud.vault(Some(&own), Method::PUT, &url("there"), Some(json!({ "value": "x" }))).await;
    cloud.put_vm("vm1", true, &[]).await;
    let token = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    let seen = async |name: &str| {
        let answer = cloud.vault(Some(&token), Method::GET, &url(name), None).await;
        (answer.status, answer.body.to_string().replace(name, "NAME"))
    };
    assert_eq!(seen("there").await, seen("nothere").await);
}

/// A role on one secret opens that secret and not its neighbour, and does not list.
#[tokio::test]
async fn a_role_on_one_secret_opens_only_that_one() {
    let cloud = Cloud::start().await;
    let own = cloud.open_vault("kv1").await;
    for name in ["s1", "s10"] {
        let url = cloud.vault_url("kv1", &format!("/secrets/{name}?api-version=7.4"));
        cloud.vault(Some(&own), Method::PUT, &url, Some(json!({ "value": name }))).await;
    }
    let vm = cloud.put_vm("vm1", true, &[]).await;
    let scope = format!("{}/secrets/s1", cloud.vault_id("kv1"));
    cloud.grant(&scope, SECRETS_USER, vm["identity"]["principalId"].as_str().unwrap()).await;
    let token: Secret = cloud.vm_token("vm1", VAULT_AUDIENCE, "").await;
    for (path, status) in [("/secrets/s1", 200), ("/secrets/s10", 403), ("/secrets", 403)] {
        let url = cloud.vault_url("kv1", &format!("{path}?api-version=7.4"));
        assert_eq!(
            cloud.vault(Some(&token), Method::GET, &url, None).await.status.as_u16(),
            status,
            "{path}"
        );
    }
}
