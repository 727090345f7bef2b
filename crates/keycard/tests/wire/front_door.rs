//! Resource Manager's front door: azure-semantics checklist 54, 55, 84 and 85, conditional requests, paths, and the ids in
//! the log.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use keycard::client::{Answer, request};
use keycard_crypto::secret::Secret;
use keycard_wire::route::{Access, Row};
use serde_json::{Value, json};
use time::UtcDateTime;

use crate::harness::{ARM_AUDIENCE, Cloud, READER, VAULT_AUDIENCE, claims};
use crate::tenants::{development, second};

const VERSION: &str = "2024-11-01";

/// Sends a request with headers; the path has its query, api-version included.
async fn send(
    cloud: &Cloud,
    token: Option<&Secret>,
    (method, path): (Method, &str),
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    let url = format!("{}{path}", cloud.description().endpoints.resource_manager);
    let mut request = request(method, &url, token, body);
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    cloud.client.send(request).await.unwrap()
}

/// A request of the administrator.
async fn conditional(
    cloud: &Cloud,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    let path = format!("{path}?api-version={VERSION}");
    send(cloud, Some(cloud.administration.token()), (method, &path), headers, body).await
}

fn code(answer: &Answer) -> &str {
    answer.body["error"]["code"].as_str().unwrap_or_default()
}

fn message(answer: &Answer) -> &str {
    answer.body["error"]["message"].as_str().unwrap_or_default()
}

fn text<'a>(answer: &'a Answer, header: &str) -> &'a str {
    answer.headers.get(header).map_or("", |value| value.to_str().unwrap())
}

/// Every answer of the front door bears its ids; a refusal by it says so.
fn check(answer: &Answer, status: u16, expected_code: &str, expected_message: &str) {
    let found = (answer.status.as_u16(), code(answer), message(answer));
    assert_eq!(found, (status, expected_code, expected_message));
    assert_eq!(text(answer, "x-ms-failure-cause"), "gateway", "{expected_code}");
    check_headers(answer, "writes|reads|deletes");
}

fn check_headers(answer: &Answer, kinds: &str) {
    let id = text(answer, "x-ms-request-id");
    assert!(uuid::Uuid::try_parse(id).is_ok(), "{id}");
    assert!(!text(answer, "x-ms-correlation-request-id").is_empty());
    let routing: Vec<&str> = text(answer, "x-ms-routing-request-id").split(':').collect();
    let [region, moment, routed] = routing[..] else { panic!("{routing:?}") };
    assert_eq!((region, routed), ("LOCAL", id));
    let form = |c: char| if c.is_ascii_digit() { '0' } else { c };
    assert_eq!(moment.chars().map(form).collect::<String>(), "00000000T000000Z");
    let all = [("reads", "11999"), ("writes", "1199"), ("deletes", "14999")];
    let shown: Vec<&str> = all
        .into_iter()
        .filter(|(kind, left)| {
            let name = format!("x-ms-ratelimit-remaining-subscription-{kind}");
            let value = text(answer, &name);
            assert!(value.is_empty() || value == *left, "{name}: {value}");
            !value.is_empty()
        })
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(kinds.contains(shown[0]), "{shown:?}");
}

/// `5/14/2023 1:02:03 PM`
fn moment(seconds: i64) -> String {
    let at = UtcDateTime::from_unix_timestamp(seconds).unwrap();
    let hour = match at.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let half = if at.hour() < 12 { "AM" } else { "PM" };
    let (month, day, year) = (u8::from(at.month()), at.day(), at.year());
    format!("{month}/{day}/{year} {hour}:{:02}:{:02} {half}", at.minute(), at.second())
}

