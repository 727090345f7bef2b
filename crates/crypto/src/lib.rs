//! All of keycard's cryptography behind names of its own: no other crate names a cryptographic
//! library. Nothing here reads a clock, the environment or a file; times are given, randomness is
//! the system's. The primitives are AWS-LC's (`aws-lc-rs`); X.509 is built by `rcgen` and read by
//! `x509-parser`.

pub mod bound_certificate;
mod der;
pub mod digest;
pub mod document_signer;
pub mod encoding;
pub mod jwk;
pub mod jwt;
mod public_key;
pub mod random;
pub mod seal;
pub mod secret;
pub mod signing_key;
pub mod signing_pool;
#[cfg(any(test, feature = "test-keys"))]
pub mod test_keys;
#[cfg(any(test, feature = "test-keys"))]
pub mod test_requests;
pub mod tls;
pub mod trust_store;
pub mod x509;
