//! What is judged: what a store holds, and what was seen from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use squidmesh_core::{
    Attempt, AuditKind, Definition, Event, Fingerprint, History, RunFilter, RunId, RunState, StepName, StoreError,
    StoreSession, Timestamp, WorkflowName,
};

use super::callbacks::Try;

/// Everything that is known of a history.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the store holds of each run.
    pub runs: BTreeMap<RunId, RunRecord>,
    /// What handlers did, by number: they put their number into their output, under `effect`.
    pub effects: Vec<Effect>,
    /// The effects whose handlers said that they succeeded, by number, where they were listened to.
    pub succeeded: BTreeSet<usize>,
    /// What clients asked, and what they were answered.
    pub calls: Vec<Call>,
    /// Whether that is all that anybody asked.
    pub calls_complete: bool,
    /// What was told, by every process.
    pub events: Vec<Event>,
    /// When things happened by one clock, where somebody watched.
    pub times: Times,
    /// How far the clocks of processes may be apart: times that nobody watched are trusted no further.
    pub skew: Duration,
    /// The steps whose handlers write rows in the transaction of their outcome.
    pub transactional: BTreeSet<(WorkflowName, StepName)>,
    /// How many times in a row a step may end with its worker.
    pub crash_limit: Option<u32>,
    /// The versions that some process has; `None` if all.
    pub registered: Option<BTreeSet<Fingerprint>>,
}

/// What a store holds of a run.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// The run and its step runs.
    pub state: RunState,
    /// Its attempts, audit trail and intents.
    pub history: History,
    /// The version that it is pinned to.
    pub definition: Option<Arc<Definition>>,
}

impl RunRecord {
    /// The attempts of a step, in order.
    pub(super) fn attempts(&self, step: &StepName) -> impl Iterator<Item = Attempt> {
        let run = self.state.steps.get(step);
        run.map(|run| self.history.attempts_of(run)).unwrap_or_default().into_iter()
    }

    /// Whether the run was always of the version that it is pinned to now.
    pub(super) fn own_definition(&self) -> Option<&Definition> {
        let adopted = self.history.audit.iter().any(|entry| entry.kind == AuditKind::Adopted);
        self.definition.as_deref().filter(|_| !adopted)
    }

    /// The steps that the run was given as done, when it went on from a failed one.
    pub(super) fn is_given(&self, step: &StepName) -> bool {
        let found = self.state.steps.get(step);
        self.state.run.resumed_from.is_some() && found.is_some_and(|run| run.attempt == 0 && run.output.is_some())
    }
}

/// What a handler did.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step: StepName,
    /// What was called.
    pub kind: EffectKind,
    /// In which attempt.
    pub attempt: u32,
    /// With what.
    pub input: Value,
    /// The delay that the handler asked for when it failed.
    pub retry_after: Option<Duration>,
}

/// What was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectKind {
    /// The handler of a step.
    Step,
    /// The compensation of a step.
    Compensation,
    /// A row that the handler of a transactional step wrote, and that was committed.
    Row,
}

/// Something that a client asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What.
    pub act: Act,
    /// What came back.
    pub answer: Answer,
}

/// What clients ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// To start a run.
    Start {
        /// Of this workflow.
        workflow: WorkflowName,
        /// Under this idempotency key.
        key: Option<String>,
    },
    /// To cancel a run.
    Cancel(RunId),
    /// To let a paused run go on.
    Unblock(RunId),
    /// To approve.
    Approve(RunId),
    /// To reject.
    Reject(RunId),
    /// To replay a run.
    Replay(RunId),
    /// To resume a run.
    Resume(RunId),
}

/// What a client was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It was done: the run that came of it.
    Ok(RunId),
    /// It was refused, and nothing was changed.
    Refused(String),
    /// No answer, or one that leaves it open.
    Unknown,
}

/// When things happened, by one clock.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// When step runs were scheduled.
    pub scheduled: BTreeMap<(RunId, StepName), Timestamp>,
    /// When attempts began.
    pub began: BTreeMap<(RunId, StepName, u32), Timestamp>,
    /// When attempts ended.
    pub ended: BTreeMap<(RunId, StepName, u32), Timestamp>,
    /// When runs were cancelled.
    pub cancelled: BTreeMap<RunId, Timestamp>,
    /// The tries of compensation callbacks.
    pub callbacks: BTreeMap<(RunId, StepName), Vec<Try>>,
    /// The compensation callbacks that began, in order.
    pub compensated: BTreeMap<RunId, Vec<StepName>>,
}

impl Evidence {
    /// What a store holds.
    ///
    /// # Errors
    /// [`StoreError`] if any run cannot be read.
    pub async fn read(store: &dyn StoreSession) -> Result<Evidence, StoreError> {
        let mut evidence = Evidence::default();
        let mut definitions: BTreeMap<String, Option<Arc<Definition>>> = BTreeMap::new();
        let mut after = None;
        loop {
            let page =
                store.list(&after.map_or(RunFilter::new(), |last| RunFilter::new().after(last)).limit(1_000)).await?;
            for run in &page.runs {
                let Some(state) = store.load(run.id).await? else { continue };
                let history = store.history(run.id).await?;
                let name = state.run.fingerprint.to_string();
                let definition = match definitions.get(&name) {
                    Some(found) => found.clone(),
                    None => {
                        let found = store.definition(&state.run.fingerprint).await?.map(Arc::new);
                        definitions.insert(name, found.clone());
                        found
                    }
                };
                evidence.runs.insert(run.id, RunRecord { state, history, definition });
            }
            after = page.next;
            if after.is_none() {
                return Ok(evidence);
            }
        }
    }

    /// The handler's or callback's effect that an output names.
    pub(super) fn effect_of(&self, output: &Map<String, Value>) -> Option<(usize, Option<&Effect>)> {
        let number = output.get("effect").or_else(|| output.values().find_map(|value| value.get("effect")))?;
        let number = usize::try_from(number.as_u64()?).ok()?;
        Some((number, self.effects.get(number)))
    }

    /// When an attempt began, and how far that is to be trusted.
    pub(super) fn began(&self, run: RunId, attempt: &Attempt) -> (Timestamp, Duration) {
        match self.times.began.get(&(run, attempt.step.clone(), attempt.number)) {
            Some(time) => (*time, Duration::ZERO),
            None => (attempt.started_at, self.skew),
        }
    }

    /// When an attempt ended, and how far that is to be trusted.
    pub(super) fn ended(&self, run: RunId, attempt: &Attempt) -> Option<(Timestamp, Duration)> {
        match self.times.ended.get(&(run, attempt.step.clone(), attempt.number)) {
            Some(time) => Some((*time, Duration::ZERO)),
            None => Some((attempt.finished_at?, self.skew)),
        }
    }
}
