//! The error of a step function is an error, or becomes one.

use squidmesh_core::Step;

#[derive(Debug)]
enum LoanError {
    Declined,
}

async fn score(_: serde_json::Value) -> Result<(), LoanError> {
    Err(LoanError::Declined)
}

fn main() {
    let _ = Step::new("score", score);
}
