//! Starting a run.

use serde_json::{Map, json};

use super::harness::{Executor, Harness, chain, inputs, name, new_run, object, step, workflow};
use crate::dispatch::{IntentKey, Refusal};
use crate::engine::{DispatchRefused, Limits, NewRun, start};
use crate::id::RunId;
use crate::port::{Precondition, StepWrite};
use crate::run::{AuditKind, RunStatus, StepStatus};
use crate::time::Timestamp;

#[test]
fn a_run_and_its_first_dispatch_are_one_commit() {
    let definition = chain(["first", "second"]).build().unwrap().definition().clone();
    let work =
        start(definition, new_run(Map::new()), inputs(Timestamp::EPOCH, 1), Limits::default(), &Executor::Accepts);
    let decision = work.unwrap().close();
    assert_eq!(decision.commit.precondition, Precondition::Absent);
    assert_eq!((decision.commit.run.status, decision.commit.run.revision), (RunStatus::Pending, 1));
    assert_eq!(decision.commit.run.current_step, Some(name("first")));
    assert!(matches!(&decision.commit.steps[..], [StepWrite::Create(first)] if first.status == StepStatus::Pending));
    assert_eq!(decision.commit.intents.len(), 1);
    let events: Vec<_> = decision.events.iter().map(|event| event.kind.name()).collect();
    assert_eq!(events, ["run.created", "run.dispatched"]);
}

#[test]
fn all_roots_of_a_dependency_workflow_start_together() {
    let workflow =
        workflow().step(step("join").after(["left", "right"])).step(step("right")).step(step("left")).build().unwrap();
    let harness = Harness::start(&workflow);
    assert_eq!(harness.outstanding(), ["left", "right"]);
    assert_eq!(harness.state.run.current_step, None);
    assert_eq!(harness.step_status("join"), None);
}

#[test]
fn the_payload_is_the_input_of_the_first_step() {
    let harness = Harness::start_with(&chain(["first"]).build().unwrap(), object(json!({"order": 7})));
    assert_eq!(*harness.input("first"), object(json!({"order": 7})));
}

#[test]
fn a_refused_first_dispatch_means_that_there_is_no_run() {
    let definition = chain(["first"]).build().unwrap().definition().clone();
    let refused = start(
        definition.clone(),
        new_run(Map::new()),
        inputs(Timestamp::EPOCH, 1),
        Limits::default(),
        &Executor::RefusesForGood,
    );
    assert!(matches!(refused, Err(DispatchRefused::ByExecutor(Refusal::Unroutable { .. }))));
    let defective = start(
        definition,
        new_run(Map::new()),
        inputs(Timestamp::EPOCH, 1),
        Limits::default(),
        &Executor::AnswersForTooFew,
    );
    assert!(matches!(defective, Err(DispatchRefused::ByExecutor(Refusal::Defective { .. }))));
}

#[test]
fn a_replay_names_the_run_that_it_repeats() {
    let definition = chain(["first"]).build().unwrap().definition().clone();
    let original = RunId::from_uuid(uuid::Uuid::from_u128(1));
    let new = NewRun { replay: Some((original, Some("ada".to_owned()))), ..new_run(Map::new()) };
    let work = start(definition, new, inputs(Timestamp::EPOCH, 1), Limits::default(), &Executor::Accepts);
    let decision = work.unwrap().close();
    assert_eq!(decision.commit.run.replayed_from, Some(original));
    assert!(matches!(&decision.commit.audit[..], [entry] if entry.kind == AuditKind::Replayed));
    assert_eq!(decision.events[0].kind.name(), "run.replayed");
}

#[test]
fn a_wait_as_the_first_step_is_due_after_its_time() {
    let workflow = workflow()
        .step(crate::workflow::Step::new("wait", crate::workflow::wait(crate::definition::secs(60))))
        .step(step("after"))
        .then("wait", "after")
        .then("after", crate::workflow::COMPLETE)
        .build()
        .unwrap();
    let harness = Harness::start(&workflow);
    let key = IntentKey::step(harness.state.run.id, name("wait"));
    assert_eq!(harness.intents[&key].delay, crate::definition::secs(60));
}
