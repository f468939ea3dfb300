//! The input of a step owns its data.

use squidmesh_core::{Step, StepResult};

async fn greet(name: &str) -> StepResult<()> {
    let _ = name;
    Ok(())
}

fn main() {
    let _ = Step::new("greet", greet);
}
