//! AKS clusters: azure-semantics 7.3 and checklist 78; az-cli-calls 3.7.

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{
    ARM_AUDIENCE, Cloud, GRAPH_AUDIENCE, IDENTITY_OPERATOR, OWNER, VAULT_AUDIENCE, claims,
};

const VERSION: &str = "2026-06-01";
const NODE_GROUP: &str = "MC_rg1_aks1_local";

fn cluster_id(cloud: &Cloud, group: &str, name: &str) -> String {
    let group = format!("{}/resourceGroups/{group}", cloud.subscription());
    format!("{group}/providers/Microsoft.ContainerService/managedClusters/{name}")
}

fn id(cloud: &Cloud) -> String {
    cluster_id(cloud, "rg1", "aks1")
}

/// A cluster of these pools, with more members of its properties.
fn body(identity: &Value, pools: &[(&str, u64)], more: &Value) -> Value {
    let pools: Vec<Value> =
        pools.iter().map(|(name, count)| json!({ "name": name, "count": count })).collect();
    let mut properties = json!({ "dnsPrefix": "aks1", "agentPoolProfiles": pools });
    properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "location": "local", "identity": identity, "properties": properties })
}

fn system() -> Value {
    json!({ "type": "SystemAssigned" })
}

async fn put(cloud: &Cloud, body: Value) -> Answer {
    cloud.admin(Method::PUT, &id(cloud), VERSION, Some(body)).await
}

async fn made(cloud: &Cloud, body: Value) -> Value {
    let answer = put(cloud, body).await;
    assert!(answer.status.is_success(), "{}", answer.body);
    answer.body
}

async fn get(cloud: &Cloud, path: &str) -> Answer {
    cloud.admin(Method::GET, path, "2024-11-01", None).await
}

fn node_group(cloud: &Cloud, name: &str) -> String {
    format!("{}/resourceGroups/{name}", cloud.subscription())
}

/// The scale sets of the nodes, by id and capacity.
async fn node_sets(cloud: &Cloud) -> Vec<(String, u64)> {
    let group = node_group(cloud, NODE_GROUP);
    let path = format!("{group}/providers/Microsoft.Compute/virtualMachineScaleSets");
    let listed = get(cloud, &path).await;
    assert_eq!(listed.status, StatusCode::OK, "{}", listed.body);
    let sets = listed.body["value"].as_array().unwrap().iter();
    sets.map(|it| (it["id"].as_str().unwrap().to_owned(), it["sku"]["capacity"].as_u64().unwrap()))
        .collect()
}

/// What the metadata endpoint of the first node of a set answers to a token request.
async fn node_token(cloud: &Cloud, set: &str) -> Answer {
    let base = cloud.attachment(&format!("{set}/virtualMachines/0")).await;
    let base = base["url"].as_str().unwrap();
    let query = format!("api-version=2018-02-01&resource={VAULT_AUDIENCE}");
    let url = format!("{base}/metadata/identity/oauth2/token?{query}");
    cloud.get(&url, &[("Metadata", "true")]).await
}

async fn is_in_directory(cloud: &Cloud, principal: &Value) -> bool {
    let token = cloud.admin_token(GRAPH_AUDIENCE).await;
    let path = format!("/servicePrincipals/{}", principal.as_str().unwrap());
    cloud.graph(Some(&token), Method::GET, &path, None).await.status == StatusCode::OK
}

fn refusal(answer: &Answer) -> (u16, &str, &str) {
    let text = |member: &str| answer.body["error"][member].as_str().unwrap_or_default();
    (answer.status.as_u16(), text("code"), text("message"))
}

