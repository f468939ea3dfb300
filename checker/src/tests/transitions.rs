//! What is found in single commits, as they are applied.

use super::*;
use squidmesh_core::run::FailureKind;

/// Returns the rules broken by a change of a run whose intents are held under these tokens.
pub(super) fn judged(
    before: &RunSnapshot,
    holders: &[(IntentKey, LeaseToken)],
    change: impl FnOnce(&mut RunSnapshot, &mut Commit),
) -> Vec<&'static str> {
    let mut after = before.clone();
    after.run.revision += 1;
    let mut commit = Commit::new(after.run.clone(), Precondition::Revision(before.run.revision));
    change(&mut after, &mut commit);
    commit.run = after.run.clone();
    let changed = after.steps.values().filter(|step| before.steps.get(&step.step) != Some(step));
    commit.steps = changed.cloned().map(StepWrite::Update).collect();
    let queue = || (QueueName::default(), Priority::Normal, Timestamp::EPOCH);
    let held = holders.iter().map(|(key, token)| {
        let (queue, priority, at) = queue();
        IntentRecord::new(key.clone(), queue, priority, at, Some(*token))
    });
    let intents: Vec<IntentRecord> = held.collect();
    let change = Change { before: Some(before), after: &after, commit: &commit, intents: &intents, definition: None };
    check_change(&change).into_iter().map(|violation| violation.rule).collect()
}

fn token(number: u8) -> LeaseToken {
    serde_json::from_value(json!(format!("{number:032x}"))).unwrap()
}

/// Returns a run in which a step runs under a claim, and the key of its intent.
fn under_way() -> (RunSnapshot, IntentKey) {
    let (mut evidence, runs) = history();
    let step = step_run(&mut evidence, &runs[0], "book");
    (step.status, step.output, step.sequence, step.finished_at) = (StepStatus::Running, None, None, None);
    step.lease = Some(token(1));
    let mut state = evidence.runs[&runs[0]].state.clone();
    (state.run.status, state.run.finished_at) = (RunStatus::Running, None);
    (state, IntentKey::step(runs[0], name("book")))
}

/// Fails the open attempt of the step in this way.
fn fail(kind: FailureKind) -> impl FnOnce(&mut RunSnapshot, &mut Commit) {
    move |state, commit| {
        let step = state.steps.get_mut(&name("book")).unwrap();
        step.status = StepStatus::Pending;
        step.lease = None;
        let mut attempt = Attempt::begin(name("book"), step.attempt, Timestamp::EPOCH);
        attempt.status = AttemptStatus::Failed;
        attempt.error = Some(Failure::new(kind, "no"));
        commit.attempts.push(attempt);
    }
}

#[test]
fn a_failure_that_comes_from_one_who_lost_the_step_is_found() {
    let (state, key) = under_way();
    assert_eq!(judged(&state, &[(key.clone(), token(1))], fail("handler".into())), [""; 0]);
    assert_eq!(judged(&state, &[(key.clone(), token(2))], fail("handler".into())), [rules::FENCED]);
    assert_eq!(judged(&state, &[], fail("handler".into())), [rules::FENCED]);
}

#[test]
fn an_attempt_declared_lost_under_a_live_worker_is_found() {
    let (state, key) = under_way();
    assert_eq!(judged(&state, &[(key.clone(), token(2))], fail(FailureKind::STALE_RUNNING_STEP)), [""; 0]);
    assert_eq!(judged(&state, &[(key.clone(), token(1))], fail(FailureKind::STALE_RUNNING_STEP)), [rules::FENCED]);
    // Its begin was not acknowledged, and by then the run had failed: it was never executed.
    let mut over = state.clone();
    over.run.status = RunStatus::Failed;
    assert_eq!(judged(&over, &[(key, token(1))], fail(FailureKind::STALE_RUNNING_STEP)), [""; 0]);
}

