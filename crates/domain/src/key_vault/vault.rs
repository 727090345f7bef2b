//! A vault on the control plane: its settings, and its deletion in two steps.
//!
//! Source: Microsoft.KeyVault/vaults REST API; Azure Key Vault, "soft-delete overview".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::access_policy::{AccessPolicy, PolicyChange};
use super::secret;
use crate::directory::user_assigned_identity::Put;
use crate::ids::TenantId;
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::{RbacScope, assignment};
use crate::records::{Record, Versioned};
use crate::resource_id::ArmResourceId;
use crate::resources::{
    ResourceError, check_location, check_tags, normalized_location, require_group,
};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// The type of these resources.
pub const RESOURCE_TYPE: &str = "Microsoft.KeyVault/vaults";

/// A vault. Its name is unique everywhere, since it is part of a host name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vault {
    /// Its resource id.
    pub id: ArmResourceId,
    /// Where it was made; immutable.
    pub location: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Tokens of other tenants are refused.
    pub tenant_id: TenantId,
    /// `standard` or `premium`.
    pub sku: String,
    /// Who may do what, where RBAC is off.
    pub access_policies: Vec<AccessPolicy>,
    /// Whether Azure RBAC decides instead of the access policies.
    pub uses_rbac: bool,
    /// How long deleted objects can be recovered; immutable.
    pub retention_days: u16,
    /// Whether deleted objects cannot be purged before that.
    pub has_purge_protection: bool,
    /// Settings that are kept and returned: `networkAcls`, `enabledForDeployment`, …
    pub other: Map<String, Value>,
    /// Set while the vault is deleted and can be recovered.
    pub deleted: Option<Deletion>,
}

/// A deletion that can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Unix seconds.
    pub deleted_at: i64,
    /// Unix seconds; from then on it is gone.
    pub purge_at: i64,
}

impl Record for Vault {
    const KIND: &'static str = "vaults";

    fn record_id(&self) -> String {
        self.name().to_ascii_lowercase()
    }
}

impl Vault {
    /// The vault's name.
    pub fn name(&self) -> &str {
        self.id.name()
    }

    /// The vault as a scope; every resource id is one.
    pub fn scope(&self) -> RbacScope {
        RbacScope::from(&self.id)
    }

    /// What happens to deleted objects: `recoveryLevel`.
    pub const fn recovery_level(&self) -> &'static str {
        match (self.has_purge_protection, self.retention_days < limits::SOFT_DELETE_RETENTION_DAYS)
        {
            (true, true) => "CustomizedRecoverable",
            (true, false) => "Recoverable",
            (false, true) => "CustomizedRecoverable+Purgeable",
            (false, false) => "Recoverable+Purgeable",
        }
    }
}

/// Why a vault is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Another vault has the name.
    #[error("the name {0} is taken")]
    NameTaken(String),
    /// A deleted vault has the name.
    #[error("a deleted vault has the name {0}")]
    NameTakenByDeleted(String),
    /// The vault to recover is not among the deleted ones.
    #[error("no deleted vault has the name {0}")]
    NothingToRecover(String),
    /// A setting is out of its range.
    #[error("{0}")]
    SettingInvalid(&'static str),
    /// The vault is of another tenant than its subscription.
    #[error("tenant {0} is not the subscription's")]
    TenantWrong(TenantId),
    /// Purge protection forbids it.
    #[error("purge protection is on")]
    PurgeProtected,
    /// What every resource can be refused for.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl From<WriteError> for VaultError {
    fn from(error: WriteError) -> Self {
        Self::Resource(error.into())
    }
}

/// What a PUT or PATCH asks for; an absent member says nothing.
#[derive(Clone, Debug, Default)]
pub struct VaultRequest {
    /// Where.
    pub location: Option<String>,
    /// All tags.
    pub tags: Option<BTreeMap<String, String>>,
    /// The tenant.
    pub tenant_id: Option<TenantId>,
    /// `standard` or `premium`.
    pub sku: Option<String>,
    /// All access policies.
    pub access_policies: Option<Vec<AccessPolicy>>,
    /// Whether RBAC decides.
    pub uses_rbac: Option<bool>,
    /// How long deleted objects can be recovered.
    pub retention_days: Option<u16>,
    /// Whether purging is forbidden.
    pub has_purge_protection: Option<bool>,
    /// Whether a deleted vault is to be taken back.
    pub recovers: bool,
    /// Settings that are kept and returned.
    pub other: Map<String, Value>,
}

