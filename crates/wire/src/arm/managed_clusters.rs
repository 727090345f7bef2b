//! AKS: `Microsoft.ContainerService/managedClusters`. The cluster's identities, those of its nodes, and nothing of
//! Kubernetes: no API server answers, so nobody gets credentials for one.
//!
//! Source: Microsoft.ContainerService REST API, 2024-02-01.

use axum::extract::State;
use http::{Method, StatusCode};
use keycard_domain::compute::managed_cluster::{AgentPool, Cluster, ClusterRequest};
use keycard_domain::compute::{ComputeKind, ComputeRequest, ComputeResource, PowerState};
use keycard_domain::limits;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::normalized_location;
use serde_json::{Map, Value, json};

use super::compute::{Manner, PLAIN, Shown, kind_rows, read, switch};
use super::error::ArmError;
use super::resource_body::member;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route, Unread};

/// Clients take 204 of a DELETE, and of switching on and off, and no 200.
pub(super) const MANNER: Manner = Manner {
    deleted: StatusCode::NO_CONTENT,
    read_put: read_cluster,
    read_patch: read_tags,
    show: show_members,
    ..PLAIN
};

macro_rules! action_row {
    ($verb:literal, $handler:expr) => {
        row(
            Method::POST,
            concat!(
                "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerService/managedClusters/{name}/",
                $verb
            ),
            concat!("Microsoft.ContainerService/managedClusters/", $verb, "/action"),
            $handler,
        )
    };
}

pub(super) fn routes() -> Vec<Route<Arm>> {
    let mut rows =
        kind_rows!(ComputeKind::ManagedCluster, "Microsoft.ContainerService/managedClusters");
    rows.extend([
        action_row!("start", |operation: Rbac, arm: State<Arm>, params: Params, _: Unread| {
            power(operation, arm, params, PowerState::Running)
        }),
        action_row!("stop", |operation: Rbac, arm: State<Arm>, params: Params, _: Unread| {
            power(operation, arm, params, PowerState::Stopped)
        }),
        action_row!("listClusterUserCredential", no_credentials),
        action_row!("listClusterAdminCredential", no_credentials),
        action_row!("listClusterMonitoringUserCredential", no_credentials),
    ]);
    rows
}

