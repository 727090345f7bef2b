//! Token-signing keys: kept sealed, opened once, used by the issuer; their public halves verify and are published.
//!
//! The life of a key: made and published, so that verifiers learn of it before it signs; active, until its successor
//! signs; retired, until no token that it signed lives; gone. Where it is follows from the ring and the time. All keys of a
//! tenant are one record: whoever changes one relies on all of them, so two nodes never rotate twice, and a crash
//! between two steps leaves a ring as it was before or after.

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
use crate::state::{Changes, State, WriteError};

/// The token-signing keys of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyRing {
    /// Whose keys they are.
    pub tenant_id: TenantId,
    /// In the order in which they were made; never empty.
    pub keys: Vec<TokenSigningKey>,
}

/// A tenant's token-signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSigningKey {
    /// The key id: base64url SHA-1 of the certificate, as `kid` and `x5t`.
    pub key_id: String,
    /// The self-signed certificate that is published, DER.
    #[serde(with = "crate::records::base64_bytes")]
    pub certificate: Vec<u8>,
    /// The private key, PKCS#8, sealed for this place.
    #[serde(with = "crate::records::base64_bytes")]
    pub private_key_sealed: Vec<u8>,
    /// Unix seconds.
    pub created_at: i64,
    /// When it begins to sign, Unix seconds.
    pub signs_from: i64,
}

impl Record for SigningKeyRing {
    const KIND: &'static str = "signing-key-rings";

    fn record_id(&self) -> String {
        self.tenant_id.to_string()
    }
}

/// Where in its life a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPhase {
    /// Verifiers can learn of it; it does not sign yet.
    Published,
    /// It signs.
    Active,
    /// Its successor signs; tokens that it signed may still live.
    Retired,
}

/// Why a signing key is not made, opened or withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// Making, sealing or opening failed.
    #[error("a signing key cannot be used: {0}")]
    Unusable(String),
    /// The tenant has no such key.
    #[error("there is no signing key `{0}`")]
    NotFound(String),
    /// The key could not be recorded.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl SigningKeyRing {
    /// The key with this id.
    pub fn key(&self, key_id: &str) -> Option<&TokenSigningKey> {
        self.keys.iter().find(|key| key.key_id == key_id)
    }

    /// The key that signs: of those whose time has come the newest; before any has, the first.
    pub fn active(&self, now: UtcDateTime) -> Option<&TokenSigningKey> {
        let now = now.unix_timestamp();
        let signing = self.keys.iter().rev().filter(|key| key.signs_from <= now);
        signing.max_by_key(|key| key.signs_from).or_else(|| self.keys.first())
    }

    /// Where in its life a key of the ring is.
    pub fn phase(&self, key: &TokenSigningKey, now: UtcDateTime) -> KeyPhase {
        match self.active(now) {
            Some(active) if active.key_id == key.key_id => KeyPhase::Active,
            Some(active) if key.signs_from <= active.signs_from => KeyPhase::Retired,
            _ => KeyPhase::Published,
        }
    }

    /// Whether a successor is published that does not sign yet.
    fn has_successor(&self, now: UtcDateTime) -> bool {
        self.keys.iter().any(|key| self.phase(key, now) == KeyPhase::Published)
    }

    /// Whether the newest key has come of age.
    fn is_due(&self, now: UtcDateTime) -> bool {
        let newest = self.keys.iter().map(|key| key.created_at).max();
        newest.is_none_or(|at| {
            at + limits::SIGNING_KEY_ROTATION_AGE.whole_seconds() <= now.unix_timestamp()
        })
    }

    /// Whether no living token was signed with a retired key: its successor has been signing for longer than any lives.
    fn is_outlived(&self, key: &TokenSigningKey, now: UtcDateTime) -> bool {
        let retired_after = limits::SIGNING_KEY_RETIRED_AFTER.whole_seconds();
        self.phase(key, now) == KeyPhase::Retired
            && self
                .active(now)
                .is_some_and(|active| active.signs_from + retired_after <= now.unix_timestamp())
    }

    fn with(&self, key: &TokenSigningKey) -> Self {
        let keys = self.keys.iter().chain([key]).cloned().collect();
        Self { tenant_id: self.tenant_id, keys }
    }
}

/// The keys of a tenant; `None` while its first one is being made.
pub fn ring(snapshot: &Snapshot, tenant: TenantId) -> Option<&SigningKeyRing> {
    snapshot.signing_key_ring(tenant).map(|ring| ring.record.as_ref())
}

/// The key that signs the tenant's tokens.
pub fn active(snapshot: &Snapshot, tenant: TenantId, now: UtcDateTime) -> Option<&TokenSigningKey> {
    ring(snapshot, tenant)?.active(now)
}

