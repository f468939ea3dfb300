//! The unit of work: the state of one run, and all changes that a decision makes to it.
//!
//! Commands change the state here and nowhere else, so that every change is in the commit, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::commit::{Commit, IntentWrite, Precondition, StepWrite};
use crate::definition::{Definition, StepDefinition};
use crate::dispatch::{Intent, IntentKey, Lease};
use crate::event::{Event, EventKind};
use crate::json::JsonLimits;
use crate::name::StepName;
use crate::run::{
    Attempt, AuditEvent, AuditKind, Failure, InputSnapshot, InvalidTransition, ReceivedSignal, Run, RunSnapshot,
    RunStatus, StepRun,
};
use crate::time::Timestamp;
use crate::token::CommitToken;

/// The inputs of a decision that are not pure: time, randomness and the commit's token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecisionInputs {
    /// The current time.
    pub now: Timestamp,
    /// A random number in 0.0 ≤ x < 1.0, for jitter.
    pub random: f64,
    /// The token of the commit.
    pub token: CommitToken,
}

/// The limits that a host sets on storage and attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The limits of payloads, outputs, error details and metadata.
    pub json: JsonLimits,
    /// The maximum size of a run's context, in bytes of compact JSON.
    pub context: usize,
    /// The maximum number of signals of a run that no step has taken.
    pub signals: usize,
    /// The maximum size of their payloads together, in bytes of compact JSON.
    pub signal_bytes: usize,
    /// How many times in a row a step may crash its worker before it fails permanently.
    pub crashes: u32,
    /// How long a worker that lost its lease has to return before the last of these crashes counts.
    pub suspense: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            json: JsonLimits::default(),
            context: 16 << 20,
            signals: 100,
            signal_bytes: 4 << 20,
            crashes: 3,
            suspense: Duration::from_secs(30),
        }
    }
}

/// The result of a change, unless the life cycle of runs does not allow it.
pub(super) type Allowed<T = ()> = Result<T, InvalidTransition>;

/// One atomic change of one run, while it is being decided.
#[derive(Debug)]
pub struct UnitOfWork {
    definition: Arc<Definition>,
    state: RunSnapshot,
    precondition: Precondition,
    fences: Vec<Lease>,
    inputs: DecisionInputs,
    limits: Limits,
    store_definition: bool,
    /// The run's revision, token and update time before it was opened; and whether anything else of the run has
    /// changed.
    before: (u64, CommitToken, Timestamp),
    run_changed: bool,
    /// The position in the order of completion that was assigned last, if any.
    last_sequence: Option<u64>,
    steps: BTreeMap<StepName, StepChange>,
    attempts: Vec<Attempt>,
    intents: BTreeMap<IntentKey, IntentWrite>,
    signals_changed: bool,
    audit: Vec<AuditEvent>,
    events: Vec<EventKind>,
}

/// How a unit of work changes a step run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StepChange {
    Created,
    Changed,
    /// Changed, and its input is stored as a copy from now on.
    InputCopied,
}

/// A decision: apply the commit, then emit the events.
#[derive(Debug)]
pub struct Decision {
    /// The commit to apply.
    pub commit: Commit,
    /// The events to emit once the commit is applied; never before.
    pub events: Vec<Event>,
    /// The state of the run once the commit is applied.
    pub state: RunSnapshot,
}

impl UnitOfWork {
    /// Opens a unit of work on the loaded state of a run. `definition` is the version that the run is pinned to.
    pub fn open(definition: Arc<Definition>, state: RunSnapshot, inputs: DecisionInputs, limits: Limits) -> Self {
        let precondition = Precondition::Revision(state.run.revision);
        UnitOfWork::new(definition, state, precondition, inputs, limits)
    }

    /// Opens a unit of work that creates a run.
    pub(super) fn create(definition: Arc<Definition>, run: Run, inputs: DecisionInputs, limits: Limits) -> Self {
        UnitOfWork::new(definition, RunSnapshot::new(run, []), Precondition::Absent, inputs, limits)
    }

