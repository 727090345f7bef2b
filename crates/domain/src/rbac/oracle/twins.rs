//! Near misses: what differs from a granted question by a hair, and what Azure's rules say of it in so many words.
//!
//! Engine and oracle have to agree on each, and both have to be as expected here.

use super::agree;
use super::condition::{Attribute, Condition, Family, Literal, Operator, Right, Tree};
use super::evaluator::{evaluate, segments};
use super::generator::TENANTS;
use super::worlds::{
    Ask, Assignment, Deny, EVERYONE, GROUP, Grants, MANAGEMENT_GROUPS, ManagementGroupOf,
    PRINCIPAL, Role, World, tenant_name,
};
use crate::rbac::{AttributeSource, Plane, RbacScope};
use crate::snapshot::Snapshot;

const STRANGER: u128 = PRINCIPAL + 0x100;
const INNER_GROUP: u128 = GROUP + 0x100;
const OUTER_GROUP: u128 = GROUP + 0x101;
const PLAIN_ROLE: u128 = 0xeeee_0100;
const OTHER_ROLE: u128 = 0xeeee_0101;
const UNKNOWN_TENANT: u128 = 0xaaaa_0009;

/// Becomes `k` in Unicode's lower case.
const KELVIN: char = '\u{212a}';
/// Becomes `S` in Unicode's upper case.
const LONG_S: char = '\u{17f}';

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Allowed,
    Refused,
    /// Nothing but what the rules say of this very world.
    AsRuled,
}

use Expected::{Allowed, AsRuled, Refused};

/// How many twins there were.
#[derive(Debug, Default)]
pub(super) struct TwinCounts {
    pub(super) allowed: u32,
    pub(super) refused: u32,
    pub(super) unparsable: u32,
}

/// A granted question, and what was counted around it.
struct Twins<'a> {
    world: &'a World,
    snapshot: &'a Snapshot,
    ask: &'a Ask,
    counts: &'a mut TwinCounts,
}

impl Twins<'_> {
    /// The same world, another question.
    fn ask(&mut self, what: &str, expected: Expected, edit: impl FnOnce(&mut Ask)) {
        let mut ask = self.ask.clone();
        edit(&mut ask);
        if RbacScope::parse(&ask.scope).is_err() {
            assert_ne!(expected, Allowed, "{what}: {} is no scope", ask.scope);
            self.counts.unparsable += 1;
            return;
        }
        self.check(what, expected, self.world, self.snapshot, &ask);
    }

    /// The same question, another world.
    fn live(&mut self, what: &str, expected: Expected, edit: impl FnOnce(&mut World)) {
        self.both(what, expected, |world, _| edit(world));
    }

    fn both(&mut self, what: &str, expected: Expected, edit: impl FnOnce(&mut World, &mut Ask)) {
        let (mut world, mut ask) = (self.world.clone(), self.ask.clone());
        edit(&mut world, &mut ask);
        let snapshot = world.snapshot();
        self.check(what, expected, &world, &snapshot, &ask);
    }

    fn check(
        &mut self,
        what: &str,
        expected: Expected,
        world: &World,
        snapshot: &Snapshot,
        ask: &Ask,
    ) {
        let decision = agree(world, snapshot, ask);
        let is_allowed = decision.is_allowed();
        let is_expected = expected == AsRuled || is_allowed == (expected == Allowed);
        assert!(is_expected, "{what}: expected {expected:?}, found {decision:?}\n{ask:#?}");
        *(if is_allowed { &mut self.counts.allowed } else { &mut self.counts.refused }) += 1;
    }
}

