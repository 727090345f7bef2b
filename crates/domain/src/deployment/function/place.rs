//! Functions of the deployment: its values, where it is, what it refers to. Source: Azure Resource Manager, "Resource
//! functions", "Scope functions", "Deployment functions".

use serde_json::{Value, json};

use super::super::error::{ExpressionError, Halt, ListCall, ReferenceKey};
use super::super::evaluate::{Evaluator, Named, References, weight};
use super::super::expression::Expression;
use super::{Arguments, Function, MANY, placed, pure};

pub(super) const FUNCTIONS: &[Function] = &[
    placed("parameters", (1, 1), |evaluator, it| {
        let name = it.text(0)?;
        match evaluator.names.parameter(name) {
            Named::Known(value) => Ok(value.clone()),
            Named::Pending => Err(Halt::Pending(name.to_owned())),
            Named::Unknown => Err(ExpressionError::ParameterUnknown(name.to_owned()).into()),
        }
    }),
    placed("variables", (1, 1), |evaluator, it| {
        let name = it.text(0)?;
        match evaluator.names.variable(name) {
            Named::Known(value) => Ok(value.clone()),
            Named::Pending => Err(Halt::Pending(name.to_owned())),
            Named::Unknown => Err(ExpressionError::VariableUnknown(name.to_owned()).into()),
        }
    }),
    placed("copyIndex", (0, 2), copy_index),
    placed("newGuid", (0, 0), |evaluator, _| match evaluator.fresh {
        Some(fresh) => Ok(fresh.entropy.uuid().to_string().into()),
        None => Err(ExpressionError::FunctionMisplaced("newGuid".to_owned()).into()),
    }),
    placed("deployment", (0, 0), |evaluator, _| Ok(evaluator.place.deployment.clone())),
    placed("environment", (0, 0), |evaluator, _| Ok(evaluator.place.environment.clone())),
    placed("subscription", (0, 0), |evaluator, _| Ok(evaluator.place.subscription.clone())),
    placed("deployer", (0, 0), |evaluator, _| Ok(evaluator.place.deployer.clone())),
    // No deployment is at one.
    pure("managementGroup", (0, 0), |_| {
        Err(ExpressionError::FunctionMisplaced("managementGroup".to_owned()))
    }),
    // What Azure says of a place that has no zones, and none here has.
    pure("pickZones", (3, 5), |it| it.texts_before(3).map(|_| Value::Array(Vec::new()))),
    pure("fail", (1, 1), |it| Err(ExpressionError::Refused(it.text(0)?.to_owned()))),
    placed("tenant", (0, 0), |evaluator, _| Ok(evaluator.place.tenant.clone())),
    placed("resourceGroup", (0, 0), |evaluator, _| {
        let group = evaluator.place.resource_group.clone();
        let misplaced = || ExpressionError::FunctionMisplaced("resourceGroup".to_owned());
        Ok(group.ok_or_else(misplaced)?)
    }),
    placed("resourceId", (2, MANY), resource_id),
    placed("subscriptionResourceId", (2, MANY), subscription_resource_id),
    pure("tenantResourceId", (2, MANY), |it| below(it, "", 0)),
    pure("managementGroupResourceId", (3, MANY), |it| {
        let group = it.text(0)?;
        below(it, &format!("/providers/Microsoft.Management/managementGroups/{group}"), 1)
    }),
    pure("extensionResourceId", (3, MANY), |it| below(it, it.text(0)?.trim_end_matches('/'), 1)),
    placed("reference", (1, 3), reference),
    placed("references", (1, 2), references),
    placed("resourceInfo", (1, 1), resource_info),
];

