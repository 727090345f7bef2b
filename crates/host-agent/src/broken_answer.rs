//! An answer that breaks off in the middle of its body, as one does whose server dies.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

/// The connection ends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer breaks off")]
struct BreaksOff;

/// A body that says how long it is, and ends at its half.
#[derive(Debug)]
struct HalfBody {
    whole_bytes: u64,
    half: Option<Bytes>,
    /// What there is was handed on, and has to reach the client before the connection ends.
    has_rested: bool,
}

impl hyper::body::Body for HalfBody {
    type Data = Bytes;
    type Error = BreaksOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BreaksOff>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        if !self.has_rested {
            self.has_rested = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(BreaksOff)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.whole_bytes)
    }
}

/// The same answer, whose body breaks off at its half.
pub(crate) async fn break_off(response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    // A face's own answer is whole already; one that is not breaks off before its first byte.
    let whole = body.collect().await.map(|collected| collected.to_bytes()).unwrap_or_default();
    let half = whole.slice(..whole.len() / 2);
    let whole_bytes = u64::try_from(whole.len()).unwrap_or(u64::MAX).max(1);
    let body = HalfBody { whole_bytes, half: Some(half), has_rested: false };
    Response::from_parts(parts, Body::new(body))
}
