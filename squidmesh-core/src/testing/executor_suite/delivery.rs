//! Everything that was dispatched is delivered, notified or not.

use std::sync::Arc;

use super::ExecutorFixture;
use super::process::{Process, chain};
use super::silent::{DeafExecutor, Silent};
use super::witness::Witness;
use crate::definition::Priority;
use crate::inspect::StepState;
use crate::port::Store;
use crate::run::RunStatus;
use crate::testing::InterceptedStore;
use crate::workflow::{Trigger, Workflow};

pub async fn every_dispatched_step_is_delivered_once(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let workflow =
        chain("chain", [("one", witness.step("one")), ("two", witness.step("two")), ("three", witness.step("three"))]);
    let mut process = Process::new(fixture, &store, &[workflow]);
    process.work(fixture);
    let runs = process.start_many("chain", 40).await;
    process.all_completed(&runs).await;
    assert_eq!(witness.each(), vec![1; 120]);
    process.stop().await;
}

pub async fn work_committed_before_the_workers_started_is_delivered(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let mut process = Process::new(fixture, &store, &[chain("solo", [("only", witness.step("only"))])]);
    let runs = process.start_many("solo", 40).await;
    process.work(fixture);
    process.all_completed(&runs).await;
    assert_eq!(witness.each(), vec![1; 40]);
    process.stop().await;
}

pub async fn siblings_are_delivered_and_their_join_after_them(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let names: Vec<String> = (0..50).map(|number| format!("sibling-{number}")).collect();
    let mut workflow = Workflow::builder("fan").trigger(Trigger::manual("go")).step(witness.step("root"));
    for name in &names {
        workflow = workflow.step(witness.step(name).after(["root"]));
    }
    let workflow = workflow.step(witness.step("join").after(&names)).build().unwrap();
    let mut process = Process::new(fixture, &store, &[workflow]);
    process.work(fixture);
    let run = process.start("fan").await;
    assert_eq!(process.end_of(run.id).await, RunStatus::Completed);
    assert_eq!(witness.each(), vec![1; 52]);
    let details = process.details(run.id).await;
    assert!(details.steps.iter().all(|step| step.state == StepState::Completed));
    let join = details.steps.last().unwrap().run.as_ref().unwrap();
    assert_eq!(join.sequence, details.steps.iter().filter_map(|step| step.run.as_ref()?.sequence).max());
    process.stop().await;
}

pub async fn every_queue_that_the_workflows_name_is_served(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let workflow = chain(
        "queues",
        [
            ("one", witness.step("one").queue("mail")),
            ("two", witness.step("two").queue("größe ’n")),
            ("three", witness.step("three").priority(Priority::Low)),
        ],
    );
    let mut process = Process::new(fixture, &store, &[workflow]);
    process.work(fixture);
    let run = process.start("queues").await;
    assert_eq!(process.end_of(run.id).await, RunStatus::Completed);
    process.stop().await;
}

pub async fn work_that_was_never_published_is_found(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let silent: Arc<dyn Store> = Arc::new(InterceptedStore::new(Arc::clone(&store), Silent));
    let workflow = chain("solo", [("only", witness.step("only"))]);
    let mut process = Process::new(fixture, &silent, std::slice::from_ref(&workflow));
    process.work(fixture);
    let deaf = Arc::new(DeafExecutor(fixture.executor()));
    let other = Process::with(fixture, &silent, &[workflow], deaf);
    // The first run shows that the workers are running; the second is never announced to them.
    let run = process.start("solo").await;
    process.all_completed(&[run.id]).await;
    let unannounced = other.start("solo").await;
    fixture.pass(fixture.moment() * 5).await;
    process.all_completed(&[unannounced.id]).await;
    process.stop().await;
}

pub async fn an_executor_without_notifications_delivers_everything(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let deaf = Arc::new(DeafExecutor(fixture.executor()));
    let workflow = chain("pair", [("one", witness.step("one")), ("two", witness.step("two").queue("other"))]);
    let mut process = Process::with(fixture, &store, &[workflow], deaf);
    process.work(fixture);
    let runs = process.start_many("pair", 10).await;
    process.all_completed(&runs).await;
    assert_eq!(witness.each(), vec![1; 20]);
    process.stop().await;
}

pub async fn work_for_other_versions_is_left_alone(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let older = chain("deployed", [("one", witness.step("one"))]);
    let newer = chain("deployed", [("one", witness.step("one")), ("two", witness.step("two"))]);
    let mut old = Process::new(fixture, &store, &[older]);
    let mut new = Process::new(fixture, &store, &[newer]);
    old.work(fixture);
    let run = new.start("deployed").await;
    // The old process delivered a run of its own and left the new run as it was.
    let own = old.start("deployed").await;
    old.all_completed(&[own.id]).await;
    assert_eq!(new.details(run.id).await.run.status, RunStatus::Pending);
    new.work(fixture);
    new.all_completed(&[run.id]).await;
    assert_eq!(witness.each(), vec![1; 3]);
    old.stop().await;
    new.stop().await;
}
