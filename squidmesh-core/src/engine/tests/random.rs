//! Random workflows under random commands: whatever happens, in whatever order, the rules of a run's life hold.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::rig::{Rig, completed, failed, failed_for_now, name, step, workflow};
use crate::engine::{
    Begin, BeginCompensation, CompensationTask, Decided, Decision, Outcome, StepTask, Verdict, decide, dispatch_run,
    unblock,
};
use crate::{
    AttemptStatus, COMPLETE, Compensation, DispatchOptions, EventKind, Lease, Retry, RunState, RunStatus, Shape, Step,
    StepContext, StepName, StepResult, StepStatus, Workflow, approval, ms, pause, wait,
};

/// How many commands a case has at most; then the run is carried to its end.
const COMMANDS: usize = 60;

async fn undo(_: Compensation, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn step_name(place: usize) -> String {
    format!("s{place}")
}

/// Steps that each depend on some of those before them.
fn dependencies() -> impl Strategy<Value = Workflow> {
    let steps = prop::collection::vec((any::<u8>(), 1..4_u32, any::<bool>()), 1..7);
    steps.prop_map(|steps| {
        let declared = steps.iter().enumerate().fold(workflow(), |builder, (place, (after, attempts, undone))| {
            let mut declared = step(&step_name(place)).retry(Retry::fixed(*attempts, ms(1)));
            let after: Vec<_> = (0..place).filter(|bit| after & (1 << bit) != 0).map(step_name).collect();
            if !after.is_empty() {
                declared = declared.after(after);
            }
            builder.step(if *undone { declared.compensate(undo) } else { declared })
        });
        declared.build().expect("a valid workflow")
    })
}

/// A chain of steps of every kind, with error routes that skip steps.
fn transitions() -> impl Strategy<Value = Workflow> {
    let steps = prop::collection::vec((0..10_u8, 1..4_u32, any::<bool>(), prop::option::of(any::<usize>())), 1..7);
    steps.prop_map(|steps| {
        let count = steps.len();
        let mut builder = workflow();
        for (place, (kind, attempts, undone, error)) in steps.into_iter().enumerate() {
            let here = step_name(place);
            builder = builder.step(match kind {
                0 => Step::new(&here, wait(ms(5))),
                1 => Step::new(&here, pause()),
                2 => Step::new(&here, approval()),
                _ if undone => step(&here).retry(Retry::fixed(attempts, ms(1))).compensate(undo),
                _ => step(&here).retry(Retry::fixed(attempts, ms(1))),
            });
            builder = if place + 1 < count {
                builder.then(&here, step_name(place + 1))
            } else {
                builder.then(&here, COMPLETE)
            };
            let takes_errors = !matches!(kind, 0 | 1);
            builder = match error.map(|place| place % (count + 1)) {
                Some(to) if to > place && to < count && takes_errors => builder.on_error(&here, step_name(to)),
                Some(_) if takes_errors => builder.on_error(&here, COMPLETE),
                None if kind == 2 => builder.on_error(&here, COMPLETE),
                _ => builder,
            };
        }
        builder.build().expect("a valid workflow")
    })
}

/// The run, and the workers that hold something of it.
struct Trial {
    rig: Rig,
    tasks: Vec<StepTask>,
    callbacks: Vec<CompensationTask>,
}

impl Trial {
    fn command(&mut self, op: u8, pick: usize, variant: u8) {
        match op {
            0..=3 => self.deliver(pick, variant.is_multiple_of(8)),
            4..=7 if !self.tasks.is_empty() => {
                let task = self.tasks.swap_remove(pick % self.tasks.len());
                self.record(&task, outcome(variant), !variant.is_multiple_of(3));
                if variant.is_multiple_of(5) {
                    self.record(&task, outcome(variant / 5), false); // a duplicate, and perhaps a contradiction
                }
            }
            8 if variant.is_multiple_of(6) => {
                let before = self.rig.state.clone();
                if let Ok(told) = self.rig.cancel() {
                    self.check(&before, &told.decision);
                }
            }
            9 => self.decide(variant),
            10 => {
                let before = self.rig.state.clone();
                let told = self.rig.decide(|work, jobs| dispatch_run(work, &DispatchOptions::new(), jobs));
                if let Ok(told) = told {
                    self.check(&before, &told.decision);
                }
            }
            11 if !self.callbacks.is_empty() => {
                let task = self.callbacks.swap_remove(pick % self.callbacks.len());
                let result = if variant.is_multiple_of(2) { completed(Value::Null) } else { failed() };
                let before = self.rig.state.clone();
                let told = self.rig.record_compensation(&task, result);
                self.check(&before, &told.decision);
            }
            _ => {}
        }
    }

    /// Delivers something that is dispatched: with `stale`, even what a worker holds, as if its lease had run out.
    fn deliver(&mut self, pick: usize, stale: bool) {
        let held = |key: &crate::IntentKey| {
            self.tasks.iter().any(|task| task.lease.key == *key)
                || self.callbacks.iter().any(|task| task.lease.key == *key)
        };
        let keys: Vec<_> = self.rig.intents.keys().filter(|key| stale || !held(key)).cloned().collect();
        let Some(key) = keys.get(pick % keys.len().max(1)).cloned() else { return };
        let before = self.rig.state.clone();
        if key.target.step().is_none() {
            let told = self.rig.begin_compensation();
            self.check(&before, &told.decision);
            if let BeginCompensation::Execute(task) = told.value {
                self.callbacks.push(*task);
            }
            return;
        }
        let lease = Lease { key, token: self.rig.token() };
        let told = self.rig.begin_under(&lease);
        self.check(&before, &told.decision);
        if let Begin::Execute(task) = told.value {
            self.tasks.push(task);
        }
    }

    fn record(&mut self, task: &StepTask, outcome: Outcome, go_on: bool) {
        let before = self.rig.state.clone();
        let told = if go_on { self.rig.record_and_go_on(task, outcome) } else { self.rig.record(task, outcome) };
        self.check(&before, &told.decision);
        if let crate::engine::Recorded::Recorded { next: Some(next) } = told.value {
            self.tasks.push(next);
        }
    }

    fn decide(&mut self, variant: u8) {
        let before = self.rig.state.clone();
        let decided = Decided::default();
        let told = match variant % 3 {
            0 => self.rig.decide(|work, jobs| unblock(work, decided, jobs)),
            1 => self.rig.decide(|work, jobs| decide(work, Verdict::Approve, decided, jobs)),
            _ => self.rig.decide(|work, jobs| decide(work, Verdict::Reject, decided, jobs)),
        };
        if let Ok(told) = told {
            self.check(&before, &told.decision);
        }
    }

    /// Carries the run to its end, as workers that neither fail nor die would.
    fn finish(&mut self) {
        for round in 0..200 {
            for verdict in 0..2 {
                self.decide(verdict);
            }
            while let Some(task) = self.tasks.pop() {
                self.record(&task, completed(json!({})), true);
            }
            while let Some(task) = self.callbacks.pop() {
                let before = self.rig.state.clone();
                let told = self.rig.record_compensation(&task, completed(Value::Null));
                self.check(&before, &told.decision);
            }
            if self.rig.intents.is_empty() && self.rig.status() != RunStatus::Paused {
                break;
            }
            self.deliver(round, true);
        }
        assert!(self.rig.status().is_terminal(), "the run ends: {:?}", self.rig.state);
        assert!(self.rig.intents.is_empty(), "nothing is left to deliver: {:?}", self.rig.outstanding());
        assert_eq!(self.rig.state.in_status(StepStatus::Running).count(), 0);
        assert!(
            self.rig.attempts.values().all(|attempt| attempt.status != AttemptStatus::Running),
            "every attempt is closed"
        );
        if self.rig.status() == RunStatus::Failed {
            for run in self.rig.state.steps.values() {
                let owed = run.status == StepStatus::Completed && run.recovery.compensated_by_handler;
                assert_eq!(run.compensation.as_ref().is_some_and(|found| found.finished_at.is_some()), owed);
            }
        }
    }

    fn check(&self, before: &RunState, decision: &Decision) {
        let rig = &self.rig;
        check_status(before.run.status, decision);
        if before.run.status.is_terminal() {
            assert_eq!(rig.status(), before.run.status, "the end is final");
        }
        check_starts(before, decision);
        check_attempts(rig);
        check_intents(rig);
        check_created(rig, before);
        match rig.status() {
            RunStatus::Failed => assert!(rig.state.run.last_error.is_some(), "a failed run says why"),
            RunStatus::Completed if rig.definition.shape() == Shape::Dependencies => assert_eq!(
                rig.state.in_status(StepStatus::Completed).count(),
                rig.definition.steps().len(),
                "a completed dependency run has done everything"
            ),
            _ => {}
        }
        let sequences: Vec<_> = rig.state.steps.values().filter_map(|run| run.sequence).collect();
        assert_eq!(
            sequences.iter().collect::<BTreeSet<_>>().len(),
            sequences.len(),
            "the order of completion is total"
        );
    }
}

/// The moves of the status are those of the life cycle, and the events tell each of them.
fn check_status(mut status: RunStatus, decision: &Decision) {
    for event in &decision.events {
        if let EventKind::RunTransition { from, to } = &event.kind {
            assert_eq!(status, *from);
            status = from.transition(*to).expect("a legal move");
        }
    }
    assert_eq!(status, decision.state.run.status, "no move goes untold");
}

/// Nothing starts in a run that is paused, being cancelled or over.
fn check_starts(before: &RunState, decision: &Decision) {
    let started = decision.events.iter().any(|event| matches!(event.kind, EventKind::StepStarted { .. }));
    let dispatched = super::rig::dispatched(decision).iter().any(|target| target != "compensation");
    // A decision of a person makes a paused run schedule again within the same change.
    let may = before.run.status.may_schedule() || before.run.status == RunStatus::Paused;
    assert!(may || !(started || dispatched), "{} starts something", before.run.status);
}

/// Attempts are numbered 1, 2, … and only the last may be open.
fn check_attempts(rig: &Rig) {
    for run in rig.state.steps.values() {
        let tries = rig.tries(run.step.as_str());
        let numbers: Vec<_> = tries.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..=run.attempt).collect::<Vec<_>>(), "attempts of {} without gaps", run.step);
        for (number, status) in tries {
            let open = number == run.attempt && matches!(run.status, StepStatus::Running | StepStatus::Paused);
            assert_eq!(status == AttemptStatus::Running, open, "attempt {number} of {}", run.step);
        }
    }
}