/// Twins of a question that is granted in whatever way.
pub(super) fn around_a_grant(
    world: &World,
    snapshot: &Snapshot,
    ask: &Ask,
    counts: &mut TwinCounts,
) {
    let mut twins = Twins { world, snapshot, ask, counts };
    let is_owned = ask.scope.to_lowercase().starts_with(&MANAGEMENT_GROUPS.to_lowercase())
        || world.subscriptions.iter().any(|it| ask.scope.contains(&it.name()));
    let elsewhere = if is_owned { Refused } else { AsRuled };
    twins.ask("a segment more", Allowed, |it| it.scope = below(&it.scope, "zz9"));
    twins.ask("a segment less", AsRuled, |it| it.scope = parent(&it.scope));
    twins.ask("a longer name", AsRuled, |it| it.scope.push('0'));
    twins.ask("capitals", Allowed, |it| it.scope.make_ascii_uppercase());
    twins.ask("small letters", Allowed, |it| it.scope.make_ascii_lowercase());
    twins.ask("action in capitals", Allowed, |it| it.action.make_ascii_uppercase());
    twins.ask("action in small letters", Allowed, |it| it.action.make_ascii_lowercase());
    twins.ask("other plane", AsRuled, |it| it.plane = other_plane(it.plane));
    twins.ask("longer action", AsRuled, |it| it.action.push_str("/x"));
    twins.ask("shorter action", AsRuled, |it| it.action = parent(&it.action));
    twins.ask("other tenant", elsewhere, |it| it.tenant = other_tenant(it.tenant));
    twins.ask("unknown tenant", Refused, |it| it.tenant = UNKNOWN_TENANT);
    twins.ask("a stranger", Refused, |it| it.principal = STRANGER);
    twins.ask("no suboperation", AsRuled, |it| it.sub_operation = None);
    twins.ask("no attributes", AsRuled, |it| it.attributes.clear());
    for place in 0..ask.attributes.len() {
        twins.ask("an attribute less", AsRuled, |it| drop(it.attributes.remove(place)));
    }
    let verdict = evaluate(world, ask);
    twins.live("no grants", Refused, |world| {
        for number in verdict.granting.iter().chain(&verdict.granting_by_condition) {
            world.assignments[*number].principal = STRANGER;
        }
    });
    twins.live("a grant less", AsRuled, |world| {
        let first = verdict.granting.iter().chain(&verdict.granting_by_condition).next();
        world.assignments[*first.unwrap()].principal = STRANGER;
    });
    twins.live("no memberships", AsRuled, |world| world.members.clear());
    twins.live("no roles", AsRuled, |world| world.roles.retain(|role| role.is_built_in));
    what_is_no_scope(&ask.scope, twins.counts);
}

/// Twins of the same question where nothing but one assignment of one role with this very action grants it.
pub(super) fn around_a_plain_grant(world: &World, ask: &Ask, counts: &mut TwinCounts) {
    if ask.action.contains('*') || ask.action.is_empty() {
        return;
    }
    let mut world = world.clone();
    world.denies.clear();
    world.roles = vec![Role {
        id: PLAIN_ROLE,
        tenant: ask.tenant,
        is_built_in: false,
        permissions: vec![of_plane(ask.plane, vec![ask.action.clone()], vec![])],
    }];
    world.assignments = vec![Assignment {
        tenant: ask.tenant,
        scope: ask.scope.clone(),
        principal: ask.principal,
        role: PLAIN_ROLE,
        condition: None,
    }];
    let snapshot = world.snapshot();
    let mut twins = Twins { world: &world, snapshot: &snapshot, ask, counts };
    twins.ask("itself", Allowed, |_| {});
    other_scopes(&mut twins);
    other_actions(&mut twins);
    other_patterns(&mut twins);
    other_principals(&mut twins);
    other_trees(&mut twins);
    other_roles(&mut twins);
    conditions(&mut twins);
    likenesses(&mut twins);
    denies(&mut twins);
}

