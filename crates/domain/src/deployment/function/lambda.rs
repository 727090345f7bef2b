//! Functions that apply an expression to each item of an array. Source: Azure Resource Manager, "Lambda functions".

use serde_json::{Map, Value};

use super::super::error::{ExpressionError, Halt};
use super::super::evaluate::{Evaluator, Frame, text_of, type_wrong};
use super::super::expression::{Call, Expression};
use super::{Function, lazy, placed};

pub(super) const FUNCTIONS: &[Function] = &[
    lazy("map", (2, 2), map),
    lazy("filter", (2, 2), filter),
    lazy("reduce", (3, 3), reduce),
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
