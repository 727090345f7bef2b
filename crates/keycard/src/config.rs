//! Where keycard keeps things, from the environment. The one place where variables are read.
//!
//! `$KEYCARD_HOME` holds what a running `up` leaves for the other commands; master keys live beside the user's
//! configuration, so that a copied data directory does not open itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use keycard_host_agent::challenge_files;
use keycard_host_agent::sandbox::{Surroundings, VARIABLES, paths_in};

/// The places of this user.
#[derive(Clone, Debug)]
pub struct Places {
    home: PathBuf,
    config: PathBuf,
    /// Where the challenges of Arc endpoints are written.
    pub arc_tokens: PathBuf,
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place where the environment is read"
)]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Places {
    /// The places that the environment names: `KEYCARD_HOME`, `XDG_STATE_HOME`, `XDG_CONFIG_HOME`, `HOME`; the
    /// system's own where it names none.
    pub fn from_environment() -> Self {
        let below_user = |path: &str| variable("HOME").map(|home| home.join(path));
        let place = |name: &str, user: &str, system: &str| {
            variable(name).or_else(|| below_user(user)).unwrap_or_else(|| PathBuf::from(system))
        };
        let state = place("XDG_STATE_HOME", ".local/state", "/var/lib");
        let config = place("XDG_CONFIG_HOME", ".config", "/etc");
        Self {
            home: variable("KEYCARD_HOME").unwrap_or_else(|| state.join("keycard")),
            config: config.join("keycard"),
            arc_tokens: PathBuf::from(challenge_files::DIRECTORY),
        }
    }

    /// All places below one directory; for tests.
    pub fn below(directory: &Path) -> Self {
        Self {
            home: directory.join("home"),
            config: directory.join("config"),
            arc_tokens: directory.join("arc-tokens"),
        }
    }

    /// The description of the running server, for the other commands.
    pub fn server_file(&self) -> PathBuf {
        self.home.join("server.json")
    }

    /// The description of a further tenant of the running server, for the other commands.
    pub fn tenant_file(&self, name: &str) -> PathBuf {
        self.home.join("tenants").join(format!("{name}.json"))
    }

    /// What belongs to one running server: its CA certificate and bundle.
    pub fn run_directory(&self, port: u16) -> PathBuf {
        self.home.join("up").join(format!("{}-{port}", std::process::id()))
    }

    /// The socket over which commands hand their sandboxes to a running server.
    pub fn control_socket(&self, port: u16) -> PathBuf {
        self.run_directory(port).join("control.sock")
    }

    /// What commands in sandboxes must not see: whoever reads it can act as the administrator.
    pub fn private(&self) -> [&Path; 2] {
        [&self.home, &self.config]
    }

    /// Removes what servers that were killed have left behind.
    pub fn clear_stale_runs(&self) {
        let runs = std::fs::read_dir(self.home.join("up")).into_iter().flatten().flatten();
        for run in runs {
            let name = run.file_name().to_string_lossy().into_owned();
            let process = name.split('-').next().unwrap_or_default();
            if !Path::new("/proc").join(process).exists() {
                let _ = std::fs::remove_dir_all(run.path());
            }
        }
    }

    /// Where master keys are kept.
    pub fn master_key_directories(&self) -> [PathBuf; 2] {
        [self.config.join("master-keys"), self.home.join("master-keys")]
    }
}

/// What `run` goes by when it looks for the authorities that a command trusts.
pub(crate) fn surroundings(command: &[OsString]) -> std::io::Result<Surroundings> {
    let mut words = command.iter();
    let command = words.next().cloned().unwrap_or_default();
    let path = variable("PATH").unwrap_or_default();
    Ok(Surroundings {
        command: command.into(),
        arguments: paths_in(words.as_slice()),
        path: std::env::split_paths(&path).collect(),
        directory: std::env::current_dir()?,
        variables: VARIABLES.iter().filter_map(|name| Some((*name, variable(name)?))).collect(),
    })
}

/// All variables, for `doctor`, which tells what they will do to SDKs. What is no text is left out.
pub fn all_variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
