//! Templates as the Bicep compiler writes them: symbols, types, functions, modules and loops.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::harness::Cloud;

const VERSION: &str = "2025-04-01";

/// What the module of [`hotel`] compiles to.
fn module() -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "languageVersion": "2.0",
        "contentVersion": "1.0.0.0",
        "metadata": { "_generator": { "name": "bicep", "version": "0.36.1.42791", "templateHash": "1" } },
        "definitions": {
            "guestType": {
                "type": "object",
                "properties": {
                    "name": { "type": "string", "minLength": 3 },
                    "floor": { "type": "int", "minValue": 0 },
                    "pin": { "type": "securestring", "nullable": true },
                },
                "additionalProperties": false,
                "metadata": { "__bicep_imported_from!": { "sourceTemplate": "types.bicep" } },
            },
        },
        "parameters": { "name": { "type": "string" }, "guest": { "$ref": "#/definitions/guestType" } },
        "resources": {
            "identity": {
                "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
                "apiVersion": "2023-01-31",
                "name": "[parameters('name')]",
                "location": "[resourceGroup().location]",
                "tags": { "floor": "[string(parameters('guest').floor)]" },
            },
        },
        "outputs": {
            "id": {
                "type": "string",
                "value": "[resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', parameters('name'))]",
            },
            "principal": {
                "type": "string",
                "metadata": { "description": "Who it is." },
                "value": "[reference('identity').principalId]",
            },
        },
    })
}

/// A module in a loop, one after the other; a vault that is there; a machine with what the first module made.
fn hotel() -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "languageVersion": "2.0",
        "contentVersion": "1.0.0.0",
        "metadata": { "_generator": { "name": "bicep", "version": "0.36.1.42791", "templateHash": "2" } },
        "definitions": {
            "guestType": {
                "type": "object",
                "properties": {
                    "name": { "type": "string" },
                    "floor": { "type": "int" },
                    "pin": { "type": "securestring", "nullable": true },
                },
                "additionalProperties": false,
            },
            "stayType": { "type": "string", "allowedValues": ["day", "week"] },
            "summaryType": {
                "type": "object",
                "properties": { "stay": { "$ref": "#/definitions/stayType" }, "count": { "type": "int" } },
            },
        },
        "functions": [{
            "namespace": "__bicep",
            "members": {
                "nameOf": {
                    "parameters": [{ "type": "string", "name": "prefix" }, { "$ref": "#/definitions/guestType", "name": "guest" }],
                    "output": { "type": "string", "value": "[toLower(format('{0}-{1}', parameters('prefix'), parameters('guest').name))]" },
                    "metadata": { "description": "What a guest is called." },
                },
                "firstOf": {
                    "parameters": [{ "type": "string", "name": "prefix" }, { "type": "array", "items": { "$ref": "#/definitions/guestType" }, "name": "guests" }],
                    "output": { "type": "string", "value": "[__bicep.nameOf(parameters('prefix'), first(parameters('guests')))]" },
                },
            },
        }],
        "parameters": {
            "guests": { "type": "array", "items": { "$ref": "#/definitions/guestType" }, "minLength": 1 },
            "stay": { "$ref": "#/definitions/stayType", "defaultValue": "day" },
            "note": { "type": "string", "nullable": true },
        },
        "variables": { "prefix": "Grand", "order": "[sort(map(parameters('guests'), lambda('g', lambdaVariables('g').floor)), lambda('a', 'b', less(lambdaVariables('a'), lambdaVariables('b'))))]" },
        "resources": {
            "vault": {
                "existing": true,
                "type": "Microsoft.KeyVault/vaults",
                "apiVersion": "2023-07-01",
                "name": "grand-vault",
            },
            "guests": {
                "copy": { "name": "guests", "count": "[length(range(0, length(parameters('guests'))))]", "mode": "serial", "batchSize": 1 },
                "type": "Microsoft.Resources/deployments",
                "apiVersion": "2022-09-01",
                "name": "[format('guest-{0}', range(0, length(parameters('guests')))[copyIndex()])]",
                "properties": {
                    "expressionEvaluationOptions": { "scope": "inner" },
                    "mode": "Incremental",
                    "parameters": {
                        "name": { "value": "[__bicep.nameOf(variables('prefix'), parameters('guests')[copyIndex()])]" },
                        "guest": { "value": "[parameters('guests')[range(0, length(parameters('guests')))[copyIndex()]]]" },
                    },
                    "template": module(),
                },
            },
            "machine": {
                "type": "Microsoft.Compute/virtualMachines",
                "apiVersion": "2024-07-01",
                "name": "grand-vm",
                "location": "[resourceGroup().location]",
                "identity": {
                    "type": "UserAssigned",
                    "userAssignedIdentities": { "[format('{0}', reference('guests[0]').outputs.id.value)]": {} },
                },
                "dependsOn": ["guests"],
            },
        },
        "outputs": {
            "principals": {
                "type": "array",
                "items": { "type": "string" },
                "copy": {
                    "count": "[length(range(0, length(parameters('guests'))))]",
                    "input": "[reference(format('guests[{0}]', range(0, length(parameters('guests')))[copyIndex()])).outputs.principal.value]",
                },
            },
            "all": { "type": "array", "value": "[map(references('guests'), lambda('one', lambdaVariables('one').provisioningState))]" },
            "first": { "type": "string", "value": "[__bicep.firstOf(variables('prefix'), parameters('guests'))]" },
            "machineVersion": { "type": "string", "value": "[reference('machine', '2024-07-01', 'full').apiVersion]" },
            "vaultUri": { "type": "string", "value": "[reference('vault').vaultUri]" },
            "vaultId": { "type": "string", "value": "[resourceInfo('vault').id]" },
            "summary": { "$ref": "#/definitions/summaryType", "value": "[createObject('stay', parameters('stay'), 'count', length(variables('order')))]" },
            "order": { "type": "array", "items": { "type": "int" }, "value": "[variables('order')]" },
            "note": { "type": "string", "nullable": true, "value": "[parameters('note')]" },
        },
    })
}

