//! Committing, and resolving a commit whose answer was lost: it may have been applied, and may yet be.
//!
//! The run is read again. The token of its last commit decides most cases; a start is recognized by its fresh id.
//! A decision that neither shows is *in doubt*. It must neither be refused to its caller nor made a second time,
//! which could then concern the next pause or approval. So it is looked for in the audit trail; and if neither that
//! nor the run's revision shows what became of it, the call ends with [`StoreError::OutcomeUnknown`], regardless of
//! what the last try returned.
//!
//! Knows the session and the retry budget. Never knows what is decided, nor who waits for it.

use super::announcement::Announcement;
use super::retry::{RetryBudget, RetryPolicy};
use crate::cage::Caged;
use crate::id::RunId;
use crate::port::{Clock, Commit, CommitOutcome, CommitToken, Precondition, StoreError, StoreSession};
use crate::run::{AuditEvent, Run, RunSnapshot};

/// The result of a commit, as far as it can be known.
pub(in crate::runtime) enum Resolution {
    /// Applied; with the run as it was found, if it has progressed since.
    Committed(Option<Box<Run>>),
    Conflict,
    /// The commit cannot be found, and cannot be ruled out.
    InDoubt(StoreError),
    Fenced,
    KeyTaken(RunId),
}

/// Commits, and looks for the commit if its answer is lost.
///
/// # Errors
/// [`StoreError::OutcomeUnknown`] if the run could not be loaded again in time; otherwise nothing was changed.
pub(in crate::runtime) async fn commit(
    session: &dyn StoreSession,
    clock: &dyn Clock,
    commit: Commit,
    budget: &mut RetryBudget<'_>,
) -> Result<Resolution, StoreError> {
    let sent = Sent { run: commit.run.id, token: commit.run.token, precondition: commit.precondition };
    let policy = budget.policy();
    policy.record_sent();
    let resolution = match answer(session, commit).await {
        Ok(CommitOutcome::Committed) => Resolution::Committed(None),
        Ok(CommitOutcome::Conflict) if sent.precondition == Precondition::Absent => {
            // Nobody else uses a fresh id: an earlier try was applied after all.
            let source = "the run's fresh id is taken: an earlier try was applied".into();
            match look_up(session, clock, &sent, StoreError::OutcomeUnknown { source }, budget, Look::AtOnce).await? {
                Resolution::InDoubt(_) => Resolution::Conflict,
                found => found,
            }
        }
        Ok(CommitOutcome::Conflict) => Resolution::Conflict,
        Ok(CommitOutcome::Fenced) => Resolution::Fenced,
        Ok(CommitOutcome::KeyTaken(id)) => Resolution::KeyTaken(id),
        Err(lost @ StoreError::OutcomeUnknown { .. }) => {
            look_up(session, clock, &sent, lost, budget, Look::Later).await?
        }
        Err(error) => {
            policy.record_answer();
            return Err(error);
        }
    };
    if !matches!(resolution, Resolution::InDoubt(_)) {
        policy.record_answer();
    }
    Ok(resolution)
}

/// When to check first for a commit whose answer was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The commit is known to be over.
    AtOnce,
    /// The commit may still be in progress.
    Later,
}

/// A commit that was sent.
struct Sent {
    run: RunId,
    token: CommitToken,
    precondition: Precondition,
}

/// Returns the answer to one commit. A store that panics may have applied it.
async fn answer(session: &dyn StoreSession, commit: Commit) -> Result<CommitOutcome, StoreError> {
    match Caged::new(session.commit(vec![commit])).await {
        Ok(answers) => answers?.pop().unwrap_or(Ok(CommitOutcome::Conflict)),
        Err(_) => Err(StoreError::OutcomeUnknown { source: "the store panicked while it committed".into() }),
    }
}

