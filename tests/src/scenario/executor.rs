//! An executor that is down, drops work or is defective harms no run.

use squidmesh_core::{RunStatus, ms};

use super::{chain, nothing};
use crate::{Backend, Behavior, Journal};

pub async fn a_run_completes_however_publishing_fails(backend: &Backend) {
    for behavior in [
        Behavior::Unavailable,
        Behavior::Panics,
        Behavior::AnswersForTooFew,
        Behavior::PanicsInPublish,
        Behavior::Forgets,
    ] {
        let journal = Journal::new();
        let world = backend.world([chain("chain", &journal, &["one", "two", "three"])]);
        let run = world.start_run("chain", &nothing()).await.unwrap();
        world.executor.behave(behavior.clone());
        let details = world.settle(run.id).await;
        assert_eq!(details.run.status, RunStatus::Completed, "{behavior:?}");
        assert_eq!(journal.steps(), ["one", "two", "three"], "{behavior:?}");
    }
}

pub async fn work_that_was_never_announced_is_found(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one", "two"])]);
    world.executor.behave(Behavior::Forgets);
    let runs = [
        world.start_run("chain", &nothing()).await.unwrap().id,
        world.start_run("chain", &nothing()).await.unwrap().id,
    ];
    let settled = world.settle_all(runs).await;
    assert!(settled.iter().all(|details| details.run.status == RunStatus::Completed));
}

pub async fn work_that_another_process_started_is_found(backend: &Backend) {
    let journal = Journal::new();
    let starter = backend.world([chain("chain", &journal, &["one", "two"])]);
    let worker = backend.world([chain("chain", &journal, &["one", "two"])]);
    let details = worker
        .working(async {
            let run = starter.start_run("chain", &nothing()).await.unwrap();
            worker.rests(run.id).await
        })
        .await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(journal.calls().len(), 2);
}

pub async fn a_shutdown_loses_nothing_and_burns_no_attempt(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one", "two", "three"])]);
    let mut runs = Vec::new();
    for _ in 0..20 {
        runs.push(world.start_run("chain", &nothing()).await.unwrap().id);
    }
    for _ in 0..3 {
        world.working(tokio::time::sleep(ms(4))).await; // workers come and go
    }
    let settled = world.settle_all(runs).await;
    for details in &settled {
        assert_eq!(details.run.status, RunStatus::Completed);
        for step in &details.steps {
            let done = step.attempts.iter().filter(|attempt| attempt.status.as_str() == "completed").count();
            assert_eq!(done, 1, "each step completes once");
            assert_eq!(step.run.as_ref().unwrap().failures, 0, "no attempt is burnt");
        }
    }
}
