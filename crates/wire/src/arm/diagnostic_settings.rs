//! Diagnostic settings of resources, subscriptions, management groups and the directory, and the categories that they can
//! name: `{scope}/providers/Microsoft.Insights/diagnosticSettings`, `/providers/microsoft.aadiam/diagnosticSettings`.
//!
//! Source: Microsoft.Insights REST API 2021-05-01-preview, diagnostic settings; microsoft.aadiam 2017-04-01-preview.
// Differs from Azure: settings are kept and checked, and nothing is sent anywhere yet.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode};
use keycard_domain::ids::TenantId;
use keycard_domain::monitoring::category::{self, Category, CategoryKind};
use keycard_domain::monitoring::diagnostic_setting::{
    self, Destination, DestinationKind, DiagnosticSetting, DiagnosticSettingError, Selection,
    Selector, Source,
};
use keycard_domain::operation::OperationContext;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, tenant};
use super::error::ArmError;
use super::role_assignments::scope;
use super::{Arm, row};
use crate::route::{Access, Directory, Params, Rbac, Route, Unread, route};

const READ: &str = "Microsoft.Insights/diagnosticSettings/read";
const WRITE: &str = "Microsoft.Insights/diagnosticSettings/write";
const DELETE: &str = "Microsoft.Insights/diagnosticSettings/delete";
const READ_CATEGORIES: &str = "Microsoft.Insights/diagnosticSettingsCategories/read";

pub(super) fn routes() -> Vec<Route<Arm>> {
    scope_routes().into_iter().chain(directory_routes()).collect()
}

fn scope_routes() -> [Route<Arm>; 6] {
    let all = "/{*scope}/providers/Microsoft.Insights/diagnosticSettings";
    let one = "/{*scope}/providers/Microsoft.Insights/diagnosticSettings/{name}";
    let categories = "/{*scope}/providers/Microsoft.Insights/diagnosticSettingsCategories";
    let category = "/{*scope}/providers/Microsoft.Insights/diagnosticSettingsCategories/{name}";
    [
        row(Method::GET, all, READ, |Rbac(it), arm, params| list(it, arm, params, of_scope)),
        row(Method::PUT, one, WRITE, |Rbac(it), arm, params, body| {
            put(it, arm, params, of_scope, body)
        }),
        row(Method::GET, one, READ, |Rbac(it), arm, params| show(it, arm, params, of_scope)),
        row(Method::DELETE, one, DELETE, |Rbac(it), arm, params, _: Unread| {
            remove(it, arm, params, of_scope)
        }),
        row(Method::GET, categories, READ_CATEGORIES, |Rbac(it), arm, params| {
            list_categories(it, arm, params, of_scope)
        }),
        row(Method::GET, category, READ_CATEGORIES, |Rbac(it), arm, params| {
            show_category(it, arm, params, of_scope)
        }),
    ]
}

/// Of the directory, which its administrators look after.
fn directory_routes() -> [Route<Arm>; 6] {
    let all = "/providers/microsoft.aadiam/diagnosticSettings";
    let one = "/providers/microsoft.aadiam/diagnosticSettings/{name}";
    let categories = "/providers/microsoft.aadiam/diagnosticSettingsCategories";
    let category = "/providers/microsoft.aadiam/diagnosticSettingsCategories/{name}";
    let read = Access::Directory("microsoft.aadiam/diagnosticSettings/read");
    let write = Access::Directory("microsoft.aadiam/diagnosticSettings/write");
    let delete = Access::Directory("microsoft.aadiam/diagnosticSettings/delete");
    let read_categories = Access::Directory("microsoft.aadiam/diagnosticSettingsCategories/read");
    [
        route(Method::GET, all, read, |Directory(it), arm, params| {
            list(it, arm, params, of_directory)
        }),
        route(Method::PUT, one, write, |Directory(it), arm, params, body| {
            put(it, arm, params, of_directory, body)
        }),
        route(Method::GET, one, read, |Directory(it), arm, params| {
            show(it, arm, params, of_directory)
        }),
        route(Method::DELETE, one, delete, |Directory(it), arm, params, _: Unread| {
            remove(it, arm, params, of_directory)
        }),
        route(Method::GET, categories, read_categories, |Directory(it), arm, params| {
            list_categories(it, arm, params, of_directory)
        }),
        route(Method::GET, category, read_categories, |Directory(it), arm, params| {
            show_category(it, arm, params, of_directory)
        }),
    ]
}

/// What a row's path is about.
type SourceOf = fn(&Params) -> Result<Source, ArmError>;

fn of_scope(params: &Params) -> Result<Source, ArmError> {
    scope(params).map(Source::Scope)
}

/// The directory is that of the caller's token, and the path says nothing more.
#[expect(clippy::unnecessary_wraps, reason = "the other kind of rows has paths that can be wrong")]
const fn of_directory(_: &Params) -> Result<Source, ArmError> {
    Ok(Source::Directory)
}

