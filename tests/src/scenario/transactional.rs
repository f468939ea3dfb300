//! Steps that work in the transaction in which their outcome is recorded: rows of the host if and only if the step completed.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};
use serde_json::{Value, json};
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryTransaction};
use squidmesh_core::{
    COMPLETE, ConfigError, Delivery, Event, EventKind, Failure, MockStore, Retry, RunDetails, RunStatus, SkipReason,
    Squidmesh, SquidmeshBuilder, Step, StepContext, StepError, StepResult, TransactionalHandler, Workflow, ms,
    transactional,
};

use super::{done, nothing, workflow};
use crate::world::{attempts, step};
use crate::{Gate, Ground, Journal};

/// The host's table: real where the ground is a database, a list where it is memory.
struct Ledger {
    rows: Arc<Mutex<Vec<String>>>,
    calls: Mutex<Vec<(String, u32)>>,
    sqlite: bool,
}

/// What a handler does once it has written its row.
type Act = dyn Fn(u32) -> BoxFuture<'static, StepResult<Value>> + Send + Sync;

/// A handler that writes a row with the step's name, and then acts.
struct Booking<T> {
    ledger: Arc<Ledger>,
    act: Arc<Act>,
    transaction: PhantomData<fn(T)>,
}

impl<T> Booking<T> {
    async fn act(&self, context: &StepContext) -> StepResult<Value> {
        (self.act)(context.attempt).await
    }

    fn note(&self, context: &StepContext) {
        self.ledger.calls.lock().unwrap().push((context.step.to_string(), context.attempt));
    }
}

#[async_trait]
impl TransactionalHandler for Booking<MemoryTransaction> {
    type Input = Value;
    type Transaction = MemoryTransaction;
    type Output = Value;

    async fn run(&self, _: Value, transaction: &MemoryTransaction, context: StepContext) -> StepResult<Value> {
        self.note(&context);
        let (rows, row) = (self.ledger.rows.clone(), context.step.to_string());
        transaction.on_commit(move || rows.lock().unwrap().push(row));
        self.act(&context).await
    }
}

#[async_trait]
impl TransactionalHandler for Booking<DatabaseTransaction> {
    type Input = Value;
    type Transaction = DatabaseTransaction;
    type Output = Value;

    async fn run(&self, _: Value, transaction: &DatabaseTransaction, context: StepContext) -> StepResult<Value> {
        self.note(&context);
        let insert = format!("INSERT INTO host_ledger (step) VALUES ('{}')", context.step);
        transaction.execute_unprepared(&insert).await?;
        self.act(&context).await
    }
}

impl Ledger {
    async fn on(ground: &Ground) -> Arc<Self> {
        let mut sqlite = false;
        if let Some(store) = ground.database_store() {
            let table = "CREATE TABLE host_ledger (step TEXT NOT NULL UNIQUE)";
            store.connection().execute_unprepared(table).await.expect("a table can be made");
            sqlite = store.connection().get_database_backend() == DbBackend::Sqlite;
        }
        Arc::new(Ledger { rows: Arc::default(), calls: Mutex::default(), sqlite })
    }

