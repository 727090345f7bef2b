//! A service principal: what a role is given to, and what a token speaks for.
//!
//! That of a managed identity comes and goes with its resource; that of an application is made and deleted by hand.
//! Source: Microsoft Graph, "servicePrincipal resource type".

use serde::{Deserialize, Serialize};
use time::UtcDateTime;
use uuid::Uuid;

use super::application::credential::{CredentialError, KeyEntry, replace_keys};
use super::application::{Application, KeyCredential};
use super::directory_role::administers;
use super::user_assigned_identity::remove_principal;
use crate::credential::{IdentityCredential, credentials_of};
use crate::ids::{ApplicationId, ClientId, KeyId, PrincipalId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::records::{Record, Versioned};
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// What a service principal stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServicePrincipalKind {
    /// The system-assigned identity of this resource.
    SystemAssigned(ArmResourceId),
    /// The user-assigned identity with this id.
    UserAssigned(ArmResourceId),
    /// An application that holds credentials of its own.
    Application,
}

/// A principal in exactly one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePrincipal {
    /// The claim `oid`.
    pub id: PrincipalId,
    /// The claim `appid`.
    pub client_id: ClientId,
    /// The tenant it belongs to.
    pub tenant_id: TenantId,
    /// The name of the identity, host resource or application.
    pub display_name: String,
    /// What it stands for.
    pub kind: ServicePrincipalKind,
    /// Whether it may be given tokens, and its tokens count.
    pub is_enabled: bool,
    /// Unix seconds.
    pub created_at: i64,
    /// Certificates that an administrator brought, besides the credentials that its hosts have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyCredential>,
    /// Whether only those who were given one of its app roles get tokens for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_assignment: bool,
    /// Unix seconds: tokens that were issued before count no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_valid_from: Option<i64>,
}

impl Record for ServicePrincipal {
    const KIND: &'static str = "service-principals";

    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

impl ServicePrincipal {
    /// The second, since 1970, of which a token is that is issued now: times in tokens are whole seconds, so that after a
    /// revocation in this very second it is the next one.
    pub fn second_of_issue(&self, now: UtcDateTime) -> i64 {
        let earliest = self.tokens_valid_from.map_or(i64::MIN, |from| from + 1);
        now.unix_timestamp().max(earliest)
    }

    /// In how many seconds a token can be issued again that verifiers take, when revocations lie too close to each other.
    pub fn issues_again_in(&self, now: UtcDateTime) -> Option<u32> {
        let ahead = self.second_of_issue(now) - now.unix_timestamp();
        let excess = ahead - limits::REVOKED_AHEAD_MAX.whole_seconds();
        (excess > 0).then(|| u32::try_from(excess).unwrap_or(u32::MAX))
    }

    /// The principal once all tokens that it has are revoked, each time those of a further second. When none can have been
    /// issued since the last time, nothing changes.
    pub(super) fn with_tokens_revoked(&self, now: UtcDateTime) -> Self {
        let mut revoked = self.clone();
        if self.issues_again_in(now).is_none() {
            revoked.tokens_valid_from = Some(self.second_of_issue(now));
        }
        revoked
    }

    /// The managed identity's own resource id: the host's for a system-assigned one.
    pub fn identity_resource(&self) -> Option<&ArmResourceId> {
        match &self.kind {
            ServicePrincipalKind::SystemAssigned(id) | ServicePrincipalKind::UserAssigned(id) => {
                Some(id)
            }
            ServicePrincipalKind::Application => None,
        }
    }
}

/// Why something is refused at a service principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServicePrincipalError {
    /// There is no such service principal in this directory.
    #[error("service principal {0} does not exist")]
    NotFound(PrincipalId),
    /// There is no such application in this directory.
    #[error("application {0} does not exist")]
    ApplicationNotFound(ClientId),
    /// The application has a service principal.
    #[error("application {0} has a service principal")]
    Exists(ClientId),
    /// That of a managed identity goes with its resource only.
    #[error("{0} is of a managed identity")]
    ManagedIdentity(PrincipalId),
    /// A system-assigned identity has the certificates of its resource only.
    #[error("{0} is of a system-assigned identity")]
    SystemAssigned(PrincipalId),
    /// Secrets are of applications, and it has none.
    #[error("{0} has no application")]
    NoApplication(PrincipalId),
    /// Without it nobody could administer the directory any more.
    #[error("{0} administers the directory")]
    Administers(PrincipalId),
    /// A certificate is refused.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What is to be different; what is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ServicePrincipalChange {
    /// Whether it may be given tokens.
    pub is_enabled: Option<bool>,
    /// Whether only those who were given one of its app roles get tokens for it.
    pub requires_assignment: Option<bool>,
    /// The certificates that an administrator brought.
    pub keys: Option<Vec<KeyEntry>>,
}