/// The position in the loop, of the one around it or of a named one.
fn copy_index(evaluator: &Evaluator<'_>, it: &Arguments<'_>) -> Result<Value, Halt> {
    let (name, offset) = match it.values.as_slice() {
        [] => (None, 0),
        [Value::String(name)] => (Some(name), 0),
        [Value::String(name), _] => (Some(name), it.integer(1)?),
        _ => (None, it.integer(0)?),
    };
    let mut innermost_first = evaluator.copies.iter().rev();
    let found =
        innermost_first.find(|copy| name.is_none_or(|name| copy.name.eq_ignore_ascii_case(name)));
    let Some(copy) = found else {
        return Err(ExpressionError::FunctionMisplaced("copyIndex".to_owned()).into());
    };
    let index = i64::try_from(copy.index).ok().and_then(|index| index.checked_add(offset));
    Ok(index.map(Value::from).ok_or_else(|| it.invalid("the offset is too large"))?)
}

/// The id of a type and its names below a scope; `None` when their numbers do not fit.
///
/// A resource group is no resource of a provider, whatever its type looks like.
pub(in super::super) fn join_id(
    scope: &str,
    resource_type: &str,
    names: &[&str],
) -> Option<String> {
    if resource_type.eq_ignore_ascii_case("Microsoft.Resources/resourceGroups")
        && scope.matches('/').count() == 2
    {
        return names.first().map(|name| format!("{scope}/resourceGroups/{name}"));
    }
    let (namespace, types) = resource_type.split_once('/')?;
    let types: Vec<&str> = types.split('/').collect();
    let segments = || types.iter().chain(names);
    let fits = types.len() == names.len() && segments().all(|segment| !segment.is_empty());
    let mut id = format!("{scope}/providers/{namespace}");
    for (segment, name) in types.iter().zip(names) {
        id.push('/');
        id.push_str(segment);
        id.push('/');
        id.push_str(name);
    }
    (fits && !namespace.is_empty()).then_some(id)
}

/// The id of the type at an argument and the names after it.
fn below(it: &Arguments<'_>, scope: &str, at: usize) -> Result<Value, ExpressionError> {
    let texts = it.texts()?;
    let (resource_type, names) = match texts.get(at..).and_then(<[&str]>::split_first) {
        Some((resource_type, names)) => (*resource_type, names),
        None => ("", Default::default()),
    };
    join_id(scope, resource_type, names).map(Value::from).ok_or_else(|| {
        it.invalid(format!("the type '{resource_type}' and its names have different lengths"))
    })
}

/// Where among the first arguments the type stands: the first one that has as many segments as names follow.
fn type_position(texts: &[&str], most: usize) -> Option<usize> {
    texts.iter().take(most + 1).enumerate().position(|(index, text)| {
        text.contains('/') && text.matches('/').count() == texts.len() - index - 1
    })
}

fn resource_id(evaluator: &Evaluator<'_>, it: &Arguments<'_>) -> Result<Value, Halt> {
    let texts = it.texts()?;
    let position = type_position(&texts, 2);
    let place = &evaluator.place;
    let scope = match (position, texts.as_slice()) {
        (Some(1), [group, ..]) => {
            format!("/subscriptions/{}/resourceGroups/{group}", place.subscription_id)
        }
        (Some(2), [subscription, group, ..]) => {
            format!("/subscriptions/{subscription}/resourceGroups/{group}")
        }
        _ => place.scope.clone(),
    };
    Ok(below(it, &scope, position.unwrap_or(0))?)
}

fn subscription_resource_id(evaluator: &Evaluator<'_>, it: &Arguments<'_>) -> Result<Value, Halt> {
    let texts = it.texts()?;
    let position = type_position(&texts, 1);
    let subscription = match (position, texts.first()) {
        (Some(1), Some(subscription)) => subscription,
        _ => evaluator.place.subscription_id.as_str(),
    };
    Ok(below(it, &format!("/subscriptions/{subscription}"), position.unwrap_or(0))?)
}

fn visible<'a>(
    evaluator: &Evaluator<'a>,
    function: &str,
) -> Result<References<'a>, ExpressionError> {
    let misplaced = || ExpressionError::FunctionMisplaced(function.to_owned());
    evaluator.references.ok_or_else(misplaced)
}

