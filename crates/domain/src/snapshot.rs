//! The read model: every hot question is answered from here, without a lock and without the store.
//!
//! Built from a listing of the store and kept up by its changes; a copy is cheap and never changes.

use std::sync::Arc;

use uuid::Uuid;

use crate::compute::ComputeResource;
use crate::credential::IdentityCredential;
use crate::directory::service_principal::Generation;
use crate::directory::tenant::Subscription;
use crate::directory::{Application, ServicePrincipal, Tenant, UserAssignedIdentity};
use crate::ids::{ClientId, PrincipalId, RoleDefinitionId, TenantId};
use crate::key_vault::Vault;
use crate::persistent_map::PersistentMap;
use crate::rbac::{RoleAssignment, RoleDefinition, built_in_roles};
use crate::records::{Record, STATE_PREFIX, UnreadableRecord, Versioned, decode};
use crate::resource_id::ArmResourceId;
use crate::resources::resource_group::ResourceGroup;
use crate::store::{Change, Revision};
use crate::token::signing_key::SigningKeyRecord;

/// The record that stood at a place before a change, and the one that stands there after it.
type BeforeAndAfter<R> = (Option<Arc<R>>, Option<Arc<R>>);

/// The records of one noun, in the order of their ids.
#[derive(Debug)]
pub struct Table<R>(PersistentMap<Box<str>, Versioned<R>>);

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self(PersistentMap::default())
    }
}

impl<R: Record> Table<R> {
    /// The record with this id.
    pub fn get(&self, record_id: &str) -> Option<&Versioned<R>> {
        self.0.get(record_id)
    }

    /// All records.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Versioned<R>)> {
        self.0.iter().map(|(id, record)| (&**id, record))
    }

    /// The records whose id starts with the prefix.
    pub fn below(&self, prefix: &str) -> impl Iterator<Item = &Versioned<R>> + use<'_, R> {
        let owned: Box<str> = prefix.into();
        self.0
            .iter_from(prefix)
            .take_while(move |(id, _)| id.starts_with(&*owned))
            .map(|(_, record)| record)
    }

    /// Whether no record was written since one table was copied from the other.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        self.0.is_copy_of(&other.0)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies a change; returns the record that stood there and the one that stands there now.
    fn apply(
        &mut self,
        record_id: &str,
        change: &Change,
    ) -> Result<BeforeAndAfter<R>, UnreadableRecord> {
        let Some(value) = &change.value else {
            return Ok((self.0.remove(record_id).map(|former| former.record), None));
        };
        let record = Arc::new(decode::<R>(value)?);
        let present = Versioned { revision: change.revision, record: Arc::clone(&record) };
        let former = self.0.insert(record_id.into(), present);
        Ok((former.map(|former| former.record), Some(record)))
    }
}

/// The state of the whole directory and control plane at one revision.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The revision this is the state of.
    pub revision: Revision,
    /// By tenant id.
    pub tenants: Table<Tenant>,
    /// By subscription id.
    pub subscriptions: Table<Subscription>,
    /// By subscription id and name.
    pub resource_groups: Table<ResourceGroup>,
    /// By principal id.
    pub service_principals: Table<ServicePrincipal>,
    /// By client id.
    pub applications: Table<Application>,
    /// By resource id.
    pub user_assigned_identities: Table<UserAssignedIdentity>,
    /// By principal id and thumbprint.
    pub identity_credentials: Table<IdentityCredential>,
    /// By resource id.
    pub compute_resources: Table<ComputeResource>,
    /// By name, which is unique everywhere.
    pub vaults: Table<Vault>,
    /// By scope and name.
    pub role_assignments: Table<RoleAssignment>,
    /// By key id.
    pub signing_keys: Table<SigningKeyRecord>,
    generations: Table<Generation>,
    principals_by_client: PersistentMap<ClientId, PrincipalId>,
    assignments_by_principal: PersistentMap<PrincipalId, Arc<[Arc<RoleAssignment>]>>,
}

impl Snapshot {
    /// The tenant with this id.
    pub fn tenant(&self, id: TenantId) -> Option<&Versioned<Tenant>> {
        self.tenants.get(guid_text(id.as_uuid(), &mut [0; 36]))
    }

    /// The principal with this id.
    pub fn service_principal(&self, id: PrincipalId) -> Option<&Versioned<ServicePrincipal>> {
        self.service_principals.get(guid_text(id.as_uuid(), &mut [0; 36]))
    }

    /// The principal with this client id.
    pub fn service_principal_of_client(
        &self,
        id: ClientId,
    ) -> Option<&Versioned<ServicePrincipal>> {
        self.service_principal(*self.principals_by_client.get(&id)?)
    }

