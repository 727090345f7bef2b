//! Finds the value of a template's text, object or array: every expression in it replaced by what it stands for.
//!
//! Pure: what has to be asked for outside stops the evaluation, and it is begun again once it is known.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};
use time::UtcDateTime;

use super::error::{ExpressionError, Halt, ReferenceKey};
use super::expression::{Call, Expression, TemplateText, parse};
use super::function::{self, member, type_name};
use super::index::ResourceIndex;
use super::own_function::Library;
use crate::entropy::Entropy;
use crate::limits;

/// Where a deployment is, in the shapes that templates see.
#[derive(Clone, Debug)]
pub struct Place {
    /// What ids of its resources begin with.
    pub scope: String,
    /// The subscription's id.
    pub subscription_id: String,
    /// What `deployment()` is.
    pub deployment: Value,
    /// What `environment()` is.
    pub environment: Value,
    /// What `subscription()` is.
    pub subscription: Value,
    /// What `deployer()` is.
    pub deployer: Value,
    /// What `tenant()` is.
    pub tenant: Value,
    /// What `resourceGroup()` is, in a deployment to one.
    pub resource_group: Option<Value>,
}

/// What is new in each deployment.
#[derive(Clone, Copy, Debug)]
pub struct Fresh<'a> {
    /// The moment.
    pub now: UtcDateTime,
    /// Gives ids.
    pub entropy: &'a dyn Entropy,
}

/// The work that the expressions of a deployment may still take.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU64::new(limits::EXPRESSION_WORK_MAX))
    }
}

impl Budget {
    pub(super) fn take(&self, work: usize) -> Result<(), ExpressionError> {
        let work = u64::try_from(work).unwrap_or(u64::MAX);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(work));
        taken.map(drop).map_err(|_| ExpressionError::TooMuchWork)
    }
}

/// The values of parameters and variables, by name in lower case; `None` while a value is not known yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) parameters: BTreeMap<String, Option<Value>>,
    pub(super) variables: BTreeMap<String, Option<Value>>,
}

/// What is known of a name.
pub(super) enum Named<'a> {
    Known(&'a Value),
    Pending,
    Unknown,
}

impl Names {
    pub(super) fn parameter(&self, name: &str) -> Named<'_> {
        named(&self.parameters, name)
    }

    pub(super) fn variable(&self, name: &str) -> Named<'_> {
        named(&self.variables, name)
    }
}

fn named<'a>(values: &'a BTreeMap<String, Option<Value>>, name: &str) -> Named<'a> {
    match values.get(&name.to_lowercase()) {
        Some(Some(value)) => Named::Known(value),
        Some(None) => Named::Pending,
        None => Named::Unknown,
    }
}

/// A loop that the value stands in, and its present position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CopyIndex {
    pub(super) name: String,
    pub(super) index: usize,
}

/// What `reference` may look at.
#[derive(Clone, Copy)]
pub(super) struct References<'a> {
    pub(super) index: &'a ResourceIndex,
    pub(super) answers: &'a BTreeMap<ReferenceKey, Value>,
}

/// What a lambda is applied to, by name, inside what the lambdas around it are. Nothing is copied: a lambda can be applied
/// to many items, and stand inside others.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) bound: &'a [(&'a str, &'a Value)],
    pub(super) outer: Option<&'a Self>,
}

impl<'a> Frame<'a> {
    /// What the innermost variable of this name is.
    pub(super) fn find(&self, name: &str) -> Option<&'a Value> {
        let own = self.bound.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        own.map(|(_, value)| *value).or_else(|| self.outer.and_then(|outer| outer.find(name)))
    }
}

/// Everything an expression can see.
#[derive(Clone, Copy)]
pub(super) struct Evaluator<'a> {
    pub(super) place: &'a Place,
    pub(super) names: &'a Names,
    /// What the template declares for its expressions.
    pub(super) library: &'a Library,
    /// How much deeper it may go, calls of own functions included.
    pub(super) depth_left: usize,
    pub(super) budget: &'a Budget,
    /// The loops around the value, the innermost last.
    pub(super) copies: &'a [CopyIndex],
    /// What the lambdas around the value are applied to.
    pub(super) lambdas: Option<&'a Frame<'a>>,
    /// Absent where the template's shape must not depend on what there is.
    pub(super) references: Option<References<'a>>,
    /// Present in the defaults of parameters.
    pub(super) fresh: Option<Fresh<'a>>,
}

