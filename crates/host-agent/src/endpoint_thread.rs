//! The thread on which the local endpoints of this host are served.
//!
//! Most of what workloads ask is answered with bytes that are ready. To wake another thread for that costs more than the
//! answer, so all connections share one that sleeps only when nobody asks. What takes work is given to the server's workers.

use std::future::{Future, Ready, ready};
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use keycard_domain::limits;
use keycard_wire::connection;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{self, Handle};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::lane::Lane;
use crate::node_certificate::NodeCertificate;

/// As many connections as wait to be accepted. The kernel may hold it to fewer.
const BACKLOG: u32 = 1024;

/// Serves local endpoints until it is dropped.
#[derive(Debug)]
pub struct EndpointThread {
    endpoints: Handle,
    /// A listener each.
    serving: Mutex<JoinSet<()>>,
    /// Dropped with this: the thread ends.
    _running: oneshot::Sender<()>,
}

impl EndpointThread {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// The system gives no thread, or nothing to wait with.
    pub fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let endpoints = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        let serve = move || drop(runtime.block_on(ended));
        thread::Builder::new().name("local-endpoints".to_owned()).spawn(serve)?;
        Ok(Self { endpoints, serving: Mutex::default(), _running: running })
    }

    /// A listener of the thread.
    pub(crate) fn bind(&self, address: SocketAddrV4) -> io::Result<TcpListener> {
        let _inside = self.endpoints.enter();
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::V4(address))?;
        socket.listen(BACKLOG)
    }

    /// A listener that was made elsewhere, as one of the thread.
    pub(crate) fn adopt(&self, listener: std::net::TcpListener) -> io::Result<TcpListener> {
        let _inside = self.endpoints.enter();
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    /// Serves a listener until it is closed.
    pub(crate) fn serve(
        &self,
        listener: TcpListener,
        lane: Arc<Lane>,
        closed: watch::Receiver<()>,
    ) {
        self.accept(connections_max(), listener, lane, closed, plain);
    }

    /// Serves a listener over TLS until it is closed.
    pub(crate) fn serve_tls(
        &self,
        listener: TcpListener,
        lane: Arc<Lane>,
        closed: watch::Receiver<()>,
        certificate: NodeCertificate,
    ) {
        let workers = lane.workers().clone();
        let secure = move |stream| {
            let mut handshake = JoinSet::new();
            handshake.spawn_on(certificate.secure(stream), &workers);
            async move { handshake.join_next().await?.ok().flatten() }
        };
        self.accept(connections_max(), listener, lane, closed, secure);
    }

    fn accept<C, R, I>(
        &self,
        connections_max: usize,
        listener: TcpListener,
        lane: Arc<Lane>,
        closed: watch::Receiver<()>,
        secure: C,
    ) where
        C: Fn(TcpStream) -> R + Send + 'static,
        R: Future<Output = Option<I>> + Send + 'static,
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let names = lane.header_names();
        let answer = move |request| lane.answer(request);
        let listening =
            connection::serve_http1(connections_max, listener, closed, names, secure, answer);
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        while serving.try_join_next().is_some() {}
        serving.spawn_on(listening, &self.endpoints);
    }

    /// Waits until all listeners have ended, which they do some time after they are closed.
    pub(crate) async fn finish(&self) {
        let mut serving = {
            let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *serving)
        };
        while serving.join_next().await.is_some() {}
    }
}

fn plain(stream: TcpStream) -> Ready<Option<TcpStream>> {
    ready(Some(stream))
}

/// One endpoint's workload takes at most half of the descriptors that this process may have.
fn connections_max() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 2).unwrap_or(usize::MAX).min(limits::LOCAL_CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::tests::imds_lane;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A thread with a machine's endpoint.
    fn serving(connections_max: usize) -> (EndpointThread, SocketAddr, watch::Sender<()>) {
        let thread = EndpointThread::start().unwrap();
        let listener = thread.bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (open, closed) = watch::channel(());
        thread.accept(connections_max, listener, imds_lane(address.port()), closed, plain);
        (thread, address, open)
    }

    async fn ask(stream: &mut TcpStream, address: SocketAddr) {
        let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }

    async fn is_answered(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.is_ok() && &answer == b"HTTP/1.1 400"
    }

    #[tokio::test]
    async fn what_it_serves_ends_with_it() {
        let (thread, address, _open) = serving(connections_max());
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, address).await;
        assert!(is_answered(&mut stream).await);
        drop(thread);
        let _ = stream.read_to_end(&mut Vec::new()).await;
        // The listener ends beside its connections.
        let refused = loop {
            match TcpStream::connect(address).await {
                Ok(mut last) => drop(last.read_to_end(&mut Vec::new()).await),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_connection_beyond_the_bound_waits_until_another_ends() {
        let (_thread, address, _open) = serving(1);
        let mut first = TcpStream::connect(address).await.unwrap();
        ask(&mut first, address).await;
        assert!(is_answered(&mut first).await);
        let mut second = TcpStream::connect(address).await.unwrap();
        ask(&mut second, address).await;
        ask(&mut first, address).await;
        let mut more = [0; 64];
        assert!(first.read(&mut more).await.unwrap() > 0);
        let early = second.try_read(&mut more).map_err(|error| error.kind());
        assert_eq!(early, Err(io::ErrorKind::WouldBlock), "the second is not served yet");
        drop(first);
        assert!(is_answered(&mut second).await);
    }
}
