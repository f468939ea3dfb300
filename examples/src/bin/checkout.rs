//! An online shop on durable workflows: `cargo run -p squidmesh-examples`, and `-- --help` for more.
//!
//! The shop is the library of this package; begin reading with its `lib.rs`. A binary and not an example: the tests
//! start and kill it, and it is built without what only tests need.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    squidmesh_examples::program::program(std::env::args_os().skip(1)).await
}
