//! Logical functions and comparisons. Source: Azure Resource Manager, "Logical functions", "Comparison functions".

use std::cmp::Ordering;

use serde_json::Value;

use super::super::error::{ExpressionError, Halt};
use super::super::evaluate::{Evaluator, type_wrong};
use super::super::expression::Expression;
use super::{Arguments, Function, MANY, lazy, pure};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("and", (2, MANY), |it| Ok(booleans(it)?.into_iter().all(|value| value).into())),
    pure("or", (2, MANY), |it| Ok(booleans(it)?.into_iter().any(|value| value).into())),
    pure("not", (1, 1), |it| Ok((!it.boolean(0)?).into())),
    pure("true", (0, 0), |_| Ok(true.into())),
    pure("false", (0, 0), |_| Ok(false.into())),
    pure("null", (0, 0), |_| Ok(Value::Null)),
    pure("bool", (1, 1), boolean),
    lazy("if", (3, 3), conditional),
    pure("coalesce", (1, MANY), |it| {
        let first = it.values.iter().find(|value| !value.is_null());
        Ok(first.cloned().unwrap_or_default())
    }),
    pure("equals", (2, 2), |it| Ok((it.value(0) == it.value(1)).into())),
    pure("less", (2, 2), |it| Ok(order(it)?.is_lt().into())),
    pure("lessOrEquals", (2, 2), |it| Ok(order(it)?.is_le().into())),
    pure("greater", (2, 2), |it| Ok(order(it)?.is_gt().into())),
    pure("greaterOrEquals", (2, 2), |it| Ok(order(it)?.is_ge().into())),
];

/// Only the branch that counts is looked at.
fn conditional(evaluator: &Evaluator<'_>, arguments: &[Expression]) -> Result<Value, Halt> {
    let [condition, then, otherwise] = arguments else {
        return Err(ExpressionError::FunctionMisplaced("if".to_owned()).into());
    };
    let condition = evaluator.expression(condition)?;
    let is_met = condition.as_bool().ok_or_else(|| type_wrong("Boolean", &condition))?;
    evaluator.expression(if is_met { then } else { otherwise })
}

fn booleans(it: &Arguments<'_>) -> Result<Vec<bool>, ExpressionError> {
    (0..it.values.len()).map(|index| it.boolean(index)).collect()
}

fn boolean(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    match it.value(0) {
        Value::Bool(value) => Ok((*value).into()),
        Value::Number(number) => Ok((number.as_i64() != Some(0)).into()),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true.into()),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false.into()),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(it.wrong(0, "Boolean"))
        }
    }
}

/// Two numbers, or two texts by their characters.
fn order(it: &Arguments<'_>) -> Result<Ordering, ExpressionError> {
    if it.value(0).is_string() {
        return Ok(it.text(0)?.cmp(it.text(1)?));
    }
    Ok(it.integer(0)?.cmp(&it.integer(1)?))
}
