//! What generic resources and preview features are refused for.
//!
//! Source: observed errors of Microsoft.Storage, Microsoft.Sql and the front door.

use http::StatusCode;
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::ResourceError;
use keycard_domain::resources::feature::FeatureError;
use keycard_domain::resources::generic::GenericResourceError;
use keycard_domain::resources::generic_type::{SQL_SERVER, STORAGE_ACCOUNT};
use keycard_domain::resources::provider_registration::ProviderRegistrationError;

use super::identity::identity_block;
use super::resource::resource;
use super::{Answer, BAD};

pub(super) fn answer(
    error: &GenericResourceError,
    id: &ArmResourceId,
    operation: &OperationContext,
) -> Answer {
    match error {
        GenericResourceError::NameTaken(name) => name_taken(name, id),
        GenericResourceError::IdentityUnsupported(resource_type) => Answer(
            BAD,
            "BadRequest",
            format!("A resource of the type '{resource_type}' has no managed identity."),
        ),
        GenericResourceError::Identity(error) => identity_block(error, id, operation),
        GenericResourceError::Resource(ResourceError::NameInvalid { resource_type, name })
            if *resource_type == STORAGE_ACCOUNT =>
        {
            Answer(
                BAD,
                "AccountNameInvalid",
                format!(
                    "{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and use numbers and lower-case letters only."
                ),
            )
        }
        GenericResourceError::Resource(error) => resource(error),
    }
}

fn name_taken(name: &str, id: &ArmResourceId) -> Answer {
    let (code, message) = if id.is_of_type(STORAGE_ACCOUNT) {
        (
            "StorageAccountAlreadyTaken",
            format!("The storage account named {name} is already taken."),
        )
    } else if id.is_of_type(SQL_SERVER) {
        ("NameAlreadyExists", format!("The name '{name}' already exists. Choose a different name."))
    } else {
        ("Conflict", format!("The name '{name}' is already taken by another resource."))
    };
    Answer(StatusCode::CONFLICT, code, message)
}

pub(super) fn feature(error: &FeatureError) -> Answer {
    match error {
        FeatureError::NameInvalid(name) => Answer(
            StatusCode::NOT_FOUND,
            "FeatureNotFound",
            format!("The feature '{name}' could not be found."),
        ),
        FeatureError::TooMany => Answer(
            BAD,
            "FeatureLimitExceeded",
            format!("At most {} features can be registered.", limits::FEATURES_MAX),
        ),
        FeatureError::Resource(error) => resource(error),
    }
}

pub(super) fn provider_registration(error: &ProviderRegistrationError) -> Answer {
    match error {
        ProviderRegistrationError::InUse(namespace) => Answer(
            StatusCode::CONFLICT,
            "CannotUnregisterRegistrationWithResources",
            format!(
                "The subscription has resources of the namespace '{namespace}'. Please delete them first."
            ),
        ),
        ProviderRegistrationError::Needed(namespace) => Answer(
            BAD,
            "CannotUnregisterProvider",
            format!(
                "The namespace '{namespace}' cannot be unregistered: the control plane needs it."
            ),
        ),
        ProviderRegistrationError::Resource(error) => resource(error),
    }
}
