//! Connections: accepted up to a bound, then HTTP/1.1 or HTTP/2 with bounds on heads, headers, streams and slow clients.
//!
//! What workloads ask a thousand times a second has no timer of its own: one tick a second looks at all connections of a
//! listener.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::HttpBody as Body;
use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use keycard_domain::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{self, AbortHandle, JoinSet};
use tokio::time::{Interval, MissedTickBehavior};

/// How long a listener rests when the process has no descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How often a listener that closes looks which of its connections have answered.
const FINISH_PAUSE: Duration = Duration::from_millis(5);

/// Accepts connections until `stopped` changes or its sender is gone, and waits for those that are open then, within
/// [`limits::STOP_TIME_MAX`]. Beyond the bound, connections wait in the kernel's queue. Each is served with a receiver of its own, by which it hears of the stop.
pub async fn accept_up_to<T, F, R>(
    connections_max: usize,
    listener: TcpListener,
    mut stopped: watch::Receiver<T>,
    serve: F,
) where
    T: Send + Sync + 'static,
    F: Fn(TcpStream, watch::Receiver<T>) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(connections_max));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Answers are small and whole: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let serving = serve(stream, stopped.clone());
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        });
    }
    drop(listener);
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(limits::STOP_TIME_MAX, connections.acquire_many(all)).await;
}

/// Serves a connection of the HTTPS listener, in the version that the client speaks, until the client or the stop
/// ends it; requests under way are answered first.
pub async fn serve<I, F, R, T>(io: I, answer: F, mut stopped: watch::Receiver<T>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Response<axum::body::Body>> + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME_MAX)
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .max_headers(limits::HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX_HTTP2)
        .keep_alive_interval(limits::HEAD_TIME_MAX);
    let asked = Arc::new(Notify::new());
    let hears = Arc::clone(&asked);
    let service = service_fn(move |request| {
        hears.notify_one();
        answered(answer(request))
    });
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    // A broken connection is the client's affair: whatever it asked for was answered or will not be heard.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = silence(&asked) => {}
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(limits::STOP_TIME_MAX, connection).await;
        }
    }
}

/// Ends when no request came in time; the timers of a version of HTTP start only once the version is known.
async fn silence(asked: &Notify) {
    if tokio::time::timeout(limits::HEAD_TIME_MAX, asked.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// How the names of an answer's headers are spelt. Clients that keep to HTTP ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderNames {
    /// `www-authenticate`, which costs least.
    LowerCase,
    /// `Www-Authenticate`, which the command looks for that Microsoft documents for Azure Arc.
    TitleCase,
}

/// How a request is answered.
pub enum Answering<B> {
    /// At once.
    Ready(Response<B>),
    /// When this is over. Boxed: a connection keeps only what most of its requests need.
    Waiting(Pin<Box<dyn Future<Output = Response<B>> + Send>>),
}

/// Serves a listener over HTTP/1.1, which is all that workloads speak at local endpoints, until `closed` changes or its
/// sender is gone; what is being answered then is finished. Beyond the bound, connections wait in the kernel's queue. `secure`
/// makes of what was accepted what is spoken over.
pub async fn serve_http1<T, C, CR, I, F, B>(
    connections_max: usize,
    listener: TcpListener,
    mut closed: watch::Receiver<T>,
    names: HeaderNames,
    secure: C,
    answer: F,
) where
    C: Fn(TcpStream) -> CR,
    CR: Future<Output = Option<I>> + Send + 'static,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> Answering<B> + Clone + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut open = OpenConnections::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if open.count() < connections_max => accepted,
            () = open.attend() => continue,
            _ = closed.changed() => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Answers are small and whole: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let secured = secure(stream);
        open.serve(|activity| serve_one(secured, names, answer.clone(), activity));
    }
    drop(listener);
    let _ = tokio::time::timeout(limits::STOP_TIME_MAX, open.finish()).await;
}

/// Marks an answer of a local endpoint that is not to be sent: the connection ends instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection ends without an answer")]
pub struct Unsent;

impl<B> fmt::Debug for Answering<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready(…)",
            Self::Waiting(_) => "Waiting(…)",
        })
    }
}

/// The error of a body that is not what it was said to be.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The connections of a listener. Dropped with it: then they end.
struct OpenConnections {
    tasks: JoinSet<()>,
    by_task: HashMap<task::Id, (AbortHandle, Arc<Activity>)>,
    seconds: Interval,
    /// Counts the seconds in which there was a connection.
    second: Arc<AtomicU32>,
}

