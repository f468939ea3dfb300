//! Any error that keeps the runner from working.

/// The error.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
