//! Wide runs: one step, many in parallel, one step.
//!
//! Each sibling is a claim of its own, which reads the whole run: the cost of a run grows with the square of its
//! width. Two hundred and fifty are wide enough to see a lost join; the goal of a thousand at the cost of a chain is
//! not reached yet.

use squidmesh_core::RunStatus;

use super::{done, nothing, workflow};
use crate::{Backend, Journal};

pub async fn hundreds_of_siblings_join_once(backend: &Backend) {
    let journal = Journal::new();
    let names: Vec<String> = (0..250).map(|number| format!("leaf-{number}")).collect();
    let root = workflow("wide").step(journal.step("root", done));
    let fan = names.iter().fold(root, |builder, name| builder.step(journal.step(name, done).after(["root"])));
    let wide = fan.step(journal.step("join", done).after(&names)).build().unwrap();
    let world = backend.world([wide]);
    let run = world.start_run("wide", &nothing()).await.unwrap();
    let begun = std::time::Instant::now();
    let details = world.settle(run.id).await;
    eprintln!("1 → 250 → 1 took {:?}", begun.elapsed());
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(journal.calls().len(), names.len() + 2);
    assert_eq!(journal.of("join").len(), 1);
}
