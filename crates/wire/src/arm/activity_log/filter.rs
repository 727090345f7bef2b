//! `$filter` of the activity log: comparisons joined by `and`, as Azure's clients write them.
//!
//! Azure CLI leaves the quotes around moments away, and their zone, which is UTC then.

use keycard_domain::audit::activity::Condition;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcDateTime};

use super::super::error::ArmError;
use super::super::filter::{self, BareValues, Comparison, Operator};

/// Whether a listing has to say from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Required,
    Optional,
}

/// What the events of a listing are narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) from_unix_ms: i64,
    pub(super) until_unix_ms: i64,
    pub(super) conditions: Vec<Condition>,
}

impl Filter {
    /// Reads a filter; what is not understood is refused, since it would narrow the listing less than was meant.
    pub(super) fn read(text: &str, start: Start) -> Result<Self, ArmError> {
        let unsupported = || filter::unsupported(text);
        let mut read =
            Self { from_unix_ms: i64::MIN, until_unix_ms: i64::MAX, conditions: Vec::new() };
        for comparison in filter::comparisons(text, BareValues::Taken)? {
            read.narrow(comparison).ok_or_else(unsupported)?;
        }
        if start == Start::Required && read.from_unix_ms == i64::MIN {
            return Err(if text.trim().is_empty() {
                ArmError::ParameterMissing("$filter")
            } else {
                unsupported()
            });
        }
        Ok(read)
    }

    fn narrow(&mut self, Comparison { field, operator, value }: Comparison) -> Option<()> {
        match (&*field, operator) {
            // A moment of an event is a whole millisecond.
            ("eventtimestamp", Operator::AtLeast) => {
                let from = unix_nanos(&value)?.div_euclid(NANOS_PER_MS)
                    + i128::from(unix_nanos(&value)?.rem_euclid(NANOS_PER_MS) != 0);
                self.from_unix_ms = self.from_unix_ms.max(i64::try_from(from).ok()?);
            }
            ("eventtimestamp", Operator::AtMost) => {
                let until = i64::try_from(unix_nanos(&value)?.div_euclid(NANOS_PER_MS)).ok()?;
                self.until_unix_ms = self.until_unix_ms.min(until);
            }
            (field, Operator::Equals) => self.conditions.push(condition(field, value)?),
            _ => return None,
        }
        Some(())
    }
}

const NANOS_PER_MS: i128 = 1_000_000;

/// Azure's reference has `resourceUri`, its command line `resourceId`.
fn condition(field: &str, value: String) -> Option<Condition> {
    match field {
        "resourcegroupname" => Some(Condition::ResourceGroup(value)),
        "resourceuri" | "resourceid" => Some(Condition::Resource(value)),
        "resourceprovider" => Some(Condition::Provider(value)),
        "correlationid" => Some(Condition::Correlation(value)),
        "caller" => Some(Condition::Caller(value)),
        "status" => Some(Condition::Status(value)),
        _ => None,
    }
}

fn unix_nanos(text: &str) -> Option<i128> {
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339));
    Some(UtcDateTime::from(moment.ok()?).unix_timestamp_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(i64, i64, &[Condition])>) {
        let found = Filter::read(text, Start::Required).ok();
        let expected = expected.map(|(from_unix_ms, until_unix_ms, conditions)| Filter {
            from_unix_ms,
            until_unix_ms,
            conditions: conditions.to_vec(),
        });
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn filters_are_read_as_clients_write_them_and_nothing_else_is() {
        let from = "eventTimestamp ge '1970-01-01T00:00:01Z'";
        check(from, Some((1000, i64::MAX, &[])));
        check(
            "eventTimestamp ge 1970-01-01T00:00:01.000001 and eventTimestamp le 1970-01-01T00:00:02.0019999Z",
            Some((1001, 2001, &[])),
        );
        check(
            &format!("{from} and eventTimestamp le '1970-01-01T02:00:02+02:00'"),
            Some((1000, 2000, &[])),
        );
        check(
            &format!("{from} and eventTimestamp ge '1970-01-01T00:00:03Z'"),
            Some((3000, i64::MAX, &[])),
        );
        check(
            &format!("{from} AND ResourceGroupName eq 'it''s and b' and caller eq x"),
            Some((
                1000,
                i64::MAX,
                &[Condition::ResourceGroup("it's and b".into()), Condition::Caller("x".into())],
            )),
        );
        check(
            &format!("{from} and resourceId eq '/a' and resourceUri eq '/b'"),
            Some((
                1000,
                i64::MAX,
                &[Condition::Resource("/a".into()), Condition::Resource("/b".into())],
            )),
        );
        for wrong in [
            "",
            "resourceGroupName eq 'g'",
            "eventTimestamp ge 'yesterday'",
            "eventTimestamp ge '1970-01-01T00:00:01Z",
            &format!("{from} or caller eq 'x'"),
            &format!("{from} and"),
            &format!("and {from}"),
            &format!("{from} and caller ne 'x'"),
            &format!("{from} and colour eq 'x'"),
            &format!("{from} and caller eq 'x' 'y'"),
            &format!("{from} and caller eq 'x'and status eq 'y'"),
            &format!("{from} and 'caller' eq 'x'"),
            &format!("{from} and eventTimestamp gt '1970-01-01T00:00:01Z'"),
        ] {
            check(wrong, None);
        }
    }
}
