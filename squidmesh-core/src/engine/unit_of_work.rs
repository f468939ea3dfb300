//! The unit of work: the state of one run, and everything that a decision changes about it.
//!
//! Commands change the state here and nowhere else, so that whatever was changed is in the commit, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    Attempt, AuditEvent, AuditKind, Commit, CommitToken, Definition, Event, EventKind, Expected, Intent, IntentKey,
    IntentWrite, InvalidTransition, JsonLimits, Lease, Run, RunState, RunStatus, StepDefinition, StepName, StepRun,
    StepWrite, Timestamp,
};

/// What a decision may not find out by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// A random number in 0.0 ≤ x < 1.0, for jitter.
    pub random: f64,
    /// The token of the commit.
    pub token: CommitToken,
}

/// The bounds that a host sets on what is stored and tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Of payloads, outputs, error details and metadata.
    pub json: JsonLimits,
    /// How many times in a row a step may take its worker down before it fails for good.
    pub crashes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { json: JsonLimits::default(), crashes: 3 }
    }
}

/// One atomic change of one run, in the making.
#[derive(Debug)]
pub struct UnitOfWork {
    definition: Arc<Definition>,
    state: RunState,
    expected: Expected,
    fences: Vec<Lease>,
    moment: Moment,
    limits: Limits,
    store_definition: bool,
    /// What opening it changed about the run, and whether anything else of the run has changed.
    before: (u64, CommitToken, Timestamp),
    run_changed: bool,
    /// The place in the order of completion that was given last, once one was.
    last_sequence: Option<u64>,
    created: BTreeMap<StepName, bool>,
    attempts: Vec<Attempt>,
    intents: BTreeMap<IntentKey, IntentWrite>,
    audit: Vec<AuditEvent>,
    events: Vec<EventKind>,
}

/// What was decided: apply the commit, then emit the events.
#[derive(Debug)]
pub struct Decision {
    /// What changes.
    pub commit: Commit,
    /// What to tell once it is committed; never before.
    pub events: Vec<Event>,
    /// The state of the run once it is committed.
    pub state: RunState,
}

impl UnitOfWork {
    /// Opens a unit of work on the state of a run as it was loaded. `definition` is the version that the run is pinned to.
    pub fn open(definition: Arc<Definition>, state: RunState, moment: Moment, limits: Limits) -> Self {
        let expected = Expected::Revision(state.run.revision);
        UnitOfWork::new(definition, state, expected, moment, limits)
    }

    /// Opens a unit of work that creates a run.
    pub(super) fn create(definition: Arc<Definition>, run: Run, moment: Moment, limits: Limits) -> Self {
        UnitOfWork::new(definition, RunState::new(run, []), Expected::New, moment, limits)
    }

