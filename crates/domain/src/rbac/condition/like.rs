//! The patterns of `StringLike`, and how texts are compared when case is ignored.
//!
//! `*` is any run of characters, `?` is one; `\*` and `\?` are the characters themselves, and any other backslash is
//! just that. Only a text that is written in a condition is a pattern.

/// Whether `A` and `a` are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Counts,
    Ignored,
}

impl Case {
    /// The character that stands for its other forms. Ignoring case is by Unicode's lower case, character by character:
    /// one that has no single lower-case character stays as it is, so the length of a text never changes.
    fn fold(self, character: char) -> char {
        match self {
            Self::Counts => character,
            Self::Ignored if character.is_ascii() => character.to_ascii_lowercase(),
            Self::Ignored => {
                let mut lowercase = character.to_lowercase();
                match (lowercase.next(), lowercase.next()) {
                    (Some(single), None) => single,
                    _ => character,
                }
            }
        }
    }

    pub(super) fn equals(self, one: &str, other: &str) -> bool {
        match self {
            Self::Counts => one == other,
            Self::Ignored => {
                one.chars().map(|c| self.fold(c)).eq(other.chars().map(|c| self.fold(c)))
            }
        }
    }

    pub(super) fn starts_with(self, text: &str, start: &str) -> bool {
        let mut text = text.chars().map(|c| self.fold(c));
        start.chars().all(|c| text.next() == Some(self.fold(c)))
    }
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct LikePattern {
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Any run of characters, also none.
    Run,
    /// One character, whichever.
    One,
    /// This character.
    Exactly(char),
}

impl LikePattern {
    pub(super) fn new(text: &str) -> Self {
        let mut parts = Vec::with_capacity(text.len());
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let part = match character {
                '*' => Part::Run,
                '?' => Part::One,
                '\\' => {
                    let escaped = characters.next_if(|next| matches!(next, '*' | '?'));
                    Part::Exactly(escaped.unwrap_or('\\'))
                }
                other => Part::Exactly(other),
            };
            if part != Part::Run || parts.last() != Some(&Part::Run) {
                parts.push(part);
            }
        }
        Self { parts }
    }

    /// Whether the whole text fits. Only the last `*` that was met is ever tried again, one character further each
    /// time, so this takes at most pattern times text steps.
    pub(super) fn matches(&self, text: &str, case: Case) -> bool {
        let mut parts = self.parts.as_slice();
        let mut rest = text.chars();
        let mut retry = None;
        loop {
            match parts.split_first() {
                None if rest.as_str().is_empty() => return true,
                Some((Part::Run, [])) => return true,
                Some((Part::Run, after)) => {
                    retry = Some((after, rest.clone()));
                    parts = after;
                    continue;
                }
                Some((part, after)) if takes(*part, case, &mut rest) => {
                    parts = after;
                    continue;
                }
                _ => {}
            }
            let Some((after, mut from)) = retry.take() else { return false };
            if from.next().is_none() {
                return false;
            }
            retry = Some((after, from.clone()));
            (parts, rest) = (after, from);
        }
    }
}

/// Takes one character, if it fits. What is taken in vain is read again from the last `*`.
fn takes(part: Part, case: Case, rest: &mut std::str::Chars<'_>) -> bool {
    rest.next().is_some_and(|character| match part {
        Part::Run | Part::One => true,
        Part::Exactly(wanted) => case.fold(character) == case.fold(wanted),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        let matches = LikePattern::new(pattern).matches(text, Case::Counts);
        assert_eq!(matches, expected, "{pattern} on {text}");
    }

    #[test]
    fn wildcards_mean_what_azure_says() {
        check("a*c?", "abcd", true);
        check("A*C?", "abcd", false);
        check("a*c", "abcd", false);
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("?", "", false);
        check("?", "ä", true);
        check("logs/*", "logs/", true);
        check("logs/*", "logs/a/b", true);
        check("*/b", "logs/a/b", true);
        check("a*a", "a", false);
        check("*ab*ab", "ab-aab", true);
        check("**?*", "x", true);
    }

    #[test]
    fn an_escaped_wildcard_is_itself() {
        check(r"a\*", "a*", true);
        check(r"a\*", "ab", false);
        check(r"a\?", "a?", true);
        check(r"a\?", "ab", false);
        check(r"a\b", r"a\b", true);
        check(r"a\", r"a\", true);
        check(r"a\\*", r"a\*", true);
        check(r"a\\*", r"a\b", false);
    }

    #[test]
    fn case_is_ignored_beyond_ascii() {
        assert!(Case::Ignored.equals("KÖLN", "köln"));
        assert!(!Case::Counts.equals("KÖLN", "köln"));
        assert!(Case::Ignored.starts_with("KÖLN/x", "köln"));
        assert!(!Case::Ignored.starts_with("KÖ", "köln"));
        assert!(LikePattern::new("KÖ?N*").matches("köLn/x", Case::Ignored));
        assert!(LikePattern::new("?").matches("İ", Case::Ignored));
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = LikePattern::new(&"*a".repeat(1000));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(3000)), Case::Counts));
    }

    /// Whether the text fits, by trying everything.
    fn fits(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', after @ ..] => (0..=text.len()).any(|taken| fits(after, &text[taken..])),
            ['?', after @ ..] => !text.is_empty() && fits(after, &text[1..]),
            [wanted, after @ ..] => text.first() == Some(wanted) && fits(after, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_trying_everything_finds(
            pattern in "[ab*?]{0,8}", text in "[ab]{0,10}",
        ) {
            let naive = fits(
                &pattern.chars().collect::<Vec<_>>(),
                &text.chars().collect::<Vec<_>>(),
            );
            prop_assert_eq!(LikePattern::new(&pattern).matches(&text, Case::Counts), naive);
        }
    }
}
