//! The workflows that this process can carry out: several versions of each, new runs start on the newest.

use std::collections::HashMap;
use std::sync::Arc;

use super::ConfigError;
use crate::{Fingerprint, QueueName, Workflow, WorkflowName};

/// The registered workflows.
#[derive(Default)]
pub(crate) struct Registry {
    versions: HashMap<Fingerprint, Arc<Workflow>>,
    newest: HashMap<WorkflowName, Arc<Workflow>>,
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

    /// Every queue that a registered step names, and the default one, in order.
    pub(crate) fn queues(&self) -> Vec<QueueName> {
        let steps = self.versions.values().flat_map(|workflow| workflow.definition().steps());
        let mut queues: Vec<_> = steps.map(|step| step.queue.clone()).chain([QueueName::default()]).collect();
        queues.sort();
        queues.dedup();
        queues
    }
}
