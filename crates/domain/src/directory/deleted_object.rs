//! Service principals and applications that were deleted: kept for a while to be seen, and restored where that is possible.
//!
//! Source: Microsoft Graph, "List deletedItems (directory objects)".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::UtcDateTime;
use uuid::Uuid;

use super::application::registration::{UriTaken, check_client_names, claim_uris};
use super::{Application, ServicePrincipal, federated_credential};
use crate::ids::{ClientId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::records::{Record, Versioned};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// An object that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedObject {
    /// Unix seconds.
    pub deleted_at: i64,
    /// What it was.
    pub object: FormerObject,
}

/// An object as it was when it was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FormerObject {
    /// A service principal.
    ServicePrincipal(ServicePrincipal),
    /// An application.
    Application(Application),
}

impl FormerObject {
    /// The object's id.
    pub fn id(&self) -> Uuid {
        match self {
            Self::ServicePrincipal(principal) => *principal.id.as_uuid(),
            Self::Application(application) => *application.id.as_uuid(),
        }
    }

    /// Its client id.
    pub fn client_id(&self) -> ClientId {
        match self {
            Self::ServicePrincipal(principal) => principal.client_id,
            Self::Application(application) => application.client_id,
        }
    }

    /// The directory that it belonged to.
    pub fn tenant_id(&self) -> TenantId {
        match self {
            Self::ServicePrincipal(principal) => principal.tenant_id,
            Self::Application(application) => application.tenant_id,
        }
    }
}

impl Record for DeletedObject {
    const KIND: &'static str = "deleted-objects";

    fn record_id(&self) -> String {
        self.object.id().to_string()
    }
}

/// Why something is refused at a deleted object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeletedObjectError {
    /// There is no such deleted object in this directory.
    #[error("deleted object {0} does not exist")]
    NotFound(Uuid),
    /// The resource that the identity belonged to is gone.
    #[error("{0} was the principal of a managed identity")]
    ManagedIdentity(Uuid),
    /// The application of the service principal is not there.
    #[error("application {0} does not exist")]
    ApplicationNotFound(ClientId),
    /// The application has another service principal by now.
    #[error("application {0} has a service principal")]
    PrincipalExists(ClientId),
    /// Another application has the name by now.
    #[error("`{0}` names something else by now")]
    IdentifierUriTaken(String),
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Keeps what an object was that is being deleted.
pub(super) fn keep(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    object: FormerObject,
) {
    let deleted_at = operation.now.unix_timestamp();
    changes.put(snapshot, &DeletedObject { deleted_at, object });
}

/// The deleted objects of a directory.
pub fn list(
    snapshot: &Snapshot,
    tenant: TenantId,
) -> impl Iterator<Item = &Versioned<DeletedObject>> {
    let all = snapshot.deleted_objects.iter().map(|(_, deleted)| deleted);
    all.filter(move |deleted| deleted.object.tenant_id() == tenant)
}

/// The directory's deleted object with this id.
pub fn find(
    snapshot: &Snapshot,
    tenant: TenantId,
    id: Uuid,
) -> Result<&Versioned<DeletedObject>, DeletedObjectError> {
    let found = snapshot.deleted_objects.get(&id.to_string());
    found
        .filter(|deleted| deleted.object.tenant_id() == tenant)
        .ok_or(DeletedObjectError::NotFound(id))
}

/// Brings an object back: an application with the service principal that went with it, or a service principal whose
/// application is there. Its role assignments count again; memberships, app roles and links to policies are gone, and so
/// are the tokens that it had.
pub async fn restore(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: Uuid,
) -> Result<FormerObject, DeletedObjectError> {
    state
        .transact(operation, |snapshot, changes| {
            let deleted = find(snapshot, tenant, id)?;
            match &deleted.object {
                FormerObject::ServicePrincipal(principal) => {
                    restore_principal(snapshot, changes, principal, operation.now)?;
                }
                FormerObject::Application(application) => {
                    restore_application(snapshot, changes, deleted, application, operation.now)?;
                }
            }
            changes.delete(snapshot, deleted.record.as_ref());
            Ok(deleted.object.clone())
        })
        .await
}

