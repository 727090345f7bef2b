//! Resources that carry identities: virtual machines, scale sets, sites and slots, clusters, Arc machines, container apps.
//!
//! Their properties are the client's, kept as they are; what keycard decides about is the identity block, the power
//! state and the life of the resource.

pub mod attachment;
mod kind;
pub mod machine;
pub mod managed_cluster;
pub mod scale_set;
pub mod workload;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::UtcDateTime;
use uuid::Uuid;

use crate::credential::remove_credentials_of;
use crate::directory::bearer::Bearer;
use crate::directory::identity_block::{
    self, IdentityBlock, IdentityBlockError, IdentityRequest, MapRule,
};
use crate::directory::service_principal::count_made;
use crate::directory::user_assigned_identity::{Put, UserAssignedIdentityError};
use crate::ids::TenantId;
use crate::operation::OperationContext;
use crate::rbac::{RbacScope, assignment};
use crate::records::{Record, Versioned};
use crate::resource_id::ArmResourceId;
use crate::resources::{ResourceError, check_location, check_tags, generic, require_group};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};
pub use kind::ComputeKind;
use kind::WithoutIdentity;
use managed_cluster::{Cluster, ClusterError, ClusterRequest};
use scale_set::{Instances, ScaleSetError};
pub use workload::Workload;

/// Whether the resource runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerState {
    /// It runs: its workloads get tokens.
    Running,
    /// It is switched off.
    Stopped,
    /// It is switched off and holds no hardware.
    Deallocated,
}

/// A resource that carries identities and runs a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComputeResource {
    /// Its resource id.
    pub id: ArmResourceId,
    /// What it is.
    pub kind: ComputeKind,
    /// Where it was made; immutable.
    pub location: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its identities.
    pub identity: IdentityBlock,
    /// Whether it runs; of a scale set, its instances say so.
    pub power_state: PowerState,
    /// New for each resource that is made, under whatever name: `vmId`, of a scale set `uniqueId`.
    pub instance_id: Uuid,
    /// The client's properties.
    pub properties: Map<String, Value>,
    /// Top-level members the client sent besides the known ones, such as `kind`, `sku` and `zones`.
    pub other: Map<String, Value>,
    /// The instances of a scale set.
    #[serde(default, skip_serializing_if = "Instances::is_unused")]
    pub instances: Instances,
    /// How often it was started or restarted; what is given to its workload at a start is another thing each time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub starts: u64,
    /// When it was switched on or off last, or made, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched_at: Option<i64>,
    /// What a cluster has made for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl ComputeResource {
    /// The resource as one that has identities.
    pub const fn bearer(&self) -> Bearer<'_> {
        Bearer {
            id: &self.id,
            location: self.location.as_str(),
            tags: &self.tags,
            identity: &self.identity,
        }
    }

    fn switch(&mut self, power_state: PowerState, now: UtcDateTime) {
        if self.power_state != power_state || self.switched_at.is_none() {
            self.switched_at = Some(now.unix_timestamp());
        }
        self.power_state = power_state;
    }
}

impl Record for ComputeResource {
    const KIND: &'static str = "compute-resources";

    fn record_id(&self) -> String {
        self.id.key()
    }
}

