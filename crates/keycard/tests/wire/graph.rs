//! Microsoft Graph: groups, what being in one means, service principals, and who may read and write the directory.

use http::{Method, StatusCode};
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{ARM_AUDIENCE, Cloud, GRAPH_AUDIENCE, READER};

/// Microsoft Graph as an administrator asks it.
pub(crate) struct Directory<'a> {
    pub(crate) cloud: &'a Cloud,
    token: Secret,
}

impl<'a> Directory<'a> {
    pub(crate) async fn of(cloud: &'a Cloud) -> Self {
        Self { cloud, token: cloud.admin_token(GRAPH_AUDIENCE).await }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let answer = self.cloud.graph(Some(&self.token), method, path, body).await;
        (answer.status.as_u16(), answer.body)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, None).await
    }

    /// A POST that has to make something, whose answer it is.
    pub(crate) async fn make(&self, path: &str, body: Value) -> Value {
        let (status, made) = self.send(Method::POST, path, Some(body.clone())).await;
        assert!((200..300).contains(&status), "{path} {body}: {made}");
        made
    }

    /// The status of a change.
    pub(crate) async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> u16 {
        self.send(Method::DELETE, path, None).await.0
    }

    /// A new application with its service principal.
    pub(crate) async fn application(&self, name: &str) -> Application {
        let made = self.make("/applications", json!({ "displayName": name })).await;
        let client = made["appId"].as_str().unwrap().to_owned();
        let body = json!({ "appId": client, "accountEnabled": true });
        let principal = self.make("/servicePrincipals", body).await;
        let text = |value: &Value| value["id"].as_str().unwrap().to_owned();
        Application { id: text(&made), client, principal: text(&principal) }
    }

    /// The status and error code of a token request with a client's secret.
    pub(crate) async fn sign_in(&self, client: &str, secret: &str) -> (u16, Value) {
        let form = format!(
            "grant_type=client_credentials&client_id={client}&client_secret={secret}&scope={GRAPH_AUDIENCE}/.default"
        );
        let tenant = &self.cloud.description().tenant_id;
        let answer = self.cloud.post_form(&format!("/{tenant}/oauth2/v2.0/token"), &form).await;
        (answer.status.as_u16(), answer.body)
    }

    /// A new group's id.
    pub(crate) async fn group(&self, name: &str) -> String {
        let (status, group) = self.send(Method::POST, "/groups", Some(body(name))).await;
        assert_eq!(status, 201, "{group}");
        group["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn add(&self, group: &str, member: &str) -> (u16, Value) {
        let reference = format!("https://graph.microsoft.com/v1.0/directoryObjects/{member}");
        let path = format!("/groups/{group}/members/$ref");
        self.send(Method::POST, &path, Some(json!({ "@odata.id": reference }))).await
    }

    async fn remove(&self, group: &str, member: &str) -> u16 {
        self.send(Method::DELETE, &format!("/groups/{group}/members/{member}/$ref"), None).await.0
    }

    pub(crate) async fn ids(&self, path: &str) -> Vec<String> {
        let (status, listing) = self.get(path).await;
        assert_eq!(status, 200, "{listing}");
        let all = listing["value"].as_array().unwrap();
        all.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// An application's object id, its client id and its service principal.
pub(crate) struct Application {
    pub(crate) id: String,
    pub(crate) client: String,
    pub(crate) principal: String,
}

fn body(name: &str) -> Value {
    json!({
        "displayName": name, "mailNickname": "nick", "mailEnabled": false, "securityEnabled": true,
    })
}

pub(crate) fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

pub(crate) async fn vm(cloud: &Cloud, name: &str) -> String {
    let vm = cloud.put_vm(name, true, &[]).await;
    vm["identity"]["principalId"].as_str().unwrap().to_owned()
}

/// Makes a group Reader of the resource group; returns the assignment's path.
async fn give_reader(cloud: &Cloud, group: &str, number: u32) -> String {
    let name = format!("11111111-1111-1111-1111-{number:012}");
    let path =
        format!("{}/providers/Microsoft.Authorization/roleAssignments/{name}", cloud.group());
    let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{READER}");
    let properties = json!({ "roleDefinitionId": role, "principalId": group });
    cloud.put(&path, "2022-04-01", json!({ "properties": properties })).await;
    path
}

#[tokio::test]
async fn a_group_is_made_changed_and_deleted() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let (status, group) = directory.send(Method::POST, "/groups", Some(body("Readers"))).await;
    assert_eq!(status, 201);
    assert_eq!(
        (&group["displayName"], &group["mailNickname"]),
        (&json!("Readers"), &json!("nick"))
    );
    assert_eq!((&group["mailEnabled"], &group["securityEnabled"]), (&json!(false), &json!(true)));
    assert!(group["@odata.context"].as_str().unwrap().ends_with("/v1.0/$metadata#groups/$entity"));
    let path = format!("/groups/{}", group["id"].as_str().unwrap());
    let change = json!({ "displayName": "Auditors", "description": "who looks" });
    assert_eq!(directory.send(Method::PATCH, &path, Some(change)).await.0, 204);
    let (_, changed) = directory.get(&path).await;
    assert_eq!(
        (&changed["displayName"], &changed["description"]),
        (&json!("Auditors"), &json!("who looks"))
    );
    assert_eq!(changed["mailNickname"], "nick");
    let (_, chosen) = directory.get(&format!("{path}?$select=displayName")).await;
    assert!(chosen.get("id").is_none() && chosen["displayName"] == "Auditors", "{chosen}");
    assert_eq!(directory.send(Method::DELETE, &path, None).await.0, 204);
    for method in [Method::GET, Method::DELETE] {
        let (status, gone) = directory.send(method, &path, None).await;
        assert_eq!((status, code(&gone)), (404, "Request_ResourceNotFound"));
        assert!(gone["error"]["innerError"]["request-id"].is_string(), "{gone}");
        assert!(gone["error"]["innerError"]["date"].is_string(), "{gone}");
    }
}

#[tokio::test]
async fn a_group_that_keycard_does_not_have_is_refused() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    for (member, value) in [
        ("displayName", Value::Null),
        ("displayName", json!("")),
        ("displayName", json!("x".repeat(257))),
        ("mailNickname", Value::Null),
        ("mailNickname", json!("a b")),
        ("mailEnabled", json!(true)),
        ("mailEnabled", Value::Null),
        ("securityEnabled", json!(false)),
        ("groupTypes", json!(["Unified"])),
        ("members@odata.bind", json!([])),
        ("isAssignableToRole", json!(true)),
    ] {
        let mut wrong = body("Readers");
        wrong[member] = value;
        let (status, refused) = directory.send(Method::POST, "/groups", Some(wrong)).await;
        assert_eq!((status, code(&refused)), (400, "Request_BadRequest"), "{member}");
    }
    assert_eq!(directory.ids("/groups").await.len(), 0);
    let (status, refused) = directory.get("/groups/readers").await;
    assert_eq!((status, code(&refused)), (400, "Request_BadRequest"));
    for path in ["/devices", "/$batch", "/me", "/groups?$expand=members", "/groups?$filter=x"] {
        let (status, refused) = directory.get(path).await;
        assert!(status == 400 && !code(&refused).is_empty(), "{path}: {refused}");
    }
    let address = &cloud.description().endpoints.graph;
    let answer = cloud
        .vault(Some(&directory.token), Method::GET, &format!("{address}/v2.0/groups"), None)
        .await;
    assert_eq!((answer.status, code(&answer.body)), (StatusCode::BAD_REQUEST, "BadRequest"));
}

