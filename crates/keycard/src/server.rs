//! A whole keycard in this process: opens the state, makes keys and certificates, mounts the faces, listens.

mod sandboxes;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use keycard_crypto::seal::SealingKey;
use keycard_crypto::signing_pool::SigningPool;
use keycard_crypto::tls::{NamedCertificates, ServerCertificates};
use keycard_crypto::x509::{CertificateAuthority, ServerCertificate, X509Error};
use keycard_domain::audit::AuditLog;
use keycard_domain::bootstrap::{Bootstrap, IssuerForm, bootstrap};
use keycard_domain::clock::{Clock, ClockControl, ClockOffset};
use keycard_domain::compute::Workload;
use keycard_domain::credential::enrolment::{IdentityNames, LocalEnrolment};
use keycard_domain::credential::key_binding::{BindingAddresses, LocalKeyBinding};
use keycard_domain::deployment;
use keycard_domain::entropy::Entropy;
use keycard_domain::fault;
use keycard_domain::limits::{self, Limits, Profile};
use keycard_domain::operation::OperationContext;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::snapshot::Snapshot;
use keycard_domain::state::{Ports, State};
use keycard_domain::store::{Revision, Store};
use keycard_domain::token::audience::{Audiences, Service};
use keycard_domain::token::cluster_issuer::ClusterIssuer;
use keycard_domain::token::federation::IssuerKeys;
use keycard_domain::token::issuer::{Addresses, Issuer};
use keycard_domain::token::verify::TokenVerifier;
use keycard_domain::upkeep;
use keycard_host_agent::challenge_files::ChallengeFiles;
use keycard_host_agent::credential_store::CredentialStore;
use keycard_host_agent::endpoint_thread::EndpointThread;
use keycard_host_agent::faults::Faults;
use keycard_host_agent::faulty_source::FaultySource;
use keycard_host_agent::listen::Listeners;
use keycard_host_agent::node_certificate::NodeCertificate;
use keycard_host_agent::projected_tokens::TokenFiles;
use keycard_host_agent::token_source::HostTokenSource;
use keycard_store::audit_log::{FileAuditLog, MemoryAuditLog};
use keycard_store::memory::MemoryStore;
use keycard_store::sqlite::SqliteStore;
use keycard_wire::arm::{self, Arm};
use keycard_wire::authorize::{self, Authorize};
use keycard_wire::cluster_issuer::{self, ClusterIssuers};
use keycard_wire::connection::{self, Answering};
use keycard_wire::entra::{self, Entra};
use keycard_wire::graph::{self, Graph};
use keycard_wire::host_names::{
    ATTESTATION, CLAIMED_DOMAINS, FaceName, HostNames, MTLS_LOGIN, host_of, requested_authority,
};
use keycard_wire::key_vault::{self, KeyVault, VaultName};
use keycard_wire::local::{LocalFace, LocalFaces};
use keycard_wire::request::{ClientAddress, Segments, discard_body};
use keycard_wire::route::{Answer, Row};
use keycard_wire::unbuilt;
use time::UtcDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::clock_control::Turning;
use crate::config::Places;
use crate::description::{Administrator, Description, Endpoints, Suffixes};
use crate::document_signing::DocumentSigning;
use crate::handshake::{Handshakes, client_certificate};
use crate::health::Health;
use crate::host_view::LocalHostView;
use crate::issuer_trust::IssuerTrust;
use crate::keys::{self, KeyError};
use crate::metrics::Metrics;
use crate::system_clock::TurnableClock;

/// The name below which everything of a local keycard stands.
pub const DEFAULT_DOMAIN: &str = "keycard.localhost";

