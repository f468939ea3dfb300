//! A plan that was made while the tables were empty must not scan them once they are full.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod databases;

use std::time::Duration;

use databases::TestDatabase;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use squidmesh_core::RunStatus;
use squidmesh_core::definition::QueueName;
use squidmesh_core::port::{
    ClaimRequest, CommitOutcome, IntentWrite, LeaseState, PruneRequest, StepWrite, Store, StoreSession, StrandedRequest,
};
use squidmesh_core::testing::sample;
use squidmesh_store::SeaOrmStore;

const AT_ONCE: u64 = 8;

/// Starts runs, claims them, extends their leases, and finishes them: covers every statement on a list of keys.
async fn round(store: &SeaOrmStore, round: u64) {
    let starts = (0..AT_ONCE).map(|number| sample::start(round * AT_ONCE + number)).collect();
    store.commit(starts).await.unwrap();
    let fingerprint = *sample::definition().fingerprint();
    let (token, lease) = (sample::lease_token(round), Duration::from_secs(60));
    let request = ClaimRequest::new(vec![QueueName::default()], vec![fingerprint], 100, token, lease);
    let claims = store.claim(&request).await.unwrap().claims;
    let leases: Vec<_> = claims.iter().map(|claim| claim.lease.clone()).collect();
    assert!(store.extend_leases(&leases, lease).await.unwrap().into_iter().all(LeaseState::is_held));
    let ends = claims.into_iter().map(|claim| {
        let state = claim.state.unwrap().unwrap();
        let mut end = sample::next(&state.run);
        end.steps.extend(state.steps.values().cloned().map(StepWrite::Update));
        end.intents.push(IntentWrite::Remove(claim.lease.key.clone()));
        end.fences = vec![claim.lease];
        end
    });
    for answer in store.commit(ends.collect()).await.unwrap() {
        assert_eq!(answer.unwrap(), CommitOutcome::Committed);
    }
}