/// 84
#[tokio::test]
async fn a_request_without_a_good_token_is_told_what_is_wrong_and_where_to_get_one() {
    let cloud = Cloud::start().await;
    let ask = async |token: Option<&Secret>, path: &str| {
        cloud.arm(token, Method::GET, path, VERSION, None).await
    };
    let login = cloud.description().endpoints.token_service.clone();
    let tenant = cloud.description().tenant_id.clone();
    let challenge = |authority: &str, description: &str| {
        format!(
            "Bearer authorization_uri=\"{login}/{authority}\", error=\"invalid_token\", error_description=\"{description}\""
        )
    };
    let missing = "Authentication failed. The 'Authorization' header is missing.";
    let described = "The authentication failed because of missing 'Authorization' header.";
    let stranger = "/subscriptions/99999999-9999-9999-9999-999999999999";
    for (path, authority) in [
        (cloud.group(), tenant.as_str()),
        (cloud.vm_id("vm1").to_uppercase(), &tenant),
        (cloud.subscription() + "/providers/Microsoft.Kitchen/toasters", &tenant),
        ("/tenants".to_owned(), "common"),
        (stranger.to_owned(), "common"),
    ] {
        let answer = ask(None, &path).await;
        check(&answer, 401, "AuthenticationFailed", missing);
        assert_eq!(text(&answer, "www-authenticate"), challenge(authority, described), "{path}");
    }
    let invalid = "The access token is invalid.";
    let answer = ask(Some(&Secret::new("nonsense".to_owned())), &cloud.group()).await;
    check(&answer, 401, "InvalidAuthenticationToken", invalid);
    assert_eq!(text(&answer, "www-authenticate"), challenge(&tenant, invalid));

    let wrong = cloud.admin_token(VAULT_AUDIENCE).await;
    let answer = ask(Some(&wrong), &cloud.group()).await;
    let found = claims(&wrong)["aud"].as_str().unwrap().to_owned();
    check(
        &answer,
        401,
        "InvalidAuthenticationTokenAudience",
        &format!(
            "The access token has been obtained for wrong audience or resource '{found}'. It should exactly match with one of the allowed audiences 'https://management.core.windows.net/','https://management.core.windows.net','https://management.azure.com/','https://management.azure.com'."
        ),
    );

    let token = cloud.admin_token(ARM_AUDIENCE).await;
    let ends = claims(&token)["exp"].as_i64().unwrap();
    cloud.clock.advance(time::Duration::seconds(ends - cloud.now() + 61));
    let expired = format!(
        "The access token expiry UTC time '{}' is earlier than current UTC time '{}'.",
        moment(ends),
        moment(ends + 61)
    );
    let answer = ask(Some(&token), &cloud.group()).await;
    check(&answer, 401, "ExpiredAuthenticationToken", &expired);
    assert_eq!(text(&answer, "www-authenticate"), challenge(&tenant, &expired));
}

/// 84
#[tokio::test]
async fn a_token_of_another_tenant_is_told_which_one_to_ask() {
    let cloud = development().await;
    let (other, administration) = second(&cloud, json!({ "name": "contoso" })).await;
    let (own, theirs) = (&cloud.description().tenant_id, &other.tenant_id);
    let login = &cloud.description().endpoints.token_service;
    let issuer = |token: &Secret| claims(token)["iss"].as_str().unwrap().to_owned();
    let expected = issuer(cloud.administration.token());
    let found = issuer(administration.token());
    assert_eq!(found.replace(theirs.as_str(), own), expected);
    for path in [cloud.group(), cloud.vm_id("vm1"), cloud.group() + "/providers/No.Such/x"] {
        let answer =
            cloud.arm(Some(administration.token()), Method::GET, &path, VERSION, None).await;
        check(
            &answer,
            401,
            "InvalidAuthenticationTokenTenant",
            &format!(
                "The access token is from the wrong issuer '{found}'. It must match the tenant '{expected}' associated with this subscription. Please use the authority (URL) '{login}/{own}' to get the token. Note, if the subscription is transferred to another tenant there is no impact to the services, but information about new tenant could take time to propagate (up to an hour). If you just transferred your subscription and see this error message, please try back later."
            ),
        );
        let challenge = text(&answer, "www-authenticate");
        let start = format!("Bearer authorization_uri=\"{login}/{own}\", error=\"invalid_token\"");
        assert!(challenge.starts_with(&start), "{challenge}");
    }
}

