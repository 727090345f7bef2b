//! Deployments of templates: azure-semantics checklist 89 to 93, and each refusal.

use bytes::Bytes;
use http::{Method, StatusCode};
use keycard::client::{Answer, request};
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, IDENTITY_OPERATOR, OWNER, SECRETS_USER, VM_CONTRIBUTOR};

const VERSION: &str = "2025-04-01";

impl Cloud {
    pub(crate) fn deployment(&self, name: &str) -> String {
        format!("{}/providers/Microsoft.Resources/deployments/{name}", self.group())
    }

    pub(crate) async fn deploy(&self, name: &str, template: Value, parameters: Value) -> Answer {
        let body = json!({ "properties": {
            "mode": "Incremental", "template": template, "parameters": parameters,
        }});
        self.admin(Method::PUT, &self.deployment(name), VERSION, Some(body)).await
    }

    /// A deployment as it is once it has ended.
    pub(crate) async fn ended(&self, path: &str) -> Value {
        let end = async {
            loop {
                let body = self.admin(Method::GET, path, VERSION, None).await.body;
                let state = body["properties"]["provisioningState"].as_str().unwrap_or_default();
                if !["Accepted", "Running"].contains(&state) {
                    return body;
                }
            }
        };
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), end).await;
        ended.unwrap_or_else(|_| panic!("{path} does not end"))
    }

    pub(crate) async fn deployed(&self, name: &str, template: Value, parameters: Value) -> Value {
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
                "type": "Microsoft.KeyVault/vaults/secrets",
                "apiVersion": "2023-07-01",
                "name": "[concat(variables('vault'), '/door')]",
                "properties": { "value": "[parameters('password')]" },
                "dependsOn": ["[resourceId('Microsoft.KeyVault/vaults', variables('vault'))]"],
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
    let first = cloud.deploy("hotel", hotel(), json!({ "prefix": { "value": "grand" } })).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    assert_eq!(first.headers["retry-after"], "1");
    let url = first.headers["azure-asyncoperation"].to_str().unwrap().to_owned();
    let ended = cloud.ended(&cloud.deployment("hotel")).await;
    let properties = &ended["properties"];
    assert_eq!(properties["provisioningState"], "Succeeded", "{ended}");
    let polled =
        cloud.client.send(request(Method::GET, &url, Some(cloud.administration.token()), None));
    assert_eq!(polled.await.unwrap().body, json!({ "status": "Succeeded" }));

    let vm = cloud.admin(Method::GET, &cloud.vm_id("grand-vm"), "2024-07-01", None).await.body;
    assert_eq!(properties["outputs"]["vmPrincipal"]["value"], vm["identity"]["principalId"]);
    assert_eq!(properties["outputs"]["hidden"], json!({ "type": "SecureString" }));
    assert_eq!(properties["parameters"]["password"], json!({ "type": "SecureString" }));
    assert_eq!(properties["parameters"]["vmSize"]["value"], "Standard_B1s");
    assert_eq!(properties["outputResources"].as_array().unwrap().len(), 5);
    assert!(!ended.to_string().contains("hunter2"), "{ended}");

    let vault = properties["outputs"]["vaultUri"]["value"].as_str().unwrap();
    let selector = format!("&msi_res_id={}", cloud.identity_id("grand-id"));
    let token = cloud.vm_token("grand-vm", "https://vault.azure.net", &selector).await;
    let read = format!("{vault}secrets/door?api-version=7.4");
    let read = cloud.vault(Some(&token), Method::GET, &read, None).await;
    assert_eq!((read.status, &read.body["value"]), (StatusCode::OK, &json!("hunter2")));
    let name = vault.trim_start_matches("https://").split('.').next().unwrap();
    let shown = format!("{}/secrets/door", cloud.vault_id(name));
    let shown = cloud.admin(Method::GET, &shown, "2023-07-01", None).await.body;
    assert_eq!(shown["properties"]["secretUri"], format!("{vault}secrets/door"));
    assert!(!shown.to_string().contains("hunter2"), "{shown}");
}

