//! A sound history breaks no rule, and each break in it is found by the rule that covers it.

mod compensations;
mod signals;
mod transitions;

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use squidmesh_core::definition::{Priority, QueueName, StepName, WorkflowName};
use squidmesh_core::dispatch::IntentKey;
use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::port::{Commit, IntentRecord, LeaseToken, Precondition, StepWrite};
use squidmesh_core::run::{
    Attempt, AttemptStatus, AuditEvent, AuditKind, CompensationStatus, Failure, FailureKind, InputSnapshot,
    RunSnapshot, StepStatus,
};
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, MemoryTransaction, RecordingSink, block_on};
use squidmesh_core::workflow::TransactionalHandler;
use squidmesh_core::{
    COMPLETE, Retry, RunId, RunStatus, Squidmesh, Step, StepContext, StepError, StepResult, Timestamp, Trigger,
    Workflow, approval, ms, secs, transactional,
};

use super::*;

type Ledger = Arc<Mutex<Vec<Effect>>>;

fn note(ledger: &Ledger, kind: EffectKind, context: &StepContext, input: Value) -> Value {
    let (run_id, step, attempt) = (context.run_id, context.step.clone(), context.attempt);
    let mut ledger = ledger.lock().unwrap();
    ledger.push(Effect { run_id, step, kind, attempt, input, retry_after: None });
    json!({ "effect": ledger.len() - 1 })
}

/// Returns a step that fails `failures` times before it succeeds, and is compensated.
fn step(name: &str, ledger: &Ledger, failures: u32) -> Step {
    let (forth, back) = (ledger.clone(), ledger.clone());
    let step = Step::new(name, move |input: Value, context: StepContext| {
        let output = note(&forth, EffectKind::Step, &context, input);
        async move { if context.attempt <= failures { Err(StepError::retryable("not yet")) } else { Ok(output) } }
    });
    let step = step.retry(Retry::fixed(2, secs(5))).compensate(move |input: Value, context: StepContext| {
        let output = note(&back, EffectKind::Compensation, &context, input);
        async move { StepResult::Ok(output) }
    });
    step.compensation_retry(Retry::fixed(2, secs(7))).output(name)
}

struct Rows(Ledger);

impl TransactionalHandler for Rows {
    type Input = Value;
    type Transaction = MemoryTransaction;
    type Output = Value;

    async fn run(&self, input: Value, transaction: &MemoryTransaction, context: StepContext) -> StepResult<Value> {
        let output = note(&self.0, EffectKind::Step, &context, input);
        let ledger = self.0.clone();
        transaction.on_commit(move || drop(note(&ledger, EffectKind::Row, &context, Value::Null)));
        Ok(output)
    }
}

/// Returns a history in which one run is approved and completes, one fails and is compensated, and one is cancelled.
fn history() -> (Evidence, [RunId; 3]) {
    let ledger = Ledger::default();
    let orders = Workflow::builder("orders")
        .trigger(Trigger::manual("go"))
        .step(step("reserve", &ledger, 1))
        .step(Step::new("review", approval()))
        .step(Step::new("book", transactional(Rows(ledger.clone()))))
        .then("reserve", "review")
        .then("review", "book")
        .on_error("review", COMPLETE)
        .then("book", COMPLETE)
        .build()
        .unwrap();
    let shipments = Workflow::builder("shipments")
        .trigger(Trigger::manual("go"))
        .step(step("pick", &ledger, 0))
        .step(step("pack", &ledger, 0))
        .step(step("ship", &ledger, 9).after(["pack", "pick"]))
        .build()
        .unwrap();
    let clock = Arc::new(ManualClock::default());
    let (store, executor, sink) = (MemoryStore::new(clock.clone()), MemoryExecutor::new(clock), RecordingSink::new());
    let builder = Squidmesh::builder(store.clone()).executor(executor.clone()).event_sink(sink.clone());
    let mesh = builder.workflow(orders).workflow(shipments).build().unwrap();
    let start =
        |workflow: &str, key: &str| block_on(mesh.start_run(workflow, &json!({})).idempotency_key(key)).unwrap().id;
    let runs = [start("orders", "first"), start("shipments", "second"), start("orders", "third")];
    block_on(executor.run_to_rest(&mesh)).unwrap();
    block_on(mesh.approve_run(runs[0]).actor("she")).unwrap();
    block_on(mesh.cancel_run(runs[2])).unwrap();
    block_on(executor.run_to_rest(&mesh)).unwrap();

    let mut evidence = block_on(Evidence::read(&store)).unwrap();
    evidence.effects = ledger.lock().unwrap().clone();
    evidence.events = sink.events();
    evidence.crash_limit = Some(3);
    evidence.calls_complete = true;
    evidence.transactional = [(WorkflowName::new("orders").unwrap(), name("book"))].into();
    let act =
        |workflow, key: &str| Act::Start { workflow: WorkflowName::new(workflow).unwrap(), key: Some(key.into()) };
    evidence.calls = vec![
        Call { act: act("orders", "first"), answer: Answer::Ok(runs[0]) },
        Call { act: act("shipments", "second"), answer: Answer::Ok(runs[1]) },
        Call { act: act("orders", "third"), answer: Answer::Ok(runs[2]) },
        Call { act: Act::Approve(runs[0]), answer: Answer::Ok(runs[0]) },
        Call { act: Act::Cancel(runs[2]), answer: Answer::Ok(runs[2]) },
    ];
    (evidence, runs)
}

