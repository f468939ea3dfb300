//! Why runs are where they are, and which actions are possible (SPEC 11).

use std::sync::Arc;

use serde_json::json;
use squidmesh_core::command::{CommandError, CommandRefused, DeliveryOutcome};
use squidmesh_core::definition::Target;
use squidmesh_core::dispatch::IntentKey;
use squidmesh_core::inspect::{EdgeKind, Evidence, Explanation, NextAction, Reason, StepState};
use squidmesh_core::port::{Commit, CommitOutcome, IntentWrite, StepWrite};
use squidmesh_core::run::{PausedContinuation, RunSnapshot, StepStatus};
use squidmesh_core::testing::sample;
use squidmesh_core::{
    COMPLETE, Retry, RunId, RunStatus, Signal, Step, StepError, Workflow, approval, hours, pause, wait, wait_for,
};

use super::{chain, done, nothing, workflow};
use crate::{Backend, Gate, Journal, World};

/// Starts a run and delivers its dispatched work by hand, so that no time passes.
async fn begun(world: &World, name: &str) -> RunId {
    let run = world.start_run(name, &nothing()).await.unwrap().id;
    deliver(world, run).await;
    run
}

async fn deliver(world: &World, run: RunId) {
    let details = world.look(run).await;
    let step = details.intents[0].key.target.step().expect("a step is dispatched");
    let payload = json!({"kind": "step", "v": 1, "run_id": run, "step": step}).to_string();
    let delivery = world.runner().perform(payload.as_bytes()).await.unwrap();
    assert!(matches!(delivery, DeliveryOutcome::Done { .. }), "{delivery:?}");
}

async fn explained(world: &World, run: RunId) -> Explanation {
    world.explain_run(run).await.unwrap()
}

fn about(explained: &Explanation) -> Option<&str> {
    explained.step.as_ref().map(|step| step.as_str())
}

