//! Processes that share a database hear of each other's work.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod databases;

use std::time::{Duration, Instant};

use databases::TestDatabase;
use sea_orm::ConnectionTrait;
use squidmesh_core::testing::sample;
use squidmesh_core::{Store, StoreSession};
use squidmesh_store::SeaOrmStore;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for any word to arrive.
const MOMENT: Duration = Duration::from_millis(700);

/// Waits until a store hears, and until it has heard that it does.
async fn listening(store: &SeaOrmStore) {
    timeout(PATIENCE, store.work_committed()).await.unwrap();
    assert!(store.hears_of_work());
    silent(store).await;
}

/// Waits until there is nothing more to be heard.
async fn silent(store: &SeaOrmStore) {
    while timeout(MOMENT, store.work_committed()).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_commits_another_hears_of() {
    for database in TestDatabase::each().await {
        let (one, other) = (database.store().await, database.store().await);
        assert!(!one.hears_of_work(), "nobody has listened yet");
        listening(&one).await;
        for number in 1..=3 {
            other.commit(vec![sample::start(number)]).await.unwrap().remove(0).unwrap();
            other.tell_of_work();
            let begun = Instant::now();
            timeout(PATIENCE, one.work_committed()).await.unwrap();
            assert!(begun.elapsed() < MOMENT, "{database:?}: {:?}", begun.elapsed());
            silent(&one).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_hears_what_others_tell_in_the_same_process_and_not_what_it_tells_itself() {
    for database in TestDatabase::each().await {
        let one = database.store().await;
        listening(&one).await;
        let other = one.clone();
        one.tell_of_work();
        assert!(timeout(MOMENT, one.work_committed()).await.is_err(), "{database:?}");
        timeout(PATIENCE, other.work_committed()).await.unwrap();
        other.tell_of_work();
        timeout(PATIENCE, one.work_committed()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_lost_the_connection_knows_it_and_listens_again() {
    let database = TestDatabase::postgres().await;
    let (one, other) = (database.store().await, database.store().await);
    listening(&one).await;
    let connection = database.connection().await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()";
    connection.execute_unprepared(kill).await.unwrap();
    let begun = Instant::now();
    while one.hears_of_work() {
        assert!(begun.elapsed() < PATIENCE);
        sleep(Duration::from_millis(1)).await;
    }
    // Told by itself that it hears again: what was told meanwhile is looked for.
    listening(&one).await;
    other.tell_of_work();
    timeout(MOMENT, one.work_committed()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_often_it_is_told_others_hear_a_few_times_a_second() {
    let database = TestDatabase::postgres().await;
    let (one, other) = (database.store().await, database.store().await);
    listening(&one).await;
    let telling = async {
        for _ in 0..1_000 {
            other.tell_of_work();
            sleep(Duration::from_millis(1)).await;
        }
    };
    let (begun, mut heard) = (Instant::now(), 0);
    tokio::pin!(telling);
    loop {
        tokio::select! {
            () = &mut telling => break,
            () = one.work_committed() => heard += 1,
        }
    }
    let most = 2 + begun.elapsed().as_millis() / 100;
    assert!((3..=most).contains(&heard), "{heard} in {:?}", begun.elapsed());
}
