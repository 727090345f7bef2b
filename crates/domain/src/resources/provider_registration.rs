//! Which providers a subscription is registered for: all of them, but those that were unregistered.
//!
//! Nothing new is made of a provider that a subscription is not registered for; what is there stays. Source: Azure Resource
//! Manager, "Azure resource providers and types", register and unregister.

use serde::{Deserialize, Serialize};

use super::{ResourceError, listing, require_subscription};
use crate::ids::SubscriptionId;
use crate::operation::OperationContext;
use crate::records::Record;
use crate::snapshot::Snapshot;
use crate::state::{State, WriteError};

/// A provider that was unregistered in a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisteredProvider {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The provider's namespace.
    pub namespace: String,
}

impl Record for UnregisteredProvider {
    const KIND: &'static str = "unregistered-providers";

    fn record_id(&self) -> String {
        format!("{}/{}", self.subscription_id, self.namespace).to_ascii_lowercase()
    }
}

/// Why a registration is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderRegistrationError {
    /// The subscription has resources of the provider.
    #[error("there are resources of {0}")]
    InUse(String),
    /// keycard could not be administered without it.
    #[error("{0} is always registered")]
    Needed(String),
    /// What every resource can be refused for.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl From<WriteError> for ProviderRegistrationError {
    fn from(error: WriteError) -> Self {
        Self::Resource(error.into())
    }
}

/// Providers of the control plane itself, which Azure never unregisters either.
const NEEDED: &[&str] = &[
    "Keycard.Local",
    "Microsoft.Authorization",
    "Microsoft.Features",
    "Microsoft.Management",
    "Microsoft.Resources",
    "Microsoft.Subscription",
];

/// Whether the subscription is registered for the provider.
pub fn is_registered(snapshot: &Snapshot, subscription: SubscriptionId, namespace: &str) -> bool {
    if snapshot.unregistered_providers.is_empty() {
        return true;
    }
    let sought =
        UnregisteredProvider { subscription_id: subscription, namespace: namespace.to_owned() };
    snapshot.unregistered_providers.get(&sought.record_id()).is_none()
}

/// Registers the subscription for the provider; nothing happens where it is.
pub async fn register(
    state: &State,
    operation: &OperationContext,
    provider: &UnregisteredProvider,
) -> Result<(), ProviderRegistrationError> {
    state
        .transact(operation, |snapshot, changes| {
            require_subscription(snapshot, provider.subscription_id)?;
            if !is_registered(snapshot, provider.subscription_id, &provider.namespace) {
                changes.delete(snapshot, provider);
            }
            Ok(())
        })
        .await
}

/// Takes the registration back, where the subscription has nothing of the provider.
pub async fn unregister(
    state: &State,
    operation: &OperationContext,
    provider: &UnregisteredProvider,
) -> Result<(), ProviderRegistrationError> {
    let (subscription, namespace) = (provider.subscription_id, &provider.namespace);
    if NEEDED.iter().any(|needed| needed.eq_ignore_ascii_case(namespace)) {
        return Err(ProviderRegistrationError::Needed(namespace.clone()));
    }
    state
        .transact(operation, |snapshot, changes| {
            require_subscription(snapshot, subscription)?;
            let held = listing::below(snapshot, &format!("/subscriptions/{subscription}"));
            if held.iter().any(|it| it.id.namespace().eq_ignore_ascii_case(namespace)) {
                return Err(ProviderRegistrationError::InUse(namespace.clone()));
            }
            if is_registered(snapshot, subscription, namespace) {
                changes.put(snapshot, provider);
            }
            Ok(())
        })
        .await
}