async fn put(
    operation: OperationContext,
    State(arm): State<Arm>,
    params: Params,
    source: SourceOf,
    JsonBody(body): JsonBody<SettingBody>,
) -> Result<Json<Value>, ArmError> {
    let refuse = |error| refused(error, &operation);
    let (tenant, source) = (tenant(&operation)?, source(&params)?);
    let setting = body.properties.read(params.get("name"), refuse)?;
    let kept = diagnostic_setting::put(&arm.state, &operation, tenant, &source, &setting)
        .await
        .map_err(refuse)?;
    Ok(Json(setting_json(&source, &kept)))
}

async fn show(
    operation: OperationContext,
    State(arm): State<Arm>,
    params: Params,
    source: SourceOf,
) -> Result<Json<Value>, ArmError> {
    let (tenant, source) = existing(&arm, &operation, source(&params)?)?;
    let snapshot = arm.state.snapshot();
    let name = params.get("name");
    let found = diagnostic_setting::find(&snapshot, tenant, &source, name);
    found.map(|found| Json(setting_json(&source, found))).ok_or_else(|| ArmError::NotFound {
        resource_type: SETTINGS.to_owned(),
        name: name.to_owned(),
    })
}

async fn list(
    operation: OperationContext,
    State(arm): State<Arm>,
    params: Params,
    source: SourceOf,
) -> Result<Json<Value>, ArmError> {
    let (tenant, source) = existing(&arm, &operation, source(&params)?)?;
    let snapshot = arm.state.snapshot();
    let all = diagnostic_setting::list(&snapshot, tenant, &source).iter();
    let all: Vec<Value> = all.map(|setting| setting_json(&source, setting)).collect();
    Ok(Json(json!({ "value": all })))
}

