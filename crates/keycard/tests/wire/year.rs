//! A year on a simulated clock: signing keys and identity credentials rotate while the store fails, replies are lost and
//! the server crashes between steps, and not one token request fails. A seed decides what goes wrong; it is printed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use keycard_crypto::seal::SealingKey;
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_key::AssertionKey;
use keycard_crypto::signing_pool::SigningPool;
use keycard_domain::bootstrap::{IssuerForm, bootstrap};
use keycard_domain::clock::{Clock, ManualClock};
use keycard_domain::compute::{self, ComputeKind, ComputeRequest, Workload};
use keycard_domain::credential::credentials_of;
use keycard_domain::credential::enrolment::{
    Enrolment, EnrolmentError, EnrolmentRequest, IdentityNames, IssuedCredential, LocalEnrolment,
};
use keycard_domain::directory::ServicePrincipal;
use keycard_domain::directory::identity_block::{IdentityRequest, IdentityType};
use keycard_domain::directory::lookup::DefaultRule;
use keycard_domain::entropy::SeededEntropy;
use keycard_domain::ids::PrincipalId;
use keycard_domain::limits::{Limits, Profile};
use keycard_domain::operation::{Caller, OperationContext};
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::resource_group::{self, ResourceGroup};
use keycard_domain::state::{Ports, State};
use keycard_domain::store::{
    ChangeBatch, Commit, Entry, Page, Revision, Store, StoreError, StoreKey,
};
use keycard_domain::token::audience::{Audiences, Service};
use keycard_domain::token::grant::{
    GrantError, GrantRequest, GrantedToken, RefusedRequest, TokenService,
};
use keycard_domain::token::issuer::{Addresses, Issuer};
use keycard_domain::token::signing_key;
use keycard_domain::token::source::{Freshness, Selector, TokenRequest, TokenSource};
use keycard_domain::token::verify::TokenVerifier;
use keycard_domain::upkeep;
use keycard_host_agent::credential_store::{CredentialStore, Unrenewed};
use keycard_host_agent::token_source::{HostTokenSource, HostView};
use keycard_store::audit_log::MemoryAuditLog;
use keycard_store::faulty::{FaultPlan, FaultyStore};
use keycard_store::memory::MemoryStore;
use keycard_wire::oidc::{LocalIssuers, OidcKeys};
use time::{Duration, UtcDateTime};

use crate::harness::{VAULT_AUDIENCE, header};

const TOKEN_SERVICE: &str = "https://login.test";

/// A server process: what a crash takes away and a restart makes anew from the store.
#[derive(Debug)]
struct Process {
    state: Arc<State>,
    issuer: Issuer,
    goes_on: Arc<AtomicBool>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
    }
}

/// A server and its store, which outlives it.
#[derive(Debug)]
struct Server {
    memory: Arc<MemoryStore>,
    /// Decides what goes wrong; `None` while nothing does.
    seed: Mutex<Option<u64>>,
    master_key: SealingKey,
    clock: Arc<ManualClock>,
    process: Mutex<Arc<Process>>,
}

impl Server {
    async fn start(clock: &Arc<ManualClock>) -> Arc<Self> {
        let (memory, master_key) = (Arc::new(MemoryStore::new()), SealingKey::generate());
        let store = memory.clone();
        let process = Mutex::new(process(store, &master_key, clock).await);
        let seed = Mutex::new(None);
        Arc::new(Self { memory, seed, master_key, clock: Arc::clone(clock), process })
    }

    fn process(&self) -> Arc<Process> {
        Arc::clone(&self.process.lock().unwrap())
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.process().state)
    }

    /// The process dies, and another one reads what it left.
    async fn crash(&self) {
        let next = process(self.store(), &self.master_key, &self.clock).await;
        *self.process.lock().unwrap() = next;
    }

    /// The store of the next process: each has faults of its own.
    fn store(&self) -> Arc<dyn Store> {
        let mut seed = self.seed.lock().unwrap();
        let Some(seed) = seed.as_mut() else { return self.memory.clone() };
        *seed += 1;
        let plan = FaultPlan { seed: *seed, fail_percent: 20, lose_reply_percent: 20 };
        Arc::new(FaultyStore::new(self.memory.clone(), plan))
    }

    fn operation(&self) -> OperationContext {
        OperationContext::system(self.clock.now(), self.state().entropy.uuid())
    }
}

