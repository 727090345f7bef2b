//! Authorization decisions at two sizes of directory, beside a bare hash index and beside cedar-policy.
//!
//! Every question is asked once, in random order, so what it needs of the directory is mostly not in the processor's
//! caches. The question itself is: its scope has just been parsed and its action copied, as when a request brings them.
//! Each decision is timed by itself, and what reading the clock twice takes is subtracted.

mod cedar;
mod hash_index;
mod questions;

use std::hint::black_box;
use std::time::Instant;

use keycard_domain::ids::TenantId;
use keycard_domain::rbac::{Attributes, Decision, Question, RbacScope, Reason, decide};
use keycard_domain::snapshot::Snapshot;
use uuid::Uuid;

use self::hash_index::HashIndex;
use self::questions::Asked;
use super::SLICES;
use crate::load::{median, percentile};
use crate::report::{Budget, Reference, Row};
use crate::world::{CONTAINERS, World, attributes};
use crate::{Outcome, Settings};

pub(crate) const SMALL_P99: &str = "RBAC decision, p99 at 4,000 role assignments";
pub(crate) const LARGE_P99: &str = "RBAC decision, p99 at 40,000 role assignments";
pub(crate) const GROWTH: &str = "RBAC decision, p50 at 40,000 role assignments beside 4,000";
pub(crate) const SMALL_CEDAR: &str =
    "RBAC decision, p50 at 4,000 role assignments beside cedar-policy";
pub(crate) const LARGE_CEDAR: &str =
    "RBAC decision, p50 at 40,000 role assignments beside cedar-policy";

const TENANT: TenantId = TenantId::new(Uuid::from_u128(1));
/// Asked of each directory, all different.
const QUESTIONS: usize = 207_000;
/// Pairs of clock readings from which their cost is taken.
const CLOCK_READINGS: usize = 100_001;

/// A directory under measurement, with the questions asked of it.
struct Subject {
    world: World,
    snapshot: Snapshot,
    index: HashIndex,
    questions: Vec<Asked>,
    attributes: Vec<Attributes>,
    decisions: Times,
    looked_up: Times,
    parsed: Times,
    outcomes: Outcomes,
}

/// How long something took each time, microseconds: by slices, and all together.
#[derive(Default)]
struct Times {
    slices: Vec<Vec<f64>>,
}

impl Times {
    /// The median of the slices' values.
    fn at(&self, share: f64) -> f64 {
        let slices: Vec<f64> = self.slices.iter().map(|slice| percentile(slice, share)).collect();
        median(&slices)
    }

    fn note(&self, what: &str) -> String {
        let at = |share| percentile(&self.slices.concat(), share);
        let (p50, p99, p999, most) = (at(0.5), at(0.99), at(0.999), at(1.0));
        format!("{what}, of all: p50 {p50:.2} µs, p99 {p99:.2}, p99.9 {p999:.2}, longest {most:.0}")
    }
}

/// How the decisions came out.
#[derive(Default)]
struct Outcomes {
    granted: usize,
    by_condition: usize,
    not_by_condition: usize,
    denied: usize,
    refused: usize,
}

impl Outcomes {
    fn count(&mut self, decision: &Decision) {
        let counter = match decision.reason {
            Reason::Granted(_) => &mut self.granted,
            Reason::GrantedByCondition(_) => &mut self.by_condition,
            Reason::ConditionNotMet(_) | Reason::AttributeMissing(_) => &mut self.not_by_condition,
            Reason::Denied { .. } => &mut self.denied,
            Reason::NoAssignment => &mut self.refused,
        };
        *counter += 1;
    }

    fn note(&self) -> String {
        let Self { granted, by_condition, not_by_condition, denied, refused } = self;
        format!(
            "{granted} granted, {by_condition} by a condition, {not_by_condition} not for a condition, {denied} denied, \
             {refused} without an assignment"
        )
    }
}

/// Times what is done, less what the clock itself takes.
struct Stopwatch {
    own_nanos: u64,
}

impl Stopwatch {
    fn new() -> Self {
        let nothing = || Instant::now().elapsed().as_nanos() as f64;
        let readings: Vec<f64> = (0..CLOCK_READINGS).map(|_| nothing()).collect();
        Self { own_nanos: median(&readings) as u64 }
    }

    fn time<T>(&self, into: &mut Vec<f64>, what: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = black_box(what());
        let nanos = begin.elapsed().as_nanos() as u64;
        into.push(nanos.saturating_sub(self.own_nanos) as f64 / 1000.0);
        result
    }
}

