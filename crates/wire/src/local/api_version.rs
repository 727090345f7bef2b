//! The api-versions of a machine's metadata service.
//!
//! Source: Microsoft Learn, Azure Instance Metadata Service, "Supported API versions".

/// All of them, the oldest first. They are dates: later ones are greater texts too.
pub(super) const ALL: &[&str] = &[
    "2017-03-01",
    "2017-04-02",
    "2017-08-01",
    "2017-10-01",
    "2017-12-01",
    "2018-02-01",
    "2018-04-02",
    "2018-10-01",
    "2019-02-01",
    "2019-03-11",
    "2019-04-30",
    "2019-06-01",
    "2019-06-04",
    "2019-08-01",
    "2019-08-15",
    "2019-11-01",
    "2020-06-01",
    "2020-07-15",
    "2020-09-01",
    "2020-10-01",
    "2020-12-01",
    "2021-01-01",
    "2021-02-01",
    "2021-03-01",
    "2021-05-01",
    "2021-08-01",
    "2021-10-01",
    "2021-11-01",
    "2021-11-15",
    "2021-12-13",
    "2023-07-01",
    "2023-11-15",
    "2024-03-15",
    "2024-07-17",
    "2025-04-07",
];

/// The first that knows the identity category.
const IDENTITY_SINCE: &str = "2018-02-01";

/// How many of the newest a client is told of when it names none.
const NEWEST_TOLD: usize = 3;

/// The known version that a text names.
pub(super) fn known(text: &str) -> Option<&'static str> {
    ALL.iter().find(|version| **version == text).copied()
}

/// Whether tokens are asked for with this version.
pub(super) fn has_identity(text: &str) -> bool {
    known(text).is_some_and(|version| version >= IDENTITY_SINCE)
}

/// The newest ones, the newest first: clients take the first and ask again.
pub(super) fn newest() -> impl Iterator<Item = &'static str> {
    ALL.iter().rev().take(NEWEST_TOLD).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_dates_in_their_order() {
        assert!(ALL.is_sorted());
        assert!(ALL.iter().all(|version| crate::request::is_date(version)));
        assert_eq!(newest().collect::<Vec<_>>(), ["2025-04-07", "2024-07-17", "2024-03-15"]);
    }

    #[test]
    fn tokens_came_with_a_later_version_than_the_rest() {
        for (text, is_known, has_tokens) in [
            ("2017-04-02", true, false),
            ("2017-12-01", true, false),
            ("2018-02-01", true, true),
            ("2025-04-07", true, true),
            ("2025-04-08", false, false),
            ("", false, false),
            ("latest", false, false),
        ] {
            assert_eq!(
                (known(text).is_some(), has_identity(text)),
                (is_known, has_tokens),
                "{text}"
            );
        }
    }
}
