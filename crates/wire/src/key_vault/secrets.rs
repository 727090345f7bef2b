//! Secrets on the wire: S1 to S8 of the data plane.
//!
//! Source: Key Vault REST API, secrets.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use http::{StatusCode, Uri};
use keycard_crypto::encoding;
use keycard_crypto::secret::Secret;
use keycard_domain::key_vault::Vault;
use keycard_domain::key_vault::secret::{
    DeletedSecret, NewSecret, SecretBundle, SecretName, SecretPage, SecretUpdate, SecretVersion,
    Secrets,
};
use keycard_domain::limits;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::VaultFaceError;
use super::{KeyVault, VaultCall};
use crate::request::{Parameters, read_body};
use crate::route::{Params, Rbac, Unread};

type Answered = Result<Json<Value>, VaultFaceError>;

fn name(params: &Params) -> Result<SecretName, VaultFaceError> {
    Ok(params.get("name").parse::<SecretName>()?)
}

fn version(params: &Params) -> Option<&str> {
    Some(params.get("version")).filter(|version| !version.is_empty())
}

async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, VaultFaceError> {
    let bytes =
        read_body(body, limits::VAULT_BODY_BYTES_MAX).await.map_err(VaultFaceError::Body)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        VaultFaceError::BadParameter(format!("The body is not as it must be: {error}."))
    })
}

pub(super) async fn set(
    Rbac(operation): Rbac,
    State(face): State<KeyVault>,
    Extension(call): Extension<VaultCall>,
    params: Params,
    body: Body,
) -> Answered {
    // The body is read whatever the name is: a client that is still sending would not hear the refusal.
    let body = read_json::<SetBody>(body).await;
    let name = name(&params)?;
    let new: NewSecret = body?.try_into()?;
    let bundle = Secrets::of(&face.state, &operation, &call.vault).set(&name, &new).await?;
    Ok(Json(bundle_json(&call, &bundle)))
}

pub(super) async fn get(
    Rbac(operation): Rbac,
    State(face): State<KeyVault>,
    Extension(call): Extension<VaultCall>,
    params: Params,
) -> Answered {
    let secrets = Secrets::of(&face.state, &operation, &call.vault);
    let bundle = secrets.get(&name(&params)?, version(&params)).await?;
    Ok(Json(bundle_json(&call, &bundle)))
}

pub(super) async fn update(
    Rbac(operation): Rbac,
    State(face): State<KeyVault>,
    Extension(call): Extension<VaultCall>,
    params: Params,
    body: Body,
) -> Answered {
    let body = read_json::<UpdateBody>(body).await;
    let name = name(&params)?;
    let update: SecretUpdate = body?.into();
    let secrets = Secrets::of(&face.state, &operation, &call.vault);
    let changed = secrets.update(&name, version(&params), &update).await?;
    Ok(Json(Value::Object(version_json(&call, &changed, IdForm::Versioned))))
}

pub(super) async fn list(
    Rbac(operation): Rbac,
    State(face): State<KeyVault>,
    Extension(call): Extension<VaultCall>,
    uri: Uri,
) -> Answered {
    let paging = Paging::of(&uri)?;
    let secrets = Secrets::of(&face.state, &operation, &call.vault);
    let page = secrets.list(paging.after.as_deref(), paging.limit).await?;
    let item = |version: &SecretVersion| Value::Object(version_json(&call, version, IdForm::Plain));
    Ok(Json(paging.page(&call, "/secrets", &page, item)))
}

pub(super) async fn list_versions(
    Rbac(operation): Rbac,
    State(face): State<KeyVault>,
    Extension(call): Extension<VaultCall>,
    params: Params,
    uri: Uri,
) -> Answered {
    let paging = Paging::of(&uri)?;
    let name = name(&params)?;
    let secrets = Secrets::of(&face.state, &operation, &call.vault);
    let page = secrets.list_versions(&name, paging.after.as_deref(), paging.limit).await?;
    let item =
        |version: &SecretVersion| Value::Object(version_json(&call, version, IdForm::Versioned));
    Ok(Json(paging.page(&call, &format!("/secrets/{name}/versions"), &page, item)))
}

