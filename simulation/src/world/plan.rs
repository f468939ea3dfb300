//! Random workflows, as data first, so that a deploy can bring another version of the same workflow; and the handlers
//! that execute them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use squidmesh_checker::{Effect, EffectKind};
use squidmesh_core::definition::{Condition, JsonViolation, LogLevel, MissedPolicy};
use squidmesh_core::testing::MemoryTransaction;
use squidmesh_core::workflow::{
    Destination, HandlerOutput, Output, OutputShape, Routed, TransactionalHandler, WithDelay, WorkflowBuilder,
};
use squidmesh_core::{
    COMPLETE, FAIL, Field, Retry, Signal, Step, StepContext, StepError, StepResult, Trigger, Workflow, approval, hours,
    log, minutes, ms, not, pause, secs, transactional, wait, wait_for, when,
};

use super::environment::Environment;
use super::scheduler::Scheduler;
use crate::mutation::Mutation;

/// The interval of the simulated schedule.
pub(crate) const EVERY_MINUTES: i64 = 10;
/// The workflow that schedules start.
pub(crate) const TICKS: &str = "ticks";
/// The workflow that clients start.
pub(crate) const ORDERS: &str = "orders";
/// The signals that steps wait for.
pub(crate) const PROCEED: &str = "proceed";
pub(crate) const PAID: &str = "paid";
/// A signal that no step waits for, and that not every version declares.
pub(crate) const NOTE: &str = "note";

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    dependencies: bool,
    /// Whether the workflow declares the signal that no step waits for.
    notes: bool,
    /// Whether a signal must state the decision that it may leave out otherwise.
    strict: bool,
    steps: Vec<StepPlan>,
}

#[derive(Clone, Debug)]
struct StepPlan {
    kind: Kind,
    retry: Retry,
    timeout: Option<Duration>,
    recovery: Recovery,
    /// The target of the error transition: a later step, or, if that is beyond the last, the end.
    on_error: Option<usize>,
    ways: Ways,
    after: Vec<usize>,
    under_key: bool,
    /// Whether the step asks for one key of all that is visible to it.
    picks: bool,
    /// Whether the handler tends to kill its worker.
    poison: bool,
}

/// The ways on from a step besides the next step and the error transition: the condition, the route and the error kind,
/// each with a later step, or, if that is beyond the last, the end.
#[derive(Clone, Debug, Default)]
struct Ways {
    conditions: Vec<(Condition, usize)>,
    route: Option<usize>,
    kind: Option<usize>,
}

