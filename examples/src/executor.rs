//! The choice of the executor that delivers the workflows: the only place that depends on features.

use std::sync::Arc;

use squidmesh_core::port::Executor;

use crate::options::Options;

#[cfg(not(any(feature = "tokio", feature = "redis")))]
compile_error!("the model host needs an executor: enable the feature `tokio` (the default) or `redis`");

/// Why the requested executor is not available.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorChoice {
    /// The program was built without Redis, and Redis was requested.
    #[error(
        "this program was built without Redis, so it cannot use --redis: run it with \
         `cargo run -p squidmesh-examples --no-default-features --features redis -- …`"
    )]
    WithoutRedis,
    /// The program was built with Redis alone, and no URL was given.
    #[error(
        "this program was built for Redis alone, so it needs --redis URL; without Redis run it with its default features"
    )]
    RedisAlone,
    /// The URL of the Redis is invalid.
    #[cfg(feature = "redis")]
    #[error("--redis names no server")]
    Redis(#[from] squidmesh_executor_redis::RedisExecutorError),
}

/// Returns the executor that the options request.
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
        let refusal = |redis| choose(redis).err().map(|error| error.to_string());
        if cfg!(feature = "redis") {
            assert_eq!(refusal(Some("redis://127.0.0.1")), None, "nothing is connected yet");
        } else {
            assert!(refusal(Some("redis://127.0.0.1")).unwrap().contains("--features redis"));
        }
        if cfg!(feature = "tokio") {
            assert_eq!(refusal(None), None);
        } else {
            assert!(refusal(None).unwrap().contains("--redis URL"));
        }
    }
}
