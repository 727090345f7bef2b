//! The endpoint of an Arc-enabled server: token-endpoints checklist 36 to 40.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::secret::Secret;
use serde_json::json;

use crate::harness::{Cloud, VAULT_AUDIENCE, claims};

const QUERY: &str = "api-version=2020-06-01&resource=https://vault.azure.net";
const NOBODY: u32 = 65534;

struct Machine {
    cloud: Cloud,
    url: String,
}

impl Machine {
    async fn start() -> Self {
        let cloud = Cloud::start().await;
        let id = machine_id(&cloud, "m1");
        put_machine(&cloud, "m1").await;
        let attachment = cloud.attachment(&id).await;
        assert_eq!(attachment["kind"], "arc");
        let url = attachment["url"].as_str().unwrap().to_owned();
        Self { cloud, url }
    }

    async fn get(&self, query: &str, headers: &[(&str, &str)]) -> Answer {
        self.cloud.get(&format!("{}?{query}", self.url), headers).await
    }

    /// What the endpoint says to who presents this.
    async fn present(&self, query: &str, key: &str) -> Answer {
        let authorization = format!("Basic {key}");
        let headers = [("Metadata", "true"), ("Authorization", authorization.as_str())];
        self.get(query, &headers).await
    }

    /// The file that the next challenge names.
    async fn challenge(&self) -> String {
        challenged(&self.get(QUERY, &[("Metadata", "true")]).await)
    }

    async fn answer(&self, query: &str) -> Answer {
        let key = std::fs::read_to_string(self.challenge().await).unwrap();
        self.present(query, &key).await
    }
}

fn machine_id(cloud: &Cloud, name: &str) -> String {
    format!("{}/providers/Microsoft.HybridCompute/machines/{name}", cloud.group())
}

async fn put_machine(cloud: &Cloud, name: &str) {
    let body = json!({ "location": "local", "identity": { "type": "SystemAssigned" } });
    cloud.put(&machine_id(cloud, name), "2022-12-27", body).await;
}

/// The path in the challenge of a 401: what clients take apart at `=`.
fn challenged(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.body);
    assert!(answer.body["error"].is_string() && answer.body["error_description"].is_string());
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    let path = challenge.strip_prefix("Basic realm=").unwrap();
    assert!(!path.contains(['=', '"', ' ']), "{challenge}");
    path.to_owned()
}

/// 36, 37
#[tokio::test]
async fn who_reads_the_file_gets_a_token() {
    let machine = Machine::start().await;
    let path = machine.challenge().await;
    assert!(path.starts_with('/') && path.ends_with(".key"), "{path}");
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o440);
    assert!(metadata.len() <= 4096);
    let key = std::fs::read_to_string(&path).unwrap();
    assert!(!key.is_empty() && !key.contains(char::is_whitespace));
    let answer = machine.present(QUERY, &key).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let number = |member: &str| answer.body[member].as_str().unwrap().parse::<i64>().unwrap();
    assert_eq!(number("expires_on") - number("expires_in"), machine.cloud.now());
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["resource"], VAULT_AUDIENCE);
    let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
    let claims = claims(&token);
    assert_eq!(claims["appid"], answer.body["client_id"]);
    let id = machine_id(&machine.cloud, "m1");
    assert!(claims["xms_mirid"].as_str().unwrap().eq_ignore_ascii_case(&id), "{claims}");
}

/// 38
#[tokio::test]
async fn a_wrong_key_is_challenged_anew() {
    let machine = Machine::start().await;
    let path = machine.challenge().await;
    let key = std::fs::read_to_string(&path).unwrap();
    let wrong = format!("{}0", &key[1..]);
    let encoded = keycard_crypto::encoding::base64_encode(key.as_bytes());
    for presented in ["", "x", &wrong, &encoded, &format!("{key}x"), &key[..32], &"y".repeat(9000)]
    {
        let fresh = challenged(&machine.present(QUERY, presented).await);
        assert_ne!(fresh, path);
    }
    for scheme in ["Bearer", "basi c"] {
        let authorization = format!("{scheme} {key}");
        let headers = [("Metadata", "true"), ("Authorization", authorization.as_str())];
        challenged(&machine.get(QUERY, &headers).await);
    }
    let authorization = format!("Basic {key}");
    let twice = [
        ("Metadata", "true"),
        ("Authorization", authorization.as_str()),
        ("Authorization", authorization.as_str()),
    ];
    challenged(&machine.get(QUERY, &twice).await);
    assert_eq!(
        machine.present(QUERY, &key).await.status,
        StatusCode::OK,
        "none of these used it up"
    );
}

/// 38
#[tokio::test]
async fn a_key_counts_once() {
    let machine = Machine::start().await;
    let path = machine.challenge().await;
    let key = std::fs::read_to_string(&path).unwrap();
    assert_eq!(machine.present(QUERY, &key).await.status, StatusCode::OK);
    assert!(!std::path::Path::new(&path).exists(), "the file goes with its use");
    challenged(&machine.present(QUERY, &key).await);
}

#[tokio::test]
async fn a_key_that_was_not_presented_in_time_counts_no_more() {
    let machine = Machine::start().await;
    let path = machine.challenge().await;
    let key = std::fs::read_to_string(&path).unwrap();
    machine.cloud.clock.advance(time::Duration::seconds(60));
    challenged(&machine.present(QUERY, &key).await);
    assert!(!std::path::Path::new(&path).exists());
}

