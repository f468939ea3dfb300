//! A process that has nothing to do leaves the database alone, and yet begins at once what another process commits.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "these are tests: what cannot continue has failed"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use squidmesh_core::dispatch::DispatchOptions;
use squidmesh_core::port::{Commit, CommitOutcome, Executor, Precondition, StoreSession};
use squidmesh_core::testing::InterceptedStore;
use squidmesh_core::{
    COMPLETE, Run, RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, hours, ms, pause,
    secs, wait,
};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{CallCounter, TestDatabase, TestRedis, block_on};

/// How long an idle process is watched.
const WATCHED: Duration = Duration::from_secs(6);
/// Less than the interval of a second at which workers used to poll: a notified worker is faster.
const PROMPT: Duration = Duration::from_millis(800);

/// Returns workflows that work on their own queue, wait for an hour, and wait for a person.
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

fn mesh(store: impl squidmesh_core::port::Store, executor: impl Executor) -> Squidmesh {
    let builder = Squidmesh::builder(store).executor(executor);
    workflows().into_iter().fold(builder, |builder, workflow| builder.workflow(workflow)).build().unwrap()
}

/// Runs workers while a future completes.
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

/// Allows at most one call a second, whichever runs wait and however many queues there are.
async fn leaves_the_database_alone(database: TestDatabase, executor: impl Executor) {
    let store = SeaOrmStore::connect(database.url()).await.unwrap();
    let store = InterceptedStore::new(store, CallCounter::default());
    let mesh = mesh(store.clone(), executor);
    let (calls, listens) = working(&mesh, async {
        let ended = mesh.start_run("work", &json!({})).await.unwrap();
        let paused = mesh.start_run("person", &json!({})).await.unwrap();
        mesh.start_run("timer", &json!({})).await.unwrap();
        until(&mesh, ended.id, RunStatus::Completed).await;
        until(&mesh, paused.id, RunStatus::Paused).await;
        tokio::time::sleep(secs(2)).await;
        store.interceptor().take();
        tokio::time::sleep(WATCHED).await;
        (store.interceptor().take(), squidmesh_core::port::Store::is_listening(&store))
    })
    .await;
    let sum: usize = calls.values().sum();
    eprintln!("{sum} calls in {WATCHED:?}: {calls:?}");
    assert!(listens);
    assert!(sum as u64 <= WATCHED.as_secs(), "{calls:?}");
}

/// A process without workers, such as a web server, starts runs; another that has long been idle executes them.
async fn begins_at_once(database: TestDatabase, executor: impl Executor, other: impl Executor) {
    let (store, others) =
        (SeaOrmStore::connect(database.url()).await.unwrap(), SeaOrmStore::connect(database.url()).await.unwrap());
    let (worker, starter) = (mesh(store.clone(), executor), mesh(others, other));
    working(&worker, async {
        let begun = Instant::now();
        while !squidmesh_core::port::Store::is_listening(&store) {
            assert!(begun.elapsed() < secs(20), "the process is not listening");
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

/// Work that a host dispatches in its own unit of work and emits after its commit is begun at once: by the process
/// that emits, and by another.
async fn begins_at_once_what_is_emitted(database: TestDatabase, here: bool) {
    let (store, others) =
        (SeaOrmStore::connect(database.url()).await.unwrap(), SeaOrmStore::connect(database.url()).await.unwrap());
    let (worker, other) = (mesh(store.clone(), in_process()), mesh(others.clone(), TokioExecutor::new()));
    let (host, session) = if here { (&worker, &store) } else { (&other, &others) };
    working(&worker, async {
        let begun = Instant::now();
        while !squidmesh_core::port::Store::is_listening(&store) {
            assert!(begun.elapsed() < secs(20), "the process is not listening");
            tokio::time::sleep(ms(10)).await;
        }
        // Stored by the host, and not dispatched.
        let like = host.start_run("person", &json!({})).await.unwrap();
        let definition = worker.start_run("work", &json!({})).await.unwrap();
        until(host, definition.id, RunStatus::Completed).await;
        let run = Run {
            id: RunId::from_uuid(uuid::Uuid::new_v4()),
            workflow: definition.workflow.clone(),
            fingerprint: definition.fingerprint,
            current_step: definition.current_step.clone(),
            status: RunStatus::Pending,
            revision: 1,
            ..like
        };
        let id = run.id;
        let answers = session.commit(vec![Commit::new(run, Precondition::Absent)]).await.unwrap();
        assert!(matches!(answers[..], [Ok(CommitOutcome::Committed)]), "{answers:?}");
        tokio::time::sleep(ms(1_200)).await;
        let dispatcher = host.dispatcher();
        let mut work = dispatcher.open(session, id).await.unwrap();
        let options = DispatchOptions::new().schedule_pending();
        let (_, events) = dispatcher.dispatch_run_with_events(&mut work, &options).unwrap();
        session.commit(vec![work.close().commit]).await.unwrap();
        dispatcher.emit(events);
        let begun = Instant::now();
        until(host, id, RunStatus::Completed).await;
        assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
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
    fn what_a_host_emits_is_begun_at_once_in_any_process() {
        block_on(async {
            for here in [true, false] {
                begins_at_once_what_is_emitted(TestDatabase::sqlite(), here).await;
            }
        });
    }

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
    fn what_a_host_emits_is_begun_at_once_in_any_process() {
        block_on(async {
            for here in [true, false] {
                begins_at_once_what_is_emitted(TestDatabase::postgres().await, here).await;
            }
        });
    }

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
