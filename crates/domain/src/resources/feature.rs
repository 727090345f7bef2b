//! Preview features of providers that a subscription has registered. keycard holds nothing back behind a feature: the
//! registration is kept and shown, for scripts that wait for it.
//!
//! Source: Microsoft.Features REST API 2021-07-01.

use serde::{Deserialize, Serialize};

use super::{ResourceError, require_subscription};
use crate::ids::SubscriptionId;
use crate::limits;
use crate::operation::OperationContext;
use crate::records::{Record, Versioned};
use crate::snapshot::Snapshot;
use crate::state::{State, WriteError};

/// A feature that was registered, and perhaps unregistered again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureRegistration {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The provider's namespace.
    pub namespace: String,
    /// The feature's name.
    pub name: String,
    /// Whether it is registered.
    pub is_registered: bool,
}

impl Record for FeatureRegistration {
    const KIND: &'static str = "feature-registrations";

    fn record_id(&self) -> String {
        record_id(self.subscription_id, &self.namespace, &self.name)
    }
}

fn record_id(subscription: SubscriptionId, namespace: &str, name: &str) -> String {
    format!("{subscription}/{namespace}/{name}").to_ascii_lowercase()
}

/// Why a feature is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeatureError {
    /// The name is none.
    #[error("`{0}` is no name of a feature")]
    NameInvalid(String),
    /// The subscription has as many as it may have.
    #[error("at most {max} features can be registered", max = limits::FEATURES_MAX)]
    TooMany,
    /// What every resource can be refused for.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl From<WriteError> for FeatureError {
    fn from(error: WriteError) -> Self {
        Self::Resource(error.into())
    }
}

/// Registers the feature, or takes its registration back.
pub async fn set(
    state: &State,
    operation: &OperationContext,
    registration: &FeatureRegistration,
) -> Result<(), FeatureError> {
    let subscription = registration.subscription_id;
    state
        .transact(operation, |snapshot, changes| {
            require_subscription(snapshot, subscription)?;
            let name = &registration.name;
            let is_name = (1..=limits::FEATURE_NAME_CHARS_MAX).contains(&name.len())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            if !is_name {
                return Err(FeatureError::NameInvalid(name.clone()));
            }
            let existing = snapshot.feature_registrations.get(&registration.record_id());
            if existing.is_some_and(|existing| existing.record.as_ref() == registration) {
                return Ok(());
            }
            if existing.is_none()
                && list(snapshot, subscription, "").count() >= limits::FEATURES_MAX
            {
                return Err(FeatureError::TooMany);
            }
            changes.put(snapshot, registration);
            Ok(())
        })
        .await
}

/// The features of a provider in a subscription, by name; of all providers where the namespace is empty.
pub fn list<'a>(
    snapshot: &'a Snapshot,
    subscription: SubscriptionId,
    namespace: &str,
) -> impl Iterator<Item = &'a Versioned<FeatureRegistration>> + use<'a> {
    let prefix = match namespace {
        "" => format!("{subscription}/"),
        namespace => format!("{subscription}/{}/", namespace.to_ascii_lowercase()),
    };
    snapshot.feature_registrations.below(&prefix)
}

/// Whether the feature is registered.
pub fn is_registered(
    snapshot: &Snapshot,
    subscription: SubscriptionId,
    namespace: &str,
    name: &str,
) -> bool {
    let found = snapshot.feature_registrations.get(&record_id(subscription, namespace, name));
    found.is_some_and(|feature| feature.is_registered)
}
