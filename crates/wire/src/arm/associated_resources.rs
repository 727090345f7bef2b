//! The resources that an identity is assigned to: `POST …/userAssignedIdentities/{name}/listAssociatedResources`.
//!
//! Reading the identity is the right to see all of them. SDKs follow `nextLink` with GET, so that is taken too.
//! Source: Microsoft.ManagedIdentity REST API, 2022-01-31-preview; Microsoft Learn, "View associated Azure resources for a
//! user-assigned managed identity".

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::directory::associated_resource::{
    self, AssociatedResource, Direction, Field, Filter, Selection,
};
use keycard_domain::limits;
use keycard_domain::resource_id::ArmResourceId;
use serde_json::{Value, json};

use super::error::ArmError;
use super::{Arm, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route, Unread};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let path = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}/listAssociatedResources";
    // Differs from Azure: the provider lists `listAssociatedResources/action`, which no role but those of all actions has;
    // its documentation says that whoever may read the identity may ask, and that holds here.
    let read = "Microsoft.ManagedIdentity/userAssignedIdentities/read";
    vec![row(Method::POST, path, read, list), row(Method::GET, path, read, list)]
}

async fn list(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let id: ArmResourceId = params.resource().parse().map_err(|_| ArmError::PathMalformed)?;
    let listing = associated_resource::list(&arm.state, &operation, &id, &selection(&uri)?)?;
    let values: Vec<Value> = listing.shown.iter().map(resource_json).collect();
    let mut body = json!({ "totalCount": listing.total, "value": values });
    if let (Some(next), Some(members)) = (listing.next, body.as_object_mut()) {
        members.insert("nextLink".to_owned(), json!(next_link(&arm, &uri, next)));
    }
    Ok(Json(body))
}

fn resource_json(resource: &AssociatedResource) -> Value {
    json!({
        "id": resource.id,
        "name": resource.name,
        "type": resource.resource_type,
        "resourceGroup": resource.resource_group,
        "subscriptionId": resource.subscription_id,
        "subscriptionDisplayName": resource.subscription_name,
    })
}

/// The skip token says how many resources were shown or passed over; the rest of the query goes along.
fn next_link(arm: &Arm, uri: &Uri, passed: usize) -> String {
    let kept = uri.query().unwrap_or_default().split('&').filter(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        let name = Parameters::parse(name);
        name.count("$skiptoken") == 0 && name.count("$skip") == 0
    });
    let kept: Vec<&str> = kept.collect();
    let base = arm.names.url("management");
    format!("{base}{}?{}&$skiptoken={passed}", uri.path(), kept.join("&"))
}

fn selection(uri: &Uri) -> Result<Selection, ArmError> {
    let query = Parameters::of(uri);
    let number = |name: &'static str| match query.non_empty(name) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| unsupported(&format!("{name}={text}"))),
    };
    Ok(Selection {
        filter: query.non_empty("$filter").map(parse_filter).transpose()?,
        order: query.non_empty("$orderby").map_or_else(|| Ok(Vec::new()), parse_order)?,
        skip: number("$skiptoken")?.or(number("$skip")?).unwrap_or(0),
        top: number("$top")?,
    })
}

fn unsupported(text: &str) -> ArmError {
    ArmError::FilterUnsupported(text.chars().take(limits::VALUE_SHOWN_CHARS_MAX).collect())
}

fn field(name: &str) -> Option<Field> {
    match name.trim().to_ascii_lowercase().as_str() {
        "name" => Some(Field::Name),
        "type" => Some(Field::Type),
        "resourcegroup" => Some(Field::ResourceGroup),
        "subscriptionid" => Some(Field::SubscriptionId),
        "subscriptiondisplayname" => Some(Field::SubscriptionDisplayName),
        _ => None,
    }
}

/// `name`, `name asc`, `type desc,name`.
fn parse_order(text: &str) -> Result<Vec<(Field, Direction)>, ArmError> {
    let term = |term: &str| {
        let mut words = term.split_whitespace();
        let field = field(words.next()?)?;
        let direction = match words.next().map(str::to_ascii_lowercase).as_deref() {
            None | Some("asc") => Direction::Ascending,
            Some("desc") => Direction::Descending,
            Some(_) => return None,
        };
        words.next().is_none().then_some((field, direction))
    };
    let terms: Option<Vec<(Field, Direction)>> = text.split(',').map(term).collect();
    // A member that stands again orders nothing: more than there are members is nonsense, and work.
    terms.filter(|it| it.len() <= 5).ok_or_else(|| unsupported(text))
}

