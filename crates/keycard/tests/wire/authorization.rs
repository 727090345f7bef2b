//! The authorization engine over the wire: azure-semantics checklist 36, 39 to 55, and what an attacker would try.

use http::Method;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{
    ARM_AUDIENCE, Cloud, READER, SECRETS_OFFICER, SECRETS_USER, VAULT_AUDIENCE, VM_CONTRIBUTOR,
};

const OWNER: &str = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";
const RBAC_ADMINISTRATOR: &str = "f58310d9-a9f6-439a-9e8d-f62e7b41a168";
const AUTHORIZATION: &str = "providers/Microsoft.Authorization";
const VERSION: &str = "2022-04-01";

/// A VM's identity with its tokens.
struct Actor {
    principal: String,
    arm: Secret,
    vault: Secret,
}

impl Actor {
    async fn new(cloud: &Cloud, vm: &str) -> Self {
        let vm_json = cloud.put_vm(vm, true, &[]).await;
        Self {
            principal: vm_json["identity"]["principalId"].as_str().unwrap().to_owned(),
            arm: cloud.vm_token(vm, ARM_AUDIENCE, "").await,
            vault: cloud.vm_token(vm, VAULT_AUDIENCE, "").await,
        }
    }

    async fn arm(&self, cloud: &Cloud, method: Method, path: &str, body: Option<Value>) -> Told {
        Told::from(cloud.arm(Some(&self.arm), method, path, VERSION, body).await)
    }

    async fn reads(&self, cloud: &Cloud, vault: &str, path: &str) -> Told {
        let url = cloud.vault_url(vault, &format!("{path}?api-version=7.4"));
        Told::from(cloud.vault(Some(&self.vault), Method::GET, &url, None).await)
    }
}

/// Status, error code, message and body of an answer.
#[derive(Debug)]
struct Told {
    status: u16,
    code: String,
    message: String,
    body: Value,
}

impl From<keycard::client::Answer> for Told {
    fn from(answer: keycard::client::Answer) -> Self {
        let text =
            |member: &str| answer.body["error"][member].as_str().unwrap_or_default().to_owned();
        Self {
            status: answer.status.as_u16(),
            code: text("code"),
            message: text("message"),
            body: answer.body,
        }
    }
}

async fn admin(cloud: &Cloud, method: Method, path: &str, body: Option<Value>) -> Told {
    Told::from(cloud.admin(method, path, VERSION, body).await)
}

fn guid(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn role_id(role: &str) -> String {
    format!("/{AUTHORIZATION}/roleDefinitions/{role}")
}

fn assignment(role: &str, principal: &str) -> Value {
    json!({ "properties": {
        "roleDefinitionId": role_id(role),
        "principalId": principal,
        "principalType": "ServicePrincipal",
    }})
}

fn conditioned(role: &str, principal: &str, condition: &str) -> Value {
    let mut body = assignment(role, principal);
    body["properties"]["condition"] = json!(condition);
    body["properties"]["conditionVersion"] = json!("2.0");
    body
}

async fn set_secret(cloud: &Cloud, vault: &str, token: &Secret, name: &str) {
    let url = cloud.vault_url(vault, &format!("/secrets/{name}?api-version=7.4"));
    let answer = cloud.vault(Some(token), Method::PUT, &url, Some(json!({ "value": "v" }))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// 39: a contributor manages resources, gives no roles and reads no secret. 54: the refusal's text.
#[tokio::test]
async fn a_contributor_manages_resources_and_gives_no_roles() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv1").await;
    set_secret(&cloud, "kv1", &token, "db").await;
    let actor = Actor::new(&cloud, "actor").await;
    cloud.grant(&cloud.group(), CONTRIBUTOR, &actor.principal).await;
    let vm = Some(json!({ "location": "local" }));
    assert_eq!(actor.arm(&cloud, Method::PUT, &cloud.vm_id("new"), vm).await.status, 201);
    let path = format!("{}/{AUTHORIZATION}/roleAssignments/{}", cloud.group(), guid(1));
    let body = Some(assignment(READER, &actor.principal));
    let refused = actor.arm(&cloud, Method::PUT, &path, body).await;
    assert_eq!((refused.status, &*refused.code), (403, "AuthorizationFailed"));
    let text = format!(
        "' with object id '{}' does not have authorization to perform action 'Microsoft.Authorization/roleAssignments/write' over scope '{path}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
        actor.principal
    );
    assert!(
        refused.message.starts_with("The client '") && refused.message.ends_with(&text),
        "{}",
        refused.message
    );
    assert_eq!(actor.reads(&cloud, "kv1", "/secrets/db").await.status, 403);
}

/// 36: a grant or its end counts from the next request on, with the same token.
#[tokio::test]
async fn an_assignment_counts_at_once_for_a_token_issued_before() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let read = async || actor.arm(&cloud, Method::GET, &cloud.group(), None).await.status;
    assert_eq!(read().await, 403);
    let path = cloud.grant(&cloud.group(), READER, &actor.principal).await;
    assert_eq!(read().await, 200);
    assert_eq!(admin(&cloud, Method::DELETE, &path, None).await.status, 200);
    assert_eq!(read().await, 403);
    assert_eq!(admin(&cloud, Method::DELETE, &path, None).await.status, 204);
}

/// 44, 47
#[tokio::test]
async fn an_assignment_outlives_its_principal_and_keeps_its_name() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let path = cloud.grant(&cloud.group(), READER, &actor.principal).await;
    assert!(
        cloud
            .admin(Method::DELETE, &cloud.vm_id("actor"), "2024-07-01", None)
            .await
            .status
            .is_success()
    );
    assert_eq!(admin(&cloud, Method::GET, &path, None).await.status, 200);
    let name = path.rsplit('/').next().unwrap();
    let elsewhere = format!("{}/{AUTHORIZATION}/roleAssignments/{name}", cloud.subscription());
    let body = Some(assignment(READER, &actor.principal));
    let refused = admin(&cloud, Method::PUT, &elsewhere, body).await;
    assert_eq!((refused.status, &*refused.code), (400, "RoleAssignmentUpdateNotPermitted"));
    assert_eq!(
        refused.message,
        "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
    );
}