/// 78
#[tokio::test]
async fn a_cluster_makes_its_node_group_its_kubelet_identity_and_its_nodes() {
    let cloud = Cloud::start().await;
    let first = put(&cloud, body(&system(), &[("np1", 2)], &json!({}))).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    let properties = &first.body["properties"];
    assert_eq!(properties["nodeResourceGroup"], NODE_GROUP);
    assert_eq!(properties["servicePrincipalProfile"], json!({ "clientId": "msi" }));
    assert_eq!(properties["powerState"]["code"], "Running");
    assert_eq!(properties["agentPoolProfiles"][0]["provisioningState"], "Succeeded");
    assert_eq!(properties["networkProfile"]["loadBalancerSku"], "standard");
    let group = get(&cloud, &node_group(&cloud, NODE_GROUP)).await;
    assert_eq!(group.body["managedBy"], id(&cloud));
    let kubelet = &properties["identityProfile"]["kubeletidentity"];
    let identity = get(&cloud, kubelet["resourceId"].as_str().unwrap()).await;
    assert_eq!(identity.body["name"], "aks1-agentpool");
    assert_eq!(identity.body["properties"]["clientId"], kubelet["clientId"]);
    assert_eq!(identity.body["properties"]["principalId"], kubelet["objectId"]);
    assert_ne!(kubelet["objectId"], first.body["identity"]["principalId"]);

    let sets = node_sets(&cloud).await;
    assert_eq!(sets.len(), 1);
    assert!(sets[0].0.contains("/aks-np1-") && sets[0].0.ends_with("-vmss"), "{sets:?}");
    assert_eq!(sets[0].1, 2);
    let answer = node_token(&cloud, &sets[0].0).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
    assert_eq!(claims(&token)["oid"], kubelet["objectId"], "a node acts as the kubelet identity");
    let attached = cloud.administration.attachments().await.unwrap();
    assert_eq!(attached.len(), 2, "the nodes have endpoints, the cluster has none: {attached:?}");

    // az reads the cluster, and puts the whole of it.
    let whole = get(&cloud, &id(&cloud)).await.body;
    let again = put(&cloud, whole.clone()).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &whole));
    assert_eq!(again.body["identity"], first.body["identity"]);
}

/// 78
#[tokio::test]
async fn a_cluster_has_one_kind_of_identity_and_one_assigned_one() {
    let cloud = Cloud::start().await;
    for name in ["aaa", "bbb"] {
        cloud.put_identity(name).await;
    }
    for (names, count) in [(&["aaa", "bbb"][..], 2), (&[], 0)] {
        let map: serde_json::Map<String, Value> =
            names.iter().map(|name| (cloud.identity_id(name), json!({}))).collect();
        let identity = json!({ "type": "UserAssigned", "userAssignedIdentities": map });
        let refused = put(&cloud, body(&identity, &[("np1", 1)], &json!({}))).await;
        let text = format!(
            "The count of user assigned identity specified in identity.userAssignedIdentities is {count}, while expected value is 1."
        );
        assert_eq!(refusal(&refused), (400, "InvalidParameter", text.as_str()));
    }
    let both = cloud.identity_block(true, &["aaa"]);
    let refused = put(&cloud, body(&both, &[("np1", 1)], &json!({}))).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    let one = cloud.identity_block(false, &["aaa"]);
    made(&cloud, body(&one, &[("np1", 1)], &json!({}))).await;
    let other =
        made(&cloud, body(&cloud.identity_block(false, &["bbb"]), &[("np1", 1)], &json!({}))).await;
    assert_eq!(other["identity"]["userAssignedIdentities"].as_object().unwrap().len(), 1);
    let system = made(&cloud, body(&system(), &[("np1", 1)], &json!({}))).await;
    assert_eq!(system["identity"]["type"], "SystemAssigned");
}

