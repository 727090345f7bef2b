//! What a refused cluster is told.
//!
//! Source: observed errors of AKS; where its words are not known they are keycard's own.

use http::StatusCode;
use keycard_domain::compute::managed_cluster::ClusterError;
use keycard_domain::limits;
use keycard_domain::token::cluster_issuer::ServiceAccountError;

use super::resource::resource_not_found;
use super::{Answer, BAD, unavailable};

pub(super) fn answer(error: &ClusterError) -> Answer {
    let missing = |name: &str| {
        let message = format!("Required parameter '{name}' is missing (null).");
        Answer(BAD, "InvalidParameter", message)
    };
    match error {
        ClusterError::IdentityMissing => missing("servicePrincipalProfile"),
        ClusterError::PoolCount(0) => missing("agentPoolProfiles"),
        ClusterError::PoolCount(_) | ClusterError::TooManyNodes => Answer(
            BAD,
            "InvalidParameter",
            format!(
                "A cluster has at most {} agent pools with {} nodes in all.",
                limits::AGENT_POOLS_MAX,
                limits::CLUSTER_NODES_MAX
            ),
        ),
        ClusterError::PoolNameInvalid(_) => Answer(
            BAD,
            "InvalidParameter",
            "The value of parameter agentPoolProfile.name is invalid. Please see https://aka.ms/aks-naming-rules for more details."
                .to_owned(),
        ),
        ClusterError::Immutable(property) => Answer(
            BAD,
            "PropertyChangeNotAllowed",
            format!("Changing property 'properties.{property}' is not allowed."),
        ),
        ClusterError::NodeGroupExists(name) => Answer(
            StatusCode::CONFLICT,
            "Conflict",
            format!("The node resource group '{name}' cannot be made: its name is taken."),
        ),
        ClusterError::InNodeGroup(name) => Answer(
            BAD,
            "BadRequest",
            format!(
                "The resource group '{name}' holds the nodes of a cluster, and can hold no cluster."
            ),
        ),
        ClusterError::IssuerStaysOn => Answer(
            BAD,
            "OIDCIssuerFeatureCannotBeDisabled",
            "OIDC issuer feature cannot be disabled.".to_owned(),
        ),
        ClusterError::KubeletNeedsUserAssigned => Answer(
            BAD,
            "CustomKubeletIdentityOnlySupportedOnUserAssignedMSICluster",
            "Custom kubelet identity is only supported on user assigned MSI cluster.".to_owned(),
        ),
        ClusterError::KubeletNotGranted(_) => Answer(
            BAD,
            "CustomKubeletIdentityMissingPermissionError",
            "The cluster using user-assigned managed identity must be granted 'Managed Identity Operator' role to assign kubelet identity. You can run 'az role assignment create --assignee <control-plane-identity-principal-id> --role 'Managed Identity Operator' --scope <kubelet-identity-resource-id>' to grant the permission. See https://learn.microsoft.com/en-us/azure/aks/use-managed-identity#add-role-assignment"
                .to_owned(),
        ),
    }
}

pub(super) fn service_account(error: &ServiceAccountError) -> Answer {
    match error {
        ServiceAccountError::ClusterNotFound(id) => resource_not_found(id),
        ServiceAccountError::NoIssuer => Answer(BAD, "BadRequest", error.to_string()),
        ServiceAccountError::Unavailable(reason) => unavailable(reason),
    }
}