#[tokio::test]
async fn the_last_administrator_of_a_subscription_stays() {
    let cloud = Cloud::start().await;
    let list =
        format!("{}/{AUTHORIZATION}/roleAssignments?$filter=atScope()", cloud.subscription());
    let own = admin(&cloud, Method::GET, &list, None).await.body["value"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let refused = admin(&cloud, Method::DELETE, &own, None).await;
    assert_eq!(
        (refused.status, &*refused.message),
        (400, "Cannot delete the last RBAC admin assignment")
    );
    let actor = Actor::new(&cloud, "actor").await;
    cloud.grant(&cloud.subscription(), OWNER, &actor.principal).await;
    assert_eq!(admin(&cloud, Method::DELETE, &own, None).await.status, 200);
}

#[tokio::test]
async fn what_does_not_exist_cannot_be_given_roles_on() {
    let cloud = Cloud::start().await;
    let principal = &cloud.description().administrator.object_id;
    for (scope, code) in [
        (format!("{}/resourceGroups/none", cloud.subscription()), "ResourceGroupNotFound"),
        (cloud.vm_id("none"), "ResourceNotFound"),
        (cloud.vault_id("none"), "ResourceNotFound"),
    ] {
        let path = format!("{scope}/{AUTHORIZATION}/roleAssignments/{}", guid(1));
        let refused = admin(&cloud, Method::PUT, &path, Some(assignment(READER, principal))).await;
        assert_eq!((refused.status, &*refused.code), (404, code), "{scope}");
    }
}

fn custom_role(name: &str, scopes: &[&str], actions: &[&str], data_actions: &[&str]) -> Value {
    json!({ "properties": {
        "roleName": name,
        "description": "of a test",
        "assignableScopes": scopes,
        "permissions": [{ "actions": actions, "notActions": [], "dataActions": data_actions, "notDataActions": [] }],
    }})
}

/// 40, 48
#[tokio::test]
async fn a_custom_role_lives_is_held_to_its_scopes_and_dies_unassigned() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let (group, subscription) = (cloud.group(), cloud.subscription());
    let role = format!("{group}/{AUTHORIZATION}/roleDefinitions/{}", guid(7));
    let put = async |body: Value| admin(&cloud, Method::PUT, &role, Some(body)).await;
    let made = put(custom_role(
        "Starter",
        &[&group],
        &["Microsoft.Compute/virtualMachines/start/action"],
        &[],
    ))
    .await;
    assert_eq!((made.status, &made.body["properties"]["type"]), (201, &json!("CustomRole")));
    assert_eq!(made.body["properties"]["assignableScopes"], json!([group]));
    let list = format!("{group}/{AUTHORIZATION}/roleDefinitions?$filter=type%20eq%20'CustomRole'");
    assert_eq!(admin(&cloud, Method::GET, &list, None).await.body["value"][0]["name"], guid(7));
    let start = format!("{}/start", cloud.vm_id("actor"));
    assert_eq!(actor.arm(&cloud, Method::POST, &start, None).await.status, 403);
    let given = cloud.grant(&group, &guid(7), &actor.principal).await;
    assert!(actor.arm(&cloud, Method::POST, &start, None).await.status < 300);
    let above = format!("{subscription}/{AUTHORIZATION}/roleAssignments/{}", guid(8));
    let refused =
        admin(&cloud, Method::PUT, &above, Some(assignment(&guid(7), &actor.principal))).await;
    assert_eq!((refused.status, &*refused.code), (400, "ScopeDoesNotMatchRoleDefinition"));
    let refused = admin(&cloud, Method::DELETE, &role, None).await;
    assert_eq!((refused.status, &*refused.code), (400, "RoleDefinitionHasAssignments"));
    assert_eq!(
        refused.message,
        "There are existing role assignments referencing role (code: RoleDefinitionHasAssignments)"
    );
    let changed =
        put(custom_role("Starter", &[&group], &["Microsoft.Compute/virtualMachines/read"], &[]))
            .await;
    assert_eq!(changed.status, 201);
    assert_eq!(
        actor.arm(&cloud, Method::POST, &start, None).await.status,
        403,
        "the change counts at once"
    );
    admin(&cloud, Method::DELETE, &given, None).await;
    assert_eq!(admin(&cloud, Method::DELETE, &role, None).await.status, 200);
    assert_eq!(admin(&cloud, Method::DELETE, &role, None).await.status, 204);
    assert_eq!(admin(&cloud, Method::GET, &role, None).await.code, "RoleDefinitionDoesNotExist");
}

