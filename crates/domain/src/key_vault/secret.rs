//! Secrets of a vault: versions, attributes, deletion in two steps.
//!
//! Secrets are no part of the snapshot: values are sealed for their place and read from the store when asked for.
//! Source: Key Vault REST API, secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use keycard_crypto::encoding;
use keycard_crypto::secret::Secret;
use serde::{Deserialize, Serialize};

use super::vault::{self, Deletion, Vault};
use crate::audit::activity;
use crate::directory::Tenant;
use crate::limits;
use crate::operation::OperationContext;
use crate::records::{PAYLOAD_PREFIX, Record, UnreadableRecord, decode, encode, payload_key};
use crate::resources::lock;
use crate::state::{Changes, State, WriteError};
use crate::store::{Entry, Expectation, StoreError, StoreKey, Write};

/// The name of a secret: 1 to 127 letters, digits and `-`. Comparison ignores case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretName(String);

impl SecretName {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl PartialEq for SecretName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for SecretName {}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SecretName {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let is_valid = (1..=127).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if is_valid { Ok(Self(text.to_owned())) } else { Err(SecretError::NameInvalid) }
    }
}

/// What can be changed about a version without touching its value. Times are Unix seconds, kept as sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretAttributes {
    /// Whether its value may be read.
    pub is_enabled: bool,
    /// Not to be used before.
    pub not_before: Option<i64>,
    /// Not to be used from then on.
    pub expires: Option<i64>,
    /// When the version was made.
    pub created: i64,
    /// When it was last changed.
    pub updated: i64,
    /// What the value is, in the client's words.
    pub content_type: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// One version of a secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretVersion {
    /// The secret's name.
    pub name: SecretName,
    /// 32 lower-case hexadecimal digits.
    pub version: String,
    /// Its attributes.
    pub attributes: SecretAttributes,
}

/// A version with its value.
#[derive(Clone, Debug)]
pub struct SecretBundle {
    /// Which version.
    pub version: SecretVersion,
    /// The value.
    pub value: Secret,
}

/// A deleted secret that can be recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedSecret {
    /// The version that was current.
    pub version: SecretVersion,
    /// When it was deleted and when it will be gone.
    pub deletion: Deletion,
}

/// The stored head of a secret: which version is current, and whether it is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    vault: String,
    name: SecretName,
    current: String,
    attributes: SecretAttributes,
    versions: usize,
    deletion: Option<Deletion>,
}

impl Record for Head {
    const KIND: &'static str = "secrets";

    fn record_id(&self) -> String {
        head_id(&self.vault, &self.name)
    }
}

fn head_id(vault: &str, name: &SecretName) -> String {
    format!("{vault}/{}", name.key())
}

/// The stored form of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredVersion {
    vault: String,
    name: SecretName,
    version: String,
    attributes: SecretAttributes,
    #[serde(with = "crate::records::base64_bytes")]
    value_sealed: Vec<u8>,
}

impl Record for StoredVersion {
    const KIND: &'static str = "secret-versions";

    fn record_id(&self) -> String {
        version_id(&self.vault, &self.name, &self.version)
    }
}

fn version_id(vault: &str, name: &SecretName, version: &str) -> String {
    format!("{vault}/{}/{version}", name.key())
}

impl StoredVersion {
    fn without_value(self) -> SecretVersion {
        SecretVersion { name: self.name, version: self.version, attributes: self.attributes }
    }
}

/// Why an operation on a secret is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The name breaks the rules.
    #[error("not a name of a secret")]
    NameInvalid,
    /// The value is too long.
    #[error("the value has more than {max} characters", max = limits::SECRET_CHARS_MAX)]
    ValueTooLong,
    /// The tags break the rules.
    #[error("too many or too long tags")]
    TagsInvalid,
    /// The secret has as many versions as it may.
    #[error("the secret has {max} versions", max = limits::SECRET_VERSIONS_MAX)]
    TooManyVersions,
    /// There is no such secret, or no such version of it.
    #[error("secret {0} does not exist")]
    NotFound(String),
    /// There is no such deleted secret.
    #[error("deleted secret {0} does not exist")]
    DeletedNotFound(String),
    /// The vault was deleted since the call came in.
    #[error("vault {0} is gone")]
    VaultGone(String),
    /// The name is taken by a deleted secret.
    #[error("secret {0} is deleted but recoverable")]
    DeletedButRecoverable(String),
    /// The version is disabled.
    #[error("the secret is disabled")]
    Disabled,
    /// The vault forbids purging.
    #[error("purge protection is on")]
    PurgeProtected,
    /// The value cannot be opened: the master key is another one, or the store was tampered with.
    #[error("the value cannot be opened")]
    Unopenable,
    /// A stored form cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableRecord),
    /// The store did not answer or did not write.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<StoreError> for SecretError {
    fn from(error: StoreError) -> Self {
        Self::Write(error.into())
    }
}

