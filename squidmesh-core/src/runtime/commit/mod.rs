//! The commit loop: load, decide, commit, announce; on a conflict, start again. Every change that the runtime makes to
//! an existing run passes through here; `start` begins runs.
//!
//! | file | knows | never knows |
//! | --- | --- | --- |
//! | `mod` | the loop: the store, the engine's decisions, and the order of the parts below | how a part does its work |
//! | `run_cache` | which runs this process works on | what is decided about them |
//! | `write_group` | the snapshot of one run, the decisions that share a commit, and who waits for it | the store |
//! | `turn` | who may load or change a run next | what a run is |
//! | `resolve` | the answers of the store to a commit, and how to look for a lost one | what is decided, and who waits |
//! | `retry` | errors, delays and the time that is left | what is retried |
//! | `announcement` | the events and intents of a commit | how they leave the process |
//!
//! Data passes through them in one direction. A decision joins the write group of its cached run (`Join`). The leader
//! waits for the turn and closes the group into a commit (`ClosedGroup`). `resolve` sends it and returns what became
//! of it (`Resolution`). The members receive that as their `GroupResult`, and the announcement leaves the process. A
//! decision on a run that is not cached, or that cannot share a commit, is made on the stored run, in its turn. None
//! of the files calls back into one above it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

pub(super) mod announcement;
pub(super) mod resolve;
pub(super) mod retry;
pub(crate) mod run_cache;
#[cfg(test)]
mod tests;
pub(super) mod turn;
mod write_group;

use self::announcement::Announcement;
use self::resolve::{AllInDoubt, InDoubt, Resolution};
use self::retry::{RetryBudget, RetryPolicy};
use self::run_cache::CachedRun;
use self::write_group::{ClosedGroup, GroupResult, Join, Leader};
use super::Runtime;
use super::lookup_error::{RunNotFound, UnknownDefinition};
use crate::definition::Fingerprint;
use crate::engine::{Decision, UnitOfWork};
use crate::id::RunId;
use crate::port::{StoreError, StoreSession};
use crate::run::{Run, RunSnapshot};

/// The maximum number of conflicts before a decision fails.
const MAX_CONFLICTS: u32 = 200;

