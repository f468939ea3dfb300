//! The payment gateway: what the shop's steps ask of it, and one that is scripted to be as unreliable as they come.
//!
//! Steps know the [`Gateway`] trait alone. [`HttpGateway`] is the shop's client; everything else here is the other side: a
//! server with a journal of its own, which knows nothing of the shop, its database or its workflows.

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

/// A payment gateway. It carries out each idempotency key once, however often it is asked.
#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// Asks for a payment to be carried out.
    ///
    /// # Errors
    /// [`GatewayError`]. Of all but a refusal it is unknown whether the gateway did what it was asked.
    async fn ask(&self, idempotency_key: &str, payment: &Payment) -> Result<Receipt, GatewayError>;
}

/// What the gateway is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payment {
    /// What to do.
    pub operation: Operation,
    /// The order, for the gateway's books.
    pub order_id: String,
    /// How much.
    pub amount_cents: i64,
    /// From what.
    #[serde(default)]
    pub card: Card,
}

/// A customer's card. As with other gateways, some are for trying things out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Card {
    /// One like any other.
    #[default]
    Ordinary,
    /// One that is good when the money is put aside, and no longer when it is taken.
    ExpiresBeforeCapture,
}

/// What a gateway does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Put an amount aside on the customer's card.
    Authorise,
    /// Take the amount that was put aside.
    Capture,
    /// Free the amount that was put aside, if any was.
    Void,
}

/// What the gateway did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The gateway's own id of it.
    pub id: String,
}

/// Why the gateway did not say that it was done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// It will not, ever.
    #[error("the gateway refused: {reason}")]
    Refused {
        /// Why, in the gateway's words.
        reason: String,
    },
    /// It is busy.
    #[error("the gateway is busy (status {status})")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// How long the gateway asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// It cannot be reached, or its answer cannot be read.
    #[error("the gateway did not answer")]
    Unreachable(#[source] reqwest::Error),
}
