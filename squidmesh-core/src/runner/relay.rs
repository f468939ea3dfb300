//! What an executor needs whose queue is outside the store: which work comes its way, what of it is due, and to take what the
//! queue announced.
//!
//! Knows no queue. What a queue says is a hint: everything here asks the store.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::Runner;
use crate::{
    Claim, Due, DueIntent, DueRequest, Fingerprint, IntentKey, Priority, QueueName, Run, RunId, SkipReason, StoreError,
    Timestamp,
};

/// A way that work of this process can come: a class of a queue, for a version that is registered here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Route {
    /// The queue.
    pub queue: QueueName,
    /// The class within the queue.
    pub priority: Priority,
    /// The version of the workflow.
    pub fingerprint: Fingerprint,
}

impl Route {
    /// A way for work of a version.
    pub fn new(queue: QueueName, priority: Priority, fingerprint: Fingerprint) -> Self {
        Route { queue, priority, fingerprint }
    }
}

impl Runner {
    /// Every way that work can come to the [served queues](Runner::queues), for the versions registered here, in order. Leases
    /// that run out add none: they come the way that their work came.
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

    /// Looks at what is due in the served queues, for the versions registered here, without claiming it: what fell due after
    /// `since` and comes after the intent `after`, up to `limit`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed in any case.
    pub async fn due(
        &self,
        since: Option<Timestamp>,
        after: Option<DueIntent>,
        limit: usize,
    ) -> Result<Due, StoreError> {
        let fingerprints = self.runtime.registry.fingerprints();
        let request = DueRequest::new(self.queues.to_vec(), fingerprints, limit).since(since).after(after);
        self.runtime.store.due(&request).await
    }

    /// Claims what a queue announced, as far as it is due: [`deliver`](Runner::deliver) or [`release`](Runner::release) each. What
    /// is not to be had is told as skipped and left out: duplicate, stale and late announcements are no-ops.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was claimed, or the claims run out with their lease.
    pub async fn take(&self, keys: &[IntentKey]) -> Result<Vec<Claim>, StoreError> {
        let token = self.runtime.entropy.lease_token();
        let answers = self.runtime.store.claim_keys(keys, token, self.runtime.config.lease).await?;
        let mut claims = Vec::with_capacity(answers.len());
        let mut skipped = Vec::new();
        for (key, answer) in keys.iter().zip(answers) {
            match answer.claimed() {
                Ok(claim) => claims.push(*claim),
                Err(reason) => skipped.push((key, reason)),
            }
        }
        self.tell_skipped(&skipped).await;
        Ok(claims)
    }

    /// Tells of announcements that were no-ops, as far as their runs can be read: an event names more than a key does.
    async fn tell_skipped(&self, skipped: &[(&IntentKey, SkipReason)]) {
        let mut runs: HashMap<RunId, Option<Run>> = HashMap::new();
        for (key, reason) in skipped {
            let run = match runs.entry(key.run_id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let state = self.runtime.store.load(key.run_id).await;
                    unknown.insert(state.ok().flatten().map(|state| state.run))
                }
            };
            if let Some(run) = run {
                self.skipped(run, key.target.step(), *reason);
            }
        }
    }
}
