//! The workflow `checkout`: one order, from the shelf to the payment. One step at a time, each outcome choosing the
//! next.
//!
//! ```text
//! reserve ─▶ screen ───────────▶ authorise ─▶ capture ─▶ book ─▶ cool_off ─▶ hand_over ─▶ (fulfilment, a run of its own)
//!    │         └─ big ─▶ review ────▲  └─ error ─▶ void ─┐
//!    └─ error             └─ no, or no answer ───────────┴─▶ release
//! ```
//!
//! There are three ways back. An outcome that the workflow expects has a route of its own, marked as undo where it
//! undoes. A capture that fails has none, so the run fails and its completed steps are compensated, the last first.
//! Once the money is taken there is no way back at all, so the steps after it are retried for days.
//!
//! Knows which steps there are and what each does with the shop and the gateway. Knows no store and no executor.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use squidmesh_core::definition::RecoveryRoute;
use squidmesh_core::workflow::Compensation;
use squidmesh_core::{
    COMPLETE, DefinitionErrors, Handler, Retry, RunId, Step, StepContext, StepError, StepResult, Trigger, Workflow,
    approval, minutes, ms, secs, wait,
};

use crate::fulfilment::Parcel;
use crate::gateway::{Gateway, Operation};
use crate::inventory::{self, ReserveError};
use crate::mesh_slot::MeshSlot;
use crate::orders::Order;
use crate::payments::{Ask, Book, Free};
use crate::shop::Shop;
use crate::tables::orders::{self, State};

/// An order that costs more than this is reviewed.
pub const REVIEWED_ABOVE_CENTS: i64 = 600_000;

/// How long an order waits for its review; a real shop would set days.
pub const REVIEW_TIME: Duration = secs(6);

/// Returns the workflow.
///
/// # Errors
/// Never fails as it stands; a change that breaks the definition would be reported here.
pub fn checkout(shop: &Shop, gateway: Arc<dyn Gateway>, mesh: MeshSlot) -> Result<Workflow, DefinitionErrors> {
    let patient = Retry::exponential(12, ms(100)..secs(10)).jitter(true);
    let stubborn = Retry::exponential(1_000, ms(100)..minutes(5)).jitter(true);
    let ask = |step, operation| {
        let asking = Ask { gateway: Arc::clone(&gateway), operation };
        Step::new(step, asking).retry(patient.clone()).timeout(ms(500))
    };
    let shop = || shop.clone();

    Workflow::builder("checkout")
        .trigger(Trigger::manual("place_order").payload::<Order>())
        .step(
            Step::new("reserve", Reserve { shop: shop() })
                .output("reservation")
                .retry(patient.clone())
                .compensate(GiveBack { shop: shop() })
                .compensation_retry(stubborn.clone()),
        )
        .step(Step::new("screen", screen))
        .step(Step::new("review", approval().deadline(REVIEW_TIME)).output("review"))
        .step(
            ask("authorise", Operation::Authorise)
                .output("authorisation")
                .compensate(Free { gateway: Arc::clone(&gateway) })
                .compensation_retry(stubborn.clone()),
        )
        .step(ask("capture", Operation::Capture).output("payment").irreversible())
        .step(Step::new("book", Book { shop: shop() }).retry(stubborn.clone()))
        .step(Step::new("cool_off", wait(ms(200))))
        .step(Step::new("hand_over", HandOver { mesh }).output("fulfilment").retry(stubborn))
        .step(ask("void", Operation::Void).output("void"))
        .step(Step::new("release", Release { shop: shop() }).retry(patient.clone()))
        .then("reserve", "screen")
        .then("screen", "authorise")
        .on_error("screen", "review")
        .then("review", "authorise")
        .on_error("review", "release")
        .then("authorise", "capture")
        .then("capture", "book")
        .then("book", "cool_off")
        .then("cool_off", "hand_over")
        .then("hand_over", COMPLETE)
        .on_error("reserve", "release")
        .recovery(RecoveryRoute::Undo)
        .on_error("authorise", "void")
        .recovery(RecoveryRoute::Undo)
        .then("void", "release")
        .then("release", COMPLETE)
        .build()
}

/// Reserves the goods.
struct Reserve {
    shop: Shop,
}

/// The reserved goods.
#[derive(Serialize)]
struct Reservation {
    articles: usize,
}

impl Handler for Reserve {
    type Input = Order;
    type Output = Reservation;

    async fn run(&self, order: Order, _: StepContext) -> StepResult<Reservation> {
        let transaction = self.shop.begin().await?;
        match inventory::reserve(&transaction, &order).await {
            Err(sold_out @ ReserveError::SoldOut { .. }) => {
                return Err(StepError::terminal(sold_out.to_string()).kind("sold_out"));
            }
            other => other?,
        }
        transaction.commit().await?;
        Ok(Reservation { articles: order.lines.len() })
    }
}

/// Lets an order pass, or sends it to the review: here an error is a route, not a failure.
async fn screen(order: Order, _: StepContext) -> StepResult<()> {
    match order.total_cents() {
        ..=REVIEWED_ABOVE_CENTS => Ok(()),
        _ => Err(StepError::terminal("an operator has to look at so big an order").kind("needs_review")),
    }
}

/// Starts the second workflow, once for each order.
struct HandOver {
    mesh: MeshSlot,
}

/// The workflow and run that continue with the order.
#[derive(Serialize)]
struct HandedOver {
    run_id: RunId,
}

impl Handler for HandOver {
    type Input = Order;
    type Output = HandedOver;

    async fn run(&self, order: Order, _: StepContext) -> StepResult<HandedOver> {
        let parcel = Parcel { amount_cents: order.total_cents(), order_id: order.order_id };
        let start = self.mesh.mesh()?.start_run("fulfilment", &parcel).idempotency_key(&parcel.order_id);
        Ok(HandedOver { run_id: start.await?.id })
    }
}

/// Releases the goods and closes the order.
struct Release {
    shop: Shop,
}

impl Handler for Release {
    type Input = Order;
    type Output = ();

    async fn run(&self, order: Order, _: StepContext) -> StepResult<()> {
        release(&self.shop, &order).await
    }
}

/// Releases the goods too, as the compensation of the step that reserved them.
struct GiveBack {
    shop: Shop,
}

impl Handler for GiveBack {
    type Input = Compensation<Order>;
    type Output = ();

    async fn run(&self, undo: Self::Input, _: StepContext) -> StepResult<()> {
        release(&self.shop, &undo.input).await
    }
}

async fn release(shop: &Shop, order: &Order) -> StepResult<()> {
    let transaction = shop.begin().await?;
    inventory::release(&transaction, &order.order_id).await?;
    orders::close(&transaction, &order.order_id, State::Released).await?;
    transaction.commit().await?;
    Ok(())
}
