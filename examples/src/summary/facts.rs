//! What the summary rests upon.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use sea_orm::{DbErr, EntityTrait};
use squidmesh_core::{RunFilter, RunStatus, Squidmesh, StoreError};

use crate::gateway::Statement;
use crate::orders::Order;
use crate::shop::Shop;
use crate::tables::{ledger, orders, reservations, stock};

/// Everything that is known about the orders of a shop.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The orders of the file.
    pub placed: Vec<Order>,
    /// The orders that the shop has taken.
    pub orders: Vec<orders::Model>,
    /// The stock of each article.
    pub stock: Vec<stock::Model>,
    /// What was put aside.
    pub reservations: Vec<reservations::Model>,
    /// The books.
    pub ledger: Vec<ledger::Model>,
    /// All runs of both workflows.
    pub runs: Vec<RunFact>,
    /// The gateway's own account of what it did.
    pub gateway: Statement,
}

/// A run, as far as the summary looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFact {
    /// Which run.
    pub id: String,
    /// Of which workflow.
    pub workflow: String,
    /// The order that it carries: its idempotency key.
    pub order_id: Option<String>,
    /// Where it is.
    pub status: RunStatus,
    /// Why it failed.
    pub error: Option<String>,
}

/// Why the facts could not be gathered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// The shop's tables could not be read.
    #[error("the shop's tables could not be read")]
    Shop(#[from] DbErr),
    /// The runs could not be listed.
    #[error(transparent)]
    Runs(#[from] StoreError),
    /// The gateway's journal could not be read.
    #[error("the gateway's journal could not be read")]
    Gateway(#[from] io::Error),
}

impl Facts {
    /// Gathers the facts, once nothing is under way any more.
    ///
    /// # Errors
    /// [`FactsError`] names the source that could not be read.
    pub async fn gather(
        placed: Vec<Order>,
        shop: &Shop,
        mesh: &Squidmesh,
        journal: &Path,
    ) -> Result<Facts, FactsError> {
        let database = shop.connection();
        Ok(Facts {
            placed,
            orders: orders::Entity::find().all(database).await?,
            stock: stock::Entity::find().all(database).await?,
            reservations: reservations::Entity::find().all(database).await?,
            ledger: ledger::Entity::find().all(database).await?,
            runs: runs(mesh).await?,
            gateway: Statement::read(journal)?,
        })
    }

    /// How many of each article went out.
    pub fn shipped(&self) -> BTreeMap<&str, i64> {
        let mut shipped = BTreeMap::new();
        for row in self.reservations.iter().filter(|row| row.state == reservations::State::Shipped) {
            *shipped.entry(row.sku.as_str()).or_default() += row.quantity;
        }
        shipped
    }

    /// The sum of the entries of one kind, in cents.
    pub fn booked(&self, kind: ledger::Kind) -> i64 {
        self.ledger.iter().filter(|entry| entry.kind == kind).map(|entry| entry.amount_cents).sum()
    }
}

/// All runs, page by page.
async fn runs(mesh: &Squidmesh) -> Result<Vec<RunFact>, StoreError> {
    let mut filter = RunFilter::new().limit(500);
    let mut runs = Vec::new();
    loop {
        let page = mesh.list_runs(&filter).await?;
        runs.extend(page.runs.into_iter().map(|run| RunFact {
            id: run.id.to_string(),
            workflow: run.workflow.to_string(),
            order_id: run.idempotency_key,
            status: run.status,
            error: run.last_error.map(|failure| format!("{}: {}", failure.kind, failure.message)),
        }));
        match page.next {
            Some(next) => filter = filter.after(next),
            None => return Ok(runs),
        }
    }
}
