//! Tests that need the inside of the crate.

mod recorder;
mod sql_format;
mod statements;
