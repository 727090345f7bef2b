//! What holds for every condition, tried on random ones.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use time::UtcDateTime;
use uuid::Uuid;

use super::{AttributeSource, AttributeValues, Attributes, Condition, Outcome};
use crate::rbac::built_in_roles;

const SOURCES: [AttributeSource; 4] = [
    AttributeSource::Request,
    AttributeSource::Resource,
    AttributeSource::Principal,
    AttributeSource::Environment,
];

/// What conditions are made of.
const WORDS: [&str; 19] = [
    "(",
    ")",
    "!",
    "NOT",
    " ",
    "@Resource[a]",
    "StringEquals",
    "'",
    "{",
    "}",
    ",",
    "AND",
    "||",
    "ActionMatches",
    "Exists",
    "\\",
    "ForAnyOfAnyValues:",
    "ä",
    "1",
];

fn attribute() -> impl Strategy<Value = String> {
    (select(SOURCES.as_slice()), select(["a", "b", "x/tags:K<$key_case_sensitive$>"].as_slice()))
        .prop_map(|(source, name)| format!("@{}[{name}]", source.as_str()))
}

/// One type's operators, and values of that type.
fn family() -> impl Strategy<Value = (String, Vec<&'static str>)> {
    let families = [
        (
            "String",
            "Equals NotEquals StartsWith NotStartsWith Like NotLike EqualsIgnoreCase NotLikeIgnoreCase",
            vec!["''", "'x'", "'X'", "'xy'", "'x*'", "'?'", "'1'", "'true'"],
        ),
        ("Numeric", "Equals NotEquals LessThan GreaterThanEquals", vec!["0", "1", "-1"]),
        (
            "DateTime",
            "Equals NotEquals LessThanEquals GreaterThan",
            vec!["'1970-01-01T00:00:00Z'", "'1970-01-01T00:00:01.0Z'"],
        ),
        ("Bool", "Equals NotEquals", vec!["true", "false"]),
        (
            "Guid",
            "Equals NotEquals",
            vec!["00000000000000000000000000000000", "00000000-0000-0000-0000-000000000001"],
        ),
    ];
    select(families.to_vec()).prop_flat_map(|(name, relations, values)| {
        let relations = relations.split(' ').collect::<Vec<_>>();
        (select(relations).prop_map(move |relation| format!("{name}{relation}")), Just(values))
    })
}

fn comparison() -> impl Strategy<Value = String> {
    let quantifiers = select(["AnyOfAny", "AllOfAny", "AnyOfAll", "AllOfAll"].as_slice());
    let single = (attribute(), family()).prop_flat_map(|(left, (operator, values))| {
        let right = prop_oneof![select(values).prop_map(str::to_owned), attribute()];
        right.prop_map(move |right| format!("{left} {operator} {right}"))
    });
    let quantified =
        (attribute(), quantifiers, family()).prop_flat_map(|(left, prefix, (operator, values))| {
            let set = prop::collection::vec(select(values), 1..4)
                .prop_map(|values| format!("{{{}}}", values.join(", ")));
            prop_oneof![set, attribute()]
                .prop_map(move |right| format!("{left} For{prefix}Values:{operator}{right}"))
        });
    prop_oneof![single, quantified]
}

/// A condition without `Exists`.
fn condition() -> impl Strategy<Value = String> {
    let of_action =
        ["ActionMatches{'a/*'}", "ActionMatches{'b'}", "SubOperationMatches{'Blob.List'}"];
    let leaf =
        prop_oneof![3 => comparison(), 1 => select(of_action.to_vec()).prop_map(str::to_owned)];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let group = (
            select([" AND ", " OR ", "&&", "||"].as_slice()),
            prop::collection::vec(inner.clone(), 2..4),
        );
        prop_oneof![
            inner.prop_map(|part| format!("!({part})")),
            group.prop_map(|(joiner, parts)| {
                let parts = parts.iter().map(|part| format!("({part})")).collect::<Vec<_>>();
                parts.join(joiner)
            }),
        ]
    })
}

fn values() -> impl Strategy<Value = AttributeValues> {
    let text =
        select(["", "x", "xy", "*", "1", "true", "00000000000000000000000000000001"].as_slice());
    let moment = (0_i64..2).prop_map(|seconds| UtcDateTime::from_unix_timestamp(seconds).unwrap());
    prop_oneof![
        4 => prop::collection::vec(text, 0..3).prop_map(AttributeValues::strings),
        1 => prop::collection::vec(-1_i64..2, 0..3).prop_map(AttributeValues::Numbers),
        1 => prop::collection::vec(any::<bool>(), 0..3).prop_map(AttributeValues::Booleans),
        1 => prop::collection::vec((0_u128..2).prop_map(Uuid::from_u128), 0..3)
            .prop_map(AttributeValues::Guids),
        1 => prop::collection::vec(moment, 0..3).prop_map(AttributeValues::DateTimes),
    ]
}

