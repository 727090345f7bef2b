//! Federated identity credentials: whose assertions an identity or application takes instead of a secret of its own.
//!
//! They are records of their own below the client id. Two writes under one client id at once: one is refused, as in
//! Azure, and nothing is tried again. Source: Microsoft Learn, "Important considerations and restrictions for federated
//! identity credentials"; Microsoft Graph, "federatedIdentityCredential resource type".

pub mod claims_expression;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::user_assigned_identity::{self, Put, UserAssignedIdentityError};
use crate::ids::{ApplicationId, ClientId, FederatedCredentialId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::records::{Record, Versioned};
use crate::resource_id::ArmResourceId;
use crate::resources::ResourceError;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};
use claims_expression::{ClaimsExpression, ClaimsExpressionError, Steps};

/// The type of these resources below a user-assigned identity.
pub const RESOURCE_TYPE: &str =
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials";

/// A federated identity credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedCredential {
    /// Its id at Microsoft Graph, and in the sign-in log.
    pub id: FederatedCredentialId,
    /// The tenant of its holder.
    pub tenant_id: TenantId,
    /// The identity or application that holds it.
    pub client_id: ClientId,
    /// Its name, unique for the holder whatever its case; immutable.
    pub name: String,
    /// What it takes.
    pub trust: Trust,
    /// What it is for.
    pub description: Option<String>,
}

impl Record for FederatedCredential {
    const KIND: &'static str = "federated-credentials";

    fn record_id(&self) -> String {
        record_id(self.client_id, &self.name)
    }
}

pub(crate) fn record_id(client_id: ClientId, name: &str) -> String {
    format!("{client_id}/{}", name.to_ascii_lowercase())
}

/// How often the credentials of one client were written. Every write relies on it and counts it on, so that of two at
/// once one loses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedWrites {
    /// Whose.
    pub client_id: ClientId,
    /// Writes so far.
    pub writes: u64,
}

impl Record for FederatedWrites {
    const KIND: &'static str = "federated-writes";

    fn record_id(&self) -> String {
        self.client_id.to_string()
    }
}

/// Which assertions a credential takes: what has to stand in `iss`, `sub` and `aud`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The claim `iss`, byte for byte.
    pub issuer: String,
    /// What the subject has to be.
    pub subject: SubjectRule,
    /// What has to stand in `aud`.
    pub audience: String,
}

/// What the subject of an assertion has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SubjectRule {
    /// This, byte for byte: `*` and `?` stand for themselves.
    Exact(String),
    /// As the expression says, with other claims besides.
    Matching(ClaimsExpression),
}

impl SubjectRule {
    /// Whether an assertion with these claims is meant.
    pub fn covers(&self, claims: &Map<String, Value>, steps: &mut Steps) -> bool {
        match self {
            Self::Exact(subject) => claims.get("sub").and_then(Value::as_str) == Some(subject),
            Self::Matching(expression) => expression.matches(claims, steps),
        }
    }
}

/// What a request says about the assertions to take; absent what it does not say.
#[derive(Clone, Debug, Default)]
pub struct TrustRequest {
    /// The issuer.
    pub issuer: Option<String>,
    /// The only subject.
    pub subject: Option<String>,
    /// An expression instead of the subject.
    pub expression: Option<ClaimsExpression>,
    /// The audiences, of which there has to be one.
    pub audiences: Option<Vec<String>>,
}

