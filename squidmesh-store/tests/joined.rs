//! Commits inside a transaction of the host: they take effect with the host's own writes, or not at all.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod databases;

use databases::{TestDatabase, count};
use sea_orm::ConnectionTrait;
use squidmesh_core::port::{CommitOutcome, IntentWrite, StepWrite, StoreError, StoreSession};
use squidmesh_core::testing::sample;
use squidmesh_store::SeaOrmStore;

async fn shop(database: &TestDatabase) -> SeaOrmStore {
    let store = database.store().await;
    store.connection().execute_unprepared("CREATE TABLE orders (id INTEGER)").await.unwrap();
    store
}

async fn commit(session: &dyn StoreSession, commit: squidmesh_core::port::Commit) -> Result<CommitOutcome, StoreError> {
    session.commit(vec![commit]).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_run_and_the_hosts_row_commit_together() {
    for database in TestDatabase::each().await {
        let store = shop(&database).await;
        let transaction = store.begin().await.unwrap();
        transaction.execute_unprepared("INSERT INTO orders VALUES (1)").await.unwrap();
        let session = store.join(&transaction);
        assert_eq!(commit(&session, sample::start(1)).await.unwrap(), CommitOutcome::Committed);
        assert!(session.load(sample::run_id(1)).await.unwrap().is_some());
        drop(session);
        transaction.commit().await.unwrap();
        assert!(store.load(sample::run_id(1)).await.unwrap().is_some(), "{database:?}");
        assert!(store.definition(sample::definition().fingerprint()).await.unwrap().is_some());
        assert_eq!(count(store.connection(), "orders").await, 1);
    }
}

#[tokio::test]
async fn a_run_and_the_hosts_row_vanish_together() {
    for database in TestDatabase::each().await {
        let store = shop(&database).await;
        let transaction = store.begin().await.unwrap();
        transaction.execute_unprepared("INSERT INTO orders VALUES (1)").await.unwrap();
        assert_eq!(commit(&store.join(&transaction), sample::start(1)).await.unwrap(), CommitOutcome::Committed);
        transaction.rollback().await.unwrap();
        for table in ["orders", "squidmesh_runs", "squidmesh_intents"] {
            assert_eq!(count(store.connection(), table).await, 0, "{table} of {database:?}");
        }
        // On Postgres, the definition is written by itself: in the host's transaction, it would hold up other starts.
        let kept = if database.url.starts_with("sqlite") { 0 } else { 1 };
        assert_eq!(count(store.connection(), "squidmesh_definitions").await, kept, "{database:?}");
        // A definition that was rolled back is not cached as stored.
        assert_eq!(commit(&store, sample::start(2)).await.unwrap(), CommitOutcome::Committed);
        assert_eq!(count(store.connection(), "squidmesh_definitions").await, 1);
    }
}

#[tokio::test]
async fn a_commit_that_fails_leaves_the_hosts_transaction_usable() {
    for database in TestDatabase::each().await {
        let store = shop(&database).await;
        commit(&store, sample::start(1)).await.unwrap();
        let transaction = store.begin().await.unwrap();
        transaction.execute_unprepared("INSERT INTO orders VALUES (1)").await.unwrap();
        let session = store.join(&transaction);

        assert_eq!(commit(&session, sample::start(1)).await.unwrap(), CommitOutcome::Conflict);
        let mut stale = sample::next(&sample::run(1));
        stale.fences = vec![sample::lease(stale.run.id, "first", sample::lease_token(9))];
        stale.attempts.push(sample::attempt("first", 1));
        assert_eq!(commit(&session, stale).await.unwrap(), CommitOutcome::Fenced);
        let mut twice = sample::next(&sample::run(1));
        twice.steps.push(StepWrite::Create(sample::step("first")));
        assert!(matches!(commit(&session, twice).await, Err(StoreError::Refused { .. })));
        let mut missing = sample::next(&sample::run(1));
        missing.steps.push(StepWrite::Update(sample::step("second")));
        assert!(matches!(commit(&session, missing).await, Err(StoreError::Corrupt { .. })));

        assert_eq!(commit(&session, sample::next(&sample::run(1))).await.unwrap(), CommitOutcome::Committed);
        drop(session);
        transaction.commit().await.unwrap();
        assert_eq!(count(store.connection(), "orders").await, 1);
        let state = store.load(sample::run_id(1)).await.unwrap().unwrap();
        assert_eq!((state.run.revision, state.steps.len()), (2, 1), "{database:?}");
        assert_eq!(store.history(sample::run_id(1)).await.unwrap().attempts, []);
    }
}

#[tokio::test]
async fn a_fenced_commit_in_a_transaction_proves_its_lease() {
    for database in TestDatabase::each().await {
        let store = shop(&database).await;
        let (run, token) = (sample::run(1), sample::lease_token(1));
        let mut start = sample::start(1);
        let mut held = sample::intent(&run, "first");
        held.lease = Some(token);
        held.delay = std::time::Duration::from_secs(600);
        start.intents = vec![IntentWrite::Add(held)];
        commit(&store, start).await.unwrap();

        let transaction = store.begin().await.unwrap();
        let mut done = sample::next(&run);
        let fence = sample::lease(run.id, "first", token);
        done.intents.push(IntentWrite::Remove(fence.key.clone()));
        done.fences = vec![fence];
        assert_eq!(commit(&store.join(&transaction), done).await.unwrap(), CommitOutcome::Committed);
        transaction.commit().await.unwrap();
        assert_eq!(store.history(run.id).await.unwrap().intents, [], "{database:?}");
    }
}

#[tokio::test]
async fn a_start_in_a_transaction_stores_a_version_that_is_gone() {
    for database in TestDatabase::each().await {
        let store = shop(&database).await;
        commit(&store, sample::start(1)).await.unwrap();
        let emptied = "DELETE FROM squidmesh_definitions";
        store.connection().execute_unprepared(emptied).await.unwrap();
        let transaction = store.begin().await.unwrap();
        let session = store.join(&transaction);
        assert_eq!(commit(&session, sample::start(2)).await.unwrap(), CommitOutcome::Committed, "{database:?}");
        drop(session);
        transaction.commit().await.unwrap();
        assert_eq!(count(store.connection(), "squidmesh_definitions").await, 1, "{database:?}");
        assert!(store.load(sample::run_id(2)).await.unwrap().is_some());
    }
}
