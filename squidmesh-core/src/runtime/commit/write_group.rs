//! Write groups: concurrent decisions about one run, committed as one, whichever of their callers stay.
//!
//! Without them, siblings that end together would each load the run and decide, and all but one would conflict, again
//! and again; and each would cost a commit. The first decision opens a group as its *leader*. While the previous
//! commit is in progress, others join as *followers*: each decides on the run as the decisions before it left it, and
//! waits for the commit of all. Nothing is delayed to let others join: a group is closed as soon as it can be
//! committed.
//!
//! The commit of a group is a future that belongs to the group and not to the caller who opened it. A member who
//! waits for the result polls it if no other member does. When that member goes away, another resumes it where it
//! stands, so that a commit that was sent is awaited, every member receives its result, and nobody decides again
//! about what may be committed already. Only when no member waits any more is the commit dropped, and with it the
//! cached snapshot of the run.
//!
//! Knows one run, as a snapshot. Never knows the store: the leader brings the future that commits.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll};

use event_listener::{Event, listener};
use futures_util::future::BoxFuture;

use super::announcement::Announcement;
use super::turn::{Turn, TurnTimeout, Turns};
use crate::cage;
use crate::definition::{Definition, Fingerprint};
use crate::engine::{Decision, DecisionInputs, Limits, UnitOfWork};
use crate::lock::lock;
use crate::port::{Commit, StoreError};
use crate::run::{Run, RunSnapshot};

/// How a decision takes part in a write group.
pub(super) enum Join<T> {
    /// The decision opened a group. The caller sets the group's commit, which owns the [`Leader`].
    Leader(T, Member, Leader),
    /// The decision joined the open group.
    Follower(T, Member),
    /// The run is not cached.
    NotCached,
    /// The cached run does not suffice: decide alone, on the stored run.
    Alone,
}

/// The result of a write group, for all of its decisions.
#[derive(Clone, Debug)]
pub(super) enum GroupResult {
    /// The decisions are committed; this is the run afterwards.
    Committed(Arc<Run>),
    /// The run has changed meanwhile.
    Conflict,
    /// The only claim in the group is lost.
    Fenced,
    /// One of several claims is lost, and it is not known which: each decision is made again alone.
    RetryAlone,
    /// Nothing was changed; decide again.
    Retry,
    /// The store failed.
    Failed(Arc<StoreError>),
}

/// The commit of a write group: waits for the turn, commits, announces.
pub(super) type GroupCommit = BoxFuture<'static, GroupResult>;

/// What the decisions of this process about one run share.
#[derive(Default)]
pub(crate) struct SharedRun {
    state: Mutex<State>,
    /// Held while the run is loaded or a change of it is committed.
    turns: Turns,
    /// Held by the one who has the run loaded. The others wait for it, and not for a commit.
    loads: Turns,
}

#[derive(Default)]
struct State {
    /// The run as far as this process knows it, or as it will be when the commit in progress succeeds. Unknown while
    /// a write group is open: the group holds it.
    snapshot: Option<RunSnapshot>,
    group: Option<WriteGroup>,
    /// The write group whose commit is in progress, so that `snapshot`, and every decision based on it, may never be
    /// committed.
    uncommitted: Option<u64>,
    /// The number of write groups so far.
    groups: u64,
}

