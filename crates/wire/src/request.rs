//! What every face reads from a request: the path's segments, the query, the body, the ids that follow it.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use keycard_domain::limits;
use keycard_domain::operation::{Caller, OperationContext};
use percent_encoding::percent_decode_str;
use time::UtcDateTime;
use uuid::Uuid;

use crate::route::Entered;

/// Where a request comes from, as its connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Why a path is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A segment is `.` or `..`.
    #[error("the path has a dot segment")]
    DotSegment,
    /// A segment holds an encoded slash, a backslash or a control character, or is no UTF-8.
    #[error("a segment of the path has a character that is not allowed")]
    Character,
    /// The query has more bytes than allowed.
    #[error("the query is too long")]
    QueryTooLong,
}

/// The decoded segments of a path. Empty ones are dropped: `//` and a final `/` mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments(Vec<String>);

impl Segments {
    /// The segments of a request's path, whose query is of a bearable length.
    pub fn of(uri: &http::Uri) -> Result<Self, PathError> {
        if uri.query().is_some_and(|query| query.len() > limits::QUERY_BYTES_MAX) {
            return Err(PathError::QueryTooLong);
        }
        Self::parse(uri.path())
    }

    /// Splits and decodes a path; each segment is decoded once.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        let raw = path.split('/').filter(|segment| !segment.is_empty());
        raw.map(decode_segment).collect::<Result<_, _>>().map(Self)
    }

    /// The segments.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn decode_segment(raw: &str) -> Result<String, PathError> {
    let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| PathError::Character)?;
    if decoded == "." || decoded == ".." {
        return Err(PathError::DotSegment);
    }
    if decoded.contains(|c: char| c.is_control() || c == '/' || c == '\\') {
        return Err(PathError::Character);
    }
    Ok(decoded.into_owned())
}

/// The parameters of a query or form, decoded, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads `a=b&c=d`; names and values may be percent-encoded, and a `+` is a space.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode_form(name), decode_form(value))
                })
                .collect(),
        )
    }

    /// The parameters of a request's query.
    pub fn of(uri: &http::Uri) -> Self {
        Self::parse(uri.query().unwrap_or_default())
    }

    /// The first value of a parameter; names ignore case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter, unless it is empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// How often a name stands.
    pub fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count()
    }

    /// Whether a name stands more than once.
    pub fn has_duplicates(&self) -> bool {
        self.0.iter().enumerate().any(|(index, (name, _))| {
            self.0.iter().skip(index + 1).any(|(other, _)| other.eq_ignore_ascii_case(name))
        })
    }
}

/// Whether a text has the form of a date, `2024-11-01`: what api-versions are made of.
pub(crate) fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

fn decode_form(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It has more bytes than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// It did not come in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection broke.
    #[error("the body is incomplete")]
    Incomplete,
}

/// Reads a body of at most `bytes_max` bytes, within the time that every body has.
pub async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, BodyError> {
    read_body_within(body, bytes_max, limits::BODY_TIME_MAX).await
}

async fn read_body_within(
    body: Body,
    bytes_max: usize,
    time_max: Duration,
) -> Result<Bytes, BodyError> {
    match tokio::time::timeout(time_max, Limited::new(body, bytes_max).collect()).await {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Incomplete),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Reads what is left of a refused request's body, within bounds, and forgets it. A connection that is closed on a client
/// which is still sending breaks before the client has read why it was refused.
pub async fn discard_body(body: &mut Body) {
    let bounded = Limited::new(body, limits::DISCARDED_BODY_BYTES_MAX);
    let mut bounded = std::pin::pin!(bounded);
    let discard = async { while let Some(Ok(_)) = bounded.as_mut().frame().await {} };
    let _ = tokio::time::timeout(limits::DISCARDED_BODY_TIME_MAX, discard).await;
}

/// The ids that follow a request through its answer and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestIds {
    /// Ours.
    pub request_id: Uuid,
    /// The client's, where it gave one.
    pub correlation_id: Uuid,
}

impl RequestIds {
    /// New ids; the correlation id is taken from the named header when a GUID stands there.
    pub fn from_headers(headers: &HeaderMap, correlation_header: &str, request_id: Uuid) -> Self {
        let correlation_id = headers
            .get(correlation_header)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| Uuid::try_parse(text).ok())
            .unwrap_or(request_id);
        Self { request_id, correlation_id }
    }

    /// The ids that the gate gave the request when it came in; new ones where it gave none.
    pub(crate) fn of_entered(parts: &Parts, fresh: impl FnOnce() -> Uuid) -> Self {
        let ids = parts.extensions.get::<Entered>().and_then(|entered| entered.ids);
        ids.unwrap_or_else(|| {
            let fresh = fresh();
            Self { request_id: fresh, correlation_id: fresh }
        })
    }

    /// The context of a request with these ids; what it does is not said yet.
    pub(crate) fn operation(self, caller: Caller, now: UtcDateTime) -> OperationContext {
        let Self { request_id, correlation_id } = self;
        let system = OperationContext::system(now, request_id);
        OperationContext { caller, correlation_id, ..system }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_one_thing_or_is_refused() {
        let segments = |path| Segments::parse(path).map(|segments| segments.0.join("|"));
        assert_eq!(segments("/a//b/"), Ok("a|b".into()));
        assert_eq!(segments("/a%20b/c"), Ok("a b|c".into()));
        assert_eq!(segments("/a/../b"), Err(PathError::DotSegment));
        assert_eq!(segments("/a/%2e%2E/b"), Err(PathError::DotSegment));
        assert_eq!(segments("/a%2fb"), Err(PathError::Character));
        assert_eq!(segments("/a%5cb"), Err(PathError::Character));
        assert_eq!(segments("/a%00b"), Err(PathError::Character));
        assert_eq!(segments("/%ff"), Err(PathError::Character));
        assert_eq!(segments("/a%252fb"), Ok("a%2fb".into()));
    }

    #[test]
    fn parameters_are_decoded_by_name_and_value() {
        let query =
            Parameters::parse("api%2Dversion=7.4&resource=https://vault.azure.net&x=a%2Fb+c&flag");
        assert_eq!(query.get("api-version"), Some("7.4"));
        assert_eq!(query.get("Resource"), Some("https://vault.azure.net"));
        assert_eq!(query.get("x"), Some("a/b c"));
        assert_eq!(query.non_empty("flag"), None);
        assert!(!query.has_duplicates());
        assert!(Parameters::parse("a=1&A=2").has_duplicates());
    }

    #[tokio::test]
    async fn a_body_has_a_largest_size_and_a_longest_time() {
        assert_eq!(read_body(Body::from("12345"), 5).await.as_deref(), Ok(&b"12345"[..]));
        assert_eq!(read_body(Body::from("123456"), 5).await, Err(BodyError::TooLarge));
        let never = Body::new(Pending);
        assert_eq!(read_body_within(never, 5, Duration::ZERO).await, Err(BodyError::TooSlow));
    }

    /// A client that never sends.
    struct Pending;

    impl axum::body::HttpBody for Pending {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
            std::task::Poll::Pending
        }
    }
}
