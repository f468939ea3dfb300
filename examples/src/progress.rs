//! Follows the work while it runs: a progress bar, counts for the report, and the moment when all is done.
//!
//! Receives committed events as an [`EventSink`]; the orders and runs are counted in the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter};
use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::port::EventSink;
use squidmesh_core::{RunFilter, RunStatus, Squidmesh};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::operator::any_unsettled;
use crate::runs::RunsError;
use crate::shop::Shop;
use crate::tables::{orders, settlements};

/// The minimum time between two moves of the bar, and the maximum time to wait for an event: another process may do
/// the work.
const PAUSE: Duration = Duration::from_millis(50);
const STANDSTILL: Duration = Duration::from_secs(1);

/// What happened in this process so far. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    completed: AtomicU64,
    failed: AtomicU64,
    ended: Notify,
}

impl EventSink for Progress {
    fn emit(&self, event: &Event) {
        match &event.kind {
            EventKind::StepCompleted { .. } => add_one(&self.counts.completed),
            EventKind::StepFailed { .. } => add_one(&self.counts.failed),
            EventKind::RunTransition { to, .. } if to.is_terminal() => self.counts.ended.notify_one(),
            _ => {}
        }
    }
}

fn add_one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Why the progress could not be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgressError {
    /// The orders could not be counted.
    #[error("the shop's orders could not be counted")]
    Orders(#[from] DbErr),
    /// The runs could not be listed.
    #[error(transparent)]
    Runs(#[from] RunsError),
}

impl Progress {
    /// Adds the counts of a worker process.
    pub fn add(&self, completed: u64, failed: u64) {
        self.counts.completed.fetch_add(completed, Ordering::Relaxed);
        self.counts.failed.fetch_add(failed, Ordering::Relaxed);
        self.counts.ended.notify_one();
    }

    /// Returns how many attempts completed and how many failed, in this process and, as far as reported, in its
    /// workers.
    pub fn attempts(&self) -> (u64, u64) {
        (self.counts.completed.load(Ordering::Relaxed), self.counts.failed.load(Ordering::Relaxed))
    }

    /// Waits until no run is open, every failed run is compensated or resumed, and the night is settled if there is
    /// one.
    ///
    /// # Errors
    /// Returns a [`ProgressError`]: the database's error.
    pub async fn until_nothing_is_under_way(
        &self,
        shop: &Shop,
        mesh: &Squidmesh,
        bar: &ProgressBar,
        night: bool,
    ) -> Result<(), ProgressError> {
        loop {
            let open = orders::Entity::find().filter(orders::Column::State.eq(orders::State::Placed));
            let open = open.count(shop.connection()).await?;
            bar.set_position(bar.length().unwrap_or(0).saturating_sub(open));
            bar.set_message(format!("{} attempts failed", self.attempts().1));
            // An order is closed a moment before its run is, and one whose run has failed stays open: the runs
            // decide.
            let open = !mesh.list_runs(&open_runs()).await.map_err(RunsError::from)?.runs.is_empty();
            if !open && !any_unsettled(mesh).await? && (!night || is_settled(shop).await?) {
                return Ok(());
            }
            sleep(PAUSE).await;
            tokio::select! {
                () = self.counts.ended.notified() => {}
                () = sleep(STANDSTILL) => {}
            }
        }
    }
}

/// Returns whether a night has been settled: its run may start a moment after the others have ended.
async fn is_settled(shop: &Shop) -> Result<bool, DbErr> {
    Ok(settlements::Entity::find().count(shop.connection()).await? > 0)
}

/// Returns a filter for any one run that has not ended.
fn open_runs() -> RunFilter {
    let open = RunStatus::ALL.into_iter().filter(|status| !status.is_terminal());
    open.fold(RunFilter::new().limit(1), RunFilter::status)
}

/// Creates a bar over `orders` orders; nothing is drawn if the output is not a terminal.
pub fn bar(orders: usize, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} orders, {msg}");
    let bar = ProgressBar::with_draw_target(Some(orders as u64), target);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