/// Makes the service principal of an application.
pub async fn create(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    client: ClientId,
    change: &ServicePrincipalChange,
) -> Result<ServicePrincipal, ServicePrincipalError> {
    state
        .transact(operation, |snapshot, changes| {
            let application = snapshot
                .application_of_client(client)
                .filter(|application| application.tenant_id == tenant)
                .ok_or(ServicePrincipalError::ApplicationNotFound(client))?;
            if snapshot.service_principal_of_client(client).is_some() {
                return Err(ServicePrincipalError::Exists(client));
            }
            let name = format!("service-principals/{client}");
            let made = count_made(snapshot, changes, name.clone());
            let mut principal = ServicePrincipal {
                id: PrincipalId::new(state.entropy.id_for(&format!("{name}/{made}"))),
                client_id: client,
                tenant_id: tenant,
                display_name: application.display_name.clone(),
                kind: ServicePrincipalKind::Application,
                is_enabled: true,
                created_at: operation.now.unix_timestamp(),
                keys: Vec::new(),
                requires_assignment: false,
                tokens_valid_from: None,
            };
            apply(state, snapshot, operation, &mut principal, change)?;
            // Written as it is: whoever deletes the application at the same time finds it changed, and sees the principal.
            changes.put::<Application>(snapshot, application.record.as_ref());
            changes.put(snapshot, &principal);
            Ok(principal)
        })
        .await
}

/// Changes a service principal.
pub async fn update(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: PrincipalId,
    change: &ServicePrincipalChange,
) -> Result<(), ServicePrincipalError> {
    state
        .transact(operation, |snapshot, changes| {
            let found = find(snapshot, tenant, id).ok_or(ServicePrincipalError::NotFound(id))?;
            let mut principal = found.record.as_ref().clone();
            if change.is_enabled == Some(false) && administers(snapshot, tenant, id) {
                return Err(ServicePrincipalError::Administers(id));
            }
            apply(state, snapshot, operation, &mut principal, change)?;
            changes.put(snapshot, &principal);
            Ok(())
        })
        .await
}

fn apply(
    state: &State,
    snapshot: &Snapshot,
    operation: &OperationContext,
    principal: &mut ServicePrincipal,
    change: &ServicePrincipalChange,
) -> Result<(), ServicePrincipalError> {
    principal.is_enabled = change.is_enabled.unwrap_or(principal.is_enabled);
    principal.requires_assignment =
        change.requires_assignment.unwrap_or(principal.requires_assignment);
    if let Some(entries) = &change.keys {
        if matches!(principal.kind, ServicePrincipalKind::SystemAssigned(_)) {
            return Err(ServicePrincipalError::SystemAssigned(principal.id));
        }
        let brought = without_automatic(snapshot, principal.id, entries);
        let now = operation.now.unix_timestamp();
        let new_id = || KeyId::new(state.entropy.uuid());
        principal.keys = replace_keys(&principal.keys, &brought, now, new_id)?;
    }
    Ok(())
}

/// The entries of a list that mean certificates an administrator brought: the credentials that hosts have are listed with
/// them, and are renewed and removed by nobody's hand.
fn without_automatic(snapshot: &Snapshot, id: PrincipalId, entries: &[KeyEntry]) -> Vec<KeyEntry> {
    let automatic: Vec<KeyId> =
        credentials_of(snapshot, id).map(|credential| automatic_key_id(credential)).collect();
    let is_automatic = |entry: &&KeyEntry| {
        entry.certificate.is_none() && entry.key_id.is_some_and(|id| automatic.contains(&id))
    };
    entries.iter().filter(|entry| !is_automatic(entry)).cloned().collect()
}

