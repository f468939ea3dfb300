//! What a host can be told. Workers tell nobody: they try again.

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the executor could not be made, or an operator's call was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisExecutorError {
    /// The address is none that the client understands. It is not shown: it may hold a password.
    #[error(
        "the address of Redis cannot be used ({reason}): write redis://user:password@host:port/database, or rediss:// with the feature `tls`"
    )]
    InvalidAddress {
        /// What is wrong with it.
        reason: String,
    },
    /// The prefix cannot stand in a hash tag.
    #[error(
        "the prefix {prefix:?} cannot be used: 1 to 64 characters, none of them a brace, a space or a control character"
    )]
    InvalidPrefix {
        /// The prefix.
        prefix: String,
    },
    /// Redis cannot be reached, or not now. No run is harmed by that.
    #[error("Redis cannot be reached for {doing}: try again")]
    Unreachable {
        /// What was being done.
        doing: &'static str,
        /// The client's own error.
        #[source]
        source: Source,
    },
    /// There is no such dead letter: it was returned or dropped already, or the id is from elsewhere.
    #[error("there is no dead letter {id:?}: list them again")]
    UnknownDeadLetter {
        /// The id that was given.
        id: String,
    },
    /// The dead letter was too long to be kept whole, so that there is nothing to return.
    #[error("dead letter {id} was cut when it was set aside and cannot be returned: drop it")]
    CutDeadLetter {
        /// Its id.
        id: String,
    },
}

/// For an error of Redis or its client while doing something that a host asked for.
pub(crate) fn unreachable(doing: &'static str) -> impl Fn(redis::RedisError) -> RedisExecutorError {
    move |error| RedisExecutorError::Unreachable { doing, source: Box::new(error) }
}