pub(super) async fn delete(
    Rbac(operation): Rbac,
    State(face): State<KeyVault>,
    Extension(call): Extension<VaultCall>,
    params: Params,
) -> Answered {
    let deleted = Secrets::of(&face.state, &operation, &call.vault).delete(&name(&params)?).await?;
    Ok(Json(deleted_json(&call, &deleted, IdForm::Versioned)))
}

pub(super) async fn list_deleted(
    Rbac(operation): Rbac,
    State(face): State<KeyVault>,
    Extension(call): Extension<VaultCall>,
    uri: Uri,
) -> Answered {
    let paging = Paging::of(&uri)?;
    let secrets = Secrets::of(&face.state, &operation, &call.vault);
    let page = secrets.list_deleted(paging.after.as_deref(), paging.limit).await?;
    let item = |deleted: &DeletedSecret| deleted_json(&call, deleted, IdForm::Plain);
    Ok(Json(paging.page(&call, "/deletedsecrets", &page, item)))
}

pub(super) async fn get_deleted(
    Rbac(operation): Rbac,
    State(face): State<KeyVault>,
    Extension(call): Extension<VaultCall>,
    params: Params,
) -> Answered {
    let secrets = Secrets::of(&face.state, &operation, &call.vault);
    let deleted = secrets.get_deleted(&name(&params)?).await?;
    Ok(Json(deleted_json(&call, &deleted, IdForm::Versioned)))
}

pub(super) async fn recover(
    Rbac(operation): Rbac,
    State(face): State<KeyVault>,
    Extension(call): Extension<VaultCall>,
    params: Params,
    _: Unread,
) -> Answered {
    let recovered =
        Secrets::of(&face.state, &operation, &call.vault).recover(&name(&params)?).await?;
    Ok(Json(Value::Object(version_json(&call, &recovered, IdForm::Versioned))))
}

