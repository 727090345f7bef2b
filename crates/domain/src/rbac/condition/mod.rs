//! Conditions: what must also be true for a role assignment, or a role's permission object, to grant an action.
//!
//! A condition is kept as its text. It is read once ([`parse`]) and evaluated for each decision ([`evaluate`]) against
//! what is known of request, resource, principal and surroundings ([`attribute`]). What is not known grants nothing.
//! Source: Microsoft Learn, "Azure role assignment condition format and syntax".

pub mod attribute;
mod evaluate;
mod expression;
mod like;
mod parse;
#[cfg(test)]
mod properties;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use attribute::{AttributeName, AttributeSource, AttributeValues, Attributes};
use evaluate::Circumstances;
use expression::Expression;

use crate::limits;

/// A condition that can be evaluated. Two are equal when their texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    text: Arc<str>,
    expression: Arc<Expression>,
}

/// How a condition came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is true: the assignment grants.
    Met,
    /// It is false, whatever is not known.
    NotMet,
    /// It hangs on an attribute that is missing, or that does not fit what it is compared with. Grants nothing.
    AttributeMissing,
}

impl Condition {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let expression = parse::parse(text)?;
        Ok(Self { text: text.into(), expression: Arc::new(expression) })
    }

    /// The condition as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the condition lets the action pass. The action is in lower case; the suboperation's case is ignored.
    pub fn evaluate(
        &self,
        action_lowercase: &str,
        sub_operation: Option<&str>,
        attributes: &Attributes,
    ) -> Outcome {
        Circumstances { action_lowercase, sub_operation, attributes }.evaluate(&self.expression)
    }

    /// The attributes that the condition asks about, each once, in the order of the text.
    pub fn attributes(&self) -> Vec<&AttributeName> {
        let mut names = Vec::new();
        self.expression.collect_attributes(&mut names);
        names
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

impl TryFrom<String> for Condition {
    type Error = ConditionError;

    fn try_from(text: String) -> Result<Self, ConditionError> {
        Self::parse(&text)
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.as_str().to_owned()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no condition: what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {position}, before {near}")]
pub struct ConditionError {
    /// How many bytes of the text come before the place.
    pub position: usize,
    /// What is wrong there.
    pub reason: ConditionErrorReason,
    /// The first characters at that place, quoted, or `the end`.
    near: String,
}

/// What is wrong with a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionErrorReason {
    /// The text is too long to be looked at.
    #[error("the condition is longer than {max} bytes", max = limits::CONDITION_BYTES_MAX)]
    TooLong,
    /// Groups or negations stand too deep inside each other.
    #[error("groups are nested more than {max} deep", max = limits::CONDITION_DEPTH_MAX)]
    TooDeep,
    /// Something else must stand here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// AND and OR stand side by side, and which of them binds first is not said.
    #[error("AND and OR need parentheses when they are mixed")]
    Mixed,
    /// The quote that opens here is never closed.
    #[error("missing a closing quote for the text")]
    UnclosedText,
    /// A backslash and a quote: readers differ on whether the text ends here.
    #[error("a text cannot hold a backslash before a quote")]
    BackslashBeforeQuote,
    /// An action pattern that is too long, or has too many wildcards.
    #[error("an action pattern is too long, or has too many wildcards")]
    PatternUnbounded,
    /// A set of several values with an operator for one.
    #[error("a set of several values needs a prefix such as ForAnyOfAnyValues:")]
    NeedsQuantifiers,
}

impl ConditionError {
    fn new(text: &str, position: usize, reason: ConditionErrorReason) -> Self {
        let position = text.floor_char_boundary(position);
        Self { position, reason, near: excerpt(text.get(position..).unwrap_or_default()) }
    }
}

/// The first characters of a stranger's text, fit to be shown.
fn excerpt(text: &str) -> String {
    if text.is_empty() {
        return "the end".to_owned();
    }
    let mut characters = text.chars();
    let shown = characters
        .by_ref()
        .take(limits::CONDITION_EXCERPT_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!("`{shown}{more}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_stored_as_its_text() {
        let text = "@Resource[a:b]  stringequals\n'x'";
        let condition = Condition::parse(text).unwrap();
        let stored = serde_json::to_string(&condition).unwrap();
        assert_eq!(stored, serde_json::to_string(text).unwrap());
        assert_eq!(serde_json::from_str::<Condition>(&stored).unwrap(), condition);
        assert!(serde_json::from_str::<Condition>("\"@Resource[\"").is_err());
    }

    #[test]
    fn a_condition_names_each_attribute_once() {
        let condition = Condition::parse(
            "(@Request[a:b] StringEquals @Resource[c] OR Exists @REQUEST[A:B]) AND \
             (NOT @Principal[d] BoolEquals true OR ActionMatches{'x'})",
        )
        .unwrap();
        let names = condition.attributes().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names, ["@Request[a:b]", "@Resource[c]", "@Principal[d]"]);
    }

    #[test]
    fn an_error_repeats_a_short_excerpt_only() {
        let error = Condition::parse(&format!("NOT\u{7}{}", "ä".repeat(200))).unwrap_err();
        assert!(error.to_string().chars().count() < 160, "{error}");
        let error = Condition::parse(&"ä".repeat(limits::CONDITION_BYTES_MAX)).unwrap_err();
        assert_eq!(error.reason, ConditionErrorReason::TooLong);
        let error = Condition::parse("@Resource[a] StringEquals 'x' OR").unwrap_err();
        assert!(error.to_string().ends_with("at byte 32, before the end"), "{error}");
    }
}
