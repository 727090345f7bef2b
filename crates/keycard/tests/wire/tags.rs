//! Tags through their own API and on groups: azure-semantics checklist 88.

use http::{Method, StatusCode};
use keycard::client::Answer;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, READER};

const VERSION: &str = "2024-11-01";
const TAG_CONTRIBUTOR: &str = "4a9ae827-6dc8-4573-8ac7-8239d42aa03f";

fn tags_of(scope: &str) -> String {
    format!("{scope}/providers/Microsoft.Resources/tags/default")
}

async fn ask(cloud: &Cloud, method: Method, path: &str, body: Option<Value>) -> Answer {
    cloud.admin(method, path, VERSION, body).await
}

async fn put(cloud: &Cloud, scope: &str, tags: Value) -> Answer {
    let body = json!({ "properties": { "tags": tags } });
    ask(cloud, Method::PUT, &tags_of(scope), Some(body)).await
}

async fn patch(cloud: &Cloud, scope: &str, operation: &str, tags: Value) -> Value {
    let body = json!({ "operation": operation, "properties": { "tags": tags } });
    let answer = ask(cloud, Method::PATCH, &tags_of(scope), Some(body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body["properties"]["tags"].clone()
}

#[tokio::test]
async fn everything_that_has_tags_is_tagged_the_same_way() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    cloud.put_identity("mi-1").await;
    cloud.put_vault("kv1", true).await;
    let site = cloud.site_id("site1");
    cloud.put(&site, "2024-04-01", json!({ "location": "local" })).await;
    let set = format!("{}/providers/Microsoft.Compute/virtualMachineScaleSets/s", cloud.group());
    cloud.put(&set, VERSION, json!({ "location": "local", "sku": { "capacity": 1 } })).await;
    for scope in [
        cloud.subscription(),
        cloud.group(),
        cloud.vm_id("vm1"),
        cloud.identity_id("mi-1"),
        cloud.vault_id("kv1"),
        site,
        set,
    ] {
        let before = ask(&cloud, Method::GET, &scope, None).await.body;
        let made = put(&cloud, &scope, json!({ "Env": "dev" })).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.body);
        assert_eq!(
            made.body,
            json!({
                "id": tags_of(&scope),
                "name": "default",
                "type": "Microsoft.Resources/tags",
                "properties": { "tags": { "Env": "dev" } },
            })
        );
        let merged = patch(&cloud, &scope, "Merge", json!({ "ENV": "prod", "team": "x" })).await;
        assert_eq!(merged, json!({ "Env": "prod", "team": "x" }), "{scope}");
        let mut tagged = ask(&cloud, Method::GET, &scope, None).await.body;
        assert_eq!(tagged["tags"], merged, "{scope}");
        // Nothing else of it changed.
        tagged["tags"] = before["tags"].clone();
        if before.get("tags").is_none() {
            tagged.as_object_mut().unwrap().remove("tags");
        }
        assert_eq!(tagged, before, "{scope}");
        let left = patch(&cloud, &scope, "delete", json!({ "env": "dev", "TEAM": "" })).await;
        assert_eq!(left, json!({ "Env": "prod" }), "{scope}");
        let replaced = patch(&cloud, &scope, "Replace", json!({ "env": "", "b": null })).await;
        assert_eq!(replaced, json!({ "Env": "", "b": "" }), "{scope}");
        let gone = ask(&cloud, Method::DELETE, &tags_of(&scope), None).await;
        assert_eq!(gone.status, StatusCode::OK);
        let shown = ask(&cloud, Method::GET, &tags_of(&scope), None).await;
        assert_eq!(shown.body["properties"]["tags"], json!({}), "{scope}");
    }
}

