//! Sweeps announce work that was never announced, as far as there is room, even if other work has none.

use std::time::Instant;

use serde_json::{Value as Json, json};
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore};
use squidmesh_core::workflow::{CancelReason, Cancellation};
use squidmesh_core::{Runner, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow};

use super::*;
use crate::sweep::Sweeper;

/// The maximum number of entries in each stream.
const ROOM: usize = 10;
/// Long enough that no test sees two complete sweeps.
const INTERVAL: Duration = Duration::from_secs(60);

async fn done(_: Json, _: StepContext) -> StepResult<Json> {
    Ok(json!({}))
}

/// Returns a runner with due work on each queue, in the given order and number of runs, that is announced nowhere.
async fn due(runs: &[(&str, usize)]) -> Runner {
    let clock = Arc::new(ManualClock::default());
    let executor = MemoryExecutor::new(clock.clone());
    let mut builder = Squidmesh::builder(MemoryStore::new(clock.clone())).executor(executor);
    for (queue, _) in runs {
        let step = Step::new("first", done).queue(queue);
        let workflow = Workflow::builder(*queue).trigger(Trigger::manual("manual")).step(step);
        builder = builder.workflow(workflow.build().unwrap());
    }
    let mesh = builder.build().unwrap();
    for (queue, count) in runs {
        for _ in 0..*count {
            mesh.start_run(queue, &json!({})).await.unwrap();
        }
        clock.advance(Duration::from_millis(1));
    }
    // Old enough that only a sweep finds it, not a look for recent work.
    clock.advance(INTERVAL);
    mesh.runner()
}

/// Waits until a stream has this many entries.
async fn until(redis: &Deployment, route: &Route, entries: i64) {
    let begun = Instant::now();
    while redis.counts(route).await[0] != entries {
        assert!(begun.elapsed() < 2 * SECONDS, "{entries} entries are expected of {:?}", redis.counts(route).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_full_stream_keeps_no_other_queue_waiting_and_is_filled_up_soon() {
    let redis = Deployment::new();
    // More than two pages: there is no room for the second.
    let runner = due(&[("long", 1_100), ("short", 5)]).await;
    let route = |queue| runner.routes().into_iter().find(|route| route.queue == sample::queue(queue)).unwrap();
    let (long, short) = (route("long"), route("short"));
    for route in [&long, &short] {
        // The first reader creates the streams.
        redis.reader(std::slice::from_ref(route)).read(1).await.unwrap();
    }
    let mut writer = redis.writer.clone();
    writer.max_length = ROOM;
    let sweeper = Sweeper::new(runner, writer, redis.connection.clone(), &redis.keys, redis.triggers.clone(), INTERVAL);
    let shutdown = Cancellation::new();
    let sweeping = tokio::spawn(sweeper.run(shutdown.clone()));
    until(&redis, &short, 5).await;
    until(&redis, &long, ROOM as i64).await;

    // Once there is room again, it does not take until the next sweep.
    let mut reader = redis.reader(std::slice::from_ref(&long));
    let entries = reader.read(ROOM).await.unwrap();
    settle(&reader, &entries[..ROOM / 2]).await;
    until(&redis, &long, ROOM as i64).await;
    shutdown.cancel(CancelReason::ShuttingDown);
    sweeping.await.unwrap();
}
