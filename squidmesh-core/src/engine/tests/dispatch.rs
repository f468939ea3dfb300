//! The dispatcher's entry points, inside a unit of work.

use super::harness::{Executor, Harness, chain, name, step, workflow};
use crate::definition::ms;
use crate::dispatch::{DispatchOptions, Job, Refusal};
use crate::engine::{DispatchRefused, WhyNotRunnable, dispatch_compensation, dispatch_run};
use crate::event::EventKind;
use crate::run::{RunStatus, StepStatus};
use crate::workflow::Workflow;

fn independent() -> Workflow {
    let roots = ["one", "two", "three"].into_iter().fold(workflow(), |builder, name| builder.step(step(name)));
    roots.step(step("last").after(["one", "two", "three"])).step(step("beyond").after(["last"])).build().unwrap()
}

/// Returns a run without scheduled steps.
fn bare() -> Harness {
    let mut harness = Harness::start(&independent());
    harness.state.steps.clear();
    harness.intents.clear();
    harness
}

fn targets(decided: &super::harness::Decided<crate::engine::Dispatched>) -> Vec<String> {
    let (metadata, events) = &decided.value;
    let from_events: Vec<_> = events
        .iter()
        .map(|event| match &event.kind {
            EventKind::RunDispatched { metadata } => metadata.job_id.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let ids: Vec<_> = metadata.iter().map(|metadata| metadata.job_id.clone()).collect();
    assert_eq!(ids, from_events, "one event for each job");
    ids.iter().map(|id| id.split('/').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn targets_are_dispatched_once_each_and_in_their_order() {
    let mut harness = bare();
    let decided = harness.dispatch(&["two", "one", "two"], &DispatchOptions::new().schedule_pending()).unwrap();
    assert_eq!(targets(&decided), ["two", "one"]);
    assert_eq!(decided.decision.commit.intents.len(), 2);
}

#[test]
fn scheduling_twice_dispatches_once() {
    let mut harness = bare();
    let options = DispatchOptions::new().schedule_pending();
    assert_eq!(targets(&harness.dispatch(&["one"], &options).unwrap()), ["one"]);
    let again = harness.dispatch(&["one", "two"], &options).unwrap();
    assert_eq!(targets(&again), ["two"], "only what this call created is dispatched");
}

#[test]
fn a_step_that_is_scheduled_already_is_dispatched_again_without_scheduling() {
    let mut harness = Harness::start(&independent());
    let decided = harness.dispatch(&["one"], &DispatchOptions::new()).unwrap();
    assert_eq!(targets(&decided), ["one"]);
    assert!(decided.decision.commit.steps.is_empty(), "no step run is created or changed");
}

#[test]
fn an_unknown_step_fails_the_whole_call() {
    let mut harness = Harness::start(&independent());
    let before = harness.state.clone();
    let refused = harness.dispatch(&["last", "nowhere"], &DispatchOptions::new().schedule_pending());
    assert!(matches!(refused, Err(DispatchRefused::InvalidStep(Some(step))) if step == name("nowhere")));
    assert_eq!(harness.state, before);
}

#[test]
fn no_targets_dispatch_nothing_and_are_no_error() {
    let mut harness = Harness::start(&independent());
    harness.executor = Executor::RefusesForGood; // it is not asked
    let decided = harness.dispatch(&[], &DispatchOptions::new().schedule_pending()).unwrap();
    assert_eq!(decided.value, (vec![], vec![]));
    assert!(decided.decision.commit.intents.is_empty());
}

#[test]
fn a_refusal_leaves_the_unit_of_work_as_it_was() {
    for executor in [Executor::RefusesForGood, Executor::IsDown, Executor::AnswersForTooFew] {
        let mut harness = bare();
        let mut work = harness.open();
        let options = DispatchOptions::new().schedule_pending();
        let refused = crate::engine::dispatch_steps(&mut work, &[name("two"), name("one")], &options, &executor);
        assert!(matches!(refused, Err(DispatchRefused::ByExecutor(_))), "{executor:?}");
        assert!(!work.state().steps.contains_key(&name("two")), "{executor:?}");
        let decision = work.close();
        assert!(decision.commit.steps.is_empty() && decision.commit.intents.is_empty(), "{executor:?}");
        assert!(decision.events.is_empty(), "{executor:?}");
    }
}

#[test]
fn an_answer_for_too_few_jobs_is_a_defect_of_the_executor() {
    let mut harness = bare();
    harness.executor = Executor::AnswersForTooFew;
    let refused = harness.dispatch(&["one"], &DispatchOptions::new().schedule_pending());
    assert!(matches!(refused, Err(DispatchRefused::ByExecutor(Refusal::Defective { .. }))));
}

#[test]
fn a_delay_counts_in_whole_milliseconds_and_zero_is_now() {
    let mut harness = bare();
    let options = DispatchOptions::new().schedule_pending();
    let delay = std::time::Duration::from_micros(1_500_999);
    let decided = harness.dispatch(&["one"], &options.schedule_in(delay)).unwrap();
    assert_eq!(decided.value.0[0].schedule_in, Some(ms(1_500)));
    assert_eq!(harness.intent("one").unwrap().delay, ms(1_500));
    let decided = harness.dispatch(&["two"], &options.schedule_in(ms(0))).unwrap();
    assert_eq!(decided.value.0[0].schedule_in, None);
    assert_eq!(harness.intent("two").unwrap().delay, ms(0));
}

#[test]
fn a_run_in_a_transition_workflow_dispatches_its_current_step() {
    let mut harness = Harness::start(&chain(["first", "second"]).build().unwrap());
    harness.complete("first", serde_json::json!({}));
    let decided = harness.decide(|work, jobs| dispatch_run(work, &DispatchOptions::new(), jobs)).unwrap();
    assert_eq!(targets(&decided), ["second"]);
    assert_eq!(harness.outstanding(), ["second"], "announcing it again adds no second intent");
}

#[test]
fn a_transition_run_without_a_current_step_is_an_invalid_step() {
    let mut harness = Harness::start(&chain(["first"]).build().unwrap());
    harness.state.run.current_step = None;
    let refused = harness.decide(|work, jobs| dispatch_run(work, &DispatchOptions::new(), jobs));
    assert!(matches!(refused, Err(DispatchRefused::InvalidStep(None))));
}

#[test]
fn a_dependency_run_dispatches_its_entry_steps_once() {
    let mut harness = Harness::start(&independent());
    let decided = harness.decide(|work, jobs| dispatch_run(work, &DispatchOptions::new(), jobs)).unwrap();
    assert_eq!(decided.value, (vec![], vec![]), "they were scheduled when the run started");
    harness.state.steps.clear();
    harness.intents.clear();
    let decided = harness.decide(|work, jobs| dispatch_run(work, &DispatchOptions::new(), jobs)).unwrap();
    assert_eq!(targets(&decided), ["one", "two", "three"]);
    assert_eq!(harness.state.steps.len(), 3);
}

#[test]
fn a_run_that_may_not_schedule_work_dispatches_nothing() {
    for status in RunStatus::ALL {
        let mut harness = bare();
        harness.state.run.status = status;
        assert!(harness.dispatch(&[], &DispatchOptions::new()).is_ok(), "no targets are no error: {status}");
        let answer = harness.dispatch(&["one"], &DispatchOptions::new().schedule_pending());
        match status {
            RunStatus::Pending | RunStatus::Running | RunStatus::Retrying => assert!(answer.is_ok(), "{status}"),
            _ => assert!(
                matches!(answer, Err(DispatchRefused::NotSchedulable { status: found, .. }) if found == status),
                "{status}"
            ),
        }
    }
}

#[test]
fn only_a_failed_run_has_its_compensation_dispatched() {
    for status in RunStatus::ALL {
        let mut harness = Harness::start(&independent());
        harness.state.run.status = status;
        let answer = harness.decide(|work, jobs| dispatch_compensation(work, jobs));
        if status == RunStatus::Failed {
            assert_eq!(answer.unwrap().value.0.len(), 1);
            assert!(harness.outstanding().contains(&"compensation".to_owned()));
        } else {
            assert!(matches!(answer, Err(DispatchRefused::NotFailed { .. })), "{status}");
        }
    }
}

#[test]
fn a_compensation_is_dispatched_even_if_it_is_refused() {
    for executor in [Executor::RefusesForGood, Executor::IsDown, Executor::AnswersForTooFew] {
        let mut harness = Harness::start(&independent());
        harness.fail("one");
        harness.intents.clear();
        harness.executor = executor;
        let decided = harness.decide(|work, jobs| dispatch_compensation(work, jobs)).unwrap();
        assert_eq!((decided.value.0.len(), decided.value.1.len()), (1, 1), "{executor:?}");
        assert_eq!(harness.outstanding(), ["compensation"], "{executor:?}");
    }
}

#[test]
fn a_join_is_not_dispatched_before_its_dependencies() {
    let mut harness = Harness::start(&independent());
    harness.complete("two", serde_json::json!({}));
    for options in [DispatchOptions::new(), DispatchOptions::new().schedule_pending()] {
        let refused = harness.dispatch(&["one", "last"], &options).map(|_| ()).unwrap_err();
        let DispatchRefused::NotRunnable { step, why } = refused else { panic!("{refused}") };
        let dependencies = vec![name("one"), name("three")];
        assert_eq!((step, why), (name("last"), WhyNotRunnable::DependenciesOpen { dependencies }));
    }
    assert_eq!(harness.step_status("last"), None);
}

#[test]
fn nothing_is_dispatched_ahead_of_a_transition_run() {
    let mut harness = Harness::start(&chain(["first", "second"]).build().unwrap());
    for options in [DispatchOptions::new(), DispatchOptions::new().schedule_pending()] {
        let refused = harness.dispatch(&["first", "second"], &options).map(|_| ()).unwrap_err();
        let DispatchRefused::NotRunnable { step, why } = refused else { panic!("{refused}") };
        let current = Some(name("first"));
        assert_eq!((step, why), (name("second"), WhyNotRunnable::NotCurrent { current }));
    }
}

#[test]
fn a_step_that_has_begun_is_not_dispatched_and_a_completed_one_is_reconciled() {
    let mut harness = Harness::start(&independent());
    let (plain, pending) = (DispatchOptions::new(), DispatchOptions::new().schedule_pending());
    harness.begin("one");
    harness.complete("two", serde_json::json!({}));
    let refused =
        |decided: Result<_, DispatchRefused>| match decided.map(|_: super::harness::Decided<_>| ()).unwrap_err() {
            DispatchRefused::NotRunnable { why: WhyNotRunnable::InStatus(status), .. } => status,
            other => panic!("{other}"),
        };
    assert_eq!(refused(harness.dispatch(&["one"], &plain)), StepStatus::Running);
    assert_eq!(refused(harness.dispatch(&["one"], &pending)), StepStatus::Running);
    assert_eq!(refused(harness.dispatch(&["two"], &pending)), StepStatus::Completed);
    assert_eq!(targets(&harness.dispatch(&["two"], &plain).unwrap()), ["two"]);
    let decided = harness.decide(|work, jobs| dispatch_run(work, &plain, jobs)).unwrap();
    assert_eq!(decided.value, (vec![], vec![]), "entry steps that are scheduled are left alone");
}

#[test]
fn the_refused_step_is_the_one_that_is_named() {
    // The executor names the refused job by its id, by an id of its own, or not at all.
    let refuse = |jobs: &[Job], name: &dyn Fn(&Job) -> Refusal| match jobs.iter().find(|job| job.queue.as_str() == "b")
    {
        Some(job) => Err(name(job)),
        None => Ok(jobs.iter().map(Job::metadata).collect()),
    };
    let by_id = |job: &Job| Refusal::Unroutable { job_id: job.key.to_string(), reason: "no queue".to_owned() };
    let by_its_own = |_: &Job| Refusal::Unroutable { job_id: "oban-7".to_owned(), reason: "no queue".to_owned() };
    let queued = workflow().step(step("a")).step(step("b").queue("b")).step(step("c")).parallel().build().unwrap();
    for name_it in [&by_id as &dyn Fn(&Job) -> Refusal, &by_its_own] {
        let mut harness = Harness::start(&queued);
        harness.state.steps.clear();
        let mut work = harness.open();
        let executor = |jobs: &[Job]| refuse(jobs, name_it);
        let targets = [name("a"), name("b"), name("c")];
        let options = DispatchOptions::new().schedule_pending();
        let refused = crate::engine::dispatch_steps(&mut work, &targets, &options, &executor).unwrap_err();
        assert!(
            matches!(&refused, DispatchRefused::ByExecutor(refusal) if refusal.step() == Some(name("b"))),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("/b"), "{refused}");
    }
}
