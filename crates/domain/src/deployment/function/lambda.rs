//! Functions that apply an expression to each item of an array. Source: Azure Resource Manager, "Lambda functions".

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::error::{ExpressionError, Halt};
use super::super::evaluate::{Evaluator, Frame, text_of, type_wrong};
use super::super::expression::{Call, Expression};
use super::{Function, lazy, placed};

pub(super) const FUNCTIONS: &[Function] = &[
    lazy("map", (2, 2), map),
    lazy("filter", (2, 2), filter),
    lazy("reduce", (3, 3), reduce),
    lazy("sort", (2, 2), sort),
    lazy("groupBy", (2, 2), group_by),
    lazy("mapValues", (2, 2), map_values),
    lazy("toObject", (2, 3), to_object),
    // Only ever an argument of those above, which look into it.
    lazy("lambda", (1, 3), |_, _| {
        Err(ExpressionError::FunctionMisplaced("lambda".to_owned()).into())
    }),
    placed("lambdaVariables", (1, 1), |evaluator, it| {
        let name = it.text(0)?;
        let found = evaluator.lambdas.and_then(|frame| frame.find(name));
        let misplaced = || ExpressionError::FunctionMisplaced("lambdaVariables".to_owned());
        Ok(found.cloned().ok_or_else(misplaced)?)
    }),
];

/// An expression with the names of what it is applied to.
struct Lambda<'a> {
    names: Vec<&'a str>,
    body: &'a Expression,
}

impl<'a> Lambda<'a> {
    fn of(argument: &'a Expression, function: &str) -> Result<Self, ExpressionError> {
        let wrong = || ExpressionError::ArgumentInvalid {
            function: function.to_owned(),
            reason: "an argument is expected to be a lambda".to_owned(),
        };
        let Expression::Call(Call { name, arguments }) = argument else { return Err(wrong()) };
        let Some((body, names)) = arguments.split_last() else { return Err(wrong()) };
        if !name.eq_ignore_ascii_case("lambda") {
            return Err(wrong());
        }
        let name = |name: &'a Expression| match name {
            Expression::Text(name) => Ok(name.as_str()),
            Expression::Integer(_) | Expression::Call(_) | Expression::Member { .. } => {
                Err(wrong())
            }
        };
        Ok(Self { names: names.iter().map(name).collect::<Result<_, _>>()?, body })
    }

    fn apply(&self, evaluator: &Evaluator<'_>, values: &[&Value]) -> Result<Value, Halt> {
        evaluator.budget.take(1)?;
        let bound: Vec<_> = self.names.iter().copied().zip(values.iter().copied()).collect();
        let frame = Frame { bound: &bound, outer: evaluator.lambdas };
        Evaluator { lambdas: Some(&frame), ..*evaluator }.expression(self.body)
    }
}

/// The items that an argument is.
fn items(evaluator: &Evaluator<'_>, argument: &Expression) -> Result<Vec<Value>, Halt> {
    let value = evaluator.expression(argument)?;
    if let Value::Array(items) = value {
        Ok(items)
    } else {
        Err(type_wrong("Array", &value).into())
    }
}

/// What is wrong with a number of arguments that the table lets nobody give.
fn miscounted<T>(function: &str) -> Result<T, Halt> {
    Err(ExpressionError::FunctionMisplaced(function.to_owned()).into())
}

fn map(evaluator: &Evaluator<'_>, arguments: &[Expression]) -> Result<Value, Halt> {
    let [array, lambda] = arguments else { return miscounted("map") };
    let lambda = Lambda::of(lambda, "map")?;
    let items = items(evaluator, array)?;
    items
        .iter()
        .enumerate()
        .map(|(index, item)| lambda.apply(evaluator, &[item, &index.into()]))
        .collect()
}

fn filter(evaluator: &Evaluator<'_>, arguments: &[Expression]) -> Result<Value, Halt> {
    let [array, lambda] = arguments else { return miscounted("filter") };
    let lambda = Lambda::of(lambda, "filter")?;
    let mut kept = Vec::new();
    for (index, item) in items(evaluator, array)?.into_iter().enumerate() {
        let is_kept = lambda.apply(evaluator, &[&item, &index.into()])?;
        match is_kept.as_bool() {
            Some(true) => kept.push(item),
            Some(false) => {}
            None => return Err(type_wrong("Boolean", &is_kept).into()),
        }
    }
    Ok(kept.into())
}