#[tokio::test]
async fn a_custom_role_is_refused_in_azures_words() {
    let cloud = Cloud::start().await;
    let (group, subscription) = (cloud.group(), cloud.subscription());
    let put = async |number: u32, body: Value| {
        let path = format!("{group}/{AUTHORIZATION}/roleDefinitions/{}", guid(number));
        let told = admin(&cloud, Method::PUT, &path, Some(body)).await;
        (told.status, told.code, told.message)
    };
    let read = &["Microsoft.Compute/virtualMachines/read"];
    assert_eq!(put(1, custom_role("A", &[&group], read, &[])).await.0, 201);
    let (status, code, message) = put(2, custom_role("a", &[&group], read, &[])).await;
    assert_eq!((status, &*code), (409, "RoleDefinitionWithSameNameExists"));
    assert_eq!(
        message,
        "A custom role with the same name already exists in this directory. Use a different name"
    );
    let (status, code, message) =
        put(2, custom_role("B", &[&group], &["Microsoft.Compute/virtualMachinez/read"], &[])).await;
    assert_eq!((status, &*code), (400, "InvalidActionOrNotAction"));
    assert_eq!(
        message,
        "'Microsoft.Compute/virtualMachinez/read' does not match any of the actions supported by the providers."
    );
    let two_groups = [
        "/providers/Microsoft.Management/managementGroups/a",
        "/providers/Microsoft.Management/managementGroups/b",
    ];
    for (scopes, actions, data) in [
        (vec!["/"], vec![read[0]], vec![]),
        (vec![], vec![read[0]], vec![]),
        (two_groups.to_vec(), vec![read[0]], vec![]),
        (
            vec![two_groups[0]],
            vec![read[0]],
            vec!["Microsoft.KeyVault/vaults/secrets/getSecret/action"],
        ),
        (vec![subscription.as_str()], vec![], vec![]),
        (vec!["/subscriptions/../x"], vec![read[0]], vec![]),
    ] {
        assert_eq!(put(3, custom_role("C", &scopes, &actions, &data)).await.0, 400, "{scopes:?}");
    }
    let foreign = format!("/subscriptions/{}", guid(9));
    assert_eq!(
        put(3, custom_role("C", &[&group, &foreign], read, &[])).await.0,
        403,
        "no right there"
    );
    let owner = format!("{group}/{AUTHORIZATION}/roleDefinitions/{OWNER}");
    for method in [Method::PUT, Method::DELETE] {
        let body = custom_role("D", &[&group], read, &[]);
        assert_eq!(admin(&cloud, method, &owner, Some(body)).await.status, 400);
    }
}

/// A right on one group is no right on a role that another group is assignable at.
#[tokio::test]
async fn a_role_is_changed_and_deleted_by_those_with_rights_at_all_its_scopes() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let other = format!("{}/resourceGroups/other", cloud.subscription());
    cloud.put(&other, "2024-11-01", json!({ "location": "local" })).await;
    cloud.grant(&other, OWNER, &actor.principal).await;
    let read = &["Microsoft.Compute/virtualMachines/read"];
    let at = |scope: &str| format!("{scope}/{AUTHORIZATION}/roleDefinitions/{}", guid(1));
    let body = custom_role("A", &[&cloud.group()], read, &[]);
    assert_eq!(admin(&cloud, Method::PUT, &at(&cloud.group()), Some(body)).await.status, 201);
    let wider = custom_role("A", &[&other], &["*"], &[]);
    let refused = actor.arm(&cloud, Method::PUT, &at(&other), Some(wider)).await;
    assert_eq!((refused.status, &*refused.code), (403, "LinkedAuthorizationFailed"));
    let refused = actor.arm(&cloud, Method::DELETE, &at(&other), None).await;
    assert_eq!((refused.status, &*refused.code), (403, "LinkedAuthorizationFailed"));
    let both = custom_role("B", &[&other, &cloud.group()], read, &[]);
    let path = format!("{other}/{AUTHORIZATION}/roleDefinitions/{}", guid(2));
    assert_eq!(
        actor.arm(&cloud, Method::PUT, &path, Some(both)).await.code,
        "LinkedAuthorizationFailed"
    );
    assert_eq!(
        actor
            .arm(&cloud, Method::PUT, &path, Some(custom_role("B", &[&other], read, &[])))
            .await
            .status,
        201
    );
}

