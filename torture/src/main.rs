//! `cargo xtask torture`: real worker processes on real servers, of which everything is killed, stopped, cut, filled up and
//! slowed down; and a checker over all that they leave.
//!
//! A seed decides what is tried and when, but not how real processes take it: it does not repeat a history exactly.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a program that reports to people; what cannot go on here has found a defect"
)]

mod arguments;
mod client;
mod crew;
mod defect;
mod dice;
mod disturb;
mod episode;
mod log;
mod postgres;
mod proxy;
mod rack;
mod tally;
mod told;
mod verdict;
mod wire;
mod worker;
mod workflows;

use std::process::ExitCode;

use crate::arguments::Arguments;

/// Whatever kept the rack from working.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let [first, orders] = given.as_slice()
        && first == "worker"
    {
        return worker::work(serde_json::from_str(orders).expect("orders")).await;
    }
    let done = match Arguments::parse(given) {
        Ok(arguments) => rack::torture(&arguments).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::FAILURE
        }
    }
}
