//! The rows, in groups that share a server.

mod assignments;
mod cached;
mod decision;
mod expiry;
mod identities;
mod local;
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
    /// It takes a minute or more, so it is measured only when it is named.
    pub(crate) is_long: bool,
}

impl Group {
    const fn new(
        rows: &'static [&'static str],
        measure: fn(&Settings) -> Outcome<Vec<Row>>,
    ) -> Self {
        Self { rows, measure, is_long: false }
    }
}

/// Every row there is.
pub(crate) const GROUPS: &[Group] = &[
    Group::new(&[cached::CPU, cached::LATENCY, cached::INSTRUCTIONS], cached::measure),
    Group::new(&[local::PROBE, local::IDLE, local::RUN], local::measure),
    Group::new(&[mint::METADATA, mint::ASSERTION, mint::SECRET], mint::measure),
    Group::new(&[expiry::NEW_TOKENS], expiry::measure),
    Group::new(&[start::START, start::BINARY], start::measure),
    Group::new(&[identities::CREATION, identities::MEMORY], identities::measure),
    Group::new(
        &[revocation::FIRST_TOKEN, revocation::ROLE, revocation::IDENTITY],
        revocation::measure,
    ),
    Group::new(&[writes::WRITES], writes::measure),
    Group::new(
        &[
            decision::SMALL_P99,
            decision::LARGE_P99,
            decision::GROWTH,
            decision::SMALL_CEDAR,
            decision::LARGE_CEDAR,
        ],
        decision::measure,
    ),
    Group {
        is_long: true,
        ..Group::new(&[assignments::RESTART, assignments::MEMORY], assignments::measure)
    },
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
