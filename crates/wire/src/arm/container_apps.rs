//! Container apps: `Microsoft.App/containerApps`. Their workloads ask at an endpoint of the App Service kind.
//!
//! Secrets are kept by name only. Source: Microsoft.App REST API, 2024-03-01.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode};
use keycard_domain::compute::{self, ComputeKind, ComputeRequest, ComputeResource, PowerState};
use keycard_domain::resources::normalized_location;
use serde_json::{Map, Value, json};

use super::body::resource_id;
use super::compute::{Manner, PLAIN, Shown, kind_rows, read, resource_json, switch};
use super::error::ArmError;
use super::resource_body::member;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route, Unread};

/// Clients take 204 of a DELETE, and no 200.
pub(super) const MANNER: Manner = Manner {
    deleted: StatusCode::NO_CONTENT,
    read_put: read_app,
    read_patch: read_app,
    show: show_members,
    ..PLAIN
};

macro_rules! action_row {
    ($verb:literal, $handler:expr) => {
        row(
            Method::POST,
            concat!(
                "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.App/containerApps/{name}/",
                $verb
            ),
            concat!("Microsoft.App/containerApps/", $verb, "/action"),
            $handler,
        )
    };
}

pub(super) fn routes() -> Vec<Route<Arm>> {
    let mut rows = kind_rows!(ComputeKind::ContainerApp, "Microsoft.App/containerApps");
    rows.extend([
        action_row!("start", |operation: Rbac, arm: State<Arm>, params: Params, _: Unread| {
            power(operation, arm, params, PowerState::Running)
        }),
        action_row!("stop", |operation: Rbac, arm: State<Arm>, params: Params, _: Unread| {
            power(operation, arm, params, PowerState::Stopped)
        }),
        action_row!("listSecrets", list_secrets),
    ]);
    rows
}

/// Where the configuration stands, whose name's case means nothing.
fn configuration_of(properties: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    let found = properties.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("configuration"));
    found.and_then(|(_, value)| value.as_object_mut())
}

/// The secrets that a configuration lists.
fn secrets_of(properties: &Map<String, Value>) -> Option<Value> {
    let configuration = member(properties, "configuration")?;
    member(configuration.as_object()?, "secrets")
}

/// What may be kept of a secret: its name, and where its value is.
const OF_SECRET: &[&str] = &["name", "keyVaultUrl", "identity"];

fn without_values(secrets: &[Value]) -> Value {
    let of_one = |secret: &Value| {
        let secret = secret.as_object();
        let kept = |name: &&str| {
            let value = secret.and_then(|it| member(it, name)).filter(Value::is_string);
            value.map(|value| ((*name).to_owned(), value))
        };
        Value::Object(OF_SECRET.iter().filter_map(kept).collect())
    };
    secrets.iter().map(of_one).collect()
}

fn read_app(body: &Map<String, Value>) -> Result<ComputeRequest, ArmError> {
    let mut request = read(body)?;
    let properties = member(body, "properties");
    let secrets = properties.as_ref().and_then(Value::as_object).and_then(secrets_of);
    let configuration = request.properties.as_mut().and_then(configuration_of);
    if let (Some(Value::Array(secrets)), Some(configuration)) = (secrets, configuration) {
        configuration.insert("secrets".to_owned(), without_values(&secrets));
    }
    Ok(request)
}

fn show_members(arm: &Arm, app: &ComputeResource, shown: &mut Shown) {
    let is_running = app.power_state == PowerState::Running;
    let status = if is_running { "Running" } else { "Stopped" };
    shown.properties.insert("runningStatus".to_owned(), json!(status));
    // az reads the member also where there is nothing in it.
    shown.members.entry("identity").or_insert_with(|| json!({ "type": "None" }));
    if configuration_of(&mut shown.properties).is_none() {
        shown.properties.insert("configuration".to_owned(), json!({}));
    }
    let Some(configuration) = configuration_of(&mut shown.properties) else { return };
    configuration.entry("activeRevisionsMode").or_insert(json!("Single"));
    if let Some(ingress) = configuration.get_mut("ingress").and_then(Value::as_object_mut) {
        // Differs from Azure: the host name is below keycard's own domain, so that nobody is sent to a stranger's app.
        let fqdn = format!(
            "{}.{}.azurecontainerapps.{}",
            app.id.name(),
            normalized_location(&app.location),
            arm.names.domain()
        );
        ingress.insert("fqdn".to_owned(), json!(fqdn));
    }
}

async fn power(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    power_state: PowerState,
) -> Result<Json<Value>, ArmError> {
    switch(&operation, &arm, &params, power_state).await?;
    let snapshot = arm.state.snapshot();
    let app = compute::find(&snapshot, &resource_id(&params)?)?;
    Ok(Json(resource_json(&arm, &snapshot, app)))
}

/// The names, as az needs them to put an app back as it was. The values were never kept.
async fn list_secrets(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let app = compute::find(&snapshot, &resource_id(&params)?)?;
    let secrets = secrets_of(&app.properties).unwrap_or_else(|| json!([]));
    Ok(Json(json!({ "value": secrets })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_secret_the_name_is_kept_and_not_the_value() {
        let body = json!({ "Properties": { "Configuration": { "Secrets": [
            { "name": "a", "value": "hunter2" },
            { "name": "b", "keyVaultUrl": "https://v/secrets/b", "identity": "system" },
            "hunter2",
        ]}}});
        let request = read_app(body.as_object().unwrap()).unwrap();
        let kept = Value::Object(request.properties.unwrap());
        assert_eq!(
            kept["Configuration"]["secrets"],
            json!([
                { "name": "a" },
                { "name": "b", "keyVaultUrl": "https://v/secrets/b", "identity": "system" },
                {},
            ])
        );
        assert!(!kept.to_string().contains("hunter2"));
    }
}