/// How a server is started.
#[derive(Debug)]
pub struct Options {
    /// Port of the HTTPS listener on loopback; 0 lets the system choose every port.
    pub port: u16,
    /// Port of the metrics listener; the next free one when it is taken.
    pub metrics_port: u16,
    /// The domain of the faces.
    pub domain: String,
    /// Which numbers are in force.
    pub profile: Profile,
    /// Where state is kept; in memory when absent.
    pub data_directory: Option<PathBuf>,
    /// The master key of the data directory, when it is not kept with the user's configuration.
    pub master_key_file: Option<PathBuf>,
    /// Whether tokens bear Microsoft's issuer names.
    pub uses_azure_issuer: bool,
    /// The VM, by name or id, that is also served at 169.254.169.254:80.
    pub link_local: Option<String>,
    /// A certificate for the bootstrap administrator, DER.
    pub administrator_certificate: Option<Vec<u8>>,
    /// The places of this user.
    pub places: Places,
    /// Tells the time to everything but TLS.
    pub clock: Arc<dyn Clock>,
    /// The same clock, where the wire may turn it forward.
    pub turnable_clock: Option<Arc<TurnableClock>>,
    /// Whether administrators may have tenants made, and tokens with faults: for development and tests.
    pub for_development: bool,
    /// Which issuers of federated credentials are asked for their keys.
    pub issuers: IssuerTrust,
    /// Gives randomness and ids.
    pub entropy: Arc<dyn Entropy>,
    /// Tells the time to TLS: clients on real time go on connecting whatever the other clock shows.
    pub tls_clock: Arc<dyn Clock>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port cannot be listened at.
    #[error("127.0.0.1:{port} cannot be listened at: {source}")]
    Port {
        /// Which.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// A key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// State, audit log, certificates or first start.
    #[error("{0}")]
    Other(String),
}

fn other(error: impl std::fmt::Display) -> StartError {
    StartError::Other(error.to_string())
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// What it tells about itself.
    pub description: Description,
    /// The port of its HTTPS listener.
    pub port: u16,
    /// Its rows, by face; for sweeps and documentation.
    pub rows: Vec<(&'static str, Row)>,
    run_directory: PathBuf,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Stops listening, lets requests under way end, and removes what belonged to this run.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
        let _ = std::fs::remove_dir_all(&self.run_directory);
    }
}

/// Starts a server; when this returns, everything answers.
pub async fn start(options: Options) -> Result<Server, StartError> {
    let listener = bind(options.port).await?;
    let port = listener.local_addr().map_err(other)?.port();
    let names = HostNames::new(&options.domain, port);
    let (stop, stopped) = watch::channel(false);
    let mut tasks = Vec::new();

    let (state, master_key) = open_state(&options).await?;
    tasks.push(tokio::spawn(follow(Arc::clone(&state), stopped.clone())));
    let form = if options.uses_azure_issuer { IssuerForm::Azure } else { IssuerForm::Served };
    let login = names.url("login");
    let operation = OperationContext::system(state.clock.now(), state.entropy.uuid());
    let certificate = options.administrator_certificate.clone();
    let first = bootstrap(&state, &operation, (form, &login), certificate).await.map_err(other)?;
    deployment::end_interrupted(&state, &operation).await.map_err(other)?;
    if !options.for_development {
        clear_faults(&state, &operation).await?;
    }
    let health = Arc::new(Health::default());
    tasks.push(tokio::spawn(keep_up(Arc::clone(&state), Arc::clone(&health), stopped.clone())));

    let permitted: Vec<&str> = CLAIMED_DOMAINS.iter().copied().chain(["localhost"]).collect();
    let authority = keys::tls_authority(
        options.data_directory.as_deref(),
        &master_key,
        &options.domain,
        &permitted,
        options.tls_clock.now(),
    )?;
    let certificate = node_certificate(&authority, options.tls_clock.now())?;
    let signing = DocumentSigning::new(&authority, &options.domain, options.tls_clock.now());
    let signing = signing.map_err(other)?;
    let local = (certificate, Arc::clone(&signing));
    let faces = Faces::mount(&state, &names, &options, health, local)?;
    tasks.push(tokio::spawn(serve_hosts(Arc::clone(&state), faces.host.clone(), stopped.clone())));
    let run_directory = options.places.run_directory(port);
    let files = write_trust_files(&run_directory, &authority)?;
    let (metrics_listener, metrics_address) = bind_metrics(options.metrics_port).await?;
    let mut description = describe(&options, &names, &first, &files, metrics_address);
    let rows = faces.rows();

    let clock = Arc::clone(&options.tls_clock);
    let tls = Arc::new(Tls { authority, names: names.clone(), signing, clock });
    let certificates = ServerCertificates::new(&tls.issue()?).map_err(other)?;
    let handshakes = Arc::new(Handshakes::of_server(names, &certificates).map_err(other)?);
    let faces = Arc::new(faces);
    let sandboxes = sandboxes::open(&options, &tls, &handshakes, &faces)?;
    description.control_socket = sandboxes.path();
    let named = sandboxes.serve(stopped.clone(), &mut tasks);
    tasks.push(tokio::spawn(renew_certificates(tls, certificates, named, stopped.clone())));
    let credentials = keep_credentials(state, Arc::clone(&faces), stopped.clone());
    tasks.push(tokio::spawn(credentials));
    tasks.push(tokio::spawn(serve_metrics(metrics_listener, Arc::clone(&faces), stopped.clone())));
    let connections_max = limits::SERVER_CONNECTIONS_MAX;
    let https = serve_https(connections_max, listener, handshakes, faces, At::Own, stopped);
    tasks.push(tokio::spawn(https));
    Ok(Server { description, port, rows, run_directory, stop, tasks })
}

async fn bind(port: u16) -> Result<TcpListener, StartError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|source| StartError::Port { port, source })
}

