//! Policies and what they are in force for: `/policies/tokenLifetimePolicies`, `/policies/claimsMappingPolicies`, and the
//! links below applications and service principals.
//!
//! Source: Microsoft Graph REST API v1.0, "tokenLifetimePolicy" and "claimsMappingPolicy" resource types and their methods.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::directory::Policy;
use keycard_domain::directory::policy::links::{self, LinkedObject, Target};
use keycard_domain::directory::policy::management::{self, NewPolicy, PolicyChange};
use keycard_domain::directory::policy::{self, PolicyKind};
use keycard_domain::ids::TenantId;
use keycard_domain::operation::OperationContext;
use keycard_domain::snapshot::Snapshot;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{
    JsonBody, ReferenceBody, Rest, check_rest, entity, id, path_application, path_id,
    path_principal, present, tenant,
};
use super::error::GraphError;
use super::objects::{application_json, principal_json, typed};
use super::query::Query;
use super::{Base, Graph, row};
use crate::route::{Directory, Params, Route};

const READ: &str = "microsoft.directory/policies/standard/read";
const READ_APPLIED: &str = "microsoft.directory/policies/policyAppliedTo/read";
const CREATE: &str = "microsoft.directory/policies/create";
const UPDATE: &str = "microsoft.directory/policies/basic/update";
const DELETE: &str = "microsoft.directory/policies/delete";
const LINK_APPLICATION: &str = "microsoft.directory/applications/policies/update";
const LINK_PRINCIPAL: &str = "microsoft.directory/servicePrincipals/policies/update";

pub(super) fn routes() -> Vec<Route<Graph>> {
    let lifetimes = [
        "/{api}/policies/tokenLifetimePolicies",
        "/{api}/policies/tokenLifetimePolicies/{policy}",
        "/{api}/policies/tokenLifetimePolicies/{policy}/appliesTo",
    ];
    let claims = [
        "/{api}/policies/claimsMappingPolicies",
        "/{api}/policies/claimsMappingPolicies/{policy}",
        "/{api}/policies/claimsMappingPolicies/{policy}/appliesTo",
    ];
    let of_applications = [
        "/{api}/applications/{application}/tokenLifetimePolicies",
        "/{api}/applications/{application}/tokenLifetimePolicies/$ref",
        "/{api}/applications/{application}/tokenLifetimePolicies/{policy}/$ref",
    ];
    let of_principals = [
        "/{api}/servicePrincipals/{servicePrincipal}/tokenLifetimePolicies",
        "/{api}/servicePrincipals/{servicePrincipal}/tokenLifetimePolicies/$ref",
        "/{api}/servicePrincipals/{servicePrincipal}/tokenLifetimePolicies/{policy}/$ref",
    ];
    let claims_of_principals = [
        "/{api}/servicePrincipals/{servicePrincipal}/claimsMappingPolicies",
        "/{api}/servicePrincipals/{servicePrincipal}/claimsMappingPolicies/$ref",
        "/{api}/servicePrincipals/{servicePrincipal}/claimsMappingPolicies/{policy}/$ref",
    ];
    let (application, principal) = (Place::Application, Place::ServicePrincipal);
    let rows = [
        rows(lifetimes, PolicyKind::TokenLifetime),
        rows(claims, PolicyKind::ClaimsMapping),
        link_rows(of_applications, LINK_APPLICATION, application, PolicyKind::TokenLifetime),
        link_rows(of_principals, LINK_PRINCIPAL, principal, PolicyKind::TokenLifetime),
        link_rows(claims_of_principals, LINK_PRINCIPAL, principal, PolicyKind::ClaimsMapping),
    ];
    rows.into_iter().flatten().collect()
}

