//! One life: a run that workers, people and accidents get at, and everything that is checked of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use squidmesh_core::engine::{
    self, Begin, BeginCompensation, CompensationTask, Decided, Decision, GoOn, Limits, Moment, NewRun, Outcome,
    Recorded, RecordedCompensation, StepTask, UnitOfWork, Verdict,
};
use squidmesh_core::testing::{ManualClock, MemoryStore, block_on};
use squidmesh_core::{
    Claim, ClaimRequest, Clock, CommitOutcome, CommitToken, Definition, DispatchOptions, DispatchTarget, Failure,
    InvalidTransition, Job, JobMetadata, LeaseToken, QueueName, Refusal, RunId, RunState, RunStatus, Store,
    StoreSession, TriggerName, hours, ms, secs,
};
use uuid::Uuid;

use crate::Tally;
use crate::check::Past;
use crate::dice::Dice;
use crate::offers;

/// How long leases last.
const LEASE: Duration = Duration::from_secs(30);

pub(crate) fn accept(jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
    Ok(jobs.iter().map(Job::metadata).collect())
}

/// Lives a life and checks it, and those of the runs that follow from it.
pub(crate) fn live(definition: Arc<Definition>, seed: u64, tally: &mut Tally) {
    let mut life = Life::start(definition, Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)));
    life.go_through(tally, 24);
    for _ in 0..2 {
        if !life.follow_up(tally) {
            break;
        }
        life.go_through(tally, 10);
    }
}

pub(crate) struct Life {
    pub(crate) definition: Arc<Definition>,
    pub(crate) store: MemoryStore,
    clock: Arc<ManualClock>,
    dice: Dice,
    pub(crate) run: RunId,
    /// What workers hold: claims not yet begun, and tasks and callbacks that they carry out.
    claims: Vec<Claim>,
    tasks: Vec<StepTask>,
    callbacks: Vec<CompensationTask>,
    past: Past,
    fresh: u128,
}

