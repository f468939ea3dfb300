//! `SeaOrmStore::transaction`: the host's writes and the runtime's commands, committed and announced in order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod databases;
mod silent;

use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::{Duration, Instant};

use databases::{TestDatabase, count};
use sea_orm::{ConnectionTrait, DbErr};
use silent::Network;
use squidmesh_core::command::StartError;
use squidmesh_core::port::{Commit, CommitOutcome, Store, StoreError, StoreSession, TransactionBody, TransactionEnd};
use squidmesh_core::testing::{ManualClock, MemoryExecutor, RecordingSink, sample};
use squidmesh_core::{RunFilter, RunId, Squidmesh, Step, StepResult, Trigger, Workflow};
use squidmesh_store::SeaOrmStore;

#[derive(Debug, thiserror::Error)]
enum ShopError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] DbErr),
}

async fn pay(_: serde_json::Value) -> StepResult<()> {
    Ok(())
}

struct Shop {
    store: SeaOrmStore,
    mesh: Squidmesh,
    sink: RecordingSink,
}

impl Shop {
    async fn open(database: &TestDatabase) -> Shop {
        Shop::over(database.store().await).await
    }

    async fn over(store: SeaOrmStore) -> Shop {
        store.connection().execute_unprepared("CREATE TABLE orders (id INTEGER PRIMARY KEY)").await.unwrap();
        let checkout = Workflow::builder("checkout").trigger(Trigger::manual("go")).step(Step::new("pay", pay));
        let (sink, executor) = (RecordingSink::new(), MemoryExecutor::new(Arc::new(ManualClock::default())));
        let builder = Squidmesh::builder(store.clone()).executor(executor).event_sink(sink.clone());
        let mesh = builder.workflow(checkout.build().unwrap()).build().unwrap();
        Shop { store, mesh, sink }
    }

    async fn place(&self, statements: [&str; 2], swallow: bool) -> Result<RunId, ShopError> {
        let announced = self.sink.names().len();
        let placed = self.store.transaction(&self.mesh, async |transaction, mesh| {
            let run = mesh.start_run("checkout", &serde_json::json!({})).await?;
            for statement in statements {
                match transaction.execute_unprepared(statement).await {
                    Err(error) if !swallow => return Err(error.into()),
                    _ => {}
                }
            }
            assert_eq!(self.sink.names().len(), announced, "nothing is announced before the commit");
            Ok::<_, ShopError>(run.id)
        });
        placed.await
    }

    async fn is_empty(&self) -> bool {
        let runs = self.mesh.list_runs(&RunFilter::default()).await.unwrap().runs;
        runs.is_empty() && count(self.store.connection(), "orders").await == 0 && self.sink.names().is_empty()
    }
}

const ONE: &str = "INSERT INTO orders VALUES (1)";

#[tokio::test]
async fn the_row_and_the_run_are_committed_and_then_announced() {
    for database in TestDatabase::each().await {
        let shop = Shop::open(&database).await;
        let run = shop.place([ONE, "SELECT 1"], false).await.unwrap();
        assert_eq!(shop.mesh.get_run(run).await.unwrap().id, run);
        assert_eq!(count(shop.store.connection(), "orders").await, 1);
        assert_eq!(shop.sink.names(), ["run.created", "run.dispatched"]);
    }
}

#[tokio::test]
async fn after_an_error_both_vanish() {
    for database in TestDatabase::each().await {
        let shop = Shop::open(&database).await;
        assert!(matches!(shop.place([ONE, ONE], false).await, Err(ShopError::Database(_))));
        assert!(shop.is_empty().await);
        shop.place([ONE, "SELECT 1"], false).await.unwrap();
    }
}

#[tokio::test]
async fn a_statement_that_failed_unseen_commits_nothing_on_postgres() {
    let database = TestDatabase::postgres().await;
    let shop = Shop::open(&database).await;
    let placed = shop.place([ONE, ONE], true).await;
    assert!(matches!(&placed, Err(ShopError::Store(StoreError::Refused { .. }))), "{placed:?}");
    assert!(shop.is_empty().await);
    // SQLite undoes the statement alone, and the rest is committed.
    let database = TestDatabase::sqlite();
    let shop = Shop::open(&database).await;
    shop.place([ONE, ONE], true).await.unwrap();
    assert_eq!(count(shop.store.connection(), "orders").await, 1);
}

#[tokio::test]
async fn a_caller_that_leaves_rolls_back_and_holds_up_nobody() {
    for database in TestDatabase::each().await {
        let shop = Shop::open(&database).await;
        let endless = shop.store.transaction(&shop.mesh, async |transaction, mesh| {
            mesh.start_run("checkout", &serde_json::json!({})).await?;
            transaction.execute_unprepared(ONE).await?;
            std::future::pending::<Result<(), ShopError>>().await
        });
        assert!(tokio::time::timeout(Duration::from_millis(300), endless).await.is_err());
        shop.place([ONE, "SELECT 1"], false).await.unwrap();
        assert_eq!(shop.mesh.list_runs(&RunFilter::default()).await.unwrap().runs.len(), 1, "{}", database.url);
    }
}

