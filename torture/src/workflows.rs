//! The workflows that run while everything breaks: one of each shape, whose handlers record what they do and whose
//! outcomes are derived from the run, the step and the attempt.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::{Value, json};
use squidmesh_checker::EffectKind;
use squidmesh_core::workflow::{TransactionalHandler, WithDelay, WorkflowBuilder};
use squidmesh_core::{
    COMPLETE, Field, Retry, RunId, Step, StepContext, StepError, StepResult, Trigger, Workflow, approval, ms, pause,
    secs, transactional, wait,
};

use crate::rng::mixed;
use squidmesh_tests::ledger::Ledger;

/// The workflows, and how often each is started.
pub(crate) const WEIGHTS: &[(&str, u64)] = &[
    ("chain", 6),
    ("fan", 4),
    ("flaky", 4),
    ("timed", 3),
    ("review", 3),
    ("hurried", 2),
    ("held", 1),
    ("undone", 4),
    ("siblings", 3),
    ("booked", 4),
    ("long", 2),
    ("deadly", 1),
];
/// The workflows that wait for a person: one with an approval, one with a deadline, one with a pause.
pub(crate) const REVIEW: &str = "review";
pub(crate) const HURRIED: &str = "hurried";
pub(crate) const HELD: &str = "held";
/// The workflow whose steps write rows in the transaction of their outcome, and its steps.
pub(crate) const BOOKED: &str = "booked";
pub(crate) const BOOKINGS: [&str; 3] = ["debit", "credit", "receipt"];
/// The host's table.
pub(crate) const ROWS: &str =
    "CREATE TABLE IF NOT EXISTS torture_rows (run_id TEXT NOT NULL, step TEXT NOT NULL, attempt BIGINT NOT NULL)";

/// The state that all handlers of a process share.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) ledger: Ledger,
    pub(crate) lease: Duration,
}

/// How a step behaves.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// The maximum duration, in milliseconds.
    takes: u64,
    /// One in this number of attempts fails; 0 for none.
    fails: u64,
    /// Whether a failure is terminal.
    terminal: bool,
    /// One in this number of attempts kills its process; 0 for none.
    kills: u64,
}

const CALM: Manner = Manner { takes: 25, fails: 0, terminal: false, kills: 0 };

/// Returns all workflows.
pub(crate) fn all(environment: &Arc<Environment>) -> Vec<Workflow> {
    let step = |name: &str, manner: Manner| handled(environment, name, manner).retry(Retry::fixed(8, ms(200)));
    let undone = |name: &str, manner: Manner| compensated(environment, step(name, manner));
    let flaky = Manner { fails: 3, ..CALM };
    let exponential = || Retry::exponential(9, ms(100)..secs(1));
    let lease = u64::try_from(environment.lease.as_millis()).unwrap_or(1_000);
    let slow = Manner { takes: lease * 3, ..CALM };
    let book = |name: &str| {
        let booking = Booking { environment: environment.clone(), manner: Manner { takes: 60, fails: 8, ..CALM } };
        Step::new(name, transactional(booking)).retry(Retry::fixed(8, ms(150)))
    };
    let workflows = [
        chained(begun("chain"), ["one", "two", "three", "four", "five"].map(|name| (name, step(name, CALM)))),
        begun("fan")
            .step(step("split", CALM))
            .step(step("north", CALM).after(["split"]).output("north"))
            .step(step("east", flaky).after(["split"]).output("east"))
            .step(step("south", CALM).after(["split"]).output("south"))
            .step(step("west", CALM).after(["split"]).output("west"))
            .step(step("join", CALM).after(["north", "east", "south", "west"])),
        chained(
            begun("flaky"),
            [
                ("first", step("first", flaky).retry(exponential())),
                ("second", step("second", Manner { fails: 2, ..CALM }).retry(exponential().jitter(true))),
                ("third", step("third", Manner { fails: 12, terminal: true, ..CALM })),
            ],
        ),
        chained(
            begun("timed"),
            [
                ("begin", delayed(environment, "begin")),
                ("rest", Step::new("rest", wait(ms(700)))),
                ("middle", step("middle", CALM)),
                ("doze", Step::new("doze", wait(ms(1_600)))),
                ("end", step("end", CALM)),
            ],
        ),
        begun(REVIEW)
            .step(step("ask", CALM))
            .step(Step::new("decide", approval()).output("decision"))
            .step(step("accept", CALM))
            .step(step("refuse", CALM))
            .then("ask", "decide")
            .then("decide", "accept")
            .on_error("decide", "refuse")
            .then("accept", COMPLETE)
            .then("refuse", COMPLETE),
        begun(HURRIED)
            .step(step("ask", CALM))
            .step(Step::new("decide", approval().deadline(ms(900)).then_to("late")).output("decision"))
            .step(step("accept", CALM))
            .step(step("late", CALM))
            .then("ask", "decide")
            .then("decide", "accept")
            .on_error("decide", COMPLETE)
            .then("accept", COMPLETE)
            .then("late", COMPLETE),
        chained(
            begun(HELD),
            [("before", step("before", CALM)), ("hold", Step::new("hold", pause())), ("after", step("after", CALM))],
        ),
        chained(
            begun("undone"),
            [
                ("reserve", undone("reserve", CALM)),
                ("charge", undone("charge", CALM)),
                ("pack", undone("pack", CALM)),
                ("ship", step("ship", Manner { fails: 2, terminal: true, ..CALM })),
            ],
        ),
        begun("siblings")
            .step(undone("base", CALM))
            .step(undone("quick", CALM).after(["base"]).output("quick"))
            .step(undone("late", Manner { takes: 400, ..CALM }).after(["base"]).output("late"))
            .step(step("fails", Manner { fails: 2, terminal: true, ..CALM }).after(["base"]).output("fails"))
            .step(step("all", CALM).after(["quick", "late", "fails"])),
        chained(begun(BOOKED), BOOKINGS.map(|name| (name, book(name)))),
        chained(begun("long"), [("haul", step("haul", slow)), ("unload", step("unload", CALM))]),
        chained(
            begun("deadly"),
            [("risk", step("risk", Manner { kills: 2, ..CALM })), ("relief", step("relief", CALM))],
        ),
    ];
    workflows.into_iter().map(|builder| builder.build().expect("a valid workflow")).collect()
}

