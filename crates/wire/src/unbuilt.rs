//! Faces that keycard does not have yet: each says so in its own error shape, and never pretends.

use axum::Json;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

/// Storage's error shape: XML with a byte-order mark, and the code in a header.
pub fn blob() -> Response {
    let body = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>NotImplemented</Code>\
                <Message>This keycard does not serve blobs yet.</Message></Error>";
    let headers = [("content-type", "application/xml"), ("x-ms-error-code", "NotImplemented")];
    (StatusCode::NOT_IMPLEMENTED, headers, body).into_response()
}

/// A page for people.
pub fn portal() -> Response {
    let page = "<!doctype html><title>keycard</title><h1>keycard</h1>\
                <p>This keycard has no portal yet. Use <code>az</code>, an SDK, or <code>keycard --help</code>.</p>";
    (StatusCode::NOT_IMPLEMENTED, Html(page)).into_response()
}

/// Keys are bound as they are: nobody says where they were made.
pub fn attestation() -> Response {
    let error = json!({ "error": {
        "code": "NotImplemented",
        "message": "keycard attests no keys: ask for a credential without an attestation token.",
    }});
    (StatusCode::NOT_IMPLEMENTED, Json(error)).into_response()
}

/// A name under which there is nothing.
pub fn unknown_host(host: &str) -> Response {
    let shown: String = host.chars().filter(|c| !c.is_control()).take(200).collect();
    let error = json!({ "error": {
        "code": "NotFound",
        "message": format!("keycard has no service at '{shown}'."),
    }});
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}