fn restore_principal(
    snapshot: &Snapshot,
    changes: &mut Changes,
    principal: &ServicePrincipal,
    now: UtcDateTime,
) -> Result<(), DeletedObjectError> {
    let client = principal.client_id;
    if principal.identity_resource().is_some() {
        return Err(DeletedObjectError::ManagedIdentity(*principal.id.as_uuid()));
    }
    let application = snapshot
        .application_of_client(client)
        .filter(|application| application.tenant_id == principal.tenant_id)
        .ok_or(DeletedObjectError::ApplicationNotFound(client))?;
    if snapshot.service_principal_of_client(client).is_some() {
        return Err(DeletedObjectError::PrincipalExists(client));
    }
    let display_name = application.display_name.clone();
    // Written as it is: whoever deletes the application or makes another principal at the same time finds it changed.
    changes.put(snapshot, application.record.as_ref());
    changes.put(snapshot, &ServicePrincipal { display_name, ..principal.with_tokens_revoked(now) });
    Ok(())
}

fn restore_application(
    snapshot: &Snapshot,
    changes: &mut Changes,
    deleted: &DeletedObject,
    application: &Application,
    now: UtcDateTime,
) -> Result<(), DeletedObjectError> {
    check_client_names(snapshot, application)
        .and_then(|()| claim_uris(snapshot, changes, application, &[]))
        .map_err(|UriTaken(uri)| DeletedObjectError::IdentifierUriTaken(uri))?;
    changes.put(snapshot, application);
    let went_along = list(snapshot, application.tenant_id).find_map(|other| {
        let is_same = other.object.client_id() == application.client_id;
        let principal = match &other.object {
            FormerObject::ServicePrincipal(principal) => Some(principal),
            FormerObject::Application(_) => None,
        };
        let is_same = is_same && other.deleted_at == deleted.deleted_at;
        principal.filter(|_| is_same).map(|principal| (other, principal))
    });
    if let Some((other, principal)) = went_along {
        changes.delete(snapshot, other.record.as_ref());
        changes.put(snapshot, &principal.with_tokens_revoked(now));
    }
    Ok(())
}

/// Removes a deleted object for good, an application with its former service principals.
pub async fn purge(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: Uuid,
) -> Result<(), DeletedObjectError> {
    state
        .transact(operation, |snapshot, changes| {
            let deleted = find(snapshot, tenant, id)?;
            forget(snapshot, changes, deleted);
            if let FormerObject::Application(application) = &deleted.object {
                let client = application.client_id;
                let same = list(snapshot, tenant).filter(|it| it.object.client_id() == client);
                same.for_each(|it| changes.delete(snapshot, it.record.as_ref()));
            }
            Ok(())
        })
        .await
}

/// Removes the objects whose time is over, and each directory's earliest beyond the number that is kept.
pub(crate) async fn purge_outlived(
    state: &State,
    operation: &OperationContext,
) -> Result<(), WriteError> {
    let horizon = operation.now - limits::DELETED_OBJECT_RETENTION;
    let horizon = horizon.unix_timestamp();
    let mut ids = outlived(&state.snapshot(), horizon, limits::DELETED_OBJECTS_KEPT_MAX);
    while !ids.is_empty() {
        let batch =
            ids.split_off(ids.len().saturating_sub(limits::DELETED_OBJECTS_PURGED_PER_COMMIT));
        state
            .transact(operation, |snapshot, changes| {
                let found = batch.iter().filter_map(|id| snapshot.deleted_objects.get(id));
                found.for_each(|deleted| forget(snapshot, changes, deleted));
                Ok::<(), WriteError>(())
            })
            .await?;
    }
    Ok(())
}

/// Removes an object for good, and what was kept for its restoration.
fn forget(snapshot: &Snapshot, changes: &mut Changes, deleted: &DeletedObject) {
    changes.delete(snapshot, deleted);
    if let FormerObject::Application(application) = &deleted.object {
        federated_credential::remove_credentials_of(snapshot, changes, application.client_id);
    }
}

