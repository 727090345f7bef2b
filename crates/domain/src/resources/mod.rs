//! What every resource has: a subscription, a resource group, a location, tags.
//!
//! Source: Azure Resource Manager, "Naming rules and restrictions", "Use tags to organize your Azure resources".

pub(crate) mod any_resource;
pub mod async_operation;
pub mod feature;
pub mod generic;
pub mod generic_type;
pub mod listing;
pub mod lock;
pub mod management_group;
pub mod management_group_tree;
pub mod provider_registration;
pub mod relocation;
pub mod resource_group;
pub mod subscription;
pub mod tags;

use std::collections::BTreeMap;

use any_resource::AnyResource;

use crate::directory::tenant::Subscription;
use crate::ids::{SubscriptionId, TenantId};
use crate::limits;
use crate::operation::Principal;
use crate::rbac::RbacScope;
use crate::rbac::standing::{self, Ancestry};
use crate::records::Versioned;
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::{Changes, WriteError};

/// What every resource can be refused for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// There is no such subscription.
    #[error("subscription {0} does not exist")]
    SubscriptionNotFound(SubscriptionId),
    /// There is no such resource group.
    #[error("resource group {0} does not exist")]
    GroupNotFound(String),
    /// There is no such resource.
    #[error("{0} does not exist")]
    NotFound(ArmResourceId),
    /// There is no such resource for the new one to be a part of.
    #[error("{0} does not exist")]
    ParentNotFound(ArmResourceId),
    /// The name breaks the type's rules.
    #[error("`{name}` is no name of a {resource_type}")]
    NameInvalid {
        /// The type.
        resource_type: &'static str,
        /// The name.
        name: String,
    },
    /// A new resource needs a location.
    #[error("a location is required")]
    LocationRequired,
    /// The location of a resource cannot be changed.
    #[error("{name} is in {present}, not in {requested}")]
    LocationImmutable {
        /// The resource's name.
        name: String,
        /// Its group.
        group: String,
        /// Where it is.
        present: String,
        /// Where the request wants it.
        requested: String,
    },
    /// The location of a resource group cannot be changed.
    #[error("the group is in {present}, not in {requested}")]
    GroupLocationImmutable {
        /// Where it is.
        present: String,
        /// Where the request wants it.
        requested: String,
    },
    /// More tags than allowed.
    #[error("{0} tags, {max} are allowed", max = limits::TAGS_MAX)]
    TooManyTags(usize),
    /// A tag's name or value breaks the rules.
    #[error("tag `{0}` is not allowed")]
    TagInvalid(String),
    /// Nothing at this path can have tags.
    #[error("{0} cannot have tags")]
    NotTaggable(RbacScope),
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The subscription, if it exists.
pub fn require_subscription(
    snapshot: &Snapshot,
    id: SubscriptionId,
) -> Result<&Versioned<Subscription>, ResourceError> {
    snapshot.subscription(id).ok_or(ResourceError::SubscriptionNotFound(id))
}

/// Whether what a scope names, or lies in, exists: the management group, the subscription, the resource group, and a
/// resource of a type that keycard keeps. Sub-resources and other types are not looked for.
pub fn require_scope(
    snapshot: &Snapshot,
    tenant: TenantId,
    scope: &RbacScope,
) -> Result<(), ScopeMissing> {
    if !standing::is_of_tenant(snapshot, scope, tenant) {
        return Err(ScopeMissing::Container(scope.clone()));
    }
    if let (Some(subscription), Some(group)) = (scope.subscription(), scope.resource_group()) {
        resource_group::find(snapshot, subscription, group)
            .map_err(|_| ScopeMissing::Group(group.to_owned()))?;
    }
    match scope.resource() {
        Some(resource) if !may_exist(snapshot, &resource) => Err(ScopeMissing::Resource(resource)),
        Some(_) | None => Ok(()),
    }
}

/// The subscription of a place at which something can be set that holds below it: a subscription, a resource group or a
/// resource that is there. Of sub-resources, the resource that they are of is looked for. `None`: the scope is no such
/// place.
pub(crate) fn require_place(
    snapshot: &Snapshot,
    tenant: TenantId,
    scope: &RbacScope,
) -> Result<Option<SubscriptionId>, ScopeMissing> {
    let Some(subscription) = scope.subscription() else { return Ok(None) };
    require_scope(snapshot, tenant, scope)?;
    let depth = scope.key().matches('/').count();
    let is_place = match scope.resource() {
        Some(resource) if !is_there(snapshot, &resource) => {
            return Err(ScopeMissing::Resource(resource));
        }
        Some(_) => true,
        None => depth == 2 || (depth == 4 && scope.resource_group().is_some()),
    };
    Ok(is_place.then_some(subscription))
}

/// Relies on what a scope names being there still when the plan is committed.
pub fn rely_on_scope(snapshot: &Snapshot, changes: &mut Changes, scope: &RbacScope) {
    management_group::rely_on_group_of(snapshot, changes, scope);
    if let (Some(subscription), Some(name)) = (scope.subscription(), scope.resource_group())
        && let Ok(group) = resource_group::find(snapshot, subscription, name)
    {
        changes.rely_on(snapshot, group.record.as_ref());
    }
    if let Some(resource) = scope.resource().and_then(|id| AnyResource::find(snapshot, &id)) {
        resource.rely_on(snapshot, changes);
    }
}

