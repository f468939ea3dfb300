//! Workflows by chance, as data first, so that a deploy can bring another version of the same; and the handlers that carry them out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use squidmesh_core::testing::MemoryTransaction;
use squidmesh_core::{
    COMPLETE, Delayed, Field, LogLevel, MissedPolicy, Retry, Step, StepContext, StepError, StepResult,
    TransactionalHandler, Trigger, Workflow, WorkflowBuilder, approval, hours, log, minutes, ms, pause, secs,
    transactional, wait,
};

use super::props::Props;
use super::stage::Stage;
use crate::check::{Effect, EffectKind};

/// How often the simulated schedule fires.
pub(crate) const EVERY_MINUTES: i64 = 10;
/// The workflow that schedules start.
pub(crate) const TICKS: &str = "ticks";
/// The workflow that clients start.
pub(crate) const ORDERS: &str = "orders";

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    dependencies: bool,
    steps: Vec<StepPlan>,
}

#[derive(Clone, Debug)]
struct StepPlan {
    kind: Kind,
    retry: Retry,
    timeout: Option<Duration>,
    recovery: Recovery,
    /// Where its failure leads: to a later step, or, if that is beyond the last, to the end.
    on_error: Option<usize>,
    after: Vec<usize>,
    under_key: bool,
    /// It tends to take its worker with it.
    poison: bool,
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
    /// A workflow, which is valid however the dice fall.
    pub(crate) fn draw(stage: &Stage) -> Self {
        let dependencies = stage.one_in(2);
        let count = 1 + stage.below(6) as usize;
        let steps = (0..count).map(|place| StepPlan::draw(stage, dependencies, place, count));
        Plan { dependencies, steps: steps.collect() }
    }

    /// What a schedule starts: short, because it is started often.
    pub(crate) fn draw_short(stage: &Stage) -> Self {
        let mut step = StepPlan::draw(stage, true, 0, 1);
        step.poison = false;
        step.kind = Kind::Handler;
        Plan { dependencies: true, steps: vec![step] }
    }

    /// The next version of it.
    pub(crate) fn changed(&self, stage: &Stage) -> Self {
        let mut plan = self.clone();
        let place = stage.below(plan.steps.len() as u64) as usize;
        let has_code = matches!(plan.steps[place].kind, Kind::Handler | Kind::Transactional);
        match stage.below(3) {
            0 if has_code => plan.steps[place].timeout = Some(secs(77)),
            1 if has_code => plan.steps[place].retry = Retry::fixed(4, ms(777)),
            _ => {
                let mut last = StepPlan::draw(stage, true, 0, 1);
                last.kind = Kind::Log;
                last.after = if plan.dependencies { vec![plan.steps.len() - 1] } else { vec![] };
                plan.steps.push(last);
            }
        }
        plan
    }

    /// The steps that write rows.
    pub(crate) fn transactional(&self) -> impl Iterator<Item = String> {
        let steps = self.steps.iter().enumerate().filter(|(_, step)| matches!(step.kind, Kind::Transactional));
        steps.map(|(place, _)| name(place))
    }

    pub(crate) fn workflow(&self, called: &str, missed: Option<MissedPolicy>, props: &Arc<Props>) -> Workflow {
        let trigger = match missed {
            None => Trigger::manual("go").field(Field::integer("number")),
            Some(policy) => Trigger::cron("often").expression("*/10 * * * *").time_zone("UTC").missed(policy),
        };
        let mut builder = Workflow::builder(called).trigger(trigger);
        let count = self.steps.len();
        for (place, plan) in self.steps.iter().enumerate() {
            let mut step = plan.step(place, count, props);
            if self.dependencies && !plan.after.is_empty() {
                step = step.after(plan.after.iter().map(|place| name(*place)));
            }
            builder = builder.step(step);
            if !self.dependencies {
                builder = plan.transitions(place, count, builder);
            }
        }
        builder.build().expect("a plan is valid")
    }
}

fn name(place: usize) -> String {
    format!("s{place}")
}

impl StepPlan {
    fn draw(stage: &Stage, dependencies: bool, place: usize, count: usize) -> Self {
        let later = |stage: &Stage| place + 1 + stage.below((count - place) as u64) as usize;
        let kind = match stage.below(if dependencies { 8 } else { 14 }) {
            0 | 1 => Kind::Transactional,
            2 => Kind::Wait([ms(5), secs(90), hours(30)][stage.below(3) as usize]),
            3 => Kind::Log,
            4..=7 | 12 | 13 => Kind::Handler,
            8 => Kind::Pause,
            9 => Kind::Approval,
            10 => Kind::Deadline([secs(50), hours(20)][stage.below(2) as usize], None),
            _ => Kind::Deadline(hours(1), Some(later(stage))),
        };
        let attempts = [1, 1, 2, 3, 6][stage.below(5) as usize];
        let retry = match stage.below(3) {
            0 => Retry::fixed(attempts, ms(100)),
            1 => Retry::fixed(attempts, secs(40)),
            _ => Retry::exponential(attempts, secs(1)..minutes(5)).jitter(stage.one_in(2)),
        };
        let person = matches!(kind, Kind::Approval | Kind::Deadline(..));
        StepPlan {
            retry,
            timeout: stage.one_in(3).then(|| secs(10 + stage.below(50))),
            recovery: match stage.below(6) {
                0 => Recovery::Irreversible,
                1 => Recovery::NotCompensatable,
                2 | 3 => Recovery::Compensated,
                4 => Recovery::CompensatedWithRetry,
                _ => Recovery::None,
            },
            on_error: (person || stage.one_in(3)).then(|| later(stage)),
            after: (0..place).filter(|_| dependencies && stage.one_in(2)).collect(),
            under_key: stage.one_in(3),
            poison: stage.one_in(12),
            kind,
        }
    }

