//! The stored form of every noun, frozen. A test that fails here asks for a migration, not for a new golden line.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, json};
use uuid::Uuid;

use super::{Record, decode, encode};
use crate::audit::activity::ActivityEntry;
use crate::compute::managed_cluster::Cluster;
use crate::compute::scale_set::Instances;
use crate::compute::{ComputeKind, ComputeResource, PowerState};
use crate::credential::IdentityCredential;
use crate::deployment::parameter::{ShownValue, ValueType};
use crate::deployment::{
    Dependency, Deployment, DeploymentFailure, DeploymentMode, DeploymentOperation,
    DeploymentState, FailureDetail,
};
use crate::directory::application::{AppRole, KeyCredential, PasswordCredential, TokenVersion};
use crate::directory::assignment_restrictions::{AllowedProviders, IsolationScope};
use crate::directory::deleted_object::FormerObject;
use crate::directory::directory_role::{DirectoryRole, DirectoryRoleAssignment};
use crate::directory::federated_credential::claims_expression::ClaimsExpression;
use crate::directory::federated_credential::{FederatedWrites, SubjectRule, Trust};
use crate::directory::group::{Group, GroupMember};
use crate::directory::identity_block::{SystemAssigned, UserAssigned};
use crate::directory::policy::{ClaimValue, MappedClaim, PolicyRule};
use crate::directory::service_principal::{Generation, ServicePrincipalKind};
use crate::directory::tenant::{Issuer, Subscription, TenantKind};
use crate::directory::{
    AppRoleAssignment, Application, DeletedObject, FederatedCredential, IdentityBlock, Policy,
    PolicyLink, ServicePrincipal, Tenant, UserAssignedIdentity,
};
use crate::fault::{DropMoment, Fault, FaultEffect, Outage};
use crate::ids::{
    AppRoleAssignmentId, AppRoleId, ApplicationId, ClientId, DenyAssignmentId,
    FederatedCredentialId, KeyId, PolicyId, PrincipalId, RoleAssignmentId, RoleDefinitionId,
    SubscriptionId, TenantId,
};
use crate::key_vault::Vault;
use crate::key_vault::access_policy::{AccessPolicy, Permissions};
use crate::monitoring::diagnostic_setting::{
    Destination, DestinationKind, DiagnosticSetting, DiagnosticSettings, Selection, Selector,
    Source,
};
use crate::rbac::action::{ActionPattern, ActionPatterns};
use crate::rbac::assignment::PrincipalType;
use crate::rbac::custom_role::CustomRole;
use crate::rbac::deny_assignment::{DeniedPrincipal, DeniedType, EVERYONE};
use crate::rbac::{
    Condition, DenyAssignment, Permission, RbacScope, RoleAssignment, RoleDefinition, RoleType,
    built_in_roles,
};
use crate::resource_id::ArmResourceId;
use crate::resources::async_operation::AsyncOperation;
use crate::resources::feature::FeatureRegistration;
use crate::resources::generic::{GenericResource, HostName};
use crate::resources::lock::{Lock, LockLevel};
use crate::resources::management_group::ManagementGroup;
use crate::resources::provider_registration::UnregisteredProvider;
use crate::resources::relocation::Relocation;
use crate::resources::resource_group::ResourceGroup;
use crate::token::signing_key::{SigningKeyRing, TokenSigningKey};

const TENANT: TenantId = TenantId::new(Uuid::from_u128(1));
const SUBSCRIPTION: SubscriptionId = SubscriptionId::new(Uuid::from_u128(2));
const PRINCIPAL: PrincipalId = PrincipalId::new(Uuid::from_u128(3));
const CLIENT: ClientId = ClientId::new(Uuid::from_u128(4));

fn id(provider: &str, name: &str) -> ArmResourceId {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/{provider}/{name}")
        .parse()
        .unwrap()
}

fn check<R: Record + PartialEq + std::fmt::Debug>(record: &R, key: &str, golden: &str) {
    let bytes = encode(record);
    assert_eq!(std::str::from_utf8(&bytes).unwrap(), golden, "the stored form of {}", R::KIND);
    assert_eq!(&decode::<R>(golden.as_bytes()).unwrap(), record);
    assert_eq!(format!("{}/{}", R::KIND, record.record_id()), key);
}

