//! Why a question is decided as it is, what would be enough, and what a run needs: a provider of keycard's own, since
//! Azure has none. `keycard why` and `keycard record` talk to it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::directory::lookup::principal_named;
use keycard_domain::ids::{PrincipalId, SubscriptionId};
use keycard_domain::operation::OperationContext;
use keycard_domain::rbac::explanation::{self, Advice, Explanation, PolicyNeeded};
use keycard_domain::rbac::journal::{Asked, Recorded};
use keycard_domain::rbac::least_privilege::{self, Needed};
use keycard_domain::rbac::provider_operations::plane_of_action;
use keycard_domain::rbac::{AttributeSource, Attributes, Plane, assignment};
use keycard_domain::snapshot::Snapshot;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Arm;
use super::access::{
    named_text, require_action, require_bounded, require_insight, verdict_evidence, verdict_name,
};
use super::body::{JsonBody, tenant};
use super::error::ArmError;
use super::role_assignments::scope;
use super::role_definitions::definition_id;
use crate::route::{Access, Directory, OwnProof, Params, Route, Unread, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let explain_access = "/{*scope}/providers/Keycard.Local/explainAccess";
    let refusal = "/providers/Keycard.Local/refusals/{requestId}";
    let start = "/providers/Keycard.Local/startRecording";
    let stop = "/providers/Keycard.Local/stopRecording";
    let record = Access::Directory("Keycard.Local/recordings/action");
    vec![
        route(Method::POST, explain_access, Access::OwnProof, explain),
        route(Method::GET, refusal, Access::OwnProof, explain_refusal),
        route(Method::POST, start, record, start_recording),
        route(Method::POST, stop, record, stop_recording),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExplainBody {
    identity: String,
    action: String,
    is_data_action: Option<bool>,
    /// By the names that conditions write: `@Request[…]`.
    #[serde(default)]
    attributes: Map<String, Value>,
}

async fn explain(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<ExplainBody>,
) -> Result<Json<Value>, ArmError> {
    let (scope, tenant) = (scope(&params)?, tenant(&operation)?);
    let snapshot = arm.state.snapshot_to_keep();
    // Who may not ask about others here does not learn who there is either.
    let caller = operation.principal().ok_or(ArmError::TokenMissing)?;
    let principal = principal_named(&snapshot, tenant, &body.identity);
    let subject = principal.as_ref().map_or(PrincipalId::new(Uuid::nil()), |found| *found);
    let insight = require_insight(&arm, &operation, subject, &scope)?;
    require_action(&body.action)?;
    require_bounded(&body.attributes)?;
    let principal = principal.map_err(|error| ArmError::BodyMalformed(error.to_string()))?;
    let plane = match body.is_data_action {
        Some(true) => Plane::Data,
        Some(false) => Plane::Control,
        None => plane_of_action(&body.action),
    };
    let mut attributes = Attributes::of_environment(operation.now);
    for (name, value) in &body.attributes {
        let (source, name) = attribute_name(name)?;
        let value = value.as_str().ok_or_else(|| malformed_attribute(&name))?;
        let value = named_text(&name, value);
        attributes.set(source, name, value);
    }
    let asked = Asked {
        tenant: caller.tenant_id,
        principal,
        plane,
        action: body.action,
        scope,
        sub_operation: None,
        attributes,
    };
    let explanation = explanation::explain(&snapshot, asked, insight);
    Ok(Json(explanation_json(&snapshot, &explanation)))
}

fn malformed_attribute(name: &str) -> ArmError {
    let name: String = name.chars().take(100).collect();
    ArmError::BodyMalformed(format!(
        "`{name}` is no attribute such as `@Request[name]` with a text"
    ))
}

/// `@Request[…]`, `@Resource[…]`, `@Principal[…]`, `@Environment[…]`.
fn attribute_name(text: &str) -> Result<(AttributeSource, String), ArmError> {
    let sources = [
        AttributeSource::Request,
        AttributeSource::Resource,
        AttributeSource::Principal,
        AttributeSource::Environment,
    ];
    text.strip_prefix('@')
        .and_then(|rest| rest.split_once('['))
        .and_then(|(source, rest)| {
            let source = sources.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(source))?;
            Some((source, rest.strip_suffix(']')?.to_owned()))
        })
        .ok_or_else(|| malformed_attribute(text))
}

async fn explain_refusal(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let caller = operation.principal().ok_or(ArmError::TokenMissing)?;
    let not_found = || ArmError::NotFound {
        resource_type: "Keycard.Local/refusals".to_owned(),
        name: params.get("requestId").chars().take(100).collect(),
    };
    let request_id = Uuid::try_parse(params.get("requestId")).map_err(|_| not_found())?;
    let snapshot = arm.state.snapshot_to_keep();
    let refusals = arm.state.journal.refusals_of(request_id);
    let explained = explanation::of_request(&snapshot, refusals, caller, operation.now);
    if explained.is_empty() {
        return Err(not_found());
    }
    let items: Vec<Value> = explained.iter().map(|it| explanation_json(&snapshot, it)).collect();
    Ok(Json(json!({ "value": items })))
}

fn principal_json(snapshot: &Snapshot, principal: PrincipalId) -> Value {
    let known = snapshot.service_principal(principal);
    let group = snapshot.groups.get(&principal.to_string());
    let name = known.map(|it| it.display_name.as_str());
    json!({
        "principalId": principal,
        "displayName": name.or_else(|| group.map(|it| it.display_name.as_str())),
        "clientId": known.map(|it| it.client_id),
    })
}

fn asked_json(snapshot: &Snapshot, asked: &Asked) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("identity".to_owned(), principal_json(snapshot, asked.principal));
    members.insert("action".to_owned(), json!(asked.action));
    members.insert("isDataAction".to_owned(), json!(asked.plane == Plane::Data));
    members.insert("scope".to_owned(), json!(asked.scope));
    members
}