pub async fn a_run_that_advances_by_itself_explains_what_it_waits_for(backend: &Backend) {
    let journal = Journal::new();
    let flaky = workflow("flaky")
        .step(journal.step("one", |_| Err(StepError::retryable("busy"))).retry(Retry::fixed(3, hours(1))))
        .then("one", COMPLETE)
        .build()
        .unwrap();
    let waiting = workflow("waiting")
        .step(journal.step("one", done))
        .step(Step::new("rest", wait(hours(2))))
        .then("one", "rest")
        .then("rest", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([flaky, waiting, chain("chain", &journal, &["one", "two"])]);

    let pending = world.start_run("chain", &nothing()).await.unwrap();
    let explanation = explained(&world, pending.id).await;
    assert_eq!(
        (explanation.reason, about(&explanation), explanation.attempt),
        (Reason::PendingDispatch, Some("one"), Some(1))
    );
    assert_eq!(explanation.actions, [NextAction::Cancel]);
    world.cancel_run(pending.id).await.unwrap();

    let retrying = begun(&world, "flaky").await;
    let explanation = explained(&world, retrying).await;
    assert_eq!(
        (explanation.reason, about(&explanation), explanation.attempt),
        (Reason::WaitingForRetry, Some("one"), Some(2))
    );
    assert_eq!(explanation.failure.as_ref().unwrap().message, "busy");
    let run = world.look(retrying).await.run;
    assert!(explanation.at.unwrap().since(run.created_at) >= hours(1), "when the next attempt is");

    let resting = begun(&world, "waiting").await;
    let explanation = explained(&world, resting).await;
    assert_eq!((explanation.reason, about(&explanation)), (Reason::WaitingForTimer, Some("rest")));

    let outsider = backend.world([]);
    let explanation = explained(&outsider, resting).await;
    assert_eq!((explanation.reason, explanation.actions), (Reason::WaitingForDefinition, vec![NextAction::Cancel]));
}

pub async fn a_running_step_is_explained_and_so_is_its_cancellation(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let hold = gate.clone();
    let slow = workflow("slow")
        .step(journal.slow_step("one", move |_, _| {
            let gate = hold.clone();
            async move {
                gate.pass().await;
                Ok(json!({}))
            }
        }))
        .step(journal.step("two", done).after(["one"]))
        .build()
        .unwrap();
    let world = backend.world([slow]);
    let run = world.start_run("slow", &nothing()).await.unwrap();
    world
        .working(async {
            gate.arrived(1).await;
            let explanation = explained(&world, run.id).await;
            assert_eq!(
                (explanation.reason, about(&explanation), explanation.attempt),
                (Reason::StepRunning, Some("one"), Some(1))
            );
            assert!(explanation.evidence.iter().any(|found| matches!(found, Evidence::Attempt { number: 1, .. })));
            world.cancel_run(run.id).await.unwrap();
            let explanation = explained(&world, run.id).await;
            assert_eq!(
                (explanation.reason, about(&explanation), explanation.actions.len()),
                (Reason::Cancelling, Some("one"), 0)
            );
            gate.open();
            world.rests(run.id).await;
        })
        .await;
    let explanation = explained(&world, run.id).await;
    assert_eq!((explanation.reason, explanation.actions), (Reason::Cancelled, vec![NextAction::Replay]));
}

pub async fn a_paused_run_says_who_has_to_do_what(backend: &Backend) {
    let held = workflow("held")
        .step(Step::new("hold", pause()))
        .step(Step::new("ask", approval().deadline(hours(9))))
        .then("hold", "ask")
        .then("ask", COMPLETE)
        .on_error("ask", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([held]);
    let run = begun(&world, "held").await;
    let explanation = explained(&world, run).await;
    assert_eq!((explanation.reason, about(&explanation)), (Reason::PausedForManualAction, Some("hold")));
    assert_eq!(explanation.actions, [NextAction::Unblock, NextAction::Cancel]);
    world.unblock_run(run).await.unwrap();
    let explanation = explained(&world, run).await;
    assert_eq!((explanation.reason, about(&explanation)), (Reason::StepScheduled, Some("ask")));
    assert_eq!(explanation.actions, [NextAction::Cancel]);
    deliver(&world, run).await;
    let explanation = explained(&world, run).await;
    assert_eq!((explanation.reason, about(&explanation)), (Reason::PausedForApproval, Some("ask")));
    assert_eq!(explanation.actions, [NextAction::Approve, NextAction::Reject, NextAction::Cancel]);
    assert!(explanation.at.is_some(), "until when");
    assert!(explanation.evidence.iter().any(|found| matches!(found, Evidence::Intent(_))));
    world.approve_run(run).actor("ada").await.unwrap();
    let explanation = explained(&world, run).await;
    assert_eq!((explanation.reason, explanation.actions), (Reason::Completed, vec![NextAction::Replay]));
}

/// Stores a state of a run that no command leads to, as a defect or a manual change of the database might.
async fn plant(backend: &Backend, id: RunId, change: impl FnOnce(&mut Commit, RunSnapshot)) {
    let store = backend.store();
    let state = store.load(id).await.unwrap().unwrap();
    let mut commit = sample::next(&state.run);
    change(&mut commit, state);
    assert_eq!(store.commit(vec![commit]).await.unwrap().remove(0).unwrap(), CommitOutcome::Committed);
}

/// Stores the paused step `here` with another continuation.
async fn plant_resume(
    backend: &Backend,
    id: RunId,
    change: impl FnOnce(PausedContinuation) -> Option<PausedContinuation>,
) {
    plant(backend, id, |commit, mut state| {
        let mut step = state.steps.remove("here").unwrap();
        step.continuation = change(step.continuation.take().unwrap());
        commit.steps.push(StepWrite::Update(step));
    })
    .await;
}

/// `here` waits for a decision or pauses → `yes`.
fn stopping(journal: &Arc<Journal>, name: &str) -> Workflow {
    let here = if name == "asking" { Step::new("here", approval()) } else { Step::new("here", pause()) };
    let built = workflow(name).step(here).step(journal.step("yes", done)).then("here", "yes").then("yes", COMPLETE);
    if name == "asking" { built.on_error("here", COMPLETE).build().unwrap() } else { built.build().unwrap() }
}

pub async fn a_paused_run_without_a_way_on_says_so_and_can_be_cancelled(backend: &Backend) {
    let world = backend.world([stopping(&Journal::new(), "asking"), stopping(&Journal::new(), "holding")]);
    for name in ["asking", "holding"] {
        let run = begun(&world, name).await;
        plant_resume(backend, run, |_| None).await;
        let explanation = explained(&world, run).await;
        assert_eq!((explanation.reason, about(&explanation)), (Reason::PausedWithMissingResumeMetadata, Some("here")));
        assert_eq!(explanation.actions, [NextAction::Cancel]);
        for refused in [world.approve_run(run).actor("ada").await, world.unblock_run(run).await] {
            assert!(
                matches!(
                    refused,
                    Err(CommandError::Refused(
                        CommandRefused::MissingContinuation { .. } | CommandRefused::InvalidTarget { .. }
                    ))
                ),
                "{refused:?}"
            );
        }
        assert_eq!(world.cancel_run(run).await.unwrap().status, RunStatus::Cancelled);
    }
}

pub async fn a_paused_run_whose_target_is_gone_offers_what_is_left(backend: &Backend) {
    let gone = || Target::Step(sample::step_name("gone"));
    let world = backend.world([stopping(&Journal::new(), "asking"), stopping(&Journal::new(), "holding")]);
    for (name, left) in
        [("asking", vec![NextAction::Reject, NextAction::Cancel]), ("holding", vec![NextAction::Cancel])]
    {
        let run = begun(&world, name).await;
        plant_resume(backend, run, |resume| Some(PausedContinuation { ok: gone(), ..resume })).await;
        let explanation = explained(&world, run).await;
        assert_eq!(
            (explanation.reason, explanation.actions),
            (Reason::PausedWithInvalidResumeTarget, left.clone()),
            "{name}"
        );
        for action in ACTIONS {
            if !left.contains(&action) {
                assert!(!take(&world, run, action).await, "{name}: {action:?}");
            }
        }
        assert!(take(&world, run, left[0]).await, "{name}");
    }
}

pub async fn a_paused_run_of_an_unknown_version_offers_nothing(backend: &Backend) {
    let world = backend.world([stopping(&Journal::new(), "asking")]);
    let run = begun(&world, "asking").await;
    plant(backend, run, |commit, _| commit.run.fingerprint = sample::unknown_fingerprint()).await;
    let explanation = explained(&world, run).await;
    assert_eq!((explanation.reason, about(&explanation)), (Reason::PausedWithUnavailableWorkflow, Some("here")));
    assert_eq!(explanation.actions, []);
    for action in ACTIONS {
        assert!(!take(&world, run, action).await, "{action:?}");
    }
}

pub async fn a_run_without_dispatches_explains_what_its_steps_wait_for(backend: &Backend) {
    let journal = Journal::new();
    let joined = workflow("joined")
        .step(journal.step("left", done))
        .step(journal.step("right", done))
        .step(journal.step("join", done).after(["left", "right"]))
        .build()
        .unwrap();
    let world = backend.world([joined]);
    let run = world.start_run("joined", &nothing()).await.unwrap().id;
    plant(backend, run, |commit, mut state| {
        commit.run.status = RunStatus::Running;
        for (name, status) in [("left", StepStatus::Completed), ("right", StepStatus::Cancelled)] {
            let mut step = state.steps.remove(name).unwrap();
            step.status = status;
            commit.steps.push(StepWrite::Update(step));
            commit.intents.push(IntentWrite::Remove(IntentKey::step(run, sample::step_name(name))));
        }
    })
    .await;
    let explanation = explained(&world, run).await;
    assert_eq!((explanation.reason, explanation.actions), (Reason::WaitingForDependencies, vec![NextAction::Cancel]));
    let waits: Vec<_> = explanation.waits_for.iter().map(|wait| (wait.step.as_str(), wait.state)).collect();
    assert_eq!(waits, [("right", StepState::Cancelled)]);
}

pub async fn a_failed_run_explains_why_and_whether_retrying_may_help(backend: &Backend) {
    let journal = Journal::new();
    let failing = |name: &str, retryable: bool| {
        let answer = move |_: &crate::Call| match retryable {
            true => Err(StepError::retryable("busy")),
            false => Err(StepError::terminal("never")),
        };
        let only = journal.step("only", answer).retry(Retry::fixed(2, squidmesh_core::ms(1)));
        workflow(name).step(only).then("only", COMPLETE).build().unwrap()
    };
    let world = backend.world([failing("tired", true), failing("fatal", false)]);
    for (name, reason) in [("tired", Reason::RetryExhausted), ("fatal", Reason::StepFailed)] {
        let run = world.start_run(name, &nothing()).await.unwrap();
        world.settle(run.id).await;
        let explanation = explained(&world, run.id).await;
        assert_eq!(
            (explanation.reason, about(&explanation), explanation.status),
            (reason, Some("only"), RunStatus::Failed)
        );
        assert_eq!(explanation.failure, world.look(run.id).await.run.last_error);
        assert_eq!(explanation.actions, [NextAction::Replay, NextAction::Resume]);
    }
}

/// Takes an action; returns whether it was accepted.
async fn take(world: &World, run: RunId, action: NextAction) -> bool {
    match action {
        NextAction::Cancel => world.cancel_run(run).await.is_ok(),
        NextAction::Unblock => world.unblock_run(run).await.is_ok(),
        NextAction::Approve => world.approve_run(run).actor("ada").await.is_ok(),
        NextAction::Reject => world.reject_run(run).actor("ada").await.is_ok(),
        NextAction::Signal => world.signal_run(run, "money", &()).await.is_ok(),
        NextAction::Replay => world.replay_run(run).await.is_ok(),
        NextAction::ReplayAllowingIrreversible => world.replay_run(run).allow_irreversible().await.is_ok(),
        NextAction::Resume => world.resume_run(run).await.is_ok(),
        NextAction::ResumeAllowingIrreversible => world.resume_run(run).allow_irreversible().await.is_ok(),
        other => panic!("an action that this scenario does not know: {other:?}"),
    }
}

const ACTIONS: [NextAction; 7] = [
    NextAction::Cancel,
    NextAction::Unblock,
    NextAction::Approve,
    NextAction::Reject,
    NextAction::Signal,
    NextAction::Replay,
    NextAction::Resume,
];

pub async fn every_action_that_is_offered_succeeds_and_no_other_does(backend: &Backend) {
    let journal = Journal::new();
    let asking = |name: &str, step: Step| {
        let built = workflow(name).step(step).step(journal.step("yes", done)).then("here", "yes").then("yes", COMPLETE);
        let built = if name == "listening" { built.signal(Signal::new("money")) } else { built };
        if name == "asking" { built.on_error("here", COMPLETE).build().unwrap() } else { built.build().unwrap() }
    };
    let failing = |name: &str, irreversible: bool| {
        let only = journal.step("only", |_| Err(StepError::terminal("no")));
        let only = if irreversible { only.irreversible() } else { only };
        workflow(name).step(only).then("only", COMPLETE).build().unwrap()
    };
    let workflows: Vec<Workflow> = vec![
        asking("asking", Step::new("here", approval())),
        asking("holding", Step::new("here", pause())),
        asking("listening", Step::new("here", wait_for("money"))),
        failing("failing", false),
        failing("risky", true),
        chain("chain", &journal, &["only"]),
    ];
    let world = backend.world(workflows);
    for name in ["asking", "holding", "listening", "failing", "risky", "chain"] {
        let offered = explained(&world, begun(&world, name).await).await.actions;
        for action in ACTIONS {
            let run = begun(&world, name).await;
            assert_eq!(take(&world, run, action).await, offered.contains(&action), "{name}: {action:?} of {offered:?}");
        }
        for action in offered.iter().filter(|action| !ACTIONS.contains(action)) {
            assert!(take(&world, begun(&world, name).await, *action).await, "{name}: {action:?}");
        }
    }
    let pending = world.start_run("chain", &nothing()).await.unwrap().id;
    let offered = explained(&world, pending).await.actions;
    for action in ACTIONS.into_iter().rev() {
        assert_eq!(take(&world, pending, action).await, offered.contains(&action), "pending: {action:?}");
    }
}

pub async fn a_graph_shows_the_states_and_the_path_that_was_taken(backend: &Backend) {
    let journal = Journal::new();
    let routed = workflow("routed")
        .step(journal.step("one", |_| Err(StepError::terminal("no"))))
        .step(journal.step("two", done))
        .step(journal.step("rescue", done))
        .then("one", "two")
        .on_error("one", "rescue")
        .then("two", COMPLETE)
        .then("rescue", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([routed]);
    let run = world.start_run("routed", &nothing()).await.unwrap();
    world.settle(run.id).await;
    let graph = world.graph(run.id).await.unwrap();
    let nodes: Vec<_> = graph.nodes.iter().map(|node| (node.step.as_str(), node.state.as_str())).collect();
    assert_eq!(nodes, [("one", "failed"), ("two", "waiting"), ("rescue", "completed")]);
    let taken: Vec<_> =
        graph.edges.iter().filter(|edge| edge.taken).map(|edge| (edge.from.as_str(), edge.kind)).collect();
    assert_eq!(taken, [("one", EdgeKind::Error), ("rescue", EdgeKind::Ok)]);
    assert!(graph.to_mermaid().starts_with("flowchart") && graph.to_dot().starts_with("digraph"));
}

pub async fn an_id_that_is_unknown_or_malformed_is_a_typed_error(backend: &Backend) {
    let world = backend.world([]);
    let unknown = RunId::from_uuid(uuid::Uuid::nil());
    assert!(matches!(world.explain_run(unknown).await, Err(CommandError::NotFound(found)) if found.run == unknown));
    assert!(matches!(world.graph(unknown).await, Err(CommandError::NotFound(_))));
    assert!(matches!(world.inspect_run(unknown).await, Err(CommandError::NotFound(_))));
    assert!("not-an-id".parse::<RunId>().is_err());
}

pub async fn a_waiting_join_names_what_it_waits_for_and_its_state(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let hold = gate.clone();
    let joined = workflow("joined")
        .step(journal.step("left", done))
        .step(
            journal
                .slow_step("right", move |call, _| {
                    let gate = hold.clone();
                    async move {
                        if call.attempt == 1 {
                            return Err(StepError::retryable("busy"));
                        }
                        gate.pass().await;
                        Ok(json!({}))
                    }
                })
                .retry(Retry::fixed(2, squidmesh_core::ms(300))),
        )
        .step(journal.step("end", done).after(["left", "right"]))
        .build()
        .unwrap();
    let world = backend.world([joined]);
    let run = world.start_run("joined", &nothing()).await.unwrap().id;
    let waits = |explanation: &Explanation| -> Vec<_> {
        explanation.waits_for.iter().map(|wait| (wait.step.to_string(), wait.state)).collect()
    };
    let by_hand = async |step: &str| {
        let payload = json!({"kind": "step", "v": 1, "run_id": run, "step": step}).to_string();
        world.runner().perform(payload.as_bytes()).await.unwrap();
    };
    let explanation = explained(&world, run).await;
    assert_eq!(explanation.reason, Reason::PendingDispatch);
    assert_eq!(
        waits(&explanation),
        [("left".to_owned(), StepState::Pending), ("right".to_owned(), StepState::Pending)]
    );
    by_hand("left").await;
    let explanation = explained(&world, run).await;
    assert_eq!((explanation.reason, about(&explanation)), (Reason::WaitingForDependencies, Some("end")));
    assert_eq!(waits(&explanation), [("right".to_owned(), StepState::Pending)]);
    assert_eq!(explanation.actions, [NextAction::Cancel]);
    by_hand("right").await;
    let explanation = explained(&world, run).await;
    assert_eq!((explanation.reason, about(&explanation)), (Reason::WaitingForDependencies, Some("end")));
    assert_eq!(explanation.failure.as_ref().unwrap().message, "busy");
    assert!(explanation.at.is_some(), "when the step that is waited for is tried again");
    world
        .working(async {
            gate.arrived(1).await;
            let explanation = explained(&world, run).await;
            assert_eq!((explanation.reason, about(&explanation)), (Reason::WaitingForDependencies, Some("end")));
            assert_eq!(waits(&explanation), [("right".to_owned(), StepState::Running)]);
            gate.open();
            world.rests(run).await;
        })
        .await;
    assert!(explained(&world, run).await.waits_for.is_empty());
}
