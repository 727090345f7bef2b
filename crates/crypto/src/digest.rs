//! Message digests and the comparison that takes the same time whatever it finds.

use aws_lc_rs::{constant_time, digest};

/// SHA-256 of `bytes`. Source: FIPS 180-4.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    fixed(&digest::SHA256, bytes)
}

/// SHA-1 of `bytes`: only for certificate thumbprints (`x5t`), never as a proof of anything.
/// Source: RFC 7515 section 4.1.7.
#[must_use]
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    fixed(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes)
}

/// Whether the two are the same bytes, in a time that depends on their length only.
#[must_use]
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

fn fixed<const LEN: usize>(algorithm: &'static digest::Algorithm, bytes: &[u8]) -> [u8; LEN] {
    let mut out = [0; LEN];
    // `zip` instead of `copy_from_slice`, which would panic on a length the callers above never ask
    // for.
    for (to, from) in out.iter_mut().zip(digest::digest(algorithm, bytes).as_ref()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::hex_encode;

    #[test]
    fn digests_match_the_published_examples() {
        assert_eq!(hex_encode(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex_encode(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn comparison_sees_every_byte_and_the_length() {
        assert!(constant_time_eq(b"", b""));
        assert!(constant_time_eq(b"same", b"same"));
        for other in [&b"sama"[..], b"same ", b"Same", b""] {
            assert!(!constant_time_eq(b"same", other), "{other:?}");
        }
    }
}
