//! Random worlds, and questions that come close to what they grant: everything from one small alphabet.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use uuid::Uuid;

use super::condition::{Attribute, Condition, Each, Family, Literal, Operator, Right, Tree};
use super::evaluator::principal_set;
use super::worlds::{
    Ask, Assignment, Deny, EVERYONE, GROUP, Grants, MANAGEMENT_GROUPS, ManagementGroupOf,
    PRINCIPAL, Role, SubscriptionOf, World, tenant_name,
};
use crate::rbac::{AttributeSource, Plane, built_in_roles};

pub(super) const TENANTS: [u128; 2] = [0xaaaa_0001, 0xaaaa_0002];
const SUBSCRIPTIONS: [u128; 4] = [0xdddd_0001, 0xdddd_0002, 0xdddd_0003, 0xdddd_0004];
const MANAGEMENT_GROUP_NAMES: [&str; 5] = ["Mg1", "Mg10", "mg2", "PROD", "prod1"];
const GROUPS: u128 = 4;
const PRINCIPALS: u128 = 4;

const ACTIONS: [&str; 15] = [
    "Microsoft.A/read",
    "Microsoft.A/t/read",
    "Microsoft.A/t/write",
    "Microsoft.A/t/u/read",
    "Microsoft.A/t/u/write",
    "Microsoft.A/t/u/assign/action",
    "Microsoft.A/t/assign/action",
    "Microsoft.A/tt/read",
    "Microsoft.AB/t/read",
    "Microsoft.AB/t/delete",
    "Microsoft.KeyVault/vaults/read",
    "Microsoft.KeyVault/vaults/secrets/read",
    "Microsoft.KeyVault/vaults/secrets/getSecret/action",
    "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
    "Microsoft.Authorization/roleAssignments/write",
];

/// Built-in roles without conditions.
const BUILT_IN_ROLES: [&str; 6] = [
    "Owner",
    "Contributor",
    "Reader",
    "Managed Identity Operator",
    "Key Vault Reader",
    "Key Vault Secrets User",
];

const SUB_OPERATIONS: [&str; 2] = ["Blob.List", "Blob.Write.Tier"];

/// Attributes, each with the type that it usually has.
const ATTRIBUTES: [(AttributeSource, &str, Family); 8] = {
    use AttributeSource::{Environment, Principal, Request, Resource};
    [
        (Resource, "Microsoft.Storage/storageAccounts/containers:name", Family::Text),
        (Request, "Microsoft.Storage/storageAccounts/containers:name", Family::Text),
        (Resource, "Microsoft.Storage/blobs/tags:Level<$key_case_sensitive$>", Family::Text),
        (Resource, "Microsoft.Storage/blobs/tags:level<$key_case_sensitive$>", Family::Text),
        (Principal, "Microsoft.Directory/CustomSecurityAttributes/Id:Eng_Level", Family::Number),
        (Environment, "UtcNow", Family::Moment),
        (Environment, "isPrivateLink", Family::Truth),
        (Request, "Microsoft.Authorization/roleAssignments:RoleDefinitionId", Family::Guid),
    ]
};

const TEXTS: [&str; 15] = [
    "",
    "a",
    "A",
    "ab",
    "aB",
    "b",
    "a*",
    "*b",
    "?",
    "a\\*",
    "it's",
    "1",
    "true",
    "00000000-0000-0000-0000-000000000001",
    "1970-01-01T00:00:01Z",
];

/// An action with wildcards in some of many places.
fn pattern() -> impl Strategy<Value = String> {
    (select(ACTIONS.as_slice()), 0_u8..13, any::<Index>(), any::<Index>()).prop_map(
        |(action, form, one, other)| {
            let mut segments = action.split('/').map(str::to_owned).collect::<Vec<_>>();
            let count = segments.len();
            let (first, second) = (one.index(count), other.index(count));
            let (head, tail) = action.split_at(one.index(action.len()));
            match form {
                0..=2 => return action.to_owned(),
                3 => return "*".to_owned(),
                4 => return format!("{head}*"),
                5 => return format!("*{tail}"),
                6 => return format!("{head}*{tail}"),
                7 => return action.to_ascii_uppercase(),
                8 => return format!("*/{}", segments[count - 1]),
                9 => segments.insert(first.max(1), "*".to_owned()),
                10 => segments[first] = "*".to_owned(),
                11 => {
                    segments[first] = "*".to_owned();
                    segments.insert(second, "*".to_owned());
                }
                _ => {
                    segments.truncate(first.max(1));
                    segments.push("*".to_owned());
                }
            }
            segments.join("/")
        },
    )
}

