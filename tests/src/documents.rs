//! The code in the README and the guides: compiled with the doctests, and run where it runs in memory.

#[doc = include_str!("../../README.md")]
pub struct Readme;

#[doc = include_str!("../../squidmesh-core/docs/guides/writing-workflows.md")]
pub struct WritingWorkflows;

#[doc = include_str!("../../squidmesh-core/docs/guides/operating-runs.md")]
pub struct OperatingRuns;

#[doc = include_str!("../../squidmesh-core/docs/guides/testing-workflows.md")]
pub struct TestingWorkflows;

#[doc = include_str!("../../squidmesh-core/docs/guides/deploying-new-versions.md")]
pub struct DeployingNewVersions;

#[doc = include_str!("../../squidmesh-core/docs/guides/guarantees.md")]
pub struct Guarantees;

#[doc = include_str!("../../squidmesh-core/docs/guides/using-a-database.md")]
pub struct UsingADatabase;

#[doc = include_str!("../../squidmesh-core/docs/guides/choosing-an-executor.md")]
pub struct ChoosingAnExecutor;

#[doc = include_str!("../../squidmesh-core/docs/guides/choosing-the-way-on.md")]
pub struct ChoosingTheWayOn;

#[doc = include_str!("../../squidmesh-core/docs/guides/waiting-for-the-outside-world.md")]
pub struct WaitingForTheOutsideWorld;

#[doc = include_str!("../../squidmesh-core/docs/guides/your-own-errors.md")]
pub struct YourOwnErrors;

#[doc = include_str!("../../squidmesh-core/docs/guides/in-a-web-service.md")]
pub struct InAWebService;
