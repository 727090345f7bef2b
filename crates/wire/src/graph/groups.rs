//! Groups and their members: `/groups`.
//!
//! Source: Microsoft Graph REST API v1.0, "group resource type" and its methods.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::directory::group::{self, GroupChange, NewGroup, Reach};
use keycard_domain::operation::OperationContext;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::body::{JsonBody, ReferenceBody, entity, object_id, path_id, tenant};
use super::error::GraphError;
use super::objects::{group_json, object_json};
use super::query::Query;
use super::{Base, Graph, row};
use crate::route::{Directory, Params, Route};

pub(super) fn routes() -> Vec<Route<Graph>> {
    let (all, one) = ("/{api}/groups", "/{api}/groups/{group}");
    let members = "/{api}/groups/{group}/members";
    let transitive = "/{api}/groups/{group}/transitiveMembers";
    let add = "/{api}/groups/{group}/members/$ref";
    let member = "/{api}/groups/{group}/members/{member}/$ref";
    let read = "microsoft.directory/groups/standard/read";
    let update = "microsoft.directory/groups/basic/update";
    let members_read = "microsoft.directory/groups/members/read";
    let members_update = "microsoft.directory/groups/members/update";
    vec![
        row(Method::GET, all, read, list),
        row(Method::POST, all, "microsoft.directory/groups/create", create),
        row(Method::GET, one, read, show),
        row(Method::PATCH, one, update, change),
        row(Method::DELETE, one, "microsoft.directory/groups/delete", remove),
        row(Method::GET, members, members_read, list_members),
        row(Method::GET, transitive, members_read, list_transitive_members),
        row(Method::POST, add, members_update, add_member),
        row(Method::DELETE, member, members_update, remove_member),
    ]
}

async fn list(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.state.snapshot_to_keep();
    let all = group::list(&snapshot, tenant(&operation)?);
    let groups = all.map(|group| group_json(group)).collect();
    query.page(&uri, &base, "groups", groups).map(Json)
}

/// What a group can be given; a member that is not here is refused, not forgotten.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupBody {
    display_name: Option<String>,
    description: Option<String>,
    mail_nickname: Option<String>,
    mail_enabled: Option<bool>,
    security_enabled: Option<bool>,
    #[serde(default)]
    group_types: Vec<String>,
    #[serde(rename = "@odata.type")]
    _odata_type: Option<IgnoredAny>,
}

impl GroupBody {
    /// keycard has security groups only.
    fn check_kind(&self) -> Result<(), GraphError> {
        let invalid = |property, why| Err(GraphError::invalid("Group", property, why));
        if self.mail_enabled == Some(true) {
            return invalid("mailEnabled", "it has to be false, since keycard sends no mail");
        }
        if self.security_enabled == Some(false) {
            return invalid("securityEnabled", "it has to be true");
        }
        if !self.group_types.is_empty() {
            return invalid("groupTypes", "it has to be empty: keycard has security groups only");
        }
        Ok(())
    }

    fn read_new(self, operation: &OperationContext) -> Result<NewGroup, GraphError> {
        self.check_kind()?;
        let missing = |property| GraphError::invalid("Group", property, "it is required");
        self.mail_enabled.ok_or_else(|| missing("mailEnabled"))?;
        self.security_enabled.ok_or_else(|| missing("securityEnabled"))?;
        Ok(NewGroup {
            tenant_id: tenant(operation)?,
            display_name: self.display_name.ok_or_else(|| missing("displayName"))?,
            description: self.description,
            mail_nickname: self.mail_nickname.ok_or_else(|| missing("mailNickname"))?,
        })
    }
}

async fn create(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    JsonBody(body): JsonBody<GroupBody>,
) -> Result<(StatusCode, Json<Value>), GraphError> {
    let group = group::create(&graph.state, &operation, &body.read_new(&operation)?).await?;
    Ok((StatusCode::CREATED, Json(entity(&base, "groups", group_json(&group)))))
}

async fn show(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.state.snapshot();
    let found = group::find(&snapshot, tenant(&operation)?, path_id(&params, "group")?)?;
    Ok(Json(entity(&base, "groups", query.select(group_json(found)))))
}

async fn change(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    JsonBody(body): JsonBody<GroupBody>,
) -> Result<StatusCode, GraphError> {
    body.check_kind()?;
    let (tenant, id) = (tenant(&operation)?, path_id(&params, "group")?);
    let GroupBody { display_name, description, mail_nickname, .. } = body;
    let change = GroupChange { display_name, description, mail_nickname };
    group::update(&graph.state, &operation, tenant, id, &change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// At once and for good.
// Differs from Azure: only Microsoft 365 groups are kept for a while there, and keycard has none.
async fn remove(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
) -> Result<StatusCode, GraphError> {
    let (tenant, id) = (tenant(&operation)?, path_id(&params, "group")?);
    group::delete(&graph.state, &operation, tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn members(
    operation: &OperationContext,
    graph: &Graph,
    params: &Params,
    (uri, base): (&Uri, &Base),
    reach: Reach,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(uri)?;
    let snapshot = graph.seen(operation);
    let id = path_id(params, "group")?;
    let found = group::members(&snapshot, tenant(operation)?, id, reach)?;
    let objects = found.iter().map(|object| object_json(&snapshot, object)).collect();
    query.page(uri, base, "directoryObjects", objects).map(Json)
}

async fn list_members(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    members(&operation, &graph, &params, (&uri, &base), Reach::Direct)
}

async fn list_transitive_members(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    members(&operation, &graph, &params, (&uri, &base), Reach::Transitive)
}

/// The collections that a member can stand in.
const MEMBERS: [&str; 3] = ["directoryObjects", "servicePrincipals", "groups"];

async fn add_member(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    JsonBody(body): JsonBody<ReferenceBody>,
) -> Result<StatusCode, GraphError> {
    let (tenant, group) = (tenant(&operation)?, path_id(&params, "group")?);
    let member = object_id(body.read(&MEMBERS)?)?;
    group::add_member(&graph.state, &operation, tenant, group, member).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_member(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
) -> Result<StatusCode, GraphError> {
    let (group, member) = (path_id(&params, "group")?, path_id(&params, "member")?);
    let tenant = tenant(&operation)?;
    group::remove_member(&graph.state, &operation, tenant, group, member).await?;
    Ok(StatusCode::NO_CONTENT)
}
