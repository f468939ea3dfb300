//! The workflow `loan`: from an application to money or a refusal.
//!
//! ```text
//! assess ─▶ review ─▶ pay_out
//!    │         │
//!    └─────────┴────▶ decline
//! ```
//!
//! Knows the bureau and the table of loans. Knows nothing of HTTP.

use std::sync::Arc;

use sea_orm::{DatabaseTransaction, DbErr};
use serde::{Deserialize, Serialize};
use squidmesh_core::workflow::WorkflowRef;
use squidmesh_core::{
    COMPLETE, DefinitionErrors, Retry, Step, StepContext, Trigger, Workflow, approval, hours, minutes, ms, secs,
    transactional, with,
};

use crate::application::Application;
use crate::bureau::{Bureau, BureauError};
use crate::loan::{self, State};

/// The workflow, with the type that its runs take.
pub const LOAN: WorkflowRef<Application> = WorkflowRef::new("loan");
/// The step that waits for a person's decision.
pub const REVIEW: &str = "review";

/// Returns the workflow.
///
/// # Errors
/// Never fails as it stands; a change that breaks the definition would be reported here.
pub fn loan(bureau: Arc<dyn Bureau>) -> Result<Workflow, DefinitionErrors> {
    LOAN.builder()
        .trigger(Trigger::manual("applied").payload::<Application>())
        .step(
            Step::new("assess", with(bureau, assess))
                .output("assessment")
                .terminal_if(|error: &BureauError| !error.is_transient())
                .retry(Retry::exponential(20, secs(1)..minutes(30)).jitter(true))
                .timeout(secs(10)),
        )
        .step(Step::new(REVIEW, approval().deadline(hours(72))).output(REVIEW))
        .step(Step::new("pay_out", transactional(pay_out)).retry(patient()).timeout(secs(10)).irreversible())
        .step(Step::new("decline", transactional(decline)).retry(patient()).timeout(secs(10)))
        .then("assess", REVIEW)
        .on_error("assess", "decline") // unknown to the bureau, or the bureau did not answer for hours
        .then(REVIEW, "pay_out")
        .on_error(REVIEW, "decline") // rejected, or not decided in time
        .then("pay_out", COMPLETE)
        .then("decline", COMPLETE)
        .build()
}

/// Returns the policy of steps that only the database can fail.
fn patient() -> Retry {
    Retry::exponential(50, ms(200)..minutes(5))
}

/// The part of the application that the assessment needs.
#[derive(Deserialize)]
struct Applicant {
    customer: String,
}

#[derive(Serialize)]
struct Assessment {
    score: u32,
}

/// Returns the bureau's errors as they are: the step's `terminal_if` decides which of them are retried.
async fn assess(bureau: Arc<dyn Bureau>, applicant: Applicant) -> Result<Assessment, BureauError> {
    Ok(Assessment { score: bureau.score(&applicant.customer).await? })
}

/// The part of the application that names its row.
#[derive(Deserialize)]
struct Approved {
    loan_id: String,
}

/// Writes the row in the transaction that records the step's completion: both are stored, or neither.
async fn pay_out(approved: Approved, transaction: &DatabaseTransaction, _: StepContext) -> Result<(), DbErr> {
    loan::close(transaction, &approved.loan_id, State::PaidOut, None).await
}

#[derive(Deserialize)]
struct Declined {
    loan_id: String,
    /// The output of the step `review`; `None` if the assessment failed.
    review: Option<Review>,
}

#[derive(Deserialize)]
struct Review {
    comment: Option<String>,
}

/// Records the refusal with the reviewer's comment or, without one, the failure that led to it.
async fn decline(declined: Declined, transaction: &DatabaseTransaction, context: StepContext) -> Result<(), DbErr> {
    let comment = declined.review.and_then(|review| review.comment);
    let reason = comment.or_else(|| context.failure.map(|failure| failure.message));
    loan::close(transaction, &declined.loan_id, State::Declined, reason).await
}
