//! Undoing what a failed run has done, and what cannot be undone (SPEC 9).

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use squidmesh_core::command::{DeliveryOutcome, ReplayError, SquidmeshBuilder};
use squidmesh_core::event::IgnoreReason;
use squidmesh_core::inspect::{RunDetails, StepState};
use squidmesh_core::run::{CompensationRun, CompensationStatus, FailureKind};
use squidmesh_core::workflow::Compensation;
use squidmesh_core::{COMPLETE, Retry, RunStatus, StepContext, StepError, StepResult, Trigger, Workflow, hours, ms};

use super::{done, nothing, workflow};
use crate::world::{states, step};
use crate::{Backend, Gate, Journal, World};

/// The compensations that were called, in order.
#[derive(Clone, Default)]
struct Undone(Arc<Mutex<Vec<(String, u32, Compensation)>>>);

impl Undone {
    /// Returns a compensation that is recorded and then answers.
    fn by(
        &self,
        answer: impl Fn(u32) -> StepResult<Value> + Send + Sync + 'static,
    ) -> impl Fn(Compensation, StepContext) -> std::future::Ready<StepResult<Value>> + Send + Sync + 'static {
        let undone = self.0.clone();
        move |undo, context| {
            undone.lock().unwrap().push((context.step.to_string(), context.attempt, undo));
            std::future::ready(answer(context.attempt))
        }
    }

    fn steps(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(step, ..)| step.clone()).collect()
    }
}

fn fine(_: u32) -> StepResult<Value> {
    Ok(json!({"undone": true}))
}

fn fatal(_: &crate::Call) -> StepResult<Value> {
    Err(StepError::terminal("no truck").kind("truck"))
}

fn compensation<'a>(details: &'a RunDetails, name: &str) -> &'a CompensationRun {
    step(details, name).run.as_ref().unwrap().compensation.as_ref().expect("a compensation")
}

/// reserve → pay → ship, which fails terminally.
fn selling(
    journal: &Arc<Journal>,
    undone: &Undone,
    pay: impl Fn(u32) -> StepResult<Value> + Send + Sync + 'static,
    retry: Option<Retry>,
) -> Workflow {
    let paying = journal.step("pay", |_| Ok(json!({"paid": 7}))).compensate(undone.by(pay));
    workflow("selling")
        .step(journal.step("reserve", |_| Ok(json!(3))).output("shelf").compensate(undone.by(fine)))
        .step(if let Some(retry) = retry { paying.compensation_retry(retry) } else { paying })
        .step(journal.step("ship", fatal).compensate(undone.by(fine)))
        .then("reserve", "pay")
        .then("pay", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap()
}

pub async fn irreversible_effects_are_recorded_and_block_a_replay(backend: &Backend) {
    let journal = Journal::new();
    let lasting = workflow("lasting")
        .step(journal.step("plain", done))
        .step(journal.step("mail", done).irreversible())
        .step(journal.step("print", done).compensatable(false))
        .then("plain", "mail")
        .then("mail", "print")
        .then("print", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([lasting]);
    let run = world.start_run("lasting", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let policy = |name: &str| step(&details, name).run.as_ref().unwrap().recovery.clone();
    assert!(policy("plain").compensatable && !policy("plain").irreversible);
    assert!(policy("mail").irreversible && !policy("mail").compensatable);
    assert!(!policy("print").irreversible && !policy("print").compensatable);
    let refused = world.replay_run(run.id).await.unwrap_err();
    let ReplayError::UnsafeReplay { steps, .. } = refused else { panic!("{refused}") };
    assert_eq!(steps.iter().map(|step| step.as_str()).collect::<Vec<_>>(), ["mail", "print"]);
    assert!(world.replay_run(run.id).allow_irreversible().await.is_ok());
}

pub async fn a_compensation_receives_its_steps_input_and_the_failure(backend: &Backend) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let world = backend.world([selling(&journal, &undone, fine, None)]);
    let run = world.start_run("selling", &json!({"order": {"n": 1}})).await.unwrap();
    world.settle(run.id).await;
    let calls = undone.0.lock().unwrap().clone();
    let (step, _, pay) = &calls[0];
    assert_eq!((step.as_str(), &pay.output), ("pay", &json!({"paid": 7})));
    assert_eq!(pay.input, json!({"order": {"n": 1}, "shelf": 3}));
    assert_eq!(Value::Object(pay.payload.clone()), json!({"order": {"n": 1}}));
    assert_eq!(Value::Object(pay.context.clone()), json!({"shelf": 3, "paid": 7}));
    assert_eq!((&pay.failure["kind"], &pay.failure["step"]), (&json!("truck"), &json!("ship")));
    assert_eq!(calls[1].2.output, json!(3), "without the key that the step declares");
}

pub async fn a_failed_step_is_not_compensated(backend: &Backend) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let world = backend.world([selling(&journal, &undone, fine, None)]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(undone.steps(), ["pay", "reserve"]);
    assert!(step(&details, "ship").run.as_ref().unwrap().compensation.is_none());
}

pub async fn an_error_route_is_taken_instead_of_a_compensation(backend: &Backend) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let routed = workflow("routed")
        .step(journal.step("reserve", done).compensate(undone.by(fine)))
        .step(journal.step("ship", fatal))
        .step(journal.step("apologise", done))
        .then("reserve", "ship")
        .then("ship", COMPLETE)
        .on_error("ship", "apologise")
        .then("apologise", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([routed]);
    let run = world.start_run("routed", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
    assert!(undone.steps().is_empty());
}

pub async fn a_sibling_that_ends_after_the_failure_is_undone_first(backend: &Backend) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let (late, go) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let wait_at = |gate: &Arc<Gate>, fails: bool| {
        let gate = gate.clone();
        move |_: crate::Call, _: StepContext| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                if fails { Err(StepError::terminal("no")) } else { Ok(json!({})) }
            }
        }
    };
    let fan = workflow("fan")
        .step(journal.step("early", done).compensate(undone.by(fine)))
        .step(journal.slow_step("late", wait_at(&late, false)).after(["early"]).compensate(undone.by(fine)))
        .step(journal.slow_step("fatal", wait_at(&go, true)).after(["early"]))
        .build()
        .unwrap();
    let world = backend.world([fan]);
    let run = world.start_run("fan", &nothing()).await.unwrap();
    let details = world
        .working(async {
            late.arrived(1).await;
            go.open();
            world.sink.wait_for(|event| event.status == RunStatus::Failed).await;
            assert!(undone.steps().is_empty(), "nothing is compensated while a sibling runs");
            late.open();
            world.rests(run.id).await
        })
        .await;
    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(undone.steps(), ["late", "early"], "in the reverse of completion");
}

