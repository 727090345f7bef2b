//! Management groups, what hangs below them, and the way of a directory's administrator to rights above them.
//!
//! Source: Microsoft.Management REST API 2020-05-01 to 2023-04-01; Microsoft.Authorization REST API 2016-07-01,
//! elevateAccess.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::directory::directory_role;
use keycard_domain::directory::tenant::Subscription;
use keycard_domain::ids::SubscriptionId;
use keycard_domain::operation::{OperationContext, Principal};
use keycard_domain::rbac::{RbacScope, may};
use keycard_domain::resources::management_group::{
    self, ManagementGroupError, NewManagementGroup, WRITE_ACTION,
};
use keycard_domain::resources::management_group_tree::{self, Child, GroupView, READ_ACTION, Tree};
use keycard_domain::snapshot::Snapshot;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::body::{JsonBody, date, page, tenant};
use super::error::ArmError;
use super::{Arm, filter, row};
use crate::request::Parameters;
use crate::route::{Access, Directory, OwnProof, Params, Rbac, Route, Unread, route};

const TYPE: &str = "Microsoft.Management/managementGroups";
const DELETE_ACTION: &str = "Microsoft.Management/managementGroups/delete";

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/providers/Microsoft.Management/managementGroups";
    let one = "/providers/Microsoft.Management/managementGroups/{group}";
    let descendants = "/providers/Microsoft.Management/managementGroups/{group}/descendants";
    let descendants_read = "Microsoft.Management/managementGroups/descendants/read";
    let below = "/providers/Microsoft.Management/managementGroups/{group}/subscriptions";
    let subscription =
        "/providers/Microsoft.Management/managementGroups/{group}/subscriptions/{subscription}";
    let subscriptions_read = "Microsoft.Management/managementGroups/subscriptions/read";
    let place = "Microsoft.Management/managementGroups/subscriptions/write";
    let take = "Microsoft.Management/managementGroups/subscriptions/delete";
    let entities = "/providers/Microsoft.Management/getEntities";
    let elevate = Access::Directory("Microsoft.Authorization/elevateAccess/action");
    let elevation = "/providers/Microsoft.Authorization/elevateAccess";
    vec![
        // What the caller may see, and what it may make in which parent, the domain decides.
        route(Method::GET, all, Access::OwnProof, list),
        route(Method::PUT, one, Access::OwnProof, put),
        route(Method::POST, entities, Access::OwnProof, list_entities),
        row(Method::GET, one, READ_ACTION, show),
        row(Method::PATCH, one, WRITE_ACTION, patch),
        row(Method::DELETE, one, DELETE_ACTION, remove),
        row(Method::GET, descendants, descendants_read, list_descendants),
        row(Method::POST, descendants, descendants_read, list_descendants),
        row(Method::GET, below, subscriptions_read, list_subscriptions),
        row(Method::GET, subscription, subscriptions_read, show_subscription),
        row(Method::PUT, subscription, place, place_subscription),
        row(Method::DELETE, subscription, take, take_subscription),
        route(Method::POST, elevation, elevate, elevate_access),
    ]
}

fn with_properties(group: &GroupView, mut properties: Value) -> Value {
    let own = json!({ "tenantId": group.tenant_id, "displayName": group.display_name });
    if let (Some(properties), Value::Object(own)) = (properties.as_object_mut(), own) {
        properties.extend(own);
    }
    json!({
        "id": management_group::path(&group.name),
        "type": TYPE,
        "name": group.name,
        "properties": properties,
    })
}

fn group_json(group: &GroupView) -> Value {
    with_properties(group, json!({}))
}

fn detailed_json(tree: &Tree<'_>, group: &GroupView, depth: Depth) -> Value {
    let above = tree.above(&Child::Group(group.clone()));
    let parent = above.last().map(|parent| {
        json!({
            "id": management_group::path(&parent.name),
            "name": parent.name,
            "displayName": parent.display_name,
        })
    });
    let details = json!({
        "version": group.version,
        "updatedTime": group.updated_at.and_then(date),
        "updatedBy": group.updated_by,
        "parent": parent,
    });
    let properties = match depth {
        Depth::None => json!({ "details": details }),
        Depth::Children | Depth::All => {
            json!({ "details": details, "children": children_json(tree, group, depth) })
        }
    };
    with_properties(group, properties)
}

