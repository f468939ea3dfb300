//! A child process that reports in lines on its output and works as long as its input is open.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// The time within which a process must report, or end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The parent's side of a process, which is killed when this is dropped.
#[derive(Debug)]
pub struct ChildProcess {
    child: Child,
    /// Apart from the child, which closes its input when it is awaited.
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl ChildProcess {
    /// Starts a program.
    ///
    /// # Errors
    /// Those of starting it.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        Ok(ChildProcess { child, input, lines })
    }

    /// Starts a program of the tests with these arguments.
    pub fn of(program: &str, arguments: &[&str]) -> Self {
        ChildProcess::start(Command::new(program).args(arguments)).expect("the process starts")
    }

    /// Returns the next line, whenever it comes; `None` when the process has ended.
    pub async fn next_line(&mut self) -> Option<String> {
        self.lines.next_line().await.expect("its output can be read")
    }

    /// Returns the next line of a process that continues and reports in time.
    pub async fn line(&mut self) -> String {
        let line = timeout(ANSWER_TIMEOUT, self.next_line()).await;
        line.expect("the process reports in time").expect("the process continues until it is stopped")
    }

    /// Sends a line.
    pub async fn send(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        input.write_all(format!("{line}\n").as_bytes()).await.expect("its input can be written");
    }

    /// Returns the process id, unless the process was awaited.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    /// Those of waiting.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Requests that the process be killed, and does not wait for it.
    pub fn start_kill(&mut self) {
        let _ = self.child.start_kill();
    }

    /// Kills the process as a power failure would, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a process can be killed");
    }

    /// Closes the process's input, at which it ends gracefully.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Stops the process gracefully, and returns how it ended.
    pub async fn stop(mut self) -> ExitStatus {
        self.close_input();
        let ended = async {
            while let Ok(Some(_)) = self.lines.next_line().await {}
            self.child.wait().await
        };
        timeout(ANSWER_TIMEOUT, ended).await.expect("the process stops in time").expect("it can be awaited")
    }
}
