//! The part of the runner for executors whose queue is outside the store: the routes that work takes, the due work,
//! and claiming what the queue announced.
//!
//! Knows no queue. A queue's announcement is a hint: everything here asks the store.

use std::collections::{BTreeMap, BTreeSet};

use super::claim::HeldClaim;
use super::outcome::tried;
use super::shared::Runner;
use crate::definition::{Fingerprint, Priority};
use crate::dispatch::IntentKey;
use crate::event::IgnoreReason;
use crate::id::RunId;
use crate::name::QueueName;
use crate::port::{DatabaseIdentity, DueIntent, DuePage, DueRequest, StoreError};
use crate::run::RunSnapshot;
use crate::time::Timestamp;

/// A route that work takes to this process: a queue and priority, for a version that is registered here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Route {
    /// The queue.
    pub queue: QueueName,
    /// The priority within the queue.
    pub priority: Priority,
    /// The version of the workflow.
    pub fingerprint: Fingerprint,
}

impl Route {
    /// Creates a route.
    pub fn new(queue: QueueName, priority: Priority, fingerprint: Fingerprint) -> Self {
        Route { queue, priority, fingerprint }
    }
}

impl Runner {
    /// Returns every route to the [served queues](Runner::queues), for the versions registered here, in order.
    /// Expired leases add none: their intents keep the routes of their work.
    pub fn routes(&self) -> Vec<Route> {
        let registry = &self.runtime.registry;
        let versions = registry.fingerprints().into_iter().filter_map(|fingerprint| registry.version(&fingerprint));
        let mut routes = BTreeSet::new();
        for definition in versions.map(|workflow| workflow.definition()) {
            let steps = definition.steps().iter().map(|step| (step.queue.clone(), step.priority));
            let compensation = (QueueName::default(), Priority::Normal);
            let ways = steps.chain([compensation]).filter(|(queue, _)| self.queues.contains(queue));
            routes.extend(ways.map(|(queue, priority)| Route::new(queue, priority, *definition.fingerprint())));
        }
        routes.into_iter().collect()
    }

    /// Returns the identity of the database that it works on.
    pub fn database(&self) -> DatabaseIdentity {
        self.runtime.database.clone()
    }

    /// Lists due intents of the served queues, for the versions registered here, without claiming them: those that
    /// became due after `since` and come after the intent `after`, up to `limit`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed in any case.
    pub async fn list_due(
        &self,
        since: Option<Timestamp>,
        after: Option<DueIntent>,
        limit: usize,
    ) -> Result<DuePage, StoreError> {
        let fingerprints = self.runtime.registry.fingerprints();
        let request = DueRequest::new(self.queues.to_vec(), fingerprints, limit).since(since).after(after);
        self.runtime.store.list_due(&request).await
    }

    /// Returns whether steps of several priorities are registered, so that committed work may come before what the
    /// workers have.
    pub fn has_classes(&self) -> bool {
        self.runtime.urgencies.mixed()
    }

    /// Checks whether an intent in the served queues comes before what busy workers would continue with: one of a
    /// higher [priority](Priority), or one with an expired lease. If so, they continue with no successor of a lower
    /// priority until the next claim, so that one of them is soon free. For executors to call from time to time while
    /// all workers are busy; what this process itself commits is known without it.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed in any case.
    pub async fn look_for_urgent(&self) -> Result<(), StoreError> {
        self.urgency.saw(self.list_due(None, None, 1).await?.intents.first());
        Ok(())
    }

    /// Returns whether busy workers currently give way to another intent. If so, check from time to time whether it
    /// still waits.
    pub fn gives_way(&self) -> bool {
        self.urgency.lowest() != Some(Priority::Low)
    }

    /// Claims the given intents if they are due; [`deliver`](Runner::deliver) or [`release`](Runner::release) each
    /// claim. Emits an event for each intent that cannot be claimed: duplicate, stale and late announcements change
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was claimed, or the claims expire with their lease.
    pub async fn claim_keys(&self, keys: &[IntentKey]) -> Result<Vec<HeldClaim>, StoreError> {
        self.urgency.forget();
        let answers = self.try_claim_keys(keys).await?;
        let mut claims = Vec::with_capacity(answers.len());
        let mut ignored = Vec::new();
        for (key, answer) in keys.iter().zip(answers) {
            match answer {
                Ok(claim) => claims.push(claim),
                Err(reason) => ignored.push((key, reason)),
            }
        }
        self.emit_ignored(&ignored).await;
        Ok(claims)
    }

    /// Emits an event for each ignored announcement whose run can be read: an event carries more than a key.
    async fn emit_ignored(&self, ignored: &[(&IntentKey, IgnoreReason)]) {
        let mut runs: BTreeMap<RunId, Vec<(&IntentKey, IgnoreReason)>> = BTreeMap::new();
        for (key, reason) in ignored {
            runs.entry(key.run_id).or_default().push((*key, *reason));
        }
        let now = self.runtime.clock.now();
        for (id, ignored) in runs {
            let of = |key: &IntentKey, state: &RunSnapshot| tried(state, key.target.step(), now);
            let see = |state: &RunSnapshot| {
                (state.run.clone(), ignored.iter().map(|(key, _)| of(key, state)).collect::<Vec<_>>())
            };
            let Ok(Some((run, tried))) = self.read_run(id, see).await else { continue };
            for ((key, reason), tried) in ignored.iter().zip(tried) {
                self.ignore(&run, key.target.step(), tried, *reason);
            }
        }
    }

    /// Reads a run from the cache if it is there, and otherwise from the store: a wide run may be cached already.
    async fn read_run<T>(&self, id: RunId, see: impl Fn(&RunSnapshot) -> T) -> Result<Option<T>, StoreError> {
        let cached = self.runtime.run_cache.run(id);
        if let Some(seen) = cached.read(self.runtime.turn_timeout(), &see).await {
            return Ok(Some(seen));
        }
        Ok(self.runtime.store.load(id).await?.as_ref().map(see))
    }
}
