//! Definitions from the outside: what a builder accepts and refuses, and what a definition keeps through storage.

mod contracts;
mod declared;
mod errors;
mod fingerprints;
mod garbage;
mod graphs;
mod handlers;
mod scale;
