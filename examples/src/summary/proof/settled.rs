//! Every payment is settled once.

use std::collections::{BTreeMap, BTreeSet};

use squidmesh_core::RunStatus;

use crate::summary::Facts;
use crate::tables::ledger::Kind;

/// Each night has one run, and its settlement is the sum of its payments. Each payment is in at most one night, and
/// in exactly one if a night has passed.
pub(super) fn every_payment_is_settled_once(facts: &Facts, found: &mut Vec<String>) {
    let payments = facts.ledger.iter().filter(|entry| entry.kind == Kind::Payment);
    let mut payments: BTreeMap<&str, i64> =
        payments.map(|entry| (entry.order_id.as_str(), entry.amount_cents)).collect();
    let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for settled in &facts.settled {
        let Some(amount) = payments.remove(settled.order_id.as_str()) else {
            found.push(format!("{} was settled without a payment, or twice", settled.order_id));
            continue;
        };
        let (count, sum) = sums.entry(&settled.night).or_default();
        (*count, *sum) = (*count + 1, *sum + amount);
    }
    for settlement in &facts.settlements {
        let expected = sums.remove(settlement.night.as_str()).unwrap_or_default();
        if expected != (settlement.payments, settlement.amount_cents) {
            let (payments, cents) = (settlement.payments, settlement.amount_cents);
            found.push(format!(
                "the night of {} settled {payments} payments of {cents} cents, not {expected:?}",
                settlement.night
            ));
        }
    }
    found.extend(sums.keys().map(|night| format!("payments are said to be settled in {night}, which was not")));
    if facts.night && (facts.settlements.is_empty() || !payments.is_empty()) {
        found.push(format!("{} payments were not settled in any night", payments.len()));
    }
    every_night_has_one_run(facts, found);
}

fn every_night_has_one_run(facts: &Facts, found: &mut Vec<String>) {
    let mut nights: BTreeSet<&str> = facts.settlements.iter().map(|settlement| settlement.night.as_str()).collect();
    for run in facts.runs.iter().filter(|run| run.workflow == "settlement") {
        let night = run.night.as_deref().unwrap_or_default();
        if run.status != RunStatus::Completed || !nights.remove(night) {
            found.push(format!(
                "the run of the night {night:?} is {}, or not the only one: {:?}",
                run.status, run.error
            ));
        }
    }
    found.extend(nights.into_iter().map(|night| format!("no run settled the night of {night}")));
}
