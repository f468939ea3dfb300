//! Redaction: which of the host's own texts appear in events, and so in logs. By default, none.
//!
//! Knows where such texts are in events and in inspected data. Stored data is never changed.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::cage;
use crate::event::{Event, EventKind};
use crate::name::{StepName, WorkflowName};
use crate::run::{AuditEvent, AuditKind, Failure, FailureKind, InputSnapshot, ReceivedSignal, StepRun};

/// The replacement for a text that is withheld.
pub const WITHHELD: &str = "withheld: it is recorded with the run";

/// A text of the host: from its handlers, its callers or its operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostText<'a> {
    /// Where the text comes from.
    pub kind: HostTextKind,
    /// The text.
    pub text: &'a str,
    /// The workflow of the run that the text concerns.
    pub workflow: &'a WorkflowName,
    /// The step that the text concerns, if any.
    pub step: Option<&'a StepName>,
}

/// The origin of a text of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostTextKind {
    /// The message of a failure, which is the text of an error or of a panic.
    Message,
    /// The message of a failure's source.
    Source,
    /// The kind of a failure, if it is more than one word.
    Kind,
    /// A text among the details of a failure.
    Detail,
    /// The actor who approved, rejected, cancelled, ….
    Actor,
    /// The actor's comment.
    Comment,
    /// A text in a payload, an input, an output, or the metadata that an actor gave.
    Data,
}

/// Decides which of the host's texts are shown. Every text passes through it before it enters an event, and so a log;
/// inspected data passes through it on demand, by [`RunDetails::redacted`](crate::inspect::RunDetails::redacted) and
/// [`Explanation::redacted`](super::Explanation::redacted).
///
/// By default, nothing is shown: events have [`WITHHELD`] in place of messages, and no details, sources and actors. A
/// closure is a redaction:
///
/// ```
/// use squidmesh_core::inspect::{HostText, HostTextKind, Redaction};
///
/// fn takes(_: impl Redaction) {}
///
/// takes(|text: &HostText<'_>| match text.kind {
///     HostTextKind::Message => Some(text.text.replace("4111 1111 1111 1111", "[card]")),
///     HostTextKind::Actor => Some(text.text.to_owned()),
///     _ => None,
/// });
/// ```
pub trait Redaction: Send + Sync + 'static {
    /// Returns the text as it may be shown; `None`, or a panic, withholds it.
    fn show(&self, text: &HostText<'_>) -> Option<String>;
}

impl<F: Fn(&HostText<'_>) -> Option<String> + Send + Sync + 'static> Redaction for F {
    fn show(&self, text: &HostText<'_>) -> Option<String> {
        self(text)
    }
}

/// Shows nothing: the default of a runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShowNothing;

impl Redaction for ShowNothing {
    fn show(&self, _: &HostText<'_>) -> Option<String> {
        None
    }
}

/// Shows every text unchanged: for hosts that keep secrets out of their errors, and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShowEverything;

impl Redaction for ShowEverything {
    fn show(&self, text: &HostText<'_>) -> Option<String> {
        Some(text.text.to_owned())
    }
}

/// Returns an event with its texts redacted.
pub(crate) fn redacted<'a>(event: &'a Event, by: &dyn Redaction) -> Cow<'a, Event> {
    let mut shown = Cow::Borrowed(event);
    let workflow = &event.workflow;
    match &event.kind {
        EventKind::StepFailed { step, .. }
        | EventKind::CompensationRetryScheduled { step, .. }
        | EventKind::CompensationFailed { step, .. } => {
            let step = step.clone();
            if let EventKind::StepFailed { error, .. }
            | EventKind::CompensationRetryScheduled { error, .. }
            | EventKind::CompensationFailed { error, .. } = &mut shown.to_mut().kind
            {
                Texts { by, workflow, step: Some(&step) }.failure(error);
            }
        }
        EventKind::RouteUnknown { step, route, .. } if !is_word(route) => {
            let shown_route = Texts { by, workflow, step: Some(step) }.show(HostTextKind::Kind, route);
            if let EventKind::RouteUnknown { route, .. } = &mut shown.to_mut().kind {
                *route = shown_route.unwrap_or_else(|| WITHHELD.to_owned());
            }
        }
        EventKind::RunTransition { failure: Some(failure), .. } => {
            let step = failure.step.clone();
            if let EventKind::RunTransition { failure: Some(failure), .. } = &mut shown.to_mut().kind {
                Texts { by, workflow, step: step.as_ref() }.failure(failure);
            }
        }
        EventKind::Audited { step, actor: Some(text), .. } => {
            let shown_actor = Texts { by, workflow, step: step.as_ref() }.show(HostTextKind::Actor, text);
            if let EventKind::Audited { actor, .. } = &mut shown.to_mut().kind {
                *actor = shown_actor;
            }
        }
        _ => {}
    }
    shown
}

