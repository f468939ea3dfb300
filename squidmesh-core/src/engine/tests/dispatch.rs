//! The dispatcher's entry points, inside a unit of work.

use super::rig::{Executor, Rig, chain, name, step, workflow};
use crate::engine::{DispatchError, dispatch_compensation, dispatch_run};
use crate::{DispatchEvent, DispatchOptions, Refusal, RunStatus, Workflow, ms};

fn independent() -> Workflow {
    let roots = ["one", "two", "three"].into_iter().fold(workflow(), |builder, name| builder.step(step(name)));
    roots.step(step("last").after(["one", "two", "three"])).step(step("beyond").after(["last"])).build().unwrap()
}

fn targets(told: &super::rig::Told<crate::engine::Dispatched>) -> Vec<String> {
    let (metadata, events) = &told.value;
    let from_events: Vec<_> = events
        .iter()
        .map(|event| match event {
            DispatchEvent::RunDispatched { metadata, .. } => metadata.job_id.clone(),
        })
        .collect();
    let ids: Vec<_> = metadata.iter().map(|metadata| metadata.job_id.clone()).collect();
    assert_eq!(ids, from_events, "one event for each job");
    ids.iter().map(|id| id.split('/').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn targets_are_dispatched_once_each_and_in_their_order() {
    let mut rig = Rig::start(&independent());
    let told = rig.dispatch(&["last", "beyond", "last"], &DispatchOptions::new().schedule_pending()).unwrap();
    assert_eq!(targets(&told), ["last", "beyond"]);
    assert_eq!(told.decision.commit.intents.len(), 2);
}

#[test]
fn scheduling_twice_dispatches_once() {
    let mut rig = Rig::start(&independent());
    let options = DispatchOptions::new().schedule_pending();
    assert_eq!(targets(&rig.dispatch(&["last"], &options).unwrap()), ["last"]);
    let again = rig.dispatch(&["last", "beyond"], &options).unwrap();
    assert_eq!(targets(&again), ["beyond"], "only what this call created is dispatched");
}

#[test]
fn a_step_that_is_scheduled_already_is_dispatched_again_without_scheduling() {
    let mut rig = Rig::start(&independent());
    let told = rig.dispatch(&["one"], &DispatchOptions::new()).unwrap();
    assert_eq!(targets(&told), ["one"]);
    assert!(told.decision.commit.steps.is_empty(), "no step run is created or changed");
}

#[test]
fn an_unknown_step_fails_the_whole_call() {
    let mut rig = Rig::start(&independent());
    let before = rig.state.clone();
    let refused = rig.dispatch(&["last", "nowhere"], &DispatchOptions::new().schedule_pending());
    assert!(matches!(refused, Err(DispatchError::InvalidStep(Some(step))) if step == name("nowhere")));
    assert_eq!(rig.state, before);
}

#[test]
fn no_targets_dispatch_nothing_and_are_no_error() {
    let mut rig = Rig::start(&independent());
    rig.executor = Executor::RefusesForGood; // nobody asks it
    let told = rig.dispatch(&[], &DispatchOptions::new().schedule_pending()).unwrap();
    assert_eq!(told.value, (vec![], vec![]));
    assert!(told.decision.commit.intents.is_empty());
}

#[test]
fn a_refusal_leaves_the_unit_of_work_as_it_was() {
    for executor in [Executor::RefusesForGood, Executor::IsDown, Executor::AnswersForTooFew] {
        let mut rig = Rig::start(&independent());
        let mut work = rig.open();
        let options = DispatchOptions::new().schedule_pending();
        let refused = crate::engine::dispatch_steps(&mut work, &[name("last"), name("one")], &options, &executor);
        assert!(matches!(refused, Err(DispatchError::Refused(_))), "{executor:?}");
        assert!(!work.state().steps.contains_key(&name("last")), "{executor:?}");
        let decision = work.close();
        assert!(decision.commit.steps.is_empty() && decision.commit.intents.is_empty(), "{executor:?}");
        assert!(decision.events.is_empty(), "{executor:?}");
    }
}

#[test]
fn an_answer_for_too_few_jobs_is_a_defect_of_the_executor() {
    let mut rig = Rig::start(&independent());
    rig.executor = Executor::AnswersForTooFew;
    let refused = rig.dispatch(&["last"], &DispatchOptions::new().schedule_pending());
    assert!(matches!(refused, Err(DispatchError::Refused(Refusal::Defective { .. }))));
}

#[test]
fn a_delay_counts_in_whole_milliseconds_and_zero_is_now() {
    let mut rig = Rig::start(&independent());
    let options = DispatchOptions::new().schedule_pending();
    let delay = std::time::Duration::from_micros(1_500_999);
    let told = rig.dispatch(&["last"], &options.schedule_in(delay)).unwrap();
    assert_eq!(told.value.0[0].schedule_in, Some(ms(1_500)));
    assert_eq!(rig.intent("last").unwrap().delay, ms(1_500));
    let told = rig.dispatch(&["beyond"], &options.schedule_in(ms(0))).unwrap();
    assert_eq!(told.value.0[0].schedule_in, None);
    assert_eq!(rig.intent("beyond").unwrap().delay, ms(0));
}

#[test]
fn a_run_in_a_transition_workflow_dispatches_its_current_step() {
    let mut rig = Rig::start(&chain(["first", "second"]).build().unwrap());
    rig.complete("first", serde_json::json!({}));
    let told = rig.decide(|work, jobs| dispatch_run(work, &DispatchOptions::new(), jobs)).unwrap();
    assert_eq!(targets(&told), ["second"]);
    assert_eq!(rig.outstanding(), ["second"], "announcing it again adds no second intent");
}

#[test]
fn a_transition_run_without_a_current_step_is_an_invalid_step() {
    let mut rig = Rig::start(&chain(["first"]).build().unwrap());
    rig.state.run.current_step = None;
    let refused = rig.decide(|work, jobs| dispatch_run(work, &DispatchOptions::new(), jobs));
    assert!(matches!(refused, Err(DispatchError::InvalidStep(None))));
}

#[test]
fn a_dependency_run_dispatches_its_entry_steps_once() {
    let mut rig = Rig::start(&independent());
    let told = rig.decide(|work, jobs| dispatch_run(work, &DispatchOptions::new(), jobs)).unwrap();
    assert_eq!(told.value, (vec![], vec![]), "they were scheduled when the run started");
    rig.state.steps.clear();
    rig.intents.clear();
    let told = rig.decide(|work, jobs| dispatch_run(work, &DispatchOptions::new(), jobs)).unwrap();
    assert_eq!(targets(&told), ["one", "two", "three"]);
    assert_eq!(rig.state.steps.len(), 3);
}

#[test]
fn a_run_that_may_not_schedule_work_dispatches_nothing() {
    for status in RunStatus::ALL {
        let mut rig = Rig::start(&independent());
        rig.state.run.status = status;
        let answer = rig.dispatch(&["last"], &DispatchOptions::new().schedule_pending());
        match status {
            RunStatus::Pending | RunStatus::Running | RunStatus::Retrying => assert!(answer.is_ok(), "{status}"),
            _ => assert!(
                matches!(answer, Err(DispatchError::NotSchedulable { status: found, .. }) if found == status),
                "{status}"
            ),
        }
    }
}

#[test]
fn only_a_failed_run_has_its_compensation_dispatched() {
    for status in RunStatus::ALL {
        let mut rig = Rig::start(&independent());
        rig.state.run.status = status;
        let answer = rig.decide(|work, jobs| dispatch_compensation(work, jobs));
        if status == RunStatus::Failed {
            assert_eq!(answer.unwrap().value.0.len(), 1);
            assert!(rig.outstanding().contains(&"compensation".to_owned()));
        } else {
            assert!(matches!(answer, Err(DispatchError::NotFailed { .. })), "{status}");
        }
    }
}

#[test]
fn a_refused_compensation_leaves_nothing() {
    let mut rig = Rig::start(&independent());
    rig.fail("one");
    rig.intents.clear();
    rig.executor = Executor::RefusesForGood;
    let refused = rig.decide(|work, jobs| dispatch_compensation(work, jobs));
    assert!(matches!(refused, Err(DispatchError::Refused(_))));
    assert!(rig.intents.is_empty());
}
