//! Azure Resource Manager's face: its front door and its rows. One file per resource type beside this one.
//!
//! Order at the door: token → tenant → api-version → authorization → what is above → conditions of a read → locks; who
//! may not ask learns nothing about what there is. Source: Azure Resource Manager REST API; observed errors of its front door.

mod access;
mod activity_log;
mod associated_resources;
mod async_operations;
mod attachments;
mod attributes;
mod body;
mod clock;
mod compute;
mod condition;
mod container_apps;
mod deny_assignments;
mod deployments;
mod diagnostic_settings;
mod error;
mod explanations;
mod faults;
mod federated_identity_credentials;
mod filter;
mod forge;
mod front_door;
mod generic_resources;
mod hybrid_machines;
mod identity;
mod identity_operations;
mod image_versions;
mod locks;
mod managed_clusters;
mod managed_hsms;
mod management_groups;
mod metadata;
mod moves;
mod projected_tokens;
mod providers;
mod resource_body;
mod resource_groups;
mod resources;
mod role_assignments;
mod role_definitions;
mod signing_keys;
mod sites;
mod sql_administrators;
mod storage_accounts;
mod subscription_aliases;
mod subscriptions;
mod tags;
mod tenants;
mod user_assigned_identities;
mod vault_access_policies;
mod vault_names;
mod vault_secrets;
mod vaults;
mod virtual_machine_scale_sets;
mod virtual_machines;
mod visibility;

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use keycard_crypto::secret::Secret;
use keycard_domain::clock::ClockControl;
use keycard_domain::compute::attachment::Attachments;
use keycard_domain::directory::{Tenant, directory_role};
use keycard_domain::limits;
use keycard_domain::operation::{Caller, OperationContext, Principal};
use keycard_domain::rbac::{self, Attributes, Decision, Plane, Question, RbacScope, Reason};
use keycard_domain::records::Versioned;
use keycard_domain::resources::{lock, require_scope};
use keycard_domain::state::{State, WriteError};
use keycard_domain::token::audience::Service;
use keycard_domain::token::cluster_issuer::{ClusterIssuer, ProjectedTokens};
use keycard_domain::token::verify::{BearerError, PresentedToken, TokenVerifier};
use time::UtcDateTime;
use time::macros::format_description;
use uuid::Uuid;

use crate::bearer;
use crate::host_names::HostNames;
use crate::request::{Parameters, RequestIds, is_date};
use crate::route::{Access, Entered, Face, Gate, Params, PathRefusal, Route, Row, route};
use error::{ArmError, Forbidden};
use front_door::Namespaces;

/// What the face's handlers need.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Reads and writes resources.
    pub state: Arc<State>,
    /// Verifies tokens.
    pub verifier: Arc<TokenVerifier>,
    /// Names the face's own addresses.
    pub names: HostNames,
    /// This node's local endpoints.
    pub attachments: Arc<dyn Attachments>,
    /// The issuer of the clusters' service accounts.
    pub clusters: Arc<ClusterIssuer>,
    /// Where their tokens are put on this node.
    pub projected_tokens: Arc<dyn ProjectedTokens>,
    /// Turns this node's clock, where it can be turned.
    pub clock_control: Option<Arc<dyn ClockControl>>,
    /// Whether administrators may have tenants made, and tokens with faults: for development and tests.
    pub for_development: bool,
}

/// The face.
pub fn face(arm: Arm) -> Face<Arm> {
    let mut routes = resource_routes();
    routes.extend(providers::routes());
    let gate = ArmGate(arm.clone(), Namespaces::of(&routes));
    Face::new(routes, gate, arm)
}

