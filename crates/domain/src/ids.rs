//! One type per id, so that swapping two GUIDs does not compile.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not a GUID in its hyphenated form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID")]
pub struct NotAGuid;

/// Reads the hyphenated form only: what Azure prints, and nothing that merely parses.
fn parse_guid(text: &str) -> Result<Uuid, NotAGuid> {
    if text.len() != 36 {
        return Err(NotAGuid);
    }
    Uuid::try_parse(text).map_err(|_| NotAGuid)
}

macro_rules! guid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        /// The order of the texts. Compared as one number: look-ups by id are searches in sorted runs.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.as_u128().cmp(&other.0.as_u128())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// The id with this value.
            pub const fn new(value: Uuid) -> Self {
                Self(value)
            }

            /// The value.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAGuid;

            fn from_str(text: &str) -> Result<Self, NotAGuid> {
                parse_guid(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

guid!(
    /// A directory: the claim `tid`.
    TenantId
);
guid!(
    /// A subscription.
    SubscriptionId
);
guid!(
    /// An application: the claim `appid`.
    ClientId
);
guid!(
    /// A service principal or group in a tenant: the claim `oid`.
    PrincipalId
);
guid!(
    /// An application object of the directory: its `id` at Microsoft Graph, where [`ClientId`] is its `appId`.
    ApplicationId
);
guid!(
    /// A role that an application defines for those who call it.
    AppRoleId
);
guid!(
    /// Gives an app role to a principal.
    AppRoleAssignmentId
);
guid!(
    /// A policy of the directory.
    PolicyId
);
guid!(
    /// A client secret or certificate of an application or service principal: `keyId` at Microsoft Graph.
    KeyId
);
guid!(
    /// A federated identity credential: its `id` at Microsoft Graph.
    FederatedCredentialId
);
guid!(
    /// The GUID that names a role definition; the same for a built-in role everywhere.
    RoleDefinitionId
);
guid!(
    /// The GUID that names a role assignment.
    RoleAssignmentId
);
guid!(
    /// The GUID that names a deny assignment.
    DenyAssignmentId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        let text = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
        assert_eq!(text.parse::<TenantId>().unwrap().to_string(), text);
        for wrong in [
            "",
            "8e3af657a8ff443ca75c2fe8c4bcb635",
            "{8e3af657-a8ff-443c-a75c-2fe8c4bcb635}",
            "common",
        ] {
            assert!(wrong.parse::<TenantId>().is_err(), "{wrong}");
        }
        assert_eq!(text.to_uppercase().parse::<TenantId>().unwrap().to_string(), text);
    }
}
