//! The engine: decides what happens to a run, and returns the decision as data.
//!
//! A decision is made in a [`UnitOfWork`]: opened on the state of one run, changed by commands, and closed into a
//! [`Decision`]: a commit to apply and the events that follow it. The engine is synchronous and pure: the time, random
//! numbers and tokens are passed in with a [`Moment`], and the executor is only asked to describe jobs. It knows nothing of
//! stores, queues, runtimes or handlers.
//!
//! In the direction of the flow: `start`, `dispatch`, `begin`, `record`, `advance` to the successors; the commands of people in
//! `cancel` and `manual`; `compensate` after a failure; `adopt` into another version.

mod adopt;
mod advance;
mod attempt;
mod begin;
mod cancel;
mod compensate;
mod dispatch;
mod manual;
mod record;
mod replay;
mod resume;
mod start;
#[cfg(test)]
mod tests;
mod unit_of_work;

pub use adopt::{AdoptError, Difference, adopt, differences};
pub use begin::{Begin, begin};
pub use cancel::cancel;
pub use compensate::{
    BeginCompensation, CompensationTask, RecordedCompensation, begin_compensation, record_compensation,
};
pub use dispatch::{DescribeJobs, DispatchError, Dispatched, dispatch_compensation, dispatch_run, dispatch_steps};
pub use manual::{Decided, ManualError, Verdict, decide, unblock};
pub use record::{GoOn, Outcome, Recorded, StepTask, record};
pub use replay::unsafe_to_replay;
pub use resume::{Resumption, Unresumable, resume, resumption, resumption_in};
pub use start::{NewRun, start};
pub use unit_of_work::{Decision, Limits, Moment, UnitOfWork};