/// Why something is refused at a federated credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FederatedCredentialError {
    /// The user-assigned identity does not exist.
    #[error("the user-assigned identity {0} does not exist")]
    IdentityNotFound(ArmResourceId),
    /// The application is not in this directory.
    #[error("application {0} does not exist")]
    ApplicationNotFound(ApplicationId),
    /// The holder has no such credential.
    #[error("there is no federated credential `{0}`")]
    NotFound(String),
    /// The name breaks the rules.
    #[error("`{0}` is no name of a federated credential")]
    NameInvalid(String),
    /// The holder has a credential of this name.
    #[error("there is a federated credential `{0}` already")]
    NameTaken(String),
    /// Issuer, subject or audience is missing or empty.
    #[error("issuer, subject or audience is missing")]
    Incomplete,
    /// There is no single audience.
    #[error("there has to be exactly one audience")]
    AudienceCount,
    /// Both a subject and an expression are given.
    #[error("there is both a subject and a claims matching expression")]
    SubjectAndExpression,
    /// The expression cannot be read.
    #[error(transparent)]
    Expression(#[from] ClaimsExpressionError),
    /// The issuer is no address of an issuer.
    #[error("the issuer has to be a URL with the scheme https")]
    IssuerInvalid,
    /// A text has too many characters.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// The holder has a credential for the same issuer and subject.
    #[error("issuer and subject are those of another federated credential")]
    Duplicate,
    /// The holder has as many credentials as it may.
    #[error("there can be at most {0} federated credentials")]
    LimitReached(usize),
    /// The identity lies nowhere.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Trust {
    /// What a request asks for, when it says all of it.
    pub fn new(request: TrustRequest) -> Result<Self, FederatedCredentialError> {
        let given = |text: Option<String>| {
            text.filter(|text| !text.is_empty()).ok_or(FederatedCredentialError::Incomplete)
        };
        let subject = match (request.subject, request.expression) {
            (Some(_), Some(_)) => return Err(FederatedCredentialError::SubjectAndExpression),
            (None, Some(expression)) => SubjectRule::Matching(expression),
            (subject, None) => SubjectRule::Exact(given(subject)?),
        };
        let issuer = given(request.issuer)?;
        let audiences = request.audiences.ok_or(FederatedCredentialError::Incomplete)?;
        let [audience] = <[String; 1]>::try_from(audiences)
            .map_err(|_| FederatedCredentialError::AudienceCount)?;
        let trust = Self { issuer, subject, audience: given(Some(audience))? };
        trust.check()?;
        Ok(trust)
    }

    /// The same with what a request says otherwise.
    pub fn changed(&self, request: TrustRequest) -> Result<Self, FederatedCredentialError> {
        let keeps_subject = request.subject.is_none() && request.expression.is_none();
        let (subject, expression) = match &self.subject {
            _ if !keeps_subject => (request.subject, request.expression),
            SubjectRule::Exact(subject) => (Some(subject.clone()), None),
            SubjectRule::Matching(expression) => (None, Some(expression.clone())),
        };
        Self::new(TrustRequest {
            issuer: request.issuer.or_else(|| Some(self.issuer.clone())),
            subject,
            expression,
            audiences: request.audiences.or_else(|| Some(vec![self.audience.clone()])),
        })
    }

    fn check(&self) -> Result<(), FederatedCredentialError> {
        check_length("issuer", &self.issuer)?;
        if let SubjectRule::Exact(subject) = &self.subject {
            check_length("subject", subject)?;
        }
        check_length("audience", &self.audience)?;
        let is_address = ["https://", "http://"].iter().any(|scheme| {
            self.issuer.strip_prefix(scheme).is_some_and(|rest| {
                !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
            })
        });
        if is_address { Ok(()) } else { Err(FederatedCredentialError::IssuerInvalid) }
    }
}

fn check_length(what: &'static str, text: &str) -> Result<(), FederatedCredentialError> {
    if text.chars().count() <= limits::FEDERATED_TEXT_CHARS_MAX {
        Ok(())
    } else {
        Err(FederatedCredentialError::TooLong(what))
    }
}

/// 3 to 120 letters, digits, `-` and `_`, the first a letter or digit.
fn check_name(name: &str) -> Result<(), FederatedCredentialError> {
    let is_valid = (3..=120).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_valid { Ok(()) } else { Err(FederatedCredentialError::NameInvalid(name.to_owned())) }
}

/// Who holds credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The user-assigned identity with this resource id.
    Identity(ArmResourceId),
    /// The application of a directory.
    Application(TenantId, ApplicationId),
}

/// The ids of a holder that exists.
#[derive(Clone, Copy, Debug)]
struct Held {
    tenant_id: TenantId,
    client_id: ClientId,
}

impl Holder {
    fn find(&self, snapshot: &Snapshot) -> Result<Held, FederatedCredentialError> {
        match self {
            Self::Identity(id) => {
                let found =
                    user_assigned_identity::find(snapshot, id).map_err(|error| match error {
                        UserAssignedIdentityError::Resource(error) => error.into(),
                        UserAssignedIdentityError::NotFound(_)
                        | UserAssignedIdentityError::TenantHasNone
                        | UserAssignedIdentityError::TooManyRequests(_)
                        | UserAssignedIdentityError::NameInvalid(_) => {
                            FederatedCredentialError::IdentityNotFound(id.clone())
                        }
                    })?;
                Ok(Held { tenant_id: found.tenant_id, client_id: found.client_id })
            }
            Self::Application(tenant, id) => {
                let found = snapshot.application(*id).filter(|found| found.tenant_id == *tenant);
                let found = found.ok_or(FederatedCredentialError::ApplicationNotFound(*id))?;
                Ok(Held { tenant_id: found.tenant_id, client_id: found.client_id })
            }
        }
    }
}