/// Every row but those about the providers of all others.
fn resource_routes() -> Vec<Route<Arm>> {
    let routes = [
        metadata::routes(),
        subscriptions::routes(),
        subscription_aliases::routes(),
        resource_groups::routes(),
        user_assigned_identities::routes(),
        associated_resources::routes(),
        identity_operations::routes(),
        federated_identity_credentials::routes(),
        virtual_machines::routes(),
        sites::routes(),
        managed_clusters::routes(),
        hybrid_machines::routes(),
        container_apps::routes(),
        virtual_machine_scale_sets::routes(),
        vaults::routes(),
        vault_secrets::routes(),
        vault_access_policies::routes(),
        vault_names::routes(),
        managed_hsms::routes(),
        role_definitions::routes(),
        role_assignments::routes(),
        deny_assignments::routes(),
        access::routes(),
        explanations::routes(),
        clock::routes(),
        forge::routes(),
        tenants::routes(),
        signing_keys::routes(),
        management_groups::routes(),
        attachments::routes(),
        projected_tokens::routes(),
        faults::routes(),
        deployments::routes(),
        resources::routes(),
        generic_resources::routes(),
        storage_accounts::routes(),
        sql_administrators::routes(),
        image_versions::routes(),
        activity_log::routes(),
        locks::routes(),
        tags::routes(),
        moves::routes(),
        diagnostic_settings::routes(),
        async_operations::routes(),
    ];
    routes.into_iter().flatten().collect()
}

/// A row that a role decides about.
fn row<H, T>(method: Method, path: &'static str, action: &'static str, handler: H) -> Route<Arm>
where
    H: axum::handler::Handler<T, Arm> + Sync,
    T: 'static,
{
    route(method, path, Access::Rbac(action), handler)
}

/// The token of whoever began the deployment that a request of the face to itself is part of. Nothing that comes over
/// a connection carries this.
///
/// It is verified again for each request: once the token is revoked, or its caller deleted, nothing more is made. So a
/// run also ends when the token expires.
// Differs from Azure: a deployment there goes on after its caller's token has expired.
#[derive(Clone, Debug)]
struct Vouched {
    token: Arc<Secret>,
    certificate_sha256: Option<[u8; 32]>,
    claims_binding: bool,
}

