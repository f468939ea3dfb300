//! Handlers that are asked to stop, and what is recorded of those that do.

use std::future::pending;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use squidmesh_core::run::{CompensationStatus, FailureKind};
use squidmesh_core::workflow::{CancelReason, Compensation};
use squidmesh_core::{COMPLETE, Retry, RunStatus, Step, StepContext, StepError, StepResult, Workflow, ms};

use super::{nothing, workflow};
use crate::world::{attempts, step};
use crate::{Backend, Gate};

/// The reasons that handlers received, in order.
type Noticed = Arc<Mutex<Vec<CancelReason>>>;

/// Returns a step whose first attempt waits until it is asked to stop, and then ends with `end`.
fn asked(name: &str, gate: &Arc<Gate>, noticed: &Noticed, end: fn() -> StepResult<Value>) -> Step {
    let (gate, noticed) = (gate.clone(), noticed.clone());
    Step::new(name, move |_: Value, context: StepContext| {
        let (gate, noticed) = (gate.clone(), noticed.clone());
        async move {
            if context.attempt > 1 {
                return Ok(json!({}));
            }
            gate.open();
            gate.pass().await;
            let reason = context.cancellation.cancelled().await;
            noticed.lock().unwrap().push(reason);
            end()
        }
    })
    .retry(Retry::never())
}

fn single(step: Step, name: &str) -> Workflow {
    workflow(name).step(step).then(name, COMPLETE).build().expect("a valid workflow")
}

pub async fn handlers_are_notified_when_the_drain_begins(backend: &Backend) {
    let (gate, noticed) = (Arc::new(Gate::default()), Noticed::default());
    let world = backend.world([
        single(asked("stops", &gate, &noticed, || Err(StepError::retryable("stopped in good order"))), "stops"),
        single(asked("fails", &gate, &noticed, || Err(StepError::terminal("it cannot continue"))), "fails"),
        single(asked("completes", &gate, &noticed, || Ok(json!({}))), "completes"),
    ]);
    let mut runs = Vec::new();
    for name in ["stops", "fails", "completes"] {
        runs.push(world.start_run(name, &nothing()).await.unwrap());
    }
    world.working(gate.arrived(3)).await;
    assert_eq!(*noticed.lock().unwrap(), [CancelReason::ShuttingDown; 3]);
    for (run, (name, ended)) in
        runs.iter().zip([("stops", "interrupted"), ("fails", "failed"), ("completes", "completed")])
    {
        assert_eq!(attempts(&world.look(run.id).await, name), [ended]);
    }
    let details = world.settle(runs[0].id).await;
    assert_eq!((details.run.status, attempts(&details, "stops").len()), (RunStatus::Completed, 2));
    assert_eq!(step(&details, "stops").run.as_ref().unwrap().failures, 0, "no attempt is burnt");
}

pub async fn an_error_is_recorded_while_workers_drain(backend: &Backend) {
    let gate = Arc::new(Gate::default());
    let hold = gate.clone();
    let fails = move |_: Value, context: StepContext| {
        let gate = hold.clone();
        async move {
            if context.attempt > 1 {
                return Ok(json!({}));
            }
            gate.pass().await;
            Err(StepError::retryable("by itself"))
        }
    };
    let world = backend.world([single(Step::new("one", fails).retry(Retry::fixed(2, ms(1))), "one")]);
    let run = world.start_run("one", &nothing()).await.unwrap();
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let delivered = runner.clone();
    let worker = tokio::spawn(async move { delivered.deliver(claim).await });
    gate.arrived(1).await;
    runner.drain();
    gate.open();
    worker.await.unwrap();
    assert_eq!(attempts(&world.look(run.id).await, "one"), ["failed"]);
    assert_eq!(attempts(&world.settle(run.id).await, "one"), ["failed", "completed"]);
}

pub async fn a_handler_has_some_time_to_stop_at_its_timeout(backend: &Backend) {
    let (gate, noticed) = (Arc::new(Gate::default()), Noticed::default());
    let stops = asked("stops", &gate, &noticed, || Ok(json!({}))).timeout(ms(80));
    let world = backend.world([single(stops, "stops")]);
    let run = world.start_run("stops", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(*noticed.lock().unwrap(), [CancelReason::TimedOut]);
    assert_eq!((details.run.status, attempts(&details, "stops")), (RunStatus::Failed, vec!["failed"]));
    let attempt = &step(&details, "stops").attempts[0];
    assert_eq!(
        attempt.error.as_ref().unwrap().kind,
        FailureKind::TIMEOUT,
        "a timeout stays one, regardless of what is returned then"
    );
}

pub async fn each_callback_of_a_compensation_is_notified_by_itself(backend: &Backend) {
    let noticed = Noticed::default();
    let noted = noticed.clone();
    let late = |_: Compensation, context: StepContext| async move {
        context.cancellation.cancelled().await;
        StepResult::Ok(())
    };
    let next = move |_: Compensation, context: StepContext| {
        noted.lock().unwrap().extend(context.cancellation.reason());
        async { StepResult::Ok(()) }
    };
    let done = |_: Value, _: StepContext| async { StepResult::Ok(json!({})) };
    let fails = |_: Value, _: StepContext| async { Err::<(), _>(StepError::terminal("no")) };
    let undone = workflow("undone")
        .step(Step::new("one", done).compensate(next))
        .step(Step::new("two", done).timeout(ms(80)).compensate(late))
        .step(Step::new("three", fails).retry(Retry::never()))
        .then("one", "two")
        .then("two", "three")
        .then("three", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([undone]);
    let run = world.start_run("undone", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let status = |name| step(&details, name).run.as_ref().unwrap().compensation.as_ref().unwrap().status;
    assert_eq!((status("two"), status("one")), (CompensationStatus::Failed, CompensationStatus::Completed));
    assert_eq!(*noticed.lock().unwrap(), [], "the timeout was another callback's");
}

pub async fn the_time_to_stop_is_bounded_and_for_those_who_look(backend: &Backend) {
    let watches = |_: Value, context: StepContext| async move {
        let reason = context.cancellation.cancelled().await;
        assert_eq!(reason, CancelReason::TimedOut);
        pending::<StepResult<()>>().await
    };
    let deaf = |_: Value, _: StepContext| pending::<StepResult<()>>();
    let (short, long) = (ms(200), ms(60_000));
    for (step_of, grace, least) in [
        (Step::new("one", watches), short, ms(80) + short),
        // A grace this long would outlast the scenario.
        (Step::new("one", deaf), long, ms(80)),
    ] {
        let name = format!("grace of {grace:?}").replace(' ', "_").replace('.', "_");
        let built = workflow(&name).step(step_of.timeout(ms(80)).retry(Retry::never())).then("one", COMPLETE);
        let world = backend
            .world_with([built.build().unwrap()], |builder| builder.configure(|config| config.timeout_grace = grace));
        let run = world.start_run(&name, &nothing()).await.unwrap();
        let details = world.settle(run.id).await;
        let attempt = &step(&details, "one").attempts[0];
        assert_eq!(attempt.error.as_ref().unwrap().kind, FailureKind::TIMEOUT);
        let took = attempt.finished_at.unwrap().since(attempt.started_at);
        assert!(took >= least && took < long, "{took:?}");
    }
}
