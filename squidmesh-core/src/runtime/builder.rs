//! Assembling a runtime: store, executor, workflows, settings.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::hot::HotRuns;
use super::registry::Registry;
use super::{Config, Runtime, Squidmesh};
use crate::{
    Entropy, EventSink, Executor, Fingerprint, RandomEntropy, Redaction, ShowNothing, StepName, Store, TransactionType,
    Workflow, WorkflowName,
};

/// Why a runtime was not assembled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No executor was given.
    #[error("no executor was given: call `.executor(…)` on the builder")]
    MissingExecutor,
    /// The same version of a workflow was registered twice.
    #[error("workflow {workflow} was registered twice in the same version ({fingerprint})")]
    DuplicateWorkflow {
        /// The workflow.
        workflow: WorkflowName,
        /// The version.
        fingerprint: Fingerprint,
    },
    /// A step needs transactions, and the store lends none.
    #[error(
        "step {step} of workflow {workflow} is transactional, and this store cannot lend its transactions to steps"
    )]
    TransactionsUnsupported {
        /// The workflow.
        workflow: WorkflowName,
        /// The step.
        step: StepName,
    },
    /// The handler of a transactional step needs transactions of another type than those of the store.
    #[error(
        "the handler of step {step} of workflow {workflow} takes a transaction of type {handler}, but this store lends {store}"
    )]
    TransactionMismatch {
        /// The workflow.
        workflow: WorkflowName,
        /// The step.
        step: StepName,
        /// The type that the handler takes.
        handler: &'static str,
        /// The type that the store lends.
        store: &'static str,
    },
    /// Runs of a workflow were to be adopted by a version of it, and none is registered.
    #[error("runs of workflow {workflow:?} cannot be adopted: no version of it is registered")]
    NothingToAdopt {
        /// As asked for.
        workflow: String,
    },
    /// The heartbeat could not keep a lease alive.
    #[error("the heartbeat ({heartbeat:?}) must be more than zero and at most half of the lease ({lease:?})")]
    Heartbeat {
        /// As given.
        heartbeat: Duration,
        /// As given.
        lease: Duration,
    },
    /// Runs of other processes would be taken to be stranded at once.
    #[error("work of an unknown version must be left to others for some time: stranded_after is zero")]
    StrandedAtOnce,
    /// The crash limit would fail every step at once.
    #[error("the crash limit must be at least 1")]
    CrashLimit,
}

/// Assembles a [`Squidmesh`].
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

impl SquidmeshBuilder {
    pub(super) fn new(store: impl Store) -> Self {
        SquidmeshBuilder {
            store: Arc::new(store),
            executor: None,
            entropy: Arc::new(RandomEntropy),
            workflows: Vec::new(),
            adopting: Vec::new(),
            sinks: Runtime::default_sinks(),
            redaction: Arc::new(ShowNothing),
            config: Config::default(),
        }
    }

    /// The executor that delivers the work. An `Arc` of one is taken too, so that a test can keep a handle.
    pub fn executor(mut self, executor: impl Executor) -> Self {
        self.executor = Some(Arc::new(executor));
        self
    }

    /// Registers a workflow. Of several versions of one name, the last registered is the one that new runs start on.
    pub fn workflow(mut self, workflow: Workflow) -> Self {
        self.workflows.push(workflow);
        self
    }

    /// Lets runs of this workflow be *adopted*: a run of a version that no process takes up any more is pinned to the version
    /// registered last here, if that one has what the run needs, and goes on in it. Without this, such a run waits until a process has
    /// its version.
    ///
    /// A version has what a run needs if it is of the same shape, has every step that the run has reached or waits for with the
    /// same kind, leads on from where the run stands to steps that it has not reached, and can compensate what may have to be.
    /// What scheduled steps were given stays as it is. [`compare_with_live_runs`](crate::compare_with_live_runs) tells
    /// before a deploy which runs could be adopted.
    ///
    /// A run is adopted when its work has been due for [`Config::stranded_after`] and nobody who has its version took it,
    /// so that the processes of a rolling deploy leave each other's runs alone; an audit event `adopted` says from where and to where.
    pub fn adopt(mut self, workflow: impl Into<String>) -> Self {
        self.adopting.push(workflow.into());
        self
    }

    /// Adds a receiver of events, beside [`TracingSink`](crate::TracingSink).
    pub fn event_sink(mut self, sink: impl EventSink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Says what of the host's own texts (messages of errors and panics, details, actors) may be told in events and logged.
    /// Without this, nothing is: see [`Redaction`]. What is stored, and what inspection reads, stays as it is.
    pub fn redaction(mut self, redaction: impl Redaction) -> Self {
        self.redaction = Arc::new(redaction);
        self
    }

    /// Changes settings: `.configure(|config| config.lease = secs(60))`.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Replaces the source of ids and jitter; for simulations that must repeat exactly.
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Checks and assembles.
    ///
    /// # Errors
    /// [`ConfigError`] says what is missing or does not fit.
    pub fn build(self) -> Result<Squidmesh, ConfigError> {
        self.config.check()?;
        let executor = self.executor.ok_or(ConfigError::MissingExecutor)?;
        let mut registry = Registry::default();
        for workflow in self.workflows {
            check_transactions(&workflow, self.store.transaction_type())?;
            registry.add(workflow)?;
        }
        for workflow in self.adopting {
            registry.adopt(&workflow)?;
        }
        Ok(Squidmesh::from_runtime(Arc::new(Runtime {
            clock: executor.clock(),
            store: self.store,
            executor,
            entropy: self.entropy,
            schedules: registry.schedules(),
            trigger_changed: event_listener::Event::new(),
            registry,
            config: self.config,
            hot: HotRuns::default(),
            sinks: self.sinks,
            redaction: self.redaction,
            stored: Mutex::new(HashSet::new()),
        })))
    }
}

/// Whether the store lends the transactions that the steps of a workflow need.
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
