//! The running keycard's side of sandboxes: takes sockets that were made inside over the control socket, and serves them
//! from here, for as long as the command or a descendant of it is there.

mod door;
mod openings;
mod resolver;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use keycard_domain::compute::Workload;
use keycard_domain::compute::attachment::EndpointKind;
use keycard_domain::limits;
use keycard_wire::local::names::Zone;
use rustix::process::{Pid, PidfdFlags, Uid, geteuid, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use super::protocol::{
    self, APP_SERVICE, AZURE, Answer, AppService, CLOUD_SHELL, HandOver, Handed, Hello, METADATA,
    Ready, VERSION, Welcome,
};
use crate::lane::Lane;
use crate::listen::Listeners;
use openings::{Opening, SocketMaker};

/// Serves HTTPS, which the host side does not know.
#[async_trait]
pub trait HttpsFaces: Debug + Send + Sync + 'static {
    /// Serves a listener that Azure's names lead to, at the port that they have there, until `closed` ends.
    async fn serve_azure(&self, listener: TcpListener, closed: watch::Receiver<()>);

    /// Serves a listener that keycard's own names lead to, at the port that they have outside.
    async fn serve_own(&self, listener: TcpListener, closed: watch::Receiver<()>);
}

/// What every sandbox is told, and keycard's names.
#[derive(Debug)]
pub struct About {
    /// The certificate of the local authority, PEM.
    pub authority: String,
    /// OpenSSL's name for it.
    pub subject_hash: String,
    /// keycard's own domain, in lower case.
    pub own_domain: String,
    /// The port of its names.
    pub own_port: u16,
    /// Directories and files of keycard's that a command must not see.
    pub covered: Vec<String>,
}

/// The sandboxes of this host.
#[derive(Debug)]
pub struct Sandboxes {
    listeners: Arc<Listeners>,
    https: Arc<dyn HttpsFaces>,
    about: About,
    /// Whether an administrator was told what a sandbox does not hold back.
    has_told: AtomicBool,
}

impl Sandboxes {
    /// None yet.
    pub fn new(listeners: Arc<Listeners>, https: Arc<dyn HttpsFaces>, about: About) -> Self {
        Self { listeners, https, about, has_told: AtomicBool::new(false) }
    }

