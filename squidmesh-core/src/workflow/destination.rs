//! Where a transition leads.

use crate::definition::draft::TargetDraft;
use crate::name::StepName;

/// Where a transition leads: a step, by its name, or [`COMPLETE`].
#[derive(Clone, Debug)]
pub struct Destination(pub(super) TargetDraft);

/// The type of [`COMPLETE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete;

/// Completes the run, as the destination of a transition.
pub const COMPLETE: Complete = Complete;

impl From<Complete> for Destination {
    fn from(_: Complete) -> Self {
        Self(TargetDraft::Complete)
    }
}

macro_rules! step_by_name {
    ($($text:ty),*) => {
        $(impl From<$text> for Destination {
            fn from(step: $text) -> Self {
                Self(TargetDraft::Step(step.to_string()))
            }
        })*
    };
}

step_by_name!(&str, String, &String, StepName, &StepName);
