//! The measured workflows. Their handlers only notify the recorder when they begin and end, unless the workload is
//! about what they do.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::{Map, Value, json};
use squidmesh_core::workflow::TransactionalHandler;
use squidmesh_core::{
    COMPLETE, Retry, Signal, Step, StepContext, StepError, StepResult, Trigger, Workflow, transactional, wait, wait_for,
};

use crate::failure::Failure;
use crate::recorder::Recorder;

fn named(name: &str) -> squidmesh_core::workflow::WorkflowBuilder {
    Workflow::builder(name).trigger(Trigger::manual("start"))
}

/// Returns a step whose handler returns the same output every time.
fn step(recorder: &Recorder, name: &str, output: Value) -> Step {
    let recorder = recorder.clone();
    Step::new(name, move |_: Map<String, Value>, context: StepContext| {
        recorder.enter(context.run_id);
        let (recorder, output) = (recorder.clone(), output.clone());
        async move {
            recorder.leave(context.run_id);
            StepResult::Ok(output)
        }
    })
}

/// Returns steps one after the other.
fn in_a_row(name: &str, steps: Vec<(String, Step)>) -> Result<Workflow, Failure> {
    let mut builder = named(name);
    let mut previous: Option<String> = None;
    for (name, step) in steps {
        builder = builder.step(step);
        if let Some(previous) = previous.replace(name.clone()) {
            builder = builder.then(previous, name);
        }
    }
    let last = previous.ok_or("a chain has steps")?;
    Ok(builder.then(last, COMPLETE).build()?)
}

fn names(steps: usize) -> impl Iterator<Item = String> {
    (1..=steps).map(|number| format!("step-{number}"))
}

/// Returns `steps` steps that do nothing, one after the other.
pub(crate) fn chain(recorder: &Recorder, steps: usize) -> Result<Workflow, Failure> {
    in_a_row("chain", names(steps).map(|name| (name.clone(), step(recorder, &name, json!({})))).collect())
}

/// Returns a step that waits for the signal `go`, and one that does nothing.
pub(crate) fn signalled(recorder: &Recorder) -> Result<Workflow, Failure> {
    let builder = named("signalled").signal(Signal::new("go")).step(Step::new("wait", wait_for("go")));
    let after = step(recorder, "after", json!({}));
    Ok(builder.step(after).chain(["wait", "after"]).build()?)
}

/// Returns five steps, each with an output of `bytes` bytes under its own key, so that the context of the run grows.
pub(crate) fn carrying(recorder: &Recorder, bytes: usize) -> Result<Workflow, Failure> {
    let output = json!({ "text": noise(bytes) });
    in_a_row(
        "carrying",
        names(5).map(|name| (name.clone(), step(recorder, &name, output.clone()).output(name))).collect(),
    )
}

/// Returns a text that a database cannot compress: repetitions would cost it next to nothing.
fn noise(bytes: usize) -> String {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 32) as u8 % 75)
    };
    (0..bytes).map(letter).map(|letter| if letter == '\\' { '-' } else { letter }).collect()
}

/// Returns one step, `width` parallel steps, and one step that waits for them all.
pub(crate) fn fan(recorder: &Recorder, width: usize) -> Result<Workflow, Failure> {
    let siblings: Vec<String> = names(width).collect();
    let mut builder = named("fan").step(step(recorder, "root", json!({})));
    for name in &siblings {
        builder = builder.step(step(recorder, name, json!({})).after(["root"]));
    }
    Ok(builder.step(step(recorder, "join", json!({})).after(&siblings)).build()?)
}

/// Returns a wait, and a step after it.
pub(crate) fn delayed(recorder: &Recorder, delay: Duration) -> Result<Workflow, Failure> {
    in_a_row(
        "delayed",
        vec![
            ("wait".to_owned(), Step::new("wait", wait(delay))),
            ("after".to_owned(), step(recorder, "after", json!({}))),
        ],
    )
}

/// Returns five steps, each of which fails once and is retried after a millisecond.
pub(crate) fn stumbling(recorder: &Recorder) -> Result<Workflow, Failure> {
    let step = |name: String| {
        let recorder = recorder.clone();
        let handler = move |_: Map<String, Value>, context: StepContext| {
            recorder.enter(context.run_id);
            let recorder = recorder.clone();
            async move {
                recorder.leave(context.run_id);
                if context.attempt == 1 { Err(StepError::retryable("the first attempt fails")) } else { Ok(json!({})) }
            }
        };
        (name.clone(), Step::new(name, handler).retry(Retry::fixed(3, Duration::from_millis(1))))
    };
    in_a_row("stumbling", names(5).map(step).collect())
}

struct Booking(Recorder);

impl TransactionalHandler for Booking {
    type Input = Map<String, Value>;
    type Transaction = DatabaseTransaction;
    type Output = Map<String, Value>;

    async fn run(
        &self,
        _: Self::Input,
        transaction: &DatabaseTransaction,
        context: StepContext,
    ) -> StepResult<Self::Output> {
        self.0.enter(context.run_id);
        let insert = format!("INSERT INTO bookings (run, step) VALUES ('{}', '{}')", context.run_id, context.step);
        transaction.execute_unprepared(&insert).await?;
        self.0.leave(context.run_id);
        Ok(Map::new())
    }
}

/// Returns five transactional steps, each of which inserts a row of the host.
pub(crate) fn booking(recorder: &Recorder) -> Result<Workflow, Failure> {
    let step = |name: String| (name.clone(), Step::new(name, transactional(Booking(recorder.clone()))));
    in_a_row("booking", names(5).map(step).collect())
}

/// The host's table for [`booking`].
pub(crate) const BOOKINGS: &str =
    "CREATE TABLE bookings (run TEXT NOT NULL, step TEXT NOT NULL, PRIMARY KEY (run, step))";
