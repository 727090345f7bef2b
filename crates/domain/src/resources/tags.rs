//! Tags of whatever has some: subscriptions, resource groups and resources, each kept in its own record.
//!
//! Names are compared without case, and keep the case in which they were first put.
//! Source: Azure Resource Manager, "Use tags to organize your Azure resources"; Microsoft.Resources/tags.

use std::collections::BTreeMap;

use super::any_resource::AnyResource;
use super::generic::GenericResource;
use super::resource_group::{self, ResourceGroup};
use super::{ResourceError, check_tags, listing, require_group, require_subscription};
use crate::compute::ComputeResource;
use crate::directory::UserAssignedIdentity;
use crate::directory::identity_block;
use crate::directory::tenant::Subscription;
use crate::ids::SubscriptionId;
use crate::key_vault::Vault;
use crate::operation::OperationContext;
use crate::rbac::RbacScope;
use crate::records::Versioned;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State};

/// Tags: names and values.
pub type Tags = BTreeMap<String, String>;

/// What has tags.
#[derive(Clone, Copy, Debug)]
enum Tagged<'a> {
    Subscription(&'a Versioned<Subscription>),
    Group(&'a Versioned<ResourceGroup>),
    Resource(AnyResource<'a>),
}

impl<'a> Tagged<'a> {
    /// What a scope names: a subscription, a group or a whole resource.
    fn find(snapshot: &'a Snapshot, scope: &RbacScope) -> Result<Self, ResourceError> {
        let unsupported = || ResourceError::NotTaggable(scope.clone());
        let subscription = scope.subscription().ok_or_else(unsupported)?;
        if let Some(id) = scope.resource() {
            require_group(snapshot, &id)?;
            let found = AnyResource::find(snapshot, &id).filter(|_| id.key() == scope.key());
            return found.map(Self::Resource).ok_or(ResourceError::NotFound(id));
        }
        let depth = scope.key().matches('/').count();
        match scope.resource_group() {
            Some(name) if depth == 4 => {
                resource_group::find(snapshot, subscription, name).map(Self::Group)
            }
            None if depth == 2 => {
                require_subscription(snapshot, subscription).map(Self::Subscription)
            }
            Some(_) | None => Err(unsupported()),
        }
    }

    fn tags(self) -> &'a Tags {
        match self {
            Self::Subscription(subscription) => &subscription.record.tags,
            Self::Group(group) => &group.record.tags,
            Self::Resource(resource) => resource.tags(),
        }
    }

    fn plan_put(self, snapshot: &Snapshot, changes: &mut Changes, tags: Tags) {
        match self {
            Self::Subscription(subscription) => {
                let subscription = subscription.record.as_ref().clone();
                changes.put(snapshot, &Subscription { tags, ..subscription });
            }
            Self::Group(group) => {
                changes.put(snapshot, &ResourceGroup { tags, ..group.record.as_ref().clone() });
            }
            Self::Resource(AnyResource::Compute(resource)) => {
                let resource = resource.record.as_ref().clone();
                let (id, identity) = (&resource.id, &resource.identity);
                identity_block::refresh_principal(snapshot, changes, id, identity);
                changes.put(snapshot, &ComputeResource { tags, ..resource });
            }
            Self::Resource(AnyResource::Generic(resource)) => {
                let resource = resource.record.as_ref().clone();
                changes.put(snapshot, &GenericResource { tags, ..resource });
            }
            Self::Resource(AnyResource::Identity(identity)) => {
                let identity = identity.record.as_ref().clone();
                changes.put(snapshot, &UserAssignedIdentity { tags, ..identity });
            }
            Self::Resource(AnyResource::Vault(vault)) => {
                changes.put(snapshot, &Vault { tags, ..vault.record.as_ref().clone() });
            }
        }
    }
}

/// The tags of what a scope names.
pub fn find(snapshot: &Snapshot, scope: &RbacScope) -> Result<Tags, ResourceError> {
    Ok(Tagged::find(snapshot, scope)?.tags().clone())
}

/// What is done to tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagChange {
    /// These are all there are.
    Replace(Tags),
    /// These come to those that are there, or give them other values.
    Merge(Tags),
    /// These go: by name, or, where a value is said, only with that value.
    Delete(BTreeMap<String, Option<String>>),
}

