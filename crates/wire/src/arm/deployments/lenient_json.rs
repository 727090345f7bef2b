//! JSON as template files have it: comments, commas before a closing bracket, line breaks in strings, names without
//! quotes. Azure CLI sends the file as it is, below a name without quotes.
//!
//! Source: Azure Resource Manager, "Understand the structure and syntax of ARM templates", "Comments and metadata",
//! "Multi-line strings"; az-cli 2.91, the body of `deployment group create`.

use keycard_domain::limits;
use serde_json::{Map, Number, Value};

/// Why a text is no JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line}, position {column}")]
pub(super) struct SyntaxError {
    reason: &'static str,
    line: usize,
    column: usize,
}

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Value, SyntaxError> {
    Reader::new(text, "").whole()
}

/// Line and column, from 1, at which the value at a path stands, counted from where the value at the base does; of the
/// nearest one around it when there is none at the path.
pub(super) fn position(text: &str, base: &str, path: &str) -> (usize, usize) {
    let offset = |path: &str| {
        let mut reader = Reader::new(text, path);
        let _ = reader.whole();
        reader.found.1
    };
    let start = offset(base);
    let below = if path.is_empty() { base.to_owned() } else { format!("{base}.{path}") };
    let between = text.get(start..offset(&below).max(start)).unwrap_or_default();
    line_and_column(between)
}

fn line_and_column(before: &str) -> (usize, usize) {
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count() + 1)
}

