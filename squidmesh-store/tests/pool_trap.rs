//! The pool trap: a future that is dropped while it begins a transaction must not lose a write.
//!
//! On Postgres, such a drop returns the connection to the pool inside the open transaction. Its next user gets
//! `Ok` for writes that are never committed, unless the pool clears returned connections.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod databases;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use databases::{TestDatabase, count};
use sea_orm::{ConnectionTrait, TransactionTrait};
use squidmesh_core::port::{CommitOutcome, StoreSession};
use squidmesh_core::testing::sample;
use squidmesh_store::SeaOrmStore;

const CANCELLED: usize = 1_000;

/// Begins a transaction as a host would, and drops the future when it is pending for the `polls`-th time.
async fn begin_and_cancel<F: Future>(begin: F, polls: usize) {
    let mut begin = pin!(begin);
    for _ in 0..polls {
        if let Poll::Ready(_transaction) = begin.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn hosts_writes_survive_cancelled_begins(database: &TestDatabase) {
    let store = SeaOrmStore::builder(&database.url).max_connections(3).connect().await.unwrap();
    let host = store.connection();
    host.execute_unprepared("CREATE TABLE orders (id INTEGER)").await.unwrap();
    let mut acknowledged = 0;
    for id in 0..CANCELLED {
        begin_and_cancel(host.begin(), 1 + id % 3).await;
        if host.execute_unprepared(&format!("INSERT INTO orders VALUES ({id})")).await.is_ok() {
            acknowledged += 1;
        }
    }
    assert_eq!(acknowledged, CANCELLED);
    drop(store);
    assert_eq!(count(&database.connection().await, "orders").await, i64::try_from(acknowledged).unwrap());
}

async fn commits_survive_cancelled_begins_and_commits(database: &TestDatabase) {
    let store = database.store().await;
    let mut acknowledged = 0;
    for number in 0..300 {
        begin_and_cancel(store.begin(), 1 + usize::try_from(number).unwrap() % 3).await;
        begin_and_cancel(store.commit(vec![sample::start(10_000 + number)]), 1).await;
        let answers = store.commit(vec![sample::start(number)]).await.unwrap();
        assert_eq!(answers.len(), 1);
        if matches!(answers.first(), Some(Ok(CommitOutcome::Committed))) {
            acknowledged += 1;
        }
    }
    assert_eq!(acknowledged, 300);
    drop(store);
    let statement = "squidmesh_runs WHERE created_at < 1767225609000";
    assert_eq!(count(&database.connection().await, statement).await, acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_of_the_host_is_lost_to_a_thousand_cancelled_begins_on_postgres() {
    hosts_writes_survive_cancelled_begins(&TestDatabase::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_of_the_host_is_lost_to_a_thousand_cancelled_begins_on_sqlite() {
    hosts_writes_survive_cancelled_begins(&TestDatabase::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_commit_is_lost_to_cancelled_calls_on_postgres() {
    commits_survive_cancelled_begins_and_commits(&TestDatabase::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_commit_is_lost_to_cancelled_calls_on_sqlite() {
    commits_survive_cancelled_begins_and_commits(&TestDatabase::sqlite()).await;
}

/// Shows that the trap exists: without it, the test above would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_without_protection_does_lose_writes_on_postgres() {
    let database = TestDatabase::postgres().await;
    let mut options = sea_orm::ConnectOptions::new(&database.url);
    options.max_connections(3);
    let host = sea_orm::Database::connect(options).await.unwrap();
    host.execute_unprepared("CREATE TABLE orders (id INTEGER)").await.unwrap();
    let mut acknowledged = 0;
    for id in 0..CANCELLED {
        begin_and_cancel(host.begin(), 1 + id % 3).await;
        if host.execute_unprepared(&format!("INSERT INTO orders VALUES ({id})")).await.is_ok() {
            acknowledged += 1;
        }
    }
    host.close().await.unwrap();
    assert!(count(&database.connection().await, "orders").await < acknowledged);
}
