//! Workers that die, hang, or lose their leases.

use std::sync::Arc;

use serde_json::json;
use squidmesh_core::command::{DeliveryOutcome, SquidmeshBuilder};
use squidmesh_core::event::IgnoreReason;
use squidmesh_core::run::{AuditKind, FailureKind};
use squidmesh_core::workflow::WorkflowBuilder;
use squidmesh_core::{COMPLETE, Retry, RunStatus, Workflow, ms};

use super::{done, nothing, workflow};
use crate::world::{attempts, step};
use crate::{Backend, Gate, Journal, World};

fn short_leases(builder: SquidmeshBuilder) -> SquidmeshBuilder {
    builder.configure(|config| (config.lease, config.heartbeat) = (ms(300), ms(75)))
}

/// Returns a step that hangs in its first attempts, then one that does not.
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
async fn die_in_a_step(backend: &Backend, world: &World, gate: &Gate, time: usize) {
    let runner = world.runner();
    let claim = loop {
        match runner.claim(1).await.unwrap() {
            mut found if !found.claims.is_empty() => break found.claims.remove(0),
            found => backend.pass(found.next_in.unwrap_or(ms(10))).await,
        }
    };
    let worker = tokio::spawn(async move { runner.deliver(claim).await });
    gate.arrived(time).await;
    worker.abort();
    let _ = worker.await;
}

pub async fn a_dead_workers_step_is_retried_elsewhere(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let world = backend.world_with([hanging(&journal, &gate, 1, Retry::fixed(3, ms(1)))], short_leases);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    die_in_a_step(backend, &world, &gate, 1).await;
    let held = world.look(run.id).await;
    assert_eq!((held.run.status, attempts(&held, "one")), (RunStatus::Running, vec!["running"]));
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, attempts(&details, "one")), (RunStatus::Completed, vec!["failed", "completed"]));
    let lost = &step(&details, "one").attempts[0];
    assert_eq!(lost.error.as_ref().unwrap().kind, FailureKind::STALE_RUNNING_STEP);
    // The lease began with the claim, which came after the run and before the attempt.
    assert!(lost.finished_at.unwrap().since(held.run.created_at) >= ms(290), "not before the lease has run out");
    assert_eq!(step(&details, "one").run.as_ref().unwrap().failures, 1, "it counts");
}

pub async fn a_step_that_kills_its_workers_is_poison(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let world = backend.world_with([hanging(&journal, &gate, 99, Retry::fixed(99, ms(1)))], short_leases);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    for time in 1..=3 {
        die_in_a_step(backend, &world, &gate, time).await;
    }
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, attempts(&details, "one")), (RunStatus::Failed, vec!["failed"; 3]));
    assert_eq!(details.run.last_error.as_ref().unwrap().kind, FailureKind::POISON_STEP);
}

pub async fn a_worker_that_lost_its_lease_cannot_record(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let workflow = hanging(&journal, &gate, 1, Retry::fixed(3, ms(1)));
    let world = backend.world_with([workflow.clone()], short_leases);
    let other = backend.world_with([workflow], short_leases);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    // This process extends no lease, so it loses its lease while the step hangs.
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let slow = tokio::spawn(async move { runner.deliver(claim).await });
    gate.arrived(1).await;
    let before = other.settle(run.id).await;
    assert_eq!(before.run.status, RunStatus::Completed);
    gate.open();
    let delivery = slow.await.unwrap();
    assert!(matches!(delivery, DeliveryOutcome::Ignored(IgnoreReason::LeaseLost)), "{delivery:?}");
    let details = world.look(run.id).await;
    assert_eq!((&details.steps, &details.context), (&before.steps, &before.context), "nothing of it is recorded");
    assert_eq!(details.context.get("by"), Some(&json!(2)));
    let kinds: Vec<AuditKind> = details.audit.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [AuditKind::Lived], "but that it lived");
    assert_eq!(world.ignored_deliveries(run.id), ["lease_lost"]);
}

