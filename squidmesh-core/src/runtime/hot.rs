//! Hot runs: those that this process has work of in hand, each with its state, so that nobody loads what is here already; and
//! rounds, in which what is decided about one run at the same time is committed as one.
//!
//! Siblings that end together would otherwise each load the run, decide, and all but one would conflict, again and again; and each
//! would cost a commit. Here the first to decide opens a round and leads it. While the commit before it is under way, others
//! join: each makes its decision on what those before it made of the run, and waits for the leader's commit. Nothing is
//! put off for the sake of company: a round is closed as soon as it can be committed.
//!
//! This is for speed alone. What keeps processes from overwriting each other is the revision that every commit names. The state
//! that is kept here may be stale, or of a commit that will not succeed: what was decided on it counts once it is committed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use event_listener::{Event, listener};
use futures_util::lock::{Mutex as Turnstile, MutexGuard as Turn};

use super::decide::Announcement;
use crate::engine::{Decision, Limits, Moment, UnitOfWork};
use crate::{Commit, Definition, Fingerprint, Run, RunId, RunState, StoreError};

/// The runs that this process has work of in hand.
#[derive(Default)]
pub(crate) struct HotRuns {
    runs: Mutex<HashMap<RunId, Arc<Place>>>,
}

/// A run that is kept hot for as long as somebody has this.
pub(crate) struct HotRun<'a> {
    runs: &'a HotRuns,
    id: RunId,
    place: Arc<Place>,
}

/// Where those meet who decide about one run.
#[derive(Default)]
pub(super) struct Place {
    table: Mutex<Table>,
    /// Held by whoever loads the run or commits something about it.
    turn: Turnstile<()>,
    /// Held by whoever sees to it that the run is loaded. The others wait for that, and for nobody's commit.
    loading: Turnstile<()>,
}

#[derive(Default)]
struct Table {
    /// The run as far as this process knows, or as it will be when the commit that is under way succeeds. Not known while a
    /// round is open: it is part of that.
    state: Option<RunState>,
    round: Option<Round>,
}

/// Decisions that are committed as one.
struct Round {
    work: UnitOfWork,
    seats: usize,
    end: End,
}

/// How a round ended, for those who sit in it.
#[derive(Clone, Default)]
pub(super) struct End(Arc<Ending>);

#[derive(Default)]
struct Ending {
    verdict: OnceLock<Verdict>,
    told: Event,
}

/// What became of the decisions of a round.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// They are committed, and the run is this now.
    Committed(Arc<Run>),
    /// The run has changed meanwhile.
    Conflict,
    /// The only claim in it is lost.
    Fenced,
    /// One of its claims is lost, and it is not known which: each is to be decided alone.
    Apart,
    /// Nothing was changed; decide again.
    Again,
    /// The store failed.
    Failed(Arc<StoreError>),
}

/// What a decision came to.
pub(super) enum Seat<'a, T> {
    /// It opened a round, which is to be committed.
    Leads(T, Leader<'a>),
    /// It is part of a round that somebody else commits.
    Sits(T, End),
    /// The run is not known here.
    Unknown,
    /// What is known here does not suffice: it is to be decided alone, on the run as it is stored.
    Alone,
}

