//! Unreadable rows: each is an error of its own item, which names it, shows nothing of its content, and affects no
//! other item.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod databases;

use std::time::Duration;

use databases::TestDatabase;
use sea_orm::ConnectionTrait;
use squidmesh_core::RunFilter;
use squidmesh_core::definition::QueueName;
use squidmesh_core::port::{ClaimRequest, Store, StoreError, StoreSession};
use squidmesh_core::testing::sample;
use squidmesh_store::SeaOrmStore;

async fn with_runs(database: &TestDatabase, statement: &str) -> SeaOrmStore {
    let store = database.store().await;
    let commits = (1..=3).map(sample::start).collect();
    assert!(store.commit(commits).await.unwrap().iter().all(Result::is_ok));
    store.connection().execute_unprepared(statement).await.unwrap();
    store
}

fn request() -> ClaimRequest {
    let fingerprint = *sample::definition().fingerprint();
    let (token, lease) = (sample::lease_token(1), Duration::from_secs(60));
    ClaimRequest::new(vec![QueueName::default()], vec![fingerprint], 10, token, lease)
}

/// Damages a row of the second run. The creation time identifies the runs of the sample in either dialect.
fn damage(table: &str, set: &str) -> String {
    let number_two = "(SELECT id FROM squidmesh_runs WHERE created_at = 1767225600002)";
    let key = if table == "squidmesh_runs" { "id" } else { "run_id" };
    format!("UPDATE {table} SET {set} WHERE {key} = {number_two}")
}

#[tokio::test]
async fn a_run_that_cannot_be_read_harms_no_other_claim() {
    for database in TestDatabase::each().await {
        let store = with_runs(&database, &damage("squidmesh_runs", "payload = 'S3CRET'")).await;
        let claims = store.claim(&request()).await.unwrap().claims;
        assert_eq!(claims.len(), 3);
        for claim in claims {
            let bad = claim.lease.key.run_id == sample::run_id(2);
            match claim.state {
                Err(StoreError::Corrupt { what, reason }) if bad => {
                    assert_eq!(what, format!("run {}", sample::run_id(2)));
                    assert!(reason.contains("payload") && !reason.contains("S3CRET"), "{reason}");
                }
                state => assert!(!bad && state.is_ok(), "{state:?}"),
            }
        }
        let error = store.load(sample::run_id(2)).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_step_run_that_cannot_be_read_is_named() {
    for database in TestDatabase::each().await {
        for (set, column) in [
            ("status = 'S3CRET'", "status"),
            ("input_snapshot = '[\"S3CRET\"]'", "input_snapshot"),
            ("recovery = '{\"S3CRET\":1}'", "recovery"),
            ("attempt = -1", "attempt"),
        ] {
            let store = with_runs(&database, &damage("squidmesh_step_runs", set)).await;
            let Err(StoreError::Corrupt { what, reason }) = store.load(sample::run_id(2)).await else {
                panic!("{set} is not seen in {database:?}")
            };
            assert_eq!(what, format!("step run {}/first", sample::run_id(2)));
            assert!(reason.contains(column) && !reason.contains("S3CRET"), "{reason}");
            assert!(store.load(sample::run_id(1)).await.unwrap().is_some());
            for table in ["runs", "step_runs", "intents"] {
                let clear = format!("DELETE FROM squidmesh_{table}");
                store.connection().execute_unprepared(&clear).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn an_intent_without_its_run_is_claimed_as_an_error() {
    for database in TestDatabase::each().await {
        let store = with_runs(&database, "DELETE FROM squidmesh_runs WHERE created_at = 1767225600002").await;
        let claims = store.claim(&request()).await.unwrap().claims;
        let (good, bad): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.state.is_ok());
        assert_eq!((good.len(), bad.len()), (2, 1), "{database:?}");
        assert_eq!(store.load(sample::run_id(2)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_intent_that_cannot_be_read_harms_no_other_claim() {
    for database in TestDatabase::each().await {
        let store = with_runs(&database, &damage("squidmesh_intents", "step = ' no name '")).await;
        assert_eq!(store.claim(&request()).await.unwrap().claims.len(), 2, "{database:?}");
        assert!(matches!(store.history(sample::run_id(2)).await, Err(StoreError::Corrupt { .. })));
        assert!(store.history(sample::run_id(1)).await.is_ok());
    }
}

/// Only SQLite accepts an id that is not a UUID, and a time that is not an integer.
#[tokio::test]
async fn an_intent_without_a_sound_key_or_time_stops_no_claim() {
    for set in ["run_id = 'S3CRET'", "run_id = -1", "run_id = x'00'", "available_at = 'S3CRET'"] {
        let database = TestDatabase::sqlite();
        let store = with_runs(&database, &damage("squidmesh_intents", set)).await;
        let claims = store.claim(&request()).await.unwrap();
        assert_eq!(claims.claims.len(), 2, "{set}");
        let left = store.claim(&request()).await.unwrap();
        assert!(left.claims.is_empty() && left.next_in.is_none_or(|wait| !wait.is_zero()), "{set}: {left:?}");
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_read_does_not_hide_the_others_from_a_list() {
    for database in TestDatabase::each().await {
        let store = with_runs(&database, &damage("squidmesh_runs", "fingerprint = 'odd'")).await;
        let page = store.list(&RunFilter::new().limit(2)).await.unwrap();
        assert_eq!(page.runs.iter().map(|run| run.id).collect::<Vec<_>>(), [sample::run_id(3)], "{database:?}");
        let rest = store.list(&RunFilter::new().limit(2).after(page.next.unwrap())).await.unwrap();
        assert_eq!(rest.runs.iter().map(|run| run.id).collect::<Vec<_>>(), [sample::run_id(1)]);
        assert_eq!(rest.next, None);
    }
}
