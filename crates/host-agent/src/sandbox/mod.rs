//! The sandbox of `keycard run`: a program for which 169.254.169.254:80 and every name of Azure on :443 are keycard.
//!
//! The process that the shell started leaves the host's network and mounts, hands sockets made inside to the running
//! keycard, furnishes its files, and becomes the command. Nothing of it stays in between, so pid, terminal, signals and
//! exit status are the command's. What is served stands in [`outside`].

mod bundles;
mod mounts;
mod names;
mod namespaces;
mod network;
mod on_host;
pub mod outside;
mod protocol;
mod refusal;
mod socket_maker;
mod trust;

use std::env::set_current_dir;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use bundles::{Surroundings, VARIABLES, paths_in};
pub use on_host::HostEndpoint;
pub use protocol::{Allowed, OPENINGS_MAX};
pub use refusal::Refusal;
pub use socket_maker::{SocketMakerArguments, make_sockets};

use mounts::Layer;
use namespaces::Privilege;
use network::Network;
use protocol::{Answer, Hello, Ready, VERSION, Welcome};
use refusal::Step;
use trust::Authority;

/// What is to be run, and as what.
#[derive(Debug)]
pub struct Sandbox {
    /// The control socket of the running keycard.
    pub control: PathBuf,
    /// The resource, by its whole id or a name.
    pub resource: String,
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Services of the host that it reaches.
    pub allow: Vec<Allowed>,
    /// Ports of its own that the host reaches.
    pub publish: Vec<u16>,
    /// Further bundles of authorities to cover.
    pub trust: Vec<PathBuf>,
    /// What becomes of its variables.
    pub variables: Variables,
    /// Where bundles of authorities are looked for.
    pub surroundings: Surroundings,
}

/// What becomes of the command's variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variables {
    /// Node's further authorities are named if they were not, an App Service's endpoint is; proxies, which cannot be reached
    /// from inside, other endpoints, and bundles in keycard's own directories are left out.
    Fitted,
    /// They stay as they are.
    Untouched,
}

/// Why the command does not run: what to print, and the exit status.
#[derive(Debug)]
pub struct NotRun {
    /// 125: no sandbox; 126: the command cannot be executed; 127: there is no such command.
    pub status: u8,
    /// A sentence or two for a person.
    pub message: String,
}

impl NotRun {
    /// Why a command could not be executed.
    pub fn because(command: &Command, error: &io::Error) -> Self {
        let status = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        Self { status, message: format!("{}: {error}", command.get_program().display()) }
    }
}

impl From<Refusal> for NotRun {
    fn from(refusal: Refusal) -> Self {
        Self { status: 125, message: refusal.to_string() }
    }
}