#[test]
fn an_unknown_version_is_refused() {
    assert!(decode::<Generation>(br#"{"v":2,"r":{"path":"/p","deletions":3}}"#).is_err());
}

#[test]
fn directory_records_are_frozen() {
    check(
        &Tenant {
            id: TENANT,
            display_name: "t".into(),
            issuers: vec![Issuer { v1: "a".into(), v2: "b".into() }],
            identity_authority_certificate: vec![1, 2],
            identity_authority_key_sealed: vec![3],
            created_at: 5,
            kind: TenantKind::Workforce,
        },
        "tenants/00000000-0000-0000-0000-000000000001",
        r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000001","display_name":"t","issuers":[{"v1":"a","v2":"b"}],"identity_authority_certificate":"AQI=","identity_authority_key_sealed":"Aw==","created_at":5}}"#,
    );
    check(
        &Subscription {
            id: SUBSCRIPTION,
            tenant_id: TENANT,
            display_name: "s".into(),
            management_group: None,
            alias: None,
            tags: BTreeMap::new(),
        },
        "subscriptions/00000000-0000-0000-0000-000000000002",
        r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000002","tenant_id":"00000000-0000-0000-0000-000000000001","display_name":"s"}}"#,
    );
    check(
        &Subscription {
            id: SUBSCRIPTION,
            tenant_id: TENANT,
            display_name: "s".into(),
            management_group: None,
            alias: None,
            tags: BTreeMap::from([("a".into(), "b".into())]),
        },
        "subscriptions/00000000-0000-0000-0000-000000000002",
        r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000002","tenant_id":"00000000-0000-0000-0000-000000000001","display_name":"s","tags":{"a":"b"}}}"#,
    );
    check(
        &ServicePrincipal {
            id: PRINCIPAL,
            client_id: CLIENT,
            tenant_id: TENANT,
            display_name: "vm".into(),
            kind: ServicePrincipalKind::SystemAssigned(id(
                "Microsoft.Compute",
                "virtualMachines/vm",
            )),
            is_enabled: true,
            created_at: 5,
            keys: vec![],
            requires_assignment: false,
            tokens_valid_from: None,
        },
        "service-principals/00000000-0000-0000-0000-000000000003",
        r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000003","client_id":"00000000-0000-0000-0000-000000000004","tenant_id":"00000000-0000-0000-0000-000000000001","display_name":"vm","kind":{"systemAssigned":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm"},"is_enabled":true,"created_at":5}}"#,
    );
    check(
        &Group {
            id: PRINCIPAL,
            tenant_id: TENANT,
            display_name: "g".into(),
            description: None,
            mail_nickname: "g".into(),
            created_at: 5,
        },
        "groups/00000000-0000-0000-0000-000000000003",
        r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000003","tenant_id":"00000000-0000-0000-0000-000000000001","display_name":"g","description":null,"mail_nickname":"g","created_at":5}}"#,
    );
    check(
        &GroupMember { group: PRINCIPAL, member: PrincipalId::new(Uuid::from_u128(8)) },
        "group-members/00000000-0000-0000-0000-000000000003/00000000-0000-0000-0000-000000000008",
        r#"{"v":1,"r":{"group":"00000000-0000-0000-0000-000000000003","member":"00000000-0000-0000-0000-000000000008"}}"#,
    );
    check(
        &DirectoryRoleAssignment {
            tenant_id: TENANT,
            principal_id: PRINCIPAL,
            role: DirectoryRole::GlobalAdministrator,
        },
        "directory-role-assignments/00000000-0000-0000-0000-000000000003/GlobalAdministrator",
        r#"{"v":1,"r":{"tenant_id":"00000000-0000-0000-0000-000000000001","principal_id":"00000000-0000-0000-0000-000000000003","role":"GlobalAdministrator"}}"#,
    );
    check(
        &ManagementGroup {
            tenant_id: TENANT,
            name: "MG".into(),
            display_name: "m".into(),
            parent: Some("above".into()),
            created_at: 1,
            updated_at: 2,
            updated_by: Some(PRINCIPAL),
        },
        "management-groups/mg",
        r#"{"v":1,"r":{"tenant_id":"00000000-0000-0000-0000-000000000001","name":"MG","display_name":"m","parent":"above","created_at":1,"updated_at":2,"updated_by":"00000000-0000-0000-0000-000000000003"}}"#,
    );
    check(
        &Generation { path: "/p".into(), deletions: 3 },
        "generations//p",
        r#"{"v":1,"r":{"path":"/p","deletions":3}}"#,
    );
    let password = PasswordCredential {
        key_id: KeyId::new(Uuid::from_u128(5)),
        display_name: Some("rbac".into()),
        hint: Some("abc".into()),
        sha256: [0; 32],
        starts_at: 6,
        expires_at: Some(7),
    };
    let key = KeyCredential {
        sha1: [0; 20],
        sha256: [0; 32],
        ..KeyCredential::of(KeyId::new(Uuid::from_u128(6)), vec![9], 8)
    };
    let role = AppRole {
        id: AppRoleId::new(Uuid::from_u128(7)),
        value: Some("Orders.Read".into()),
        display_name: "read".into(),
        description: "d".into(),
        is_enabled: true,
        allowed_member_types: vec!["Application".into()],
    };
    let application = Application {
        id: ApplicationId::new(Uuid::from_u128(8)),
        client_id: CLIENT,
        tenant_id: TENANT,
        display_name: "a".into(),
        created_at: 5,
        passwords: vec![password],
        keys: vec![key],
        identifier_uris: vec!["api://a".into()],
        app_roles: vec![role],
        accepted_token_version: TokenVersion::V2,
        wants_group_claims: true,
    };
    check(
        &application,
        "applications/00000000-0000-0000-0000-000000000004",
        r#"{"v":2,"r":{"id":"00000000-0000-0000-0000-000000000008","client_id":"00000000-0000-0000-0000-000000000004","tenant_id":"00000000-0000-0000-0000-000000000001","display_name":"a","created_at":5,"passwords":[{"key_id":"00000000-0000-0000-0000-000000000005","display_name":"rbac","hint":"abc","sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","starts_at":6,"expires_at":7}],"keys":[{"key_id":"00000000-0000-0000-0000-000000000006","display_name":null,"certificate":"CQ==","sha1":"AAAAAAAAAAAAAAAAAAAAAAAAAAA=","sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","starts_at":8,"expires_at":null}],"identifier_uris":["api://a"],"app_roles":[{"id":"00000000-0000-0000-0000-000000000007","value":"Orders.Read","display_name":"read","description":"d","is_enabled":true,"allowed_member_types":["Application"]}],"accepted_token_version":"V2","wants_group_claims":true}}"#,
    );
    check(
        &AppRoleAssignment {
            id: AppRoleAssignmentId::new(Uuid::from_u128(5)),
            tenant_id: TENANT,
            principal_id: PRINCIPAL,
            resource_id: PrincipalId::new(Uuid::from_u128(6)),
            app_role_id: AppRoleId::new(Uuid::from_u128(7)),
            created_at: 8,
        },
        "app-role-assignments/00000000-0000-0000-0000-000000000003/00000000-0000-0000-0000-000000000005",
        r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000005","tenant_id":"00000000-0000-0000-0000-000000000001","principal_id":"00000000-0000-0000-0000-000000000003","resource_id":"00000000-0000-0000-0000-000000000006","app_role_id":"00000000-0000-0000-0000-000000000007","created_at":8}}"#,
    );
    let claim = |name: &str, value| MappedClaim { name: name.into(), value };
    for (rule, golden) in [
        (
            PolicyRule::TokenLifetime { access_token_seconds: 3600 },
            r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000005","tenant_id":"00000000-0000-0000-0000-000000000001","display_name":"p","description":null,"definition":"{}","rule":{"tokenLifetime":{"access_token_seconds":3600}},"is_organization_default":true,"created_at":6}}"#,
        ),
        (
            PolicyRule::ClaimsMapping {
                claims: vec![
                    claim("a", ClaimValue::Constant("b".into())),
                    claim("c", ClaimValue::ClientDisplayName),
                    claim("d", ClaimValue::ClientObjectId),
                ],
            },
            r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000005","tenant_id":"00000000-0000-0000-0000-000000000001","display_name":"p","description":null,"definition":"{}","rule":{"claimsMapping":{"claims":[{"name":"a","value":{"constant":"b"}},{"name":"c","value":"clientDisplayName"},{"name":"d","value":"clientObjectId"}]}},"is_organization_default":true,"created_at":6}}"#,
        ),
    ] {
        check(
            &Policy {
                id: PolicyId::new(Uuid::from_u128(5)),
                tenant_id: TENANT,
                display_name: "p".into(),
                description: None,
                definition: "{}".into(),
                rule,
                is_organization_default: true,
                created_at: 6,
            },
            "policies/00000000-0000-0000-0000-000000000005",
            golden,
        );
    }
    check(
        &PolicyLink { target: Uuid::from_u128(8), policy_id: PolicyId::new(Uuid::from_u128(5)) },
        "policy-links/00000000-0000-0000-0000-000000000008/00000000-0000-0000-0000-000000000005",
        r#"{"v":1,"r":{"target":"00000000-0000-0000-0000-000000000008","policy_id":"00000000-0000-0000-0000-000000000005"}}"#,
    );
    check(
        &DeletedObject { deleted_at: 9, object: FormerObject::Application(application) },
        "deleted-objects/00000000-0000-0000-0000-000000000008",
        r#"{"v":1,"r":{"deleted_at":9,"object":{"application":{"id":"00000000-0000-0000-0000-000000000008","client_id":"00000000-0000-0000-0000-000000000004","tenant_id":"00000000-0000-0000-0000-000000000001","display_name":"a","created_at":5,"passwords":[{"key_id":"00000000-0000-0000-0000-000000000005","display_name":"rbac","hint":"abc","sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","starts_at":6,"expires_at":7}],"keys":[{"key_id":"00000000-0000-0000-0000-000000000006","display_name":null,"certificate":"CQ==","sha1":"AAAAAAAAAAAAAAAAAAAAAAAAAAA=","sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","starts_at":8,"expires_at":null}],"identifier_uris":["api://a"],"app_roles":[{"id":"00000000-0000-0000-0000-000000000007","value":"Orders.Read","display_name":"read","description":"d","is_enabled":true,"allowed_member_types":["Application"]}],"accepted_token_version":"V2","wants_group_claims":true}}}}"#,
    );
    check(
        &IdentityCredential {
            principal_id: PRINCIPAL,
            resource: id("Microsoft.Compute", "virtualMachines/vm"),
            public_point: vec![4],
            sha1: [0; 20],
            sha256: [0; 32],
            not_before: 1,
            not_after: 2,
        },
        "identity-credentials/00000000-0000-0000-0000-000000000003/0000000000000000000000000000000000000000000000000000000000000000",
        r#"{"v":1,"r":{"principal_id":"00000000-0000-0000-0000-000000000003","resource":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm","public_point":"BA==","sha1":"AAAAAAAAAAAAAAAAAAAAAAAAAAA=","sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","not_before":1,"not_after":2}}"#,
    );
    check(
        &SigningKeyRing {
            tenant_id: TENANT,
            keys: vec![TokenSigningKey {
                key_id: "k".into(),
                certificate: vec![1],
                private_key_sealed: vec![2],
                created_at: 5,
                signs_from: 6,
            }],
        },
        "signing-key-rings/00000000-0000-0000-0000-000000000001",
        r#"{"v":1,"r":{"tenant_id":"00000000-0000-0000-0000-000000000001","keys":[{"key_id":"k","certificate":"AQ==","private_key_sealed":"Ag==","created_at":5,"signs_from":6}]}}"#,
    );
}

