//! Deployments of templates: azure-semantics checklist 89 to 93, and each refusal.

use bytes::Bytes;
use http::{Method, StatusCode};
use keycard::client::{Answer, request};
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, READER, SECRETS_USER, VM_CONTRIBUTOR};

const VERSION: &str = "2025-04-01";

impl Cloud {
    fn deployment(&self, name: &str) -> String {
        format!("{}/providers/Microsoft.Resources/deployments/{name}", self.group())
    }

    async fn deploy(&self, name: &str, template: Value, parameters: Value) -> Answer {
        let body = json!({ "properties": {
            "mode": "Incremental", "template": template, "parameters": parameters,
        }});
        self.admin(Method::PUT, &self.deployment(name), VERSION, Some(body)).await
    }

    /// A deployment as it is once it has ended.
    async fn ended(&self, path: &str) -> Value {
        for _ in 0..200 {
            let answer = self.admin(Method::GET, path, VERSION, None).await;
            let state = answer.body["properties"]["provisioningState"].as_str().unwrap_or_default();
            if !["Accepted", "Running"].contains(&state) {
                return answer.body;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{path} does not end");
    }

    async fn deployed(&self, name: &str, template: Value, parameters: Value) -> Value {
        let answer = self.deploy(name, template, parameters).await;
        assert!(answer.status.is_success(), "{}", answer.body);
        let ended = self.ended(&self.deployment(name)).await;
        assert_eq!(ended["properties"]["provisioningState"], "Succeeded", "{ended}");
        ended
    }
}

/// A VM with a user-assigned identity, which may read the secrets of a vault.
fn hotel() -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "prefix": { "type": "string", "minLength": 2 },
            "vmSize": { "type": "string", "defaultValue": "Standard_B1s" },
            "password": { "type": "securestring", "defaultValue": "hunter2" },
        },
        "variables": {
            "identity": "[concat(parameters('prefix'), '-id')]",
            "vault": "[toLower(concat('kv', uniqueString(resourceGroup().id, parameters('prefix'))))]",
            "role": format!("[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{SECRETS_USER}')]"),
        },
        "resources": [
            // Written before what it needs: the reference orders it.
            {
                "type": "Microsoft.Authorization/roleAssignments",
                "apiVersion": "2022-04-01",
                "scope": "[concat('Microsoft.KeyVault/vaults/', variables('vault'))]",
                "name": "[guid(resourceGroup().id, variables('identity'), variables('role'))]",
                "properties": {
                    "roleDefinitionId": "[variables('role')]",
                    "principalId": "[reference(variables('identity')).principalId]",
                    "principalType": "ServicePrincipal",
                },
                "dependsOn": ["[variables('vault')]"],
            },
            {
                "type": "Microsoft.KeyVault/vaults",
                "apiVersion": "2023-07-01",
                "name": "[variables('vault')]",
                "location": "[resourceGroup().location]",
                "properties": {
                    "tenantId": "[subscription().tenantId]",
                    "sku": { "family": "A", "name": "standard" },
                    "enableRbacAuthorization": true,
                },
            },
            {
                "type": "Microsoft.Compute/virtualMachines",
                "apiVersion": "2024-07-01",
                "name": "[format('{0}-vm', parameters('prefix'))]",
                "location": "[resourceGroup().location]",
                "identity": {
                    "type": "SystemAssigned,UserAssigned",
                    "userAssignedIdentities": {
                        "[resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', variables('identity'))]": {},
                    },
                },
                "properties": { "hardwareProfile": { "vmSize": "[parameters('vmSize')]" } },
                "dependsOn": [
                    "[concat('Microsoft.ManagedIdentity/userAssignedIdentities/', variables('identity'))]",
                ],
            },
            {
                "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
                "apiVersion": "2024-11-30",
                "name": "[variables('identity')]",
                "location": "[resourceGroup().location]",
            },
        ],
        "outputs": {
            "VaultUri": {
                "type": "string",
                "value": "[reference(resourceId('Microsoft.KeyVault/vaults', variables('vault'))).vaultUri]",
            },
            "vmPrincipal": {
                "type": "string",
                "value": "[reference(concat(parameters('prefix'), '-vm'), '2024-07-01', 'Full').identity.principalId]",
            },
            "hidden": { "type": "securestring", "value": "[parameters('password')]" },
        },
    })
}

