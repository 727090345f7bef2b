//! Azure Resource Manager's face: its front door and its rows. One file per resource type beside this one.
//!
//! Order at the door: token → tenant → api-version → authorization → existence; who may not ask learns nothing about
//! what there is. Source: Azure Resource Manager REST API; observed errors of its front door.

mod access;
mod activity_log;
mod async_operations;
mod attachments;
mod attributes;
mod body;
mod clock;
mod compute;
mod deny_assignments;
mod deployments;
mod error;
mod explanations;
mod federated_identity_credentials;
mod forge;
mod identity;
mod management_groups;
mod metadata;
mod resource_groups;
mod role_assignments;
mod role_definitions;
mod signing_keys;
mod subscription_aliases;
mod subscriptions;
mod tenants;
mod user_assigned_identities;
mod vault_secrets;
mod vaults;
mod virtual_machine_scale_sets;

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method};
use keycard_crypto::secret::Secret;
use keycard_domain::clock::ClockControl;
use keycard_domain::compute::attachment::Attachments;
use keycard_domain::directory::directory_role;
use keycard_domain::operation::{Caller, OperationContext, Principal};
use keycard_domain::rbac::{self, Attributes, Decision, Plane, Question, RbacScope, Reason};
use keycard_domain::state::State;
use keycard_domain::token::audience::Service;
use keycard_domain::token::verify::TokenVerifier;
use uuid::Uuid;

use crate::bearer;
use crate::host_names::HostNames;
use crate::request::{Parameters, RequestIds, is_date};
use crate::route::{Access, Entered, Face, Gate, Params, PathRefusal, Route, Row, route};
use error::{ArmError, Forbidden};

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
    /// Turns this node's clock, where it can be turned.
    pub clock_control: Option<Arc<dyn ClockControl>>,
    /// Whether administrators may have tenants made, and tokens with faults: for development and tests.
    pub for_development: bool,
}

/// The face.
pub fn face(arm: Arm) -> Face<Arm> {
    let gate = ArmGate(arm.clone());
    let routes = [
        metadata::routes(),
        subscriptions::routes(),
        subscription_aliases::routes(),
        resource_groups::routes(),
        user_assigned_identities::routes(),
        federated_identity_credentials::routes(),
        compute::routes(),
        virtual_machine_scale_sets::routes(),
        vaults::routes(),
        vault_secrets::routes(),
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
        deployments::routes(),
        activity_log::routes(),
        async_operations::routes(),
    ];
    Face::new(routes.into_iter().flatten().collect(), gate, arm)
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
struct Vouched(Arc<Secret>);

impl<S: Send + Sync> FromRequestParts<S> for Vouched {
    type Rejection = ArmError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ArmError> {
        if let Some(vouched) = parts.extensions.get::<Self>() {
            return Ok(vouched.clone());
        }
        let token = bearer::token(&parts.headers).ok_or(ArmError::TokenMissing)?;
        Ok(Self(Arc::new(Secret::new(token.to_owned()))))
    }
}

struct ArmGate(Arm);

impl ArmGate {
    fn authenticate(&self, parts: &Parts) -> Result<Principal, ArmError> {
        let vouched = parts.extensions.get::<Vouched>().map(|vouched| vouched.0.expose());
        let token =
            vouched.or_else(|| bearer::token(&parts.headers)).ok_or(ArmError::TokenMissing)?;
        self.0
            .verifier
            .verify(&self.0.state, token, Service::ResourceManager, None)
            .map_err(ArmError::TokenRefused)
    }

    fn check_tenant(&self, params: &Params, principal: &Principal) -> Result<(), ArmError> {
        let scope = RbacScope::parse(params.subject()).ok();
        let snapshot = self.0.state.snapshot();
        let owner = scope
            .and_then(|scope| scope.subscription())
            .and_then(|id| snapshot.subscriptions.get(&id.to_string()))
            .map(|subscription| subscription.tenant_id);
        match owner {
            Some(owner) if owner != principal.tenant_id => Err(ArmError::TenantWrong {
                found: principal.issuer.clone(),
                expected: snapshot
                    .tenant(owner)
                    .map(|t| t.issuer_v1().to_owned())
                    .unwrap_or_default(),
            }),
            _ => Ok(()),
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
        self.check_tenant(params, &principal)?;
        check_api_version(parts)?;
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
        Err(ArmError::AuthorizationFailed(Box::new(Forbidden {
            client: principal.client_id,
            object: principal.principal_id,
            action,
            scope: params.resource().to_owned(),
            decision,
        })))
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
        let header = if parts.headers.contains_key("x-ms-correlation-request-id") {
            "x-ms-correlation-request-id"
        } else {
            "x-ms-client-request-id"
        };
        Some(RequestIds::from_headers(&parts.headers, header, request_id))
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
        let (caller, action) = self
            .admit_principal(row, params, parts, body, ids.request_id)
            .await
            .map_err(IntoResponse::into_response)?;
        Ok(OperationContext {
            caller,
            now: self.0.state.clock.now(),
            request_id: ids.request_id,
            correlation_id: ids.correlation_id,
            action,
            scope: params.resource().to_owned(),
            activity: activity_log::begin(&self.0, action, parts),
        })
    }

    async fn conclude(&self, operation: &OperationContext, response: Response) -> Response {
        activity_log::close(&self.0, operation, response).await
    }

    async fn refuse(&self, parts: &mut Parts, refusal: PathRefusal) -> Response {
        let checked = self.authenticate(parts).and_then(|_| check_api_version(parts));
        match (checked, refusal) {
            (Err(error), _) => error.into_response(),
            (Ok(()), PathRefusal::Malformed(_)) => ArmError::PathMalformed.into_response(),
            (Ok(()), PathRefusal::NotFound) => ArmError::unknown_path(&parts.uri).into_response(),
            (Ok(()), PathRefusal::MethodNotAllowed(allowed)) => {
                (crate::route::allow_header(&allowed), ArmError::MethodNotAllowed).into_response()
            }
        }
    }

    fn finish(&self, entered: &Entered, response: &mut Response) {
        let headers = response.headers_mut();
        for (name, value) in [
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("expires", "-1"),
            ("vary", "Accept-Encoding"),
            ("x-content-type-options", "nosniff"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            // keycard does not limit the control plane; clients look for these.
            ("x-ms-ratelimit-remaining-subscription-reads", "11999"),
            ("x-ms-ratelimit-remaining-subscription-writes", "1199"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let Some(ids) = entered.ids else { return };
        for (name, value) in [
            ("x-ms-request-id", ids.request_id.to_string()),
            ("x-ms-correlation-request-id", ids.correlation_id.to_string()),
            ("x-ms-routing-request-id", format!("LOCAL:{}", ids.request_id)),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
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
