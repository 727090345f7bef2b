//! The functions of template expressions. One file per family: a table of name, number of arguments, and rule.
//!
//! Source: Azure Resource Manager, "ARM template functions".

mod collection;
mod date;
mod encoding;
mod hash;
mod logic;
mod number;
mod place;
mod text;

use serde_json::{Map, Value};

use super::error::{ExpressionError, Halt};
use super::evaluate::Evaluator;
pub(super) use hash::template_hash;
pub(super) use place::join_id;

/// A function.
pub(super) struct Function {
    name: &'static str,
    /// Least and greatest number of arguments.
    arity: (usize, usize),
    rule: Rule,
}

/// How a function finds its value.
#[derive(Clone, Copy)]
enum Rule {
    /// From its arguments alone.
    Pure(fn(&Arguments<'_>) -> Result<Value, ExpressionError>),
    /// With the deployment around it.
    Placed(fn(&Evaluator<'_>, &Arguments<'_>) -> Result<Value, Halt>),
}

/// As many arguments as one likes.
const MANY: usize = usize::MAX;

const fn pure(
    name: &'static str,
    arity: (usize, usize),
    rule: fn(&Arguments<'_>) -> Result<Value, ExpressionError>,
) -> Function {
    Function { name, arity, rule: Rule::Pure(rule) }
}

const fn placed(
    name: &'static str,
    arity: (usize, usize),
    rule: fn(&Evaluator<'_>, &Arguments<'_>) -> Result<Value, Halt>,
) -> Function {
    Function { name, arity, rule: Rule::Placed(rule) }
}

const FAMILIES: &[&[Function]] = &[
    collection::FUNCTIONS,
    date::FUNCTIONS,
    encoding::FUNCTIONS,
    hash::FUNCTIONS,
    logic::FUNCTIONS,
    number::FUNCTIONS,
    place::FUNCTIONS,
    text::FUNCTIONS,
];

/// Functions of Azure that keycard does not have.
const UNSUPPORTED: &[&str] = &[
    "cidrHost",
    "cidrSubnet",
    "dataUri",
    "dataUriToString",
    "filter",
    "getSecret",
    "groupBy",
    "lambda",
    "lambdaVariables",
    "managementGroup",
    "map",
    "mapValues",
    "parseCidr",
    "pickZones",
    "providers",
    "reduce",
    "references",
    "sort",
    "toObject",
];

/// The function of this name, for so many arguments. Names ignore case.
pub(super) fn find(name: &str, count: usize) -> Result<&'static Function, ExpressionError> {
    let found =
        FAMILIES.iter().copied().flatten().find(|known| known.name.eq_ignore_ascii_case(name));
    let Some(function) = found else {
        let is_list = name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("list"));
        let is_known = UNSUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(name));
        return Err(if is_known || (is_list && name.len() > 4) {
            ExpressionError::FunctionUnsupported(name.to_owned())
        } else {
            ExpressionError::FunctionUnknown(name.to_owned())
        });
    };
    let (least, most) = function.arity;
    if (least..=most).contains(&count) {
        return Ok(function);
    }
    let expected = match (least, most) {
        (least, most) if least == most => least.to_string(),
        (least, MANY) => format!("at least {least}"),
        (least, most) => format!("{least} to {most}"),
    };
    Err(ExpressionError::ArgumentCount {
        function: function.name.to_owned(),
        expected,
        actual: count,
    })
}

impl Function {
    /// The function's value.
    pub(super) fn apply(
        &self,
        evaluator: &Evaluator<'_>,
        values: Vec<Value>,
    ) -> Result<Value, Halt> {
        let arguments = Arguments { function: self.name, values };
        match self.rule {
            Rule::Pure(rule) => Ok(rule(&arguments)?),
            Rule::Placed(rule) => rule(evaluator, &arguments),
        }
    }
}

/// The values that a function is given.
pub(super) struct Arguments<'a> {
    function: &'a str,
    values: Vec<Value>,
}

impl Arguments<'_> {
    fn invalid(&self, reason: impl Into<String>) -> ExpressionError {
        ExpressionError::ArgumentInvalid {
            function: self.function.to_owned(),
            reason: reason.into(),
        }
    }

    fn wrong(&self, index: usize, expected: &str) -> ExpressionError {
        let actual = self.values.get(index).map_or("Null", type_name);
        let number = index + 1;
        self.invalid(format!(
            "argument {number} is expected to be of type '{expected}' and is of type '{actual}'"
        ))
    }

    fn value(&self, index: usize) -> &Value {
        self.values.get(index).unwrap_or(&Value::Null)
    }

    fn text(&self, index: usize) -> Result<&str, ExpressionError> {
        self.value(index).as_str().ok_or_else(|| self.wrong(index, "String"))
    }

    fn integer(&self, index: usize) -> Result<i64, ExpressionError> {
        self.value(index).as_i64().ok_or_else(|| self.wrong(index, "Integer"))
    }

    /// A whole number that is no less than zero.
    fn count(&self, index: usize) -> Result<usize, ExpressionError> {
        let number = self.integer(index)?;
        usize::try_from(number).map_err(|_| self.invalid("a length or index is less than zero"))
    }

    fn boolean(&self, index: usize) -> Result<bool, ExpressionError> {
        self.value(index).as_bool().ok_or_else(|| self.wrong(index, "Boolean"))
    }

    fn array(&self, index: usize) -> Result<&[Value], ExpressionError> {
        self.value(index).as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(index, "Array"))
    }

    fn object(&self, index: usize) -> Result<&Map<String, Value>, ExpressionError> {
        self.value(index).as_object().ok_or_else(|| self.wrong(index, "Object"))
    }

    /// All arguments as texts.
    fn texts(&self) -> Result<Vec<&str>, ExpressionError> {
        (0..self.values.len()).map(|index| self.text(index)).collect()
    }
}

/// What Resource Manager calls the type of a value.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(number) if number.is_f64() => "Float",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    }
}

/// A value as text: a string is itself, a boolean begins with a capital as in .NET, an object is its JSON.
pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// The member of an object by its name, which ignores case.
pub(super) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        let mut all = object.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}