/// The reasons why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecideError<E> {
    /// There is no such run.
    #[error(transparent)]
    NotFound(#[from] RunNotFound),
    /// The version that the run is pinned to is neither registered nor stored.
    #[error(transparent)]
    UnknownDefinition(#[from] UnknownDefinition),
    /// The command does not apply.
    #[error("the command does not apply")]
    Refused(E),
    /// The lease on the claim was lost.
    #[error("the claim on run {0} was lost")]
    Fenced(RunId),
    /// Another run was started under the same key.
    #[error("the key belongs to run {0}")]
    KeyTaken(RunId),
    /// The run kept changing.
    #[error(transparent)]
    Conflict(#[from] RunKeptChanging),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A run kept changing while a call decided about it, and the call gave up after many tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("run {run} kept changing; try again")]
pub struct RunKeptChanging {
    /// The run.
    pub run: RunId,
}

impl<E> DecideError<E> {
    /// Returns the error of the host's call that decided. A lost claim or a taken key means that the run has changed.
    pub(crate) fn into_call_error<C>(self) -> C
    where
        C: From<E> + From<RunNotFound> + From<UnknownDefinition> + From<RunKeptChanging> + From<StoreError>,
    {
        match self {
            DecideError::NotFound(error) => error.into(),
            DecideError::UnknownDefinition(error) => error.into(),
            DecideError::Refused(error) => error.into(),
            DecideError::Fenced(run) | DecideError::KeyTaken(run) => RunKeptChanging { run }.into(),
            DecideError::Conflict(error) => error.into(),
            DecideError::Store(error) => error.into(),
        }
    }
}

impl Runtime {
    /// Decides about a run as it is stored, commits, and then announces.
    pub(crate) async fn decide<T, E>(
        &self,
        run_id: RunId,
        policy: RetryPolicy<'_>,
        decision: impl FnMut(&mut UnitOfWork) -> Result<T, E>,
    ) -> Result<(T, Arc<Run>), DecideError<E>> {
        self.decide_on_stored(&self.run_cache.run(run_id), policy, decision).await
    }

    /// Decides about a cached run, together with concurrent decisions about it, commits, and then announces. Retries
    /// for `retry_for` while the store is unavailable.
    pub(crate) async fn decide_in_group<T, E>(
        self: &Arc<Self>,
        cached: &CachedRun,
        retry_for: Duration,
        mut decision: impl FnMut(&mut UnitOfWork) -> Result<T, E>,
    ) -> Result<(T, Arc<Run>), DecideError<E>> {
        let policy = RetryPolicy::retry_for(retry_for);
        let mut budget = RetryBudget::new(policy);
        let mut conflicts = 0;
        loop {
            let definition = |version: &Fingerprint| Some(self.registry.version(version)?.definition().clone());
            let (value, member) = match cached.join(self.inputs(), self.config.limits(), definition, &mut decision) {
                Join::Leader(value, member, leader) => {
                    member.set_commit(self.clone().commit_group(leader, retry_for).boxed());
                    (value, member)
                }
                Join::Follower(value, member) => (value, member),
                Join::Alone => return self.decide_on_stored(cached, policy, decision).await,
                Join::NotCached => {
                    if let Err(error) = self.load_into_cache(cached).await? {
                        budget.wait(&*self.clock, error).await?;
                    }
                    continue;
                }
            };
            match member.result().await {
                GroupResult::Committed(run) => return Ok((value, run)),
                GroupResult::Fenced => return Err(DecideError::Fenced(cached.id())),
                // Nothing was changed: each retries by itself, and blocks no other decision about the run.
                GroupResult::Failed(error) if error.is_transient() => budget.wait(&*self.clock, error.copy()).await?,
                GroupResult::Failed(error) => return Err(DecideError::Store(error.copy())),
                GroupResult::RetryAlone => return self.decide_on_stored(cached, policy, decision).await,
                GroupResult::Retry => {}
                GroupResult::Conflict => {
                    conflicts += 1;
                    if conflicts >= MAX_CONFLICTS {
                        return Err(RunKeptChanging { run: cached.id() }.into());
                    }
                }
            }
        }
    }

    /// Commits a write group. Any member who waits for the result may poll this, and any of them may go away.
    async fn commit_group(self: Arc<Self>, leader: Leader, retry_for: Duration) -> GroupResult {
        let shared = leader.run().clone();
        let _turn = shared.turn(self.turn_timeout()).await;
        let mut leader = leader; // given up before the turn is
        let Some(ClosedGroup { commit, announcement, is_shared }) = leader.close() else { return GroupResult::Retry };
        let run = Arc::new(commit.run.clone());
        let mut budget = RetryBudget::new(RetryPolicy::retry_for(retry_for));
        let result = match resolve::commit(&*self.store, &*self.clock, commit, &mut budget).await {
            Ok(Resolution::Committed(_)) => {
                self.announce(&announcement);
                GroupResult::Committed(run)
            }
            Ok(Resolution::Fenced) if is_shared => GroupResult::RetryAlone,
            Ok(Resolution::Fenced) => GroupResult::Fenced,
            Ok(Resolution::Conflict | Resolution::InDoubt(_) | Resolution::KeyTaken(_)) => GroupResult::Conflict,
            Err(error) => GroupResult::Failed(Arc::new(error)),
        };
        leader.end(&result);
        result
    }

    /// Loads a run that is not cached; others who need it wait for this.
    async fn load_into_cache<E>(&self, cached: &CachedRun) -> Result<Result<(), StoreError>, DecideError<E>> {
        let _loading = cached.turn_to_load(self.turn_timeout()).await;
        if cached.is_cached() {
            return Ok(Ok(()));
        }
        let _turn = cached.turn(self.turn_timeout()).await;
        match self.store.load(cached.id()).await {
            Ok(found) => {
                cached.insert_if_newer(Arc::new(found.ok_or(RunNotFound { run: cached.id() })?));
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Decides about a run as it is stored, while nobody else in this process commits a change of it.
    async fn decide_on_stored<T, E>(
        &self,
        cached: &CachedRun,
        policy: RetryPolicy<'_>,
        decision: impl FnMut(&mut UnitOfWork) -> Result<T, E>,
    ) -> Result<(T, Arc<Run>), DecideError<E>> {
        let turn = cached.turn(self.turn_timeout()).await;
        let decided = self.decide_in_session(&*self.store, cached.id(), None, policy, decision).await;
        let (value, state, announcement) = decided?;
        let run = Arc::new(state.run.clone());
        cached.replace(state);
        drop(turn);
        self.announce(&announcement);
        Ok((value, run))
    }

    /// Decides about a run and commits, in a session that may be the host's transaction. Announces nothing yet.
    pub(crate) async fn decide_in_session<T, E>(
        &self,
        session: &dyn StoreSession,
        run_id: RunId,
        mut state: Option<RunSnapshot>,
        policy: RetryPolicy<'_>,
        mut decision: impl FnMut(&mut UnitOfWork) -> Result<T, E>,
    ) -> Result<(T, RunSnapshot, Announcement), DecideError<E>> {
        let clock = &*self.clock;
        let mut budget = RetryBudget::new(policy);
        let mut conflicts = 0;
        let mut in_doubt = AllInDoubt::default();
        loop {
            let loaded = match state.take() {
                Some(state) => state,
                None => match session.load(run_id).await {
                    Ok(Some(found)) => found,
                    Ok(None) => return Err(in_doubt.or(RunNotFound { run: run_id }.into())),
                    Err(error) => {
                        in_doubt.wait(clock, &mut budget, error).await?;
                        continue;
                    }
                },
            };
            match in_doubt.find_committed(session, &loaded, policy).await {
                Ok(Some(InDoubt { value, state, announcement, .. })) => return Ok((value, state, announcement)),
                Ok(None) => {}
                Err(error) => {
                    in_doubt.wait(clock, &mut budget, error).await?;
                    continue;
                }
            }
            let definition = match self.definition(session, &loaded.run.fingerprint).await {
                Ok(Some(found)) => found,
                Ok(None) => return Err(in_doubt.or(UnknownDefinition { run: run_id }.into())),
                Err(error) => {
                    in_doubt.wait(clock, &mut budget, error).await?;
                    state = Some(loaded);
                    continue;
                }
            };
            let mut work = UnitOfWork::open(definition, loaded, self.inputs(), self.config.limits());
            let value = match decision(&mut work) {
                Ok(value) => value,
                Err(refusal) => return Err(in_doubt.or(DecideError::Refused(refusal))),
            };
            if !work.is_changed() {
                return Ok((value, work.into_unchanged(), Announcement::default()));
            }
            let Decision { commit, events, state: after } = work.close();
            let announcement = Announcement::of(&commit, events);
            let trail = policy.call().map(|_| commit.audit.clone());
            match (resolve::commit(session, clock, commit, &mut budget).await, trail) {
                (Ok(Resolution::Committed(_)), _) => return Ok((value, after, announcement)),
                (Ok(Resolution::InDoubt(error)), Some(trail)) => {
                    in_doubt.add(InDoubt { trail, value, state: after, announcement, error });
                }
                (Ok(Resolution::Fenced), _) => return Err(DecideError::Fenced(run_id)),
                (Ok(Resolution::KeyTaken(id)), _) => return Err(DecideError::KeyTaken(id)),
                (Ok(Resolution::Conflict | Resolution::InDoubt(_)), _) => {}
                (Err(error), _) => {
                    in_doubt.wait(clock, &mut budget, error).await?;
                    continue;
                }
            }
            conflicts += 1;
            if conflicts >= MAX_CONFLICTS {
                return Err(in_doubt.or(RunKeptChanging { run: run_id }.into()));
            }
        }
    }
}
