//! The answers that callers of the runtime receive: in time, and no more than is known. And what becomes of the
//! others when one is dropped.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

mod alike;
mod answered;
mod dropped;
mod faults;
mod late;