fn other_scopes(twins: &mut Twins<'_>) {
    let scope = twins.ask.scope.clone();
    twins.ask("a segment more", Allowed, |it| it.scope = below(&scope, "x"));
    twins.ask("capitals", Allowed, |it| it.scope.make_ascii_uppercase());
    twins.ask("small letters", Allowed, |it| it.scope.make_ascii_lowercase());
    if scope == "/" {
        return;
    }
    // One management group may stand below another whose name is longer or shorter.
    let sibling = if scope.starts_with(MANAGEMENT_GROUPS) { AsRuled } else { Refused };
    twins.ask("a segment less", Refused, |it| it.scope = parent(&scope));
    twins.ask("the root", Refused, |it| it.scope = "/".to_owned());
    twins.ask("a longer name", sibling, |it| it.scope.push('0'));
    twins.ask("a shorter name", sibling, |it| {
        it.scope.pop();
    });
    twins.ask("a blank", Refused, |it| it.scope.push(' '));
    twins.ask("a dot", Refused, |it| it.scope.push('.'));
    for (letter, double) in
        [('k', KELVIN), ('K', KELVIN), ('s', LONG_S), ('/', '\u{ff0f}'), ('/', '\\')]
    {
        let at = scope.char_indices().skip(1).find(|(_, found)| *found == letter);
        let Some((at, _)) = at else { continue };
        let twin = format!("{}{double}{}", scope.split_at(at).0, scope.split_at(at + 1).1);
        twins.ask("a letter that only looks alike", Refused, |it| it.scope = twin);
    }
}

fn other_actions(twins: &mut Twins<'_>) {
    let action = twins.ask.action.clone();
    let wrong = [
        format!("{action}/x"),
        format!("x/{action}"),
        format!("{action}x"),
        format!("x{action}"),
        format!("{action}/"),
        format!("/{action}"),
        format!("{action} "),
        format!("{action}\0"),
        parent(&action),
        action.split_once('/').map_or_else(String::new, |(_, rest)| rest.to_owned()),
        action.replacen('/', "//", 1),
        action.replacen('/', "%2f", 1),
        action.replacen('/', "/x/", 1),
        action.replacen('s', &LONG_S.to_string(), 1),
        action.replacen('k', &KELVIN.to_string(), 1),
        "*".to_owned(),
        String::new(),
    ];
    for wrong in wrong.into_iter().filter(|wrong| *wrong != action) {
        twins.ask("another action", Refused, |it| it.action = wrong);
    }
    twins.ask("action in capitals", Allowed, |it| it.action.make_ascii_uppercase());
    twins.ask("other plane", Refused, |it| it.plane = other_plane(it.plane));
}

fn other_patterns(twins: &mut Twins<'_>) {
    let (action, plane) = (twins.ask.action.clone(), twins.ask.plane);
    let mut check = |pattern: String, expected| {
        twins.live("another pattern", expected, |world| {
            world.roles[0].permissions = vec![of_plane(plane, vec![pattern.clone()], vec![])];
        });
        let not = if expected == Allowed { Refused } else { Allowed };
        twins.live("another pattern taken away", not, |world| {
            let granted = vec![action.clone()];
            world.roles[0].permissions = vec![of_plane(plane, granted, vec![pattern])];
        });
    };
    let (head, tail) = action.split_at(action.len() / 2);
    check("*".to_owned(), Allowed);
    check(action.to_ascii_uppercase(), Allowed);
    check(format!("{head}*{tail}"), Allowed);
    check(format!("*{head}*{tail}*"), Allowed);
    check(format!("*{tail}"), Allowed);
    check(format!("{head}*"), Allowed);
    check(format!("{action}/*"), Refused);
    check(format!("*x{action}"), Refused);
    check(format!("{action}*x"), Refused);
    check("x*x".to_owned(), Refused);
    // What stands on both sides of a wildcard has to be there twice.
    let last = action.chars().last().filter(|last| *last != '/');
    check(format!("{action}*{}", last.unwrap_or('x')), Refused);
    check(String::new(), Refused);
    let Some((first, rest)) = action.split_once('/') else { return };
    check(format!("{first}/*"), Allowed);
    check(format!("*/{rest}"), Allowed);
    check(format!("{first}/*/{rest}"), Allowed);
    check(format!("{first}*/{rest}"), Allowed);
    check(format!("{first}x/{rest}"), Refused);
    check(format!("{first}*x/{rest}"), Refused);
    check(format!("{first}/*x/{rest}"), Refused);
}

