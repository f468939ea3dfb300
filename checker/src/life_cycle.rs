//! The life cycle of a run, as documented.
//!
//! Implemented here again, although the product has the same table: a mistake in the product's own would otherwise
//! judge itself.

use squidmesh_core::RunStatus;
use squidmesh_core::RunStatus::{Cancelled, Cancelling, Completed, Failed, Paused, Pending, Retrying, Running};

/// Returns the statuses that follow this one in a single transition.
pub(super) fn transitions(from: RunStatus) -> &'static [RunStatus] {
    match from {
        Pending => &[Running, Failed, Cancelled],
        Running => &[Retrying, Paused, Failed, Completed, Cancelling],
        Retrying => &[Running, Failed, Cancelling],
        Paused => &[Running, Failed, Completed, Cancelled],
        Cancelling => &[Cancelled, Failed],
        // Failed, completed and cancelled are final.
        _ => &[],
    }
}

/// Returns whether this status is final.
pub(super) fn is_over(status: RunStatus) -> bool {
    matches!(status, Failed | Completed | Cancelled)
}

/// Returns whether a run in this status may schedule work.
pub(super) fn may_schedule(status: RunStatus) -> bool {
    matches!(status, Pending | Running | Retrying)
}
