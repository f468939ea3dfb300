//! The workflows that this process can execute: several versions of each; new runs start on the newest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::ConfigError;
use super::lookup_error::UnknownWorkflow;
use crate::definition::{Definition, Fingerprint, MissedPolicy, TriggerKind};
use crate::name::{QueueName, TriggerName, WorkflowName};
use crate::schedule::{Schedule, TriggerRecord};
use crate::time::Timestamp;
use crate::workflow::Workflow;

/// The registered workflows.
#[derive(Default)]
pub(crate) struct Registry {
    versions: HashMap<Fingerprint, Arc<Workflow>>,
    newest: HashMap<WorkflowName, Arc<Workflow>>,
    adopting: HashSet<WorkflowName>,
}

impl Registry {
    /// Adds a version; it becomes the newest of its name.
    pub(crate) fn add(&mut self, workflow: Workflow) -> Result<(), ConfigError> {
        let definition = workflow.definition();
        let (name, fingerprint) = (definition.name().clone(), *definition.fingerprint());
        if self.versions.contains_key(&fingerprint) {
            return Err(ConfigError::DuplicateWorkflow { workflow: name, fingerprint });
        }
        let workflow = Arc::new(workflow);
        self.versions.insert(fingerprint, workflow.clone());
        if let Some(before) = self.newest.insert(name, workflow.clone()) {
            warn_of_strangers(before.definition(), workflow.definition());
        }
        Ok(())
    }

    /// Allows the newest version of a workflow to adopt runs of others.
    pub(crate) fn adopt(&mut self, name: &str) -> Result<(), ConfigError> {
        let Some(newest) = self.newest.get(name) else {
            return Err(ConfigError::NothingToAdopt { workflow: name.to_owned() });
        };
        self.adopting.insert(newest.definition().name().clone());
        Ok(())
    }

    /// Returns the version that may adopt runs of a workflow, if any.
    pub(crate) fn adopter(&self, name: &WorkflowName) -> Option<&Arc<Workflow>> {
        self.newest.get(name).filter(|_| self.adopting.contains(name))
    }

    /// Returns the version with this fingerprint.
    pub(crate) fn version(&self, fingerprint: &Fingerprint) -> Option<&Arc<Workflow>> {
        self.versions.get(fingerprint)
    }

    /// Returns the newest version of a workflow.
    pub(crate) fn newest(&self, name: &str) -> Option<&Arc<Workflow>> {
        self.newest.get(name)
    }

    /// Returns the newest version of a workflow that a call names.
    pub(super) fn registered(&self, name: &str) -> Result<&Arc<Workflow>, UnknownWorkflow> {
        self.newest.get(name).ok_or_else(|| {
            let mut registered: Vec<_> = self.newest.keys().cloned().collect();
            registered.sort();
            UnknownWorkflow { workflow: name.to_owned(), registered }
        })
    }

    /// Returns every registered version.
    pub(crate) fn fingerprints(&self) -> Vec<Fingerprint> {
        let mut all: Vec<_> = self.versions.keys().cloned().collect();
        all.sort();
        all
    }

    /// Returns every cron trigger of the newest versions, by name.
    pub(crate) fn schedules(&self) -> Vec<Scheduled> {
        let mut all: Vec<_> = self.newest.values().flat_map(|workflow| Scheduled::all_of(workflow)).collect();
        all.sort_by(|one, other| (&one.workflow, &one.trigger).cmp(&(&other.workflow, &other.trigger)));
        all
    }

    /// Returns whether an occurrence delivered by the host belongs to a registered schedule. The versions of a
    /// rolling deploy may differ in their schedules: any of them counts. Runs start on the newest version, so that
    /// one must have the trigger.
    pub(crate) fn occurs(&self, workflow: &WorkflowName, trigger: &TriggerName, at: Timestamp) -> Occurs {
        let newest = self.newest.get(workflow).and_then(|found| found.definition().trigger(trigger.as_str()));
        let Some(newest) = newest else { return Occurs::Unknown };
        if matches!(newest.kind(), TriggerKind::Manual) {
            return Occurs::ByHand;
        }
        let versions = self.versions.values().filter(|version| version.definition().name() == workflow);
        let mut schedules = versions.flat_map(|version| Scheduled::all_of(version));
        let fires = schedules.any(|scheduled| scheduled.trigger == *trigger && scheduled.schedule.fires_at(at));
        if fires { Occurs::Then } else { Occurs::Never }
    }

    /// Returns every queue that a registered step names, and the default one, in order.
    pub(crate) fn queues(&self) -> Vec<QueueName> {
        let steps = self.versions.values().flat_map(|workflow| workflow.definition().steps());
        let mut queues: Vec<_> = steps.map(|step| step.queue.clone()).chain([QueueName::default()]).collect();
        queues.sort();
        queues.dedup();
        queues
    }
}

/// Logs a warning if two versions of one name have no step in common: they are probably two workflows.
fn warn_of_strangers(before: &Definition, newest: &Definition) {
    if newest.steps().iter().all(|step| before.step(step.name.as_str()).is_none()) {
        tracing::warn!(
            target: "squidmesh",
            workflow = %newest.name(),
            "two workflows of one name are registered and have no step in common: new runs start on the one registered \
             last; give each its own name, unless they are two versions of one workflow"
        );
    }
}

/// Whether an occurrence belongs to a registered schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occurs {
    /// Its trigger fires at that time.
    Then,
    /// Its trigger never fires at that time.
    Never,
    /// The trigger is manual.
    ByHand,
    /// No registered workflow has the trigger.
    Unknown,
}

/// A cron trigger of a workflow.
#[derive(Clone, Debug)]
pub(crate) struct Scheduled {
    pub(crate) workflow: WorkflowName,
    pub(crate) trigger: TriggerName,
    pub(crate) schedule: Schedule,
    pub(crate) missed: MissedPolicy,
}

impl Scheduled {
    /// Returns a copy of the trigger's stored record, or a new one if none is stored.
    pub(crate) fn record(&self, stored: Option<&TriggerRecord>) -> TriggerRecord {
        stored.cloned().unwrap_or_else(|| TriggerRecord::new(self.workflow.clone(), self.trigger.clone()))
    }

    fn all_of(workflow: &Workflow) -> impl Iterator<Item = Scheduled> {
        let definition = workflow.definition();
        definition.triggers().iter().filter_map(|trigger| match trigger.kind() {
            TriggerKind::Manual => None,
            TriggerKind::Cron { expression, time_zone, missed } => Some(Scheduled {
                workflow: definition.name().clone(),
                trigger: trigger.name().clone(),
                schedule: Schedule::new(expression, time_zone).ok()?, // was valid when the workflow was built
                missed: *missed,
            }),
        })
    }
}