    /// A step that books itself, and then acts.
    fn step<F>(self: &Arc<Self>, ground: &Ground, name: &str, act: impl Fn(u32) -> F + Send + Sync + 'static) -> Step
    where
        F: Future<Output = StepResult<Value>> + Send + 'static,
    {
        let (ledger, act) = (self.clone(), Arc::new(move |attempt| act(attempt).boxed()));
        match ground.memory_store() {
            Some(_) => {
                Step::new(name, transactional(Booking::<MemoryTransaction> { ledger, act, transaction: PhantomData }))
            }
            None => {
                Step::new(name, transactional(Booking::<DatabaseTransaction> { ledger, act, transaction: PhantomData }))
            }
        }
    }

    /// The rows that anybody can see, in order.
    async fn rows(&self, ground: &Ground) -> Vec<String> {
        let Some(store) = ground.database_store() else { return self.rows.lock().unwrap().clone() };
        let sql = "SELECT step FROM host_ledger ORDER BY step";
        let all = Statement::from_string(store.connection().get_database_backend(), sql);
        let rows = store.connection().query_all_raw(all).await.expect("the host's table can be read");
        rows.iter().map(|row| row.try_get_by("step").expect("a text")).collect()
    }

    /// The attempts for which the handler of a step was called.
    fn calls(&self, step: &str) -> Vec<u32> {
        self.calls.lock().unwrap().iter().filter(|(name, _)| name == step).map(|(_, attempt)| *attempt).collect()
    }
}

/// One transactional step and nothing else.
fn single(step: Step) -> Workflow {
    workflow("single").step(step).then("book", COMPLETE).build().expect("a valid workflow")
}

/// Runs a workflow of one transactional step, and gives what became of it.
async fn settled(ground: &Ground, workflow: Workflow) -> RunDetails {
    let world = ground.world([workflow]);
    let run = world.start_run("single", &nothing()).await.unwrap();
    world.settle(run.id).await
}

fn kinds(details: &RunDetails) -> Vec<&str> {
    let attempts = &step(details, "book").attempts;
    attempts.iter().filter_map(|attempt| attempt.error.as_ref()).map(|error| error.kind.as_str()).collect()
}

pub async fn the_handlers_writes_and_the_steps_completion_commit_together(ground: &Ground) {
    let (ledger, gate) = (Ledger::on(ground).await, Arc::new(Gate::default()));
    let hold = gate.clone();
    let waits = ledger.step(ground, "book", move |_| {
        let gate = hold.clone();
        async move {
            gate.pass().await;
            Ok(json!({ "booked": true }))
        }
    });
    let world = ground.world([single(waits)]);
    let run = world.start_run("single", &nothing()).await.unwrap();
    let details = world
        .working(async {
            gate.arrived(1).await;
            assert_eq!(ledger.rows(ground).await, [""; 0], "nobody sees the row before the commit");
            assert_eq!(attempts(&world.look(run.id).await, "book"), ["running"]);
            gate.open();
            world.rests(run.id).await
        })
        .await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Completed, vec!["completed"]));
    assert_eq!(details.context.get("booked"), Some(&json!(true)));
    assert_eq!(ledger.rows(ground).await, ["book"]);
    let told = world.told(&run);
    assert_eq!(told.iter().filter(|name| **name == "step.completed").count(), 1, "{told:?}");
}

pub async fn the_successors_dispatch_is_in_the_same_commit(ground: &Ground) {
    let (ledger, journal) = (Ledger::on(ground).await, Journal::new());
    let answers = |_| async { Ok(json!({})) };
    let chain = workflow("chain")
        .step(ledger.step(ground, "one", answers))
        .step(ledger.step(ground, "two", answers))
        .step(journal.step("three", done))
        .then("one", "two")
        .then("two", "three")
        .then("three", COMPLETE);
    let world = ground.world([chain.build().unwrap()]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(ledger.rows(ground).await, ["one", "two"]);
    // The start, the begin of the first step, and one for each step that ends: it begins the next.
    assert_eq!(details.run.revision, 5);
}

pub async fn an_error_rolls_the_writes_back_and_the_failed_attempt_is_recorded(ground: &Ground) {
    let ledger = Ledger::on(ground).await;
    let fails_once = ledger.step(ground, "book", |attempt| async move {
        if attempt == 1 { Err(StepError::retryable("no funds").kind("declined")) } else { Ok(json!({ "by": attempt })) }
    });
    let details = settled(ground, single(fails_once.retry(Retry::fixed(3, ms(1))))).await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Completed, vec!["failed", "completed"]));
    assert_eq!(kinds(&details), ["declined"]);
    assert_eq!(ledger.rows(ground).await, ["book"], "the table takes each step once: the first row is gone");
}

pub async fn a_terminal_error_fails_the_run_and_leaves_no_row(ground: &Ground) {
    let ledger = Ledger::on(ground).await;
    let fails = ledger.step(ground, "book", |_| async { Err(StepError::terminal("no such account")) });
    let details = settled(ground, single(fails)).await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Failed, vec!["failed"]));
    assert_eq!(ledger.rows(ground).await, [""; 0]);
}

