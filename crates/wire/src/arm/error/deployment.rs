//! What Resource Manager answers to a template that cannot be deployed, with the line and column that is to blame.
//!
//! Source: Azure Resource Manager, "Resolve errors for invalid template", "Troubleshoot common Azure deployment errors".

use http::StatusCode;
use keycard_domain::deployment::vault_parameter::VaultParameterError;
use keycard_domain::deployment::{
    DeploymentError, ExpressionError, TemplateError, TemplateViolation,
};
use keycard_domain::key_vault::secret::SecretError;
use keycard_domain::limits;
use serde_json::{Map, Value, json};

use super::resource::resource;
use super::{Answer, BAD};

/// A refused deployment, and where in its template the reason stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::arm) struct DeploymentRefusal {
    pub(in crate::arm) error: DeploymentError,
    /// Line and column in the template, from 1.
    pub(in crate::arm) position: (usize, usize),
}

pub(super) fn answer(refusal: &DeploymentRefusal) -> Answer {
    match &refusal.error {
        DeploymentError::NameInvalid(name) => Answer(
            BAD,
            "InvalidDeploymentName",
            format!(
                "The provided deployment name '{name}' is invalid. It has to have 1 to {} letters, digits, '-', '_', '.', '(' or ')', and must not end with '.'.",
                limits::DEPLOYMENT_NAME_CHARS_MAX
            ),
        ),
        DeploymentError::NotFound(name) => Answer(
            StatusCode::NOT_FOUND,
            "DeploymentNotFound",
            format!("Deployment '{name}' could not be found."),
        ),
        DeploymentError::OperationNotFound(id) => Answer(
            StatusCode::NOT_FOUND,
            "DeploymentOperationNotFound",
            format!("The deployment operation '{id}' could not be found."),
        ),
        DeploymentError::Active(name) => Answer(
            StatusCode::CONFLICT,
            "DeploymentActive",
            format!(
                "Unable to edit or replace deployment '{name}': previous deployment is still active. Please see https://aka.ms/arm-deploy for usage details."
            ),
        ),
        DeploymentError::NotRunning(name) => Answer(
            StatusCode::CONFLICT,
            "DeploymentCannotBeCancelled",
            format!("The deployment '{name}' cannot be cancelled because it is not running."),
        ),
        DeploymentError::TooManyRunning => Answer(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequests",
            "Too many deployments are running. Please try again later.".to_owned(),
        ),
        DeploymentError::TemplateTooLarge(bytes) => Answer(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestContentTooLarge",
            format!(
                "The template has {bytes} bytes; keycard takes {}.",
                limits::TEMPLATE_BYTES_MAX
            ),
        ),
        DeploymentError::VaultParameter(error) => vault_parameter(error),
        DeploymentError::Template(violation) => template(violation, refusal.position),
        DeploymentError::Resource(error) => resource(error),
    }
}

/// The member that says where the reason stands.
pub(super) fn additional_info(refusal: &DeploymentRefusal) -> Map<String, Value> {
    let DeploymentError::Template(violation) = &refusal.error else { return Map::new() };
    let (line, column) = refusal.position;
    let path = match violation.path.as_str() {
        "" => "properties.template".to_owned(),
        path => format!("properties.template.{path}"),
    };
    let info = json!({ "lineNumber": line, "linePosition": column, "path": path });
    let info = json!([{ "type": "TemplateViolation", "info": info }]);
    Map::from_iter([("additionalInfo".to_owned(), info)])
}

const VAULT_HELP: &str = "Please see https://aka.ms/arm-keyvault for usage details.";

