//! The operations of the identity provider: `GET /providers/Microsoft.ManagedIdentity/operations`.
//!
//! Whoever has a token may read them. Source: the provider's operations, as `az provider operation show` lists them.

use axum::Json;
use http::Method;
use serde_json::{Value, json};

use super::Arm;
use crate::route::{Access, OwnProof, Route, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let path = "/providers/Microsoft.ManagedIdentity/operations";
    vec![route(Method::GET, path, Access::OwnProof, list)]
}

/// Name below `Microsoft.ManagedIdentity/`, resource, operation, description.
const OPERATIONS: &[(&str, &str, &str, &str)] = &[
    (
        "register/action",
        "Microsoft Managed Identity",
        "Registers the Managed Identity Resource Provider",
        "Registers the subscription for the managed identity resource provider",
    ),
    (
        "userAssignedIdentities/read",
        USER_ASSIGNED,
        "Get User Assigned Identity",
        "Gets an existing user assigned identity",
    ),
    (
        "userAssignedIdentities/write",
        USER_ASSIGNED,
        "Create/Update User Assigned Identity",
        "Creates a new user assigned identity or updates the tags associated with an existing user assigned identity",
    ),
    (
        "userAssignedIdentities/delete",
        USER_ASSIGNED,
        "Delete User Assigned Identity",
        "Deletes an existing user assigned identity",
    ),
    (
        "userAssignedIdentities/assign/action",
        USER_ASSIGNED,
        "Assign User Assigned Identity",
        "RBAC action for assigning an existing user assigned identity to a resource",
    ),
    (
        "userAssignedIdentities/listAssociatedResources/action",
        USER_ASSIGNED,
        "List associated resources for User Assigned Identity",
        "Lists all associated resources for an existing user assigned identity",
    ),
    (
        "userAssignedIdentities/revokeTokens/action",
        USER_ASSIGNED,
        "Revokes tokens minted on User Assigned Identity",
        "Revoked all the existing tokens on a user assigned identity",
    ),
    (
        "userAssignedIdentities/federatedIdentityCredentials/read",
        FEDERATED,
        "Get or list Federated Identity Credentials",
        "Get or list Federated Identity Credentials",
    ),
    (
        "userAssignedIdentities/federatedIdentityCredentials/write",
        FEDERATED,
        "Add or update Federated Identity Credential",
        "Add or update a Federated Identity Credential",
    ),
    (
        "userAssignedIdentities/federatedIdentityCredentials/delete",
        FEDERATED,
        "Delete Federated Identity Credential",
        "Delete a Federated Identity Credential",
    ),
    (
        "identities/read",
        "System Assigned Identities",
        "Get System Assigned Identity",
        "Gets an existing system assigned identity",
    ),
    (
        "operations/read",
        "Managed Identity operations",
        "List Managed Identity operations",
        "Lists operations available on Microsoft.ManagedIdentity resource provider",
    ),
];

const USER_ASSIGNED: &str = "User Assigned Identities";
const FEDERATED: &str = "Federated Identity Credentials";

async fn list(OwnProof(_): OwnProof) -> Json<Value> {
    let operation = |(name, resource, operation, description): &(&str, &str, &str, &str)| {
        json!({
            "name": format!("Microsoft.ManagedIdentity/{name}"),
            "display": {
                "provider": "Microsoft Managed Identity",
                "resource": resource,
                "operation": operation,
                "description": description,
            },
        })
    };
    let operations: Vec<Value> = OPERATIONS.iter().map(operation).collect();
    Json(json!({ "value": operations }))
}

#[cfg(test)]
mod tests {
    use keycard_domain::rbac::Plane;
    use keycard_domain::rbac::provider_operations::universe;

    use super::*;

    #[test]
    fn the_listed_operations_are_those_that_roles_can_name() {
        let known: Vec<&str> = universe()
            .iter()
            .filter(|(plane, action)| {
                *plane == Plane::Control
                    && action.as_str().starts_with("microsoft.managedidentity/")
            })
            .map(|(_, action)| action.as_str())
            .collect();
        let mut listed: Vec<String> = OPERATIONS
            .iter()
            .map(|(name, ..)| format!("microsoft.managedidentity/{}", name.to_ascii_lowercase()))
            .collect();
        listed.sort();
        assert_eq!(listed, known);
    }
}