impl HotRuns {
    /// Keeps a run hot.
    pub(crate) fn run(&self, id: RunId) -> HotRun<'_> {
        HotRun { runs: self, id, place: self.runs().entry(id).or_default().clone() }
    }

    /// The runs that nobody needs to load.
    pub(crate) fn known(&self) -> Vec<RunId> {
        self.runs().iter().filter(|(_, place)| place.table().is_known()).map(|(id, _)| *id).collect()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<RunId, Arc<Place>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HotRun<'_> {
    /// Which run.
    pub(crate) fn id(&self) -> RunId {
        self.id
    }

    /// Waits until nobody loads the run or commits anything about it.
    pub(super) async fn turn(&self) -> Turn<'_, ()> {
        self.place.turn().await
    }

    /// Waits until nobody sees to it that the run is loaded.
    pub(super) async fn loading(&self) -> Turn<'_, ()> {
        self.place.loading.lock().await
    }

    /// A copy of the run as it was committed, if that is known here.
    pub(crate) async fn committed(&self) -> Option<RunState> {
        // Whoever has the turn to commit makes of the run what may not come to be.
        let _turn = self.turn().await;
        self.table().state.clone()
    }

    /// Whether nobody needs to load the run.
    pub(crate) fn is_known(&self) -> bool {
        self.table().is_known()
    }

    /// Gives the state as it was loaded, unless a newer one is known.
    pub(crate) fn offer(&self, state: Arc<RunState>) {
        let mut table = self.table();
        let newer = |known: &RunState| known.run.revision < state.run.revision;
        if table.round.is_none() && table.state.as_ref().is_none_or(newer) {
            table.state = Some(Arc::unwrap_or_clone(state));
        }
    }

    /// Gives the state as it is after a commit beside the rounds: what was decided meanwhile is decided again.
    pub(super) fn settle(&self, state: RunState) {
        let mut table = self.table();
        table.forget();
        table.state = Some(state);
    }

    /// Decides, in the open round or in a new one. `version` finds the definition that a run is pinned to.
    pub(super) fn sit<T, E>(
        &self,
        moment: Moment,
        limits: Limits,
        version: impl FnOnce(&Fingerprint) -> Option<Arc<Definition>>,
        decision: impl FnOnce(&mut UnitOfWork) -> Result<T, E>,
    ) -> Seat<'_, T> {
        let mut table = self.table();
        if let Some(round) = &mut table.round {
            round.work.join(moment);
            return match decision(&mut round.work) {
                Ok(value) => {
                    round.seats += 1;
                    Seat::Sits(value, round.end.clone())
                }
                // Half made, it cannot be told from the rest of the round.
                Err(_) => {
                    table.forget();
                    Seat::Alone
                }
            };
        }
        let Some(state) = table.state.take() else { return Seat::Unknown };
        let Some(definition) = version(&state.run.fingerprint) else {
            table.state = Some(state);
            return Seat::Alone;
        };
        let mut work = UnitOfWork::open(definition, state, moment, limits);
        match decision(&mut work) {
            Ok(value) if work.is_changed() => {
                let end = End::default();
                table.round = Some(Round { work, seats: 1, end: end.clone() });
                Seat::Leads(value, Leader { place: &self.place, end, over: false })
            }
            Ok(_) => {
                table.state = Some(work.into_unchanged());
                Seat::Alone
            }
            Err(_) => Seat::Alone,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.place.table()
    }
}

impl Drop for HotRun<'_> {
    fn drop(&mut self) {
        let mut runs = self.runs.runs();
        // The map and this: nobody can come to hold it without the map, which is locked.
        if Arc::strong_count(&self.place) == 2 {
            runs.remove(&self.id);
        }
    }
}

impl Place {
    /// Waits until nobody loads the run or commits anything about it.
    pub(super) async fn turn(&self) -> Turn<'_, ()> {
        self.turn.lock().await
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn is_known(&self) -> bool {
        self.state.is_some() || self.round.is_some()
    }

    fn forget(&mut self) {
        self.state = None;
        if let Some(round) = self.round.take() {
            round.end.tell(Verdict::Again);
        }
    }
}

/// The one who commits a round. If it goes away before, the others decide again.
pub(super) struct Leader<'a> {
    place: &'a Place,
    end: End,
    over: bool,
}

/// A round that nobody joins any more.
pub(super) struct Closed {
    pub(super) commit: Commit,
    pub(super) announcement: Announcement,
    /// Whether more than one decision is part of it.
    pub(super) shared: bool,
}