fn deny(name: &str, actions: &[&str], data_actions: &[&str], more: Value) -> Value {
    let mut properties = json!({
        "denyAssignmentName": name,
        "permissions": [{ "actions": actions, "dataActions": data_actions }],
        "principals": [{ "id": "00000000-0000-0000-0000-000000000000", "type": "SystemDefined" }],
    });
    for (member, value) in more.as_object().unwrap() {
        properties[member] = value.clone();
    }
    json!({ "properties": properties })
}

/// 49
#[tokio::test]
async fn a_deny_assignment_overrides_owner_and_spares_the_excluded() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let admin_id = &cloud.description().administrator.object_id;
    let excluded = json!({ "excludePrincipals": [{ "id": admin_id, "type": "ServicePrincipal" }] });
    cloud.grant(&cloud.group(), OWNER, &actor.principal).await;
    let path = format!("{}/{AUTHORIZATION}/denyAssignments/{}", cloud.group(), guid(1));
    let put = async |body: Value| admin(&cloud, Method::PUT, &path, Some(body)).await;
    let vm = async || {
        actor
            .arm(&cloud, Method::PUT, &cloud.vm_id("new"), Some(json!({ "location": "local" })))
            .await
    };
    let body = deny("no vms", &["Microsoft.Compute/*/write"], &[], excluded.clone());
    assert_eq!(put(body.clone()).await.status, 201);
    let refused = vm().await;
    assert_eq!((refused.status, &*refused.code), (403, "DenyAssignmentAuthorizationFailed"));
    assert!(
        refused.message.contains("has permission to perform action 'Microsoft.Compute/virtualMachines/write' on scope '")
            && refused.message.contains("; however, the access is denied because of the deny assignment with name 'no vms' and Id '00000000000040008000000000000001' at scope '"),
        "{}",
        refused.message
    );
    let vm_of_admin = cloud
        .admin(
            Method::PUT,
            &cloud.vm_id("by-admin"),
            "2024-07-01",
            Some(json!({ "location": "local" })),
        )
        .await;
    assert_eq!(vm_of_admin.status, 201, "excluded");
    let mut top_only = body;
    top_only["properties"]["doNotApplyToChildScopes"] = json!(true);
    assert_eq!(put(top_only).await.status, 201);
    assert_eq!(vm().await.status, 201, "only at the group itself");
    let list = format!(
        "{}/{AUTHORIZATION}/denyAssignments?$filter=denyAssignmentName%20eq%20'No%20VMs'",
        cloud.subscription()
    );
    assert_eq!(
        admin(&cloud, Method::GET, &list, None).await.body["value"].as_array().unwrap().len(),
        1
    );
    assert_eq!(admin(&cloud, Method::DELETE, &path, None).await.status, 200);
    assert_eq!(admin(&cloud, Method::DELETE, &path, None).await.status, 204);
    let group_only = json!({ "principals": [{ "id": admin_id, "type": "Group" }] });
    for wrong in [
        deny("everyone", &["*"], &[], json!({})),
        deny("a group", &["*"], &[], group_only),
        deny("nothing", &[], &[], excluded.clone()),
        deny("", &["*"], &[], excluded),
    ] {
        let refused = put(wrong).await;
        assert_eq!((refused.status, &*refused.code), (400, "InvalidCreateDenyAssignmentRequest"));
    }
}

#[tokio::test]
async fn a_deny_assignment_holds_at_a_vault_and_says_so() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv1").await;
    set_secret(&cloud, "kv1", &token, "db").await;
    let actor = Actor::new(&cloud, "actor").await;
    cloud.grant(&cloud.vault_id("kv1"), SECRETS_USER, &actor.principal).await;
    assert_eq!(actor.reads(&cloud, "kv1", "/secrets/db").await.status, 200);
    let path = format!("{}/{AUTHORIZATION}/denyAssignments/{}", cloud.vault_id("kv1"), guid(1));
    let one = json!({ "principals": [{ "id": actor.principal, "type": "ServicePrincipal" }] });
    let body = deny("no reading", &[], &["*/getSecret/action"], one);
    assert_eq!(admin(&cloud, Method::PUT, &path, Some(body)).await.status, 201);
    let refused = actor.reads(&cloud, "kv1", "/secrets/db").await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.message.contains("DecisionReason: 'DeniedByDenyAssignment'"),
        "{}",
        refused.message
    );
    assert!(refused.message.contains(&guid(1)), "{}", refused.message);
    assert_eq!(actor.reads(&cloud, "kv1", "/secrets").await.status, 200, "listing is not denied");
}

