//! Commands inside a transaction of the host.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, Statement};
use squidmesh_core::command::{AfterCommit, CommandError, CommandRefused};
use squidmesh_core::definition::QueueName;
use squidmesh_core::testing::MemoryTransaction;
use squidmesh_core::{COMPLETE, Run, RunStatus, Step, approval};

use super::{chain, done, nothing, workflow};
use crate::{Backend, Behavior, Journal, World};

/// The host's own table, where it has tables.
pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS host_orders (id TEXT NOT NULL)";
/// The host's own write in its transaction: a row of that table.
pub(super) const INSERT: &str = "INSERT INTO host_orders (id) VALUES ('o-1')";

/// Returns the number of the host's rows; `None` where it has no tables.
pub(super) async fn rows(backend: &Backend) -> Option<i64> {
    let connection = backend.database_store()?.connection();
    let count = Statement::from_string(connection.get_database_backend(), "SELECT count(*) AS n FROM host_orders");
    let row = connection.query_one_raw(count).await.expect("the host's table can be read");
    Some(row.expect("a count has one row").try_get_by("n").expect("a count is a number"))
}

/// How a transaction of the host ends.
pub(super) enum Ends {
    Commit,
    Rollback,
}

/// Starts a run, and cancels it if `cancel` is set, in a transaction that is committed or rolled back.
async fn start_in_transaction(backend: &Backend, world: &World, cancel: bool, ends: Ends) -> (Run, AfterCommit) {
    match (backend.memory_store(), backend.database_store()) {
        (Some(store), _) => {
            let transaction: MemoryTransaction = store.begin();
            let joined = world.within(&transaction);
            let run = joined.start_run("chain", &nothing()).await.expect("the run starts");
            if cancel {
                joined.cancel_run(run.id).await.expect("the transaction sees its own run");
            }
            not_seen_outside(world, &run).await;
            let after = joined.into_after_commit();
            match ends {
                Ends::Commit => drop(transaction.commit().expect("the transaction commits")),
                Ends::Rollback => transaction.rollback(),
            }
            (run, after)
        }
        (_, Some(store)) => {
            store.connection().execute_unprepared(TABLE).await.expect("a table can be made");
            let transaction = store.begin().await.expect("a transaction begins");
            transaction.execute_unprepared(INSERT).await.expect("a row can be written");
            let session = store.join(&transaction);
            let joined = world.within(&session);
            let run = joined.start_run("chain", &nothing()).await.expect("the run starts");
            if cancel {
                joined.cancel_run(run.id).await.expect("the transaction sees its own run");
            }
            not_seen_outside(world, &run).await;
            let after = joined.into_after_commit();
            drop(session);
            match ends {
                Ends::Commit => transaction.commit().await.expect("the transaction commits"),
                Ends::Rollback => transaction.rollback().await.expect("the transaction is rolled back"),
            }
            (run, after)
        }
        (None, None) => unreachable!("a backend has a store"),
    }
}

async fn not_seen_outside(world: &World, run: &Run) {
    let found = world.inspect_run(run.id).await;
    assert!(matches!(found, Err(CommandError::NotFound(_))), "no reader sees it before the commit: {found:?}");
    assert!(world.sink.events().is_empty(), "nothing is emitted before the commit");
}

fn world(backend: &Backend, journal: &Arc<Journal>) -> World {
    backend.world([chain("chain", journal, &["one", "two"])])
}

pub async fn a_run_and_the_hosts_row_are_committed_together(backend: &Backend) {
    let journal = Journal::new();
    let world = world(backend, &journal);
    let (run, after) = start_in_transaction(backend, &world, false, Ends::Commit).await;
    assert!(world.sink.events().is_empty(), "the host says when the events may go");
    after.committed();
    assert_eq!(world.event_names(&run), ["run.created", "run.dispatched"]);
    assert!(matches!(rows(backend).await, None | Some(1)));
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}

pub async fn a_run_and_the_hosts_row_vanish_together(backend: &Backend) {
    let journal = Journal::new();
    let world = world(backend, &journal);
    let (run, after) = start_in_transaction(backend, &world, false, Ends::Rollback).await;
    after.rolled_back();
    assert!(matches!(world.inspect_run(run.id).await, Err(CommandError::NotFound(_))));
    assert!(matches!(rows(backend).await, None | Some(0)));
    assert!(world.sink.events().is_empty());
    world.working(tokio::task::yield_now()).await;
    assert!(journal.calls().is_empty());
    // The definition was rolled back with the run: a later start stores it again.
    let later = world.start_run("chain", &nothing()).await.unwrap();
    let outsider = backend.world([]);
    assert_eq!(outsider.look(later.id).await.steps.len(), 2);
}

pub async fn several_commands_take_part_in_one_transaction(backend: &Backend) {
    let journal = Journal::new();
    let world = world(backend, &journal);
    let (run, after) = start_in_transaction(backend, &world, true, Ends::Commit).await;
    after.committed();
    assert_eq!(world.look(run.id).await.run.status, RunStatus::Cancelled);
    assert_eq!(world.event_names(&run), ["run.created", "run.dispatched", "run.transition", "run.cancelled"]);
}

pub async fn a_host_that_forgets_to_say_so_loses_only_the_events(backend: &Backend) {
    let journal = Journal::new();
    let world = world(backend, &journal);
    let (run, after) = start_in_transaction(backend, &world, false, Ends::Commit).await;
    drop(after);
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}

pub async fn a_refused_decision_in_a_transaction_is_undone_alone(backend: &Backend) {
    let journal = Journal::new();
    let asking = workflow("asking")
        .step(Step::new("ask", approval()))
        .step(journal.step("yes", done).queue("nowhere"))
        .then("ask", "yes")
        .on_error("ask", COMPLETE)
        .then("yes", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([asking, chain("chain", &journal, &["one"])]);
    let run = world.start_run("asking", &nothing()).await.unwrap().id;
    world.settle(run).await;
    let before = world.look(run).await;
    world.executor.behave(Behavior::Refuses(QueueName::new("nowhere").unwrap()));
    let in_transaction = async |session: &dyn squidmesh_core::port::StoreSession| {
        let joined = world.within(session);
        let started = joined.start_run("chain", &nothing()).await.unwrap();
        let refused = joined.approve_run(run).actor("ada").await;
        assert!(matches!(refused, Err(CommandError::Refused(CommandRefused::ByExecutor { .. }))), "{refused:?}");
        (started, joined.into_after_commit())
    };
    let (started, after) = match (backend.memory_store(), backend.database_store()) {
        (Some(store), _) => {
            let transaction: MemoryTransaction = store.begin();
            let done = in_transaction(&transaction).await;
            let _ = transaction.commit().expect("the transaction commits");
            done
        }
        (_, Some(store)) => {
            let transaction = store.begin().await.expect("a transaction begins");
            let session = store.join(&transaction);
            let done = in_transaction(&session).await;
            drop(session);
            transaction.commit().await.expect("the transaction commits");
            done
        }
        (None, None) => unreachable!("a backend has a store"),
    };
    after.committed();
    assert_eq!(world.look(run).await, before, "the run waits as before");
    assert_eq!(world.settle(started.id).await.run.status, RunStatus::Completed, "the rest is committed");
}
