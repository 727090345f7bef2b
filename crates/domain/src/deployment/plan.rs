//! What a template means with its values: which resources, in which order; their bodies once what they refer to is known.
//!
//! Source: Azure Resource Manager, "Define the order for deploying resources", "Resource iteration", "Conditional
//! deployment", "Set name and type for child resources".

mod order;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{ExpressionError, Halt, ReferenceKey, TemplateError, TemplateViolation};
use super::evaluate::{
    Budget, CopyIndex, Evaluator, Fresh, Names, Place, References, text_of, type_wrong,
};
use super::expression::is_expression;
use super::function::join_id;
use super::hidden::Hidden;
use super::index::{Entry, ResourceIndex};
use super::own_function::Library;
use super::parameter::ShownValue;
use super::template::{Declaration, NESTED_TYPE, Template, has_own_template, is_nested};
use crate::limits;
use values::check_kept;

/// A resource that a deployment makes or changes.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedResource {
    /// Its id.
    pub id: Arc<str>,
    /// Its type, with the namespace.
    pub resource_type: String,
    /// Its name, with those of its parents.
    pub name: String,
    /// The version that it is put with.
    pub api_version: String,
    /// The ids of what has to be there before.
    pub depends_on: Vec<Arc<str>>,
    path: String,
    members: Arc<Map<String, Value>>,
    copies: Vec<CopyIndex>,
    /// Whether its condition holds, and it is not only named.
    is_deployed: bool,
    /// What the template calls what has to be there before.
    dependency_names: Vec<String>,
}

/// A template with its values: everything but what it refers to.
#[derive(Debug)]
pub struct Plan {
    place: Place,
    names: Names,
    library: Arc<Library>,
    budget: Budget,
    /// In an order in which they can be deployed.
    resources: Vec<PlannedResource>,
    index: ResourceIndex,
    outputs: Map<String, Value>,
    parameters: Vec<ShownValue>,
    hidden: Hidden,
}

/// A value, or what has to be asked for before there is one.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<T> {
    /// It is there.
    Done(T),
    /// This resource has to be looked at first.
    Needs(ReferenceKey),
}

/// What resources were found to be.
pub type Answers = BTreeMap<ReferenceKey, Value>;

impl Template {
    /// Gives the template its values. Nothing is asked of the outside, and nothing is changed.
    pub fn plan(
        &self,
        given: &Map<String, Value>,
        place: Place,
        fresh: Fresh<'_>,
    ) -> Result<Plan, TemplateViolation> {
        let mut plan = Plan {
            place,
            names: Names::default(),
            library: Arc::clone(&self.library),
            budget: Budget::default(),
            resources: Vec::new(),
            index: ResourceIndex::default(),
            outputs: self.outputs.clone(),
            parameters: Vec::new(),
            hidden: Hidden::default(),
        };
        self.settle_parameters(&mut plan, given, fresh)?;
        self.settle_variables(&mut plan)?;
        for declaration in &self.resources {
            plan.expand(declaration, None)?;
        }
        plan.order()?;
        Ok(plan)
    }
}

fn misplaced(path: impl Into<String>, function: &str) -> TemplateViolation {
    let reason = ExpressionError::FunctionMisplaced(function.to_owned());
    TemplateViolation::at(path, reason)
}

/// What a resource inside another one takes from it.
struct Parent<'a> {
    resource_type: &'a str,
    name: &'a str,
    id: &'a str,
    scope: &'a str,
    copies: &'a [CopyIndex],
}

/// Members that say how a resource is deployed, and are no part of it.
const OF_DEPLOYMENT: [&str; 13] = [
    "type",
    "apiVersion",
    "name",
    "condition",
    "dependsOn",
    "copy",
    "scope",
    "comments",
    "resources",
    "metadata",
    "existing",
    "subscriptionId",
    "resourceGroup",
];

impl PlannedResource {
    /// Whether it is a deployment itself.
    pub fn is_deployment(&self) -> bool {
        self.resource_type.eq_ignore_ascii_case(NESTED_TYPE)
    }
}

impl Plan {
    /// The resources, in an order in which they can be deployed.
    pub fn resources(&self) -> impl Iterator<Item = &PlannedResource> {
        self.resources.iter().filter(|resource| resource.is_deployed)
    }

