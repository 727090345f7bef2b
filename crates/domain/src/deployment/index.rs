//! The resources of a template, by everything that its dependencies and references may call them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A resource that the template names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: Arc<str>,
    /// Its type, with the namespace.
    pub(super) resource_type: String,
    /// Its name, with those of its parents.
    pub(super) name: String,
    /// The version that it is deployed with.
    pub(super) api_version: String,
}

/// The resources of a template and what they are called; names ignore case.
#[derive(Clone, Debug, Default)]
pub(super) struct ResourceIndex {
    entries: Vec<Entry>,
    names: BTreeMap<String, Vec<usize>>,
}

impl ResourceIndex {
    /// Adds a resource with all that it is called.
    pub(super) fn add<'a>(&mut self, entry: Entry, names: impl IntoIterator<Item = &'a str>) {
        let position = self.entries.len();
        let tail = entry.id.rsplit_once("/providers/").map(|(_, tail)| tail.to_owned());
        let own = [Some(entry.id.to_string()), tail];
        let others = names.into_iter().map(str::to_owned);
        for name in own.into_iter().flatten().chain(others) {
            let positions = self.names.entry(name.to_lowercase()).or_default();
            if positions.last() != Some(&position) {
                positions.push(position);
            }
        }
        self.entries.push(entry);
    }

    /// Notes a name that perhaps nothing has: a loop can go round no times.
    pub(super) fn declare(&mut self, name: &str) {
        self.names.entry(name.to_lowercase()).or_default();
    }

    /// Whether something is called so, or could be.
    pub(super) fn is_declared(&self, name: &str) -> bool {
        self.names.contains_key(&name.to_lowercase())
    }

    /// The positions of all that is called so: one resource, or those of a loop.
    pub(super) fn positions(&self, name: &str) -> &[usize] {
        self.names.get(&name.to_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// All that is called so.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Entry> {
        self.positions(name).iter().filter_map(|position| self.entries.get(*position))
    }

    /// The resource that is called so.
    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        self.all(name).next()
    }
}