fn guests() -> Value {
    json!({ "guests": { "value": [
        { "name": "Anna", "floor": 7, "pin": "pin-of-anna" }, { "name": "Bert", "floor": 2 },
    ]}})
}

#[tokio::test]
async fn what_bicep_compiles_is_deployed() {
    let cloud = Cloud::start().await;
    cloud.put_vault("grand-vault", true).await;
    let ended = cloud.deployed("hotel", hotel(), guests()).await;
    let outputs = &ended["properties"]["outputs"];
    let mut principals = Vec::new();
    for (name, floor) in [("grand-anna", "7"), ("grand-bert", "2")] {
        let path = cloud.identity_id(name);
        let made = cloud.admin(Method::GET, &path, "2024-11-30", None).await.body;
        assert_eq!(made["tags"]["floor"], floor, "{made}");
        principals.push(made["properties"]["principalId"].clone());
    }
    assert_eq!(outputs["principals"]["value"], json!(principals));
    assert_eq!(outputs["all"]["value"], json!(["Succeeded", "Succeeded"]));
    assert_eq!(outputs["first"]["value"], "grand-anna");
    assert_eq!(outputs["machineVersion"]["value"], "2024-07-01");
    assert!(outputs["vaultUri"]["value"].as_str().unwrap().contains("grand-vault"));
    assert_eq!(outputs["vaultId"]["value"], cloud.vault_id("grand-vault"));
    assert_eq!(
        outputs["summary"],
        json!({ "type": "Object", "value": { "stay": "day", "count": 2 } })
    );
    assert_eq!(outputs["order"]["value"], json!([2, 7]));
    assert!(outputs.get("note").is_none(), "{outputs}");
    let machine = cloud.admin(Method::GET, &cloud.vm_id("grand-vm"), "2024-07-01", None).await.body;
    assert!(
        machine["identity"]["userAssignedIdentities"]
            .get(cloud.identity_id("grand-anna"))
            .is_some()
            || machine["identity"].to_string().contains("grand-anna"),
        "{machine}"
    );
    // What is secure inside a value is shown neither here nor in the module.
    let guest = cloud.ended(&cloud.deployment("guest-0")).await;
    assert_eq!(
        guest["properties"]["parameters"]["guest"]["value"],
        json!({ "name": "Anna", "floor": 7 })
    );
    assert_eq!(
        ended["properties"]["parameters"]["guests"]["value"][0],
        json!({ "name": "Anna", "floor": 7 })
    );
    assert!(
        !ended.to_string().contains("pin-of-anna") && !guest.to_string().contains("pin-of-anna")
    );
}

