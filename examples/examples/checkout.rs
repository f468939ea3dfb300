//! An online shop on durable workflows: `cargo run --release --example checkout`, and `-- --help` for more.
//!
//! The shop is the library of this package; begin reading with its `lib.rs`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    squidmesh_examples::program::program(std::env::args_os().skip(1)).await
}
