//! The tokens that a host keeps: by resource, and there by identity, audience and capabilities.
//!
//! Each has a slot. A slot's turn makes one request at a time of many; whoever waited for it finds what it brought, the
//! token or the failure. A kept token is given without a turn, so that a token service that hangs holds nobody up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keycard_crypto::digest::sha256;
use keycard_domain::ids::PrincipalId;
use keycard_domain::limits;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::token::grant::GrantError;
use keycard_domain::token::source::{AccessToken, Freshness, TokenError};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// What distinguishes a resource's tokens from each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    /// The identity.
    pub(crate) principal: PrincipalId,
    /// What the token is for.
    pub(crate) audience: String,
    /// The client's capabilities.
    pub(crate) capabilities: Vec<String>,
}

type Slots = HashMap<Wanted, Arc<Slot>>;

/// The slots of all resources.
#[derive(Debug, Default)]
pub(crate) struct TokenCache(Mutex<HashMap<ArmResourceId, Slots>>);

/// Tokens kept for one resource; an application asks for a handful of audiences.
const TOKENS_PER_RESOURCE_MAX: usize = 64;

impl TokenCache {
    fn resources(&self) -> MutexGuard<'_, HashMap<ArmResourceId, Slots>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot of what is wanted on a resource.
    pub(crate) fn slot(&self, resource: &ArmResourceId, wanted: &Wanted) -> Arc<Slot> {
        let mut resources = self.resources();
        let slots = resources.entry(resource.clone()).or_default();
        if slots.len() >= TOKENS_PER_RESOURCE_MAX && !slots.contains_key(wanted) {
            slots.clear();
        }
        Arc::clone(slots.entry(wanted.clone()).or_default())
    }

    /// Drops an identity's tokens on a resource.
    pub(crate) fn drop_identity(&self, resource: &ArmResourceId, principal: PrincipalId) {
        if let Some(slots) = self.resources().get_mut(resource) {
            slots.retain(|wanted, _| wanted.principal != principal);
        }
    }

    /// Drops all but the tokens of these resources.
    pub(crate) fn retain(&self, is_kept: impl Fn(&ArmResourceId) -> bool) {
        self.resources().retain(|resource, _| is_kept(resource));
    }

    /// Drops all.
    pub(crate) fn clear(&self) {
        self.resources().clear();
    }
}

/// The place of one token.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    kept: Mutex<Kept>,
    turn: Arc<AsyncMutex<()>>,
}

#[derive(Debug, Default)]
struct Kept {
    token: Option<AccessToken>,
    /// How many turns are over, and how the last one failed if it did.
    turns: u64,
    failure: Option<TokenError>,
}

/// Held by whoever asks the token service for a slot.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Slot {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token that is kept, if it will do at this moment, Unix seconds. One that was rejected is dropped.
    pub(crate) fn token(&self, freshness: Freshness, now: i64) -> Option<AccessToken> {
        let mut kept = self.kept();
        let token = kept.token.as_ref().filter(|token| token.is_usable_at(now))?;
        match freshness {
            Freshness::New => None,
            Freshness::Cached => Some(token.clone()),
            Freshness::Unlike(rejected) if sha256(token.token.expose().as_bytes()) == rejected => {
                token.reuse.withdraw();
                kept.token = None;
                None
            }
            Freshness::Unlike(_) => Some(token.clone()),
        }
    }

    /// Waits for the turn. With a failure where the turn that was waited for ended in one: it is the answer to all who
    /// waited, and to nobody after.
    pub(crate) async fn turn(&self) -> Result<Turn, TokenError> {
        let before = self.kept().turns;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let kept = self.kept();
        let failed_meanwhile = kept.failure.clone().filter(|_| kept.turns != before);
        failed_meanwhile.map_or(Ok(turn), Err)
    }

    /// The turn, unless somebody has it.
    pub(crate) fn free_turn(&self) -> Option<Turn> {
        Arc::clone(&self.turn).try_lock_owned().ok()
    }

    /// Ends a turn: what it brought is kept, and given.
    ///
    /// A token past half of its life is still good while a newer one cannot be had; a refusal ends it.
    pub(crate) fn settle(
        &self,
        fetched: Result<AccessToken, TokenError>,
        now: i64,
        _turn: Turn,
    ) -> Result<AccessToken, TokenError> {
        let mut kept = self.kept();
        kept.turns += 1;
        let usable = kept.token.take().filter(|token| token.is_usable_at(now));
        let given = match (fetched, usable) {
            (Ok(token), former) => {
                former.iter().for_each(|former| former.reuse.withdraw());
                Ok(token)
            }
            (Err(error), Some(mut token)) if is_passing(&error) => {
                let refresh_at = now + limits::REFRESH_PAUSE.whole_seconds();
                token.reuse.refresh_at = refresh_at.min(token.expires_on);
                Ok(token)
            }
            (Err(error), former) => {
                former.iter().for_each(|former| former.reuse.withdraw());
                Err(error)
            }
        };
        kept.token = given.as_ref().ok().cloned();
        kept.failure = given.as_ref().err().cloned();
        given
    }
}

/// Whether a failure says nothing about the identity.
const fn is_passing(error: &TokenError) -> bool {
    matches!(
        error,
        TokenError::Unavailable { .. }
            | TokenError::Refused(
                GrantError::SigningUnavailable(_)
                    | GrantError::Audit(_)
                    | GrantError::Throttled { .. }
            )
    )
}
