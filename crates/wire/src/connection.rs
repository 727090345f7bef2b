//! Connections: accepted up to a bound, then HTTP/1.1 or HTTP/2 with bounds on heads, headers, streams and slow clients.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use keycard_domain::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// How long a listener rests when the process has no descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts connections until `stopped` changes or its sender is gone. Beyond the bound, connections wait in the kernel's
/// queue. Each is served with a receiver of its own, by which it hears of the stop.
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
            _ = stopped.changed() => return,
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
}

/// Serves a connection of the HTTPS listener, in the version that the client speaks, until the client or the stop
/// ends it; requests under way are answered first.
pub async fn serve<I, F, R, T>(io: I, answer: F, mut stopped: watch::Receiver<T>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Response> + Send + 'static,
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
    let service = service_fn(move |request| answered(answer(request)));
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    // A broken connection is the client's affair: whatever it asked for was answered or will not be heard.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(limits::BODY_TIME_MAX, connection).await;
        }
    }
}

/// Serves a connection of a local endpoint: HTTP/1.1, which is all that workloads speak there.
pub async fn serve_http1<I, F, R, T>(io: I, answer: F, mut stopped: watch::Receiver<T>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Response> + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME_MAX)
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .max_headers(limits::HEADERS_MAX);
    let service = service_fn(move |request| answered(answer(request)));
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(limits::BODY_TIME_MAX, connection).await;
        }
    }
}

/// An answer as hyper wants it: every request is answered, none fails.
async fn answered(answer: impl Future<Output = Response>) -> Result<Response, Infallible> {
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
        let answer = |_| async { Response::new(Body::from("answered")) };
        let (_running, stopped) = watch::channel(());
        let (client, server) = duplex(1024 * 1024);
        let https = converse(client, sent, serve(server, answer, stopped.clone())).await;
        let (client, server) = duplex(1024 * 1024);
        let local = converse(client, sent, serve_http1(server, answer, stopped)).await;
        assert_eq!(https.lines().next(), local.lines().next());
        local
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
    async fn an_idle_connection_ends_by_itself() {
        let answer = answer_to(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.contains("answered"), "{answer}");
    }
}