/// A step that is pending or running has an intent, and nothing else has.
fn check_intents(rig: &Rig) {
    let wanted: BTreeSet<&StepName> = rig
        .state
        .steps
        .values()
        .filter(|run| matches!(run.status, StepStatus::Pending | StepStatus::Running))
        .map(|run| &run.step)
        .collect();
    let found: BTreeSet<&StepName> = rig.intents.keys().filter_map(|key| key.target.step()).collect();
    assert_eq!(found, wanted, "in a {} run", rig.status());
    if rig.status() != RunStatus::Failed {
        assert!(rig.intents.keys().all(|key| key.target.step().is_some()), "only a failed run is compensated");
    }
}

/// A step is scheduled once, and only after all that it depends on has completed.
fn check_created(rig: &Rig, before: &RunState) {
    for step in rig.state.steps.keys().filter(|step| !before.steps.contains_key(*step)) {
        let declared = rig.definition.step(step.as_str()).expect("a declared step");
        for dependency in &declared.after {
            let status = rig.state.steps.get(dependency).map(|run| run.status);
            assert_eq!(status, Some(StepStatus::Completed), "{step} is scheduled before {dependency} has completed");
        }
    }
    if rig.definition.shape() == Shape::Dependencies && rig.status().may_schedule() {
        for declared in rig.definition.steps() {
            let done =
                |step: &StepName| rig.state.steps.get(step).is_some_and(|run| run.status == StepStatus::Completed);
            let runnable = declared.after.iter().all(done);
            assert_eq!(
                rig.state.steps.contains_key(&declared.name),
                runnable,
                "{} is scheduled when it can run",
                declared.name
            );
        }
    }
    if let (Shape::Transitions, RunStatus::Running, Some(current)) =
        (rig.definition.shape(), rig.status(), &rig.state.run.current_step)
    {
        let open =
            rig.state.steps.values().filter(|run| matches!(run.status, StepStatus::Pending | StepStatus::Running));
        assert_eq!(open.map(|run| &run.step).collect::<Vec<_>>(), [current], "one step at a time");
    }
}

