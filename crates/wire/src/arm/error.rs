//! What Resource Manager answers to a refusal: status, code, message. The words are in the files below, by family.
//!
//! Source: "Troubleshoot common Azure deployment errors"; observed errors of the front door and of providers.

mod administration;
mod authorization;
mod cluster;
mod compute;
mod deployment;
mod diagnostic_setting;
mod fault;
mod front_door;
mod generic;
mod identity;
mod key_vault;
mod lock;
mod relocation;
mod request;
mod resource;

use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{StatusCode, header};
use keycard_domain::bootstrap::NewTenantError;
use keycard_domain::clock::ClockError;
use keycard_domain::compute::ComputeError;
use keycard_domain::compute::attachment::AttachmentError;
use keycard_domain::compute::managed_cluster::ClusterError;
use keycard_domain::compute::scale_set::ScaleSetError;
use keycard_domain::directory::federated_credential::FederatedCredentialError;
use keycard_domain::directory::identity_block::{IdentityBlockError, IdentityType};
use keycard_domain::directory::user_assigned_identity::UserAssignedIdentityError;
use keycard_domain::fault::FaultError;
use keycard_domain::ids::TenantId;
use keycard_domain::key_vault::secret::SecretError;
use keycard_domain::key_vault::vault::VaultError;
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
use keycard_domain::token::cluster_issuer::ServiceAccountError;
use keycard_domain::token::forge::ForgeError;
use keycard_domain::token::signing_key::SigningKeyError;
use keycard_domain::token::verify::BearerError;
use serde_json::json;
use time::UtcDateTime;

use crate::request::BodyError;
use crate::route::ErrorCode;
pub(super) use authorization::Forbidden;
pub(super) use deployment::{DeploymentRefusal, refusal_text};
pub(super) use key_vault::vault_refusal_text;
use resource::resource;

