//! The record that a request's path names: which version of it the request requires, and which one its answer shows.
//!
//! A version is the revision that wrote the record. Source: RFC 9110, section 13 (conditional requests).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::compute::{ComputeKind, ComputeResource};
use crate::directory::federated_credential;
use crate::ids::SubscriptionId;
use crate::key_vault::vault;
use crate::records::{Record, state_key};
use crate::resource_id::ArmResourceId;
use crate::resources::{generic, resource_group};
use crate::snapshot::Snapshot;
use crate::state::{Changes, Holds, WriteError};
pub use crate::store::Revision;
use crate::store::{Expectation, StoreKey};

/// The versions that a condition names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Whatever is there.
    Any,
    /// One of these; a version that was never given out is none.
    These(Vec<Revision>),
}

impl Versions {
    fn hold(&self, present: Revision) -> bool {
        match self {
            Self::Any => true,
            Self::These(versions) => versions.contains(&present),
        }
    }
}

/// What a request requires of the version that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// It is one of these: `If-Match`.
    pub matches: Option<Versions>,
    /// It is none of these: `If-None-Match`.
    pub matches_none: Option<Versions>,
}

impl Precondition {
    /// Whether it requires nothing.
    pub fn is_empty(&self) -> bool {
        self.matches.is_none() && self.matches_none.is_none()
    }

    /// Whether the version that is there, if any, is as required.
    pub fn holds(&self, present: Option<Revision>) -> bool {
        let is_one_of = |versions: &Versions| present.is_some_and(|version| versions.hold(version));
        self.matches.as_ref().is_none_or(is_one_of)
            && !self.matches_none.as_ref().is_some_and(is_one_of)
    }
}

/// The record that a request's path names. One request has one, however many writes it does.
#[derive(Debug)]
pub struct Target {
    path: String,
    required: Precondition,
    /// The version that the request has read or left; zero for none.
    version: AtomicU64,
    /// The precondition held at a commit of this request. What it writes after that it does not hold against itself.
    has_held: AtomicBool,
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.required == other.required
    }
}

impl Eq for Target {}

impl Target {
    /// The target of a request.
    pub fn new(path: String, required: Precondition) -> Self {
        Self {
            path,
            required,
            version: AtomicU64::new(Revision::ZERO.0),
            has_held: AtomicBool::new(false),
        }
    }

    /// Reads the version that is there before an answer is made of it. So it is never later than what the answer shows,
    /// and whoever writes on the ground of it does not overwrite what it did not see.
    pub fn read(&self, snapshot: &Snapshot) -> Option<Revision> {
        let version = place_of(snapshot, &self.path).and_then(|place| place.version);
        self.note(version);
        version
    }

    /// The version that the request has read or left.
    pub fn version(&self) -> Option<Revision> {
        let version = Revision(self.version.load(Ordering::Acquire));
        (version != Revision::ZERO).then_some(version)
    }

    /// What the request requires.
    pub fn required(&self) -> &Precondition {
        &self.required
    }

    fn note(&self, version: Option<Revision>) {
        self.version.store(version.unwrap_or(Revision::ZERO).0, Ordering::Release);
    }

    /// Compares the version of a plan's snapshot with the required one, and makes the commit rely on it.
    pub(crate) fn require(
        &self,
        snapshot: &Snapshot,
        changes: &mut Changes,
    ) -> Result<Option<Place>, WriteError> {
        let Some(place) = place_of(snapshot, &self.path) else { return Ok(None) };
        if !self.required.is_empty() && !self.has_held.load(Ordering::Acquire) {
            if !self.required.holds(place.version) {
                return Err(WriteError::PreconditionFailed);
            }
            changes.expect(place.expectation.clone());
        }
        Ok(Some(place))
    }

    /// Notes which version a plan left: the commit's, where it wrote the record, else the one that was there.
    pub(crate) fn leave(&self, place: Option<&Place>, written: Option<Revision>) {
        let Some(place) = place else { return };
        self.note(written.or(place.version));
    }

    /// Notes that a commit was done as required.
    pub(crate) fn hold(&self) {
        self.has_held.store(true, Ordering::Release);
    }
}

/// Where the record of a path stands, and in which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The record's version; none where the path names nothing that can be seen.
    pub version: Option<Revision>,
    /// What a commit has to rely on for that to stay so.
    expectation: Expectation,
}

impl Place {
    /// The record's key in the store.
    pub(crate) fn key(&self) -> &StoreKey {
        match &self.expectation {
            Expectation::Absent(key) | Expectation::Unchanged(key, _) => key,
        }
    }

    fn of<R: Record>(snapshot: &Snapshot, record_id: &str) -> Self
    where
        Snapshot: Holds<R>,
    {
        let key = state_key::<R>(record_id);
        let version = snapshot.revision_of(record_id);
        let expectation = match version {
            Some(version) => Expectation::Unchanged(key, version),
            None => Expectation::Absent(key),
        };
        Self { version, expectation }
    }

    /// The record stands there, but the path does not name it.
    fn unseen(self) -> Self {
        Self { version: None, ..self }
    }
}

