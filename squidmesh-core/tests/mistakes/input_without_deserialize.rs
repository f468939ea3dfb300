//! The input of a step is read from JSON.

use squidmesh_core::{Step, StepResult};

struct Loan {
    cents: u64,
}

async fn score(loan: Loan) -> StepResult<()> {
    let _ = loan.cents;
    Ok(())
}

fn main() {
    let _ = Step::new("score", score);
}
