//! Workflows for histories: one for each way in which a run can proceed, and the ledger of their handlers' effects.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::{Value, json};
use squidmesh_checker::{Effect, EffectKind};
use squidmesh_core::workflow::{TransactionalHandler, WorkflowBuilder};
use squidmesh_core::{
    COMPLETE, Retry, Step, StepContext, StepError, StepResult, Trigger, Workflow, approval, hours, ms, pause,
    transactional, wait,
};

/// The host's table, which the transactional steps write to.
pub const BOOKS: &str = "CREATE TABLE books (run_id TEXT NOT NULL, step TEXT NOT NULL, attempt INTEGER NOT NULL)";
/// The workflow whose steps write to it.
pub const BOOKED: &str = "booked";

/// The effects of handlers, by number.
#[derive(Clone, Default)]
pub struct Ledger {
    effects: Arc<Mutex<Vec<Effect>>>,
    hangs: Arc<AtomicBool>,
    log: Option<Log>,
}

/// The length of a log, and its length at each effect.
#[derive(Clone)]
struct Log {
    length: Arc<dyn Fn() -> usize + Send + Sync>,
    lengths: Arc<Mutex<Vec<usize>>>,
}

impl Ledger {
    /// Creates a ledger that continues from these effects.
    pub fn after(effects: &[Effect]) -> Self {
        Ledger { effects: Arc::new(Mutex::new(effects.to_vec())), ..Ledger::default() }
    }

    pub fn effects(&self) -> Vec<Effect> {
        self.effects.lock().unwrap().clone()
    }

    /// Creates a ledger that records the length of a log beside each effect.
    pub fn beside(length: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        Ledger { log: Some(Log { length: Arc::new(length), lengths: Arc::default() }), ..Ledger::default() }
    }

    /// Returns the length of the log at each effect.
    pub fn lengths(&self) -> Vec<usize> {
        self.log.as_ref().map(|log| log.lengths.lock().unwrap().clone()).unwrap_or_default()
    }

