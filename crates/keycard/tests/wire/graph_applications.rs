//! Microsoft Graph: applications and their service principals, with secrets and certificates that work at once.

use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use keycard_crypto::{digest, encoding, jwt, test_keys};
use serde_json::{Value, json};

use crate::graph::{Directory, code};
use crate::harness::{ARM_AUDIENCE, Cloud, GRAPH_AUDIENCE, READER};

const NOBODY: &str = "99999999-9999-9999-9999-999999999999";

fn encoded(filter: &str) -> String {
    filter.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A certificate around the time of the tests, DER in base64.
fn certificate(name: &str) -> (Vec<u8>, String) {
    let from = time::macros::datetime!(2027-01-01 0:00 UTC);
    let until = time::macros::datetime!(2027-12-31 0:00 UTC);
    let der = test_keys::signing_key().self_signed_certificate(name, from, until).unwrap();
    let text = encoding::base64_encode(&der);
    (der, text)
}

fn key(text: &str) -> Value {
    json!({ "type": "AsymmetricX509Cert", "usage": "Verify", "key": text })
}

/// The calls of `az ad sp create-for-rbac --role --scopes`, in their order.
#[tokio::test]
async fn az_ad_sp_create_for_rbac_gives_a_principal_that_works_at_once() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let name = "http://az-cli-2027";
    let filter = encoded(&format!("displayName eq '{name}'"));
    assert!(directory.ids(&format!("/servicePrincipals?$filter={filter}")).await.is_empty());
    let filter = encoded(&format!("startswith(displayName,'{name}')"));
    assert!(directory.ids(&format!("/applications?$filter={filter}")).await.is_empty());
    let body = json!({ "displayName": name, "keyCredentials": [] });
    let application = directory.make("/applications", body).await;
    let (id, client) =
        (application["id"].as_str().unwrap(), application["appId"].as_str().unwrap());
    assert_ne!(id, client);
    let body = json!({ "passwordCredential": {
        "displayName": "rbac",
        "startDateTime": "2027-01-15T08:00:00.123456Z",
        "endDateTime": "2028-01-15T08:00:00+00:00",
    }});
    let password = directory.make(&format!("/applications/{id}/addPassword"), body).await;
    let secret = password["secretText"].as_str().unwrap();
    assert!(secret.starts_with(password["hint"].as_str().unwrap()), "{password}");
    assert_eq!(password["endDateTime"], "2028-01-15T08:00:00Z");
    let body = json!({ "appId": client, "accountEnabled": true });
    let principal = directory.make("/servicePrincipals", body).await;
    assert_eq!(principal["servicePrincipalType"], "Application");
    assert_eq!(principal["servicePrincipalNames"], json!([client]));
    cloud.grant(&cloud.group(), READER, principal["id"].as_str().unwrap()).await;

    let (status, body) = directory.sign_in(client, secret).await;
    assert_eq!(status, 200, "{body}");
    let form = format!(
        "grant_type=client_credentials&client_id={client}&client_secret={secret}&scope={ARM_AUDIENCE}/.default"
    );
    let path = format!("/{}/oauth2/v2.0/token", cloud.description().tenant_id);
    let token = cloud.post_form(&path, &form).await.body["access_token"].clone();
    let token = keycard_crypto::secret::Secret::new(token.as_str().unwrap().to_owned());
    let read = cloud.arm(Some(&token), Method::GET, &cloud.group(), "2024-11-01", None).await;
    assert_eq!(read.status.as_u16(), 200);

    let remove = json!({ "keyId": password["keyId"] });
    let path = format!("/applications/{id}/removePassword");
    assert_eq!(directory.send(Method::POST, &path, Some(remove.clone())).await.0, 204);
    let (status, body) = directory.sign_in(client, secret).await;
    assert_eq!((status, &body["error_codes"]), (401, &json!([7000215])));
    let (status, gone) = directory.send(Method::POST, &path, Some(remove)).await;
    assert_eq!(
        (status, &gone["error"]["message"]),
        (400, &json!("No password credential found with keyId."))
    );
}

