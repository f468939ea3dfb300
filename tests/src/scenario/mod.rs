//! The scenarios, by topic. Each is given a fresh [`Backend`](crate::Backend).

pub mod cage;
pub mod cancel;
pub mod compensate;
pub mod cron;
pub mod data;
pub mod deliver;
pub mod dispatch;
pub mod dispatch_table;
pub mod events;
pub mod executor;
pub mod explain;
pub mod failure_path;
pub mod history;
pub mod host;
pub mod inspect;
pub mod join;
pub mod keys;
pub mod lease;
pub mod manual;
pub mod notice;
pub mod prune;
pub mod replay;
pub mod retry;
pub mod route;
pub mod signals;
pub mod signals_by_key;
pub mod signals_deadline;
pub mod signals_ended;
pub mod signals_refused;
pub mod start;
pub mod timing;
pub mod transactional;
pub mod version;
pub mod ways;
pub mod wide;

use serde_json::{Map, Value, json};
use squidmesh_core::workflow::WorkflowBuilder;
use squidmesh_core::{COMPLETE, Field, StepResult, Trigger, Workflow};

use crate::{Call, Journal};

/// Returns a builder of a workflow that takes any object under `order`, or nothing.
pub(crate) fn workflow(name: &str) -> WorkflowBuilder {
    Workflow::builder(name).trigger(Trigger::manual("manual").field(Field::map("order").optional()))
}

/// Returns journaled steps, one after another by transitions, which all succeed.
pub(crate) fn chain(name: &str, journal: &std::sync::Arc<Journal>, steps: &[&str]) -> Workflow {
    let declared = steps.iter().fold(workflow(name), |builder, step| builder.step(journal.step(step, done)));
    let followed = steps.windows(2).fold(declared, |builder, pair| builder.then(pair[0], pair[1]));
    followed.then(steps[steps.len() - 1], COMPLETE).build().expect("a valid workflow")
}

/// Succeeds with an empty output.
pub(crate) fn done(_: &Call) -> StepResult<Value> {
    Ok(json!({}))
}

/// Returns an empty payload.
pub(crate) fn nothing() -> Map<String, Value> {
    Map::new()
}
