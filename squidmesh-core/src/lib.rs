//! The pure core of Squidmesh, an embedded durable workflow runtime.
//!
//! A workflow is declared once, at start-up; the builder reports all of its errors together. A [`Squidmesh`] connects
//! it to a [`Store`](port::Store) and an [`Executor`](port::Executor), which are adapters in crates of their own:
//!
//! ```
//! use std::error::Error;
//!
//! use serde::{Deserialize, Serialize};
//! use squidmesh_core::port::{Executor, Store};
//! use squidmesh_core::{COMPLETE, Retry, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, minutes, ms, secs, wait};
//!
//! #[derive(Serialize, Deserialize, schemars::JsonSchema)]
//! struct Order {
//!     order_id: String,
//! }
//!
//! async fn reserve(order: Order, context: StepContext) -> StepResult<()> {
//!     println!("attempt {} to reserve {}", context.attempt, order.order_id); // an error returned by `?` is retried
//!     Ok(())
//! }
//!
//! async fn serve(store: impl Store, executor: impl Executor) -> Result<(), Box<dyn Error>> {
//!     let checkout = Workflow::builder("checkout")
//!         .trigger(Trigger::manual("place_order").payload::<Order>())
//!         .step(Step::new("reserve", reserve).retry(Retry::exponential(5, ms(200)..secs(30))).timeout(secs(10)))
//!         .step(Step::new("cool_off", wait(minutes(5))))
//!         .then("reserve", "cool_off")
//!         .then("cool_off", COMPLETE)
//!         .build()?;
//!     let mesh = Squidmesh::builder(store).executor(executor).workflow(checkout).build()?;
//!
//!     let order = Order { order_id: "A-17".into() };
//!     let run = mesh.start_run("checkout", &order).idempotency_key(&order.order_id).await?;
//!     println!("run {} is {}", run.id, run.status);
//!
//!     mesh.run_workers(async { /* returns when the service shuts down */ }).await?;
//!     Ok(())
//! }
//! ```
//!
//! # Modules
//!
//! What a host writes every day is at the root; the rest is in modules:
//!
//! | module | for |
//! | --- | --- |
//! | [`workflow`], [`definition`] | declaring workflows: steps, handlers and their errors, and the graph as data |
//! | [`command`] | calls to a [`Squidmesh`], a [`Dispatcher`] or a [`Runner`]: options, results and errors |
//! | [`run`], [`inspect`], [`event`] | what became of runs: their data, why they wait, events after each commit |
//! | [`schedule`], [`deploy`] | cron triggers; what a new version means for live runs |
//! | [`dispatch`], [`port`] | writing a store or an executor: what is dispatched, and the traits |
//! | `testing` | with the feature `testing`: in-memory adapters, a manual clock, the suites that check an adapter |
//! | [`guide`] | the guides, from a first workflow to operating many |
//!
//! # Glossary
//!
//! | word | meaning |
//! | --- | --- |
//! | [`Workflow`] | a validated [`Definition`](definition::Definition), with its handlers |
//! | [`Run`], [`StepRun`](run::StepRun), [`Attempt`](run::Attempt) | one execution of a workflow, of one of its steps, and one try of that step |
//! | context | the merged outputs of a run's completed steps |
//! | dispatch | recording, with the state change that caused it, that a target must be delivered |
//! | [`Intent`](dispatch::Intent) | the record of a dispatch, until its target is settled |
//! | [`Lease`](dispatch::Lease) | the right to execute an intent, for a limited time, proven by a token |
//! | fence | a commit's requirement that a lease is still held |
//! | [`Commit`](port::Commit) | everything that one decision changes: applied completely or not at all |
//! | [`Dispatcher`], [`Runner`] | a host's way out to the executor, and an executor's way back in |
//! | stranded | said of a run whose work no live process can execute, since none has registered its version |
//! | adopt | to continue a run in another version of its workflow |
//! | unblock, resume | to continue a paused run; to continue a failed run as a new one |
//!
//! # What is guaranteed
//!
//! A run's state, attempts, audit trail and dispatched targets change together or not at all. Each completed step is
//! recorded once. Handlers run **at least once**: a handler whose worker dies is run again, so effects outside the
//! database must tolerate repetition. The database writes of a [`transactional`] step are stored if and only if the
//! step completed. See [the guide](guide::guarantees).

#![cfg_attr(docsrs, feature(doc_cfg))] // docs.rs shows the feature that an item needs

mod cage;
mod chain;
pub mod command;
mod commit;
pub mod deploy;
pub mod dispatch;
mod dispatcher;
mod engine;
pub mod event;
mod facade;
pub mod guide;
pub mod inspect;
pub mod port;
pub mod run;
mod runner;
mod runtime;
pub mod schedule;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod token;
mod tracing_sink;

#[cfg(feature = "crash-points")]
#[doc(hidden)]
pub mod crash_point;

// Definitions, contracts and handlers.
mod cancellation;
mod contract;
pub mod definition;
mod handler;
mod id;
mod json;
mod lock;
mod name;
pub mod workflow;

pub use contract::Field;
pub use definition::{DefinitionErrors, Retry, hours, minutes, ms, not, secs, when};
pub use dispatcher::Dispatcher;
pub use facade::Squidmesh;
pub use handler::{Handler, StepContext, StepError, StepResult, StepResultExt};
pub use id::RunId;
pub use port::RunFilter;
pub use run::{Run, RunStatus};
pub use runner::Runner;
pub use runtime::Config;
pub use time::Timestamp;
pub use tracing_sink::TracingSink;
pub use workflow::{
    COMPLETE, FAIL, Signal, Step, Trigger, Workflow, approval, log, pause, transactional, wait, wait_for, with,
};