async fn process(
    store: Arc<dyn Store>,
    master_key: &SealingKey,
    clock: &Arc<ManualClock>,
) -> Arc<Process> {
    let open = || {
        State::open(Ports {
            store: Arc::clone(&store),
            audit: Arc::new(MemoryAuditLog::new(10)),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            limits: Limits::of(Profile::Standard),
            master_key: master_key.clone(),
        })
    };
    let state = loop {
        if let Ok(state) = open().await {
            break state;
        }
    };
    let goes_on = Arc::new(AtomicBool::new(true));
    let (follower, follows) = (Arc::clone(&state), Arc::clone(&goes_on));
    tokio::spawn(async move {
        while follows.load(Ordering::Relaxed) {
            let _ = follower.follow().await;
        }
    });
    let issuer = Issuer::new(
        Arc::clone(&state),
        SigningPool::start(1, 10),
        Audiences::default(),
        Addresses { token_services: vec![TOKEN_SERVICE.to_owned()], graph: String::new() },
        Arc::new(OidcKeys::new(LocalIssuers::Refused, None)),
    );
    Arc::new(Process { state, issuer, goes_on })
}

/// How a host reaches the server, whichever process that is at the moment.
#[derive(Debug)]
struct Reach(Arc<Server>);

#[async_trait]
impl TokenService for Reach {
    async fn grant(
        &self,
        operation: &OperationContext,
        request: GrantRequest,
    ) -> Result<GrantedToken, GrantError> {
        self.0.process().issuer.grant(operation, request).await
    }

    async fn note_refusal(
        &self,
        operation: &OperationContext,
        refused: RefusedRequest,
    ) -> Result<(), GrantError> {
        self.0.process().issuer.note_refusal(operation, refused).await
    }
}

#[async_trait]
impl Enrolment for Reach {
    async fn enrol(&self, request: EnrolmentRequest) -> Result<IssuedCredential, EnrolmentError> {
        LocalEnrolment(self.0.state()).enrol(request).await
    }
}

impl HostView for Reach {
    fn workload(&self, id: &ArmResourceId) -> Option<Workload> {
        Workload::find(&self.0.state().snapshot(), id)
    }

    fn principal(&self, id: PrincipalId) -> Option<Arc<ServicePrincipal>> {
        let state = self.0.state();
        state.snapshot().service_principal(id).map(|it| Arc::clone(&it.record))
    }

    fn workloads(&self) -> Vec<Workload> {
        Vec::new()
    }

    fn token_endpoint(&self, principal: &ServicePrincipal) -> String {
        format!("{TOKEN_SERVICE}/{}/oauth2/v2.0/token", principal.tenant_id)
    }
}

/// A server with one VM, and the host that runs it.
struct World {
    server: Arc<Server>,
    clock: Arc<ManualClock>,
    tokens: HostTokenSource,
    credentials: Arc<CredentialStore>,
    vm: ArmResourceId,
    names: IdentityNames,
}

impl World {
    async fn start() -> Self {
        let clock =
            Arc::new(ManualClock::at(UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap()));
        let server = Server::start(&clock).await;
        let (state, operation) = (server.state(), server.operation());
        let form = (IssuerForm::Served, TOKEN_SERVICE);
        let first = bootstrap(&state, &operation, form, None).await.unwrap();
        upkeep::pass(&state, &operation).await.unwrap();
        let group = ResourceGroup {
            subscription_id: first.subscription_id,
            name: "g".into(),
            location: "local".into(),
            tags: std::collections::BTreeMap::new(),
            managed_by: None,
        };
        resource_group::put(&state, &operation, &group).await.unwrap();
        let vm: ArmResourceId =
            format!("{}/providers/Microsoft.Compute/virtualMachines/vm", group.path())
                .parse()
                .unwrap();
        let identity =
            IdentityRequest { identity_type: IdentityType::SystemAssigned, user_assigned: None };
        let request = ComputeRequest {
            location: Some("local".into()),
            tags: None,
            identity: Some(identity),
            properties: None,
            other: serde_json::Map::new(),
            capacity: None,
            power_state: None,
            cluster: None,
        };
        let kind = ComputeKind::VirtualMachine;
        let made = compute::put(&state, &operation, kind, &vm, &request).await.unwrap();
        let system = made.resource.identity.system_assigned.unwrap();
        let names = IdentityNames {
            tenant_id: first.tenant_id,
            principal_id: system.principal_id,
            client_id: system.client_id,
        };
        let reach = Arc::new(Reach(Arc::clone(&server)));
        let credentials = Arc::new(CredentialStore::new(
            reach.clone(),
            clock.clone(),
            Arc::new(SeededEntropy::new(2)),
        ));
        let tokens = HostTokenSource::new(reach.clone(), reach, Arc::clone(&credentials));
        Self { server, clock, tokens, credentials, vm, names }
    }

