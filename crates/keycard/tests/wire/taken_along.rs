//! What a deletion, a move or a cluster takes along: denies, locks and other people's identities count there too.

use http::{Method, StatusCode};
use keycard::client::Answer;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{ARM_AUDIENCE, Cloud, OWNER};

const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";
const VERSION: &str = "2024-11-01";

/// A caller that may do everything in a group but give rights.
struct Contributor {
    cloud: Cloud,
    token: Secret,
    principal: String,
}

impl Contributor {
    async fn start() -> Self {
        let cloud = Cloud::start().await;
        let home = format!("{}/resourceGroups/home", cloud.subscription());
        cloud.put(&home, VERSION, json!({ "location": "local" })).await;
        let path = format!("{home}/providers/Microsoft.Compute/virtualMachines/someone");
        let body = json!({ "location": "local", "identity": { "type": "SystemAssigned" } });
        let vm = cloud.put(&path, VERSION, body).await;
        let principal = vm["identity"]["principalId"].as_str().unwrap().to_owned();
        cloud.grant(&cloud.group(), CONTRIBUTOR, &principal).await;
        let base = cloud.attachment(&path).await;
        let base = base["url"].as_str().unwrap();
        let query = format!("api-version=2018-02-01&resource={ARM_AUDIENCE}");
        let url = format!("{base}/metadata/identity/oauth2/token?{query}");
        let answer = cloud.get(&url, &[("Metadata", "true")]).await;
        let token = Secret::new(answer.body["access_token"].as_str().unwrap().to_owned());
        Self { cloud, token, principal }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.cloud.arm(Some(&self.token), method, path, VERSION, body).await
    }

    /// Denies the caller these actions at a scope.
    async fn deny(&self, scope: &str, actions: &[&str]) {
        let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, scope.as_bytes());
        let path = format!("{scope}/providers/Microsoft.Authorization/denyAssignments/{name}");
        let body = json!({ "properties": {
            "denyAssignmentName": "keep",
            "permissions": [{ "actions": actions, "notActions": ["*/read"] }],
            "principals": [{ "id": self.principal, "type": "ServicePrincipal" }],
        }});
        self.cloud.put(&path, "2022-04-01", body).await;
    }

    async fn is_denied(&self, method: Method, path: &str, body: Option<Value>) {
        let answer = self.ask(method, path, body).await;
        let code = answer.body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!(
            (answer.status, code),
            (StatusCode::FORBIDDEN, "DenyAssignmentAuthorizationFailed"),
            "{path}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn what_is_denied_does_not_go_with_what_holds_it() {
    let caller = Contributor::start().await;
    let cloud = &caller.cloud;
    let local = json!({ "location": "local" });
    cloud.put_vm("vm1", true, &[]).await;
    caller.deny(&cloud.vm_id("vm1"), &["*"]).await;
    caller.is_denied(Method::DELETE, &cloud.vm_id("vm1"), None).await;
    caller.is_denied(Method::DELETE, &cloud.group(), None).await;

    let site = cloud.site_id("app-1");
    let slot = format!("{site}/slots/staging");
    cloud.put(&site, VERSION, local.clone()).await;
    cloud.put(&slot, VERSION, local.clone()).await;
    caller.deny(&slot, &["*"]).await;
    caller.is_denied(Method::DELETE, &site, None).await;

    let net = format!("{}/providers/Microsoft.Network/virtualNetworks/net", cloud.group());
    let subnet = format!("{net}/subnets/inner");
    cloud.put(&net, VERSION, local).await;
    cloud.put(&subnet, VERSION, json!({})).await;
    caller.deny(&subnet, &["*"]).await;
    caller.is_denied(Method::DELETE, &net, None).await;

    // Whom the deny does not name takes it along.
    let deleted = cloud.admin(Method::DELETE, &net, VERSION, None).await;
    assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.body);
}

#[tokio::test]
async fn nobody_gets_a_thing_out_of_the_reach_of_a_deny() {
    let caller = Contributor::start().await;
    let cloud = &caller.cloud;
    let target = format!("{}/resourceGroups/elsewhere", cloud.subscription());
    cloud.put(&target, VERSION, json!({ "location": "local" })).await;
    cloud.grant(&target, CONTRIBUTOR, &caller.principal).await;
    cloud.put_vm("vm1", true, &[]).await;
    caller.deny(&cloud.group(), &["Microsoft.Compute/*"]).await;
    caller.is_denied(Method::DELETE, &cloud.vm_id("vm1"), None).await;
    caller.is_denied(Method::DELETE, &cloud.group(), None).await;
    let body = json!({ "resources": [cloud.vm_id("vm1")], "targetResourceGroup": target });
    let path = format!("{}/moveResources", cloud.group());
    let moved = caller.ask(Method::POST, &path, Some(body)).await;
    assert_eq!(moved.status, StatusCode::CONFLICT, "{}", moved.body);
    assert_eq!(moved.body["error"]["details"][0]["code"], "DenyAssignmentExists");
}

