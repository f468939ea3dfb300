//! Write groups over cached runs, without the loop: a test closes a group and sets its result.

use std::sync::Mutex;
use std::task::Poll;

use futures_util::future::poll_fn;

use super::run_cache::RunCache;
use super::turn::TurnTimeout;
use super::write_group::{GroupCommit, Member};
use super::*;
use crate::definition::secs;
use crate::dispatch::{DispatchOptions, Job};
use crate::engine::{DecisionInputs, DispatchRefused, Limits, dispatch_steps};
use crate::id::RunId;
use crate::port::CommitToken;
use crate::run::{InvalidTransition, RunSnapshot};
use crate::testing::{ManualClock, sample};
use crate::time::Timestamp;

fn run() -> RunId {
    sample::run_id(1)
}

/// Caches the run in this revision.
fn cache_revision(cached: &CachedRun, revision: u64) {
    let run = Run { revision, ..sample::run(1) };
    cached.insert_if_newer(Arc::new(RunSnapshot::new(run, [sample::step("first")])));
}

/// A test's control over the commit of a group, which waits for a result and for nothing else.
#[derive(Clone, Default)]
struct Control {
    leader: Arc<Mutex<Option<Leader>>>,
    result: Arc<Mutex<Option<GroupResult>>>,
}

impl Control {
    fn commit(&self, leader: Leader) -> GroupCommit {
        *self.leader.lock().unwrap() = Some(leader);
        let Control { leader, result } = self.clone();
        async move {
            let result = poll_fn(|_| result.lock().unwrap().take().map_or(Poll::Pending, Poll::Ready)).await;
            if let Some(leader) = leader.lock().unwrap().take() {
                leader.end(&result);
            }
            result
        }
        .boxed()
    }

    fn close(&self) -> Option<ClosedGroup> {
        self.leader.lock().unwrap().as_mut().expect("a group is open").close()
    }

    fn end(&self, result: GroupResult) {
        *self.result.lock().unwrap() = Some(result);
    }
}

/// Joins or opens a group with a decision, and returns both as [`Join::Follower`].
fn decide<T, E>(
    cached: &CachedRun,
    commit: impl FnOnce(Leader) -> GroupCommit,
    decision: impl FnOnce(&mut UnitOfWork) -> Result<T, E>,
) -> Join<T> {
    let token = CommitToken::from_uuid(uuid::Uuid::from_u128(7));
    let inputs = DecisionInputs { now: Timestamp::from_millis(1), random: 0.5, token };
    let definition = |_: &_| Some(sample::definition());
    match cached.join(inputs, Limits::default(), definition, decision) {
        Join::Leader(value, member, leader) => {
            member.set_commit(commit(leader));
            Join::Follower(value, member)
        }
        other => other,
    }
}

fn dispatched(work: &mut UnitOfWork) -> Result<u64, DispatchRefused> {
    work.fence(&sample::lease(run(), "first", sample::lease_token(1)));
    let accept = |jobs: &[Job]| Ok(jobs.iter().map(Job::metadata).collect());
    dispatch_steps(work, &[sample::step_name("first")], &DispatchOptions::new(), &accept)?;
    Ok(work.run().revision)
}

fn dispatch(cached: &CachedRun, control: &Control) -> Join<u64> {
    decide(cached, |leader| control.commit(leader), dispatched)
}

/// Joins or opens a group that produces this revision.
fn join(cached: &CachedRun, control: &Control, revision: u64) -> Member {
    match dispatch(cached, control) {
        Join::Follower(made, member) if made == revision => member,
        _ => panic!("the run is cached"),
    }
}

fn revision(cached: &CachedRun) -> Option<u64> {
    let clock = ManualClock::default();
    cached.snapshot(TurnTimeout { clock: &clock, after: secs(1) }).now_or_never()?.map(|state| state.run.revision)
}

