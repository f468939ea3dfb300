//! What every part of the runtime shares.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use super::hot::HotRuns;
use super::registry::{Registry, Scheduled};
use super::{Config, TracingSink};
use crate::engine::{DescribeJobs, Moment};
use crate::redaction::redacted;
use crate::{
    Clock, Definition, Entropy, Event, EventSink, Executor, Fingerprint, Intent, Job, JobMetadata, Redaction, Refusal,
    Store, StoreError, StoreSession,
};

/// The store, the executor and the registered workflows of one process.
pub(crate) struct Runtime {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) registry: Registry,
    /// The cron triggers of the newest registered versions.
    pub(crate) schedules: Vec<Scheduled>,
    /// Told when a trigger was changed by this process.
    pub(crate) trigger_changed: event_listener::Event,
    pub(crate) config: Config,
    pub(crate) hot: HotRuns,
    pub(super) sinks: Vec<Arc<dyn EventSink>>,
    /// What of the host's texts the sinks are told.
    pub(super) redaction: Arc<dyn Redaction>,
    /// The versions that are known to be stored, so that a start need not store them again.
    pub(super) stored: Mutex<HashSet<Fingerprint>>,
}

impl Runtime {
    /// The time and fresh randomness for one decision.
    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), random: self.entropy.fraction(), token: self.entropy.commit_token() }
    }

    /// A version of a workflow: registered here, or stored by a process that had it.
    pub(crate) async fn definition(
        &self,
        session: &dyn StoreSession,
        fingerprint: &Fingerprint,
    ) -> Result<Option<Arc<Definition>>, StoreError> {
        match self.registry.version(fingerprint) {
            Some(workflow) => Ok(Some(workflow.definition().clone())),
            None => Ok(session.definition(fingerprint).await?.map(Arc::new)),
        }
    }

    /// Whether a version is known to be stored.
    pub(super) fn is_stored(&self, fingerprint: &Fingerprint) -> bool {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).contains(fingerprint)
    }

    /// Remembers that a version is stored.
    pub(super) fn remember_stored(&self, fingerprint: &Fingerprint) {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).insert(*fingerprint);
    }

    /// Tells the host and the executor of what was committed. A panic in either is logged and harms nothing: the facts are
    /// committed, and what is not announced is found in the store.
    pub(crate) fn announce(&self, events: &[Event], intents: &[Intent]) {
        for event in events {
            let Ok(told) = catch_unwind(AssertUnwindSafe(|| redacted(event, &*self.redaction))) else {
                tracing::error!(event = event.kind.name(), "the redaction panicked, and the event is not told");
                continue;
            };
            for sink in &self.sinks {
                if catch_unwind(AssertUnwindSafe(|| sink.emit(&told))).is_err() {
                    tracing::error!(event = event.kind.name(), "an event sink panicked");
                }
            }
        }
        if !intents.is_empty() && catch_unwind(AssertUnwindSafe(|| self.executor.publish(intents))).is_err() {
            tracing::error!("the executor panicked while it was told of new intents; they are found in the store");
        }
        if intents.iter().any(|intent| intent.lease.is_none()) {
            self.store.tell_of_work();
        }
    }

    pub(super) fn default_sinks() -> Vec<Arc<dyn EventSink>> {
        vec![Arc::new(TracingSink)]
    }
}

/// The executor's part in a decision: a panic in it is a refusal.
impl DescribeJobs for Runtime {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        catch_unwind(AssertUnwindSafe(|| self.executor.describe(jobs)))
            .unwrap_or_else(|_| Err(Refusal::Defective { reason: "it panicked while it described jobs".to_owned() }))
    }
}
