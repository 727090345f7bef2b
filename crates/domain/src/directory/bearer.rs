//! The resources that bear identities, whatever their type: one place that knows all of them.

use std::collections::BTreeMap;

use super::UserAssignedIdentity;
use super::identity_block::IdentityBlock;
use crate::resource_id::ArmResourceId;
use crate::resources::generic;
use crate::snapshot::Snapshot;

/// A resource with its `identity` member.
#[derive(Clone, Copy, Debug)]
pub struct Bearer<'a> {
    /// Its resource id.
    pub id: &'a ArmResourceId,
    /// Where it is: an identity can be isolated to its region.
    pub location: &'a str,
    /// Its tags.
    pub tags: &'a BTreeMap<String, String>,
    /// Its identities.
    pub identity: &'a IdentityBlock,
}

/// Every resource that can have identities, in the order of the nouns. A noun that gets an `identity` is added here, and
/// in [`find`].
pub fn all(snapshot: &Snapshot) -> impl Iterator<Item = Bearer<'_>> {
    let compute = snapshot.compute_resources.iter().map(|(_, resource)| resource.bearer());
    let generic = snapshot.generic_resources.iter().map(|(_, resource)| resource.bearer());
    // Virtual networks and their like are kept in the same way, and have none.
    compute.chain(generic.filter(|bearer| generic::bears_identity(bearer.id)))
}

/// The resource with this id, if it can have identities.
pub fn find<'a>(snapshot: &'a Snapshot, id: &ArmResourceId) -> Option<Bearer<'a>> {
    let key = id.key();
    let compute = snapshot.compute_resources.get(&key).map(|resource| resource.bearer());
    compute.or_else(|| {
        let generic = snapshot.generic_resources.get(&key)?;
        generic::bears_identity(id).then(|| generic.bearer())
    })
}

/// The resources of all subscriptions that an identity is assigned to; a broken reference to one that had its name is none.
pub fn having<'a>(
    snapshot: &'a Snapshot,
    identity: &UserAssignedIdentity,
) -> impl Iterator<Item = Bearer<'a>> {
    let (id, principal) = (identity.id.clone(), identity.principal_id);
    all(snapshot).filter(move |bearer| {
        bearer.identity.user_assigned(&id).is_some_and(|it| it.principal_id == principal)
    })
}
