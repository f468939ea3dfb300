//! An explanation as a sentence, for logs and terminals.

use std::fmt;

use serde::Serialize;

use super::explain::{Explanation, NextAction, Reason};

/// The name used in JSON, such as `paused_for_approval`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The name used in JSON, such as `approve`.
impl fmt::Display for NextAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A sentence such as `paused: paused_for_approval at review, attempt 1, deadline 2026-03-01T08:00:00.000Z; possible:
/// approve, reject, cancel`. Shows nothing that a handler or a person has written: of a failure, only its kind.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.reason)?;
        if let Some(step) = &self.step {
            write!(f, " at {step}")?;
        }
        if let Some(signal) = &self.signal {
            write!(f, ", signal {signal}")?;
        }
        if let Some(attempt) = self.attempt {
            write!(f, ", attempt {attempt}")?;
        }
        if let Some(at) = self.at {
            write!(f, ", {} {at}", meaning_of_time(self.reason))?;
        }
        if let Some(failure) = &self.failure {
            write!(f, ", failed with {}", failure.kind)?;
        }
        let actions: Vec<String> = self.actions.iter().map(ToString::to_string).collect();
        if actions.is_empty() { Ok(()) } else { write!(f, "; possible: {}", actions.join(", ")) }
    }
}

/// Returns what [`Explanation::at`] is the time of.
fn meaning_of_time(reason: Reason) -> &'static str {
    match reason {
        Reason::StepRunning | Reason::Cancelling => "lease until",
        Reason::PausedForApproval | Reason::WaitingForSignal => "deadline",
        Reason::StepFailed | Reason::RetryExhausted => "compensation continues at",
        _ => "due at",
    }
}
