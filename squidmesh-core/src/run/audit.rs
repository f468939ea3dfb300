//! The audit trail: what people, and rules that people wrote, did to a run.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{StepName, Timestamp};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditKind {
    /// The run stopped for a person.
    Paused,
    /// Somebody let a paused run go on.
    Resumed,
    /// Somebody approved.
    Approved,
    /// Somebody rejected.
    Rejected,
    /// The deadline of an approval passed without a decision.
    Expired,
    /// Somebody cancelled the run.
    Cancelled,
    /// The run was started as a replay of another.
    Replayed,
    /// The run was started to go on from where another failed.
    Continued,
    /// A failed step took an error transition marked as compensation.
    CompensationRouted,
    /// A failed step took an error transition marked as undo.
    UndoRouted,
    /// The run was taken over by another version of its workflow.
    Adopted,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: [AuditKind; 11] = [
        AuditKind::Paused,
        AuditKind::Resumed,
        AuditKind::Approved,
        AuditKind::Rejected,
        AuditKind::Expired,
        AuditKind::Cancelled,
        AuditKind::Replayed,
        AuditKind::Continued,
        AuditKind::CompensationRouted,
        AuditKind::UndoRouted,
        AuditKind::Adopted,
    ];

    /// The name in events, the database and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuditKind::Paused => "paused",
            AuditKind::Resumed => "resumed",
            AuditKind::Approved => "approved",
            AuditKind::Rejected => "rejected",
            AuditKind::Expired => "expired",
            AuditKind::Cancelled => "cancelled",
            AuditKind::Replayed => "replayed",
            AuditKind::Continued => "continued",
            AuditKind::CompensationRouted => "compensation_routed",
            AuditKind::UndoRouted => "undo_routed",
            AuditKind::Adopted => "adopted",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        AuditKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One entry of a run's audit trail. Entries are ordered by `revision`, then by their order within it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// The revision of the run that this entry was committed with.
    pub revision: u64,
    /// What happened.
    pub kind: AuditKind,
    /// The step it concerns, if one.
    pub step: Option<StepName>,
    /// Who did it, if a person did.
    pub actor: Option<String>,
    /// What they said.
    pub comment: Option<String>,
    /// What else they gave.
    pub metadata: Option<Map<String, Value>>,
    /// When.
    pub at: Timestamp,
}

impl AuditEvent {
    /// An entry of a kind; the actor's part is filled in by the caller.
    pub fn new(kind: AuditKind, revision: u64, at: Timestamp) -> Self {
        AuditEvent { revision, kind, step: None, actor: None, comment: None, metadata: None, at }
    }
}
