//! Templates and the real binary: deployed before `up` is ready, and under way when it is killed.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::restart::{Up, records};

const TEMPLATE: &str = r#"{
    // Of a resource group.
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "parameters": { "name": { "type": "string", "defaultValue": "by-default" } },
    "resources": [{
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities", "apiVersion": "2024-11-30",
        "name": "[parameters('name')]", "location": "[resourceGroup().location]",
    }],
} // the end"#;

const OF_SUBSCRIPTION: &str = r#"{
    "$schema": "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
    "resources": [{
        "type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-11-01",
        "name": "by-template", "location": "local"
    }]
}"#;

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn refused(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keycard"))
        .args(["up", "--port", "0"])
        .args(arguments)
        .env("KEYCARD_HOME", directory.join("home"))
        .env("XDG_CONFIG_HOME", directory.join("config"))
        .stdout(Stdio::piped())
        .output()
        .unwrap()
}

#[tokio::test]
async fn templates_are_deployed_before_up_is_ready() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let first = write(at, "first one.json", TEMPLATE);
    let second = write(at, "second.json", TEMPLATE);
    let third = write(at, "third.json", OF_SUBSCRIPTION);
    let parameters = r#"{ "parameters": { "name": { "value": "by-file" } } }"#;
    let parameters = write(at, "first.parameters.json", parameters);
    let up = Up::start_with(
        at,
        &[
            "--template",
            &first,
            "--template",
            &second,
            "--template",
            &third,
            "--parameters",
            &parameters,
            "--resource-group",
            "mine",
        ],
    )
    .await;
    let subscription = format!("/subscriptions/{}", up.description.subscription_id);
    for path in [
        "/resourceGroups/mine/providers/Microsoft.ManagedIdentity/userAssignedIdentities/by-file",
        "/resourceGroups/mine/providers/Microsoft.ManagedIdentity/userAssignedIdentities/by-default",
        "/resourceGroups/mine/providers/Microsoft.Resources/deployments/first-one",
        "/resourceGroups/by-template",
        "/providers/Microsoft.Resources/deployments/third",
    ] {
        let path = format!("{subscription}{path}?api-version=2024-11-01");
        let answer = up.administration.arm(Method::GET, &path, None).await;
        assert!(answer.is_ok(), "{path}: {answer:?}");
    }
    up.kill();
}

#[test]
fn a_template_that_fails_ends_up_with_its_error() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let wrong = write(at, "wrong.json", &TEMPLATE.replace("parameters('name')", "nope()"));
    let short = write(at, "short.json", &TEMPLATE.replace("by-default", "x"));
    let good = write(at, "good.json", TEMPLATE);
    for (arguments, status, expected) in [
        (vec!["--template", &wrong], 1, "The template function 'nope' is not valid"),
        (vec!["--template", &short], 1, "InvalidResourceName"),
        (vec!["--template", "/no/such/file"], 1, "/no/such/file"),
        (vec!["--template", &good, "--parameters", &good, "--parameters", &good], 1, "more files"),
        (vec!["--parameters", &good], 2, "--template"),
    ] {
        let output = refused(at, &arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {words}");
        assert!(words.contains(expected), "{arguments:?}: {words}");
        assert!(output.stdout.is_empty(), "nothing says that it is ready");
    }
}

