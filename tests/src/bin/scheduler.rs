//! A process of a cluster that only fires the due occurrences of cron triggers, until its standard input closes.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "part of the tests: what cannot continue has failed")]

use squidmesh_store::SeaOrmStore;
use squidmesh_tests::cluster;
use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let url = std::env::args().nth(1).expect("a URL");
    let mesh = cluster::scheduler(SeaOrmStore::connect(&url).await.expect("the store opens"));
    println!("ready");
    let runner = mesh.runner();
    let closed = async {
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    tokio::select! {
        () = runner.run_scheduler() => {}
        () = closed => {}
    }
    // Reading standard input blocks a thread that no shutdown ends.
    std::process::exit(0);
}
