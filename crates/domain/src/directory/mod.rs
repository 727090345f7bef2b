//! The directory: tenants, service principals, applications, managed identities, groups, and who may manage it.
//!
//! An identity's right to exist comes from a resource: resource providers call [`identity_block`] and wrap its errors.

pub mod application;
pub mod directory_role;
pub mod group;
pub mod identity_block;
pub mod lookup;
pub mod service_principal;
pub mod tenant;
pub mod user_assigned_identity;

pub use application::Application;
pub use group::{Group, GroupMember};
pub use identity_block::{IdentityBlock, IdentityRequest};
pub use service_principal::ServicePrincipal;
pub use tenant::Tenant;
pub use user_assigned_identity::UserAssignedIdentity;