/// The rows of a kind of policy.
fn rows([all, one, applied]: [&'static str; 3], kind: PolicyKind) -> Vec<Route<Graph>> {
    vec![
        row(Method::GET, all, READ, move |it, graph, base, uri| list(it, graph, base, uri, kind)),
        row(Method::POST, all, CREATE, move |it, graph, base, body| {
            create(it, graph, base, body, kind)
        }),
        row(Method::GET, one, READ, move |it, graph, params, base, uri| {
            show(it, graph, params, (base, uri), kind)
        }),
        row(Method::PATCH, one, UPDATE, move |it, graph, params, body| {
            change(it, graph, params, body, kind)
        }),
        row(Method::DELETE, one, DELETE, move |it, graph, params| delete(it, graph, params, kind)),
        row(Method::GET, applied, READ_APPLIED, move |it, graph, params, base, uri| {
            applies_to(it, graph, params, (base, uri), kind)
        }),
    ]
}

/// The rows of the links between a kind of policy and a kind of object.
fn link_rows(
    [all, add, one]: [&'static str; 3],
    update: &'static str,
    place: Place,
    kind: PolicyKind,
) -> Vec<Route<Graph>> {
    vec![
        row(Method::GET, all, READ, move |it, graph, params, base, uri| {
            list_links(it, graph, params, (base, uri), (place, kind))
        }),
        row(Method::POST, add, update, move |it, graph, params, body| {
            link(it, graph, params, body, (place, kind))
        }),
        row(Method::DELETE, one, update, move |it, graph, params| {
            unlink(it, graph, params, (place, kind))
        }),
    ]
}

/// The collection of a kind, below `/policies`.
const fn collection(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::TokenLifetime => "tokenLifetimePolicies",
        PolicyKind::ClaimsMapping => "claimsMappingPolicies",
    }
}

const fn resource(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::TokenLifetime => "TokenLifetimePolicy",
        PolicyKind::ClaimsMapping => "ClaimsMappingPolicy",
    }
}

/// What a policy can be linked to.
#[derive(Clone, Copy, Debug)]
enum Place {
    Application,
    ServicePrincipal,
}

impl Place {
    fn target(
        self,
        snapshot: &Snapshot,
        tenant: TenantId,
        params: &Params,
    ) -> Result<Target, GraphError> {
        Ok(match self {
            Self::Application => {
                Target::Application(path_application(snapshot, tenant, params)?.id)
            }
            Self::ServicePrincipal => {
                Target::ServicePrincipal(path_principal(snapshot, tenant, params)?.id)
            }
        })
    }
}

fn policy_json(policy: &Policy) -> Value {
    json!({
        "id": policy.id,
        "deletedDateTime": null,
        "definition": [policy.definition],
        "description": policy.description,
        "displayName": policy.display_name,
        "isOrganizationDefault": policy.is_organization_default,
    })
}

async fn list(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    uri: Uri,
    kind: PolicyKind,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.state.snapshot_to_keep();
    let all = policy::list(&snapshot, tenant(&operation)?, kind);
    let policies = all.map(|policy| policy_json(policy)).collect();
    query.page(&uri, &base, &format!("policies/{}", collection(kind)), policies).map(Json)
}

/// What a policy can be given.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyBody {
    display_name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    description: Option<Option<String>>,
    definition: Option<Vec<String>>,
    is_organization_default: Option<bool>,
    #[serde(flatten)]
    rest: Rest,
}

impl PolicyBody {
    fn read(self, kind: PolicyKind) -> Result<PolicyChange, GraphError> {
        check_rest(resource(kind), &self.rest)?;
        let definition = match self.definition.as_deref() {
            None => None,
            Some([definition]) => Some(definition.clone()),
            Some(_) => {
                let why = "it has to hold one text";
                return Err(GraphError::invalid(resource(kind), "definition", why));
            }
        };
        Ok(PolicyChange {
            display_name: self.display_name,
            description: self.description,
            definition,
            is_organization_default: self.is_organization_default,
        })
    }
}

