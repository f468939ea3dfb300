//! Events: what the runtime emits to the host about committed facts.
//!
//! Events carry no payload, input or output. `Redaction` decides which of the host's own texts they carry to sinks:
//! by default, none.

use std::time::Duration;

use crate::definition::Transition;
use crate::dispatch::{Intent, JobMetadata};
use crate::id::RunId;
use crate::name::{SignalName, StepName, TriggerName, WorkflowName, names};
use crate::run::{AuditKind, Failure, Run, RunStatus};
use crate::time::Timestamp;

/// A committed fact, with the state of its run after the commit.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The run's id.
    pub run_id: RunId,
    /// The run's workflow.
    pub workflow: WorkflowName,
    /// The trigger that started the run.
    pub trigger: TriggerName,
    /// The run's status.
    pub status: RunStatus,
    /// The run's current step.
    pub current_step: Option<StepName>,
    /// When the fact was decided.
    pub at: Timestamp,
    /// The kind of the event.
    pub kind: EventKind,
}

impl Event {
    /// Creates an event about a run.
    pub fn new(run: &Run, at: Timestamp, kind: EventKind) -> Self {
        Event {
            run_id: run.id,
            workflow: run.workflow.clone(),
            trigger: run.trigger.clone(),
            status: run.status,
            current_step: run.current_step.clone(),
            at,
            kind,
        }
    }

    /// Returns the intent that was committed for a dispatched target, if the caller of the dispatch announces it.
    pub(crate) fn intent(&self) -> Option<&Intent> {
        match &self.kind {
            EventKind::RunDispatched { metadata } => metadata.intent.as_deref(),
            _ => None,
        }
    }
}

/// The kinds of events, with their data.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A run was started.
    RunCreated,
    /// A run was started as a replay.
    RunReplayed {
        /// The run that was replayed.
        from: RunId,
    },
    /// A run was started to resume a failed one.
    RunResumed {
        /// The run that failed.
        from: RunId,
    },
    /// A target was dispatched.
    RunDispatched {
        /// The job's metadata.
        metadata: JobMetadata,
    },
    /// The run's status changed.
    RunTransition {
        /// The previous status.
        from: RunStatus,
        /// The new status.
        to: RunStatus,
        /// Why the run failed, if it did.
        failure: Option<Failure>,
    },
    /// An attempt began.
    StepStarted {
        /// The step's name.
        step: StepName,
        /// The attempt's number.
        attempt: u32,
    },
    /// A delivery changed nothing.
    DeliveryIgnored {
        /// The step's name; `None` for a compensation.
        step: Option<StepName>,
        /// The number of the step's last attempt; `None` if there was none, or if the run is unknown.
        attempt: Option<u32>,
        /// How long that attempt took, or has taken so far.
        duration: Option<Duration>,
        /// Why the delivery was ignored.
        reason: IgnoreReason,
    },
    /// A step completed.
    StepCompleted {
        /// The step's name.
        step: StepName,
        /// The attempt's number.
        attempt: u32,
        /// How long the attempt took.
        duration: Duration,
    },
    /// A run left a step by one of several transitions.
    StepRouted {
        /// The transition that was chosen.
        transition: Box<Transition>,
    },
    /// A step has completed, and chose a route that it does not declare.
    RouteUnknown {
        /// The step's name.
        step: StepName,
        /// The route.
        route: String,
        /// Whether no error transition follows.
        is_final: bool,
    },
    /// An attempt failed.
    StepFailed {
        /// The step's name.
        step: StepName,
        /// The attempt's number.
        attempt: u32,
        /// How long the attempt took.
        duration: Duration,
        /// Why the attempt failed.
        error: Failure,
        /// Whether neither another attempt nor an error transition follows.
        is_final: bool,
    },
    /// The next attempt was scheduled.
    StepRetryScheduled {
        /// The step's name.
        step: StepName,
        /// The number of the failed attempt.
        attempt: u32,
        /// The delay until the next attempt.
        delay: Duration,
    },
    /// A compensation callback began.
    CompensationStarted {
        /// The compensated step.
        step: StepName,
        /// The attempt's number.
        attempt: u32,
    },
    /// A compensation callback succeeded.
    CompensationCompleted {
        /// The compensated step.
        step: StepName,
        /// The attempt's number.
        attempt: u32,
        /// How long the attempt took.
        duration: Duration,
    },
    /// A compensation callback failed, and its next attempt was scheduled.
    CompensationRetryScheduled {
        /// The compensated step.
        step: StepName,
        /// The number of the failed attempt.
        attempt: u32,
        /// How long that attempt took.
        duration: Duration,
        /// The delay until the next attempt.
        delay: Duration,
        /// Why the attempt failed.
        error: Failure,
    },
    /// A compensation callback failed permanently.
    CompensationFailed {
        /// The compensated step.
        step: StepName,
        /// The attempt's number.
        attempt: u32,
        /// How long the attempt took.
        duration: Duration,
        /// Why the attempt failed.
        error: Failure,
    },
    /// An entry was added to the audit trail.
    Audited {
        /// The kind of the entry.
        kind: AuditKind,
        /// The step that it concerns.
        step: Option<StepName>,
        /// The actor.
        actor: Option<String>,
        /// The signal that it concerns.
        signal: Option<SignalName>,
    },
}

