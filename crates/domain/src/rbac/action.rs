//! Does a role's pattern cover an action: `*/read`, `Microsoft.Compute/*`, `…/userAssignedIdentities/*/assign/action`.
//!
//! Case is ignored. `*` is any run of characters, across `/`. `/*/` also covers a single `/`: the built-in role
//! Managed Identity Operator grants `userAssignedIdentities/*/assign/action` and is meant for
//! `userAssignedIdentities/assign/action`.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher;

use fnv::FnvHasher;
use serde::{Deserialize, Serialize};

use crate::limits;

/// An action that is asked about: in lower case, with the hash that finds it among a role's literal patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action<'a> {
    lowercase: Cow<'a, str>,
    hash: u64,
}

impl<'a> Action<'a> {
    /// The action that a text names, whatever its case.
    pub fn new(text: &'a str) -> Self {
        let lowercase = if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
        let hash = hash(&lowercase);
        Self { lowercase, hash }
    }

    /// The action in lower case.
    pub fn as_str(&self) -> &str {
        &self.lowercase
    }
}

/// Only narrows a search; what is found is compared, so that collisions made on purpose gain nothing.
fn hash(text: &str) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// A pattern of a role's `actions`, compiled.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ActionPattern {
    /// As it was written.
    text: Box<str>,
    shape: Shape,
}

/// How a pattern is compared. Most are literal: they need no second copy of their text.
#[derive(Clone, PartialEq, Eq)]
enum Shape {
    /// No `*`.
    Literal,
    /// One `*`, at this byte.
    OneStar { lowercase: Box<str>, star: usize },
    /// Several.
    Stars { lowercase: Box<str> },
}

impl ActionPattern {
    /// The pattern with this text; every text is one.
    pub fn new(text: &str) -> Self {
        let mut stars = text.match_indices('*').map(|(position, _)| position);
        let lowercase = || text.to_ascii_lowercase().into();
        let shape = match (stars.next(), stars.next()) {
            (None, _) => Shape::Literal,
            (Some(star), None) => Shape::OneStar { lowercase: lowercase(), star },
            (Some(_), Some(_)) => Shape::Stars { lowercase: lowercase() },
        };
        Self { text: text.into(), shape }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern is as short, and has as few wildcards, as one that people may write.
    pub fn is_bounded(&self) -> bool {
        self.text.len() <= limits::ROLE_PATTERN_BYTES_MAX
            && self.text.matches('*').count() <= limits::ROLE_PATTERN_WILDCARDS_MAX
    }

    /// What stands before the first `*`, in lower case, without a slash that `/*/` may share: every action that the
    /// pattern covers begins so.
    pub fn literal_start(&self) -> String {
        let before = self.text.split('*').next().unwrap_or_default();
        let start = if self.is_literal() { before } else { before.trim_end_matches('/') };
        start.to_ascii_lowercase()
    }

    fn is_literal(&self) -> bool {
        matches!(self.shape, Shape::Literal)
    }

    /// Whether the pattern covers the action, which is given in lower case.
    pub fn covers(&self, action_lowercase: &str) -> bool {
        match &self.shape {
            Shape::Literal => self.text.eq_ignore_ascii_case(action_lowercase),
            Shape::OneStar { lowercase, star } => {
                covers_one_star(lowercase, *star, action_lowercase)
            }
            Shape::Stars { lowercase } => covers_stars(lowercase, action_lowercase),
        }
    }
}

fn covers_one_star(pattern: &str, position: usize, action: &str) -> bool {
    let (Some(before), Some(after)) = (pattern.get(..position), pattern.get(position + 1..)) else {
        return false;
    };
    let Some(tail) = action.strip_prefix(before) else { return false };
    tail.ends_with(after)
        || (before.ends_with('/') && after.strip_prefix('/').is_some_and(|short| short == tail))
}

/// What stands before a literal of a pattern.
#[derive(Clone, Copy)]
enum Gap {
    /// The pattern's start.
    None,
    /// `*`: any run of bytes.
    Star,
    /// What stands between the slashes of `/*/`, with the second slash: nothing, or any run that ends in a slash.
    Segments,
}

impl Gap {
    /// The first place in the text at which the literal can stand behind the gap.
    fn first_place(self, text: &str, literal: &str) -> Option<usize> {
        match self {
            Self::None => text.starts_with(literal).then_some(0),
            Self::Star => text.find(literal),
            Self::Segments => segment_starts(text).find(|start| {
                text.get(*start..).is_some_and(|segments| segments.starts_with(literal))
            }),
        }
    }

    /// Whether the literal can stand behind the gap and end the text.
    fn leads_to_end(self, text: &str, literal: &str) -> bool {
        let Some(between) = text.strip_suffix(literal) else { return false };
        match self {
            Self::None => between.is_empty(),
            Self::Star => true,
            Self::Segments => between.is_empty() || between.ends_with('/'),
        }
    }
}

fn segment_starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(text.match_indices('/').map(|(slash, _)| slash + 1))
}