async fn bind_metrics(port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = match bind(port).await {
        Ok(listener) => listener,
        Err(_) => bind(0).await?,
    };
    let address = listener.local_addr().map_err(other)?;
    Ok((listener, address))
}

/// Bytes of a segment of the audit log before the next one is begun.
const AUDIT_SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Records that an audit log in memory keeps.
const AUDIT_RECORDS_IN_MEMORY_MAX: usize = 10_000;

async fn open_state(options: &Options) -> Result<(Arc<State>, SealingKey), StartError> {
    let store: Arc<dyn Store>;
    let audit: Arc<dyn AuditLog>;
    let master_key;
    if let Some(directory) = &options.data_directory {
        keys::private_directory(directory)?;
        store = Arc::new(SqliteStore::open(directory).map_err(other)?);
        let log = FileAuditLog::open(&directory.join("audit"), AUDIT_SEGMENT_BYTES_MAX);
        audit = Arc::new(log.map_err(other)?);
        master_key =
            keys::master_key(&options.places, directory, options.master_key_file.as_deref())?;
    } else {
        store = Arc::new(MemoryStore::new());
        audit = Arc::new(MemoryAuditLog::new(AUDIT_RECORDS_IN_MEMORY_MAX));
        master_key = SealingKey::generate();
    }
    let ports = Ports {
        store,
        audit,
        clock: Arc::clone(&options.clock),
        entropy: Arc::clone(&options.entropy),
        limits: Limits::of(options.profile),
        master_key: master_key.clone(),
    };
    let state = State::open(ports).await.map_err(other)?;
    if let (Some(clock), Some(offset)) =
        (&options.turnable_clock, ClockOffset::load(&state).await.map_err(other)?)
    {
        clock.restore(offset);
    }
    Ok((state, master_key))
}

/// Whoever served the data before may have left faults, which only servers for development and tests have.
async fn clear_faults(state: &State, operation: &OperationContext) -> Result<(), StartError> {
    let cleared = fault::clear_all(state, operation).await.map_err(other)?;
    if cleared > 0 {
        tracing::warn!(cleared, "faults were cleared: this server is not for development");
    }
    Ok(())
}

