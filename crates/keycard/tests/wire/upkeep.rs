//! A state of its own, without a server: due work, which removes what has outlived its time and nothing else; and what
//! two requests at the same time cannot both do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keycard_crypto::seal::SealingKey;
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_pool::SigningPool;
use keycard_domain::audit::activity::{Activity, Asked};
use keycard_domain::bootstrap::{Bootstrap, IssuerForm, bootstrap};
use keycard_domain::clock::{Clock, ManualClock};
use keycard_domain::entropy::SeededEntropy;
use keycard_domain::fault::{self, Fault, FaultEffect};
use keycard_domain::ids::{PrincipalId, RoleAssignmentId};
use keycard_domain::key_vault::secret::{NewSecret, SecretName, Secrets};
use keycard_domain::key_vault::vault::{self, VaultError, VaultRequest};
use keycard_domain::limits::{Limits, Profile};
use keycard_domain::operation::{Caller, OperationContext, Principal};
use keycard_domain::rbac::assignment::{self, AssignmentError, NewAssignment, PrincipalType};
use keycard_domain::rbac::{RbacScope, built_in_roles};
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::ResourceError;
use keycard_domain::resources::async_operation;
use keycard_domain::resources::lock::{self, Lock, LockLevel};
use keycard_domain::resources::resource_group::{self, ResourceGroup};
use keycard_domain::state::{Ports, State, WriteError};
use keycard_domain::store::Store;
use keycard_domain::target::{Precondition, Target, Versions, place_of};
use keycard_domain::token::audience::{Audiences, Service};
use keycard_domain::token::grant::{ClientProof, GrantRequest, TokenService};
use keycard_domain::token::issuer::{Addresses, Issuer};
use keycard_domain::token::signing_key;
use keycard_domain::token::verify::{PresentedToken, TokenVerifier};
use keycard_domain::upkeep;
use keycard_store::audit_log::MemoryAuditLog;
use keycard_store::memory::MemoryStore;
use keycard_wire::oidc::{LocalIssuers, OidcKeys};
use time::{Duration, UtcDateTime};
use uuid::Uuid;

struct Node {
    state: Arc<State>,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    first: Bootstrap,
    following: Arc<AtomicBool>,
}

impl Node {
    async fn start() -> Self {
        let clock =
            Arc::new(ManualClock::at(UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap()));
        let store = Arc::new(MemoryStore::new());
        let state = State::open(Ports {
            store: store.clone(),
            audit: Arc::new(MemoryAuditLog::new(10)),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            limits: Limits::of(Profile::Standard),
            master_key: SealingKey::generate(),
        })
        .await
        .unwrap();
        let following = Arc::new(AtomicBool::new(true));
        let (follower, goes_on) = (Arc::clone(&state), Arc::clone(&following));
        tokio::spawn(async move {
            while goes_on.load(Ordering::Relaxed) {
                follower.follow().await.unwrap();
            }
        });
        let operation = OperationContext::system(clock.now(), state.entropy.uuid());
        let first = bootstrap(&state, &operation, (IssuerForm::Azure, ""), None).await.unwrap();
        Self { state, store, clock, first, following }
    }

    /// A state of its own on the same store, which hears of nothing by itself.
    async fn another(&self) -> Arc<State> {
        State::open(Ports {
            store: self.store.clone(),
            audit: Arc::new(MemoryAuditLog::new(10)),
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(2)),
            limits: Limits::of(Profile::Standard),
            master_key: SealingKey::generate(),
        })
        .await
        .unwrap()
    }

    /// An operation of the administrator, now.
    fn operation(&self) -> OperationContext {
        let id = self.state.entropy.uuid();
        OperationContext {
            caller: Caller::Principal(Principal {
                tenant_id: self.first.tenant_id,
                principal_id: self.first.principal_id,
                client_id: self.first.client_id,
                issuer: String::new(),
            }),
            ..OperationContext::system(self.clock.now(), id)
        }
    }

    async fn pass(&self) {
        let operation = OperationContext::system(self.clock.now(), self.state.entropy.uuid());
        upkeep::pass(&self.state, &operation).await.unwrap();
    }

    async fn stored_below(&self, prefix: &str) -> usize {
        self.store.list(prefix, None, 1000).await.unwrap().entries.len()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.following.store(false, Ordering::Relaxed);
    }
}

