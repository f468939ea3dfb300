//! One seed: a deployment that runs, suffers faults, comes to rest and is judged.
//!
//! Real runtimes, runners and dispatchers, in one thread and in virtual time, over a store that fails, a queue that
//! loses messages, clocks that are wrong, and processes that die between any two steps, freeze for longer than their
//! leases, and are replaced by others with another version. At some point the faults end; then everything must come
//! to rest.

mod clock;
mod environment;
mod executing;
mod executor;
mod observer;
mod operators;
mod plan;
mod processes;
mod queue;
mod scheduler;
mod store;
mod tally;
mod trace;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use squidmesh_checker::{Evidence, Violation, check_at_rest, rules};
use squidmesh_core::command::SignalReceipt;
use squidmesh_core::definition::{Fingerprint, MissedPolicy, StepName, WorkflowName};
use squidmesh_core::inspect::NextAction;
use squidmesh_core::run::RunSnapshot;
use squidmesh_core::{RunId, RunStatus, Timestamp, ms, secs};

use self::environment::{Conditions, Environment};
use self::plan::{EVERY_MINUTES, ORDERS, Plan, TICKS};
use self::processes::{Deployed, Process, Releases, Slot};
use self::scheduler::{BEGINNING, Scheduler};
pub use self::tally::{Outcome, Tally};
use crate::mutation::Mutation;

/// Returns whether a panic with this message is a planned one.
pub fn is_planned(message: &str) -> bool {
    message.contains(plan::PLANNED) || message.contains(store::PLANNED)
}

/// The maximum number of polls of tasks until everything is at rest.
const MAX_POLLS: u64 = 400_000;

/// The maximum number of polls of tasks until time passes.
const BUSY: u64 = 20_000;

/// Runs one seed, until a violation is found: any, or with a mutation the one that must notice it.
pub fn live(seed: u64, mutation: Option<Mutation>, keeps_trace: bool) -> Outcome {
    live_until(seed, mutation, false, keeps_trace)
}

/// Runs one seed with a mutation to its end, to see every rule that notices it.
pub fn live_through(seed: u64, mutation: Mutation) -> Outcome {
    live_until(seed, Some(mutation), true, false)
}

fn live_until(seed: u64, mutation: Option<Mutation>, to_the_end: bool, keeps_trace: bool) -> Outcome {
    let scheduler = Scheduler::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5171_d3e5, keeps_trace);
    let mut outcome = Outcome::default();
    let mut world = None;
    let lived = catch_unwind(AssertUnwindSafe(|| world.insert(World::draw(&scheduler, mutation, to_the_end)).live()));
    if let Some(world) = world {
        (outcome.violations, outcome.tally) = (world.violations, world.tally);
    }
    if let Err(panic) = lived {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let what = text.unwrap_or("without a message").to_owned();
        outcome.violations.push(Violation { rule: rules::PANICS, run: None, what });
    }
    scheduler.clear();
    outcome.time = scheduler.now().since(BEGINNING);
    (outcome.hash, outcome.trace) = scheduler.trace();
    outcome
}

struct World {
    environment: Arc<Environment>,
    releases: Releases,
    /// The steps of either version that write rows.
    transactional: Vec<String>,
    /// The policy for missed occurrences, if there is a schedule.
    missed: Option<MissedPolicy>,
    slots: Vec<Slot>,
    /// The poll from which on new processes may have the second version.
    deploy_at: u64,
    polls: u64,
    accidents: u64,
    numbers: u32,
    violations: Vec<Violation>,
    tally: Tally,
    /// Whether the simulation continues after its mutation was noticed.
    to_the_end: bool,
}

impl World {
    fn draw(scheduler: &Arc<Scheduler>, mutation: Option<Mutation>, to_the_end: bool) -> Self {
        let cron = scheduler.one_in(5);
        let conditions = Conditions::draw(scheduler, cron);
        let first = Plan::draw(scheduler);
        let second = first.changed(scheduler);
        let missed = [MissedPolicy::Skip, MissedPolicy::Once, MissedPolicy::All][scheduler.below(3) as usize];
        let ticks = cron.then(|| (Plan::draw_short(scheduler), missed));
        let polls = [300, 1_000, 2_500][scheduler.below(3) as usize];
        scheduler.note(format_args!("{conditions:?}; first {first:?}; second {second:?}; ticks {ticks:?}"));
        let slots = (0..1 + scheduler.below(3)).map(|_| Slot { process: None, back_at: BEGINNING });
        let environment = Environment::new(Arc::clone(scheduler), conditions, mutation);
        World {
            releases: Releases::new(&first, &second, ticks.as_ref(), &environment),
            transactional: first.transactional().chain(second.transactional()).collect(),
            missed: ticks.map(|(_, missed)| missed),
            environment,
            slots: slots.collect(),
            deploy_at: scheduler.below(2 * polls),
            polls,
            accidents: [40, 150, 600][scheduler.below(3) as usize],
            numbers: 0,
            violations: Vec::new(),
            tally: Tally::default(),
            to_the_end,
        }
    }

