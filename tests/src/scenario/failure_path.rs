//! What a step on an error route is given of the failure that led there (SPEC 25).

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use squidmesh_core::run::{Failure, FailureKind};
use squidmesh_core::{
    COMPLETE, Retry, RunStatus, Step, StepContext, StepError, StepResult, Workflow, approval, hours, ms,
};

use super::{done, nothing, workflow};
use crate::{Backend, Journal};

/// What each attempt of a step was given, in order.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<Vec<Seen>>>);

/// What a step saw in its context.
type Seen = (String, Option<Failure>);

impl Known {
    fn step(&self, name: &str, answer: impl Fn(&StepContext) -> StepResult<Value> + Send + Sync + 'static) -> Step {
        let known = self.0.clone();
        Step::new(name, move |_: Value, context: StepContext| {
            known.lock().unwrap().push((context.step.to_string(), context.failure.clone()));
            std::future::ready(answer(&context))
        })
    }

    /// Returns the steps, with the kind of the failure that each attempt was given and the step that failed.
    fn take(&self) -> Vec<(String, Option<(FailureKind, String)>)> {
        let known = std::mem::take(&mut *self.0.lock().unwrap());
        let expected_failures = known.into_iter().map(|(step, failure)| {
            (step, failure.map(|failure| (failure.kind, failure.step.expect("the failed step").to_string())))
        });
        expected_failures.collect()
    }
}

fn entry(step: &str, failure: Option<(&str, &str)>) -> (String, Option<(FailureKind, String)>) {
    (step.to_owned(), failure.map(|(kind, of)| (kind.into(), of.to_owned())))
}

/// charge fails → apologise, which fails the first time → write, which fails terminally → escalate → end
fn routed(known: &Known) -> Workflow {
    workflow("routed")
        .step(known.step("charge", |_| Err(StepError::terminal("no").kind("declined").details(json!({"code": 51})))))
        .step(
            known
                .step("apologise", |context| match context.attempt {
                    1 => Err(StepError::retryable("busy")),
                    _ => Ok(json!({})),
                })
                .retry(Retry::fixed(2, ms(1))),
        )
        .step(known.step("write", |_| Err(StepError::terminal("no paper").kind("paper"))))
        .step(known.step("escalate", |_| Ok(json!({}))))
        .step(known.step("end", |_| Ok(json!({}))))
        .then("charge", COMPLETE)
        .on_error("charge", "apologise")
        .then("apologise", "write")
        .then("write", COMPLETE)
        .on_error("write", "escalate")
        .then("escalate", "end")
        .then("end", COMPLETE)
        .build()
        .unwrap()
}

pub async fn every_step_after_an_error_route_receives_its_failure(backend: &Backend) {
    let known = Known::default();
    let world = backend.world([routed(&known)]);
    let run = world.start_run("routed", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
    let first = known.0.lock().unwrap()[1].1.clone().unwrap();
    assert_eq!((first.message.as_str(), first.details), ("no", Some(json!({"code": 51}))));
    let (declined, paper) = (Some(("declined", "charge")), Some(("paper", "write")));
    assert_eq!(
        known.take(),
        [
            entry("charge", None),
            entry("apologise", declined),
            entry("apologise", declined),
            entry("write", declined),
            entry("escalate", paper),
            entry("end", paper),
        ]
    );
}

pub async fn a_resumed_run_keeps_the_failure_of_its_path(backend: &Backend) {
    let (known, journal) = (Known::default(), Journal::new());
    let broken = workflow("broken")
        .step(known.step("charge", |_| Err(StepError::terminal("no").kind("declined"))))
        .step(journal.step("between", done))
        .step(known.step("apologise", |_| Err(StepError::terminal("no paper").kind("paper"))))
        .then("charge", COMPLETE)
        .on_error("charge", "between")
        .then("between", "apologise")
        .then("apologise", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([broken]);
    let run = world.start_run("broken", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Failed);
    known.take();
    let resumed = world.resume_run(run.id).await.unwrap();
    world.settle(resumed.id).await;
    assert_eq!(known.take(), [entry("apologise", Some(("declined", "charge")))]);
}

pub async fn a_rejection_is_a_failure_on_its_route_and_approval_is_none(backend: &Backend) {
    for approve in [true, false] {
        let known = Known::default();
        let asking = workflow("asking")
            .step(Step::new("ask", approval().deadline(hours(9))).output("answer"))
            .step(known.step("yes", |_| Ok(json!({}))))
            .step(known.step("no", |_| Ok(json!({}))))
            .then("ask", "yes")
            .on_error("ask", "no")
            .then("yes", COMPLETE)
            .then("no", COMPLETE)
            .build()
            .unwrap();
        let world = backend.world([asking]);
        let run = world.start_run("asking", &nothing()).await.unwrap();
        world
            .working(async {
                while world.status(run.id).await != RunStatus::Paused {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        match approve {
            true => world.approve_run(run.id).actor("ada").await.unwrap(),
            false => world.reject_run(run.id).actor("ada").comment("too dear").await.unwrap(),
        };
        world.settle(run.id).await;
        let expected = match approve {
            true => entry("yes", None),
            false => entry("no", Some(("rejected", "ask"))),
        };
        assert_eq!(known.take(), [expected]);
    }
}

pub async fn no_step_of_a_dependency_workflow_receives_a_failure(backend: &Backend) {
    let known = Known::default();
    let two = workflow("two")
        .step(
            known
                .step("one", |context| match context.attempt {
                    1 => Err(StepError::retryable("busy")),
                    _ => Ok(json!({})),
                })
                .retry(Retry::fixed(2, ms(1))),
        )
        .step(known.step("two", |_| Ok(json!({}))).after(["one"]))
        .build()
        .unwrap();
    let world = backend.world([two]);
    let run = world.start_run("two", &nothing()).await.unwrap();
    world.settle(run.id).await;
    assert_eq!(known.take(), [entry("one", None), entry("one", None), entry("two", None)]);
}
