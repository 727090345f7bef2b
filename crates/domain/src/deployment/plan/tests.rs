//! What templates plan: which resources there are, what they wait for, and with which values.

#![expect(clippy::needless_pass_by_value, reason = "tables of cases read best without ceremony")]

use serde_json::json;
use time::UtcDateTime;

use super::*;
use crate::entropy::SeededEntropy;

fn plan_with(template: &Value, given: Value) -> Result<Plan, TemplateViolation> {
    let place = Place {
        scope: "/s".to_owned(),
        subscription_id: "1".to_owned(),
        deployment: Value::Null,
        environment: Value::Null,
        subscription: Value::Null,
        deployer: Value::Null,
        tenant: Value::Null,
        resource_group: None,
    };
    let entropy = SeededEntropy::new(1);
    let fresh = Fresh { now: UtcDateTime::UNIX_EPOCH, entropy: &entropy };
    Template::parse(template)?.plan(given.as_object().unwrap(), place, fresh)
}

fn plan(resources: Value) -> Result<Plan, TemplateViolation> {
    plan_with(&json!({ "resources": resources }), json!({}))
}

fn resource(resource_type: &str, name: &str, more: Value) -> Value {
    let mut resource = json!({ "type": resource_type, "apiVersion": "v1", "name": name });
    resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    resource
}

fn outputs(outputs: Value) -> Result<Vec<ShownValue>, TemplateViolation> {
    let planned = plan_with(&json!({ "resources": [], "outputs": outputs }), json!({}))?;
    match planned.outputs(&Answers::new())? {
        Step::Done(shown) => Ok(shown),
        Step::Needs(key) => panic!("{key:?} is referred to"),
    }
}

#[test]
fn what_could_not_be_read_again_is_not_kept() {
    // Fifty in the template around forty of an expression: neither is too deep by itself.
    let inner = format!("[json('{}1{}')]", "[".repeat(40), "]".repeat(40));
    let value = (0..50).fold(json!(inner), |value, _| json!({ "m": value }));
    let refused = outputs(json!({ "o": { "type": "object", "value": value } })).unwrap_err();
    assert_eq!(refused.reason, TemplateError::from(ExpressionError::TooDeep), "{refused:?}");
    let many = vec!["x"; 40_000];
    assert!(outputs(json!({ "o": { "type": "array", "value": many } })).is_err());
}

#[test]
fn an_output_may_be_left_out_when_it_may_be_null() {
    let output =
        |nullable| json!({ "o": { "type": "string", "nullable": nullable, "value": null } });
    assert!(outputs(output(true)).unwrap().is_empty());
    assert!(outputs(output(false)).is_err());
}

#[test]
fn a_part_of_a_large_variable_costs_what_it_is() {
    let large = json!({ "k": "v", "rest": "x".repeat(200_000) });
    let template = |rest: &str| {
        json!({ "variables": { "c": large }, "resources": [], "outputs": { "o": {
            "type": "array",
            "copy": { "count": 300, "input": format!("[variables('c').{rest}]") },
        }}})
    };
    let of = |rest: &str| plan_with(&template(rest), json!({})).unwrap().outputs(&Answers::new());
    assert!(of("k").is_ok());
    assert!(of("rest").is_err(), "more than all work that a deployment may take");
}

/// The resources in their order, by the ends of their ids.
fn check(resources: Value, expected: &[&str]) {
    let planned = plan(resources.clone()).unwrap();
    let ids: Vec<&str> = planned
        .resources()
        .map(|it| it.id.strip_prefix("/s/providers/").unwrap_or(&it.id))
        .collect();
    assert_eq!(ids, expected, "{resources}");
}

fn check_error(resources: Value, path: &str, expected: &str) {
    let violation = plan(resources.clone()).unwrap_err();
    assert_eq!(
        (violation.path.as_str(), violation.reason.to_string().as_str()),
        (path, expected),
        "{resources}"
    );
}