    /// The assignments of a principal, at all scopes.
    pub fn assignments_of(&self, principal: PrincipalId) -> &[Arc<RoleAssignment>] {
        self.assignments_by_principal.get(&principal).map_or(&[], |assignments| assignments)
    }

    /// The role with this GUID.
    pub fn role_definition(&self, id: RoleDefinitionId) -> Option<&RoleDefinition> {
        built_in_roles::find(id).map(AsRef::as_ref)
    }

    /// How often the resource at this path was deleted.
    pub fn generation(&self, path: &ArmResourceId) -> u64 {
        self.generations.get(&path.key()).map_or(0, |generation| generation.deletions)
    }

    /// Takes in one change of the store.
    pub fn apply(&mut self, change: &Change) -> Result<(), UnreadableRecord> {
        let Some((kind, id)) =
            change.key.as_str().strip_prefix(STATE_PREFIX).and_then(|rest| rest.split_once('/'))
        else {
            return Ok(());
        };
        match kind {
            Tenant::KIND => drop(self.tenants.apply(id, change)?),
            Subscription::KIND => drop(self.subscriptions.apply(id, change)?),
            ResourceGroup::KIND => drop(self.resource_groups.apply(id, change)?),
            ServicePrincipal::KIND => self.apply_service_principal(id, change)?,
            Application::KIND => drop(self.applications.apply(id, change)?),
            UserAssignedIdentity::KIND => drop(self.user_assigned_identities.apply(id, change)?),
            IdentityCredential::KIND => drop(self.identity_credentials.apply(id, change)?),
            ComputeResource::KIND => drop(self.compute_resources.apply(id, change)?),
            Vault::KIND => drop(self.vaults.apply(id, change)?),
            RoleAssignment::KIND => self.apply_role_assignment(id, change)?,
            SigningKeyRecord::KIND => drop(self.signing_keys.apply(id, change)?),
            Generation::KIND => drop(self.generations.apply(id, change)?),
            _ => {}
        }
        Ok(())
    }

    fn apply_service_principal(
        &mut self,
        id: &str,
        change: &Change,
    ) -> Result<(), UnreadableRecord> {
        let (former, present) = self.service_principals.apply(id, change)?;
        if let Some(former) = former {
            self.principals_by_client.remove(&former.client_id);
        }
        if let Some(present) = present {
            self.principals_by_client.insert(present.client_id, present.id);
        }
        Ok(())
    }

    fn apply_role_assignment(&mut self, id: &str, change: &Change) -> Result<(), UnreadableRecord> {
        let (former, present) = self.role_assignments.apply(id, change)?;
        if let Some(former) = former {
            self.reindex(former.principal_id, |others| {
                others.retain(|other| other.record_id() != former.record_id());
            });
        }
        if let Some(present) = present {
            self.reindex(present.principal_id, |others| others.push(Arc::clone(&present)));
        }
        Ok(())
    }

    fn reindex(
        &mut self,
        principal: PrincipalId,
        edit: impl FnOnce(&mut Vec<Arc<RoleAssignment>>),
    ) {
        let mut assignments = self.assignments_of(principal).to_vec();
        edit(&mut assignments);
        if assignments.is_empty() {
            self.assignments_by_principal.remove(&principal);
        } else {
            self.assignments_by_principal.insert(principal, assignments.into());
        }
    }

    /// Takes in a record as if it had been committed.
    #[cfg(any(test, feature = "test-support"))]
    #[expect(clippy::expect_used, reason = "a test stops at the first surprise")]
    pub fn insert_for_test<R: Record>(&mut self, record: &R) {
        let change = Change {
            key: crate::records::state_key::<R>(&record.record_id()),
            value: Some(crate::records::encode(record)),
            revision: Revision(1),
        };
        self.apply(&change).expect("a record that was just encoded can be read");
    }
}

/// The hyphenated text of a GUID, without a heap allocation.
fn guid_text<'a>(id: &Uuid, buffer: &'a mut [u8; 36]) -> &'a str {
    id.hyphenated().encode_lower(buffer)
}

macro_rules! holds {
    ($($record:ty => $table:ident),+ $(,)?) => {$(
        impl crate::state::Holds<$record> for Snapshot {
            fn revision_of(&self, record_id: &str) -> Option<Revision> {
                self.$table.get(record_id).map(|record| record.revision)
            }
        }
    )+};
}

holds! {
    Tenant => tenants,
    Subscription => subscriptions,
    ResourceGroup => resource_groups,
    ServicePrincipal => service_principals,
    Application => applications,
    UserAssignedIdentity => user_assigned_identities,
    IdentityCredential => identity_credentials,
    ComputeResource => compute_resources,
    Vault => vaults,
    RoleAssignment => role_assignments,
    SigningKeyRecord => signing_keys,
    Generation => generations,
}
