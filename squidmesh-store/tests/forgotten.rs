//! A database that loses data: it was restored from a backup, failed over to a replica that lagged behind, or was
//! emptied. The caches of a process do not outlive that.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod databases;

use std::sync::Arc;

use databases::{TestDatabase, count};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use squidmesh_core::port::{CommitOutcome, StoreSession};
use squidmesh_core::testing::{ManualClock, MemoryExecutor, sample};
use squidmesh_core::{COMPLETE, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow};

/// Commits starts, and checks how many definitions are stored afterwards.
async fn stored_again(database: TestDatabase) {
    let store = database.store().await;
    let other = database.connection().await;
    for number in 1..=3 {
        assert_eq!(store.commit(vec![sample::start(number)]).await.unwrap().len(), 1);
    }
    assert_eq!(count(&other, "squidmesh_definitions").await, 1, "{database:?}");
    other.execute_unprepared("DELETE FROM squidmesh_definitions").await.unwrap();

    let answers = store.commit(vec![sample::start(4), sample::start(5), sample::start(1)]).await.unwrap();
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [CommitOutcome::Committed, CommitOutcome::Committed, CommitOutcome::Conflict], "{database:?}");
    assert!(store.definition(sample::definition().fingerprint()).await.unwrap().is_some(), "{database:?}");

    other.execute_unprepared("DELETE FROM squidmesh_definitions").await.unwrap();
    let transaction = store.begin().await.unwrap();
    let session = store.join(&transaction);
    let answers = session.commit(vec![sample::start(6)]).await.unwrap();
    assert!(matches!(answers.as_slice(), [Ok(CommitOutcome::Committed)]), "{database:?}");
    drop(session);
    transaction.commit().await.unwrap();
    assert!(store.definition(sample::definition().fingerprint()).await.unwrap().is_some(), "{database:?}");
}

#[tokio::test]
async fn a_definition_that_was_lost_is_stored_again_on_sqlite() {
    stored_again(TestDatabase::sqlite()).await;
}

#[tokio::test]
async fn a_definition_that_was_lost_is_stored_again_on_postgres() {
    stored_again(TestDatabase::postgres().await).await;
}

async fn nothing(_: Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

/// Empties the tables while a runtime runs: a process without the workflow can still inspect the runs that are
/// started afterwards.
async fn runs_of_an_emptied_database_can_be_inspected(database: TestDatabase) {
    let store = database.store().await;
    let workflow = Workflow::builder("emptied")
        .trigger(Trigger::manual("start"))
        .step(Step::new("only", nothing))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let mesh = Squidmesh::builder(store.clone())
        .executor(MemoryExecutor::new(Arc::new(ManualClock::default())))
        .workflow(workflow)
        .build()
        .unwrap();
    mesh.start_run("emptied", &json!({})).await.unwrap();
    for table in ["definitions", "runs", "step_runs", "intents", "audit", "attempts"] {
        store.connection().execute_unprepared(&format!("DELETE FROM squidmesh_{table}")).await.unwrap();
    }
    let id = mesh.start_run("emptied", &json!({})).await.unwrap().id;
    let unaware = Squidmesh::builder(database.store().await)
        .executor(MemoryExecutor::new(Arc::new(ManualClock::default())))
        .build()
        .unwrap();
    assert_eq!(unaware.inspect_run(id).await.unwrap().steps.len(), 1, "{database:?}");
    unaware.cancel_run(id).await.unwrap();
}

#[tokio::test]
async fn runs_started_in_an_emptied_database_are_whole_on_sqlite() {
    runs_of_an_emptied_database_can_be_inspected(TestDatabase::sqlite()).await;
}

#[tokio::test]
async fn runs_started_in_an_emptied_database_are_whole_on_postgres() {
    runs_of_an_emptied_database_can_be_inspected(TestDatabase::postgres().await).await;
}
