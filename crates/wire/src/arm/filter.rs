//! `$filter` of listings: comparisons, joined by `and`, `or` and parentheses. Which fields there are, and what they mean, is
//! each listing's own.
//!
//! Source: `OData` 4.0, URL conventions, section 5.1.1, as far as Resource Manager's clients write it.

use keycard_domain::limits;

use super::error::ArmError;

/// What a filter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Any(Vec<Self>),
    All(Vec<Self>),
    One(Comparison),
}

/// `field eq 'value'` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// In lower case: fields are named in any.
    pub(super) field: String,
    pub(super) operator: Operator,
    pub(super) value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equals,
    AtLeast,
    AtMost,
    /// `contains(field,'value')`, or `substringof('value',field)` in clients older than that.
    Contains,
}

/// Whether values may stand without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BareValues {
    Taken,
    Refused,
}

/// Reads a filter of any form. `and` binds more tightly than `or`.
pub(super) fn expression(text: &str) -> Result<Expression, ArmError> {
    read(text, BareValues::Refused).ok_or_else(|| unsupported(text))
}

/// Reads a filter that only `and` joins; an empty text compares nothing.
pub(super) fn comparisons(text: &str, bare: BareValues) -> Result<Vec<Comparison>, ArmError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let joined = match read(text, bare) {
        Some(Expression::One(only)) => Some(vec![only]),
        Some(Expression::All(parts)) => parts.into_iter().map(Expression::into_one).collect(),
        Some(Expression::Any(_)) | None => None,
    };
    joined.ok_or_else(|| unsupported(text))
}

/// What is not understood is refused: it would narrow the listing less than was meant.
pub(super) fn unsupported(text: &str) -> ArmError {
    ArmError::FilterUnsupported(text.chars().take(limits::VALUE_SHOWN_CHARS_MAX).collect())
}

impl Expression {
    fn into_one(self) -> Option<Comparison> {
        match self {
            Self::One(comparison) => Some(comparison),
            Self::Any(_) | Self::All(_) => None,
        }
    }
}

fn read(text: &str, bare: BareValues) -> Option<Expression> {
    let tokens = tokens(text)?;
    let mut reader = Reader { rest: &tokens, bare };
    let expression = reader.any(0)?;
    reader.rest.is_empty().then_some(expression)
}

/// A part of a filter, as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
    Comma,
}

