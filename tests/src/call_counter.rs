//! Counts the calls of a store.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use squidmesh_core::port::{ClaimBatch, ClaimRequest, Store, StoreError};
use squidmesh_core::testing::StoreInterceptor;

/// The number of calls of each method.
pub type Calls = BTreeMap<&'static str, usize>;

/// The counts. Calls that need no query, such as waiting for notifications, are not counted.
#[derive(Default)]
pub struct CallCounter {
    calls: Mutex<Calls>,
    without_runs: bool,
}

impl CallCounter {
    /// Creates a counter that removes the runs from claims, as for claimers that had them cached.
    pub fn without_runs() -> Self {
        CallCounter { without_runs: true, ..CallCounter::default() }
    }

    /// Returns the counts since the last call.
    pub fn take(&self) -> Calls {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl StoreInterceptor for CallCounter {
    async fn before(&self, method: &'static str) -> Result<(), StoreError> {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(method).or_default() += 1;
        Ok(())
    }

    async fn claim(&self, store: &dyn Store, request: &ClaimRequest) -> Result<ClaimBatch, StoreError> {
        let mut claims = store.claim(request).await?;
        if self.without_runs {
            claims.claims.iter_mut().for_each(|claim| claim.state = Ok(None));
        }
        Ok(claims)
    }
}
