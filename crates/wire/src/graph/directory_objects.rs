//! Objects of any type by their ids: `/directoryObjects/getByIds`.
//!
//! Source: Microsoft Graph REST API v1.0, "directoryObject: getByIds".

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::directory::group::{self, DirectoryObject};
use keycard_domain::limits;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, object_id, object_json, tenant};
use super::error::GraphError;
use super::{Base, Graph, row};
use crate::route::{Directory, Route};

pub(super) fn routes() -> Vec<Route<Graph>> {
    let read = "microsoft.directory/servicePrincipals/standard/read";
    vec![row(Method::POST, "/{api}/directoryObjects/getByIds", read, get_by_ids)]
}

#[derive(Deserialize)]
struct IdsBody {
    ids: Vec<String>,
    /// Absent or empty: every type.
    types: Option<Vec<String>>,
}

impl IdsBody {
    fn wants(&self, object: &DirectoryObject) -> bool {
        let kind = match object {
            DirectoryObject::Group(_) => "group",
            DirectoryObject::ServicePrincipal(_) => "servicePrincipal",
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
    let (snapshot, tenant) = (graph.state.snapshot_to_keep(), tenant(&operation)?);
    let mut found = Vec::new();
    for id in &body.ids {
        let object = group::object(&snapshot, tenant, object_id(id)?);
        let wanted = object.filter(|object| body.wants(object));
        found.extend(wanted.map(|object| object_json(&snapshot, &object)));
    }
    Ok(Json(json!({ "@odata.context": base.context("directoryObjects"), "value": found })))
}
