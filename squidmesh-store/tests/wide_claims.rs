//! The cost of a claim, a look or a list depends on its result, not on the number of queues, versions or workflows
//! of a host.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod databases;
mod work;

use std::sync::Arc;
use std::time::Duration;

use databases::TestDatabase;
use sea_orm::{ConnectionTrait, DbBackend};
use squidmesh_core::Timestamp;
use squidmesh_core::definition::{Fingerprint, QueueName};
use squidmesh_core::dispatch::IntentKey;
use squidmesh_core::port::{ClaimBatch, ClaimKeysRequest, ClaimRequest, DueRequest, Store, StrandedRequest};
use squidmesh_core::testing::{ManualClock, sample};
use squidmesh_store::SeaOrmStore;
use work::Work;

const LEASE: Duration = Duration::from_secs(60);
const NOW: i64 = 1_000_000;

fn queue(number: usize) -> QueueName {
    format!("queue-{number:04}").parse().unwrap()
}

fn version(number: usize) -> Fingerprint {
    format!("{number:032x}").parse().unwrap()
}

/// A version that no process here serves.
const STRANGE: usize = 0xffff;

fn request(queues: usize, versions: usize, limit: usize) -> ClaimRequest {
    let (queues, versions) = ((0..queues).map(queue).collect(), (0..versions).map(version).collect());
    ClaimRequest::new(queues, versions, limit, sample::lease_token(1), LEASE)
}

/// Intents to insert into the table; `n` in an expression is the number of the row, from 1.
struct Intents<'a> {
    count: usize,
    queue: &'a str,
    version: &'a str,
    priority: &'a str,
    at: &'a str,
    held: bool,
}

const WAITING: Intents<'_> = Intents { count: 1, queue: "0", version: "0", priority: "1", at: "n", held: false };

impl Intents<'_> {
    async fn put(&self, store: &SeaOrmStore) {
        let connection = store.connection();
        let postgres = connection.get_database_backend() == DbBackend::Postgres;
        let (id, queue, version) = if postgres {
            (
                "gen_random_uuid()",
                format!("'queue-' || lpad(({})::text, 4, '0')", self.queue),
                format!("lpad(to_hex({}), 32, '0')", self.version),
            )
        } else {
            (
                "randomblob(16)",
                format!("printf('queue-%04d', {})", self.queue),
                format!("printf('%032x', {})", self.version),
            )
        };
        let lease = if self.held { id } else { "NULL" };
        let statement = format!(
            "INSERT INTO squidmesh_intents (run_id, step, queue, priority, fingerprint, available_at, lease) \
             WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {}) \
             SELECT {id}, 'step', {queue}, {}, {version}, {}, {lease} FROM number",
            self.count, self.priority, self.at
        );
        connection.execute_unprepared(&statement).await.unwrap();
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(NOW)))
}

async fn claim(store: &SeaOrmStore, request: &ClaimRequest) -> ClaimBatch {
    store.claim(request).await.unwrap()
}

fn keys(claims: &ClaimBatch) -> Vec<IntentKey> {
    claims.claims.iter().map(|claim| claim.lease.key.clone()).collect()
}

#[tokio::test]
async fn any_number_of_queues_and_versions_is_served() {
    for database in TestDatabase::each().await {
        let store = database.store_at(clock()).await;
        let work = Intents { count: 600, queue: "n % 300", version: "n % 200", ..WAITING };
        work.put(&store).await;
        Intents { count: 30, queue: "n % 300", version: "n % 200", priority: "0", at: "5000 + n", ..WAITING }
            .put(&store)
            .await;
        Intents { count: 10, queue: "n % 300", version: "n % 200", at: "9000 + n", held: true, ..WAITING }
            .put(&store)
            .await;
        Intents { queue: "299", version: "199", at: "1000500", ..WAITING }.put(&store).await;
        let request = request(300, 200, 100);
        let due = store
            .list_due(&DueRequest::new(request.queues.clone(), request.fingerprints.clone(), 1_000))
            .await
            .unwrap();
        let order: Vec<_> =
            due.intents.iter().map(|intent| (intent.lease_expired, intent.priority, intent.available_at)).collect();
        assert_eq!(order.len(), 640, "{database:?}");
        assert!(order.is_sorted_by_key(|(lease_expired, priority, at)| (
            !lease_expired,
            (!lease_expired).then_some(*priority),
            *at
        )));
        assert_eq!(due.next_in, Some(Duration::from_millis(500)));
        let mut claimed = Vec::new();
        for _ in 0..6 {
            claimed.extend(keys(&claim(&store, &request).await));
        }
        let last = claim(&store, &request).await;
        claimed.extend(keys(&last));
        assert_eq!(last.next_in, Some(Duration::from_millis(500)), "{database:?}");
        let expected: Vec<_> = due.intents.iter().map(|intent| intent.key.clone()).collect();
        assert!(claimed == expected, "{database:?}: they are claimed in the order of being due");
    }
}

