//! The types that a template declares for values: by name, by form, and by its own definitions, which refer to each other.
//!
//! Source: Azure Resource Manager, "Type definitions in ARM templates"; what the Bicep compiler writes.

use serde_json::{Map, Value};

use super::error::{TemplateError, TemplateViolation};
use super::evaluate::Budget;
use super::function::{as_text, member, type_name};
use super::hidden::Hidden;
use super::parameter::ValueType;
use crate::limits;

/// A template's definitions, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Types(Map<String, Value>);

/// A declaration with the definitions that it refers to: what an earlier one says counts.
pub(super) struct Shape<'a>(Vec<&'a Map<String, Value>>);

/// Where in a value something stands; written out only for an error.
#[derive(Clone, Copy)]
enum Spot<'a> {
    Whole(&'a str),
    Member(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl Spot<'_> {
    fn name(&self) -> String {
        let mut name = String::new();
        self.write(&mut name);
        name.chars().take(limits::VALUE_SHOWN_CHARS_MAX).collect()
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Whole(name) => out.push_str(name),
            Self::Member(of, name) => {
                of.write(out);
                out.push('.');
                out.push_str(name);
            }
            Self::Item(of, index) => {
                of.write(out);
                out.push_str(&format!("[{index}]"));
            }
        }
    }
}

const BOUNDS: [&str; 4] = ["minLength", "maxLength", "minValue", "maxValue"];

impl<'a> Shape<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.iter().find_map(|layer| layer.get(name)).filter(|value| !value.is_null())
    }

    /// The type, unless any will do.
    pub(super) fn value_type(&self) -> Option<ValueType> {
        self.0.iter().find_map(|layer| ValueType::of(layer))
    }

    /// Whether nothing will do.
    pub(super) fn is_nullable(&self) -> bool {
        self.get("nullable") == Some(&Value::Bool(true))
    }

    fn is_secure(&self) -> bool {
        self.value_type().is_some_and(ValueType::is_secure)
    }

    fn properties(&self) -> Option<&'a Map<String, Value>> {
        self.get("properties").and_then(Value::as_object)
    }

    /// What is declared of a member.
    fn of_member(&self, name: &str) -> Option<&'a Map<String, Value>> {
        let own = self.properties().and_then(|properties| member(properties, name));
        own.or_else(|| self.get("additionalProperties")).and_then(Value::as_object)
    }

    fn prefix(&self) -> &'a [Value] {
        self.get("prefixItems").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// What is declared of an item.
    fn of_item(&self, index: usize) -> Option<&'a Map<String, Value>> {
        self.prefix().get(index).or_else(|| self.get("items")).and_then(Value::as_object)
    }
}

impl Types {
    /// Reads the definitions; each is an object, and refers to others that are there.
    pub(super) fn read(definitions: Map<String, Value>) -> Result<Self, TemplateViolation> {
        let types = Self(definitions);
        for (name, definition) in &types.0 {
            types.check_declaration(&format!("definitions.{name}"), definition)?;
        }
        Ok(types)
    }

    /// Refuses a declaration that refers to what is not defined, or has a type that there is not.
    pub(super) fn check_declaration(
        &self,
        path: &str,
        declaration: &Value,
    ) -> Result<(), TemplateViolation> {
        let malformed = |what| TemplateViolation::at(path, TemplateError::Malformed(what));
        let members = declaration.as_object().ok_or_else(|| malformed("a type is an object"))?;
        self.shape(members).map_err(|reason| TemplateViolation::at(path, reason))?;
        if members.get("type").is_some_and(|it| !it.is_null()) && ValueType::of(members).is_none() {
            return Err(malformed(
                "a type is string, securestring, int, bool, object, secureObject or array",
            ));
        }
        let below =
            |name: &str, value: &Value| self.check_declaration(&format!("{path}.{name}"), value);
        let mapping = members.get("discriminator").and_then(|it| it.get("mapping"));
        for all in [members.get("properties"), mapping].into_iter().flatten() {
            let all = all.as_object().ok_or_else(|| malformed("properties are an object"))?;
            all.iter().try_for_each(|(name, value)| below(name, value))?;
        }
        for name in ["additionalProperties", "items"] {
            if let Some(one) = members.get(name).filter(|it| !it.is_boolean() && !it.is_null()) {
                below(name, one)?;
            }
        }
        let prefix = members.get("prefixItems").and_then(Value::as_array);
        prefix.into_iter().flatten().try_for_each(|one| below("prefixItems", one))
    }

