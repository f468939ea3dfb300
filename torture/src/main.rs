//! `cargo xtask torture`: real worker processes on real servers, which are killed, stopped, cut off, filled up and
//! slowed down; and a checker over everything that they leave.
//!
//! A seed decides what is tried and when, but not how real processes respond: it does not repeat a history exactly.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a program that reports to people; what cannot continue here has found a defect"
)]

mod arguments;
mod client;
mod defect;
mod disturb;
mod episode;
mod event_log;
mod failure;
mod log;
mod postgres;
mod proxy;
mod rng;
mod runner;
mod tally;
mod verdict;
mod wire;
mod worker;
mod workers;
mod workflows;

use std::process::ExitCode;

use crate::arguments::Arguments;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let [first, orders] = given.as_slice()
        && first == "worker"
    {
        return worker::work(serde_json::from_str(orders).expect("orders")).await;
    }
    let done = match Arguments::parse(given) {
        Ok(arguments) => runner::torture(&arguments).await,
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