pub(super) async fn purge(
    Rbac(operation): Rbac,
    State(face): State<KeyVault>,
    Extension(call): Extension<VaultCall>,
    params: Params,
) -> Result<StatusCode, VaultFaceError> {
    Secrets::of(&face.state, &operation, &call.vault).purge(&name(&params)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Backups are not built: an opaque blob that could not be restored elsewhere would be none.
pub(super) async fn backup(Rbac(_): Rbac, State(_): State<KeyVault>, _: Unread) -> VaultFaceError {
    VaultFaceError::Unsupported("backup and restore of secrets")
}

/// The body of a set.
#[derive(Deserialize)]
struct SetBody {
    value: Option<String>,
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    attributes: Option<AttributesBody>,
    tags: Option<BTreeMap<String, String>>,
}

/// Attributes as clients send them. Times are kept as they come, negative ones too: some clients write dates after
/// 2038 so.
#[derive(Default, Deserialize)]
struct AttributesBody {
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
}

impl TryFrom<SetBody> for NewSecret {
    type Error = VaultFaceError;

    fn try_from(body: SetBody) -> Result<Self, VaultFaceError> {
        let value = body.value.ok_or_else(|| {
            VaultFaceError::BadParameter("The body must have the member 'value'.".to_owned())
        })?;
        let attributes = body.attributes.unwrap_or_default();
        Ok(Self {
            value: Secret::new(value),
            content_type: body.content_type,
            is_enabled: attributes.enabled,
            not_before: attributes.nbf,
            expires: attributes.exp,
            tags: body.tags.unwrap_or_default(),
        })
    }
}

/// The body of an update; a value in it means nothing.
#[derive(Deserialize)]
struct UpdateBody {
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    attributes: Option<AttributesBody>,
    tags: Option<BTreeMap<String, String>>,
}

impl From<UpdateBody> for SecretUpdate {
    fn from(body: UpdateBody) -> Self {
        let attributes = body.attributes.unwrap_or_default();
        Self {
            content_type: body.content_type,
            is_enabled: attributes.enabled,
            not_before: attributes.nbf,
            expires: attributes.exp,
            tags: body.tags,
        }
    }
}

/// Whether an id names a version: lists of secrets do not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IdForm {
    Plain,
    Versioned,
}

#[derive(Serialize)]
struct AttributesJson {
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    created: i64,
    updated: i64,
    #[serde(rename = "recoveryLevel")]
    recovery_level: &'static str,
    #[serde(rename = "recoverableDays")]
    recoverable_days: u16,
}

fn attributes_json(vault: &Vault, version: &SecretVersion) -> AttributesJson {
    let attributes = &version.attributes;
    AttributesJson {
        enabled: attributes.is_enabled,
        nbf: attributes.not_before,
        exp: attributes.expires,
        created: attributes.created,
        updated: attributes.updated,
        recovery_level: vault.recovery_level(),
        recoverable_days: vault.retention_days,
    }
}

fn version_json(call: &VaultCall, version: &SecretVersion, form: IdForm) -> Map<String, Value> {
    let base = format!("https://{}/secrets/{}", call.authority, version.name);
    let id = match form {
        IdForm::Plain => base,
        IdForm::Versioned => format!("{base}/{}", version.version),
    };
    let mut json = Map::new();
    json.insert("id".to_owned(), json!(id));
    json.insert("attributes".to_owned(), json!(attributes_json(&call.vault, version)));
    json.insert("tags".to_owned(), json!(version.attributes.tags));
    if let Some(content_type) = &version.attributes.content_type {
        json.insert("contentType".to_owned(), json!(content_type));
    }
    json
}

fn bundle_json(call: &VaultCall, bundle: &SecretBundle) -> Value {
    let mut json = version_json(call, &bundle.version, IdForm::Versioned);
    json.insert("value".to_owned(), json!(bundle.value.expose()));
    Value::Object(json)
}

fn deleted_json(call: &VaultCall, deleted: &DeletedSecret, form: IdForm) -> Value {
    let mut json = version_json(call, &deleted.version, form);
    let recovery_id = format!("https://{}/deletedsecrets/{}", call.authority, deleted.version.name);
    json.insert("recoveryId".to_owned(), json!(recovery_id));
    json.insert("deletedDate".to_owned(), json!(deleted.deletion.deleted_at));
    json.insert("scheduledPurgeDate".to_owned(), json!(deleted.deletion.purge_at));
    Value::Object(json)
}

/// Which page of a listing is asked for.
struct Paging {
    limit: usize,
    after: Option<String>,
    api_version: String,
}

impl Paging {
    fn of(uri: &Uri) -> Result<Self, VaultFaceError> {
        let query = Parameters::of(uri);
        let bad = |text: &str| VaultFaceError::BadParameter(text.to_owned());
        let limit = match query.non_empty("maxresults") {
            None => limits::VAULT_PAGE_MAX,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=limits::VAULT_PAGE_MAX).contains(limit))
                .ok_or_else(|| bad("maxresults must be a number from 1 to 25"))?,
        };
        let after = query.non_empty("$skiptoken").map(|token| {
            encoding::base64_decode_any(token, limits::QUERY_BYTES_MAX)
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .filter(|after| after.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
                .ok_or_else(|| bad("the skip token is not one of this vault"))
        });
        let api_version = query.get("api-version").unwrap_or_default().to_owned();
        Ok(Self { limit, after: after.transpose()?, api_version })
    }

    /// The page, with the link to the next one; clients follow it as it is.
    fn page<T>(
        &self,
        call: &VaultCall,
        path: &str,
        page: &SecretPage<T>,
        item: impl Fn(&T) -> Value,
    ) -> Value {
        let host = &call.authority;
        let authority = if host.contains(':') { host.clone() } else { format!("{host}:443") };
        let next_link = page.next.as_ref().map(|next| {
            format!(
                "https://{authority}{path}?api-version={}&$skiptoken={}&maxresults={}",
                self.api_version,
                encoding::base64url_encode(next.as_bytes()),
                self.limit
            )
        });
        json!({ "value": page.items.iter().map(item).collect::<Vec<_>>(), "nextLink": next_link })
    }
}