/// Variables that lead to a proxy, which would swallow Azure's names.
const PROXIES: &[&str] =
    &["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Variables by which clients find an endpoint that is not the metadata endpoint, or another one of it. Left over from
/// elsewhere, they would make a command another resource than it is run as.
pub const ENDPOINT_VARIABLES: &[&str] = &[
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
    "DEFAULT_IDENTITY_CLIENT_ID",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
];

/// The lowest number of the descriptor that ties the command to its endpoint; the next free one is taken. Programs that
/// close what they inherit begin at 3, and shells use those below 10 and 255.
const TIE: i32 = 900;

impl Sandbox {
    /// Becomes the command. Returns only when it could not. No other thread may have been started: the kernel would refuse.
    pub fn run(self) -> NotRun {
        match self.furnish() {
            Ok(command) => self.execute(command),
            Err(refusal) => refusal.into(),
        }
    }

    fn furnish(&self) -> Result<Command, Refusal> {
        let control = connect(&self.control)?;
        let privilege = Privilege::of_this_process();
        let welcome = self.introduce(&control, privilege)?;
        if let Some(notice) = &welcome.notice {
            eprint_line(notice);
        }
        let is_covered = |path: &Path| {
            let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            welcome.covered.iter().any(|covered| real.starts_with(covered))
        };
        if is_covered(&self.surroundings.directory) {
            let directory = self.surroundings.directory.display();
            return Err(Refusal::new(format!(
                "the command cannot run in {directory}, which is keycard's own or below it"
            )));
        }
        let named = self.surroundings.variables.iter();
        let hidden: Vec<&str> =
            named.filter(|(_, path)| is_covered(path)).map(|(name, _)| *name).collect();
        namespaces::leave(privilege)?;
        let mut network = Network::set_up(&self.allow, &welcome)?;
        if !self.publish.is_empty() {
            network.add_socket_maker()?;
        }
        network.hand_over(&control)?;
        let holder = self.cover(&welcome, network.names())?;
        let Ready {} = granted(protocol::receive(&control))?;
        drop(network);
        keep(&control)?;
        // The way that led here may lead elsewhere by now.
        set_current_dir(&self.surroundings.directory).map_err(|error| {
            let directory = self.surroundings.directory.display();
            Refusal::new(format!(
                "the command cannot run in {directory}, which is keycard's own or below it ({error})"
            ))
        })?;
        Ok(self.command(&welcome, holder.as_deref(), &hidden))
    }

    fn execute(&self, mut command: Command) -> NotRun {
        let error = command.exec();
        // A directory on the path that may not be entered hides from the kernel that no other has the command.
        let is_nowhere = bundles::locate(&self.surroundings.command, &self.surroundings).is_none();
        let error = if is_nowhere { io::ErrorKind::NotFound.into() } else { error };
        NotRun::because(&command, &error)
    }

    fn introduce(&self, control: &UnixStream, privilege: Privilege) -> Result<Welcome, Refusal> {
        let hello = Hello {
            version: VERSION,
            resource: self.resource.clone(),
            allow: self.allow.clone(),
            publish: self.publish.clone(),
            is_administrator: privilege == Privilege::Administrator,
        };
        protocol::send_with(control, &hello, &[]).map_err(|error| lost(&error))?;
        granted(protocol::receive(control))
    }

    /// Furnishes the files; gives one that holds the authority.
    fn cover(
        &self,
        welcome: &Welcome,
        names: &[(String, std::net::Ipv4Addr)],
    ) -> Result<Option<PathBuf>, Refusal> {
        for file in &self.trust {
            if !file.is_file() {
                return Err(Refusal::new(format!(
                    "--trust {}: there is no such file",
                    file.display()
                )));
            }
        }
        let authority = Authority {
            pem: welcome.authority.clone(),
            subject_hash: welcome.subject_hash.clone(),
        };
        let covered = || {
            let mut layer = Layer::new()?;
            names::cover(&mut layer, names)?;
            let holder = trust::cover(&mut layer, &authority, &self.surroundings, &self.trust)?;
            for path in &welcome.covered {
                mounts::hide(Path::new(path), &mut layer)?;
            }
            layer.attach()?;
            Ok(holder)
        };
        covered().map_err(|error: io::Error| Refusal::at(Step::Mounts, &error))
    }

    /// The command, without the variables that name what is hidden from it.
    fn command(&self, welcome: &Welcome, holder: Option<&Path>, hidden: &[&str]) -> Command {
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().map(OsString::as_os_str).unwrap_or_default());
        command.args(words);
        if self.variables == Variables::Untouched {
            return command;
        }
        for name in PROXIES.iter().chain(ENDPOINT_VARIABLES).chain(hidden) {
            command.env_remove(name);
        }
        if let Some(app_service) = &welcome.app_service {
            command.env("IDENTITY_ENDPOINT", &app_service.url);
            command.env("IDENTITY_HEADER", &app_service.header);
        }
        let name = "NODE_EXTRA_CA_CERTS";
        let is_set = self.surroundings.variables.contains_key(name) && !hidden.contains(&name);
        if let Some(holder) = holder.filter(|_| !is_set) {
            command.env(name, holder);
        }
        command
    }
}

fn connect(path: &Path) -> Result<UnixStream, Refusal> {
    UnixStream::connect(path).map_err(|error| {
        let path = path.display();
        let is_absent =
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        Refusal::new(if is_absent {
            format!("no keycard is running here (no socket at {path}). Start one with `keycard up`")
        } else {
            format!("{path}: {error}")
        })
    })
}

fn lost(error: &io::Error) -> Refusal {
    Refusal::new(format!("the running keycard does not answer ({error}); is it of this version?"))
}

fn granted<T>(answer: io::Result<Answer<T>>) -> Result<T, Refusal> {
    match answer.map_err(|error| lost(&error))? {
        Answer::Granted(granted) => Ok(granted),
        Answer::Refused(words) => Err(Refusal::new(words)),
    }
}

/// Lets the command inherit the control socket: when the last process that holds it is gone, so is the endpoint.
fn keep(control: &UnixStream) -> Result<(), Refusal> {
    let tie = rustix::io::fcntl_dupfd_cloexec(control.as_fd(), TIE)
        .or_else(|_| rustix::io::fcntl_dupfd_cloexec(control.as_fd(), 3));
    let kept = tie.and_then(|tie| {
        rustix::io::fcntl_setfd(&tie, rustix::io::FdFlags::empty())?;
        // The descriptor is the command's from here on, and nobody else's in this process.
        let _ = std::os::fd::IntoRawFd::into_raw_fd(tie);
        Ok(())
    });
    kept.map_err(|error| Refusal::new(format!("the command cannot keep its endpoint: {error}")))
}

fn eprint_line(line: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr(), "keycard: {line}");
}
