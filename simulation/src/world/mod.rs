//! One seed: a deployment that lives, suffers, comes to rest and is judged.
//!
//! Real runtimes, runners and dispatchers, in one thread and in virtual time, over a store that fails, a queue that loses,
//! clocks that are wrong, and processes that die between any two steps, stand still longer than their leases, and are replaced
//! by others with another version. At some point nothing goes wrong any more; then everything must come to rest.

mod cast;
mod clock;
mod executor;
mod people;
mod plan;
mod props;
mod queue;
mod stage;
mod store;
mod watch;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use squidmesh_core::inspect::NextAction;
use squidmesh_core::{
    Fingerprint, MissedPolicy, RunId, RunState, RunStatus, StepName, Timestamp, WorkflowName, ms, secs,
};

use self::cast::{Deployed, Place, Process, Script};
use self::plan::{EVERY_MINUTES, ORDERS, Plan, TICKS};
use self::props::{Props, Temper};
use self::stage::{BEGINNING, Stage};
use crate::check::{Evidence, Violation, check_at_rest, rules};
use crate::mutation::Mutation;

/// Whether a panic with this message is part of the play.
pub fn is_planned(message: &str) -> bool {
    message.contains(plan::PLANNED)
}

/// How many tasks are polled at most until everything is at rest.
const PATIENCE: u64 = 400_000;

/// What a seed came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// Tells two traces apart.
    pub hash: u64,
    /// The trace, if it was to be kept.
    pub trace: Vec<String>,
    /// How much time passed in it.
    pub time: Duration,
    /// What happened, so that a simulation of nothing is noticed.
    pub tally: Tally,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub runs: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub waiting: u64,
    pub commits: u64,
    pub handlers: u64,
    pub compensations: u64,
    pub deaths: u64,
    pub freezes: u64,
    pub polls: u64,
}

impl Tally {
    /// Both together.
    pub fn add(&mut self, other: &Tally) {
        self.runs += other.runs;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.waiting += other.waiting;
        self.commits += other.commits;
        self.handlers += other.handlers;
        self.compensations += other.compensations;
        self.deaths += other.deaths;
        self.freezes += other.freezes;
        self.polls += other.polls;
    }
}

/// Lives one seed.
pub fn live(seed: u64, mutation: Option<Mutation>, keeps_trace: bool) -> Outcome {
    let stage = Stage::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5171_d3e5, keeps_trace);
    let mut outcome = Outcome::default();
    let mut world = None;
    let lived = catch_unwind(AssertUnwindSafe(|| world.insert(World::draw(&stage, mutation)).live()));
    if let Some(world) = world {
        (outcome.violations, outcome.tally) = (world.violations, world.tally);
    }
    if let Err(panic) = lived {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let what = text.unwrap_or("without a message").to_owned();
        outcome.violations.push(Violation { rule: rules::PANICS, run: None, what });
    }
    stage.clear();
    outcome.time = stage.now().since(BEGINNING);
    (outcome.hash, outcome.trace) = stage.trace();
    outcome
}

struct World {
    props: Arc<Props>,
    script: Script,
    /// The steps of either version that write rows.
    transactional: Vec<String>,
    /// What happens to occurrences that were missed, if there is a schedule.
    missed: Option<MissedPolicy>,
    places: Vec<Place>,
    /// From when on new processes have the second version.
    deploy_at: u64,
    polls: u64,
    accidents: u64,
    numbers: u32,
    violations: Vec<Violation>,
    tally: Tally,
}