pub async fn each_result_of_a_compensation_is_recorded(backend: &Backend) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let stuck = |_| Err(StepError::terminal("the bank is closed").kind("closed"));
    let world = backend.world([selling(&journal, &undone, stuck, None)]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let (reserve, pay) = (compensation(&details, "reserve"), compensation(&details, "pay"));
    assert_eq!(
        (reserve.status, reserve.output.clone()),
        (CompensationStatus::Completed, Some(json!({"undone": true})))
    );
    assert_eq!((pay.status, pay.error.as_ref().unwrap().kind.as_str()), (CompensationStatus::Failed, "closed"));
    assert!(pay.started_at <= pay.finished_at.unwrap() && pay.finished_at.unwrap() <= reserve.finished_at.unwrap());
    let emitted = world.event_names(&run);
    let emitted: Vec<_> = emitted.iter().filter(|name| name.starts_with("compensation.")).copied().collect();
    let expected = ["compensation.started", "compensation.failed", "compensation.started", "compensation.completed"];
    assert_eq!(emitted, expected);
}

pub async fn a_failing_compensation_does_not_stop_the_rest_and_is_listed(backend: &Backend) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let stuck = |_| Err(StepError::terminal("the bank is closed").kind("closed"));
    let world = backend.world([selling(&journal, &undone, stuck, None)]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, undone.steps()), (RunStatus::Failed, vec!["pay".to_owned(), "reserve".to_owned()]));
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!(error.kind, "truck", "why the run failed is still what it says");
    let listed = &error.details.as_ref().unwrap()["compensation_failures"];
    assert_eq!(listed, &json!([{"step": "pay", "kind": "closed", "message": "the bank is closed"}]));
}

