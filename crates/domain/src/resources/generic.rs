//! Generic resources: kept as their clients send them, with the identity block and the life that every resource has.
//!
//! keycard decides about their identities, names, place and parts; their properties mean nothing to it.
//! Source: Azure Resource Manager, resources; Microsoft Entra, managed identities.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::any_resource::AnyResource;
use super::generic_type::{self, GenericType, Naming, Place};
use super::{ResourceError, check_location, check_tags, require_group};
use crate::directory::bearer::Bearer;
use crate::directory::identity_block::{
    self, IdentityBlock, IdentityBlockError, IdentityRequest, IdentityType, MapRule,
};
use crate::directory::user_assigned_identity::Put;
use crate::operation::OperationContext;
use crate::rbac::{RbacScope, assignment};
use crate::records::{Record, Versioned};
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// A resource that is kept as it was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenericResource {
    /// Its resource id.
    pub id: ArmResourceId,
    /// Where it was made; immutable. Parts of resources and global ones may have none.
    pub location: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its identities.
    pub identity: IdentityBlock,
    /// New for each resource that is made, under whatever name.
    pub instance_id: Uuid,
    /// Unix seconds at which it was made.
    pub created_at: i64,
    /// The client's properties.
    pub properties: Map<String, Value>,
    /// Top-level members the client sent besides the known ones, such as `kind` and `sku`.
    pub other: Map<String, Value>,
}

impl Record for GenericResource {
    const KIND: &'static str = "generic-resources";

    fn record_id(&self) -> String {
        self.id.key()
    }
}

impl GenericResource {
    /// The resource with its `identity` member.
    pub fn bearer(&self) -> Bearer<'_> {
        Bearer {
            id: &self.id,
            location: self.location.as_deref().unwrap_or_default(),
            tags: &self.tags,
            identity: &self.identity,
        }
    }
}

/// A name that only one resource of a type may have, because it is a host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostName {
    /// The type, in lower case.
    pub resource_type: String,
    /// The name, in lower case.
    pub name: String,
    /// Who has it.
    pub holder: ArmResourceId,
}

impl HostName {
    fn of(id: &ArmResourceId) -> Self {
        Self {
            resource_type: id.resource_type().to_ascii_lowercase(),
            name: id.name().to_ascii_lowercase(),
            holder: id.clone(),
        }
    }
}

impl Record for HostName {
    const KIND: &'static str = "host-names";

    fn record_id(&self) -> String {
        host_name_id(&self.resource_type, &self.name)
    }
}

fn host_name_id(resource_type: &str, name: &str) -> String {
    format!("{resource_type}|{name}").to_ascii_lowercase()
}

/// Why a generic resource is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenericResourceError {
    /// Another resource has the name, which is a host's.
    #[error("the name {0} is taken")]
    NameTaken(String),
    /// Its type has no identities.
    #[error("a {0} has no identity")]
    IdentityUnsupported(&'static str),
    /// The identity part of the request.
    #[error(transparent)]
    Identity(#[from] IdentityBlockError),
    /// What every resource can be refused for.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl From<WriteError> for GenericResourceError {
    fn from(error: WriteError) -> Self {
        Self::Resource(error.into())
    }
}

/// What a PUT or PATCH asks for; an absent member says nothing.
#[derive(Clone, Debug, Default)]
pub struct GenericRequest {
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
}

/// Makes the resource, or replaces it: without an `identity` it has none afterwards.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    kept: &'static GenericType,
    id: &ArmResourceId,
    request: &GenericRequest,
) -> Result<Put<GenericResource>, GenericResourceError> {
    state
        .transact(operation, |snapshot, changes| {
            require_group(snapshot, id)?;
            let existing = snapshot.generic_resources.get(&id.key());
            let mut resource = match existing {
                Some(existing) => {
                    check_place(existing, request.location.as_deref())?;
                    existing.record.as_ref().clone()
                }
                None => fresh(state, snapshot, changes, operation, (kept, id), request)?,
            };
            resource.tags = request.tags.clone().unwrap_or_default();
            resource.properties = request.properties.clone().unwrap_or_default();
            resource.other = request.other.clone();
            check_tags(&resource.tags)?;
            let none = IdentityRequest { identity_type: IdentityType::None, user_assigned: None };
            let identity = (request.identity.as_ref().unwrap_or(&none), MapRule::Replace);
            plan_identity(state, snapshot, changes, operation, (kept, &mut resource), identity)?;
            changes.put(snapshot, &resource);
            Ok(Put { resource, is_new: existing.is_none() })
        })
        .await
}

/// Changes what the request names.
pub async fn patch(
    state: &State,
    operation: &OperationContext,
    kept: &'static GenericType,
    id: &ArmResourceId,
    request: &GenericRequest,
) -> Result<GenericResource, GenericResourceError> {
    state
        .transact(operation, |snapshot, changes| {
            let existing = find(snapshot, id)?;
            check_place(existing, request.location.as_deref())?;
            let mut resource = existing.record.as_ref().clone();
            if let Some(tags) = &request.tags {
                check_tags(tags)?;
                resource.tags.clone_from(tags);
            }
            resource.properties.extend(request.properties.clone().unwrap_or_default());
            resource.other.extend(request.other.clone());
            if let Some(identity) = &request.identity {
                let identity = (identity, MapRule::Merge);
                plan_identity(
                    state,
                    snapshot,
                    changes,
                    operation,
                    (kept, &mut resource),
                    identity,
                )?;
            }
            changes.put(snapshot, &resource);
            Ok(resource)
        })
        .await
}