#[tokio::test]
async fn a_brought_kubelet_identity_needs_the_clusters_right_and_the_callers() {
    let cloud = Cloud::start().await;
    let control = cloud.put_identity("control").await;
    let brought = cloud.put_identity("brought").await;
    let kubelet = cloud.identity_id("brought");
    let profile = json!({ "identityProfile": { "kubeletidentity": { "resourceId": kubelet } } });
    let own = cloud.identity_block(false, &["control"]);

    let refused = put(&cloud, body(&system(), &[("np1", 1)], &profile)).await;
    assert_eq!(refusal(&refused).1, "CustomKubeletIdentityOnlySupportedOnUserAssignedMSICluster");
    let refused = put(&cloud, body(&own, &[("np1", 1)], &profile)).await;
    let (status, code, message) = refusal(&refused);
    assert_eq!((status, code), (400, "CustomKubeletIdentityMissingPermissionError"));
    assert!(message.contains("must be granted 'Managed Identity Operator' role"), "{message}");
    let group = node_group(&cloud, NODE_GROUP);
    assert_eq!(get(&cloud, &group).await.status, StatusCode::NOT_FOUND, "nothing is left of it");

    let principal = control["properties"]["principalId"].as_str().unwrap();
    cloud.grant(&kubelet, IDENTITY_OPERATOR, principal).await;
    let cluster = made(&cloud, body(&own, &[("np1", 1)], &profile)).await;
    let shown = &cluster["properties"]["identityProfile"]["kubeletidentity"];
    assert_eq!(shown["objectId"], brought["properties"]["principalId"]);
    let none = format!("{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities");
    assert_eq!(get(&cloud, &none).await.body["value"], json!([]), "none is made besides");

    cloud.put_vm("actor", true, &[]).await;
    let token = cloud.vm_token("actor", ARM_AUDIENCE, "").await;
    let actor = claims(&token)["oid"].as_str().unwrap().to_owned();
    cloud.grant(&id(&cloud), OWNER, &actor).await;
    cloud.grant(&cloud.identity_id("control"), IDENTITY_OPERATOR, &actor).await;
    let ask = async || {
        let body = body(&own, &[("np1", 1)], &profile);
        cloud.arm(Some(&token), Method::PUT, &id(&cloud), VERSION, Some(body)).await
    };
    assert_eq!(refusal(&ask().await).1, "LinkedAuthorizationFailed");
    cloud.grant(&kubelet, IDENTITY_OPERATOR, &actor).await;
    assert_eq!(ask().await.status, StatusCode::OK);

    let deleted = cloud.admin(Method::DELETE, &id(&cloud), VERSION, None).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(get(&cloud, &kubelet).await.status, StatusCode::OK, "what was brought stays");
}

#[tokio::test]
async fn a_deleted_cluster_takes_its_nodes_their_group_and_the_principals_along() {
    let cloud = Cloud::start().await;
    for by_group in [false, true] {
        let group = format!("{}/resourceGroups/own", cloud.subscription());
        cloud.put(&group, "2024-11-01", json!({ "location": "local" })).await;
        let cluster = cluster_id(&cloud, "own", "aks1");
        let shown = cloud.put(&cluster, VERSION, body(&system(), &[("np1", 1)], &json!({}))).await;
        let nodes = node_group(&cloud, shown["properties"]["nodeResourceGroup"].as_str().unwrap());
        let kubelet = &shown["properties"]["identityProfile"]["kubeletidentity"]["objectId"];
        let principals = [&shown["identity"]["principalId"], kubelet];
        for principal in principals {
            assert!(is_in_directory(&cloud, principal).await);
        }
        let path = if by_group { &group } else { &cluster };
        let deleted = cloud.admin(Method::DELETE, path, "2024-11-01", None).await;
        assert!(deleted.status.is_success(), "{}", deleted.body);
        for principal in principals {
            assert!(!is_in_directory(&cloud, principal).await, "{by_group}");
        }
        assert_eq!(get(&cloud, &nodes).await.status, StatusCode::NOT_FOUND);
        assert!(cloud.administration.attachments().await.unwrap().is_empty());
    }
}

