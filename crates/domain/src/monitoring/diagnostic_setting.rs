//! A diagnostic setting: which records and metrics of a resource, a subscription or the directory go where.
//!
//! Kept and checked; nothing is sent yet. All settings of one source are one record, so that what holds among them holds
//! whoever writes at the same time. Source: Azure Monitor, "Diagnostic settings in Azure Monitor"; Microsoft.Insights REST
//! API 2021-05-01-preview.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::category::{self, CategoryKind};
use crate::ids::TenantId;
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::{RbacScope, linked_access};
use crate::records::Record;
use crate::resource_id::ArmResourceId;
use crate::resources::{self, ScopeMissing};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// What settings are about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A resource, a subscription or a management group.
    Scope(RbacScope),
    /// The directory.
    Directory,
}

/// Where records go: a resource of Azure by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DestinationKind {
    /// A storage account.
    StorageAccount,
    /// An authorization rule of a service bus, which older clients name.
    ServiceBusRule,
    /// A Log Analytics workspace.
    Workspace,
    /// An authorization rule of an event hub.
    EventHubRule,
}

impl DestinationKind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::StorageAccount, Self::ServiceBusRule, Self::Workspace, Self::EventHubRule];

    /// The member of a setting that names it.
    pub const fn member(self) -> &'static str {
        match self {
            Self::StorageAccount => "storageAccountId",
            Self::ServiceBusRule => "serviceBusRuleId",
            Self::Workspace => "workspaceId",
            Self::EventHubRule => "eventHubAuthorizationRuleId",
        }
    }

    /// What whoever sends records there has to be allowed to do with it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::StorageAccount => "Microsoft.Storage/storageAccounts/listKeys/action",
            Self::ServiceBusRule => {
                "Microsoft.ServiceBus/namespaces/authorizationRules/listkeys/action"
            }
            Self::Workspace => "Microsoft.OperationalInsights/workspaces/sharedKeys/action",
            Self::EventHubRule => {
                "Microsoft.EventHub/namespaces/authorizationRules/listkeys/action"
            }
        }
    }

    /// Whether a resource of this type is one. Older rules of service buses are those of event hubs.
    fn is_of_type(self, resource_type: &str) -> bool {
        let types: &[&str] = match self {
            Self::StorageAccount => {
                &["Microsoft.Storage/storageAccounts", "Microsoft.ClassicStorage/storageAccounts"]
            }
            Self::ServiceBusRule => &[
                "Microsoft.ServiceBus/namespaces/authorizationRules",
                "Microsoft.EventHub/namespaces/authorizationRules",
            ],
            Self::Workspace => &["Microsoft.OperationalInsights/workspaces"],
            Self::EventHubRule => &["Microsoft.EventHub/namespaces/authorizationRules"],
        };
        types.iter().any(|known| known.eq_ignore_ascii_case(resource_type))
    }
}

/// A place that records go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// What it is.
    pub kind: DestinationKind,
    /// Its id, as it was written.
    pub id: ArmResourceId,
}

/// Which records are meant: a category, or all of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selector {
    /// One category.
    Category(String),
    /// All categories of a group.
    Group(String),
}

/// A line of a setting: a category or group, and whether it goes anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// What is meant.
    pub selector: Selector,
    /// Whether it is sent.
    pub is_enabled: bool,
    /// Of metrics: the interval, as it was written.
    pub time_grain: Option<String>,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosticSetting {
    /// Its name, in the case of creation.
    pub name: String,
    /// Where records go.
    pub destinations: Vec<Destination>,
    /// The event hub, where it is not the one that is named after the category.
    pub event_hub_name: Option<String>,
    /// Whether a workspace has tables of their own for the records.
    pub destination_type: Option<String>,
    /// Which records.
    pub logs: Vec<Selection>,
    /// Which metrics.
    pub metrics: Vec<Selection>,
}

/// All settings of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosticSettings {
    /// The directory that the source belongs to.
    pub tenant_id: TenantId,
    /// What they are about.
    pub source: Source,
    /// The settings, in the order in which they were made.
    pub settings: Vec<DiagnosticSetting>,
}

impl Record for DiagnosticSettings {
    const KIND: &'static str = "diagnostic-settings";

    fn record_id(&self) -> String {
        record_id(self.tenant_id, &self.source)
    }
}

fn record_id(tenant: TenantId, source: &Source) -> String {
    match source {
        Source::Scope(scope) => format!("{}|", scope.key()),
        Source::Directory => format!("directory/{tenant}|"),
    }
}

