//! Stranded runs: finding runs of versions that this process does not have, and adopting them where the host allows
//! it.

use super::commit::DecideError;
use super::{Call, RetryPolicy, Runtime};
use crate::engine::{self, AdoptError};
use crate::id::RunId;
use crate::port::{RunPage, StoreError, StrandedRequest};
use crate::run::{Run, RunSummary};

/// The maximum number of stranded runs per page.
const PAGE: usize = 100;

impl Runtime {
    /// Returns a page of stranded runs: their work has been due for `stranded_after`, and only a version that is not
    /// registered here can continue them.
    pub(crate) async fn stranded(&self, after: Option<RunId>) -> Result<Vec<RunId>, StoreError> {
        self.store.stranded(&self.stranded_request().after(after)).await
    }

    /// Adopts a delivered run if it is stranded.
    pub(crate) async fn adopt_if_stranded(&self, run: &Run) -> Result<bool, StoreError> {
        if self.registry.adopter(&run.workflow).is_none() {
            return Ok(false);
        }
        let is_stranded = !self.store.stranded(&self.stranded_request().run(run.id)).await?.is_empty();
        Ok(is_stranded && self.adopt(run).await?)
    }

    fn stranded_request(&self) -> StrandedRequest {
        StrandedRequest::new(self.registry.fingerprints(), self.config.stranded_after, PAGE)
    }

    /// Returns the stranded runs themselves, oldest first.
    pub(crate) async fn stranded_runs(&self, after: Option<RunId>) -> Result<RunPage, StoreError> {
        let ids = self.stranded(after).await?;
        let next = ids.last().copied().filter(|_| ids.len() == PAGE);
        let mut runs = Vec::with_capacity(ids.len());
        for id in ids {
            match self.store.load(id).await {
                Ok(state) => runs.extend(state.map(|state| RunSummary::from(&state.run))),
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(target: "squidmesh", run_id = %id, %error, "a stranded run cannot be read and is not listed");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(RunPage { runs, next })
    }

    /// Pins a run to the newest registered version of its workflow, if the host allows it and that version can adopt
    /// it. Returns whether the run is now pinned to a registered version.
    pub(crate) async fn adopt(&self, run: &Run) -> Result<bool, StoreError> {
        let Some(adopter) = self.registry.adopter(&run.workflow) else { return Ok(false) };
        let call = Call::new(self.config.call_timeout);
        let adopted = self
            .decide(run.id, RetryPolicy::fail_fast(&call), |work| {
                if self.registry.version(&work.run().fingerprint).is_some() {
                    return Ok(()); // adopted by another process meanwhile
                }
                engine::adopt(work, adopter.definition(), self)
            })
            .await;
        match adopted {
            Ok(_) => Ok(true),
            Err(DecideError::Store(error)) => Err(error),
            Err(DecideError::Refused(AdoptError::Dispatch(error))) => {
                tracing::error!(target: "squidmesh", run_id = %run.id, %error, "a run could not be adopted");
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }
}
