//! Deliberate defects: the runtime's decisions are distorted on their way into the store, to prove that the checks
//! would notice.
//!
//! None of this is in the product. Each mutation stands for a bug that a runtime like this one can have, or one of
//! its stores.

mod distort;
mod signals;
mod written;

use squidmesh_checker::{Violation, rules};
use squidmesh_core::port::{Commit, IntentWrite, Precondition};

/// A deliberate defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A step that waits for several others is never scheduled.
    LostJoin,
    /// A step that waits for several others is scheduled as soon as one of them is done.
    EarlyJoin,
    /// An outcome is recorded whichever worker holds the step by then.
    UnfencedOutcome,
    /// A failure is recorded whichever worker holds the step by then.
    UnfencedFailure,
    /// A change that was decided on an old state overwrites a newer one.
    LostUpdate,
    /// Now and then, a successor is scheduled and not dispatched.
    ForgottenIntent,
    /// A step's intent is not removed once its work is done.
    LeftoverIntent,
    /// A compensation that succeeded is recorded as still pending.
    DoubleCompensation,
    /// The retry of a compensation does not wait.
    EarlyCompensation,
    /// The failures of compensations are not counted.
    UncountedCompensations,
    /// The first steps to complete are compensated first.
    ForwardCompensation,
    /// A sibling that completes after the run failed is not compensated.
    LateSiblingForgotten,
    /// A retry does not wait.
    EarlyRetry,
    /// A wait is cut short.
    ShortWait,
    /// A deadline comes at once.
    EarlyDeadline,
    /// A deadline is never dispatched.
    ForgottenDeadline,
    /// Events are emitted before the change is stored.
    EventBeforeCommit,
    /// Now and then, a start is acknowledged and not stored.
    AcknowledgedNotWritten,
    /// Failures are not counted.
    UncountedFailures,
    /// The crashes of workers are not counted.
    UncountedCrashes,
    /// A failed attempt is not recorded.
    LostAttempt,
    /// A failed attempt is recorded as completed.
    FailureAsSuccess,
    /// An output is lost.
    LostOutput,
    /// The snapshot of the input is changed as it is stored.
    ChangedSnapshot,
    /// A step is not given the outputs of its dependencies.
    ForgottenOutput,
    /// The input refers to what is there at the end of the run.
    LateSnapshot,
    /// A run is moved to another version without the copies of its inputs.
    ForgottenCopy,
    /// A decision is not written to the trail.
    UnauditedDecision,
    /// A cancellation is confirmed and has no effect.
    LostCancellation,
    /// The intents of a cancelled run are kept.
    CancelledGoesOn,
    /// A run is started twice.
    StartedTwice,
    /// An idempotency key is not stored.
    LostKey,
    /// An occurrence of a schedule is started without its key.
    OccurrenceTwice,
    /// A schedule's position moves further than the occurrences that were fired.
    SkippedOccurrence,
    /// A lease never expires.
    EndlessLease,
    /// The rows of a transactional step are committed without its outcome.
    RowsWithoutOutcome,
    /// A run is adopted without a trace.
    SilentAdoption,
    /// A completed run is recorded as running.
    EndlessRun,
    /// A failed run has no error.
    UnexplainedFailure,
    /// An interrupted attempt is not recorded.
    LostInterruption,
    /// An ended attempt has no end time.
    EndWithoutTime,
    /// A handler is given another input than the snapshot of its step.
    ChangedInput,
    /// A compensation is recorded with the result of another.
    ForeignResult,
    /// A step stores another decision than the one that was made.
    MixedUpDecision,
    /// A step without a compensation is recorded as compensated.
    UnwantedCompensation,
    /// A completing run is pinned to a version that no process has.
    UnknownVersion,
    /// A failed step is recorded as cancelled later on.
    ReopenedStep,
    /// A step is scheduled in a run that has failed.
    ScheduledAfterwards,
    /// In dependency workflows, steps that complete later get lower sequence numbers.
    BackwardNumbers,
    /// The store's notification of work completes endlessly.
    NeverQuiet,
    /// A run that has ended is read as it was before.
    StaleRead,
    /// A process takes over work that it is executing itself.
    OwnWorkTaken,
    /// The store panics.
    PanickingStore,
    /// A worker drops a delivery, and takes it for done.
    DroppedDelivery,
    /// Another way is recorded than the one that the outcome opens.
    OtherWay,
    /// The way by which a run left a step is not recorded.
    ForgottenWay,
    /// The way by which a run left a step is changed later.
    ChosenAgain,
    /// A signal that a step took is kept for the next one.
    SignalTakenTwice,
    /// Now and then, a signal that waits to be taken vanishes.
    LostEarlySignal,
    /// A step takes the newest signal of its name.
    NewestFirst,
    /// Now and then, a signal is acknowledged and not kept.
    LostSignal,
    /// The deduplication keys of signals are not stored.
    ForgottenDedup,
    /// A signal is not written to the trail.
    UnauditedSignal,
    /// What a run that ends has not taken is not written to the trail.
    UnrecordedLeftover,
    /// What a run that ends has not taken is counted wrongly.
    MiscountedLeftover,
}

