//! Secret text: client secrets, keys and codes that must never reach a log.

use std::fmt;

use zeroize::Zeroizing;

use crate::digest::{constant_time_eq, sha256};

/// Text that only its user may read: wiped from memory on drop, never printed or serialised.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over the text; the caller keeps no copy.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Search for this name to find every place that handles it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `presented` is this secret. Digests are compared, so the time taken tells neither
    /// content nor length of the secret.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        constant_time_eq(&sha256(self.0.as_bytes()), &sha256(presented.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_matches_itself_only_and_is_not_printed() {
        let secret = Secret::new("correct horse".to_owned());
        assert!(secret.matches("correct horse"));
        for other in ["", "correct", "correct horse ", "Correct horse"] {
            assert!(!secret.matches(other), "{other}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.expose(), "correct horse");
    }
}
