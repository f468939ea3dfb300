//! The settings of the runtime, with defaults that are safe to leave alone.

use std::time::Duration;

use super::ConfigError;
use crate::JsonLimits;
use crate::engine::Limits;

/// Settings of the runtime. Every field has a default; [`SquidmeshBuilder::build`](crate::SquidmeshBuilder::build) checks
/// them together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How long a claim lasts without a heartbeat. A dead worker's step goes on after this time. Default 30 s.
    pub lease: Duration,
    /// How often leases are extended while steps run. Default 10 s; at most half of `lease`.
    pub heartbeat: Duration,
    /// How many times in a row a step may end with its worker before it fails for good. Default 3.
    pub crash_limit: u32,
    /// How long due work of a version that this process does not have is left to others before it counts as stranded: it is
    /// listed then as waiting for its definition, and may be adopted. Also how often this process looks. Default 10 s.
    pub stranded_after: Duration,
    /// The size and depth of payloads, outputs, error details and metadata. Default 1 MiB and 64 levels.
    pub json: JsonLimits,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            crash_limit: 3,
            stranded_after: Duration::from_secs(10),
            json: JsonLimits::default(),
        }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.heartbeat.is_zero() || self.heartbeat > self.lease / 2 {
            return Err(ConfigError::Heartbeat { heartbeat: self.heartbeat, lease: self.lease });
        }
        if self.crash_limit == 0 {
            return Err(ConfigError::CrashLimit);
        }
        if self.stranded_after.is_zero() {
            return Err(ConfigError::StrandedAtOnce);
        }
        Ok(())
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { json: self.json, crashes: self.crash_limit }
    }
}
