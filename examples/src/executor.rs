//! Which executor carries the workflows: the one place that features decide.

use std::sync::Arc;

use squidmesh_core::Executor;

use crate::options::Options;

#[cfg(not(any(feature = "tokio", feature = "redis")))]
compile_error!("the model host needs an executor: enable the feature `tokio` (the default) or `redis`");

/// Why there is no executor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorChoice {
    /// Built without Redis, and asked for it.
    #[error(
        "this program was built without Redis, so it cannot use --redis: run it with \
         `cargo run -p squidmesh-examples --example checkout --no-default-features --features redis -- …`"
    )]
    WithoutRedis,
    /// Built with Redis alone, and not told where it is.
    #[error(
        "this program was built for Redis alone, so it needs --redis URL; without Redis run it with its default features"
    )]
    RedisAlone,
    /// The URL of the Redis is not one.
    #[cfg(feature = "redis")]
    #[error("--redis names no server")]
    Redis(#[from] squidmesh_executor_redis::RedisExecutorError),
}

/// The executor that the options ask for.
pub(crate) fn executor(options: &Options) -> Result<Arc<dyn Executor>, ExecutorChoice> {
    match &options.redis {
        Some(url) => over_redis(url, options.concurrency),
        None => in_process(options.concurrency),
    }
}

#[cfg(feature = "redis")]
fn over_redis(url: &str, concurrency: usize) -> Result<Arc<dyn Executor>, ExecutorChoice> {
    Ok(Arc::new(squidmesh_executor_redis::RedisExecutor::new(url)?.concurrency(concurrency)))
}

#[cfg(not(feature = "redis"))]
fn over_redis(_: &str, _: usize) -> Result<Arc<dyn Executor>, ExecutorChoice> {
    Err(ExecutorChoice::WithoutRedis)
}

#[cfg(feature = "tokio")]
fn in_process(concurrency: usize) -> Result<Arc<dyn Executor>, ExecutorChoice> {
    Ok(Arc::new(squidmesh_executor_tokio::TokioExecutor::new().concurrency(concurrency)))
}

#[cfg(not(feature = "tokio"))]
fn in_process(_: usize) -> Result<Arc<dyn Executor>, ExecutorChoice> {
    Err(ExecutorChoice::RedisAlone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(redis: Option<&str>) -> Result<Arc<dyn Executor>, ExecutorChoice> {
        executor(&Options { redis: redis.map(str::to_owned), ..Options::default() })
    }

    #[test]
    fn an_option_that_the_program_was_not_built_for_says_how_to_build_it() {
        let told = |redis| choose(redis).err().map(|error| error.to_string());
        if cfg!(feature = "redis") {
            assert_eq!(told(Some("redis://127.0.0.1")), None, "nothing is connected yet");
        } else {
            assert!(told(Some("redis://127.0.0.1")).unwrap().contains("--features redis"));
        }
        if cfg!(feature = "tokio") {
            assert_eq!(told(None), None);
        } else {
            assert!(told(None).unwrap().contains("--redis URL"));
        }
    }
}
