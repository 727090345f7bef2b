//! A template as it was sent: what it declares, with every expression readable and every function known.
//!
//! Source: Azure Resource Manager, "Understand the structure and syntax of ARM templates", "Best practices".

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{ExpressionError, TemplateError, TemplateViolation};
use super::expression::{Call, Expression, TemplateText, parse};
use super::function::{self, member, template_hash};
use super::own_function::Library;
use super::parameter::Parameter;
use super::types::Types;
use crate::limits;

/// A template that can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pub(super) library: Arc<Library>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) variables: Map<String, Value>,
    pub(super) resources: Vec<Declaration>,
    pub(super) outputs: Map<String, Value>,
    /// Tells it from other templates.
    pub(super) hash: String,
}

/// A resource as the template writes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Declaration {
    /// Where it stands.
    pub(super) path: String,
    /// What the template's other parts call it, in the newer language.
    pub(super) symbol: Option<String>,
    /// Shared by all that a loop makes of it.
    pub(super) members: Arc<Map<String, Value>>,
}

/// The type whose resources are deployments themselves.
pub(super) const NESTED_TYPE: &str = "Microsoft.Resources/deployments";

/// Parts of a template that Azure understands and keycard does not.
const UNSUPPORTED: [(&str, &str); 3] = [
    ("imports", "the extensions of templates"),
    ("extensions", "the extensions of templates"),
    ("asserts", "the assertions of templates"),
];

impl Template {
    /// Reads a template and checks what can be checked without values.
    pub fn parse(source: &Value) -> Result<Self, TemplateViolation> {
        let malformed = |what| TemplateViolation::at("", TemplateError::Malformed(what));
        let members = source.as_object().ok_or_else(|| malformed("a template is an object"))?;
        for (name, what) in UNSUPPORTED {
            if members.get(name).is_some_and(|value| !is_empty(value)) {
                return Err(TemplateViolation::at(name, TemplateError::Unsupported(what)));
            }
        }
        let types = section(members, "definitions", limits::TEMPLATE_TYPES_MAX)?;
        let library = Library::read(Types::read(types)?, members.get("functions"))?;
        let parameters = section(members, "parameters", limits::TEMPLATE_PARAMETERS_MAX)?;
        let parameter = |(name, declaration): (&String, &Value)| {
            Parameter::read(&format!("parameters.{name}"), name, declaration, &library.types)
        };
        let template = Self {
            parameters: parameters.iter().map(parameter).collect::<Result<_, _>>()?,
            library: Arc::new(library),
            variables: section(members, "variables", limits::TEMPLATE_VARIABLES_MAX)?,
            resources: declarations(members.get("resources"))?,
            outputs: section(members, "outputs", limits::TEMPLATE_OUTPUTS_MAX)?,
            hash: template_hash(&source.to_string()),
        };
        template.check_expressions(&parameters)?;
        Ok(template)
    }

    /// What an expression may speak of where it stands in the template itself.
    fn visible(&self) -> Visible<'_> {
        Visible {
            library: &self.library,
            parameters: &self.parameters,
            variables: Some(&self.variables),
        }
    }

    fn check_expressions(&self, parameters: &Map<String, Value>) -> Result<(), TemplateViolation> {
        for function in self.library.functions() {
            let parameters = &function.parameters;
            let visible = Visible { library: &self.library, parameters, variables: None };
            visible.check(&function.path, &function.value)?;
        }
        for (name, declaration) in parameters {
            let default = declaration.get("defaultValue").unwrap_or(&Value::Null);
            self.check(&format!("parameters.{name}.defaultValue"), default)?;
        }
        for (name, value) in &self.variables {
            self.check(&format!("variables.{name}"), value)?;
        }
        for declaration in &self.resources {
            self.check_resource(&declaration.path, &declaration.members)?;
        }
        for (name, value) in &self.outputs {
            self.check(&format!("outputs.{name}"), value)?;
            self.library.types.check_declaration(&format!("outputs.{name}"), value)?;
        }
        Ok(())
    }

    fn check_resource(
        &self,
        path: &str,
        members: &Map<String, Value>,
    ) -> Result<(), TemplateViolation> {
        let own = |violation: TemplateViolation| TemplateViolation {
            resource: members.get("name").and_then(Value::as_str).map(str::to_owned),
            ..violation
        };
        for (name, value) in members {
            let below = format!("{path}.{name}");
            match (name.as_str(), value) {
                ("resources", Value::Array(children)) => {
                    for (index, child) in children.iter().enumerate() {
                        let child_path = format!("{below}[{index}]");
                        match child.as_object() {
                            Some(child) => self.check_resource(&child_path, child)?,
                            None => {
                                let reason = TemplateError::Malformed("a resource is an object");
                                return Err(TemplateViolation::at(child_path, reason));
                            }
                        }
                    }
                }
                // Such a template is read when it is deployed.
                ("properties", Value::Object(properties)) if has_own_template(members) => {
                    for (name, value) in properties.iter().filter(|(name, _)| *name != "template") {
                        self.check(&format!("{below}.{name}"), value).map_err(own)?;
                    }
                }
                _ => self.check(&below, value).map_err(own)?,
            }
        }
        Ok(())
    }

    fn check(&self, path: &str, value: &Value) -> Result<(), TemplateViolation> {
        self.visible().check(path, value)
    }
}