/// Names, ids and principals are the same the second time, and the deployment says 200.
#[tokio::test]
async fn the_same_template_again_changes_nothing() {
    let cloud = Cloud::start().await;
    let parameters = json!({ "prefix": { "value": "grand" } });
    let resources = async || {
        let path = format!("{}/resources", cloud.subscription());
        let assignments =
            format!("{}/providers/Microsoft.Authorization/roleAssignments", cloud.subscription());
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
        "{}{}?api-version={VERSION}",
        cloud.description().endpoints.loopback,
        cloud.deployment("d1")
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
    let put = cloud.deploy("d1", template, parameters).await;
    assert_eq!(put.body["error"], validated.body["error"], "PUT and validate say the same");
    let error = &put.body["error"];
    (
        put.status.as_u16(),
        error["code"].as_str().unwrap_or_default().to_owned(),
        error["message"].as_str().unwrap_or_default().to_owned(),
    )
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
    let parameter =
        |declaration: Value| json!({ "parameters": { "p": declaration }, "resources": [] });
    let cases = [
        (
            with_resources(json!([identity("[nope('a')]", json!({}))])),
            json!({}),
            "InvalidTemplate",
            "The template function 'nope' is not valid.",
        ),
        (
            with_resources(json!([identity("[concat('a']", json!({}))])),
            json!({}),
            "InvalidTemplate",
            "expected token 'RightParenthesis' and actual 'RightSquareBracket'",
        ),
        (
            with_resources(json!([identity("[concat()]", json!({}))])),
            json!({}),
            "InvalidTemplate",
            "function requires at least 1 argument(s) while 0 were provided",
        ),
        (
            with_resources(json!([identity("[parameters('x')]", json!({}))])),
            json!({}),
            "InvalidTemplate",
            "The template parameter 'x' is not found.",
        ),
        (
            with_resources(json!([identity("[variables('x')]", json!({}))])),
            json!({}),
            "InvalidTemplate",
            "The template variable 'x' is not found.",
        ),
        (
            with_resources(json!([identity("[reference('x').y]", json!({}))])),
            json!({}),
            "InvalidTemplate",
            "The template function 'reference' is not expected at this location.",
        ),
        (
            with_resources(json!([identity("[listKeys('x', 'y')]", json!({}))])),
            json!({}),
            "InvalidTemplate",
            "The template function 'listKeys' is not expected at this location.",
        ),
        (
            with_resources(json!([identity("[first(providers('x'))]", json!({}))])),
            json!({}),
            "NotImplemented",
            "the template function 'providers'",
        ),
        (
            with_resources(json!([identity("a/b", json!({}))])),
            json!({}),
            "InvalidTemplate",
            "has incorrect segment lengths.",
        ),
        (
            with_resources(json!([identity("abc", json!({})), identity("ABC", json!({}))])),
            json!({}),
            "InvalidTemplate",
            "is defined multiple times in a template.",
        ),
        (
            with_resources(json!([identity("abc", json!({ "dependsOn": ["xyz"] }))])),
            json!({}),
            "InvalidTemplate",
            "The resource 'xyz' at line",
        ),
        (
            with_resources(json!([
                identity("abc", json!({ "dependsOn": ["xyz"] })),
                identity("xyz", json!({ "dependsOn": ["abc"] })),
            ])),
            json!({}),
            "InvalidTemplate",
            "Circular dependency detected on resource:",
        ),
        (
            parameter(json!({ "type": "string" })),
            json!({}),
            "InvalidTemplate",
            "The value for the template parameter 'p' at line '1' and column",
        ),
        (
            parameter(json!({ "type": "int" })),
            json!({ "p": { "value": "1" } }),
            "InvalidTemplate",
            "Expected 'Integer'. Actual 'String'",
        ),
        (
            parameter(json!({ "type": "string", "allowedValues": ["a"] })),
            json!({ "p": { "value": "b" } }),
            "InvalidTemplate",
            "is not part of the allowed value(s): 'a'",
        ),
        (
            parameter(json!({ "type": "int", "maxValue": 3 })),
            json!({ "p": { "value": 4 } }),
            "InvalidTemplate",
            "is outside of 'maxValue', which is '3'",
        ),
        (
            parameter(json!({ "type": "nope" })),
            json!({}),
            "InvalidTemplate",
            "a parameter has a type",
        ),
        (
            with_resources(json!([])),
            json!({ "q": { "value": 1 } }),
            "InvalidTemplate",
            "The template parameters 'q' in the parameters file are not valid;",
        ),
        (
            parameter(json!({ "type": "string" })),
            json!({ "p": { "reference": {} } }),
            "InvalidTemplate",
            "a parameter that refers to a vault's secret is of the type securestring",
        ),
        (
            json!({ "variables": { "a": "[variables('b')]", "b": "[variables('a')]" }, "resources": [] }),
            json!({}),
            "InvalidTemplate",
            "Circular reference detected on 'a'",
        ),
        (json!({}), json!({}), "InvalidTemplate", "a template has resources"),
    ];
    for (template, parameters, code, message) in cases {
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
        cloud.description().endpoints.loopback,
        cloud.deployment("d1")
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

fn codes(ended: &Value) -> Vec<String> {
    let details = ended["properties"]["error"]["details"].as_array().unwrap();
    details.iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect()
}

/// What one resource is refused for is in the failure; what does not need it is made, what does is not tried.
#[tokio::test]
async fn a_failure_names_what_failed_and_stops_what_needs_it() {
    let cloud = Cloud::start().await;
    let template = with_resources(json!([
        identity("ab", json!({})),
        identity("needs-ab", json!({ "dependsOn": ["ab"] })),
        identity("by-itself", json!({})),
        identity("broken", json!({ "tags": { "t": "[createArray()[0]]" } })),
        identity(
            "refers",
            json!({ "tags": { "t": "[reference(resourceId('Microsoft.Compute/virtualMachines', 'none'), '2024-07-01').x]" } })
        ),
    ]));
    let answer = cloud.deploy("d1", template, json!({})).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let ended = cloud.ended(&cloud.deployment("d1")).await;
    let error = &ended["properties"]["error"];
    assert_eq!(ended["properties"]["provisioningState"], "Failed");
    assert_eq!(error["code"], "DeploymentFailed");
    assert_eq!(codes(&ended), ["BadRequest", "InvalidTemplate", "NotFound"]);
    let message = error["details"][0]["message"].as_str().unwrap();
    let inner: Value = serde_json::from_str(message).unwrap();
    assert_eq!(inner["error"]["code"], "InvalidResourceName");
    let message = error["details"][1]["message"].as_str().unwrap();
    assert!(message.contains("array index '0' is out of bounds"), "{message}");
    for (name, status) in [("by-itself", 200), ("needs-ab", 404), ("broken", 404)] {
        let found = cloud.admin(Method::GET, &cloud.identity_id(name), "2024-11-30", None).await;
        assert_eq!(found.status.as_u16(), status, "{name}");
    }
    for path in [
        format!("{}/operations", cloud.deployment("d1")),
        format!("{}/deployments/d1/operations", cloud.group()),
    ] {
        let operations = cloud.admin(Method::GET, &path, VERSION, None).await;
        let states: Vec<&Value> = operations.body["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["properties"]["provisioningState"])
            .collect();
        assert_eq!(states, ["Failed", "Succeeded"], "{path}: {}", operations.body);
    }
    let url = answer.headers["azure-asyncoperation"].to_str().unwrap();
    let polled =
        cloud.client.send(request(Method::GET, url, Some(cloud.administration.token()), None));
    let polled = polled.await.unwrap().body;
    assert_eq!((&polled["status"], &polled["error"]), (&json!("Failed"), error));
}

/// Who may deploy may not do more with it than by hand: each resource asks for its own rights, linked ones included.
#[tokio::test]
async fn a_deployment_has_the_rights_of_its_caller_and_no_others() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("deployer", true, &[]).await;
    cloud.put_identity("wanted").await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    // It may manage virtual machines, and deploy.
    cloud.grant(&cloud.group(), VM_CONTRIBUTOR, principal).await;
    let template = with_resources(json!([
        {
            "type": "Microsoft.Compute/virtualMachines", "apiVersion": "2024-07-01", "name": "plain",
            "location": "local",
        },
        {
            "type": "Microsoft.Compute/virtualMachines", "apiVersion": "2024-07-01", "name": "with",
            "location": "local",
            "identity": { "type": "UserAssigned", "userAssignedIdentities": {
                cloud.identity_id("wanted"): {},
            }},
        },
        {
            "type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01",
            "name": "[guid('x')]",
            "properties": {
                "roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{SECRETS_USER}"),
                "principalId": principal,
            },
        },
        identity("made", json!({})),
    ]));
    let body = json!({ "properties": { "mode": "Incremental", "template": template } });
    let path = cloud.deployment("d1");
    let deploy = async || {
        let token = cloud.vm_token("deployer", ARM_AUDIENCE, "").await;
        let answer = cloud.arm(Some(&token), Method::PUT, &path, VERSION, Some(body.clone())).await;
        assert!(answer.status.is_success(), "{}", answer.body);
        cloud.ended(&path).await
    };
    let ended = deploy().await;
    assert_eq!(codes(&ended), ["Forbidden", "Forbidden", "Forbidden"], "{ended}");
    let details = ended["properties"]["error"]["details"].to_string();
    for said in
        ["LinkedAuthorizationFailed", "roleAssignments/write", "userAssignedIdentities/write"]
    {
        assert!(details.contains(said), "{said}: {details}");
    }
    let found = cloud.admin(Method::GET, &cloud.vm_id("plain"), "2024-07-01", None).await;
    assert_eq!(found.status, StatusCode::OK);
    cloud.grant(&cloud.identity_id("wanted"), IDENTITY_OPERATOR, principal).await;
    assert_eq!(codes(&deploy().await).len(), 2, "the identity may be used now");
}

/// A deployment outlives the request that began it, and its caller's right to anything not by one resource.
#[tokio::test]
async fn a_caller_that_is_deleted_meanwhile_changes_nothing_more() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("deployer", true, &[]).await;
    cloud.grant(&cloud.group(), OWNER, vm["identity"]["principalId"].as_str().unwrap()).await;
    cloud.put_identity("next").await;
    // It deletes all that the group holds, itself first.
    let body = json!({ "properties": { "mode": "Complete", "template": { "resources": [] } } });
    let token = cloud.vm_token("deployer", ARM_AUDIENCE, "").await;
    let path = cloud.deployment("d1");
    cloud.arm(Some(&token), Method::PUT, &path, VERSION, Some(body)).await;
    let ended = cloud.ended(&path).await;
    assert_eq!(codes(&ended), ["Unauthorized"], "{ended}");
    let gone = cloud.admin(Method::GET, &cloud.vm_id("deployer"), "2024-07-01", None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let next = cloud.admin(Method::GET, &cloud.identity_id("next"), "2024-11-30", None).await;
    assert_eq!(next.status, StatusCode::OK);
}

/// The token that began a deployment counts for each of its resources: here the first one takes it away.
#[tokio::test]
async fn a_deployment_whose_token_is_revoked_meanwhile_changes_nothing_more() {
    let cloud = Cloud::start().await;
    let who = cloud.put_identity("who").await;
    cloud.put_vm("deployer", false, &["who"]).await;
    let principal = who["properties"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.group(), OWNER, principal).await;
    let selector = format!("&msi_res_id={}", cloud.identity_id("who"));
    let token = cloud.vm_token("deployer", ARM_AUDIENCE, &selector).await;
    let template = with_resources(json!([
        {
            "type": "Microsoft.Compute/virtualMachines", "apiVersion": "2024-07-01",
            "name": "deployer", "location": "local", "identity": { "type": "None" },
        },
        identity("next", json!({ "dependsOn": ["deployer"] })),
    ]));
    let body = json!({ "properties": { "mode": "Incremental", "template": template } });
    let path = cloud.deployment("d1");
    cloud.arm(Some(&token), Method::PUT, &path, VERSION, Some(body)).await;
    let ended = cloud.ended(&path).await;
    assert_eq!(codes(&ended), ["Unauthorized"], "{ended}");
    let next = cloud.admin(Method::GET, &cloud.identity_id("next"), "2024-11-30", None).await;
    assert_eq!(next.status, StatusCode::NOT_FOUND);
}

/// 90: children one after the other, by a serial loop; a condition; a nested resource.
#[tokio::test]
async fn loops_conditions_and_children_are_deployed() {
    let cloud = Cloud::start().await;
    let credential = json!({
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
        "apiVersion": "2024-11-30",
        "name": "[concat('loops/cred-', copyIndex())]",
        "copy": { "name": "credentials", "count": 3, "mode": "serial", "batchSize": 1 },
        "dependsOn": ["loops"],
        "properties": {
            "issuer": "https://issuer.example", "audiences": ["api://AzureADTokenExchange"],
            "subject": "[format('subject-{0}', copyIndex())]",
        },
    });
    let child = json!({
        "type": "federatedIdentityCredentials", "apiVersion": "2024-11-30", "name": "inside",
        "properties": {
            "issuer": "https://issuer.example", "audiences": ["api://AzureADTokenExchange"],
            "subject": "inside",
        },
    });
    let template = with_resources(json!([
        credential,
        identity("loops", json!({ "resources": [child] })),
        identity("not-there", json!({ "condition": "[equals(1, 2)]" })),
    ]));
    let ended = cloud.deployed("d1", template, json!({})).await;
    assert_eq!(ended["properties"]["outputResources"].as_array().unwrap().len(), 5);
    let path = format!("{}/federatedIdentityCredentials", cloud.identity_id("loops"));
    let listed = cloud.admin(Method::GET, &path, "2024-11-30", None).await.body;
    let names: Vec<&Value> =
        listed["value"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["cred-0", "cred-1", "cred-2", "inside"]);
}

/// What the group holds and the template does not name goes; in the other mode it stays.
#[tokio::test]
async fn complete_mode_deletes_what_the_template_does_not_name() {
    let cloud = Cloud::start().await;
    cloud.put_identity("other").await;
    cloud.put_vm("machine", true, &["other"]).await;
    cloud.put_vault("kv-other", true).await;
    let there = async |id: String, version: &str| {
        cloud.admin(Method::GET, &id, version, None).await.status == StatusCode::OK
    };
    let template = || with_resources(json!([identity("named", json!({}))]));
    cloud.deployed("d1", template(), json!({})).await;
    assert!(there(cloud.identity_id("other"), "2024-11-30").await);
    let body = json!({ "properties": { "mode": "Complete", "template": template() } });
    cloud.admin(Method::PUT, &cloud.deployment("d1"), VERSION, Some(body)).await;
    let ended = cloud.ended(&cloud.deployment("d1")).await;
    assert_eq!(ended["properties"]["provisioningState"], "Succeeded", "{ended}");
    assert!(there(cloud.identity_id("named"), "2024-11-30").await);
    assert!(!there(cloud.identity_id("other"), "2024-11-30").await);
    assert!(!there(cloud.vm_id("machine"), "2024-07-01").await);
    assert!(!there(cloud.vault_id("kv-other"), "2023-07-01").await);
}

/// What a deployment inside a complete one made is named by it as well, however deep.
#[tokio::test]
async fn complete_mode_keeps_what_nested_deployments_made() {
    let cloud = Cloud::start().await;
    cloud.put_identity("other").await;
    let nested = |name: &str, resources: Value| {
        json!({
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": name,
            "properties": {
                "mode": "Incremental", "expressionEvaluationOptions": { "scope": "inner" },
                "template": with_resources(resources),
            },
        })
    };
    let inner = nested("inner", json!([identity("deep", json!({}))]));
    let template = with_resources(json!([
        nested("outer", json!([inner, identity("within", json!({}))])),
        identity("named", json!({})),
    ]));
    let body = json!({ "properties": { "mode": "Complete", "template": template } });
    for _ in 0..2 {
        let path = cloud.deployment("d1");
        cloud.admin(Method::PUT, &path, VERSION, Some(body.clone())).await;
        let ended = cloud.ended(&path).await;
        assert_eq!(ended["properties"]["provisioningState"], "Succeeded", "{ended}");
        for (name, status) in [("named", 200), ("within", 200), ("deep", 200), ("other", 404)] {
            let id = cloud.identity_id(name);
            let found = cloud.admin(Method::GET, &id, "2024-11-30", None).await;
            assert_eq!(found.status.as_u16(), status, "{name}");
        }
    }
    cloud.put_identity("another").await;
    let path = format!("{}/whatIf", cloud.deployment("d1"));
    let told = cloud.admin(Method::POST, &path, VERSION, Some(body)).await.body;
    let changes = told["properties"]["changes"].as_array().unwrap();
    assert!(changes.iter().all(|it| it["changeType"] != "Delete"), "{told}");
}

/// A template of a subscription makes a group and deploys into it, as the modules of Bicep are compiled.
#[tokio::test]
async fn a_subscription_template_makes_a_group_and_what_is_in_it() {
    let cloud = Cloud::start().await;
    let inner = json!({
        "contentVersion": "1.0.0.0",
        "parameters": { "name": { "type": "string" } },
        "resources": [identity("[parameters('name')]", json!({}))],
        "outputs": { "principal": { "type": "string", "value": "[reference(parameters('name')).principalId]" } },
    });
    let template = json!({
        "contentVersion": "1.0.0.0",
        "resources": [
            {
                "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "module",
                "resourceGroup": "rg-new",
                "dependsOn": ["[subscriptionResourceId('Microsoft.Resources/resourceGroups', 'rg-new')]"],
                "properties": {
                    "mode": "Incremental",
                    "expressionEvaluationOptions": { "scope": "inner" },
                    "parameters": { "name": { "value": "[concat('in', 'side')]" } },
                    "template": inner,
                },
            },
            { "type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-11-01", "name": "rg-new", "location": "[deployment().location]" },
        ],
        "outputs": {
            "principal": {
                "type": "string",
                "value": "[reference(extensionResourceId(format('/subscriptions/{0}/resourceGroups/{1}', subscription().subscriptionId, 'rg-new'), 'Microsoft.Resources/deployments', 'module'), '2022-09-01').outputs.principal.value]",
            },
        },
    });
    let path = format!("{}/providers/Microsoft.Resources/deployments/sub1", cloud.subscription());
    let body = json!({ "properties": { "mode": "Incremental", "template": template } });
    let refused = cloud.admin(Method::PUT, &path, VERSION, Some(body.clone())).await;
    assert_eq!(refused.body["error"]["code"], "LocationRequired");
    let mut body = body;
    body["location"] = json!("local");
    let answer = cloud.admin(Method::PUT, &path, VERSION, Some(body)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let ended = cloud.ended(&path).await;
    assert_eq!(ended["properties"]["provisioningState"], "Succeeded", "{ended}");
    let id = cloud.identity_id("inside").replace("/rg1/", "/rg-new/");
    let made = cloud.admin(Method::GET, &id, "2024-11-30", None).await;
    assert_eq!(
        made.body["properties"]["principalId"],
        ended["properties"]["outputs"]["principal"]["value"]
    );
    let inner =
        path.replace("/providers/", "/resourceGroups/rg-new/providers/").replace("sub1", "module");
    assert_eq!(cloud.ended(&inner).await["properties"]["provisioningState"], "Succeeded");
}

/// Without an inner scope the expressions of a nested template belong to the one around it.
#[tokio::test]
async fn a_nested_template_without_a_scope_has_the_values_around_it() {
    let cloud = Cloud::start().await;
    let template = json!({
        "parameters": { "name": { "type": "string", "defaultValue": "outer" } },
        "resources": [{
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "nested",
            "properties": { "mode": "Incremental", "template": {
                "parameters": { "name": { "type": "string", "defaultValue": "inner" } },
                "resources": [identity("[concat(parameters('name'), '-id')]", json!({}))],
            }},
        }],
    });
    cloud.deployed("d1", template, json!({})).await;
    let made = cloud.admin(Method::GET, &cloud.identity_id("outer-id"), "2024-11-30", None).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
}

/// A deployment that deploys itself again inside itself ends.
#[tokio::test]
async fn deployments_inside_deployments_have_a_bound() {
    let cloud = Cloud::start().await;
    let mut template = with_resources(json!([]));
    for level in 0..8 {
        template = with_resources(json!([{
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01",
            "name": format!("level-{level}"),
            "properties": {
                "mode": "Incremental", "expressionEvaluationOptions": { "scope": "inner" },
                "template": template,
            },
        }]));
    }
    cloud.deploy("d1", template, json!({})).await;
    let ended = cloud.ended(&cloud.deployment("d1")).await;
    assert_eq!(ended["properties"]["provisioningState"], "Failed");
    assert!(ended.to_string().contains("nested too deeply"), "{ended}");
}

fn many(count: usize) -> Value {
    with_resources(json!([identity(
        "[concat('many-', copyIndex())]",
        json!({ "copy": { "name": "many", "count": count } })
    )]))
}

/// 93, and what cancelling leaves.
#[tokio::test]
async fn a_name_is_taken_while_its_deployment_runs() {
    let cloud = Cloud::start().await;
    let (first, second) = tokio::join!(
        cloud.deploy("d1", many(800), json!({})),
        cloud.deploy("D1", many(800), json!({}))
    );
    let mut codes = [&first, &second].map(|it| it.body["error"]["code"].clone());
    codes.sort_by_key(Value::to_string);
    assert_eq!(codes, [json!("DeploymentActive"), Value::Null]);
    let path = cloud.deployment("d1");
    let ended = cloud.ended(&path).await;
    assert_eq!(ended["properties"]["provisioningState"], "Succeeded");
    let late = cloud.admin(Method::POST, &format!("{path}/cancel"), VERSION, None).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert_eq!(late.body["error"]["code"], "DeploymentCannotBeCancelled");
}

/// Stops a deployment as soon as it is there.
async fn stopped(cloud: &Cloud, path: &str) -> bool {
    let cancel = format!("{path}/cancel");
    for _ in 0..10_000 {
        let answer = cloud.admin(Method::POST, &cancel, VERSION, None).await;
        if answer.status == StatusCode::NO_CONTENT {
            return true;
        }
        assert!(answer.status == StatusCode::NOT_FOUND, "{}", answer.body);
    }
    false
}

#[tokio::test]
async fn a_cancelled_deployment_makes_nothing_more() {
    let cloud = Cloud::start().await;
    let path = cloud.deployment("d1");
    let stop = stopped(&cloud, &path);
    let (_, is_stopped) = tokio::join!(cloud.deploy("d1", many(800), json!({})), stop);
    assert!(is_stopped);
    let ended = cloud.ended(&path).await;
    assert_eq!(ended["properties"]["provisioningState"], "Canceled");
    let last = cloud.admin(Method::GET, &cloud.identity_id("many-799"), "2024-11-30", None).await;
    assert_eq!(last.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_stops_a_deployment_stops_those_inside_it() {
    let cloud = Cloud::start().await;
    let inner = json!({
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inner",
        "properties": { "mode": "Incremental", "template": many(800),
            "expressionEvaluationOptions": { "scope": "inner" } },
    });
    let stop = async {
        // It stands inside the other: once it is there, the other runs.
        let inner = cloud.deployment("inner");
        let there = async {
            while cloud.admin(Method::GET, &inner, VERSION, None).await.status != StatusCode::OK {}
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), there).await.unwrap();
        stopped(&cloud, &cloud.deployment("outer")).await
    };
    let outer = cloud.deploy("outer", with_resources(json!([inner])), json!({}));
    let (_, is_stopped) = tokio::join!(outer, stop);
    assert!(is_stopped);
    let ended = cloud.ended(&cloud.deployment("inner")).await;
    assert_eq!(ended["properties"]["provisioningState"], "Canceled");
    let last = cloud.admin(Method::GET, &cloud.identity_id("many-799"), "2024-11-30", None).await;
    assert_eq!(last.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_history_is_listed_exported_and_forgotten() {
    let cloud = Cloud::start().await;
    let template = with_resources(json!([identity("made", json!({}))]));
    cloud.deployed("d1", template.clone(), json!({})).await;
    cloud.deployed("d2", with_resources(json!([])), json!({})).await;
    // As az writes it.
    let all = format!("{}/providers/Microsoft.Resources/deployments/", cloud.group());
    let listed = cloud.admin(Method::GET, &all, VERSION, None).await.body;
    let names: Vec<&Value> =
        listed["value"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["d1", "d2"]);
    let path = cloud.deployment("d1");
    let exported =
        cloud.admin(Method::POST, &format!("{path}/exportTemplate"), VERSION, None).await;
    assert_eq!(exported.body, json!({ "template": template }));
    let status = async |method| cloud.admin(method, &path, VERSION, None).await.status.as_u16();
    assert_eq!(status(Method::HEAD).await, 204);
    assert_eq!(status(Method::DELETE).await, 204);
    assert_eq!(status(Method::HEAD).await, 404);
    assert_eq!(status(Method::DELETE).await, 204);
    let made = cloud.admin(Method::GET, &cloud.identity_id("made"), "2024-11-30", None).await;
    assert_eq!(made.status, StatusCode::OK, "what it made stays");
    cloud.admin(Method::DELETE, &cloud.group(), "2024-11-01", None).await;
    cloud.put(&cloud.group(), "2024-11-01", json!({ "location": "local" })).await;
    let listed = cloud.admin(Method::GET, &all, VERSION, None).await.body;
    assert_eq!(listed["value"], json!([]), "the history goes with its group");
}

#[tokio::test]
async fn what_is_no_deployment_is_refused() {
    let cloud = Cloud::start().await;
    let code = async |name: &str, body: Value| {
        let answer = cloud.admin(Method::PUT, &cloud.deployment(name), VERSION, Some(body)).await;
        let code = answer.body["error"]["code"].as_str().unwrap_or_default().to_owned();
        (answer.status.as_u16(), code)
    };
    let with = |properties: Value| json!({ "properties": properties });
    let template = || json!({ "resources": [] });
    let bad = |code: &str| (400, code.to_owned());
    assert_eq!(code("x", json!({})).await, bad("InvalidRequestContent"));
    assert_eq!(code("x", with(json!({}))).await, bad("InvalidRequestContent"));
    let odd = with(json!({ "mode": "Odd", "template": template() }));
    assert_eq!(code("x", odd).await, bad("InvalidRequestContent"));
    let linked = with(json!({ "templateLink": { "uri": "https://x" } }));
    assert_eq!(code("x", linked).await, bad("InvalidRequestContent"));
    let good = || with(json!({ "template": template() }));
    assert_eq!(code(&"x".repeat(65), good()).await, bad("InvalidDeploymentName"));
    let large = json!({ "resources": [], "x": "y".repeat(1024 * 1024) });
    let large = with(json!({ "template": large }));
    assert_eq!(code("x", large).await, (413, "RequestContentTooLarge".to_owned()));
    let path = cloud.deployment("x").replace("/rg1/", "/none/");
    let nowhere = cloud.admin(Method::PUT, &path, VERSION, Some(good())).await;
    assert_eq!(nowhere.body["error"]["code"], "ResourceGroupNotFound");
    let complete = json!({
        "location": "local", "properties": { "mode": "Complete", "template": template() },
    });
    let path = format!("{}/providers/Microsoft.Resources/deployments/x", cloud.subscription());
    let refused = cloud.admin(Method::PUT, &path, VERSION, Some(complete)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

/// Resource Manager's secrets are put and shown, and keep the rules of those of the vault.
#[tokio::test]
async fn a_secret_is_put_by_resource_manager_and_its_value_is_not_shown() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", true).await;
    let at = |name: &str| format!("{}/secrets/{name}", cloud.vault_id("kv1"));
    let put = async |name: &str, properties: Value| {
        let body = json!({ "properties": properties });
        cloud.admin(Method::PUT, &at(name), "2023-07-01", Some(body)).await
    };
    let made = put("door", json!({ "value": "open", "attributes": { "enabled": false } })).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    assert_eq!(made.body["properties"]["attributes"]["enabled"], false);
    assert!(!made.body.to_string().contains("open\""), "{}", made.body);
    let code = |answer: &Answer| answer.body["error"]["code"].clone();
    assert_eq!(code(&put("door", json!({})).await), "InvalidRequestContent");
    assert_eq!(code(&put("a_b", json!({ "value": "x" })).await), "BadRequest");
    let long = put("door", json!({ "value": "x".repeat(25_601) })).await;
    assert_eq!(code(&long), "BadRequest");
    let missing = cloud.admin(Method::GET, &at("none"), "2023-07-01", None).await;
    assert_eq!((missing.status, code(&missing)), (StatusCode::NOT_FOUND, json!("SecretNotFound")));
    let nowhere = format!("{}/secrets/door", cloud.vault_id("kv2"));
    let nowhere = cloud.admin(Method::GET, &nowhere, "2023-07-01", None).await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
}

/// A refusal repeats what it refuses; what is kept of it does not.
#[tokio::test]
async fn no_secure_parameter_is_kept_in_a_failure() {
    let cloud = Cloud::start().await;
    let vault = json!({
        "type": "Microsoft.KeyVault/vaults", "apiVersion": "2023-07-01", "name": "kv-odd",
        "location": "local",
        "properties": {
            "tenantId": "[subscription().tenantId]",
            "sku": { "family": "A", "name": "standard" },
            "softDeleteRetentionInDays": "[parameters('password')]",
        },
    });
    let template = json!({
        "parameters": { "password": { "type": "securestring" } },
        "resources": [vault, identity("other", json!({
            "tags": { "t": "[dateTimeAdd(parameters('password'), 'P1D')]" },
        }))],
    });
    for secret in ["hunter2", "hun\"ter2\\"] {
        let given = json!({ "password": { "value": secret } });
        cloud.deploy("d1", template.clone(), given).await;
        let ended = cloud.ended(&cloud.deployment("d1")).await;
        assert_eq!(codes(&ended), ["BadRequest", "InvalidTemplate"]);
        let shown = ended.to_string();
        assert!(shown.contains("***") && !shown.contains("ter2"), "{shown}");
    }
}

/// What would be made, changed, left and deleted, as the deployment then does it; and nothing of it is done.
#[tokio::test]
async fn what_if_foretells_the_deployment() {
    let cloud = Cloud::start().await;
    let path = format!("{}/whatIf", cloud.deployment("hotel"));
    let body = |mode: &str, size: &str| {
        json!({ "properties": {
            "mode": mode, "template": hotel(),
            "parameters": { "prefix": { "value": "grand" }, "vmSize": { "value": size } },
            "whatIfSettings": { "resultFormat": "FullResourcePayloads" },
        }})
    };
    let foretold = async |mode: &str, size: &str| -> Vec<(String, String)> {
        let answer = cloud.admin(Method::POST, &path, VERSION, Some(body(mode, size))).await;
        assert_eq!(answer.body["status"], "Succeeded", "{}", answer.body);
        assert!(!answer.body.to_string().contains("hunter2"), "{}", answer.body);
        let changes = answer.body["properties"]["changes"].as_array().unwrap().clone();
        changes
            .iter()
            .map(|it| {
                let id = it["resourceId"].as_str().unwrap();
                let kind = id.rsplit('/').nth(1).unwrap().to_owned();
                (kind, it["changeType"].as_str().unwrap().to_owned())
            })
            .collect()
    };
    let kinds = |changes: &[(String, String)], kind: &str| -> Vec<String> {
        changes.iter().filter(|(it, _)| it == kind).map(|(_, change)| change.clone()).collect()
    };
    cloud.put_identity("other").await;
    let first = foretold("Incremental", "Standard_B1s").await;
    assert_eq!(kinds(&first, "virtualMachines"), ["Create"]);
    assert_eq!(kinds(&first, "roleAssignments"), ["Create"]);
    assert_eq!(kinds(&first, "userAssignedIdentities"), ["Create", "Ignore"]);
    let none = cloud.admin(Method::GET, &cloud.vm_id("grand-vm"), "2024-07-01", None).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND, "nothing was made");

    cloud.deployed("hotel", hotel(), json!({ "prefix": { "value": "grand" } })).await;
    let same = foretold("Complete", "standard_b1s").await;
    for kind in ["virtualMachines", "roleAssignments", "vaults"] {
        assert_eq!(kinds(&same, kind), ["NoChange"], "{kind}: {same:?}");
    }
    assert_eq!(kinds(&same, "userAssignedIdentities"), ["NoChange", "Delete"]);
    let larger = foretold("Incremental", "Standard_B2s").await;
    assert_eq!(kinds(&larger, "virtualMachines"), ["Modify"]);
}

/// Secure values are hidden where they stand as texts; words of the answer itself that look the same stay.
#[tokio::test]
async fn what_if_answers_whatever_a_secure_parameter_looks_like() {
    let cloud = Cloud::start().await;
    let path = format!("{}/whatIf", cloud.deployment("d1"));
    let template = json!({
        "parameters": { "password": { "type": "secureString" } },
        "resources": [identity("made", json!({ "tags": { "t": "[parameters('password')]" } }))],
    });
    for secret in ["null", "name", "before", "changes\":[", "status"] {
        let given = json!({ "password": { "value": secret } });
        let body = json!({ "properties": {
            "mode": "Incremental", "template": template, "parameters": given,
        }});
        let told = cloud.admin(Method::POST, &path, VERSION, Some(body)).await.body;
        assert_eq!(told["status"], "Succeeded", "{secret}: {told}");
        let change = &told["properties"]["changes"][0];
        assert_eq!(change["changeType"], "Create", "{secret}: {told}");
        assert_eq!(change["before"], Value::Null, "{secret}: {told}");
        assert_eq!(change["after"]["name"], "made", "{secret}: {told}");
        assert_eq!(change["after"]["tags"]["t"], "***", "{secret}: {told}");
    }
}

/// What can be put and not read is said to be unforetold, and the deployment does it all the same.
#[tokio::test]
async fn a_template_adds_an_access_policy_which_what_if_cannot_foretell() {
    let cloud = Cloud::start().await;
    cloud.put_vault("kv1", false).await;
    let properties = json!({ "accessPolicies": [{
        "tenantId": "[subscription().tenantId]",
        "objectId": "[reference('mi-1').principalId]",
        "permissions": { "secrets": ["get"] },
    }]});
    let template = json!({
        "contentVersion": "1.0.0.0",
        "resources": [
            {
                "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
                "apiVersion": "2024-11-30", "name": "mi-1", "location": "local", "properties": {},
            },
            {
                "type": "Microsoft.KeyVault/vaults/accessPolicies", "apiVersion": "2023-07-01",
                "name": "kv1/add", "properties": properties,
            },
        ],
    });
    let body = json!({ "properties": { "mode": "Incremental", "template": template } });
    let path = format!("{}/whatIf", cloud.deployment("d1"));
    let told = cloud.admin(Method::POST, &path, VERSION, Some(body)).await.body;
    assert_eq!(told["status"], "Succeeded", "{told}");
    let changes = told["properties"]["changes"].as_array().unwrap();
    let policies = changes.iter().find(|it| it["resourceId"].as_str().unwrap().ends_with("/add"));
    assert_eq!(policies.unwrap()["changeType"], "Unsupported", "{told}");
    for _ in 0..2 {
        cloud.deployed("d1", template.clone(), json!({})).await;
        let vault = cloud.admin(Method::GET, &cloud.vault_id("kv1"), "2023-07-01", None).await.body;
        let policies = vault["properties"]["accessPolicies"].as_array().unwrap();
        assert_eq!(policies.len(), 1, "{vault}");
        assert_eq!(policies[0]["permissions"]["secrets"], json!(["get"]));
    }
}
