//! What a principal may do at a scope: `permissions` for the caller itself, `checkAccess` for whomever it may ask about.
//!
//! Source: Microsoft.Authorization REST API 2022-04-01, permissions; 2021-06-01-preview, check access, as clients of the
//! latter send it.

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::ids::PrincipalId;
use keycard_domain::operation::OperationContext;
use keycard_domain::rbac::condition::AttributeValues;
use keycard_domain::rbac::explanation::{READ_ACTION, may_ask};
use keycard_domain::rbac::{
    AttributeSource, Attributes, Decision, Plane, Question, RbacScope, Reason, decide, effective,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Arm;
use super::attributes::of_environment;
use super::body::{JsonBody, page, tenant};
use super::deny_assignments::deny_json;
use super::error::{ArmError, Forbidden};
use super::role_assignments::{assignment_json, scope};
use super::role_definitions::permission_json;
use crate::route::{Access, OwnProof, Params, Route, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let permissions = "/{*scope}/providers/Microsoft.Authorization/permissions";
    let check = "/{*scope}/providers/Microsoft.Authorization/checkAccess";
    vec![
        // Everybody may know what they may do themselves.
        route(Method::GET, permissions, Access::OwnProof, list_permissions),
        route(Method::POST, check, Access::OwnProof, check_access),
    ]
}

async fn list_permissions(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let principal = operation.principal().ok_or(ArmError::TokenMissing)?;
    let snapshot = arm.state.snapshot_to_keep();
    let scope = scope(&params)?;
    let held =
        effective::permissions(&snapshot, principal.tenant_id, principal.principal_id, &scope);
    let keyed = |(number, permission)| (format!("{number:06}"), permission_json(permission));
    let items = held.iter().enumerate().map(keyed).collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

#[derive(Deserialize)]
struct CheckBody {
    #[serde(alias = "Subject")]
    subject: Subject,
    #[serde(alias = "Actions")]
    actions: Vec<ActionBody>,
    #[serde(alias = "Resource")]
    resource: Option<ResourceBody>,
    #[serde(alias = "Environment")]
    environment: Option<AttributesBody>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(alias = "Attributes")]
    attributes: SubjectAttributes,
}

#[derive(Deserialize)]
struct SubjectAttributes {
    #[serde(rename = "objectId", alias = "ObjectId")]
    object_id: PrincipalId,
}

#[derive(Deserialize)]
struct ActionBody {
    #[serde(alias = "Id")]
    id: String,
    #[serde(rename = "isDataAction", alias = "IsDataAction", default)]
    is_data_action: bool,
    #[serde(alias = "Attributes", default)]
    attributes: Map<String, Value>,
}

#[derive(Deserialize)]
struct ResourceBody {
    #[serde(alias = "Id")]
    id: Option<String>,
    #[serde(alias = "Attributes", default)]
    attributes: Map<String, Value>,
}

#[derive(Deserialize)]
struct AttributesBody {
    #[serde(alias = "Attributes", default)]
    attributes: Map<String, Value>,
}

/// Actions that one request may ask about.
const ACTIONS_MAX: usize = 100;

/// Adds a request's attributes; a value that is neither a text, a number nor a truth value says nothing.
fn add(attributes: &mut Attributes, source: AttributeSource, members: &Map<String, Value>) {
    for (name, value) in members {
        let values = match value {
            Value::String(text) => AttributeValues::string(text.clone()),
            Value::Bool(value) => AttributeValues::boolean(*value),
            Value::Number(number) => match number.as_i64() {
                Some(number) => AttributeValues::number(number),
                None => continue,
            },
            Value::Array(items) => AttributeValues::strings(items.iter().filter_map(Value::as_str)),
            Value::Null | Value::Object(_) => continue,
        };
        attributes.set(source, name.clone(), values);
    }
}

async fn check_access(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<CheckBody>,
) -> Result<Json<Value>, ArmError> {
    let scope = match body.resource.as_ref().and_then(|resource| resource.id.as_deref()) {
        Some(id) => RbacScope::parse(id).map_err(|_| ArmError::PathMalformed)?,
        None => scope(&params)?,
    };
    let subject = body.subject.attributes.object_id;
    require_may_ask(&arm, &operation, subject, &scope)?;
    if body.actions.len() > ACTIONS_MAX {
        return Err(ArmError::BodyMalformed(format!("At most {ACTIONS_MAX} actions.")));
    }
    let mut given = of_environment(operation.now);
    let environment = body.environment.map(|it| it.attributes).unwrap_or_default();
    add(&mut given, AttributeSource::Environment, &environment);
    let resource = body.resource.map(|it| it.attributes).unwrap_or_default();
    add(&mut given, AttributeSource::Resource, &resource);
    let snapshot = arm.state.snapshot();
    let tenant = tenant(&operation)?;
    let decide_one = |action: &ActionBody| {
        let mut attributes = given.clone();
        add(&mut attributes, AttributeSource::Request, &action.attributes);
        let question = Question {
            tenant,
            principal: subject,
            plane: if action.is_data_action { Plane::Data } else { Plane::Control },
            action: &action.id,
            scope: &scope,
            sub_operation: None,
            attributes: &attributes,
        };
        decision_json(action, &decide(&snapshot, &question))
    };
    let decisions: Vec<Value> = body.actions.iter().map(decide_one).collect();
    Ok(Json(json!({ "value": decisions })))
}

/// Refuses who asks about others without the right to read role assignments.
pub(super) fn require_may_ask(
    arm: &Arm,
    operation: &OperationContext,
    subject: PrincipalId,
    scope: &RbacScope,
) -> Result<(), ArmError> {
    let caller = operation.principal().ok_or(ArmError::TokenMissing)?;
    if may_ask(&arm.state.snapshot(), caller, subject, scope) {
        return Ok(());
    }
    Err(ArmError::AuthorizationFailed(Box::new(Forbidden {
        client: caller.client_id,
        object: caller.principal_id,
        action: READ_ACTION,
        scope: scope.to_string(),
        decision: Decision { reason: Reason::NoAssignment },
    })))
}

/// The reason as Azure's data planes name it.
pub(super) const fn reason_name(reason: &Reason) -> &'static str {
    match reason {
        Reason::Granted(_) => "GrantedByRBAC",
        Reason::GrantedByCondition(_) => "GrantedByABAC",
        Reason::NoAssignment => "DeniedWithNoValidRBAC",
        Reason::ConditionNotMet(_) => "DeniedWithABACEvaluationInRA",
        Reason::AttributeMissing(_) => "DeniedWithMissingAttributesInRA",
        Reason::Denied { .. } => "DeniedByDenyAssignment",
    }
}