#[tokio::test]
async fn a_secret_is_shown_once_and_lives_two_years() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    let path = format!("/applications/{}", application.id);
    let made = directory.make(&format!("{path}/addPassword"), json!({})).await;
    let secret = made["secretText"].as_str().unwrap();
    assert!(secret.len() >= 64, "256 bits and more: {secret}");
    for shown in [
        path.clone(),
        format!("/applications(appId='{}')", application.client),
        "/applications".to_owned(),
        format!("/servicePrincipals/{}", application.principal),
        format!("/directoryObjects/{}", application.id),
    ] {
        let (status, body) = directory.get(&shown).await;
        assert_eq!(status, 200, "{shown}: {body}");
        assert!(!body.to_string().contains(secret), "{shown}");
    }
    let (_, body) = directory.get(&path).await;
    let kept = &body["passwordCredentials"][0];
    assert_eq!((&kept["keyId"], &kept["secretText"]), (&made["keyId"], &Value::Null));
    assert_eq!(directory.sign_in(&application.client, secret).await.0, 200);
    cloud.clock.advance(time::Duration::days(730));
    let (status, body) = directory.sign_in(&application.client, secret).await;
    assert_eq!((status, &body["error_codes"]), (401, &json!([7000222])));
}

/// `az ad sp credential reset`: what is there goes, and another one comes.
#[tokio::test]
async fn a_service_principal_has_the_secrets_of_its_application() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    let path = format!("/servicePrincipals/{}", application.principal);
    let add = format!("{path}/addPassword");
    let made = directory.make(&add, json!({ "passwordCredential": {} })).await;
    let secret = made["secretText"].as_str().unwrap();
    assert_eq!(directory.sign_in(&application.client, secret).await.0, 200);
    for shown in [path.clone(), format!("/applications/{}", application.id)] {
        let (_, body) = directory.get(&shown).await;
        assert_eq!(body["passwordCredentials"][0]["keyId"], made["keyId"], "{shown}");
        assert!(!body.to_string().contains(secret), "{shown}");
    }
    let remove = json!({ "keyId": made["keyId"] });
    let (status, _) =
        directory.send(Method::POST, &format!("{path}/removePassword"), Some(remove)).await;
    assert_eq!(status, 204);
    assert_eq!(directory.sign_in(&application.client, secret).await.0, 401);
    let identity = cloud.put_identity("mi-1").await["properties"]["principalId"].clone();
    let add = format!("/servicePrincipals/{}/addPassword", identity.as_str().unwrap());
    assert_eq!(directory.send(Method::POST, &add, Some(json!({}))).await.0, 400);
}

