//! At rest, every run has ended, or waits for a person, a time or a version.

use squidmesh_core::RunStatus;

use crate::evidence::Evidence;
use crate::findings::Findings;
use crate::life_cycle;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let run = &record.state.run;
        let known = evidence.registered.as_ref().is_none_or(|registered| registered.contains(&run.fingerprint));
        let rests = life_cycle::is_over(run.status) || run.status == RunStatus::Paused;
        findings.demand(rests || !known, *id, || format!("it is {} for ever", run.status));
        let person = run.status == RunStatus::Paused;
        findings.demand(person || !known || record.history.intents.is_empty(), *id, || {
            format!("it is {}, and {:?} is left to be done", run.status, record.history.intents)
        });
    }
}