    fn live(&mut self) {
        self.suffer();
        if self.broken() {
            return;
        }
        let deployed = if self.scheduler().one_in(4) { Deployed::Second } else { Deployed::Both };
        self.environment.calm_down();
        self.come_to_rest(deployed);
        if self.broken() {
            return;
        }
        self.judge(deployed);
    }

    fn scheduler(&self) -> Arc<Scheduler> {
        Arc::clone(&self.environment.scheduler)
    }

    /// Returns whether the violation looked for was found: any, or with a mutation the one that must notice it.
    fn broken(&mut self) -> bool {
        self.violations.append(&mut self.environment.observer().violations);
        match self.environment.mutation {
            None => !self.violations.is_empty(),
            Some(_) if self.to_the_end => false,
            Some(mutation) => mutation.is_noticed(&self.violations),
        }
    }

    fn found(&mut self, rule: &'static str, run: Option<RunId>, what: String) {
        self.violations.push(Violation { rule, run, what });
    }

    fn suffer(&mut self) {
        let scheduler = self.scheduler();
        for poll in 0..self.polls {
            self.start_what_is_due(poll);
            if scheduler.one_in(self.accidents) {
                self.accident();
            }
            if scheduler.one_in(25)
                && let (Some(process), Some(other)) = (self.any_process(), self.any_process())
            {
                operators::ask_something(process, other, &self.environment);
            }
            if !scheduler.step() && !scheduler.pass() {
                scheduler.note(format_args!("nothing to do"));
            }
            self.tally.polls += 1;
            if self.broken() {
                return;
            }
        }
    }

    fn start_what_is_due(&mut self, poll: u64) {
        let now = self.environment.scheduler.now();
        for slot in 0..self.slots.len() {
            if self.slots[slot].process.is_some() || self.slots[slot].back_at > now {
                continue;
            }
            let deployed = match poll < self.deploy_at {
                true => Deployed::First,
                false if self.environment.scheduler.one_in(2) => Deployed::Both,
                false => Deployed::Second,
            };
            self.start(slot, deployed);
        }
    }

    fn start(&mut self, slot: usize, deployed: Deployed) {
        self.numbers += 1;
        self.slots[slot].process = Some(Process::start(self.numbers, &self.releases, deployed, &self.environment));
    }

    fn any_process(&self) -> Option<&Process> {
        let living: Vec<&Process> = self.slots.iter().filter_map(|slot| slot.process.as_ref()).collect();
        self.environment.scheduler.pick(&living).copied()
    }

    /// Causes an accident to a process, to all of them, or to the queue.
    fn accident(&mut self) {
        let scheduler = self.scheduler();
        let slot = scheduler.below(self.slots.len() as u64) as usize;
        let soon = ms(scheduler.below(60_000));
        match scheduler.below(12) {
            0..=3 => self.end(slot, soon),
            4 | 5 => self.freeze(slot),
            6 => {
                // A deploy: the process is asked to stop, and its running work continues beside its successor.
                if let Some(process) = self.slots[slot].process.take() {
                    process.stop();
                    self.come_back(slot, soon);
                }
            }
            7 => {
                let longest = if self.missed.is_some() { 7_200 } else { 400_000 };
                let outage = secs(scheduler.below(longest));
                scheduler.note(format_args!("an outage of {outage:?}"));
                for slot in 0..self.slots.len() {
                    self.end(slot, outage);
                }
            }
            8 => {
                scheduler.note(format_args!("the queue is wiped"));
                self.environment.queue.wipe();
            }
            9 => self.environment.queue.put(scheduler.now(), operators::forge(&self.environment)),
            _ => {
                let skew = self.environment.conditions.skew;
                let skew = scheduler.below(2 * skew + 1) as i64 - skew as i64;
                if let Some(process) = &self.slots[slot].process {
                    process.clock.jump(skew);
                }
            }
        }
    }

    /// Kills a process, and restarts its slot after a while.
    fn end(&mut self, slot: usize, again_after: Duration) {
        if let Some(process) = self.slots[slot].process.take() {
            self.tally.deaths += 1;
            self.environment.scheduler.kill(process.id);
        }
        self.come_back(slot, again_after);
    }

