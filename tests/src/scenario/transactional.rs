//! Steps that work in the transaction in which their outcome is recorded: the host's rows are stored if and only if
//! the step completed.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};
use serde_json::{Value, json};
use squidmesh_core::command::{ConfigError, DeliveryOutcome, SquidmeshBuilder};
use squidmesh_core::event::{Event, EventKind, IgnoreReason};
use squidmesh_core::inspect::RunDetails;
use squidmesh_core::run::FailureKind;
use squidmesh_core::testing::MockStore;
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryTransaction};
use squidmesh_core::workflow::TransactionalHandler;
use squidmesh_core::{
    COMPLETE, Retry, RunStatus, Squidmesh, Step, StepContext, StepError, StepResult, Workflow, ms, transactional,
};

use super::cage::Spiteful;
use super::{done, nothing, workflow};
use crate::world::{attempts, step};
use crate::{Backend, Gate, Journal};

/// The host's table: a real one in a database, a list in memory.
struct Ledger {
    rows: Arc<Mutex<Vec<String>>>,
    calls: Mutex<Vec<(String, u32)>>,
    sqlite: bool,
}

/// The rest of a handler, after it has written its row.
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
    async fn on(backend: &Backend) -> Arc<Self> {
        let mut sqlite = false;
        if let Some(store) = backend.database_store() {
            let table = "CREATE TABLE host_ledger (step TEXT NOT NULL UNIQUE)";
            store.connection().execute_unprepared(table).await.expect("a table can be made");
            sqlite = store.connection().get_database_backend() == DbBackend::Sqlite;
        }
        Arc::new(Ledger { rows: Arc::default(), calls: Mutex::default(), sqlite })
    }

    /// Returns a step that writes a row with its own name, and then acts.
    fn step<F>(self: &Arc<Self>, backend: &Backend, name: &str, act: impl Fn(u32) -> F + Send + Sync + 'static) -> Step
    where
        F: Future<Output = StepResult<Value>> + Send + 'static,
    {
        let (ledger, act) = (self.clone(), Arc::new(move |attempt| act(attempt).boxed()));
        match backend.memory_store() {
            Some(_) => {
                Step::new(name, transactional(Booking::<MemoryTransaction> { ledger, act, transaction: PhantomData }))
            }
            None => {
                Step::new(name, transactional(Booking::<DatabaseTransaction> { ledger, act, transaction: PhantomData }))
            }
        }
    }

    /// Returns the committed rows, in order.
    async fn rows(&self, backend: &Backend) -> Vec<String> {
        let Some(store) = backend.database_store() else { return self.rows.lock().unwrap().clone() };
        let sql = "SELECT step FROM host_ledger ORDER BY step";
        let all = Statement::from_string(store.connection().get_database_backend(), sql);
        let rows = store.connection().query_all_raw(all).await.expect("the host's table can be read");
        rows.iter().map(|row| row.try_get_by("step").expect("a text")).collect()
    }

    /// Returns the attempts for which the handler of a step was called.
    fn calls(&self, step: &str) -> Vec<u32> {
        self.calls.lock().unwrap().iter().filter(|(name, _)| name == step).map(|(_, attempt)| *attempt).collect()
    }
}

/// Returns a workflow of one transactional step.
fn single(step: Step) -> Workflow {
    workflow("single").step(step).then("book", COMPLETE).build().expect("a valid workflow")
}

/// Runs a workflow of one transactional step, and returns the settled run.
async fn settled(backend: &Backend, workflow: Workflow) -> RunDetails {
    let world = backend.world([workflow]);
    let run = world.start_run("single", &nothing()).await.unwrap();
    world.settle(run.id).await
}

fn kinds(details: &RunDetails) -> Vec<FailureKind> {
    let attempts = &step(details, "book").attempts;
    attempts.iter().filter_map(|attempt| attempt.error.as_ref()).map(|error| error.kind.clone()).collect()
}

pub async fn the_handlers_writes_and_the_steps_completion_commit_together(backend: &Backend) {
    let (ledger, gate) = (Ledger::on(backend).await, Arc::new(Gate::default()));
    let hold = gate.clone();
    let waits = ledger.step(backend, "book", move |_| {
        let gate = hold.clone();
        async move {
            gate.pass().await;
            Ok(json!({ "booked": true }))
        }
    });
    let world = backend.world([single(waits)]);
    let run = world.start_run("single", &nothing()).await.unwrap();
    let details = world
        .working(async {
            gate.arrived(1).await;
            assert_eq!(ledger.rows(backend).await, [""; 0], "no reader sees the row before the commit");
            assert_eq!(attempts(&world.look(run.id).await, "book"), ["running"]);
            gate.open();
            world.rests(run.id).await
        })
        .await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Completed, vec!["completed"]));
    assert_eq!(details.context.get("booked"), Some(&json!(true)));
    assert_eq!(ledger.rows(backend).await, ["book"]);
    let emitted = world.event_names(&run);
    assert_eq!(emitted.iter().filter(|name| **name == "step.completed").count(), 1, "{emitted:?}");
}