/// The place of the record that a path of Resource Manager names: of a resource group, or of a resource of a type that
/// has records of its own. Nothing for other paths, whether there is something or not.
pub fn place_of(snapshot: &Snapshot, path: &str) -> Option<Place> {
    if let Some((subscription, group)) = group_of(path) {
        let record_id = resource_group::record_id(subscription, group);
        return Some(Place::of::<resource_group::ResourceGroup>(snapshot, &record_id));
    }
    let id: ArmResourceId = path.parse().ok()?;
    let key = id.key();
    let resource_type = id.resource_type();
    if ComputeKind::of_type(&resource_type).is_some() {
        return Some(Place::of::<ComputeResource>(snapshot, &key));
    }
    match resource_type.to_ascii_lowercase().as_str() {
        "microsoft.managedidentity/userassignedidentities" => {
            Some(Place::of::<crate::directory::UserAssignedIdentity>(snapshot, &key))
        }
        "microsoft.managedidentity/userassignedidentities/federatedidentitycredentials" => {
            let parent = id.parent()?;
            let Some(identity) = snapshot.user_assigned_identities.get(&parent.key()) else {
                let absent = Place::of::<crate::directory::UserAssignedIdentity>;
                return Some(absent(snapshot, &parent.key()));
            };
            let record_id = federated_credential::record_id(identity.client_id, id.name());
            Some(Place::of::<crate::directory::FederatedCredential>(snapshot, &record_id))
        }
        "microsoft.keyvault/vaults" => {
            let name = id.name().to_ascii_lowercase();
            let place = Place::of::<crate::key_vault::Vault>(snapshot, &name);
            let is_meant = vault::find_by_name(snapshot, &name).is_some_and(|it| it.id == id);
            Some(if is_meant { place } else { place.unseen() })
        }
        _ => generic::type_of(&id).map(|_| Place::of::<generic::GenericResource>(snapshot, &key)),
    }
}

/// The subscription and the group that a path names, when it names just these.
fn group_of(path: &str) -> Option<(SubscriptionId, &str)> {
    let mut segments = path.strip_prefix('/')?.split('/');
    let (subscriptions, subscription) = (segments.next()?, segments.next()?);
    let (groups, group) = (segments.next()?, segments.next()?);
    let is_group = segments.next().is_none()
        && subscriptions.eq_ignore_ascii_case("subscriptions")
        && groups.eq_ignore_ascii_case("resourceGroups");
    Some((subscription.parse().ok()?, group)).filter(|_| is_group)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::resources::resource_group::ResourceGroup;

    const SUBSCRIPTION: &str = "11111111-2222-3333-4444-555555555555";

    fn check(
        matches: Option<Versions>,
        matches_none: Option<Versions>,
        present: Option<u64>,
        expected: bool,
    ) {
        let precondition = Precondition { matches, matches_none };
        let held = precondition.holds(present.map(Revision));
        assert_eq!(held, expected, "{precondition:?} on {present:?}");
    }

    #[test]
    fn a_condition_holds_for_the_versions_it_names() {
        let these = |numbers: &[u64]| {
            Some(Versions::These(numbers.iter().copied().map(Revision).collect()))
        };
        check(None, None, None, true);
        check(Some(Versions::Any), None, Some(7), true);
        check(Some(Versions::Any), None, None, false);
        check(these(&[6, 7]), None, Some(7), true);
        check(these(&[6]), None, Some(7), false);
        check(these(&[6]), None, None, false);
        check(these(&[]), None, Some(7), false);
        check(None, Some(Versions::Any), Some(7), false);
        check(None, Some(Versions::Any), None, true);
        check(None, these(&[7]), Some(7), false);
        check(None, these(&[6]), Some(7), true);
        check(these(&[7]), these(&[7]), Some(7), false);
    }

    #[test]
    fn a_path_leads_to_its_record_whatever_its_case() {
        let mut snapshot = Snapshot::default();
        let group = ResourceGroup {
            subscription_id: SUBSCRIPTION.parse().unwrap(),
            name: "Rg1".to_owned(),
            location: "local".to_owned(),
            tags: BTreeMap::new(),
            managed_by: None,
        };
        snapshot.insert_for_test(&group);
        let path = group.path();
        for spelling in [path.clone(), path.to_uppercase(), path.to_lowercase()] {
            let place = place_of(&snapshot, &spelling).unwrap();
            assert_eq!(place.version, Some(Revision(1)), "{spelling}");
            assert_eq!(place.key(), &state_key::<ResourceGroup>(&group.record_id()));
        }
        assert_eq!(place_of(&snapshot, &format!("{path}0")).unwrap().version, None);
        for other in ["/", "", "/subscriptions", &format!("/subscriptions/{SUBSCRIPTION}")] {
            assert_eq!(place_of(&snapshot, other), None, "{other}");
        }
        let toaster = format!("{path}/providers/Microsoft.Kitchen/toasters/t1");
        assert_eq!(place_of(&snapshot, &toaster), None);
        let vault = format!("{path}/providers/Microsoft.KeyVault/vaults/kv1");
        assert_eq!(place_of(&snapshot, &vault).unwrap().version, None);
    }
}
