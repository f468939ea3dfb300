//! One commit a hop: the worker that records a step begins its successor in the same change.

use serde_json::json;

use super::harness::{Harness, LEASE, chain, completed, failed_for_now, step, workflow};
use crate::definition::{LogLevel, Priority, secs};
use crate::engine::{Continuation, Outcome, RecordOutcome, record};
use crate::event::IgnoreReason;
use crate::run::{AttemptStatus, RunStatus, StepStatus};
use crate::workflow::{COMPLETE, Step, approval, log, wait};

#[test]
fn recording_and_beginning_the_successor_are_one_commit() {
    let mut harness = Harness::start(&chain(["first", "second"]).build().unwrap());
    let task = harness.begin("first").task();
    let decided = harness.record_and_continue(&task, completed(json!({"x": 1})));
    let next = decided.next().unwrap();
    assert_eq!(decided.events(), ["step.completed", "run.dispatched", "step.started"]);
    assert_eq!((next.step.as_str(), next.attempt), ("second", 1));
    assert_eq!(next.input.get("x"), Some(&json!(1)));
    assert_eq!(next.lease.token, task.lease.token);
    assert_eq!(
        decided.decision.commit.fences,
        std::slice::from_ref(&task.lease),
        "the old claim guards the whole change"
    );
    let intent = harness.intent("second").unwrap();
    assert_eq!((intent.lease, intent.delay), (Some(task.lease.token), LEASE), "the intent is written under the lease");
    assert_eq!(harness.tries("second"), [(1, AttemptStatus::Running)]);
}

#[test]
fn a_whole_chain_takes_one_commit_a_step() {
    let mut harness = Harness::start(&chain(["a", "b", "c", "d", "e"]).build().unwrap());
    let mut next = Some(harness.begin("a").task());
    while let Some(task) = next {
        next = harness.record_and_continue(&task, completed(json!({}))).next();
    }
    assert_eq!(harness.status(), RunStatus::Completed);
    assert_eq!(harness.state.run.revision, 1 + 1 + 5, "one to start, one to begin, one for each of five steps");
}

#[test]
fn a_worker_continues_with_no_step_that_is_due_later() {
    let mut harness = Harness::start(&chain(["first", "second"]).build().unwrap());
    let task = harness.begin("first").task();
    let outcome = Outcome::Completed { value: json!({}), schedule_in: Some(secs(1)), route: None };
    assert_eq!(harness.record_and_continue(&task, outcome).next(), None);
    assert_eq!(harness.step_status("second"), Some(StepStatus::Pending));
    assert_eq!(harness.intent("second").unwrap().lease, None);

    let waiting = workflow()
        .step(step("first"))
        .step(Step::new("wait", wait(secs(60))))
        .then("first", "wait")
        .then("wait", COMPLETE);
    let mut harness = Harness::start(&waiting.build().unwrap());
    let task = harness.begin("first").task();
    assert_eq!(harness.record_and_continue(&task, completed(json!({}))).next(), None);
    assert_eq!(harness.intent("wait").unwrap().delay, secs(60));
}

#[test]
fn a_worker_continues_with_no_step_of_a_queue_that_it_does_not_serve() {
    let elsewhere = workflow()
        .step(step("first"))
        .step(step("second").queue("reports"))
        .then("first", "second")
        .then("second", COMPLETE);
    let mut harness = Harness::start(&elsewhere.build().unwrap());
    let task = harness.begin("first").task();
    assert_eq!(harness.record_and_continue(&task, completed(json!({}))).next(), None);
    let intent = harness.intent("second").unwrap();
    assert_eq!((intent.queue.as_str(), intent.lease), ("reports", None));
}

#[test]
fn a_retry_is_never_continued_with() {
    let at_once = workflow()
        .step(step("first").retry(crate::definition::Retry::fixed(3, crate::definition::ms(0))))
        .then("first", COMPLETE);
    let mut harness = Harness::start(&at_once.build().unwrap());
    let task = harness.begin("first").task();
    assert_eq!(harness.record_and_continue(&task, failed_for_now()).next(), None);
    assert_eq!(harness.step_status("first"), Some(StepStatus::Pending));
}

