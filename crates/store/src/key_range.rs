//! Which keys a listing covers, as bounds on the byte order that both backends keep.

use keycard_domain::store::StoreKey;

/// The smallest key that starts with `prefix` and comes after `after`.
pub(crate) fn first(prefix: &str, after: Option<&StoreKey>) -> String {
    match after {
        // Nothing lies between a text and the same text with a zero byte behind it.
        Some(after) if after.as_str() >= prefix => format!("{after}\0"),
        _ => prefix.to_owned(),
    }
}

/// The smallest text behind all that start with `prefix`, or `None` when only the end of the map is.
///
/// Bumps the last character, not the last byte, so that the bound stays UTF-8; both orders are the same.
pub(crate) fn end(prefix: &str) -> Option<String> {
    let mut head = prefix.chars();
    while let Some(last) = head.next_back() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            let mut bound = head.as_str().to_owned();
            bound.push(next);
            return Some(bound);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_is_the_first_text_behind_the_prefix() {
        let cases = [
            ("", None),
            ("a", Some("b")),
            ("a/", Some("a0")),
            ("a\u{7f}", Some("a\u{80}")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
        ];
        for (prefix, expected) in cases {
            assert_eq!(end(prefix).as_deref(), expected, "{prefix:?}");
        }
    }

    #[test]
    fn first_is_the_later_of_prefix_and_after() {
        let cases = [
            ("b", None, "b"),
            ("b", Some("a"), "b"),
            ("b", Some("b"), "b\0"),
            ("b", Some("ba"), "ba\0"),
            ("b", Some("c"), "c\0"),
        ];
        for (prefix, after, expected) in cases {
            assert_eq!(first(prefix, after.map(StoreKey::new).as_ref()), expected);
        }
    }
}
