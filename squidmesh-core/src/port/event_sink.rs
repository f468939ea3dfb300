//! The event port: where the host receives events of committed facts.

use crate::event::Event;
use crate::schedule::TriggerEvent;

/// Receives every event, after its commit. Called on the execution path: hand the event over and return.
///
/// A panic in a sink is caught and logged; it never affects a run.
#[cfg_attr(feature = "testing", mockall::automock)]
pub trait EventSink: Send + Sync + 'static {
    /// Receives one event.
    fn emit(&self, event: &Event);

    /// Receives one event about a cron trigger. Ignores it by default.
    fn emit_trigger(&self, event: &TriggerEvent) {
        let _ = event;
    }
}