#[tokio::test]
async fn a_role_of_a_group_counts_for_who_is_in_it_and_no_longer() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let principal = vm(&cloud, "vm1").await;
    let (inner, outer) = (directory.group("inner").await, directory.group("outer").await);
    let path = give_reader(&cloud, &outer, 0).await;
    let token = cloud.vm_token("vm1", ARM_AUDIENCE, "").await;
    let read = async || {
        cloud
            .arm(Some(&token), Method::GET, &cloud.group(), "2024-11-01", None)
            .await
            .status
            .as_u16()
    };
    assert_eq!(read().await, 403);
    assert_eq!(directory.add(&outer, &principal).await.0, 204);
    assert_eq!(read().await, 200, "directly");
    assert_eq!(directory.remove(&outer, &principal).await, 204);
    assert_eq!(read().await, 403);
    assert_eq!(directory.add(&inner, &principal).await.0, 204);
    assert_eq!(directory.add(&outer, &inner).await.0, 204);
    assert_eq!(read().await, 200, "through a group in a group");

    assert_eq!(directory.ids(&format!("/groups/{outer}/members")).await, [&*inner]);
    assert_eq!(directory.ids(&format!("/groups/{outer}/transitiveMembers")).await.len(), 2);
    let own = format!("/servicePrincipals/{principal}");
    assert_eq!(directory.ids(&format!("{own}/memberOf")).await, [&*inner]);
    assert_eq!(directory.ids(&format!("{own}/transitiveMemberOf")).await.len(), 2);

    assert_eq!(directory.send(Method::DELETE, &format!("/groups/{inner}"), None).await.0, 204);
    assert_eq!(read().await, 403, "the group between is gone");
    assert_eq!(directory.ids(&format!("/groups/{outer}/members")).await.len(), 0);
    assert_eq!(directory.ids(&format!("{own}/memberOf")).await.len(), 0);

    assert_eq!(directory.add(&outer, &principal).await.0, 204);
    assert_eq!(read().await, 200);
    assert_eq!(directory.send(Method::DELETE, &format!("/groups/{outer}"), None).await.0, 204);
    assert_eq!(read().await, 403, "its assignment stays, and counts for nobody");
    let left = cloud.admin(Method::GET, &path, "2022-04-01", None).await;
    assert_eq!(left.status, StatusCode::OK);
}