pub async fn the_successors_dispatch_is_in_the_same_commit(backend: &Backend) {
    let (ledger, journal) = (Ledger::on(backend).await, Journal::new());
    let answers = |_| async { Ok(json!({})) };
    let chain = workflow("chain")
        .step(ledger.step(backend, "one", answers))
        .step(ledger.step(backend, "two", answers))
        .step(journal.step("three", done))
        .then("one", "two")
        .then("two", "three")
        .then("three", COMPLETE);
    let world = backend.world([chain.build().unwrap()]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(ledger.rows(backend).await, ["one", "two"]);
    // The start, the beginning of the first step, and one for each step that ends: it begins the next.
    assert_eq!(details.run.revision, 5);
}

pub async fn an_error_rolls_back_and_records_the_failed_attempt(backend: &Backend) {
    let ledger = Ledger::on(backend).await;
    let fails_once = ledger.step(backend, "book", |attempt| async move {
        if attempt == 1 { Err(StepError::retryable("no funds").kind("declined")) } else { Ok(json!({ "by": attempt })) }
    });
    let details = settled(backend, single(fails_once.retry(Retry::fixed(3, ms(1))))).await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Completed, vec!["failed", "completed"]));
    assert_eq!(kinds(&details), ["declined"]);
    assert_eq!(ledger.rows(backend).await, ["book"], "the table takes each step once: the first row is gone");
}

pub async fn a_terminal_error_fails_the_run_and_leaves_no_row(backend: &Backend) {
    let ledger = Ledger::on(backend).await;
    let fails = ledger.step(backend, "book", |_| async { Err(StepError::terminal("no such account")) });
    let details = settled(backend, single(fails)).await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Failed, vec!["failed"]));
    assert_eq!(ledger.rows(backend).await, [""; 0]);
}

pub async fn a_panic_or_a_timeout_rolls_the_writes_back(backend: &Backend) {
    let ledger = Ledger::on(backend).await;
    let troubled = ledger.step(backend, "book", |attempt| async move {
        match attempt {
            1 => panic!("a scenario made the handler panic"),
            2 => std::future::pending().await,
            _ => Ok(json!({})),
        }
    });
    let details = settled(backend, single(troubled.retry(Retry::fixed(3, ms(1))).timeout(ms(100)))).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(attempts(&details, "book"), ["failed", "failed", "completed"]);
    assert_eq!(kinds(&details), [FailureKind::PANIC, FailureKind::TIMEOUT]);
    assert_eq!(ledger.rows(backend).await, ["book"]);
}

pub async fn a_handler_that_panics_when_dropped_runs_up_to_its_limit(backend: &Backend) {
    let ledger = Ledger::on(backend).await;
    let spiteful = ledger.step(backend, "book", |_| async {
        let _kept = Spiteful;
        std::future::pending().await
    });
    let details = settled(backend, single(spiteful.retry(Retry::fixed(2, ms(1))).timeout(ms(100)))).await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Failed, vec!["failed"; 2]));
    assert_eq!(kinds(&details), [FailureKind::TIMEOUT, FailureKind::TIMEOUT]);
    assert_eq!(ledger.calls("book"), [1, 2]);
    assert_eq!(ledger.rows(backend).await, [""; 0]);
}

pub async fn an_output_that_cannot_be_kept_rolls_the_writes_back(backend: &Backend) {
    let ledger = Ledger::on(backend).await;
    let details = settled(backend, single(ledger.step(backend, "book", |_| async { Ok(json!(7)) }))).await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Failed, vec!["failed"]));
    assert_eq!(kinds(&details), [FailureKind::INVALID_OUTPUT]);
    assert_eq!(ledger.rows(backend).await, [""; 0]);
}

pub async fn a_worker_that_is_shut_down_rolls_back_and_burns_no_attempt(backend: &Backend) {
    let (ledger, gate) = (Ledger::on(backend).await, Arc::new(Gate::default()));
    let hold = gate.clone();
    let hangs_once = ledger.step(backend, "book", move |attempt| {
        let gate = hold.clone();
        async move {
            if attempt == 1 {
                gate.pass().await;
            }
            Ok(json!({}))
        }
    });
    let world = backend.world([single(hangs_once.retry(Retry::never()))]);
    let run = world.start_run("single", &nothing()).await.unwrap();
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let delivered = runner.clone();
    let worker = tokio::spawn(async move { delivered.deliver(claim).await });
    gate.arrived(1).await;
    runner.interrupt();
    worker.await.unwrap();
    assert_eq!(attempts(&world.look(run.id).await, "book"), ["interrupted"]);
    assert_eq!(ledger.rows(backend).await, [""; 0]);
    let details = world.settle(run.id).await;
    assert_eq!(
        (details.run.status, attempts(&details, "book")),
        (RunStatus::Completed, vec!["interrupted", "completed"])
    );
    assert_eq!(ledger.rows(backend).await, ["book"]);
}

