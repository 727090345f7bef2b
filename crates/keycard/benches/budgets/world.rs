//! A directory of the size wanted, made of the same numbers in every run: a tree of management groups, subscriptions,
//! resource groups, resources and what lies in them, and principals in nested groups with roles all over it.

use std::sync::Arc;

use keycard_domain::directory::group::GroupMember;
use keycard_domain::directory::tenant::Subscription;
use keycard_domain::ids::{
    DenyAssignmentId, PrincipalId, RoleAssignmentId, RoleDefinitionId, SubscriptionId, TenantId,
};
use keycard_domain::rbac::action::ActionPatterns;
use keycard_domain::rbac::assignment::PrincipalType;
use keycard_domain::rbac::condition::AttributeValues;
use keycard_domain::rbac::custom_role::CustomRole;
use keycard_domain::rbac::deny_assignment::{DeniedPrincipal, DeniedType, EVERYONE};
use keycard_domain::rbac::{
    ActionPattern, AttributeSource, Attributes, Condition, DenyAssignment, Permission, RbacScope,
    RoleAssignment, RoleDefinition, RoleType, built_in_roles,
};
use keycard_domain::records::{Record, encode, state_key};
use keycard_domain::resources::management_group::{self, ManagementGroup};
use keycard_domain::snapshot::Snapshot;
use keycard_domain::store::{StoreKey, Write};
use uuid::Uuid;

const ASSIGNMENTS_PER_PRINCIPAL: usize = 10;
/// One principal in a hundred holds a tenth of all assignments: pipelines and administrators.
const BUSY_PRINCIPALS: usize = 100;
const TEAM_MEMBERS: usize = 10;
const TEAMS_PER_DIVISION: usize = 5;
const ASSIGNMENTS_PER_SUBSCRIPTION: usize = 400;
const DENY_ASSIGNMENTS: usize = 200;
const CUSTOM_ROLES: usize = 20;
/// Management groups have this many children, in three levels below the root.
const BRANCHES: usize = 3;
const MIDDLE_GROUPS: usize = BRANCHES;
const LEAF_GROUPS: usize = BRANCHES + BRANCHES * BRANCHES;
const MANAGEMENT_GROUPS: usize = LEAF_GROUPS + BRANCHES * BRANCHES * BRANCHES;
const RESOURCE_GROUPS: usize = 20;
const RESOURCES: usize = 10;
const CHILDREN: usize = 3;
/// The containers that conditions tell apart.
pub(crate) const CONTAINERS: usize = 4;

/// What is given often; the large ones among them, `Contributor` with its `notActions`, and data roles.
const POPULAR_ROLES: [&str; 16] = [
    "Owner",
    "Contributor",
    "Reader",
    "User Access Administrator",
    "Key Vault Secrets User",
    "Key Vault Administrator",
    "Storage Blob Data Contributor",
    "Storage Blob Data Reader",
    "Virtual Machine Contributor",
    "Network Contributor",
    "Monitoring Contributor",
    "SQL Security Manager",
    "Managed Identity Operator",
    "Backup Contributor",
    "Backup Operator",
    "Aws Connector contributor role",
];
const BLOB_READER: &str = "Storage Blob Data Reader";
const ROLE_ADMINISTRATOR: &str = "Role Based Access Control Administrator";
const RESOURCE_TYPES: [(&str, &str); 5] = [
    ("Microsoft.Storage/storageAccounts", "blobServices/default/containers"),
    ("Microsoft.KeyVault/vaults", "secrets"),
    ("Microsoft.Compute/virtualMachines", "extensions"),
    ("Microsoft.Sql/servers", "databases"),
    ("Microsoft.ContainerService/managedClusters", "agentPools"),
];

/// Numbers that look random and are the same in every run (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below the limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    pub(crate) fn happens(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }
}

/// A scope by the numbers of what it is in.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    ManagementGroup(usize),
    Subscription(usize),
    ResourceGroup(usize, usize),
    Resource(usize, usize, usize),
    Child(usize, usize, usize, usize),
}

/// An assignment, with where it stands by numbers.
pub(crate) struct Placed {
    pub(crate) assignment: RoleAssignment,
    pub(crate) place: Place,
}

/// Everything the authorization engine looks at.
pub(crate) struct World {
    pub(crate) tenant: TenantId,
    /// Who is no group.
    pub(crate) principals: Vec<PrincipalId>,
    pub(crate) assignments: Vec<Placed>,
    pub(crate) custom_roles: Vec<CustomRole>,
    /// Teams, then divisions.
    groups: Vec<PrincipalId>,
    pub(crate) members: Vec<GroupMember>,
    management_groups: Vec<ManagementGroup>,
    subscriptions: Vec<Subscription>,
    denies: Vec<DenyAssignment>,
    random: Random,
}

