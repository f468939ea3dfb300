//! The audit trail: what people, senders of signals, and rules that people wrote, did to a run.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::name::{SignalName, StepName, names};
use crate::time::Timestamp;

/// The kind of an audit entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditKind {
    /// The run paused for a person.
    Paused,
    /// A person unblocked a paused run.
    Unblocked,
    /// A person approved an approval.
    Approved,
    /// A person rejected an approval.
    Rejected,
    /// The deadline of an approval passed without a decision, or that of a wait without a signal.
    Expired,
    /// A person cancelled the run.
    Cancelled,
    /// The run was started as a replay of another.
    Replayed,
    /// The run was started to resume a failed one.
    Resumed,
    /// A failed step took an error transition marked as compensation.
    CompensationRouted,
    /// A failed step took an error transition marked as undo.
    UndoRouted,
    /// Another version of the workflow adopted the run.
    Adopted,
    /// The worker of an attempt that was closed as stale returned with its outcome.
    Lived,
    /// The run received a signal. The metadata has its name, its deduplication key and the sender's own metadata; the
    /// step is the one that took it at once.
    SignalReceived,
    /// The run received a signal after the deadline of a step that had waited for it.
    SignalLate,
    /// The run ended with signals that no step had taken. The metadata has their number, by name.
    SignalsUnconsumed,
}

names! {
    AuditKind, "events, the database and JSON":
    Paused = "paused",
    Unblocked = "unblocked",
    Approved = "approved",
    Rejected = "rejected",
    Expired = "expired",
    Cancelled = "cancelled",
    Replayed = "replayed",
    Resumed = "resumed",
    CompensationRouted = "compensation_routed",
    UndoRouted = "undo_routed",
    Adopted = "adopted",
    Lived = "lived",
    SignalReceived = "signal_received",
    SignalLate = "signal_late",
    SignalsUnconsumed = "signals_unconsumed",
}

/// One entry of a run's audit trail. Entries are ordered by `revision`, then by their order within it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// The revision of the run that this entry was committed with.
    pub revision: u64,
    /// The kind of the entry.
    pub kind: AuditKind,
    /// The step that it concerns, if any.
    pub step: Option<StepName>,
    /// The person who acted, if any.
    pub actor: Option<String>,
    /// The comment of that person.
    pub comment: Option<String>,
    /// The metadata of that person.
    pub metadata: Option<Map<String, Value>>,
    /// The time of the entry.
    pub at: Timestamp,
}

impl AuditEvent {
    /// Creates an entry; the caller fills in the actor's part.
    pub fn new(kind: AuditKind, revision: u64, at: Timestamp) -> Self {
        AuditEvent { revision, kind, step: None, actor: None, comment: None, metadata: None, at }
    }

    /// Returns the name of the signal that the entry is about.
    pub fn signal(&self) -> Option<SignalName> {
        let is_about_one = matches!(self.kind, AuditKind::SignalReceived | AuditKind::SignalLate);
        let metadata = self.metadata.as_ref().filter(|_| is_about_one)?;
        SignalName::new(metadata.get(AuditEvent::SIGNAL)?.as_str()?).ok()
    }

    /// The key of the metadata that holds the name of a signal.
    pub(crate) const SIGNAL: &'static str = "signal";
}
