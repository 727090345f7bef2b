//! The answer of the metadata service and of those that are modelled on it: every number a string, the selector repeated.

use keycard_domain::token::source::{AccessToken, Selector};
use serde::Serialize;

use crate::request::Parameters;

/// The answer. Some clients read its numbers as text.
#[derive(Serialize)]
pub(crate) struct TokenBody<'a> {
    access_token: &'a str,
    /// Not said where there is one identity only.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    expires_in: String,
    expires_on: String,
    ext_expires_in: String,
    not_before: String,
    resource: &'a str,
    token_type: &'static str,
    #[serde(flatten)]
    echo: Echo,
}

impl<'a> TokenBody<'a> {
    /// With the client id and what is to be repeated of the request; the moment in Unix seconds.
    pub(crate) fn of(token: &'a AccessToken, echo: Echo, now: i64) -> Self {
        let client_id = Some(token.client_id.to_string());
        Self { client_id, echo, ..Self::without_identity(token, now) }
    }

    /// Without a word on whose token it is.
    pub(crate) fn without_identity(token: &'a AccessToken, now: i64) -> Self {
        let expires_in = (token.expires_on - now).max(0).to_string();
        Self {
            access_token: token.token.expose(),
            client_id: None,
            expires_on: token.expires_on.to_string(),
            ext_expires_in: expires_in.clone(),
            expires_in,
            not_before: token.not_before.to_string(),
            resource: &token.resource,
            token_type: "Bearer",
            echo: Echo::default(),
        }
    }
}

/// The selector as the client wrote it: some clients refuse an answer that does not repeat it, since old agents ignore it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Echo {
    #[serde(skip_serializing_if = "Option::is_none")]
    object_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msi_res_id: Option<String>,
}

impl Echo {
    /// What is repeated of a request with this selector.
    pub(crate) fn of(selector: &Selector, query: &Parameters) -> Self {
        match selector {
            Selector::PrincipalId(_) => {
                Self { object_id: query.get("object_id").map(str::to_owned), msi_res_id: None }
            }
            Selector::ResourceId(id) => {
                Self { object_id: None, msi_res_id: Some(id.as_str().to_owned()) }
            }
            Selector::Default | Selector::ClientId(_) => Self::default(),
        }
    }
}
