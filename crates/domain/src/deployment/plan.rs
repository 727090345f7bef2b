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
mod tests;
