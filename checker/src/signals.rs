//! A run keeps its signals in the order in which they came, each until a step that waits for its name takes it: the
//! oldest first, once, as its output.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use squidmesh_core::RunStatus;
use squidmesh_core::definition::{SignalName, StepName};
use squidmesh_core::port::StepWrite;
use squidmesh_core::run::{ReceivedSignal, RunSnapshot, StepRun, StepStatus};

use crate::change::Change;
use crate::findings::Findings;
use crate::life_cycle;

pub(super) fn check(change: &Change<'_>, findings: &mut Findings) {
    check_each(change.after, findings);
    check_kept(change, findings);
    // What a run was given by the one that it resumes was taken there.
    if change.before.is_some() || change.after.run.resumed_from.is_none() {
        check_taken(change, findings);
    }
    check_waiting(change.after, findings);
}

/// Returns the name of the signal that a step waits for, or waited for.
pub(super) fn awaited(step: &StepRun) -> Option<&SignalName> {
    step.continuation.as_ref()?.signal.as_ref()
}

/// Returns the step that waits for a signal of this name.
pub(super) fn waiting_for<'a>(state: &'a RunSnapshot, name: &SignalName) -> Option<&'a StepName> {
    let mut waiting = state.in_status(StepStatus::Paused).filter(|step| awaited(step) == Some(name));
    waiting.next().map(|step| &step.step)
}

/// Each signal has its payload exactly until it is taken; no step takes two, and neither an id nor a key comes twice.
fn check_each(after: &RunSnapshot, findings: &mut Findings) {
    let (id, mut takers, mut keys) = (after.run.id, BTreeSet::new(), BTreeSet::new());
    let mut ids = BTreeSet::new();
    for signal in &after.signals {
        let name = &signal.name;
        findings.demand(signal.payload.is_some() == signal.taken_by.is_none(), id, || {
            format!("signal {name} was taken by {:?}, and has a payload: {}", signal.taken_by, signal.payload.is_some())
        });
        findings.demand(ids.insert(signal.id.to_string()), id, || format!("two signals are {:?}", signal.id));
        if let Some(step) = &signal.taken_by {
            findings.demand(takers.insert(step), id, || format!("{step} has taken two signals"));
        }
        if let Some(key) = &signal.dedup_key {
            findings.demand(keys.insert((name, key)), id, || format!("signal {name} came twice under key {key:?}"));
        }
    }
}

/// New signals come last, no older one changes except that it is taken, and a run that has ended or is being cancelled
/// receives none.
fn check_kept(change: &Change<'_>, findings: &mut Findings) {
    let (Some(before), after) = (change.before, change.after) else { return };
    let (id, status) = (after.run.id, before.run.status);
    findings.demand(after.signals.len() >= before.signals.len(), id, || {
        format!("it had {} signals, and has {}", before.signals.len(), after.signals.len())
    });
    for (place, (old, new)) in before.signals.iter().zip(&after.signals).enumerate() {
        let same = (old.id, &old.name, &old.dedup_key, old.at) == (new.id, &new.name, &new.dedup_key, new.at);
        let stays = if old.is_buffered() { !new.is_buffered() || new.payload == old.payload } else { new == old };
        findings.demand(same && stays, id, || format!("signal {place} was {old:?}, and became {new:?}"));
    }
    let closed = life_cycle::is_over(status) || status == RunStatus::Cancelling;
    findings.demand(!closed || after.signals == before.signals, id, || {
        format!("it was {status}, and its signals changed: {:?} became {:?}", before.signals, after.signals)
    });
}

/// What is taken is taken by a step that waits for it, becomes its output, and is the oldest of its name; and no other
/// wait completes.
fn check_taken(change: &Change<'_>, findings: &mut Findings) {
    let (after, id) = (change.after, change.after.run.id);
    let before = |place: usize| change.before.and_then(|before| before.signals.get(place));
    let completed = |state: &RunSnapshot, step: &StepName| {
        state.steps.get(step).is_some_and(|run| run.status == StepStatus::Completed)
    };
    let completes = |step: &StepName| completed(after, step) && !change.before.is_some_and(|old| completed(old, step));
    let mut takers = BTreeSet::new();
    for (place, signal) in after.signals.iter().enumerate() {
        let Some(step) = signal.taken_by.as_ref().filter(|_| before(place).is_none_or(ReceivedSignal::is_buffered))
        else {
            continue;
        };
        takers.insert(step);
        let run = after.steps.get(step);
        findings.demand(run.and_then(awaited) == Some(&signal.name) && completes(step), id, || {
            format!("{step} took signal {}, and did not wait for it: {run:?}", signal.name)
        });
        let earlier = after.signals.iter().take(place);
        let older = earlier.filter(|older| older.is_buffered() && older.name == signal.name).count();
        findings.demand(older == 0, id, || {
            format!("{step} took signal {} while {older} older ones wait to be taken", signal.name)
        });
        let payload = before(place).and_then(|signal| signal.payload.as_ref());
        if let (Some(payload), Some(run)) = (payload, run) {
            findings.demand(run.output.as_ref() == Some(&output(run, payload)), id, || {
                format!("{step} took {payload:?}, and its output is {:?}", run.output)
            });
        }
    }
    for step in change.commit.steps.iter().map(StepWrite::step).filter(|step| awaited(step).is_some()) {
        findings.demand(!completes(&step.step) || takers.contains(&step.step), id, || {
            format!("{} completed, and took no signal", step.step)
        });
    }
}

/// Returns the output that a payload becomes.
fn output(run: &StepRun, payload: &Arc<Map<String, Value>>) -> Arc<Map<String, Value>> {
    match run.continuation.as_ref().and_then(|stored| stored.output_key.clone()) {
        Some(key) => Arc::new(Map::from_iter([(key, Value::Object((**payload).clone()))])),
        None => Arc::clone(payload),
    }
}

/// No step waits for what is there.
fn check_waiting(after: &RunSnapshot, findings: &mut Findings) {
    for signal in after.signals.iter().filter(|signal| signal.is_buffered()) {
        let waiting = waiting_for(after, &signal.name);
        findings.demand(waiting.is_none(), after.run.id, || {
            format!("{waiting:?} waits for signal {}, which the run has", signal.name)
        });
    }
}
