//! What parameters and variables are: given, or made of each other.

use serde_json::{Map, Value};

use super::super::error::{ExpressionError, Halt, TemplateError, TemplateViolation};
use super::super::evaluate::{Fresh, weight};
use super::super::function::member;
use super::super::parameter::ShownValue;
use super::super::template::Template;
use super::{Plan, misplaced};
use crate::limits;

impl Template {
    /// Gives the parameters their values.
    pub(super) fn settle_parameters(
        &self,
        plan: &mut Plan,
        given: &Map<String, Value>,
        fresh: Fresh<'_>,
    ) -> Result<(), TemplateViolation> {
        self.check_given(given)?;
        let mut sources = Vec::new();
        for parameter in &self.parameters {
            let path = format!("parameters.{}", parameter.name);
            let at = |reason| TemplateViolation::at(path.clone(), reason);
            let key = parameter.name.to_lowercase();
            match member(given, &parameter.name) {
                Some(value) => {
                    let value = given_value(value).map_err(at)?;
                    parameter.check(&self.library.types, &plan.budget, value).map_err(at)?;
                    plan.names.parameters.insert(key, Some(value.clone()));
                }
                None => {
                    let missing = || TemplateError::ParameterMissing(parameter.name.clone());
                    let default = parameter.default_value().ok_or_else(missing).map_err(at)?;
                    plan.names.parameters.insert(key, None);
                    sources.push((parameter.name.clone(), format!("{path}.defaultValue"), default));
                }
            }
        }
        settle(sources, |name, _, source| {
            let value = plan.evaluator(&[], None, Some(fresh)).value(source)?;
            plan.names.parameters.insert(name.to_lowercase(), Some(value));
            Ok(())
        })?;
        for parameter in &self.parameters {
            let value = plan.names.parameters.get(&parameter.name.to_lowercase()).cloned();
            let value = value.flatten().unwrap_or_default();
            let path = format!("parameters.{}", parameter.name);
            let types = &self.library.types;
            parameter
                .check(types, &plan.budget, &value)
                .map_err(|reason| TemplateViolation::at(path, reason))?;
            let shown = types.shown(&parameter.declaration, &value, &mut plan.hidden);
            if plan.hidden.len() > limits::HIDDEN_TEXTS_MAX {
                let (what, max) = ("texts in secure parameters", limits::HIDDEN_TEXTS_MAX);
                let path = format!("parameters.{}", parameter.name);
                return Err(TemplateViolation::at(path, TemplateError::TooMany { what, max }));
            }
            plan.parameters.push(ShownValue::new(&parameter.name, parameter.value_type, shown));
        }
        check_kept("parameters", &plan.parameters)
    }

    fn check_given(&self, given: &Map<String, Value>) -> Result<(), TemplateViolation> {
        let declared = || self.parameters.iter().map(|parameter| parameter.name.clone());
        let is_declared = |name: &str| declared().any(|known| known.eq_ignore_ascii_case(name));
        let others: Vec<String> = given
            .keys()
            .filter(|name| !is_declared(name))
            .take(limits::NAMES_SHOWN_MAX)
            .cloned()
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        let declared = declared().take(limits::NAMES_SHOWN_MAX).collect();
        let reason = TemplateError::ParametersUndeclared { given: others, declared };
        Err(TemplateViolation::at("", reason))
    }

    /// Gives the variables theirs.
    pub(super) fn settle_variables(&self, plan: &mut Plan) -> Result<(), TemplateViolation> {
        let mut sources = Vec::new();
        for (name, value) in &self.variables {
            let loops = value.as_array().filter(|_| name.eq_ignore_ascii_case("copy"));
            match loops {
                // Each loop is a variable of its own.
                Some(loops) => {
                    sources.extend(loops.iter().enumerate().filter_map(|(index, one)| {
                        let name = one.get("name")?.as_str()?.to_owned();
                        let path = format!("variables.copy[{index}]");
                        let source = serde_json::json!({ "copy": [one] });
                        Some((name, path, source))
                    }));
                }
                None => sources.push((name.clone(), format!("variables.{name}"), value.clone())),
            }
        }
        for (name, ..) in &sources {
            plan.names.variables.insert(name.to_lowercase(), None);
        }
        settle(sources, |name, path, source| {
            let mut value = plan.evaluator(&[], None, None).value(source)?;
            if path.starts_with("variables.copy[")
                && let Some(items) = value.as_object_mut().and_then(|it| it.remove(name))
            {
                value = items;
            }
            plan.names.variables.insert(name.to_lowercase(), Some(value));
            Ok(())
        })
    }
}

/// Refuses values that are too large or too deep to be kept.
pub(super) fn check_kept(
    path: &'static str,
    values: &[ShownValue],
) -> Result<(), TemplateViolation> {
    let max = limits::DEPLOYMENT_VALUES_BYTES_MAX;
    let mut bytes = 0;
    for value in values.iter().filter_map(|shown| shown.value.as_ref()) {
        bytes += weight(value).map_err(|reason| TemplateViolation::at(path, reason))?;
    }
    if bytes <= max {
        return Ok(());
    }
    let what = "bytes of parameters or outputs";
    Err(TemplateViolation::at(path, TemplateError::TooMany { what, max }))
}

/// A given parameter is `{"value": …}`; a bare value is taken as well.
fn given_value(value: &Value) -> Result<&Value, TemplateError> {
    match value.as_object() {
        Some(members) => members
            .get("value")
            .ok_or(TemplateError::Malformed("a parameter is given as an object with a value")),
        None => Err(TemplateError::Malformed("a parameter is given as an object with a value")),
    }
}

/// Evaluates in passes until all is known: what needs something later waits for it.
fn settle(
    mut sources: Vec<(String, String, Value)>,
    mut evaluate: impl FnMut(&str, &str, &Value) -> Result<(), Halt>,
) -> Result<(), TemplateViolation> {
    while let Some((name, path, _)) = sources.first().cloned() {
        let before = sources.len();
        let mut waiting = Vec::new();
        for (name, path, source) in sources {
            match evaluate(&name, &path, &source) {
                Ok(()) => {}
                Err(Halt::Pending(_)) => waiting.push((name, path, source)),
                Err(Halt::Error(error)) => return Err(TemplateViolation::at(path, error)),
                Err(Halt::Reference(_)) => return Err(misplaced(path, "reference")),
            }
        }
        if waiting.len() == before {
            let reason = ExpressionError::Circular(name);
            return Err(TemplateViolation::at(path, reason));
        }
        sources = waiting;
    }
    Ok(())
}
