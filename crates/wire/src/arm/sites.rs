//! App Service and Functions: `Microsoft.Web/sites`, their `slots`, and what of their configuration is kept.
//!
//! A PUT replaces everything, the identities too; a slot has identities, power and an endpoint of its own. Settings are
//! secrets to Azure, and keycard keeps none of them. Source: Microsoft.Web REST API.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use keycard_domain::compute::{self, ComputeError, ComputeKind, ComputeResource, PowerState};
use serde_json::{Map, Value, json};

use super::body::{JsonBody, resource_id};
use super::compute::{Manner, PLAIN, Shown, kind_rows, switch};
use super::error::ArmError;
use super::resource_body::member;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route, Unread};

/// A PUT answers 200 also when it made something.
pub(super) const MANNER: Manner = Manner { made: StatusCode::OK, show: show_members, ..PLAIN };

macro_rules! site_path {
    ($($tail:literal),*) => {
        concat!("/subscriptions/{subscription}/resourceGroups/{group}/providers/", $($tail),*)
    };
}

/// Identities stay whatever the power state is; who is stopped gets no tokens.
macro_rules! power_row {
    ($type:literal, $path:literal, $verb:literal, $state:expr) => {
        row(
            Method::POST,
            site_path!($path, "/", $verb),
            concat!($type, "/", $verb, "/action"),
            |operation: Rbac, arm: State<Arm>, params: Params, _: Unread| {
                power(operation, arm, params, $state)
            },
        )
    };
}

/// The rows that a site and a slot have alike: power and configuration.
macro_rules! part_rows {
    ($type:literal, $path:literal) => {{
        let (read, write, list) = (
            concat!($type, "/config/read"),
            concat!($type, "/config/write"),
            concat!($type, "/config/list/action"),
        );
        vec![
            power_row!($type, $path, "start", PowerState::Running),
            power_row!($type, $path, "restart", PowerState::Running),
            power_row!($type, $path, "stop", PowerState::Stopped),
            row(
                Method::POST,
                site_path!($path, "/publishxml"),
                concat!($type, "/publishxml/action"),
                show_publishing_profile,
            ),
            row(Method::GET, site_path!($path, "/config"), read, list_configurations),
            row(Method::GET, site_path!($path, "/config/web"), read, show_configuration),
            row(Method::PUT, site_path!($path, "/config/appsettings"), write, put_settings),
            row(Method::PUT, site_path!($path, "/config/connectionstrings"), write, put_settings),
            row(Method::POST, site_path!($path, "/config/appsettings/list"), list, list_settings),
            row(
                Method::POST,
                site_path!($path, "/config/connectionstrings/list"),
                list,
                list_settings,
            ),
        ]
    }};
}

