//! Jobs that could never be delivered are refused before the commit, never lost after it.

use super::ExecutorFixture;
use super::process::{Process, chain};
use super::witness::Witness;
use crate::definition::Priority;
use crate::dispatch::{Job, Refusal};
use crate::engine::DispatchRefused;
use crate::inspect::StepState;
use crate::name::QueueName;
use crate::port::RunFilter;
use crate::run::{FailureKind, RunStatus};
use crate::runtime::StartError;
use crate::testing::sample;

pub async fn a_job_for_a_refused_queue_is_unroutable(fixture: &dyn ExecutorFixture) {
    let Some(executor) = fixture.refusing(&nowhere()) else { return left_out() };
    let job = |queue: QueueName| Job::new(sample::intent(&sample::run(1), "first").key, queue, Priority::Normal, None);
    assert!(executor.describe(&[job(QueueName::default())]).is_ok());
    let refused = executor.describe(&[job(QueueName::default()), job(nowhere())]);
    let Err(Refusal::Unroutable { job_id, reason }) = refused else { panic!("it was not refused: {refused:?}") };
    assert_eq!(job_id, job(nowhere()).key.to_string());
    assert!(!reason.is_empty(), "it says why");
}

pub async fn a_run_that_begins_with_a_refused_job_is_not_started(fixture: &dyn ExecutorFixture) {
    let Some(executor) = fixture.refusing(&nowhere()) else { return left_out() };
    let (store, witness) = (fixture.store().await, Witness::default());
    let workflow = chain("refused", [("only", witness.step("only").queue(nowhere()))]);
    let process = Process::with(fixture, &store, &[workflow], executor);
    let answer = process.mesh.start_run("refused", &serde_json::json!({})).await;
    assert!(
        matches!(answer, Err(StartError::Refused(DispatchRefused::ByExecutor(Refusal::Unroutable { .. })))),
        "{answer:?}"
    );
    assert!(process.mesh.list_runs(&RunFilter::new()).await.unwrap().runs.is_empty());
    assert_eq!(process.sink.names(), Vec::<&str>::new());
}

pub async fn a_refused_successor_fails_its_run_and_keeps_the_output(fixture: &dyn ExecutorFixture) {
    let Some(executor) = fixture.refusing(&nowhere()) else { return left_out() };
    let (store, witness) = (fixture.store().await, Witness::default());
    let workflow = chain("refused", [("one", witness.step("one")), ("two", witness.step("two").queue(nowhere()))]);
    let mut process = Process::with(fixture, &store, &[workflow], executor);
    process.work(fixture);
    let run = process.start("refused").await;
    assert_eq!(process.end_of(run.id).await, RunStatus::Failed);
    let details = process.details(run.id).await;
    assert_eq!(details.run.last_error.unwrap().kind, FailureKind::SUCCESSOR_REFUSED);
    assert_eq!(details.steps[0].state, StepState::Completed);
    assert_eq!(details.intents, []);
    assert_eq!(witness.executions(), 1);
    process.stop().await;
}

fn nowhere() -> QueueName {
    sample::queue("nowhere")
}

/// Logs that a case was left out.
fn left_out() {
    tracing::warn!(target: "squidmesh", "left out: these executors refuse no queue");
}
