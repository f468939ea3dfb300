//! The model: a run exposed to workers, operators and accidents, and the checks on it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use squidmesh_core::definition::{Definition, Priority, QueueName, TriggerName};
use squidmesh_core::dispatch::{DispatchOptions, DispatchTarget};
use squidmesh_core::port::{Claim, ClaimRequest, Clock, CommitOutcome, CommitToken, LeaseToken, Store, StoreSession};
use squidmesh_core::run::{Failure, FailureKind, InvalidTransition, RunSnapshot};
use squidmesh_core::testing::engine::{
    self, ApprovalDecision, Attribution, Begin, BeginCompensation, CompensationTask, Continuation, Decision,
    DecisionInputs, Limits, NewRun, Outcome, RecordOutcome, RecordedCompensation, SentSignal, SignalReceipt, StepTask,
    UnitOfWork,
};
use squidmesh_core::testing::{ManualClock, MemoryStore, block_on};
use squidmesh_core::{RunId, RunStatus, hours, ms, secs};
use uuid::Uuid;

use crate::check::Past;
use crate::declare::SIGNALS;
use crate::next_actions::{self, accept};
use crate::rng::Rng;
use crate::tally::Tally;

/// The duration of leases.
const LEASE: Duration = Duration::from_secs(30);

/// Drives a run and checks it, and the runs that follow from it.
pub(crate) fn drive(definition: Arc<Definition>, seed: u64, tally: &mut Tally) {
    let mut model = Model::start(definition, Rng::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)));
    model.go_through(tally, 24);
    for _ in 0..2 {
        if !model.follow_up(tally) {
            break;
        }
        model.go_through(tally, 10);
    }
}

pub(crate) struct Model {
    definition: Arc<Definition>,
    store: MemoryStore,
    clock: Arc<ManualClock>,
    rng: Rng,
    run: RunId,
    /// What workers hold: claims not yet begun, and the tasks and callbacks that they execute.
    claims: Vec<Claim>,
    tasks: Vec<StepTask>,
    callbacks: Vec<CompensationTask>,
    past: Past,
    fresh: u128,
}

impl Model {
    fn start(definition: Arc<Definition>, rng: Rng) -> Model {
        let clock = Arc::new(ManualClock::default());
        let mut model = Model {
            store: MemoryStore::new(clock.clone()),
            definition,
            clock,
            rng,
            run: RunId::from_uuid(Uuid::nil()),
            claims: Vec::new(),
            tasks: Vec::new(),
            callbacks: Vec::new(),
            past: Past::default(),
            fresh: 0,
        };
        let new = model.new_run(Map::new(), None);
        let (moment, limits) = (model.moment(), Limits::default());
        let mut work = engine::start(model.definition.clone(), new, moment, limits, &accept).expect("the run starts");
        work.store_definition();
        model.begin_anew(work);
        model
    }

    fn new_run(&mut self, payload: Map<String, Value>, replay: Option<RunId>) -> NewRun {
        NewRun {
            id: RunId::from_uuid(Uuid::from_u128(self.number())),
            trigger: TriggerName::new("manual").unwrap(),
            payload,
            intended_at: None,
            idempotency_key: None,
            replay: replay.map(|from| (from, None)),
        }
    }

    /// Continues the model with the run that a unit of work starts.
    fn begin_anew(&mut self, work: UnitOfWork) {
        self.run = work.run().id;
        self.past = Past::default();
        let decision = work.close();
        let committed = self.commit(None, decision);
        assert_eq!(committed, CommitOutcome::Committed);
    }

    fn number(&mut self) -> u128 {
        self.fresh += 1;
        self.fresh
    }

    fn moment(&mut self) -> DecisionInputs {
        let token = CommitToken::from_uuid(Uuid::from_u128(self.number()));
        DecisionInputs { now: self.clock.now(), random: 0.5, token }
    }

    fn state(&self) -> RunSnapshot {
        block_on(self.store.load(self.run)).unwrap().expect("the run is stored")
    }

    fn status(&self) -> RunStatus {
        self.state().run.status
    }

