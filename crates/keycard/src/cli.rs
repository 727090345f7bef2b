//! The command line: noun then verb. Data to standard output, words to standard error; exit 0 done, 1 failed, 2 misused.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

use crate::client::{Administration, Client};
use crate::commands::{
    attachment, audit, clock, demo, doctor, env, fault, record, run, signing_key, tenant, token,
    up, why,
};
use crate::config::Places;
use crate::description::Description;

/// Managed identities for Azure resources, self-hosted.
#[derive(Debug, Parser)]
#[command(name = "keycard", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole private cloud on this machine until it is interrupted.
    Up(up::Up),
    /// Show the main job once, with every request and answer.
    Demo(demo::Demo),
    /// Print the variables that let a program run as a resource.
    Env(env::Env),
    Run(run::Run),
    /// Started by `run` for `--publish`.
    #[command(hide = true)]
    SocketMaker(run::SocketMaker),
    /// Local token endpoints.
    #[command(subcommand)]
    Attachment(attachment::Attachment),
    Why(why::Why),
    /// What a run asks of the authorization engine, and the least-privilege role assignments that cover it.
    #[command(subcommand)]
    Record(record::Record),
    /// Trouble for the programs that you test: throttling, outages, slow and broken answers. Only on `up`.
    #[command(subcommand)]
    Fault(fault::Fault),
    /// Tokens for testing your own services.
    #[command(subcommand)]
    Token(token::Token),
    /// Tenants of a running `keycard up`.
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// The keys that sign the tenant's tokens.
    #[command(subcommand)]
    SigningKey(signing_key::SigningKey),
    /// The clock of a running `keycard up`.
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Find what keeps programs on this machine from reaching keycard, with a cure for each fault.
    Doctor(doctor::Doctor),
    /// The node's audit log.
    #[command(subcommand)]
    Audit(audit::Audit),
}

/// How a command writes its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For programs.
    Json,
    /// For people.
    Table,
}

/// Which running server a command talks to.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerChoice {
    /// Address of the server; by default the one that `keycard up` left in `$KEYCARD_HOME`.
    #[arg(long, value_name = "URL", requires = "credentials")]
    server: Option<String>,
    /// The JSON that `keycard up --output json` printed.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
}

impl ServerChoice {
    /// The description of the chosen server.
    pub(crate) fn description(&self) -> Result<Description, Failure> {
        let path = match &self.credentials {
            Some(path) => path.clone(),
            None => Places::from_environment().server_file(),
        };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure(format!(
                "no running keycard is known ({}: {error}). Start one with: keycard up",
                path.display()
            ))
        })?;
        let mut description: Description = serde_json::from_str(&text).map_err(|error| {
            Failure(format!("{} does not describe a keycard: {error}", path.display()))
        })?;
        if let Some(server) = &self.server {
            description.endpoints.loopback = server.trim_end_matches('/').to_owned();
        }
        Ok(description)
    }

    /// The description, and a client that has signed in as its administrator.
    pub(crate) async fn sign_in(&self) -> Result<(Description, Administration), Failure> {
        let description = self.description()?;
        let client = client(&description)?;
        let administration = Administration::sign_in(client, &description).await?;
        Ok((description, administration))
    }
}

/// A client that trusts the server's authority.
pub(crate) fn client(description: &Description) -> Result<Client, Failure> {
    let pem = std::fs::read_to_string(&description.ca_file)
        .map_err(|error| Failure(format!("{}: {error}", description.ca_file)))?;
    Ok(Client::new(&pem)?)
}

/// Why a command failed, in words for a person.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    // Before there is a second thread.
    let command = cli.command;
    if let Command::Run(run) = command {
        return run.start();
    }
    if let Command::SocketMaker(maker) = command {
        return maker.start();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure(format!("the runtime does not start: {error}"))),
    };
    log_to_stderr(matches!(command, Command::Up(_)));
    raise_descriptor_limit();
    let outcome = runtime.block_on(async {
        match command {
            Command::Run(_) | Command::SocketMaker(_) => Ok(()),
            Command::Up(command) => command.run().await,
            Command::Demo(command) => command.run().await,
            Command::Env(command) => command.run().await,
            Command::Attachment(command) => command.run().await,
            Command::Why(command) => command.run().await,
            Command::Record(command) => command.run().await,
            Command::Clock(command) => command.run().await,
            Command::Fault(command) => command.run().await,
            Command::Token(command) => command.run().await,
            Command::Tenant(command) => command.run().await,
            Command::SigningKey(command) => command.run().await,
            Command::Doctor(command) => command.run().await,
            Command::Audit(command) => command.run(),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

/// Each open connection and each local endpoint holds a descriptor; the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

fn fail(failure: &Failure) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "keycard: {}", failure.0);
    ExitCode::from(1)
}

/// `KEYCARD_LOG` chooses what is logged, as in `KEYCARD_LOG=debug`.
fn log_to_stderr(is_server: bool) {
    let default = if is_server { "info" } else { "error" };
    let filter = EnvFilter::builder()
        .with_env_var("KEYCARD_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new(default));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}

/// Writes a line of data.
pub(crate) fn print(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Failure::from)
}