impl World {
    /// A world of the tenant with so many role assignments.
    pub(crate) fn new(tenant: TenantId, assignments: usize) -> Self {
        let mut random = Random::new(assignments as u64);
        let principals = assignments / ASSIGNMENTS_PER_PRINCIPAL;
        let mut world = Self {
            tenant,
            principals: (0..principals).map(|_| PrincipalId::new(random.uuid())).collect(),
            assignments: Vec::with_capacity(assignments),
            custom_roles: Vec::new(),
            groups: Vec::new(),
            members: Vec::new(),
            management_groups: (0..MANAGEMENT_GROUPS)
                .map(|it| management_group(tenant, it))
                .collect(),
            subscriptions: Vec::new(),
            denies: Vec::new(),
            random,
        };
        world
            .add_subscriptions((assignments / ASSIGNMENTS_PER_SUBSCRIPTION).max(MANAGEMENT_GROUPS));
        world.add_groups();
        world.add_custom_roles();
        for _ in 0..assignments {
            world.add_assignment();
        }
        for number in 0..DENY_ASSIGNMENTS {
            world.add_deny(number);
        }
        world
    }

    /// The state that holds the world.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.management_groups.iter().for_each(|it| snapshot.insert_for_test(it));
        self.subscriptions.iter().for_each(|it| snapshot.insert_for_test(it));
        self.members.iter().for_each(|it| snapshot.insert_for_test(it));
        self.custom_roles.iter().for_each(|it| snapshot.insert_for_test(it));
        self.assignments.iter().for_each(|it| snapshot.insert_for_test(&it.assignment));
        self.denies.iter().for_each(|it| snapshot.insert_for_test(it));
        snapshot
    }

    /// What puts the world into a store, with the keys.
    pub(crate) fn writes(&self) -> impl Iterator<Item = (StoreKey, Write)> {
        (self.management_groups.iter().map(write))
            .chain(self.subscriptions.iter().map(write))
            .chain(self.members.iter().map(write))
            .chain(self.custom_roles.iter().map(write))
            .chain(self.assignments.iter().map(|it| write(&it.assignment)))
            .chain(self.denies.iter().map(write))
    }

    /// The text of a scope.
    pub(crate) fn text(&self, place: Place) -> String {
        match place {
            Place::ManagementGroup(number) => {
                management_group::path(&self.management_groups[number].name)
            }
            Place::Subscription(number) => {
                format!("/subscriptions/{}", self.subscriptions[number].id)
            }
            Place::ResourceGroup(subscription, number) => {
                let above = self.text(Place::Subscription(subscription));
                format!("{above}/resourceGroups/rg-{number}")
            }
            Place::Resource(subscription, group, number) => {
                let above = self.text(Place::ResourceGroup(subscription, group));
                let (kind, _) = RESOURCE_TYPES[number % RESOURCE_TYPES.len()];
                format!("{above}/providers/{kind}/resource-{number}")
            }
            Place::Child(subscription, group, resource, number) => {
                let above = self.text(Place::Resource(subscription, group, resource));
                let (_, kind) = RESOURCE_TYPES[resource % RESOURCE_TYPES.len()];
                format!("{above}/{kind}/part-{number}")
            }
        }
    }

    /// The place itself or, more often, one below it, where requests are made.
    pub(crate) fn at_or_below(&self, random: &mut Random, mut place: Place) -> Place {
        loop {
            place = match place {
                Place::ManagementGroup(number) => {
                    Place::Subscription(self.subscription_below(random, number))
                }
                Place::Subscription(above) => {
                    Place::ResourceGroup(above, random.below(RESOURCE_GROUPS))
                }
                Place::ResourceGroup(above, group) => {
                    Place::Resource(above, group, random.below(RESOURCES))
                }
                Place::Resource(above, group, resource) => {
                    Place::Child(above, group, resource, random.below(CHILDREN))
                }
                Place::Child(..) => return place,
            };
            if matches!(place, Place::Resource(..)) && random.happens(60) {
                return place;
            }
        }
    }

    /// Anywhere: few things at the top, many in resource groups and on resources.
    pub(crate) fn any_place(&self, random: &mut Random) -> Place {
        let subscription = random.below(self.subscriptions.len());
        let (group, resource) = (random.below(RESOURCE_GROUPS), random.below(RESOURCES));
        match random.below(100) {
            0..3 => Place::ManagementGroup(random.below(MANAGEMENT_GROUPS)),
            3..15 => Place::Subscription(subscription),
            15..55 => Place::ResourceGroup(subscription, group),
            55..90 => Place::Resource(subscription, group, resource),
            _ => Place::Child(subscription, group, resource, random.below(CHILDREN)),
        }
    }

    /// A role's definition.
    pub(crate) fn role(&self, id: RoleDefinitionId) -> &RoleDefinition {
        let custom =
            || self.custom_roles.iter().map(|role| &role.definition).find(|role| role.id == id);
        built_in_roles::find(id).or_else(custom).expect("assignments are of known roles")
    }

    fn subscription_below(&self, random: &mut Random, management_group: usize) -> usize {
        let mut leaf = management_group;
        while leaf < LEAF_GROUPS {
            leaf = (leaf + 1) * BRANCHES + random.below(BRANCHES);
        }
        let leaves = MANAGEMENT_GROUPS - LEAF_GROUPS;
        let each = self.subscriptions.len() / leaves;
        leaf - LEAF_GROUPS + leaves * random.below(each)
    }

    fn add_subscriptions(&mut self, count: usize) {
        for number in 0..count {
            let leaf = LEAF_GROUPS + number % (MANAGEMENT_GROUPS - LEAF_GROUPS);
            self.subscriptions.push(Subscription {
                id: SubscriptionId::new(self.random.uuid()),
                tenant_id: self.tenant,
                display_name: format!("subscription {number}"),
                management_group: Some(self.management_groups[leaf].name.clone()),
                alias: None,
                tags: std::collections::BTreeMap::new(),
            });
        }
    }

    /// A tenth of the principals are in a team, and each team is in a division.
    fn add_groups(&mut self) {
        let teams = self.principals.len() / (10 * TEAM_MEMBERS);
        let divisions = teams.div_ceil(TEAMS_PER_DIVISION);
        let random = &mut self.random;
        self.groups = (0..teams + divisions).map(|_| PrincipalId::new(random.uuid())).collect();
        for (number, team) in self.groups.iter().take(teams).enumerate() {
            let division = self.groups[teams + number / TEAMS_PER_DIVISION];
            self.members.push(GroupMember { group: division, member: *team });
            for member in 0..TEAM_MEMBERS {
                let member = self.principals[(number * TEAM_MEMBERS + member) * 10];
                self.members.push(GroupMember { group: *team, member });
            }
        }
    }

    fn add_custom_roles(&mut self) {
        let root = RbacScope::parse(&management_group::path(&self.tenant.to_string()))
            .expect("the root group's path is a scope");
        for number in 0..CUSTOM_ROLES {
            let actions = [
                "Microsoft.Resources/subscriptions/resourceGroups/read",
                "Microsoft.Compute/virtualMachines/*",
                "Microsoft.Storage/*/read",
                "*/diagnosticSettings/*",
            ];
            let definition = RoleDefinition {
                id: RoleDefinitionId::new(self.random.uuid()),
                role_name: format!("custom role {number}"),
                role_type: RoleType::CustomRole,
                description: String::new(),
                assignable_scopes: vec![root.clone()],
                permissions: vec![Permission {
                    actions: patterns(&actions[number % 3..]),
                    not_actions: patterns(&["Microsoft.Compute/virtualMachines/delete"]),
                    ..Permission::default()
                }],
                created_on: None,
                updated_on: None,
            };
            self.custom_roles.push(CustomRole {
                tenant_id: self.tenant,
                definition: Arc::new(definition),
                created_by: None,
                updated_by: None,
            });
        }
    }

    fn add_assignment(&mut self) {
        let mut random = Random::new(self.random.next());
        let principal_id = self.holder(&mut random);
        let condition = random.happens(5).then(|| condition(&mut random));
        let role = match &condition {
            Some((role, _)) => role_named(role),
            None if random.happens(30) => {
                role_named(POPULAR_ROLES[random.below(POPULAR_ROLES.len())])
            }
            None if random.happens(7) => random.pick(&self.custom_roles).definition.id,
            None => random.pick(built_in_roles::all()).id,
        };
        let place = self.any_place(&mut random);
        let scope = RbacScope::parse(&self.text(place)).expect("the text of a place is a scope");
        let assignment = RoleAssignment {
            id: RoleAssignmentId::new(random.uuid()),
            tenant_id: self.tenant,
            scope,
            principal_id,
            principal_type: PrincipalType::ServicePrincipal,
            role,
            condition: condition.map(|(_, condition)| condition),
            description: None,
            created_at: 1_750_000_000,
            updated_at: 1_750_000_000,
            created_by: Some(self.principals[0]),
            updated_by: None,
        };
        self.assignments.push(Placed { assignment, place });
    }

    fn holder(&self, random: &mut Random) -> PrincipalId {
        match random.below(100) {
            0..5 => *random.pick(&self.groups),
            5..15 => self.principals[random.below(self.principals.len() / BUSY_PRINCIPALS)],
            _ => *random.pick(&self.principals),
        }
    }

    /// Every fifth is for everyone; the others bind one principal where a role of its own counts.
    fn add_deny(&mut self, number: usize) {
        let mut random = Random::new(self.random.next());
        let is_for_everyone = number.is_multiple_of(5);
        let placed = random.pick(&self.assignments);
        let (whom, place) = if is_for_everyone {
            (EVERYONE, self.any_place(&mut random))
        } else {
            (placed.assignment.principal_id, placed.place)
        };
        let kind =
            if is_for_everyone { DeniedType::SystemDefined } else { DeniedType::ServicePrincipal };
        let excluded = random.pick(&self.principals);
        self.denies.push(DenyAssignment {
            id: DenyAssignmentId::new(random.uuid()),
            tenant_id: self.tenant,
            scope: RbacScope::parse(&self.text(place)).expect("the text of a place is a scope"),
            name: format!("deny {number}"),
            description: String::new(),
            permissions: vec![Permission {
                actions: patterns(&["*/delete", "Microsoft.Compute/*/write"]),
                data_actions: patterns(&["*/write"]),
                ..Permission::default()
            }],
            excludes_child_scopes: random.happens(20),
            principals: vec![DeniedPrincipal { id: whom, kind }],
            excluded_principals: vec![DeniedPrincipal {
                id: *excluded,
                kind: DeniedType::ServicePrincipal,
            }],
            created_at: 1_750_000_000,
            updated_at: 1_750_000_000,
            created_by: None,
            updated_by: None,
        });
    }
}

