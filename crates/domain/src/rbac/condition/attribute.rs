//! Attributes: what a condition asks about, and what is known of them when a decision is made.
//!
//! Names are compared ignoring case, except the key of a tag that is marked `<$key_case_sensitive$>`. An attribute
//! without any value counts as missing; the empty text is a value.
//! Source: Microsoft Learn, "Azure role assignment condition format and syntax", "Attributes".

use std::borrow::Cow;
use std::fmt;

use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::like::Case;

/// What follows a tag's key whose case counts.
const KEY_CASE_COUNTS: &str = "<$key_case_sensitive$>";

/// Whose attribute it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeSource {
    /// The request's: what is about to be written or listed.
    Request,
    /// The resource's, as it stands.
    Resource,
    /// The caller's, kept in the directory.
    Principal,
    /// That of the surroundings: time, network.
    Environment,
}

impl AttributeSource {
    const ALL: [Self; 4] = [Self::Request, Self::Resource, Self::Principal, Self::Environment];

    /// The source as conditions write it after the `@`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "Request",
            Self::Resource => "Resource",
            Self::Principal => "Principal",
            Self::Environment => "Environment",
        }
    }

    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str().eq_ignore_ascii_case(word))
    }
}

/// An attribute as a condition names it: `@Resource[Microsoft.Storage/storageAccounts:name]`.
#[derive(Clone, Debug)]
pub struct AttributeName {
    /// Whose attribute it is.
    pub source: AttributeSource,
    /// What stands between the brackets.
    pub name: Box<str>,
}

impl PartialEq for AttributeName {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && is_same_name(&self.name, &other.name)
    }
}

impl Eq for AttributeName {}

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}[{}]", self.source.as_str(), self.name)
    }
}

fn is_same_name(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) && key_with_case(one) == key_with_case(other)
}

/// The tag's key in `…/tags:Key<$key_case_sensitive$>`.
fn key_with_case(name: &str) -> Option<&str> {
    let (unmarked, mark) = name.split_at_checked(name.len().checked_sub(KEY_CASE_COUNTS.len())?)?;
    if !mark.eq_ignore_ascii_case(KEY_CASE_COUNTS) {
        return None;
    }
    Some(unmarked.split_once(':').map_or(unmarked, |(_, key)| key))
}

/// What is known when a decision is made. Few entries: they are looked through one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    source: AttributeSource,
    name: Cow<'static, str>,
    values: AttributeValues,
}

impl Entry {
    fn is(&self, source: AttributeSource, name: &str) -> bool {
        self.source == source && is_same_name(&self.name, name)
    }
}

impl Attributes {
    /// What is known of every request: the time.
    pub fn of_environment(now: UtcDateTime) -> Self {
        let now = AttributeValues::date_time(now);
        Self::default().with(AttributeSource::Environment, "UtcNow", now)
    }

    /// Says what an attribute's values are, in place of what was said before.
    pub fn set(
        &mut self,
        source: AttributeSource,
        name: impl Into<Cow<'static, str>>,
        values: AttributeValues,
    ) {
        let name = name.into();
        match self.entries.iter_mut().find(|entry| entry.is(source, &name)) {
            Some(entry) => entry.values = values,
            None => self.entries.push(Entry { source, name, values }),
        }
    }

    /// These, and one more.
    #[must_use]
    pub fn with(
        mut self,
        source: AttributeSource,
        name: impl Into<Cow<'static, str>>,
        values: AttributeValues,
    ) -> Self {
        self.set(source, name, values);
        self
    }

    /// An attribute's values; never an empty list.
    pub fn get(&self, source: AttributeSource, name: &str) -> Option<&AttributeValues> {
        let entry = self.entries.iter().find(|entry| entry.is(source, name))?;
        (!entry.values.is_empty()).then_some(&entry.values)
    }

    pub(super) fn of(&self, name: &AttributeName) -> Option<&AttributeValues> {
        self.get(name.source, &name.name)
    }
}