fn literal(family: Family) -> BoxedStrategy<Literal> {
    match family {
        Family::Text => select(TEXTS.as_slice()).prop_map(Literal::Text).boxed(),
        Family::Number => (-1_i64..3).prop_map(Literal::Number).boxed(),
        Family::Truth => any::<bool>().prop_map(Literal::Truth).boxed(),
        Family::Guid => (0_u8..4).prop_map(Literal::Guid).boxed(),
        Family::Moment => (0_u8..3).prop_map(Literal::Moment).boxed(),
    }
}

fn attribute() -> impl Strategy<Value = (Attribute, Family)> {
    select(ATTRIBUTES.as_slice())
        .prop_map(|(source, name, family)| (Attribute { source, name }, family))
}

fn operator(family: Family) -> impl Strategy<Value = Operator> {
    let relations: &[&str] = match family {
        Family::Text => &["Equals", "StartsWith", "Like"],
        Family::Number | Family::Moment => {
            &["Equals", "GreaterThan", "GreaterThanEquals", "LessThan", "LessThanEquals"]
        }
        Family::Truth | Family::Guid => &["Equals"],
    };
    (select(relations), any::<bool>(), any::<bool>()).prop_map(
        move |(relation, is_negated, ignores_case)| Operator {
            family,
            relation,
            is_negated: is_negated && !relation.contains("Than"),
            ignores_case: ignores_case && family == Family::Text,
        },
    )
}

fn comparison() -> impl Strategy<Value = Tree> {
    let families = [Family::Text, Family::Number, Family::Truth, Family::Guid, Family::Moment];
    let each = || prop_oneof![Just(Each::Any), Just(Each::All)];
    let sides = (attribute(), prop::option::weighted(0.1, select(families.to_vec())));
    let many = prop::option::of((each(), each()));
    (sides, many).prop_flat_map(|(((left, usual), odd), many)| {
        let family = odd.unwrap_or(usual);
        let count = if many.is_some() { 1..3 } else { 1..2 };
        let values = prop::collection::vec(literal(family), count).prop_map(Right::Values);
        let other = attribute().prop_map(|(attribute, _)| Right::Attribute(attribute));
        (operator(family), prop_oneof![5 => values, 1 => other])
            .prop_map(move |(operator, right)| Tree::Compare { left, many, operator, right })
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    // A condition of Azure may have four wildcards in an action, no two of them side by side.
    let action = pattern().prop_map(Tree::Action);
    let leaf = prop_oneof![
        6 => comparison(),
        2 => action,
        1 => select(SUB_OPERATIONS.as_slice()).prop_map(Tree::SubOperation),
        1 => attribute().prop_map(|(attribute, _)| Tree::Exists(attribute)),
    ];
    let tree = leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| Tree::Not(Box::new(part))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::All),
            prop::collection::vec(inner, 2..4).prop_map(Tree::Any),
        ]
    });
    (tree, any::<bool>(), any::<bool>()).prop_map(|(tree, uses_symbols, is_lowercase)| Condition {
        tree,
        uses_symbols,
        is_lowercase,
    })
}

fn grants(granted: usize, condition_weight: f64) -> impl Strategy<Value = Grants> {
    let many =
        || prop_oneof![1 => Just(Vec::new()), 4 => prop::collection::vec(pattern(), 1..=granted)];
    let few = || prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(pattern(), 1..3)];
    let condition = prop::option::weighted(condition_weight, condition());
    (many(), few(), many(), few(), condition).prop_map(
        |(actions, not_actions, data_actions, not_data_actions, condition)| Grants {
            actions,
            not_actions,
            data_actions,
            not_data_actions,
            condition,
        },
    )
}

/// What hangs below a subscription, from its own scope down to a secret.
fn path_below() -> impl Strategy<Value = String> {
    let group = select(["rg1", "rg10", "RG1", "rg2"].as_slice());
    let resource = select(
        ["KeyVault/vaults/kv", "KeyVault/vaults/kv1", "keyvault/VAULTS/KV", "A/t/kv"].as_slice(),
    );
    let part = select(["secrets/s", "secrets/s1", "keys/s", "secrets"].as_slice());
    (0_u8..9, group, resource, part).prop_map(|(depth, group, resource, part)| match depth {
        0..=1 => String::new(),
        2..=3 => format!("/resourceGroups/{group}"),
        4..=5 => format!("/resourceGroups/{group}/providers/Microsoft.{resource}"),
        6 => format!("/resourceGroups/{group}/providers/Microsoft.{resource}/{part}"),
        7 => "/resourceGroups".to_owned(),
        _ => format!("/providers/Microsoft.{resource}"),
    })
}