fn other_principals(twins: &mut Twins<'_>) {
    twins.ask("a stranger", Refused, |it| it.principal = STRANGER);
    twins.ask("nobody", Refused, |it| it.principal = EVERYONE);
    let me = twins.ask.principal;
    let mut check = |what, expected, given_to, members: &[(u128, u128)]| {
        twins.live(what, expected, |world| {
            world.assignments[0].principal = given_to;
            world.members = members.to_vec();
        });
    };
    check("given to everyone's GUID", Refused, EVERYONE, &[]);
    check("a group without members", Refused, OUTER_GROUP, &[]);
    check("a group", Allowed, OUTER_GROUP, &[(OUTER_GROUP, me)]);
    let nested = [(OUTER_GROUP, INNER_GROUP), (INNER_GROUP, me)];
    check("a group in a group", Allowed, OUTER_GROUP, &nested);
    check(
        "a group in a ring",
        Allowed,
        OUTER_GROUP,
        &[&nested[..], &[(INNER_GROUP, OUTER_GROUP)]].concat(),
    );
    check(
        "a ring that lacks me",
        Refused,
        OUTER_GROUP,
        &[(OUTER_GROUP, INNER_GROUP), (INNER_GROUP, OUTER_GROUP)],
    );
    check("upside down", Refused, INNER_GROUP, &[(OUTER_GROUP, me), (OUTER_GROUP, INNER_GROUP)]);
    check("a group in me", Refused, OUTER_GROUP, &[(me, OUTER_GROUP)]);
}

fn other_trees(twins: &mut Twins<'_>) {
    let (tenant, other) = (twins.ask.tenant, other_tenant(twins.ask.tenant));
    twins.ask("other tenant", Refused, |it| it.tenant = other);
    twins.ask("unknown tenant", Refused, |it| it.tenant = UNKNOWN_TENANT);
    twins.live("other tenant's assignment", Refused, |it| it.assignments[0].tenant = other);
    twins.live("no assignment", Refused, |it| it.assignments.clear());
    twins.live("at the root", Allowed, |it| it.assignments[0].scope = "/".to_owned());
    let scope = segments(&twins.ask.scope);
    let subscription =
        twins.world.subscriptions.iter().position(|it| scope.get(1) == Some(&it.name()));
    let Some(subscription) = subscription else { return };
    twins.live("moved to another tenant", Refused, |world| {
        world.subscriptions[subscription].tenant = other;
    });
    let mut check = |what, expected, given_at: &str, owners: [u128; 2]| {
        twins.live(what, expected, |world| {
            world.assignments[0].scope = format!("{MANAGEMENT_GROUPS}/{given_at}");
            world.subscriptions[subscription].parent = Some("twin1".to_owned());
            let names = [("Twin1", Some("twin2")), ("Twin2", None), ("Twin3", Some("twin1"))];
            for ((name, parent), tenant) in names.into_iter().zip([owners[0], owners[1], tenant]) {
                let parent = parent.map(str::to_owned);
                world.management_groups.push(ManagementGroupOf { tenant, name, parent });
            }
        });
    };
    check("at the parent", Allowed, "TWIN1", [tenant; 2]);
    check("at the grandparent", Allowed, "twin2", [tenant; 2]);
    check("at a sibling", Refused, "twin3", [tenant; 2]);
    check("at a longer name", Refused, "twin10", [tenant; 2]);
    check("at the root group", Allowed, &tenant_name(tenant), [tenant; 2]);
    check("at the root group over strangers", Allowed, &tenant_name(tenant), [other; 2]);
    check("at another's root group", Refused, &tenant_name(other), [tenant; 2]);
    check("at another's group", Refused, "twin1", [other, tenant]);
    check("above another's group", Refused, "twin2", [other, tenant]);
    check("at another's grandparent", Refused, "twin2", [tenant, other]);
}

