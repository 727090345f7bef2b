//! A claims matching expression: what an assertion has to claim where a credential names no single subject.
//!
//! ```text
//! expression := term (and term)*
//! term       := claims['name'] (matches | eq) 'text'
//! ```
//!
//! In `matches`, `*` is any run of characters and `?` is one. There is no escape: a text has neither quote nor backslash.
//! Source: Microsoft Learn, "Flexible federated identity credentials".

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::limits;

/// The only version of the language.
pub const LANGUAGE_VERSION: i64 = 1;

/// Terms that all have to hold, one of them about the subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimsExpression {
    text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    claim: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Equals(String),
    Matches(String),
}

/// Why a text is no claims matching expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsExpressionError {
    /// It has more characters or terms than allowed.
    #[error("the expression is too long")]
    TooLong,
    /// Something else stands where this has to.
    #[error("the expression needs {0}")]
    Expected(&'static str),
    /// A text is empty or has nothing but wildcards: it would take every value.
    #[error("the expression compares a claim with nothing but wildcards")]
    Unbounded,
    /// No term is about the subject.
    #[error("the expression says nothing about the claim 'sub'")]
    SubjectMissing,
}

impl ClaimsExpression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, ClaimsExpressionError> {
        if text.chars().count() > limits::FEDERATED_TEXT_CHARS_MAX {
            return Err(ClaimsExpressionError::TooLong);
        }
        let mut rest = text.trim_matches(' ');
        let mut terms = vec![term(&mut rest)?];
        while !rest.is_empty() {
            if terms.len() == limits::CLAIMS_EXPRESSION_TERMS_MAX {
                return Err(ClaimsExpressionError::TooLong);
            }
            blank(&mut rest)?;
            expect(&mut rest, "and", "`and` or the end")?;
            blank(&mut rest)?;
            terms.push(term(&mut rest)?);
        }
        if !terms.iter().any(|term| term.claim == "sub") {
            return Err(ClaimsExpressionError::SubjectMissing);
        }
        Ok(Self { text: text.to_owned(), terms })
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the claims fit. A claim that is missing, no text or too long never does.
    pub fn matches(&self, claims: &Map<String, Value>, steps: &mut Steps) -> bool {
        self.terms.iter().all(|term| {
            let value = claims.get(&term.claim).and_then(Value::as_str);
            value.filter(|value| value.len() <= limits::MATCHED_CLAIM_BYTES_MAX).is_some_and(
                |value| match &term.test {
                    Test::Equals(text) => text == value,
                    Test::Matches(pattern) => fits(pattern, value, steps),
                },
            )
        })
    }
}

impl TryFrom<String> for ClaimsExpression {
    type Error = ClaimsExpressionError;

    fn try_from(text: String) -> Result<Self, ClaimsExpressionError> {
        Self::parse(&text)
    }
}

impl From<ClaimsExpression> for String {
    fn from(expression: ClaimsExpression) -> Self {
        expression.text
    }
}

fn term(rest: &mut &str) -> Result<Term, ClaimsExpressionError> {
    expect(rest, "claims['", "claims['name']")?;
    let claim = until_quote(rest)?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
    if claim.is_empty() || !claim.chars().all(is_name) {
        return Err(ClaimsExpressionError::Expected("claims['name']"));
    }
    expect(rest, "]", "claims['name']")?;
    blank(rest)?;
    let test: fn(String) -> Test = match rest.split(' ').next() {
        Some("matches") => Test::Matches,
        Some("eq") => Test::Equals,
        _ => return Err(ClaimsExpressionError::Expected("`matches` or `eq`")),
    };
    *rest = rest.split_once(' ').map_or("", |(_, after)| after).trim_start_matches(' ');
    expect(rest, "'", "a text in single quotes")?;
    let text = until_quote(rest)?;
    if text.contains(|c: char| c == '\\' || c.is_control()) {
        return Err(ClaimsExpressionError::Expected("a text without backslashes"));
    }
    if text.chars().all(|c| matches!(c, '*' | '?')) {
        return Err(ClaimsExpressionError::Unbounded);
    }
    Ok(Term { claim: claim.to_owned(), test: test(text.to_owned()) })
}

