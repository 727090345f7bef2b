//! What one listener answers with: the face of its kind, for the workload that it is bound to, and the fast lane before it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use keycard_crypto::secret::Secret;
use keycard_domain::compute::attachment::EndpointKind;
use keycard_domain::fault::DropMoment;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::token::throttle::Throttle;
use keycard_wire::connection::{Answering, HeaderNames, Unsent};
use keycard_wire::local::prepared::PreparedAnswer;
use keycard_wire::local::{LocalEndpoint, LocalFace, LocalFaces, has_ambiguous_framing};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::broken_answer::break_off;
use crate::fast_lane::{self, FastLane};
use crate::faults::Faults;

/// What one listener answers with.
#[derive(Debug)]
pub(crate) struct Lane {
    kind: EndpointKind,
    bound: ArcSwap<Bound>,
    host: Arc<HostFaces>,
}

/// What all lanes of this host answer with.
#[derive(Debug)]
pub(crate) struct HostFaces {
    pub(crate) local: LocalFace,
    faces: LocalFaces,
    faults: Arc<Faults>,
    /// They answer what takes work.
    workers: Handle,
}

impl HostFaces {
    /// The workers are those of the runtime that this is called in.
    pub(crate) fn new(local: LocalFace, faults: Arc<Faults>) -> Self {
        let faces = LocalFaces::new(&local);
        Self { local, faces, faults, workers: Handle::current() }
    }
}

/// Whose endpoint a lane is, with what was prepared for it.
#[derive(Debug)]
struct Bound {
    endpoint: Arc<LocalEndpoint>,
    fast: Option<FastLane>,
}

/// The body of an answer: prepared, or as a face made it.
pub(crate) type Answered = Either<Full<Bytes>, Body>;

impl Lane {
    pub(crate) fn new(
        kind: EndpointKind,
        endpoint: Arc<LocalEndpoint>,
        host: &Arc<HostFaces>,
    ) -> Self {
        let bound = ArcSwap::from_pointee(Self::bind(kind, endpoint, host));
        Self { kind, bound, host: Arc::clone(host) }
    }

    fn bind(kind: EndpointKind, endpoint: Arc<LocalEndpoint>, host: &HostFaces) -> Bound {
        // Where requests are counted, each has to pass the router.
        let is_fast = kind == EndpointKind::Imds && host.local.metadata_requests.is_none();
        Bound { endpoint, fast: is_fast.then(FastLane::default) }
    }

    /// How its answers are written: what asks at Arc endpoints may be a shell script.
    pub(crate) fn header_names(&self) -> HeaderNames {
        let is_read_by_shells = self.kind == EndpointKind::Arc;
        if is_read_by_shells { HeaderNames::TitleCase } else { HeaderNames::LowerCase }
    }

    /// Who answers what takes work.
    pub(crate) fn workers(&self) -> &Handle {
        &self.host.workers
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
        self.bound.store(Arc::new(Self::bind(self.kind, endpoint, &self.host)));
    }

    /// Nothing that was answered until now is answered again without a look.
    pub(crate) fn forget_answers(&self) {
        let endpoint = Arc::clone(&self.bound.load().endpoint);
        self.bound.store(Arc::new(Self::bind(self.kind, endpoint, &self.host)));
    }

    /// Whoever asks here from now on is refused.
    pub(crate) fn end(&self) {
        let nobody = LocalEndpoint {
            resource: self.bound.load().endpoint.resource.clone(),
            authorities: Vec::new(),
            header: None,
            throttle: Throttle::default(),
        };
        self.bound.store(Arc::new(Self::bind(self.kind, Arc::new(nobody), &self.host)));
    }

    /// Most requests repeat others: they are answered at once, without a task or a lock.
    pub(crate) fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Answering<Answered> {
        let body = if self.host.faults.are_set() { None } else { self.prepared(&request) };
        match body {
            Some(body) => Answering::Ready(fast_lane::response(body).map(Either::Left)),
            None => {
                let answering = Arc::clone(self).answer_by_worker(request);
                Answering::Waiting(Box::pin(async { answering.await.map(Either::Right) }))
            }
        }
    }

    fn prepared(&self, request: &Request<Incoming>) -> Option<Bytes> {
        let bound = self.bound.load();
        let fast = bound.fast.as_ref()?;
        fast.answer(&bound.endpoint, request, self.host.local.clock.unix_seconds())
    }

    /// A client that goes away takes its request back.
    async fn answer_by_worker(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let host = Arc::clone(&self.host);
        let mut task = JoinSet::new();
        task.spawn_on(async move { self.answer_with_work(request).await }, &host.workers);
        let answer = task.join_next().await.and_then(Result::ok);
        answer.unwrap_or_else(unsent)
    }

    async fn answer_with_work(&self, request: Request<Incoming>) -> Response<Body> {
        if self.host.faults.are_set() {
            self.answer_through_faults(request).await
        } else {
            self.answer_by_face(request).await
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
        match self.host.faults.drop_of(&bound.endpoint.resource) {
            None => self.route(&bound, request).await,
            Some(DropMoment::MidAnswer) => break_off(self.route(&bound, request).await).await,
            Some(DropMoment::BeforeAnswer) => unsent(),
        }
    }

    async fn route(&self, bound: &Bound, request: Request<Incoming>) -> Response<Body> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&bound.endpoint));
        let is_ambiguous = has_ambiguous_framing(request.headers());
        let mut answer = self.host.faces.of(self.kind).answer(request).await;
        if is_ambiguous {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

fn unsent() -> Response<Body> {
    let mut unsent = Response::new(Body::empty());
    unsent.extensions_mut().insert(Unsent);
    unsent
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::challenge_files::ChallengeFiles;
    use crate::node_certificate::NodeCertificate;
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
    use time::{Duration, OffsetDateTime, UtcDateTime};

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

    /// A machine's, at a loopback port.
    pub(crate) fn imds_lane(port: u16) -> Arc<Lane> {
        let local = local();
        let faults = Arc::new(Faults::none(Arc::clone(&local.clock)));
        let endpoint = LocalEndpoint {
            resource: VM.parse().unwrap(),
            authorities: authorities(port),
            header: None,
            throttle: Throttle::default(),
        };
        let host = Arc::new(HostFaces::new(local, faults));
        Arc::new(Lane::new(EndpointKind::Imds, Arc::new(endpoint), &host))
    }
}