impl EventKind {
    /// Returns the event's name. Logs name the end of a run more precisely: see [`TracingSink`](crate::TracingSink).
    pub fn name(&self) -> &'static str {
        match self {
            EventKind::RunCreated => "run.created",
            EventKind::RunReplayed { .. } => "run.replayed",
            EventKind::RunResumed { .. } => "run.resumed",
            EventKind::RunDispatched { .. } => "run.dispatched",
            EventKind::RunTransition { .. } => "run.transition",
            EventKind::StepStarted { .. } => "step.started",
            EventKind::DeliveryIgnored { .. } => "delivery.ignored",
            EventKind::StepCompleted { .. } => "step.completed",
            EventKind::StepRouted { .. } => "step.routed",
            EventKind::RouteUnknown { .. } => "step.route_unknown",
            EventKind::StepFailed { .. } => "step.failed",
            EventKind::StepRetryScheduled { .. } => "step.retry_scheduled",
            EventKind::CompensationStarted { .. } => "compensation.started",
            EventKind::CompensationCompleted { .. } => "compensation.completed",
            EventKind::CompensationRetryScheduled { .. } => "compensation.retry_scheduled",
            EventKind::CompensationFailed { .. } => "compensation.failed",
            EventKind::Audited { kind, .. } => match kind {
                AuditKind::Paused => "run.paused",
                AuditKind::Unblocked => "run.unblocked",
                AuditKind::Approved => "run.approved",
                AuditKind::Rejected => "run.rejected",
                AuditKind::Expired => "run.expired",
                AuditKind::Cancelled => "run.cancelled",
                AuditKind::Replayed => "audit.replayed",
                AuditKind::Resumed => "audit.resumed",
                AuditKind::CompensationRouted => "run.compensation_routed",
                AuditKind::UndoRouted => "run.undo_routed",
                AuditKind::Adopted => "run.adopted",
                AuditKind::Lived => "step.lived",
                AuditKind::SignalReceived => "signal.received",
                AuditKind::SignalLate => "signal.late",
                AuditKind::SignalsUnconsumed => "signal.unconsumed",
            },
        }
    }
}

/// Why a delivery changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IgnoreReason {
    /// There is no live intent for it: its target is done already, or was never dispatched.
    NoIntent,
    /// It becomes due later.
    NotDue,
    /// Another worker holds it.
    Held,
    /// This process does not have the run's version of the workflow; it was left for one that does.
    UnknownDefinition,
    /// The run has ended.
    RunEnded,
    /// The run waits for a person.
    RunPaused,
    /// The run was being cancelled, and is cancelled now.
    RunCancelled,
    /// It is the turn of another step.
    NotCurrent,
    /// The step is completed.
    AlreadyCompleted,
    /// The claim was lost before the outcome could be recorded.
    LeaseLost,
    /// The workflow has no such step.
    UnknownStep,
    /// Siblings of the failed run are still running; their outcomes are awaited.
    SiblingsRunning,
    /// The cron trigger is paused.
    TriggerPaused,
}

names! {
    IgnoreReason, "logs":
    NoIntent = "no_intent",
    NotDue = "not_due",
    Held = "held",
    UnknownDefinition = "unknown_definition",
    RunEnded = "run_ended",
    RunPaused = "run_paused",
    RunCancelled = "run_cancelled",
    NotCurrent = "not_current",
    AlreadyCompleted = "already_completed",
    LeaseLost = "lease_lost",
    UnknownStep = "unknown_step",
    SiblingsRunning = "siblings_running",
    TriggerPaused = "trigger_paused",
}
