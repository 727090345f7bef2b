//! A role definition: named sets of actions. Built-in ones are data ([`super::built_in_roles`]).

use serde::{Deserialize, Serialize};

use super::action::ActionPattern;
use crate::ids::RoleDefinitionId;

/// One permission object of a role. What it grants is `actions` without `not_actions`, and the same for data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// Granted control-plane actions.
    #[serde(default)]
    pub actions: Vec<ActionPattern>,
    /// Taken out of `actions` again; not a deny.
    #[serde(default)]
    pub not_actions: Vec<ActionPattern>,
    /// Granted data-plane actions.
    #[serde(default)]
    pub data_actions: Vec<ActionPattern>,
    /// Taken out of `data_actions` again.
    #[serde(default)]
    pub not_data_actions: Vec<ActionPattern>,
    /// A condition under which alone the object grants.
    #[serde(default)]
    pub condition: Option<String>,
    /// The version of the condition's language.
    #[serde(default)]
    pub condition_version: Option<String>,
}

impl Permission {
    /// Whether the object grants the action, its condition apart. The action is in lower case.
    pub fn covers(&self, plane: super::Plane, action_lowercase: &str) -> bool {
        let (granted, withheld) = match plane {
            super::Plane::Control => (&self.actions, &self.not_actions),
            super::Plane::Data => (&self.data_actions, &self.not_data_actions),
        };
        granted.iter().any(|pattern| pattern.covers(action_lowercase))
            && !withheld.iter().any(|pattern| pattern.covers(action_lowercase))
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
    /// What the role is for.
    #[serde(default)]
    pub description: String,
    /// What the role grants; the union counts.
    pub permissions: Vec<Permission>,
    /// When the role came to be, RFC 3339.
    #[serde(default)]
    pub created_on: Option<String>,
    /// When the role was last changed, RFC 3339.
    #[serde(default)]
    pub updated_on: Option<String>,
}
