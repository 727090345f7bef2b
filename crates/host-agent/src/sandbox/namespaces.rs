//! Leaves the host's network and mounts, in place: the process stays the process it is, and becomes the command later.
//!
//! With `CAP_SYS_ADMIN` no user namespace is made: there every other user would become `nobody`.
//! Source: Linux, `user_namespaces(7)`, `mount_namespaces(7)`.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set};

use super::refusal::{Refusal, Step};

/// What the process may do, which decides how it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privilege {
    /// It has `CAP_SYS_ADMIN`, and its command keeps it.
    Administrator,
    /// It has to become the administrator of a user namespace, for as long as it takes.
    Ordinary,
}

impl Privilege {
    pub(super) fn of_this_process() -> Self {
        let is_administrator =
            capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
        if is_administrator { Self::Administrator } else { Self::Ordinary }
    }
}

/// Leaves; afterwards there is an empty network, and mounts that nobody outside sees.
pub(super) fn leave(privilege: Privilege) -> Result<(), Refusal> {
    let own = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    match privilege {
        Privilege::Administrator => {
            unshare(own).map_err(|error| Refusal::at(Step::Namespaces, &error.into()))?;
        }
        Privilege::Ordinary => {
            unshare(own | CloneFlags::CLONE_NEWUSER)
                .map_err(|error| Refusal::at(Step::Namespaces, &error.into()))?;
            map_ids(user, group).map_err(|error| Refusal::at(Step::Ids, &error))?;
            // Whoever is root inside must not get back what it takes to uncover keycard's files.
            remove_capability_from_bounding_set(CapabilitySet::SYS_ADMIN)
                .map_err(|error| Refusal::at(Step::Ids, &error.into()))?;
        }
    }
    // What the host mounts later still appears inside; nothing travels back.
    let inward = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
    mount_change("/", inward).map_err(|error| Refusal::at(Step::Mounts, &error.into()))
}

/// The user and the group stay who they are. The order is the kernel's: a process maps its own group only once it cannot
/// drop groups any more.
fn map_ids(user: u32, group: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))
}
