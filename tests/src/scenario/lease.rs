//! Workers that die, hang, or lose what they hold.

use std::sync::Arc;

use serde_json::json;
use squidmesh_core::{
    COMPLETE, Delivery, Failure, Retry, RunStatus, SkipReason, SquidmeshBuilder, Workflow, WorkflowBuilder, ms,
};

use super::{done, nothing, workflow};
use crate::world::{attempts, step};
use crate::{Gate, Ground, Journal, World};

fn short_leases(builder: SquidmeshBuilder) -> SquidmeshBuilder {
    builder.configure(|config| (config.lease, config.heartbeat) = (ms(300), ms(75)))
}

/// A step that hangs at its first attempts, then one that does not.
fn hanging(journal: &Arc<Journal>, gate: &Arc<Gate>, hangs: u32, retry: Retry) -> Workflow {
    let hold = gate.clone();
    let builder: WorkflowBuilder = workflow("hanging").step(
        journal
            .slow_step("one", move |call, _| {
                let gate = hold.clone();
                async move {
                    if call.attempt <= hangs {
                        gate.pass().await;
                    }
                    Ok(json!({ "by": call.attempt }))
                }
            })
            .retry(retry),
    );
    builder.step(journal.step("two", done)).then("one", "two").then("two", COMPLETE).build().unwrap()
}

/// Claims the due step, begins it, and dies in the middle of it.
async fn die_in_a_step(ground: &Ground, world: &World, gate: &Gate, time: usize) {
    let runner = world.runner();
    let claim = loop {
        match runner.claim(1).await.unwrap() {
            mut found if !found.claims.is_empty() => break found.claims.remove(0),
            found => ground.pass(found.next_in.unwrap_or(ms(10))).await,
        }
    };
    let worker = tokio::spawn(async move { runner.deliver(claim).await });
    gate.arrived(time).await;
    worker.abort();
    let _ = worker.await;
}

pub async fn a_dead_workers_step_goes_on_elsewhere(ground: &Ground) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let world = ground.world_with([hanging(&journal, &gate, 1, Retry::fixed(3, ms(1)))], short_leases);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    die_in_a_step(ground, &world, &gate, 1).await;
    let held = world.look(run.id).await;
    assert_eq!((held.run.status, attempts(&held, "one")), (RunStatus::Running, vec!["running"]));
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, attempts(&details, "one")), (RunStatus::Completed, vec!["failed", "completed"]));
    let lost = &step(&details, "one").attempts[0];
    assert_eq!(lost.error.as_ref().unwrap().kind, Failure::STALE_RUNNING_STEP);
    // The lease began with the claim, which came after the run and before the attempt.
    assert!(lost.finished_at.unwrap().since(held.run.created_at) >= ms(290), "not before the lease has run out");
    assert_eq!(step(&details, "one").run.as_ref().unwrap().failures, 1, "it counts");
}

pub async fn a_step_that_kills_its_workers_is_poison(ground: &Ground) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let world = ground.world_with([hanging(&journal, &gate, 99, Retry::fixed(99, ms(1)))], short_leases);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    for time in 1..=3 {
        die_in_a_step(ground, &world, &gate, time).await;
    }
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, attempts(&details, "one")), (RunStatus::Failed, vec!["failed"; 3]));
    assert_eq!(details.run.last_error.as_ref().unwrap().kind, Failure::POISON_STEP);
}

pub async fn a_worker_that_lost_its_lease_cannot_record(ground: &Ground) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let world = ground.world_with([hanging(&journal, &gate, 1, Retry::fixed(3, ms(1)))], short_leases);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    // This worker extends no lease, so it loses it while its step hangs.
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let slow = tokio::spawn(async move { runner.deliver(claim).await });
    gate.arrived(1).await;
    let before = world.settle(run.id).await;
    assert_eq!(before.run.status, RunStatus::Completed);
    gate.open();
    let delivery = slow.await.unwrap();
    assert!(matches!(delivery, Delivery::Skipped(SkipReason::LeaseLost)), "{delivery:?}");
    let details = world.look(run.id).await;
    assert_eq!(details, before, "nothing of it is recorded");
    assert_eq!(details.context.get("by"), Some(&json!(2)));
    // A queue may have announced the step as well, and found it held.
    assert_eq!(world.skipped(run.id).last(), Some(&"lease_lost"));
}

pub async fn a_slow_step_is_not_taken_away_while_its_worker_lives(ground: &Ground) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let world = ground.world_with([hanging(&journal, &gate, 1, Retry::fixed(3, ms(1)))], short_leases);
    let other = ground.world_with([hanging(&journal, &gate, 1, Retry::fixed(3, ms(1)))], short_leases);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    let details = world
        .working(other.working(async {
            gate.arrived(1).await;
            // Four leases long, in time that is real where the others' is, too.
            match ground.clock() {
                Some(clock) => {
                    let end = squidmesh_core::Clock::now(&**clock).after(ms(1_200));
                    while squidmesh_core::Clock::now(&**clock) < end {
                        tokio::time::sleep(ms(5)).await;
                    }
                }
                None => tokio::time::sleep(ms(1_200)).await,
            }
            gate.open();
            world.rests(run.id).await
        }))
        .await;
    assert_eq!((details.run.status, attempts(&details, "one")), (RunStatus::Completed, vec!["completed"]));
    assert_eq!(journal.of("one").len(), 1);
}

pub async fn a_worker_that_is_shut_down_gives_its_step_back(ground: &Ground) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let world = ground.world([hanging(&journal, &gate, 1, Retry::never())]);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let delivered = runner.clone();
    let worker = tokio::spawn(async move { delivered.deliver(claim).await });
    gate.arrived(1).await;
    runner.interrupt();
    worker.await.unwrap();
    let details = world.look(run.id).await;
    assert_eq!(attempts(&details, "one"), ["interrupted"]);
    assert_eq!(details.intents[0].lease, None, "it is due at once, for anybody");
    let details = world.settle(run.id).await;
    assert_eq!(
        (details.run.status, attempts(&details, "one")),
        (RunStatus::Completed, vec!["interrupted", "completed"])
    );
    assert_eq!(step(&details, "one").run.as_ref().unwrap().failures, 0, "no attempt is burnt");
}