#[test]
fn a_log_step_is_continued_with_and_a_person_is_waited_for() {
    let logged = workflow()
        .step(step("first"))
        .step(Step::new("say", log("hello", LogLevel::Info)))
        .step(Step::new("ask", approval()))
        .then("first", "say")
        .then("say", "ask")
        .then("ask", COMPLETE)
        .on_error("ask", COMPLETE);
    let mut harness = Harness::start(&logged.build().unwrap());
    let task = harness.begin("first").task();
    let say = harness.record_and_continue(&task, completed(json!({}))).next().unwrap();
    assert_eq!(say.step.as_str(), "say");
    let decided = harness.record_and_continue(&say, completed(json!(null)));
    assert_eq!(decided.next(), None);
    assert_eq!((harness.status(), harness.step_status("ask")), (RunStatus::Paused, Some(StepStatus::Paused)));
    assert!(harness.intents.is_empty());
}

#[test]
fn of_several_successors_one_is_continued_with_and_the_rest_are_dispatched() {
    let fan = workflow()
        .step(step("root"))
        .step(step("a").after(["root"]))
        .step(step("b").after(["root"]))
        .step(step("c").after(["root"]));
    let mut harness = Harness::start(&fan.build().unwrap());
    let task = harness.begin("root").task();
    let next = harness.record_and_continue(&task, completed(json!({}))).next().unwrap();
    let running: Vec<_> = harness.state.in_status(StepStatus::Running).map(|run| run.step.clone()).collect();
    assert_eq!(running, [next.step]);
    assert_eq!(harness.state.in_status(StepStatus::Pending).count(), 2);
    assert_eq!(harness.intents.values().filter(|intent| intent.lease.is_none()).count(), 2);
}

#[test]
fn a_superseded_worker_continues_with_nothing() {
    let mut harness = Harness::start(&chain(["first", "second"]).build().unwrap());
    let lost = harness.begin("first").task();
    harness.begin("first");
    let queues = [crate::name::QueueName::default()];
    let continuation = Continuation { token: lost.lease.token, lease: LEASE, queues: &queues, lowest: Priority::Low };
    let decided =
        harness.decide(|work, jobs| record(work, &lost, completed(json!({})), Some(continuation), jobs)).unwrap();
    assert_eq!(decided.value, RecordOutcome::Superseded);
    assert_eq!(harness.step_status("second"), None);
}

#[test]
fn a_worker_that_dies_after_continuing_leaves_a_step_that_another_takes_over() {
    let mut harness = Harness::start(&chain(["first", "second"]).build().unwrap());
    let task = harness.begin("first").task();
    harness.record_and_continue(&task, completed(json!({})));
    harness.pass(LEASE);
    assert_eq!(harness.begin("second").task().attempt, 2);
    assert!(matches!(harness.begin("first").value, crate::engine::Begin::Skip(IgnoreReason::NotCurrent)));
}

#[test]
fn a_worker_that_gives_way_leaves_the_successor_to_others() {
    let low = workflow().step(step("first")).step(step("second").priority(Priority::Low)).then("first", "second");
    let low = low.then("second", COMPLETE).build().unwrap();
    for (lowest, continues) in [(Priority::Low, true), (Priority::Normal, false), (Priority::High, false)] {
        let mut harness = Harness::start(&low);
        let task = harness.begin("first").task();
        let queues = [crate::name::QueueName::default()];
        let continuation = Continuation { token: task.lease.token, lease: LEASE, queues: &queues, lowest };
        let decided =
            harness.decide(|work, jobs| record(work, &task, completed(json!({})), Some(continuation), jobs)).unwrap();
        assert_eq!(decided.next().is_some(), continues, "{lowest:?}");
        assert_eq!(harness.intent("second").unwrap().lease.is_some(), continues);
    }
}

#[test]
fn of_several_successors_a_worker_continues_with_the_most_urgent() {
    let wide = workflow()
        .step(step("first"))
        .step(step("calm").after(["first"]))
        .step(step("urgent").after(["first"]).priority(Priority::High));
    let mut harness = Harness::start(&wide.build().unwrap());
    let task = harness.begin("first").task();
    assert_eq!(harness.record_and_continue(&task, completed(json!({}))).next().unwrap().step.as_str(), "urgent");
}
