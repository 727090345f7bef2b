//! The refusals of the instance and attested categories: `{"error":"…"}`.
//!
//! Source: Microsoft Learn, Azure Instance Metadata Service, "Errors and debugging".

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::local::api_version;
use crate::local::failure::retry_after_seconds;

/// Why a part of the metadata is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::local) enum InstanceError {
    /// No version that is known.
    ApiVersionInvalid,
    /// A parameter stands twice.
    ParameterDuplicate,
    /// Neither `json` nor `text`.
    FormatUnknown,
    /// A leaf is no JSON document.
    LeafNeedsText,
    /// The nonce is no number of up to ten digits.
    NonceInvalid,
    /// The document cannot be signed.
    NotSigned,
    /// There is no such element.
    ElementUnknown,
    /// The machine is stopped or deallocated.
    NotRunning,
    /// The machine was deleted.
    MachineUnknown,
}

/// As Azure writes it; clients read `newest-versions` that comes with it.
const API_VERSION_INVALID: &str = "Bad request. api-version is invalid or was not specified in the request. For more information refer to aka.ms/azureimds";

impl InstanceError {
    /// Status and text.
    const fn answer(self) -> (StatusCode, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        match self {
            Self::ApiVersionInvalid => (BAD, API_VERSION_INVALID),
            Self::ParameterDuplicate => {
                (BAD, "Bad request. A query parameter is given more than once")
            }
            Self::FormatUnknown => (BAD, "Bad request. The format is either json or text"),
            Self::LeafNeedsText => {
                (BAD, "Bad request. The element is a leaf: format=text has to be specified")
            }
            Self::NonceInvalid => (BAD, "Bad request. The nonce has up to ten digits"),
            Self::NotSigned => {
                (StatusCode::INTERNAL_SERVER_ERROR, "The document cannot be signed now")
            }
            Self::ElementUnknown => (StatusCode::NOT_FOUND, "Not found. There is no such element"),
            Self::NotRunning => (BAD, "Bad request. The virtual machine is stopped or deallocated"),
            Self::MachineUnknown => {
                (StatusCode::NOT_FOUND, "Not found. The virtual machine does not exist")
            }
        }
    }
}

impl IntoResponse for InstanceError {
    fn into_response(self) -> Response {
        let (status, text) = self.answer();
        let mut body = json!({ "error": text });
        if let (Self::ApiVersionInvalid, Value::Object(members)) = (self, &mut body) {
            let newest: Vec<&str> = api_version::newest().collect();
            members.insert("newest-versions".to_owned(), json!(newest));
        }
        (status, Json(body)).into_response()
    }
}

/// What the door of the whole service says, in the shape of these categories.
pub(in crate::local) fn at_the_door(
    status: StatusCode,
    text: &str,
    retry_after: Option<u32>,
) -> Response {
    let start = if status == StatusCode::BAD_REQUEST { "Bad request. " } else { "" };
    let retry_after = retry_after.map(retry_after_seconds);
    (status, retry_after, Json(json!({ "error": format!("{start}{text}") }))).into_response()
}
