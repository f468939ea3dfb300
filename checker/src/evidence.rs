//! The evidence that is judged: what a store holds, and what was observed from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use squidmesh_core::command::SignalReceipt;
use squidmesh_core::definition::{Definition, Fingerprint, StepName, WorkflowName};
use squidmesh_core::event::Event;
use squidmesh_core::port::{RunHistory, StoreError, StoreSession};
use squidmesh_core::run::{Attempt, AuditKind, RunSnapshot, StepRun};
use squidmesh_core::{RunFilter, RunId, Timestamp};

use crate::tries::Try;

/// Everything that is known about a history.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The store's record of each run.
    pub runs: BTreeMap<RunId, RunRecord>,
    /// The effects of handlers, by number: a handler puts its number into its output, under `effect`.
    pub effects: Vec<Effect>,
    /// The numbers of the effects whose handlers reported success, where that was recorded.
    pub succeeded: BTreeSet<usize>,
    /// The clients' calls with their answers.
    pub calls: Vec<Call>,
    /// Whether `calls` holds every call.
    pub calls_complete: bool,
    /// The events that all processes emitted.
    pub events: Vec<Event>,
    /// Times by one clock, where they were observed.
    pub times: Times,
    /// The maximum difference between the clocks of processes: times that were not observed are trusted only that
    /// far.
    pub skew: Duration,
    /// The steps whose handlers write rows in the transaction of their outcome.
    pub transactional: BTreeSet<(WorkflowName, StepName)>,
    /// The maximum number of consecutive attempts of a step that may end with their worker.
    pub crash_limit: Option<u32>,
    /// Runs of an earlier version of the product, which gave no sequence number to failed steps whose error
    /// transition was taken.
    pub inherited: BTreeSet<RunId>,
    /// The versions that any process has registered; `None` if all.
    pub registered: Option<BTreeSet<Fingerprint>>,
}

/// A store's record of a run.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// The run and its step runs.
    pub state: RunSnapshot,
    /// Its attempts, audit trail and intents.
    pub history: RunHistory,
    /// The version that the run is pinned to.
    pub definition: Option<Arc<Definition>>,
}

impl RunRecord {
    /// Returns the attempts of a step, in order.
    pub(super) fn attempts(&self, step: &StepName) -> impl Iterator<Item = Attempt> {
        let run = self.state.steps.get(step);
        run.map(|run| self.history.attempts_of(run)).unwrap_or_default().into_iter()
    }

    /// Returns the input of a step, if the version that derives it is known.
    pub(super) fn input(&self, step: &StepRun) -> Option<Arc<Map<String, Value>>> {
        Some(self.state.input_of(step, self.definition.as_deref()?))
    }

    /// Returns the version that the run is pinned to, unless the run was adopted.
    pub(super) fn own_definition(&self) -> Option<&Definition> {
        let adopted = self.history.audit.iter().any(|entry| entry.kind == AuditKind::Adopted);
        self.definition.as_deref().filter(|_| !adopted)
    }

    /// Returns whether the run was given the step as completed when it was created from a failed run.
    pub(super) fn is_given(&self, step: &StepName) -> bool {
        let found = self.state.steps.get(step);
        self.state.run.resumed_from.is_some() && found.is_some_and(|run| run.attempt == 0 && run.output.is_some())
    }
}

/// An effect of a handler.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step: StepName,
    /// The kind of handler that was called.
    pub kind: EffectKind,
    /// The attempt in which it was called.
    pub attempt: u32,
    /// The input it was called with.
    pub input: Value,
    /// The delay that the handler requested when it failed.
    pub retry_after: Option<Duration>,
}

/// The kind of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectKind {
    /// The handler of a step.
    Step,
    /// The compensation of a step.
    Compensation,
    /// A row that the handler of a transactional step wrote, and that was committed.
    Row,
}

/// A client's call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What the client asked for.
    pub act: Act,
    /// The answer.
    pub answer: Answer,
}

/// What clients ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Start a run.
    Start {
        /// The workflow to start.
        workflow: WorkflowName,
        /// The idempotency key, if any.
        key: Option<String>,
    },
    /// Cancel a run.
    Cancel(RunId),
    /// Unblock a paused run.
    Unblock(RunId),
    /// Approve the step that a run waits at.
    Approve(RunId),
    /// Reject the step that a run waits at.
    Reject(RunId),
    /// Replay a run.
    Replay(RunId),
    /// Resume a failed run.
    Resume(RunId),
    /// Send a signal.
    Signal(Signal),
}

/// A signal that a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The run that it is sent to.
    pub to: Addressee,
    /// The name of the signal.
    pub name: String,
    /// The deduplication key, if any.
    pub dedup_key: Option<String>,
    /// The number that no other signal has: the payload has it under `number`.
    pub number: u64,
}

/// The run that a signal is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// The run with this id.
    Run(RunId),
    /// The run that was started under a key, or that resumes it.
    Key {
        /// The workflow of the run.
        workflow: WorkflowName,
        /// The key.
        key: String,
        /// Whether a run is started if none has the key.
        starts: bool,
    },
}

/// The answer to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It was done; the run that it concerns or created.
    Ok(RunId),
    /// The run received the signal, or had received it.
    Signalled(RunId, SignalReceipt),
    /// It was refused, and nothing changed.
    Refused(String),
    /// There was no answer, or one that leaves the outcome open.
    Unknown,
}

/// The times of changes, by one clock.
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
    /// The attempts of compensation callbacks.
    pub callbacks: BTreeMap<(RunId, StepName), Vec<Try>>,
    /// The compensation callbacks that began, in order.
    pub compensated: BTreeMap<RunId, Vec<StepName>>,
}

impl Evidence {
    /// Reads everything that a store holds.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if any run cannot be read.
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

    /// Returns the effect of a handler or callback that an output names.
    pub(super) fn effect_of(&self, output: &Map<String, Value>) -> Option<(usize, Option<&Effect>)> {
        let number = output.get("effect").or_else(|| output.values().find_map(|value| value.get("effect")))?;
        let number = usize::try_from(number.as_u64()?).ok()?;
        Some((number, self.effects.get(number)))
    }

    /// Returns when an attempt began, and how much that time may be off.
    pub(super) fn began(&self, run: RunId, attempt: &Attempt) -> (Timestamp, Duration) {
        match self.times.began.get(&(run, attempt.step.clone(), attempt.number)) {
            Some(time) => (*time, Duration::ZERO),
            None => (attempt.started_at, self.skew),
        }
    }

    /// Returns when an attempt ended, and how much that time may be off.
    pub(super) fn ended(&self, run: RunId, attempt: &Attempt) -> Option<(Timestamp, Duration)> {
        match self.times.ended.get(&(run, attempt.step.clone(), attempt.number)) {
            Some(time) => Some((*time, Duration::ZERO)),
            None => Some((attempt.finished_at?, self.skew)),
        }
    }
}
