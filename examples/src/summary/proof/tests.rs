//! Every kind of error is found, so that a summary without violations means something.

use squidmesh_core::run::{AuditKind, CompensationStatus};
use squidmesh_core::{RunStatus, Timestamp};

use super::*;
use crate::checkout::REVIEWED_ABOVE_CENTS;
use crate::gateway::{Card, Delivery, Payment};
use crate::orders::Line;
use crate::summary::{Compensated, RunFact};
use crate::tables::{ledger, settlements, stock};

/// Returns two orders that went as they should: the first fulfilled, the second released.
fn sound() -> Facts {
    let placed = |id: &str| Order {
        order_id: id.to_owned(),
        lines: vec![Line { sku: "oar".to_owned(), quantity: 2, unit_cents: 250 }],
        card: Card::Ordinary,
        inspected: false,
    };
    let order = |id: &str, state| orders::Model {
        order_id: id.to_owned(),
        run_id: format!("run-{id}"),
        state,
        total_cents: 500,
    };
    let run = |id: &str, workflow: &str, order_id: &str| RunFact {
        id: id.to_owned(),
        workflow: workflow.to_owned(),
        order_id: Some(order_id.to_owned()),
        status: RunStatus::Completed,
        error: None,
        resumed_from: None,
        night: None,
        decisions: Vec::new(),
        compensated: Vec::new(),
    };
    let reservation =
        |id: &str, state| reservations::Model { order_id: id.to_owned(), sku: "oar".to_owned(), quantity: 2, state };
    Facts {
        placed: vec![placed("a"), placed("b")],
        orders: vec![order("a", State::Fulfilled), order("b", State::Released)],
        stock: vec![stock::Model { sku: "oar".to_owned(), received: 10, on_hand: 8, reserved: 0 }],
        reservations: vec![
            reservation("a", reservations::State::Shipped),
            reservation("b", reservations::State::Released),
        ],
        ledger: vec![entry(Kind::Payment), entry(Kind::Invoice)],
        settlements: Vec::new(),
        settled: Vec::new(),
        night: false,
        runs: vec![run("run-a", "checkout", "a"), run("f", "fulfilment", "a"), run("run-b", "checkout", "b")],
        gateway: Statement::of(vec![effect("1", Operation::Authorise), effect("2", Operation::Capture)]),
    }
}

fn entry(kind: Kind) -> ledger::Model {
    ledger::Model { order_id: "a".to_owned(), kind, amount_cents: 500, reference: "r".to_owned() }
}

fn effect(key: &str, operation: Operation) -> Delivery {
    let payment = Payment { operation, order_id: "a".to_owned(), amount_cents: 500, card: Card::Ordinary };
    Delivery { key: key.to_owned(), payment, effect: true, answer: None }
}

/// The released order failed, and was compensated.
fn with_a_saga(facts: &mut Facts) {
    let compensated = |step: &str, from, until| Compensated {
        step: step.to_owned(),
        status: CompensationStatus::Completed,
        from: Timestamp::from_millis(from),
        until: Some(Timestamp::from_millis(until)),
    };
    facts.runs[2].status = RunStatus::Failed;
    facts.runs[2].compensated = vec![compensated("authorise", 5, 7), compensated("reserve", 7, 9)];
}

/// The fulfilment failed and was resumed.
fn with_a_resumed_run(facts: &mut Facts) {
    let resumed = RunFact { id: "g".to_owned(), resumed_from: Some("f".to_owned()), ..facts.runs[1].clone() };
    facts.runs[1].status = RunStatus::Failed;
    facts.runs.push(resumed);
}

/// Both orders were big, and were decided.
fn with_decisions(facts: &mut Facts) {
    for order in &mut facts.orders {
        order.total_cents = REVIEWED_ABOVE_CENTS + 1;
    }
    for entry in &mut facts.ledger {
        entry.amount_cents = REVIEWED_ABOVE_CENTS + 1;
    }
    let mut deliveries = facts.gateway.deliveries().to_vec();
    deliveries.iter_mut().for_each(|delivery| delivery.payment.amount_cents = REVIEWED_ABOVE_CENTS + 1);
    facts.gateway = Statement::of(deliveries);
    facts.runs[0].decisions = vec![AuditKind::Approved];
    facts.runs[2].decisions = vec![AuditKind::Rejected];
}

/// A night passed, and the payment was settled.
fn with_a_night(facts: &mut Facts) {
    let night = "2026-05-04T02:00:00.000Z".to_owned();
    facts.night = true;
    facts.settlements = vec![settlements::Model { night: night.clone(), payments: 1, amount_cents: 500 }];
    facts.settled = vec![settlements::payment::Model { order_id: "a".to_owned(), night: night.clone() }];
    let (workflow, order_id) = ("settlement".to_owned(), None);
    facts.runs.push(RunFact { workflow, order_id, night: Some(night), ..facts.runs[0].clone() });
}

/// Makes sound facts unsound.
type Change = fn(&mut Facts);

/// Returns what is found after one change to sound facts.
fn found_after(change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = sound();
    change(&mut facts);
    violations(&facts)
}

#[test]
fn sound_facts_have_no_violation() {
    for exception in [|_: &mut Facts| {}, with_a_saga, with_a_resumed_run, with_decisions, with_a_night] as [Change; 5]
    {
        assert_eq!(found_after(exception), Vec::<String>::new());
    }
}

