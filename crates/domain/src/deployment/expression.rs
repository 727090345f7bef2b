//! Reads a template expression. Recursive descent; each character is looked at a fixed number of times.
//!
//! ```text
//! text       := '[' expression ']'        '[[' at the front stands for '[', and the rest is no expression
//! expression := (string | integer | call) ('.' name | '[' expression ']')*
//! call       := name ('.' name)* '(' [expression (',' expression)*] ')'
//! ```
//!
//! A string stands in single quotes, and two of them in it are one.
//! Source: Azure Resource Manager, "Syntax and expressions in ARM templates".

use super::error::ExpressionError;
use crate::limits;

/// A read expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A function of arguments.
    Call(Call),
    /// A member of an object, or an item of an array.
    Member { of: Box<Self>, name: Box<Self> },
}

/// A function of arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// As it is written.
    pub(super) name: String,
    /// In their order.
    pub(super) arguments: Vec<Expression>,
}

/// What a string of a template is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TemplateText {
    /// The string itself, unescaped.
    Literal(String),
    /// An expression.
    Expression(Expression),
}

/// Whether a string of a template is an expression.
pub(super) fn is_expression(text: &str) -> bool {
    text.starts_with('[') && text.ends_with(']') && !text.starts_with("[[")
}

/// Reads a string of a template.
pub(super) fn parse(text: &str) -> Result<TemplateText, ExpressionError> {
    if !is_expression(text) {
        let literal = if text.starts_with("[[") { text.get(1..) } else { Some(text) };
        return Ok(TemplateText::Literal(literal.unwrap_or_default().to_owned()));
    }
    if text.len() > limits::EXPRESSION_BYTES_MAX {
        return Err(ExpressionError::TooLong);
    }
    let mut parser = Parser { text, rest: text.get(1..).unwrap_or_default(), height: 0 };
    let expression = parser.expression(0)?;
    parser.expect("]", "RightSquareBracket")?;
    if !parser.rest.is_empty() {
        return Err(parser.error("EndOfData"));
    }
    Ok(TemplateText::Expression(expression))
}

struct Parser<'a> {
    text: &'a str,
    /// What is not read yet.
    rest: &'a str,
    /// How high the tree is that was read last: members and arguments stand on each other, and whoever walks the tree, or
    /// drops it, takes stack for each.
    height: usize,
}

