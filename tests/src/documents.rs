//! The code in the README and the guides: compiled, and run where it runs in memory, with the doctests.

#[doc = include_str!("../../README.md")]
pub struct Readme;

#[doc = include_str!("../../docs/guides/writing-workflows.md")]
pub struct WritingWorkflows;

#[doc = include_str!("../../docs/guides/operating-runs.md")]
pub struct OperatingRuns;

#[doc = include_str!("../../docs/guides/testing-workflows.md")]
pub struct TestingWorkflows;

#[doc = include_str!("../../docs/guides/deploying-new-versions.md")]
pub struct DeployingNewVersions;

#[doc = include_str!("../../docs/guides/guarantees.md")]
pub struct Guarantees;

#[doc = include_str!("../../docs/guides/choosing-an-executor.md")]
pub struct ChoosingAnExecutor;