    fn come_back(&mut self, slot: usize, after: Duration) {
        let scheduler = self.scheduler();
        self.slots[slot].back_at = scheduler.now().after(after);
        let sleep = scheduler.sleep(after);
        scheduler.spawn(0, sleep);
    }

    /// Freezes a process, perhaps for longer than its leases last.
    fn freeze(&mut self, slot: usize) {
        let scheduler = self.scheduler();
        let Some(process) = &self.slots[slot].process else { return };
        self.tally.freezes += 1;
        let (id, lease) = (process.id, self.environment.conditions.lease);
        let still = if scheduler.one_in(2) { lease + secs(scheduler.below(90)) } else { ms(scheduler.below(10_000)) };
        if scheduler.one_in(3) {
            scheduler.block(id)
        } else {
            scheduler.freeze(id)
        }
        let (there, sleep) = (Arc::clone(&scheduler), scheduler.sleep(still));
        scheduler.spawn(0, async move {
            sleep.await;
            there.thaw(id);
        });
    }

    /// Ends all faults and provides the processes and people needed to come to rest.
    fn come_to_rest(&mut self, deployed: Deployed) {
        let scheduler = self.scheduler();
        for slot in 0..self.slots.len() {
            if let Some(process) = self.slots[slot].process.take() {
                scheduler.thaw(process.id);
                process.stop();
            }
        }
        for slot in 0..self.slots.len().min(2) {
            self.start(slot, deployed);
        }
        let registered = self.releases.versions(deployed);
        let mut asked = BTreeSet::new();
        let mut paused = self.missed.is_none();
        let mut busy = 0;
        let (mut commits, mut moved) = (self.commits(), 0);
        for poll in 0..MAX_POLLS {
            if scheduler.step() {
                self.tally.polls += 1;
                busy += 1;
                if busy > BUSY {
                    return self.found(rules::RESTLESS, None, format!("{busy} polls, and no time passed"));
                }
                continue;
            }
            busy = 0;
            if self.commits() > commits {
                (commits, moved) = (self.commits(), poll);
            }
            if self.broken() {
                return;
            }
            if self.rests(&registered) && self.held() == 0 && paused {
                return;
            }
            let Some(process) = self.any_process() else { return };
            operators::decide_what_waits(process, &self.environment, &mut asked);
            if !paused {
                paused = true;
                let mesh = process.mesh.clone();
                scheduler.spawn(0, async move {
                    mesh.pause_trigger(TICKS, "often").await.expect("a trigger can be paused");
                });
            }
            if !scheduler.pass() {
                break;
            }
        }
        let held = self.held();
        if held > 0 && self.rests(&registered) {
            self.found(rules::RESTLESS, None, format!("the states of {held} runs are held, and nothing is done"));
        }
        // Runs that merely do not progress are found by another rule.
        if moved > MAX_POLLS / 2 {
            let what = format!("after {moved} polls without a fault there was a commit, the {commits}th");
            self.found(rules::RESTLESS, None, what);
        }
    }

    /// Returns the number of runs whose state the processes have cached.
    fn held(&self) -> usize {
        self.slots.iter().filter_map(|slot| Some(slot.process.as_ref()?.mesh.held_states())).sum()
    }

    fn commits(&self) -> u64 {
        self.environment.commits.load(Ordering::Relaxed)
    }

    fn rests(&self, registered: &BTreeSet<Fingerprint>) -> bool {
        let observer = self.environment.observer();
        let left = |id: RunId, step: &StepName| operators::is_left_alone(id, step);
        let rests = |state: &RunSnapshot| match (operators::waiting(state), operators::awaiting(state)) {
            _ if !registered.contains(&state.run.fingerprint) => true,
            (Some((step, _, deadline)), _) | (None, Some((step, _, deadline))) => {
                !deadline && left(state.run.id, &step)
            }
            (None, None) => state.run.status.is_terminal(),
        };
        observer.runs.values().all(rests)
            && self.environment.store.intents().iter().all(|intent| {
                let state = observer.runs.get(&intent.key.run_id);
                state.is_none_or(|state| !registered.contains(&state.run.fingerprint))
            })
    }

