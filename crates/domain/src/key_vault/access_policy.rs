//! Access policies: the vault's own list of who may do what, in force where Azure RBAC is off.
//!
//! Source: Azure Key Vault, "Assign a Key Vault access policy"; Microsoft.KeyVault/vaults, accessPolicies.

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, PrincipalId, TenantId};
use crate::limits;

/// What one principal may do with the objects of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPolicy {
    /// The principal's tenant.
    pub tenant_id: TenantId,
    /// The principal.
    pub object_id: PrincipalId,
    /// Only when it acts through this application.
    pub application_id: Option<ClientId>,
    /// What it may do.
    pub permissions: Permissions,
}

/// Permission words by class of object, as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// On keys.
    pub keys: Vec<String>,
    /// On secrets.
    pub secrets: Vec<String>,
    /// On certificates.
    pub certificates: Vec<String>,
    /// On managed storage accounts.
    pub storage: Vec<String>,
}

impl AccessPolicy {
    /// Whether the policy lets the principal do this with secrets. `all` is every permission; case is ignored.
    pub fn grants_on_secrets(&self, principal: PrincipalId, permission: &str) -> bool {
        self.object_id == principal
            && self.application_id.is_none()
            && self.permissions.secrets.iter().any(|granted| {
                granted.eq_ignore_ascii_case("all") || granted.eq_ignore_ascii_case(permission)
            })
    }
}

/// What a request does with the policies that it lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyChange {
    /// Their permissions are added to those that their principals have.
    Add,
    /// Their permissions take the place of those that their principals have.
    Replace,
    /// Their permissions are taken from those that their principals have.
    Remove,
}

impl PolicyChange {
    /// The change with this name, whatever its case.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [("add", Self::Add), ("replace", Self::Replace), ("remove", Self::Remove)];
        all.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, change)| change)
    }

    /// The policies after the change. Each principal, alone or through one application, has one; who is not listed keeps
    /// its own, and who is left without any permission has none.
    pub fn apply(self, policies: &[AccessPolicy], listed: &[AccessPolicy]) -> Vec<AccessPolicy> {
        let mut all = policies.to_vec();
        for given in listed {
            let existing = all.iter_mut().find(|policy| policy.is_of_the_principal_of(given));
            match (self, existing) {
                (Self::Add, Some(policy)) => policy.permissions.add(&given.permissions),
                (Self::Replace, Some(policy)) => policy.permissions = given.permissions.clone(),
                (Self::Remove, Some(policy)) => policy.permissions.remove(&given.permissions),
                (Self::Add | Self::Replace, None) => all.push(given.clone()),
                (Self::Remove, None) => {}
            }
        }
        if self == Self::Remove {
            let is_listed = |policy: &AccessPolicy| {
                listed.iter().any(|given| policy.is_of_the_principal_of(given))
            };
            all.retain(|policy| !policy.permissions.is_empty() || !is_listed(policy));
        }
        all
    }
}

impl AccessPolicy {
    fn is_of_the_principal_of(&self, other: &Self) -> bool {
        self.tenant_id == other.tenant_id
            && self.object_id == other.object_id
            && self.application_id == other.application_id
    }
}

impl Permissions {
    fn classes(&mut self) -> [&mut Vec<String>; 4] {
        [&mut self.keys, &mut self.secrets, &mut self.certificates, &mut self.storage]
    }

    /// More words than there are permissions: changes compare each with each.
    pub(super) fn are_too_many(&self) -> bool {
        [&self.keys, &self.secrets, &self.certificates, &self.storage]
            .iter()
            .any(|words| words.len() > limits::POLICY_PERMISSIONS_MAX)
    }

    const fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.secrets.is_empty()
            && self.certificates.is_empty()
            && self.storage.is_empty()
    }

    fn add(&mut self, more: &Self) {
        let mut more = more.clone();
        for (words, new) in self.classes().into_iter().zip(more.classes()) {
            for word in new.drain(..) {
                if !holds(words, &word) {
                    words.push(word);
                }
            }
        }
    }

    /// `all` that is taken away takes every word along. Of `all` that was given, a single word cannot be taken: it stays.
    fn remove(&mut self, less: &Self) {
        let mut less = less.clone();
        for (words, gone) in self.classes().into_iter().zip(less.classes()) {
            let takes_all = holds(gone, "all");
            words.retain(|word| !takes_all && !holds(gone, word));
        }
    }
}

fn holds(words: &[String], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn policy(principal: u128, secrets: &[&str]) -> AccessPolicy {
        AccessPolicy {
            tenant_id: TenantId::new(Uuid::from_u128(1)),
            object_id: PrincipalId::new(Uuid::from_u128(principal)),
            application_id: None,
            permissions: Permissions {
                secrets: secrets.iter().map(|word| (*word).to_owned()).collect(),
                ..Permissions::default()
            },
        }
    }

    fn check(change: PolicyChange, listed: &[AccessPolicy], expected: &[AccessPolicy]) {
        let before = [policy(2, &["get", "list"]), policy(3, &["all"])];
        assert_eq!(change.apply(&before, listed), expected, "{change:?} {listed:?}");
    }

    #[test]
    fn a_change_is_about_the_principals_that_it_lists() {
        let (two, three) = (policy(2, &["get", "list"]), policy(3, &["all"]));
        let add = PolicyChange::Add;
        check(add, &[], &[two.clone(), three.clone()]);
        check(
            add,
            &[policy(2, &["GET", "set"])],
            &[policy(2, &["get", "list", "set"]), three.clone()],
        );
        check(add, &[policy(4, &["get"])], &[two.clone(), three.clone(), policy(4, &["get"])]);
        let replace = PolicyChange::Replace;
        check(replace, &[policy(2, &["set"])], &[policy(2, &["set"]), three.clone()]);
        check(replace, &[policy(4, &["get"])], &[two.clone(), three.clone(), policy(4, &["get"])]);
        let remove = PolicyChange::Remove;
        check(remove, &[policy(2, &["Get"])], &[policy(2, &["list"]), three.clone()]);
        check(remove, &[policy(2, &["get", "list"])], std::slice::from_ref(&three));
        check(remove, &[policy(2, &["all"])], std::slice::from_ref(&three));
        check(remove, &[policy(3, &["get"])], &[two.clone(), three.clone()]);
        check(remove, &[policy(4, &["get"])], &[two.clone(), three.clone()]);
        let through = AccessPolicy {
            application_id: Some(ClientId::new(Uuid::from_u128(9))),
            ..policy(2, &["get"])
        };
        check(remove, std::slice::from_ref(&through), &[two.clone(), three.clone()]);
        check(add, std::slice::from_ref(&through), &[two, three, through.clone()]);
    }
}
