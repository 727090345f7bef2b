//! The read model: every hot question is answered from here, without a lock and without the store.
//!
//! Built from a listing of the store and kept up by its changes; a copy is cheap and never changes.

use std::sync::Arc;

use uuid::Uuid;

use crate::compute::ComputeResource;
use crate::credential::IdentityCredential;
use crate::deployment::Deployment;
use crate::directory::directory_role::DirectoryRoleAssignment;
use crate::directory::federated_credential::{FederatedCredential, FederatedWrites};
use crate::directory::group::{Group, GroupMember};
use crate::directory::service_principal::{Generation, ServicePrincipalKind};
use crate::directory::tenant::Subscription;
use crate::directory::{
    AppRoleAssignment, Application, DeletedObject, Policy, PolicyLink, ServicePrincipal, Tenant,
    UserAssignedIdentity,
};
use crate::fault::Fault;
use crate::ids::{
    ApplicationId, ClientId, PrincipalId, RoleAssignmentId, RoleDefinitionId, SubscriptionId,
    TenantId,
};
use crate::key_vault::Vault;
use crate::monitoring::diagnostic_setting::DiagnosticSettings;
use crate::persistent_map::PersistentMap;
use crate::rbac::custom_role::CustomRole;
use crate::rbac::standing::{Lineage, Standing};
use crate::rbac::{DenyAssignment, RbacScope, RoleAssignment, RoleDefinition, built_in_roles};
use crate::records::{Record, STATE_PREFIX, UnreadableRecord, Versioned, decode};
use crate::resource_id::ArmResourceId;
use crate::resources::feature::FeatureRegistration;
use crate::resources::generic::{GenericResource, HostName};
use crate::resources::lock::Lock;
use crate::resources::management_group::{self, ManagementGroup};
use crate::resources::provider_registration::UnregisteredProvider;
use crate::resources::relocation::Relocation;
use crate::resources::resource_group::ResourceGroup;
use crate::store::{Change, Revision};
use crate::token::signing_key::SigningKeyRing;

/// The record that stood at a place before a change, and the one that stands there after it.
type BeforeAndAfter<R> = (Option<Arc<R>>, Option<Arc<R>>);

/// The records of one noun, in the order of their ids.
#[derive(Debug)]
pub struct Table<R>(PersistentMap<Arc<str>, Versioned<R>>);

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
        let owned: Arc<str> = prefix.into();
        self.0
            .iter_from(prefix)
            .take_while(move |(id, _)| id.starts_with(&*owned))
            .map(|(_, record)| record)
    }

    /// Of records that are named by a scope and a name: those at a scope, given by its key.
    pub fn at_scope(&self, scope_key: &str) -> impl Iterator<Item = &Versioned<R>> + use<'_, R> {
        self.below(&format!("{scope_key}|"))
    }

    /// Of records that are named by a scope and a name: those below a scope, given by its key, and not at it.
    pub fn below_scope(&self, scope_key: &str) -> impl Iterator<Item = &Versioned<R>> + use<'_, R> {
        self.below(&format!("{scope_key}/"))
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
        self.apply_finished(record_id, change, |_| {})
    }

    /// The same with a last touch to the record.
    fn apply_finished(
        &mut self,
        record_id: &str,
        change: &Change,
        finish: impl FnOnce(&mut R),
    ) -> Result<BeforeAndAfter<R>, UnreadableRecord> {
        let Some(value) = &change.value else {
            return Ok((self.0.remove(record_id).map(|former| former.record), None));
        };
        let mut record = decode::<R>(value)?;
        finish(&mut record);
        let record = Arc::new(record);
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
    /// By principal and id.
    pub app_role_assignments: Table<AppRoleAssignment>,
    /// By id.
    pub policies: Table<Policy>,
    /// By target and policy.
    pub policy_links: Table<PolicyLink>,
    /// By object id.
    pub deleted_objects: Table<DeletedObject>,
    /// By client id and name.
    pub federated_credentials: Table<FederatedCredential>,
    /// By client id.
    pub federated_writes: Table<FederatedWrites>,
    /// By resource id.
    pub user_assigned_identities: Table<UserAssignedIdentity>,
    /// By principal id and thumbprint.
    pub identity_credentials: Table<IdentityCredential>,
    /// By resource id.
    pub compute_resources: Table<ComputeResource>,
    /// By resource id.
    pub generic_resources: Table<GenericResource>,
    /// By subscription id, namespace and name.
    pub feature_registrations: Table<FeatureRegistration>,
    /// By subscription id and namespace.
    pub unregistered_providers: Table<UnregisteredProvider>,
    /// By type and name.
    pub host_names: Table<HostName>,
    /// By name, which is unique everywhere.
    pub vaults: Table<Vault>,
    /// By name.
    pub management_groups: Table<ManagementGroup>,
    /// By object id.
    pub groups: Table<Group>,
    /// By group and member.
    pub group_members: Table<GroupMember>,
    /// By principal and role.
    pub directory_role_assignments: Table<DirectoryRoleAssignment>,
    /// By scope and name.
    pub role_assignments: Table<RoleAssignment>,
    /// By scope and name.
    pub deny_assignments: Table<DenyAssignment>,
    /// By GUID.
    pub custom_roles: Table<CustomRole>,
    /// By scope and name.
    pub deployments: Table<Deployment>,
    /// By scope and name.
    pub locks: Table<Lock>,
    /// By scope and name.
    pub faults: Table<Fault>,
    /// By the resource id that a resource had.
    pub relocations: Table<Relocation>,
    /// By what they are about.
    pub diagnostic_settings: Table<DiagnosticSettings>,
    /// By tenant id.
    pub signing_key_rings: Table<SigningKeyRing>,
    generations: Table<Generation>,
    principals_by_client: PersistentMap<ClientId, PrincipalId>,
    clients_by_application: PersistentMap<ApplicationId, ClientId>,
    clients_by_uri: PersistentMap<(TenantId, Arc<str>), ClientId>,
    assignments_by_name: PersistentMap<RoleAssignmentId, Arc<RoleAssignment>>,
    standings: PersistentMap<PrincipalId, Arc<Standing>>,
    roles: PersistentMap<RoleDefinitionId, (TenantId, Arc<RoleDefinition>)>,
    lineages: PersistentMap<Arc<str>, Arc<Lineage>>,
}

