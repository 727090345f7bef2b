//! What a managed cluster makes for itself, in one commit with it: a group for its nodes, the identity that they act as,
//! and a scale set for each of its agent pools.
//!
//! Source: Microsoft Learn, "Use a managed identity in Azure Kubernetes Service", "AKS core concepts", node resource group.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{ComputeError, ComputeKind, ComputeRequest, ComputeResource, Plan, PowerState, fresh};
use super::{plan_delete as plan_delete_resource, scale_set};
use crate::credential::remove_credentials_of;
use crate::directory::UserAssignedIdentity;
use crate::directory::identity_block::{ASSIGN_ACTION, IdentityBlockError, UserAssigned};
use crate::directory::user_assigned_identity::{self, UserAssignedIdentityRequest};
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::taken_along;
use crate::rbac::{self, Attributes, Plane, Question, RbacScope, linked_access};
use crate::records::Versioned;
use crate::resource_id::ArmResourceId;
use crate::resources::lock::{self, Effect};
use crate::resources::normalized_location;
use crate::resources::resource_group::{self, ResourceGroup};
use crate::snapshot::Snapshot;
use crate::state::{Changes, WriteError};

/// What a cluster has made for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The name of the group that its nodes are in.
    pub node_resource_group: String,
    /// The identity that the nodes act as; none where they act as an application of the client's.
    pub kubelet: Option<UserAssigned>,
    /// The names of its agent pools.
    pub pools: Vec<String>,
    /// Whether its tokens have an issuer, which is never taken away again.
    pub has_oidc_issuer: bool,
}

/// What a PUT says of a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterRequest {
    /// The name of the group for the nodes.
    pub node_resource_group: Option<String>,
    /// An identity for the nodes that is there already.
    pub kubelet: Option<ArmResourceId>,
    /// The agent pools.
    pub pools: Vec<AgentPool>,
    /// Whether its tokens are to have an issuer.
    pub oidc_issuer: Option<bool>,
    /// Whether an application is named that the cluster acts as instead of an identity.
    pub has_service_principal: bool,
}

/// An agent pool: nodes that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPool {
    /// Its name.
    pub name: String,
    /// How many nodes it has.
    pub count: u64,
}

/// Why a cluster is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// It has neither an identity nor an application to act as.
    #[error("the cluster has no identity")]
    IdentityMissing,
    /// The name breaks the rules, or stands twice.
    #[error("`{0}` is no name of an agent pool, or stands twice")]
    PoolNameInvalid(String),
    /// A cluster has at least one pool, and not too many.
    #[error("{0} agent pools, 1 to {max} are allowed", max = limits::AGENT_POOLS_MAX)]
    PoolCount(usize),
    /// More nodes than a cluster can have.
    #[error("more than {max} nodes", max = limits::CLUSTER_NODES_MAX)]
    TooManyNodes,
    /// What cannot be changed once the cluster is there.
    #[error("{0} cannot be changed")]
    Immutable(&'static str),
    /// The group for the nodes is there already, and not the cluster's.
    #[error("the resource group {0} exists")]
    NodeGroupExists(String),
    /// The cluster's own group is one for another cluster's nodes.
    #[error("{0} is a group for the nodes of a cluster")]
    InNodeGroup(String),
    /// The issuer was switched on before.
    #[error("the issuer stays on")]
    IssuerStaysOn,
    /// Who brings an identity for the nodes has to bring the cluster's too.
    #[error("an identity for the nodes needs a user-assigned one of the cluster")]
    KubeletNeedsUserAssigned,
    /// The cluster's identity may not assign that of the nodes.
    #[error("the cluster's identity may not assign {0}")]
    KubeletNotGranted(ArmResourceId),
}

/// Plans what stands behind a cluster whose identities are planned.
pub(super) fn plan(
    plan: &Plan<'_>,
    changes: &mut Changes,
    cluster: &mut ComputeResource,
    request: &ClusterRequest,
) -> Result<(), ComputeError> {
    check_pools(&request.pools)?;
    if cluster.identity.is_empty() && !request.has_service_principal {
        return Err(ClusterError::IdentityMissing.into());
    }
    let before = cluster.cluster.clone();
    let had_oidc_issuer = before.as_ref().is_some_and(|before| before.has_oidc_issuer);
    if had_oidc_issuer && request.oidc_issuer == Some(false) {
        return Err(ClusterError::IssuerStaysOn.into());
    }
    let group = plan_group(plan, changes, cluster, request)?;
    let kubelet = plan_kubelet(plan, changes, cluster, &group, request)?;
    let after = Cluster {
        node_resource_group: group,
        kubelet,
        pools: request.pools.iter().map(|pool| pool.name.clone()).collect(),
        has_oidc_issuer: had_oidc_issuer || request.oidc_issuer == Some(true),
    };
    plan_nodes(plan, changes, cluster, before.as_ref(), (&after, &request.pools))?;
    cluster.cluster = Some(after);
    Ok(())
}

