//! A database that an earlier version left in the middle of everything: runs that wait, are paused, are held by
//! workers that are gone, are between attempts, or are being compensated. Several processes of this version apply the
//! missing migrations at once, while the first of them works and starts runs, and every run comes to its end: the
//! history checker judges it from its beginning in the earlier version.
//!
//! The databases are in `tests/fixtures`, with the effects of handlers in comments. `SQUIDMESH_WRITE_FIXTURE=1` writes
//! one of this version, `left.sql`, to be kept under a name of its own.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::MigratorTrait;
use serde_json::{Value, json};
use squidmesh_checker::{Act, Answer, Call, Effect, EffectKind, Evidence, check_at_rest};
use squidmesh_core::command::SquidmeshBuilder;
use squidmesh_core::port::StoreSession;
use squidmesh_core::testing::{ManualClock, MemoryExecutor};
use squidmesh_core::{RunFilter, RunStatus, Squidmesh};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_store::migration::Migrator;
use squidmesh_tests::TestDatabase;
use squidmesh_tests::sample_workflows::{BOOKED, BOOKS, Ledger};
use tokio::sync::oneshot;

const TABLES: [&str; 8] = [
    "squidmesh_definitions",
    "squidmesh_runs",
    "squidmesh_step_runs",
    "squidmesh_attempts",
    "squidmesh_intents",
    "squidmesh_audit",
    "squidmesh_triggers",
    "books",
];
/// An earlier version: the name of its database, and the number of migrations that it had.
type Earlier = (&'static str, u32);
/// The first version.
const FIRST: Earlier = ("0.1.0", 1);
/// The last version that stored a copy of the input with every step.
const WITH_COPIES: Earlier = ("0.1.0-input-copies", 7);
/// The prefix of an effect of a handler of the earlier version.
const EFFECT: &str = "-- effect ";
/// The time limit for all of it.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

fn fixture(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{version}.sql"))
}

fn with_workflows(builder: SquidmeshBuilder, ledger: &Ledger) -> Squidmesh {
    ledger.workflows().into_iter().fold(builder, SquidmeshBuilder::workflow).build().unwrap()
}

async fn rows(store: &SeaOrmStore, sql: &str) -> Vec<String> {
    let connection = store.connection();
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get_by("found").unwrap()).collect()
}

/// Leaves a database in the middle of everything, and returns a dump of it.
async fn left_in_the_middle() -> String {
    let database = TestDatabase::sqlite();
    let clock = Arc::new(ManualClock::default());
    let store = SeaOrmStore::builder(database.url()).clock(clock.clone()).connect().await.unwrap();
    store.connection().execute_unprepared(BOOKS).await.unwrap();
    let (ledger, executor) = (Ledger::default(), MemoryExecutor::new(clock));
    let mesh = with_workflows(Squidmesh::builder(store.clone()).executor(executor), &ledger);
    let runner = mesh.runner();
    let shapes: Vec<String> = ledger.workflows().iter().map(|found| found.definition().name().to_string()).collect();

    // Everything that can be done at once is done: what is left waits for a time or a person.
    for name in shapes.iter().filter(|name| *name != "hung") {
        mesh.start_run(name, &json!({})).await.unwrap();
    }
    while let Some(claim) = runner.claim(1).await.unwrap().claims.pop() {
        runner.deliver(claim).await;
    }
    // One step is running for ever.
    ledger.hang();
    mesh.start_run("hung", &json!({})).await.unwrap();
    let claim = runner.claim(1).await.unwrap().claims.pop().unwrap();
    let before = ledger.effects().len();
    let begun = async {
        while ledger.effects().len() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = runner.deliver(claim) => panic!("it hangs"),
        () = begun => {}
    }
    // A run that has failed and is still to be compensated.
    mesh.start_run("undone", &json!({})).await.unwrap();
    let claim = runner.claim(1).await.unwrap().claims.pop().unwrap();
    runner.deliver(claim).await;
    // Steps that are running, or claimed and not begun, and runs that no worker has seen.
    for name in ["undone", "undone", "stuck", "chain", "fanned", BOOKED, "chain"] {
        mesh.start_run(name, &json!({}))
            .idempotency_key(format!("left {name} {}", uuid::Uuid::new_v4()))
            .await
            .unwrap();
    }
    let claim = runner.claim(1).await.unwrap().claims.pop().unwrap();
    let _ = tokio::time::timeout(Duration::from_millis(1), runner.deliver(claim)).await;
    assert_eq!(runner.claim(3).await.unwrap().claims.len(), 3);

    let mut dump = String::from("-- Written by `SQUIDMESH_WRITE_FIXTURE=1`, and kept as it is once released.\n");
    for table in TABLES {
        let columns = rows(&store, &format!("SELECT name AS found FROM pragma_table_info('{table}')")).await;
        let values = columns.iter().map(|column| format!("quote({column})")).collect::<Vec<_>>().join(" || ', ' || ");
        for row in rows(&store, &format!("SELECT {values} AS found FROM {table}")).await {
            dump.push_str(&format!("INSERT INTO {table} ({}) VALUES ({row});\n", columns.join(", ")));
        }
    }
    for Effect { run_id, step, kind, attempt, input, .. } in ledger.effects() {
        let compensation = kind == EffectKind::Compensation;
        dump.push_str(&format!("{EFFECT}{}\n", json!([run_id, step, compensation, attempt, input])));
    }
    dump
}

