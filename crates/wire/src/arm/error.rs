//! What Resource Manager answers to a refusal: status, code, message.
//!
//! Source: "Troubleshoot common Azure deployment errors"; observed errors of the front door and of providers.

mod authorization;
mod cluster;
mod deployment;
mod diagnostic_setting;
mod front_door;
mod generic;
mod lock;

use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{StatusCode, header};
use keycard_domain::bootstrap::NewTenantError;
use keycard_domain::clock::ClockError;
use keycard_domain::compute::ComputeError;
use keycard_domain::compute::attachment::AttachmentError;
use keycard_domain::compute::managed_cluster::ClusterError;
use keycard_domain::compute::scale_set::ScaleSetError;
use keycard_domain::directory::assignment_restrictions::NotAssignable;
use keycard_domain::directory::federated_credential::{self, FederatedCredentialError};
use keycard_domain::directory::identity_block::{ASSIGN_ACTION, IdentityBlockError, IdentityType};
use keycard_domain::directory::user_assigned_identity::{self, UserAssignedIdentityError};
use keycard_domain::ids::TenantId;
use keycard_domain::key_vault::secret::SecretError;
use keycard_domain::key_vault::vault::VaultError;
use keycard_domain::limits;
use keycard_domain::monitoring::diagnostic_setting::DiagnosticSettingError;
use keycard_domain::operation::OperationContext;
use keycard_domain::rbac::assignment::AssignmentError;
use keycard_domain::rbac::custom_role::CustomRoleError;
use keycard_domain::rbac::deny_assignment::DenyAssignmentError;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::ResourceError;
use keycard_domain::resources::feature::FeatureError;
use keycard_domain::resources::generic::GenericResourceError;
use keycard_domain::resources::lock::LockError;
use keycard_domain::resources::management_group::ManagementGroupError;
use keycard_domain::resources::provider_registration::ProviderRegistrationError;
use keycard_domain::resources::relocation::MoveError;
use keycard_domain::resources::subscription::SubscriptionError;
use keycard_domain::state::WriteError;
use keycard_domain::token::forge::ForgeError;
use keycard_domain::token::signing_key::SigningKeyError;
use keycard_domain::token::verify::BearerError;
use serde_json::json;
use time::UtcDateTime;

use crate::request::BodyError;
use crate::route::ErrorCode;
pub(super) use authorization::Forbidden;
use authorization::linked_authorization_failed;
pub(super) use deployment::{DeploymentRefusal, refusal_text};

