//! The categories of records and metrics that a type has, and the groups they are in.
//!
//! Source: Azure Monitor, "Supported categories for Azure Monitor resource logs", "Azure activity log event schema";
//! Microsoft Entra, "Integrate Microsoft Entra logs with Azure Monitor".

use super::diagnostic_setting::Source;

/// What a category is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CategoryKind {
    /// Records.
    Logs,
    /// Numbers.
    Metrics,
}

impl CategoryKind {
    /// The kind as Resource Manager writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "Logs",
            Self::Metrics => "Metrics",
        }
    }
}

/// A category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its name.
    pub name: &'static str,
    /// What it is made of.
    pub kind: CategoryKind,
    /// The groups that it is in.
    pub groups: &'static [&'static str],
}

const ALL_LOGS: &[&str] = &["allLogs"];
const AUDIT: &[&str] = &["audit", "allLogs"];

const fn log(name: &'static str) -> Category {
    Category { name, kind: CategoryKind::Logs, groups: ALL_LOGS }
}

const fn audit(name: &'static str) -> Category {
    Category { name, kind: CategoryKind::Logs, groups: AUDIT }
}

/// Every metric of the resource.
const METRICS: Category = Category { name: "AllMetrics", kind: CategoryKind::Metrics, groups: &[] };

const VAULT: &[Category] = &[audit("AuditEvent"), log("AzurePolicyEvaluationDetails"), METRICS];

const SITE: &[Category] = &[
    log("AppServiceHTTPLogs"),
    log("AppServiceConsoleLogs"),
    log("AppServiceAppLogs"),
    audit("AppServiceAuditLogs"),
    audit("AppServiceIPSecAuditLogs"),
    log("AppServicePlatformLogs"),
    log("AppServiceAuthenticationLogs"),
    log("FunctionAppLogs"),
    METRICS,
];

const CLUSTER: &[Category] = &[
    log("kube-apiserver"),
    audit("kube-audit"),
    audit("kube-audit-admin"),
    log("kube-controller-manager"),
    log("kube-scheduler"),
    log("cluster-autoscaler"),
    log("cloud-controller-manager"),
    audit("guard"),
    METRICS,
];

const WORKFLOW: &[Category] = &[log("WorkflowRuntime"), METRICS];
const FACTORY: &[Category] =
    &[log("ActivityRuns"), log("PipelineRuns"), log("TriggerRuns"), METRICS];
const AUTOMATION: &[Category] =
    &[log("JobLogs"), log("JobStreams"), log("DscNodeStatus"), audit("AuditEvent"), METRICS];
const REGISTRY: &[Category] =
    &[audit("ContainerRegistryRepositoryEvents"), audit("ContainerRegistryLoginEvents"), METRICS];
const GATEWAY: &[Category] = &[log("GatewayLogs"), log("WebSocketConnectionLogs"), METRICS];
const ONLY_METRICS: &[Category] = &[METRICS];

const SUBSCRIPTION: &[Category] = &[
    log("Administrative"),
    log("Security"),
    log("ServiceHealth"),
    log("Alert"),
    log("Recommendation"),
    log("Policy"),
    log("Autoscale"),
    log("ResourceHealth"),
];

const MANAGEMENT_GROUP: &[Category] = &[log("Administrative"), log("Policy")];

const DIRECTORY: &[Category] = &[
    log("AuditLogs"),
    log("SignInLogs"),
    log("NonInteractiveUserSignInLogs"),
    log("ServicePrincipalSignInLogs"),
    log("ManagedIdentitySignInLogs"),
    log("ProvisioningLogs"),
    log("ADFSSignInLogs"),
    log("RiskyUsers"),
    log("UserRiskEvents"),
    log("RiskyServicePrincipals"),
    log("ServicePrincipalRiskEvents"),
    log("MicrosoftGraphActivityLogs"),
];

/// The categories of a resource type; none of a type that has none.
fn of_type(resource_type: &str) -> &'static [Category] {
    match resource_type.to_ascii_lowercase().as_str() {
        "microsoft.keyvault/vaults" | "microsoft.keyvault/managedhsms" => VAULT,
        "microsoft.web/sites" | "microsoft.web/sites/slots" => SITE,
        "microsoft.containerservice/managedclusters" => CLUSTER,
        "microsoft.logic/workflows" => WORKFLOW,
        "microsoft.datafactory/factories" => FACTORY,
        "microsoft.automation/automationaccounts" => AUTOMATION,
        "microsoft.containerregistry/registries" => REGISTRY,
        "microsoft.apimanagement/service" => GATEWAY,
        "microsoft.compute/virtualmachines"
        | "microsoft.compute/virtualmachinescalesets"
        | "microsoft.containerinstance/containergroups" => ONLY_METRICS,
        _ => &[],
    }
}

/// The categories of what settings can be about.
pub fn of(source: &Source) -> &'static [Category] {
    match source {
        Source::Directory => DIRECTORY,
        Source::Scope(scope) => match scope.as_str().parse() {
            Ok(resource) => {
                let resource: crate::resource_id::ArmResourceId = resource;
                of_type(&resource.resource_type())
            }
            Err(_) if scope.management_group().is_some() => MANAGEMENT_GROUP,
            Err(_) => SUBSCRIPTION,
        },
    }
}

/// The category with this name.
pub fn find(source: &Source, kind: CategoryKind, name: &str) -> Option<Category> {
    let named = |it: &&Category| it.kind == kind && it.name.eq_ignore_ascii_case(name);
    of(source).iter().find(named).copied()
}

/// The group with this name, as Azure writes it, where any category is in it.
pub fn find_group(source: &Source, name: &str) -> Option<&'static str> {
    let mut groups = of(source).iter().flat_map(|category| category.groups);
    groups.find(|group| group.eq_ignore_ascii_case(name)).copied()
}