/// 50, and attributes that are missing
#[tokio::test]
async fn a_condition_on_the_secret_opens_that_secret_only() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv1").await;
    for name in ["db", "dbx", "other"] {
        set_secret(&cloud, "kv1", &token, name).await;
    }
    let actor = Actor::new(&cloud, "actor").await;
    let vault = cloud.vault_id("kv1");
    let path = format!("{vault}/{AUTHORIZATION}/roleAssignments/{}", guid(1));
    let put = async |condition: &str| {
        let body = conditioned(SECRETS_USER, &actor.principal, condition);
        let told = admin(&cloud, Method::PUT, &path, Some(body)).await;
        assert_eq!(told.status, 201, "{}", told.message);
    };
    let statuses = async || {
        let mut statuses = Vec::new();
        for path in ["/secrets/db", "/secrets/DB", "/secrets/dbx", "/secrets/other", "/secrets"] {
            statuses.push(actor.reads(&cloud, "kv1", path).await.status);
        }
        statuses
    };
    let name = "@Resource[Microsoft.KeyVault/vaults/secrets:name]";
    put(&format!("{name} StringEquals 'db'")).await;
    assert_eq!(statuses().await, [200, 200, 403, 403, 403]);
    put(&format!("{name} StringLike 'db*'")).await;
    assert_eq!([statuses().await[0], statuses().await[2], statuses().await[3]], [200, 200, 403]);
    // A listing names no secret: neither a negated comparison nor a negation opens it.
    // Nor does another case of the name, which is the same secret, get around either.
    put(&format!("{name} StringNotEquals 'db'")).await;
    assert_eq!(statuses().await, [403, 403, 200, 200, 403]);
    put(&format!("!({name} StringEquals 'db')")).await;
    assert_eq!(statuses().await, [403, 403, 200, 200, 403]);
    put(&format!("{name} StringNotLike 'd*'")).await;
    assert_eq!(statuses().await, [403, 403, 403, 200, 403]);
    put("(!(ActionMatches{'Microsoft.KeyVault/vaults/secrets/getSecret/action'})) OR (@Resource[Microsoft.KeyVault/vaults/secrets:name] StringEquals 'db')").await;
    assert_eq!([statuses().await[0], statuses().await[3], statuses().await[4]], [200, 403, 200]);
    let refused = actor.reads(&cloud, "kv1", "/secrets/other").await;
    assert!(refused.message.contains("DeniedWithABACEvaluationInRA"), "{}", refused.message);
    let shown = admin(&cloud, Method::GET, &path, None).await.body;
    assert_eq!(shown["properties"]["conditionVersion"], "2.0");
}

/// 51
#[tokio::test]
async fn delegated_administration_gives_the_listed_roles_only() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let group = cloud.group();
    let condition = format!(
        "((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/write'}})) OR (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{READER}}} AND @Request[Microsoft.Authorization/roleAssignments:PrincipalType] StringEqualsIgnoreCase 'serviceprincipal')) AND ((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/delete'}})) OR (@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{READER}}}))"
    );
    let own = format!("{group}/{AUTHORIZATION}/roleAssignments/{}", guid(1));
    let body = conditioned(RBAC_ADMINISTRATOR, &actor.principal, &condition);
    assert_eq!(admin(&cloud, Method::PUT, &own, Some(body)).await.status, 201);
    let at = |number: u32| format!("{group}/{AUTHORIZATION}/roleAssignments/{}", guid(number));
    let put = async |number: u32, body: Value| {
        actor.arm(&cloud, Method::PUT, &at(number), Some(body)).await
    };
    assert_eq!(put(2, assignment(READER, &actor.principal)).await.status, 201);
    let refused = put(3, assignment(OWNER, &actor.principal)).await;
    assert_eq!((refused.status, &*refused.code), (403, "AuthorizationFailed"));
    assert!(refused.message.contains("does not have authorization or an ABAC condition not fulfilled to perform action 'Microsoft.Authorization/roleAssignments/write' over scope '"), "{}", refused.message);
    let mut as_user = assignment(READER, &guid(99));
    as_user["properties"]["principalType"] = json!("User");
    assert_eq!(put(4, as_user).await.status, 403);
    for unread in
        [json!({}), json!([]), json!({ "properties": { "roleDefinitionId": role_id(READER) } })]
    {
        assert_eq!(put(5, unread).await.status, 403, "what cannot be read is not granted");
    }
    // Its own assignment is of another role: neither deleted nor rewritten.
    assert_eq!(actor.arm(&cloud, Method::DELETE, &own, None).await.status, 403);
    assert_eq!(put(1, assignment(RBAC_ADMINISTRATOR, &actor.principal)).await.status, 403);
    assert_eq!(
        put(1, assignment(READER, &actor.principal)).await.code,
        "RoleAssignmentUpdateNotPermitted"
    );
    assert_eq!(actor.arm(&cloud, Method::DELETE, &at(2), None).await.status, 200);
}