    /// Serves the control socket until `stopped` changes. Beyond the bound of open sandboxes, callers wait in the kernel's
    /// queue.
    pub async fn serve<T: Clone + Send + Sync + 'static>(
        self: Arc<Self>,
        control: UnixListener,
        mut stopped: watch::Receiver<T>,
    ) {
        let open = Arc::new(Semaphore::new(limits::SANDBOXES_MAX));
        loop {
            let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = control.accept() => accepted,
                _ = stopped.changed() => return,
            };
            let Ok((caller, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (sandboxes, mut stopped) = (Arc::clone(&self), stopped.clone());
            tokio::spawn(async move {
                tokio::select! {
                    outcome = sandboxes.attend(caller) => {
                        if let Err(error) = outcome {
                            tracing::debug!(%error, "a sandbox was not opened");
                        }
                    }
                    _ = stopped.changed() => {}
                }
                drop(permit);
            });
        }
    }

    /// Serves one sandbox from its first word to its end.
    async fn attend(&self, mut caller: UnixStream) -> io::Result<()> {
        let opening = tokio::time::timeout(limits::HAND_OVER_TIME_MAX, self.admit(&mut caller));
        let opened = opening.await.map_err(|_| io::ErrorKind::TimedOut)??;
        let Some((process, _open)) = opened else { return Ok(()) };
        wait_for_end(&mut caller, &process).await
    }

    /// Lets a caller in: gives what its end is known by, and what keeps its sockets served. `None`: it was refused.
    async fn admit(
        &self,
        caller: &mut UnixStream,
    ) -> io::Result<Option<(AsyncFd<OwnedFd>, watch::Sender<()>)>> {
        let line = door::read_line(caller, &mut Vec::new()).await?;
        let asked = match self.consider(caller, &line) {
            Ok(asked) => asked,
            Err(words) => {
                refuse(caller, words).await?;
                return Ok(None);
            }
        };
        // It waits for an answer, so it is still the process that its number means.
        let process = process_of(caller)?;
        let (welcome, asked) = self.welcome(asked).await;
        caller.write_all(&protocol::line(&Answer::Granted(welcome))?).await?;
        let mut descriptors = Vec::new();
        let line = door::read_line(caller, &mut descriptors).await?;
        let hand_over: HandOver = protocol::parse(&line)?;
        let (open, closed) = watch::channel(());
        if let Err(error) = self.take_over(&asked, hand_over, descriptors, &closed).await {
            refuse(caller, error.to_string()).await?;
            return Ok(None);
        }
        caller.write_all(&protocol::line(&Answer::Granted(Ready {}))?).await?;
        Ok(Some((process, open)))
    }

    /// Whether what the caller asks for can be given, in words if not.
    fn consider(&self, caller: &UnixStream, line: &[u8]) -> Result<Asked, String> {
        let uid = caller.peer_cred().map_err(|error| error.to_string())?.uid();
        // What this process could do, the host's administrator can do as well.
        if uid != geteuid().as_raw() && uid != Uid::ROOT.as_raw() {
            return Err("the running keycard belongs to another user".to_owned());
        }
        let hello: Hello = protocol::parse(line).map_err(|_| {
            "the running keycard does not understand; is it of this version?".to_owned()
        })?;
        if hello.version != VERSION {
            return Err("the running keycard is of another version; start it again".to_owned());
        }
        openings::check(&hello.allow, &hello.publish)?;
        let workload = self.workload(&hello.resource)?;
        Ok(Asked { workload, hello })
    }

    fn workload(&self, named: &str) -> Result<Workload, String> {
        let mut meant = self.listeners.called(named);
        match (meant.pop(), meant.as_slice()) {
            (None, _) => Err(format!("no resource with a local endpoint is called `{named}`")),
            (Some(one), []) => Ok(one),
            (Some(last), others) => {
                let ids = others.iter().chain([&last]).map(|workload| workload.id.to_string());
                let ids = ids.collect::<Vec<_>>().join(", ");
                Err(format!("several resources are called `{named}`: {ids}"))
            }
        }
    }

    async fn welcome(&self, asked: Asked) -> (Welcome, Attached) {
        let Asked { workload, hello } = asked;
        let (metadata, _) =
            self.listeners.lane_inside(&workload, EndpointKind::Imds, METADATA).await;
        let (cloud_shell, _) =
            self.listeners.lane_inside(&workload, EndpointKind::CloudShell, CLOUD_SHELL).await;
        let (mut app_service, mut told) = (None, None);
        let kind = EndpointKind::AppService;
        if workload.bearer.kind.endpoint() == Some(kind) {
            let (lane, header) = self.listeners.lane_inside(&workload, kind, APP_SERVICE).await;
            app_service = Some(lane);
            told = Some(AppService {
                url: keycard_wire::local::url(kind, &APP_SERVICE.to_string()),
                header: header.map(|header| header.expose().to_owned()).unwrap_or_default(),
            });
        }
        let is_news = hello.is_administrator && !self.has_told.swap(true, Ordering::Relaxed);
        let welcome = Welcome {
            resource: workload.id.to_string(),
            authority: self.about.authority.clone(),
            subject_hash: self.about.subject_hash.clone(),
            own_port: self.about.own_port,
            app_service: told,
            covered: self.about.covered.clone(),
            notice: is_news.then(|| ADMINISTRATOR_NOTICE.to_owned()),
        };
        (welcome, Attached { metadata, cloud_shell, app_service, hello })
    }

    async fn take_over(
        &self,
        asked: &Attached,
        hand_over: HandOver,
        descriptors: Vec<OwnedFd>,
        closed: &watch::Receiver<()>,
    ) -> io::Result<()> {
        if descriptors.len() != hand_over.sockets.len() {
            return Err(io::Error::other(
                "sockets were lost on the way; is a limit of open files reached?",
            ));
        }
        let zone = Zone {
            azure: *AZURE.ip(),
            own_domain: self.about.own_domain.clone(),
            others: names(hand_over.names),
        };
        let zone = Arc::new(zone);
        let mut maker = None;
        for (kind, descriptor) in hand_over.sockets.into_iter().zip(descriptors) {
            if kind == Handed::SocketMaker {
                maker = Some(SocketMaker::new(descriptor)?);
            } else if kind == Handed::ResolverUdp {
                let socket = std::net::UdpSocket::from(descriptor);
                socket.set_nonblocking(true)?;
                let socket = UdpSocket::from_std(socket)?;
                tokio::spawn(resolver::answer_udp(socket, Arc::clone(&zone), closed.clone()));
            } else {
                let listener = std::net::TcpListener::from(descriptor);
                self.listen(asked, &kind, listener, &zone, closed.clone())?;
            }
        }
        openings::publish(&asked.hello.publish, maker, closed).await
    }

    fn listen(
        &self,
        asked: &Attached,
        kind: &Handed,
        listener: std::net::TcpListener,
        zone: &Arc<Zone>,
        closed: watch::Receiver<()>,
    ) -> io::Result<()> {
        let https = Arc::clone(&self.https);
        match kind {
            Handed::Metadata => self.listeners.serve_inside(listener, &asked.metadata, closed)?,
            Handed::CloudShell => {
                self.listeners.serve_inside(listener, &asked.cloud_shell, closed)?;
            }
            Handed::AppService => {
                if let Some(lane) = &asked.app_service {
                    self.listeners.serve_inside(listener, lane, closed)?;
                }
            }
            Handed::Azure => {
                let listener = watched(listener)?;
                tokio::spawn(async move { https.serve_azure(listener, closed).await });
            }
            Handed::Own => {
                let listener = watched(listener)?;
                tokio::spawn(async move { https.serve_own(listener, closed).await });
            }
            Handed::ResolverTcp => {
                let listener = watched(listener)?;
                tokio::spawn(resolver::answer_tcp(listener, Arc::clone(zone), closed));
            }
            Handed::Allowed(place) => {
                if let Some(allowed) = asked.hello.allow.get(*place) {
                    let opening = Opening::Outward(allowed.clone());
                    tokio::spawn(openings::relay(watched(listener)?, opening, closed));
                }
            }
            Handed::ResolverUdp | Handed::SocketMaker => {}
        }
        Ok(())
    }
}

