//! A sound history breaks no rule, and whatever is broken in it is found by the rule that is about it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, MemoryTransaction, RecordingSink, block_on};
use squidmesh_core::{
    Attempt, AttemptStatus, AuditEvent, AuditKind, COMPLETE, Commit, CompensationStatus, Event, EventKind, Expected,
    Failure, IntentKey, IntentRecord, LeaseToken, Priority, QueueName, Retry, RunId, RunState, RunStatus, Squidmesh,
    Step, StepContext, StepError, StepName, StepResult, StepStatus, StepWrite, Timestamp, TransactionalHandler,
    Trigger, Workflow, WorkflowName, approval, ms, secs, transactional,
};

use super::*;

type Ledger = Arc<Mutex<Vec<Effect>>>;

fn note(ledger: &Ledger, kind: EffectKind, context: &StepContext, input: Value) -> Value {
    let (run_id, step, attempt) = (context.run_id, context.step.clone(), context.attempt);
    let mut ledger = ledger.lock().unwrap();
    ledger.push(Effect { run_id, step, kind, attempt, input, retry_after: None });
    json!({ "effect": ledger.len() - 1 })
}

/// A step that fails so many times before it succeeds, and is compensated.
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

#[async_trait::async_trait]
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

/// A history in which a run is approved and completes, one fails and is compensated, and one is cancelled.
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
    let start = |workflow: &str, key: &str| {
        block_on(mesh.start_run(workflow, &json!({})).idempotency_key(key).into_future()).unwrap().id
    };
    let runs = [start("orders", "first"), start("shipments", "second"), start("orders", "third")];
    block_on(executor.run_to_rest(&mesh)).unwrap();
    block_on(mesh.approve_run(runs[0]).actor("she").into_future()).unwrap();
    block_on(mesh.cancel_run(runs[2]).into_future()).unwrap();
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

fn step_run<'a>(evidence: &'a mut Evidence, id: &RunId, step: &str) -> &'a mut squidmesh_core::StepRun {
    run(evidence, id).state.steps.get_mut(&name(step)).unwrap()
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