/// What goes along lies elsewhere, and a lock there counts as one on the cluster does.
#[tokio::test]
async fn a_lock_among_its_nodes_keeps_a_cluster_and_its_pools() {
    let cloud = Cloud::start().await;
    let group = format!("{}/resourceGroups/own", cloud.subscription());
    cloud.put(&group, "2024-11-01", json!({ "location": "local" })).await;
    let cluster = cluster_id(&cloud, "own", "aks1");
    let pools = |pools: &[(&str, u64)]| body(&system(), pools, &json!({}));
    let shown = cloud.put(&cluster, VERSION, pools(&[("np1", 1), ("np2", 1)])).await;
    let nodes = node_group(&cloud, shown["properties"]["nodeResourceGroup"].as_str().unwrap());
    let sets = format!("{nodes}/providers/Microsoft.Compute/virtualMachineScaleSets");
    let sets = get(&cloud, &sets).await.body["value"].as_array().unwrap().clone();
    let of_np2 = sets.iter().map(|set| set["id"].as_str().unwrap());
    let of_np2 = of_np2.into_iter().find(|id| id.contains("-np2-")).unwrap().to_owned();
    let require = |answer: &Answer, locked: &str| {
        let (status, code, message) = refusal(answer);
        assert_eq!((status, code), (409, "ScopeLocked"), "{message}");
        assert!(message.contains(locked), "{message}");
    };
    for locked in [&nodes, &of_np2] {
        let lock = format!("{locked}/providers/Microsoft.Authorization/locks/L1");
        let level = json!({ "properties": { "level": "CanNotDelete" } });
        cloud.put(&lock, "2016-09-01", level).await;
        for path in [&cluster, &group] {
            let refused = cloud.admin(Method::DELETE, path, "2024-11-01", None).await;
            require(&refused, locked);
        }
        let fewer = pools(&[("np1", 1)]);
        let refused = cloud.admin(Method::PUT, &cluster, VERSION, Some(fewer)).await;
        require(&refused, locked);
        let more = pools(&[("np1", 2), ("np2", 1)]);
        let scaled = cloud.admin(Method::PUT, &cluster, VERSION, Some(more)).await;
        assert_eq!(scaled.status, StatusCode::OK, "{}", scaled.body);
        cloud.admin(Method::DELETE, &lock, "2016-09-01", None).await;
    }
    let deleted = cloud.admin(Method::DELETE, &group, "2024-11-01", None).await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED, "{}", deleted.body);
    assert_eq!(get(&cloud, &nodes).await.status, StatusCode::NOT_FOUND);
}

/// A group of the same name that somebody made later is not the cluster's to delete.
#[tokio::test]
async fn a_node_group_that_was_made_anew_by_somebody_else_stays() {
    let cloud = Cloud::start().await;
    made(&cloud, body(&system(), &[("np1", 1)], &json!({}))).await;
    let group = node_group(&cloud, NODE_GROUP);
    cloud.admin(Method::DELETE, &group, "2024-11-01", None).await;
    cloud.put(&group, "2024-11-01", json!({ "location": "local" })).await;
    let refused = put(&cloud, body(&system(), &[("np1", 1)], &json!({}))).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.body);
    cloud.admin(Method::DELETE, &id(&cloud), VERSION, None).await;
    assert_eq!(get(&cloud, &group).await.status, StatusCode::OK);
}

