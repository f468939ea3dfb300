//! The example `checkout` as a binary, which tests can start and kill: cargo tells them its path, as it does not of an example.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    squidmesh_examples::program::program(std::env::args_os().skip(1)).await
}
