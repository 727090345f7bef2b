//! A whole keycard in this process: opens the state, makes keys and certificates, mounts the faces, listens.

mod certificates;
mod faces;
mod hosts;
mod sandboxes;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keycard_crypto::seal::SealingKey;
use keycard_crypto::tls::ServerCertificates;
use keycard_domain::audit::AuditLog;
use keycard_domain::bootstrap::{Bootstrap, IssuerForm, bootstrap};
use keycard_domain::clock::{Clock, ClockOffset};
use keycard_domain::deployment;
use keycard_domain::entropy::Entropy;
use keycard_domain::fault;
use keycard_domain::limits::{self, Limits, Profile};
use keycard_domain::operation::OperationContext;
use keycard_domain::state::{Ports, State};
use keycard_domain::store::{Revision, Store};
use keycard_domain::upkeep;
use keycard_store::audit_log::{FileAuditLog, MemoryAuditLog};
use keycard_store::memory::MemoryStore;
use keycard_store::sqlite::SqliteStore;
use keycard_wire::host_names::{CLAIMED_DOMAINS, HostNames};
use keycard_wire::route::Row;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Places;
use crate::description::{Administrator, Description, Endpoints, Suffixes};
use crate::document_signing::DocumentSigning;
use crate::handshake::Handshakes;
use crate::health::Health;
use crate::issuer_trust::IssuerTrust;
use crate::keys::{self, KeyError};
use crate::system_clock::TurnableClock;
use certificates::{Tls, TrustFiles, node_certificate, renew_certificates, write_trust_files};
use faces::{At, Faces, serve_https, serve_metrics};
pub(crate) use hosts::{Host, held_identities};
use hosts::{keep_credentials, serve_hosts};

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
/// How often due work is looked for: credentials to renew, what has outlived its time.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);
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
