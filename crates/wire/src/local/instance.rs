//! What a machine is told of itself: `GET /metadata/versions`, `GET /metadata/instance` and everything below.
//!
//! One document, from which a path takes a part. Every primitive is a string; what is not known is empty. Source: Microsoft
//! Learn, Azure Instance Metadata Service, "Instance metadata".

pub(super) mod compute;
pub(super) mod error;
mod network;
mod storage;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri, header};
use keycard_domain::compute::PowerState;
use keycard_domain::compute::machine::Machine;
use keycard_domain::operation::{Caller, OperationContext};
use serde_json::{Map, Value, json};

use super::{LocalFace, api_version};
use crate::request::{Parameters, Segments};
use crate::route::{Access, LocalCaller, Params, Route, route};
use error::InstanceError;

/// The rows of the instance category.
pub(super) fn routes() -> Vec<Route<LocalFace>> {
    let (get, caller) = (Method::GET, Access::LocalCaller);
    vec![
        route(get.clone(), "/metadata/versions", caller, versions),
        route(get, "/metadata/instance/{*rest}", caller, instance),
    ]
}

/// The categories that answer in the shape of this one.
const CATEGORIES: &[&str] =
    &["versions", "instance", "attested", "loadbalancer", "scheduledevents"];

/// Whether a path is about these categories: their refusals have a shape of their own.
pub(super) fn is_asked_for(uri: &Uri) -> bool {
    let Ok(segments) = Segments::parse(uri.path()) else { return false };
    match segments.as_slice() {
        [metadata, category, ..] => {
            let is = |known: &&str| known.eq_ignore_ascii_case(category);
            metadata.eq_ignore_ascii_case("metadata") && CATEGORIES.iter().any(is)
        }
        _ => false,
    }
}

/// The one answer that needs no api-version.
async fn versions(LocalCaller(_): LocalCaller) -> Json<Value> {
    Json(json!({ "apiVersions": api_version::ALL }))
}

async fn instance(
    LocalCaller(operation): LocalCaller,
    State(local): State<LocalFace>,
    params: Params,
    uri: Uri,
) -> Result<Response, InstanceError> {
    let query = Query::parse(&uri)?;
    let machine = running_machine(&local, &operation)?;
    let document = document(&machine, query.api_version);
    let part = part(&document, params.rest()).ok_or(InstanceError::ElementUnknown)?;
    query.format.render(part)
}

/// The machine whose workload asks; where it does not run, nobody does.
pub(super) fn running_machine(
    local: &LocalFace,
    operation: &OperationContext,
) -> Result<Machine, InstanceError> {
    let Caller::Workload(id) = &operation.caller else { return Err(InstanceError::MachineUnknown) };
    let machine = local.machines.machine(id).ok_or(InstanceError::MachineUnknown)?;
    if machine.workload.power_state == PowerState::Running {
        Ok(machine)
    } else {
        Err(InstanceError::NotRunning)
    }
}

/// What the query says.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    api_version: &'static str,
    format: Format,
}

/// How a part of the document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

/// The version that a query names, whatever else it says; no name may stand twice.
pub(super) fn checked_version(query: &Parameters) -> Result<&'static str, InstanceError> {
    let version = query.non_empty("api-version").and_then(api_version::known);
    let version = version.ok_or(InstanceError::ApiVersionInvalid)?;
    if query.has_duplicates() { Err(InstanceError::ParameterDuplicate) } else { Ok(version) }
}

impl Query {
    fn parse(uri: &Uri) -> Result<Self, InstanceError> {
        let query = Parameters::of(uri);
        let api_version = checked_version(&query)?;
        let format = match query.non_empty("format") {
            None => Format::Json,
            Some(json) if json.eq_ignore_ascii_case("json") => Format::Json,
            Some(text) if text.eq_ignore_ascii_case("text") => Format::Text,
            Some(_) => return Err(InstanceError::FormatUnknown),
        };
        Ok(Self { api_version, format })
    }
}

impl Format {
    fn render(self, part: &Value) -> Result<Response, InstanceError> {
        let is_inner = part.is_object() || part.is_array();
        match self {
            Self::Json if is_inner => Ok(Json(part.clone()).into_response()),
            Self::Json => Err(InstanceError::LeafNeedsText),
            Self::Text => {
                let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
                Ok((StatusCode::OK, headers, text(part)).into_response())
            }
        }
    }
}

/// The whole of what a version of the service tells of the machine.
fn document(machine: &Machine, api_version: &str) -> Value {
    let mut document = Map::new();
    document.insert("compute".to_owned(), compute::document(machine, api_version));
    document.insert("network".to_owned(), network::document(machine));
    Value::Object(document)
}

/// The part at a path: members by name in any case, items of an array by their number.
fn part<'a>(document: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(document, |inner, segment| match inner {
        Value::Object(members) => {
            members.iter().find(|(name, _)| name.eq_ignore_ascii_case(segment)).map(|it| it.1)
        }
        Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// A leaf as it is; of an inner element its members, one a line, those that have members themselves with a slash.
