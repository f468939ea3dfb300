//! The workflows that this process can carry out: several versions of each, new runs start on the newest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::ConfigError;
use crate::schedule::Schedule;
use crate::{Fingerprint, MissedPolicy, QueueName, TriggerKind, TriggerName, Workflow, WorkflowName};

/// The registered workflows.
#[derive(Default)]
pub(crate) struct Registry {
    versions: HashMap<Fingerprint, Arc<Workflow>>,
    newest: HashMap<WorkflowName, Arc<Workflow>>,
    adopting: HashSet<WorkflowName>,
}

impl Registry {
    /// Adds a version; it becomes the newest of its name.
    pub(super) fn add(&mut self, workflow: Workflow) -> Result<(), ConfigError> {
        let definition = workflow.definition();
        let (name, fingerprint) = (definition.name().clone(), *definition.fingerprint());
        if self.versions.contains_key(&fingerprint) {
            return Err(ConfigError::DuplicateWorkflow { workflow: name, fingerprint });
        }
        let workflow = Arc::new(workflow);
        self.versions.insert(fingerprint, workflow.clone());
        self.newest.insert(name, workflow);
        Ok(())
    }

    /// Lets the newest version of a workflow adopt runs of others.
    pub(super) fn adopt(&mut self, name: &str) -> Result<(), ConfigError> {
        let Some(newest) = self.newest.get(name) else {
            return Err(ConfigError::NothingToAdopt { workflow: name.to_owned() });
        };
        self.adopting.insert(newest.definition().name().clone());
        Ok(())
    }

    /// The version that may adopt runs of a workflow, if any may.
    pub(crate) fn adopter(&self, name: &WorkflowName) -> Option<&Arc<Workflow>> {
        self.newest.get(name).filter(|_| self.adopting.contains(name))
    }

    /// The version with this fingerprint.
    pub(crate) fn version(&self, fingerprint: &Fingerprint) -> Option<&Arc<Workflow>> {
        self.versions.get(fingerprint)
    }

    /// The newest version of a workflow.
    pub(crate) fn newest(&self, name: &str) -> Option<&Arc<Workflow>> {
        self.newest.get(name)
    }

    /// The names of the registered workflows, in order.
    pub(crate) fn names(&self) -> Vec<WorkflowName> {
        let mut names: Vec<_> = self.newest.keys().cloned().collect();
        names.sort();
        names
    }

    /// Every registered version.
    pub(crate) fn fingerprints(&self) -> Vec<Fingerprint> {
        let mut all: Vec<_> = self.versions.keys().cloned().collect();
        all.sort();
        all
    }

    /// Every cron trigger of the newest versions, by name.
    pub(super) fn schedules(&self) -> Vec<Scheduled> {
        let mut all: Vec<_> = self.newest.values().flat_map(|workflow| Scheduled::all_of(workflow)).collect();
        all.sort_by(|one, other| (&one.workflow, &one.trigger).cmp(&(&other.workflow, &other.trigger)));
        all
    }

    /// Every queue that a registered step names, and the default one, in order.
    pub(crate) fn queues(&self) -> Vec<QueueName> {
        let steps = self.versions.values().flat_map(|workflow| workflow.definition().steps());
        let mut queues: Vec<_> = steps.map(|step| step.queue.clone()).chain([QueueName::default()]).collect();
        queues.sort();
        queues.dedup();
        queues
    }
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