fn name(step: &str) -> StepName {
    StepName::new(step).unwrap()
}

fn run<'a>(evidence: &'a mut Evidence, id: &RunId) -> &'a mut RunRecord {
    evidence.runs.get_mut(id).unwrap()
}

fn step_run<'a>(evidence: &'a mut Evidence, id: &RunId, step: &str) -> &'a mut squidmesh_core::run::StepRun {
    run(evidence, id).state.steps.get_mut(&name(step)).unwrap()
}

fn input(evidence: &Evidence, id: &RunId, step: &str) -> Map<String, Value> {
    let record = &evidence.runs[id];
    (*record.input(&record.state.steps[&name(step)]).unwrap()).clone()
}

fn callback<'a>(evidence: &'a mut Evidence, id: &RunId, step: &str) -> &'a mut squidmesh_core::run::CompensationRun {
    step_run(evidence, id, step).compensation.as_mut().unwrap()
}

#[test]
fn a_sound_history_breaks_no_rule() {
    let (evidence, runs) = history();
    assert_eq!(check_at_rest(&evidence), []);
    let statuses = runs.map(|id| evidence.runs[&id].state.run.status);
    assert_eq!(statuses, [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled]);
    let count = |kind| evidence.effects.iter().filter(|effect| effect.kind == kind).count();
    assert_eq!((count(EffectKind::Row), count(EffectKind::Compensation)), (1, 2));
}

/// Breaks a sound history, and expects a violation of this rule.
fn broken(rule: &str, breaks: impl FnOnce(&mut Evidence, &[RunId; 3])) {
    let (mut evidence, runs) = history();
    breaks(&mut evidence, &runs);
    let found = check_at_rest(&evidence);
    assert!(found.iter().any(|violation| violation.rule.contains(rule)), "{rule}: {found:?}");
}

#[test]
fn a_start_that_was_acknowledged_and_is_not_there_is_found() {
    broken("acknowledged start", |evidence, runs| drop(evidence.runs.remove(&runs[0])));
}

#[test]
fn a_key_that_started_two_runs_is_found() {
    broken("a key starts one run", |evidence, runs| {
        run(evidence, &runs[2]).state.run.idempotency_key = Some("first".into());
    });
}

#[test]
fn a_failure_without_a_reason_is_found() {
    broken("explained", |evidence, runs| run(evidence, &runs[1]).state.run.last_error = None);
}

#[test]
fn a_confirmed_cancellation_that_is_not_recorded_is_found() {
    broken("explained", |evidence, runs| run(evidence, &runs[2]).history.audit.clear());
}

#[test]
fn a_gap_in_the_attempts_is_found() {
    broken("without gaps", |evidence, runs| drop(run(evidence, &runs[0]).history.attempts.remove(0)));
}

#[test]
fn an_attempt_that_stays_open_is_found() {
    broken("one is open", |evidence, runs| {
        run(evidence, &runs[0]).history.attempts[0].status = AttemptStatus::Running;
    });
}

#[test]
fn one_attempt_too_many_is_found() {
    broken("tried more often", |evidence, runs| {
        let record = run(evidence, &runs[1]);
        let mut last = record.history.attempts.iter().find(|attempt| attempt.step == name("ship")).unwrap().clone();
        last.number = 3;
        record.history.attempts.push(last);
    });
}

#[test]
fn a_step_that_keeps_killing_its_workers_is_found() {
    broken("tried more often", |evidence, runs| {
        let record = run(evidence, &runs[1]);
        record.definition = None;
        for number in 3..8 {
            let mut attempt = Attempt::begin(name("ship"), number, Timestamp::EPOCH);
            attempt.status = AttemptStatus::Failed;
            attempt.error = Some(Failure::new(FailureKind::STALE_RUNNING_STEP, "gone"));
            record.history.attempts.push(attempt);
        }
    });
}