    /// A new token, which the server of the moment takes.
    async fn token(&self, when: &str) -> Secret {
        let operation = OperationContext {
            caller: Caller::Workload(self.vm.clone()),
            ..self.server.operation()
        };
        let request = TokenRequest {
            resource: VAULT_AUDIENCE.to_owned(),
            selector: Selector::Default,
            default_rule: DefaultRule::OnlyUserAssigned,
            freshness: Freshness::New,
        };
        let token = self.tokens.acquire(&operation, request).await;
        let token = token.unwrap_or_else(|error| panic!("{when}: {error}")).token;
        self.verify(&token, when);
        token
    }

    fn verify(&self, token: &Secret, when: &str) {
        let (state, verifier) = (self.server.state(), TokenVerifier::default());
        let verified = verifier.verify(&state, token.expose(), Service::KeyVault, None);
        assert!(verified.is_ok(), "{when}: {verified:?}");
    }

    async fn renew(&self) -> Unrenewed {
        self.credentials.renew_due(&[(self.vm.clone(), self.names)]).await
    }

    /// What the server does when time has passed; it may fail.
    async fn pass(&self) -> bool {
        upkeep::pass(&self.server.state(), &self.server.operation()).await.is_ok()
    }
}

/// 33, and azure-semantics 2.2: a year in steps of half a day.
#[tokio::test]
async fn a_year_of_faults_and_crashes_fails_no_token_request() {
    for seed in 1..=2 {
        let world = World::start().await;
        world.token("at the start").await;
        *world.server.seed.lock().unwrap() = Some(seed * 1000);
        let mut signed_by = std::collections::BTreeSet::new();
        let mut failed_passes = 0;
        let mut former: Option<Secret> = None;
        for step in 0..730 {
            let when = format!("seed {seed}, half day {step}");
            world.clock.advance(Duration::hours(12));
            world.token(&when).await;
            failed_passes += usize::from(!world.pass().await);
            if step % 3 == 0 {
                world.server.crash().await;
            }
            let unrenewed = world.renew().await;
            assert_eq!(unrenewed, Unrenewed::default(), "{when}: fifteen days are enough");
            world.server.crash().await;
            let token = world.token(&when).await;
            signed_by.insert(header(&token)["kid"].as_str().unwrap().to_owned());
            let state = world.server.state();
            let keys = credentials_of(&state.snapshot(), world.names.principal_id).count();
            assert!((1..=2).contains(&keys), "{when}: {keys} credentials");
            let ring = signing_key::ring(&state.snapshot(), world.names.tenant_id).cloned();
            assert!(ring.unwrap().keys.len() <= 3, "{when}: outlived keys go");
            former = Some(token);
        }
        world.verify(&former.unwrap(), "at the end");
        assert!(failed_passes > 100, "seed {seed}: faults did happen: {failed_passes}");
        assert!((6..=7).contains(&signed_by.len()), "seed {seed}: {signed_by:?}");
    }
}

/// A store on a disk that is full.
#[derive(Debug)]
struct Unwritable(Arc<MemoryStore>);

#[async_trait]
impl Store for Unwritable {
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        self.0.get(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StoreKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.0.list(prefix, after, limit).await
    }

    async fn commit(&self, _: Commit) -> Result<Revision, StoreError> {
        Err(StoreError::Unavailable("the disk is full".to_owned()))
    }