#[test]
fn federated_records_are_frozen() {
    let expression = "claims['sub'] matches 'repo:a/*'";
    for (subject, golden) in [
        (
            SubjectRule::Exact("s".into()),
            r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000005","tenant_id":"00000000-0000-0000-0000-000000000001","client_id":"00000000-0000-0000-0000-000000000004","name":"Main","trust":{"issuer":"https://i","subject":{"exact":"s"},"audience":"a"},"description":null}}"#,
        ),
        (
            SubjectRule::Matching(ClaimsExpression::parse(expression).unwrap()),
            r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000005","tenant_id":"00000000-0000-0000-0000-000000000001","client_id":"00000000-0000-0000-0000-000000000004","name":"Main","trust":{"issuer":"https://i","subject":{"matching":"claims['sub'] matches 'repo:a/*'"},"audience":"a"},"description":null}}"#,
        ),
    ] {
        check(
            &FederatedCredential {
                id: FederatedCredentialId::new(Uuid::from_u128(5)),
                tenant_id: TENANT,
                client_id: CLIENT,
                name: "Main".into(),
                trust: Trust { issuer: "https://i".into(), subject, audience: "a".into() },
                description: None,
            },
            "federated-credentials/00000000-0000-0000-0000-000000000004/main",
            golden,
        );
    }
    check(
        &FederatedWrites { client_id: CLIENT, writes: 3 },
        "federated-writes/00000000-0000-0000-0000-000000000004",
        r#"{"v":1,"r":{"client_id":"00000000-0000-0000-0000-000000000004","writes":3}}"#,
    );
}

