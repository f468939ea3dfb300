//! Puts every type of value that the database accepts into every column of every table. Damage affects only the
//! run to which it belongs: every operation of a store treats the other runs as it does without the damage.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod databases;

use std::time::Duration;

use databases::TestDatabase;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use squidmesh_core::definition::{QueueName, WorkflowName};
use squidmesh_core::dispatch::{IntentKey, Lease};
use squidmesh_core::port::{
    ClaimKeysRequest, ClaimRequest, ClaimResult, Commit, CommitOutcome, DueRequest, IntentWrite, PruneRequest,
    StepWrite, Store, StoreError, StoreSession, StrandedRequest,
};
use squidmesh_core::run::{Attempt, AuditEvent, AuditKind};
use squidmesh_core::schedule::TriggerRecord;
use squidmesh_core::testing::sample;
use squidmesh_core::{RunFilter, RunId, RunStatus, Timestamp};
use squidmesh_store::SeaOrmStore;

const LEASE: Duration = Duration::from_secs(60);

/// The values to put into a column: of each type, and of each type out of range. A database rejects some of them.
const ON_SQLITE: [&str; 17] = [
    "NULL",
    "-1",
    "0",
    "9223372036854775807",
    "-9223372036854775808",
    "1.5",
    "1e300",
    "''",
    "'S3CRET'",
    "'[\"S3CRET\"]'",
    "'{\"S3CRET\":[1],\"v\":99}'",
    "char(0, 83)",
    "CAST(x'ff53' AS TEXT)",
    "x''",
    "x'ff00'",
    "zeroblob(16)",
    "randomblob(16)",
];
const ON_POSTGRES: [&str; 8] = [
    "NULL",
    "-1",
    "32767",
    "9223372036854775807",
    "-9223372036854775808",
    "''",
    "'{\"S3CRET\":[1],\"v\":99}'",
    "gen_random_uuid()",
];

async fn texts(connection: &DatabaseConnection, sql: &str) -> Vec<String> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get_by("name").unwrap()).collect()
}

/// Returns every column of every table, as listed by the database.
async fn columns(connection: &DatabaseConnection) -> Vec<(String, String)> {
    let sqlite = connection.get_database_backend() == DbBackend::Sqlite;
    let tables = if sqlite {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'squidmesh_%' AND name <> 'squidmesh_migrations'"
    } else {
        "SELECT table_name::text AS name FROM information_schema.tables \
         WHERE table_schema = current_schema() AND table_name LIKE 'squidmesh_%' AND table_name <> 'squidmesh_migrations'"
    };
    let mut found = Vec::new();
    for table in texts(connection, tables).await {
        let columns = if sqlite {
            format!("SELECT name FROM pragma_table_info('{table}')")
        } else {
            format!("SELECT column_name::text AS name FROM information_schema.columns WHERE table_name = '{table}'")
        };
        found.extend(texts(connection, &columns).await.into_iter().map(|column| (table.clone(), column)));
    }
    found
}

fn workflow(number: u64) -> WorkflowName {
    format!("workflow_{number}").parse().unwrap()
}

fn started(number: u64) -> Commit {
    // Each has a workflow of its own, so that damage to one version does not damage another.
    let mut commit = sample::start_of(&sample::definition_of(workflow(number).as_str(), &["first"]), number);
    commit.run.idempotency_key = Some("key".to_owned());
    commit.attempts.push(Attempt { finished_at: Some(Timestamp::from_millis(5)), ..sample::attempt("first", 1) });
    commit.audit.push(AuditEvent::new(AuditKind::Paused, 1, Timestamp::from_millis(5)));
    commit
}

fn trigger(number: u64, revision: u64) -> TriggerRecord {
    let mut record = TriggerRecord::new(workflow(number), "often".parse().unwrap());
    record.revision = revision;
    record
}

/// Puts a value into a column of the second run. Returns whether the database accepted it.
async fn damage(connection: &DatabaseConnection, table: &str, column: &str, value: &str) -> bool {
    let id = sample::run_id(2);
    let id = match connection.get_database_backend() {
        DbBackend::Sqlite => format!("x'{}'", id.as_uuid().simple()),
        _ => format!("'{id}'"),
    };
    let of_second = match table {
        "squidmesh_runs" => format!("id = {id}"),
        "squidmesh_definitions" | "squidmesh_triggers" => "workflow = 'workflow_2'".to_owned(),
        _ => format!("run_id = {id}"),
    };
    let update = format!("UPDATE {table} SET {column} = {value} WHERE {of_second}");
    connection.execute_unprepared(&update).await.is_ok_and(|done| done.rows_affected() > 0)
}

