//! Statements: their text, placeholders, values and lists of rows, in the dialect of the database.
//!
//! Knows no table.

#[cfg(feature = "postgres")]
mod arguments;
mod chunks;
mod columns;
mod key_list;
mod statement;

#[cfg(feature = "postgres")]
pub(crate) use arguments::arguments;
pub(crate) use chunks::{execute_chunks, fetch_chunks, portions};
pub(crate) use columns::{Column, Row, fixed, free_text, names, nullable, rare};
pub(crate) use statement::{Kept, Sql};
