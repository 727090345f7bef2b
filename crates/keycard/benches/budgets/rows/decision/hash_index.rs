//! The least that an authorization index can do: whether an assignment of the principal, at the scope or above it by
//! path, has a role that names the action literally. No wildcards, `notActions`, groups, management groups, denies or
//! conditions.

use std::collections::{HashMap, HashSet};

use keycard_domain::ids::{PrincipalId, RoleDefinitionId};
use keycard_domain::rbac::{RbacScope, built_in_roles};

use crate::world::World;

pub(super) struct HashIndex {
    assignments: HashMap<PrincipalId, Vec<(String, RoleDefinitionId)>>,
    literals: HashMap<RoleDefinitionId, HashSet<String>>,
}

impl HashIndex {
    pub(super) fn new(world: &World) -> Self {
        let mut assignments: HashMap<_, Vec<_>> = HashMap::new();
        for assignment in world.assignments.iter().map(|placed| &placed.assignment) {
            let entry = (assignment.scope.key().to_owned(), assignment.role);
            assignments.entry(assignment.principal_id).or_default().push(entry);
        }
        let custom = world.custom_roles.iter().map(|role| &role.definition);
        let literals = built_in_roles::all().iter().chain(custom).map(|role| {
            let patterns = role
                .permissions
                .iter()
                .flat_map(|it| it.actions.iter().chain(it.data_actions.iter()));
            (role.id, patterns.map(|pattern| pattern.as_str().to_owned()).collect())
        });
        Self { assignments, literals: literals.collect() }
    }

    pub(super) fn has(&self, principal: PrincipalId, action: &str, scope: &RbacScope) -> bool {
        self.assignments.get(&principal).is_some_and(|assignments| {
            assignments.iter().any(|(above, role)| {
                let below = scope.key().strip_prefix(above.as_str());
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
                    && self.literals.get(role).is_some_and(|literals| literals.contains(action))
            })
        })
    }
}