/// 52
#[tokio::test]
async fn permissions_and_check_access_answer_about_oneself_only_without_a_right() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let permissions = format!("{}/{AUTHORIZATION}/permissions", cloud.group());
    let own =
        async || actor.arm(&cloud, Method::GET, &permissions, None).await.body["value"].clone();
    assert_eq!(own().await, json!([]));
    cloud.grant(&cloud.subscription(), READER, &actor.principal).await;
    assert_eq!(
        own().await,
        json!([{ "actions": ["*/read"], "notActions": [], "dataActions": [], "notDataActions": [] }])
    );
    let check = format!("{}/{AUTHORIZATION}/checkAccess", cloud.group());
    let ask = |subject: &str| {
        json!({
            "Subject": { "Attributes": { "ObjectId": subject } },
            "Actions": [{ "Id": "Microsoft.KeyVault/vaults/read" }, { "Id": "Microsoft.KeyVault/vaults/write" }, { "Id": "Microsoft.KeyVault/vaults/secrets/getSecret/action", "IsDataAction": true }],
            "Resource": { "Id": cloud.group() },
        })
    };
    let decisions = |told: &Told| -> Vec<String> {
        told.body["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["accessDecision"].as_str().unwrap().to_owned())
            .collect()
    };
    let told = actor.arm(&cloud, Method::POST, &check, Some(ask(&actor.principal))).await;
    assert_eq!(decisions(&told), ["Allowed", "NotAllowed", "NotAllowed"]);
    let administrator = &cloud.description().administrator.object_id;
    let told = actor.arm(&cloud, Method::POST, &check, Some(ask(administrator))).await;
    assert_eq!(
        decisions(&told),
        ["Allowed", "Allowed", "NotAllowed"],
        "a reader may read assignments"
    );
    let stranger = Actor::new(&cloud, "stranger").await;
    let told = stranger.arm(&cloud, Method::POST, &check, Some(ask(administrator))).await;
    assert_eq!((told.status, &*told.code), (403, "AuthorizationFailed"));
}

/// 41, 42, 55: near misses of a scope.
#[tokio::test]
async fn a_right_ends_at_its_scope() {
    let cloud = Cloud::start().await;
    let token = cloud.open_vault("kv1").await;
    for name in ["s", "s2"] {
        set_secret(&cloud, "kv1", &token, name).await;
    }
    let actor = Actor::new(&cloud, "actor").await;
    cloud
        .grant(&format!("{}/secrets/s", cloud.vault_id("kv1")), SECRETS_OFFICER, &actor.principal)
        .await;
    for (path, status) in [
        ("/secrets/s", 200),
        ("/secrets/S", 200),
        ("/secrets/s2", 403),
        ("/secrets", 403),
        ("/secrets/s%2F", 400),
    ] {
        assert_eq!(actor.reads(&cloud, "kv1", path).await.status, status, "{path}");
    }
    let rg10 = format!("{}0", cloud.group());
    cloud.put(&rg10, "2024-11-01", json!({ "location": "local" })).await;
    cloud.grant(&cloud.group(), VM_CONTRIBUTOR, &actor.principal).await;
    let missing = "virtualMachines/none";
    for (path, status) in [
        (cloud.vm_id("none"), 404),
        (cloud.vm_id("none").to_uppercase(), 404),
        (format!("{rg10}/providers/Microsoft.Compute/{missing}"), 403),
        (format!("{}/../rg10/providers/Microsoft.Compute/{missing}", cloud.group()), 400),
        (format!("{}%2f../providers/Microsoft.Compute/{missing}", cloud.group()), 400),
        (
            format!(
                "{}/resourceGroups/none/providers/Microsoft.Compute/{missing}",
                cloud.subscription()
            ),
            403,
        ),
        (
            format!(
                "/subscriptions/{}/resourceGroups/rg1/providers/Microsoft.Compute/{missing}",
                guid(1)
            ),
            403,
        ),
    ] {
        assert_eq!(actor.arm(&cloud, Method::GET, &path, None).await.status, status, "{path}");
    }
}

/// Wildcards in what a request names are characters like others.
#[tokio::test]
async fn wildcards_in_a_request_match_nothing() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    for path in [format!("{}/resourceGroups/*", cloud.subscription()), "/*".to_owned()] {
        let status = actor.arm(&cloud, Method::GET, &path, None).await.status;
        assert!(matches!(status, 400 | 403 | 404), "{path}: {status}");
    }
    let check = format!("{}/{AUTHORIZATION}/checkAccess", cloud.group());
    cloud.grant(&cloud.group(), SECRETS_USER, &actor.principal).await;
    let body = json!({
        "subject": { "attributes": { "objectId": actor.principal } },
        "actions": [{ "id": "*", "isDataAction": true }, { "id": "Microsoft.KeyVault/vaults/secrets/*", "isDataAction": true }],
        "resource": { "id": cloud.group() },
    });
    let told = actor.arm(&cloud, Method::POST, &check, Some(body)).await;
    for decision in told.body["value"].as_array().unwrap() {
        assert_eq!(decision["accessDecision"], "NotAllowed", "{decision}");
    }
}

