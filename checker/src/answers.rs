//! Every recorded act was asked for by a client, and was not refused each time.
//!
//! The rule needs a complete log of what clients asked for. An acknowledged act may have been executed once, and so
//! may one with an unknown answer; a refused act was not executed.

use std::collections::{BTreeMap, BTreeSet};

use squidmesh_core::RunId;
use squidmesh_core::definition::WorkflowName;
use squidmesh_core::run::AuditKind;

use crate::evidence::{Act, Addressee, Answer, Evidence};
use crate::findings::Findings;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    check_acknowledged(evidence, findings);
    if !evidence.calls_complete {
        return;
    }
    check_acts(evidence, findings);
    check_starts(evidence, findings);
}

/// Returns how often each act may have been executed.
fn possible<'a, K: Ord>(evidence: &'a Evidence, of: impl Fn(&'a Act) -> Option<K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    let open = evidence.calls.iter().filter(|call| !matches!(call.answer, Answer::Refused(_)));
    for key in open.filter_map(|call| of(&call.act)) {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

/// Returns the acts that leave an entry in the trail of the run they act on.
fn decision(act: &Act) -> Option<(RunId, &'static str)> {
    match act {
        Act::Cancel(run) => Some((*run, AuditKind::Cancelled.as_str())),
        Act::Unblock(run) => Some((*run, AuditKind::Unblocked.as_str())),
        Act::Approve(run) => Some((*run, AuditKind::Approved.as_str())),
        Act::Reject(run) => Some((*run, AuditKind::Rejected.as_str())),
        Act::Start { .. } | Act::Replay(_) | Act::Resume(_) | Act::Signal(_) => None,
    }
}

fn check_acts(evidence: &Evidence, findings: &mut Findings) {
    let decisions = possible(evidence, decision);
    for (id, record) in &evidence.runs {
        for kind in [AuditKind::Cancelled, AuditKind::Unblocked, AuditKind::Approved, AuditKind::Rejected] {
            let recorded = record.history.audit.iter().filter(|entry| entry.kind == kind).count();
            let asked = decisions.get(&(*id, kind.as_str())).copied().unwrap_or_default();
            findings.demand(recorded <= asked, *id, || {
                let kind = kind.as_str();
                format!(
                    "{kind} is recorded {recorded} times, and was carried out {asked} times for all that was answered"
                )
            });
        }
    }
}

/// Runs started without a key are no more than were asked for, and a key's run was asked for.
fn check_starts(evidence: &Evidence, findings: &mut Findings) {
    let starts = possible(evidence, |act| match act {
        Act::Start { workflow, key } => Some((workflow, key.as_deref())),
        Act::Signal(sent) => match &sent.to {
            Addressee::Key { workflow, key, starts: true } => Some((workflow, Some(key.as_str()))),
            _ => None,
        },
        _ => None,
    });
    let replays = possible(evidence, |act| if let Act::Replay(run) = act { Some(*run) } else { None });
    let resumptions = possible(evidence, |act| if let Act::Resume(run) = act { Some(*run) } else { None });
    let mut started: BTreeMap<(&WorkflowName, Option<&str>), usize> = BTreeMap::new();
    let (mut replayed, mut resumed): (BTreeMap<RunId, usize>, BTreeMap<RunId, usize>) = Default::default();
    for (id, record) in &evidence.runs {
        let run = &record.state.run;
        let (found, asked) = if let Some(from) = run.replayed_from {
            (replayed.entry(from).or_default(), replays.get(&from))
        } else if let Some(from) = run.resumed_from {
            (resumed.entry(from).or_default(), resumptions.get(&from).map(|_| &1))
        } else if run.intended_at.is_none() {
            let start = (&run.workflow, run.idempotency_key.as_deref());
            (started.entry(start).or_default(), starts.get(&start))
        } else {
            continue; // a schedule started it
        };
        *found += 1;
        let (found, asked) = (*found, asked.copied().unwrap_or_default());
        findings.demand(found <= asked, *id, || {
            format!(
                "it is run {found} of {} that came of {asked} starts under {:?}, replays of {:?} or resumptions of {:?}",
                run.workflow, run.idempotency_key, run.replayed_from, run.resumed_from
            )
        });
    }
}

/// A client that asks for a new run is given a run that no other client is given.
fn check_acknowledged(evidence: &Evidence, findings: &mut Findings) {
    let mut given = BTreeSet::new();
    for call in &evidence.calls {
        let own = matches!(call.act, Act::Start { key: None, .. } | Act::Replay(_));
        if let (true, Answer::Ok(id)) = (own, &call.answer) {
            findings.demand(given.insert(*id), *id, || "it was the answer to two who asked for a new run each".into());
        }
    }
}
