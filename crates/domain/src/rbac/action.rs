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
    /// The same in lower case.
    lowercase: Box<str>,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// No `*`.
    Literal,
    /// One `*`, at this byte.
    OneStar(usize),
    /// Several.
    Stars,
}

impl ActionPattern {
    /// The pattern with this text; every text is one.
    pub fn new(text: &str) -> Self {
        let mut stars = text.match_indices('*').map(|(position, _)| position);
        let shape = match (stars.next(), stars.next()) {
            (None, _) => Shape::Literal,
            (Some(position), None) => Shape::OneStar(position),
            (Some(_), Some(_)) => Shape::Stars,
        };
        Self { text: text.into(), lowercase: text.to_ascii_lowercase().into(), shape }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the first `*`, in lower case, without a slash that `/*/` may share: every action that the
    /// pattern covers begins so.
    pub fn literal_start(&self) -> &str {
        let before = self.lowercase.split('*').next().unwrap_or_default();
        if self.shape == Shape::Literal { before } else { before.trim_end_matches('/') }
    }

    /// Whether the pattern covers the action, which is given in lower case.
    pub fn covers(&self, action_lowercase: &str) -> bool {
        match self.shape {
            Shape::Literal => *self.lowercase == *action_lowercase,
            Shape::OneStar(position) => {
                covers_one_star(&self.lowercase, position, action_lowercase)
            }
            Shape::Stars => covers_stars(&self.lowercase, action_lowercase),
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

/// What a pattern is made of, read from the left.
#[derive(Clone, Copy)]
enum Piece {
    Byte(u8),
    /// Any run of bytes.
    Star,
    /// What stands between the slashes of `/*/`, with the second slash: nothing, or any run that ends in a slash.
    Segments,
}

/// Walks the pattern once, keeping every position of the action that it can have reached: the work is bounded by the
/// product of the two lengths, whatever the pattern.
fn covers_stars(pattern: &str, action: &str) -> bool {
    let action = action.as_bytes();
    let mut reached = vec![false; action.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for piece in pieces(pattern) {
        reached = advance(piece, action, &reached);
    }
    reached.last() == Some(&true)
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let bytes = pattern.as_bytes();
    let mut pieces = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let is_between_slashes = *byte == b'*'
            && bytes.get(index + 1) == Some(&b'/')
            && index.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'/');
        pieces.push(match byte {
            b'*' if is_between_slashes => Piece::Segments,
            b'*' => Piece::Star,
            byte => Piece::Byte(*byte),
        });
        index += if is_between_slashes { 2 } else { 1 };
    }
    pieces
}

fn advance(piece: Piece, action: &[u8], reached: &[bool]) -> Vec<bool> {
    let mut next = Vec::with_capacity(reached.len());
    let mut is_open = false;
    for (position, is_reached) in reached.iter().enumerate() {
        let before = position.checked_sub(1);
        let byte = before.and_then(|before| action.get(before)).copied();
        let was_open = is_open;
        is_open |= is_reached;
        next.push(match piece {
            Piece::Byte(wanted) => {
                byte == Some(wanted) && before.and_then(|before| reached.get(before)) == Some(&true)
            }
            Piece::Star => is_open,
            Piece::Segments => *is_reached || (was_open && byte == Some(b'/')),
        });
    }
    next
}

/// One list of a permission: patterns in the order they were written, indexed for the search.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<ActionPattern>", into = "Vec<ActionPattern>")]
pub struct ActionPatterns {
    written: Vec<ActionPattern>,
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
            .any(|pattern| *pattern.lowercase == *action.as_str())
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
        let places = |is_wanted: fn(&ActionPattern) -> bool| {
            written
                .iter()
                .enumerate()
                .filter(move |(_, pattern)| is_wanted(pattern))
                .map(|(place, pattern)| (hash(&pattern.lowercase), place))
        };
        let mut literals: Vec<(u64, usize)> =
            places(|pattern| pattern.shape == Shape::Literal).collect();
        literals.sort_unstable();
        let stars =
            places(|pattern| pattern.shape != Shape::Literal).map(|(_, place)| place).collect();
        Self { literals: literals.into(), stars, written }
    }
}

impl From<ActionPatterns> for Vec<ActionPattern> {
    fn from(patterns: ActionPatterns) -> Self {
        patterns.written
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