impl Subject {
    fn new(assignments: usize) -> Self {
        let world = World::new(TENANT, assignments);
        Self {
            snapshot: world.snapshot(),
            index: HashIndex::new(&world),
            questions: questions::questions(&world, QUESTIONS),
            attributes: (0..CONTAINERS).map(attributes).collect(),
            world,
            decisions: Times::default(),
            looked_up: Times::default(),
            parsed: Times::default(),
            outcomes: Outcomes::default(),
        }
    }

    /// Asks a slice of the questions: the engine, then the index.
    fn slice(&mut self, stopwatch: &Stopwatch, number: usize) {
        let each = self.questions.len() / SLICES;
        let questions = &self.questions[number * each..(number + 1) * each];
        let mut parsed = Vec::with_capacity(each);
        let mut decisions = Vec::with_capacity(each);
        let mut looked_up = Vec::with_capacity(each);
        for asked in questions {
            let action = asked.action.clone();
            let scope = stopwatch.time(&mut parsed, || parse(&asked.scope));
            let question = Question {
                tenant: TENANT,
                principal: asked.principal,
                plane: asked.plane,
                action: &action,
                scope: &scope,
                sub_operation: None,
                attributes: &self.attributes[asked.attributes],
            };
            let decision = stopwatch.time(&mut decisions, || decide(&self.snapshot, &question));
            self.outcomes.count(&decision);
        }
        for asked in questions {
            let (action, scope) = (asked.action.clone(), parse(&asked.scope));
            stopwatch.time(&mut looked_up, || self.index.has(asked.principal, &action, &scope));
        }
        self.parsed.slices.push(parsed);
        self.decisions.slices.push(decisions);
        self.looked_up.slices.push(looked_up);
    }

    fn notes(&self, stopwatch: &Stopwatch) -> Vec<String> {
        let slices = self.decisions.slices.iter().map(|slice| percentile(slice, 0.99));
        let slices: Vec<f64> = slices.collect();
        let (low, high) = (percentile(&slices, 0.0), percentile(&slices, 1.0));
        vec![
            self.decisions.note("a decision"),
            self.looked_up.note("the bare hash index"),
            self.parsed.note("parsing the scope, before the decision"),
            format!("p99 {low:.2} to {high:.2} µs in {SLICES} slices"),
            format!("{} questions: {}", self.questions.len(), self.outcomes.note()),
            format!("{} ns of clock subtracted from each", stopwatch.own_nanos),
        ]
    }

    fn p99_row(&self, name: &'static str, stopwatch: &Stopwatch) -> Row {
        let index = self.looked_up.at(0.99);
        Row {
            name,
            value: self.decisions.at(0.99),
            unit: "µs",
            reference: Reference::Measured { what: "bare hash index", value: index },
            budget: Budget::ValueBelow(3.0),
            notes: self.notes(stopwatch),
        }
    }

    fn cedar_row(&self, name: &'static str, cedar: &Outcome<cedar::Cedar>) -> Row {
        let (reference, note) = match cedar {
            Ok(cedar) => match cedar.measure(&self.world, &self.questions) {
                Ok(answer) => (
                    Reference::Measured { what: "cedar-policy", value: answer.p50_micros },
                    answer.note(),
                ),
                Err(error) => (Reference::Missing(error.to_string()), String::new()),
            },
            Err(error) => (Reference::Missing(error.to_string()), String::new()),
        };
        Row {
            name,
            value: self.decisions.at(0.5),
            unit: "µs",
            reference,
            budget: Budget::None,
            notes: vec![note],
        }
    }
}

fn parse(scope: &str) -> RbacScope {
    RbacScope::parse(scope).expect("questions are about scopes")
}

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let stopwatch = Stopwatch::new();
    let (mut small, mut large) = (Subject::new(4_000), Subject::new(40_000));
    for number in 0..SLICES {
        small.slice(&stopwatch, number);
        large.slice(&stopwatch, number);
    }
    let growth = Row {
        name: GROWTH,
        value: large.decisions.at(0.5),
        unit: "µs",
        reference: Reference::Measured { what: "at 4,000", value: small.decisions.at(0.5) },
        budget: Budget::RatioAtMost(2.0),
        notes: vec![format!(
            "the bare hash index: {:.2} and {:.2} µs",
            small.looked_up.at(0.5),
            large.looked_up.at(0.5)
        )],
    };
    let mut rows =
        vec![small.p99_row(SMALL_P99, &stopwatch), large.p99_row(LARGE_P99, &stopwatch), growth];
    if settings.wants(SMALL_CEDAR) || settings.wants(LARGE_CEDAR) {
        let cedar = cedar::Cedar::build(settings);
        rows.push(small.cedar_row(SMALL_CEDAR, &cedar));
        rows.push(large.cedar_row(LARGE_CEDAR, &cedar));
    }
    Ok(rows)
}
