//! The declaration of a trigger.
//!
//! Collects options without checking them. Errors are reported when the workflow is built.

use super::payload::{DeclaredPayload, Payload};
use crate::contract::{Field, PayloadSchema};
use crate::definition::draft::TriggerDraft;
use crate::definition::{DefinitionError, MissedPolicy, PayloadOwner, TriggerKind};

/// The declaration of a trigger. A trigger without a declared payload takes none.
#[derive(Clone, Debug)]
#[must_use = "a trigger counts only once it is given to a workflow"]
pub struct Trigger {
    name: String,
    kind: TriggerKind,
    payload: DeclaredPayload,
    /// Options that only a schedule can have, set on a manual trigger.
    misplaced: Vec<&'static str>,
}

impl Trigger {
    /// Declares a trigger that fires when the host starts a run.
    pub fn manual(name: impl AsRef<str>) -> Self {
        Self::new(name.as_ref(), TriggerKind::Manual)
    }

    /// Declares a trigger that fires on a schedule. The workers fire each occurrence once, however many processes
    /// there are. The trigger needs an expression and a time zone, and a default for every field of its payload.
    /// Handlers read the intended time from [`StepContext::intended_at`](crate::StepContext::intended_at).
    ///
    /// ```
    /// use squidmesh_core::definition::MissedPolicy;
    /// use squidmesh_core::{Field, Trigger};
    ///
    /// let nightly = Trigger::cron("nightly")
    ///     .expression("30 2 * * 1-5")
    ///     .time_zone("Europe/Berlin")
    ///     .missed(MissedPolicy::Once) // after downtime, one run stands for all that were missed
    ///     .field(Field::integer("limit").default(1_000));
    /// ```
    ///
    /// A trigger becomes active when a process that registered it first runs workers; it fires nothing for the
    /// time before. When a version changes the schedule, the new schedule becomes active in the same way. Until
    /// the last process with the old version has stopped, both fire, each occurrence once.
    pub fn cron(name: impl AsRef<str>) -> Self {
        let missed = MissedPolicy::default();
        Self::new(name.as_ref(), TriggerKind::Cron { expression: String::new(), time_zone: String::new(), missed })
    }

    fn new(name: &str, kind: TriggerKind) -> Self {
        let name = name.to_owned();
        Self { name, kind, payload: DeclaredPayload::default(), misplaced: Vec::new() }
    }

    /// Sets when to fire: minute, hour, day of month, month and day of week, as in `0 3 * * 1-5`. See
    /// [`Schedule::new`](crate::schedule::Schedule::new) for the syntax of each field, and
    /// [`schedule`](crate::schedule) for what happens when the clocks change.
    pub fn expression(self, cron: impl AsRef<str>) -> Self {
        self.scheduled("expression", |expression, _, _| *expression = cron.as_ref().to_owned())
    }

    /// Sets the time zone of the expression, by its IANA name, such as `Europe/Berlin`.
    pub fn time_zone(self, name: impl AsRef<str>) -> Self {
        self.scheduled("time_zone", |_, time_zone, _| *time_zone = name.as_ref().to_owned())
    }

    /// Sets what happens to occurrences that were missed while nothing ran; the default is to skip them.
    pub fn missed(self, policy: MissedPolicy) -> Self {
        self.scheduled("missed", |_, _, missed| *missed = policy)
    }

    /// Sets an option of the schedule: `set` is given the expression, the time zone and the policy.
    fn scheduled(
        mut self,
        option: &'static str,
        set: impl FnOnce(&mut String, &mut String, &mut MissedPolicy),
    ) -> Self {
        match &mut self.kind {
            TriggerKind::Cron { expression, time_zone, missed } => set(expression, time_zone, missed),
            TriggerKind::Manual => self.misplaced.push(option),
        }
        self
    }

    /// Takes a payload of this type, which must be an object without other fields. The payload is checked against
    /// the JSON Schema of the type, in which a field has one name: a payload that serde would accept through an
    /// `alias` is refused.
    pub fn payload<T: Payload>(mut self) -> Self {
        self.payload.declare(PayloadSchema::of::<T>());
        self
    }

    /// Adds a field to the payload.
    pub fn field(mut self, field: Field) -> Self {
        self.payload.fields.push(field);
        self
    }

    pub(super) fn into_draft(self, errors: &mut Vec<DefinitionError>) -> TriggerDraft {
        let contract = self.payload.into_contract(PayloadOwner::Trigger(self.name.clone()), errors);
        for option in self.misplaced {
            errors.push(DefinitionError::CronOptionOnManualTrigger { trigger: self.name.clone(), option });
        }
        TriggerDraft { name: self.name, kind: self.kind, contract }
    }
}