/// Why a compute resource is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComputeError {
    /// The identity part of the request.
    #[error(transparent)]
    Identity(#[from] IdentityBlockError),
    /// The instances of a scale set.
    #[error(transparent)]
    ScaleSet(#[from] ScaleSetError),
    /// The nodes of a cluster, and what they are.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The identity that is made for a cluster's nodes.
    #[error(transparent)]
    KubeletIdentity(#[from] UserAssignedIdentityError),
    /// There is a resource of this name elsewhere, and one of a kind may have it.
    #[error("the name {0} is taken")]
    NameTaken(String),
    /// What every resource can be refused for.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl From<WriteError> for ComputeError {
    fn from(error: WriteError) -> Self {
        Self::Resource(error.into())
    }
}

/// What a PUT or PATCH asks for; an absent member says nothing.
#[derive(Clone, Debug, Default)]
pub struct ComputeRequest {
    /// Where.
    pub location: Option<String>,
    /// All tags.
    pub tags: Option<BTreeMap<String, String>>,
    /// The identity block.
    pub identity: Option<IdentityRequest>,
    /// The properties.
    pub properties: Option<Map<String, Value>>,
    /// Further top-level members.
    pub other: Map<String, Value>,
    /// How many instances a scale set is to have.
    pub capacity: Option<u64>,
    /// Whether it is to run, where a PUT or PATCH says so.
    pub power_state: Option<PowerState>,
    /// What a cluster is to be.
    pub cluster: Option<ClusterRequest>,
}

/// What a plan is made with.
#[derive(Debug)]
struct Plan<'a> {
    state: &'a State,
    snapshot: &'a Snapshot,
    operation: &'a OperationContext,
    /// The tenant of the resource's subscription.
    tenant_id: TenantId,
}

/// Makes the resource, or replaces it.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    kind: ComputeKind,
    id: &ArmResourceId,
    request: &ComputeRequest,
) -> Result<Put<ComputeResource>, ComputeError> {
    state
        .transact(operation, |snapshot, changes| {
            let tenant_id = require_group(snapshot, id)?.tenant_id;
            kind.check_name(id.name())?;
            let existing = snapshot.compute_resources.get(&id.key());
            let mut resource = match existing {
                Some(existing) => replaced(existing, request)?,
                None => {
                    claim_place(snapshot, changes, kind, id)?;
                    fresh(state, snapshot, kind, id, request)?
                }
            };
            check_tags(&resource.tags)?;
            resource.switch(request.power_state.unwrap_or(resource.power_state), operation.now);
            if let Some(capacity) = request.capacity {
                scale_set::plan_capacity(state, snapshot, changes, &mut resource, capacity)?;
            }
            let nothing = IdentityRequest {
                identity_type: identity_block::IdentityType::None,
                user_assigned: None,
            };
            let identity = match (&request.identity, kind.without_identity()) {
                (Some(identity), _) => Some(identity),
                (None, WithoutIdentity::Keeps) => None,
                (None, WithoutIdentity::Removes) => Some(&nothing),
            };
            if let Some(identity) = identity {
                kind.check_identity(identity)?;
                resource.identity = identity_block::plan(
                    state,
                    snapshot,
                    changes,
                    operation,
                    (resource.bearer(), tenant_id),
                    (identity, MapRule::Replace),
                )?;
            }
            if let Some(wanted) = &request.cluster {
                let plan = Plan { state, snapshot, operation, tenant_id };
                managed_cluster::plan(&plan, changes, &mut resource, wanted)?;
            }
            identity_block::refresh_principal(snapshot, changes, &resource.id, &resource.identity);
            changes.put(snapshot, &resource);
            Ok(Put { resource, is_new: existing.is_none() })
        })
        .await
}

/// Whether a new resource of the kind may have this name: it follows the rules, and is free where it has to be.
pub fn check_name(snapshot: &Snapshot, kind: ComputeKind, name: &str) -> Result<(), ComputeError> {
    kind.check_name(name)?;
    let is_same =
        |other: &ComputeResource| other.kind == kind && other.id.name().eq_ignore_ascii_case(name);
    let mut all = snapshot.compute_resources.iter();
    if kind.has_one_of_a_name() && all.any(|(_, other)| is_same(other)) {
        return Err(ComputeError::NameTaken(name.to_owned()));
    }
    Ok(())
}

/// A part needs what it is a part of; a name that has to be the only one must be free.
fn claim_place(
    snapshot: &Snapshot,
    changes: &mut Changes,
    kind: ComputeKind,
    id: &ArmResourceId,
) -> Result<(), ComputeError> {
    if let Some(whole) = id.parent().filter(|_| kind.is_part()) {
        let found = snapshot.compute_resources.get(&whole.key());
        let found = found.ok_or(ResourceError::ParentNotFound(whole))?;
        changes.rely_on(snapshot, found.record.as_ref());
    }
    check_name(snapshot, kind, id.name())?;
    if kind.has_one_of_a_name() {
        let name = format!("{}/{}", kind.resource_type(), id.name()).to_ascii_lowercase();
        count_made(snapshot, changes, name);
    }
    Ok(())
}

fn fresh(
    state: &State,
    snapshot: &Snapshot,
    kind: ComputeKind,
    id: &ArmResourceId,
    request: &ComputeRequest,
) -> Result<ComputeResource, ComputeError> {
    let location = request.location.clone().ok_or(ResourceError::LocationRequired)?;
    let name = format!("instance/{}/{}", id.key(), snapshot.generation(id));
    Ok(ComputeResource {
        id: id.clone(),
        kind,
        location,
        tags: request.tags.clone().unwrap_or_default(),
        identity: IdentityBlock::default(),
        power_state: kind.power_when_made(),
        instance_id: state.entropy.id_for(&name),
        properties: request.properties.clone().unwrap_or_default(),
        other: request.other.clone(),
        instances: Instances::default(),
        starts: 0,
        switched_at: None,
        cluster: None,
    })
}

