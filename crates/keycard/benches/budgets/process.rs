//! The servers under measurement as processes of their own, and what the kernel knows of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use keycard::description::Description;
use keycard_crypto::tls::client_config;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio_rustls::rustls::ClientConfig;

use crate::wire::Target;
use crate::{Outcome, Settings};

/// A process that ends with its owner: asked first, then killed.
struct Owned(Child);

/// How long a server may take to stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let begin = Instant::now();
        while begin.elapsed() < STOP_TIME_MAX {
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `keycard up`, with homes of its own.
pub(crate) struct Keycard {
    process: Owned,
    pub(crate) description: Description,
    tls: Arc<ClientConfig>,
    port: u16,
    server_file: PathBuf,
    /// Removed with it, where the homes are its own.
    _home: Option<TempDir>,
}

impl Keycard {
    /// Starts the release binary and waits for its line of JSON.
    pub(crate) fn up(settings: &Settings, arguments: &[&str]) -> Outcome<Self> {
        Self::start(settings, Command::new(&settings.binary), arguments)
    }

    /// Starts it with the homes in a directory: those of a start before, or new ones.
    pub(crate) fn up_in(settings: &Settings, homes: &Path, arguments: &[&str]) -> Outcome<Self> {
        Self::start_in(settings, homes, Command::new(&settings.binary), arguments)
    }

    /// Starts it where its instructions can be counted.
    pub(crate) fn counted(settings: &Settings, counter: &Counter) -> Outcome<Self> {
        Self::start(settings, counter.command(&settings.binary), &[])
    }

    fn start(settings: &Settings, command: Command, arguments: &[&str]) -> Outcome<Self> {
        let home = settings.temporary_directory()?;
        let keycard = Self::start_in(settings, home.path(), command, arguments)?;
        Ok(Self { _home: Some(home), ..keycard })
    }

    fn start_in(
        settings: &Settings,
        homes: &Path,
        mut command: Command,
        arguments: &[&str],
    ) -> Outcome<Self> {
        let log = File::create(settings.output.join("keycard.log"))?;
        let child = command
            .args(["up", "--port", "0", "--output", "json"])
            .args(arguments)
            .env("KEYCARD_HOME", homes.join("home"))
            .env("XDG_CONFIG_HOME", homes.join("config"))
            .env("HOME", homes)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", settings.binary.display()))?;
        let mut process = Owned(child);
        let mut line = String::new();
        let stdout = process.0.stdout.take().ok_or("no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let description: Description = serde_json::from_str(&line)
            .map_err(|error| format!("keycard up did not start ({error}): see keycard.log"))?;
        let tls = Arc::new(client_config(&fs::read_to_string(&description.ca_file)?)?);
        let port = description.endpoints.loopback.rsplit(':').next().unwrap_or_default().parse()?;
        let server_file = homes.join("home/server.json");
        Ok(Self { process, description, tls, port, server_file, _home: None })
    }

    /// A connection to one of its names, over TLS.
    pub(crate) fn target(&self, host: &str) -> Target {
        Target { port: self.port, tls: Some((Arc::clone(&self.tls), host.to_owned())) }
    }

    pub(crate) fn loopback(&self) -> Target {
        self.target("localhost")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// The file by which commands find it.
    pub(crate) fn server_file(&self) -> &Path {
        &self.server_file
    }

    pub(crate) fn cpu(&self) -> Outcome<CpuTimes> {
        CpuTimes::of(self.pid())
    }

    /// Resident memory, in MiB.
    pub(crate) fn resident_mib(&self) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

/// CPU time of each thread of a process, with its name, nanoseconds.
pub(crate) struct CpuTimes(BTreeMap<String, (String, u64)>);

/// The unit of times in `/proc/PID/stat`: `USER_HZ` is 100 on every Linux.
const TICK_NANOS: u64 = 10_000_000;

impl CpuTimes {
    fn of(pid: u32) -> Outcome<Self> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            // A thread may end while we look.
            let Ok(name) = fs::read_to_string(entry.path().join("comm")) else { continue };
            let Ok(nanos) = cpu_nanos(&entry.path()) else { continue };
            let id = entry.file_name().to_string_lossy().into_owned();
            threads.insert(id, (name.trim().to_owned(), nanos));
        }
        Ok(Self(threads))
    }

    /// What was used since, nanoseconds, by kind of thread.
    pub(crate) fn since(&self, before: &Self) -> BTreeMap<String, u64> {
        let mut used = BTreeMap::new();
        for (id, (name, now)) in &self.0 {
            let then = before.0.get(id).map_or(0, |(_, nanos)| *nanos);
            let kind = name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '-');
            *used.entry(kind.to_owned()).or_default() += now.saturating_sub(then);
        }
        used
    }
}

/// User and system time of a thread. `schedstat` counts the same as `stat`, but in nanoseconds.
fn cpu_nanos(thread: &Path) -> Outcome<u64> {
    match fs::read_to_string(thread.join("schedstat")) {
        Ok(schedstat) => Ok(schedstat.split(' ').next().unwrap_or_default().parse()?),
        Err(_) => stat_nanos(thread),
    }
}

/// User and system time of a process, with the threads that have ended, or of a thread.
fn stat_nanos(process: &Path) -> Outcome<u64> {
    let stat = fs::read_to_string(process.join("stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next().ok_or("no utime")??, times.next().ok_or("no stime")??);
    Ok((user + system) * TICK_NANOS)
}

/// CPU time of this process so far, nanoseconds.
pub(crate) fn load_generator_nanos() -> Outcome<u64> {
    stat_nanos(Path::new("/proc/self"))
}

/// CPU time of the calling thread so far, nanoseconds.
pub(crate) fn own_cpu_nanos() -> Outcome<u64> {
    // The kernel brings the count up to date when a thread lets go of its processor.
    thread::sleep(Duration::from_millis(1));
    cpu_nanos(Path::new("/proc/thread-self"))
}

/// A running nginx that gives one body: one process, no log, its own prefix.
pub(crate) struct Nginx {
    process: Owned,
    pub(crate) port: u16,
    _prefix: TempDir,
}

impl Nginx {
    /// Starts it, or says why there is none.
    pub(crate) fn serve(settings: &Settings, body: &str) -> Outcome<Self> {
        let binary = nginx_binary().ok_or("nginx not available")?;
        Self::start(settings, Command::new(binary), body)
    }

    /// Starts it where its instructions can be counted.
    pub(crate) fn counted(settings: &Settings, counter: &Counter, body: &str) -> Outcome<Self> {
        let binary = nginx_binary().ok_or("nginx not available")?;
        Self::start(settings, counter.command(&binary), body)
    }

    fn start(settings: &Settings, mut command: Command, body: &str) -> Outcome<Self> {
        let prefix = settings.temporary_directory()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let configuration = prefix.path().join("nginx.conf");
        fs::write(&configuration, nginx_configuration(prefix.path(), port, body))?;
        let child = command
            .arg("-p")
            .arg(prefix.path())
            .arg("-c")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stderr(File::create(settings.output.join("nginx.log"))?)
            .spawn()?;
        let mut nginx = Self { process: Owned(child), port, _prefix: prefix };
        let begin = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if nginx.process.0.try_wait()?.is_some() || begin.elapsed() > STOP_TIME_MAX {
                return Err("nginx did not start: see nginx.log".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(nginx)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn cpu(&self) -> Outcome<CpuTimes> {
        CpuTimes::of(self.pid())
    }
}

fn nginx_binary() -> Option<PathBuf> {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx", "/usr/local/bin/nginx"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.is_file())
}

/// The body stands between single quotes: a token answer is JSON without quotes of that kind, `$` or backslashes.
fn nginx_configuration(prefix: &Path, port: u16, body: &str) -> String {
    let prefix = prefix.display();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
error_log stderr warn;
pid {prefix}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    default_type 'application/json; charset=utf-8';
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 '{body}'; }}
    }}
}}
"
    )
}