/// The credentials of a client, in the order of their names.
pub fn of_client(
    snapshot: &Snapshot,
    client_id: ClientId,
) -> impl Iterator<Item = &Versioned<FederatedCredential>> {
    snapshot.federated_credentials.below(&format!("{client_id}/"))
}

/// The credentials of a holder, in the order of their names.
pub fn list(
    snapshot: &Snapshot,
    holder: &Holder,
) -> Result<Vec<Versioned<FederatedCredential>>, FederatedCredentialError> {
    let held = holder.find(snapshot)?;
    Ok(of_client(snapshot, held.client_id).cloned().collect())
}

/// The credential of a holder with this name or id.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    holder: &Holder,
    name_or_id: &str,
) -> Result<&'a Versioned<FederatedCredential>, FederatedCredentialError> {
    let held = holder.find(snapshot)?;
    find_held(snapshot, held, name_or_id)
        .ok_or_else(|| FederatedCredentialError::NotFound(name_or_id.to_owned()))
}

fn find_held<'a>(
    snapshot: &'a Snapshot,
    held: Held,
    name_or_id: &str,
) -> Option<&'a Versioned<FederatedCredential>> {
    snapshot.federated_credentials.get(&record_id(held.client_id, name_or_id)).or_else(|| {
        let id: FederatedCredentialId = name_or_id.parse().ok()?;
        of_client(snapshot, held.client_id).find(|credential| credential.id == id)
    })
}

/// Makes a credential, or replaces what the one of this name takes.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    holder: &Holder,
    name: &str,
    trust: &Trust,
) -> Result<Put<FederatedCredential>, FederatedCredentialError> {
    check_name(name)?;
    state
        .transact_once(operation, |snapshot, changes| {
            let held = holder.find(snapshot)?;
            let existing = snapshot.federated_credentials.get(&record_id(held.client_id, name));
            let resource = match existing {
                Some(existing) => {
                    FederatedCredential { trust: trust.clone(), ..existing.record.as_ref().clone() }
                }
                None => made(state, snapshot, held, name, trust)?,
            };
            write(snapshot, changes, holder, &resource)?;
            Ok(Put { resource, is_new: existing.is_none() })
        })
        .await
}

/// Makes a credential, whose name must be free.
pub async fn create(
    state: &State,
    operation: &OperationContext,
    holder: &Holder,
    name: &str,
    trust: &Trust,
    description: Option<&str>,
) -> Result<FederatedCredential, FederatedCredentialError> {
    check_name(name)?;
    check_length("description", description.unwrap_or_default())?;
    state
        .transact_once(operation, |snapshot, changes| {
            let held = holder.find(snapshot)?;
            if snapshot.federated_credentials.get(&record_id(held.client_id, name)).is_some() {
                return Err(FederatedCredentialError::NameTaken(name.to_owned()));
            }
            let credential = FederatedCredential {
                description: description.map(str::to_owned),
                ..made(state, snapshot, held, name, trust)?
            };
            write(snapshot, changes, holder, &credential)?;
            Ok(credential)
        })
        .await
}

/// Changes what a credential takes, and its description, where the request says something of them.
pub async fn change(
    state: &State,
    operation: &OperationContext,
    holder: &Holder,
    name_or_id: &str,
    request: &TrustRequest,
    description: Option<&str>,
) -> Result<(), FederatedCredentialError> {
    check_length("description", description.unwrap_or_default())?;
    state
        .transact_once(operation, |snapshot, changes| {
            let existing = find(snapshot, holder, name_or_id)?;
            let mut credential = existing.record.as_ref().clone();
            credential.trust = credential.trust.changed(request.clone())?;
            if let Some(description) = description {
                credential.description = Some(description.to_owned());
            }
            write(snapshot, changes, holder, &credential)
        })
        .await
}

/// Removes a credential; `false` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    holder: &Holder,
    name_or_id: &str,
) -> Result<bool, FederatedCredentialError> {
    state
        .transact_once(operation, |snapshot, changes| {
            let held = holder.find(snapshot)?;
            let Some(existing) = find_held(snapshot, held, name_or_id) else { return Ok(false) };
            changes.delete(snapshot, existing.record.as_ref());
            count_on(snapshot, changes, held.client_id);
            Ok(true)
        })
        .await
}

