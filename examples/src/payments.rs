//! The steps that move money: asking the gateway, and writing down what it took.
//!
//! An attempt may be cut off after the gateway has done its part, so each asks under a key that is the same at every attempt; the
//! gateway carries it out once. One effect a step: what is asked of the gateway and what is written in the books never wait for
//! each other. Knows the gateway's interface and the ledger.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use squidmesh_core::{Compensation, Handler, StepContext, StepError, StepResult};

use crate::gateway::{Gateway, GatewayError, Operation, Receipt};
use crate::orders::Order;
use crate::shop::Shop;
use crate::tables::ledger::{self, Kind};

/// Asks the gateway to do something with the price of an order.
pub struct Ask {
    /// The gateway.
    pub gateway: Arc<dyn Gateway>,
    /// What it is to do.
    pub operation: Operation,
}

#[async_trait]
impl Handler for Ask {
    type Input = Order;
    type Output = Receipt;

    async fn run(&self, order: Order, _: StepContext) -> StepResult<Receipt> {
        ask(&*self.gateway, self.operation, &order).await
    }
}

/// Frees the money that was put aside for an order: the compensation of the step that put it aside.
pub struct Free {
    /// The gateway.
    pub gateway: Arc<dyn Gateway>,
}

#[async_trait]
impl Handler for Free {
    type Input = Compensation<Order, Receipt>;
    type Output = Receipt;

    async fn run(&self, undo: Self::Input, _: StepContext) -> StepResult<Receipt> {
        ask(&*self.gateway, Operation::Void, &undo.input).await
    }
}

/// The key names the order and not the run, so that it is the same in a run that resumes or replays another.
async fn ask(gateway: &dyn Gateway, operation: Operation, order: &Order) -> StepResult<Receipt> {
    let key = format!("{}/{operation:?}", order.order_id);
    // All but a refusal is worth another attempt.
    match gateway.ask(&key, &order.payment(operation)).await {
        Err(GatewayError::Refused { reason }) => Err(StepError::terminal(reason).kind("refused")),
        Err(busy @ GatewayError::Busy { retry_after: Some(delay), .. }) => {
            Err(StepError::from(busy).retry_after(delay))
        }
        answer => Ok(answer?),
    }
}

/// Enters the payment of an order in the books.
pub struct Book {
    /// The shop.
    pub shop: Shop,
}

/// What is entered: the order, which is the run's payload, and the output of the step `capture`.
#[derive(Debug, Deserialize)]
pub struct Paid {
    #[serde(flatten)]
    order: Order,
    payment: Receipt,
}

#[async_trait]
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
