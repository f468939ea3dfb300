//! How a commit reads in the trace.

use std::fmt;

use squidmesh_core::Run;
use squidmesh_core::definition::StepName;
use squidmesh_core::dispatch::IntentKey;
use squidmesh_core::port::{Commit, IntentWrite};
use squidmesh_core::run::ReceivedSignal;

/// The idempotency key that a run is started under.
pub(super) struct Named<'a>(pub(super) &'a Run);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.idempotency_key {
            Some(key) if self.0.revision == 1 => write!(f, " under {key}"),
            _ => Ok(()),
        }
    }
}

/// The target of an intent.
struct Target<'a>(&'a IntentKey);

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.target.step().map_or("compensation", StepName::as_str))
    }
}

/// The changes of a commit to steps and intents.
pub(super) struct Changes<'a>(pub(super) &'a Commit);

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for write in &self.0.steps {
            let step = write.step();
            write!(f, ", {} {} ({})", step.step, step.status.as_str(), step.attempt)?;
        }
        for write in &self.0.intents {
            match write {
                IntentWrite::Add(intent) => write!(f, ", +{}", Target(&intent.key))?,
                IntentWrite::Replace(intent) => write!(f, ", ={}", Target(&intent.key))?,
                IntentWrite::Remove(key) => write!(f, ", -{}", Target(key))?,
                IntentWrite::Repin { .. } => f.write_str(", of another version")?,
            }
        }
        for signal in self.0.signals.iter().flatten() {
            let ReceivedSignal { name, dedup_key, taken_by, .. } = signal;
            write!(f, ", signal {name}")?;
            dedup_key.iter().try_for_each(|key| write!(f, " under {key}"))?;
            taken_by.iter().try_for_each(|step| write!(f, " taken by {step}"))?;
        }
        Ok(())
    }
}
