//! Names below the domain, as programs resolve them: by the system's resolver, which curl and browsers do not ask.

use super::{Finding, Surroundings, fault, good};
use crate::description::Description;

/// Names that are told when many do not resolve.
const NAMES_TOLD_MAX: usize = 5;

pub(super) fn look(
    surroundings: &Surroundings,
    description: &Description,
    vaults: &[String],
) -> Vec<Finding> {
    let endpoints = &description.endpoints;
    let faces = [&endpoints.resource_manager, &endpoints.token_service, &endpoints.graph];
    let hosts: Vec<&str> =
        faces.into_iter().chain(vaults).filter_map(|address| host(address)).collect();
    let (known, unknown): (Vec<&str>, Vec<&str>) = hosts.iter().copied().partition(|host| {
        let addresses = surroundings.resolve(host);
        !addresses.is_empty() && addresses.iter().all(|address| address.is_loopback())
    });
    if unknown.is_empty() {
        return vec![good("names", format!("{} are this machine", told(&known)))];
    }
    let why = if known.is_empty() {
        "plain glibc does not know *.localhost"
    } else {
        "the hosts file holds single names"
    };
    vec![fault(
        "names",
        format!(
            "SDKs do not find {} (curl and browsers do: they know *.localhost themselves); {why}",
            told(&unknown)
        ),
        format!(
            "apt-get install libnss-myhostname, or add to /etc/hosts: 127.0.0.1 {}",
            unknown.join(" ")
        ),
    )]
}

/// The host of `https://HOST:PORT`, or of a bare `HOST:PORT`.
fn host(address: &str) -> Option<&str> {
    let authority = address.trim_start_matches("https://").split('/').next()?;
    authority.split(':').next().filter(|host| !host.is_empty())
}

fn told(hosts: &[&str]) -> String {
    let some: Vec<&str> = hosts.iter().copied().take(NAMES_TOLD_MAX).collect();
    match hosts.len().saturating_sub(NAMES_TOLD_MAX) {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}
