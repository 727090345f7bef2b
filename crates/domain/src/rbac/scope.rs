//! Where a role counts: the path of a management group, subscription, resource group, resource or sub-resource.
//!
//! A scope holds what stands below it by whole segments, never by prefix of text: `/…/rg1` does not hold `/…/rg10`.

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use fnv::FnvHasher;

use serde::{Deserialize, Serialize};

use crate::ids::SubscriptionId;
use crate::limits;
use crate::resource_id::ArmResourceId;

/// A path of non-empty segments; the root has none. Comparison ignores case, the text keeps it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RbacScope {
    /// As written, without a final `/`; empty for the root.
    text: Arc<str>,
    /// The same in lower case.
    key: Arc<str>,
}

/// What the scope of a subscription begins with, in lower case.
const SUBSCRIPTIONS_KEY: &str = "/subscriptions/";
/// What the scope of a management group begins with, in lower case.
const MANAGEMENT_GROUPS_KEY: &str = "/providers/microsoft.management/managementgroups/";

/// The key of a scope with the hash that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeKey<'a> {
    /// The form that equal scopes share; empty for the root.
    pub text: &'a str,
    /// Only narrows a search; what is found is compared by its text.
    pub hash: u64,
}

impl<'a> ScopeKey<'a> {
    /// The key with its hash.
    pub fn new(text: &'a str) -> Self {
        let mut hasher = FnvHasher::default();
        hasher.write(text.as_bytes());
        Self { text, hash: hasher.finish() }
    }
}

/// The text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a scope")]
pub struct NotAScope;

impl RbacScope {
    /// The scope that a path names. Empty segments, `.`, `..`, encoded or control characters are refused.
    pub fn parse(path: &str) -> Result<Self, NotAScope> {
        if path == "/" {
            return Ok(Self { text: "".into(), key: "".into() });
        }
        let body = path.strip_prefix('/').ok_or(NotAScope)?;
        let is_path =
            path.len() <= limits::RESOURCE_ID_BYTES_MAX && body.split('/').all(is_segment);
        if !is_path {
            return Err(NotAScope);
        }
        Ok(Self { text: path.into(), key: path.to_ascii_lowercase().into() })
    }

    /// The path as it was written; `/` for the root.
    pub fn as_str(&self) -> &str {
        if self.text.is_empty() { "/" } else { &self.text }
    }

    /// The form that equal scopes share.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The id of a record that stands at this scope under a name.
    pub(crate) fn record_id(&self, name: &str) -> String {
        format!("{}|{}", self.key, name.to_lowercase())
    }

    /// The keys of this scope and of all that hold it by their paths, the root's first.
    ///
    /// Management groups hold subscriptions by tree, not by path: [`super::standing::Ancestry`] adds them.
    pub fn path_ancestors(&self) -> impl Iterator<Item = ScopeKey<'_>> {
        let mut hasher = FnvHasher::default();
        let mut start = 0;
        let ends = self.key.match_indices('/').map(|(position, _)| position).skip(1);
        let root = ScopeKey { text: "", hash: hasher.finish() };
        let below =
            ends.chain((!self.key.is_empty()).then_some(self.key.len())).filter_map(move |end| {
                hasher.write(self.key.get(start..end)?.as_bytes());
                start = end;
                Some(ScopeKey { text: self.key.get(..end)?, hash: hasher.finish() })
            });
        std::iter::once(root).chain(below)
    }

    /// The scope's key with its hash.
    pub fn scope_key(&self) -> ScopeKey<'_> {
        ScopeKey::new(&self.key)
    }

    /// The resource group that the scope is or lies in.
    pub fn resource_group(&self) -> Option<&str> {
        let mut segments = self.text.split('/').skip(3);
        let is_group = segments.next()?.eq_ignore_ascii_case("resourceGroups");
        segments.next().filter(|_| is_group && self.subscription().is_some())
    }

    /// The resource that the scope is or lies in.
    pub fn resource(&self) -> Option<ArmResourceId> {
        let end = self.text.match_indices('/').map(|(position, _)| position).nth(8);
        self.text.get(..end.unwrap_or(self.text.len()))?.parse().ok()
    }

    /// What stands above the scope and can exist: a resource's group, a group's subscription.
    pub fn parent(&self) -> Option<Self> {
        let segments = match (self.resource(), self.resource_group()) {
            (Some(resource), _) if resource.key() != *self.key => 8,
            (Some(_), _) => 4,
            (None, Some(_)) if self.key.matches('/').count() > 4 => 4,
            (None, _) if self.subscription().is_some() && self.container_key()? != &*self.key => 2,
            (None, _) => return None,
        };
        let end = self.text.match_indices('/').map(|(position, _)| position).nth(segments);
        Self::parse(self.text.get(..end.unwrap_or(self.text.len()))?).ok()
    }

    /// The path as some refusals write it, with `resourcegroups` in lower case.
    pub fn with_lowercase_group_segment(&self) -> String {
        self.as_str().replacen("/resourceGroups/", "/resourcegroups/", 1)
    }

    /// The name of the management group that the scope is or lies in, in lower case.
    pub fn management_group(&self) -> Option<&str> {
        self.key.strip_prefix(MANAGEMENT_GROUPS_KEY)?.split('/').next()
    }

    /// The key of the subscription or management group that the scope is or lies in.
    pub fn container_key(&self) -> Option<&str> {
        let prefix = [SUBSCRIPTIONS_KEY, MANAGEMENT_GROUPS_KEY]
            .into_iter()
            .find(|prefix| self.key.starts_with(prefix))?;
        let name = self.key.get(prefix.len()..)?.split('/').next()?;
        self.key.get(..prefix.len() + name.len())
    }

    /// Whether the other scope is this one or stands below it.
    pub fn contains(&self, other: &Self) -> bool {
        // Both are segments joined by single slashes, so a prefix that ends at a slash or at the end is a prefix of
        // whole segments.
        other
            .key
            .strip_prefix(&*self.key)
            .is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }

    /// The subscription the scope is or lies in.
    pub fn subscription(&self) -> Option<SubscriptionId> {
        let below = self.key.strip_prefix(SUBSCRIPTIONS_KEY)?;
        below.split('/').next()?.parse().ok()
    }
}

