//! The rules, checked after each commit and at the end of a run.

use std::collections::{BTreeMap, BTreeSet};

use squidmesh_core::RunStatus;
use squidmesh_core::definition::{Definition, Shape, StepName};
use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::port::{Commit, IntentWrite, RunHistory};
use squidmesh_core::run::{AttemptStatus, AuditKind, CompensationStatus, RunSnapshot, StepRun, StepStatus};

/// The part of a run that later checks need.
#[derive(Default)]
pub(crate) struct Past {
    /// The steps whose compensation has begun, in the order in which they first began, with their sequence numbers.
    compensations: Vec<(StepName, u64)>,
    /// The decision about each paused step.
    decisions: BTreeMap<StepName, AuditKind>,
    /// The steps that this run was given as completed.
    given: BTreeSet<StepName>,
    cancelled: bool,
}

impl Past {
    /// Checks an applied commit.
    pub(crate) fn check(
        &mut self,
        definition: &Definition,
        before: Option<&RunSnapshot>,
        state: &RunSnapshot,
        commit: &Commit,
        events: &[Event],
        history: &RunHistory,
    ) {
        if before.is_none() {
            self.given = state.in_status(StepStatus::Completed).map(|run| run.step.clone()).collect();
        }
        check_status(before, state, events);
        self.check_starts(before, commit, events);
        check_attempts(state, history);
        check_intents(state, history);
        check_created(definition, before, state);
        self.check_compensations(state, events);
        self.check_decisions(commit);
        check_signals(before, state);
        check_events(state, commit, events, history);
        if state.run.status == RunStatus::Failed {
            assert!(state.run.last_error.is_some(), "a failed run says why");
        }
        if state.run.status == RunStatus::Completed && definition.shape() == Shape::Dependencies {
            let done = state.in_status(StepStatus::Completed).count();
            assert_eq!(done, definition.steps().len(), "a completed dependency run has done everything");
        }
        let sequences: Vec<_> = state.steps.values().filter_map(|run| run.sequence).collect();
        assert_eq!(
            sequences.iter().collect::<BTreeSet<_>>().len(),
            sequences.len(),
            "the order of completion is total"
        );
    }

    /// Checks that no step starts in a run that is paused, being cancelled or over, and that no given step is
    /// executed again.
    fn check_starts(&mut self, before: Option<&RunSnapshot>, commit: &Commit, events: &[Event]) {
        let started: Vec<_> = events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::StepStarted { step, .. } => Some(step),
                _ => None,
            })
            .collect();
        let dispatched = commit.intents.iter().any(|write| match write {
            // A deadline, or a delivery that is rescheduled, replaces its intent.
            IntentWrite::Add(intent) => intent.key.target.step().is_some(),
            IntentWrite::Replace(_) | IntentWrite::Remove(_) | IntentWrite::Repin { .. } => false,
        });
        if let Some(before) = before {
            let status = before.run.status;
            let may = status.may_schedule() || status == RunStatus::Paused;
            assert!(may || (!dispatched && started.is_empty()), "{status} starts something");
        }
        assert!(!self.cancelled || started.is_empty(), "something starts after a confirmed cancellation");
        self.cancelled |= matches!(commit.run.status, RunStatus::Cancelling | RunStatus::Cancelled);
        assert!(started.iter().all(|step| !self.given.contains(*step)), "what was given is done again: {started:?}");
    }

    /// Checks that one callback runs at a time, each step once, the last to complete first.
    fn check_compensations(&mut self, state: &RunSnapshot, events: &[Event]) {
        for event in events {
            let EventKind::CompensationStarted { step, .. } = &event.kind else { continue };
            assert_eq!(state.run.status, RunStatus::Failed);
            let sequence = state.steps[step].sequence.expect("only what completed is compensated");
            match self.compensations.last() {
                Some((last, _)) if last == step => {}
                Some((last, place)) => {
                    assert!(sequence < *place, "{step} is compensated after {last}, which completed before it");
                    let ended = state.steps[last].compensation.as_ref().unwrap().finished_at.is_some();
                    assert!(ended, "{step} overtakes {last}");
                    self.compensations.push((step.clone(), sequence));
                }
                None => self.compensations.push((step.clone(), sequence)),
            }
            let running = state.in_status(StepStatus::Running).count();
            assert_eq!(running, 0, "nothing is compensated while a sibling runs");
        }
        let open = state.steps.values().filter(|run| compensating(run)).count();
        assert!(open <= 1, "one callback at a time");
    }

    /// Checks that each waiting step is decided once.
    fn check_decisions(&mut self, commit: &Commit) {
        for entry in &commit.audit {
            let decided = matches!(
                entry.kind,
                AuditKind::Approved | AuditKind::Rejected | AuditKind::Expired | AuditKind::Unblocked
            );
            if let (true, Some(step)) = (decided, &entry.step) {
                let before = self.decisions.insert(step.clone(), entry.kind);
                assert_eq!(before, None, "{step} was decided before");
            }
        }
    }

    /// Checks a run that is over.
    pub(crate) fn check_end(&self, state: &RunSnapshot, history: &RunHistory) {
        assert!(history.intents.is_empty(), "nothing is left to deliver: {:?}", history.intents);
        let open = state.steps.values().filter(|run| {
            matches!(run.status, StepStatus::Pending | StepStatus::Running | StepStatus::Paused) || compensating(run)
        });
        assert_eq!(open.count(), 0, "nothing is left open: {state:?}");
        assert!(history.attempts.iter().all(|attempt| attempt.status != AttemptStatus::Running));
        for run in state.steps.values() {
            let owed = state.run.status == RunStatus::Failed
                && run.status == StepStatus::Completed
                && run.recovery.compensated_by_handler;
            let ended = run.compensation.as_ref().is_some_and(|found| found.finished_at.is_some());
            assert_eq!(ended, owed, "the compensation of {}", run.step);
        }
    }

    pub(crate) fn expired(&self) -> usize {
        self.decisions.values().filter(|kind| **kind == AuditKind::Expired).count()
    }

    pub(crate) fn compensated(&self) -> usize {
        self.compensations.len()
    }
}