/// Why the face refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ArmError {
    // The front door: who asks, and whether there is anything at the path.
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
    PathMalformed,
    PathUnknown,
    MethodNotAllowed,
    SubscriptionIdInvalid(String),
    NamespaceUnknown(String),
    ProviderUnregistered(String),
    ResourceTypeUnknown {
        namespace: String,
        resource_type: String,
        api_version: String,
    },
    ConditionMalformed(&'static str),
    PreconditionFailed,
    // What the request itself is refused for.
    Body(BodyError),
    BodyMalformed(String),
    ParameterMissing(&'static str),
    ParameterInvalid {
        name: &'static str,
        value: String,
    },
    FilterUnsupported(String),
    Unsupported(&'static str),
    // Resources of whatever type.
    Resource(ResourceError),
    NotFound {
        resource_type: String,
        name: String,
    },
    Subscription(SubscriptionError),
    ManagementGroup {
        error: ManagementGroupError,
        operation: Box<OperationContext>,
    },
    Generic {
        error: GenericResourceError,
        resource: ArmResourceId,
        operation: Box<OperationContext>,
    },
    Feature(FeatureError),
    ProviderRegistration(ProviderRegistrationError),
    Lock(LockError),
    LockLevelInvalid(String),
    Move {
        error: MoveError,
        operation: Box<OperationContext>,
    },
    DiagnosticSetting {
        error: DiagnosticSettingError,
        operation: Box<OperationContext>,
    },
    Deployment(Box<DeploymentRefusal>),
    // Identities.
    Identity(UserAssignedIdentityError),
    FederatedCredential(FederatedCredentialError),
    IdentityBlock {
        error: IdentityBlockError,
        resource: ArmResourceId,
        operation: Box<OperationContext>,
    },
    IdentityIds(IdentityType),
    // Types with words of their own.
    ScaleSet(ScaleSetError),
    Cluster(ClusterError),
    SiteNameTaken(String),
    Attachment(AttachmentError),
    ServiceAccount(ServiceAccountError),
    Vault(VaultError),
    Secret(SecretError),
    // Rights.
    AuthorizationFailed(Box<Forbidden>),
    Assignment {
        error: AssignmentError,
        tenant: TenantId,
    },
    RoleAssignmentNotFound(String),
    PrincipalTypeInvalid(String),
    ConditionInvalid(String),
    CustomRole {
        error: CustomRoleError,
        operation: Box<OperationContext>,
    },
    RoleDefinitionNotFound(String),
    DenyAssignment(DenyAssignmentError),
    // keycard's own rows.
    Clock(ClockError),
    Forge(ForgeError),
    NewTenant(NewTenantError),
    Fault(FaultError),
    SigningKey(SigningKeyError),
    NotRecording,
}

/// A row of the table: status, code, message.
struct Answer(StatusCode, &'static str, String);

const BAD: StatusCode = StatusCode::BAD_REQUEST;

/// Refusals that need nothing but their reason.
macro_rules! reasons {
    ($($error:ty => $variant:ident),* $(,)?) => {
        $(impl From<$error> for ArmError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

reasons! {
    ResourceError => Resource,
    UserAssignedIdentityError => Identity,
    FederatedCredentialError => FederatedCredential,
    ScaleSetError => ScaleSet,
    VaultError => Vault,
    ClockError => Clock,
    ForgeError => Forge,
    NewTenantError => NewTenant,
    FaultError => Fault,
    SubscriptionError => Subscription,
    SigningKeyError => SigningKey,
    FeatureError => Feature,
    ProviderRegistrationError => ProviderRegistration,
    LockError => Lock,
    AttachmentError => Attachment,
    ServiceAccountError => ServiceAccount,
}

impl From<WriteError> for ArmError {
    fn from(error: WriteError) -> Self {
        Self::Resource(error.into())
    }
}

/// What may be otherwise a moment later.
fn unavailable(reason: &str) -> Answer {
    Answer(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", reason.to_owned())
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
            Self::TokenMissing => front_door::token_missing(),
            Self::TokenRefused { error, now } => front_door::token(error, *now),
            Self::TenantWrong { found, expected, authority } => {
                front_door::tenant_wrong(found, expected, authority)
            }
            Self::ApiVersionMissing => front_door::api_version_missing(),
            Self::ApiVersionInvalid(version) => front_door::api_version_invalid(version),
            Self::PathMalformed => front_door::path_malformed(),
            Self::PathUnknown => front_door::path_unknown(),
            Self::MethodNotAllowed => front_door::method_not_allowed(),
            Self::SubscriptionIdInvalid(text) => front_door::subscription_id_invalid(text),
            Self::NamespaceUnknown(namespace) => front_door::namespace_unknown(namespace),
            Self::ResourceTypeUnknown { namespace, resource_type, api_version } => {
                front_door::resource_type_unknown(namespace, resource_type, api_version)
            }
            Self::ConditionMalformed(header) => front_door::condition_malformed(header),
            Self::PreconditionFailed => front_door::precondition_failed(),

            Self::Body(error) => request::body(*error),
            Self::BodyMalformed(reason) => request::body_malformed(reason),
            Self::ParameterMissing(name) => request::parameter_missing(name),
            Self::ParameterInvalid { name, value } => request::parameter_invalid(name, value),
            Self::FilterUnsupported(filter) => request::filter_unsupported(filter),
            Self::Unsupported(what) => request::unsupported(what),

            Self::Resource(error) => resource(error),
            Self::NotFound { resource_type, name } => resource::not_found(resource_type, name),
            Self::Subscription(error) => resource::subscription(error),
            Self::ManagementGroup { error, operation } => {
                authorization::management_group(error, operation)
            }
            Self::Generic { error, resource, operation } => {
                generic::answer(error, resource, operation)
            }
            Self::Feature(error) => generic::feature(error),
            Self::ProviderRegistration(error) => generic::provider_registration(error),
            Self::ProviderUnregistered(namespace) => front_door::provider_unregistered(namespace),
            Self::Lock(error) => lock::lock(error),
            Self::LockLevelInvalid(level) => lock::level_invalid(level),
            Self::Move { error, operation } => relocation::relocation(error, operation),
            Self::DiagnosticSetting { error, operation } => {
                diagnostic_setting::answer(error, operation)
            }
            Self::Deployment(refusal) => deployment::answer(refusal),

            Self::Identity(error) => identity::identity(error),
            Self::FederatedCredential(error) => identity::federated_credential(error),
            Self::IdentityBlock { error, resource, operation } => {
                identity::identity_block(error, resource, operation)
            }
            Self::IdentityIds(identity_type) => identity::identity_ids(*identity_type),

            Self::ScaleSet(error) => compute::scale_set(error),
            Self::Cluster(error) => cluster::answer(error),
            Self::SiteNameTaken(name) => compute::site_name_taken(name),
            Self::Attachment(error) => compute::attachment(error),
            Self::ServiceAccount(error) => cluster::service_account(error),
            Self::Vault(error) => key_vault::vault(error),
            Self::Secret(error) => key_vault::secret(error),

            Self::AuthorizationFailed(forbidden) => authorization::forbidden(forbidden),
            Self::Assignment { error, tenant } => authorization::assignment(error, *tenant),
            Self::RoleAssignmentNotFound(name) => authorization::assignment_not_found(name),
            Self::PrincipalTypeInvalid(text) => authorization::principal_type_invalid(text),
            Self::ConditionInvalid(_) => authorization::condition_invalid(),
            Self::CustomRole { error, operation } => authorization::custom_role(error, operation),
            Self::RoleDefinitionNotFound(id) => authorization::role_not_found(id),
            Self::DenyAssignment(error) => authorization::deny_assignment(error),

            Self::Clock(error) => administration::clock(error),
            Self::Forge(error) => unavailable(&error.to_string()),
            Self::NewTenant(error) => administration::new_tenant(error),
            Self::Fault(error) => fault::fault(error),
            Self::SigningKey(error) => administration::signing_key(error),
            Self::NotRecording => administration::not_recording(),
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
        if let (Self::Move { error: refused, .. }, Some(members)) = (&self, error.as_object_mut()) {
            members.extend(relocation::details(refused).map(|it| ("details".to_owned(), it)));
        }
        if let (Self::Deployment(refusal), Some(members)) = (&self, error.as_object_mut()) {
            members.extend(deployment::additional_info(refusal));
        }
        if let (Self::ScaleSet(refused), Some(members)) = (&self, error.as_object_mut()) {
            let target =
                compute::scale_set_target(refused).map(|it| ("target".to_owned(), json!(it)));
            members.extend(target);
        }
        if let (Self::IdentityIds(_), Some(members)) = (&self, error.as_object_mut()) {
            members.insert("target".to_owned(), json!("resourceIdentity.identityIds"));
        }
        let body = Json(json!({ "error": error }));
        (status, gateway, retry_after, Extension(ErrorCode(code)), body).into_response()
    }
}
