//! Several processes on one database: the workflow that they execute, and a handle on each of them.

use std::time::Duration;

use serde_json::{Value, json};
use squidmesh_core::command::SquidmeshBuilder;
use squidmesh_core::definition::MissedPolicy;
use squidmesh_core::{COMPLETE, Config, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, hours, wait};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;

use crate::child::ChildProcess;

/// The steps of the workflow.
pub const STEPS: [&str; 5] = ["one", "two", "three", "four", "five"];
/// The workflow's name.
pub const WORKFLOW: &str = "relay";
/// The interval at which workers look for what other processes left.
pub const SWEEP: Duration = Duration::from_secs(1);

/// Returns a workflow of five steps, each of which takes `time` and outputs the name of its process. `begun` is
/// called as each begins.
pub fn relay(process: &str, time: Duration, begun: fn()) -> Workflow {
    let mut builder = Workflow::builder(WORKFLOW).trigger(Trigger::manual("manual"));
    for name in STEPS {
        let process = process.to_owned();
        builder = builder.step(Step::new(name, move |_: Value, _: StepContext| {
            let process = process.clone();
            async move {
                begun();
                tokio::time::sleep(time).await;
                StepResult::Ok(json!({ "by": process }))
            }
        }));
    }
    for pair in STEPS.windows(2) {
        builder = builder.then(pair[0], pair[1]);
    }
    builder.then(STEPS[4], COMPLETE).build().expect("a valid workflow")
}

/// Creates a runtime of the relay on a store.
pub fn mesh(store: SeaOrmStore, process: &str, time: Duration, lease: Option<Duration>, begun: fn()) -> Squidmesh {
    let builder: SquidmeshBuilder = Squidmesh::builder(store)
        .executor(TokioExecutor::new().concurrency(16).poll_interval(SWEEP))
        .workflow(relay(process, time, begun));
    let configured = builder.configure(|config: &mut Config| {
        if let Some(lease) = lease {
            config.lease = lease;
            config.heartbeat = lease / 3;
        }
    });
    configured.build().expect("the settings are sound")
}

/// The name of the schedulers' workflow.
pub const TICKING: &str = "ticking";
/// Its trigger.
pub const TICK: &str = "tick";
/// Its expression: every minute, in UTC.
pub const EVERY_MINUTE: &str = "* * * * *";

/// Returns a workflow that is started every minute, and for each missed minute. Its step waits longer than any test.
pub fn ticking() -> Workflow {
    let every_minute = Trigger::cron(TICK).expression(EVERY_MINUTE).time_zone("UTC").missed(MissedPolicy::All);
    Workflow::builder(TICKING)
        .trigger(every_minute)
        .step(Step::new("rest", wait(hours(1))))
        .build()
        .expect("a valid workflow")
}

/// Creates a runtime of the ticking workflow on a store.
pub fn scheduler(store: SeaOrmStore) -> Squidmesh {
    let builder = Squidmesh::builder(store).executor(TokioExecutor::new()).workflow(ticking());
    builder.build().expect("the settings are sound")
}

/// A worker process.
pub struct WorkerProcess {
    pub name: String,
    child: ChildProcess,
}

impl WorkerProcess {
    /// Starts a process of `program` and waits until its workers run.
    pub async fn start(program: &str, url: &str, name: &str, time: Duration, lease: Option<Duration>) -> Self {
        let lease = lease.map_or("default".to_owned(), |lease| lease.as_millis().to_string());
        WorkerProcess::start_with(program, name, &[url, name, &time.as_millis().to_string(), &lease]).await
    }

    /// Starts a process of `program` with these arguments and waits until it is ready.
    pub async fn start_with(program: &str, name: &str, arguments: &[&str]) -> Self {
        let mut child = ChildProcess::of(program, arguments);
        assert_eq!(child.line().await, "ready");
        WorkerProcess { name: name.to_owned(), child }
    }

    /// Starts the work of a process that waits for a line after it is ready.
    pub async fn begin(&mut self) {
        self.child.send("begin").await;
    }

    /// Waits until the process begins a step that it had not begun when this was called.
    pub async fn in_a_step(&mut self) {
        // Everything that it printed before is read after so short a time.
        while tokio::time::timeout(Duration::from_millis(2), self.child.line()).await.is_ok() {}
        self.child.line().await;
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.pid().expect("it was not awaited")
    }

    /// Kills the process as a power failure would.
    pub async fn kill(self) {
        self.child.kill().await;
    }

    /// Stops the process gracefully.
    pub async fn stop(self) {
        let status = self.child.stop().await;
        assert!(status.success(), "{} ended with {status}", self.name);
    }
}
