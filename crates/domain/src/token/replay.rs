//! Client assertions that were used: each is good for one token.
//!
//! SDKs sign one assertion and present it for several resources until it ends (msal for Python and for Node do), so an
//! assertion counts as used for the resource that it got a token for. Source: RFC 7523, section 3, `jti`.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use keycard_crypto::digest;

use crate::limits;

/// A use of an assertion: what it was used for, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// A digest of client, assertion and purpose.
    name: [u8; 16],
    /// The assertion's `exp`, Unix seconds.
    ends_at: i64,
}

impl Use {
    /// The use of a client's assertion, named by its `jti` or its signed text, for a purpose.
    pub fn new(client: &str, assertion: &str, purpose: &[String], ends_at: i64) -> Self {
        let mut text = Vec::with_capacity(256);
        for part in [client, assertion].into_iter().chain(purpose.iter().map(String::as_str)) {
            text.extend_from_slice(&part.len().to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let mut name = [0; 16];
        name.iter_mut().zip(digest::sha256(&text)).for_each(|(byte, digest)| *byte = digest);
        Self { name, ends_at }
    }

    /// Uses are kept by the minute in which their assertions end.
    fn minute(self) -> i64 {
        self.ends_at.div_euclid(60)
    }
}

/// The uses of assertions that have not ended yet.
#[derive(Debug, Default)]
pub struct UsedAssertions(Mutex<Uses>);

#[derive(Debug, Default)]
struct Uses {
    by_minute: BTreeMap<i64, HashSet<[u8; 16]>>,
    count: usize,
}

impl UsedAssertions {
    /// Notes a use; `false` when it was made before.
    pub fn note(&self, used: Use, now: i64) -> bool {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.forget_ended(now);
        let is_new = uses.by_minute.entry(used.minute()).or_default().insert(used.name);
        uses.count += usize::from(is_new);
        is_new
    }

    /// Takes a use back that led to no token.
    pub fn take_back(&self, used: Use) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = uses.by_minute.get_mut(&used.minute());
        let was_there = minute.is_some_and(|names| names.remove(&used.name));
        uses.count -= usize::from(was_there);
    }
}

impl Uses {
    /// Drops what ended; beyond the bound also what ends next, which is the least harm.
    fn forget_ended(&mut self, now: i64) {
        let skew = limits::CLOCK_SKEW.whole_seconds();
        while let Some(minute) = self.by_minute.first_entry() {
            let has_ended = (minute.key() + 1) * 60 + skew <= now;
            if !has_ended && self.count < limits::USED_ASSERTIONS_MAX {
                return;
            }
            self.count -= minute.remove().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_is_used_once_for_each_purpose_until_it_ends() {
        let used = UsedAssertions::default();
        let one = |jti: &str, purpose: &str| Use::new("client", jti, &[purpose.into()], 6000);
        assert!(used.note(one("a", "vault"), 5000));
        assert!(!used.note(one("a", "vault"), 5001));
        assert!(!used.note(one("a", "vault"), 6000 + 299), "as long as it could be presented");
        assert!(used.note(one("a", "graph"), 5002));
        assert!(used.note(one("b", "vault"), 5003));
        assert!(used.note(Use::new("clien", "ta", &["vault".into()], 6000), 5004));
        used.take_back(one("b", "vault"));
        used.take_back(one("never", "vault"));
        assert!(used.note(one("b", "vault"), 5005));
        assert!(used.note(one("c", "vault"), 7000));
        let kept = used.0.lock().unwrap().count;
        assert_eq!(kept, 1, "what ended is forgotten");
    }
}