/// The values of an attribute, or of a set in a condition: all of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValues {
    /// Texts.
    Strings(Vec<String>),
    /// Names of resources: texts whose case means nothing, to whatever operator.
    Names(Vec<String>),
    /// Whole numbers; Azure supports no others.
    Numbers(Vec<i64>),
    /// True or false.
    Booleans(Vec<bool>),
    /// GUIDs.
    Guids(Vec<Uuid>),
    /// Moments.
    DateTimes(Vec<UtcDateTime>),
}

impl AttributeValues {
    /// One text.
    pub fn string(value: impl Into<String>) -> Self {
        Self::Strings(vec![value.into()])
    }

    /// One name of a resource.
    pub fn name(value: impl Into<String>) -> Self {
        Self::Names(vec![value.into()])
    }

    /// Several texts.
    pub fn strings<T: Into<String>>(values: impl IntoIterator<Item = T>) -> Self {
        Self::Strings(values.into_iter().map(Into::into).collect())
    }

    /// One number.
    pub fn number(value: i64) -> Self {
        Self::Numbers(vec![value])
    }

    /// True or false.
    pub fn boolean(value: bool) -> Self {
        Self::Booleans(vec![value])
    }

    /// One GUID.
    pub fn guid(value: Uuid) -> Self {
        Self::Guids(vec![value])
    }

    /// One moment.
    pub fn date_time(value: UtcDateTime) -> Self {
        Self::DateTimes(vec![value])
    }

    const fn is_empty(&self) -> bool {
        match self {
            Self::Strings(values) | Self::Names(values) => values.is_empty(),
            Self::Numbers(values) => values.is_empty(),
            Self::Booleans(values) => values.is_empty(),
            Self::Guids(values) => values.is_empty(),
            Self::DateTimes(values) => values.is_empty(),
        }
    }
}

/// The values as one type. Texts are read as another type when every one of them reads as it; nothing else converts,
/// since a GUID, number or moment can be written in several ways, and comparing one of them as text would be a guess.
impl AttributeValues {
    pub(super) fn as_strings(&self) -> Option<&[String]> {
        match self {
            Self::Strings(values) | Self::Names(values) => Some(values),
            Self::Numbers(_) | Self::Booleans(_) | Self::Guids(_) | Self::DateTimes(_) => None,
        }
    }

    /// How the texts among the values compare, where an operator says this.
    pub(super) const fn case(&self, of_operator: Case) -> Case {
        match self {
            Self::Names(_) => Case::Ignored,
            Self::Strings(_)
            | Self::Numbers(_)
            | Self::Booleans(_)
            | Self::Guids(_)
            | Self::DateTimes(_) => of_operator,
        }
    }

    pub(super) fn as_numbers(&self) -> Option<Cow<'_, [i64]>> {
        match self {
            Self::Numbers(values) => Some(Cow::Borrowed(values)),
            Self::Strings(texts) | Self::Names(texts) => read_all(texts, number),
            Self::Booleans(_) | Self::Guids(_) | Self::DateTimes(_) => None,
        }
    }

    pub(super) fn as_booleans(&self) -> Option<Cow<'_, [bool]>> {
        match self {
            Self::Booleans(values) => Some(Cow::Borrowed(values)),
            Self::Strings(texts) | Self::Names(texts) => read_all(texts, boolean),
            Self::Numbers(_) | Self::Guids(_) | Self::DateTimes(_) => None,
        }
    }

    pub(super) fn as_guids(&self) -> Option<Cow<'_, [Uuid]>> {
        match self {
            Self::Guids(values) => Some(Cow::Borrowed(values)),
            Self::Strings(texts) | Self::Names(texts) => read_all(texts, guid),
            Self::Numbers(_) | Self::Booleans(_) | Self::DateTimes(_) => None,
        }
    }

    pub(super) fn as_date_times(&self) -> Option<Cow<'_, [UtcDateTime]>> {
        match self {
            Self::DateTimes(values) => Some(Cow::Borrowed(values)),
            Self::Strings(texts) | Self::Names(texts) => read_all(texts, date_time),
            Self::Numbers(_) | Self::Booleans(_) | Self::Guids(_) => None,
        }
    }
}

