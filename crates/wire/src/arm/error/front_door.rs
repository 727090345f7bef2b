//! What the front door itself refuses, before any resource provider is asked.
//!
//! Source: "Troubleshoot common Azure deployment errors"; errors that clients of Azure have reported. The challenge
//! names this server's own token service.

use http::{HeaderValue, StatusCode};
use keycard_domain::limits;
use keycard_domain::token::verify::BearerError;
use time::UtcDateTime;
use time::macros::format_description;

use super::super::providers;
use super::{Answer, ArmError, BAD};

/// Codes that mean the front door, whoever noticed.
const CODES: &[&str] = &[
    "AuthenticationFailed",
    "InvalidAuthenticationToken",
    "ExpiredAuthenticationToken",
    "InvalidAuthenticationTokenAudience",
    "InvalidAuthenticationTokenTenant",
    "AuthorizationFailed",
    "LinkedAuthorizationFailed",
    "MissingApiVersionParameter",
    "InvalidApiVersionParameter",
    "InvalidRequestUri",
    "InvalidRequestContent",
    "InvalidRequestFormat",
    "RequestContentTooLarge",
    "InvalidHeaderValue",
    "InvalidResourceNamespace",
    "InvalidResourceType",
    "InvalidResourceName",
    "InvalidResourceGroupLocation",
    "InvalidResourceLocation",
    "InvalidTags",
    "LocationRequired",
    "LocationNotAvailableForResourceType",
    "NoRegisteredProviderFound",
    "MissingSubscriptionRegistration",
    "SubscriptionNotFound",
    "InvalidSubscriptionId",
    "ResourceGroupNotFound",
    "ResourceNotFound",
    "ParentResourceNotFound",
    "ScopeLocked",
    "TooManyRequests",
    "SubscriptionRequestsThrottled",
];

pub(super) fn is_of_front_door(code: &str) -> bool {
    CODES.contains(&code)
}

pub(super) fn token(error: &BearerError, now: UtcDateTime) -> Answer {
    let unauthorized = |code, message| Answer(StatusCode::UNAUTHORIZED, code, message);
    match error {
        BearerError::Expired { expired_at } => {
            let expired_at = UtcDateTime::from_unix_timestamp(*expired_at).unwrap_or(now);
            unauthorized(
                "ExpiredAuthenticationToken",
                format!(
                    "The access token expiry UTC time '{}' is earlier than current UTC time '{}'.",
                    moment(expired_at),
                    moment(now)
                ),
            )
        }
        BearerError::AudienceWrong { found } => unauthorized(
            "InvalidAuthenticationTokenAudience",
            format!(
                "The access token has been obtained for wrong audience or resource '{found}'. It should exactly match with one of the allowed audiences 'https://management.core.windows.net/','https://management.core.windows.net','https://management.azure.com/','https://management.azure.com'."
            ),
        ),
        BearerError::IssuerWrong { found } => unauthorized(
            "InvalidAuthenticationTokenTenant",
            format!("The access token is from the wrong issuer '{found}'."),
        ),
        BearerError::KeyUnproven => unauthorized(
            "InvalidAuthenticationToken",
            "The access token is bound to a certificate that the connection does not present."
                .to_owned(),
        ),
        BearerError::Malformed
        | BearerError::SignatureWrong
        | BearerError::NotYetValid
        | BearerError::Revoked => {
            unauthorized("InvalidAuthenticationToken", "The access token is invalid.".to_owned())
        }
    }
}

/// A moment as the front door words it: `5/14/2023 1:02:03 PM`.
fn moment(at: UtcDateTime) -> String {
    let form = format_description!(
        "[month padding:none]/[day padding:none]/[year] [hour repr:12 padding:none]:[minute]:[second] [period case:upper]"
    );
    at.format(form).unwrap_or_default()
}

pub(super) fn tenant_wrong(found: &str, expected: &str, authority: &str) -> Answer {
    Answer(
        StatusCode::UNAUTHORIZED,
        "InvalidAuthenticationTokenTenant",
        format!(
            "The access token is from the wrong issuer '{found}'. It must match the tenant '{expected}' associated with this subscription. Please use the authority (URL) '{authority}' to get the token. Note, if the subscription is transferred to another tenant there is no impact to the services, but information about new tenant could take time to propagate (up to an hour). If you just transferred your subscription and see this error message, please try back later."
        ),
    )
}

/// The versions that a namespace is said to have, as the listing of providers has them. keycard takes every date.
fn supported(namespace: &str) -> String {
    providers::api_versions(namespace).join(",")
}

pub(super) fn api_version_missing() -> Answer {
    Answer(
        BAD,
        "MissingApiVersionParameter",
        "The api-version query parameter (?api-version=) is required for all requests.".to_owned(),
    )
}

pub(super) fn api_version_invalid(version: &str) -> Answer {
    Answer(
        BAD,
        "InvalidApiVersionParameter",
        format!(
            "The api-version '{version}' is invalid. The supported versions are '{}'.",
            supported("Microsoft.Resources")
        ),
    )
}

