//! The query options of `OData`, as far as clients of the directory need them: `$filter`, `$select`, `$top`, `$skiptoken`,
//! `$count`. What is not understood is refused.

use http::Uri;
use keycard_domain::limits;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::Base;
use super::error::GraphError;
use crate::request::Parameters;

/// The options of a listing.
#[derive(Debug)]
pub(super) struct Query {
    filter: Filter,
    filter_text: String,
    select: Vec<String>,
    select_text: String,
    top: usize,
    after: String,
    counts: bool,
}

const UNSUPPORTED: [&str; 4] = ["$expand", "$orderby", "$search", "$skip"];

fn unsupported(what: &str) -> GraphError {
    GraphError::QueryUnsupported(what.chars().take(200).collect())
}

impl Query {
    pub(super) fn of(uri: &Uri) -> Result<Self, GraphError> {
        let query = Parameters::of(uri);
        if let Some(option) = UNSUPPORTED.into_iter().find(|it| query.non_empty(it).is_some()) {
            return Err(unsupported(option));
        }
        let filter_text = query.get("$filter").unwrap_or_default().trim().to_owned();
        let select_text = query.get("$select").unwrap_or_default().trim().to_owned();
        let top = match query.non_empty("$top") {
            None => limits::GRAPH_PAGE_DEFAULT,
            Some(top) => top
                .parse()
                .ok()
                .filter(|top| (1..=limits::GRAPH_PAGE_MAX).contains(top))
                .ok_or_else(|| unsupported(&format!("$top={top}")))?,
        };
        Ok(Self {
            filter: Filter::parse(&filter_text)?,
            select: select_text
                .split(',')
                .map(|field| field.trim().to_ascii_lowercase())
                .filter(|field| !field.is_empty())
                .collect(),
            filter_text,
            select_text,
            top,
            after: query.get("$skiptoken").unwrap_or_default().to_ascii_lowercase(),
            counts: query.get("$count").is_some_and(|it| it.eq_ignore_ascii_case("true")),
        })
    }

    /// Only the chosen members of an object.
    pub(super) fn select(&self, mut object: Value) -> Value {
        if let (false, Some(members)) = (self.select.is_empty(), object.as_object_mut()) {
            members.retain(|name, _| {
                name.starts_with('@') || self.select.contains(&name.to_ascii_lowercase())
            });
        }
        object
    }

    /// A page of the objects that the filter covers, in the order of their ids, with the link to the next one.
    pub(super) fn page(
        &self,
        uri: &Uri,
        base: &Base,
        of: &str,
        objects: Vec<Value>,
    ) -> Result<Value, GraphError> {
        let mut items = Vec::with_capacity(objects.len());
        for object in objects {
            if self.filter.covers(&object)? {
                let key = object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
                items.push((key, object));
            }
        }
        items.sort_by(|(one, _), (other, _)| one.cmp(other));
        let count = items.len();
        let mut rest = items.into_iter().filter(|(key, _)| *key > self.after);
        let shown: Vec<(String, Value)> = rest.by_ref().take(self.top).collect();
        let has_more = rest.next().is_some();
        let next = shown.last().filter(|_| has_more).map(|(key, _)| self.link(uri, base, key));
        let values: Vec<Value> = shown.into_iter().map(|(_, value)| self.select(value)).collect();
        let mut page = json!({ "@odata.context": base.context(of), "value": values });
        if let Some(members) = page.as_object_mut() {
            members.extend(next.map(|link| ("@odata.nextLink".to_owned(), json!(link))));
            let count = self.counts.then(|| ("@odata.count".to_owned(), json!(count)));
            members.extend(count);
        }
        Ok(page)
    }

    fn link(&self, uri: &Uri, base: &Base, after: &str) -> String {
        let origin = base.0.rsplit_once('/').map_or("", |(origin, _)| origin);
        let mut link = format!("{origin}{}?$top={}&$skiptoken={after}", uri.path(), self.top);
        let more = [("$filter", &self.filter_text), ("$select", &self.select_text)];
        for (name, value) in more.into_iter().filter(|(_, value)| !value.is_empty()) {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            link.push_str(&format!("&{name}={value}"));
        }
        if self.counts {
            link.push_str("&$count=true");
        }
        link
    }
}

/// Terms that all have to hold.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter(Vec<Term>);

/// What a filter asks of one member.
#[derive(Debug, PartialEq, Eq)]
struct Term {
    property: &'static str,
    comparison: Comparison,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equals,
    StartsWith,
    AnyEquals,
}

/// The members of text that can be asked for.
const TEXTS: [&str; 5] = ["displayName", "appId", "id", "servicePrincipalType", "mailNickname"];
/// The members of several texts that can be asked for.
const COLLECTIONS: [&str; 3] = ["servicePrincipalNames", "alternativeNames", "identifierUris"];

fn known<const N: usize>(names: [&'static str; N], text: &str) -> Option<&'static str> {
    names.into_iter().find(|name| name.eq_ignore_ascii_case(text.trim()))
}

/// A text in single quotes, in which a quote stands twice.
fn unquote(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    let bare = inner.replace("''", "");
    (!bare.contains('\'')).then(|| inner.replace("''", "'"))
}

/// Splits at ` and ` outside of quotes.
fn terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut is_quoted) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        is_quoted ^= c == '\'';
        let is_joint = !is_quoted
            && at >= start
            && text.get(at..at + 5).is_some_and(|joint| joint.eq_ignore_ascii_case(" and "));
        if is_joint {
            terms.extend(text.get(start..at));
            start = at + 5;
        }
    }
    terms.extend(text.get(start..));
    terms
}

