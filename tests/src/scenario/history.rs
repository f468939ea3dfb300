//! The stored histories of runs are judged by the history checker, on the tables of every store.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use squidmesh_checker::{Act, Answer, Call, Effect, EffectKind, Evidence, check_at_rest};
use squidmesh_core::definition::WorkflowName;
use squidmesh_core::{
    COMPLETE, Retry, RunId, RunStatus, Step, StepContext, StepError, StepResult, Workflow, approval, ms, wait,
};

use super::{nothing, workflow};
use crate::Backend;

/// The effects of handlers.
type Ledger = Arc<Mutex<Vec<Effect>>>;

fn note(ledger: &Ledger, kind: EffectKind, context: &StepContext, input: Value) -> Value {
    let (run_id, step, attempt) = (context.run_id, context.step.clone(), context.attempt);
    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    ledger.push(Effect { run_id, step, kind, attempt, input, retry_after: None });
    json!({ "effect": ledger.len() - 1 })
}

/// Returns a step that is recorded, fails `failures` times before it succeeds, and is compensated.
fn step(name: &str, ledger: &Ledger, failures: u32) -> Step {
    let (forth, back) = (ledger.clone(), ledger.clone());
    Step::new(name, move |input: Value, context: StepContext| {
        let output = note(&forth, EffectKind::Step, &context, input);
        async move { if context.attempt <= failures { Err(StepError::retryable("not yet")) } else { Ok(output) } }
    })
    .retry(Retry::fixed(2, ms(20)))
    .compensate(move |input: Value, context: StepContext| {
        let output = note(&back, EffectKind::Compensation, &context, input);
        async move { StepResult::Ok(output) }
    })
}

fn orders(ledger: &Ledger) -> Workflow {
    workflow("orders")
        .step(step("reserve", ledger, 1))
        .step(Step::new("cool_off", wait(ms(5))))
        .step(Step::new("review", approval()))
        .step(step("capture", ledger, 0))
        .then("reserve", "cool_off")
        .then("cool_off", "review")
        .then("review", "capture")
        .on_error("review", COMPLETE)
        .then("capture", COMPLETE)
        .build()
        .unwrap()
}

fn shipments(ledger: &Ledger) -> Workflow {
    workflow("shipments")
        .step(step("pick", ledger, 0))
        .step(step("pack", ledger, 1))
        .step(step("ship", ledger, 9).after(["pick", "pack"]))
        .build()
        .unwrap()
}

pub async fn runs_of_every_kind_leave_a_history_that_breaks_no_rule(backend: &Backend) {
    let ledger = Ledger::default();
    let world = backend.world([orders(&ledger), shipments(&ledger)]);
    let mut calls = Vec::new();
    let mut runs: Vec<RunId> = Vec::new();
    for number in 0..9 {
        let name = if number % 3 == 0 { "shipments" } else { "orders" };
        let key = format!("number {number}");
        let run = world.start_run(name, &nothing()).idempotency_key(&key).await.unwrap();
        let act = Act::Start { workflow: WorkflowName::new(name).unwrap(), key: Some(key) };
        calls.push(Call { act, answer: Answer::Ok(run.id) });
        runs.push(run.id);
    }
    world.settle_all(runs.clone()).await;
    for (place, id) in runs.clone().iter().enumerate() {
        let (act, answer) = match place {
            1 => (Act::Approve(*id), world.approve_run(*id).actor("she").await),
            2 => (Act::Reject(*id), world.reject_run(*id).actor("he").await),
            4 => (Act::Cancel(*id), world.cancel_run(*id).await),
            6 => (Act::Replay(*id), world.replay_run(*id).await.map_err(|error| panic!("{error}"))),
            _ => continue,
        };
        let answer = answer.unwrap().id;
        calls.push(Call { act, answer: Answer::Ok(answer) });
        runs.push(answer);
        if place == 6 {
            break;
        }
    }
    world.settle_all(runs.clone()).await;

    let mut evidence = Evidence::read(&*backend.store()).await.unwrap();
    evidence.effects = ledger.lock().unwrap().clone();
    evidence.calls = calls;
    evidence.events = world.sink.events();
    evidence.crash_limit = Some(3);
    evidence.skew = ms(100); // the database's clock and this process's
    assert_eq!(check_at_rest(&evidence), []);
    let count = |status| evidence.runs.values().filter(|record| record.state.run.status == status).count();
    let statuses = [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled, RunStatus::Paused].map(count);
    assert_eq!(statuses, [2, 4, 1, 3], "completed, failed, cancelled, paused");
    assert_eq!(evidence.effects.iter().filter(|effect| effect.kind == EffectKind::Compensation).count(), 8);

    // The checker reads what is stored: it finds what is broken there.
    let broken = evidence.runs.values_mut().find(|record| record.state.run.status == RunStatus::Failed).unwrap();
    broken.history.attempts.pop();
    assert_ne!(check_at_rest(&evidence), []);
}
