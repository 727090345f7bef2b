//! The instances of a virtual machine scale set: how many there are, and which run.
//!
//! A set is one record with one identity block; its instances are numbered members of it and have no identities of their
//! own. Source: Microsoft.Compute/virtualMachineScaleSets, REST API, of sets in uniform orchestration.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ComputeError, ComputeResource, PowerState, find};
use crate::credential::remove_credentials_on;
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::{RbacScope, assignment};
use crate::records::Versioned;
use crate::resource_id::ArmResourceId;
use crate::resources::{ResourceError, lock};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// The type of an instance.
pub const INSTANCE_TYPE: &str = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines";

/// The last type segment of an instance's resource id.
const INSTANCE_SEGMENT: &str = "virtualMachines";

/// The number of an instance, counted from 0 within its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(u64);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for InstanceId {
    type Err = ScaleSetError;

    /// Reads the one spelling that an instance has: `007` names none, lest two paths mean one instance.
    fn from_str(text: &str) -> Result<Self, ScaleSetError> {
        text.parse()
            .ok()
            .map(Self)
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| ScaleSetError::InstanceIdInvalid(text.to_owned()))
    }
}

/// One instance of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Whether it runs.
    pub power_state: PowerState,
    /// New for each instance that is made: `vmId`.
    pub vm_id: Uuid,
}

/// The instances of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instances {
    /// The number of the next one: none is given twice in the life of a set.
    next: u64,
    present: BTreeMap<InstanceId, Instance>,
}

impl Instances {
    /// The instance with this number.
    pub fn get(&self, id: InstanceId) -> Option<&Instance> {
        self.present.get(&id)
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (InstanceId, &Instance)> {
        self.present.iter().map(|(id, instance)| (*id, instance))
    }

    /// The set's capacity.
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// Whether there never were any: what is no set has none.
    pub(super) const fn is_unused(&self) -> bool {
        self.next == 0
    }

    /// Switches all of them on or off.
    pub(super) fn switch_all(&mut self, power_state: PowerState) {
        for instance in self.present.values_mut() {
            instance.power_state = power_state;
        }
    }

    /// Adds running instances up to the capacity, or takes away those with the highest numbers; returns what it took.
    pub(crate) fn resize(
        &mut self,
        capacity: usize,
        vm_id: impl Fn(InstanceId) -> Uuid,
    ) -> BTreeSet<InstanceId> {
        while self.present.len() < capacity {
            let id = InstanceId(self.next);
            let instance = Instance { power_state: PowerState::Running, vm_id: vm_id(id) };
            self.present.insert(id, instance);
            self.next += 1;
        }
        let mut taken = BTreeSet::new();
        while self.present.len() > capacity {
            taken.extend(self.present.pop_last().map(|(id, _)| id));
        }
        taken
    }
}

/// Why a request about the instances of a set is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaleSetError {
    /// The text is no number of an instance.
    #[error("`{0}` is no instance id")]
    InstanceIdInvalid(String),
    /// The set has no such instance, or has none any more.
    #[error("instance {0} does not exist")]
    InstanceNotFound(InstanceId),
    /// More instances than a set can have.
    #[error("{capacity} instances of {name}, {max} are allowed", max = limits::SCALE_SET_INSTANCES_MAX)]
    TooManyInstances {
        /// The set's name.
        name: String,
        /// How many the request wants.
        capacity: u64,
    },
}

/// Which instances a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All that the set has.
    All,
    /// These.
    Of(Vec<InstanceId>),
}

impl Selection {
    /// The instances that are meant, all of which have to be there.
    pub fn among(&self, instances: &Instances) -> Result<BTreeSet<InstanceId>, ScaleSetError> {
        match self {
            Self::All => Ok(instances.iter().map(|(id, _)| id).collect()),
            Self::Of(ids) => match ids.iter().find(|id| instances.get(**id).is_none()) {
                Some(missing) => Err(ScaleSetError::InstanceNotFound(*missing)),
                None => Ok(ids.iter().copied().collect()),
            },
        }
    }
}

/// The resource id of an instance.
pub fn instance_resource_id(set: &ArmResourceId, id: InstanceId) -> ArmResourceId {
    set.numbered_part(INSTANCE_SEGMENT, id.0)
}

/// What an instance is called.
pub fn instance_name(set: &ArmResourceId, id: impl fmt::Display) -> String {
    format!("{}_{id}", set.name())
}

/// The set and the number that an instance's resource id names, when the set exists.
pub(super) fn set_and_instance<'a>(
    snapshot: &'a Snapshot,
    id: &ArmResourceId,
) -> Option<(&'a Versioned<ComputeResource>, InstanceId)> {
    let set = id.parent().filter(|_| id.is_of_type(INSTANCE_TYPE))?;
    Some((snapshot.compute_resources.get(&set.key())?, id.name().parse().ok()?))
}

/// An instance, with the set that it is of.
pub fn find_instance<'a>(
    snapshot: &'a Snapshot,
    id: &ArmResourceId,
) -> Result<(&'a Versioned<ComputeResource>, InstanceId, &'a Instance), ResourceError> {
    let missing = || ResourceError::NotFound(id.clone());
    let set = find(snapshot, &id.parent().ok_or_else(missing)?)?;
    let number: InstanceId = id.name().parse().map_err(|_| missing())?;
    let instance = set.instances.get(number).ok_or_else(missing)?;
    Ok((set, number, instance))
}

