//! Commits that wait for a lock, such as that of a long transaction of the host on a run.
//!
//! They are taken out of the transactions that they shared with other commits and are retried here, one at a time
//! and each on its own, until they succeed or time out. No other commit waits with them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::abort::Answer;
use super::encoded_commit::EncodedCommit;
use super::transactions::commit_alone;
use crate::database::Database;

/// How long a commit waits for a lock, in [short attempts](super::postgres_batch).
const MAX_LOCK_WAIT: Duration = Duration::from_secs(5);

/// Where commits wait for locks, without occupying more than one connection.
#[derive(Clone, Debug)]
pub(crate) struct LockWait {
    turn: Arc<Semaphore>,
}

impl Default for LockWait {
    fn default() -> Self {
        LockWait { turn: Arc::new(Semaphore::new(1)) }
    }
}

impl LockWait {
    /// Retries the commits of a call that have no answer yet, and replies once all have one.
    pub(crate) fn retry(
        &self,
        database: Arc<Database>,
        commits: Vec<EncodedCommit>,
        mut answers: Vec<Option<Answer>>,
        reply: oneshot::Sender<Vec<Answer>>,
    ) {
        let turn = Arc::clone(&self.turn);
        tokio::spawn(async move {
            let begun = Instant::now();
            for (commit, answer) in commits.iter().zip(&mut answers) {
                while answer.is_none() {
                    // The semaphore is never closed, so this waits and does not fail.
                    let _turn = turn.acquire().await;
                    *answer = match commit_alone(&database, commit).await {
                        Ok(answer) => Some(answer),
                        Err(_) if begun.elapsed() < MAX_LOCK_WAIT => None,
                        Err(abort) => Some(Err(abort.to_error(commit.run_id))),
                    };
                }
            }
            // The caller may be gone; the commits stand.
            let _ = reply.send(answers.into_iter().flatten().collect());
        });
    }
}