impl OpenConnections {
    fn new() -> Self {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        // Seconds without a connection are not made up for.
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self {
            tasks: JoinSet::new(),
            by_task: HashMap::new(),
            seconds,
            second: Arc::new(AtomicU32::new(0)),
        }
    }

    fn count(&self) -> usize {
        self.by_task.len()
    }

    fn serve<R>(&mut self, serving: impl FnOnce(Arc<Activity>) -> R)
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let activity = Arc::new(Activity {
            waiting_since: AtomicU32::new(self.second.load(Ordering::Relaxed)),
            second: Arc::clone(&self.second),
        });
        let handle = self.tasks.spawn(serving(Arc::clone(&activity)));
        self.by_task.insert(handle.id(), (handle, activity));
    }

    /// The next thing to be done about them: one is over, or another second is. Without a connection, nothing ever is.
    async fn attend(&mut self) {
        if self.by_task.is_empty() {
            return std::future::pending().await;
        }
        tokio::select! {
            Some(ended) = self.tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                self.by_task.remove(&id);
            }
            _ = self.seconds.tick() => self.cut_off_idle(),
        }
    }

    /// Ends those that are waiting for their client at once, and the others when they have answered.
    async fn finish(mut self) {
        let mut looks = tokio::time::interval(FINISH_PAUSE);
        while !self.by_task.is_empty() {
            tokio::select! {
                () = self.attend() => {}
                _ = looks.tick() => self.cut_off(|activity| !activity.is_answering()),
            }
        }
    }

    /// Ends the connections whose client has sent no whole head in [`limits::HEAD_TIME_MAX`].
    fn cut_off_idle(&self) {
        let now = self.second.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.cut_off(|activity| activity.has_waited(now));
    }

    fn cut_off(&self, ends: impl Fn(&Activity) -> bool) {
        let ending = self.by_task.values().filter(|(_, activity)| ends(activity));
        ending.for_each(|(handle, _)| handle.abort());
    }
}

/// Since when a connection waits for its client.
struct Activity {
    /// The listener's second, or [`ANSWERING`].
    waiting_since: AtomicU32,
    second: Arc<AtomicU32>,
}

/// Stands where a second would, while a request is being answered.
const ANSWERING: u32 = u32::MAX;

impl Activity {
    fn is_answering(&self) -> bool {
        self.waiting_since.load(Ordering::Relaxed) == ANSWERING
    }

    fn has_waited(&self, now: u32) -> bool {
        let since = self.waiting_since.load(Ordering::Relaxed);
        let seconds = u64::from(now.saturating_sub(since));
        since != ANSWERING && seconds > limits::HEAD_TIME_MAX.as_secs()
    }

    fn note_answering(&self) {
        self.waiting_since.store(ANSWERING, Ordering::Relaxed);
    }

