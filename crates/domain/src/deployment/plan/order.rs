//! In which order resources can be deployed: after what they name, and what they refer to.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::error::{TemplateError, TemplateViolation};
use super::super::expression::{TemplateText, parse};
use super::super::function;
use super::super::template::{calls, has_own_template};
use super::{OF_DEPLOYMENT, Plan, PlannedResource};
use crate::limits;

impl Plan {
    /// Puts each resource after all that it depends on, and else as the template has them.
    pub(super) fn order(&mut self) -> Result<(), TemplateViolation> {
        let mut seen = BTreeSet::new();
        for resource in self.resources() {
            if !seen.insert(resource.id.to_lowercase()) {
                let reason = TemplateError::ResourceTwice(resource.id.to_string());
                return Err(TemplateViolation::at(&resource.path, reason));
            }
        }
        let mut before: Vec<BTreeSet<usize>> = Vec::new();
        for (position, resource) in self.resources.iter().enumerate() {
            let mut needed = self.named_dependencies(resource)?;
            needed.extend(self.referenced(resource)?);
            needed.remove(&position);
            before.push(needed);
        }
        let order = sorted(&before).map_err(|position| {
            let (path, id) = match self.resources.get(position) {
                Some(resource) => (resource.path.clone(), resource.id.to_string()),
                None => Default::default(),
            };
            TemplateViolation::at(path, TemplateError::DependencyCircular(id))
        })?;
        for (position, needed) in before.iter().enumerate() {
            let deployed = |position: &usize| {
                self.resources.get(*position).filter(|it| it.is_deployed).map(|it| it.id.clone())
            };
            let ids = needed.iter().filter_map(deployed).collect();
            if let Some(resource) = self.resources.get_mut(position) {
                resource.depends_on = ids;
            }
        }
        let mut unordered: Vec<Option<PlannedResource>> =
            std::mem::take(&mut self.resources).into_iter().map(Some).collect();
        self.resources = order
            .into_iter()
            .filter_map(|position| unordered.get_mut(position).and_then(Option::take))
            .collect();
        Ok(())
    }

    fn named_dependencies(
        &self,
        resource: &PlannedResource,
    ) -> Result<BTreeSet<usize>, TemplateViolation> {
        let mut needed = BTreeSet::new();
        for name in &resource.dependency_names {
            let positions = self.index.positions(name);
            if !self.index.is_declared(name) {
                let path = format!("{}.dependsOn", resource.path);
                let shown = name.chars().take(limits::VALUE_SHOWN_CHARS_MAX).collect();
                return Err(TemplateViolation::at(path, TemplateError::DependencyUnknown(shown)));
            }
            needed.extend(positions);
        }
        Ok(needed)
    }

    /// The resources of the template that the body refers to.
    fn referenced(&self, resource: &PlannedResource) -> Result<BTreeSet<usize>, TemplateViolation> {
        let mut found = BTreeSet::new();
        let mut read_bytes = 0;
        let evaluator = self.evaluator(&resource.copies, None, None);
        let mut visit = |text: &str| {
            read_bytes += text.len();
            let Ok(TemplateText::Expression(expression)) = parse(text) else { return };
            calls(&expression, &mut |call| {
                let is_reference = function::looks_at_resources(&call.name);
                let Some(named) = call.arguments.first().filter(|_| is_reference) else { return };
                // What cannot be found yet is looked for when the body is made.
                if let Ok(Value::String(named)) = evaluator.expression(named) {
                    found.extend(self.index.positions(&named));
                }
            });
        };
        let has_own_template = has_own_template(&resource.members);
        let members = resource.members.iter();
        for (name, value) in members.filter(|(name, _)| !OF_DEPLOYMENT.contains(&name.as_str())) {
            visit(name);
            match value.as_object().filter(|_| has_own_template) {
                Some(members) => members
                    .iter()
                    .filter(|(name, _)| *name != "template")
                    .for_each(|(_, value)| texts(value, &mut visit)),
                None => texts(value, &mut visit),
            }
        }
        self.budget
            .take(read_bytes)
            .map_err(|error| TemplateViolation::at(&resource.path, error))?;
        Ok(found)
    }
}

fn texts(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, visit)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            visit(name);
            texts(value, visit);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The positions, each after all that it needs; or the first one that is part of a circle or needs one.
fn sorted(before: &[BTreeSet<usize>]) -> Result<Vec<usize>, usize> {
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
    let mut missing: Vec<usize> = before.iter().map(BTreeSet::len).collect();
    for (position, needed) in before.iter().enumerate() {
        for earlier in needed {
            if let Some(later) = after.get_mut(*earlier) {
                later.push(position);
            }
        }
    }
    let is_free = |(position, count): (usize, &usize)| (*count == 0).then_some(position);
    let mut free: BTreeSet<usize> = missing.iter().enumerate().filter_map(is_free).collect();
    let mut order = Vec::new();
    while let Some(position) = free.pop_first() {
        order.push(position);
        for later in after.get(position).into_iter().flatten() {
            if let Some(count) = missing.get_mut(*later) {
                *count -= 1;
                if *count == 0 {
                    free.insert(*later);
                }
            }
        }
    }
    match missing.iter().position(|count| *count > 0) {
        Some(position) => Err(position),
        None => Ok(order),
    }
}
