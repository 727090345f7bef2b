//! A second engine, written from the published rules alone, and the questions on which both must agree.
//!
//! [`evaluator`] says the rules, [`condition`] those of conditions, [`worlds`] what they are about, [`generator`] makes
//! it up, [`twins`] misses a grant by a hair, [`built_in`] asks for every pattern of every built-in role,
//! [`order`] lets a snapshot go through many changes first.
//! `PROPTEST_CASES` says how many worlds are made up.

mod built_in;
mod condition;
mod evaluator;
mod generator;
mod order;
mod twins;
mod worlds;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use evaluator::{Verdict, evaluate};
use twins::TwinCounts;
use worlds::{Ask, World, assignment_number, deny_number};

use crate::rbac::{Decision, Reason};
use crate::snapshot::Snapshot;

/// Asks both, and stops where they differ. The reason has to be one that the rules give.
fn agree(world: &World, snapshot: &Snapshot, ask: &Ask) -> Decision {
    let verdict = evaluate(world, ask);
    let decision = ask.decide(snapshot);
    assert_eq!(decision.is_allowed(), verdict.is_allowed(), "{decision:?}\n{verdict:?}\n{ask:#?}");
    assert!(gives(&verdict, &decision.reason), "{decision:?}\n{verdict:?}\n{ask:#?}");
    decision
}

/// Whether the rules give this reason. Which of several assignments is named is the engine's choice, and so is the
/// reason where one fails for its condition and another for an attribute.
fn gives(verdict: &Verdict, reason: &Reason) -> bool {
    match reason {
        Reason::Granted(by) => verdict.granting.contains(&assignment_number(by)),
        Reason::GrantedByCondition(by) => {
            verdict.granting.is_empty()
                && verdict.granting_by_condition.contains(&assignment_number(by))
        }
        Reason::Denied { deny, assignment } => {
            let number = assignment_number(assignment);
            verdict.denying.contains(&deny_number(deny))
                && (verdict.granting.contains(&number)
                    || verdict.granting_by_condition.contains(&number))
        }
        Reason::ConditionNotMet(by) => {
            !verdict.grants() && verdict.not_met.contains(&assignment_number(by))
        }
        Reason::AttributeMissing(by) => {
            !verdict.grants() && verdict.missing.contains(&assignment_number(by))
        }
        Reason::NoAssignment => {
            !verdict.grants() && verdict.not_met.is_empty() && verdict.missing.is_empty()
        }
    }
}

/// For tests whose cases are dear.
fn a_part_of_the_cases(divisor: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.div_ceil(divisor), ..config }
}

/// How often each reason was given.
#[derive(Debug, Default)]
struct Counts {
    granted: u32,
    granted_by_condition: u32,
    no_assignment: u32,
    condition_not_met: u32,
    attribute_missing: u32,
    denied: u32,
}

impl Counts {
    fn count(&mut self, reason: &Reason) {
        let counter = match reason {
            Reason::Granted(_) => &mut self.granted,
            Reason::GrantedByCondition(_) => &mut self.granted_by_condition,
            Reason::NoAssignment => &mut self.no_assignment,
            Reason::ConditionNotMet(_) => &mut self.condition_not_met,
            Reason::AttributeMissing(_) => &mut self.attribute_missing,
            Reason::Denied { .. } => &mut self.denied,
        };
        *counter += 1;
    }

    const fn allowed(&self) -> u32 {
        self.granted + self.granted_by_condition
    }

    const fn asked(&self) -> u32 {
        self.allowed() + self.refused()
    }

    const fn refused(&self) -> u32 {
        self.no_assignment + self.condition_not_met + self.attribute_missing + self.denied
    }
}

#[test]
fn the_questions_are_neither_all_granted_nor_all_refused() {
    let mut runner = TestRunner::deterministic();
    let strategy = (generator::world(), prop::collection::vec(generator::seed(), 12));
    let mut counts = Counts::default();
    for _ in 0..250 {
        let (world, seeds) = strategy.new_tree(&mut runner).unwrap().current();
        let snapshot = world.snapshot();
        for seed in seeds {
            counts.count(&agree(&world, &snapshot, &seed.ask(&world)).reason);
        }
    }
    let (allowed, refused) = (counts.allowed(), counts.refused());
    let questions = allowed + refused;
    println!("{questions} questions: {allowed} allowed, {refused} refused: {counts:?}");
    assert!(allowed * 4 >= questions && refused * 4 >= questions, "{counts:?}");
    let rarest = [
        counts.granted_by_condition,
        counts.condition_not_met,
        counts.attribute_missing,
        counts.denied,
    ];
    assert!(rarest.into_iter().all(|count| count * 100 >= questions), "{counts:?}");
}

#[test]
fn near_misses_are_told_from_grants() {
    let mut runner = TestRunner::deterministic();
    let strategy = (generator::world(), prop::collection::vec(generator::seed(), 4));
    let mut counts = TwinCounts::default();
    let mut grants = 0;
    for _ in 0..60 {
        let (world, seeds) = strategy.new_tree(&mut runner).unwrap().current();
        grants += try_twins(&world, &seeds, &mut counts);
    }
    println!("{grants} grants with twins: {counts:?}");
    assert!(grants > 20 && counts.allowed > 1000 && counts.refused > 1000, "{grants}: {counts:?}");
}

/// Tries the twins of the first question that is granted; says how many that were.
fn try_twins(world: &World, seeds: &[generator::Seed], counts: &mut TwinCounts) -> u32 {
    let snapshot = world.snapshot();
    let asks = seeds.iter().map(|seed| seed.ask(world));
    let mut granted = asks.filter(|ask| ask.decide(&snapshot).is_allowed());
    let Some(ask) = granted.next() else { return 0 };
    twins::around_a_grant(world, &snapshot, &ask, counts);
    twins::around_a_plain_grant(world, &ask, counts);
    1
}

proptest! {
    #![proptest_config(a_part_of_the_cases(8))]

    #[test]
    fn engine_and_oracle_agree_on_near_misses(
        world in generator::world(),
        seeds in prop::collection::vec(generator::seed(), 4),
    ) {
        try_twins(&world, &seeds, &mut TwinCounts::default());
    }
}

proptest! {
    #[test]
    fn engine_and_oracle_agree(
        world in generator::world(),
        seeds in prop::collection::vec(generator::seed(), 12),
    ) {
        let snapshot = world.snapshot();
        for seed in seeds {
            agree(&world, &snapshot, &seed.ask(&world));
        }
    }
}