    fn step(&self, place: usize, count: usize, props: &Arc<Props>) -> Step {
        let here = name(place);
        let mut step = match &self.kind {
            Kind::Handler => {
                let (props, poison) = (Arc::clone(props), self.poison);
                Step::new(&here, move |input: Value, context: StepContext| {
                    let props = Arc::clone(&props);
                    async move {
                        let output = work(&props, poison, input, context).await?;
                        let delay =
                            if props.goes_wrong(12) { secs(1 + props.stage.below(100)) } else { Duration::ZERO };
                        StepResult::Ok(Delayed::by(delay, output))
                    }
                })
            }
            Kind::Transactional => {
                Step::new(&here, transactional(Rows { props: Arc::clone(props), poison: self.poison }))
            }
            Kind::Wait(duration) => return Step::new(&here, wait(*duration)),
            Kind::Log => return Step::new(&here, log("as simulated", LogLevel::Debug)),
            Kind::Pause => return Step::new(&here, pause()),
            Kind::Approval => return Step::new(&here, approval()),
            Kind::Deadline(after, None) => return Step::new(&here, approval().deadline(*after)),
            Kind::Deadline(after, Some(to)) if *to < count => {
                return Step::new(&here, approval().deadline(*after).then_to(name(*to)));
            }
            Kind::Deadline(after, _) => return Step::new(&here, approval().deadline(*after).then_to(COMPLETE)),
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
            Recovery::Compensated => self.compensated(step, props),
            Recovery::CompensatedWithRetry => {
                self.compensated(step, props).compensation_retry(Retry::fixed(3, secs(5)))
            }
        }
    }

    fn compensated(&self, step: Step, props: &Arc<Props>) -> Step {
        let props = Arc::clone(props);
        step.compensate(move |input: Value, context: StepContext| {
            let props = Arc::clone(&props);
            async move { act(&props, false, EffectKind::Compensation, input, &context).await }
        })
    }

    fn transitions(&self, place: usize, count: usize, builder: WorkflowBuilder) -> WorkflowBuilder {
        let here = name(place);
        let builder = match place + 1 < count {
            true => builder.then(&here, name(place + 1)),
            false => builder.then(&here, COMPLETE),
        };
        let reaches_error = !matches!(self.kind, Kind::Wait(_) | Kind::Log | Kind::Pause);
        match self.on_error.filter(|_| reaches_error) {
            None => builder,
            Some(to) if to < count => builder.on_error(&here, name(to)),
            Some(_) => builder.on_error(&here, COMPLETE),
        }
    }
}

async fn work(props: &Props, poison: bool, input: Value, context: StepContext) -> StepResult<Value> {
    act(props, poison, EffectKind::Step, input, &context).await
}

/// What every handler does: it is noted, takes time, and succeeds, fails, panics or takes its worker with it.
async fn act(props: &Props, poison: bool, kind: EffectKind, input: Value, context: &StepContext) -> StepResult<Value> {
    let stage = &props.stage;
    let fails = props.goes_wrong(props.temper.failures);
    let way = if fails { stage.below(10) } else { 10 };
    let retry_after = (way == 0).then(|| secs(3 + stage.below(200)));
    let (run_id, step, attempt) = (context.run_id, context.step.clone(), context.attempt);
    let number = props.note_effect(Effect { run_id, step, kind, attempt, input, retry_after });
    if (poison && props.goes_wrong(2)) || props.goes_wrong(150) {
        stage.doom(stage.on_stage());
        std::future::pending::<()>().await;
    }
    if props.goes_wrong(4) && retry_after.is_none() {
        stage.sleep(ms(1 + stage.below(30_000))).await;
    }
    match way {
        0 => Err(StepError::retryable("not yet").retry_after(retry_after.unwrap_or_default())),
        1..=4 => Err(StepError::retryable("not now")),
        5 | 6 => Err(StepError::terminal("never")),
        7 => panic!("{PLANNED}"),
        8 => Ok(Value::from("a\0b")),
        9 => {
            // Too long for any lease that is not kept, and for most timeouts.
            stage.sleep(props.temper.lease * 2).await;
            Ok(success(props, number))
        }
        _ => Ok(success(props, number)),
    }
}

fn success(props: &Props, number: usize) -> Value {
    props.note_success(number);
    json!({ "effect": number })
}

/// The message of panics that are part of the play.
pub(crate) const PLANNED: &str = "a handler panics as planned";

/// A handler that writes a row in the transaction of its outcome.
struct Rows {
    props: Arc<Props>,
    poison: bool,
}

#[async_trait]
impl TransactionalHandler for Rows {
    type Input = Value;
    type Transaction = MemoryTransaction;
    type Output = Value;

    async fn run(&self, input: Value, transaction: &MemoryTransaction, context: StepContext) -> StepResult<Value> {
        let props = Arc::clone(&self.props);
        let (run_id, step, attempt) = (context.run_id, context.step.clone(), context.attempt);
        transaction.on_commit(move || {
            let kind = EffectKind::Row;
            props.note_effect(Effect { run_id, step, kind, attempt, input: Value::Null, retry_after: None });
        });
        work(&self.props, self.poison, input, context).await
    }
}
