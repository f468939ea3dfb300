//! Commits in as few transactions as their number and size allow.
//!
//! A commit that fails, or is blocked by a lock, does not affect the others of its batch.

use std::collections::HashSet;

use sea_orm::DbErr;
use squidmesh_core::RunId;
use squidmesh_core::port::CommitOutcome;

use super::abort::{Abort, Answer, MAX_RETRIES};
use super::batch::batches;
use super::encoded_commit::EncodedCommit;
use super::postgres_batch::{self, Within};
use super::sqlite_batch;
use crate::database::Database;
use crate::error::{Fault, commit_failed};

/// The maximum number of commits in one transaction.
pub(super) const MAX_COMMITS: usize = 128;
/// The maximum number of rows (estimated) in one transaction. A single commit may be larger.
const MAX_WEIGHT: usize = 8_192;

/// Writes commits in as few transactions as their size allows, the commits of one run one after another. Commits
/// that are blocked by a lock, and those of the same run that follow them, get no answer.
pub(super) async fn commit_all(database: &Database, commits: &[EncodedCommit]) -> Vec<Option<Answer>> {
    let mut answers = Vec::with_capacity(commits.len());
    let mut locked: HashSet<RunId> = HashSet::new();
    let mut rest = commits;
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(chunk_len(rest));
        rest = later;
        let mut of_chunk: Vec<Option<Answer>> = chunk.iter().map(|_| None).collect();
        for batch in batches(chunk) {
            let free = batch.into_iter().filter(|(_, commit)| !locked.contains(&commit.run_id));
            let (indexes, batch): (Vec<usize>, Vec<&EncodedCommit>) = free.unzip();
            let answers = commit_batch(database, &batch).await;
            for ((index, commit), answer) in indexes.into_iter().zip(batch).zip(answers) {
                if answer.is_none() {
                    locked.insert(commit.run_id);
                }
                if let Some(slot) = of_chunk.get_mut(index) {
                    *slot = answer;
                }
            }
        }
        answers.append(&mut of_chunk);
    }
    answers
}

/// Writes commits of different runs. If the transaction fails as a whole, each commit is retried alone, so that
/// only the failing one fails. Commits that are blocked by a lock get no answer.
async fn commit_batch(database: &Database, commits: &[&EncodedCommit]) -> Vec<Option<Answer>> {
    match commit_together(database, commits).await {
        Ok(answers) => answers.into_iter().map(Some).collect(),
        Err(abort) if abort.is_locked() => commit_unlocked(database, commits).await,
        Err(abort) if commits.len() > 1 && !abort.affects_all() => {
            let mut answers = Vec::with_capacity(commits.len());
            for commit in commits {
                answers.push(commit_alone(database, commit).await.ok());
            }
            answers
        }
        Err(abort) => commits.iter().map(|commit| Some(Err(abort.to_error(commit.run_id)))).collect(),
    }
}

/// Writes the commits of a batch whose runs are not locked by another transaction.
async fn commit_unlocked(database: &Database, commits: &[&EncodedCommit]) -> Vec<Option<Answer>> {
    let mut answers: Vec<Option<Answer>> = commits.iter().map(|_| None).collect();
    let locked =
        if commits.len() > 1 { postgres_batch::locked(database.writer(), commits).await } else { Ok(HashSet::new()) };
    // If no run is locked, a key or a table is, and which commits it blocks is unknown.
    let Some(locked) = locked.ok().filter(|locked| !locked.is_empty()) else { return answers };
    let unlocked = answers.iter_mut().zip(commits).filter(|(_, commit)| !locked.contains(&commit.run_id));
    let (slots, free): (Vec<&mut Option<Answer>>, Vec<&EncodedCommit>) = unlocked.unzip();
    if let Ok(written) = commit_together(database, &free).await {
        slots.into_iter().zip(written).for_each(|(slot, answer)| *slot = Some(answer));
    }
    answers
}