/// Why a setting is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiagnosticSettingError {
    /// What the path names does not exist.
    #[error(transparent)]
    ScopeMissing(#[from] ScopeMissing),
    /// Nothing of this kind has settings.
    #[error("{0} has no diagnostic settings")]
    SourceUnsupported(RbacScope),
    /// The name breaks the rules.
    #[error("`{0}` is no name of a diagnostic setting")]
    NameInvalid(String),
    /// Records would go nowhere.
    #[error("a destination is required")]
    DestinationRequired,
    /// The id is not one of such a destination.
    #[error("`{id}` is no {}", kind.member())]
    DestinationInvalid {
        /// What it should be.
        kind: DestinationKind,
        /// What was written.
        id: String,
    },
    /// The caller may not use a destination.
    #[error("{} is not granted on {at}", kind.action())]
    DestinationNotGranted {
        /// What it is.
        kind: DestinationKind,
        /// Its id.
        at: RbacScope,
    },
    /// The type of a workspace's tables is none.
    #[error("`{0}` is no type of destination")]
    DestinationTypeInvalid(String),
    /// The source has no such category.
    #[error("category `{0}` is not supported")]
    CategoryUnsupported(String),
    /// The source has no such group of categories.
    #[error("category group `{0}` is not supported")]
    GroupUnsupported(String),
    /// Azure keeps no records for a setting's own time any more.
    #[error("retention is not supported")]
    RetentionUnsupported,
    /// A category or a group stands twice.
    #[error("`{0}` stands twice")]
    CategoryTwice(String),
    /// There are more lines, or longer texts, than there may be.
    #[error("the setting is too large")]
    TooLarge,
    /// Another setting of the source sends the category there already.
    #[error("`{setting}` sends `{category}` to {destination} already")]
    Twice {
        /// The other setting.
        setting: String,
        /// The category.
        category: String,
        /// Where it goes.
        destination: ArmResourceId,
    },
    /// There are as many as there may be.
    #[error("there are {max} diagnostic settings already", max = limits::DIAGNOSTIC_SETTINGS_MAX)]
    LimitReached,
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Refuses settings of what does not exist or cannot have any.
pub fn require_source(
    snapshot: &Snapshot,
    tenant: TenantId,
    source: &Source,
) -> Result<(), DiagnosticSettingError> {
    let Source::Scope(scope) = source else { return Ok(()) };
    resources::require_scope(snapshot, tenant, scope)?;
    if scope.container_key() == Some(scope.key()) {
        return Ok(());
    }
    match scope.as_str().parse::<ArmResourceId>() {
        Ok(resource) if resources::is_there(snapshot, &resource) => Ok(()),
        Ok(resource) => Err(ScopeMissing::Resource(resource).into()),
        Err(_) => Err(DiagnosticSettingError::SourceUnsupported(scope.clone())),
    }
}

/// Makes a setting, or replaces it.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    source: &Source,
    setting: &DiagnosticSetting,
) -> Result<DiagnosticSetting, DiagnosticSettingError> {
    check_form(setting)?;
    state
        .transact(operation, |snapshot, changes| {
            check_rights(state, snapshot, operation, &setting.destinations)?;
            require_source(snapshot, tenant, source)?;
            let setting = in_azures_spelling(source, setting)?;
            let none = || DiagnosticSettings {
                tenant_id: tenant,
                source: source.clone(),
                settings: Vec::new(),
            };
            let mut all = of(snapshot, tenant, source).cloned().unwrap_or_else(none);
            let position = all.settings.iter().position(|it| is_named(it, &setting.name));
            let others = all.settings.iter().filter(|it| !is_named(it, &setting.name));
            check_others(source, &setting, others)?;
            let is_full = all.settings.len() >= limits::DIAGNOSTIC_SETTINGS_MAX;
            let kept = match position.and_then(|position| all.settings.get_mut(position)) {
                Some(place) => {
                    *place = DiagnosticSetting { name: place.name.clone(), ..setting };
                    place.clone()
                }
                None if is_full => return Err(DiagnosticSettingError::LimitReached),
                None => {
                    all.settings.push(setting.clone());
                    setting
                }
            };
            if let Source::Scope(scope) = source {
                resources::rely_on_scope(snapshot, changes, scope);
            }
            changes.put(snapshot, &all);
            Ok(kept)
        })
        .await
}

fn is_named(setting: &DiagnosticSetting, name: &str) -> bool {
    setting.name.eq_ignore_ascii_case(name)
}

