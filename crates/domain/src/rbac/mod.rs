//! The authorization engine: who may do what, where, and why.
//!
//! Pure functions of (principal, action, scope, assignments, definitions). Every face asks [`decision::decide`].
//! Source: Azure role-based access control, "Understand Azure role definitions" and "Understand role assignments".

pub mod action;
pub mod assignment;
pub mod built_in_roles;
pub mod condition;
pub mod decision;
pub mod role_definition;
pub mod scope;

pub use action::ActionPattern;
pub use assignment::RoleAssignment;
pub use condition::Condition;
pub use decision::{Decision, Plane, Reason, decide};
pub use role_definition::{Permission, RoleDefinition};
pub use scope::RbacScope;