/// 55, 84
#[tokio::test]
async fn what_does_not_exist_is_named_in_azures_words() {
    let cloud = Cloud::start().await;
    cloud.put_identity("mi-1").await;
    let none = "99999999-9999-9999-9999-999999999999";
    let (vm, nowhere) = (cloud.vm_id("gone"), cloud.vm_id("vm1").replace("rg1", "rg9"));
    let no_group = "Resource group 'rg9' could not be found.";
    let resources = "/subscriptions/mine/resourceGroups/rg1";
    let not_found = |resource_type: &str, name: &str| {
        format!(
            "The Resource '{resource_type}/{name}' under resource group 'rg1' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
        )
    };
    let parent = |name: &str| {
        format!(
            "Can not perform requested operation on nested resource. Parent resource '{name}' not found."
        )
    };
    let (get, put) = (Method::GET, Method::PUT);
    let compute = "Microsoft.Compute/virtualMachines";
    let identities = "Microsoft.ManagedIdentity/userAssignedIdentities";
    let set = cloud.group() + "/providers/Microsoft.Compute/virtualMachineScaleSets/s1";
    for (method, path, status, code, message) in [
        (
            &get,
            format!("/subscriptions/{none}"),
            404,
            "SubscriptionNotFound",
            format!("The subscription '{none}' could not be found."),
        ),
        (
            &put,
            vm.replace(&cloud.description().subscription_id, none),
            404,
            "SubscriptionNotFound",
            format!("The subscription '{none}' could not be found."),
        ),
        (
            &get,
            resources.to_owned(),
            400,
            "InvalidSubscriptionId",
            "The provided subscription identifier 'mine' is malformed or invalid.".to_owned(),
        ),
        (&get, nowhere.clone(), 404, "ResourceGroupNotFound", no_group.to_owned()),
        (&put, nowhere.clone(), 404, "ResourceGroupNotFound", no_group.to_owned()),
        (&Method::DELETE, nowhere.clone(), 404, "ResourceGroupNotFound", no_group.to_owned()),
        (
            &Method::POST,
            format!("{nowhere}/start"),
            404,
            "ResourceGroupNotFound",
            no_group.to_owned(),
        ),
        (
            &get,
            cloud.group().replace("rg1", "rg9"),
            404,
            "ResourceGroupNotFound",
            no_group.to_owned(),
        ),
        (&get, vm.clone(), 404, "ResourceNotFound", not_found(compute, "gone")),
        (&Method::PATCH, vm.clone(), 404, "ResourceNotFound", not_found(compute, "gone")),
        (&get, cloud.identity_id("gone"), 404, "ResourceNotFound", not_found(identities, "gone")),
        (
            &get,
            cloud.vault_id("gone"),
            404,
            "ResourceNotFound",
            not_found("Microsoft.KeyVault/vaults", "gone"),
        ),
        (
            &get,
            cloud.site_id("gone"),
            404,
            "ResourceNotFound",
            not_found("Microsoft.Web/sites", "gone"),
        ),
        (
            &get,
            vm.replace("virtualMachines", "VIRTUALMACHINES"),
            404,
            "ResourceNotFound",
            not_found(compute, "gone"),
        ),
        (&put, cloud.vault_id("kv9") + "/secrets/s1", 404, "ParentResourceNotFound", parent("kv9")),
        (&get, set.clone() + "/virtualMachines/0", 404, "ParentResourceNotFound", parent("s1")),
        (&put, vm.clone() + "/extensions/e", 404, "ParentResourceNotFound", parent("gone")),
        (&put, cloud.site_id("none") + "/slots/s", 404, "ParentResourceNotFound", parent("none")),
        (
            &get,
            cloud.group() + "/providers/Microsoft.Kitchen/toasters/t",
            404,
            "InvalidResourceNamespace",
            "The resource namespace 'Microsoft.Kitchen' is invalid.".to_owned(),
        ),
        (
            &get,
            vm.replace("virtualMachines", "toasters"),
            404,
            "InvalidResourceType",
            format!(
                "The resource type 'toasters' could not be found in the namespace 'Microsoft.Compute' for api version '{VERSION}'. The supported api-versions are '2026-04-01,2025-11-01,2024-11-01,2024-07-01,2022-11-01'."
            ),
        ),
        (
            &put,
            cloud.vm_id("new"),
            400,
            "LocationRequired",
            "The location property is required for this definition.".to_owned(),
        ),
        (
            &put,
            cloud.identity_id("new"),
            400,
            "LocationRequired",
            "The location property is required for this definition.".to_owned(),
        ),
    ] {
        let body = (method != get).then(|| json!({}));
        let answer = cloud.admin(method.clone(), &path, VERSION, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.body);
        check(&answer, status, code, &message);
    }
    let moved = json!({ "location": "westus" });
    let answer = cloud.admin(Method::PUT, &cloud.identity_id("mi-1"), VERSION, Some(moved)).await;
    check(
        &answer,
        409,
        "InvalidResourceLocation",
        "The resource 'mi-1' already exists in location 'local' in resource group 'rg1'. A resource with the same name cannot be created in location 'westus'. Please select a new resource name.",
    );
}

