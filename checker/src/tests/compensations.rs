//! What the rules find about compensations.

use super::*;

#[test]
fn compensation_in_the_order_of_completion_is_found() {
    broken("backwards", |evidence, _| {
        let places: Vec<usize> = (0..evidence.effects.len())
            .filter(|place| evidence.effects[*place].kind == EffectKind::Compensation)
            .collect();
        evidence.effects.swap(places[0], places[1]);
    });
}

#[test]
fn compensation_after_it_was_recorded_is_found() {
    broken("runs backwards", |evidence, _| {
        let mut again = evidence.effects.iter().find(|effect| effect.kind == EffectKind::Compensation).unwrap().clone();
        again.attempt += 1;
        evidence.effects.push(again);
    });
}

/// Records the compensation of `pack` as observed: a first attempt that ended in this way, and a second attempt
/// `after` seconds later.
fn tried_again(evidence: &mut Evidence, runs: &[RunId; 3], end: End, after: u64) {
    let (begin, wanted) = (Timestamp::EPOCH, (runs[1], name("pack"), EffectKind::Compensation));
    let effect = evidence.effects.iter().position(|it| (it.run_id, it.step.clone(), it.kind) == wanted).unwrap();
    evidence.succeeded.insert(effect);
    let second =
        Try { attempt: 2, began: begin.after(secs(after)), ended: Some((begin.after(secs(60)), End::Completed)) };
    let tries = vec![Try { attempt: 1, began: begin, ended: Some((begin, end)) }, second];
    evidence.times.callbacks.insert((runs[1], name("pack")), tries);
    callback(evidence, &runs[1], "pack").attempt = 2;
    let mut again = evidence.effects[effect].clone();
    again.attempt = 2;
    evidence.effects.push(again);
    let number = json!({ "effect": evidence.effects.len() - 1 });
    callback(evidence, &runs[1], "pack").output = Some(number);
    // The second attempt follows the first, and no other compensation comes between them.
    let mut order = vec![name("pick"), name("pack")];
    order.sort_by_key(|step| std::cmp::Reverse(evidence.runs[&runs[1]].state.steps[step].sequence));
    evidence.times.compensated.insert(runs[1], order);
}

#[test]
fn a_compensation_without_lease_may_repeat_after_success() {
    let (mut evidence, runs) = history();
    tried_again(&mut evidence, &runs, End::Lost, 0);
    assert_eq!(check_at_rest(&evidence), []);
}

#[test]
fn a_compensation_that_succeeded_and_is_repeated_is_found() {
    broken("repeated only if", |evidence, runs| tried_again(evidence, runs, End::Completed, 30));
    broken("repeated only if", |evidence, runs| tried_again(evidence, runs, End::Interrupted, 30));
    broken("repeated only if", |evidence, runs| {
        tried_again(evidence, runs, End::Failed("handler".into()), 30);
        callback(evidence, &runs[1], "pack").failures = 1;
    });
}

#[test]
fn a_compensation_repeated_while_it_runs_is_found() {
    broken("repeated only if", |evidence, runs| {
        tried_again(evidence, runs, End::Lost, 30);
        evidence.times.callbacks.get_mut(&(runs[1], name("pack"))).unwrap()[0].ended = None;
    });
}

#[test]
fn a_compensation_that_is_repeated_before_its_time_is_found() {
    broken("repeated only if", |evidence, runs| {
        tried_again(evidence, runs, End::Failed("handler".into()), 6);
        evidence.succeeded.clear();
        callback(evidence, &runs[1], "pack").failures = 1;
    });
    // Without observed times, a duration shorter than the delays still shows it.
    broken("repeated only if", |evidence, runs| {
        let callback = callback(evidence, &runs[1], "pack");
        (callback.attempt, callback.failures) = (2, 1);
        callback.finished_at = Some(callback.started_at.after(secs(6)));
    });
}

#[test]
fn a_compensation_that_is_tried_too_often_is_found() {
    broken("repeated only if", |evidence, runs| {
        let callback = callback(evidence, &runs[1], "pack");
        (callback.attempt, callback.failures) = (4, 3);
        callback.finished_at = Some(callback.started_at.after(secs(60)));
    });
    broken("repeated only if", |evidence, runs| {
        let callback = callback(evidence, &runs[1], "pack");
        (callback.attempt, callback.crashes) = (5, 4);
    });
}

#[test]
fn a_failure_of_a_compensation_without_a_try_is_found() {
    broken("repeated only if", |evidence, runs| callback(evidence, &runs[1], "pack").crashes = 1);
}
