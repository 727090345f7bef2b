//! What of a template nobody is shown: the values of secure parameters.

use serde_json::Value;

/// Bytes of a text that is taken for a secret: a shorter one stands in other words by chance.
const SECRET_BYTES_MIN: usize = 4;

/// The texts of secure parameters, which nothing that is kept or shown may hold.
#[derive(Clone, Default)]
pub struct Hidden(Vec<String>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hidden({})", self.0.len())
    }
}

impl Hidden {
    /// How many texts there are.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Hides the texts and numbers of a value, and the names of its members.
    pub(super) fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.0.extend(spellings(text)),
            Value::Number(number) => self.0.push(number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                self.0.extend(spellings(name));
                self.add(value);
            }),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Hides what a resource gave away when it was asked for more than it shows.
    pub fn add_listed(&mut self, answer: &Value) {
        match answer {
            Value::String(text) => self.0.extend(spellings(text)),
            Value::Array(items) => items.iter().for_each(|item| self.add_listed(item)),
            Value::Object(members) => members.values().for_each(|value| self.add_listed(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A text without them: a refusal may repeat what it refuses.
    pub fn text(&self, text: &str) -> String {
        let hidden = self.0.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN);
        hidden.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// A value whose texts and numbers tell none; names of members and literals stay what they are.
    pub fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.text(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(name, value)| (name, self.value(value))).collect()
            }
            Value::Number(number) => match self.text(&number.to_string()) {
                shown if shown == number.to_string() => Value::Number(number),
                shown => shown.into(),
            },
            Value::Null | Value::Bool(_) => value,
        }
    }

    /// These and others.
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).cloned().collect())
    }
}

/// A text as it is, as a string of JSON, and as a string inside one; the longest first, which may hold the others.
fn spellings(text: &str) -> Vec<String> {
    let quoted = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
    };
    let once = quoted(text);
    let mut all = vec![quoted(&once), once, text.to_owned()];
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_is_shown_holds_what_is_hidden() {
        let mut hidden = Hidden::default();
        hidden.add(&json!({ "pin": 12_345_678, "words": ["pass\"word", "null", "abc"] }));
        assert_eq!(hidden.text("is pass\"word"), "is ***");
        assert_eq!(hidden.text(&json!("pass\"word").to_string()), "\"***\"");
        assert_eq!(hidden.text("a pin is 12345678, not abc"), "a pin is ***, not abc");
        let value = json!({ "words": null, "in": ["null", 12_345_678, 7] });
        assert_eq!(hidden.value(value), json!({ "words": null, "in": ["***", "***", 7] }));
        let mut listed = Hidden::default();
        listed.add_listed(&json!({ "keys": [{ "name": "key1", "value": "hunter2" }] }));
        assert_eq!(listed.text("keys: hunter2"), "keys: ***");
        let both = Hidden::default().and(&hidden);
        assert_eq!(both.text("null"), "***");
        assert_eq!(format!("{hidden:?}"), format!("Hidden({})", hidden.0.len()));
    }
}
