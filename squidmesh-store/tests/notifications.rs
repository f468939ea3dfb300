//! Processes that share a database are notified of each other's work.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod databases;

use std::time::{Duration, Instant};

use databases::TestDatabase;
use sea_orm::ConnectionTrait;
use squidmesh_core::port::{Store, StoreSession};
use squidmesh_core::testing::sample;
use squidmesh_store::SeaOrmStore;
use tokio::time::{sleep, timeout};

const TIMEOUT: Duration = Duration::from_secs(20);
/// Long enough for a notification to arrive.
const ARRIVAL: Duration = Duration::from_millis(700);

/// Waits until a store listens, and until it has received the notification of that.
async fn listening(store: &SeaOrmStore) {
    timeout(TIMEOUT, store.work_notified()).await.unwrap();
    assert!(store.is_listening());
    silent(store).await;
}

/// Waits until no more notifications arrive.
async fn silent(store: &SeaOrmStore) {
    while timeout(ARRIVAL, store.work_notified()).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_notifies_other_processes() {
    for database in TestDatabase::each().await {
        let (one, other) = (database.store().await, database.store().await);
        assert!(!one.is_listening(), "listening has not started yet");
        listening(&one).await;
        for number in 1..=3 {
            other.commit(vec![sample::start(number)]).await.unwrap().remove(0).unwrap();
            other.notify_work();
            let begun = Instant::now();
            timeout(TIMEOUT, one.work_notified()).await.unwrap();
            assert!(begun.elapsed() < ARRIVAL, "{database:?}: {:?}", begun.elapsed());
            silent(&one).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_is_notified_by_others_in_its_process_and_not_by_itself() {
    for database in TestDatabase::each().await {
        let one = database.store().await;
        listening(&one).await;
        let other = one.clone();
        one.notify_work();
        assert!(timeout(ARRIVAL, one.work_notified()).await.is_err(), "{database:?}");
        timeout(TIMEOUT, other.work_notified()).await.unwrap();
        other.notify_work();
        timeout(TIMEOUT, one.work_notified()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_noticed_and_listens_again() {
    let database = TestDatabase::postgres().await;
    let (one, other) = (database.store().await, database.store().await);
    listening(&one).await;
    let connection = database.connection().await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()";
    connection.execute_unprepared(kill).await.unwrap();
    let begun = Instant::now();
    while one.is_listening() {
        assert!(begun.elapsed() < TIMEOUT);
        sleep(Duration::from_millis(1)).await;
    }
    // The store is notified when it listens again, so that missed work is looked for.
    listening(&one).await;
    other.notify_work();
    timeout(ARRIVAL, one.work_notified()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frequent_notifications_are_sent_a_few_times_a_second() {
    let database = TestDatabase::postgres().await;
    let (one, other) = (database.store().await, database.store().await);
    listening(&one).await;
    let notifying = async {
        for _ in 0..1_000 {
            other.notify_work();
            sleep(Duration::from_millis(1)).await;
        }
    };
    let (begun, mut received) = (Instant::now(), 0);
    tokio::pin!(notifying);
    loop {
        tokio::select! {
            () = &mut notifying => break,
            () = one.work_notified() => received += 1,
        }
    }
    let most = 2 + begun.elapsed().as_millis() / 100;
    assert!((3..=most).contains(&received), "{received} in {:?}", begun.elapsed());
}