pub(super) fn resource_type_unknown(
    namespace: &str,
    resource_type: &str,
    api_version: &str,
) -> Answer {
    Answer(
        StatusCode::NOT_FOUND,
        "InvalidResourceType",
        format!(
            "The resource type '{resource_type}' could not be found in the namespace '{namespace}' for api version '{api_version}'. The supported api-versions are '{}'.",
            supported(namespace)
        ),
    )
}

pub(super) fn namespace_unknown(namespace: &str) -> Answer {
    Answer(
        StatusCode::NOT_FOUND,
        "InvalidResourceNamespace",
        format!("The resource namespace '{namespace}' is invalid."),
    )
}

pub(super) fn provider_unregistered(namespace: &str) -> Answer {
    Answer(
        StatusCode::CONFLICT,
        "MissingSubscriptionRegistration",
        format!(
            "The subscription is not registered to use namespace '{namespace}'. See https://aka.ms/rps-not-found for how to register subscriptions."
        ),
    )
}

pub(super) fn subscription_id_invalid(text: &str) -> Answer {
    Answer(
        BAD,
        "InvalidSubscriptionId",
        format!("The provided subscription identifier '{text}' is malformed or invalid."),
    )
}

pub(super) fn token_missing() -> Answer {
    Answer(
        StatusCode::UNAUTHORIZED,
        "AuthenticationFailed",
        "Authentication failed. The 'Authorization' header is missing.".to_owned(),
    )
}

pub(super) fn path_malformed() -> Answer {
    Answer(BAD, "InvalidRequestUri", "The path of the request is malformed.".to_owned())
}

pub(super) fn path_unknown() -> Answer {
    Answer(
        StatusCode::NOT_FOUND,
        "NotFound",
        "keycard's Resource Manager has nothing at this path.".to_owned(),
    )
}

pub(super) fn method_not_allowed() -> Answer {
    Answer(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "The method is not allowed on this path.".to_owned(),
    )
}

pub(super) fn parent_not_found(name: &str) -> Answer {
    Answer(
        StatusCode::NOT_FOUND,
        "ParentResourceNotFound",
        format!(
            "Can not perform requested operation on nested resource. Parent resource '{name}' not found."
        ),
    )
}

pub(super) fn condition_malformed(header: &str) -> Answer {
    Answer(
        BAD,
        "InvalidHeaderValue",
        format!("The value of the header '{header}' is neither '*' nor a list of entity tags."),
    )
}

pub(super) fn precondition_failed() -> Answer {
    Answer(
        StatusCode::PRECONDITION_FAILED,
        "PreconditionFailed",
        "The condition specified using HTTP conditional header(s) is not met.".to_owned(),
    )
}

impl ArmError {
    /// The challenge of a refusal for want of a good token; nothing for other refusals.
    pub(in super::super) fn challenge(&self, authority: &str) -> Option<HeaderValue> {
        let Answer(status, _, message) = self.answer();
        if status != StatusCode::UNAUTHORIZED {
            return None;
        }
        let description = if *self == Self::TokenMissing {
            "The authentication failed because of missing 'Authorization' header."
        } else {
            &message
        };
        // What stands in the token is not believed yet, and a header has room for little.
        let is_kept = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        let description: String =
            description.chars().filter(is_kept).take(limits::CHALLENGE_CHARS_MAX).collect();
        let value = format!(
            "Bearer authorization_uri=\"{authority}\", error=\"invalid_token\", error_description=\"{description}\""
        );
        HeaderValue::from_str(&value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UtcDateTime {
        UtcDateTime::from_unix_timestamp(seconds).unwrap()
    }

    #[test]
    fn moments_are_worded_as_the_front_door_words_them() {
        for (seconds, expected) in [
            (1_684_069_323, "5/14/2023 1:02:03 PM"),
            (1_800_000_000, "1/15/2027 8:00:00 AM"),
            (1_800_014_400, "1/15/2027 12:00:00 PM"),
            (1_799_971_200, "1/15/2027 12:00:00 AM"),
        ] {
            assert_eq!(moment(at(seconds)), expected);
        }
    }

    /// Nothing of a token that was not verified breaks out of the header.
    #[test]
    fn a_challenge_holds_what_a_token_says_at_a_distance() {
        let found = format!("https://evil\", error=\"x\\\r\n\u{e9}{}", "y".repeat(10_000));
        let error = BearerError::AudienceWrong { found };
        let refused = ArmError::TokenRefused { error, now: at(0) };
        let value = refused.challenge("https://login/common").unwrap();
        let text = value.to_str().unwrap();
        assert!(text.starts_with(
            "Bearer authorization_uri=\"https://login/common\", error=\"invalid_token\", error_description=\"The access token has been obtained for wrong audience or resource 'https://evil, error=xyyy"
        ), "{text}");
        assert_eq!(text.matches('"').count(), 6);
        assert!(text.len() < 1000);
        assert_eq!(ArmError::PathUnknown.challenge("x"), None);
    }
}
