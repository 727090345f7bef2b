//! What a deployment's request says: a body that is nearly JSON, and where its template is put.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use keycard_domain::deployment::plan::Plan;
use keycard_domain::deployment::template::Template;
use keycard_domain::deployment::{
    self, DeploymentError, DeploymentMode, Fresh, NewDeployment, Place, TemplateViolation,
    vault_parameter,
};
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::rbac::RbacScope;
use keycard_domain::resources::{require_subscription, resource_group};
use keycard_domain::snapshot::Snapshot;
use keycard_domain::state::WriteError;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::super::body::tenant;
use super::super::error::{ArmError, DeploymentRefusal};
use super::super::{Arm, metadata, resource_groups, subscriptions};
use super::lenient_json;
use crate::request::read_body;

/// The body of a deployment, with its text for the places of errors.
pub(super) struct DeploymentBody {
    body: BodyMembers,
    text: String,
}

#[derive(Deserialize)]
struct BodyMembers {
    location: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    mode: Option<String>,
    template: Option<Value>,
    template_link: Option<Value>,
    parameters: Option<Map<String, Value>>,
    parameters_link: Option<Value>,
    on_error_deployment: Option<Value>,
}

impl<S: Send + Sync> FromRequest<S> for DeploymentBody {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Response> {
        let bytes = read_body(request.into_body(), limits::CONTROL_PLANE_BODY_BYTES_MAX)
            .await
            .map_err(|error| ArmError::Body(error).into_response())?;
        let malformed = |reason: String| ArmError::BodyMalformed(reason).into_response();
        let text = std::str::from_utf8(&bytes).map_err(|error| malformed(error.to_string()))?;
        let value = lenient_json::parse(text).map_err(|error| malformed(error.to_string()))?;
        let body = serde_json::from_value(value).map_err(|error| malformed(error.to_string()))?;
        Ok(Self { body, text: text.to_owned() })
    }
}

/// Templates that are given their values at the same time: what strangers let them compute takes one processor at most.
static PLANNING: Semaphore = Semaphore::const_new(1);

/// A deployment that can be begun.
pub(super) struct Prepared {
    pub(super) new: NewDeployment,
    pub(super) template: Template,
    pub(super) plan: Plan,
    /// The request's text.
    pub(super) text: String,
}

/// Line and column of a part of the template in a request's text.
pub(super) fn position(text: &str, violation: &TemplateViolation) -> (usize, usize) {
    lenient_json::position(text, "properties.template", &violation.path)
}

impl DeploymentBody {
    /// Reads the template and gives it its values, beside the threads that answer requests: that takes a while for some.
    pub(super) async fn prepare(
        self,
        arm: &Arm,
        operation: &OperationContext,
        scope: RbacScope,
        name: &str,
    ) -> Result<Prepared, ArmError> {
        let Self { body, text } = self;
        let properties = body.properties;
        refuse_unsupported(&properties)?;
        let mut given = properties.parameters.unwrap_or_default();
        let mut new = NewDeployment {
            mode: mode(properties.mode.as_deref(), &scope)?,
            scope,
            name: name.to_owned(),
            location: body.location,
            tags: body.tags.unwrap_or_default(),
            template: properties.template.unwrap_or_default(),
        };
        let snapshot = arm.state.snapshot_to_keep();
        deployment::check(&snapshot, &new)?;
        let place = place(arm, &snapshot, operation, &new)?;
        let (now, entropy) = (operation.now, Arc::clone(&arm.state.entropy));
        let source = std::mem::take(&mut new.template);
        let (parsed, source) = planned(move || (Template::parse(&source), source)).await?;
        new.template = source;
        let at = |violation| refusal(&text, violation);
        let template = parsed.map_err(at)?;
        for reference in template.vault_references(&given).map_err(at)? {
            let secret = vault_parameter::secret_of(&arm.state, operation, &reference).await?;
            given.retain(|name, _| !name.eq_ignore_ascii_case(&reference.parameter));
            given.insert(reference.parameter, json!({ "value": secret.expose() }));
        }
        let planning = move || {
            let fresh = Fresh { now, entropy: entropy.as_ref() };
            (template.plan(&given, place, fresh), template)
        };
        let (plan, template) = planned(planning).await?;
        Ok(Prepared { new, template, plan: plan.map_err(at)?, text })
    }
}

