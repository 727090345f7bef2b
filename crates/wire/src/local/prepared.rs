//! An answer that may be given again as it is, but for `expires_in`: what the fast lane of a listener sends.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use keycard_domain::token::source::Reuse;

/// The bytes of a token answer around the digits that count down.
#[derive(Clone, Debug)]
pub struct PreparedAnswer(Arc<Prepared>);

struct Prepared {
    before: Box<str>,
    between: Box<str>,
    after: Box<str>,
    expires_on: i64,
    reuse: Reuse,
}

impl fmt::Debug for Prepared {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("expires_on", &self.expires_on).finish_non_exhaustive()
    }
}

/// The members whose values change with the clock, in their order.
const EXPIRES_IN: &str = "\"expires_in\":\"";
const EXT_EXPIRES_IN: &str = "\"ext_expires_in\":\"";

/// What stands before the digits of a member, and what stands after them.
fn split_at<'a>(body: &'a str, member: &str) -> Option<(String, &'a str)> {
    let (before, rest) = body.split_once(member)?;
    let digits = rest.find('"')?;
    Some((format!("{before}{member}"), rest.get(digits..)?))
}

impl PreparedAnswer {
    /// Splits a body at the values that count down; `None` when it has no such string members.
    pub(crate) fn split(body: &str, expires_on: i64, reuse: Reuse) -> Option<Self> {
        let (before, rest) = split_at(body, EXPIRES_IN)?;
        let (between, after) = split_at(rest, EXT_EXPIRES_IN)?;
        let (before, between) = (before.into(), between.into());
        Some(Self(Arc::new(Prepared { before, between, after: after.into(), expires_on, reuse })))
    }

    /// Whether the answer may be given at this moment, Unix seconds.
    pub fn is_good_at(&self, now: i64) -> bool {
        self.0.reuse.is_good_at(now)
    }

    /// The body at this moment, Unix seconds.
    pub fn body_at(&self, now: i64) -> Bytes {
        let Prepared { before, between, after, expires_on, .. } = self.0.as_ref();
        let left = expires_on.saturating_sub(now).max(0).to_string();
        [before, left.as_str(), between, left.as_str(), after].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keycard_domain::token::source::Licence;

    #[test]
    fn only_the_remaining_time_changes() {
        let body = r#"{"access_token":"t","expires_in":"100","expires_on":"1100","ext_expires_in":"100","resource":"r"}"#;
        let reuse = Reuse::until(1050, Licence::default());
        let prepared = PreparedAnswer::split(body, 1100, reuse.clone()).unwrap();
        assert_eq!(prepared.body_at(1000), body);
        assert_eq!(prepared.body_at(1001), body.replace("\"100\"", "\"99\""));
        assert!(!format!("{prepared:?}").contains("access_token"));
        assert!(prepared.is_good_at(1049));
        assert!(!prepared.is_good_at(1050));
        reuse.withdraw();
        assert!(!prepared.is_good_at(1000));
    }
}
