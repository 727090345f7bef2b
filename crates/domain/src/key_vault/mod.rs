//! Key Vault: vaults on the control plane, secrets on the data plane, and who may do what with them.

pub mod access_policy;
pub mod authorization;
pub mod secret;
pub mod vault;

pub use vault::Vault;
