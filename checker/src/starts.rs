//! Acknowledged starts exist, and a key starts one run.

use std::collections::BTreeMap;

use squidmesh_core::RunId;

use crate::evidence::{Act, Answer, Evidence};
use crate::findings::Findings;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    let mut keys: BTreeMap<(String, String), RunId> = BTreeMap::new();
    for (id, record) in &evidence.runs {
        let run = &record.state.run;
        let Some(key) = &run.idempotency_key else { continue };
        if let Some(other) = keys.insert((run.workflow.to_string(), key.clone()), *id) {
            findings.add(*id, format!("key {key:?} of workflow {} started run {other} as well", run.workflow));
        }
    }
    for call in &evidence.calls {
        match (&call.act, &call.answer) {
            (Act::Start { workflow, key }, Answer::Ok(id)) => {
                let Some(record) = evidence.runs.get(id) else {
                    findings.add(*id, "its start was acknowledged, and it is not there");
                    continue;
                };
                let run = &record.state.run;
                findings
                    .demand(run.workflow == *workflow, *id, || format!("it is of {}, not {workflow}", run.workflow));
                findings.demand(run.idempotency_key == *key, *id, || {
                    format!("it was started under key {key:?}, and has {:?}", run.idempotency_key)
                });
            }
            (Act::Replay(from), Answer::Ok(id)) => {
                let found = evidence.runs.get(id).and_then(|record| record.state.run.replayed_from);
                findings.demand(found == Some(*from), *id, || format!("it replays {from}, and says {found:?}"));
            }
            (Act::Resume(from), Answer::Ok(id)) => {
                let found = evidence.runs.get(id).and_then(|record| record.state.run.resumed_from);
                findings.demand(found == Some(*from), *id, || format!("it resumes {from}, and says {found:?}"));
            }
            _ => {}
        }
    }
}