/// What a new version is made of.
#[derive(Clone, Debug)]
pub struct NewSecret {
    /// The value.
    pub value: Secret,
    /// What it is, in the client's words.
    pub content_type: Option<String>,
    /// Whether its value may be read; yes when absent.
    pub is_enabled: Option<bool>,
    /// Not to be used before, Unix seconds as sent.
    pub not_before: Option<i64>,
    /// Not to be used from then on, Unix seconds as sent.
    pub expires: Option<i64>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// What changes about a version; an absent member changes nothing.
#[derive(Clone, Debug, Default)]
pub struct SecretUpdate {
    /// What it is, in the client's words.
    pub content_type: Option<String>,
    /// Whether its value may be read.
    pub is_enabled: Option<bool>,
    /// Not to be used before.
    pub not_before: Option<i64>,
    /// Not to be used from then on.
    pub expires: Option<i64>,
    /// All tags.
    pub tags: Option<BTreeMap<String, String>>,
}

/// A page of a listing, with where the next one starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPage<T> {
    /// At most as many items as asked for.
    pub items: Vec<T>,
    /// Set when there are more.
    pub next: Option<String>,
}

/// Tags of a secret. Source: Key Vault, "up to 15 tags", 256 characters each.
const SECRET_TAGS_MAX: usize = 15;
const SECRET_TAG_CHARS_MAX: usize = 256;
/// Characters of a content type. Source: Key Vault REST API, 255.
const CONTENT_TYPE_CHARS_MAX: usize = 255;

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), SecretError> {
    let is_short = |text: &str| text.chars().count() <= SECRET_TAG_CHARS_MAX;
    let is_valid = tags.len() <= SECRET_TAGS_MAX
        && tags.iter().all(|(name, value)| is_short(name) && is_short(value));
    if is_valid { Ok(()) } else { Err(SecretError::TagsInvalid) }
}

fn check_new(new: &NewSecret) -> Result<(), SecretError> {
    if new.value.expose().chars().count() > limits::SECRET_CHARS_MAX {
        return Err(SecretError::ValueTooLong);
    }
    let has_long_type =
        new.content_type.as_ref().is_some_and(|t| t.chars().count() > CONTENT_TYPE_CHARS_MAX);
    if has_long_type {
        return Err(SecretError::TagsInvalid);
    }
    check_tags(&new.tags)
}

/// A vault's secrets, as one operation sees them.
#[derive(Clone, Copy, Debug)]
pub struct Secrets<'a> {
    state: &'a State,
    operation: &'a OperationContext,
    vault: &'a Vault,
}

impl<'a> Secrets<'a> {
    /// The secrets of a vault.
    pub const fn of(state: &'a State, operation: &'a OperationContext, vault: &'a Vault) -> Self {
        Self { state, operation, vault }
    }

    fn vault_key(&self) -> String {
        self.vault.record_id()
    }

    /// The head of a secret, deleted or not; one whose time is over is gone.
    async fn head(&self, name: &SecretName) -> Result<Option<(Head, Entry)>, SecretError> {
        let key = payload_key::<Head>(&head_id(&self.vault_key(), name));
        let Some(entry) = self.state.store.get(&key).await? else { return Ok(None) };
        let head: Head = decode(&entry.value)?;
        if head.deletion.is_some_and(|d| d.purge_at <= self.operation.now.unix_timestamp()) {
            self.remove(&head, &entry).await?;
            return Ok(None);
        }
        Ok(Some((head, entry)))
    }

    async fn live_head(&self, name: &SecretName) -> Result<(Head, Entry), SecretError> {
        self.head(name)
            .await?
            .filter(|(head, _)| head.deletion.is_none())
            .ok_or_else(|| SecretError::NotFound(name.to_string()))
    }

    async fn deleted_head(
        &self,
        name: &SecretName,
    ) -> Result<(Head, Entry, Deletion), SecretError> {
        match self.head(name).await? {
            Some((head, entry)) if head.deletion.is_some() => {
                let deletion = head.deletion.unwrap_or(Deletion { deleted_at: 0, purge_at: 0 });
                Ok((head, entry, deletion))
            }
            _ => Err(SecretError::DeletedNotFound(name.to_string())),
        }
    }