#[test]
fn the_result_of_another_attempt_is_found() {
    broken("one result", |evidence, runs| {
        let output = json!({ "effect": 0 });
        step_run(evidence, &runs[0], "reserve").output = Some(Arc::new(output.as_object().unwrap().clone()));
    });
}

#[test]
fn two_steps_that_completed_at_once_are_found() {
    broken("one result", |evidence, runs| {
        let sequence = step_run(evidence, &runs[0], "reserve").sequence;
        step_run(evidence, &runs[0], "book").sequence = sequence;
    });
}

#[test]
fn a_retry_before_its_time_is_found() {
    broken("before its time", |evidence, runs| {
        let first = evidence.runs[&runs[0]].attempts(&name("reserve")).next().and_then(|first| first.finished_at);
        evidence.times.began.insert((runs[0], name("reserve"), 2), first.unwrap().after(secs(4)));
    });
}

#[test]
fn a_join_that_did_not_wait_is_found() {
    broken("after its dependencies", |evidence, runs| {
        step_run(evidence, &runs[1], "pick").status = StepStatus::Running;
    });
}

#[test]
fn a_join_that_began_before_its_dependencies_ended_is_found() {
    broken("after its dependencies", |evidence, runs| {
        let ended = step_run(evidence, &runs[1], "pick").finished_at.unwrap();
        step_run(evidence, &runs[1], "pick").finished_at = Some(ended.after(secs(1)));
    });
    broken("after its dependencies", |evidence, runs| {
        evidence.times.began.insert((runs[1], name("ship"), 1), Timestamp::EPOCH);
    });
    broken("after its dependencies", |evidence, runs| {
        step_run(evidence, &runs[1], "ship").created_at = Timestamp::EPOCH;
        evidence.times.ended.insert((runs[1], name("pack"), 1), Timestamp::EPOCH.after(ms(1)));
    });
}

#[test]
fn a_join_that_completed_before_what_it_depends_on_is_found() {
    broken("after its dependencies", |evidence, runs| step_run(evidence, &runs[1], "ship").sequence = Some(1));
}

#[test]
fn clocks_within_the_allowed_skew_are_believed() {
    let (mut evidence, runs) = history();
    let ended = step_run(&mut evidence, &runs[1], "pick").finished_at.unwrap();
    step_run(&mut evidence, &runs[1], "pick").finished_at = Some(ended.after(secs(1)));
    evidence.skew = secs(1);
    assert_eq!(check_at_rest(&evidence), []);
}

#[test]
fn a_snapshot_without_what_a_dependency_gave_is_found() {
    broken("of what came before", |evidence, runs| {
        let mut less = input(evidence, &runs[1], "ship");
        assert!(less.remove("pick").is_some());
        step_run(evidence, &runs[1], "ship").input = InputSnapshot::Copy(Arc::new(less));
    });
}

#[test]
fn a_snapshot_with_what_was_not_there_yet_is_found() {
    broken("of what came before", |evidence, runs| {
        let later = step_run(evidence, &runs[0], "book").output.clone().unwrap();
        let mut more = input(evidence, &runs[0], "reserve");
        more.extend((*later).clone());
        step_run(evidence, &runs[0], "reserve").input = InputSnapshot::Copy(Arc::new(more));
    });
}

#[test]
fn outputs_merged_in_another_order_than_declared_are_found() {
    broken("of what came before", |evidence, runs| {
        // The output of `pack` wins, as it is declared after `pick`: with both under one key, the input of `pick`
        // shows it.
        for step in ["pick", "pack"] {
            let output = json!({ "both": step });
            step_run(evidence, &runs[1], step).output = Some(Arc::new(output.as_object().unwrap().clone()));
        }
        let wrong = json!({ "both": "pick" });
        step_run(evidence, &runs[1], "ship").input = InputSnapshot::Copy(Arc::new(wrong.as_object().unwrap().clone()));
    });
}

#[test]
fn a_join_that_is_lost_is_found() {
    broken("as soon as they are done", |evidence, runs| {
        let record = run(evidence, &runs[1]);
        record.state.run.status = RunStatus::Running;
        record.state.steps.remove(&name("ship"));
    });
}

#[test]
fn another_input_than_the_snapshot_is_found() {
    broken("snapshot", |evidence, _| evidence.effects[1].input = json!({ "more": 1 }));
}

