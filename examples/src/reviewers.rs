//! The people who review big orders, scripted: they decide by the sum alone, and leave some orders undecided.
//!
//! Two of them review the same orders, and neither asks the other: the first decision counts.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::Value;
use squidmesh_core::command::{CommandError, CommandRefused};
use squidmesh_core::{Run, RunStatus, Squidmesh};
use tokio::time::sleep;

use crate::orders::Order;
use crate::runs::{self, RunsError};

/// The interval at which they look.
const PAUSE: Duration = Duration::from_millis(200);

/// Up to this sum an order is approved, and above the other it is rejected. In between it is left undecided.
const APPROVED_TO_CENTS: i64 = 1_000_000;
const REJECTED_ABOVE_CENTS: i64 = 2_000_000;

/// Decides about orders for as long as it is awaited.
///
/// # Errors
/// Returns a [`RunsError`]: the store's error.
pub async fn review(mesh: &Squidmesh, reviewer: &str) -> Result<Infallible, RunsError> {
    loop {
        for run in runs::of(mesh, "checkout", &[RunStatus::Paused]).await? {
            decide(mesh, reviewer, &mesh.get_run(run.id).await?).await?;
        }
        sleep(PAUSE).await;
    }
}

async fn decide(mesh: &Squidmesh, reviewer: &str, run: &Run) -> Result<(), RunsError> {
    let Ok(order) = serde_json::from_value::<Order>(Value::Object((*run.payload).clone())) else { return Ok(()) };
    let decision = match order.total_cents() {
        ..=APPROVED_TO_CENTS => mesh.approve_run(run.id).actor(reviewer).comment("a good customer").await,
        REJECTED_ABOVE_CENTS.. => mesh.reject_run(run.id).actor(reviewer).comment("too much for one customer").await,
        _ => return Ok(()),
    };
    match decision {
        // Decided by the other reviewer in the meantime, or by the deadline.
        Ok(_) | Err(CommandError::Refused(CommandRefused::InvalidTransition(_)) | CommandError::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
