//! What a condition says once it is read: its expression tree and the operators' names.

use std::cmp::Ordering;

use super::attribute::{AttributeName, AttributeValues};
use super::like::{Case, LikePattern};
use crate::rbac::ActionPattern;

/// A condition or a part of it.
#[derive(Debug)]
pub(super) enum Expression {
    /// AND: every part.
    All(Vec<Self>),
    /// OR: at least one part.
    Any(Vec<Self>),
    /// NOT.
    Not(Box<Self>),
    /// The action is covered by the pattern.
    ActionMatches(ActionPattern),
    /// The suboperation is this one, case ignored.
    SubOperationMatches(Box<str>),
    /// The attribute has a value.
    Exists(AttributeName),
    /// An attribute compares so with something.
    Comparison(Comparison),
}

impl Expression {
    pub(super) fn collect_attributes<'a>(&'a self, names: &mut Vec<&'a AttributeName>) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.collect_attributes(names);
                }
            }
            Self::Not(part) => part.collect_attributes(names),
            Self::ActionMatches(_) | Self::SubOperationMatches(_) => {}
            Self::Exists(name) => push_new(names, name),
            Self::Comparison(comparison) => {
                push_new(names, &comparison.left);
                if let Right::Attribute(name) = &comparison.right {
                    push_new(names, name);
                }
            }
        }
    }
}

fn push_new<'a>(names: &mut Vec<&'a AttributeName>, name: &'a AttributeName) {
    if !names.contains(&name) {
        names.push(name);
    }
}

/// `attribute operator value`.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) left: AttributeName,
    /// Without them, both sides have one value.
    pub(super) quantifiers: Option<Quantifiers>,
    pub(super) operator: Operator,
    pub(super) right: Right,
}

/// What an attribute is compared with.
#[derive(Debug)]
pub(super) enum Right {
    /// Values written in the condition, already of the operator's type.
    Values(AttributeValues),
    /// The same for `StringLike`.
    Patterns(Case, Vec<LikePattern>),
    /// Another attribute. Its characters are never wildcards: who chooses a value must not choose a pattern.
    Attribute(AttributeName),
}

/// How many values must compare so: `ForAnyOfAllValues:` wants *any* on the left to do so with *all* on the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantifiers {
    pub(super) left: Quantifier,
    pub(super) right: Quantifier,
}

/// At least one value, or each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    Any,
    All,
}

impl Quantifier {
    pub(super) fn holds<T>(self, values: &[T], test: impl FnMut(&T) -> bool) -> bool {
        match self {
            Self::Any => values.iter().any(test),
            Self::All => values.iter().all(test),
        }
    }
}

impl Quantifiers {
    pub(super) fn named(word: &str) -> Option<Self> {
        use Quantifier::{All, Any};
        let (left, right) = match word {
            _ if word.eq_ignore_ascii_case("ForAnyOfAnyValues") => (Any, Any),
            _ if word.eq_ignore_ascii_case("ForAllOfAnyValues") => (All, Any),
            _ if word.eq_ignore_ascii_case("ForAnyOfAllValues") => (Any, All),
            _ if word.eq_ignore_ascii_case("ForAllOfAllValues") => (All, All),
            _ => return None,
        };
        Some(Self { left, right })
    }
}

/// How one value compares with another. A negated operator (`…Not…`) negates each single comparison, inside the
/// quantifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) test: Test,
    pub(super) is_negated: bool,
}

/// The type of both sides, and what is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    String(StringRelation, Case),
    Numeric(Order),
    DateTime(Order),
    Bool,
    Guid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StringRelation {
    Equals,
    StartsWith,
    Like,
}

impl StringRelation {
    /// Whether two texts relate so, none of them a pattern.
    pub(super) fn holds(self, case: Case, left: &str, right: &str) -> bool {
        match self {
            Self::Equals | Self::Like => case.equals(left, right),
            Self::StartsWith => case.starts_with(left, right),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equals,
    GreaterThan,
    GreaterThanEquals,
    LessThan,
    LessThanEquals,
}

impl Order {
    pub(super) const fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equals => ordering.is_eq(),
            Self::GreaterThan => ordering.is_gt(),
            Self::GreaterThanEquals => ordering.is_ge(),
            Self::LessThan => ordering.is_lt(),
            Self::LessThanEquals => ordering.is_le(),
        }
    }
}

const fn is(test: Test) -> Operator {
    Operator { test, is_negated: false }
}

const fn is_not(test: Test) -> Operator {
    Operator { test, is_negated: true }
}

/// Every operator by its name. Source: the page named above, "Operators".
const OPERATORS: [(&str, Operator); 28] = {
    use Case::{Counts, Ignored};
    use StringRelation::{Equals, Like, StartsWith};
    use Test::{DateTime, Numeric, String};
    [
        ("StringEquals", is(String(Equals, Counts))),
        ("StringEqualsIgnoreCase", is(String(Equals, Ignored))),
        ("StringNotEquals", is_not(String(Equals, Counts))),
        ("StringNotEqualsIgnoreCase", is_not(String(Equals, Ignored))),
        ("StringStartsWith", is(String(StartsWith, Counts))),
        ("StringStartsWithIgnoreCase", is(String(StartsWith, Ignored))),
        ("StringNotStartsWith", is_not(String(StartsWith, Counts))),
        ("StringNotStartsWithIgnoreCase", is_not(String(StartsWith, Ignored))),
        ("StringLike", is(String(Like, Counts))),
        ("StringLikeIgnoreCase", is(String(Like, Ignored))),
        ("StringNotLike", is_not(String(Like, Counts))),
        ("StringNotLikeIgnoreCase", is_not(String(Like, Ignored))),
        ("NumericEquals", is(Numeric(Order::Equals))),
        ("NumericNotEquals", is_not(Numeric(Order::Equals))),
        ("NumericGreaterThan", is(Numeric(Order::GreaterThan))),
        ("NumericGreaterThanEquals", is(Numeric(Order::GreaterThanEquals))),
        ("NumericLessThan", is(Numeric(Order::LessThan))),
        ("NumericLessThanEquals", is(Numeric(Order::LessThanEquals))),
        ("DateTimeEquals", is(DateTime(Order::Equals))),
        ("DateTimeNotEquals", is_not(DateTime(Order::Equals))),
        ("DateTimeGreaterThan", is(DateTime(Order::GreaterThan))),
        ("DateTimeGreaterThanEquals", is(DateTime(Order::GreaterThanEquals))),
        ("DateTimeLessThan", is(DateTime(Order::LessThan))),
        ("DateTimeLessThanEquals", is(DateTime(Order::LessThanEquals))),
        ("BoolEquals", is(Test::Bool)),
        ("BoolNotEquals", is_not(Test::Bool)),
        ("GuidEquals", is(Test::Guid)),
        ("GuidNotEquals", is_not(Test::Guid)),
    ]
};

impl Operator {
    pub(super) fn named(word: &str) -> Option<Self> {
        let (_, operator) = OPERATORS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word))?;
        Some(*operator)
    }
}
