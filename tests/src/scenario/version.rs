//! Several versions of a workflow, and processes that know only some of them.

use serde_json::json;
use squidmesh_core::{COMPLETE, ConfigError, Delivery, RunStatus, SkipReason, Squidmesh, Workflow};

use super::{chain, done, nothing, workflow};
use crate::{Ground, Journal};

fn longer(journal: &std::sync::Arc<Journal>) -> Workflow {
    workflow("chain")
        .step(journal.step("one", done))
        .step(journal.step("added", done))
        .step(journal.step("two", done))
        .then("one", "added")
        .then("added", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap()
}

pub async fn a_run_stays_on_the_version_that_it_was_started_with(ground: &Ground) {
    let journal = Journal::new();
    let older = ground.world([chain("chain", &journal, &["one", "two"])]);
    let run = older.start_run("chain", &nothing()).await.unwrap();
    drop(older);
    let both = ground.world([chain("chain", &journal, &["one", "two"]), longer(&journal)]);
    let newer = both.start_run("chain", &nothing()).await.unwrap();
    assert_ne!(newer.fingerprint, run.fingerprint, "new runs start on the newest");
    both.settle_all([run.id, newer.id]).await;
    let steps =
        |id| journal.calls().into_iter().filter(|call| call.run_id == id).map(|call| call.step).collect::<Vec<_>>();
    assert_eq!(steps(run.id), ["one", "two"]);
    assert_eq!(steps(newer.id), ["one", "added", "two"]);
}

pub async fn a_version_that_is_not_here_is_left_for_a_process_that_has_it(ground: &Ground) {
    let journal = Journal::new();
    let older = ground.world([chain("chain", &journal, &["one", "two"])]);
    let run = older.start_run("chain", &nothing()).await.unwrap();
    let newer = ground.world([longer(&journal)]);
    let payload = json!({"kind": "step", "v": 1, "run_id": run.id, "step": "one"}).to_string();
    let delivery = newer.runner().perform(payload.as_bytes()).await.unwrap();
    assert!(matches!(delivery, Delivery::Skipped(SkipReason::UnknownDefinition)), "{delivery:?}");
    assert_eq!(newer.skipped(run.id), ["unknown_definition"]);
    let before = older.look(run.id).await;
    // A process with the newer version carries on with its own runs and lets this one lie.
    let own = newer.start_run("chain", &nothing()).await.unwrap();
    newer.settle(own.id).await;
    assert_eq!(newer.look(run.id).await, before);
    assert_eq!(older.settle(run.id).await.run.status, RunStatus::Completed);
    assert_eq!(older.look(own.id).await.run.status, RunStatus::Completed);
}

pub async fn the_same_version_cannot_be_registered_twice(ground: &Ground) {
    let journal = Journal::new();
    let executor = ground.world([]).executor.clone();
    let twice = Squidmesh::builder(ground.store())
        .executor(executor)
        .workflow(chain("chain", &journal, &["one"]))
        .workflow(chain("chain", &journal, &["one"]))
        .build();
    assert!(matches!(twice, Err(ConfigError::DuplicateWorkflow { .. })));
    let none = Squidmesh::builder(ground.store()).build();
    assert!(matches!(none, Err(ConfigError::MissingExecutor)));
}
