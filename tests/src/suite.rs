//! Makes tests of scenarios: one for each store, and for each database one more with workers over Redis.

use std::future::Future;

/// Runs a test on a runtime with two threads, as far as the machine allows. Warnings of the runtime are shown with
/// the output of the test.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    let _ = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::ERROR).try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(test)
}

/// Makes a `#[test]` of each scenario for each store: `scenarios! { retry: a_failure_is_retried …; join: …; }`.
#[macro_export]
macro_rules! scenarios {
    ($($module:ident: $($name:ident)+;)+) => {
        $crate::scenarios! { @on memory memory $($module: $($name)+;)+ }
        $crate::scenarios! { @on sqlite sqlite $($module: $($name)+;)+ }
        $crate::scenarios! { @on postgres postgres $($module: $($name)+;)+ }
        mod redis {
            $crate::scenarios! { @on sqlite redis_sqlite $($module: $($name)+;)+ }
            $crate::scenarios! { @on postgres redis_postgres $($module: $($name)+;)+ }
        }
    };
    (@on $store:ident $backend:ident $($module:ident: $($name:ident)+;)+) => {
        mod $store {
            $(mod $module {
                $(#[test]
                fn $name() {
                    $crate::block_on(async {
                        let backend = $crate::Backend::$backend().await;
                        $crate::scenario::$module::$name(&backend).await;
                    });
                })+
            })+
        }
    };
}
