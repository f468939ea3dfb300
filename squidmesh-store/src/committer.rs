//! Group commit: what has queued up while the last transaction ran goes into the next one together.
//!
//! Batches grow with the load by themselves; idle, a commit waits for nobody. Another transaction begins beside those that run once
//! enough has come together for it, so that one can be written while another waits for the disk, and none is small because
//! there are several. Each runs in a task of its own, so that none is ever cut short because its caller went away.
//!
//! A commit that meets a lock of somebody else's leaves the others, and [waits](crate::held_up) where nobody waits for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbErr;
use squidmesh_core::{Commit, CommitOutcome, RunId, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::apply::{Answer, Undo, apply};
use crate::database::Database;
use crate::error::{Fault, commit_failed};
use crate::held_up::HeldUp;
use crate::member::Member;
use crate::wave::{self, UNSETTLED, Within};
use crate::waves::waves;

/// How many calls wait before callers are held up.
const QUEUE: usize = 1_024;
/// How many commits, and how many rows by and large, go into one transaction. A single commit may be larger.
const MAX_MEMBERS: usize = 128;
const MAX_WEIGHT: usize = 8_192;
/// How many rows by and large, those of some sixty steps, are enough for a transaction beside others,
const ENOUGH: usize = 320;
/// and how long commits wait for more.
const LONG: Duration = Duration::from_millis(10);

/// The way to the writer.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    queue: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    members: Vec<Member>,
    reply: oneshot::Sender<Vec<Answer>>,
}

impl Committer {
    /// Starts the writer, with at most so many transactions at once. It ends when the last handle is gone and its queue is empty.
    pub(crate) fn start(database: &Arc<Database>, at_once: usize) -> Self {
        let (queue, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(run(Arc::clone(database), inbox, at_once));
        Committer { queue }
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

    async fn send(&self, members: Vec<Member>) -> Result<Vec<Answer>, StoreError> {
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answers) = oneshot::channel();
        if self.queue.send(Request { members, reply }).await.is_err() {
            return Err(StoreError::Unavailable { doing: "committing", source: Box::new(WriterGone) });
        }
        answers.await.map_err(|_| StoreError::OutcomeUnknown { source: Box::new(WriterGone) })
    }
}

/// The task that writes is gone, such as when the async runtime shuts down.
#[derive(Debug, thiserror::Error)]
#[error("the store's writer has stopped")]
struct WriterGone;

/// Begins transactions as calls come in and transactions end.
async fn run(database: Arc<Database>, mut inbox: mpsc::Receiver<Request>, at_once: usize) {
    let mut waiting: Vec<Request> = Vec::new();
    let mut running = JoinSet::new();
    let held_up = HeldUp::default();
    let mut open = true;
    // When the first of those that wait came.
    let mut since = Instant::now();
    while open || !running.is_empty() {
        let (nobody, room) = (waiting.is_empty(), MAX_MEMBERS.saturating_sub(waiting.len()));
        let beside = !nobody && !running.is_empty() && running.len() < at_once;
        tokio::select! {
            came = inbox.recv_many(&mut waiting, room), if open && room > 0 => {
                open = came > 0;
                since = if nobody { Instant::now() } else { since };
            }
            _ = running.join_next(), if !running.is_empty() => {}
            () = sleep_until(since + LONG), if beside => {}
        }
        let enough = if running.is_empty() || since.elapsed() >= LONG { 1 } else { ENOUGH };
        let weight: usize = waiting.iter().flat_map(|request| &request.members).map(Member::weight).sum();
        if (weight >= enough || waiting.len() >= MAX_MEMBERS) && running.len() < at_once {
            running.spawn(answer(Arc::clone(&database), std::mem::take(&mut waiting), held_up.clone()));
        }
    }
}

/// Carries calls out together, and answers each.
async fn answer(database: Arc<Database>, requests: Vec<Request>, held_up: HeldUp) {
    let (mut members, mut replies) = (Vec::new(), Vec::new());
    for request in requests {
        replies.push((request.members.len(), request.reply));
        members.extend(request.members);
    }
    let answers = commit_all(&database, &members).await;
    let mut answered = members.into_iter().zip(answers);
    for (count, reply) in replies {
        let (members, answers): (Vec<Member>, Vec<Option<Answer>>) = answered.by_ref().take(count).unzip();
        if answers.iter().all(Option::is_some) {
            // Nobody waits for the answer any more: what is committed is committed.
            let _ = reply.send(answers.into_iter().flatten().collect());
        } else {
            held_up.go_on(Arc::clone(&database), members, answers, reply);
        }
    }
}

/// Commits members in as few transactions as their size allows, commits of one run one after the other. No answer is there
/// for those that a lock holds up, and for those that come after them.
async fn commit_all(database: &Database, members: &[Member]) -> Vec<Option<Answer>> {
    let mut answers = Vec::with_capacity(members.len());
    let mut held_up: HashSet<RunId> = HashSet::new();
    let mut rest = members;
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(batch_len(rest));
        rest = later;
        let mut of_batch: Vec<Option<Answer>> = batch.iter().map(|_| None).collect();
        for wave in waves(batch) {
            let free = wave.into_iter().filter(|(_, member)| !held_up.contains(&member.run_id));
            let (places, wave): (Vec<usize>, Vec<&Member>) = free.unzip();
            let answers = commit_wave(database, &wave).await;
            for ((place, member), answer) in places.into_iter().zip(wave).zip(answers) {
                if answer.is_none() {
                    held_up.insert(member.run_id);
                }
                if let Some(slot) = of_batch.get_mut(place) {
                    *slot = answer;
                }
            }
        }
        answers.append(&mut of_batch);
    }
    answers
}

