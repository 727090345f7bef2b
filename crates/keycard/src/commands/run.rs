//! `keycard run`: becomes a command that runs as a resource, in a sandbox or by variables.
//!
//! It runs before anything else is started, because the kernel lets only a process of one thread leave its namespaces.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use keycard_host_agent::sandbox::{
    Allowed, ENDPOINT_VARIABLES, NotRun, Sandbox, SocketMakerArguments, Variables, make_sockets,
};

use crate::cli::{Failure, ServerChoice};
use crate::commands::env;
use crate::config;

/// Run a command as a resource: for it, 169.254.169.254 and Azure's names are keycard.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The resource, by its whole id or a name that only it has.
    #[arg(long = "as", value_name = "RESOURCE")]
    resource: String,
    /// Set variables instead of making a sandbox: where the kernel forbids one, or there is none.
    #[arg(long, conflicts_with_all = ["allow", "publish", "trust", "no_env"])]
    env: bool,
    /// Let the command reach this service of the host; may be given several times.
    #[arg(long, value_name = "HOST:PORT", value_parser = allowed)]
    allow: Vec<Allowed>,
    /// Let the host reach this port of the command's, at 127.0.0.1; may be given several times.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    publish: Vec<u16>,
    /// A bundle of authorities (PEM) that the command reads and the search misses; may be given several times.
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// Leave the command's variables as they are.
    #[arg(long)]
    no_env: bool,
    #[command(flatten)]
    server: ServerChoice,
    /// The command and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<OsString>,
}

fn allowed(text: &str) -> Result<Allowed, String> {
    let (host, port) = text.rsplit_once(':').ok_or("it has to be HOST:PORT")?;
    let port = port.parse().map_err(|_| "the port has to be a number up to 65535")?;
    Ok(Allowed { host: host.to_owned(), port })
}

impl Run {
    /// Becomes the command. Returns only when it could not.
    pub(crate) fn start(self) -> ExitCode {
        let not_run = match if self.env { self.by_variables() } else { self.in_sandbox() } {
            Ok(not_run) => not_run,
            Err(Failure(message)) => NotRun { status: 125, message },
        };
        let _ = writeln!(io::stderr(), "keycard: {}", not_run.message);
        ExitCode::from(not_run.status)
    }

    fn in_sandbox(self) -> Result<NotRun, Failure> {
        let description = self.server.description()?;
        let control = description.control_socket.ok_or_else(|| {
            Failure(
                "the running keycard has no control socket; `keycard run --env` needs none".into(),
            )
        })?;
        let surroundings = config::surroundings(&self.command)?;
        let sandbox = Sandbox {
            control: control.into(),
            resource: self.resource,
            command: self.command,
            allow: self.allow,
            publish: self.publish,
            trust: self.trust,
            variables: if self.no_env { Variables::Untouched } else { Variables::Fitted },
            surroundings,
        };
        Ok(sandbox.run())
    }

    fn by_variables(self) -> Result<NotRun, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let variables = runtime.block_on(async {
            let (description, administration) = self.server.sign_in().await?;
            let attachment = env::attachment(&administration, &self.resource, None).await?;
            Ok::<_, Failure>(env::variables(&description, &attachment))
        })?;
        drop(runtime);
        let mut words = self.command.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        for name in ENDPOINT_VARIABLES {
            command.env_remove(name);
        }
        for (name, value) in &variables {
            command.env(name, value.as_str().unwrap_or_default());
        }
        let error = command.exec();
        Ok(NotRun::because(&command, &error))
    }
}

/// The process inside a sandbox by which the host reaches published ports.
#[derive(Debug, clap::Args)]
pub(crate) struct SocketMaker {
    /// Stay, instead of starting one that does.
    #[arg(long)]
    stay: bool,
}

impl SocketMaker {
    pub(crate) fn start(self) -> ExitCode {
        let arguments =
            if self.stay { SocketMakerArguments::Stay } else { SocketMakerArguments::Start };
        if make_sockets(arguments).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_host_and_port() {
        let made = |host: &str, port| Ok(Allowed { host: host.to_owned(), port });
        assert_eq!(allowed("db.internal:5432"), made("db.internal", 5432));
        assert_eq!(allowed("127.0.0.1:80"), made("127.0.0.1", 80));
        for wrong in ["db.internal", "db.internal:", "db.internal:65536", "db.internal:-1", ":"] {
            assert!(allowed(wrong).is_err(), "{wrong}");
        }
    }
}
