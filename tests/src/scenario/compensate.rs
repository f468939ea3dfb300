//! Making good what a failed run has done, and what cannot be made good (SPEC 9).

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use squidmesh_core::{
    COMPLETE, Compensation, CompensationRun, CompensationStatus, Delivery, Failure, ReplayError, Retry, RunDetails,
    RunStatus, SkipReason, SquidmeshBuilder, StepContext, StepError, StepResult, StepState, Workflow, hours, ms,
};

use super::{done, nothing, workflow};
use crate::world::{states, step};
use crate::{Gate, Ground, Journal, World};

/// The compensations that were called, in order.
#[derive(Clone, Default)]
struct Undone(Arc<Mutex<Vec<(String, u32, Compensation)>>>);

impl Undone {
    /// A compensation that is noted and then answers.
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

/// reserve → pay → ship, which fails for good.
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

pub async fn effects_that_cannot_be_undone_are_recorded_and_block_a_replay(ground: &Ground) {
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
    let world = ground.world([lasting]);
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

pub async fn a_compensation_is_given_what_its_step_had_and_why_the_run_failed(ground: &Ground) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let world = ground.world([selling(&journal, &undone, fine, None)]);
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

pub async fn a_failed_step_is_not_compensated(ground: &Ground) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let world = ground.world([selling(&journal, &undone, fine, None)]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(undone.steps(), ["pay", "reserve"]);
    assert!(step(&details, "ship").run.as_ref().unwrap().compensation.is_none());
}

pub async fn an_error_route_is_taken_instead_of_a_compensation(ground: &Ground) {
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
    let world = ground.world([routed]);
    let run = world.start_run("routed", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
    assert!(undone.steps().is_empty());
}

pub async fn a_sibling_that_finishes_after_the_failure_is_compensated_too_and_first(ground: &Ground) {
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
    let world = ground.world([fan]);
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

pub async fn each_result_of_a_compensation_is_recorded(ground: &Ground) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let stuck = |_| Err(StepError::terminal("the bank is closed").kind("closed"));
    let world = ground.world([selling(&journal, &undone, stuck, None)]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let (reserve, pay) = (compensation(&details, "reserve"), compensation(&details, "pay"));
    assert_eq!(
        (reserve.status, reserve.output.clone()),
        (CompensationStatus::Completed, Some(json!({"undone": true})))
    );
    assert_eq!((pay.status, pay.error.as_ref().unwrap().kind.as_str()), (CompensationStatus::Failed, "closed"));
    assert!(pay.started_at <= pay.finished_at.unwrap() && pay.finished_at.unwrap() <= reserve.finished_at.unwrap());
    let told = world.told(&run);
    let told: Vec<_> = told.iter().filter(|name| name.starts_with("compensation.")).copied().collect();
    let expected = ["compensation.started", "compensation.failed", "compensation.started", "compensation.completed"];
    assert_eq!(told, expected);
}

pub async fn a_failing_compensation_does_not_stop_the_rest_and_is_listed(ground: &Ground) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let stuck = |_| Err(StepError::terminal("the bank is closed").kind("closed"));
    let world = ground.world([selling(&journal, &undone, stuck, None)]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, undone.steps()), (RunStatus::Failed, vec!["pay".to_owned(), "reserve".to_owned()]));
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!(error.kind, "truck", "why the run failed is still what it says");
    let listed = &error.details.as_ref().unwrap()["compensation_failures"];
    assert_eq!(listed, &json!([{"step": "pay", "kind": "closed", "message": "the bank is closed"}]));
}

pub async fn a_compensation_is_retried_by_its_own_policy_and_nothing_overtakes_it(ground: &Ground) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let busy = |attempt| if attempt < 3 { Err(StepError::retryable("busy")) } else { fine(attempt) };
    let retry = Some(Retry::exponential(3, ms(20)..ms(40)));
    let world = ground.world([selling(&journal, &undone, busy, retry)]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(undone.steps(), ["pay", "pay", "pay", "reserve"]);
    let pay = compensation(&details, "pay");
    assert_eq!((pay.status, pay.attempt, pay.failures), (CompensationStatus::Completed, 3, 2));
    assert!(pay.finished_at.unwrap().since(pay.started_at) >= ms(60), "20 ms and 40 ms between the attempts");
    assert!(details.run.last_error.unwrap().details.is_none(), "no compensation failed in the end");
    let told = world.told(&run);
    assert_eq!(told.iter().filter(|name| **name == "compensation.retry_scheduled").count(), 2);
}

pub async fn a_compensation_whose_attempts_are_used_up_has_failed(ground: &Ground) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let busy = |_| Err(StepError::retryable("busy"));
    let world = ground.world([selling(&journal, &undone, busy, Some(Retry::fixed(2, ms(1))))]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(undone.steps(), ["pay", "pay", "reserve"]);
    assert_eq!(compensation(&details, "pay").status, CompensationStatus::Failed);
    assert!(details.run.last_error.unwrap().details.unwrap()["compensation_failures"].is_array());
}

fn short_leases(builder: SquidmeshBuilder) -> SquidmeshBuilder {
    builder.configure(|config| (config.lease, config.heartbeat) = (ms(300), ms(75)))
}

/// A run that has failed, and whose compensation hangs at its first attempt.
async fn hanging(
    ground: &Ground,
    undone: &Undone,
    gate: &Arc<Gate>,
    settings: fn(SquidmeshBuilder) -> SquidmeshBuilder,
) -> (World, squidmesh_core::Run) {
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
    let world = ground.world_with([failing], settings);
    let run = world.start_run("failing", &nothing()).await.unwrap();
    let claim = world.runner().claim(1).await.unwrap().claims.remove(0);
    world.runner().deliver(claim).await;
    assert_eq!(world.status(run.id).await, RunStatus::Failed);
    (world, run)
}

pub async fn two_deliveries_never_run_one_compensation_at_once(ground: &Ground) {
    let (undone, gate) = (Undone::default(), Arc::new(Gate::default()));
    let (world, run) = hanging(ground, &undone, &gate, |builder| builder).await;
    let runner = world.runner();
    let payload = format!(r#"{{"kind":"compensation","v":1,"run_id":"{}"}}"#, run.id);
    let first = {
        let (runner, payload) = (runner.clone(), payload.clone());
        tokio::spawn(async move { runner.perform(payload.as_bytes()).await })
    };
    gate.arrived(1).await;
    for _ in 0..3 {
        let second = runner.perform(payload.as_bytes()).await.unwrap();
        assert!(matches!(second, Delivery::Skipped(SkipReason::Held)), "{second:?}");
    }
    gate.open();
    assert!(matches!(first.await.unwrap().unwrap(), Delivery::Done { steps: 1 }));
    assert_eq!(undone.steps().len(), 1);
}

pub async fn a_redelivery_repeats_no_completed_compensation(ground: &Ground) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let world = ground.world([selling(&journal, &undone, fine, None)]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let before = world.settle(run.id).await;
    let payload = format!(r#"{{"kind":"compensation","v":1,"run_id":"{}"}}"#, run.id);
    let again = world.runner().perform(payload.as_bytes()).await.unwrap();
    assert!(matches!(again, Delivery::Skipped(SkipReason::NoIntent)), "{again:?}");
    world.dispatcher().dispatch_compensation(run.id).await.unwrap(); // a host that insists
    let after = world.settle(run.id).await;
    assert_eq!((undone.steps().len(), states(&after)), (2, states(&before)));
    assert_eq!(compensation(&after, "pay"), compensation(&before, "pay"));
}

pub async fn a_compensation_whose_worker_died_goes_on_elsewhere_and_the_dead_can_record_nothing(ground: &Ground) {
    let (undone, gate) = (Undone::default(), Arc::new(Gate::default()));
    let (world, run) = hanging(ground, &undone, &gate, short_leases).await;
    // This worker extends no lease, so it loses it while the compensation hangs.
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let worker = tokio::spawn(async move { runner.deliver(claim).await });
    gate.arrived(1).await;
    let details = world.settle(run.id).await;
    let kept = compensation(&details, "one").clone();
    assert_eq!((kept.status, kept.attempt, kept.crashes), (CompensationStatus::Completed, 2, 1));
    assert_eq!(kept.output, Some(json!({"by": 2})));
    gate.open();
    let late = worker.await.unwrap();
    assert!(matches!(late, Delivery::Skipped(SkipReason::LeaseLost)), "{late:?}");
    assert_eq!(compensation(&world.look(run.id).await, "one"), &kept);
}

pub async fn the_run_stays_failed_whatever_its_compensations_do(ground: &Ground) {
    let (journal, undone) = (Journal::new(), Undone::default());
    let panicking = |_: u32| -> StepResult<Value> { panic!("at the bank") };
    let world = ground.world([selling(&journal, &undone, panicking, Some(Retry::fixed(1, hours(1))))]);
    let run = world.start_run("selling", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(states(&details), [StepState::Completed, StepState::Completed, StepState::Failed]);
    assert_eq!(compensation(&details, "pay").error.as_ref().unwrap().kind, Failure::PANIC);
    assert_eq!(compensation(&details, "reserve").status, CompensationStatus::Completed);
}
