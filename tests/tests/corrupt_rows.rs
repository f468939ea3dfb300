//! Every column of every table with garbage in it, in a live database: the affected run gets an error that names it
//! and shows no content, or continues; every other run continues undisturbed.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::json;
use squidmesh_core::command::CommandError;
use squidmesh_core::definition::WorkflowName;
use squidmesh_core::port::{Store, StoreError, StoreSession};
use squidmesh_core::{COMPLETE, Retry, RunFilter, RunId, RunStatus, Step, StepError, Trigger, Workflow, ms, pause};
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{Backend, Journal, World};

/// The garbage that is written to a column. The database refuses some of it, which is as good.
const GARBAGE: [&str; 5] = ["'S3CRET'", "-1", "NULL", "9223372036854775807", "'{\"S3CRET\":[1],\"v\":99}'"];
/// The number of undamaged runs.
const SOUND: usize = 20;

/// Returns a workflow of a step that fails once, a pause, and a step that is compensated.
fn shop(journal: &Arc<Journal>) -> Workflow {
    let first = journal.step("one", |call| match call.attempt {
        1 => Err(StepError::retryable("not yet")),
        _ => Ok(json!({ "one": 1 })),
    });
    Workflow::builder("shop")
        .trigger(Trigger::manual("manual"))
        .step(first.retry(Retry::fixed(3, ms(1))))
        .step(Step::new("stop", pause()))
        .step(journal.step("two", |_| Ok(json!({ "two": 2 }))))
        .then("one", "stop")
        .then("stop", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap()
}

async fn columns(store: &SeaOrmStore, table: &str) -> Vec<String> {
    let connection = store.connection();
    let sql = match connection.get_database_backend() {
        DbBackend::Sqlite => format!("SELECT name FROM pragma_table_info('squidmesh_{table}')"),
        _ => format!(
            "SELECT column_name::text AS name FROM information_schema.columns WHERE table_name = 'squidmesh_{table}'"
        ),
    };
    let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by("name").unwrap()).collect()
}

/// Puts garbage into a column of a run's rows. Returns whether the database took it.
async fn damage(store: &SeaOrmStore, table: &str, column: &str, garbage: &str, run: RunId) -> bool {
    let connection = store.connection();
    let id = match connection.get_database_backend() {
        DbBackend::Sqlite => format!("x'{}'", run.as_uuid().simple()),
        _ => format!("'{run}'"),
    };
    let key = if table == "runs" { "id" } else { "run_id" };
    let update = format!("UPDATE squidmesh_{table} SET {column} = {garbage} WHERE {key} = {id}");
    connection.execute_unprepared(&update).await.is_ok_and(|done| done.rows_affected() > 0)
}

/// Damages one run for each column of these tables and each kind of garbage.
async fn damage_all(store: &SeaOrmStore, world: &World, tables: &[&str], paused: bool) -> Vec<(RunId, String)> {
    let mut wanted = Vec::new();
    // Paused runs have been executed, which takes time: a part of the garbage is enough for them.
    let kinds = if paused { 2 } else { GARBAGE.len() };
    for table in tables {
        for column in columns(store, table).await {
            wanted.extend(GARBAGE[..kinds].iter().map(|garbage| ((*table).to_owned(), column.clone(), *garbage)));
        }
    }
    let payload = json!({});
    let started = world.start_runs(wanted.iter().map(|_| world.start_run("shop", &payload))).await;
    let ids: Vec<RunId> = started.into_iter().map(|run| run.unwrap().id).collect();
    if paused {
        world.settle_all(ids.iter().copied()).await;
    }
    let mut damaged = Vec::new();
    for ((table, column, garbage), run) in wanted.into_iter().zip(ids) {
        if damage(store, &table, &column, garbage, run).await {
            damaged.push((run, format!("{table}.{column} = {garbage}")));
        }
    }
    damaged
}

async fn sound(world: &World) -> Vec<RunId> {
    let payload = json!({});
    let started = world.start_runs((0..SOUND).map(|_| world.start_run("shop", &payload))).await;
    started.into_iter().map(|run| run.unwrap().id).collect()
}

/// Asserts that an error names the corrupt run and shows none of its content.
fn named(error: &StoreError, run: RunId, what: &str) {
    let said = format!("{error} {error:?}");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{what}: {said}");
    assert!(said.contains(&run.to_string()), "{what}: {said} does not name run {run}");
    assert!(!said.contains("S3CRET"), "{what}: {said}");
}

