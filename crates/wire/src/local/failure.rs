//! Why a workload got no token, as far as any local endpoint tells it: fewer reasons than the token service has, since what
//! happens between the host and the token service is not the workload's affair.

use http::{HeaderName, StatusCode, header};
use keycard_domain::fault::EndpointFault;
use keycard_domain::ids::TenantId;
use keycard_domain::token::grant::GrantError;
use keycard_domain::token::source::TokenError;

use super::fault::FaultAnswer;

/// Why a workload got no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The resource has no such identity, or none at all.
    IdentityNotFound,
    /// Several could be meant.
    SeveralIdentities,
    /// The resource is stopped.
    NotRunning,
    /// Nobody in the tenant serves what the token is for.
    ResourceUnknown { resource: String, tenant: TenantId },
    /// The resource gives tokens only to those with one of its roles.
    RoleRequired { client_id: String, resource: String },
    /// The tenant has had too many new tokens; when to come again.
    Throttled { retry_after_seconds: u32 },
    /// A fault that somebody set on purpose.
    Fault(EndpointFault),
    /// No token can be had now; when to come again.
    Unavailable { retry_after_seconds: u32 },
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::IdentityNotFound => Self::IdentityNotFound,
            TokenError::SeveralIdentities => Self::SeveralIdentities,
            TokenError::NotRunning => Self::NotRunning,
            TokenError::Fault(fault) => Self::Fault(fault),
            TokenError::Refused(refusal) => refused(refusal),
            TokenError::Unavailable { retry_after_seconds, .. } => {
                Self::Unavailable { retry_after_seconds }
            }
        }
    }
}

fn refused(refusal: GrantError) -> Failure {
    match refusal {
        GrantError::ResourceNotFound { resource, tenant } => {
            Failure::ResourceUnknown { resource, tenant }
        }
        GrantError::AssignmentRequired { client_id, resource } => {
            Failure::RoleRequired { client_id: client_id.to_string(), resource }
        }
        GrantError::Throttled { retry_after_seconds } => Failure::Throttled { retry_after_seconds },
        // The identity went away between look-up and grant.
        GrantError::ClientNotFound { .. } | GrantError::TenantNotFound(_) => {
            Failure::IdentityNotFound
        }
        GrantError::ProofMissing
        | GrantError::SecretWrong(_)
        | GrantError::SecretExpired(_)
        | GrantError::CertificateRefused(_)
        | GrantError::AssertionMalformed(_)
        | GrantError::AssertionKeyUnknown(_)
        | GrantError::AssertionOutsideValidity
        | GrantError::AssertionReplayed
        | GrantError::AssertionClaimWrong(_)
        | GrantError::FederationMismatch { .. }
        | GrantError::FederationKeyUnknown { .. }
        | GrantError::FederationForbidden { .. }
        | GrantError::IssuerUnavailable { .. }
        | GrantError::SigningUnavailable(_)
        | GrantError::Audit(_) => Failure::Unavailable { retry_after_seconds: 1 },
    }
}

impl Failure {
    /// What never gets better is 400: clients repeat the rest.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::IdentityNotFound
            | Self::SeveralIdentities
            | Self::NotRunning
            | Self::ResourceUnknown { .. }
            | Self::RoleRequired { .. } => StatusCode::BAD_REQUEST,
            Self::Fault(fault) => FaultAnswer::of(*fault).status,
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// When to come again, where that helps.
    pub(crate) fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::Fault(fault) => FaultAnswer::of(*fault).retry_after_seconds,
            Self::Throttled { retry_after_seconds } | Self::Unavailable { retry_after_seconds } => {
                Some(*retry_after_seconds)
            }
            Self::IdentityNotFound
            | Self::SeveralIdentities
            | Self::NotRunning
            | Self::ResourceUnknown { .. }
            | Self::RoleRequired { .. } => None,
        }
    }

    /// Its code in the words of the metadata service.
    pub(crate) fn error(&self) -> &'static str {
        match self {
            Self::IdentityNotFound
            | Self::SeveralIdentities
            | Self::NotRunning
            | Self::RoleRequired { .. } => "invalid_request",
            Self::ResourceUnknown { .. } => "invalid_resource",
            Self::Fault(fault) => FaultAnswer::of(*fault).code,
            Self::Throttled { .. } => "too_many_requests",
            Self::Unavailable { .. } => "service_unavailable",
        }
    }

    /// What happened, in a sentence without its full stop.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::IdentityNotFound => "Identity not found".to_owned(),
            Self::SeveralIdentities => {
                "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request".to_owned()
            }
            Self::NotRunning => "The resource is stopped".to_owned(),
            Self::ResourceUnknown { resource, tenant } => format!(
                "AADSTS500011: The resource principal named {resource} was not found in the tenant named {tenant}"
            ),
            Self::RoleRequired { client_id, resource } => format!(
                "AADSTS501051: Application '{client_id}' is not assigned to a role for the application '{resource}'"
            ),
            Self::Fault(fault) => FaultAnswer::of(*fault).text.to_owned(),
            Self::Throttled { .. } => "The tenant's rate of token requests is exceeded".to_owned(),
            Self::Unavailable { .. } => "A token cannot be had now, please try again".to_owned(),
        }
    }
}

/// The header that says when to come again, where that helps.
pub(crate) fn retry_after(failure: &Failure) -> Option<[(HeaderName, String); 1]> {
    failure.retry_after_seconds().map(retry_after_seconds)
}

/// The header that says to come again after so many seconds.
pub(crate) fn retry_after_seconds(seconds: u32) -> [(HeaderName, String); 1] {
    [(header::RETRY_AFTER, seconds.to_string())]
}
