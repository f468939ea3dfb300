//! The credit bureau: an outside system, behind a trait, so that a test can stand in for it.

use async_trait::async_trait;

/// The bureau's interface.
#[async_trait]
pub trait Bureau: Send + Sync + 'static {
    /// Returns the score of a customer. May be called again for the same application.
    ///
    /// # Errors
    /// Returns a [`BureauError`].
    async fn score(&self, customer: &str) -> Result<u32, BureauError>;
}

/// Why there is no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BureauError {
    /// The bureau cannot be reached, or is too busy.
    #[error("the bureau does not answer")]
    Unavailable,
    /// The bureau has no record of the customer.
    #[error("the bureau does not know this customer")]
    UnknownCustomer,
}

impl BureauError {
    /// Returns whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, BureauError::Unavailable)
    }
}

/// A stand-in for the client of a real bureau: it knows every customer except Nobody.
#[derive(Clone, Copy, Debug)]
pub struct DemoBureau;

#[async_trait]
impl Bureau for DemoBureau {
    async fn score(&self, customer: &str) -> Result<u32, BureauError> {
        if customer == "Nobody" { Err(BureauError::UnknownCustomer) } else { Ok(640) }
    }
}