pub(super) fn routes() -> Vec<Route<Arm>> {
    let availability = row(
        Method::POST,
        "/subscriptions/{subscription}/providers/Microsoft.Web/checknameavailability",
        "Microsoft.Web/checknameavailability/read",
        check_name,
    );
    [
        vec![availability],
        kind_rows!(ComputeKind::Site, "Microsoft.Web/sites"),
        part_rows!("Microsoft.Web/sites", "Microsoft.Web/sites/{name}"),
        kind_rows!(
            ComputeKind::Slot,
            "Microsoft.Web/sites/slots",
            "Microsoft.Web/sites/{name}/slots",
            "/{slot}"
        ),
        part_rows!("Microsoft.Web/sites/slots", "Microsoft.Web/sites/{name}/slots/{slot}"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The site's name, and the slot's where it is one.
fn names(site: &ComputeResource) -> (String, Option<String>) {
    let own = site.id.name().to_owned();
    match site.id.parent() {
        Some(whole) => (whole.name().to_owned(), Some(own)),
        None => (own, None),
    }
}

fn show_members(arm: &Arm, site: &ComputeResource, shown: &mut Shown) {
    let (app, slot) = names(site);
    let label = slot.as_ref().map_or_else(|| app.clone(), |slot| format!("{app}-{slot}"));
    let name = slot.as_ref().map_or_else(|| app.clone(), |slot| format!("{app}/{slot}"));
    let label = label.to_ascii_lowercase();
    // Differs from Azure: the host name is below keycard's own domain, so that nobody is sent to a stranger's site.
    let host = format!("{label}.azurewebsites.{}", arm.names.domain());
    let source_control = format!("{label}.scm.azurewebsites.{}", arm.names.domain());
    let is_running = site.power_state == PowerState::Running;
    for (member, value) in [
        ("name", json!(label)),
        ("state", json!(if is_running { "Running" } else { "Stopped" })),
        ("hostNames", json!([host])),
        ("enabledHostNames", json!([host, source_control])),
        ("defaultHostName", json!(host)),
        ("repositorySiteName", json!(app)),
        ("usageState", json!("Normal")),
        ("availabilityState", json!("Normal")),
        ("enabled", json!(true)),
        ("adminEnabled", json!(true)),
        ("resourceGroup", json!(site.id.resource_group())),
    ] {
        shown.properties.insert(member.to_owned(), value);
    }
    shown.members.insert("name".to_owned(), json!(name));
    shown.members.entry("kind").or_insert_with(|| json!("app"));
}

async fn power(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    power_state: PowerState,
) -> Result<StatusCode, ArmError> {
    switch(&operation, &arm, &params, power_state).await?;
    Ok(StatusCode::OK)
}

/// Whether a site of this name can be made, which az asks before it makes one.
async fn check_name(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, ArmError> {
    let name = member(&body, "name");
    let name = name.as_ref().and_then(Value::as_str).ok_or(ArmError::ParameterMissing("name"))?;
    let snapshot = arm.state.snapshot();
    let (reason, message) = match compute::check_name(&snapshot, ComputeKind::Site, name) {
        Ok(()) => ("", String::new()),
        Err(ComputeError::NameTaken(name)) => (
            "AlreadyExists",
            format!("Hostname '{name}' already exists. Please select a different name."),
        ),
        Err(_) => ("Invalid", format!("The name '{name}' is not valid for a site.")),
    };
    Ok(Json(json!({
        "nameAvailable": reason.is_empty(),
        "reason": reason,
        "message": message,
    })))
}

/// What clients rely on finding there, where the site says nothing of it.
fn defaults() -> Value {
    json!({
        "numberOfWorkers": 1,
        "netFrameworkVersion": "v4.0",
        "phpVersion": "",
        "pythonVersion": "",
        "nodeVersion": "",
        "linuxFxVersion": "",
        "use32BitWorkerProcess": true,
        "webSocketsEnabled": false,
        "alwaysOn": false,
        "http20Enabled": false,
        "minTlsVersion": "1.2",
        "ftpsState": "FtpsOnly",
    })
}

fn configuration_json(site: &ComputeResource) -> Value {
    let mut properties = defaults().as_object().cloned().unwrap_or_default();
    if let Some(Value::Object(kept)) = member(&site.properties, "siteConfig") {
        properties.extend(kept);
    }
    let (app, slot) = names(site);
    json!({
        "id": format!("{}/config/web", site.id),
        "name": slot.map_or_else(|| app.clone(), |slot| format!("{app}/{slot}")),
        "type": format!("{}/config", site.kind.resource_type()),
        "location": site.location,
        "properties": properties,
    })
}

/// az asks for it to show a site. There is nowhere to publish to, which the one profile says: it has neither an address nor
/// a password.
async fn show_publishing_profile(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<Response, ArmError> {
    compute::find(&arm.state.snapshot(), &resource_id(&params)?)?;
    let profile =
        r#"<publishData><publishProfile profileName="none" publishMethod="None" /></publishData>"#;
    Ok(([(header::CONTENT_TYPE, "application/xml")], profile).into_response())
}

async fn show_configuration(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    Ok(Json(configuration_json(compute::find(&snapshot, &resource_id(&params)?)?)))
}

async fn list_configurations(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let site = compute::find(&snapshot, &resource_id(&params)?)?;
    Ok(Json(json!({ "value": [configuration_json(site)] })))
}

/// What an application's settings are told, which may hold secrets.
const NO_SETTINGS: ArmError = ArmError::Unsupported("application settings and connection strings");

async fn put_settings(
    Rbac(_): Rbac,
    JsonBody(_): JsonBody<Map<String, Value>>,
) -> Result<StatusCode, ArmError> {
    Err(NO_SETTINGS)
}

async fn list_settings(Rbac(_): Rbac, _: Unread) -> Result<StatusCode, ArmError> {
    Err(NO_SETTINGS)
}
