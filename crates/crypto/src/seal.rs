//! Sealing: secrets at rest, bound to the place they are kept in.
//! AES-256-GCM (NIST SP 800-38D) with random nonces; derived keys by HKDF-SHA256 (RFC 5869).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::random;

/// First byte of a sealed value: the form described at [`SealingKey::seal`].
const VERSION: u8 = 1;

/// Why a value was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The value is too long for one sealing (64 GiB).
    #[error("the value is too long to be sealed")]
    TooLong,
    /// Too short, or of a version this build does not know.
    #[error("the sealed value has an unknown form")]
    UnknownForm,
    /// Another key, another place, or changed bytes; which of them cannot be told.
    #[error("the sealed value does not belong to this key and place")]
    NotAuthentic,
}

/// An AES-256-GCM key that seals values; wiped on drop.
///
/// Nonces are random, so one key may seal at most 2³² values (SP 800-38D section 8.3): derive one
/// key per tenant or purpose with [`SealingKey::derive`].
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// The key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        let mut key = Self::from_bytes([0; 32]);
        random::fill(key.0.as_mut());
        key
    }

    /// The key's bytes, to be written to a key file.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key for one purpose or tenant, named by `label`: HKDF-SHA256 with the label as `info`.
    /// It says nothing about this key or about those of other labels.
    #[must_use]
    pub fn derive(&self, label: &str) -> Self {
        let mut derived = Self::from_bytes([0; 32]);
        let pseudo_random_key = Salt::new(HKDF_SHA256, b"keycard sealing key").extract(&*self.0);
        #[expect(
            clippy::expect_used,
            reason = "HKDF fails only for more than 255 blocks; this is one"
        )]
        pseudo_random_key
            .expand(&[label.as_bytes()], HKDF_SHA256)
            .and_then(|output| output.fill(derived.0.as_mut()))
            .expect("one block is derived");
        derived
    }

    /// Seals `plaintext` for `place`: version byte 1, 12-byte random nonce, ciphertext, 16-byte
    /// tag.
    ///
    /// `place` (a store key, for instance) is authenticated but not contained: the value opens only
    /// at the place it was sealed for, so it can't be moved to another record.
    ///
    /// # Errors
    /// [`SealError::TooLong`] beyond the cipher's limit.
    pub fn seal(&self, place: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        random::fill(&mut nonce);
        let key = self.cipher().ok_or(SealError::TooLong)?;
        let mut sealed =
            Vec::with_capacity(1 + NONCE_LEN + plaintext.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        let mut body = plaintext.to_vec();
        let place = Aad::from(place.as_bytes());
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), place, &mut body)
            .map_err(|_| SealError::TooLong)?;
        sealed.append(&mut body);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`SealingKey::seal`] made with the same key for the same `place`.
    ///
    /// # Errors
    /// [`SealError::UnknownForm`] or [`SealError::NotAuthentic`]; nothing of the content is given.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (&VERSION, rest) = sealed.split_first().ok_or(SealError::UnknownForm)? else {
            return Err(SealError::UnknownForm);
        };
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::UnknownForm)?;
        let key = self.cipher().ok_or(SealError::NotAuthentic)?;
        let mut body = Zeroizing::new(body.to_vec());
        let plaintext = key
            .open_in_place(Nonce::from(nonce), Aad::from(place.as_bytes()), &mut body)
            .map_err(|_| SealError::NotAuthentic)?;
        Ok(plaintext.to_vec())
    }

    /// `None` can't happen: the key has the cipher's length.
    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &*self.0).map(LessSafeKey::new).ok()
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealingKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_value_opens_at_its_place() {
        let key = SealingKey::generate();
        for plaintext in [&b""[..], b"hunter2", &[7; 10_000]] {
            let sealed = key.seal("tenant/1/secret/a", plaintext).unwrap();
            assert_eq!(sealed.len(), 1 + 12 + plaintext.len() + 16);
            assert_eq!(key.open("tenant/1/secret/a", &sealed).unwrap(), plaintext);
        }
        assert_ne!(key.seal("a", b"x").unwrap(), key.seal("a", b"x").unwrap());
    }

    #[test]
    fn moved_changed_or_foreign_value_is_refused() {
        let key = SealingKey::from_bytes([1; 32]);
        let sealed = key.seal("here", b"secret").unwrap();
        assert_eq!(key.open("there", &sealed), Err(SealError::NotAuthentic));
        assert_eq!(
            SealingKey::from_bytes([2; 32]).open("here", &sealed),
            Err(SealError::NotAuthentic)
        );
        assert_eq!(key.derive("x").open("here", &sealed), Err(SealError::NotAuthentic));
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(key.open("here", &changed).is_err(), "byte {index}");
        }
        for length in 0..sealed.len() {
            assert!(key.open("here", &sealed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn derived_keys_are_stable_and_differ_by_label() {
        let key = SealingKey::from_bytes([1; 32]);
        assert_eq!(key.derive("a").expose(), key.derive("a").expose());
        assert_ne!(key.derive("a").expose(), key.derive("b").expose());
        assert_ne!(key.derive("a").expose(), key.expose());
        assert_eq!(format!("{key:?}"), "SealingKey(…)");
    }
}
