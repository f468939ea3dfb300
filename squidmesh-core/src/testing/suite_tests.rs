//! Makes tests of a conformance suite's list of cases, which is the same for every port.
//!
//! The name of a case is written once, at its `pub async fn`. A test needs the name where the macro is expanded, and a
//! macro around all functions of a file, which could collect their names, would keep rustfmt from formatting them. So
//! a tool collects them: `cargo xtask fix` writes the list of a suite, and `cargo xtask lint` fails without it.

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
