//! A host and the server it asks, without a wire between them: the server can crash and its store fail, and the token
//! service can hang.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use keycard_crypto::seal::SealingKey;
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_pool::SigningPool;
use keycard_domain::bootstrap::{IssuerForm, bootstrap};
use keycard_domain::clock::{Clock, ManualClock};
use keycard_domain::compute::{self, ComputeKind, ComputeRequest, Workload};
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
use keycard_domain::store::Store;
use keycard_domain::token::audience::{Audiences, Service};
use keycard_domain::token::grant::{
    GrantError, GrantRequest, GrantedToken, RefusedRequest, TokenService,
};
use keycard_domain::token::issuer::{Addresses, Issuer};
use keycard_domain::token::source::{
    AccessToken, Freshness, Selector, TokenError, TokenRequest, TokenSource,
};
use keycard_domain::token::verify::{PresentedToken, TokenVerifier};
use keycard_domain::upkeep;
use keycard_host_agent::credential_store::{CredentialStore, Unrenewed};
use keycard_host_agent::token_source::{HostTokenSource, HostView};
use keycard_store::audit_log::MemoryAuditLog;
use keycard_store::faulty::{FaultPlan, FaultyStore};
use keycard_store::memory::MemoryStore;
use keycard_wire::oidc::{LocalIssuers, OidcKeys};
use time::UtcDateTime;
use tokio::sync::watch;

use crate::harness::VAULT_AUDIENCE;

const TOKEN_SERVICE: &str = "https://login.test";

/// A server process: what a crash takes away and a restart makes anew from the store.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) state: Arc<State>,
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
pub(crate) struct Server {
    pub(crate) memory: Arc<MemoryStore>,
    /// Decides what goes wrong; `None` while nothing does.
    pub(crate) seed: Mutex<Option<u64>>,
    pub(crate) master_key: SealingKey,
    clock: Arc<ManualClock>,
    pub(crate) process: Mutex<Arc<Process>>,
}

impl Server {
    async fn start(clock: &Arc<ManualClock>) -> Arc<Self> {
        let (memory, master_key) = (Arc::new(MemoryStore::new()), SealingKey::generate());
        let store = memory.clone();
        let process = Mutex::new(process(store, &master_key, clock).await);
        let seed = Mutex::new(None);
        Arc::new(Self { memory, seed, master_key, clock: Arc::clone(clock), process })
    }

    pub(crate) fn process(&self) -> Arc<Process> {
        Arc::clone(&self.process.lock().unwrap())
    }

    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.process().state)
    }

    /// The process dies, and another one reads what it left.
    pub(crate) async fn crash(&self) {
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

    pub(crate) fn operation(&self) -> OperationContext {
        OperationContext::system(self.clock.now(), self.state().entropy.uuid())
    }
}

pub(crate) async fn process(
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

/// What becomes of requests for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Answers,
    Fails,
    Hangs,
}

/// How a host reaches the server, whichever process that is at the moment.
#[derive(Debug)]
struct Reach {
    server: Arc<Server>,
    behaviour: watch::Sender<Behaviour>,
    grants: AtomicUsize,
}

#[async_trait]
impl TokenService for Reach {
    async fn grant(
        &self,
        operation: &OperationContext,
        request: GrantRequest,
    ) -> Result<GrantedToken, GrantError> {
        self.grants.fetch_add(1, Ordering::Relaxed);
        let mut behaviour = self.behaviour.subscribe();
        let behaviour = *behaviour.wait_for(|it| *it != Behaviour::Hangs).await.unwrap();
        if behaviour == Behaviour::Fails {
            return Err(GrantError::SigningUnavailable("it fails"));
        }
        self.server.process().issuer.grant(operation, request).await
    }

    async fn note_refusal(
        &self,
        operation: &OperationContext,
        refused: RefusedRequest,
    ) -> Result<(), GrantError> {
        self.server.process().issuer.note_refusal(operation, refused).await
    }
}

#[async_trait]
impl Enrolment for Reach {
    async fn enrol(&self, request: EnrolmentRequest) -> Result<IssuedCredential, EnrolmentError> {
        LocalEnrolment(self.server.state()).enrol(request).await
    }
}

impl HostView for Reach {
    fn workload(&self, id: &ArmResourceId) -> Option<Workload> {
        Workload::find(&self.server.state().snapshot(), id)
    }

    fn principal(&self, id: PrincipalId) -> Option<Arc<ServicePrincipal>> {
        let state = self.server.state();
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
pub(crate) struct World {
    pub(crate) server: Arc<Server>,
    pub(crate) clock: Arc<ManualClock>,
    tokens: HostTokenSource,
    credentials: Arc<CredentialStore>,
    reach: Arc<Reach>,
    pub(crate) vm: ArmResourceId,
    pub(crate) names: IdentityNames,
}

impl World {
    pub(crate) async fn start() -> Self {
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
        let behaviour = watch::Sender::new(Behaviour::Answers);
        let grants = AtomicUsize::new(0);
        let reach = Arc::new(Reach { server: Arc::clone(&server), behaviour, grants });
        let credentials = Arc::new(CredentialStore::new(
            reach.clone(),
            clock.clone(),
            Arc::new(SeededEntropy::new(2)),
        ));
        let tokens = HostTokenSource::new(reach.clone(), reach.clone(), Arc::clone(&credentials));
        Self { server, clock, tokens, credentials, reach, vm, names }
    }

    /// The present moment, Unix seconds.
    pub(crate) fn clock_seconds(&self) -> i64 {
        self.clock.now().unix_timestamp()
    }

    /// From now on the token service does this.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.reach.behaviour.send_replace(behaviour);
    }

    /// How often the token service was asked.
    pub(crate) fn grants(&self) -> usize {
        self.reach.grants.load(Ordering::Relaxed)
    }

    /// A token for the vault, as a workload asks for it.
    pub(crate) async fn ask(&self, freshness: Freshness) -> Result<AccessToken, TokenError> {
        let operation = OperationContext {
            caller: Caller::Workload(self.vm.clone()),
            ..self.server.operation()
        };
        let request = TokenRequest {
            resource: VAULT_AUDIENCE.to_owned(),
            selector: Selector::Default,
            default_rule: DefaultRule::OnlyUserAssigned,
            freshness,
            capabilities: Vec::new(),
        };
        self.tokens.acquire(&operation, request).await
    }

    /// A new token, which the server of the moment takes.
    pub(crate) async fn token(&self, when: &str) -> Secret {
        let token = self.ask(Freshness::New).await;
        let token = token.unwrap_or_else(|error| panic!("{when}: {error}")).token;
        self.verify(&token, when);
        token
    }

    pub(crate) fn verify(&self, token: &Secret, when: &str) {
        let (state, verifier) = (self.server.state(), TokenVerifier::default());
        let verified = verifier.verify(
            &state,
            PresentedToken::bearer(token.expose()),
            Service::KeyVault,
            None,
        );
        assert!(verified.is_ok(), "{when}: {verified:?}");
    }

    pub(crate) async fn renew(&self) -> Unrenewed {
        self.credentials.renew_due(&[(self.vm.clone(), self.names)]).await
    }

    /// What the server does when time has passed; it may fail.
    pub(crate) async fn pass(&self) -> bool {
        upkeep::pass(&self.server.state(), &self.server.operation()).await.is_ok()
    }
}