impl Vouched {
    fn presented(&self) -> PresentedToken<'_> {
        let Self { token, certificate_sha256, claims_binding } = self;
        PresentedToken {
            text: token.expose(),
            certificate_sha256: *certificate_sha256,
            claims_binding: *claims_binding,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Vouched {
    type Rejection = ArmError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ArmError> {
        if let Some(vouched) = parts.extensions.get::<Self>() {
            return Ok(vouched.clone());
        }
        let PresentedToken { text, certificate_sha256, claims_binding } =
            bearer::presented(parts).ok_or(ArmError::TokenMissing)?;
        let token = Arc::new(Secret::new(text.to_owned()));
        Ok(Self { token, certificate_sha256, claims_binding })
    }
}

struct ArmGate(Arm, Namespaces);

impl ArmGate {
    fn authenticate(&self, parts: &Parts) -> Result<Principal, ArmError> {
        let vouched = parts.extensions.get::<Vouched>().map(Vouched::presented);
        let token = vouched.or_else(|| bearer::presented(parts)).ok_or(ArmError::TokenMissing)?;
        let state = &self.0.state;
        let verified = self.0.verifier.verify(state, token, Service::ResourceManager, None);
        verified.map_err(|error| match (error, self.owner(parts.uri.path())) {
            (BearerError::IssuerWrong { found }, Some(owner)) => self.tenant_wrong(found, &owner),
            (error, _) => ArmError::TokenRefused { error, now: state.clock.now() },
        })
    }

    /// The tenant of the subscription that the path names or lies in.
    fn owner(&self, path: &str) -> Option<Versioned<Tenant>> {
        let snapshot = self.0.state.snapshot();
        let id = front_door::subscription(path).ok().flatten()?;
        snapshot.tenant(snapshot.subscription(id)?.tenant_id).cloned()
    }

    fn tenant_wrong(&self, found: String, owner: &Tenant) -> ArmError {
        ArmError::TenantWrong {
            found,
            expected: owner.issuer_v1().to_owned(),
            authority: self.authority(Some(owner)),
        }
    }

    /// Where a token is to be had: from the tenant, when it is known which.
    fn authority(&self, tenant: Option<&Tenant>) -> String {
        let login = self.0.names.url("login");
        match tenant {
            Some(tenant) => format!("{login}/{}", tenant.id),
            None => format!("{login}/common"),
        }
    }

    /// The answer to a refusal; one for want of a good token says where to get one.
    fn refusal(&self, parts: &Parts, error: ArmError) -> Response {
        let owner = self.owner(parts.uri.path());
        let authority = self.authority(owner.as_ref().map(|owner| owner.record.as_ref()));
        let challenge = error.challenge(&authority).map(|it| [(header::WWW_AUTHENTICATE, it)]);
        (challenge, error).into_response()
    }

    fn check_tenant(&self, path: &str, principal: &Principal) -> Result<(), ArmError> {
        match self.owner(path) {
            Some(owner) if owner.id != principal.tenant_id => {
                Err(self.tenant_wrong(principal.issuer.clone(), &owner))
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn admit_principal(
        &self,
        row: &Row,
        params: &Params,
        parts: &Parts,
        body: &mut Body,
        request_id: Uuid,
    ) -> Result<(Caller, &'static str), ArmError> {
        if row.access == Access::Public {
            return Ok((Caller::Anonymous, ""));
        }
        let principal = self.authenticate(parts)?;
        self.check_tenant(params.subject(), &principal)?;
        check_api_version(parts)?;
        front_door::subscription(params.subject())?;
        let action = match row.access {
            Access::Rbac(action) => {
                self.authorize(action, &principal, params, body, request_id).await?;
                action
            }
            Access::Directory(action) => {
                self.require_administrator(action, &principal, params)?;
                action
            }
            Access::OwnProof | Access::LocalCaller | Access::Public => "",
        };
        Ok((Caller::Principal(principal), action))
    }

    /// Asks the engine; where only a condition or a deny stands between the caller and the action, with what the body
    /// says.
    async fn authorize(
        &self,
        action: &'static str,
        principal: &Principal,
        params: &Params,
        body: &mut Body,
        request_id: Uuid,
    ) -> Result<(), ArmError> {
        let state = &self.0.state;
        let scope = RbacScope::parse(params.subject()).map_err(|_| ArmError::PathMalformed)?;
        let environment = Attributes::of_environment(state.clock.now());
        let question = Question {
            tenant: principal.tenant_id,
            principal: principal.principal_id,
            plane: Plane::Control,
            action,
            scope: &scope,
            sub_operation: None,
            attributes: &environment,
        };
        let bare = rbac::decide(&state.snapshot(), &question);
        let is_settled = matches!(bare.reason, Reason::Granted(_) | Reason::NoAssignment);
        let decision = if !is_settled {
            let attributes = attributes::of_request(
                &self.0,
                principal,
                action,
                params,
                body,
                environment.clone(),
            )
            .await;
            state.authorize(request_id, &Question { attributes: &attributes, ..question })
        } else {
            state.journal.note(request_id, &question, bare.is_allowed());
            bare
        };
        if decision.is_allowed() {
            return Ok(());
        }
        let snapshot = self.0.state.snapshot();
        if let Some(missing) =
            front_door::missing_subscription(&snapshot, params.subject(), principal)
        {
            return Err(missing);
        }
        Err(ArmError::AuthorizationFailed(Box::new(Forbidden {
            client: principal.client_id,
            object: principal.principal_id,
            action,
            scope: params.resource().to_owned(),
            decision,
        })))
    }

    /// Refuses what a lock forbids, before the resource's own rules are looked at. The commit looks again: a lock that
    /// comes in between counts too. What does not exist is refused as such, by the row.
    fn check_locks(&self, row: &Row, operation: &OperationContext) -> Result<(), ArmError> {
        let snapshot = self.0.state.snapshot();
        let Err(locked) = lock::check_operation(&snapshot, operation) else { return Ok(()) };
        let scope = RbacScope::parse(&operation.scope).map_err(|_| ArmError::PathMalformed)?;
        let present = if row.method == Method::PUT { scope.parent() } else { Some(scope) };
        let tenant = operation.principal().map(|principal| principal.tenant_id);
        let is_missing = |scope: &RbacScope| {
            tenant.is_some_and(|tenant| require_scope(&snapshot, tenant, scope).is_err())
        };
        if present.is_some_and(|scope| is_missing(&scope)) {
            return Ok(());
        }
        Err(ArmError::Resource(WriteError::from(locked).into()))
    }

    fn require_administrator(
        &self,
        action: &'static str,
        principal: &Principal,
        params: &Params,
    ) -> Result<(), ArmError> {
        if directory_role::is_global_administrator(&self.0.state.snapshot(), principal) {
            return Ok(());
        }
        Err(ArmError::AuthorizationFailed(Box::new(Forbidden {
            client: principal.client_id,
            object: principal.principal_id,
            action,
            scope: params.resource().to_owned(),
            decision: Decision { reason: Reason::NoAssignment },
        })))
    }
}

/// A date, perhaps of a preview. Versions that are not known yet are answered in the same shape.
fn check_api_version(parts: &Parts) -> Result<(), ArmError> {
    let query = Parameters::of(&parts.uri);
    let version = query.non_empty("api-version").ok_or(ArmError::ApiVersionMissing)?;
    let (date, suffix) = version.split_at_checked(10).unwrap_or((version, ""));
    let is_suffix = suffix.is_empty()
        || (suffix.len() <= 20
            && suffix.starts_with('-')
            && suffix.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.'));
    if is_date(date) && is_suffix {
        Ok(())
    } else {
        Err(ArmError::ApiVersionInvalid(version.to_owned()))
    }
}

#[async_trait]
impl Gate for ArmGate {
    fn ids(&self, parts: &Parts) -> Option<RequestIds> {
        let request_id = self.0.state.entropy.uuid();
        let name = if parts.headers.contains_key("x-ms-correlation-request-id") {
            "x-ms-correlation-request-id"
        } else {
            CLIENT_REQUEST_ID
        };
        Some(RequestIds::from_headers(&parts.headers, name, request_id))
    }

    fn echoed_id(&self, parts: &Parts) -> Option<HeaderValue> {
        let wants = parts.headers.get("x-ms-return-client-request-id")?;
        let id = parts.headers.get(CLIENT_REQUEST_ID)?;
        let is_bounded = id.len() <= limits::ECHOED_ID_BYTES_MAX;
        (wants.as_bytes().eq_ignore_ascii_case(b"true") && is_bounded).then(|| id.clone())
    }

    async fn enter(&self, _: &mut Parts) -> Result<(), Response> {
        Ok(())
    }

    async fn admit(
        &self,
        row: &Row,
        params: &Params,
        parts: &mut Parts,
        body: &mut Body,
    ) -> Result<OperationContext, Response> {
        let fresh = self.0.state.entropy.uuid();
        let ids = parts.extensions.get::<Entered>().and_then(|entered| entered.ids);
        let ids = ids.unwrap_or(RequestIds { request_id: fresh, correlation_id: fresh });
        let admitted = self.admit_principal(row, params, parts, body, ids.request_id).await;
        let (caller, action) = admitted.map_err(|error| self.refusal(parts, error))?;
        let snapshot = self.0.state.snapshot_to_keep();
        let target = front_door::require_above(&snapshot, row, params)
            .and_then(|()| front_door::require_registration(&snapshot, row, params))
            .and_then(|()| front_door::target(&snapshot, row, params, parts))
            .map_err(IntoResponse::into_response)?;
        if let Some(unchanged) = target.as_ref().and_then(|it| front_door::unchanged(row, it)) {
            return Err(unchanged);
        }
        let operation = OperationContext {
            action,
            scope: params.resource().to_owned(),
            target,
            activity: activity_log::begin(&self.0, action, parts),
            ..ids.operation(caller, self.0.state.clock.now())
        };
        self.check_locks(row, &operation).map_err(IntoResponse::into_response)?;
        Ok(operation)
    }

    async fn refuse(&self, parts: &mut Parts, refusal: PathRefusal) -> Response {
        let checked = self.authenticate(parts).and_then(|principal| {
            self.check_tenant(parts.uri.path(), &principal)?;
            check_api_version(parts)
        });
        match (checked, refusal) {
            (Err(error), _) => self.refusal(parts, error),
            (Ok(()), PathRefusal::Malformed(_)) => ArmError::PathMalformed.into_response(),
            (Ok(()), PathRefusal::NotFound) => self.1.unknown_path(&parts.uri).into_response(),
            (Ok(()), PathRefusal::MethodNotAllowed(allowed)) => {
                (crate::route::allow_header(&allowed), ArmError::MethodNotAllowed).into_response()
            }
        }
    }

    async fn conclude(
        &self,
        method: &Method,
        operation: &OperationContext,
        response: Response,
    ) -> Response {
        let mut response = activity_log::close(&self.0, operation, response).await;
        let version = operation.target.as_ref().and_then(|target| target.version());
        if let Some(version) = version
            && front_door::shows_target(method, response.status())
        {
            condition::write(response.headers_mut(), version);
        }
        // Resource Manager says by this status that something is there.
        if *method == Method::HEAD && response.status() == StatusCode::OK {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        response
    }

    fn takes_head(&self) -> bool {
        true
    }

    fn finish(&self, entered: &Entered, response: &mut Response) {
        let headers = response.headers_mut();
        // keycard does not count these rates; clients look for them.
        let remaining = match entered.method {
            Method::GET | Method::HEAD => ("x-ms-ratelimit-remaining-subscription-reads", "11999"),
            Method::DELETE => ("x-ms-ratelimit-remaining-subscription-deletes", "14999"),
            _ => ("x-ms-ratelimit-remaining-subscription-writes", "1199"),
        };
        for (name, value) in [
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("expires", "-1"),
            ("vary", "Accept-Encoding"),
            ("x-content-type-options", "nosniff"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            remaining,
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(echoed) = &entered.echoed_id {
            headers.insert(CLIENT_REQUEST_ID, echoed.clone());
        }
        let Some(ids) = entered.ids else { return };
        for (name, value) in [
            ("x-ms-request-id", ids.request_id.to_string()),
            ("x-ms-correlation-request-id", ids.correlation_id.to_string()),
            ("x-ms-routing-request-id", routing_id(self.0.state.clock.now(), ids.request_id)),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

/// The header in which clients name their request.
const CLIENT_REQUEST_ID: &str = "x-ms-client-request-id";

/// Which region answered when: keycard's only one.
fn routing_id(now: UtcDateTime, request_id: Uuid) -> String {
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    format!("LOCAL:{}:{request_id}", now.format(form).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, accepted: bool) {
        let uri = format!("/subscriptions?{query}");
        let (parts, ()) = http::Request::builder().uri(uri).body(()).unwrap().into_parts();
        assert_eq!(check_api_version(&parts).is_ok(), accepted, "{query}");
    }

    #[test]
    fn future_api_versions_are_taken_and_nonsense_is_not() {
        check("api-version=2024-07-01", true);
        check("api-version=2031-01-01-preview", true);
        check("api-version=2025-05-31-preview.2", true);
        check("API-Version=2024-07-01", true);
        check("api-version=", false);
        check("", false);
        check("api-version=latest", false);
        check("api-version=2024-07-01x", false);
        check("api-version=2024-7-1", false);
    }
}