    /// Makes the step of the workflow `hung` hang from now on, as if its worker had died.
    pub fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
    }

    fn note(&self, kind: EffectKind, input: Value, context: &StepContext) -> Value {
        let (run_id, step, attempt) = (context.run_id, context.step.clone(), context.attempt);
        let mut effects = self.effects.lock().unwrap();
        if let Some(log) = &self.log {
            log.lengths.lock().unwrap().push((log.length)());
        }
        effects.push(Effect { run_id, step, kind, attempt, input, retry_after: None });
        json!({ "effect": effects.len() - 1 })
    }

    /// Returns a step that fails `failures` times, and then answers.
    fn step(&self, name: &str, failures: u32) -> Step {
        let ledger = self.clone();
        let handler = move |input: Value, context: StepContext| {
            let ledger = ledger.clone();
            async move {
                let effect = ledger.note(EffectKind::Step, input, &context);
                if context.attempt <= failures { Err(StepError::retryable("not yet")) } else { Ok(effect) }
            }
        };
        Step::new(name, handler).retry(Retry::fixed(6, ms(250)))
    }

    /// Returns a step that fails terminally.
    fn broken(&self, name: &str) -> Step {
        let ledger = self.clone();
        Step::new(name, move |input: Value, context: StepContext| {
            let ledger = ledger.clone();
            async move {
                ledger.note(EffectKind::Step, input, &context);
                Err::<Value, _>(StepError::terminal("never"))
            }
        })
    }

    /// Returns a step whose callback succeeds, or fails.
    fn undone(&self, name: &str, undo: bool) -> Step {
        let ledger = self.clone();
        self.step(name, 0).compensate(move |input: Value, context: StepContext| {
            let ledger = ledger.clone();
            async move {
                let effect = ledger.note(EffectKind::Compensation, input, &context);
                if undo { StepResult::Ok(effect) } else { Err(StepError::terminal("cannot be undone")) }
            }
        })
    }

    /// Returns a step that fails in the run that was started, and not in one that resumes it.
    fn mended(&self, name: &str) -> Step {
        let ledger = self.clone();
        let first = Arc::new(Mutex::new(None));
        Step::new(name, move |input: Value, context: StepContext| {
            let (ledger, first) = (ledger.clone(), first.clone());
            async move {
                let effect = ledger.note(EffectKind::Step, input, &context);
                let own = *first.lock().unwrap().get_or_insert(context.run_id) == context.run_id;
                if own { Err(StepError::terminal("once")) } else { Ok(effect) }
            }
        })
    }

    fn hung(&self, name: &str) -> Step {
        let ledger = self.clone();
        let handler = move |input: Value, context: StepContext| {
            let ledger = ledger.clone();
            async move {
                let effect = ledger.note(EffectKind::Step, input, &context);
                if ledger.hangs.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                StepResult::Ok(effect)
            }
        };
        Step::new(name, handler).retry(Retry::fixed(6, ms(250)))
    }

    fn booking(&self, name: &str) -> Step {
        Step::new(name, transactional(Booking(self.clone()))).retry(Retry::fixed(6, ms(250)))
    }

    /// Returns every workflow.
    pub fn workflows(&self) -> Vec<Workflow> {
        let named = |name: &str| Workflow::builder(name).trigger(Trigger::manual("manual"));
        let built = |builder: WorkflowBuilder| builder.build().unwrap();
        let one = || self.step("one", 0);
        let two = || self.step("two", 0);
        let asked = || Step::new("ask", approval()).output("answer");
        vec![
            built(
                named("chain")
                    .step(one())
                    .step(two())
                    .step(self.step("three", 0))
                    .then("one", "two")
                    .then("two", "three")
                    .then("three", COMPLETE),
            ),
            built(named("retried").step(self.step("one", 2)).step(two()).then("one", "two").then("two", COMPLETE)),
            built(
                named("undone")
                    .step(self.undone("one", true))
                    .step(self.undone("two", true))
                    .step(self.broken("three"))
                    .then("one", "two")
                    .then("two", "three")
                    .then("three", COMPLETE),
            ),
            built(
                named("stuck")
                    .step(self.undone("one", false))
                    .step(self.broken("two"))
                    .then("one", "two")
                    .then("two", COMPLETE),
            ),
            built(
                named("routed")
                    .step(self.broken("one"))
                    .step(two())
                    .step(self.step("three", 1))
                    .then("one", "two")
                    .on_error("one", "three")
                    .then("two", COMPLETE)
                    .then("three", COMPLETE),
            ),
            built(
                named("paused")
                    .step(one())
                    .step(Step::new("stop", pause()))
                    .step(two())
                    .then("one", "stop")
                    .then("stop", "two")
                    .then("two", COMPLETE),
            ),
            built(
                named("asked")
                    .step(one())
                    .step(asked())
                    .step(two())
                    .step(self.step("three", 0))
                    .then("one", "ask")
                    .then("ask", "two")
                    .on_error("ask", "three")
                    .then("two", COMPLETE)
                    .then("three", COMPLETE),
            ),
            built(
                named("waiting")
                    .step(one())
                    .step(Step::new("sleep", wait(hours(1))))
                    .step(two())
                    .then("one", "sleep")
                    .then("sleep", "two")
                    .then("two", COMPLETE),
            ),
            built(
                named("fanned")
                    .step(one())
                    .step(self.step("left", 1).after(["one"]))
                    .step(self.step("middle", 0).after(["one"]))
                    .step(self.step("right", 0).after(["one"]))
                    .step(two().after(["left", "middle", "right"])),
            ),
            built(
                named(BOOKED)
                    .step(self.booking("one"))
                    .step(self.booking("two"))
                    .then("one", "two")
                    .then("two", COMPLETE),
            ),
            built(named("hung").step(self.hung("one")).step(two()).then("one", "two").then("two", COMPLETE)),
            built(named("mended").step(one()).step(self.mended("two")).then("one", "two").then("two", COMPLETE)),
        ]
    }
}

struct Booking(Ledger);

impl TransactionalHandler for Booking {
    type Input = Value;
    type Transaction = DatabaseTransaction;
    type Output = Value;

    async fn run(&self, input: Value, transaction: &DatabaseTransaction, context: StepContext) -> StepResult<Value> {
        let (run, step, attempt) = (context.run_id, &context.step, context.attempt);
        let insert = format!("INSERT INTO books (run_id, step, attempt) VALUES ('{run}', '{step}', {attempt})");
        transaction.execute_unprepared(&insert).await?;
        Ok(self.0.note(EffectKind::Step, input, &context))
    }
}