impl Mutation {
    /// All mutations.
    pub const ALL: [Mutation; 65] = [
        Mutation::LostJoin,
        Mutation::EarlyJoin,
        Mutation::UnfencedOutcome,
        Mutation::UnfencedFailure,
        Mutation::LostUpdate,
        Mutation::ForgottenIntent,
        Mutation::LeftoverIntent,
        Mutation::DoubleCompensation,
        Mutation::EarlyCompensation,
        Mutation::UncountedCompensations,
        Mutation::ForwardCompensation,
        Mutation::LateSiblingForgotten,
        Mutation::EarlyRetry,
        Mutation::ShortWait,
        Mutation::EarlyDeadline,
        Mutation::ForgottenDeadline,
        Mutation::EventBeforeCommit,
        Mutation::AcknowledgedNotWritten,
        Mutation::UncountedFailures,
        Mutation::UncountedCrashes,
        Mutation::LostAttempt,
        Mutation::FailureAsSuccess,
        Mutation::LostOutput,
        Mutation::ChangedSnapshot,
        Mutation::ForgottenOutput,
        Mutation::LateSnapshot,
        Mutation::ForgottenCopy,
        Mutation::UnauditedDecision,
        Mutation::LostCancellation,
        Mutation::CancelledGoesOn,
        Mutation::StartedTwice,
        Mutation::LostKey,
        Mutation::OccurrenceTwice,
        Mutation::SkippedOccurrence,
        Mutation::EndlessLease,
        Mutation::RowsWithoutOutcome,
        Mutation::SilentAdoption,
        Mutation::EndlessRun,
        Mutation::UnexplainedFailure,
        Mutation::LostInterruption,
        Mutation::EndWithoutTime,
        Mutation::ChangedInput,
        Mutation::ForeignResult,
        Mutation::MixedUpDecision,
        Mutation::UnwantedCompensation,
        Mutation::UnknownVersion,
        Mutation::ReopenedStep,
        Mutation::ScheduledAfterwards,
        Mutation::BackwardNumbers,
        Mutation::NeverQuiet,
        Mutation::StaleRead,
        Mutation::OwnWorkTaken,
        Mutation::PanickingStore,
        Mutation::DroppedDelivery,
        Mutation::OtherWay,
        Mutation::ForgottenWay,
        Mutation::ChosenAgain,
        Mutation::SignalTakenTwice,
        Mutation::LostEarlySignal,
        Mutation::NewestFirst,
        Mutation::LostSignal,
        Mutation::ForgottenDedup,
        Mutation::UnauditedSignal,
        Mutation::UnrecordedLeftover,
        Mutation::MiscountedLeftover,
    ];

