//! Groups of principals, and who is in them. A group may be a member of another.
//!
//! Source: Microsoft Graph, "group resource type"; Azure role-based access control, "Understand role assignments".

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::app_role_assignment::{self, Side};
use super::service_principal::{self, ServicePrincipal};
use crate::fault::replication;
use crate::ids::{PrincipalId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::standing::with_groups;
use crate::records::{Record, Versioned};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// A group, which roles can be given to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its object id.
    pub id: PrincipalId,
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The name in its mail address; has to be there, and need not be unique.
    pub mail_nickname: String,
    /// Unix seconds.
    pub created_at: i64,
}

impl Record for Group {
    const KIND: &'static str = "groups";

    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// A principal or group that is directly in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// The group.
    pub group: PrincipalId,
    /// Who is in it.
    pub member: PrincipalId,
}

impl Record for GroupMember {
    const KIND: &'static str = "group-members";

    fn record_id(&self) -> String {
        format!("{}/{}", self.group, self.member)
    }
}

/// Why something is refused at a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// There is no such group in this directory.
    #[error("group {0} does not exist")]
    NotFound(PrincipalId),
    /// The member is not in this directory, or not in the group.
    #[error("member {0} does not exist")]
    MemberNotFound(PrincipalId),
    /// The display name is empty or too long.
    #[error("the display name is empty or too long")]
    DisplayNameInvalid,
    /// The mail nickname is empty, too long, or has characters that no mail address has.
    #[error("the mail nickname is not allowed")]
    MailNicknameInvalid,
    /// The description is too long.
    #[error("the description is too long")]
    DescriptionTooLong,
    /// The member is in the group already.
    #[error("{0} is in the group already")]
    AlreadyMember(PrincipalId),
    /// A group cannot be in itself.
    #[error("a group cannot be a member of itself")]
    OwnMember,
    /// The directory has as many groups as it may.
    #[error("no more groups can be created")]
    LimitReached,
    /// The group has as many members as it may.
    #[error("the group has as many members as it may")]
    TooManyMembers,
    /// The member is in as many groups as it may.
    #[error("{0} is in as many groups as it may")]
    TooManyGroups(PrincipalId),
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What an administrator asks for.
#[derive(Clone, Debug)]
pub struct NewGroup {
    /// The directory that it is to belong to.
    pub tenant_id: TenantId,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The name in its mail address.
    pub mail_nickname: String,
}

/// What is to be different; what is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct GroupChange {
    /// What people call it.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The name in its mail address.
    pub mail_nickname: Option<String>,
}

/// Makes a group without members.
pub async fn create(
    state: &State,
    operation: &OperationContext,
    new: &NewGroup,
) -> Result<Group, GroupError> {
    let group = Group {
        id: PrincipalId::new(state.entropy.uuid()),
        tenant_id: new.tenant_id,
        display_name: new.display_name.clone(),
        description: new.description.clone(),
        mail_nickname: new.mail_nickname.clone(),
        created_at: operation.now.unix_timestamp(),
    };
    check(&group)?;
    state
        .transact(operation, |snapshot, changes| {
            if list(snapshot, new.tenant_id).count() >= limits::GROUPS_MAX {
                return Err(GroupError::LimitReached);
            }
            changes.put(snapshot, &group);
            Ok(group.clone())
        })
        .await
}

/// Changes a group.
pub async fn update(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: PrincipalId,
    change: &GroupChange,
) -> Result<(), GroupError> {
    state
        .transact(operation, |snapshot, changes| {
            let mut group = find(snapshot, tenant, id)?.record.as_ref().clone();
            let GroupChange { display_name, description, mail_nickname } = change.clone();
            group.display_name = display_name.unwrap_or(group.display_name);
            group.description = description.or(group.description);
            group.mail_nickname = mail_nickname.unwrap_or(group.mail_nickname);
            check(&group)?;
            changes.put(snapshot, &group);
            Ok(())
        })
        .await
}

/// Deletes a group with its memberships, those in it and those it has, and its app roles. Its role assignments stay, as a
/// principal's do.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    id: PrincipalId,
) -> Result<(), GroupError> {
    state
        .transact(operation, |snapshot, changes| {
            let group = find(snapshot, tenant, id)?;
            for membership in snapshot.group_members.below(&format!("{id}/")) {
                changes.delete(snapshot, membership.record.as_ref());
            }
            remove_memberships(snapshot, changes, id);
            app_role_assignment::remove_of(snapshot, changes, tenant, Side::Principal(id));
            changes.delete(snapshot, group.record.as_ref());
            Ok(())
        })
        .await
}