impl Ways {
    fn draw(scheduler: &Scheduler, later: impl Fn(&Scheduler) -> usize) -> Self {
        let condition = |scheduler: &Scheduler| match scheduler.below(5) {
            0 => when("effect").less_than(scheduler.below(30)),
            1 => not(when("number").at_most(scheduler.below(4))),
            2 => when("of_s0.effect").exists().and(when("number").is_not(2.0)),
            3 => when("decision").one_of(["approved", "rejected"]).or(when("effect").is_missing()),
            _ => when("effect").greater_than(scheduler.below(30)),
        };
        let count = [0, 0, 1, 2][scheduler.below(4) as usize];
        let mut conditions: Vec<(Condition, usize)> = Vec::new();
        for _ in 0..count {
            let condition = condition(scheduler);
            if conditions.iter().all(|(other, _)| *other != condition) {
                conditions.push((condition, later(scheduler)));
            }
        }
        Ways {
            conditions,
            route: scheduler.one_in(5).then(|| later(scheduler)),
            kind: scheduler.one_in(4).then(|| later(scheduler)),
        }
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Handler,
    Transactional,
    Wait(Duration),
    Log,
    Pause,
    Approval,
    Deadline(Duration, Option<usize>),
    /// A wait for a signal, with a deadline and the target of that.
    Signal(&'static str, Option<Duration>, Option<usize>),
}

#[derive(Clone, Copy, Debug)]
enum Recovery {
    None,
    Irreversible,
    NotCompensatable,
    Compensated,
    CompensatedWithRetry,
}

impl Plan {
    /// Returns a random workflow, which is always valid.
    pub(crate) fn draw(scheduler: &Scheduler) -> Self {
        let dependencies = scheduler.one_in(2);
        let count = 1 + scheduler.below(6) as usize;
        let steps = (0..count).map(|place| StepPlan::draw(scheduler, dependencies, place, count));
        Plan { dependencies, notes: scheduler.one_in(2), strict: scheduler.one_in(4), steps: steps.collect() }
    }

    /// Returns the workflow that a schedule starts: short, because it is started often.
    pub(crate) fn draw_short(scheduler: &Scheduler) -> Self {
        let mut step = StepPlan::draw(scheduler, true, 0, 1);
        step.poison = false;
        step.kind = Kind::Handler;
        Plan { dependencies: true, notes: false, strict: false, steps: vec![step] }
    }

    /// Returns the next version of the workflow.
    pub(crate) fn changed(&self, scheduler: &Scheduler) -> Self {
        let mut plan = self.clone();
        let place = scheduler.below(plan.steps.len() as u64) as usize;
        let has_code = matches!(plan.steps[place].kind, Kind::Handler | Kind::Transactional);
        let waits = matches!(plan.steps[place].kind, Kind::Signal(..));
        plan.notes ^= scheduler.one_in(3);
        plan.strict ^= scheduler.one_in(3);
        match scheduler.below(6) {
            0..4 if waits => {
                // A step that waits already leaves by the transitions that were declared when it began.
                let other = StepPlan::draw(scheduler, false, place, plan.steps.len());
                (plan.steps[place].on_error, plan.steps[place].ways) = (other.on_error, other.ways);
                plan.steps[place].under_key = !plan.steps[place].under_key;
            }
            0 if has_code => plan.steps[place].timeout = Some(secs(77)),
            1 if has_code => plan.steps[place].retry = Retry::fixed(4, ms(777)),
            2..5 if has_code => plan.steps[place].picks = !plan.steps[place].picks,
            _ => {
                let mut last = StepPlan::draw(scheduler, true, 0, 1);
                last.kind = Kind::Log;
                last.after = if plan.dependencies { vec![plan.steps.len() - 1] } else { vec![] };
                plan.steps.push(last);
            }
        }
        plan
    }

    /// Returns the steps that write rows.
    pub(crate) fn transactional(&self) -> impl Iterator<Item = String> {
        let steps = self.steps.iter().enumerate().filter(|(_, step)| matches!(step.kind, Kind::Transactional));
        steps.map(|(place, _)| name(place))
    }

    pub(crate) fn workflow(
        &self,
        called: &str,
        missed: Option<MissedPolicy>,
        environment: &Arc<Environment>,
    ) -> Workflow {
        let trigger = match missed {
            // Clients give a number alone; conditions may ask for the rest, which steps may provide.
            None => Trigger::manual("go")
                .field(Field::integer("number"))
                .field(Field::integer("effect").optional())
                .field(Field::map("of_s0").optional())
                .field(Field::string("decision").optional()),
            Some(policy) => Trigger::cron("often").expression("*/10 * * * *").time_zone("UTC").missed(policy),
        };
        let mut builder = Workflow::builder(called).trigger(trigger);
        if missed.is_none() {
            let decision = Field::string("decision");
            let decision = if self.strict { decision } else { decision.optional() };
            let proceed = Signal::new(PROCEED).field(Field::integer("number")).field(decision);
            builder = builder.signal(proceed).signal(Signal::new(PAID).field(Field::integer("number")));
        }
        if self.notes {
            builder = builder.signal(Signal::new(NOTE).field(Field::integer("number")));
        }
        let count = self.steps.len();
        for (place, plan) in self.steps.iter().enumerate() {
            let mut step = plan.step(place, count, environment);
            let has_code = matches!(plan.kind, Kind::Handler | Kind::Transactional);
            if plan.picks && has_code && missed.is_none() {
                step = step.input(["number"]);
            }
            if self.dependencies && !plan.after.is_empty() {
                step = step.after(plan.after.iter().map(|place| name(*place)));
            }
            builder = builder.step(step);
            if !self.dependencies {
                builder = plan.transitions(place, count, builder);
            }
        }
        if self.dependencies && self.steps.iter().all(|plan| plan.after.is_empty()) && count > 1 {
            builder = builder.parallel();
        }
        builder.build().expect("a plan is valid")
    }
}

fn name(place: usize) -> String {
    format!("s{place}")
}

/// Returns a later step, or, if that is beyond the last, the end.
fn end(to: usize, count: usize) -> Destination {
    if to < count { name(to).into() } else { COMPLETE.into() }
}

impl StepPlan {
    fn draw(scheduler: &Scheduler, dependencies: bool, place: usize, count: usize) -> Self {
        let later = |scheduler: &Scheduler| place + 1 + scheduler.below((count - place) as u64) as usize;
        let kind = match scheduler.below(if dependencies { 8 } else { 18 }) {
            0 | 1 => Kind::Transactional,
            2 => Kind::Wait([ms(5), secs(90), hours(30)][scheduler.below(3) as usize]),
            3 => Kind::Log,
            4..=7 | 12 | 13 => Kind::Handler,
            8 => Kind::Pause,
            9 => Kind::Approval,
            10 => Kind::Deadline([secs(50), hours(20)][scheduler.below(2) as usize], None),
            11 => Kind::Deadline(hours(1), Some(later(scheduler))),
            _ => {
                let deadline = [None, Some(secs(50)), Some(hours(20))][scheduler.below(3) as usize];
                let to = deadline.filter(|_| scheduler.one_in(2)).map(|_| later(scheduler));
                Kind::Signal([PROCEED, PROCEED, PAID][scheduler.below(3) as usize], deadline, to)
            }
        };
        let attempts = [1, 1, 2, 3, 6][scheduler.below(5) as usize];
        let retry = match scheduler.below(3) {
            0 => Retry::fixed(attempts, ms(100)),
            1 => Retry::fixed(attempts, secs(40)),
            _ => Retry::exponential(attempts, secs(1)..minutes(5)).jitter(scheduler.one_in(2)),
        };
        let person = matches!(kind, Kind::Approval | Kind::Deadline(..));
        StepPlan {
            retry,
            timeout: scheduler.one_in(3).then(|| secs(10 + scheduler.below(50))),
            recovery: match scheduler.below(6) {
                0 => Recovery::Irreversible,
                1 => Recovery::NotCompensatable,
                2 | 3 => Recovery::Compensated,
                4 => Recovery::CompensatedWithRetry,
                _ => Recovery::None,
            },
            on_error: (person || scheduler.one_in(3)).then(|| later(scheduler)),
            ways: if dependencies { Ways::default() } else { Ways::draw(scheduler, later) },
            after: (0..place).filter(|_| dependencies && scheduler.one_in(2)).collect(),
            under_key: scheduler.one_in(3),
            picks: scheduler.one_in(4),
            poison: scheduler.one_in(12),
            kind,
        }
    }

    fn step(&self, place: usize, count: usize, environment: &Arc<Environment>) -> Step {
        let here = name(place);
        let mut step = match &self.kind {
            Kind::Handler => {
                let (environment, poison) = (Arc::clone(environment), self.poison);
                let chooses = self.ways.route.is_some();
                Step::new(&here, move |input: Value, context: StepContext| {
                    let environment = Arc::clone(&environment);
                    async move {
                        let value = work(&environment, poison, input, context).await?;
                        let delayed = environment.goes_wrong(12);
                        let delay = delayed.then(|| secs(1 + environment.scheduler.below(100)));
                        let route = match environment.scheduler.below(12) {
                            0 if chooses => Some("nowhere"),
                            1..=6 if chooses => Some(ROUTE),
                            _ => None,
                        };
                        StepResult::Ok(Ended { value, delay, route })
                    }
                })
            }
            Kind::Transactional => {
                Step::new(&here, transactional(Rows { environment: Arc::clone(environment), poison: self.poison }))
            }
            built_in => return self.built_in(built_in, &here, count),
        };
        step = step.retry(self.retry.clone());
        if self.under_key {
            step = step.output(format!("of_{here}"));
        }
        if let Some(timeout) = self.timeout {
            step = step.timeout(timeout);
        }
        match self.recovery {
            Recovery::None => step,
            Recovery::Irreversible => step.irreversible(),
            Recovery::NotCompensatable => step.compensatable(false),
            Recovery::Compensated => self.compensated(step, environment),
            Recovery::CompensatedWithRetry => {
                self.compensated(step, environment).compensation_retry(Retry::fixed(3, secs(5)))
            }
        }
    }

    fn built_in(&self, kind: &Kind, here: &str, count: usize) -> Step {
        let step = match kind {
            Kind::Wait(duration) => Step::new(here, wait(*duration)),
            Kind::Pause => Step::new(here, pause()),
            Kind::Approval => Step::new(here, approval()),
            Kind::Deadline(after, None) => Step::new(here, approval().deadline(*after)),
            Kind::Deadline(after, Some(to)) => Step::new(here, approval().deadline(*after).then_to(end(*to, count))),
            Kind::Signal(signal, None, _) => Step::new(here, wait_for(signal)),
            Kind::Signal(signal, Some(after), None) => Step::new(here, wait_for(signal).deadline(*after)),
            Kind::Signal(signal, Some(after), Some(to)) => {
                let to = if *to == count && self.picks { FAIL.into() } else { end(*to, count) };
                Step::new(here, wait_for(signal).deadline(*after).then_to(to))
            }
            Kind::Log | Kind::Handler | Kind::Transactional => Step::new(here, log("as simulated", LogLevel::Debug)),
        };
        let has_key = self.under_key && matches!(kind, Kind::Signal(..));
        if has_key { step.output(format!("of_{here}")) } else { step }
    }

    fn compensated(&self, step: Step, environment: &Arc<Environment>) -> Step {
        let environment = Arc::clone(environment);
        step.compensate(move |input: Value, context: StepContext| {
            let environment = Arc::clone(&environment);
            async move { act(&environment, false, EffectKind::Compensation, input, &context).await }
        })
    }

    fn transitions(&self, place: usize, count: usize, builder: WorkflowBuilder) -> WorkflowBuilder {
        let here = name(place);
        let builder = match place + 1 < count {
            true => builder.then(&here, name(place + 1)),
            false => builder.then(&here, COMPLETE),
        };
        let (has_code, is_person) =
            (matches!(self.kind, Kind::Handler), matches!(self.kind, Kind::Approval | Kind::Deadline(..)));
        let waits = matches!(self.kind, Kind::Signal(..));
        let end = |to: usize| end(to, count);
        let builder = self
            .ways
            .conditions
            .iter()
            .fold(builder, |builder, (condition, to)| builder.then_if(&here, condition.clone(), end(*to)));
        let builder = match self.ways.route.filter(|_| has_code) {
            Some(to) => builder.then_named(&here, ROUTE, end(to)),
            None => builder,
        };
        let builder = match self.ways.kind {
            Some(to) if has_code => builder.on_error_kind(&here, "declined", end(to)),
            Some(to) if is_person => builder.on_error_kind(&here, "rejected", end(to)),
            Some(to) if waits && to % 2 == 0 => builder.on_error_kind(&here, "context_too_large", end(to)),
            Some(to) if waits => builder.on_error_kind(&here, "expired", end(to)),
            _ => builder,
        };
        let reaches_error = !matches!(self.kind, Kind::Wait(_) | Kind::Log | Kind::Pause);
        match self.on_error.filter(|_| reaches_error) {
            None => builder,
            Some(to) if to < count => builder.on_error(&here, name(to)),
            Some(_) if self.under_key => builder.on_error(&here, FAIL),
            Some(_) => builder.on_error(&here, COMPLETE),
        }
    }
}

/// The route that handlers choose.
const ROUTE: &str = "aside";

/// What a handler returns.
struct Ended {
    value: Value,
    delay: Option<Duration>,
    route: Option<&'static str>,
}

impl Output for Ended {
    fn into_output(self) -> Result<HandlerOutput, JsonViolation> {
        let routed = self.route.map(|route| Routed::to(route, self.value.clone()));
        match (routed, self.delay) {
            (Some(routed), Some(delay)) => routed.after(delay).into_output(),
            (Some(routed), None) => routed.into_output(),
            (None, Some(delay)) => WithDelay::by(delay, self.value).into_output(),
            (None, None) => self.value.into_output(),
        }
    }

    fn shape() -> OutputShape {
        OutputShape::Any
    }
}

async fn work(environment: &Arc<Environment>, poison: bool, input: Value, context: StepContext) -> StepResult<Value> {
    act(environment, poison, EffectKind::Step, input, &context).await
}

/// The common body of all handlers: it is noted, takes time, and succeeds, fails, panics or kills its worker.
async fn act(
    environment: &Arc<Environment>,
    poison: bool,
    kind: EffectKind,
    input: Value,
    context: &StepContext,
) -> StepResult<Value> {
    let _held = environment.begin_work(context, kind);
    let scheduler = &environment.scheduler;
    let fails = environment.goes_wrong(environment.conditions.failures);
    let way = if fails { scheduler.below(10) } else { 10 };
    let retry_after = (way == 0).then(|| secs(3 + scheduler.below(200)));
    let (run_id, step, attempt) = (context.run_id, context.step.clone(), context.attempt);
    let input = if environment.mutation == Some(Mutation::ChangedInput) { json!({ "of": "another" }) } else { input };
    let number = environment.note_effect(Effect { run_id, step, kind, attempt, input, retry_after });
    if (poison && environment.goes_wrong(2)) || environment.goes_wrong(150) {
        scheduler.doom(scheduler.current_process());
        std::future::pending::<()>().await;
    }
    if environment.goes_wrong(4) && retry_after.is_none() {
        scheduler.sleep(ms(1 + scheduler.below(30_000))).await;
    }
    match way {
        0 => Err(StepError::retryable("not yet").retry_after(retry_after.unwrap_or_default())),
        1..=4 => Err(StepError::retryable("not now")),
        5 => Err(StepError::terminal("never")),
        6 => Err(StepError::terminal("no").kind("declined")),
        7 => panic!("{PLANNED}"),
        8 => Ok(Value::from("a\0b")),
        9 => {
            // Longer than any lease that is not extended, and than most timeouts.
            scheduler.sleep(environment.conditions.lease * 2).await;
            Ok(success(environment, number))
        }
        _ => Ok(success(environment, number)),
    }
}

fn success(environment: &Environment, number: usize) -> Value {
    environment.note_success(number);
    json!({ "effect": number })
}

/// The message of planned panics.
pub(crate) const PLANNED: &str = "a handler panics as planned";

/// A handler that writes a row in the transaction of its outcome.
struct Rows {
    environment: Arc<Environment>,
    poison: bool,
}

impl TransactionalHandler for Rows {
    type Input = Value;
    type Transaction = MemoryTransaction;
    type Output = Value;

    async fn run(&self, input: Value, transaction: &MemoryTransaction, context: StepContext) -> StepResult<Value> {
        let environment = Arc::clone(&self.environment);
        let (run_id, step, attempt) = (context.run_id, context.step.clone(), context.attempt);
        transaction.on_commit(move || {
            let kind = EffectKind::Row;
            environment.note_effect(Effect { run_id, step, kind, attempt, input: Value::Null, retry_after: None });
        });
        work(&self.environment, self.poison, input, context).await
    }
}