    async fn stored_version(
        &self,
        name: &SecretName,
        version: &str,
    ) -> Result<(StoredVersion, Entry), SecretError> {
        let not_found = || SecretError::NotFound(format!("{name}/{version}"));
        let is_version = version.len() == 32 && version.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_version {
            return Err(not_found());
        }
        let id = version_id(&self.vault_key(), name, &version.to_ascii_lowercase());
        let key = payload_key::<StoredVersion>(&id);
        let entry = self.state.store.get(&key).await?.ok_or_else(not_found)?;
        Ok((decode(&entry.value)?, entry))
    }

    /// Makes a new version, which becomes the current one.
    pub async fn set(
        &self,
        name: &SecretName,
        new: &NewSecret,
    ) -> Result<SecretBundle, SecretError> {
        self.set_with(name, new, |_| Ok(())).await
    }

    /// Makes a new version through Resource Manager: a control-plane write, with its activity entry.
    pub async fn put(
        &self,
        name: &SecretName,
        new: &NewSecret,
    ) -> Result<SecretVersion, SecretError> {
        let record = |changes: &mut Changes| {
            lock::guard(&self.state.snapshot(), changes, self.operation)
                .map_err(WriteError::from)?;
            activity::record(self.state, self.operation, changes);
            Ok(())
        };
        let bundle = self.set_with(name, new, record).await?;
        activity::committed(self.operation);
        Ok(bundle.version)
    }

    /// The current version, without its value.
    pub async fn current(&self, name: &SecretName) -> Result<SecretVersion, SecretError> {
        let (head, _) = self.live_head(name).await?;
        Ok(SecretVersion { name: head.name, version: head.current, attributes: head.attributes })
    }

    async fn set_with(
        &self,
        name: &SecretName,
        new: &NewSecret,
        record: impl Fn(&mut Changes) -> Result<(), WriteError>,
    ) -> Result<SecretBundle, SecretError> {
        check_new(new)?;
        let mut outcome = Err(SecretError::NotFound(name.to_string()));
        for _ in 0..limits::COMMIT_ATTEMPTS_MAX {
            outcome = self.try_set(name, new, &record).await;
            if !matches!(outcome, Err(SecretError::Write(WriteError::Conflict(_)))) {
                break;
            }
        }
        outcome
    }

    async fn try_set(
        &self,
        name: &SecretName,
        new: &NewSecret,
        record: impl Fn(&mut Changes) -> Result<(), WriteError>,
    ) -> Result<SecretBundle, SecretError> {
        let former = self.head(name).await?;
        let versions = match &former {
            Some((head, _)) if head.deletion.is_some() => {
                return Err(SecretError::DeletedButRecoverable(name.to_string()));
            }
            Some((head, _)) => head.versions + 1,
            None => 1,
        };
        if versions > limits::SECRET_VERSIONS_MAX {
            return Err(SecretError::TooManyVersions);
        }
        let stored = self.new_version(name, new)?;
        let head = Head {
            vault: self.vault_key(),
            name: name.clone(),
            current: stored.version.clone(),
            attributes: stored.attributes.clone(),
            versions,
            deletion: None,
        };
        let mut changes = Changes::default();
        put(&mut changes, &head, former.map(|(_, entry)| entry).as_ref());
        put(&mut changes, &stored, None);
        self.rely_on_vault(&mut changes)?;
        record(&mut changes)?;
        self.state.commit(changes).await?;
        Ok(SecretBundle { version: stored.without_value(), value: new.value.clone() })
    }

    /// A secret is not put into a vault that is deleted at the same time.
    fn rely_on_vault(&self, changes: &mut Changes) -> Result<(), SecretError> {
        let snapshot = self.state.snapshot();
        let vault = vault::find_by_name(&snapshot, self.vault.name())
            .filter(|vault| vault.id == self.vault.id)
            .ok_or_else(|| SecretError::VaultGone(self.vault.name().to_owned()))?;
        changes.rely_on(&snapshot, vault.record.as_ref());
        Ok(())
    }

    fn new_version(
        &self,
        name: &SecretName,
        new: &NewSecret,
    ) -> Result<StoredVersion, SecretError> {
        let now = self.operation.now.unix_timestamp();
        let mut id = [0; 16];
        self.state.entropy.fill(&mut id);
        let version = encoding::hex_encode(&id);
        let place = version_id(&self.vault_key(), name, &version);
        let value_sealed = Tenant::sealing_key(&self.state.master_key, self.vault.tenant_id)
            .seal(&place, new.value.expose().as_bytes())
            .map_err(|_| SecretError::Unopenable)?;
        Ok(StoredVersion {
            vault: self.vault_key(),
            name: name.clone(),
            version,
            attributes: SecretAttributes {
                is_enabled: new.is_enabled.unwrap_or(true),
                not_before: new.not_before,
                expires: new.expires,
                created: now,
                updated: now,
                content_type: new.content_type.clone(),
                tags: new.tags.clone(),
            },
            value_sealed,
        })
    }