#[test]
fn a_dependency_is_named_by_id_by_type_and_name_or_by_name() {
    for name in ["[resourceId('N.X/a', 'two')]", "N.X/a/two", "[concat('N.X/a/', 'TWO')]", "two"] {
        check(
            json!([
                resource("N.X/a", "one", json!({ "dependsOn": [name] })),
                resource("N.X/a", "two", json!({})),
            ]),
            &["N.X/a/two", "N.X/a/one"],
        );
    }
    check_error(
        json!([resource("N.X/a", "one", json!({ "dependsOn": ["three"] }))]),
        "resources[0].dependsOn",
        "three is not defined in the template",
    );
}

#[test]
fn a_reference_is_a_dependency() {
    for reference in [
        "[reference('two').x]",
        "[reference(resourceId('N.X/a', 'two'), 'v1', 'Full').identity.principalId]",
        "[if(true(), concat('x', reference(concat('t', 'wo')).y), '')]",
    ] {
        check(
            json!([
                resource("N.X/a", "one", json!({ "properties": { "p": [reference] } })),
                resource("N.X/a", "two", json!({})),
            ]),
            &["N.X/a/two", "N.X/a/one"],
        );
    }
}

#[test]
fn what_is_listed_of_a_resource_is_a_dependency_and_asked_for_by_its_action() {
    let resources = json!({
        "one": resource("N.X/a", "one", json!({ "properties": {
            "p": "[listKeys('two', 'v1', createObject('k', 1)).keys[0]]",
            "q": "[resourceInfo('two').type]",
            "r": "[references('many', 'Full')[1].kind]",
        }})),
        "two": resource("N.X/a", "two", json!({})),
        "many": resource("N.X/m", "[format('m{0}', copyIndex())]", json!({ "copy": { "name": "many", "count": 2 } })),
    });
    let planned = plan(resources).unwrap();
    let one = planned.resources().last().unwrap();
    assert_eq!((one.name.as_str(), one.depends_on.len()), ("one", 3));
    let mut answers = Answers::new();
    let mut asked = Vec::new();
    let body = loop {
        match planned.body(one, &answers).unwrap() {
            Step::Done(body) => break body,
            Step::Needs(key) => {
                let list = key.list.clone().map(|it| (it.action, it.body));
                asked.push((key.id.clone(), list));
                answers.insert(key, json!({ "keys": ["k"], "kind": "m" }));
            }
        }
    };
    let list = Some(("listKeys".to_owned(), Some("{\"k\":1}".to_owned())));
    assert_eq!(
        asked,
        [
            ("/s/providers/n.x/a/two".to_owned(), list),
            ("/s/providers/n.x/m/m0".to_owned(), None),
            ("/s/providers/n.x/m/m1".to_owned(), None),
        ]
    );
    assert_eq!(body["properties"], json!({ "p": "k", "q": "N.X/a", "r": "m" }));
    check_error(
        json!([resource("N.X/a", "[listKeys('/x', 'v1').k]", json!({}))]),
        "resources[0].name",
        "the function listKeys cannot be used here",
    );
}

#[test]
fn circles_are_found() {
    check_error(
        json!([
            resource("N.X/a", "one", json!({ "dependsOn": ["two"] })),
            resource("N.X/a", "two", json!({ "properties": { "p": "[reference('one').x]" } })),
        ]),
        "resources[0]",
        "/s/providers/N.X/a/one depends on itself",
    );
}

#[test]
fn children_stand_inside_their_parent_or_have_its_name() {
    let child = resource("b", "[concat('c', 'hild')]", json!({}));
    check(
        json!([resource("N.X/a", "one", json!({ "resources": [child] }))]),
        &["N.X/a/one", "N.X/a/one/b/child"],
    );
    check(
        json!([
            resource("N.X/a/b", "one/child", json!({ "dependsOn": ["one"] })),
            resource("N.X/a", "one", json!({})),
        ]),
        &["N.X/a/one", "N.X/a/one/b/child"],
    );
    check(
        json!([resource("N.X/a/providers/r", "one/N.Y/two", json!({}))]),
        &["N.X/a/one/providers/N.Y/r/two"],
    );
    check_error(
        json!([resource("N.X/a/b", "one", json!({}))]),
        "resources[0].name",
        "the name one does not fit the type N.X/a/b",
    );
}

#[test]
fn an_extension_stands_below_its_scope() {
    for scope in ["N.X/a/one", "[resourceId('N.X/a', 'one')]"] {
        check(
            json!([resource("N.Y/e", "two", json!({ "scope": scope }))]),
            &["N.X/a/one/providers/N.Y/e/two"],
        );
    }
}

