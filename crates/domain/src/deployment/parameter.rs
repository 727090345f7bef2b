//! The parameters of a template: what it declares, and the values a deployment gives them.
//!
//! Source: Azure Resource Manager, "Parameters in ARM templates", "Data types in ARM templates".

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{TemplateError, TemplateViolation};
use super::evaluate::Budget;
use super::function::type_name;
use super::types::Types;

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
    /// Shows what may be shown of a value, by its type.
    pub(super) fn new(name: &str, value_type: ValueType, value: Option<Value>) -> Self {
        let value = value.filter(|_| !value_type.is_secure());
        Self { name: name.to_owned(), value_type, value }
    }
}

/// A declared parameter, of a template or of one of its functions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) value_type: ValueType,
    pub(super) default: Option<Value>,
    pub(super) declaration: Map<String, Value>,
    is_nullable: bool,
}

impl Parameter {
    /// Reads a declaration, which may refer to definitions.
    pub(super) fn read(
        path: &str,
        name: &str,
        declaration: &Value,
        types: &Types,
    ) -> Result<Self, TemplateViolation> {
        let malformed = |what| TemplateViolation::at(path, TemplateError::Malformed(what));
        let members =
            declaration.as_object().ok_or_else(|| malformed("a parameter is an object"))?;
        let shape = types.shape(members).map_err(|reason| TemplateViolation::at(path, reason))?;
        let value_type = shape
            .value_type()
            .ok_or_else(|| malformed("a parameter has a type: string, securestring, int, bool, object, secureObject or array"))?;
        types.check_declaration(path, declaration)?;
        Ok(Self {
            name: name.to_owned(),
            value_type,
            default: members.get("defaultValue").cloned(),
            is_nullable: shape.is_nullable(),
            declaration: members.clone(),
        })
    }

    /// Whether a deployment may leave it out.
    pub(super) fn default_value(&self) -> Option<Value> {
        self.default.clone().or_else(|| self.is_nullable.then_some(Value::Null))
    }

    /// Refuses a value that the declaration does not allow.
    pub(super) fn check(
        &self,
        types: &Types,
        budget: &Budget,
        value: &Value,
    ) -> Result<(), TemplateError> {
        types.check(budget, &self.name, &self.declaration, value)
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
        let types = Types::default();
        let parameter = Parameter::read("p", "p", &declaration, &types).unwrap();
        let checked = parameter.check(&types, &Budget::default(), &value);
        let checked = checked.map_err(|error| error.to_string());
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
        let types = Types::default();
        let parameter = Parameter::read("p", "p", &declaration, &types).unwrap();
        let budget = Budget::default();
        let refused = parameter.check(&types, &budget, &json!("hunter2")).unwrap_err();
        assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
        let shown = ShownValue::new("p", parameter.value_type, Some(json!("hunter2")));
        assert_eq!(shown.value, None);
    }
}
