//! The error of everything here.

/// Any error that keeps a measurement from being valid.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
