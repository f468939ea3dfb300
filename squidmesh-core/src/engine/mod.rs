//! The engine: decides what happens to a run, and returns the decision as data.
//!
//! A decision is made in a [`UnitOfWork`]: it is opened on the state of one run, changed by commands, and closed
//! into a [`Decision`], which is a commit to apply and the events that follow it. The engine is synchronous and
//! pure: the time, random numbers and tokens are passed in with a [`DecisionInputs`], and the executor only
//! describes jobs. It knows nothing of stores, queues, runtimes or handlers.
//!
//! ```text
//!  start, resume      begin ─▶ handler ─▶ record      approve, reject, unblock      cancel
//!        │              └─────────┬─────────┘                 or signal             │
//!        │                        ▼                        manual, signal           │
//!        │              advance: to the next step ◀──────────────┘                  │
//!        │                        ▼                                                 │
//!        │              settle: end a step, fail or cancel the run ◀────────────────┘
//!        ▼                        ▼
//!  dispatch: step runs and intents, once the executor has described the jobs
//!                                 ▼
//!  UnitOfWork ─▶ Decision: a commit, and the events that follow it
//! ```
//!
//! Files call only files below them. `record` begins the successor in the same decision (`continuation`), and a start
//! may begin its first step. `compensate` undoes completed steps as `begin` and `record` execute them, `lived` handles
//! an outcome that comes too late, and `adopt` changes the version of a run.

#![cfg_attr(
    not(feature = "testing"),
    allow(unreachable_pub, reason = "tests of the engine reach it through the feature `testing`")
)]

mod adopt;
mod advance;
mod attempt;
mod begin;
mod cancel;
mod compensate;
mod context;
mod continuation;
mod describe;
mod dispatch;
mod dispatch_refused;
mod failure_path;
mod lived;
mod manual;
mod pause;
mod record;
mod recordable;
mod replay;
mod resume;
mod settle;
mod signal;
mod start;
mod task;
#[cfg(test)]
mod tests;
mod unit_of_work;
mod way;

pub use adopt::{AdoptError, Difference, adopt, differences};
pub use begin::{Begin, begin};
pub use cancel::cancel;
pub use compensate::{
    BeginCompensation, CompensationTask, RecordedCompensation, begin_compensation, leave_compensation,
    record_compensation,
};
pub use continuation::Continuation;
pub(crate) use continuation::{DueStep, begin_due, due_steps};
pub use describe::DescribeJobs;
pub use dispatch::{Dispatched, dispatch_compensation, dispatch_run, dispatch_steps};
pub use dispatch_refused::{DispatchRefused, WhyNotRunnable};
pub use lived::lived;
pub use manual::{ApprovalDecision, Attribution, CommandRefused, decide, unblock};
pub(crate) use record::find_recorded;
pub use record::{RecordOutcome, record};
pub use replay::unsafe_to_replay;
pub use resume::{Resumption, Unresumable, resume, resumption, resumption_in};
pub use signal::{SentSignal, SignalLimit, SignalReceipt, SignalRefused, signal};
pub use start::{NewRun, start};
pub use task::{Outcome, StepTask};
pub use unit_of_work::{Decision, DecisionInputs, Limits, UnitOfWork};
