//! What of the host's own texts leaves the runtime: in events, and so in logs, nothing, unless the host says what may.
//!
//! Knows where in events and in what inspection shows such texts are. What is stored is never changed.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::inspect::Explanation;
use crate::{Attempt, AuditEvent, Event, EventKind, Failure, RunDetails, StepName, StepRun, WorkflowName};

/// What stands where a text was withheld.
pub const WITHHELD: &str = "withheld: it is recorded with the run";

/// A text that came from the host: from its handlers, its callers or its people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostText<'a> {
    /// Where it comes from.
    pub kind: HostTextKind,
    /// The text.
    pub text: &'a str,
    /// The workflow of the run that it is about.
    pub workflow: &'a WorkflowName,
    /// The step that it is about, if it is about one.
    pub step: Option<&'a StepName>,
}

/// Where a text of the host comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostTextKind {
    /// The message of a failure: an error's text, a panic's.
    Message,
    /// The message of a failure's source.
    Source,
    /// The kind of a failure, where it is more than a word.
    Kind,
    /// A text among the details of a failure.
    Detail,
    /// Who approved, rejected, cancelled, ….
    Actor,
    /// What they said.
    Comment,
    /// A text in a payload, an input, an output, or in what a person gave besides.
    Data,
}

/// Decides what of the host's texts is shown. Every text passes it on its way into an event, and so into a log; and on demand in
/// what is inspected, by [`RunDetails::redacted`] and [`Explanation::redacted`].
///
/// Without one nothing is shown: events have [`WITHHELD`] in place of messages, and no details, sources and actors. A closure is one:
///
/// ```
/// use squidmesh_core::{HostText, HostTextKind, Redaction};
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
    /// The text as it may be shown; `None` withholds it.
    fn show(&self, text: &HostText<'_>) -> Option<String>;
}

impl<F: Fn(&HostText<'_>) -> Option<String> + Send + Sync + 'static> Redaction for F {
    fn show(&self, text: &HostText<'_>) -> Option<String> {
        self(text)
    }
}

/// Shows nothing: what a runtime does if nothing else was said.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShowNothing;

impl Redaction for ShowNothing {
    fn show(&self, _: &HostText<'_>) -> Option<String> {
        None
    }
}

/// Shows every text as it is: for hosts that keep secrets out of their errors, and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShowEverything;

impl Redaction for ShowEverything {
    fn show(&self, text: &HostText<'_>) -> Option<String> {
        Some(text.text.to_owned())
    }
}

/// An event as it may be told.
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
        EventKind::Audited { step, actor: Some(text), .. } => {
            let told = Texts { by, workflow, step: step.as_ref() }.show(HostTextKind::Actor, text);
            if let EventKind::Audited { actor, .. } = &mut shown.to_mut().kind {
                *actor = told;
            }
        }
        _ => {}
    }
    shown
}

impl RunDetails {
    /// The same with every text of the host as it may be shown: for pages and interfaces that people look at.
    #[must_use]
    pub fn redacted(mut self, by: &dyn Redaction) -> Self {
        let workflow = self.run.workflow.clone();
        let run = Texts { by, workflow: &workflow, step: None };
        run.object(std::sync::Arc::make_mut(&mut self.run.payload));
        run.object(&mut self.context);
        run.optional(&mut self.run.last_error);
        self.run.idempotency_key = self.run.idempotency_key.and_then(|key| run.show(HostTextKind::Data, &key));
        for view in &mut self.steps {
            let step = Texts { by, workflow: &workflow, step: Some(&view.name) };
            view.attempts.iter_mut().for_each(|attempt: &mut Attempt| step.optional(&mut attempt.error));
            view.run.iter_mut().for_each(|run| step.step_run(run));
        }
        self.audit.iter_mut().for_each(|entry| run.audit(entry));
        self
    }
}

impl Explanation {
    /// The same with every text of the host as it may be shown.
    #[must_use]
    pub fn redacted(mut self, by: &dyn Redaction, workflow: &WorkflowName) -> Self {
        let step = self.step.clone();
        Texts { by, workflow, step: step.as_ref() }.optional(&mut self.failure);
        self
    }
}

/// The texts about one run or step.
struct Texts<'a> {
    by: &'a dyn Redaction,
    workflow: &'a WorkflowName,
    step: Option<&'a StepName>,
}

impl Texts<'_> {
    fn show(&self, kind: HostTextKind, text: &str) -> Option<String> {
        self.by.show(&HostText { kind, text, workflow: self.workflow, step: self.step })
    }

    fn failure(&self, failure: &mut Failure) {
        if !is_word(&failure.kind) {
            failure.kind = self.show(HostTextKind::Kind, &failure.kind).unwrap_or_else(|| "withheld".to_owned());
        }
        failure.message = self.show(HostTextKind::Message, &failure.message).unwrap_or_else(|| WITHHELD.to_owned());
        let chain = std::mem::take(&mut failure.chain);
        failure.chain = chain.iter().filter_map(|text| self.show(HostTextKind::Source, text)).collect();
        if let Some(details) = &mut failure.details {
            self.value(HostTextKind::Detail, details);
        }
        failure.details = failure.details.take().filter(|details| !is_bare(details));
    }

    fn optional(&self, failure: &mut Option<Failure>) {
        failure.iter_mut().for_each(|failure| self.failure(failure));
    }

    fn step_run(&self, run: &mut StepRun) {
        self.object(std::sync::Arc::make_mut(&mut run.input));
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

    fn audit(&self, entry: &mut AuditEvent) {
        self.person(&mut entry.actor, &mut entry.comment, &mut entry.metadata);
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

    fn object(&self, object: &mut Map<String, Value>) {
        object.values_mut().for_each(|value| self.value(HostTextKind::Data, value));
    }

    /// Every text in a value; one that is withheld becomes null. Numbers are texts too: a card number is one.
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

/// Whether nothing but structure is left.
fn is_bare(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(parts) => parts.iter().all(is_bare),
        Value::Object(parts) => parts.values().all(is_bare),
        _ => false,
    }
}

/// A kind is for programs: a word of letters, digits and a few signs between them.
fn is_word(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c))
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::sample;
    use crate::{AuditKind, Run};

    fn failed(run: &Run) -> Event {
        let mut error = Failure::new("declined", "card S3CRET");
        error.chain = vec!["S3CRET".to_owned()];
        error.details = Some(json!({ "card": ["S3CRET", 4111], "tried": true }));
        let (step, attempt, duration) = (sample::step_name("first"), 1, std::time::Duration::ZERO);
        Event::new(run, sample::STARTED, EventKind::StepFailed { step, attempt, duration, error })
    }

    #[test]
    fn nothing_of_the_host_is_told_unless_it_says_so() {
        let run = sample::run(1);
        let step = Some(sample::step_name("first"));
        let audited = EventKind::Audited { kind: AuditKind::Approved, step, actor: Some("S3CRET".to_owned()) };
        for event in [failed(&run), Event::new(&run, sample::STARTED, audited)] {
            let told = redacted(&event, &ShowNothing).into_owned();
            assert!(!format!("{told:?}").contains("S3CRET") && !format!("{told:?}").contains("4111"), "{told:?}");
            assert_eq!(told.kind.name(), event.kind.name());
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