    /// The value of a version, or of the current one.
    pub async fn get(
        &self,
        name: &SecretName,
        version: Option<&str>,
    ) -> Result<SecretBundle, SecretError> {
        let (head, _) = self.live_head(name).await?;
        let (stored, _) = self.stored_version(name, version.unwrap_or(&head.current)).await?;
        if !stored.attributes.is_enabled {
            return Err(SecretError::Disabled);
        }
        let place = version_id(&self.vault_key(), name, &stored.version);
        let value = Tenant::sealing_key(&self.state.master_key, self.vault.tenant_id)
            .open(&place, &stored.value_sealed)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or(SecretError::Unopenable)?;
        Ok(SecretBundle { version: stored.without_value(), value: Secret::new(value) })
    }

    /// Changes the attributes of a version, or of the current one.
    pub async fn update(
        &self,
        name: &SecretName,
        version: Option<&str>,
        update: &SecretUpdate,
    ) -> Result<SecretVersion, SecretError> {
        if let Some(tags) = &update.tags {
            check_tags(tags)?;
        }
        let mut outcome = Err(SecretError::NotFound(name.to_string()));
        for _ in 0..limits::COMMIT_ATTEMPTS_MAX {
            outcome = self.try_update(name, version, update).await;
            if !matches!(outcome, Err(SecretError::Write(WriteError::Conflict(_)))) {
                break;
            }
        }
        outcome
    }

    async fn try_update(
        &self,
        name: &SecretName,
        version: Option<&str>,
        update: &SecretUpdate,
    ) -> Result<SecretVersion, SecretError> {
        let (mut head, head_entry) = self.live_head(name).await?;
        let (mut stored, entry) =
            self.stored_version(name, version.unwrap_or(&head.current)).await?;
        apply(&mut stored.attributes, update, self.operation.now.unix_timestamp());
        let mut changes = Changes::default();
        put(&mut changes, &stored, Some(&entry));
        if head.current == stored.version {
            head.attributes = stored.attributes.clone();
            put(&mut changes, &head, Some(&head_entry));
        }
        self.state.commit(changes).await?;
        Ok(stored.without_value())
    }

    /// The secrets that are not deleted, by name.
    pub async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<SecretPage<SecretVersion>, SecretError> {
        self.heads(after, limit, |head| head.deletion.is_none().then(|| head.version())).await
    }

