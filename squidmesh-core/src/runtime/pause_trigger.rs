//! Pausing and resuming a cron trigger, as a call of the host.

use std::sync::Arc;
use std::time::Duration;

use super::awaited::awaited;
use super::{Call, Runtime, TriggerError, TriggerStatus};

/// Pauses or resumes a cron trigger when it is awaited. Created by
/// [`Squidmesh::pause_trigger`](crate::Squidmesh::pause_trigger) and
/// [`Squidmesh::resume_trigger`](crate::Squidmesh::resume_trigger).
#[must_use = "await it"]
pub struct PauseTrigger {
    runtime: Arc<Runtime>,
    workflow: String,
    trigger: String,
    paused: bool,
    actor: Option<String>,
    timeout: Duration,
}

impl PauseTrigger {
    pub(crate) fn new(runtime: Arc<Runtime>, workflow: &str, trigger: &str, paused: bool) -> Self {
        let timeout = runtime.config.call_timeout;
        let (workflow, trigger) = (workflow.to_owned(), trigger.to_owned());
        PauseTrigger { runtime, workflow, trigger, paused, actor: None, timeout }
    }

    /// Sets the actor. Recorded with the trigger, and shown in its [`TriggerStatus::actor`].
    pub fn actor(mut self, actor: impl AsRef<str>) -> Self {
        self.actor = Some(actor.as_ref().to_owned());
        self
    }

    /// Sets the timeout of the call, instead of [`Config::call_timeout`](crate::Config::call_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn write(self) -> Result<TriggerStatus, TriggerError> {
        let PauseTrigger { runtime, workflow, trigger, paused, actor, timeout } = self;
        let call = Call::new(timeout);
        let pausing = runtime.set_paused(&workflow, &trigger, paused, actor, &call);
        call.bound(&*runtime.clock, "writing a cron trigger", pausing).await
    }
}

awaited!(PauseTrigger, write -> Result<TriggerStatus, TriggerError>);
