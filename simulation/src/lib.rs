//! Proof that anyone can run: a checker of histories and a simulator that produces them.
//!
//! [`check`] knows what must hold of the runs in a store, whatever happened to them: it reads through the store's port, so that it
//! judges SQLite, Postgres and memory alike. [`world`] is whole deployments in one thread and in virtual time: real runtimes on
//! simulated stores, queues, clocks and workers that fail in every way that they may. [`mutation`] breaks the product on
//! purpose, to prove that the two would notice.
//!
//! Knows the core and nothing of any database, queue or async runtime.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "what cannot go on here has found a defect, and names are documentation"
)]

pub mod check;
pub mod mutation;
pub mod world;
