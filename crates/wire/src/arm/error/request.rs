//! What a request is refused for before it means anything: its body and its parameters.

use http::StatusCode;

use super::{Answer, BAD};
use crate::request::BodyError;

pub(super) fn body(error: BodyError) -> Answer {
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

pub(super) fn body_malformed(reason: &str) -> Answer {
    Answer(
        BAD,
        "InvalidRequestContent",
        format!("The request content was invalid and could not be deserialized: '{reason}'."),
    )
}

pub(super) fn parameter_missing(name: &str) -> Answer {
    Answer(BAD, "InvalidParameter", format!("Required parameter '{name}' is missing (null)."))
}

pub(super) fn parameter_invalid(name: &str, value: &str) -> Answer {
    Answer(
        BAD,
        "InvalidParameter",
        format!("The value '{value}' of the parameter '{name}' is invalid."),
    )
}

pub(super) fn filter_unsupported(filter: &str) -> Answer {
    Answer(BAD, "UnsupportedQuery", format!("The filter '{filter}' is not supported."))
}

pub(super) fn unsupported(what: &str) -> Answer {
    Answer(
        StatusCode::NOT_IMPLEMENTED,
        "NotImplemented",
        format!("keycard does not support {what} yet."),
    )
}
