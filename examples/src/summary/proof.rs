//! What must hold once no run is open. Pure: facts in, sentences out.

mod carried;
mod reviewed;
mod settled;

use std::collections::BTreeMap;

use carried::every_order_is_carried_to_its_end;
use reviewed::every_big_order_is_decided_once;
use settled::every_payment_is_settled_once;

use super::Facts;
use crate::gateway::{Operation, Statement};
use crate::orders::Order;
use crate::tables::ledger::Kind;
use crate::tables::orders::{self, State};
use crate::tables::reservations;

/// Returns everything that is not as it must be.
pub(super) fn violations(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    every_order_is_taken(facts, &mut found);
    every_order_is_carried_to_its_end(facts, &mut found);
    every_big_order_is_decided_once(facts, &mut found);
    goods_reconcile(facts, &mut found);
    money_reconciles(facts, &mut found);
    every_payment_is_settled_once(facts, &mut found);
    found
}

fn every_order_is_taken(facts: &Facts, found: &mut Vec<String>) {
    let taken: BTreeMap<&str, &orders::Model> =
        facts.orders.iter().map(|order| (order.order_id.as_str(), order)).collect();
    for Order { order_id, .. } in &facts.placed {
        if !taken.contains_key(order_id.as_str()) {
            found.push(format!("{order_id} was placed and is lost"));
        }
    }
}

fn goods_reconcile(facts: &Facts, found: &mut Vec<String>) {
    let shipped = facts.shipped();
    for article in &facts.stock {
        let shipped = shipped.get(article.sku.as_str()).copied().unwrap_or(0);
        if article.on_hand + shipped != article.received || article.reserved != 0 {
            found.push(format!(
                "of {} came in {}, but {} are on hand, {} reserved and {shipped} shipped",
                article.sku, article.received, article.on_hand, article.reserved
            ));
        }
    }
    let states: BTreeMap<&str, State> =
        facts.orders.iter().map(|order| (order.order_id.as_str(), order.state)).collect();
    for row in &facts.reservations {
        let expected = match states.get(row.order_id.as_str()) {
            Some(State::Fulfilled) => reservations::State::Shipped,
            Some(State::Released) => reservations::State::Released,
            Some(State::Placed) => continue, // counted above
            None => {
                found.push(format!("{} was put aside for {}, which the shop does not know", row.sku, row.order_id));
                continue;
            }
        };
        if row.state != expected {
            found.push(format!("{} of {} is {:?}, not {expected:?}", row.sku, row.order_id, row.state));
        }
    }
}

/// The amounts that an order was billed, that the ledger records as paid, and that the gateway took equal the order's
/// price, once; for an order that was not fulfilled they are zero.
fn money_reconciles(facts: &Facts, found: &mut Vec<String>) {
    let booked = |kind| {
        amounts(facts.ledger.iter().filter(move |entry| entry.kind == kind), |entry| {
            (entry.order_id.as_str(), entry.amount_cents)
        })
    };
    let mut accounts = [
        ("billed", booked(Kind::Invoice)),
        ("entered as paid", booked(Kind::Payment)),
        ("authorised", authorised(&facts.gateway)),
        ("captured", done(&facts.gateway, Operation::Capture)),
    ];
    for order in &facts.orders {
        let expected: &[i64] = if order.state == State::Fulfilled { &[order.total_cents] } else { &[] };
        for (what, account) in &mut accounts {
            let amounts = account.remove(order.order_id.as_str()).unwrap_or_default();
            if amounts != expected {
                found.push(format!("{} was {what} {amounts:?} cents, not {expected:?}", order.order_id));
            }
        }
    }
    for (what, account) in accounts {
        for (order_id, amounts) in account {
            found.push(format!("{order_id} was {what} {amounts:?} cents, and the shop does not know it"));
        }
    }
    found.extend(facts.gateway.doubled_keys().into_iter().map(|key| format!("the gateway carried {key} out twice")));
}

/// Returns the amounts that were authorised and not freed again.
fn authorised(gateway: &Statement) -> BTreeMap<&str, Vec<i64>> {
    let mut authorised = done(gateway, Operation::Authorise);
    for void in gateway.effects(Operation::Void) {
        let amounts = authorised.entry(&void.order_id).or_default();
        match amounts.iter().position(|amount| *amount == void.amount_cents) {
            Some(place) => {
                amounts.remove(place);
            }
            None => amounts.push(-void.amount_cents),
        }
    }
    authorised.retain(|_, amounts| !amounts.is_empty());
    authorised
}

fn done(gateway: &Statement, operation: Operation) -> BTreeMap<&str, Vec<i64>> {
    amounts(gateway.effects(operation), |payment| (payment.order_id.as_str(), payment.amount_cents))
}

fn amounts<'a, T: 'a>(
    items: impl Iterator<Item = &'a T>,
    amount: fn(&'a T) -> (&'a str, i64),
) -> BTreeMap<&'a str, Vec<i64>> {
    let mut amounts: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (order_id, cents) in items.map(amount) {
        amounts.entry(order_id).or_default().push(cents);
    }
    amounts
}

#[cfg(test)]
mod tests;
