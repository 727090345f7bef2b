//! Applications as their administrator sees them: made, changed, given secrets, deleted.
//!
//! Source: Microsoft Graph, "application resource type" and its methods.

use super::credential::{
    CredentialError, KeyEntry, MadePassword, NewPassword, keep_passwords, make_password,
    replace_keys,
};
use super::{AppRole, Application, TokenVersion};
use crate::directory::app_role_assignment;
use crate::directory::deleted_object::{self, FormerObject};
use crate::directory::directory_role::administers;
use crate::directory::policy::links;
use crate::directory::service_principal::{ServicePrincipal, count_made};
use crate::directory::user_assigned_identity::remove_principal;
use crate::ids::{AppRoleId, ApplicationId, ClientId, KeyId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::records::Versioned;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};
use crate::token::audience::Audiences;

/// Why something is refused at an application.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplicationError {
    /// There is no such application in this directory.
    #[error("application {0} does not exist")]
    NotFound(ApplicationId),
    /// The display name is empty, too long, or has control characters.
    #[error("the display name is not allowed")]
    DisplayNameInvalid,
    /// The text is no URI that can name an application.
    #[error("`{0}` cannot name an application")]
    IdentifierUriInvalid(String),
    /// The URI names another application, or a service.
    #[error("`{0}` names something else already")]
    IdentifierUriTaken(String),
    /// The application has more names than it may.
    #[error("the application has more names than it may")]
    TooManyIdentifierUris,
    /// A role's name, value, description or kind of member is not allowed.
    #[error("app role {0} is not allowed")]
    AppRoleInvalid(AppRoleId),
    /// Two roles have the same id or value.
    #[error("app role {0} has the id or value of another")]
    AppRoleDuplicate(AppRoleId),
    /// A role that is left out is still enabled.
    #[error("app role {0} is enabled")]
    AppRoleEnabled(AppRoleId),
    /// The application has more roles than it may.
    #[error("the application has more roles than it may")]
    TooManyAppRoles,
    /// A secret or certificate is refused.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The directory has as many applications as it may.
    #[error("no more applications can be created")]
    LimitReached,
    /// Whoever deleted it could not administer the directory any more.
    #[error("application {0} administers the directory")]
    Administers(ApplicationId),
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A URI that names another application, or a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::directory) struct UriTaken(pub(in crate::directory) String);

impl From<UriTaken> for ApplicationError {
    fn from(UriTaken(uri): UriTaken) -> Self {
        Self::IdentifierUriTaken(uri)
    }
}

/// What an administrator asks for.
#[derive(Clone, Debug)]
pub struct NewApplication {
    /// The directory that it is to belong to.
    pub tenant_id: TenantId,
    /// What people call it.
    pub display_name: String,
    /// What tokens for it are asked for, besides its client id.
    pub identifier_uris: Vec<String>,
    /// The roles that those who call it can be given.
    pub app_roles: Vec<AppRole>,
    /// Its certificates.
    pub keys: Vec<KeyEntry>,
    /// The form of the tokens it accepts.
    pub accepted_token_version: TokenVersion,
    /// Whether tokens for it name the groups of the caller.
    pub wants_group_claims: bool,
}

/// What is to be different; what is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ApplicationChange {
    /// What people call it.
    pub display_name: Option<String>,
    /// What tokens for it are asked for, besides its client id.
    pub identifier_uris: Option<Vec<String>>,
    /// The roles that those who call it can be given.
    pub app_roles: Option<Vec<AppRole>>,
    /// Its certificates.
    pub keys: Option<Vec<KeyEntry>>,
    /// Those of its client secrets that stay.
    pub passwords: Option<Vec<KeyId>>,
    /// The form of the tokens it accepts.
    pub accepted_token_version: Option<TokenVersion>,
    /// Whether tokens for it name the groups of the caller.
    pub wants_group_claims: Option<bool>,
}