#[tokio::test]
async fn a_cluster_takes_nothing_along_that_is_denied_or_locked() {
    let caller = Contributor::start().await;
    let cloud = &caller.cloud;
    let cluster =
        format!("{}/providers/Microsoft.ContainerService/managedClusters/aks1", cloud.group());
    let nodes = format!("{}/resourceGroups/MC_rg1_aks1_local", cloud.subscription());
    let body = |count: u64| {
        json!({ "location": "local", "identity": { "type": "SystemAssigned" }, "properties": {
            "dnsPrefix": "aks1", "agentPoolProfiles": [{ "name": "np1", "count": count }],
        }})
    };
    cloud.put(&cluster, VERSION, body(1)).await;

    let lock = format!("{nodes}/providers/Microsoft.Authorization/locks/keep");
    cloud.put(&lock, "2020-05-01", json!({ "properties": { "level": "ReadOnly" } })).await;
    for (method, path, sent) in [
        (Method::PUT, cluster.clone(), Some(body(4))),
        (Method::POST, format!("{cluster}/stop"), None),
    ] {
        let refused = caller.ask(method, &path, sent).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{path}: {}", refused.body);
        assert_eq!(refused.body["error"]["code"], "ScopeLocked");
    }
    let unchanged = caller.ask(Method::PUT, &cluster, Some(body(1))).await;
    assert_eq!(unchanged.status, StatusCode::OK, "{}", unchanged.body);
    cloud.admin(Method::DELETE, &lock, "2020-05-01", None).await;

    caller.deny(&nodes, &["Microsoft.Compute/*"]).await;
    caller.is_denied(Method::DELETE, &cluster, None).await;
}

/// An identity that somebody else made where a cluster's own one was is assigned by whoever may assign it, and by nobody else.
#[tokio::test]
async fn a_cluster_does_not_adopt_anothers_identity() {
    let caller = Contributor::start().await;
    let cloud = &caller.cloud;
    let cluster =
        format!("{}/providers/Microsoft.ContainerService/managedClusters/aks1", cloud.group());
    let nodes = format!("{}/resourceGroups/MC_rg1_aks1_local", cloud.subscription());
    let own = format!(
        "{nodes}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aks1-agentpool"
    );
    cloud.put_identity("cluster").await;
    let body = |more: Value| {
        let mut properties = json!({
            "dnsPrefix": "aks1", "agentPoolProfiles": [{ "name": "np1", "count": 1 }],
        });
        properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let identity = cloud.identity_block(false, &["cluster"]);
        json!({ "location": "local", "identity": identity, "properties": properties })
    };
    cloud.put(&cluster, VERSION, body(json!({}))).await;
    // The cluster's own identity goes, and an administrator makes another of its name, with rights.
    cloud.admin(Method::DELETE, &own, "2024-11-30", None).await;
    let made = cloud.put(&own, "2024-11-30", json!({ "location": "local" })).await;
    let principal = made["properties"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.subscription(), OWNER, principal).await;
    for more in
        [json!({}), json!({ "identityProfile": { "kubeletidentity": { "resourceId": own } } })]
    {
        let refused = caller.ask(Method::PUT, &cluster, Some(body(more))).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
        assert_eq!(refused.body["error"]["code"], "LinkedAuthorizationFailed");
    }
}

#[tokio::test]
async fn a_resource_does_not_grow_without_end() {
    let cloud = Cloud::start().await;
    let path = format!("{}/providers/Microsoft.DataFactory/factories/factory1", cloud.group());
    cloud.put(&path, VERSION, json!({ "location": "local" })).await;
    let big = "x".repeat(3 * 1024 * 1024);
    let mut statuses = Vec::new();
    for part in ["a", "b", "c"] {
        let body = json!({ "properties": { part: big } });
        let answer = cloud.admin(Method::PATCH, &path, VERSION, Some(body)).await;
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 413]);
}

#[tokio::test]
async fn a_stranger_does_not_learn_which_groups_there_are() {
    let caller = Contributor::start().await;
    let cloud = &caller.cloud;
    cloud.put_vm("stranger", true, &[]).await;
    let token = cloud.vm_token("stranger", ARM_AUDIENCE, "").await;
    for group in ["rg1", "nowhere"] {
        let path = format!("{}/resourceGroups/{group}/resources", cloud.subscription());
        let answer = cloud.arm(Some(&token), Method::GET, &path, VERSION, None).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{group}: {}", answer.body);
    }
}