#[tokio::test]
async fn a_certificate_works_at_once_and_goes_with_its_entry() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    let path = format!("/applications/{}", application.id);
    let assertions = AtomicU32::new(0);
    let sign_in = async |der: &[u8]| {
        let jti = assertions.fetch_add(1, Ordering::Relaxed).to_string();
        let login = &cloud.description().endpoints.token_service;
        let tenant = &cloud.description().tenant_id;
        let now = cloud.now();
        let claims = json!({
            "aud": format!("{login}/{tenant}/oauth2/v2.0/token"), "jti": jti,
            "iss": application.client, "sub": application.client, "nbf": now, "exp": now + 600,
        });
        let x5t = encoding::base64url_encode(&digest::sha1(der));
        let unsigned = jwt::signing_input(&json!({ "alg": "RS256", "x5t": x5t }), &claims).unwrap();
        let signature = test_keys::signing_key().sign(unsigned.as_bytes()).unwrap();
        let assertion = jwt::assemble(unsigned, &signature);
        let form = format!(
            "grant_type=client_credentials&client_id={}&scope={GRAPH_AUDIENCE}/.default&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={assertion}",
            application.client
        );
        cloud.post_form(&format!("/{tenant}/oauth2/v2.0/token"), &form).await.status.as_u16()
    };
    let ((first, first_text), (second, second_text)) = (certificate("a"), certificate("b"));
    assert_eq!(sign_in(&first).await, 401);
    let body = json!({ "keyCredentials": [key(&first_text)] });
    assert_eq!(directory.patch(&path, body).await.0, 204);
    assert_eq!(sign_in(&first).await, 200);
    let (_, shown) = directory.get(&path).await;
    let kept = shown["keyCredentials"][0].clone();
    assert_eq!(
        (&kept["key"], &kept["endDateTime"]),
        (&Value::Null, &json!("2027-12-31T00:00:00Z"))
    );
    let thumbprint = encoding::hex_encode(&digest::sha1(&first)).to_uppercase();
    assert_eq!(kept["customKeyIdentifier"], thumbprint);

    // What was read is sent back, with another one: the list is replaced, and what it names stays.
    let both = json!({ "keyCredentials": [kept, key(&second_text)] });
    assert_eq!(directory.patch(&path, both).await, (204, Value::Null));
    assert_eq!((sign_in(&first).await, sign_in(&second).await), (200, 200));
    let body = json!({ "keyCredentials": [key(&second_text)] });
    assert_eq!(directory.patch(&path, body).await.0, 204);
    assert_eq!((sign_in(&first).await, sign_in(&second).await), (401, 200));

    for (wrong, expected) in [
        (json!({ "keyId": NOBODY }), "Request_BadRequest"),
        (key("AQID"), "Request_BadRequest"),
        (key("no base64!"), "Request_BadRequest"),
        (
            json!({ "type": "Symmetric", "usage": "Verify", "key": first_text }),
            "Request_BadRequest",
        ),
    ] {
        let body = json!({ "keyCredentials": [wrong] });
        let (status, refused) = directory.patch(&path, body.clone()).await;
        assert_eq!((status, code(&refused)), (400, expected), "{body}");
    }
    let mut late = key(&first_text);
    late["endDateTime"] = json!("2028-01-01T00:00:00Z");
    let (status, refused) = directory.patch(&path, json!({ "keyCredentials": [late] })).await;
    assert_eq!((status, code(&refused)), (400, "KeyCredentialsInvalidEndDate"));
    assert_eq!(sign_in(&second).await, 200, "a refused list changes nothing");
}

#[tokio::test]
async fn applications_are_found_as_az_looks_for_them() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = directory.application("Mary's orders").await;
    let path = format!("/applications/{}", application.id);
    let uri = "https://orders.example/api";
    assert_eq!(directory.patch(&path, json!({ "identifierUris": [uri] })).await.0, 204);
    for filter in [
        "displayName eq 'Mary''s orders'".to_owned(),
        "startswith(displayName,'mary')".to_owned(),
        format!("appId eq '{}'", application.client),
        format!("identifierUris/any(s:s eq '{uri}')"),
    ] {
        let found = directory.ids(&format!("/applications?$filter={}", encoded(&filter))).await;
        assert_eq!(found, [&*application.id], "{filter}");
    }
    let filter = encoded(&format!("servicePrincipalNames/any(c:c eq '{uri}')"));
    let found = directory.ids(&format!("/servicePrincipals?$filter={filter}")).await;
    assert_eq!(found, [&*application.principal]);
    let (_, shown) = directory.get(&format!("/servicePrincipals/{}", application.principal)).await;
    assert_eq!(shown["servicePrincipalNames"], json!([application.client, uri]));

    for (path, id) in [
        (format!("/applications(appId='{}')", application.client), &application.id),
        (format!("/applications%28appId=%27{}%27%29", application.client), &application.id),
        (format!("/servicePrincipals(appId='{}')", application.client), &application.principal),
    ] {
        let (status, shown) = directory.get(&path).await;
        assert_eq!((status, shown["id"].as_str()), (200, Some(&**id)), "{path}");
    }
    for path in [
        format!("/applications(appId='{NOBODY}')"),
        format!("/servicePrincipals(appId='{NOBODY}')"),
        format!("/applications/{NOBODY}"),
    ] {
        let (status, missing) = directory.get(&path).await;
        assert_eq!((status, code(&missing)), (404, "Request_ResourceNotFound"), "{path}");
    }
    assert_eq!(directory.get("/applications(appId='x')").await.0, 400);
    let ids = json!({ "ids": [application.id, application.principal], "types": ["application"] });
    let found = directory.make("/directoryObjects/getByIds", ids).await;
    assert_eq!(found["value"].as_array().unwrap().len(), 1);
    assert_eq!(found["value"][0]["@odata.type"], "#microsoft.graph.application");
    let (_, object) = directory.get(&format!("/directoryObjects/{}", application.principal)).await;
    assert_eq!(object["@odata.type"], "#microsoft.graph.servicePrincipal");
    assert_eq!(directory.get(&format!("/directoryObjects/{NOBODY}")).await.0, 404);
}

