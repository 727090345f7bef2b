//! `GET /metadata/endpoints`: where everything of this cloud is. What `az cloud register` reads.
//!
//! Source: Azure CLI 2.91, cloud metadata; one object, except for 2019-05-01, which is an array.

use axum::Json;
use axum::extract::{Request, State};
use http::Method;
use serde_json::{Value, json};

use super::Arm;
use crate::host_names::{HostNames, host_of, requested_authority};
use crate::request::Parameters;
use crate::route::{Access, Public, Route, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    vec![route(Method::GET, "/metadata/endpoints", Access::Public, endpoints)]
}

/// The names of a cloud: keycard's own, or Azure's for who came by those.
struct Cloud {
    management: String,
    login: String,
    graph: String,
    portal: String,
    key_vault_dns: String,
    storage: String,
    sql_server: String,
}

impl Cloud {
    fn own(names: &HostNames) -> Self {
        let own = |name: &str| names.authority(&format!("{name}.{}", names.domain()));
        Self {
            management: names.url("management"),
            login: names.url("login"),
            graph: names.url("graph"),
            portal: names.url("portal"),
            key_vault_dns: format!(".{}", own("vault")),
            storage: own("storage"),
            sql_server: format!(".database.{}", names.domain()),
        }
    }

    fn azure(names: &HostNames) -> Self {
        let url = |host: &str| format!("https://{}", names.authority(host));
        Self {
            management: url("management.azure.com"),
            login: url("login.microsoftonline.com"),
            graph: url("graph.microsoft.com"),
            portal: names.url("portal"),
            key_vault_dns: format!(".{}", names.authority("vault.azure.net")),
            storage: names.authority("core.windows.net"),
            sql_server: ".database.windows.net".to_owned(),
        }
    }

    fn document(&self) -> Value {
        json!({
            "name": "keycard",
            "portal": self.portal,
            "authentication": {
                "loginEndpoint": self.login,
                "audiences": [self.management],
                "tenant": "common",
                "identityProvider": "AAD",
            },
            "resourceManager": self.management,
            "graph": self.graph,
            "graphAudience": self.graph,
            "microsoftGraphResourceId": self.graph,
            "media": "", "gallery": "", "batch": "", "sqlManagement": "", "activeDirectoryDataLake": "",
            "vmImageAliasDoc": "",
            "suffixes": {
                "keyVaultDns": self.key_vault_dns,
                "storage": self.storage,
                "sqlServerHostname": self.sql_server,
            },
        })
    }
}

/// The document of keycard's own names.
pub(super) fn own_cloud(names: &HostNames) -> Value {
    Cloud::own(names).document()
}

async fn endpoints(Public(_): Public, State(arm): State<Arm>, request: Request) -> Json<Value> {
    let (parts, _) = request.into_parts();
    let host = requested_authority(&parts).and_then(|authority| host_of(&authority));
    let is_azure = host.is_some_and(|host| host.eq_ignore_ascii_case("management.azure.com"));
    let cloud = if is_azure { Cloud::azure(&arm.names) } else { Cloud::own(&arm.names) };
    let document = cloud.document();
    let is_array = Parameters::of(&parts.uri).get("api-version") == Some("2019-05-01");
    Json(if is_array { json!([document]) } else { document })
}
