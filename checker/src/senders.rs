//! The answers to senders of signals are true: what was received is there, once, in the run or in the one that resumes
//! it, and a duplicate has an original.

use std::collections::BTreeMap;

use squidmesh_core::RunId;
use squidmesh_core::command::SignalReceipt;
use squidmesh_core::run::ReceivedSignal;

use crate::evidence::{Act, Addressee, Answer, Evidence, RunRecord, Signal};
use crate::findings::Findings;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for call in &evidence.calls {
        if let (Act::Signal(sent), Answer::Signalled(id, receipt)) = (&call.act, &call.answer) {
            check_answer(evidence, findings, sent, *id, receipt);
        }
    }
    for (id, record) in &evidence.runs {
        check_carried(evidence, findings, *id, record);
    }
    if evidence.calls_complete {
        check_sent(evidence, findings);
    }
}

/// Returns the number of a signal: in its payload, or in the output of the step that took it, under the key of that.
fn number(record: &RunRecord, signal: &ReceivedSignal) -> Option<u64> {
    let output = || record.state.steps.get(signal.taken_by.as_ref()?)?.output.as_ref();
    let payload = signal.payload.as_ref().or_else(output)?;
    payload.get("number").or_else(|| payload.values().find_map(|value| value.get("number")))?.as_u64()
}

fn check_answer(evidence: &Evidence, findings: &mut Findings, sent: &Signal, id: RunId, receipt: &SignalReceipt) {
    let Some(record) = evidence.runs.get(&id) else {
        findings.add(id, format!("it is not there, and was said to have received {sent:?}"));
        return;
    };
    findings.demand(is_addressee(evidence, sent, record), id, || format!("{sent:?} was not sent to it"));
    let is_same = |signal: &&ReceivedSignal| signal.name == *sent.name && signal.dedup_key == sent.dedup_key;
    let is_sent = |signal: &&ReceivedSignal| number(record, signal) == Some(sent.number);
    let signals = record.state.signals.iter();
    let found: Vec<&ReceivedSignal> = match receipt {
        SignalReceipt::Duplicate => signals.filter(is_same).collect(),
        _ => signals.filter(is_sent).collect(),
    };
    let is_right = match (found.as_slice(), receipt) {
        ([first], SignalReceipt::Received { step }) => is_same(first) && first.taken_by.as_ref() == Some(step),
        ([first], SignalReceipt::Buffered) => is_same(first),
        ([_], SignalReceipt::Duplicate) => sent.dedup_key.is_some(),
        _ => false,
    };
    findings.demand(is_right, id, || format!("{sent:?} was answered {receipt:?}, and the run has {found:?}"));
}

/// Returns whether a signal was sent to this run: by its id, or by the key of the first run that it goes back to.
fn is_addressee(evidence: &Evidence, sent: &Signal, record: &RunRecord) -> bool {
    let (workflow, key) = match &sent.to {
        Addressee::Run(id) => return *id == record.state.run.id,
        Addressee::Key { workflow, key, .. } => (workflow, key),
    };
    let mut first = record;
    while let Some(from) = first.state.run.resumed_from {
        let Some(found) = evidence.runs.get(&from) else { return true };
        first = found;
    }
    let run = &first.state.run;
    run.workflow == *workflow && run.idempotency_key.as_ref() == Some(key)
}

/// Returns the signals that a run was given by the run that it resumes; `None` if that is not known.
fn given<'a>(evidence: &'a Evidence, record: &RunRecord) -> Option<&'a [ReceivedSignal]> {
    match record.state.run.resumed_from {
        None => Some(&[]),
        Some(from) => evidence.runs.get(&from).map(|from| from.state.signals.as_slice()),
    }
}

/// A run that resumes another has all of its signals, before its own.
fn check_carried(evidence: &Evidence, findings: &mut Findings, id: RunId, record: &RunRecord) {
    let from = record.state.run.resumed_from.and_then(|from| evidence.runs.get(&from));
    let Some(from) = from else { return };
    for (place, old) in from.state.signals.iter().enumerate() {
        let new = record.state.signals.get(place);
        let same = new.is_some_and(|new| {
            (new.id, &new.name, &new.dedup_key, new.at) == (old.id, &old.name, &old.dedup_key, old.at)
                && (old.is_buffered() || new.taken_by == old.taken_by)
                && number(record, new) == number(from, old)
        });
        findings
            .demand(same, id, || format!("it resumes {}, of whose signals {old:?} became {new:?}", from.state.run.id));
    }
}

/// Every signal was sent, was not refused, and was received once.
fn check_sent(evidence: &Evidence, findings: &mut Findings) {
    let sent = evidence.calls.iter().filter(|call| !matches!(call.answer, Answer::Refused(_)));
    let sent = sent.filter_map(|call| if let Act::Signal(sent) = &call.act { Some((sent.number, sent)) } else { None });
    let sent: BTreeMap<u64, &Signal> = sent.collect();
    let mut received = BTreeMap::new();
    for (id, record) in &evidence.runs {
        let Some(given) = given(evidence, record) else { continue };
        for signal in record.state.signals.iter().skip(given.len()) {
            let number = number(record, signal);
            let call = number.and_then(|number| sent.get(&number));
            let is_it = call.is_some_and(|sent| {
                signal.name == *sent.name && signal.dedup_key == sent.dedup_key && is_addressee(evidence, sent, record)
            });
            findings.demand(is_it, *id, || format!("it received {signal:?}, number {number:?}, for {call:?}"));
            let first = number.and_then(|number| received.insert(number, *id));
            findings.demand(first.is_none(), *id, || {
                format!("it received {signal:?}, number {number:?}, as did run {first:?}")
            });
        }
    }
}
