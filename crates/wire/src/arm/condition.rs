//! Conditional requests: `If-Match` and `If-None-Match` read, `ETag` written.
//!
//! An entity tag is the revision that wrote the record, in quotes. Source: RFC 9110, sections 8.8.3 and 13.1.

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};
use keycard_domain::limits;
use keycard_domain::target::{Precondition, Revision, Versions};

use super::error::ArmError;

/// What the headers require of the version that is there.
pub(super) fn read(headers: &HeaderMap) -> Result<Precondition, ArmError> {
    let versions = |name: HeaderName, weak: Weak| {
        let lines: Vec<&str> = headers
            .get_all(&name)
            .iter()
            .map(|line| line.to_str().map_err(|_| malformed(&name)))
            .collect::<Result<_, _>>()?;
        match lines.as_slice() {
            [] => Ok(None),
            lines => parse(&lines.join(","), weak).map(Some).ok_or_else(|| malformed(&name)),
        }
    };
    Ok(Precondition {
        matches: versions(IF_MATCH, Weak::NeverMatches)?,
        matches_none: versions(IF_NONE_MATCH, Weak::Matches)?,
    })
}

fn malformed(name: &HeaderName) -> ArmError {
    ArmError::ConditionMalformed(if *name == IF_MATCH { "If-Match" } else { "If-None-Match" })
}

/// Adds the tag of a version.
pub(super) fn write(headers: &mut HeaderMap, version: Revision) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        headers.insert(ETAG, tag);
    }
}

/// What a weak tag is good for: to ask whether something changed, not to write on the ground of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weak {
    Matches,
    NeverMatches,
}

/// `*`, or a list of tags. Tags that are none of ours are well formed and match nothing.
fn parse(text: &str, weak: Weak) -> Option<Versions> {
    if text.trim() == "*" {
        return Some(Versions::Any);
    }
    let (mut versions, mut tags) = (Vec::new(), 0);
    let mut rest = text.trim_start_matches(is_between);
    while !rest.is_empty() {
        let strong = rest.strip_prefix("W/");
        let (tag, after) = strong.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        let is_tag = tag.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e));
        let after_tag = after.trim_start_matches([' ', '\t']);
        tags += 1;
        if !is_tag || tags > limits::ENTITY_TAGS_MAX || !is_end_of_tag(after_tag) {
            return None;
        }
        if strong.is_none() || weak == Weak::Matches {
            versions.extend(revision(tag));
        }
        rest = after_tag.trim_start_matches(is_between);
    }
    (tags > 0).then_some(Versions::These(versions))
}

fn is_between(c: char) -> bool {
    matches!(c, ' ' | '\t' | ',')
}

fn is_end_of_tag(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(',')
}

/// The revision of a tag of ours.
fn revision(tag: &str) -> Option<Revision> {
    tag.parse().ok().map(Revision).filter(|revision| revision.to_string() == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: Option<(Option<Versions>, Option<Versions>)>) {
        let (mut strong, mut weak) = (HeaderMap::new(), HeaderMap::new());
        for line in lines {
            strong.append(IF_MATCH, line.parse().unwrap());
            weak.append(IF_NONE_MATCH, line.parse().unwrap());
        }
        let read = |headers| read(headers).map(|it: Precondition| it.matches.or(it.matches_none));
        let found = (read(&strong), read(&weak));
        match expected {
            Some((matches, matches_none)) => {
                assert_eq!(found, (Ok(matches), Ok(matches_none)), "{lines:?}");
            }
            None => assert!(found.0.is_err() && found.1.is_err(), "{lines:?}"),
        }
    }

    #[test]
    fn tags_are_read_from_lists_and_what_is_none_is_refused() {
        let these = |numbers: &[u64]| {
            Some(Versions::These(numbers.iter().copied().map(Revision).collect()))
        };
        let both = |numbers: &[u64]| Some((these(numbers), these(numbers)));
        check(&[], Some((None, None)));
        check(&["*"], Some((Some(Versions::Any), Some(Versions::Any))));
        check(&["\"7\""], both(&[7]));
        check(&["\"7\", \"8\"", " ,\"9\""], both(&[7, 8, 9]));
        check(&["W/\"7\""], Some((these(&[]), these(&[7]))));
        check(&["\"07\", \"+7\", \"seven\", \"a,b\", \"\""], both(&[]));
        for wrong in
            ["", ",", "7", "\"7", "\"7\"\"8\"", "\"7\" 8", "*, \"7\"", "w/\"7\"", "\"a b\""]
        {
            check(&[wrong], None);
        }
        check(&[&"\"7\",".repeat(limits::ENTITY_TAGS_MAX + 1)], None);
    }

    #[test]
    fn a_tag_that_was_written_is_read_again() {
        let mut headers = HeaderMap::new();
        write(&mut headers, Revision(u64::MAX));
        let tag = headers.remove(ETAG).unwrap();
        headers.insert(IF_MATCH, tag);
        let expected = Some(Versions::These(vec![Revision(u64::MAX)]));
        assert_eq!(read(&headers).unwrap().matches, expected);
    }
}
