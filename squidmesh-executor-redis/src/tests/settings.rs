//! Settings that cannot work.

use std::time::Duration;

use squidmesh_core::port::Executor;

use crate::RedisExecutor;

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