/// Makes the vault, replaces its settings, or takes it back from deletion.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
    request: &VaultRequest,
    rbac_by_default: bool,
) -> Result<Put<Vault>, VaultError> {
    state
        .transact(operation, |snapshot, changes| {
            let tenant_id = require_group(snapshot, id)?.tenant_id;
            check_name(id.name())?;
            let existing = snapshot.vaults.get(&id.name().to_ascii_lowercase());
            let base = match existing {
                // A vault is recovered where it was: rights on another place are none on what it holds.
                Some(vault)
                    if is_recoverable(vault, operation) && request.recovers && vault.id == *id =>
                {
                    recovered(vault)
                }
                Some(vault) if vault.deleted.is_some() && request.recovers => {
                    return Err(VaultError::NothingToRecover(id.name().to_owned()));
                }
                Some(vault) if vault.deleted.is_some() => {
                    return Err(VaultError::NameTakenByDeleted(vault.name().to_owned()));
                }
                Some(vault) if vault.id == *id => vault.record.as_ref().clone(),
                Some(vault) => {
                    return Err(VaultError::NameTaken(vault.name().to_owned()));
                }
                None if request.recovers => {
                    return Err(VaultError::NothingToRecover(id.name().to_owned()));
                }
                None => fresh(id, tenant_id, request, rbac_by_default)?,
            };
            let resource = with_settings(base, request, tenant_id)?;
            changes.put(snapshot, &resource);
            Ok(Put { resource, is_new: existing.is_none() })
        })
        .await
}

/// Deleted, and neither purged nor over its time.
fn is_recoverable(vault: &Vault, operation: &OperationContext) -> bool {
    vault.deleted.is_some_and(|deletion| deletion.purge_at > operation.now.unix_timestamp())
}

fn recovered(vault: &Vault) -> Vault {
    Vault { deleted: None, ..vault.clone() }
}

fn fresh(
    id: &ArmResourceId,
    tenant_id: TenantId,
    request: &VaultRequest,
    rbac_by_default: bool,
) -> Result<Vault, VaultError> {
    Ok(Vault {
        id: id.clone(),
        location: request.location.clone().ok_or(ResourceError::LocationRequired)?,
        tags: BTreeMap::new(),
        tenant_id,
        sku: "standard".to_owned(),
        access_policies: Vec::new(),
        uses_rbac: rbac_by_default,
        retention_days: request.retention_days.unwrap_or(limits::SOFT_DELETE_RETENTION_DAYS),
        has_purge_protection: false,
        other: Map::new(),
        deleted: None,
    })
}

fn with_settings(
    mut vault: Vault,
    request: &VaultRequest,
    tenant_id: TenantId,
) -> Result<Vault, VaultError> {
    check_location(&vault.id, &vault.location, request.location.as_deref())?;
    check_settings(&vault, request, tenant_id)?;
    if let Some(tags) = &request.tags {
        check_tags(tags)?;
        vault.tags.clone_from(tags);
    }
    if let Some(policies) = &request.access_policies {
        vault.access_policies.clone_from(policies);
    }
    vault.uses_rbac = request.uses_rbac.unwrap_or(vault.uses_rbac);
    vault.sku = request.sku.clone().unwrap_or(vault.sku);
    vault.has_purge_protection |= request.has_purge_protection.unwrap_or(false);
    vault.other.extend(request.other.clone());
    Ok(vault)
}

fn check_settings(
    vault: &Vault,
    request: &VaultRequest,
    tenant_id: TenantId,
) -> Result<(), VaultError> {
    if let Some(wrong) = request.tenant_id.filter(|requested| *requested != tenant_id) {
        return Err(VaultError::TenantWrong(wrong));
    }
    if request.retention_days.is_some_and(|days| !(7..=90).contains(&days)) {
        return Err(VaultError::SettingInvalid("softDeleteRetentionInDays should be >=7 and <=90"));
    }
    if request.retention_days.is_some_and(|days| days != vault.retention_days) {
        return Err(VaultError::SettingInvalid(
            "softDeleteRetentionInDays cannot be changed after the vault was created",
        ));
    }
    if request.has_purge_protection == Some(false) {
        return Err(VaultError::SettingInvalid(
            "enablePurgeProtection cannot be set to false; leave it out or set it to true",
        ));
    }
    if !matches!(request.sku.as_deref(), None | Some("standard" | "premium")) {
        return Err(VaultError::SettingInvalid("sku.name must be standard or premium"));
    }
    let policies = request.access_policies.as_deref().unwrap_or_default();
    check_policies(policies, tenant_id)
}

