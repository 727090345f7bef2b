//! The host side of a server: the local endpoints of its workloads and what they need, kept up with the state.

use std::sync::Arc;

use keycard_domain::compute::Workload;
use keycard_domain::credential::enrolment::IdentityNames;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::snapshot::Snapshot;
use keycard_domain::state::State;
use keycard_host_agent::credential_store::CredentialStore;
use keycard_host_agent::listen::Listeners;
use keycard_host_agent::projected_tokens::TokenFiles;
use keycard_host_agent::token_source::HostTokenSource;
use tokio::sync::watch;

use super::faces::Faces;
use super::{UPKEEP_INTERVAL, repeat};

/// The embedded host side.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(super) listeners: Arc<Listeners>,
    pub(super) tokens: Arc<HostTokenSource>,
    pub(crate) credentials: Arc<CredentialStore>,
    pub(crate) token_files: Arc<TokenFiles>,
}

/// Renews the credentials of this host as they come of age.
pub(super) async fn keep_credentials(
    state: Arc<State>,
    faces: Arc<Faces>,
    stopped: watch::Receiver<bool>,
) {
    repeat(stopped, || async {
        let counted = faces.host.credentials.renew_due(&held_identities(&state)).await;
        faces.metrics.note_unrenewed(counted);
        faces.host.token_files.renew_due(state.clock.now()).await;
        tokio::time::sleep(UPKEEP_INTERVAL).await;
    })
    .await;
}

/// Keeps local endpoints until the server stops; requests under way are answered first.
pub(super) async fn serve_hosts(state: Arc<State>, host: Host, stopped: watch::Receiver<bool>) {
    follow_hosts(state, &host, stopped).await;
    host.listeners.close().await;
}

/// Opens and closes local endpoints and drops tokens as the state changes.
async fn follow_hosts(state: Arc<State>, host: &Host, mut stopped: watch::Receiver<bool>) {
    let mut revisions = state.revisions();
    let mut seen = state.snapshot_to_keep();
    host.listeners.follow().await;
    loop {
        tokio::select! {
            changed = revisions.changed() => {
                if changed.is_err() { return }
                let present = state.snapshot_to_keep();
                follow_changes(host, &seen, &present).await;
                seen = present;
            }
            _ = stopped.changed() => return,
        }
    }
}

/// Most commits concern neither resources nor principals: then there is nothing to follow.
async fn follow_changes(host: &Host, seen: &Snapshot, present: &Snapshot) {
    let same_resources = present.compute_resources.is_copy_of(&seen.compute_resources);
    if !same_resources || !present.service_principals.is_copy_of(&seen.service_principals) {
        host.tokens.drop_stale();
    }
    if has_lost_a_key(seen, present) {
        host.tokens.drop_all();
    }
    if !same_resources {
        host.listeners.follow().await;
    }
}

/// Whether a token-signing key went: outlived, when no token of it is kept any more, or withdrawn.
fn has_lost_a_key(seen: &Snapshot, present: &Snapshot) -> bool {
    let is_left = |tenant, key_id: &str| {
        present.signing_key_ring(tenant).is_some_and(|ring| ring.key(key_id).is_some())
    };
    !present.signing_key_rings.is_copy_of(&seen.signing_key_rings)
        && seen
            .signing_key_rings
            .iter()
            .any(|(_, ring)| ring.keys.iter().any(|key| !is_left(ring.tenant_id, &key.key_id)))
}

/// Every identity of every workload of this host.
pub(crate) fn held_identities(state: &State) -> Vec<(ArmResourceId, IdentityNames)> {
    let snapshot = state.snapshot_to_keep();
    let mut held = Vec::new();
    for workload in Workload::all(&snapshot) {
        for principal in workload.bearer.identity.principals() {
            if let Some(principal) = snapshot.service_principal(principal) {
                let names = IdentityNames {
                    tenant_id: principal.tenant_id,
                    principal_id: principal.id,
                    client_id: principal.client_id,
                };
                held.push((workload.id.clone(), names));
            }
        }
    }
    held
}