#[tokio::test]
async fn a_value_that_is_not_of_its_own_type_is_refused_and_named() {
    let cloud = Cloud::start().await;
    let refused = async |template: Value, parameters: Value| {
        let body = json!({ "properties": { "template": template, "parameters": parameters } });
        let path = format!("{}/validate", cloud.deployment("d1"));
        let answer = cloud.admin(Method::POST, &path, VERSION, Some(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
        let error = &answer.body["error"];
        format!("{} {}", error["code"].as_str().unwrap(), error["message"].as_str().unwrap())
    };
    let guest = |guest: Value| json!({ "guests": { "value": [guest] } });
    for (parameters, said) in [
        (guest(json!({ "name": "Anna" })), "'guests[0]' at line '1' and column '"),
        (
            guest(json!({ "name": "Anna" })),
            "The following required properties are missing: 'floor'.",
        ),
        (
            guest(json!({ "name": "Anna", "floor": 1, "dog": true })),
            "The following properties are not permitted: 'dog'.",
        ),
        (
            guest(json!({ "name": "Anna", "floor": "one" })),
            "Expected 'Integer'. Actual 'String' for the parameter 'guests[0].floor'",
        ),
        (json!({ "guests": { "value": [] } }), "'minLength', which is '1'"),
        (
            json!({ "guests": guests()["guests"], "stay": { "value": "year" } }),
            "the allowed value(s): 'day,week'",
        ),
    ] {
        let words = refused(hotel(), parameters.clone()).await;
        assert!(
            words.starts_with("InvalidTemplate ") && words.contains(said),
            "{parameters}: {words}"
        );
    }
    for (member, value, said) in [
        ("asserts", json!({ "a": true }), "the assertions of templates"),
        (
            "extensions",
            json!({ "graph": { "name": "MicrosoftGraph" } }),
            "the extensions of templates",
        ),
    ] {
        let mut template = hotel();
        template[member] = value;
        let words = refused(template, guests()).await;
        assert!(words.starts_with("NotImplemented ") && words.contains(said), "{words}");
    }
    let mut template = hotel();
    template["parameters"]["stay"]["$ref"] = "#/definitions/none".into();
    let words = refused(template, guests()).await;
    assert!(words.contains("a type refers to what is not among the definitions"), "{words}");
}

/// `list…` is a POST to the resource, with the rights of whoever deploys.
#[tokio::test]
async fn what_a_resource_lists_goes_into_a_template_with_the_callers_rights() {
    let cloud = Cloud::start().await;
    let app = json!({
        "type": "Microsoft.App/containerApps", "apiVersion": "2025-07-01", "name": "app-1",
        "location": "local",
        "properties": { "configuration": { "secrets": [{ "name": "door", "value": "hunter2" }] } },
    });
    let template = |resources: Value| {
        json!({ "languageVersion": "2.0", "resources": resources, "outputs": {
            "listed": { "type": "array", "value": "[listSecrets(resourceId('Microsoft.App/containerApps', 'app-1'), '2025-07-01').value]" },
            "hidden": { "type": "secureObject", "value": "[listSecrets(resourceId('Microsoft.App/containerApps', 'app-1'), '2025-07-01')]" },
        }})
    };
    let ended = cloud.deployed("d1", template(json!({ "app": app })), json!({})).await;
    let outputs = &ended["properties"]["outputs"];
    assert_eq!(outputs["listed"]["value"][0]["name"], "door", "{ended}");
    assert_eq!(outputs["hidden"], json!({ "type": "SecureObject" }));

    let vm = cloud.put_vm("deployer", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.group(), crate::harness::VM_CONTRIBUTOR, principal).await;
    let token = cloud.vm_token("deployer", crate::harness::ARM_AUDIENCE, "").await;
    let body = json!({ "properties": { "mode": "Incremental", "template": template(json!({})) } });
    let path = cloud.deployment("d2");
    let answer = cloud.arm(Some(&token), Method::PUT, &path, VERSION, Some(body)).await;
    assert!(answer.status.is_success(), "{}", answer.body);
    let ended = cloud.ended(&path).await;
    let error = ended["properties"]["error"].to_string();
    assert!(error.contains("Microsoft.App/containerApps/listSecrets/action"), "{ended}");
    assert!(error.contains("AuthorizationFailed"), "{ended}");
}

#[tokio::test]
async fn deployments_are_found_by_their_state_and_operations_by_their_ids() {
    let cloud = Cloud::start().await;
    let one = json!({ "resources": [{
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities", "apiVersion": "2024-11-30",
        "name": "made", "location": "local",
    }]});
    cloud.deployed("good-1", one.clone(), json!({})).await;
    cloud.deployed("good-2", json!({ "resources": [] }), json!({})).await;
    let mut wrong = one;
    wrong["resources"][0]["name"] = "x".into();
    cloud.deploy("wrong", wrong, json!({})).await;
    cloud.ended(&cloud.deployment("wrong")).await;
    let all = format!("{}/providers/Microsoft.Resources/deployments", cloud.group());
    let listed = async |query: &str| {
        let url = format!(
            "{}{all}?api-version={VERSION}&{query}",
            cloud.description().endpoints.loopback
        );
        let token = Some(cloud.administration.token());
        let request = keycard::client::request(Method::GET, &url, token, None);
        let answer = cloud.client.send(request).await.unwrap();
        let names = answer.body["value"].as_array().into_iter().flatten();
        let names: Vec<String> = names.map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        (answer.status.as_u16(), names, answer.body.get("nextLink").is_some())
    };
    let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    for (query, expected) in [
        (
            "$filter=provisioningState%20eq%20'Succeeded'",
            (200, names(&["good-1", "good-2"]), false),
        ),
        ("$filter=provisioningState+eq+'failed'", (200, names(&["wrong"]), false)),
        ("$filter=provisioningState%20eq%20'Running'", (200, names(&[]), false)),
        ("$filter=provisioningState%20eq%20'Succeeded'&$top=1", (200, names(&["good-1"]), true)),
        ("$filter=name%20eq%20'x'", (400, names(&[]), false)),
        ("$filter=provisioningState%20ne%20'Failed'", (400, names(&[]), false)),
        ("$filter=provisioningState%20eq%20Failed", (400, names(&[]), false)),
    ] {
        assert_eq!(listed(query).await, expected, "{query}");
    }
    let operations = format!("{}/operations", cloud.deployment("good-1"));
    let listed = cloud.admin(Method::GET, &operations, VERSION, None).await.body;
    let first = &listed["value"][0];
    let id = first["operationId"].as_str().unwrap();
    for path in [
        format!("{operations}/{id}"),
        format!("{}/deployments/good-1/operations/{}", cloud.group(), id.to_lowercase()),
    ] {
        let shown = cloud.admin(Method::GET, &path, VERSION, None).await;
        assert_eq!((shown.status, &shown.body), (StatusCode::OK, first), "{path}");
    }
    let missing = cloud.admin(Method::GET, &format!("{operations}/X"), VERSION, None).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.body["error"]["code"], "DeploymentOperationNotFound");
}

/// A template and its module, which is given a secret of a vault.
fn with_secret(reference: &Value) -> Value {
    let module = json!({
        "languageVersion": "2.0",
        "parameters": { "password": { "type": "securestring" } },
        "resources": { "copy": {
            "type": "Microsoft.KeyVault/vaults/secrets", "apiVersion": "2023-07-01",
            "name": "kv-target/copy",
            "properties": { "value": "[parameters('password')]" },
        }},
    });
    json!({ "languageVersion": "2.0", "resources": { "inner": {
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inner",
        "properties": {
            "expressionEvaluationOptions": { "scope": "inner" },
            "mode": "Incremental",
            "parameters": { "password": { "reference": reference } },
            "template": module,
        },
    }}})
}

#[tokio::test]
async fn a_parameter_is_a_secret_of_a_vault_that_allows_it_for_who_may() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv-source").await;
    let target_token = cloud.open_vault("kv-target").await;
    let set = async |value: &str| {
        let url = cloud.vault_url("kv-source", "/secrets/door?api-version=7.4");
        let set = cloud.vault(Some(&token), Method::PUT, &url, Some(json!({ "value": value })));
        let id = set.await.body["id"].as_str().unwrap().to_owned();
        id.rsplit('/').next().unwrap().to_owned()
    };
    let first = set("hunter2-first").await;
    set("hunter2-second").await;
    let reference = |name: &str, version: Option<&str>| {
        json!({
            "keyVault": { "id": "[resourceId('Microsoft.KeyVault/vaults', 'kv-source')]" },
            "secretName": name, "secretVersion": version,
        })
    };
    let deploy = async |name: &str, reference: Value| {
        cloud.deploy(name, with_secret(&reference), json!({})).await;
        cloud.ended(&cloud.deployment(name)).await
    };
    let ended = deploy("d1", reference("door", None)).await.to_string();
    assert!(ended.contains("Access denied to first party service"), "not enabled yet: {ended}");

    let enable = json!({ "properties": { "enabledForTemplateDeployment": true } });
    let enabled =
        cloud.admin(Method::PATCH, &cloud.vault_id("kv-source"), "2023-07-01", Some(enable)).await;
    assert!(enabled.status.is_success(), "{}", enabled.body);
    let copied = async || {
        let url = cloud.vault_url("kv-target", "/secrets/copy?api-version=7.4");
        cloud.vault(Some(&target_token), Method::GET, &url, None).await.body["value"].clone()
    };
    for (version, expected) in [(None, "hunter2-second"), (Some(&*first), "hunter2-first")] {
        let ended = deploy("d2", reference("door", version)).await;
        assert_eq!(ended["properties"]["provisioningState"], "Succeeded", "{ended}");
        assert_eq!(copied().await, expected);
        let inner = cloud.ended(&cloud.deployment("inner")).await;
        assert_eq!(
            inner["properties"]["parameters"]["password"],
            json!({ "type": "SecureString" })
        );
        assert!(!format!("{ended}{inner}").contains("hunter2"), "{ended} {inner}");
    }
    let ended = deploy("d3", reference("none", None)).await.to_string();
    assert!(
        ended.contains("A secret with (name/id) none was not found in this key vault"),
        "{ended}"
    );

    // Who may write deployments and secrets, and has no right to deploy with those of this vault.
    let vm = cloud.put_vm("deployer", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.group(), crate::harness::VM_CONTRIBUTOR, principal).await;
    let token = cloud.vm_token("deployer", crate::harness::ARM_AUDIENCE, "").await;
    let given = |vault: &str| {
        json!({ "properties": { "mode": "Incremental", "parameters": { "p": { "reference": {
            "keyVault": { "id": cloud.vault_id(vault) }, "secretName": "door",
        }}}, "template": { "parameters": { "p": { "type": "securestring" } }, "resources": [] } } })
    };
    let put = async |body: Value| {
        cloud.arm(Some(&token), Method::PUT, &cloud.deployment("d4"), VERSION, Some(body)).await
    };
    for vault in ["kv-source", "kv-none"] {
        let refused = put(given(vault)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
        assert_eq!(refused.body["error"]["code"], "KeyVaultParameterReferenceAuthorizationFailed");
    }
    cloud.grant(&cloud.vault_id("kv-source"), crate::harness::OWNER, principal).await;
    let deployed = put(given("kv-source")).await;
    assert!(deployed.status.is_success(), "{}", deployed.body);
    let mut shown = given("kv-source");
    shown["properties"]["template"]["parameters"]["p"]["type"] = "string".into();
    let refused = put(shown).await;
    assert_eq!(refused.body["error"]["code"], "InvalidTemplate", "{}", refused.body);
}

/// What stands on what in an expression takes stack, whether it is a call or a member.
#[tokio::test]
async fn a_small_template_does_not_outgrow_the_stack_or_the_patience() {
    let cloud = Cloud::start().await;
    let bushy = (1..=58).rev().fold("createObject('a', 1)".to_owned(), |inner, depth| {
        format!("array({inner}){}", "[0]".repeat(60 - depth))
    });
    let endless = json!([{ "namespace": "own", "members": { "f": {
        "parameters": [],
        "output": { "type": "string", "value": "[own.f().a.a.a.a.a.a.a.a]" },
    }}}]);
    // Each look-up of a name in another case goes through all of them.
    let wide: Map<String, Value> =
        (0..20_000).map(|number| (format!("k{number:05}"), json!(1))).collect();
    let rounds = "[length(map(range(0, 10000), lambda('x', variables('wide').K19999)))]".to_owned();
    let secrets: Vec<String> = (0..5_000).map(|number| format!("{number:06}zq")).collect();
    for (members, parameters) in [
        (json!({ "variables": { "v": format!("[{bushy}]") } }), json!({})),
        (json!({ "functions": endless, "variables": { "v": "[own.f()]" } }), json!({})),
        (json!({ "variables": { "wide": wide, "v": rounds } }), json!({})),
        (
            json!({ "parameters": { "s": { "type": "secureObject" } } }),
            json!({ "s": { "value": { "a": secrets } } }),
        ),
    ] {
        let mut template = json!({
            "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
            "contentVersion": "1.0.0.0",
            "resources": [],
        });
        template.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let body = json!({ "properties": {
            "mode": "Incremental", "template": template, "parameters": parameters,
        }});
        let path =
            format!("{}/providers/Microsoft.Resources/deployments/d/validate", cloud.group());
        let refused = cloud.admin(Method::POST, &path, "2025-04-01", Some(body)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    }
}