fn text(part: &Value) -> String {
    let line = |name: &str, inner: &Value| {
        let slash = if inner.is_object() || inner.is_array() { "/" } else { "" };
        format!("{name}{slash}")
    };
    match part {
        Value::Object(members) => {
            members.iter().map(|(name, inner)| line(name, inner)).collect::<Vec<_>>().join("\n")
        }
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered
                .map(|(number, inner)| line(&number.to_string(), inner))
                .collect::<Vec<_>>()
                .join("\n")
        }
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => shown(Some(part)),
    }
}

/// A primitive as text; what is not there is empty.
pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null | Value::Object(_) | Value::Array(_)) | None => String::new(),
    }
}

/// A member that is taken over from what the client said of the machine.
struct Member {
    /// Its place in the document, `a.b` for a member of a member.
    name: &'static str,
    /// The first version of the service that tells it.
    since: &'static str,
    /// Where the client said it.
    pointer: &'static str,
    /// What stands there when nobody said it.
    otherwise: &'static str,
}

const fn member(
    name: &'static str,
    since: &'static str,
    pointer: &'static str,
    otherwise: &'static str,
) -> Member {
    Member { name, since, pointer, otherwise }
}

/// Writes a leaf where the version knows it.
fn put(document: &mut Map<String, Value>, version: &str, since: &str, name: &str, value: Value) {
    if version < since {
        return;
    }
    match name.split_once('.') {
        None => {
            document.insert(name.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = document.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, version, since, rest, value);
            }
        }
    }
}

/// Writes the members of a table.
fn put_members<'a>(
    document: &mut Map<String, Value>,
    version: &str,
    members: &[Member],
    said: impl Fn(&str) -> Option<&'a Value>,
) {
    for Member { name, since, pointer, otherwise } in members {
        let value = Some(shown(said(pointer))).filter(|text| !text.is_empty());
        let value = value.unwrap_or_else(|| (*otherwise).to_owned());
        put(document, version, since, name, Value::String(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Value {
        json!({ "a": { "leaf": "1", "inner": { "x": "" } }, "list": [{ "n": "first" }, "second"] })
    }

    fn at(path: &str) -> Option<Value> {
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        part(&tree(), &segments).cloned()
    }

    #[test]
    fn a_path_takes_a_part() {
        assert_eq!(part(&tree(), &[]), Some(&tree()));
        assert_eq!(at("a/leaf"), Some(json!("1")));
        assert_eq!(at("A/Leaf"), Some(json!("1")));
        assert_eq!(at("list/0/n"), Some(json!("first")));
        assert_eq!(at("list/1"), Some(json!("second")));
        for missing in ["b", "a/b", "a/leaf/more", "list/2", "list/-1", "list/n", "list/+0x"] {
            assert_eq!(at(missing), None, "{missing}");
        }
    }

    #[test]
    fn text_is_a_leaf_or_the_names_below() {
        assert_eq!(text(&at("a").unwrap()), "inner/\nleaf");
        assert_eq!(text(&at("list").unwrap()), "0/\n1");
        assert_eq!(text(&at("a/leaf").unwrap()), "1");
        assert_eq!(text(&at("a/inner/x").unwrap()), "");
    }

    #[test]
    fn the_query_is_read_in_the_order_of_the_service() {
        let parse = |query: &str| Query::parse(&format!("/x?{query}").parse().unwrap());
        let of = |format| Ok(Query { api_version: "2021-02-01", format });
        assert_eq!(parse("api-version=2021-02-01"), of(Format::Json));
        assert_eq!(parse("api-version=2021-02-01&format=JSON"), of(Format::Json));
        assert_eq!(parse("API-Version=2021-02-01&format=text"), of(Format::Text));
        for (query, error) in [
            ("", InstanceError::ApiVersionInvalid),
            ("api-version=2021-02-02", InstanceError::ApiVersionInvalid),
            ("format=text&format=text", InstanceError::ApiVersionInvalid),
            ("api-version=2021-02-01&x=1&X=2", InstanceError::ParameterDuplicate),
            ("api-version=2021-02-01&format=xml", InstanceError::FormatUnknown),
        ] {
            assert_eq!(parse(query), Err(error), "{query}");
        }
    }

    #[test]
    fn the_categories_are_known_by_their_paths() {
        for (path, is_one) in [
            ("/metadata/instance", true),
            ("/metadata/instance/compute/name", true),
            ("/Metadata//Versions/", true),
            ("/metadata/attested/document", true),
            ("/metadata/identity/oauth2/token", false),
            ("/metadata", false),
            ("/elsewhere/instance", false),
            ("/metadata/../instance", false),
        ] {
            assert_eq!(is_asked_for(&path.parse().unwrap()), is_one, "{path}");
        }
    }
}