#[tokio::test]
async fn members_are_of_the_directory_and_stand_once() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let principal = vm(&cloud, "vm1").await;
    let group = directory.group("group").await;
    assert_eq!(directory.add(&group, &principal).await.0, 204);
    let (status, twice) = directory.add(&group, &principal).await;
    assert_eq!(status, 400);
    let message = twice["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("One or more added object references already exist"), "{message}");
    let (status, own) = directory.add(&group, &group).await;
    assert_eq!((status, code(&own)), (400, "Request_BadRequest"));
    let nobody = "99999999-9999-9999-9999-999999999999";
    assert_eq!(directory.add(&group, nobody).await.0, 404);
    assert_eq!(directory.add(nobody, &principal).await.0, 404);
    assert_eq!(directory.remove(&group, nobody).await, 404);
    let path = format!("/groups/{group}/members/$ref");
    for wrong in
        ["", "https://graph/v1.0/users/x", &format!("https://graph/v1.0/users/{principal}")]
    {
        let reference = json!({ "@odata.id": wrong });
        assert_eq!(directory.send(Method::POST, &path, Some(reference)).await.0, 400, "{wrong}");
    }
    let circle = directory.group("circle").await;
    assert_eq!(directory.add(&circle, &group).await.0, 204);
    assert_eq!(directory.add(&group, &circle).await.0, 204);
    assert_eq!(directory.ids(&format!("/groups/{group}/transitiveMembers")).await.len(), 2);

    // Whoever goes leaves its groups, whichever way it goes.
    let identity = cloud.put_identity("mi-1").await;
    let identity = identity["properties"]["principalId"].as_str().unwrap();
    assert_eq!(directory.add(&group, identity).await.0, 204);
    let vm = cloud.vm_id("vm1");
    cloud.admin(Method::DELETE, &cloud.identity_id("mi-1"), "2024-11-30", None).await;
    cloud.admin(Method::DELETE, &vm, "2024-07-01", None).await;
    assert_eq!(directory.ids(&format!("/groups/{group}/members")).await, [circle]);
}

