//! What keeps programs on this machine from reaching keycard: one file for each thing that goes wrong.
//!
//! Everything here looks at [`Surroundings`]; nothing is changed, and nothing is ever sent to a metadata address.

mod address;
mod names;
mod proxy;
pub mod sandbox;
mod server;
mod source;
mod surroundings;
mod trust;

pub use surroundings::{Resolver, Surroundings};

use serde::Serialize;

use crate::description::Description;

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
    /// What helps; also beside what is no fault, where it may be wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

fn good(check: &'static str, seen: impl Into<String>) -> Finding {
    Finding { check, ok: true, seen: seen.into(), cure: None }
}

/// No fault by itself: whether it matters depends on what is to be run.
fn note(check: &'static str, seen: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding { check, ok: true, seen: seen.into(), cure: Some(cure.into()) }
}

fn fault(check: &'static str, seen: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding { check, ok: false, seen: seen.into(), cure: Some(cure.into()) }
}

/// What makes a shell's variables those of a resource.
const ENV: &str = "eval \"$(keycard env --as RESOURCE)\"";

/// Looks at everything. The server is the one that other commands would talk to, or why there is none; with `resource` its
/// endpoint is tried from end to end.
pub async fn examine(
    surroundings: &Surroundings,
    server: Result<Description, String>,
    resource: Option<&str>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut known = server::Known::default();
    match server {
        Err(reason) => {
            findings.push(fault("server", reason, "keycard up"));
            findings.push(server::default_port());
        }
        Ok(description) => {
            let (seen, found) = server::look(&description, resource).await;
            findings.extend(seen);
            known = found;
            findings.extend(names::look(surroundings, &description, &known.vault_hosts));
            findings.extend(trust::look(surroundings, &description));
        }
    }
    findings.extend(proxy::look(surroundings));
    findings.extend(source::look(surroundings, known.attachments.as_deref()));
    findings.extend(address::look(surroundings));
    findings.extend(sandbox::look(surroundings));
    findings
}
