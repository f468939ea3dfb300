//! The steps that move money.
//!
//! An attempt may be cut off after the gateway has done its part, so each asks under a key that is the same at every attempt; the
//! gateway carries it out once. Knows the gateway's interface and the ledger.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use squidmesh_core::{Handler, StepContext, StepError, StepResult};

use crate::gateway::{Gateway, GatewayError, Operation, Payment, Receipt};
use crate::orders::Order;
use crate::shop::Shop;
use crate::tables::ledger::{self, Kind};

/// Has the price of an order put aside on the customer's card.
pub struct Authorise {
    /// The gateway.
    pub gateway: Arc<dyn Gateway>,
}

/// Money that is put aside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authorisation {
    /// The gateway's id of it.
    pub receipt: String,
    /// How much.
    pub amount_cents: i64,
}

#[async_trait]
impl Handler for Authorise {
    type Input = Order;
    type Output = Authorisation;

    async fn run(&self, order: Order, context: StepContext) -> StepResult<Authorisation> {
        let amount_cents = order.total_cents();
        let payment = Payment { operation: Operation::Authorise, order_id: order.order_id, amount_cents };
        let receipt = ask(&*self.gateway, &payment, &context).await?;
        Ok(Authorisation { receipt: receipt.id, amount_cents })
    }
}

/// Takes the money that was put aside, and enters it in the books.
pub struct Capture {
    /// The shop.
    pub shop: Shop,
    /// The gateway.
    pub gateway: Arc<dyn Gateway>,
}

/// What a capture needs of the run: the order's number, from the payload, and the output of `authorise`.
#[derive(Debug, Deserialize)]
pub struct Authorised {
    order_id: String,
    authorisation: Authorisation,
}

/// Money that is taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Captured {
    /// The gateway's id of it.
    pub receipt: String,
}

#[async_trait]
impl Handler for Capture {
    type Input = Authorised;
    type Output = Captured;

    async fn run(&self, order: Authorised, context: StepContext) -> StepResult<Captured> {
        let Authorised { order_id, authorisation: Authorisation { amount_cents, .. } } = order;
        let payment = Payment { operation: Operation::Capture, order_id, amount_cents };
        let receipt = ask(&*self.gateway, &payment, &context).await?;
        let transaction = self.shop.begin().await?;
        let (order_id, reference) = (payment.order_id, receipt.id.clone());
        ledger::enter(&transaction, ledger::Model { order_id, kind: Kind::Payment, amount_cents, reference }).await?;
        transaction.commit().await?;
        Ok(Captured { receipt: receipt.id })
    }
}

/// Asks under the key of this step of this run, and says which answers are worth another attempt: all but a refusal.
async fn ask(gateway: &dyn Gateway, payment: &Payment, context: &StepContext) -> StepResult<Receipt> {
    let key = format!("{}/{}", context.run_id, context.step);
    match gateway.ask(&key, payment).await {
        Err(GatewayError::Refused { reason }) => Err(StepError::terminal(reason).kind("refused")),
        Err(busy @ GatewayError::Busy { retry_after: Some(delay), .. }) => {
            Err(StepError::from(busy).retry_after(delay))
        }
        answer => Ok(answer?),
    }
}