#[tokio::test]
async fn work_of_others_hides_none_in_any_class() {
    for database in TestDatabase::each().await {
        let store = database.store_at(clock()).await;
        // Each class has far more than one look examines, of versions and queues that are not served here.
        for priority in ["0", "1", "2"] {
            let strange = Intents { count: 3_000, version: "65535", priority, ..WAITING };
            strange.put(&store).await;
            Intents { count: 1_500, queue: "500", priority, ..WAITING }.put(&store).await;
        }
        Intents { count: 3_000, version: "65535", held: true, ..WAITING }.put(&store).await;
        for (priority, at) in [("2", "9000"), ("1", "9001"), ("0", "9002"), ("1", "1000700")] {
            Intents { priority, at, ..WAITING }.put(&store).await;
        }
        Intents { at: "9003", held: true, ..WAITING }.put(&store).await;
        let request = request(3, 3, 2);
        let all =
            store.list_due(&DueRequest::new(request.queues.clone(), request.fingerprints.clone(), 10)).await.unwrap();
        let ats: Vec<_> = all.intents.iter().map(|intent| intent.available_at.as_millis()).collect();
        assert_eq!(ats, [9003, 9002, 9001, 9000], "{database:?}");
        let first = claim(&store, &request).await;
        let second = claim(&store, &request).await;
        let claimed: Vec<_> = [keys(&first), keys(&second)].concat();
        let expected: Vec<_> = all.intents.iter().map(|intent| intent.key.clone()).collect();
        assert_eq!(claimed, expected, "{database:?}");
        let none = claim(&store, &request).await;
        assert!(none.claims.is_empty());
        assert_eq!(none.next_in, Some(Duration::from_millis(700)), "{database:?}");
    }
}

#[tokio::test]
async fn what_falls_due_for_others_first_is_no_reason_to_wait_longer() {
    for database in TestDatabase::each().await {
        let clock = clock();
        let store = database.store_at(clock.clone()).await;
        Intents { count: 3_000, version: "65535", at: "1000000 + n", ..WAITING }.put(&store).await;
        Intents { at: "1005000", ..WAITING }.put(&store).await;
        let mut looks = 0;
        loop {
            let claims = claim(&store, &request(1, 2, 10)).await;
            if !claims.claims.is_empty() {
                break;
            }
            let wait = claims.next_in.unwrap();
            assert!(!wait.is_zero(), "{database:?}");
            clock.advance(wait);
            looks += 1;
        }
        assert_eq!(squidmesh_core::port::Clock::now(&*clock).as_millis(), 1_005_000, "{database:?}");
        assert!(looks < 30, "{database:?}: {looks} looks");
    }
}

/// Returns the cost of two ways to claim work.
async fn compare(
    fill: impl AsyncFn(&SeaOrmStore),
    one: impl AsyncFn(&SeaOrmStore),
    other: impl AsyncFn(&SeaOrmStore),
) -> Vec<(DbBackend, u64, u64)> {
    let mut costs = Vec::new();
    for database in TestDatabase::each().await {
        let mut cost = [0, 0];
        for (index, what) in [0, 1].into_iter().zip([true, false]) {
            let filling = Work::on(&database, clock()).await;
            let connection = filling.store().connection();
            connection.execute_unprepared("DELETE FROM squidmesh_intents").await.unwrap();
            fill(filling.store()).await;
            if connection.get_database_backend() == DbBackend::Postgres {
                connection.execute_unprepared("VACUUM ANALYZE squidmesh_intents").await.unwrap();
            }
            filling.end().await;
            let work = Work::on(&database, clock()).await;
            let before = work.so_far().await;
            if what {
                one(work.store()).await
            } else {
                other(work.store()).await
            }
            cost[index] = work.end().await - before;
        }
        costs.push((
            if database.url.starts_with("sqlite") { DbBackend::Sqlite } else { DbBackend::Postgres },
            cost[0],
            cost[1],
        ));
    }
    costs
}