/// Puts a service principal or group of the same directory into a group.
pub async fn add_member(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    group: PrincipalId,
    member: PrincipalId,
) -> Result<(), GroupError> {
    state
        .transact(operation, |snapshot, changes| {
            let found = find(snapshot, tenant, group)?;
            let object = object(snapshot, tenant, member).filter(|object| match object {
                DirectoryObject::Group(_) => true,
                DirectoryObject::ServicePrincipal(it) => {
                    !replication::hides(snapshot, it, operation.now)
                }
            });
            let object = object.ok_or(GroupError::MemberNotFound(member))?;
            let membership = GroupMember { group, member };
            check_membership(snapshot, &membership)?;
            object.rely_on(snapshot, changes);
            // Written as it is: whoever deletes the group at the same time finds it changed, and sees the member. A
            // membership that outlived its group would go on giving the group's roles.
            changes.put(snapshot, found.record.as_ref());
            changes.put(snapshot, &membership);
            Ok(())
        })
        .await
}

fn check_membership(snapshot: &Snapshot, new: &GroupMember) -> Result<(), GroupError> {
    let GroupMember { group, member } = *new;
    if group == member {
        return Err(GroupError::OwnMember);
    }
    if snapshot.group_members.get(&new.record_id()).is_some() {
        return Err(GroupError::AlreadyMember(member));
    }
    if snapshot.group_members.below(&format!("{group}/")).count() >= limits::GROUP_MEMBERS_MAX {
        return Err(GroupError::TooManyMembers);
    }
    let groups = snapshot.standing(member).map_or(0, |standing| standing.groups.len());
    if groups >= limits::GROUPS_OF_MEMBER_MAX {
        return Err(GroupError::TooManyGroups(member));
    }
    Ok(())
}

/// Takes a member out of a group.
pub async fn remove_member(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    group: PrincipalId,
    member: PrincipalId,
) -> Result<(), GroupError> {
    state
        .transact(operation, |snapshot, changes| {
            find(snapshot, tenant, group)?;
            let membership = GroupMember { group, member };
            if snapshot.group_members.get(&membership.record_id()).is_none() {
                return Err(GroupError::MemberNotFound(member));
            }
            changes.delete(snapshot, &membership);
            Ok(())
        })
        .await
}

/// Takes a principal or group that goes out of all groups that it is directly in.
pub(crate) fn remove_memberships(snapshot: &Snapshot, changes: &mut Changes, member: PrincipalId) {
    for group in snapshot.standing(member).into_iter().flat_map(|standing| &standing.groups) {
        changes.delete(snapshot, &GroupMember { group: *group, member });
    }
}

fn check(group: &Group) -> Result<(), GroupError> {
    let chars = group.display_name.chars().count();
    if group.display_name.trim().is_empty() || chars > limits::GROUP_DISPLAY_NAME_CHARS_MAX {
        return Err(GroupError::DisplayNameInvalid);
    }
    let nickname = &group.mail_nickname;
    let is_nickname = (1..=limits::GROUP_MAIL_NICKNAME_CHARS_MAX).contains(&nickname.len())
        && nickname.chars().all(|c| c.is_ascii_graphic() && !"@()\\[]\";:<>,".contains(c));
    if !is_nickname {
        return Err(GroupError::MailNicknameInvalid);
    }
    let description = group.description.as_ref().map_or(0, |text| text.chars().count());
    if description > limits::GROUP_DESCRIPTION_CHARS_MAX {
        return Err(GroupError::DescriptionTooLong);
    }
    Ok(())
}

/// A principal or group of a directory.
#[derive(Clone, Debug)]
pub enum DirectoryObject {
    /// A group.
    Group(Arc<Group>),
    /// A service principal.
    ServicePrincipal(Arc<ServicePrincipal>),
}

impl DirectoryObject {
    /// Its object id.
    pub fn id(&self) -> PrincipalId {
        match self {
            Self::Group(group) => group.id,
            Self::ServicePrincipal(principal) => principal.id,
        }
    }

    fn rely_on(&self, snapshot: &Snapshot, changes: &mut Changes) {
        match self {
            Self::Group(group) => changes.rely_on(snapshot, group.as_ref()),
            Self::ServicePrincipal(principal) => changes.rely_on(snapshot, principal.as_ref()),
        };
    }
}

/// The directory's object with this id.
pub fn object(snapshot: &Snapshot, tenant: TenantId, id: PrincipalId) -> Option<DirectoryObject> {
    if let Ok(group) = find(snapshot, tenant, id) {
        return Some(DirectoryObject::Group(Arc::clone(&group.record)));
    }
    let principal = service_principal::find(snapshot, tenant, id)?;
    Some(DirectoryObject::ServicePrincipal(Arc::clone(&principal.record)))
}

