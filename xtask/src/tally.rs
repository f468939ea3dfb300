//! Counts the tests that ran, in total and on each store, from nextest's JUnit report.
//!
//! A test belongs to a store if its path names it: `conformance::sqlite::a_commit_is_atomic`.

use std::fmt;

/// The stores, and the queue that is a server of its own.
const STORES: [&str; 4] = ["memory", "sqlite", "postgres", "redis"];

/// The number of tests that ran, that failed, and that ran on each store.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally {
    ran: usize,
    failed: usize,
    on_store: [usize; STORES.len()],
}

impl Tally {
    /// Counts the test cases of a report; a test that was filtered out is not in it.
    pub(crate) fn from_junit(report: &str) -> Self {
        let mut tally = Self::default();
        for case in report.split("<testcase ").skip(1) {
            let (attributes, body) = case.split_once('>').unwrap_or((case, ""));
            let body =
                if attributes.ends_with('/') { "" } else { body.split("</testcase>").next().unwrap_or_default() };
            tally.ran += 1;
            tally.failed += usize::from(body.contains("<failure") || body.contains("<error"));
            let package = components(attributes, "classname").first().copied().unwrap_or_default();
            if package == "xtask" {
                continue; // the chores have modules named like the stores, and run on none
            }
            let path = [components(attributes, "classname"), components(attributes, "name")].concat();
            for (store, count) in STORES.iter().zip(&mut tally.on_store) {
                *count += usize::from(path.contains(store));
            }
        }
        tally
    }

    /// Returns the first store on which no test ran.
    pub(crate) fn missing_store(&self) -> Option<&'static str> {
        STORES.into_iter().zip(self.on_store).find_map(|(store, count)| (count == 0).then_some(store))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tests ran, {} failed; by store:", self.ran, self.failed)?;
        for (store, count) in STORES.iter().zip(self.on_store) {
            write!(f, " {store} {count}")?;
        }
        Ok(())
    }
}

/// Returns the path components in an attribute's value.
fn components<'a>(attributes: &'a str, name: &str) -> Vec<&'a str> {
    let opening = format!("{name}=\"");
    let value = attributes
        .match_indices(&opening)
        .find(|(at, _)| attributes.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with(' ')))
        .and_then(|(at, _)| attributes.get(at + opening.len()..)?.split('"').next());
    value.map(|value| value.split("::").collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="4">
    <testsuite name="squidmesh-store::conformance" tests="3">
        <testcase classname="squidmesh-store::conformance" name="conformance::sqlite::a_commit_is_atomic" time="0.1">
        </testcase>
        <testcase name="postgres::a_commit_is_atomic" classname="squidmesh-store::conformance" time="0.2"/>
        <testcase name="the_sqlite_url_is_hidden" classname="squidmesh-store" time="0.2"/>
    </testsuite>
    <testsuite name="squidmesh-tests::postgres" tests="1">
        <testcase name="crash_at_any_moment" classname="squidmesh-tests::postgres" time="9.2">
            <failure>name="memory::invented"</failure>
        </testcase>
    </testsuite>
    <testsuite name="xtask::bin/xtask" tests="1">
        <testcase name="postgres::tests::a_server_is_found" classname="xtask::bin/xtask" time="0.1"/>
    </testsuite>
</testsuites>"#;

    #[test]
    fn only_a_whole_path_component_names_a_store() {
        assert_eq!(Tally::from_junit(REPORT), Tally { ran: 5, failed: 1, on_store: [0, 1, 2, 0] });
    }

    #[test]
    fn a_store_without_a_test_is_named() {
        assert_eq!(Tally::from_junit(REPORT).missing_store(), Some("memory"));
        assert_eq!(Tally { on_store: [1, 1, 1, 1], ..Tally::default() }.missing_store(), None);
        assert_eq!(Tally::default().missing_store(), Some("memory"));
    }
}
