//! Cancelling runs.

use std::sync::Arc;

use serde_json::{Map, json};
use squidmesh_core::command::{BulkOutcome, CommandError, CommandRefused, InvalidActor, ReplayError};
use squidmesh_core::inspect::StepState;
use squidmesh_core::run::{AuditKind, FailureKind};
use squidmesh_core::{COMPLETE, Retry, RunFilter, RunId, RunStatus, Step, StepError, approval, hours, ms, pause, wait};

use super::{chain, done, nothing, workflow};
use crate::world::{attempts, states, step};
use crate::{Backend, Gate, Journal};

pub async fn a_pending_run_is_cancelled_at_once(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one", "two"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let metadata = Map::from_iter([("ticket".to_owned(), json!(7))]);
    let cancelled =
        world.cancel_run(run.id).actor("ada").comment("a duplicate").metadata(metadata.clone()).await.unwrap();
    assert_eq!(cancelled.status, RunStatus::Cancelled);
    let details = world.settle(run.id).await;
    assert_eq!(states(&details), [StepState::Cancelled, StepState::Waiting]);
    assert!(journal.calls().is_empty());
    let entry = &details.audit[0];
    assert_eq!((entry.kind, entry.actor.as_deref()), (AuditKind::Cancelled, Some("ada")));
    assert_eq!((entry.comment.as_deref(), entry.metadata.as_ref()), (Some("a duplicate"), Some(&metadata)));
    let mut emitted = world.event_names(&run);
    emitted.retain(|name| *name != "delivery.ignored"); // a queue may have announced the first step, to no effect
    assert_eq!(emitted[2..], ["run.transition", "run.cancelled"]);
}