pub async fn a_compensation_is_retried_by_its_own_policy_in_its_turn(backend: &Backend) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let busy = |attempt| if attempt < 3 { Err(StepError::retryable("busy")) } else { fine(attempt) };
    let retry = Some(Retry::exponential(3, ms(20)..ms(40)));
    let world = backend.world([selling(&journal, &undone, busy, retry)]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(undone.steps(), ["pay", "pay", "pay", "reserve"]);
    let pay = compensation(&details, "pay");
    assert_eq!((pay.status, pay.attempt, pay.failures), (CompensationStatus::Completed, 3, 2));
    assert!(pay.finished_at.unwrap().since(pay.started_at) >= ms(60), "20 ms and 40 ms between the attempts");
    assert!(details.run.last_error.unwrap().details.is_none(), "no compensation failed in the end");
    let emitted = world.event_names(&run);
    assert_eq!(emitted.iter().filter(|name| **name == "compensation.retry_scheduled").count(), 2);
}

pub async fn a_compensation_whose_attempts_are_used_up_has_failed(backend: &Backend) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let busy = |_| Err(StepError::retryable("busy"));
    let world = backend.world([selling(&journal, &undone, busy, Some(Retry::fixed(2, ms(1))))]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(undone.steps(), ["pay", "pay", "reserve"]);
    assert_eq!(compensation(&details, "pay").status, CompensationStatus::Failed);
    assert!(details.run.last_error.unwrap().details.unwrap()["compensation_failures"].is_array());
}

fn short_leases(builder: SquidmeshBuilder) -> SquidmeshBuilder {
    builder.configure(|config| (config.lease, config.heartbeat) = (ms(300), ms(75)))
}