async fn every_column_of_every_table_may_hold_anything(backend: &Backend) {
    let store = backend.database_store().unwrap().clone();
    let journal = Journal::new();
    let world = backend.world([shop(&journal)]);

    let waiting = damage_all(&store, &world, &["attempts", "audit", "runs", "step_runs"], true).await;
    let fresh = damage_all(&store, &world, &["runs", "step_runs", "intents"], false).await;
    assert!(waiting.len() > 30 && fresh.len() > 50, "{} and {} rows were damaged", waiting.len(), fresh.len());

    // Runs that wait for a person are unblocked, the undamaged ones among them.
    let others = sound(&world).await;
    for details in world.settle_all(others.iter().copied()).await {
        assert_eq!(details.run.status, RunStatus::Paused);
    }
    let mut refused = 0;
    for (run, what) in &waiting {
        // Readable garbage may have another meaning, or none: an error about it must name the run.
        if let Err(CommandError::Store(error)) = world.unblock_run(*run).await {
            named(&error, *run, what);
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused} were refused");
    for run in &others {
        world.unblock_run(*run).await.unwrap();
    }
    for details in world.settle_all(others.iter().copied()).await {
        assert_eq!(details.run.status, RunStatus::Completed, "a sound run continues beside damaged ones");
    }
    // Lists leave out what they cannot read, and continue after it.
    let (mut listed, mut filter) = (Vec::new(), RunFilter::new().limit(50));
    loop {
        let page = world.list_runs(&filter).await.unwrap();
        listed.extend(page.runs.iter().map(|run| run.id));
        let Some(last) = page.next else { break };
        filter = filter.after(last);
    }
    assert!(others.iter().all(|run| listed.contains(run)), "no sound run is hidden");
    // Every inspected run is found, or named in the error.
    for (run, what) in waiting.iter().chain(&fresh) {
        if let Err(error) = backend.store().load(*run).await {
            named(&error, *run, what);
        }
        if let Err(CommandError::Store(error)) = world.inspect_run(*run).await {
            named(&error, *run, what);
        }
    }
    let kind = if store.connection().get_database_backend() == DbBackend::Sqlite { "SQLite" } else { "Postgres" };
    println!("{kind}: {} damaged rows, {refused} commands refused by name", waiting.len() + fresh.len());
}

/// The damaged record of one trigger does not affect another.
async fn a_schedule_that_cannot_be_read_stops_no_other(backend: &Backend) {
    let store = backend.database_store().unwrap().clone();
    let journal = Journal::new();
    let scheduled = |name: &str| {
        let often = Trigger::cron("often").expression("* * * * *").time_zone("UTC");
        Workflow::builder(name)
            .trigger(often)
            .step(journal.step("one", |_| Ok(json!({}))))
            .then("one", COMPLETE)
            .build()
            .unwrap()
    };
    let world = backend.world([scheduled("good"), scheduled("bad")]);
    world.runner().fire_due().await.unwrap();
    let names: Vec<WorkflowName> = ["good", "bad"].iter().map(|name| name.parse().unwrap()).collect();
    let stored: Arc<dyn Store> = backend.store();
    assert_eq!(stored.triggers(&names).await.unwrap().records.len(), 2);
    for column in columns(&store, "triggers").await {
        for garbage in GARBAGE {
            // The names are the record's key: changed, it is another trigger's.
            if ["workflow", "trigger_name"].contains(&column.as_str()) {
                continue;
            }
            let connection = store.connection();
            let update = format!("UPDATE squidmesh_triggers SET {column} = {garbage} WHERE workflow = 'bad'");
            if connection.execute_unprepared(&update).await.is_err() {
                continue;
            }
            let fired = world.runner().fire_due().await;
            assert!(fired.is_ok(), "triggers.{column} = {garbage}: {fired:?}");
            let whole = stored.triggers(&names[..1]).await.unwrap();
            assert_eq!(whole.records.len(), 1, "triggers.{column} = {garbage}");
            let status = world.triggers().await.unwrap();
            assert!(status[1].unreadable.is_none() && status[1].next.is_some(), "triggers.{column} = {garbage}");
            for lost in stored.triggers(&names).await.unwrap().unreadable {
                let error = lost.error;
                let said = format!("{error} {error:?} {status:?}");
                assert!(status[0].unreadable.is_some() && status[0].next.is_none(), "{status:?}");
                assert!(
                    matches!(error, StoreError::Corrupt { .. }) && !said.contains("S3CRET"),
                    "{column} = {garbage}: {said}"
                );
            }
        }
    }
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_column_of_every_table_may_hold_anything() {
        super::every_column_of_every_table_may_hold_anything(&Backend::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_schedule_that_cannot_be_read_stops_no_other() {
        super::a_schedule_that_cannot_be_read_stops_no_other(&Backend::sqlite().await).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_column_of_every_table_may_hold_anything() {
        super::every_column_of_every_table_may_hold_anything(&Backend::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_schedule_that_cannot_be_read_stops_no_other() {
        super::a_schedule_that_cannot_be_read_stops_no_other(&Backend::postgres().await).await;
    }
}