#[test]
fn resource_records_are_frozen() {
    let group = "/subscriptions/00000000-0000-0000-0000-000000000002/resourcegroups/g/providers";
    let tags = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    check(
        &ResourceGroup {
            subscription_id: SUBSCRIPTION,
            name: "G".into(),
            location: "l".into(),
            tags: tags.clone(),
            managed_by: None,
        },
        "resource-groups/00000000-0000-0000-0000-000000000002/g",
        r#"{"v":1,"r":{"subscription_id":"00000000-0000-0000-0000-000000000002","name":"G","location":"l","tags":{"a":"b"}}}"#,
    );
    check(
        &ResourceGroup {
            subscription_id: SUBSCRIPTION,
            name: "G".into(),
            location: "l".into(),
            tags: BTreeMap::new(),
            managed_by: Some(id("Microsoft.ContainerService", "managedClusters/c")),
        },
        "resource-groups/00000000-0000-0000-0000-000000000002/g",
        r#"{"v":1,"r":{"subscription_id":"00000000-0000-0000-0000-000000000002","name":"G","location":"l","tags":{},"managed_by":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/c"}}"#,
    );
    check(
        &UserAssignedIdentity {
            id: id("Microsoft.ManagedIdentity", "userAssignedIdentities/mi"),
            location: "l".into(),
            tags: tags.clone(),
            tenant_id: TENANT,
            principal_id: PRINCIPAL,
            client_id: CLIENT,
            isolation_scope: IsolationScope::None,
            allowed_providers: AllowedProviders::default(),
        },
        &format!(
            "user-assigned-identities/{group}/microsoft.managedidentity/userassignedidentities/mi"
        ),
        r#"{"v":1,"r":{"id":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi","location":"l","tags":{"a":"b"},"tenant_id":"00000000-0000-0000-0000-000000000001","principal_id":"00000000-0000-0000-0000-000000000003","client_id":"00000000-0000-0000-0000-000000000004"}}"#,
    );
    check(
        &UserAssignedIdentity {
            id: id("Microsoft.ManagedIdentity", "userAssignedIdentities/mi"),
            location: "l".into(),
            tags: BTreeMap::new(),
            tenant_id: TENANT,
            principal_id: PRINCIPAL,
            client_id: CLIENT,
            isolation_scope: IsolationScope::Regional,
            allowed_providers: AllowedProviders::parse(vec!["Microsoft.Compute".into()]).unwrap(),
        },
        &format!(
            "user-assigned-identities/{group}/microsoft.managedidentity/userassignedidentities/mi"
        ),
        r#"{"v":1,"r":{"id":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi","location":"l","tags":{},"tenant_id":"00000000-0000-0000-0000-000000000001","principal_id":"00000000-0000-0000-0000-000000000003","client_id":"00000000-0000-0000-0000-000000000004","isolation_scope":"Regional","allowed_providers":["Microsoft.Compute"]}}"#,
    );
    let assigned = UserAssigned {
        identity: id("Microsoft.ManagedIdentity", "userAssignedIdentities/mi"),
        principal_id: PRINCIPAL,
        client_id: CLIENT,
        assigned_at: 6,
    };
    let system = SystemAssigned { principal_id: PRINCIPAL, client_id: CLIENT };
    check(
        &ComputeResource {
            id: id("Microsoft.Compute", "virtualMachines/vm"),
            kind: ComputeKind::VirtualMachine,
            location: "l".into(),
            tags: BTreeMap::new(),
            identity: IdentityBlock {
                system_assigned: Some(system),
                user_assigned: vec![assigned],
            },
            power_state: PowerState::Deallocated,
            instance_id: Uuid::from_u128(8),
            properties: Map::from_iter([("p".to_owned(), json!(1))]),
            other: Map::new(),
            instances: Instances::default(),
            starts: 0,
            switched_at: None,
            cluster: None,
        },
        &format!("compute-resources/{group}/microsoft.compute/virtualmachines/vm"),
        r#"{"v":1,"r":{"id":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm","kind":"VirtualMachine","location":"l","tags":{},"identity":{"system_assigned":{"principal_id":"00000000-0000-0000-0000-000000000003","client_id":"00000000-0000-0000-0000-000000000004"},"user_assigned":[{"identity":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi","principal_id":"00000000-0000-0000-0000-000000000003","client_id":"00000000-0000-0000-0000-000000000004","assigned_at":6}]},"power_state":"Deallocated","instance_id":"00000000-0000-0000-0000-000000000008","properties":{"p":1},"other":{}}}"#,
    );
    check(
        &ComputeResource {
            id: id("Microsoft.Web", "sites/app/slots/s1"),
            kind: ComputeKind::Slot,
            location: "l".into(),
            tags: BTreeMap::new(),
            identity: IdentityBlock::default(),
            power_state: PowerState::Stopped,
            instance_id: Uuid::from_u128(8),
            properties: Map::new(),
            other: Map::new(),
            instances: Instances::default(),
            starts: 2,
            switched_at: Some(7),
            cluster: None,
        },
        &format!("compute-resources/{group}/microsoft.web/sites/app/slots/s1"),
        r#"{"v":1,"r":{"id":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.Web/sites/app/slots/s1","kind":"Slot","location":"l","tags":{},"identity":{"system_assigned":null,"user_assigned":[]},"power_state":"Stopped","instance_id":"00000000-0000-0000-0000-000000000008","properties":{},"other":{},"starts":2,"switched_at":7}}"#,
    );
    check(
        &ComputeResource {
            id: id("Microsoft.ContainerService", "managedClusters/c"),
            kind: ComputeKind::ManagedCluster,
            location: "l".into(),
            tags: BTreeMap::new(),
            identity: IdentityBlock::default(),
            power_state: PowerState::Running,
            instance_id: Uuid::from_u128(8),
            properties: Map::new(),
            other: Map::new(),
            instances: Instances::default(),
            starts: 0,
            switched_at: None,
            cluster: Some(Cluster {
                node_resource_group: "MC_g_c_l".into(),
                kubelet: Some(UserAssigned {
                    identity: id("Microsoft.ManagedIdentity", "userAssignedIdentities/mi"),
                    principal_id: PRINCIPAL,
                    client_id: CLIENT,
                    assigned_at: 6,
                }),
                pools: vec!["np1".into()],
                has_oidc_issuer: true,
            }),
        },
        &format!("compute-resources/{group}/microsoft.containerservice/managedclusters/c"),
        r#"{"v":1,"r":{"id":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/c","kind":"ManagedCluster","location":"l","tags":{},"identity":{"system_assigned":null,"user_assigned":[]},"power_state":"Running","instance_id":"00000000-0000-0000-0000-000000000008","properties":{},"other":{},"cluster":{"node_resource_group":"MC_g_c_l","kubelet":{"identity":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi","principal_id":"00000000-0000-0000-0000-000000000003","client_id":"00000000-0000-0000-0000-000000000004","assigned_at":6},"pools":["np1"],"has_oidc_issuer":true}}}"#,
    );
    let kinds = [
        (ComputeKind::ArcMachine, "ArcMachine", "Microsoft.HybridCompute", "machines/x"),
        (ComputeKind::ContainerApp, "ContainerApp", "Microsoft.App", "containerApps/x"),
    ];
    for (kind, word, namespace, name) in kinds {
        let resource = ComputeResource {
            id: id(namespace, name),
            kind,
            location: "l".into(),
            tags: BTreeMap::new(),
            identity: IdentityBlock::default(),
            power_state: PowerState::Stopped,
            instance_id: Uuid::from_u128(8),
            properties: Map::new(),
            other: Map::new(),
            instances: Instances::default(),
            starts: 0,
            switched_at: None,
            cluster: None,
        };
        let golden = r#"{"v":1,"r":{"id":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/NAME","kind":"KIND","location":"l","tags":{},"identity":{"system_assigned":null,"user_assigned":[]},"power_state":"Stopped","instance_id":"00000000-0000-0000-0000-000000000008","properties":{},"other":{}}}"#;
        let path = format!("{namespace}/{name}");
        let golden = golden.replace("NAME", &path).replace("KIND", word);
        check(&resource, &format!("compute-resources/{group}/{}", path.to_lowercase()), &golden);
    }
    let mut instances = Instances::default();
    for capacity in [2, 1] {
        instances.resize(capacity, |_| Uuid::from_u128(9));
    }
    check(
        &ComputeResource {
            id: id("Microsoft.Compute", "virtualMachineScaleSets/set"),
            kind: ComputeKind::ScaleSet,
            location: "l".into(),
            tags: BTreeMap::new(),
            identity: IdentityBlock::default(),
            power_state: PowerState::Running,
            instance_id: Uuid::from_u128(8),
            properties: Map::new(),
            other: Map::new(),
            instances,
            starts: 0,
            switched_at: None,
            cluster: None,
        },
        &format!("compute-resources/{group}/microsoft.compute/virtualmachinescalesets/set"),
        r#"{"v":1,"r":{"id":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/set","kind":"ScaleSet","location":"l","tags":{},"identity":{"system_assigned":null,"user_assigned":[]},"power_state":"Running","instance_id":"00000000-0000-0000-0000-000000000008","properties":{},"other":{},"instances":{"next":2,"present":{"0":{"power_state":"Running","vm_id":"00000000-0000-0000-0000-000000000009"}}}}}"#,
    );
    check(
        &RoleAssignment {
            id: RoleAssignmentId::new(Uuid::from_u128(9)),
            tenant_id: TENANT,
            scope: RbacScope::parse("/subscriptions/S").unwrap(),
            principal_id: PRINCIPAL,
            principal_type: PrincipalType::ServicePrincipal,
            role: built_in_roles::OWNER,
            condition: Some(Condition::parse("@Resource[a] BoolEquals true").unwrap()),
            description: None,
            created_at: 1,
            updated_at: 2,
            created_by: None,
            updated_by: Some(PRINCIPAL),
        },
        "role-assignments//subscriptions/s|00000000-0000-0000-0000-000000000009",
        r#"{"v":2,"r":{"id":"00000000-0000-0000-0000-000000000009","tenant_id":"00000000-0000-0000-0000-000000000001","scope":"/subscriptions/S","principal_id":"00000000-0000-0000-0000-000000000003","principal_type":"ServicePrincipal","role":"8e3af657-a8ff-443c-a75c-2fe8c4bcb635","condition":"@Resource[a] BoolEquals true","description":null,"created_at":1,"updated_at":2,"created_by":null,"updated_by":"00000000-0000-0000-0000-000000000003"}}"#,
    );
    let permission = Permission {
        actions: ActionPatterns::from(vec![ActionPattern::new("A/b/Read")]),
        ..Permission::default()
    };
    check(
        &CustomRole {
            tenant_id: TENANT,
            definition: Arc::new(RoleDefinition {
                id: RoleDefinitionId::new(Uuid::from_u128(7)),
                role_name: "r".into(),
                role_type: RoleType::CustomRole,
                description: String::new(),
                assignable_scopes: vec![RbacScope::parse("/subscriptions/S").unwrap()],
                permissions: vec![permission.clone()],
                created_on: Some("2026-01-01T00:00:00Z".into()),
                updated_on: None,
            }),
            created_by: None,
            updated_by: Some(PRINCIPAL),
        },
        "custom-roles/00000000-0000-0000-0000-000000000007",
        r#"{"v":1,"r":{"tenant_id":"00000000-0000-0000-0000-000000000001","definition":{"name":"00000000-0000-0000-0000-000000000007","roleName":"r","roleType":"CustomRole","description":"","assignableScopes":["/subscriptions/S"],"permissions":[{"actions":["A/b/Read"],"notActions":[],"dataActions":[],"notDataActions":[],"condition":null,"conditionVersion":null}],"createdOn":"2026-01-01T00:00:00Z","updatedOn":null},"created_by":null,"updated_by":"00000000-0000-0000-0000-000000000003"}}"#,
    );
    check(
        &DenyAssignment {
            id: DenyAssignmentId::new(Uuid::from_u128(6)),
            tenant_id: TENANT,
            scope: RbacScope::parse("/subscriptions/S").unwrap(),
            name: "d".into(),
            description: String::new(),
            permissions: vec![permission],
            excludes_child_scopes: true,
            principals: vec![DeniedPrincipal { id: EVERYONE, kind: DeniedType::SystemDefined }],
            excluded_principals: vec![DeniedPrincipal { id: PRINCIPAL, kind: DeniedType::Group }],
            created_at: 1,
            updated_at: 2,
            created_by: None,
            updated_by: None,
        },
        "deny-assignments//subscriptions/s|00000000-0000-0000-0000-000000000006",
        r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000006","tenant_id":"00000000-0000-0000-0000-000000000001","scope":"/subscriptions/S","name":"d","description":"","permissions":[{"actions":["A/b/Read"],"notActions":[],"dataActions":[],"notDataActions":[],"condition":null,"conditionVersion":null}],"excludes_child_scopes":true,"principals":[{"id":"00000000-0000-0000-0000-000000000000","type":"SystemDefined"}],"excluded_principals":[{"id":"00000000-0000-0000-0000-000000000003","type":"Group"}],"created_at":1,"updated_at":2,"created_by":null,"updated_by":null}}"#,
    );
    let policy = AccessPolicy {
        tenant_id: TENANT,
        object_id: PRINCIPAL,
        application_id: None,
        permissions: Permissions { secrets: vec!["get".into()], ..Permissions::default() },
    };
    check(
        &Vault {
            id: id("Microsoft.KeyVault", "vaults/KV"),
            location: "l".into(),
            tags: BTreeMap::new(),
            tenant_id: TENANT,
            sku: "standard".into(),
            access_policies: vec![policy],
            uses_rbac: true,
            retention_days: 90,
            has_purge_protection: false,
            other: Map::new(),
            deleted: None,
        },
        "vaults/kv",
        r#"{"v":1,"r":{"id":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.KeyVault/vaults/KV","location":"l","tags":{},"tenant_id":"00000000-0000-0000-0000-000000000001","sku":"standard","access_policies":[{"tenant_id":"00000000-0000-0000-0000-000000000001","object_id":"00000000-0000-0000-0000-000000000003","application_id":null,"permissions":{"keys":[],"secrets":["get"],"certificates":[],"storage":[]}}],"uses_rbac":true,"retention_days":90,"has_purge_protection":false,"other":{},"deleted":null}}"#,
    );
}