/// What an expression may speak of.
struct Visible<'a> {
    library: &'a Library,
    parameters: &'a [Parameter],
    /// The functions of a template see none.
    variables: Option<&'a Map<String, Value>>,
}

impl Visible<'_> {
    /// Reads every expression in a value, without evaluating it.
    fn check(&self, path: &str, value: &Value) -> Result<(), TemplateViolation> {
        match value {
            Value::String(text) => self.check_text(path, text),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| self.check(&format!("{path}[{index}]"), item)),
            Value::Object(members) => members.iter().try_for_each(|(name, value)| {
                self.check_text(path, name)?;
                self.check(&format!("{path}.{name}"), value)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn check_text(&self, path: &str, text: &str) -> Result<(), TemplateViolation> {
        let mut checked = parse(text).and_then(|read| match read {
            TemplateText::Literal(_) => Ok(()),
            TemplateText::Expression(expression) => {
                let mut checked = Ok(());
                calls(&expression, &mut |call| {
                    if checked.is_ok() {
                        checked = self.check_call(call);
                    }
                });
                checked
            }
        });
        if let Err(error) = checked.as_mut() {
            return Err(TemplateViolation::at(path, error.clone()));
        }
        Ok(())
    }

    fn check_call(&self, call: &Call) -> Result<(), ExpressionError> {
        match self.library.find(&call.name) {
            Some(own) => own.check_count(call.arguments.len())?,
            None => function::check(&call.name, call.arguments.len())?,
        }
        let [Expression::Text(name)] = call.arguments.as_slice() else { return Ok(()) };
        let is_declared = |known: &str| known.eq_ignore_ascii_case(name);
        if call.name.eq_ignore_ascii_case("parameters")
            && !self.parameters.iter().any(|parameter| is_declared(&parameter.name))
        {
            return Err(ExpressionError::ParameterUnknown(name.clone()));
        }
        if call.name.eq_ignore_ascii_case("variables") && !self.has_variable(name) {
            return Err(ExpressionError::VariableUnknown(name.clone()));
        }
        Ok(())
    }

    /// A variable stands by its name, or as a loop.
    fn has_variable(&self, name: &str) -> bool {
        let Some(variables) = self.variables else { return false };
        let loops = member(variables, "copy").and_then(Value::as_array);
        let loops = loops.into_iter().flatten().filter_map(|one| one.get("name")?.as_str());
        let names = variables.keys().map(String::as_str);
        names.chain(loops).any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Calls the visitor for each call in an expression.
pub(super) fn calls(expression: &Expression, visit: &mut impl FnMut(&Call)) {
    match expression {
        Expression::Text(_) | Expression::Integer(_) => {}
        Expression::Call(call) => {
            visit(call);
            call.arguments.iter().for_each(|argument| calls(argument, visit));
        }
        Expression::Member { of, name } => {
            calls(of, visit);
            calls(name, visit);
        }
    }
}

/// Whether a resource is a deployment itself.
pub(super) fn is_nested(members: &Map<String, Value>) -> bool {
    let resource_type = members.get("type").and_then(Value::as_str).unwrap_or_default();
    resource_type.eq_ignore_ascii_case(NESTED_TYPE)
}

/// Whether a resource is a deployment whose template speaks of its own parameters, not of those around it.
pub(super) fn has_own_template(members: &Map<String, Value>) -> bool {
    let options = members.get("properties").and_then(|it| it.get("expressionEvaluationOptions"));
    let scope = options.and_then(|options| options.get("scope")?.as_str());
    is_nested(members) && scope.is_some_and(|scope| scope.eq_ignore_ascii_case("inner"))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn section(
    members: &Map<String, Value>,
    name: &'static str,
    max: usize,
) -> Result<Map<String, Value>, TemplateViolation> {
    let section = match members.get(name) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(section)) => section.clone(),
        Some(_) => {
            let reason = TemplateError::Malformed("parameters, variables and outputs are objects");
            return Err(TemplateViolation::at(name, reason));
        }
    };
    if section.len() > max {
        return Err(TemplateViolation::at(name, TemplateError::TooMany { what: name, max }));
    }
    Ok(section)
}

/// An array, or in the newer language an object whose names are symbols.
fn declarations(resources: Option<&Value>) -> Result<Vec<Declaration>, TemplateViolation> {
    let malformed =
        |path: String, what| TemplateViolation::at(path, TemplateError::Malformed(what));
    let declaration =
        |path: String, symbol: Option<String>, resource: &Value| match resource.as_object() {
            Some(members) => Ok(Declaration { path, symbol, members: Arc::new(members.clone()) }),
            None => Err(malformed(path, "a resource is an object")),
        };
    match resources {
        Some(Value::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(index, item)| declaration(format!("resources[{index}]"), None, item))
            .collect(),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(symbol, item)| {
                if symbol.len() > limits::LOOP_NAME_BYTES_MAX {
                    let reason = TemplateError::Malformed("the symbol of a resource is too long");
                    return Err(TemplateViolation::at("resources", reason));
                }
                declaration(format!("resources.{symbol}"), Some(symbol.clone()), item)
            })
            .collect(),
        _ => Err(malformed(String::new(), "a template has resources")),
    }
}