async fn power(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    power_state: PowerState,
) -> Result<StatusCode, ArmError> {
    switch(&operation, &arm, &params, power_state).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn no_credentials(Rbac(_): Rbac, _: Unread) -> Result<StatusCode, ArmError> {
    Err(ArmError::Unsupported("the credentials of clusters, whose Kubernetes it does not run,"))
}

fn malformed(reason: &str) -> ArmError {
    ArmError::BodyMalformed(reason.to_owned())
}

fn is(name: &str, known: &str) -> bool {
    name.eq_ignore_ascii_case(known)
}

/// A PATCH changes the tags; whatever else it carries would be lost, and is refused.
fn read_tags(body: &Map<String, Value>) -> Result<ComputeRequest, ArmError> {
    match body.keys().find(|name| !is(name, "tags")) {
        Some(other) => Err(malformed(&format!(
            "Could not find member '{other}' on object of type 'TagsObject'. Path '{other}'."
        ))),
        None => read(body),
    }
}

/// What clients send back that is not theirs to say.
const READ_ONLY: &[&str] = &[
    "provisioningState",
    "powerState",
    "fqdn",
    "currentKubernetesVersion",
    "identityProfile",
    "nodeResourceGroup",
    "maxAgentPools",
];

fn read_cluster(body: &Map<String, Value>) -> Result<ComputeRequest, ArmError> {
    let mut request = read(body)?;
    let mut properties = request.properties.take().unwrap_or_default();
    request.cluster = Some(read_request(&properties)?);
    properties.retain(|name, _| !READ_ONLY.iter().any(|known| is(name, known)));
    let profile = properties.iter_mut().find(|(name, _)| is(name, "servicePrincipalProfile"));
    if let Some((_, profile)) = profile {
        let client = profile.as_object().and_then(|it| member(it, "clientId"));
        *profile = json!({ "clientId": client.filter(Value::is_string) });
    }
    request.properties = Some(properties);
    Ok(request)
}

/// A member of a member, by names whose case means nothing.
fn inner(members: &Map<String, Value>, path: &[&str]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    let value = member(members, first)?;
    if rest.is_empty() { Some(value) } else { inner(value.as_object()?, rest) }
}

fn read_request(properties: &Map<String, Value>) -> Result<ClusterRequest, ArmError> {
    let kubelet = inner(properties, &["identityProfile", "kubeletidentity", "resourceId"]);
    let client = inner(properties, &["servicePrincipalProfile", "clientId"]);
    let group = member(properties, "nodeResourceGroup");
    let issuer = inner(properties, &["oidcIssuerProfile", "enabled"]);
    let is_application = |client: Value| client.as_str().is_some_and(|it| !is(it, "msi"));
    Ok(ClusterRequest {
        node_resource_group: group.as_ref().map(read_group).transpose()?,
        kubelet: kubelet.as_ref().map(read_kubelet).transpose()?,
        pools: read_pools(member(properties, "agentPoolProfiles").as_ref())?,
        oidc_issuer: issuer.as_ref().map(read_issuer).transpose()?,
        has_service_principal: client.is_some_and(is_application),
    })
}

fn read_group(name: &Value) -> Result<String, ArmError> {
    let wrong = "'nodeResourceGroup' is not a string. Path 'properties.nodeResourceGroup'.";
    name.as_str().map(str::to_owned).ok_or_else(|| malformed(wrong))
}

fn read_issuer(enabled: &Value) -> Result<bool, ArmError> {
    let wrong = "'enabled' is not a boolean. Path 'properties.oidcIssuerProfile'.";
    enabled.as_bool().ok_or_else(|| malformed(wrong))
}

fn read_kubelet(id: &Value) -> Result<ArmResourceId, ArmError> {
    let wrong = "The resourceId is not that of a user assigned identity. Path 'properties.identityProfile.kubeletidentity'.";
    id.as_str()
        .and_then(|id| id.parse().ok())
        .filter(|id: &ArmResourceId| {
            id.is_of_type("Microsoft.ManagedIdentity/userAssignedIdentities")
        })
        .ok_or_else(|| malformed(wrong))
}

fn read_pools(profiles: Option<&Value>) -> Result<Vec<AgentPool>, ArmError> {
    let wrong = || malformed("The agent pools are malformed. Path 'properties.agentPoolProfiles'.");
    let Some(profiles) = profiles else { return Ok(Vec::new()) };
    let profiles = profiles.as_array().ok_or_else(wrong)?;
    let read = |profile: &Value| {
        let profile = profile.as_object().ok_or_else(wrong)?;
        let of_sets = member(profile, "type")
            .is_none_or(|it| it.as_str().is_some_and(|it| is(it, "VirtualMachineScaleSets")));
        if !of_sets {
            return Err(ArmError::Unsupported("agent pools that are no scale sets"));
        }
        let name = member(profile, "name").ok_or_else(wrong)?;
        let count = member(profile, "count").map_or(Some(1), |count| count.as_u64());
        Ok(AgentPool {
            name: name.as_str().ok_or_else(wrong)?.to_owned(),
            count: count.ok_or_else(wrong)?,
        })
    };
    profiles.iter().map(read).collect()
}

/// The version that a cluster is said to have where nobody chose one.
const KUBERNETES_VERSION: &str = "1.33";

fn show_members(arm: &Arm, resource: &ComputeResource, shown: &mut Shown) {
    let Some(cluster) = &resource.cluster else { return };
    let properties = &mut shown.properties;
    let version =
        member(properties, "kubernetesVersion").unwrap_or_else(|| json!(KUBERNETES_VERSION));
    let prefix = member(properties, "dnsPrefix");
    let prefix = prefix.as_ref().and_then(Value::as_str).unwrap_or_else(|| resource.id.name());
    // Differs from Azure: the host name is below keycard's own domain, so that nobody is sent to a stranger's cluster.
    let fqdn = format!(
        "{prefix}-{:08x}.hcp.{}.azmk8s.{}",
        resource.instance_id.as_u128() % 0x1_0000_0000,
        normalized_location(&resource.location),
        arm.names.domain()
    );
    let is_running = resource.power_state == PowerState::Running;
    let power_state = json!({ "code": if is_running { "Running" } else { "Stopped" } });
    show_pools(properties, &version, &power_state);
    show_network(properties);
    show_profiles(properties, resource, cluster);
    show_issuer(arm, properties, resource, cluster);
    for (name, value) in [
        ("powerState", power_state),
        ("kubernetesVersion", version.clone()),
        ("currentKubernetesVersion", version),
        ("fqdn", json!(fqdn.to_ascii_lowercase())),
        ("nodeResourceGroup", json!(cluster.node_resource_group)),
        ("maxAgentPools", json!(limits::AGENT_POOLS_MAX)),
    ] {
        properties.insert(name.to_owned(), value);
    }
    properties.entry("enableRBAC").or_insert(json!(true));
    shown.members.entry("sku").or_insert(json!({ "name": "Base", "tier": "Free" }));
}

fn show_pools(properties: &mut Map<String, Value>, version: &Value, power_state: &Value) {
    let pools = properties.iter_mut().find(|(name, _)| is(name, "agentPoolProfiles"));
    let Some((_, Value::Array(pools))) = pools else { return };
    for pool in pools.iter_mut().filter_map(Value::as_object_mut) {
        for (name, value) in [
            ("count", json!(1)),
            ("type", json!("VirtualMachineScaleSets")),
            ("mode", json!("System")),
            ("osType", json!("Linux")),
            ("orchestratorVersion", version.clone()),
        ] {
            pool.entry(name).or_insert(value);
        }
        pool.insert("provisioningState".to_owned(), json!("Succeeded"));
        pool.insert("powerState".to_owned(), power_state.clone());
    }
}

/// What a network is in Azure where nobody chose anything.
fn show_network(properties: &mut Map<String, Value>) {
    let network = properties.entry("networkProfile").or_insert(json!({}));
    let Some(network) = network.as_object_mut() else { return };
    for (name, value) in [
        ("networkPlugin", "kubenet"),
        ("podCidr", "10.244.0.0/16"),
        ("serviceCidr", "10.0.0.0/16"),
        ("dnsServiceIP", "10.0.0.10"),
        ("outboundType", "loadBalancer"),
        ("loadBalancerSku", "standard"),
    ] {
        network.entry(name).or_insert(json!(value));
    }
}

/// Who the cluster and its nodes are.
fn show_profiles(
    properties: &mut Map<String, Value>,
    resource: &ComputeResource,
    cluster: &Cluster,
) {
    if !resource.identity.is_empty() {
        properties.insert("servicePrincipalProfile".to_owned(), json!({ "clientId": "msi" }));
    }
    if let Some(kubelet) = &cluster.kubelet {
        let profile = json!({ "kubeletidentity": {
            "resourceId": kubelet.identity.with_lowercase_group_segment(),
            "clientId": kubelet.client_id,
            "objectId": kubelet.principal_id,
        }});
        properties.insert("identityProfile".to_owned(), profile);
    }
}

/// Differs from Azure: where the client gave the address of an issuer, that one is shown.
fn show_issuer(
    arm: &Arm,
    properties: &mut Map<String, Value>,
    resource: &ComputeResource,
    cluster: &Cluster,
) {
    let shown = properties.entry("oidcIssuerProfile").or_insert(json!({}));
    let Some(shown) = shown.as_object_mut() else { return };
    shown.insert("enabled".to_owned(), json!(cluster.has_oidc_issuer));
    if let Ok(issuer) = arm.clusters.address(&resource.id) {
        shown.entry("issuerURL").or_insert(json!(issuer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_cluster_is_read_without_its_secret_and_what_is_not_the_clients() {
        let body = json!({ "properties": {
            "fqdn": "x",
            "nodeResourceGroup": "nodes",
            "servicePrincipalProfile": { "clientId": "c", "secret": "s" },
            "agentPoolProfiles": [{ "name": "np1" }, { "name": "np2", "count": 3 }],
            "oidcIssuerProfile": { "enabled": true },
        }});
        let request = read_cluster(&object(&body)).unwrap();
        let cluster = request.cluster.unwrap();
        assert_eq!(cluster.node_resource_group.as_deref(), Some("nodes"));
        assert_eq!(cluster.pools.iter().map(|it| it.count).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((cluster.oidc_issuer, cluster.has_service_principal), (Some(true), true));
        let kept = Value::Object(request.properties.unwrap());
        assert_eq!(kept["servicePrincipalProfile"], json!({ "clientId": "c" }));
        assert!(kept.get("fqdn").is_none() && kept.get("nodeResourceGroup").is_none());
        for wrong in [
            json!({ "agentPoolProfiles": {} }),
            json!({ "agentPoolProfiles": [{}] }),
            json!({ "agentPoolProfiles": [{ "name": "np1", "count": -1 }] }),
            json!({ "agentPoolProfiles": [{ "name": "np1", "type": "AvailabilitySet" }] }),
            json!({ "nodeResourceGroup": 1 }),
            json!({ "oidcIssuerProfile": { "enabled": "yes" } }),
            json!({ "identityProfile": { "kubeletidentity": { "resourceId": "x" } } }),
        ] {
            let body = json!({ "properties": wrong });
            assert!(read_cluster(&object(&body)).is_err(), "{body}");
        }
    }

    #[test]
    fn a_patch_has_tags_and_nothing_else() {
        assert!(read_tags(&object(&json!({ "tags": { "a": "b" } }))).is_ok());
        assert!(read_tags(&object(&json!({ "identity": { "type": "None" } }))).is_err());
    }
}
