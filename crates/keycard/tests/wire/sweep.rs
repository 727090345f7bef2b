//! Sweeps over all rows of all faces: no credential, a stranger's token, no role, a path or query out of bounds.

use http::Method;
use keycard::client::Answer;
use keycard_crypto::jwt;
use keycard_crypto::secret::Secret;
use keycard_crypto::test_keys;
use keycard_wire::route::{Access, Row};
use serde_json::json;

use crate::harness::{ARM_AUDIENCE, Cloud, GRAPH_AUDIENCE, VAULT_AUDIENCE, claims, header};

/// A url that the row matches.
fn url(cloud: &Cloud, face: &str, row: &Row) -> String {
    let subscription = &cloud.description().subscription_id;
    let path = row
        .path
        .replace("{*scope}", cloud.group().trim_start_matches('/'))
        .replace("{subscription}", subscription)
        .replace("{group}", "rg1")
        .replace("{tenant}", &cloud.description().tenant_id)
        // What stands below a vault is looked at only where there is one.
        .replace("/vaults/{name}/", "/vaults/kv1/")
        .replace("{name}", "11111111-1111-1111-1111-111111111111")
        .replace("{version}", "0123456789abcdef0123456789abcdef")
        .replace("{secret}", "door")
        .replace("{operation}", "11111111-1111-1111-1111-111111111111")
        .replace("{kind}", "imds")
        .replace("{account}", "default:default")
        .replace("{change}", "add")
        .replace("{instance}", "0")
        .replace("{slot}", "staging")
        .replace("{location}", "local")
        .replace("{api}", "v1.0");
    match face {
        "key_vault" => cloud.vault_url("kv1", &format!("{path}?api-version=7.4")),
        _ => format!("{}{path}?api-version=2024-11-01", cloud.description().endpoints.loopback),
    }
}

fn audience(face: &str) -> &'static str {
    match face {
        "key_vault" => VAULT_AUDIENCE,
        "graph" => GRAPH_AUDIENCE,
        _ => ARM_AUDIENCE,
    }
}

fn guarded(cloud: &Cloud) -> Vec<(&'static str, Row)> {
    let is_guarded = |row: &Row| matches!(row.access, Access::Rbac(_) | Access::Directory(_));
    let rows = cloud.server.rows.iter().filter(|(_, row)| is_guarded(row));
    let rows: Vec<_> = rows.cloned().collect();
    assert!(rows.len() > 50, "the sweep sees the rows: {}", rows.len());
    rows
}

async fn status(
    cloud: &Cloud,
    token: Option<&Secret>,
    row: &Row,
    url: &str,
) -> (u16, serde_json::Value) {
    let body = (row.method == Method::PUT || row.method == Method::PATCH)
        .then(|| json!({ "location": "local" }));
    let answer = cloud.vault(token, row.method.clone(), url, body).await;
    (answer.status.as_u16(), answer.body)
}

#[tokio::test]
async fn without_a_credential_no_guarded_row_is_passed() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    for (face, row) in guarded(&cloud) {
        let (status, body) = status(&cloud, None, &row, &url(&cloud, face, &row)).await;
        assert_eq!(status, 401, "{face} {row:?}");
        assert!(
            row.method == Method::HEAD || body["error"]["code"].is_string(),
            "{face} {row:?}: {body}"
        );
    }
}

#[tokio::test]
async fn without_a_role_no_guarded_row_is_passed() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    cloud.put_vm("stranger", true, &[]).await;
    for (face, row) in guarded(&cloud) {
        let token = cloud.vm_token("stranger", audience(face), "").await;
        let (status, _) = status(&cloud, Some(&token), &row, &url(&cloud, face, &row)).await;
        assert_eq!(status, 403, "{face} {row:?}");
    }
}

