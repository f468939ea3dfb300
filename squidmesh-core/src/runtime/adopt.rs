//! Runs of versions that this process does not have: finding those whose work lies, and adopting them where the host allows it.

use super::Runtime;
use super::decide::{DecideError, Persistence};
use crate::engine::{self, AdoptError};
use crate::{Run, RunId, RunPage, StoreError, StrandedRequest};

/// The most stranded runs that are looked at together.
const PAGE: usize = 100;

impl Runtime {
    /// A page of the runs whose work has been due for long, and that only a version that is not registered here can carry on.
    pub(crate) async fn stranded(&self, after: Option<RunId>) -> Result<Vec<RunId>, StoreError> {
        self.store.stranded(&self.stranded_request().after(after)).await
    }

    /// Adopts a run that was delivered, if it is one of them.
    pub(crate) async fn adopt_if_stranded(&self, run: &Run) -> Result<bool, StoreError> {
        if self.registry.adopter(&run.workflow).is_none() {
            return Ok(false);
        }
        let lies = !self.store.stranded(&self.stranded_request().run(run.id)).await?.is_empty();
        Ok(lies && self.adopt(run).await?)
    }

    fn stranded_request(&self) -> StrandedRequest {
        StrandedRequest::new(self.registry.fingerprints(), self.config.stranded_after, PAGE)
    }

    /// The stranded runs themselves, oldest first.
    pub(super) async fn waiting_for_definition(&self, after: Option<RunId>) -> Result<RunPage, StoreError> {
        let ids = self.stranded(after).await?;
        let next = ids.last().copied().filter(|_| ids.len() == PAGE);
        let mut runs = Vec::with_capacity(ids.len());
        for id in ids {
            match self.store.load(id).await {
                Ok(state) => runs.extend(state.map(|state| state.run)),
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(target: "squidmesh", run_id = %id, %error, "a stranded run cannot be read and is left out of a list");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(RunPage::new(runs, next))
    }

    /// Pins a run to the newest registered version of its workflow, if the host allows it and that version can take it over.
    /// Tells whether it is pinned to a registered version now.
    pub(crate) async fn adopt(&self, run: &Run) -> Result<bool, StoreError> {
        let Some(adopter) = self.registry.adopter(&run.workflow) else { return Ok(false) };
        let adopted = self
            .decide(run.id, Persistence::Caller, |work| {
                if self.registry.version(&work.run().fingerprint).is_some() {
                    return Ok(()); // by somebody else, meanwhile
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
