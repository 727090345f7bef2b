//! Management groups: the tree, what it means for rights below it, and the way to rights above the subscriptions.

use http::{Method, StatusCode};
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, OWNER, READER};

const VERSION: &str = "2020-05-01";
const MANAGEMENT_GROUP_CONTRIBUTOR: &str = "5d58bcaf-24a5-4b20-bdb6-eed9f69fbe4c";

fn body(parent: &str) -> Value {
    let parent = json!({ "id": Cloud::management_group(parent) });
    json!({ "properties": { "details": { "parent": parent } } })
}

async fn send(cloud: &Cloud, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let answer = cloud.admin(method, path, VERSION, body).await;
    (answer.status.as_u16(), answer.body)
}

async fn put(cloud: &Cloud, name: &str, parent: &str) -> (u16, Value) {
    send(cloud, Method::PUT, &Cloud::management_group(name), Some(body(parent))).await
}

async fn get(cloud: &Cloud, path: &str) -> (u16, Value) {
    send(cloud, Method::GET, path, None).await
}

async fn as_vm(
    cloud: &Cloud,
    token: &Secret,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let answer = cloud.arm(Some(token), method, path, VERSION, body).await;
    (answer.status.as_u16(), answer.body)
}

/// A VM with an identity: its object id and its token.
async fn vm(cloud: &Cloud, name: &str) -> (String, Secret) {
    let vm = cloud.put_vm(name, true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap().to_owned();
    (principal, cloud.vm_token(name, ARM_AUDIENCE, "").await)
}

fn names(listing: &Value) -> Vec<&str> {
    let items = listing["value"].as_array().unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

fn placed(cloud: &Cloud, group: &str) -> String {
    let subscription = &cloud.description().subscription_id;
    format!("{}/subscriptions/{subscription}", Cloud::management_group(group))
}

#[tokio::test]
async fn a_tree_is_made_shown_and_taken_down() {
    let cloud = Cloud::start().await;
    cloud.govern().await;
    let root = cloud.description().tenant_id.clone();
    let sent = json!({ "name": "Corp", "properties": { "displayName": "Corporation" } });
    let (status, corp) =
        send(&cloud, Method::PUT, &Cloud::management_group("Corp"), Some(sent)).await;
    assert_eq!(status, 200, "{corp}");
    assert_eq!(corp["id"], Cloud::management_group("Corp"));
    assert_eq!(corp["type"], "Microsoft.Management/managementGroups");
    let properties = &corp["properties"];
    assert_eq!(
        (&properties["displayName"], &properties["tenantId"]),
        (&json!("Corporation"), &json!(root))
    );
    let details = &properties["details"];
    assert_eq!(details["parent"]["displayName"], "Tenant Root Group");
    assert_eq!(details["parent"]["name"], json!(root));
    assert_eq!(details["updatedBy"], cloud.description().administrator.object_id);
    assert_eq!(put(&cloud, "team", "corp").await.0, 200);
    assert_eq!(send(&cloud, Method::PUT, &placed(&cloud, "TEAM"), None).await.0, 200);

    let (_, listing) = get(&cloud, "/providers/Microsoft.Management/managementGroups").await;
    assert_eq!(names(&listing).len(), 3);
    let tree =
        "/providers/microsoft.management/MANAGEMENTGROUPS/CORP?$expand=children&$recurse=true";
    let (_, tree) = get(&cloud, tree).await;
    let team = &tree["properties"]["children"][0];
    assert_eq!((&tree["name"], &team["name"]), (&json!("Corp"), &json!("team")));
    assert_eq!(team["children"][0]["type"], "/subscriptions");
    let (_, shallow) =
        get(&cloud, &format!("{}?$expand=children", Cloud::management_group("corp"))).await;
    assert!(shallow["properties"]["children"][0].get("children").is_none(), "{shallow}");
    for method in [Method::GET, Method::POST] {
        let path = format!("{}/descendants", cloud.root_group());
        let (_, below) = send(&cloud, method, &path, None).await;
        let [corp, team, subscription] = below["value"].as_array().unwrap().as_slice() else {
            panic!("{below}")
        };
        assert_eq!((&corp["name"], &team["name"]), (&json!("Corp"), &json!("team")));
        assert_eq!(subscription["properties"]["parent"]["id"], Cloud::management_group("team"));
    }
    let (_, below) =
        get(&cloud, &format!("{}/subscriptions", Cloud::management_group("team"))).await;
    assert_eq!(names(&below), [cloud.description().subscription_id.as_str()]);
    let (status, one) = get(&cloud, &placed(&cloud, "team")).await;
    assert_eq!((status, &one["properties"]["state"]), (200, &json!("Active")));
    assert_eq!(get(&cloud, &placed(&cloud, "corp")).await.0, 404);

    let patch = json!({ "displayName": "The team", "parentGroupId": cloud.root_group() });
    let (status, moved) =
        send(&cloud, Method::PATCH, &Cloud::management_group("team"), Some(patch)).await;
    assert_eq!(status, 200, "{moved}");
    assert_eq!(moved["properties"]["displayName"], "The team");
    assert_eq!(moved["properties"]["details"]["parent"]["name"], json!(root));
    let (status, refused) =
        send(&cloud, Method::DELETE, &Cloud::management_group("team"), None).await;
    assert_eq!((status, code(&refused)), (400, "BadRequest"));
    assert!(refused["error"]["message"].as_str().unwrap().contains("below it"), "{refused}");
    assert_eq!(send(&cloud, Method::DELETE, &placed(&cloud, "team"), None).await.0, 200);
    assert_eq!(send(&cloud, Method::DELETE, &placed(&cloud, "team"), None).await.0, 404);
    for name in ["TEAM", "corp", "corp"] {
        let path = Cloud::management_group(name);
        assert_eq!(send(&cloud, Method::DELETE, &path, None).await.0, 204);
    }
    assert_eq!(get(&cloud, &Cloud::management_group("corp")).await.0, 404);
}

#[tokio::test]
async fn what_breaks_the_tree_is_refused() {
    let cloud = Cloud::start().await;
    cloud.govern().await;
    let refusal = async |name: &str, parent: &str| {
        let (status, body) = put(&cloud, name, parent).await;
        (status, code(&body).to_owned())
    };
    let bad = (400, "BadRequest".to_owned());
    let root = cloud.description().tenant_id.clone();
    let mut above = root.clone();
    for level in 1..=6 {
        let name = format!("level{level}");
        assert_eq!(put(&cloud, &name, &above).await.0, 200);
        above = name;
    }
    assert_eq!(refusal("level7", "level6").await, bad, "too deep");
    assert_eq!(put(&cloud, "side", &root).await.0, 200);
    assert_eq!(put(&cloud, "below-side", "side").await.0, 200);
    assert_eq!(refusal("side", "level5").await, bad, "its subtree would be too deep");
    assert_eq!(put(&cloud, "side", "level4").await.0, 200);
    assert_eq!(refusal("level2", "LEVEL5").await, bad, "a circle");
    assert_eq!(refusal("level2", "level2").await, bad, "below itself");
    assert_eq!(refusal("level2", "nowhere").await, (404, "NotFound".to_owned()));
    assert_eq!(refusal(&root, "level1").await, bad, "the root");
    let (status, _) = send(&cloud, Method::DELETE, &cloud.root_group(), None).await;
    assert_eq!(status, 400);
    for wrong in ["ends.", "a b", &"x".repeat(91)] {
        let name = wrong.replace(' ', "%20");
        assert_eq!(refusal(&name, &root).await, bad, "{wrong}");
    }
    let path = Cloud::management_group("named");
    for properties in [json!({ "displayName": "" }), json!({ "displayName": "x".repeat(257) })] {
        let body = json!({ "properties": properties });
        assert_eq!(send(&cloud, Method::PUT, &path, Some(body)).await.0, 400);
    }
    let parent = json!({ "properties": { "details": { "parent": { "id": "level1" } } } });
    let (status, body) = send(&cloud, Method::PUT, &path, Some(parent)).await;
    assert_eq!((status, code(&body)), (400, "InvalidRequestContent"));
    let (status, _) =
        get(&cloud, &format!("{}?$recurse=true", Cloud::management_group("side"))).await;
    assert_eq!(status, 400);
    let nobody = "/providers/Microsoft.Management/managementGroups/level1/subscriptions/11111111-1111-1111-1111-111111111111";
    let (status, body) = send(&cloud, Method::PUT, nobody, None).await;
    assert_eq!((status, code(&body)), (404, "SubscriptionNotFound"));
}

/// Two moves that would close a circle together: one of them sees what the other did.
#[tokio::test]
async fn moves_at_the_same_time_close_no_circle() {
    let cloud = Cloud::start().await;
    cloud.govern().await;
    let root = cloud.description().tenant_id.clone();
    for round in 0..8 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        put(&cloud, &a, &root).await;
        put(&cloud, &b, &root).await;
        let ((one, _), (other, _)) = tokio::join!(put(&cloud, &a, &b), put(&cloud, &b, &a));
        let mut statuses = [one, other];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400]);
    }
    put(&cloud, "parent", &root).await;
    for round in 0..8 {
        let child = format!("c{round}");
        let path = Cloud::management_group("parent");
        let ((made, _), (deleted, _)) =
            tokio::join!(put(&cloud, &child, "parent"), send(&cloud, Method::DELETE, &path, None));
        assert!(matches!((made, deleted), (200, 400) | (404, 204)), "{made} {deleted}");
        send(&cloud, Method::DELETE, &Cloud::management_group(&child), None).await;
        put(&cloud, "parent", &root).await;
    }
}