/// Commits members of different runs. When they fail as a whole, each of them is tried alone, so that only what is bad fails.
/// No answer is there for those that a lock holds up.
async fn commit_wave(database: &Database, members: &[&Member]) -> Vec<Option<Answer>> {
    match commit_together(database, members).await {
        Ok(answers) => answers.into_iter().map(Some).collect(),
        Err(undo) if undo.is_locked() => commit_unlocked(database, members).await,
        Err(undo) if members.len() > 1 && !undo.strikes_all() => {
            let mut answers = Vec::with_capacity(members.len());
            for member in members {
                answers.push(commit_alone(database, member).await.ok());
            }
            answers
        }
        Err(undo) => members.iter().map(|member| Some(Err(undo.to_error(member.run_id)))).collect(),
    }
}

/// Commits those of a wave whose runs nobody else has locked.
async fn commit_unlocked(database: &Database, members: &[&Member]) -> Vec<Option<Answer>> {
    let mut answers: Vec<Option<Answer>> = members.iter().map(|_| None).collect();
    let locked = if members.len() > 1 { wave::locked(database.writer(), members).await } else { Ok(HashSet::new()) };
    // Where no run is locked, it is a key or a table that is, and nobody knows whom it holds up.
    let Some(locked) = locked.ok().filter(|locked| !locked.is_empty()) else { return answers };
    let unlocked = answers.iter_mut().zip(members).filter(|(_, member)| !locked.contains(&member.run_id));
    let (slots, free): (Vec<&mut Option<Answer>>, Vec<&Member>) = unlocked.unzip();
    if let Ok(written) = commit_together(database, &free).await {
        slots.into_iter().zip(written).for_each(|(slot, answer)| *slot = Some(answer));
    }
    answers
}

/// Commits one member. An error means that a lock holds it up.
pub(crate) async fn commit_alone(database: &Database, member: &Member) -> Result<Answer, Undo> {
    match commit_together(database, &[member]).await {
        Ok(mut answers) => Ok(answers.pop().unwrap_or(Ok(CommitOutcome::Conflict))),
        Err(undo) if undo.is_locked() => Err(undo),
        Err(undo) => Ok(Err(undo.to_error(member.run_id))),
    }
}

fn batch_len(members: &[Member]) -> usize {
    let mut weight = 0;
    let fits = members.iter().take(MAX_MEMBERS).take_while(|member| {
        weight += member.weight();
        weight <= MAX_WEIGHT
    });
    fits.count().max(1)
}

/// One transaction for all that hold their claims. An error means that nothing was written.
async fn commit_together(database: &Database, members: &[&Member]) -> Result<Vec<Answer>, Undo> {
    let mut answers: Vec<Answer> = members.iter().map(|_| Ok(CommitOutcome::Fenced)).collect();
    let mut left: Vec<(usize, &Member)> = members.iter().copied().enumerate().collect();
    let mut unsettled = 0;
    while !left.is_empty() {
        let wave: Vec<&Member> = left.iter().map(|(_, member)| *member).collect();
        let fenced = match transaction(database, &wave).await {
            Ok(written) => {
                for ((place, _), answer) in left.into_iter().zip(written) {
                    if let Some(slot) = answers.get_mut(place) {
                        *slot = answer;
                    }
                }
                break;
            }
            Err(Undo::Fenced(fenced)) => fenced,
            Err(Undo::Unsettled) if unsettled < UNSETTLED => {
                unsettled += 1;
                wave::lost(database.writer(), &wave).await?
            }
            Err(other) => return Err(other),
        };
        let mut place = 0;
        left.retain(|_| {
            place += 1;
            !fenced.contains(&(place - 1))
        });
    }
    let written = members.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Ok(CommitOutcome::Committed)));
    database.remember_definitions(written.filter_map(|(member, _)| Some(member.definition.as_ref()?.0)));
    Ok(answers)
}

/// Writes a wave and commits it: on Postgres one statement does both.
async fn transaction(database: &Database, members: &[&Member]) -> Result<Vec<Answer>, Undo> {
    let known = database.known_definitions();
    if !database.is_sqlite() {
        return match wave::write(database.writer(), database.clock(), &known, members, Within::Own).await {
            Ok(answers) => Ok(answers),
            // Whether it was carried out, nobody knows.
            Err(Undo::Database(error)) if Fault::of(&error) == Fault::Connection => {
                Ok(members.iter().map(|_| Err(commit_failed(error.clone()))).collect())
            }
            Err(undo) => Err(undo),
        };
    }
    let transaction = database.begin().await.map_err(Undo::NotBegun)?;
    match apply(&transaction, database.clock(), &known, members).await {
        Ok(answers) => match transaction.commit().await {
            Ok(()) => Ok(answers),
            Err(error) => commit_refused(error, answers),
        },
        Err(undo) => {
            // Dropped or not, a transaction that was not committed is rolled back.
            let _ = transaction.rollback().await;
            Err(undo)
        }
    }
}

/// A COMMIT that the database refused wrote nothing; one whose answer was lost may have.
fn commit_refused(error: DbErr, answers: Vec<Answer>) -> Result<Vec<Answer>, Undo> {
    if Fault::of(&error) != Fault::Connection {
        return Err(Undo::Database(error));
    }
    let answer = |answer| match answer {
        Ok(CommitOutcome::Committed) => Err(commit_failed(error.clone())),
        other => other,
    };
    Ok(answers.into_iter().map(answer).collect())
}
