//! A role definition: named sets of actions. Built-in ones are data ([`super::built_in_roles`]), the others are
//! [`super::custom_role`].

use serde::{Deserialize, Serialize};

use super::Plane;
use super::action::{Action, ActionPatterns};
use super::condition::Condition;
use super::scope::RbacScope;
use crate::ids::RoleDefinitionId;

/// One permission object of a role. What it grants is `actions` without `not_actions`, and the same for data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// Granted control-plane actions.
    #[serde(default)]
    pub actions: ActionPatterns,
    /// Taken out of `actions` again; not a deny.
    #[serde(default)]
    pub not_actions: ActionPatterns,
    /// Granted data-plane actions.
    #[serde(default)]
    pub data_actions: ActionPatterns,
    /// Taken out of `data_actions` again.
    #[serde(default)]
    pub not_data_actions: ActionPatterns,
    /// A condition under which alone the object grants.
    #[serde(default)]
    pub condition: Option<Condition>,
    /// The version of the condition's language.
    #[serde(default)]
    pub condition_version: Option<String>,
}

impl Permission {
    /// Whether the object is about the action, its condition apart.
    pub fn covers(&self, plane: Plane, action: &Action<'_>) -> bool {
        let (granted, withheld) = match plane {
            Plane::Control => (&self.actions, &self.not_actions),
            Plane::Data => (&self.data_actions, &self.not_data_actions),
        };
        granted.cover(action) && !withheld.cover(action)
    }

    /// The four lists, as the wire names them.
    pub fn lists(&self) -> [(&'static str, &ActionPatterns); 4] {
        [
            ("actions", &self.actions),
            ("notActions", &self.not_actions),
            ("dataActions", &self.data_actions),
            ("notDataActions", &self.not_data_actions),
        ]
    }
}

/// Who made a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoleType {
    /// It is Azure's own.
    BuiltInRole,
    /// An administrator made it.
    CustomRole,
}

impl RoleType {
    /// The kind as Resource Manager writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BuiltInRole => "BuiltInRole",
            Self::CustomRole => "CustomRole",
        }
    }
}

/// A role: what its holder may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleDefinition {
    /// The GUID that names the role.
    #[serde(rename = "name")]
    pub id: RoleDefinitionId,
    /// The role's display name.
    pub role_name: String,
    /// Who made it.
    pub role_type: RoleType,
    /// What the role is for.
    #[serde(default)]
    pub description: String,
    /// Where it may be assigned: at these scopes and below them.
    pub assignable_scopes: Vec<RbacScope>,
    /// What the role grants; the union counts.
    pub permissions: Vec<Permission>,
    /// When the role came to be, RFC 3339.
    #[serde(default)]
    pub created_on: Option<String>,
    /// When the role was last changed, RFC 3339.
    #[serde(default)]
    pub updated_on: Option<String>,
}
