//! The declaration of a trigger.
//!
//! Collects options without judging them: whatever is wrong comes out when the workflow is built.

use schemars::JsonSchema;

use crate::contract::{Contract, Field, PayloadSchema};
use crate::definition::draft::TriggerDraft;
use crate::definition::{DefinitionError, MissedPolicy, TriggerKind};

/// The declaration of a way into a workflow. Without a payload declared it takes none.
#[derive(Clone, Debug)]
#[must_use = "a trigger counts only once it is given to a workflow"]
pub struct Trigger {
    name: String,
    kind: TriggerKind,
    schema: Option<PayloadSchema>,
    fields: Vec<Field>,
    /// Whether a payload type was declared when there was one already.
    twice: bool,
    /// Options that only a schedule can have, given to a manual trigger.
    misplaced: Vec<&'static str>,
}

impl Trigger {
    /// A trigger that the host pulls by starting a run.
    pub fn manual(name: impl AsRef<str>) -> Self {
        Self::new(name.as_ref(), TriggerKind::Manual)
    }

    /// A trigger that a schedule pulls: the workers fire each occurrence once, however many processes there are. It needs an
    /// expression and a time zone, and every field of its payload a default. Handlers see the intended time in
    /// [`StepContext::intended_at`](crate::StepContext::intended_at).
    ///
    /// ```
    /// use squidmesh_core::{Field, MissedPolicy, Trigger};
    ///
    /// let nightly = Trigger::cron("nightly")
    ///     .expression("30 2 * * 1-5")
    ///     .time_zone("Europe/Berlin")
    ///     .missed(MissedPolicy::Once) // after downtime, one run stands for all that were missed
    ///     .field(Field::integer("limit").default(1_000));
    /// ```
    ///
    /// A trigger begins when a process with it first runs workers; nothing fires for the time before. When a version changes the
    /// schedule, the new one begins likewise; until the last process with the old version is gone, both fire, each occurrence
    /// once.
    pub fn cron(name: impl AsRef<str>) -> Self {
        let missed = MissedPolicy::default();
        Self::new(name.as_ref(), TriggerKind::Cron { expression: String::new(), time_zone: String::new(), missed })
    }

    fn new(name: &str, kind: TriggerKind) -> Self {
        let name = name.to_owned();
        Self { name, kind, schema: None, fields: Vec::new(), twice: false, misplaced: Vec::new() }
    }

    /// When to fire: minute, hour, day of month, month and day of week, as in `0 3 * * 1-5`; see
    /// [`Schedule::new`](crate::schedule::Schedule::new) for what each field takes, and [`schedule`](crate::schedule) for what
    /// happens when the clocks change.
    pub fn expression(self, cron: impl AsRef<str>) -> Self {
        self.scheduled("expression", |kind| {
            if let TriggerKind::Cron { expression, .. } = kind {
                *expression = cron.as_ref().to_owned();
            }
        })
    }

    /// The IANA name of the time zone in which the expression is read, such as `Europe/Berlin`.
    pub fn time_zone(self, name: impl AsRef<str>) -> Self {
        self.scheduled("time_zone", |kind| {
            if let TriggerKind::Cron { time_zone, .. } = kind {
                *time_zone = name.as_ref().to_owned();
            }
        })
    }

    /// What happens to occurrences that were missed while nothing ran; they are skipped unless this says otherwise.
    pub fn missed(self, policy: MissedPolicy) -> Self {
        self.scheduled("missed", |kind| {
            if let TriggerKind::Cron { missed, .. } = kind {
                *missed = policy;
            }
        })
    }

    fn scheduled(mut self, option: &'static str, set: impl FnOnce(&mut TriggerKind)) -> Self {
        match self.kind {
            TriggerKind::Cron { .. } => set(&mut self.kind),
            TriggerKind::Manual => self.misplaced.push(option),
        }
        self
    }

    /// Takes a payload of this type, which must be an object without other fields.
    pub fn payload<T: JsonSchema>(mut self) -> Self {
        self.twice |= self.schema.is_some();
        self.schema = Some(PayloadSchema::of::<T>());
        self
    }

    /// Takes a payload with this field, and others that are declared likewise.
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    pub(super) fn into_draft(self, errors: &mut Vec<DefinitionError>) -> TriggerDraft {
        if self.twice || (self.schema.is_some() && !self.fields.is_empty()) {
            errors.push(DefinitionError::PayloadDeclaredTwice { trigger: self.name.clone() });
        }
        for option in self.misplaced {
            errors.push(DefinitionError::CronOptionOnManualTrigger { trigger: self.name.clone(), option });
        }
        let contract = match self.schema {
            Some(schema) => Contract::Schema(schema),
            None if self.fields.is_empty() => Contract::Nothing,
            None => Contract::Fields(self.fields),
        };
        TriggerDraft { name: self.name, kind: self.kind, contract }
    }
}
