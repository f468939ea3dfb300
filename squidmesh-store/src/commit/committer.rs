//! Group commit: the commits that queue up while one transaction runs share the next one.
//!
//! Batches grow with the load; when idle, a commit does not wait for others. While a transaction runs, another one
//! starts as soon as enough commits are queued for it. One can thus be written while another waits for the disk,
//! and concurrency does not make batches small. Each transaction runs in a task of its own, so that it completes
//! even if its caller is gone.
//!
//! A commit that is blocked by a lock outside the store leaves its batch, and [waits](super::lock_wait) where no
//! other commit waits for it.

use std::sync::Arc;
use std::time::Duration;

use squidmesh_core::port::{Commit, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::abort::Answer;
use super::encoded_commit::EncodedCommit;
use super::lock_wait::LockWait;
use super::transactions::{MAX_COMMITS, commit_all};
use crate::database::Database;

/// The number of calls that can queue before callers wait.
const MAX_QUEUED_CALLS: usize = 1_024;
/// The estimated number of rows, those of some sixty steps, that start a concurrent transaction.
const MIN_CONCURRENT_WEIGHT: usize = 320;
/// How long commits wait for that many.
const MAX_GATHERING: Duration = Duration::from_millis(10);

/// A handle to the writer.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    queue: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    commits: Vec<EncodedCommit>,
    reply: oneshot::Sender<Vec<Answer>>,
}

impl Committer {
    /// Starts the writer, with at most `at_once` concurrent transactions. It ends when the last handle is dropped
    /// and its queue is empty.
    pub(crate) fn start(database: &Arc<Database>, at_once: usize) -> Self {
        let (queue, inbox) = mpsc::channel(MAX_QUEUED_CALLS);
        tokio::spawn(run(Arc::clone(database), inbox, at_once));
        Committer { queue }
    }

    /// Writes the commits in the order given.
    pub(crate) async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Answer>, StoreError> {
        let mut encoded = Vec::with_capacity(commits.len());
        let mut refused = Vec::new();
        for (index, commit) in commits.iter().enumerate() {
            match EncodedCommit::encode(commit) {
                Ok(commit) => encoded.push(commit),
                Err(error) => refused.push((index, error)),
            }
        }
        let mut answers = self.send(encoded).await?;
        for (index, error) in refused {
            answers.insert(index.min(answers.len()), Err(error));
        }
        Ok(answers)
    }

    async fn send(&self, commits: Vec<EncodedCommit>) -> Result<Vec<Answer>, StoreError> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answers) = oneshot::channel();
        if self.queue.send(Request { commits, reply }).await.is_err() {
            return Err(StoreError::Unavailable { doing: "committing", source: Box::new(WriterGone) });
        }
        answers.await.map_err(|_| StoreError::OutcomeUnknown { source: Box::new(NoAnswer) })
    }
}

/// The writer's task is gone, for example because the async runtime shuts down.
#[derive(Debug, thiserror::Error)]
#[error("the store's writer has stopped")]
struct WriterGone;

/// The task that wrote the commit is gone: it panicked, or the async runtime shuts down. The writer may continue.
#[derive(Debug, thiserror::Error)]
#[error("the task that wrote the commit ended without an answer")]
struct NoAnswer;

/// Starts transactions as calls arrive and transactions end.
async fn run(database: Arc<Database>, mut inbox: mpsc::Receiver<Request>, at_once: usize) {
    let mut waiting: Vec<Request> = Vec::new();
    let mut running = JoinSet::new();
    let lock_wait = LockWait::default();
    let mut open = true;
    // When the first of the waiting calls arrived.
    let mut since = Instant::now();
    while open || !running.is_empty() {
        let (idle, room) = (waiting.is_empty(), MAX_COMMITS.saturating_sub(waiting.len()));
        let may_start = !idle && !running.is_empty() && running.len() < at_once;
        tokio::select! {
            received = inbox.recv_many(&mut waiting, room), if open && room > 0 => {
                open = received > 0;
                since = if idle { Instant::now() } else { since };
            }
            _ = running.join_next(), if !running.is_empty() => {}
            () = sleep_until(since + MAX_GATHERING), if may_start => {}
        }
        let min_weight = if running.is_empty() || since.elapsed() >= MAX_GATHERING { 1 } else { MIN_CONCURRENT_WEIGHT };
        let weight: usize = waiting.iter().flat_map(|request| &request.commits).map(EncodedCommit::weight).sum();
        if (weight >= min_weight || waiting.len() >= MAX_COMMITS) && running.len() < at_once {
            running.spawn(answer(Arc::clone(&database), std::mem::take(&mut waiting), lock_wait.clone()));
        }
    }
}

/// Executes calls together, and answers each.
async fn answer(database: Arc<Database>, requests: Vec<Request>, lock_wait: LockWait) {
    let (mut commits, mut replies) = (Vec::new(), Vec::new());
    for request in requests {
        replies.push((request.commits.len(), request.reply));
        commits.extend(request.commits);
    }
    let answers = commit_all(&database, &commits).await;
    let mut answered = commits.into_iter().zip(answers);
    for (count, reply) in replies {
        let (commits, answers): (Vec<EncodedCommit>, Vec<Option<Answer>>) = answered.by_ref().take(count).unzip();
        if answers.iter().all(Option::is_some) {
            // The caller may be gone; the commits stand.
            let _ = reply.send(answers.into_iter().flatten().collect());
        } else {
            lock_wait.retry(Arc::clone(&database), commits, answers, reply);
        }
    }
}
