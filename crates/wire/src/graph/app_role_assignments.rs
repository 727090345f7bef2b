//! App roles that were given: `appRoleAssignments` of service principals and groups, `appRoleAssignedTo` of applications.
//!
//! Source: Microsoft Graph REST API v1.0, "appRoleAssignment resource type" and its methods.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::directory::AppRoleAssignment;
use keycard_domain::directory::app_role_assignment::{self, NewAppRoleAssignment, Side};
use keycard_domain::directory::group::{self, DirectoryObject};
use keycard_domain::ids::TenantId;
use keycard_domain::snapshot::Snapshot;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{
    JsonBody, Rest, check_rest, date, entity, id, object_id, path_id, path_principal, tenant,
};
use super::error::GraphError;
use super::query::Query;
use super::{Base, Graph, row};
use crate::route::{Directory, Params, Route};

pub(super) fn routes() -> Vec<Route<Graph>> {
    let own = "/{api}/servicePrincipals/{servicePrincipal}/appRoleAssignments";
    let own_one = "/{api}/servicePrincipals/{servicePrincipal}/appRoleAssignments/{assignment}";
    let given = "/{api}/servicePrincipals/{servicePrincipal}/appRoleAssignedTo";
    let given_one = "/{api}/servicePrincipals/{servicePrincipal}/appRoleAssignedTo/{assignment}";
    let groups = "/{api}/groups/{group}/appRoleAssignments";
    let groups_one = "/{api}/groups/{group}/appRoleAssignments/{assignment}";
    let read = "microsoft.directory/servicePrincipals/appRoleAssignments/read";
    let read_given = "microsoft.directory/servicePrincipals/appRoleAssignedTo/read";
    let rows = [
        rows([own, own_one], read, Place::Principal),
        rows([given, given_one], read_given, Place::Resource),
        rows([groups, groups_one], read, Place::Group),
    ];
    rows.into_iter().flatten().collect()
}

/// The rows of one side.
fn rows([all, one]: [&'static str; 2], read: &'static str, place: Place) -> Vec<Route<Graph>> {
    let update = "microsoft.directory/servicePrincipals/appRoleAssignedTo/update";
    vec![
        row(Method::GET, all, read, move |it, graph, params, base, uri| {
            list(it, graph, params, (base, uri), place)
        }),
        row(Method::POST, all, update, move |it, graph, params, base, body| {
            give(it, graph, params, base, (body, place))
        }),
        row(Method::GET, one, read, move |it, graph, params, base| {
            show(it, graph, params, base, place)
        }),
        row(Method::DELETE, one, update, move |it, graph, params| take(it, graph, params, place)),
    ]
}

/// From which side the path looks at assignments.
#[derive(Clone, Copy, Debug)]
enum Place {
    Principal,
    Resource,
    Group,
}

impl Place {
    fn side(
        self,
        snapshot: &Snapshot,
        tenant: TenantId,
        params: &Params,
    ) -> Result<Side, GraphError> {
        Ok(match self {
            Self::Principal => Side::Principal(path_principal(snapshot, tenant, params)?.id),
            Self::Resource => Side::Resource(path_principal(snapshot, tenant, params)?.id),
            Self::Group => {
                Side::Principal(group::find(snapshot, tenant, path_id(params, "group")?)?.id)
            }
        })
    }
}

fn assignment_json(snapshot: &Snapshot, assignment: &AppRoleAssignment) -> Value {
    let object = |id| group::object(snapshot, assignment.tenant_id, id);
    let name = |object: Option<&DirectoryObject>| match object {
        Some(DirectoryObject::Group(group)) => Some(group.display_name.clone()),
        Some(DirectoryObject::ServicePrincipal(it)) => Some(it.display_name.clone()),
        None => None,
    };
    let (principal, resource) = (object(assignment.principal_id), object(assignment.resource_id));
    let kind = match &principal {
        Some(DirectoryObject::Group(_)) => "Group",
        Some(DirectoryObject::ServicePrincipal(_)) | None => "ServicePrincipal",
    };
    json!({
        "id": assignment.id,
        "deletedDateTime": null,
        "appRoleId": assignment.app_role_id,
        "createdDateTime": date(assignment.created_at),
        "principalDisplayName": name(principal.as_ref()),
        "principalId": assignment.principal_id,
        "principalType": kind,
        "resourceDisplayName": name(resource.as_ref()),
        "resourceId": assignment.resource_id,
    })
}

async fn list(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    (base, uri): (Base, Uri),
    place: Place,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let (snapshot, tenant) = (graph.seen(&operation), tenant(&operation)?);
    let side = place.side(&snapshot, tenant, &params)?;
    let assignments = app_role_assignment::list(&snapshot, tenant, side)
        .map(|assignment| assignment_json(&snapshot, assignment))
        .collect();
    query.page(&uri, &base, "appRoleAssignments", assignments).map(Json)
}

async fn show(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    place: Place,
) -> Result<Json<Value>, GraphError> {
    let (snapshot, tenant) = (graph.seen(&operation), tenant(&operation)?);
    let side = place.side(&snapshot, tenant, &params)?;
    let id = path_id(&params, "assignment")?;
    let found = app_role_assignment::find(&snapshot, tenant, side, id)?;
    Ok(Json(entity(&base, "appRoleAssignments", assignment_json(&snapshot, found))))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentBody {
    principal_id: String,
    resource_id: String,
    app_role_id: String,
    /// What the server knows by itself.
    principal_type: Option<String>,
    #[serde(flatten)]
    rest: Rest,
}

impl AssignmentBody {
    /// The object of the path has to be that of the body.
    fn read(&self, tenant_id: TenantId, side: Side) -> Result<NewAppRoleAssignment, GraphError> {
        let resource = "AppRoleAssignment";
        check_rest(resource, &self.rest)?;
        let kinds = ["ServicePrincipal", "Group"];
        if self.principal_type.as_deref().is_some_and(|kind| !kinds.contains(&kind)) {
            let why = "keycard has service principals and groups only";
            return Err(GraphError::invalid(resource, "principalType", why));
        }
        let new = NewAppRoleAssignment {
            tenant_id,
            principal_id: object_id(&self.principal_id)?,
            resource_id: object_id(&self.resource_id)?,
            app_role_id: id(&self.app_role_id)?,
        };
        let (property, is_same) = match side {
            Side::Principal(id) => ("principalId", id == new.principal_id),
            Side::Resource(id) => ("resourceId", id == new.resource_id),
        };
        if is_same {
            Ok(new)
        } else {
            Err(GraphError::invalid(resource, property, "it has to be the object of the path"))
        }
    }
}

async fn give(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    (JsonBody(body), place): (JsonBody<AssignmentBody>, Place),
) -> Result<(StatusCode, Json<Value>), GraphError> {
    let tenant = tenant(&operation)?;
    let side = place.side(&graph.seen(&operation), tenant, &params)?;
    let new = body.read(tenant, side)?;
    let made = app_role_assignment::create(&graph.state, &operation, new).await?;
    let body = assignment_json(&graph.state.snapshot(), &made);
    Ok((StatusCode::CREATED, Json(entity(&base, "appRoleAssignments", body))))
}

async fn take(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    place: Place,
) -> Result<StatusCode, GraphError> {
    let tenant = tenant(&operation)?;
    let side = place.side(&graph.seen(&operation), tenant, &params)?;
    let id = path_id(&params, "assignment")?;
    app_role_assignment::delete(&graph.state, &operation, tenant, side, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
