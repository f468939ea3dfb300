//! A process that tries cells of crash points, one after the other, until one of them ends it.
#![allow(clippy::expect_used, reason = "part of the tests: what cannot continue has failed")]

use squidmesh_tests::crash_matrix;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let job = std::env::args().nth(1).expect("a job");
    crash_matrix::work(serde_json::from_str(&job).expect("a job can be read")).await;
    std::process::exit(0);
}