/// Where the transaction holds the only writer, no worker can take the lease over before it has ended, so its outcome
/// still counts.
pub async fn a_worker_that_lost_its_lease_rolls_its_writes_back(backend: &Backend) {
    let (ledger, gate) = (Ledger::on(backend).await, Arc::new(Gate::default()));
    let (hold, sqlite) = (gate.clone(), ledger.sqlite);
    let name = "book";
    let hangs_once = ledger.step(backend, name, move |attempt| {
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
    // The table takes each step once, which would make the second transaction wait for the first on Postgres.
    if let Some(store) = backend.database_store() {
        let table = "DROP TABLE host_ledger; CREATE TABLE host_ledger (step TEXT NOT NULL)";
        store.connection().execute_unprepared(table).await.expect("a table can be made");
    }
    let workflow = single(hangs_once.retry(Retry::fixed(3, ms(1))));
    let (world, other) = (backend.world_with([workflow.clone()], short), backend.world_with([workflow], short));
    let run = world.start_run("single", &nothing()).await.unwrap();
    // This process extends no lease, so it loses its lease while the step hangs.
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let slow = tokio::spawn(async move { runner.deliver(claim).await });
    let expected = if sqlite {
        slow.await.unwrap();
        (vec!["completed"], 1)
    } else {
        gate.arrived(1).await;
        assert_eq!(other.settle(run.id).await.run.status, RunStatus::Completed);
        gate.open();
        let delivery = slow.await.unwrap();
        assert!(matches!(delivery, DeliveryOutcome::Ignored(IgnoreReason::LeaseLost)), "{delivery:?}");
        (vec!["failed", "completed"], 2)
    };
    let details = world.settle(run.id).await;
    assert_eq!((attempts(&details, name), details.context.get("by")), (expected.0, Some(&json!(expected.1))));
    assert_eq!(ledger.rows(backend).await, ["book"]);
}

pub async fn a_sibling_that_ends_meanwhile_is_no_conflict(backend: &Backend) {
    let (ledger, journal, gate) = (Ledger::on(backend).await, Journal::new(), Arc::new(Gate::default()));
    let (hold, open) = (gate.clone(), gate.clone());
    let waits = ledger.step(backend, "book", move |_| {
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
    let world = backend.world([diamond.build().unwrap()]);
    let run = world.start_run("single", &nothing()).await.unwrap();
    let details = world
        .working(async {
            gate.arrived(1).await;
            // With a single writer, recording the sibling waits for the transaction.
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
    assert_eq!(ledger.rows(backend).await, ["book"]);
}

/// A handler that hides what it did to its transaction: what the database does not keep is not recorded as completed.
pub async fn a_transaction_spoiled_by_its_handler_is_a_failed_attempt(backend: &Backend) {
    struct Spoiling;

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

    let ledger = Ledger::on(backend).await;
    if backend.memory_store().is_some() {
        return; // its transactions cannot be spoiled
    }
    let details =
        settled(backend, single(Step::new("book", transactional(Spoiling)).retry(Retry::fixed(3, ms(1))))).await;
    assert_eq!((details.run.status, attempts(&details, "book")), (RunStatus::Completed, vec!["failed", "completed"]));
    assert_eq!(kinds(&details), [FailureKind::TRANSACTION]);
    assert_eq!(ledger.rows(backend).await, ["book"]);
    // The connection is still usable.
    let details =
        settled(backend, single(ledger.step(backend, "book", |_| async { Err(StepError::terminal("x")) }))).await;
    assert_eq!(details.run.status, RunStatus::Failed);
}

pub async fn a_store_with_other_transactions_is_refused_at_build(backend: &Backend) {
    async fn on_a_number(_: Value, _: &u64, _: StepContext) -> StepResult<()> {
        Ok(())
    }
    let workflow = || single(Step::new("book", transactional(on_a_number)));
    let executor = || MemoryExecutor::new(Arc::new(ManualClock::default()));
    let built = Squidmesh::builder(backend.store()).executor(executor()).workflow(workflow()).build();
    match built.err() {
        Some(ConfigError::TransactionMismatch { workflow, step, handler, store }) => {
            assert_eq!((workflow.as_str(), step.as_str(), handler), ("single", "book", "u64"));
            assert!(store.ends_with("Transaction"), "{store}");
        }
        other => panic!("{other:?}"),
    }
    let mut lending_none = MockStore::new();
    lending_none.expect_bound_calls().returning(|_| Ok(()));
    lending_none.expect_transaction_type().returning(|| None);
    let built = Squidmesh::builder(lending_none).executor(executor()).workflow(workflow()).build();
    assert!(matches!(built.err(), Some(ConfigError::TransactionsUnsupported { .. })));
}
