//! A new tenant: its directory, a subscription, and an administrator who is Owner of it. The first start makes one, every later
//! start finds it; servers for development and tests make more.

use keycard_crypto::digest;
use keycard_crypto::encoding;
use keycard_crypto::secret::Secret;
use keycard_crypto::x509::CertificateAuthority;
use serde::{Deserialize, Serialize};

use crate::directory::application::credential::key_of_certificate;
use crate::directory::application::{PasswordCredential, TokenVersion};
use crate::directory::directory_role::{DirectoryRole, DirectoryRoleAssignment};
use crate::directory::service_principal::ServicePrincipalKind;
use crate::directory::tenant::{Issuer, Subscription, TenantKind};
use crate::directory::{Application, ServicePrincipal, Tenant};
use crate::ids::{
    ApplicationId, ClientId, KeyId, PrincipalId, RoleAssignmentId, SubscriptionId, TenantId,
};
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::assignment::PrincipalType;
use crate::rbac::{RbacScope, RoleAssignment, built_in_roles};
use crate::records::{Record, UnreadableRecord, Versioned, decode, encode, payload_key};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};
use crate::store::{Expectation, StoreError, Write};

/// What an administrator needs to begin.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its subscription.
    pub subscription_id: SubscriptionId,
    /// The administrator's client id.
    pub client_id: ClientId,
    /// The administrator's principal.
    pub principal_id: PrincipalId,
    /// The administrator's client secret.
    pub client_secret: Secret,
}

/// The kept form of [`Bootstrap`]: the secret is sealed, so that a restart can tell it again.
#[derive(Serialize, Deserialize)]
struct StoredBootstrap {
    tenant_id: TenantId,
    subscription_id: SubscriptionId,
    client_id: ClientId,
    principal_id: PrincipalId,
    #[serde(with = "crate::records::base64_bytes")]
    client_secret_sealed: Vec<u8>,
}

const SECRET_PLACE: &str = "bootstrap/administrator";

impl Record for StoredBootstrap {
    const KIND: &'static str = "bootstrap";

    fn record_id(&self) -> String {
        "administrator".to_owned()
    }
}

/// Why there is no administrator.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The secrets were sealed under another master key.
    #[error("the data was sealed under another master key")]
    MasterKeyWrong,
    /// Keys could not be made.
    #[error("keys cannot be made: {0}")]
    KeysUnusable(String),
    /// A certificate that was brought cannot be read.
    #[error("the administrator's certificate cannot be used: {0}")]
    CertificateInvalid(String),
    /// A stored form cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableRecord),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store does not write.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// How a tenant names itself in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerForm {
    /// By the address of the token service, where any OIDC verifier finds its keys.
    Served,
    /// By Microsoft's names.
    Azure,
}

impl IssuerForm {
    fn of(self, tenant: TenantId, token_service: &str) -> Issuer {
        match self {
            Self::Served => Issuer::served(token_service, tenant),
            Self::Azure => Issuer::azure(tenant),
        }
    }

    /// The form in which a tenant names itself now.
    fn present(tenant: &Tenant) -> Self {
        let is_azure = tenant.issuers.first() == Some(&Issuer::azure(tenant.id));
        if is_azure { Self::Azure } else { Self::Served }
    }
}

/// A tenant to be made besides the first.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// What people call it; it also names its domain.
    pub name: String,
    /// What it is for.
    pub kind: TenantKind,
    /// How it names itself in tokens.
    pub form: IssuerForm,
}

/// Why a tenant is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewTenantError {
    /// The name is no label of a domain.
    #[error("`{0}` is no name of a tenant")]
    NameInvalid(String),
    /// There is a tenant of this name.
    #[error("there is a tenant called {0}")]
    Exists(String),
    /// The server has as many as it may.
    #[error("there are {max} tenants already", max = limits::TENANTS_MAX)]
    TooMany,
    /// Its keys could not be made.
    #[error("the tenant's keys cannot be made: {0}")]
    KeysUnusable(String),
    /// The store does not write.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Finds what the first start made, or makes it; then sees to it that new tokens bear the present issuers: the first
/// tenant's in this form, the others' in the form that they have, by the present address of the token service.
pub async fn bootstrap(
    state: &State,
    operation: &OperationContext,
    (form, token_service): (IssuerForm, &str),
    certificate: Option<Vec<u8>>,
) -> Result<Bootstrap, BootstrapError> {
    let key = payload_key::<StoredBootstrap>("administrator");
    let bootstrap = match state.store.get(&key).await? {
        Some(entry) => reopen(state, &decode(&entry.value)?)?,
        None => create_first(state, operation, |tenant| form.of(tenant, token_service)).await?,
    };
    serve_under(state, operation, |tenant| {
        let is_first = tenant.id == bootstrap.tenant_id;
        let form = if is_first { form } else { IssuerForm::present(tenant) };
        form.of(tenant.id, token_service)
    })
    .await?;
    if let Some(certificate) = certificate {
        add_certificate(state, operation, bootstrap.client_id, certificate).await?;
    }
    Ok(bootstrap)
}

