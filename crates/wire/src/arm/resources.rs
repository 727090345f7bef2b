//! Listings across types: `/subscriptions/{id}/resources`, and those of one resource group.
//!
//! Source: Azure Resource Manager REST API, resources - list, with the filters that az and the SDKs send.

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::rbac::RbacScope;
use keycard_domain::resources::listing::{self, ResourceSummary};
use keycard_domain::resources::normalized_location;
use keycard_domain::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use super::body::{page, require_container};
use super::error::ArmError;
use super::filter::{self, BareValues, Comparison, Operator};
use super::{Arm, identity, visibility};
use crate::request::Parameters;
use crate::route::{Access, OwnProof, Params, Route, route};

const READ_ACTION: &str = "Microsoft.Resources/subscriptions/resources/read";

pub(super) fn routes() -> Vec<Route<Arm>> {
    let in_subscription = "/subscriptions/{subscription}/resources";
    let in_group = "/subscriptions/{subscription}/resourceGroups/{group}/resources";
    vec![
        route(Method::GET, in_subscription, Access::OwnProof, list),
        route(Method::GET, in_group, Access::OwnProof, list),
    ]
}

async fn list(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let shown = visibility::shown(&arm, &operation, READ_ACTION, params.resource())?;
    let snapshot = arm.state.snapshot_to_keep();
    require_container(&snapshot, &params)?;
    let query = Parameters::of(&uri);
    let filter = Filter::parse(query.get("$filter").unwrap_or_default())?;
    let shows_state = query
        .get("$expand")
        .is_some_and(|expand| expand.to_ascii_lowercase().contains("provisioningstate"));
    let is_shown = |resource: &ResourceSummary| {
        let action = format!("{}/read", resource.id.resource_type());
        shown.covers(&snapshot, &action, &RbacScope::from(&resource.id))
    };
    let items = listing::below(&snapshot, params.resource())
        .into_iter()
        .filter(|resource| filter.covers(resource) && is_shown(resource))
        .map(|resource| (resource.id.key(), summary_json(&snapshot, resource, shows_state)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

fn summary_json(snapshot: &Snapshot, resource: ResourceSummary, shows_state: bool) -> Value {
    let mut members: Map<String, Value> = resource.other;
    members.insert("id".to_owned(), json!(resource.id));
    members.insert("name".to_owned(), json!(resource.id.name()));
    members.insert("type".to_owned(), json!(resource.id.resource_type()));
    members.insert("location".to_owned(), json!(resource.location.unwrap_or_default()));
    members.insert("tags".to_owned(), json!(resource.tags));
    let tenant = snapshot.subscription(resource.id.subscription()).map(|it| it.tenant_id);
    let identity = tenant.and_then(|tenant| identity::write(&resource.identity, tenant));
    members.extend(identity.map(|identity| ("identity".to_owned(), identity)));
    if shows_state {
        members.insert("provisioningState".to_owned(), json!("Succeeded"));
    }
    Value::Object(members)
}

/// `resourceType eq '…' and name eq '…' and tagName eq '…' and tagValue eq '…'`, in any order; nothing but these terms is
/// understood.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter(Vec<Term>);

#[derive(Debug, PartialEq, Eq)]
enum Term {
    Type(String),
    Name(String),
    Group(String),
    Location(String),
    /// `substringof('…', name)`.
    NamePart(String),
    TagName(String),
    TagValue(String),
}

impl Filter {
    fn parse(text: &str) -> Result<Self, ArmError> {
        let terms = filter::comparisons(text, BareValues::Refused)?.into_iter().map(Term::of);
        terms.collect::<Option<_>>().map(Self).ok_or_else(|| filter::unsupported(text))
    }

    fn covers(&self, resource: &ResourceSummary) -> bool {
        // The value belongs to the name that the filter names, where it names one.
        let tag_name = self.0.iter().find_map(Term::tag_name);
        self.0.iter().all(|term| term.covers(resource, tag_name))
    }
}

impl Term {
    const fn tag_name(&self) -> Option<&String> {
        if let Self::TagName(name) = self { Some(name) } else { None }
    }

    fn of(Comparison { field, operator, value }: Comparison) -> Option<Self> {
        match (&*field, operator) {
            ("name", Operator::Contains) => Some(Self::NamePart(value)),
            ("name", Operator::Equals) => Some(Self::Name(value)),
            ("resourcetype", Operator::Equals) => Some(Self::Type(value)),
            ("resourcegroup", Operator::Equals) => Some(Self::Group(value)),
            ("location", Operator::Equals) => Some(Self::Location(value)),
            ("tagname", Operator::Equals) => Some(Self::TagName(value)),
            ("tagvalue", Operator::Equals) => Some(Self::TagValue(value)),
            _ => None,
        }
    }

    fn covers(&self, resource: &ResourceSummary, tag_name: Option<&String>) -> bool {
        let id = &resource.id;
        match self {
            Self::Type(value) => id.is_of_type(value),
            Self::Name(value) => id.name().eq_ignore_ascii_case(value),
            Self::Group(value) => id.resource_group().eq_ignore_ascii_case(value),
            Self::Location(value) => resource
                .location
                .as_ref()
                .is_some_and(|it| normalized_location(it) == normalized_location(value)),
            Self::NamePart(part) => {
                id.name().to_ascii_lowercase().contains(&part.to_ascii_lowercase())
            }
            Self::TagName(name) => resource.tags.keys().any(|it| it.eq_ignore_ascii_case(name)),
            Self::TagValue(value) => resource.tags.iter().any(|(name, it)| {
                it == value && tag_name.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_that_clients_send_are_understood_and_others_refused() {
        let id = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv1";
        let resource = ResourceSummary {
            id: id.parse().unwrap(),
            location: Some("East US".to_owned()),
            tags: [("Env", "dev"), ("team", "o'neil")].map(|(n, v)| (n.into(), v.into())).into(),
            identity: Default::default(),
            other: Map::new(),
        };
        for (text, expected) in [
            ("", Some(true)),
            ("resourceType eq 'Microsoft.KeyVault/vaults' and name eq 'KV1'", Some(true)),
            ("resourceGroup eq 'other'", Some(false)),
            ("location eq 'eastus'", Some(true)),
            ("location eq 'this and that'", Some(false)),
            ("substringof('V1', name)", Some(true)),
            ("tagname eq 'env' and tagvalue eq 'dev'", Some(true)),
            ("tagname eq 'team' and tagvalue eq 'dev'", Some(false)),
            ("tagvalue eq 'o''neil'", Some(true)),
            ("tagName eq 'none'", Some(false)),
            ("plan eq 'x'", None),
            ("name eq kv1", None),
        ] {
            let found = Filter::parse(text).map(|filter| filter.covers(&resource)).ok();
            assert_eq!(found, expected, "{text}");
        }
    }
}
