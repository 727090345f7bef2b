//! Evaluates a condition, failing closed.
//!
//! Three-valued, after Kleene: a comparison whose attribute is missing or does not fit is neither true nor false, and
//! neither is its negation. AND is false when one part is, OR is true when one part is, whatever the others are. So
//! `!(@Resource[x] StringEquals 'a')` grants nothing while nobody knows `x`.
//!
//! Without a prefix such as `ForAnyOfAnyValues:`, both sides have one value; an attribute with several does not fit.

use super::Outcome;
use super::attribute::{AttributeValues, Attributes};
use super::expression::{Comparison, Expression, Quantifiers, Right, Test};

/// What a condition is evaluated against.
pub(super) struct Circumstances<'a> {
    pub(super) action_lowercase: &'a str,
    pub(super) sub_operation: Option<&'a str>,
    pub(super) attributes: &'a Attributes,
}

impl Circumstances<'_> {
    pub(super) fn evaluate(&self, expression: &Expression) -> Outcome {
        match expression {
            Expression::All(parts) => self.search(parts, Outcome::NotMet).unwrap_or(Outcome::Met),
            Expression::Any(parts) => self.search(parts, Outcome::Met).unwrap_or(Outcome::NotMet),
            Expression::Not(part) => negation(self.evaluate(part)),
            Expression::ActionMatches(pattern) => known(pattern.covers(self.action_lowercase)),
            Expression::SubOperationMatches(name) => {
                known(self.sub_operation.is_some_and(|actual| actual.eq_ignore_ascii_case(name)))
            }
            Expression::Exists(name) => known(self.attributes.of(name).is_some()),
            Expression::Comparison(comparison) => {
                compare(comparison, self.attributes).map_or(Outcome::AttributeMissing, known)
            }
        }
    }

    /// The outcome that decides, if one part has it; else that something is missing, if it is so for one part.
    fn search(&self, parts: &[Expression], deciding: Outcome) -> Option<Outcome> {
        let mut found = None;
        for part in parts {
            let outcome = self.evaluate(part);
            if outcome == deciding {
                return Some(deciding);
            }
            if outcome == Outcome::AttributeMissing {
                found = Some(outcome);
            }
        }
        found
    }
}

const fn known(is_met: bool) -> Outcome {
    if is_met { Outcome::Met } else { Outcome::NotMet }
}

const fn negation(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Met => Outcome::NotMet,
        Outcome::NotMet => Outcome::Met,
        Outcome::AttributeMissing => Outcome::AttributeMissing,
    }
}

/// Whether the comparison is true; nothing when a side is missing, of another type, or has several values where one
/// is wanted.
fn compare(comparison: &Comparison, attributes: &Attributes) -> Option<bool> {
    let left = attributes.of(&comparison.left)?;
    match &comparison.right {
        Right::Values(right) => compare_values(comparison, left, right),
        Right::Attribute(name) => compare_values(comparison, left, attributes.of(name)?),
        Right::Patterns(case, patterns) => {
            let case = left.case(*case);
            quantify(comparison, left.as_strings()?, patterns, |text, pattern| {
                pattern.matches(text, case)
            })
        }
    }
}

fn compare_values(
    comparison: &Comparison,
    left: &AttributeValues,
    right: &AttributeValues,
) -> Option<bool> {
    match comparison.operator.test {
        Test::String(relation, case) => {
            let case = left.case(right.case(case));
            quantify(comparison, left.as_strings()?, right.as_strings()?, |left, right| {
                relation.holds(case, left, right)
            })
        }
        Test::Numeric(order) => {
            quantify(comparison, &left.as_numbers()?, &right.as_numbers()?, |left, right| {
                order.holds(left.cmp(right))
            })
        }
        Test::DateTime(order) => {
            quantify(comparison, &left.as_date_times()?, &right.as_date_times()?, |left, right| {
                order.holds(left.cmp(right))
            })
        }
        Test::Bool => quantify(comparison, &left.as_booleans()?, &right.as_booleans()?, bool::eq),
        Test::Guid => quantify(comparison, &left.as_guids()?, &right.as_guids()?, PartialEq::eq),
    }
}

