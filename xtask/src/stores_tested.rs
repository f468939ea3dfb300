//! How many tests ran on each store, read from nextest's JUnit report.
//!
//! A test belongs to a store when its path names it: `conformance::sqlite::a_commit_is_atomic`.

use std::fmt;

const STORES: [&str; 3] = ["memory", "sqlite", "postgres"];

/// The tests that ran, by store.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct StoresTested {
    counts: [usize; STORES.len()],
}

impl StoresTested {
    /// Counts the test cases of a report; a test that was filtered out is not in it.
    pub(crate) fn from_junit(report: &str) -> Self {
        let mut counts = [0; STORES.len()];
        for case in report.split("<testcase ").skip(1) {
            let attributes = case.split('>').next().unwrap_or_default();
            let path = [attribute(attributes, " classname"), attribute(attributes, "name")].concat();
            for (store, count) in STORES.iter().zip(&mut counts) {
                *count += usize::from(path.contains(store));
            }
        }
        Self { counts }
    }

    /// The first store on which nothing ran.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        STORES.into_iter().zip(self.counts).find_map(|(store, count)| (count == 0).then_some(store))
    }
}

impl fmt::Display for StoresTested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> =
            STORES.iter().zip(self.counts).map(|(store, count)| format!("{store} {count}")).collect();
        f.write_str(&counts.join(", "))
    }
}

/// The path components in the attribute's value.
fn attribute<'a>(attributes: &'a str, name: &str) -> Vec<&'a str> {
    let value = attributes.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    value.map(|(value, _)| value.split("::").collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="4">
    <testsuite name="squidmesh-store::conformance" tests="3">
        <testcase name="conformance::sqlite::a_commit_is_atomic" classname="squidmesh-store::conformance" time="0.1">
        </testcase>
        <testcase name="postgres::a_commit_is_atomic" classname="squidmesh-store::conformance" time="0.2"/>
        <testcase name="the_sqlite_url_is_hidden" classname="squidmesh-store" time="0.2"/>
    </testsuite>
    <testsuite name="squidmesh-tests::postgres" tests="1">
        <testcase name="crash_at_any_moment" classname="squidmesh-tests::postgres" time="9.2">
            <failure>name="memory::invented"</failure>
        </testcase>
    </testsuite>
</testsuites>"#;

    #[test]
    fn only_a_whole_path_component_names_a_store() {
        assert_eq!(StoresTested::from_junit(REPORT), StoresTested { counts: [0, 1, 2] });
    }

    #[test]
    fn a_store_without_a_test_is_named() {
        assert_eq!(StoresTested::from_junit(REPORT).missing(), Some("memory"));
        assert_eq!(StoresTested { counts: [1, 1, 1] }.missing(), None);
        assert_eq!(StoresTested::default().missing(), Some("memory"));
    }
}