/// The id under which a host's credential is listed: the beginning of its certificate's digest.
pub fn automatic_key_id(credential: &IdentityCredential) -> KeyId {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = credential.sha256;
    KeyId::new(Uuid::from_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]))
}

/// Deletes the service principal of an application, which is kept for a while.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: PrincipalId,
) -> Result<(), ServicePrincipalError> {
    state
        .transact(operation, |snapshot, changes| {
            let found = find(snapshot, tenant, id).ok_or(ServicePrincipalError::NotFound(id))?;
            if found.identity_resource().is_some() {
                return Err(ServicePrincipalError::ManagedIdentity(id));
            }
            if administers(snapshot, tenant, id) {
                return Err(ServicePrincipalError::Administers(id));
            }
            remove_principal(snapshot, changes, operation, id);
            Ok(())
        })
        .await
}

/// The directory's service principal with this id.
pub fn find(
    snapshot: &Snapshot,
    tenant: TenantId,
    id: PrincipalId,
) -> Option<&Versioned<ServicePrincipal>> {
    snapshot.service_principal(id).filter(|principal| principal.tenant_id == tenant)
}

/// The application that a service principal stands for.
pub fn application_of(
    snapshot: &Snapshot,
    principal: &ServicePrincipal,
) -> Result<ApplicationId, ServicePrincipalError> {
    snapshot
        .application_of_client(principal.client_id)
        .filter(|application| application.tenant_id == principal.tenant_id)
        .map(|application| application.id)
        .ok_or(ServicePrincipalError::NoApplication(principal.id))
}

/// The service principals of a directory.
pub fn list(
    snapshot: &Snapshot,
    tenant: TenantId,
) -> impl Iterator<Item = &Versioned<ServicePrincipal>> {
    let all = snapshot.service_principals.iter().map(|(_, principal)| principal);
    all.filter(move |principal| principal.tenant_id == tenant)
}

/// How often the resource at a path was deleted: what makes a thing made anew another thing. At the directory's own names,
/// which do not begin with a slash, how often something was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The path, in lower case.
    pub path: String,
    /// Deletions so far, or makings.
    pub deletions: u64,
}

impl Record for Generation {
    const KIND: &'static str = "generations";

    fn record_id(&self) -> String {
        self.path.clone()
    }
}

/// Counts that something is made under a name of the directory, and returns how often something was before: the part of an
/// id that is new each time. Of two who do so at once, one has to plan anew and sees what the other made.
pub(crate) fn count_made(snapshot: &Snapshot, changes: &mut Changes, name: String) -> u64 {
    let made = snapshot.times_made(&name);
    changes.put(snapshot, &Generation { path: name, deletions: made + 1 });
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn however_often_tokens_are_revoked_none_outlives_it_and_new_ones_count_soon() {
        let at = |second| UtcDateTime::from_unix_timestamp(second).unwrap();
        let mut principal = ServicePrincipal {
            id: PrincipalId::new(Uuid::from_u128(1)),
            client_id: ClientId::new(Uuid::from_u128(2)),
            tenant_id: TenantId::new(Uuid::from_u128(3)),
            display_name: "p".into(),
            kind: ServicePrincipalKind::Application,
            is_enabled: true,
            created_at: 0,
            keys: vec![],
            requires_assignment: false,
            tokens_valid_from: None,
        };
        let issued = |principal: &ServicePrincipal| {
            principal.issues_again_in(at(NOW)).is_none().then(|| principal.second_of_issue(at(NOW)))
        };
        assert_eq!(issued(&principal), Some(NOW));
        for _ in 0..1000 {
            let former = issued(&principal);
            principal = principal.with_tokens_revoked(at(NOW));
            assert!(former <= principal.tokens_valid_from, "a token outlived its revocation");
            assert!(issued(&principal).is_none_or(|new| Some(new) > principal.tokens_valid_from));
        }
        assert_eq!(principal.tokens_valid_from, Some(NOW + 200));
        assert_eq!(principal.issues_again_in(at(NOW)), Some(1));
        assert_eq!(principal.issues_again_in(at(NOW + 1)), None);
        let later = principal.with_tokens_revoked(at(NOW + 1000));
        assert_eq!(later.tokens_valid_from, Some(NOW + 1000));
    }
}