    /// Commits a decision and checks its effects.
    fn commit(&mut self, before: Option<&RunSnapshot>, decision: Decision) -> CommitOutcome {
        let Decision { commit, events, state } = decision;
        let mut answers = block_on(self.store.commit(vec![commit.clone()])).expect("the store answers");
        let outcome = answers.remove(0).expect("the commit obeys the contract of the store");
        if outcome == CommitOutcome::Committed {
            assert_eq!(self.state(), state, "the commit holds all that was decided");
            let history = block_on(self.store.history(self.run)).unwrap();
            self.past.check(&self.definition, before, &state, &commit, &events, &history);
        }
        outcome
    }

    /// Decides on a snapshot of the run, which may be stale, and commits; decides again after a conflict, as the
    /// runtime does. Returns `None` if the command was refused or the claim was lost.
    fn decide<T, E>(
        &mut self,
        known: Option<RunSnapshot>,
        tally: &mut Tally,
        mut command: impl FnMut(&mut UnitOfWork) -> Result<T, E>,
    ) -> Option<T> {
        let mut known = known;
        loop {
            let state = known.take().unwrap_or_else(|| self.state());
            let moment = self.moment();
            let mut work = UnitOfWork::open(self.definition.clone(), state.clone(), moment, Limits::default());
            let value = command(&mut work).ok()?;
            if !work.is_changed() {
                return Some(value);
            }
            match self.commit(Some(&state), work.close()) {
                CommitOutcome::Committed => return Some(value),
                CommitOutcome::Conflict => tally.conflicts += 1,
                CommitOutcome::Fenced => {
                    tally.fenced += 1;
                    return None;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Executes fewer than `commands` random commands, then carries the run to its end.
    fn go_through(&mut self, tally: &mut Tally, commands: usize) {
        for _ in 0..self.rng.below(commands) {
            self.command(tally);
        }
        self.finish(tally);
        let state = self.state();
        match state.run.status {
            RunStatus::Completed => tally.completed += 1,
            RunStatus::Failed => tally.failed += 1,
            RunStatus::Cancelled => tally.cancelled += 1,
            status => panic!("{status} is no end"),
        }
        tally.expired += self.past.expired();
        tally.compensated += self.past.compensated();
        tally.taken += state.signals.iter().filter(|signal| !signal.is_buffered()).count();
        self.past.check_end(&state, &block_on(self.store.history(self.run)).unwrap());
    }

    fn command(&mut self, tally: &mut Tally) {
        match self.rng.below(26) {
            0..=3 => self.claim(),
            4..=8 => self.deliver(tally),
            9..=14 => self.record(tally),
            15 | 16 => self.record_compensation(tally),
            17 | 18 => self.pass(),
            19 => {
                let choice = self.rng.below(3);
                self.act(choice, tally);
            }
            20 if self.rng.one_in(4) => {
                self.decide(None, tally, |work| engine::cancel(work, Attribution::default()));
            }
            21 => {
                // A host dispatches the run, or any step: no step begins before its time.
                let definition = self.definition.clone();
                let target = definition.steps().get(self.rng.below(definition.steps().len() + 1));
                let options = DispatchOptions::new();
                self.decide(None, tally, |work| match target {
                    Some(step) => {
                        let targets = std::slice::from_ref(&step.name);
                        engine::dispatch_steps(work, targets, &options.schedule_pending(), &accept)
                    }
                    None => engine::dispatch_run(work, &options, &accept),
                });
            }
            22 => self.crash(),
            23 | 24 => {
                let name = ["proceed", "proceed", "note", "nothing"][self.rng.below(4)];
                let dedup_key = self.rng.one_in(2).then(|| format!("event {}", self.rng.below(2)));
                self.send(name, dedup_key, tally);
            }
            _ => self.check_next_actions(),
        }
    }

    /// A worker claims due work.
    fn claim(&mut self) {
        let token = LeaseToken::from_uuid(Uuid::from_u128(self.number()));
        let (queues, versions) = (vec![QueueName::default()], vec![*self.definition.fingerprint()]);
        let request = ClaimRequest::new(queues, versions, 1 + self.rng.below(3), token, LEASE);
        self.claims.extend(block_on(self.store.claim(&request)).unwrap().claims);
    }

    /// A worker begins work that it may have claimed long ago.
    fn deliver(&mut self, tally: &mut Tally) {
        let Some(claim) = self.rng.take(&mut self.claims) else { return };
        let state = Arc::unwrap_or_clone(claim.state.unwrap().unwrap());
        if state.run.id != self.run {
            return; // of an earlier run, which has ended
        }
        let lease = claim.lease;
        match lease.key.target.clone() {
            DispatchTarget::Step(step) => {
                let begun = self.decide(Some(state), tally, |work| engine::begin(work, &step, &lease, &accept));
                if let Some(Begin::Execute(task)) = begun {
                    self.tasks.push(task);
                }
            }
            DispatchTarget::Compensation => {
                let begun = self.decide(Some(state), tally, |work| {
                    Ok::<_, InvalidTransition>(engine::begin_compensation(work, &lease))
                });
                if let Some(BeginCompensation::Execute(task)) = begun {
                    self.callbacks.push(*task);
                }
            }
        }
    }

    /// A worker records the outcome of its step, and continues with the next; or records it twice, or records another
    /// outcome the second time.
    fn record(&mut self, tally: &mut Tally) {
        let Some(task) = self.rng.take(&mut self.tasks) else { return };
        let (outcome, continues) = (self.outcome(), !self.rng.one_in(3));
        self.record_this(&task, outcome, continues, tally);
        if self.rng.one_in(5) {
            let other = self.outcome();
            self.record_this(&task, other, true, tally);
        }
    }

    fn record_this(&mut self, task: &StepTask, outcome: Outcome, continues: bool, tally: &mut Tally) {
        let queues = [QueueName::default()];
        let continues = continues.then_some(Continuation {
            token: task.lease.token,
            lease: LEASE,
            queues: &queues,
            lowest: Priority::Low,
        });
        let recorded = self.decide(None, tally, |work| engine::record(work, task, outcome.clone(), continues, &accept));
        if let Some(RecordOutcome::Recorded { next: Some(next) }) = recorded {
            self.tasks.push(next);
        }
    }

    fn record_compensation(&mut self, tally: &mut Tally) {
        let Some(task) = self.rng.take(&mut self.callbacks) else { return };
        let outcome = match self.rng.below(5) {
            0 => failed(true),
            1 => failed(false),
            2 => Outcome::Interrupted,
            _ => Outcome::Completed { value: Value::Null, schedule_in: None, route: None },
        };
        self.record_callback(&task, &outcome, tally);
        if self.rng.one_in(4) {
            self.record_callback(&task, &failed(false), tally);
        }
    }

    /// Records a callback and begins the next one in the same change, as the runtime does.
    fn record_callback(&mut self, task: &CompensationTask, outcome: &Outcome, tally: &mut Tally) {
        let next = self.decide(None, tally, |work| {
            Ok::<_, InvalidTransition>(match engine::record_compensation(work, task, outcome.clone())? {
                RecordedCompensation::Ended => Some(engine::begin_compensation(work, &task.lease)),
                _ => None,
            })
        });
        if let Some(Some(BeginCompensation::Execute(next))) = next {
            self.callbacks.push(*next);
        }
    }

    /// A worker dies while it holds work.
    fn crash(&mut self) {
        match self.rng.below(3) {
            0 => drop(self.rng.take(&mut self.claims)),
            1 => drop(self.rng.take(&mut self.tasks)),
            _ => drop(self.rng.take(&mut self.callbacks)),
        }
    }

    fn pass(&mut self) {
        let spans = [ms(1), ms(1), ms(5), ms(5), secs(31), secs(31), hours(1)];
        let place = self.rng.below(spans.len());
        self.clock.advance(spans[place]);
    }

    fn act(&mut self, choice: usize, tally: &mut Tally) {
        let decided = Attribution::default();
        match choice {
            0 => self.decide(None, tally, |work| engine::unblock(work, decided.clone(), &accept)),
            1 => self
                .decide(None, tally, |work| engine::decide(work, ApprovalDecision::Approve, decided.clone(), &accept)),
            _ => self
                .decide(None, tally, |work| engine::decide(work, ApprovalDecision::Reject, decided.clone(), &accept)),
        };
    }

    /// A signal comes, whether or not a step waits for it.
    fn send(&mut self, name: &str, dedup_key: Option<String>, tally: &mut Tally) {
        let payload = json!({ "n": 1 });
        let sent = SentSignal { name: name.to_owned(), payload, dedup_key, attribution: Attribution::default() };
        match self.decide(None, tally, |work| engine::signal(work, &sent, &accept)) {
            Some(SignalReceipt::Received { .. }) => tally.received += 1,
            Some(SignalReceipt::Buffered) => tally.buffered += 1,
            Some(SignalReceipt::Duplicate) => tally.duplicates += 1,
            _ => {}
        }
    }

    fn outcome(&mut self) -> Outcome {
        match self.rng.below(12) {
            0 => failed(false),
            1 | 2 => failed(true),
            3 => Outcome::Interrupted,
            4 => Outcome::Completed { value: json!(7), schedule_in: None, route: None }, // no object: the step fails
            5 => Outcome::Completed { value: json!({}), schedule_in: Some(ms(3)), route: None },
            6 => Outcome::Failed {
                failure: Failure::new(FailureKind::TIMEOUT, "too long"),
                retryable: true,
                retry_after: Some(ms(2)),
            },
            number => Outcome::Completed { value: json!({ "n": number }), schedule_in: None, route: None },
        }
    }

    /// Carries the run to its end: no worker dies any more, and few steps fail.
    fn finish(&mut self, tally: &mut Tally) {
        for _ in 0..100 {
            while let Some(task) = self.tasks.pop() {
                let fine = Outcome::Completed { value: json!({}), schedule_in: None, route: None };
                let outcome = if self.rng.one_in(5) { self.outcome() } else { fine };
                self.record_this(&task, outcome, true, tally);
            }
            while let Some(task) = self.callbacks.pop() {
                let fine = Outcome::Completed { value: Value::Null, schedule_in: None, route: None };
                self.record_callback(&task, &fine, tally);
            }
            while !self.claims.is_empty() {
                self.deliver(tally);
            }
            if !self.tasks.is_empty() || !self.callbacks.is_empty() {
                continue;
            }
            let status = self.status();
            if status == RunStatus::Paused && !self.rng.one_in(3) {
                self.act(0, tally);
                self.act(1, tally);
            }
            if status == RunStatus::Running && self.rng.one_in(2) {
                self.send(SIGNALS[0], None, tally);
            }
            let left: Vec<_> =
                self.store.intents().into_iter().filter(|intent| intent.key.run_id == self.run).collect();
            let Some(next) = left.iter().map(|intent| intent.available_at).min() else {
                if self.status().is_terminal() {
                    return;
                }
                self.act(0, tally);
                self.act(1, tally);
                self.send(SIGNALS[0], None, tally);
                continue;
            };
            if next > self.clock.now() {
                self.clock.advance(next.since(self.clock.now()));
            }
            self.claim();
        }
        panic!("the run comes to no end: {:?}", self.state());
    }

    fn check_next_actions(&mut self) {
        let (definition, state) = (self.definition.clone(), self.state());
        let history = block_on(self.store.history(self.run)).unwrap();
        next_actions::check(&definition, &state, &history, self.clock.now(), || self.moment());
    }

    /// Continues with a run that follows from the ended one, a resumption or a replay.
    fn follow_up(&mut self, tally: &mut Tally) -> bool {
        self.check_next_actions();
        let state = self.state();
        let resumption = engine::resumption(&state, &self.definition);
        let (moment, limits) = (self.moment(), Limits::default());
        let definition = self.definition.clone();
        if let Ok(resumption) = resumption
            && !self.rng.one_in(4)
        {
            let new = self.new_run((*state.run.payload).clone(), None);
            let work = engine::resume(definition, &resumption, new, None, moment, limits, &accept).unwrap();
            self.begin_anew(work);
            tally.resumed += 1;
            return true;
        }
        if self.rng.one_in(6) {
            let new = self.new_run((*state.run.payload).clone(), Some(state.run.id));
            let work = engine::start(definition, new, moment, limits, &accept).unwrap();
            self.begin_anew(work);
            tally.replayed += 1;
            return true;
        }
        false
    }
}

fn failed(retryable: bool) -> Outcome {
    Outcome::Failed { failure: Failure::new("declined", "no"), retryable, retry_after: None }
}
