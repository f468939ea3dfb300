//! Where a transition leads.

use crate::definition::draft::TargetDraft;
use crate::name::StepName;

/// Where a transition leads: a step, by its name, or the end of the run: [`COMPLETE`] or [`FAIL`].
#[derive(Clone, Debug)]
pub struct Destination(pub(super) TargetDraft);

/// The type of [`COMPLETE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete;

/// Completes the run, as the destination of a transition.
pub const COMPLETE: Complete = Complete;

/// The type of [`FAIL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fail;

/// Fails the run, as the destination of a transition: for a path that ends in failure deliberately, such as one that
/// notifies someone of the failure first. Completed steps with a compensation are undone, as for any failed run.
///
/// The run's `last_error` is the failure whose error transition led onto the path; without one, a failure of the kind
/// [`FailureKind::FAILED`](crate::run::FailureKind::FAILED) that names the step. Such a run has nothing left to resume;
/// it can be replayed.
///
/// ```
/// use squidmesh_core::{COMPLETE, FAIL, Step, StepContext, StepResult, Trigger, Workflow};
///
/// # async fn charge(_: serde_json::Value, _: StepContext) -> StepResult<()> { Ok(()) }
/// # async fn notify(_: serde_json::Value, _: StepContext) -> StepResult<()> { Ok(()) }
/// let workflow = Workflow::builder("charge_card")
///     .trigger(Trigger::manual("start"))
///     .step(Step::new("charge", charge))
///     .step(Step::new("notify", notify))
///     .then("charge", COMPLETE)
///     .on_error("charge", "notify")
///     .then("notify", FAIL)
///     .build()?;
/// # Ok::<(), squidmesh_core::DefinitionErrors>(())
/// ```
pub const FAIL: Fail = Fail;

impl From<Complete> for Destination {
    fn from(_: Complete) -> Self {
        Self(TargetDraft::Complete)
    }
}

impl From<Fail> for Destination {
    fn from(_: Fail) -> Self {
        Self(TargetDraft::Fail)
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