/// Both plan before either can see what the other wrote.
#[tokio::test]
async fn of_two_assignments_alike_at_the_same_time_one_is_made() {
    let node = Node::start().await;
    let scope = RbacScope::parse(&format!("/subscriptions/{}", node.first.subscription_id));
    let new = |number: u128| NewAssignment {
        tenant_id: node.first.tenant_id,
        scope: scope.clone().unwrap(),
        id: RoleAssignmentId::new(Uuid::from_u128(number)),
        principal_id: PrincipalId::new(Uuid::from_u128(7)),
        principal_type: Some(PrincipalType::ServicePrincipal),
        role: built_in_roles::OWNER,
        condition: None,
        description: None,
    };
    let (one, other) = (new(1), new(2));
    let operation = node.operation();
    let (first, second) = tokio::join!(
        assignment::create(&node.state, &operation, &one),
        assignment::create(&node.state, &operation, &other),
    );
    assert_eq!(first.unwrap().id, one.id);
    assert_eq!(second, Err(AssignmentError::Exists(one.id)));
}

#[tokio::test]
async fn a_fault_that_is_over_is_shown_for_an_hour() {
    let node = Node::start().await;
    let scope = RbacScope::parse(&format!("/subscriptions/{}", node.first.subscription_id));
    let fault = Fault {
        scope: scope.unwrap(),
        name: "f".into(),
        effect: FaultEffect::Updating,
        requests_max: None,
        set_at: node.clock.now().unix_timestamp(),
        duration_seconds: Some(60),
    };
    let tenant = node.first.tenant_id;
    fault::put(&node.state, &node.operation(), tenant, &fault).await.unwrap();
    for (seconds, shown) in [(60 + 3600 - 1, 1), (1, 0)] {
        node.clock.advance(Duration::seconds(seconds));
        node.pass().await;
        assert_eq!(node.state.snapshot().faults.len(), shown);
    }
}

/// A node that has not heard of a lock yet plans without it, and cannot commit what it planned.
#[tokio::test]
async fn a_lock_that_another_node_just_put_is_obeyed() {
    let node = Node::start().await;
    let group = ResourceGroup {
        subscription_id: node.first.subscription_id,
        name: "g".into(),
        location: "local".into(),
        tags: std::collections::BTreeMap::new(),
        managed_by: None,
    };
    resource_group::put(&node.state, &node.operation(), &group).await.unwrap();
    let late = node.another().await;
    let lock = Lock {
        scope: RbacScope::parse(&group.path()).unwrap(),
        name: "l".into(),
        level: LockLevel::CanNotDelete,
        notes: None,
        owners: Vec::new(),
    };
    let tenant = node.first.tenant_id;
    lock::put(&node.state, &node.operation(), tenant, &lock).await.unwrap();
    let operation = OperationContext {
        action: "Microsoft.Resources/subscriptions/resourceGroups/delete",
        scope: group.path(),
        ..node.operation()
    };
    assert!(late.snapshot().locks.is_empty());
    let delete = resource_group::delete(&late, &operation, group.subscription_id, &group.name);
    let (deleted, _) = tokio::join!(delete, async {
        while late.snapshot().locks.is_empty() {
            tokio::task::yield_now().await;
            late.follow().await.unwrap();
        }
    });
    assert!(
        matches!(deleted, Err(ResourceError::Write(WriteError::Locked(_)))),
        "the group was deleted, or kept for another reason: {deleted:?}"
    );
}