fn check_pools(pools: &[AgentPool]) -> Result<(), ClusterError> {
    if !(1..=limits::AGENT_POOLS_MAX).contains(&pools.len()) {
        return Err(ClusterError::PoolCount(pools.len()));
    }
    let mut names = BTreeSet::new();
    for AgentPool { name, .. } in pools {
        let is_valid = (1..=12).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !is_valid || !names.insert(name) {
            return Err(ClusterError::PoolNameInvalid(name.clone()));
        }
    }
    let nodes = pools.iter().fold(0_u64, |sum, pool| sum.saturating_add(pool.count));
    match usize::try_from(nodes) {
        Ok(nodes) if nodes <= limits::CLUSTER_NODES_MAX => Ok(()),
        Ok(_) | Err(_) => Err(ClusterError::TooManyNodes),
    }
}

/// The group of the nodes, which is made with the cluster, and again when it is gone.
fn plan_group(
    Plan { snapshot, .. }: &Plan<'_>,
    changes: &mut Changes,
    cluster: &ComputeResource,
    request: &ClusterRequest,
) -> Result<String, ComputeError> {
    let (subscription, own) = (cluster.id.subscription(), cluster.id.resource_group());
    let present = cluster.cluster.as_ref().map(|present| present.node_resource_group.clone());
    let name = match (present, &request.node_resource_group) {
        (Some(present), Some(wanted)) if !present.eq_ignore_ascii_case(wanted) => {
            return Err(ClusterError::Immutable("nodeResourceGroup").into());
        }
        (Some(present), _) => present,
        (None, Some(wanted)) => wanted.clone(),
        (None, None) => {
            let location = normalized_location(&cluster.location);
            let name = format!("MC_{own}_{}_{location}", cluster.id.name());
            name.chars().take(80).collect()
        }
    };
    // A cluster among another's nodes would make a chain of groups that go with each other.
    if resource_group::find(snapshot, subscription, own)?.managed_by.is_some() {
        return Err(ClusterError::InNodeGroup(own.to_owned()).into());
    }
    match resource_group::find(snapshot, subscription, &name) {
        Ok(group)
            if group.managed_by.as_ref() == Some(&cluster.id) && cluster.cluster.is_some() =>
        {
            changes.rely_on(snapshot, group.record.as_ref());
        }
        Ok(_) => return Err(ClusterError::NodeGroupExists(name).into()),
        Err(_) => {
            let group = ResourceGroup {
                subscription_id: subscription,
                name: name.clone(),
                location: cluster.location.clone(),
                tags: std::collections::BTreeMap::new(),
                managed_by: Some(cluster.id.clone()),
            };
            resource_group::plan_make(snapshot, changes, &group)?;
        }
    }
    Ok(name)
}

/// What is in the group of the nodes; the group's name was checked.
fn in_node_group(
    cluster: &ComputeResource,
    group: &str,
    namespace: &str,
    type_and_name: &[&str],
) -> Result<ArmResourceId, ComputeError> {
    let id = ArmResourceId::in_group(cluster.id.subscription(), group, namespace, type_and_name);
    id.ok_or_else(|| ClusterError::NodeGroupExists(group.to_owned()).into())
}

/// The identity that the nodes act as: the one that is given, the one that they have, or one that is made for them.
fn plan_kubelet(
    plan: &Plan<'_>,
    changes: &mut Changes,
    cluster: &ComputeResource,
    group: &str,
    request: &ClusterRequest,
) -> Result<Option<UserAssigned>, ComputeError> {
    let name = format!("{}-agentpool", cluster.id.name());
    let type_and_name = ["userAssignedIdentities", &name];
    let own = in_node_group(cluster, group, "Microsoft.ManagedIdentity", &type_and_name)?;
    let made = plan.snapshot.user_assigned_identities.get(&own.key());
    let present = cluster.cluster.as_ref().and_then(|present| present.kubelet.as_ref());
    // What somebody else made at that path, after the cluster's own was gone, is brought like any other.
    let is_own = present
        .zip(made)
        .is_some_and(|(it, made)| it.identity == own && it.principal_id == made.principal_id);
    let is_anothers = made.is_some() && !is_own && !cluster.identity.is_empty();
    let brought = match (&request.kubelet, present) {
        (Some(given), _) if *given != own => Some(plan_brought(plan, cluster, present, given)?),
        (None, Some(present)) if present.identity != own => Some(present.clone()),
        (Some(_) | None, _) if is_anothers => Some(plan_brought(plan, cluster, present, &own)?),
        (Some(_) | None, _) => None,
    };
    if cluster.identity.is_empty() || brought.is_some() {
        if let Some(made) = made.filter(|_| is_own) {
            require_free(plan.snapshot, plan.operation, &made.id)?;
            user_assigned_identity::plan_delete(plan.snapshot, changes, plan.operation, made);
        }
        return Ok(brought.filter(|_| !cluster.identity.is_empty()));
    }
    let identity = match made {
        Some(made) => made.record.as_ref().clone(),
        None => plan_own(plan, changes, &own, &cluster.location)?,
    };
    Ok(Some(assigned(plan, present, &identity)))
}

