//! The real binary on a data directory: restarts, and kill -9 while it writes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use http::Method;
use keycard::client::{Administration, Client};
use keycard::description::Description;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A running `keycard up`.
pub(crate) struct Up {
    child: Child,
    pub(crate) description: Description,
    pub(crate) administration: Administration,
}

impl Up {
    pub(crate) async fn start(directory: &Path) -> Self {
        Self::start_with(directory, &[]).await
    }

    pub(crate) async fn start_with(directory: &Path, arguments: &[&str]) -> Self {
        Self::launch(directory, arguments, Stdio::inherit()).await
    }

    /// With its log in this file, and the challenges of Arc endpoints in its own directory.
    pub(crate) async fn start_logging(directory: &Path, log: &Path) -> Self {
        let tokens = directory.join("arc-tokens");
        let arguments = ["--arc-tokens-dir", tokens.to_str().unwrap()];
        let log = std::fs::File::create(log).unwrap();
        Self::launch(directory, &arguments, Stdio::from(log)).await
    }

    async fn launch(directory: &Path, arguments: &[&str], log: Stdio) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_keycard"))
            .args(["up", "--port", "0", "--output", "json", "--data-dir"])
            .arg(directory.join("data"))
            .args(arguments)
            .env("KEYCARD_HOME", directory.join("home"))
            .env("XDG_CONFIG_HOME", directory.join("config"))
            .env("KEYCARD_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let description: Description = serde_json::from_str(&line).unwrap();
        let pem = std::fs::read_to_string(&description.ca_file).unwrap();
        let client = Client::new(&pem).unwrap();
        let administration = Administration::sign_in(client, &description).await.unwrap();
        Self { child, description, administration }
    }

