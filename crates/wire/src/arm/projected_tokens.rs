//! Tokens of service accounts, as files on this node: of keycard's own provider, beside the local endpoints.

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::token::cluster_issuer::ServiceAccount;
use serde_json::{Value, json};

use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route, Unread};

pub(super) fn routes() -> Vec<Route<Arm>> {
    vec![row(
        Method::POST,
        "/{*scope}/providers/Keycard.Local/projectedTokens/{account}",
        "Keycard.Local/projectedTokens/project/action",
        project,
    )]
}

/// `{account}` is `NAMESPACE:NAME`. The clients are those that have a federated credential for it.
async fn project(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let cluster: ArmResourceId = params.scope().parse().map_err(|_| ArmError::PathMalformed)?;
    let account = params.get("account");
    let account = ServiceAccount::parse(account)
        .ok_or_else(|| ArmError::ParameterInvalid { name: "account", value: account.to_owned() })?;
    let issuer = arm.clusters.address(&cluster)?;
    let clients = arm.clusters.clients(&cluster, &account)?;
    let file = arm.projected_tokens.project(&cluster, &account).await?;
    Ok(Json(json!({
        "resourceId": cluster,
        "issuer": issuer,
        "subject": account.subject(),
        "tokenFile": file,
        "clientIds": clients,
    })))
}