fn fresh(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    (kept, id): (&GenericType, &ArmResourceId),
    request: &GenericRequest,
) -> Result<GenericResource, GenericResourceError> {
    if !kept.takes_name(id.name()) {
        let (resource_type, name) = (kept.name, id.name().to_owned());
        return Err(ResourceError::NameInvalid { resource_type, name }.into());
    }
    let location = match (kept.place, &request.location) {
        (Place::Regional, None) => return Err(ResourceError::LocationRequired.into()),
        (Place::Regional | Place::Global | Place::Part, location) => location.clone(),
    };
    if let Some(parent) = id.parent() {
        let found = AnyResource::find(snapshot, &parent);
        found.ok_or(ResourceError::ParentNotFound(parent))?.rely_on(snapshot, changes);
    }
    if let Naming::Host { .. } = kept.naming {
        let name = HostName::of(id);
        if snapshot.host_names.get(&name.record_id()).is_some() {
            return Err(GenericResourceError::NameTaken(id.name().to_owned()));
        }
        changes.put(snapshot, &name);
    }
    let generation = snapshot.generation(id);
    Ok(GenericResource {
        id: id.clone(),
        location,
        tags: BTreeMap::new(),
        identity: IdentityBlock::default(),
        instance_id: state.entropy.id_for(&format!("instance/{}/{generation}", id.key())),
        created_at: operation.now.unix_timestamp(),
        properties: Map::new(),
        other: Map::new(),
    })
}

fn check_place(existing: &GenericResource, requested: Option<&str>) -> Result<(), ResourceError> {
    match &existing.location {
        Some(present) => check_location(&existing.id, present, requested),
        None => Ok(()),
    }
}

fn plan_identity(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    (kept, resource): (&'static GenericType, &mut GenericResource),
    change: (&IdentityRequest, MapRule),
) -> Result<(), GenericResourceError> {
    if !kept.has_identity && change.0.identity_type != IdentityType::None {
        return Err(GenericResourceError::IdentityUnsupported(kept.name));
    }
    let tenant_id = require_group(snapshot, &resource.id)?.tenant_id;
    let bearer = (resource.bearer(), tenant_id);
    resource.identity = identity_block::plan(state, snapshot, changes, operation, bearer, change)?;
    Ok(())
}

/// The resource with this id.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    id: &ArmResourceId,
) -> Result<&'a Versioned<GenericResource>, ResourceError> {
    require_group(snapshot, id)?;
    snapshot.generic_resources.get(&id.key()).ok_or_else(|| ResourceError::NotFound(id.clone()))
}

/// The resources of a type below a path, in the order of their ids; not the parts of such resources.
pub fn list(
    snapshot: &Snapshot,
    kept: &GenericType,
    path: &str,
) -> Vec<Versioned<GenericResource>> {
    let prefix = format!("{}/", path.to_ascii_lowercase());
    let below = snapshot.generic_resources.below(&prefix);
    below.filter(|resource| resource.id.is_of_type(kept.name)).cloned().collect()
}

/// Whether a resource of the type may be made under this name: it is of the right form, and nobody has it.
pub fn is_available(snapshot: &Snapshot, kept: &GenericType, name: &str) -> Availability {
    if !kept.takes_name(name) {
        Availability::Invalid
    } else if snapshot.host_names.get(&host_name_id(kept.name, name)).is_some() {
        Availability::Taken
    } else {
        Availability::Free
    }
}

/// Whether a name can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It can.
    Free,
    /// Another resource has it.
    Taken,
    /// It is no name of the type.
    Invalid,
}

/// Deletes the resource with its own identity and its parts; `false` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
) -> Result<bool, GenericResourceError> {
    state
        .transact(operation, |snapshot, changes| {
            let Some(existing) = snapshot.generic_resources.get(&id.key()) else {
                return Ok(false);
            };
            plan_delete(snapshot, changes, operation, existing);
            plan_delete_parts(snapshot, changes, operation, id);
            Ok(true)
        })
        .await
}

/// What deleting the parts of a resource writes, however deep they are.
pub(crate) fn plan_delete_parts(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    id: &ArmResourceId,
) {
    for part in snapshot.generic_resources.below(&format!("{}/", id.key())) {
        plan_delete(snapshot, changes, operation, part);
    }
}

/// What deleting one resource writes; its parts apart. Also part of deleting its resource group.
pub(crate) fn plan_delete(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    existing: &Versioned<GenericResource>,
) {
    if let Some(system) = &existing.identity.system_assigned {
        identity_block::remove_system(snapshot, changes, operation, &existing.id, system);
    }
    let name = HostName::of(&existing.id);
    if snapshot.host_names.get(&name.record_id()).is_some_and(|held| held.holder == existing.id) {
        changes.delete(snapshot, &name);
    }
    assignment::plan_delete_below(snapshot, changes, &RbacScope::from(&existing.id));
    changes.next_generation(snapshot, &existing.id);
    changes.delete(snapshot, existing.record.as_ref());
}

/// The type of a resource that is kept in this way.
pub fn type_of(id: &ArmResourceId) -> Option<&'static GenericType> {
    generic_type::find(&id.resource_type())
}

/// Whether resources of its type have an `identity` member.
pub(crate) fn bears_identity(id: &ArmResourceId) -> bool {
    type_of(id).is_some_and(|kept| kept.has_identity)
}