    fn new(
        definition: Arc<Definition>,
        mut state: RunState,
        expected: Expected,
        moment: Moment,
        limits: Limits,
    ) -> Self {
        let before = (state.run.revision, state.run.token, state.run.updated_at);
        state.run.revision += 1;
        state.run.token = moment.token;
        state.run.updated_at = moment.now;
        UnitOfWork {
            definition,
            state,
            expected,
            fences: Vec::new(),
            moment,
            limits,
            store_definition: false,
            before,
            run_changed: expected == Expected::New,
            last_sequence: None,
            created: BTreeMap::new(),
            attempts: Vec::new(),
            intents: BTreeMap::new(),
            audit: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Demands that a claim still holds when the change is committed.
    pub fn fence(&mut self, lease: &Lease) {
        self.fences.push(lease.clone());
    }

    /// Stores the definition along with the change.
    pub fn store_definition(&mut self) {
        self.store_definition = true;
    }

    /// The run as it stands.
    pub fn run(&self) -> &Run {
        &self.state.run
    }

    /// The run and its step runs as they stand.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// The version of the workflow that the run is pinned to.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// The time of the decision.
    pub fn now(&self) -> Timestamp {
        self.moment.now
    }

    /// The bounds that apply.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes in another decision, of a later moment. What is decided together is committed as one, under the first token.
    pub fn join(&mut self, moment: Moment) {
        self.moment = Moment { token: self.moment.token, ..moment };
        self.state.run.updated_at = moment.now;
    }

    /// Whether anything was decided: without it, there is nothing to commit.
    pub fn is_changed(&self) -> bool {
        self.run_changed
            || !self.created.is_empty()
            || !self.attempts.is_empty()
            || !self.intents.is_empty()
            || !self.audit.is_empty()
            || !self.events.is_empty()
    }

    /// The state as it was, of a unit of work that has not [changed](UnitOfWork::is_changed) it.
    pub fn into_unchanged(self) -> RunState {
        let mut state = self.state;
        (state.run.revision, state.run.token, state.run.updated_at) = self.before;
        state
    }

    /// Ends the decision.
    pub fn close(self) -> Decision {
        let UnitOfWork { definition, state, moment, .. } = self;
        let mut attempts = self.attempts;
        // What its step run tells of an attempt is not written twice.
        attempts.retain(|attempt| {
            state.steps.get(&attempt.step).and_then(StepRun::last_attempt).is_none_or(|told| told != *attempt)
        });
        let steps = self.created.into_iter().filter_map(|(name, created)| {
            let step = state.steps.get(&name)?.clone();
            Some(if created { StepWrite::Create(step) } else { StepWrite::Update(step) })
        });
        let commit = Commit {
            steps: steps.collect(),
            run: state.run.clone(),
            expected: self.expected,
            fences: self.fences,
            attempts,
            intents: self.intents.into_values().collect(),
            audit: self.audit,
            definition: self.store_definition.then_some(definition),
        };
        let events = self.events.into_iter().map(|kind| Event::new(&state.run, moment.now, kind)).collect();
        Decision { commit, events, state }
    }

    pub(super) fn moment(&self) -> &Moment {
        &self.moment
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

    /// The definition of a step, shared so that the unit of work can be changed while it is looked at.
    pub(super) fn step_definition(&self, step: &StepName) -> Option<StepDefinition> {
        self.definition.step(step.as_str()).cloned()
    }

    /// Moves the run to a status; staying is no move.
    pub(super) fn transition(&mut self, to: RunStatus) -> Result<(), InvalidTransition> {
        let from = self.state.run.status;
        if from == to {
            return Ok(());
        }
        self.state.run.status = from.transition(to)?;
        self.run_changed = true;
        if to.is_terminal() {
            self.state.run.finished_at = Some(self.moment.now);
            self.state.run.current_step = None;
        }
        self.events.push(EventKind::RunTransition { from, to });
        Ok(())
    }

    /// Adds a step run; one that exists stays as it is. Tells whether it is new.
    pub(super) fn create_step(&mut self, step: StepRun) -> bool {
        if self.state.steps.contains_key(&step.step) {
            return false;
        }
        self.created.insert(step.step.clone(), true);
        self.state.steps.insert(step.step.clone(), step);
        true
    }

    /// Changes a step run.
    pub(super) fn change_step(&mut self, step: &StepName, change: impl FnOnce(&mut StepRun)) {
        if let Some(found) = self.state.steps.get_mut(step) {
            self.created.entry(step.clone()).or_insert(false);
            change(found);
        }
    }

    /// The place of a step that completes now in the order of completion: after every other, those that the run was given when
    /// it was started included.
    pub(super) fn next_sequence(&mut self) -> u64 {
        let last = self.last_sequence.or_else(|| self.state.steps.values().filter_map(|step| step.sequence).max());
        let next = last.map_or(self.state.run.revision, |last| self.state.run.revision.max(last + 1));
        self.last_sequence = Some(next);
        next
    }

    /// Keeps an attempt that has ended.
    pub(super) fn close_attempt(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
    }

    /// Adds an intent, unless there is one.
    pub(super) fn add_intent(&mut self, intent: Intent) {
        let write = match self.intents.get(&intent.key) {
            Some(IntentWrite::Add(_) | IntentWrite::Replace(_)) => return,
            Some(IntentWrite::Remove(_) | IntentWrite::Repin { .. }) => IntentWrite::Replace(intent.clone()),
            None => IntentWrite::Add(intent.clone()),
        };
        self.intents.insert(intent.key, write);
    }

    /// Writes an intent, in the place of what this unit of work wrote of it before.
    pub(super) fn write_intent(&mut self, write: IntentWrite) {
        self.intents.insert(write.key().clone(), write);
    }

    /// Puts an intent in the place of whatever is there.
    pub(super) fn replace_intent(&mut self, intent: Intent) {
        self.intents.insert(intent.key.clone(), IntentWrite::Replace(intent));
    }

    /// Takes an intent away.
    pub(super) fn remove_intent(&mut self, key: IntentKey) {
        self.intents.insert(key.clone(), IntentWrite::Remove(key));
    }

    /// The intent that this unit of work adds under a key, to be changed before it is committed.
    pub(super) fn added_intent(&mut self, key: &IntentKey) -> Option<&mut Intent> {
        match self.intents.get_mut(key) {
            Some(IntentWrite::Add(intent) | IntentWrite::Replace(intent)) => Some(intent),
            _ => None,
        }
    }

    /// The steps of the intents that this unit of work adds, at once due and not held.
    pub(super) fn due_steps(&self) -> impl Iterator<Item = (&StepName, &Intent)> {
        self.intents.values().filter_map(|write| match write {
            IntentWrite::Add(intent) if intent.delay.is_zero() && intent.lease.is_none() => {
                Some((intent.key.target.step()?, intent))
            }
            _ => None,
        })
    }

    /// Adds to the audit trail; the event follows from it.
    pub(super) fn audit(&mut self, kind: AuditKind, fill: impl FnOnce(&mut AuditEvent)) {
        let mut event = AuditEvent::new(kind, self.state.run.revision, self.moment.now);
        fill(&mut event);
        self.events.push(EventKind::Audited { kind, step: event.step.clone(), actor: event.actor.clone() });
        self.audit.push(event);
    }

    /// Tells something once the change is committed.
    pub(super) fn tell(&mut self, event: EventKind) {
        self.events.push(event);
    }
}
