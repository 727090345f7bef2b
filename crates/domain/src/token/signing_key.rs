//! Token-signing keys: kept sealed, opened once, used by the issuer; their public halves verify and are published.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use keycard_crypto::jwk::Jwk;
use keycard_crypto::signing_key::{PublicKey, SigningKey};
use keycard_crypto::{digest, encoding};
use serde::{Deserialize, Serialize};
use time::UtcDateTime;

use crate::directory::Tenant;
use crate::ids::TenantId;
use crate::limits;
use crate::operation::OperationContext;
use crate::records::Record;
use crate::snapshot::Snapshot;
use crate::state::{State, WriteError};

/// A tenant's token-signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyRecord {
    /// The key id: base64url SHA-1 of the certificate, as `kid` and `x5t`.
    pub key_id: String,
    /// Whose key it is.
    pub tenant_id: TenantId,
    /// The self-signed certificate that is published, DER.
    #[serde(with = "crate::records::base64_bytes")]
    pub certificate: Vec<u8>,
    /// The private key, PKCS#8, sealed for this place.
    #[serde(with = "crate::records::base64_bytes")]
    pub private_key_sealed: Vec<u8>,
    /// Unix seconds.
    pub created_at: i64,
}

impl Record for SigningKeyRecord {
    const KIND: &'static str = "signing-keys";

    fn record_id(&self) -> String {
        self.key_id.clone()
    }
}

fn sealing_place(tenant: TenantId, key_id: &str) -> String {
    format!("tenants/{tenant}/signing-keys/{key_id}")
}

/// How long the published certificate of a signing key runs. Verifiers do not look at it; keys rotate long before.
const CERTIFICATE_VALIDITY: time::Duration = time::Duration::days(365);

/// A signing key that could not be made or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// Making, sealing or opening failed.
    #[error("a signing key cannot be used: {0}")]
    Unusable(String),
    /// The key could not be recorded.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Whether the tenant needs a new signing key: it has none, or the newest has come of age.
pub fn is_key_due(snapshot: &Snapshot, tenant: TenantId, now: UtcDateTime) -> bool {
    let newest = of_tenant(snapshot, tenant).map(|key| key.created_at).max();
    newest.is_none_or(|at| {
        at + limits::SIGNING_KEY_ROTATION_AGE.whole_seconds() <= now.unix_timestamp()
    })
}

/// Records a freshly made key, if one is due.
///
/// Making the key takes a tenth of a second of computing: the caller does it where it disturbs nobody.
pub async fn register(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    key: &SigningKey,
) -> Result<(), SigningKeyError> {
    let record = seal(state, operation, tenant, key)?;
    state
        .transact(operation, |snapshot, changes| {
            if is_key_due(snapshot, tenant, operation.now) {
                changes.put(snapshot, &record);
            }
            Ok(())
        })
        .await
}

/// Removes the keys that no living token was signed with.
pub(crate) async fn remove_outlived(
    state: &State,
    operation: &OperationContext,
) -> Result<(), WriteError> {
    state
        .transact(operation, |snapshot, changes| {
            for (_, tenant) in snapshot.tenants.iter() {
                for key in outlived(snapshot, tenant.id, operation.now) {
                    changes.delete(snapshot, key);
                }
            }
            Ok(())
        })
        .await
}

/// When a key begins to sign, Unix seconds.
fn signs_from(key: &SigningKeyRecord) -> i64 {
    key.created_at + limits::SIGNING_KEY_PUBLISHED_BEFORE.whole_seconds()
}

/// The keys whose successor has been signing for longer than any token lives.
fn outlived(snapshot: &Snapshot, tenant: TenantId, now: UtcDateTime) -> Vec<&SigningKeyRecord> {
    let Some(active) = active(snapshot, tenant, now) else { return Vec::new() };
    let retired_at = signs_from(active) + limits::SIGNING_KEY_RETIRED_AFTER.whole_seconds();
    let is_outlived = |key: &&SigningKeyRecord| {
        key.created_at < active.created_at && retired_at <= now.unix_timestamp()
    };
    of_tenant(snapshot, tenant).filter(is_outlived).collect()
}

