//! Worlds as plain lists, the questions asked in them, and the records and types that the engine takes for both.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::condition::{Attribute, Condition, Literal, attributes};
use crate::directory::group::GroupMember;
use crate::directory::tenant::{Subscription, Tenant, TenantKind};
use crate::ids::{
    DenyAssignmentId, PrincipalId, RoleAssignmentId, RoleDefinitionId, SubscriptionId, TenantId,
};
use crate::rbac::assignment::PrincipalType;
use crate::rbac::condition::Condition as EngineCondition;
use crate::rbac::custom_role::CustomRole;
use crate::rbac::deny_assignment::{DeniedPrincipal, DeniedType};
use crate::rbac::role_definition::{Permission, RoleDefinition, RoleType};
use crate::rbac::{
    ActionPattern, Decision, DenyAssignment, Plane, Question, RbacScope, RoleAssignment, decide,
};
use crate::records::{Record, encode, state_key};
use crate::resources::management_group::ManagementGroup;
use crate::snapshot::Snapshot;
use crate::store::{Change, Revision, StoreKey};

pub(super) const MANAGEMENT_GROUPS: &str = "/providers/Microsoft.Management/managementGroups";

/// The principal that stands for everyone in a deny, and for nobody in an assignment.
pub(super) const EVERYONE: u128 = 0;
/// The first of the groups, which come before the principals.
pub(super) const GROUP: u128 = 0xbeef_0010;
pub(super) const PRINCIPAL: u128 = 0xcafe_0010;

#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) tenants: Vec<u128>,
    pub(super) subscriptions: Vec<SubscriptionOf>,
    pub(super) management_groups: Vec<ManagementGroupOf>,
    /// Groups with whom is directly in them.
    pub(super) members: Vec<(u128, u128)>,
    pub(super) roles: Vec<Role>,
    pub(super) assignments: Vec<Assignment>,
    pub(super) denies: Vec<Deny>,
}

#[derive(Clone, Debug)]
pub(super) struct SubscriptionOf {
    pub(super) id: u128,
    pub(super) tenant: u128,
    pub(super) parent: Option<String>,
}

impl SubscriptionOf {
    pub(super) fn name(&self) -> String {
        Uuid::from_u128(self.id).to_string()
    }
}

#[derive(Clone, Debug)]
pub(super) struct ManagementGroupOf {
    pub(super) tenant: u128,
    pub(super) name: &'static str,
    pub(super) parent: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) id: u128,
    pub(super) tenant: u128,
    pub(super) is_built_in: bool,
    pub(super) permissions: Vec<Grants>,
}

/// A permission object.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants {
    pub(super) actions: Vec<String>,
    pub(super) not_actions: Vec<String>,
    pub(super) data_actions: Vec<String>,
    pub(super) not_data_actions: Vec<String>,
    pub(super) condition: Option<Condition>,
}

#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) tenant: u128,
    pub(super) scope: String,
    pub(super) principal: u128,
    pub(super) role: u128,
    pub(super) condition: Option<Condition>,
}

#[derive(Clone, Debug)]
pub(super) struct Deny {
    pub(super) tenant: u128,
    pub(super) scope: String,
    pub(super) permissions: Vec<Grants>,
    pub(super) excludes_child_scopes: bool,
    pub(super) principals: Vec<u128>,
    pub(super) excluded: Vec<u128>,
}

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) tenant: u128,
    pub(super) principal: u128,
    pub(super) plane: Plane,
    pub(super) action: String,
    pub(super) scope: String,
    pub(super) sub_operation: Option<&'static str>,
    pub(super) attributes: Vec<(Attribute, Vec<Literal>)>,
}

impl Ask {
    /// An attribute's values; never an empty list.
    pub(super) fn values(&self, wanted: Attribute) -> Option<&[Literal]> {
        let is_same = |attribute: &Attribute| {
            let counts_case = wanted.name.contains("<$key_case_sensitive$>");
            attribute.source == wanted.source
                && attribute.name.eq_ignore_ascii_case(wanted.name)
                && (!counts_case || attribute.name == wanted.name)
        };
        let (_, values) = self.attributes.iter().find(|(attribute, _)| is_same(attribute))?;
        (!values.is_empty()).then_some(values)
    }

    /// The engine's answer.
    pub(super) fn decide(&self, snapshot: &Snapshot) -> Decision {
        let scope = RbacScope::parse(&self.scope).unwrap();
        let attributes = attributes(self);
        let question = Question {
            tenant: TenantId::new(Uuid::from_u128(self.tenant)),
            principal: PrincipalId::new(Uuid::from_u128(self.principal)),
            plane: self.plane,
            action: &self.action,
            scope: &scope,
            sub_operation: self.sub_operation,
            attributes: &attributes,
        };
        decide(snapshot, &question)
    }
}

pub(super) fn tenant_name(tenant: u128) -> String {
    Uuid::from_u128(tenant).to_string()
}

/// The number of the assignment with this name.
pub(super) fn assignment_number(assignment: &RoleAssignment) -> usize {
    usize::try_from(assignment.id.as_uuid().as_u128()).unwrap()
}

/// The number of the deny with this name.
pub(super) fn deny_number(deny: &DenyAssignment) -> usize {
    usize::try_from(deny.id.as_uuid().as_u128()).unwrap()
}

/// The world's records, encoded.
pub(super) type Records = BTreeMap<StoreKey, Arc<[u8]>>;

