//! The groups that an object is in, as ids alone: `getMemberGroups`, `checkMemberGroups`; and `getMemberObjects`, where a token
//! sends those who want to know more groups than it can name. Groups in groups count, and nothing else has members here.
//!
//! Source: Microsoft Graph REST API v1.0, "directoryObject: getMemberGroups", "directoryObject: checkMemberGroups".

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::directory::group::{self, DirectoryObject, Reach};
use keycard_domain::ids::{PrincipalId, TenantId};
use keycard_domain::limits;
use keycard_domain::snapshot::Snapshot;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::body::{JsonBody, object_id, path_id, path_principal, tenant};
use super::error::GraphError;
use super::objects::any_object;
use super::{Base, Graph, row};
use crate::route::{Directory, Params, Route};

pub(super) fn routes() -> Vec<Route<Graph>> {
    let objects = [
        "/{api}/directoryObjects/{object}/getMemberGroups",
        "/{api}/directoryObjects/{object}/getMemberObjects",
        "/{api}/directoryObjects/{object}/checkMemberGroups",
    ];
    let groups = [
        "/{api}/groups/{group}/getMemberGroups",
        "/{api}/groups/{group}/getMemberObjects",
        "/{api}/groups/{group}/checkMemberGroups",
    ];
    let principals = [
        "/{api}/servicePrincipals/{servicePrincipal}/getMemberGroups",
        "/{api}/servicePrincipals/{servicePrincipal}/getMemberObjects",
        "/{api}/servicePrincipals/{servicePrincipal}/checkMemberGroups",
    ];
    let read = "microsoft.directory/servicePrincipals/memberOf/read";
    let rows = [(objects, Place::Object), (groups, Place::Group), (principals, Place::Principal)];
    let rows = rows.into_iter().flat_map(|([get, get_objects, check], place)| {
        let all_groups = |path| {
            row(Method::POST, path, read, move |it, graph, params, base, body| {
                get_groups(it, graph, params, base, (body, place))
            })
        };
        let check = row(Method::POST, check, read, move |it, graph, params, base, body| {
            check_groups(it, graph, params, base, (body, place))
        });
        [all_groups(get), all_groups(get_objects), check]
    });
    rows.collect()
}

/// Under which collection the object stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    Object,
    Group,
    Principal,
}

impl Place {
    /// The groups of the object that the path names; an application is in none.
    fn groups(
        self,
        snapshot: &Snapshot,
        tenant: TenantId,
        params: &Params,
    ) -> Result<Vec<PrincipalId>, GraphError> {
        let member = match self {
            Self::Principal => path_principal(snapshot, tenant, params)?.id,
            Self::Group => group::find(snapshot, tenant, path_id(params, "group")?)?.id,
            Self::Object => {
                let id = object_id(params.get("object"))?;
                any_object(snapshot, tenant, *id.as_uuid())
                    .ok_or_else(|| GraphError::NotFound(id.to_string()))?;
                id
            }
        };
        let groups = group::groups_of(snapshot, tenant, member, Reach::Transitive);
        Ok(groups.iter().map(DirectoryObject::id).collect())
    }
}

fn answer(base: &Base, ids: &[PrincipalId]) -> Json<Value> {
    Json(json!({ "@odata.context": base.context("Collection(Edm.String)"), "value": ids }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GetBody {
    /// Makes no difference: keycard has security groups only.
    #[serde(rename = "securityEnabledOnly")]
    _security_enabled_only: Option<IgnoredAny>,
}

async fn get_groups(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    (JsonBody(_), place): (JsonBody<GetBody>, Place),
) -> Result<Json<Value>, GraphError> {
    let snapshot = graph.seen(&operation);
    Ok(answer(&base, &place.groups(&snapshot, tenant(&operation)?, &params)?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckBody {
    group_ids: Vec<String>,
}

/// Those of the named groups that the object is in.
async fn check_groups(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    (JsonBody(body), place): (JsonBody<CheckBody>, Place),
) -> Result<Json<Value>, GraphError> {
    if body.group_ids.len() > limits::GRAPH_CHECKED_GROUPS_MAX {
        return Err(GraphError::BodyMalformed("at most 20 groupIds are allowed".to_owned()));
    }
    let named: Vec<PrincipalId> =
        body.group_ids.iter().map(|id| object_id(id)).collect::<Result<_, _>>()?;
    let mut groups = place.groups(&graph.seen(&operation), tenant(&operation)?, &params)?;
    groups.retain(|group| named.contains(group));
    Ok(answer(&base, &groups))
}
