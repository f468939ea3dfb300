//! The cost of many siblings to the database: the same for each of them, however many there are, and no more over
//! Redis than without.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};
use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::port::{EventSink, Executor};
use squidmesh_core::{Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, ms};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{RedisServer, TestDatabase, block_on};
use tokio::sync::Semaphore;

const CONCURRENCY: usize = 32;
/// The maximum number of step runs read for each sibling. A claim that loads the whole run for those that are free
/// reads as many as there are siblings, over and over.
const FOR_EACH: i64 = 25;

mod postgres {
    use super::*;

    #[test]
    fn each_of_many_siblings_costs_as_little_over_redis() {
        block_on(async {
            let redis = RedisServer::start().await;
            for width in [250, 1_000] {
                let without = read(TokioExecutor::new().concurrency(CONCURRENCY), width).await;
                let over_redis = RedisExecutor::new(redis.url()).unwrap().concurrency(CONCURRENCY);
                let over_redis = read(over_redis, width).await;
                eprintln!("{width} siblings: {over_redis} step runs were read, and without Redis {without}");
                let most = FOR_EACH * i64::try_from(width).unwrap();
                assert!(without < most && over_redis < most, "{over_redis} and {without} for {width} siblings");
            }
        });
    }
}

/// Returns the number of step runs read while a run of `width` siblings is executed.
async fn read(executor: impl Executor, width: usize) -> i64 {
    let database = TestDatabase::postgres().await;
    let store = SeaOrmStore::connect(database.url()).await.unwrap();
    let ended = Arc::new(Semaphore::new(0));
    let mesh = Squidmesh::builder(store).executor(executor).workflow(wide(width)).event_sink(Ends(ended.clone()));
    let mesh = mesh.build().unwrap();
    mesh.start_run("wide", &json!({})).await.unwrap();
    mesh.run_workers(async { ended.acquire().await.unwrap().forget() }).await.unwrap();
    drop(mesh);
    step_runs_read(&Database::connect(database.url()).await.unwrap()).await
}

fn wide(width: usize) -> Workflow {
    let nothing = |name: &str| Step::new(name, async |_: Value, _: StepContext| StepResult::Ok(()));
    let names: Vec<String> = (0..width).map(|number| format!("sibling-{number}")).collect();
    let builder = Workflow::builder("wide").trigger(Trigger::manual("manual")).step(nothing("split"));
    let builder = names.iter().fold(builder, |builder, name| builder.step(nothing(name).after(["split"])));
    builder.step(nothing("join").after(names.iter().map(String::as_str))).build().unwrap()
}

/// Signals when a run has ended.
struct Ends(Arc<Semaphore>);

impl EventSink for Ends {
    fn emit(&self, event: &Event) {
        if matches!(event.kind, EventKind::RunTransition { to, .. } if to.is_terminal()) {
            self.0.add_permits(1);
        }
    }
}

/// Returns the number of step runs read in all, once every session but this one has ended: only then are a session's
/// counts visible to others.
async fn step_runs_read(connection: &DatabaseConnection) -> i64 {
    let sessions = "SELECT count(*) AS number FROM pg_stat_activity \
                    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    while number(connection, sessions).await > 0 {
        tokio::time::sleep(ms(5)).await;
    }
    let read = "SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint AS number FROM pg_stat_user_tables \
                WHERE relname = 'squidmesh_step_runs'";
    number(connection, read).await
}

async fn number(connection: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    connection.query_one_raw(statement).await.unwrap().unwrap().try_get_by("number").unwrap()
}