impl World {
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (key, value) in self.records() {
            apply(&mut snapshot, key, Some(value));
        }
        // Records are read in the order of their keys, which is not that of the tree.
        snapshot.lay_lineages();
        snapshot
    }

    pub(super) fn records(&self) -> Records {
        let mut records = Records::new();
        self.tenants.iter().for_each(|it| put(&mut records, &tenant(*it)));
        self.subscriptions.iter().for_each(|it| put(&mut records, &subscription(it)));
        self.management_groups.iter().for_each(|it| put(&mut records, &management_group(it)));
        for (group, member) in &self.members {
            put(
                &mut records,
                &GroupMember { group: principal(*group), member: principal(*member) },
            );
        }
        let custom = self.roles.iter().filter(|role| !role.is_built_in);
        custom.for_each(|it| put(&mut records, &custom_role(it)));
        for (number, it) in self.assignments.iter().enumerate() {
            put(&mut records, &role_assignment(number, it));
        }
        for (number, it) in self.denies.iter().enumerate() {
            put(&mut records, &deny_assignment(number, it));
        }
        records
    }
}

pub(super) fn apply(snapshot: &mut Snapshot, key: StoreKey, value: Option<Arc<[u8]>>) {
    snapshot.apply(&Change { key, value, revision: Revision(1) }).unwrap();
}

fn put<R: Record>(records: &mut Records, record: &R) {
    records.insert(state_key::<R>(&record.record_id()), encode(record));
}

fn principal(id: u128) -> PrincipalId {
    PrincipalId::new(Uuid::from_u128(id))
}

fn tenant(id: u128) -> Tenant {
    Tenant {
        id: TenantId::new(Uuid::from_u128(id)),
        display_name: String::new(),
        issuers: Vec::new(),
        identity_authority_certificate: Vec::new(),
        identity_authority_key_sealed: Vec::new(),
        created_at: 0,
        kind: TenantKind::Workforce,
    }
}

fn subscription(it: &SubscriptionOf) -> Subscription {
    Subscription {
        id: SubscriptionId::new(Uuid::from_u128(it.id)),
        tenant_id: TenantId::new(Uuid::from_u128(it.tenant)),
        display_name: String::new(),
        management_group: it.parent.clone(),
        alias: None,
        tags: BTreeMap::new(),
    }
}

fn management_group(it: &ManagementGroupOf) -> ManagementGroup {
    ManagementGroup {
        tenant_id: TenantId::new(Uuid::from_u128(it.tenant)),
        name: it.name.to_owned(),
        display_name: String::new(),
        parent: it.parent.clone(),
        created_at: 0,
        updated_at: 0,
        updated_by: None,
    }
}

fn custom_role(it: &Role) -> CustomRole {
    let definition = RoleDefinition {
        id: RoleDefinitionId::new(Uuid::from_u128(it.id)),
        role_name: format!("role {}", it.id),
        role_type: RoleType::CustomRole,
        description: String::new(),
        assignable_scopes: Vec::new(),
        permissions: it.permissions.iter().map(permission).collect(),
        created_on: None,
        updated_on: None,
    };
    CustomRole {
        tenant_id: TenantId::new(Uuid::from_u128(it.tenant)),
        definition: Arc::new(definition),
        created_by: None,
        updated_by: None,
    }
}

fn permission(it: &Grants) -> Permission {
    let patterns = |texts: &[String]| {
        texts.iter().map(|text| ActionPattern::new(text)).collect::<Vec<_>>().into()
    };
    Permission {
        actions: patterns(&it.actions),
        not_actions: patterns(&it.not_actions),
        data_actions: patterns(&it.data_actions),
        not_data_actions: patterns(&it.not_data_actions),
        condition: it.condition.as_ref().map(engine_condition),
        condition_version: it.condition.as_ref().map(|_| "2.0".to_owned()),
    }
}

fn engine_condition(it: &Condition) -> EngineCondition {
    let text = it.text();
    EngineCondition::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn role_assignment(number: usize, it: &Assignment) -> RoleAssignment {
    RoleAssignment {
        id: RoleAssignmentId::new(Uuid::from_u128(number as u128)),
        tenant_id: TenantId::new(Uuid::from_u128(it.tenant)),
        scope: RbacScope::parse(&it.scope).unwrap(),
        principal_id: principal(it.principal),
        principal_type: PrincipalType::ServicePrincipal,
        role: RoleDefinitionId::new(Uuid::from_u128(it.role)),
        condition: it.condition.as_ref().map(engine_condition),
        description: None,
        created_at: 0,
        updated_at: 0,
        created_by: None,
        updated_by: None,
    }
}

fn deny_assignment(number: usize, it: &Deny) -> DenyAssignment {
    let named = |ids: &[u128]| {
        let kind = |id| match id {
            EVERYONE => DeniedType::SystemDefined,
            GROUP..PRINCIPAL => DeniedType::Group,
            _ => DeniedType::ServicePrincipal,
        };
        ids.iter().map(|id| DeniedPrincipal { id: principal(*id), kind: kind(*id) }).collect()
    };
    DenyAssignment {
        id: DenyAssignmentId::new(Uuid::from_u128(number as u128)),
        tenant_id: TenantId::new(Uuid::from_u128(it.tenant)),
        scope: RbacScope::parse(&it.scope).unwrap(),
        name: String::new(),
        description: String::new(),
        permissions: it.permissions.iter().map(permission).collect(),
        excludes_child_scopes: it.excludes_child_scopes,
        principals: named(&it.principals),
        excluded_principals: named(&it.excluded),
        created_at: 0,
        updated_at: 0,
        created_by: None,
        updated_by: None,
    }
}