fn child_id(child: &Child) -> String {
    match child {
        Child::Group(group) => management_group::path(&group.name),
        Child::Subscription(subscription) => format!("/subscriptions/{}", subscription.id),
    }
}

/// Type, name and display name, which groups and subscriptions have in common.
fn labels(child: &Child) -> (&'static str, String, &str) {
    match child {
        Child::Group(group) => (TYPE, group.name.clone(), &group.display_name),
        Child::Subscription(it) => ("/subscriptions", it.id.to_string(), &it.display_name),
    }
}

fn child_json(tree: &Tree<'_>, child: &Child, depth: Depth) -> Value {
    let (kind, name, display_name) = labels(child);
    let id = child_id(child);
    match (child, depth) {
        (Child::Group(group), Depth::All) => json!({
            "id": id, "type": kind, "name": name, "displayName": display_name,
            "children": children_json(tree, group, depth),
        }),
        _ => json!({ "id": id, "type": kind, "name": name, "displayName": display_name }),
    }
}

/// The tree has a bounded depth, so this ends.
fn children_json(tree: &Tree<'_>, group: &GroupView, depth: Depth) -> Value {
    let children = tree.children(group.key.as_deref());
    children.iter().map(|child| child_json(tree, child, depth)).collect()
}

fn below_json(subscription: &Subscription, group: &str) -> Value {
    let above = management_group::path(group);
    json!({
        "id": format!("{above}/subscriptions/{}", subscription.id),
        "type": "Microsoft.Management/managementGroups/subscriptions",
        "name": subscription.id,
        "properties": {
            "tenant": subscription.tenant_id,
            "displayName": subscription.display_name,
            "parent": { "id": above },
            "state": "Active",
        },
    })
}

/// How much of what is below a group is shown with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    None,
    Children,
    All,
}

impl Depth {
    fn of(uri: &Uri) -> Result<Self, ArmError> {
        let query = Parameters::of(uri);
        let recurses =
            query.get("$recurse").is_some_and(|recurse| recurse.eq_ignore_ascii_case("true"));
        match (query.non_empty("$expand"), recurses) {
            (None, false) => Ok(Self::None),
            (None, true) => Err(filter::unsupported("$recurse without $expand")),
            (Some(expand), _) if !expand.eq_ignore_ascii_case("children") => {
                Err(filter::unsupported(expand))
            }
            (Some(_), false) => Ok(Self::Children),
            (Some(_), true) => Ok(Self::All),
        }
    }
}

fn refused(operation: &OperationContext) -> impl Fn(ManagementGroupError) -> ArmError {
    |error| ArmError::ManagementGroup { error, operation: Box::new(operation.clone()) }
}

fn subscription(params: &Params) -> Result<SubscriptionId, ArmError> {
    params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)
}

fn principal(operation: &OperationContext) -> Result<&Principal, ArmError> {
    operation.principal().ok_or(ArmError::TokenMissing)
}

async fn list(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let groups = management_group_tree::visible_groups(&snapshot, principal(&operation)?);
    let items = groups.iter().map(|group| (group.name.to_ascii_lowercase(), group_json(group)));
    Ok(Json(page(&uri, &arm.names.url("management"), items.collect())))
}

fn show_now(arm: &Arm, operation: &OperationContext, name: &str) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let tree = Tree::of(&snapshot, tenant(operation)?);
    let group = tree.find(name).map_err(refused(operation))?;
    Ok(Json(detailed_json(&tree, &group, Depth::None)))
}