    /// The deleted secrets that can be recovered, by name.
    pub async fn list_deleted(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<SecretPage<DeletedSecret>, SecretError> {
        let now = self.operation.now.unix_timestamp();
        self.heads(after, limit, |head| {
            let deletion = head.deletion.filter(|deletion| deletion.purge_at > now)?;
            Some(DeletedSecret { version: head.version(), deletion })
        })
        .await
    }

    async fn heads<T>(
        &self,
        after: Option<&str>,
        limit: usize,
        select: impl Fn(&Head) -> Option<T>,
    ) -> Result<SecretPage<T>, SecretError> {
        let prefix = format!("{PAYLOAD_PREFIX}{}/{}/", Head::KIND, self.vault_key());
        let mut after = after.map(|after| StoreKey::new(format!("{prefix}{after}")));
        let mut items = Vec::new();
        loop {
            let page = self.state.store.list(&prefix, after.as_ref(), limit + 1).await?;
            let is_last = page.entries.len() <= limit;
            for entry in page.entries {
                if items.len() == limit {
                    let next = after.map(|key| key.as_str().trim_start_matches(&prefix).to_owned());
                    return Ok(SecretPage { items, next });
                }
                items.extend(select(&decode(&entry.value)?));
                after = Some(entry.key);
            }
            if is_last {
                return Ok(SecretPage { items, next: None });
            }
        }
    }

    /// The versions of a secret, by version.
    pub async fn list_versions(
        &self,
        name: &SecretName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<SecretPage<SecretVersion>, SecretError> {
        self.live_head(name).await?;
        let prefix =
            format!("{PAYLOAD_PREFIX}{}/{}/{}/", StoredVersion::KIND, self.vault_key(), name.key());
        let after = after.map(|after| StoreKey::new(format!("{prefix}{after}")));
        let page = self.state.store.list(&prefix, after.as_ref(), limit + 1).await?;
        let has_more = page.entries.len() > limit;
        let items = page
            .entries
            .iter()
            .take(limit)
            .map(|entry| Ok(decode::<StoredVersion>(&entry.value)?.without_value()))
            .collect::<Result<Vec<_>, SecretError>>()?;
        let next = items.last().filter(|_| has_more).map(|last| last.version.clone());
        Ok(SecretPage { items, next })
    }

    /// Deletes a secret with all its versions; it can be recovered.
    pub async fn delete(&self, name: &SecretName) -> Result<DeletedSecret, SecretError> {
        let (mut head, entry) = self.live_head(name).await?;
        let now = self.operation.now.unix_timestamp();
        let retention = time::Duration::days(i64::from(self.vault.retention_days));
        let deletion = Deletion { deleted_at: now, purge_at: now + retention.whole_seconds() };
        head.deletion = Some(deletion);
        self.replace_head(&head, &entry).await?;
        Ok(DeletedSecret { version: head.version(), deletion })
    }

    /// A deleted secret.
    pub async fn get_deleted(&self, name: &SecretName) -> Result<DeletedSecret, SecretError> {
        let (head, _, deletion) = self.deleted_head(name).await?;
        Ok(DeletedSecret { version: head.version(), deletion })
    }

    /// Takes a deleted secret back, with all its versions.
    pub async fn recover(&self, name: &SecretName) -> Result<SecretVersion, SecretError> {
        let (mut head, entry, _) = self.deleted_head(name).await?;
        head.deletion = None;
        self.replace_head(&head, &entry).await?;
        Ok(head.version())
    }

    /// Removes a deleted secret for good.
    pub async fn purge(&self, name: &SecretName) -> Result<(), SecretError> {
        if self.vault.has_purge_protection {
            return Err(SecretError::PurgeProtected);
        }
        let (head, entry, _) = self.deleted_head(name).await?;
        self.remove(&head, &entry).await
    }

    async fn replace_head(&self, head: &Head, entry: &Entry) -> Result<(), SecretError> {
        let mut changes = Changes::default();
        put(&mut changes, head, Some(entry));
        Ok(self.state.commit(changes).await?)
    }

    async fn remove(&self, head: &Head, entry: &Entry) -> Result<(), SecretError> {
        let prefix =
            format!("{PAYLOAD_PREFIX}{}/{}/{}/", StoredVersion::KIND, head.vault, head.name.key());
        let versions = self.state.store.list(&prefix, None, limits::SECRET_VERSIONS_MAX).await?;
        let mut changes = Changes::default();
        for version in versions.entries {
            changes.write(Write::Delete(version.key), None);
        }
        let unchanged = Expectation::Unchanged(entry.key.clone(), entry.revision);
        changes.write(Write::Delete(entry.key.clone()), Some(unchanged));
        Ok(self.state.commit(changes).await?)
    }
}

impl Head {
    fn version(&self) -> SecretVersion {
        SecretVersion {
            name: self.name.clone(),
            version: self.current.clone(),
            attributes: self.attributes.clone(),
        }
    }
}

fn apply(attributes: &mut SecretAttributes, update: &SecretUpdate, now: i64) {
    attributes.is_enabled = update.is_enabled.unwrap_or(attributes.is_enabled);
    attributes.not_before = update.not_before.or(attributes.not_before);
    attributes.expires = update.expires.or(attributes.expires);
    if update.content_type.is_some() {
        attributes.content_type.clone_from(&update.content_type);
    }
    if let Some(tags) = &update.tags {
        attributes.tags.clone_from(tags);
    }
    attributes.updated = now;
}

/// Puts a record outside the snapshot; relies on the entry that was read, or on there being none.
fn put<R: Record>(changes: &mut Changes, record: &R, former: Option<&Entry>) {
    let key = payload_key::<R>(&record.record_id());
    let expectation = match former {
        Some(entry) => Expectation::Unchanged(entry.key.clone(), entry.revision),
        None => Expectation::Absent(key.clone()),
    };
    changes.write(Write::Put(key, encode(record)), Some(expectation));
}

/// Removes everything in a vault that is being purged, page by page.
pub(super) async fn purge_all(state: &State, vault: &str) -> Result<(), WriteError> {
    const PAGE: usize = 200;
    for kind in [StoredVersion::KIND, Head::KIND] {
        let prefix = format!("{PAYLOAD_PREFIX}{kind}/{vault}/");
        loop {
            let page = state.store.list(&prefix, None, PAGE).await?;
            let is_last = page.entries.len() < PAGE;
            let mut changes = Changes::default();
            for entry in page.entries {
                changes.write(Write::Delete(entry.key), None);
            }
            if !changes.is_empty() {
                state.commit(changes).await?;
            }
            if is_last {
                break;
            }
        }
    }
    Ok(())
}
