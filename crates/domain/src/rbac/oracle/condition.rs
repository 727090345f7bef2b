//! Conditions as trees: each has a text, which the engine reads, and a truth of its own.
//!
//! The truth has three values: a comparison whose attribute is missing, of another type, or manifold where one value is
//! wanted, is unknown, and so is its negation.
//! Source: Microsoft Learn, "Azure role assignment condition format and syntax".

use time::UtcDateTime;
use uuid::Uuid;

use super::evaluator::covers;
use super::worlds::Ask;
use crate::rbac::condition::AttributeValues;
use crate::rbac::{AttributeSource, Attributes};

/// A value, in an attribute or written in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Text(&'static str),
    Number(i64),
    Truth(bool),
    Guid(u8),
    /// Seconds after the epoch, one digit.
    Moment(u8),
}

/// What an operator compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Text,
    Number,
    Truth,
    Guid,
    Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) source: AttributeSource,
    pub(super) name: &'static str,
}

/// At least one value, or each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    Any,
    All,
}

/// `StringNotEqualsIgnoreCase`, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) family: Family,
    pub(super) is_negated: bool,
    pub(super) relation: &'static str,
    pub(super) ignores_case: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Values(Vec<Literal>),
    Attribute(Attribute),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Action(String),
    SubOperation(&'static str),
    Exists(Attribute),
    Compare { left: Attribute, many: Option<(Each, Each)>, operator: Operator, right: Right },
}

/// A tree, and in which of several ways it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) tree: Tree,
    pub(super) uses_symbols: bool,
    pub(super) is_lowercase: bool,
}

impl From<Tree> for Condition {
    fn from(tree: Tree) -> Self {
        Self { tree, uses_symbols: false, is_lowercase: false }
    }
}

impl Condition {
    pub(super) fn text(&self) -> String {
        self.write(&self.tree)
    }

    fn write(&self, tree: &Tree) -> String {
        let joined = |parts: &[Tree], symbol, word| {
            let joiner = if self.uses_symbols { symbol } else { self.word(word) };
            let parts = parts.iter().map(|part| format!("({})", self.write(part)));
            parts.collect::<Vec<_>>().join(&joiner)
        };
        match tree {
            Tree::All(parts) => joined(parts, "&&".to_owned(), " AND "),
            Tree::Any(parts) => joined(parts, "||".to_owned(), " OR "),
            Tree::Not(part) if self.uses_symbols => format!("!({})", self.write(part)),
            Tree::Not(part) => format!("{}({})", self.word("NOT "), self.write(part)),
            Tree::Action(pattern) => format!("{}{{'{pattern}'}}", self.word("ActionMatches")),
            Tree::SubOperation(name) => format!("{}{{'{name}'}}", self.word("SubOperationMatches")),
            Tree::Exists(attribute) => {
                format!("{} {}", self.word("Exists"), self.attribute(*attribute))
            }
            Tree::Compare { left, many, operator, right } => {
                let many = many.map_or_else(String::new, |(left, right)| {
                    self.word(&format!("For{left:?}Of{right:?}Values:"))
                });
                let right = match right {
                    Right::Attribute(attribute) => self.attribute(*attribute),
                    Right::Values(values) => {
                        let values = values.iter().map(Literal::written).collect::<Vec<_>>();
                        if many.is_empty() {
                            values.concat()
                        } else {
                            format!("{{{}}}", values.join(", "))
                        }
                    }
                };
                let operator = self.word(&operator.name());
                format!("{} {many}{operator} {right}", self.attribute(*left))
            }
        }
    }

    fn word(&self, word: &str) -> String {
        if self.is_lowercase { word.to_ascii_lowercase() } else { word.to_owned() }
    }

    fn attribute(&self, attribute: Attribute) -> String {
        format!("@{}[{}]", self.word(attribute.source.as_str()), attribute.name)
    }

    /// Whether the condition is true; nothing when that hangs on what is not known.
    pub(super) fn truth(&self, ask: &Ask) -> Option<bool> {
        self.tree.truth(ask)
    }
}

impl Operator {
    fn name(self) -> String {
        let family = match self.family {
            Family::Text => "String",
            Family::Number => "Numeric",
            Family::Truth => "Bool",
            Family::Guid => "Guid",
            Family::Moment => "DateTime",
        };
        let negation = if self.is_negated { "Not" } else { "" };
        let case = if self.ignores_case { "IgnoreCase" } else { "" };
        format!("{family}{negation}{}{case}", self.relation)
    }

    /// Whether two values of the family compare so. Only a text that stands in the condition is a pattern.
    fn holds(self, left: &Literal, right: &Literal, right_is_written: bool) -> bool {
        let holds = match (left, right) {
            (Literal::Text(left), Literal::Text(right)) => {
                let fold = |text: &str| {
                    if self.ignores_case { text.to_lowercase() } else { text.to_owned() }
                };
                let (left, right) = (fold(left), fold(right));
                match self.relation {
                    "StartsWith" => left.starts_with(&right),
                    "Like" if right_is_written => is_like(&right, &left),
                    _ => left == right,
                }
            }
            (Literal::Number(left), Literal::Number(right)) => self.orders(left, right),
            (Literal::Moment(left), Literal::Moment(right)) => self.orders(left, right),
            (left, right) => left == right,
        };
        holds != self.is_negated
    }

    fn orders<T: Ord>(self, left: &T, right: &T) -> bool {
        match self.relation {
            "GreaterThan" => left > right,
            "GreaterThanEquals" => left >= right,
            "LessThan" => left < right,
            "LessThanEquals" => left <= right,
            _ => left == right,
        }
    }
}

