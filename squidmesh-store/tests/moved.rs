//! The file of a SQLite database is moved, deleted or replaced while a process uses it: it is never created again,
//! nothing that was only moved is destroyed, errors say what is wrong, and everything works again once the file is
//! back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod databases;

use std::fs;
use std::path::PathBuf;

use databases::TestDatabase;
use sea_orm::ConnectionTrait;
use squidmesh_core::definition::QueueName;
use squidmesh_core::port::{ClaimRequest, CommitOutcome, Store, StoreError, StoreSession};
use squidmesh_core::testing::sample;
use squidmesh_store::{ConnectError, SeaOrmStore};

fn path(database: &TestDatabase) -> PathBuf {
    PathBuf::from(database.url.strip_prefix("sqlite://").unwrap())
}

async fn start(store: &SeaOrmStore, number: u64) -> Result<CommitOutcome, StoreError> {
    store.commit(vec![sample::start(number)]).await.and_then(|mut answers| answers.pop().unwrap())
}

async fn claim(store: &SeaOrmStore) -> Result<usize, StoreError> {
    let fingerprint = *sample::definition().fingerprint();
    let (token, lease) = (sample::lease_token(1), std::time::Duration::from_secs(60));
    let request = ClaimRequest::new(vec![QueueName::default()], vec![fingerprint], 10, token, lease);
    store.claim(&request).await.map(|claims| claims.claims.len())
}

fn says_where_it_is(error: &StoreError) {
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("cannot be opened: it was moved or deleted"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_moved_away_and_back_loses_nothing_on_sqlite() {
    let database = TestDatabase::sqlite();
    let (store, path) = (database.store().await, path(&database));
    let away = path.with_extension("away");
    start(&store, 1).await.unwrap();
    fs::rename(&path, &away).unwrap();

    says_where_it_is(&start(&store, 2).await.unwrap_err());
    says_where_it_is(&claim(&store).await.unwrap_err());
    says_where_it_is(&store.load(sample::run_id(1)).await.unwrap_err());
    says_where_it_is(&store.begin().await.unwrap_err());
    assert!(!path.exists(), "no process creates it again");

    fs::rename(&away, &path).unwrap();
    assert_eq!(start(&store, 2).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(claim(&store).await.unwrap(), 2);
    assert!(store.load(sample::run_id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_is_deleted_is_not_made_anew_on_sqlite() {
    let database = TestDatabase::sqlite();
    let (store, path) = (database.store().await, path(&database));
    start(&store, 1).await.unwrap();
    fs::remove_file(&path).unwrap();
    says_where_it_is(&start(&store, 2).await.unwrap_err());
    says_where_it_is(&claim(&store).await.unwrap_err());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_replaced_is_used_from_then_on_on_sqlite() {
    let (database, backup) = (TestDatabase::sqlite(), TestDatabase::sqlite());
    let (store, path, other) = (database.store().await, path(&database), path(&backup));
    start(&store, 1).await.unwrap();
    let made = backup.store().await;
    start(&made, 7).await.unwrap();
    made.connection().execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    fs::rename(&other, &path).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", path.display()));
    }
    assert!(store.load(sample::run_id(7)).await.unwrap().is_some());
    assert!(store.load(sample::run_id(1)).await.unwrap().is_none());
    assert_eq!(start(&store, 1).await.unwrap(), CommitOutcome::Committed);
    drop(store);
    assert!(database.store().await.load(sample::run_id(1)).await.unwrap().is_some(), "it went into the new file");
}

/// Creating the file again would empty the log, which may contain data that the file does not have yet.
#[tokio::test]
async fn a_log_without_its_file_is_not_emptied_on_sqlite() {
    let database = TestDatabase::sqlite();
    let (store, path) = (database.store().await, path(&database));
    let log = PathBuf::from(format!("{}-wal", path.display()));
    start(&store, 1).await.unwrap();
    let away = path.with_extension("away");
    fs::rename(&path, &away).unwrap();
    let length = fs::metadata(&log).unwrap().len();
    let refused = SeaOrmStore::connect(&database.url).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Unreachable { .. }), "{refused}");
    assert!(refused.to_string().contains("put it back"), "{refused}");
    assert_eq!(fs::metadata(&log).unwrap().len(), length);
    assert!(!path.exists());
    fs::rename(&away, &path).unwrap();
    assert!(database.store().await.load(sample::run_id(1)).await.unwrap().is_some());
}