impl Evaluator<'_> {
    /// The value of a part of the template.
    pub(super) fn value(&self, part: &Value) -> Result<Value, Halt> {
        self.budget.take(1)?;
        match part {
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                let deeper = self.deeper()?;
                items.iter().map(|item| deeper.value(item)).collect()
            }
            Value::Object(members) => self.deeper()?.object(members).map(Value::Object),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(part.clone()),
        }
    }

    /// One step further down.
    fn deeper(&self) -> Result<Evaluator<'_>, ExpressionError> {
        let depth_left = self.depth_left.checked_sub(1).ok_or(ExpressionError::TooDeep)?;
        Ok(Evaluator { depth_left, ..*self })
    }

    /// The value of a string of the template.
    pub(super) fn text(&self, text: &str) -> Result<Value, Halt> {
        self.budget.take(text.len())?;
        match parse(text)? {
            TemplateText::Literal(literal) => Ok(literal.into()),
            TemplateText::Expression(expression) => self.expression(&expression),
        }
    }

    /// Names of members can be expressions too; a member `copy` makes arrays of others.
    fn object(&self, members: &Map<String, Value>) -> Result<Map<String, Value>, Halt> {
        let mut evaluated = Map::new();
        for (name, value) in members {
            match loops(name, value) {
                Some(loops) => {
                    for one in loops {
                        let (name, items) = self.repeated(one)?;
                        evaluated.insert(name, items);
                    }
                }
                None => {
                    let name = text_of(self.text(name)?)?;
                    evaluated.insert(name, self.value(value)?);
                }
            }
        }
        Ok(evaluated)
    }

    /// The array that a loop of properties makes.
    fn repeated(&self, one: &Map<String, Value>) -> Result<(String, Value), Halt> {
        let Some(Value::String(name)) = one.get("name") else {
            return Err(type_wrong("String", &Value::Null).into());
        };
        let count = self.count(one.get("count").unwrap_or(&Value::Null))?;
        let input = one.get("input").unwrap_or(&Value::Null);
        Ok((name.clone(), self.copies_of(name, count, input)?))
    }

    /// The values of an input at each position of a loop.
    pub(super) fn copies_of(&self, name: &str, count: usize, input: &Value) -> Result<Value, Halt> {
        if name.len() > limits::LOOP_NAME_BYTES_MAX {
            return Err(ExpressionError::TooLong.into());
        }
        let mut items = Vec::new();
        for index in 0..count {
            let mut copies = self.copies.to_vec();
            copies.push(CopyIndex { name: name.to_owned(), index });
            items.push(Evaluator { copies: &copies, ..*self }.value(input)?);
        }
        Ok(items.into())
    }

    /// The number of times that a loop goes round.
    pub(super) fn count(&self, part: &Value) -> Result<usize, Halt> {
        let value = self.value(part)?;
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        match count {
            Some(count) if count <= limits::COPY_COUNT_MAX => Ok(count),
            Some(_) => Err(ExpressionError::TooMuchWork.into()),
            None => Err(type_wrong("Integer", &value).into()),
        }
    }

    pub(super) fn expression(&self, expression: &Expression) -> Result<Value, Halt> {
        match expression {
            Expression::Text(text) => {
                self.budget.take(text.len())?;
                Ok(text.as_str().into())
            }
            Expression::Integer(value) => Ok((*value).into()),
            Expression::Call(call) => self.deeper()?.call(call),
            Expression::Member { of, name } => {
                // A member is a step down the tree as a call is: both take stack.
                let deeper = self.deeper()?;
                let value = match deeper.looked_at(expression)? {
                    Some(value) => value.clone(),
                    None => {
                        let (of, name) = (deeper.expression(of)?, deeper.expression(name)?);
                        self.select(&of, &name)?.clone()
                    }
                };
                self.budget.take(weight(&value)?)?;
                Ok(value)
            }
        }
    }

    /// The part of a parameter or variable that an expression names, where it stands: one who takes a name out of a large
    /// value does not pay for all of it.
    fn looked_at(&self, expression: &Expression) -> Result<Option<&Value>, Halt> {
        let (mut names, mut at) = (Vec::new(), expression);
        while let Expression::Member { of, name } = at {
            names.push(name);
            at = of;
        }
        let Expression::Call(Call { name, arguments }) = at else { return Ok(None) };
        let [Expression::Text(of)] = arguments.as_slice() else { return Ok(None) };
        let named = match name.to_ascii_lowercase().as_str() {
            "parameters" => self.names.parameter(of),
            "variables" => self.names.variable(of),
            _ => return Ok(None),
        };
        let Named::Known(mut value) = named else { return Ok(None) };
        for name in names.into_iter().rev() {
            value = self.select(value, &self.expression(name)?)?;
        }
        Ok(Some(value))
    }

    /// A member or an item. A name in another case than it was written in is looked for among all, which is work.
    fn select<'v>(&self, of: &'v Value, by: &Value) -> Result<&'v Value, Halt> {
        if let (Value::Object(members), Value::String(name)) = (of, by)
            && !members.contains_key(name)
        {
            self.budget.take(members.len())?;
        }
        Ok(selected(of, by)?)
    }

    fn call(&self, call: &Call) -> Result<Value, Halt> {
        let value = match self.library.find(&call.name) {
            Some(own) => own.apply(self, &call.arguments)?,
            None => function::call(self, &call.name, &call.arguments)?,
        };
        self.budget.take(weight(&value)?)?;
        Ok(value)
    }
}