#[tokio::test]
async fn the_first_start_of_a_version_holds_up_no_other_on_postgres() {
    let database = TestDatabase::postgres().await;
    let shop = Shop::open(&database).await;
    let (other, transaction) = (database.store().await, shop.store.begin().await.unwrap());
    let session = shop.store.join(&transaction);
    let joined = shop.mesh.within(&session);
    joined.start_run("checkout", &serde_json::json!({})).await.unwrap();

    let checkout = Workflow::builder("checkout").trigger(Trigger::manual("go")).step(Step::new("pay", pay));
    let executor = MemoryExecutor::new(Arc::new(ManualClock::default()));
    let mesh = Squidmesh::builder(other).executor(executor).workflow(checkout.build().unwrap()).build().unwrap();
    let started =
        tokio::time::timeout(Duration::from_secs(3), mesh.start_run("checkout", &serde_json::json!({})).into_future());
    started.await.expect("it does not wait for the host").unwrap();

    let after = joined.into_after_commit();
    drop(session);
    transaction.rollback().await.unwrap();
    after.rolled_back();
    assert_eq!(mesh.list_runs(&RunFilter::default()).await.unwrap().runs.len(), 1);
}

/// Returns the statements that `work` costs, with those that follow it by themselves. Leaves out notifications, of which
/// there are at most ten a second.
async fn statements<T>(network: &Network, work: impl Future<Output = T>) -> Vec<String> {
    let settled = Duration::from_millis(300);
    tokio::time::sleep(settled).await;
    let before = network.statements().len();
    work.await;
    tokio::time::sleep(settled).await;
    let mut executed = network.statements().split_off(before);
    executed.retain(|statement| !statement.contains("squidmesh_work"));
    executed
}

#[tokio::test]
async fn a_start_in_a_transaction_costs_five_statements_on_postgres() {
    let database = TestDatabase::postgres().await;
    let network = Network::to(&database.url).await;
    let shop = Shop::over(SeaOrmStore::connect(&network.url(&database.url)).await.unwrap()).await;
    let start = || {
        shop.store.transaction(&shop.mesh, async |_, mesh| {
            mesh.start_run("checkout", &serde_json::json!({})).await?;
            Ok::<_, ShopError>(())
        })
    };
    // The first one writes the definition, and prepares the statement.
    start().await.unwrap();
    let executed = statements(&network, start()).await;
    assert_eq!(executed.len(), 5, "BEGIN, the start, a check, COMMIT, and one for the pool: {executed:?}");
}

/// Records the next commit of a run in the transaction of a step.
struct Recorder(Option<Commit>);

#[async_trait::async_trait]
impl TransactionBody for Recorder {
    async fn work(&mut self, _: &(dyn std::any::Any + Send + Sync)) -> TransactionEnd {
        TransactionEnd::Commit
    }

    async fn record(&mut self, session: &dyn StoreSession) -> TransactionEnd {
        let answers = session.commit(vec![self.0.take().unwrap()]).await.unwrap();
        assert!(matches!(answers[..], [Ok(CommitOutcome::Committed)]), "{answers:?}");
        TransactionEnd::Commit
    }
}

#[tokio::test]
async fn a_transactional_step_costs_five_statements_on_postgres() {
    let database = TestDatabase::postgres().await;
    let network = Network::to(&database.url).await;
    let store = SeaOrmStore::connect(&network.url(&database.url)).await.unwrap();
    let start = sample::start(1);
    let (first, second) = (sample::next(&start.run), sample::next(&sample::next(&start.run).run));
    store.commit(vec![start]).await.unwrap();
    // It prepares the statement.
    store.transact(Box::new(Recorder(Some(first)))).await.unwrap();
    let step = store.transact(Box::new(Recorder(Some(second))));
    let executed = statements(&network, step).await;
    assert_eq!(executed.len(), 5, "BEGIN, SAVEPOINT, the record, COMMIT, and one for the pool: {executed:?}");
}

/// Makes the network fall silent at the commit of an order, and returns how many runs and orders the database then has.
async fn placed_into_silence(arrives: bool) -> (usize, i64) {
    let database = TestDatabase::postgres().await;
    let network = Network::to(&database.url).await;
    let builder = SeaOrmStore::builder(network.url(&database.url)).call_timeout(Duration::from_secs(1));
    let shop = Shop::over(builder.connect().await.unwrap()).await;
    shop.place([ONE, "SELECT 1"], false).await.unwrap();
    let announced = shop.sink.names().len();
    let begun = Instant::now();
    let placed = shop.store.transaction(&shop.mesh, async |transaction, mesh| {
        let run = mesh.start_run("checkout", &serde_json::json!({})).await?;
        transaction.execute_unprepared("INSERT INTO orders VALUES (2)").await?;
        network.fall_silent_at(b"COMMIT", arrives);
        Ok::<_, ShopError>(run.id)
    });
    let placed = placed.await;
    assert!(matches!(&placed, Err(ShopError::Store(StoreError::OutcomeUnknown { .. }))), "{placed:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    assert_eq!(shop.sink.names().len(), announced, "nothing is announced that may not have happened");

    // The pool may still hold other connections that are silent.
    while let Err(error) = shop.place(["INSERT INTO orders VALUES (3)", "SELECT 1"], false).await {
        assert!(matches!(error, ShopError::Store(StoreError::Unavailable { .. })), "nothing changed: {error}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{error}");
    }
    let runs = shop.mesh.list_runs(&RunFilter::default()).await.unwrap().runs.len();
    (runs, count(shop.store.connection(), "orders").await)
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_unknown_and_took_effect_on_postgres() {
    assert_eq!(placed_into_silence(true).await, (3, 3));
}

#[tokio::test]
async fn a_commit_that_is_lost_is_unknown_and_took_no_effect_on_postgres() {
    assert_eq!(placed_into_silence(false).await, (2, 2));
}

#[test]
fn its_future_can_be_sent_to_another_thread() {
    fn is_send<T: Send>(_: impl Fn(&'static Shop) -> T) {}
    is_send(|shop| shop.place([ONE, ONE], false));
}
