//! Validates the settings of an executor.
//!
//! Knows no Redis. An invalid setting is rejected by name, and never replaced by another value.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use squidmesh_core::definition::QueueName;
use squidmesh_core::port::InvalidSetting;

/// The shortest and the longest interval between two sweeps: a shorter one only adds load, a longer one does not
/// protect.
const SWEEP_INTERVALS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(24 * 3_600));

/// Checks the settings when a runtime is built with them.
pub(crate) fn check(
    concurrency: usize,
    lanes: &BTreeMap<QueueName, usize>,
    accepted: Option<&BTreeSet<QueueName>>,
    sweep: Duration,
) -> Result<(), InvalidSetting> {
    if concurrency == 0 {
        return Err(InvalidSetting::new("concurrency", "0", "it must be at least 1"));
    }
    if let Some((queue, _)) = lanes.iter().find(|(_, steps)| **steps == 0) {
        let rule = "it must be at least 1 for a queue with its own workers";
        return Err(InvalidSetting::new("queue", format!("0 for {queue}"), rule));
    }
    if accepted.is_some_and(BTreeSet::is_empty) {
        let rule = "it would refuse every step: name the queues, or omit it to accept all";
        return Err(InvalidSetting::new("accept_only", "empty", rule));
    }
    if sweep < SWEEP_INTERVALS.0 || sweep > SWEEP_INTERVALS.1 {
        let rule = "it must be between 10 milliseconds and a day";
        return Err(InvalidSetting::new("sweep_interval", format!("{sweep:?}"), rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use squidmesh_core::port::Executor;

    use crate::RedisExecutor;

    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let executor = || RedisExecutor::new("redis://localhost:1").unwrap();
        let none: [&str; 0] = [];
        assert!(executor().check().is_ok());
        for (setting, executor) in [
            ("concurrency", executor().concurrency(0)),
            ("queue", executor().queue("reports", 0).unwrap()),
            ("accept_only", executor().accept_only(none).unwrap()),
            ("sweep_interval", executor().sweep_interval(Duration::ZERO)),
            ("sweep_interval", executor().sweep_interval(Duration::MAX)),
        ] {
            assert_eq!(executor.check().unwrap_err().setting, setting);
        }
    }
}
