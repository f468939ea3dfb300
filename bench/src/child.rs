//! A worker as a separate process: this program, called with `worker`, and the parent's handle on it.
//!
//! The child prints `ready`, begins on a line of input, prints how many runs it has completed whenever that changes,
//! and stops when its input ends.

use std::process::Stdio;
use std::time::Duration;

use squidmesh_core::Squidmesh;
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::failure::Failure;
use crate::recorder::Recorder;
use crate::workflows;

/// The minimum time between two reports of a child. While nothing happens it sleeps: it is measured idle, too.
const REPORT_INTERVAL: Duration = Duration::from_millis(10);
/// Longer than any measurement.
const FOREVER: Duration = Duration::from_secs(86_400);

/// Runs the child's side; a `concurrency` of 0 leaves the executor's default.
pub(crate) async fn work(url: &str, concurrency: usize) -> Result<(), Failure> {
    let recorder = Recorder::new();
    let executor = TokioExecutor::new();
    let mesh = Squidmesh::builder(SeaOrmStore::connect(url).await?)
        .executor(if concurrency == 0 { executor } else { executor.concurrency(concurrency) })
        .workflow(workflows::chain(&recorder, 5)?)
        .workflow(workflows::delayed(&recorder, Duration::from_secs(3600))?)
        .event_sink(recorder.clone())
        .build()?;
    println!("ready");
    let mut input = tokio::io::stdin();
    input.read_u8().await?;
    let reporting = tokio::spawn({
        let recorder = recorder.clone();
        async move {
            let mut reported = 0;
            while recorder.completed(reported + 1, FOREVER).await.is_ok() {
                reported = recorder.ended();
                println!("completed {reported}");
                tokio::time::sleep(REPORT_INTERVAL).await;
            }
        }
    });
    mesh.run_workers(async {
        let mut rest = Vec::new();
        let _ = input.read_to_end(&mut rest).await;
    })
    .await?;
    reporting.abort();
    println!("handled {}", recorder.handled());
    Ok(())
}

/// The parent's side.
pub(crate) struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) completed: usize,
}

impl Worker {
    /// Starts a process, which connects and waits.
    pub(crate) async fn start(url: &str, concurrency: usize) -> Result<Worker, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["worker", url, &concurrency.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("a worker has no output")?;
        let mut lines = BufReader::new(output).lines();
        match lines.next_line().await?.as_deref() {
            Some("ready") => Ok(Worker { child, input, lines, completed: 0 }),
            other => Err(format!("a worker said {other:?} instead of that it is ready").into()),
        }
    }

    pub(crate) fn pid(&self) -> Result<u32, Failure> {
        Ok(self.child.id().ok_or("a worker has ended by itself")?)
    }

    /// Lets the child begin.
    pub(crate) async fn go(&mut self) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("a worker cannot be made to begin")?;
        input.write_all(b"\n").await?;
        Ok(input.flush().await?)
    }

    /// Waits for the child's next report.
    pub(crate) async fn progress(&mut self) -> Result<(), Failure> {
        let line = self.lines.next_line().await?.ok_or("a worker has ended by itself")?;
        self.completed = number_after("completed ", &line)?;
        Ok(())
    }

    /// Stops the child gracefully; returns the number of handlers that it called.
    pub(crate) async fn stop(mut self) -> Result<usize, Failure> {
        drop(self.input.take());
        let mut handled = None;
        while let Some(line) = self.lines.next_line().await? {
            handled = number_after("handled ", &line).ok().or(handled);
        }
        if !self.child.wait().await?.success() {
            return Err("a worker ended with a failure".into());
        }
        Ok(handled.ok_or("a worker did not say how many handlers it called")?)
    }
}

fn number_after(word: &str, line: &str) -> Result<usize, Failure> {
    let number = line.strip_prefix(word).ok_or_else(|| format!("a worker said {line:?}"))?;
    Ok(number.parse()?)
}
