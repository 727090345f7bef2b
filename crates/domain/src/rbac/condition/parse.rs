//! Reads a condition's text. Recursive descent; each character is looked at a fixed number of times.
//!
//! ```text
//! condition  := term | term (AND term)+ | term (OR term)+      AND and OR mixed need parentheses
//! term       := NOT term | '(' condition ')' | Exists attribute | ActionMatches '{' text '}'
//!             | SubOperationMatches '{' text '}' | attribute [quantifiers ':'] operator right
//! right      := value | '{' value (',' value)* '}' | attribute
//! attribute  := '@' source '[' name ']'
//! ```
//!
//! `AND` is also `&&`, `OR` is `||`, `NOT` is `!`; words ignore case. A text stands in single quotes, and two of them
//! in it are one. The operator says of what type its values are: strings and moments stand in quotes, GUIDs, numbers
//! and booleans with or without.
//! Source: Microsoft Learn, "Azure role assignment condition format and syntax"; the conditions of built-in roles.

use std::borrow::Cow;

use super::attribute::{self, AttributeName, AttributeSource, AttributeValues};
use super::expression::{
    Comparison, Expression, Operator, Quantifiers, Right, StringRelation, Test,
};
use super::like::{Case, LikePattern};
use super::{ConditionError, ConditionErrorReason as Reason};
use crate::limits;
use crate::rbac::ActionPattern;

/// Reads a whole condition.
pub(super) fn parse(text: &str) -> Result<Expression, ConditionError> {
    if text.len() > limits::CONDITION_BYTES_MAX {
        return Err(ConditionError::new(text, limits::CONDITION_BYTES_MAX, Reason::TooLong));
    }
    let mut parser = Parser { text, rest: text };
    let expression = parser.expression(0)?;
    if parser.position() < text.len() {
        return Err(parser.error(Reason::Expected("AND, OR or the end")));
    }
    Ok(expression)
}

struct Parser<'a> {
    text: &'a str,
    /// What is not read yet.
    rest: &'a str,
}

/// A value as it is written, and where.
struct Literal<'a> {
    position: usize,
    text: Cow<'a, str>,
    is_quoted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Joiner {
    And,
    Or,
}

impl<'a> Parser<'a> {
    fn expression(&mut self, depth: usize) -> Result<Expression, ConditionError> {
        let first = self.term(depth)?;
        let Some(joiner) = self.joiner() else { return Ok(first) };
        let mut parts = vec![first, self.term(depth)?];
        loop {
            self.skip_blanks();
            let position = self.position();
            match self.joiner() {
                Some(next) if next == joiner => parts.push(self.term(depth)?),
                Some(_) => return Err(self.error_at(position, Reason::Mixed)),
                None => break,
            }
        }
        Ok(match joiner {
            Joiner::And => Expression::All(parts),
            Joiner::Or => Expression::Any(parts),
        })
    }

    fn joiner(&mut self) -> Option<Joiner> {
        if self.takes("&&") || self.takes_word("AND") {
            Some(Joiner::And)
        } else if self.takes("||") || self.takes_word("OR") {
            Some(Joiner::Or)
        } else {
            None
        }
    }

    fn term(&mut self, depth: usize) -> Result<Expression, ConditionError> {
        self.skip_blanks();
        if depth > limits::CONDITION_DEPTH_MAX {
            return Err(self.error(Reason::TooDeep));
        }
        if self.takes("!") || self.takes_word("NOT") {
            return Ok(Expression::Not(Box::new(self.term(depth + 1)?)));
        }
        if self.takes("(") {
            let group = self.expression(depth + 1)?;
            self.expect(")", "AND, OR or `)`")?;
            return Ok(group);
        }
        if self.takes_word("Exists") {
            return Ok(Expression::Exists(self.attribute()?));
        }
        if self.takes_word("ActionMatches") {
            return Ok(Expression::ActionMatches(self.action_pattern()?));
        }
        if self.takes_word("SubOperationMatches") {
            return Ok(Expression::SubOperationMatches(self.text_in_braces()?.text.into()));
        }
        if self.rest.starts_with('@') {
            return Ok(Expression::Comparison(self.comparison()?));
        }
        Err(self.error(Reason::Expected(
            "an attribute, ActionMatches, SubOperationMatches, Exists, NOT or `(`",
        )))
    }