/// `*` is any run of characters, `?` any one; a backslash takes the meaning away from both.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    let mut characters = text.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => (0..=text.len())
            .filter_map(|start| text.get(start..))
            .any(|tail| is_like(rest.as_str(), tail)),
        Some('?') => characters.next().is_some() && is_like(rest.as_str(), characters.as_str()),
        Some('\\') if rest.as_str().starts_with(['*', '?']) => {
            characters.next() == rest.next() && is_like(rest.as_str(), characters.as_str())
        }
        Some(wanted) => {
            characters.next() == Some(wanted) && is_like(rest.as_str(), characters.as_str())
        }
    }
}

impl Tree {
    /// Every comparison in the tree.
    pub(super) fn comparisons(&self) -> Vec<(Attribute, &[Literal])> {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().flat_map(Self::comparisons).collect()
            }
            Self::Not(part) => part.comparisons(),
            Self::Compare { left, right: Right::Values(values), .. } => vec![(*left, values)],
            Self::Compare { .. } | Self::Action(_) | Self::SubOperation(_) | Self::Exists(_) => {
                Vec::new()
            }
        }
    }

    fn truth(&self, ask: &Ask) -> Option<bool> {
        match self {
            Self::All(parts) => joined(parts.iter().map(|part| part.truth(ask)), false),
            Self::Any(parts) => joined(parts.iter().map(|part| part.truth(ask)), true),
            Self::Not(part) => part.truth(ask).map(|truth| !truth),
            Self::Action(pattern) => Some(covers(pattern, &ask.action)),
            Self::SubOperation(name) => {
                Some(ask.sub_operation.is_some_and(|asked| asked.eq_ignore_ascii_case(name)))
            }
            Self::Exists(attribute) => Some(ask.values(*attribute).is_some()),
            Self::Compare { left, many, operator, right } => {
                let left = read_all(ask.values(*left)?, operator.family)?;
                let (right, is_written) = match right {
                    Right::Values(values) => (values.as_slice(), true),
                    Right::Attribute(attribute) => (ask.values(*attribute)?, false),
                };
                let right = read_all(right, operator.family)?;
                if many.is_none() && (left.len() != 1 || right.len() != 1) {
                    return None;
                }
                let (of_left, of_right) = many.unwrap_or((Each::All, Each::All));
                Some(of_left.of(&left, |left| {
                    of_right.of(&right, |right| operator.holds(left, right, is_written))
                }))
            }
        }
    }
}

impl Each {
    fn of(self, values: &[Literal], test: impl Fn(&Literal) -> bool) -> bool {
        match self {
            Self::Any => values.iter().any(test),
            Self::All => values.iter().all(test),
        }
    }
}

/// AND with `false`, OR with `true`: the deciding value wins, else the unknown one.
fn joined(parts: impl Iterator<Item = Option<bool>>, deciding: bool) -> Option<bool> {
    let parts = parts.collect::<Vec<_>>();
    if parts.contains(&Some(deciding)) {
        Some(deciding)
    } else if parts.contains(&None) {
        None
    } else {
        Some(!deciding)
    }
}

fn read_all(values: &[Literal], family: Family) -> Option<Vec<Literal>> {
    values.iter().map(|value| value.read_as(family)).collect()
}

impl Literal {
    pub(super) const fn family(&self) -> Family {
        match self {
            Self::Text(_) => Family::Text,
            Self::Number(_) => Family::Number,
            Self::Truth(_) => Family::Truth,
            Self::Guid(_) => Family::Guid,
            Self::Moment(_) => Family::Moment,
        }
    }

    /// The value in the operator's type: a text may be read as another one, nothing else is.
    fn read_as(&self, family: Family) -> Option<Self> {
        let Self::Text(text) = self else {
            return (self.family() == family).then(|| self.clone());
        };
        match family {
            Family::Text => Some(self.clone()),
            Family::Number => text.parse().ok().map(Self::Number),
            Family::Truth => text.to_lowercase().parse().ok().map(Self::Truth),
            Family::Guid => Uuid::parse_str(text).ok()?.as_u128().try_into().ok().map(Self::Guid),
            Family::Moment => {
                let digit = text.strip_prefix("1970-01-01T00:00:0")?.strip_suffix('Z')?;
                digit.parse().ok().map(Self::Moment)
            }
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Self::Number(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::Guid(id) if id % 2 == 0 => Uuid::from_u128((*id).into()).simple().to_string(),
            Self::Guid(id) => Uuid::from_u128((*id).into()).to_string(),
            Self::Moment(second) => format!("'1970-01-01T00:00:0{second}.0Z'"),
        }
    }
}

/// What is asked with, as the engine takes it.
pub(super) fn attributes(ask: &Ask) -> Attributes {
    let mut attributes = Attributes::default();
    for (attribute, values) in &ask.attributes {
        attributes.set(attribute.source, attribute.name, engine_values(values));
    }
    attributes
}

fn engine_values(values: &[Literal]) -> AttributeValues {
    let moment = |second: &u8| UtcDateTime::from_unix_timestamp((*second).into()).unwrap();
    macro_rules! all {
        ($variant:ident, $read:expr) => {
            values.iter().filter_map(|value| match value {
                Literal::$variant(value) => Some($read(value)),
                _ => None,
            })
        };
    }
    match values.first().map_or(Family::Text, Literal::family) {
        Family::Text => AttributeValues::strings(all!(Text, |text: &&'static str| *text)),
        Family::Number => AttributeValues::Numbers(all!(Number, |it: &i64| *it).collect()),
        Family::Truth => AttributeValues::Booleans(all!(Truth, |it: &bool| *it).collect()),
        Family::Guid => {
            AttributeValues::Guids(all!(Guid, |id: &u8| Uuid::from_u128((*id).into())).collect())
        }
        Family::Moment => AttributeValues::DateTimes(all!(Moment, moment).collect()),
    }
}
