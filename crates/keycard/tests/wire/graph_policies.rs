//! Microsoft Graph: token lifetime policies and claims mapping policies, and what they are in force for.

use http::Method;
use keycard_domain::limits::Profile;
use serde_json::{Value, json};

use crate::graph::{Directory, code, vm};
use crate::harness::{Choice, Cloud};

const LIFETIMES: &str = "/policies/tokenLifetimePolicies";
const CLAIMS: &str = "/policies/claimsMappingPolicies";
const NOBODY: &str = "99999999-9999-9999-9999-999999999999";

fn lifetime(text: &str, is_default: bool) -> Value {
    let rule = json!({ "TokenLifetimePolicy": { "Version": 1, "AccessTokenLifetime": text } });
    json!({
        "displayName": "short", "definition": [rule.to_string()],
        "isOrganizationDefault": is_default,
    })
}

fn claims(name: &str) -> Value {
    let schema = json!([{ "Value": "x", "JwtClaimType": name }]);
    let rule = json!({ "ClaimsMappingPolicy": {
        "Version": 1, "IncludeBasicClaimSet": "true", "ClaimsSchema": schema,
    }});
    json!({ "displayName": "claims", "definition": [rule.to_string()] })
}

async fn made(directory: &Directory<'_>, path: &str, body: Value) -> String {
    directory.make(path, body).await["id"].as_str().unwrap().to_owned()
}

async fn link(
    directory: &Directory<'_>,
    path: &str,
    collection: &str,
    policy: &str,
) -> (u16, Value) {
    let reference = format!("https://graph.microsoft.com/v1.0{collection}/{policy}");
    let body = json!({ "@odata.id": reference });
    directory.send(Method::POST, &format!("{path}/$ref"), Some(body)).await
}

#[tokio::test]
async fn a_policy_is_made_changed_and_deleted() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    for (path, body, change) in [
        (LIFETIMES, lifetime("8:00:00", false), lifetime("4:00:00", true)),
        (CLAIMS, claims("team"), claims("unit")),
    ] {
        let id = made(&directory, path, body.clone()).await;
        let one = format!("{path}/{id}");
        let (_, shown) = directory.get(&one).await;
        assert_eq!(shown["definition"], body["definition"]);
        assert_eq!(shown["isOrganizationDefault"], false);
        assert_eq!(directory.ids(path).await, [&*id]);
        assert_eq!(directory.patch(&one, change.clone()).await.0, 204);
        let (_, shown) = directory.get(&one).await;
        assert_eq!(shown["definition"], change["definition"]);
        assert_eq!(directory.delete(&one).await, 204);
        assert_eq!(directory.get(&one).await.0, 404);
        assert_eq!(directory.delete(&one).await, 404);
    }
    let id = made(&directory, LIFETIMES, lifetime("8:00:00", false)).await;
    assert_eq!(directory.get(&format!("{CLAIMS}/{id}")).await.0, 404, "of another kind");
}

#[tokio::test]
async fn a_definition_that_is_not_understood_is_refused() {
    for (profile, right, wrong) in [
        (Profile::Standard, ["1:00:00", "1.00:00:00"], ["0:59:59", "1.00:00:01"]),
        (Profile::Azure, ["0:10:00", "23:59:59"], ["0:09:59", "2.00:00:00"]),
    ] {
        let cloud = Cloud::start_with(Choice { profile, ..Choice::default() }).await;
        let directory = Directory::of(&cloud).await;
        for text in right {
            made(&directory, LIFETIMES, lifetime(text, false)).await;
        }
        for text in wrong.into_iter().chain(["8h", ""]) {
            let body = Some(lifetime(text, false));
            let (status, refused) = directory.send(Method::POST, LIFETIMES, body).await;
            assert_eq!((status, code(&refused)), (400, "Request_BadRequest"), "{text}");
        }
    }
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    for name in ["roles", "oid", "XMS_az_rid", "iss", ""] {
        let (status, _) = directory.send(Method::POST, CLAIMS, Some(claims(name))).await;
        assert_eq!(status, 400, "{name}");
    }
    for (member, wrong) in [
        ("definition", json!([])),
        ("definition", json!(["{}"])),
        ("definition", json!(["{}", "{}"])),
        ("definition", Value::Null),
        ("displayName", json!("")),
        ("displayName", Value::Null),
        ("description", json!("x".repeat(1025))),
        ("keyCredentials", json!([{}, 1])),
    ] {
        let mut body = lifetime("8:00:00", false);
        body[member] = wrong;
        let (status, refused) = directory.send(Method::POST, LIFETIMES, Some(body)).await;
        assert_eq!((status, code(&refused)), (400, "Request_BadRequest"), "{member}");
    }
    assert!(directory.ids(LIFETIMES).await.is_empty());
}

