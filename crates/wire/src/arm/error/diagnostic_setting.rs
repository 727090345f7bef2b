//! What Resource Manager answers to refusals of diagnostic settings.
//!
//! Source: observed errors of Microsoft.Insights; those that nobody has written down are keycard's own.

use http::StatusCode;
use keycard_domain::limits;
use keycard_domain::monitoring::diagnostic_setting::DiagnosticSettingError;
use keycard_domain::operation::OperationContext;

use super::authorization::{linked_authorization_failed, scope_missing};
use super::resource::write;
use super::{Answer, BAD};

pub(super) fn answer(error: &DiagnosticSettingError, operation: &OperationContext) -> Answer {
    let bad = |message: String| Answer(BAD, "BadRequest", message);
    match error {
        DiagnosticSettingError::ScopeMissing(missing) => scope_missing(missing),
        DiagnosticSettingError::SourceUnsupported(scope) => Answer(
            BAD,
            "ResourceTypeNotSupported",
            format!("What is at '{scope}' does not support diagnostic settings."),
        ),
        DiagnosticSettingError::NameInvalid(name) => {
            bad(format!("The diagnostic setting name '{name}' is not valid."))
        }
        DiagnosticSettingError::DestinationRequired => {
            bad("At least one data sink needs to be specified.".to_owned())
        }
        DiagnosticSettingError::DestinationInvalid { kind, id } => {
            bad(format!("The {} '{id}' is not valid.", kind.member()))
        }
        DiagnosticSettingError::DestinationNotGranted { kind, at } => linked_authorization_failed(
            kind.action(),
            std::slice::from_ref(at),
            &operation.scope,
            operation,
        ),
        DiagnosticSettingError::DestinationTypeInvalid(text) => bad(format!(
            "The logAnalyticsDestinationType '{text}' is neither 'Dedicated' nor 'AzureDiagnostics'."
        )),
        DiagnosticSettingError::CategoryUnsupported(name) => {
            bad(format!("Category '{name}' is not supported."))
        }
        DiagnosticSettingError::GroupUnsupported(name) => {
            bad(format!("Category group '{name}' is not supported."))
        }
        DiagnosticSettingError::RetentionUnsupported => {
            bad("Diagnostic settings does not support retention for new diagnostic settings."
                .to_owned())
        }
        DiagnosticSettingError::CategoryTwice(name) => {
            bad(format!("The category or category group '{name}' is specified twice."))
        }
        DiagnosticSettingError::TooLarge => bad(format!(
            "A diagnostic setting has at most {} categories, and texts of at most {} bytes.",
            limits::DIAGNOSTIC_SELECTIONS_MAX,
            limits::DIAGNOSTIC_TEXT_BYTES_MAX
        )),
        DiagnosticSettingError::Twice { setting, category, destination } => Answer(
            StatusCode::CONFLICT,
            "Conflict",
            format!(
                "Data sink '{destination}' is already used in diagnostic setting '{setting}' for category '{category}'. Data sinks can't be reused in different settings on the same category for the same resource."
            ),
        ),
        DiagnosticSettingError::LimitReached => bad(format!(
            "The maximum number of diagnostic settings is reached: {}.",
            limits::DIAGNOSTIC_SETTINGS_MAX
        )),
        DiagnosticSettingError::Write(error) => write(error),
    }
}