#[test]
fn loops_and_conditions_decide_what_is_there() {
    let copy = json!({ "name": "loop", "count": 3, "mode": "serial", "batchSize": 1 });
    check(
        json!([
            resource("N.X/b", "after", json!({ "dependsOn": ["loop"] })),
            resource(
                "N.X/a",
                "[format('n{0}', copyIndex(1))]",
                json!({ "copy": copy, "condition": "[not(equals(copyIndex(), 1))]" }),
            ),
        ]),
        &["N.X/a/n1", "N.X/a/n3", "N.X/b/after"],
    );
    check(json!([resource("N.X/a", "x", json!({ "condition": false }))]), &[]);
    let none = json!({ "copy": { "name": "loop", "count": 0 } });
    check(
        json!({
            "a": resource("N.X/b", "after", json!({ "dependsOn": ["none", "loop"] })),
            "none": resource("N.X/a", "[string(copyIndex())]", none),
        }),
        &["N.X/b/after"],
    );
    check_error(
        json!([resource("N.X/a", "x", json!({ "condition": "yes" }))]),
        "resources[0].condition",
        "expected Boolean, found String",
    );
    check_error(
        json!([resource("N.X/a", "x", json!({ "copy": { "name": "l", "count": 801 } }))]),
        "resources[0].copy.count",
        "the expressions of the template take too much work",
    );
}

#[test]
fn the_newer_language_names_resources_by_symbols() {
    let resources = json!({
        "first": resource("N.X/a", "one", json!({ "dependsOn": ["second"] })),
        "second": resource("N.X/a", "two", json!({})),
        "there": resource("N.X/a", "three", json!({ "existing": true })),
    });
    check(resources, &["N.X/a/two", "N.X/a/one"]);
}

#[test]
fn a_body_waits_for_what_it_refers_to() {
    let planned = plan(json!([resource(
        "N.X/a",
        "one",
        json!({
            "location": "[[literal]",
            "tags": { "[concat('k', 'ey')]": "[reference('/x/y', 'v2').id]" },
            "properties": { "copy": [
                { "name": "list", "count": 2, "input": "[copyIndex('list')]" },
            ]},
        }),
    )]))
    .unwrap();
    let one = planned.resources().next().unwrap();
    let key = ReferenceKey { id: "/x/y".to_owned(), api_version: "v2".to_owned(), list: None };
    assert_eq!(planned.body(one, &Answers::new()), Ok(Step::Needs(key.clone())));
    let answers = Answers::from([(key, json!({ "properties": { "id": 7 } }))]);
    assert_eq!(
        planned.body(one, &answers),
        Ok(Step::Done(json!({
            "location": "[literal]",
            "tags": { "key": 7 },
            "properties": { "list": [0, 1] },
        })))
    );
}

#[test]
fn defaults_variables_and_outputs_build_on_each_other() {
    let template = json!({
        "parameters": {
            "a": { "type": "string", "defaultValue": "[concat(parameters('b'), '!')]" },
            "b": { "type": "string" },
        },
        "variables": {
            "first": "[concat(variables('second'), parameters('a'))]",
            "second": "2",
            "copy": [{ "name": "looped", "count": 2, "input": "[copyIndex('looped')]" }],
        },
        "resources": [],
        "outputs": {
            "text": { "type": "string", "value": "[variables('first')]" },
            "list": { "type": "array", "copy": { "count": 2, "input": "[variables('looped')[copyIndex()]]" } },
            "gone": { "type": "string", "condition": false, "value": "[div(1, 0)]" },
        },
    });
    let planned = plan_with(&template, json!({ "B": { "value": "b" } })).unwrap();
    let Ok(Step::Done(outputs)) = planned.outputs(&Answers::new()) else { panic!("outputs") };
    let shown = |name: &str| outputs.iter().find(|it| it.name == name).unwrap().value.clone();
    assert_eq!(shown("text"), Some(json!("2b!")));
    assert_eq!(shown("list"), Some(json!([0, 1])));
    assert_eq!(outputs.len(), 2);
}