/// 84: the order at the door.
#[tokio::test]
async fn each_check_at_the_door_comes_before_the_next() {
    let cloud = Cloud::start().await;
    cloud.put_vm("actor", true, &[]).await;
    let token = cloud.vm_token("actor", ARM_AUDIENCE, "").await;
    let principal = claims(&token)["oid"].as_str().unwrap().to_owned();
    let none = "/subscriptions/99999999-9999-9999-9999-999999999999";
    let nowhere = cloud.vm_id("x").replace("rg1", "rg9");
    let malformed = [("if-match", "nonsense"), ("content-type", "application/json")];
    let ask = async |token: Option<&Secret>, method: Method, path: &str| {
        let answer = send(&cloud, token, (method, path), &malformed, Some(&json!([]))).await;
        code(&answer).to_owned()
    };
    let (some, put) = (Some(&token), Method::PUT);
    // A token before everything; then the api-version; then rights, whatever is there.
    assert_eq!(ask(None, put.clone(), &nowhere).await, "AuthenticationFailed");
    assert_eq!(ask(some, put.clone(), &nowhere).await, "MissingApiVersionParameter");
    assert_eq!(
        ask(some, put.clone(), &format!("{nowhere}?api-version=soon")).await,
        "InvalidApiVersionParameter"
    );
    for path in [nowhere.as_str(), &cloud.vm_id("x"), none, &cloud.vm_id("actor")] {
        let path = format!("{path}?api-version={VERSION}");
        assert_eq!(ask(some, Method::GET, &path).await, "AuthorizationFailed", "{path}");
    }
    // Then what is above, then the conditions, then the content.
    let admin = Some(cloud.administration.token());
    let path = format!("{nowhere}?api-version={VERSION}");
    assert_eq!(ask(admin, put.clone(), &path).await, "ResourceGroupNotFound");
    let path = path.replace("rg9", "rg1");
    assert_eq!(ask(admin, put.clone(), &path).await, "InvalidHeaderValue");
    let unconditional = send(&cloud, admin, (put, &path), &[], Some(&json!([]))).await;
    assert_eq!(code(&unconditional), "InvalidRequestContent");
    let start = "The request content was invalid and could not be deserialized: '";
    assert!(message(&unconditional).starts_with(start), "{}", message(&unconditional));
    // Who may look hears what is not there.
    cloud.grant(&cloud.subscription(), READER, &principal).await;
    assert_eq!(ask(some, Method::GET, &path.replace("rg1", "rg9")).await, "ResourceGroupNotFound");
}

/// 84
#[tokio::test]
async fn an_api_version_is_required_and_looks_like_one() {
    let cloud = Cloud::start().await;
    let admin = cloud.administration.token();
    let missing = cloud.arm(Some(admin), Method::GET, &cloud.group(), "", None).await;
    check(
        &missing,
        400,
        "MissingApiVersionParameter",
        "The api-version query parameter (?api-version=) is required for all requests.",
    );
    let invalid = cloud.arm(Some(admin), Method::GET, &cloud.group(), "2024-1-1", None).await;
    let text = message(&invalid);
    let list = text
        .strip_prefix("The api-version '2024-1-1' is invalid. The supported versions are '")
        .and_then(|rest| rest.strip_suffix("'."))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(list.split(',').any(|version| version == VERSION) && !list.contains(' '), "{list}");
    check(&invalid, 400, "InvalidApiVersionParameter", text);
}

/// 85
#[tokio::test]
async fn every_answer_bears_ids_and_what_is_left() {
    let cloud = Cloud::start().await;
    let (correlation, client) =
        ("11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-aaaaaaaaaaaa");
    let admin = cloud.administration.token();
    let (group, vm) = (cloud.group(), cloud.vm_id("none"));
    for (token, method, path, kind) in [
        (Some(admin), Method::GET, group.clone(), "reads"),
        (Some(admin), Method::HEAD, group.clone(), "reads"),
        (Some(admin), Method::PUT, group.clone(), "writes"),
        (Some(admin), Method::PATCH, vm.clone(), "writes"),
        (Some(admin), Method::POST, format!("{vm}/start"), "writes"),
        (Some(admin), Method::DELETE, vm.clone(), "deletes"),
        (Some(admin), Method::GET, vm.replace("virtualMachines", "toasters"), "reads"),
        (Some(admin), Method::TRACE, group.clone(), "writes"),
        (Some(admin), Method::GET, format!("{group}/.."), "reads"),
        (None, Method::DELETE, group.clone(), "deletes"),
    ] {
        let path = format!("{path}?api-version={VERSION}");
        let body = (method == Method::PUT).then(|| json!({ "location": "local" }));
        let headers =
            [("x-ms-correlation-request-id", correlation), ("x-ms-client-request-id", client)];
        let answer = send(&cloud, token, (method, &path), &headers, body.as_ref()).await;
        check_headers(&answer, kind);
        assert_eq!(text(&answer, "x-ms-correlation-request-id"), correlation);
        assert_eq!(text(&answer, "x-ms-client-request-id"), "", "not asked for");
        let asked = [headers[1], ("x-ms-return-client-request-id", "true")];
        let answer = send(&cloud, token, (Method::GET, &path), &asked, None).await;
        assert_eq!(text(&answer, "x-ms-client-request-id"), client);
        assert_eq!(text(&answer, "x-ms-correlation-request-id"), client, "for want of another");
    }
}