/// Redacts the texts that concern one run or step.
pub(crate) struct Texts<'a> {
    pub(crate) by: &'a dyn Redaction,
    pub(crate) workflow: &'a WorkflowName,
    pub(crate) step: Option<&'a StepName>,
}

impl Texts<'_> {
    pub(crate) fn show(&self, kind: HostTextKind, text: &str) -> Option<String> {
        let text = HostText { kind, text, workflow: self.workflow, step: self.step };
        cage::call(|| self.by.show(&text)).unwrap_or_else(|_| {
            tracing::error!(target: "squidmesh", "the redaction panicked, and the text is withheld");
            None
        })
    }

    fn failure(&self, failure: &mut Failure) {
        if !is_word(failure.kind.as_str()) {
            let kind = self.show(HostTextKind::Kind, failure.kind.as_str());
            failure.kind = kind.map_or_else(|| "withheld".into(), FailureKind::from);
        }
        failure.message = self.show(HostTextKind::Message, &failure.message).unwrap_or_else(|| WITHHELD.to_owned());
        let chain = std::mem::take(&mut failure.chain);
        failure.chain = chain.iter().filter_map(|text| self.show(HostTextKind::Source, text)).collect();
        if let Some(details) = &mut failure.details {
            self.value(HostTextKind::Detail, details);
        }
        failure.details = failure.details.take().filter(|details| !is_bare(details));
    }

    pub(crate) fn optional(&self, failure: &mut Option<Failure>) {
        failure.iter_mut().for_each(|failure| self.failure(failure));
    }

    pub(crate) fn step_run(&self, run: &mut StepRun) {
        if let InputSnapshot::Copy(input) = &mut run.input {
            self.object(std::sync::Arc::make_mut(input));
        }
        run.output.iter_mut().for_each(|output| self.object(std::sync::Arc::make_mut(output)));
        self.optional(&mut run.last_error);
        if let Some(manual) = &mut run.manual {
            self.person(&mut manual.actor, &mut manual.comment, &mut manual.metadata);
        }
        if let Some(callback) = &mut run.compensation {
            self.optional(&mut callback.error);
            callback.output.iter_mut().for_each(|output| self.value(HostTextKind::Data, output));
        }
    }

    pub(crate) fn signal(&self, signal: &mut ReceivedSignal) {
        signal.payload.iter_mut().for_each(|payload| self.object(std::sync::Arc::make_mut(payload)));
        signal.dedup_key = signal.dedup_key.take().and_then(|key| self.show(HostTextKind::Data, &key));
    }

    pub(crate) fn audit(&self, entry: &mut AuditEvent) {
        // The names of signals, and how many there were, are no texts of the host.
        if entry.kind == AuditKind::SignalsUnconsumed {
            return;
        }
        let signal = entry.signal();
        self.person(&mut entry.actor, &mut entry.comment, &mut entry.metadata);
        if let (Some(signal), Some(metadata)) = (signal, &mut entry.metadata) {
            metadata.insert(AuditEvent::SIGNAL.to_owned(), Value::from(signal.as_str()));
        }
    }

    fn person(
        &self,
        actor: &mut Option<String>,
        comment: &mut Option<String>,
        metadata: &mut Option<Map<String, Value>>,
    ) {
        *actor = actor.take().and_then(|text| self.show(HostTextKind::Actor, &text));
        *comment = comment.take().and_then(|text| self.show(HostTextKind::Comment, &text));
        metadata.iter_mut().for_each(|metadata| self.object(metadata));
    }

    pub(crate) fn object(&self, object: &mut Map<String, Value>) {
        object.values_mut().for_each(|value| self.value(HostTextKind::Data, value));
    }

    /// Redacts every text in a value; a withheld one becomes null. Numbers count as texts: a card number is one.
    fn value(&self, kind: HostTextKind, value: &mut Value) {
        match value {
            Value::String(text) => *value = self.show(kind, text).map_or(Value::Null, Value::String),
            Value::Number(number) => {
                let text = number.to_string();
                match self.show(kind, &text) {
                    Some(shown) if shown == text => {}
                    shown => *value = shown.map_or(Value::Null, Value::String),
                }
            }
            Value::Array(parts) => parts.iter_mut().for_each(|part| self.value(kind, part)),
            Value::Object(parts) => parts.values_mut().for_each(|part| self.value(kind, part)),
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// Returns whether nothing but structure is left.
fn is_bare(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(parts) => parts.iter().all(is_bare),
        Value::Object(parts) => parts.values().all(is_bare),
        _ => false,
    }
}

/// Returns whether a kind is a word for programs: letters, digits and a few signs between them.
fn is_word(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c))
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::{AuditKind, Run};
    use crate::testing::sample;

    fn failed(run: &Run) -> Event {
        let mut error = Failure::new("declined", "card S3CRET");
        error.chain = vec!["S3CRET".to_owned()];
        error.details = Some(json!({ "card": ["S3CRET", 4111], "tried": true }));
        let (step, attempt, duration) = (sample::step_name("first"), 1, std::time::Duration::ZERO);
        Event::new(run, sample::STARTED, EventKind::StepFailed { step, attempt, duration, error, is_final: false })
    }

    #[test]
    fn no_text_of_the_host_is_shown_by_default() {
        let run = sample::run(1);
        let step = Some(sample::step_name("first"));
        let audited =
            EventKind::Audited { kind: AuditKind::Approved, step, actor: Some("S3CRET".to_owned()), signal: None };
        let (step, route) = (sample::step_name("first"), "to S3CRET".to_owned());
        let unknown = EventKind::RouteUnknown { step, route, is_final: true };
        let event = |kind| Event::new(&run, sample::STARTED, kind);
        for event in [failed(&run), event(audited), event(unknown)] {
            let shown = redacted(&event, &ShowNothing).into_owned();
            assert!(!format!("{shown:?}").contains("S3CRET") && !format!("{shown:?}").contains("4111"), "{shown:?}");
            assert_eq!(shown.kind.name(), event.kind.name());
            assert_eq!(*redacted(&event, &ShowEverything), event);
        }
        let plain = Event::new(&run, sample::STARTED, EventKind::RunCreated);
        assert!(matches!(redacted(&plain, &ShowNothing), Cow::Borrowed(_)), "nothing is copied without need");
    }

    #[test]
    fn a_host_decides_text_by_text() {
        let run = sample::run(1);
        let shown = |text: &HostText<'_>| match text.kind {
            HostTextKind::Message => Some(text.text.replace("S3CRET", "…")),
            HostTextKind::Detail if text.text == "4111" => Some("a number".to_owned()),
            _ => None,
        };
        let EventKind::StepFailed { error, .. } = redacted(&failed(&run), &shown).into_owned().kind else {
            panic!("it is still a failed step")
        };
        assert_eq!((error.kind.as_str(), error.message.as_str()), ("declined", "card …"));
        assert_eq!(error.chain, Vec::<String>::new());
        assert_eq!(error.details, Some(json!({ "card": [null, "a number"], "tried": true })));
    }

    #[test]
    fn a_kind_that_is_no_word_is_a_text() {
        let mut error = Failure::new("card S3CRET declined", "no");
        Texts { by: &ShowNothing, workflow: &sample::workflow("w"), step: None }.failure(&mut error);
        assert_eq!(error.kind, "withheld");
    }
}
