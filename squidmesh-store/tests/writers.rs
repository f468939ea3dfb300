//! Many writers: group commit, its fallback, and several processes on one database, by the database's own clock.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod databases;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use databases::TestDatabase;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, TransactionTrait};
use squidmesh_core::definition::QueueName;
use squidmesh_core::dispatch::IntentKey;
use squidmesh_core::port::{
    ClaimKeysRequest, ClaimRequest, ClaimResult, Commit, CommitOutcome, IntentWrite, LeaseState, StepWrite, Store,
    StoreError, StoreSession,
};
use squidmesh_core::testing::sample;
use squidmesh_core::{Run, RunId};
use squidmesh_store::SeaOrmStore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const LEASE: Duration = Duration::from_secs(60);

fn request(limit: usize, token: u64) -> ClaimRequest {
    let fingerprint = *sample::definition().fingerprint();
    ClaimRequest::new(vec![QueueName::default()], vec![fingerprint], limit, sample::lease_token(token), LEASE)
}

/// Returns the number of transactions that wrote the stored runs.
async fn transactions(store: &SeaOrmStore) -> i64 {
    let statement =
        Statement::from_string(DbBackend::Postgres, "SELECT count(DISTINCT xmin::text) AS number FROM squidmesh_runs");
    store.connection().query_one_raw(statement).await.unwrap().unwrap().try_get_by("number").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_commits_that_queue_up_together_only_the_bad_ones_fail() {
    for database in TestDatabase::each().await {
        let store = database.store().await;
        let commits = (0..200).map(|number| {
            let mut commit = sample::start(number);
            match number % 20 {
                3 => commit.steps.push(StepWrite::Create(sample::step("first"))),
                7 => commit.steps.push(StepWrite::Update(sample::step("second"))),
                _ => {}
            }
            let store = store.clone();
            tokio::spawn(async move { store.commit(vec![commit]).await.unwrap().remove(0) })
        });
        for (number, answer) in (0..).zip(join_all(commits).await) {
            let stored = store.load(sample::run_id(number)).await.unwrap().is_some();
            match (number % 20, answer.unwrap()) {
                (3, Err(StoreError::Refused { .. })) | (7, Err(StoreError::Corrupt { .. })) => assert!(!stored),
                (_, Ok(CommitOutcome::Committed)) => assert!(stored),
                (_, other) => panic!("{number} in {database:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_queue_up_share_transactions() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    store.commit(vec![sample::start(0)]).await.unwrap().remove(0).unwrap();
    // A locked table blocks the writers, so that the other commits queue behind them.
    let locks = store.connection().begin().await.unwrap();
    locks.execute_unprepared("LOCK TABLE squidmesh_runs").await.unwrap();
    let commits: Vec<_> = (1..=1_000)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(vec![sample::start(number)]).await.unwrap().remove(0) })
        })
        .collect();
    assert!(!commits.iter().any(|commit| commit.is_finished()), "a commit went past a lock");
    locks.commit().await.unwrap();
    for answer in join_all(commits).await {
        assert_eq!(answer.unwrap().unwrap(), CommitOutcome::Committed);
    }
    let transactions = transactions(&store).await;
    assert!(transactions < 100, "{transactions} transactions for 1,000 commits");
}

/// Commits in a task of its own.
fn commit(store: &SeaOrmStore, commits: Vec<Commit>) -> JoinHandle<Vec<Result<CommitOutcome, StoreError>>> {
    let store = store.clone();
    tokio::spawn(async move { store.commit(commits).await.unwrap() })
}

/// Starts runs concurrently with a call that is blocked: the first one before it, the others in one transaction
/// with it, and some after them. All must be stored while the call waits.
async fn block_no_other(
    store: &SeaOrmStore,
    blocked: Vec<Commit>,
) -> JoinHandle<Vec<Result<CommitOutcome, StoreError>>> {
    let mut others: Vec<_> = (101..=120).map(|number| commit(store, vec![sample::start(number)])).collect();
    let blocked = commit(store, blocked);
    others.extend((121..=140).map(|number| commit(store, vec![sample::start(number)])));
    for other in join_all(others).await {
        assert_eq!(other.unwrap().remove(0).unwrap(), CommitOutcome::Committed);
    }
    for number in 141..=160 {
        assert_eq!(
            commit(store, vec![sample::start(number)]).await.unwrap().remove(0).unwrap(),
            CommitOutcome::Committed
        );
    }
    assert!(!blocked.is_finished(), "it waits for the lock, up to the store's limit");
    blocked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_waits_for_a_lock_of_the_hosts_holds_up_no_other() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let (run, transaction) = (started(&store).await, store.begin().await.unwrap());
    lock(&transaction, run.id).await;
    // They are of one run, and so in sequence, even if they succeed late.
    let first = sample::next(&run);
    let second = sample::next(&first.run);
    let blocked = block_no_other(&store, vec![first, sample::start(1), second]).await;
    transaction.commit().await.unwrap();
    for answer in blocked.await.unwrap() {
        assert_eq!(answer.unwrap(), CommitOutcome::Committed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_waits_for_a_key_of_the_hosts_holds_up_no_other() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let keyed = |number| {
        let mut commit = sample::start(number);
        commit.run.idempotency_key = Some("key".to_owned());
        commit
    };
    // The definition is stored, so that the key is all that they have in common.
    started(&store).await;
    let transaction = store.begin().await.unwrap();
    let of_the_host = store.join(&transaction).commit(vec![keyed(1)]).await.unwrap().remove(0).unwrap();
    assert_eq!(of_the_host, CommitOutcome::Committed);
    let blocked = block_no_other(&store, vec![keyed(2)]).await;
    transaction.commit().await.unwrap();
    assert_eq!(blocked.await.unwrap().remove(0).unwrap(), CommitOutcome::KeyTaken(sample::run_id(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_waits_for_a_lock_for_five_seconds_and_is_refused_as_one_to_try_again() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let (run, transaction) = (started(&store).await, store.begin().await.unwrap());
    lock(&transaction, run.id).await;
    let begun = Instant::now();
    let answer = store.commit(vec![sample::next(&run)]).await.unwrap().remove(0);
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    transaction.rollback().await.unwrap();
    assert_eq!(store.commit(vec![sample::next(&run)]).await.unwrap().remove(0).unwrap(), CommitOutcome::Committed);
}

/// Returns a stored run.
async fn started(store: &SeaOrmStore) -> Run {
    store.commit(vec![sample::start(0)]).await.unwrap().remove(0).unwrap();
    store.load(sample::run_id(0)).await.unwrap().unwrap().run
}

/// Locks a run, as any change of it in a joined transaction does.
async fn lock(transaction: &DatabaseTransaction, run: RunId) {
    let lock = format!("SELECT 1 FROM squidmesh_runs WHERE id = '{run}' FOR UPDATE");
    transaction.execute_unprepared(&lock).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_on_one_database_lose_and_double_nothing() {
    for database in TestDatabase::each().await {
        const EACH: u64 = 100;
        let mut stores = Vec::new();
        for _ in 0..4 {
            stores.push(Arc::new(SeaOrmStore::builder(&database.url).max_connections(2).connect().await.unwrap()));
        }
        let work = (0..).zip(&stores).map(|(process, store)| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut claimed = Vec::new();
                for number in process * EACH..(process + 1) * EACH {
                    let started = store.commit(vec![sample::start(number)]).await.unwrap().remove(0);
                    assert_eq!(started.unwrap(), CommitOutcome::Committed);
                    let claims = store.claim(&request(3, number)).await.unwrap().claims;
                    for claim in claims {
                        let state = claim.state.unwrap().unwrap();
                        let mut done = sample::next(&state.run);
                        done.intents.push(IntentWrite::Remove(claim.lease.key.clone()));
                        done.fences = vec![claim.lease];
                        let answer = store.commit(vec![done]).await.unwrap().remove(0);
                        assert_eq!(answer.unwrap(), CommitOutcome::Committed);
                        claimed.push(state.run.id);
                    }
                }
                claimed
            })
        });
        let mut claimed: Vec<_> = join_all(work).await.into_iter().flat_map(Result::unwrap).collect();
        for store in &stores {
            let rest = store.claim(&request(1_000, 9_999)).await.unwrap().claims;
            claimed.extend(rest.iter().map(|claim| claim.lease.key.run_id));
        }
        assert_eq!(claimed.len(), 400, "{database:?}");
        assert_eq!(claimed.into_iter().collect::<HashSet<_>>().len(), 400);
    }
}

#[tokio::test]
async fn the_databases_clock_decides_what_is_due() {
    for database in TestDatabase::each().await {
        let store = database.store().await;
        let mut later = sample::start(1);
        let mut intent = sample::intent(&later.run, "first");
        intent.delay = Duration::from_secs(3_600);
        later.intents = vec![IntentWrite::Add(intent)];
        store.commit(vec![later, sample::start(2)]).await.unwrap();

        let claims = store.claim(&request(10, 1)).await.unwrap();
        assert_eq!(claims.claims.len(), 1, "{database:?}");
        // The intent that was just claimed is due again when its lease expires.
        let next = claims.next_in.unwrap();
        assert!(next <= LEASE && next > LEASE / 2, "{next:?}");
        let key = IntentKey::step(sample::run_id(1), sample::step_name("first"));
        let alone = store.claim_keys(&ClaimKeysRequest::new(vec![key], sample::lease_token(2), LEASE)).await.unwrap();
        assert!(matches!(alone[..], [ClaimResult::NotDue]), "{alone:?}");

        let leases: Vec<_> = claims.claims.into_iter().map(|claim| claim.lease).collect();
        assert!(store.extend_leases(&leases, 2 * LEASE).await.unwrap()[0].is_held());
        store.release_leases(&leases, Duration::ZERO).await.unwrap();
        assert_eq!(store.extend_leases(&leases, LEASE).await.unwrap(), [LeaseState::Lost]);
        assert_eq!(store.claim(&request(10, 3)).await.unwrap().claims.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_claims_and_does_not_wait_for_is_given_back() {
    for database in TestDatabase::each().await {
        let store = database.store().await;
        store.commit(vec![sample::start(1)]).await.unwrap().remove(0).unwrap();
        // Polled once, so that the claim is in progress, and dropped.
        let first = request(1, 1);
        {
            let mut claim = std::pin::pin!(store.claim(&first));
            let waker = std::task::Waker::noop();
            let _ = claim.as_mut().poll(&mut std::task::Context::from_waker(waker));
        }
        let mut found = 0;
        for attempt in 2..2_000 {
            found = store.claim(&request(1, attempt)).await.unwrap().claims.len();
            if found > 0 {
                break;
            }
        }
        assert_eq!(found, 1, "{database:?}");
    }
}

#[tokio::test]
async fn a_commit_of_a_thousand_step_runs_is_whole_by_the_databases_clock() {
    for database in TestDatabase::each().await {
        let store = database.store().await;
        let mut start = sample::start(1);
        for number in 0..1_000 {
            let name = format!("sibling {number}");
            start.steps.push(StepWrite::Create(sample::step(&name)));
            start.intents.push(IntentWrite::Add(sample::intent(&start.run, &name)));
        }
        assert_eq!(store.commit(vec![start]).await.unwrap().remove(0).unwrap(), CommitOutcome::Committed);
        let state = store.load(sample::run_id(1)).await.unwrap().unwrap();
        assert_eq!(state.steps.len(), 1_001, "{database:?}");
        assert_eq!(store.claim(&request(2_000, 1)).await.unwrap().claims.len(), 1_001);
    }
}

#[tokio::test]
async fn a_database_in_memory_lives_as_long_as_its_store() {
    let store = SeaOrmStore::connect("sqlite::memory:").await.unwrap();
    for number in 0..50 {
        store.commit(vec![sample::start(number)]).await.unwrap().remove(0).unwrap();
    }
    assert_eq!(store.claim(&request(100, 1)).await.unwrap().claims.len(), 50);
    let another = SeaOrmStore::connect("sqlite::memory:").await.unwrap();
    assert_eq!(another.load(sample::run_id(1)).await.unwrap(), None);
}

/// Returns the number of leased intents.
async fn held(store: &SeaOrmStore) -> i64 {
    let statement = Statement::from_string(
        DbBackend::Postgres,
        "SELECT count(*) AS number FROM squidmesh_intents WHERE lease IS NOT NULL",
    );
    store.connection().query_one_raw(statement).await.unwrap().unwrap().try_get_by("number").unwrap()
}

/// The lock is that of a long transaction of the host, for example.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_another_session_has_locked_holds_up_no_other() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    for number in 1..=3 {
        store.commit(vec![sample::start(number)]).await.unwrap().remove(0).unwrap();
    }
    let claims = store.claim(&request(3, 1)).await.unwrap().claims;
    let leases: Vec<_> = claims.into_iter().map(|claim| claim.lease).collect();
    let (slow, at_leisure) = (database.connection().await, Duration::from_secs(20));
    let transaction = slow.begin().await.unwrap();
    let lock =
        |number| format!("SELECT 1 FROM squidmesh_intents WHERE run_id = '{}' FOR UPDATE", sample::run_id(number));
    transaction.execute_unprepared(&lock(2)).await.unwrap();

    let extended = tokio::time::timeout(at_leisure, store.extend_leases(&leases, LEASE)).await;
    let extended = extended.expect("it waits for no lock").unwrap();
    assert!(extended.len() == 3 && extended.into_iter().all(LeaseState::is_held));
    let gone = sample::lease(sample::run_id(1), "first", sample::lease_token(9));
    assert_eq!(store.extend_leases(&[gone], LEASE).await.unwrap(), [LeaseState::Lost]);

    let giving = tokio::spawn({
        let store = store.clone();
        async move { store.release_leases(&leases, Duration::ZERO).await }
    });
    tokio::time::timeout(at_leisure, async {
        while held(&store).await > 1 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the others are given back at once");
    for number in [1, 3] {
        transaction.execute_unprepared(&lock(number)).await.expect("who gives back holds nothing that others wait for");
    }
    transaction.commit().await.unwrap();
    giving.await.unwrap().unwrap();
    assert_eq!(held(&store).await, 0);
}