/// Returns the effects of handlers of the earlier version.
fn effects(dump: &str) -> Vec<Effect> {
    let lines = dump.lines().filter_map(|line| line.strip_prefix(EFFECT));
    let effect = |line| {
        let (run_id, step, compensation, attempt, input) = serde_json::from_str(line).unwrap();
        let kind = if compensation { EffectKind::Compensation } else { EffectKind::Step };
        Effect { run_id, step, kind, attempt, input, retry_after: None }
    };
    lines.map(effect).collect()
}

/// Returns the rows that transactional steps have written.
async fn booked(store: &SeaOrmStore) -> Vec<Effect> {
    let rows = rows(store, "SELECT run_id || ' ' || step || ' ' || attempt AS found FROM books").await;
    let effect = |row: &String| {
        let [run, step, attempt] = row.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (run_id, step, attempt) = (run.parse().unwrap(), step.parse().unwrap(), attempt.parse().unwrap());
        Effect { run_id, step, kind: EffectKind::Row, attempt, input: Value::Null, retry_after: None }
    };
    rows.iter().map(effect).collect()
}

/// Returns the number of migrations that were applied, each once.
async fn applied(store: &SeaOrmStore) -> usize {
    let applied = rows(store, "SELECT version AS found FROM squidmesh_migrations").await;
    assert_eq!(applied.iter().collect::<BTreeSet<_>>().len(), applied.len(), "{applied:?}");
    applied.len()
}

/// SQLite stores ids as bytes, Postgres as UUIDs.
fn in_dialect(statement: &str, backend: DbBackend) -> String {
    if backend == DbBackend::Sqlite { statement.to_owned() } else { statement.replace("X'", "'") }
}

async fn start(mesh: &Squidmesh) -> Call {
    let run = mesh.start_run("chain", &json!({})).await.unwrap();
    Call { act: Act::Start { workflow: run.workflow, key: None }, answer: Answer::Ok(run.id) }
}

/// Returns the URL of a database that is created if it is missing.
fn created(url: &str) -> String {
    if url.starts_with("sqlite") { format!("{url}?mode=rwc") } else { url.to_owned() }
}