    fn new(
        definition: Arc<Definition>,
        mut state: RunSnapshot,
        precondition: Precondition,
        inputs: DecisionInputs,
        limits: Limits,
    ) -> Self {
        let before = (state.run.revision, state.run.token, state.run.updated_at);
        state.run.revision += 1;
        state.run.token = inputs.token;
        state.run.updated_at = inputs.now;
        UnitOfWork {
            definition,
            state,
            precondition,
            fences: Vec::new(),
            inputs,
            limits,
            store_definition: false,
            before,
            run_changed: precondition == Precondition::Absent,
            last_sequence: None,
            steps: BTreeMap::new(),
            attempts: Vec::new(),
            intents: BTreeMap::new(),
            signals_changed: false,
            audit: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Requires that a claim still holds when the change is committed.
    pub fn fence(&mut self, lease: &Lease) {
        self.fences.push(lease.clone());
    }

    /// Stores the definition along with the change.
    pub fn store_definition(&mut self) {
        self.store_definition = true;
    }

    /// Returns the run in its current state.
    pub fn run(&self) -> &Run {
        &self.state.run
    }

    /// Returns the run and its step runs in their current state.
    pub fn state(&self) -> &RunSnapshot {
        &self.state
    }

    /// Returns the version of the workflow that the run is pinned to.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Returns the time of the decision.
    pub fn now(&self) -> Timestamp {
        self.inputs.now
    }

    /// Returns the limits that apply.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the size of all outputs of the run together.
    pub(super) fn output_bytes(&mut self) -> usize {
        self.state.output_bytes()
    }

    /// Adds the size of an output that a step run receives.
    pub(super) fn count_output(&mut self, bytes: usize) {
        self.state.count_output(bytes);
    }

    /// Starts another decision at a later time in the same unit of work. Both are committed together, under the
    /// first token.
    pub fn join(&mut self, inputs: DecisionInputs) {
        self.inputs = DecisionInputs { token: self.inputs.token, ..inputs };
        self.state.run.updated_at = inputs.now;
    }

    /// Returns whether anything was decided. If not, there is nothing to commit.
    pub fn is_changed(&self) -> bool {
        self.run_changed
            || !self.steps.is_empty()
            || !self.attempts.is_empty()
            || !self.intents.is_empty()
            || self.signals_changed
            || !self.audit.is_empty()
            || !self.events.is_empty()
    }

    /// Returns the original state of a unit of work that is not [changed](UnitOfWork::is_changed).
    pub fn into_unchanged(self) -> RunSnapshot {
        let mut state = self.state;
        (state.run.revision, state.run.token, state.run.updated_at) = self.before;
        state
    }

    /// Closes the unit of work into its decision.
    pub fn close(self) -> Decision {
        let UnitOfWork { definition, state, inputs, .. } = self;
        let mut attempts = self.attempts;
        // An attempt that its step run contains is not written twice.
        attempts.retain(|attempt| {
            state.steps.get(&attempt.step).and_then(StepRun::last_attempt).is_none_or(|written| written != *attempt)
        });
        let steps = self.steps.into_iter().filter_map(|(name, change)| {
            let step = state.steps.get(&name)?.clone();
            Some(match change {
                StepChange::Created => StepWrite::Create(step),
                StepChange::Changed => StepWrite::Update(step),
                StepChange::InputCopied => StepWrite::CopyInput(step),
            })
        });
        let commit = Commit {
            steps: steps.collect(),
            run: state.run.clone(),
            precondition: self.precondition,
            fences: self.fences,
            attempts,
            intents: self.intents.into_values().collect(),
            signals: self.signals_changed.then(|| state.signals.clone()),
            audit: self.audit,
            definition: self.store_definition.then_some(definition),
        };
        let events = self.events.into_iter().map(|kind| Event::new(&state.run, inputs.now, kind)).collect();
        Decision { commit, events, state }
    }

    pub(super) fn inputs(&self) -> &DecisionInputs {
        &self.inputs
    }

    pub(super) fn run_mut(&mut self) -> &mut Run {
        self.run_changed = true;
        &mut self.state.run
    }

    /// Pins the run to another version, which is stored along with the change.
    pub(super) fn pin(&mut self, definition: &Arc<Definition>) {
        self.run_mut().fingerprint = *definition.fingerprint();
        self.definition = Arc::clone(definition);
        self.store_definition = true;
    }

    /// Returns a copy of a step's definition, so that the unit of work can be changed meanwhile.
    pub(super) fn step_definition(&self, step: &StepName) -> Option<StepDefinition> {
        self.definition.step(step.as_str()).cloned()
    }

    /// Fails the run.
    pub(super) fn fail(&mut self, failure: Failure) -> Allowed {
        self.change_status(RunStatus::Failed, Some(&failure))?;
        self.run_mut().last_error = Some(failure);
        Ok(())
    }

    /// Changes the run's status; staying in a status is no transition.
    pub(super) fn transition(&mut self, to: RunStatus) -> Allowed {
        self.change_status(to, None)
    }

    fn change_status(&mut self, to: RunStatus, failure: Option<&Failure>) -> Allowed {
        let from = self.state.run.status;
        if from == to {
            return Ok(());
        }
        self.state.run.status = from.transition(to)?;
        self.run_changed = true;
        if to.is_terminal() {
            self.state.run.finished_at = Some(self.inputs.now);
            self.state.run.current_step = None;
        }
        self.events.push(EventKind::RunTransition { from, to, failure: failure.cloned() });
        if to.is_terminal() {
            self.record_unconsumed();
        }
        Ok(())
    }

    /// Records the signals that no step has taken, as the run ends.
    fn record_unconsumed(&mut self) {
        let mut unconsumed: BTreeMap<String, u64> = BTreeMap::new();
        for signal in self.state.signals.iter().filter(|signal| signal.is_buffered()) {
            *unconsumed.entry(signal.name.to_string()).or_default() += 1;
        }
        if !unconsumed.is_empty() {
            let metadata = unconsumed.into_iter().map(|(name, count)| (name, Value::from(count))).collect();
            self.audit(AuditKind::SignalsUnconsumed, |event| event.metadata = Some(metadata));
        }
    }

    /// Returns the signals of the run, to change them.
    pub(super) fn signals_mut(&mut self) -> &mut Vec<ReceivedSignal> {
        self.signals_changed = true;
        &mut self.state.signals
    }

    /// Adds a step run; an existing one is kept.
    pub(super) fn create_step(&mut self, step: StepRun) {
        if !self.state.steps.contains_key(&step.step) {
            self.steps.insert(step.step.clone(), StepChange::Created);
            self.state.steps.insert(step.step.clone(), step);
        }
    }

    /// Changes a step run.
    pub(super) fn change_step(&mut self, step: &StepName, change: impl FnOnce(&mut StepRun)) {
        if let Some(found) = self.state.steps.get_mut(step) {
            self.steps.entry(step.clone()).or_insert(StepChange::Changed);
            change(found);
        }
    }

    /// Replaces the reference to a step's input by a copy.
    pub(super) fn copy_input(&mut self, step: &StepName, input: Arc<Map<String, Value>>) {
        if let Some(found) = self.state.steps.get_mut(step) {
            found.input = InputSnapshot::Copy(input);
            let change = self.steps.entry(step.clone()).or_insert(StepChange::InputCopied);
            if *change == StepChange::Changed {
                *change = StepChange::InputCopied;
            }
        }
    }

    /// Returns the next position in the order of completion: after every other, those that the run received when
    /// it was started included.
    pub(super) fn next_sequence(&mut self) -> u64 {
        let last = self.last_sequence.or_else(|| self.state.steps.values().filter_map(|step| step.sequence).max());
        let next = last.map_or(self.state.run.revision, |last| self.state.run.revision.max(last + 1));
        self.last_sequence = Some(next);
        next
    }

    /// Adds an attempt that has ended.
    pub(super) fn close_attempt(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
    }

    /// Adds an intent, unless this unit of work already adds or replaces the intent under its key.
    pub(super) fn add_intent(&mut self, intent: Intent) {
        let write = match self.intents.get(&intent.key) {
            Some(IntentWrite::Add(_) | IntentWrite::Replace(_)) => return,
            Some(IntentWrite::Remove(_) | IntentWrite::Repin { .. }) => IntentWrite::Replace(intent.clone()),
            None => IntentWrite::Add(intent.clone()),
        };
        self.intents.insert(intent.key, write);
    }

    /// Writes an intent, replacing an earlier write of this unit of work.
    pub(super) fn write_intent(&mut self, write: IntentWrite) {
        self.intents.insert(write.key().clone(), write);
    }

    /// Replaces the intent under a key, whether or not there is one.
    pub(super) fn replace_intent(&mut self, intent: Intent) {
        self.intents.insert(intent.key.clone(), IntentWrite::Replace(intent));
    }

    /// Leaves the intent under a key as it is stored, although an earlier decision of this unit of work replaced it. A new
    /// version that it is pinned to stays.
    pub(super) fn keep_intent(&mut self, key: &IntentKey) {
        if let Some(IntentWrite::Add(_) | IntentWrite::Replace(_)) = self.intents.get(key) {
            self.intents.remove(key);
        }
    }

    /// Removes an intent.
    pub(super) fn remove_intent(&mut self, key: IntentKey) {
        self.intents.insert(key.clone(), IntentWrite::Remove(key));
    }

    /// Returns the intent that this unit of work adds under a key, to change it before it is committed.
    pub(super) fn added_intent(&mut self, key: &IntentKey) -> Option<&mut Intent> {
        match self.intents.get_mut(key) {
            Some(IntentWrite::Add(intent) | IntentWrite::Replace(intent)) => Some(intent),
            _ => None,
        }
    }

    /// Returns the steps of the added intents that are due at once and not claimed.
    pub(super) fn due_steps(&self) -> impl Iterator<Item = (&StepName, &Intent)> {
        self.intents.values().filter_map(|write| match write {
            IntentWrite::Add(intent) if intent.delay.is_zero() && intent.lease.is_none() => {
                Some((intent.key.target.step()?, intent))
            }
            _ => None,
        })
    }

    /// Adds an entry to the audit trail, and the event that follows from it.
    pub(super) fn audit(&mut self, kind: AuditKind, fill: impl FnOnce(&mut AuditEvent)) {
        let mut event = AuditEvent::new(kind, self.state.run.revision, self.inputs.now);
        fill(&mut event);
        let (step, actor, signal) = (event.step.clone(), event.actor.clone(), event.signal());
        self.events.push(EventKind::Audited { kind, step, actor, signal });
        self.audit.push(event);
    }

    /// Adds an event, which is emitted once the change is committed.
    pub(super) fn emit(&mut self, event: EventKind) {
        self.events.push(event);
    }
}
