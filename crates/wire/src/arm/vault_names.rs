//! Whether a vault's name is free: `POST …/Microsoft.KeyVault/checkNameAvailability`.
//!
//! Names are unique everywhere, so that the answer is also about vaults that the caller cannot see, as in Azure.
//! Source: Microsoft.KeyVault REST API, `Vaults_CheckNameAvailability`.

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::key_vault::vault::{self, NameUnavailable, VaultError};
use keycard_domain::resources::ResourceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::JsonBody;
use super::error::{ArmError, vault_refusal_text};
use super::{Arm, row};
use crate::route::{Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let path = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/checkNameAvailability";
    vec![row(Method::POST, path, "Microsoft.KeyVault/checkNameAvailability/read", check)]
}

#[derive(Deserialize)]
struct NameBody {
    name: String,
    #[serde(rename = "type")]
    resource_type: String,
}

async fn check(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    JsonBody(body): JsonBody<NameBody>,
) -> Result<Json<Value>, ArmError> {
    if !body.resource_type.eq_ignore_ascii_case(vault::RESOURCE_TYPE) {
        return Err(ArmError::BodyMalformed(format!(
            "The type has to be {}. Path 'type'",
            vault::RESOURCE_TYPE
        )));
    }
    let availability = vault::check_availability(&arm.state.snapshot(), &body.name);
    let (reason, refusal) = match availability {
        Ok(()) => return Ok(Json(json!({ "nameAvailable": true }))),
        Err(NameUnavailable::Taken) => ("AlreadyExists", VaultError::NameTaken(body.name)),
        Err(NameUnavailable::Invalid) => {
            let resource_type = vault::RESOURCE_TYPE;
            let error = ResourceError::NameInvalid { resource_type, name: body.name };
            ("AccountNameInvalid", VaultError::Resource(error))
        }
    };
    Ok(Json(json!({
        "nameAvailable": false,
        "reason": reason,
        "message": vault_refusal_text(&refusal),
    })))
}
