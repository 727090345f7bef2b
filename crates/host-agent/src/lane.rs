//! What one listener answers with: the face of its kind, for the workload that it is bound to, and the fast lane before it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use keycard_crypto::secret::Secret;
use keycard_domain::clock::Clock;
use keycard_domain::compute::attachment::EndpointKind;
use keycard_domain::fault::DropMoment;
use keycard_domain::limits;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::token::throttle::Throttle;
use keycard_wire::connection::{self, HeaderNames, Unsent};
use keycard_wire::local::prepared::PreparedAnswer;
use keycard_wire::local::{LocalEndpoint, LocalFace, LocalFaces, has_ambiguous_framing};
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::broken_answer::break_off;
use crate::fast_lane::{self, FastLane};
use crate::faults::Faults;
use crate::node_certificate::NodeCertificate;

/// What one listener answers with.
#[derive(Debug)]
pub(crate) struct Lane {
    kind: EndpointKind,
    bound: ArcSwap<Bound>,
    faces: Arc<LocalFaces>,
    local: LocalFace,
    faults: Arc<Faults>,
}

/// Whose endpoint a lane is, with what was prepared for it.
#[derive(Debug)]
struct Bound {
    endpoint: Arc<LocalEndpoint>,
    fast: Option<FastLane>,
}

/// The body of an answer: prepared, or as a face made it.
type Answered = Either<Full<Bytes>, Body>;

impl Bound {
    fn prepared_answer(&self, request: &Request<Incoming>, clock: &dyn Clock) -> Option<Bytes> {
        self.fast.as_ref()?.answer(&self.endpoint, request, clock.unix_seconds())
    }
}

impl Lane {
    pub(crate) fn new(
        kind: EndpointKind,
        endpoint: Arc<LocalEndpoint>,
        faces: &Arc<LocalFaces>,
        local: &LocalFace,
        faults: &Arc<Faults>,
    ) -> Self {
        let bound = ArcSwap::from_pointee(Self::bind(kind, endpoint, local));
        let (faces, faults) = (Arc::clone(faces), Arc::clone(faults));
        Self { kind, bound, faces, local: local.clone(), faults }
    }

    fn bind(kind: EndpointKind, endpoint: Arc<LocalEndpoint>, local: &LocalFace) -> Bound {
        // Where requests are counted, each has to pass the router.
        let is_fast = kind == EndpointKind::Imds && local.metadata_requests.is_none();
        Bound { endpoint, fast: is_fast.then(FastLane::default) }
    }

    /// The same endpoint, at the same address, of a workload that has another id or another secret now.
    pub(crate) fn rebind(&self, id: &ArmResourceId, header: Option<Secret>) {
        let present = Arc::clone(&self.bound.load().endpoint);
        let endpoint = Arc::new(LocalEndpoint {
            resource: id.clone(),
            authorities: present.authorities.clone(),
            header,
            throttle: Throttle::default(),
        });
        self.bound.store(Arc::new(Self::bind(self.kind, endpoint, &self.local)));
    }

    /// Whoever asks here from now on is refused.
    pub(crate) fn end(&self) {
        let nobody = LocalEndpoint {
            resource: self.bound.load().endpoint.resource.clone(),
            authorities: Vec::new(),
            header: None,
            throttle: Throttle::default(),
        };
        self.bound.store(Arc::new(Self::bind(self.kind, Arc::new(nobody), &self.local)));
    }

    /// Most requests repeat others: they are answered without a task or a lock. What the others need is boxed, so that the
    /// future of these is small to move.
    async fn answer(&self, request: Request<Incoming>) -> Response<Answered> {
        if self.faults.are_set() {
            return Box::pin(self.answer_through_faults(request)).await.map(Either::Right);
        }
        let prepared = self.bound.load().prepared_answer(&request, self.local.clock.as_ref());
        match prepared {
            Some(body) => fast_lane::response(body).map(Either::Left),
            None => Box::pin(self.answer_by_face(request)).await.map(Either::Right),
        }
    }

    async fn answer_by_face(&self, request: Request<Incoming>) -> Response<Body> {
        let bound = self.bound.load_full();
        let Some(fast) = &bound.fast else { return self.route(&bound, request).await };
        let target = request.uri().path_and_query().map(|target| target.as_str().to_owned());
        let mut response = self.route(&bound, request).await;
        if let (Some(target), Some(prepared)) =
            (target, response.extensions_mut().remove::<PreparedAnswer>())
        {
            fast.learn(&target, prepared);
        }
        response
    }

    /// Where a fault is set on the workload, nothing is answered from what was prepared.
    async fn answer_through_faults(&self, request: Request<Incoming>) -> Response<Body> {
        let bound = self.bound.load_full();
        match self.faults.drop_of(&bound.endpoint.resource) {
            None => self.route(&bound, request).await,
            Some(DropMoment::MidAnswer) => break_off(self.route(&bound, request).await).await,
            Some(DropMoment::BeforeAnswer) => {
                let mut unsent = Response::new(Body::empty());
                unsent.extensions_mut().insert(Unsent);
                unsent
            }
        }
    }

    async fn route(&self, bound: &Bound, request: Request<Incoming>) -> Response<Body> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&bound.endpoint));
        let is_ambiguous = has_ambiguous_framing(request.headers());
        let mut answer = self.faces.of(self.kind).answer(request).await;
        if is_ambiguous {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// Serves a listener over TLS until it is closed.
pub(crate) async fn accept_tls(
    listener: TcpListener,
    lane: Arc<Lane>,
    closed: watch::Receiver<()>,
    certificate: NodeCertificate,
) {
    let answer = move |request| {
        let lane = Arc::clone(&lane);
        async move { lane.answer(request).await }
    };
    let secure = |stream| certificate.secure(stream);
    let names = HeaderNames::LowerCase;
    connection::serve_http1(connections_max(), listener, closed, names, secure, answer).await;
}

/// Serves a listener until it is closed.
pub(crate) async fn accept(listener: TcpListener, lane: Arc<Lane>, closed: watch::Receiver<()>) {
    accept_up_to(connections_max(), listener, lane, closed).await;
}

/// One endpoint's workload takes at most half of the descriptors that this process may have.
fn connections_max() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 2).unwrap_or(usize::MAX).min(limits::LOCAL_CONNECTIONS_MAX)
}

