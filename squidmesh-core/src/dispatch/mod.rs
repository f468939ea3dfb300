//! The words of dispatching: what is dispatched, how it is kept until delivered, and how it looks on the wire.
//!
//! "Dispatch" goes from the runtime to the executor, "deliver" from the executor to the runtime.

mod event;
mod intent;
mod job;
mod payload;

pub use event::DispatchEvent;
pub use intent::{DispatchTarget, Intent, IntentKey, Lease};
pub use job::{DispatchOptions, Job, JobMetadata, Refusal};
pub use payload::{DeliveryPayload, InvalidPayload};
