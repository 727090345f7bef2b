//! The faces of a server: what each is made of, which host name leads to which, and the listeners in front of them.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use keycard_crypto::signing_pool::SigningPool;
use keycard_domain::clock::ClockControl;
use keycard_domain::credential::enrolment::LocalEnrolment;
use keycard_domain::credential::key_binding::{BindingAddresses, LocalKeyBinding};
use keycard_domain::limits;
use keycard_domain::state::State;
use keycard_domain::token::audience::{Audiences, Service};
use keycard_domain::token::cluster_issuer::ClusterIssuer;
use keycard_domain::token::federation::IssuerKeys;
use keycard_domain::token::issuer::{Addresses, Issuer};
use keycard_domain::token::verify::TokenVerifier;
use keycard_host_agent::challenge_files::ChallengeFiles;
use keycard_host_agent::credential_store::CredentialStore;
use keycard_host_agent::endpoint_thread::EndpointThread;
use keycard_host_agent::faults::Faults;
use keycard_host_agent::faulty_source::FaultySource;
use keycard_host_agent::listen::Listeners;
use keycard_host_agent::node_certificate::NodeCertificate;
use keycard_host_agent::projected_tokens::TokenFiles;
use keycard_host_agent::token_source::HostTokenSource;
use keycard_wire::arm::{self, Arm};
use keycard_wire::authorize::{self, Authorize};
use keycard_wire::cluster_issuer::{self, ClusterIssuers};
use keycard_wire::connection::{self, Answering};
use keycard_wire::entra::{self, Entra};
use keycard_wire::graph::{self, Graph};
use keycard_wire::host_names::{
    ATTESTATION, FaceName, HostNames, MTLS_LOGIN, host_of, requested_authority,
};
use keycard_wire::key_vault::{self, KeyVault, VaultName};
use keycard_wire::local::{LocalFace, LocalFaces};
use keycard_wire::request::{ClientAddress, Segments, discard_body};
use keycard_wire::route::{Answer, Row};
use keycard_wire::unbuilt;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

use super::hosts::Host;
use super::{Options, StartError, other};
use crate::clock_control::Turning;
use crate::document_signing::DocumentSigning;
use crate::handshake::{Handshakes, client_certificate};
use crate::health::Health;
use crate::host_view::LocalHostView;
use crate::metrics::Metrics;

/// The faces of the HTTPS listeners, and the host side behind the local ones.
#[derive(Debug)]
pub(super) struct Faces {
    own: PublicFaces,
    azure: PublicFaces,
    pub(super) host: Host,
    pub(super) metrics: Metrics,
    local_rows: Vec<(&'static str, Row)>,
}

/// Where faces are met: their addresses are those that clients know there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// At the server's own port.
    Own,
    /// At Azure's names and HTTPS's own port, in a sandbox.
    Azure,
}

/// The faces of an HTTPS listener.
#[derive(Debug)]
struct PublicFaces {
    names: HostNames,
    arm: Box<dyn Answer>,
    entra: Box<dyn Answer>,
    graph: Box<dyn Answer>,
    key_vault: Box<dyn Answer>,
    authorize: Box<dyn Answer>,
    cluster_issuer: Box<dyn Answer>,
}

/// What the audiences of this keycard's own domain are called.
fn own_audiences(names: &HostNames) -> Audiences {
    Audiences::new(vec![
        (names.url("management"), Service::ResourceManager),
        (names.loopback_url(), Service::ResourceManager),
        (names.url("vault"), Service::KeyVault),
        (names.url("storage"), Service::Storage),
        (names.url("database"), Service::Sql),
        (names.url("graph"), Service::Graph),
    ])
}

/// The addresses under which assertions name the token service.
fn token_services(names: &HostNames) -> Vec<String> {
    let azure = ["login.microsoftonline.com", "login.windows.net", "sts.windows.net"];
    let azure_here = azure.map(|host| format!("https://{}", names.authority(host)));
    let mut all = vec![names.url("login"), names.loopback_url()];
    all.push(format!("https://{}", names.authority("127.0.0.1")));
    all.extend(azure_here);
    all.extend(azure.map(|host| format!("https://{host}")));
    all.dedup();
    all
}