async fn upgraded(database: &TestDatabase, (version, migrations): Earlier) {
    let dump = std::fs::read_to_string(fixture(version)).unwrap();
    let earlier = sea_orm::Database::connect(created(database.url())).await.unwrap();
    Migrator::up(&earlier, Some(migrations)).await.unwrap();
    earlier.close().await.unwrap();
    let store = SeaOrmStore::builder(database.url()).migrate(false).connect().await.unwrap();
    let backend = store.connection().get_database_backend();
    assert_eq!(applied(&store).await, migrations as usize, "the database is of the earlier version");
    store.connection().execute_unprepared(BOOKS).await.unwrap();
    for statement in dump.lines().filter(|line| !line.starts_with("--")) {
        store.connection().execute_unprepared(&in_dialect(statement, backend)).await.unwrap();
    }
    let statuses = rows(&store, "SELECT DISTINCT status AS found FROM squidmesh_runs").await;
    for expected in ["pending", "running", "retrying", "paused", "failed", "completed"] {
        assert!(statuses.iter().any(|status| status == expected), "no run is {expected}: {statuses:?}");
    }
    let held = rows(&store, "SELECT step AS found FROM squidmesh_intents WHERE lease IS NOT NULL").await;
    assert!(held.len() >= 4, "work is held: {held:?}");
    let compensating = rows(&store, "SELECT queue AS found FROM squidmesh_intents WHERE step = ''").await;
    assert!(!compensating.is_empty(), "a run is being compensated");
    let before = rows(&store, "SELECT status AS found FROM squidmesh_runs").await.len();
    println!("{before} runs, {} held, {} being compensated", held.len(), compensating.len());

    // Every process finds migrations missing, and applies them beside the others; the first to finish works and
    // starts runs.
    let ledger = Ledger::after(&effects(&dump));
    let processes: Vec<_> = (0..4)
        .map(|_| {
            let (url, ledger) = (database.url().to_owned(), ledger.clone());
            tokio::spawn(async move {
                let store = SeaOrmStore::builder(&url).max_connections(2).connect().await.unwrap();
                let mesh = with_workflows(Squidmesh::builder(store).executor(TokioExecutor::new()), &ledger);
                [start(&mesh).await, start(&mesh).await, start(&mesh).await]
            })
        })
        .collect();
    let store = SeaOrmStore::connect(database.url()).await.unwrap();
    let executor = TokioExecutor::new().concurrency(4).poll_interval(Duration::from_millis(50));
    let mesh = with_workflows(Squidmesh::builder(store.clone()).executor(executor), &ledger);
    let (stop, stopped) = oneshot::channel::<()>();
    let working = mesh.clone();
    let workers = tokio::spawn(async move { working.run_workers(async { drop(stopped.await) }).await });
    let (upgraded, mut is_upgraded) = oneshot::channel::<()>();
    let starting = mesh.clone();
    let started_meanwhile = tokio::spawn(async move {
        let mut calls = Vec::new();
        while is_upgraded.try_recv().is_err() {
            calls.push(start(&starting).await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        calls
    });
    let mut calls = Vec::new();
    for process in processes {
        calls.extend(process.await.unwrap());
    }
    upgraded.send(()).unwrap();
    calls.extend(started_meanwhile.await.unwrap());
    assert_eq!(applied(&store).await, Migrator::migrations().len());

    let begun = Instant::now();
    loop {
        let runs = mesh.list_runs(&RunFilter::new().limit(1_000)).await.unwrap().runs;
        for run in runs.iter().filter(|run| run.status == RunStatus::Paused) {
            if mesh.unblock_run(run.id).await.is_err() {
                let _ = mesh.approve_run(run.id).actor("ann").await;
            }
        }
        let session: &dyn StoreSession = &store;
        let mut evidence = Evidence::read(session).await.unwrap();
        let done =
            |run: &squidmesh_checker::RunRecord| run.state.run.status.is_terminal() && run.history.intents.is_empty();
        if evidence.runs.len() == before + calls.len() && evidence.runs.values().all(done) {
            let asked = calls.iter().filter_map(|call| if let Answer::Ok(id) = call.answer { Some(id) } else { None });
            let asked: BTreeSet<_> = asked.collect();
            evidence.inherited = evidence.runs.keys().copied().filter(|id| !asked.contains(id)).collect();
            evidence.calls = calls;
            evidence.effects = ledger.effects();
            evidence.effects.extend(booked(&store).await);
            let booking = |step: &str| (BOOKED.parse().unwrap(), step.parse().unwrap());
            evidence.transactional = BTreeSet::from([booking("one"), booking("two")]);
            assert_eq!(check_at_rest(&evidence), []);
            break;
        }
        assert!(
            begun.elapsed() < RUN_TIMEOUT,
            "{:?}",
            runs.iter().map(|run| (&run.workflow, run.status)).collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.send(()).unwrap();
    workers.await.unwrap().unwrap();
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn runs_of_the_first_version_are_migrated_under_load_and_end() {
        if std::env::var_os("SQUIDMESH_WRITE_FIXTURE").is_some() {
            std::fs::write(fixture("left"), left_in_the_middle().await).unwrap();
        }
        upgraded(&TestDatabase::sqlite(), FIRST).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn runs_with_copied_inputs_are_migrated_under_load_and_end() {
        upgraded(&TestDatabase::sqlite(), WITH_COPIES).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn runs_of_the_first_version_are_migrated_under_load_and_end() {
        upgraded(&TestDatabase::empty_postgres().await, FIRST).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn runs_with_copied_inputs_are_migrated_under_load_and_end() {
        upgraded(&TestDatabase::empty_postgres().await, WITH_COPIES).await;
    }
}
