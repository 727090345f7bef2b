//! Where keycard keeps things, from the environment. The one place where variables are read.
//!
//! `$KEYCARD_HOME` holds what a running `up` leaves for the other commands; master keys live beside the user's
//! configuration, so that a copied data directory does not open itself.

use std::path::{Path, PathBuf};

/// The places of this user.
#[derive(Clone, Debug)]
pub struct Places {
    home: PathBuf,
    config: PathBuf,
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place where the environment is read"
)]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Places {
    /// The places that the environment names: `KEYCARD_HOME`, `XDG_STATE_HOME`, `XDG_CONFIG_HOME`, `HOME`.
    pub fn from_environment() -> Self {
        let user = variable("HOME").unwrap_or_else(|| PathBuf::from("/tmp"));
        let state = variable("XDG_STATE_HOME").unwrap_or_else(|| user.join(".local/state"));
        let config = variable("XDG_CONFIG_HOME").unwrap_or_else(|| user.join(".config"));
        Self {
            home: variable("KEYCARD_HOME").unwrap_or_else(|| state.join("keycard")),
            config: config.join("keycard"),
        }
    }

    /// All places below one directory; for tests.
    pub fn below(directory: &Path) -> Self {
        Self { home: directory.join("home"), config: directory.join("config") }
    }

    /// The description of the running server, for the other commands.
    pub fn server_file(&self) -> PathBuf {
        self.home.join("server.json")
    }

    /// What belongs to one running server: its CA certificate and bundle.
    pub fn run_directory(&self, port: u16) -> PathBuf {
        self.home.join("up").join(format!("{}-{port}", std::process::id()))
    }

    /// Where master keys are kept.
    pub fn master_key_directories(&self) -> [PathBuf; 2] {
        [self.config.join("master-keys"), self.home.join("master-keys")]
    }
}

/// Variables that make clients take another route than the local endpoint; for `doctor`.
pub fn set_variables(names: &[&str]) -> Vec<(String, String)> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    names.iter().filter_map(|name| Some(((*name).to_owned(), text(variable(name)?)))).collect()
}