/// The reference to an identity; what was assigned already stays assigned since then.
fn assigned(
    plan: &Plan<'_>,
    present: Option<&UserAssigned>,
    identity: &UserAssignedIdentity,
) -> UserAssigned {
    let same = present.filter(|present| present.principal_id == identity.principal_id);
    same.cloned().unwrap_or_else(|| UserAssigned {
        identity: identity.id.clone(),
        principal_id: identity.principal_id,
        client_id: identity.client_id,
        assigned_at: plan.operation.now.unix_timestamp(),
    })
}

fn plan_own(
    plan: &Plan<'_>,
    changes: &mut Changes,
    id: &ArmResourceId,
    location: &str,
) -> Result<UserAssignedIdentity, ComputeError> {
    let new = UserAssignedIdentityRequest {
        location: Some(location.to_owned()),
        ..UserAssignedIdentityRequest::default()
    };
    let Plan { state, snapshot, operation, tenant_id } = *plan;
    let identity = (id, tenant_id);
    Ok(user_assigned_identity::plan_create(state, snapshot, changes, operation, identity, &new)?)
}

/// Both who asks and the cluster itself need the right to assign what is brought. Asked before existence, so that who has
/// no right learns nothing about which identities there are.
fn plan_brought(
    plan: &Plan<'_>,
    cluster: &ComputeResource,
    present: Option<&UserAssigned>,
    given: &ArmResourceId,
) -> Result<UserAssigned, ComputeError> {
    let Plan { state, snapshot, operation, tenant_id } = *plan;
    let scope = RbacScope::from(given);
    let refused = linked_access::refused(
        &state.journal,
        snapshot,
        operation,
        ASSIGN_ACTION,
        std::iter::once(scope.clone()),
    );
    if !refused.is_empty() {
        return Err(IdentityBlockError::AssignNotGranted(refused).into());
    }
    let identity = snapshot
        .user_assigned_identities
        .get(&given.key())
        .ok_or_else(|| IdentityBlockError::IdentityNotFound(given.clone()))?;
    let own = cluster.identity.user_assigned.first();
    let own = own.ok_or(ClusterError::KubeletNeedsUserAssigned)?;
    let attributes = Attributes::of_environment(operation.now);
    let question = Question {
        tenant: tenant_id,
        principal: own.principal_id,
        plane: Plane::Control,
        action: ASSIGN_ACTION,
        scope: &scope,
        sub_operation: None,
        attributes: &attributes,
    };
    let is_live = snapshot.service_principal(own.principal_id).is_some();
    if !is_live || !rbac::decide(snapshot, &question).is_allowed() {
        return Err(ClusterError::KubeletNotGranted(identity.id.clone()).into());
    }
    Ok(assigned(plan, present, identity))
}

/// The scale set of a pool.
fn set_id(
    cluster: &ComputeResource,
    group: &str,
    pool: &str,
) -> Result<ArmResourceId, ComputeError> {
    let number = cluster.instance_id.as_u128() % 100_000_000;
    let name = format!("aks-{pool}-{number:08}-vmss");
    in_node_group(cluster, group, "Microsoft.Compute", &["virtualMachineScaleSets", &name])
}

