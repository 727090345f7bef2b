//! Microsoft Graph: what was deleted is seen for thirty days, and what can be restored works again.

use std::sync::Arc;

use http::Method;
use keycard::client::Administration;
use keycard::system_clock::TurnableClock;
use keycard_crypto::secret::Secret;
use serde_json::{Value, json};

use crate::graph::{Directory, code, vm};
use crate::harness::{Choice, Cloud};

const PRINCIPALS: &str = "/directory/deletedItems/microsoft.graph.servicePrincipal";
const APPLICATIONS: &str = "/directory/deletedItems/microsoft.graph.application";

async fn restore(directory: &Directory<'_>, id: &str) -> (u16, Value) {
    directory.send(Method::POST, &format!("/directory/deletedItems/{id}/restore"), None).await
}

/// azure-semantics 38
#[tokio::test]
async fn principals_of_managed_identities_are_listed_when_deleted_and_gone_for_good() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let system = vm(&cloud, "vm1").await;
    let user = cloud.put_identity("mi-1").await["properties"]["principalId"].clone();
    let user = user.as_str().unwrap();
    cloud.admin(Method::DELETE, &cloud.vm_id("vm1"), "2024-07-01", None).await;
    cloud.admin(Method::DELETE, &cloud.identity_id("mi-1"), "2024-11-30", None).await;
    let mut deleted = directory.ids(PRINCIPALS).await;
    deleted.sort();
    let mut expected = [&*system, user];
    expected.sort_unstable();
    assert_eq!(deleted, expected);
    assert!(directory.ids(APPLICATIONS).await.is_empty());
    let (status, shown) = directory.get(&format!("/directory/deletedItems/{user}")).await;
    assert_eq!((status, &shown["displayName"]), (200, &json!("mi-1")));
    assert_eq!(shown["deletedDateTime"], "2027-01-15T08:00:00Z");
    assert_eq!(shown["@odata.type"], "#microsoft.graph.servicePrincipal");
    assert_eq!(directory.get(&format!("/servicePrincipals/{user}")).await.0, 404);
    for id in [&*system, user] {
        let (status, refused) = restore(&directory, id).await;
        assert_eq!((status, code(&refused)), (400, "Request_BadRequest"));
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("a managed identity goes for good"), "{message}");
    }
    let path = format!("/directory/deletedItems/{user}");
    assert_eq!(directory.delete(&path).await, 204);
    assert_eq!(directory.delete(&path).await, 404);
    assert_eq!(directory.ids(PRINCIPALS).await, [system]);
}

#[tokio::test]
async fn a_restored_application_works_again_with_its_principal() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    let path = format!("/applications/{}", application.id);
    let uri = json!({ "identifierUris": ["api://orders"] });
    assert_eq!(directory.patch(&path, uri.clone()).await.0, 204);
    let secret = directory.make(&format!("{path}/addPassword"), json!({})).await;
    let secret = secret["secretText"].as_str().unwrap();
    let signed_in = directory.sign_in(&application.client, secret).await.1;
    let former = Secret::new(signed_in["access_token"].as_str().unwrap().to_owned());
    let asks = async || {
        cloud.graph(Some(&former), Method::GET, "/organization", None).await.status.as_u16()
    };
    assert_ne!(asks().await, 401);
    assert_eq!(directory.delete(&path).await, 204);
    assert_eq!(directory.delete(&path).await, 404);
    assert_ne!(directory.sign_in(&application.client, secret).await.0, 200);
    assert_eq!(directory.ids(APPLICATIONS).await, [&*application.id]);
    assert_eq!(directory.ids(PRINCIPALS).await, [&*application.principal]);
    let (status, _) = restore(&directory, &application.principal).await;
    assert_eq!(status, 400, "its application is not there");

    let (status, restored) = restore(&directory, &application.id).await;
    assert_eq!((status, &restored["appId"]), (200, &json!(application.client)));
    assert_eq!(restored["deletedDateTime"], Value::Null);
    assert_eq!(asks().await, 401, "what was issued before stays dead");
    assert_eq!(directory.sign_in(&application.client, secret).await.0, 200);
    assert_eq!(
        directory.get(&format!("/servicePrincipals/{}", application.principal)).await.0,
        200
    );
    assert!(directory.ids(APPLICATIONS).await.is_empty());
    assert!(directory.ids(PRINCIPALS).await.is_empty());
    assert_eq!(restore(&directory, &application.id).await.0, 404);

    // Its name was given away in the meantime.
    assert_eq!(directory.delete(&path).await, 204);
    let heir = directory.application("orders").await;
    assert_ne!(heir.client, application.client);
    assert_eq!(directory.patch(&format!("/applications/{}", heir.id), uri).await.0, 204);
    assert_eq!(restore(&directory, &application.id).await.0, 400);
    assert_eq!(directory.delete(&format!("/directory/deletedItems/{}", application.id)).await, 204);
    assert!(directory.ids(PRINCIPALS).await.is_empty(), "its principal is gone with it");
}

#[tokio::test]
async fn a_restored_principal_is_the_only_one_of_its_application() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    let former = &application.principal;
    assert_eq!(directory.delete(&format!("/servicePrincipals/{former}")).await, 204);
    let body = json!({ "appId": application.client });
    let second = directory.make("/servicePrincipals", body).await["id"].clone();
    let (status, refused) = restore(&directory, former).await;
    assert_eq!((status, code(&refused)), (409, "Request_MultipleObjectsWithSameKeyValue"));
    let second = format!("/servicePrincipals/{}", second.as_str().unwrap());
    assert_eq!(directory.delete(&second).await, 204);
    assert_eq!(restore(&directory, former).await.0, 200);
    assert_eq!(directory.get(&format!("/servicePrincipals/{former}")).await.0, 200);

    // Only the principal that went with the application comes back with it.
    assert_eq!(directory.delete(&format!("/servicePrincipals/{former}")).await, 204);
    cloud.clock.advance(time::Duration::minutes(1));
    assert_eq!(directory.delete(&format!("/applications/{}", application.id)).await, 204);
    assert_eq!(restore(&directory, &application.id).await.0, 200);
    assert_eq!(directory.get(&format!("/servicePrincipals/{former}")).await.0, 404);
}

/// azure-semantics 38
#[tokio::test]
async fn what_was_deleted_is_gone_after_thirty_days() {
    let turnable_clock = Some(Arc::new(TurnableClock::default()));
    let cloud = Cloud::start_with(Choice { turnable_clock, ..Choice::default() }).await;
    let advance = async |days: i64| {
        let client = cloud.client.clone();
        let administration = Administration::sign_in(client, cloud.description()).await.unwrap();
        let path = "/providers/Keycard.Local/advanceClock";
        let body = Some(json!({ "seconds": days * 24 * 3600 }));
        let token = Some(administration.token());
        let answer = cloud.arm(token, Method::POST, path, "2026-11-01", body).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    };
    let directory = Directory::of(&cloud).await;
    let application = directory.application("orders").await;
    assert_eq!(directory.delete(&format!("/applications/{}", application.id)).await, 204);
    for (days, expected) in [(29, 1), (1, 0)] {
        advance(days).await;
        let directory = Directory::of(&cloud).await;
        assert_eq!(directory.ids(APPLICATIONS).await.len(), expected, "{days}");
        assert_eq!(directory.ids(PRINCIPALS).await.len(), expected, "{days}");
    }
}