/// Makes an application, without a service principal and without secrets.
pub async fn create(
    state: &State,
    operation: &OperationContext,
    new: &NewApplication,
) -> Result<Application, ApplicationError> {
    let now = operation.now.unix_timestamp();
    let keys = replace_keys(&[], &new.keys, now, || KeyId::new(state.entropy.uuid()))?;
    state
        .transact(operation, |snapshot, changes| {
            if count(snapshot, new.tenant_id) >= limits::APPLICATIONS_MAX {
                return Err(ApplicationError::LimitReached);
            }
            let name = format!("applications/{}/{}", new.tenant_id, new.display_name);
            let made = count_made(snapshot, changes, name.clone());
            let id = |what: &str| state.entropy.id_for(&format!("{name}/{what}/{made}"));
            let application = Application {
                id: ApplicationId::new(id("application")),
                client_id: ClientId::new(id("client")),
                tenant_id: new.tenant_id,
                display_name: new.display_name.clone(),
                created_at: now,
                passwords: Vec::new(),
                keys: keys.clone(),
                identifier_uris: new.identifier_uris.clone(),
                app_roles: new.app_roles.clone(),
                accepted_token_version: new.accepted_token_version,
                wants_group_claims: new.wants_group_claims,
            };
            check(&application)?;
            check_client_names(snapshot, &application)?;
            claim_uris(snapshot, changes, &application, &[])?;
            changes.put(snapshot, &application);
            Ok(application)
        })
        .await
}

/// Changes an application. Its service principal follows its name.
pub async fn update(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: ApplicationId,
    change: &ApplicationChange,
) -> Result<(), ApplicationError> {
    state
        .transact(operation, |snapshot, changes| {
            let former = find(snapshot, tenant, id)?;
            let application = changed(state, operation, former, change)?;
            check(&application)?;
            claim_uris(snapshot, changes, &application, &former.identifier_uris)?;
            remove_roles(snapshot, changes, former, &application)?;
            let principal = principal_of(snapshot, former);
            if let Some(principal) =
                principal.filter(|it| it.display_name != application.display_name)
            {
                let display_name = application.display_name.clone();
                let renamed =
                    ServicePrincipal { display_name, ..principal.record.as_ref().clone() };
                changes.put(snapshot, &renamed);
            }
            changes.put(snapshot, &application);
            Ok(())
        })
        .await
}

fn changed(
    state: &State,
    operation: &OperationContext,
    former: &Application,
    change: &ApplicationChange,
) -> Result<Application, ApplicationError> {
    let mut application = former.clone();
    let ApplicationChange { display_name, identifier_uris, app_roles, .. } = change.clone();
    application.display_name = display_name.unwrap_or(application.display_name);
    application.identifier_uris = identifier_uris.unwrap_or(application.identifier_uris);
    application.app_roles = app_roles.unwrap_or(application.app_roles);
    if let Some(keys) = &change.keys {
        let new_id = || KeyId::new(state.entropy.uuid());
        let now = operation.now.unix_timestamp();
        application.keys = replace_keys(&application.keys, keys, now, new_id)?;
    }
    if let Some(kept) = &change.passwords {
        application.passwords = keep_passwords(&application.passwords, kept)?;
    }
    if let Some(version) = change.accepted_token_version {
        application.accepted_token_version = version;
    }
    if let Some(wants) = change.wants_group_claims {
        application.wants_group_claims = wants;
    }
    Ok(application)
}

/// Deletes an application with its service principal. Both are kept for a while: [`deleted_object`].
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: ApplicationId,
) -> Result<(), ApplicationError> {
    state
        .transact(operation, |snapshot, changes| {
            let application = find(snapshot, tenant, id)?;
            let principal = principal_of(snapshot, application);
            if principal.is_some_and(|it| administers(snapshot, tenant, it.id)) {
                return Err(ApplicationError::Administers(id));
            }
            if let Some(principal) = principal {
                remove_principal(snapshot, changes, operation, principal.id);
            }
            links::remove_of_target(snapshot, changes, *id.as_uuid());
            let former = FormerObject::Application(application.record.as_ref().clone());
            deleted_object::keep(snapshot, changes, operation, former);
            changes.delete(snapshot, application.record.as_ref());
            Ok(())
        })
        .await
}

