//! What a user-assigned identity says about the resources that may have it: its isolation scope, and the resource
//! providers and types that it is restricted to.
//!
//! Both are about the resource that gets the identity. What its tokens are used on may be anywhere.
//! Source: Microsoft.ManagedIdentity/userAssignedIdentities, `isolationScope` and `assignmentRestrictions`.

use serde::{Deserialize, Serialize};

use super::UserAssignedIdentity;
use crate::limits;
use crate::resource_id::ArmResourceId;
use crate::resources::normalized_location;

/// Where the resources may be that have the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IsolationScope {
    /// Anywhere.
    #[default]
    None,
    /// Where the identity is.
    Regional,
}

impl IsolationScope {
    /// The name, as Azure writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Regional => "Regional",
        }
    }

    /// The scope with this name, whatever its case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Regional]
            .into_iter()
            .find(|scope| scope.as_str().eq_ignore_ascii_case(text))
    }

    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// The resource providers and types whose resources may have the identity; none named is no restriction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedProviders(Vec<String>);

/// Why a list of providers is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedProvidersError {
    /// The text is neither a provider nor a provider with a type.
    #[error("`{0}` is neither a resource provider nor a provider with a resource type")]
    Malformed(String),
    /// More entries than allowed.
    #[error("{0} entries, {max} are allowed", max = limits::ALLOWED_PROVIDERS_MAX)]
    TooMany(usize),
}

impl AllowedProviders {
    /// Takes `Microsoft.Compute` and `Microsoft.Compute/virtualMachines`, as they were written.
    pub fn parse(entries: Vec<String>) -> Result<Self, AllowedProvidersError> {
        if entries.len() > limits::ALLOWED_PROVIDERS_MAX {
            return Err(AllowedProvidersError::TooMany(entries.len()));
        }
        match entries.iter().find(|entry| !is_provider_or_type(entry)) {
            Some(wrong) => {
                let shown = wrong.chars().take(limits::VALUE_SHOWN_CHARS_MAX).collect();
                Err(AllowedProvidersError::Malformed(shown))
            }
            None => Ok(Self(entries)),
        }
    }

    /// The entries, as they were written.
    pub fn entries(&self) -> &[String] {
        &self.0
    }

    /// Whether every resource may have the identity.
    pub const fn is_unrestricted(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether resources of this type may have the identity: it or its provider is named, whatever the case.
    fn allow(&self, resource_type: &str) -> bool {
        let provider = resource_type.split('/').next().unwrap_or_default();
        let names = |entry: &String| {
            entry.eq_ignore_ascii_case(resource_type) || entry.eq_ignore_ascii_case(provider)
        };
        self.is_unrestricted() || self.0.iter().any(names)
    }
}

/// Segments of letters, digits, dots, dashes and underscores, the first of which names a provider.
fn is_provider_or_type(entry: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_segment = |segment: &str| !segment.is_empty() && segment.chars().all(is_name);
    entry.len() <= limits::ALLOWED_PROVIDER_BYTES_MAX && entry.split('/').all(is_segment)
}

/// Why a resource may not have an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAssignable {
    /// The identity is isolated to its region, and the resource is in another.
    #[error("identity {identity} is isolated to {region}, not for resources in {location}")]
    OtherRegion {
        /// The identity.
        identity: ArmResourceId,
        /// Where it is.
        region: String,
        /// Where the resource is.
        location: String,
    },
    /// The identity is restricted to other providers and types.
    #[error("identity {identity} is not for resources of type {resource_type}")]
    OtherType {
        /// The identity.
        identity: ArmResourceId,
        /// The resource's type.
        resource_type: String,
    },
}

/// Whether a resource of this type and at this location may have the identity.
pub fn check(
    identity: &UserAssignedIdentity,
    resource_type: &str,
    location: &str,
) -> Result<(), NotAssignable> {
    let is_elsewhere = normalized_location(&identity.location) != normalized_location(location);
    if identity.isolation_scope == IsolationScope::Regional && is_elsewhere {
        return Err(NotAssignable::OtherRegion {
            identity: identity.id.clone(),
            region: identity.location.clone(),
            location: location.to_owned(),
        });
    }
    if !identity.allowed_providers.allow(resource_type) {
        return Err(NotAssignable::OtherType {
            identity: identity.id.clone(),
            resource_type: resource_type.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &[&str]) -> Result<AllowedProviders, AllowedProvidersError> {
        AllowedProviders::parse(entries.iter().map(|entry| (*entry).to_owned()).collect())
    }

    fn check(entries: &[&str], resource_type: &str, expected: bool) {
        let found = allowed(entries).unwrap().allow(resource_type);
        assert_eq!(found, expected, "{entries:?} and {resource_type}");
    }

    #[test]
    fn a_provider_covers_its_types_and_a_type_only_itself() {
        check(&[], "Microsoft.Web/sites", true);
        check(&["Microsoft.Compute"], "Microsoft.Compute/virtualMachines", true);
        check(&["microsoft.COMPUTE"], "Microsoft.Compute/virtualMachines", true);
        check(&["Microsoft.Compute"], "Microsoft.ComputeSchedule/x", false);
        check(&["Microsoft.Compute"], "Microsoft.Web/sites", false);
        check(&["Microsoft.Compute/VIRTUALMACHINES"], "Microsoft.Compute/virtualMachines", true);
        check(
            &["Microsoft.Compute/virtualMachines"],
            "Microsoft.Compute/virtualMachineScaleSets",
            false,
        );
        check(&["Microsoft.Web/sites"], "Microsoft.Web/sites/slots", false);
        check(&["Microsoft.Compute", "Microsoft.Web"], "Microsoft.Web/sites", true);
    }

    #[test]
    fn what_names_no_provider_is_refused() {
        for wrong in ["", "/", "Microsoft.Compute/", "/virtualMachines", "a//b", "*", "a b", "ä"] {
            let error = AllowedProvidersError::Malformed(wrong.to_owned());
            assert_eq!(allowed(&[wrong]), Err(error), "{wrong}");
        }
        assert!(allowed(&[&"x".repeat(limits::ALLOWED_PROVIDER_BYTES_MAX + 1)]).is_err());
        let many = vec!["Microsoft.Compute"; limits::ALLOWED_PROVIDERS_MAX + 1];
        assert_eq!(allowed(&many), Err(AllowedProvidersError::TooMany(many.len())));
    }
}
