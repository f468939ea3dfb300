//! Definitions from the outside: what a builder accepts and refuses, and what survives storage.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "everything in this crate is a test"
)]

mod contracts;
mod deadlines;
mod declared;
mod errors;
mod failing;
mod fingerprints;
mod garbage;
mod graphs;
mod guards;
mod handlers;
mod intention;
mod references;
mod scale;
mod schedules;
mod signals;