fn read_all<T: Clone>(texts: &[String], read: fn(&str) -> Option<T>) -> Option<Cow<'_, [T]>> {
    texts.iter().map(|text| read(text)).collect::<Option<Vec<T>>>().map(Cow::Owned)
}

/// A whole number in its one usual form: no sign `+`, no zero in front.
pub(super) fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A GUID with or without dashes, as both are found in the conditions of built-in roles.
pub(super) fn guid(text: &str) -> Option<Uuid> {
    matches!(text.len(), 32 | 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// A moment as RFC 3339 writes it, with any number of fractional digits: `2022-06-01T00:00:00.0Z`.
pub(super) fn date_time(text: &str) -> Option<UtcDateTime> {
    UtcDateTime::parse(text, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str, same: bool) {
        assert_eq!(is_same_name(one, other), same, "{one} and {other}");
        let attributes = Attributes::default().with(
            AttributeSource::Resource,
            one.to_owned(),
            AttributeValues::number(1),
        );
        assert_eq!(attributes.get(AttributeSource::Resource, other).is_some(), same);
        assert_eq!(attributes.get(AttributeSource::Request, one), None);
    }

    #[test]
    fn names_ignore_case_but_for_a_marked_key() {
        check(
            "Microsoft.Storage/storageAccounts:name",
            "microsoft.storage/STORAGEACCOUNTS:Name",
            true,
        );
        check("a/containers:name", "a/containers/blobs:name", false);
        check("a/tags:Project", "A/TAGS:project", true);
        check("a/tags:Project<$key_case_sensitive$>", "A/TAGS:Project<$KEY_case_sensitive$>", true);
        check(
            "a/tags:Project<$key_case_sensitive$>",
            "a/tags:project<$key_case_sensitive$>",
            false,
        );
        check("a/tags:a:B<$key_case_sensitive$>", "a/tags:A:B<$key_case_sensitive$>", false);
        check("a/tags:Project<$key_case_sensitive$>", "a/tags:Project", false);
        check("a/tags&$keys$&", "A/tags&$Keys$&", true);
        check("é<$key_case_sensitive$>", "É<$key_case_sensitive$>", false);
        check("éééééééééééé", "éééééééééééé", true);
    }

    #[test]
    fn what_is_said_last_counts() {
        let mut attributes = Attributes::default();
        attributes.set(AttributeSource::Principal, "a:b", AttributeValues::number(1));
        attributes.set(AttributeSource::Principal, "A:B", AttributeValues::number(2));
        assert_eq!(
            attributes.get(AttributeSource::Principal, "a:b"),
            Some(&AttributeValues::number(2))
        );
        attributes.set(AttributeSource::Principal, "a:b", AttributeValues::Guids(Vec::new()));
        assert_eq!(attributes.get(AttributeSource::Principal, "a:b"), None);
    }

    #[test]
    fn texts_are_read_as_another_type_or_not_at_all() {
        let zero = Uuid::nil();
        assert_eq!(guid("00000000-0000-0000-0000-000000000000"), Some(zero));
        assert_eq!(guid("00000000000000000000000000000000"), Some(zero));
        assert_eq!(guid("{00000000-0000-0000-0000-000000000000}"), None);
        assert_eq!(guid("urn:uuid:00000000-0000-0000-0000-000000000000"), None);
        assert_eq!(
            (number("-7"), number("0"), number("9223372036854775807")),
            (Some(-7), Some(0), Some(i64::MAX))
        );
        for wrong in ["", "+7", "07", "-0", "7.0", " 7", "9223372036854775808"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
        assert_eq!(
            (boolean("TRUE"), boolean("false"), boolean("1")),
            (Some(true), Some(false), None)
        );
        assert_eq!(date_time("2022-06-01T02:00:00.0+02:00"), date_time("2022-06-01T00:00:00Z"));
        assert!(date_time("2022-06-01T00:00:00.1234567Z").is_some());
        assert_eq!(date_time("2022-06-01"), None);
        let mixed = AttributeValues::strings(["7", "x"]);
        assert_eq!(mixed.as_numbers(), None);
        assert_eq!(AttributeValues::guid(zero).as_strings(), None);
    }
}
