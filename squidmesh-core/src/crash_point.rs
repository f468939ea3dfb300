//! Points in the adapters' code at which a test can make the process die, or a call fail before or after it took
//! effect.
//!
//! Compiled only with the feature `crash-points`. The process has one plan at a time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The fault to inject at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// The process dies before the call.
    AbortBefore,
    /// The process dies after the call, before its caller receives the answer.
    AbortAfter,
    /// The call is not made and fails.
    ErrorBefore,
    /// The call is made and then fails.
    ErrorAfter,
}

impl Deed {
    /// Every fault.
    pub const ALL: [Deed; 4] = [Deed::AbortBefore, Deed::AbortAfter, Deed::ErrorBefore, Deed::ErrorAfter];
}

/// A fault to inject once.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of the point.
    pub point: String,
    /// The occurrence at which to inject the fault: 1 is the first time the point is reached.
    pub hit: u64,
    /// The fault to inject.
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

/// Starts counting how often each point is reached, and injects the fault of the plan if there is one.
pub fn arm(plan: Option<Plan>) {
    *state() = State { plan, hits: BTreeMap::new() };
    ARMED.store(true, Ordering::SeqCst);
}

/// Stops counting. Returns how often each point was reached, and whether the plan was executed.
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

/// Makes a call, or injects the fault planned at this point. `error` creates the injected error; its argument is
/// whether the call was made.
///
/// # Errors
/// The call's own errors, and the injected one.
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
