//! A plan that was made while the tables were empty must not read them whole once they are full.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod databases;

use std::time::Duration;

use databases::TestDatabase;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use squidmesh_core::testing::sample;
use squidmesh_core::{ClaimRequest, CommitOutcome, IntentWrite, QueueName, StepWrite, Store, StoreSession};
use squidmesh_store::SeaOrmStore;

const AT_ONCE: u64 = 8;

/// Starts runs, claims them, extends their leases, and finishes them: every statement on a list of keys there is.
async fn round(store: &SeaOrmStore, round: u64) {
    let starts = (0..AT_ONCE).map(|number| sample::start(round * AT_ONCE + number)).collect();
    store.commit(starts).await.unwrap();
    let fingerprint = *sample::definition().fingerprint();
    let (token, lease) = (sample::lease_token(round), Duration::from_secs(60));
    let request = ClaimRequest::new(vec![QueueName::default()], vec![fingerprint], 100, token, lease);
    let claims = store.claim(&request).await.unwrap().claims;
    let leases: Vec<_> = claims.iter().map(|claim| claim.lease.clone()).collect();
    assert_eq!(store.extend(&leases, lease).await.unwrap(), vec![true; leases.len()]);
    let ends = claims.into_iter().map(|claim| {
        let state = claim.state.unwrap();
        let mut end = sample::next(&state.run);
        end.steps.extend(state.steps.into_values().map(StepWrite::Update));
        end.intents.push(IntentWrite::Remove(claim.lease.key.clone()));
        end.fence = Some(claim.lease);
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
    // So many times that every connection has settled on its plans.
    for number in 0..40 {
        round(&store, number).await;
    }
    let strange = "INSERT INTO squidmesh_intents (run_id, step, queue, priority, fingerprint, available_at) \
                   SELECT gen_random_uuid(), 'step', 'another', 1, 'f', number FROM generate_series(1, 50000) number";
    other.execute_unprepared(strange).await.unwrap();
    for number in 40..60 {
        round(&store, number).await;
    }
    // A session's counts are there for all to see when it has ended.
    drop(store);
    let sessions = "SELECT count(*) AS number FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while number(&other, sessions).await > 0 {
        tokio::task::yield_now().await;
    }
    let read = "SELECT (seq_tup_read + idx_tup_fetch)::bigint AS number FROM pg_stat_user_tables \
                WHERE relname = 'squidmesh_intents'";
    let read = number(&other, read).await;
    // Some twenty rows for each intent that came and went.
    assert!(read < 60 * 8 * 40, "{read} intents were read");
}
