//! How soon a grant counts, and how soon a withdrawal does.

use std::time::{Duration, Instant};

use super::SLICES;
use crate::cloud::{Cloud, SECRETS_USER, Vault, metadata_request, text};
use crate::load::{median, percentile};
use crate::process::Keycard;
use crate::report::{Budget, Reference, Row};
use crate::wire::{Connection, Target};
use crate::{Outcome, Settings};

pub(crate) const FIRST_TOKEN: &str = "create identity and assign it, until its first token";
pub(crate) const ROLE: &str = "role assignment deleted, until the vault refuses";
pub(crate) const IDENTITY: &str = "identity unassigned, until the vault refuses";

const VM: &str = "vm";
/// Nothing is waited for longer.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(5);

/// A VM and a vault, with connections to both.
struct Scene<'a> {
    cloud: Cloud<'a>,
    endpoint: Target,
    metadata: Connection,
    vault: Vault,
}

pub(crate) fn measure(settings: &Settings) -> Outcome<Vec<Row>> {
    let keycard = Keycard::up(settings, &[])?;
    let mut cloud = Cloud::begin(&keycard)?;
    cloud.put_vm(VM)?;
    let endpoint = cloud.metadata_endpoint(VM)?;
    let mut metadata = endpoint.connect()?;
    // The very first token waits for the signing key of the fresh server.
    metadata.accepted(&metadata_request(&endpoint, ""))?;
    let vault = cloud.put_vault("kv-bench")?;
    let mut scene = Scene { cloud, endpoint, metadata, vault };
    let (mut first_tokens, mut roles, mut identities) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..SLICES {
        let times = scene.live_and_die(&format!("identity-{number}"))?;
        let [first_token, role, identity] = times.map(|time| time.as_secs_f64() * 1000.0);
        first_tokens.push(first_token);
        roles.push(role);
        identities.push(identity);
    }
    Ok(vec![row(FIRST_TOKEN, &first_tokens), row(ROLE, &roles), row(IDENTITY, &identities)])
}

fn row(name: &'static str, times: &[f64]) -> Row {
    Row {
        name,
        value: median(times),
        unit: "ms",
        reference: Reference::None,
        budget: Budget::ValueBelow(50.0),
        notes: vec![format!("longest of {SLICES}: {:.2} ms", percentile(times, 1.0))],
    }
}

impl Scene<'_> {
    /// Makes an identity, lets it read the secret, and takes both rights from it again.
    fn live_and_die(&mut self, name: &str) -> Outcome<[Duration; 3]> {
        let begin = Instant::now();
        let identity = self.cloud.put_identity(name)?;
        self.cloud.assign_identity(VM, name)?;
        let selector = format!("&client_id={}", text(&identity, "/properties/clientId")?);
        let answer = self.metadata.accepted(&metadata_request(&self.endpoint, &selector))?;
        let first_token = begin.elapsed();

        let token = text(&answer, "/access_token")?;
        let principal = text(&identity, "/properties/principalId")?.to_owned();
        let scope = self.vault.scope.clone();
        let assignment = self.cloud.put_role_assignment(&scope, SECRETS_USER, &principal)?;
        let read = self.vault.request("GET", token, "");
        self.vault.connection.accepted(&read)?;
        self.cloud.delete_role_assignment(&assignment)?;
        let role = self.time_until(403, &read)?;

        self.cloud.put_role_assignment(&scope, SECRETS_USER, &principal)?;
        self.vault.connection.accepted(&read)?;
        self.cloud.unassign_identities(VM)?;
        let identity = self.time_until(401, &read)?;
        Ok([first_token, role, identity])
    }

    /// Asks again and again until the status comes.
    fn time_until(&mut self, wanted: u16, request: &[u8]) -> Outcome<Duration> {
        let begin = Instant::now();
        while begin.elapsed() < REFUSAL_TIME_MAX {
            match self.vault.connection.exchange_json(request)? {
                (status, _) if status == wanted => return Ok(begin.elapsed()),
                (200, _) => {}
                (status, body) => return Err(format!("the vault gave {status}: {body}").into()),
            }
        }
        Err(format!("the vault did not answer {wanted} within {REFUSAL_TIME_MAX:?}").into())
    }
}