    /// A declaration with all that it refers to.
    pub(super) fn shape<'a>(
        &'a self,
        declaration: &'a Map<String, Value>,
    ) -> Result<Shape<'a>, TemplateError> {
        let mut layers = vec![declaration];
        let mut last = declaration;
        while let Some(reference) = last.get("$ref") {
            let name = reference.as_str().and_then(|it| it.strip_prefix("#/definitions/"));
            let found = name.and_then(|name| {
                self.0.get(&name.replace("~1", "/").replace("~0", "~"))?.as_object()
            });
            last = found.ok_or(TemplateError::Malformed(
                "a type refers to what is not among the definitions",
            ))?;
            layers.push(last);
            if layers.len() > limits::TYPE_REFERENCES_MAX {
                return Err(TemplateError::Malformed("types refer to each other without an end"));
            }
        }
        Ok(Shape(layers))
    }

    /// The shape that a value has to have: where a member of it chooses among several, the chosen one.
    fn chosen<'a>(
        &'a self,
        declaration: &'a Map<String, Value>,
        value: &Value,
    ) -> Result<(Shape<'a>, Option<Choice<'a>>), TemplateError> {
        let mut shape = self.shape(declaration)?;
        let Some(discriminator) = shape.get("discriminator") else { return Ok((shape, None)) };
        let by = discriminator.get("propertyName").and_then(Value::as_str).unwrap_or_default();
        let given = value.as_object().and_then(|members| member(members, by)?.as_str());
        let mapping = discriminator.get("mapping").and_then(Value::as_object);
        let found = mapping.zip(given).and_then(|(mapping, given)| mapping.get(given)?.as_object());
        if let Some(found) = found {
            let mut layers = self.shape(found)?.0;
            layers.append(&mut shape.0);
            return Ok((Shape(layers), None));
        }
        Ok((shape, mapping.map(|mapping| Choice { by, mapping })))
    }

    /// Refuses a value that a declaration does not allow.
    pub(super) fn check(
        &self,
        budget: &Budget,
        name: &str,
        declaration: &Map<String, Value>,
        value: &Value,
    ) -> Result<(), TemplateError> {
        Visit { types: self, budget }.check(&Spot::Whole(name), declaration, value, false)
    }

    /// A value as it may be shown, if it may be; what may not is hidden.
    pub(super) fn shown(
        &self,
        declaration: &Map<String, Value>,
        value: &Value,
        hidden: &mut Hidden,
    ) -> Option<Value> {
        let shape = self.chosen(declaration, value).ok().map(|(shape, _)| shape);
        let Some(shape) = shape.filter(|shape| !shape.is_secure()) else {
            hidden.add(value);
            return None;
        };
        match value {
            Value::Object(members) => {
                let mut shown = Map::new();
                for (name, value) in members {
                    let one = match shape.of_member(name) {
                        Some(declaration) => self.shown(declaration, value, hidden),
                        None => Some(value.clone()),
                    };
                    shown.extend(one.map(|one| (name.clone(), one)));
                }
                Some(shown.into())
            }
            Value::Array(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| match shape.of_item(index) {
                        Some(declaration) => {
                            self.shown(declaration, item, hidden).unwrap_or_default()
                        }
                        None => item.clone(),
                    })
                    .collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Some(value.clone())
            }
        }
    }
}

/// What looking at one declaration for one part of a value takes, beside the bytes that other work is counted in.
const STEP: usize = 16;

/// A choice that a value did not make.
struct Choice<'a> {
    by: &'a str,
    mapping: &'a Map<String, Value>,
}

/// A look at all of a value; each step of it counts as work.
struct Visit<'a> {
    types: &'a Types,
    budget: &'a Budget,
}

