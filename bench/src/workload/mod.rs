//! The workloads: one file a kind, all through the public API of Squidmesh.

mod alone;
mod arrival;
mod delayed;
mod drive;
mod history;
mod idle;
pub(crate) mod name;
mod plan;
mod processes;
mod signals;
mod snapshot;
mod starts;

pub(crate) use drive::{CONCURRENCY, STARTERS};
pub(crate) use plan::Plan;