/// A node that has not heard of a change yet finds the version that was required, and cannot commit on the ground of it,
/// though it writes another record.
#[tokio::test]
async fn a_version_that_another_node_just_replaced_is_not_written_upon() {
    let node = Node::start().await;
    let group = ResourceGroup {
        subscription_id: node.first.subscription_id,
        name: "g".into(),
        location: "local".into(),
        tags: std::collections::BTreeMap::new(),
        managed_by: None,
    };
    resource_group::put(&node.state, &node.operation(), &group).await.unwrap();
    let late = node.another().await;
    let seen = place_of(&late.snapshot(), &group.path()).unwrap().version.unwrap();
    resource_group::put(&node.state, &node.operation(), &group).await.unwrap();
    let matches = Some(Versions::These(vec![seen]));
    let target = Target::new(group.path(), Precondition { matches, matches_none: None });
    let operation = OperationContext { target: Some(Arc::new(target)), ..node.operation() };
    assert_eq!(place_of(&late.snapshot(), &group.path()).unwrap().version, Some(seen));
    let other = ResourceGroup { name: "other".into(), ..group.clone() };
    let write = late.transact(&operation, |snapshot, changes| {
        changes.put(snapshot, &other);
        Ok::<(), WriteError>(())
    });
    let (written, _) = tokio::join!(write, async {
        while place_of(&late.snapshot(), &group.path()).unwrap().version == Some(seen) {
            tokio::task::yield_now().await;
            late.follow().await.unwrap();
        }
    });
    assert_eq!(written, Err(WriteError::PreconditionFailed));
    assert_eq!(place_of(&node.state.snapshot(), &other.path()).unwrap().version, None);
}

#[tokio::test]
async fn a_deleted_vault_is_gone_with_its_secrets_when_its_time_is_over() {
    let node = Node::start().await;
    let group = ResourceGroup {
        subscription_id: node.first.subscription_id,
        name: "g".into(),
        location: "local".into(),
        tags: std::collections::BTreeMap::new(),
        managed_by: None,
    };
    resource_group::put(&node.state, &node.operation(), &group).await.unwrap();
    let id: ArmResourceId =
        format!("{}/providers/Microsoft.KeyVault/vaults/kv1", group.path()).parse().unwrap();
    let request = VaultRequest { location: Some("local".into()), ..VaultRequest::default() };
    let put = async || vault::put(&node.state, &node.operation(), &id, &request, true).await;
    let made = put().await.unwrap().resource;
    let new = NewSecret {
        value: Secret::new("x".into()),
        content_type: None,
        is_enabled: None,
        not_before: None,
        expires: None,
        tags: std::collections::BTreeMap::new(),
    };
    let name: SecretName = "s1".parse().unwrap();
    let operation = node.operation();
    Secrets::of(&node.state, &operation, &made).set(&name, &new).await.unwrap();
    vault::delete(&node.state, &node.operation(), &id).await.unwrap();

    node.clock.advance(Duration::days(90) - Duration::SECOND);
    node.pass().await;
    assert!(matches!(put().await, Err(VaultError::NameTakenByDeleted(_))));
    assert_eq!(node.stored_below("payload/secret").await, 2);

    node.clock.advance(Duration::SECOND);
    node.pass().await;
    assert_eq!(node.stored_below("payload/secret").await, 0);
    assert!(put().await.unwrap().is_new);
}

#[tokio::test]
async fn the_activity_log_is_kept_for_ninety_days() {
    let node = Node::start().await;
    let put = async |name: &str| {
        let group = ResourceGroup {
            subscription_id: node.first.subscription_id,
            name: name.into(),
            location: "local".into(),
            tags: std::collections::BTreeMap::new(),
            managed_by: None,
        };
        resource_group::put(&node.state, &node.operation(), &group).await.unwrap();
    };
    put("old").await;
    node.clock.advance(Duration::days(60));
    put("young").await;
    node.pass().await;
    assert_eq!(node.stored_below("payload/activityLog/").await, 2);
    node.clock.advance(Duration::days(31));
    node.pass().await;
    assert_eq!(node.stored_below("payload/activityLog/").await, 1);
}