/// Walks the pattern once, with each literal at the first place where it can stand: what can follow a later place can
/// follow the first as well. The work is bounded by the product of the two lengths, whatever the pattern.
fn covers_stars(pattern: &str, action: &str) -> bool {
    let (mut start, mut gap, mut rest) = (0, Gap::None, action);
    for (star, _) in pattern.match_indices('*') {
        let literal = pattern.get(start..star).unwrap_or_default();
        let Some(place) = gap.first_place(rest, literal) else { return false };
        rest = rest.get(place + literal.len()..).unwrap_or_default();
        let is_between_slashes = pattern.get(..star).is_some_and(|before| before.ends_with('/'))
            && pattern.get(star + 1..).is_some_and(|after| after.starts_with('/'));
        (gap, start) =
            if is_between_slashes { (Gap::Segments, star + 2) } else { (Gap::Star, star + 1) };
    }
    gap.leads_to_end(rest, pattern.get(start..).unwrap_or_default())
}

/// One list of a permission: patterns in the order they were written, indexed for the search.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<ActionPattern>", into = "Vec<ActionPattern>")]
pub struct ActionPatterns {
    written: Box<[ActionPattern]>,
    /// The hashes of the literal patterns with their places, in order of the hashes.
    literals: Box<[(u64, usize)]>,
    /// The places of the patterns with a `*`.
    stars: Box<[usize]>,
}

impl ActionPatterns {
    /// Whether any pattern covers the action.
    pub fn cover(&self, action: &Action<'_>) -> bool {
        self.has_literal(action)
            || self.stars.iter().any(|place| {
                self.written.get(*place).is_some_and(|pattern| pattern.covers(action.as_str()))
            })
    }

    fn has_literal(&self, action: &Action<'_>) -> bool {
        let first = self.literals.partition_point(|(hash, _)| *hash < action.hash);
        self.literals
            .iter()
            .skip(first)
            .take_while(|(hash, _)| *hash == action.hash)
            .filter_map(|(_, place)| self.written.get(*place))
            .any(|pattern| pattern.text.eq_ignore_ascii_case(action.as_str()))
    }

    /// The patterns, in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = &ActionPattern> {
        self.written.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.written.len()
    }
}

impl From<Vec<ActionPattern>> for ActionPatterns {
    fn from(written: Vec<ActionPattern>) -> Self {
        let (mut literals, mut stars) = (Vec::new(), Vec::new());
        for (place, pattern) in written.iter().enumerate() {
            if pattern.is_literal() {
                literals.push((hash(&pattern.text.to_ascii_lowercase()), place));
            } else {
                stars.push(place);
            }
        }
        literals.sort_unstable();
        Self { literals: literals.into(), stars: stars.into(), written: written.into() }
    }
}

impl From<ActionPatterns> for Vec<ActionPattern> {
    fn from(patterns: ActionPatterns) -> Self {
        patterns.written.into()
    }
}

impl fmt::Debug for ActionPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl From<String> for ActionPattern {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<ActionPattern> for String {
    fn from(pattern: ActionPattern) -> Self {
        pattern.text.into()
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
    use proptest::prelude::{prop_assert_eq, proptest};

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
        check("a/*/*/b", "a/x/b", true);
        check("a/*/*/b", "ab", false);
        check("*/*/b", "a/b", true);
    }

    /// The rule of the top of the file, word by word.
    fn covers_by_the_rule(pattern: &str, action: &str, before: char) -> bool {
        let mut characters = pattern.chars();
        let Some(first) = characters.next() else { return action.is_empty() };
        let rest = characters.as_str();
        if first != '*' {
            return action
                .strip_prefix(first)
                .is_some_and(|it| covers_by_the_rule(rest, it, first));
        }
        let is_one_slash = before == '/'
            && rest.strip_prefix('/').is_some_and(|it| covers_by_the_rule(it, action, '/'));
        is_one_slash
            || (0..=action.len())
                .filter_map(|end| action.get(end..))
                .any(|tail| covers_by_the_rule(rest, tail, first))
    }

    proptest! {
        #[test]
        fn patterns_cover_what_the_rule_says(pattern in "[ab/*]{0,8}", action in "[ab/]{0,8}") {
            let covered = covers_by_the_rule(&pattern, &action, ' ');
            prop_assert_eq!(ActionPattern::new(&pattern).covers(&action), covered);
            prop_assert_eq!(covers_stars(&pattern, &action), covered);
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_answered_at_once() {
        let stars = "a*".repeat(200);
        check(&stars, &"a".repeat(199), false);
        check(&stars, &"a".repeat(2000), true);
        check(&format!("{stars}b"), &"a".repeat(2000), false);
    }

    #[test]
    fn a_list_covers_what_one_of_its_patterns_covers() {
        let texts = ["Microsoft.A/x/read", "Microsoft.B/*", "Microsoft.A/y/read"];
        let patterns: Vec<ActionPattern> = texts.map(ActionPattern::new).into();
        let list = ActionPatterns::from(patterns.clone());
        for (action, covered) in [
            ("microsoft.a/X/READ", true),
            ("Microsoft.A/y/read", true),
            ("Microsoft.B/anything/at/all", true),
            ("Microsoft.A/z/read", false),
            ("", false),
        ] {
            assert_eq!(list.cover(&Action::new(action)), covered, "{action}");
        }
        assert_eq!(Vec::from(list), patterns);
        assert!(!ActionPatterns::default().cover(&Action::new("")));
    }
}
