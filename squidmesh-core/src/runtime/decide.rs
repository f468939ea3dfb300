//! Deciding and committing: load, decide, commit; on a conflict, again.
//!
//! Every change of a run passes here. Events and announcements leave only after the commit.

use std::sync::Arc;
use std::time::Duration;

use super::Runtime;
use super::hot::{Closed, HotRun, Leader, Seat, Verdict};
use crate::engine::{Decision, UnitOfWork};
use crate::{
    AuditEvent, Commit, CommitOutcome, Definition, Event, Expected, Fingerprint, Intent, IntentWrite, Run, RunId,
    RunState, StoreError, StoreSession,
};

/// How many times a decision is taken anew because the run changed meanwhile.
const CONFLICTS: u32 = 200;
/// The first wait before a store that is not available is tried again.
const FIRST_WAIT: Duration = Duration::from_millis(25);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long to insist when the store is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Answer the caller at once: it decides.
    Caller,
    /// Keep trying so long: an outcome in hand is worth waiting for.
    Worker(Duration),
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecideError<E> {
    /// There is no such run.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// The version that the run is pinned to is neither registered nor stored.
    #[error("run {0} is pinned to a version of its workflow that is not known")]
    UnknownDefinition(RunId),
    /// The command does not apply.
    #[error("the command does not apply")]
    Refused(E),
    /// The claim was lost.
    #[error("the claim on run {0} was lost")]
    Fenced(RunId),
    /// Another run was started under the same key.
    #[error("the key belongs to run {0}")]
    KeyTaken(RunId),
    /// The run kept changing.
    #[error("run {0} kept changing")]
    Conflict(RunId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a run was not started.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// Another run was started under the same key.
    KeyTaken(RunId),
    /// It is not to be seen, and may yet be carried out: the id is taken then.
    Unanswered(StoreError),
    /// The store failed.
    Store(StoreError),
    /// The store refused it and has no run of this id.
    Conflict,
}

/// What a committed decision leaves to be told.
#[derive(Debug, Default)]
pub(crate) struct Announcement {
    pub(crate) events: Vec<Event>,
    pub(crate) intents: Vec<Intent>,
    pub(crate) stored: Vec<Fingerprint>,
}

impl Announcement {
    pub(super) fn of(commit: &Commit, events: Vec<Event>) -> Self {
        let announced = commit.intents.iter().filter_map(|write| match write {
            IntentWrite::Add(intent) | IntentWrite::Replace(intent) if intent.lease.is_none() => Some(intent.clone()),
            _ => None,
        });
        Announcement {
            intents: announced.collect(),
            events,
            stored: commit.definition.iter().map(|found| *found.fingerprint()).collect(),
        }
    }

    pub(crate) fn extend(&mut self, other: Announcement) {
        self.events.extend(other.events);
        self.intents.extend(other.intents);
        self.stored.extend(other.stored);
    }
}

impl Runtime {
    /// Decides about a run as it is stored, and commits; then tells.
    pub(crate) async fn decide<T, E>(
        &self,
        run_id: RunId,
        persistence: Persistence,
        decision: impl FnMut(&mut UnitOfWork) -> Result<T, E>,
    ) -> Result<(T, Arc<Run>), DecideError<E>> {
        self.decide_alone(&self.hot.run(run_id), persistence, decision).await
    }

    /// Decides about a hot run, together with others who decide about it at the same time, and commits; then tells.
    pub(crate) async fn decide_together<T, E>(
        &self,
        hot: &HotRun<'_>,
        persistence: Persistence,
        mut decision: impl FnMut(&mut UnitOfWork) -> Result<T, E>,
    ) -> Result<(T, Arc<Run>), DecideError<E>> {
        let mut patience = Patience::new(persistence);
        let mut conflicts = 0;
        loop {
            let version = |fingerprint: &Fingerprint| Some(self.registry.version(fingerprint)?.definition().clone());
            let (value, verdict) = match hot.sit(self.moment(), self.config.limits(), version, &mut decision) {
                Seat::Leads(value, leader) => (value, self.lead(leader, &mut patience).await),
                Seat::Sits(value, end) => (value, end.verdict().await),
                Seat::Alone => return self.decide_alone(hot, persistence, decision).await,
                Seat::Unknown => {
                    if let Err(error) = self.load_hot(hot).await? {
                        patience.wait(self, error).await?;
                    }
                    continue;
                }
            };
            match verdict {
                Verdict::Committed(run) => return Ok((value, run)),
                Verdict::Fenced => return Err(DecideError::Fenced(hot.id())),
                Verdict::Failed(error) => return Err(DecideError::Store(error.copy())),
                Verdict::Apart => return self.decide_alone(hot, persistence, decision).await,
                Verdict::Again => {}
                Verdict::Conflict => {
                    conflicts += 1;
                    if conflicts >= CONFLICTS {
                        return Err(DecideError::Conflict(hot.id()));
                    }
                }
            }
        }
    }

    /// Commits a round, and tells everybody in it what became of it.
    async fn lead(&self, mut leader: Leader<'_>, patience: &mut Patience) -> Verdict {
        let place = leader.place();
        let _turn = place.turn().await;
        let Some(Closed { commit, announcement, shared }) = leader.close() else { return Verdict::Again };
        let run = Arc::new(commit.run.clone());
        let verdict = match self.commit_in(&*self.store, commit, patience).await {
            Ok(Settled::Committed(_)) => {
                self.tell(&announcement);
                Verdict::Committed(run)
            }
            Ok(Settled::Fenced) if shared => Verdict::Apart,
            Ok(Settled::Fenced) => Verdict::Fenced,
            Ok(Settled::Conflict | Settled::Unanswered(_) | Settled::KeyTaken(_)) => Verdict::Conflict,
            Ok(Settled::Again) => Verdict::Again,
            Err(error) => Verdict::Failed(Arc::new(error)),
        };
        leader.end(&verdict);
        verdict
    }

    /// Loads a run that nobody here knows; others who need it wait for this.
    async fn load_hot<E>(&self, hot: &HotRun<'_>) -> Result<Result<(), StoreError>, DecideError<E>> {
        let _loading = hot.loading().await;
        if hot.is_known() {
            return Ok(Ok(()));
        }
        let _turn = hot.turn().await;
        match self.store.load(hot.id()).await {
            Ok(found) => {
                hot.offer(Arc::new(found.ok_or(DecideError::NotFound(hot.id()))?));
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Decides about a run as it is stored, while nobody else here commits anything about it.
    async fn decide_alone<T, E>(
        &self,
        hot: &HotRun<'_>,
        persistence: Persistence,
        decision: impl FnMut(&mut UnitOfWork) -> Result<T, E>,
    ) -> Result<(T, Arc<Run>), DecideError<E>> {
        let turn = hot.turn().await;
        let (value, state, announcement) = self.decide_in(&*self.store, hot.id(), None, persistence, decision).await?;
        let run = Arc::new(state.run.clone());
        hot.settle(state);
        drop(turn);
        self.tell(&announcement);
        Ok((value, run))
    }

    /// Tells what was committed.
    pub(crate) fn tell(&self, announcement: &Announcement) {
        for fingerprint in &announcement.stored {
            self.remember_stored(fingerprint);
        }
        self.announce(&announcement.events, &announcement.intents);
    }

    /// Decides about a run and commits, in a session that may be the host's transaction. Nothing is told yet.
    pub(crate) async fn decide_in<T, E>(
        &self,
        session: &dyn StoreSession,
        run_id: RunId,
        mut state: Option<RunState>,
        persistence: Persistence,
        mut decision: impl FnMut(&mut UnitOfWork) -> Result<T, E>,
    ) -> Result<(T, RunState, Announcement), DecideError<E>> {
        let mut patience = Patience::new(persistence);
        let mut conflicts = 0;
        let mut unanswered: Vec<Unanswered<T>> = Vec::new();
        loop {
            let loaded = match state.take() {
                Some(state) => state,
                None => match session.load(run_id).await {
                    Ok(found) => found.ok_or(DecideError::NotFound(run_id))?,
                    Err(error) => {
                        patience.wait(self, error).await.map_err(|error| left_open(&mut unanswered, error))?;
                        continue;
                    }
                },
            };
            if !unanswered.is_empty() {
                match session.history(run_id).await {
                    Ok(history) => {
                        if let Some(place) = unanswered.iter().position(|decided| decided.is_in(&history.audit)) {
                            let Unanswered { value, state, announcement, .. } = unanswered.swap_remove(place);
                            return Ok((value, state, announcement));
                        }
                    }
                    Err(error) => {
                        patience.wait(self, error).await.map_err(|error| left_open(&mut unanswered, error))?;
                        continue;
                    }
                }
            }
            let definition = match self.definition(session, &loaded.run.fingerprint).await {
                Ok(found) => found.ok_or(DecideError::UnknownDefinition(run_id))?,
                Err(error) => {
                    patience.wait(self, error).await.map_err(|error| left_open(&mut unanswered, error))?;
                    state = Some(loaded);
                    continue;
                }
            };
            let mut work = UnitOfWork::open(definition, loaded, self.moment(), self.config.limits());
            let value = match decision(&mut work) {
                Ok(value) => value,
                Err(refusal) => {
                    let next = work.run().revision + 1;
                    return Err(match unanswered.into_iter().find(|decided| decided.state.run.revision == next) {
                        // It may yet be carried out.
                        Some(decided) => DecideError::Store(decided.error),
                        None => DecideError::Refused(refusal),
                    });
                }
            };
            if !work.is_changed() {
                return Ok((value, work.into_unchanged(), Announcement::default()));
            }
            let Decision { commit, events, state: after } = work.close();
            let announcement = Announcement::of(&commit, events);
            let trail = if persistence == Persistence::Caller { commit.audit.clone() } else { Vec::new() };
            let settled = self.commit_in(session, commit, &mut patience).await;
            match settled.map_err(|error| left_open(&mut unanswered, error))? {
                Settled::Committed(_) => return Ok((value, after, announcement)),
                Settled::Unanswered(error) if !trail.is_empty() => {
                    unanswered.push(Unanswered { trail, value, state: after, announcement, error });
                }
                Settled::Fenced => return Err(DecideError::Fenced(run_id)),
                Settled::KeyTaken(id) => return Err(DecideError::KeyTaken(id)),
                Settled::Again => {}
                Settled::Conflict | Settled::Unanswered(_) => {
                    conflicts += 1;
                    if conflicts >= CONFLICTS {
                        return Err(DecideError::Conflict(run_id));
                    }
                }
            }
        }
    }

    /// Commits the start of a run; a start whose answer was lost is found again by its id.
    pub(crate) async fn commit_start(
        &self,
        session: &dyn StoreSession,
        definition: &Arc<Definition>,
        mut work: UnitOfWork,
    ) -> Result<(Run, Announcement), NotStarted> {
        if !self.is_stored(definition.fingerprint()) {
            work.store_definition();
        }
        let Decision { commit, events, state } = work.close();
        let announcement = Announcement::of(&commit, events);
        let settled = self.commit_in(session, commit, &mut Patience::new(Persistence::Caller)).await;
        match settled.map_err(NotStarted::Store)? {
            Settled::Committed(found) => Ok((found.map_or(state.run, |found| *found), announcement)),
            Settled::KeyTaken(id) => Err(NotStarted::KeyTaken(id)),
            Settled::Unanswered(error) => Err(NotStarted::Unanswered(error)),
            Settled::Fenced | Settled::Conflict | Settled::Again => Err(NotStarted::Conflict),
        }
    }

    async fn commit_in(
        &self,
        session: &dyn StoreSession,
        commit: Commit,
        patience: &mut Patience,
    ) -> Result<Settled, StoreError> {
        let (run_id, token, expected) = (commit.run.id, commit.run.token, commit.expected);
        let answer = match session.commit(vec![commit]).await {
            Ok(mut answers) => answers.pop().unwrap_or(Ok(CommitOutcome::Conflict)),
            Err(error) => Err(error),
        };
        match answer {
            Ok(CommitOutcome::Committed) => Ok(Settled::Committed(None)),
            // A fresh id is nobody else's: an earlier try was carried out after all.
            Ok(CommitOutcome::Conflict) if expected == Expected::New => Ok(match session.load(run_id).await? {
                Some(found) => Settled::Committed(Some(Box::new(found.run))),
                None => Settled::Conflict,
            }),
            Ok(CommitOutcome::Conflict) => Ok(Settled::Conflict),
            Ok(CommitOutcome::Fenced) => Ok(Settled::Fenced),
            Ok(CommitOutcome::KeyTaken(id)) => Ok(Settled::KeyTaken(id)),
            Err(error @ StoreError::OutcomeUnknown { .. }) => {
                // The answer was lost, not the commit. The run's token tells whether it was applied.
                let lost = error.copy();
                let mut error = error;
                loop {
                    patience.wait(self, error).await?;
                    match session.load(run_id).await {
                        Ok(Some(found)) if found.run.token == token => return Ok(Settled::Committed(None)),
                        // A fresh id is nobody else's: the run was started, and has gone on since.
                        Ok(Some(found)) if expected == Expected::New => {
                            return Ok(Settled::Committed(Some(Box::new(found.run))));
                        }
                        Ok(_) => return Ok(Settled::Unanswered(lost)),
                        Err(next) => error = next,
                    }
                }
            }
            Err(error) => {
                patience.wait(self, error).await?;
                Ok(Settled::Again)
            }
        }
    }
}

/// What was decided and sent to be committed, and may have been, or may yet be: the run's token is another one, but the run may have
/// gone on since. It must neither be refused to who decided it nor be decided a second time, which could be about the next pause or
/// approval by then.
struct Unanswered<T> {
    trail: Vec<AuditEvent>,
    value: T,
    state: RunState,
    announcement: Announcement,
    error: StoreError,
}

/// Why a decision is given up: as long as an earlier try may yet be carried out, that it may.
fn left_open<T>(unanswered: &mut Vec<Unanswered<T>>, error: StoreError) -> StoreError {
    unanswered.pop().map_or(error, |decided| decided.error)
}

impl<T> Unanswered<T> {
    /// Whether a trail tells that it was committed. What else was given with it is not compared: a database may write its numbers
    /// otherwise.
    fn is_in(&self, trail: &[AuditEvent]) -> bool {
        self.trail.iter().all(|entry| {
            trail.iter().any(|found| {
                (found.revision, found.kind, found.at) == (entry.revision, entry.kind, entry.at)
                    && (&found.step, &found.actor, &found.comment) == (&entry.step, &entry.actor, &entry.comment)
            })
        })
    }
}

/// How a commit ended, once its outcome is known.
enum Settled {
    /// Applied; with the run as it was found, if it has gone on since.
    Committed(Option<Box<Run>>),
    Conflict,
    /// Not to be seen, and not to be ruled out.
    Unanswered(StoreError),
    Fenced,
    KeyTaken(RunId),
    /// Nothing was changed; load and decide again.
    Again,
}

/// What is left of the time to insist.
pub(crate) struct Patience {
    persistence: Persistence,
    waited: Duration,
    next: Duration,
}

impl Patience {
    pub(crate) fn new(persistence: Persistence) -> Self {
        Patience { persistence, waited: Duration::ZERO, next: FIRST_WAIT }
    }

    /// Waits before another try, or gives the error back if it is of no use.
    pub(crate) async fn wait(&mut self, runtime: &Runtime, error: StoreError) -> Result<(), StoreError> {
        let bound = match (&error, self.persistence) {
            // A lost answer is always looked up, a few times at least.
            (StoreError::OutcomeUnknown { .. }, Persistence::Caller) => Duration::from_secs(5),
            (StoreError::OutcomeUnknown { .. } | StoreError::Unavailable { .. }, Persistence::Worker(bound)) => bound,
            _ => return Err(error),
        };
        if self.waited >= bound {
            return Err(error);
        }
        runtime.clock.sleep(self.next).await;
        self.waited += self.next;
        self.next = (self.next * 2).min(LONGEST_WAIT);
        Ok(())
    }
}
