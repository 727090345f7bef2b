//! What a running server tells about itself: the JSON of `up --output json`, which the other commands read again.

use keycard_crypto::secret::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The description, in the shape of the contract.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// keycard's version.
    pub version: String,
    /// `standard` or `azure`.
    pub profile: String,
    /// The first tenant.
    pub tenant_id: String,
    /// Its subscription.
    pub subscription_id: String,
    /// Who may begin.
    pub administrator: Administrator,
    /// The certificate of the local authority, PEM.
    pub ca_file: String,
    /// The same with the system's authorities.
    pub ca_bundle_file: String,
    /// Where the faces are.
    pub endpoints: Endpoints,
    /// What names of services end in.
    pub suffixes: Suffixes,
    /// Where `run` hands sandboxes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_socket: Option<String>,
}

/// The bootstrap administrator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Administrator {
    /// The client id.
    pub client_id: String,
    /// The client secret.
    #[serde(serialize_with = "expose", deserialize_with = "hide")]
    pub client_secret: Secret,
    /// The principal.
    pub object_id: String,
}

/// Addresses of the faces.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Azure Resource Manager.
    pub resource_manager: String,
    /// The token service.
    pub token_service: String,
    /// Microsoft Graph.
    pub graph: String,
    /// The portal.
    pub portal: String,
    /// Resource Manager, token service and Graph by path.
    pub loopback: String,
    /// Prometheus metrics.
    pub metrics: String,
}

/// What names of services end in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suffixes {
    /// Of vaults, with a leading dot.
    pub key_vault_dns: String,
    /// Of storage, without one.
    pub storage: String,
    /// Of SQL servers, with a leading dot.
    pub sql_server: String,
}

/// The one place where the secret is written: to the person or script that started the server.
fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn hide<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
