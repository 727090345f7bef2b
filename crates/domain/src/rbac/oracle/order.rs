//! What a snapshot went through must not matter: only the records that stand at the end.

use proptest::prelude::*;

use super::worlds::{Records, apply};
use super::{agree, generator};
use crate::snapshot::Snapshot;

/// Puts, overwrites and deletes each key a few times, in an order that the dice decide. At the end the snapshot is that
/// of `last`; in between a key may bear its value in `former`.
fn live_through(snapshot: &mut Snapshot, former: &Records, last: &Records, dice: &[u32]) {
    let mut keys = former.keys().chain(last.keys()).collect::<Vec<_>>();
    keys.sort_unstable();
    keys.dedup();
    let mut touches = (0..3 * keys.len())
        .map(|step| {
            (
                dice[step % dice.len()].wrapping_mul(u32::try_from(2 * step + 1).unwrap()),
                step % keys.len(),
            )
        })
        .collect::<Vec<_>>();
    touches.sort_unstable();
    let mut left = vec![3; keys.len()];
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
    #[test]
    fn only_the_records_that_stand_at_the_end_decide(
        former in generator::world(),
        last in generator::world(),
        dice in prop::collection::vec(any::<u32>(), 8..32),
        seeds in prop::collection::vec(generator::seed(), 12),
    ) {
        let mut snapshot = Snapshot::default();
        live_through(&mut snapshot, &former.records(), &last.records(), &dice);
        let fresh = last.snapshot();
        for ask in seeds.iter().map(|seed| seed.ask(&last)) {
            let (lived, read) = (agree(&last, &snapshot, &ask), agree(&last, &fresh, &ask));
            prop_assert_eq!(lived.is_allowed(), read.is_allowed());
        }
        // A snapshot that was emptied again knows nothing.
        live_through(&mut snapshot, &last.records(), &Records::new(), &dice);
        for ask in seeds.iter().map(|seed| seed.ask(&last)) {
            prop_assert!(!ask.decide(&snapshot).is_allowed());
        }
    }
}
