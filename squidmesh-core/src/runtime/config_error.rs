//! Why a runtime cannot be built.

use std::fmt;
use std::time::Duration;

use crate::cage::Panic;
use crate::chain::fmt_with_causes;
use crate::definition::Fingerprint;
use crate::json::JsonLimits;
use crate::name::{StepName, WorkflowName};
use crate::port::InvalidSetting;

/// The reasons why a runtime cannot be built. `Debug` shows the text with its causes, since `main` prints that.
#[derive(thiserror::Error)]
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
        /// The transaction type that the handler takes.
        handler: &'static str,
        /// The transaction type that the store lends.
        store: &'static str,
    },
    /// Runs of a workflow were to be adopted, but no version of it is registered.
    #[error("runs of workflow {workflow:?} cannot be adopted: no version of it is registered")]
    NothingToAdopt {
        /// The workflow name that was given.
        workflow: String,
    },
    /// A setting of the executor is invalid.
    #[error(transparent)]
    Executor(#[from] InvalidSetting),
    /// The executor panicked while its settings were checked.
    #[error("the executor panicked while its settings were checked")]
    DefectiveExecutor(#[source] Panic),
    /// The heartbeat is too long for the lease, or zero.
    #[error("the heartbeat ({heartbeat:?}) must be more than zero and at most a third of the lease ({lease:?})")]
    Heartbeat {
        /// The configured heartbeat.
        heartbeat: Duration,
        /// The configured lease.
        lease: Duration,
    },
    /// A call of the store may take longer than the lease allows.
    #[error("the store does not fit the lease: {reason}")]
    StoreTooSlow {
        /// The reason that the store gave.
        reason: String,
    },
    /// `stalled_after` is zero: leases would never be extended.
    #[error("stalled_after is zero: no lease would ever be extended")]
    StalledAtOnce,
    /// `stranded_after` is zero: other processes' runs would count as stranded at once.
    #[error("stranded_after is zero: the runs of other processes would count as stranded at once")]
    StrandedAtOnce,
    /// The context limit is smaller than one output may be.
    #[error("a run's context (max_context_bytes: {context}) must have room for one output (json.max_bytes: {output})")]
    ContextLimit {
        /// The configured limit of the context.
        context: usize,
        /// The configured limit of an output.
        output: usize,
    },
    /// `max_buffered_signals` is zero: a signal could only come while a step waits for it.
    #[error("max_buffered_signals is zero: a signal that comes before its step waits would be refused")]
    NoSignals,
    /// The limit of a run's signals is smaller than one payload may be.
    #[error(
        "the signals that a run keeps (max_buffered_signal_bytes: {buffer}) must have room for one payload (json.max_bytes: {signal})"
    )]
    SignalBytes {
        /// The configured limit of all signals.
        buffer: usize,
        /// The configured limit of a payload.
        signal: usize,
    },
    /// `call_timeout` is zero: every call would fail at once.
    #[error("call_timeout is zero: every call would fail at once")]
    CallTimeout,
    /// `retention` is zero: every run would be deleted as soon as it ends.
    #[error("retention is zero: every run would be deleted as soon as it ends; leave it out to keep all runs")]
    Retention,
    /// The JSON limits are too small for any payload, or beyond the depth that can be enforced.
    #[error(
        "no run can be started with payloads of at most {} bytes and {} levels: give at least 2 bytes, and 1 to {} levels",
        .limits.max_bytes, .limits.max_depth, JsonLimits::DEPTH_CEILING
    )]
    Json {
        /// The configured limits.
        limits: JsonLimits,
    },
    /// `crash_limit` is zero: every step would fail at once.
    #[error("crash_limit is zero: every step would fail at once")]
    CrashLimit,
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_causes(self, f)
    }
}