/// What is put at a path, and a change of it.
fn tracked(cloud: &Cloud) -> Vec<(String, Value)> {
    let tenant = &cloud.description().tenant_id;
    let local = || json!({ "location": "local" });
    let trust = json!({ "properties": {
        "issuer": "https://issuer.example", "subject": "s", "audiences": ["api://AzureADTokenExchange"],
    }});
    let vault = json!({ "location": "local", "properties": {
        "tenantId": tenant, "sku": { "family": "A", "name": "standard" }, "accessPolicies": [],
    }});
    let set = cloud.group() + "/providers/Microsoft.Compute/virtualMachineScaleSets/s1";
    vec![
        (cloud.group().replace("rg1", "rg2"), local()),
        (cloud.identity_id("mi-1"), local()),
        (cloud.identity_id("mi-1") + "/federatedIdentityCredentials/fic", trust),
        (cloud.vm_id("vm1"), local()),
        (cloud.site_id("site1"), local()),
        (set, json!({ "location": "local", "sku": { "name": "Standard_B1s", "capacity": 1 } })),
        (cloud.site_id("site1") + "/slots/s1", local()),
        (cloud.group() + "/providers/Microsoft.Network/virtualNetworks/net1", local()),
        (cloud.vault_id("kv1"), vault),
    ]
}