pub(super) fn scope() -> impl Strategy<Value = String> {
    let management_group = (select(MANAGEMENT_GROUP_NAMES.as_slice()), any::<bool>());
    prop_oneof![
        2 => Just("/".to_owned()),
        4 => management_group.prop_map(|(name, is_lowercase)| {
            let scope = format!("{MANAGEMENT_GROUPS}/{name}");
            if is_lowercase { scope.to_ascii_lowercase() } else { scope }
        }),
        1 => select(MANAGEMENT_GROUP_NAMES.as_slice()).prop_map(|name| {
            format!("{MANAGEMENT_GROUPS}/{name}/providers/Microsoft.A/t/x")
        }),
        1 => select(TENANTS.as_slice())
            .prop_map(|tenant| format!("{MANAGEMENT_GROUPS}/{}", tenant_name(tenant))),
        16 => (select(SUBSCRIPTIONS.as_slice()), path_below()).prop_map(|(id, below)| {
            format!("/subscriptions/{}{below}", Uuid::from_u128(id))
        }),
        1 => select(["/providers/Microsoft.A/t/x", "/subscriptions", "/subscriptions/x"].as_slice())
            .prop_map(str::to_owned),
    ]
}

fn tenant() -> impl Strategy<Value = u128> {
    prop_oneof![7 => Just(TENANTS[0]), 1 => Just(TENANTS[1])]
}

/// A principal, more often a group.
fn principal() -> impl Strategy<Value = u128> {
    prop_oneof![
        3 => (0..GROUPS).prop_map(|number| GROUP + number),
        2 => (0..PRINCIPALS).prop_map(|number| PRINCIPAL + number),
    ]
}

/// A group's parent: one that comes before it, now and then one that is not there.
fn parent(number: u8, before: usize) -> Option<String> {
    match usize::from(number) {
        9 => Some("gone".to_owned()),
        number => MANAGEMENT_GROUP_NAMES.get(..before)?.get(number).map(|it| it.to_lowercase()),
    }
}

fn tree() -> impl Strategy<Value = (Vec<ManagementGroupOf>, Vec<SubscriptionOf>)> {
    let groups = prop::collection::vec(prop::option::weighted(0.8, (tenant(), 0_u8..10)), 5);
    let subscriptions = prop::collection::vec(prop::option::weighted(0.9, (tenant(), 0_u8..10)), 3);
    (groups, subscriptions).prop_map(|(groups, subscriptions)| {
        let groups = groups.into_iter().enumerate().filter_map(|(place, group)| {
            let (tenant, number) = group?;
            let name = MANAGEMENT_GROUP_NAMES[place];
            Some(ManagementGroupOf { tenant, name, parent: parent(number, place) })
        });
        let subscriptions = subscriptions.into_iter().zip(SUBSCRIPTIONS);
        let subscriptions = subscriptions.filter_map(|(subscription, id)| {
            let (tenant, number) = subscription?;
            let parent = parent(number, MANAGEMENT_GROUP_NAMES.len());
            Some(SubscriptionOf { id, tenant, parent })
        });
        (groups.collect(), subscriptions.collect())
    })
}

pub(super) fn built_in(name: &str) -> Role {
    let found = built_in_roles::all().iter().find(|role| role.role_name == name).unwrap();
    let permissions = found.permissions.iter().map(|permission| {
        let [actions, not_actions, data_actions, not_data_actions] = permission
            .lists()
            .map(|(_, list)| list.iter().map(|it| it.as_str().to_owned()).collect());
        let condition = None;
        Grants { actions, not_actions, data_actions, not_data_actions, condition }
    });
    Role {
        id: found.id.as_uuid().as_u128(),
        tenant: 0,
        is_built_in: true,
        permissions: permissions.collect(),
    }
}

fn role_id(number: u8) -> u128 {
    0xeeee_0000 + u128::from(number)
}

fn roles() -> impl Strategy<Value = Vec<Role>> {
    let custom = prop::collection::vec(
        prop::collection::vec(grants(3, 0.25), 1..4).prop_map(|permissions| Role {
            id: 0,
            tenant: TENANTS[0],
            is_built_in: false,
            permissions,
        }),
        3..6,
    );
    custom.prop_map(|mut roles| {
        for (number, role) in (0..).zip(&mut roles) {
            role.id = role_id(number);
        }
        roles.extend(BUILT_IN_ROLES.map(built_in));
        roles
    })
}