/// A caller who waits for a result and drops their handle afterwards.
fn waiting(member: Member) -> GroupCommit {
    async move { member.result().await }.boxed()
}

fn result(member: &Member) -> Option<GroupResult> {
    member.result().now_or_never()
}

#[test]
fn decisions_made_before_the_turn_to_commit_are_committed_as_one() {
    let (cache, control, later) = (RunCache::default(), Control::default(), Control::default());
    let cached = cache.run(run());
    assert!(matches!(dispatch(&cached, &control), Join::NotCached));
    cache_revision(&cached, 3);
    let (one, other) = (join(&cached, &control, 4), join(&cached, &control, 4));
    let Some(ClosedGroup { commit, is_shared, .. }) = control.close() else { panic!("the group is open") };
    assert_eq!((commit.fences.len(), commit.run.revision, is_shared), (2, 4, true));
    // The next group is based on the run as this one leaves it.
    let next = join(&cached, &later, 5);
    assert!(result(&one).is_none() && result(&other).is_none() && result(&next).is_none());
    control.end(GroupResult::Committed(Arc::new(commit.run)));
    for member in [&one, &other] {
        assert!(matches!(result(member), Some(GroupResult::Committed(_))));
    }
    let Some(ClosedGroup { commit, is_shared, .. }) = later.close() else { panic!("the group is open") };
    assert_eq!((commit.fences.len(), commit.run.revision, is_shared), (1, 5, false));
}

#[test]
fn members_that_stay_receive_the_result_when_another_leaves() {
    for leaves_first in [true, false] {
        let (cache, control) = (RunCache::default(), Control::default());
        let cached = cache.run(run());
        cache_revision(&cached, 3);
        let mut members = vec![join(&cached, &control, 4), join(&cached, &control, 4)];
        let Some(ClosedGroup { commit, .. }) = control.close() else { panic!("the group is open") };
        // The first one polled polls the commit.
        let mut first = waiting(members.remove(0));
        assert!((&mut first).now_or_never().is_none());
        let mut second = waiting(members.remove(0));
        assert!((&mut second).now_or_never().is_none());
        let stays = if leaves_first {
            drop(first);
            second
        } else {
            drop(second);
            first
        };
        control.end(GroupResult::Committed(Arc::new(commit.run)));
        assert!(matches!(stays.now_or_never(), Some(GroupResult::Committed(_))));
        assert_eq!(revision(&cached), Some(4));
    }
}

#[test]
fn the_snapshot_is_dropped_when_all_members_leave() {
    for closed in [false, true] {
        let (cache, control, later) = (RunCache::default(), Control::default(), Control::default());
        let cached = cache.run(run());
        cache_revision(&cached, 3);
        let member = join(&cached, &control, 4);
        let next = closed.then(|| {
            assert!(control.close().is_some());
            join(&cached, &later, 5)
        });
        drop(member);
        drop(control.leader.lock().unwrap().take()); // a real commit owns it
        assert!(matches!(dispatch(&cached, &control), Join::NotCached), "closed: {closed}");
        if let Some(next) = next {
            assert!(later.close().is_none(), "there is nothing to commit");
            assert!(matches!(result(&next), Some(GroupResult::Retry)));
        }
    }
}

#[test]
fn a_group_that_nobody_waits_for_cannot_be_joined() {
    let (cache, control) = (RunCache::default(), Control::default());
    let cached = cache.run(run());
    cache_revision(&cached, 3);
    drop(join(&cached, &control, 4));
    assert!(matches!(dispatch(&cached, &control), Join::NotCached));
}

#[test]
fn a_commit_that_panics_has_every_member_decide_again() {
    let cache = RunCache::default();
    let cached = cache.run(run());
    cache_revision(&cached, 3);
    let panicking = |leader: Leader| {
        async move {
            let _leader = leader;
            panic!("as it must")
        }
        .boxed()
    };
    let Join::Follower(_, one) = decide(&cached, panicking, dispatched) else { panic!("the run is cached") };
    let other = join(&cached, &Control::default(), 4);
    for member in [one, other] {
        assert!(matches!(result(&member), Some(GroupResult::Retry)));
    }
    assert!(matches!(dispatch(&cached, &Control::default()), Join::NotCached));
}

