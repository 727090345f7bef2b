//! When a credential is renewed: from day 45 of its 90, so that both are valid in the overlap; and when it is said aloud
//! that it was not.
//!
//! A pure function of (validity, now). Source: the brief, row 4; Microsoft Learn, managed identities FAQ.

use time::UtcDateTime;

use crate::limits;

/// What a credential's age asks for. Later is more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Renewal {
    /// Nothing yet.
    NotDue,
    /// A new credential is to be made; this one is still good.
    Due,
    /// It should have been made long ago: somebody ought to look.
    Overdue,
    /// Few days are left: somebody has to look.
    Critical,
    /// The credential no longer counts; a new one is needed before anything can be signed.
    Expired,
}

/// Whether a credential that became valid at `not_before` is to be renewed.
pub fn renewal(not_before: UtcDateTime, now: UtcDateTime) -> Renewal {
    let age = now - not_before;
    if age >= limits::CREDENTIAL_VALIDITY {
        Renewal::Expired
    } else if age >= limits::CREDENTIAL_ALARM_AGE {
        Renewal::Critical
    } else if age >= limits::CREDENTIAL_WARNING_AGE {
        Renewal::Overdue
    } else if age >= limits::CREDENTIAL_RENEWAL_AGE {
        Renewal::Due
    } else {
        Renewal::NotDue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn a_credential_is_renewed_from_day_45_and_dead_at_day_90() {
        let made = UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        for (age, expected) in [
            (Duration::ZERO, Renewal::NotDue),
            (Duration::days(45) - Duration::SECOND, Renewal::NotDue),
            (Duration::days(45), Renewal::Due),
            (Duration::days(60) - Duration::SECOND, Renewal::Due),
            (Duration::days(60), Renewal::Overdue),
            (Duration::days(80) - Duration::SECOND, Renewal::Overdue),
            (Duration::days(80), Renewal::Critical),
            (Duration::days(90) - Duration::SECOND, Renewal::Critical),
            (Duration::days(90), Renewal::Expired),
            (Duration::days(400), Renewal::Expired),
        ] {
            assert_eq!(renewal(made, made + age), expected, "{age}");
        }
    }
}