    fn action_pattern(&mut self) -> Result<ActionPattern, ConditionError> {
        let literal = self.text_in_braces()?;
        let pattern = ActionPattern::new(&literal.text);
        if pattern.is_bounded() {
            Ok(pattern)
        } else {
            Err(self.error_at(literal.position, Reason::PatternUnbounded))
        }
    }

    /// `{'…'}`.
    fn text_in_braces(&mut self) -> Result<Literal<'a>, ConditionError> {
        self.expect("{", "`{`")?;
        let literal = self.literal()?;
        if !literal.is_quoted || literal.text.is_empty() {
            return Err(self.error_at(literal.position, Reason::Expected(QUOTED)));
        }
        self.expect("}", "`}`")?;
        Ok(literal)
    }

    fn attribute(&mut self) -> Result<AttributeName, ConditionError> {
        self.expect("@", "an attribute such as @Resource[…]")?;
        let source = AttributeSource::named(self.word()).ok_or_else(|| {
            self.error(Reason::Expected(
                "Request, Resource, Principal or Environment after the `@`",
            ))
        })?;
        self.skip_word();
        self.expect("[", "`[`")?;
        let (name, rest) = self
            .rest
            .split_once(']')
            .filter(|(name, _)| is_attribute_name(name.trim()))
            .ok_or_else(|| self.error(Reason::Expected("an attribute's name and `]`")))?;
        self.rest = rest;
        Ok(AttributeName { source, name: name.trim().into() })
    }

    fn comparison(&mut self) -> Result<Comparison, ConditionError> {
        let left = self.attribute()?;
        let quantifiers = self.quantifiers()?;
        self.skip_blanks();
        let operator = Operator::named(self.word())
            .ok_or_else(|| self.error(Reason::Expected("an operator such as StringEquals")))?;
        self.skip_word();
        let right = self.right(operator, quantifiers)?;
        Ok(Comparison { left, quantifiers, operator, right })
    }

    fn quantifiers(&mut self) -> Result<Option<Quantifiers>, ConditionError> {
        self.skip_blanks();
        let Some(quantifiers) = Quantifiers::named(self.word()) else { return Ok(None) };
        self.skip_word();
        self.expect(":", "`:`")?;
        Ok(Some(quantifiers))
    }

    fn right(
        &mut self,
        operator: Operator,
        quantifiers: Option<Quantifiers>,
    ) -> Result<Right, ConditionError> {
        self.skip_blanks();
        if self.rest.starts_with('@') {
            return Ok(Right::Attribute(self.attribute()?));
        }
        let position = self.position();
        let literals = self.literals()?;
        if literals.len() > 1 && quantifiers.is_none() {
            return Err(self.error_at(position, Reason::NeedsQuantifiers));
        }
        self.typed(operator.test, &literals)
    }

    /// The values in the operator's type.
    fn typed(&self, test: Test, literals: &[Literal<'a>]) -> Result<Right, ConditionError> {
        let values = match test {
            Test::String(relation, case) => return self.strings(relation, case, literals),
            Test::Numeric(_) => AttributeValues::Numbers(self.read(
                literals,
                "a whole number",
                attribute::number,
            )?),
            Test::DateTime(_) => {
                AttributeValues::DateTimes(self.read(literals, MOMENT, attribute::date_time)?)
            }
            Test::Bool => AttributeValues::Booleans(self.read(
                literals,
                "true or false",
                attribute::boolean,
            )?),
            Test::Guid => AttributeValues::Guids(self.read(literals, "a GUID", attribute::guid)?),
        };
        Ok(Right::Values(values))
    }

    fn strings(
        &self,
        relation: StringRelation,
        case: Case,
        literals: &[Literal<'a>],
    ) -> Result<Right, ConditionError> {
        if let Some(bare) = literals.iter().find(|literal| !literal.is_quoted) {
            return Err(self.error_at(bare.position, Reason::Expected(QUOTED)));
        }
        let texts = literals.iter().map(|literal| &*literal.text);
        Ok(match relation {
            StringRelation::Like => Right::Patterns(case, texts.map(LikePattern::new).collect()),
            StringRelation::Equals | StringRelation::StartsWith => {
                Right::Values(AttributeValues::strings(texts))
            }
        })
    }

    fn read<T>(
        &self,
        literals: &[Literal<'a>],
        expected: &'static str,
        read: fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConditionError> {
        let value = |literal: &Literal<'a>| {
            read(&literal.text)
                .ok_or_else(|| self.error_at(literal.position, Reason::Expected(expected)))
        };
        literals.iter().map(value).collect()
    }

    /// One value, or those of a set.
    fn literals(&mut self) -> Result<Vec<Literal<'a>>, ConditionError> {
        if !self.takes("{") {
            return Ok(vec![self.literal()?]);
        }
        let mut literals = vec![self.literal()?];
        while self.takes(",") {
            literals.push(self.literal()?);
        }
        self.expect("}", "`,` or `}`")?;
        Ok(literals)
    }

    fn literal(&mut self) -> Result<Literal<'a>, ConditionError> {
        self.skip_blanks();
        let position = self.position();
        if self.takes("'") {
            let text = self.rest_of_text(position)?;
            return Ok(Literal { position, text, is_quoted: true });
        }
        let word = self.word();
        if word.is_empty() {
            return Err(self.error(Reason::Expected("a value")));
        }
        self.skip_word();
        Ok(Literal { position, text: word.into(), is_quoted: false })
    }

    /// What stands before the closing quote; the opening one is read, and stands at the position.
    fn rest_of_text(&mut self, position: usize) -> Result<Cow<'a, str>, ConditionError> {
        let mut text = Cow::Borrowed("");
        loop {
            let (piece, rest) = self
                .rest
                .split_once('\'')
                .ok_or_else(|| self.error_at(position, Reason::UnclosedText))?;
            // Azure's page does not say whether `\'` ends a text. Whoever reads it the other way would read another
            // condition, so nobody reads it.
            if piece.ends_with('\\') {
                return Err(self.error_at(position, Reason::BackslashBeforeQuote));
            }
            text += piece;
            self.rest = rest;
            let Some(after_second_quote) = rest.strip_prefix('\'') else { return Ok(text) };
            text += "'";
            self.rest = after_second_quote;
        }
    }

    /// The word that comes next, not read yet.
    fn word(&self) -> &'a str {
        let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        let end = self.rest.find(|c| !is_of_word(c)).unwrap_or(self.rest.len());
        self.rest.get(..end).unwrap_or_default()
    }

    fn skip_word(&mut self) {
        self.rest = self.rest.get(self.word().len()..).unwrap_or_default();
    }

    fn takes_word(&mut self, wanted: &str) -> bool {
        self.skip_blanks();
        let is_next = self.word().eq_ignore_ascii_case(wanted);
        if is_next {
            self.skip_word();
        }
        is_next
    }

    fn takes(&mut self, symbol: &str) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(symbol);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, symbol: &str, described: &'static str) -> Result<(), ConditionError> {
        if self.takes(symbol) { Ok(()) } else { Err(self.error(Reason::Expected(described))) }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    const fn position(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    fn error(&self, reason: Reason) -> ConditionError {
        self.error_at(self.position(), reason)
    }

    fn error_at(&self, position: usize, reason: Reason) -> ConditionError {
        ConditionError::new(self.text, position, reason)
    }
}