    /// What nothing that is kept or shown may hold.
    pub const fn hidden(&self) -> &Hidden {
        &self.hidden
    }

    /// The parameters, without secure values.
    pub fn parameters(&self) -> &[ShownValue] {
        &self.parameters
    }

    fn evaluator<'a>(
        &'a self,
        copies: &'a [CopyIndex],
        answers: Option<&'a Answers>,
        fresh: Option<Fresh<'a>>,
    ) -> Evaluator<'a> {
        Evaluator {
            place: &self.place,
            names: &self.names,
            library: &self.library,
            depth_left: limits::EVALUATION_DEPTH_MAX,
            budget: &self.budget,
            copies,
            lambdas: None,
            references: answers.map(|answers| References { index: &self.index, answers }),
            fresh,
        }
    }

    /// A value that the shape of the deployment depends on.
    fn shape(
        &self,
        path: &str,
        copies: &[CopyIndex],
        part: &Value,
    ) -> Result<Value, TemplateViolation> {
        self.evaluator(copies, None, None).value(part).map_err(|halt| halted(path, halt))
    }

    fn text(
        &self,
        path: &str,
        copies: &[CopyIndex],
        part: &Value,
    ) -> Result<String, TemplateViolation> {
        text_of(self.shape(path, copies, part)?).map_err(|error| TemplateViolation::at(path, error))
    }

    /// Adds the resources that a declaration stands for: one, none, or those of a loop.
    fn expand(
        &mut self,
        declaration: &Declaration,
        parent: Option<&Parent<'_>>,
    ) -> Result<(), TemplateViolation> {
        let outer = parent.map_or(&[][..], |parent| parent.copies);
        let Some(copy) = declaration.members.get("copy").filter(|copy| !copy.is_null()) else {
            return self.expand_one(declaration, parent, outer);
        };
        let path = format!("{}.copy", declaration.path);
        let malformed = |what| TemplateViolation::at(path.clone(), TemplateError::Malformed(what));
        let name = match (copy.get("name"), &declaration.symbol) {
            (Some(name), _) => self.text(&path, outer, name)?,
            (None, Some(symbol)) => symbol.clone(),
            (None, None) => return Err(malformed("a loop has a name and a count")),
        };
        if name.len() > limits::LOOP_NAME_BYTES_MAX {
            return Err(malformed("the name of a loop is too long"));
        }
        let mode = copy.get("mode").and_then(Value::as_str).unwrap_or("parallel");
        if !["parallel", "serial"].iter().any(|known| known.eq_ignore_ascii_case(mode)) {
            return Err(malformed("the mode of a loop is parallel or serial"));
        }
        if copy.get("batchSize").is_some_and(|size| size.as_u64().is_none_or(|size| size == 0)) {
            return Err(malformed("the batch size of a loop is a number above zero"));
        }
        let count = self
            .evaluator(outer, None, None)
            .count(copy.get("count").unwrap_or(&Value::Null))
            .map_err(|halt| halted(&format!("{path}.count"), halt))?;
        for called in [Some(&name), declaration.symbol.as_ref()].into_iter().flatten() {
            self.index.declare(called);
        }
        for index in 0..count {
            let mut copies = outer.to_vec();
            copies.push(CopyIndex { name: name.clone(), index });
            self.expand_one(declaration, parent, &copies)?;
        }
        Ok(())
    }

    fn expand_one(
        &mut self,
        declaration: &Declaration,
        parent: Option<&Parent<'_>>,
        copies: &[CopyIndex],
    ) -> Result<(), TemplateViolation> {
        let Declaration { path, symbol, members } = declaration;
        let resource = self.read(path, members, parent, copies);
        let name = members.get("name").and_then(Value::as_str);
        let resource = resource.map_err(|violation| TemplateViolation {
            resource: name.map(str::to_owned),
            ..violation
        })?;
        if self.resources.len() >= limits::TEMPLATE_RESOURCES_MAX {
            let max = limits::TEMPLATE_RESOURCES_MAX;
            return Err(TemplateViolation::at(
                path,
                TemplateError::TooMany { what: "resources", max },
            ));
        }
        self.name_resource(&resource, symbol.as_deref(), parent, copies);
        let (id, name, resource_type) =
            (resource.id.clone(), resource.name.clone(), resource.resource_type.clone());
        self.resources.push(resource);
        let Some(Value::Array(children)) = members.get("resources") else { return Ok(()) };
        let below = Parent {
            resource_type: &resource_type,
            name: &name,
            id: &id,
            scope: &self.scope_of(path, members, parent, copies)?,
            copies,
        };
        for (index, child) in children.iter().enumerate() {
            let members = Arc::new(child.as_object().cloned().unwrap_or_default());
            let path = format!("{path}.resources[{index}]");
            self.expand(&Declaration { path, symbol: None, members }, Some(&below))?;
        }
        Ok(())
    }

    /// Notes everything that other parts of the template may call the resource.
    fn name_resource(
        &mut self,
        resource: &PlannedResource,
        symbol: Option<&str>,
        parent: Option<&Parent<'_>>,
        copies: &[CopyIndex],
    ) {
        let mut names =
            vec![resource.name.clone(), format!("{}/{}", resource.resource_type, resource.name)];
        if parent.is_some() {
            names.extend(resource.name.rsplit('/').next().map(str::to_owned));
        }
        names.extend(copies.last().map(|copy| copy.name.clone()));
        if let Some(symbol) = symbol {
            names.push(symbol.to_owned());
            names.extend(copies.last().map(|copy| format!("{symbol}[{}]", copy.index)));
        }
        let entry = Entry {
            id: Arc::clone(&resource.id),
            resource_type: resource.resource_type.clone(),
            name: resource.name.clone(),
            api_version: resource.api_version.clone(),
        };
        self.index.add(entry, names.iter().map(String::as_str));
    }

    fn read(
        &self,
        path: &str,
        members: &Arc<Map<String, Value>>,
        parent: Option<&Parent<'_>>,
        copies: &[CopyIndex],
    ) -> Result<PlannedResource, TemplateViolation> {
        let text = |name: &str| {
            let part = members.get(name).unwrap_or(&Value::Null);
            self.text(&format!("{path}.{name}"), copies, part)
        };
        if members.contains_key("@options") {
            let reason = TemplateError::Unsupported("the options of resources in templates");
            return Err(TemplateViolation::at(path, reason));
        }
        let (own_type, own_name) = (text("type")?, text("name")?);
        let (resource_type, name) = match parent {
            Some(parent) => (
                format!("{}/{own_type}", parent.resource_type),
                format!("{}/{own_name}", parent.name),
            ),
            None => (own_type, own_name),
        };
        let scope = self.scope_of(path, members, parent, copies)?;
        let names: Vec<&str> = name.split('/').collect();
        let id = join_id(&scope, &resource_type, &names).ok_or_else(|| {
            let (name, resource_type) = (name.clone(), resource_type.clone());
            TemplateViolation::at(
                format!("{path}.name"),
                TemplateError::SegmentLengths { name, resource_type },
            )
        })?;
        if id.len() > limits::RESOURCE_ID_BYTES_MAX || id.contains(is_no_part_of_an_id) {
            let shown = id.chars().take(limits::VALUE_SHOWN_CHARS_MAX).collect();
            return Err(TemplateViolation::at(path, TemplateError::ResourceIdInvalid(shown)));
        }
        Ok(PlannedResource {
            id: id.into(),
            resource_type,
            name,
            api_version: text("apiVersion")?,
            depends_on: Vec::new(),
            path: path.to_owned(),
            members: Arc::clone(members),
            copies: copies.to_vec(),
            is_deployed: self.is_deployed(path, members, copies)?,
            dependency_names: self.dependency_names(path, members, parent, copies)?,
        })
    }

    fn is_deployed(
        &self,
        path: &str,
        members: &Map<String, Value>,
        copies: &[CopyIndex],
    ) -> Result<bool, TemplateViolation> {
        if members.get("existing") == Some(&Value::Bool(true)) {
            return Ok(false);
        }
        let path = format!("{path}.condition");
        let condition = members.get("condition").unwrap_or(&Value::Null);
        let condition = self.shape(&path, copies, condition)?;
        let is_met = if condition.is_null() { Some(true) } else { condition.as_bool() };
        is_met.ok_or_else(|| TemplateViolation::at(path, type_wrong("Boolean", &condition)))
    }

    /// What the template says has to be there before, and a parent, which is always before its children.
    fn dependency_names(
        &self,
        path: &str,
        members: &Map<String, Value>,
        parent: Option<&Parent<'_>>,
        copies: &[CopyIndex],
    ) -> Result<Vec<String>, TemplateViolation> {
        let mut names: Vec<String> =
            parent.map(|parent| parent.id.to_owned()).into_iter().collect();
        let named = members.get("dependsOn").and_then(Value::as_array);
        for (index, part) in named.into_iter().flatten().enumerate() {
            names.push(self.text(&format!("{path}.dependsOn[{index}]"), copies, part)?);
        }
        Ok(names)
    }

    /// What the id of a resource begins with: the deployment's scope, or the one the resource names.
    fn scope_of(
        &self,
        path: &str,
        members: &Map<String, Value>,
        parent: Option<&Parent<'_>>,
        copies: &[CopyIndex],
    ) -> Result<String, TemplateViolation> {
        let named = |name: &str| match members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(part) => self.text(&format!("{path}.{name}"), copies, part).map(Some),
        };
        if let Some(scope) = named("scope")? {
            // An extension of a resource: by its id, or by the part of it after `providers`.
            return match scope.strip_prefix('/') {
                Some(_) => Ok(scope.trim_end_matches('/').to_owned()),
                None => Ok(format!("{}/providers/{scope}", self.place.scope)),
            };
        }
        if let Some(parent) = parent {
            return Ok(parent.scope.to_owned());
        }
        let (subscription, group) = (named("subscriptionId")?, named("resourceGroup")?);
        Ok(match (subscription, group) {
            (None, None) => self.place.scope.clone(),
            (subscription, group) => {
                let subscription =
                    subscription.unwrap_or_else(|| self.place.subscription_id.clone());
                let group = group.map(|group| format!("/resourceGroups/{group}"));
                format!("/subscriptions/{subscription}{}", group.unwrap_or_default())
            }
        })
    }

    /// The body that a resource is put with.
    pub fn body(
        &self,
        resource: &PlannedResource,
        answers: &Answers,
    ) -> Result<Step<Value>, TemplateViolation> {
        let evaluator = self.evaluator(&resource.copies, Some(answers), None);
        let mut body = Map::new();
        for (name, part) in resource.members.as_ref() {
            if OF_DEPLOYMENT.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{}.{name}", resource.path);
            let value = match (name.as_str(), part) {
                ("properties", Value::Object(_)) if is_nested(&resource.members) => {
                    inner_properties(&evaluator, &path, &resource.members)?
                }
                _ => stepped(&path, evaluator.value(part))?,
            };
            match value {
                Step::Done(value) => drop(body.insert(name.clone(), value)),
                Step::Needs(key) => return Ok(Step::Needs(key)),
            }
        }
        Ok(Step::Done(body.into()))
    }

    /// The outputs whose condition holds, without secure values.
    pub fn outputs(&self, answers: &Answers) -> Result<Step<Vec<ShownValue>>, TemplateViolation> {
        let evaluator = self.evaluator(&[], Some(answers), None);
        let mut shown = Vec::new();
        for (name, output) in &self.outputs {
            let path = format!("outputs.{name}");
            match stepped(&path, self.output(&evaluator, name, output)?)? {
                Step::Done(Some(output)) => shown.push(output),
                Step::Done(None) => {}
                Step::Needs(key) => return Ok(Step::Needs(key)),
            }
        }
        check_kept("outputs", &shown)?;
        Ok(Step::Done(shown))
    }

    fn output(
        &self,
        evaluator: &Evaluator<'_>,
        name: &str,
        output: &Value,
    ) -> Result<Result<Option<ShownValue>, Halt>, TemplateViolation> {
        let path = format!("outputs.{name}");
        let at = |reason: TemplateError| TemplateViolation::at(path.as_str(), reason);
        let malformed = |what| at(TemplateError::Malformed(what));
        let members = output.as_object().ok_or_else(|| malformed("an output is an object"))?;
        let types = &self.library.types;
        let shape = types.shape(members).map_err(at)?;
        let value_type =
            shape.value_type().ok_or_else(|| malformed("an output has a type and a value"))?;
        let evaluate = || -> Result<Option<Value>, Halt> {
            if let Some(condition) = members.get("condition")
                && evaluator.value(condition)? == Value::Bool(false)
            {
                return Ok(None);
            }
            if let Some(copy) = members.get("copy").and_then(Value::as_object) {
                let count = evaluator.count(copy.get("count").unwrap_or(&Value::Null))?;
                let input = copy.get("input").unwrap_or(&Value::Null);
                return evaluator.copies_of("", count, input).map(Some);
            }
            evaluator.value(members.get("value").unwrap_or(&Value::Null)).map(Some)
        };
        match evaluate() {
            Ok(None) => Ok(Ok(None)),
            Ok(Some(Value::Null)) if shape.is_nullable() => Ok(Ok(None)),
            Ok(Some(value)) if value_type.covers(&value) => {
                types.check(&self.budget, name, members, &value).map_err(|reason| {
                    if matches!(reason, TemplateError::Expression(_)) {
                        return at(reason);
                    }
                    malformed("the value of an output is not of its type")
                })?;
                let shown = types.shown(members, &value, &mut Hidden::default());
                Ok(Ok(Some(ShownValue::new(name, value_type, shown))))
            }
            Ok(Some(value)) => Err(at(type_wrong(value_type.json_name(), &value).into())),
            Err(halt) => Ok(Err(halt)),
        }
    }
}