/// The directory's group with this id.
pub fn find(
    snapshot: &Snapshot,
    tenant: TenantId,
    id: PrincipalId,
) -> Result<&Versioned<Group>, GroupError> {
    let found = snapshot.groups.get(&id.to_string());
    found.filter(|group| group.tenant_id == tenant).ok_or(GroupError::NotFound(id))
}

/// The groups of a directory.
pub fn list(snapshot: &Snapshot, tenant: TenantId) -> impl Iterator<Item = &Versioned<Group>> {
    let all = snapshot.groups.iter().map(|(_, group)| group);
    all.filter(move |group| group.tenant_id == tenant)
}

/// How far a listing of members or memberships goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Directly.
    Direct,
    /// Through groups in groups, however deep.
    Transitive,
}

/// Who is in a group.
pub fn members(
    snapshot: &Snapshot,
    tenant: TenantId,
    id: PrincipalId,
    reach: Reach,
) -> Result<Vec<DirectoryObject>, GroupError> {
    find(snapshot, tenant, id)?;
    let mut seen = std::collections::BTreeSet::from([id]);
    let mut found = Vec::new();
    let mut pending = vec![id];
    while let Some(group) = pending.pop() {
        for membership in snapshot.group_members.below(&format!("{group}/")) {
            let Some(object) = object(snapshot, tenant, membership.member) else { continue };
            if seen.insert(membership.member) {
                let is_group = matches!(object, DirectoryObject::Group(_));
                pending.extend(
                    Some(membership.member).filter(|_| is_group && reach == Reach::Transitive),
                );
                found.push(object);
            }
        }
    }
    Ok(found)
}

/// The groups that a principal or group is in.
pub fn groups_of(
    snapshot: &Snapshot,
    tenant: TenantId,
    member: PrincipalId,
    reach: Reach,
) -> Vec<DirectoryObject> {
    let ids = match reach {
        Reach::Direct => {
            snapshot.standing(member).map(|standing| standing.groups.clone()).unwrap_or_default()
        }
        Reach::Transitive => with_groups(snapshot, member).split_off(1),
    };
    ids.into_iter()
        .filter(|id| *id != member)
        .filter_map(|id| object(snapshot, tenant, id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(display_name: &str, mail_nickname: &str) -> Group {
        Group {
            id: PrincipalId::new(uuid::Uuid::nil()),
            tenant_id: TenantId::new(uuid::Uuid::nil()),
            display_name: display_name.into(),
            description: None,
            mail_nickname: mail_nickname.into(),
            created_at: 0,
        }
    }

    #[test]
    fn names_follow_the_rules() {
        for (display_name, nickname, valid) in [
            ("Readers", "readers", true),
            ("Ä b", "a.b-c_d", true),
            ("", "a", false),
            (" ", "a", false),
            (&*"x".repeat(257), "a", false),
            ("a", "", false),
            ("a", "a b", false),
            ("a", "a@b", false),
            ("a", &*"x".repeat(65), false),
        ] {
            let group = group(display_name, nickname);
            assert_eq!(check(&group).is_ok(), valid, "{display_name} {nickname}");
        }
    }

    #[test]
    fn members_of_groups_in_groups_are_found_once_also_in_a_circle() {
        let id = |n| PrincipalId::new(uuid::Uuid::from_u128(n));
        let tenant = TenantId::new(uuid::Uuid::nil());
        let mut snapshot = Snapshot::default();
        for n in 1..=3 {
            snapshot.insert_for_test(&Group { id: id(n), ..group("g", "g") });
        }
        for (group, member) in [(1, 2), (2, 3), (3, 1), (1, 3), (1, 9)] {
            snapshot.insert_for_test(&GroupMember { group: id(group), member: id(member) });
        }
        let found = |reach| {
            let found = members(&snapshot, tenant, id(1), reach).unwrap();
            let mut ids: Vec<_> = found.iter().map(DirectoryObject::id).collect();
            ids.sort();
            ids
        };
        assert_eq!(found(Reach::Direct), [id(2), id(3)], "9 is not in the directory");
        assert_eq!(found(Reach::Transitive), [id(2), id(3)]);
        assert_eq!(groups_of(&snapshot, tenant, id(2), Reach::Transitive).len(), 2);
        assert_eq!(groups_of(&snapshot, tenant, id(2), Reach::Direct).len(), 1);
        assert!(
            members(&snapshot, TenantId::new(uuid::Uuid::max()), id(1), Reach::Direct).is_err()
        );
    }
}