#[test]
fn deployments_are_frozen() {
    check(
        &Deployment {
            scope: RbacScope::parse("/subscriptions/S/resourceGroups/G").unwrap(),
            name: "D".into(),
            location: None,
            tags: BTreeMap::new(),
            run_id: Uuid::from_u128(9),
            state: DeploymentState::Failed,
            mode: DeploymentMode::Incremental,
            template_hash: "7".into(),
            parameters: vec![ShownValue {
                name: "p".into(),
                value_type: ValueType::SecureString,
                value: None,
            }],
            dependencies: vec![Dependency {
                resource: "/a".into(),
                resource_type: "N/a".into(),
                name: "a".into(),
                needs: vec!["/b".into()],
            }],
            outputs: vec![ShownValue {
                name: "o".into(),
                value_type: ValueType::Array,
                value: Some(json!([1])),
            }],
            operations: vec![DeploymentOperation {
                kind: "Create".into(),
                resource: "/a".into(),
                resource_type: "N/a".into(),
                name: "a".into(),
                status: 409,
                refusal: Some("r".into()),
                ended_at_ms: 6,
            }],
            failure: Some(DeploymentFailure {
                code: "c".into(),
                message: "m".into(),
                details: vec![FailureDetail { code: "d".into(), message: "n".into() }],
            }),
            started_at_ms: 5,
            ended_at_ms: Some(7),
            correlation_id: Uuid::from_u128(10),
        },
        "deployments//subscriptions/s/resourcegroups/g|d",
        r#"{"v":1,"r":{"scope":"/subscriptions/S/resourceGroups/G","name":"D","location":null,"tags":{},"run_id":"00000000-0000-0000-0000-000000000009","state":"Failed","mode":"Incremental","template_hash":"7","parameters":[{"name":"p","value_type":"SecureString","value":null}],"dependencies":[{"resource":"/a","resource_type":"N/a","name":"a","needs":["/b"]}],"outputs":[{"name":"o","value_type":"Array","value":[1]}],"operations":[{"kind":"Create","resource":"/a","resource_type":"N/a","name":"a","status":409,"refusal":"r","ended_at_ms":6}],"failure":{"code":"c","message":"m","details":[{"code":"d","message":"n"}]},"started_at_ms":5,"ended_at_ms":7,"correlation_id":"00000000-0000-0000-0000-00000000000a"}}"#,
    );
}