fn outlived(snapshot: &Snapshot, horizon: i64, kept_max: usize) -> Vec<String> {
    let mut of_tenants: BTreeMap<TenantId, Vec<(i64, &str)>> = BTreeMap::new();
    for (id, deleted) in snapshot.deleted_objects.iter() {
        let tenant = deleted.object.tenant_id();
        of_tenants.entry(tenant).or_default().push((deleted.deleted_at, id));
    }
    let mut over = Vec::new();
    for mut dated in of_tenants.into_values() {
        dated.sort_unstable();
        let surplus = dated.len().saturating_sub(kept_max);
        let outdated = dated.partition_point(|(deleted_at, _)| *deleted_at <= horizon);
        over.extend(dated.iter().take(surplus.max(outdated)).map(|(_, id)| (*id).to_owned()));
    }
    over
}

#[cfg(test)]
mod tests {
    use super::super::application::TokenVersion;
    use super::super::federated_credential::{FederatedCredential, SubjectRule, Trust};
    use super::*;
    use crate::ids::{ApplicationId, FederatedCredentialId};

    fn application(n: u128) -> Application {
        Application {
            id: ApplicationId::new(Uuid::from_u128(n)),
            client_id: ClientId::new(Uuid::from_u128(n)),
            tenant_id: TenantId::new(Uuid::nil()),
            display_name: "a".into(),
            created_at: 0,
            passwords: vec![],
            keys: vec![],
            identifier_uris: vec![],
            app_roles: vec![],
            accepted_token_version: TokenVersion::V1,
            wants_group_claims: false,
        }
    }

    #[test]
    fn an_object_is_kept_for_thirty_days_and_not_longer() {
        let mut snapshot = Snapshot::default();
        for (n, deleted_at) in [(1, 100), (2, 101), (3, 90)] {
            let object = FormerObject::Application(application(n));
            snapshot.insert_for_test(&DeletedObject { deleted_at, object });
        }
        let id = |n| Uuid::from_u128(n).to_string();
        assert_eq!(outlived(&snapshot, 100, 10), [id(3), id(1)]);
        assert_eq!(outlived(&snapshot, 89, 10), Vec::<String>::new());
        assert_eq!(limits::DELETED_OBJECT_RETENTION, time::Duration::days(30));
    }

    #[test]
    fn a_directory_that_deletes_many_displaces_only_its_own() {
        let mut snapshot = Snapshot::default();
        for (n, tenant, deleted_at) in [(1, 7, 1), (2, 8, 2), (3, 8, 3), (4, 8, 4)] {
            let tenant_id = TenantId::new(Uuid::from_u128(tenant));
            let object = FormerObject::Application(Application { tenant_id, ..application(n) });
            snapshot.insert_for_test(&DeletedObject { deleted_at, object });
        }
        assert_eq!(outlived(&snapshot, 0, 1), [2, 3].map(|n| Uuid::from_u128(n).to_string()));
    }

    #[test]
    fn what_was_kept_for_a_restoration_goes_with_the_object() {
        let mut snapshot = Snapshot::default();
        for client in [1, 2] {
            snapshot.insert_for_test(&FederatedCredential {
                id: FederatedCredentialId::new(Uuid::from_u128(client + 100)),
                tenant_id: TenantId::new(Uuid::nil()),
                client_id: ClientId::new(Uuid::from_u128(client)),
                name: "main".into(),
                description: None,
                trust: Trust {
                    issuer: "https://issuer.example".into(),
                    subject: SubjectRule::Exact("s".into()),
                    audience: "a".into(),
                },
            });
        }
        let object = FormerObject::Application(application(1));
        let deleted = DeletedObject { deleted_at: 0, object };
        snapshot.insert_for_test(&deleted);
        let mut changes = Changes::default();
        forget(&snapshot, &mut changes, &deleted);
        let written = format!("{changes:?}");
        let deletions = |of: &str| written.matches(&format!("Delete(state/{of}/")).count();
        assert_eq!((deletions("federated-credentials"), deletions("deleted-objects")), (1, 1));
    }
}