fn write<R: Record>(record: &R) -> (StoreKey, Write) {
    let key = state_key::<R>(&record.record_id());
    (key.clone(), Write::Put(key, encode(record)))
}

fn management_group(tenant_id: TenantId, number: usize) -> ManagementGroup {
    let name = |number: usize| format!("group-{number}");
    let parent = (number >= MIDDLE_GROUPS).then(|| name(number / BRANCHES - 1));
    ManagementGroup {
        tenant_id,
        name: name(number),
        display_name: name(number),
        parent,
        created_at: 0,
        updated_at: 0,
        updated_by: None,
    }
}

fn patterns(texts: &[&str]) -> ActionPatterns {
    texts.iter().map(|text| ActionPattern::new(text)).collect::<Vec<_>>().into()
}

fn role_named(name: &str) -> RoleDefinitionId {
    let role = built_in_roles::all().iter().find(|role| role.role_name == name);
    role.expect("the role is built in").id
}

/// The two conditions that are met most: one container of a storage account, and delegated role assignment.
fn condition(random: &mut Random) -> (&'static str, Condition) {
    let (role, text) = if random.happens(70) {
        let container = random.below(CONTAINERS);
        let text = format!(
            "((!(ActionMatches{{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'}})) OR \
             (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] StringEquals \
             'container-{container}'))"
        );
        (BLOB_READER, text)
    } else {
        let roles = random.below(CONTAINERS) + 1;
        let roles: Vec<String> =
            POPULAR_ROLES[2..2 + roles].iter().map(|name| role_named(name).to_string()).collect();
        let text = format!(
            "((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/write'}})) OR \
             (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] \
             ForAnyOfAnyValues:GuidEquals {{{}}}))",
            roles.join(", ")
        );
        (ROLE_ADMINISTRATOR, text)
    };
    (role, Condition::parse(&text).expect("the condition is well formed"))
}

/// What a request to one of the containers knows about itself.
pub(crate) fn attributes(container: usize) -> Attributes {
    let role = role_named(POPULAR_ROLES[2 + container]);
    Attributes::default()
        .with(
            AttributeSource::Resource,
            "Microsoft.Storage/storageAccounts/blobServices/containers:name",
            AttributeValues::string(format!("container-{container}")),
        )
        .with(
            AttributeSource::Request,
            "Microsoft.Authorization/roleAssignments:RoleDefinitionId",
            AttributeValues::guid(*role.as_uuid()),
        )
}