const QUOTED: &str = "a text in single quotes";
const MOMENT: &str = "a moment such as '2022-06-01T00:00:00.0Z'";

fn is_attribute_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_control() || matches!(c, '[' | '@' | '\''))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::built_in_roles;

    /// Whether the text is a condition, or what is wrong with it and before which part of the text.
    fn check(text: &str, wrong: Option<(&str, Reason)>) {
        let expected = wrong.map(|(rest, reason)| {
            let position = text.rfind(rest).expect("the rest is of the text");
            ConditionError::new(text, if rest.is_empty() { text.len() } else { position }, reason)
        });
        assert_eq!(parse(text).err(), expected, "{text}");
    }

    fn accepted(text: &str) {
        check(text, None);
    }

    fn refused(text: &str, rest: &str, reason: Reason) {
        check(text, Some((rest, reason)));
    }

    #[test]
    fn every_condition_of_the_built_in_roles_is_read() {
        let conditions = built_in_roles::all()
            .iter()
            .flat_map(|role| &role.permissions)
            .filter_map(|permission| permission.condition.as_ref())
            .inspect(|condition| accepted(condition.as_str()));
        assert_eq!(conditions.count(), 31);
    }

    #[test]
    fn operators_and_words_ignore_case() {
        for text in [
            "@resource[a:b] stringequals 'x'",
            "@REQUEST[a:b]FORANYOFANYVALUES:STRINGLIKE{'x','y'}",
            "@Principal[a] ForAllOfAllValues : NumericLessThan { 1 , -2 }",
            "@Environment[isPrivateLink] BoolEquals TRUE",
            "@Environment[UtcNow] DateTimeGreaterThan '2022-06-01T00:00:00.0Z'",
            "@Resource [ a:b ] GuidEquals 49fc33c1886f4b21a00e1d9993234734",
            "@Resource[a] GuidNotEquals {'49fc33c1-886f-4b21-a00e-1d9993234734'}",
            "@Resource[a] StringLike @Principal[Microsoft.Directory/CustomSecurityAttributes/Id:S_A]",
            "not exists @Resource[a]",
            "!Exists@Resource[a]||NOT NOT !(Exists @Resource[b])",
            "actionmatches {'a/*'} and suboperationMATCHES{ 'Blob.List' }",
            "(Exists @Resource[a] AND Exists @Resource[b]) OR Exists @Request[c] or Exists @Request[d]",
            "\t@Resource[a]\nStringEquals\r\n'it''s'  ",
            "@Resource[a/tags:Project<$key_case_sensitive$>] StringEquals ''",
            "@Request[a/tags&$keys$&] ForAllOfAnyValues:StringEquals {'Project', 'Program'}",
        ] {
            accepted(text);
        }
    }

    #[test]
    fn mixing_and_with_or_needs_parentheses() {
        let (a, b, c) = ("Exists @Resource[a]", "Exists @Resource[b]", "Exists @Resource[c]");
        accepted(&format!("({a} AND {b}) OR {c}"));
        accepted(&format!("{a} AND ({b} OR {c})"));
        refused(&format!("{a} AND {b} OR {c}"), &format!("OR {c}"), Reason::Mixed);
        refused(&format!("{a} || {b} && {c}"), &format!("&& {c}"), Reason::Mixed);
        refused(&format!("({a} || {b} AND {c})"), &format!("AND {c})"), Reason::Mixed);
    }

    #[test]
    fn an_error_says_what_is_wrong_and_where() {
        let term = "an attribute, ActionMatches, SubOperationMatches, Exists, NOT or `(`";
        let operator = "an operator such as StringEquals";
        let name = "an attribute's name and `]`";
        let cases = [
            ("", "", term),
            ("()", ")", term),
            ("NOT", "", term),
            ("Exists @Resource[a] AND", "", term),
            ("'x' StringEquals 'x'", "'x' StringEquals 'x'", term),
            ("(Exists @Resource[a]", "", "AND, OR or `)`"),
            ("Exists @Resource[a])", ")", "AND, OR or the end"),
            ("Exists @Resource[a] & Exists @Resource[b]", "& E", "AND, OR or the end"),
            ("Exists 'a'", "'a'", "an attribute such as @Resource[…]"),
            (
                "@Thing[a] StringEquals 'x'",
                "Thing",
                "Request, Resource, Principal or Environment after the `@`",
            ),
            (
                "@ Resource[a] StringEquals 'x'",
                " R",
                "Request, Resource, Principal or Environment after the `@`",
            ),
            ("@Resource(a)", "(a)", "`[`"),
            ("@Resource[a StringEquals 'x'", "a St", name),
            ("@Resource[ ] StringEquals 'x'", " ] ", name),
            ("@Resource[@Resource[a] StringEquals 'x'", "@Resource[a", name),
            ("@Resource[a] StringEqual 'x'", "StringEqual", operator),
            ("@Resource[a] == 'x'", "==", operator),
            ("@Resource[a] ForAnyOfAnyValues StringEquals {'x'}", "StringEquals", "`:`"),
            ("@Resource[a] ForSomeOfAnyValues:StringEquals {'x'}", "ForSome", operator),
            ("@Resource[a] StringEquals", "", "a value"),
            ("@Resource[a] StringEquals {}", "}", "a value"),
            ("@Resource[a] ForAnyOfAnyValues:StringEquals {'x',}", "}", "a value"),
            ("@Resource[a] ForAnyOfAnyValues:StringEquals {'x' 'y'}", "'y'", "`,` or `}`"),
            ("@Resource[a] StringEquals x", "x", QUOTED),
            ("@Resource[a] StringLike true", "true", QUOTED),
            ("@Resource[a] StringEquals \"x\"", "\"x\"", "a value"),
            ("@Resource[a] NumericEquals 1.5", "1.5", "a whole number"),
            ("@Resource[a] BoolEquals 1", "1", "true or false"),
            (
                "@Resource[a] ForAnyOfAnyValues:GuidEquals {49fc33c1886f4b21a00e1d9993234734,49fc}",
                "49fc}",
                "a GUID",
            ),
            ("@Environment[UtcNow] DateTimeLessThan '2022-06-01'", "'2022", MOMENT),
            ("ActionMatches 'a'", "'a'", "`{`"),
            ("ActionMatches{a}", "a}", QUOTED),
            ("ActionMatches{''}", "''", QUOTED),
            ("ActionMatches{'a', 'b'}", ", 'b'", "`}`"),
        ];
        for (text, rest, expected) in cases {
            refused(text, rest, Reason::Expected(expected));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let set = "@Resource[a] StringEquals {'x', 'y'}";
        refused(set, "{'x', 'y'}", Reason::NeedsQuantifiers);
        refused("@Resource[a] StringEquals 'x", "'x", Reason::UnclosedText);
        refused(r"@Resource[a] StringEquals 'x\'", r"'x\'", Reason::BackslashBeforeQuote);
        refused(r"@Resource[a] StringEquals 'x\''y'", r"'x\''y'", Reason::BackslashBeforeQuote);
    }

    #[test]
    fn length_and_depth_are_bounded() {
        let nested = |open: &str, close: &str, depth: usize| {
            format!("{}Exists @Resource[a]{}", open.repeat(depth), close.repeat(depth))
        };
        for (open, close) in [("(", ")"), ("!", ""), ("NOT ", ""), ("!(", ")")] {
            let max = limits::CONDITION_DEPTH_MAX / open.matches(['!', '(', 'N']).count();
            accepted(&nested(open, close, max));
            let error = parse(&nested(open, close, max + 1)).unwrap_err();
            assert_eq!(error.reason, Reason::TooDeep);
            let error = parse(&open.repeat(limits::CONDITION_BYTES_MAX / open.len())).unwrap_err();
            assert_eq!(error.reason, Reason::TooDeep);
        }
        let longest = |length: usize| format!("{:length$}", "Exists @Resource[a]");
        accepted(&longest(limits::CONDITION_BYTES_MAX));
        let error = parse(&longest(limits::CONDITION_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(error.reason, Reason::TooLong);
    }
}