/// A member that is added while its group is deleted is not left with the group's roles.
#[tokio::test]
async fn no_membership_outlives_its_group() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let principal = vm(&cloud, "vm1").await;
    let token = cloud.vm_token("vm1", ARM_AUDIENCE, "").await;
    for round in 0..8 {
        let group = directory.group("group").await;
        give_reader(&cloud, &group, round).await;
        let path = format!("/groups/{group}");
        let ((added, _), (deleted, _)) = tokio::join!(
            directory.add(&group, &principal),
            directory.send(Method::DELETE, &path, None)
        );
        assert!(matches!((added, deleted), (204 | 404, 204)), "{added} {deleted}");
        let read = cloud.arm(Some(&token), Method::GET, &cloud.group(), "2024-11-01", None).await;
        assert_eq!(read.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn the_directory_is_for_its_administrators_and_everybody_for_itself() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let (own, other) = (vm(&cloud, "vm1").await, vm(&cloud, "vm2").await);
    let group = directory.group("group").await;
    assert_eq!(directory.add(&group, &own).await.0, 204);
    let token = cloud.vm_token("vm1", GRAPH_AUDIENCE, "").await;
    let ask = async |method: Method, path: &str, body: Option<Value>| {
        let answer = cloud.graph(Some(&token), method, path, body).await;
        (answer.status.as_u16(), code(&answer.body).to_owned(), answer.body)
    };
    for path in ["", "/memberOf", "/transitiveMemberOf"] {
        let (status, _, body) =
            ask(Method::GET, &format!("/servicePrincipals/{own}{path}"), None).await;
        assert_eq!(status, 200, "{path}: {body}");
        let (status, code, _) =
            ask(Method::GET, &format!("/servicePrincipals/{other}{path}"), None).await;
        assert_eq!((status, &*code), (403, "Authorization_RequestDenied"), "{path}");
    }
    let membership = format!("/groups/{group}/members/{own}/$ref");
    for (method, path) in [
        (Method::GET, "/groups".to_owned()),
        (Method::POST, "/groups".to_owned()),
        (Method::GET, format!("/groups/{group}")),
        (Method::DELETE, format!("/groups/{group}")),
        (Method::GET, "/groups/99999999-9999-9999-9999-999999999999".to_owned()),
        (Method::GET, format!("/groups/{group}/members")),
        (Method::POST, format!("/groups/{group}/members/$ref")),
        (Method::DELETE, membership),
        (Method::GET, "/servicePrincipals".to_owned()),
        (Method::POST, "/directoryObjects/getByIds".to_owned()),
    ] {
        let (status, code, body) = ask(method.clone(), &path, None).await;
        assert_eq!((status, &*code), (403, "Authorization_RequestDenied"), "{method} {path}");
        assert_eq!(body["error"]["message"], "Insufficient privileges to complete the operation.");
    }
    let arm = cloud.admin_token(ARM_AUDIENCE).await;
    for token in [None, Some(&arm)] {
        let answer = cloud.graph(token, Method::GET, "/groups", None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(code(&answer.body), "InvalidAuthenticationToken");
        assert!(answer.headers.contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn service_principals_are_found_as_az_looks_for_them() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let identity = cloud.put_identity("mi-1").await["properties"].clone();
    let (object, client) =
        (identity["principalId"].as_str().unwrap(), identity["clientId"].as_str().unwrap());
    let system = vm(&cloud, "vm1").await;
    cloud.vm_token("vm1", ARM_AUDIENCE, "").await;
    let found = async |filter: &str| {
        let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        directory.ids(&format!("/servicePrincipals?$filter={encoded}")).await
    };
    assert_eq!(found(&format!("servicePrincipalNames/any(c:c eq '{client}')")).await, [object]);
    assert_eq!(found(&format!("appId eq '{client}'")).await, [object]);
    assert_eq!(found("displayName eq 'mi-1'").await, [object]);
    assert_eq!(found("startswith(displayName,'vm')").await, [&*system]);
    assert_eq!(found("servicePrincipalType eq 'ManagedIdentity'").await.len(), 2);
    assert_eq!(found("servicePrincipalType eq 'Application'").await.len(), 1);
    assert_eq!(found("displayName eq 'nobody'").await.len(), 0);

    let (_, shown) = directory.get(&format!("/servicePrincipals/{object}")).await;
    assert_eq!(shown["servicePrincipalNames"], json!([client]));
    assert_eq!(shown["alternativeNames"][0], "isExplicit=True");
    assert!(shown["alternativeNames"][1].as_str().unwrap().contains("/resourcegroups/rg1/"));
    let (_, shown) = directory.get(&format!("/servicePrincipals/{system}")).await;
    assert_eq!(shown["alternativeNames"][0], "isExplicit=False");
    let key = &shown["keyCredentials"][0];
    assert_eq!((&key["usage"], &key["key"]), (&json!("Verify"), &Value::Null));

    let nobody = "99999999-9999-9999-9999-999999999999";
    let ids = json!({ "ids": [object, nobody, system], "types": ["servicePrincipal", "user"] });
    let by_ids = async |body: Value| {
        directory.send(Method::POST, "/directoryObjects/getByIds", Some(body)).await
    };
    let (status, objects) = by_ids(ids).await;
    assert_eq!((status, objects["value"].as_array().unwrap().len()), (200, 2));
    assert_eq!(objects["value"][0]["@odata.type"], "#microsoft.graph.servicePrincipal");
    let (_, groups) = by_ids(json!({ "ids": [object], "types": ["group"] })).await;
    assert_eq!(groups["value"], json!([]));
    assert_eq!(by_ids(json!({ "ids": ["x"] })).await.0, 400);
    assert_eq!(by_ids(json!({ "ids": vec![nobody; 1001] })).await.0, 400);
    assert_eq!(directory.get(&format!("/servicePrincipals/{nobody}")).await.0, 404);
}

#[tokio::test]
async fn walking_the_links_yields_each_group_once_also_by_path_and_in_beta() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    for n in 0..5 {
        directory.group(&format!("team {n}")).await;
    }
    directory.group("other").await;
    for version in ["v1.0", "beta"] {
        let loopback = &cloud.description().endpoints.loopback;
        let query = "$top=2&$count=true&$filter=startswith(displayName,'team')";
        let mut next = Some(format!("{loopback}/{version}/groups?{query}"));
        let mut seen = std::collections::BTreeSet::new();
        while let Some(url) = next {
            assert!(url.starts_with(&format!("{loopback}/{version}/")), "{url}");
            let answer = cloud.vault(Some(&directory.token), Method::GET, &url, None).await;
            assert_eq!(answer.body["@odata.count"], 5, "{}", answer.body);
            for group in answer.body["value"].as_array().unwrap() {
                assert!(seen.insert(group["id"].as_str().unwrap().to_owned()));
            }
            next = answer.body["@odata.nextLink"].as_str().map(str::to_owned);
        }
        assert_eq!(seen.len(), 5);
    }
}