impl SharedRun {
    /// Waits until the run is neither being loaded nor being committed.
    pub(super) async fn turn(&self, timeout: TurnTimeout<'_>) -> Turn<'_> {
        self.turns.next(timeout).await
    }

    /// Waits until no other caller is having the run loaded.
    pub(super) async fn turn_to_load(&self, timeout: TurnTimeout<'_>) -> Turn<'_> {
        self.loads.next(timeout).await
    }

    /// Returns whether the run need not be loaded.
    pub(crate) fn is_cached(&self) -> bool {
        let state = lock(&self.state);
        state.snapshot.is_some() || state.group.is_some()
    }

    /// Returns a copy of the committed run, if it is cached.
    pub(crate) async fn snapshot(&self, timeout: TurnTimeout<'_>) -> Option<RunSnapshot> {
        self.read(timeout, RunSnapshot::clone).await
    }

    /// Reads the committed run, if it is cached.
    pub(crate) async fn read<T>(&self, timeout: TurnTimeout<'_>, read: impl FnOnce(&RunSnapshot) -> T) -> Option<T> {
        // While a commit is in progress, the cached snapshot may be one that is never committed.
        let _turn = self.turn(timeout).await;
        let state = lock(&self.state);
        state.snapshot.as_ref().filter(|_| state.uncommitted.is_none()).map(read)
    }

    /// Caches a loaded snapshot, unless a newer one is cached.
    pub(crate) fn insert_if_newer(&self, snapshot: Arc<RunSnapshot>) {
        let mut state = lock(&self.state);
        let is_newer = |cached: &RunSnapshot| cached.run.revision < snapshot.run.revision;
        if state.group.is_none() && state.snapshot.as_ref().is_none_or(is_newer) {
            state.snapshot = Some(Arc::unwrap_or_clone(snapshot));
            state.uncommitted = None;
        }
    }

    /// Caches the snapshot after a commit outside the write groups: decisions made meanwhile are made again.
    pub(super) fn replace(&self, snapshot: RunSnapshot) {
        let mut state = lock(&self.state);
        let discarded = state.clear();
        state.snapshot = Some(snapshot);
        drop(state);
        retry_all(discarded);
    }

    /// Decides, in the open write group or in a new one. `definition` returns the definition that a run is pinned to.
    pub(super) fn join<T, E>(
        self: &Arc<Self>,
        inputs: DecisionInputs,
        limits: Limits,
        definition: impl FnOnce(&Fingerprint) -> Option<Arc<Definition>>,
        decision: impl FnOnce(&mut UnitOfWork) -> Result<T, E>,
    ) -> Join<T> {
        let mut state = lock(&self.state);
        // Taken out while the decision is made: if that panics, nothing half made is left.
        if let Some(mut group) = state.group.take() {
            group.work.join(inputs);
            return match decision(&mut group.work) {
                Ok(value) => {
                    let Some(member) = group.add_member() else { return Join::NotCached };
                    state.group = Some(group);
                    Join::Follower(value, member)
                }
                // A half-made decision cannot be separated from the rest of the group.
                Err(_) => {
                    drop(state);
                    retry_all(group.discard());
                    Join::Alone
                }
            };
        }
        let Some(snapshot) = state.snapshot.take() else { return Join::NotCached };
        let Some(definition) = definition(&snapshot.run.fingerprint) else {
            state.snapshot = Some(snapshot);
            return Join::Alone;
        };
        let mut work = UnitOfWork::open(definition, snapshot, inputs, limits);
        match decision(&mut work) {
            Ok(value) if work.is_changed() => {
                state.groups += 1;
                let number = state.groups;
                let (group, member) = WriteGroup::open(work, number);
                state.group = Some(group);
                Join::Leader(value, member, Leader { run: self.clone(), number, stage: Stage::Open })
            }
            Ok(_) => {
                state.snapshot = Some(work.into_unchanged());
                Join::Alone
            }
            Err(_) => Join::Alone,
        }
    }

    /// Drops the snapshot of a commit that did not succeed, unless the run was loaded since.
    fn discard_commit(&self, number: u64) {
        let mut state = lock(&self.state);
        let discarded = if state.uncommitted == Some(number) { state.clear() } else { None };
        drop(state);
        retry_all(discarded);
    }

    /// Drops a write group, unless another has replaced it.
    fn discard_group(&self, number: u64) {
        let discarded = lock(&self.state).group.take_if(|group| group.number == number).and_then(WriteGroup::discard);
        retry_all(discarded);
    }
}

impl State {
    /// Drops everything cached. Returns the members of the open write group, who must decide again.
    fn clear(&mut self) -> Option<Arc<Members>> {
        self.snapshot = None;
        self.uncommitted = None;
        self.group.take().and_then(WriteGroup::discard)
    }
}

/// Must be called with no state locked: the last to leave a write group drops its commit, which locks the state.
fn retry_all(discarded: Option<Arc<Members>>) {
    if let Some(members) = discarded {
        members.set_result(GroupResult::Retry);
    }
}

/// A write group: decisions that are committed as one.
struct WriteGroup {
    work: UnitOfWork,
    size: usize,
    number: u64,
    /// Alive for as long as any member waits for the result.
    members: Weak<Members>,
}

impl WriteGroup {
    /// Opens a write group with one decision in it.
    fn open(work: UnitOfWork, number: u64) -> (Self, Member) {
        let members = Arc::new(Members::default());
        (WriteGroup { work, size: 1, number, members: Arc::downgrade(&members) }, Member(members))
    }

    /// Adds another decision to the group; `None` if no member waits for the group any more, so that it will not be
    /// committed.
    fn add_member(&mut self) -> Option<Member> {
        let members = self.members.upgrade()?;
        self.size += 1;
        Some(Member(members))
    }

    /// Returns the members who must decide again, if any. They must not be notified while the state of a run is
    /// locked.
    fn discard(self) -> Option<Arc<Members>> {
        self.members.upgrade()
    }
}

/// The handle of a commit to its write group. If it is dropped before the result, the cached snapshot of the run is
/// dropped.
pub(super) struct Leader {
    run: Arc<SharedRun>,
    number: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The group may be joined.
    Open,
    /// The group is being committed.
    Closed,
    /// The group has ended, or another has replaced it.
    Ended,
}

/// A write group that can no longer be joined.
pub(super) struct ClosedGroup {
    pub(super) commit: Commit,
    pub(super) announcement: Announcement,
    /// Whether the group has more than one decision.
    pub(super) is_shared: bool,
}

impl Leader {
    /// Returns the run, where the leader waits for its turn to commit.
    pub(super) fn run(&self) -> &Arc<SharedRun> {
        &self.run
    }

    /// Closes the group, unless it has ended already. Later decisions are based on the run as this group leaves it.
    ///
    /// Drops a group that is based on a commit still in progress: its turn was taken from one who held it for too
    /// long, so that commit may yet fail, while another process creates the revision that it was to create.
    pub(super) fn close(&mut self) -> Option<ClosedGroup> {
        let mut state = lock(&self.run.state);
        let number = self.number;
        let Some(group) = state.group.take_if(|group| group.number == number) else {
            self.stage = Stage::Ended;
            return None;
        };
        if state.uncommitted.is_some() {
            state.clear();
            self.stage = Stage::Ended;
            return None;
        }
        self.stage = Stage::Closed;
        state.uncommitted = Some(number);
        let Decision { commit, state: snapshot, events } = group.work.close();
        state.snapshot = Some(snapshot);
        Some(ClosedGroup { announcement: Announcement::of(&commit, events), commit, is_shared: group.size > 1 })
    }

    /// Ends the group. Unless it was committed, the cached snapshot of the run is dropped.
    pub(super) fn end(mut self, result: &GroupResult) {
        if matches!(result, GroupResult::Committed(_)) {
            self.stage = Stage::Ended;
            lock(&self.run.state).uncommitted.take_if(|number| *number == self.number);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        match self.stage {
            Stage::Open => self.run.discard_group(self.number),
            Stage::Closed => self.run.discard_commit(self.number),
            Stage::Ended => {}
        }
    }
}

/// The handle of one caller who waits for the result of a write group.
pub(super) struct Member(Arc<Members>);

/// What the members of a write group share.
#[derive(Default)]
struct Members {
    result: OnceLock<GroupResult>,
    /// Notified when there is a result, or a commit to resume.
    changed: Event,
    /// The commit, while no member polls it.
    commit: Mutex<Option<GroupCommit>>,
}

impl Member {
    /// Sets the future that commits the group.
    pub(super) fn set_commit(&self, commit: GroupCommit) {
        self.0.release_commit(commit);
    }

    /// Waits for the result, and polls the commit if no other member does.
    pub(super) async fn result(&self) -> GroupResult {
        loop {
            listener!(self.0.changed => changed);
            if let Some(result) = self.0.result.get() {
                return result.clone();
            }
            let idle = lock(&self.0.commit).take();
            if let Some(commit) = idle {
                self.0.set_result(PolledCommit { members: &self.0, commit: Some(commit) }.await);
                continue;
            }
            changed.await;
        }
    }
}

impl Members {
    /// Sets the result; the first one stands.
    fn set_result(&self, result: GroupResult) {
        if self.result.set(result).is_ok() {
            self.changed.notify(usize::MAX);
        }
    }

    /// Leaves the commit to any member.
    fn release_commit(&self, commit: GroupCommit) {
        *lock(&self.commit) = Some(commit);
        self.changed.notify(usize::MAX);
    }
}

/// Polls the commit of a group, and leaves it to the other members when dropped.
struct PolledCommit<'a> {
    members: &'a Members,
    commit: Option<GroupCommit>,
}

impl Future for PolledCommit<'_> {
    type Output = GroupResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<GroupResult> {
        // Out of reach while it is polled: after a panic it is never polled again, and every member decides again.
        let Some(mut commit) = self.commit.take() else { return Poll::Ready(GroupResult::Retry) };
        match cage::call(|| commit.as_mut().poll(context)) {
            Ok(Poll::Ready(result)) => Poll::Ready(result),
            Ok(Poll::Pending) => {
                self.commit = Some(commit);
                Poll::Pending
            }
            Err(_) => {
                tracing::error!(target: "squidmesh", "a commit panicked; its decisions are made again");
                Poll::Ready(GroupResult::Retry)
            }
        }
    }
}

impl Drop for PolledCommit<'_> {
    fn drop(&mut self) {
        if let Some(commit) = self.commit.take() {
            self.members.release_commit(commit);
        }
    }
}