/// A token of another tenant, signed by a key of its own, opens nothing.
#[tokio::test]
async fn a_token_of_another_tenant_passes_no_guarded_row() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    let good = cloud.admin_token(ARM_AUDIENCE).await;
    let (head, mut body) = (header(&good), claims(&good));
    let other = "99999999-9999-9999-9999-999999999999";
    for (claim, value) in
        [("tid", other.to_owned()), ("iss", format!("https://sts.windows.net/{other}/"))]
    {
        body[claim] = json!(value);
    }
    for (face, row) in guarded(&cloud) {
        body["aud"] = json!(audience(face));
        let unsigned = jwt::signing_input(&head, &body).unwrap();
        let signature = test_keys::signing_key().sign(unsigned.as_bytes()).unwrap();
        let token = Secret::new(jwt::assemble(unsigned, &signature));
        let (status, answer) = status(&cloud, Some(&token), &row, &url(&cloud, face, &row)).await;
        assert_eq!(status, 401, "{face} {row:?}");
        assert!(
            face != "key_vault"
                || answer["error"]["message"].as_str().unwrap().starts_with("AKV10032"),
            "{answer}"
        );
    }
}

/// What is a part of a resource is refused before its body is looked at where that resource is not there.
fn stands_below_nothing(answer: &Answer) -> bool {
    answer.status.as_u16() == 404 && answer.body["error"]["code"] == "ParentResourceNotFound"
}

/// Nothing a caller sends is answered with 500, and a body or query beyond the bound is refused in the face's shape.
#[tokio::test]
async fn what_is_too_large_is_refused_in_the_faces_own_shape() {
    let cloud = Cloud::start().await;
    cloud.govern().await;
    let vault_token = cloud.open_vault("kv1").await;
    let arm_token = cloud.admin_token(ARM_AUDIENCE).await;
    let graph_token = cloud.admin_token(GRAPH_AUDIENCE).await;
    let huge = json!({ "location": "local", "value": "x", "filler": "y".repeat(4 * 1024 * 1024) });
    for (face, row) in guarded(&cloud) {
        let token = match face {
            "key_vault" => &vault_token,
            "graph" => &graph_token,
            _ => &arm_token,
        };
        let long = format!("{}&filler={}", url(&cloud, face, &row), "z".repeat(9000));
        let (status, body) = status(&cloud, Some(token), &row, &long).await;
        assert_eq!(status, 400, "{face} {row:?}: {body}");
        assert!(
            row.method == Method::HEAD || body["error"]["code"].is_string(),
            "{face} {row:?}: {body}"
        );
        if row.method == Method::PUT && !row.path.contains("roleDefinitions") {
            let answer = cloud
                .vault(Some(token), Method::PUT, &url(&cloud, face, &row), Some(huge.clone()))
                .await;
            let is_refused = answer.status.as_u16() == 413 || stands_below_nothing(&answer);
            assert!(is_refused, "{face} {row:?}: {} {}", answer.status, answer.body);
            assert!(answer.body["error"]["code"].is_string());
        }
    }
}

/// Every row that changes something says what is wrong with a body that is none.
#[tokio::test]
async fn a_body_that_is_no_json_is_refused_with_400() {
    let cloud = Cloud::start().await;
    cloud.govern().await;
    let vault_token = cloud.open_vault("kv1").await;
    let arm_token = cloud.admin_token(ARM_AUDIENCE).await;
    let graph_token = cloud.admin_token(GRAPH_AUDIENCE).await;
    for (face, row) in guarded(&cloud) {
        let takes_body = row.method == Method::PUT || row.method == Method::PATCH;
        if !takes_body || row.path.contains("roleDefinitions") {
            continue;
        }
        let token = match face {
            "key_vault" => &vault_token,
            "graph" => &graph_token,
            _ => &arm_token,
        };
        let mut request = keycard::client::request(
            row.method.clone(),
            &url(&cloud, face, &row),
            Some(token),
            None,
        );
        *request.body_mut() = "{\"location\": ".into();
        let answer = cloud.client.send(request).await.unwrap();
        let is_refused = answer.status.as_u16() == 400 || stands_below_nothing(&answer);
        assert!(is_refused, "{face} {row:?}: {} {}", answer.status, answer.body);
        assert!(answer.body["error"]["code"].is_string());
    }
}
