//! What the nouns of the directory are refused for: groups, applications, service principals, app roles, policies, and
//! what was deleted.
//!
//! Source: observed errors of the directory.

use http::StatusCode;
use keycard_domain::directory::app_role_assignment::AppRoleAssignmentError;
use keycard_domain::directory::application::credential::CredentialError;
use keycard_domain::directory::application::registration::ApplicationError;
use keycard_domain::directory::deleted_object::DeletedObjectError;
use keycard_domain::directory::federated_credential::FederatedCredentialError;
use keycard_domain::directory::group::GroupError;
use keycard_domain::directory::policy::definition::DefinitionError;
use keycard_domain::directory::policy::management::PolicyError;
use keycard_domain::directory::service_principal::ServicePrincipalError;
use keycard_domain::state::WriteError;

use super::{Answer, BAD, BAD_REQUEST, GraphError, not_found};

/// What stands in the way of an object that has to be the only one.
const SAME_KEY: &str = "Request_MultipleObjectsWithSameKeyValue";

fn bad(message: impl Into<String>) -> Answer {
    Answer(BAD, BAD_REQUEST, message.into())
}

fn invalid(resource: &'static str, property: &str, why: &str) -> Answer {
    GraphError::invalid(resource, property, why).answer()
}

fn quota(what: &str) -> Answer {
    let message = format!("The directory's quota is exceeded: {what}.");
    Answer(BAD, "Directory_QuotaExceeded", message)
}

/// A reference that is there already.
fn referenced(property: &str) -> Answer {
    bad(format!(
        "One or more added object references already exist for the following modified properties: '{property}'."
    ))
}

fn write(error: &WriteError) -> Answer {
    match error {
        WriteError::Conflict(_) => Answer(
            StatusCode::CONFLICT,
            SAME_KEY,
            "The object is being changed by other requests. Please try again.".to_owned(),
        ),
        WriteError::Unavailable(_) => Answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "serviceNotAvailable",
            "The change cannot be written now. Please try again.".to_owned(),
        ),
        WriteError::PreconditionFailed => Answer(
            StatusCode::PRECONDITION_FAILED,
            "preconditionFailed",
            "The object is not there in the required version.".to_owned(),
        ),
        // Locks are in subscriptions, where nothing of the directory is.
        WriteError::Denied(denied) => {
            Answer(StatusCode::FORBIDDEN, "Authorization_RequestDenied", denied.to_string())
        }
        WriteError::TooLarge(_) => Answer(
            StatusCode::BAD_REQUEST,
            "Request_BadRequest",
            "The object would be too large.".to_owned(),
        ),
        WriteError::Locked(locked) => Answer(StatusCode::CONFLICT, SAME_KEY, locked.to_string()),
    }
}

pub(super) fn group(error: &GroupError) -> Answer {
    match error {
        GroupError::NotFound(id) | GroupError::MemberNotFound(id) => not_found(&id.to_string()),
        GroupError::DisplayNameInvalid => {
            invalid("Group", "displayName", "it has to have 1 to 256 characters")
        }
        GroupError::MailNicknameInvalid => invalid(
            "Group",
            "mailNickname",
            "it has to have 1 to 64 ASCII characters without blanks and without @ ( ) \\ [ ] \" ; : < > ,",
        ),
        GroupError::DescriptionTooLong => {
            invalid("Group", "description", "it has to have at most 1024 characters")
        }
        GroupError::AlreadyMember(_) => referenced("members"),
        GroupError::OwnMember => {
            bad("Invalid object reference: a group cannot be a member of itself.")
        }
        GroupError::LimitReached => quota("it has 50000 groups"),
        GroupError::TooManyMembers => quota("the group has 10000 members"),
        GroupError::TooManyGroups(id) => quota(&format!("'{id}' is in 500 groups")),
        GroupError::Write(error) => write(error),
    }
}

pub(super) fn application(error: &ApplicationError) -> Answer {
    let invalid = |property: &str, why: &str| invalid("Application", property, why);
    match error {
        ApplicationError::NotFound(id) => not_found(&id.to_string()),
        ApplicationError::DisplayNameInvalid => {
            invalid("displayName", "it has to have 1 to 256 characters, none of them a control")
        }
        ApplicationError::IdentifierUriInvalid(_) => invalid(
            "identifierUris",
            "each has to be an absolute URI of at most 255 ASCII characters without a query, fragment or wildcard",
        ),
        ApplicationError::IdentifierUriTaken(_) => {
            bad("Another object with the same value for property identifierUris already exists.")
        }
        ApplicationError::TooManyIdentifierUris => quota("an application has at most 50 URIs"),
        ApplicationError::AppRoleInvalid(id) => invalid(
            "appRoles",
            &format!(
                "role '{id}' has to have a description, a displayName of at most 120 characters, allowedMemberTypes of Application or User, and no value or one of at most 120 ASCII characters without blanks and quotes"
            ),
        ),
        ApplicationError::AppRoleDuplicate(id) => {
            invalid("appRoles", &format!("role '{id}' has the id or value of another"))
        }
        ApplicationError::AppRoleEnabled(_) => Answer(
            BAD,
            "CannotDeleteOrUpdateEnabledEntitlement",
            "Permission (scope or role) cannot be deleted or updated unless disabled first."
                .to_owned(),
        ),
        ApplicationError::TooManyAppRoles => quota("an application has at most 250 app roles"),
        ApplicationError::Credential(error) => credential(error),
        ApplicationError::LimitReached => {
            quota("it has 50000 applications, deleted ones that are still kept included")
        }
        ApplicationError::Administers(id) => administers(&id.to_string()),
        ApplicationError::Write(error) => write(error),
    }
}

