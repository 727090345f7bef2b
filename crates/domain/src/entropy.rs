//! The entropy port: randomness and new ids are given, never drawn.

use std::fmt;

use uuid::Uuid;

/// Gives random bytes, and ids for things that come into being.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills the buffer with bytes nobody can guess.
    fn fill(&self, bytes: &mut [u8]);

    /// The id of a new thing.
    ///
    /// `up` derives it from the thing's name, so that the same template gives the same ids on every machine;
    /// `serve` draws it. The name therefore has to be new each time: it holds the thing's generation.
    fn id_for(&self, name: &str) -> Uuid;

    /// A random identifier: a correlation id, a request id, the version of a secret.
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// Reproducible ids and bytes: ids are UUIDv5 of their name, bytes are the digests of a counter.
///
/// For tests and for `up --seed`.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    drawn: std::sync::atomic::AtomicU64,
}

impl SeededEntropy {
    /// The same seed gives the same ids and bytes, in the order they are asked for.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: std::sync::atomic::AtomicU64::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let counter = self.drawn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let block = format!("keycard seeded entropy {} {counter}", self.seed);
            let digest = keycard_crypto::digest::sha256(block.as_bytes());
            for (byte, random) in chunk.iter_mut().zip(digest) {
                *byte = random;
            }
        }
    }

    fn id_for(&self, name: &str) -> Uuid {
        derived_id(self.seed, name)
    }
}

/// The id that `up` gives to a name: UUIDv5 below a namespace of keycard's own.
pub fn derived_id(seed: u64, name: &str) -> Uuid {
    /// Drawn once; a change would change every id that `up` gives.
    const NAMESPACE: Uuid = Uuid::from_u128(0x5b2e_0c1f_8f61_4c0e_9c39_7d7e_4b1a_60d2);
    Uuid::new_v5(&NAMESPACE, format!("{seed}\n{name}").as_bytes())
}
