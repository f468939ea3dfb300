//! Polling and dropping code of the host, whose panics stay inside.

pub use crate::cage::{Caged, Panic, call, discard};