#[test]
fn generic_resources_are_frozen() {
    let path = "/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/A1";
    check(
        &GenericResource {
            id: path.parse().unwrap(),
            location: Some("l".into()),
            tags: BTreeMap::from([("t".into(), "v".into())]),
            identity: IdentityBlock::default(),
            instance_id: Uuid::from_u128(9),
            created_at: 5,
            properties: Map::from_iter([("p".into(), json!(1))]),
            other: Map::from_iter([("kind".into(), json!("k"))]),
        },
        "generic-resources//subscriptions/00000000-0000-0000-0000-000000000002/resourcegroups/g/providers/microsoft.storage/storageaccounts/a1",
        r#"{"v":1,"r":{"id":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/A1","location":"l","tags":{"t":"v"},"identity":{"system_assigned":null,"user_assigned":[]},"instance_id":"00000000-0000-0000-0000-000000000009","created_at":5,"properties":{"p":1},"other":{"kind":"k"}}}"#,
    );
    check(
        &HostName { resource_type: "n/t".into(), name: "a1".into(), holder: path.parse().unwrap() },
        "host-names/n/t|a1",
        r#"{"v":1,"r":{"resource_type":"n/t","name":"a1","holder":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/A1"}}"#,
    );
    check(
        &FeatureRegistration {
            subscription_id: SUBSCRIPTION,
            namespace: "N.S".into(),
            name: "F".into(),
            is_registered: true,
        },
        "feature-registrations/00000000-0000-0000-0000-000000000002/n.s/f",
        r#"{"v":1,"r":{"subscription_id":"00000000-0000-0000-0000-000000000002","namespace":"N.S","name":"F","is_registered":true}}"#,
    );
    check(
        &UnregisteredProvider { subscription_id: SUBSCRIPTION, namespace: "N.S".into() },
        "unregistered-providers/00000000-0000-0000-0000-000000000002/n.s",
        r#"{"v":1,"r":{"subscription_id":"00000000-0000-0000-0000-000000000002","namespace":"N.S"}}"#,
    );
}