/// Whoever asks after the restart hears that it failed, and may deploy again at once.
#[tokio::test]
async fn a_deployment_that_ran_when_the_server_was_killed_has_failed_after_the_restart() {
    let directory = TempDir::new().unwrap();
    let up = Up::start(directory.path()).await;
    let subscription = format!("/subscriptions/{}", up.description.subscription_id);
    let group = format!("{subscription}/resourceGroups/rg1");
    let deployment =
        format!("{group}/providers/Microsoft.Resources/deployments/d1?api-version=2025-04-01");
    let group = format!("{group}?api-version=2024-11-01");
    up.administration
        .arm(Method::PUT, &group, Some(&json!({ "location": "local" })))
        .await
        .unwrap();
    let template = |count: usize| {
        json!({ "properties": { "mode": "Incremental", "template": { "resources": [{
            "type": "Microsoft.ManagedIdentity/userAssignedIdentities", "apiVersion": "2024-11-30",
            "name": "[concat('many-', copyIndex())]", "location": "local",
            "copy": { "name": "many", "count": count },
        }]}}})
    };
    let sender = up.administration.clone();
    let (path, body) = (deployment.clone(), template(800));
    let sent = tokio::spawn(async move { sender.arm(Method::PUT, &path, Some(&body)).await });
    let state = async |up: &Up| -> Value {
        let answer = up.administration.arm(Method::GET, &deployment, None).await;
        answer.map_or(Value::Null, |it| it.body["properties"]["provisioningState"].clone())
    };
    while state(&up).await == Value::Null {}
    assert_eq!(state(&up).await, "Running");
    up.kill();
    let _ = sent.await;

    let up = Up::start(directory.path()).await;
    let answer = up.administration.arm(Method::GET, &deployment, None).await.unwrap().body;
    assert_eq!(answer["properties"]["provisioningState"], "Failed");
    assert_eq!(answer["properties"]["error"]["code"], "DeploymentInterrupted");
    up.administration.arm(Method::PUT, &deployment, Some(&template(3))).await.unwrap();
    assert_eq!(state(&up).await, "Succeeded");
    up.kill();
}

/// A vault's secret that becomes a parameter is a read of the vault, by whoever deploys.
#[tokio::test]
async fn a_secret_that_becomes_a_parameter_is_on_the_audit_log() {
    let directory = TempDir::new().unwrap();
    let up = Up::start(directory.path()).await;
    let group = format!("/subscriptions/{}/resourceGroups/rg1", up.description.subscription_id);
    let vault = format!("{group}/providers/Microsoft.KeyVault/vaults/kv1");
    let put = async |path: &str, version: &str, body: Value| {
        let path = format!("{path}?api-version={version}");
        up.administration.arm(Method::PUT, &path, Some(&body)).await
    };
    put(&group, "2024-11-01", json!({ "location": "local" })).await.unwrap();
    let settings = json!({
        "tenantId": up.description.tenant_id, "enableRbacAuthorization": true,
        "enabledForTemplateDeployment": true,
    });
    let body = json!({ "location": "local", "properties": settings });
    put(&vault, "2023-07-01", body).await.unwrap();
    let secret = json!({ "properties": { "value": "hunter2-door" } });
    put(&format!("{vault}/secrets/door"), "2023-07-01", secret).await.unwrap();
    let deploy = async |name: &str, secret: &str| {
        let given = json!({ "keyVault": { "id": vault }, "secretName": secret });
        let body = json!({ "properties": {
            "mode": "Incremental", "parameters": { "p": { "reference": given } },
            "template": { "resources": [], "parameters": { "p": { "type": "securestring" } } },
        }});
        let path = format!("{group}/providers/Microsoft.Resources/deployments/{name}");
        put(&path, "2025-04-01", body).await.is_ok()
    };
    assert!(deploy("d1", "door").await);
    assert!(!deploy("d2", "window").await);
    let records = records(directory.path());
    let of = |object: &str, status: u16| {
        let is_it = |record: &&Value| {
            record["operationName"] == "SecretGet"
                && record["object"] == object
                && record["httpStatusCode"] == status
                && record["resourceId"] == vault.to_uppercase()
                && record["principalId"] == up.description.administrator.object_id.as_str()
        };
        records.iter().filter(is_it).count()
    };
    assert_eq!((of("/secrets/door", 200), of("/secrets/window", 404)), (1, 1), "{records:?}");
    assert!(!format!("{records:?}").contains("hunter2-door"));
    up.kill();
}
