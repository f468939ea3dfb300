//! What a call names and cannot find: a run, its version, a workflow or a trigger. Shared by the errors of all calls.

use crate::definition::{Definition, TriggerDefinition};
use crate::id::RunId;
use crate::name::{TriggerName, WorkflowName, listed};

/// There is no run with this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no run {run}")]
pub struct RunNotFound {
    /// The id that was given.
    pub run: RunId,
}

/// The version that a run is pinned to is neither registered in this process nor stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("run {run} is pinned to a version of its workflow that is not known: register that version")]
pub struct UnknownDefinition {
    /// The run.
    pub run: RunId,
}

/// No workflow of this name is registered in this process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no workflow {workflow:?} is registered; registered are: {}", listed(.registered))]
pub struct UnknownWorkflow {
    /// The workflow name that was given.
    pub workflow: String,
    /// The workflows that are registered.
    pub registered: Vec<WorkflowName>,
}

/// The newest version of the workflow has no such trigger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("workflow {workflow} has no trigger {trigger:?}; it has: {}", listed(.triggers))]
pub struct UnknownTrigger {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The trigger name that was given.
    pub trigger: String,
    /// The triggers that the workflow has.
    pub triggers: Vec<TriggerName>,
}

/// Returns a trigger of a workflow by its name.
pub(super) fn declared_trigger<'a>(
    definition: &'a Definition,
    name: &str,
) -> Result<&'a TriggerDefinition, UnknownTrigger> {
    definition.trigger(name).ok_or_else(|| UnknownTrigger {
        workflow: definition.name().clone(),
        trigger: name.to_owned(),
        triggers: trigger_names(definition),
    })
}

/// Returns the names of a workflow's triggers.
pub(super) fn trigger_names(definition: &Definition) -> Vec<TriggerName> {
    definition.triggers().iter().map(|trigger| trigger.name().clone()).collect()
}