fn administers(id: &str) -> Answer {
    bad(format!("'{id}' is needed to administer the directory, and cannot be deleted or disabled."))
}

fn credential(error: &CredentialError) -> Answer {
    let dates = |message: &str| Answer(BAD, "KeyCredentialsInvalidEndDate", message.to_owned());
    match error {
        CredentialError::NotFound(_) => bad("No password credential found with keyId."),
        CredentialError::TooMany => {
            quota("an object has at most 50 client secrets and 20 certificates")
        }
        CredentialError::DisplayNameTooLong => {
            bad("The displayName of a credential has to have at most 256 characters.")
        }
        CredentialError::EndsBeforeStart => {
            bad("The endDateTime of a credential has to be after its startDateTime.")
        }
        CredentialError::CertificateUnusable => bad(
            "Key credential is invalid: 'key' has to be an X.509 certificate in DER with an RSA or P-256 key.",
        ),
        CredentialError::CertificateMissing => {
            bad("Key credential is invalid: 'key' is missing, and no present one has this keyId.")
        }
        CredentialError::OutsideCertificate => {
            dates("Key credential end date is invalid: it has to lie within the certificate's.")
        }
        CredentialError::Expired => dates("Key credential end date is invalid: it is over."),
        CredentialError::ThumbprintWrong => bad(
            "Key credential is invalid: 'customKeyIdentifier' has to be the certificate's thumbprint or absent.",
        ),
        CredentialError::Duplicate => {
            bad("Key credential is invalid: the same keyId or certificate stands twice.")
        }
    }
}

pub(super) fn service_principal(error: &ServicePrincipalError) -> Answer {
    match error {
        ServicePrincipalError::NotFound(id) => not_found(&id.to_string()),
        ServicePrincipalError::ApplicationNotFound(client) => bad(format!(
            "The appId '{client}' of the service principal does not reference a valid application object."
        )),
        ServicePrincipalError::Exists(client) => principal_exists(&client.to_string()),
        ServicePrincipalError::ManagedIdentity(id) => bad(format!(
            "The service principal '{id}' of a managed identity goes with its resource only."
        )),
        ServicePrincipalError::SystemAssigned(id) => bad(format!(
            "The system-assigned identity '{id}' has the credentials of its resource only."
        )),
        ServicePrincipalError::NoApplication(id) => {
            bad(format!("'{id}' has no application, and nothing but an application has secrets."))
        }
        ServicePrincipalError::Administers(id) => administers(&id.to_string()),
        ServicePrincipalError::Credential(error) => credential(error),
        ServicePrincipalError::Write(error) => write(error),
    }
}

fn principal_exists(client: &str) -> Answer {
    Answer(
        StatusCode::CONFLICT,
        SAME_KEY,
        format!(
            "The service principal cannot be created, updated, or restored because the service principal name {client} is already in use."
        ),
    )
}

pub(super) fn app_role_assignment(error: &AppRoleAssignmentError) -> Answer {
    match error {
        AppRoleAssignmentError::NotFound(id) => not_found(&id.to_string()),
        AppRoleAssignmentError::PrincipalNotFound(id)
        | AppRoleAssignmentError::ResourceNotFound(id) => not_found(&id.to_string()),
        AppRoleAssignmentError::RoleNotFound { resource, .. } => {
            bad(format!("Permission being assigned was not found on application '{resource}'."))
        }
        AppRoleAssignmentError::Exists => {
            bad("Permission being assigned already exists on the object.")
        }
        AppRoleAssignmentError::TooMany(id) => {
            quota(&format!("'{id}' has 1000 app roles, or 10000 were given on it"))
        }
        AppRoleAssignmentError::Write(error) => write(error),
    }
}

