//! The executor over Redis, on servers that are killed, wiped, promoted and fed false entries.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

mod access;
mod errands;
mod failover;
mod hostile;
mod idle;
mod loss;
mod memory;
mod neighbours;
mod newer;
mod outage;
mod road;
mod sentinels;
mod siblings;
mod silent;
mod slots;
mod soak;
mod storm;
mod workers;