/// Gives an application a client secret, which nobody can read again.
pub async fn add_password(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: ApplicationId,
    new: &NewPassword,
) -> Result<MadePassword, ApplicationError> {
    let made = make_password(state.entropy.as_ref(), operation, new)?;
    state
        .transact(operation, |snapshot, changes| {
            let mut application = find(snapshot, tenant, id)?.record.as_ref().clone();
            if application.passwords.len() >= limits::PASSWORDS_MAX {
                return Err(ApplicationError::Credential(CredentialError::TooMany));
            }
            application.passwords.push(made.credential.clone());
            changes.put(snapshot, &application);
            Ok(())
        })
        .await?;
    Ok(made)
}

/// Takes a client secret away; it counts no more at once.
pub async fn remove_password(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: ApplicationId,
    key_id: KeyId,
) -> Result<(), ApplicationError> {
    state
        .transact(operation, |snapshot, changes| {
            let mut application = find(snapshot, tenant, id)?.record.as_ref().clone();
            let count = application.passwords.len();
            application.passwords.retain(|password| password.key_id != key_id);
            if application.passwords.len() == count {
                return Err(ApplicationError::Credential(CredentialError::NotFound(key_id)));
            }
            changes.put(snapshot, &application);
            Ok(())
        })
        .await
}

/// The directory's application with this id.
pub fn find(
    snapshot: &Snapshot,
    tenant: TenantId,
    id: ApplicationId,
) -> Result<&Versioned<Application>, ApplicationError> {
    let found = snapshot.application(id).filter(|application| application.tenant_id == tenant);
    found.ok_or(ApplicationError::NotFound(id))
}

/// The applications of a directory.
pub fn list(
    snapshot: &Snapshot,
    tenant: TenantId,
) -> impl Iterator<Item = &Versioned<Application>> {
    let all = snapshot.applications.iter().map(|(_, application)| application);
    all.filter(move |application| application.tenant_id == tenant)
}

/// Deleted ones count as long as they are kept, as in Azure.
fn count(snapshot: &Snapshot, tenant: TenantId) -> usize {
    let is_application = |object: &FormerObject| matches!(object, FormerObject::Application(_));
    let deleted = deleted_object::list(snapshot, tenant).filter(|it| is_application(&it.object));
    list(snapshot, tenant).count() + deleted.count()
}

fn principal_of<'a>(
    snapshot: &'a Snapshot,
    application: &Application,
) -> Option<&'a Versioned<ServicePrincipal>> {
    let principal = snapshot.service_principal_of_client(application.client_id);
    principal.filter(|principal| principal.tenant_id == application.tenant_id)
}

fn check(application: &Application) -> Result<(), ApplicationError> {
    let name = &application.display_name;
    let is_name = !name.trim().is_empty()
        && name.chars().count() <= limits::APPLICATION_DISPLAY_NAME_CHARS_MAX
        && !name.chars().any(char::is_control);
    if !is_name {
        return Err(ApplicationError::DisplayNameInvalid);
    }
    if application.identifier_uris.len() > limits::IDENTIFIER_URIS_MAX {
        return Err(ApplicationError::TooManyIdentifierUris);
    }
    for (index, uri) in application.identifier_uris.iter().enumerate() {
        if !is_identifier_uri(uri) {
            return Err(ApplicationError::IdentifierUriInvalid(uri.clone()));
        }
        let others = application.identifier_uris.iter().take(index);
        if others.into_iter().any(|other| name_of(other) == name_of(uri)) {
            return Err(ApplicationError::IdentifierUriTaken(uri.clone()));
        }
    }
    check_roles(&application.app_roles)
}

/// A URI in lower case without one final slash: what it is compared by.
fn name_of(uri: &str) -> String {
    uri.strip_suffix('/').unwrap_or(uri).to_ascii_lowercase()
}

/// An absolute URI in printable ASCII, without a query, a fragment or a wildcard.
fn is_identifier_uri(uri: &str) -> bool {
    let (scheme, rest) = uri.split_once(':').unwrap_or_default();
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme
        && uri.len() <= limits::IDENTIFIER_URI_BYTES_MAX
        && !rest.trim_matches('/').is_empty()
        && rest.chars().all(|c| c.is_ascii_graphic() && !"\"'<>\\^`{|}*?#".contains(c))
}