/// 88
#[tokio::test]
async fn tags_follow_their_rules_wherever_they_are_written() {
    let cloud = Cloud::start().await;
    let many = |count: usize| -> Value {
        (0..count)
            .map(|number| (number.to_string(), json!("")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let group = cloud.group();
    assert_eq!(put(&cloud, &group, many(50)).await.status, StatusCode::OK);
    let more = json!({ "operation": "Merge", "properties": { "tags": { "one-more": "" } } });
    let too_many = ask(&cloud, Method::PATCH, &tags_of(&group), Some(more)).await;
    assert_eq!(
        (too_many.status, &too_many.body["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("InvalidTags"))
    );
    for wrong in [
        many(51),
        json!({ "a": "", "A": "" }),
        json!({ "a/b": "" }),
        json!({ "": "" }),
        json!({ "n".repeat(513): "" }),
        json!({ "a": "v".repeat(257) }),
    ] {
        let refused = put(&cloud, &group, wrong.clone()).await;
        assert_eq!(refused.body["error"]["code"], "InvalidTags", "{wrong}");
    }
    for (body, code) in [
        (json!({ "operation": "Forget", "properties": { "tags": {} } }), "InvalidRequestContent"),
        (json!({ "properties": { "tags": {} } }), "InvalidRequestContent"),
        (json!({ "operation": "Merge", "properties": {} }), "InvalidRequestContent"),
        (
            json!({ "operation": "Merge", "properties": { "tags": { "a": 1 } } }),
            "InvalidRequestContent",
        ),
    ] {
        let refused = ask(&cloud, Method::PATCH, &tags_of(&group), Some(body)).await;
        assert_eq!(refused.body["error"]["code"], code, "{}", refused.body);
    }
    for (scope, status, code) in [
        (cloud.vm_id("none"), 404, "ResourceNotFound"),
        (format!("{group}9"), 404, "ResourceGroupNotFound"),
        (format!("{group}/providers/Contoso.Made/ups/x"), 404, "ResourceNotFound"),
        (format!("{group}/providers/Contoso.Made"), 400, "InvalidScope"),
    ] {
        let refused = put(&cloud, &scope, json!({ "a": "b" })).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["error"]["code"]),
            (status, &json!(code)),
            "{scope}"
        );
    }
}

#[tokio::test]
async fn who_may_write_tags_needs_no_right_on_what_has_them() {
    let cloud = Cloud::start().await;
    let vm = cloud.put_vm("tagger", true, &[]).await;
    let principal = vm["identity"]["principalId"].as_str().unwrap();
    cloud.grant(&cloud.group(), TAG_CONTRIBUTOR, principal).await;
    cloud.put_vault("kv1", true).await;
    let token = cloud.vm_token("tagger", ARM_AUDIENCE, "").await;
    let body = || Some(json!({ "properties": { "tags": { "a": "b" } } }));
    let send = async |path: &str, body| {
        cloud.arm(Some(&token), Method::PUT, path, VERSION, body).await.status.as_u16()
    };
    assert_eq!(send(&tags_of(&cloud.vault_id("kv1")), body()).await, 200);
    assert_eq!(send(&cloud.vault_id("kv1"), Some(json!({ "location": "local" }))).await, 403);
    assert_eq!(send(&tags_of(&cloud.subscription()), body()).await, 403);
    cloud.put_vm("reader", true, &[]).await;
    let reader = cloud.vm_token("reader", ARM_AUDIENCE, "").await;
    let reading = cloud.admin(Method::GET, &cloud.vm_id("reader"), VERSION, None).await.body;
    cloud.grant(&cloud.group(), READER, reading["identity"]["principalId"].as_str().unwrap()).await;
    let path = tags_of(&cloud.vault_id("kv1"));
    let read = cloud.arm(Some(&reader), Method::GET, &path, VERSION, None).await;
    assert_eq!(read.body["properties"]["tags"], json!({ "a": "b" }));
    let written = cloud.arm(Some(&reader), Method::DELETE, &path, VERSION, None).await;
    assert_eq!(written.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_lock_keeps_tags_too() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", false, &[]).await;
    let (group, vm) = (cloud.group(), cloud.vm_id("vm1"));
    let lock = |scope: &str| format!("{scope}/providers/Microsoft.Authorization/locks/l");
    let level = |level: &str| json!({ "properties": { "level": level } });
    cloud.put(&lock(&vm), "2016-09-01", level("CanNotDelete")).await;
    assert_eq!(put(&cloud, &vm, json!({ "a": "b" })).await.status, StatusCode::OK);
    // Nothing that is locked goes with the tags of its group.
    assert_eq!(ask(&cloud, Method::DELETE, &tags_of(&group), None).await.status, StatusCode::OK);
    let refused = ask(&cloud, Method::DELETE, &tags_of(&vm), None).await;
    assert_eq!(refused.body["error"]["code"], "ScopeLocked");
    cloud.put(&lock(&vm), "2016-09-01", level("ReadOnly")).await;
    assert_eq!(put(&cloud, &vm, json!({})).await.body["error"]["code"], "ScopeLocked");
}

#[tokio::test]
async fn groups_are_patched_and_listed_by_tag_and_names_in_use_are_counted() {
    let cloud = Cloud::start().await;
    let group = |name: &str| format!("{}/resourceGroups/{name}", cloud.subscription());
    for (name, tags) in [("dev1", json!({ "Env": "dev" })), ("prod1", json!({ "env": "prod" }))] {
        cloud.put(&group(name), VERSION, json!({ "location": "local", "tags": tags })).await;
    }
    for body in [json!({ "tags": { "x": "y" } }), json!({ "properties": {} })] {
        let patched = ask(&cloud, Method::PATCH, &group("rg1"), Some(body)).await;
        assert_eq!(patched.body["tags"], json!({ "x": "y" }));
    }
    let missing = ask(&cloud, Method::PATCH, &group("none"), Some(json!({ "tags": {} }))).await;
    assert_eq!(missing.body["error"]["code"], "ResourceGroupNotFound");
    let list = async |filter: &str| {
        let path = format!("{}/resourceGroups?$filter={filter}", cloud.subscription());
        let answer = ask(&cloud, Method::GET, &path, None).await;
        let items = answer.body["value"].as_array().cloned();
        items.map(|items| {
            items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        })
    };
    assert_eq!(list("").await.unwrap(), ["dev1", "prod1", "rg1"]);
    assert_eq!(list("tagName%20eq%20'ENV'").await.unwrap(), ["dev1", "prod1"]);
    assert_eq!(list("tagName%20eq%20'env'%20and%20tagValue%20eq%20'dev'").await.unwrap(), ["dev1"]);
    assert_eq!(list("location%20eq%20'local'").await, None);
    cloud
        .put(
            &cloud.identity_id("mi-1"),
            "2024-11-30",
            json!({ "location": "local", "tags": { "env": "dev" } }),
        )
        .await;
    let path = format!("{}/tagNames", cloud.subscription());
    let names = ask(&cloud, Method::GET, &path, None).await.body;
    let count = |value: u32| json!({ "type": "Total", "value": value });
    let env = &names["value"][0];
    assert_eq!((&env["tagName"], &env["count"]), (&json!("Env"), &count(3)));
    assert_eq!(
        env["values"][0],
        json!({ "id": format!("{path}/Env/tagValues/dev"), "tagValue": "dev", "count": count(2) })
    );
    assert_eq!(names["value"][1]["tagName"], "x");
}
