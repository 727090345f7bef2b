//! Further tenants of a server for development and tests: a provider of keycard's own. `keycard tenant create` talks to it.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode};
use keycard_domain::bootstrap::{IssuerForm, NewTenant, create_tenant};
use keycard_domain::directory::tenant::TenantKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Arm;
use super::body::JsonBody;
use super::error::ArmError;
use crate::route::{Access, Directory, Route, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let path = "/providers/Keycard.Local/createTenant";
    vec![route(Method::POST, path, Access::Directory("Keycard.Local/tenants/create/action"), post)]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TenantBody {
    name: String,
    tenant_type: Option<String>,
    issuer: Option<String>,
}

impl TenantBody {
    fn read(self) -> Result<NewTenant, ArmError> {
        let kinds = [TenantKind::Workforce, TenantKind::B2c];
        let wanted = self.tenant_type.as_deref().unwrap_or(TenantKind::Workforce.as_str());
        let kind = kinds.into_iter().find(|kind| kind.as_str() == wanted);
        let form = match self.issuer.as_deref() {
            None | Some("served") => Some(IssuerForm::Served),
            Some("azure") => Some(IssuerForm::Azure),
            Some(_) => None,
        };
        let wrong = |what: &str| ArmError::BodyMalformed(what.to_owned());
        Ok(NewTenant {
            name: self.name,
            kind: kind.ok_or_else(|| wrong("tenantType is neither AAD nor AAD B2C"))?,
            form: form.ok_or_else(|| wrong("issuer is neither served nor azure"))?,
        })
    }
}

/// The answer holds the administrator's secret, once.
async fn post(
    Directory(operation): Directory,
    State(arm): State<Arm>,
    JsonBody(body): JsonBody<TenantBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    if !arm.for_development {
        return Err(ArmError::Unsupported("making tenants on this server"));
    }
    let token_service = arm.names.url("login");
    let made = create_tenant(&arm.state, &operation, &body.read()?, &token_service).await?;
    let body = json!({
        "tenantId": made.tenant_id,
        "subscriptionId": made.subscription_id,
        "administrator": {
            "clientId": made.client_id,
            "clientSecret": made.client_secret.expose(),
            "objectId": made.principal_id,
        },
    });
    Ok((StatusCode::CREATED, Json(body)))
}
