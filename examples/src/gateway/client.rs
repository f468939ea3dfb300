//! The shop's client of the gateway, over HTTP.
//!
//! Has no timeout and no retries of its own: the steps that use it are declared with both.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode};

use super::{Gateway, GatewayError, Payment, Receipt};

/// A gateway at an address.
#[derive(Clone, Debug)]
pub struct HttpGateway {
    client: Client,
    url: String,
}

impl HttpGateway {
    /// Creates a client of the gateway at an address.
    ///
    /// # Errors
    /// Returns [`GatewayError::Unreachable`] if no HTTP client can be created.
    pub fn at(address: SocketAddr) -> Result<Self, GatewayError> {
        let client = Client::builder().no_proxy().build().map_err(GatewayError::Unreachable)?;
        Ok(HttpGateway { client, url: format!("http://{address}/payments") })
    }
}

#[async_trait]
impl Gateway for HttpGateway {
    async fn ask(&self, idempotency_key: &str, payment: &Payment) -> Result<Receipt, GatewayError> {
        let request = self.client.post(&self.url).header("Idempotency-Key", idempotency_key).json(payment);
        let answer = request.send().await.map_err(GatewayError::Unreachable)?;
        match answer.status() {
            StatusCode::OK => answer.json().await.map_err(GatewayError::Unreachable),
            status if status.is_client_error() => {
                let reason = answer.text().await.map_err(GatewayError::Unreachable)?;
                Err(GatewayError::Refused { reason })
            }
            status => Err(GatewayError::Busy { status: status.as_u16(), retry_after: retry_after(answer.headers()) }),
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
