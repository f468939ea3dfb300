//! The pure core of Squidmesh, an embedded durable workflow runtime.
//!
//! Definitions, the engine, the dispatcher, the runner and the ports. No IO, no async runtime, no clock of its own: stores
//! and executors implement the ports of [`port`].

pub mod dispatch;
mod dispatcher;
pub mod engine;
mod event;
pub mod inspect;
pub mod port;
pub mod run;
#[cfg(feature = "testing")]
pub mod testing;
mod runner;
mod runtime;
mod time;
mod token;

pub use dispatch::*;
pub use engine::{DescribeJobs, DispatchError};
pub use dispatcher::Dispatcher;
pub use event::{Event, EventKind, SkipReason};
pub use port::*;
pub use run::*;
pub use runner::{Delivery, PerformError, Runner};
pub use runtime::*;
pub use time::{InvalidTimestamp, Timestamp};
pub use token::{CommitToken, LeaseToken};

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
    Definition, DefinitionError, DefinitionErrors, Fingerprint, InputMapping, InvalidFingerprint, LogLevel, MissedPolicy,
    Priority, RecoveryPolicy, RecoveryRoute, Retry, Shape, StepDefinition, StepKind, Target, Transition, TransitionOutcome,
    TriggerDefinition, TriggerKind, hours, minutes, ms, secs,
};
pub use handler::{
    Compensation, Delayed, ErasedHandler, ErrorKind, Handler, HandlerOutput, Heartbeat, Output, StepContext, StepError,
    StepResult, Stopped,
};
pub use id::{InvalidRunId, RunId};
pub use json::{JsonLimits, JsonViolation, parse, to_value, truncate_text};
pub use name::{InvalidName, NameProblem, QueueName, StepName, TriggerName, WorkflowName};
pub use workflow::{
    Action, BuiltIn, COMPLETE, Complete, Destination, Step, StepAction, StepFuture, StepInput, Trigger, Workflow,
    WorkflowBuilder, approval, log, pause, wait,
};