/// What is made where something stood before is another thing: nobody inherits rights on it.
#[tokio::test]
async fn rights_on_a_thing_end_with_it() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let other = format!("{}/resourceGroups/other", cloud.subscription());
    let local = json!({ "location": "local" });
    cloud.put(&other, "2024-11-01", local.clone()).await;
    cloud.put_vm("vm", false, &[]).await;
    cloud.put_identity("mi-1").await;
    let things = [
        (cloud.vm_id("vm"), "2024-07-01"),
        (cloud.identity_id("mi-1"), "2024-11-30"),
        (other, "2024-11-01"),
    ];
    for (thing, version) in &things {
        cloud.grant(thing, READER, &actor.principal).await;
        assert_eq!(actor.arm(&cloud, Method::GET, thing, None).await.status, 200, "{thing}");
        assert!(cloud.admin(Method::DELETE, thing, version, None).await.status.is_success());
        let again = cloud.admin(Method::PUT, thing, version, Some(local.clone())).await;
        assert!(again.status.is_success(), "{thing}: {}", again.body);
        assert_eq!(actor.arm(&cloud, Method::GET, thing, None).await.status, 403, "{thing}");
        cloud.grant(thing, READER, &actor.principal).await;
    }
}

const USERS_ONLY: &str = "(!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR (@Request[Microsoft.Authorization/roleAssignments:PrincipalType] StringEqualsIgnoreCase 'User')";

/// What a request claims of a principal is no attribute of it.
#[tokio::test]
async fn a_lie_about_the_principals_type_passes_no_condition() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let at =
        |number: u32| format!("{}/{AUTHORIZATION}/roleAssignments/{}", cloud.group(), guid(number));
    let own = conditioned(RBAC_ADMINISTRATOR, &actor.principal, USERS_ONLY);
    assert_eq!(admin(&cloud, Method::PUT, &at(1), Some(own)).await.status, 201);
    let as_user = |role: &str, principal: &str| {
        let mut body = assignment(role, principal);
        body["properties"]["principalType"] = json!("User");
        body
    };
    let to_come = guid(77);
    for (number, body) in [
        (1, as_user(RBAC_ADMINISTRATOR, &actor.principal)),
        (2, as_user(OWNER, &actor.principal)),
        (3, as_user(OWNER, &to_come)),
    ] {
        let told = actor.arm(&cloud, Method::PUT, &at(number), Some(body)).await;
        assert_eq!(told.status, 403, "{number}: {}", told.message);
    }
    let kept = admin(&cloud, Method::GET, &at(1), None).await.body;
    assert_eq!(kept["properties"]["condition"], USERS_ONLY);
    let lie = as_user(RBAC_ADMINISTRATOR, &actor.principal);
    assert_eq!(admin(&cloud, Method::PUT, &at(1), Some(lie)).await.code, "UnmatchedPrincipalType");
}

/// Else the next one to change the role would be an administrator of less than where it counts.
#[tokio::test]
async fn a_role_stays_assignable_where_it_is_held() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let other = format!("{}/resourceGroups/other", cloud.subscription());
    cloud.put(&other, "2024-11-01", json!({ "location": "local" })).await;
    let role = format!("{}/{AUTHORIZATION}/roleDefinitions/{}", cloud.group(), guid(1));
    let put = async |scopes: &[&str]| {
        admin(&cloud, Method::PUT, &role, Some(custom_role("R", scopes, &["*/read"], &[]))).await
    };
    assert_eq!(put(&[&cloud.group(), &other]).await.status, 201);
    let held = cloud.grant(&other, &guid(1), &actor.principal).await;
    let refused = put(&[&cloud.group()]).await;
    assert_eq!((refused.status, &*refused.code), (400, "InvalidAssignableScopes"));
    admin(&cloud, Method::DELETE, &held, None).await;
    assert_eq!(put(&[&cloud.group()]).await.status, 201);
    cloud.grant(&other, READER, &actor.principal).await;
    let elsewhere = format!("{other}/{AUTHORIZATION}/roleDefinitions/{}", guid(1));
    assert_eq!(
        actor.arm(&cloud, Method::GET, &elsewhere, None).await.status,
        404,
        "of another scope"
    );
}

