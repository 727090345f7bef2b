//! One connection: HTTP/1.1 or HTTP/2 with bounds on heads, headers, streams and slow clients.

use std::convert::Infallible;
use std::future::Future;

use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use keycard_domain::limits;
use tokio::io::{AsyncRead, AsyncWrite};

/// Serves a connection until the client or the shutdown ends it; requests under way are answered first.
pub async fn serve<I, F, R>(io: I, answer: F, shutdown: impl Future<Output = ()>)
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
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection, shutdown);
    // A broken connection is the client's affair: whatever it asked for was answered or will not be heard.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = shutdown.as_mut() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(limits::BODY_TIME_MAX, connection).await;
        }
    }
}

/// [`limits::HEAD_BYTES_MAX`] in HTTP/2's type.
const HEAD_BYTES_MAX_HTTP2: u32 = {
    assert!(limits::HEAD_BYTES_MAX <= u32::MAX as usize);
    #[expect(clippy::cast_possible_truncation, reason = "asserted on the line above")]
    let bytes = limits::HEAD_BYTES_MAX as u32;
    bytes
};