/// A file that was swapped for another content, or for a link to another file.
#[tokio::test]
async fn what_somebody_put_in_the_files_place_is_no_proof() {
    let machine = Machine::start().await;
    let swapped = machine.challenge().await;
    std::fs::remove_file(&swapped).unwrap();
    std::fs::write(&swapped, "mine").unwrap();
    challenged(&machine.present(QUERY, "mine").await);
    let linked = machine.challenge().await;
    let other = format!("{linked}.other");
    std::fs::write(&other, "other").unwrap();
    std::fs::remove_file(&linked).unwrap();
    symlink(&other, &linked).unwrap();
    let read = std::fs::read_to_string(&linked).unwrap();
    challenged(&machine.present(QUERY, &read).await);
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "other");
}

/// Without root there is no other user to try it as; the mode is looked at above.
#[tokio::test]
async fn another_user_cannot_read_the_file() {
    let machine = Machine::start().await;
    let path = machine.challenge().await;
    // The directories above are this test's own: whoever may pass them meets the file's mode.
    for above in std::path::Path::new(&path).ancestors().skip(1).take(2) {
        std::fs::set_permissions(above, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    match Command::new("cat").arg(&path).uid(NOBODY).gid(NOBODY).output() {
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
        Ok(read) => {
            assert!(!read.status.success() && read.stdout.is_empty(), "{read:?}");
            let said = String::from_utf8_lossy(&read.stderr);
            assert!(said.contains("ermission denied"), "{said}");
        }
    }
}

#[tokio::test]
async fn the_key_of_one_machine_opens_no_other() {
    let machine = Machine::start().await;
    put_machine(&machine.cloud, "m2").await;
    let other = machine.cloud.attachment(&machine_id(&machine.cloud, "m2")).await;
    let key = std::fs::read_to_string(machine.challenge().await).unwrap();
    let authorization = format!("Basic {key}");
    let headers = [("Metadata", "true"), ("Authorization", authorization.as_str())];
    let url = format!("{}?{QUERY}", other["url"].as_str().unwrap());
    challenged(&machine.cloud.get(&url, &headers).await);
}

#[tokio::test]
async fn who_only_asks_makes_no_more_files_than_the_bound() {
    let machine = Machine::start().await;
    let mut directory = std::path::PathBuf::new();
    for _ in 0..70 {
        directory = machine.challenge().await.into();
        directory.pop();
    }
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 64);
}

/// 39: the machine of the portal has its own identity only; with an endpoint of this kind, a virtual machine has more.
#[tokio::test]
async fn a_selector_is_repeated_in_the_answer() {
    let cloud = Cloud::start().await;
    let user = cloud.put_identity("mi-1").await;
    cloud.put_vm("vm1", true, &["mi-1"]).await;
    let attachment = cloud.attach(&cloud.vm_id("vm1"), "arc").await;
    let url = attachment["url"].as_str().unwrap().to_owned();
    let directory = attachment["challengeDirectory"].as_str().unwrap().to_owned();
    let machine = Machine { cloud, url };
    assert!(machine.challenge().await.starts_with(&directory));
    let id = machine.cloud.identity_id("mi-1");
    let client = user["properties"]["clientId"].as_str().unwrap();
    let object = user["properties"]["principalId"].as_str().unwrap();
    for (name, value, echo) in [
        ("client_id", client, "client_id"),
        ("object_id", object, "object_id"),
        ("msi_res_id", id.as_str(), "msi_res_id"),
        ("mi_res_id", id.as_str(), "msi_res_id"),
    ] {
        let answer = machine.answer(&format!("{QUERY}&{name}={value}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.body);
        let echoed = answer.body[echo].as_str().unwrap();
        assert!(echoed.eq_ignore_ascii_case(value), "{name}: {echoed}");
        let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
        assert_eq!(claims(&token)["oid"], object);
    }
    let unknown = "client_id=8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
    let answer = machine.answer(&format!("{QUERY}&{unknown}")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["error_description"], "Identity not found");
}

/// 40
#[tokio::test]
async fn what_no_workload_asks_is_refused_without_a_challenge() {
    let machine = Machine::start().await;
    for (query, headers, error) in [
        (QUERY, vec![], "invalid_request"),
        (QUERY, vec![("Metadata", "false")], "invalid_request"),
        (QUERY, vec![("Metadata", "true"), ("X-Forwarded-For", "1.2.3.4")], "invalid_request"),
        (QUERY, vec![("Metadata", "true"), ("Host", "evil.example")], "invalid_request"),
        ("resource=x", vec![("Metadata", "true")], "invalid_request"),
        ("api-version=2018-02-01&resource=x", vec![("Metadata", "true")], "invalid_request"),
        ("api-version=2020-06-01", vec![("Metadata", "true")], "invalid_request"),
        (
            "api-version=2020-06-01&resource=a&RESOURCE=b",
            vec![("Metadata", "true")],
            "invalid_request",
        ),
    ] {
        let answer = machine.get(query, &headers).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query} {headers:?}");
        assert_eq!(answer.body["error"], error);
        assert!(!answer.headers.contains_key("www-authenticate"), "{query} {headers:?}");
    }
    let url = format!("{}?{QUERY}", machine.url);
    let posted = machine.cloud.send(Method::POST, &url, &[("Metadata", "true")], "").await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
    let unknown = machine.answer("api-version=2020-06-01&resource=https://nobody.example").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert_eq!(unknown.body["error"], "invalid_resource");
}