fn vault_parameter(error: &VaultParameterError) -> Answer {
    let not_retrieved = |parameter: &str, status: &str, words: String| {
        Answer(
            BAD,
            "KeyVaultParameterReferenceSecretRetrieveFailed",
            format!(
                "The secret of KeyVault parameter '{parameter}' cannot be retrieved. Http status code: '{status}'. Error message: '{words}'. {VAULT_HELP}"
            ),
        )
    };
    match error {
        VaultParameterError::NotGranted { client, object, vault } => Answer(
            StatusCode::FORBIDDEN,
            "KeyVaultParameterReferenceAuthorizationFailed",
            format!(
                "The client '{client}' with object id '{object}' does not have authorization to perform action 'MICROSOFT.KEYVAULT/VAULTS/DEPLOY/ACTION' on the specified KeyVault resource '{vault}'. {VAULT_HELP}"
            ),
        ),
        VaultParameterError::VaultMissing(vault) => Answer(
            BAD,
            "KeyVaultParameterReferenceNotFound",
            format!("The specified KeyVault '{vault}' could not be found. {VAULT_HELP}"),
        ),
        VaultParameterError::NotEnabled { parameter, vault } => not_retrieved(
            parameter,
            "Forbidden",
            format!("Access denied to first party service. Vault: {}", vault.name()),
        ),
        VaultParameterError::Secret { parameter, vault, secret, error } => match error {
            SecretError::NotFound(_) => not_retrieved(
                parameter,
                "NotFound",
                format!(
                    "A secret with (name/id) {secret} was not found in this key vault. Vault: {}",
                    vault.name()
                ),
            ),
            SecretError::Disabled => not_retrieved(
                parameter,
                "Forbidden",
                "Operation get is not allowed on a disabled secret.".to_owned(),
            ),
            SecretError::NameInvalid
            | SecretError::ValueTooLong
            | SecretError::TagsInvalid
            | SecretError::TooManyVersions
            | SecretError::DeletedNotFound(_)
            | SecretError::VaultGone(_)
            | SecretError::DeletedButRecoverable(_)
            | SecretError::PurgeProtected
            | SecretError::Unopenable
            | SecretError::Unreadable(_)
            | SecretError::Write(_) => not_retrieved(
                parameter,
                "ServiceUnavailable",
                "The vault did not answer.".to_owned(),
            ),
        },
    }
}

fn template(violation: &TemplateViolation, position: (usize, usize)) -> Answer {
    match &violation.reason {
        TemplateError::Unsupported(what) => not_supported(what),
        TemplateError::Expression(ExpressionError::FunctionUnsupported(name)) => {
            not_supported(&format!("the template function '{name}'"))
        }
        TemplateError::Expression(_)
        | TemplateError::Malformed(_)
        | TemplateError::TooMany { .. }
        | TemplateError::ParameterMissing(_)
        | TemplateError::ParametersUndeclared { .. }
        | TemplateError::ParameterType { .. }
        | TemplateError::ParameterNotAllowed { .. }
        | TemplateError::PropertiesMissing { .. }
        | TemplateError::PropertiesUnknown { .. }
        | TemplateError::ParameterBounds { .. }
        | TemplateError::SegmentLengths { .. }
        | TemplateError::ResourceIdInvalid(_)
        | TemplateError::ResourceTwice(_)
        | TemplateError::DependencyUnknown(_)
        | TemplateError::DependencyCircular(_) => Answer(
            BAD,
            "InvalidTemplate",
            format!(
                "Deployment template validation failed: '{}'.",
                refusal_text(violation, position)
            ),
        ),
    }
}

fn not_supported(what: &str) -> Answer {
    Answer(
        StatusCode::BAD_REQUEST,
        "NotImplemented",
        format!("keycard does not support {what} yet."),
    )
}

/// What is wrong with a template, as one sentence inside a larger one.
pub(in crate::arm) fn refusal_text(
    violation: &TemplateViolation,
    (line, column): (usize, usize),
) -> String {
    let at = format!("at line '{line}' and column '{column}'");
    match &violation.reason {
        TemplateError::Expression(error) => match part(violation) {
            Some(part) => format!("The template {part} {at} is not valid: {}.", expression(error)),
            None => format!("{} {at}.", expression(error)),
        },
        TemplateError::Malformed(what) => format!("The template is not valid {at}: {what}."),
        TemplateError::TooMany { what, max } => format!(
            "The number of {what} {at} exceeds the limit of {max}. Please see https://aka.ms/arm-template for usage details."
        ),
        TemplateError::Unsupported(what) => format!("keycard does not support {what} yet."),
        TemplateError::ParameterMissing(name) => format!(
            "The value for the template parameter '{name}' {at} is not provided. Please see https://aka.ms/arm-create-parameter-file for usage details."
        ),
        TemplateError::ParametersUndeclared { given, declared } => format!(
            "The template parameters '{}' in the parameters file are not valid; they are not present in the original template and can therefore not be provided at deployment time. The only supported parameters for this template are '{}'. Please see https://aka.ms/arm-pass-parameter-values for usage details.",
            given.join(", "),
            declared.join(", ")
        ),
        TemplateError::ParameterType { name, expected, actual } => format!(
            "Template parameter JToken type is not valid. Expected '{expected}'. Actual '{actual}' for the parameter '{name}' {at}. Please see https://aka.ms/arm-create-parameter-file for usage details."
        ),
        TemplateError::ParameterNotAllowed { name, value, allowed } => format!(
            "The provided value for the template parameter '{name}' {at} is not valid. The value '{value}' is not part of the allowed value(s): '{}'.",
            allowed.join(",")
        ),
        TemplateError::ParameterBounds { name, bound, limit, actual } => format!(
            "The provided value for the template parameter '{name}' {at} is not valid. The value or length '{actual}' is outside of '{bound}', which is '{limit}'."
        ),
        TemplateError::PropertiesMissing { name, missing } => format!(
            "The provided value for the template parameter '{name}' {at} is not valid. The following required properties are missing: '{}'.",
            missing.join(", ")
        ),
        TemplateError::PropertiesUnknown { name, unknown } => format!(
            "The provided value for the template parameter '{name}' {at} is not valid. The following properties are not permitted: '{}'.",
            unknown.join(", ")
        ),
        TemplateError::SegmentLengths { name, resource_type } => format!(
            "The template resource '{name}' for type '{resource_type}' {at} has incorrect segment lengths. A nested resource type must have identical number of segments as its resource name. A root resource type must have segment length one greater than its resource name. Please see https://aka.ms/arm-syntax-resources for usage details."
        ),
        TemplateError::ResourceIdInvalid(id) => {
            format!("The template resource {at} has an id that is not valid: '{id}'.")
        }
        TemplateError::ResourceTwice(id) => format!(
            "The resource '{id}' {at} is defined multiple times in a template. Please see https://aka.ms/arm-syntax-resources for usage details."
        ),
        TemplateError::DependencyUnknown(name) => format!(
            "The resource '{name}' {at} is not defined in the template. Please see https://aka.ms/arm-syntax for usage details."
        ),
        TemplateError::DependencyCircular(id) => format!(
            "Circular dependency detected on resource: '{id}' {at}. Please see https://aka.ms/arm-syntax-resources for usage details."
        ),
    }
}

