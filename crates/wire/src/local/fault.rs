//! What a fault makes an endpoint say. Each face puts it into its own shape.
//!
//! Source: Azure Instance Metadata Service, "Errors and debugging": 410 while the endpoint is updated, at most 70 seconds;
//! 429 beyond the rate; 500 to be tried again.

use http::StatusCode;
use keycard_domain::fault::{EndpointFault, Outage};

/// An answer, without the shape of a face.
pub(crate) struct FaultAnswer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The code, in the words of the metadata endpoint.
    pub(crate) code: &'static str,
    /// What people read, without a final full stop.
    pub(crate) text: &'static str,
    /// For the header `Retry-After`.
    pub(crate) retry_after_seconds: Option<u32>,
}

impl FaultAnswer {
    /// The answer that a fault makes.
    pub(crate) fn of(fault: EndpointFault) -> Self {
        let (status, code, text) = match fault {
            EndpointFault::TooManyRequests { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests")
            }
            EndpointFault::Updating => {
                (StatusCode::GONE, "service_unavailable", "The endpoint is being updated")
            }
            EndpointFault::ServerError(outage) => {
                let (status, text) = outage_answer(outage);
                (status, "server_error", text)
            }
        };
        let retry_after_seconds = match fault {
            EndpointFault::TooManyRequests { retry_after_seconds } => Some(retry_after_seconds),
            EndpointFault::Updating | EndpointFault::ServerError(_) => None,
        };
        Self { status, code, text, retry_after_seconds }
    }
}

const fn outage_answer(outage: Outage) -> (StatusCode, &'static str) {
    match outage {
        Outage::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "An internal error occurred"),
        Outage::BadGateway => (StatusCode::BAD_GATEWAY, "The token service gave no good answer"),
        Outage::Unavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "The service takes no requests now")
        }
        Outage::GatewayTimeout => (StatusCode::GATEWAY_TIMEOUT, "The token service did not answer"),
    }
}
