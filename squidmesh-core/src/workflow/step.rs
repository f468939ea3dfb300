//! The declaration of a step.
//!
//! Collects options without checking them. Errors are reported when the workflow is built.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use super::StepCode;
use super::action::{Action, StepAction};
use super::built_in::BuiltIn;
use super::step_function::{StepFuture, StepInput, hide};
use crate::definition::draft::StepDraft;
use crate::definition::{DefinitionError, InputMapping, Priority, Retry, whole_ms};
use crate::handler::{Classified, ErasedHandler, Rule, StepError};

/// The declaration of a step: its name, what it runs, and its options.
///
/// ```
/// use squidmesh_core::definition::Priority;
/// use squidmesh_core::{Retry, Step, StepContext, StepResult, secs};
///
/// async fn ship(parcel: serde_json::Value, _: StepContext) -> StepResult<()> { Ok(()) }
///
/// let step = Step::new("ship", ship)
///     .input_from([("address", "order.customer.address")])
///     .output("shipment")
///     .retry(Retry::fixed(3, secs(5)))
///     .timeout(secs(30))
///     .after(["pay", "pack"])
///     .queue("parcels")
///     .priority(Priority::High);
/// ```
#[must_use = "a step counts only once it is given to a workflow"]
pub struct Step {
    draft: StepDraft,
    runs: StepAction,
    keys: Option<Vec<String>>,
    paths: Vec<(String, String)>,
    compensatable: Option<bool>,
    compensation: Option<Arc<dyn ErasedHandler>>,
    /// Whether `terminal_if` was called on a built-in, which has no errors to classify.
    classifies_built_in: bool,
}

impl Step {
    /// Declares a step. It runs an `async fn(Input, StepContext) -> StepResult<Output>`, in which the context may be
    /// left out and a state may be added ([`with`](crate::with)); a type that implements
    /// [`Handler`](crate::Handler); a handler in the transaction that records its outcome
    /// ([`transactional`](crate::transactional)), or a built-in: [`wait`](crate::wait), [`log`](crate::log),
    /// [`pause`](crate::pause), [`approval`](crate::approval), [`wait_for`](crate::wait_for).
    pub fn new<A, Marker>(name: impl AsRef<str>, action: A) -> Self
    where
        A: Action<Marker>,
        A::Input: StepInput,
        A::Returned: StepFuture,
    {
        Self {
            draft: StepDraft::new(name.as_ref()),
            runs: action.into_runs(hide::<A::Function, A::Input, A::Returned>).into(),
            keys: None,
            paths: Vec::new(),
            compensatable: None,
            compensation: None,
            classifies_built_in: false,
        }
    }