#[tokio::test]
async fn pools_are_scaled_and_nodes_stop_with_their_cluster() {
    let cloud = Cloud::start().await;
    made(&cloud, body(&system(), &[("np1", 2), ("np2", 1)], &json!({}))).await;
    assert_eq!(node_sets(&cloud).await.len(), 2);
    made(&cloud, body(&system(), &[("np1", 3)], &json!({}))).await;
    let sets = node_sets(&cloud).await;
    assert_eq!(sets.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3]);
    let post = async |verb: &str| {
        let path = format!("{}/{verb}", id(&cloud));
        cloud.admin(Method::POST, &path, VERSION, None).await.status
    };
    assert_eq!(node_token(&cloud, &sets[0].0).await.status, StatusCode::OK);
    assert_eq!(post("stop").await, StatusCode::NO_CONTENT);
    let stopped = get(&cloud, &id(&cloud)).await;
    assert_eq!(stopped.body["properties"]["powerState"]["code"], "Stopped");
    assert_eq!(node_token(&cloud, &sets[0].0).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post("start").await, StatusCode::NO_CONTENT);
    assert_eq!(node_token(&cloud, &sets[0].0).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_a_cluster_cannot_be_is_refused_in_its_words() {
    let cloud = Cloud::start().await;
    let one = [("np1", 1)];
    let none = json!({ "type": "None" });
    for (wrong, code) in [
        (body(&none, &one, &json!({})), "InvalidParameter"),
        (body(&system(), &[], &json!({})), "InvalidParameter"),
        (body(&system(), &[("Np1", 1)], &json!({})), "InvalidParameter"),
        (body(&system(), &[("np1", 1001)], &json!({})), "OperationNotAllowed"),
        (body(&system(), &one, &json!({ "nodeResourceGroup": "rg1" })), "Conflict"),
        (body(&system(), &one, &json!({ "nodeResourceGroup": "a/b" })), "InvalidResourceName"),
    ] {
        let refused = put(&cloud, wrong.clone()).await;
        assert_eq!(refusal(&refused).1, code, "{wrong} {}", refused.body);
    }
    assert_eq!(get(&cloud, &id(&cloud)).await.status, StatusCode::NOT_FOUND);
    let application =
        json!({ "servicePrincipalProfile": { "clientId": "c", "secret": "hunter2" } });
    let issuer =
        json!({ "oidcIssuerProfile": { "enabled": true, "issuerURL": "https://i.example/" } });
    let mut more = application.as_object().unwrap().clone();
    more.extend(issuer.as_object().unwrap().clone());
    let cluster = made(&cloud, body(&none, &one, &Value::Object(more.clone()))).await;
    assert!(!cluster.to_string().contains("hunter2"), "{cluster}");
    assert!(cluster["properties"].get("identityProfile").is_none());
    assert_eq!(cluster["properties"]["oidcIssuerProfile"]["issuerURL"], "https://i.example/");
    let off = body(&system(), &one, &json!({ "oidcIssuerProfile": { "enabled": false } }));
    let text = "OIDC issuer feature cannot be disabled.";
    let refused = put(&cloud, off).await;
    assert_eq!(refusal(&refused), (400, "OIDCIssuerFeatureCannotBeDisabled", text));
    let moved = body(&system(), &one, &json!({ "nodeResourceGroup": "another" }));
    assert_eq!(refusal(&put(&cloud, moved).await).1, "PropertyChangeNotAllowed");
    let nested = cluster_id(&cloud, NODE_GROUP, "aks2");
    let nested =
        cloud.admin(Method::PUT, &nested, VERSION, Some(body(&system(), &one, &json!({})))).await;
    assert_eq!(nested.status, StatusCode::BAD_REQUEST, "{}", nested.body);

    let patch =
        async |body: Value| cloud.admin(Method::PATCH, &id(&cloud), VERSION, Some(body)).await;
    let tagged = patch(json!({ "tags": { "a": "b" } })).await;
    assert_eq!((tagged.status, &tagged.body["tags"]), (StatusCode::OK, &json!({ "a": "b" })));
    assert_eq!(patch(json!({ "identity": system() })).await.status, StatusCode::BAD_REQUEST);
    let credentials = format!("{}/listClusterUserCredential", id(&cloud));
    let refused = cloud.admin(Method::POST, &credentials, VERSION, None).await;
    assert_eq!(refusal(&refused).0, 501);
    let all =
        format!("{}/providers/Microsoft.ContainerService/managedClusters", cloud.subscription());
    assert_eq!(get(&cloud, &all).await.body["value"].as_array().unwrap().len(), 1);
}