type Entries = Vec<(AttributeSource, &'static str, AttributeValues)>;

/// What is known: every attribute that a condition may ask about, of whatever type.
fn entries() -> impl Strategy<Value = Entries> {
    prop::collection::vec(values(), 12).prop_map(|values| {
        let names = ["A", "b", "x/tags:K<$key_case_sensitive$>"];
        let attributes = SOURCES.iter().flat_map(|source| names.map(|name| (*source, name)));
        attributes.zip(values).map(|((source, name), values)| (source, name, values)).collect()
    })
}

fn known<'a>(
    entries: impl IntoIterator<Item = &'a (AttributeSource, &'static str, AttributeValues)>,
) -> Attributes {
    let mut attributes = Attributes::default();
    for (source, name, values) in entries {
        attributes.set(*source, *name, values.clone());
    }
    attributes
}

fn outcome(condition: &str, attributes: &Attributes) -> Outcome {
    Condition::parse(condition).unwrap().evaluate("a/read", Some("Blob.List"), attributes)
}

/// Texts that are nearly conditions.
fn mutated() -> impl Strategy<Value = String> {
    let built_in = built_in_roles::all()
        .iter()
        .flat_map(|role| &role.permissions)
        .filter_map(|permission| permission.condition.as_ref().map(ToString::to_string))
        .collect::<Vec<_>>();
    let original = prop_oneof![select(built_in), condition()];
    let change = (any::<Index>(), any::<bool>(), "[(){}'@!&|,:* \\\\ä\\PC]{0,3}");
    (original, prop::collection::vec(change, 1..4)).prop_map(|(original, changes)| {
        let mut characters = original.chars().collect::<Vec<_>>();
        for (at, replaces, text) in changes {
            let at = at.index(characters.len() + 1);
            let end = if replaces { (at + 1).min(characters.len()) } else { at };
            characters.splice(at..end, text.chars());
        }
        characters.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_text_makes_the_parser_panic(
        text in "\\PC{0,60}", words in prop::collection::vec(select(WORDS.as_slice()), 0..20),
    ) {
        for text in [text, words.concat()] {
            if let Err(error) = Condition::parse(&text) {
                prop_assert!(error.position <= text.len());
                prop_assert!(error.to_string().chars().count() < 200);
            }
        }
    }

    #[test]
    fn no_change_of_a_condition_makes_the_parser_or_the_evaluation_panic(
        text in mutated(), entries in entries(),
    ) {
        if let Ok(condition) = Condition::parse(&text) {
            condition.evaluate("a/read", None, &known(&entries));
        }
    }

    #[test]
    fn a_condition_survives_its_text(text in condition(), entries in entries()) {
        let condition = Condition::parse(&text).unwrap();
        prop_assert_eq!(condition.as_str(), &text);
        let stored = serde_json::to_string(&condition).unwrap();
        let again: Condition = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&again, &condition);
        prop_assert_eq!(again.attributes(), condition.attributes());
        let attributes = known(&entries);
        prop_assert_eq!(outcome(again.as_str(), &attributes), outcome(&text, &attributes));
    }

    #[test]
    fn a_condition_and_its_negation_are_never_both_met(text in condition(), entries in entries()) {
        let attributes = known(&entries);
        let negated = match outcome(&text, &attributes) {
            Outcome::Met => Outcome::NotMet,
            Outcome::NotMet => Outcome::Met,
            Outcome::AttributeMissing => Outcome::AttributeMissing,
        };
        prop_assert_eq!(outcome(&format!("!({text})"), &attributes), negated);
    }

    /// Knowing less never changes an outcome into another one, only into not knowing.
    #[test]
    fn an_attribute_less_never_makes_a_condition_met(
        text in condition(), entries in entries(), removed in any::<Index>(),
    ) {
        let all = outcome(&text, &known(&entries));
        let removed = removed.index(entries.len());
        let (before, after) = entries.split_at(removed);
        let less = outcome(&text, &known(before.iter().chain(&after[1..])));
        prop_assert!(less == all || less == Outcome::AttributeMissing, "{all:?} became {less:?}");
    }

    #[test]
    fn nothing_known_meets_no_comparison(text in comparison()) {
        for condition in [text.clone(), format!("!({text})")] {
            prop_assert_eq!(outcome(&condition, &Attributes::default()), Outcome::AttributeMissing);
        }
    }
}
