//! The pure core of Squidmesh, an embedded durable workflow runtime.
//!
//! A workflow is declared once, at start-up; everything wrong with it is reported together:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use squidmesh_core::{COMPLETE, Retry, Step, StepContext, StepResult, Trigger, Workflow, minutes, ms, secs, wait};
//!
//! #[derive(Serialize, Deserialize, schemars::JsonSchema)]
//! struct Order {
//!     order_id: String,
//! }
//!
//! async fn reserve(order: Order, context: StepContext) -> StepResult<()> {
//!     println!("attempt {} to reserve {}", context.attempt, order.order_id); // `?` on any error: tried again
//!     Ok(())
//! }
//!
//! let workflow = Workflow::builder("checkout")
//!     .trigger(Trigger::manual("place_order").payload::<Order>())
//!     .step(Step::new("reserve", reserve).retry(Retry::exponential(5, ms(200)..secs(30))).timeout(secs(10)))
//!     .step(Step::new("cool_off", wait(minutes(5))))
//!     .then("reserve", "cool_off")
//!     .then("cool_off", COMPLETE)
//!     .build()?;
//! # Ok::<_, squidmesh_core::DefinitionErrors>(())
//! ```
//!
//! A [`Squidmesh`] ties workflows to a [`Store`] and an [`Executor`]; adapters for both are crates of their own. With the
//! feature `testing`, the module `testing` has adapters in memory, a clock that a test moves, and the suites that tell whether
//! an adapter is right.
//!
//! # Words
//!
//! | word | meaning |
//! | --- | --- |
//! | [`Workflow`] | a validated [`Definition`], with its handlers |
//! | [`Run`], [`StepRun`], [`Attempt`] | one execution of a workflow, of a step in it, and one try of that |
//! | context | the merged outputs of a run's completed steps |
//! | dispatch | to record, with the state change that caused it, that a target must be delivered |
//! | [`Intent`] | the record of a dispatch, until its target is settled |
//! | [`Lease`] | the right to carry out an intent, for a time, proven by a token |
//! | fence | the demand of a commit that a lease still holds |
//! | [`Commit`] | everything that one decision changes: applied whole or not at all |
//! | [`Dispatcher`], [`Runner`] | the way out to the executor, and the way back in |
//!
//! # Guides
//!
//! Beside the code, in `docs/guides`: writing workflows, testing them, operating runs, deploying new versions, and what is guaranteed and
//! what is not. Their code is compiled with the tests.
//!
//! # What is guaranteed
//!
//! A run's state, its attempts, its audit trail and what is dispatched for it change together or not at all. Each completed
//! step is recorded once. Handlers run **at least once**: a handler whose worker dies is run again, so an effect outside the
//! database must bear that. What a [`transactional`] step writes to the database is there if and only if the step completed.

pub mod deploy;
pub mod dispatch;
mod dispatcher;
pub mod engine;
mod event;
pub mod inspect;
pub mod port;
mod redaction;
pub mod run;
mod runner;
mod runtime;
pub mod schedule;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod token;

pub use deploy::{DeployReport, FoundDifference, VersionReport, compare_with_live_runs};
pub use dispatch::*;
pub use dispatcher::Dispatcher;
pub use engine::{DescribeJobs, Difference, DispatchError, Unresumable};
pub use event::{Event, EventKind, SkipReason};
pub use port::*;
pub use redaction::{HostText, HostTextKind, Redaction, ShowEverything, ShowNothing, WITHHELD};
pub use run::*;
pub use runner::{Delivery, Fired, PerformError, Route, Runner};
pub use runtime::*;
pub use schedule::{TriggerRecord, TriggerRecords};
pub use time::{InvalidTimestamp, Timestamp};
pub use token::{CommitToken, LeaseToken};

#[cfg(feature = "crash-points")]
#[doc(hidden)]
pub mod crash_point;

// Definitions, contracts and handlers.
mod cancellation;
mod contract;
mod definition;
mod handler;
mod id;
mod json;
mod name;
mod workflow;

pub use cancellation::{CancelReason, Cancellation};
pub use contract::{Contract, Field, FieldKind, PayloadError, PayloadErrors, PayloadProblem, PayloadSchema};
pub use definition::{
    Deadline, Definition, DefinitionError, DefinitionErrors, Fingerprint, InputMapping, InvalidFingerprint, LogLevel,
    MissedPolicy, Priority, RecoveryPolicy, RecoveryRoute, Retry, Shape, StepDefinition, StepKind, Target, Transition,
    TransitionOutcome, TriggerDefinition, TriggerKind, hours, minutes, ms, secs,
};
pub use handler::{
    Compensation, Delayed, ErasedHandler, ErasedTransactional, ErrorKind, Handler, HandlerOutput, Heartbeat, Output,
    StepContext, StepError, StepResult, Stopped, TransactionalHandler,
};
pub use id::{InvalidRunId, RunId};
pub use json::{JsonLimits, JsonViolation, parse, to_value, truncate_text};
pub use name::{InvalidName, NameProblem, QueueName, StepName, TriggerName, WorkflowName};
pub use workflow::{
    Action, Approval, ApprovalUntil, BuiltIn, COMPLETE, Complete, Destination, Step, StepAction, StepFuture, StepInput,
    Transactional, TransactionalAction, Trigger, Workflow, WorkflowBuilder, approval, log, pause, transactional, wait,
};
