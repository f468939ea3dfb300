//! The scripts that run in Redis: each makes one atomic change to a stream and the keys beside it.

use std::sync::LazyLock;

use redis::{Cmd, Script};

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident: $file:literal,)*) => {
        $($(#[$doc])* pub(crate) static $name: LazyLock<Source> =
            LazyLock::new(|| Source::new(stringify!($name), concat!(include_str!("scripts/stream.lua"), include_str!($file))));)*
    };
}

scripts! {
    /// Announces jobs that are not yet announced.
    ANNOUNCE: "scripts/announce.lua",
    /// Reads entries, higher classes first, queues in turn.
    READ: "scripts/read.lua",
    /// Returns which streams have entries.
    USED: "scripts/used.lua",
    /// Creates streams and their groups.
    PREPARE: "scripts/prepare.lua",
    /// Checks which commands the server rejects.
    PROBE: "scripts/probe.lua",
    /// Removes entries that are done.
    SETTLE: "scripts/settle.lua",
    /// Takes over entries that other consumers read and never settled.
    RECLAIM: "scripts/reclaim.lua",
    /// Forwards an entry to processes of its version.
    FORWARD: "scripts/forward.lua",
    /// Sets an entry aside that cannot be executed.
    PARK: "scripts/park.lua",
    /// Returns an entry that was set aside to its stream.
    RETURN: "scripts/return.lua",
}

/// The text of a script, and its hash.
pub(crate) struct Source {
    #[cfg_attr(not(feature = "crash-points"), allow(dead_code, reason = "the name of its crash point"))]
    name: &'static str,
    text: String,
    hash: String,
}

impl Source {
    fn new(name: &'static str, text: &str) -> Self {
        Source { name, text: text.to_owned(), hash: Script::new(text).get_hash().to_owned() }
    }

    /// Creates a call on these keys.
    pub(crate) fn on<K: Into<String>>(&self, keys: impl IntoIterator<Item = K>) -> Call<'_> {
        Call { source: self, keys: keys.into_iter().map(Into::into).collect(), arguments: Vec::new() }
    }
}

/// A script with its keys and arguments.
pub(crate) struct Call<'a> {
    source: &'a Source,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call<'_> {
    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl ToString) -> Self {
        self.arguments.push(argument.to_string().into_bytes());
        self
    }

    /// Adds an argument of any bytes.
    pub(crate) fn bytes(mut self, argument: &[u8]) -> Self {
        self.arguments.push(argument.to_vec());
        self
    }

    /// Returns the script's name.
    #[cfg(feature = "crash-points")]
    pub(crate) fn name(&self) -> &'static str {
        self.source.name
    }

    /// Returns the command for a server that has the script.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.source.hash)
    }

    /// Returns the command for a server that does not have the script, which then caches it.
    pub(crate) fn whole(&self) -> Cmd {
        self.command("EVAL", &self.source.text)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}
