//! The worker processes of a shop: the same program again, started, replaced when they die, and stopped at the end.
//!
//! A worker receives commands through its standard input alone: the word `FINISH` means that it is to stop
//! gracefully, and the end of the input that the shop is dead, so that it exits as well. It reports its work through
//! its standard output. Knows processes; knows no workflow.

use std::env;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::options::Options;
use crate::progress::Progress;

/// The command on which a worker stops gracefully.
pub(crate) const FINISH: &str = "finish";
/// The variable from which a worker reads the URL of the database. The URLs are secret: no other program needs to see
/// them.
pub(crate) const STORE: &str = "CHECKOUT_STORE";
/// The variable from which a worker reads the URL of Redis.
pub(crate) const REDIS: &str = "CHECKOUT_REDIS";

/// The delay before a dead worker is replaced.
const PAUSE: Duration = Duration::from_millis(500);
/// The time that workers have to finish.
const EXIT_TIMEOUT: Duration = Duration::from_secs(40);

/// Why the worker processes could not be kept running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrewError {
    /// No process could be started.
    #[error("a worker process could not be started or followed")]
    Process(#[from] io::Error),
    /// One of them gave up; its message is on standard error.
    #[error("a worker process gave up ({0}); what it said stands above")]
    GaveUp(ExitStatus),
    /// The task that supervises one of them panicked.
    #[error("the supervision of a worker process panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Keeps as many workers as the options request until `closed`, and then lets them finish.
///
/// # Errors
/// Returns a [`CrewError`]. A killed worker is not an error: it is replaced.
pub async fn keep(
    options: &Options,
    gateway: SocketAddr,
    progress: &Progress,
    closed: impl Future<Output = ()>,
) -> Result<(), CrewError> {
    let (close, closing) = tokio::sync::watch::channel(false);
    let mut places = JoinSet::new();
    for _ in 0..options.workers {
        places.spawn(keep_one(options.clone(), gateway, progress.clone(), closing.clone()));
    }
    let all_ended = async {
        while let Some(ended) = places.join_next().await {
            ended??;
        }
        Ok::<_, CrewError>(())
    };
    let mut all_ended = std::pin::pin!(all_ended);
    tokio::select! {
        ended = &mut all_ended => return ended,
        () = closed => {}
    }
    close.send_replace(true);
    all_ended.await
}

/// Keeps one worker: a killed one is replaced.
async fn keep_one(
    options: Options,
    gateway: SocketAddr,
    progress: Progress,
    mut closing: tokio::sync::watch::Receiver<bool>,
) -> Result<(), CrewError> {
    loop {
        let mut worker = start(&options, gateway)?;
        let status = follow(&mut worker, &progress, &mut closing).await?;
        if *closing.borrow() {
            return Ok(());
        }
        // A process that exits by itself with a code has a reason that would stop the next one, too.
        if status.code().is_some_and(|code| code != 0) {
            return Err(CrewError::GaveUp(status));
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            _ = closing.wait_for(|closing| *closing) => return Ok(()),
        }
    }
}

fn start(options: &Options, gateway: SocketAddr) -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.args(options.for_workers(gateway)).env(STORE, options.store_url());
    match &options.redis {
        Some(url) => command.env(REDIS, url),
        None => command.env_remove(REDIS),
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()
}

/// Counts the work that a worker reports until it ends. Asks it to finish when the shop closes.
async fn follow(
    worker: &mut Child,
    progress: &Progress,
    closing: &mut tokio::sync::watch::Receiver<bool>,
) -> io::Result<ExitStatus> {
    let mut input = worker.stdin.take();
    let Some(output) = worker.stdout.take() else { return worker.wait().await };
    let mut lines = BufReader::new(output).lines();
    let mut ended = std::pin::pin!(async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some((completed, failed)) = line.split_once(' ') {
                progress.add(completed.parse().unwrap_or_default(), failed.parse().unwrap_or_default());
            }
        }
    });
    let finished = tokio::select! {
        () = &mut ended => false,
        _ = closing.wait_for(|closing| *closing) => true,
    };
    if finished {
        if let Some(input) = &mut input {
            // The worker may be dead already.
            let _ = input.write_all(format!("{FINISH}\n").as_bytes()).await;
        }
        if timeout(EXIT_TIMEOUT, ended).await.is_err() {
            worker.start_kill()?;
        }
    }
    worker.wait().await
}