/// What an expression stands in.
fn part(violation: &TemplateViolation) -> Option<String> {
    let (section, rest) = violation.path.split_once(['.', '['])?;
    let name = rest.split(['.', '[']).next().unwrap_or_default();
    match (section, &violation.resource) {
        ("resources", Some(resource)) => Some(format!("resource '{resource}'")),
        ("resources", None) => Some("resource".to_owned()),
        ("variables", _) => Some(format!("variable '{name}'")),
        ("outputs", _) => Some(format!("output '{name}'")),
        ("parameters", _) => Some(format!("parameter '{name}'")),
        _ => None,
    }
}

fn expression(error: &ExpressionError) -> String {
    match error {
        ExpressionError::Syntax { expression, position, expected, actual } => format!(
            "Unable to parse language expression '{expression}' at position '{position}': expected token '{expected}' and actual '{actual}'"
        ),
        ExpressionError::TooLong => format!(
            "The language expression is longer than {} characters",
            limits::EXPRESSION_BYTES_MAX
        ),
        ExpressionError::TooDeep => {
            "The language expression or its value is nested too deeply".to_owned()
        }
        ExpressionError::TooMuchWork => {
            "The language expressions of the template take too much work".to_owned()
        }
        ExpressionError::FunctionUnknown(name) => format!(
            "The template function '{name}' is not valid. Please see https://aka.ms/arm-functions for usage details"
        ),
        ExpressionError::FunctionUnsupported(name) => {
            format!("keycard does not support the template function '{name}' yet")
        }
        ExpressionError::FunctionMisplaced(name) => format!(
            "The template function '{name}' is not expected at this location. Please see https://aka.ms/arm-functions for usage details"
        ),
        ExpressionError::ArgumentCount { function, expected, actual } => format!(
            "Unable to evaluate template language function '{function}': function requires {expected} argument(s) while {actual} were provided. Please see https://aka.ms/arm-functions for usage details"
        ),
        ExpressionError::ArgumentInvalid { function, reason } => format!(
            "Unable to evaluate template language function '{function}': {reason}. Please see https://aka.ms/arm-functions for usage details"
        ),
        ExpressionError::MemberMissing { name, available } => format!(
            "The language expression property '{name}' doesn't exist, available properties are '{}'",
            available.join(", ")
        ),
        ExpressionError::ItemMissing { index, length } => format!(
            "The language expression property array index '{index}' is out of bounds: the array has '{length}' items"
        ),
        ExpressionError::NoMembers(actual) => format!(
            "The language expression property can't be evaluated: a value of type '{actual}' has no such properties"
        ),
        ExpressionError::ParameterUnknown(name) => format!(
            "The template parameter '{name}' is not found. Please see https://aka.ms/arm-syntax-parameters for usage details"
        ),
        ExpressionError::VariableUnknown(name) => format!(
            "The template variable '{name}' is not found. Please see https://aka.ms/arm-syntax-variables for usage details"
        ),
        ExpressionError::Refused(words) => {
            format!("The template function 'fail' was called: {words}")
        }
        ExpressionError::Circular(name) => {
            format!("Circular reference detected on '{name}'")
        }
        ExpressionError::TypeWrong { expected, actual } => {
            format!("The value is expected to be of type '{expected}' and is of type '{actual}'")
        }
    }
}
