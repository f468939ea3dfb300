//! A closure needs the types of its arguments.

use squidmesh_core::{Step, StepResult};

fn main() {
    let _ = Step::new("score", |loan, context| async move { StepResult::Ok(()) });
}
