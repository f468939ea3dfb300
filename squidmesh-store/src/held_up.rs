//! Commits that wait for a lock, such as of a transaction of the host's that takes its time over a run.
//!
//! They were taken out of the transactions that other commits share, and go on here: one at a time, each on its own, so
//! that nobody else waits with them, until they come through or the patience is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::apply::Answer;
use crate::committer::commit_alone;
use crate::database::Database;
use crate::member::Member;

/// How long a commit waits for a lock, in [short spells](crate::wave).
const PATIENCE: Duration = Duration::from_secs(5);

/// Where commits wait for locks, without keeping more than one connection busy.
#[derive(Clone, Debug)]
pub(crate) struct HeldUp {
    turn: Arc<Semaphore>,
}

impl Default for HeldUp {
    fn default() -> Self {
        HeldUp { turn: Arc::new(Semaphore::new(1)) }
    }
}

impl HeldUp {
    /// Goes on with a call, some of whose commits have no answer yet, and replies once all of them have one.
    pub(crate) fn go_on(
        &self,
        database: Arc<Database>,
        members: Vec<Member>,
        mut answers: Vec<Option<Answer>>,
        reply: oneshot::Sender<Vec<Answer>>,
    ) {
        let turn = Arc::clone(&self.turn);
        tokio::spawn(async move {
            let begun = Instant::now();
            for (member, answer) in members.iter().zip(&mut answers) {
                while answer.is_none() {
                    // It is never closed, so that this waits and does not fail.
                    let _turn = turn.acquire().await;
                    *answer = match commit_alone(&database, member).await {
                        Ok(answer) => Some(answer),
                        Err(_) if begun.elapsed() < PATIENCE => None,
                        Err(undo) => Some(Err(undo.to_error(member.run_id))),
                    };
                }
            }
            // Nobody waits for the answer any more: what is committed is committed.
            let _ = reply.send(answers.into_iter().flatten().collect());
        });
    }
}
