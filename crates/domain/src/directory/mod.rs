//! The directory: tenants, service principals, applications, managed identities, groups, policies, and who may manage it.
//!
//! An identity's right to exist comes from a resource: resource providers call [`identity_block`] and wrap its errors.

pub mod app_role_assignment;
pub mod application;
pub mod assignment_restrictions;
pub mod associated_resource;
pub mod bearer;
pub mod deleted_object;
pub mod directory_role;
pub mod federated_credential;
pub mod group;
pub mod identity_block;
pub mod lookup;
pub mod policy;
pub mod service_principal;
pub mod tenant;
pub mod user_assigned_identity;

pub use app_role_assignment::AppRoleAssignment;
pub use application::Application;
pub use deleted_object::DeletedObject;
pub use federated_credential::FederatedCredential;
pub use group::{Group, GroupMember};
pub use identity_block::{IdentityBlock, IdentityRequest};
pub use policy::{Policy, PolicyLink};
pub use service_principal::ServicePrincipal;
pub use tenant::Tenant;
pub use user_assigned_identity::UserAssignedIdentity;
