//! The fast lane of a listener: a request target that was answered before is answered with the same bytes.
//!
//! Everything that a first request is checked for is checked here too; whatever is not plainly a repetition goes to
//! the router.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use keycard_domain::limits;
use keycard_wire::local::LocalEndpoint;
use keycard_wire::local::imds;
use keycard_wire::local::prepared::PreparedAnswer;

/// Answers that are ready, by request target. They are few, and their targets differ in length more often than not: going
/// through them costs less than a hash.
#[derive(Debug, Default)]
pub struct FastLane {
    ready: ArcSwap<Vec<(Box<str>, Arc<Ready>)>>,
}

struct Ready {
    answer: PreparedAnswer,
    /// The body of the last second that was asked in.
    rendered: ArcSwap<(i64, Bytes)>,
}

impl fmt::Debug for Ready {
    /// Without the body, which holds the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("answer", &self.answer).finish_non_exhaustive()
    }
}

/// Cached answers of this process, for the metrics. Counted, not logged one by one.
static CACHED_ANSWERS: AtomicU64 = AtomicU64::new(0);

/// How many answers the fast lanes of this process gave.
pub fn cached_answers() -> u64 {
    CACHED_ANSWERS.load(Ordering::Relaxed)
}

impl FastLane {
    /// The body of the prepared answer to a repeated request at this moment, Unix seconds.
    pub fn answer<B>(
        &self,
        endpoint: &LocalEndpoint,
        request: &Request<B>,
        now: i64,
    ) -> Option<Bytes> {
        let uri = request.uri();
        let target = uri.path_and_query()?.as_str();
        let all = self.ready.load();
        let (_, ready) = all.iter().find(|(known, _)| **known == *target)?;
        let is_repetition = request.method() == Method::GET
            && uri.authority().is_none()
            && is_from_workload(endpoint, request.headers());
        if !is_repetition || !ready.answer.is_good_at(now) {
            return None;
        }
        CACHED_ANSWERS.fetch_add(1, Ordering::Relaxed);
        Some(ready.body_at(now))
    }

    /// Takes in the answer that the router gave to a request target.
    pub fn learn(&self, target: &str, answer: PreparedAnswer) {
        let rendered = ArcSwap::from_pointee((i64::MIN, Bytes::new()));
        let ready = Arc::new(Ready { answer, rendered });
        self.ready.rcu(|known| {
            let mut known = Vec::clone(known);
            known.retain(|(other, _)| **other != *target);
            if known.len() >= limits::CACHED_ANSWERS_PER_ATTACHMENT_MAX {
                known.clear();
            }
            known.push((target.into(), Arc::clone(&ready)));
            known
        });
    }
}

/// The headers of every answer: a copy costs less than to put them in.
static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let server = HeaderValue::from_static(imds::SERVER);
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    HeaderMap::from_iter([(header::SERVER, server), (header::CONTENT_TYPE, json)])
});

/// The answer with this body.
pub fn response(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().clone_from(&HEADERS);
    response
}

impl Ready {
    fn body_at(&self, now: i64) -> Bytes {
        let rendered = self.rendered.load();
        if rendered.0 == now {
            return rendered.1.clone();
        }
        let body = self.answer.body_at(now);
        self.rendered.store(Arc::new((now, body.clone())));
        body
    }
}

static METADATA: HeaderName = HeaderName::from_static("metadata");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The checks of the metadata endpoint's door, on the headers of a repeated request.
fn is_from_workload(endpoint: &LocalEndpoint, headers: &HeaderMap) -> bool {
    let (mut own_hosts, mut marks) = (0, 0);
    for (name, value) in headers {
        let value = value.as_bytes();
        let is_own = |own: &String| value.eq_ignore_ascii_case(own.as_bytes());
        if *name == header::HOST && endpoint.authorities.iter().any(is_own) {
            own_hosts += 1;
        } else if *name == METADATA && value.eq_ignore_ascii_case(b"true") {
            marks += 1;
        } else if *name == header::HOST
            || *name == METADATA
            || *name == X_FORWARDED_FOR
            || *name == header::FORWARDED
            || *name == header::TRANSFER_ENCODING
            || *name == header::CONTENT_LENGTH
        {
            return false;
        }
    }
    own_hosts == 1 && marks == 1
}