impl Faces {
    pub(super) fn mount(
        state: &Arc<State>,
        names: &HostNames,
        options: &Options,
        health: Arc<Health>,
        (certificate, signing): (NodeCertificate, Arc<DocumentSigning>),
    ) -> Result<Self, StartError> {
        let audiences = own_audiences(names);
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let signers = SigningPool::start(threads, limits::SIGNING_QUEUE_MAX);
        let clusters = Arc::new(ClusterIssuer::new(
            Arc::clone(state),
            names.url(cluster_issuer::HOST),
            options.issuers.keys().map_err(other)?,
        ));
        let issuer = Arc::new(Issuer::new(
            Arc::clone(state),
            signers,
            audiences.clone(),
            Addresses { token_services: token_services(names), graph: names.url("graph") },
            Arc::clone(&clusters) as Arc<dyn IssuerKeys>,
        ));
        let verifier = Arc::new(TokenVerifier::new(audiences));
        let view = Arc::new(LocalHostView {
            state: Arc::clone(state),
            token_service: names.url("login"),
            signing,
        });
        let key_binding = Arc::new(LocalKeyBinding {
            state: Arc::clone(state),
            addresses: BindingAddresses {
                token_service: names.url(MTLS_LOGIN),
                attestation: names.url(ATTESTATION),
            },
        });
        let credentials = Arc::new(CredentialStore::new(
            Arc::new(LocalEnrolment(Arc::clone(state))),
            Arc::clone(&state.clock),
            Arc::clone(&state.entropy),
        ));
        let tokens =
            Arc::new(HostTokenSource::new(view.clone(), issuer.clone(), Arc::clone(&credentials)));
        let faults =
            Arc::new(Faults::new(state.faults.clone(), view.clone(), Arc::clone(&state.clock)));
        let local = LocalFace {
            tokens: Arc::new(FaultySource::new(tokens.clone(), Arc::clone(&faults))),
            machines: view.clone(),
            key_binding,
            clock: Arc::clone(&state.clock),
            entropy: Arc::clone(&state.entropy),
            challenges: Arc::new(ChallengeFiles::new(
                options.places.arc_tokens.clone(),
                Arc::clone(&state.entropy),
            )),
            metadata_requests: state.limits.metadata_requests,
        };
        let local_rows = LocalFaces::new(&local).rows();
        let link_local = options.link_local.clone();
        let thread = EndpointThread::start().map_err(other)?;
        let listeners = Listeners::new(view, local, faults, thread, link_local, certificate);
        let listeners = Arc::new(listeners);
        let directory = options.places.run_directory(names.port()).join("tokens");
        let token_files = Arc::new(TokenFiles::new(directory, clusters.clone()));
        let host = Host {
            listeners: Arc::clone(&listeners),
            tokens,
            credentials,
            token_files: Arc::clone(&token_files),
        };
        let clock_control = options.turnable_clock.clone().map(|clock| {
            let (state, host) = (Arc::clone(state), host.clone());
            Arc::new(Turning { clock, state, host, turn: Mutex::new(()) }) as Arc<dyn ClockControl>
        });
        let public = |names: HostNames| {
            let (state, verifier) = (Arc::clone(state), Arc::clone(&verifier));
            let arm = arm::face(Arm {
                state: Arc::clone(&state),
                verifier: Arc::clone(&verifier),
                names: names.clone(),
                attachments: listeners.clone(),
                clusters: Arc::clone(&clusters),
                projected_tokens: token_files.clone(),
                clock_control: clock_control.clone(),
                for_development: options.for_development,
            });
            let entra = entra::face(Entra {
                state: Arc::clone(&state),
                tokens: issuer.clone(),
                names: names.clone(),
            });
            let authorize = authorize::face(Authorize {
                state: Arc::clone(&state),
                verifier: Arc::clone(&verifier),
                names: names.clone(),
            });
            let graph = graph::face(Graph {
                state: Arc::clone(&state),
                verifier: Arc::clone(&verifier),
                names: names.clone(),
            });
            let cluster_issuer = cluster_issuer::face(ClusterIssuers {
                issuer: clusters.clone(),
                clock: Arc::clone(&state.clock),
                entropy: Arc::clone(&state.entropy),
            });
            let key_vault = key_vault::face(KeyVault { state, verifier, names: names.clone() });
            PublicFaces {
                names,
                arm: Box::new(arm),
                entra: Box::new(entra),
                graph: Box::new(graph),
                key_vault: Box::new(key_vault),
                authorize: Box::new(authorize),
                cluster_issuer: Box::new(cluster_issuer),
            }
        };
        Ok(Self {
            own: public(names.clone()),
            azure: public(HostNames::new(names.domain(), 443)),
            host,
            metrics: Metrics::new(Arc::clone(state), health),
            local_rows,
        })
    }

    pub(super) fn rows(&self) -> Vec<(&'static str, Row)> {
        let mut rows = self.own.rows();
        rows.extend(self.local_rows.iter().cloned());
        rows
    }

    /// Leads a request to the face that its host means.
    async fn answer(&self, at: At, request: Request<Incoming>) -> Response {
        let faces = match at {
            At::Own => &self.own,
            At::Azure => &self.azure,
        };
        let (name, response) = faces.answer(request).await;
        self.metrics.count(name, response.status());
        response
    }
}