fn begun(name: &str) -> WorkflowBuilder {
    Workflow::builder(name).trigger(Trigger::manual("go").field(Field::integer("number")))
}

/// Adds steps one after the other.
fn chained<const N: usize>(builder: WorkflowBuilder, steps: [(&str, Step); N]) -> WorkflowBuilder {
    let names: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
    let builder = steps.into_iter().fold(builder, |builder, (_, step)| builder.step(step));
    let builder = names.windows(2).fold(builder, |builder, pair| builder.then(pair[0], pair[1]));
    builder.then(names[N - 1], COMPLETE)
}

fn handled(environment: &Arc<Environment>, name: &str, manner: Manner) -> Step {
    let environment = environment.clone();
    Step::new(name, move |input: Value, context: StepContext| {
        let environment = environment.clone();
        async move { environment.act(EffectKind::Step, manner, input, &context).await }
    })
}

/// Returns a step that delays its successor.
fn delayed(environment: &Arc<Environment>, name: &str) -> Step {
    let environment = environment.clone();
    Step::new(name, move |input: Value, context: StepContext| {
        let environment = environment.clone();
        async move {
            let output = environment.act(EffectKind::Step, CALM, input, &context).await?;
            StepResult::Ok(WithDelay::by(ms(300), output))
        }
    })
    .retry(Retry::fixed(8, ms(200)))
}

fn compensated(environment: &Arc<Environment>, step: Step) -> Step {
    let environment = environment.clone();
    step.compensate(move |input: Value, context: StepContext| {
        let environment = environment.clone();
        let manner = Manner { takes: 40, fails: 6, ..CALM };
        async move { environment.act(EffectKind::Compensation, manner, input, &context).await }
    })
    .compensation_retry(Retry::fixed(10, ms(200)))
}

/// Returns a number derived from a run, a step and an attempt: the same in every process.
fn fate(run: RunId, step: &str, attempt: u32, of_what: u64) -> u64 {
    let (high, low) = run.as_uuid().as_u64_pair();
    let step = step.bytes().fold(of_what, |sum, byte| mixed(sum ^ u64::from(byte)));
    mixed(high ^ mixed(low ^ mixed(step ^ u64::from(attempt))))
}

/// Returns whether a run is never decided about.
pub(crate) fn is_left_alone(run: RunId) -> bool {
    fate(run, "left alone", 0, 7).is_multiple_of(6)
}

impl Environment {
    async fn act(&self, kind: EffectKind, manner: Manner, input: Value, context: &StepContext) -> StepResult<Value> {
        let drawn =
            |what, count: u64| fate(context.run_id, context.step.as_str(), context.attempt, what) % count.max(1);
        let fails = manner.fails > 0 && drawn(1 + kind as u64, manner.fails) == 0;
        let retry_after = (fails && !manner.terminal && drawn(3, 4) == 0).then(|| ms(400));
        let number = self.ledger.note(kind, context, input, retry_after)?;
        if manner.kills > 0 && drawn(4, manner.kills) == 0 {
            std::process::abort();
        }
        tokio::time::sleep(ms(drawn(5, manner.takes))).await;
        if !fails {
            return Ok(json!({ "effect": number }));
        }
        if manner.terminal {
            return Err(StepError::terminal("never"));
        }
        let error = StepError::retryable("not now");
        Err(match retry_after {
            Some(delay) => error.retry_after(delay),
            None => error,
        })
    }
}

struct Booking {
    environment: Arc<Environment>,
    manner: Manner,
}

impl TransactionalHandler for Booking {
    type Input = Value;
    type Transaction = DatabaseTransaction;
    type Output = Value;

    async fn run(&self, input: Value, transaction: &DatabaseTransaction, context: StepContext) -> StepResult<Value> {
        let (run, step, attempt) = (context.run_id, &context.step, context.attempt);
        let insert = format!("INSERT INTO torture_rows (run_id, step, attempt) VALUES ('{run}', '{step}', {attempt})");
        transaction.execute_unprepared(&insert).await?;
        // Some steps hold their connection for long, so that others find none.
        let long = fate(run, step.as_str(), attempt, 9).is_multiple_of(10);
        let manner = if long { Manner { takes: 1_500, ..self.manner } } else { self.manner };
        self.environment.act(EffectKind::Step, manner, input, &context).await
    }
}
