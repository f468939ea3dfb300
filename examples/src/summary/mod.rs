//! The summary that proves itself, from three sources that know nothing of each other: the shop's tables, the runs, and the
//! gateway's journal.
//!
//! Reads only. What the facts must be like is decided in `proof`, without a database.

mod facts;
mod numbers;
mod proof;

use std::fmt;

use squidmesh_core::RunStatus;

pub use facts::{Facts, FactsError, RunFact};

use crate::gateway::Operation;
use crate::tables::ledger::Kind;
use crate::tables::orders::State;
use crate::tables::stock;
use numbers::{grouped, money};

/// What became of all orders, and whether it is as it must be.
#[derive(Clone, Debug)]
pub struct Summary {
    facts: Facts,
    violations: Vec<String>,
}

impl Summary {
    /// Draws up the summary of these facts.
    pub fn of(facts: Facts) -> Self {
        let violations = proof::violations(&facts);
        Summary { facts, violations }
    }

    /// What is not as it must be, in sentences. Empty if all is well.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

/// The same text for the same orders, whatever happened on the way.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.facts;
        let completed = facts.runs.iter().filter(|run| run.status == RunStatus::Completed).count();
        let orders = |state| facts.orders.iter().filter(|order| order.state == state).count();
        let sum = |count: fn(&stock::Model) -> i64| grouped(facts.stock.iter().map(count).sum());
        let effects = |operation| facts.gateway.effects(operation).count();
        let captured = facts.gateway.effects(Operation::Capture).map(|payment| payment.amount_cents).sum();
        writeln!(
            f,
            "orders   {} taken: {} fulfilled, {} released",
            grouped(facts.orders.len() as i64),
            grouped(orders(State::Fulfilled) as i64),
            grouped(orders(State::Released) as i64),
        )?;
        let others = facts.runs.len() - completed;
        writeln!(f, "runs     {} completed, {} not", grouped(completed as i64), grouped(others as i64))?;
        writeln!(
            f,
            "stock    {} received = {} on hand + {} shipped, {} reserved",
            sum(|article| article.received),
            sum(|article| article.on_hand),
            grouped(facts.shipped().values().sum()),
            sum(|article| article.reserved),
        )?;
        writeln!(
            f,
            "money    {} invoiced = {} paid = {} captured by the gateway",
            money(facts.booked(Kind::Invoice)),
            money(facts.booked(Kind::Payment)),
            money(captured),
        )?;
        writeln!(
            f,
            "effects  {} authorisations, {} voids, {} captures, {} twice",
            grouped(effects(Operation::Authorise) as i64),
            grouped(effects(Operation::Void) as i64),
            grouped(effects(Operation::Capture) as i64),
            grouped(facts.gateway.doubled_keys().len() as i64),
        )?;
        if self.violations.is_empty() {
            return writeln!(f, "proof    all of it reconciles");
        }
        writeln!(f, "proof    FAILED: {} of the above is not so:", grouped(self.violations.len() as i64))?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "  - {violation}"))
    }
}