#[tokio::test]
async fn a_role_at_a_group_counts_below_it_until_the_subscription_moves_away() {
    let cloud = Cloud::start().await;
    cloud.govern().await;
    let root = cloud.description().tenant_id.clone();
    for (name, parent) in [("corp", root.as_str()), ("team", "corp"), ("other", root.as_str())] {
        assert_eq!(put(&cloud, name, parent).await.0, 200);
    }
    let (principal, token) = vm(&cloud, "vm1").await;
    cloud.grant(&Cloud::management_group("Corp"), READER, &principal).await;
    let group = cloud.group();
    let read = async || as_vm(&cloud, &token, Method::GET, &group, None).await.0;
    assert_eq!(read().await, 403);
    let under = async |name: &str| {
        assert_eq!(send(&cloud, Method::PUT, &placed(&cloud, name), None).await.0, 200);
    };
    under("team").await;
    assert_eq!(read().await, 200);
    let (_, subscriptions) = as_vm(&cloud, &token, Method::GET, "/subscriptions", None).await;
    assert_eq!(subscriptions["value"].as_array().unwrap().len(), 1);
    under("other").await;
    assert_eq!(read().await, 403);
    under("team").await;
    assert_eq!(put(&cloud, "team", "other").await.0, 200);
    assert_eq!(read().await, 403, "the group above moved away");
    assert_eq!(put(&cloud, "team", "corp").await.0, 200);
    assert_eq!(read().await, 200);

    let at = |name: &str| {
        format!(
            "{}/providers/Microsoft.Authorization/roleAssignments",
            Cloud::management_group(name)
        )
    };
    let holders = async |path: String| {
        let (_, listing) = get(&cloud, &path).await;
        let all = listing["value"].as_array().unwrap();
        all.iter().filter(|it| it["properties"]["principalId"] == principal.as_str()).count()
    };
    assert_eq!(holders(at("corp")).await, 1);
    assert_eq!(holders(format!("{}?$filter=atScope()", at("team"))).await, 1);
    assert_eq!(holders(at("other")).await, 0);
    let by_subscription = "providers/Microsoft.Authorization/roleAssignments?$filter=atScope()";
    assert_eq!(holders(format!("{}/{by_subscription}", cloud.subscription())).await, 1);

    // What stood at a group goes with it, and does not come back with its name.
    assert_eq!(send(&cloud, Method::DELETE, &placed(&cloud, "team"), None).await.0, 200);
    for name in ["team", "corp"] {
        let path = Cloud::management_group(name);
        assert_eq!(send(&cloud, Method::DELETE, &path, None).await.0, 204);
    }
    assert_eq!(put(&cloud, "corp", &root).await.0, 200);
    under("corp").await;
    assert_eq!(read().await, 403);
    assert_eq!(holders(at("corp")).await, 0);
}

