//! The objects of the directory as Graph writes them.
//!
//! Source: Microsoft Graph REST API v1.0, "group", "application" and "servicePrincipal" resource types.

use std::sync::Arc;

use keycard_crypto::encoding;
use keycard_domain::credential::{IdentityCredential, credentials_of};
use keycard_domain::directory::Application;
use keycard_domain::directory::application::credential::MadePassword;
use keycard_domain::directory::application::{
    AppRole, KeyCredential, PasswordCredential, TokenVersion, registration,
};
use keycard_domain::directory::group::{self, DirectoryObject, Group};
use keycard_domain::directory::service_principal::{
    ServicePrincipal, ServicePrincipalKind, automatic_key_id,
};
use keycard_domain::ids::{ApplicationId, PrincipalId, TenantId};
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::snapshot::Snapshot;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Base;
use super::body::date;

pub(super) fn group_json(group: &Group) -> Value {
    json!({
        "id": group.id,
        "deletedDateTime": null,
        "createdDateTime": date(group.created_at),
        "description": group.description,
        "displayName": group.display_name,
        "groupTypes": [],
        "mail": null,
        "mailEnabled": false,
        "mailNickname": group.mail_nickname,
        "securityEnabled": true,
    })
}

/// `isExplicit` tells user-assigned from system-assigned; the second name is the resource's id.
fn alternative_names(principal: &ServicePrincipal) -> Vec<String> {
    let name = |id: &ArmResourceId| id.with_lowercase_group_segment();
    match &principal.kind {
        ServicePrincipalKind::SystemAssigned(id) => vec!["isExplicit=False".to_owned(), name(id)],
        ServicePrincipalKind::UserAssigned(id) => vec!["isExplicit=True".to_owned(), name(id)],
        ServicePrincipalKind::Application => Vec::new(),
    }
}

/// `ManagedIdentity` or `Application`.
pub(super) const fn principal_type(principal: &ServicePrincipal) -> &'static str {
    match principal.kind {
        ServicePrincipalKind::SystemAssigned(_) | ServicePrincipalKind::UserAssigned(_) => {
            "ManagedIdentity"
        }
        ServicePrincipalKind::Application => "Application",
    }
}

/// The public side of a credential that a host has.
fn host_key_json(principal: &ServicePrincipal, credential: &IdentityCredential) -> Value {
    json!({
        "customKeyIdentifier": encoding::hex_encode(&credential.sha1).to_uppercase(),
        "displayName": format!("CN={}, DC={}", principal.client_id, principal.tenant_id),
        "startDateTime": date(credential.not_before),
        "endDateTime": date(credential.not_after),
        "key": null,
        "keyId": automatic_key_id(credential),
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
    })
}

/// The public side of a certificate that an administrator brought.
fn key_json(key: &KeyCredential) -> Value {
    json!({
        "customKeyIdentifier": encoding::hex_encode(&key.sha1).to_uppercase(),
        "displayName": key.display_name,
        "startDateTime": date(key.starts_at),
        "endDateTime": key.expires_at.and_then(date),
        "key": null,
        "keyId": key.key_id,
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
    })
}

/// What is shown of a client secret: everything but the secret.
fn password_json(password: &PasswordCredential) -> Value {
    json!({
        "customKeyIdentifier": null,
        "displayName": password.display_name,
        "startDateTime": date(password.starts_at),
        "endDateTime": password.expires_at.and_then(date),
        "hint": password.hint,
        "keyId": password.key_id,
        "secretText": null,
    })
}

/// A new client secret: the only answer that ever holds it.
pub(super) fn made_password_json(base: &Base, made: &MadePassword) -> Value {
    let mut body = password_json(&made.credential);
    if let Some(members) = body.as_object_mut() {
        let context = base.context("microsoft.graph.passwordCredential");
        members.insert("@odata.context".to_owned(), json!(context));
        members.insert("secretText".to_owned(), json!(made.secret.expose()));
    }
    body
}

fn role_json(role: &AppRole) -> Value {
    json!({
        "id": role.id,
        "allowedMemberTypes": role.allowed_member_types,
        "description": role.description,
        "displayName": role.display_name,
        "isEnabled": role.is_enabled,
        "origin": "Application",
        "value": role.value,
    })
}