fn other_roles(twins: &mut Twins<'_>) {
    let (action, plane) = (vec![twins.ask.action.clone()], twins.ask.plane);
    let everything = vec!["*".to_owned()];
    let mut check = |what, expected, permissions: Vec<Grants>| {
        twins.live(what, expected, |world| world.roles[0].permissions = permissions);
    };
    let taken = of_plane(plane, action.clone(), everything.clone());
    let plain = of_plane(plane, action.clone(), vec![]);
    let on_other_plane = of_plane(other_plane(plane), everything.clone(), vec![]);
    let not_on_other_plane = Grants {
        not_actions: if plane == Plane::Data { everything.clone() } else { vec![] },
        not_data_actions: if plane == Plane::Control { everything.clone() } else { vec![] },
        ..plain.clone()
    };
    check("taken away", Refused, vec![taken.clone()]);
    check("taken away elsewhere", Allowed, vec![taken.clone(), plain]);
    check("on the other plane only", Refused, vec![on_other_plane]);
    check("taken away on the other plane", Allowed, vec![not_on_other_plane]);
    check("no permissions", Refused, vec![]);
    twins.live("no such role", Refused, |world| world.roles.clear());
    twins.live("taken away by another role", Allowed, |world| {
        let (mut role, mut assignment) = (world.roles[0].clone(), world.assignments[0].clone());
        (role.id, role.permissions) = (OTHER_ROLE, vec![taken]);
        assignment.role = OTHER_ROLE;
        world.roles.push(role);
        world.assignments.push(assignment);
    });
}

const NAME: Attribute = Attribute { source: AttributeSource::Request, name: "Twin/x:name" };

fn compare(relation: &'static str, is_negated: bool, right: Right) -> Tree {
    let operator = Operator { family: Family::Text, is_negated, relation, ignores_case: false };
    Tree::Compare { left: NAME, many: None, operator, right }
}

/// `@Request[Twin/x:name] StringEquals 'v'`, or its opposite.
fn equals(is_negated: bool) -> Tree {
    compare("Equals", is_negated, Right::Values(vec![Literal::Text("v")]))
}

/// What `StringLike` makes of a pattern that is written in a condition, and of one that another attribute bears.
fn likenesses(twins: &mut Twins<'_>) {
    let other = Attribute { name: "Twin/x:other", ..NAME };
    for (pattern, text, as_written, as_attribute) in [
        ("a*", "ab", Allowed, Refused),
        ("a*", "a*", Allowed, Allowed),
        ("*", "", Allowed, Refused),
        ("a*b", "ab", Allowed, Refused),
        ("ab*b", "ab", Refused, Refused),
        ("a?", "a", Refused, Refused),
        ("a?", "ab", Allowed, Refused),
        ("a\\*", "ab", Refused, Refused),
        ("a\\*", "a*", Allowed, Refused),
        ("a\\?", "ab", Refused, Refused),
        ("A*", "ab", Refused, Refused),
    ] {
        let written = Right::Values(vec![Literal::Text(pattern)]);
        for (right, expected) in [(written, as_written), (Right::Attribute(other), as_attribute)] {
            twins.both("likeness", expected, |world, ask| {
                let condition = compare("Like", false, right).into();
                world.assignments[0].condition = Some(condition);
                ask.attributes.push((NAME, vec![Literal::Text(text)]));
                ask.attributes.push((other, vec![Literal::Text(pattern)]));
            });
        }
    }
}

