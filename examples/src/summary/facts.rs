//! The facts that the summary is based on.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use sea_orm::{DbErr, EntityTrait};
use squidmesh_core::Squidmesh;

use super::run_fact::{self, RunFact};
use crate::gateway::Statement;
use crate::orders::Order;
use crate::runs::RunsError;
use crate::shop::Shop;
use crate::tables::{ledger, orders, reservations, settlements, stock};

/// Everything that is known about the orders of a shop.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The orders of the file.
    pub placed: Vec<Order>,
    /// The orders that the shop has taken in.
    pub orders: Vec<orders::Model>,
    /// The stock of each article.
    pub stock: Vec<stock::Model>,
    /// The reservations.
    pub reservations: Vec<reservations::Model>,
    /// The entries of the ledger.
    pub ledger: Vec<ledger::Model>,
    /// The settled nights.
    pub settlements: Vec<settlements::Model>,
    /// The payments, each with the night in which it was settled.
    pub settled: Vec<settlements::payment::Model>,
    /// Whether a night has passed, so that everything must be settled.
    pub night: bool,
    /// All runs of all workflows.
    pub runs: Vec<RunFact>,
    /// The gateway's own statement of what it did.
    pub gateway: Statement,
}

/// Why the facts could not be gathered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// The shop's tables could not be read.
    #[error("the shop's tables could not be read")]
    Shop(#[from] DbErr),
    /// The runs could not be read.
    #[error(transparent)]
    Runs(#[from] RunsError),
    /// The gateway's journal could not be read.
    #[error("the gateway's journal could not be read")]
    Gateway(#[from] io::Error),
}

impl Facts {
    /// Gathers the facts, once no work is left.
    ///
    /// # Errors
    /// Returns a [`FactsError`] that names the source that could not be read.
    pub async fn gather(
        placed: Vec<Order>,
        shop: &Shop,
        mesh: &Squidmesh,
        journal: &Path,
        night: bool,
    ) -> Result<Facts, FactsError> {
        let database = shop.connection();
        Ok(Facts {
            placed,
            orders: orders::Entity::find().all(database).await?,
            stock: stock::Entity::find().all(database).await?,
            reservations: reservations::Entity::find().all(database).await?,
            ledger: ledger::Entity::find().all(database).await?,
            settlements: settlements::Entity::find().all(database).await?,
            settled: settlements::payment::Entity::find().all(database).await?,
            night,
            runs: run_fact::gather(mesh).await?,
            gateway: Statement::read(journal)?,
        })
    }

    /// Returns how many of each article were shipped.
    pub fn shipped(&self) -> BTreeMap<&str, i64> {
        let mut shipped = BTreeMap::new();
        for row in self.reservations.iter().filter(|row| row.state == reservations::State::Shipped) {
            *shipped.entry(row.sku.as_str()).or_default() += row.quantity;
        }
        shipped
    }

    /// Returns the sum of the entries of one kind, in cents.
    pub fn booked(&self, kind: ledger::Kind) -> i64 {
        self.ledger.iter().filter(|entry| entry.kind == kind).map(|entry| entry.amount_cents).sum()
    }
}
