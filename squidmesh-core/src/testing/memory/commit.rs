//! Applies one commit: first everything is checked, then everything is written, so that no commit is ever applied in
//! part.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::ContractBreach;
use super::rows::{Rows, RunRows};
use crate::port::{Commit, CommitOutcome, IntentWrite, Precondition, StepWrite};
use crate::run::{Attempt, Run};
use crate::time::Timestamp;

/// The outcome of a commit, and whether it left work to be found.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) outcome: CommitOutcome,
    pub(super) work: bool,
}

impl Rows {
    /// Applies a commit completely or not at all.
    pub(super) fn apply(&mut self, commit: &Commit, now: Timestamp) -> Result<Applied, ContractBreach> {
        check_alone(commit)?;
        if let Some(outcome) = self.refusal(commit) {
            return Ok(Applied { outcome, work: false });
        }
        if let Some(rows) = self.runs.get(&commit.run.id) {
            check_against(commit, rows)?;
        } else {
            check_new(commit)?;
        }
        Ok(Applied { outcome: CommitOutcome::Committed, work: self.write(commit, now) })
    }

    /// Returns why a commit that is sound in itself is not applied.
    fn refusal(&self, commit: &Commit) -> Option<CommitOutcome> {
        if commit.fences.iter().any(|fence| !self.intents.is_held(fence)) {
            return Some(CommitOutcome::Fenced);
        }
        let stored = self.runs.get(&commit.run.id).map(|rows| rows.run.revision);
        let agrees = match commit.precondition {
            Precondition::Absent => stored.is_none(),
            Precondition::Revision(revision) => stored == Some(revision),
        };
        if !agrees {
            return Some(CommitOutcome::Conflict);
        }
        let key = commit.run.idempotency_key.as_ref().filter(|_| commit.precondition == Precondition::Absent)?;
        self.find_by_idempotency_key(&commit.run.workflow, key).map(CommitOutcome::KeyTaken)
    }

    fn write(&mut self, commit: &Commit, now: Timestamp) -> bool {
        let run = &commit.run;
        if let (Precondition::Absent, Some(key)) = (commit.precondition, &run.idempotency_key) {
            self.keys.entry(run.workflow.clone()).or_default().insert(key.clone(), run.id);
        }
        if let Some(definition) = &commit.definition {
            self.definitions.entry(*definition.fingerprint()).or_insert_with(|| Arc::clone(definition));
        }
        let rows = Arc::make_mut(self.runs.entry(run.id).or_insert_with(|| Arc::new(RunRows::new(run.clone()))));
        rows.write(commit);
        let mut work = false;
        for write in &commit.intents {
            work |= self.intents.write(write, now);
        }
        work
    }
}

impl RunRows {
    fn new(run: Run) -> Self {
        RunRows { run, steps: BTreeMap::new(), signals: Vec::new(), attempts: BTreeMap::new(), audit: Vec::new() }
    }

    fn write(&mut self, commit: &Commit) {
        self.run = commit.run.clone();
        for write in &commit.steps {
            let step = write.step();
            self.steps.insert(step.step.clone(), step.clone());
        }
        for attempt in &commit.attempts {
            self.attempts.entry(attempt.step.clone()).or_default().push(attempt.clone());
        }
        if let Some(signals) = &commit.signals {
            self.signals.clone_from(signals);
        }
        self.audit.extend(commit.audit.iter().cloned());
    }
}

/// Checks what must hold of every commit, regardless of the stored run.
fn check_alone(commit: &Commit) -> Result<(), ContractBreach> {
    let made = commit.run.revision;
    let expected = match commit.precondition {
        Precondition::Absent => 1,
        Precondition::Revision(revision) => revision.saturating_add(1),
    };
    if made != expected {
        return Err(ContractBreach::Revision { made, expected });
    }
    once(commit.steps.iter().map(|write| &write.step().step), |step| format!("the step run of {step}"))?;
    let attempts = commit.attempts.iter().map(|attempt| (&attempt.step, attempt.number));
    once(attempts, |(step, number)| format!("attempt {number} of {step}"))?;
    let keys = commit.intents.iter().map(IntentWrite::key);
    once(keys.clone(), |key| format!("the intent {key}"))?;
    if let Some(key) = keys.clone().find(|key| key.run_id != commit.run.id) {
        return Err(ContractBreach::ForeignIntent { key: key.clone() });
    }
    match commit.audit.iter().find(|entry| entry.revision != made) {
        Some(entry) => Err(ContractBreach::AuditRevision { made, entry: entry.revision }),
        None => Ok(()),
    }
}

/// Checks what must hold of a commit that starts a run.
fn check_new(commit: &Commit) -> Result<(), ContractBreach> {
    check_against(commit, &RunRows::new(commit.run.clone()))
}

/// Checks what must hold of a commit, given what is stored of its run.
fn check_against(commit: &Commit, rows: &RunRows) -> Result<(), ContractBreach> {
    if fixed_part(&commit.run, &rows.run) != rows.run {
        return Err(ContractBreach::FixedRunField);
    }
    for write in &commit.steps {
        let step = &write.step().step;
        match (write, rows.steps.get(step)) {
            (StepWrite::Create(_), None) => {}
            (StepWrite::Create(_), Some(_)) => return Err(ContractBreach::StepExists { step: step.clone() }),
            (StepWrite::Update(_) | StepWrite::CopyInput(_), None) => {
                return Err(ContractBreach::StepMissing { step: step.clone() });
            }
            (StepWrite::Update(new), Some(old)) => {
                if (&new.input, &new.recovery, new.created_at) != (&old.input, &old.recovery, old.created_at) {
                    return Err(ContractBreach::FixedStepField { step: step.clone() });
                }
            }
            (StepWrite::CopyInput(new), Some(old)) => {
                let copied = new.input.copy().is_some() && old.input.copy().is_none();
                if !copied || (&new.recovery, new.created_at) != (&old.recovery, old.created_at) {
                    return Err(ContractBreach::FixedStepField { step: step.clone() });
                }
            }
        }
    }
    check_attempts(commit, rows)
}

