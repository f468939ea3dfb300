//! Commands inside a transaction of the host.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, Statement};
use squidmesh_core::testing::MemoryTransaction;
use squidmesh_core::{AfterCommit, CommandError, Run, RunStatus};

use super::{chain, nothing};
use crate::{Ground, Journal, World};

/// What a host does in its transaction besides: a row of its own, where it has tables.
const INSERT: &str = "INSERT INTO host_orders (id) VALUES ('o-1')";

/// How many rows the host has; as many as there were commits where it has no tables.
async fn rows(ground: &Ground) -> Option<i64> {
    let connection = ground.database_store()?.connection();
    let count = Statement::from_string(connection.get_database_backend(), "SELECT count(*) AS n FROM host_orders");
    let row = connection.query_one_raw(count).await.expect("the host's table can be read");
    Some(row.expect("a count has one row").try_get_by("n").expect("a count is a number"))
}

enum Ends {
    Commit,
    Rollback,
}

/// Starts a run, and cancels it if so wished, in a transaction that ends one way or the other.
async fn start_in_transaction(ground: &Ground, world: &World, cancel: bool, ends: Ends) -> (Run, AfterCommit) {
    match (ground.memory_store(), ground.database_store()) {
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
            let table = "CREATE TABLE IF NOT EXISTS host_orders (id TEXT NOT NULL)";
            store.connection().execute_unprepared(table).await.expect("a table can be made");
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
        (None, None) => unreachable!("a ground has a store"),
    }
}

async fn not_seen_outside(world: &World, run: &Run) {
    let found = world.inspect_run(run.id).await;
    assert!(matches!(found, Err(CommandError::NotFound(_))), "nobody sees it before the commit: {found:?}");
    assert!(world.sink.events().is_empty(), "nothing is told before the commit");
}

fn world(ground: &Ground, journal: &Arc<Journal>) -> World {
    ground.world([chain("chain", journal, &["one", "two"])])
}

pub async fn a_run_and_the_hosts_row_are_committed_together(ground: &Ground) {
    let journal = Journal::new();
    let world = world(ground, &journal);
    let (run, after) = start_in_transaction(ground, &world, false, Ends::Commit).await;
    assert!(world.sink.events().is_empty(), "the host says when the events may go");
    after.committed();
    assert_eq!(world.told(&run), ["run.created", "run.dispatched"]);
    assert!(matches!(rows(ground).await, None | Some(1)));
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}

pub async fn a_run_and_the_hosts_row_vanish_together(ground: &Ground) {
    let journal = Journal::new();
    let world = world(ground, &journal);
    let (run, after) = start_in_transaction(ground, &world, false, Ends::Rollback).await;
    after.rolled_back();
    assert!(matches!(world.inspect_run(run.id).await, Err(CommandError::NotFound(_))));
    assert!(matches!(rows(ground).await, None | Some(0)));
    assert!(world.sink.events().is_empty());
    world.working(tokio::task::yield_now()).await;
    assert!(journal.calls().is_empty());
    // The definition went with it: a later start stores it again.
    let later = world.start_run("chain", &nothing()).await.unwrap();
    let stranger = ground.world([]);
    assert_eq!(stranger.look(later.id).await.steps.len(), 2);
}

pub async fn several_commands_take_part_in_one_transaction(ground: &Ground) {
    let journal = Journal::new();
    let world = world(ground, &journal);
    let (run, after) = start_in_transaction(ground, &world, true, Ends::Commit).await;
    after.committed();
    assert_eq!(world.look(run.id).await.run.status, RunStatus::Cancelled);
    assert_eq!(world.told(&run), ["run.created", "run.dispatched", "run.transition", "run.cancelled"]);
}

pub async fn a_host_that_forgets_to_say_so_loses_only_the_events(ground: &Ground) {
    let journal = Journal::new();
    let world = world(ground, &journal);
    let (run, after) = start_in_transaction(ground, &world, false, Ends::Commit).await;
    drop(after);
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}