fn explanation_json(snapshot: &Snapshot, explanation: &Explanation) -> Value {
    let mut members = asked_json(snapshot, &explanation.asked);
    let (assignment, deny) = verdict_evidence(&explanation.verdict, explanation.insight);
    let reason = verdict_name(&explanation.verdict);
    let decision = if explanation.is_allowed() { "Allowed" } else { "NotAllowed" };
    members.insert("decision".to_owned(), json!(decision));
    members.insert("reason".to_owned(), json!(reason));
    members.insert("roleAssignment".to_owned(), assignment);
    members.insert("denyAssignment".to_owned(), deny);
    let advice = explanation.advice.as_ref();
    let advice = advice.map(|advice| advice_json(snapshot, &explanation.asked, advice));
    members.insert("advice".to_owned(), json!(advice));
    Value::Object(members)
}

fn advice_json(snapshot: &Snapshot, asked: &Asked, advice: &Advice) -> Value {
    match advice {
        Advice::Assign(needed) => needed_json(snapshot, asked, needed),
        Advice::LiftDeny(deny) => json!({
            "kind": "liftDenyAssignment",
            "command": format!(
                "az rest --method delete --url {}",
                shell_word(&format!(
                    "{}/providers/Microsoft.Authorization/denyAssignments/{}?api-version=2024-07-01-preview",
                    if deny.scope.key().is_empty() { "" } else { deny.scope.as_str() },
                    deny.id
                ))
            ),
        }),
        Advice::SetAccessPolicy(needed) => policy_json(needed),
    }
}

fn policy_json(needed: &PolicyNeeded) -> Value {
    json!({
        "kind": "setAccessPolicy",
        "vault": needed.vault.id,
        "principalId": needed.principal,
        "secretPermission": needed.word,
        "command": format!(
            "az keyvault set-policy --name {} --object-id {} --secret-permissions {}",
            needed.vault.name(),
            needed.principal,
            needed.word
        ),
    })
}

fn needed_json(snapshot: &Snapshot, asked: &Asked, needed: &Needed) -> Value {
    json!({
        "kind": "assignRole",
        "role": {
            "id": definition_id(&needed.scope, needed.role.id),
            "name": needed.role.role_name,
            "knownActions": least_privilege::breadth(&needed.role),
        },
        "scope": needed.scope,
        "principalId": needed.principal,
        "command": assign_command(snapshot, asked, needed),
    })
}

fn assign_command(snapshot: &Snapshot, asked: &Asked, needed: &Needed) -> String {
    let kind = assignment::type_in_directory(snapshot, asked.tenant, needed.principal);
    let kind = kind.map_or("ServicePrincipal", |kind| kind.as_str());
    format!(
        "az role assignment create --assignee-object-id {} --assignee-principal-type {kind} --role {} --scope {}",
        needed.principal,
        shell_word(&needed.role.role_name),
        shell_word(needed.scope.as_str())
    )
}

/// A text as one word of a shell.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

async fn start_recording(
    Directory(operation): Directory,
    State(arm): State<Arm>,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    arm.state.journal.start(tenant(&operation)?);
    Ok(Json(json!({ "status": "Recording" })))
}

