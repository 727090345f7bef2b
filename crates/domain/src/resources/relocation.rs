//! Moves of resources to another resource group, of another subscription too, within a directory.
//!
//! A resource that moves keeps its identities, its tags and what it holds; what was given on it stays behind and is gone.
//! Source: Azure Resource Manager, "Move Azure resources to a new resource group or subscription"; Managed identities,
//! "Move a resource with a system-assigned identity".

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::any_resource::AnyResource;
use super::generic::GenericResource;
use super::lock::{self, Effect};
use super::{ResourceError, require_group, resource_group};
use crate::compute::ComputeResource;
use crate::credential::remove_credentials_of;
use crate::ids::SubscriptionId;
use crate::key_vault::Vault;
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::taken_along;
use crate::rbac::{RbacScope, assignment, linked_access};
use crate::records::{Record, Versioned};
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// What a move takes on the group that the resources go to.
pub const TARGET_ACTION: &str = "Microsoft.Resources/subscriptions/resourceGroups/write";

/// Where a resource went. Tokens that it was given before name the place where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relocation {
    /// Where it was.
    pub former: ArmResourceId,
    /// Where it went.
    pub present: ArmResourceId,
    /// Unix seconds.
    pub moved_at: i64,
}

impl Record for Relocation {
    const KIND: &'static str = "relocations";

    fn record_id(&self) -> String {
        self.former.key()
    }
}

/// The places where what was at a path may be now: the path itself, and where moves lead from there.
pub fn places_since<'a>(
    snapshot: &'a Snapshot,
    former: &ArmResourceId,
) -> impl Iterator<Item = ArmResourceId> + use<'a> {
    let next = |place: &ArmResourceId| went_to(snapshot, place);
    std::iter::successors(Some(former.clone()), next).take(limits::RELOCATIONS_FOLLOWED_MAX)
}

/// Where a resource went, or the part of one went with it.
fn went_to(snapshot: &Snapshot, place: &ArmResourceId) -> Option<ArmResourceId> {
    if let Some(relocation) = snapshot.relocations.get(&place.key()) {
        return Some(relocation.present.clone());
    }
    let whole = snapshot.relocations.get(&place.parent()?.key())?;
    place.moved_along(&whole.former, &whole.present)
}

/// Which resources of a group are to move, and where.
#[derive(Clone, Debug)]
pub struct MoveRequest {
    /// The subscription of the group that they are in.
    pub subscription: SubscriptionId,
    /// The group's name.
    pub group: String,
    /// The resources.
    pub resources: Vec<ArmResourceId>,
    /// The group that they go to.
    pub target: RbacScope,
}

/// Why one of the resources cannot move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Resources of its type stay where they are.
    TypeUnsupported,
    /// It is in another group.
    NotInSource,
    /// It does not exist.
    NotFound,
    /// The target has one of its type and name.
    TargetTaken,
    /// A deny assignment is on it, which it would leave.
    Denied,
}

/// Why nothing moves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// The caller may not write the target.
    #[error("moving to {0} is not granted")]
    TargetNotGranted(RbacScope),
    /// The target is no resource group.
    #[error("{0} is no resource group")]
    TargetInvalid(RbacScope),
    /// No resource is named, or too many are.
    #[error("{0} resources are named")]
    ResourceCount(usize),
    /// The resources are there already.
    #[error("source and target are the same")]
    TargetIsSource,
    /// These cannot move.
    #[error("{} resources cannot move", .0.len())]
    Obstacles(Vec<(ArmResourceId, Obstacle)>),
    /// What every resource can be refused for, locks included.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl From<WriteError> for MoveError {
    fn from(error: WriteError) -> Self {
        Self::Resource(error.into())
    }
}

/// Moves the resources: all in one commit, or none.
pub async fn carry_out(
    state: &State,
    operation: &OperationContext,
    request: &MoveRequest,
) -> Result<(), MoveError> {
    state
        .transact(operation, |snapshot, changes| plan(state, snapshot, changes, operation, request))
        .await
}

/// Says whether the resources could move now.
pub fn validate(
    state: &State,
    operation: &OperationContext,
    request: &MoveRequest,
) -> Result<(), MoveError> {
    plan(state, &state.snapshot(), &mut Changes::default(), operation, request)
}