fn compensating(run: &StepRun) -> bool {
    run.compensation.as_ref().is_some_and(|found| found.status == CompensationStatus::Running)
}

/// Checks that the status changes as the life cycle allows, that events report each change, and that the end is
/// final.
fn check_status(before: Option<&RunSnapshot>, state: &RunSnapshot, events: &[Event]) {
    let mut status = before.map_or(RunStatus::Pending, |before| before.run.status);
    if status.is_terminal() {
        assert_eq!(state.run.status, status, "the end is final");
    }
    for event in events {
        if let EventKind::RunTransition { from, to, .. } = &event.kind {
            assert_eq!(status, *from);
            status = from.transition(*to).expect("a legal move");
        }
    }
    assert_eq!(status, state.run.status, "every transition is reported");
}

/// Checks that attempts are numbered 1, 2, … and that only the last may be open.
fn check_attempts(state: &RunSnapshot, history: &RunHistory) {
    for run in state.steps.values() {
        let tries = history.attempts_of(run);
        assert_eq!(tries.len(), run.attempt as usize, "the attempts of {}", run.step);
        for (place, attempt) in tries.into_iter().enumerate() {
            assert_eq!(attempt.number as usize, place + 1, "attempts of {} without gaps", run.step);
            let open = attempt.number == run.attempt && matches!(run.status, StepStatus::Running | StepStatus::Paused);
            assert_eq!(attempt.status == AttemptStatus::Running, open, "attempt {} of {}", attempt.number, run.step);
        }
    }
}

/// Checks that exactly these are dispatched: pending and running steps, and paused steps with a deadline.
fn check_intents(state: &RunSnapshot, history: &RunHistory) {
    let wanted: BTreeSet<&StepName> = state
        .steps
        .values()
        .filter(|run| match run.status {
            StepStatus::Pending | StepStatus::Running => true,
            StepStatus::Paused => run.continuation.as_ref().is_some_and(|continuation| continuation.expired.is_some()),
            _ => false,
        })
        .map(|run| &run.step)
        .collect();
    let found: BTreeSet<&StepName> = history.intents.iter().filter_map(|intent| intent.key.target.step()).collect();
    assert_eq!(found, wanted, "in a {} run", state.run.status);
    let compensation = history.intents.iter().any(|intent| intent.key.target.step().is_none());
    assert!(!compensation || state.run.status == RunStatus::Failed, "only a failed run is compensated");
}

/// Checks that signals stay in the order in which they came, each until a step takes it, the oldest first; and that no
/// step waits for one that has come.
fn check_signals(before: Option<&RunSnapshot>, state: &RunSnapshot) {
    let known = before.map_or(&[][..], |before| &before.signals);
    assert!(known.len() <= state.signals.len(), "a signal is lost");
    for (old, new) in known.iter().zip(&state.signals) {
        assert_eq!((&old.name, &old.dedup_key, old.at), (&new.name, &new.dedup_key, new.at));
        assert!(old == new || (old.is_buffered() && !new.is_buffered()), "{old:?} became {new:?}");
    }
    let mut left = BTreeSet::new();
    for signal in &state.signals {
        assert_eq!(signal.payload.is_some(), signal.is_buffered());
        if signal.is_buffered() {
            left.insert(&signal.name);
        } else {
            assert!(!left.contains(&signal.name), "the oldest is taken first: {:?}", state.signals);
        }
    }
    let awaited = |run: &StepRun| run.continuation.as_ref().and_then(|stored| stored.signal.clone());
    let mut waiting = state.in_status(StepStatus::Paused).filter_map(awaited);
    assert!(waiting.all(|name| !left.contains(&name)), "a step waits for what has come: {state:?}");
}