/// The published keys of a tenant.
pub fn published(snapshot: &Snapshot, tenant: &Tenant) -> Vec<Jwk> {
    let keys = ring(snapshot, tenant.id).map(|ring| ring.keys.as_slice()).unwrap_or_default();
    let jwk = |key: &TokenSigningKey| {
        let public = PublicKey::from_certificate_der(&key.certificate).ok()?;
        let issuer = tenant.issuers.first().map(|issuer| issuer.v2.clone());
        let (id, thumbprint) = (key.key_id.clone(), key.key_id.clone());
        Some(Jwk::from_signing_key(id, thumbprint, &public, &key.certificate, issuer))
    };
    keys.iter().filter_map(jwk).collect()
}

/// The tenants that need a new key: they have none, or the newest has come of age.
pub fn due(snapshot: &Snapshot, now: UtcDateTime) -> Vec<TenantId> {
    let tenants = snapshot.tenants.iter().map(|(_, tenant)| tenant.id);
    tenants.filter(|id| ring(snapshot, *id).is_none_or(|ring| ring.is_due(now))).collect()
}

/// Makes the keys that are due, and removes those that no living token was signed with.
pub async fn rotate_due(
    state: &State,
    operation: &OperationContext,
) -> Result<(), SigningKeyError> {
    for tenant in due(&state.snapshot_to_keep(), operation.now) {
        let key = make(state, operation, tenant).await?;
        change(state, operation, tenant, |ring| {
            let is_due = ring.is_none_or(|ring| ring.is_due(operation.now));
            Ok(is_due.then(|| succeeded_by(ring, tenant, &key, operation.now)))
        })
        .await?;
    }
    remove_outlived(state, operation).await.map_err(SigningKeyError::from)
}

/// Gives the tenant's key a successor before its time. It is published first and signs a day later; while one waits, there
/// is nothing to do.
pub async fn rotate(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
) -> Result<(), SigningKeyError> {
    let key = make(state, operation, tenant).await?;
    change(state, operation, tenant, |ring| {
        let waits = ring.is_some_and(|ring| ring.has_successor(operation.now));
        Ok((!waits).then(|| succeeded_by(ring, tenant, &key, operation.now)))
    })
    .await
}

/// Withdraws a key at once: it is published no more, and no token that it signed counts. When it was the one that signs, a
/// new key signs from now on.
pub async fn revoke(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    key_id: &str,
) -> Result<(), SigningKeyError> {
    let not_found = || SigningKeyError::NotFound(key_id.to_owned());
    ring(&state.snapshot_to_keep(), tenant).and_then(|it| it.key(key_id)).ok_or_else(not_found)?;
    let replacement = make(state, operation, tenant).await?;
    change(state, operation, tenant, |ring| {
        let ring = ring.ok_or_else(not_found)?;
        let withdrawn = ring.key(key_id).ok_or_else(not_found)?;
        let others = ring.keys.iter().filter(|key| key.key_id != key_id).cloned();
        let mut left = SigningKeyRing { tenant_id: tenant, keys: others.collect() };
        if ring.phase(withdrawn, operation.now) == KeyPhase::Active {
            left = left.with(&replacement);
        }
        Ok(Some(left))
    })
    .await
}

/// Plans a new ring on the present one, and commits it against that one.
async fn change(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    plan: impl Fn(Option<&SigningKeyRing>) -> Result<Option<SigningKeyRing>, SigningKeyError>,
) -> Result<(), SigningKeyError> {
    state
        .transact(operation, |snapshot, changes| {
            if let Some(next) = plan(ring(snapshot, tenant))? {
                changes.put(snapshot, &next);
            }
            Ok(())
        })
        .await
}

/// The ring with a new key: the first one signs at once, a successor when verifiers have had time to learn of it.
fn succeeded_by(
    ring: Option<&SigningKeyRing>,
    tenant: TenantId,
    key: &TokenSigningKey,
    now: UtcDateTime,
) -> SigningKeyRing {
    let Some(ring) = ring else {
        return SigningKeyRing { tenant_id: tenant, keys: vec![key.clone()] };
    };
    let published_before = limits::SIGNING_KEY_PUBLISHED_BEFORE.whole_seconds();
    let signs_from = now.unix_timestamp() + published_before;
    ring.with(&TokenSigningKey { signs_from, ..key.clone() })
}

async fn remove_outlived(state: &State, operation: &OperationContext) -> Result<(), WriteError> {
    let plan = |snapshot: &Snapshot, changes: &mut Changes| {
        for (_, ring) in snapshot.signing_key_rings.iter() {
            let mut left = ring.record.as_ref().clone();
            left.keys.retain(|key| !ring.is_outlived(key, operation.now));
            if left.keys.len() < ring.keys.len() {
                changes.put(snapshot, &left);
            }
        }
        Ok(())
    };
    state.transact(operation, plan).await
}