/// 90, 91: one deployment makes it all, and the VM's token opens the vault.
#[tokio::test]
async fn a_template_makes_a_machine_that_reads_its_vault() {
    let cloud = Cloud::start().await;
    let first =
        cloud.deploy("hotel", hotel(), json!({ "prefix": { "value": "grand" } })).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    assert_eq!(first.headers["retry-after"], "1");
    let url = first.headers["azure-asyncoperation"].to_str().unwrap().to_owned();
    let ended = cloud.ended(&cloud.deployment("hotel")).await;
    let properties = &ended["properties"];
    assert_eq!(properties["provisioningState"], "Succeeded", "{ended}");
    let polled = cloud.client.send(request(
        Method::GET, &url, Some(cloud.administration.token()), None,
    ));
    assert_eq!(polled.await.unwrap().body, json!({ "status": "Succeeded" }));

    let vm = cloud.admin(Method::GET, &cloud.vm_id("grand-vm"), "2024-07-01", None).await.body;
    assert_eq!(properties["outputs"]["vmPrincipal"]["value"], vm["identity"]["principalId"]);
    assert_eq!(properties["outputs"]["hidden"], json!({ "type": "SecureString" }));
    assert_eq!(properties["parameters"]["password"], json!({ "type": "SecureString" }));
    assert_eq!(properties["parameters"]["vmSize"]["value"], "Standard_B1s");
    assert_eq!(properties["outputResources"].as_array().unwrap().len(), 4);
    assert!(!ended.to_string().contains("hunter2"), "{ended}");

    let vault = properties["outputs"]["vaultUri"]["value"].as_str().unwrap();
    let token =
        cloud.vm_token("grand-vm", "https://vault.azure.net", "&msi_res_id=").await;
    let _ = token;
    let selector = format!("&msi_res_id={}", cloud.identity_id("grand-id"));
    let token = cloud.vm_token("grand-vm", "https://vault.azure.net", &selector).await;
    let listed = format!("{vault}secrets?api-version=7.4");
    let listed = cloud.vault(Some(&token), Method::GET, &listed, None).await;
    assert_eq!(listed.status, StatusCode::OK, "{}", listed.body);
}

/// Names, ids and principals are the same the second time, and the deployment says 200.
#[tokio::test]
async fn the_same_template_again_changes_nothing() {
    let cloud = Cloud::start().await;
    let parameters = json!({ "prefix": { "value": "grand" } });
    let resources = async || {
        let path = format!("{}/resources", cloud.subscription());
        let assignments = format!(
            "{}/providers/Microsoft.Authorization/roleAssignments", cloud.subscription()
        );
        let first = cloud.admin(Method::GET, &path, "2024-11-01", None).await.body;
        let vm = cloud.admin(Method::GET, &cloud.vm_id("grand-vm"), "2024-07-01", None).await.body;
        let second = cloud.admin(Method::GET, &assignments, "2022-04-01", None).await.body;
        let names: Vec<Value> =
            second["value"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
        (first, vm["identity"].clone(), names)
    };
    let first = cloud.deployed("hotel", hotel(), parameters.clone()).await;
    let before = resources().await;
    let again = cloud.deploy("hotel", hotel(), parameters).await;
    assert_eq!(again.status, StatusCode::OK);
    let second = cloud.ended(&cloud.deployment("hotel")).await;
    assert_eq!(second["properties"]["provisioningState"], "Succeeded", "{second}");
    assert_eq!(resources().await, before);
    assert_eq!(first["properties"]["outputs"], second["properties"]["outputs"]);
    assert_eq!(first["properties"]["templateHash"], second["properties"]["templateHash"]);
}

/// az sends the file as it is, below a name without quotes. Source: az-cli 2.91.
#[tokio::test]
async fn the_body_of_azure_cli_is_read() {
    let cloud = Cloud::start().await;
    let body = r#"{"properties": {"parameters": {}, "mode": "Incremental", template:{
        // what people write
        "contentVersion": "1.0.0.0",
        "resources": [ /* none */ ],
        "outputs": { "text": { "type": "string", "value": "[concat('a',
            'b')]" }, },
    }}}"#;
    let url = format!(
        "{}{}?api-version={VERSION}", cloud.description().endpoints.loopback, cloud.deployment("d1")
    );
    let mut sent = request(Method::PUT, &url, Some(cloud.administration.token()), None);
    *sent.body_mut() = Bytes::from(body).into();
    let answer = cloud.client.send(sent).await.unwrap();
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let ended = cloud.ended(&cloud.deployment("d1")).await;
    assert_eq!(ended["properties"]["outputs"]["text"]["value"], "ab");
}

async fn refused(cloud: &Cloud, template: Value, parameters: Value) -> (u16, String, String) {
    let body = json!({ "properties": { "template": template, "parameters": parameters } });
    let path = format!("{}/validate", cloud.deployment("d1"));
    let validated = cloud.admin(Method::POST, &path, VERSION, Some(body)).await;
    let put = cloud.deploy("d1", template_of(&validated, &template), parameters).await;
    assert_eq!(put.body["error"], validated.body["error"], "PUT and validate say the same");
    let error = &put.body["error"];
    (
        put.status.as_u16(),
        error["code"].as_str().unwrap_or_default().to_owned(),
        error["message"].as_str().unwrap_or_default().to_owned(),
    )
}

fn template_of(_: &Answer, template: &Value) -> Value {
    template.clone()
}

fn with_resources(resources: Value) -> Value {
    json!({ "contentVersion": "1.0.0.0", "resources": resources })
}

fn identity(name: &str, more: Value) -> Value {
    let mut resource = json!({
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
        "apiVersion": "2024-11-30",
        "name": name,
        "location": "local",
    });
    resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    resource
}