async fn remove(
    operation: OperationContext,
    State(arm): State<Arm>,
    params: Params,
    source: SourceOf,
) -> Result<StatusCode, ArmError> {
    let (tenant, source) = (tenant(&operation)?, source(&params)?);
    let name = params.get("name");
    let is_deleted = diagnostic_setting::delete(&arm.state, &operation, tenant, &source, name)
        .await
        .map_err(|error| refused(error, &operation))?;
    Ok(if is_deleted { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

async fn list_categories(
    operation: OperationContext,
    State(arm): State<Arm>,
    params: Params,
    source: SourceOf,
) -> Result<Json<Value>, ArmError> {
    let (_, source) = existing(&arm, &operation, source(&params)?)?;
    let all: Vec<Value> =
        category::of(&source).iter().map(|it| category_json(&source, it)).collect();
    Ok(Json(json!({ "value": all })))
}

async fn show_category(
    operation: OperationContext,
    State(arm): State<Arm>,
    params: Params,
    source: SourceOf,
) -> Result<Json<Value>, ArmError> {
    let (_, source) = existing(&arm, &operation, source(&params)?)?;
    let name = params.get("name");
    let found = [CategoryKind::Logs, CategoryKind::Metrics]
        .into_iter()
        .find_map(|kind| category::find(&source, kind, name));
    found.map(|found| Json(category_json(&source, &found))).ok_or_else(|| ArmError::NotFound {
        resource_type: CATEGORIES.to_owned(),
        name: name.to_owned(),
    })
}

fn refused(error: DiagnosticSettingError, operation: &OperationContext) -> ArmError {
    ArmError::DiagnosticSetting { error, operation: Box::new(operation.clone()) }
}

/// The source, where it exists, and the directory that it is of.
fn existing(
    arm: &Arm,
    operation: &OperationContext,
    source: Source,
) -> Result<(TenantId, Source), ArmError> {
    let tenant = tenant(operation)?;
    diagnostic_setting::require_source(&arm.state.snapshot(), tenant, &source)
        .map_err(|error| refused(error, operation))?;
    Ok((tenant, source))
}

#[derive(Deserialize)]
struct SettingBody {
    properties: SettingProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SettingProperties {
    storage_account_id: Option<String>,
    service_bus_rule_id: Option<String>,
    workspace_id: Option<String>,
    event_hub_authorization_rule_id: Option<String>,
    marketplace_partner_id: Option<String>,
    event_hub_name: Option<String>,
    log_analytics_destination_type: Option<String>,
    #[serde(default)]
    logs: Option<Vec<SelectionBody>>,
    #[serde(default)]
    metrics: Option<Vec<SelectionBody>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SelectionBody {
    category: Option<String>,
    category_group: Option<String>,
    enabled: bool,
    time_grain: Option<String>,
    retention_policy: Option<RetentionBody>,
}

#[derive(Deserialize)]
struct RetentionBody {
    #[serde(default)]
    enabled: bool,
}

/// An empty text is none to clients of this type.
fn text(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}

impl SettingProperties {
    fn read(
        self,
        name: &str,
        refuse: impl Fn(DiagnosticSettingError) -> ArmError,
    ) -> Result<DiagnosticSetting, ArmError> {
        if text(self.marketplace_partner_id).is_some() {
            return Err(ArmError::Unsupported("marketplacePartnerId of a diagnostic setting"));
        }
        let ids = [
            (DestinationKind::StorageAccount, self.storage_account_id),
            (DestinationKind::ServiceBusRule, self.service_bus_rule_id),
            (DestinationKind::Workspace, self.workspace_id),
            (DestinationKind::EventHubRule, self.event_hub_authorization_rule_id),
        ];
        let named = ids.into_iter().filter_map(|(kind, id)| Some((kind, text(id)?)));
        let destinations = named.map(|(kind, id)| match id.parse() {
            Ok(id) => Ok(Destination { kind, id }),
            Err(_) => Err(refuse(DiagnosticSettingError::DestinationInvalid { kind, id })),
        });
        let selections = |bodies: Option<Vec<SelectionBody>>| -> Result<Vec<_>, ArmError> {
            bodies.unwrap_or_default().into_iter().map(|body| body.read(&refuse)).collect()
        };
        Ok(DiagnosticSetting {
            name: name.to_owned(),
            destinations: destinations.collect::<Result<_, _>>()?,
            event_hub_name: text(self.event_hub_name),
            destination_type: text(self.log_analytics_destination_type),
            logs: selections(self.logs)?,
            metrics: selections(self.metrics)?,
        })
    }
}

impl SelectionBody {
    fn read(
        self,
        refuse: impl Fn(DiagnosticSettingError) -> ArmError,
    ) -> Result<Selection, ArmError> {
        let selector = match (text(self.category), text(self.category_group)) {
            (Some(category), None) => Selector::Category(category),
            (None, Some(group)) => Selector::Group(group),
            (None, None) | (Some(_), Some(_)) => {
                return Err(ArmError::BodyMalformed(
                    "each log or metric has either a category or a categoryGroup".to_owned(),
                ));
            }
        };
        if self.retention_policy.is_some_and(|policy| policy.enabled) {
            return Err(refuse(DiagnosticSettingError::RetentionUnsupported));
        }
        Ok(Selection { selector, is_enabled: self.enabled, time_grain: text(self.time_grain) })
    }
}

const SETTINGS: &str = "Microsoft.Insights/diagnosticSettings";
const CATEGORIES: &str = "microsoft.insights/diagnosticSettingsCategories";

/// The path of what is below the source's provider, which Azure writes in lower case.
fn path(source: &Source, resource_type: &str, name: &str) -> String {
    match source {
        Source::Scope(scope) => {
            format!("{}/providers/microsoft.insights/{resource_type}/{name}", scope.key())
        }
        Source::Directory => format!("/providers/microsoft.aadiam/{resource_type}/{name}"),
    }
}

fn setting_json(source: &Source, setting: &DiagnosticSetting) -> Value {
    let id_of = |kind| setting.destinations.iter().find(|it| it.kind == kind).map(|it| &it.id);
    let log = |line: &Selection| {
        let (category, group) = match &line.selector {
            Selector::Category(name) => (Some(name), None),
            Selector::Group(name) => (None, Some(name)),
        };
        json!({
            "category": category,
            "categoryGroup": group,
            "enabled": line.is_enabled,
            "retentionPolicy": { "enabled": false, "days": 0 },
        })
    };
    let metric = |line: &Selection| {
        let (Selector::Category(name) | Selector::Group(name)) = &line.selector;
        let mut metric = json!({
            "category": name,
            "enabled": line.is_enabled,
            "retentionPolicy": { "enabled": false, "days": 0 },
        });
        if let (Some(grain), Some(members)) = (&line.time_grain, metric.as_object_mut()) {
            members.insert("timeGrain".to_owned(), json!(grain));
        }
        metric
    };
    json!({
        "id": path(source, "diagnosticSettings", &setting.name),
        "type": match source {
            Source::Scope(_) => SETTINGS,
            Source::Directory => "microsoft.aadiam/diagnosticSettings",
        },
        "name": setting.name,
        "location": null,
        "kind": null,
        "tags": null,
        "identity": null,
        "properties": {
            "storageAccountId": id_of(DestinationKind::StorageAccount),
            "serviceBusRuleId": id_of(DestinationKind::ServiceBusRule),
            "workspaceId": id_of(DestinationKind::Workspace),
            "eventHubAuthorizationRuleId": id_of(DestinationKind::EventHubRule),
            "eventHubName": setting.event_hub_name,
            "metrics": setting.metrics.iter().map(metric).collect::<Vec<_>>(),
            "logs": setting.logs.iter().map(log).collect::<Vec<_>>(),
            "logAnalyticsDestinationType": setting.destination_type,
        },
    })
}

fn category_json(source: &Source, category: &Category) -> Value {
    let mut properties = json!({ "categoryType": category.kind.as_str() });
    if let (false, Some(members)) = (category.groups.is_empty(), properties.as_object_mut()) {
        members.insert("categoryGroups".to_owned(), json!(category.groups));
    }
    json!({
        "id": path(source, "diagnosticSettingsCategories", category.name),
        "type": match source {
            Source::Scope(_) => CATEGORIES,
            Source::Directory => "microsoft.aadiam/diagnosticSettingsCategories",
        },
        "name": category.name,
        "properties": properties,
    })
}