    /// Returns the rule that must notice the mutation.
    pub fn noticed_by(self) -> &'static str {
        match self {
            Mutation::LostJoin | Mutation::EarlyJoin => rules::JOINS,
            Mutation::UnfencedOutcome | Mutation::UnfencedFailure => rules::FENCED,
            Mutation::LostUpdate => rules::FINAL,
            Mutation::ForgottenIntent
            | Mutation::LeftoverIntent
            | Mutation::LateSiblingForgotten
            | Mutation::ForgottenDeadline
            | Mutation::CancelledGoesOn => rules::INTENTS,
            Mutation::DoubleCompensation | Mutation::EarlyCompensation | Mutation::UncountedCompensations => {
                rules::CALLBACKS
            }
            Mutation::ForwardCompensation => rules::COMPENSATIONS,
            Mutation::EarlyRetry | Mutation::ShortWait | Mutation::EarlyDeadline => rules::TIMES,
            Mutation::EventBeforeCommit => rules::EVENTS,
            Mutation::AcknowledgedNotWritten | Mutation::LostKey => rules::STARTS,
            Mutation::UncountedFailures | Mutation::UncountedCrashes => rules::LIMITS,
            Mutation::LostAttempt => rules::NUMBERS,
            Mutation::FailureAsSuccess | Mutation::LostOutput => rules::RESULTS,
            Mutation::ChangedSnapshot | Mutation::ForgottenCopy => rules::INPUTS,
            Mutation::ForgottenOutput | Mutation::LateSnapshot => rules::SNAPSHOTS,
            Mutation::UnauditedDecision => rules::DECISIONS,
            Mutation::LostCancellation => rules::CANCELS,
            Mutation::StartedTwice => rules::ANSWERS,
            Mutation::OccurrenceTwice => rules::OCCURRENCES,
            Mutation::SkippedOccurrence => rules::SCHEDULES,
            Mutation::EndlessLease => rules::QUIESCENCE,
            Mutation::RowsWithoutOutcome => rules::ROWS,
            Mutation::SilentAdoption => rules::TRANSITIONS,
            Mutation::EndlessRun => rules::QUIESCENCE,
            Mutation::UnexplainedFailure => rules::TERMINAL_STATES,
            Mutation::LostInterruption | Mutation::EndWithoutTime => rules::NUMBERS,
            Mutation::ChangedInput => rules::INPUTS,
            Mutation::ForeignResult => rules::COMPENSATIONS,
            Mutation::MixedUpDecision => rules::DECISIONS,
            Mutation::UnwantedCompensation => rules::OWED,
            Mutation::UnknownVersion => rules::TRANSITIONS,
            Mutation::ReopenedStep => rules::FINAL,
            Mutation::ScheduledAfterwards => rules::BEGINNINGS,
            Mutation::BackwardNumbers => rules::SEQUENCE,
            Mutation::NeverQuiet => rules::RESTLESS,
            Mutation::StaleRead => rules::OFFERS,
            Mutation::OwnWorkTaken => rules::ALONE,
            Mutation::PanickingStore => rules::PANICS,
            Mutation::DroppedDelivery => rules::LEFT,
            Mutation::OtherWay | Mutation::ForgottenWay | Mutation::ChosenAgain => rules::WAYS,
            Mutation::SignalTakenTwice | Mutation::LostEarlySignal | Mutation::NewestFirst => rules::SIGNALS,
            Mutation::LostSignal | Mutation::ForgottenDedup => rules::SENDERS,
            Mutation::UnauditedSignal | Mutation::UnrecordedLeftover | Mutation::MiscountedLeftover => {
                rules::SIGNAL_TRAIL
            }
        }
    }

    /// Returns whether one of these violations is of the rule that must notice the mutation.
    pub(crate) fn is_noticed(self, violations: &[Violation]) -> bool {
        violations.iter().any(|violation| violation.rule == self.noticed_by())
    }

    /// Returns a second run that is started beside one that a client starts without a key.
    pub(crate) fn second(self, commit: &Commit) -> Option<Commit> {
        let run = &commit.run;
        let other = run.replayed_from.is_some() || run.resumed_from.is_some() || run.idempotency_key.is_some();
        if self != Mutation::StartedTwice || commit.precondition != Precondition::Absent || other {
            return None;
        }
        let mut second = commit.clone();
        let mut id = run.id.to_string();
        let last = id.pop()?;
        id.push(if last == '0' { '1' } else { '0' });
        second.run.id = id.parse().ok()?;
        for write in &mut second.intents {
            if let IntentWrite::Add(intent) | IntentWrite::Replace(intent) = write {
                intent.key.run_id = second.run.id;
            }
        }
        Some(second)
    }

    /// Returns whether a commit is answered as applied although it was not.
    pub(crate) fn answers_wrongly(self, commit: &Commit) -> bool {
        match self {
            Mutation::EventBeforeCommit => true,
            Mutation::AcknowledgedNotWritten => {
                commit.precondition == Precondition::Absent && commit.run.id.as_uuid().as_u128().is_multiple_of(4)
            }
            _ => false,
        }
    }
}
