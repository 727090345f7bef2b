//! Which actions there are: the operations of resource providers, for the validation of custom roles.
//!
//! Embedded from `data/provider-operations.txt` (origin and licence: `data/README.md`): complete for twelve providers. Of
//! the others only the names are known, from the built-in roles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::action::{Action, ActionPattern};
use super::role_definition::Permission;
use super::{Plane, built_in_roles};

/// What is known of the actions that a pattern covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// It covers an action that there is, or one of a provider whose actions are not known here.
    Covered,
    /// It names a provider whose actions are known, and covers none of them.
    NothingCovered,
    /// It names a provider that nobody has heard of.
    ProviderUnknown,
}

static OPERATIONS: LazyLock<Operations> = LazyLock::new(Operations::load);

struct Operations {
    /// Actions in lower case with their planes, by provider.
    by_provider: BTreeMap<String, Vec<(Plane, String)>>,
    /// Providers that built-in roles name.
    named: BTreeSet<String>,
    /// Patterns of built-in roles, which may name actions that have gone.
    in_use: BTreeSet<(Plane, String)>,
}

impl Operations {
    fn load() -> Self {
        let mut by_provider: BTreeMap<String, Vec<(Plane, String)>> = BTreeMap::new();
        for line in include_str!("../../data/provider-operations.txt").lines() {
            let (plane, action) = match line.split_once(' ') {
                Some(("C", action)) => (Plane::Control, action),
                Some(("D", action)) => (Plane::Data, action),
                _ => continue,
            };
            let action = action.to_ascii_lowercase();
            by_provider.entry(provider(&action).to_owned()).or_default().push((plane, action));
        }
        let patterns = built_in_roles::all()
            .iter()
            .flat_map(|role| role.permissions.iter().flat_map(Permission::lists));
        let in_use: BTreeSet<(Plane, String)> = patterns
            .flat_map(|(name, list)| list.iter().map(move |pattern| (plane_of(name), pattern)))
            .map(|(plane, pattern)| (plane, pattern.as_str().to_ascii_lowercase()))
            .collect();
        let named = in_use.iter().map(|(_, pattern)| provider(pattern).to_owned()).collect();
        Self { by_provider, named, in_use }
    }
}

/// The plane that a permission's list is about.
pub fn plane_of(list: &str) -> Plane {
    if matches!(list, "dataActions" | "notDataActions") { Plane::Data } else { Plane::Control }
}

/// What stands before the first slash.
fn provider(action: &str) -> &str {
    action.split_once('/').map_or(action, |(provider, _)| provider)
}

/// Every action that is known: those of the twelve providers, and what built-in roles name without a `*`.
pub fn universe() -> &'static [(Plane, Action<'static>)] {
    &UNIVERSE
}

static UNIVERSE: LazyLock<Vec<(Plane, Action<'static>)>> = LazyLock::new(|| {
    let listed = OPERATIONS.by_provider.values().flatten();
    let named = OPERATIONS.in_use.iter().filter(|(_, pattern)| !pattern.contains('*'));
    let all: BTreeSet<(Plane, &str)> =
        listed.chain(named).map(|(plane, action)| (*plane, action.as_str())).collect();
    all.into_iter().map(|(plane, action)| (plane, Action::new(action))).collect()
});

/// The plane of an action: of the data plane only, or of the control plane; an action of a provider that nobody knows is
/// a data action, as a service asks about that keycard stands in front of.
pub fn plane_of_action(action: &str) -> Plane {
    let action = action.to_ascii_lowercase();
    let provider = provider(&action);
    let is_on = |wanted: Plane| {
        let order =
            |(plane, known): &(Plane, Action<'_>)| (*plane, known.as_str()).cmp(&(wanted, &action));
        universe().binary_search_by(order).is_ok()
    };
    if is_on(Plane::Control) {
        Plane::Control
    } else if is_on(Plane::Data)
        || !(OPERATIONS.by_provider.contains_key(provider) || OPERATIONS.named.contains(provider))
    {
        Plane::Data
    } else {
        Plane::Control
    }
}

/// What is known of the actions that a pattern covers.
pub fn knowledge(plane: Plane, pattern: &ActionPattern) -> Knowledge {
    let lowercase = pattern.as_str().to_ascii_lowercase();
    let provider = provider(&lowercase);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*');
    if lowercase != "*"
        && (!lowercase.contains('/') || provider.is_empty() || !provider.chars().all(is_name))
    {
        return Knowledge::NothingCovered;
    }
    if provider.contains('*') {
        return Knowledge::Covered;
    }
    let is_in_use = || OPERATIONS.in_use.contains(&(plane, lowercase.clone()));
    match OPERATIONS.by_provider.get(provider) {
        Some(actions) => {
            let covers_one =
                actions.iter().any(|(of, action)| *of == plane && pattern.covers(action));
            if covers_one || is_in_use() { Knowledge::Covered } else { Knowledge::NothingCovered }
        }
        None if OPERATIONS.named.contains(provider) => Knowledge::Covered,
        None => Knowledge::ProviderUnknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(plane: Plane, pattern: &str, expected: Knowledge) {
        assert_eq!(knowledge(plane, &ActionPattern::new(pattern)), expected, "{pattern}");
    }

    #[test]
    fn patterns_are_held_against_the_operations_of_their_provider() {
        let get = "Microsoft.KeyVault/vaults/secrets/getSecret/action";
        check(Plane::Data, get, Knowledge::Covered);
        check(Plane::Control, get, Knowledge::NothingCovered);
        check(Plane::Control, "microsoft.keyvault/VAULTS/read", Knowledge::Covered);
        check(Plane::Control, "Microsoft.KeyVault/*", Knowledge::Covered);
        check(Plane::Control, "Microsoft.KeyVault/vaultz/*", Knowledge::NothingCovered);
        check(Plane::Control, "Microsoft.Cache/redis/whatever", Knowledge::Covered);
        check(Plane::Control, "Contoso.Orders/orders/read", Knowledge::ProviderUnknown);
        check(Plane::Control, "*", Knowledge::Covered);
        for nonsense in ["", "nonsense", "/", "/read", "a b/read", "*x"] {
            check(Plane::Control, nonsense, Knowledge::NothingCovered);
        }
        check(Plane::Control, "*/read", Knowledge::Covered);
    }

    #[test]
    fn every_pattern_of_a_built_in_role_names_something() {
        for role in built_in_roles::all() {
            for (name, list) in role.permissions.iter().flat_map(Permission::lists) {
                let plane = plane_of(name);
                for pattern in list.iter() {
                    assert_eq!(knowledge(plane, pattern), Knowledge::Covered, "{pattern:?}");
                }
            }
        }
    }
}
