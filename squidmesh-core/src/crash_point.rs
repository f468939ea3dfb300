//! Points in the code of adapters at which a test can have the process die, or a call fail before or after it took effect.
//!
//! Compiled only with the feature `crash-points`. One plan holds for the whole process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// The process dies before the call.
    AbortBefore,
    /// The process dies after the call, before anybody has its answer.
    AbortAfter,
    /// The call fails and was never made.
    ErrorBefore,
    /// The call is made, and fails nevertheless.
    ErrorAfter,
}

impl Deed {
    /// All of them.
    pub const ALL: [Deed; 4] = [Deed::AbortBefore, Deed::AbortAfter, Deed::ErrorBefore, Deed::ErrorAfter];
}

/// What is to happen once.
#[derive(Clone, Debug)]
pub struct Plan {
    /// At which point.
    pub point: String,
    /// Which time it is reached, from 1.
    pub hit: u64,
    /// What.
    pub deed: Deed,
}

#[derive(Debug)]
struct State {
    plan: Option<Plan>,
    hits: BTreeMap<&'static str, u64>,
}

static ARMED: AtomicBool = AtomicBool::new(false);
static STATE: Mutex<State> = Mutex::new(State { plan: None, hits: BTreeMap::new() });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts from now on how often each point is reached, and carries out a plan if there is one.
pub fn arm(plan: Option<Plan>) {
    *state() = State { plan, hits: BTreeMap::new() };
    ARMED.store(true, Ordering::SeqCst);
}

/// Counts no more. How often each point was reached, and whether what was planned has been done.
pub fn disarm() -> (BTreeMap<&'static str, u64>, bool) {
    ARMED.store(false, Ordering::SeqCst);
    let mut state = state();
    let done = state.plan.take().is_none();
    (std::mem::take(&mut state.hits), done)
}

fn reach(point: &'static str) -> Option<Deed> {
    if !ARMED.load(Ordering::Relaxed) {
        return None;
    }
    let mut state = state();
    let hits = state.hits.entry(point).or_default();
    *hits += 1;
    let hits = *hits;
    let planned = state.plan.take_if(|plan| plan.point == point && plan.hit == hits);
    planned.map(|plan| plan.deed)
}

/// Makes a call, or does what is planned at this point. `error` is what the call fails with, given whether it was made.
///
/// # Errors
/// Those of the call, and the one that is planned.
pub async fn around<T, E>(
    point: &'static str,
    call: impl Future<Output = Result<T, E>>,
    error: impl FnOnce(bool) -> E,
) -> Result<T, E> {
    match reach(point) {
        None => call.await,
        Some(Deed::AbortBefore) => std::process::abort(),
        Some(Deed::AbortAfter) => {
            drop(call.await);
            std::process::abort()
        }
        Some(Deed::ErrorBefore) => Err(error(false)),
        Some(Deed::ErrorAfter) => {
            call.await?;
            Err(error(true))
        }
    }
}
