//! What a snapshot went through must not matter: only the records that stand at the end.

use proptest::prelude::*;

use super::worlds::{Records, apply};
use super::{agree, generator};
use crate::snapshot::Snapshot;

/// Puts, overwrites and deletes each key so many times, in an order that the dice decide. At the end the snapshot is that
/// of `last`; in between a key may bear its value in `former`.
fn live_through(
    snapshot: &mut Snapshot,
    times: usize,
    former: &Records,
    last: &Records,
    dice: &[u32],
) {
    let mut keys = former.keys().chain(last.keys()).collect::<Vec<_>>();
    keys.sort_unstable();
    keys.dedup();
    let mut touches = (0..times * keys.len())
        .map(|step| {
            (
                dice[step % dice.len()].wrapping_mul(u32::try_from(2 * step + 1).unwrap()),
                step % keys.len(),
            )
        })
        .collect::<Vec<_>>();
    touches.sort_unstable();
    let mut left = vec![times; keys.len()];
    for (die, place) in touches {
        left[place] -= 1;
        let key = keys[place];
        let value = match die % 3 {
            _ if left[place] == 0 => last.get(key),
            0 => None,
            1 => last.get(key),
            _ => former.get(key),
        };
        apply(snapshot, key.clone(), value.cloned());
    }
}

proptest! {
    #![proptest_config(super::a_part_of_the_cases(2))]

    #[test]
    fn only_the_records_that_stand_at_the_end_decide(
        former in generator::world(),
        last in generator::world(),
        dice in prop::collection::vec(any::<u32>(), 8..32),
        seeds in prop::collection::vec(generator::seed(), 12),
    ) {
        let (former, records, nothing) = (former.records(), last.records(), Records::new());
        let (mut shuffled, mut lived) = (Snapshot::default(), Snapshot::default());
        live_through(&mut shuffled, 1, &nothing, &records, &dice);
        live_through(&mut lived, 3, &former, &records, &dice);
        let fresh = last.snapshot();
        let asks = seeds.iter().map(|seed| seed.ask(&last)).collect::<Vec<_>>();
        for ask in &asks {
            agree(&last, &fresh, ask);
            agree(&last, &shuffled, ask);
            agree(&last, &lived, ask);
        }
        // A snapshot that was emptied again knows nothing.
        live_through(&mut lived, 3, &records, &nothing, &dice);
        prop_assert!(asks.iter().all(|ask| !ask.decide(&lived).is_allowed()));
    }
}
