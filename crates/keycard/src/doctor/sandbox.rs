//! What `keycard run` needs of the kernel: namespaces that this user may make.
//!
//! Source: `user_namespaces(7)`, `namespaces(7)`; Ubuntu, "Restricted unprivileged user namespaces".

use super::{Finding, Surroundings, fault, good};

/// The kinds of namespace that the sandbox makes, by the setting that bounds how many a user may have.
const KINDS: &[&str] = &["user", "net", "mnt"];

/// Where an administrator puts the profile that `keycard doctor --apparmor` prints.
const PROFILE: &str = "/etc/apparmor.d/keycard";

/// Why no sandbox can be made here, with what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What is in the way.
    pub reason: String,
    /// What takes it away.
    pub cure: String,
}

/// The first thing that is in the way of a sandbox; root needs none of what is asked for here but the bounds.
pub fn obstacle(surroundings: &Surroundings) -> Option<Obstacle> {
    let setting = |name: &str| {
        let text = surroundings.text(&format!("/proc/sys/{name}"))?;
        text.trim().parse::<u64>().ok()
    };
    let without = "or go without a sandbox: keycard run --env";
    for kind in KINDS {
        let name = format!("user/max_{kind}_namespaces");
        if setting(&name) == Some(0) && !(surroundings.is_root() && *kind == "user") {
            let name = name.replace('/', ".");
            return Some(Obstacle {
                reason: format!("this machine allows no more {kind} namespaces ({name} = 0)"),
                cure: format!("sudo sysctl -w {name}=10000, {without}"),
            });
        }
    }
    if surroundings.is_root() {
        return None;
    }
    if setting("kernel/unprivileged_userns_clone") == Some(0) {
        return Some(Obstacle {
            reason: "user namespaces are switched off for ordinary users (kernel.unprivileged_userns_clone = 0)".to_owned(),
            cure: format!("sudo sysctl -w kernel.unprivileged_userns_clone=1, {without}"),
        });
    }
    let is_restricted = setting("kernel/apparmor_restrict_unprivileged_userns") == Some(1);
    (is_restricted && !surroundings.exists(PROFILE)).then(|| Obstacle {
        reason: "Ubuntu restricts user namespaces to programs with a profile (kernel.apparmor_restrict_unprivileged_userns = 1)".to_owned(),
        cure: format!(
            "keycard doctor --apparmor | sudo tee {PROFILE} && sudo apparmor_parser -r {PROFILE}"
        ),
    })
}

/// The profile that lets the program at this path make user namespaces.
/// Source: Ubuntu, "Restricted unprivileged user namespaces"; `apparmor.d(5)`.
pub fn apparmor_profile(program: &str) -> String {
    format!(
        "abi <abi/4.0>,\n\
         include <tunables/global>\n\n\
         # Lets `keycard run` make the user namespace of its sandbox, and restricts nothing.\n\
         profile keycard \"{program}\" flags=(unconfined) {{\n  userns,\n}}\n"
    )
}

pub(super) fn look(surroundings: &Surroundings) -> Vec<Finding> {
    vec![match obstacle(surroundings) {
        None => good("sandbox", "the kernel's settings are in the way of no `keycard run`"),
        Some(Obstacle { reason, cure }) => fault("sandbox", reason, cure),
    }]
}