#[test]
fn a_move_that_the_life_cycle_does_not_have_is_found() {
    let (state, _) = under_way();
    let moved = |from: RunStatus, to: RunStatus| {
        let mut state = state.clone();
        state.run.status = from;
        judged(&state, &[], |after, _| after.run.status = to)
    };
    assert_eq!(moved(RunStatus::Running, RunStatus::Cancelling), [""; 0]);
    for (from, to) in [
        (RunStatus::Completed, RunStatus::Running),
        (RunStatus::Cancelling, RunStatus::Running),
        (RunStatus::Running, RunStatus::Pending),
        (RunStatus::Failed, RunStatus::Completed),
    ] {
        assert_eq!(moved(from, to), [rules::TRANSITIONS], "{from} to {to}");
    }
}

/// Returns a failed run with a step being compensated under a claim, and the key of its intent.
fn compensating() -> (RunSnapshot, IntentKey) {
    let (mut evidence, runs) = history();
    let callback = callback(&mut evidence, &runs[1], "pack");
    (callback.status, callback.output, callback.finished_at) = (CompensationStatus::Running, None, None);
    callback.lease = Some(token(1));
    (evidence.runs[&runs[1]].state.clone(), IntentKey::compensation(runs[1]))
}

fn recorded(
    change: impl FnOnce(&mut squidmesh_core::run::CompensationRun),
) -> impl FnOnce(&mut RunSnapshot, &mut Commit) {
    move |state, _| change(state.steps.get_mut(&name("pack")).unwrap().compensation.as_mut().unwrap())
}

#[test]
fn a_compensation_that_is_recorded_by_one_who_lost_it_is_found() {
    let (state, key) = compensating();
    let failed = || {
        recorded(|callback| {
            (callback.status, callback.failures) = (CompensationStatus::Failed, 1);
            (callback.finished_at, callback.error) = (Some(Timestamp::EPOCH), Some(Failure::new("handler", "no")));
        })
    };
    assert_eq!(judged(&state, &[(key.clone(), token(1))], failed()), [""; 0]);
    assert_eq!(judged(&state, &[(key, token(2))], failed()), [rules::FENCED]);
}

#[test]
fn a_compensation_taken_over_without_being_counted_is_found() {
    let (state, key) = compensating();
    let taken = |crashes| {
        recorded(move |callback| {
            (callback.attempt, callback.crashes, callback.lease) = (2, crashes, Some(token(2)));
        })
    };
    assert_eq!(judged(&state, &[(key.clone(), token(2))], taken(1)), [""; 0]);
    assert_eq!(judged(&state, &[(key, token(2))], taken(0)), [rules::CALLBACKS]);
}

#[test]
fn a_failure_of_a_compensation_that_is_not_counted_is_found() {
    let (state, key) = compensating();
    let reschedule = recorded(|callback| {
        callback.status = CompensationStatus::Pending;
        callback.error = Some(Failure::new("handler", "no"));
    });
    let found = judged(&state, &[(key, token(1))], reschedule);
    assert!(found.iter().all(|rule| *rule == rules::CALLBACKS) && !found.is_empty(), "{found:?}");
}

#[test]
fn the_product_has_the_life_cycle_that_is_promised() {
    for from in RunStatus::ALL {
        for to in RunStatus::ALL {
            let promised = life_cycle::transitions(from).contains(&to);
            assert_eq!(from.transition(to).is_ok(), promised, "{from} to {to}");
        }
        assert_eq!(
            (from.is_terminal(), from.may_schedule()),
            (life_cycle::is_over(from), life_cycle::may_schedule(from))
        );
    }
}

#[test]
fn the_product_waits_as_long_as_is_promised() {
    let shortest = |failures| back_off::shortest(&Retry::exponential(9, ms(200)..secs(1)), failures);
    assert_eq!([1, 2, 3, 4, 90].map(shortest), [ms(200), ms(400), ms(800), secs(1), secs(1)]);
    for (min, max) in [(0, 0), (0, 50), (1, 1), (3, 1_000), (250, 60_000), (1, 1 << 50)] {
        for failures in [1, 2, 3, 4, 7, 31, 60, 90] {
            let retry = Retry::exponential(100, ms(min)..ms(max));
            assert_eq!(retry.delay(failures, 0.7), back_off::shortest(&retry, failures), "{min}, {max}, {failures}");
            let retry = retry.jitter(true);
            assert!(retry.delay(failures, 0.0) >= back_off::shortest(&retry, failures), "{min}, {max}, {failures}");
        }
    }
}