/// Checks that a step is scheduled once, after all of its dependencies, and as soon as they are completed: a join
/// happens once.
fn check_created(definition: &Definition, before: Option<&RunSnapshot>, state: &RunSnapshot) {
    let done = |step: &StepName| state.steps.get(step).is_some_and(|run| run.status == StepStatus::Completed);
    if let Some(before) = before {
        for step in state.steps.keys().filter(|step| !before.steps.contains_key(*step)) {
            let declared = definition.step(step.as_str()).expect("a declared step");
            assert!(declared.after.iter().all(done), "{step} is scheduled before its dependencies have completed");
        }
        assert!(before.steps.keys().all(|step| state.steps.contains_key(step)), "no step run vanishes");
        for run in before.steps.values().filter(|run| run.status == StepStatus::Completed) {
            let after = &state.steps[&run.step];
            assert_eq!((after.status, &after.output), (run.status, &run.output), "{} has ended", run.step);
        }
    }
    if definition.shape() == Shape::Dependencies && state.run.status.may_schedule() {
        for declared in definition.steps() {
            let runnable = declared.after.iter().all(done);
            let scheduled = state.steps.contains_key(&declared.name);
            assert_eq!(scheduled, runnable, "{} is scheduled when it can run", declared.name);
        }
    }
    if let (Shape::Transitions, RunStatus::Running, Some(current)) =
        (definition.shape(), state.run.status, &state.run.current_step)
    {
        let open = state
            .steps
            .values()
            .filter(|run| matches!(run.status, StepStatus::Pending | StepStatus::Running | StepStatus::Paused));
        assert_eq!(open.map(|run| &run.step).collect::<Vec<_>>(), [current], "one step at a time");
    }
}

/// Checks that events report what was committed.
fn check_events(state: &RunSnapshot, commit: &Commit, events: &[Event], history: &RunHistory) {
    let attempt = |step: &StepName, number: u32| {
        let mut attempts = history.attempts_of(&state.steps[step]).into_iter();
        attempts.find(|attempt| attempt.number == number).map(|attempt| attempt.status)
    };
    let callback = |step: &StepName| state.steps[step].compensation.as_ref().map(|found| found.status);
    for event in events {
        assert_eq!(
            (event.run_id, event.status),
            (state.run.id, state.run.status),
            "an event is of the run as it is now"
        );
        match &event.kind {
            EventKind::StepStarted { step, attempt: number } => assert!(attempt(step, *number).is_some()),
            EventKind::StepCompleted { step, attempt: number, .. } => {
                assert_eq!(attempt(step, *number), Some(AttemptStatus::Completed));
                assert_eq!(state.steps[step].status, StepStatus::Completed);
            }
            EventKind::StepFailed { step, attempt: number, .. } => {
                assert_eq!(attempt(step, *number), Some(AttemptStatus::Failed));
            }
            EventKind::CompensationCompleted { step, .. } => {
                assert_eq!(callback(step), Some(CompensationStatus::Completed))
            }
            EventKind::CompensationFailed { step, .. } => assert_eq!(callback(step), Some(CompensationStatus::Failed)),
            EventKind::CompensationRetryScheduled { step, .. } => {
                assert_eq!(callback(step), Some(CompensationStatus::Pending));
            }
            EventKind::Audited { kind, step, .. } => {
                assert!(commit.audit.iter().any(|entry| entry.kind == *kind && entry.step == *step));
                assert!(history.audit.iter().any(|entry| entry.kind == *kind && entry.step == *step));
            }
            EventKind::RunDispatched { metadata } => {
                let written = commit.intents.iter().any(|write| match write {
                    IntentWrite::Add(intent) | IntentWrite::Replace(intent) => {
                        intent.key.to_string() == metadata.job_id
                    }
                    // It was executed in the very change that dispatched it.
                    IntentWrite::Remove(key) => key.to_string() == metadata.job_id,
                    IntentWrite::Repin { .. } => false,
                });
                assert!(written, "{} was reported and not dispatched", metadata.job_id);
            }
            _ => {}
        }
    }
    for write in &commit.steps {
        let step = write.step();
        assert_eq!(state.steps.get(&step.step), Some(step));
    }
}
