//! Assembling a runtime: store, executor, workflows, settings.

use std::sync::Arc;

use super::Squidmesh;
use crate::cage;
use crate::inspect::{Redaction, ShowNothing};
use crate::port::{DatabaseIdentity, Entropy, EventSink, Executor, RandomEntropy, Store, TransactionType};
use crate::runtime::commit::run_cache::RunCache;
use crate::runtime::contact::Contact;
use crate::runtime::leases::Leases;
use crate::runtime::offers::Offers;
use crate::runtime::registry::Registry;
use crate::runtime::urgency::Urgencies;
use crate::runtime::{Config, ConfigError, Runtime};
use crate::tracing_sink::TracingSink;
use crate::workflow::Workflow;

/// Builds a [`Squidmesh`].
#[must_use = "call `build`"]
pub struct SquidmeshBuilder {
    store: Arc<dyn Store>,
    executor: Option<Arc<dyn Executor>>,
    entropy: Arc<dyn Entropy>,
    workflows: Vec<Workflow>,
    adopting: Vec<String>,
    sinks: Vec<Arc<dyn EventSink>>,
    redaction: Arc<dyn Redaction>,
    config: Config,
}

impl Squidmesh {
    /// Returns a builder for a runtime over a store.
    pub fn builder(store: impl Store) -> SquidmeshBuilder {
        SquidmeshBuilder {
            store: Arc::new(store),
            executor: None,
            entropy: Arc::new(RandomEntropy),
            workflows: Vec::new(),
            adopting: Vec::new(),
            sinks: vec![Arc::new(TracingSink)],
            redaction: Arc::new(ShowNothing),
            config: Config::default(),
        }
    }
}

impl SquidmeshBuilder {
    /// Sets the executor that delivers the work. Also accepts an `Arc` of one, so that a test can keep a handle.
    pub fn executor(mut self, executor: impl Executor) -> Self {
        self.executor = Some(Arc::new(executor));
        self
    }

    /// Registers a workflow. New runs start on the version of a workflow that was registered last.
    pub fn workflow(mut self, workflow: Workflow) -> Self {
        self.workflows.push(workflow);
        self
    }

    /// Allows runs of this workflow to be *adopted*: a run of a version that no process claims any more is pinned to
    /// the version registered last here, if that version has what the run needs, and continues in it. Otherwise such
    /// a run waits until a process registers its version.
    ///
    /// A version has what a run needs if it is of the same shape, has every step that the run has reached or waits
    /// for with the same kind, leads from the run's position to steps that it has not reached, and can compensate
    /// what may have to be compensated. The input of scheduled steps stays unchanged.
    /// [`compare_with_live_runs`](crate::deploy::compare_with_live_runs) reports before a deploy which runs could be adopted.
    ///
    /// A run is adopted when its work has been due for [`Config::stranded_after`] without any process with its
    /// version claiming it, so that the processes of a rolling deploy leave each other's runs alone. An audit event
    /// `adopted` records the old and the new version.
    pub fn adopt(mut self, workflow: impl AsRef<str>) -> Self {
        self.adopting.push(workflow.as_ref().to_owned());
        self
    }

    /// Adds a sink for events, beside [`TracingSink`](crate::TracingSink).
    pub fn event_sink(mut self, sink: impl EventSink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Sets which of the host's own texts (messages of errors and panics, details, actors) may appear in events and
    /// logs. Without this, none do: see [`Redaction`]. Stored and inspected data stays unchanged.
    pub fn redaction(mut self, redaction: impl Redaction) -> Self {
        self.redaction = Arc::new(redaction);
        self
    }

    /// Changes the settings: `.configure(|config| config.lease = secs(60))`.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets the source of ids and jitter; for simulations that must repeat exactly.
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Checks the settings and builds the runtime.
    ///
    /// # Errors
    /// [`ConfigError`] states what is missing or invalid.
    pub fn build(self) -> Result<Squidmesh, ConfigError> {
        self.config.check()?;
        let executor = self.executor.ok_or(ConfigError::MissingExecutor)?;
        self.store.bound_calls(self.config.lease).map_err(|reason| ConfigError::StoreTooSlow { reason })?;
        cage::call(|| executor.check()).map_err(ConfigError::DefectiveExecutor)??;
        let mut registry = Registry::default();
        for workflow in self.workflows {
            check_transactions(&workflow, self.store.transaction_type())?;
            registry.add(workflow)?;
        }
        for workflow in self.adopting {
            registry.adopt(&workflow)?;
        }
        let database = DatabaseIdentity::new(self.store.clone());
        cage::call(|| executor.attach(database.clone())).map_err(ConfigError::DefectiveExecutor)?;
        Ok(Squidmesh::from_runtime(Arc::new(Runtime {
            clock: executor.clock(),
            store: self.store,
            database,
            executor,
            entropy: self.entropy,
            schedules: registry.schedules(),
            urgencies: Urgencies::new(&registry),
            offers: Offers::default(),
            trigger_changed: event_listener::Event::new(),
            registry,
            contact: Contact::new(self.config.lease, self.config.heartbeat),
            leases: Arc::new(Leases::default()),
            config: self.config,
            run_cache: RunCache::default(),
            sinks: self.sinks,
            redaction: self.redaction,
        })))
    }
}

/// Checks that the store lends the transactions that the steps of a workflow need.
fn check_transactions(workflow: &Workflow, lent: Option<TransactionType>) -> Result<(), ConfigError> {
    for step in workflow.definition().steps() {
        let Some(handler) = workflow.transactional_handler(step.name.as_str()) else { continue };
        let (workflow, step) = (workflow.definition().name().clone(), step.name.clone());
        let needed = handler.transaction_type();
        match lent {
            Some(lent) if lent == needed => {}
            Some(lent) => {
                let (handler, store) = (needed.name(), lent.name());
                return Err(ConfigError::TransactionMismatch { workflow, step, handler, store });
            }
            None => return Err(ConfigError::TransactionsUnsupported { workflow, step }),
        }
    }
    Ok(())
}