/// The parts of a text; `None` where a quote does not end, or something clings to it.
fn tokens(text: &str) -> Option<Vec<Token>> {
    let ends_word = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | '\'');
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            c if c.is_whitespace() => {}
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            ',' => tokens.push(Token::Comma),
            '\'' => {
                let mut value = String::new();
                loop {
                    match rest.next()? {
                        // A quote within the text is written twice.
                        '\'' if rest.next_if_eq(&'\'').is_some() => value.push('\''),
                        '\'' => break,
                        c => value.push(c),
                    }
                }
                if rest.peek().is_some_and(|next| !ends_word(*next)) {
                    return None;
                }
                tokens.push(Token::Text(value));
            }
            first => {
                let mut word = String::from(first);
                while let Some(c) = rest.next_if(|c| !ends_word(*c)) {
                    word.push(c);
                }
                if rest.peek() == Some(&'\'') {
                    return None;
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Some(tokens)
}

struct Reader<'a> {
    rest: &'a [Token],
    bare: BareValues,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first.clone())
    }

    fn takes_word(&mut self, wanted: &str) -> bool {
        match self.rest.split_first() {
            Some((Token::Word(word), rest)) if word.eq_ignore_ascii_case(wanted) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn takes(&mut self, wanted: &Token) -> Option<()> {
        (self.next()? == *wanted).then_some(())
    }

    fn word(&mut self) -> Option<String> {
        if let Token::Word(word) = self.next()? { Some(word) } else { None }
    }

    fn text(&mut self) -> Option<String> {
        if let Token::Text(text) = self.next()? { Some(text) } else { None }
    }

    fn any(&mut self, depth: usize) -> Option<Expression> {
        let first = self.all(depth)?;
        let mut parts = vec![first];
        while self.takes_word("or") {
            parts.push(self.all(depth)?);
        }
        joined(parts, Expression::Any)
    }

    fn all(&mut self, depth: usize) -> Option<Expression> {
        let mut parts = vec![self.one(depth)?];
        while self.takes_word("and") {
            parts.push(self.one(depth)?);
        }
        joined(parts, Expression::All)
    }

    fn one(&mut self, depth: usize) -> Option<Expression> {
        match self.next()? {
            Token::Open if depth < limits::FILTER_DEPTH_MAX => {
                let inner = self.any(depth + 1)?;
                self.takes(&Token::Close)?;
                Some(inner)
            }
            Token::Word(word) => self.comparison(&word).map(Expression::One),
            Token::Open | Token::Close | Token::Comma | Token::Text(_) => None,
        }
    }

    fn comparison(&mut self, first: &str) -> Option<Comparison> {
        let (field, operator, value) = match first.to_ascii_lowercase() {
            function if function == "contains" => {
                self.takes(&Token::Open)?;
                let field = self.word()?;
                self.takes(&Token::Comma)?;
                let value = self.text()?;
                self.takes(&Token::Close)?;
                (field.to_ascii_lowercase(), Operator::Contains, value)
            }
            function if function == "substringof" => {
                self.takes(&Token::Open)?;
                let value = self.text()?;
                self.takes(&Token::Comma)?;
                let field = self.word()?;
                self.takes(&Token::Close)?;
                (field.to_ascii_lowercase(), Operator::Contains, value)
            }
            field => (field, self.operator()?, self.value()?),
        };
        Some(Comparison { field, operator, value })
    }

    fn operator(&mut self) -> Option<Operator> {
        match self.word()?.to_ascii_lowercase().as_str() {
            "eq" => Some(Operator::Equals),
            "ge" => Some(Operator::AtLeast),
            "le" => Some(Operator::AtMost),
            _ => None,
        }
    }

    fn value(&mut self) -> Option<String> {
        match (self.next()?, self.bare) {
            (Token::Text(value), _) | (Token::Word(value), BareValues::Taken) => Some(value),
            (Token::Word(_) | Token::Open | Token::Close | Token::Comma, _) => None,
        }
    }
}

/// What stands alone is not joined.
fn joined(
    mut parts: Vec<Expression>,
    join: impl FnOnce(Vec<Expression>) -> Expression,
) -> Option<Expression> {
    if parts.len() == 1 { parts.pop() } else { Some(join(parts)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(field: &str, operator: Operator, value: &str) -> Expression {
        let (field, value) = (field.to_owned(), value.to_owned());
        Expression::One(Comparison { field, operator, value })
    }

    fn equals(value: &str) -> Expression {
        one("name", Operator::Equals, value)
    }

    #[test]
    fn and_binds_more_tightly_than_or() {
        let read = |text: &str| expression(text).unwrap();
        assert_eq!(
            read("name eq 'a' or NAME EQ 'b' and name eq 'c''d'"),
            Expression::Any(vec![equals("a"), Expression::All(vec![equals("b"), equals("c'd")])])
        );
        assert_eq!(
            read("(name eq 'a' or name eq 'b') and name eq 'c and d'"),
            Expression::All(vec![
                Expression::Any(vec![equals("a"), equals("b")]),
                equals("c and d")
            ])
        );
    }

    #[test]
    fn a_comparison_is_of_a_field_and_a_value() {
        for (text, expected) in [
            ("contains( resourceGroup,'rg')", one("resourcegroup", Operator::Contains, "rg")),
            ("substringof('v1', name)", one("name", Operator::Contains, "v1")),
            ("time ge '1'", one("time", Operator::AtLeast, "1")),
            ("((time le ''))", one("time", Operator::AtMost, "")),
        ] {
            assert_eq!(expression(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let deep = |depth: usize| format!("{}name eq 'a'{}", "(".repeat(depth), ")".repeat(depth));
        assert!(expression(&deep(limits::FILTER_DEPTH_MAX)).is_ok());
        for wrong in [
            "",
            "name",
            "name eq a",
            "name eq 'a",
            "name eq'a'",
            "name ne 'a'",
            "name eq 'a' and",
            "and name eq 'a'",
            "name eq 'a'and name eq 'b'",
            "name eq 'a' 'b'",
            "'name' eq 'a'",
            "(name eq 'a'",
            "name eq 'a')",
            "contains(name)",
            "startswith(name,'a')",
            "not name eq 'a'",
            &deep(limits::FILTER_DEPTH_MAX + 1),
        ] {
            assert!(expression(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_of_comparisons_is_joined_by_and_alone() {
        let values = |text: &str, bare| {
            let read = comparisons(text, bare).ok()?;
            Some(read.into_iter().map(|it| it.value).collect::<Vec<_>>().join(","))
        };
        for (text, bare, expected) in [
            (" ", BareValues::Refused, Some("")),
            ("a eq 'x' AND b eq 'y'", BareValues::Refused, Some("x,y")),
            (
                "a eq 2020-01-01T00:00:00.5Z and b eq 'y'",
                BareValues::Taken,
                Some("2020-01-01T00:00:00.5Z,y"),
            ),
            ("a eq x", BareValues::Refused, None),
            ("a eq 'x' or b eq 'y'", BareValues::Taken, None),
            ("a eq 'x' and (b eq 'y' or b eq 'z')", BareValues::Taken, None),
        ] {
            assert_eq!(values(text, bare).as_deref(), expected, "{text}");
        }
    }
}
