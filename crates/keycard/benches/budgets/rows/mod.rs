//! The rows, in groups that share a server.

mod cached;
mod identities;
mod mint;
mod revocation;
mod start;
mod writes;

use std::collections::BTreeMap;

use crate::report::Row;
use crate::{Outcome, Settings};

/// Slices of each measurement; an odd number has a middle.
const SLICES: usize = 9;

/// Rows that are measured together.
pub(crate) struct Group {
    pub(crate) rows: &'static [&'static str],
    pub(crate) measure: fn(&Settings) -> Outcome<Vec<Row>>,
}

/// Every row there is.
pub(crate) const GROUPS: &[Group] = &[
    Group { rows: &[cached::CPU, cached::LATENCY, cached::INSTRUCTIONS], measure: cached::measure },
    Group { rows: &[mint::METADATA, mint::ASSERTION, mint::SECRET], measure: mint::measure },
    Group { rows: &[start::START, start::BINARY], measure: start::measure },
    Group { rows: &[identities::CREATION, identities::MEMORY], measure: identities::measure },
    Group {
        rows: &[revocation::FIRST_TOKEN, revocation::ROLE, revocation::IDENTITY],
        measure: revocation::measure,
    },
    Group { rows: &[writes::WRITES], measure: writes::measure },
];

/// CPU time by kind of thread, as a note: microseconds each for `count` events.
fn by_thread(what: &str, used: &BTreeMap<String, u64>, count: f64) -> String {
    let mut parts: Vec<(&String, f64)> =
        used.iter().map(|(kind, nanos)| (kind, micros(*nanos, count))).collect();
    parts.sort_by(|left, right| right.1.total_cmp(&left.1));
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, micros)| *micros >= 0.05)
        .map(|(kind, micros)| format!("{kind} {micros:.1}"))
        .collect();
    format!("{what}, µs of CPU by thread: {}", parts.join(", "))
}

/// Microseconds for each of `count` events.
fn micros(nanos: u64, count: f64) -> f64 {
    nanos as f64 / 1000.0 / count
}

/// Adds the times of a slice to those before.
fn add(sum: &mut BTreeMap<String, u64>, slice: &BTreeMap<String, u64>) {
    for (kind, nanos) in slice {
        *sum.entry(kind.clone()).or_default() += nanos;
    }
}
