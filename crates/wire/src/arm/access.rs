//! What a principal may do at a scope: `permissions` for the caller itself, `checkAccess` for whomever it may ask about.
//!
//! Source: Microsoft.Authorization REST API 2022-04-01, permissions; 2021-06-01-preview, check access, as clients of the
//! latter send it.

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::ids::PrincipalId;
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::rbac::condition::AttributeValues;
use keycard_domain::rbac::explanation::{Insight, READ_ACTION, Verdict, insight, verdict};
use keycard_domain::rbac::journal::Asked;
use keycard_domain::rbac::{
    AttributeSource, Attributes, Decision, Plane, RbacScope, Reason, effective,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Arm;
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

/// Adds a request's attributes, within bounds; a value that is neither a text, a number nor a truth value says nothing.
fn add(
    attributes: &mut Attributes,
    source: AttributeSource,
    members: &Map<String, Value>,
) -> Result<(), ArmError> {
    require_bounded(members)?;
    for (name, value) in members {
        let values = match value {
            Value::String(text) => named_text(name, text),
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
    Ok(())
}

/// A text; where the attribute is the name of a resource, one whose case means nothing.
pub(super) fn named_text(attribute: &str, text: &str) -> AttributeValues {
    if attribute.to_ascii_lowercase().ends_with(":name") {
        AttributeValues::name(text)
    } else {
        AttributeValues::string(text)
    }
}

/// Refuses more attributes, or longer ones, than a question may bring.
pub(super) fn require_bounded(members: &Map<String, Value>) -> Result<(), ArmError> {
    let max = limits::ATTRIBUTE_BYTES_MAX;
    let length = |value: &Value| match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::len).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => 0,
    };
    let is_bounded = members.len() <= limits::ATTRIBUTES_MAX
        && members.iter().all(|(name, value)| name.len() <= max && length(value) <= max);
    if is_bounded {
        Ok(())
    } else {
        Err(ArmError::BodyMalformed("There are too many attributes, or too long ones.".to_owned()))
    }
}

/// Refuses an action that is longer than any.
pub(super) fn require_action(action: &str) -> Result<(), ArmError> {
    if action.len() <= limits::ACTION_BYTES_MAX {
        Ok(())
    } else {
        Err(ArmError::BodyMalformed("An action is too long.".to_owned()))
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
    let insight = require_insight(&arm, &operation, subject, &scope)?;
    if body.actions.len() > ACTIONS_MAX {
        return Err(ArmError::BodyMalformed(format!("At most {ACTIONS_MAX} actions.")));
    }
    let mut given = Attributes::of_environment(operation.now);
    let environment = body.environment.map(|it| it.attributes).unwrap_or_default();
    add(&mut given, AttributeSource::Environment, &environment)?;
    let resource = body.resource.map(|it| it.attributes).unwrap_or_default();
    add(&mut given, AttributeSource::Resource, &resource)?;
    let snapshot = arm.state.snapshot();
    let tenant = tenant(&operation)?;
    let decide_one = |action: &ActionBody| {
        require_action(&action.id)?;
        let mut attributes = given.clone();
        add(&mut attributes, AttributeSource::Request, &action.attributes)?;
        let asked = Asked {
            tenant,
            principal: subject,
            plane: if action.is_data_action { Plane::Data } else { Plane::Control },
            action: action.id.clone(),
            scope: scope.clone(),
            sub_operation: None,
            attributes,
        };
        Ok(decision_json(action, &verdict(&snapshot, &asked), insight))
    };
    let decisions = body.actions.iter().map(decide_one);
    let decisions = decisions.collect::<Result<Vec<Value>, ArmError>>()?;
    Ok(Json(json!({ "value": decisions })))
}

/// How much the caller may know; refuses who asks about others without the right to read role assignments.
pub(super) fn require_insight(
    arm: &Arm,
    operation: &OperationContext,
    subject: PrincipalId,
    scope: &RbacScope,
) -> Result<Insight, ArmError> {
    let caller = operation.principal().ok_or(ArmError::TokenMissing)?;
    let known = insight(&arm.state.snapshot(), caller, subject, scope, operation.now);
    if let Some(insight) = known {
        return Ok(insight);
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
const fn reason_name(reason: &Reason) -> &'static str {
    match reason {
        Reason::Granted(_) => "GrantedByRBAC",
        Reason::GrantedByCondition(_) => "GrantedByABAC",
        Reason::NoAssignment => "DeniedWithNoValidRBAC",
        Reason::ConditionNotMet(_) => "DeniedWithABACEvaluationInRA",
        Reason::AttributeMissing(_) => "DeniedWithMissingAttributesInRA",
        Reason::Denied { .. } => "DeniedByDenyAssignment",
    }
}

/// The assignment and the deny assignment that a reason names, each as its own face shows it; of a deny that the caller
/// may not read, what its refusals name.
fn evidence(reason: &Reason, insight: Insight) -> (Value, Value) {
    match reason {
        Reason::NoAssignment => (Value::Null, Value::Null),
        Reason::Granted(assignment)
        | Reason::GrantedByCondition(assignment)
        | Reason::ConditionNotMet(assignment)
        | Reason::AttributeMissing(assignment) => (assignment_json(assignment), Value::Null),
        Reason::Denied { deny, assignment } => {
            let whole = deny_json(deny);
            let shown = match insight {
                Insight::Full => whole,
                Insight::Own => json!({
                    "properties": { "denyAssignmentName": deny.name, "scope": deny.scope },
                    "id": whole.get("id"),
                    "type": whole.get("type"),
                    "name": deny.id,
                }),
            };
            (assignment_json(assignment), shown)
        }
    }
}

/// The reason of a verdict, by roles or by the access policies of a vault.
pub(super) const fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Rbac(decision) => reason_name(&decision.reason),
        Verdict::AccessPolicy { is_allowed: true } => "GrantedByAccessPolicy",
        Verdict::AccessPolicy { is_allowed: false } => "DeniedByAccessPolicy",
    }
}

/// What a verdict rests on, where it is by roles.
pub(super) fn verdict_evidence(verdict: &Verdict, insight: Insight) -> (Value, Value) {
    match verdict {
        Verdict::Rbac(decision) => evidence(&decision.reason, insight),
        Verdict::AccessPolicy { .. } => (Value::Null, Value::Null),
    }
}

fn decision_json(action: &ActionBody, verdict: &Verdict, insight: Insight) -> Value {
    let access = match verdict {
        Verdict::Rbac(Decision { reason: Reason::Denied { .. } }) => "Denied",
        verdict if verdict.is_allowed() => "Allowed",
        Verdict::Rbac(_) | Verdict::AccessPolicy { .. } => "NotAllowed",
    };
    let (assignment, deny) = verdict_evidence(verdict, insight);
    json!({
        "actionId": action.id,
        "isDataAction": action.is_data_action,
        "accessDecision": access,
        "decisionReason": verdict_name(verdict),
        "roleAssignment": assignment,
        "denyAssignment": deny,
        // A decision holds for the moment: nothing may be kept.
        "timeToLiveInMs": 0,
    })
}