impl PublicFaces {
    fn rows(&self) -> Vec<(&'static str, Row)> {
        let of = |face: &'static str, answer: &dyn Answer| {
            answer.rows().into_iter().map(move |row| (face, row)).collect::<Vec<_>>()
        };
        let mut rows = of("arm", self.arm.as_ref());
        rows.extend(of("entra", self.entra.as_ref()));
        rows.extend(of("graph", self.graph.as_ref()));
        rows.extend(of("key_vault", self.key_vault.as_ref()));
        rows.extend(of("authorize", self.authorize.as_ref()));
        rows.extend(of("cluster_issuer", self.cluster_issuer.as_ref()));
        rows
    }

    /// The face that a request's host means, and its answer.
    async fn answer(&self, request: Request<Incoming>) -> (&'static str, Response) {
        let (parts, body) = request.into_parts();
        let authority = requested_authority(&parts).unwrap_or_default();
        let host = host_of(&authority).unwrap_or_default();
        let mut request = Request::from_parts(parts, Body::new(body));
        let face = self.names.face(&host);
        let is_unbuilt = matches!(
            face,
            None | Some(FaceName::Blob(_) | FaceName::Portal | FaceName::Attestation)
        );
        if is_unbuilt {
            discard_body(request.body_mut()).await;
        }
        match face {
            None => ("none", unbuilt::unknown_host(&host)),
            Some(FaceName::Loopback) => self.answer_by_path(request).await,
            Some(FaceName::ResourceManager) => ("arm", self.arm.answer(request).await),
            Some(FaceName::TokenService) => ("entra", self.entra.answer(request).await),
            Some(FaceName::KeyVault(vault)) => {
                request.extensions_mut().insert(VaultName(vault));
                ("key_vault", self.key_vault.answer(request).await)
            }
            Some(FaceName::Authorize) => ("authorize", self.authorize.answer(request).await),
            Some(FaceName::ClusterIssuer) => {
                ("cluster_issuer", self.cluster_issuer.answer(request).await)
            }
            Some(FaceName::Graph) => ("graph", self.graph.answer(request).await),
            Some(FaceName::Blob(_)) => ("blob", unbuilt::blob()),
            Some(FaceName::Portal) => ("portal", unbuilt::portal()),
            Some(FaceName::Attestation) => ("attestation", unbuilt::attestation()),
        }
    }

    /// `https://localhost` reaches Resource Manager, token service and Graph by path.
    async fn answer_by_path(&self, request: Request<Body>) -> (&'static str, Response) {
        // Decoded as the faces decode it, or the same path would mean one thing here and another at a face's own name. What
        // is no path is refused by the face that its first segment means.
        let path = request.uri().path();
        let decoded = Segments::parse(path).ok().and_then(|all| all.as_slice().first().cloned());
        let written = || path.split('/').find(|segment| !segment.is_empty()).map(str::to_owned);
        let first = decoded.or_else(written).unwrap_or_default();
        match first.to_ascii_lowercase().as_str() {
            "" | "metadata" | "subscriptions" | "providers" | "tenants" => {
                ("arm", self.arm.answer(request).await)
            }
            "authorize" => ("authorize", self.authorize.answer(request).await),
            "v1.0" | "beta" => ("graph", self.graph.answer(request).await),
            _ => ("entra", self.entra.answer(request).await),
        }
    }
}

pub(super) async fn serve_https<T: Send + Sync + 'static>(
    connections_max: usize,
    listener: TcpListener,
    handshakes: Arc<Handshakes>,
    faces: Arc<Faces>,
    at: At,
    stopped: watch::Receiver<T>,
) {
    connection::accept_up_to(connections_max, listener, stopped, |stream, stopped| {
        let (handshakes, faces) = (Arc::clone(&handshakes), Arc::clone(&faces));
        let client = stream.peer_addr().ok().map(|address| ClientAddress(address.ip()));
        async move {
            let handshake = handshakes.accept(stream);
            let handshake = tokio::time::timeout(limits::HANDSHAKE_TIME_MAX, handshake);
            let Ok(Ok(stream)) = handshake.await else { return };
            let certificate = client_certificate(&stream);
            let answer = move |mut request: Request<Incoming>| {
                let faces = Arc::clone(&faces);
                let extensions = request.extensions_mut();
                client.map(|client| extensions.insert(client));
                certificate.clone().map(|certificate| extensions.insert(certificate));
                async move { faces.answer(at, request).await }
            };
            connection::serve(stream, answer, stopped).await;
        }
    })
    .await;
}

pub(super) async fn serve_metrics(
    listener: TcpListener,
    faces: Arc<Faces>,
    stopped: watch::Receiver<bool>,
) {
    let answer = move |request: Request<Incoming>| {
        Answering::Ready(faces.metrics.answer(&request.map(Body::new)))
    };
    let plain = |stream| async { Some(stream) };
    let connections_max = limits::METRICS_CONNECTIONS_MAX;
    let names = connection::HeaderNames::LowerCase;
    connection::serve_http1(connections_max, listener, stopped, names, plain, answer).await;
}