impl From<&ArmResourceId> for RbacScope {
    fn from(id: &ArmResourceId) -> Self {
        Self { text: id.as_str().into(), key: id.key().into() }
    }
}

fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && segment != "."
        && segment != ".."
        && !segment.contains(|c: char| {
            c.is_control() || matches!(c, '%' | '\\' | '?' | '#' | '*' | '"' | '\'' | '<' | '>')
        })
}

impl TryFrom<String> for RbacScope {
    type Error = NotAScope;

    fn try_from(text: String) -> Result<Self, NotAScope> {
        Self::parse(&text)
    }
}

impl From<RbacScope> for String {
    fn from(scope: RbacScope) -> Self {
        scope.as_str().to_owned()
    }
}

impl PartialEq for RbacScope {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for RbacScope {}

impl fmt::Display for RbacScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RbacScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scope: &str, other: &str, contained: bool) {
        let scope = RbacScope::parse(scope).unwrap();
        assert_eq!(
            scope.contains(&RbacScope::parse(other).unwrap()),
            contained,
            "{scope} on {other}"
        );
    }

    #[test]
    fn a_scope_holds_whole_segments_only() {
        check("/subscriptions/s/resourceGroups/rg1", "/subscriptions/s/resourceGroups/rg1", true);
        check(
            "/subscriptions/s/resourceGroups/rg1",
            "/SUBSCRIPTIONS/S/resourcegroups/RG1/providers/p/t/n",
            true,
        );
        check("/subscriptions/s/resourceGroups/rg1", "/subscriptions/s/resourceGroups/rg10", false);
        check("/subscriptions/s/resourceGroups/rg1", "/subscriptions/s", false);
        check("/", "/subscriptions/s", true);
        check("/", "/", true);
        check("/subscriptions/s", "/", false);
    }

    #[test]
    fn the_ancestors_of_a_path_are_its_whole_segment_prefixes() {
        let keys = |scope: &str| {
            let scope = RbacScope::parse(scope).unwrap();
            let found: Vec<(String, u64)> =
                scope.path_ancestors().map(|key| (key.text.to_owned(), key.hash)).collect();
            for (text, hash) in &found {
                assert_eq!(ScopeKey::new(text).hash, *hash, "{text}");
            }
            found.into_iter().map(|(text, _)| text).collect::<Vec<_>>()
        };
        assert_eq!(keys("/"), [""]);
        assert_eq!(keys("/A"), ["", "/a"]);
        assert_eq!(keys("/a/B/c"), ["", "/a", "/a/b", "/a/b/c"]);
    }

    #[test]
    fn what_is_no_path_is_no_scope() {
        for wrong in [
            "",
            "subscriptions/s",
            "//",
            "/a//b",
            "/a/",
            "/a/./b",
            "/a/../b",
            "/a/%2e%2e",
            "/a\\b",
            "/a/*",
        ] {
            assert!(RbacScope::parse(wrong).is_err(), "{wrong}");
        }
    }
}
