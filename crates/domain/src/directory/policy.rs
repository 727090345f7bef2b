//! Policies of the directory: how long tokens live, and which further claims they carry.
//!
//! A policy is the default of its directory, or is linked to an application or a service principal.
//! Source: Microsoft Graph, "tokenLifetimePolicy resource type", "claimsMappingPolicy resource type".

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{PolicyId, TenantId};
use crate::records::Record;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its object id.
    pub id: PolicyId,
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The rule as it was written: JSON.
    pub definition: String,
    /// The rule as it was read.
    pub rule: PolicyRule,
    /// Whether it holds for the whole directory.
    pub is_organization_default: bool,
    /// Unix seconds.
    pub created_at: i64,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyRule {
    /// How long an access token lives.
    TokenLifetime {
        /// Whole seconds.
        access_token_seconds: i64,
    },
    /// Which further claims an access token carries.
    ClaimsMapping {
        /// In their order.
        claims: Vec<MappedClaim>,
    },
}

/// A further claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedClaim {
    /// The claim's name.
    pub name: String,
    /// Where its value comes from.
    pub value: ClaimValue,
}

/// Where the value of a further claim comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClaimValue {
    /// The same in every token.
    Constant(String),
    /// The display name of the client's service principal.
    ClientDisplayName,
    /// The object id of the client's service principal.
    ClientObjectId,
}

impl Record for Policy {
    const KIND: &'static str = "policies";

    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// Puts a policy into force for an application or a service principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLink {
    /// The object id of the application or service principal.
    pub target: Uuid,
    /// The policy.
    pub policy_id: PolicyId,
}

impl Record for PolicyLink {
    const KIND: &'static str = "policy-links";

    fn record_id(&self) -> String {
        format!("{}/{}", self.target, self.policy_id)
    }
}