impl Life {
    fn start(definition: Arc<Definition>, dice: Dice) -> Life {
        let clock = Arc::new(ManualClock::default());
        let mut life = Life {
            store: MemoryStore::new(clock.clone()),
            definition,
            clock,
            dice,
            run: RunId::from_uuid(Uuid::nil()),
            claims: Vec::new(),
            tasks: Vec::new(),
            callbacks: Vec::new(),
            past: Past::default(),
            fresh: 0,
        };
        let new = life.new_run(Map::new(), None);
        let (moment, limits) = (life.moment(), Limits::default());
        let mut work = engine::start(life.definition.clone(), new, moment, limits, &accept).expect("the run starts");
        work.store_definition();
        life.begin_anew(work);
        life
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

    /// From here on, the run that a unit of work starts is lived.
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

    pub(crate) fn moment(&mut self) -> Moment {
        let token = CommitToken::from_uuid(Uuid::from_u128(self.number()));
        Moment { now: self.clock.now(), random: 0.5, token }
    }

    pub(crate) fn now(&self) -> squidmesh_core::Timestamp {
        self.clock.now()
    }

    pub(crate) fn state(&self) -> RunState {
        block_on(self.store.load(self.run)).unwrap().expect("the run is stored")
    }

    fn status(&self) -> RunStatus {
        self.state().run.status
    }

    /// Commits a decision and checks what it did.
    fn commit(&mut self, before: Option<&RunState>, decision: Decision) -> CommitOutcome {
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

    /// Decides on what is known of the run, which may be old, and commits; after a conflict anew, as the runtime does. `None`:
    /// refused, or the claim was lost.
    fn decide<T, E>(
        &mut self,
        known: Option<RunState>,
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

    /// Up to so many commands, and then to the end.
    fn go_through(&mut self, tally: &mut Tally, commands: usize) {
        for _ in 0..self.dice.below(commands) {
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
        self.past.check_end(&state, &block_on(self.store.history(self.run)).unwrap());
    }

    fn command(&mut self, tally: &mut Tally) {
        match self.dice.below(24) {
            0..=3 => self.claim(),
            4..=8 => self.deliver(tally),
            9..=14 => self.record(tally),
            15 | 16 => self.record_compensation(tally),
            17 | 18 => self.pass(),
            19 => {
                let choice = self.dice.below(3);
                self.act(choice, tally);
            }
            20 if self.dice.one_in(4) => {
                self.decide(None, tally, |work| engine::cancel(work, Decided::default()));
            }
            21 => {
                let options = DispatchOptions::new();
                self.decide(None, tally, |work| engine::dispatch_run(work, &options, &accept));
            }
            22 => self.crash(),
            _ => offers::check(self),
        }
    }

    /// A worker claims something that is due.
    fn claim(&mut self) {
        let token = LeaseToken::from_uuid(Uuid::from_u128(self.number()));
        let (queues, versions) = (vec![QueueName::default()], vec![*self.definition.fingerprint()]);
        let request = ClaimRequest::new(queues, versions, 1 + self.dice.below(3), token, LEASE);
        self.claims.extend(block_on(self.store.claim(&request)).unwrap().claims);
    }

    /// A worker begins what it has claimed, perhaps long ago.
    fn deliver(&mut self, tally: &mut Tally) {
        let Some(claim) = self.dice.take(&mut self.claims) else { return };
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

    /// A worker records how its step went, and goes on; or records it twice, or something else the second time.
    fn record(&mut self, tally: &mut Tally) {
        let Some(task) = self.dice.take(&mut self.tasks) else { return };
        let (outcome, go_on) = (self.outcome(), !self.dice.one_in(3));
        self.record_this(&task, outcome, go_on, tally);
        if self.dice.one_in(5) {
            let other = self.outcome();
            self.record_this(&task, other, true, tally);
        }
    }

    fn record_this(&mut self, task: &StepTask, outcome: Outcome, go_on: bool, tally: &mut Tally) {
        let queues = [QueueName::default()];
        let go_on = go_on.then_some(GoOn { token: task.lease.token, lease: LEASE, queues: &queues });
        let recorded = self.decide(None, tally, |work| engine::record(work, task, outcome.clone(), go_on, &accept));
        if let Some(Recorded::Recorded { next: Some(next) }) = recorded {
            self.tasks.push(next);
        }
    }

    fn record_compensation(&mut self, tally: &mut Tally) {
        let Some(task) = self.dice.take(&mut self.callbacks) else { return };
        let outcome = match self.dice.below(5) {
            0 => failed(true),
            1 => failed(false),
            2 => Outcome::Interrupted,
            _ => Outcome::Completed { value: Value::Null, schedule_in: None },
        };
        self.record_callback(&task, &outcome, tally);
        if self.dice.one_in(4) {
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

    /// A worker dies with something in its hands.
    fn crash(&mut self) {
        match self.dice.below(3) {
            0 => drop(self.dice.take(&mut self.claims)),
            1 => drop(self.dice.take(&mut self.tasks)),
            _ => drop(self.dice.take(&mut self.callbacks)),
        }
    }

    fn pass(&mut self) {
        let spans = [ms(1), ms(1), ms(5), ms(5), secs(31), secs(31), hours(1)];
        let place = self.dice.below(spans.len());
        self.clock.advance(spans[place]);
    }

    fn act(&mut self, choice: usize, tally: &mut Tally) {
        let decided = Decided::default();
        match choice {
            0 => self.decide(None, tally, |work| engine::unblock(work, decided.clone(), &accept)),
            1 => self.decide(None, tally, |work| engine::decide(work, Verdict::Approve, decided.clone(), &accept)),
            _ => self.decide(None, tally, |work| engine::decide(work, Verdict::Reject, decided.clone(), &accept)),
        };
    }

    fn outcome(&mut self) -> Outcome {
        match self.dice.below(12) {
            0 => failed(false),
            1 | 2 => failed(true),
            3 => Outcome::Interrupted,
            4 => Outcome::Completed { value: json!(7), schedule_in: None }, // no object: the step fails
            5 => Outcome::Completed { value: json!({}), schedule_in: Some(ms(3)) },
            6 => Outcome::Failed {
                failure: Failure::new(Failure::TIMEOUT, "too long"),
                retryable: true,
                retry_after: Some(ms(2)),
            },
            number => Outcome::Completed { value: json!({ "n": number }), schedule_in: None },
        }
    }

    /// Carries the run to its end: nobody dies any more, and not much fails.
    fn finish(&mut self, tally: &mut Tally) {
        for _ in 0..100 {
            while let Some(task) = self.tasks.pop() {
                let fine = Outcome::Completed { value: json!({}), schedule_in: None };
                let outcome = if self.dice.one_in(5) { self.outcome() } else { fine };
                self.record_this(&task, outcome, true, tally);
            }
            while let Some(task) = self.callbacks.pop() {
                let fine = Outcome::Completed { value: Value::Null, schedule_in: None };
                self.record_callback(&task, &fine, tally);
            }
            while !self.claims.is_empty() {
                self.deliver(tally);
            }
            if !self.tasks.is_empty() || !self.callbacks.is_empty() {
                continue;
            }
            let status = self.status();
            if status == RunStatus::Paused && !self.dice.one_in(3) {
                self.act(0, tally);
                self.act(1, tally);
            }
            let left: Vec<_> =
                self.store.intents().into_iter().filter(|intent| intent.key.run_id == self.run).collect();
            let Some(next) = left.iter().map(|intent| intent.available_at).min() else {
                if self.status().is_terminal() {
                    return;
                }
                self.act(0, tally);
                self.act(1, tally);
                continue;
            };
            if next > self.clock.now() {
                self.clock.advance(next.since(self.clock.now()));
            }
            self.claim();
        }
        panic!("the run comes to no end: {:?}", self.state());
    }

    /// Goes on with a run that follows from the one that has ended: what it failed to do, or all of it again.
    fn follow_up(&mut self, tally: &mut Tally) -> bool {
        offers::check(self);
        let state = self.state();
        let resumption = engine::resumption(&state, &self.definition);
        let (moment, limits) = (self.moment(), Limits::default());
        let definition = self.definition.clone();
        if let Ok(resumption) = resumption
            && !self.dice.one_in(4)
        {
            let new = self.new_run((*state.run.payload).clone(), None);
            let work = engine::resume(definition, &resumption, new, None, moment, limits, &accept).unwrap();
            self.begin_anew(work);
            tally.resumed += 1;
            return true;
        }
        if self.dice.one_in(6) {
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
