//! The summary that proves itself, from three independent sources: the shop's tables, the runs, and the gateway's
//! journal.
//!
//! Only reads. `proof` decides what the facts must be, without a database.

mod facts;
mod numbers;
mod proof;
mod run_fact;

use std::fmt;

use squidmesh_core::RunStatus;
use squidmesh_core::run::AuditKind;

pub use facts::{Facts, FactsError};
pub use run_fact::{Compensated, RunFact};

use crate::gateway::Operation;
use crate::tables::ledger::Kind;
use crate::tables::orders::State;
use crate::tables::stock;
use numbers::{grouped, money};

/// The outcome of all orders, and whether it is correct.
#[derive(Clone, Debug)]
pub struct Summary {
    facts: Facts,
    violations: Vec<String>,
}

impl Summary {
    /// Creates the summary of these facts.
    pub fn of(facts: Facts) -> Self {
        let violations = proof::violations(&facts);
        Summary { facts, violations }
    }

    /// Returns the violations found, as sentences; empty if everything is correct.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

impl Summary {
    /// Writes what not every list of orders brings about.
    fn write_exceptions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = &self.facts.runs;
        let decided = |kind| runs.iter().flat_map(|run| &run.decisions).filter(|decision| **decision == kind).count();
        let [approved, rejected, expired] = [AuditKind::Approved, AuditKind::Rejected, AuditKind::Expired].map(decided);
        if approved + rejected + expired > 0 {
            writeln!(f, "reviews  {approved} approved, {rejected} rejected, {expired} not decided in time")?;
        }
        let taken_back = runs.iter().filter(|run| !run.compensated.is_empty()).count();
        if taken_back > 0 {
            writeln!(f, "sagas    {taken_back} failed, and taken back step by step")?;
        }
        let resumed = runs.iter().filter(|run| run.resumed_from.is_some()).count();
        if resumed > 0 {
            writeln!(f, "resumed  {resumed} continued where they had failed")?;
        }
        if !self.facts.settlements.is_empty() {
            let settled = self.facts.settlements.iter().map(|settlement| settlement.amount_cents).sum();
            let nights = self.facts.settlements.len();
            writeln!(f, "settled  {} of what was captured, nights: {nights}", money(settled))?;
        }
        Ok(())
    }
}

/// The same text for the same orders, regardless of what happened meanwhile.
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
        self.write_exceptions(f)?;
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