#[test]
fn entries_of_the_activity_log_are_frozen() {
    check(
        &ActivityEntry {
            time_unix_ms: 7,
            operation_id: Uuid::from_u128(9),
            correlation_id: Uuid::from_u128(10),
            tenant_id: TENANT,
            caller: PRINCIPAL,
            client_id: CLIENT,
            action: "N/t/write".into(),
            scope: format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/G"),
            method: "PUT".into(),
            client_request_id: Some("c".into()),
            client_address: Some("::1".into()),
            status: 409,
            error_code: Some("e".into()),
        },
        "activityLog/subscription-00000000-0000-0000-0000-000000000002/999999999999992-00000000-0000-0000-0000-000000000009",
        r#"{"v":1,"r":{"time_unix_ms":7,"operation_id":"00000000-0000-0000-0000-000000000009","correlation_id":"00000000-0000-0000-0000-00000000000a","tenant_id":"00000000-0000-0000-0000-000000000001","caller":"00000000-0000-0000-0000-000000000003","client_id":"00000000-0000-0000-0000-000000000004","action":"N/t/write","scope":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/G","method":"PUT","client_request_id":"c","client_address":"::1","status":409,"error_code":"e"}}"#,
    );
}

#[test]
fn locks_and_relocations_are_frozen() {
    check(
        &Relocation {
            former: id("Microsoft.Compute", "virtualMachines/VM"),
            present: id("Microsoft.Compute", "virtualMachines/VM2"),
            moved_at: 5,
        },
        "relocations//subscriptions/00000000-0000-0000-0000-000000000002/resourcegroups/g/providers/microsoft.compute/virtualmachines/vm",
        r#"{"v":1,"r":{"former":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/VM","present":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/VM2","moved_at":5}}"#,
    );
    check(
        &Lock {
            scope: RbacScope::parse("/subscriptions/S/resourceGroups/G").unwrap(),
            name: "L".into(),
            level: LockLevel::CanNotDelete,
            notes: Some("n".into()),
            owners: vec!["o".into()],
        },
        "locks//subscriptions/s/resourcegroups/g|l",
        r#"{"v":1,"r":{"scope":"/subscriptions/S/resourceGroups/G","name":"L","level":"CanNotDelete","notes":"n","owners":["o"]}}"#,
    );
}