fn check_policies(policies: &[AccessPolicy], tenant_id: TenantId) -> Result<(), VaultError> {
    if policies.len() > limits::ACCESS_POLICIES_MAX {
        return Err(VaultError::SettingInvalid("a vault has at most 1024 access policies"));
    }
    if policies.iter().any(|policy| policy.permissions.are_too_many()) {
        return Err(VaultError::SettingInvalid(
            "an access policy has at most 64 permissions of each kind of object",
        ));
    }
    match policies.iter().find(|policy| policy.tenant_id != tenant_id) {
        Some(policy) => Err(VaultError::TenantWrong(policy.tenant_id)),
        None => Ok(()),
    }
}

/// Changes what the request names.
pub async fn patch(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
    request: &VaultRequest,
) -> Result<Vault, VaultError> {
    state
        .transact(operation, |snapshot, changes| {
            let tenant_id = require_group(snapshot, id)?.tenant_id;
            let vault =
                with_settings(find(snapshot, id)?.record.as_ref().clone(), request, tenant_id)?;
            changes.put(snapshot, &vault);
            Ok(vault)
        })
        .await
}

/// Changes the access policies of the principals that are listed, and leaves those of others.
pub async fn change_policies(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
    change: PolicyChange,
    listed: &[AccessPolicy],
) -> Result<Vault, VaultError> {
    state
        .transact(operation, |snapshot, changes| {
            let tenant_id = require_group(snapshot, id)?.tenant_id;
            // First, since merging takes as long as both are, one by the other.
            check_policies(listed, tenant_id)?;
            let mut vault = find(snapshot, id)?.record.as_ref().clone();
            vault.access_policies = change.apply(&vault.access_policies, listed);
            check_policies(&vault.access_policies, tenant_id)?;
            changes.put(snapshot, &vault);
            Ok(vault)
        })
        .await
}

/// Why a name is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameUnavailable {
    /// It breaks the rules.
    Invalid,
    /// A vault has it, perhaps a deleted one.
    Taken,
}

/// Whether a new vault could have this name.
pub fn check_availability(snapshot: &Snapshot, name: &str) -> Result<(), NameUnavailable> {
    check_name(name).map_err(|_| NameUnavailable::Invalid)?;
    match snapshot.vaults.get(&name.to_ascii_lowercase()) {
        Some(_) => Err(NameUnavailable::Taken),
        None => Ok(()),
    }
}

/// The live vault with this id.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    id: &ArmResourceId,
) -> Result<&'a Versioned<Vault>, ResourceError> {
    require_group(snapshot, id)?;
    find_by_name(snapshot, id.name())
        .filter(|vault| vault.id == *id)
        .ok_or_else(|| ResourceError::NotFound(id.clone()))
}

/// The live vault with this name.
pub fn find_by_name<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a Versioned<Vault>> {
    snapshot.vaults.get(&name.to_ascii_lowercase()).filter(|vault| vault.deleted.is_none())
}

/// The live vaults at or below a path.
pub fn in_scope(snapshot: &Snapshot, path: &str) -> Vec<Versioned<Vault>> {
    select(snapshot, path, |vault| vault.deleted.is_none())
}

/// The deleted vaults of a subscription that can be recovered.
pub fn deleted_in_scope(snapshot: &Snapshot, path: &str) -> Vec<Versioned<Vault>> {
    select(snapshot, path, |vault| vault.deleted.is_some())
}

/// The deleted vault with this name, if it was one of the subscription's and in this location.
pub fn find_deleted<'a>(
    snapshot: &'a Snapshot,
    subscription: &str,
    location: &str,
    name: &str,
) -> Option<&'a Versioned<Vault>> {
    snapshot.vaults.get(&name.to_ascii_lowercase()).filter(|vault| {
        vault.deleted.is_some()
            && vault.id.subscription().to_string().eq_ignore_ascii_case(subscription)
            && normalized_location(&vault.location) == normalized_location(location)
    })
}

