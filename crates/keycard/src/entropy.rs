//! Where ids and random bytes come from.

use keycard_crypto::random;
use keycard_domain::entropy::{Entropy, derived_id};
use uuid::Uuid;

/// Random bytes from the system; ids derived from names, so that the same template gives the same ids everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct DerivedIds;

impl Entropy for DerivedIds {
    fn fill(&self, bytes: &mut [u8]) {
        random::fill(bytes);
    }

    fn id_for(&self, name: &str) -> Uuid {
        /// The seed of an `up` that was given none.
        const SEED: u64 = 0;
        derived_id(SEED, name)
    }
}
