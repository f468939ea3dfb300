//! An application for a loan.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An application for a loan: the body of the request, and the payload of the run. The rules are checked when the run
/// is started.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Application {
    /// The client's own number of the loan: a repeated application with it changes nothing.
    #[schemars(length(min = 1, max = 60))]
    pub loan_id: String,
    /// The applicant.
    #[schemars(length(min = 1, max = 200))]
    pub customer: String,
    /// The amount, in cents.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub amount_cents: i64,
}