pub async fn a_panic_or_a_timeout_rolls_the_writes_back(ground: &Ground) {
    let ledger = Ledger::on(ground).await;
    let troubled = ledger.step(ground, "book", |attempt| async move {
        match attempt {
            1 => panic!("a scenario made the handler panic"),
            2 => std::future::pending().await,
            _ => Ok(json!({})),
        }
    });
    let details = settled(ground, single(troubled.retry(Retry::fixed(3, ms(1))).timeout(ms(100)))).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(attempts(&details, "book"), ["failed", "failed", "completed"]);
    assert_eq!(kinds(&details), [Failure::PANIC, Failure::TIMEOUT]);
    assert_eq!(ledger.rows(ground).await, ["book"]);
}

pub async fn an_output_that_cannot_be_kept_rolls_the_writes_back(ground: &Ground) {
    let ledger = Ledger::on(ground).await;
    let details = settled(ground, single(ledger.step(ground, "book", |_| async { Ok(json!(7)) }))).await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Failed, vec!["failed"]));
    assert_eq!(kinds(&details), [Failure::INVALID_OUTPUT]);
    assert_eq!(ledger.rows(ground).await, [""; 0]);
}

pub async fn a_worker_that_is_shut_down_rolls_back_and_burns_no_attempt(ground: &Ground) {
    let (ledger, gate) = (Ledger::on(ground).await, Arc::new(Gate::default()));
    let hold = gate.clone();
    let hangs_once = ledger.step(ground, "book", move |attempt| {
        let gate = hold.clone();
        async move {
            if attempt == 1 {
                gate.pass().await;
            }
            Ok(json!({}))
        }
    });
    let world = ground.world([single(hangs_once.retry(Retry::never()))]);
    let run = world.start_run("single", &nothing()).await.unwrap();
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let delivered = runner.clone();
    let worker = tokio::spawn(async move { delivered.deliver(claim).await });
    gate.arrived(1).await;
    runner.interrupt();
    worker.await.unwrap();
    assert_eq!(attempts(&world.look(run.id).await, "book"), ["interrupted"]);
    assert_eq!(ledger.rows(ground).await, [""; 0]);
    let details = world.settle(run.id).await;
    assert_eq!(
        (details.run.status, attempts(&details, "book")),
        (RunStatus::Completed, vec!["interrupted", "completed"])
    );
    assert_eq!(ledger.rows(ground).await, ["book"]);
}

/// Where the transaction holds the only writer, nobody can take the lease over before it has ended, so it still counts.
pub async fn a_worker_that_lost_its_lease_rolls_its_writes_back(ground: &Ground) {
    let (ledger, gate) = (Ledger::on(ground).await, Arc::new(Gate::default()));
    let (hold, sqlite) = (gate.clone(), ledger.sqlite);
    let name = "book";
    let hangs_once = ledger.step(ground, name, move |attempt| {
        let gate = hold.clone();
        async move {
            if attempt == 1 && sqlite {
                tokio::time::sleep(ms(350)).await;
            } else if attempt == 1 {
                gate.pass().await;
            }
            Ok(json!({ "by": attempt }))
        }
    });
    let short =
        |builder: SquidmeshBuilder| builder.configure(|config| (config.lease, config.heartbeat) = (ms(300), ms(75)));
    // The table takes each step once, which would have the second wait for the first on Postgres.
    if let Some(store) = ground.database_store() {
        let table = "DROP TABLE host_ledger; CREATE TABLE host_ledger (step TEXT NOT NULL)";
        store.connection().execute_unprepared(table).await.expect("a table can be made");
    }
    let world = ground.world_with([single(hangs_once.retry(Retry::fixed(3, ms(1))))], short);
    let run = world.start_run("single", &nothing()).await.unwrap();
    // This worker extends no lease, so it loses it while its step hangs.
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let slow = tokio::spawn(async move { runner.deliver(claim).await });
    let expected = if sqlite {
        slow.await.unwrap();
        (vec!["completed"], 1)
    } else {
        gate.arrived(1).await;
        assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
        gate.open();
        let delivery = slow.await.unwrap();
        assert!(matches!(delivery, Delivery::Skipped(SkipReason::LeaseLost)), "{delivery:?}");
        (vec!["failed", "completed"], 2)
    };
    let details = world.settle(run.id).await;
    assert_eq!((attempts(&details, name), details.context.get("by")), (expected.0, Some(&json!(expected.1))));
    assert_eq!(ledger.rows(ground).await, ["book"]);
}

