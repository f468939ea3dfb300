//! The steps that move money: requests to the gateway, and the entries about them in the ledger.
//!
//! An attempt may be cut off after the gateway has executed its request, so each request has a key that is the same
//! at every attempt; the gateway executes it once. A step has a single effect: a request to the gateway and an entry
//! in the ledger never wait for each other. Knows the gateway's interface and the ledger.

use std::sync::Arc;

use serde::Deserialize;
use squidmesh_core::workflow::Compensation;
use squidmesh_core::{Handler, StepContext, StepError, StepResult};

use crate::gateway::{Gateway, GatewayError, Operation, Receipt};
use crate::orders::Order;
use crate::shop::Shop;
use crate::tables::ledger::{self, Kind};

/// Requests an operation with the price of the order from the gateway.
pub struct Ask {
    /// The gateway.
    pub gateway: Arc<dyn Gateway>,
    /// The operation.
    pub operation: Operation,
}

impl Handler for Ask {
    type Input = Order;
    type Output = Receipt;

    async fn run(&self, order: Order, _: StepContext) -> StepResult<Receipt> {
        ask(&*self.gateway, self.operation, &order).await
    }
}

/// Frees the money that was authorised for an order: the compensation of the step that authorised it.
pub struct Free {
    /// The gateway.
    pub gateway: Arc<dyn Gateway>,
}

impl Handler for Free {
    type Input = Compensation<Order, Receipt>;
    type Output = Receipt;

    async fn run(&self, undo: Self::Input, _: StepContext) -> StepResult<Receipt> {
        ask(&*self.gateway, Operation::Void, &undo.input).await
    }
}

/// The key contains the order and not the run, so that it is the same in a run that resumes or replays another.
async fn ask(gateway: &dyn Gateway, operation: Operation, order: &Order) -> StepResult<Receipt> {
    let key = format!("{}/{operation:?}", order.order_id);
    // Every error but a refusal is worth another attempt.
    match gateway.ask(&key, &order.payment(operation)).await {
        Err(GatewayError::Refused { reason }) => Err(StepError::terminal(reason).kind("refused")),
        Err(busy @ GatewayError::Busy { retry_after: Some(delay), .. }) => {
            Err(StepError::from(busy).retry_after(delay))
        }
        answer => Ok(answer?),
    }
}

/// Enters the payment of an order in the ledger.
pub struct Book {
    /// The shop.
    pub shop: Shop,
}

/// The input of the entry: the order, which is the run's payload, and the output of the step `capture`.
#[derive(Debug, Deserialize)]
pub struct Paid {
    #[serde(flatten)]
    order: Order,
    payment: Receipt,
}

impl Handler for Book {
    type Input = Paid;
    type Output = ();

    async fn run(&self, Paid { order, payment }: Paid, _: StepContext) -> StepResult<()> {
        let amount_cents = order.total_cents();
        let entry =
            ledger::Model { order_id: order.order_id, kind: Kind::Payment, amount_cents, reference: payment.id };
        let transaction = self.shop.begin().await?;
        ledger::enter(&transaction, entry).await?;
        transaction.commit().await?;
        Ok(())
    }
}