#[tokio::test]
async fn a_version_that_was_seen_is_required_of_what_is_there() {
    let cloud = Cloud::start().await;
    for (path, body) in tracked(&cloud) {
        let ask = async |method: Method, condition: Option<(&str, &str)>| {
            let body = (method == Method::PUT).then_some(&body);
            let headers: Vec<_> = condition.into_iter().collect();
            conditional(&cloud, method, &path, &headers, body).await
        };
        let (get, put, delete) = (Method::GET, Method::PUT, Method::DELETE);
        let failed = async |method: &Method, condition: (&str, &str)| {
            let answer = ask(method.clone(), Some(condition)).await;
            let found = (answer.status.as_u16(), code(&answer).to_owned());
            let expected = (412, "PreconditionFailed".to_owned());
            assert_eq!(found, expected, "{method} {path} {condition:?}: {}", answer.body);
            check_headers(&answer, "writes|reads|deletes");
        };
        // Nothing is there yet.
        failed(&put, ("if-match", "*")).await;
        failed(&put, ("if-match", "\"1\"")).await;
        let made = ask(put.clone(), Some(("if-none-match", "*"))).await;
        assert!(made.status.is_success(), "{path}: {}", made.body);
        let first = text(&made, "etag").to_owned();
        assert!(first.len() > 2 && first.starts_with('"') && first.ends_with('"'), "{first}");
        assert_eq!(text(&ask(get.clone(), None).await, "etag"), first, "{path}");
        failed(&put, ("if-none-match", "*")).await;
        failed(&put, ("if-none-match", &first)).await;
        // A read of what is known already shows nothing again.
        let known = ask(get.clone(), Some(("if-none-match", &first))).await;
        assert_eq!((known.status, known.bytes.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        assert_eq!(text(&known, "etag"), first);
        failed(&get, ("if-match", "\"1\"")).await;
        // A write makes another version, and the former one is good for nothing more.
        let again = ask(put.clone(), Some(("if-match", &format!("\"1\", {first}")))).await;
        let second = text(&again, "etag").to_owned();
        assert!(again.status.is_success() && second != first, "{path}: {}", again.body);
        assert_eq!(text(&ask(get.clone(), None).await, "etag"), second, "{path}");
        failed(&put, ("if-match", &first)).await;
        failed(&put, ("if-match", &format!("W/{second}"))).await;
        failed(&delete, ("if-match", &first)).await;
        failed(&delete, ("if-none-match", "*")).await;
        let changed = ask(get.clone(), Some(("if-none-match", &first))).await;
        assert_eq!(changed.status, StatusCode::OK);
        for wrong in ["", "7", "\"7", "*, \"7\""] {
            let answer = ask(put.clone(), Some(("if-match", wrong))).await;
            assert_eq!((answer.status.as_u16(), code(&answer)), (400, "InvalidHeaderValue"));
        }
        if path.contains("/vaults/") {
            let gone = ask(delete, Some(("if-match", &second))).await;
            assert_eq!(gone.status, StatusCode::OK, "{path}: {}", gone.body);
        }
    }
}

#[tokio::test]
async fn changes_actions_and_deletions_honour_conditions_too() {
    let cloud = Cloud::start().await;
    cloud.put_vm("vm1", true, &[]).await;
    let (vm, start) = (cloud.vm_id("vm1"), cloud.vm_id("vm1") + "/deallocate");
    let etag =
        async || text(&conditional(&cloud, Method::GET, &vm, &[], None).await, "etag").to_owned();
    let tags = json!({ "tags": { "a": "b" } });
    let first = etag().await;
    let patched =
        conditional(&cloud, Method::PATCH, &vm, &[("if-match", &first)], Some(&tags)).await;
    assert_eq!(patched.status, StatusCode::OK, "{}", patched.body);
    let second = etag().await;
    assert_eq!(text(&patched, "etag"), second);
    let late = conditional(&cloud, Method::PATCH, &vm, &[("if-match", &first)], Some(&tags)).await;
    assert_eq!((late.status.as_u16(), code(&late)), (412, "PreconditionFailed"));
    let late = conditional(&cloud, Method::POST, &start, &[("if-match", &first)], None).await;
    assert_eq!((late.status.as_u16(), code(&late)), (412, "PreconditionFailed"));
    let stopped = conditional(&cloud, Method::POST, &start, &[("if-match", &second)], None).await;
    assert!(stopped.status.is_success(), "{}", stopped.body);
    assert_eq!(text(&stopped, "etag"), "", "the answer does not show the machine");
    let late = conditional(&cloud, Method::DELETE, &vm, &[("if-match", &second)], None).await;
    assert_eq!((late.status.as_u16(), code(&late)), (412, "PreconditionFailed"));
    let third = etag().await;
    let gone = conditional(&cloud, Method::DELETE, &vm, &[("if-match", &third)], None).await;
    assert!(gone.status.is_success(), "{}", gone.body);
    let absent = conditional(&cloud, Method::DELETE, &vm, &[("if-match", "*")], None).await;
    assert_eq!((absent.status.as_u16(), code(&absent)), (412, "PreconditionFailed"));
    // What would be refused anyway is refused for that. Listings have no version.
    let refused = conditional(&cloud, Method::PATCH, &vm, &[("if-match", "*")], Some(&tags)).await;
    assert_eq!(code(&refused), "ResourceNotFound");
    let list = vm.trim_end_matches("/vm1");
    let listed = conditional(&cloud, Method::GET, list, &[("if-none-match", "*")], None).await;
    assert_eq!((listed.status, text(&listed, "etag")), (StatusCode::OK, ""));
    // An identity's tokens are revoked only if it is the one that was seen, though they are kept elsewhere.
    cloud.put_identity("mi-1").await;
    let revoke = cloud.identity_id("mi-1") + "/revokeTokens";
    let late = conditional(&cloud, Method::POST, &revoke, &[("if-match", "\"1\"")], None).await;
    assert_eq!((late.status.as_u16(), code(&late)), (412, "PreconditionFailed"));
}

/// Of those who saw the same version, one writes, and the others hear that they came too late.
#[tokio::test]
async fn of_writers_on_the_same_version_one_wins() {
    let cloud = Cloud::start().await;
    let path = cloud.identity_id("mi-1");
    let body = |n: usize| json!({ "location": "local", "tags": { "writer": n.to_string() } });
    let mut condition = ("if-none-match", "*".to_owned());
    for round in 0..4 {
        let bodies: Vec<Value> = (0..6).map(|n| body(round * 10 + n)).collect();
        let headers = [(condition.0, condition.1.as_str())];
        let ask = |n: usize| conditional(&cloud, Method::PUT, &path, &headers, Some(&bodies[n]));
        let (a, b, c, d, e, f) = tokio::join!(ask(0), ask(1), ask(2), ask(3), ask(4), ask(5));
        let answers = [a, b, c, d, e, f];
        let won: Vec<&Answer> = answers.iter().filter(|it| it.status.is_success()).collect();
        assert_eq!(won.len(), 1, "round {round}");
        let lost = answers.iter().filter(|it| it.status == StatusCode::PRECONDITION_FAILED);
        assert_eq!(lost.count(), 5, "round {round}");
        let present = conditional(&cloud, Method::GET, &path, &[], None).await;
        assert_eq!(present.body["tags"], won[0].body["tags"]);
        assert_eq!(text(&present, "etag"), text(won[0], "etag"));
        condition = ("if-match", text(&present, "etag").to_owned());
    }
}

/// The path of a row, its names filled in, with what stands between as `twist` makes it.
fn path_of(cloud: &Cloud, row: &Row, twist: impl Fn(&str) -> String) -> String {
    let segments =
        row.path.split('/').filter(|segment| !segment.is_empty()).map(|segment| match segment {
            "{*scope}" => cloud.group().trim_start_matches('/').to_owned(),
            "{subscription}" => cloud.description().subscription_id.clone(),
            "{group}" => "rg1".to_owned(),
            "{kind}" => "imds".to_owned(),
            "{location}" => "local".to_owned(),
            name if name.starts_with('{') => "11111111-1111-1111-1111-111111111111".to_owned(),
            literal => twist(literal),
        });
    format!("/{}", segments.collect::<Vec<_>>().join("/"))
}

fn alternating(text: &str) -> String {
    let turned = text.chars().enumerate().map(|(index, c)| match index % 2 {
        0 => c.to_ascii_uppercase(),
        _ => c.to_ascii_lowercase(),
    });
    turned.collect()
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A path means the same however its fixed segments are written, or is refused: no spelling leads around a check.
#[tokio::test]
async fn a_path_means_one_thing_or_is_refused() {
    let cloud = Cloud::start().await;
    cloud.put_vm("stranger", true, &[]).await;
    let stranger = cloud.vm_token("stranger", ARM_AUDIENCE, "").await;
    let rows = cloud.server.rows.iter().filter(|(face, _)| *face == "arm");
    let rows = rows.map(|(_, row)| row).filter(|row| matches!(row.access, Access::Rbac(_)));
    // One row of each path.
    let rows: BTreeMap<&str, &Row> = rows.map(|row| (row.path, row)).collect();
    assert!(rows.len() > 80, "{}", rows.len());
    let ask = async |token: &Secret, method: &Method, path: &str| {
        let path = format!("{path}?api-version={VERSION}");
        let answer = send(&cloud, Some(token), (method.clone(), &path), &[], None).await;
        (answer.status.as_u16(), code(&answer).to_owned())
    };
    for (index, row) in rows.into_values().enumerate() {
        let straight = path_of(&cloud, row, str::to_owned);
        let method = if row.method == Method::HEAD { &Method::GET } else { &row.method };
        let expected = ask(&stranger, method, &straight).await;
        assert_eq!(expected.0, 403, "{row:?}");
        for same in [
            path_of(&cloud, row, alternating),
            path_of(&cloud, row, |literal| encoded(&literal.to_uppercase())),
            format!("/{}//", straight.to_lowercase().replace('/', "//")),
        ] {
            assert_eq!(ask(&stranger, method, &same).await, expected, "{same}");
        }
        // Whether a path is one at all does not depend on the row.
        if index % 20 != 0 {
            continue;
        }
        let (above, name) = straight.rsplit_once('/').unwrap();
        for twisted in [
            format!("{above}/./{name}"),
            format!("{above}/x/../{name}"),
            format!("{above}/%2e/{name}"),
            format!("{above}/x/%2e%2E/{name}"),
            format!("{above}/x/.%2e/{name}"),
            format!("{above}%2F{name}"),
            format!("{above}%2f..%2f{name}"),
            format!("{above}%5C{name}"),
            format!("{straight}%00"),
            format!("{straight}%0a"),
            format!("{straight}%c0%ae"),
            format!("{straight}/.."),
        ] {
            for token in [&stranger, cloud.administration.token()] {
                let found = ask(token, method, &twisted).await;
                assert_eq!(found, (400, "InvalidRequestUri".to_owned()), "{twisted}");
            }
        }
    }
    // Where several faces share a name, the path leads to the same one however it is written.
    let straight = cloud.group();
    for same in [straight.replace("/subs", "/%73UBS"), straight.replace("/subs", "//Subs")] {
        let answer = cloud.admin(Method::GET, &same, VERSION, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{same}");
    }
    // What is decoded is not decoded again.
    let twice = cloud.vm_id("stranger").replace("rg1", "rg1%252Fx");
    assert_eq!(ask(cloud.administration.token(), &Method::GET, &twice).await.0, 400);
}

/// However a client writes the type, what it makes has one id.
#[tokio::test]
async fn what_is_made_under_another_spelling_has_the_usual_id() {
    let cloud = Cloud::start().await;
    let twisted = cloud.vm_id("Vm1").replace("Microsoft.Compute", "MICROSOFT.compute");
    let twisted = twisted.replace("virtualMachines", "VIRTUALMACHINES");
    let made = cloud.put(&twisted, VERSION, json!({ "location": "local" })).await;
    assert_eq!(made["id"], json!(cloud.vm_id("Vm1")));
    let again = cloud.put(&cloud.vm_id("vM1"), VERSION, json!({ "location": "local" })).await;
    assert_eq!(again["id"], made["id"], "the case of creation stays");
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log of this thread, on which the server of the test runs too.
fn logged() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("info")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn a_failed_write_is_one_line_of_the_log_with_the_ids_of_its_answer() {
    let cloud = Cloud::start().await;
    // Whatever the start of a server listens with, this listens now.
    let (log, _guard) = logged();
    cloud.put_vm("stranger", true, &[]).await;
    let stranger = cloud.vm_token("stranger", ARM_AUDIENCE, "").await;
    let admin = cloud.administration.token().clone();
    let correlation = "11111111-2222-3333-4444-555555555555";
    let secret = json!({ "location": 5, "properties": { "value": "hunter2" } });
    let vm = format!("{}?api-version={VERSION}&sig=hunter2", cloud.vm_id("vm1"));
    let group = format!("{}?api-version={VERSION}", cloud.group());
    for (token, method, path, status, code) in [
        (Some(&admin), Method::PUT, &vm, 400, "InvalidRequestContent"),
        (Some(&stranger), Method::DELETE, &group, 403, "AuthorizationFailed"),
    ] {
        let before = log.lines().len();
        let headers = [("x-ms-correlation-request-id", correlation)];
        let answer = send(&cloud, token, (method.clone(), path), &headers, Some(&secret)).await;
        assert_eq!((answer.status.as_u16(), self::code(&answer)), (status, code));
        let lines = log.lines().split_off(before);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let bare = path.split('?').next().unwrap();
        for part in [
            format!("request_id={}", text(&answer, "x-ms-request-id")),
            format!("correlation_id={correlation}"),
            format!("method={method}"),
            format!("path=\"{bare}\""),
            format!("status={status}"),
            format!("code=\"{code}\""),
        ] {
            assert!(lines[0].contains(&part), "{part} in {}", lines[0]);
        }
        assert!(!lines[0].contains("hunter2") && !lines[0].contains(token.unwrap().expose()));
    }
    // Neither what is read, nor who is not known at all, nor what succeeds.
    let before = log.lines().len();
    send(&cloud, Some(&admin), (Method::GET, &vm), &[], None).await;
    send(&cloud, None, (Method::DELETE, &group), &[], None).await;
    cloud.put_identity("mi-1").await;
    assert_eq!(log.lines().split_off(before), Vec::<String>::new());
    // The other faces bear their ids too.
    let before = log.lines().len();
    let graph = cloud.graph(None, Method::POST, "/groups", Some(json!({}))).await;
    assert_eq!(graph.status, StatusCode::UNAUTHORIZED);
    let token = cloud.admin_token(crate::harness::GRAPH_AUDIENCE).await;
    let graph = cloud.graph(Some(&token), Method::POST, "/groups", Some(json!({}))).await;
    assert_eq!(graph.status, StatusCode::BAD_REQUEST, "{}", graph.body);
    let lines = log.lines().split_off(before);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains(&format!("request_id={}", text(&graph, "request-id"))),
        "{}",
        lines[0]
    );
}
