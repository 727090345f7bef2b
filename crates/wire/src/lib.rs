//! Every byte promise: one folder per Azure face. Only this crate knows Microsoft's JSON, headers and error codes.
//!
//! A face never touches the store and never imports another face: it makes one call into `domain`.

pub mod arm;
pub mod authorize;
pub mod bearer;
pub mod cluster_issuer;
pub mod connection;
pub mod entra;
pub mod graph;
pub mod host_names;
pub mod key_vault;

pub mod local;
pub mod oidc;
pub mod request;
pub mod route;
pub mod unbuilt;