/// A new credential. Its id holds the number of the write, so that one made anew is another one.
fn made(
    state: &State,
    snapshot: &Snapshot,
    held: Held,
    name: &str,
    trust: &Trust,
) -> Result<FederatedCredential, FederatedCredentialError> {
    let max = state.limits.federated_credentials_per_identity_max;
    if of_client(snapshot, held.client_id).count() >= max {
        return Err(FederatedCredentialError::LimitReached(max));
    }
    let Held { tenant_id, client_id } = held;
    let writes = writes_so_far(snapshot, client_id);
    let path = format!("{tenant_id}/federated-credential/{client_id}/{name}/{writes}");
    Ok(FederatedCredential {
        id: FederatedCredentialId::new(state.entropy.id_for(&path)),
        tenant_id,
        client_id,
        name: name.to_owned(),
        trust: trust.clone(),
        description: None,
    })
}

fn write(
    snapshot: &Snapshot,
    changes: &mut Changes,
    holder: &Holder,
    credential: &FederatedCredential,
) -> Result<(), FederatedCredentialError> {
    let is_twin = |other: &Versioned<FederatedCredential>| {
        other.id != credential.id
            && other.trust.issuer == credential.trust.issuer
            && other.trust.subject == credential.trust.subject
    };
    if of_client(snapshot, credential.client_id).any(is_twin) {
        return Err(FederatedCredentialError::Duplicate);
    }
    changes.put(snapshot, credential);
    count_on(snapshot, changes, credential.client_id);
    // A holder that is deleted meanwhile must not leave a credential behind.
    if let Holder::Application(_, id) = holder
        && let Some(application) = snapshot.application(*id)
    {
        changes.rely_on(snapshot, application.record.as_ref());
    }
    if let Some(principal) = snapshot.service_principal_of_client(credential.client_id) {
        changes.rely_on(snapshot, principal.record.as_ref());
    }
    Ok(())
}

fn writes_so_far(snapshot: &Snapshot, client_id: ClientId) -> u64 {
    snapshot.federated_writes.get(&client_id.to_string()).map_or(0, |known| known.writes)
}

fn count_on(snapshot: &Snapshot, changes: &mut Changes, client_id: ClientId) {
    let writes = writes_so_far(snapshot, client_id) + 1;
    changes.put(snapshot, &FederatedWrites { client_id, writes });
}

/// Removes all credentials of a client; also part of deleting it.
pub(crate) fn remove_credentials_of(
    snapshot: &Snapshot,
    changes: &mut Changes,
    client_id: ClientId,
) {
    for credential in of_client(snapshot, client_id) {
        changes.delete(snapshot, credential.record.as_ref());
    }
    let known = snapshot.federated_writes.get(&client_id.to_string());
    match known {
        Some(known) => changes.delete(snapshot, known.record.as_ref()),
        // A first credential that is being made right now must not survive.
        None => drop(changes.rely_on(snapshot, &FederatedWrites { client_id, writes: 0 })),
    }
}

#[cfg(test)]
mod tests {
    use super::FederatedCredentialError as Error;
    use super::*;
    use crate::directory::ServicePrincipal;
    use crate::directory::service_principal::ServicePrincipalKind;
    use crate::ids::PrincipalId;
    use time::UtcDateTime;
    use uuid::Uuid;

    fn request(issuer: &str, subject: &str, audiences: &[&str]) -> TrustRequest {
        TrustRequest {
            issuer: Some(issuer.into()),
            subject: Some(subject.into()),
            expression: None,
            audiences: Some(audiences.iter().map(|&audience| audience.to_owned()).collect()),
        }
    }

    #[track_caller]
    fn check(request: TrustRequest, expected: Error) {
        let shown = format!("{request:?}");
        assert_eq!(Trust::new(request), Err(expected), "{shown}");
    }

