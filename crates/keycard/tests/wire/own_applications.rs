//! Tokens for one's own applications: under which names they are asked for, in which form, with which roles, groups and
//! further claims, and for how long. azure-semantics 34 and 35; data-planes section 6.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use keycard_crypto::secret::Secret;
use keycard_domain::limits::Profile;
use serde_json::{Value, json};

use crate::graph::Directory;
use crate::harness::{Choice, Cloud, VAULT_AUDIENCE, claims, header};

const ORDERS: &str = "https://orders.example/api";
const READ: &str = "aaaaaaaa-0000-0000-0000-000000000001";
const WRITE: &str = "aaaaaaaa-0000-0000-0000-000000000002";

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn role(id: &str, value: &str) -> Value {
    json!({
        "id": id, "value": value, "displayName": value, "description": value,
        "isEnabled": true, "allowedMemberTypes": ["Application"],
    })
}

/// A VM that asks for tokens, and the application that they are for.
struct World {
    cloud: Cloud,
    /// The object id of the VM's identity.
    caller: String,
    /// The ids of the application: object id, client id, and that of its principal.
    application: [String; 3],
}

impl World {
    /// An application with these members.
    async fn with(profile: Profile, members: Value) -> Self {
        let cloud = Cloud::start_with(Choice { profile, ..Choice::default() }).await;
        let vm = cloud.put_vm("vm1", true, &[]).await;
        let mut body = json!({
            "displayName": "orders",
            "identifierUris": [ORDERS],
            "appRoles": [role(READ, "Orders.Read"), role(WRITE, "Orders.Write")],
        });
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let directory = Directory::of(&cloud).await;
        let application = directory.make("/applications", body).await;
        let client = text(&application["appId"]).to_owned();
        let principal =
            directory.make("/servicePrincipals", json!({ "appId": client })).await["id"].clone();
        let application =
            [text(&application["id"]).to_owned(), client, text(&principal).to_owned()];
        let caller = text(&vm["identity"]["principalId"]).to_owned();
        Self { cloud, caller, application }
    }

    async fn directory(&self) -> Directory<'_> {
        Directory::of(&self.cloud).await
    }

    /// A new token of the VM.
    async fn token(&self, resource: &str) -> Secret {
        self.cloud.vm_token("vm1", resource, "&bypass_cache=true").await
    }

    async fn claims(&self, resource: &str) -> Value {
        claims(&self.token(resource).await)
    }

    async fn refusal(&self, resource: &str) -> (u16, String) {
        let query = format!("api-version=2018-02-01&bypass_cache=true&resource={resource}");
        let answer = self.cloud.metadata("vm1", &query).await;
        (answer.status.as_u16(), text(&answer.body["error_description"]).to_owned())
    }

    /// Gives a principal or group a role of the application.
    async fn give(&self, to: &str, kind: &str, role: &str) {
        let body =
            json!({ "principalId": to, "resourceId": self.application[2], "appRoleId": role });
        let path = format!("/{kind}/{to}/appRoleAssignments");
        self.directory().await.make(&path, body).await;
    }

    /// Makes a policy and puts it into force for something, unless it is the default.
    async fn policy(&self, kind: &str, rule: Value, target: Option<&str>) -> String {
        let body = json!({
            "displayName": "p", "definition": [rule.to_string()],
            "isOrganizationDefault": target.is_none(),
        });
        let directory = self.directory().await;
        let made = directory.make(&format!("/policies/{kind}"), body).await;
        let id = text(&made["id"]).to_owned();
        if let Some(target) = target {
            let url = format!("https://graph.microsoft.com/v1.0/policies/{kind}/{id}");
            let path = format!("{target}/{kind}/$ref");
            let linked =
                directory.send(Method::POST, &path, Some(json!({ "@odata.id": url }))).await;
            assert_eq!(linked.0, 204, "{}", linked.1);
        }
        id
    }

    async fn lifetime_policy(&self, lifetime: &str, target: Option<&str>) -> String {
        let rule =
            json!({ "TokenLifetimePolicy": { "Version": 1, "AccessTokenLifetime": lifetime } });
        self.policy("tokenLifetimePolicies", rule, target).await
    }
}

#[tokio::test]
async fn an_application_is_asked_for_by_its_own_names_only() {
    let world = World::with(Profile::Standard, json!({})).await;
    let client = &world.application[1];
    for name in [ORDERS.to_owned(), format!("{ORDERS}/"), client.clone(), format!("api://{client}")]
    {
        assert_eq!(world.claims(&name).await["aud"], name, "in v1 the name as it was asked for");
    }
    for name in ["https://orders.example", "https://orders.example/api2", "api://orders"] {
        let (status, description) = world.refusal(name).await;
        assert_eq!(status, 400);
        assert!(description.starts_with("AADSTS500011"), "{description}");
    }
    let path = format!("/servicePrincipals/{}", world.application[2]);
    assert_eq!(world.directory().await.delete(&path).await, 204);
    assert_eq!(world.refusal(ORDERS).await.0, 400, "it is not in the tenant any more");
}