fn plan(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    request: &MoveRequest,
) -> Result<(), MoveError> {
    let target = RbacScope::clone(&request.target);
    let journal = &state.journal;
    let refused = linked_access::refused(journal, snapshot, operation, TARGET_ACTION, [target]);
    if let Some(target) = refused.into_iter().next() {
        return Err(MoveError::TargetNotGranted(target));
    }
    let source = resource_group::find(snapshot, request.subscription, &request.group)?;
    let target = find_target(snapshot, &request.target)?;
    let count = request.resources.len();
    if !(1..=limits::RESOURCES_PER_MOVE_MAX).contains(&count) {
        return Err(MoveError::ResourceCount(count));
    }
    if source.record_id() == target.record_id() {
        return Err(MoveError::TargetIsSource);
    }
    let movables = find_movables(snapshot, operation, request, &target.path())?;
    check_locks(snapshot, changes, &movables, (&source.path(), &target.path()))?;
    changes.rely_on(snapshot, source.record.as_ref());
    changes.rely_on(snapshot, target.record.as_ref());
    forget_old(snapshot, changes, operation);
    for (movable, present) in movables {
        movable.plan(snapshot, changes, operation, &present);
    }
    Ok(())
}

fn find_target<'a>(
    snapshot: &'a Snapshot,
    target: &RbacScope,
) -> Result<&'a Versioned<resource_group::ResourceGroup>, MoveError> {
    let invalid = || MoveError::TargetInvalid(target.clone());
    let is_group = target.key().matches('/').count() == 4;
    let name = target.resource_group().filter(|_| is_group).ok_or_else(invalid)?;
    let subscription = target.subscription().ok_or_else(invalid)?;
    Ok(resource_group::find(snapshot, subscription, name)?)
}

/// A resource that can move.
enum Movable {
    Compute(Arc<ComputeResource>),
    Vault(Arc<Vault>),
}

impl Movable {
    fn find(snapshot: &Snapshot, id: &ArmResourceId) -> Result<Self, Obstacle> {
        require_group(snapshot, id).map_err(|_| Obstacle::NotFound)?;
        match AnyResource::find(snapshot, id).ok_or(Obstacle::NotFound)? {
            AnyResource::Compute(resource) if resource.kind.can_move() => {
                Ok(Self::Compute(Arc::clone(&resource.record)))
            }
            AnyResource::Vault(vault) => Ok(Self::Vault(Arc::clone(&vault.record))),
            AnyResource::Compute(_) | AnyResource::Generic(_) | AnyResource::Identity(_) => {
                Err(Obstacle::TypeUnsupported)
            }
        }
    }

    fn id(&self) -> &ArmResourceId {
        match self {
            Self::Compute(resource) => &resource.id,
            Self::Vault(vault) => &vault.id,
        }
    }

    fn plan(
        self,
        snapshot: &Snapshot,
        changes: &mut Changes,
        operation: &OperationContext,
        present: &ArmResourceId,
    ) {
        // Differs from Azure: what was given on the resource is gone with the move, not some time later. It counts
        // nowhere, and must not be found by another thing that is made at the former place.
        assignment::plan_delete_below(snapshot, changes, &RbacScope::from(self.id()));
        match self {
            Self::Compute(resource) => {
                plan_compute(snapshot, changes, operation, &resource, present);
            }
            Self::Vault(vault) => {
                let id = present.clone();
                changes.put(snapshot, &Vault { id, ..Arc::unwrap_or_clone(vault) });
            }
        }
    }
}

/// What moving a resource writes, its parts included.
fn plan_compute(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    resource: &ComputeResource,
    present: &ArmResourceId,
) {
    let former = &resource.id;
    let parts = format!("{}/", former.key());
    for part in snapshot.compute_resources.below(&parts) {
        if let Some(present) = part.id.moved_along(former, present) {
            plan_compute(snapshot, changes, operation, part, &present);
        }
    }
    for part in snapshot.generic_resources.below(&parts) {
        if let Some(id) = part.id.moved_along(former, present) {
            changes.next_generation(snapshot, &part.id);
            changes.delete(snapshot, part.record.as_ref());
            changes.put(snapshot, &GenericResource { id, ..part.record.as_ref().clone() });
        }
    }
    // The hosts make new ones for the new place.
    for principal in resource.identity.principals() {
        remove_credentials_of(snapshot, changes, principal, Some(former));
    }
    // What is made at the former place next is another thing, with ids of its own.
    changes.next_generation(snapshot, former);
    changes.delete(snapshot, resource);
    changes.put(
        snapshot,
        &Relocation {
            former: former.clone(),
            present: present.clone(),
            moved_at: operation.now.unix_timestamp(),
        },
    );
    changes.put(snapshot, &ComputeResource { id: present.clone(), ..resource.clone() });
}

