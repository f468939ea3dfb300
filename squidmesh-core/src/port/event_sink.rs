//! The event port: where the host hears of committed facts.

use crate::Event;

/// Receives every event, after its commit. Called on the path of the work: hand over and return.
///
/// A panic in a sink is caught and logged; it never harms a run.
#[cfg_attr(feature = "testing", mockall::automock)]
pub trait EventSink: Send + Sync + 'static {
    /// Takes one event.
    fn emit(&self, event: &Event);
}