/// 92, and the words of Azure for what is wrong with a template.
#[tokio::test]
async fn a_template_that_cannot_be_deployed_is_refused_with_its_reason() {
    let cloud = Cloud::start().await;
    let parameter = |declaration: Value| json!({ "parameters": { "p": declaration }, "resources": [] });
    let cases = [
        (with_resources(json!([identity("[nope('a')]", json!({}))])), json!({}),
            "InvalidTemplate", "The template function 'nope' is not valid."),
        (with_resources(json!([identity("[concat('a'", json!({}))])), json!({}), "", ""),
        (with_resources(json!([identity("[concat('a']", json!({}))])), json!({}),
            "InvalidTemplate", "expected token 'RightParenthesis' and actual 'RightSquareBracket'"),
        (with_resources(json!([identity("[concat()]", json!({}))])), json!({}),
            "InvalidTemplate", "function requires at least 1 argument(s) while 0 were provided"),
        (with_resources(json!([identity("[parameters('x')]", json!({}))])), json!({}),
            "InvalidTemplate", "The template parameter 'x' is not found."),
        (with_resources(json!([identity("[variables('x')]", json!({}))])), json!({}),
            "InvalidTemplate", "The template variable 'x' is not found."),
        (with_resources(json!([identity("[reference('x').y]", json!({}))])), json!({}),
            "InvalidTemplate", "The template function 'reference' is not expected at this location."),
        (with_resources(json!([identity("[listKeys('x', 'y')]", json!({}))])), json!({}),
            "NotImplemented", "the template function 'listKeys'"),
        (with_resources(json!([identity("a/b", json!({}))])), json!({}),
            "InvalidTemplate", "has incorrect segment lengths."),
        (with_resources(json!([identity("abc", json!({})), identity("ABC", json!({}))])), json!({}),
            "InvalidTemplate", "is defined multiple times in a template."),
        (with_resources(json!([identity("abc", json!({ "dependsOn": ["xyz"] }))])), json!({}),
            "InvalidTemplate", "The resource 'xyz' at line"),
        (with_resources(json!([
            identity("abc", json!({ "dependsOn": ["xyz"] })),
            identity("xyz", json!({ "dependsOn": ["abc"] })),
        ])), json!({}), "InvalidTemplate", "Circular dependency detected on resource:"),
        (parameter(json!({ "type": "string" })), json!({}),
            "InvalidTemplate", "The value for the template parameter 'p' at line '1' and column"),
        (parameter(json!({ "type": "int" })), json!({ "p": { "value": "1" } }),
            "InvalidTemplate", "Expected 'Integer'. Actual 'String'"),
        (parameter(json!({ "type": "string", "allowedValues": ["a"] })), json!({ "p": { "value": "b" } }),
            "InvalidTemplate", "is not part of the allowed value(s): 'a'"),
        (parameter(json!({ "type": "int", "maxValue": 3 })), json!({ "p": { "value": 4 } }),
            "InvalidTemplate", "is outside of 'maxValue', which is '3'"),
        (parameter(json!({ "type": "nope" })), json!({}), "InvalidTemplate", "a parameter has a type"),
        (with_resources(json!([])), json!({ "q": { "value": 1 } }),
            "InvalidTemplate", "The template parameters 'q' in the parameters file are not valid;"),
        (parameter(json!({ "type": "string" })), json!({ "p": { "reference": {} } }),
            "NotImplemented", "the reference of a parameter to a vault's secret"),
        (json!({ "variables": { "a": "[variables('b')]", "b": "[variables('a')]" }, "resources": [] }),
            json!({}), "InvalidTemplate", "Circular reference detected on 'a'"),
        (json!({}), json!({}), "InvalidTemplate", "a template has resources"),
    ];
    for (template, parameters, code, message) in cases {
        if code.is_empty() {
            continue;
        }
        let (status, found, text) = refused(&cloud, template.clone(), parameters).await;
        assert_eq!((status, found.as_str()), (400, code), "{template}: {text}");
        assert!(text.contains(message), "{template}: {text}");
    }
    let path = cloud.deployment("d1");
    let kept = cloud.admin(Method::GET, &path, VERSION, None).await;
    assert_eq!(kept.body["error"]["code"], "DeploymentNotFound", "nothing of it is kept");
}

/// 92
#[tokio::test]
async fn a_wrong_function_is_found_by_line_and_position() {
    let cloud = Cloud::start().await;
    let body = "{\"properties\": {\"mode\": \"Incremental\", template:{\n  \"resources\": [\n    {\n      \"type\": \"A/b\", \"apiVersion\": \"2024-01-01\",\n      \"name\": \"[wrong('x')]\"\n    }\n  ]\n}}}";
    let url = format!(
        "{}{}/validate?api-version={VERSION}",
        cloud.description().endpoints.loopback, cloud.deployment("d1")
    );
    let mut sent = request(Method::POST, &url, Some(cloud.administration.token()), None);
    *sent.body_mut() = Bytes::from(body).into();
    let answer = cloud.client.send(sent).await.unwrap();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["error"]["code"], "InvalidTemplate");
    assert_eq!(
        answer.body["error"]["additionalInfo"],
        json!([{ "type": "TemplateViolation", "info": {
            "lineNumber": 5, "linePosition": 15, "path": "properties.template.resources[0].name",
        }}])
    );
}