/// A listener that was handed over, as this runtime's.
fn watched(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// How long the control socket rests when this process has no descriptor left.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Said to the first administrator.
const ADMINISTRATOR_NOTICE: &str = "the command keeps your capabilities, with which it can leave the sandbox and read \
                                    keycard's keys. Run as an ordinary user what you do not trust that far";

/// What a caller asked for, understood.
struct Asked {
    workload: Workload,
    hello: Hello,
}

/// What answers in a sandbox.
struct Attached {
    metadata: Arc<Lane>,
    cloud_shell: Arc<Lane>,
    app_service: Option<Arc<Lane>>,
    hello: Hello,
}

async fn refuse(caller: &mut UnixStream, words: String) -> io::Result<()> {
    caller.write_all(&protocol::line(&Answer::<Ready>::Refused(words))?).await
}

fn names(handed: Vec<(String, Ipv4Addr)>) -> BTreeMap<String, Ipv4Addr> {
    handed.into_iter().take(protocol::OPENINGS_MAX).collect()
}

#[expect(
    deprecated,
    reason = "an owned descriptor keeps what `register`, which is unsafe to call, asks its caller for"
)]
fn process_of(caller: &UnixStream) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = caller.peer_cred()?.pid().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    AsyncFd::new(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Until the command is gone, and with it all that inherited its control socket: a process that a script leaves in the
/// background keeps the endpoint. What is written meanwhile means nothing.
async fn wait_for_end(caller: &mut UnixStream, process: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let _ended = process.readable().await?;
    let mut ignored = [0; 512];
    while caller.read(&mut ignored).await.unwrap_or(0) > 0 {}
    Ok(())
}