#[tokio::test]
async fn rights_are_asked_for_before_anything_is_told() {
    let cloud = Cloud::start().await;
    cloud.govern().await;
    let root = cloud.description().tenant_id.clone();
    for name in ["mine", "theirs"] {
        assert_eq!(put(&cloud, name, &root).await.0, 200);
    }
    let (principal, token) = vm(&cloud, "vm1").await;
    let ask = async |method: Method, path: &str, body: Option<Value>| {
        let (status, body) = as_vm(&cloud, &token, method, path, body).await;
        (status, code(&body).to_owned())
    };
    let group = Cloud::management_group;
    let failed = (403, "AuthorizationFailed".to_owned());
    for name in ["theirs", "nowhere", &root] {
        let path = group(name);
        assert_eq!(ask(Method::GET, &path, None).await, failed, "{name}");
        assert_eq!(ask(Method::PUT, &path, Some(json!({}))).await, failed, "{name}");
        assert_eq!(ask(Method::PATCH, &path, Some(json!({}))).await, failed, "{name}");
        assert_eq!(ask(Method::DELETE, &path, None).await, failed, "{name}");
        let below = ask(Method::PUT, &placed(&cloud, name), Some(json!({}))).await;
        assert_eq!(below, failed, "{name}");
    }
    let (_, seen) = as_vm(
        &cloud,
        &token,
        Method::GET,
        "/providers/Microsoft.Management/managementGroups",
        None,
    )
    .await;
    assert_eq!(names(&seen).len(), 0);

    cloud.grant(&group("mine"), MANAGEMENT_GROUP_CONTRIBUTOR, &principal).await;
    assert_eq!(ask(Method::PUT, &group("child"), Some(body("mine"))).await.0, 200);
    assert_eq!(ask(Method::PUT, &group("child2"), Some(body("theirs"))).await, failed);
    assert_eq!(ask(Method::PUT, &group("child2"), Some(json!({}))).await, failed, "at the root");
    let linked = (403, "LinkedAuthorizationFailed".to_owned());
    for parent in ["theirs", "nowhere", &root] {
        let moved = ask(Method::PUT, &group("child"), Some(body(parent))).await;
        assert_eq!(moved, linked, "{parent}");
    }
    let (_, seen) = as_vm(
        &cloud,
        &token,
        Method::GET,
        "/providers/Microsoft.Management/managementGroups",
        None,
    )
    .await;
    assert_eq!(names(&seen), ["child", "mine"]);
    let entities = "/providers/Microsoft.Management/getEntities";
    let (_, seen) = as_vm(&cloud, &token, Method::POST, entities, None).await;
    assert_eq!(names(&seen), ["child", "mine"]);
    let child = &seen["value"][0]["properties"];
    assert_eq!(
        (&child["permissions"], &child["inheritedPermissions"]),
        (&json!("delete"), &json!("delete"))
    );
    assert_eq!(child["parentNameChain"], json!([root, "mine"]));

    // To place a subscription takes rights on the subscription too.
    let place = placed(&cloud, "mine");
    assert_eq!(ask(Method::PUT, &place, Some(json!({}))).await, linked);
    let unknown = format!("{}/subscriptions/11111111-1111-1111-1111-111111111111", group("mine"));
    assert_eq!(ask(Method::PUT, &unknown, Some(json!({}))).await, linked);
    cloud.grant(&cloud.subscription(), OWNER, &principal).await;
    assert_eq!(ask(Method::PUT, &place, Some(json!({}))).await.0, 200);
    assert_eq!(ask(Method::PUT, &placed(&cloud, "child"), Some(json!({}))).await.0, 200);
    assert_eq!(ask(Method::DELETE, &placed(&cloud, "child"), None).await, linked, "to the root");

    // To move a group changes who may do what below it: it takes what giving roles there takes.
    for name in ["sandbox", "prod"] {
        assert_eq!(put(&cloud, name, &root).await.0, 200);
        cloud.grant(&group(name), MANAGEMENT_GROUP_CONTRIBUTOR, &principal).await;
    }
    cloud.grant(&group(&root), MANAGEMENT_GROUP_CONTRIBUTOR, &principal).await;
    cloud.grant(&group("sandbox"), OWNER, &principal).await;
    assert_eq!(ask(Method::PUT, &group("prod"), Some(body("sandbox"))).await, linked);
    cloud.grant(&group("prod"), OWNER, &principal).await;
    assert_eq!(ask(Method::PUT, &group("prod"), Some(body("sandbox"))).await.0, 200);
}