/// The loops that a member of this name and value stands for.
fn loops<'a>(name: &str, value: &'a Value) -> Option<Vec<&'a Map<String, Value>>> {
    let items = value.as_array().filter(|_| name.eq_ignore_ascii_case("copy"))?;
    let one = |item: &'a Value| item.as_object().filter(|one| one.contains_key("count"));
    items.iter().map(one).collect()
}

/// The text that a value is.
pub(super) fn text_of(value: Value) -> Result<String, ExpressionError> {
    if let Value::String(text) = value { Ok(text) } else { Err(type_wrong("String", &value)) }
}

/// A refusal of a value of another type than it has to be of.
pub(super) fn type_wrong(expected: &'static str, actual: &Value) -> ExpressionError {
    ExpressionError::TypeWrong { expected, actual: type_name(actual) }
}

/// A member by its name, an item by its position.
pub(super) fn selected<'a>(of: &'a Value, by: &Value) -> Result<&'a Value, ExpressionError> {
    match (of, by) {
        (Value::Object(members), Value::String(name)) => {
            member(members, name).ok_or_else(|| ExpressionError::MemberMissing {
                name: name.clone(),
                available: members.keys().take(limits::NAMES_SHOWN_MAX).cloned().collect(),
            })
        }
        (Value::Array(items), Value::Number(index)) => {
            let index = index.as_i64().unwrap_or(-1);
            let item = usize::try_from(index).ok().and_then(|index| items.get(index));
            item.ok_or(ExpressionError::ItemMissing { index, length: items.len() })
        }
        (other, _) => Err(ExpressionError::NoMembers(type_name(other))),
    }
}

/// How much a value takes to hold, about the bytes of its JSON; too deep ones are refused, since values built from
/// values would outgrow the stack.
pub(super) fn weight(value: &Value) -> Result<usize, ExpressionError> {
    let weight = weighed(value, limits::EXPRESSION_DEPTH_MAX)?;
    if weight > limits::EXPRESSION_VALUE_BYTES_MAX {
        return Err(ExpressionError::TooMuchWork);
    }
    Ok(weight)
}

fn weighed(value: &Value, depth_left: usize) -> Result<usize, ExpressionError> {
    let depth_left = depth_left.checked_sub(1).ok_or(ExpressionError::TooDeep)?;
    Ok(match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => 8 + text.len(),
        Value::Array(items) => {
            let mut weight = 8;
            for item in items {
                weight += weighed(item, depth_left)?;
            }
            weight
        }
        Value::Object(members) => {
            let mut weight = 8;
            for (name, value) in members {
                weight += 8 + name.len() + weighed(value, depth_left)?;
            }
            weight
        }
    })
}