pub async fn a_sibling_that_ends_meanwhile_is_no_conflict(ground: &Ground) {
    let (ledger, journal, gate) = (Ledger::on(ground).await, Journal::new(), Arc::new(Gate::default()));
    let (hold, open) = (gate.clone(), gate.clone());
    let waits = ledger.step(ground, "book", move |_| {
        let gate = hold.clone();
        async move {
            gate.pass().await;
            Ok(json!({}))
        }
    });
    let sibling = journal.slow_step("sibling", move |_, _| {
        let gate = open.clone();
        async move {
            gate.arrived(1).await;
            Ok(json!({}))
        }
    });
    let diamond =
        workflow("single").step(waits).step(sibling).step(journal.step("join", done).after(["book", "sibling"]));
    let world = ground.world([diamond.build().unwrap()]);
    let run = world.start_run("single", &nothing()).await.unwrap();
    let details = world
        .working(async {
            gate.arrived(1).await;
            // Where there is one writer, what the sibling has to record waits for the transaction.
            if !ledger.sqlite {
                let done = |event: &Event| matches!(&event.kind, EventKind::StepCompleted { step, .. } if step.as_str() == "sibling");
                world.until(done).await;
            }
            gate.open();
            world.rests(run.id).await
        })
        .await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!((ledger.calls("book"), journal.of("join").len()), (vec![1], 1), "each is carried out once");
    assert_eq!(ledger.rows(ground).await, ["book"]);
}

/// A handler that hides what it did to its transaction: what the database does not keep is not recorded as done.
pub async fn a_transaction_that_was_spoiled_from_within_is_a_failed_attempt(ground: &Ground) {
    struct Spoiling;

    #[async_trait]
    impl TransactionalHandler for Spoiling {
        type Input = Value;
        type Transaction = DatabaseTransaction;
        type Output = Value;

        async fn run(&self, _: Value, transaction: &DatabaseTransaction, context: StepContext) -> StepResult<Value> {
            let insert = "INSERT INTO host_ledger (step) VALUES ('book')";
            transaction.execute_unprepared(insert).await?;
            if context.attempt == 1 {
                let again = match transaction.get_database_backend() {
                    DbBackend::Sqlite => "INSERT OR ROLLBACK INTO host_ledger (step) VALUES ('book')",
                    _ => insert,
                };
                let hidden = transaction.execute_unprepared(again).await;
                assert!(hidden.is_err(), "the table takes each step once");
            }
            Ok(json!({}))
        }
    }

    let ledger = Ledger::on(ground).await;
    if ground.memory_store().is_some() {
        return; // its transactions cannot be spoiled
    }
    let details =
        settled(ground, single(Step::new("book", transactional(Spoiling)).retry(Retry::fixed(3, ms(1))))).await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Completed, vec!["failed", "completed"]));
    assert_eq!(kinds(&details), [Failure::TRANSACTION]);
    assert_eq!(ledger.rows(ground).await, ["book"]);
    // The connection is as good as new.
    let details =
        settled(ground, single(ledger.step(ground, "book", |_| async { Err(StepError::terminal("x")) }))).await;
    assert_eq!(details.run.status, RunStatus::Failed);
}

pub async fn a_store_without_the_right_transactions_is_refused_when_the_runtime_is_built(ground: &Ground) {
    async fn on_a_number(_: Value, _: &u64, _: StepContext) -> StepResult<()> {
        Ok(())
    }
    let workflow = || single(Step::new("book", transactional(on_a_number)));
    let executor = || MemoryExecutor::new(Arc::new(ManualClock::default()));
    let built = Squidmesh::builder(ground.store()).executor(executor()).workflow(workflow()).build();
    match built.err() {
        Some(ConfigError::TransactionMismatch { workflow, step, handler, store }) => {
            assert_eq!((workflow.as_str(), step.as_str(), handler), ("single", "book", "u64"));
            assert!(store.ends_with("Transaction"), "{store}");
        }
        other => panic!("{other:?}"),
    }
    let built = Squidmesh::builder(MockStore::new()).executor(executor()).workflow(workflow()).build();
    assert!(matches!(built.err(), Some(ConfigError::TransactionsUnsupported { .. })));
}