async fn number(connection: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    connection.query_one_raw(statement).await.unwrap().unwrap().try_get_by("number").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_made_on_empty_tables_do_not_read_full_ones_whole() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let other = database.connection().await;
    other.execute_unprepared("VACUUM ANALYZE").await.unwrap();
    // Often enough that every connection has settled on its plans.
    for number in 0..40 {
        round(&store, number).await;
    }
    for strange in [
        "INSERT INTO squidmesh_intents (run_id, step, queue, priority, fingerprint, available_at) \
         SELECT gen_random_uuid(), 'step', 'another', 1, 'f', number FROM generate_series(1, 50000) number",
        "INSERT INTO squidmesh_runs \
         (id, workflow, fingerprint, trigger_name, status, payload, revision, token, created_at, updated_at) \
         SELECT gen_random_uuid(), 'w', 'f', 't', 's', '{}', 1, gen_random_uuid(), 1, 1 FROM generate_series(1, 50000) number",
        "INSERT INTO squidmesh_step_runs \
         (run_id, step, status, input_snapshot, recovery, attempt, failures, crashes, created_at) \
         SELECT gen_random_uuid(), 'step', 's', '{}', '{}', 1, 0, 0, 1 FROM generate_series(1, 50000) number",
    ] {
        other.execute_unprepared(strange).await.unwrap();
    }
    for number in 40..60 {
        round(&store, number).await;
    }
    drop(store);
    for table in ["squidmesh_intents", "squidmesh_runs", "squidmesh_step_runs"] {
        let read = rows_read(&other, table).await;
        // About twenty rows for each intent that came and went.
        assert!(read < 60 * 8 * 40, "{read} rows of {table} were read");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_for_stranded_runs_does_not_read_what_waits_or_is_held() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let other = database.connection().await;
    let filled = "INSERT INTO squidmesh_intents (run_id, step, queue, priority, fingerprint, available_at, lease) \
                  SELECT gen_random_uuid(), 'step', 'queue ' || number % 3, number % 3, 'f', 4102444800000 + number, \
                  CASE WHEN number % 5 = 0 THEN gen_random_uuid() END FROM generate_series(1, 50000) number";
    other.execute_unprepared(filled).await.unwrap();
    other.execute_unprepared("VACUUM ANALYZE").await.unwrap();
    let before = number(&other, &read_of("squidmesh_intents")).await;
    let run = sample::start(1).run.id;
    store.commit(vec![sample::start(1)]).await.unwrap().remove(0).unwrap();
    let request = StrandedRequest::new(vec![sample::unknown_fingerprint()], Duration::ZERO, 100);
    for _ in 0..10 {
        assert_eq!(store.stranded(&request).await.unwrap(), [run]);
    }
    drop(store);
    let read = rows_read(&other, "squidmesh_intents").await - before;
    assert!(read < 1_000, "{read} intents were read by ten looks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruning_reads_no_table_whole_and_no_more_than_the_runs_that_are_old() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let other = database.connection().await;
    fill(&other).await;
    other.execute_unprepared("VACUUM ANALYZE").await.unwrap();
    prune_the_old(store, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruning_reads_no_table_whole_without_statistics() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let other = database.connection().await;
    // Planned on empty tables, and without statistics on those that are full.
    let request = PruneRequest::new(Duration::from_secs(3_600), vec![RunStatus::Completed], 50);
    for _ in 0..20 {
        assert_eq!(store.prune(&request).await.unwrap().runs, 0);
    }
    fill(&other).await;
    let waiting = "INSERT INTO squidmesh_intents (run_id, step, queue, priority, fingerprint, available_at) \
                   SELECT gen_random_uuid(), 'step', 'queue', 1, 'f', number FROM generate_series(1, 20000) number";
    other.execute_unprepared(waiting).await.unwrap();
    prune_the_old(store, &other).await;
}

/// The number of runs that ended long ago.
const OLD: i64 = 200;

/// Adds 20,000 ended runs with a step, an attempt and an audit entry each. The old ones ended in 1970.
async fn fill(other: &DatabaseConnection) {
    for (table, columns, values) in [
        (
            "squidmesh_runs",
            "id, workflow, fingerprint, trigger_name, status, payload, revision, token, created_at, updated_at, finished_at",
            "run_id, 'w', 'f', 'manual', 'completed', '{}', 9, run_id, at, at, at",
        ),
        (
            "squidmesh_step_runs",
            "run_id, step, status, input_snapshot, recovery, attempt, failures, crashes, created_at",
            "run_id, 'step', 'completed', '{}', '{}', 1, 0, 0, at",
        ),
        ("squidmesh_attempts", "run_id, step, number, status, started_at", "run_id, 'step', 1, 'failed', at"),
        ("squidmesh_audit", "run_id, revision, ordinal, kind, occurred_at", "run_id, 1, 0, 'started', at"),
    ] {
        let filled = format!(
            "INSERT INTO {table} ({columns}) SELECT {values} FROM (SELECT \
             ('00000000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid AS run_id, \
             CASE WHEN number <= {OLD} THEN number ELSE 32503680000000 END AS at FROM generate_series(1, 20000) number) AS runs"
        );
        other.execute_unprepared(&filled).await.unwrap();
    }
}

/// Prunes the old runs, 50 in a batch, and asserts how much is read for it.
async fn prune_the_old(store: SeaOrmStore, other: &DatabaseConnection) {
    let whole =
        "SELECT sum(seq_tup_read)::bigint AS number FROM pg_stat_user_tables WHERE relname <> 'squidmesh_migrations'";
    let by_index = "SELECT sum(idx_tup_read)::bigint AS number FROM pg_stat_user_indexes";
    // The statistics of this session are updated once its next statement begins.
    let before = (number(other, whole).await, number(other, by_index).await);
    let mut request = PruneRequest::new(Duration::from_secs(3_600), vec![RunStatus::Completed], 50);
    let mut deleted = 0;
    loop {
        let pruned = store.prune(&request).await.unwrap();
        deleted += pruned.runs;
        if pruned.next.is_none() {
            break;
        }
        request = request.after(pruned.next);
    }
    assert_eq!(i64::try_from(deleted).unwrap(), OLD);
    drop(store);
    rows_read(other, "squidmesh_intents").await;
    assert_eq!(number(other, whole).await - before.0, 0, "a table was read whole");
    let read = number(other, by_index).await - before.1;
    assert!(read < 20_000, "{read} rows were read by four batches of 50 runs");
}

/// Returns the total number of rows read from a table, once all sessions but this one have ended: their statistics
/// are complete then.
async fn rows_read(connection: &DatabaseConnection, table: &str) -> i64 {
    let sessions = "SELECT count(*) AS number FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while number(connection, sessions).await > 0 {
        tokio::task::yield_now().await;
    }
    number(connection, &read_of(table)).await
}

fn read_of(table: &str) -> String {
    format!(
        "SELECT (seq_tup_read + idx_tup_fetch)::bigint AS number FROM pg_stat_user_tables WHERE relname = '{table}'"
    )
}
