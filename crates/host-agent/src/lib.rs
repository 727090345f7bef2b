//! What runs beside the workloads: it holds the credentials of this host's identities, listens at their local
//! endpoints, and asks the token service. It never meets a store.
//!
//! In `up` and on a single node it is embedded; the ports it is given are then kept in the same process.

mod broken_answer;
pub mod challenge_files;
pub mod credential_store;
pub mod endpoint_thread;
pub mod fast_lane;
pub mod faults;
pub mod faulty_source;
mod lane;
pub mod link_local;
pub mod listen;
pub mod metadata_address;
pub mod node_certificate;
pub mod projected_tokens;
pub mod sandbox;
mod token_cache;
pub mod token_source;