/// The assignment and the deny assignment that a reason names, each as its own face shows it.
pub(super) fn evidence(reason: &Reason) -> (Value, Value) {
    match reason {
        Reason::NoAssignment => (Value::Null, Value::Null),
        Reason::Granted(assignment)
        | Reason::GrantedByCondition(assignment)
        | Reason::ConditionNotMet(assignment)
        | Reason::AttributeMissing(assignment) => (assignment_json(assignment), Value::Null),
        Reason::Denied { deny, assignment } => (assignment_json(assignment), deny_json(deny)),
    }
}

fn decision_json(action: &ActionBody, decision: &Decision) -> Value {
    let access = match &decision.reason {
        Reason::Granted(_) | Reason::GrantedByCondition(_) => "Allowed",
        Reason::Denied { .. } => "Denied",
        Reason::NoAssignment | Reason::ConditionNotMet(_) | Reason::AttributeMissing(_) => {
            "NotAllowed"
        }
    };
    let (assignment, deny) = evidence(&decision.reason);
    json!({
        "actionId": action.id,
        "isDataAction": action.is_data_action,
        "accessDecision": access,
        "decisionReason": reason_name(&decision.reason),
        "roleAssignment": assignment,
        "denyAssignment": deny,
        // A decision holds for the moment: nothing may be kept.
        "timeToLiveInMs": 0,
    })
}