fn reduce(evaluator: &Evaluator<'_>, arguments: &[Expression]) -> Result<Value, Halt> {
    let [array, first, lambda] = arguments else { return miscounted("reduce") };
    let lambda = Lambda::of(lambda, "reduce")?;
    let mut so_far = evaluator.expression(first)?;
    for (index, item) in items(evaluator, array)?.iter().enumerate() {
        so_far = lambda.apply(evaluator, &[&so_far, item, &index.into()])?;
    }
    Ok(so_far)
}

/// The items in the order that the lambda says: whether one is before another. Equal ones stay as they are.
fn sort(evaluator: &Evaluator<'_>, arguments: &[Expression]) -> Result<Value, Halt> {
    let [array, lambda] = arguments else { return miscounted("sort") };
    let lambda = Lambda::of(lambda, "sort")?;
    let is_before = |one: &Value, other: &Value| {
        let answer = lambda.apply(evaluator, &[one, other])?;
        answer.as_bool().ok_or_else(|| Halt::from(type_wrong("Boolean", &answer)))
    };
    let mut runs: Vec<Vec<Value>> =
        items(evaluator, array)?.into_iter().map(|item| vec![item]).collect();
    while runs.len() > 1 {
        let mut merged = Vec::new();
        let mut pairs = runs.into_iter();
        while let Some(first) = pairs.next() {
            merged.push(match pairs.next() {
                Some(second) => merge(first, second, &is_before)?,
                None => first,
            });
        }
        runs = merged;
    }
    Ok(runs.pop().unwrap_or_default().into())
}

/// Two sorted runs as one.
fn merge(
    first: Vec<Value>,
    second: Vec<Value>,
    is_before: &impl Fn(&Value, &Value) -> Result<bool, Halt>,
) -> Result<Vec<Value>, Halt> {
    let mut merged = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    while let (Some(one), Some(other)) = (first.peek(), second.peek()) {
        let next = if is_before(other, one)? { second.next() } else { first.next() };
        merged.extend(next);
    }
    merged.extend(first);
    merged.extend(second);
    Ok(merged)
}

/// Arrays of the items that the lambda gives the same name.
fn group_by(evaluator: &Evaluator<'_>, arguments: &[Expression]) -> Result<Value, Halt> {
    let [array, lambda] = arguments else { return miscounted("groupBy") };
    let lambda = Lambda::of(lambda, "groupBy")?;
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for item in items(evaluator, array)? {
        let name = text_of(lambda.apply(evaluator, &[&item])?)?;
        groups.entry(name).or_default().push(item);
    }
    Ok(groups.into_iter().map(|(name, items)| (name, items.into())).collect::<Map<_, _>>().into())
}

/// The object with other values under its names.
fn map_values(evaluator: &Evaluator<'_>, arguments: &[Expression]) -> Result<Value, Halt> {
    let [object, lambda] = arguments else { return miscounted("mapValues") };
    let lambda = Lambda::of(lambda, "mapValues")?;
    let value = evaluator.expression(object)?;
    let Value::Object(members) = value else { return Err(type_wrong("Object", &value).into()) };
    members
        .into_iter()
        .map(|(name, value)| Ok((name, lambda.apply(evaluator, &[&value])?)))
        .collect::<Result<Map<_, _>, Halt>>()
        .map(Value::Object)
}

/// Names by the first lambda; values by the second one, or the items themselves.
fn to_object(evaluator: &Evaluator<'_>, arguments: &[Expression]) -> Result<Value, Halt> {
    let [array, name, value @ ..] = arguments else { return miscounted("toObject") };
    let name = Lambda::of(name, "toObject")?;
    let value = value.first().map(|value| Lambda::of(value, "toObject")).transpose()?;
    let mut members = Map::new();
    for item in items(evaluator, array)? {
        let name = text_of(name.apply(evaluator, &[&item])?)?;
        let value = match &value {
            Some(value) => value.apply(evaluator, &[&item])?,
            None => item,
        };
        members.insert(name, value);
    }
    Ok(members.into())
}
