//! Steps that depend on each other.

use std::sync::Arc;

use serde_json::{Value, json};
use squidmesh_core::inspect::StepState;
use squidmesh_core::workflow::{Compensation, WithDelay};
use squidmesh_core::{COMPLETE, Retry, RunStatus, Step, StepContext, StepError, StepResult, ms};

use super::{done, nothing, workflow};
use crate::world::{attempts, kinds_of_attempts, states, step};
use crate::{Backend, Gate, Journal};

pub async fn a_diamond_runs_both_sides_and_joins_once(backend: &Backend) {
    let journal = Journal::new();
    let gate = Arc::new(Gate::default());
    let side = |name: &'static str| {
        let gate = gate.clone();
        journal.slow_step(name, move |call, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(json!({ call.step: 1 }))
            }
        })
    };
    let diamond = workflow("diamond")
        .step(journal.step("root", done))
        .step(side("left").after(["root"]))
        .step(side("right").after(["root"]))
        .step(journal.step("join", done).after(["left", "right"]))
        .build()
        .unwrap();
    let world = backend.world([diamond]);
    let run = world.start_run("diamond", &nothing()).await.unwrap();
    let details = world
        .working(async {
            gate.arrived(2).await; // both run at the same time
            gate.open();
            world.rests(run.id).await
        })
        .await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(journal.of("join").len(), 1);
    assert_eq!(journal.of("join")[0].input, json!({"left": 1, "right": 1}));
    assert_eq!(states(&details), [StepState::Completed; 4]);
}

pub async fn all_roots_start_at_once(backend: &Backend) {
    let journal = Journal::new();
    let gate = Arc::new(Gate::default());
    let names = ["a", "b", "c", "d"];
    let roots = names.iter().fold(workflow("roots"), |builder, name| {
        let gate = gate.clone();
        builder.step(journal.slow_step(name, move |_, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(json!({}))
            }
        }))
    });
    let world = backend.world([roots.parallel().build().unwrap()]);
    let run = world.start_run("roots", &nothing()).await.unwrap();
    assert_eq!(world.look(run.id).await.intents.len(), 4);
    let details = world
        .working(async {
            gate.arrived(4).await;
            gate.open();
            world.rests(run.id).await
        })
        .await;
    assert_eq!((details.run.status, states(&details)), (RunStatus::Completed, vec![StepState::Completed; 4]));
}