impl TagChange {
    fn apply(&self, present: &Tags) -> Result<Tags, ResourceError> {
        match self {
            Self::Replace(tags) => {
                check_tags(tags)?;
                let kept =
                    |(name, value): (&String, &String)| (kept_name(present, name), value.clone());
                Ok(tags.iter().map(kept).collect())
            }
            Self::Merge(tags) => {
                check_tags(tags)?;
                let mut merged = present.clone();
                merged.extend(
                    tags.iter().map(|(name, value)| (kept_name(present, name), value.clone())),
                );
                check_tags(&merged)?;
                Ok(merged)
            }
            Self::Delete(gone) => {
                let mut left = present.clone();
                left.retain(|name, value| {
                    let mut meant = gone.iter().filter(|(other, _)| is_same(other, name));
                    !meant.any(|(_, wanted)| wanted.as_ref().is_none_or(|wanted| wanted == value))
                });
                Ok(left)
            }
        }
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The name as it stands already, or as it is given.
fn kept_name(present: &Tags, name: &str) -> String {
    present.keys().find(|known| is_same(known, name)).map_or_else(|| name.to_owned(), Clone::clone)
}

/// Changes the tags of what a scope names; the tags that it has then.
pub async fn change(
    state: &State,
    operation: &OperationContext,
    scope: &RbacScope,
    change: &TagChange,
) -> Result<Tags, ResourceError> {
    state
        .transact(operation, |snapshot, changes| {
            let tagged = Tagged::find(snapshot, scope)?;
            let tags = change.apply(tagged.tags())?;
            if tags != *tagged.tags() {
                tagged.plan_put(snapshot, changes, tags.clone());
            }
            Ok(tags)
        })
        .await
}

/// How often each value of a tag is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagUse {
    /// The tag's name, in one of the spellings in use.
    pub name: String,
    /// How often each value stands.
    pub values: BTreeMap<String, usize>,
}

/// The tags in use in a subscription: its own, and those of its groups and resources; by name in lower case.
pub fn in_use(
    snapshot: &Snapshot,
    subscription: SubscriptionId,
) -> Result<BTreeMap<String, TagUse>, ResourceError> {
    let own = &require_subscription(snapshot, subscription)?.tags;
    let groups = resource_group::list(snapshot, subscription)?;
    let resources = listing::below(snapshot, &format!("/subscriptions/{subscription}"));
    let all = std::iter::once(own)
        .chain(groups.iter().map(|group| &group.tags))
        .chain(resources.iter().map(|resource| &resource.tags));
    let mut names: BTreeMap<String, TagUse> = BTreeMap::new();
    for (name, value) in all.flatten() {
        let used = names.entry(name.to_lowercase()).or_default();
        if used.name.is_empty() {
            used.name.clone_from(name);
        }
        *used.values.entry(value.clone()).or_default() += 1;
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn check(change: &TagChange, expected: &[(&str, &str)]) {
        let present = tags(&[("Env", "dev"), ("team", "x")]);
        assert_eq!(change.apply(&present), Ok(tags(expected)), "{change:?}");
    }

    #[test]
    fn names_are_compared_without_case_and_keep_their_first_one() {
        check(&TagChange::Replace(tags(&[("ENV", "prod")])), &[("Env", "prod")]);
        check(&TagChange::Replace(tags(&[])), &[]);
        check(
            &TagChange::Merge(tags(&[("env", "prod"), ("New", "")])),
            &[("Env", "prod"), ("New", ""), ("team", "x")],
        );
        let delete = |name: &str, value: Option<&str>| {
            TagChange::Delete(BTreeMap::from([(name.to_owned(), value.map(str::to_owned))]))
        };
        check(&delete("ENV", None), &[("team", "x")]);
        check(&delete("env", Some("dev")), &[("team", "x")]);
        check(&delete("env", Some("DEV")), &[("Env", "dev"), ("team", "x")]);
        check(&delete("none", None), &[("Env", "dev"), ("team", "x")]);
    }

    #[test]
    fn a_merge_does_not_go_beyond_what_a_thing_may_have() {
        let many = |from: usize, to: usize| -> Tags {
            (from..to).map(|number| (number.to_string(), String::new())).collect()
        };
        assert!(TagChange::Merge(many(25, 50)).apply(&many(0, 25)).is_ok());
        let refused = TagChange::Merge(many(25, 51)).apply(&many(0, 25));
        assert_eq!(refused, Err(ResourceError::TooManyTags(51)));
        let twice = tags(&[("a", ""), ("A", "")]);
        assert!(matches!(
            TagChange::Merge(twice).apply(&tags(&[])),
            Err(ResourceError::TagInvalid(_))
        ));
    }
}