/// Counts the instructions that a server executes in user space, through valgrind's callgrind.
pub(crate) struct Counter {
    directory: TempDir,
}

impl Counter {
    /// A counter for one process, or why there is none.
    pub(crate) fn new(settings: &Settings) -> Outcome<Self> {
        if !Path::new("/usr/bin/callgrind_control").is_file() {
            return Err("valgrind not available".into());
        }
        Ok(Self { directory: settings.temporary_directory()? })
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("callgrind.out")
    }

    fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new("valgrind");
        command
            .args(["--quiet", "--tool=callgrind", "--instr-atstart=no"])
            .arg(format!("--callgrind-out-file={}", self.file().display()))
            .arg(binary);
        command
    }

    /// Switches counting on or off in the process that [`Self::command`] started.
    pub(crate) fn switch(&self, pid: u32, state: &str) -> Outcome<()> {
        let status = Command::new("callgrind_control")
            .args(["-i", state, &pid.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if status.success() { Ok(()) } else { Err(format!("callgrind_control: {status}").into()) }
    }

    /// What was counted, once the process has ended.
    pub(crate) fn instructions(&self) -> Outcome<f64> {
        let text = fs::read_to_string(self.file())?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        Ok(total.ok_or("callgrind wrote no total")?.trim().parse()?)
    }
}