#[tokio::test]
async fn the_resource_decides_about_the_form_of_its_tokens() {
    let members = json!({ "api": { "requestedAccessTokenVersion": 2 } });
    let world = World::with(Profile::Standard, members).await;
    let token = world.token(ORDERS).await;
    let (head, body) = (header(&token), claims(&token));
    let tenant = &world.cloud.description().tenant_id;
    let login = &world.cloud.description().endpoints.token_service;
    assert_eq!(body["aud"], json!(world.application[1]));
    assert_eq!(body["iss"], format!("{login}/{tenant}/v2.0"));
    assert_eq!((&body["ver"], &body["azpacr"]), (&json!("2.0"), &json!("2")));
    assert!(body["azp"].is_string() && body.get("appid").is_none());
    assert!(head["kid"].is_string() && head.get("x5t").is_none(), "{head}");
    // The check endpoint takes it under each name of the application.
    for audience in [ORDERS, &world.application[1], &format!("api://{}", world.application[1])] {
        let url = format!(
            "{}/authorize?audience={audience}&action=Contoso.Orders/orders/read&scope={}",
            world.cloud.description().endpoints.loopback,
            world.cloud.group(),
        );
        let bearer = format!("Bearer {}", token.expose());
        let answer = world.cloud.get(&url, &[("Authorization", &bearer)]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "known, without a role: {audience}");
    }
    // What is presented as an assertion is a v2 token too.
    let exchange = world.claims("api://AzureADTokenExchange").await;
    assert_eq!(exchange["ver"], "2.0");
    assert_eq!(exchange["aud"], "fb60f99c-7a34-4190-8149-302f77469936");
    assert_eq!(exchange["sub"], json!(world.caller));
}

/// 35: and a group's role reaches those who are directly in it.
#[tokio::test]
async fn roles_stand_in_tokens_that_are_issued_after_they_were_given() {
    let world = World::with(Profile::Standard, json!({})).await;
    let before = world.claims(ORDERS).await;
    assert!(before.get("roles").is_none(), "{before}");
    world.give(&world.caller, "servicePrincipals", READ).await;
    assert_eq!(world.claims(ORDERS).await["roles"], json!(["Orders.Read"]));
    let directory = world.directory().await;
    let group = directory
        .make("/groups", json!({
            "displayName": "g", "mailNickname": "g", "mailEnabled": false, "securityEnabled": true,
        }))
        .await;
    let group = text(&group["id"]);
    let member = format!("https://graph.microsoft.com/v1.0/directoryObjects/{}", world.caller);
    let path = format!("/groups/{group}/members/$ref");
    directory.send(Method::POST, &path, Some(json!({ "@odata.id": member }))).await;
    world.give(group, "groups", WRITE).await;
    let roles = world.claims(ORDERS).await["roles"].clone();
    assert_eq!(roles, json!(["Orders.Read", "Orders.Write"]));
    assert!(world.claims(VAULT_AUDIENCE).await.get("roles").is_none(), "of that resource only");
}