fn select(
    snapshot: &Snapshot,
    path: &str,
    is_meant: impl Fn(&Vault) -> bool,
) -> Vec<Versioned<Vault>> {
    let prefix = format!("{}/", path.to_ascii_lowercase());
    snapshot
        .vaults
        .iter()
        .map(|(_, vault)| vault)
        .filter(|vault| is_meant(vault) && vault.id.key().starts_with(&prefix))
        .cloned()
        .collect()
}

/// Deletes the vault; it can be recovered, and its name stays reserved. `false` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
) -> Result<bool, VaultError> {
    state
        .transact(operation, |snapshot, changes| match find(snapshot, id) {
            Ok(vault) => {
                plan_delete(snapshot, changes, operation, vault);
                Ok(true)
            }
            Err(ResourceError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        })
        .await
}

/// What deleting a vault writes; its role assignments are lost.
pub(crate) fn plan_delete(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    vault: &Versioned<Vault>,
) {
    let now = operation.now.unix_timestamp();
    let retention = time::Duration::days(i64::from(vault.retention_days));
    let deleted = Some(Deletion { deleted_at: now, purge_at: now + retention.whole_seconds() });
    changes.put(snapshot, &Vault { deleted, ..vault.record.as_ref().clone() });
    let scope = vault.scope();
    assignment::plan_delete_below(snapshot, changes, &scope);
}

/// Removes a deleted vault with everything in it, for good; `false` when there was none.
pub async fn purge(
    state: &State,
    operation: &OperationContext,
    name: &str,
) -> Result<bool, VaultError> {
    let key = name.to_ascii_lowercase();
    let now = operation.now.unix_timestamp();
    let is_marked = state
        .transact(operation, |snapshot, changes| {
            let vault = snapshot.vaults.get(&key);
            let Some((vault, deletion)) = vault.and_then(|vault| Some((vault, vault.deleted?)))
            else {
                return Ok(false);
            };
            if vault.has_purge_protection && deletion.purge_at > now {
                return Err(VaultError::PurgeProtected);
            }
            // From here on it cannot be recovered; if the rest is not done now, upkeep does it.
            let deleted = Some(Deletion { purge_at: now, ..deletion });
            changes.put(snapshot, &Vault { deleted, ..vault.record.as_ref().clone() });
            Ok(true)
        })
        .await?;
    if !is_marked {
        return Ok(false);
    }
    remove(state, operation, &key).await
}

/// Removes the deleted vaults whose time is over, whether they are protected from purging or not.
pub(crate) async fn remove_expired(
    state: &State,
    operation: &OperationContext,
) -> Result<(), VaultError> {
    let now = operation.now.unix_timestamp();
    let is_over = |vault: &Vault| vault.deleted.is_some_and(|deletion| deletion.purge_at <= now);
    let expired: Vec<String> = {
        let snapshot = state.snapshot();
        let over = snapshot.vaults.iter().filter(|(_, vault)| is_over(vault));
        over.map(|(key, _)| key.to_owned()).collect()
    };
    for key in expired {
        remove(state, operation, &key).await?;
    }
    Ok(())
}

/// What is in the vault goes first: a name is free only when nothing is left that a new vault could find.
async fn remove(
    state: &State,
    operation: &OperationContext,
    key: &str,
) -> Result<bool, VaultError> {
    secret::purge_all(state, key).await?;
    state
        .transact(operation, |snapshot, changes| {
            let vault = snapshot.vaults.get(key).filter(|vault| vault.deleted.is_some());
            if let Some(vault) = vault {
                changes.delete(snapshot, vault.record.as_ref());
            }
            Ok(vault.is_some())
        })
        .await
}

/// 3 to 24 letters, digits and single `-`, the first a letter, the last no `-`.
pub fn check_name(name: &str) -> Result<(), ResourceError> {
    let is_valid = (3..=24).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !name.ends_with('-')
        && !name.contains("--")
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_valid {
        Ok(())
    } else {
        Err(ResourceError::NameInvalid { resource_type: RESOURCE_TYPE, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_host_name_can_hold() {
        for right in ["kv1", "a-b", "abc123", &"v".repeat(24)] {
            assert!(check_name(right).is_ok(), "{right}");
        }
        for wrong in ["kv", "1kv", "kv-", "a--b", "a.b", "a_b", &"v".repeat(25)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
