//! A simulator that produces histories for the checker to judge, which anyone can run.
//!
//! [`world`] runs whole deployments in one thread and in virtual time: real runtimes on simulated stores, queues, clocks
//! and workers that fail in every allowed way. [`mutation`] breaks the product on purpose, to prove that the checker
//! would notice.
//!
//! Knows the core and the checker, and nothing of any database, queue or async runtime.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "what cannot continue here has found a defect, and names are documentation"
)]

pub mod mutation;
pub mod world;