impl<'a> Leader<'a> {
    /// Where to wait for the turn to commit.
    pub(super) fn place(&self) -> &'a Place {
        self.place
    }

    /// Closes the round, unless it is over already. Whoever decides from now on does so on what this round makes of the run.
    pub(super) fn close(&mut self) -> Option<Closed> {
        let mut table = self.place.table();
        let Some(round) = table.round.take_if(|round| Arc::ptr_eq(&round.end.0, &self.end.0)) else {
            self.over = true;
            return None;
        };
        let Decision { commit, state, events } = round.work.close();
        table.state = Some(state);
        Some(Closed { announcement: Announcement::of(&commit, events), commit, shared: round.seats > 1 })
    }

    /// Tells the verdict. Without a commit, what is known here is forgotten.
    pub(super) fn end(mut self, verdict: &Verdict) {
        self.over = true;
        if !matches!(verdict, Verdict::Committed(_)) {
            self.place.table().forget();
        }
        self.end.tell(verdict.clone());
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.place.table().forget();
            self.end.tell(Verdict::Again);
        }
    }
}

impl End {
    /// Waits for the verdict.
    pub(super) async fn verdict(&self) -> Verdict {
        loop {
            listener!(self.0.told => told);
            if let Some(verdict) = self.0.verdict.get() {
                return verdict.clone();
            }
            told.await;
        }
    }

