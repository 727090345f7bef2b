//! An answer that may be given again as it is, but for `expires_in`: what the fast lane of a listener sends.

use std::sync::Arc;

use bytes::Bytes;
use keycard_domain::token::source::Reuse;

/// The bytes of a token answer before and after the digits of `expires_in`.
#[derive(Clone, Debug)]
pub struct PreparedAnswer(Arc<Prepared>);

#[derive(Debug)]
struct Prepared {
    before: Box<str>,
    after: Box<str>,
    expires_on: i64,
    reuse: Reuse,
}

/// The member whose value changes with the clock.
const EXPIRES_IN: &str = "\"expires_in\":\"";

impl PreparedAnswer {
    /// Splits a body at the value of `expires_in`; `None` when it has no such string member.
    pub(crate) fn split(body: &str, expires_on: i64, reuse: Reuse) -> Option<Self> {
        let (before, rest) = body.split_once(EXPIRES_IN)?;
        let (_, after) = rest.split_once('"')?;
        Some(Self(Arc::new(Prepared {
            before: format!("{before}{EXPIRES_IN}").into(),
            after: format!("\"{after}").into(),
            expires_on,
            reuse,
        })))
    }

    /// Whether the answer may be given at this moment, Unix seconds.
    pub fn is_good_at(&self, now: i64) -> bool {
        self.0.reuse.is_good_at(now)
    }

    /// The body at this moment, Unix seconds.
    pub fn body_at(&self, now: i64) -> Bytes {
        let expires_in = self.0.expires_on.saturating_sub(now).max(0).to_string();
        let mut body =
            String::with_capacity(self.0.before.len() + expires_in.len() + self.0.after.len());
        body.push_str(&self.0.before);
        body.push_str(&expires_in);
        body.push_str(&self.0.after);
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_remaining_time_changes() {
        let body = r#"{"access_token":"t","expires_in":"100","resource":"r"}"#;
        let reuse = Reuse::until(1050);
        let prepared = PreparedAnswer::split(body, 1100, reuse.clone()).unwrap();
        assert_eq!(prepared.body_at(1000), body);
        assert_eq!(prepared.body_at(1001), body.replace("100", "99"));
        assert!(prepared.is_good_at(1049));
        assert!(!prepared.is_good_at(1050));
        reuse.withdraw();
        assert!(!prepared.is_good_at(1000));
    }
}
