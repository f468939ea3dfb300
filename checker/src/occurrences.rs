//! Each occurrence of a schedule starts one run, whichever process fires it.

use std::collections::BTreeMap;

use crate::evidence::Evidence;
use crate::findings::Findings;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    let mut started = BTreeMap::new();
    for (id, record) in &evidence.runs {
        let run = &record.state.run;
        let Some(time) = run.intended_at.filter(|_| run.replayed_from.is_none() && run.resumed_from.is_none()) else {
            continue;
        };
        if let Some(other) = started.insert((run.workflow.to_string(), run.trigger.to_string(), time), *id) {
            findings.add(*id, format!("the occurrence of {} at {time} started run {other} as well", run.trigger));
        }
    }
}