    /// The first verdict stands.
    fn tell(&self, verdict: Verdict) {
        if self.0.verdict.set(verdict).is_ok() {
            self.0.told.notify(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::engine::dispatch_steps;
    use crate::testing::sample;
    use crate::{CommitToken, DispatchError, DispatchOptions, InvalidTransition, Job, Timestamp};

    fn run() -> RunId {
        sample::run_id(1)
    }

    fn known(hot: &HotRun<'_>, revision: u64) {
        let run = Run { revision, ..sample::run(1) };
        hot.offer(Arc::new(RunState::new(run, [sample::step("first")])));
    }

    fn decide<'a, T, E>(hot: &'a HotRun<'_>, decision: impl FnOnce(&mut UnitOfWork) -> Result<T, E>) -> Seat<'a, T> {
        let token = CommitToken::from_uuid(uuid::Uuid::from_u128(7));
        let moment = Moment { now: Timestamp::from_millis(1), random: 0.5, token };
        hot.sit(moment, Limits::default(), |_| Some(sample::definition()), decision)
    }

    fn dispatched(work: &mut UnitOfWork) -> Result<u64, DispatchError> {
        work.fence(&sample::lease(run(), "first", sample::lease_token(1)));
        let accept = |jobs: &[Job]| Ok(jobs.iter().map(Job::metadata).collect());
        dispatch_steps(work, &[sample::step_name("first")], &DispatchOptions::new(), &accept)?;
        Ok(work.run().revision)
    }

    fn sit<'a>(hot: &'a HotRun<'_>) -> Seat<'a, u64> {
        decide(hot, dispatched)
    }

    fn revision(hot: &HotRun<'_>) -> Option<u64> {
        hot.committed().now_or_never()?.map(|state| state.run.revision)
    }

    fn verdict(end: &End) -> Option<Verdict> {
        end.verdict().now_or_never()
    }

    #[test]
    fn a_run_is_kept_while_somebody_has_it_and_no_longer() {
        let runs = HotRuns::default();
        let (one, other) = (runs.run(run()), runs.run(run()));
        known(&one, 3);
        drop(one);
        assert_eq!(revision(&other), Some(3));
        assert_eq!(runs.known(), [run()]);
        drop(other);
        assert!(runs.runs().is_empty());
    }

    #[test]
    fn of_two_states_the_newer_one_is_kept() {
        let runs = HotRuns::default();
        let hot = runs.run(run());
        for (offered, kept) in [(3, 3), (2, 3), (4, 4)] {
            known(&hot, offered);
            assert_eq!(revision(&hot), Some(kept));
        }
    }

    #[test]
    fn what_is_decided_before_the_turn_to_commit_is_committed_as_one() {
        let runs = HotRuns::default();
        let hot = runs.run(run());
        assert!(matches!(sit(&hot), Seat::Unknown));
        known(&hot, 3);
        let Seat::Leads(4, mut leader) = sit(&hot) else { panic!("the first one opens a round") };
        let Seat::Sits(4, end) = sit(&hot) else { panic!("the second one joins it") };
        let Some(Closed { commit, shared, .. }) = leader.close() else { panic!("the round is open") };
        assert_eq!((commit.fences.len(), commit.run.revision, shared), (2, 4, true));
        // The next round stands on what this one makes of the run.
        let Seat::Leads(5, mut next) = sit(&hot) else { panic!("the round is closed") };
        assert!(verdict(&end).is_none());
        leader.end(&Verdict::Committed(Arc::new(commit.run)));
        assert!(matches!(verdict(&end), Some(Verdict::Committed(_))));
        let Some(Closed { commit, shared, .. }) = next.close() else { panic!("the round is open") };
        assert_eq!((commit.fences.len(), commit.run.revision, shared), (1, 5, false));
    }

    #[test]
    fn what_is_not_committed_is_not_told_as_the_run() {
        let runs = HotRuns::default();
        let hot = runs.run(run());
        known(&hot, 3);
        let Seat::Leads(_, mut leader) = sit(&hot) else { panic!("the first one opens a round") };
        assert_eq!(revision(&hot), None, "a round is open");
        let turn = leader.place().turn().now_or_never();
        assert!(turn.is_some() && leader.close().is_some());
        assert!(hot.committed().now_or_never().is_none(), "it waits for the commit");
        leader.end(&Verdict::Conflict);
        drop(turn);
        assert_eq!(revision(&hot), None);
    }

    #[test]
    fn when_a_commit_fails_what_was_decided_on_it_is_decided_again() {
        let runs = HotRuns::default();
        let hot = runs.run(run());
        known(&hot, 3);
        let Seat::Leads(_, mut leader) = sit(&hot) else { panic!("the first one opens a round") };
        assert!(leader.close().is_some());
        let Seat::Leads(_, mut next) = sit(&hot) else { panic!("the second one opens another") };
        let Seat::Sits(_, end) = sit(&hot) else { panic!("the third one joins it") };
        leader.end(&Verdict::Conflict);
        assert!(next.close().is_none(), "there is nothing to commit");
        assert!(matches!(verdict(&end), Some(Verdict::Again)));
        assert!(matches!(sit(&hot), Seat::Unknown), "the run is loaded again");
    }

    #[test]
    fn when_a_leader_goes_away_the_others_decide_again() {
        for closed in [false, true] {
            let runs = HotRuns::default();
            let hot = runs.run(run());
            known(&hot, 3);
            let Seat::Leads(_, mut leader) = sit(&hot) else { panic!("the first one opens a round") };
            let Seat::Sits(_, end) = sit(&hot) else { panic!("the second one joins it") };
            assert!(!closed || leader.close().is_some());
            drop(leader);
            assert!(matches!(verdict(&end), Some(Verdict::Again)));
            assert!(matches!(sit(&hot), Seat::Unknown));
        }
    }

    #[test]
    fn a_refusal_spoils_its_round_and_is_decided_alone() {
        let runs = HotRuns::default();
        let hot = runs.run(run());
        known(&hot, 3);
        let Seat::Leads(_, mut leader) = sit(&hot) else { panic!("the first one opens a round") };
        let refused = decide(&hot, |work| dispatched(work).and(Err::<(), _>(DispatchError::InvalidStep(None))));
        assert!(matches!(refused, Seat::Alone));
        assert!(leader.close().is_none(), "half of a decision is in it");
    }

    #[test]
    fn what_changes_nothing_is_decided_alone_on_the_run_as_it_is_stored() {
        let runs = HotRuns::default();
        let hot = runs.run(run());
        known(&hot, 3);
        assert!(matches!(decide(&hot, |_| Ok::<_, InvalidTransition>(())), Seat::Alone));
        assert_eq!(revision(&hot), Some(3), "as it was");
    }
}
