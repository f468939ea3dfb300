//! Each attempt of a step is given the snapshot that the step was scheduled with, however the context changes.

use serde_json::Value;

use crate::evidence::{EffectKind, Evidence};
use crate::findings::Findings;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    for effect in &evidence.effects {
        let record = evidence.runs.get(&effect.run_id);
        let found = record.and_then(|record| Some((record, record.state.steps.get(&effect.step)?)));
        let Some((record, run)) = found else {
            findings.add(effect.run_id, format!("{} was carried out, and has no step run", effect.step));
            continue;
        };
        let given = match effect.kind {
            EffectKind::Step => &effect.input,
            EffectKind::Compensation => effect.input.get("input").unwrap_or(&Value::Null),
            EffectKind::Row => continue,
        };
        let Some(snapshot) = record.input(run) else { continue };
        findings.demand(given.as_object() == Some(&*snapshot), effect.run_id, || {
            format!("attempt {} of {} ({:?}) was not given its snapshot", effect.attempt, effect.step, effect.kind)
        });
    }
}
