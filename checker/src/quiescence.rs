//! At rest, every run has ended, or waits for a person, a signal, a time or a version.

use squidmesh_core::RunStatus;
use squidmesh_core::run::StepStatus;

use crate::evidence::Evidence;
use crate::findings::Findings;
use crate::life_cycle;
use crate::signals::awaited;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for (id, record) in &evidence.runs {
        let run = &record.state.run;
        let known = evidence.registered.as_ref().is_none_or(|registered| registered.contains(&run.fingerprint));
        let for_signal = record.state.in_status(StepStatus::Paused).any(|step| awaited(step).is_some());
        let waits = run.status == RunStatus::Paused || (run.status == RunStatus::Running && for_signal);
        let rests = life_cycle::is_over(run.status) || waits;
        findings.demand(rests || !known, *id, || format!("it is {} for ever", run.status));
        findings.demand(waits || !known || record.history.intents.is_empty(), *id, || {
            format!("it is {}, and {:?} is left to be done", run.status, record.history.intents)
        });
    }
}
