//! Retention: ended runs are deleted by age and status; runs that have not ended, and the runs they came from, are
//! kept.

use std::collections::BTreeSet;

use serde_json::json;
use squidmesh_core::command::{CommandError, SquidmeshBuilder};
use squidmesh_core::{COMPLETE, RunFilter, RunStatus, Step, StepError, hours, ms, pause, secs};

use super::{chain, nothing, workflow};
use crate::{Backend, Journal};

pub async fn ended_runs_are_pruned_by_age_and_status_and_live_ones_stay(backend: &Backend) {
    let journal = Journal::new();
    let failing = workflow("failing").step(journal.step("only", |_| Err(StepError::terminal("broken"))));
    let waiting = workflow("waiting").step(Step::new("desk", pause()));
    let world = backend.world([
        chain("chain", &journal, &["one", "two"]),
        failing.then("only", COMPLETE).build().unwrap(),
        waiting.then("desk", COMPLETE).build().unwrap(),
    ]);
    let mut completed = Vec::new();
    for _ in 0..3 {
        completed.push(world.start_run("chain", &nothing()).await.unwrap().id);
    }
    let failed = world.start_run("failing", &nothing()).await.unwrap().id;
    let paused = world.start_run("waiting", &nothing()).await.unwrap().id;
    world.settle_all(completed.iter().copied().chain([failed, paused])).await;
    backend.pass(ms(50)).await;

    assert_eq!(world.prune_runs(hours(1)).await.unwrap(), 0, "all of them are young");
    assert_eq!(world.prune_runs(secs(0)).dry_run().await.unwrap(), 4);
    assert_eq!(world.prune_runs(secs(0)).status(RunStatus::Completed).at_most(2).await.unwrap(), 2);
    assert_eq!(world.prune_runs(secs(0)).status(RunStatus::Completed).await.unwrap(), 1);
    for id in completed {
        let gone = world.inspect_run(id).await;
        assert!(matches!(gone, Err(CommandError::NotFound(_))), "{gone:?}");
    }
    let left = world.list_runs(&RunFilter::new()).await.unwrap().runs;
    // Runs of one millisecond come in any order.
    assert_eq!(left.iter().map(|run| run.id).collect::<BTreeSet<_>>(), BTreeSet::from([paused, failed]));

    // A replay that has not ended keeps the run that it came from.
    let replay = world.replay_run(failed).await.unwrap();
    assert_eq!(world.prune_runs(secs(0)).await.unwrap(), 0);
    world.settle(replay.id).await;
    backend.pass(ms(50)).await;
    assert_eq!(world.prune_runs(secs(0)).await.unwrap(), 2);
    world.unblock_run(paused).await.unwrap();
    assert_eq!(world.settle(paused).await.run.status, RunStatus::Completed, "the run that lived continues");
}

pub async fn the_key_of_a_pruned_run_starts_another(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"])]);
    let start = || world.start_run("chain", &json!({})).idempotency_key("order 7");
    let first = start().await.unwrap();
    world.settle(first.id).await;
    backend.pass(ms(50)).await;
    assert_eq!(start().await.unwrap().id, first.id, "as long as it is kept");
    assert_eq!(world.prune_runs(secs(0)).await.unwrap(), 1);
    assert_eq!(world.find_run("chain", "order 7").await.unwrap(), None);
    let second = start().await.unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(world.settle(second.id).await.run.status, RunStatus::Completed);
}

pub async fn workers_delete_what_is_kept_no_longer(backend: &Backend) {
    let journal = Journal::new();
    let keep = |builder: SquidmeshBuilder| builder.configure(|config| config.retention = Some(ms(100)));
    let world = backend.world_with([chain("chain", &journal, &["one"])], keep);
    world.start_run("chain", &nothing()).await.unwrap();
    world
        .working(async {
            while !world.list_runs(&RunFilter::new()).await.unwrap().runs.is_empty() {
                tokio::time::sleep(ms(20)).await; // nothing signals that a run is gone
            }
        })
        .await;
    assert_eq!(journal.steps(), ["one"], "it was carried out before");
}
