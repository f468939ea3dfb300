//! A network that drops everything sent on open connections, while new ones work. No call waits forever, no
//! connection from before is used again, and work resumes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

mod databases;
mod silent;

use std::time::{Duration, Instant};

use databases::{TestDatabase, count};
use sea_orm::ConnectionTrait;
use silent::Network;
use squidmesh_core::port::{CommitOutcome, Store, StoreError, StoreSession};
use squidmesh_core::testing::sample;
use squidmesh_store::SeaOrmStore;

const BOUND: Duration = Duration::from_millis(1_500);
/// The extra time that a loaded machine may need.
const LEEWAY: Duration = Duration::from_secs(3);

async fn over(network: &Network, database: &TestDatabase) -> SeaOrmStore {
    let builder = SeaOrmStore::builder(network.url(&database.url)).call_timeout(BOUND);
    builder.connect_timeout(Duration::from_secs(1)).max_connections(3).connect().await.unwrap()
}

/// Makes concurrent calls, so that many connections are in use.
async fn busy(store: &SeaOrmStore, first: u64, calls: u64) -> Vec<Result<CommitOutcome, StoreError>> {
    let commits = (first..first + calls).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let _ = store.load(sample::run_id(number)).await;
            store.commit(vec![sample::start(number)]).await.and_then(|mut answers| answers.pop().unwrap())
        })
    });
    let mut answers = Vec::new();
    for commit in commits.collect::<Vec<_>>() {
        answers.push(commit.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_connections_that_fell_silent_end_on_postgres() {
    let database = TestDatabase::postgres().await;
    let network = Network::to(&database.url).await;
    let store = over(&network, &database).await;
    assert!(busy(&store, 1, 20).await.iter().all(Result::is_ok));

    network.fall_silent();
    let begun = Instant::now();
    let answers = busy(&store, 100, 20).await;
    assert!(begun.elapsed() < 2 * BOUND + LEEWAY, "they took {:?}", begun.elapsed());
    for answer in &answers {
        // Either it was sent, and its outcome is unknown, or it was not sent on that connection.
        assert!(matches!(answer, Ok(_) | Err(StoreError::OutcomeUnknown { .. } | StoreError::Unavailable { .. })));
    }
    // No connection from before is lent again: everything works, at once.
    let begun = Instant::now();
    let answers = busy(&store, 200, 20).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(CommitOutcome::Committed))), "{answers:?}");
    assert!(begun.elapsed() < LEEWAY, "they took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_not_answered_may_have_been_applied_on_postgres() {
    let database = TestDatabase::postgres().await;
    let network = Network::to(&database.url).await;
    let store = over(&network, &database).await;
    let direct = database.connection().await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END'; \
        CREATE TRIGGER slow BEFORE INSERT ON squidmesh_runs FOR EACH ROW EXECUTE FUNCTION slow()";
    direct.execute_unprepared(slow).await.unwrap();
    let committing = store.clone();
    let commit = tokio::spawn(async move { committing.commit(vec![sample::start(1)]).await.unwrap().pop().unwrap() });
    while count(&direct, "pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    network.fall_silent();
    let begun = Instant::now();
    let answer = commit.await.unwrap();
    assert!(begun.elapsed() < BOUND + LEEWAY, "it took {:?}", begun.elapsed());
    assert!(matches!(answer, Err(StoreError::OutcomeUnknown { .. })), "{answer:?}");
    // It was applied.
    assert!(store.load(sample::run_id(1)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_store_notices_silent_connections_on_postgres() {
    let database = TestDatabase::postgres().await;
    let network = Network::to(&database.url).await;
    let store = over(&network, &database).await;
    assert!(busy(&store, 1, 20).await.iter().all(Result::is_ok));

    network.fall_silent();
    // All idle connections are suspect after the first that does not answer; they are not tried one by one.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let begun = Instant::now();
    store.load(sample::run_id(1)).await.unwrap().unwrap();
    assert!(begun.elapsed() < BOUND + LEEWAY, "it took {:?}", begun.elapsed());
    assert!(busy(&store, 100, 20).await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_transaction_of_the_host_blocks_no_others_on_postgres() {
    let database = TestDatabase::postgres().await;
    let network = Network::to(&database.url).await;
    let store = over(&network, &database).await;
    // Every connection that the host may have is in a transaction, and returns silent.
    let mut transactions = Vec::new();
    for _ in 0..3 {
        transactions.push(store.begin().await.unwrap());
    }
    network.fall_silent();
    drop(transactions);
    let begun = Instant::now();
    while let Err(error) = store.begin().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "{error}");
    }
    store.connection().execute_unprepared("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_arrive_again_after_a_silence_on_postgres() {
    let database = TestDatabase::postgres().await;
    let network = Network::to(&database.url).await;
    let (listening, other) = (over(&network, &database).await, database.store().await);
    let listener = listening.clone();
    // The first notification is that listening has started.
    listener.work_notified().await;
    assert!(listener.is_listening());

    network.fall_silent();
    let again = tokio::time::timeout(Duration::from_secs(20), async {
        while listener.is_listening() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while !listener.is_listening() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    again.await.expect("it listens again");
    listener.work_notified().await;
    other.notify_work();
    tokio::time::timeout(Duration::from_secs(5), listener.work_notified()).await.expect("it arrives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_changes_nothing_on_postgres() {
    let database = TestDatabase::postgres().await;
    let store = SeaOrmStore::builder(&database.url).call_timeout(BOUND).connect().await.unwrap();
    let locked = store.begin().await.unwrap();
    locked.execute_unprepared("LOCK TABLE squidmesh_runs").await.unwrap();
    let begun = Instant::now();
    let error = store.load(sample::run_id(1)).await.unwrap_err();
    assert!(begun.elapsed() < BOUND + LEEWAY, "it took {:?}", begun.elapsed());
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    locked.rollback().await.unwrap();
    assert!(store.load(sample::run_id(1)).await.unwrap().is_none());
}
