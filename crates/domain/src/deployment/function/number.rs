//! Functions of whole numbers of 64 bits; what does not fit is an error. Source: Azure Resource Manager, "Numeric functions".

use serde_json::Value;

use super::super::error::ExpressionError;
use super::{Arguments, Function, MANY, pure};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("add", (2, 2), |it| combine(it, i64::checked_add)),
    pure("sub", (2, 2), |it| combine(it, i64::checked_sub)),
    pure("mul", (2, 2), |it| combine(it, i64::checked_mul)),
    pure("div", (2, 2), |it| combine(it, i64::checked_div)),
    pure("mod", (2, 2), |it| combine(it, i64::checked_rem)),
    pure("min", (1, MANY), |it| Ok(numbers(it)?.into_iter().min().into())),
    pure("max", (1, MANY), |it| Ok(numbers(it)?.into_iter().max().into())),
    pure("int", (1, 1), integer),
];

fn combine(
    it: &Arguments<'_>,
    operation: fn(i64, i64) -> Option<i64>,
) -> Result<Value, ExpressionError> {
    let result = operation(it.integer(0)?, it.integer(1)?);
    let outside = || it.invalid("the result is no whole number of 64 bits");
    result.map(Value::from).ok_or_else(outside)
}

/// The arguments, or the items of the one array.
fn numbers(it: &Arguments<'_>) -> Result<Vec<i64>, ExpressionError> {
    match it.values.as_slice() {
        [Value::Array(items)] if !items.is_empty() => {
            let number = |item: &Value| item.as_i64().ok_or_else(|| it.wrong(0, "Integer"));
            items.iter().map(number).collect()
        }
        values => (0..values.len()).map(|index| it.integer(index)).collect(),
    }
}

fn integer(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let number = match it.value(0) {
        Value::String(text) => text.trim().parse::<i64>().ok(),
        Value::Number(number) => number.as_i64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.map(Value::from).ok_or_else(|| it.wrong(0, "Integer"))
}
