//! What an idle process sends to Redis: little, and the same however many workflows, queues and classes it serves.

use std::time::{Duration, Instant};

use redis::cmd;
use serde_json::{Value, json};
use squidmesh_core::definition::Priority;
use squidmesh_core::{RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, ms, secs};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{RedisAddress, RedisServer, TestDatabase, block_on};

/// How long an idle process is watched.
const WATCHED: Duration = Duration::from_secs(8);
/// The maximum number of commands that it sends in a second, those in scripts included.
const A_SECOND: u64 = 6;

mod sqlite {
    use super::*;

    #[test]
    fn an_idle_process_sends_few_commands() {
        block_on(async {
            let (redis, database) = (RedisServer::start().await, TestDatabase::sqlite());
            let store = SeaOrmStore::connect(database.url()).await.unwrap();
            let builder = Squidmesh::builder(store).executor(RedisExecutor::new(redis.url()).unwrap());
            let builder = (0..100).fold(builder, |builder, number| builder.workflow(workflow(number)));
            let mesh = builder.build().unwrap();
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let working = tokio::spawn({
                let mesh = mesh.clone();
                async move { mesh.run_workers(async { drop(stopped.await) }).await }
            });
            done(&mesh, 0).await;
            tokio::time::sleep(secs(4)).await;
            let before = commands(&redis).await;
            tokio::time::sleep(WATCHED).await;
            let sent = commands(&redis).await - before;
            eprintln!("{sent} commands in {WATCHED:?}");
            assert!(sent <= A_SECOND * WATCHED.as_secs(), "{sent} commands in {WATCHED:?}");
            let took = done(&mesh, 70).await;
            assert!(took < secs(2), "what comes after quiet is begun at once, not after {took:?}");
            drop(stop);
            working.await.unwrap().unwrap();
        });
    }
}

/// Returns a workflow with steps of three classes on two queues.
fn workflow(number: usize) -> Workflow {
    let step = |place: usize, priority| {
        let handler = |_: Value, _: StepContext| async { StepResult::Ok(json!({})) };
        let step = Step::new(["one", "two", "three"][place], handler).priority(priority);
        step.queue(format!("queue-{}", place % 2))
    };
    let steps = [Priority::High, Priority::Normal, Priority::Low].into_iter().enumerate();
    let workflow = Workflow::builder(format!("workflow-{number}")).trigger(Trigger::manual("manual"));
    steps.fold(workflow, |workflow, (place, priority)| workflow.step(step(place, priority))).parallel().build().unwrap()
}

/// Executes a run, and returns how long that took.
async fn done(mesh: &Squidmesh, number: usize) -> Duration {
    let begun = Instant::now();
    let run = mesh.start_run(format!("workflow-{number}"), &json!({})).await.unwrap();
    while mesh.inspect_run(run.id).await.unwrap().run.status != RunStatus::Completed {
        assert!(begun.elapsed() < secs(30), "no worker carries a run out");
        tokio::time::sleep(ms(5)).await;
    }
    begun.elapsed()
}

/// Returns the number of commands that a server has processed.
async fn commands(redis: &RedisAddress) -> u64 {
    let said: String = redis.ask(cmd("INFO").arg("stats")).await.unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}