/// What the request alone shows.
fn check_form(setting: &DiagnosticSetting) -> Result<(), DiagnosticSettingError> {
    let is_name = (1..=limits::DIAGNOSTIC_SETTING_NAME_CHARS_MAX)
        .contains(&setting.name.chars().count())
        && !setting.name.contains(|c: char| c.is_control() || "<>*%&:\\?+/".contains(c));
    if !is_name {
        return Err(DiagnosticSettingError::NameInvalid(setting.name.clone()));
    }
    if setting.destinations.is_empty() {
        return Err(DiagnosticSettingError::DestinationRequired);
    }
    if let Some(wrong) =
        setting.destinations.iter().find(|it| !it.kind.is_of_type(&it.id.resource_type()))
    {
        let (kind, id) = (wrong.kind, wrong.id.to_string());
        return Err(DiagnosticSettingError::DestinationInvalid { kind, id });
    }
    let lines = || setting.logs.iter().chain(&setting.metrics);
    let texts = lines().filter_map(|it| it.time_grain.as_ref()).chain(&setting.event_hub_name);
    let is_long = |text: &String| text.len() > limits::DIAGNOSTIC_TEXT_BYTES_MAX;
    if lines().count() > limits::DIAGNOSTIC_SELECTIONS_MAX || texts.into_iter().any(is_long) {
        return Err(DiagnosticSettingError::TooLarge);
    }
    match setting.destination_type.as_deref() {
        None | Some("Dedicated" | "AzureDiagnostics") => Ok(()),
        Some(other) => Err(DiagnosticSettingError::DestinationTypeInvalid(other.to_owned())),
    }
}

/// Sending records somewhere takes the keys of that place.
fn check_rights(
    state: &State,
    snapshot: &Snapshot,
    operation: &OperationContext,
    destinations: &[Destination],
) -> Result<(), DiagnosticSettingError> {
    for Destination { kind, id } in destinations {
        let linked = [RbacScope::from(id)];
        let action = kind.action();
        let refused = linked_access::refused(&state.journal, snapshot, operation, action, linked);
        if let Some(at) = refused.into_iter().next() {
            return Err(DiagnosticSettingError::DestinationNotGranted { kind: *kind, at });
        }
    }
    Ok(())
}

/// The setting with its categories and groups as the source calls them.
fn in_azures_spelling(
    source: &Source,
    setting: &DiagnosticSetting,
) -> Result<DiagnosticSetting, DiagnosticSettingError> {
    let spelled = |lines: &[Selection], kind: CategoryKind| {
        let mut seen = BTreeSet::new();
        let spell = |line: &Selection| {
            let (selector, name) = match &line.selector {
                Selector::Category(name) => {
                    let known = category::find(source, kind, name)
                        .ok_or_else(|| DiagnosticSettingError::CategoryUnsupported(name.clone()))?;
                    (Selector::Category(known.name.to_owned()), known.name)
                }
                Selector::Group(name) => {
                    let known = category::find_group(source, name)
                        .filter(|_| kind == CategoryKind::Logs)
                        .ok_or_else(|| DiagnosticSettingError::GroupUnsupported(name.clone()))?;
                    (Selector::Group(known.to_owned()), known)
                }
            };
            if !seen.insert(name) {
                return Err(DiagnosticSettingError::CategoryTwice(name.to_owned()));
            }
            Ok(Selection { selector, ..line.clone() })
        };
        lines.iter().map(spell).collect::<Result<Vec<_>, _>>()
    };
    Ok(DiagnosticSetting {
        logs: spelled(&setting.logs, CategoryKind::Logs)?,
        metrics: spelled(&setting.metrics, CategoryKind::Metrics)?,
        ..setting.clone()
    })
}

/// The categories that a setting sends, those of its groups included.
fn sent(source: &Source, setting: &DiagnosticSetting) -> BTreeSet<&'static str> {
    let lines = setting.logs.iter().chain(&setting.metrics).filter(|line| line.is_enabled);
    lines
        .flat_map(|line| {
            category::of(source).iter().filter(move |category| match &line.selector {
                Selector::Category(name) => category.name == name,
                Selector::Group(group) => category.groups.contains(&group.as_str()),
            })
        })
        .map(|category| category.name)
        .collect()
}

/// No category goes to one place twice.
fn check_others<'a>(
    source: &Source,
    setting: &DiagnosticSetting,
    others: impl Iterator<Item = &'a DiagnosticSetting>,
) -> Result<(), DiagnosticSettingError> {
    let own = sent(source, setting);
    for other in others {
        let Some(category) = sent(source, other).intersection(&own).next().copied() else {
            continue;
        };
        let is_shared = |place: &&Destination| {
            let same_hub = place.kind != DestinationKind::EventHubRule
                || setting.event_hub_name == other.event_hub_name;
            same_hub && other.destinations.iter().any(|it| it.id == place.id)
        };
        if let Some(shared) = setting.destinations.iter().find(is_shared) {
            return Err(DiagnosticSettingError::Twice {
                setting: other.name.clone(),
                category: category.to_owned(),
                destination: shared.id.clone(),
            });
        }
    }
    Ok(())
}

