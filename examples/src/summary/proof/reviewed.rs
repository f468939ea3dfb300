//! Each big order is decided once, and follows that decision.

use squidmesh_core::run::AuditKind;

use crate::checkout::REVIEWED_ABOVE_CENTS;
use crate::gateway::Operation;
use crate::summary::Facts;
use crate::tables::orders::State;

/// There is one decision for each order that had to be reviewed, and none for the others. Without an approval the
/// order is released, and its money was never requested.
pub(super) fn every_big_order_is_decided_once(facts: &Facts, found: &mut Vec<String>) {
    for order in &facts.orders {
        let id = &order.order_id;
        let runs = facts.runs.iter().filter(|run| run.order_id.as_ref() == Some(id));
        let decisions: Vec<_> = runs.flat_map(|run| run.decisions.iter().copied()).collect();
        // Sold-out orders are not reviewed.
        let looked_at = order.total_cents > REVIEWED_ABOVE_CENTS
            && facts.reservations.iter().any(|reservation| reservation.order_id == *id);
        if decisions.len() != usize::from(looked_at) {
            found.push(format!("{id} should have been decided {} times: {decisions:?}", u8::from(looked_at)));
        }
        let asked_for = facts.gateway.effects(Operation::Authorise).any(|payment| payment.order_id == *id);
        if let Some(AuditKind::Rejected | AuditKind::Expired) = decisions.first()
            && (order.state != State::Released || asked_for)
        {
            found.push(format!("{id} was not approved, and is {:?}; money was asked for: {asked_for}", order.state));
        }
    }
}
