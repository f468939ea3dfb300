//! Looking at runs: in any process that shares the store, whether or not it has the workflow's code.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{CommandError, Runtime};
use crate::inspect::{Explanation, Graph, Subject, explain, graph};
use crate::{
    Attempt, AuditEvent, Definition, History, IntentRecord, Run, RunId, RunState, StepName, StepRun, StepStatus,
    StoreSession, TriggerDefinition,
};

/// A run, its context, and everything recorded about it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RunDetails {
    /// The run.
    pub run: Run,
    /// The merged outputs of its completed steps.
    pub context: Map<String, Value>,
    /// Every declared step, in order of declaration.
    pub steps: Vec<StepView>,
    /// The audit trail, in order.
    pub audit: Vec<AuditEvent>,
    /// What is dispatched and not yet done.
    pub intents: Vec<IntentRecord>,
}

/// A declared step of a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepView {
    /// Its name.
    pub name: StepName,
    /// Where it is.
    pub state: StepState,
    /// What it depends on, in a dependency workflow.
    pub after: Vec<StepName>,
    /// Its durable state, once it was scheduled.
    pub run: Option<StepRun>,
    /// Its attempts, from the first.
    pub attempts: Vec<Attempt>,
}

/// Where a declared step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepState {
    /// It has not been scheduled.
    Waiting,
    /// It is scheduled.
    Pending,
    /// It runs.
    Running,
    /// It waits for a person.
    Paused,
    /// It is done.
    Completed,
    /// It failed for good.
    Failed,
    /// It was scheduled, and the run ended before it began.
    Cancelled,
}

impl From<StepStatus> for StepState {
    fn from(status: StepStatus) -> Self {
        match status {
            StepStatus::Pending => StepState::Pending,
            StepStatus::Running => StepState::Running,
            StepStatus::Paused => StepState::Paused,
            StepStatus::Completed => StepState::Completed,
            StepStatus::Failed => StepState::Failed,
            StepStatus::Cancelled => StepState::Cancelled,
        }
    }
}

impl StepState {
    /// The name in JSON and drawings.
    pub const fn as_str(self) -> &'static str {
        match self {
            StepState::Waiting => "waiting",
            StepState::Pending => "pending",
            StepState::Running => "running",
            StepState::Paused => "paused",
            StepState::Completed => "completed",
            StepState::Failed => "failed",
            StepState::Cancelled => "cancelled",
        }
    }
}

impl Runtime {
    /// Why a run is where it is.
    pub(super) async fn explain(&self, session: &dyn StoreSession, id: RunId) -> Result<Explanation, CommandError> {
        let (state, history) = whole(session, id).await?;
        let definition = self.definition(session, &state.run.fingerprint).await?;
        let newest = self.registry.newest(state.run.workflow.as_str());
        let trigger = newest.and_then(|found| found.definition().trigger(state.run.trigger.as_str()));
        let payload = Value::Object((*state.run.payload).clone());
        let accepts = |found: &TriggerDefinition| {
            found.contract().resolve(payload.clone(), self.clock.now().date(), &self.config.json).is_ok()
        };
        Ok(explain(&Subject {
            definition: definition.as_deref(),
            registered: self.registry.version(&state.run.fingerprint).is_some(),
            replayable: trigger.is_some_and(accepts),
            newest: newest.map(|found| &**found.definition()),
            adoption: self.registry.adopter(&state.run.workflow).is_some(),
            history: &history,
            now: self.clock.now(),
            state: &state,
        }))
    }

    /// A run as a graph.
    pub(super) async fn graph(&self, session: &dyn StoreSession, id: RunId) -> Result<Graph, CommandError> {
        let state = session.load(id).await?.ok_or(CommandError::NotFound(id))?;
        let definition = self.definition(session, &state.run.fingerprint).await?;
        Ok(graph(&state, &*definition.ok_or(CommandError::UnknownDefinition(id))?))
    }

    /// A run with everything recorded about it.
    pub(super) async fn inspect(&self, session: &dyn StoreSession, id: RunId) -> Result<RunDetails, CommandError> {
        let (state, history) = whole(session, id).await?;
        let definition = self.definition(session, &state.run.fingerprint).await?;
        let definition = definition.ok_or(CommandError::UnknownDefinition(id))?;
        Ok(RunDetails {
            context: state.context(&definition),
            steps: steps(&state, &definition, &history),
            run: state.run,
            audit: history.audit,
            intents: history.intents,
        })
    }
}

/// How often a run that keeps changing is read anew before it is shown as it was found.
const READS: usize = 5;

/// A run and its history as of one revision, as far as a busy run lets itself be caught.
async fn whole(session: &dyn StoreSession, id: RunId) -> Result<(RunState, History), CommandError> {
    let mut state = session.load(id).await?.ok_or(CommandError::NotFound(id))?;
    for _ in 1..READS {
        let history = session.history(id).await?;
        let after = session.load(id).await?.ok_or(CommandError::NotFound(id))?;
        if after.run.revision == state.run.revision {
            return Ok((state, history));
        }
        state = after;
    }
    Ok((state, session.history(id).await?))
}

fn steps(state: &RunState, definition: &Definition, history: &History) -> Vec<StepView> {
    definition
        .steps()
        .iter()
        .map(|step| {
            let run = state.steps.get(&step.name);
            StepView {
                name: step.name.clone(),
                state: run.map_or(StepState::Waiting, |run| run.status.into()),
                after: step.after.clone(),
                run: run.cloned(),
                attempts: run.map(|run| history.attempts_of(run)).unwrap_or_default(),
            }
        })
        .collect()
}