impl Filter {
    fn parse(text: &str) -> Result<Self, GraphError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let parsed: Option<Vec<Term>> = terms(text).into_iter().map(Term::parse).collect();
        parsed.map(Self).ok_or_else(|| unsupported(text))
    }

    /// A member that the objects do not have cannot be asked for.
    fn covers(&self, object: &Value) -> Result<bool, GraphError> {
        for term in &self.0 {
            let member = object.get(term.property).ok_or_else(|| unsupported(term.property))?;
            if !term.holds(member) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Term {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::starts_with(text).or_else(|| Self::any(text)).or_else(|| Self::equals(text))
    }

    fn equals(text: &str) -> Option<Self> {
        let (property, value) = text.split_once(" eq ")?;
        let property = known(TEXTS, property)?;
        Some(Self { property, comparison: Comparison::Equals, value: unquote(value)? })
    }

    /// `startswith(displayName,'a')`.
    fn starts_with(text: &str) -> Option<Self> {
        let (function, arguments) = text.strip_suffix(')')?.split_once('(')?;
        let (property, value) = arguments.split_once(',')?;
        if !function.trim().eq_ignore_ascii_case("startswith") {
            return None;
        }
        let property = known(TEXTS, property)?;
        Some(Self { property, comparison: Comparison::StartsWith, value: unquote(value)? })
    }

    /// `servicePrincipalNames/any(c:c eq 'a')`.
    fn any(text: &str) -> Option<Self> {
        let (property, lambda) = text.split_once("/any(")?;
        let (variable, condition) = lambda.strip_suffix(')')?.split_once(':')?;
        let (subject, value) = condition.split_once(" eq ")?;
        if variable.trim() != subject.trim() {
            return None;
        }
        let property = known(COLLECTIONS, property)?;
        Some(Self { property, comparison: Comparison::AnyEquals, value: unquote(value)? })
    }

    fn holds(&self, member: &Value) -> bool {
        let wanted = self.value.to_lowercase();
        let text = |value: &Value| value.as_str().map(str::to_lowercase);
        match self.comparison {
            Comparison::Equals => text(member).is_some_and(|text| text == wanted),
            Comparison::StartsWith => text(member).is_some_and(|text| text.starts_with(&wanted)),
            Comparison::AnyEquals => member
                .as_array()
                .is_some_and(|all| all.iter().filter_map(text).any(|text| text == wanted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_of_clients_are_understood_and_others_refused() {
        let object = json!({
            "id": "1", "displayName": "Mary's VM and disk", "servicePrincipalType": "ManagedIdentity",
            "servicePrincipalNames": ["ABC"],
        });
        let covers = |filter: &str| Filter::parse(filter).and_then(|it| it.covers(&object)).ok();
        assert_eq!(covers(""), Some(true));
        assert_eq!(covers("displayName eq 'mary''s vm AND disk'"), Some(true));
        assert_eq!(covers("displayname eq 'x'"), Some(false));
        assert_eq!(covers("startswith(displayName,'Mary')"), Some(true));
        assert_eq!(covers("startsWith(displayName, 'VM')"), Some(false));
        assert_eq!(covers("servicePrincipalNames/any(c:c eq 'abc')"), Some(true));
        assert_eq!(covers("servicePrincipalNames/any(x:x eq 'b')"), Some(false));
        let both = "servicePrincipalType eq 'ManagedIdentity' and startswith(displayName,'M')";
        assert_eq!(covers(both), Some(true));
        for wrong in [
            "displayName",
            "displayName eq x",
            "displayName eq 'a'b'",
            "displayName ne 'x'",
            "secret eq 'x'",
            "displayName eq 'x' or id eq '1'",
            "mailNickname eq 'not there'",
            "servicePrincipalNames/any(c:d eq 'abc')",
            "endswith(displayName,'x')",
            " and ",
        ] {
            assert_eq!(covers(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn walking_the_links_yields_each_object_once() {
        let objects: Vec<Value> = (0..7)
            .rev()
            .map(|n| json!({ "id": n.to_string(), "displayName": "a b", "x": 1 }))
            .collect();
        let base = Base("https://graph/v1.0".to_owned());
        let mut uri: Uri =
            "/v1.0/groups?$top=3&$select=id&$count=true&$filter=displayName%20eq%20'a%20b'"
                .parse()
                .unwrap();
        let mut seen = Vec::new();
        loop {
            let query = Query::of(&uri).unwrap();
            let page = query.page(&uri, &base, "groups", objects.clone()).unwrap();
            assert_eq!(page["@odata.count"], 7);
            seen.extend(page["value"].as_array().unwrap().clone());
            match page.get("@odata.nextLink") {
                Some(link) => uri = link.as_str().unwrap().parse().unwrap(),
                None => break,
            }
        }
        assert_eq!(seen, (0..7).map(|n| json!({ "id": n.to_string() })).collect::<Vec<_>>());
        for wrong in ["$top=0", "$top=1000", "$top=x", "$expand=members", "$orderby=id"] {
            assert!(Query::of(&format!("/x?{wrong}").parse().unwrap()).is_err(), "{wrong}");
        }
    }
}
