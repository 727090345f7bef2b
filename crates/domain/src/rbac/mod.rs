//! The authorization engine: who may do what, where, and why.
//!
//! Pure functions of (principal, action, scope, attributes, snapshot). Every face asks [`decision::decide`].
//! Source: Azure role-based access control, "Understand Azure role definitions" and "Understand role assignments".

pub mod action;
pub mod assignment;
pub mod built_in_roles;
pub mod condition;
pub mod custom_role;
pub mod decision;
pub mod deny_assignment;
pub mod effective;
pub mod explanation;
pub mod journal;
pub mod least_privilege;
pub mod linked_access;
#[cfg(test)]
mod oracle;
pub mod provider_operations;
pub mod role_definition;
pub mod scope;
pub mod standing;
pub mod taken_along;

pub use action::{Action, ActionPattern};
pub use assignment::RoleAssignment;
pub use condition::{AttributeSource, Attributes, Condition};
pub use decision::{Decision, Plane, Question, Reason, decide, denied_by, may};
pub use deny_assignment::DenyAssignment;
pub use role_definition::{Permission, RoleDefinition, RoleType};
pub use scope::RbacScope;
