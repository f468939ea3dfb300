//! The life cycle of a run, as it is promised.
//!
//! Written out here, although the product has the same table: a mistake in the product's own would otherwise judge itself.

use squidmesh_core::RunStatus;
use squidmesh_core::RunStatus::{Cancelled, Cancelling, Completed, Failed, Paused, Pending, Retrying, Running};

/// What a run in this status may become in one move.
pub(super) fn moves(from: RunStatus) -> &'static [RunStatus] {
    match from {
        Pending => &[Running, Failed, Cancelled],
        Running => &[Retrying, Paused, Failed, Completed, Cancelling],
        Retrying => &[Running, Failed, Cancelling],
        Paused => &[Running, Failed, Completed, Cancelled],
        Cancelling => &[Cancelled, Failed],
        // Failed, completed and cancelled are the end.
        _ => &[],
    }
}

/// Whether nothing can follow.
pub(super) fn is_over(status: RunStatus) -> bool {
    matches!(status, Failed | Completed | Cancelled)
}

/// Whether a run in this status may schedule work.
pub(super) fn may_schedule(status: RunStatus) -> bool {
    matches!(status, Pending | Running | Retrying)
}
