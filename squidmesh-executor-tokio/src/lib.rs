//! In-process workers on tokio, fed from the store's committed intents.
//!
//! Work is durable on one machine, and many processes may share one database: the store gives each due intent to
//! one claimer. The executor keeps no durable state: what it holds in memory is only a reason to look into the
//! store sooner. It knows the runner and tokio; it knows no store and no database.

mod clock;
mod executor;
mod heartbeat;
mod lane;
mod poller;

pub use clock::SystemClock;
pub use executor::TokioExecutor;