/// Plans as many instances as are asked for. Who goes is the newest; what it could prove itself with goes with it.
pub(super) fn plan_capacity(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    set: &mut ComputeResource,
    capacity: u64,
) -> Result<(), ComputeError> {
    let wanted = usize::try_from(capacity).ok().filter(|it| *it <= limits::SCALE_SET_INSTANCES_MAX);
    let wanted = wanted.ok_or_else(|| ScaleSetError::TooManyInstances {
        name: set.id.name().to_owned(),
        capacity,
    })?;
    let generation = snapshot.generation(&set.id);
    let vm_id = |id| {
        let key = instance_resource_id(&set.id, id).key();
        state.entropy.id_for(&format!("instance/{key}/{generation}"))
    };
    let taken = set.instances.resize(wanted, vm_id);
    Ok(plan_leave(snapshot, changes, set, &taken)?)
}

/// What becomes of the credentials and role assignments of instances that go. A locked one does not, whatever its set is
/// asked for.
fn plan_leave(
    snapshot: &Snapshot,
    changes: &mut Changes,
    set: &ComputeResource,
    gone: &BTreeSet<InstanceId>,
) -> Result<(), WriteError> {
    let ids: Vec<ArmResourceId> =
        gone.iter().map(|id| instance_resource_id(&set.id, *id)).collect();
    for id in &ids {
        lock::check_below(snapshot, &RbacScope::from(id))?;
    }
    let gone: HashSet<&ArmResourceId> = ids.iter().collect();
    for principal in set.identity.principals() {
        remove_credentials_on(snapshot, changes, principal, |resource| gone.contains(resource));
    }
    for id in &ids {
        assignment::plan_delete_below(snapshot, changes, &RbacScope::from(id));
    }
    Ok(())
}

/// Switches instances on or off; the set's identities stay.
pub async fn set_power_state(
    state: &State,
    operation: &OperationContext,
    set: &ArmResourceId,
    selection: &Selection,
    power_state: PowerState,
) -> Result<(), ComputeError> {
    state
        .transact(operation, |snapshot, changes| {
            let set = find(snapshot, set)?;
            plan_power_state(
                snapshot,
                changes,
                set,
                &selection.among(&set.instances)?,
                power_state,
            );
            Ok(())
        })
        .await
}

/// Switches one instance on or off, by its resource id.
pub async fn set_instance_power_state(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
    power_state: PowerState,
) -> Result<(), ComputeError> {
    state
        .transact(operation, |snapshot, changes| {
            let (set, number, _) = find_instance(snapshot, id)?;
            plan_power_state(snapshot, changes, set, &BTreeSet::from([number]), power_state);
            Ok(())
        })
        .await
}

fn plan_power_state(
    snapshot: &Snapshot,
    changes: &mut Changes,
    set: &Versioned<ComputeResource>,
    meant: &BTreeSet<InstanceId>,
    power_state: PowerState,
) {
    let mut set = set.record.as_ref().clone();
    for id in meant {
        set.instances.present.entry(*id).and_modify(|it| it.power_state = power_state);
    }
    changes.put(snapshot, &set);
}

/// Deletes instances: the set's capacity is less by as many.
pub async fn delete_instances(
    state: &State,
    operation: &OperationContext,
    set: &ArmResourceId,
    selection: &Selection,
) -> Result<(), ComputeError> {
    state
        .transact(operation, |snapshot, changes| {
            let set = find(snapshot, set)?;
            let gone = selection.among(&set.instances)?;
            Ok(plan_delete_instances(snapshot, changes, set, &gone)?)
        })
        .await
}

/// Deletes one instance by its resource id; `false` when there was none.
pub async fn delete_instance(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
) -> Result<bool, ComputeError> {
    state
        .transact(operation, |snapshot, changes| {
            let Some((set, number)) = set_and_instance(snapshot, id) else { return Ok(false) };
            if set.instances.get(number).is_none() {
                return Ok(false);
            }
            plan_delete_instances(snapshot, changes, set, &BTreeSet::from([number]))?;
            Ok(true)
        })
        .await
}

fn plan_delete_instances(
    snapshot: &Snapshot,
    changes: &mut Changes,
    set: &Versioned<ComputeResource>,
    gone: &BTreeSet<InstanceId>,
) -> Result<(), WriteError> {
    plan_leave(snapshot, changes, set, gone)?;
    let mut set = set.record.as_ref().clone();
    set.instances.present.retain(|id, _| !gone.contains(id));
    changes.put(snapshot, &set);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(instances: &mut Instances, capacity: usize) -> (Vec<u64>, Vec<u64>) {
        let taken = instances.resize(capacity, |id| Uuid::from_u128(u128::from(id.0)));
        let present = instances.iter().map(|(id, _)| id.0).collect();
        (present, taken.iter().map(|id| id.0).collect())
    }

    #[test]
    fn a_number_is_given_once_and_the_newest_goes_first() {
        let mut instances = Instances::default();
        assert!(instances.is_unused());
        for (capacity, present, taken) in [
            (3, vec![0, 1, 2], vec![]),
            (1, vec![0], vec![1, 2]),
            (3, vec![0, 3, 4], vec![]),
            (0, vec![], vec![0, 3, 4]),
            (1, vec![5], vec![]),
        ] {
            assert_eq!(resized(&mut instances, capacity), (present, taken), "{capacity}");
        }
        assert!(!instances.is_unused());
    }

    #[test]
    fn a_number_has_one_spelling() {
        for right in ["0", "7", "18446744073709551615"] {
            assert_eq!(right.parse::<InstanceId>().unwrap().to_string(), right);
        }
        for wrong in ["", "*", "+1", "-1", "01", "1.0", "one", "18446744073709551616"] {
            let error = ScaleSetError::InstanceIdInvalid(wrong.to_owned());
            assert_eq!(wrong.parse::<InstanceId>(), Err(error), "{wrong}");
        }
    }
}