fn assignment() -> impl Strategy<Value = Assignment> {
    let role = prop_oneof![
        5 => (0_u8..6).prop_map(role_id),
        1 => select(BUILT_IN_ROLES.as_slice()).prop_map(|name| built_in(name).id),
    ];
    // An assignment to everyone's GUID is one to nobody.
    let principal = prop_oneof![20 => principal(), 1 => Just(EVERYONE)];
    (tenant(), scope(), principal, role, prop::option::weighted(0.25, condition())).prop_map(
        |(tenant, scope, principal, role, condition)| Assignment {
            tenant,
            scope,
            principal,
            role,
            condition,
        },
    )
}

fn deny() -> impl Strategy<Value = Deny> {
    let principals = prop_oneof![
        1 => Just(vec![EVERYONE]),
        1 => prop::collection::vec(principal(), 1..3),
    ];
    let excluded = prop::collection::vec(principal(), 0..3);
    let permissions = prop::collection::vec(grants(2, 0.4), 1..3);
    (tenant(), scope(), permissions, any::<bool>(), principals, excluded).prop_map(
        |(tenant, scope, permissions, excludes_child_scopes, principals, excluded)| Deny {
            tenant,
            scope,
            permissions,
            excludes_child_scopes,
            principals,
            excluded,
        },
    )
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let anybody = prop_oneof![
        (0..GROUPS).prop_map(|number| GROUP + number),
        (0..PRINCIPALS).prop_map(|number| PRINCIPAL + number),
    ];
    let membership = ((0..GROUPS).prop_map(|number| GROUP + number), anybody);
    let members = prop::collection::vec(membership, 0..10);
    let assignments = prop::collection::vec((prop::bool::weighted(0.8), assignment()), 1..12);
    let denies = prop::collection::vec((prop::option::weighted(0.8, any::<Index>()), deny()), 0..6);
    (tree(), members, roles(), assignments, denies).prop_map(
        |((management_groups, subscriptions), members, roles, assignments, denies)| {
            let mut world = World {
                tenants: TENANTS.to_vec(),
                subscriptions,
                management_groups,
                members,
                roles,
                ..World::default()
            };
            for (is_at_home, mut assignment) in assignments {
                if is_at_home {
                    assignment.tenant = owner(&world, &assignment.scope);
                }
                world.assignments.push(assignment);
            }
            for (place, mut deny) in denies {
                if let Some(place) = place {
                    come_near(&world, &mut deny, place.get(&world.assignments));
                }
                world.denies.push(deny);
            }
            world
        },
    )
}

/// Whose the subscription at the start of the path is; for all else, the first tenant.
fn owner(world: &World, scope: &str) -> u128 {
    let found = world.subscriptions.iter().find(|it| scope.contains(&it.name()));
    found.map_or(TENANTS[0], |it| it.tenant)
}

/// Makes a deny be about what an assignment gives.
fn come_near(world: &World, deny: &mut Deny, assignment: &Assignment) {
    deny.tenant = assignment.tenant;
    deny.scope.clone_from(&assignment.scope);
    if !deny.principals.contains(&EVERYONE) {
        deny.principals.push(assignment.principal);
    }
    let role = world.roles.iter().find(|role| role.id == assignment.role);
    let given = role.and_then(|role| role.permissions.first());
    if let (Some(given), Some(denied)) = (given, deny.permissions.first_mut()) {
        denied.actions.extend(given.actions.iter().take(3).cloned());
        denied.data_actions.extend(given.data_actions.iter().take(3).cloned());
    }
}

/// What a question is made of once the world is known.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    /// The question that has nothing to do with what the world grants.
    random: Ask,
    /// Which of the parts are taken from an assignment instead.
    assignment: Index,
    keeps_random: (u8, u8, u8, u8),
    choice: Index,
    below: String,
    fills: Vec<&'static str>,
    satisfies: Vec<bool>,
}