#[test]
fn a_nested_template_is_evaluated_where_its_scope_says() {
    let check = |options: Value, expected: &str| {
        let nested = json!({
            "expressionEvaluationOptions": options,
            "template": { "resources": [], "x": "[concat('[', 'a', ']')]", "y": "[reference('other').z]" },
        });
        let nested =
            resource("Microsoft.Resources/deployments", "d", json!({ "properties": nested }));
        let planned = plan(json!([nested, resource("N.X/a", "other", json!({}))])).unwrap();
        let nested = planned.resources().find(|it| it.name == "d").unwrap();
        let id = "/s/providers/n.x/a/other".to_owned();
        let key = ReferenceKey { id, api_version: "v1".to_owned(), list: None };
        let answers = Answers::from([(key, json!({ "properties": { "z": 1 } }))]);
        let Ok(Step::Done(body)) = planned.body(nested, &answers) else { panic!("a body") };
        assert_eq!(body["properties"]["template"]["x"], expected);
        nested.depends_on.len()
    };
    assert_eq!(check(json!({ "scope": "inner" }), "[concat('[', 'a', ']')]"), 0);
    // Evaluated here, and escaped, since it is read once more where it goes.
    assert_eq!(check(json!({ "scope": "outer" }), "[[a]"), 1);
    assert_eq!(check(Value::Null, "[[a]"), 1);
    assert_eq!(
        Template::parse(&json!({ "resources": [resource(
            "Microsoft.Resources/deployments",
            "d",
            json!({ "properties": { "template": { "x": "[nope()]" } } }),
        )]}))
        .unwrap_err()
        .path,
        "resources[0].properties.template.x"
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    for template in [
        json!({ "extensions": { "graph": { "name": "MicrosoftGraph" } }, "resources": [] }),
        json!({ "asserts": { "a": "[true()]" }, "resources": [] }),
        json!({ "resources": [resource("N.X/a", "x", json!({ "@options": { "onlyIfNotExists": true } }))] }),
    ] {
        let refused = plan_with(&template, json!({})).unwrap_err();
        assert!(matches!(refused.reason, TemplateError::Unsupported(_)), "{template}");
    }
}

/// The outputs of a template with these functions, or why there are none.
fn with_functions(functions: Value, output: &str) -> Result<Value, String> {
    let template = json!({
        "definitions": { "short": { "type": "string", "maxLength": 3 } },
        "functions": [{ "namespace": "own", "members": functions }],
        "parameters": { "p": { "type": "string", "defaultValue": "outer" } },
        "variables": { "v": "outer" },
        "resources": [],
        "outputs": { "o": { "type": "string", "value": output } },
    });
    let planned = plan_with(&template, json!({})).map_err(|it| it.to_string())?;
    match planned.outputs(&Answers::new()).map_err(|it| it.to_string())? {
        Step::Done(shown) => Ok(shown[0].value.clone().unwrap()),
        Step::Needs(key) => Err(format!("{key:?}")),
    }
}

fn function(parameters: Value, value: &str) -> Value {
    json!({ "parameters": parameters, "output": { "$ref": "#/definitions/short", "value": value } })
}

#[test]
fn own_functions_see_their_arguments_and_each_other() {
    let p = json!([{ "name": "p", "$ref": "#/definitions/short" }]);
    let check = |functions: Value, output: &str, expected: Result<&str, &str>| {
        let expected = expected.map(Value::from).map_err(str::to_owned);
        assert_eq!(with_functions(functions, output), expected, "{output}");
    };
    let one = json!({
        "twice": function(p.clone(), "[concat(parameters('p'), parameters('p'))]"),
        "more": function(p.clone(), "[concat(own.twice(parameters('P')), 'c')]"),
    });
    check(one.clone(), "[OWN.More('a')]", Ok("aac"));
    check(
        one.clone(),
        "[first(map(createArray('a'), lambda('x', own.twice(lambdaVariables('x')))))]",
        Ok("aa"),
    );
    check(
        one.clone(),
        "[own.twice('ab')]",
        Err(
            "outputs.o: the arguments of own.twice are wrong: the parameter output is out of bounds",
        ),
    );
    check(
        one.clone(),
        "[own.twice(1)]",
        Err(
            "outputs.o: the arguments of own.twice are wrong: the parameter p is of type String, not Integer",
        ),
    );
    check(one.clone(), "[own.twice()]", Err("outputs.o.value: own.twice takes 1 arguments, not 0"));
    check(one, "[own.thrice('a')]", Err("outputs.o.value: the function own.thrice is not known"));
    for (value, expected) in [
        ("[variables('v')]", "the variable v is not declared"),
        ("[parameters('q')]", "the parameter q is not declared"),
        ("[nope()]", "the function nope is not known"),
    ] {
        let path = "functions[0].members.f.output.value";
        let expected = format!("{path}: {expected}");
        check(json!({ "f": function(p.clone(), value) }), "x", Err(&expected));
    }
    for (value, expected) in [
        ("[reference('/a/b', 'v1').x]", "the function reference cannot be used here"),
        ("[newGuid()]", "the function newGuid cannot be used here"),
        ("[string(copyIndex())]", "the function copyIndex cannot be used here"),
    ] {
        let expected = format!("outputs.o: {expected}");
        check(json!({ "f": function(json!([]), value) }), "[own.f()]", Err(&expected));
    }
}

#[test]
fn own_functions_that_call_each_other_without_end_are_stopped() {
    let p = json!([]);
    let deep = |call: &str| format!("[{}{call}{}]", "concat(".repeat(50), ")".repeat(50));
    for (value, other) in [(deep("own.g()"), deep("own.f()")), (deep("own.f()"), String::new())] {
        let functions =
            json!({ "f": function(p.clone(), &value), "g": function(p.clone(), &other) });
        let refused = with_functions(functions, "[own.f()]").unwrap_err();
        assert_eq!(refused, "outputs.o: the expression or its value is nested too deeply");
    }
    // Each calls the next one many times.
    let calls = |name: &str| {
        let all = vec![format!("own.{name}()"); 200];
        format!("[take(concat({}), 1)]", all.join(", "))
    };
    let mut functions = json!({ "f0": function(p.clone(), "x") });
    for n in 1..7 {
        functions[format!("f{n}")] = function(p.clone(), &calls(&format!("f{}", n - 1)));
    }
    let refused = with_functions(functions, "[own.f6()]").unwrap_err();
    assert_eq!(refused, "outputs.o: the expressions of the template take too much work");
}

#[test]
fn values_of_own_types_are_checked_and_their_secrets_hidden() {
    let template = json!({
        "definitions": { "login": { "type": "object", "properties": {
            "name": { "type": "string" }, "password": { "type": "securestring" },
        }}},
        "parameters": { "logins": { "type": "array", "items": { "$ref": "#/definitions/login" } } },
        "resources": [],
        "outputs": { "first": {
            "$ref": "#/definitions/login", "nullable": true,
            "value": "[first(parameters('logins'))]",
        }},
    });
    let given = |value: Value| json!({ "logins": { "value": value } });
    let login = json!([{ "name": "n", "password": "hunter2" }]);
    let planned = plan_with(&template, given(login)).unwrap();
    assert_eq!(planned.parameters()[0].value, Some(json!([{ "name": "n" }])));
    assert_eq!(planned.hidden().text("hunter2"), "***");
    let outputs = planned.outputs(&Answers::new());
    let Ok(Step::Done(outputs)) = outputs else { panic!("{outputs:?}") };
    assert_eq!(outputs[0].value, Some(json!({ "name": "n" })));
    let refused = plan_with(&template, given(json!([{ "name": "n" }]))).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "parameters.logins: the parameter logins[0] lacks the properties [\"password\"]"
    );
    assert!(plan_with(&template, given(json!([]))).unwrap().outputs(&Answers::new()).is_ok());
}

#[test]
fn values_that_grow_without_end_are_stopped() {
    let mut variables = Map::new();
    variables.insert("v0".to_owned(), json!("x"));
    for n in 1..200 {
        let before = n - 1;
        let source = format!("[createArray(variables('v{before}'))]");
        variables.insert(format!("v{n}"), source.into());
    }
    let template = json!({ "variables": variables, "resources": [] });
    let refused = plan_with(&template, json!({})).unwrap_err();
    assert_eq!(refused.reason, ExpressionError::TooDeep.into());
}