#[tokio::test]
async fn what_would_take_long_to_decide_is_refused() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    let role = format!("{}/{AUTHORIZATION}/roleDefinitions/{}", cloud.group(), guid(1));
    let stars = format!("Contoso.X/{}", "*a".repeat(100));
    let mut empty = custom_role("R", &[&cloud.group()], &["*/read"], &[]);
    for _ in 0..200 {
        empty["properties"]["permissions"].as_array_mut().unwrap().push(json!({}));
    }
    for body in [custom_role("R", &[&cloud.group()], &[&stars], &[]), empty] {
        assert_eq!(admin(&cloud, Method::PUT, &role, Some(body)).await.status, 400);
    }
    let attributes: Value =
        (0..1000).map(|n| (format!("a{n}"), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    let check = format!("{}/{AUTHORIZATION}/checkAccess", cloud.group());
    let ask = |id: &str, attributes: &Value| {
        json!({
            "subject": { "attributes": { "objectId": actor.principal } },
            "actions": [{ "id": id, "attributes": attributes }],
        })
    };
    for body in [ask("A/b", &attributes), ask(&"a".repeat(5000), &json!({}))] {
        assert_eq!(actor.arm(&cloud, Method::POST, &check, Some(body)).await.status, 400);
    }
    let hostile = format!("ActionMatches{{'{}'}}", "*a".repeat(500));
    let path = format!("{}/{AUTHORIZATION}/roleAssignments/{}", cloud.group(), guid(2));
    let body = conditioned(READER, &actor.principal, &hostile);
    assert_eq!(admin(&cloud, Method::PUT, &path, Some(body)).await.code, "InvalidCondition");
}

#[tokio::test]
async fn an_owner_for_a_time_is_owner_of_what_requests_link_to() {
    let cloud = Cloud::start().await;
    let actor = Actor::new(&cloud, "actor").await;
    cloud.put_identity("mi-1").await;
    let path = format!("{}/{AUTHORIZATION}/roleAssignments/{}", cloud.group(), guid(1));
    let attach = async || {
        let body =
            json!({ "location": "local", "identity": cloud.identity_block(false, &["mi-1"]) });
        actor.arm(&cloud, Method::PUT, &cloud.vm_id("new"), Some(body)).await.status
    };
    for (until, status) in [("2020-01-01T00:00:00Z", 403), ("2099-01-01T00:00:00Z", 201)] {
        let condition = format!("@Environment[UtcNow] DateTimeLessThan '{until}'");
        let body = conditioned(OWNER, &actor.principal, &condition);
        assert_eq!(admin(&cloud, Method::PUT, &path, Some(body)).await.status, 201);
        assert_eq!(attach().await, status, "{until}");
    }
}

#[tokio::test]
async fn the_pages_of_a_narrowed_listing_stay_narrowed() {
    let cloud = Cloud::start().await;
    let (one, other) = (Actor::new(&cloud, "one").await, Actor::new(&cloud, "other").await);
    for role in [READER, CONTRIBUTOR, VM_CONTRIBUTOR] {
        cloud.grant(&cloud.group(), role, &one.principal).await;
        cloud.grant(&cloud.group(), role, &other.principal).await;
    }
    let mut link = Some(format!(
        "{}/{AUTHORIZATION}/roleAssignments?$filter=principalId%20eq%20'{}'&$top=1",
        cloud.group(),
        one.principal
    ));
    let mut seen = 0;
    while let Some(path) = link {
        let version = if path.contains("api-version") { "" } else { VERSION };
        let page = cloud.admin(Method::GET, &path, version, None).await.body;
        for item in page["value"].as_array().unwrap() {
            assert_eq!(item["properties"]["principalId"], one.principal);
            seen += 1;
        }
        let next = page["nextLink"].as_str();
        link = next.map(|next| next[next.find("/subscriptions").unwrap()..].to_owned());
    }
    assert_eq!(seen, 3);
}

#[tokio::test]
async fn nobody_is_locked_out_for_good() {
    let cloud = Cloud::start().await;
    let path = format!("{}/{AUTHORIZATION}/denyAssignments/{}", cloud.subscription(), guid(1));
    let nobody = json!({ "excludePrincipals": [{ "id": guid(9), "type": "ServicePrincipal" }] });
    let refused = admin(&cloud, Method::PUT, &path, Some(deny("all", &["*"], &[], nobody))).await;
    assert_eq!((refused.status, &*refused.code), (400, "InvalidCreateDenyAssignmentRequest"));
    let list =
        format!("{}/{AUTHORIZATION}/roleAssignments?$filter=atScope()", cloud.subscription());
    let own = admin(&cloud, Method::GET, &list, None).await.body["value"][0].clone();
    let (id, principal) =
        (own["id"].as_str().unwrap(), own["properties"]["principalId"].as_str().unwrap());
    let never = conditioned(
        OWNER,
        principal,
        "@Environment[UtcNow] DateTimeLessThan '2020-01-01T00:00:00Z'",
    );
    let refused = admin(&cloud, Method::PUT, id, Some(never)).await;
    assert_eq!(
        (refused.status, &*refused.message),
        (400, "Cannot delete the last RBAC admin assignment")
    );
}