#[tokio::test]
async fn an_application_that_keycard_does_not_have_is_refused() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let own = cloud.description().endpoints.graph.clone();
    for (member, value) in [
        ("displayName", Value::Null),
        ("displayName", json!(" ")),
        ("displayName", json!("x".repeat(257))),
        ("signInAudience", json!("AzureADMultipleOrgs")),
        ("identifierUris", json!(["orders"])),
        ("identifierUris", json!(["https://vault.azure.net/"])),
        ("identifierUris", json!(["https://acct1.blob.core.windows.net"])),
        ("identifierUris", json!([own])),
        ("identifierUris", json!(["api://a", "api://A"])),
        ("appRoles", json!([{ "id": "x" }])),
        ("appRoles", json!([{ "id": NOBODY, "displayName": "a", "description": "a" }])),
        ("api", json!({ "requestedAccessTokenVersion": 3 })),
        ("api", json!({ "acceptMappedClaims": true })),
        ("groupMembershipClaims", json!("ApplicationGroup")),
        ("passwordCredentials", json!([{ "displayName": "x" }])),
        ("web", json!({ "redirectUris": ["https://x"] })),
        ("tags", json!(["x"])),
        ("isFallbackPublicClient", json!(true)),
        ("keyCredentials", json!([{ "usage": "Verify" }])),
    ] {
        let mut wrong = json!({ "displayName": "orders" });
        wrong[member] = value;
        let (status, refused) =
            directory.send(Method::POST, "/applications", Some(wrong.clone())).await;
        assert_eq!((status, code(&refused)), (400, "Request_BadRequest"), "{wrong}: {refused}");
    }
    assert_eq!(directory.ids("/applications").await.len(), 1, "the administrator's");
    let harmless = json!({
        "displayName": "orders", "signInAudience": "AzureADMyOrg", "tags": [], "notes": null,
        "web": { "redirectUris": [], "logoutUrl": null }, "isFallbackPublicClient": false,
        "api": { "requestedAccessTokenVersion": 2, "oauth2PermissionScopes": [] },
        "groupMembershipClaims": "SecurityGroup", "@odata.type": "#microsoft.graph.application",
    });
    let made = directory.make("/applications", harmless).await;
    assert_eq!(made["api"]["requestedAccessTokenVersion"], 2);
    assert_eq!(made["groupMembershipClaims"], "SecurityGroup");
    let path = format!("/applications/{}", made["id"].as_str().unwrap());
    let change = json!({ "api": { "requestedAccessTokenVersion": null },
        "groupMembershipClaims": null });
    assert_eq!(directory.patch(&path, change).await.0, 204);
    let (_, shown) = directory.get(&path).await;
    assert_eq!(shown["api"]["requestedAccessTokenVersion"], Value::Null);
    assert_eq!(shown["groupMembershipClaims"], Value::Null);
}

#[tokio::test]
async fn a_name_belongs_to_one_application_also_when_two_claim_it_at_once() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let (one, other) = (directory.application("one").await, directory.application("other").await);
    for round in 0..8 {
        let uri = json!({ "identifierUris": [format!("api://orders/{round}")] });
        let (one, other) =
            (format!("/applications/{}", one.id), format!("/applications/{}", other.id));
        let ((first, _), (second, _)) =
            tokio::join!(directory.patch(&one, uri.clone()), directory.patch(&other, uri));
        assert!(matches!((first, second), (204, 400) | (400, 204)), "{first} {second}");
    }
    let path = format!("/applications/{}", other.id);
    for taken in [one.client.clone(), format!("api://{}", one.client)] {
        let (status, _) = directory.patch(&path, json!({ "identifierUris": [taken] })).await;
        assert_eq!(status, 400, "{taken}");
    }
    let own = json!({ "identifierUris": [format!("api://{}", other.client)] });
    assert_eq!(directory.patch(&path, own).await.0, 204, "its own client id is its own");
}

