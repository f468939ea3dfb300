//! A process of a cluster over Redis: executes chains and fans until its standard input closes, and records the steps
//! that it begins.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "part of the tests: what cannot continue has failed")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use squidmesh_core::{Squidmesh, StepContext};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::over_redis;
use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what| arguments.next().expect(what);
    let (url, redis, journals, name) = (next("a URL"), next("a Redis"), next("a directory"), next("a name"));
    let mut time = |what| Duration::from_millis(next(what).parse().expect("milliseconds"));
    let (step, lease, sweep) = (time("the time of a step"), time("a lease"), time("a sweep interval"));

    let journal = OpenOptions::new().create(true).append(true).open(Path::new(&journals).join(name));
    let journal = journal.expect("the journal opens");
    let begun: over_redis::Begun = Arc::new(move |context: &StepContext| {
        // A single write, so that no line is torn however the process ends.
        let line = format!("{} {} {} {}\n", context.run_id, context.workflow, context.step, context.attempt);
        (&journal).write_all(line.as_bytes()).expect("the journal can be written");
    });
    let store = SeaOrmStore::builder(&url).migrate(false).connect().await.expect("the store opens");
    let executor = RedisExecutor::new(&redis).expect("the URL is one").concurrency(16).sweep_interval(sweep);
    let workflows = over_redis::workflows(step, &begun);
    let builder = workflows
        .into_iter()
        .fold(Squidmesh::builder(store).executor(executor), |builder, workflow| builder.workflow(workflow));
    let mesh = builder.configure(|config| over_redis::short_leases(config, lease)).build().expect("sound settings");
    println!("ready");
    let closed = async {
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    mesh.run_workers(closed).await.expect("the executor can work");
    // Reading standard input blocks a thread that no shutdown ends.
    std::process::exit(0);
}