/// The properties of a deployment inside this one. A template of its own goes along as it is; any other is evaluated
/// here, and goes along as what it came to.
fn inner_properties(
    evaluator: &Evaluator<'_>,
    path: &str,
    members: &Map<String, Value>,
) -> Result<Step<Value>, TemplateViolation> {
    let has_own = has_own_template(members);
    let mut properties = members.get("properties").cloned().unwrap_or_default();
    let own = properties.as_object_mut().filter(|_| has_own).and_then(|it| it.remove("template"));
    let mut value = match stepped(path, evaluator.value(&properties))? {
        Step::Done(value) => value,
        Step::Needs(key) => return Ok(Step::Needs(key)),
    };
    if let Some(members) = value.as_object_mut() {
        let evaluated = members.remove("template").map(|template| escaped(&template));
        members.extend(own.or(evaluated).map(|template| ("template".to_owned(), template)));
    }
    Ok(Step::Done(value))
}

/// A value as a template writes it, so that reading it gives the value again.
fn escaped(value: &Value) -> Value {
    match value {
        Value::String(text) => escaped_text(text).into(),
        Value::Array(items) => items.iter().map(escaped).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (escaped_text(name), escaped(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn escaped_text(text: &str) -> String {
    let bracket = if is_expression(text) || text.starts_with("[[") { "[" } else { "" };
    format!("{bracket}{text}")
}

fn stepped<T>(path: &str, evaluated: Result<T, Halt>) -> Result<Step<T>, TemplateViolation> {
    match evaluated {
        Ok(value) => Ok(Step::Done(value)),
        Err(Halt::Reference(key)) => Ok(Step::Needs(key)),
        Err(halt) => Err(halted(path, halt)),
    }
}

fn halted(path: &str, halt: Halt) -> TemplateViolation {
    match halt {
        Halt::Error(error) => TemplateViolation::at(path, error),
        Halt::Reference(_) => misplaced(path, "reference"),
        Halt::Pending(name) => TemplateViolation::at(path, ExpressionError::Circular(name)),
    }
}

fn is_no_part_of_an_id(c: char) -> bool {
    c.is_control() || matches!(c, '%' | '\\' | '?' | '#' | '"' | '<' | '>')
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::needless_pass_by_value,
        reason = "tables of cases read best without ceremony"
    )]

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
        let of =
            |rest: &str| plan_with(&template(rest), json!({})).unwrap().outputs(&Answers::new());
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
        for name in
            ["[resourceId('N.X/a', 'two')]", "N.X/a/two", "[concat('N.X/a/', 'TWO')]", "two"]
        {
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
        check(
            one.clone(),
            "[own.twice()]",
            Err("outputs.o.value: own.twice takes 1 arguments, not 0"),
        );
        check(
            one,
            "[own.thrice('a')]",
            Err("outputs.o.value: the function own.thrice is not known"),
        );
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
        for (value, other) in [(deep("own.g()"), deep("own.f()")), (deep("own.f()"), String::new())]
        {
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
}
