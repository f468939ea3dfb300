//! The calls that a host makes to a [`Squidmesh`](crate::Squidmesh), a [`Dispatcher`](crate::Dispatcher) and a
//! [`Runner`](crate::Runner): their options, their results and their errors.

pub use crate::engine::{
    CommandRefused, DescribeJobs, DispatchRefused, SignalLimit, SignalReceipt, SignalRefused, Unresumable,
    WhyNotRunnable,
};
pub use crate::facade::SquidmeshBuilder;
pub use crate::runner::{
    BegunStep, DeliveryOutcome, FireSummary, HeldClaim, HeldClaims, PerformError, Route, WorkerOffer,
};
pub use crate::runtime::{
    AfterCommit, BulkError, BulkOutcome, BulkPage, BulkRun, CallTimedOut, CancelRun, CommandError, ConfigError,
    DecideApproval, DispatchError, InvalidActor, PauseTrigger, PruneRuns, ReplayError, ReplayRun, ReplayRuns,
    ResumeError, ResumeRun, ResumeRuns, RunKeptChanging, RunNotFound, SignalAnswer, SignalError, SignalKey, SignalRun,
    StartError, StartRun, TransactionScope, TriggerError, TriggerStatus, UnblockRun, UnknownDefinition, UnknownTrigger,
    UnknownWorkflow,
};