fn conditions(twins: &mut Twins<'_>) {
    let is = || equals(false);
    let not = |tree| Tree::Not(Box::new(tree));
    let action = || Tree::Action(twins.ask.action.clone());
    let other_action = || Tree::Action("Twin/x/read".to_owned());
    let elsewhere = Attribute { source: AttributeSource::Resource, ..NAME };
    let capitals = Attribute { name: "TWIN/X:NAME", ..NAME };
    let text = |text| vec![Literal::Text(text)];
    let cases = [
        (is(), Some((NAME, text("v"))), Allowed),
        (is(), Some((capitals, text("v"))), Allowed),
        (is(), Some((NAME, text("V"))), Refused),
        (is(), Some((NAME, text(""))), Refused),
        (is(), Some((elsewhere, text("v"))), Refused),
        (is(), Some((NAME, vec![Literal::Text("v"); 2])), Refused),
        (is(), Some((NAME, vec![])), Refused),
        (is(), Some((NAME, vec![Literal::Number(1)])), Refused),
        (is(), None, Refused),
        (equals(true), Some((NAME, text("w"))), Allowed),
        (equals(true), Some((NAME, text("v"))), Refused),
        (equals(true), None, Refused),
        (not(is()), Some((NAME, text("w"))), Allowed),
        (not(is()), None, Refused),
        (not(not(is())), None, Refused),
        (Tree::Exists(NAME), Some((NAME, text(""))), Allowed),
        (Tree::Exists(NAME), None, Refused),
        (not(Tree::Exists(NAME)), None, Allowed),
        (not(Tree::Exists(NAME)), Some((NAME, text("v"))), Refused),
        (Tree::Any(vec![not(action()), is()]), Some((NAME, text("v"))), Allowed),
        (Tree::Any(vec![not(action()), is()]), None, Refused),
        (Tree::Any(vec![not(other_action()), is()]), None, Allowed),
        (Tree::Any(vec![action(), is()]), None, Allowed),
        (Tree::All(vec![action(), is()]), None, Refused),
        (Tree::All(vec![Tree::Exists(NAME), is()]), Some((NAME, text("v"))), Allowed),
        (Tree::SubOperation("Twin.List"), None, Refused),
    ];
    for (tree, known, expected) in cases {
        let condition = Condition::from(tree);
        twins.both("a condition of the assignment", expected, |world, ask| {
            world.assignments[0].condition = Some(condition.clone());
            ask.attributes.extend(known.clone());
        });
        twins.both("a condition of the role", expected, |world, ask| {
            world.roles[0].permissions[0].condition = Some(condition.clone());
            ask.attributes.extend(known.clone());
        });
        // A deny is off only where its condition is known to be false.
        let is_unknown = matches!(expected, Refused)
            && condition.truth(&Ask {
                attributes: known.clone().into_iter().collect(),
                ..twins.ask.clone()
            }) != Some(false);
        let forbidden = if expected == Allowed || is_unknown { Refused } else { Allowed };
        twins.both("a condition of a deny", forbidden, |world, ask| {
            let mut deny = forbidding_all(ask);
            deny.permissions[0].condition = Some(condition.clone());
            world.denies.push(deny);
            ask.attributes.extend(known);
        });
    }
}

/// Nobody may do anything at the question's scope and below.
fn forbidding_all(ask: &Ask) -> Deny {
    Deny {
        tenant: ask.tenant,
        scope: ask.scope.clone(),
        permissions: vec![of_plane(ask.plane, vec!["*".to_owned()], vec![])],
        excludes_child_scopes: false,
        principals: vec![EVERYONE],
        excluded: vec![],
    }
}