    async fn changes(&self, prefix: &str, after: Revision) -> Result<ChangeBatch, StoreError> {
        self.0.changes(prefix, after).await
    }
}

/// A renewal that never succeeds is said aloud in time, and token requests go on to the last day.
#[tokio::test]
async fn a_credential_that_cannot_be_renewed_is_warned_about_and_alarmed() {
    let world = World::start().await;
    world.token("at the start").await;
    let whole = world.server.process();
    let store = Unwritable(world.server.memory.clone());
    let unwritable = process(Arc::new(store), &world.server.master_key, &world.clock).await;
    let mut counted = Vec::new();
    for day in 1..=90 {
        world.clock.advance(Duration::days(1));
        *world.server.process.lock().unwrap() = Arc::clone(&unwritable);
        let unrenewed = world.renew().await;
        counted.push((day, unrenewed.overdue, unrenewed.critical));
        if day < 90 {
            world.token(&format!("day {day}")).await;
        }
    }
    *world.server.process.lock().unwrap() = whole;
    world.token("when the disk has room again").await;
    assert_eq!(world.renew().await, Unrenewed::default());
    let first = |of: fn(&(i32, usize, usize)) -> usize| {
        counted.iter().find(|it| of(it) > 0).map(|(day, ..)| *day)
    };
    assert_eq!(first(|it| it.1), Some(60));
    assert_eq!(first(|it| it.2), Some(80));
}

/// A host that never hears of its renewals asks again and again; what it signs with stays, and the rest does not pile up.
#[tokio::test]
async fn lost_renewals_do_not_push_out_the_credential_in_use() {
    let world = World::start().await;
    world.token("at the start").await;
    let state = world.server.state();
    let held = || -> Vec<[u8; 32]> {
        let snapshot = state.snapshot();
        credentials_of(&snapshot, world.names.principal_id).map(|it| it.sha256).collect()
    };
    let in_use = held()[0];
    let key = AssertionKey::generate().unwrap();
    let (client, tenant) = (world.names.client_id.to_string(), world.names.tenant_id.to_string());
    for day in 45..50 {
        world.clock.advance(Duration::days(day));
        let request = EnrolmentRequest {
            resource: world.vm.clone(),
            principal_id: world.names.principal_id,
            certificate_request: key.certificate_request(&client, &tenant).unwrap(),
            in_use: Some(in_use),
        };
        LocalEnrolment(Arc::clone(&state)).enrol(request).await.unwrap();
        let held = held();
        assert_eq!((held.len(), held.contains(&in_use)), (2, true), "day {day}");
    }
}

/// Two nodes on one store that find a key due at the same moment make one.
#[tokio::test]
async fn two_nodes_never_rotate_twice() {
    let world = World::start().await;
    let tenant = world.names.tenant_id;
    let other = process(world.server.memory.clone(), &world.server.master_key, &world.clock).await;
    let one = world.server.process();
    let keys = |process: &Process| {
        signing_key::ring(&process.state.snapshot(), tenant).map_or(0, |ring| ring.keys.len())
    };
    for rotation in 1..=5 {
        world.clock.advance(Duration::days(60));
        let operation = world.server.operation();
        let (first, second) = tokio::join!(
            signing_key::rotate_due(&one.state, &operation),
            signing_key::rotate_due(&other.state, &operation),
        );
        first.unwrap();
        second.unwrap();
        let now = (keys(&one), keys(&other));
        assert_eq!(now, (2, 2), "rotation {rotation}: one key with its successor");
        world.clock.advance(Duration::hours(49));
        let operation = world.server.operation();
        signing_key::rotate_due(&one.state, &operation).await.unwrap();
        signing_key::rotate_due(&other.state, &operation).await.unwrap();
        assert_eq!((keys(&one), keys(&other)), (1, 1), "rotation {rotation}: the former is gone");
    }
    let operation = world.server.operation();
    let (first, second) = tokio::join!(
        signing_key::rotate(&one.state, &operation, tenant),
        signing_key::rotate(&other.state, &operation, tenant),
    );
    first.unwrap();
    second.unwrap();
    assert_eq!((keys(&one), keys(&other)), (2, 2), "two administrators ask for one successor");
}