pub(super) fn policy(error: &PolicyError) -> Answer {
    let invalid = |property: &str, why: &str| invalid("Policy", property, why);
    match error {
        PolicyError::NotFound(id) => not_found(&id.to_string()),
        PolicyError::TargetNotFound(id) => not_found(&id.to_string()),
        PolicyError::DisplayNameInvalid => {
            invalid("displayName", "it has to have 1 to 256 characters, none of them a control")
        }
        PolicyError::DescriptionTooLong => {
            invalid("description", "it has to have at most 1024 characters")
        }
        PolicyError::Definition(error) => invalid("definition", &definition(error)),
        PolicyError::OtherDefault(id) => invalid(
            "isOrganizationDefault",
            &format!("policy '{id}' of this type is the default already"),
        ),
        PolicyError::AlreadyLinked(_) => referenced("policies"),
        PolicyError::OtherLinked(id) => bad(format!(
            "Policy '{id}' of this type is assigned to the object already. An object has at most one."
        )),
        PolicyError::TooManyLinks(id) => {
            quota(&format!("policy '{id}' is assigned to 1000 objects"))
        }
        PolicyError::LimitReached => quota("it has 200 policies"),
        PolicyError::Write(error) => write(error),
    }
}

fn definition(error: &DefinitionError) -> String {
    match error {
        DefinitionError::Malformed(reason) => format!("it cannot be read ({reason})"),
        DefinitionError::TooLong => "it has to have at most 16 KiB".to_owned(),
        DefinitionError::VersionUnknown => "its Version has to be 1".to_owned(),
        DefinitionError::LifetimeMalformed(text) => {
            format!("AccessTokenLifetime '{text}' is not written as D.HH:MM:SS or HH:MM:SS")
        }
        DefinitionError::LifetimeOutOfRange { min, max } => format!(
            "AccessTokenLifetime has to be from {} to {} minutes",
            min.whole_minutes(),
            max.whole_minutes()
        ),
        DefinitionError::ClaimReserved(name) => {
            format!("claim '{name}' is written by the token service only")
        }
        DefinitionError::ClaimInvalid(name) => format!(
            "claim '{name}' has to have a name of 1 to 128 ASCII characters and a value of at most 1024 bytes"
        ),
        DefinitionError::ClaimDuplicate(name) => format!("claim '{name}' stands twice"),
        DefinitionError::ClaimSourceUnknown(name) => format!(
            "claim '{name}' has to have either a Value or the Source application with the ID displayname or objectid"
        ),
        DefinitionError::TooManyClaims => "it has to have at most 50 claims".to_owned(),
    }
}

pub(super) fn deleted_object(error: &DeletedObjectError) -> Answer {
    match error {
        DeletedObjectError::NotFound(id) => not_found(&id.to_string()),
        DeletedObjectError::ManagedIdentity(id) => bad(format!(
            "'{id}' cannot be restored: a managed identity goes for good with its resource."
        )),
        DeletedObjectError::ApplicationNotFound(client) => bad(format!(
            "The appId '{client}' of the service principal does not reference a valid application object."
        )),
        DeletedObjectError::PrincipalExists(client) => principal_exists(&client.to_string()),
        DeletedObjectError::IdentifierUriTaken(_) => {
            bad("Another object with the same value for property identifierUris already exists.")
        }
        DeletedObjectError::Write(error) => write(error),
    }
}

pub(super) fn federated_credential(error: &FederatedCredentialError) -> Answer {
    let taken = |message: String| Answer(StatusCode::CONFLICT, SAME_KEY, message);
    match error {
        FederatedCredentialError::ApplicationNotFound(id) => not_found(&id.to_string()),
        FederatedCredentialError::IdentityNotFound(id) => not_found(id.as_str()),
        FederatedCredentialError::NotFound(name) => not_found(name),
        FederatedCredentialError::NameInvalid(name) => bad(format!(
            "Federated Identity Credential name '{name}' is invalid: it has to have 3 to 120 letters, digits, '-' and '_', and begins with one of the first two."
        )),
        FederatedCredentialError::NameTaken(name) => {
            taken(format!("FederatedIdentityCredential with name {name} already exists."))
        }
        FederatedCredentialError::Duplicate => {
            taken("Issuer and subject combination already exists for this application.".to_owned())
        }
        FederatedCredentialError::Incomplete => {
            bad("Federated Identity Credential needs name, issuer, subject and audiences.")
        }
        FederatedCredentialError::AudienceCount => {
            bad("Federated identity credentials must have exactly one audience.")
        }
        FederatedCredentialError::SubjectAndExpression => {
            bad("Exactly one of 'subject' and 'claimsMatchingExpression' must be specified.")
        }
        FederatedCredentialError::Expression(error) => {
            bad(format!("The claimsMatchingExpression is invalid: {error}."))
        }
        FederatedCredentialError::TooLong(what) => bad(format!(
            "The {what} of a Federated Identity Credential has at most 600 characters."
        )),
        FederatedCredentialError::IssuerInvalid => {
            bad("The issuer of a Federated Identity Credential must be an https URL.")
        }
        FederatedCredentialError::LimitReached(max) => Answer(
            BAD,
            "Directory_QuotaExceeded",
            format!(
                "Too many Federated Identity Credentials are defined on the object. The maximum is {max}."
            ),
        ),
        // Only identities lie in a subscription, and this face has none of them.
        FederatedCredentialError::Resource(error) => not_found(&error.to_string()),
        FederatedCredentialError::Write(error) => write(error),
    }
}
