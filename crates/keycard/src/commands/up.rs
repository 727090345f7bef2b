//! `keycard up`: a whole private cloud on loopback, until it is interrupted.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use keycard_crypto::x509::parse_certificates_pem;
use keycard_domain::entropy::{Entropy, SeededEntropy};
use keycard_domain::limits::Profile;
use keycard_host_agent::challenge_files;
use keycard_wire::oidc::LocalIssuers;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Failure, Output, print};
use crate::config::Places;
use crate::description::Description;
use crate::entropy::DerivedIds;
use crate::issuer_trust::IssuerTrust;
use crate::keys;
use crate::server::{self, DEFAULT_DOMAIN, Options};
use crate::system_clock::{SystemClock, TurnableClock};
use crate::templates::Templates;

#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Port of the HTTPS listener on 127.0.0.1; 0 lets the system choose every port.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Keep the state in this directory; without it, in memory.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The numbers in force: keycard's own promise, or what Azure does today.
    #[arg(long, default_value = "standard", value_parser = clap::value_parser!(Profile))]
    profile: Profile,
    /// Make ids and secrets reproducible. For tests: whoever knows the seed knows the secrets.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How tokens name their issuer: by this server's address, or by Microsoft's names.
    #[arg(long, value_enum, default_value_t = IssuerChoice::Served)]
    issuer: IssuerChoice,
    /// Also serve this VM's metadata endpoint at 169.254.169.254:80; the address must be on this host.
    #[arg(long, value_name = "RESOURCE")]
    link_local: Option<String>,
    /// Write the challenges of Arc endpoints to this directory; the SDKs look in the default only.
    #[arg(long, value_name = "DIR", default_value = challenge_files::DIRECTORY)]
    arc_tokens_dir: PathBuf,
    /// A certificate (PEM) with whose key the administrator may sign in besides its secret.
    #[arg(long, value_name = "FILE")]
    administrator_certificate: Option<PathBuf>,
    /// The master key of the data directory, when it is not kept with your configuration.
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    master_key_file: Option<PathBuf>,
    /// Let issuers of federated credentials be on this machine, and speak plain http. For development and tests.
    #[arg(long)]
    allow_local_issuers: bool,
    /// Authorities (PEM) by whose word issuers are believed, besides those of the system.
    #[arg(long, value_name = "FILE")]
    issuer_ca_file: Option<PathBuf>,
    /// Deploy this ARM template before the line that says that all is ready; may be given several times.
    #[arg(long = "template", value_name = "FILE")]
    templates: Vec<PathBuf>,
    /// The parameters of a template: the first file for the first template, and so on.
    #[arg(long, value_name = "FILE", requires = "templates")]
    parameters: Vec<PathBuf>,
    /// The resource group that templates are deployed to, made where it is missing. One with the schema of a
    /// subscription is deployed to the subscription.
    #[arg(long, value_name = "NAME", default_value = "keycard")]
    resource_group: String,
    /// Write one line of JSON for programs, or a summary for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IssuerChoice {
    /// `https://login.DOMAIN/TENANT/`, where any OIDC verifier finds the keys.
    Served,
    /// `https://sts.windows.net/TENANT/`, for verifiers that insist on it.
    Azure,
}

impl Up {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut places = Places::from_environment();
        places.arc_tokens.clone_from(&self.arc_tokens_dir);
        places.clear_stale_runs();
        let output = self.output;
        let templates = Templates::read(&self.templates, &self.parameters, &self.resource_group)?;
        let mut interrupts = Interrupts::listen()?;
        let server = server::start(self.options(places.clone())?).await?;
        if let Err(failure) = templates.deploy(&server.description).await {
            server.stop().await;
            return Err(failure);
        }
        let server_file = places.server_file();
        let line = serde_json::to_string(&server.description)?;
        if let Some(home) = server_file.parent() {
            keys::private_directory(home)?;
        }
        keys::write_for_this_run(&server_file, line.as_bytes())?;
        match output {
            Output::Json => print(&line)?,
            Output::Table => print(&summary(&server.description))?,
        }
        interrupts.wait().await;
        server.stop().await;
        // Another server may have taken the file over in the meantime.
        if std::fs::read_to_string(&server_file).is_ok_and(|present| present == line) {
            let _ = std::fs::remove_file(&server_file);
        }
        Ok(())
    }

    fn options(self, places: Places) -> Result<Options, Failure> {
        let entropy: Arc<dyn Entropy> = match self.seed {
            Some(seed) => Arc::new(SeededEntropy::new(seed)),
            None => Arc::new(DerivedIds),
        };
        let certificate =
            match &self.administrator_certificate {
                Some(path) => {
                    let pem = std::fs::read_to_string(path)
                        .map_err(|error| Failure(format!("{}: {error}", path.display())))?;
                    let first = parse_certificates_pem(&pem)?.into_iter().next();
                    Some(first.ok_or_else(|| {
                        Failure(format!("{} holds no certificate", path.display()))
                    })?)
                }
                None => None,
            };
        let issuers = self.issuers()?;
        let clock = Arc::new(TurnableClock::default());
        Ok(Options {
            port: self.port,
            metrics_port: if self.port == 0 { 0 } else { 9464 },
            domain: DEFAULT_DOMAIN.to_owned(),
            profile: self.profile,
            data_directory: self.data_dir,
            master_key_file: self.master_key_file,
            uses_azure_issuer: self.issuer == IssuerChoice::Azure,
            link_local: self.link_local,
            administrator_certificate: certificate,
            places,
            clock: clock.clone(),
            turnable_clock: Some(clock),
            for_development: true,
            issuers,
            entropy,
            tls_clock: Arc::new(SystemClock),
        })
    }

    fn issuers(&self) -> Result<IssuerTrust, Failure> {
        let local =
            if self.allow_local_issuers { LocalIssuers::Allowed } else { LocalIssuers::Refused };
        let authorities_pem = match &self.issuer_ca_file {
            Some(path) => {
                let failed =
                    |error: &dyn std::fmt::Display| Failure(format!("{}: {error}", path.display()));
                let pem = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
                parse_certificates_pem(&pem).map_err(|error| failed(&error))?;
                Some(pem)
            }
            None => None,
        };
        Ok(IssuerTrust { local, authorities_pem })
    }
}

/// SIGINT and SIGTERM, by which a command that runs until then is ended; from when they are listened for, none is lost.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    pub(super) fn listen() -> Result<Self, Failure> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Where everything is, and three lines to try.
fn summary(server: &Description) -> String {
    let Description { endpoints, administrator, .. } = server;
    format!(
        "keycard {version} is up ({profile} profile). Interrupt it with Ctrl-C.

  Resource Manager   {arm}
  token service      {login}
  by path            {loopback}
  metrics            {metrics}
  CA certificate     {ca}
  tenant             {tenant}
  subscription       {subscription}
  administrator      client id {client}
                     its secret is in $KEYCARD_HOME/server.json

Three lines to try, in another terminal:

  keycard doctor                     # is anything in the way?
  keycard attachment list            # the token endpoints of your resources
  curl --cacert {ca} {loopback}/{tenant}/v2.0/.well-known/openid-configuration",
        version = server.version,
        profile = server.profile,
        arm = endpoints.resource_manager,
        login = endpoints.token_service,
        loopback = endpoints.loopback,
        metrics = endpoints.metrics,
        ca = server.ca_file,
        tenant = server.tenant_id,
        subscription = server.subscription_id,
        client = administrator.client_id,
    )
}
