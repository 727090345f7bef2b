//! Functions of arrays and objects; some take strings as well. Source: Azure Resource Manager, "Array functions", "Object
//! functions".

use serde_json::{Map, Value, json};

use super::super::error::ExpressionError;
use super::super::evaluate::selected;
use super::{Arguments, Function, MANY, member, pure};
use crate::limits;

pub(super) const FUNCTIONS: &[Function] = &[
    pure("array", (1, 1), |it| {
        let value = it.value(0);
        Ok(if value.is_array() { value.clone() } else { json!([value]) })
    }),
    pure("createArray", (0, MANY), |it| Ok(it.values.clone().into())),
    pure("createObject", (0, MANY), create_object),
    pure("range", (2, 2), range),
    pure("union", (1, MANY), union),
    pure("intersection", (2, MANY), intersection),
    pure("items", (1, 1), items),
    pure("objectKeys", (1, 1), |it| Ok(it.object(0)?.keys().cloned().collect())),
    pure("tryGet", (2, MANY), |it| {
        let mut found = it.value(0);
        for by in it.values.iter().skip(1) {
            match selected(found, by) {
                Ok(value) => found = value,
                Err(_) => return Ok(Value::Null),
            }
        }
        Ok(found.clone())
    }),
    pure("indexFromEnd", (2, 2), |it| {
        let missing = || {
            let (index, length) = (it.integer(1)?, it.array(0)?.len());
            Err(ExpressionError::ItemMissing { index, length })
        };
        from_end(it)?.cloned().map_or_else(missing, Ok)
    }),
    pure("tryIndexFromEnd", (2, 2), |it| Ok(from_end(it)?.cloned().unwrap_or_default())),
    pure("shallowMerge", (1, 1), |it| {
        let mut merged = Map::new();
        for item in it.array(0)? {
            let members = item.as_object().ok_or_else(|| it.wrong(0, "Array of Object"))?;
            merged.extend(members.clone());
        }
        Ok(merged.into())
    }),
    pure("flatten", (1, 1), flatten),
    pure("contains", (2, 2), contains),
    pure("empty", (1, 1), |it| Ok((it.value(0).is_null() || length(it, "Array")? == 0).into())),
    pure("length", (1, 1), |it| Ok(length(it, "Array")?.into())),
    pure("first", (1, 1), first),
    pure("last", (1, 1), last),
    pure("take", (2, 2), |it| part(it, 0, wanted(it)?)),
    pure("skip", (2, 2), |it| part(it, wanted(it)?, usize::MAX)),
];

fn create_object(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    if !it.values.len().is_multiple_of(2) {
        return Err(it.invalid("a key has no value"));
    }
    let members = (0..it.values.len()).step_by(2);
    let member = |index| Ok((it.text(index)?.to_owned(), it.value(index + 1).clone()));
    members.map(member).collect::<Result<Map<_, _>, ExpressionError>>().map(Value::Object)
}

fn range(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let (start, count) = (it.integer(0)?, it.count(1)?);
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if count > limits::RANGE_ITEMS_MAX {
        return Err(it.invalid("the count is more than 10000"));
    }
    let end = start.checked_add(count);
    let end = end.ok_or_else(|| it.invalid("the numbers leave the range of 64 bits"))?;
    Ok((start..end).collect::<Vec<i64>>().into())
}

/// Arrays without what is there already; objects with the later value, objects in them likewise.
fn union(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    if it.value(0).is_array() {
        let mut all: Vec<Value> = Vec::new();
        for index in 0..it.values.len() {
            for item in it.array(index)? {
                if all.len() > UNION_ITEMS_MAX {
                    return Err(ExpressionError::TooMuchWork);
                }
                if !all.contains(item) {
                    all.push(item.clone());
                }
            }
        }
        return Ok(all.into());
    }
    let mut merged = Map::new();
    for index in 0..it.values.len() {
        merge(&mut merged, it.object(index)?);
    }
    Ok(merged.into())
}

/// Items of a union or an intersection: each is compared with all.
const UNION_ITEMS_MAX: usize = 500;

fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(name), value) {
            (Some(Value::Object(present)), Value::Object(members)) => merge(present, members),
            (_, value) => drop(into.insert(name.clone(), value.clone())),
        }
    }
}

fn intersection(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    if it.value(0).is_array() {
        let mut common = it.array(0)?.to_vec();
        for index in 1..it.values.len() {
            let other = it.array(index)?;
            if common.len().max(other.len()) > UNION_ITEMS_MAX {
                return Err(ExpressionError::TooMuchWork);
            }
            common.retain(|item| other.contains(item));
        }
        return Ok(common.into());
    }
    let mut common = it.object(0)?.clone();
    for index in 1..it.values.len() {
        let other = it.object(index)?;
        common.retain(|name, value| other.get(name) == Some(value));
    }
    Ok(common.into())
}

/// Pairs of key and value, in the order of the keys.
fn items(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let pair = |(key, value): (&String, &Value)| json!({ "key": key, "value": value });
    Ok(it.object(0)?.iter().map(pair).collect())
}

/// The item at a place counted from the end, which is 1.
fn from_end<'a>(it: &'a Arguments<'_>) -> Result<Option<&'a Value>, ExpressionError> {
    let back = usize::try_from(it.integer(1)?).ok().and_then(|place| place.checked_sub(1));
    Ok(it.array(0)?.iter().rev().nth(back.unwrap_or(usize::MAX)))
}

fn flatten(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let inner = it.array(0)?.iter().map(|item| item.as_array().ok_or_else(|| it.wrong(0, "Array")));
    Ok(inner.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().cloned().collect())
}

/// An item of an array, a name of an object, a part of a string.
fn contains(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let is_there = match it.value(0) {
        Value::Array(items) => items.contains(it.value(1)),
        Value::Object(members) => member(members, it.text(1)?).is_some(),
        Value::String(text) => text.contains(&super::as_text(it.value(1))),
        Value::Null | Value::Bool(_) | Value::Number(_) => return Err(it.wrong(0, "Array")),
    };
    Ok(is_there.into())
}

fn length(it: &Arguments<'_>, expected: &str) -> Result<usize, ExpressionError> {
    match it.value(0) {
        Value::Array(items) => Ok(items.len()),
        Value::Object(members) => Ok(members.len()),
        Value::String(text) => Ok(text.chars().count()),
        Value::Null | Value::Bool(_) | Value::Number(_) => Err(it.wrong(0, expected)),
    }
}

fn first(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    if let Value::String(text) = it.value(0) {
        return Ok(text.chars().take(1).collect::<String>().into());
    }
    Ok(it.array(0)?.first().cloned().unwrap_or_default())
}

fn last(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    if let Value::String(text) = it.value(0) {
        return Ok(text.chars().last().map(String::from).unwrap_or_default().into());
    }
    Ok(it.array(0)?.last().cloned().unwrap_or_default())
}

/// How many; less than zero is none.
fn wanted(it: &Arguments<'_>) -> Result<usize, ExpressionError> {
    Ok(usize::try_from(it.integer(1)?).unwrap_or(0))
}

fn part(it: &Arguments<'_>, skipped: usize, taken: usize) -> Result<Value, ExpressionError> {
    if let Value::String(text) = it.value(0) {
        return Ok(text.chars().skip(skipped).take(taken).collect::<String>().into());
    }
    Ok(it.array(0)?.iter().skip(skipped).take(taken).cloned().collect())
}