    fn note_answered(&self) {
        self.waiting_since.store(self.second.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Serves one connection until its client ends it.
async fn serve_one<I, F, B>(
    secured: impl Future<Output = Option<I>>,
    names: HeaderNames,
    answer: F,
    activity: Arc<Activity>,
) where
    I: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>) -> Answering<B>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    let Some(io) = secured.await else { return };
    let service = service_fn(move |request| match answer(request) {
        Answering::Ready(response) => {
            activity.note_answered();
            Either::Left(ready(Ok(response)))
        }
        Answering::Waiting(answering) => {
            let activity = Arc::clone(&activity);
            activity.note_answering();
            Either::Right(Box::pin(async move {
                let answer = answering.await;
                activity.note_answered();
                let is_sent = answer.extensions().get::<Unsent>().is_none();
                is_sent.then_some(answer).ok_or(Unsent)
            }))
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        // Answers are small: copying one costs less than naming its parts to the kernel.
        .writev(false)
        .title_case_headers(names == HeaderNames::TitleCase)
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .max_headers(limits::HEADERS_MAX)
        .serve_connection(TokioIo::new(io), service);
    // A broken connection is the client's affair: whatever it asked for was answered or will not be heard.
    let _ = connection.await;
}

/// An answer as hyper wants it: every request is answered, none fails.
async fn answered<B>(answer: impl Future<Output = Response<B>>) -> Result<Response<B>, Infallible> {
    Ok(answer.await)
}

/// [`limits::HEAD_BYTES_MAX`] in HTTP/2's type.
const HEAD_BYTES_MAX_HTTP2: u32 = {
    assert!(limits::HEAD_BYTES_MAX <= u32::MAX as usize);
    #[expect(clippy::cast_possible_truncation, reason = "asserted on the line above")]
    let bytes = limits::HEAD_BYTES_MAX as u32;
    bytes
};

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// What both kinds of listener say to these bytes until they close the connection.
    async fn answer_to(sent: &[u8]) -> String {
        let answered = || Response::new(Body::from("answered"));
        let (_running, stopped) = watch::channel(());
        let (client, server) = duplex(1024 * 1024);
        let later = move |_| async move { answered() };
        let https = converse(client, sent, serve(server, later, stopped.clone())).await;
        let (client, server) = duplex(1024 * 1024);
        let at_once = move |_| Answering::Ready(answered());
        let local = converse(client, sent, serve_local(server, at_once)).await;
        assert_eq!(https.lines().next(), local.lines().next());
        local
    }

    /// As the listener of a local endpoint serves the one connection that it has.
    async fn serve_local<F>(io: DuplexStream, answer: F)
    where
        F: Fn(Request<Incoming>) -> Answering<Body> + Send + 'static,
    {
        let mut open = OpenConnections::new();
        let names = HeaderNames::LowerCase;
        open.serve(|activity| serve_one(async { Some(io) }, names, answer, activity));
        while open.count() > 0 {
            open.attend().await;
        }
    }

    async fn converse(
        mut client: DuplexStream,
        sent: &[u8],
        serving: impl Future<Output = ()> + Send + 'static,
    ) -> String {
        let serving = tokio::spawn(serving);
        client.write_all(sent).await.unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        serving.await.unwrap();
        String::from_utf8_lossy(&received).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_its_head_slowly_is_cut_off() {
        assert!(!answer_to(b"GET / HTTP/1.1\r\nHost: x\r\n").await.contains("answered"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_too_large_or_has_too_many_headers_is_refused() {
        let long = format!(
            "GET / HTTP/1.1\r\nHost: x\r\na: {}\r\n\r\n",
            "x".repeat(2 * limits::HEAD_BYTES_MAX)
        );
        assert!(!answer_to(long.as_bytes()).await.contains("answered"));
        let many = format!(
            "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
            "a: b\r\n".repeat(limits::HEADERS_MAX + 1)
        );
        assert!(answer_to(many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_or_only_its_version_is_cut_off() {
        for sent in [&b""[..], b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let answer = |_| async { Response::new(Body::from("answered")) };
            let (_running, stopped) = watch::channel(());
            let (client, server) = duplex(1024 * 1024);
            assert!(
                !converse(client, sent, serve(server, answer, stopped)).await.contains("answered")
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_by_itself() {
        let answer = answer_to(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.contains("answered"), "{answer}");
    }

    #[tokio::test]
    async fn a_listener_that_closes_answers_what_it_was_asked_and_nothing_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (close, closed) = watch::channel(());
        let asked = Arc::new(Semaphore::new(0));
        let may_answer = Arc::new(Semaphore::new(0));
        let (noting, waiting) = (Arc::clone(&asked), Arc::clone(&may_answer));
        let answer = move |_| {
            let (asked, may_answer) = (Arc::clone(&noting), Arc::clone(&waiting));
            Answering::Waiting(Box::pin(async move {
                asked.add_permits(1);
                let _ = may_answer.acquire().await;
                Response::new(Body::from("answered"))
            }))
        };
        let plain = |stream| async { Some(stream) };
        let names = HeaderNames::LowerCase;
        let serving = tokio::spawn(serve_http1(8, listener, closed, names, plain, answer));
        let mut idle = TcpStream::connect(address).await.unwrap();
        let mut asking = TcpStream::connect(address).await.unwrap();
        asking.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        asked.acquire().await.unwrap().forget();

        drop(close);
        let mut received = Vec::new();
        assert!(matches!(idle.read_to_end(&mut received).await, Ok(0) | Err(_)));
        may_answer.add_permits(1);
        asking.read_to_end(&mut received).await.unwrap();
        serving.await.unwrap();
        assert!(String::from_utf8_lossy(&received).ends_with("answered"));
    }
}