/// Breaks a sound history, and expects this rule to say so.
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
            attempt.error = Some(Failure::new(Failure::STALE_RUNNING_STEP, "gone"));
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
fn a_join_that_began_before_what_it_depends_on_had_ended_is_found() {
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
fn clocks_that_are_apart_no_further_than_they_may_be_are_believed() {
    let (mut evidence, runs) = history();
    let ended = step_run(&mut evidence, &runs[1], "pick").finished_at.unwrap();
    step_run(&mut evidence, &runs[1], "pick").finished_at = Some(ended.after(secs(1)));
    evidence.skew = secs(1);
    assert_eq!(check_at_rest(&evidence), []);
}

#[test]
fn a_snapshot_without_what_a_dependency_gave_is_found() {
    broken("of what came before", |evidence, runs| {
        let input = &mut step_run(evidence, &runs[1], "ship").input;
        let mut less = (**input).clone();
        assert!(less.remove("pick").is_some());
        *input = Arc::new(less);
    });
}

#[test]
fn a_snapshot_with_what_was_not_there_yet_is_found() {
    broken("of what came before", |evidence, runs| {
        let later = step_run(evidence, &runs[0], "book").output.clone().unwrap();
        let input = &mut step_run(evidence, &runs[0], "reserve").input;
        let mut more = (**input).clone();
        more.extend((*later).clone());
        *input = Arc::new(more);
    });
}

#[test]
fn outputs_that_were_merged_in_another_order_than_that_of_declaration_are_found() {
    broken("of what came before", |evidence, runs| {
        // What `pack` gave wins, as it is declared after `pick`: with both under one key, the input of `pick` shows.
        for step in ["pick", "pack"] {
            let output = json!({ "both": step });
            step_run(evidence, &runs[1], step).output = Some(Arc::new(output.as_object().unwrap().clone()));
        }
        let wrong = json!({ "both": "pick" });
        step_run(evidence, &runs[1], "ship").input = Arc::new(wrong.as_object().unwrap().clone());
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
fn compensation_in_the_order_of_completion_is_found() {
    broken("backwards", |evidence, _| {
        let places: Vec<usize> = (0..evidence.effects.len())
            .filter(|place| evidence.effects[*place].kind == EffectKind::Compensation)
            .collect();
        evidence.effects.swap(places[0], places[1]);
    });
}

#[test]
fn compensation_after_it_was_recorded_is_found() {
    broken("runs backwards", |evidence, _| {
        let mut again = evidence.effects.iter().find(|effect| effect.kind == EffectKind::Compensation).unwrap().clone();
        again.attempt += 1;
        evidence.effects.push(again);
    });
}

fn callback<'a>(evidence: &'a mut Evidence, id: &RunId, step: &str) -> &'a mut squidmesh_core::CompensationRun {
    step_run(evidence, id, step).compensation.as_mut().unwrap()
}

/// The compensation of `pack`, which was watched: a first try that ended in this way, and after so long a second.
fn tried_again(evidence: &mut Evidence, runs: &[RunId; 3], end: End, after: u64) {
    let (begin, wanted) = (Timestamp::EPOCH, (runs[1], name("pack"), EffectKind::Compensation));
    let effect = evidence.effects.iter().position(|it| (it.run_id, it.step.clone(), it.kind) == wanted).unwrap();
    evidence.succeeded.insert(effect);
    let second =
        Try { attempt: 2, began: begin.after(secs(after)), ended: Some((begin.after(secs(60)), End::Completed)) };
    let tries = vec![Try { attempt: 1, began: begin, ended: Some((begin, end)) }, second];
    evidence.times.callbacks.insert((runs[1], name("pack")), tries);
    callback(evidence, &runs[1], "pack").attempt = 2;
    let mut again = evidence.effects[effect].clone();
    again.attempt = 2;
    evidence.effects.push(again);
    let number = json!({ "effect": evidence.effects.len() - 1 });
    callback(evidence, &runs[1], "pack").output = Some(number);
    // The second try follows the first, and nothing comes between them.
    let mut order = vec![name("pick"), name("pack")];
    order.sort_by_key(|step| std::cmp::Reverse(evidence.runs[&runs[1]].state.steps[step].sequence));
    evidence.times.compensated.insert(runs[1], order);
}

#[test]
fn a_compensation_that_lost_its_lease_may_be_repeated_although_it_succeeded() {
    let (mut evidence, runs) = history();
    tried_again(&mut evidence, &runs, End::Lost, 0);
    assert_eq!(check_at_rest(&evidence), []);
}

#[test]
fn a_compensation_that_succeeded_and_is_repeated_is_found() {
    broken("repeated only if", |evidence, runs| tried_again(evidence, runs, End::Completed, 30));
    broken("repeated only if", |evidence, runs| tried_again(evidence, runs, End::Interrupted, 30));
    broken("repeated only if", |evidence, runs| {
        tried_again(evidence, runs, End::Failed("handler".into()), 30);
        callback(evidence, &runs[1], "pack").failures = 1;
    });
}

#[test]
fn a_compensation_that_is_repeated_while_it_is_under_way_is_found() {
    broken("repeated only if", |evidence, runs| {
        tried_again(evidence, runs, End::Lost, 30);
        evidence.times.callbacks.get_mut(&(runs[1], name("pack"))).unwrap()[0].ended = None;
    });
}

#[test]
fn a_compensation_that_is_repeated_before_its_time_is_found() {
    broken("repeated only if", |evidence, runs| {
        tried_again(evidence, runs, End::Failed("handler".into()), 6);
        evidence.succeeded.clear();
        callback(evidence, &runs[1], "pack").failures = 1;
    });
    // Nobody watched: that it took less than its delays shows all the same.
    broken("repeated only if", |evidence, runs| {
        let callback = callback(evidence, &runs[1], "pack");
        (callback.attempt, callback.failures) = (2, 1);
        callback.finished_at = Some(callback.started_at.after(secs(6)));
    });
}

#[test]
fn a_compensation_that_is_tried_too_often_is_found() {
    broken("repeated only if", |evidence, runs| {
        let callback = callback(evidence, &runs[1], "pack");
        (callback.attempt, callback.failures) = (4, 3);
        callback.finished_at = Some(callback.started_at.after(secs(60)));
    });
    broken("repeated only if", |evidence, runs| {
        let callback = callback(evidence, &runs[1], "pack");
        (callback.attempt, callback.crashes) = (5, 4);
    });
}

#[test]
fn a_failure_of_a_compensation_without_a_try_is_found() {
    broken("repeated only if", |evidence, runs| callback(evidence, &runs[1], "pack").crashes = 1);
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
    broken("is told", |evidence, runs| {
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
fn a_run_that_goes_on_for_ever_is_found() {
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

/// What the rules say of a change of a run that holds its intents under these tokens.
fn judged(
    before: &RunState,
    holders: &[(IntentKey, LeaseToken)],
    change: impl FnOnce(&mut RunState, &mut Commit),
) -> Vec<&'static str> {
    let mut after = before.clone();
    after.run.revision += 1;
    let mut commit = Commit::new(after.run.clone(), Expected::Revision(before.run.revision));
    change(&mut after, &mut commit);
    commit.run = after.run.clone();
    let changed = after.steps.values().filter(|step| before.steps.get(&step.step) != Some(step));
    commit.steps = changed.cloned().map(StepWrite::Update).collect();
    let queue = || (QueueName::default(), Priority::Normal, Timestamp::EPOCH);
    let held = holders.iter().map(|(key, token)| {
        let (queue, priority, at) = queue();
        IntentRecord::new(key.clone(), queue, priority, at, Some(*token))
    });
    let intents: Vec<IntentRecord> = held.collect();
    let change = Change { before: Some(before), after: &after, commit: &commit, intents: &intents, definition: None };
    check_change(&change).into_iter().map(|violation| violation.rule).collect()
}

fn token(number: u8) -> LeaseToken {
    serde_json::from_value(json!(format!("{number:032x}"))).unwrap()
}

/// A run in which a step runs under a claim, and the key of its intent.
fn under_way() -> (RunState, IntentKey) {
    let (mut evidence, runs) = history();
    let step = step_run(&mut evidence, &runs[0], "book");
    (step.status, step.output, step.sequence, step.finished_at) = (StepStatus::Running, None, None, None);
    step.lease = Some(token(1));
    let mut state = evidence.runs[&runs[0]].state.clone();
    (state.run.status, state.run.finished_at) = (RunStatus::Running, None);
    (state, IntentKey::step(runs[0], name("book")))
}

/// The open attempt of the step fails in this way.
fn fail(kind: &str) -> impl FnOnce(&mut RunState, &mut Commit) {
    move |state, commit| {
        let step = state.steps.get_mut(&name("book")).unwrap();
        step.status = StepStatus::Pending;
        step.lease = None;
        let mut attempt = Attempt::begin(name("book"), step.attempt, Timestamp::EPOCH);
        attempt.status = AttemptStatus::Failed;
        attempt.error = Some(Failure::new(kind, "no"));
        commit.attempts.push(attempt);
    }
}

#[test]
fn a_failure_that_comes_from_one_who_lost_the_step_is_found() {
    let (state, key) = under_way();
    assert_eq!(judged(&state, &[(key.clone(), token(1))], fail("handler")), [""; 0]);
    assert_eq!(judged(&state, &[(key.clone(), token(2))], fail("handler")), [rules::FENCED]);
    assert_eq!(judged(&state, &[], fail("handler")), [rules::FENCED]);
}

#[test]
fn an_attempt_that_is_given_up_for_lost_in_the_hands_of_its_worker_is_found() {
    let (state, key) = under_way();
    assert_eq!(judged(&state, &[(key.clone(), token(2))], fail(Failure::STALE_RUNNING_STEP)), [""; 0]);
    assert_eq!(judged(&state, &[(key.clone(), token(1))], fail(Failure::STALE_RUNNING_STEP)), [rules::FENCED]);
    // Its begin was not acknowledged, and by then the run had failed: it was never carried out.
    let mut over = state.clone();
    over.run.status = RunStatus::Failed;
    assert_eq!(judged(&over, &[(key, token(1))], fail(Failure::STALE_RUNNING_STEP)), [""; 0]);
}

#[test]
fn a_move_that_the_life_cycle_does_not_have_is_found() {
    let (state, _) = under_way();
    let moved = |from: RunStatus, to: RunStatus| {
        let mut state = state.clone();
        state.run.status = from;
        judged(&state, &[], |after, _| after.run.status = to)
    };
    assert_eq!(moved(RunStatus::Running, RunStatus::Cancelling), [""; 0]);
    for (from, to) in [
        (RunStatus::Completed, RunStatus::Running),
        (RunStatus::Cancelling, RunStatus::Running),
        (RunStatus::Running, RunStatus::Pending),
        (RunStatus::Failed, RunStatus::Completed),
    ] {
        assert_eq!(moved(from, to), [rules::MOVES], "{from} to {to}");
    }
}

/// A failed run of which a step is being compensated under a claim, and the key of its intent.
fn compensating() -> (RunState, IntentKey) {
    let (mut evidence, runs) = history();
    let callback = callback(&mut evidence, &runs[1], "pack");
    (callback.status, callback.output, callback.finished_at) = (CompensationStatus::Running, None, None);
    callback.lease = Some(token(1));
    (evidence.runs[&runs[1]].state.clone(), IntentKey::compensation(runs[1]))
}

fn recorded(change: impl FnOnce(&mut squidmesh_core::CompensationRun)) -> impl FnOnce(&mut RunState, &mut Commit) {
    move |state, _| change(state.steps.get_mut(&name("pack")).unwrap().compensation.as_mut().unwrap())
}

#[test]
fn a_compensation_that_is_recorded_by_one_who_lost_it_is_found() {
    let (state, key) = compensating();
    let failed = || {
        recorded(|callback| {
            (callback.status, callback.failures) = (CompensationStatus::Failed, 1);
            (callback.finished_at, callback.error) = (Some(Timestamp::EPOCH), Some(Failure::new("handler", "no")));
        })
    };
    assert_eq!(judged(&state, &[(key.clone(), token(1))], failed()), [""; 0]);
    assert_eq!(judged(&state, &[(key, token(2))], failed()), [rules::FENCED]);
}

#[test]
fn a_compensation_that_is_taken_over_without_being_counted_is_found() {
    let (state, key) = compensating();
    let taken = |crashes| {
        recorded(move |callback| {
            (callback.attempt, callback.crashes, callback.lease) = (2, crashes, Some(token(2)));
        })
    };
    assert_eq!(judged(&state, &[(key.clone(), token(2))], taken(1)), [""; 0]);
    assert_eq!(judged(&state, &[(key, token(2))], taken(0)), [rules::CALLBACKS]);
}

#[test]
fn a_failure_of_a_compensation_that_is_not_counted_is_found() {
    let (state, key) = compensating();
    let put_off = recorded(|callback| {
        callback.status = CompensationStatus::Pending;
        callback.error = Some(Failure::new("handler", "no"));
    });
    let found = judged(&state, &[(key, token(1))], put_off);
    assert!(found.iter().all(|rule| *rule == rules::CALLBACKS) && !found.is_empty(), "{found:?}");
}

#[test]
fn the_product_has_the_life_cycle_that_is_promised() {
    for from in RunStatus::ALL {
        for to in RunStatus::ALL {
            let promised = life_cycle::moves(from).contains(&to);
            assert_eq!(from.transition(to).is_ok(), promised, "{from} to {to}");
        }
        assert_eq!(
            (from.is_terminal(), from.may_schedule()),
            (life_cycle::is_over(from), life_cycle::may_schedule(from))
        );
    }
}

#[test]
fn the_product_waits_as_long_as_is_promised() {
    let shortest = |failures| back_off::shortest(&Retry::exponential(9, ms(200)..secs(1)), failures);
    assert_eq!([1, 2, 3, 4, 90].map(shortest), [ms(200), ms(400), ms(800), secs(1), secs(1)]);
    for (min, max) in [(0, 0), (0, 50), (1, 1), (3, 1_000), (250, 60_000), (1, 1 << 50)] {
        for failures in [1, 2, 3, 4, 7, 31, 60, 90] {
            let retry = Retry::exponential(100, ms(min)..ms(max));
            assert_eq!(retry.delay(failures, 0.7), back_off::shortest(&retry, failures), "{min}, {max}, {failures}");
            let retry = retry.jitter(true);
            assert!(retry.delay(failures, 0.0) >= back_off::shortest(&retry, failures), "{min}, {max}, {failures}");
        }
    }
}