#[tokio::test]
async fn a_resource_may_give_tokens_only_to_those_with_a_role() {
    let world = World::with(Profile::Standard, json!({})).await;
    let path = format!("/servicePrincipals/{}", world.application[2]);
    let required = json!({ "appRoleAssignmentRequired": true });
    assert_eq!(world.directory().await.patch(&path, required).await.0, 204);
    let (status, description) = world.refusal(ORDERS).await;
    assert_eq!(status, 400);
    assert!(description.starts_with("AADSTS501051"), "{description}");
    // Where the workload is a site: what never gets better is not repeated there either.
    let site = world.cloud.attach(&world.cloud.vm_id("vm1"), "app-service").await;
    let url = format!("{}?api-version=2019-08-01&resource={ORDERS}", text(&site["url"]));
    let answer = world.cloud.get(&url, &[("X-IDENTITY-HEADER", text(&site["header"]))]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    assert!(text(&answer.body["message"]).contains("AADSTS501051"), "{}", answer.body);
    world.give(&world.caller, "servicePrincipals", READ).await;
    assert_eq!(world.claims(ORDERS).await["roles"], json!(["Orders.Read"]));
}

#[tokio::test]
async fn groups_are_those_of_the_moment_of_issue_and_too_many_are_told_elsewhere() {
    let members = json!({ "groupMembershipClaims": "SecurityGroup" });
    let world = World::with(Profile::Standard, members).await;
    let directory = world.directory().await;
    let join = async |number: usize, member: &str| {
        let name = format!("g{number}");
        let body = json!({
            "displayName": name, "mailNickname": name, "mailEnabled": false, "securityEnabled": true,
        });
        let group = text(&directory.make("/groups", body).await["id"]).to_owned();
        let member = format!("https://graph.microsoft.com/v1.0/directoryObjects/{member}");
        let path = format!("/groups/{group}/members/$ref");
        directory.send(Method::POST, &path, Some(json!({ "@odata.id": member }))).await;
        group
    };
    assert_eq!(world.claims(ORDERS).await["groups"], json!([]));
    let inner = join(0, &world.caller).await;
    let mut expected = BTreeSet::from([inner.clone(), join(1, &inner).await]);
    let listed = |claims: &Value| -> BTreeSet<String> {
        claims["groups"].as_array().unwrap().iter().map(|id| text(id).to_owned()).collect()
    };
    assert_eq!(listed(&world.claims(ORDERS).await), expected, "groups in groups too");
    for number in 2..200 {
        expected.insert(join(number, &world.caller).await);
    }
    let full = world.claims(ORDERS).await;
    assert_eq!(listed(&full), expected);
    join(200, &world.caller).await;
    let over = world.claims(ORDERS).await;
    assert!(over.get("groups").is_none());
    assert_eq!(over["_claim_names"], json!({ "groups": "src1" }));
    let endpoint = text(&over["_claim_sources"]["src1"]["endpoint"]);
    let path = endpoint.split_once("/v1.0").unwrap().1;
    let body = json!({ "securityEnabledOnly": true });
    let (status, told) = directory.send(Method::POST, path, Some(body)).await;
    assert_eq!((status, told["value"].as_array().unwrap().len()), (200, 201), "{told}");
    assert_eq!(listed(&full).len(), 200, "a token says what was so when it was issued");
}

#[tokio::test]
async fn a_policy_of_the_resource_adds_claims_for_verifiers_elsewhere() {
    let world = World::with(Profile::Standard, json!({})).await;
    let rule = json!({ "ClaimsMappingPolicy": {
        "Version": 1, "IncludeBasicClaimSet": "true", "ClaimsSchema": [
            { "Value": "readwrite", "JwtClaimType": "policy" },
            { "Source": "application", "ID": "displayname", "JwtClaimType": "machine" },
        ],
    }});
    let target = format!("/servicePrincipals/{}", world.application[2]);
    world.policy("claimsMappingPolicies", rule, Some(&target)).await;
    let claims = world.claims(ORDERS).await;
    assert_eq!((&claims["policy"], &claims["machine"]), (&json!("readwrite"), &json!("vm1")));
    let others = world.claims(VAULT_AUDIENCE).await;
    assert!(others.get("policy").is_none(), "{others}");
}

/// 34: which policy counts, and for whom.
#[tokio::test]
async fn tokens_live_as_long_as_the_policy_in_force_says() {
    const HOUR: i64 = 3600;
    let world = World::with(Profile::Standard, json!({})).await;
    let lives = async |world: &World| {
        world.claims(VAULT_AUDIENCE).await["exp"].as_i64().unwrap() - world.cloud.now()
    };
    assert_eq!(lives(&world).await, 8 * HOUR);
    let own = format!("/servicePrincipals/{}", world.caller);
    let policy = world.lifetime_policy("2:00:00", Some(&own)).await;
    assert_eq!(lives(&world).await, 2 * HOUR, "applied to the next token");
    let organization = world.lifetime_policy("1.00:00:00", None).await;
    assert_eq!(lives(&world).await, 24 * HOUR, "the organization's is enforced");
    let directory = world.directory().await;
    let path = |id: &str| format!("/policies/tokenLifetimePolicies/{id}");
    assert_eq!(directory.delete(&path(&organization)).await, 204);
    assert_eq!(lives(&world).await, 2 * HOUR);
    assert_eq!(directory.delete(&path(&policy)).await, 204);
    assert_eq!(lives(&world).await, 8 * HOUR);
    // As observed: policies say nothing about managed identities, and something about applications.
    let world = World::with(Profile::Azure, json!({})).await;
    world.lifetime_policy("0:10:00", None).await;
    assert_eq!(lives(&world).await, 24 * HOUR);
    let administrator = claims(&world.cloud.admin_token(VAULT_AUDIENCE).await);
    assert_eq!(administrator["exp"].as_i64().unwrap() - world.cloud.now(), 600);
}

#[tokio::test]
async fn a_disabled_principal_gets_no_token_and_its_tokens_count_no_more() {
    let world = World::with(Profile::Standard, json!({})).await;
    let vault = world.cloud.open_vault("kv1").await;
    let url = world.cloud.vault_url("kv1", "/secrets?api-version=7.4");
    world
        .cloud
        .grant(&world.cloud.vault_id("kv1"), crate::harness::SECRETS_USER, &world.caller)
        .await;
    let read = async |token: &Secret| {
        world.cloud.vault(Some(token), Method::GET, &url, None).await.status.as_u16()
    };
    let token = world.token(VAULT_AUDIENCE).await;
    assert_eq!((read(&vault).await, read(&token).await), (200, 200));
    let path = format!("/servicePrincipals/{}", world.caller);
    let directory = world.directory().await;
    let enable = async |is_enabled: bool| {
        directory.patch(&path, json!({ "accountEnabled": is_enabled })).await.0
    };
    assert_eq!(enable(false).await, 204);
    assert_eq!(read(&token).await, 401);
    assert_eq!(world.refusal(VAULT_AUDIENCE).await, (400, "Identity not found".to_owned()));
    assert_eq!(enable(true).await, 204);
    assert_eq!((read(&token).await, read(&world.token(VAULT_AUDIENCE).await).await), (200, 200));
}
