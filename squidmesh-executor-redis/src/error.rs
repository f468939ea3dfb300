//! The errors that a host can get. Workers return none: they retry.

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the executor could not be created, or an operator's call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisExecutorError {
    /// The address is invalid. It is not shown, because it may contain a password.
    #[error(
        "the address of Redis cannot be used ({reason}): write redis://user:password@host:port/database, or rediss:// with the feature `tls`"
    )]
    InvalidAddress {
        /// What is wrong with it.
        reason: String,
    },
    /// The prefix cannot be part of a hash tag.
    #[error(
        "the prefix {prefix:?} cannot be used: 1 to 64 characters, none of them a brace, a space or a control character"
    )]
    InvalidPrefix {
        /// The prefix.
        prefix: String,
    },
    /// Redis cannot be reached. No run is affected.
    #[error("Redis cannot be reached for {doing}: try again")]
    Unreachable {
        /// The operation that failed.
        doing: &'static str,
        /// The client's own error.
        #[source]
        source: Source,
    },
    /// The dead letter does not exist: it was returned or dropped already, or the id is from elsewhere.
    #[error("there is no dead letter {id:?}: list them again")]
    UnknownDeadLetter {
        /// The given id.
        id: String,
    },
    /// The dead letter was too long to be kept whole, so it cannot be returned.
    #[error("dead letter {id} was cut when it was set aside and cannot be returned: drop it")]
    CutDeadLetter {
        /// The id of the dead letter.
        id: String,
    },
}

/// Maps an error of Redis or its client during an operation that a host called.
pub(crate) fn unreachable(doing: &'static str) -> impl Fn(redis::RedisError) -> RedisExecutorError {
    move |error| RedisExecutorError::Unreachable { doing, source: Box::new(error) }
}
