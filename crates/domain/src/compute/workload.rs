//! What runs a workload, as its host sees it: a virtual machine, a site, or one instance of a scale set.
//!
//! An instance has a resource id and a power state of its own, and the identities of its set.

use std::sync::Arc;

use uuid::Uuid;

use super::scale_set::{
    INSTANCE_TYPE, Instance, InstanceId, instance_name, instance_resource_id, set_and_instance,
};
use super::{ComputeKind, ComputeResource, PowerState};
use crate::ids::PrincipalId;
use crate::records::Versioned;
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;

/// Something that runs and asks for tokens.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its own resource id: where its credentials are, and what its tokens say they come from.
    pub id: ArmResourceId,
    /// What it is wherever it moves: its `vmId`.
    pub instance_id: Uuid,
    /// Whether it runs.
    pub power_state: PowerState,
    /// The resource whose identities it acts as: itself, or the scale set that it is an instance of.
    pub bearer: Arc<ComputeResource>,
}

impl Workload {
    /// The workload with this id. A scale set is none: its instances are.
    pub fn find(snapshot: &Snapshot, id: &ArmResourceId) -> Option<Self> {
        if let Some(resource) = snapshot.compute_resources.get(&id.key()) {
            return Self::of(resource);
        }
        let (set, number) = set_and_instance(snapshot, id)?;
        Some(Self::of_instance(set, (number, set.instances.get(number)?)))
    }

    /// Whether it acts as this identity.
    pub fn has_identity(&self, principal: PrincipalId) -> bool {
        self.bearer.identity.principals().any(|id| id == principal)
    }

    /// All workloads.
    pub fn all(snapshot: &Snapshot) -> impl Iterator<Item = Self> {
        snapshot.compute_resources.iter().flat_map(|(_, resource)| {
            let instances = resource.instances.iter().map(|it| Self::of_instance(resource, it));
            Self::of(resource).into_iter().chain(instances)
        })
    }

    /// What the workload with this id is called: its resource's name, of an instance the set's with the number, of a
    /// slot the site's too.
    pub fn name(id: &ArmResourceId) -> String {
        match id.parent().filter(|_| id.is_of_type(INSTANCE_TYPE)) {
            Some(set) => instance_name(&set, id.name()),
            None => id.name_in_group().to_owned(),
        }
    }

    fn of(resource: &Versioned<ComputeResource>) -> Option<Self> {
        resource.kind.runs_itself().then(|| Self {
            id: resource.id.clone(),
            instance_id: resource.instance_id,
            power_state: power_state(resource),
            bearer: Arc::clone(&resource.record),
        })
    }

    fn of_instance(
        set: &Versioned<ComputeResource>,
        (number, instance): (InstanceId, &Instance),
    ) -> Self {
        Self {
            id: instance_resource_id(&set.id, number),
            instance_id: instance.vm_id,
            power_state: instance.power_state,
            bearer: Arc::clone(&set.record),
        }
    }
}

/// Whether a resource runs. A server outside Azure does whatever its resource says: that is only whether its agent was heard of
/// lately, and what asks at its endpoint is there.
fn power_state(resource: &ComputeResource) -> PowerState {
    match resource.kind {
        ComputeKind::ArcMachine => PowerState::Running,
        ComputeKind::VirtualMachine
        | ComputeKind::Site
        | ComputeKind::ScaleSet
        | ComputeKind::Slot
        | ComputeKind::ManagedCluster
        | ComputeKind::ContainerApp => resource.power_state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_called_by_its_set_and_number() {
        let group =
            "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers";
        for (tail, name) in [
            ("Microsoft.Compute/virtualMachines/vm", "vm"),
            ("Microsoft.Compute/virtualMachineScaleSets/web", "web"),
            ("Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/7", "web_7"),
            ("microsoft.compute/VIRTUALMACHINESCALESETS/web/VIRTUALMACHINES/7", "web_7"),
            ("Microsoft.Web/sites/web/slots/7", "web/slots/7"),
        ] {
            assert_eq!(Workload::name(&format!("{group}/{tail}").parse().unwrap()), name, "{tail}");
        }
    }
}