impl Visit<'_> {
    fn check(
        &self,
        spot: &Spot<'_>,
        declaration: &Map<String, Value>,
        value: &Value,
        is_hidden: bool,
    ) -> Result<(), TemplateError> {
        self.budget.take(STEP)?;
        let (shape, missed) = self.types.chosen(declaration, value)?;
        if value.is_null() && shape.is_nullable() {
            return Ok(());
        }
        let is_hidden = is_hidden || shape.is_secure();
        if let Some(value_type) = shape.value_type().filter(|it| !it.covers(value)) {
            let (expected, actual) = (value_type.json_name(), type_name(value));
            return Err(TemplateError::ParameterType { name: spot.name(), expected, actual });
        }
        if let (Some(choice), Some(members)) = (missed, value.as_object()) {
            return Err(match member(members, choice.by) {
                None => TemplateError::PropertiesMissing {
                    name: spot.name(),
                    missing: vec![choice.by.to_owned()],
                },
                Some(given) => TemplateError::ParameterNotAllowed {
                    name: Spot::Member(spot, choice.by).name(),
                    value: if is_hidden { String::new() } else { excerpt(given) },
                    allowed: choice.mapping.keys().take(limits::NAMES_SHOWN_MAX).cloned().collect(),
                },
            });
        }
        self.check_allowed(spot, &shape, value, is_hidden)?;
        check_bounds(spot, &shape, value)?;
        match value {
            Value::Object(members) => self.check_members(spot, &shape, members, is_hidden),
            Value::Array(items) => self.check_items(spot, &shape, items, is_hidden),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    /// One of the allowed values, or an array of them. Texts ignore case, as Resource Manager has it.
    fn check_allowed(
        &self,
        spot: &Spot<'_>,
        shape: &Shape<'_>,
        value: &Value,
        is_hidden: bool,
    ) -> Result<(), TemplateError> {
        let allowed = shape.get("allowedValues").and_then(Value::as_array);
        let Some(allowed) = allowed else { return Ok(()) };
        let is_same = |one: &Value, other: &Value| match (one, other) {
            (Value::String(one), Value::String(other)) => one.eq_ignore_ascii_case(other),
            (one, other) => one == other,
        };
        let compared = value.as_array().map_or(1, |items| items.len().saturating_add(1));
        self.budget.take(allowed.len().saturating_mul(compared))?;
        let is_one = |value: &Value| allowed.iter().any(|known| is_same(known, value));
        let are_all = value.as_array().is_some_and(|items| items.iter().all(is_one));
        if is_one(value) || are_all {
            return Ok(());
        }
        Err(TemplateError::ParameterNotAllowed {
            name: spot.name(),
            value: if is_hidden { String::new() } else { excerpt(value) },
            allowed: allowed.iter().take(limits::NAMES_SHOWN_MAX).map(excerpt).collect(),
        })
    }

    fn check_members(
        &self,
        spot: &Spot<'_>,
        shape: &Shape<'_>,
        members: &Map<String, Value>,
        is_hidden: bool,
    ) -> Result<(), TemplateError> {
        let mut missing = Vec::new();
        for (name, declaration) in shape.properties().into_iter().flatten() {
            self.budget.take(STEP)?;
            if members.contains_key(name) {
                continue;
            }
            // Names ignore case, so all of them are looked at.
            self.budget.take(members.len())?;
            let Some(declaration) = declaration.as_object() else { continue };
            let is_optional = self.types.shape(declaration)?.is_nullable();
            if !is_optional && member(members, name).is_none() {
                missing.push(name.clone());
            }
        }
        if !missing.is_empty() {
            missing.truncate(limits::NAMES_SHOWN_MAX);
            return Err(TemplateError::PropertiesMissing { name: spot.name(), missing });
        }
        let is_closed = shape.get("additionalProperties") == Some(&Value::Bool(false));
        let known = shape.properties().map_or(0, Map::len);
        let mut unknown = Vec::new();
        for (name, value) in members {
            if shape.properties().is_some_and(|properties| !properties.contains_key(name)) {
                self.budget.take(known)?;
            }
            match shape.of_member(name) {
                Some(declaration) => {
                    self.check(&Spot::Member(spot, name), declaration, value, is_hidden)?;
                }
                None if is_closed => unknown.push(name),
                None => {}
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let shown = |name: &&String| if is_hidden { "***".to_owned() } else { excerpt_of(name) };
        let unknown = unknown.iter().take(limits::NAMES_SHOWN_MAX).map(shown).collect();
        Err(TemplateError::PropertiesUnknown { name: spot.name(), unknown })
    }

    fn check_items(
        &self,
        spot: &Spot<'_>,
        shape: &Shape<'_>,
        items: &[Value],
        is_hidden: bool,
    ) -> Result<(), TemplateError> {
        let prefix = shape.prefix().len();
        let is_closed = shape.get("items") == Some(&Value::Bool(false));
        let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        let (limit, actual) = (length(prefix), length(items.len()));
        let bound = match actual.cmp(&limit) {
            std::cmp::Ordering::Less => Some("minLength"),
            std::cmp::Ordering::Greater if is_closed => Some("maxLength"),
            std::cmp::Ordering::Greater | std::cmp::Ordering::Equal => None,
        };
        if let Some(bound) = bound {
            return Err(TemplateError::ParameterBounds { name: spot.name(), bound, limit, actual });
        }
        for (index, item) in items.iter().enumerate() {
            if let Some(declaration) = shape.of_item(index) {
                self.check(&Spot::Item(spot, index), declaration, item, is_hidden)?;
            }
        }
        Ok(())
    }
}

fn check_bounds(spot: &Spot<'_>, shape: &Shape<'_>, value: &Value) -> Result<(), TemplateError> {
    let length = match value {
        Value::String(text) => Some(text.chars().count()),
        Value::Array(items) => Some(items.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    let length = length.and_then(|length| i64::try_from(length).ok());
    for bound in BOUNDS {
        let Some(limit) = shape.get(bound).and_then(Value::as_i64) else { continue };
        let actual = if bound.ends_with("Length") { length } else { value.as_i64() };
        let Some(actual) = actual else { continue };
        let is_broken = if bound.starts_with("min") { actual < limit } else { actual > limit };
        if is_broken {
            return Err(TemplateError::ParameterBounds { name: spot.name(), bound, limit, actual });
        }
    }
    Ok(())
}

fn excerpt(value: &Value) -> String {
    excerpt_of(&as_text(value))
}

fn excerpt_of(text: &str) -> String {
    text.chars().take(limits::VALUE_SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::needless_pass_by_value,
        reason = "tables of cases read best without ceremony"
    )]

    use serde_json::json;

    use super::*;
    use crate::deployment::error::ExpressionError;

    /// As the compiler writes them.
    fn types() -> Types {
        let definitions = json!({
            "name": { "type": "string", "minLength": 2, "metadata": { "description": "x" } },
            "kind": { "type": "string", "allowedValues": ["dev", "prod"] },
            "account": {
                "type": "object",
                "properties": {
                    "name": { "$ref": "#/definitions/name" },
                    "kind": { "$ref": "#/definitions/kind", "nullable": true },
                    "tags": { "type": "object", "properties": {}, "additionalProperties": { "type": "string" }, "nullable": true },
                    "next": { "$ref": "#/definitions/account", "nullable": true },
                    "password": { "type": "securestring", "nullable": true },
                },
                "additionalProperties": false,
            },
            "pair": {
                "type": "array",
                "prefixItems": [{ "type": "string" }, { "type": "int" }],
                "items": false,
            },
            "cat": { "type": "object", "properties": { "is": { "type": "string", "allowedValues": ["cat"] }, "lives": { "type": "int" } } },
            "dog": { "type": "object", "properties": { "is": { "type": "string", "allowedValues": ["dog"] } } },
            "pet": {
                "type": "object",
                "discriminator": { "propertyName": "is", "mapping": {
                    "cat": { "$ref": "#/definitions/cat" }, "dog": { "$ref": "#/definitions/dog" },
                }},
            },
        });
        Types::read(definitions.as_object().unwrap().clone()).unwrap()
    }

    fn check(of: &str, value: Value, expected: Result<(), &str>) {
        let declaration = json!({ "$ref": format!("#/definitions/{of}") });
        let budget = Budget::default();
        let checked = types().check(&budget, "p", declaration.as_object().unwrap(), &value);
        assert_eq!(
            checked.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned),
            "{of} {value}"
        );
    }

    #[test]
    fn a_value_has_the_form_of_its_own_type() {
        check("account", json!({ "name": "ab" }), Ok(()));
        check("account", json!({ "name": "ab", "kind": null, "tags": { "a": "b" } }), Ok(()));
        check("account", json!({ "name": "a" }), Err("the parameter p.name is out of bounds"));
        check(
            "account",
            json!({ "name": "ab", "kind": "x" }),
            Err("the parameter p.kind is none of [\"dev\", \"prod\"]"),
        );
        check(
            "account",
            json!({ "kind": "dev" }),
            Err("the parameter p lacks the properties [\"name\"]"),
        );
        check(
            "account",
            json!({ "name": "ab", "other": 1 }),
            Err("the parameter p has the properties [\"other\"], which its type has not"),
        );
        check(
            "account",
            json!({ "name": "ab", "tags": { "a": 1 } }),
            Err("the parameter p.tags.a is of type String, not Integer"),
        );
        check(
            "account",
            json!({ "name": "ab", "next": { "name": "cd", "next": { "name": 1 } } }),
            Err("the parameter p.next.next.name is of type String, not Integer"),
        );
        check("pair", json!(["a", 1]), Ok(()));
        check("pair", json!(["a", "b"]), Err("the parameter p[1] is of type Integer, not String"));
        check("pair", json!(["a", 1, 2]), Err("the parameter p is out of bounds"));
        check("pair", json!(["a"]), Err("the parameter p is out of bounds"));
        check("pet", json!({ "is": "cat", "lives": 9 }), Ok(()));
        check("pet", json!({ "is": "dog" }), Ok(()));
        check(
            "pet",
            json!({ "is": "cat" }),
            Err("the parameter p lacks the properties [\"lives\"]"),
        );
        check(
            "pet",
            json!({ "is": "cow" }),
            Err("the parameter p.is is none of [\"cat\", \"dog\"]"),
        );
        check("pet", json!({}), Err("the parameter p lacks the properties [\"is\"]"));
    }

    #[test]
    fn what_is_secure_inside_a_value_is_not_shown() {
        let declaration = json!({ "type": "array", "items": { "$ref": "#/definitions/account" } });
        let value = json!([{ "name": "ab", "password": "hunter2", "next": { "name": "cd", "password": "sesame" } }]);
        let mut hidden = Hidden::default();
        let shown = types().shown(declaration.as_object().unwrap(), &value, &mut hidden);
        assert_eq!(shown, Some(json!([{ "name": "ab", "next": { "name": "cd" } }])));
        assert_eq!(hidden.text("hunter2 and sesame"), "*** and ***");
        let secure = json!({ "type": "secureObject", "additionalProperties": false, "properties": {
            "kind": { "$ref": "#/definitions/kind", "nullable": true },
        }});
        for value in [json!({ "kind": "hunter2" }), json!({ "hunter2": 1 })] {
            let budget = Budget::default();
            let refused = types().check(&budget, "p", secure.as_object().unwrap(), &value);
            let refused = format!("{:?}", refused.unwrap_err());
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn definitions_lead_somewhere() {
        for definitions in [
            json!({ "a": { "$ref": "#/definitions/b" } }),
            json!({ "a": { "$ref": "https://elsewhere/a" } }),
            json!({ "a": { "$ref": "#/definitions/b" }, "b": { "$ref": "#/definitions/a" } }),
            json!({ "a": { "type": "object", "properties": { "x": { "type": "float" } } } }),
            json!({ "a": { "type": "array", "items": { "$ref": "#/definitions/none" } } }),
            json!({ "a": 1 }),
        ] {
            assert!(
                Types::read(definitions.as_object().unwrap().clone()).is_err(),
                "{definitions}"
            );
        }
    }

    #[test]
    fn looking_at_a_value_is_work() {
        let mut properties = Map::new();
        for n in 0..10_000 {
            properties.insert(format!("p{n}"), json!({ "type": "string", "nullable": true }));
        }
        let declaration =
            json!({ "type": "array", "items": { "type": "object", "properties": properties } });
        let value = json!(vec![json!({}); 10_000]);
        let budget = Budget::default();
        let refused =
            types().check(&budget, "p", declaration.as_object().unwrap(), &value).unwrap_err();
        assert_eq!(refused, ExpressionError::TooMuchWork.into());
    }
}
