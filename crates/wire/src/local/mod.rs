//! Local token endpoints: what a workload finds on its own host. Every one ends in `TokenSource`.
//!
//! Here stands what they share: whose endpoint it is, and the attacks every one of them refuses.

mod api_version;
pub mod app_service;
pub mod arc;
mod attested;
pub mod azure_ml;
pub mod cloud_shell;
mod door;
mod failure;
pub(crate) mod fault;
pub mod imds;
mod instance;
mod key_binding;
mod msi_refusal;
pub mod names;
pub mod prepared;
pub mod service_fabric;
mod token_body;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use keycard_crypto::encoding::hex_decode;
use keycard_crypto::secret::Secret;
use keycard_domain::clock::Clock;
use keycard_domain::compute::attachment::EndpointKind;
use keycard_domain::compute::machine::Machines;
use keycard_domain::credential::key_binding::KeyBinding;
use keycard_domain::entropy::Entropy;
use keycard_domain::limits::Rate;
use keycard_domain::operation::{Caller, OperationContext};
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::token::source::{Freshness, Selector, TokenSource};
use keycard_domain::token::throttle::Throttle;

use self::arc::Challenges;
use self::door::Stray;
use crate::host_names::requested_authority;
use crate::request::{Parameters, RequestIds};
use crate::route::{Face, Row};

/// What the handlers of local endpoints need.
#[derive(Clone, Debug)]
pub struct LocalFace {
    /// Gives the tokens.
    pub tokens: Arc<dyn TokenSource>,
    /// Knows the machines.
    pub machines: Arc<dyn Machines>,
    /// Issues certificates for the keys of workloads.
    pub key_binding: Arc<dyn KeyBinding>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives request ids.
    pub entropy: Arc<dyn Entropy>,
    /// Challenges the callers of Arc endpoints.
    pub challenges: Arc<dyn Challenges>,
    /// Requests per second at one metadata endpoint, where they are limited.
    pub metadata_requests: Option<Rate>,
}

/// The faces of all local endpoints, one for each kind.
#[derive(Debug)]
pub struct LocalFaces {
    imds: Face<LocalFace>,
    app_service: Face<LocalFace>,
    arc: Face<LocalFace>,
    service_fabric: Face<LocalFace>,
    cloud_shell: Face<LocalFace>,
    azure_ml: Face<LocalFace>,
}

impl LocalFaces {
    /// Faces that answer with these tokens.
    pub fn new(local: &LocalFace) -> Self {
        Self {
            imds: imds::face(local.clone()),
            app_service: app_service::face(local.clone()),
            arc: arc::face(local.clone()),
            service_fabric: service_fabric::face(local.clone()),
            cloud_shell: cloud_shell::face(local.clone()),
            azure_ml: azure_ml::face(local.clone()),
        }
    }

    /// The face of a kind.
    pub const fn of(&self, kind: EndpointKind) -> &Face<LocalFace> {
        match kind {
            EndpointKind::Imds => &self.imds,
            EndpointKind::AppService => &self.app_service,
            EndpointKind::Arc => &self.arc,
            EndpointKind::ServiceFabric => &self.service_fabric,
            EndpointKind::CloudShell => &self.cloud_shell,
            EndpointKind::AzureMl => &self.azure_ml,
        }
    }

    /// The rows of all faces, each with the name of its file.
    pub fn rows(&self) -> Vec<(&'static str, Row)> {
        [
            ("imds", &self.imds),
            ("app_service", &self.app_service),
            ("arc", &self.arc),
            ("service_fabric", &self.service_fabric),
            ("cloud_shell", &self.cloud_shell),
            ("azure_ml", &self.azure_ml),
        ]
        .into_iter()
        .flat_map(|(name, face)| face.rows().cloned().map(move |row| (name, row)))
        .collect()
    }
}

/// What a workload is told of its endpoint at this authority: the base for a metadata endpoint, the whole address for the
/// others.
pub fn url(kind: EndpointKind, authority: &str) -> String {
    match kind {
        EndpointKind::Imds => format!("http://{authority}"),
        EndpointKind::AppService => format!("http://{authority}{}", app_service::PATH),
        EndpointKind::Arc => format!("http://{authority}{}", arc::PATH),
        EndpointKind::ServiceFabric => format!("https://{authority}{}", service_fabric::PATH),
        EndpointKind::CloudShell => format!("http://{authority}{}", cloud_shell::PATH),
        EndpointKind::AzureMl => format!("http://{authority}{}", azure_ml::PATH),
    }
}

/// One resource's endpoint. Travels with each request as an extension.
#[derive(Debug)]
pub struct LocalEndpoint {
    /// Whose workloads ask here.
    pub resource: ArmResourceId,
    /// The only authorities it answers to: rebinding a foreign name to its address is of no use.
    pub authorities: Vec<String>,
    /// What a request has to carry, where the protocol asks for it.
    pub header: Option<Secret>,
    /// Counts the requests where they are limited.
    pub throttle: Throttle,
}

impl LocalEndpoint {
    /// Whether these headers hold the secret that only the workload was given. Of several, one that is wrong makes all of
    /// them so: somebody added it.
    pub(crate) fn is_opened_by(&self, headers: &HeaderMap, names: &[&str]) -> bool {
        let Some(secret) = &self.header else { return false };
        let mut presented = names.iter().flat_map(|name| headers.get_all(*name)).peekable();
        presented.peek().is_some()
            && presented.all(|value| value.to_str().is_ok_and(|value| secret.matches(value)))
    }
}