/// Does work on a template when its turn has come.
async fn planned<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WriteError> {
    let unavailable = |reason: String| WriteError::Unavailable(reason);
    let turn = PLANNING.acquire().await.map_err(|error| unavailable(error.to_string()))?;
    // The turn is over when the work is: it goes on when whoever asked for it goes away.
    let turned = move || {
        let done = work();
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(turned).await.map_err(|error| unavailable(error.to_string()))
}

fn refusal(text: &str, violation: TemplateViolation) -> ArmError {
    let position = position(text, &violation);
    let error = DeploymentError::Template(violation);
    ArmError::Deployment(Box::new(DeploymentRefusal { error, position }))
}

fn refuse_unsupported(properties: &Properties) -> Result<(), ArmError> {
    let unsupported = |what: &str| {
        Err(ArmError::BodyMalformed(format!("keycard does not support {what} of deployments yet.")))
    };
    if properties.template_link.as_ref().is_some_and(|link| !link.is_null()) {
        return unsupported("the property 'templateLink'");
    }
    if properties.parameters_link.as_ref().is_some_and(|link| !link.is_null()) {
        return unsupported("the property 'parametersLink'");
    }
    if properties.on_error_deployment.as_ref().is_some_and(|it| !it.is_null()) {
        return unsupported("the property 'onErrorDeployment'");
    }
    match &properties.template {
        Some(Value::Object(_)) => Ok(()),
        _ => Err(ArmError::BodyMalformed("The property 'template' is required.".to_owned())),
    }
}

fn mode(text: Option<&str>, scope: &RbacScope) -> Result<DeploymentMode, ArmError> {
    let text = text.unwrap_or(DeploymentMode::Incremental.as_str());
    let known = [DeploymentMode::Incremental, DeploymentMode::Complete]
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(text));
    match known {
        Some(DeploymentMode::Complete) if scope.resource_group().is_none() => {
            Err(ArmError::BodyMalformed(
                "Deployments at a subscription have the mode 'Incremental'.".to_owned(),
            ))
        }
        Some(mode) => Ok(mode),
        None => Err(ArmError::BodyMalformed(
            "The mode of a deployment is 'Incremental' or 'Complete'.".to_owned(),
        )),
    }
}

/// Where the deployment is, as its template sees it.
fn place(
    arm: &Arm,
    snapshot: &Snapshot,
    operation: &OperationContext,
    new: &NewDeployment,
) -> Result<Place, ArmError> {
    let id = new.scope.subscription().ok_or(ArmError::PathMalformed)?;
    let subscription = require_subscription(snapshot, id)?;
    let group = match new.scope.resource_group() {
        Some(name) => Some(resource_group::find(snapshot, id, name)?),
        None => None,
    };
    let tenant = snapshot.tenant(tenant(operation)?);
    let tenant = tenant.map(|tenant| {
        json!({
            "id": format!("/tenants/{}", tenant.id),
            "tenantId": tenant.id,
            "displayName": tenant.display_name,
        })
    });
    let deployer = operation.principal().map(|principal| {
        json!({
            "objectId": principal.principal_id,
            "tenantId": principal.tenant_id,
            // Service principals have none, and nobody else deploys here.
            "userPrincipalName": "",
        })
    });
    Ok(Place {
        scope: group.map_or_else(|| format!("/subscriptions/{id}"), |group| group.path()),
        subscription_id: id.to_string(),
        deployment: json!({
            "name": new.name,
            "location": new.location,
            "properties": {
                "mode": new.mode.as_str(),
                "provisioningState": "Accepted",
                "template": {
                    "$schema": new.template.get("$schema"),
                    "contentVersion": new.template.get("contentVersion"),
                },
            },
        }),
        environment: metadata::own_cloud(&arm.names),
        subscription: subscriptions::subscription_json(subscription),
        deployer: deployer.unwrap_or_default(),
        tenant: tenant.unwrap_or_default(),
        resource_group: group.map(|group| resource_groups::group_json(group)),
    })
}
