//! What is wrong with this server, if anything: said at `/health` until it is mended.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The complaints of the server's parts.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<BTreeMap<&'static str, String>>);

impl Health {
    /// Takes a part's complaint, or that it has none.
    pub(crate) fn set(&self, part: &'static str, complaint: Option<String>) {
        let mut complaints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match complaint {
            Some(complaint) => drop(complaints.insert(part, complaint)),
            None => drop(complaints.remove(part)),
        }
    }

    /// One line per complaint; empty when all is well.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let complaints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.iter().map(|(part, complaint)| format!("{part}: {complaint}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_stands_until_it_is_mended() {
        let health = Health::default();
        assert!(health.complaints().is_empty());
        health.set("b", Some("late".into()));
        health.set("a", Some("worse".into()));
        assert_eq!(health.complaints(), ["a: worse", "b: late"]);
        health.set("b", None);
        health.set("never", None);
        assert_eq!(health.complaints(), ["a: worse"]);
    }
}
