//! What is asked of a directory: some of it granted, some refused, some hanging on a condition.

use std::collections::{HashMap, HashSet};

use keycard_domain::ids::PrincipalId;
use keycard_domain::rbac::{Plane, RoleDefinition, built_in_roles};

use crate::world::{CONTAINERS, Placed, Random, World};

/// A question as text, as a request brings it.
pub(super) struct Asked {
    pub(super) principal: PrincipalId,
    pub(super) plane: Plane,
    pub(super) action: String,
    pub(super) scope: String,
    /// Which of the attribute sets goes with it.
    pub(super) attributes: usize,
}

/// Of a hundred questions, so many are made to be granted, hang on a condition, or are asked by one who has other roles
/// there; the rest is about anything.
const GRANTED: usize = 50;
const CONDITIONAL: usize = 10;
const OTHER_ACTION: usize = 25;
/// How often an action is drawn anew until a role's pattern covers it.
const DRAWS_MAX: usize = 30;

/// So many questions, each different, in random order.
pub(super) fn questions(world: &World, count: usize) -> Vec<Asked> {
    let mut source = Source::new(world);
    let mut seen = HashSet::with_capacity(count);
    let mut questions = Vec::with_capacity(count);
    while questions.len() < count {
        let asked = source.next();
        if seen.insert((asked.principal, asked.action.clone(), asked.scope.clone())) {
            questions.push(asked);
        }
    }
    source.random.shuffle(&mut questions);
    questions
}

struct Source<'a> {
    world: &'a World,
    random: Random,
    /// The assignments with conditions.
    conditional: Vec<&'a Placed>,
    members: HashMap<PrincipalId, Vec<PrincipalId>>,
    /// Every action that a built-in role names literally.
    actions: Vec<(Plane, &'static str)>,
}

impl<'a> Source<'a> {
    fn new(world: &'a World) -> Self {
        let conditional =
            world.assignments.iter().filter(|it| it.assignment.condition.is_some()).collect();
        let mut members: HashMap<_, Vec<_>> = HashMap::new();
        for member in &world.members {
            members.entry(member.group).or_default().push(member.member);
        }
        let actions = built_in_roles::all().iter().flat_map(|role| named(role));
        let actions = actions.filter(|(_, action)| !action.contains('*')).collect();
        Self { world, random: Random::new(7), conditional, members, actions }
    }

    fn next(&mut self) -> Asked {
        let kind = self.random.below(100);
        if kind >= GRANTED + CONDITIONAL + OTHER_ACTION {
            let principal = *self.random.pick(&self.world.principals);
            let (plane, action) = *self.random.pick(&self.actions);
            let place = self.world.any_place(&mut self.random);
            return self.asked(principal, (plane, action.to_owned()), self.world.text(place));
        }
        let is_conditional = (GRANTED..GRANTED + CONDITIONAL).contains(&kind);
        let placed = if is_conditional {
            *self.random.pick(&self.conditional)
        } else {
            self.random.pick(&self.world.assignments)
        };
        let principal = self.member(placed.assignment.principal_id);
        let place = self.world.at_or_below(&mut self.random, placed.place);
        let action = if kind < GRANTED + CONDITIONAL {
            self.action_of(self.world.role(placed.assignment.role))
        } else {
            let (plane, action) = *self.random.pick(&self.actions);
            (plane, action.to_owned())
        };
        self.asked(principal, action, self.world.text(place))
    }

    fn asked(
        &mut self,
        principal: PrincipalId,
        (plane, action): (Plane, String),
        scope: String,
    ) -> Asked {
        Asked { principal, plane, action, scope, attributes: self.random.below(CONTAINERS) }
    }

    /// The principal, or one of a group's members, or of theirs.
    fn member(&mut self, mut principal: PrincipalId) -> PrincipalId {
        while let Some(members) = self.members.get(&principal) {
            principal = *self.random.pick(members);
        }
        principal
    }

    /// An action that one of the role's patterns covers.
    fn action_of(&mut self, role: &RoleDefinition) -> (Plane, String) {
        let named: Vec<_> = named(role).collect();
        if named.is_empty() {
            return (Plane::Control, "Microsoft.Resources/subscriptions/read".to_owned());
        }
        let (plane, pattern) = *self.random.pick(&named);
        if !pattern.contains('*') {
            return (plane, pattern.to_owned());
        }
        let compiled = keycard_domain::rbac::ActionPattern::new(pattern);
        for _ in 0..DRAWS_MAX {
            let (of, action) = *self.random.pick(&self.actions);
            if of == plane && compiled.covers(&action.to_ascii_lowercase()) {
                return (plane, action.to_owned());
            }
        }
        (plane, pattern.replace('*', "things/write"))
    }
}

/// The patterns that a role grants.
fn named(role: &RoleDefinition) -> impl Iterator<Item = (Plane, &str)> {
    role.permissions.iter().flat_map(|permission| {
        let control = permission.actions.iter().map(|it| (Plane::Control, it.as_str()));
        control.chain(permission.data_actions.iter().map(|it| (Plane::Data, it.as_str())))
    })
}
