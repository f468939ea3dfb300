//! A process that executes the workflow of a phase until it is killed.
#![allow(clippy::expect_used, reason = "part of the tests: what cannot continue has failed")]

use squidmesh_store::SeaOrmStore;
use squidmesh_tests::crash::{self, Phase, Progress};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what| arguments.next().expect(what);
    let (url, phase, journal) = (next("a URL"), next("a phase"), next("a journal"));
    let (name, again) = (next("a name"), next("what to decide again"));
    let phase = Phase::ALL.into_iter().find(|known| known.as_str() == phase).expect("a known phase");
    let progress = Progress::new(journal, true);
    let store = SeaOrmStore::builder(&url).migrate(false).connect().await.expect("the store opens");
    let mesh = crash::mesh(store, phase, &progress);
    let work = mesh.run_workers(std::future::pending());
    let worked = if phase == Phase::Approval {
        tokio::select! {
            worked = work => worked,
            () = crash::decide(&mesh, &progress, &name, again.parse().ok()) => Ok(()),
        }
    } else {
        work.await
    };
    worked.expect("the executor can work");
}
