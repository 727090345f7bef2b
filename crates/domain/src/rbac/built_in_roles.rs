//! Azure's built-in roles, embedded from `data/built-in-roles.json` (origin and licence: `data/README.md`).

use std::sync::{Arc, LazyLock};

use fnv::FnvHashMap;

use super::role_definition::RoleDefinition;
use crate::ids::RoleDefinitionId;

/// `Owner`, the role of the bootstrap administrator.
pub const OWNER: RoleDefinitionId =
    RoleDefinitionId::new(uuid::Uuid::from_u128(0x8e3af657_a8ff_443c_a75c_2fe8c4bcb635));

/// `User Access Administrator`: may give roles, and little else.
pub const USER_ACCESS_ADMINISTRATOR: RoleDefinitionId =
    RoleDefinitionId::new(uuid::Uuid::from_u128(0x18d7d88d_d35e_4fb5_a5c3_7773c20a72d9));

static ROLES: LazyLock<BuiltInRoles> = LazyLock::new(|| {
    let roles: Vec<Arc<RoleDefinition>> =
        serde_json::from_str(include_str!("../../data/built-in-roles.json")).unwrap_or_default();
    let by_id = roles.iter().map(|role| (role.id, Arc::clone(role))).collect();
    BuiltInRoles { by_id, roles }
});

struct BuiltInRoles {
    roles: Vec<Arc<RoleDefinition>>,
    /// The keys are our own, so the hash need not withstand strangers.
    by_id: FnvHashMap<RoleDefinitionId, Arc<RoleDefinition>>,
}

/// All built-in roles, in the order of the data file.
pub fn all() -> &'static [Arc<RoleDefinition>] {
    &ROLES.roles
}

/// The built-in role with this GUID.
pub fn find(id: RoleDefinitionId) -> Option<&'static Arc<RoleDefinition>> {
    ROLES.by_id.get(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_928_roles_load() {
        assert_eq!(all().len(), 928);
        assert_eq!(find(OWNER).unwrap().role_name, "Owner");
        assert!(all().iter().all(|role| !role.permissions.is_empty()));
    }
}
