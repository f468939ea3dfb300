//! The engine, for tests that drive it directly.

pub use crate::engine::{
    AdoptError, ApprovalDecision, Attribution, Begin, BeginCompensation, CommandRefused, CompensationTask,
    Continuation, Decision, DecisionInputs, DescribeJobs, Difference, DispatchRefused, Dispatched, Limits, NewRun,
    Outcome, RecordOutcome, RecordedCompensation, Resumption, SentSignal, SignalReceipt, SignalRefused, StepTask,
    UnitOfWork, Unresumable, WhyNotRunnable, adopt, begin, begin_compensation, cancel, decide, differences,
    dispatch_compensation, dispatch_run, dispatch_steps, leave_compensation, lived, record, record_compensation,
    resume, resumption, resumption_in, signal, start, unblock, unsafe_to_replay,
};
