//! In-process workers on tokio, fed from the store's committed intents.
//!
//! Durable on one machine, and many processes may share one database: the store gives each due intent to one claimer. The
//! executor keeps nothing that matters: whatever it holds in memory is only a reason to look into the store sooner. It knows
//! the runner and tokio; it knows no store and no database.

mod clock;
mod executor;
mod lane;
mod lookout;

pub use clock::SystemClock;
pub use executor::TokioExecutor;
