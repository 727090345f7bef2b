//! Tokens: who gets which, signed how, for how long, and when not.
//!
//! Local endpoints end in the port [`source::TokenSource`]; the token service is the port [`grant::TokenService`],
//! kept by [`issuer::Issuer`]. What a presented token is worth is decided in [`verify`].

pub mod audience;
pub mod claims;
pub mod client_assertion;
pub mod cluster_issuer;
pub mod federation;
pub mod forge;
pub mod grant;
pub mod issuer;
pub mod replay;
pub mod signing_key;
pub mod source;
pub mod throttle;
pub mod verify;