#[test]
fn every_unsound_fact_is_found() {
    let changes: [(&str, Change); 35] = [
        ("a lost order", |facts| facts.placed[0].order_id = "c".to_owned()),
        ("an order without an end", |facts| facts.orders[0].state = State::Placed),
        ("an order that names another run", |facts| facts.orders[0].run_id = "f".to_owned()),
        ("a failed run", |facts| facts.runs[0].status = RunStatus::Failed),
        ("a second checkout", |facts| facts.runs.push(facts.runs[0].clone())),
        ("a missing fulfilment", |facts| drop(facts.runs.remove(1))),
        ("a run without an order", |facts| facts.runs[2].order_id = None),
        ("a saga that is not taken back", |facts| facts.runs[2].status = RunStatus::Failed),
        ("a saga that is half taken back", |facts| {
            with_a_saga(facts);
            facts.runs[2].compensated.pop();
        }),
        ("a saga that could not be taken back", |facts| {
            with_a_saga(facts);
            facts.runs[2].compensated[0].status = CompensationStatus::Failed;
        }),
        ("a saga that was taken back in the wrong order", |facts| {
            with_a_saga(facts);
            facts.runs[2].compensated[1].from = Timestamp::from_millis(6);
        }),
        ("a saga of a fulfilled order", |facts| facts.runs[0].status = RunStatus::Failed),
        ("a failed fulfilment that no operator resumed", |facts| {
            with_a_resumed_run(facts);
            facts.runs[3].resumed_from = None;
        }),
        ("a fulfilment that was resumed twice", |facts| {
            with_a_resumed_run(facts);
            facts.runs.push(facts.runs[3].clone());
        }),
        ("a decision too many", |facts| {
            with_decisions(facts);
            facts.runs[0].decisions.push(AuditKind::Approved);
        }),
        ("a big order without a decision", |facts| {
            with_decisions(facts);
            facts.runs[0].decisions.clear();
        }),
        ("a rejected order that was fulfilled", |facts| {
            with_decisions(facts);
            facts.runs[0].decisions = vec![AuditKind::Rejected];
        }),
        ("a small order that was decided", |facts| facts.runs[0].decisions = vec![AuditKind::Approved]),
        ("a night that never fell", |facts| facts.night = true),
        ("a payment that no night settled", |facts| {
            with_a_night(facts);
            facts.settled.clear();
            (facts.settlements[0].payments, facts.settlements[0].amount_cents) = (0, 0);
        }),
        ("a payment that two nights settled", |facts| {
            with_a_night(facts);
            facts.settled.push(facts.settled[0].clone());
        }),
        ("a night that settled too much", |facts| {
            with_a_night(facts);
            facts.settlements[0].amount_cents = 501;
        }),
        ("a night without a run", |facts| {
            with_a_night(facts);
            facts.runs.pop();
        }),
        ("a night with two runs", |facts| {
            with_a_night(facts);
            facts.runs.push(facts.runs[3].clone());
        }),
        ("goods that are still reserved", |facts| facts.stock[0].reserved = 2),
        ("goods that vanished", |facts| facts.stock[0].on_hand = 7),
        ("goods that were not given back", |facts| facts.reservations[1].state = reservations::State::Picked),
        ("a missing invoice", |facts| drop(facts.ledger.pop())),
        ("a wrong payment", |facts| facts.ledger[0].amount_cents = 499),
        ("a payment of a released order", |facts| facts.ledger[0].order_id = "b".to_owned()),
        ("money that stays put aside", |facts| facts.gateway = authorised_for_b(false)),
        ("money that was freed and taken", |facts| facts.gateway = authorised_for_b(true)),
        ("a capture under two keys", |facts| facts.gateway = gateway(&["1", "2", "3"])),
        ("a capture twice under one key", |facts| facts.gateway = gateway(&["1", "2", "2"])),
        ("a capture that the gateway does not know", |facts| facts.gateway = gateway(&["1"])),
    ];
    for (what, change) in changes {
        assert!(!found_after(change).is_empty(), "{what} is not found");
    }
}

#[test]
fn money_that_was_put_aside_and_freed_is_in_order() {
    let freed =
        [Operation::Authorise, Operation::Void].map(|operation| of_b(effect(&format!("b{operation:?}"), operation)));
    let deliveries = sound().gateway.deliveries().iter().cloned().chain(freed).collect();
    assert!(found_after(|facts| facts.gateway = Statement::of(deliveries)).is_empty());
}

fn of_b(mut delivery: Delivery) -> Delivery {
    delivery.payment.order_id = "b".to_owned();
    delivery
}

/// Returns the statement of sound facts with an authorisation for the released order, or with a void of what was
/// captured for the other.
fn authorised_for_b(void_a: bool) -> Statement {
    let more = if void_a { effect("3", Operation::Void) } else { of_b(effect("3", Operation::Authorise)) };
    Statement::of(sound().gateway.deliveries().iter().cloned().chain([more]).collect())
}

/// Returns a statement with an authorisation under the first key and captures under the others.
fn gateway(keys: &[&str]) -> Statement {
    let operations = std::iter::once(Operation::Authorise).chain(std::iter::repeat(Operation::Capture));
    Statement::of(keys.iter().zip(operations).map(|(key, operation)| effect(key, operation)).collect())
}