#[tokio::test]
async fn an_object_has_at_most_one_policy_of_a_kind() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    let principal = vm(&cloud, "vm1").await;
    let (one, other) = (
        made(&directory, LIFETIMES, lifetime("8:00:00", false)).await,
        made(&directory, LIFETIMES, lifetime("4:00:00", false)).await,
    );
    for path in [
        format!("/applications/{}/tokenLifetimePolicies", application.id),
        format!("/applications(appId='{}')/tokenLifetimePolicies", application.client),
        format!("/servicePrincipals/{}/tokenLifetimePolicies", application.principal),
        format!("/servicePrincipals/{principal}/tokenLifetimePolicies"),
    ] {
        assert_eq!(link(&directory, &path, LIFETIMES, &one).await.0, 204, "{path}");
        assert_eq!(link(&directory, &path, LIFETIMES, &one).await.0, 400);
        assert_eq!(link(&directory, &path, LIFETIMES, &other).await.0, 400);
        assert_eq!(directory.ids(&path).await, [&*one]);
        assert_eq!(directory.ids(&format!("{LIFETIMES}/{one}/appliesTo")).await.len(), 1);
        assert_eq!(directory.delete(&format!("{path}/{other}/$ref")).await, 404);
        assert_eq!(directory.delete(&format!("{path}/{one}/$ref")).await, 204);
        assert_eq!(directory.ids(&path).await.len(), 0);
        let ((first, _), (second, _)) = tokio::join!(
            link(&directory, &path, LIFETIMES, &one),
            link(&directory, &path, LIFETIMES, &other)
        );
        assert!(matches!((first, second), (204, 400) | (400, 204)), "{first} {second}");
        assert_eq!(directory.ids(&path).await.len(), 1);
        for policy in [&one, &other] {
            directory.delete(&format!("{path}/{policy}/$ref")).await;
        }
        assert_eq!(link(&directory, &path, LIFETIMES, NOBODY).await.0, 404);
        assert_eq!(link(&directory, &path, "/groups", &one).await.0, 400);
    }
    let claims_policy = made(&directory, CLAIMS, claims("team")).await;
    let principal = &application.principal;
    let path = format!("/servicePrincipals/{principal}/claimsMappingPolicies");
    assert_eq!(link(&directory, &path, CLAIMS, &claims_policy).await.0, 204);
    let lifetimes = format!("/servicePrincipals/{principal}/tokenLifetimePolicies");
    assert_eq!(link(&directory, &lifetimes, LIFETIMES, &one).await.0, 204, "one of each kind");
    assert_eq!(link(&directory, &lifetimes, LIFETIMES, &claims_policy).await.0, 404);
    let missing = format!("/servicePrincipals/{NOBODY}/claimsMappingPolicies");
    assert_eq!(link(&directory, &missing, CLAIMS, &claims_policy).await.0, 404);
}

#[tokio::test]
async fn there_is_one_default_of_a_kind_also_when_two_are_made_at_once() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let send = |name: &str| {
        let mut body = lifetime("8:00:00", true);
        body["displayName"] = json!(name);
        directory.send(Method::POST, LIFETIMES, Some(body))
    };
    let ((first, _), (second, _)) = tokio::join!(send("a"), send("b"));
    assert!(matches!((first, second), (201, 400) | (400, 201)), "{first} {second}");
    assert_eq!(send("c").await.0, 400);
    let mut other = claims("team");
    other["isOrganizationDefault"] = json!(true);
    made(&directory, CLAIMS, other).await;
    let default = directory.ids(LIFETIMES).await.remove(0);
    let second = made(&directory, LIFETIMES, lifetime("4:00:00", false)).await;
    let is_default = |is: bool| json!({ "isOrganizationDefault": is });
    let path = format!("{LIFETIMES}/{second}");
    assert_eq!(directory.patch(&path, is_default(true)).await.0, 400);
    assert_eq!(directory.patch(&format!("{LIFETIMES}/{default}"), is_default(false)).await.0, 204);
    assert_eq!(directory.patch(&path, is_default(true)).await.0, 204);
}

#[tokio::test]
async fn no_link_outlives_its_policy_or_its_object() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    let policy = made(&directory, LIFETIMES, lifetime("8:00:00", false)).await;
    let applied = format!("{LIFETIMES}/{policy}/appliesTo");
    let principal = vm(&cloud, "vm1").await;
    for target in [
        format!("/applications/{}", application.id),
        format!("/servicePrincipals/{}", application.principal),
        format!("/servicePrincipals/{principal}"),
    ] {
        let path = format!("{target}/tokenLifetimePolicies");
        assert_eq!(link(&directory, &path, LIFETIMES, &policy).await.0, 204);
    }
    assert_eq!(directory.ids(&applied).await.len(), 3);
    cloud.admin(Method::DELETE, &cloud.vm_id("vm1"), "2024-07-01", None).await;
    assert_eq!(directory.ids(&applied).await.len(), 2);
    assert_eq!(directory.delete(&format!("/applications/{}", application.id)).await, 204);
    assert_eq!(directory.ids(&applied).await.len(), 0);
    let path = format!("/directory/deletedItems/{}/restore", application.id);
    assert_eq!(directory.send(Method::POST, &path, None).await.0, 200);
    assert_eq!(directory.ids(&applied).await.len(), 0, "restored without its links");

    let path = format!("/applications/{}/tokenLifetimePolicies", application.id);
    assert_eq!(link(&directory, &path, LIFETIMES, &policy).await.0, 204);
    assert_eq!(directory.delete(&format!("{LIFETIMES}/{policy}")).await, 204);
    assert_eq!(directory.ids(&path).await.len(), 0);
}
