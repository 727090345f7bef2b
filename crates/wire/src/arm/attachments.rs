//! Local endpoints of this node: a provider of keycard's own, since Azure has none.
//!
//! Their answers hold the secret headers of App Service endpoints, so that reading roles do not open them: the
//! actions are POSTs, as `listKeys` is.

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::compute::attachment::{Attachment, EndpointKind, Hints};
use keycard_domain::resource_id::ArmResourceId;
use serde_json::{Value, json};

use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route, Unread};

pub(super) fn routes() -> Vec<Route<Arm>> {
    vec![
        row(
            Method::POST,
            "/subscriptions/{subscription}/providers/Keycard.Local/listAttachments",
            "Keycard.Local/attachments/list/action",
            list,
        ),
        row(
            Method::POST,
            "/{*scope}/providers/Keycard.Local/attachments/{kind}",
            "Keycard.Local/attachments/attach/action",
            attach,
        ),
    ]
}

fn attachment_json(attachment: &Attachment) -> Value {
    let mut json = json!({
        "resourceId": attachment.resource_id,
        "kind": attachment.kind.as_str(),
        "url": attachment.url,
    });
    if let (Some(header), Value::Object(members)) = (&attachment.header, &mut json) {
        members.insert("header".to_owned(), json!(header.expose()));
    }
    json
}

/// The answer to who attaches: with what its workload has to be told besides.
fn attached_json(attachment: &Attachment) -> Value {
    let mut json = attachment_json(attachment);
    let Hints { default_client_id, challenge_directory, certificate_thumbprint } =
        &attachment.hints;
    let hints = [
        ("defaultClientId", default_client_id.map(|id| id.to_string())),
        ("challengeDirectory", challenge_directory.clone()),
        ("certificateThumbprint", certificate_thumbprint.clone()),
    ];
    if let Value::Object(members) = &mut json {
        let told = hints.into_iter().filter_map(|(name, hint)| Some((name.to_owned(), hint?)));
        members.extend(told.map(|(name, hint)| (name, Value::String(hint))));
    }
    json
}

async fn list(Rbac(_): Rbac, State(arm): State<Arm>, params: Params, _: Unread) -> Json<Value> {
    let subscription = params.get("subscription").to_ascii_lowercase();
    let attachments = arm.attachments.list().await;
    let items: Vec<Value> = attachments
        .iter()
        .filter(|attachment| attachment.resource_id.subscription().to_string() == subscription)
        .map(attachment_json)
        .collect();
    Json(json!({ "value": items }))
}

async fn attach(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let resource: ArmResourceId = params.scope().parse().map_err(|_| ArmError::PathMalformed)?;
    let kind = EndpointKind::parse(params.get("kind"))
        .ok_or(ArmError::Unsupported("local endpoints of this kind"))?;
    Ok(Json(attached_json(&arm.attachments.attach(&resource, kind).await?)))
}
