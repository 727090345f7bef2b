//! Microsoft Graph: app roles of applications, and who was given them.

use http::Method;
use serde_json::{Value, json};

use crate::graph::{Application, Directory, code, vm};
use crate::harness::Cloud;

const READ: &str = "aaaaaaaa-0000-0000-0000-000000000001";
const WRITE: &str = "aaaaaaaa-0000-0000-0000-000000000002";
const DEFAULT: &str = "00000000-0000-0000-0000-000000000000";
const NOBODY: &str = "99999999-9999-9999-9999-999999999999";

fn role(id: &str, value: &str, is_enabled: bool) -> Value {
    json!({
        "id": id, "value": value, "displayName": value, "description": value,
        "isEnabled": is_enabled, "allowedMemberTypes": ["Application"], "origin": "Application",
    })
}

async fn orders(directory: &Directory<'_>) -> Application {
    let application = directory.application("orders").await;
    let roles = json!({ "appRoles": [role(READ, "Orders.Read", true), role(WRITE, "Orders.Write", false)] });
    let path = format!("/applications/{}", application.id);
    assert_eq!(directory.patch(&path, roles).await.0, 204);
    application
}

fn assignment(principal: &str, resource: &str, role: &str) -> Value {
    json!({ "principalId": principal, "resourceId": resource, "appRoleId": role })
}

#[tokio::test]
async fn a_role_is_given_and_taken_from_every_side() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let resource = orders(&directory).await.principal;
    let principal = vm(&cloud, "vm1").await;
    let group = directory.group("readers").await;
    let given = format!("/servicePrincipals/{resource}/appRoleAssignedTo");
    for (side, holder, kind, name) in [
        (
            format!("/servicePrincipals/{principal}/appRoleAssignments"),
            &principal,
            "ServicePrincipal",
            "vm1",
        ),
        (format!("/groups/{group}/appRoleAssignments"), &group, "Group", "readers"),
    ] {
        let body = assignment(holder, &resource, READ);
        let made = directory.make(&side, body.clone()).await;
        assert_eq!(
            (&made["principalType"], &made["principalDisplayName"]),
            (&json!(kind), &json!(name))
        );
        assert_eq!(
            (&made["resourceDisplayName"], &made["appRoleId"]),
            (&json!("orders"), &json!(READ))
        );
        let id = made["id"].as_str().unwrap();
        assert_eq!(directory.ids(&side).await, [id]);
        assert_eq!(directory.ids(&given).await, [id]);
        let (status, twice) = directory.send(Method::POST, &given, Some(body.clone())).await;
        assert_eq!(
            (status, &twice["error"]["message"]),
            (400, &json!("Permission being assigned already exists on the object."))
        );
        assert_eq!(directory.delete(&format!("{side}/{id}")).await, 204);
        assert_eq!(directory.delete(&format!("{side}/{id}")).await, 404);
        let made = directory.make(&given, body).await;
        let id = made["id"].as_str().unwrap();
        assert_eq!(directory.delete(&format!("{given}/{id}")).await, 204);
        assert!(directory.ids(&side).await.is_empty());
    }
}

#[tokio::test]
async fn only_a_role_that_is_there_can_be_given() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let resource = orders(&directory).await.principal;
    let bare = directory.application("bare").await.principal;
    let (own, other) = (vm(&cloud, "vm1").await, vm(&cloud, "vm2").await);
    let path = format!("/servicePrincipals/{own}/appRoleAssignments");
    for (body, expected) in [
        (assignment(&own, &resource, WRITE), 400),
        (assignment(&own, &resource, DEFAULT), 400),
        (assignment(&own, &resource, NOBODY), 400),
        (assignment(&own, &resource, "x"), 400),
        (assignment(&own, NOBODY, READ), 404),
        (assignment(&own, &other, DEFAULT), 404),
        (assignment(&other, &resource, READ), 400),
        (json!({ "principalId": own, "resourceId": resource, "appRoleId": READ, "x": 1 }), 400),
        (
            json!({ "principalId": own, "resourceId": resource, "appRoleId": READ, "principalType": "User" }),
            400,
        ),
    ] {
        let (status, refused) = directory.send(Method::POST, &path, Some(body.clone())).await;
        assert_eq!(status, expected, "{body}: {refused}");
        assert!(!code(&refused).is_empty());
    }
    directory.make(&path, assignment(&own, &bare, DEFAULT)).await;
    let missing = format!("/servicePrincipals/{NOBODY}/appRoleAssignments");
    let body = assignment(NOBODY, &resource, READ);
    assert_eq!(directory.send(Method::POST, &missing, Some(body)).await.0, 404);
}

#[tokio::test]
async fn a_role_goes_when_it_is_disabled_and_its_assignments_with_it() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = orders(&directory).await;
    let principal = vm(&cloud, "vm1").await;
    let own = format!("/servicePrincipals/{principal}/appRoleAssignments");
    directory.make(&own, assignment(&principal, &application.principal, READ)).await;
    let path = format!("/applications/{}", application.id);
    let (status, refused) = directory.patch(&path, json!({ "appRoles": [] })).await;
    assert_eq!((status, code(&refused)), (400, "CannotDeleteOrUpdateEnabledEntitlement"));
    let disabled = json!({ "appRoles": [role(READ, "Orders.Read", false)] });
    assert_eq!(directory.patch(&path, disabled).await.0, 204);
    assert_eq!(directory.ids(&own).await.len(), 1);
    assert_eq!(directory.patch(&path, json!({ "appRoles": [] })).await.0, 204);
    assert_eq!(directory.ids(&own).await.len(), 0);
}

#[tokio::test]
async fn no_assignment_outlives_its_principal_its_group_or_its_application() {
    let cloud = Cloud::start().await;
    let directory = Directory::of(&cloud).await;
    let application = orders(&directory).await;
    let resource = &application.principal;
    let given = format!("/servicePrincipals/{resource}/appRoleAssignedTo");
    let principal = vm(&cloud, "vm1").await;
    let group = directory.group("readers").await;
    directory.make(&given, assignment(&principal, resource, READ)).await;
    directory.make(&given, assignment(&group, resource, READ)).await;
    assert_eq!(directory.ids(&given).await.len(), 2);
    cloud.admin(Method::DELETE, &cloud.vm_id("vm1"), "2024-07-01", None).await;
    assert_eq!(directory.ids(&given).await.len(), 1);
    assert_eq!(directory.delete(&format!("/groups/{group}")).await, 204);
    assert_eq!(directory.ids(&given).await.len(), 0);

    // Given and gone at the same time, whichever comes first: nothing is left.
    for round in 0..8 {
        let holder = directory.group(&format!("group {round}")).await;
        let path = format!("/groups/{holder}");
        let ((made, _), deleted) = tokio::join!(
            directory.send(Method::POST, &given, Some(assignment(&holder, resource, READ))),
            directory.delete(&path)
        );
        assert!(matches!((made, deleted), (201 | 404, 204)), "{made} {deleted}");
        assert_eq!(directory.ids(&given).await.len(), 0);
    }
    let principal = vm(&cloud, "vm2").await;
    let own = format!("/servicePrincipals/{principal}/appRoleAssignments");
    directory.make(&own, assignment(&principal, resource, READ)).await;
    assert_eq!(directory.delete(&format!("/applications/{}", application.id)).await, 204);
    assert_eq!(directory.ids(&own).await.len(), 0);
}