/// Makes a tenant with a subscription and an administrator of its own.
pub async fn create_tenant(
    state: &State,
    operation: &OperationContext,
    new: &NewTenant,
    token_service: &str,
) -> Result<Bootstrap, NewTenantError> {
    check_name(&new.name)?;
    let below = format!("tenants/{}/", new.name);
    let bootstrap = draw(state, &below);
    let issuer = new.form.of(bootstrap.tenant_id, token_service);
    let tenant = new_tenant(state, operation, bootstrap.tenant_id, issuer)
        .map_err(|error| NewTenantError::KeysUnusable(error.to_string()))?;
    let tenant = Tenant { display_name: new.name.clone(), kind: new.kind, ..tenant };
    state
        .transact(operation, |snapshot, changes| {
            if snapshot.tenants.iter().any(|(_, known)| known.display_name == new.name) {
                return Err(NewTenantError::Exists(new.name.clone()));
            }
            if snapshot.tenants.len() >= limits::TENANTS_MAX {
                return Err(NewTenantError::TooMany);
            }
            plan(state, snapshot, changes, operation, (&tenant, &below, &bootstrap));
            Ok(())
        })
        .await?;
    Ok(bootstrap)
}

/// A label of a domain, in lower case. Source: RFC 1123, section 2.1.
fn check_name(name: &str) -> Result<(), NewTenantError> {
    let is_label = (1..=limits::TENANT_NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if is_label { Ok(()) } else { Err(NewTenantError::NameInvalid(name.to_owned())) }
}

fn reopen(state: &State, stored: &StoredBootstrap) -> Result<Bootstrap, BootstrapError> {
    let secret = state
        .master_key
        .open(SECRET_PLACE, &stored.client_secret_sealed)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or(BootstrapError::MasterKeyWrong)?;
    Ok(Bootstrap {
        tenant_id: stored.tenant_id,
        subscription_id: stored.subscription_id,
        client_id: stored.client_id,
        principal_id: stored.principal_id,
        client_secret: Secret::new(secret),
    })
}

/// New ids and a new secret, drawn for the things below a name.
fn draw(state: &State, below: &str) -> Bootstrap {
    let mut secret = [0; 32];
    state.entropy.fill(&mut secret);
    let id = |what: &str| state.entropy.id_for(&format!("{below}{what}"));
    Bootstrap {
        tenant_id: TenantId::new(id("tenant")),
        subscription_id: SubscriptionId::new(id("subscription")),
        client_id: ClientId::new(id("administrator/client")),
        principal_id: PrincipalId::new(id("administrator/principal")),
        client_secret: Secret::new(encoding::base64url_encode(&secret)),
    }
}

async fn create_first(
    state: &State,
    operation: &OperationContext,
    issuer: impl FnOnce(TenantId) -> Issuer,
) -> Result<Bootstrap, BootstrapError> {
    let bootstrap = draw(state, "");
    let id = bootstrap.tenant_id;
    let tenant = new_tenant(state, operation, id, issuer(id))?;
    let stored = stored_form(state, &bootstrap)?;
    let snapshot = state.snapshot_to_keep();
    let mut changes = Changes::default();
    plan(state, &snapshot, &mut changes, operation, (&tenant, "", &bootstrap));
    let key = payload_key::<StoredBootstrap>(&stored.record_id());
    let absent = Expectation::Absent(key.clone());
    changes.write(Write::Put(key, encode(&stored)), Some(absent));
    state.commit(changes).await?;
    Ok(bootstrap)
}

/// What a new tenant writes; its ids are drawn for the things below a name.
fn plan(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    (tenant, below, bootstrap): (&Tenant, &str, &Bootstrap),
) {
    changes.put(snapshot, tenant);
    let subscription = Subscription {
        id: bootstrap.subscription_id,
        tenant_id: bootstrap.tenant_id,
        display_name: tenant.display_name.clone(),
        management_group: None,
        alias: None,
        tags: std::collections::BTreeMap::new(),
    };
    changes.put(snapshot, &subscription);
    put_administrator(state, snapshot, changes, operation, (below, bootstrap));
}

fn new_tenant(
    state: &State,
    operation: &OperationContext,
    id: TenantId,
    issuer: Issuer,
) -> Result<Tenant, BootstrapError> {
    let unusable = |error: &dyn std::fmt::Display| BootstrapError::KeysUnusable(error.to_string());
    let authority = CertificateAuthority::generate_identity(&id.to_string(), operation.now.into())
        .map_err(|error| unusable(&error))?;
    let key = authority.to_pkcs8().map_err(|error| unusable(&error))?;
    let identity_authority_key_sealed = Tenant::sealing_key(&state.master_key, id)
        .seal(&Tenant::identity_authority_place(id), &key)
        .map_err(|error| unusable(&error))?;
    Ok(Tenant {
        id,
        display_name: "keycard".to_owned(),
        issuers: vec![issuer],
        identity_authority_certificate: authority.certificate_der().to_vec(),
        identity_authority_key_sealed,
        created_at: operation.now.unix_timestamp(),
        kind: TenantKind::Workforce,
    })
}

fn stored_form(state: &State, bootstrap: &Bootstrap) -> Result<StoredBootstrap, BootstrapError> {
    let client_secret_sealed = state
        .master_key
        .seal(SECRET_PLACE, bootstrap.client_secret.expose().as_bytes())
        .map_err(|error| BootstrapError::KeysUnusable(error.to_string()))?;
    Ok(StoredBootstrap {
        tenant_id: bootstrap.tenant_id,
        subscription_id: bootstrap.subscription_id,
        client_id: bootstrap.client_id,
        principal_id: bootstrap.principal_id,
        client_secret_sealed,
    })
}

/// The administrator is an ordinary principal: Owner of the subscription, Global Administrator of the directory, and
/// nothing else.
fn put_administrator(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    (below, bootstrap): (&str, &Bootstrap),
) {
    let now = operation.now.unix_timestamp();
    let id = |what: &str| state.entropy.id_for(&format!("{below}administrator/{what}"));
    let sha256 = digest::sha256(bootstrap.client_secret.expose().as_bytes());
    changes.put(
        snapshot,
        &Application {
            id: ApplicationId::new(id("application")),
            client_id: bootstrap.client_id,
            tenant_id: bootstrap.tenant_id,
            display_name: "keycard administrator".to_owned(),
            created_at: now,
            passwords: vec![PasswordCredential {
                key_id: KeyId::new(id("secret")),
                display_name: None,
                hint: None,
                sha256,
                starts_at: 0,
                expires_at: None,
            }],
            keys: Vec::new(),
            identifier_uris: Vec::new(),
            app_roles: Vec::new(),
            accepted_token_version: TokenVersion::V1,
            wants_group_claims: false,
        },
    );
    changes.put(
        snapshot,
        &ServicePrincipal {
            id: bootstrap.principal_id,
            client_id: bootstrap.client_id,
            tenant_id: bootstrap.tenant_id,
            display_name: "keycard administrator".to_owned(),
            kind: ServicePrincipalKind::Application,
            is_enabled: true,
            created_at: now,
            keys: Vec::new(),
            requires_assignment: false,
            tokens_valid_from: None,
        },
    );
    changes.put(
        snapshot,
        &DirectoryRoleAssignment {
            tenant_id: bootstrap.tenant_id,
            principal_id: bootstrap.principal_id,
            role: DirectoryRole::GlobalAdministrator,
        },
    );
    let scope = RbacScope::parse(&format!("/subscriptions/{}", bootstrap.subscription_id));
    if let Ok(scope) = scope {
        changes.put(
            snapshot,
            &RoleAssignment {
                id: RoleAssignmentId::new(id("owner")),
                tenant_id: bootstrap.tenant_id,
                scope,
                principal_id: bootstrap.principal_id,
                principal_type: PrincipalType::ServicePrincipal,
                role: built_in_roles::OWNER,
                condition: None,
                description: None,
                created_at: now,
                updated_at: now,
                created_by: None,
                updated_by: None,
            },
        );
    }
}

async fn serve_under(
    state: &State,
    operation: &OperationContext,
    issuer: impl Fn(&Tenant) -> Issuer,
) -> Result<(), WriteError> {
    state
        .transact(operation, |snapshot, changes| {
            for (_, tenant) in snapshot.tenants.iter() {
                let issuer = issuer(tenant);
                if tenant.issuers.first() != Some(&issuer) {
                    changes.put(snapshot, &tenant.record.as_ref().clone().with_issuer(issuer));
                }
            }
            Ok(())
        })
        .await
}

async fn add_certificate(
    state: &State,
    operation: &OperationContext,
    client_id: ClientId,
    certificate: Vec<u8>,
) -> Result<(), BootstrapError> {
    let key_id = KeyId::new(state.entropy.uuid());
    let credential = key_of_certificate(&certificate, operation.now.unix_timestamp(), key_id)
        .map_err(|error| BootstrapError::CertificateInvalid(error.to_string()))?;
    state
        .transact(operation, |snapshot, changes| {
            let application = snapshot.application_of_client(client_id);
            let is_new = |known: &&Versioned<Application>| {
                known.keys.iter().all(|key| key.sha256 != credential.sha256)
            };
            if let Some(application) = application.filter(is_new) {
                let mut application = application.record.as_ref().clone();
                application.keys.push(credential.clone());
                changes.put(snapshot, &application);
            }
            Ok(())
        })
        .await
}
