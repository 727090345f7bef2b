//! The parameters of a template: what it declares, and the values a deployment gives them.
//!
//! Source: Azure Resource Manager, "Parameters in ARM templates", "Data types in ARM templates".

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{TemplateError, TemplateViolation};
use super::function::{as_text, type_name};
use crate::limits;

/// The type of a parameter or an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueType {
    /// Text.
    String,
    /// Text that is never shown.
    SecureString,
    /// A whole number.
    Int,
    /// True or false.
    Bool,
    /// Members by name.
    Object,
    /// An object that is never shown.
    SecureObject,
    /// Items in order.
    Array,
}

impl ValueType {
    const ALL: [Self; 7] = [
        Self::String,
        Self::SecureString,
        Self::Int,
        Self::Bool,
        Self::Object,
        Self::SecureObject,
        Self::Array,
    ];

    /// The type's name as answers write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::SecureString => "SecureString",
            Self::Int => "Int",
            Self::Bool => "Bool",
            Self::Object => "Object",
            Self::SecureObject => "SecureObject",
            Self::Array => "Array",
        }
    }

    /// Whether values of the type are never shown and never kept.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::SecureString | Self::SecureObject)
    }

    /// The type that a declaration names.
    pub(super) fn of(declaration: &Map<String, Value>) -> Option<Self> {
        let name = declaration.get("type")?.as_str()?;
        Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// What Resource Manager calls the values of the type.
    pub(super) const fn json_name(self) -> &'static str {
        match self {
            Self::String | Self::SecureString => "String",
            Self::Int => "Integer",
            Self::Bool => "Boolean",
            Self::Object | Self::SecureObject => "Object",
            Self::Array => "Array",
        }
    }

    pub(super) fn covers(self, value: &Value) -> bool {
        type_name(value) == self.json_name()
    }
}

/// A value as a deployment shows it: without the value where its type is secure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownValue {
    /// The parameter's or output's name.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// Its value, unless it is secure.
    pub value: Option<Value>,
}

impl ShownValue {
    pub(super) fn new(name: &str, value_type: ValueType, value: Value) -> Self {
        let value = (!value_type.is_secure()).then_some(value);
        Self { name: name.to_owned(), value_type, value }
    }
}

/// A declared parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) value_type: ValueType,
    pub(super) default: Option<Value>,
    allowed: Option<Vec<Value>>,
    /// `minLength`, `maxLength`, `minValue`, `maxValue`, as far as they are there.
    bounds: Vec<(&'static str, i64)>,
    is_nullable: bool,
}

const BOUNDS: [&str; 4] = ["minLength", "maxLength", "minValue", "maxValue"];

impl Parameter {
    /// Reads a declaration.
    pub(super) fn read(name: &str, declaration: &Value) -> Result<Self, TemplateViolation> {
        let path = format!("parameters.{name}");
        let malformed = |what| TemplateViolation::at(path.clone(), TemplateError::Malformed(what));
        let members =
            declaration.as_object().ok_or_else(|| malformed("a parameter is an object"))?;
        if members.contains_key("$ref") {
            let reason = TemplateError::Unsupported("the definition of own types");
            return Err(TemplateViolation::at(path, reason));
        }
        let value_type = ValueType::of(members)
            .ok_or_else(|| malformed("a parameter has a type: string, securestring, int, bool, object, secureObject or array"))?;
        let bound = |name: &'static str| Some((name, members.get(name)?.as_i64()?));
        Ok(Self {
            name: name.to_owned(),
            value_type,
            default: members.get("defaultValue").cloned(),
            allowed: members.get("allowedValues").and_then(Value::as_array).cloned(),
            bounds: BOUNDS.into_iter().filter_map(bound).collect(),
            is_nullable: members.get("nullable") == Some(&Value::Bool(true)),
        })
    }

    /// Whether a deployment may leave it out.
    pub(super) fn default_value(&self) -> Option<Value> {
        self.default.clone().or_else(|| self.is_nullable.then_some(Value::Null))
    }