    /// Passes only these keys of payload and context to the step, instead of everything.
    pub fn input<K: AsRef<str>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.keys.get_or_insert_default().extend(keys.into_iter().map(|key| key.as_ref().to_owned()));
        self
    }

    /// Passes new keys to the step, each with the value at a path in payload and context. A path is keys (and
    /// indices of lists) separated by dots, such as `order.lines.0.price`. Can be combined with [`Step::input`].
    pub fn input_from<K: AsRef<str>, P: AsRef<str>>(mut self, paths: impl IntoIterator<Item = (K, P)>) -> Self {
        self.paths.extend(paths.into_iter().map(|(key, path)| (key.as_ref().to_owned(), path.as_ref().to_owned())));
        self
    }

    /// Stores the output under this key of the context, instead of merging its own keys into the context.
    /// Required for outputs that are not objects.
    pub fn output(mut self, key: impl AsRef<str>) -> Self {
        self.draft.output = Some(key.as_ref().to_owned());
        self
    }

    /// Makes an error of type `E` terminal if the predicate matches it, for a handler that passes such errors on
    /// with `?` or returns them. Only the first error of that type in the chain of causes is tested. An error that `?`
    /// has converted into an `anyhow::Error` is not found, because that type hides it.
    ///
    /// ```
    /// use std::io;
    /// use squidmesh_core::{Step, StepContext, StepResult};
    ///
    /// async fn import(path: String, _: StepContext) -> StepResult<String> {
    ///     Ok(std::fs::read_to_string(path)?)
    /// }
    ///
    /// let step = Step::new("import", import).terminal_if(|error: &io::Error| error.kind() == io::ErrorKind::NotFound);
    /// ```
    pub fn terminal_if<E: Error + 'static>(mut self, is_terminal: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        let is_terminal: Rule = Arc::new(move |error: &StepError| error.find().is_some_and(&is_terminal));
        self.runs = match self.runs {
            StepAction::Handler(handler) => StepAction::Handler(Arc::new(Classified { inner: handler, is_terminal })),
            StepAction::Transactional(handler) => {
                StepAction::Transactional(Arc::new(Classified { inner: handler, is_terminal }))
            }
            built_in => {
                self.classifies_built_in = true;
                built_in
            }
        };
        self
    }

    /// Sets the retry policy of failed attempts, instead of [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.draft.retry = retry;
        self
    }

    /// Sets how long one attempt may take. Millisecond precision; unlimited if not set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.draft.timeout = Some(whole_ms(timeout));
        self
    }

    /// Starts the step when all the given steps have completed. This makes the workflow a dependency workflow.
    pub fn after<N: AsRef<str>>(mut self, steps: impl IntoIterator<Item = N>) -> Self {
        self.draft.after.get_or_insert_default().extend(steps.into_iter().map(|step| step.as_ref().to_owned()));
        self
    }

    /// Sets the function or handler that undoes the step if the run fails after the step completed. Its input is
    /// a [`Compensation`](crate::workflow::Compensation).
    pub fn compensate<A, Marker>(mut self, handler: A) -> Self
    where
        A: Action<Marker, Runs = Arc<dyn ErasedHandler>>,
        A::Input: StepInput,
        A::Returned: StepFuture,
    {
        self.compensation = Some(handler.into_runs(hide::<A::Function, A::Input, A::Returned>));
        self
    }

    /// Sets the retry policy of the compensation; without it, one failure of the compensation is final. The
    /// compensations of other steps wait for the retries, so that the order is kept.
    pub fn compensation_retry(mut self, retry: Retry) -> Self {
        self.draft.compensation_retry = Some(retry);
        self
    }

    /// Declares that the effect cannot be undone and must not happen twice. Once the step has completed, the run
    /// can be replayed only if the caller allows it explicitly.
    pub fn irreversible(mut self) -> Self {
        self.draft.recovery.irreversible = true;
        self
    }

    /// Declares whether the effect can be undone. By default it can, unless the step is irreversible.
    pub fn compensatable(mut self, compensatable: bool) -> Self {
        self.compensatable = Some(compensatable);
        self
    }

    /// Sets the queue that delivers the step, instead of `default`.
    pub fn queue(mut self, queue: impl AsRef<str>) -> Self {
        self.draft.queue = Some(queue.as_ref().to_owned());
        self
    }

    /// Sets the priority of the step among other due steps.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.draft.priority = priority;
        self
    }

    /// Takes the step apart: its draft for the definition, and its code.
    pub(super) fn into_parts(self, errors: &mut Vec<DefinitionError>) -> (StepDraft, StepCode) {
        let Step { mut draft, compensation, .. } = self;
        if self.classifies_built_in {
            errors.push(DefinitionError::TerminalIfOnBuiltIn { step: draft.name.clone() });
        }
        draft.input = mapping(&draft.name, self.keys, self.paths, errors);
        let (handler, transactional) = match self.runs {
            StepAction::Handler(handler) => (Some(handler), None),
            StepAction::Transactional(handler) => (None, Some(handler)),
            StepAction::BuiltIn(BuiltIn { kind, deadline }) => {
                (draft.kind, draft.deadline) = (kind, deadline);
                (None, None)
            }
        };
        draft.transactional = transactional.is_some();
        draft.recovery.compensatable = self.compensatable.unwrap_or(!draft.recovery.irreversible);
        draft.recovery.compensated_by_handler = compensation.is_some();
        (draft, StepCode { handler, transactional, compensation })
    }
}

/// Returns the input mapping. Keys alone stay a list; together with paths, each key becomes a path to itself.
fn mapping(
    step: &str,
    keys: Option<Vec<String>>,
    paths: Vec<(String, String)>,
    errors: &mut Vec<DefinitionError>,
) -> InputMapping {
    if paths.is_empty() {
        return keys.map_or(InputMapping::Everything, InputMapping::Keys);
    }
    let keys = keys.into_iter().flatten().map(|key| (key.clone(), vec![key]));
    let paths = paths.into_iter().map(|(key, path)| (key, path.split('.').map(str::to_owned).collect()));
    let mut mapping = BTreeMap::new();
    for (key, path) in keys.chain(paths) {
        if mapping.insert(key.clone(), path).is_some() {
            errors.push(DefinitionError::DuplicateInputKey { step: step.to_owned(), key });
        }
    }
    InputMapping::Paths(mapping)
}
