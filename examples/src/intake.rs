//! Takes orders in: the shop's row and the order's run are created in one transaction, so that neither is ever
//! without the other.

use std::collections::HashSet;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DbErr, EntityTrait, QuerySelect};
use squidmesh_core::Squidmesh;
use squidmesh_core::command::StartError;
use squidmesh_core::port::StoreError;

use crate::orders::Order;
use crate::shop::Shop;
use crate::tables::{customs, orders};

/// The result of taking in a file of orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// The number of orders started.
    pub started: usize,
    /// The number of orders that the shop knew already.
    pub known: usize,
}

/// Why an order was not taken in. It has neither a row nor a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// No transaction could be begun.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run was not started.
    #[error("the checkout of order {order_id} was not started")]
    Start {
        /// The order.
        order_id: String,
        /// The cause.
        #[source]
        source: StartError,
    },
    /// The shop's own row was not written.
    #[error("the shop's orders could not be read or written")]
    Orders(#[from] DbErr),
}

/// Takes in the orders that the shop does not know yet, one by one.
///
/// # Errors
/// Returns an [`IntakeError`] at the first order that cannot be taken in; those before it stay taken in.
pub async fn take_in(shop: &Shop, mesh: &Squidmesh, orders: &[Order]) -> Result<Intake, IntakeError> {
    let known = orders::Entity::find().select_only().column(orders::Column::OrderId).into_tuple::<String>();
    let known: HashSet<String> = known.all(shop.connection()).await?.into_iter().collect();
    let mut intake = Intake::default();
    for order in orders {
        if !known.contains(&order.order_id) && take(shop, mesh, order).await? {
            intake.started += 1;
        } else {
            intake.known += 1;
        }
    }
    Ok(intake)
}

/// Takes one order in; returns whether it is new.
async fn take(shop: &Shop, mesh: &Squidmesh, order: &Order) -> Result<bool, IntakeError> {
    let transaction = shop.begin().await?;
    let session = shop.store().join(&transaction);
    let joined = mesh.within(&session);
    let start = joined.start_run("checkout", order).idempotency_key(&order.order_id);
    let run = start.await.map_err(|source| IntakeError::Start { order_id: order.order_id.clone(), source })?;
    let row = orders::ActiveModel {
        order_id: Set(order.order_id.clone()),
        run_id: Set(run.id.to_string()),
        state: Set(orders::State::Placed),
        total_cents: Set(order.total_cents()),
    };
    let key = OnConflict::column(orders::Column::OrderId).do_nothing().to_owned();
    let rows = orders::Entity::insert(row).on_conflict(key).exec_without_returning(&transaction).await?;
    if order.inspected {
        customs::hold(&transaction, &order.order_id).await?;
    }
    let after = joined.into_after_commit();
    transaction.commit().await?;
    after.committed();
    Ok(rows == 1)
}