struct Reader<'a> {
    text: &'a str,
    /// What is not read yet.
    rest: &'a str,
    path: String,
    /// The path whose value's place is wanted.
    sought: &'a str,
    /// The length of the longest path towards it that was met, and the place of its value.
    found: (usize, usize),
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, sought: &'a str) -> Self {
        Self { text, rest: text, path: String::new(), sought, found: (0, 0) }
    }

    fn whole(&mut self) -> Result<Value, SyntaxError> {
        let value = self.value(0)?;
        self.skip_blanks()?;
        if self.rest.is_empty() { Ok(value) } else { Err(self.error("expected the end")) }
    }

    fn error(&self, reason: &'static str) -> SyntaxError {
        let read = self.text.len() - self.rest.len();
        let (line, column) = line_and_column(self.text.get(..read).unwrap_or_default());
        SyntaxError { reason, line, column }
    }

    /// Notes where a value on the way to the sought one stands.
    fn note(&mut self) {
        let is_towards = self
            .sought
            .strip_prefix(&*self.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        if is_towards && self.path.len() > self.found.0 {
            self.found = (self.path.len(), self.text.len() - self.rest.len());
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.skip_blanks()?;
        self.note();
        if depth > limits::TEMPLATE_DEPTH_MAX {
            return Err(self.error("the values are nested too deeply"));
        }
        match self.rest.chars().next() {
            Some('{') => self.object(depth).map(Value::Object),
            Some('[') => self.array(depth).map(Value::Array),
            Some('"') => self.string().map(Value::String),
            Some(_) => self.word(),
            None => Err(self.error("expected a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Map<String, Value>, SyntaxError> {
        let mut members = Map::new();
        self.takes("{");
        loop {
            self.skip_blanks()?;
            if self.takes("}") {
                return Ok(members);
            }
            let name = self.name()?;
            self.skip_blanks()?;
            if !self.takes(":") {
                return Err(self.error("expected `:`"));
            }
            let length = self.path.len();
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(&name);
            let value = self.value(depth + 1)?;
            self.path.truncate(length);
            members.insert(name, value);
            self.skip_blanks()?;
            if !self.takes(",") && !self.rest.starts_with('}') {
                return Err(self.error("expected `,` or `}`"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, SyntaxError> {
        let mut items = Vec::new();
        self.takes("[");
        loop {
            self.skip_blanks()?;
            if self.takes("]") {
                return Ok(items);
            }
            let length = self.path.len();
            self.path.push_str(&format!("[{}]", items.len()));
            items.push(self.value(depth + 1)?);
            self.path.truncate(length);
            self.skip_blanks()?;
            if !self.takes(",") && !self.rest.starts_with(']') {
                return Err(self.error("expected `,` or `]`"));
            }
        }
    }

    fn name(&mut self) -> Result<String, SyntaxError> {
        if self.rest.starts_with('"') {
            return self.string();
        }
        let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let end = self.rest.find(|c| !is_of_name(c)).unwrap_or(self.rest.len());
        let (name, after) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        if name.is_empty() {
            return Err(self.error("expected a name"));
        }
        self.rest = after;
        Ok(name.to_owned())
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let mut is_escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, c)| {
            let is_end = *c == '"' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            is_end
        });
        let Some((end, _)) = end else { return Err(self.error("the string has no end")) };
        let (quoted, after) = self.rest.split_at_checked(end + 1).unwrap_or((self.rest, ""));
        let has_breaks = quoted.contains(|c: char| c.is_control());
        let quoted = if has_breaks { escaped(quoted) } else { quoted.to_owned() };
        let string =
            serde_json::from_str(&quoted).map_err(|_| self.error("the string is malformed"))?;
        self.rest = after;
        Ok(string)
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Value, SyntaxError> {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = self.rest.find(|c| !is_of_word(c)).unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            number => match serde_json::from_str::<Number>(number) {
                Ok(number) => Value::Number(number),
                Err(_) => return Err(self.error("expected a value")),
            },
        };
        self.rest = after;
        Ok(value)
    }

    fn takes(&mut self, token: &str) -> bool {
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            self.rest =
                self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            let after = if self.rest.starts_with("//") {
                Some(self.rest.split_once('\n').map_or("", |(_, after)| after))
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                comment.split_once("*/").map(|(_, after)| after)
            } else {
                return Ok(());
            };
            self.rest = after.ok_or_else(|| self.error("the comment has no end"))?;
        }
    }
}

/// Control characters as JSON escapes them.
fn escaped(quoted: &str) -> String {
    let mut out = String::new();
    for c in quoted.chars() {
        if c.is_control() {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(text: &str, expected: Result<Value, &str>) {
        let read = parse(text).map_err(|error| error.to_string());
        assert_eq!(read, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn template_files_are_read_as_people_write_them() {
        check(
            r#"{"a": [1, -2.5e1, true, null, "x\"y"]}"#,
            Ok(json!({ "a": [1, -25.0, true, null, "x\"y"] })),
        );
        check("{a: 1, // one\n /* two */ \"b\": [2,],}", Ok(json!({ "a": 1, "b": [2] })));
        check("\"one\ntwo\"", Ok(json!("one\ntwo")));
        check("{", Err("expected a name at line 1, position 2"));
        check("{\n \"a\" 1}", Err("expected `:` at line 2, position 6"));
        check("[1 2]", Err("expected `,` or `]` at line 1, position 4"));
        check("\"open", Err("the string has no end at line 1, position 1"));
        check("/* open", Err("the comment has no end at line 1, position 1"));
        check("{} x", Err("expected the end at line 1, position 4"));
        check("nope", Err("expected a value at line 1, position 1"));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(parse(&deep).unwrap_err().reason.contains("too deeply"));
    }

    #[test]
    fn a_path_leads_to_its_line_and_column() {
        let text =
            "{\"properties\": { template: {\n  \"resources\": [\n    { \"name\": \"x\" }\n  ]\n}}}";
        let at = |path| position(text, "properties.template", path);
        assert_eq!(at(""), (1, 1));
        assert_eq!(at("resources"), (2, 16));
        assert_eq!(at("resources[0].name"), (3, 15));
        assert_eq!(at("resources[0].type"), (3, 5));
    }

    proptest::proptest! {
        #[test]
        fn what_json_writes_is_read_back(text in "[ -~\n\té\"\\\\]{0,20}", number: i64) {
            let value = json!({ "a b": [text, number, { "c": null }] });
            proptest::prop_assert_eq!(parse(&value.to_string()), Ok(value));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[{}\\[\\]a:,\"/*\\\\ \n0-1é]{0,40}") {
            let _ = parse(&text);
            let _ = position(&text, "a", "a[0].a");
        }
    }
}
