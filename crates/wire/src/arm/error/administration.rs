//! What keycard's own rows are refused for: its clock, its signing keys, its tenants. Azure has none of them.

use http::StatusCode;
use keycard_domain::bootstrap::NewTenantError;
use keycard_domain::clock::ClockError;
use keycard_domain::token::signing_key::SigningKeyError;

use super::{Answer, BAD, unavailable};

pub(super) fn clock(error: &ClockError) -> Answer {
    match error {
        ClockError::OutOfRange => Answer(BAD, "InvalidDuration", format!("{error}.")),
        ClockError::Unavailable(reason) => unavailable(reason),
    }
}

pub(super) fn new_tenant(error: &NewTenantError) -> Answer {
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

pub(super) fn signing_key(error: &SigningKeyError) -> Answer {
    match error {
        SigningKeyError::NotFound(id) => Answer(
            StatusCode::NOT_FOUND,
            "SigningKeyNotFound",
            format!("The tenant has no token-signing key '{id}'."),
        ),
        SigningKeyError::Unusable(_) | SigningKeyError::Write(_) => unavailable(&error.to_string()),
    }
}

pub(super) fn not_recording() -> Answer {
    Answer(
        StatusCode::CONFLICT,
        "NotRecording",
        "Nothing is being recorded. Start with: keycard record start".to_owned(),
    )
}
