//! Events: what the runtime tells the host of committed facts.
//!
//! Events carry no payload, input or output. What of the host's own texts they carry to sinks, `Redaction` decides: nothing, if
//! the host says nothing.

use std::time::Duration;

use crate::{
    AuditKind, DispatchEvent, Failure, JobMetadata, Run, RunId, RunStatus, StepName, Timestamp, TriggerName,
    WorkflowName,
};

/// A committed fact, with the run it concerns as it is after the commit.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The run.
    pub run_id: RunId,
    /// Its workflow.
    pub workflow: WorkflowName,
    /// The trigger that started it.
    pub trigger: TriggerName,
    /// Its status.
    pub status: RunStatus,
    /// The step whose turn it is.
    pub current_step: Option<StepName>,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// An event about a run.
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
}

impl From<DispatchEvent> for Event {
    fn from(event: DispatchEvent) -> Self {
        let DispatchEvent::RunDispatched { run, metadata } = event;
        Event::new(&run, run.updated_at, EventKind::RunDispatched { metadata })
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A run was started.
    RunCreated,
    /// A run was started as a replay.
    RunReplayed {
        /// The run that it repeats.
        from: RunId,
    },
    /// A run was started to go on from where another failed.
    RunResumed {
        /// The run that failed.
        from: RunId,
    },
    /// A target was dispatched.
    RunDispatched {
        /// The job.
        metadata: JobMetadata,
    },
    /// The run's status changed.
    RunTransition {
        /// From this.
        from: RunStatus,
        /// To this.
        to: RunStatus,
    },
    /// An attempt began.
    StepStarted {
        /// The step.
        step: StepName,
        /// The attempt.
        attempt: u32,
    },
    /// A delivery was a no-op.
    StepSkipped {
        /// The step; `None` for a compensation.
        step: Option<StepName>,
        /// Why.
        reason: SkipReason,
    },
    /// A step completed.
    StepCompleted {
        /// The step.
        step: StepName,
        /// The attempt.
        attempt: u32,
        /// How long the attempt took.
        duration: Duration,
    },
    /// An attempt failed.
    StepFailed {
        /// The step.
        step: StepName,
        /// The attempt.
        attempt: u32,
        /// How long the attempt took.
        duration: Duration,
        /// Why.
        error: Failure,
    },
    /// The next attempt was scheduled.
    StepRetryScheduled {
        /// The step.
        step: StepName,
        /// The attempt that failed.
        attempt: u32,
        /// How long until the next.
        delay: Duration,
    },
    /// A compensation callback began.
    CompensationStarted {
        /// The step that it compensates.
        step: StepName,
    },
    /// A compensation callback succeeded.
    CompensationCompleted {
        /// The step that it compensates.
        step: StepName,
    },
    /// A compensation callback failed, and its next attempt was scheduled.
    CompensationRetryScheduled {
        /// The step that it compensates.
        step: StepName,
        /// The attempt that failed.
        attempt: u32,
        /// How long until the next.
        delay: Duration,
        /// Why it failed.
        error: Failure,
    },
    /// A compensation callback failed for good.
    CompensationFailed {
        /// The step that it compensates.
        step: StepName,
        /// Why.
        error: Failure,
    },
    /// Something was added to the audit trail.
    Audited {
        /// What.
        kind: AuditKind,
        /// The step it concerns.
        step: Option<StepName>,
        /// Who did it.
        actor: Option<String>,
    },
}

impl EventKind {
    /// The event's name, as in logs.
    pub fn name(&self) -> &'static str {
        match self {
            EventKind::RunCreated => "run.created",
            EventKind::RunReplayed { .. } => "run.replayed",
            EventKind::RunResumed { .. } => "run.resumed",
            EventKind::RunDispatched { .. } => "run.dispatched",
            EventKind::RunTransition { .. } => "run.transition",
            EventKind::StepStarted { .. } => "step.started",
            EventKind::StepSkipped { .. } => "step.skipped",
            EventKind::StepCompleted { .. } => "step.completed",
            EventKind::StepFailed { .. } => "step.failed",
            EventKind::StepRetryScheduled { .. } => "step.retry_scheduled",
            EventKind::CompensationStarted { .. } => "compensation.started",
            EventKind::CompensationCompleted { .. } => "compensation.completed",
            EventKind::CompensationRetryScheduled { .. } => "compensation.retry_scheduled",
            EventKind::CompensationFailed { .. } => "compensation.failed",
            EventKind::Audited { kind, .. } => match kind {
                AuditKind::Paused => "run.paused",
                AuditKind::Resumed => "run.unblocked",
                AuditKind::Approved => "run.approved",
                AuditKind::Rejected => "run.rejected",
                AuditKind::Expired => "run.expired",
                AuditKind::Cancelled => "run.cancelled",
                AuditKind::Replayed => "audit.replayed",
                AuditKind::Continued => "audit.continued",
                AuditKind::CompensationRouted => "run.compensation_routed",
                AuditKind::UndoRouted => "run.undo_routed",
                AuditKind::Adopted => "run.adopted",
            },
        }
    }
}

/// Why a delivery was a no-op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SkipReason {
    /// There is no live intent for it: it was done already, or never dispatched.
    NoIntent,
    /// It falls due later.
    NotDue,
    /// Another worker holds it.
    Held,
    /// This process does not have the run's version of the workflow; it was left for one that does.
    UnknownDefinition,
    /// The run has ended.
    RunEnded,
    /// The run waits for a person.
    RunPaused,
    /// The run was being cancelled; it is now.
    RunCancelled,
    /// It is another step's turn.
    NotCurrent,
    /// The step is completed.
    AlreadyCompleted,
    /// The claim was lost before the outcome could be recorded.
    LeaseLost,
    /// The workflow has no such step.
    UnknownStep,
    /// Siblings of the failed run still run; their outcome is awaited.
    SiblingsRunning,
    /// The cron trigger is paused.
    TriggerPaused,
}

impl SkipReason {
    /// The reason's name, as in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            SkipReason::NoIntent => "no_intent",
            SkipReason::NotDue => "not_due",
            SkipReason::Held => "held",
            SkipReason::UnknownDefinition => "unknown_definition",
            SkipReason::RunEnded => "run_ended",
            SkipReason::RunPaused => "run_paused",
            SkipReason::RunCancelled => "run_cancelled",
            SkipReason::NotCurrent => "not_current",
            SkipReason::AlreadyCompleted => "already_completed",
            SkipReason::LeaseLost => "lease_lost",
            SkipReason::UnknownStep => "unknown_step",
            SkipReason::SiblingsRunning => "siblings_running",
            SkipReason::TriggerPaused => "trigger_paused",
        }
    }
}