fn check_roles(roles: &[AppRole]) -> Result<(), ApplicationError> {
    if roles.len() > limits::APP_ROLES_MAX {
        return Err(ApplicationError::TooManyAppRoles);
    }
    for (index, role) in roles.iter().enumerate() {
        if !is_role(role) {
            return Err(ApplicationError::AppRoleInvalid(role.id));
        }
        let is_same = |other: &AppRole| {
            other.id == role.id || (role.value.is_some() && other.value == role.value)
        };
        if roles.iter().take(index).any(is_same) {
            return Err(ApplicationError::AppRoleDuplicate(role.id));
        }
    }
    Ok(())
}

/// Source: Microsoft Graph, "appRole resource type".
fn is_role(role: &AppRole) -> bool {
    let is_text =
        |text: &str, chars_max: usize| !text.trim().is_empty() && text.chars().count() <= chars_max;
    let is_value = |value: &String| {
        is_text(value, limits::APP_ROLE_VALUE_CHARS_MAX)
            && !value.starts_with('.')
            && value.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\')
    };
    let types = &role.allowed_member_types;
    role.value.as_ref().is_none_or(is_value)
        && is_text(&role.display_name, limits::APP_ROLE_DISPLAY_NAME_CHARS_MAX)
        && is_text(&role.description, limits::APP_ROLE_DESCRIPTION_CHARS_MAX)
        && !types.is_empty()
        && types.len() <= 2
        && types.iter().all(|it| it == "Application" || it == "User")
}

/// Refuses an application whose client id, which is a name as well, another one has among its URIs: it was claimed while
/// the application was not there.
pub(in crate::directory) fn check_client_names(
    snapshot: &Snapshot,
    application: &Application,
) -> Result<(), UriTaken> {
    let client_id = application.client_id.to_string();
    let names = [format!("api://{client_id}"), client_id];
    let is_taken = |name: &String| {
        let found = snapshot.application_named(application.tenant_id, name);
        found.is_some_and(|other| other.id != application.id)
    };
    names.into_iter().find(is_taken).map_or(Ok(()), |name| Err(UriTaken(name)))
}

/// Refuses names that are taken. Two who claim a free name at the same time write the same record, so that one of them
/// plans anew and sees the other.
pub(in crate::directory) fn claim_uris(
    snapshot: &Snapshot,
    changes: &mut Changes,
    application: &Application,
    former: &[String],
) -> Result<(), UriTaken> {
    let services = Audiences::default();
    for uri in application.identifier_uris.iter().filter(|uri| !former.contains(uri)) {
        // Who compares audiences loosely must not take an application's tokens for a service's.
        let is_taken = services.service(uri.trim_end_matches(['/', '.'])).is_some()
            || snapshot
                .application_named(application.tenant_id, uri)
                .is_some_and(|other| other.id != application.id);
        if is_taken {
            return Err(UriTaken(uri.clone()));
        }
        let name = format!("identifier-uris/{}/{}", application.tenant_id, name_of(uri));
        count_made(snapshot, changes, name);
    }
    Ok(())
}

