//! The state that every part of the runtime shares.

use std::sync::Arc;

use super::Config;
use super::commit::announcement::Announcement;
use super::commit::run_cache::RunCache;
use super::commit::turn::TurnTimeout;
use super::contact::Contact;
use super::leases::Leases;
use super::offers::Offers;
use super::registry::{Registry, Scheduled};
use super::urgency::Urgencies;
use crate::cage;
use crate::definition::{Definition, Fingerprint};
use crate::dispatch::{Job, JobMetadata, Refusal};
use crate::engine::{DecisionInputs, DescribeJobs};
use crate::event::EventKind;
use crate::inspect::{Redaction, redacted};
use crate::port::{Clock, DatabaseIdentity, Entropy, EventSink, Executor, Store, StoreError, StoreSession};
use crate::run::RunStatus;
use crate::schedule::TriggerEvent;

/// The store, the executor and the registered workflows of one process.
pub(crate) struct Runtime {
    pub(crate) store: Arc<dyn Store>,
    /// The identity of the store's database.
    pub(crate) database: DatabaseIdentity,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) registry: Registry,
    /// The cron triggers of the newest registered versions.
    pub(crate) schedules: Vec<Scheduled>,
    /// Notified when this process has changed a trigger.
    pub(crate) trigger_changed: event_listener::Event,
    pub(crate) config: Config,
    pub(crate) run_cache: RunCache,
    pub(crate) urgencies: Urgencies,
    /// The leases of everything that is executed here.
    pub(crate) leases: Arc<Leases>,
    /// The idle workers for which changes may begin steps.
    pub(crate) offers: Offers,
    pub(crate) contact: Contact,
    pub(crate) sinks: Vec<Arc<dyn EventSink>>,
    /// Decides which of the host's texts the sinks receive.
    pub(crate) redaction: Arc<dyn Redaction>,
}

impl Runtime {
    /// Returns the time and fresh randomness for one decision.
    pub(crate) fn inputs(&self) -> DecisionInputs {
        DecisionInputs { now: self.clock.now(), random: self.entropy.fraction(), token: self.entropy.commit_token() }
    }

    /// Returns how long to wait for a turn at a run that is not released: the timeout of a host's call, which is
    /// longer than a store's own.
    pub(crate) fn turn_timeout(&self) -> TurnTimeout<'_> {
        TurnTimeout { clock: &*self.clock, after: self.config.call_timeout }
    }

    /// Returns a version of a workflow that is registered here or stored.
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

    /// Emits the events and announces the intents of a commit. A panic in a sink or in the executor is logged and
    /// affects nothing: the facts are committed, and the store still has every intent that is not announced.
    pub(crate) fn announce(&self, Announcement { events, intents }: &Announcement) {
        for event in events {
            if let EventKind::RunTransition { to: RunStatus::Cancelling, .. } = event.kind {
                self.leases.run_cancelled(event.run_id);
            }
            let shown = redacted(event, &*self.redaction);
            for sink in &self.sinks {
                if cage::call(|| sink.emit(&shown)).is_err() {
                    tracing::error!(event = event.kind.name(), "an event sink panicked");
                }
            }
        }
        self.urgencies.committed(intents);
        self.offers.committed(intents);
        if !intents.is_empty() && cage::call(|| self.executor.publish(intents)).is_err() {
            tracing::error!("the executor panicked in `publish`; its workers find the new intents in the store");
        }
        if intents.iter().any(|intent| intent.lease.is_none()) {
            self.store.notify_work();
        }
    }

    /// Emits an event about a cron trigger. A panic in a sink is logged.
    pub(crate) fn announce_trigger(&self, event: &TriggerEvent) {
        for sink in &self.sinks {
            if cage::call(|| sink.emit_trigger(event)).is_err() {
                tracing::error!(event = event.kind.name(), "an event sink panicked");
            }
        }
    }
}

/// The executor's part in a decision: a panic in it counts as a refusal.
impl DescribeJobs for Runtime {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        cage::call(|| self.executor.describe(jobs))
            .unwrap_or_else(|_| Err(Refusal::Defective { reason: "it panicked while it described jobs".to_owned() }))
    }
}