/// The authorities under which a listener at a loopback port is reached.
pub fn authorities(port: u16) -> Vec<String> {
    let mut names = vec![
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        "169.254.169.254".to_owned(),
        "169.254.169.254:80".to_owned(),
    ];
    if port == 80 {
        names.extend(["127.0.0.1".to_owned(), "localhost".to_owned()]);
    }
    names
}

/// Why a request is no request of this endpoint's workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// It is addressed to another name.
    Host,
    /// It was forwarded.
    Forwarded,
    /// Its body is framed in a way that another server might read differently.
    Framing,
    /// It reached no endpoint: a bug in the wiring.
    NoEndpoint,
}

/// Refuses what no workload sends: foreign hosts, forwarded requests, ambiguous framing.
pub(crate) fn check_origin(parts: &Parts) -> Result<Arc<LocalEndpoint>, Stray> {
    let endpoint = parts.extensions.get::<Arc<LocalEndpoint>>().ok_or(Foreign::NoEndpoint)?;
    let authority = requested_authority(parts).ok_or(Foreign::Host)?;
    if !endpoint.authorities.iter().any(|own| own.eq_ignore_ascii_case(&authority)) {
        return Err(Foreign::Host.into());
    }
    if parts.headers.contains_key("x-forwarded-for")
        || parts.headers.contains_key(header::FORWARDED)
    {
        return Err(Foreign::Forwarded.into());
    }
    if has_ambiguous_framing(&parts.headers) {
        return Err(Foreign::Framing.into());
    }
    Ok(Arc::clone(endpoint))
}

/// Whether another server might read the body of a request differently. No workload sends such a one, and its connection
/// ends with the answer: what follows may be a part of the body. Source: RFC 9112, section 6.1.
pub fn has_ambiguous_framing(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).iter().count() > 1
}

static METADATA: HeaderName = HeaderName::from_static("metadata");

/// Whether the header that keeps forged requests out is there. Its value ignores case: the documents write `True` too.
pub(crate) fn has_metadata_header(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(&METADATA).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.as_bytes().eq_ignore_ascii_case(b"true"),
        _ => false,
    }
}

/// The ids of a workload's request.
pub(crate) fn request_ids(face: &LocalFace, headers: &HeaderMap) -> RequestIds {
    RequestIds::from_headers(headers, "x-ms-client-request-id", face.entropy.uuid())
}

/// The context of a workload's request.
pub(crate) fn operation(
    face: &LocalFace,
    endpoint: &LocalEndpoint,
    parts: &Parts,
) -> OperationContext {
    let ids = RequestIds::of_entered(parts, || face.entropy.uuid());
    ids.operation(Caller::Workload(endpoint.resource.clone()), face.clock.now())
}

/// Why the selector parameters select nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SelectorError {
    /// More than one is given.
    Several,
    /// The value can be no identity's.
    NoIdentity,
}

/// The parameters that name an identity by resource id, in every spelling that clients use.
const RESOURCE_ID_NAMES: &[&str] = &["msi_res_id", "mi_res_id", "resource_id"];

/// Reads the selector; an empty value selects nothing, as if it were absent.
pub(crate) fn selector(
    query: &Parameters,
    client_id_name: &str,
    object_id_names: &[&str],
) -> Result<Selector, SelectorError> {
    let first =
        |names: &[&str]| names.iter().find_map(|name| query.non_empty(name)).map(str::to_owned);
    let given =
        |names: &[&str]| names.iter().filter(|name| query.non_empty(name).is_some()).count();
    let client_id = first(&[client_id_name]);
    let object_id = first(object_id_names);
    let resource_id = first(RESOURCE_ID_NAMES);
    if given(&[client_id_name]) + given(object_id_names) + given(RESOURCE_ID_NAMES) > 1 {
        return Err(SelectorError::Several);
    }
    let no_identity = |_| SelectorError::NoIdentity;
    match (client_id, object_id, resource_id) {
        (Some(id), ..) => id.parse().map(Selector::ClientId).map_err(no_identity),
        (_, Some(id), _) => id.parse().map(Selector::PrincipalId).map_err(no_identity),
        (.., Some(id)) => {
            id.parse().map(Selector::ResourceId).map_err(|_| SelectorError::NoIdentity)
        }
        _ => Ok(Selector::Default),
    }
}

/// Whether a kept token will do: not the one whose SHA-256 is given in hexadecimal digits, as it was rejected. What is no
/// SHA-256 is no token's.
pub(crate) fn freshness(query: &Parameters) -> Freshness {
    let rejected = query.non_empty("token_sha256_to_refresh").and_then(hex_decode);
    rejected.map_or(Freshness::Cached, Freshness::Unlike)
}

/// The client's capabilities, of which only CP1 is known: it hears when its token is rejected.
pub(crate) fn capabilities(query: &Parameters) -> Vec<String> {
    let given = query.non_empty("xms_cc").unwrap_or_default();
    let has_cp1 = given.split(',').any(|capability| capability.eq_ignore_ascii_case("CP1"));
    if has_cp1 { vec!["CP1".to_owned()] } else { Vec::new() }
}