fn replaced(
    existing: &Versioned<ComputeResource>,
    request: &ComputeRequest,
) -> Result<ComputeResource, ComputeError> {
    check_location(&existing.id, &existing.location, request.location.as_deref())?;
    Ok(ComputeResource {
        tags: request.tags.clone().unwrap_or_default(),
        properties: request.properties.clone().unwrap_or_default(),
        other: request.other.clone(),
        ..existing.record.as_ref().clone()
    })
}

/// Changes what the request names.
pub async fn patch(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
    request: &ComputeRequest,
) -> Result<ComputeResource, ComputeError> {
    state
        .transact(operation, |snapshot, changes| {
            let tenant_id = require_group(snapshot, id)?.tenant_id;
            let existing = find(snapshot, id)?;
            check_location(id, &existing.location, request.location.as_deref())?;
            let mut resource = existing.record.as_ref().clone();
            if let Some(tags) = &request.tags {
                check_tags(tags)?;
                resource.tags.clone_from(tags);
            }
            if let Some(properties) = &request.properties {
                resource.properties.extend(properties.clone());
            }
            resource.other.extend(request.other.clone());
            resource.switch(request.power_state.unwrap_or(resource.power_state), operation.now);
            if let Some(capacity) = request.capacity {
                scale_set::plan_capacity(state, snapshot, changes, &mut resource, capacity)?;
            }
            if let Some(identity) = &request.identity {
                resource.kind.check_identity(identity)?;
                resource.identity = identity_block::plan(
                    state,
                    snapshot,
                    changes,
                    operation,
                    (resource.bearer(), tenant_id),
                    (identity, MapRule::Merge),
                )?;
            }
            identity_block::refresh_principal(snapshot, changes, &resource.id, &resource.identity);
            changes.put(snapshot, &resource);
            Ok(resource)
        })
        .await
}

/// The resource with this id.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    id: &ArmResourceId,
) -> Result<&'a Versioned<ComputeResource>, ResourceError> {
    require_group(snapshot, id)?;
    snapshot.compute_resources.get(&id.key()).ok_or_else(|| ResourceError::NotFound(id.clone()))
}

/// The resources of a kind below a path, in the order of their ids.
pub fn list(snapshot: &Snapshot, kind: ComputeKind, path: &str) -> Vec<Versioned<ComputeResource>> {
    let prefix = format!("{}/", path.to_ascii_lowercase());
    snapshot
        .compute_resources
        .below(&prefix)
        .filter(|resource| resource.kind == kind)
        .cloned()
        .collect()
}

/// Switches the resource on or off; its identities stay.
pub async fn set_power_state(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
    power_state: PowerState,
) -> Result<(), ComputeError> {
    state
        .transact(operation, |snapshot, changes| {
            let existing = find(snapshot, id)?;
            let mut resource = existing.record.as_ref().clone();
            resource.switch(power_state, operation.now);
            resource.starts += u64::from(power_state == PowerState::Running);
            managed_cluster::plan_power_state(snapshot, changes, &resource)?;
            changes.put(snapshot, &resource);
            Ok(())
        })
        .await
}

/// Deletes the resource with its own identity; `false` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
) -> Result<bool, ComputeError> {
    state
        .transact(operation, |snapshot, changes| {
            let Some(existing) = snapshot.compute_resources.get(&id.key()) else {
                return Ok(false);
            };
            plan_delete(snapshot, changes, operation, existing)?;
            Ok(true)
        })
        .await
}

/// What deleting a resource writes, its parts included; also part of deleting its resource group. Refused where a lock is on
/// what goes along and lies elsewhere.
pub(crate) fn plan_delete(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    existing: &Versioned<ComputeResource>,
) -> Result<(), WriteError> {
    for part in snapshot.compute_resources.below(&format!("{}/", existing.id.key())) {
        plan_delete(snapshot, changes, operation, part)?;
    }
    managed_cluster::plan_delete(snapshot, changes, operation, existing)?;
    if let Some(system) = &existing.identity.system_assigned {
        identity_block::remove_system(snapshot, changes, operation, &existing.id, system);
    }
    for assigned in &existing.identity.user_assigned {
        remove_credentials_of(snapshot, changes, assigned.principal_id, Some(&existing.id));
    }
    generic::plan_delete_parts(snapshot, changes, operation, &existing.id);
    assignment::plan_delete_below(snapshot, changes, &RbacScope::from(&existing.id));
    changes.next_generation(snapshot, &existing.id);
    changes.delete(snapshot, existing.record.as_ref());
    Ok(())
}