    #[test]
    fn what_is_trusted_is_said_whole_and_within_bounds() {
        let whole = || request("https://issuer.example", "s", &["a"]);
        assert!(Trust::new(whole()).is_ok());
        check(TrustRequest { issuer: None, ..whole() }, Error::Incomplete);
        check(TrustRequest { subject: None, ..whole() }, Error::Incomplete);
        check(TrustRequest { audiences: None, ..whole() }, Error::Incomplete);
        check(request("", "s", &["a"]), Error::Incomplete);
        check(request("https://issuer.example", "", &["a"]), Error::Incomplete);
        check(request("https://issuer.example", "s", &[""]), Error::Incomplete);
        check(request("https://issuer.example", "s", &[]), Error::AudienceCount);
        check(request("https://issuer.example", "s", &["a", "b"]), Error::AudienceCount);
        let long = "x".repeat(601);
        check(request(&format!("https://{long}"), "s", &["a"]), Error::TooLong("issuer"));
        check(request("https://issuer.example", &long, &["a"]), Error::TooLong("subject"));
        check(request("https://issuer.example", "s", &[&long]), Error::TooLong("audience"));
        assert!(Trust::new(request("https://i", &"ä".repeat(600), &[&"x".repeat(600)])).is_ok());
        for issuer in ["issuer.example", "https://", "https://a b", "ftp://issuer.example"] {
            check(request(issuer, "s", &["a"]), Error::IssuerInvalid);
        }
        let expression = ClaimsExpression::parse("claims['sub'] matches 'a*'").unwrap();
        let both = TrustRequest { expression: Some(expression.clone()), ..whole() };
        check(both, Error::SubjectAndExpression);
        let flexible =
            TrustRequest { subject: None, expression: Some(expression.clone()), ..whole() };
        assert_eq!(Trust::new(flexible).unwrap().subject, SubjectRule::Matching(expression));
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let trust = Trust::new(request("https://i", "s", &["a"])).unwrap();
        let nothing = trust.changed(TrustRequest::default()).unwrap();
        assert_eq!(nothing, trust);
        let expression = ClaimsExpression::parse("claims['sub'] matches 'a*'").unwrap();
        let flexible = TrustRequest { expression: Some(expression), ..TrustRequest::default() };
        let flexible = trust.changed(flexible).unwrap();
        assert!(matches!(flexible.subject, SubjectRule::Matching(_)));
        assert_eq!(flexible.changed(TrustRequest::default()).unwrap(), flexible);
        let exact = TrustRequest { subject: Some("t".into()), ..TrustRequest::default() };
        assert_eq!(flexible.changed(exact).unwrap().subject, SubjectRule::Exact("t".into()));
        let none = TrustRequest { audiences: Some(vec![]), ..TrustRequest::default() };
        assert_eq!(trust.changed(none), Err(Error::AudienceCount));
    }

    #[test]
    fn names_follow_the_providers_rule() {
        for right in ["abc", "a_b-1", "0ab", "a--", &"x".repeat(120)] {
            assert!(check_name(right).is_ok(), "{right}");
        }
        for wrong in ["", "ab", "-ab", "_ab", "a.b", "a b", "abä", &"x".repeat(121)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_go_with_their_holder_and_no_other() {
        let (client, principal) =
            (|n| ClientId::new(Uuid::from_u128(n)), |n| PrincipalId::new(Uuid::from_u128(n + 100)));
        let credential = |n, name: &str| FederatedCredential {
            id: FederatedCredentialId::new(Uuid::from_u128(n)),
            tenant_id: TenantId::new(Uuid::nil()),
            client_id: client(n),
            name: name.to_owned(),
            trust: Trust::new(request("https://i", name, &["a"])).unwrap(),
            description: None,
        };
        let mut snapshot = Snapshot::default();
        for (n, name) in [(1, "one"), (1, "two"), (2, "one"), (4, "one")] {
            snapshot.insert_for_test(&credential(n, name));
        }
        let resource: ArmResourceId = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi".parse().unwrap();
        for n in 1..=4 {
            let identity = ServicePrincipalKind::UserAssigned(resource.clone());
            snapshot.insert_for_test(&ServicePrincipal {
                id: principal(n),
                client_id: client(n),
                tenant_id: TenantId::new(Uuid::nil()),
                display_name: "p".into(),
                kind: if n == 4 { ServicePrincipalKind::Application } else { identity },
                is_enabled: true,
                created_at: 0,
                keys: vec![],
                requires_assignment: false,
                tokens_valid_from: None,
            });
        }
        let removal = |n| {
            let mut changes = Changes::default();
            let operation = OperationContext::system(UtcDateTime::UNIX_EPOCH, Uuid::nil());
            let id = principal(n);
            user_assigned_identity::remove_principal(&snapshot, &mut changes, &operation, id);
            format!("{changes:?}")
        };
        let removed = |n| removal(n).matches("Delete(state/federated-credentials/").count();
        assert_eq!((removed(1), removed(2), removed(3)), (2, 1, 0));
        assert_eq!(removed(4), 0, "an application's stand at the application");
        let first = format!("Absent(state/federated-writes/{})", client(3));
        assert!(removal(3).contains(&first), "a first one that is being made is waited for");
    }
}