/// How long a task rests before it tries again what failed.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long upkeep rests before it tries again what failed.
const UPKEEP_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs a step again and again until the server stops.
async fn repeat<F: Future<Output = ()>>(
    mut stopped: watch::Receiver<bool>,
    mut step: impl FnMut() -> F,
) {
    loop {
        tokio::select! {
            () = step() => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Keeps the snapshot up with the store.
async fn follow(state: Arc<State>, stopped: watch::Receiver<bool>) {
    repeat(stopped, || async {
        if let Err(error) = state.follow().await {
            tracing::error!(%error, "the snapshot cannot be kept up with the store");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    })
    .await;
}

/// Renews what has come of age and removes what has outlived its time: at once for a new tenant, which has no signing key
/// yet, and else now and then.
async fn keep_up(state: Arc<State>, health: Arc<Health>, stopped: watch::Receiver<bool>) {
    repeat(stopped, || {
        let (state, health) = (Arc::clone(&state), Arc::clone(&health));
        let mut revisions = state.revisions();
        async move {
            let operation = OperationContext::system(state.clock.now(), state.entropy.uuid());
            let tenants = state.snapshot_to_keep().tenants.clone();
            let outcome = upkeep::pass(&state, &operation).await;
            if let Err(error) = &outcome {
                tracing::error!(%error, "due work could not be done");
            }
            health.set("due work", outcome.as_ref().err().map(ToString::to_string));
            let pause = if outcome.is_ok() { UPKEEP_INTERVAL } else { UPKEEP_RETRY_PAUSE };
            let is_new_tenant = |_: &Revision| !state.snapshot().tenants.is_copy_of(&tenants);
            let _ = tokio::time::timeout(pause, revisions.wait_for(is_new_tenant)).await;
        }
    })
    .await;
}

/// The embedded host side.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    listeners: Arc<Listeners>,
    tokens: Arc<HostTokenSource>,
    pub(crate) credentials: Arc<CredentialStore>,
    pub(crate) token_files: Arc<TokenFiles>,
}

/// How often due work is looked for: credentials to renew, what has outlived its time.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Renews the credentials of this host as they come of age.
async fn keep_credentials(state: Arc<State>, faces: Arc<Faces>, stopped: watch::Receiver<bool>) {
    repeat(stopped, || async {
        let counted = faces.host.credentials.renew_due(&held_identities(&state)).await;
        faces.metrics.note_unrenewed(counted);
        faces.host.token_files.renew_due(state.clock.now()).await;
        tokio::time::sleep(UPKEEP_INTERVAL).await;
    })
    .await;
}

/// Keeps local endpoints until the server stops; requests under way are answered first.
async fn serve_hosts(state: Arc<State>, host: Host, stopped: watch::Receiver<bool>) {
    follow_hosts(state, &host, stopped).await;
    host.listeners.close().await;
}

/// Opens and closes local endpoints and drops tokens as the state changes.
async fn follow_hosts(state: Arc<State>, host: &Host, mut stopped: watch::Receiver<bool>) {
    let mut revisions = state.revisions();
    let mut seen = state.snapshot_to_keep();
    host.listeners.follow().await;
    loop {
        tokio::select! {
            changed = revisions.changed() => {
                if changed.is_err() { return }
                let present = state.snapshot_to_keep();
                follow_changes(host, &seen, &present).await;
                seen = present;
            }
            _ = stopped.changed() => return,
        }
    }
}

/// Most commits concern neither resources nor principals: then there is nothing to follow.
async fn follow_changes(host: &Host, seen: &Snapshot, present: &Snapshot) {
    let same_resources = present.compute_resources.is_copy_of(&seen.compute_resources);
    if !same_resources || !present.service_principals.is_copy_of(&seen.service_principals) {
        host.tokens.drop_stale();
    }
    if has_lost_a_key(seen, present) {
        host.tokens.drop_all();
    }
    if !same_resources {
        host.listeners.follow().await;
    }
}

/// Whether a token-signing key went: outlived, when no token of it is kept any more, or withdrawn.
fn has_lost_a_key(seen: &Snapshot, present: &Snapshot) -> bool {
    let is_left = |tenant, key_id: &str| {
        present.signing_key_ring(tenant).is_some_and(|ring| ring.key(key_id).is_some())
    };
    !present.signing_key_rings.is_copy_of(&seen.signing_key_rings)
        && seen
            .signing_key_rings
            .iter()
            .any(|(_, ring)| ring.keys.iter().any(|key| !is_left(ring.tenant_id, &key.key_id)))
}

/// Every identity of every workload of this host.
pub(crate) fn held_identities(state: &State) -> Vec<(ArmResourceId, IdentityNames)> {
    let snapshot = state.snapshot_to_keep();
    let mut held = Vec::new();
    for workload in Workload::all(&snapshot) {
        for principal in workload.bearer.identity.principals() {
            if let Some(principal) = snapshot.service_principal(principal) {
                let names = IdentityNames {
                    tenant_id: principal.tenant_id,
                    principal_id: principal.id,
                    client_id: principal.client_id,
                };
                held.push((workload.id.clone(), names));
            }
        }
    }
    held
}

/// The faces of the HTTPS listeners, and the host side behind the local ones.
#[derive(Debug)]
struct Faces {
    own: PublicFaces,
    azure: PublicFaces,
    host: Host,
    metrics: Metrics,
    local_rows: Vec<(&'static str, Row)>,
}

/// Where faces are met: their addresses are those that clients know there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At the server's own port.
    Own,
    /// At Azure's names and HTTPS's own port, in a sandbox.
    Azure,
}

/// The faces of an HTTPS listener.
#[derive(Debug)]
struct PublicFaces {
    names: HostNames,
    arm: Box<dyn Answer>,
    entra: Box<dyn Answer>,
    graph: Box<dyn Answer>,
    key_vault: Box<dyn Answer>,
    authorize: Box<dyn Answer>,
    cluster_issuer: Box<dyn Answer>,
}

/// What the audiences of this keycard's own domain are called.
fn own_audiences(names: &HostNames) -> Audiences {
    Audiences::new(vec![
        (names.url("management"), Service::ResourceManager),
        (names.loopback_url(), Service::ResourceManager),
        (names.url("vault"), Service::KeyVault),
        (names.url("storage"), Service::Storage),
        (names.url("database"), Service::Sql),
        (names.url("graph"), Service::Graph),
    ])
}

/// The addresses under which assertions name the token service.
fn token_services(names: &HostNames) -> Vec<String> {
    let azure = ["login.microsoftonline.com", "login.windows.net", "sts.windows.net"];
    let azure_here = azure.map(|host| format!("https://{}", names.authority(host)));
    let mut all = vec![names.url("login"), names.loopback_url()];
    all.push(format!("https://{}", names.authority("127.0.0.1")));
    all.extend(azure_here);
    all.extend(azure.map(|host| format!("https://{host}")));
    all.dedup();
    all
}

impl Faces {
    fn mount(
        state: &Arc<State>,
        names: &HostNames,
        options: &Options,
        health: Arc<Health>,
        (certificate, signing): (NodeCertificate, Arc<DocumentSigning>),
    ) -> Result<Self, StartError> {
        let audiences = own_audiences(names);
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let signers = SigningPool::start(threads, limits::SIGNING_QUEUE_MAX);
        let clusters = Arc::new(ClusterIssuer::new(
            Arc::clone(state),
            names.url(cluster_issuer::HOST),
            options.issuers.keys().map_err(other)?,
        ));
        let issuer = Arc::new(Issuer::new(
            Arc::clone(state),
            signers,
            audiences.clone(),
            Addresses { token_services: token_services(names), graph: names.url("graph") },
            Arc::clone(&clusters) as Arc<dyn IssuerKeys>,
        ));
        let verifier = Arc::new(TokenVerifier::new(audiences));
        let view = Arc::new(LocalHostView {
            state: Arc::clone(state),
            token_service: names.url("login"),
            signing,
        });
        let key_binding = Arc::new(LocalKeyBinding {
            state: Arc::clone(state),
            addresses: BindingAddresses {
                token_service: names.url(MTLS_LOGIN),
                attestation: names.url(ATTESTATION),
            },
        });
        let credentials = Arc::new(CredentialStore::new(
            Arc::new(LocalEnrolment(Arc::clone(state))),
            Arc::clone(&state.clock),
            Arc::clone(&state.entropy),
        ));
        let tokens =
            Arc::new(HostTokenSource::new(view.clone(), issuer.clone(), Arc::clone(&credentials)));
        let faults =
            Arc::new(Faults::new(state.faults.clone(), view.clone(), Arc::clone(&state.clock)));
        let local = LocalFace {
            tokens: Arc::new(FaultySource::new(tokens.clone(), Arc::clone(&faults))),
            machines: view.clone(),
            key_binding,
            clock: Arc::clone(&state.clock),
            entropy: Arc::clone(&state.entropy),
            challenges: Arc::new(ChallengeFiles::new(
                options.places.arc_tokens.clone(),
                Arc::clone(&state.entropy),
            )),
            metadata_requests: state.limits.metadata_requests,
        };
        let local_rows = LocalFaces::new(&local).rows();
        let link_local = options.link_local.clone();
        let thread = EndpointThread::start().map_err(other)?;
        let listeners = Listeners::new(view, local, faults, thread, link_local, certificate);
        let listeners = Arc::new(listeners);
        let directory = options.places.run_directory(names.port()).join("tokens");
        let token_files = Arc::new(TokenFiles::new(directory, clusters.clone()));
        let host = Host {
            listeners: Arc::clone(&listeners),
            tokens,
            credentials,
            token_files: Arc::clone(&token_files),
        };
        let clock_control = options.turnable_clock.clone().map(|clock| {
            let (state, host) = (Arc::clone(state), host.clone());
            Arc::new(Turning { clock, state, host, turn: Mutex::new(()) }) as Arc<dyn ClockControl>
        });
        let public = |names: HostNames| {
            let (state, verifier) = (Arc::clone(state), Arc::clone(&verifier));
            let arm = arm::face(Arm {
                state: Arc::clone(&state),
                verifier: Arc::clone(&verifier),
                names: names.clone(),
                attachments: listeners.clone(),
                clusters: Arc::clone(&clusters),
                projected_tokens: token_files.clone(),
                clock_control: clock_control.clone(),
                for_development: options.for_development,
            });
            let entra = entra::face(Entra {
                state: Arc::clone(&state),
                tokens: issuer.clone(),
                names: names.clone(),
            });
            let authorize = authorize::face(Authorize {
                state: Arc::clone(&state),
                verifier: Arc::clone(&verifier),
                names: names.clone(),
            });
            let graph = graph::face(Graph {
                state: Arc::clone(&state),
                verifier: Arc::clone(&verifier),
                names: names.clone(),
            });
            let cluster_issuer = cluster_issuer::face(ClusterIssuers {
                issuer: clusters.clone(),
                clock: Arc::clone(&state.clock),
                entropy: Arc::clone(&state.entropy),
            });
            let key_vault = key_vault::face(KeyVault { state, verifier, names: names.clone() });
            PublicFaces {
                names,
                arm: Box::new(arm),
                entra: Box::new(entra),
                graph: Box::new(graph),
                key_vault: Box::new(key_vault),
                authorize: Box::new(authorize),
                cluster_issuer: Box::new(cluster_issuer),
            }
        };
        Ok(Self {
            own: public(names.clone()),
            azure: public(HostNames::new(names.domain(), 443)),
            host,
            metrics: Metrics::new(Arc::clone(state), health),
            local_rows,
        })
    }

    fn rows(&self) -> Vec<(&'static str, Row)> {
        let mut rows = self.own.rows();
        rows.extend(self.local_rows.iter().cloned());
        rows
    }

    /// Leads a request to the face that its host means.
    async fn answer(&self, at: At, request: Request<Incoming>) -> Response {
        let faces = match at {
            At::Own => &self.own,
            At::Azure => &self.azure,
        };
        let (name, response) = faces.answer(request).await;
        self.metrics.count(name, response.status());
        response
    }
}

impl PublicFaces {
    fn rows(&self) -> Vec<(&'static str, Row)> {
        let of = |face: &'static str, answer: &dyn Answer| {
            answer.rows().into_iter().map(move |row| (face, row)).collect::<Vec<_>>()
        };
        let mut rows = of("arm", self.arm.as_ref());
        rows.extend(of("entra", self.entra.as_ref()));
        rows.extend(of("graph", self.graph.as_ref()));
        rows.extend(of("key_vault", self.key_vault.as_ref()));
        rows.extend(of("authorize", self.authorize.as_ref()));
        rows.extend(of("cluster_issuer", self.cluster_issuer.as_ref()));
        rows
    }

    /// The face that a request's host means, and its answer.
    async fn answer(&self, request: Request<Incoming>) -> (&'static str, Response) {
        let (parts, body) = request.into_parts();
        let authority = requested_authority(&parts).unwrap_or_default();
        let host = host_of(&authority).unwrap_or_default();
        let mut request = Request::from_parts(parts, Body::new(body));
        let face = self.names.face(&host);
        let is_unbuilt = matches!(
            face,
            None | Some(FaceName::Blob(_) | FaceName::Portal | FaceName::Attestation)
        );
        if is_unbuilt {
            discard_body(request.body_mut()).await;
        }
        match face {
            None => ("none", unbuilt::unknown_host(&host)),
            Some(FaceName::Loopback) => self.answer_by_path(request).await,
            Some(FaceName::ResourceManager) => ("arm", self.arm.answer(request).await),
            Some(FaceName::TokenService) => ("entra", self.entra.answer(request).await),
            Some(FaceName::KeyVault(vault)) => {
                request.extensions_mut().insert(VaultName(vault));
                ("key_vault", self.key_vault.answer(request).await)
            }
            Some(FaceName::Authorize) => ("authorize", self.authorize.answer(request).await),
            Some(FaceName::ClusterIssuer) => {
                ("cluster_issuer", self.cluster_issuer.answer(request).await)
            }
            Some(FaceName::Graph) => ("graph", self.graph.answer(request).await),
            Some(FaceName::Blob(_)) => ("blob", unbuilt::blob()),
            Some(FaceName::Portal) => ("portal", unbuilt::portal()),
            Some(FaceName::Attestation) => ("attestation", unbuilt::attestation()),
        }
    }

    /// `https://localhost` reaches Resource Manager, token service and Graph by path.
    async fn answer_by_path(&self, request: Request<Body>) -> (&'static str, Response) {
        // Decoded as the faces decode it, or the same path would mean one thing here and another at a face's own name. What
        // is no path is refused by the face that its first segment means.
        let path = request.uri().path();
        let decoded = Segments::parse(path).ok().and_then(|all| all.as_slice().first().cloned());
        let written = || path.split('/').find(|segment| !segment.is_empty()).map(str::to_owned);
        let first = decoded.or_else(written).unwrap_or_default();
        match first.to_ascii_lowercase().as_str() {
            "" | "metadata" | "subscriptions" | "providers" | "tenants" => {
                ("arm", self.arm.answer(request).await)
            }
            "authorize" => ("authorize", self.authorize.answer(request).await),
            "v1.0" | "beta" => ("graph", self.graph.answer(request).await),
            _ => ("entra", self.entra.answer(request).await),
        }
    }
}

/// Files that make clients trust the local authority.
struct TrustFiles {
    authority: PathBuf,
    bundle: PathBuf,
}

/// Where distributions keep the system's authorities.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

fn write_trust_files(
    directory: &Path,
    authority: &CertificateAuthority,
) -> Result<TrustFiles, StartError> {
    keys::private_directory(directory)?;
    let pem = authority.certificate_pem();
    let system = SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read_to_string(path).ok());
    let bundle = format!("{}\n{pem}", system.unwrap_or_default());
    let files =
        TrustFiles { authority: directory.join("ca.pem"), bundle: directory.join("bundle.pem") };
    keys::write_for_this_run(&files.authority, pem.as_bytes())?;
    keys::write_for_this_run(&files.bundle, bundle.as_bytes())?;
    Ok(files)
}

fn describe(
    options: &Options,
    names: &HostNames,
    first: &Bootstrap,
    files: &TrustFiles,
    metrics: SocketAddr,
) -> Description {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let own = |name: &str| names.authority(&format!("{name}.{}", names.domain()));
    Description {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        profile: options.profile.as_str().to_owned(),
        tenant_id: first.tenant_id.to_string(),
        subscription_id: first.subscription_id.to_string(),
        administrator: Administrator {
            client_id: first.client_id.to_string(),
            client_secret: first.client_secret.clone(),
            object_id: first.principal_id.to_string(),
        },
        ca_file: path(&files.authority),
        ca_bundle_file: path(&files.bundle),
        endpoints: Endpoints {
            resource_manager: names.url("management"),
            token_service: names.url("login"),
            graph: names.url("graph"),
            portal: names.url("portal"),
            loopback: names.loopback_url(),
            metrics: format!("http://{metrics}/metrics"),
        },
        suffixes: Suffixes {
            key_vault_dns: format!(".{}", own("vault")),
            storage: own("storage"),
            sql_server: format!(".database.{}", names.domain()),
        },
        control_socket: None,
    }
}

/// Issues the server's certificate.
struct Tls {
    authority: CertificateAuthority,
    names: HostNames,
    /// What signs documents with certificates of the same authority.
    signing: Arc<DocumentSigning>,
    clock: Arc<dyn Clock>,
}

/// How long a server certificate runs; it renews itself long before.
const SERVER_CERTIFICATE_VALIDITY: time::Duration = time::Duration::days(90);
/// How often the server's certificate is made anew.
const SERVER_CERTIFICATE_RENEWAL: Duration = Duration::from_secs(30 * 24 * 3600);

impl Tls {
    fn issue(&self) -> Result<ServerCertificate, StartError> {
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        self.issue_for(&self.names.certificate_names(), &addresses).map_err(other)
    }

    fn issue_for(
        &self,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<ServerCertificate, X509Error> {
        let now: UtcDateTime = self.clock.now();
        let (from, until) = (now - time::Duration::hours(1), now + SERVER_CERTIFICATE_VALIDITY);
        self.authority.issue_server_certificate(names, addresses, from.into(), until.into())
    }

    fn renew_signer(&self) -> Result<(), X509Error> {
        self.signing.renew(&self.authority, self.names.domain(), self.clock.now())
    }
}

/// How long the certificate of local endpoints runs: workloads were told its thumbprint, so it is never replaced. Apple's
/// verifier takes none that runs longer.
const NODE_CERTIFICATE_VALIDITY: time::Duration = time::Duration::days(825);

/// The certificate of this run's local endpoints that are spoken to over TLS.
fn node_certificate(
    authority: &CertificateAuthority,
    now: UtcDateTime,
) -> Result<NodeCertificate, StartError> {
    let (from, until) = (now - time::Duration::hours(1), now + NODE_CERTIFICATE_VALIDITY);
    let (names, addresses) = (["localhost".to_owned()], [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let certificate =
        authority.issue_server_certificate(&names, &addresses, from.into(), until.into());
    NodeCertificate::new(&certificate.map_err(other)?).map_err(other)
}

async fn renew_certificates(
    tls: Arc<Tls>,
    certificates: Arc<ServerCertificates>,
    named: Arc<NamedCertificates>,
    stopped: watch::Receiver<bool>,
) {
    repeat(stopped, || async {
        tokio::time::sleep(SERVER_CERTIFICATE_RENEWAL).await;
        named.forget();
        let renewed = tls.issue().and_then(|fresh| certificates.replace(&fresh).map_err(other));
        if let Err(error) = renewed {
            tracing::error!(%error, "the server's certificate could not be renewed");
        }
        if let Err(error) = tls.renew_signer() {
            tracing::error!(%error, "the signer of documents could not be renewed");
        }
    })
    .await;
}

async fn serve_https<T: Send + Sync + 'static>(
    connections_max: usize,
    listener: TcpListener,
    handshakes: Arc<Handshakes>,
    faces: Arc<Faces>,
    at: At,
    stopped: watch::Receiver<T>,
) {
    connection::accept_up_to(connections_max, listener, stopped, |stream, stopped| {
        let (handshakes, faces) = (Arc::clone(&handshakes), Arc::clone(&faces));
        let client = stream.peer_addr().ok().map(|address| ClientAddress(address.ip()));
        async move {
            let handshake = handshakes.accept(stream);
            let handshake = tokio::time::timeout(limits::HANDSHAKE_TIME_MAX, handshake);
            let Ok(Ok(stream)) = handshake.await else { return };
            let certificate = client_certificate(&stream);
            let answer = move |mut request: Request<Incoming>| {
                let faces = Arc::clone(&faces);
                let extensions = request.extensions_mut();
                client.map(|client| extensions.insert(client));
                certificate.clone().map(|certificate| extensions.insert(certificate));
                async move { faces.answer(at, request).await }
            };
            connection::serve(stream, answer, stopped).await;
        }
    })
    .await;
}

async fn serve_metrics(listener: TcpListener, faces: Arc<Faces>, stopped: watch::Receiver<bool>) {
    let answer = move |request: Request<Incoming>| {
        Answering::Ready(faces.metrics.answer(&request.map(Body::new)))
    };
    let plain = |stream| async { Some(stream) };
    let connections_max = limits::METRICS_CONNECTIONS_MAX;
    let names = connection::HeaderNames::LowerCase;
    connection::serve_http1(connections_max, listener, stopped, names, plain, answer).await;
}
