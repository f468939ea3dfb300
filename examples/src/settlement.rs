//! The workflow `settlement`: every night, the payments that the gateway took by day are settled. A schedule starts
//! it.
//!
//! ```text
//! close_day ─▶ settle
//! ```
//!
//! Knows the schedule, the shop's orders and its ledger. Knows no executor.

use std::time::Duration;

use sea_orm::{ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, PaginatorTrait, QueryFilter};
use serde::Serialize;
use serde_json::Value;
use squidmesh_core::definition::{InvalidName, MissedPolicy, TriggerName, WorkflowName};
use squidmesh_core::port::{Store, StoreError};
use squidmesh_core::schedule::{InvalidSchedule, Schedule, TriggerRecord};
use squidmesh_core::{
    COMPLETE, DefinitionErrors, Handler, Retry, Squidmesh, Step, StepContext, StepError, StepResult, Timestamp,
    Trigger, Workflow, hours, ms, transactional,
};

use crate::shop::Shop;
use crate::tables::orders::{self, State};
use crate::tables::settlements;

const WORKFLOW: &str = "settlement";
const TRIGGER: &str = "nightly";

/// Three in the morning, where the shop is.
const EXPRESSION: &str = "0 3 * * *";
const TIME_ZONE: &str = "Europe/Lisbon";

/// Returns the workflow. Of the nights that were missed while no process ran, only the last is run: it settles
/// everything.
///
/// # Errors
/// Never fails as it stands; a change that breaks the definition would be reported here.
pub fn settlement(shop: &Shop) -> Result<Workflow, DefinitionErrors> {
    let nightly = Trigger::cron(TRIGGER).expression(EXPRESSION).time_zone(TIME_ZONE).missed(MissedPolicy::Once);
    Workflow::builder(WORKFLOW)
        .trigger(nightly)
        .step(Step::new("close_day", CloseDay { shop: shop.clone() }).retry(Retry::fixed(10_000, ms(500))))
        .step(Step::new("settle", transactional(settle)).output("settlement"))
        .then("close_day", "settle")
        .then("settle", COMPLETE)
        .build()
}

/// Waits until no order is being processed: an attempt that finds one is retried, and holds no worker in between.
struct CloseDay {
    shop: Shop,
}

impl Handler for CloseDay {
    type Input = Value;
    type Output = ();

    async fn run(&self, _: Value, _: StepContext) -> StepResult<()> {
        let open = orders::Entity::find().filter(orders::Column::State.eq(State::Placed));
        match open.count(self.shop.connection()).await? {
            0 => Ok(()),
            open => Err(StepError::retryable(format!("{open} orders are under way")).kind("day_open")),
        }
    }
}

/// The settled payments.
#[derive(Serialize)]
struct Settlement {
    night: String,
    payments: i64,
    amount_cents: i64,
}

/// Settles the scheduled night, however late it is, in the transaction that records the step's completion.
async fn settle(_: Value, transaction: &DatabaseTransaction, context: StepContext) -> StepResult<Settlement> {
    let night = context.intended_at.ok_or_else(|| StepError::terminal("only the schedule settles a night"))?;
    let settlement = settlements::settle(transaction, &night.to_string()).await?;
    let settlements::Model { night, payments, amount_cents } = settlement;
    Ok(Settlement { night, payments, amount_cents })
}

/// Why no night could be simulated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NightError {
    /// The settlements could not be counted.
    #[error("the settlements could not be counted")]
    Settlements(#[from] DbErr),
    /// The trigger could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schedule is invalid.
    #[error(transparent)]
    Schedule(#[from] InvalidSchedule),
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// Makes a night due at once, once for each shop: the trigger's position is moved back by more than a day, as if the
/// shop had been closed.
///
/// # Errors
/// Returns a [`NightError`].
pub async fn let_a_night_fall(shop: &Shop, mesh: &Squidmesh) -> Result<(), NightError> {
    if settlements::Entity::find().count(shop.connection()).await? > 0 {
        return Ok(());
    }
    let schedule = Schedule::new(EXPRESSION, TIME_ZONE)?.to_string();
    let (workflow, trigger) = (WorkflowName::new(WORKFLOW)?, TriggerName::new(TRIGGER)?);
    loop {
        let found = shop.store().triggers(std::slice::from_ref(&workflow)).await?;
        let record = found.of(WORKFLOW, TRIGGER)?.cloned();
        let mut record = record.unwrap_or_else(|| TriggerRecord::new(workflow.clone(), trigger.clone()));
        record.positions.insert(schedule.clone(), before(found.now, hours(25)));
        record.revision += 1;
        // Workers process the trigger too, and may have been first.
        if shop.store().compare_and_set_trigger(&record).await? {
            break;
        }
    }
    // Workers would fire it soon; this fires it now. A second firing of the night finds that its run has started.
    mesh.runner().fire_due().await?;
    Ok(())
}

fn before(time: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_millis(time.as_millis() - i64::try_from(span.as_millis()).unwrap_or_default())
}