#[test]
fn a_snapshot_that_is_not_committed_is_not_read() {
    let (cache, control) = (RunCache::default(), Control::default());
    let cached = cache.run(run());
    cache_revision(&cached, 3);
    let member = join(&cached, &control, 4);
    assert_eq!(revision(&cached), None, "a group is open");
    let clock = ManualClock::default();
    let turn = cached.turn(TurnTimeout { clock: &clock, after: secs(1) }).now_or_never();
    assert!(turn.is_some() && control.close().is_some());
    assert_eq!(revision(&cached), None, "it waits for the commit");
    control.end(GroupResult::Conflict);
    assert!(matches!(result(&member), Some(GroupResult::Conflict)));
    drop(turn);
    assert_eq!(revision(&cached), None);
}

#[test]
fn decisions_based_on_a_commit_that_fails_are_made_again() {
    let (cache, control, later) = (RunCache::default(), Control::default(), Control::default());
    let cached = cache.run(run());
    cache_revision(&cached, 3);
    let member = join(&cached, &control, 4);
    assert!(control.close().is_some());
    let (next, joined) = (join(&cached, &later, 5), join(&cached, &later, 5));
    control.end(GroupResult::Conflict);
    assert!(matches!(result(&member), Some(GroupResult::Conflict)));
    assert!(later.close().is_none(), "there is nothing to commit");
    assert!(matches!(result(&next), Some(GroupResult::Retry)));
    assert!(matches!(result(&joined), Some(GroupResult::Retry)));
    assert!(matches!(dispatch(&cached, &control), Join::NotCached), "the run is loaded again");
}

#[test]
fn nothing_is_committed_on_top_of_a_commit_that_has_not_ended() {
    let (cache, control, later) = (RunCache::default(), Control::default(), Control::default());
    let cached = cache.run(run());
    cache_revision(&cached, 3);
    let member = join(&cached, &control, 4);
    assert!(control.close().is_some());
    let next = join(&cached, &later, 5);
    assert!(later.close().is_none(), "the turn was taken, and revision 4 may be another process's");
    later.end(GroupResult::Retry); // as a commit does that has nothing to commit
    assert!(matches!(result(&next), Some(GroupResult::Retry)));
    assert!(matches!(dispatch(&cached, &later), Join::NotCached), "the run is loaded again");
    cache_revision(&cached, 7);
    control.end(GroupResult::Committed(Arc::new(sample::run(1))));
    assert!(matches!(result(&member), Some(GroupResult::Committed(_))));
    assert_eq!(revision(&cached), Some(7), "the late one changes nothing");
}

#[test]
fn a_refusal_discards_its_group_and_is_decided_alone() {
    let (cache, control) = (RunCache::default(), Control::default());
    let cached = cache.run(run());
    cache_revision(&cached, 3);
    let _member = join(&cached, &control, 4);
    let refused = decide(
        &cached,
        |leader| control.commit(leader),
        |work| dispatched(work).and(Err::<(), _>(DispatchRefused::InvalidStep(None))),
    );
    assert!(matches!(refused, Join::Alone));
    assert!(control.close().is_none(), "half of a decision is in it");
}

#[test]
fn a_decision_that_changes_nothing_is_made_on_the_stored_run() {
    let (cache, control) = (RunCache::default(), Control::default());
    let cached = cache.run(run());
    cache_revision(&cached, 3);
    assert!(matches!(
        decide(&cached, |leader| control.commit(leader), |_| Ok::<_, InvalidTransition>(())),
        Join::Alone
    ));
    assert_eq!(revision(&cached), Some(3), "as it was");
}
