//! Wide runs: one step, a thousand beside each other, one step.

use squidmesh_core::RunStatus;

use super::{done, nothing, workflow};
use crate::{Ground, Journal};

pub async fn a_thousand_siblings_join_once(ground: &Ground) {
    let journal = Journal::new();
    let names: Vec<String> = (0..1_000).map(|number| format!("leaf-{number}")).collect();
    let root = workflow("wide").step(journal.step("root", done));
    let fan = names.iter().fold(root, |builder, name| builder.step(journal.step(name, done).after(["root"])));
    let wide = fan.step(journal.step("join", done).after(&names)).build().unwrap();
    let world = ground.world([wide]);
    let run = world.start_run("wide", &nothing()).await.unwrap();
    let begun = std::time::Instant::now();
    let details = world.settle(run.id).await;
    eprintln!("1 → 1,000 → 1 took {:?}", begun.elapsed());
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(journal.calls().len(), names.len() + 2);
    assert_eq!(journal.of("join").len(), 1);
}