pub async fn a_process_never_takes_over_what_it_executes_itself(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let workflow = hanging(&journal, &gate, 1, Retry::fixed(3, ms(1)));
    let world = backend.world_with([workflow.clone()], short_leases);
    let other = backend.world_with([workflow], short_leases);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let key = claim.lease.key.clone();
    let working = runner.clone();
    let slow = tokio::spawn(async move { working.deliver(claim).await });
    gate.arrived(1).await;
    backend.pass(ms(400)).await;
    let found = world.runner().claim(10).await.unwrap();
    assert!(found.claims.is_empty() && found.next_in.is_none(), "{found:?}");
    assert!(runner.claim_keys(std::slice::from_ref(&key)).await.unwrap().is_empty());
    let payload = format!(r#"{{"kind":"step","v":1,"run_id":"{}","step":"one"}}"#, run.id);
    let again = world.runner().perform(payload.as_bytes()).await.unwrap();
    assert!(matches!(again, DeliveryOutcome::Ignored(IgnoreReason::Held)), "{again:?}");
    // Another runtime, even in this process, may claim it.
    let claims = other.runner().claim(10).await.unwrap().claims;
    assert_eq!(claims.iter().map(|claim| claim.lease.key.clone()).collect::<Vec<_>>(), [key]);
    other.runner().release(claims).await.unwrap();
    gate.open();
    slow.await.unwrap();
}

pub async fn a_slow_worker_that_comes_back_is_no_crash(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let workflow = hanging(&journal, &gate, 99, Retry::fixed(99, ms(1)));
    let worlds: Vec<World> = (0..4).map(|_| backend.world_with([workflow.clone()], short_leases)).collect();
    let run = worlds[0].start_run("hanging", &nothing()).await.unwrap();
    // Each worker loses its lease to the next, and lives.
    let mut slow = Vec::new();
    for (number, world) in (1..).zip(&worlds[..3]) {
        let runner = world.runner();
        let claim = loop {
            match runner.claim(1).await.unwrap() {
                mut found if !found.claims.is_empty() => break found.claims.remove(0),
                found => backend.pass(found.next_in.unwrap_or(ms(10))).await,
            }
        };
        slow.push(tokio::spawn(async move { runner.deliver(claim).await }));
        gate.arrived(number).await;
    }
    gate.open();
    for worker in slow {
        worker.await.unwrap();
    }
    let details = worlds[3].settle(run.id).await;
    assert_eq!(
        (details.run.status, attempts(&details, "one")),
        (RunStatus::Completed, vec!["failed", "failed", "completed"])
    );
    let step = step(&details, "one").run.clone().unwrap();
    assert_eq!(step.crashes, 0);
    assert!(details.audit.iter().all(|entry| entry.kind == AuditKind::Lived), "{:?}", details.audit);
}

pub async fn a_slow_step_is_not_taken_away_while_its_worker_lives(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let world = backend.world_with([hanging(&journal, &gate, 1, Retry::fixed(3, ms(1)))], short_leases);
    let other = backend.world_with([hanging(&journal, &gate, 1, Retry::fixed(3, ms(1)))], short_leases);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    let details = world
        .working(other.working(async {
            gate.arrived(1).await;
            // Four leases long, in real time where the others' time is real, too.
            match backend.clock() {
                Some(clock) => {
                    let end = squidmesh_core::port::Clock::now(&**clock).after(ms(1_200));
                    while squidmesh_core::port::Clock::now(&**clock) < end {
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

pub async fn a_worker_that_is_shut_down_gives_its_step_back(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let world = backend.world([hanging(&journal, &gate, 1, Retry::never())]);
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
    assert_eq!(details.intents[0].lease, None, "it is due at once, for any worker");
    let details = world.settle(run.id).await;
    assert_eq!(
        (details.run.status, attempts(&details, "one")),
        (RunStatus::Completed, vec!["interrupted", "completed"])
    );
    assert_eq!(step(&details, "one").run.as_ref().unwrap().failures, 0, "no attempt is burnt");
}