fn corrupt_only<T>(answer: Result<T, StoreError>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(error @ StoreError::Corrupt { .. }) => {
            assert!(!format!("{error} {error:?}").contains("S3CRET"), "{error:?}");
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn has_others<'a>(found: impl IntoIterator<Item = &'a RunId>) -> bool {
    let found: Vec<_> = found.into_iter().collect();
    [1, 3].iter().all(|number| found.contains(&&sample::run_id(*number)))
}

/// Runs every operation of a store, on the first and the third run beside the second.
async fn the_others_continue(store: &SeaOrmStore) {
    read(store).await;
    list(store).await;
    let held = claim(store).await;
    assert_eq!(store.extend_leases(&held, LEASE).await.unwrap().len(), held.len());
    end(store, &held).await;
    prune(store).await;
}

async fn read(store: &SeaOrmStore) {
    for number in [1, 3] {
        let id = sample::run_id(number);
        let state = store.load(id).await.unwrap().unwrap();
        assert_eq!(state.steps.len(), 1);
        let history = store.history(id).await.unwrap();
        assert_eq!((history.attempts.len(), history.audit.len(), history.intents.len()), (1, 1, 1));
        assert_eq!(store.find_by_idempotency_key(&workflow(number), "key").await.unwrap(), Some(id));
        assert!(store.definition(&state.run.fingerprint).await.unwrap().is_some());
        assert_eq!(store.triggers(&[workflow(number)]).await.unwrap().records.len(), 1);
        assert!(store.compare_and_set_trigger(&trigger(number, 2)).await.unwrap());
    }
    corrupt_only(store.load(sample::run_id(2)).await);
    corrupt_only(store.history(sample::run_id(2)).await);
    corrupt_only(store.find_by_idempotency_key(&workflow(2), "key").await);
    corrupt_only(store.definition(&started(2).run.fingerprint).await);
    corrupt_only(store.triggers(&[workflow(2)]).await);
}

async fn list(store: &SeaOrmStore) {
    let (from, to) = (started(0).run.created_at, started(9).run.created_at);
    for filter in [
        RunFilter::new(),
        RunFilter::new().status(RunStatus::Pending),
        RunFilter::new().created_between(from, to),
        RunFilter::new().status(RunStatus::Pending).created_between(from, to),
    ] {
        let (mut filter, mut found) = (filter.limit(1), Vec::new());
        loop {
            let page = store.list(&filter).await.unwrap();
            found.extend(page.runs.into_iter().map(|run| run.id));
            let Some(next) = page.next else { break };
            filter = filter.after(next);
        }
        assert!(has_others(&found), "{filter:?}: {found:?}");
    }
    for number in [1, 3] {
        let page = store.list(&RunFilter::new().workflow(workflow(number))).await.unwrap();
        assert!(page.runs.iter().any(|run| run.id == sample::run_id(number)));
    }
}

/// Claims in every way, and returns the leases of the other runs.
async fn claim(store: &SeaOrmStore) -> Vec<Lease> {
    let versions: Vec<_> = (1..=3).map(|number| started(number).run.fingerprint).collect();
    let queues = vec![QueueName::default()];
    let due = store.list_due(&DueRequest::new(queues.clone(), versions.clone(), 10)).await.unwrap();
    assert!(has_others(due.intents.iter().map(|intent| &intent.key.run_id)), "{due:?}");
    let stranded = StrandedRequest::new(vec![sample::unknown_fingerprint()], Duration::ZERO, 10);
    assert!(has_others(&store.stranded(&stranded).await.unwrap()));

    let request = ClaimRequest::new(queues, versions, 10, sample::lease_token(1), LEASE);
    let claims = store.claim(&request).await.unwrap().claims;
    assert!(has_others(claims.iter().map(|claim| &claim.lease.key.run_id)), "{claims:?}");
    let mut leases = Vec::new();
    for claim in claims {
        if claim.lease.key.run_id == sample::run_id(2) {
            corrupt_only(claim.state);
        } else if [1, 3].map(sample::run_id).contains(&claim.lease.key.run_id) {
            assert!(claim.state.is_ok());
            leases.push(claim.lease);
        }
    }
    let again = store.claim(&request).await.unwrap();
    assert!(again.claims.is_empty() && again.next_in.is_none_or(|wait| !wait.is_zero()), "{again:?}");

    store.release_leases(&leases, Duration::ZERO).await.unwrap();
    let keys = [1, 2, 3].map(|number| IntentKey::step(sample::run_id(number), sample::step_name("first")));
    let answers = store.claim_keys(&ClaimKeysRequest::new(keys.to_vec(), sample::lease_token(2), LEASE)).await.unwrap();
    let [ClaimResult::Claimed(one), _, ClaimResult::Claimed(other)] = &answers[..] else { panic!("{answers:?}") };
    assert!(one.state.is_ok() && other.state.is_ok());
    vec![one.lease.clone(), other.lease.clone()]
}

/// Ends the other runs, together with a change to the second.
async fn end(store: &SeaOrmStore, held: &[Lease]) {
    let mut commits = Vec::new();
    for (number, lease) in [(1, Some(&held[0])), (2, None), (3, Some(&held[1]))] {
        let mut commit = sample::next(&started(number).run);
        commit.run.status = RunStatus::Completed;
        commit.run.finished_at = Some(Timestamp::from_millis(5));
        commit.steps.push(StepWrite::Update(sample::step("first")));
        if let Some(lease) = lease {
            commit.fences = vec![lease.clone()];
            commit.intents.push(IntentWrite::Remove(lease.key.clone()));
        }
        commits.push(commit);
    }
    let answers = store.commit(commits).await.unwrap();
    for index in [0, 2] {
        assert!(matches!(answers[index], Ok(CommitOutcome::Committed)), "{answers:?}");
    }
}

async fn prune(store: &SeaOrmStore) {
    let mut request = PruneRequest::new(Duration::ZERO, vec![RunStatus::Completed], 10);
    loop {
        let pruned = store.prune(&request).await.unwrap();
        if pruned.next.is_none() {
            break;
        }
        request = request.after(pruned.next);
    }
    for number in [1, 3] {
        assert_eq!(store.load(sample::run_id(number)).await.unwrap(), None, "run {number} is deleted");
    }
}

/// Starts three runs, with every kind of data that is stored for a run.
async fn start_anew(store: &SeaOrmStore) {
    let connection = store.connection();
    for table in ["definitions", "runs", "step_runs", "attempts", "intents", "audit", "triggers"] {
        connection.execute_unprepared(&format!("DELETE FROM squidmesh_{table}")).await.unwrap();
    }
    // A process does not write definitions again that it knows to be stored.
    let kept = "INSERT INTO squidmesh_definitions SELECT * FROM kept_definitions";
    let _ = connection.execute_unprepared(kept).await;
    for answer in store.commit((1..=3).map(started).collect()).await.unwrap() {
        assert_eq!(answer.unwrap(), CommitOutcome::Committed);
    }
    for number in 1..=3 {
        assert!(store.compare_and_set_trigger(&trigger(number, 1)).await.unwrap());
    }
}

async fn any_damage(store: SeaOrmStore, values: &[&str]) {
    let (mut done, connection) = (0, store.connection().clone());
    let columns = columns(&connection).await;
    start_anew(&store).await;
    let keep = "CREATE TABLE kept_definitions AS SELECT * FROM squidmesh_definitions";
    connection.execute_unprepared(keep).await.unwrap();
    the_others_continue(&store).await;
    start_anew(&store).await;
    for (table, column) in &columns {
        for value in values {
            if damage(&connection, table, column, value).await {
                let others = tokio::spawn({
                    let store = store.clone();
                    async move { the_others_continue(&store).await }
                });
                assert!(others.await.is_ok(), "{table}.{column} = {value}");
                start_anew(&store).await;
                done += 1;
            }
        }
    }
    assert!(done > columns.len(), "{done} cases of {} columns", columns.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_on_sqlite_concerns_its_own_run() {
    let store = SeaOrmStore::connect("sqlite::memory:").await.unwrap();
    any_damage(store, &ON_SQLITE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_on_postgres_concerns_its_own_run() {
    let database = TestDatabase::postgres().await;
    // Nothing here needs to survive a crash.
    let quickly =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$";
    database.connection().await.execute_unprepared(quickly).await.unwrap();
    any_damage(database.store().await, &ON_POSTGRES).await;
}
