//! Base64, URIs and JSON. Source: Azure Resource Manager, "String functions", "Object functions".

use keycard_crypto::encoding::{base64_decode_any, base64_encode};
use serde_json::Value;

use super::super::error::ExpressionError;
use super::{Arguments, Function, pure};
use crate::limits;

pub(super) const FUNCTIONS: &[Function] = &[
    pure("base64", (1, 1), |it| Ok(base64_encode(it.text(0)?.as_bytes()).into())),
    pure("base64ToString", (1, 1), |it| Ok(decoded(it)?.into())),
    pure("base64ToJson", (1, 1), |it| read_json(it, &decoded(it)?)),
    pure("dataUri", (1, 1), |it| {
        let encoded = base64_encode(super::as_text(it.value(0)).as_bytes());
        Ok(format!("data:text/plain;charset=utf8;base64,{encoded}").into())
    }),
    pure("dataUriToString", (1, 1), data_uri_to_string),
    pure("json", (1, 1), |it| read_json(it, it.text(0)?)),
    pure("uri", (2, 2), uri),
    pure("uriComponent", (1, 1), |it| Ok(escaped(it.text(0)?).into())),
    pure("uriComponentToString", (1, 1), |it| {
        unescaped(it.text(0)?).map(Value::from).ok_or_else(|| it.invalid("it is no UTF-8"))
    }),
];

fn decoded(it: &Arguments<'_>) -> Result<String, ExpressionError> {
    base64_decode_any(it.text(0)?, limits::EXPRESSION_VALUE_BYTES_MAX)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| it.invalid("it is no base64 of a text"))
}

/// The text that a URI of the scheme `data` holds. Source: RFC 2397.
fn data_uri_to_string(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let content = it.text(0)?.strip_prefix("data:").and_then(|rest| rest.split_once(','));
    let text = content.and_then(|(head, data)| match head.strip_suffix(";base64") {
        Some(_) => base64_decode_any(data, limits::EXPRESSION_VALUE_BYTES_MAX)
            .and_then(|bytes| String::from_utf8(bytes).ok()),
        None => unescaped(data),
    });
    text.map(Value::from).ok_or_else(|| it.invalid("it is no data URI of a text"))
}

fn read_json(it: &Arguments<'_>, text: &str) -> Result<Value, ExpressionError> {
    serde_json::from_str(text).map_err(|_| it.invalid("it is no JSON"))
}

/// The relative one in the place of what follows the base's last slash.
fn uri(it: &Arguments<'_>) -> Result<Value, ExpressionError> {
    let (base, relative) = (it.text(0)?, it.text(1)?);
    let (scheme, rest) =
        base.split_once("://").ok_or_else(|| it.invalid("the base is no absolute URI"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Ok(match (relative.strip_prefix('/'), folder) {
        (Some(rooted), _) => format!("{scheme}://{authority}/{rooted}"),
        (None, "") => format!("{scheme}://{authority}/{relative}"),
        (None, folder) => format!("{scheme}://{authority}/{folder}/{relative}"),
    }
    .into())
}

/// All but the unreserved characters of RFC 3986, section 2.3.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.split_at_checked(2)).flatten();
        let byte = code
            .and_then(|(digits, _)| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, code) {
            (Some(byte), Some((_, after))) => {
                bytes.push(byte);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}
