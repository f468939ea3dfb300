//! One commit a hop: the worker that records a step begins its successor in the same change.

use serde_json::json;

use super::rig::{LEASE, Rig, chain, completed, failed_for_now, step, workflow};
use crate::engine::{GoOn, Outcome, Recorded, record};
use crate::{AttemptStatus, COMPLETE, LogLevel, RunStatus, SkipReason, Step, StepStatus, approval, log, secs, wait};

#[test]
fn recording_and_beginning_the_successor_are_one_commit() {
    let mut rig = Rig::start(&chain(["first", "second"]).build().unwrap());
    let task = rig.begin("first").task();
    let told = rig.record_and_go_on(&task, completed(json!({"x": 1})));
    let next = told.next().unwrap();
    assert_eq!(told.events(), ["step.completed", "run.dispatched", "step.started"]);
    assert_eq!((next.step.as_str(), next.attempt), ("second", 1));
    assert_eq!(next.input.get("x"), Some(&json!(1)));
    assert_eq!(next.lease.token, task.lease.token);
    assert_eq!(told.decision.commit.fences, std::slice::from_ref(&task.lease), "the old claim guards the whole change");
    let intent = rig.intent("second").unwrap();
    assert_eq!((intent.lease, intent.delay), (Some(task.lease.token), LEASE), "the intent is written under the lease");
    assert_eq!(rig.tries("second"), [(1, AttemptStatus::Running)]);
}

#[test]
fn a_whole_chain_takes_one_commit_a_step() {
    let mut rig = Rig::start(&chain(["a", "b", "c", "d", "e"]).build().unwrap());
    let mut next = Some(rig.begin("a").task());
    while let Some(task) = next {
        next = rig.record_and_go_on(&task, completed(json!({}))).next();
    }
    assert_eq!(rig.status(), RunStatus::Completed);
    assert_eq!(rig.state.run.revision, 1 + 1 + 5, "one to start, one to begin, one for each of five steps");
}

#[test]
fn a_worker_goes_on_with_no_step_that_is_due_later() {
    let mut rig = Rig::start(&chain(["first", "second"]).build().unwrap());
    let task = rig.begin("first").task();
    let outcome = Outcome::Completed { value: json!({}), schedule_in: Some(secs(1)) };
    assert_eq!(rig.record_and_go_on(&task, outcome).next(), None);
    assert_eq!(rig.step_status("second"), Some(StepStatus::Pending));
    assert_eq!(rig.intent("second").unwrap().lease, None);

    let waiting = workflow()
        .step(step("first"))
        .step(Step::new("wait", wait(secs(60))))
        .then("first", "wait")
        .then("wait", COMPLETE);
    let mut rig = Rig::start(&waiting.build().unwrap());
    let task = rig.begin("first").task();
    assert_eq!(rig.record_and_go_on(&task, completed(json!({}))).next(), None);
    assert_eq!(rig.intent("wait").unwrap().delay, secs(60));
}

#[test]
fn a_worker_goes_on_with_no_step_of_a_queue_that_it_does_not_serve() {
    let elsewhere = workflow()
        .step(step("first"))
        .step(step("second").queue("reports"))
        .then("first", "second")
        .then("second", COMPLETE);
    let mut rig = Rig::start(&elsewhere.build().unwrap());
    let task = rig.begin("first").task();
    assert_eq!(rig.record_and_go_on(&task, completed(json!({}))).next(), None);
    let intent = rig.intent("second").unwrap();
    assert_eq!((intent.queue.as_str(), intent.lease), ("reports", None));
}

#[test]
fn a_retry_is_never_gone_on_with() {
    let at_once = workflow().step(step("first").retry(crate::Retry::fixed(3, crate::ms(0)))).then("first", COMPLETE);
    let mut rig = Rig::start(&at_once.build().unwrap());
    let task = rig.begin("first").task();
    assert_eq!(rig.record_and_go_on(&task, failed_for_now()).next(), None);
    assert_eq!(rig.step_status("first"), Some(StepStatus::Pending));
}

#[test]
fn a_log_step_is_gone_on_with_and_a_person_is_waited_for() {
    let logged = workflow()
        .step(step("first"))
        .step(Step::new("say", log("hello", LogLevel::Info)))
        .step(Step::new("ask", approval()))
        .then("first", "say")
        .then("say", "ask")
        .then("ask", COMPLETE)
        .on_error("ask", COMPLETE);
    let mut rig = Rig::start(&logged.build().unwrap());
    let task = rig.begin("first").task();
    let say = rig.record_and_go_on(&task, completed(json!({}))).next().unwrap();
    assert_eq!(say.step.as_str(), "say");
    let told = rig.record_and_go_on(&say, completed(json!(null)));
    assert_eq!(told.next(), None);
    assert_eq!((rig.status(), rig.step_status("ask")), (RunStatus::Paused, Some(StepStatus::Paused)));
    assert!(rig.intents.is_empty());
}

#[test]
fn of_several_successors_one_is_gone_on_with_and_the_rest_are_dispatched() {
    let fan = workflow()
        .step(step("root"))
        .step(step("a").after(["root"]))
        .step(step("b").after(["root"]))
        .step(step("c").after(["root"]));
    let mut rig = Rig::start(&fan.build().unwrap());
    let task = rig.begin("root").task();
    let next = rig.record_and_go_on(&task, completed(json!({}))).next().unwrap();
    let running: Vec<_> = rig.state.in_status(StepStatus::Running).map(|run| run.step.clone()).collect();
    assert_eq!(running, [next.step]);
    assert_eq!(rig.state.in_status(StepStatus::Pending).count(), 2);
    assert_eq!(rig.intents.values().filter(|intent| intent.lease.is_none()).count(), 2);
}

#[test]
fn a_superseded_worker_goes_on_with_nothing() {
    let mut rig = Rig::start(&chain(["first", "second"]).build().unwrap());
    let lost = rig.begin("first").task();
    rig.begin("first");
    let queues = [crate::QueueName::default()];
    let go_on = GoOn { token: lost.lease.token, lease: LEASE, queues: &queues };
    let told = rig.decide(|work, jobs| record(work, &lost, completed(json!({})), Some(go_on), jobs)).unwrap();
    assert_eq!(told.value, Recorded::Superseded);
    assert_eq!(rig.step_status("second"), None);
}

#[test]
fn a_worker_that_dies_after_going_on_leaves_a_step_that_another_takes_over() {
    let mut rig = Rig::start(&chain(["first", "second"]).build().unwrap());
    let task = rig.begin("first").task();
    rig.record_and_go_on(&task, completed(json!({})));
    rig.pass(LEASE);
    assert_eq!(rig.begin("second").task().attempt, 2);
    assert!(matches!(rig.begin("first").value, crate::engine::Begin::Skip(SkipReason::NotCurrent)));
}