fn seal(
    state: &State,
    operation: &OperationContext,
    tenant_id: TenantId,
    key: &SigningKey,
) -> Result<SigningKeyRecord, SigningKeyError> {
    let unusable = |error: &dyn std::fmt::Display| SigningKeyError::Unusable(error.to_string());
    let (from, until) = (operation.now, operation.now + CERTIFICATE_VALIDITY);
    let certificate = key
        .self_signed_certificate("keycard token signing", from.into(), until.into())
        .map_err(|error| unusable(&error))?;
    let key_id = encoding::base64url_encode(&digest::sha1(&certificate));
    let private_key = key.to_pkcs8().map_err(|error| unusable(&error))?;
    let private_key_sealed = Tenant::sealing_key(&state.master_key, tenant_id)
        .seal(&sealing_place(tenant_id, &key_id), &private_key)
        .map_err(|error| unusable(&error))?;
    let created_at = operation.now.unix_timestamp();
    Ok(SigningKeyRecord { key_id, tenant_id, certificate, private_key_sealed, created_at })
}

/// The key that signs the tenant's tokens: the newest that has been published long enough, or the only one.
pub fn active(
    snapshot: &Snapshot,
    tenant: TenantId,
    now: UtcDateTime,
) -> Option<&SigningKeyRecord> {
    let is_known = |key: &&SigningKeyRecord| signs_from(key) <= now.unix_timestamp();
    let newest_known =
        of_tenant(snapshot, tenant).filter(is_known).max_by_key(|key| key.created_at);
    newest_known.or_else(|| of_tenant(snapshot, tenant).min_by_key(|key| key.created_at))
}

fn of_tenant(snapshot: &Snapshot, tenant: TenantId) -> impl Iterator<Item = &SigningKeyRecord> {
    snapshot
        .signing_keys
        .iter()
        .map(|(_, key)| key.record.as_ref())
        .filter(move |key| key.tenant_id == tenant)
}

/// The published keys of a tenant.
pub fn published(snapshot: &Snapshot, tenant: &Tenant) -> Vec<Jwk> {
    of_tenant(snapshot, tenant.id)
        .filter_map(|key| {
            let public = PublicKey::from_certificate_der(&key.certificate).ok()?;
            let issuer = tenant.issuers.first().map(|issuer| issuer.v2.clone());
            Some(Jwk::from_signing_key(
                key.key_id.clone(),
                key.key_id.clone(),
                &public,
                &key.certificate,
                issuer,
            ))
        })
        .collect()
}

/// Keys that were opened already, by key id: unsealing and parsing cost as much as a signature.
#[derive(Debug, Default)]
pub struct OpenKeys {
    private: ArcSwap<BTreeMap<String, Arc<SigningKey>>>,
    public: ArcSwap<BTreeMap<String, Arc<PublicKey>>>,
}

impl OpenKeys {
    /// The private key of a record.
    pub fn private(
        &self,
        state: &State,
        record: &SigningKeyRecord,
    ) -> Result<Arc<SigningKey>, SigningKeyError> {
        if let Some(key) = self.private.load().get(&record.key_id) {
            return Ok(Arc::clone(key));
        }
        let unusable = |error: &dyn std::fmt::Display| SigningKeyError::Unusable(error.to_string());
        let pkcs8 = Tenant::sealing_key(&state.master_key, record.tenant_id)
            .open(&sealing_place(record.tenant_id, &record.key_id), &record.private_key_sealed)
            .map_err(|error| unusable(&error))?;
        let key = Arc::new(SigningKey::from_pkcs8(&pkcs8).map_err(|error| unusable(&error))?);
        remember(&self.private, &record.key_id, &key);
        Ok(key)
    }

    /// The public key of a record; `None` when its certificate cannot be read.
    pub fn public(&self, record: &SigningKeyRecord) -> Option<Arc<PublicKey>> {
        if let Some(key) = self.public.load().get(&record.key_id) {
            return Some(Arc::clone(key));
        }
        let key = Arc::new(PublicKey::from_certificate_der(&record.certificate).ok()?);
        remember(&self.public, &record.key_id, &key);
        Some(key)
    }
}

/// The records name at most a few keys per tenant, so the map stays small; a removed record is never asked for.
fn remember<K>(keys: &ArcSwap<BTreeMap<String, Arc<K>>>, key_id: &str, key: &Arc<K>) {
    keys.rcu(|known| {
        let mut known = BTreeMap::clone(known);
        known.insert(key_id.to_owned(), Arc::clone(key));
        known
    });
}