/// Returns a failed run whose compensation hangs at its first attempt.
async fn hanging(
    backend: &Backend,
    undone: &Undone,
    gate: &Arc<Gate>,
    settings: fn(SquidmeshBuilder) -> SquidmeshBuilder,
) -> (World, World, squidmesh_core::Run) {
    let (notes, hold) = (undone.0.clone(), gate.clone());
    let hang = move |undo: Compensation, context: StepContext| {
        notes.lock().unwrap().push((context.step.to_string(), context.attempt, undo));
        let gate = hold.clone();
        async move {
            if context.attempt == 1 {
                gate.pass().await;
            }
            StepResult::Ok(json!({"by": context.attempt}))
        }
    };
    let journal = Journal::new();
    let failing = workflow("failing")
        .step(journal.step("one", done).compensate(hang))
        .step(journal.step("two", fatal))
        .then("one", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap();
    let (world, other) = (backend.world_with([failing.clone()], settings), backend.world_with([failing], settings));
    let run = world.start_run("failing", &nothing()).await.unwrap();
    let claim = world.runner().claim(1).await.unwrap().claims.remove(0);
    world.runner().deliver(claim).await;
    assert_eq!(world.status(run.id).await, RunStatus::Failed);
    (world, other, run)
}

pub async fn two_deliveries_never_run_one_compensation_at_once(backend: &Backend) {
    let (undone, gate) = (Undone::default(), Arc::new(Gate::default()));
    let (world, _, run) = hanging(backend, &undone, &gate, |builder| builder).await;
    let runner = world.runner();
    let payload = format!(r#"{{"kind":"compensation","v":1,"run_id":"{}"}}"#, run.id);
    let first = {
        let (runner, payload) = (runner.clone(), payload.clone());
        tokio::spawn(async move { runner.perform(payload.as_bytes()).await })
    };
    gate.arrived(1).await;
    for _ in 0..3 {
        let second = runner.perform(payload.as_bytes()).await.unwrap();
        assert!(matches!(second, DeliveryOutcome::Ignored(IgnoreReason::Held)), "{second:?}");
    }
    gate.open();
    assert!(matches!(first.await.unwrap().unwrap(), DeliveryOutcome::Done { steps: 1 }));
    assert_eq!(undone.steps().len(), 1);
}

pub async fn a_redelivery_repeats_no_completed_compensation(backend: &Backend) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let world = backend.world([selling(&journal, &undone, fine, None)]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let before = world.settle(run.id).await;
    let payload = format!(r#"{{"kind":"compensation","v":1,"run_id":"{}"}}"#, run.id);
    let again = world.runner().perform(payload.as_bytes()).await.unwrap();
    assert!(matches!(again, DeliveryOutcome::Ignored(IgnoreReason::NoIntent)), "{again:?}");
    world.dispatcher().dispatch_compensation(run.id).await.unwrap(); // a host that insists
    let after = world.settle(run.id).await;
    assert_eq!((undone.steps().len(), states(&after)), (2, states(&before)));
    assert_eq!(compensation(&after, "pay"), compensation(&before, "pay"));
}

pub async fn a_dead_workers_compensation_resumes_and_fences_the_dead(backend: &Backend) {
    let (undone, gate) = (Undone::default(), Arc::new(Gate::default()));
    let (world, other, run) = hanging(backend, &undone, &gate, short_leases).await;
    // This process extends no lease, so it loses its lease while the compensation hangs.
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let worker = tokio::spawn(async move { runner.deliver(claim).await });
    gate.arrived(1).await;
    let details = other.settle(run.id).await;
    let kept = compensation(&details, "one").clone();
    assert_eq!((kept.status, kept.attempt, kept.crashes), (CompensationStatus::Completed, 2, 1));
    assert_eq!(kept.output, Some(json!({"by": 2})));
    gate.open();
    let late = worker.await.unwrap();
    assert!(matches!(late, DeliveryOutcome::Ignored(IgnoreReason::LeaseLost)), "{late:?}");
    assert_eq!(compensation(&world.look(run.id).await, "one"), &kept);
}

pub async fn the_run_stays_failed_after_its_compensations(backend: &Backend) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let panicking = |_: u32| -> StepResult<Value> { panic!("at the bank") };
    let world = backend.world([selling(&journal, &undone, panicking, Some(Retry::fixed(1, hours(1))))]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(states(&details), [StepState::Completed, StepState::Completed, StepState::Failed]);
    assert_eq!(compensation(&details, "pay").error.as_ref().unwrap().kind, FailureKind::PANIC);
    assert_eq!(compensation(&details, "reserve").status, CompensationStatus::Completed);
}

pub async fn long_compensation_failures_stay_within_the_limits(backend: &Backend) {
    const STEPS: usize = 100;
    let journal = Journal::new();
    let undoing = |_: Compensation, _: StepContext| async {
        StepResult::<()>::Err(StepError::terminal("\"no\" ".repeat(5_000)).kind("stuck"))
    };
    let names: Vec<String> = (0..STEPS).map(|number| format!("step-{number}")).collect();
    let wide =
        names.iter().fold(workflow("wide"), |wide, name| wide.step(journal.step(name, done).compensate(undoing)));
    let last = journal.step("last", |_| Err(StepError::terminal("never").details(json!({"asked": 7}))));
    let wide = wide.step(last.after(names.iter().map(String::as_str))).build().unwrap();
    let world = backend.world([wide]);
    let run = world.start_run("wide", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let error = details.run.last_error.as_ref().unwrap();
    let size = serde_json::to_vec(error).unwrap().len();
    assert!(size <= 1 << 20, "{size} bytes");
    let listed = error.details.as_ref().unwrap();
    assert_eq!((&listed["asked"], error.message.as_str()), (&json!(7), "never"));
    let failures = listed["compensation_failures"].as_array().unwrap();
    let left_out = listed.get("compensation_failures_left_out").and_then(Value::as_u64).unwrap_or_default();
    assert_eq!(failures.len() as u64 + left_out, STEPS as u64);
    assert!(failures.iter().all(|found| found["message"].as_str().unwrap().ends_with("[truncated]")), "marked");
    assert_eq!(compensation(&details, "step-7").error.as_ref().unwrap().message.len(), 5 * 5_000, "kept in full");
}

pub async fn a_compensation_is_given_the_intended_time(backend: &Backend) {
    let journal = Journal::new();
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = times.clone();
    let undo = move |_: Compensation, context: StepContext| {
        seen.lock().unwrap().push(context.intended_at);
        std::future::ready(StepResult::Ok(()))
    };
    let nightly = Workflow::builder("nightly")
        .trigger(Trigger::cron("three").expression("0 3 * * *").time_zone("UTC"))
        .step(journal.step("one", done).compensate(undo))
        .step(journal.step("two", fatal))
        .then("one", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([nightly]);
    let due = "2025-12-20T03:00:00.000Z";
    let payload = json!({"v": 1, "kind": "cron", "workflow": "nightly", "trigger": "three", "intended_at": due});
    world.runner().perform(payload.to_string().as_bytes()).await.unwrap();
    let run = world.list_runs(&squidmesh_core::RunFilter::new()).await.unwrap().runs.remove(0);
    world.settle(run.id).await;
    assert_eq!(*times.lock().unwrap(), [Some(due.parse().unwrap())]);
}