impl<'a> Parser<'a> {
    fn expression(&mut self, depth: usize) -> Result<Expression, ExpressionError> {
        if depth > limits::EXPRESSION_DEPTH_MAX {
            return Err(ExpressionError::TooDeep);
        }
        self.height = 0;
        let mut expression = self.operand(depth)?;
        let mut height = self.height + 1;
        loop {
            let name = if self.takes(".") {
                Expression::Text(self.name()?.to_owned())
            } else if self.takes("[") {
                let name = self.expression(depth + 1)?;
                height = height.max(self.height);
                self.expect("]", "RightSquareBracket")?;
                name
            } else {
                self.height = height;
                return Ok(expression);
            };
            height += 1;
            if height > limits::EXPRESSION_DEPTH_MAX {
                return Err(ExpressionError::TooDeep);
            }
            expression = Expression::Member { of: Box::new(expression), name: Box::new(name) };
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Expression, ExpressionError> {
        self.skip_blanks();
        match self.rest.chars().next() {
            Some('\'') => self.string().map(Expression::Text),
            Some(c) if c.is_ascii_digit() || c == '-' => self.integer().map(Expression::Integer),
            Some(c) if is_of_name(c) => self.call(depth).map(Expression::Call),
            _ => Err(self.error("LeftParenthesis")),
        }
    }

    fn string(&mut self) -> Result<String, ExpressionError> {
        let mut value = String::new();
        self.takes("'");
        loop {
            let Some((before, after)) = self.rest.split_once('\'') else {
                return Err(self.error("Quote"));
            };
            value.push_str(before);
            self.rest = after;
            if !self.rest.starts_with('\'') {
                return Ok(value);
            }
            value.push('\'');
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
    }

    fn integer(&mut self) -> Result<i64, ExpressionError> {
        let sign = usize::from(self.rest.starts_with('-'));
        let digits = self.rest.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
        let (number, after) = self.rest.split_at_checked(sign + digits).unwrap_or((self.rest, ""));
        let value = number.parse().map_err(|_| self.error("Integer"))?;
        self.rest = after;
        Ok(value)
    }

    fn call(&mut self, depth: usize) -> Result<Call, ExpressionError> {
        let mut name = self.name()?.to_owned();
        while self.takes(".") {
            name.push('.');
            name.push_str(self.name()?);
        }
        self.expect("(", "LeftParenthesis")?;
        let (mut arguments, mut height) = (Vec::new(), 0);
        if self.takes(")") {
            return Ok(Call { name, arguments });
        }
        loop {
            arguments.push(self.expression(depth + 1)?);
            height = height.max(self.height);
            self.height = height;
            if !self.takes(",") {
                self.expect(")", "RightParenthesis")?;
                return Ok(Call { name, arguments });
            }
        }
    }

    fn name(&mut self) -> Result<&'a str, ExpressionError> {
        self.skip_blanks();
        let end = self.rest.find(|c| !is_of_name(c)).unwrap_or(self.rest.len());
        let (name, after) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        if name.is_empty() {
            return Err(self.error("Identifier"));
        }
        self.rest = after;
        Ok(name)
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn takes(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, token: &str, name: &'static str) -> Result<(), ExpressionError> {
        if self.takes(token) { Ok(()) } else { Err(self.error(name)) }
    }

    fn error(&self, expected: &'static str) -> ExpressionError {
        ExpressionError::Syntax {
            expression: self.text.chars().take(limits::EXPRESSION_EXCERPT_CHARS_MAX).collect(),
            position: self.text.len() - self.rest.len(),
            expected,
            actual: token_name(self.rest),
        }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What stands there instead, as Resource Manager calls its tokens.
fn token_name(rest: &str) -> &'static str {
    match rest.trim_start().chars().next() {
        None => "EndOfData",
        Some('(') => "LeftParenthesis",
        Some(')') => "RightParenthesis",
        Some('[') => "LeftSquareBracket",
        Some(']') => "RightSquareBracket",
        Some(',') => "Comma",
        Some('.') => "Dot",
        Some('\'') => "StringLiteral",
        Some(c) if c.is_ascii_digit() || c == '-' => "Integer",
        Some(c) if is_of_name(c) => "Identifier",
        Some(_) => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The expression as it would be written.
    fn written(expression: &Expression) -> String {
        match expression {
            Expression::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Expression::Integer(value) => value.to_string(),
            Expression::Call(call) => {
                let arguments: Vec<String> = call.arguments.iter().map(written).collect();
                format!("{}({})", call.name, arguments.join(", "))
            }
            Expression::Member { of, name } => format!("{}[{}]", written(of), written(name)),
        }
    }

    fn check(text: &str, expected: &str) {
        let shown = match parse(text) {
            Ok(TemplateText::Literal(literal)) => format!("literal {literal}"),
            Ok(TemplateText::Expression(expression)) => written(&expression),
            Err(ExpressionError::Syntax { position, expected, actual, .. }) => {
                format!("at {position}: {expected}, not {actual}")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn a_text_is_an_expression_only_between_brackets() {
        check("plain", "literal plain");
        check("[[not(one)]", "literal [not(one)]");
        check("[open", "literal [open");
        check("", "literal ");
        check("['a']", "'a'");
    }

    #[test]
    fn calls_members_and_literals_are_read() {
        check("[concat('a', 'b''c')]", "concat('a', 'b''c')");
        check("[ f ( -12 , g() ) ]", "f(-12, g())");
        check("[parameters('x').y[0]['z']]", "parameters('x')['y'][0]['z']");
        check("[my.own(1)]", "my.own(1)");
    }

    #[test]
    fn errors_say_where_and_what_was_expected() {
        check("[concat('a']", "at 11: RightParenthesis, not RightSquareBracket");
        check("[concat('a)]", "at 9: Quote, not Identifier");
        check("[]", "at 1: LeftParenthesis, not RightSquareBracket");
        check("[name]", "at 5: LeftParenthesis, not RightSquareBracket");
        check("[f() g()]", "at 5: RightSquareBracket, not Identifier");
        check("[99999999999999999999]", "at 1: Integer, not Integer");
        check("[f().]", "at 5: Identifier, not RightSquareBracket");
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = format!("[{}1{}]", "f(".repeat(200), ")".repeat(200));
        assert_eq!(parse(&deep), Err(ExpressionError::TooDeep));
        let chain = format!("[f(){}]", ".a".repeat(200));
        assert_eq!(parse(&chain), Err(ExpressionError::TooDeep));
        // Members on arguments that have members themselves: no level is deep, the tree is.
        let bushy = (1..=58).rev().fold("createObject('a', 1)".to_owned(), |inner, depth| {
            format!("array({inner}){}", "[0]".repeat(60 - depth))
        });
        assert_eq!(parse(&format!("[{bushy}]")), Err(ExpressionError::TooDeep));
        let long = format!("['{}']", "x".repeat(limits::EXPRESSION_BYTES_MAX));
        assert_eq!(parse(&long), Err(ExpressionError::TooLong));
    }

    fn expressions() -> impl Strategy<Value = Expression> {
        let leaf = prop_oneof![
            "[ -~é]{0,8}".prop_map(Expression::Text),
            any::<i64>().prop_map(Expression::Integer)
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            let arguments = proptest::collection::vec(inner.clone(), 0..3);
            prop_oneof![
                ("[a-zA-Z][a-zA-Z0-9]{0,5}", arguments)
                    .prop_map(|(name, arguments)| Expression::Call(Call { name, arguments })),
                (inner.clone(), inner).prop_map(|(of, name)| Expression::Member {
                    of: Box::new(of),
                    name: Box::new(name)
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_expression_survives_its_text(expression in expressions()) {
            let text = format!("[{}]", written(&expression));
            prop_assert_eq!(parse(&text), Ok(TemplateText::Expression(expression)));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\[[-a-c0-9'()\\[\\]., é]{0,40}\\]?") {
            let _ = parse(&text);
        }
    }
}