/// Why the face refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ArmError {
    TokenMissing,
    TokenRefused {
        error: BearerError,
        now: UtcDateTime,
    },
    TenantWrong {
        found: String,
        expected: String,
        authority: String,
    },
    ApiVersionMissing,
    ApiVersionInvalid(String),
    AuthorizationFailed(Box<Forbidden>),
    PathMalformed,
    PathUnknown,
    SubscriptionIdInvalid(String),
    ConditionMalformed(&'static str),
    PreconditionFailed,
    NamespaceUnknown(String),
    ResourceTypeUnknown {
        namespace: String,
        resource_type: String,
        api_version: String,
    },
    MethodNotAllowed,
    Body(BodyError),
    BodyMalformed(String),
    ParameterMissing(&'static str),
    FilterUnsupported(String),
    ParameterInvalid {
        name: &'static str,
        value: String,
    },
    Unsupported(&'static str),
    Resource(ResourceError),
    Identity(UserAssignedIdentityError),
    FederatedCredential(FederatedCredentialError),
    IdentityBlock {
        error: IdentityBlockError,
        resource: ArmResourceId,
        operation: Box<OperationContext>,
    },
    IdentityIds(IdentityType),
    ScaleSet(ScaleSetError),
    Cluster(ClusterError),
    SiteNameTaken(String),
    Vault(VaultError),
    Secret(SecretError),
    Assignment {
        error: AssignmentError,
        tenant: TenantId,
    },
    CustomRole {
        error: CustomRoleError,
        operation: Box<OperationContext>,
    },
    DenyAssignment(DenyAssignmentError),
    DiagnosticSetting {
        error: DiagnosticSettingError,
        operation: Box<OperationContext>,
    },
    ManagementGroup {
        error: ManagementGroupError,
        operation: Box<OperationContext>,
    },
    ConditionInvalid(String),
    PrincipalTypeInvalid(String),
    NotRecording,
    Clock(ClockError),
    Forge(ForgeError),
    NewTenant(NewTenantError),
    Subscription(SubscriptionError),
    SigningKey(SigningKeyError),
    RoleDefinitionNotFound(String),
    RoleAssignmentNotFound(String),
    NotFound {
        resource_type: String,
        name: String,
    },
    Attachment(AttachmentError),
    Deployment(Box<DeploymentRefusal>),
    Generic {
        error: GenericResourceError,
        resource: ArmResourceId,
        operation: Box<OperationContext>,
    },
    Feature(FeatureError),
    ProviderRegistration(ProviderRegistrationError),
    ProviderUnregistered(String),
    Lock(LockError),
    Move {
        error: MoveError,
        operation: Box<OperationContext>,
    },
    LockLevelInvalid(String),
}

/// A row of the table: status, code, message.
struct Answer(StatusCode, &'static str, String);

const BAD: StatusCode = StatusCode::BAD_REQUEST;

impl From<ResourceError> for ArmError {
    fn from(error: ResourceError) -> Self {
        Self::Resource(error)
    }
}

impl From<WriteError> for ArmError {
    fn from(error: WriteError) -> Self {
        Self::Resource(error.into())
    }
}

impl From<UserAssignedIdentityError> for ArmError {
    fn from(error: UserAssignedIdentityError) -> Self {
        Self::Identity(error)
    }
}

impl From<FederatedCredentialError> for ArmError {
    fn from(error: FederatedCredentialError) -> Self {
        Self::FederatedCredential(error)
    }
}

impl From<ScaleSetError> for ArmError {
    fn from(error: ScaleSetError) -> Self {
        Self::ScaleSet(error)
    }
}

impl From<VaultError> for ArmError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<ClockError> for ArmError {
    fn from(error: ClockError) -> Self {
        Self::Clock(error)
    }
}

impl From<ForgeError> for ArmError {
    fn from(error: ForgeError) -> Self {
        Self::Forge(error)
    }
}

impl From<NewTenantError> for ArmError {
    fn from(error: NewTenantError) -> Self {
        Self::NewTenant(error)
    }
}

impl From<SubscriptionError> for ArmError {
    fn from(error: SubscriptionError) -> Self {
        Self::Subscription(error)
    }
}

impl From<SigningKeyError> for ArmError {
    fn from(error: SigningKeyError) -> Self {
        Self::SigningKey(error)
    }
}

impl From<ProviderRegistrationError> for ArmError {
    fn from(error: ProviderRegistrationError) -> Self {
        Self::ProviderRegistration(error)
    }
}

impl From<FeatureError> for ArmError {
    fn from(error: FeatureError) -> Self {
        Self::Feature(error)
    }
}

impl From<LockError> for ArmError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl From<AttachmentError> for ArmError {
    fn from(error: AttachmentError) -> Self {
        Self::Attachment(error)
    }
}

impl ArmError {
    /// A compute resource's refusal; the identity part is worded with the resource and the caller.
    pub(super) fn compute(
        error: ComputeError,
        resource: &ArmResourceId,
        operation: &OperationContext,
    ) -> Self {
        match error {
            ComputeError::Resource(error) => Self::Resource(error),
            ComputeError::ScaleSet(error) => Self::ScaleSet(error),
            ComputeError::Cluster(error) => Self::Cluster(error),
            ComputeError::KubeletIdentity(error) => Self::Identity(error),
            ComputeError::NameTaken(name) => Self::SiteNameTaken(name),
            ComputeError::Identity(error) => Self::IdentityBlock {
                error,
                resource: resource.clone(),
                operation: Box::new(operation.clone()),
            },
        }
    }

    /// A generic resource's refusal; the identity part is worded with the resource and the caller.
    pub(super) fn generic(
        error: GenericResourceError,
        resource: &ArmResourceId,
        operation: &OperationContext,
    ) -> Self {
        let (resource, operation) = (resource.clone(), Box::new(operation.clone()));
        Self::Generic { error, resource, operation }
    }

    fn answer(&self) -> Answer {
        match self {
            Self::TokenMissing => Answer(
                StatusCode::UNAUTHORIZED,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.".to_owned(),
            ),
            Self::TokenRefused { error, now } => front_door::token(error, *now),
            Self::TenantWrong { found, expected, authority } => {
                front_door::tenant_wrong(found, expected, authority)
            }
            Self::ApiVersionMissing => front_door::api_version_missing(),
            Self::ApiVersionInvalid(version) => front_door::api_version_invalid(version),
            Self::AuthorizationFailed(forbidden) => authorization::forbidden(forbidden),
            Self::PathMalformed => {
                Answer(BAD, "InvalidRequestUri", "The path of the request is malformed.".to_owned())
            }
            Self::PathUnknown => Answer(
                StatusCode::NOT_FOUND,
                "NotFound",
                "keycard's Resource Manager has nothing at this path.".to_owned(),
            ),
            Self::SubscriptionIdInvalid(text) => front_door::subscription_id_invalid(text),
            Self::ConditionMalformed(header) => front_door::condition_malformed(header),
            Self::PreconditionFailed => front_door::precondition_failed(),
            Self::NamespaceUnknown(namespace) => front_door::namespace_unknown(namespace),
            Self::ResourceTypeUnknown { namespace, resource_type, api_version } => {
                front_door::resource_type_unknown(namespace, resource_type, api_version)
            }
            Self::MethodNotAllowed => Answer(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "The method is not allowed on this path.".to_owned(),
            ),
            Self::Body(error) => body(*error),
            Self::BodyMalformed(reason) => Answer(
                BAD,
                "InvalidRequestContent",
                format!(
                    "The request content was invalid and could not be deserialized: '{reason}'."
                ),
            ),
            Self::ParameterMissing(name) => Answer(
                BAD,
                "InvalidParameter",
                format!("Required parameter '{name}' is missing (null)."),
            ),
            Self::FilterUnsupported(filter) => {
                Answer(BAD, "UnsupportedQuery", format!("The filter '{filter}' is not supported."))
            }
            Self::ParameterInvalid { name, value } => Answer(
                BAD,
                "InvalidParameter",
                format!("The value '{value}' of the parameter '{name}' is invalid."),
            ),
            Self::Unsupported(what) => Answer(
                StatusCode::NOT_IMPLEMENTED,
                "NotImplemented",
                format!("keycard does not support {what} yet."),
            ),
            Self::Resource(error) => resource(error),
            Self::Identity(error) => identity(error),
            Self::FederatedCredential(error) => federated_credential(error),
            Self::IdentityBlock { error, resource, operation } => {
                identity_block(error, resource, operation)
            }
            Self::IdentityIds(identity_type) => identity_ids(*identity_type),
            Self::ScaleSet(error) => scale_set(error),
            Self::Cluster(error) => cluster::answer(error),
            Self::SiteNameTaken(name) => Answer(
                StatusCode::CONFLICT,
                "Conflict",
                format!("Website with given name {name} already exists."),
            ),
            Self::Vault(error) => vault(error),
            Self::Secret(error) => secret(error),
            Self::Assignment { error, tenant } => authorization::assignment(error, *tenant),
            Self::CustomRole { error, operation } => authorization::custom_role(error, operation),
            Self::DenyAssignment(error) => authorization::deny_assignment(error),
            Self::DiagnosticSetting { error, operation } => {
                diagnostic_setting::answer(error, operation)
            }
            Self::Clock(ClockError::OutOfRange) => {
                Answer(BAD, "InvalidDuration", format!("{}.", ClockError::OutOfRange))
            }
            Self::Clock(ClockError::Unavailable(reason)) => {
                Answer(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", reason.clone())
            }
            Self::Forge(error) => {
                Answer(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", error.to_string())
            }
            Self::NewTenant(error) => new_tenant(error),
            Self::Subscription(error) => subscription(error),
            Self::SigningKey(SigningKeyError::NotFound(id)) => Answer(
                StatusCode::NOT_FOUND,
                "SigningKeyNotFound",
                format!("The tenant has no token-signing key '{id}'."),
            ),
            Self::SigningKey(error) => {
                Answer(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", error.to_string())
            }
            Self::NotRecording => Answer(
                StatusCode::CONFLICT,
                "NotRecording",
                "Nothing is being recorded. Start with: keycard record start".to_owned(),
            ),
            Self::PrincipalTypeInvalid(text) => Answer(
                BAD,
                "InvalidPrincipalType",
                format!(
                    "The PrincipalType property '{text}' is not valid. It must be 'User', 'Group' or 'ServicePrincipal'."
                ),
            ),
            Self::ManagementGroup { error, operation } => {
                authorization::management_group(error, operation)
            }
            Self::ConditionInvalid(_) => Answer(
                BAD,
                "InvalidCondition",
                "The given role assignment condition is invalid.".to_owned(),
            ),
            Self::RoleDefinitionNotFound(id) => authorization::role_not_found(id),
            Self::RoleAssignmentNotFound(name) => Answer(
                StatusCode::NOT_FOUND,
                "RoleAssignmentNotFound",
                format!("The role assignment '{name}' is not found."),
            ),
            Self::NotFound { resource_type, name } => Answer(
                StatusCode::NOT_FOUND,
                "ResourceNotFound",
                format!("The Resource '{resource_type}/{name}' was not found."),
            ),
            Self::Attachment(AttachmentError::ResourceNotFound(id)) => resource_not_found(id),
            Self::Attachment(AttachmentError::Unavailable(reason)) => {
                Answer(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", reason.clone())
            }
            Self::Deployment(refusal) => deployment::answer(refusal),
            Self::Generic { error, resource, operation } => {
                generic::answer(error, resource, operation)
            }
            Self::Feature(error) => generic::feature(error),
            Self::ProviderRegistration(error) => generic::provider_registration(error),
            Self::ProviderUnregistered(namespace) => front_door::provider_unregistered(namespace),
            Self::Lock(error) => lock::lock(error),
            Self::Move { error, operation } => lock::relocation(error, operation),
            Self::LockLevelInvalid(level) => Answer(
                BAD,
                "InvalidLockLevel",
                format!(
                    "The lock level '{level}' is not valid. It must be 'CanNotDelete' or 'ReadOnly'."
                ),
            ),
        }
    }

    /// After how many seconds the client may try again, where waiting helps.
    const fn retry_after_seconds(&self, status: StatusCode) -> Option<u32> {
        match (self, status) {
            (Self::Identity(UserAssignedIdentityError::TooManyRequests(refused)), _) => {
                Some(refused.retry_after_seconds)
            }
            (_, StatusCode::SERVICE_UNAVAILABLE) => Some(1),
            _ => None,
        }
    }

    /// Errors of the front door say so.
    fn is_of_gateway(&self, code: &str) -> bool {
        matches!(self, Self::PathUnknown | Self::MethodNotAllowed)
            || front_door::is_of_front_door(code)
    }
}

fn body(error: BodyError) -> Answer {
    match error {
        BodyError::TooLarge => Answer(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestContentTooLarge",
            "The request content is too large.".to_owned(),
        ),
        BodyError::TooSlow => Answer(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            "The request content did not arrive in time.".to_owned(),
        ),
        BodyError::Incomplete => {
            Answer(BAD, "InvalidRequestContent", "The request content is incomplete.".to_owned())
        }
    }
}

fn resource_not_found(id: &ArmResourceId) -> Answer {
    Answer(
        StatusCode::NOT_FOUND,
        "ResourceNotFound",
        format!(
            "The Resource '{}/{}' under resource group '{}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
            id.resource_type(),
            id.name(),
            id.resource_group()
        ),
    )
}

fn resource(error: &ResourceError) -> Answer {
    match error {
        ResourceError::SubscriptionNotFound(id) => Answer(
            StatusCode::NOT_FOUND,
            "SubscriptionNotFound",
            format!("The subscription '{id}' could not be found."),
        ),
        ResourceError::GroupNotFound(name) => Answer(
            StatusCode::NOT_FOUND,
            "ResourceGroupNotFound",
            format!("Resource group '{name}' could not be found."),
        ),
        ResourceError::NotFound(id) => resource_not_found(id),
        ResourceError::ParentNotFound(id) => front_door::parent_not_found(id.name()),
        ResourceError::NameInvalid { resource_type, name } => Answer(
            BAD,
            "InvalidResourceName",
            format!("The name '{name}' is not valid for a resource of type '{resource_type}'."),
        ),
        ResourceError::LocationRequired => Answer(
            BAD,
            "LocationRequired",
            "The location property is required for this definition.".to_owned(),
        ),
        ResourceError::LocationImmutable { name, group, present, requested } => Answer(
            StatusCode::CONFLICT,
            "InvalidResourceLocation",
            format!(
                "The resource '{name}' already exists in location '{present}' in resource group '{group}'. A resource with the same name cannot be created in location '{requested}'. Please select a new resource name."
            ),
        ),
        ResourceError::GroupLocationImmutable { present, requested } => Answer(
            StatusCode::CONFLICT,
            "InvalidResourceGroupLocation",
            format!(
                "Invalid resource group location '{requested}'. The Resource group already exists in location '{present}'."
            ),
        ),
        ResourceError::TooManyTags(count) => Answer(
            BAD,
            "InvalidTags",
            format!("The resource has {count} tags; at most 50 are allowed."),
        ),
        ResourceError::TagInvalid(name) => {
            Answer(BAD, "InvalidTags", format!("The tag '{name}' is not allowed, or stands twice."))
        }
        ResourceError::NotTaggable(scope) => {
            Answer(BAD, "InvalidScope", format!("The scope '{scope}' cannot have tags."))
        }
        ResourceError::Write(error) => write(error),
    }
}

fn write(error: &WriteError) -> Answer {
    match error {
        WriteError::Conflict(_) => Answer(
            StatusCode::CONFLICT,
            "Conflict",
            "The resource is being changed by other requests. Please try again.".to_owned(),
        ),
        WriteError::Unavailable(_) => Answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The change cannot be written now. Please try again.".to_owned(),
        ),
        WriteError::PreconditionFailed => front_door::precondition_failed(),
        WriteError::Locked(locked) => lock::scope_locked(locked),
    }
}

fn new_tenant(error: &NewTenantError) -> Answer {
    let (status, code) = match error {
        NewTenantError::NameInvalid(_) => (BAD, "InvalidTenantName"),
        NewTenantError::Exists(_) => (StatusCode::CONFLICT, "TenantExists"),
        NewTenantError::TooMany => (BAD, "TooManyTenants"),
        NewTenantError::KeysUnusable(_) | NewTenantError::Write(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
        }
    };
    Answer(status, code, format!("{error}."))
}

fn subscription(error: &SubscriptionError) -> Answer {
    let (status, code) = match error {
        SubscriptionError::AliasInvalid(_) => (BAD, "InvalidSubscriptionAlias"),
        SubscriptionError::NameInvalid => (BAD, "InvalidSubscriptionName"),
        SubscriptionError::TooMany => (BAD, "SubscriptionLimitExceeded"),
        SubscriptionError::Write(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    };
    Answer(status, code, format!("{error}."))
}

/// What a resource of a directory for customers is told, which has no managed identities.
const NO_IDENTITIES: &str =
    "Managed identities are not supported in a directory of the type 'AAD B2C'.";

fn identity(error: &UserAssignedIdentityError) -> Answer {
    match error {
        UserAssignedIdentityError::NameInvalid(name) => resource(&ResourceError::NameInvalid {
            resource_type: user_assigned_identity::RESOURCE_TYPE,
            name: name.clone(),
        }),
        UserAssignedIdentityError::NotFound(id) => resource_not_found(id),
        UserAssignedIdentityError::TenantHasNone => {
            Answer(BAD, "BadRequest", NO_IDENTITIES.to_owned())
        }
        UserAssignedIdentityError::TooManyRequests(_) => Answer(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequests",
            "The request is being throttled. Please try again later.".to_owned(),
        ),
        UserAssignedIdentityError::Resource(error) => resource(error),
    }
}

fn federated_credential(error: &FederatedCredentialError) -> Answer {
    let bad = |message: &str| Answer(BAD, "BadRequest", message.to_owned());
    match error {
        FederatedCredentialError::IdentityNotFound(_)
        | FederatedCredentialError::ApplicationNotFound(_) => Answer(
            StatusCode::NOT_FOUND,
            "NotFound",
            "The parent user-assigned identity doesn't exist.".to_owned(),
        ),
        FederatedCredentialError::NotFound(name) => Answer(
            StatusCode::NOT_FOUND,
            "ResourceNotFound",
            format!("The Resource '{}/{name}' was not found.", federated_credential::RESOURCE_TYPE),
        ),
        FederatedCredentialError::NameInvalid(name) => {
            bad(&format!("Federated Identity Credential name '{name}' is invalid."))
        }
        FederatedCredentialError::Incomplete => {
            bad("Federated Identity Credential from HTTP body has empty properties")
        }
        FederatedCredentialError::AudienceCount => {
            bad("Federated identity credentials must have exactly one audience.")
        }
        FederatedCredentialError::Duplicate => {
            bad("Issuer and subject combination already exists for this Managed Identity.")
        }
        FederatedCredentialError::LimitReached(max) => bad(&format!(
            "Too many Federated Identity Credentials are defined on the object. The maximum is {max}."
        )),
        FederatedCredentialError::SubjectAndExpression => {
            bad("Exactly one of 'subject' and 'claimsMatchingExpression' must be specified.")
        }
        FederatedCredentialError::Expression(error) => {
            bad(&format!("The claimsMatchingExpression is invalid: {error}."))
        }
        FederatedCredentialError::TooLong(what) => bad(&format!(
            "The {what} of a Federated Identity Credential has at most 600 characters."
        )),
        FederatedCredentialError::IssuerInvalid => {
            bad("The issuer of a Federated Identity Credential must be an https URL.")
        }
        FederatedCredentialError::NameTaken(_) => Answer(
            StatusCode::CONFLICT,
            "Conflict",
            "A Federated Identity Credential of this name exists already.".to_owned(),
        ),
        FederatedCredentialError::Resource(error) => resource(error),
        FederatedCredentialError::Write(error) => write(error),
    }
}

/// Everything the identity service refuses is wrapped by the resource provider.
fn failed_identity_operation(id: &ArmResourceId, inner: &str) -> Answer {
    let response = json!({ "error": { "code": "BadRequest", "message": inner } });
    Answer(
        BAD,
        "FailedIdentityOperation",
        format!(
            "Identity operation for resource '{id}' failed with error 'Failed to perform resource identity operation. Status: 'BadRequest'. Response: '{response}'.'."
        ),
    )
}

fn identity_block(
    error: &IdentityBlockError,
    id: &ArmResourceId,
    operation: &OperationContext,
) -> Answer {
    match error {
        IdentityBlockError::IdentityNotFound(identity) => failed_identity_operation(
            id,
            &format!("Resource '{}' was not found.", identity.with_lowercase_group_segment()),
        ),
        IdentityBlockError::TypeExcludesMap => failed_identity_operation(
            id,
            "The request format was unexpected, a non-UserAssigned identity type should not contain: userAssignedIdentities",
        ),
        IdentityBlockError::TypeUnsupported { resource_type, requested, supported } => {
            let supported = supported.iter().filter(|it| **it != IdentityType::None);
            let supported: Vec<&str> = supported.map(|it| it.as_str()).collect();
            Answer(
                BAD,
                "BadRequest",
                format!(
                    "Resource type '{resource_type}' does not support creation of '{}' resource identity. The supported types are '{}'.",
                    requested.as_str(),
                    supported.join("','")
                ),
            )
        }
        IdentityBlockError::CountUnexpected { count, expected } => Answer(
            BAD,
            "InvalidParameter",
            format!(
                "The count of user assigned identity specified in identity.userAssignedIdentities is {count}, while expected value is {expected}."
            ),
        ),
        IdentityBlockError::IdentitiesRequired => failed_identity_operation(
            id,
            "The request format was unexpected : Request requires identities to be assigned.",
        ),
        IdentityBlockError::TooManyInRequest { count, max } => failed_identity_operation(
            id,
            &format!(
                "User Assigned Identities Number '{count}' Assign exceed limit '{max}' in one request."
            ),
        ),
        IdentityBlockError::TooManyOnResource { count, max } => failed_identity_operation(
            id,
            &format!(
                "The resource would have '{count}' user assigned identities, at most '{max}' are allowed."
            ),
        ),
        IdentityBlockError::NotAssignable(NotAssignable::OtherRegion {
            identity,
            region,
            location,
        }) => failed_identity_operation(
            id,
            &format!(
                "The user assigned identity '{}' has the isolation scope 'Regional' and cannot be assigned to a resource in location '{location}': it is in location '{region}'.",
                identity.with_lowercase_group_segment()
            ),
        ),
        IdentityBlockError::NotAssignable(NotAssignable::OtherType { identity, resource_type }) => {
            failed_identity_operation(
                id,
                &format!(
                    "The user assigned identity '{}' cannot be assigned to a resource of type '{resource_type}': its assignment restrictions do not name it.",
                    identity.with_lowercase_group_segment()
                ),
            )
        }
        IdentityBlockError::TenantHasNone => failed_identity_operation(id, NO_IDENTITIES),
        IdentityBlockError::AssignNotGranted(identities) => {
            linked_authorization_failed(ASSIGN_ACTION, identities, id.as_str(), operation)
        }
    }
}

fn identity_ids(identity_type: IdentityType) -> Answer {
    let message = match identity_type {
        IdentityType::SystemAssigned => {
            "ResourceIdentity identityIds should not be provided if the type is \"SystemAssigned\"."
        }
        IdentityType::None | IdentityType::UserAssigned | IdentityType::SystemAndUserAssigned => {
            "ResourceIdentity identityIds is of former api-versions; list the identities in userAssignedIdentities."
        }
    };
    Answer(BAD, "InvalidParameter", message.to_owned())
}

fn scale_set(error: &ScaleSetError) -> Answer {
    match error {
        ScaleSetError::InstanceIdInvalid(id) => Answer(
            BAD,
            "InvalidParameter",
            format!(
                "The provided instanceId {id} is invalid. It must be a non-negative integer or the character \"*\"."
            ),
        ),
        ScaleSetError::InstanceNotFound(id) => Answer(
            BAD,
            "InvalidParameter",
            format!(
                "The provided instanceId {id} is not an active Virtual Machine Scale Set VM instanceId."
            ),
        ),
        ScaleSetError::TooManyInstances { name, .. } => Answer(
            StatusCode::CONFLICT,
            "OperationNotAllowed",
            format!(
                "Unable to create or update Virtual Machine Scale Set '{name}' as it exceeds the total limit of '{max}' Virtual Machine instances.",
                max = limits::SCALE_SET_INSTANCES_MAX
            ),
        ),
    }
}

/// The part of the request that is wrong, where Azure names it.
const fn scale_set_target(error: &ScaleSetError) -> Option<&'static str> {
    match error {
        ScaleSetError::InstanceIdInvalid(_) | ScaleSetError::InstanceNotFound(_) => {
            Some("instanceIds")
        }
        ScaleSetError::TooManyInstances { .. } => None,
    }
}

/// The text of a vault's refusal, where it stands in an answer that is none.
pub(super) fn vault_refusal_text(error: &VaultError) -> String {
    vault(error).2
}

fn vault(error: &VaultError) -> Answer {
    match error {
        VaultError::NameTaken(name) => Answer(
            StatusCode::CONFLICT,
            "VaultAlreadyExists",
            format!("The vault name '{name}' is already in use. Vault names are globally unique so it is possible that the name is already taken. If you are sure that the vault name was not taken then it is possible that a vault with the same name was recently deleted but not purged after being placed in a recoverable state."),
        ),
        VaultError::NameTakenByDeleted(_) => Answer(
            StatusCode::CONFLICT,
            "ConflictError",
            "A vault with the same name already exists in deleted state. You need to either recover or purge existing key vault.".to_owned(),
        ),
        VaultError::NothingToRecover(name) => Answer(
            StatusCode::NOT_FOUND,
            "DeletedVaultNotFound",
            format!("The specified deleted vault '{name}' does not exist."),
        ),
        VaultError::SettingInvalid(what) => Answer(BAD, "BadRequest", format!("{what}.")),
        VaultError::TenantWrong(tenant) => Answer(
            BAD,
            "BadRequest",
            format!("The tenant '{tenant}' is not the tenant of the subscription."),
        ),
        VaultError::PurgeProtected => Answer(
            BAD,
            "MethodNotAllowed",
            "Operation 'DeletedVaultPurge' is not allowed: purge protection is enabled.".to_owned(),
        ),
        VaultError::Resource(ResourceError::NameInvalid { name, .. }) => Answer(
            BAD,
            "VaultNameNotValid",
            format!("The vault name '{name}' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name must begin with a letter, end with a letter or digit, and not contain consecutive hyphens."),
        ),
        VaultError::Resource(error) => resource(error),
    }
}

fn secret(error: &SecretError) -> Answer {
    let bad = |message: &str| Answer(BAD, "BadRequest", message.to_owned());
    match error {
        SecretError::NameInvalid => bad("A secret's name has 1 to 127 letters, digits and dashes."),
        SecretError::ValueTooLong => {
            bad("The secret value is too long: at most 25600 characters are allowed.")
        }
        SecretError::TagsInvalid => bad("Too many or too long tags, or a too long content type."),
        SecretError::TooManyVersions => {
            bad("The secret has as many versions as a secret may have.")
        }
        SecretError::NotFound(name) | SecretError::DeletedNotFound(name) => Answer(
            StatusCode::NOT_FOUND,
            "SecretNotFound",
            format!("A secret with (name/id) {name} was not found in this key vault."),
        ),
        SecretError::VaultGone(name) => Answer(
            StatusCode::NOT_FOUND,
            "VaultNotFound",
            format!("The vault '{name}' could not be found."),
        ),
        SecretError::DeletedButRecoverable(name) => Answer(
            StatusCode::CONFLICT,
            "ConflictError",
            format!(
                "Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged."
            ),
        ),
        SecretError::Disabled => bad("Operation get is not allowed on a disabled secret."),
        SecretError::PurgeProtected => bad("Purge protection is enabled for this vault."),
        SecretError::Write(error) => write(error),
        SecretError::Unopenable | SecretError::Unreadable(_) => Answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            "The secret cannot be read.".to_owned(),
        ),
    }
}

impl IntoResponse for ArmError {
    fn into_response(self) -> Response {
        let Answer(status, code, message) = self.answer();
        let gateway = self.is_of_gateway(code).then_some([("x-ms-failure-cause", "gateway")]);
        let retry_after = self.retry_after_seconds(status);
        let retry_after = retry_after.map(|it| [(header::RETRY_AFTER, it.to_string())]);
        let mut error = json!({ "code": code, "message": message });
        if let (Self::ProviderUnregistered(namespace), Some(members)) =
            (&self, error.as_object_mut())
        {
            let message = members.get("message").cloned();
            let detail = json!({ "code": code, "target": namespace, "message": message });
            members.insert("details".to_owned(), json!([detail]));
        }
        if let (Self::ConditionInvalid(reason), Some(members)) = (&self, error.as_object_mut()) {
            members.insert("details".to_owned(), json!([{ "code": code, "message": reason }]));
        }
        if let (Self::Deployment(refusal), Some(members)) = (&self, error.as_object_mut()) {
            members.extend(deployment::additional_info(refusal));
        }
        if let (Self::ScaleSet(refused), Some(members)) = (&self, error.as_object_mut()) {
            let target = scale_set_target(refused).map(|it| ("target".to_owned(), json!(it)));
            members.extend(target);
        }
        if let (Self::IdentityIds(_), Some(members)) = (&self, error.as_object_mut()) {
            members.insert("target".to_owned(), json!("resourceIdentity.identityIds"));
        }
        let body = Json(json!({ "error": error }));
        (status, gateway, retry_after, Extension(ErrorCode(code)), body).into_response()
    }
}