/// A role goes when nobody can be given it any more, and those who have it lose it.
fn remove_roles(
    snapshot: &Snapshot,
    changes: &mut Changes,
    former: &Application,
    application: &Application,
) -> Result<(), ApplicationError> {
    let is_left_out = |role: &&AppRole| application.app_roles.iter().all(|it| it.id != role.id);
    for role in former.app_roles.iter().filter(is_left_out) {
        if role.is_enabled {
            return Err(ApplicationError::AppRoleEnabled(role.id));
        }
        if let Some(resource) = principal_of(snapshot, former) {
            app_role_assignment::remove_of_role(snapshot, changes, resource.id, role.id);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::DeletedObject;
    use uuid::Uuid;

    fn role(id: u128, value: Option<&str>) -> AppRole {
        AppRole {
            id: AppRoleId::new(Uuid::from_u128(id)),
            value: value.map(str::to_owned),
            display_name: "read".into(),
            description: "reads".into(),
            is_enabled: true,
            allowed_member_types: vec!["Application".into()],
        }
    }

    fn application(uris: &[&str], roles: Vec<AppRole>) -> Application {
        Application {
            id: ApplicationId::new(Uuid::nil()),
            client_id: ClientId::new(Uuid::nil()),
            tenant_id: TenantId::new(Uuid::nil()),
            display_name: "a".into(),
            created_at: 0,
            passwords: vec![],
            keys: vec![],
            identifier_uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
            app_roles: roles,
            accepted_token_version: TokenVersion::V1,
            wants_group_claims: false,
        }
    }

    fn check(uris: &[&str], roles: Vec<AppRole>, expected: &Result<(), ApplicationError>) {
        let application = application(uris, roles);
        assert_eq!(&super::check(&application), expected, "{application:?}");
    }

    #[test]
    fn a_name_of_an_application_is_a_uri_and_stands_once() {
        for right in ["api://orders", "https://orders.example/a", "urn:orders", "https://a/"] {
            check(&[right], vec![], &Ok(()));
        }
        for wrong in [
            "",
            "orders",
            ":x",
            "1a://x",
            "api://",
            "https://",
            "https://*.example",
            "https://a b",
            "https://a?b",
            "https://a#b",
            "https://ä",
            &format!("api://{}", "x".repeat(250)),
        ] {
            check(&[wrong], vec![], &Err(ApplicationError::IdentifierUriInvalid(wrong.to_owned())));
        }
        let twice = Err(ApplicationError::IdentifierUriTaken("API://a/".into()));
        check(&["api://a", "API://a/"], vec![], &twice);
        let many = vec!["api://a"; limits::IDENTIFIER_URIS_MAX + 1];
        check(&many, vec![], &Err(ApplicationError::TooManyIdentifierUris));
    }

    #[test]
    fn deleted_applications_count_as_long_as_they_are_kept() {
        let application = |n: u128| Application {
            id: ApplicationId::new(Uuid::from_u128(n)),
            client_id: ClientId::new(Uuid::from_u128(n)),
            ..application(&[], vec![])
        };
        let tenant = application(1).tenant_id;
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&application(1));
        snapshot.insert_for_test(&application(2));
        let object = FormerObject::Application(application(3));
        snapshot.insert_for_test(&DeletedObject { deleted_at: 0, object });
        assert_eq!(count(&snapshot, tenant), 3);
        assert_eq!(count(&snapshot, TenantId::new(Uuid::max())), 0);
    }

    #[test]
    fn a_client_id_is_a_name_that_nobody_else_has() {
        let id = Uuid::from_u128(7);
        let heir = application(&[&format!("api://{id}")], vec![]);
        let back = Application {
            id: ApplicationId::new(id),
            client_id: ClientId::new(id),
            ..application(&[], vec![])
        };
        let mut snapshot = Snapshot::default();
        assert_eq!(check_client_names(&snapshot, &back), Ok(()));
        snapshot.insert_for_test(&heir);
        assert_eq!(check_client_names(&snapshot, &back), Err(UriTaken(format!("api://{id}"))));
        assert_eq!(check_client_names(&snapshot, &heir), Ok(()), "its own are its own");
    }

    #[test]
    fn roles_have_ids_and_values_of_their_own() {
        check(&[], vec![role(1, Some("Orders.Read")), role(2, None), role(3, None)], &Ok(()));
        let duplicate = |id| Err(ApplicationError::AppRoleDuplicate(role(id, None).id));
        check(&[], vec![role(1, None), role(1, Some("a"))], &duplicate(1));
        check(&[], vec![role(1, Some("a")), role(2, Some("a"))], &duplicate(2));
        let invalid = Err(ApplicationError::AppRoleInvalid(role(1, None).id));
        for value in ["", "a b", ".a", "ä", &"x".repeat(121)] {
            check(&[], vec![role(1, Some(value))], &invalid);
        }
        for wrong in [
            AppRole { display_name: String::new(), ..role(1, None) },
            AppRole { description: " ".into(), ..role(1, None) },
            AppRole { allowed_member_types: vec![], ..role(1, None) },
            AppRole { allowed_member_types: vec!["Group".into()], ..role(1, None) },
        ] {
            check(&[], vec![wrong], &invalid);
        }
        let many = vec![role(1, None); limits::APP_ROLES_MAX + 1];
        check(&[], many, &Err(ApplicationError::TooManyAppRoles));
    }
}
