//! Microsoft Graph on a data directory: what the directory holds survives `kill -9`, secrets by their digests only.

use std::path::Path;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use keycard::client::{Client, request};
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::GRAPH_AUDIENCE;
use crate::restart::Up;

/// A node, and the way to its Graph as its administrator.
struct Node {
    up: Up,
    client: Client,
    token: Secret,
}

impl Node {
    async fn start(directory: &Path) -> Self {
        let up = Up::start(directory).await;
        let pem = std::fs::read_to_string(&up.description.ca_file).unwrap();
        let client = Client::new(&pem).unwrap();
        let administrator = &up.description.administrator;
        let secret = administrator.client_secret.expose();
        let token = sign_in(&up, &client, &administrator.client_id, secret).await;
        let token = Secret::new(token.expect("the administrator gets a token"));
        Self { up, client, token }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/v1.0{path}", self.up.description.endpoints.loopback);
        let request = request(method, &url, Some(&self.token), body.as_ref());
        let answer = self.client.send(request).await.unwrap();
        (answer.status.as_u16(), answer.body)
    }

    async fn make(&self, path: &str, body: Value) -> Value {
        let (status, made) = self.send(Method::POST, path, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {made}");
        made
    }

    async fn get(&self, path: &str) -> Value {
        let (status, shown) = self.send(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {shown}");
        shown
    }
}

async fn sign_in(up: &Up, client: &Client, client_id: &str, secret: &str) -> Option<String> {
    let form = format!(
        "grant_type=client_credentials&client_id={client_id}&client_secret={secret}&scope={GRAPH_AUDIENCE}/.default"
    );
    let base = &up.description.endpoints.loopback;
    let request = Request::post(format!("{base}/{}/oauth2/v2.0/token", up.description.tenant_id))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))
        .unwrap();
    let answer = client.send(request).await.unwrap();
    answer.body["access_token"].as_str().map(str::to_owned)
}

fn contains(directory: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return contains(&path, needle);
        }
        // A socket holds nothing.
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[tokio::test]
async fn what_the_directory_holds_survives_kill_9_and_no_secret_is_written_down() {
    let directory = TempDir::new().unwrap();
    let node = Node::start(directory.path()).await;
    let role = "aaaaaaaa-0000-0000-0000-000000000001";
    let application = node
        .make(
            "/applications",
            json!({
                "displayName": "orders",
                "identifierUris": ["api://orders"],
                "appRoles": [{ "id": role, "displayName": "read", "description": "reads",
                    "value": "Orders.Read", "allowedMemberTypes": ["Application"] }],
            }),
        )
        .await;
    let (id, client) =
        (application["id"].as_str().unwrap(), application["appId"].as_str().unwrap());
    let principal = node.make("/servicePrincipals", json!({ "appId": client })).await;
    let principal = principal["id"].as_str().unwrap();
    let made = node.make(&format!("/applications/{id}/addPassword"), json!({})).await;
    let secret = made["secretText"].as_str().unwrap();
    let rule = json!({ "TokenLifetimePolicy": { "Version": 1, "AccessTokenLifetime": "2:00:00" } });
    let policy = json!({ "displayName": "short", "definition": [rule.to_string()] });
    let policy = node.make("/policies/tokenLifetimePolicies", policy).await;
    let reference = format!(
        "https://graph.microsoft.com/v1.0/policies/tokenLifetimePolicies/{}",
        policy["id"].as_str().unwrap()
    );
    let links = format!("/applications/{id}/tokenLifetimePolicies");
    node.make(&format!("{links}/$ref"), json!({ "@odata.id": reference })).await;
    let given = format!("/servicePrincipals/{principal}/appRoleAssignedTo");
    let body = json!({ "principalId": principal, "resourceId": principal, "appRoleId": role });
    node.make(&given, body).await;
    let former = node.make("/applications", json!({ "displayName": "former" })).await;
    let former_path = format!("/applications/{}", former["id"].as_str().unwrap());
    assert_eq!(node.send(Method::DELETE, &former_path, None).await.0, 204);
    let deleted = "/directory/deletedItems/microsoft.graph.application";
    let paths = [
        format!("/applications/{id}"),
        format!("/servicePrincipals/{principal}"),
        "/policies/tokenLifetimePolicies".to_owned(),
        links,
        given,
        deleted.to_owned(),
    ];
    let values = async |node: &Node| {
        let mut values = Vec::new();
        for path in &paths {
            let mut shown = node.get(path).await;
            // The address of the node is another one.
            shown.as_object_mut().unwrap().remove("@odata.context");
            values.push(shown);
        }
        values
    };
    let before = values(&node).await;
    node.up.kill();
    assert!(!contains(directory.path(), secret.as_bytes()), "the secret is not written down");

    let node = Node::start(directory.path()).await;
    assert_eq!(values(&node).await, before);
    assert!(sign_in(&node.up, &node.client, client, secret).await.is_some());
    let again = node.make("/applications", json!({ "displayName": "former" })).await;
    assert_ne!(again["appId"], former["appId"], "what is made anew is another one");
}