fn expect(rest: &mut &str, text: &str, what: &'static str) -> Result<(), ClaimsExpressionError> {
    *rest = rest.strip_prefix(text).ok_or(ClaimsExpressionError::Expected(what))?;
    Ok(())
}

/// At least one blank.
fn blank(rest: &mut &str) -> Result<(), ClaimsExpressionError> {
    expect(rest, " ", "a blank between its words")?;
    *rest = rest.trim_start_matches(' ');
    Ok(())
}

fn until_quote<'a>(rest: &mut &'a str) -> Result<&'a str, ClaimsExpressionError> {
    let (text, after) =
        rest.split_once('\'').ok_or(ClaimsExpressionError::Expected("a closing quote"))?;
    *rest = after;
    Ok(text)
}

/// What is left of the steps that matching the patterns of one request may take. A stranger chooses the text, and whoever
/// manages an identity the patterns: together they must not be able to keep a processor busy.
#[derive(Clone, Copy, Debug)]
pub struct Steps(usize);

impl Default for Steps {
    fn default() -> Self {
        Self(limits::MATCHING_STEPS_MAX)
    }
}

impl Steps {
    /// Takes one; `false` when none is left.
    fn take(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }
}

/// Whether the whole text fits. Only the last `*` that was met is ever tried again, one character further each time, so
/// this takes at most pattern times text steps; a text that takes more than are left does not fit.
fn fits(pattern: &str, text: &str, steps: &mut Steps) -> bool {
    let (mut pattern, mut rest) = (pattern.chars(), text.chars());
    let mut retry = None;
    while steps.take() {
        let mut after = pattern.clone();
        match after.next() {
            None if rest.as_str().is_empty() => return true,
            Some('*') => {
                retry = Some((after.clone(), rest.clone()));
                pattern = after;
                continue;
            }
            // What is taken in vain is read again from the last `*`.
            Some(wanted) if rest.next().is_some_and(|c| wanted == '?' || wanted == c) => {
                pattern = after;
                continue;
            }
            Some(_) | None => {}
        }
        let Some((after, mut from)) = retry.take() else { return false };
        if from.next().is_none() {
            return false;
        }
        retry = Some((after.clone(), from.clone()));
        (pattern, rest) = (after, from);
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(expression: &str, claims: &Value, expected: bool) {
        let expression = ClaimsExpression::parse(expression).unwrap();
        let claims = claims.as_object().unwrap();
        assert_eq!(expression.matches(claims, &mut Steps::default()), expected, "{claims:?}");
    }

    #[test]
    fn a_pattern_takes_the_whole_claim_and_case_counts() {
        let branches = "claims['sub'] matches 'repo:contoso/*:ref:refs/heads/*'";
        for (subject, expected) in [
            ("repo:contoso/orders:ref:refs/heads/main", true),
            ("repo:contoso/a/b:ref:refs/heads/x/y", true),
            ("repo:contoso/:ref:refs/heads/", true),
            ("repo:Contoso/orders:ref:refs/heads/main", false),
            ("repo:contoso-evil/orders:ref:refs/heads/main", false),
            ("x repo:contoso/orders:ref:refs/heads/main", false),
            ("repo:contoso/orders:ref:refs/tags/v1", false),
            ("", false),
        ] {
            check(branches, &json!({ "sub": subject }), expected);
        }
        check("claims['sub'] matches 'a?c'", &json!({ "sub": "aäc" }), true);
        check("claims['sub'] matches 'a?c'", &json!({ "sub": "ac" }), false);
        check("claims['sub'] eq 'a*c'", &json!({ "sub": "a*c" }), true);
        check("claims['sub'] eq 'a*c'", &json!({ "sub": "abc" }), false);
    }

    #[test]
    fn all_terms_have_to_hold_and_a_missing_claim_never_does() {
        let both = "claims['sub'] matches 'repo:*' and claims['job_workflow_ref'] eq 'w'";
        check(both, &json!({ "sub": "repo:a", "job_workflow_ref": "w" }), true);
        check(both, &json!({ "sub": "repo:a", "job_workflow_ref": "v" }), false);
        check(both, &json!({ "sub": "x", "job_workflow_ref": "w" }), false);
        check(both, &json!({ "sub": "repo:a" }), false);
        check(both, &json!({ "sub": "repo:a", "job_workflow_ref": null }), false);
        check(both, &json!({ "sub": "repo:a", "job_workflow_ref": ["w"] }), false);
        check("claims['sub'] matches 'a*'", &json!({ "sub": "a".repeat(1024) }), true);
        check("claims['sub'] matches 'a*'", &json!({ "sub": "a".repeat(1025) }), false);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        use ClaimsExpressionError as Error;
        let many = ["claims['sub'] eq 'a'"; 11].join(" and ");
        for (text, expected) in [
            ("", Error::Expected("claims['name']")),
            ("sub eq 'a'", Error::Expected("claims['name']")),
            ("claims[\"sub\"] eq 'a'", Error::Expected("claims['name']")),
            ("claims['sub' eq 'a'", Error::Expected("claims['name']")),
            ("claims['s ub'] eq 'a'", Error::Expected("claims['name']")),
            ("claims['sub'] ne 'a'", Error::Expected("`matches` or `eq`")),
            ("claims['sub'] MATCHES 'a'", Error::Expected("`matches` or `eq`")),
            ("claims['sub'] eq a", Error::Expected("a text in single quotes")),
            ("claims['sub'] eq 'a", Error::Expected("a closing quote")),
            ("claims['sub'] eq 'a' or claims['sub'] eq 'b'", Error::Expected("`and` or the end")),
            ("claims['sub'] eq 'it''s'", Error::Expected("a blank between its words")),
            (r"claims['sub'] matches 'a\*'", Error::Expected("a text without backslashes")),
            ("claims['sub'] eq 'a' and", Error::Expected("a blank between its words")),
            ("claims['sub'] matches ''", Error::Unbounded),
            ("claims['sub'] matches '*'", Error::Unbounded),
            ("claims['sub'] matches '*?*'", Error::Unbounded),
            ("claims['job_workflow_ref'] eq 'a'", Error::SubjectMissing),
            (&many, Error::TooLong),
            (&format!("claims['sub'] eq '{}'", "a".repeat(600)), Error::TooLong),
        ] {
            assert_eq!(ClaimsExpression::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn hostile_patterns_and_texts_share_a_bounded_number_of_steps() {
        let (pattern, text) = (format!("*{}b", "a".repeat(300)), "a".repeat(600));
        let mut steps = Steps::default();
        let tried = (0..).take_while(|_| {
            assert!(!fits(&pattern, &text, &mut steps));
            steps.0 > 0
        });
        assert!(tried.count() < 20, "about a hundred thousand steps each");
        assert!(!fits("a*", "ab", &mut steps), "nothing fits any more");
        assert!(fits("a*", "ab", &mut Steps::default()));
    }

    /// Whether the text fits, by trying everything.
    fn fits_naively(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', after @ ..] => (0..=text.len()).any(|taken| fits_naively(after, &text[taken..])),
            ['?', after @ ..] => !text.is_empty() && fits_naively(after, &text[1..]),
            [wanted, after @ ..] => text.first() == Some(wanted) && fits_naively(after, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_trying_everything_finds(
            pattern in "[ab*?]{0,8}", text in "[ab]{0,10}",
        ) {
            let naive = fits_naively(
                &pattern.chars().collect::<Vec<_>>(),
                &text.chars().collect::<Vec<_>>(),
            );
            prop_assert_eq!(fits(&pattern, &text, &mut Steps::default()), naive);
        }
    }
}