/// As [`reference`], of all that a loop made.
fn references(evaluator: &Evaluator<'_>, it: &Arguments<'_>) -> Result<Value, Halt> {
    let references = visible(evaluator, "references")?;
    let (named, is_full) = (it.text(0)?, it.has(1));
    if is_full && !it.text(1)?.eq_ignore_ascii_case("Full") {
        return Err(it.invalid("argument 2 has to be 'Full'").into());
    }
    let found = references.index.all(named);
    let all = found.map(|one| looked_at(&references, &one.id, &one.api_version, is_full));
    all.collect()
}

/// What the template itself says of a resource.
fn resource_info(evaluator: &Evaluator<'_>, it: &Arguments<'_>) -> Result<Value, Halt> {
    let references = visible(evaluator, "resourceInfo")?;
    let named = it.text(0)?;
    let undefined = || it.invalid(format!("'{named}' is not defined in the template"));
    let found = references.index.find(named).ok_or_else(undefined)?;
    Ok(json!({
        "id": &*found.id,
        "name": found.name,
        "type": found.resource_type,
        "apiVersion": found.api_version,
    }))
}

/// The result of a POST to a resource: `listKeys`, `listSecrets` and whatever else a type has.
pub(super) fn list(
    evaluator: &Evaluator<'_>,
    name: &str,
    arguments: &[Expression],
) -> Result<Value, Halt> {
    let references = visible(evaluator, name)?;
    let values = arguments.iter().map(|argument| evaluator.expression(argument));
    let it = Arguments { function: name, values: values.collect::<Result<_, _>>()? };
    let named = it.text(0)?;
    let id = match references.index.find(named) {
        Some(found) => &*found.id,
        None if named.starts_with('/') => named,
        None => return Err(it.invalid(format!("'{named}' is not defined in the template")).into()),
    };
    let body = if it.has(2) { Some(it.object(2)?.clone().into()) } else { None };
    let key = ReferenceKey {
        id: id.to_ascii_lowercase(),
        api_version: it.text(1)?.to_owned(),
        list: Some(ListCall { action: name.to_owned(), body: body.as_ref().map(Value::to_string) }),
    };
    match references.answers.get(&key) {
        Some(answer) => {
            evaluator.budget.take(weight(answer)?)?;
            Ok(answer.clone())
        }
        None => Err(Halt::Reference(key)),
    }
}

/// The properties of a resource as they are now, or all of it.
fn reference(evaluator: &Evaluator<'_>, it: &Arguments<'_>) -> Result<Value, Halt> {
    let references = visible(evaluator, "reference")?;
    let named = it.text(0)?;
    let found = references.index.find(named);
    let id = match found {
        Some(found) => &*found.id,
        None if named.starts_with('/') => named,
        None => return Err(it.invalid(format!("'{named}' is not defined in the template")).into()),
    };
    let api_version = match (it.value(1), found) {
        (Value::Null, Some(found)) => found.api_version.as_str(),
        (Value::Null, None) => {
            return Err(it.invalid("a resource outside the template needs an API version").into());
        }
        _ => it.text(1)?,
    };
    let is_full = it.has(2);
    if is_full && !it.text(2)?.eq_ignore_ascii_case("Full") {
        return Err(it.invalid("argument 3 has to be 'Full'").into());
    }
    looked_at(&references, id, api_version, is_full)
}

/// What a resource was found to be.
fn looked_at(
    references: &References<'_>,
    id: &str,
    api_version: &str,
    is_full: bool,
) -> Result<Value, Halt> {
    let key = ReferenceKey {
        id: id.to_ascii_lowercase(),
        api_version: api_version.to_owned(),
        list: None,
    };
    let Some(answer) = references.answers.get(&key) else { return Err(Halt::Reference(key)) };
    if !is_full {
        return Ok(answer.get("properties").cloned().unwrap_or_default());
    }
    let mut whole = answer.as_object().cloned().unwrap_or_default();
    whole.retain(|name, _| !matches!(name.as_str(), "id" | "name" | "type"));
    whole.insert("apiVersion".to_owned(), key.api_version.into());
    whole.insert("resourceId".to_owned(), id.into());
    Ok(whole.into())
}