async fn stop_recording(
    Directory(operation): Directory,
    State(arm): State<Arm>,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let recorded = arm.state.journal.stop(tenant(&operation)?).ok_or(ArmError::NotRecording)?;
    let snapshot = arm.state.snapshot_to_keep();
    Ok(Json(recording_json(&snapshot, &operation, &recorded)))
}

fn recording_json(
    snapshot: &Snapshot,
    operation: &OperationContext,
    recorded: &[Recorded],
) -> Value {
    let own = operation.principal().map(|caller| caller.principal_id);
    // Whoever records only watches: its own requests are no part of the run.
    let watched = || recorded.iter().filter(|it| Some(it.asked.principal) != own);
    let (run, by_policy): (Vec<Asked>, Vec<Asked>) = watched()
        .map(|it| it.asked.clone())
        .partition(|asked| explanation::is_decided_by_roles(snapshot, asked));
    let (needed, uncovered) = least_privilege::cover(snapshot, &run);
    let policies = explanation::policies_needed(snapshot, &by_policy);
    let questions: Vec<Value> = watched()
        .map(|it| {
            let mut members = asked_json(snapshot, &it.asked);
            members.insert("wasAllowed".to_owned(), json!(it.was_allowed));
            members.insert("count".to_owned(), json!(it.count));
            Value::Object(members)
        })
        .collect();
    let assignments: Vec<Value> = needed
        .iter()
        .filter_map(|it| run.first().map(|asked| needed_json(snapshot, asked, it)))
        .collect();
    let uncovered: Vec<Value> =
        uncovered.iter().map(|asked| Value::Object(asked_json(snapshot, asked))).collect();
    json!({
        "questions": questions,
        "assignments": assignments,
        "accessPolicies": policies.iter().map(policy_json).collect::<Vec<_>>(),
        "uncovered": uncovered,
        "template": template(snapshot, &run, &needed),
    })
}

/// An ARM template, to be deployed at a subscription, that makes the assignments: one nested deployment for each
/// resource group. Assignments above the subscriptions have no place in it.
fn template(snapshot: &Snapshot, run: &[Asked], needed: &[Needed]) -> Value {
    let mut resources: Vec<Value> = Vec::new();
    let mut by_group: BTreeMap<(SubscriptionId, String), (&str, Vec<Value>)> = BTreeMap::new();
    for needed in needed {
        let Some(subscription) = needed.scope.subscription() else { continue };
        let resource = assignment_resource(snapshot, run, needed);
        match needed.scope.resource_group() {
            None => resources.push(resource),
            Some(group) => {
                let place = (subscription, group.to_ascii_lowercase());
                by_group.entry(place).or_insert((group, Vec::new())).1.push(resource);
            }
        }
    }
    let nested = by_group.into_iter().map(|((subscription, key), (group, members))| {
        let place = format!("{subscription}/{key}");
        json!({
            "type": "Microsoft.Resources/deployments",
            "apiVersion": "2022-09-01",
            "name": format!("roles-{}", Uuid::new_v5(&Uuid::NAMESPACE_URL, place.as_bytes()).simple()),
            "subscriptionId": subscription,
            "resourceGroup": group,
            "properties": {
                "mode": "Incremental",
                "template": {
                    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
                    "contentVersion": "1.0.0.0",
                    "resources": members,
                },
            },
        })
    });
    resources.extend(nested);
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": resources,
    })
}

fn assignment_resource(snapshot: &Snapshot, run: &[Asked], needed: &Needed) -> Value {
    let place = format!("{}|{}|{}", needed.scope.key(), needed.principal, needed.role.id);
    let tenant = run.first().map(|asked| asked.tenant);
    let kind = tenant.and_then(|it| assignment::type_in_directory(snapshot, it, needed.principal));
    let mut resource = json!({
        "type": "Microsoft.Authorization/roleAssignments",
        "apiVersion": "2022-04-01",
        "name": Uuid::new_v5(&Uuid::NAMESPACE_URL, place.as_bytes()),
        "properties": {
            "roleDefinitionId": definition_id(&needed.scope, needed.role.id),
            "principalId": needed.principal,
            "principalType": kind.map_or("ServicePrincipal", |kind| kind.as_str()),
        },
    });
    let below_group = needed.scope.as_str().split_once("/providers/").map(|(_, rest)| rest);
    if let (Some(below), Some(members)) = (below_group, resource.as_object_mut()) {
        members.insert("scope".to_owned(), json!(below));
    }
    resource
}
