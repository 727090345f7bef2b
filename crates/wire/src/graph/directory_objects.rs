//! Objects of any type by their ids: `/directoryObjects/{id}`, `/directoryObjects/getByIds`.
//!
//! Source: Microsoft Graph REST API v1.0, "Get directoryObject", "directoryObject: getByIds".

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::directory::group::DirectoryObject;
use keycard_domain::limits;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, entity, object_id, tenant};
use super::error::GraphError;
use super::objects::{AnyObject, any_object, any_object_json};
use super::query::Query;
use super::{Base, Graph, row};
use crate::route::{Directory, Params, Route};

pub(super) fn routes() -> Vec<Route<Graph>> {
    let read = "microsoft.directory/servicePrincipals/standard/read";
    vec![
        row(Method::POST, "/{api}/directoryObjects/getByIds", read, get_by_ids),
        row(Method::GET, "/{api}/directoryObjects/{object}", read, show),
    ]
}

#[derive(Deserialize)]
struct IdsBody {
    ids: Vec<String>,
    /// Absent or empty: every type.
    types: Option<Vec<String>>,
}

impl IdsBody {
    fn wants(&self, object: &AnyObject) -> bool {
        let kind = match object {
            AnyObject::Directory(DirectoryObject::Group(_)) => "group",
            AnyObject::Directory(DirectoryObject::ServicePrincipal(_)) => "servicePrincipal",
            AnyObject::Application(_) => "application",
        };
        let types = self.types.as_deref().unwrap_or_default();
        types.is_empty()
            || types.iter().any(|it| {
                it.eq_ignore_ascii_case(kind) || it.eq_ignore_ascii_case("directoryObject")
            })
    }
}

/// The objects that there are; ids of none are left out.
async fn get_by_ids(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    JsonBody(body): JsonBody<IdsBody>,
) -> Result<Json<Value>, GraphError> {
    if body.ids.len() > limits::GRAPH_IDS_MAX {
        return Err(GraphError::BodyMalformed("at most 1000 ids are allowed".to_owned()));
    }
    let (snapshot, tenant) = (graph.seen(&operation), tenant(&operation)?);
    let mut found = Vec::new();
    for id in &body.ids {
        let object = any_object(&snapshot, tenant, *object_id(id)?.as_uuid());
        let wanted = object.filter(|object| body.wants(object));
        found.extend(wanted.map(|object| any_object_json(&snapshot, &object)));
    }
    Ok(Json(json!({ "@odata.context": base.context("directoryObjects"), "value": found })))
}

async fn show(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.seen(&operation);
    let id = *object_id(params.get("object"))?.as_uuid();
    let object = any_object(&snapshot, tenant(&operation)?, id)
        .ok_or_else(|| GraphError::NotFound(id.to_string()))?;
    let body = query.select(any_object_json(&snapshot, &object));
    Ok(Json(entity(&base, "directoryObjects", body)))
}
