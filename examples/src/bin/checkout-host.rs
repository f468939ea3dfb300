//! The example `checkout` as a binary that tests can start and kill: cargo gives tests the path of a binary, but not
//! of an example.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    squidmesh_examples::program::program(std::env::args_os().skip(1)).await
}