pub(crate) async fn accept_up_to(
    connections_max: usize,
    listener: TcpListener,
    lane: Arc<Lane>,
    closed: watch::Receiver<()>,
) {
    let is_read_by_shells = lane.kind == EndpointKind::Arc;
    let names = if is_read_by_shells { HeaderNames::TitleCase } else { HeaderNames::LowerCase };
    let answer = move |request| {
        let lane = Arc::clone(&lane);
        async move { lane.answer(request).await }
    };
    let plain = |stream| async { Some(stream) };
    connection::serve_http1(connections_max, listener, closed, names, plain, answer).await;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::challenge_files::ChallengeFiles;
    use async_trait::async_trait;
    use keycard_crypto::bound_certificate::BindingRequest;
    use keycard_crypto::x509::CertificateAuthority;
    use keycard_domain::clock::ManualClock;
    use keycard_domain::compute::machine::{Machine, Machines};
    use keycard_domain::credential::enrolment::{EnrolmentError, IdentityNames};
    use keycard_domain::credential::key_binding::{BindingAddresses, BoundIdentity, KeyBinding};
    use keycard_domain::entropy::SeededEntropy;
    use keycard_domain::operation::OperationContext;
    use keycard_domain::token::source::{
        AccessToken, Selector, TokenError, TokenRequest, TokenSource,
    };
    use keycard_wire::local::authorities;
    use std::net::{Ipv4Addr, SocketAddr};
    use time::{Duration, OffsetDateTime, UtcDateTime};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    pub(crate) const VM: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm";

    #[derive(Debug)]
    struct NoTokens;

    #[async_trait]
    impl TokenSource for NoTokens {
        async fn acquire(
            &self,
            _: &OperationContext,
            _: TokenRequest,
        ) -> Result<AccessToken, TokenError> {
            Err(TokenError::IdentityNotFound)
        }
    }

    #[derive(Debug)]
    struct NoMachines;

    impl Machines for NoMachines {
        fn machine(&self, _: &ArmResourceId) -> Option<Machine> {
            None
        }

        fn sign_document(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }

    #[derive(Debug)]
    struct NoKeyBinding(BindingAddresses);

    impl KeyBinding for NoKeyBinding {
        fn addresses(&self) -> &BindingAddresses {
            &self.0
        }

        fn identity(&self, _: &Machine, _: &Selector) -> Result<BoundIdentity, TokenError> {
            Err(TokenError::IdentityNotFound)
        }

        fn issue(
            &self,
            _: &OperationContext,
            _: &Machine,
            _: IdentityNames,
            _: &BindingRequest,
        ) -> Result<Vec<u8>, EnrolmentError> {
            Err(EnrolmentError::IdentityNotFound)
        }
    }

    pub(crate) fn local() -> LocalFace {
        LocalFace {
            tokens: Arc::new(NoTokens),
            machines: Arc::new(NoMachines),
            key_binding: Arc::new(NoKeyBinding(BindingAddresses {
                token_service: String::new(),
                attestation: String::new(),
            })),
            clock: Arc::new(ManualClock::at(UtcDateTime::UNIX_EPOCH)),
            entropy: Arc::new(SeededEntropy::new(1)),
            challenges: Arc::new(ChallengeFiles::new(
                "/nowhere".into(),
                Arc::new(SeededEntropy::new(1)),
            )),
            metadata_requests: None,
        }
    }

    /// A certificate of an authority that nobody knows.
    pub(crate) fn node_certificate() -> NodeCertificate {
        let (from, until) =
            (OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH + Duration::DAY);
        let authority = CertificateAuthority::generate_tls("localhost", &[], from).unwrap();
        let names = ["localhost".to_owned()];
        let certificate = authority.issue_server_certificate(&names, &[], from, until).unwrap();
        NodeCertificate::new(&certificate).unwrap()
    }

    async fn listen(connections_max: usize) -> (SocketAddr, watch::Sender<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let local = local();
        let faces = Arc::new(LocalFaces::new(&local));
        let endpoint = Arc::new(LocalEndpoint {
            resource: VM.parse().unwrap(),
            authorities: authorities(address.port()),
            header: None,
            throttle: Throttle::default(),
        });
        let faults = Arc::new(Faults::none(Arc::clone(&local.clock)));
        let lane = Arc::new(Lane::new(EndpointKind::Imds, endpoint, &faces, &local, &faults));
        let (open, closed) = watch::channel(());
        tokio::spawn(accept_up_to(connections_max, listener, lane, closed));
        (address, open)
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
    async fn a_connection_beyond_the_bound_waits_until_another_ends() {
        let (address, _open) = listen(1).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        ask(&mut first, address).await;
        assert!(is_answered(&mut first).await);
        let mut second = TcpStream::connect(address).await.unwrap();
        ask(&mut second, address).await;
        ask(&mut first, address).await;
        let mut more = [0; 64];
        assert!(first.read(&mut more).await.unwrap() > 0);
        let early = second.try_read(&mut more).map_err(|error| error.kind());
        assert_eq!(early, Err(std::io::ErrorKind::WouldBlock), "the second is not served yet");
        drop(first);
        assert!(is_answered(&mut second).await);
    }
}
