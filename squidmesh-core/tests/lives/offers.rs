//! What an explanation offers is accepted, and what it does not offer is refused.

use squidmesh_core::engine::{self, Decided, Limits, UnitOfWork, Verdict};
use squidmesh_core::inspect::{NextAction, Subject, explain};
use squidmesh_core::testing::block_on;
use squidmesh_core::{RunState, StoreSession};

use crate::life::{Life, accept};

const ACTIONS: [NextAction; 8] = [
    NextAction::Cancel,
    NextAction::Unblock,
    NextAction::Approve,
    NextAction::Reject,
    NextAction::Replay,
    NextAction::ReplayAllowingIrreversible,
    NextAction::Resume,
    NextAction::ResumeAllowingIrreversible,
];

/// Takes every action on a copy of the run.
pub(crate) fn check(life: &mut Life) {
    let state = life.state();
    let history = block_on(life.store.history(life.run)).unwrap();
    let offered = explain(&Subject {
        state: &state,
        definition: Some(&life.definition),
        registered: true,
        replayable: true,
        newest: Some(&life.definition),
        adoption: false,
        history: &history,
        now: life.now(),
    })
    .actions;
    for action in ACTIONS {
        assert_eq!(accepted(life, &state, action), offered.contains(&action), "{action:?} of {offered:?}: {state:?}");
    }
}

fn accepted(life: &mut Life, state: &RunState, action: NextAction) -> bool {
    let moment = life.moment();
    let mut work = UnitOfWork::open(life.definition.clone(), state.clone(), moment, Limits::default());
    let decided = Decided::default();
    match action {
        NextAction::Cancel => engine::cancel(&mut work, decided).is_ok(),
        NextAction::Unblock => engine::unblock(&mut work, decided, &accept).is_ok(),
        NextAction::Approve => engine::decide(&mut work, Verdict::Approve, decided, &accept).is_ok(),
        NextAction::Reject => engine::decide(&mut work, Verdict::Reject, decided, &accept).is_ok(),
        NextAction::Replay => state.run.status.is_terminal() && engine::unsafe_to_replay(state).is_empty(),
        NextAction::ReplayAllowingIrreversible => {
            state.run.status.is_terminal() && !engine::unsafe_to_replay(state).is_empty()
        }
        NextAction::Resume => {
            engine::resumption(state, &life.definition).is_ok_and(|found| found.irreversible.is_empty())
        }
        NextAction::ResumeAllowingIrreversible => {
            engine::resumption(state, &life.definition).is_ok_and(|found| !found.irreversible.is_empty())
        }
        other => panic!("an action that is not tried: {other:?}"),
    }
}