#[test]
fn faults_are_frozen() {
    let check_effect = |effect, stored: &str| {
        check(
            &Fault {
                scope: RbacScope::parse("/subscriptions/S").unwrap(),
                name: "F".into(),
                effect,
                requests_max: Some(3),
                set_at: 5,
                duration_seconds: Some(70),
            },
            "faults//subscriptions/s|f",
            &format!(
                r#"{{"v":1,"r":{{"scope":"/subscriptions/S","name":"F","effect":{stored},"requests_max":3,"set_at":5,"duration_seconds":70}}}}"#
            ),
        );
    };
    let throttle = FaultEffect::Throttle { requests_per_second: 20, concurrent_requests: 5 };
    for (effect, stored) in [
        (
            FaultEffect::TooManyRequests { retry_after_seconds: 5 },
            r#"{"TooManyRequests":{"retry_after_seconds":5}}"#,
        ),
        (FaultEffect::Updating, r#""Updating""#),
        (FaultEffect::ServerError(Outage::Internal), r#"{"ServerError":"Internal"}"#),
        (FaultEffect::ServerError(Outage::BadGateway), r#"{"ServerError":"BadGateway"}"#),
        (FaultEffect::ServerError(Outage::Unavailable), r#"{"ServerError":"Unavailable"}"#),
        (FaultEffect::ServerError(Outage::GatewayTimeout), r#"{"ServerError":"GatewayTimeout"}"#),
        (
            FaultEffect::SlowAnswer { delay_milliseconds: 9 },
            r#"{"SlowAnswer":{"delay_milliseconds":9}}"#,
        ),
        (
            FaultEffect::ConnectionDropped(DropMoment::BeforeAnswer),
            r#"{"ConnectionDropped":"BeforeAnswer"}"#,
        ),
        (
            FaultEffect::ConnectionDropped(DropMoment::MidAnswer),
            r#"{"ConnectionDropped":"MidAnswer"}"#,
        ),
        (throttle, r#"{"Throttle":{"requests_per_second":20,"concurrent_requests":5}}"#),
        (
            FaultEffect::ReplicationDelay { delay_seconds: 8 },
            r#"{"ReplicationDelay":{"delay_seconds":8}}"#,
        ),
    ] {
        check_effect(effect, stored);
    }
}

#[test]
fn diagnostic_settings_are_frozen() {
    let selection = |selector| Selection { selector, is_enabled: true, time_grain: None };
    let setting = DiagnosticSetting {
        name: "D".into(),
        destinations: vec![Destination {
            kind: DestinationKind::EventHubRule,
            id: id("Microsoft.EventHub", "namespaces/n/authorizationRules/r"),
        }],
        event_hub_name: Some("h".into()),
        destination_type: None,
        logs: vec![
            selection(Selector::Category("AuditEvent".into())),
            selection(Selector::Group("audit".into())),
        ],
        metrics: Vec::new(),
    };
    check(
        &DiagnosticSettings {
            tenant_id: TENANT,
            source: Source::Scope(RbacScope::parse("/subscriptions/S").unwrap()),
            settings: vec![setting],
        },
        "diagnostic-settings//subscriptions/s|",
        r#"{"v":1,"r":{"tenant_id":"00000000-0000-0000-0000-000000000001","source":{"Scope":"/subscriptions/S"},"settings":[{"name":"D","destinations":[{"kind":"EventHubRule","id":"/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/g/providers/Microsoft.EventHub/namespaces/n/authorizationRules/r"}],"event_hub_name":"h","destination_type":null,"logs":[{"selector":{"Category":"AuditEvent"},"is_enabled":true,"time_grain":null},{"selector":{"Group":"audit"},"is_enabled":true,"time_grain":null}],"metrics":[]}]}}"#,
    );
    check(
        &DiagnosticSettings { tenant_id: TENANT, source: Source::Directory, settings: Vec::new() },
        "diagnostic-settings/directory/00000000-0000-0000-0000-000000000001|",
        r#"{"v":1,"r":{"tenant_id":"00000000-0000-0000-0000-000000000001","source":"Directory","settings":[]}}"#,
    );
}

#[test]
fn asynchronous_operations_are_frozen() {
    check(
        &AsyncOperation {
            id: Uuid::from_u128(9),
            tenant_id: TENANT,
            caller: PRINCIPAL,
            subscription_id: SUBSCRIPTION,
            resource: "/r".into(),
            started_at_ms: 5,
            ended_at_ms: 6,
        },
        "asyncOperations/00000000-0000-0000-0000-000000000009",
        r#"{"v":1,"r":{"id":"00000000-0000-0000-0000-000000000009","tenant_id":"00000000-0000-0000-0000-000000000001","caller":"00000000-0000-0000-0000-000000000003","subscription_id":"00000000-0000-0000-0000-000000000002","resource":"/r","started_at_ms":5,"ended_at_ms":6}}"#,
    );
}