fn denies(twins: &mut Twins<'_>) {
    let ask = twins.ask.clone();
    let (me, plane, action) = (ask.principal, ask.plane, vec![ask.action.clone()]);
    let mut check = |what, expected, edit: &dyn Fn(&mut Deny)| {
        twins.live(what, expected, |world| {
            let mut deny = forbidding_all(&ask);
            edit(&mut deny);
            world.denies.push(deny);
            world.members = vec![(OUTER_GROUP, INNER_GROUP), (INNER_GROUP, me)];
        });
    };
    check("denied", Refused, &|_| {});
    check("denied by this action", Refused, &|it| {
        it.permissions[0] = of_plane(plane, action.clone(), vec![]);
    });
    check("the action excepted", Allowed, &|it| {
        it.permissions[0] = of_plane(plane, vec!["*".to_owned()], action.clone());
    });
    check("the action excepted from one of two", Refused, &|it| {
        it.permissions.push(of_plane(plane, vec!["*".to_owned()], action.clone()));
    });
    check("the other plane denied", Allowed, &|it| {
        it.permissions[0] = of_plane(other_plane(plane), vec!["*".to_owned()], vec![]);
    });
    check("nothing denied", Allowed, &|it| it.permissions.clear());
    check("I am denied", Refused, &|it| it.principals = vec![me]);
    check("my group is denied", Refused, &|it| it.principals = vec![OUTER_GROUP]);
    check("a stranger is denied", Allowed, &|it| it.principals = vec![STRANGER]);
    check("I am excluded", Allowed, &|it| it.excluded = vec![STRANGER, me]);
    check("my group is excluded", Allowed, &|it| it.excluded = vec![OUTER_GROUP]);
    check("a stranger is excluded", Refused, &|it| it.excluded = vec![STRANGER]);
    check("denied and excluded", Allowed, &|it| {
        (it.principals, it.excluded) = (vec![me], vec![me]);
    });
    check("other tenant's deny", Allowed, &|it| it.tenant = other_tenant(it.tenant));
    check("denied here only", Refused, &|it| it.excludes_child_scopes = true);
    check("denied at the root", Refused, &|it| it.scope = "/".to_owned());
    check("denied below", Allowed, &|it| it.scope = below(&it.scope, "x"));
    check("denied in capitals", Refused, &|it| it.scope.make_ascii_uppercase());
    let is_root = ask.scope == "/";
    let at_root_only = if is_root { Refused } else { Allowed };
    check("denied at the root only", at_root_only, &|it| {
        (it.scope, it.excludes_child_scopes) = ("/".to_owned(), true);
    });
    if !is_root {
        check("denied above", Refused, &|it| it.scope = parent(&it.scope));
        check("denied above only", Allowed, &|it| {
            (it.scope, it.excludes_child_scopes) = (parent(&it.scope), true);
        });
    }
    if !is_root && !ask.scope.starts_with(MANAGEMENT_GROUPS) {
        check("denied at a longer name", Allowed, &|it| it.scope.push('0'));
    }
}

/// What ends in another place than it seems to is refused before anything is decided.
fn what_is_no_scope(scope: &str, counts: &mut TwinCounts) {
    let scope = if scope == "/" { "" } else { scope };
    let (head, tail) = scope.rsplit_once('/').unwrap_or_default();
    let wrong = [
        format!("{head}%2f{tail}"),
        format!("{head}%2F{tail}"),
        format!("{head}/%2e%2e/{tail}"),
        format!("{head}//{tail}"),
        format!("{head}/./{tail}"),
        format!("{head}/x/../{tail}"),
        format!("{head}\\{tail}"),
        format!("{head}/{tail}\0"),
        format!("{head}/{tail}\n"),
        format!("/{scope}/"),
        format!("{scope}//"),
        format!("{scope}/x/"),
        format!("{scope}/."),
        format!("{scope}/.."),
        format!("{scope}/x?y"),
        format!("{scope}/x#y"),
        format!("{scope}/*"),
        format!("{scope}/%00"),
        scope.trim_start_matches('/').to_owned(),
    ];
    for wrong in wrong {
        assert!(RbacScope::parse(&wrong).is_err(), "{wrong:?} is a scope");
        counts.unparsable += 1;
    }
}

fn of_plane(plane: Plane, granted: Vec<String>, withheld: Vec<String>) -> Grants {
    match plane {
        Plane::Control => Grants { actions: granted, not_actions: withheld, ..Grants::default() },
        Plane::Data => {
            Grants { data_actions: granted, not_data_actions: withheld, ..Grants::default() }
        }
    }
}

fn below(scope: &str, segment: &str) -> String {
    format!("{}/{segment}", scope.trim_end_matches('/'))
}

/// The path without its last segment.
fn parent(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((parent, _)) => parent.to_owned(),
        None => String::new(),
    }
}

fn other_plane(plane: Plane) -> Plane {
    if plane == Plane::Control { Plane::Data } else { Plane::Control }
}

fn other_tenant(tenant: u128) -> u128 {
    if tenant == TENANTS[0] { TENANTS[1] } else { TENANTS[0] }
}