/// The resources with their new ids, or all that is in the way.
fn find_movables(
    snapshot: &Snapshot,
    operation: &OperationContext,
    request: &MoveRequest,
    target: &str,
) -> Result<Vec<(Movable, ArmResourceId)>, MoveError> {
    let (mut movables, mut obstacles) = (Vec::new(), Vec::new());
    let mut seen = std::collections::BTreeSet::new();
    for id in &request.resources {
        if !seen.insert(id.key()) {
            continue;
        }
        match find_movable(snapshot, operation, request, id, target) {
            Ok(movable) => movables.push(movable),
            Err(obstacle) => obstacles.push((id.clone(), obstacle)),
        }
    }
    if obstacles.is_empty() { Ok(movables) } else { Err(MoveError::Obstacles(obstacles)) }
}

fn find_movable(
    snapshot: &Snapshot,
    operation: &OperationContext,
    request: &MoveRequest,
    id: &ArmResourceId,
    target: &str,
) -> Result<(Movable, ArmResourceId), Obstacle> {
    let is_in_source = id.subscription() == request.subscription
        && id.resource_group().eq_ignore_ascii_case(&request.group);
    if !is_in_source {
        return Err(Obstacle::NotInSource);
    }
    let movable = Movable::find(snapshot, id)?;
    let own = movable.id();
    let kind = own.resource_type();
    let present: ArmResourceId = format!("{target}/providers/{kind}/{}", own.name())
        .parse()
        .map_err(|_| Obstacle::NotFound)?;
    if snapshot.compute_resources.get(&present.key()).is_some() {
        return Err(Obstacle::TargetTaken);
    }
    let parts = format!("{}/", own.key());
    let compute = snapshot.compute_resources.below(&parts).map(|part| &part.id);
    let generic = snapshot.generic_resources.below(&parts).map(|part| &part.id);
    // No part stays behind because its id would be too long.
    if compute.chain(generic).any(|part| part.moved_along(own, &present).is_none()) {
        return Err(Obstacle::NotFound);
    }
    let scope = RbacScope::from(own);
    let is_denied = |prefix: String| snapshot.deny_assignments.below(&prefix).next().is_some();
    if is_denied(format!("{}|", scope.key())) || is_denied(format!("{}/", scope.key())) {
        return Err(Obstacle::Denied);
    }
    // Nor does anybody get it out of the reach of a deny that is above it.
    taken_along::check(snapshot, operation, own)
        .and_then(|()| taken_along::check_below(snapshot, operation, &scope))
        .map_err(|_| Obstacle::Denied)?;
    Ok((movable, present))
}

/// A resource that moves is taken away where it was, and written where it goes.
fn check_locks(
    snapshot: &Snapshot,
    changes: &mut Changes,
    movables: &[(Movable, ArmResourceId)],
    (source, target): (&str, &str),
) -> Result<(), WriteError> {
    for group in [source, target] {
        let Ok(scope) = RbacScope::parse(group) else { continue };
        lock::check(snapshot, Effect::Write, &scope)?;
        if let Some(subscription) = scope.subscription() {
            lock::rely_on_locks_of(snapshot, changes, subscription);
        }
    }
    for (movable, _) in movables {
        lock::check(snapshot, Effect::Delete, &RbacScope::from(movable.id()))?;
    }
    Ok(())
}

/// No token is as old as these moves.
fn forget_old(snapshot: &Snapshot, changes: &mut Changes, operation: &OperationContext) {
    let horizon = (operation.now - limits::RELOCATION_RETENTION).unix_timestamp();
    for (_, relocation) in snapshot.relocations.iter() {
        if relocation.moved_at < horizon {
            changes.delete(snapshot, relocation.record.as_ref());
        }
    }
}