impl Snapshot {
    /// The tenant with this id.
    pub fn tenant(&self, id: TenantId) -> Option<&Versioned<Tenant>> {
        self.tenants.get(guid_text(id.as_uuid(), &mut [0; 36]))
    }

    /// The tenant that a text names: by id, or by its domain.
    pub fn tenant_named(&self, text: &str) -> Option<&Versioned<Tenant>> {
        if let Ok(id) = text.parse() {
            return self.tenant(id);
        }
        let mut all = self.tenants.iter().map(|(_, tenant)| tenant);
        all.find(|tenant| tenant.domain().eq_ignore_ascii_case(text))
    }

    /// The token-signing keys of a tenant.
    pub fn signing_key_ring(&self, tenant: TenantId) -> Option<&Versioned<SigningKeyRing>> {
        self.signing_key_rings.get(guid_text(tenant.as_uuid(), &mut [0; 36]))
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

    /// The application with this client id.
    pub fn application_of_client(&self, id: ClientId) -> Option<&Versioned<Application>> {
        self.applications.get(guid_text(id.as_uuid(), &mut [0; 36]))
    }

    /// The application with this object id.
    pub fn application(&self, id: ApplicationId) -> Option<&Versioned<Application>> {
        self.application_of_client(*self.clients_by_application.get(&id)?)
    }

    /// The tenant's application that a token is asked for under this name.
    pub fn application_named(
        &self,
        tenant: TenantId,
        resource: &str,
    ) -> Option<&Versioned<Application>> {
        let key = (tenant, uri_key(resource));
        let by_id = || key.1.strip_prefix("api://").unwrap_or(&key.1).parse().ok();
        let client = self.clients_by_uri.get(&key).copied().or_else(by_id)?;
        self.application_of_client(client).filter(|application| application.tenant_id == tenant)
    }

    /// The subscription with this id.
    pub fn subscription(&self, id: SubscriptionId) -> Option<&Versioned<Subscription>> {
        self.subscriptions.get(guid_text(id.as_uuid(), &mut [0; 36]))
    }

    /// The assignments that name a principal, at all scopes; those of its groups apart.
    pub fn assignments_of(
        &self,
        principal: PrincipalId,
    ) -> impl Iterator<Item = &Arc<RoleAssignment>> {
        self.standing(principal).into_iter().flat_map(|standing| standing.assignments.iter())
    }

    /// The assignment with this name, at whatever scope.
    pub fn role_assignment(&self, id: RoleAssignmentId) -> Option<&Arc<RoleAssignment>> {
        self.assignments_by_name.get(&id)
    }

    /// What is known of a principal, where anything names it.
    pub fn standing(&self, principal: PrincipalId) -> Option<&Standing> {
        self.standings.get(&principal).map(AsRef::as_ref)
    }

    /// What stands above the subscription or management group that the scope is or lies in, when it exists.
    pub fn lineage(&self, scope: &RbacScope) -> Option<&Lineage> {
        self.lineages.get(scope.container_key()?).map(AsRef::as_ref)
    }

    /// The role with this GUID: a built-in one, or a custom one of the tenant.
    pub fn role_definition(
        &self,
        tenant: TenantId,
        id: RoleDefinitionId,
    ) -> Option<&Arc<RoleDefinition>> {
        built_in_roles::find(id).or_else(|| {
            let (owner, role) = self.roles.get(&id)?;
            (*owner == tenant).then_some(role)
        })
    }

    /// How often the resource at this path was deleted.
    pub fn generation(&self, path: &ArmResourceId) -> u64 {
        self.generations.get(&path.key()).map_or(0, |generation| generation.deletions)
    }

    /// How often something was made under this name of the directory.
    pub(crate) fn times_made(&self, name: &str) -> u64 {
        self.generations.get(name).map_or(0, |generation| generation.deletions)
    }

    /// Takes a principal out of this copy, as if it were not there yet.
    pub(crate) fn hide_service_principal(&mut self, id: PrincipalId) {
        self.service_principals.0.remove(guid_text(id.as_uuid(), &mut [0; 36]));
    }

    /// Takes in one change of the store.
    pub fn apply(&mut self, change: &Change) -> Result<(), UnreadableRecord> {
        let Some((kind, id)) =
            change.key.as_str().strip_prefix(STATE_PREFIX).and_then(|rest| rest.split_once('/'))
        else {
            return Ok(());
        };
        match kind {
            Tenant::KIND => self.apply_tenant(id, change)?,
            Subscription::KIND => self.apply_subscription(id, change)?,
            ManagementGroup::KIND => self.apply_management_group(id, change)?,
            ResourceGroup::KIND => drop(self.resource_groups.apply(id, change)?),
            ServicePrincipal::KIND => self.apply_service_principal(id, change)?,
            Application::KIND => self.apply_application(id, change)?,
            AppRoleAssignment::KIND => drop(self.app_role_assignments.apply(id, change)?),
            Policy::KIND => drop(self.policies.apply(id, change)?),
            PolicyLink::KIND => drop(self.policy_links.apply(id, change)?),
            DeletedObject::KIND => drop(self.deleted_objects.apply(id, change)?),
            FederatedCredential::KIND => drop(self.federated_credentials.apply(id, change)?),
            FederatedWrites::KIND => drop(self.federated_writes.apply(id, change)?),
            Group::KIND => drop(self.groups.apply(id, change)?),
            GroupMember::KIND => self.apply_group_member(id, change)?,
            DirectoryRoleAssignment::KIND => {
                drop(self.directory_role_assignments.apply(id, change)?);
            }
            UserAssignedIdentity::KIND => self.apply_user_assigned_identity(id, change)?,
            IdentityCredential::KIND => drop(self.identity_credentials.apply(id, change)?),
            ComputeResource::KIND => drop(self.compute_resources.apply(id, change)?),
            GenericResource::KIND => drop(self.generic_resources.apply(id, change)?),
            FeatureRegistration::KIND => drop(self.feature_registrations.apply(id, change)?),
            UnregisteredProvider::KIND => drop(self.unregistered_providers.apply(id, change)?),
            HostName::KIND => drop(self.host_names.apply(id, change)?),
            Vault::KIND => drop(self.vaults.apply(id, change)?),
            RoleAssignment::KIND => self.apply_role_assignment(id, change)?,
            DenyAssignment::KIND => self.apply_deny_assignment(id, change)?,
            CustomRole::KIND => self.apply_custom_role(id, change)?,
            Deployment::KIND => drop(self.deployments.apply(id, change)?),
            Relocation::KIND => drop(self.relocations.apply(id, change)?),
            Lock::KIND => drop(self.locks.apply(id, change)?),
            Fault::KIND => drop(self.faults.apply(id, change)?),
            DiagnosticSettings::KIND => drop(self.diagnostic_settings.apply(id, change)?),
            SigningKeyRing::KIND => drop(self.signing_key_rings.apply(id, change)?),
            Generation::KIND => drop(self.generations.apply(id, change)?),
            _ => {}
        }
        Ok(())
    }

    fn apply_tenant(&mut self, id: &str, change: &Change) -> Result<(), UnreadableRecord> {
        let (former, present) = self.tenants.apply(id, change)?;
        for tenant in former.iter().chain(&present) {
            let root = management_group::scope(&tenant.id.to_string());
            self.set_lineage(root.as_ref(), present.is_some().then_some((tenant.id, Vec::new())));
        }
        Ok(())
    }

    fn apply_subscription(&mut self, id: &str, change: &Change) -> Result<(), UnreadableRecord> {
        let (former, present) = self.subscriptions.apply(id, change)?;
        if let Some(former) = former {
            self.set_lineage(former.scope().as_ref(), None);
        }
        if let Some(present) = present {
            self.lay_lineage_of_subscription(&present);
        }
        Ok(())
    }

    fn apply_management_group(
        &mut self,
        id: &str,
        change: &Change,
    ) -> Result<(), UnreadableRecord> {
        match self.management_groups.apply(id, change)? {
            (None, Some(present)) if !self.is_awaited(&present) => {
                self.lay_lineage_of_group(&present);
            }
            (None, Some(_)) => self.lay_lineages(),
            (None, None) => {}
            // What hangs below a group that did not move hangs where it did.
            (Some(former), Some(present))
                if former.parent == present.parent && former.tenant_id == present.tenant_id => {}
            (Some(former), _) => {
                self.set_lineage(management_group::scope(&former.name).as_ref(), None);
                self.lay_lineages();
            }
        }
        Ok(())
    }

    /// Takes in one record of a listing. The lines of management groups, which are listed in the order of their names, are
    /// left to [`Self::lay_lineages`].
    pub(crate) fn apply_listed(&mut self, change: &Change) -> Result<(), UnreadableRecord> {
        let key = change.key.as_str().strip_prefix(STATE_PREFIX);
        match key.and_then(|key| key.split_once('/')) {
            Some((ManagementGroup::KIND, id)) => self.management_groups.apply(id, change).map(drop),
            Some(_) | None => self.apply(change),
        }
    }

    /// Whether anything hangs below the group already: within a commit, changes come in the order of their keys.
    fn is_awaited(&self, group: &ManagementGroup) -> bool {
        let name = group.record_id();
        let is_meant = |parent: &Option<String>| parent.as_deref() == Some(&name);
        self.management_groups.iter().any(|(_, it)| is_meant(&it.parent))
            || self.subscriptions.iter().any(|(_, it)| is_meant(&it.management_group))
    }

    /// Lays the lines of all groups and subscriptions anew: whatever hangs below a group that moved hangs elsewhere.
    pub(crate) fn lay_lineages(&mut self) {
        let groups = self.management_groups.clone();
        groups.iter().for_each(|(_, group)| self.lay_lineage_of_group(group));
        let subscriptions = self.subscriptions.clone();
        subscriptions.iter().for_each(|(_, it)| self.lay_lineage_of_subscription(it));
    }

    fn lay_lineage_of_group(&mut self, group: &ManagementGroup) {
        let tenant = group.tenant_id;
        let above = management_group::scopes_above(self, tenant, group.parent.as_deref());
        self.set_lineage(management_group::scope(&group.name).as_ref(), Some((tenant, above)));
    }

    fn lay_lineage_of_subscription(&mut self, subscription: &Subscription) {
        let tenant = subscription.tenant_id;
        let parent = subscription.management_group.as_deref();
        let above = management_group::scopes_above(self, tenant, parent);
        self.set_lineage(subscription.scope().as_ref(), Some((tenant, above)));
    }

    fn set_lineage(&mut self, scope: Option<&RbacScope>, line: Option<(TenantId, Vec<RbacScope>)>) {
        let Some(scope) = scope else { return };
        match line {
            Some((tenant, above)) => {
                let lineage = Arc::new(Lineage { tenant, above });
                self.lineages.insert(scope.key().into(), lineage);
            }
            None => drop(self.lineages.remove(scope.key())),
        }
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

    /// Its principal, which comes before it, is called by the same id: one text serves both.
    fn apply_user_assigned_identity(
        &mut self,
        id: &str,
        change: &Change,
    ) -> Result<(), UnreadableRecord> {
        let principals = &self.service_principals;
        self.user_assigned_identities.apply_finished(id, change, |identity| {
            let principal =
                principals.get(guid_text(identity.principal_id.as_uuid(), &mut [0; 36]));
            if let Some(ServicePrincipalKind::UserAssigned(id)) = principal.map(|it| &it.kind)
                && id.as_str() == identity.id.as_str()
            {
                identity.id = id.clone();
            }
        })?;
        Ok(())
    }

    fn apply_application(&mut self, id: &str, change: &Change) -> Result<(), UnreadableRecord> {
        let (former, present) = self.applications.apply(id, change)?;
        if let Some(former) = former {
            self.clients_by_application.remove(&former.id);
            for uri in &former.identifier_uris {
                self.clients_by_uri.remove(&(former.tenant_id, uri_key(uri)));
            }
        }
        if let Some(present) = present {
            self.clients_by_application.insert(present.id, present.client_id);
            for uri in &present.identifier_uris {
                self.clients_by_uri.insert((present.tenant_id, uri_key(uri)), present.client_id);
            }
        }
        Ok(())
    }

    fn apply_group_member(&mut self, id: &str, change: &Change) -> Result<(), UnreadableRecord> {
        let (former, present) = self.group_members.apply(id, change)?;
        if let Some(former) = former {
            self.edit_standing(former.member, |standing| {
                standing.groups.retain(|group| *group != former.group);
            });
        }
        if let Some(present) = present {
            self.edit_standing(present.member, |standing| standing.groups.push(present.group));
        }
        Ok(())
    }

    fn apply_role_assignment(&mut self, id: &str, change: &Change) -> Result<(), UnreadableRecord> {
        let (former, present) = self.role_assignments.apply(id, change)?;
        if let Some(former) = former {
            self.assignments_by_name.remove(&former.id);
            self.edit_standing(former.principal_id, |standing| {
                standing.assignments.remove(|other| other.record_id() == former.record_id());
            });
        }
        if let Some(present) = present {
            self.assignments_by_name.insert(present.id, Arc::clone(&present));
            self.edit_standing(present.principal_id, |standing| {
                standing.assignments.insert(Arc::clone(&present));
            });
        }
        Ok(())
    }

    fn apply_deny_assignment(&mut self, id: &str, change: &Change) -> Result<(), UnreadableRecord> {
        let (former, present) = self.deny_assignments.apply(id, change)?;
        for principal in former.iter().flat_map(|former| &former.principals) {
            let former_id = former.as_ref().map(|former| former.record_id());
            self.edit_standing(principal.id, |standing| {
                standing.denies.remove(|other| Some(other.record_id()) == former_id);
            });
        }
        if let Some(present) = present {
            for principal in &present.principals {
                self.edit_standing(principal.id, |standing| {
                    standing.denies.insert(Arc::clone(&present));
                });
            }
        }
        Ok(())
    }

    fn apply_custom_role(&mut self, id: &str, change: &Change) -> Result<(), UnreadableRecord> {
        let (former, present) = self.custom_roles.apply(id, change)?;
        if let Some(former) = former {
            self.roles.remove(&former.definition.id);
        }
        if let Some(present) = present {
            let role = (present.tenant_id, Arc::clone(&present.definition));
            self.roles.insert(present.definition.id, role);
        }
        Ok(())
    }

    fn edit_standing(&mut self, principal: PrincipalId, edit: impl FnOnce(&mut Standing)) {
        if self.standings.get(&principal).is_none() {
            self.standings.insert(principal, Arc::default());
        }
        let Some(standing) = self.standings.get_mut(&principal).map(Arc::make_mut) else { return };
        edit(standing);
        if standing.is_empty() {
            self.standings.remove(&principal);
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

/// An identifier URI as it is compared: without case, and without one final slash.
fn uri_key(uri: &str) -> Arc<str> {
    uri.strip_suffix('/').unwrap_or(uri).to_ascii_lowercase().into()
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
    AppRoleAssignment => app_role_assignments,
    Policy => policies,
    PolicyLink => policy_links,
    DeletedObject => deleted_objects,
    FederatedCredential => federated_credentials,
    FederatedWrites => federated_writes,
    UserAssignedIdentity => user_assigned_identities,
    IdentityCredential => identity_credentials,
    ComputeResource => compute_resources,
    GenericResource => generic_resources,
    FeatureRegistration => feature_registrations,
    UnregisteredProvider => unregistered_providers,
    HostName => host_names,
    Vault => vaults,
    ManagementGroup => management_groups,
    Group => groups,
    GroupMember => group_members,
    DirectoryRoleAssignment => directory_role_assignments,
    RoleAssignment => role_assignments,
    DenyAssignment => deny_assignments,
    CustomRole => custom_roles,
    Deployment => deployments,
    Lock => locks,
    Fault => faults,
    Relocation => relocations,
    DiagnosticSettings => diagnostic_settings,
    SigningKeyRing => signing_key_rings,
    Generation => generations,
}
