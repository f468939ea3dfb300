//! The settings of the runtime. The defaults are safe to keep.

use std::time::Duration;

use super::ConfigError;
use crate::engine::Limits;
use crate::json::JsonLimits;

/// The smallest possible payload.
const EMPTY_OBJECT: &str = "{}";

/// The settings of the runtime. Every field has a default;
/// [`SquidmeshBuilder::build`](crate::command::SquidmeshBuilder::build) checks them together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How long a claim lasts without a heartbeat. A dead worker's step is taken over after this time. Default 30 s.
    pub lease: Duration,
    /// How often leases are extended while steps run. Default 10 s; at most a third of `lease`.
    pub heartbeat: Duration,
    /// How many times in a row a step may end with its worker before it fails permanently. An attempt whose worker
    /// returns with its outcome, however late, does not count; after the last one, the step waits for one lease more
    /// before it fails. Lost attempts also use up the step's retries: if those run out first, as with the default of
    /// three attempts, the step fails at once. Default 3.
    pub crash_limit: u32,
    /// How long due work of a version that this process does not have is left to other processes before it counts as
    /// stranded: its run is then listed as waiting for its definition, and may be adopted. Also how often this
    /// process checks for such work. Default 10 s.
    pub stranded_after: Duration,
    /// How long a handler that watches its [cancellation](crate::StepContext::cancellation) may take to stop after
    /// its step's timeout; one that never checks it is dropped at once. Default 1 s.
    pub timeout_grace: Duration,
    /// How long leases are extended for a host whose async runtime does not run because its handlers block all of its
    /// threads. After that, other processes take its work over, even if it is still alive; a warning is logged after
    /// the first lease. Default 10 minutes; at least one lease.
    pub stalled_after: Duration,
    /// The timeout of a host's call: of each start, command, replay, inspection and so on, unless it is given
    /// [another one](crate::Squidmesh::timeout). A call without an answer by then fails, and its error states whether
    /// it may still take effect. Default 10 s, which is longer than a store's own timeout.
    pub call_timeout: Duration,
    /// How long ended runs are kept. Workers delete runs that ended longer ago every ten minutes, or more often if
    /// the retention is shorter, as [`prune_runs`](crate::Squidmesh::prune_runs) does. Default `None`: nothing is
    /// deleted automatically.
    pub retention: Option<Duration>,
    /// The limits of size and depth for payloads, outputs, error details and metadata. Default 1 MiB and 64 levels.
    pub json: JsonLimits,
    /// The maximum size of a run's context, in bytes of compact JSON: the outputs of its steps together, where an
    /// output that replaces another counts in its place. A step whose output does not fit fails permanently, with the
    /// kind [`context_too_large`](crate::run::FailureKind::CONTEXT_TOO_LARGE). Default 16 MiB; at least the size of one
    /// output.
    pub max_context_bytes: usize,
    /// The maximum number of signals of a run that no step has taken; more are refused. Default 100; at least 1.
    pub max_buffered_signals: usize,
    /// The maximum size of their payloads together, in bytes of compact JSON. Default 4 MiB; at least the size of one
    /// payload.
    pub max_buffered_signal_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            crash_limit: 3,
            stranded_after: Duration::from_secs(10),
            timeout_grace: Duration::from_secs(1),
            stalled_after: Duration::from_secs(600),
            call_timeout: Duration::from_secs(10),
            retention: None,
            json: JsonLimits::default(),
            max_context_bytes: 16 << 20,
            max_buffered_signals: 100,
            max_buffered_signal_bytes: 4 << 20,
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.heartbeat.is_zero() || self.heartbeat > self.lease / 3 {
            return Err(ConfigError::Heartbeat { heartbeat: self.heartbeat, lease: self.lease });
        }
        if self.crash_limit == 0 {
            return Err(ConfigError::CrashLimit);
        }
        if self.stalled_after.is_zero() {
            return Err(ConfigError::StalledAtOnce);
        }
        if self.stranded_after.is_zero() {
            return Err(ConfigError::StrandedAtOnce);
        }
        if self.max_context_bytes < self.json.max_bytes {
            let (context, output) = (self.max_context_bytes, self.json.max_bytes);
            return Err(ConfigError::ContextLimit { context, output });
        }
        if self.max_buffered_signals == 0 {
            return Err(ConfigError::NoSignals);
        }
        if self.max_buffered_signal_bytes < self.json.max_bytes {
            let (buffer, signal) = (self.max_buffered_signal_bytes, self.json.max_bytes);
            return Err(ConfigError::SignalBytes { buffer, signal });
        }
        if self.call_timeout.is_zero() {
            return Err(ConfigError::CallTimeout);
        }
        if self.retention.is_some_and(|kept| kept.is_zero()) {
            return Err(ConfigError::Retention);
        }
        if self.json.max_bytes < EMPTY_OBJECT.len() || !(1..=JsonLimits::DEPTH_CEILING).contains(&self.json.max_depth) {
            return Err(ConfigError::Json { limits: self.json });
        }
        Ok(())
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            json: self.json,
            context: self.max_context_bytes,
            signals: self.max_buffered_signals,
            signal_bytes: self.max_buffered_signal_bytes,
            crashes: self.crash_limit,
            suspense: self.lease,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{ms, secs};

    fn checked(change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let mut config = Config::default();
        change(&mut config);
        config.check()
    }

    #[test]
    fn a_setting_that_cannot_work_is_refused() {
        assert!(checked(|_| ()).is_ok());
        assert!(matches!(checked(|config| config.call_timeout = Duration::ZERO), Err(ConfigError::CallTimeout)));
        assert!(matches!(checked(|config| config.retention = Some(Duration::ZERO)), Err(ConfigError::Retention)));
        assert!(matches!(checked(|config| config.max_buffered_signals = 0), Err(ConfigError::NoSignals)));
        let small = checked(|config| config.max_buffered_signal_bytes = 1);
        assert!(matches!(small, Err(ConfigError::SignalBytes { buffer: 1, .. })), "{small:?}");
        assert!(matches!(checked(|config| config.json.max_bytes = 0), Err(ConfigError::Json { .. })));
        assert!(matches!(checked(|config| config.json.max_depth = 0), Err(ConfigError::Json { .. })));
        assert!(matches!(checked(|config| config.json.max_depth = 101), Err(ConfigError::Json { .. })));
    }

    #[test]
    fn a_lease_outlives_two_heartbeats_that_fail() {
        assert!(checked(|config| (config.lease, config.heartbeat) = (secs(3), secs(1))).is_ok());
        let short = checked(|config| (config.lease, config.heartbeat) = (ms(2_999), secs(1)));
        assert!(matches!(short, Err(ConfigError::Heartbeat { .. })), "{short:?}");
    }
}
