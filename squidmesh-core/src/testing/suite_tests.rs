//! Makes tests of a conformance suite's list of cases, which is the same for every port.

/// Creates a module for each module of a suite, with a `#[test]` for each of its cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __suite_tests {
    ($suite:ident $runtime:tt $fixture:tt $($module:ident: $($case:ident)*;)*) => {
        $($crate::__suite_tests! { @module $suite $runtime $fixture $module $($case)* })*
    };
    (@module $suite:ident ($runtime:expr) ($fixture:expr) $module:ident $($case:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the expressions may need none of it")]
            use super::*;
            $(
                #[test]
                fn $case() {
                    $crate::testing::run_case($crate::testing::CASE_TIMEOUT, || {
                        let fixture = $fixture;
                        $runtime($crate::testing::$suite::$module::$case(&fixture));
                    });
                }
            )*
        }
    };
}

/// Counts the cases that a suite's modules define, and checks that each is in the list.
#[cfg(test)]
pub(super) fn count_listed(list: &str, modules: &[(&str, &str)]) -> usize {
    let mut count = 0;
    for (module, source) in modules {
        for line in source.lines().filter_map(|line| line.strip_prefix("pub async fn ")) {
            let case = line.split('(').next().unwrap_or_default();
            let listed = list.lines().any(|line| line.trim().trim_end_matches(';') == case);
            assert!(listed, "{module}::{case} is not listed");
            count += 1;
        }
    }
    count
}
