//! The declaration of a step.
//!
//! Collects options without judging them: whatever is wrong comes out when the workflow is built.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, StepAction, StepFuture, StepInput, hide};
use super::built_in::BuiltIn;
use crate::definition::draft::StepDraft;
use crate::definition::{DefinitionError, InputMapping, Priority, RecoveryPolicy, Retry, StepKind, whole_ms};
use crate::handler::{ErasedHandler, ErasedTransactional};

/// The declaration of a step: its name, what it runs, and its options.
///
/// ```
/// use squidmesh_core::{Priority, Retry, Step, StepContext, StepResult, secs};
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
    name: String,
    runs: StepAction,
    keys: Option<Vec<String>>,
    paths: Vec<(String, String)>,
    output: Option<String>,
    retry: Retry,
    timeout: Option<Duration>,
    after: Option<Vec<String>>,
    irreversible: bool,
    compensatable: Option<bool>,
    compensation: Option<Arc<dyn ErasedHandler>>,
    compensation_retry: Option<Retry>,
    queue: Option<String>,
    priority: Priority,
}

/// A step apart: what the definition says of it, and its code.
pub(super) struct Parts {
    pub(super) draft: StepDraft,
    pub(super) handler: Option<Arc<dyn ErasedHandler>>,
    pub(super) transactional: Option<Arc<dyn ErasedTransactional>>,
    pub(super) compensation: Option<Arc<dyn ErasedHandler>>,
}

impl Step {
    /// A step that runs an `async fn(Input, StepContext) -> StepResult<Output>`, a type that implements
    /// [`Handler`](crate::Handler), a handler in the transaction of its outcome: [`transactional`](crate::transactional), or a
    /// built-in: [`wait`](crate::wait), [`log`](crate::log), [`pause`](crate::pause), [`approval`](crate::approval).
    pub fn new<A, Marker>(name: impl AsRef<str>, action: A) -> Self
    where
        A: Action<Marker>,
        A::Input: StepInput,
        A::Returned: StepFuture,
    {
        Self {
            name: name.as_ref().to_owned(),
            runs: action.into_runs(hide::<A::Function, A::Input, A::Returned>).into(),
            keys: None,
            paths: Vec::new(),
            output: None,
            retry: Retry::default(),
            timeout: None,
            after: None,
            irreversible: false,
            compensatable: None,
            compensation: None,
            compensation_retry: None,
            queue: None,
            priority: Priority::default(),
        }
    }

    /// Gives the step only these keys of payload and context, instead of everything.
    pub fn input<K: AsRef<str>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.keys.get_or_insert_default().extend(keys.into_iter().map(|key| key.as_ref().to_owned()));
        self
    }

    /// Gives the step these new keys, each with the value that its path finds in payload and context: keys (and places in
    /// lists) separated by dots, such as `order.lines.0.price`. Can be combined with [`Step::input`].
    pub fn input_from<K: AsRef<str>, P: AsRef<str>>(mut self, paths: impl IntoIterator<Item = (K, P)>) -> Self {
        self.paths.extend(paths.into_iter().map(|(key, path)| (key.as_ref().to_owned(), path.as_ref().to_owned())));
        self
    }

    /// Puts the output under this key of the context, instead of merging its own keys into it. Needed for outputs that are
    /// not objects.
    pub fn output(mut self, key: impl AsRef<str>) -> Self {
        self.output = Some(key.as_ref().to_owned());
        self
    }

    /// How often and when a failed attempt is repeated, instead of [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How long one attempt may take. Millisecond precision; unlimited if not given.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(whole_ms(timeout));
        self
    }

    /// Starts the step when all these have completed. Makes the workflow a dependency workflow.
    pub fn after<N: AsRef<str>>(mut self, steps: impl IntoIterator<Item = N>) -> Self {
        self.after.get_or_insert_default().extend(steps.into_iter().map(|step| step.as_ref().to_owned()));
        self
    }

    /// Runs this function or handler, with a [`Compensation`](crate::Compensation) as its input, to make the step good when
    /// the run fails after the step has completed.
    pub fn compensate<A, Marker>(mut self, handler: A) -> Self
    where
        A: Action<Marker, Runs = Arc<dyn ErasedHandler>>,
        A::Input: StepInput,
        A::Returned: StepFuture,
    {
        self.compensation = Some(handler.into_runs(hide::<A::Function, A::Input, A::Returned>));
        self
    }

    /// How often and when a failed compensation is repeated; without this, one failure of it is final. The compensations of
    /// other steps wait for it, so that their order is kept.
    pub fn compensation_retry(mut self, retry: Retry) -> Self {
        self.compensation_retry = Some(retry);
        self
    }

    /// Says that the effect cannot be taken back and must not happen twice: once the step has completed, the run cannot be
    /// replayed without being told to.
    pub fn irreversible(mut self) -> Self {
        self.irreversible = true;
        self
    }

    /// Says whether the effect can be made good; it can, unless the step is irreversible or says otherwise.
    pub fn compensatable(mut self, compensatable: bool) -> Self {
        self.compensatable = Some(compensatable);
        self
    }

    /// The queue that delivers the step, instead of `default`.
    pub fn queue(mut self, queue: impl AsRef<str>) -> Self {
        self.queue = Some(queue.as_ref().to_owned());
        self
    }

    /// The step's rank among others that are due.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    pub(super) fn into_parts(self, errors: &mut Vec<DefinitionError>) -> Parts {
        let input = mapping(&self.name, self.keys, self.paths, errors);
        let (kind, deadline, handler, transactional) = match self.runs {
            StepAction::Handler(handler) => (StepKind::Handler, None, Some(handler), None),
            StepAction::Transactional(handler) => (StepKind::Handler, None, None, Some(handler)),
            StepAction::BuiltIn(BuiltIn { kind, deadline }) => (kind, deadline, None, None),
        };
        let recovery = RecoveryPolicy {
            irreversible: self.irreversible,
            compensatable: self.compensatable.unwrap_or(!self.irreversible),
            compensated_by_handler: self.compensation.is_some(),
        };
        let draft = StepDraft {
            name: self.name,
            kind,
            input,
            output: self.output,
            retry: self.retry,
            timeout: self.timeout,
            deadline,
            after: self.after,
            recovery,
            compensation_retry: self.compensation_retry,
            transactional: transactional.is_some(),
            queue: self.queue,
            priority: self.priority,
        };
        Parts { draft, handler, transactional, compensation: self.compensation }
    }
}

/// Keys alone stay a list; with paths beside them each becomes the path to itself.
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
