//! Claims intents, keeps them claimed, and lists those that are due.
//!
//! Walks one class of intents after another along an index, starting with the longest due, so that intents that
//! are not due are never examined. The text of the statements does not depend on the number of queues and versions
//! served.

pub(crate) mod claim_due;
pub(crate) mod claim_keys;
mod claimed;
mod class;
pub(crate) mod contention;
pub(crate) mod crowd;
pub(crate) mod front;
pub(crate) mod heartbeat;
pub(crate) mod held;
pub(crate) mod lease;
pub(crate) mod list_due;
pub(crate) mod queue_heads;