async fn claim_twenty_times(store: &SeaOrmStore, request: &ClaimRequest) {
    for _ in 0..20 {
        store.claim(request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_costs_the_same_with_many_queues_and_versions() {
    let costs = compare(
        async |store| Intents { count: 5_000, ..WAITING }.put(store).await,
        async |store| claim_twenty_times(store, &request(1, 1, 10)).await,
        async |store| claim_twenty_times(store, &request(200, 50, 10)).await,
    )
    .await;
    for (backend, one, many) in costs {
        assert!(many * 2 <= one * 3, "{backend:?}: {one} for one queue and version, {many} for 200 and 50");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_in_many_queues_is_claimed_as_that_in_one() {
    let costs = compare(
        async |store| {
            let kinds = if store_is_first(store).await { ("0", "0") } else { ("n % 200", "n % 50") };
            Intents { count: 5_000, queue: kinds.0, version: kinds.1, ..WAITING }.put(store).await;
        },
        async |store| claim_twenty_times(store, &request(1, 1, 10)).await,
        async |store| claim_twenty_times(store, &request(200, 50, 10)).await,
    )
    .await;
    for (backend, one, many) in costs {
        assert!(many * 2 <= one * 3, "{backend:?}: {one} for one queue and version, {many} for 200 and 50");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_claims_cost_the_same_with_many_queues_and_versions() {
    let costs = compare(
        async |store| Intents { count: 5_000, at: "2000000 + n", ..WAITING }.put(store).await,
        async |store| claim_twenty_times(store, &request(1, 1, 10)).await,
        async |store| claim_twenty_times(store, &request(200, 50, 10)).await,
    )
    .await;
    for (backend, one, many) in costs {
        assert!(many * 2 <= one * 3, "{backend:?}: {one} for one queue and version, {many} for 200 and 50");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_do_not_walk_what_only_others_can_carry_out() {
    let costs = compare(
        async |store| {
            let count = if store_is_first(store).await { 1_000 } else { 20_000 };
            Intents { count, version: "65535", ..WAITING }.put(store).await;
            Intents { count, queue: "500", at: "n", ..WAITING }.put(store).await;
            Intents { count: 500, at: "30000 + n", ..WAITING }.put(store).await;
        },
        async |store| claim_twenty_times(store, &request(1, 1, 10)).await,
        async |store| claim_twenty_times(store, &request(1, 1, 10)).await,
    )
    .await;
    for (backend, few, many) in costs {
        assert!(many * 2 <= few * 3, "{backend:?}: {few} behind 2,000 of others, {many} behind 40,000");
    }
}

/// Returns whether this is the first of the two fillings of a comparison, so that nothing is left of another.
async fn store_is_first(store: &SeaOrmStore) -> bool {
    let made = store.connection().execute_unprepared("CREATE TABLE been_here (id INTEGER)").await;
    made.is_ok()
}

#[tokio::test]
async fn looks_take_any_number_of_names() {
    const MANY: usize = 70_000;
    for database in TestDatabase::each().await {
        let store = database.store_at(clock()).await;
        Intents { count: 3, version: "n", ..WAITING }.put(&store).await;
        Intents { version: "65535", at: "10", ..WAITING }.put(&store).await;
        let versions: Vec<_> = (0..MANY).filter(|number| *number != STRANGE).map(version).collect();
        let stranded = StrandedRequest::new(versions.clone(), Duration::ZERO, 100);
        assert_eq!(store.stranded(&stranded).await.unwrap().len(), 1, "{database:?}");
        let queues: Vec<_> = (0..10_000).map(queue).collect();
        let due = store.list_due(&DueRequest::new(queues.clone(), versions.clone(), 100)).await.unwrap();
        assert_eq!(due.intents.len(), 3, "{database:?}");
        let request = ClaimRequest::new(queues, versions, 100, sample::lease_token(1), LEASE);
        assert_eq!(claim(&store, &request).await.claims.len(), 3, "{database:?}");
        let workflows: Vec<_> = (0..MANY).map(|number| format!("workflow_{number}").parse().unwrap()).collect();
        assert!(store.triggers(&workflows).await.unwrap().records.is_empty());
        let keys: Vec<_> = (0..40_000).map(|number| IntentKey::compensation(sample::run_id(number))).collect();
        assert_eq!(
            store.claim_keys(&ClaimKeysRequest::new(keys.to_vec(), sample::lease_token(2), LEASE)).await.unwrap().len(),
            keys.len()
        );
        let leases: Vec<_> = keys
            .into_iter()
            .map(|key| squidmesh_core::dispatch::Lease { key, token: sample::lease_token(3) })
            .collect();
        assert!(store.extend_leases(&leases, LEASE).await.unwrap().iter().all(|held| !held.is_held()));
        store.release_leases(&leases, LEASE).await.unwrap();
    }
}

#[tokio::test]
async fn a_queue_of_any_name_is_served_and_no_other() {
    for database in TestDatabase::each().await {
        let store = database.store_at(clock()).await;
        let names = ["plain", "quoted \"name\"", "back\\slash", "Größe", "plain\",\"quoted \\\"name\\\"", "pla"];
        for name in names {
            Intents { at: "5", ..WAITING }.put(&store).await;
            let renamed = format!("UPDATE squidmesh_intents SET queue = '{name}' WHERE queue = 'queue-0000'");
            store.connection().execute_unprepared(&renamed).await.unwrap();
        }
        for served in [&names[..4], &names[4..]] {
            let queues = served.iter().map(|name| name.parse().unwrap()).collect();
            let request = ClaimRequest::new(queues, vec![version(0)], 10, sample::lease_token(1), LEASE);
            assert_eq!(claim(&store, &request).await.claims.len(), served.len(), "{database:?}: {served:?}");
        }
    }
}
