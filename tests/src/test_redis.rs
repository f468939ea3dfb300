//! The Redis of the tests: one server for all, on which each test has its own names.

use squidmesh_executor_redis::RedisExecutor;

/// The variable with the address of the server.
const SERVER: &str = "SQUIDMESH_TEST_REDIS";

/// The prefix of all names of one test.
#[derive(Clone, Debug)]
pub struct TestRedis {
    prefix: String,
}

impl TestRedis {
    /// Creates names that no other test has.
    pub fn fresh() -> Self {
        TestRedis { prefix: uuid::Uuid::new_v4().simple().to_string() }
    }

    /// Returns the address of the server.
    pub fn address() -> String {
        std::env::var(SERVER).unwrap_or_else(|_| {
            panic!("{SERVER} is not set: run `cargo xtask test`, which starts a Redis for the tests")
        })
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns an executor, as each process of the test has one.
    pub fn executor(&self) -> RedisExecutor {
        let executor = RedisExecutor::new(TestRedis::address()).expect("the address of the server can be used");
        executor.prefix(&self.prefix).expect("the prefix can be used")
    }
}
