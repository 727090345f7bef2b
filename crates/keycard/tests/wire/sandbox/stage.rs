//! A keycard of its own for each test of `keycard run`, as root and as an ordinary user, and the commands that it runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A user that nothing belongs to.
const ORDINARY: u32 = 54321;

/// Who runs keycard and its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// With every capability.
    Root,
    /// With none.
    Ordinary,
}

impl Who {
    /// Everybody whom the tests can be.
    pub(crate) fn all() -> Vec<Self> {
        if geteuid().is_root() { vec![Self::Root, Self::Ordinary] } else { vec![Self::Ordinary] }
    }

    pub(crate) fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Ordinary if geteuid().is_root() => ORDINARY,
            Self::Ordinary => geteuid().as_raw(),
        }
    }
}

/// A running keycard with a VM `vm1`, a site `site1` and a vault `kv1`.
pub(crate) struct Stage {
    pub(crate) who: Who,
    pub(crate) ready: Value,
    directory: TempDir,
    up: Child,
}

impl Stage {
    pub(crate) fn set(who: Who) -> Self {
        let directory = TempDir::new().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let binary = directory.path().join("keycard");
        // The directory of the build may be one that only its owner enters.
        let built = env!("CARGO_BIN_EXE_keycard");
        fs::hard_link(built, &binary).or_else(|_| fs::copy(built, &binary).map(drop)).unwrap();
        fs::write(directory.path().join("template.json"), template().to_string()).unwrap();
        for name in ["home", "data", "work"] {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            chown(&path, Some(who.uid()), Some(who.uid())).unwrap();
        }
        let up = Self::command(who, directory.path(), &binary)
            .args(["up", "--port", "0", "--output", "json", "--template", "template.json"])
            .args(["--data-dir", "data"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut up = up.unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap();
        Self { who, ready, directory, up }
    }

    fn command(who: Who, directory: &Path, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", directory.join("home"))
            .env("KEYCARD_HOME", directory.join("home/state"))
            .current_dir(directory)
            .stdin(Stdio::null());
        if geteuid().as_raw() != who.uid() {
            command.uid(who.uid()).gid(who.uid());
        }
        command
    }

    /// A path in the stage's directory: `work` is the command's own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `keycard` with these words.
    pub(crate) fn keycard(&self, words: &[&str]) -> Command {
        let mut command = Self::command(self.who, self.directory.path(), &self.path("keycard"));
        command.args(words);
        command
    }

    /// `keycard run` of a shell's script, with these options before it.
    pub(crate) fn run(&self, options: &[&str], script: &str) -> Output {
        let mut command = self.keycard(&["run", "--as", "vm1"]);
        command.args(options).args(["--", "bash", "-c", script]).output().unwrap()
    }

    /// What a script wrote, when it ended well.
    pub(crate) fn says(&self, options: &[&str], script: &str) -> String {
        let output = self.run(options, script);
        let (words, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{:?}: {script}: {words} {errors}", self.who);
        words
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.up);
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.up.wait();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Asks the metadata endpoint for a token, and prints the status line and the body.
pub(crate) const ASK: &str = "exec 3<>/dev/tcp/169.254.169.254/80 && printf 'GET \
     /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net HTTP/1.1\\r\\nHost: \
     169.254.169.254\\r\\nMetadata: true\\r\\nConnection: close\\r\\n\\r\\n' >&3 && cat <&3";

fn template() -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [
            {
                "type": "Microsoft.Compute/virtualMachines",
                "apiVersion": "2024-07-01",
                "name": "vm1",
                "location": "local",
                "identity": { "type": "SystemAssigned" },
                "properties": {},
            },
            {
                "type": "Microsoft.Web/sites",
                "apiVersion": "2023-12-01",
                "name": "site1",
                "location": "local",
                "identity": { "type": "SystemAssigned" },
                "properties": {},
            },
        ],
    })
}
