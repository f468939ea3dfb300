//! Steps that need no code from the host.

use std::time::Duration;

use super::destination::Destination;
use crate::definition::draft::DeadlineDraft;
use crate::definition::{LogLevel, StepKind, whole_ms};

/// A step that the runtime performs itself. Made by [`wait`], [`log`], [`pause`],
/// [`approval`] and [`wait_for`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    pub(super) kind: StepKind,
    pub(super) deadline: Option<DeadlineDraft>,
}

impl From<StepKind> for BuiltIn {
    fn from(kind: StepKind) -> Self {
        BuiltIn { kind, deadline: None }
    }
}

/// Waits for `duration`, durably: no worker is held, and a restart does not begin the wait again. Millisecond
/// precision.
pub fn wait(duration: Duration) -> BuiltIn {
    StepKind::Wait { duration: whole_ms(duration) }.into()
}

/// Writes a line to the log.
pub fn log(message: impl Into<String>, level: LogLevel) -> BuiltIn {
    StepKind::Log { message: message.into(), level }.into()
}

/// Pauses the run until a person unblocks it.
pub fn pause() -> BuiltIn {
    StepKind::Pause.into()
}

/// Pauses the run until a person approves (ok transition) or rejects (error transition).
///
/// ```
/// use squidmesh_core::{Step, approval, hours};
///
/// let patient = Step::new("review", approval());
/// let strict = Step::new("review", approval().deadline(hours(48))); // then the error transition is taken
/// let polite = Step::new("review", approval().deadline(hours(48)).then_to("remind"));
/// ```
pub fn approval() -> Approval {
    Approval(())
}

/// An approval without a deadline. Made by [`approval`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval(());

impl Approval {
    /// Limits how long the approval waits for a decision. When the deadline passes, the error transition is
    /// taken, unless [`then_to`](ApprovalUntil::then_to) sets another target. No worker is held meanwhile.
    /// Millisecond precision.
    ///
    /// A decision counts if it is committed before the expiry is, however late it is.
    pub fn deadline(self, after: Duration) -> ApprovalUntil {
        ApprovalUntil(DeadlineDraft { after: whole_ms(after), to: None })
    }
}

/// An approval with a deadline. Made by [`Approval::deadline`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalUntil(DeadlineDraft);

impl ApprovalUntil {
    /// Sets the step, or [`COMPLETE`](crate::COMPLETE), that follows when the deadline passes without a decision.
    #[must_use]
    pub fn then_to(mut self, to: impl Into<Destination>) -> Self {
        self.0.to = Some(to.into().0);
        self
    }
}

impl From<Approval> for BuiltIn {
    fn from(_: Approval) -> Self {
        StepKind::Approval.into()
    }
}

impl From<ApprovalUntil> for BuiltIn {
    fn from(approval: ApprovalUntil) -> Self {
        BuiltIn { kind: StepKind::Approval, deadline: Some(approval.0) }
    }
}

/// Waits for a [signal](crate::Signal) of this name, durably: no worker, lease or memory is held. A signal that came
/// earlier is taken at once, the oldest first; each wait takes one. Its payload is the output of the step.
///
/// ```
/// use squidmesh_core::{Step, hours, wait_for};
///
/// let patient = Step::new("await_payment", wait_for("payment_received")).output("payment");
/// let strict = Step::new("await_payment", wait_for("payment_received").deadline(hours(72))); // then it fails: `expired`
/// let polite = Step::new("await_payment", wait_for("payment_received").deadline(hours(72)).then_to("remind"));
/// ```
pub fn wait_for(signal: impl AsRef<str>) -> WaitFor {
    WaitFor { signal: signal.as_ref().to_owned() }
}

/// A wait for a signal without a deadline. Made by [`wait_for`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitFor {
    signal: String,
}

impl WaitFor {
    /// Limits how long the step waits. When the deadline passes, the step fails with the kind `expired`, and its error
    /// transition is taken, unless [`then_to`](WaitForUntil::then_to) sets another target. Millisecond precision.
    ///
    /// A signal counts if it is committed before the expiry is, however late it is.
    pub fn deadline(self, after: Duration) -> WaitForUntil {
        let deadline = DeadlineDraft { after: whole_ms(after), to: None };
        WaitForUntil { signal: self.signal, deadline }
    }
}

/// A wait for a signal with a deadline. Made by [`WaitFor::deadline`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitForUntil {
    signal: String,
    deadline: DeadlineDraft,
}

impl WaitForUntil {
    /// Sets the step, or [`COMPLETE`](crate::COMPLETE), that follows when the deadline passes without a signal.
    #[must_use]
    pub fn then_to(mut self, to: impl Into<Destination>) -> Self {
        self.deadline.to = Some(to.into().0);
        self
    }
}

impl From<WaitFor> for BuiltIn {
    fn from(wait: WaitFor) -> Self {
        StepKind::WaitFor { signal: wait.signal }.into()
    }
}

impl From<WaitForUntil> for BuiltIn {
    fn from(wait: WaitForUntil) -> Self {
        BuiltIn { kind: StepKind::WaitFor { signal: wait.signal }, deadline: Some(wait.deadline) }
    }
}
