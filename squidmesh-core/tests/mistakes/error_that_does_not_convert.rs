//! `?` converts errors, and what is no error needs a conversion.

use squidmesh_core::{Step, StepResult};

#[derive(Debug)]
enum LoanError {
    Declined,
}

fn decide() -> Result<(), LoanError> {
    Err(LoanError::Declined)
}

async fn score(_: serde_json::Value) -> StepResult<()> {
    decide()?;
    Ok(())
}

fn main() {
    let _ = Step::new("score", score);
}
