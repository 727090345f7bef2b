//! The system's randomness, for keys, nonces and ids.

/// Fills `bytes` from the system's generator.
///
/// # Panics
/// If the operating system has no randomness to give: nothing can be promised without it.
pub fn fill(bytes: &mut [u8]) {
    #[expect(clippy::expect_used, reason = "AWS-LC itself aborts before it would report this")]
    aws_lc_rs::rand::fill(bytes).expect("the system gives randomness");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        fill(&mut first);
        fill(&mut second);
        assert_ne!(first, second);
    }
}
