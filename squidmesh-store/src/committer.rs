//! Group commit: what has queued up while the last transaction ran goes into the next one together.
//!
//! A lane is a task of its own, so that no transaction is ever cut short because its caller went away. Batches grow with the
//! load by themselves; idle, a commit waits for nobody.

use std::sync::Arc;

use sea_orm::DbErr;
use squidmesh_core::{Commit, CommitOutcome, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::apply::{Undo, apply};
use crate::database::Database;
use crate::error::{Fault, commit_failed};
use crate::member::Member;
use crate::waves::waves;

/// How one commit ended.
pub(crate) type Answer = Result<CommitOutcome, StoreError>;

/// How many calls wait for a lane before callers are held up.
const QUEUE: usize = 1_024;
/// How many commits, and how many rows by and large, go into one transaction. A single commit may be larger.
const MAX_MEMBERS: usize = 128;
const MAX_WEIGHT: usize = 8_192;

/// The way to the lanes.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    lanes: Arc<[mpsc::Sender<Request>]>,
}

#[derive(Debug)]
struct Request {
    members: Vec<Member>,
    reply: oneshot::Sender<Vec<Answer>>,
}

impl Committer {
    /// Starts so many lanes. They end when the last handle is gone and their queues are empty.
    pub(crate) fn start(database: &Arc<Database>, lanes: usize) -> Self {
        let lane = |_| {
            let (sender, inbox) = mpsc::channel(QUEUE);
            tokio::spawn(run(Arc::clone(database), inbox));
            sender
        };
        Committer { lanes: (0..lanes.max(1)).map(lane).collect() }
    }

    /// Commits, in the order given.
    pub(crate) async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Answer>, StoreError> {
        let mut members = Vec::with_capacity(commits.len());
        let mut refused = Vec::new();
        for (place, commit) in commits.iter().enumerate() {
            match Member::encode(commit) {
                Ok(member) => members.push(member),
                Err(error) => refused.push((place, error)),
            }
        }
        let mut answers = self.send(members).await?;
        for (place, error) in refused {
            answers.insert(place.min(answers.len()), Err(error));
        }
        Ok(answers)
    }

    /// A call goes to one lane as a whole, chosen by the run of its first commit.
    async fn send(&self, members: Vec<Member>) -> Result<Vec<Answer>, StoreError> {
        let Some(first) = members.first() else { return Ok(Vec::new()) };
        let bits = first.run_id.as_uuid().as_u128();
        let lane = usize::try_from(bits % self.lanes.len() as u128).unwrap_or(0);
        let (reply, answers) = oneshot::channel();
        let sent = match self.lanes.get(lane) {
            Some(lane) => lane.send(Request { members, reply }).await.is_ok(),
            None => false,
        };
        if !sent {
            return Err(StoreError::Unavailable { doing: "committing", source: Box::new(LaneClosed) });
        }
        answers.await.map_err(|_| StoreError::OutcomeUnknown { source: Box::new(LaneClosed) })
    }
}

/// The task that writes is gone, such as when the async runtime shuts down.
#[derive(Debug, thiserror::Error)]
#[error("the store's writer has stopped")]
struct LaneClosed;

async fn run(database: Arc<Database>, mut inbox: mpsc::Receiver<Request>) {
    let mut requests = Vec::new();
    while inbox.recv_many(&mut requests, MAX_MEMBERS).await > 0 {
        let (members, replies): (Vec<_>, Vec<_>) = requests
            .drain(..)
            .map(|request: Request| {
                let count = request.members.len();
                (request.members, (count, request.reply))
            })
            .unzip();
        let members: Vec<Member> = members.into_iter().flatten().collect();
        let mut answers = commit_all(&database, &members).await.into_iter();
        for (count, reply) in replies {
            // Nobody waits for the answer any more: what is committed is committed.
            let _ = reply.send(answers.by_ref().take(count).collect());
        }
    }
}

/// Commits members in as few transactions as their size allows. When a batch fails as a whole, each of it is tried alone,
/// so that only what is bad fails.
async fn commit_all(database: &Database, members: &[Member]) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(members.len());
    let mut rest = members;
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(batch_len(rest));
        rest = later;
        match commit_together(database, batch).await {
            Ok(outcomes) => answers.extend(outcomes),
            Err(undo) if batch.len() > 1 && !undo.strikes_all() => {
                for member in batch {
                    answers.extend(commit_alone(database, member).await);
                }
            }
            Err(undo) => answers.extend(batch.iter().map(|member| Err(undo.to_error(member.run_id)))),
        }
    }
    answers
}

async fn commit_alone(database: &Database, member: &Member) -> Vec<Answer> {
    let outcome = commit_together(database, std::slice::from_ref(member)).await;
    outcome.unwrap_or_else(|undo| vec![Err(undo.to_error(member.run_id))])
}

fn batch_len(members: &[Member]) -> usize {
    let mut weight = 0;
    let fits = members.iter().take(MAX_MEMBERS).take_while(|member| {
        weight += member.weight();
        weight <= MAX_WEIGHT
    });
    fits.count().max(1)
}

/// One transaction. An error means that nothing of it was written.
async fn commit_together(database: &Database, members: &[Member]) -> Result<Vec<Answer>, Undo> {
    let mut fenced: Vec<usize> = Vec::new();
    let outcomes = loop {
        let known = database.known_definitions();
        let transaction = database.begin().await.map_err(Undo::NotBegun)?;
        let mut outcomes = vec![CommitOutcome::Fenced; members.len()];
        let mut undo = None;
        for wave in waves(members, &fenced) {
            let (places, wave): (Vec<usize>, Vec<&Member>) = wave.into_iter().unzip();
            match apply(&transaction, database.clock(), &known, &wave).await {
                Ok(applied) => {
                    for (place, outcome) in places.into_iter().zip(applied) {
                        if let Some(slot) = outcomes.get_mut(place) {
                            *slot = outcome;
                        }
                    }
                }
                Err(Undo::Fenced(in_wave)) => {
                    undo = Some(Undo::Fenced(in_wave.iter().filter_map(|place| places.get(*place).copied()).collect()));
                    break;
                }
                Err(other) => {
                    undo = Some(other);
                    break;
                }
            }
        }
        match undo {
            None => match transaction.commit().await {
                Ok(()) => break outcomes,
                Err(error) => return commit_refused(error, outcomes),
            },
            Some(undo) => {
                // Dropped or not, a transaction that was not committed is rolled back.
                let _ = transaction.rollback().await;
                match undo {
                    Undo::Fenced(more) if !more.is_empty() => fenced.extend(more),
                    other => return Err(other),
                }
            }
        }
    };
    let written = members.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == CommitOutcome::Committed);
    database.remember_definitions(written.filter_map(|(member, _)| Some(member.definition.as_ref()?.0)));
    Ok(outcomes.into_iter().map(Ok).collect())
}

/// A COMMIT that the database refused wrote nothing; one whose answer was lost may have.
fn commit_refused(error: DbErr, outcomes: Vec<CommitOutcome>) -> Result<Vec<Answer>, Undo> {
    if Fault::of(&error) != Fault::Connection {
        return Err(Undo::Database(error));
    }
    let answer = |outcome| match outcome {
        CommitOutcome::Committed => Err(commit_failed(error.clone())),
        other => Ok(other),
    };
    Ok(outcomes.into_iter().map(answer).collect())
}