pub async fn a_retrying_sibling_does_not_stop_the_others(backend: &Backend) {
    let journal = Journal::new();
    let siblings = workflow("siblings")
        .step(
            journal
                .step("shaky", |call| if call.attempt < 3 { Err(StepError::retryable("no")) } else { Ok(json!({})) })
                .retry(Retry::fixed(3, ms(60))),
        )
        .step(journal.step("steady", done))
        .step(journal.step("after_steady", done).after(["steady"]))
        .step(journal.step("join", done).after(["shaky", "after_steady"]))
        .build()
        .unwrap();
    let world = backend.world([siblings]);
    let run = world.start_run("siblings", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    let order = journal.steps();
    let place = |step: &str| order.iter().rposition(|found| found == step).unwrap();
    assert!(place("after_steady") < place("shaky"), "the others continued meanwhile: {order:?}");
    assert_eq!(attempts(&details, "shaky"), ["failed", "failed", "completed"]);
    assert_eq!(order.last().map(String::as_str), Some("join"));
}

pub async fn a_terminal_failure_fails_the_run_and_the_join_never_starts(backend: &Backend) {
    let journal = Journal::new();
    let gate = Arc::new(Gate::default());
    let hold = gate.clone();
    let go = Arc::new(Gate::default());
    let wait = go.clone();
    let failing = workflow("failing")
        .step(journal.slow_step("late", move |_, _| {
            let gate = hold.clone();
            async move {
                gate.pass().await;
                Ok(json!({"late": 1}))
            }
        }))
        .step(journal.step("fatal", |_| Err(StepError::terminal("no"))).after(["first"]))
        .step(journal.slow_step("first", move |_, _| {
            let gate = wait.clone();
            async move {
                gate.pass().await;
                Ok(json!({}))
            }
        }))
        .step(journal.step("join", done).after(["late", "fatal"]))
        .build()
        .unwrap();
    let world = backend.world([failing]);
    let run = world.start_run("failing", &nothing()).await.unwrap();
    let details = world
        .working(async {
            gate.arrived(1).await;
            go.open();
            world.sink.wait_for(|event| event.status == RunStatus::Failed).await;
            gate.open(); // the sibling ends after the run has failed
            world.rests(run.id).await
        })
        .await;
    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(details.run.last_error.as_ref().unwrap().step.as_ref().unwrap().as_str(), "fatal");
    let expected = [StepState::Completed, StepState::Failed, StepState::Completed, StepState::Waiting];
    assert_eq!(states(&details), expected, "what ran may end, and its output is kept");
    assert_eq!(details.context.get("late"), Some(&json!(1)));
    assert!(journal.of("join").is_empty());
}

pub async fn a_failed_run_starts_none_of_its_waiting_siblings(backend: &Backend) {
    let journal = Journal::new();
    let failing = workflow("failing")
        .step(journal.step("fatal", |_| Err(StepError::terminal("no"))))
        .step(journal.step("delayed", |_| Err(StepError::retryable("no"))).retry(Retry::fixed(9, ms(300))))
        .parallel()
        .build()
        .unwrap();
    let world = backend.world([failing]);
    let run = world.start_run("failing", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Failed);
    backend.pass(ms(350)).await;
    let before = journal.of("delayed").len();
    assert!(before <= 1);
    let details = world.settle(run.id).await;
    assert_eq!(journal.of("delayed").len(), before, "nothing is tried again in a failed run");
    let sibling = step(&details, "delayed").state;
    assert!(matches!(sibling, StepState::Cancelled | StepState::Failed), "{sibling:?}");
}

pub async fn completed_steps_of_a_failed_run_are_compensated_in_reverse(backend: &Backend) {
    let journal = Journal::new();
    let undone: Arc<std::sync::Mutex<Vec<(String, Value)>>> = Arc::default();
    let undo = |_: &str| {
        let undone = undone.clone();
        move |undo: Compensation, context: StepContext| {
            undone.lock().unwrap().push((context.step.to_string(), undo.output));
            async move { StepResult::Ok(()) }
        }
    };
    let sold = workflow("sold")
        .step(journal.step("reserve", |_| Ok(json!(3))).output("shelf").compensate(undo("reserve")))
        .step(journal.step("pay", |_| Ok(json!({"paid": 7}))).compensate(undo("pay")))
        .step(journal.step("ship", |_| Err(StepError::terminal("no truck"))))
        .then("reserve", "pay")
        .then("pay", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([sold]);
    let run = world.start_run("sold", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Failed);
    let expected = vec![("pay".to_owned(), json!({"paid": 7})), ("reserve".to_owned(), json!(3))];
    assert_eq!(*undone.lock().unwrap(), expected);
    assert_eq!(kinds_of_attempts(&details).into_iter().collect::<Vec<_>>(), ["completed", "failed"]);
}

/// `asks` and `other` → end, which begins a while after `asks`, whichever of them ends last.
fn delaying(asks: &str, other: &str, delay: std::time::Duration) -> squidmesh_core::Workflow {
    let asking = move |_: Value, _: StepContext| async move { StepResult::Ok(WithDelay::by(delay, json!({}))) };
    let plain = |_: Value, _: StepContext| async { StepResult::Ok(json!({})) };
    workflow("delaying")
        .step(Step::new(asks, asking))
        .step(Step::new(other, plain))
        .step(Step::new("end", plain).after([asks, other]))
        .build()
        .unwrap()
}

pub async fn a_join_begins_at_the_latest_time_that_was_asked_for(backend: &Backend) {
    for (asks, other) in [("1_asks", "2_plain"), ("2_asks", "1_plain")] {
        for last in [asks, other] {
            let delay = ms(700);
            let world = backend.world([delaying(asks, other, delay)]);
            let run = world.start_run("delaying", &nothing()).await.unwrap();
            // One after the other, by hand: each of them is the last once.
            for step in [if last == asks { other } else { asks }, last] {
                let payload = json!({"kind": "step", "v": 1, "run_id": run.id, "step": step}).to_string();
                world.runner().perform(payload.as_bytes()).await.unwrap();
            }
            let details = world.settle(run.id).await;
            assert_eq!(details.run.status, RunStatus::Completed);
            let at = |name: &str| step(&details, name).run.clone().unwrap();
            let (asked, began) = (at(asks).finished_at.unwrap(), at("end").started_at.unwrap());
            assert!(began.since(asked) >= delay, "{asks} asked, {last} was last: {:?}", began.since(asked));
        }
    }
}

pub async fn a_resumed_join_begins_at_the_time_that_was_asked_for(backend: &Backend) {
    let mended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let delay = ms(900);
    let asking = move |_: Value, _: StepContext| async move { StepResult::Ok(WithDelay::by(delay, json!({}))) };
    let plain = |_: Value, _: StepContext| async { StepResult::Ok(json!({})) };
    let flag = mended.clone();
    let breaks = move |_: Value, _: StepContext| {
        let fine = flag.load(std::sync::atomic::Ordering::SeqCst);
        async move { if fine { Ok(json!({})) } else { Err(StepError::terminal("broken")) } }
    };
    let fan = workflow("fan")
        .step(Step::new("asks", asking))
        .step(Step::new("breaks", breaks))
        .step(Step::new("end", plain).after(["asks", "breaks"]))
        .build()
        .unwrap();
    let world = backend.world([fan]);
    let run = world.start_run("fan", &nothing()).await.unwrap();
    for step in ["asks", "breaks"] {
        let payload = json!({"kind": "step", "v": 1, "run_id": run.id, "step": step}).to_string();
        world.runner().perform(payload.as_bytes()).await.unwrap();
    }
    mended.store(true, std::sync::atomic::Ordering::SeqCst);
    let resumed = world.resume_run(run.id).await.unwrap();
    let details = world.settle(resumed.id).await;
    let at = |name: &str| step(&details, name).run.clone().unwrap();
    assert!(at("end").started_at.unwrap().since(at("asks").finished_at.unwrap()) >= delay);
}