pub(super) fn seed() -> impl Strategy<Value = Seed> {
    let plane = prop_oneof![Just(Plane::Control), Just(Plane::Data)];
    let everybody = prop_oneof![
        6 => (0..PRINCIPALS).prop_map(|number| PRINCIPAL + number),
        1 => (0..GROUPS).prop_map(|number| GROUP + number),
    ];
    let values = |family| prop::collection::vec(literal(family), 0..3);
    let attributes = ATTRIBUTES.map(|(source, name, usual)| {
        let known = prop_oneof![6 => values(usual), 1 => values(Family::Text)];
        let attribute = Attribute { source, name };
        prop::option::of(known.prop_map(move |values| (attribute, values)))
    });
    let sub_operation =
        prop::option::of(select(["Blob.List", "blob.LIST", "Blob.Write.Tier"].as_slice()));
    let action = select(ACTIONS.as_slice()).prop_map(str::to_owned);
    let random = (tenant(), everybody, plane, action, scope(), sub_operation, attributes.to_vec())
        .prop_map(|(tenant, principal, plane, action, scope, sub_operation, attributes)| Ask {
            tenant,
            principal,
            plane,
            action,
            scope,
            sub_operation,
            attributes: attributes.into_iter().flatten().collect(),
        });
    let fills = prop::collection::vec(select(["t", "read", "t/u", "", "u"].as_slice()), 4);
    (
        random,
        any::<Index>(),
        (0_u8..16, 0_u8..16, 0_u8..16, 0_u8..16),
        any::<Index>(),
        path_below(),
        fills,
        prop::collection::vec(prop::bool::weighted(0.7), 6),
    )
        .prop_map(|(random, assignment, keeps_random, choice, below, fills, satisfies)| Seed {
            random,
            assignment,
            keeps_random,
            choice,
            below,
            fills,
            satisfies,
        })
}

impl Seed {
    /// The question in this world: mostly about something that one of its assignments gives.
    pub(super) fn ask(&self, world: &World) -> Ask {
        let mut ask = self.random.clone();
        if world.assignments.is_empty() {
            return ask;
        }
        let assignment = self.assignment.get(&world.assignments);
        let (principal, scope, action, values) = self.keeps_random;
        if principal > 0 {
            ask.tenant = assignment.tenant;
            let held = (0..PRINCIPALS).map(|number| PRINCIPAL + number);
            let held = held.filter(|it| principal_set(world, *it).contains(&assignment.principal));
            let held = held.collect::<Vec<_>>();
            if !held.is_empty() {
                ask.principal = *self.choice.get(&held);
            } else if assignment.principal != EVERYONE {
                ask.principal = assignment.principal;
            }
        }
        if scope > 0 {
            ask.scope = self.scope_below(world, assignment);
        }
        let role = world.roles.iter().find(|role| role.id == assignment.role);
        let permission = role.map(|role| self.choice.get(&role.permissions));
        if let Some(permission) = permission.filter(|_| action > 0) {
            self.take_action(&mut ask, permission);
        }
        if values > 0 {
            let conditions = permission.and_then(|it| it.condition.as_ref());
            for condition in conditions.into_iter().chain(&assignment.condition) {
                self.satisfy(&mut ask, condition);
            }
        }
        ask
    }

    fn scope_below(&self, world: &World, assignment: &Assignment) -> String {
        let own = &assignment.scope;
        if !own.starts_with("/subscriptions/") {
            let held = world.subscriptions.iter().filter(|it| it.tenant == assignment.tenant);
            let held = held.collect::<Vec<_>>();
            if held.is_empty() || self.choice.index(4) == 0 {
                return own.clone();
            }
            return format!("/subscriptions/{}{}", self.choice.get(&held).name(), self.below);
        }
        match self.choice.index(3) {
            0 => own.clone(),
            1 => format!("{own}/x/y"),
            _ => format!("{own}{}", self.below),
        }
    }

    fn take_action(&self, ask: &mut Ask, permission: &Grants) {
        let control = permission.actions.iter().map(|it| (Plane::Control, it));
        let data = permission.data_actions.iter().map(|it| (Plane::Data, it));
        let granted = control.chain(data).collect::<Vec<_>>();
        if granted.is_empty() {
            return;
        }
        let (plane, pattern) = *self.choice.get(&granted);
        ask.plane = plane;
        if pattern != "*" {
            ask.action = pattern.clone();
        }
        for fill in &self.fills {
            ask.action = ask.action.replacen('*', fill, 1);
        }
    }

    fn satisfy(&self, ask: &mut Ask, condition: &Condition) {
        let comparisons = condition.tree.comparisons();
        for ((attribute, values), _) in
            comparisons.into_iter().zip(&self.satisfies).filter(|(_, it)| **it)
        {
            ask.attributes.retain(|(other, _)| *other != attribute);
            ask.attributes.push((attribute, vec![self.choice.get(values).clone()]));
        }
    }
}