/// A scale set for each pool; those of pools that are gone go too.
fn plan_nodes(
    plan: &Plan<'_>,
    changes: &mut Changes,
    cluster: &ComputeResource,
    before: Option<&Cluster>,
    (after, pools): (&Cluster, &[AgentPool]),
) -> Result<(), ComputeError> {
    let Plan { state, snapshot, operation, .. } = *plan;
    let former = before.and_then(|before| before.kubelet.as_ref());
    for pool in pools {
        let id = set_id(cluster, &after.node_resource_group, &pool.name)?;
        let mut set = match snapshot.compute_resources.get(&id.key()) {
            Some(existing) => existing.record.as_ref().clone(),
            None => {
                let request = ComputeRequest {
                    location: Some(cluster.location.clone()),
                    ..ComputeRequest::default()
                };
                fresh(state, snapshot, ComputeKind::ScaleSet, &id, &request)?
            }
        };
        // What somebody else assigned to the nodes stays.
        if let Some(former) = former.filter(|_| former != after.kubelet.as_ref()) {
            set.identity.user_assigned.retain(|it| it.identity != former.identity);
            remove_credentials_of(snapshot, changes, former.principal_id, Some(&set.id));
        }
        if let Some(kubelet) = &after.kubelet {
            set.identity.user_assigned.retain(|it| it.identity != kubelet.identity);
            set.identity.user_assigned.insert(0, kubelet.clone());
        }
        scale_set::plan_capacity(state, snapshot, changes, &mut set, pool.count)?;
        if cluster.power_state != PowerState::Running {
            set.instances.switch_all(PowerState::Deallocated);
        }
        plan_write(snapshot, changes, &set)?;
    }
    let gone = before.iter().flat_map(|before| &before.pools);
    for pool in gone.filter(|pool| !after.pools.contains(pool)) {
        let id = set_id(cluster, &after.node_resource_group, pool)?;
        if let Some(set) = snapshot.compute_resources.get(&id.key()) {
            require_free(snapshot, operation, &set.id)?;
            plan_delete_resource(snapshot, changes, operation, set)?;
        }
    }
    Ok(())
}

/// The nodes run when their cluster does.
pub(super) fn plan_power_state(
    snapshot: &Snapshot,
    changes: &mut Changes,
    resource: &ComputeResource,
) -> Result<(), WriteError> {
    let Some(cluster) = &resource.cluster else { return Ok(()) };
    let power_state = match resource.power_state {
        PowerState::Running => PowerState::Running,
        PowerState::Stopped | PowerState::Deallocated => PowerState::Deallocated,
    };
    for pool in &cluster.pools {
        let set = set_id(resource, &cluster.node_resource_group, pool).ok();
        let set = set.and_then(|id| snapshot.compute_resources.get(&id.key()));
        if let Some(set) = set {
            let mut set = set.record.as_ref().clone();
            set.instances.switch_all(power_state);
            plan_write(snapshot, changes, &set)?;
        }
    }
    Ok(())
}

/// Puts a set of nodes that is another than it was, unless a lock keeps it as it is.
fn plan_write(
    snapshot: &Snapshot,
    changes: &mut Changes,
    set: &ComputeResource,
) -> Result<(), WriteError> {
    let present = snapshot.compute_resources.get(&set.id.key());
    if present.is_some_and(|present| *present.record == *set) {
        return Ok(());
    }
    lock::check(snapshot, Effect::Write, &RbacScope::from(&set.id))?;
    changes.put(snapshot, set);
    Ok(())
}

/// What a cluster takes away in the group of its nodes is not at or below what the request names, where locks and denies are
/// looked for anyway.
fn require_free(
    snapshot: &Snapshot,
    operation: &OperationContext,
    id: &ArmResourceId,
) -> Result<(), WriteError> {
    lock::check(snapshot, Effect::Delete, &RbacScope::from(id))?;
    Ok(taken_along::check(snapshot, operation, id)?)
}

/// The group of the nodes goes with the cluster, with everything in it, unless it is another one of the same name.
pub(super) fn plan_delete(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    resource: &Versioned<ComputeResource>,
) -> Result<(), WriteError> {
    let Some(cluster) = &resource.cluster else { return Ok(()) };
    let subscription = resource.id.subscription();
    if let Ok(group) = resource_group::find(snapshot, subscription, &cluster.node_resource_group)
        && group.managed_by.as_ref() == Some(&resource.id)
    {
        if let Ok(scope) = RbacScope::parse(&group.path()) {
            lock::check(snapshot, Effect::Delete, &scope)?;
            taken_along::check_below(snapshot, operation, &scope)?;
        }
        resource_group::plan_delete(snapshot, changes, operation, group)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pools: &[(&str, u64)], is_right: bool) {
        let of =
            |(name, count): &(&str, u64)| AgentPool { name: (*name).to_owned(), count: *count };
        let pools: Vec<AgentPool> = pools.iter().map(of).collect();
        assert_eq!(check_pools(&pools).is_ok(), is_right, "{pools:?}");
    }

    #[test]
    fn pools_have_names_and_bounds() {
        check(&[("np1", 1), ("np2", 0)], true);
        check(&[], false);
        for wrong in ["", "1np", "Np", "np-1", "thirteenchars"] {
            check(&[(wrong, 1)], false);
        }
        check(&[("np1", 1), ("np1", 1)], false);
        check(&[("np1", 5000)], true);
        check(&[("np1", 5000), ("np2", 1)], false);
        check(&[("np1", u64::MAX), ("np2", 1)], false);
    }
}