/// Whether as many values compare so as the comparison wants. Neither side is empty: an attribute without values is
/// missing, and a set without values cannot be written.
fn quantify<L, R>(
    comparison: &Comparison,
    left: &[L],
    right: &[R],
    test: impl Fn(&L, &R) -> bool,
) -> Option<bool> {
    let holds = |left: &L, right: &R| test(left, right) != comparison.operator.is_negated;
    match (comparison.quantifiers, left, right) {
        (Some(Quantifiers { left: on_left, right: on_right }), _, _) => {
            Some(on_left.holds(left, |value| on_right.holds(right, |other| holds(value, other))))
        }
        (None, [value], [other]) => Some(holds(value, other)),
        (None, _, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use time::UtcDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::rbac::Condition;
    use crate::rbac::condition::AttributeSource::{Environment, Principal, Request, Resource};
    use Outcome::{AttributeMissing, Met, NotMet};

    const READ: &str = "microsoft.storage/storageaccounts/blobservices/containers/blobs/read";
    const ROLE: Uuid = Uuid::from_u128(0x49fc33c1_886f_4b21_a00e_1d9993234734);

    /// What is known in all these cases: attributes by their type, `several` with two values, and none called
    /// `missing`.
    fn known_attributes() -> Attributes {
        let now = UtcDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        Attributes::default()
            .with(Resource, "text", AttributeValues::string("Abc"))
            .with(Resource, "several", AttributeValues::strings(["red", "blue"]))
            .with(Resource, "none", AttributeValues::strings::<&str>([]))
            .with(Resource, "blank", AttributeValues::string(""))
            .with(Resource, "number", AttributeValues::number(10))
            .with(Resource, "numbers", AttributeValues::Numbers(vec![10, 20]))
            .with(Resource, "number as text", AttributeValues::string("10"))
            .with(Resource, "role", AttributeValues::guid(ROLE))
            .with(
                Resource,
                "role as text",
                AttributeValues::string(ROLE.to_string().to_uppercase()),
            )
            .with(
                Resource,
                "moment as text",
                AttributeValues::string("2023-11-14T22:13:20.0000000Z"),
            )
            .with(Resource, "tags:Project<$key_case_sensitive$>", AttributeValues::string("x"))
            .with(Request, "text", AttributeValues::string("abc"))
            .with(Principal, "wild", AttributeValues::string("*"))
            .with(Resource, "name", AttributeValues::name("Db"))
            .with(Environment, "UtcNow", AttributeValues::date_time(now))
            .with(Environment, "isPrivateLink", AttributeValues::boolean(true))
    }

    fn check(condition: &str, expected: Outcome) {
        let outcome = Condition::parse(condition).unwrap().evaluate(
            READ,
            Some("blob.list"),
            &known_attributes(),
        );
        assert_eq!(outcome, expected, "{condition}");
    }

    #[test]
    fn texts_compare_as_their_operator_says() {
        check("@Resource[text] StringEquals 'Abc'", Met);
        check("@Resource[text] StringEquals 'abc'", NotMet);
        check("@Resource[text] StringEquals {'Abc'}", Met);
        check("@Resource[text] StringEqualsIgnoreCase 'aBC'", Met);
        check("@Resource[text] StringNotEquals 'abc'", Met);
        check("@Resource[text] StringNotEqualsIgnoreCase 'abc'", NotMet);
        check("@Resource[text] StringStartsWith 'Ab'", Met);
        check("@Resource[text] StringStartsWith 'ab'", NotMet);
        check("@Resource[text] StringStartsWithIgnoreCase 'ab'", Met);
        check("@Resource[text] StringNotStartsWith 'ab'", Met);
        check("@Resource[text] StringNotStartsWithIgnoreCase 'ab'", NotMet);
        check("@Resource[text] StringLike 'A*'", Met);
        check("@Resource[text] StringLike 'a*'", NotMet);
        check("@Resource[text] StringLikeIgnoreCase 'a?C'", Met);
        check("@Resource[text] StringNotLike 'a*'", Met);
        check("@Resource[text] StringNotLikeIgnoreCase 'a*'", NotMet);
        check("@Resource[blank] StringEquals ''", Met);
        check("@Resource[name] StringEquals 'dB'", Met);
        check("@Resource[name] StringNotEquals 'dB'", NotMet);
        check("@Resource[name] StringLike 'D*'", Met);
        check("@Resource[name] StringNotLike 'd*'", NotMet);
        check("@Resource[name] StringNotStartsWith 'd'", NotMet);
        check("@Resource[TAGS:Project<$key_case_sensitive$>] StringEquals 'x'", Met);
        check("@Resource[tags:project<$key_case_sensitive$>] StringEquals 'x'", AttributeMissing);
    }

    #[test]
    fn numbers_moments_booleans_and_guids_compare_as_their_operator_says() {
        for (relation, below, equal, above) in [
            ("Equals", NotMet, Met, NotMet),
            ("NotEquals", Met, NotMet, Met),
            ("GreaterThan", Met, NotMet, NotMet),
            ("GreaterThanEquals", Met, Met, NotMet),
            ("LessThan", NotMet, NotMet, Met),
            ("LessThanEquals", NotMet, Met, Met),
        ] {
            check(&format!("@Resource[number] Numeric{relation} 9"), below);
            check(&format!("@Resource[number as text] Numeric{relation} 10"), equal);
            check(&format!("@Resource[number] Numeric{relation} 11"), above);
            let moment = |seconds: u32| {
                format!("@Environment[utcnow] DateTime{relation} '2023-11-14T22:13:{seconds}Z'")
            };
            check(&moment(19), below);
            check(&moment(20), equal);
            check(&moment(21), above);
        }
        check("@Resource[moment as text] DateTimeEquals @Environment[UtcNow]", Met);
        check("@Environment[isPrivateLink] BoolEquals true", Met);
        check("@Environment[isPrivateLink] BoolNotEquals true", NotMet);
        check("@Environment[isPrivateLink] BoolEquals false", NotMet);
        check("@Resource[role] GuidEquals 49FC33C1886F4B21A00E1D9993234734", Met);
        check("@Resource[role] GuidNotEquals '49fc33c1-886f-4b21-a00e-1d9993234734'", NotMet);
        check("@Resource[role] GuidEquals @Resource[role as text]", Met);
    }

    #[test]
    fn what_does_not_fit_is_as_good_as_missing() {
        for comparison in [
            "@Resource[missing] StringEquals 'a'",
            "@Request[number] NumericEquals 10",
            "@Resource[text] StringEquals @Resource[missing]",
            "@Resource[none] ForAllOfAllValues:StringEquals {'a'}",
            "@Resource[text] ForAllOfAllValues:StringEquals @Resource[none]",
            "@Resource[number] StringEquals '10'",
            "@Resource[role] StringEquals '49fc33c1-886f-4b21-a00e-1d9993234734'",
            "@Resource[text] NumericEquals 10",
            "@Resource[text] BoolEquals true",
            "@Resource[text] GuidEquals 49fc33c1886f4b21a00e1d9993234734",
            "@Resource[text] DateTimeLessThan @Environment[UtcNow]",
            "@Resource[number] DateTimeLessThan @Environment[UtcNow]",
            "@Resource[several] StringEquals 'red'",
            "@Resource[several] StringLike '*'",
            "@Resource[text] StringEquals @Resource[several]",
            "@Resource[several] ForAnyOfAnyValues:NumericEquals {1}",
        ] {
            let negated =
                comparison.replacen("Equals", "NotEquals", 1).replacen("Like", "NotLike", 1);
            check(comparison, AttributeMissing);
            check(&negated, AttributeMissing);
            check(&format!("!({comparison})"), AttributeMissing);
            check(&format!("NOT {negated}"), AttributeMissing);
        }
    }

    #[test]
    fn what_is_not_known_decides_only_if_nothing_else_does() {
        let truths = [
            ("@Resource[number] NumericEquals 10", Met),
            ("@Resource[number] NumericEquals 11", NotMet),
            ("@Resource[missing] NumericEquals 10", AttributeMissing),
        ];
        let expected_and = [
            Met,
            NotMet,
            AttributeMissing,
            NotMet,
            NotMet,
            NotMet,
            AttributeMissing,
            NotMet,
            AttributeMissing,
        ];
        let expected_or =
            [Met, Met, Met, Met, NotMet, AttributeMissing, Met, AttributeMissing, AttributeMissing];
        let mut expected = expected_and.into_iter().zip(expected_or);
        for (left, _) in truths {
            for (right, _) in truths {
                let (and, or) = expected.next().unwrap();
                check(&format!("{left} AND {right}"), and);
                check(&format!("{left} OR {right}"), or);
            }
        }
        for (text, outcome) in truths {
            check(&format!("NOT {text}"), negation(outcome));
            check(&format!("{text} AND {text} AND {text}"), outcome);
            check(&format!("{text} OR {text} OR {text}"), outcome);
        }
    }

    #[test]
    fn existence_is_always_known() {
        check("Exists @Resource[text]", Met);
        check("Exists @Resource[blank]", Met);
        check("Not Exists @Resource[text]", NotMet);
        check("Exists @Resource[missing]", NotMet);
        check("Exists @Resource[none]", NotMet);
        check("Not Exists @Resource[missing]", Met);
        check("Not Exists @Resource[missing] OR @Resource[missing] StringEquals 'a'", Met);
    }

    #[test]
    fn actions_and_suboperations_are_matched() {
        let read = "ActionMatches{'Microsoft.Storage/*/Read'}";
        check(read, Met);
        check(&format!("!({read})"), NotMet);
        check("ActionMatches{'Microsoft.Storage/*/write'}", NotMet);
        check("SubOperationMatches{'Blob.List'}", Met);
        check("SubOperationMatches{'Blob.Write.Tier'}", NotMet);
        let list = Condition::parse("!(SubOperationMatches{'Blob.List'})").unwrap();
        assert_eq!(list.evaluate(READ, None, &Attributes::default()), Met);
        let other_read = format!("!({read} AND NOT SubOperationMatches{{'Blob.List'}})");
        check(&format!("({other_read}) OR @Resource[missing] BoolEquals true"), Met);
        check(&format!("(!({read})) OR @Resource[missing] BoolEquals true"), AttributeMissing);
        check(&format!("(!({read})) OR @Resource[text] StringEquals 'Abc'"), Met);
    }

    #[test]
    fn quantifiers_read_as_their_names() {
        let both = ["AnyOfAny", "AllOfAny", "AnyOfAll", "AllOfAll"];
        let cases: [(&str, &str, &str, [Outcome; 4]); 12] = [
            ("several", "StringEquals", "{'blue', 'green'}", [Met, NotMet, NotMet, NotMet]),
            ("several", "StringEquals", "{'orange', 'green'}", [NotMet, NotMet, NotMet, NotMet]),
            ("several", "StringEquals", "{'orange', 'red', 'blue'}", [Met, Met, NotMet, NotMet]),
            ("several", "StringEquals", "{'red'}", [Met, NotMet, Met, NotMet]),
            // Each single comparison is negated: red differs from blue, and blue from red.
            ("several", "StringNotEquals", "{'red', 'blue'}", [Met, Met, NotMet, NotMet]),
            ("several", "StringNotEquals", "{'red'}", [Met, NotMet, Met, NotMet]),
            ("several", "StringNotEquals", "{'red', 'green'}", [Met, Met, Met, NotMet]),
            ("several", "StringNotEquals", "{'orange', 'green'}", [Met, Met, Met, Met]),
            ("several", "StringLike", "{'r*', 'bl?e'}", [Met, Met, NotMet, NotMet]),
            ("numbers", "NumericLessThan", "{15, 18}", [Met, NotMet, Met, NotMet]),
            ("numbers", "NumericLessThan", "{25, 30}", [Met, Met, Met, Met]),
            ("numbers", "NumericLessThan", "{15, 25, 30}", [Met, Met, Met, NotMet]),
        ];
        for (name, operator, right, outcomes) in cases {
            for (quantifiers, outcome) in both.into_iter().zip(outcomes) {
                check(
                    &format!("@Resource[{name}] For{quantifiers}Values:{operator} {right}"),
                    outcome,
                );
            }
        }
        check("@Resource[text] ForAllOfAnyValues:StringEquals 'Abc'", Met);
        check("@Resource[several] ForAllOfAnyValues:StringEquals @Resource[several]", Met);
        check("@Resource[several] ForAllOfAllValues:StringEquals @Resource[several]", NotMet);
    }

    #[test]
    fn an_attribute_never_is_a_pattern() {
        check("@Resource[text] StringLike '*'", Met);
        check("@Resource[text] StringLike @Principal[wild]", NotMet);
        check("@Resource[text] StringNotLike @Principal[wild]", Met);
        check("@Resource[text] StringLikeIgnoreCase @Request[text]", Met);
        check("@Principal[wild] StringLike @Principal[wild]", Met);
        check(r"@Principal[wild] StringLike '\*'", Met);
        check("@Principal[wild] StringLike 'a'", NotMet);
    }
}
