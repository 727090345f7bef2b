//! `GET /metadata/endpoints`: where everything of this cloud is. What `az cloud register` reads.
//!
//! Source: Azure CLI 2.91, cloud metadata; one object, except for 2019-05-01, which is an array.

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use serde_json::{Value, json};

use super::Arm;
use crate::request::Parameters;
use crate::route::{Access, Public, Route, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    vec![route(Method::GET, "/metadata/endpoints", Access::Public, endpoints)]
}

async fn endpoints(Public(_): Public, State(arm): State<Arm>, uri: Uri) -> Json<Value> {
    let names = &arm.names;
    let (management, login, graph) =
        (names.url("management"), names.url("login"), names.url("graph"));
    let own = |name: &str| names.authority(&format!("{name}.{}", names.domain()));
    let cloud = json!({
        "name": "keycard",
        "portal": names.url("portal"),
        "authentication": {
            "loginEndpoint": login,
            "audiences": [management],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "resourceManager": management,
        "graph": graph,
        "graphAudience": graph,
        "microsoftGraphResourceId": graph,
        "media": "", "gallery": "", "batch": "", "sqlManagement": "", "activeDirectoryDataLake": "",
        "vmImageAliasDoc": "",
        "suffixes": {
            "keyVaultDns": format!(".{}", own("vault")),
            "storage": own("storage"),
            "sqlServerHostname": format!(".database.{}", names.domain()),
        },
    });
    let is_array = Parameters::of(&uri).get("api-version") == Some("2019-05-01");
    Json(if is_array { json!([cloud]) } else { cloud })
}