    fn judge(&mut self, deployed: Deployed) {
        let mut evidence = Evidence::read(&self.environment.store)
            .now_or_never()
            .expect("the store in memory answers at once")
            .expect("what is stored can be read");
        evidence.effects = self.environment.effects();
        evidence.succeeded = self.environment.succeeded();
        evidence.calls = self.environment.calls();
        evidence.calls_complete = true;
        evidence.events = self.environment.events();
        evidence.times = self.environment.observer().times.clone();
        evidence.crash_limit = Some(3);
        evidence.registered = Some(self.releases.versions(deployed));
        let names = self.transactional.iter();
        evidence.transactional =
            names.filter_map(|name| Some((WorkflowName::new(ORDERS).ok()?, StepName::new(name).ok()?))).collect();
        self.violations.extend(check_at_rest(&evidence));
        self.judge_schedules(&evidence);
        self.judge_offers(&evidence, deployed);
        for record in evidence.runs.values() {
            self.tally.runs += 1;
            match record.state.run.status {
                RunStatus::Completed => self.tally.completed += 1,
                RunStatus::Failed => self.tally.failed += 1,
                RunStatus::Cancelled => self.tally.cancelled += 1,
                _ => self.tally.waiting += 1,
            }
            self.tally.count_signals(record);
        }
        let compensations = evidence.times.compensated.values().map(Vec::len).sum::<usize>();
        self.tally.compensations += compensations as u64;
        self.tally.count_answers(&evidence.calls);
        self.tally.handlers += evidence.effects.len() as u64;
        self.tally.commits += self.environment.commits.load(Ordering::Relaxed);
    }

    /// With the policy `all`, every processed occurrence has its run, and no other time has one.
    fn judge_schedules(&mut self, evidence: &Evidence) {
        let Some(missed) = self.missed else { return };
        let runs = evidence.runs.values().map(|record| &record.state.run);
        let intended: BTreeSet<i64> = runs
            .filter(|run| run.workflow.as_str() == TICKS)
            .filter_map(|run| run.intended_at)
            .map(Timestamp::as_millis)
            .collect();
        let every = EVERY_MINUTES * 60_000;
        if let Some(time) = intended.iter().find(|time| **time % every != 0) {
            self.found(rules::OCCURRENCES, None, format!("a run was intended for {time}"));
        }
        let span = self.environment.observer().schedules.values().next().copied();
        let Some((from, to)) = span.filter(|_| missed == MissedPolicy::All) else { return };
        let mut time = from.as_millis().div_euclid(every) * every + every;
        while time <= to.as_millis() {
            if !intended.contains(&time) {
                let time = Timestamp::from_millis(time);
                self.found(rules::SCHEDULES, None, format!("that of {time} has no run"));
            }
            time += every;
        }
    }

    /// Checks that every action an explanation offers is accepted, and every other refused.
    fn judge_offers(&mut self, evidence: &Evidence, deployed: Deployed) {
        self.numbers += 1;
        let auditor = Process::idle(self.numbers, &self.releases, deployed, &self.environment);
        let registered = evidence.registered.clone().unwrap_or_default();
        for (id, record) in
            evidence.runs.iter().filter(|(_, record)| registered.contains(&record.state.run.fingerprint))
        {
            let explanation = auditor.mesh.explain_run(*id).now_or_never();
            let explanation = explanation.expect("the store answers at once").expect("a run can be explained");
            let transaction = self.environment.store.begin();
            let joined = auditor.mesh.within(&transaction);
            let signalled = operators::awaiting(&record.state).and_then(|(_, signal, _)| {
                let payload = operators::payload(signal.as_str(), 0);
                joined.signal_run(*id, signal, &payload).into_future().now_or_never()?.ok()
            });
            let signalled = signalled.is_some_and(|answer| matches!(answer.receipt, SignalReceipt::Received { .. }));
            if signalled != explanation.actions.contains(&NextAction::Signal) {
                let what =
                    format!("it takes the signal that it waits for: {signalled}; {:?} is offered", explanation.actions);
                self.violations.push(Violation { rule: rules::OFFERS, run: Some(*id), what });
            }
            for action in [NextAction::Cancel, NextAction::Unblock, NextAction::Approve, NextAction::Reject] {
                let transaction = self.environment.store.begin();
                let joined = auditor.mesh.within(&transaction);
                let tried = match action {
                    NextAction::Cancel => joined.cancel_run(*id).actor("auditor").into_future(),
                    NextAction::Unblock => joined.unblock_run(*id).actor("auditor").into_future(),
                    NextAction::Approve => joined.approve_run(*id).actor("auditor").into_future(),
                    _ => joined.reject_run(*id).actor("auditor").into_future(),
                };
                let accepted = tried.now_or_never().is_some_and(|answer| answer.is_ok());
                let offered = explanation.actions.contains(&action);
                if accepted != offered {
                    let status = record.state.run.status;
                    let what = format!("it is {status}; {action:?} is offered: {offered}, and accepted: {accepted}");
                    self.violations.push(Violation { rule: rules::OFFERS, run: Some(*id), what });
                }
            }
        }
    }
}