fn of<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    source: &Source,
) -> Option<&'a DiagnosticSettings> {
    let found = snapshot.diagnostic_settings.get(&record_id(tenant, source))?;
    Some(found.record.as_ref()).filter(|found| found.tenant_id == tenant)
}

/// The settings of a source.
pub fn list<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    source: &Source,
) -> &'a [DiagnosticSetting] {
    of(snapshot, tenant, source).map(|all| all.settings.as_slice()).unwrap_or_default()
}

/// The setting with this name.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    source: &Source,
    name: &str,
) -> Option<&'a DiagnosticSetting> {
    list(snapshot, tenant, source).iter().find(|setting| is_named(setting, name))
}

/// Takes a setting away; `false` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    source: &Source,
    name: &str,
) -> Result<bool, DiagnosticSettingError> {
    state
        .transact(operation, |snapshot, changes| {
            let Some(all) = of(snapshot, tenant, source) else { return Ok(false) };
            let mut rest = all.clone();
            rest.settings.retain(|setting| !is_named(setting, name));
            if rest.settings.len() == all.settings.len() {
                return Ok(false);
            }
            if rest.settings.is_empty() {
                changes.delete(snapshot, &rest);
            } else {
                changes.put(snapshot, &rest);
            }
            Ok(true)
        })
        .await
}

/// Takes away the settings of what goes.
pub(crate) fn plan_delete_below(snapshot: &Snapshot, changes: &mut Changes, prefix: &str) {
    for settings in snapshot.diagnostic_settings.below(prefix) {
        changes.delete(snapshot, settings.record.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv";
    const ACCOUNT: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/s";

    fn setting(name: &str, selectors: &[(&str, bool)]) -> DiagnosticSetting {
        let line = |(selector, is_enabled): &(&str, bool)| Selection {
            selector: match selector.strip_prefix('@') {
                Some(group) => Selector::Group(group.to_owned()),
                None => Selector::Category((*selector).to_owned()),
            },
            is_enabled: *is_enabled,
            time_grain: None,
        };
        let id = ACCOUNT.parse().unwrap();
        DiagnosticSetting {
            name: name.to_owned(),
            destinations: vec![Destination { kind: DestinationKind::StorageAccount, id }],
            event_hub_name: None,
            destination_type: None,
            logs: selectors.iter().map(line).collect(),
            metrics: Vec::new(),
        }
    }

    fn check(selectors: &[(&str, bool)], others: &[(&str, bool)], expected: &str) {
        let source = Source::Scope(RbacScope::parse(VAULT).unwrap());
        let other = in_azures_spelling(&source, &setting("other", others)).unwrap();
        let found = in_azures_spelling(&source, &setting("own", selectors))
            .and_then(|own| check_others(&source, &own, std::iter::once(&other)));
        let said = found.map_or_else(|error| error.to_string(), |()| "taken".to_owned());
        assert!(said.starts_with(expected), "{selectors:?} beside {others:?}: {said}");
    }

    #[test]
    fn a_category_goes_to_one_place_once_by_whatever_name() {
        check(&[("auditevent", true)], &[], "taken");
        check(&[("AuditEvent", true)], &[("AuditEvent", true)], "`other` sends `AuditEvent`");
        check(&[("AuditEvent", true)], &[("@allLogs", true)], "`other` sends `AuditEvent`");
        check(&[("@AUDIT", true)], &[("AuditEvent", true)], "`other` sends `AuditEvent`");
        check(&[("AuditEvent", false)], &[("AuditEvent", true)], "taken");
        check(&[("AuditEvent", true)], &[("AzurePolicyEvaluationDetails", true)], "taken");
        check(&[("AuditEvent", true), ("AUDITEVENT", false)], &[], "`AuditEvent` stands twice");
        check(&[("Unknown", true)], &[], "category `Unknown` is not");
        check(&[("AllMetrics", true)], &[], "category `AllMetrics` is not");
        check(&[("@all", true)], &[], "category group `all` is not");
    }

    #[test]
    fn a_setting_names_a_place_of_the_kind_that_it_says() {
        assert_eq!(check_form(&setting("s", &[])), Ok(()));
        let mut wrong = setting("s", &[]);
        wrong.destinations[0].kind = DestinationKind::Workspace;
        assert!(matches!(
            check_form(&wrong),
            Err(DiagnosticSettingError::DestinationInvalid { .. })
        ));
        wrong.destinations.clear();
        assert_eq!(check_form(&wrong), Err(DiagnosticSettingError::DestinationRequired));
        assert!(check_form(&setting("a:b", &[])).is_err());
    }
}