fn outcome(variant: u8) -> Outcome {
    match variant % 7 {
        0 => failed(),
        1 | 2 => failed_for_now(),
        3 => Outcome::Interrupted,
        4 => completed(json!(7)), // no object: the step fails
        5 => Outcome::Completed { value: json!({}), schedule_in: Some(ms(3)) },
        _ => completed(json!({"n": variant})),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_of_a_run_hold(
        workflow in prop_oneof![dependencies(), transitions()],
        commands in prop::collection::vec((0..12_u8, any::<usize>(), any::<u8>()), 0..COMMANDS),
    ) {
        let mut trial = Trial { rig: Rig::start(&workflow), tasks: Vec::new(), callbacks: Vec::new() };
        for (op, pick, variant) in commands {
            trial.command(op, pick, variant);
        }
        trial.finish();
    }
}

#[test]
fn a_workflow_that_nothing_disturbs_completes() {
    let plain = super::rig::chain(["a", "b", "c"]).build().unwrap();
    let mut trial = Trial { rig: Rig::start(&plain), tasks: Vec::new(), callbacks: Vec::new() };
    trial.finish();
    assert_eq!(trial.rig.status(), RunStatus::Completed);
    assert_eq!(trial.rig.step_status("c"), Some(StepStatus::Completed));
    assert!(trial.rig.state.steps.contains_key(&name("a")));
}
