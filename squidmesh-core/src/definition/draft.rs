//! A definition before it is checked: what a builder collected or a store read.
//!
//! It may hold anything; `validate` decides. Its serialised form is that of a `Definition`.

use std::time::Duration;

use serde::Deserialize;

use super::duration::{millis, optional_millis};
use super::retry::Retry;
use super::step::{InputMapping, Priority, RecoveryPolicy, StepKind};
use super::transition::{Guard, RecoveryRoute, TransitionOutcome};
use super::trigger::TriggerKind;
use crate::contract::Contract;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) triggers: Vec<TriggerDraft>,
    #[serde(default)]
    pub(crate) signals: Vec<SignalDraft>,
    pub(crate) steps: Vec<StepDraft>,
    #[serde(default)]
    pub(crate) transitions: Vec<TransitionDraft>,
}

impl Draft {
    /// Returns whether nothing connects the steps.
    pub(crate) fn is_unconnected(&self) -> bool {
        self.transitions.is_empty() && self.steps.iter().all(|step| step.after.is_none())
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TriggerDraft {
    pub(crate) name: String,
    pub(crate) kind: TriggerKind,
    #[serde(default)]
    pub(crate) contract: Contract,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignalDraft {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) contract: Contract,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepDraft {
    pub(crate) name: String,
    pub(crate) kind: StepKind,
    #[serde(default)]
    pub(crate) input: InputMapping,
    pub(crate) output: Option<String>,
    #[serde(default)]
    pub(crate) retry: Retry,
    #[serde(rename = "timeout_ms", with = "optional_millis", default)]
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<DeadlineDraft>,
    /// `None` means that there is no `after`; an empty list is an `after` that names nothing, which is an error.
    pub(crate) after: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) recovery: RecoveryPolicy,
    pub(crate) compensation_retry: Option<Retry>,
    #[serde(default)]
    pub(crate) transactional: bool,
    pub(crate) queue: Option<String>,
    #[serde(default)]
    pub(crate) priority: Priority,
}

impl StepDraft {
    /// Returns the draft of a step that runs a handler, without options.
    pub(crate) fn new(name: &str) -> Self {
        StepDraft {
            name: name.to_owned(),
            kind: StepKind::Handler,
            input: InputMapping::default(),
            output: None,
            retry: Retry::default(),
            timeout: None,
            deadline: None,
            after: None,
            recovery: RecoveryPolicy::default(),
            compensation_retry: None,
            transactional: false,
            queue: None,
            priority: Priority::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadlineDraft {
    #[serde(rename = "after_ms", with = "millis")]
    pub(crate) after: Duration,
    pub(crate) to: Option<TargetDraft>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransitionDraft {
    pub(crate) from: String,
    pub(crate) on: TransitionOutcome,
    pub(crate) guard: Option<Guard>,
    pub(crate) to: TargetDraft,
    pub(crate) recovery: Option<RecoveryRoute>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TargetDraft {
    Step(String),
    Complete,
    Fail,
}
