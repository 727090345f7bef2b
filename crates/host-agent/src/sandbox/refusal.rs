//! Why a sandbox cannot be had, in words that name the cause and what to do. The same restriction shows itself at
//! different steps on different machines, so the machine's settings are looked at as well as the step.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

/// Where it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Making the namespaces.
    Namespaces,
    /// Mapping the user's id.
    Ids,
    /// Mounting.
    Mounts,
    /// Setting up the network inside.
    Network,
}

/// A sentence or two for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub(super) String);

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;

/// The fallback that every refusal ends with.
const FALLBACK: &str = "`keycard run --env` runs the command with variables instead";

/// A setting that forbids namespaces or mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restriction {
    /// `kernel.unprivileged_userns_clone` = 0.
    CloneForbidden,
    /// `kernel.apparmor_restrict_unprivileged_userns` = 1.
    ProfileNeeded,
    /// A filter of system calls, as containers have one.
    Seccomp,
    /// Another root directory than the first process has.
    NewRoot,
}

/// What of the machine's settings can forbid namespaces and mounts.
#[derive(Clone, Debug, Default)]
struct Machine {
    /// Names of `user.max_*_namespaces` that are 0.
    spent: Vec<&'static str>,
    restrictions: Vec<Restriction>,
    /// The `AppArmor` profile that this process runs under, when it is confined.
    profile: Option<String>,
}

impl Machine {
    fn look() -> Self {
        let value = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let limits = ["max_user_namespaces", "max_net_namespaces", "max_mnt_namespaces"];
        let is_spent = |name: &&str| value(&format!("/proc/sys/user/{name}")) == "0";
        let status = value("/proc/self/status");
        let profile = value("/proc/self/attr/apparmor/current");
        let kernel = |name: &str| value(&format!("/proc/sys/kernel/{name}"));
        let restrictions = [
            (Restriction::CloneForbidden, kernel("unprivileged_userns_clone") == "0"),
            (Restriction::ProfileNeeded, kernel("apparmor_restrict_unprivileged_userns") == "1"),
            (Restriction::Seccomp, status.lines().any(|line| line == "Seccomp:\t2")),
            (Restriction::NewRoot, has_new_root()),
        ];
        Self {
            spent: limits.into_iter().filter(is_spent).collect(),
            restrictions: restrictions.iter().filter(|it| it.1).map(|it| it.0).collect(),
            profile: Some(profile).filter(|name| !name.is_empty() && name != "unconfined"),
        }
    }

    fn has(&self, restriction: Restriction) -> bool {
        self.restrictions.contains(&restriction)
    }
}

/// Whether this process stands in a chroot, where it can tell.
fn has_new_root() -> bool {
    let place = |path: &str| fs::metadata(path).map(|root| (root.dev(), root.ino())).ok();
    place("/proc/1/root/.").is_some_and(|first| place("/") != Some(first))
}

impl Refusal {
    /// A refusal in words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// What the kernel's error at a step means on this machine.
    pub(super) fn at(step: Step, error: &io::Error) -> Self {
        let Some(code) = error.raw_os_error() else {
            return Self(format!("{}: {error}. {FALLBACK}", step.words()));
        };
        Self(format!("{}. {FALLBACK}", cause(step, code, &Machine::look())))
    }
}

impl Step {
    const fn words(self) -> &'static str {
        match self {
            Self::Namespaces => "no namespaces can be made",
            Self::Ids => "the user's id cannot be mapped into a user namespace",
            Self::Mounts => "nothing can be mounted in the sandbox",
            Self::Network => "the sandbox's network cannot be set up",
        }
    }
}

fn cause(step: Step, code: i32, machine: &Machine) -> String {
    let is_denied = matches!(code, EPERM | EACCES);
    if code == ENOSPC && step == Step::Namespaces {
        let names = match machine.spent.as_slice() {
            [] => "user.max_user_namespaces, user.max_net_namespaces or user.max_mnt_namespaces is used up"
                .to_owned(),
            spent => format!("user.{} = 0", spent.join(" = 0, user.")),
        };
        return format!("this machine allows no more namespaces ({names}). Ask its administrator");
    }
    if code == EINVAL && step == Step::Namespaces {
        return "the sandbox was begun after another thread was, which is a fault of keycard's"
            .to_owned();
    }
    if code == ENOSYS {
        return "this kernel is too old for a sandbox, which needs Linux 5.3".to_owned();
    }
    if is_denied && machine.has(Restriction::CloneForbidden) {
        return "user namespaces are switched off for ordinary users (kernel.unprivileged_userns_clone = 0)"
            .to_owned();
    }
    if is_denied && machine.has(Restriction::ProfileNeeded) {
        return "this system restricts user namespaces to programs with an AppArmor profile. Install keycard's \
                (`keycard doctor --apparmor` prints it), or on a throwaway CI machine: \
                sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
            .to_owned();
    }
    if is_denied && step != Step::Namespaces && machine.profile.is_some() {
        let profile = machine.profile.as_deref().unwrap_or_default();
        return format!("AppArmor denies mounts here (profile {profile})");
    }
    if is_denied && machine.has(Restriction::Seccomp) {
        return "this container may not make namespaces. Run keycard beside it as a sidecar"
            .to_owned();
    }
    let is_no_mount = code == EINVAL && step == Step::Mounts;
    if (is_denied || is_no_mount) && machine.has(Restriction::NewRoot) {
        return "this is not possible inside a chroot".to_owned();
    }
    format!("{}: {}", step.words(), io::Error::from_raw_os_error(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(step: Step, code: i32, machine: &Machine, words: &str) {
        let cause = cause(step, code, machine);
        assert!(cause.contains(words), "{step:?} {code}: {cause}");
    }

    #[test]
    fn the_cause_is_found_in_the_machines_settings() {
        let with = |restriction| Machine { restrictions: vec![restriction], ..Machine::default() };
        let plain = Machine::default();
        let spent = Machine { spent: vec!["max_user_namespaces"], ..Machine::default() };
        check(Step::Namespaces, ENOSPC, &spent, "user.max_user_namespaces = 0");
        check(Step::Namespaces, ENOSPC, &plain, "used up");
        let debian = with(Restriction::CloneForbidden);
        check(Step::Namespaces, EPERM, &debian, "kernel.unprivileged_userns_clone = 0");
        let ubuntu = with(Restriction::ProfileNeeded);
        for (step, code) in [
            (Step::Namespaces, EPERM),
            (Step::Ids, EACCES),
            (Step::Ids, EPERM),
            (Step::Network, EPERM),
            (Step::Mounts, EACCES),
        ] {
            check(step, code, &ubuntu, "keycard doctor --apparmor");
        }
        let docker = with(Restriction::Seccomp);
        check(Step::Namespaces, EPERM, &docker, "sidecar");
        let confined = Machine { profile: Some("docker-default (enforce)".into()), ..docker };
        check(Step::Mounts, EACCES, &confined, "docker-default");
        check(Step::Namespaces, EPERM, &confined, "sidecar");
        let chroot = with(Restriction::NewRoot);
        check(Step::Namespaces, EPERM, &chroot, "chroot");
        check(Step::Mounts, EINVAL, &chroot, "chroot");
        check(Step::Mounts, ENOSYS, &plain, "5.3");
        check(Step::Network, EPERM, &plain, "Operation not permitted");
    }

    #[test]
    fn every_refusal_of_the_kernel_names_the_fallback() {
        let refusal = Refusal::at(Step::Network, &io::Error::from_raw_os_error(EPERM));
        assert!(refusal.to_string().ends_with(FALLBACK), "{refusal}");
    }
}