fn check_attempts(commit: &Commit, rows: &RunRows) -> Result<(), ContractBreach> {
    let mut created = BTreeMap::<_, u32>::new();
    for Attempt { step, number, .. } in &commit.attempts {
        let stored = rows.attempts.get(step).and_then(|attempts| attempts.last());
        let last = created.entry(step).or_insert_with(|| stored.map_or(0, |attempt| attempt.number));
        if *number != *last + 1 {
            return Err(ContractBreach::AttemptNumber { step: step.clone(), number: *number, next: *last + 1 });
        }
        *last = *number;
    }
    Ok(())
}

/// Returns the committed run, with every field that may change taken from the stored one.
fn fixed_part(committed: &Run, stored: &Run) -> Run {
    Run {
        status: stored.status,
        current_step: stored.current_step.clone(),
        last_error: stored.last_error.clone(),
        fingerprint: stored.fingerprint,
        revision: stored.revision,
        token: stored.token,
        updated_at: stored.updated_at,
        finished_at: stored.finished_at,
        ..committed.clone()
    }
}

fn once<T: Ord + Copy + fmt::Debug>(
    written: impl Iterator<Item = T>,
    name: impl Fn(T) -> String,
) -> Result<(), ContractBreach> {
    let mut seen = BTreeSet::new();
    for item in written {
        if !seen.insert(item) {
            return Err(ContractBreach::WrittenTwice { what: name(item) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::IntentKey;
    use crate::id::RunId;
    use crate::run::{AuditEvent, AuditKind, InputSnapshot, StepRun};
    use crate::testing::sample;

    fn rows() -> Rows {
        let mut rows = Rows::default();
        rows.apply(&sample::start(1), sample::STARTED).unwrap();
        rows
    }

    fn refused(change: impl FnOnce(&mut Commit)) -> ContractBreach {
        let mut rows = rows();
        let before = format!("{rows:?}");
        let mut commit = sample::next(&sample::run(1));
        change(&mut commit);
        let breach = rows.apply(&commit, sample::STARTED).unwrap_err();
        assert_eq!(format!("{rows:?}"), before, "nothing is written");
        breach
    }

    #[test]
    fn a_revision_that_does_not_follow_is_refused() {
        assert_eq!(refused(|commit| commit.run.revision = 3), ContractBreach::Revision { made: 3, expected: 2 });
    }

    #[test]
    fn what_is_fixed_of_a_run_cannot_change() {
        assert_eq!(
            refused(|commit| commit.run.payload = sample::object(serde_json::json!({ "other": 1 }))),
            ContractBreach::FixedRunField
        );
        assert_eq!(refused(|commit| commit.run.idempotency_key = Some("k".into())), ContractBreach::FixedRunField);
    }

    #[test]
    fn what_is_fixed_of_a_step_run_cannot_change() {
        let step = sample::step_name("first");
        let copied = InputSnapshot::Copy(sample::object(serde_json::json!({ "x": 1 })));
        let changed = StepRun { input: copied, ..sample::step("first") };
        let later = StepRun { input: InputSnapshot::AsOf(1), ..sample::step("first") };
        for write in [StepWrite::Update(changed), StepWrite::Update(later.clone()), StepWrite::CopyInput(later)] {
            assert_eq!(
                refused(|commit| commit.steps.push(write)),
                ContractBreach::FixedStepField { step: step.clone() }
            );
        }
    }

    #[test]
    fn a_step_run_is_created_before_it_is_changed() {
        let step = sample::step_name("second");
        assert_eq!(
            refused(|commit| commit.steps.push(StepWrite::Update(sample::step("second")))),
            ContractBreach::StepMissing { step }
        );
    }

    #[test]
    fn attempts_have_no_gaps() {
        let step = sample::step_name("first");
        assert_eq!(
            refused(|commit| {
                commit.attempts.push(sample::attempt("first", 1));
                commit.attempts.push(sample::attempt("first", 3));
            }),
            ContractBreach::AttemptNumber { step: step.clone(), number: 3, next: 2 }
        );
    }

    #[test]
    fn one_commit_writes_each_thing_once_and_for_its_own_run() {
        let key = IntentKey::step(sample::run_id(1), sample::step_name("first"));
        assert!(matches!(
            refused(|commit| commit.intents.extend([IntentWrite::Remove(key.clone()), IntentWrite::Remove(key)])),
            ContractBreach::WrittenTwice { .. }
        ));
        let foreign = IntentKey::compensation(RunId::from_uuid(uuid::Uuid::nil()));
        assert_eq!(
            refused(|commit| commit.intents.push(IntentWrite::Remove(foreign.clone()))),
            ContractBreach::ForeignIntent { key: foreign }
        );
    }

    #[test]
    fn an_audit_entry_names_the_revision_that_it_comes_with() {
        assert_eq!(
            refused(|commit| commit.audit.push(AuditEvent::new(AuditKind::Paused, 1, sample::STARTED))),
            ContractBreach::AuditRevision { made: 2, entry: 1 }
        );
    }
}