pub async fn a_running_step_is_awaited_and_nothing_follows_it(backend: &Backend) {
    let journal = Journal::new();
    let gate = Arc::new(Gate::default());
    let hold = gate.clone();
    let slow = workflow("slow")
        .step(journal.slow_step("one", move |_, _| {
            let gate = hold.clone();
            async move {
                gate.pass().await;
                Ok(json!({"kept": 1}))
            }
        }))
        .step(journal.step("two", done))
        .then("one", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([slow]);
    let run = world.start_run("slow", &nothing()).await.unwrap();
    let details = world
        .working(async {
            gate.arrived(1).await;
            assert_eq!(world.cancel_run(run.id).await.unwrap().status, RunStatus::Cancelling);
            let again = world.cancel_run(run.id).await;
            assert!(matches!(again, Err(CommandError::Refused(CommandRefused::InvalidTransition(_)))), "{again:?}");
            gate.open();
            world.rests(run.id).await
        })
        .await;
    assert_eq!(details.run.status, RunStatus::Cancelled);
    assert_eq!(states(&details), [StepState::Completed, StepState::Waiting]);
    assert_eq!(details.context.get("kept"), Some(&json!(1)), "its output is kept");
    assert_eq!(journal.steps(), ["one"]);
}

pub async fn a_run_that_waits_to_retry_is_cancelled_at_once(backend: &Backend) {
    let journal = Journal::new();
    let flaky = workflow("flaky")
        .step(journal.step("one", |_| Err(StepError::retryable("no"))).retry(Retry::fixed(5, hours(1))))
        .then("one", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([flaky]);
    let run = world.start_run("flaky", &nothing()).await.unwrap();
    world.runner().deliver(world.runner().claim(1).await.unwrap().claims.remove(0)).await;
    assert_eq!(world.status(run.id).await, RunStatus::Retrying);
    assert_eq!(world.cancel_run(run.id).await.unwrap().status, RunStatus::Cancelled);
    let details = world.look(run.id).await;
    assert!(details.intents.is_empty());
    assert_eq!(attempts(&details, "one"), ["failed"]);
}

pub async fn a_waiting_run_is_cancelled_at_once(backend: &Backend) {
    let journal = Journal::new();
    let waiting = workflow("waiting")
        .step(Step::new("wait", wait(hours(72))))
        .step(journal.step("after", done))
        .then("wait", "after")
        .then("after", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([waiting]);
    let run = world.start_run("waiting", &nothing()).await.unwrap();
    assert_eq!(world.cancel_run(run.id).await.unwrap().status, RunStatus::Cancelled);
    assert!(world.look(run.id).await.intents.is_empty());
}

pub async fn a_paused_run_is_cancelled_and_its_attempt_closed(backend: &Backend) {
    let asking = workflow("asking")
        .step(Step::new("ask", approval()))
        .then("ask", COMPLETE)
        .on_error("ask", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([asking]);
    let run = world.start_run("asking", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Paused);
    assert_eq!(world.cancel_run(run.id).await.unwrap().status, RunStatus::Cancelled);
    let details = world.look(run.id).await;
    assert_eq!(attempts(&details, "ask"), ["failed"]);
    assert_eq!(step(&details, "ask").attempts[0].error.as_ref().unwrap().kind, FailureKind::CANCELLED);
}

pub async fn a_run_that_has_ended_cannot_be_cancelled(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let before = world.settle(run.id).await;
    let refused = world.cancel_run(run.id).await;
    assert!(
        matches!(&refused, Err(CommandError::Refused(CommandRefused::InvalidTransition(error))) if error.from == RunStatus::Completed),
        "{refused:?}"
    );
    assert_eq!(world.look(run.id).await, before);
    let unknown: RunId = "0190c5a2-7b3e-7cc1-8a55-6f0e5d3b2a10".parse().unwrap();
    assert!(matches!(world.cancel_run(unknown).await, Err(CommandError::NotFound(_))));
}

pub async fn what_an_actor_gives_has_limits(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let refused = world.cancel_run(run.id).actor("a\0da").await;
    assert!(matches!(refused, Err(CommandError::Actor(InvalidActor::Unacceptable(_)))), "{refused:?}");
    let refused = world.cancel_run(run.id).comment("x".repeat(2 << 20)).await;
    assert!(matches!(refused, Err(CommandError::Unacceptable { what: "the comment", .. })), "{refused:?}");
    assert_eq!(world.status(run.id).await, RunStatus::Pending);
}

pub async fn with_siblings_running_the_last_of_them_ends_the_run(backend: &Backend) {
    let journal = Journal::new();
    let gate = Arc::new(Gate::default());
    let side = |name: &'static str| {
        let gate = gate.clone();
        journal.slow_step(name, move |_, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(json!({}))
            }
        })
    };
    let siblings = workflow("siblings")
        .step(side("left"))
        .step(side("right"))
        .step(journal.step("join", done).after(["left", "right"]))
        .build()
        .unwrap();
    let world = backend.world([siblings]);
    let run = world.start_run("siblings", &nothing()).await.unwrap();
    let details = world
        .working(async {
            gate.arrived(2).await;
            world.cancel_run(run.id).await.unwrap();
            gate.open();
            world.rests(run.id).await
        })
        .await;
    assert_eq!(details.run.status, RunStatus::Cancelled);
    assert_eq!(states(&details), [StepState::Completed, StepState::Completed, StepState::Waiting]);
    assert!(journal.of("join").is_empty());
}

pub async fn a_cancellation_outlasts_a_worker_that_died(backend: &Backend) {
    let journal = Journal::new();
    let gate = Arc::new(Gate::default());
    let hold = gate.clone();
    let slow = workflow("slow")
        .step(journal.slow_step("one", move |_, _| {
            let gate = hold.clone();
            async move {
                gate.pass().await;
                Ok(json!({}))
            }
        }))
        .then("one", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world_with([slow], |builder| {
        builder.configure(|config| (config.lease, config.heartbeat) = (ms(300), ms(100)))
    });
    let run = world.start_run("slow", &nothing()).await.unwrap();
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let worker = tokio::spawn(async move { runner.deliver(claim).await });
    gate.arrived(1).await;
    worker.abort();
    assert_eq!(world.cancel_run(run.id).await.unwrap().status, RunStatus::Cancelling);
    let details = world.settle(run.id).await; // once the lease has run out, without any new delivery
    assert_eq!((details.run.status, attempts(&details, "one")), (RunStatus::Cancelled, vec!["failed"]));
    assert_eq!(journal.calls().len(), 1);
}

pub async fn an_actor_is_a_name_in_every_command(backend: &Backend) {
    let journal = Journal::new();
    let holding = workflow("holding")
        .step(Step::new("here", pause()))
        .step(Step::new("there", approval()))
        .then("here", "there")
        .then("there", COMPLETE)
        .on_error("there", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([holding, chain("chain", &journal, &["one"])]);
    let run = world.start_run("holding", &nothing()).await.unwrap().id;
    world.settle(run).await;
    let ended = world.start_run("chain", &nothing()).await.unwrap().id;
    world.settle(ended).await;
    let before = world.look(run).await;
    for (actor, empty) in [("", true), (" \t", true), ("a\0b", false)] {
        let accepted = |refused: Result<squidmesh_core::Run, CommandError>| match refused {
            Err(CommandError::Actor(InvalidActor::Missing)) => assert!(empty, "{actor:?}"),
            Err(CommandError::Actor(InvalidActor::Unacceptable(_))) => assert!(!empty, "{actor:?}"),
            other => panic!("{actor:?}: {other:?}"),
        };
        accepted(world.cancel_run(run).actor(actor).await);
        accepted(world.unblock_run(run).actor(actor).await);
        accepted(world.approve_run(run).actor(actor).await);
        accepted(world.reject_run(run).actor(actor).await);
        let replay = world.replay_run(ended).actor(actor).await;
        assert!(matches!(replay, Err(ReplayError::Actor(_))), "{replay:?}");
        let page = world.replay_runs(RunFilter::new().status(RunStatus::Completed)).actor(actor).await.unwrap();
        assert!(matches!(page.runs[0].outcome, BulkOutcome::Refused(_)), "{actor:?}");
    }
    assert_eq!(world.look(run).await, before);
}

pub async fn a_handler_is_notified_when_its_run_is_cancelled(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let hold = gate.clone();
    let step = journal.slow_step("one", move |_, context| {
        let gate = hold.clone();
        async move {
            let cancelled = context.cancellation.clone();
            let asked = tokio::spawn(async move { gate.pass().await });
            let reason = cancelled.cancelled().await;
            asked.abort();
            Ok(json!({ "reason": reason.to_string(), "heartbeat": context.heartbeat.beat().await.is_err() }))
        }
    });
    let slow = workflow("slow").step(step).then("one", COMPLETE).build().unwrap();
    let short = |builder: squidmesh_core::command::SquidmeshBuilder| {
        builder.configure(|config| (config.lease, config.heartbeat) = (ms(600), ms(200)))
    };
    let (world, other) = (backend.world_with([slow.clone()], short), backend.world_with([slow], short));
    for canceller in [&world, &other] {
        let run = world.start_run("slow", &nothing()).await.unwrap();
        let arrived = gate.count() + 1;
        let details = world
            .working(async {
                gate.arrived(arrived).await;
                assert_eq!(canceller.cancel_run(run.id).await.unwrap().status, RunStatus::Cancelling);
                world.rests(run.id).await
            })
            .await;
        assert_eq!(details.run.status, RunStatus::Cancelled);
        assert_eq!(details.context.get("reason"), Some(&json!("the run was cancelled")));
        assert_eq!(details.context.get("heartbeat"), Some(&json!(true)));
    }
}
