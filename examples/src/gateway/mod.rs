//! The payment gateway: the interface that the shop's steps use, and an implementation scripted to be very
//! unreliable.
//!
//! Steps know only the [`Gateway`] trait. [`HttpGateway`] is the shop's client; everything else here is the other
//! side: a server with its own journal, which knows nothing of the shop, its database or its workflows.

mod client;
mod journal;
mod script;
mod server;

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use client::HttpGateway;
pub use journal::{Delivery, Statement};
pub use server::GatewayServer;

/// A payment gateway. It executes each idempotency key once, however often it is requested.
#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// Requests a payment.
    ///
    /// # Errors
    /// Returns a [`GatewayError`]. For all but a refusal it is unknown whether the gateway executed the request.
    async fn ask(&self, idempotency_key: &str, payment: &Payment) -> Result<Receipt, GatewayError>;
}

/// A request to the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payment {
    /// The operation to execute.
    pub operation: Operation,
    /// The order, for the gateway's journal.
    pub order_id: String,
    /// The amount, in cents.
    pub amount_cents: i64,
    /// The card to charge.
    #[serde(default)]
    pub card: Card,
}

/// A customer's card. As with other gateways, some are for testing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Card {
    /// An ordinary card.
    #[default]
    Ordinary,
    /// A card that is valid when the money is authorised, and no longer when it is captured.
    ExpiresBeforeCapture,
}

/// An operation of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Reserve an amount on the customer's card.
    Authorise,
    /// Take the reserved amount.
    Capture,
    /// Free the reserved amount, if any was reserved.
    Void,
}

/// The gateway's confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The gateway's own id of the operation.
    pub id: String,
}

/// Why the gateway did not confirm a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The request is refused permanently.
    #[error("the gateway refused: {reason}")]
    Refused {
        /// The reason, in the gateway's words.
        reason: String,
    },
    /// The gateway is busy.
    #[error("the gateway is busy (status {status})")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// The delay that the gateway requested before another attempt.
        retry_after: Option<Duration>,
    },
    /// The gateway cannot be reached, or its answer cannot be read.
    #[error("the gateway did not answer")]
    Unreachable(#[source] reqwest::Error),
}