#[tokio::test]
async fn changes_at_the_same_time_lose_nothing() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    let path = format!("/applications/{}", application.id);
    let add = format!("{path}/addPassword");
    let (uri, role) = (
        json!({ "identifierUris": ["api://orders"] }),
        json!({ "appRoles": [{ "id": NOBODY, "displayName": "read", "description": "reads",
            "value": "Orders.Read", "allowedMemberTypes": ["Application"] }] }),
    );
    let password = |name: &str| json!({ "passwordCredential": { "displayName": name } });
    let results = tokio::join!(
        directory.patch(&path, uri),
        directory.patch(&path, role),
        directory.patch(&path, json!({ "groupMembershipClaims": "All" })),
        directory.send(Method::POST, &add, Some(password("a"))),
        directory.send(Method::POST, &add, Some(password("b"))),
    );
    let statuses = [results.0.0, results.1.0, results.2.0, results.3.0, results.4.0];
    assert_eq!(statuses, [204, 204, 204, 200, 200]);
    let (_, shown) = directory.get(&path).await;
    assert_eq!(shown["identifierUris"], json!(["api://orders"]));
    assert_eq!(shown["appRoles"][0]["value"], "Orders.Read");
    assert_eq!(shown["groupMembershipClaims"], "SecurityGroup");
    assert_eq!(shown["passwordCredentials"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_service_principal_is_made_once_disabled_and_deleted() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let made = directory.make("/applications", json!({ "displayName": "orders" })).await;
    let (id, client) = (made["id"].as_str().unwrap(), made["appId"].as_str().unwrap());
    let body = json!({ "appId": client });
    let send = || directory.send(Method::POST, "/servicePrincipals", Some(body.clone()));
    let ((first, _), (second, _)) = tokio::join!(send(), send());
    assert!(matches!((first, second), (201, 409) | (409, 201)), "{first} {second}");
    let (status, twice) = send().await;
    assert_eq!((status, code(&twice)), (409, "Request_MultipleObjectsWithSameKeyValue"));
    let (status, _) =
        directory.send(Method::POST, "/servicePrincipals", Some(json!({ "appId": NOBODY }))).await;
    assert_eq!(status, 400);

    let principal = directory
        .ids(&format!("/servicePrincipals?$filter={}", encoded(&format!("appId eq '{client}'"))))
        .await
        .remove(0);
    let path = format!("/servicePrincipals/{principal}");
    let password = directory.make(&format!("/applications/{id}/addPassword"), json!({})).await;
    let secret = password["secretText"].as_str().unwrap();
    assert_eq!(directory.sign_in(client, secret).await.0, 200);
    for (change, expected) in [
        (json!({ "accountEnabled": false }), 401),
        (json!({ "accountEnabled": true, "appRoleAssignmentRequired": true }), 200),
    ] {
        assert_eq!(directory.patch(&path, change.clone()).await.0, 204);
        let (status, body) = directory.sign_in(client, secret).await;
        assert!((status == 200) == (expected == 200), "{change}: {body}");
        let (_, shown) = directory.get(&path).await;
        assert_eq!(shown["accountEnabled"], change["accountEnabled"], "reading goes on");
    }
    let (_, shown) = directory.get(&path).await;
    assert_eq!(shown["appRoleAssignmentRequired"], true);
    assert_eq!(
        directory.patch(&format!("/applications/{id}"), json!({ "displayName": "sales" })).await.0,
        204
    );
    let (_, shown) = directory.get(&path).await;
    assert_eq!(shown["displayName"], "sales", "it follows its application");
    for wrong in
        [json!({ "appId": client }), json!({ "tags": ["x"] }), json!({ "displayName": "x" })]
    {
        assert_eq!(directory.patch(&path, wrong.clone()).await.0, 400, "{wrong}");
    }
    assert_eq!(directory.delete(&path).await, 204);
    assert_eq!(directory.delete(&path).await, 404);
    assert_ne!(directory.sign_in(client, secret).await.0, 200);
    let again = directory.make("/servicePrincipals", json!({ "appId": client })).await;
    assert_ne!(again["id"], principal, "another one");
    assert_eq!(directory.sign_in(client, secret).await.0, 200);
}

#[tokio::test]
async fn the_certificates_of_managed_identities_are_brought_where_the_administrator_may() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let identity = cloud.put_identity("mi-1").await;
    let user = identity["properties"]["principalId"].as_str().unwrap().to_owned();
    cloud.put_vm("vm1", true, &["mi-1"]).await;
    cloud.vm_token("vm1", ARM_AUDIENCE, &format!("&object_id={user}")).await;
    let path = format!("/servicePrincipals/{user}");
    let (_, before) = directory.get(&path).await;
    let automatic = before["keyCredentials"][0].clone();
    assert!(automatic["keyId"].is_string(), "{before}");
    let (_, text) = certificate("brought");
    let list = json!({ "keyCredentials": [automatic, key(&text)] });
    assert_eq!(directory.patch(&path, list).await, (204, Value::Null));
    let (_, both) = directory.get(&path).await;
    assert_eq!(both["keyCredentials"].as_array().unwrap().len(), 2);
    assert_eq!(both["keyCredentials"][0], automatic);
    assert_eq!(directory.patch(&path, json!({ "keyCredentials": [] })).await.0, 204);
    let (_, after) = directory.get(&path).await;
    assert_eq!(after["keyCredentials"], json!([automatic]), "the host's own goes by nobody's hand");
    let (status, _) = directory.send(Method::DELETE, &path, None).await;
    assert_eq!(status, 400, "it goes with its resource");

    let filter = encoded("displayName eq 'vm1'");
    let system = directory.ids(&format!("/servicePrincipals?$filter={filter}")).await.remove(0);
    let path = format!("/servicePrincipals/{system}");
    let list = json!({ "keyCredentials": [key(&text)] });
    assert_eq!(directory.patch(&path, list).await.0, 400);
    assert_eq!(directory.delete(&path).await, 400);
    assert_eq!(directory.patch(&path, json!({ "accountEnabled": false })).await.0, 204);
    let token =
        cloud.metadata("vm1", &format!("api-version=2018-02-01&resource={ARM_AUDIENCE}")).await;
    assert_ne!(token.status.as_u16(), 200);
}