#[tokio::test]
async fn only_an_administrator_of_the_directory_elevates_itself() {
    let cloud = Cloud::start().await;
    let path = "/providers/Microsoft.Authorization/elevateAccess";
    let (principal, token) = vm(&cloud, "vm1").await;
    cloud.grant(&cloud.subscription(), OWNER, &principal).await;
    let answer = cloud.arm(Some(&token), Method::POST, path, "2016-07-01", None).await;
    assert_eq!((answer.status, code(&answer.body)), (StatusCode::FORBIDDEN, "AuthorizationFailed"));
    let answer = cloud.arm(None, Method::POST, path, "2016-07-01", None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&cloud, &cloud.root_group()).await.0, 403);
    for _ in 0..2 {
        let answer = cloud.admin(Method::POST, path, "2016-07-01", None).await;
        assert_eq!((answer.status, answer.bytes.len()), (StatusCode::OK, 0));
    }
    let (_, listing) =
        get(&cloud, "/providers/Microsoft.Authorization/roleAssignments?$filter=atScope()").await;
    let given = listing["value"].as_array().unwrap();
    assert_eq!((given.len(), &given[0]["properties"]["scope"]), (1, &json!("/")));
    assert_eq!(get(&cloud, &cloud.root_group()).await.0, 200);
}

#[tokio::test]
async fn walking_the_links_of_a_listing_yields_each_group_once() {
    let cloud = Cloud::start().await;
    cloud.govern().await;
    for name in ["a", "B", "c", "d", "e"] {
        assert_eq!(put(&cloud, name, &cloud.description().tenant_id).await.0, 200);
    }
    let start = format!("{}/descendants?$top=2", cloud.root_group());
    let start = format!("{}{start}&api-version={VERSION}", cloud.description().endpoints.loopback);
    let (mut next, mut seen) = (Some(start), Vec::new());
    while let Some(url) = next {
        let answer = cloud.vault(Some(cloud.administration.token()), Method::GET, &url, None).await;
        seen.extend(names(&answer.body).into_iter().map(str::to_owned).collect::<Vec<_>>());
        next = answer.body["nextLink"].as_str().map(str::to_owned);
    }
    assert_eq!(seen[..5], ["a", "B", "c", "d", "e"]);
    assert_eq!(seen.len(), 6, "and the subscription");
}
