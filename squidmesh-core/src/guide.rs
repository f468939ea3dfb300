//! The guides, from a first workflow to operating many.
//!
//! Their links lead to the files of the repository. Their code is compiled with the tests.

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/writing-workflows.md"))]
pub mod writing_workflows {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/choosing-the-way-on.md"))]
pub mod choosing_the_way_on {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/waiting-for-the-outside-world.md"))]
pub mod waiting_for_the_outside_world {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/your-own-errors.md"))]
pub mod your_own_errors {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/in-a-web-service.md"))]
pub mod in_a_web_service {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/testing-workflows.md"))]
pub mod testing_workflows {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/operating-runs.md"))]
pub mod operating_runs {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/deploying-new-versions.md"))]
pub mod deploying_new_versions {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/choosing-an-executor.md"))]
pub mod choosing_an_executor {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/using-a-database.md"))]
pub mod using_a_database {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/guides/guarantees.md"))]
pub mod guarantees {}