async fn create(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    JsonBody(body): JsonBody<PolicyBody>,
    kind: PolicyKind,
) -> Result<(StatusCode, Json<Value>), GraphError> {
    let change = body.read(kind)?;
    let missing = |property| GraphError::invalid(resource(kind), property, "it is required");
    let new = NewPolicy {
        tenant_id: tenant(&operation)?,
        kind,
        display_name: change.display_name.ok_or_else(|| missing("displayName"))?,
        description: change.description.flatten(),
        definition: change.definition.ok_or_else(|| missing("definition"))?,
        is_organization_default: change.is_organization_default.unwrap_or(false),
    };
    let policy = management::create(&graph.state, &operation, &new).await?;
    let of = format!("policies/{}", collection(kind));
    Ok((StatusCode::CREATED, Json(entity(&base, &of, policy_json(&policy)))))
}

async fn show(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    (base, uri): (Base, Uri),
    kind: PolicyKind,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.state.snapshot();
    let id = path_id(&params, "policy")?;
    let found = management::find(&snapshot, tenant(&operation)?, kind, id)?;
    let of = format!("policies/{}", collection(kind));
    Ok(Json(entity(&base, &of, query.select(policy_json(found)))))
}

async fn change(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    JsonBody(body): JsonBody<PolicyBody>,
    kind: PolicyKind,
) -> Result<StatusCode, GraphError> {
    let (tenant, id, change) = (tenant(&operation)?, path_id(&params, "policy")?, body.read(kind)?);
    management::update(&graph.state, &operation, tenant, (kind, id), &change).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    kind: PolicyKind,
) -> Result<StatusCode, GraphError> {
    let (tenant, id) = (tenant(&operation)?, path_id(&params, "policy")?);
    management::delete(&graph.state, &operation, tenant, (kind, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn applies_to(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    (base, uri): (Base, Uri),
    kind: PolicyKind,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let (snapshot, tenant) = (graph.state.snapshot_to_keep(), tenant(&operation)?);
    let policy = management::find(&snapshot, tenant, kind, path_id(&params, "policy")?)?;
    let objects = links::applies_to(&snapshot, tenant, policy.id).into_iter();
    let objects = objects.map(|object| match object {
        LinkedObject::Application(it) => typed("application", application_json(it)),
        LinkedObject::ServicePrincipal(it) => {
            typed("servicePrincipal", principal_json(&snapshot, it))
        }
    });
    query.page(&uri, &base, "directoryObjects", objects.collect()).map(Json)
}

async fn list_links(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    (base, uri): (Base, Uri),
    (place, kind): (Place, PolicyKind),
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let (snapshot, tenant) = (graph.state.snapshot_to_keep(), tenant(&operation)?);
    let target = place.target(&snapshot, tenant, &params)?;
    let linked = policy::linked(&snapshot, tenant, target.id(), kind);
    let policies = linked.into_iter().map(|policy| policy_json(policy)).collect();
    query.page(&uri, &base, &format!("policies/{}", collection(kind)), policies).map(Json)
}

/// The object that a request links.
fn target(
    graph: &Graph,
    operation: &OperationContext,
    params: &Params,
    place: Place,
) -> Result<Target, GraphError> {
    place.target(&graph.seen(operation), tenant(operation)?, params)
}

async fn link(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    JsonBody(body): JsonBody<ReferenceBody>,
    (place, kind): (Place, PolicyKind),
) -> Result<StatusCode, GraphError> {
    let (tenant, to) = (tenant(&operation)?, target(&graph, &operation, &params, place)?);
    let policy = id(body.read(&[collection(kind), "policies"])?)?;
    links::create(&graph.state, &operation, tenant, to, (kind, policy)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unlink(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    (place, kind): (Place, PolicyKind),
) -> Result<StatusCode, GraphError> {
    let (tenant, from) = (tenant(&operation)?, target(&graph, &operation, &params, place)?);
    let policy = path_id(&params, "policy")?;
    links::delete(&graph.state, &operation, tenant, from, (kind, policy)).await?;
    Ok(StatusCode::NO_CONTENT)
}
