//! Several processes on one database: the workflow that they carry, and a handle on each of them.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use squidmesh_core::{
    COMPLETE, Config, MissedPolicy, Squidmesh, SquidmeshBuilder, Step, StepContext, StepResult, Trigger, Workflow,
    hours, wait,
};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The steps of the workflow.
pub const STEPS: [&str; 5] = ["one", "two", "three", "four", "five"];
/// The workflow's name.
pub const WORKFLOW: &str = "relay";
/// How often the workers look for what other processes left.
pub const SWEEP: Duration = Duration::from_secs(1);

/// Five steps, each of which takes so long and says which process carried it out. `begun` is called as each begins.
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

/// A runtime of the relay on a store.
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

/// The workflow of the schedulers.
pub const TICKING: &str = "ticking";
/// Its trigger.
pub const TICK: &str = "tick";
/// When it fires: every minute, in UTC.
pub const EVERY_MINUTE: &str = "* * * * *";

/// A workflow that is started every minute, and for each minute that was missed. Its step waits longer than any test.
pub fn ticking() -> Workflow {
    let every_minute = Trigger::cron(TICK).expression(EVERY_MINUTE).time_zone("UTC").missed(MissedPolicy::All);
    Workflow::builder(TICKING)
        .trigger(every_minute)
        .step(Step::new("rest", wait(hours(1))))
        .build()
        .expect("a valid workflow")
}

/// A runtime of the ticking workflow on a store.
pub fn scheduler(store: SeaOrmStore) -> Squidmesh {
    let builder = Squidmesh::builder(store).executor(TokioExecutor::new()).workflow(ticking());
    builder.build().expect("the settings are sound")
}

/// A worker process.
pub struct WorkerProcess {
    pub name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl WorkerProcess {
    /// Starts a process of `program` and waits until its workers run.
    pub async fn start(program: &str, url: &str, name: &str, time: Duration, lease: Option<Duration>) -> Self {
        let lease = lease.map_or("default".to_owned(), |lease| lease.as_millis().to_string());
        WorkerProcess::start_with(program, name, &[url, name, &time.as_millis().to_string(), &lease]).await
    }

    /// Starts a process of `program` with these arguments and waits until it is ready.
    pub async fn start_with(program: &str, name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a worker process starts");
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        let mut worker = WorkerProcess { name: name.to_owned(), child, lines };
        assert_eq!(worker.line().await, "ready");
        worker
    }

    /// Lets a process begin that waits for a line after it is ready.
    pub async fn begin(&mut self) {
        let input = self.child.stdin.as_mut().expect("it was not told to stop");
        input.write_all(b"begin\n").await.expect("its input is a pipe");
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line()).await;
        let line = line.expect("a worker says something in time").expect("its output can be read");
        line.expect("a worker goes on until it is told to stop")
    }

    /// Waits until it begins a step that it had not begun when this was called.
    pub async fn in_a_step(&mut self) {
        // What it said before is read already after so short a time.
        while tokio::time::timeout(Duration::from_millis(2), self.line()).await.is_ok() {}
        self.line().await;
    }

    /// The number that the operating system knows it by.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it was not awaited")
    }

    /// Ends it as a power failure would.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a process can be killed");
    }

    /// Ends it in good order.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        let ended = async {
            while let Ok(Some(_)) = self.lines.next_line().await {}
            self.child.wait().await
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
        let status = ended.expect("a worker stops in time").expect("a process can be awaited");
        assert!(status.success(), "{} ended with {status}", self.name);
    }
}