#[test]
fn an_attempt_after_the_cancellation_is_found() {
    broken("confirmed cancellation", |evidence, runs| {
        evidence.times.cancelled.insert(runs[2], Timestamp::EPOCH);
    });
}

#[test]
fn compensation_of_a_completed_run_is_found() {
    broken("only in failed runs", |evidence, runs| run(evidence, &runs[1]).state.run.status = RunStatus::Completed);
}

#[test]
fn a_second_decision_is_found() {
    broken("decided once", |evidence, runs| {
        let mut entry = AuditEvent::new(AuditKind::Rejected, 9, Timestamp::EPOCH);
        entry.step = Some(name("review"));
        run(evidence, &runs[0]).history.audit.push(entry);
    });
}

#[test]
fn an_event_of_what_was_never_committed_is_found() {
    broken("only what was committed is emitted", |evidence, runs| {
        let kind = EventKind::StepCompleted { step: name("reserve"), attempt: 1, duration: secs(1) };
        let event = Event::new(&evidence.runs[&runs[0]].state.run, Timestamp::EPOCH, kind);
        evidence.events.push(event);
    });
}

#[test]
fn a_step_that_is_not_dispatched_is_found() {
    broken("and nothing else", |evidence, runs| {
        step_run(evidence, &runs[2], "review").status = StepStatus::Pending;
    });
}

#[test]
fn a_compensation_that_is_owed_and_not_dispatched_is_found() {
    broken("is dispatched", |evidence, runs| step_run(evidence, &runs[1], "pick").compensation = None);
    broken("what was owed", |evidence, runs| step_run(evidence, &runs[1], "pick").compensation = None);
}

#[test]
fn two_runs_of_one_occurrence_are_found() {
    broken("occurrence", |evidence, runs| {
        for id in [runs[0], runs[2]] {
            run(evidence, &id).state.run.intended_at = Some(Timestamp::EPOCH);
        }
    });
}

#[test]
fn a_row_without_its_step_and_a_step_without_its_row_are_found() {
    broken("rows", |evidence, _| evidence.effects.retain(|effect| effect.kind != EffectKind::Row));
    broken("rows", |evidence, _| {
        let row = evidence.effects.iter().find(|effect| effect.kind == EffectKind::Row).unwrap().clone();
        evidence.effects.push(row);
    });
}

#[test]
fn a_run_that_never_ends_is_found() {
    broken("at rest", |evidence, runs| run(evidence, &runs[0]).state.run.status = RunStatus::Retrying);
}

#[test]
fn a_run_that_nobody_asked_for_is_found() {
    broken("what was refused", |evidence, _| drop(evidence.calls.remove(0)));
    broken("what was refused", |evidence, runs| run(evidence, &runs[0]).state.run.idempotency_key = None);
    broken("what was refused", |evidence, runs| run(evidence, &runs[0]).state.run.replayed_from = Some(runs[1]));
    broken("what was refused", |evidence, runs| run(evidence, &runs[0]).state.run.resumed_from = Some(runs[1]));
}

#[test]
fn one_start_that_started_two_runs_is_found() {
    broken("what was asked once", |evidence, runs| {
        for id in [runs[0], runs[2]] {
            run(evidence, &id).state.run.idempotency_key = None;
        }
        let act = Act::Start { workflow: WorkflowName::new("orders").unwrap(), key: None };
        evidence.calls.push(Call { act, answer: Answer::Unknown });
    });
}

#[test]
fn an_act_that_was_refused_and_carried_out_is_found() {
    for place in 0..5 {
        broken("what was refused", |evidence, _| evidence.calls[place].answer = Answer::Refused("no".into()));
    }
}

#[test]
fn a_second_cancellation_of_one_that_was_asked_for_is_found() {
    broken("what was asked once", |evidence, runs| {
        let record = run(evidence, &runs[2]);
        let entry = record.history.audit.iter().find(|entry| entry.kind == AuditKind::Cancelled).unwrap().clone();
        record.history.audit.push(entry);
    });
}

#[test]
fn one_run_for_two_who_asked_for_their_own_is_found() {
    broken("what was asked once", |evidence, runs| {
        for _ in 0..2 {
            evidence.calls.push(Call { act: Act::Replay(runs[1]), answer: Answer::Ok(runs[0]) });
        }
    });
}

#[test]
fn what_was_done_while_nobody_kept_the_log_is_believed() {
    let (mut evidence, _) = history();
    evidence.calls.clear();
    evidence.calls_complete = false;
    assert_eq!(check_at_rest(&evidence), []);
}
