//! Every action that an explanation offers is accepted, and every other is refused.

use std::sync::Arc;

use serde_json::json;
use squidmesh_core::Timestamp;
use squidmesh_core::definition::Definition;
use squidmesh_core::dispatch::{Job, JobMetadata, Refusal};
use squidmesh_core::inspect::{NextAction, Subject, explain};
use squidmesh_core::port::RunHistory;
use squidmesh_core::run::{RunSnapshot, StepRun, StepStatus};
use squidmesh_core::testing::engine::{
    self, ApprovalDecision, Attribution, DecisionInputs, Limits, SentSignal, SignalReceipt, UnitOfWork,
};

const ACTIONS: [NextAction; 9] = [
    NextAction::Cancel,
    NextAction::Unblock,
    NextAction::Approve,
    NextAction::Reject,
    NextAction::Signal,
    NextAction::Replay,
    NextAction::ReplayAllowingIrreversible,
    NextAction::Resume,
    NextAction::ResumeAllowingIrreversible,
];

/// Accepts all jobs, as an executor that takes any queue.
pub(crate) fn accept(jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
    Ok(jobs.iter().map(Job::metadata).collect())
}

/// Tries every action on a copy of the run.
pub(crate) fn check(
    definition: &Arc<Definition>,
    state: &RunSnapshot,
    history: &RunHistory,
    now: Timestamp,
    mut inputs: impl FnMut() -> DecisionInputs,
) {
    let offered = explain(&Subject {
        state,
        definition: Some(definition),
        registered: true,
        replayable: true,
        newest: Some(definition),
        adoption: false,
        history,
        now,
    })
    .actions;
    for action in ACTIONS {
        let work = UnitOfWork::open(definition.clone(), state.clone(), inputs(), Limits::default());
        assert_eq!(
            accepted(work, definition, state, action),
            offered.contains(&action),
            "{action:?} of {offered:?}: {state:?}"
        );
    }
}

fn accepted(mut work: UnitOfWork, definition: &Definition, state: &RunSnapshot, action: NextAction) -> bool {
    let decided = Attribution::default();
    match action {
        NextAction::Cancel => engine::cancel(&mut work, decided).is_ok(),
        NextAction::Unblock => engine::unblock(&mut work, decided, &accept).is_ok(),
        NextAction::Approve => engine::decide(&mut work, ApprovalDecision::Approve, decided, &accept).is_ok(),
        NextAction::Reject => engine::decide(&mut work, ApprovalDecision::Reject, decided, &accept).is_ok(),
        NextAction::Signal => {
            let awaited = |step: &StepRun| step.continuation.as_ref()?.signal.clone();
            let Some(name) = state.in_status(StepStatus::Paused).find_map(awaited) else { return false };
            let (name, payload) = (name.to_string(), json!({ "n": 1 }));
            let sent = SentSignal { name, payload, dedup_key: None, attribution: decided };
            matches!(engine::signal(&mut work, &sent, &accept), Ok(SignalReceipt::Received { .. }))
        }
        NextAction::Replay => state.run.status.is_terminal() && engine::unsafe_to_replay(state).is_empty(),
        NextAction::ReplayAllowingIrreversible => {
            state.run.status.is_terminal() && !engine::unsafe_to_replay(state).is_empty()
        }
        NextAction::Resume => engine::resumption(state, definition).is_ok_and(|found| found.irreversible.is_empty()),
        NextAction::ResumeAllowingIrreversible => {
            engine::resumption(state, definition).is_ok_and(|found| !found.irreversible.is_empty())
        }
        other => panic!("an action that is not tried: {other:?}"),
    }
}