    /// Refuses a value that the declaration does not allow.
    pub(super) fn check(&self, value: &Value) -> Result<(), TemplateError> {
        if self.is_nullable && value.is_null() {
            return Ok(());
        }
        let name = self.name.clone();
        if !self.value_type.covers(value) {
            let (expected, actual) = (self.value_type.json_name(), type_name(value));
            return Err(TemplateError::ParameterType { name, expected, actual });
        }
        self.check_allowed(value)?;
        let length = match value {
            Value::String(text) => Some(text.chars().count()),
            Value::Array(items) => Some(items.len()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        };
        let length = length.and_then(|length| i64::try_from(length).ok());
        for (bound, limit) in &self.bounds {
            let actual = if bound.ends_with("Length") { length } else { value.as_i64() };
            let Some(actual) = actual else { continue };
            let is_broken =
                if bound.starts_with("min") { actual < *limit } else { actual > *limit };
            if is_broken {
                return Err(TemplateError::ParameterBounds { name, bound, limit: *limit, actual });
            }
        }
        Ok(())
    }

    /// One of the allowed values, or an array of them. Texts ignore case, as Resource Manager has it.
    fn check_allowed(&self, value: &Value) -> Result<(), TemplateError> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let is_same = |one: &Value, other: &Value| match (one, other) {
            (Value::String(one), Value::String(other)) => one.eq_ignore_ascii_case(other),
            (one, other) => one == other,
        };
        let is_one = |value: &Value| allowed.iter().any(|known| is_same(known, value));
        let are_all = value.as_array().is_some_and(|items| items.iter().all(is_one));
        if is_one(value) || are_all {
            return Ok(());
        }
        let shown =
            |value: &Value| as_text(value).chars().take(limits::VALUE_SHOWN_CHARS_MAX).collect();
        Err(TemplateError::ParameterNotAllowed {
            name: self.name.clone(),
            value: if self.value_type.is_secure() { String::new() } else { shown(value) },
            allowed: allowed.iter().take(limits::NAMES_SHOWN_MAX).map(shown).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::needless_pass_by_value,
        reason = "tables of cases read best without ceremony"
    )]

    use super::*;
    use serde_json::json;

    fn check(declaration: Value, value: Value, expected: Result<(), &str>) {
        let parameter = Parameter::read("p", &declaration).unwrap();
        let checked = parameter.check(&value).map_err(|error| error.to_string());
        assert_eq!(checked, expected.map_err(str::to_owned), "{declaration} {value}");
    }

    #[test]
    fn a_value_fits_its_declaration_or_is_refused() {
        check(json!({ "type": "string" }), json!("x"), Ok(()));
        check(
            json!({ "type": "INT" }),
            json!("1"),
            Err("the parameter p is of type Integer, not String"),
        );
        check(json!({ "type": "bool" }), json!(true), Ok(()));
        check(json!({ "type": "string", "allowedValues": ["Dev"] }), json!("dev"), Ok(()));
        check(
            json!({ "type": "string", "allowedValues": ["Dev"] }),
            json!("x"),
            Err("the parameter p is none of [\"Dev\"]"),
        );
        check(json!({ "type": "array", "allowedValues": [1, 2] }), json!([2, 1]), Ok(()));
        for (declaration, value) in [
            (json!({ "type": "string", "minLength": 2 }), json!("x")),
            (json!({ "type": "array", "maxLength": 1 }), json!([1, 2])),
            (json!({ "type": "int", "minValue": 2 }), json!(1)),
            (json!({ "type": "int", "maxValue": 2 }), json!(3)),
        ] {
            check(declaration, value, Err("the parameter p is out of bounds"));
        }
        check(json!({ "type": "string", "nullable": true }), Value::Null, Ok(()));
    }

    #[test]
    fn a_secure_value_is_shown_nowhere() {
        let declaration = json!({ "type": "secureString", "allowedValues": ["a"] });
        let parameter = Parameter::read("p", &declaration).unwrap();
        let refused = parameter.check(&json!("hunter2")).unwrap_err();
        assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
        let shown = ShownValue::new("p", parameter.value_type, json!("hunter2"));
        assert_eq!(shown.value, None);
    }
}