async fn show(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let depth = Depth::of(&uri)?;
    let snapshot = arm.state.snapshot_to_keep();
    let tree = Tree::of(&snapshot, tenant(&operation)?);
    let group = tree.find(params.get("group")).map_err(refused(&operation))?;
    Ok(Json(detailed_json(&tree, &group, depth)))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PutBody {
    #[serde(default)]
    properties: Option<PutProperties>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PutProperties {
    display_name: Option<String>,
    details: Option<Details>,
    /// An older spelling, which the reference's example still has.
    parent: Option<ParentBody>,
}

#[derive(Deserialize)]
struct Details {
    parent: Option<ParentBody>,
}

#[derive(Deserialize)]
struct ParentBody {
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PatchBody {
    display_name: Option<String>,
    #[serde(alias = "parentId")]
    parent_group_id: Option<String>,
}

/// The group that an id names: the whole id, not its name alone.
fn parent_name(id: Option<String>) -> Result<Option<String>, ArmError> {
    let Some(id) = id else { return Ok(None) };
    let scope = RbacScope::parse(&id).ok();
    let is_group = scope.is_some_and(|scope| {
        scope.management_group().is_some() && scope.container_key() == Some(scope.key())
    });
    let name = id.rsplit('/').next().filter(|_| is_group);
    name.map(|name| Some(name.to_owned())).ok_or_else(|| {
        ArmError::BodyMalformed(
            "The parent has to be the id of a management group: /providers/Microsoft.Management/managementGroups/{name}."
                .to_owned(),
        )
    })
}

async fn put(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(PutBody { properties }): JsonBody<PutBody>,
) -> Result<Json<Value>, ArmError> {
    let operation = OperationContext { action: WRITE_ACTION, ..operation };
    let PutProperties { display_name, details, parent } = properties.unwrap_or_default();
    let parent = details.and_then(|details| details.parent).or(parent);
    let new = NewManagementGroup {
        tenant_id: tenant(&operation)?,
        name: params.get("group").to_owned(),
        display_name,
        parent: parent_name(parent.and_then(|parent| parent.id))?,
    };
    management_group::put(&arm.state, &operation, &new).await.map_err(refused(&operation))?;
    show_now(&arm, &operation, &new.name)
}

async fn patch(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<PatchBody>,
) -> Result<Json<Value>, ArmError> {
    let new = NewManagementGroup {
        tenant_id: tenant(&operation)?,
        name: params.get("group").to_owned(),
        display_name: body.display_name,
        parent: parent_name(body.parent_group_id)?,
    };
    management_group::update(&arm.state, &operation, &new).await.map_err(refused(&operation))?;
    show_now(&arm, &operation, &new.name)
}

/// Clients of this type take 202 and 204 for a deletion, and 200 for an error.
async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    management_group::delete(&arm.state, &operation, tenant(&operation)?, params.get("group"))
        .await
        .map_err(refused(&operation))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_descendants(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let tree = Tree::of(&snapshot, tenant(&operation)?);
    let group = tree.find(params.get("group")).map_err(refused(&operation))?;
    let descendants = tree.descendants(group.key.as_deref());
    let items = descendants.iter().map(|child| {
        let (kind, name, display_name) = labels(child);
        let above = tree.above(child);
        let parent = above.last().map(|parent| management_group::path(&parent.name));
        let body = json!({
            "id": child_id(child), "type": kind, "name": name,
            "properties": { "displayName": display_name, "parent": { "id": parent } },
        });
        (child_id(child).to_ascii_lowercase(), body)
    });
    Ok(Json(page(&uri, &arm.names.url("management"), items.collect())))
}

async fn list_subscriptions(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let tree = Tree::of(&snapshot, tenant(&operation)?);
    let group = tree.find(params.get("group")).map_err(refused(&operation))?;
    let items = tree
        .subscriptions_at(group.key.as_deref())
        .into_iter()
        .map(|subscription| (subscription.id.to_string(), below_json(&subscription, &group.name)));
    Ok(Json(page(&uri, &arm.names.url("management"), items.collect())))
}

async fn show_subscription(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let (snapshot, group) = (arm.state.snapshot(), params.get("group"));
    let id = subscription(&params)?;
    let found = management_group::require_below(&snapshot, tenant(&operation)?, group, id);
    Ok(Json(below_json(found.map_err(refused(&operation))?, group)))
}

async fn place_subscription(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: JsonBody<IgnoredAny>,
) -> Result<Json<Value>, ArmError> {
    let (tenant, group, id) = (tenant(&operation)?, params.get("group"), subscription(&params)?);
    management_group::place_subscription(&arm.state, &operation, tenant, group, id)
        .await
        .map_err(refused(&operation))?;
    let snapshot = arm.state.snapshot();
    let placed = management_group::require_below(&snapshot, tenant, group, id);
    Ok(Json(below_json(placed.map_err(refused(&operation))?, group)))
}

async fn take_subscription(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let (tenant, group, id) = (tenant(&operation)?, params.get("group"), subscription(&params)?);
    management_group::take_subscription(&arm.state, &operation, tenant, group, id)
        .await
        .map_err(refused(&operation))?;
    Ok(StatusCode::OK)
}

/// What the caller may do with a thing, in the words of `getEntities`.
fn permissions(snapshot: &Snapshot, caller: &Principal, id: &str) -> &'static str {
    let Ok(scope) = RbacScope::parse(id) else { return "noaccess" };
    let actions = match scope.management_group() {
        Some(_) => [(DELETE_ACTION, "delete"), (WRITE_ACTION, "edit"), (READ_ACTION, "view")],
        None => [
            ("Microsoft.Resources/subscriptions/delete", "delete"),
            ("Microsoft.Resources/subscriptions/write", "edit"),
            ("Microsoft.Resources/subscriptions/read", "view"),
        ],
    };
    let mut granted = actions.iter().filter(|(action, _)| may(snapshot, caller, action, &scope));
    granted.next().map_or("noaccess", |(_, word)| word)
}

fn entity_json(snapshot: &Snapshot, tree: &Tree<'_>, caller: &Principal, child: &Child) -> Value {
    let above = tree.above(child);
    let parent = above.last().map(|parent| management_group::path(&parent.name));
    let key = match child {
        Child::Group(group) => Some(group.key.as_deref()),
        Child::Subscription(_) => None,
    };
    let children = key.map_or_else(Vec::new, |key| tree.children(key));
    let groups = children.iter().filter(|child| matches!(child, Child::Group(_))).count();
    let (kind, name, display_name) = labels(child);
    let id = child_id(child);
    let properties = json!({
        "tenantId": caller.tenant_id,
        "displayName": display_name,
        "parent": { "id": parent },
        "permissions": permissions(snapshot, caller, &id),
        "inheritedPermissions":
            parent.as_deref().map_or("noaccess", |parent| permissions(snapshot, caller, parent)),
        "parentNameChain": above.iter().map(|group| &group.name).collect::<Vec<_>>(),
        "parentDisplayNameChain": above.iter().map(|group| &group.display_name).collect::<Vec<_>>(),
        "numberOfDescendants": key.map_or(0, |key| tree.descendants(key).len()),
        "numberOfChildren": children.len(),
        "numberOfChildGroups": groups,
    });
    json!({ "id": id, "type": kind, "name": name, "properties": properties })
}

async fn list_entities(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    uri: Uri,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let query = Parameters::of(&uri);
    let narrowed = ["$filter", "$search", "$view"].into_iter().find_map(|it| query.non_empty(it));
    if let Some(narrowed) = narrowed {
        return Err(filter::unsupported(narrowed));
    }
    let caller = principal(&operation)?;
    let tree = Tree::of(&snapshot, caller.tenant_id);
    let items = management_group_tree::visible_entities(&snapshot, caller)
        .iter()
        .map(|it| (child_id(it).to_ascii_lowercase(), entity_json(&snapshot, &tree, caller, it)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

async fn elevate_access(
    Directory(operation): Directory,
    State(arm): State<Arm>,
    _: Unread,
) -> Result<StatusCode, ArmError> {
    let tenant = tenant(&operation)?;
    directory_role::elevate(&arm.state, &operation)
        .await
        .map_err(|error| ArmError::Assignment { error, tenant })?;
    Ok(StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_named_by_its_whole_id() {
        let name = |id: &str| parent_name(Some(id.to_owned()));
        let found = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(parent_name(None), Ok(None));
        assert_eq!(name("/providers/Microsoft.Management/managementGroups/A"), found("A"));
        assert_eq!(name("/PROVIDERS/microsoft.management/MANAGEMENTGROUPS/a"), found("a"));
        for wrong in [
            "",
            "a",
            "/",
            "/providers/Microsoft.Management/managementGroups",
            "/providers/Microsoft.Management/managementGroups/a/b",
            "/subscriptions/a",
        ] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_with_a_group_is_asked_for_as_documented() {
        let depth = |query: &str| Depth::of(&format!("/x?{query}").parse().unwrap()).ok();
        assert_eq!(depth(""), Some(Depth::None));
        assert_eq!(depth("$expand=children"), Some(Depth::Children));
        assert_eq!(depth("$expand=children&$recurse=True"), Some(Depth::All));
        assert_eq!(depth("$recurse=true"), None);
        assert_eq!(depth("$expand=path"), None);
    }
}
