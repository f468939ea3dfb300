//! A process of a cluster: executes the relay workflow until its standard input closes.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "part of the tests: what cannot continue has failed")]

use std::time::Duration;

use squidmesh_store::SeaOrmStore;
use squidmesh_tests::cluster;
use tokio::io::AsyncReadExt;
use tracing_subscriber::filter::LevelFilter;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what| arguments.next().expect(what);
    let (url, name, time, lease) = (next("a URL"), next("a name"), next("a time"), next("a lease"));
    let time = Duration::from_millis(time.parse().expect("milliseconds"));
    let lease = lease.parse().ok().map(Duration::from_millis);
    // A test that fails shows why a process gave up its work.
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_ansi(false);
    log.with_writer(std::io::stderr).init();
    let store = SeaOrmStore::connect(&url).await.expect("the store opens");
    // Quick steps are not reported one by one.
    let begun = if time < Duration::from_millis(100) { || {} } else { || println!("begun") };
    let mesh = cluster::mesh(store, &name, time, lease, begun);
    println!("ready");
    let closed = async {
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    mesh.run_workers(closed).await.expect("the executor can work");
    // Reading standard input blocks a thread that no shutdown ends.
    std::process::exit(0);
}
