//! The subject of the Rust suite, and what every test of it needs: the identity of a token, the words of a refusal.
//!
//! azure_identity asks 169.254.169.254 and nothing else, so this suite runs in a namespace only (`harness.py --namespace`).

use std::error::Error;

use azure_core::credentials::TokenCredential;
use azure_core::http::StatusCode;
use serde_json::Value;

pub type Outcome = Result<(), Box<dyn Error>>;

pub const VAULT_SCOPE: &str = "https://vault.azure.net/.default";

/// The subject file; refuses a subject for which the clients would have to leave the namespace.
pub fn subject() -> Result<Value, Box<dyn Error>> {
    let path = std::env::var("KEYCARD_SUBJECT")?;
    let subject: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    if subject["unmodified"] != true {
        return Err(
            "the real metadata address would be asked: run this suite with harness.py --namespace"
                .into(),
        );
    }
    Ok(subject)
}

/// A text of the subject by its path, such as `/vm/principalId`.
pub fn text<'a>(subject: &'a Value, pointer: &str) -> &'a str {
    subject
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("the subject has no {pointer}"))
}

/// What the credential's token for Key Vault says; its signature is the matter of the Python suite.
pub async fn claims(credential: &dyn TokenCredential) -> Result<Value, Box<dyn Error>> {
    let token = credential.get_token(&[VAULT_SCOPE], None).await?;
    let body = token.token.secret().split('.').nth(1).ok_or("not a JWT")?;
    Ok(serde_json::from_slice(&azure_core::base64::decode_url_safe(body)?)?)
}

/// Source: Microsoft Learn, "Azure Key Vault REST API error codes", HTTP 403.
pub fn assert_forbidden(error: &azure_core::Error) {
    assert_eq!(error.http_status(), Some(StatusCode::Forbidden), "{error}");
    assert!(
        error.to_string().contains("ForbiddenByRbac")
            || format!("{error:?}").contains("ForbiddenByRbac"),
        "{error:?}"
    );
}
