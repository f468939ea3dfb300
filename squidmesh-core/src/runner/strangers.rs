//! Looking after runs of versions that nobody seems to have: they are adopted where the host allows it, and otherwise lie
//! where they are until a process has their version.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Runner;
use crate::{DispatchTarget, Fingerprint, Run, RunId, RunStatus, SingleClaim, StoreError};

/// How often is looked at most, however short the time after which work counts as stranded.
const SHORTEST: Duration = Duration::from_millis(50);

/// How far the look has come, and of what was told.
#[derive(Default)]
pub(super) struct Look {
    after: Mutex<Option<RunId>>,
    told: Mutex<HashSet<Fingerprint>>,
}

impl Runner {
    /// Takes one look at stranded runs: those with work that has been due for
    /// [`stranded_after`](crate::Config::stranded_after) and that only a version can carry on which is not registered here. Each
    /// is adopted if the [host allows it](crate::SquidmeshBuilder::adopt) and the newest version can; a run that is being
    /// cancelled, which needs no version, is ended. Tells how many were adopted.
    ///
    /// A look is bounded to a page of runs; the next goes on behind it, and begins anew at the end. Workers do this by
    /// themselves.
    ///
    /// # Errors
    /// [`StoreError`]; the next look goes on.
    pub async fn adopt_stranded(&self) -> Result<usize, StoreError> {
        let after = *lock(&self.look.after);
        let page = self.runtime.stranded(after).await?;
        *lock(&self.look.after) = page.last().copied();
        let mut adopted = 0;
        for id in page {
            match self.look_after(id).await {
                Ok(taken) => adopted += usize::from(taken),
                Err(error @ StoreError::Corrupt { .. }) => tell_unreadable(id, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(adopted)
    }

    /// Adopts a stranded run or ends it, if either is possible. Tells whether it was adopted.
    async fn look_after(&self, id: RunId) -> Result<bool, StoreError> {
        let Some(state) = self.runtime.store.load(id).await? else { return Ok(false) };
        if state.run.status == RunStatus::Cancelling {
            self.end_cancelled(id).await?;
            return Ok(false);
        }
        let adopted = self.runtime.adopt(&state.run).await?;
        if !adopted {
            self.tell_stranded(&state.run);
        }
        Ok(adopted)
    }

    /// Looks at stranded runs from time to time, for as long as this is polled.
    pub(crate) async fn keep_adopting(&self) {
        let pause = self.runtime.config.stranded_after.max(SHORTEST);
        loop {
            self.runtime.clock.sleep(pause).await;
            if self.draining.is_cancelled() {
                continue;
            }
            if let Err(error) = self.adopt_stranded().await {
                tracing::warn!(target: "squidmesh", %error, "stranded runs could not be looked at; tried again later");
            }
        }
    }

    /// Whether the run's version is registered here; it need not be if no step of it begins any more.
    pub(super) fn may_drive(&self, run: &Run) -> bool {
        let ends = matches!(run.status, RunStatus::Cancelling | RunStatus::Completed | RunStatus::Cancelled);
        ends || self.runtime.registry.version(&run.fingerprint).is_some()
    }

    /// Ends a run whose cancellation waits for a worker that is gone.
    async fn end_cancelled(&self, run: RunId) -> Result<(), StoreError> {
        for intent in self.runtime.store.history(run).await?.intents {
            if intent.key.target == DispatchTarget::Compensation {
                continue;
            }
            let token = self.runtime.entropy.lease_token();
            let lease = self.runtime.config.lease;
            for claim in self.runtime.store.claim_keys(std::slice::from_ref(&intent.key), token, lease).await? {
                if let SingleClaim::Claimed(claim) = claim {
                    self.deliver(*claim).await;
                }
            }
        }
        Ok(())
    }

    /// Says once for each version that runs of it wait.
    fn tell_stranded(&self, run: &Run) {
        if lock(&self.look.told).insert(run.fingerprint) {
            tracing::warn!(
                target: "squidmesh",
                run_id = %run.id,
                workflow = %run.workflow,
                version = %run.fingerprint,
                "runs wait for a version of their workflow that no process seems to have; they are listed as waiting for their definition"
            );
        }
    }
}

/// A run that cannot be read keeps no other from being looked after.
fn tell_unreadable(run_id: RunId, error: &StoreError) {
    tracing::error!(target: "squidmesh", %run_id, %error, "a stranded run cannot be read");
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