/// Resolves a commit whose answer was lost: the run's token shows whether it was applied. Retries for as long as the
/// budget allows, since a database that loses an answer is often unavailable for some time.
async fn look_up(
    session: &dyn StoreSession,
    clock: &dyn Clock,
    sent: &Sent,
    lost: StoreError,
    budget: &mut RetryBudget<'_>,
    mut look: Look,
) -> Result<Resolution, StoreError> {
    if let Some(call) = budget.policy().call() {
        call.record_error(&lost);
    }
    loop {
        if std::mem::replace(&mut look, Look::Later) == Look::Later {
            budget.wait_for_answer(clock, &lost).await?;
        }
        match session.load(sent.run).await {
            Ok(Some(found)) if found.run.token == sent.token => return Ok(Resolution::Committed(None)),
            // Nobody else uses a fresh id: the run was started, and has progressed since.
            Ok(Some(found)) if sent.precondition == Precondition::Absent => {
                return Ok(Resolution::Committed(Some(Box::new(found.run))));
            }
            Ok(_) => return Ok(Resolution::InDoubt(lost)),
            Err(StoreError::Unavailable { .. } | StoreError::OutcomeUnknown { .. }) => {}
            Err(error) => {
                tracing::error!(target: "squidmesh", run_id = %sent.run, %error, "the outcome of a commit cannot be looked up");
                return Err(lost);
            }
        }
    }
}

/// One try of a call whose commit is in doubt.
pub(super) struct InDoubt<T> {
    pub(super) trail: Vec<AuditEvent>,
    pub(super) value: T,
    pub(super) state: RunSnapshot,
    pub(super) announcement: Announcement,
    pub(super) error: StoreError,
}

/// All tries of one call that are in doubt.
pub(super) struct AllInDoubt<T>(Vec<InDoubt<T>>);

impl<T> Default for AllInDoubt<T> {
    fn default() -> Self {
        AllInDoubt(Vec::new())
    }
}

impl<T> AllInDoubt<T> {
    /// Adds a try.
    pub(super) fn add(&mut self, decided: InDoubt<T>) {
        self.0.push(decided);
    }

    /// Returns the try that was committed, if the loaded run and its audit trail show one. Drops the tries that
    /// cannot be committed any more because the run has passed their revision without them.
    pub(super) async fn find_committed(
        &mut self,
        session: &dyn StoreSession,
        loaded: &RunSnapshot,
        policy: RetryPolicy<'_>,
    ) -> Result<Option<InDoubt<T>>, StoreError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let history = session.history(loaded.run.id).await?;
        let is_committed = |decided: &InDoubt<T>| {
            let token = decided.state.run.token;
            match decided.state.signals.iter().any(|signal| signal.id == token) {
                // Two signals may look alike in the trail. A run keeps every one that it has received.
                true => loaded.signals.iter().any(|signal| signal.id == token),
                false => token == loaded.run.token || decided.is_in(&history.audit),
            }
        };
        if let Some(position) = self.0.iter().position(is_committed) {
            return Ok(Some(self.0.swap_remove(position)));
        }
        // Without a trail, the try cannot be distinguished from the commits of others.
        self.0.retain(|decided| {
            let is_open = decided.trail.is_empty() || decided.state.run.revision > loaded.run.revision;
            if !is_open {
                policy.record_answer();
            }
            is_open
        });
        Ok(None)
    }

    /// Returns the error of a call that fails: as long as a try may yet be committed, that its outcome is unknown.
    pub(super) fn or<E: From<StoreError>>(&mut self, error: E) -> E {
        self.0.pop().map_or(error, |decided| decided.error.into())
    }

    /// Waits before another try; as long as an earlier one may yet be committed, up to the timeout of the call.
    pub(super) async fn wait(
        &mut self,
        clock: &dyn Clock,
        budget: &mut RetryBudget<'_>,
        error: StoreError,
    ) -> Result<(), StoreError> {
        match self.0.last() {
            None => budget.wait(clock, error).await,
            Some(decided) if error.is_transient() => budget.wait_for_answer(clock, &decided.error).await,
            Some(decided) => Err(decided.error.copy()),
        }
    }
}

impl<T> InDoubt<T> {
    /// Returns whether a trail shows that the try was committed. Metadata is not compared: a database may write its
    /// numbers differently.
    fn is_in(&self, trail: &[AuditEvent]) -> bool {
        let has = |entry: &AuditEvent| {
            trail.iter().any(|found| {
                (found.revision, found.kind, found.at) == (entry.revision, entry.kind, entry.at)
                    && (&found.step, &found.actor, &found.comment) == (&entry.step, &entry.actor, &entry.comment)
            })
        };
        !self.trail.is_empty() && self.trail.iter().all(has)
    }
}