fn may_exist(snapshot: &Snapshot, resource: &ArmResourceId) -> bool {
    !any_resource::is_kept_type(resource) || is_there(snapshot, resource)
}

/// Whether keycard keeps this resource.
pub fn is_there(snapshot: &Snapshot, resource: &ArmResourceId) -> bool {
    AnyResource::find(snapshot, resource).is_some()
}

/// The scope itself when it exists, else the nearest one above it that does.
pub fn nearest_existing(snapshot: &Snapshot, tenant: TenantId, scope: &RbacScope) -> RbacScope {
    let mut nearest = scope.clone();
    while require_scope(snapshot, tenant, &nearest).is_err() {
        match nearest.parent() {
            Some(parent) => nearest = parent,
            None => return scope.clone(),
        }
    }
    nearest
}

/// What of a scope does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeMissing {
    /// The subscription or management group, in this directory.
    #[error("{0} does not exist")]
    Container(RbacScope),
    /// The resource group.
    #[error("resource group {0} does not exist")]
    Group(String),
    /// The resource.
    #[error("{0} does not exist")]
    Resource(ArmResourceId),
}

/// The subscriptions that a principal can see: those in which it has any role, however far down or up, by itself or as a
/// member of a group.
pub fn visible_subscriptions(snapshot: &Snapshot, principal: &Principal) -> Vec<Subscription> {
    let principals = standing::with_groups(snapshot, principal.principal_id);
    let scopes: Vec<&RbacScope> = principals
        .iter()
        .flat_map(|principal| snapshot.assignments_of(*principal))
        .map(|assignment| &assignment.scope)
        .collect();
    let sees = |subscription: &Subscription| {
        subscription.tenant_id == principal.tenant_id
            && subscription.scope().is_some_and(|own| {
                let above = Ancestry::of(snapshot, principal.tenant_id, &own);
                scopes.iter().any(|scope| {
                    own.contains(scope) || above.as_ref().is_some_and(|above| above.holds(scope))
                })
            })
    };
    let all = snapshot.subscriptions.iter().map(|(_, subscription)| subscription);
    all.filter(|subscription| sees(subscription))
        .map(|subscription| subscription.record.as_ref().clone())
        .collect()
}

/// The subscription of a resource whose group exists.
pub fn require_group<'a>(
    snapshot: &'a Snapshot,
    id: &ArmResourceId,
) -> Result<&'a Versioned<Subscription>, ResourceError> {
    let subscription = require_subscription(snapshot, id.subscription())?;
    resource_group::find(snapshot, id.subscription(), id.resource_group())?;
    Ok(subscription)
}

/// `East US` and `eastus` are the same location.
pub fn normalized_location(location: &str) -> String {
    location.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// A resource stays where it was made.
pub fn check_location(
    id: &ArmResourceId,
    present: &str,
    requested: Option<&str>,
) -> Result<(), ResourceError> {
    match requested {
        Some(requested) if normalized_location(requested) != normalized_location(present) => {
            Err(ResourceError::LocationImmutable {
                name: id.name().to_owned(),
                group: id.resource_group().to_owned(),
                present: present.to_owned(),
                requested: requested.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

/// At most 50 tags, of allowed characters and lengths, whose names differ in more than case.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ResourceError> {
    if tags.len() > limits::TAGS_MAX {
        return Err(ResourceError::TooManyTags(tags.len()));
    }
    let mut names = std::collections::BTreeSet::new();
    for (name, value) in tags {
        let is_valid = !name.is_empty()
            && name.chars().count() <= limits::TAG_NAME_CHARS_MAX
            && value.chars().count() <= limits::TAG_VALUE_CHARS_MAX
            && !name.contains(|c: char| {
                c.is_control() || matches!(c, '<' | '>' | '%' | '&' | '\\' | '?' | '/')
            });
        if !is_valid || !names.insert(name.to_lowercase()) {
            return Err(ResourceError::TagInvalid(name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tags: &[(&str, &str)], allowed: bool) {
        let tags = tags.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(check_tags(&tags).is_ok(), allowed, "{tags:?}");
    }

    #[test]
    fn tags_follow_the_rules() {
        check(&[("env", "dev")], true);
        check(&[("env", "a"), ("ENV", "b")], false);
        check(&[("a/b", "")], false);
        check(&[("", "")], false);
        check(&[("v", &"x".repeat(257))], false);
        let many: Vec<String> = (0..51).map(|n| n.to_string()).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|n| (n.as_str(), "")).collect();
        check(&many, false);
        check(&many[..50], true);
    }

    #[test]
    fn a_location_is_the_same_in_both_spellings() {
        let id: ArmResourceId =
            "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/n/t/x"
                .parse()
                .unwrap();
        assert!(check_location(&id, "eastus", Some("East US")).is_ok());
        assert!(check_location(&id, "eastus", None).is_ok());
        assert!(check_location(&id, "eastus", Some("westus")).is_err());
    }
}
