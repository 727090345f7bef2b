//! The refusals of App Service's endpoint, which that of Azure Machine Learning is modelled on.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use super::SelectorError;
use super::door::Stray;
use super::failure::{Failure, retry_after};

/// What an endpoint calls the things that a request can lack.
pub(crate) struct Words {
    /// The header of the secret.
    pub(crate) secret_header: &'static str,
    /// The api-versions that there are.
    pub(crate) api_versions: &'static str,
    /// The parameters that select an identity.
    pub(crate) selectors: &'static str,
}

/// Why an endpoint refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MsiRefusal {
    Stray(Stray),
    SecretWrong,
    ApiVersionInvalid,
    ParameterDuplicate,
    SelectorsExclusive,
    ResourceMissing,
    Failure(Failure),
}

impl From<Stray> for MsiRefusal {
    fn from(stray: Stray) -> Self {
        Self::Stray(stray)
    }
}

impl From<Failure> for MsiRefusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<SelectorError> for MsiRefusal {
    fn from(error: SelectorError) -> Self {
        match error {
            SelectorError::Several => Self::SelectorsExclusive,
            SelectorError::NoIdentity => Self::Failure(Failure::IdentityNotFound),
        }
    }
}

/// How Azure begins every message about a token that could not be had; the misspelling is real.
const FETCH_FAILED: &str = "An unexpected error occured while fetching the AAD Token.";

impl MsiRefusal {
    fn answer(&self, words: &Words) -> (StatusCode, String) {
        let bad = |text: String| (StatusCode::BAD_REQUEST, text);
        match self {
            Self::Stray(stray) => (stray.status(), format!("{}.", stray.text())),
            Self::SecretWrong => {
                let text = format!("The header {} is missing or wrong.", words.secret_header);
                (StatusCode::UNAUTHORIZED, text)
            }
            Self::ApiVersionInvalid => bad(format!(
                "The api-version is missing or not supported; use {}.",
                words.api_versions
            )),
            Self::ParameterDuplicate => {
                bad("A query parameter is given more than once.".to_owned())
            }
            Self::SelectorsExclusive => {
                bad(format!("Only one of {} may be given.", words.selectors))
            }
            Self::ResourceMissing => bad("The query parameter resource is missing.".to_owned()),
            Self::Failure(failure) => {
                (failure.status(), format!("{FETCH_FAILED} {}.", failure.text()))
            }
        }
    }

    /// The refusal in App Service's shape.
    pub(crate) fn into_answer(self, words: &Words, correlation_id: Uuid) -> Response {
        let (status, message) = self.answer(words);
        let retry_after =
            if let Self::Failure(failure) = &self { retry_after(failure) } else { None };
        let status_code = status.as_u16();
        (status, retry_after, Json(ErrorBody { status_code, message, correlation_id }))
            .into_response()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    status_code: u16,
    message: String,
    correlation_id: Uuid,
}
