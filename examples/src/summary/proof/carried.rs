//! Each order is brought to its end by its own runs, and by no others.

use std::collections::BTreeMap;

use squidmesh_core::RunStatus;
use squidmesh_core::run::CompensationStatus;

use crate::summary::{Facts, RunFact};
use crate::tables::orders::{self, State};

/// There is one checkout for each order. It completed, or its order is released and its steps were compensated. There
/// is a fulfilment for each order that is fulfilled; a failed one was resumed.
pub(super) fn every_order_is_carried_to_its_end(facts: &Facts, found: &mut Vec<String>) {
    let mut runs: BTreeMap<&str, Vec<&RunFact>> = BTreeMap::new();
    for run in facts.runs.iter().filter(|run| run.workflow != "settlement") {
        runs.entry(run.order_id.as_deref().unwrap_or_default()).or_default().push(run);
    }
    for order in &facts.orders {
        let runs = runs.remove(order.order_id.as_str()).unwrap_or_default();
        let (checkouts, fulfilments): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.workflow == "checkout");
        if order.state == State::Placed {
            let errors: Vec<_> = checkouts.iter().chain(&fulfilments).filter_map(|run| run.error.as_deref()).collect();
            found.push(format!("{} is neither fulfilled nor released {errors:?}", order.order_id));
            continue;
        }
        match checkouts.as_slice() {
            [checkout] => checked_out(order, checkout, found),
            several => found.push(format!("{} had {} checkouts", order.order_id, several.len())),
        }
        fulfilled(order, &fulfilments, found);
    }
    for (order_id, runs) in runs {
        found.push(format!("{} runs were started for {order_id:?}, which the shop does not know", runs.len()));
    }
}

fn checked_out(order: &orders::Model, checkout: &RunFact, found: &mut Vec<String>) {
    let id = &order.order_id;
    if checkout.id != order.run_id {
        found.push(format!("{id} names run {}, which is not its own", order.run_id));
    }
    match (checkout.status, order.state) {
        (RunStatus::Completed, _) if checkout.compensated.is_empty() => {}
        (RunStatus::Failed, State::Released) => taken_back(id, checkout, found),
        (status, state) => found.push(format!("{id} is {state:?}, but its checkout is {status}: {:?}", checkout.error)),
    }
}

/// The money was freed, and after that the goods were released.
fn taken_back(order_id: &str, checkout: &RunFact, found: &mut Vec<String>) {
    let steps: Vec<_> = checkout.compensated.iter().map(|step| (step.step.as_str(), step.status)).collect();
    let expected = ["authorise", "reserve"].map(|step| (step, CompensationStatus::Completed));
    if steps != expected {
        found.push(format!("of {order_id} was taken back {steps:?}, not {expected:?}"));
    }
    for (last, first) in checkout.compensated.iter().zip(checkout.compensated.iter().skip(1)) {
        if last.until.is_none_or(|until| first.from < until) {
            found.push(format!("of {order_id} {} was taken back before {}", first.step, last.step));
        }
    }
}

fn fulfilled(order: &orders::Model, fulfilments: &[&RunFact], found: &mut Vec<String>) {
    let id = &order.order_id;
    let in_status = |status| fulfilments.iter().filter(move |run| run.status == status);
    let (completed, failed) = (in_status(RunStatus::Completed).count(), in_status(RunStatus::Failed).count());
    let expected = usize::from(order.state == State::Fulfilled);
    if completed != expected || completed + failed != fulfilments.len() {
        found.push(format!("{id} is {:?} and had {completed} fulfilments that completed", order.state));
    }
    for run in in_status(RunStatus::Failed) {
        let resumed = fulfilments.iter().filter(|other| other.resumed_from.as_ref() == Some(&run.id)).count();
        if resumed != 1 {
            found.push(format!("the fulfilment of {id} failed and was resumed {resumed} times: {:?}", run.error));
        }
    }
}