impl World {
    fn draw(stage: &Arc<Stage>, mutation: Option<Mutation>) -> Self {
        let cron = stage.one_in(5);
        let temper = Temper::draw(stage, cron);
        let first = Plan::draw(stage);
        let second = first.changed(stage);
        let missed = [MissedPolicy::Skip, MissedPolicy::Once, MissedPolicy::All][stage.below(3) as usize];
        let ticks = cron.then(|| (Plan::draw_short(stage), missed));
        let polls = [300, 1_000, 2_500][stage.below(3) as usize];
        stage.note(format_args!("{temper:?}; first {first:?}; second {second:?}; ticks {ticks:?}"));
        let places = (0..1 + stage.below(3)).map(|_| Place { process: None, back_at: BEGINNING });
        let props = Props::new(Arc::clone(stage), temper, mutation);
        World {
            script: Script::new(&first, &second, ticks.as_ref(), &props),
            transactional: first.transactional().chain(second.transactional()).collect(),
            missed: ticks.map(|(_, missed)| missed),
            props,
            places: places.collect(),
            deploy_at: stage.below(2 * polls),
            polls,
            accidents: [40, 150, 600][stage.below(3) as usize],
            numbers: 0,
            violations: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn live(&mut self) {
        self.suffer();
        if self.broken() {
            return;
        }
        let deployed = if self.stage().one_in(4) { Deployed::Second } else { Deployed::Both };
        self.props.calm_down();
        self.come_to_rest(deployed);
        if self.broken() {
            return;
        }
        self.judge(deployed);
    }

    fn stage(&self) -> Arc<Stage> {
        Arc::clone(&self.props.stage)
    }

    /// Whether what is looked for is found already: anything at all, or what a mutation has to be noticed by.
    fn broken(&mut self) -> bool {
        self.violations.append(&mut self.props.watch().violations);
        match self.props.mutation {
            None => !self.violations.is_empty(),
            Some(mutation) => mutation.is_noticed(&self.violations),
        }
    }

    fn found(&mut self, rule: &'static str, run: Option<RunId>, what: String) {
        self.violations.push(Violation { rule, run, what });
    }

    fn suffer(&mut self) {
        let stage = self.stage();
        for poll in 0..self.polls {
            self.start_what_is_due(poll);
            if stage.one_in(self.accidents) {
                self.accident();
            }
            if stage.one_in(25)
                && let Some(process) = self.any_process()
            {
                people::ask_something(process, &self.props);
            }
            if !stage.step() && !stage.pass() {
                stage.note(format_args!("nothing to do"));
            }
            self.tally.polls += 1;
            if self.broken() {
                return;
            }
        }
    }

    fn start_what_is_due(&mut self, poll: u64) {
        let now = self.props.stage.now();
        for place in 0..self.places.len() {
            if self.places[place].process.is_some() || self.places[place].back_at > now {
                continue;
            }
            let deployed = match poll < self.deploy_at {
                true => Deployed::First,
                false if self.props.stage.one_in(2) => Deployed::Both,
                false => Deployed::Second,
            };
            self.start(place, deployed);
        }
    }

    fn start(&mut self, place: usize, deployed: Deployed) {
        self.numbers += 1;
        self.places[place].process = Some(Process::start(self.numbers, &self.script, deployed, &self.props));
    }

    fn any_process(&self) -> Option<&Process> {
        let living: Vec<&Process> = self.places.iter().filter_map(|place| place.process.as_ref()).collect();
        self.props.stage.pick(&living).copied()
    }

    /// Something happens to a process, to all of them, or to the queue.
    fn accident(&mut self) {
        let stage = self.stage();
        let place = stage.below(self.places.len() as u64) as usize;
        let soon = ms(stage.below(60_000));
        match stage.below(12) {
            0..=3 => self.end(place, soon),
            4 | 5 => self.freeze(place),
            6 => {
                // A deploy: it is told to stop, and what it has in hand goes on beside its successor.
                if let Some(process) = self.places[place].process.take() {
                    process.stop();
                    self.come_back(place, soon);
                }
            }
            7 => {
                let longest = if self.missed.is_some() { 7_200 } else { 400_000 };
                let outage = secs(stage.below(longest));
                stage.note(format_args!("an outage of {outage:?}"));
                for place in 0..self.places.len() {
                    self.end(place, outage);
                }
            }
            8 => {
                stage.note(format_args!("the queue is wiped"));
                self.props.queue.wipe();
            }
            9 => self.props.queue.put(stage.now(), b"{\"kind\":\"nonsense\"".to_vec()),
            _ => {
                let skew = self.props.temper.skew;
                let skew = stage.below(2 * skew + 1) as i64 - skew as i64;
                if let Some(process) = &self.places[place].process {
                    process.clock.jump(skew);
                }
            }
        }
    }

    /// A process dies, and its place is taken again after a while.
    fn end(&mut self, place: usize, again_after: Duration) {
        if let Some(process) = self.places[place].process.take() {
            self.tally.deaths += 1;
            self.props.stage.kill(process.id);
        }
        self.come_back(place, again_after);
    }

    fn come_back(&mut self, place: usize, after: Duration) {
        let stage = self.stage();
        self.places[place].back_at = stage.now().after(after);
        let sleep = stage.sleep(after);
        stage.spawn(0, sleep);
    }

    /// A process stands still, perhaps for longer than its leases last.
    fn freeze(&mut self, place: usize) {
        let stage = self.stage();
        let Some(process) = &self.places[place].process else { return };
        self.tally.freezes += 1;
        let (id, lease) = (process.id, self.props.temper.lease);
        let still = if stage.one_in(2) { lease + secs(stage.below(90)) } else { ms(stage.below(10_000)) };
        stage.freeze(id);
        let (there, sleep) = (Arc::clone(&stage), stage.sleep(still));
        stage.spawn(0, async move {
            sleep.await;
            there.thaw(id);
        });
    }

    /// Nothing goes wrong any more, and whoever is needed is there.
    fn come_to_rest(&mut self, deployed: Deployed) {
        let stage = self.stage();
        for place in 0..self.places.len() {
            if let Some(process) = self.places[place].process.take() {
                stage.thaw(process.id);
                process.stop();
            }
        }
        for place in 0..self.places.len().min(2) {
            self.start(place, deployed);
        }
        let registered = self.script.versions(deployed);
        let mut asked = BTreeSet::new();
        let mut paused = self.missed.is_none();
        for _ in 0..PATIENCE {
            if stage.step() {
                self.tally.polls += 1;
                continue;
            }
            if self.broken() {
                return;
            }
            if self.rests(&registered) && paused {
                return;
            }
            let Some(process) = self.any_process() else { return };
            people::decide_what_waits(process, &self.props, &mut asked);
            if !paused {
                paused = true;
                let mesh = process.mesh.clone();
                stage.spawn(0, async move {
                    mesh.pause_trigger(TICKS, "often").await.expect("a trigger can be paused");
                });
            }
            if !stage.pass() {
                break;
            }
        }
        let watch = self.props.watch();
        let restless: Vec<String> = watch
            .runs
            .values()
            .filter(|state| !state.run.status.is_terminal())
            .map(|state| format!("{} is {}", state.run.id, state.run.status))
            .collect();
        drop(watch);
        let intents: Vec<String> = self.props.store.intents().iter().map(|intent| intent.key.to_string()).collect();
        let what = format!("after {PATIENCE} polls without a fault {restless:?}, and dispatched is {intents:?}");
        self.found(rules::RESTLESS, None, what);
    }

    fn rests(&self, registered: &BTreeSet<Fingerprint>) -> bool {
        let watch = self.props.watch();
        let left = |id: RunId, step: &StepName| people::is_left_alone(id, step);
        let rests = |state: &RunState| match people::waiting(state) {
            _ if !registered.contains(&state.run.fingerprint) => true,
            Some((step, _, deadline)) => !deadline && left(state.run.id, &step),
            None => state.run.status.is_terminal(),
        };
        watch.runs.values().all(rests)
            && self.props.store.intents().iter().all(|intent| {
                let state = watch.runs.get(&intent.key.run_id);
                state.is_none_or(|state| !registered.contains(&state.run.fingerprint))
            })
    }

    fn judge(&mut self, deployed: Deployed) {
        let mut evidence = Evidence::read(&self.props.store)
            .now_or_never()
            .expect("the store in memory answers at once")
            .expect("what is stored can be read");
        evidence.effects = self.props.effects();
        evidence.succeeded = self.props.succeeded();
        evidence.calls = self.props.calls();
        evidence.calls_complete = true;
        evidence.events = self.props.events();
        evidence.times = self.props.watch().times.clone();
        evidence.crash_limit = Some(3);
        evidence.registered = Some(self.script.versions(deployed));
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
        }
        let compensations = evidence.times.compensated.values().map(Vec::len).sum::<usize>();
        self.tally.compensations += compensations as u64;
        self.tally.handlers += evidence.effects.len() as u64;
        self.tally.commits += self.props.commits.load(Ordering::Relaxed);
    }

    /// With the policy `all`, every occurrence that has been dealt with has its run, and no other time has one.
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
        let span = self.props.watch().schedules.values().next().copied();
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

    /// What an explanation offers is accepted, and what it does not offer is refused.
    fn judge_offers(&mut self, evidence: &Evidence, deployed: Deployed) {
        self.numbers += 1;
        let auditor = Process::idle(self.numbers, &self.script, deployed, &self.props);
        let registered = evidence.registered.clone().unwrap_or_default();
        for (id, record) in
            evidence.runs.iter().filter(|(_, record)| registered.contains(&record.state.run.fingerprint))
        {
            let told = auditor.mesh.explain_run(*id).now_or_never();
            let told = told.expect("the store answers at once").expect("a run can be explained");
            for action in [NextAction::Cancel, NextAction::Unblock, NextAction::Approve, NextAction::Reject] {
                let transaction = self.props.store.begin();
                let joined = auditor.mesh.within(&transaction);
                let tried = match action {
                    NextAction::Cancel => joined.cancel_run(*id).actor("auditor").into_future(),
                    NextAction::Unblock => joined.unblock_run(*id).actor("auditor").into_future(),
                    NextAction::Approve => joined.approve_run(*id).actor("auditor").into_future(),
                    _ => joined.reject_run(*id).actor("auditor").into_future(),
                };
                let accepted = tried.now_or_never().is_some_and(|answer| answer.is_ok());
                let offered = told.actions.contains(&action);
                if accepted != offered {
                    let status = record.state.run.status;
                    let what = format!("it is {status}; {action:?} is offered: {offered}, and accepted: {accepted}");
                    self.violations.push(Violation { rule: rules::OFFERS, run: Some(*id), what });
                }
            }
        }
    }
}