/// Writes one commit. An error means that it is blocked by a lock.
pub(crate) async fn commit_alone(database: &Database, commit: &EncodedCommit) -> Result<Answer, Abort> {
    match commit_together(database, &[commit]).await {
        Ok(mut answers) => Ok(answers.pop().unwrap_or(Ok(CommitOutcome::Conflict))),
        Err(abort) if abort.is_locked() => Err(abort),
        Err(abort) => Ok(Err(abort.to_error(commit.run_id))),
    }
}

fn chunk_len(commits: &[EncodedCommit]) -> usize {
    let mut weight = 0;
    let fits = commits.iter().take(MAX_COMMITS).take_while(|commit| {
        weight += commit.weight();
        weight <= MAX_WEIGHT
    });
    fits.count().max(1)
}

/// Writes all commits that still hold their claims, in one transaction. An error means that nothing was written.
async fn commit_together(database: &Database, commits: &[&EncodedCommit]) -> Result<Vec<Answer>, Abort> {
    let mut answers: Vec<Answer> = commits.iter().map(|_| Ok(CommitOutcome::Fenced)).collect();
    let mut left: Vec<(usize, &EncodedCommit)> = commits.iter().copied().enumerate().collect();
    let mut retries = 0;
    while !left.is_empty() {
        let batch: Vec<&EncodedCommit> = left.iter().map(|(_, commit)| *commit).collect();
        let fenced = match transaction(database, &batch).await {
            Ok(written) => {
                for ((index, _), answer) in left.into_iter().zip(written) {
                    if let Some(slot) = answers.get_mut(index) {
                        *slot = answer;
                    }
                }
                break;
            }
            Err(Abort::Fenced(fenced)) => fenced,
            Err(Abort::Retry) if retries < MAX_RETRIES => {
                retries += 1;
                database.forget_definitions();
                postgres_batch::lost_claims(database.writer(), &batch).await?
            }
            Err(other) => return Err(other),
        };
        let mut indexes = 0..;
        left.retain(|_| indexes.next().is_some_and(|index| !fenced.contains(&index)));
    }
    let written = commits.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Ok(CommitOutcome::Committed)));
    database.remember_definitions(written.filter_map(|(commit, _)| commit.version().copied()));
    Ok(answers)
}

/// Writes a batch and commits it; on Postgres, one statement does both.
async fn transaction(database: &Database, commits: &[&EncodedCommit]) -> Result<Vec<Answer>, Abort> {
    if !database.is_sqlite() {
        let known = database.known_definitions();
        return match postgres_batch::write(database.writer(), &database.clock, &known, commits, Within::Own).await {
            Ok(answers) => Ok(answers),
            // Whether it was executed is unknown.
            Err(Abort::Database(error)) if Fault::of(&error) == Fault::Connection => {
                Ok(commits.iter().map(|_| Err(commit_failed(error.clone()))).collect())
            }
            Err(abort) => Err(abort),
        };
    }
    let transaction = database.begin().await.map_err(Abort::NotBegun)?;
    match sqlite_batch::write(&transaction, &database.clock, commits).await {
        Ok(answers) => match transaction.commit().await {
            Ok(()) => Ok(answers),
            Err(error) => commit_refused(error, answers),
        },
        Err(abort) => {
            // The result does not matter: a transaction that is dropped is rolled back.
            let _ = transaction.rollback().await;
            Err(abort)
        }
    }
}

/// Maps the error of a COMMIT: one that the database rejected wrote nothing; one whose answer was lost may have
/// been applied.
fn commit_refused(error: DbErr, answers: Vec<Answer>) -> Result<Vec<Answer>, Abort> {
    if Fault::of(&error) != Fault::Connection {
        return Err(Abort::Database(error));
    }
    let answer = |answer| match answer {
        Ok(CommitOutcome::Committed) => Err(commit_failed(error.clone())),
        other => other,
    };
    Ok(answers.into_iter().map(answer).collect())
}
