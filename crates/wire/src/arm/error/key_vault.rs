//! What vaults, and secrets that Resource Manager puts, are refused for.
//!
//! Source: observed errors of Microsoft.KeyVault.

use http::StatusCode;
use keycard_domain::key_vault::secret::SecretError;
use keycard_domain::key_vault::vault::VaultError;
use keycard_domain::resources::ResourceError;

use super::resource::{resource, write};
use super::{Answer, BAD};

/// The text of a vault's refusal, where it stands in an answer that is none.
pub(in crate::arm) fn vault_refusal_text(error: &VaultError) -> String {
    vault(error).2
}

pub(super) fn vault(error: &VaultError) -> Answer {
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

pub(super) fn secret(error: &SecretError) -> Answer {
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