pub(super) fn application_json(application: &Application) -> Value {
    let version = match application.accepted_token_version {
        TokenVersion::V1 => None,
        TokenVersion::V2 => Some(2),
    };
    json!({
        "id": application.id,
        "deletedDateTime": null,
        "api": {
            "acceptMappedClaims": null,
            "knownClientApplications": [],
            "oauth2PermissionScopes": [],
            "preAuthorizedApplications": [],
            "requestedAccessTokenVersion": version,
        },
        "appId": application.client_id,
        "appRoles": application.app_roles.iter().map(role_json).collect::<Vec<_>>(),
        "createdDateTime": date(application.created_at),
        "description": null,
        "displayName": application.display_name,
        "groupMembershipClaims": application.wants_group_claims.then_some("SecurityGroup"),
        "identifierUris": application.identifier_uris,
        "keyCredentials": application.keys.iter().map(key_json).collect::<Vec<_>>(),
        "passwordCredentials": application.passwords.iter().map(password_json).collect::<Vec<_>>(),
        "publicClient": { "redirectUris": [] },
        "publisherDomain": null,
        "requiredResourceAccess": [],
        "signInAudience": "AzureADMyOrg",
        "spa": { "redirectUris": [] },
        "tags": [],
        "web": { "redirectUris": [] },
    })
}

pub(super) fn principal_json(snapshot: &Snapshot, principal: &ServicePrincipal) -> Value {
    let application = snapshot.application_of_client(principal.client_id);
    let application = application.map(|application| application.record.as_ref());
    let hosts = credentials_of(snapshot, principal.id);
    let keys: Vec<Value> = hosts
        .map(|credential| host_key_json(principal, credential))
        .chain(principal.keys.iter().map(key_json))
        .collect();
    let uris = application.map(|it| it.identifier_uris.clone()).unwrap_or_default();
    let mut names = vec![principal.client_id.to_string()];
    names.extend(uris);
    let roles = application.map(|it| it.app_roles.as_slice()).unwrap_or_default();
    // Differs from Azure: a service principal and its application have the same secrets.
    let passwords = application.map(|it| it.passwords.as_slice()).unwrap_or_default();
    json!({
        "id": principal.id,
        "deletedDateTime": null,
        "accountEnabled": principal.is_enabled,
        "alternativeNames": alternative_names(principal),
        "appDisplayName": principal.display_name,
        "appId": principal.client_id,
        "appOwnerOrganizationId": principal.tenant_id,
        "appRoleAssignmentRequired": principal.requires_assignment,
        "appRoles": roles.iter().map(role_json).collect::<Vec<_>>(),
        "createdDateTime": date(principal.created_at),
        "displayName": principal.display_name,
        "keyCredentials": keys,
        "oauth2PermissionScopes": [],
        "passwordCredentials": passwords.iter().map(password_json).collect::<Vec<_>>(),
        "servicePrincipalNames": names,
        "servicePrincipalType": principal_type(principal),
        "tags": [],
    })
}

/// An object of the directory, of whatever type.
#[derive(Clone, Debug)]
pub(super) enum AnyObject {
    /// A group or a service principal.
    Directory(DirectoryObject),
    /// An application.
    Application(Arc<Application>),
}

/// The directory's object with this id.
pub(super) fn any_object(snapshot: &Snapshot, tenant: TenantId, id: Uuid) -> Option<AnyObject> {
    if let Some(object) = group::object(snapshot, tenant, PrincipalId::new(id)) {
        return Some(AnyObject::Directory(object));
    }
    let application = registration::find(snapshot, tenant, ApplicationId::new(id)).ok()?;
    Some(AnyObject::Application(Arc::clone(&application.record)))
}

/// An object among others, which says of what type it is.
pub(super) fn typed(kind: &str, mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        members.insert("@odata.type".to_owned(), json!(format!("#microsoft.graph.{kind}")));
    }
    body
}

pub(super) fn any_object_json(snapshot: &Snapshot, object: &AnyObject) -> Value {
    match object {
        AnyObject::Directory(object) => object_json(snapshot, object),
        AnyObject::Application(application) => typed("application", application_json(application)),
    }
}

pub(super) fn object_json(snapshot: &Snapshot, object: &DirectoryObject) -> Value {
    match object {
        DirectoryObject::Group(group) => typed("group", group_json(group)),
        DirectoryObject::ServicePrincipal(principal) => {
            typed("servicePrincipal", principal_json(snapshot, principal))
        }
    }
}
