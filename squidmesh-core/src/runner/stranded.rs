//! Stranded runs, whose version no live process has registered: they are adopted where the host allows it, and
//! otherwise wait until a process registers their version.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Runner;
use crate::dispatch::DispatchTarget;
use crate::id::RunId;
use crate::port::StoreError;
use crate::run::RunStatus;

/// The minimum delay between checks, however short the time after which work counts as stranded.
const MIN_DELAY: Duration = Duration::from_millis(50);

impl Runner {
    /// Checks one page of stranded runs: those with work that has been due for
    /// [`stranded_after`](crate::Config::stranded_after) and that only a version not registered here can continue.
    /// Adopts each if the [host allows it](crate::command::SquidmeshBuilder::adopt) and the newest version can; ends a run
    /// that is being cancelled, which needs no version. Returns how many were adopted.
    ///
    /// The next call continues after this page, and starts again from the beginning at the end. Workers call this
    /// themselves.
    ///
    /// # Errors
    /// [`StoreError`]; the next call continues.
    pub async fn adopt_stranded(&self) -> Result<usize, StoreError> {
        let after = self.stranded.after();
        let page = self.runtime.stranded(after).await?;
        self.stranded.advance(page.last().copied());
        let mut adopted = 0;
        for id in page {
            match self.adopt_or_end(id).await {
                Ok(taken) => adopted += usize::from(taken),
                // The others are still checked.
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(target: "squidmesh", run_id = %id, %error, "a stranded run cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(adopted)
    }

    /// Adopts a stranded run or ends it, if either is possible. Returns whether it was adopted.
    async fn adopt_or_end(&self, id: RunId) -> Result<bool, StoreError> {
        let Some(state) = self.runtime.store.load(id).await? else { return Ok(false) };
        if state.run.status == RunStatus::Cancelling {
            let cached = self.runtime.run_cache.run(id);
            cached.insert_if_newer(Arc::new(state));
            self.end_cancelled(id).await?;
            return Ok(false);
        }
        let adopted = self.runtime.adopt(&state.run).await?;
        // Logged once per version.
        if !adopted && self.stranded.is_new(state.run.fingerprint) {
            tracing::warn!(
                target: "squidmesh",
                run_id = %id,
                workflow = %state.run.workflow,
                version = %state.run.fingerprint,
                "stranded runs: no live process has registered this workflow version"
            );
        }
        Ok(adopted)
    }

    /// Checks stranded runs from time to time, for as long as this is polled.
    pub(crate) async fn run_adoption(&self) {
        let pause = self.runtime.config.stranded_after.max(MIN_DELAY);
        loop {
            self.runtime.clock.sleep(pause).await;
            if self.draining.is_cancelled() {
                continue;
            }
            if let Err(error) = self.adopt_stranded().await {
                tracing::warn!(target: "squidmesh", %error, "stranded runs could not be checked; the check is retried");
            }
        }
    }

    /// Ends a run whose cancellation waits for a dead worker.
    async fn end_cancelled(&self, run: RunId) -> Result<(), StoreError> {
        for intent in self.runtime.store.history(run).await?.intents {
            if intent.key.target == DispatchTarget::Compensation {
                continue;
            }
            for claim in self.try_claim_keys(std::slice::from_ref(&intent.key)).await?.into_iter().flatten() {
                self.deliver(claim).await;
            }
        }
        Ok(())
    }
}