    fn group(&self, name: &str) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{name}?api-version=2024-11-01",
            self.description.subscription_id
        )
    }

    /// SIGKILL, by [`Drop`]: also when a test stops in between.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Interrupts it as a person would, and waits for the end.
    fn interrupt(&mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every file below a directory, with its bytes.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_to_kill_9() {
    let directory = TempDir::new().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut secret = None;
    for round in 0..3 {
        let up = Up::start(directory.path()).await;
        let present = secret
            .get_or_insert_with(|| up.description.administrator.client_secret.expose().to_owned());
        assert_eq!(present, up.description.administrator.client_secret.expose());
        for name in &acknowledged {
            let answer = up.administration.arm(Method::GET, &up.group(name), None).await;
            assert!(answer.is_ok(), "{name} was acknowledged and is lost");
        }
        // Many writers at once; the process is killed in their midst, at no moment of its own choosing.
        let (sender, mut acknowledgements) = tokio::sync::mpsc::unbounded_channel();
        for writer in 0..8 {
            let (administration, sender) = (up.administration.clone(), sender.clone());
            let paths: Vec<(String, String)> = (0..1000)
                .map(|n| format!("g{round}-{writer}-{n}"))
                .map(|name| (up.group(&name), name))
                .collect();
            tokio::spawn(async move {
                for (path, name) in paths {
                    let body = json!({ "location": "local" });
                    if administration.arm(Method::PUT, &path, Some(&body)).await.is_err()
                        || sender.send(name).is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for _ in 0..60 {
            acknowledged.push(acknowledgements.recv().await.unwrap());
        }
        up.kill();
        while let Some(name) = acknowledgements.recv().await {
            acknowledged.push(name);
        }
    }
    let verified = Command::new(env!("CARGO_BIN_EXE_keycard"))
        .args(["audit", "verify", "--data-dir"])
        .arg(directory.path().join("data"))
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[tokio::test]
async fn a_restart_keeps_tenant_secret_and_keys_and_tells_no_secret_to_the_disk() {
    let directory = TempDir::new().unwrap();
    let mut first = Up::start(directory.path()).await;
    let group = first.group("rg1");
    first
        .administration
        .arm(Method::PUT, &group, Some(&json!({ "location": "local" })))
        .await
        .unwrap();
    let before = first.description.clone();
    let mut public = first.description.clone();
    public.endpoints.resource_manager = "https://management.azure.com".to_owned();
    let client = Client::new(&std::fs::read_to_string(&public.ca_file).unwrap()).unwrap();
    let token = Administration::sign_in(client, &public).await.unwrap().token().clone();
    assert!(first.interrupt(), "an interrupt ends it with success");

    let secret = before.administrator.client_secret.expose().to_owned();
    for (path, bytes) in files(&directory.path().join("data")) {
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds(&secret) && !holds("PRIVATE KEY"), "{path} holds a secret in clear");
    }

    let second = Up::start(directory.path()).await;
    assert_eq!(second.description.tenant_id, before.tenant_id);
    assert_eq!(second.description.administrator.client_id, before.administrator.client_id);
    assert_eq!(second.description.administrator.client_secret.expose(), secret);
    let pem = std::fs::read_to_string(&second.description.ca_file).unwrap();
    let url = format!("{}{group}", second.description.endpoints.loopback);
    let request = keycard::client::request(Method::GET, &url, Some(&token), None);
    let answer = Client::new(&pem).unwrap().send(request).await.unwrap();
    assert_eq!(
        answer.status.as_u16(),
        200,
        "a token of before the restart is still good: {}",
        answer.body
    );
    second.kill();
}

#[tokio::test]
async fn two_processes_do_not_share_a_data_directory() {
    let directory = TempDir::new().unwrap();
    let first = Up::start(directory.path()).await;
    let second = Command::new(env!("CARGO_BIN_EXE_keycard"))
        .args(["up", "--port", "0", "--data-dir"])
        .arg(directory.path().join("data"))
        .env("KEYCARD_HOME", directory.path().join("other"))
        .env("XDG_CONFIG_HOME", directory.path().join("config"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("in use"),
        "{}",
        String::from_utf8_lossy(&second.stderr)
    );
    first.kill();
}

#[test]
fn the_command_line_tells_misuse_from_failure() {
    let run = |arguments: &[&str]| {
        let directory = TempDir::new().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_keycard"))
            .args(arguments)
            .env("KEYCARD_HOME", directory.path())
            .output()
            .unwrap();
        output.status.code().unwrap()
    };
    assert_eq!(run(&["--help"]), 0);
    assert_eq!(run(&["up", "--nonsense"]), 2);
    assert_eq!(run(&["attachment", "list"]), 1, "no server runs");
    assert_eq!(run(&["env", "--as", "x", "--kind", "arc"]), 1);
}

/// The records of the audit log, without their chain.
pub(crate) fn records(directory: &Path) -> Vec<Value> {
    let mut records = Vec::new();
    for (path, bytes) in files(&directory.join("data/audit")) {
        if path.ends_with(".jsonl") {
            let lines = String::from_utf8(bytes).unwrap();
            let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap()["record"].clone();
            records.extend(lines.lines().map(parse));
        }
    }
    records
}

/// Every token request and every vault call is on the log when its answer is there, the refused ones included.
#[tokio::test]
async fn what_was_answered_is_on_the_audit_log() {
    let directory = TempDir::new().unwrap();
    let up = Up::start(directory.path()).await;
    let admin = &up.description.administrator;
    let group = format!("/subscriptions/{}/resourceGroups/rg1", up.description.subscription_id);
    let put = async |path: String, body: Value| {
        up.administration.arm(Method::PUT, &path, Some(&body)).await.unwrap()
    };
    put(format!("{group}?api-version=2024-11-01"), json!({ "location": "local" })).await;
    let vault = format!("{group}/providers/Microsoft.KeyVault/vaults/kv1");
    let settings = json!({ "tenantId": up.description.tenant_id, "enableRbacAuthorization": true });
    put(
        format!("{vault}?api-version=2023-07-01"),
        json!({ "location": "local", "properties": settings }),
    )
    .await;
    let vm = format!("{group}/providers/Microsoft.Compute/virtualMachines/vm1");
    let identity = json!({ "location": "local", "identity": { "type": "SystemAssigned" } });
    let vm = put(format!("{vm}?api-version=2024-07-01"), identity).await.body;

    let client = Client::new(&std::fs::read_to_string(&up.description.ca_file).unwrap()).unwrap();
    let metadata =
        up.administration.attachments().await.unwrap()[0]["url"].as_str().unwrap().to_owned();
    let url = format!(
        "{metadata}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
    );
    let ask = http::Request::get(url).header("Metadata", "true").body(Default::default()).unwrap();
    let token = client.send(ask).await.unwrap().body["access_token"].as_str().unwrap().to_owned();
    let secret =
        format!("https://kv1{}/secrets/s1?api-version=7.4", up.description.suffixes.key_vault_dns);
    let token = keycard_crypto::secret::Secret::new(token);
    for (token, status) in [(None, 401), (Some(&token), 403)] {
        let request = keycard::client::request(Method::GET, &secret, token, None);
        assert_eq!(client.send(request).await.unwrap().status.as_u16(), status);
    }

    let records = records(directory.path());
    let count = |wanted: &[(&str, Value)]| {
        let is_wanted =
            |record: &&Value| wanted.iter().all(|(member, value)| record[*member] == *value);
        records.iter().filter(is_wanted).count()
    };
    let principal = &vm["identity"]["principalId"];
    assert_eq!(
        count(&[
            ("category", json!("ServicePrincipalSignInLogs")),
            ("appId", json!(admin.client_id)),
            ("resultType", json!("0"))
        ]),
        1
    );
    assert_eq!(
        count(&[
            ("category", json!("ManagedIdentitySignInLogs")),
            ("servicePrincipalId", principal.clone()),
            ("resultType", json!("0"))
        ]),
        1
    );
    let call = |status: u16, caller: Value| {
        [
            ("operationName", json!("SecretGet")),
            ("httpStatusCode", json!(status)),
            ("principalId", caller),
            ("resourceId", json!(vault.to_uppercase())),
        ]
    };
    assert_eq!(count(&call(401, Value::Null)), 1);
    assert_eq!(count(&call(403, principal.clone())), 1);
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains(token.expose()) && !text.contains(admin.client_secret.expose()));
}

/// 80: whoever refused it, and however little could be read of it.
#[tokio::test]
async fn every_refused_token_request_is_on_the_audit_log_with_its_number() {
    let directory = TempDir::new().unwrap();
    let up = Up::start(directory.path()).await;
    let client = Client::new(&std::fs::read_to_string(&up.description.ca_file).unwrap()).unwrap();
    let (tenant, admin) = (&up.description.tenant_id, &up.description.administrator);
    let id = &admin.client_id;
    let scope = "scope=https://vault.azure.net/.default";
    let basic = "grant_type=client_credentials";
    let cases = [
        (tenant.as_str(), format!("{basic}&client_id={id}&client_secret=wrong&{scope}"), 7_000_215),
        (tenant, format!("{basic}&client_id={id}&{scope}"), 7_000_218),
        (tenant, format!("{basic}&client_id={id}&client_secret=x&scope=https://a"), 1_002_012),
        (tenant, format!("{basic}&client_id={id}&client_secret=x"), 900_144),
        (tenant, format!("grant_type=password&client_id={id}&{scope}"), 70_003),
        (tenant, format!("{basic}&client_id=nobody&client_secret=x&{scope}"), 700_016),
        ("nowhere.example", format!("{basic}&client_id={id}&client_secret=x&{scope}"), 90_002),
        ("common", format!("{basic}&client_id={id}&client_secret=x&{scope}"), 50_059),
        (tenant, String::new(), 900_144),
    ];
    for (number, (tenant, form, expected)) in cases.iter().enumerate() {
        let url = format!("{}/{tenant}/oauth2/v2.0/token", up.description.endpoints.loopback);
        let correlation = uuid::Uuid::from_u128(number as u128).to_string();
        let request = http::Request::post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("client-request-id", &correlation)
            .body(form.clone().into())
            .unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.body["error_codes"], json!([expected]), "{form}");
        let text = answer.body.to_string();
        assert!(!text.contains("access_token"), "{text}");
        let records = records(directory.path());
        let record = records.iter().find(|it| it["correlationId"] == *correlation).unwrap();
        assert_eq!(record["category"], "ServicePrincipalSignInLogs");
        assert_eq!(record["resultType"], expected.to_string(), "{form}");
        assert_eq!(record["tenantId"], *tenant);
        assert_eq!(record["id"].as_str(), answer.body["trace_id"].as_str());
        assert!(!record["resultDescription"].as_str().unwrap().is_empty());
    }
}
