//! The functions that a template declares: of their arguments alone, and of each other.
//!
//! Source: Azure Resource Manager, "User-defined functions in ARM template"; what the Bicep compiler writes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::{ExpressionError, Halt, TemplateError, TemplateViolation};
use super::evaluate::{Evaluator, Names, weight};
use super::expression::Expression;
use super::parameter::Parameter;
use super::types::Types;
use crate::limits;

/// What a template declares for its expressions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Library {
    pub(super) types: Types,
    /// By namespace and name, in lower case.
    functions: BTreeMap<String, OwnFunction>,
}

/// A function that the template declares.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OwnFunction {
    /// As the template writes it.
    name: String,
    /// Where its value stands in the template.
    pub(super) path: String,
    pub(super) parameters: Vec<Parameter>,
    output: Map<String, Value>,
    pub(super) value: Value,
}

impl Library {
    /// Reads the functions of a template.
    pub(super) fn read(types: Types, declared: Option<&Value>) -> Result<Self, TemplateViolation> {
        let malformed =
            |path: &str, what| TemplateViolation::at(path, TemplateError::Malformed(what));
        let mut functions = BTreeMap::new();
        let spaces = match declared {
            None | Some(Value::Null) => &[][..],
            Some(Value::Array(spaces)) => spaces.as_slice(),
            Some(_) => return Err(malformed("functions", "functions are an array")),
        };
        for (index, space) in spaces.iter().enumerate() {
            let path = format!("functions[{index}]");
            let namespace = space.get("namespace").and_then(Value::as_str);
            let members = space.get("members").and_then(Value::as_object);
            let (Some(namespace), Some(members)) = (namespace, members) else {
                return Err(malformed(&path, "functions have a namespace and members"));
            };
            for (name, declaration) in members {
                let path = format!("{path}.members.{name}");
                let name = format!("{namespace}.{name}");
                let function = OwnFunction::read(&path, name, declaration, &types)?;
                if functions.insert(function.name.to_lowercase(), function).is_some() {
                    return Err(malformed(&path, "a function is declared once"));
                }
                if functions.len() > limits::TEMPLATE_FUNCTIONS_MAX {
                    let max = limits::TEMPLATE_FUNCTIONS_MAX;
                    let reason = TemplateError::TooMany { what: "functions", max };
                    return Err(TemplateViolation::at(path, reason));
                }
            }
        }
        Ok(Self { types, functions })
    }

    /// The function of this name, which ignores case.
    pub(super) fn find(&self, name: &str) -> Option<&OwnFunction> {
        // The functions of the language have no namespace.
        name.contains('.').then(|| self.functions.get(&name.to_lowercase())).flatten()
    }

    /// All of them.
    pub(super) fn functions(&self) -> impl Iterator<Item = &OwnFunction> {
        self.functions.values()
    }
}

/// What a call takes beside what its value takes.
const CALL: usize = 64;

impl OwnFunction {
    fn read(
        path: &str,
        name: String,
        declaration: &Value,
        types: &Types,
    ) -> Result<Self, TemplateViolation> {
        let malformed = |what| TemplateViolation::at(path, TemplateError::Malformed(what));
        let parameters = declaration.get("parameters").and_then(Value::as_array);
        let parameter = |(index, declaration): (usize, &Value)| {
            let path = format!("{path}.parameters[{index}]");
            match declaration.get("name").and_then(Value::as_str) {
                Some(name) => Parameter::read(&path, name, declaration, types),
                None => Err(malformed("the parameter of a function has a name")),
            }
        };
        let output = declaration.get("output").and_then(Value::as_object);
        let output = output.ok_or_else(|| malformed("a function has an output"))?;
        let value = output.get("value").ok_or_else(|| malformed("an output has a value"))?;
        let mut output_type = output.clone();
        output_type.remove("value");
        types.check_declaration(&format!("{path}.output"), &output_type.clone().into())?;
        Ok(Self {
            name,
            path: format!("{path}.output.value"),
            parameters: parameters
                .into_iter()
                .flatten()
                .enumerate()
                .map(parameter)
                .collect::<Result<_, _>>()?,
            output: output_type,
            value: value.clone(),
        })
    }

    /// Refuses another number of arguments than the function takes.
    pub(super) fn check_count(&self, actual: usize) -> Result<(), ExpressionError> {
        let expected = self.parameters.len();
        if actual == expected {
            return Ok(());
        }
        let (function, expected) = (self.name.clone(), expected.to_string());
        Err(ExpressionError::ArgumentCount { function, expected, actual })
    }

    /// The function's value: it sees its arguments and nothing around it.
    pub(super) fn apply(
        &self,
        evaluator: &Evaluator<'_>,
        arguments: &[Expression],
    ) -> Result<Value, Halt> {
        self.check_count(arguments.len())?;
        evaluator.budget.take(CALL)?;
        let types = &evaluator.library.types;
        let invalid = |reason: TemplateError| {
            if let TemplateError::Expression(error) = reason {
                return error;
            }
            let (function, reason) = (self.name.clone(), reason.to_string());
            ExpressionError::ArgumentInvalid { function, reason }
        };
        let mut names = Names::default();
        for (parameter, argument) in self.parameters.iter().zip(arguments) {
            let value = evaluator.expression(argument)?;
            parameter.check(types, evaluator.budget, &value).map_err(invalid)?;
            names.parameters.insert(parameter.name.to_lowercase(), Some(value));
        }
        let inside = Evaluator {
            names: &names,
            copies: &[],
            lambdas: None,
            references: None,
            fresh: None,
            ..*evaluator
        };
        let value = inside.value(&self.value)?;
        weight(&value)?;
        types.check(evaluator.budget, "output", &self.output, &value).map_err(invalid)?;
        Ok(value)
    }
}