/// A part of a filter, as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
    Comma,
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            c if c.is_whitespace() => {}
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            ',' => tokens.push(Token::Comma),
            '\'' => {
                let mut value = String::new();
                loop {
                    match rest.next()? {
                        // A quote within the text is written twice.
                        '\'' if rest.next_if_eq(&'\'').is_some() => value.push('\''),
                        '\'' => break,
                        c => value.push(c),
                    }
                }
                tokens.push(Token::Text(value));
            }
            c if c.is_ascii_alphabetic() => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(char::is_ascii_alphanumeric) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            _ => return None,
        }
    }
    Some(tokens)
}

/// `eq`, `contains`, `and`, `or` and parentheses; `and` binds more tightly.
fn parse_filter(text: &str) -> Result<Filter, ArmError> {
    let read = || {
        let tokens = tokens(text)?;
        let mut reader = Reader { rest: &tokens };
        let filter = reader.any(0)?;
        reader.rest.is_empty().then_some(filter)
    };
    read().ok_or_else(|| unsupported(text))
}

struct Reader<'a> {
    rest: &'a [Token],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first.clone())
    }

    fn takes_word(&mut self, wanted: &str) -> bool {
        match self.rest.split_first() {
            Some((Token::Word(word), rest)) if word.eq_ignore_ascii_case(wanted) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn takes(&mut self, wanted: &Token) -> Option<()> {
        (self.next()? == *wanted).then_some(())
    }

    fn any(&mut self, depth: usize) -> Option<Filter> {
        let mut parts = vec![self.all(depth)?];
        while self.takes_word("or") {
            parts.push(self.all(depth)?);
        }
        Some(Filter::Any(parts))
    }

    fn all(&mut self, depth: usize) -> Option<Filter> {
        let mut parts = vec![self.one(depth)?];
        while self.takes_word("and") {
            parts.push(self.one(depth)?);
        }
        Some(Filter::All(parts))
    }

    fn one(&mut self, depth: usize) -> Option<Filter> {
        match self.next()? {
            Token::Open if depth < limits::FILTER_DEPTH_MAX => {
                let inner = self.any(depth + 1)?;
                self.takes(&Token::Close)?;
                Some(inner)
            }
            Token::Word(word) if word.eq_ignore_ascii_case("contains") => {
                self.takes(&Token::Open)?;
                let Token::Word(name) = self.next()? else { return None };
                self.takes(&Token::Comma)?;
                let Token::Text(value) = self.next()? else { return None };
                self.takes(&Token::Close)?;
                Some(Filter::Contains(field(&name)?, value))
            }
            Token::Word(name) => {
                let field = field(&name)?;
                self.takes_word("eq").then_some(())?;
                let Token::Text(value) = self.next()? else { return None };
                Some(Filter::Equals(field, value))
            }
            Token::Open | Token::Close | Token::Comma | Token::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equals(value: &str) -> Filter {
        Filter::Equals(Field::Name, value.to_owned())
    }

    #[test]
    fn and_binds_more_tightly_than_or() {
        let read = |text: &str| parse_filter(text).unwrap();
        let all = |parts: &[Filter]| Filter::All(parts.to_vec());
        assert_eq!(
            read("name eq 'a' or NAME EQ 'b' and name eq 'c''d'"),
            Filter::Any(vec![all(&[equals("a")]), all(&[equals("b"), equals("c'd")])])
        );
        let either = Filter::Any(vec![all(&[equals("a")]), all(&[equals("b")])]);
        assert_eq!(
            read("(name eq 'a' or name eq 'b') and name eq 'c'"),
            Filter::Any(vec![all(&[either, equals("c")])])
        );
        let contains = Filter::Contains(Field::ResourceGroup, "rg".to_owned());
        assert_eq!(read("contains( resourceGroup,'rg')"), Filter::Any(vec![all(&[contains])]));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let deep = |depth: usize| format!("{}name eq 'a'{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse_filter(&deep(limits::FILTER_DEPTH_MAX)).is_ok());
        for wrong in [
            "name",
            "name eq a",
            "name eq 'a",
            "location eq 'a'",
            "name ne 'a'",
            "name eq 'a' and",
            "(name eq 'a'",
            "name eq 'a')",
            "contains(name)",
            "startswith(name,'a')",
            "not name eq 'a'",
            &deep(limits::FILTER_DEPTH_MAX + 1),
        ] {
            assert!(parse_filter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_order_is_of_members_and_directions() {
        assert_eq!(
            parse_order("type desc, name"),
            Ok(vec![(Field::Type, Direction::Descending), (Field::Name, Direction::Ascending)])
        );
        for wrong in
            ["", "name up", "name asc asc", "location", "name,", "name,name,name,name,name,name"]
        {
            assert!(parse_order(wrong).is_err(), "{wrong}");
        }
    }
}
