//! The terms of dispatching: what is dispatched, how it is stored until delivered, and how it is encoded in a
//! queue.
//!
//! "Dispatch" goes from the runtime to the executor, "deliver" from the executor to the runtime.

mod intent;
mod job;
mod payload;

pub use intent::{DispatchTarget, Intent, IntentKey, Lease};
pub use job::{DispatchOptions, Job, JobMetadata, Refusal};
pub use payload::{DeliveryMessage, InvalidMessage};
