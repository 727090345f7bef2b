//! Tokens for workloads that have faults: what another source gives, through the faults that are set.

use std::sync::Arc;

use async_trait::async_trait;
use keycard_domain::operation::{Caller, OperationContext};
use keycard_domain::token::source::{AccessToken, TokenError, TokenRequest, TokenSource};

use crate::faults::Faults;

/// A token source whose requests meet faults.
#[derive(Debug)]
pub struct FaultySource {
    inner: Arc<dyn TokenSource>,
    faults: Arc<Faults>,
}

impl FaultySource {
    /// What a source gives, through these faults.
    pub fn new(inner: Arc<dyn TokenSource>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
impl TokenSource for FaultySource {
    async fn acquire(
        &self,
        operation: &OperationContext,
        request: TokenRequest,
    ) -> Result<AccessToken, TokenError> {
        let Caller::Workload(workload) = &operation.caller else {
            return self.inner.acquire(operation, request).await;
        };
        if !self.faults.are_set() {
            return self.inner.acquire(operation, request).await;
        }
        let disturbance = self.faults.meet(workload, operation.now).map_err(TokenError::Fault)?;
        // Whoever waited asks when the wait is over: what is signed then is of that moment.
        let now = self.faults.wait(&disturbance).await;
        self.inner.acquire(&OperationContext { now, ..operation.clone() }, request).await
    }
}