fn sealing_place(tenant: TenantId, key_id: &str) -> String {
    format!("tenants/{tenant}/signing-keys/{key_id}")
}

/// How long the published certificate of a signing key runs. Verifiers do not look at it; keys rotate long before.
const CERTIFICATE_VALIDITY: time::Duration = time::Duration::days(365);

/// A new key, sealed, that signs from now on. It is made before the commit that records it.
async fn make(
    state: &State,
    operation: &OperationContext,
    tenant_id: TenantId,
) -> Result<TokenSigningKey, SigningKeyError> {
    let unusable = |error: &dyn std::fmt::Display| SigningKeyError::Unusable(error.to_string());
    let key = SigningKey::generate_beside().await.map_err(|error| unusable(&error))?;
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
    let signs_from = created_at;
    Ok(TokenSigningKey { key_id, certificate, private_key_sealed, created_at, signs_from })
}

/// Keys that were opened already, by key id: unsealing and parsing cost as much as a signature.
#[derive(Debug, Default)]
pub struct OpenKeys {
    private: ArcSwap<BTreeMap<String, Arc<SigningKey>>>,
    public: ArcSwap<BTreeMap<String, Arc<PublicKey>>>,
}

impl OpenKeys {
    /// The private key of one of a tenant's keys.
    pub fn private(
        &self,
        state: &State,
        tenant: TenantId,
        key: &TokenSigningKey,
    ) -> Result<Arc<SigningKey>, SigningKeyError> {
        if let Some(open) = self.private.load().get(&key.key_id) {
            return Ok(Arc::clone(open));
        }
        let unusable = |error: &dyn std::fmt::Display| SigningKeyError::Unusable(error.to_string());
        let pkcs8 = Tenant::sealing_key(&state.master_key, tenant)
            .open(&sealing_place(tenant, &key.key_id), &key.private_key_sealed)
            .map_err(|error| unusable(&error))?;
        let open = Arc::new(SigningKey::from_pkcs8(&pkcs8).map_err(|error| unusable(&error))?);
        remember(&self.private, &key.key_id, &open);
        Ok(open)
    }

    /// The public half of a key; `None` when its certificate cannot be read.
    pub fn public(&self, key: &TokenSigningKey) -> Option<Arc<PublicKey>> {
        if let Some(open) = self.public.load().get(&key.key_id) {
            return Some(Arc::clone(open));
        }
        let open = Arc::new(PublicKey::from_certificate_der(&key.certificate).ok()?);
        remember(&self.public, &key.key_id, &open);
        Some(open)
    }
}

/// Keys that stay open; beyond that all are opened anew. A removed key is never asked for.
const OPEN_KEYS_MAX: usize = 256;

fn remember<K>(keys: &ArcSwap<BTreeMap<String, Arc<K>>>, key_id: &str, key: &Arc<K>) {
    keys.rcu(|known| {
        let mut known = BTreeMap::clone(known);
        if known.len() >= OPEN_KEYS_MAX {
            known.clear();
        }
        known.insert(key_id.to_owned(), Arc::clone(key));
        known
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key_id: &str, created_at: i64, signs_from: i64) -> TokenSigningKey {
        let key_id = key_id.to_owned();
        TokenSigningKey {
            key_id,
            certificate: vec![],
            private_key_sealed: vec![],
            created_at,
            signs_from,
        }
    }

    #[test]
    fn where_a_key_is_follows_from_the_ring_and_the_time() {
        let hours = |count: i64| count * 3600;
        let ring = SigningKeyRing {
            tenant_id: TenantId::new(uuid::Uuid::nil()),
            keys: vec![key("a", 0, 0), key("b", hours(10), hours(34))],
        };
        let check = |at: i64, expected: [(&str, KeyPhase); 2], outlived: bool| {
            let now = UtcDateTime::from_unix_timestamp(at).unwrap();
            for (id, phase) in expected {
                assert_eq!(ring.phase(ring.key(id).unwrap(), now), phase, "{id} at {at}");
            }
            assert_eq!(ring.is_outlived(ring.key("a").unwrap(), now), outlived, "at {at}");
            assert!(!ring.is_outlived(ring.key("b").unwrap(), now), "at {at}");
        };
        let (before, after) = (
            [("a", KeyPhase::Active), ("b", KeyPhase::Published)],
            [("a", KeyPhase::Retired), ("b", KeyPhase::Active)],
        );
        check(hours(10), before, false);
        check(hours(34) - 1, before, false);
        check(hours(34), after, false);
        check(hours(34 + 25) - 1, after, false);
        check(hours(34 + 25), after, true);
        // A clock that was set back: the first key signs until its time has come.
        check(-1, before, false);
    }
}
