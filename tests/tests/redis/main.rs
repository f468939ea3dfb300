//! The executor over Redis, on servers that are killed, wiped, promoted and lied to.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "these are tests: what cannot go on has failed, and names are documentation"
)]

mod access;
mod crew;
mod errands;
mod failover;
mod hostile;
mod loss;
mod memory;
mod newer;
mod outage;
mod sentinels;
mod slots;
mod soak;
mod storm;
