//! Turns the clock of `up` forward in steps, and does at each step what a server would have done in that time: keys and
//! credentials are renewed as they come of age, and what has outlived its time goes.

use std::sync::Arc;

use async_trait::async_trait;
use keycard_domain::clock::{Clock, ClockControl, ClockError};
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::state::State;
use keycard_domain::upkeep;
use time::{Duration, UtcDateTime};
use tokio::sync::Mutex;

use crate::server::{Host, held_identities};
use crate::system_clock::TurnableClock;

/// The clock of a server, with what falls due.
#[derive(Debug)]
pub(crate) struct Turning {
    pub(crate) clock: Arc<TurnableClock>,
    pub(crate) state: Arc<State>,
    pub(crate) host: Host,
    /// One turn at a time.
    pub(crate) turn: Mutex<()>,
}

#[async_trait]
impl ClockControl for Turning {
    async fn advance(&self, by: Duration) -> Result<UtcDateTime, ClockError> {
        if by < Duration::ZERO || by > limits::CLOCK_ADVANCE_MAX {
            return Err(ClockError::OutOfRange);
        }
        let _turn = self.turn.lock().await;
        let mut left = by;
        while left > Duration::ZERO {
            let step = left.min(limits::CLOCK_ADVANCE_STEP);
            self.clock.turn(step);
            // Kept first: what is made after it is made by this time.
            self.clock.offset().keep(&self.state).await.map_err(|error| unavailable(&error))?;
            self.do_what_is_due().await?;
            left -= step;
        }
        Ok(self.clock.now())
    }
}

impl Turning {
    async fn do_what_is_due(&self) -> Result<(), ClockError> {
        // What could not be renewed is counted and said by the server's own pass.
        let _ = self.host.credentials.renew_due(&held_identities(&self.state)).await;
        self.host.token_files.renew_due(self.clock.now()).await;
        let operation = OperationContext::system(self.clock.now(), self.state.entropy.uuid());
        upkeep::pass(&self.state, &operation).await.map_err(|error| unavailable(&error))
    }
}

fn unavailable(error: &dyn std::fmt::Display) -> ClockError {
    ClockError::Unavailable(error.to_string())
}