/// data-planes 6: a successor is published before it signs, and the old key as long as its tokens live.
#[tokio::test]
async fn signing_keys_rotate_and_tokens_of_the_old_one_live_on() {
    let node = Node::start().await;
    let tenant = node.first.tenant_id;
    let verifier = TokenVerifier::default();
    let issuer = Issuer::new(
        Arc::clone(&node.state),
        SigningPool::start(1, 10),
        Audiences::default(),
        Addresses::default(),
        Arc::new(OidcKeys::new(LocalIssuers::Refused, None)),
    );
    let is_due = || signing_key::due(&node.state.snapshot(), node.clock.now()).contains(&tenant);
    let keys =
        || signing_key::ring(&node.state.snapshot(), tenant).map_or(0, |ring| ring.keys.len());
    let token = async || {
        let operation = OperationContext::system(node.clock.now(), node.state.entropy.uuid());
        let request = GrantRequest {
            tenant,
            client_id: node.first.client_id.to_string(),
            proof: Some(ClientProof::Secret(node.first.client_secret.clone())),
            resource: "https://vault.azure.net".into(),
            capabilities: vec![],
        };
        issuer.grant(&operation, request).await.unwrap().token
    };
    let is_good = |token: &Secret| {
        verifier
            .verify(&node.state, PresentedToken::bearer(token.expose()), Service::KeyVault, None)
            .is_ok()
    };
    let kid = |token: &Secret| crate::harness::header(token)["kid"].clone();

    assert!(is_due());
    node.pass().await;
    let first = token().await;
    node.clock.advance(Duration::days(60) - Duration::SECOND);
    assert!(!is_due());
    node.clock.advance(Duration::SECOND);
    assert!(is_due());
    node.pass().await;
    let before = token().await;
    assert_eq!(kid(&before), kid(&first), "the new key is published, and does not sign yet");
    node.clock.advance(Duration::hours(24) - Duration::SECOND);
    let last = token().await;
    assert_eq!(kid(&last), kid(&first));
    node.clock.advance(Duration::SECOND);
    let successor = token().await;
    assert_ne!(kid(&successor), kid(&first));
    assert!(is_good(&last) && is_good(&successor));
    node.clock.advance(Duration::hours(25) - Duration::SECOND);
    node.pass().await;
    assert_eq!(keys(), 2);
    node.clock.advance(Duration::SECOND);
    node.pass().await;
    assert_eq!(keys(), 1, "no living token is of the old key");
    assert_eq!(kid(&token().await), kid(&successor));
}

#[tokio::test]
async fn an_asynchronous_operation_is_kept_for_a_day() {
    let node = Node::start().await;
    let put = async |name: &str| {
        let asked = Asked {
            method: "PUT".into(),
            client_request_id: None,
            client_address: None,
            status_if_made: 201,
            status_if_polled: 200,
            status: 200,
        };
        let operation = OperationContext {
            scope: format!("/subscriptions/{}/resourceGroups/{name}", node.first.subscription_id),
            activity: Some(Arc::new(Activity::new(node.state.entropy.uuid(), asked))),
            ..node.operation()
        };
        async_operation::begin(&node.state, &operation);
        let group = ResourceGroup {
            subscription_id: node.first.subscription_id,
            name: name.into(),
            location: "local".into(),
            tags: std::collections::BTreeMap::new(),
            managed_by: None,
        };
        resource_group::put(&node.state, &operation, &group).await.unwrap();
        async_operation::polled(&operation).unwrap().to_string()
    };
    let find = async |id: &str| {
        let operation = node.operation();
        let asked = (operation.principal().unwrap(), operation.now);
        async_operation::find(&node.state, asked, node.first.subscription_id, id).await.is_ok()
    };
    let old = put("old").await;
    node.clock.advance(Duration::hours(23));
    let young = put("young").await;
    node.pass().await;
    assert_eq!(node.stored_below("payload/asyncOperations/").await, 2);
    assert!(find(&old).await);
    node.clock.advance(Duration::hours(2));
    assert!(!find(&old).await, "whether it is removed yet or not");
    node.pass().await;
    assert_eq!(node.stored_below("payload/asyncOperations/").await, 1);
    assert!(find(&young).await);
}
