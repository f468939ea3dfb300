//! What must hold of each single change, for those who watch the commits as they are applied.

use squidmesh_core::{
    Attempt, AttemptStatus, AuditKind, Commit, Definition, IntentRecord, RunState, RunStatus, Shape, StepName, StepRun,
    StepStatus, StepWrite,
};

use super::{Findings, Violation, callbacks, fences, life_cycle, rules};

/// One applied commit.
#[derive(Debug)]
pub struct Change<'a> {
    /// The run before it; `None` if it is started.
    pub before: Option<&'a RunState>,
    /// The run after it.
    pub after: &'a RunState,
    /// What was written.
    pub commit: &'a Commit,
    /// The live intents of the run before it.
    pub intents: &'a [IntentRecord],
    /// The run's version before it.
    pub definition: Option<&'a Definition>,
}

type Rule = (&'static str, fn(&Change<'_>, &mut Findings));

const RULES: &[Rule] = &[
    (rules::MOVES, check_status),
    (rules::FINAL, check_final),
    (rules::FENCED, fences::check_change),
    (rules::CALLBACKS, callbacks::check_change),
    (rules::BEGINNINGS, check_beginnings),
    (rules::SEQUENCE, check_order),
];

/// Judges one change.
pub fn check_change(change: &Change<'_>) -> Vec<Violation> {
    let mut findings = Findings::default();
    for (rule, check) in RULES {
        findings.rule = rule;
        check(change, &mut findings);
    }
    findings.into_violations()
}

/// Whether one status can become another, perhaps by way of others within the same commit.
fn reachable(from: RunStatus, to: RunStatus) -> bool {
    let mut seen = vec![from];
    let mut place = 0;
    while let Some(status) = seen.get(place).copied() {
        if status == to {
            return true;
        }
        place += 1;
        for next in life_cycle::moves(status) {
            if !seen.contains(next) {
                seen.push(*next);
            }
        }
    }
    false
}

fn check_status(change: &Change<'_>, findings: &mut Findings) {
    let run = &change.after.run;
    let before = change.before.map_or(RunStatus::Pending, |before| before.run.status);
    findings.demand(reachable(before, run.status), run.id, || format!("a {before} run became {}", run.status));
    let Some(before) = change.before else { return };
    findings.demand(run.revision == before.run.revision + 1, run.id, || {
        format!("revision {} became {}", before.run.revision, run.revision)
    });
    let adopted = change.commit.audit.iter().any(|entry| entry.kind == AuditKind::Adopted);
    findings.demand(adopted || run.fingerprint == before.run.fingerprint, run.id, || {
        "it was pinned to another version, and nobody adopted it".into()
    });
}

/// What is done is done for good.
fn check_final(change: &Change<'_>, findings: &mut Findings) {
    let (Some(before), run) = (change.before, &change.after.run) else { return };
    for old in before.steps.values() {
        let Some(new) = change.after.steps.get(&old.step) else {
            findings.add(run.id, format!("the step run of {} is gone", old.step));
            continue;
        };
        if old.status == StepStatus::Completed {
            findings.demand(
                (new.status, &new.output, new.sequence) == (old.status, &old.output, old.sequence),
                run.id,
                || format!("{} was completed, and changed", old.step),
            );
        }
        if matches!(old.status, StepStatus::Failed | StepStatus::Cancelled) {
            findings.demand(new.status == old.status, run.id, || {
                format!("{} was {}, and became {}", old.step, old.status.as_str(), new.status.as_str())
            });
        }
        let ended = old.compensation.as_ref().filter(|callback| callback.finished_at.is_some());
        findings.demand(ended.is_none() || ended == new.compensation.as_ref(), run.id, || {
            format!("the compensation of {} had ended, and changed", old.step)
        });
    }
}

/// The step runs of which a commit begins an attempt.
pub(crate) fn begun<'a>(commit: &'a Commit, before: Option<&'a RunState>) -> impl Iterator<Item = &'a StepRun> {
    let steps = commit.steps.iter().map(|write| match write {
        StepWrite::Create(step) | StepWrite::Update(step) => step,
    });
    steps.filter(move |step| {
        let old = before.and_then(|before| before.steps.get(&step.step));
        step.attempt > old.map_or(0, |old| old.attempt)
    })
}

/// The attempts that a commit ends.
pub(crate) fn ended(commit: &Commit, before: Option<&RunState>) -> Vec<Attempt> {
    let done = |step: &StepName| {
        let old = before.and_then(|before| before.steps.get(step));
        old.is_some_and(|old| old.status == StepStatus::Completed)
    };
    let completed = commit.steps.iter().filter_map(|write| match write {
        StepWrite::Create(step) | StepWrite::Update(step) if !done(&step.step) => step.last_attempt(),
        _ => None,
    });
    let completed = completed.filter(|attempt| attempt.status == AttemptStatus::Completed);
    commit.attempts.iter().cloned().chain(completed).collect()
}

/// Nothing begins or is scheduled in a run that is being cancelled or over, nor before what it depends on is done.
fn check_beginnings(change: &Change<'_>, findings: &mut Findings) {
    let run = &change.after.run;
    let before = change.before.map_or(RunStatus::Pending, |before| before.run.status);
    let may = life_cycle::may_schedule(before) || before == RunStatus::Paused;
    for step in begun(change.commit, change.before) {
        findings.demand(may, run.id, || format!("attempt {} of {} began in a {before} run", step.attempt, step.step));
    }
    for write in &change.commit.steps {
        let StepWrite::Create(step) = write else { continue };
        findings.demand(may, run.id, || format!("{} was scheduled in a {before} run", step.step));
        let declared = change.definition.and_then(|definition| definition.step(step.step.as_str()));
        let given = change.before.is_none() || change.commit.audit.iter().any(|entry| entry.kind == AuditKind::Adopted);
        let open = declared
            .into_iter()
            .flat_map(|declared| &declared.after)
            .find(|needed| change.after.steps.get(*needed).is_none_or(|run| run.status != StepStatus::Completed));
        findings.demand(given || open.is_none(), run.id, || {
            format!("{} was scheduled, and {open:?} is not done", step.step)
        });
    }
    if let Some(definition) = change.definition.filter(|found| found.shape() == Shape::Transitions) {
        let open =
            change.after.steps.values().filter(|run| matches!(run.status, StepStatus::Pending | StepStatus::Running));
        let open: Vec<&StepName> = open.map(|run| &run.step).collect();
        findings.demand(open.len() <= 1, run.id, || format!("{open:?} of {} go on at once", definition.name()));
    }
}

/// The sequence of completion is that of the commits.
fn check_order(change: &Change<'_>, findings: &mut Findings) {
    let Some(before) = change.before else { return };
    let last = before.steps.values().filter_map(|run| run.sequence).max();
    for run in change.after.steps.values() {
        let new = before.steps.get(&run.step).is_none_or(|old| old.sequence.is_none());
        if let (true, Some(sequence)) = (new, run.sequence) {
            findings.demand(last.is_none_or(|last| sequence > last), change.after.run.id, || {
                format!("{} completed as number {sequence}, after number {last:?}", run.step)
            });
        }
    }
}