/// Who would be left could not undo it.
#[tokio::test]
async fn the_administrator_is_neither_deleted_nor_disabled() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let administrator = &cloud.description().administrator;
    let principal = format!("/servicePrincipals/{}", administrator.object_id);
    let application = format!("/applications(appId='{}')", administrator.client_id);
    assert_eq!(directory.patch(&principal, json!({ "accountEnabled": false })).await.0, 400);
    assert_eq!(directory.delete(&principal).await, 400);
    assert_eq!(directory.delete(&application).await, 400);
    assert_eq!(directory.get(&application).await.0, 200);
}

#[tokio::test]
async fn the_tenant_has_a_name_and_no_people() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let (status, organizations) = directory.get("/organization").await;
    assert_eq!(status, 200);
    let own = &organizations["value"][0];
    assert_eq!(own["id"].as_str(), Some(&*cloud.description().tenant_id));
    assert_eq!((&own["tenantType"], &own["verifiedDomains"]), (&json!("AAD"), &json!([])));
    let filter = encoded("userPrincipalName eq 'a@b' or mail eq 'a@b'");
    for path in ["/users".to_owned(), format!("/users?$filter={filter}")] {
        assert_eq!(directory.ids(&path).await, Vec::<String>::new());
    }
    let (status, missing) = directory.get("/users/mary@contoso.example").await;
    assert_eq!((status, code(&missing)), (404, "Request_ResourceNotFound"));
    cloud.put_vm("vm1", true, &[]).await;
    let vm = cloud.vm_token("vm1", GRAPH_AUDIENCE, "").await;
    for token in [Some(&vm), Some(&cloud.admin_token(GRAPH_AUDIENCE).await)] {
        let answer = cloud.graph(token, Method::GET, "/me", None).await;
        assert_eq!((answer.status.as_u16(), code(&answer.body)), (400, "Request_BadRequest"));
        assert_eq!(
            answer.body["error"]["message"],
            "/me request is only valid with delegated authentication flow."
        );
    }
    assert_eq!(cloud.graph(None, Method::GET, "/me", None).await.status.as_u16(), 401);
}
