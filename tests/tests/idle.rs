//! A process that has nothing to do leaves the database alone, and yet begins at once what another process commits.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "these are tests: what cannot go on has failed"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use squidmesh_core::{
    COMPLETE, Executor, RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, hours, ms,
    pause, secs, wait,
};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{Counting, TestDatabase, TestRedis, block_on};

/// How long an idle process is watched.
const WATCHED: Duration = Duration::from_secs(6);
/// Less than the second that a look used to take: whoever is told is faster.
const PROMPT: Duration = Duration::from_millis(800);

/// Works on a queue of its own, and on that of all others; waits for an hour, or for a person.
fn workflows() -> [Workflow; 3] {
    let handler = |_: Value, _: StepContext| async { StepResult::Ok(json!({})) };
    let alone = |name: &str, step: Step| {
        let step = step.queue(name);
        Workflow::builder(name).trigger(Trigger::manual("manual")).step(step).then(name, COMPLETE).build().unwrap()
    };
    [
        alone("work", Step::new("work", handler)),
        alone("timer", Step::new("timer", wait(hours(1)))),
        alone("person", Step::new("person", pause())),
    ]
}

fn mesh(store: impl squidmesh_core::Store, executor: impl Executor) -> Squidmesh {
    let builder = Squidmesh::builder(store).executor(executor);
    workflows().into_iter().fold(builder, |builder, workflow| builder.workflow(workflow)).build().unwrap()
}

/// Runs workers while something is done.
async fn working<T>(mesh: &Squidmesh, meanwhile: impl Future<Output = T>) -> T {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mesh = mesh.clone();
    let workers = tokio::spawn(async move { mesh.run_workers(async { drop(stopped.await) }).await });
    let done = meanwhile.await;
    drop(stop);
    workers.await.unwrap().unwrap();
    done
}

async fn until(mesh: &Squidmesh, run: RunId, status: RunStatus) {
    let begun = Instant::now();
    while mesh.inspect_run(run).await.unwrap().run.status != status {
        assert!(begun.elapsed() < secs(20), "the run does not become {status:?}");
        tokio::time::sleep(ms(10)).await;
    }
}

/// At most one call a second, whatever waits; and queues do not count.
async fn leaves_the_database_alone(database: TestDatabase, executor: impl Executor) {
    let store = Counting::over(SeaOrmStore::connect(database.url()).await.unwrap());
    let mesh = mesh(store.clone(), executor);
    let (calls, hears) = working(&mesh, async {
        let ended = mesh.start_run("work", &json!({})).await.unwrap();
        let paused = mesh.start_run("person", &json!({})).await.unwrap();
        mesh.start_run("timer", &json!({})).await.unwrap();
        until(&mesh, ended.id, RunStatus::Completed).await;
        until(&mesh, paused.id, RunStatus::Paused).await;
        tokio::time::sleep(secs(2)).await;
        store.take();
        tokio::time::sleep(WATCHED).await;
        (store.take(), squidmesh_core::Store::hears_of_work(&store))
    })
    .await;
    let sum: usize = calls.values().sum();
    eprintln!("{sum} calls in {WATCHED:?}: {calls:?}");
    assert!(hears);
    assert!(sum as u64 <= WATCHED.as_secs(), "{calls:?}");
}

/// A process without workers, such as a web server, starts runs; another that has long been idle carries them out.
async fn begins_at_once(database: TestDatabase, executor: impl Executor, other: impl Executor) {
    let (store, others) =
        (SeaOrmStore::connect(database.url()).await.unwrap(), SeaOrmStore::connect(database.url()).await.unwrap());
    let (worker, starter) = (mesh(store.clone(), executor), mesh(others, other));
    working(&worker, async {
        let begun = Instant::now();
        while !squidmesh_core::Store::hears_of_work(&store) {
            assert!(begun.elapsed() < secs(20), "the process does not hear");
            tokio::time::sleep(ms(10)).await;
        }
        for _ in 0..3 {
            tokio::time::sleep(ms(1_200)).await;
            let run = starter.start_run("work", &json!({})).await.unwrap();
            let begun = Instant::now();
            until(&starter, run.id, RunStatus::Completed).await;
            eprintln!("it took {:?}", begun.elapsed());
            assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
        }
    })
    .await;
}

/// With a lane for each of two queues, beside that of all others.
fn in_process() -> TokioExecutor {
    TokioExecutor::new().queue("work", 2).unwrap().queue("person", 2).unwrap()
}

fn over_redis() -> Arc<dyn Executor> {
    Arc::new(TestRedis::fresh().executor().queue("work", 2).unwrap())
}

mod sqlite {
    use super::*;

    #[test]
    fn an_idle_process_leaves_the_database_alone() {
        block_on(async { leaves_the_database_alone(TestDatabase::sqlite(), in_process()).await });
    }

    #[test]
    fn an_idle_process_over_redis_leaves_the_database_alone() {
        block_on(async { leaves_the_database_alone(TestDatabase::sqlite(), over_redis()).await });
    }

    #[test]
    fn an_idle_process_begins_at_once_what_another_starts() {
        block_on(async { begins_at_once(TestDatabase::sqlite(), in_process(), TokioExecutor::new()).await });
    }
}

mod postgres {
    use super::*;

    #[test]
    fn an_idle_process_leaves_the_database_alone() {
        block_on(async { leaves_the_database_alone(TestDatabase::postgres().await, in_process()).await });
    }

    #[test]
    fn an_idle_process_over_redis_leaves_the_database_alone() {
        block_on(async { leaves_the_database_alone(TestDatabase::postgres().await, over_redis()).await });
    }

    #[test]
    fn an_idle_process_begins_at_once_what_another_starts() {
        block_on(async { begins_at_once(TestDatabase::postgres().await, in_process(), TokioExecutor::new()).await });
    }
}
