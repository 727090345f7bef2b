//! Does a role's pattern cover an action: `*/read`, `Microsoft.Compute/*`, `…/userAssignedIdentities/*/assign/action`.
//!
//! Case is ignored. `*` is any run of characters, across `/`. `/*/` also covers a single `/`: the built-in role
//! Managed Identity Operator grants `userAssignedIdentities/*/assign/action` and is meant for
//! `userAssignedIdentities/assign/action`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A pattern of a role's `actions`, compiled.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ActionPattern {
    /// As it was written.
    text: String,
    /// The literal parts between the `*`s, in lower case. One part: no `*`.
    literals: Vec<Box<str>>,
}

impl ActionPattern {
    /// The pattern with this text; every text is one.
    pub fn new(text: &str) -> Self {
        let literals = text.to_ascii_lowercase().split('*').map(Into::into).collect();
        Self { text: text.to_owned(), literals }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern covers the action, which is given in lower case.
    pub fn covers(&self, action_lowercase: &str) -> bool {
        match self.literals.as_slice() {
            [] => false,
            [whole] => action_lowercase == &**whole,
            [first, rest @ ..] => action_lowercase
                .strip_prefix(&**first)
                .is_some_and(|tail| covers_after_star(first, rest, tail)),
        }
    }
}

/// Whether `tail` is any run of characters followed by the literals, which are separated by such runs too.
fn covers_after_star(before: &str, literals: &[Box<str>], tail: &str) -> bool {
    let Some((literal, rest)) = literals.split_first() else { return tail.is_empty() };
    // `a/*/b` covers `a/b`: the slash before the star may stand for the one after it.
    let shared_slash = before.ends_with('/')
        && literal.strip_prefix('/').is_some_and(|short| continues(short, literal, rest, tail));
    shared_slash || covers_somewhere(literal, rest, tail)
}

/// Whether the literal stands somewhere in `tail`, with what follows it covered by the rest.
fn covers_somewhere(literal: &str, rest: &[Box<str>], tail: &str) -> bool {
    if rest.is_empty() {
        return tail.ends_with(literal);
    }
    tail.match_indices(literal).any(|(position, _)| {
        tail.get(position + literal.len()..)
            .is_some_and(|after| covers_after_star(literal, rest, after))
    })
}

fn continues(short: &str, literal: &str, rest: &[Box<str>], tail: &str) -> bool {
    tail.strip_prefix(short).is_some_and(|after| {
        if rest.is_empty() { after.is_empty() } else { covers_after_star(literal, rest, after) }
    })
}

impl From<String> for ActionPattern {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<ActionPattern> for String {
    fn from(pattern: ActionPattern) -> Self {
        pattern.text
    }
}

impl fmt::Debug for ActionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, action: &str, covered: bool) {
        let compiled = ActionPattern::new(pattern);
        assert_eq!(compiled.covers(&action.to_ascii_lowercase()), covered, "{pattern} on {action}");
    }

    #[test]
    fn patterns_cover_what_azure_says_they_cover() {
        check("*", "Microsoft.Compute/virtualMachines/write", true);
        check("*/read", "Microsoft.Compute/virtualMachines/read", true);
        check("*/read", "Microsoft.Compute/virtualMachines/write", false);
        check("*/READ", "microsoft.compute/virtualmachines/Read", true);
        check("Microsoft.Compute/*", "Microsoft.Compute/virtualMachines/write", true);
        check("Microsoft.Compute/*", "Microsoft.ComputeX/virtualMachines/write", false);
        check(
            "Microsoft.Compute/virtualMachines/read",
            "Microsoft.Compute/virtualMachines/read",
            true,
        );
        check(
            "Microsoft.Compute/virtualMachines/read",
            "Microsoft.Compute/virtualMachines/readX",
            false,
        );
        check(
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/roleAssignments/write",
            true,
        );
        check(
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/roleAssignments/delete",
            false,
        );
        check("a/*/b/*/c", "a/x/b/y/c", true);
        check("a/*/b/*/c", "a/x/y/c", false);
        check("a*a", "a", false);
        check("a*a", "aa", true);
        check("", "", true);
        check("", "x", false);
    }

    #[test]
    fn a_star_between_slashes_may_stand_for_no_segment() {
        let operator = "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action";
        check(operator, "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", true);
        check(operator, "Microsoft.ManagedIdentity/userAssignedIdentities/x/assign/action", true);
        check(operator, "Microsoft.ManagedIdentity/userAssignedIdentitiesassign/action", false);
        check(
            operator,
            "Microsoft.ManagedIdentity/userAssignedIdentities/revokeTokens/action",
            false,
        );
        check("Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/vaults/read", true);
        check("a/*/b/*", "a/b/c", true);
        check("a/*/*/b", "a/b", true);
    }
}
